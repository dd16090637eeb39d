# SPDX-License-Identifier: Apache-2.0
"""Devices as pool-probe finds them, under the real daemon, on GPUs that are not there (DEV-1, SUP-7, SUP-8, VRAM-1)."""
import os
import random
import signal
import subprocess
import time

import pytest

from poolmgr_test import FULL, Daemon, alive, wait_until
from poolmgr_test.paths import ENGINE, POOLCTL

GIB = 1 << 30
ORDERS = "vram:weights=%d,vram:layers=2,vram:context=%d" % (6 * GIB, 300 << 20)


def on(gpus, **more):
    return {"devices": {"nvml": gpus.library}, **more}


def gpu_pool(**more):
    return Daemon.faulty(more.pop("orders", ORDERS), devices=more.pop("devices", "0"), vram="8GiB", **more)


def devices(d):
    return {x["id"]: x for x in d.get("/v1/devices").json()["devices"]}


def device(d, g, i=0):
    return devices(d).get(g.uuid(i), {})


def wait_found(d, count):
    wait_until(lambda: len(devices(d)) == count, 30, "%d devices" % count)


def probes(d):
    """The pids of this daemon's pool-probe, zombies too."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name, encoding="utf-8", errors="replace") as f:
                head, _, rest = f.read().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if head.endswith("(pool-probe") and int(rest.split()[1]) == d.process.pid:
            found.append(int(name))
    return found


def test_devices_are_found_and_a_neighbour_is_planned_around_and_named(either, gpus):
    g = gpus(2)
    d = either({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 2)
    assert d.get("/v1/devices").json()["driver"] == {"state": "ok", "version": "580.65.06", "cuda": "13.0"}
    before = device(d, g, 1)["left_bytes"]
    g.tell("take", 1, 999999, "3GiB")
    wait_until(lambda: device(d, g, 1)["left_bytes"] == before - 3 * GIB, 30, "the neighbour being seen")
    shown = subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % d.port, "devices"], capture_output=True,
                           text=True, check=True).stdout
    assert "(pid 999999) uses 3.0 GiB" in shown, shown
    d.use("a")
    assert device(d, g)["planned_bytes"] == 8 * GIB


def test_a_machine_whose_library_hangs_serves_on(daemon, gpus):
    """The driver does not answer for as long as it likes: its devices are unknown, everything else goes on."""
    g = gpus(1)
    d = daemon({"cpu": Daemon.pool(), "a": gpu_pool(orders="")}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("cpu")
    d.use("a")
    g.call("nvmlDeviceGetMemoryInfo_v2", "hang")
    slowest, deadline = 0, time.monotonic() + 60
    while device(d, g)["state"] != "unknown":
        assert time.monotonic() < deadline
        begun = time.monotonic()
        d.use("cpu")
        d.use("a")      # what runs there goes on
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.2)
    assert slowest < 5
    assert d.get("/v1/devices").json()["driver"]["state"] == "unresponsive"
    g.call("nvmlDeviceGetMemoryInfo_v2", "ok")
    wait_until(lambda: device(d, g)["state"] == "ok", 60, "the device")
    d.use("a")


def test_a_device_that_falls_off_the_bus_ends_its_engines_at_once(daemon, gpus):
    g = gpus(1)
    d = daemon({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("a")
    pid = d.pool_state("a")["replicas"][0]["pid"]
    g.tell("xid", 0, 79)
    d.wait("xid", device=g.uuid(0))
    d.wait("device_lost", device=g.uuid(0))
    wait_until(lambda: not alive(pid), 30, "the end of its engine")
    assert device(d, g)["state"] == "lost"
    assert device(d, g)["text"].startswith("XID 79")


def test_an_error_of_one_engine_leaves_its_device_alone(daemon, gpus):
    g = gpus(1)
    d = daemon({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("a")
    g.tell("xid", 0, 31)
    d.wait("xid", device=g.uuid(0), pool_id="a")
    assert device(d, g)["state"] == "ok"
    wait_until(lambda: d.chat("a").status == 200, 60, "the pool serving again")


def test_an_error_that_needs_a_reset_holds_until_one_is_seen(daemon, gpus):
    g = gpus(1)
    d = daemon({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("a")
    g.tell("xid", 0, 48)
    wait_until(lambda: device(d, g)["state"] == "reset_required", 30, "the device")
    wait_until(lambda: g.users() == {}, 30, "the end of its engine")
    g.tell("take", 0, 999999, "1GiB")    # what else changes there is no reset
    wait_until(lambda: device(d, g)["vram_free_bytes"] < 23 * GIB, 30, "another look")
    assert device(d, g)["state"] == "reset_required"
    g.set(0, recovery=1)
    time.sleep(6)
    g.set(0, recovery=0)
    wait_until(lambda: device(d, g)["state"] == "ok", 30, "the device after its reset")
    d.use("a")


def test_memory_that_does_not_come_back_makes_a_device_suspect_until_it_does(daemon, gpus):
    g = gpus(1)
    d = daemon({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("a")
    wait_until(lambda: device(d, g)["vram_free_bytes"] < 18 * GIB, 30, "its memory being seen")
    g.option(lag=10**6)
    assert d.post("/v1/pools/a/stop?wait=60s").status in (200, 202)
    d.wait("device_suspect", device=g.uuid(0))
    assert device(d, g)["state"] == "suspect"
    g.option(lag=0)
    d.wait("device_cleared", device=g.uuid(0))
    wait_until(lambda: device(d, g)["state"] == "ok", 30, "the device")
    assert d.post("/v1/pools/a/start?wait=60s").status in (200, 202)


def test_a_library_that_is_not_there_is_said_and_pools_on_the_cpu_work(either):
    d = either({"cpu": Daemon.pool(), "a": gpu_pool()}, {"devices": {"nvml": "/nonexistent/libnvidia-ml.so.1"}})
    d.use("cpu")
    wait_until(lambda: d.get("/v1/devices").json()["driver"]["state"] == "no_library", 30, "the driver's state")
    assert "/nonexistent" in d.get("/v1/devices").json()["driver"]["text"]
    assert devices(d) == {}


def test_pool_probe_is_begun_again_and_leaves_with_its_daemon(daemon, gpus):
    g = gpus(1)
    d = daemon({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    for _ in range(3):
        [pid] = wait_until(lambda: probes(d), 30, "a pool-probe")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda p=pid: p not in probes(d), 30, "its end")     # not even a zombie
        wait_until(lambda: device(d, g).get("state") == "ok" and probes(d), 60, "another one")
    [pid] = probes(d)
    g.call("nvmlDeviceGetCount_v2", "hang")
    d.kill()
    wait_until(lambda: not alive(pid), 30, "the end of pool-probe")


def test_instances_are_shown_as_masks_name_them(daemon, gpus):
    """MASK-1, CLI-1: a GPU in MIG mode says so; its instances stand there by GPU and slot, over holes."""
    g = gpus(1)
    g.set(0, mig_capable=1, mig_now=1, mig_pending=1)
    g.tell("mig", 0, 0, "10GiB")
    g.tell("mig", 0, 2, "5GiB")
    d = daemon({"a": Daemon.faulty("", devices="0:2", vram="2GiB")}, on(g), environment=g.environment)
    wait_found(d, 3)
    d.use("a")
    shown = {words[0]: " ".join(words) for words in
             (line.split() for line in subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % d.port, "devices"],
                                                      capture_output=True, text=True, check=True).stdout.splitlines()) if words}
    assert shown["0"].endswith("in MIG mode: its instances are used") and "0:0" in shown and "2.0 GiB" in shown["0:2"], shown
    listed = subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % d.port, "ps"], capture_output=True, text=True,
                            check=True).stdout
    assert " 0:2 " in listed, listed


def test_a_reserve_for_a_device_that_is_not_there_is_told_and_the_others_hold(daemon, gpus):
    """CONF-1, DEV-1: with the file, and with the file that is read again."""
    g = gpus(2)
    more = {"devices": {"nvml": g.library, "reserve": {"1": "4GiB", "7": "2GiB"}}}
    d = daemon({}, more, environment=g.environment)
    wait_found(d, 2)
    assert "'7'" in d.wait("config_warning", action="configure", text="those that are here are shown by: poolctl devices")["human"]
    assert [device(d, g, i)["reserve_bytes"] for i in range(2)] == [GIB, 4 * GIB]
    mark = d.mark()
    more["devices"]["reserve"] = {"0": "3GiB", g.uuid(1): "2GiB"}
    d.write_config({}, more)
    assert d.post("/v1/config/reload?wait=30s").json()["state"] == "succeeded"
    wait_until(lambda: [device(d, g, i)["reserve_bytes"] for i in range(2)] == [3 * GIB, 2 * GIB], 30, "the other reserve")
    assert d.count("config_warning", after=mark) == 0


@pytest.mark.parametrize("visible,hidden", [("1", 0), ("GPU-fa000000", 1)])
def test_what_is_hidden_from_the_daemon_is_not_given_to_engines(daemon, gpus, visible, hidden):
    """MASK-1"""
    g = gpus(2)
    d = daemon({"a": gpu_pool(devices=g.uuid(hidden))}, on(g),
               environment={**g.environment, "CUDA_VISIBLE_DEVICES": visible})
    wait_found(d, 2)
    answer = d.chat("a", seconds=20)
    assert answer.status == 503, answer.body
    assert "given to this daemon" in answer.json()["error"]["message"]
    assert g.users() == {}


def test_no_engine_is_ever_on_a_device_outside_of_its_mask(daemon, gpus):
    """MASK-1, LOAD-5: starts in random order, each looked at while it holds its memory."""
    g = gpus(3)
    masks = {"a": [0], "b": [1, 2], "c": [2], "d": [0, 2]}
    pools = {name: Daemon.faulty("vram:weights=%d,vram:layers=2" % GIB, vram="2GiB",
                                 devices=",".join(g.uuid(i) for i in mask)) for name, mask in masks.items()}
    d = daemon(pools, on(g), environment=g.environment)
    wait_found(d, 3)
    chance, crossed = random.Random(5), []
    for _ in range(1000 if FULL else 20):
        name = chance.choice(sorted(masks))
        d.use(name)
        pid = d.pool_state(name)["replicas"][0]["pid"]
        used = set(g.users()[pid])
        if not used or used - {g.uuid(i) for i in masks[name]}:
            crossed.append((name, used))
        assert d.post("/v1/pools/%s/stop?wait=60s" % name).status == 200
        assert d.post("/v1/pools/%s/resume?wait=60s" % name).status == 200
    assert crossed == []


ON_THE_HOST = "llama-server cannot use a GPU: it put all layers on the host"


def test_a_build_without_gpus_fails_on_a_gpu_and_serves_on_the_cpu(either, gpus):
    """LOAD-5, SUP-6: nobody is let in, it is stopped, and tried once; the same engine serves where the CPU was asked for."""
    g = gpus(1)
    d = either({"gpu": Daemon.pool(devices="0", args=[]), "cpu": Daemon.pool(devices="cpu", args=[])}, on(g),
               environment=g.environment)
    wait_found(d, 1)
    failed = d.post("/v1/pools/gpu/start?wait=60s").json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "pool_failed"), failed
    assert failed["error"]["message"] == "gpu cannot start: " + ON_THE_HOST
    assert failed["error"]["hint"] == "install a build with CUDA (with Vulkan where it has all GPUs), or set devices: cpu"
    event = d.wait("start_failed", pool_id="gpu")
    assert (event["class"], event["text"]) == ("spawn", ON_THE_HOST)
    wait_until(lambda: d.pool_state("gpu")["replicas"][0]["state"] == "failed", 30, "the end of its engine")
    replica = d.pool_state("gpu")["replicas"][0]
    assert replica["last_error"]["code"] == "engine_missing" and not replica.get("pid")
    if d.program == "orchestratord":
        answer = d.chat("gpu")
        assert answer.status == 503 and answer.json()["error"]["code"] == "pool_failed"
    assert (d.count("instance_starting", pool_id="gpu"), d.count("instance_ready", pool_id="gpu")) == (1, 0)
    assert device(d, g)["planned_bytes"] == 0
    d.use("cpu")


def test_one_that_is_adopted_while_it_loads_is_judged_too(daemon, gpus, tmp_path):
    """LOAD-5, SUP-9c: its log is read from where it began, by the daemon that finds it."""
    g, gate, program = gpus(1), tmp_path / "gate", tmp_path / "llama-server"
    program.write_text('#!/bin/sh\n[ "$1" = --help ] || while [ ! -e "%s" ]; do sleep 0.1; done\nexec "%s" "$@"\n' % (gate, ENGINE),
                       encoding="utf-8")
    program.chmod(0o755)
    d = daemon({"gpu": Daemon.pool(engine="slow", devices="0", args=[], start="preload")},
               on(g, engines={"slow": {"family": "llama.cpp", "path": str(program)}}), environment=g.environment)
    wait_until(lambda: d.pool_state("gpu")["replicas"][0].get("pid"), 60, "its engine")
    d.kill()
    mark = d.mark()
    d.start()
    d.wait("instance_adopted", pool_id="gpu", after=mark)
    wait_found(d, 1)
    gate.touch()
    event = d.wait("start_failed", pool_id="gpu", after=mark)
    assert (event["class"], event["text"]) == ("spawn", ON_THE_HOST)
    wait_until(lambda: d.pool_state("gpu")["replicas"][0]["state"] == "failed", 30, "the end of its engine")
    assert d.count("instance_ready", pool_id="gpu", after=mark) == 0


def test_arguments_that_put_all_layers_on_the_host_fail_too(daemon, gpus):
    """LOAD-5: an engine that has a GPU, and was told not to use it."""
    g = gpus(1)
    d = daemon({"a": gpu_pool(args=["-ot", ".=CPU"])}, on(g), environment=g.environment)
    wait_found(d, 1)
    failed = d.post("/v1/pools/a/start?wait=60s").json()
    assert failed["state"] == "failed" and "all layers on the host" in failed["error"]["message"], failed
    assert d.count("instance_ready", pool_id="a") == 0


def test_arguments_and_variables_that_lead_off_the_plan_are_refused_before_the_start(either, gpus):
    """MASK-1, LOAD-5, SUP-6: by name and once; what says the same as the plan may stay, and where no GPU is seen it cannot
    matter."""
    g = gpus(2)
    wrong = {"layers": {"args": ["-ngl", "1"]}, "other": {"args": ["--device", "CUDA1"]}, "far": {"args": ["--rpc", "10.0.0.7:1"]},
             "experts": {"args": ["-cmoe"], "vram": 0}, "quiet": {"args": ["--log-disable"]},
             "variable": {"env": {"LLAMA_ARG_OVERRIDE_TENSOR": "exps=CPU"}, "vram": 0}}
    pools = {name: {**gpu_pool(), **more, "env": {"FAULT": ORDERS, **more.get("env", {})}} for name, more in wrong.items()}
    pools["same"] = gpu_pool(args=["-ngl", "999", "-fit", "off"])
    pools["cpu"] = Daemon.faulty("", args=["-ngl", "5"])
    d = either(pools, on(g), environment=g.environment)
    wait_found(d, 2)
    for name, more in wrong.items():
        failed = d.post("/v1/pools/%s/start?wait=60s" % name).json()
        assert (failed["state"], failed["error"]["code"]) == ("failed", "pool_failed"), failed
        word = more["args"][0] if "args" in more else "LLAMA_ARG_OVERRIDE_TENSOR"
        assert failed["error"]["message"].startswith("%s cannot start: '%s' in its %s " % (
            name, word, "args" if "args" in more else "env")), failed
        assert failed["error"]["hint"].startswith("leave it out"), failed
        assert d.pool_state(name)["replicas"][0]["last_error"]["code"] == "bad_arguments"
    assert g.users() == {}
    d.use("same")
    d.use("cpu")


@pytest.mark.parametrize("orders", ["", ORDERS])
def test_one_that_says_nothing_of_its_layers_or_the_right_thing_is_up_soon(daemon, gpus, orders):
    """LOAD-5: what is asked in the log costs a start a few looks at most."""
    g = gpus(1)
    d = daemon({"a": gpu_pool(orders=orders)}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("a")
    d.wait("instance_ready", pool_id="a")


def test_declared_devices_may_be_anything(daemon):
    """LOAD-5 judges devices that were found; what a declared one is, the file knows."""
    d = daemon({"a": Daemon.pool(devices="0", vram="1GiB", args=[])}, {"devices": {"declared": {"0": "24GiB"}}})
    d.use("a")
