# SPDX-License-Identifier: Apache-2.0
"""Helpers in processes of their own: what crashes or hangs there costs one check. All of them have deadlines."""
import json
import os
import select
import signal
import subprocess
import time


class ChildFailed(Exception):
    """It ended badly, said nothing in time, or could not be started. `facts`: what it said before."""

    def __init__(self, text, facts=()):
        super().__init__(text)
        self.facts = facts


def end(process):
    """Kills it. One that the kernel does not let go is left behind after two seconds."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        pass


def how(status):
    return "signal %d" % -status if status < 0 else "status %d" % status


def facts_of(text):
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            raise ChildFailed("the helper wrote what is no fact: %.80r" % line) from None
    return found


def run(command, seconds, environment=None):
    """(status, stdout, stderr) of one command; ChildFailed when it hangs or cannot be started."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment, start_new_session=True, text=True, errors="replace")
    except OSError as e:
        raise ChildFailed("%s: %s" % (command[0], e.strerror)) from None
    try:
        out, err = process.communicate(timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        raise ChildFailed("%s said nothing for %.0f s" % (" ".join(command[:3]), seconds)) from None
    finally:
        end(process)
        for pipe in (process.stdout, process.stderr):
            pipe.close()
    return process.returncode, out, err


class Talk:
    """A helper that takes orders by stdin, and answers each with facts and {"fact":"done"}."""

    def __init__(self, command, environment, log, greets=False, seconds=60):
        self.log = log
        self.name = " ".join(command[1:])
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
        except OSError as e:
            raise ChildFailed("%s: %s" % (command[0], e.strerror)) from None
        self.pid = self.process.pid
        self.buffer = b""
        self.greeting = self._answer(seconds) if greets else []

    def order(self, line, seconds=30):
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise self._gone() from None
        return self._answer(seconds)

    def cuda(self, line, seconds=30):
        """The one fact of an order to `hold`."""
        return self.order(line, seconds)[0]

    def _gone(self):
        try:
            status = self.process.wait(2)
        except subprocess.TimeoutExpired:
            return ChildFailed("%s closed its output" % self.name)
        return ChildFailed("%s ended with %s" % (self.name, how(status)))

    def _answer(self, seconds):
        found, deadline = [], time.monotonic() + seconds
        while True:
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                self.log("%s: %s" % (self.name, line.decode("utf-8", "replace")))
                fact = facts_of(line.decode("utf-8", "replace"))
                if fact and fact[0].get("fact") == "done":
                    return found
                found += fact
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise ChildFailed("%s said nothing for %.0f s" % (self.name, seconds))
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                if found:   # its last words say why
                    raise ChildFailed("%s: %s" % (self.name, found[-1]), found)
                raise self._gone()
            self.buffer += data

    def close(self):
        end(self.process)
        self.process.stdin = None   # what is written there nobody reads any more
        self.process.stdout.close()
