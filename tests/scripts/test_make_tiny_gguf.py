# SPDX-License-Identifier: Apache-2.0
"""The tiny model: the same arguments give the same bytes, and a file is whole or not there."""
import os
import resource
import struct
import subprocess

import pytest

from poolmgr_test import ROOT

TOOL = str(ROOT / "tools" / "make_tiny_gguf.py")


def make(path, *options, **more):
    return subprocess.run(["/usr/bin/python3", TOOL, str(path), *options], capture_output=True, text=True, check=False, **more)


def test_the_same_arguments_give_the_same_bytes_and_others_do_not(tmp_path):
    for name, options in (("a", []), ("b", []), ("c", ["--seed", "2"])):
        assert make(tmp_path / name, *options).returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]


def test_it_is_a_gguf_of_version_3(tmp_path):
    assert make(tmp_path / "a").returncode == 0
    magic, version, n_tensors, n_meta = struct.unpack("<4sIQQ", (tmp_path / "a").read_bytes()[:24])
    assert (magic, version) == (b"GGUF", 3)
    assert n_tensors == 3 + 2 * 9
    assert n_meta > 20


def test_a_sparse_model_is_large_and_takes_little_room(tmp_path):
    assert make(tmp_path / "a", "--size-mb", "512", "--layers", "8", "--embd", "512", "--sparse").returncode == 0
    found = os.stat(tmp_path / "a")
    assert 450 << 20 < found.st_size < 560 << 20
    assert found.st_blocks * 512 < 16 << 20


@pytest.mark.parametrize("options", [["--heads", "0"], ["--embd", "33"], ["--embd", "0"], ["--layers", "0"], ["--ff", "31"],
                                     ["--branch", "0"], ["--pooling", "max"]])
def test_a_shape_that_no_engine_takes_is_refused(tmp_path, options):
    done = make(tmp_path / "a", *options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not os.listdir(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    done = make(tmp_path / "none" / "a")
    assert done.returncode == 1
    assert done.stderr == "make_tiny_gguf.py: cannot write '%s': No such file or directory\n" % (tmp_path / "none" / "a")


def test_a_full_disk_leaves_the_old_model_and_no_rubbish(tmp_path):
    assert make(tmp_path / "a").returncode == 0
    before = (tmp_path / "a").read_bytes()
    done = make(tmp_path / "a", "--size-mb", "4",
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    assert done.returncode != 0
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == before
