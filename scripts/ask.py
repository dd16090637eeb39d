#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: ask.py EVENTS PID

Waits for the daemon PID to tell its address in the file EVENTS, asks its only pool for a streamed answer, prints the
text as it comes, then the address and what to try next.
"""
import json
import os
import sys
import time
import urllib.error
import urllib.request

# Straight to the daemon, whatever proxy the environment names.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def address(path, pid):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open(path, encoding="utf-8") as f:
            for line in f:
                if '"daemon_started"' in line and line.endswith("\n"):
                    return next(a for a in json.loads(line)["listen"] if not a.startswith("unix:"))
        os.kill(pid, 0)
        time.sleep(0.01)
    sys.exit("the daemon did not say where it listens")


def show(answer):
    """Prints the text as it comes; when the first of it came, and whether the stream came to its end."""
    first, finished = None, False
    for line in answer:
        line = line.strip()
        if line == b"data: [DONE]":
            finished = True
        elif line.startswith(b"data: {"):
            for choice in json.loads(line[6:]).get("choices", []):
                text = choice.get("delta", {}).get("content")
                if text:
                    first = first or time.monotonic()
                    print(text, end="", flush=True)
    print()
    return first, finished


def ask(where, model):
    body = {"model": model, "stream": True, "max_tokens": 64, "messages": [{"role": "user", "content": "Who are you?"}]}
    request = urllib.request.Request(where + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    begun = time.monotonic()
    with HTTP.open(request, timeout=1800) as answer:
        first, finished = show(answer)
    if not finished or first is None:
        sys.exit("the stream was broken off")
    print("\n%s answered: first token after %.0f ms, with the engine's start in it.\n" % (model, (first - begun) * 1e3))


def main():
    try:
        where = "http://" + address(sys.argv[1], int(sys.argv[2]))
        with HTTP.open(where + "/v1/models", timeout=30) as answer:
            model = json.load(answer)["data"][0]["id"]
        ask(where, model)
    except ProcessLookupError:
        sys.exit("the daemon ended before it served")
    except urllib.error.HTTPError as e:
        try:
            error = json.load(e)["error"]
            sys.exit("refused: %s%s" % (error["message"], "; " + error["hint"] if error.get("hint") else ""))
        except (ValueError, KeyError):
            sys.exit("refused with status %d" % e.code)
    except (OSError, KeyboardInterrupt) as e:
        sys.exit("no answer: %s" % (str(e) or "interrupted"))
    print("Listening on %s; pool %s. Try:" % (where, model))
    print("  curl -sN %s/v1/chat/completions -d '{\"model\":\"%s\",\"stream\":true,\"messages\":"
          "[{\"role\":\"user\",\"content\":\"hi\"}]}'" % (where, model))
    print("  build/release/src/cli/poolctl --url %s ps" % where)


main()
