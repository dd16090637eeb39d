# SPDX-License-Identifier: Apache-2.0
"""MASK-1: what is wrong with a mask has the same code and the same byte wherever the mask stands."""
import json
import os
import subprocess

import pytest

from poolmgr_test import Daemon, request, tiny_model, wait_until
from poolmgr_test.paths import FAKE_NVML, POOLCTL, ROOT

LONG = "0," * 2048 + "1"
# What the text alone shows (docs/devices.md): a mask, its code behind mask_, the byte at fault.
FAULTS = [
    ("", "empty", 0), ("0,,1", "syntax", 2), ("0,", "syntax", 2), ("0 ,1", "syntax", 1), ("+1", "syntax", 0), ("0,\t1", "syntax", 2),
    ("1gpu2", "syntax", 1), ("1,01", "leading_zero", 2), ("0,2,-1", "negative", 4), ("1024", "index_range", 0),
    ("0,3-1", "range_reversed", 2), ("0-128", "range_too_wide", 0), ("0-2,1", "duplicate", 4), ("none,0", "mixed_none", 0),
    ("0,all", "mixed_all", 2), ("0,GPU-xyz", "uuid_malformed", 6), ("0,GPU-ab", "prefix_short", 2), ("foo:0", "vendor_unknown", 0),
    (LONG, "too_long", 4096)]


def poolctl(d, *words):
    return subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, *words], capture_output=True, text=True, timeout=60, check=False)


def handoff(mask):
    return {"version": 1, "pool": "h", "replica": 0, "engine": "vllm", "endpoint": "http://127.0.0.1:1", "model": "m", "slots": 1,
            "device_mask": mask}


def test_a_faulty_text_has_its_code_and_its_byte_wherever_it_stands(daemon):
    d = daemon({"a": Daemon.pool(devices="0", vram="1GiB")}, {"devices": {"declared": {"0": "24GiB"}}})
    for mask, name, offset in FAULTS:
        code = "mask_" + name
        answers = {"devices": request(d.port, "PUT", "/v1/pools/b", {"model": tiny_model(), "devices": mask}),
                   "mask": d.post("/v1/placement", {"model": "a", "mask": mask}),
                   "device_mask": d.post("/v1/pools/h/handoff", handoff(mask))}
        for param, answer in [*answers.items(), ("devices", d.post("/v1/plan", {"model": "a", "devices": mask}))]:
            error = answer.json()["error"]
            assert (answer.status, error["code"], error["offset"], error["param"]) == (400, code, offset, param), (mask, answer.body)
        if mask != LONG:    # a header has at most 1024 bytes; its byte is counted from the header's first
            error = d.chat("a", headers={"X-Placement": "mask=" + mask}).json()["error"]
            assert (error["code"], error["offset"], error["param"]) == (code, offset + len("mask="), "X-Placement"), (mask, error)
        done = poolctl(d, "plan", "a", "--devices", mask)
        assert done.returncode == 2 and " (byte %d)" % offset in done.stderr, (mask, done)
        assert json.loads(poolctl(d, "--json", "plan", "a", "--devices", mask).stdout)["error"]["code"] == code
        done = poolctl(d, "plan", tiny_model(), "--machine", "24", "--devices", mask)
        assert done.returncode == 2 and done.stderr.startswith("poolctl: --devices: "), (mask, done)


def test_a_faulty_text_in_the_file_is_told_with_its_column(tmp_path):
    path = tmp_path / "config.yaml"
    for mask, _, offset in FAULTS:
        if "\t" in mask:
            continue    # in a file it is a blank between words
        for quote in ('"', "'", "") if mask else ('"', "'"):
            path.write_text("pools:\n  b:\n    model: /m.gguf\n    devices: %s%s%s\n" % (quote, mask, quote), encoding="utf-8")
            done = subprocess.run([str(POOLCTL), "config", "check", str(path)], capture_output=True, text=True, check=False)
            column = 14 + len(quote) + offset
            assert done.returncode == 2 and ":4:%d: 'devices' in pool 'b': " % column in done.stderr, (mask, quote, done)


