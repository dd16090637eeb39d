# SPDX-License-Identifier: Apache-2.0
"""tests/hw/run on a GPU that is a test double: it passes where all is as believed, finds every lie, and skips what is
not there."""
import json
import os
import subprocess
import sys

import pytest

from poolmgr_test.paths import BUILD, ROOT

HW = ROOT / "tests" / "hw"
FAKE = BUILD / "tests" / "hw" / "libfake_gpu.so"


def run(tmp_path, groups, gpu_lies="", smi_lies="", library=FAKE, cuda=None, more=(), **environment):
    """(exit status, facts.json, report.md)"""
    environment = {**os.environ, "FAKE_GPU": str(tmp_path / "gpu"), "FAKE_SMI_HW": str(BUILD / "tests" / "hw" / "hw"),
                   "HW_NVML": str(FAKE), "HW_CUDA": str(FAKE), "FAKE_GPU_LIES": gpu_lies, "FAKE_SMI_LIES": smi_lies,
                   **environment}
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, str(HW / "run"), "--out", str(out), "--build", str(BUILD),
                           "--groups", groups, "--nvml", str(library), "--cuda", str(cuda or library),
                           "--smi", str(HW / "fake" / "nvidia-smi"), "--patience", "0.5", *more],
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
    assert done.returncode in (0, 1), done.stdout.decode()
    return done.returncode, json.loads((out / "facts.json").read_text()), (out / "report.md").read_text()


def told(facts, status):
    return [f["what"] for f in facts["findings"] if f["status"] == status]


def test_on_a_machine_as_believed_everything_passes_that_can_be_checked(tmp_path):
    status, facts, report = run(tmp_path, "1,2,4,5,7", FAKE_GPU_COUNT="2")
    assert (status, told(facts, "FAIL")) == (0, [])
    for group in "12457":
        assert [f for f in facts["findings"] if f["group"] == group and f["status"] == "PASS"], group
    assert facts["ended"] and facts["title"] == "Fake GPU + Fake GPU, driver 580.0.0, CUDA 13.0"
    assert "| PASS | an XID 31 or 13 event tells of it |" in report
    assert len(facts["facts"]["group_4"]["matrix"]) > 20


def test_the_gpus_of_fake_nvml_are_as_believed_too(tmp_path):
    fakegpu = BUILD / "tests" / "fake-nvml" / "fakegpu"
    library = BUILD / "tests" / "fake-nvml" / "libnvidia-ml.so.1"
    environment = {"FAKE_NVML": str(tmp_path / "gpus"), "HW_NVML": str(library)}
    for words in (["create", "1", "80GiB"], ["option", "lag=100"]):
        subprocess.run([str(fakegpu), *words], env=dict(os.environ, **environment), check=True)
    status, facts, _ = run(tmp_path, "1,3,7", library=library, cuda=FAKE, **environment)
    assert (status, told(facts, "FAIL")) == (0, [])
    killed = [f for name, f in facts["facts"]["group_3"].items() if name.startswith("kill -9 with")][0]
    assert killed["back_ms"] - killed["dead_ms"] >= 90      # they keep memory for 100 ms
    assert "process rows, list: the row of the large process says what it holds" in told(facts, "PASS")
    assert "an XID 31 or 13 event tells of it" in told(facts, "PASS")


@pytest.mark.parametrize("groups, lies", [
    ("1", {"count": "every device that is counted has a handle",
           "identity": "v1: total = free + used",
           "tag": "memory_v2: wrong tags are refused",
           "prefix": "a UUID's prefix finds nothing"}),
    ("1,2", {"leak": "they leave no more descriptors behind than the first ten did",
             "inherit": "a child would inherit none of them, nor of those that NVML holds open"}),
    ("1,3", {"context": "a bare context costs between 100 and 640 MiB",
             "delta": "each of five allocations of 4096.0 MiB is seen at once, exactly but for 4 MiB",
             "stride": "process rows, v3: 24 bytes apart",
             "release": "kill -9 of a bare context: all memory comes back within 0.5 s"}),
    ("1,4", {"visible": "CUDA_VISIBLE_DEVICES '0,0': none"}),
    ("1,5", {"late": "a wait ends in time: not before, and at most 25 ms late",
             "recovery": "field 230, recovery action: 0 on a healthy GPU"}),
    ("1,5", {"no_xid": "XIDs can be waited for"}),
    ("1,7", {"xid": "no event says that the GPU itself is ill"}),
    ("1,7", {"no_fault": "a store to a bad address is error 700 (716 where no word begins)"}),
])
def test_what_is_not_as_believed_is_a_failure(tmp_path, groups, lies):
    status, facts, report = run(tmp_path, groups, gpu_lies=",".join(lies))
    failed = told(facts, "FAIL")
    assert status == 1 and set(lies.values()) <= set(failed), failed
    assert report.count("| FAIL | ") == len(failed)
    if "release" in lies:
        assert "nothing of ours is left on the device" in failed
    assert told(facts, "PASS")      # the others are still checked


def test_another_address_is_tried_where_a_store_is_lost(tmp_path):
    status, facts, _ = run(tmp_path, "1,7", gpu_lies="null")
    assert (status, told(facts, "FAIL")) == (0, [])
    stores = facts["facts"]["group_7"]["stores"]
    assert [(s["address"], s["store"]["code"], s["xids"]) for s in stores] == [("8", 0, []), ("400000000008", 700, [31])]
    assert stores[0]["load"]["seen"] == stores[0]["copy"]["seen"] == 0
    crooked = facts["facts"]["group_7"]["crooked_store"]
    assert (crooked["store"]["code"], crooked["xids"]) == (716, [13])


