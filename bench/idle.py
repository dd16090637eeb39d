#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory and wake-ups of a daemon with 100 pools that nobody uses.

RSS is VmRSS of the daemon; wake-ups are its voluntary context switches over ten seconds (each return from
epoll_wait is one). Also the time from exec to serving.
"""
import os
import time

from common import Daemon


def status(pid, key):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise SystemExit("no %s of %d" % (key, pid))


def switches(pid):
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task), encoding="ascii") as f:
            total += sum(int(x.split()[1]) for x in f if x.startswith("voluntary_ctxt_switches"))
    return total


def main():
    n, seconds = 100, 10
    begun = time.monotonic()
    daemon = Daemon({"pool-%03d" % i: Daemon.pool() for i in range(n)})
    ready = (daemon.wait("daemon_started")["seen"] - begun) * 1000
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
    daemon.close()


main()