# What the devices show: pool, its mask, its code behind mask_, the byte.
FOUND = [("beyond", "0,7", "not_found", 2), ("hidden", "5", "not_permitted", 0), ("begins", "0,GPU-fa00", "prefix_ambiguous", 2),
         ("whole", "0:1", "mig_disabled", 0), ("parent", "0,1", "gpu_in_mig_mode", 2), ("hole", "1:1", "not_found", 0),
         ("both", "1,1:0", "mig_parent_overlap", 2), ("nameless", "0,2", "not_found", 2), ("mode", "3", "compute_prohibited", 0),
         ("twice", "0,GPU-fa000000", "duplicate", 2), ("map", "1:0,1:3", "mig_multi", 4)]


def test_what_the_devices_show_is_told_by_a_start_and_by_a_plan_alike(either, gpus):
    """MASK-1, LOAD-2: GPUs in MIG mode with a hole, lost from the beginning, prohibited and hidden, by their places on the bus."""
    g = gpus(6)
    g.set(1, mig_capable=1, mig_now=1, mig_pending=1)
    g.tell("mig", 1, 0, "10GiB")
    g.tell("mig", 1, 3, "10GiB")
    g.set(2, code=15)
    g.set(3, compute_mode=2)
    pools = {name: Daemon.faulty("", devices=mask, vram="1GiB") for name, mask, _, _ in FOUND}
    pools["map"]["vram"] = {"1:0": "1GiB", "1:3": "1GiB"}
    for name, mask in (("one", "0,4"), ("instance", "1:0,1:3"), ("all", "all")):
        pools[name] = Daemon.faulty("", devices=mask, vram="1GiB")
    d = either(pools, {"devices": {"nvml": g.library}}, environment={**g.environment, "CUDA_VISIBLE_DEVICES": "0,1,2,3,4"})
    wait_until(lambda: len(d.get("/v1/devices").json()["devices"]) == 7, 30, "the devices")
    for name, mask, code, offset in FOUND:
        assert d.post("/v1/pools/%s/start?wait=60s" % name).json()["error"]["code"] == "pool_failed"
        last = d.pool_state(name)["replicas"][0]["last_error"]
        assert last["code"] == "mask_" + code, (mask, last)
        if name != "map":       # which a plan has no need of
            error = d.post("/v1/plan", {"model": name}).json()["error"]
            assert (error["code"], error["message"]) == (last["code"], last["text"]), (mask, error, last)
            error = d.post("/v1/plan", {"model": "one", "devices": mask}).json()["error"]
            assert (error["code"], error["offset"]) == (last["code"], offset), (mask, error)
    assert g.users() == {}
    for name in ("one", "instance", "all"):
        d.use(name)
        plan = d.post("/v1/plan", {"model": name}).json()
        assert plan["fits"] and sum(device["layers"] > 0 for device in plan["devices"]) == 1, plan


def plan_a_file(g, mask, **environment):
    """What `poolctl plan FILE` says without a daemon, of the GPUs of this machine."""
    words = [str(POOLCTL), "--json", "plan", tiny_model(), "--ctx", "512", *(("--devices", mask) if mask else ())]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **g.environment, "LD_LIBRARY_PATH": str(FAKE_NVML.parent),
                               "POOL_PROBE_ROOT": str(ROOT / "tests" / "trees" / "workstation"), **environment})


