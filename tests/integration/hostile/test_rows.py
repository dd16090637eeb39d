# SPDX-License-Identifier: Apache-2.0
"""The page of rows says what is tested, and nothing else."""
import os
import pathlib
import re

from poolmgr_test import ROOT
from rows import ROWS, page

HERE = pathlib.Path(__file__).resolve().parent


def test_every_row_that_is_called_proved_is_named_by_a_test():
    text = "".join((HERE / name).read_text(encoding="utf-8")
                   for name in ("cases.py", "test_answers.py", "test_time.py", "test_requests.py", "test_sizes.py",
                                "test_load.py"))
    named = set(re.findall(r"[HP]-\d\d", text))
    for id, _, still in ROWS:
        if not still.startswith("all"):
            assert id in named, id


def test_the_page_in_docs_is_current():
    path = ROOT / "docs" / "hostile-cases.md"
    if os.environ.get("POOLMGR_WRITE_DOCS"):
        path.write_text(page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page(), "run this test with POOLMGR_WRITE_DOCS=1"
