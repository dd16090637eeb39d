# SPDX-License-Identifier: Apache-2.0
"""Real engines on real devices, without a GPU: llama-server over ggml-rpc-servers, planned by the daemon (SPLIT-1,
VRAM-1, LOAD-2, SUP-1). The devices are declared; that each stands for an RPC server, in this order, is in `args`."""
import socket

import pytest

from poolmgr_test import Daemon, RPC_ENGINE, RpcDevice, TEXT, buffers, read_answer, rpc_is_here, tiny_model

pytestmark = pytest.mark.skipif(not rpc_is_here(), reason="no ggml-rpc-server; tools/fetch_engine.sh build/engine-rpc "
                                                          "llama.cpp-tools-extra libggml0-backend-rpc")

MIB = 1 << 20
LAYERS = 64     # many and narrow: weights and cache are most of it, and each layer has 3.5 MiB


def deep_model():
    return tiny_model("--layers", str(LAYERS), "--embd", "256", "--ff", "512", "--sparse")


@pytest.fixture
def devices():
    """devices(2) starts so many; all are ended."""
    made = []

    def start(n, **more):
        made.extend(RpcDevice(**more) for _ in range(n))
        return made[-n:]

    yield start
    for device in made:
        device.kill()


def pool(over, **more):
    args = ["-lv", "4", "--no-warmup", "--rpc", ",".join(device.endpoint for device in over)]
    return Daemon.pool(engine="rpc", **{"model": deep_model(), "context": 1024, "slots": 1, "args": args, **more})


def settings(**declared):
    return {"engines": {"rpc": {"family": "llama.cpp", "path": str(RPC_ENGINE)}},
            "devices": {"declared": {name.lstrip("d"): size for name, size in declared.items()}, "reserve": "0"}}


def start(d, name, seconds=60):
    return d.post("/v1/pools/%s/start?wait=%ds" % (name, seconds)).json()


def assert_as_planned(log, plan, over):
    """Each device's buffers are the plan's: weights and cache exactly, as the engine prints them; the compute buffer is
    not above it."""
    found = buffers(log)
    for device, planned in zip(over, plan["devices"]):
        took = found[device.endpoint]
        assert abs(took["model"] - planned.get("weights_bytes", 0) / MIB) <= 0.02, (took, planned)
        assert abs(took["KV"] - planned.get("kv_bytes", 0) / MIB) <= 0.02, (took, planned)
        assert took["compute"] <= planned.get("compute_bytes", 0) / MIB, (took, planned)


# ---- splits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [("640MiB", "650MiB"), ("660MiB", "620MiB"), ("610MiB", "640MiB", "600MiB")])
def test_a_model_lies_on_its_devices_as_it_was_planned(daemon, devices, sizes):
    over = devices(len(sizes))
    names = ",".join(str(i) for i in range(len(sizes)))
    d = daemon({"deep": pool(over, devices=names, tensor_split="auto")},
               more=settings(**{"d%d" % i: size for i, size in enumerate(sizes)}))
    plan = d.post("/v1/plan", {"model": "deep"}).json()
    assert plan["fits"] and all(planned["layers"] > 0 for planned in plan["devices"])
    assert sum(planned["layers"] for planned in plan["devices"]) == LAYERS + 1

    assert start(d, "deep")["state"] == "succeeded"
    assert_as_planned(d.log("deep"), plan, over)
    assert "offloaded %d/%d layers" % (LAYERS + 1, LAYERS + 1) in d.log("deep")
    d.use("deep", says=TEXT)


def test_ratios_of_a_user_are_layers_of_the_engine(daemon, devices):
    over = devices(2)
    d = daemon({"deep": pool(over, devices="0,1", tensor_split=[0.25, 0.75])}, more=settings(d0="4GiB", d1="4GiB"))
    plan = d.post("/v1/plan", {"model": "deep"}).json()
    assert [planned["layers"] for planned in plan["devices"]] == [16, 49]
    assert start(d, "deep")["state"] == "succeeded"
    assert_as_planned(d.log("deep"), plan, over)


def test_one_device_of_several_is_used_alone(daemon, devices):
    over = devices(2)
    d = daemon({"deep": pool(over, devices="1")}, more=settings(d0="4GiB", d1="4GiB"))
    plan = d.post("/v1/plan", {"model": "deep"}).json()
    assert start(d, "deep")["state"] == "succeeded"
    found = buffers(d.log("deep"))
    assert sum(bool(found[device.endpoint]["model"]) for device in over) == 1
    assert max(found[device.endpoint]["model"] for device in over) == \
        pytest.approx(plan["devices"][0]["weights_bytes"] / MIB, abs=0.02)


# ---- what does not fit ------------------------------------------------------------------------------------


def test_a_device_that_is_too_small_is_refused_with_the_bytes_and_the_engine_is_not_started(daemon, devices):
    over = devices(1)
    d = daemon({"deep": pool(over, devices="0")}, more=settings(d0="700MiB"))
    plan = d.post("/v1/plan", {"model": "deep"}).json()
    lacking = plan["shortfall"]["bytes"]
    assert not plan["fits"] and lacking > 0

    failed = start(d, "deep")
    assert (failed["state"], failed["error"]["code"]) == ("failed", "never_fits")
    assert "%d bytes are missing" % lacking in failed["error"]["message"]
    assert d.count("instance_starting") == 0
    d.close()

    # With exactly so many bytes more it is started; with one less it is not.
    for more_bytes, state in ((lacking - 1, "failed"), (lacking, "succeeded")):
        with Daemon({"deep": pool(over, devices="0")}, more=settings(d0="%dB" % (700 * MIB + more_bytes))) as again:
            assert start(again, "deep")["state"] == state


def test_an_engine_that_finds_too_little_memory_is_out_of_memory(daemon, devices):
    over = devices(1, memory=160 * MIB)
    d = daemon({"deep": pool(over, devices="0", restart="never")}, more=settings(d0="4GiB"))
    failed = start(d, "deep")
    assert failed["state"] == "failed"
    event = d.wait("start_failed")
    assert "unable to allocate" in event["text"]
    assert event["class"] == "oom", event
    assert d.pool_state("deep")["replicas"][0]["last_error"]["class"] == "oom"


# ---- what is lost -----------------------------------------------------------------------------------------


def test_an_engine_whose_device_is_gone_is_not_ready_and_comes_back_with_it(daemon, devices):
    over = devices(2)
    d = daemon({"deep": pool(over, devices="0", model=tiny_model("--layers", "8", "--embd", "256", "--endless"))},
               more=settings(d0="4GiB"))
    assert start(d, "deep")["state"] == "succeeded"
    stream = d.open_chat("deep", stream=True, max_tokens=3000)
    assert stream.recv(1, socket.MSG_PEEK)
    over[0].kill()
    answer = read_answer(stream)
    assert not answer.complete and answer.events()[-1][0] == "error"
    crashed = d.wait("instance_crashed")
    assert crashed["class"] == "signal", crashed
    assert not d.pool_state("deep")["health"]["ready"]

    over[0].start()
    d.wait("instance_ready", after=d.events.index(crashed))
    assert d.chat("deep", max_tokens=5).status == 200
