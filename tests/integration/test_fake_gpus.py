# SPDX-License-Identifier: Apache-2.0
"""The engine of the tests on GPUs that are not there does as llama.cpp does, so that a plan can be held against it; and
pool-probe by hand (DEV-1, MASK-1)."""
import json
import os
import subprocess
import time

import pytest

from poolmgr_test import FAULT_ENGINE, wait_until
from poolmgr_test.paths import POOL_PROBE

MIB = 1 << 20
GIB = 1 << 30
ORDERS = "vram:weights=%d,vram:layers=32,vram:kv=131072,vram:compute=%d,vram:context=%d" % (
    33 * 100 * MIB, 200 * MIB, 300 * MIB)


class LoadedEngine:
    """A fault engine that has loaded, or has ended."""

    def __init__(self, folder, gpus, args, orders=ORDERS, **environment):
        self.log = os.path.join(folder, "engine-%d.log" % time.monotonic_ns())
        env = {k: v for k, v in os.environ.items() if not k.startswith("CUDA_")}
        env.update(gpus.environment, FAULT=orders, **environment)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(FAULT_ENGINE), "--host", os.path.join(folder, "%d.sock" % time.monotonic_ns()), *args], env=env,
                stderr=log)
        wait_until(lambda: "is listening" in self.said() or self.process.poll() is not None, 30, "the engine")

    def said(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def test_it_takes_what_its_arguments_say_where_its_mask_says(short_folder, gpus):
    g = gpus(3)
    with LoadedEngine(short_folder, g, ["-ngl", "33", "-sm", "none", "-mg", "0", "-c", "8192", "-lv", "4"],
                      CUDA_VISIBLE_DEVICES=g.uuid(1)) as e:
        wanted = (33 * 100 + 1024 + 200 + 300) * MIB
        assert g.users() == {e.process.pid: {g.uuid(1): wanted}}
        assert "I load_tensors: offloaded 33/33 layers to GPU\n" in e.said()
        assert "I load_tensors:        CUDA0 model buffer size =  3300.00 MiB\n" in e.said()
        assert "I llama_kv_cache:      CUDA0 KV buffer size =  1024.00 MiB\n" in e.said()
        assert "I sched_reserve:      CUDA0 compute buffer size =   200.00 MiB\n" in e.said()
    wait_until(lambda: g.users() == {}, 10, "the return of its memory")


def test_it_splits_by_counts_in_the_order_of_its_mask(short_folder, gpus):
    g = gpus(3)
    with LoadedEngine(short_folder, g, ["-ngl", "33", "-sm", "layer", "-ts", "20,13", "-c", "4096"],
                      CUDA_VISIBLE_DEVICES="%s,%s" % (g.uuid(2), g.uuid(0))) as e:
        used = g.users()[e.process.pid]
        assert used == {g.uuid(2): (20 * 100 + 20 * 16 + 200 + 300) * MIB, g.uuid(0): (13 * 100 + 12 * 16 + 500) * MIB}


@pytest.mark.parametrize("mask", ["-1", "", "GPU-ab", "7"])
def test_without_a_device_it_takes_nothing(short_folder, gpus, mask):
    g = gpus(2)
    with LoadedEngine(short_folder, g, ["-ngl", "33"], CUDA_VISIBLE_DEVICES=mask) as e:
        assert e.process.poll() is None
        assert g.users() == {}


def test_layers_that_are_not_asked_for_stay_on_the_host(short_folder, gpus):
    g = gpus(1)
    with LoadedEngine(short_folder, g, ["-ngl", "10", "-c", "4096", "-lv", "4"]) as e:
        assert g.users()[e.process.pid][g.uuid(0)] == (10 * 100 + 9 * 16 + 500) * MIB
        assert "CPU_Mapped model buffer size =  2300.00 MiB" in e.said()
    with LoadedEngine(short_folder, g, ["-ngl", "0", "--device", "none"]) as e:
        assert e.process.pid not in g.users()


def test_too_much_is_out_of_memory_in_cudas_words(short_folder, gpus):
    g = gpus(2, "4GiB")
    with LoadedEngine(short_folder, g, ["-ngl", "33", "-c", "8192"], CUDA_VISIBLE_DEVICES=g.uuid(0)) as e:
        assert e.process.wait(10) == 1
        assert "cudaMalloc failed: out of memory" in e.said()
        assert "error loading model: unable to allocate CUDA0 KV buffer" in e.said()
    with LoadedEngine(short_folder, g, ["-ngl", "33", "-c", "8192"]) as e: # both together have it
        assert e.process.poll() is None


def test_it_loads_step_by_step_and_gives_back_behind_a_lag(short_folder, gpus):
    g = gpus(1)
    before = g.free(0)
    g.option(lag=700)
    env = {**os.environ, **g.environment, "FAULT": ORDERS + ",vram:steps=10,vram:step=50"}
    with subprocess.Popen([str(FAULT_ENGINE), "--host", os.path.join(short_folder, "e.sock"), "-c", "4096"], env=env,
                          stderr=subprocess.DEVNULL) as process:
        seen = set()
        wait_until(lambda: seen.add(g.free(0)) or before - g.free(0) == (3300 + 512 + 500) * MIB, 30, "the load")
        assert len(seen) >= 5
        process.kill()
    killed = time.monotonic()
    assert g.users() == {}      # not listed any more, and not free yet
    assert g.free(0) < before
    wait_until(lambda: g.free(0) == before, 10, "the return of its memory")
    assert time.monotonic() - killed >= 0.6


def test_pool_probe_by_hand_prints_one_line(gpus):
    g = gpus(2)
    g.tell("take", 1, 999999, "3GiB")
    shown = subprocess.run([str(POOL_PROBE), "--once", "--nvml", g.library], env={**os.environ, **g.environment},
                           check=True, capture_output=True, text=True).stdout
    snapshot = json.loads(shown)
    assert shown.count("\n") == 1
    assert snapshot["node"] == "ok"
    assert [d["id"] for d in snapshot["gpus"]] == [g.uuid(0), g.uuid(1)]
    assert snapshot["gpus"][1]["processes"] == [{"pid": 999999, "bytes": 3 * GIB}]
    assert snapshot["gpus"][1]["processes_complete"]


@pytest.mark.parametrize("words,says", [
    (["--nvml", "libnvidia-ml.so.1", "--once"], "absolute"), (["--fd", "2"], "--fd"), (["--fd", "x"], "--fd"),
    (["--fd", "77"], "not open"), (["--what"], "option"), (["once"], "arguments")])
def test_pool_probe_says_what_is_wrong_with_its_arguments(words, says):
    answer = subprocess.run([str(POOL_PROBE), *words], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert says in answer.stderr


def test_the_library_and_its_users_may_be_killed_at_any_moment(gpus):
    """Whoever dies with the lock in hand leaves it to the next one."""
    g = gpus(1)
    env = {**os.environ, **g.environment, "FAULT": "vram:weights=%d,vram:steps=200" % (200 * MIB)}
    for i in range(40):
        with subprocess.Popen([str(FAULT_ENGINE), "--host", "/tmp/pmt-nowhere-%d.sock" % os.getpid(), "-ngl", "33"],
                              env=env, stderr=subprocess.DEVNULL) as process:
            time.sleep(0.001 * (i % 10))
            process.kill()
    try:
        os.unlink("/tmp/pmt-nowhere-%d.sock" % os.getpid())
    except FileNotFoundError:
        pass
    wait_until(lambda: g.users() == {}, 10, "the return of their memory")
    assert g.free(0) == 24 * GIB - 24 * GIB // 64
