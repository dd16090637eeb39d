# SPDX-License-Identifier: Apache-2.0
"""Steps that devices.feature has alone. What engines hold is read in the books of the fake driver, and what they were told
in /proc; none of it is the daemon's word."""
import json
import os
import pathlib
import re

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from conftest import HELD, operation, remember, words
from poolmgr_test import FakeGpus, tiny_model, wait_until

scenarios("devices.feature")

MIB, GIB = 1 << 20, 1 << 30
EMBD = 1024
KV_LAYER = 2 * EMBD * 2             # bytes of a token in one layer: K and V, two bytes an element
COMPUTE, CUDA = 200 * MIB, 300 * MIB    # what the engines take besides, on each GPU


def gib(text):
    return int(re.fullmatch(r"(\d+)GiB", text).group(1)) * GIB


# ---- machines -------------------------------------------------------------------------------------------


def machine(world, gpus, sizes):
    world.gpus = gpus(len(sizes), sizes[0])
    for i, size in enumerate(sizes):
        world.gpus.set(i, total=size)
    world.environment = world.gpus.environment
    world.more["devices"] = {"nvml": world.gpus.library}


@given(parsers.re(r'a machine with (?P<n>\d+) GPUs? of "(?P<size>\S+)"'))
def equal_gpus(world, gpus, n, size):
    machine(world, gpus, int(n) * [size])


@given(words('a machine with GPUs of "{a}" and "{b}"'))
def unequal_gpus(world, gpus, a, b):
    machine(world, gpus, [a, b])


