#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tail_events.py EVENTS      prints the last events in words"""
import json
import sys


def words(line):
    try:
        return json.loads(line)["human"]
    except (ValueError, KeyError, TypeError):
        return line


def main():
    with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
        for line in f.read().splitlines()[-8:]:
            print("  " + words(line))


main()
