# SPDX-License-Identifier: Apache-2.0
"""Fetching the engine, without the network: with the packages that an earlier run has left."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from poolmgr_test import ENGINE, ROOT

TOOL = str(ROOT / "tools" / "fetch_engine.sh")
DEBS = pathlib.Path(ENGINE).resolve().parents[2] / "debs"

pytestmark = pytest.mark.skipif(not (DEBS / "SHA256SUMS").exists(),
                                reason="this engine was not fetched by tools/fetch_engine.sh")


def fetch(folder, **environment):
    return subprocess.run([TOOL, str(folder)], capture_output=True, text=True, check=False,
                          env={**os.environ, "OFFLINE": "1", **environment})


def version(program):
    return subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stderr


@pytest.fixture
def folder(tmp_path):
    """A folder with the packages, nothing unpacked."""
    shutil.copytree(DEBS, tmp_path / "engine" / "debs")
    return tmp_path / "engine"


def test_it_makes_an_engine_that_runs_and_says_where(folder):
    done = fetch(folder)
    assert done.returncode == 0, done.stderr
    program = folder / "usr" / "bin" / "llama-server"
    assert done.stdout == "%s\n" % program
    assert "version" in version(program)
    stamp = (folder / ".engine").read_text(encoding="utf-8").splitlines()
    assert stamp[0] == "forky llama.cpp-tools"
    assert any(line.startswith("llama.cpp-tools=") for line in stamp)
    assert sorted(os.listdir(folder)) == [".engine", ".lock", "debs", "etc", "usr"]


def test_a_second_run_changes_nothing_and_needs_no_packages(folder):
    assert fetch(folder).returncode == 0
    before = os.stat(folder / "usr" / "bin" / "llama-server")
    shutil.rmtree(folder / "debs")
    (folder / "debs").mkdir()
    done = fetch(folder, OFFLINE="", MIRROR="http://127.0.0.1:9/nothing")
    assert done.returncode == 0, done.stderr
    after = os.stat(folder / "usr" / "bin" / "llama-server")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_damaged_package_is_named_and_the_old_engine_stays(folder):
    assert fetch(folder).returncode == 0
    package = next((folder / "debs").glob("llama.cpp-tools_*.deb"))
    with open(package, "r+b") as f:
        f.seek(5000)
        f.write(b"damaged")
    (folder / ".engine").unlink()
    done = fetch(folder)
    assert done.returncode == 1
    assert package.name in done.stderr and "damaged" in done.stderr
    assert version(folder / "usr" / "bin" / "llama-server")


def test_a_broken_engine_is_made_again(folder):
    assert fetch(folder).returncode == 0
    program = folder / "usr" / "bin" / "llama-server"
    os.truncate(program.resolve(), 100)
    done = fetch(folder)
    assert done.returncode == 0, done.stderr
    assert version(program)


def test_one_that_was_killed_half_way_is_finished_by_the_next(folder):
    with subprocess.Popen([TOOL, str(folder)], env={**os.environ, "OFFLINE": "1"}, start_new_session=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (folder / "new" / "usr").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert (folder / "new" / "usr").exists()
        os.killpg(process.pid, signal.SIGKILL)
    assert not (folder / ".engine").exists()
    done = fetch(folder)
    assert done.returncode == 0, done.stderr
    assert version(folder / "usr" / "bin" / "llama-server")


def test_two_at_once_make_one(folder):
    environment = {**os.environ, "OFFLINE": "1"}
    both = [subprocess.Popen([TOOL, str(folder)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)]
    for process in both:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert version(folder / "usr" / "bin" / "llama-server")


def test_a_folder_of_somebody_else_is_not_touched(tmp_path):
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "mine").write_text("x", encoding="utf-8")
    done = fetch(tmp_path)
    assert done.returncode == 2
    assert "is not a folder of this script" in done.stderr
    assert os.listdir(tmp_path) == ["usr"]


def test_without_a_network_it_says_so_and_leaves_nothing_that_looks_whole(tmp_path):
    done = fetch(tmp_path / "engine", OFFLINE="", MIRROR="http://127.0.0.1:9/nothing")
    assert done.returncode == 1
    assert "cannot read the package lists of 'forky'" in done.stderr
    assert not (tmp_path / "engine" / "usr").exists()
    assert not (tmp_path / "engine" / ".engine").exists()


def test_offline_without_packages_says_so(tmp_path):
    done = fetch(tmp_path / "engine")
    assert done.returncode == 1
    assert "has no packages of an earlier run" in done.stderr


def test_a_tool_that_is_missing_is_named(tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("bash", "realpath", "head", "mkdir", "flock", "apt-get", "dpkg-deb", "dpkg", "gpgv"):
        os.symlink(shutil.which(name), bare / name)
    done = fetch(tmp_path / "engine", PATH=str(bare))
    assert done.returncode == 2
    assert "needs patchelf" in done.stderr