@given("a machine without a GPU")
def no_gpu():
    for path in pathlib.Path("/sys/bus/pci/devices").glob("*"):
        vendor, kind = ((path / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
        if vendor in ("0x10de", "0x1002", "0x8086") and kind.startswith("0x03"):
            pytest.skip("this machine has a GPU")


@then(words('"poolctl ps" shows "{pool}" on the devices "{devices}"'))
def ps_shows_devices(world, pool, devices):
    titles, row = (line.split() for line in world.poolctl("ps", pool).stdout.splitlines())
    assert row[titles.index("DEVICES")] == devices


@given("its driver is not loaded")
def no_driver(world):
    world.gpus.call("nvmlInit_v2", "code=9")


@given("only GPUs are allowed")
def gpu_only(world):
    world.more["gpu_only"] = True


@given(words('process {pid:d} of somebody else holds "{size}" of GPU {gpu:d}'))
def neighbour(world, pid, size, gpu):
    world.gpus.tell("take", gpu, pid, size)


@when(words("process {pid:d} ends"))
def neighbour_ends(world, pid):
    world.gpus.tell("give", pid)


@given("the memory of engines that end does not come back")
def memory_stays(world):
    world.gpus.option(lag=10**6)


@when("the memory of engines that end comes back")
def memory_returns(world):
    world.gpus.option(lag=0)


@when(words("GPU {gpu:d} falls off the bus"))
def falls_off(world, gpu):
    world.gpus.tell("xid", gpu, 79)


@when(words("the driver tells XID {number:d} of GPU {gpu:d}"))
def xid(world, number, gpu):
    world.gpus.tell("xid", gpu, number)


@when(parsers.re(r"GPU (?P<gpu>\d+) becomes larger by 1 byte( (?P<less>less than was missing))?"))
def grows(world, gpu, less):
    more = int(re.search(r"(\d+) bytes are missing", message(world)).group(1)) - 1 if less else 1
    state = world.gpus.show()["gpus"][int(gpu)]
    world.gpus.set(gpu, total=state["total"] + more)
    wait_until(lambda: shown(world, int(gpu))["vram_total_bytes"] == state["total"] + more, 30, "the GPU being looked at")


# ---- pools ----------------------------------------------------------------------------------------------


def put_pool(world, name, mask, size, layers):
    """A file of that size, which its engine takes as it is: the same part for each layer and for the output."""
    path = tiny_model("--layers", str(layers), "--embd", str(EMBD), "--heads", "8", "--ctx", "131072",
                      "--size-mb", str(gib(size) // MIB), "--sparse")
    world.always[name] = "vram:weights=%d,vram:layers=%d,vram:kv=%d,vram:compute=%d,vram:context=%d" % (
        os.path.getsize(path), layers, layers * KV_LAYER, COMPUTE, CUDA)
    world.faulty(name, "", model=path, devices=mask, slots=1)


@given(words('a pool "{name}" on the GPUs "{mask}" with a model of "{size}"'))
def pool_on(world, name, mask, size):
    put_pool(world, name, mask, size, 8)


@given(words('a pool "{name}" over the GPUs "{mask}" with a model of "{size}" and {layers:d} layers'))
def pool_over(world, name, mask, size, layers):
    put_pool(world, name, mask, size, layers)


@given(words('a pool "{name}" with the real engine on the devices "{mask}"'))
def real_pool_on(world, name, mask):
    world.pool(name, devices=mask)


@given(words('"{name}" is split by "{split}"'))
def split(world, name, split):
    world.pools[name]["tensor_split"] = split if split == "auto" else [float(part) for part in split.split(",")]


@given(words('"{name}" has a context of {n:d} tokens'))
def context(world, name, n):
    world.pools[name]["context"] = n


@given(parsers.re(r'the streams of (?P<names>"\S+"(, "\S+")*) stay open until their engines may go on'))
def held(world, names):
    for name in re.findall(r'"([^"]+)"', names):
        world.order(name, HELD)


@when(words('"{name}" is given the largest context that was told'))
def give_context(world, name):
    world.pools[name]["context"] = world.largest
    world.daemon.write_config(world.pools, world.more)
    done = world.poolctl("config", "reload")
    assert done.returncode == 0, done.stderr


@when(words('an operator reloads "{name}" with {n:d} tokens more'))
def reload_wider(world, name, n):
    remember(world, name)
    path = world.folder / "wider.json"
    path.write_text(json.dumps({**world.pools[name], "context": world.pools[name]["context"] + n}), encoding="utf-8")
    world.operation_id = world.operation("reload", name, "--file", str(path))["id"]


# ---- what is seen ---------------------------------------------------------------------------------------


def message(world):
    return world.answers[0].json()["error"]["message"]


def shown(world, gpu):
    """The daemon's view of a GPU: for waiting until it has looked, and what it says of one."""
    return next((x for x in world.daemon.get("/v1/devices").json()["devices"] if x["id"] == FakeGpus.uuid(gpu)), {})


def holds(world, name):
    """GPU → bytes, by the books of the driver."""
    held_bytes = world.gpus.users().get(world.replica(name)["pid"], {})
    return {i: held_bytes[FakeGpus.uuid(i)] for i in range(len(world.gpus.show()["gpus"])) if FakeGpus.uuid(i) in held_bytes}


def told_to(world, name):
    """The words of its command line, and its environment."""
    proc = pathlib.Path("/proc/%d" % world.replica(name)["pid"])
    variables = proc.joinpath("environ").read_text(encoding="utf-8").split("\0")
    return (proc.joinpath("cmdline").read_text(encoding="utf-8").split("\0"),
            dict(v.split("=", 1) for v in variables if "=" in v))


def counts(world, name):
    arguments, _ = told_to(world, name)
    return [int(n) for n in arguments[arguments.index("-ts") + 1].split(",")]


@then(words('"{name}" holds memory of exactly the GPUs "{mask}", and sees no others'))
def holds_exactly(world, name, mask):
    on = [int(i) for i in mask.split(",")]
    assert sorted(holds(world, name)) == on
    visible = told_to(world, name)[1]["CUDA_VISIBLE_DEVICES"]
    assert visible == ",".join(FakeGpus.uuid(i) for i in on)


@then(parsers.re(r'GPU (?P<gpu>\d+) is in the hands of (?P<names>"\S+"(, "\S+")*) and nobody else'))
def in_the_hands(world, gpu, names):
    users = {pid for pid, held_bytes in world.gpus.users().items() if FakeGpus.uuid(int(gpu)) in held_bytes}
    assert users == {world.replica(name)["pid"] for name in re.findall(r'"([^"]+)"', names)}


@then("the largest context that fits is told")
def largest_is_told(world):
    hint = world.answers[0].json()["error"]["hint"]
    world.largest = int(re.search(r"largest context that fits is (\d+) tokens", hint).group(1))
    assert world.largest % 256 == 0


@then(words('"{name}" lies on its GPUs with {a:d} and {b:d} layers, and so say the books of the GPUs'))
def lies(world, name, a, b):
    assert counts(world, name) == [a, b]
    weights = os.path.getsize(world.pools[name]["model"])
    n = a + b       # the last is the output, which has no cache
    cache = KV_LAYER * world.pools[name]["context"]
    wanted = [a * weights / n + a * cache + COMPUTE + CUDA, b * weights / n + (b - 1) * cache + COMPUTE + CUDA]
    for gpu, of_gpu in enumerate(wanted):
        assert abs(holds(world, name)[gpu] - of_gpu) < MIB


@then(words('no room for {n:d} tokens more is left on GPU {full:d}, and "{size}" or more on GPU {wide:d}'))
def smallest_is_full(world, n, full, size, wide):
    """Beside the reserve; and what the engine was expected to take and did not: for computing, and for CUDA."""
    unused = (512 * MIB - CUDA) + (512 * MIB - COMPUTE)
    assert world.gpus.free(full) - GIB - unused < 16 * KV_LAYER * n
    assert world.gpus.free(wide) - GIB > gib(size)


@then(words('all {n:d} layers of "{name}" are on GPUs, most of them on GPU 0'))
def all_on_gpus(world, n, name):
    on = counts(world, name)
    assert sum(on) == n and len(on) == 2 and on[0] > on[1] > 0
    assert told_to(world, name)[0].count("-ngl") == 1
    weights = os.path.getsize(world.pools[name]["model"])
    assert sum(holds(world, name).values()) > weights
    assert holds(world, name)[0] > holds(world, name)[1]


@then(words('poolctl shows process {pid:d} with "{size}" on its GPU'))
def neighbour_is_named(world, pid, size):
    listed = world.poolctl("devices").stdout
    assert "(pid %d) uses %s" % (pid, size) in listed, listed


@then(words('the event "{event}" is told for GPU {gpu:d}'))
def told_for_gpu(world, event, gpu):
    world.daemon.wait(event, device=FakeGpus.uuid(gpu))


@then(words('the GPU {gpu:d} is "{state}"'))
def gpu_is(world, gpu, state):
    assert shown(world, gpu)["state"] == state


@then(words('nothing is held against "{name}"'))
def not_blamed(world, name):
    replica = world.replica(name)
    assert (replica["failures_in_a_row"], replica["breaker"]) == (0, "closed")


@then(words('it is told of "{name}" that it starts "{text}"'))
def told_why(world, name, text):
    assert text in world.daemon.wait("instance_starting", pool_id=name)["human"]


@then(words('another client streams from "{name}" to the end'))
def streams_to_the_end(world, name):
    world.order(name, "")
    answer = world.daemon.chat(name, stream=True)
    assert answer.status == 200 and answer.complete
