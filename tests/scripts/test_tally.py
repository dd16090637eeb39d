# SPDX-License-Identifier: Apache-2.0
"""The sum of all runners must not be able to look better than it is."""
import subprocess

from poolmgr_test import ROOT

JUNIT = "<testsuites><testsuite>%s</testsuite></testsuites>"


def tally(*arguments):
    done = subprocess.run([str(ROOT / "scripts" / "tally.py"), *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()[-1]


def write(folder, name, text, status=0):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return "%s:%d=%s" % (name, status, path)


def test_all_runners_are_summed(tmp_path):
    a = write(tmp_path, "a.xml", JUNIT % "<testcase/><testcase><skipped/></testcase>")
    b = write(tmp_path, "b.txt", "ok one\nnoise\nok two\n")
    assert tally(a, b) == (0, "3 passed, 0 failed")


def test_a_failure_or_an_error_is_a_failure(tmp_path):
    a = write(tmp_path, "a.xml", JUNIT % "<testcase/><testcase><failure/></testcase><testcase><error/></testcase>")
    assert tally(a) == (1, "1 passed, 2 failed")
    assert tally(write(tmp_path, "b.txt", "ok one\nnot ok two\n")) == (1, "1 passed, 1 failed")


def test_a_runner_that_ran_nothing_is_a_failure(tmp_path):
    assert tally(write(tmp_path, "a.xml", JUNIT % "")) == (1, "0 passed, 1 failed")
    assert tally(write(tmp_path, "b.xml", JUNIT % "<testcase><skipped/></testcase>")) == (1, "0 passed, 1 failed")
    assert tally(write(tmp_path, "c.txt", "")) == (1, "0 passed, 1 failed")


def test_a_runner_without_results_is_a_failure(tmp_path):
    assert tally("a:0=%s" % (tmp_path / "nowhere.xml")) == (1, "0 passed, 1 failed")
    assert tally(write(tmp_path, "a.xml", "<testsuites><cut")) == (1, "0 passed, 1 failed")
    assert tally() == (1, "0 passed, 1 failed")


def test_a_runner_that_ended_badly_is_a_failure_even_if_it_tells_of_none(tmp_path):
    assert tally(write(tmp_path, "a.xml", JUNIT % "<testcase/>", status=1)) == (1, "1 passed, 1 failed")
    assert tally(write(tmp_path, "b.txt", "ok one\nnot ok two\n", status=1)) == (1, "1 passed, 1 failed")
