# SPDX-License-Identifier: Apache-2.0
"""Looking at processes. Zombies do not count: whoever is pid 1 may reap orphans late."""
import os
import time


def alive(pid):
    """True while a process runs; a zombie does not."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def instances_of(folder):
    """{pid: POOLMGR_INSTANCE} of processes that have such a variable and belong to a daemon of this folder.

    They are told apart by the folder in their command line, environment or open log.
    """
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or not alive(int(name)):
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as f:
                environment = f.read().split(b"\0")
            with open("/proc/%s/cmdline" % name, "rb") as f:
                command = f.read()
        except OSError:
            continue
        instance = [e for e in environment if e.startswith(b"POOLMGR_INSTANCE=")]
        mine = folder.encode()
        if instance and (mine in command or any(mine in e for e in environment)):
            found[int(name)] = instance[0].split(b"=", 1)[1].decode()
    return found


def wait_until(condition, seconds=30, what="the condition"):
    """Asks again and again, at most every 20 ms, until it is true; its value is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("%s did not come true within %d s" % (what, seconds))
        time.sleep(0.02)