def test_a_plan_of_a_file_knows_the_devices_of_the_machine_as_a_daemon_does(daemon, gpus):
    """MASK-1, VRAM-1: their indexes are the machine's, and what cannot be used is refused for what it is."""
    g = gpus(6)
    g.set(1, mig_capable=1, mig_now=1, mig_pending=1)
    g.tell("mig", 1, 0, "10GiB")
    g.tell("mig", 1, 3, "10GiB")
    g.set(2, code=15)
    g.set(3, compute_mode=2)
    hidden = {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4"}
    d = daemon({"one": Daemon.faulty("", devices="0,4", vram="1GiB")}, {"devices": {"nvml": g.library}},
               environment={**g.environment, **hidden})
    wait_until(lambda: len(d.get("/v1/devices").json()["devices"]) == 7, 30, "the devices")
    for mask in ["0,7", "5", "0,GPU-fa00", "0:1", "0,1", "1:1", "1,1:0", "0,2", "3", "0,GPU-fa000000"]:
        error = d.post("/v1/plan", {"model": "one", "devices": mask}).json()["error"]
        done = plan_a_file(g, mask, **hidden)
        assert done.returncode == 2 and done.stderr.startswith("poolctl: --devices: " + error["message"]), (mask, error, done)
    for mask, ids in [("4", [g.uuid(4)]), ("4,0", [g.uuid(4), g.uuid(0)]), ("1:3", ["MIG"]), (None, [g.uuid(0), "MIG", "MIG", g.uuid(4)])]:
        there = d.post("/v1/plan", {"model": "one", "devices": mask or "all"}).json()
        here = json.loads(plan_a_file(g, mask, **hidden).stdout)
        for plan in (there, here):
            assert [device.get("uuid", "").split("-1111-")[0][:len(i)] for device, i in zip(plan["devices"], ids)] == ids, (mask, plan)
        assert [device["device"] for device in there["devices"]] == [device["device"] for device in here["devices"]], (mask, there, here)

    g.set(0, code=15)
    g.set(4, code=15)
    g.tell("mig", 1, 0, "off")
    g.tell("mig", 1, 3, "off")
    done = plan_a_file(g, None, **hidden)
    assert done.returncode == 1 and "--machine 24,12" in done.stderr, done


def test_a_mask_chooses_among_more_devices_than_an_engine_has(daemon, gpus):
    """MASK-1, SPLIT-1: behind three GPUs in MIG mode with seven instances each there are others; only what is chosen is bounded."""
    g = gpus(5)
    for gpu in range(3):
        g.set(gpu, mig_capable=1, mig_now=1, mig_pending=1)
        for slot in range(7):
            g.tell("mig", gpu, slot, "5GiB" if (gpu, slot) != (2, 6) else "10GiB")
    d = daemon({"one": Daemon.faulty("", devices="3", vram="1GiB")}, {"devices": {"nvml": g.library}}, environment=g.environment)
    wait_until(lambda: len(d.get("/v1/devices").json()["devices"]) == 26, 30, "the devices")
    for mask, count in [("3", 1), ("4,3", 2), ("2:6", 1), ("all", 16)]:
        there = d.post("/v1/plan", {"model": "one", "devices": mask}).json()
        here = json.loads(plan_a_file(g, mask).stdout)
        for plan in (there, here):
            assert plan["fits"] and len(plan["devices"]) == count, (mask, plan)
        if mask == "all":
            assert {g.uuid(3), g.uuid(4)} < {device["uuid"] for device in there["devices"]}, there
    error = d.post("/v1/plan", {"model": "one", "devices": "2"}).json()["error"]
    assert error["code"] == "mask_gpu_in_mig_mode", error


def test_a_mask_of_more_devices_than_an_engine_has_is_refused_by_their_number(daemon):
    """MASK-1, SPLIT-1"""
    declared = {str(i): "24GiB" for i in range(18)}
    d = daemon({"one": Daemon.faulty("", devices="17", vram="1GiB")}, {"devices": {"declared": declared}})
    assert len(d.post("/v1/plan", {"model": "one", "devices": "2-17"}).json()["devices"]) == 16
    answer = d.post("/v1/plan", {"model": "one", "devices": "1-17"})
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "mask_too_long", "devices"), error
    assert error["message"] == "'1-17' means 17 devices, and an engine has at most 16", error


@pytest.mark.parametrize("key", ["7", "GPU-ffff"])
def test_a_map_of_bytes_that_names_no_device_is_refused_by_name(daemon, gpus, key):
    """MASK-1, LOAD-2"""
    g = gpus(2)
    d = daemon({"a": Daemon.faulty("", devices="0,1", vram={"0": "1GiB", key: "1GiB"})}, {"devices": {"nvml": g.library}},
               environment=g.environment)
    wait_until(lambda: len(d.get("/v1/devices").json()["devices"]) == 2, 30, "the devices")
    assert d.post("/v1/pools/a/start?wait=60s").json()["state"] == "failed"
    last = d.pool_state("a")["replicas"][0]["last_error"]
    assert last["code"] == "mask_not_found" and key in last["text"], last
