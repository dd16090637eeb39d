#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory and wake-ups of a daemon with 100 pools that nobody uses.

RSS is VmRSS of the daemon; wake-ups are its voluntary context switches over ten seconds (each return from
epoll_wait is one). Also the time from exec to serving.
"""
import sys
import time

from common import Daemon, ENGINE, tiny_model


def status(pid, key):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise SystemExit("no %s of %d" % (key, pid))


def switches(pid):
    import os
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task), encoding="ascii") as f:
            total += sum(int(x.split()[1]) for x in f if x.startswith("voluntary_ctxt_switches"))
    return total


def main():
    n, seconds = 100, 10
    model = tiny_model()
    config = "engines:\n  llama: { family: llama.cpp, path: %s }\npools:\n" % ENGINE
    config += "".join("  pool-%03d: { model: %s, devices: cpu }\n" % (i, model) for i in range(n))
    daemon = Daemon(config)
    ready = (daemon.wait("daemon_started")["seen"] - daemon.started) * 1000
    pid = daemon.process.pid
    time.sleep(1)
    before = switches(pid)
    time.sleep(seconds)
    after = switches(pid)
    rss = status(pid, "VmRSS")
    print("%d pools, none in use:" % n)
    print("  exec to serving (with the reading of the event)   %7.1f ms" % ready)
    print("  RSS                                               %7.2f MiB" % (rss / 1024))
    print("  wake-ups                                          %7.2f /s" % ((after - before) / seconds))
    daemon.stop()
    sys.exit(0)


main()
