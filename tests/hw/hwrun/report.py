# SPDX-License-Identifier: Apache-2.0
"""What was found: for people in report.md, every number in facts.json. Both are written anew after each finding, so
that a run that is cut short has told what it knew."""
import json
import os
import time

PASS, FAIL, SKIP, NOTE = "PASS", "FAIL", "SKIP", "NOTE"


class Report:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.title = "unknown machine"
        self.begun = time.time()
        self.rows = []          # (group, status, what, text)
        self.groups = {}        # name → its sentence
        self.facts = {}         # group → key → value
        self.group = None
        self.ended = False
        self._log = open(os.path.join(folder, "log"), "w", encoding="utf-8")
        self.write()

    def begin(self, name, sentence):
        self.group = name
        self.groups[name] = sentence
        self.facts.setdefault("group_" + name, {})
        self.log("== %s %s" % (name, sentence))

    # ---- findings -----------------------------------------------------------------------------------

    def check(self, what, holds, text=""):
        """`what`: a sentence that is believed. False is told as FAIL: it is not so here."""
        self._add(PASS if holds else FAIL, what, text)
        return bool(holds)

    def skip(self, what, why):
        self._add(SKIP, what, why)

    def note(self, what, text):
        """A fact that nothing is believed of."""
        self._add(NOTE, what, text)

    def fact(self, key, value):
        self.facts.setdefault("group_" + self.group if self.group else "run", {})[key] = value
        self.write()

    def _add(self, status, what, text):
        text = str(text)
        self.rows.append((self.group, status, what, text))
        print("%-4s %s %s%s" % (status, self.group or "-", what, ": %s" % text if text else ""), flush=True)
        self.log("%s %s: %s" % (status, what, text))
        self.write()

    def log(self, line):
        self._log.write("%8.3f %s\n" % (time.time() - self.begun, line))
        self._log.flush()

    # ---- files --------------------------------------------------------------------------------------

    def count(self, status):
        return sum(row[1] == status for row in self.rows)

    def summary(self):
        return "%d pass, %d fail, %d skip, %d notes, %d s%s" % (
            self.count(PASS), self.count(FAIL), self.count(SKIP), self.count(NOTE), time.time() - self.begun,
            "" if self.ended else " (not ended)")

    def text(self):
        lines = ["# %s" % self.title, "", "%s; `tests/hw/run` of %s." % (
            self.summary(), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.begun))), ""]
        failed = [row for row in self.rows if row[1] == FAIL]
        if failed:
            lines += ["Not as believed:", ""]
            lines += ["- group %s: %s (%s)" % (row[0], row[2], row[3].replace("\n", " ")) for row in failed] + [""]
        for name, sentence in self.groups.items():
            lines += ["## %s. %s" % (name, sentence), "", "| | what | seen |", "| --- | --- | --- |"]
            lines += ["| %s | %s | %s |" % (row[1], cell(row[2]), cell(row[3])) for row in self.rows if row[0] == name]
            lines.append("")
        return "\n".join(lines)

    def write(self):
        replace(os.path.join(self.folder, "report.md"), self.text())
        replace(os.path.join(self.folder, "facts.json"), json.dumps({
            "title": self.title, "summary": self.summary(), "ended": self.ended, "facts": self.facts,
            "findings": [dict(zip(("group", "status", "what", "seen"), row)) for row in self.rows],
        }, indent=1, ensure_ascii=False) + "\n")

    def finish(self):
        self.ended = True
        self.write()
        print(self.summary(), flush=True)
        self._log.close()
        return 1 if self.count(FAIL) else 0


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def replace(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)


def mib(n):
    return "%.1f MiB" % (n / (1 << 20))
