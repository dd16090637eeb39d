#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that a folder of src/ includes only itself and what stands above it in docs/architecture.md's table."""
import pathlib
import re
import sys

ORDER = ["poolmgr", "util", "http", "plan", "core", "config", "proc", "gpu", "engine", "provision", "store", "manager",
         "lib", "gateway", "api", "bin", "cli"]
ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    wrong = 0
    for path in sorted((ROOT / "src").rglob("*.[ch]")):
        room = path.relative_to(ROOT / "src").parts[0]
        if room not in ORDER:
            print("%s: the room '%s' is not in the list" % (path, room))
            wrong += 1
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
            if found and (found[1] not in ORDER or ORDER.index(found[1]) > ORDER.index(room)):
                print("%s:%d: %s may not include from %s" % (path.relative_to(ROOT), number, room, found[1]))
                wrong += 1
    return 1 if wrong else 0


sys.exit(main())
