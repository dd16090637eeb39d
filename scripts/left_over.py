#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: left_over.py FOLDER

Prints the processes of engines (they have POOLMGR_INSTANCE in their environment) that belong to the daemon with this
runtime folder: it stands in their command line, their environment or among their open files. Zombies do not count,
since whoever is pid 1 may reap them late.
"""
import os
import sys


def read(pid, name):
    with open("/proc/%s/%s" % (pid, name), "rb") as f:
        return f.read()


def links(pid):
    for number in os.listdir("/proc/%s/fd" % pid):
        try:
            yield os.readlink("/proc/%s/fd/%s" % (pid, number)).encode()
        except FileNotFoundError:
            pass


def belongs(pid, folder):
    environment = read(pid, "environ")
    if b"\0POOLMGR_INSTANCE=" not in b"\0" + environment:
        return False
    if read(pid, "stat").rpartition(b")")[2].split()[0] in (b"Z", b"X"):
        return False
    return folder in environment or folder in read(pid, "cmdline") or any(folder in link for link in links(pid))


def main():
    folder = sys.argv[1].encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if belongs(pid, folder):
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass    # gone meanwhile, or another user's
    print(" ".join(found))


main()
