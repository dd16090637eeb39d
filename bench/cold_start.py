#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How much a cold start through us adds to the engine's own time.

Each run asks a cold pool for a streamed answer and takes the time to the first token; then it starts the same
engine with the same arguments by hand, asks its health as fast as it can, sends the same request, and takes the
time from exec to the first token. The two alternate, so that both see the same machine. The engine's own time
varies from run to run, so two figures are printed: the difference pair by pair, and the difference of each
percentile. A third line needs no pairs: the fault engine stamps its own steps (FAULT_TIMES), and what is not the
engine's is ours, fork and exec included.

usage: cold_start.py [RUNS]
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

from common import Daemon, drain, first_token, percentile, post, row

BODY = {"model": "fox", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"


def through_us(daemon):
    mark = daemon.mark()
    sock, sent = post(daemon.port, PATH, BODY)
    when, _ = first_token(sock)
    drain(sock)
    daemon.wait("instance_stopped", after=mark)
    return (when - sent) * 1000


def by_hand(argv, folder):
    path = os.path.join(folder, "engine.sock")
    if os.path.exists(path):
        os.unlink(path)
    argv = [path if a.endswith("engine.sock") else a for a in argv]
    begun = time.monotonic()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if s.recv(64).startswith(b"HTTP/1.1 200"):
                break
        except OSError:
            pass
        finally:
            s.close()
        time.sleep(0.0005)
    sock, _ = post(path, PATH, BODY)
    when, _ = first_token(sock)
    drain(sock)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return (when - begun) * 1000


def engine_argv(daemon):
    """The command line that the daemon used, from the running engine."""
    sock, _ = post(daemon.port, PATH, BODY)
    first_token(sock)
    pid = daemon.wait("instance_ready")["pid"] if "pid" in daemon.wait("instance_ready") else None
    if pid is None:
        pid = daemon.wait("instance_starting")["pid"]
    with open("/proc/%d/cmdline" % pid, "rb") as f:
        argv = f.read().decode().split("\0")[:-1]
    drain(sock)
    daemon.wait("instance_stopped")
    return argv


def stamped(runs):
    """The fault engine says when it was entered, ready, asked, and when it sent the first token."""
    with tempfile.TemporaryDirectory(prefix="pmb-") as folder:
        times = os.path.join(folder, "times")
        daemon = Daemon({"fox": Daemon.faulty("load:delay=50", slots=1, idle_ttl="50ms", env={"FAULT_TIMES": times})})
        out = []
        for _ in range(runs):
            if os.path.exists(times):
                os.unlink(times)
            total = through_us(daemon)
            with open(times, encoding="ascii") as f:
                stamp = {}
                for line in f:
                    name, ns = line.split()
                    stamp.setdefault(name, int(ns) / 1e6)
            out.append(total - (stamp["ready"] - stamp["main"]) - (stamp["token"] - stamp["request"]))
        daemon.close()
        return out


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    daemon = Daemon({"fox": Daemon.pool(slots=1, context=1024, idle_ttl="50ms")})
    argv = engine_argv(daemon)
    ours, alone = [], []
    with tempfile.TemporaryDirectory(prefix="pmb-") as folder:
        for _ in range(runs):
            ours.append(through_us(daemon))
            alone.append(by_hand(argv, folder))
    daemon.close()
    print("first token of a cold pool, real engine")
    row("  through us", ours)
    row("  engine alone, exec to first token", alone)
    row("  difference, pair by pair", [a - b for a, b in zip(ours, alone)])
    for share, name in ((0.5, "p50"), (0.95, "p95"), (1.0, "max")):
        print("  difference of the two %-4s                          %7.2f ms"
              % (name, percentile(ours, share) - percentile(alone, share)))
    row("what is not the engine's own, stamped engine", stamped(runs))


main()
