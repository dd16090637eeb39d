# SPDX-License-Identifier: Apache-2.0
"""What real engines are started with: the devices of their plan, and nothing of what the daemon inherited (MASK-1)."""
import json
import os
import pathlib
import subprocess

from poolmgr_test import Daemon, ENGINE, POOLCTL, request, wait_until

MIB = 1 << 20
DECLARED = {"devices": {"declared": {"0": "24GiB", "1": "12GiB"}}}
INHERITED = {"CUDA_VISIBLE_DEVICES": "7", "HIP_VISIBLE_DEVICES": "3", "ZE_AFFINITY_MASK": "1", "LLAMA_ARG_RPC": "127.0.0.1:1",
             "LLAMA_ARG_N_GPU_LAYERS": "1"}
SELECTORS = (*INHERITED, "CUDA_DEVICE_ORDER", "GGML_VK_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")


def started_with(d, pool):
    """Its arguments behind --no-ui, and the selectors in its environment."""
    d.use(pool)
    proc = pathlib.Path("/proc/%d" % d.pool_state(pool)["replicas"][0]["pid"])
    arguments = proc.joinpath("cmdline").read_text(encoding="utf-8").split("\0")[:-1]
    variables = dict(v.split("=", 1) for v in proc.joinpath("environ").read_text(encoding="utf-8").split("\0") if v)
    return arguments[arguments.index("--no-ui") + 1:], {k: v for k, v in variables.items() if k in SELECTORS}


# What an engine prints that has a device, and the bytes of it with a context of CUDA, which is not measured.
SAID = "using device CUDA0 (A) - 1 MiB free|CUDA0 model buffer size = 100.50 MiB|CUDA0 KV buffer size = 8.00 MiB|" \
       "constructing llama_context|CUDA0 compute buffer size = 20.00 MiB"
SAID_BYTES = 512 * MIB + int(128.5 * MIB)


def talks(folder):
    """A configuration with an engine "talks", which says so and is the real one."""
    program = folder / "llama-server"
    program.write_text('#!/bin/sh\n[ "$1" = --help ] || echo "%s" | tr "|" "\\n" | sed "s/^/x: /" >&2\nexec "%s" "$@"\n' % (SAID, ENGINE),
                       encoding="utf-8")
    program.chmod(0o755)
    return {**DECLARED, "engines": {"talks": {"family": "llama.cpp", "path": str(program)}}}


def planned(d):
    return [device["planned_bytes"] for device in d.get("/v1/devices").json()["devices"]]


def start_bytes(d):
    """Starts the pool "one"; the bytes of the plan that it was started with, which are kept beside the instance."""
    d.use("one")
    spec, = pathlib.Path(d.environment["POOLMGR_RUNTIME_DIR"], "instances").glob("one.*/spec.json")
    return sum(device["bytes"] for device in json.loads(spec.read_text(encoding="utf-8"))["meta"]["devices"])


def test_an_engine_sees_its_plan_and_nothing_else(daemon):
    """MASK-1: one device, several in the order of the mask, the CPU; what the program's --help knows is asked of it."""
    d = daemon({"one": Daemon.pool(devices="1", vram="1GiB", args=["--temp", "0"]),
                "both": Daemon.pool(devices="1,0", vram={"1": "1GiB", "0": "2GiB"}, args=[]),
                "cpu": Daemon.pool(devices="cpu", args=[])}, DECLARED, environment=INHERITED)
    new = ["-fit", "off", "-lv", "4"]
    arguments, variables = started_with(d, "one")
    assert arguments == ["-sm", "none", "-mg", "0", "-ngl", "3", *new, "--temp", "0"]
    assert variables == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}
    arguments, variables = started_with(d, "both")
    assert arguments == ["-sm", "layer", "-ts", "1,2", "-ngl", "3", *new]
    assert variables == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,0"}
    arguments, variables = started_with(d, "cpu")
    assert arguments[:4] == ["--device", "none", "-ngl", "0"]
    assert variables["CUDA_VISIBLE_DEVICES"] == "-1" and variables["HIP_VISIBLE_DEVICES"] == "-1"
    assert variables["GGML_VK_VISIBLE_DEVICES"] == "" and "LLAMA_ARG_RPC" not in variables
    log = d.log("one")
    assert "model buffer size" in log    # what is measured later stands there


