# SPDX-License-Identifier: Apache-2.0
"""A driver that hangs, goes, comes back and lies, under the real daemon: it holds up nobody, and mends without a hand (DEV-1,
VRAM-1, SUP-8)."""
import os
import signal
import subprocess
import sys
import time

import pytest

from poolmgr_test import FULL, Daemon, alive, read_answer, wait_until
from poolmgr_test.paths import POOLCTL
from test_devices import ORDERS, device, devices, gpu_pool, on, probes, wait_found

GIB = 1 << 30
HANGS_FOR = 60 if FULL else 3


def driver(d):
    return d.get("/v1/devices").json()["driver"]


def poolctl(d, *words):
    return subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, *words], capture_output=True, text=True, timeout=60,
                          check=True).stdout


def order(path, text):
    part = str(path) + ".part"
    with open(part, "w", encoding="ascii") as f:
        f.write(text)
    os.rename(part, path)


def serve_on(d, pid):
    """Streams and control calls, while the driver does not answer; the slowest round of them."""
    begun = time.monotonic()
    d.use("cpu")
    answer = d.chat("a", stream=True)           # what runs on the device goes on
    assert answer.complete and answer.events()[-1] == ("message", "[DONE]")
    for path in ("/v1/pools", "/v1/devices", "/v1/models", "/metrics"):
        assert d.get(path).status == 200
    assert d.pool_state("a")["replicas"][0]["pid"] == pid
    return time.monotonic() - begun


