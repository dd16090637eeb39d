#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tally.py NAME:STATUS=RESULTS …

Sums what several runners did. STATUS is a runner's exit status; RESULTS is a JUnit file, or a text file with a line
`ok …` or `not ok …` for each check. A runner that left no file, ran nothing, or ended with a status other than 0
without telling of a failure, counts as a failure. The last line is `N passed, N failed`; the exit status is 0 only if
nothing failed.
"""
import sys
import xml.etree.ElementTree as ET


def junit(path):
    passed = failed = skipped = 0
    for case in ET.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def lines(path):
    with open(path, encoding="utf-8") as f:
        seen = f.read().splitlines()
    return (sum(x.startswith("ok ") for x in seen), sum(x.startswith("not ok ") for x in seen), 0)


def main():
    total = [0, 0]
    for argument in sys.argv[1:]:
        runner, _, path = argument.partition("=")
        name, _, status = runner.partition(":")
        try:
            passed, failed, skipped = junit(path) if path.endswith(".xml") else lines(path)
        except (OSError, ET.ParseError) as e:
            print("%-24s left no results: %s" % (name, e))
            total[1] += 1
            continue
        note = ", %d skipped" % skipped if skipped else ""
        if passed + failed == 0:
            note += " — it ran nothing, which is a failure"
            failed = 1
        elif failed == 0 and status != "0":
            note += " — yet it ended with status %s, which is a failure" % status
            failed = 1
        print("%-24s %4d passed, %d failed%s" % (name, passed, failed, note))
        total[0] += passed
        total[1] += failed
    if not sys.argv[1:]:
        total[1] += 1
    print("%d passed, %d failed" % tuple(total))
    return 1 if total[1] else 0


sys.exit(main())