def test_a_program_whose_help_hangs_is_started_as_an_old_one(daemon, tmp_path):
    """ENGINE-2: three seconds at most, and nothing of it is left."""
    program = tmp_path / "llama-server"
    seconds = str(600000 + os.getpid())   # which nobody else sleeps
    program.write_text('#!/bin/sh\n[ "$1" = --help ] && exec sleep %s\nexec "%s" "$@"\n' % (seconds, ENGINE), encoding="utf-8")
    program.chmod(0o755)
    d = daemon({"one": Daemon.pool(engine="slow", devices="0", vram="1GiB", args=[])},
               {**DECLARED, "engines": {"slow": {"family": "llama.cpp", "path": str(program)}}})
    arguments, _ = started_with(d, "one")
    assert arguments == ["-sm", "none", "-mg", "0", "-ngl", "3"]
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert path.read_bytes() != b"sleep\0%s\0" % seconds.encode()
        except OSError:
            continue


def test_what_an_engine_says_of_its_memory_takes_the_estimates_place(daemon, tmp_path):
    """VRAM-1: weights, cache and compute buffer of its log, and what is counted for a context of CUDA; by the plan's order.
    The log has a former start in it, which does not count."""
    d = daemon({"one": Daemon.pool(engine="talks", devices="1", args=[])}, talks(tmp_path))
    for _ in range(2):
        d.use("one")
        wait_until(lambda: planned(d) == [0, SAID_BYTES], 60, "what it says is what is planned")
        assert d.post("/v1/pools/one/stop?wait=30s").status == 200


def test_what_was_measured_is_planned_by_the_next_daemon(daemon, tmp_path):
    """STATE-1, VRAM-1: the first plan of a new daemon is the last one's second; a broken file costs the estimate's error."""
    d = daemon({"one": Daemon.pool(engine="talks", devices="1", args=[])}, talks(tmp_path))
    folder = pathlib.Path(d.environment["POOLMGR_STATE_DIR"], "memory")

    def kept():
        texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.json")] if folder.exists() else []
        return [device["compute_bytes"] for text in texts for device in json.loads(text)["devices"]]

    before = d.post("/v1/plan", {"model": "one"}).json()
    assert "measured" not in before
    estimated = start_bytes(d)
    assert estimated == before["devices"][0]["used_bytes"]
    wait_until(lambda: planned(d) == [0, SAID_BYTES], 60, "what it says")
    wait_until(lambda: kept() == [20 * MIB], 10, "what is kept of it")
    assert d.post("/v1/pools/one/stop?wait=30s").status == 200
    answer = d.post("/v1/plan", {"model": "one"}).json()
    assert (answer["measured"], answer["devices"][0]["compute_bytes"]) == (["compute_bytes"], 20 * MIB)
    other = d.post("/v1/plan", {"model": "one", "context": answer["context"] * 2}).json()
    assert "measured" not in other and other["devices"][0]["compute_bytes"] != 20 * MIB
    done = subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, "plan", "one"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "measured: compute; the rest is estimated", done
    measured = start_bytes(d)
    assert measured != estimated
    assert measured == answer["devices"][0]["used_bytes"]
    assert d.post("/v1/pools/one/stop?wait=30s").status == 200
    d.kill()

    d.start()
    assert start_bytes(d) == measured
    assert d.post("/v1/pools/one/stop?wait=30s").status == 200
    d.kill()

    path = next(folder.glob("*.json"))
    path.write_text("{", encoding="utf-8")
    d.start()
    assert "aside" in d.wait("store_failed", target=path.name)["human"]
    assert start_bytes(d) == estimated


def test_a_faulty_mask_is_refused_with_its_byte(daemon):
    """MASK-1: PUT and X-Placement, with the code and the byte at fault."""
    d = daemon({"a": Daemon.pool(devices="cpu")})
    answer = request(d.port, "PUT", "/v1/pools/b", {"model": Daemon.pool()["model"], "devices": "0,2,-1"})
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["offset"], error["param"]) == (400, "mask_negative", 4, "devices")
    assert error["errors"] == [{"message": error["message"], "code": "mask_negative", "offset": 4}]
    answer = d.post("/v1/placement", {"model": "a", "mask": "0,1gpu2"})
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["offset"], error["param"]) == (400, "mask_syntax", 3, "mask")
    answer = d.chat("a", headers={"X-Placement": "pin=a; mask=foo:0"})
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["offset"]) == (400, "mask_vendor_unknown", 12)
