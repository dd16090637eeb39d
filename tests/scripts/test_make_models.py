# SPDX-License-Identifier: Apache-2.0
"""Models of many architectures: the same name gives the same bytes, weights are holes; and what is estimated of them is
what a real engine takes (VRAM-1; docs/estimates.md has all of them)."""
import os
import subprocess
import sys

import pytest

from poolmgr_test import POOLCTL, ROOT, rpc_is_here

TOOL = str(ROOT / "tools" / "make_models.py")
sys.path.insert(0, str(ROOT / "tools"))
import make_models  # noqa: E402


def make(*arguments):
    return subprocess.run(["/usr/bin/python3", TOOL, *arguments], capture_output=True, text=True, check=False)


def test_the_same_name_gives_the_same_bytes_and_weights_take_no_room(tmp_path):
    for folder in ("a", "b"):
        assert make(str(tmp_path / folder), "gpt-oss-mxfp4").returncode == 0
    found = os.stat(tmp_path / "a" / "gpt-oss-mxfp4.gguf")
    assert found.st_size > 600 << 20 and found.st_blocks * 512 < 16 << 20
    heads = [open(tmp_path / folder / "gpt-oss-mxfp4.gguf", "rb").read(8 << 20) for folder in ("a", "b")]
    assert heads[0] == heads[1]
    assert os.listdir(tmp_path / "a") == ["gpt-oss-mxfp4.gguf"]


def test_names_are_listed_and_unknown_ones_refused(tmp_path):
    listed = make("--list").stdout.splitlines()
    assert len(listed) == len(make_models.MODELS) >= 20
    assert len({line.split()[1] for line in listed}) >= 12      # architectures
    refused = make(str(tmp_path), "llama-9-real")
    assert refused.returncode == 2 and "no model 'llama-9-real'" in refused.stderr
    assert make("/proc/nowhere", "llama-f16").returncode == 1


@pytest.mark.skipif(not rpc_is_here(), reason="no ggml-rpc-server in build/engine-rpc")
def test_an_estimate_is_what_a_real_engine_takes_on_one_to_three_devices(tmp_path):
    done = subprocess.run(["/usr/bin/python3", str(ROOT / "scripts" / "estimate_table.py"), str(POOLCTL),
                           str(ROOT / "build" / "engine-rpc"), "--only", "bf16-tied", "--out", str(tmp_path / "page.md")],
                          capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 rows: 7 within 10 %, 7 with exact weights and KV, 0 devices short" in done.stdout
    assert "| qwen3-bf16-tied | 3 |" in (tmp_path / "page.md").read_text()