@pytest.mark.parametrize("call", ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetCount_v2", "nvmlInit_v2"])
def test_a_call_of_the_driver_that_hangs_holds_up_nobody(daemon, gpus, tmp_path, call):
    """For a minute in the full run. One stream is open all the while; a start is refused with a plain reason, and its like
    succeeds when the driver answers again."""
    g = gpus(1)
    order(tmp_path / "orders", ORDERS)
    held = Daemon.pool(engine="fault", env={"FAULT_FILE": str(tmp_path / "orders")}, devices="0", vram="7GiB")
    d = daemon({"cpu": Daemon.pool(), "a": gpu_pool(), "next": Daemon.faulty("", devices="0", vram="4GiB"), "held": held}, on(g),
               environment=g.environment)
    wait_found(d, 1)
    for pool in ("cpu", "a", "held"):
        d.use(pool)
    pid, used = d.pool_state("a")["replicas"][0]["pid"], g.users()
    order(tmp_path / "orders", ORDERS + ",stream:hold")
    stream = d.open_chat("held", stream=True, seconds=200)
    assert stream.recv(1)
    g.call(call, "hang")
    if call == "nvmlInit_v2":   # only another pool-probe begins with it
        os.kill(probes(d)[0], signal.SIGKILL)
    slowest, deadline = 0, time.monotonic() + 60
    while device(d, g)["state"] != "unknown":
        assert time.monotonic() < deadline
        slowest = max(slowest, serve_on(d, pid))
        time.sleep(0.2)

    assert driver(d)["state"] == "unresponsive" and driver(d)["text"].startswith("pool-probe")
    until = time.monotonic() + HANGS_FOR
    while time.monotonic() < until:
        slowest = max(slowest, serve_on(d, pid))
        error = d.chat("next").json()["error"]
        assert (error["code"], error["message"]) == ("device_lost", "no device that next may use works: GPU 0 is unknown"), error
        assert error["retriable"] and d.pool_state("next")["state"] == "cold"
        assert device(d, g)["state"] == "unknown" and len(probes(d)) <= 1
        time.sleep(0.3)
    assert slowest < 8      # a call that was waited for would cost ten
    assert "unknown" in poolctl(d, "devices") and g.users() == used

    g.call(call, "ok")
    wait_until(lambda: device(d, g)["state"] == "ok", 90, "the device")
    assert driver(d)["state"] == "ok"
    d.use("next")
    order(tmp_path / "orders", ORDERS)
    answer = read_answer(stream, "POST")
    assert answer.complete and answer.events()[-1] == ("message", "[DONE]")
    assert d.pool_state("a")["replicas"][0]["pid"] == pid and d.count("instance_crashed") == 0
    assert len(probes(d)) == 1


def test_a_wait_for_errors_that_hangs_is_waited_for_beside_the_looks(daemon, gpus):
    """DEV-1: it has a thread of its own; what the driver complained of meanwhile is told when it answers."""
    g = gpus(1)
    d = daemon({"cpu": Daemon.pool(), "a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("a")
    pid = d.pool_state("a")["replicas"][0]["pid"]
    mark, until = d.mark(), time.monotonic() + (60 if FULL else 12)
    g.call("nvmlEventSetWait_v2", "hang")
    g.tell("xid", 0, 31)        # wakes the wait that is under way, which then hangs
    while time.monotonic() < until:     # longer than the deadline of a look
        serve_on(d, pid)
        assert device(d, g)["state"] == "ok" and driver(d)["state"] == "ok"
        time.sleep(0.3)
    assert d.count("xid", after=mark) == 0
    g.call("nvmlEventSetWait_v2", "ok")
    d.wait("xid", after=mark, device=g.uuid(0), pool_id="a")


def test_a_first_call_that_hangs_keeps_gpus_waiting_and_nothing_else(either, gpus):
    """DEV-1, LOAD-5: who wants a GPU waits and is told for what; the CPU is no way out; it is said that nobody has looked yet."""
    g = gpus(1)
    g.call("nvmlInit_v2", "hang")
    d = either({"cpu": Daemon.pool(), "a": gpu_pool(), "auto": gpu_pool(devices="auto")}, on(g), environment=g.environment)
    d.use("cpu")
    assert driver(d) == {"state": "unresponsive", "text": "pool-probe has not answered yet"}
    assert "pool-probe has not answered yet" in poolctl(d, "devices")
    for pool in ("a", "auto"):
        assert d.post("/v1/pools/%s/start" % pool).status == 202
        wait_until(lambda p=pool: d.pool_state(p)["state"] == "waiting", 30, "the start waiting")
        assert "until the devices of this machine have been looked for" in d.pool_state(pool)["health"]["reason"]
    assert g.users() == {}
    g.call("nvmlInit_v2", "ok")
    for pool in ("a", "auto"):
        d.wait_state(pool, "ready")
    assert len(g.users()) == 2


def test_a_driver_that_is_loaded_anew_takes_no_engine_with_it(daemon, gpus):
    """DEV-1: all devices are away and come back; what was known of them holds, and nothing new starts meanwhile."""
    g = gpus(2)
    d = daemon({"a": gpu_pool(), "b": gpu_pool(devices="1")}, on(g), environment=g.environment)
    wait_found(d, 2)
    d.use("a")
    pid = d.pool_state("a")["replicas"][0]["pid"]
    for call in ("nvmlInit_v2", "nvmlDeviceGetCount_v2"):
        g.call(call, "code=9")
    wait_until(lambda: driver(d)["state"] == "no_driver", 30, "the driver being away")
    assert [x["state"] for x in devices(d).values()] == ["unknown", "unknown"]
    assert d.chat("b").json()["error"]["code"] == "device_lost"
    d.use("a")
    for call in ("nvmlInit_v2", "nvmlDeviceGetCount_v2"):
        g.call(call, "ok")
    wait_until(lambda: [x["state"] for x in devices(d).values()] == ["ok", "ok"], 90, "the devices")
    d.use("b")
    assert d.pool_state("a")["replicas"][0]["pid"] == pid


def test_pool_probe_may_be_killed_again_and_again_while_pools_run(daemon, gpus):
    """DEV-1: twenty times in the full run, of which each costs at most the next delay."""
    g = gpus(1)
    d = daemon({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    d.use("a")
    pid, used = d.pool_state("a")["replicas"][0]["pid"], g.users()
    for _ in range(20 if FULL else 3):
        [probe] = wait_until(lambda: probes(d), 90, "a pool-probe")
        os.kill(probe, signal.SIGKILL)
        wait_until(lambda p=probe: p not in probes(d), 30, "its end")
        d.use("a")
        assert g.users() == used
    wait_until(lambda: device(d, g)["state"] == "ok", 90, "the device")
    assert d.pool_state("a")["replicas"][0]["pid"] == pid and device(d, g)["planned_bytes"] == 8 * GIB
    assert d.count("device_suspect") == 0


def test_a_device_that_moves_on_the_bus_keeps_its_name_and_its_engine(daemon, gpus):
    """MASK-1, DEV-1: an index means who has that place now; a UUID means the same device for ever."""
    g = gpus(2)
    d = daemon({"a": gpu_pool(), "b": gpu_pool(devices=g.uuid(1))}, on(g), environment=g.environment)
    wait_found(d, 2)
    d.use("a")
    d.use("b")
    running = g.users()
    g.set(0, pci="0:f0:0")
    os.kill(probes(d)[0], signal.SIGKILL)   # where it stands is asked when it is first met
    wait_until(lambda: device(d, g, 0).get("index") == 1, 60, "its new place")
    d.use("a")
    d.use("b")
    assert g.users() == running
    for pool in ("a", "b"):
        assert d.post("/v1/pools/%s/stop?wait=60s" % pool).status == 200
        assert d.post("/v1/pools/%s/resume?wait=60s" % pool).status == 200
        d.use(pool)
    assert [set(used) for used in g.users().values()] == 2 * [{g.uuid(1)}]     # GPU 0 is another one now


def test_mig_that_is_switched_while_an_engine_runs_takes_nothing_new_and_harms_nobody(daemon, gpus):
    """DEV-1, MASK-1: pending, on with holes, and an instance that is taken away under its engine."""
    g = gpus(2)
    d = daemon({"a": gpu_pool(), "c": gpu_pool(orders="", devices="0"), "inst": Daemon.faulty("", devices="0:5", vram="1GiB")},
               on(g), environment=g.environment)
    wait_found(d, 2)
    d.use("a")
    pid = d.pool_state("a")["replicas"][0]["pid"]
    g.set(0, mig_capable=1, mig_pending=1)
    wait_until(lambda: device(d, g)["state"] == "unknown", 30, "the pending mode")
    assert d.chat("c").json()["error"]["code"] == "device_lost"
    d.use("a")
    g.tell("mig", 0, 0, "10GiB")
    g.tell("mig", 0, 5, "5GiB")
    wait_found(d, 4)
    d.use("a")
    assert d.pool_state("a")["replicas"][0]["pid"] == pid
    assert "its instances" in d.chat("c").json()["error"]["message"]
    d.use("inst")
    instance = d.pool_state("inst")["replicas"][0]["pid"]
    g.tell("mig", 0, 5, "off")
    wait_until(lambda: not alive(instance), 60, "the end of its engine")
    assert alive(pid)
    d.use("a")


def test_odd_sizes_and_names_are_shown_and_planned_with_as_far_as_they_go(daemon, gpus):
    """VRAM-1, DEV-1: no memory at all, more free than there is, and a name that would steer a terminal."""
    g = gpus(3)
    g.set(0, total="0")
    g.set(1, reserved=48 * GIB)
    g.set(2, name="evil\033[31m\"\\\n")
    d = daemon({"a": gpu_pool(), "b": gpu_pool(devices="1"), "c": gpu_pool(devices="2")}, on(g), environment=g.environment)
    wait_found(d, 3)
    failed = d.post("/v1/pools/a/start?wait=60s").json()
    assert failed["state"] == "failed" and "GPU 0, which has 0 B for it" in failed["error"]["message"], failed
    d.use("b")
    d.use("c")
    assert device(d, g, 1)["vram_free_bytes"] <= device(d, g, 1)["vram_total_bytes"]
    for shown in (poolctl(d, "devices"), poolctl(d, "preflight", "--mode", "external")):
        assert "\033" not in shown and "evil [31m\"\\" in shown, shown


def test_of_two_gpus_of_one_uuid_neither_is_used_and_the_others_keep_their_indexes(daemon, gpus):
    """MASK-1, DEV-1: an engine that were given one by it could run on the other."""
    g = gpus(3)
    g.set(1, uuid=g.uuid(0))
    d = daemon({"a": gpu_pool(), "b": gpu_pool(devices="1"), "c": gpu_pool(devices="2"), "all": gpu_pool(devices="all")}, on(g),
               environment=g.environment)
    wait_found(d, 2)
    assert "unknown" in poolctl(d, "devices"), poolctl(d, "devices")
    for pool, code in (("a", "mask_device_unhealthy"), ("b", "mask_not_found")):
        assert d.post("/v1/plan", {"model": pool}).json()["error"]["code"] == code
    d.use("c")
    d.use("all")
    assert {uuid for held in g.users().values() for uuid in held} == {g.uuid(2)}, g.users()
    g.set(1, uuid=g.uuid(1))
    wait_found(d, 3)
    for pool in ("a", "b"):
        d.use(pool)


def test_a_neighbour_that_grows_while_a_pool_loads_is_planned_around_until_it_goes(daemon, gpus):
    """VRAM-1, EVICT-1: a process of somebody else, named with its pid and its program where that can be seen."""
    g = gpus(1)
    slow = ORDERS + ",vram:steps=20,vram:step=150"
    d = daemon({"a": gpu_pool(orders=slow, pinned=True), "b": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    with subprocess.Popen(["sleep", "600"]) as neighbour:
        try:
            g.tell("take", 0, neighbour.pid, "1GiB")
            assert d.post("/v1/pools/a/start").status == 202
            d.wait("instance_starting", pool_id="a")
            for _ in range(8):          # while the engine takes its own
                g.tell("take", 0, neighbour.pid, "1GiB")
                time.sleep(0.3)
            d.wait_state("a", "ready")
            wait_until(lambda: device(d, g)["foreign_bytes"] == 9 * GIB, 30, "the neighbour being seen")
            assert device(d, g)["planned_bytes"] == 8 * GIB and d.count("device_suspect") == 0
            shown = poolctl(d, "devices")
            assert "sleep (pid %d) uses 9.0 GiB" % neighbour.pid in shown, shown
            error = d.chat("b", headers={"X-Deadline-Ms": "1500"}).json()["error"]
            assert error["code"] == "queue_timeout" and "9.0 GiB on GPU 0 belong to processes" in error["message"], error
            g.tell("give", neighbour.pid)
            d.use("b")
            wait_until(lambda: device(d, g)["foreign_bytes"] == 0, 30, "its memory being seen")
            assert "pid %d" % neighbour.pid not in poolctl(d, "devices")
        finally:
            neighbour.kill()


def test_a_process_chooses_its_name_and_steers_no_terminal_with_it(daemon, gpus):
    """VRAM-1: any user of the machine can have a process on a GPU, whose name an operator is shown."""
    g = gpus(1)
    d = daemon({"a": gpu_pool()}, on(g), environment=g.environment)
    wait_found(d, 1)
    renames = "import ctypes; ctypes.CDLL(None).prctl(15, b'\\x1b[31m\\xffX', 0, 0, 0); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", renames], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        g.tell("take", 0, other.pid, "3GiB")
        wait_until(lambda: device(d, g)["foreign_bytes"] == 3 * GIB, 30, "the neighbour being seen")
        shown = poolctl(d, "devices")
        assert " [31m?X (pid %d) uses 3.0 GiB" % other.pid in shown and "\033" not in shown, shown
        other.kill()


@pytest.mark.parametrize("make", [
    lambda path, library: path.write_text("hello", encoding="ascii"),
    lambda path, library: path.mkdir(),
    lambda path, library: path.symlink_to("/nowhere/libnvidia-ml.so.1"),
    lambda path, library: None,
])
def test_a_library_that_is_none_is_said_and_the_cpu_serves(daemon, tmp_path, gpus, make):
    """DEV-1, LOAD-5: a text, a folder, a link to nowhere, nothing."""
    path = tmp_path / "libnvidia-ml.so.1"
    make(path, gpus(1).library)
    d = daemon({"cpu": Daemon.pool(), "a": gpu_pool(devices="auto")}, {"devices": {"nvml": str(path)}})
    wait_until(lambda: driver(d)["state"] == "no_library", 30, "the driver's state")
    assert str(path) in driver(d)["text"]
    d.use("cpu")
    error = d.chat("a").json()["error"]
    assert error["code"] == "device_lost" and str(path)[:40] in error["message"], error
