# SPDX-License-Identifier: Apache-2.0
"""One daemon for all hostile cases; what it was told and what it said is kept as build/evidence/hostile.md."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from poolmgr_test import ROOT  # noqa: E402
from yard import Yard  # noqa: E402


def cell(data, most=120):
    text = repr(data)[2:-1] if isinstance(data, bytes) else str(data)
    if len(text) > most:
        text = "%s … (%d bytes)" % (text[:most], len(data))
    return "`%s`" % text.replace("|", "\\|").replace("`", "'")


def write_evidence(rows):
    path = ROOT / "build" / "evidence" / "hostile.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write("# Hostile cases: what was sent, and what came back\n\n"
                "| case | over | how | sent | answered |\n| --- | --- | --- | --- | --- |\n")
        for id, transport, mode, data, answered in rows:
            f.write("| %s | %s | %s | %s | %s |\n" % (id, transport, mode, cell(data), answered))


@pytest.fixture(scope="session")
def yard():
    made = Yard()
    yield made
    write_evidence(made.sent)
    made.close()
