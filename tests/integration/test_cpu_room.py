# SPDX-License-Identifier: Apache-2.0
"""Room in the machine's memory: engines on the CPU that are charged for it, wait for it and make it for each other."""
import re
import shutil
import subprocess
import threading

from poolmgr_test import Daemon, TEXT, alive, tiny_model, wait_until
from poolmgr_test.paths import POOLCTL

GIB = 1 << 30
DECLARED = {"devices": {"declared": {"cpu": "24GiB"}}}


def pool(vram="10GiB", **more):
    return Daemon.pool(vram=vram, devices="cpu", **more)


def cpu(d):
    return d.get("/v1/devices").json()["cpu"]


def states(d):
    return {p["id"]: p["state"] for p in d.get("/v1/pools").json()["pools"]}


def poolctl(d, *arguments):
    return subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % d.port, *arguments],
                          capture_output=True, text=True, timeout=60, check=False)


def test_of_three_on_the_cpu_the_third_evicts_the_least_recently_used_idle_one(daemon):
    """EVICT-1, LOAD-2: three pools of 10 GiB on a machine of 24."""
    d = daemon({"a": pool(), "b": pool(), "c": pool()}, DECLARED)
    d.use("a", TEXT)
    d.use("b", TEXT)
    d.use("a", TEXT)
    d.use("c", TEXT)
    evicted = d.wait("evicted")
    assert evicted["pool_id"] == "b" and d.count("evicted") == 1
    assert evicted["human"] == "b stops: c needs its 10.0 GiB on the CPU"
    assert states(d) == {"a": "ready", "b": "cold", "c": "ready"}
    assert d.pool_state("c")["replicas"][0]["devices"] == [
        {"id": "cpu", "vram_total_bytes": 24 * GIB, "planned_bytes": 10 * GIB}]
    assert cpu(d) == {"id": "cpu", "state": "ok", "vram_total_bytes": 24 * GIB, "reserve_bytes": 0,
                      "planned_bytes": 20 * GIB, "claimed_bytes": 0, "left_bytes": 4 * GIB}
    assert all(device["id"] != "cpu" for device in d.get("/v1/devices").json()["devices"])
    rows = {line.split()[0]: line for line in poolctl(d, "devices").stdout.splitlines()}
    assert re.search(r"24\.0 GiB .* 20\.0 GiB +4\.0 GiB", rows["cpu"]), rows
    rows = {line.split()[0]: line for line in poolctl(d, "ps").stdout.splitlines()}
    assert "10.0 GiB" in rows["c"] and "10.0 GiB" not in rows["b"]


def test_a_busy_one_on_the_cpu_is_waited_for(daemon):
    """LOAD-2, HEALTH-5: nothing is cut, and who waits says what is missing."""
    d = daemon({"a": pool("20GiB", engine="fault", slots=1, env={"FAULT": "stream:tokens=30,stream:delay=100"}),
                "b": pool("20GiB")},
               {**DECLARED, "evict": {"max_wait": "1s", "min_residency": "1s"}})
    d.use("a")
    answers = []
    client = threading.Thread(target=lambda: answers.append(d.chat("a", stream=True, seconds=60)))
    client.start()
    wait_until(lambda: d.pool_state("a")["active_leases"] == 1, 30, "the stream")
    d.post("/v1/pools/b/start")
    assert "the CPU lacks 16.0 GiB of the 20.0 GiB it needs" in d.wait("vram_refused", pool_id="b")["human"]
    d.wait("instance_ready", pool_id="b")
    client.join()
    assert answers[0].status == 200 and answers[0].complete
    assert d.wait("evicted")["pool_id"] == "a"


def test_what_never_fits_the_machine_is_refused_with_its_bytes(daemon):
    """LOAD-2: what is kept free of the machine counts as absent."""
    d = daemon({"big": pool("30GiB"), "small": pool("1GiB")},
               {"devices": {"declared": {"cpu": "24GiB"}, "reserve": {"cpu": "2GiB"}}})
    error = d.refusal("big")
    assert error["code"] == "never_fits" and not error["retriable"]
    assert "it needs 30.0 GiB on the CPU, which has 22.0 GiB for it: 8589934592 bytes are missing" in error["message"]
    d.use("small", TEXT)


def test_real_models_of_one_file_are_charged_for_its_weights_once(daemon, tmp_path):
    """VRAM-1: by their estimates, on this machine as it is; a copy of the file is another file."""
    other = tmp_path / "other.gguf"
    shutil.copyfile(tiny_model(), other)
    d = daemon({"a": Daemon.pool(devices="cpu"), "b": Daemon.pool(devices="cpu"),
                "c": Daemon.pool(devices="cpu", model=str(other))}, {})

    def planned(pool_id):
        return d.pool_state(pool_id)["replicas"][0]["devices"][0]["planned_bytes"]

    for pool_id in "abc":
        d.use(pool_id, TEXT)
    assert planned("a") == planned("c") > planned("b") > 0
    assert cpu(d)["planned_bytes"] == planned("a") + planned("b") + planned("c")
    wait_until(lambda: d.pool_state("a")["replicas"][0]["devices"][0].get("measured_bytes", 0) > 1 << 20, 30,
               "its own memory being seen")
    assert cpu(d)["vram_free_bytes"] <= cpu(d)["vram_total_bytes"]
    d.post("/v1/pools/a/stop?wait=30s")
    assert planned("b") == planned("c") and cpu(d)["planned_bytes"] == 2 * planned("c")


def test_an_adopted_engine_keeps_its_charge_of_the_cpu(daemon):
    """SUP-9c: over SIGKILL of the daemon, which had estimated it."""
    d = daemon({"a": Daemon.pool(devices="cpu"), "b": Daemon.pool(devices="cpu")}, {})
    d.use("a", TEXT)
    d.use("b", TEXT)
    before, pid = cpu(d)["planned_bytes"], d.pool_state("a")["replicas"][0]["pid"]
    d.kill()
    mark = d.mark()
    d.start()
    for pool_id in "ab":
        d.wait("instance_adopted", after=mark, pool_id=pool_id)
    assert cpu(d)["planned_bytes"] == before > 0 and alive(pid)
