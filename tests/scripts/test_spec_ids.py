# SPDX-License-Identifier: Apache-2.0
"""scripts/spec_ids.py: every way in which page and tests may disagree is told and fails."""
import pathlib
import shutil
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "spec_ids.py"
PAGE = """
| id | promise | built |
| --- | --- | --- |
| FOX-1 | it runs | yes |
| FOX-2a | it jumps | in part: not over dogs |
| OWL-1 | it flies | no |
"""


def check(root, tests, page=PAGE):
    for folder in ("scripts", "docs", "tests/deep"):
        (root / folder).mkdir(parents=True)
    shutil.copy(SCRIPT, root / "scripts")
    (root / "docs" / "requirements.md").write_text(page, encoding="utf-8")
    (root / "tests" / "deep" / "test_fox.py").write_text(tests, encoding="utf-8")
    done = subprocess.run(["/usr/bin/python3", str(root / "scripts" / "spec_ids.py")], capture_output=True, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout.splitlines()


def test_a_page_that_is_true_passes(tmp_path):
    assert check(tmp_path, "FOX-1, FOX-2a; RFC-1 and UTF-8 are nothing of ours") == (0, [""])


def test_what_is_built_needs_a_test(tmp_path):
    assert check(tmp_path, "FOX-1, FOX-2") == (1, ["FOX-2a is built (in part), and no test names it",
                                                  "FOX-2 is named by tests/deep/test_fox.py, and is no requirement"])


def test_what_is_not_built_may_not_be_claimed(tmp_path):
    assert check(tmp_path, "FOX-1 FOX-2a OWL-1") == (1, ["OWL-1 is named by tests/deep/test_fox.py, and is not built"])


def test_a_page_with_other_words_or_none_fails(tmp_path):
    status, lines = check(tmp_path / "a", "FOX-1", "| FOX-1 | it runs | nearly |\n")
    assert status == 1 and "'nearly' stands there for FOX-1" in lines[0]
    assert check(tmp_path / "b", "", "nothing")[0] == 1