def test_where_no_store_faults_every_attempt_is_told(tmp_path):
    _, facts, _ = run(tmp_path, "1,7", gpu_lies="no_fault")
    assert [s["address"] for s in facts["facts"]["group_7"]["stores"]] == [
        "8", "400000000008", "1000000000000", "7ffffffff000", "closed", "between"]
    assert "The daemon hears of such a store, and keeps the device" in told(facts, "SKIP")


def vulkan(tmp_path, says):
    """Group 8 with an engine that is a shell script; facts.json."""
    engine, driver = tmp_path / "usr" / "bin" / "llama-server", tmp_path / "driver"
    engine.parent.mkdir(parents=True)
    driver.mkdir()
    for name in ("libGLX_nvidia.so.0", "libEGL_nvidia.so.0"):
        (driver / name).write_text("")
    engine.write_text("#!/bin/sh\n[ \"$1\" = --list-devices ] || exit 1\necho Available devices:\n" + says)
    engine.chmod(0o755)
    _, facts, _ = run(tmp_path, "1,8", more=["--engine", str(engine)], LD_LIBRARY_PATH=str(driver))
    return facts


def test_ways_to_vulkan_are_tried_until_the_gpu_is_seen(tmp_path):
    facts = vulkan(tmp_path, 'case $VK_DRIVER_FILES in */libEGL_nvidia.so.0.json)\n'
                             'grep -q "/driver/libEGL_nvidia.so.0" "$VK_DRIVER_FILES" && echo "  Vulkan0: Fake GPU";;\n'
                             '*) echo "ERROR: nothing" >&2;; esac\n')
    ways = facts["facts"]["group_8"]["vulkan_ways"]
    assert [way["devices"] for way in ways] == [[], [], [], ["Vulkan0: Fake GPU"]]
    assert [way["loader"] for way in ways] == 3 * [["ERROR: nothing"]] + [[]]
    assert "the engine lists the GPU as a Vulkan device" in told(facts, "PASS")


def test_another_vulkan_device_than_the_gpu_is_a_failure(tmp_path):
    facts = vulkan(tmp_path, 'echo "  Vulkan0: llvmpipe"\n')
    assert told(facts, "FAIL") == ["the engine lists the GPU as a Vulkan device"]
    assert len(facts["facts"]["group_8"]["vulkan_ways"]) == 4


def test_what_the_vulkan_driver_lacks_is_told_where_no_way_leads_to_it(tmp_path):
    facts = vulkan(tmp_path, "exit 0\n")
    assert (told(facts, "FAIL"), "The engine lists the GPU as a Vulkan device" in told(facts, "SKIP")) == ([], True)
    needs = facts["facts"]["group_8"]["vulkan_needs"]
    assert "file too short" in needs["libGLX_nvidia.so.0 under the machine's libc"][-1]


def test_what_nvidia_smi_tells_otherwise_is_a_failure(tmp_path):
    lies = {"memory.total": "1", "name": "Another", "driver_version": "1", "compute_mode": "Prohibited",
            "mig.mode.current": "Enabled", "temperature.gpu": "95", "compute_cap": "[N/A]"}
    _, facts, _ = run(tmp_path, "1", smi_lies=",".join("%s=%s" % lie for lie in lies.items()))
    assert told(facts, "FAIL") == ["%s of GPU 0 is nvidia-smi's" % name for name in (
        "name", "driver_version", "compute_mode", "mig.mode.current", "memory.total", "temperature.gpu")]
    assert "compute_cap of GPU 0 is nvidia-smi's" in told(facts, "SKIP")


def test_a_device_that_nvidia_smi_does_not_list_is_a_failure(tmp_path):
    _, facts, _ = run(tmp_path, "1", smi_lies="uuid=GPU-0")
    assert told(facts, "FAIL") == ["nvidia-smi lists the UUID that NVML tells"]


def test_without_a_driver_all_is_skipped(tmp_path):
    status, facts, _ = run(tmp_path, "1,2,3,4,5,6,7,8", gpu_lies="no_driver")
    assert (status, told(facts, "FAIL")) == (0, [])
    assert told(facts, "PASS") == ["every symbol that the probe requires is there"]     # a library alone proves it


def test_without_a_library_all_is_skipped(tmp_path):
    status, facts, _ = run(tmp_path, "1,2,3,4,5,6,7,8", library="/nowhere/libnvidia-ml.so.1")
    assert (status, told(facts, "FAIL"), told(facts, "PASS")) == (0, [], [])
    assert [f for f in facts["findings"] if "cannot open shared object" in f["seen"]]


def test_a_helper_that_crashes_costs_its_check_only(tmp_path):
    status, facts, _ = run(tmp_path, "1", gpu_lies="crash")
    crashed = [f for f in facts["findings"] if f["status"] == "FAIL"]
    assert status == 1 and "signal 11" in crashed[0]["seen"], crashed
    assert "every symbol that the probe requires is there" in told(facts, "PASS")


def test_a_driver_that_hangs_does_not_hang_the_run(tmp_path):
    status, facts, report = run(tmp_path, "1,2,7", gpu_lies="hang", more=["--seconds", "25"])
    assert status == 1 and facts["ended"]
    assert [f for f in facts["findings"] if "said nothing for" in f["seen"]], facts["findings"]
    assert "(not ended)" not in report
