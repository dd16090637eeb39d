#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks docs/requirements.md against the tests: an id that is built has a test that names it, one that is not built is
claimed by none, and no test names an id that the page does not know."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "requirements.md"
STANDS = ("yes", "in part", "no")
NAMES = (".py", ".c", ".h", ".feature")


def requirements():
    """id → how far it stands."""
    rows = re.findall(r"^\| ([A-Z]+-\d+[a-d]?) \|.*\| (.*?)(?:: .*)? \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return dict(rows)


def claims(known):
    """id → the files of tests/ that name it; ids of a family that the page has."""
    families = "|".join(sorted({name.split("-")[0] for name in known})) or "none"
    pattern = re.compile(r"\b((?:%s)-\d+[a-d]?)\b" % families)
    found = {}
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix in NAMES:
            for name in set(pattern.findall(path.read_text(encoding="utf-8"))):
                found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def main():
    known = requirements()
    named = claims(known)
    wrong = ["%s: '%s' stands there for %s, and not one of: %s" % (PAGE.name, stands, name, ", ".join(STANDS))
             for name, stands in known.items() if stands not in STANDS]
    wrong += ["%s is built (%s), and no test names it" % (name, stands)
              for name, stands in known.items() if stands != "no" and name not in named]
    for name, files in sorted(named.items()):
        if name not in known:
            wrong.append("%s is named by %s, and is no requirement" % (name, ", ".join(files)))
        elif known[name] == "no":
            wrong.append("%s is named by %s, and is not built" % (name, ", ".join(files)))
    if not known:
        wrong.append("%s has no requirements" % PAGE.name)
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
