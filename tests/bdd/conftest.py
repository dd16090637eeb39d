# SPDX-License-Identifier: Apache-2.0
"""What the features share: the world, and its plain steps. They drive the real daemon and look from outside; none sets
what it asserts. The daemon is started by the first step that needs it."""
import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess

import parse
import pytest
from pytest_bdd import given, parsers, then, when

from poolmgr_test import Daemon, POOLCTL, TEXT, instances_of, read_answer, wait_until


HELD = "stream:hold"        # streams stay open


@parse.with_pattern(r'[^"]+')
def quoted(text):
    return text


@parse.with_pattern(r"pool|preloaded pool")
def kind_of_pool(text):
    return {"pool": "on-demand", "preloaded pool": "preload"}[text]


def words(text):
    """A step in which "{x}" ends with its quotes; {start:Pool} is a kind of pool."""
    return parsers.parse(text.replace('}"', ':Quoted}"'), extra_types={"Quoted": quoted, "Pool": kind_of_pool})


def ms(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s)", text).groups()
    return int(number) * {"ms": 1, "s": 1000}[unit]


class World:
    def __init__(self, make, folder):
        self.make, self.folder = make, folder
        self.pools, self.more, self.environment = {}, {}, {}
        self.always = {}        # pool → orders of its engine that hold besides those of the moment
        self.started = None
        self.answers = []
        self.running = []       # connections whose answers are on their way
        self.waiting = {}       # whom we call the client → its connection
        self.seen = {}          # (event, pool) → index behind the last one that a step saw
        self.pids = {}          # pool → its engine before somebody did something

    @property
    def daemon(self):
        if not self.started:
            self.started = self.make(self.pools, self.more, environment=self.environment)
        return self.started

    def pool(self, name, **more):
        self.pools[name] = Daemon.pool(**more)

    def faulty(self, name, fault, **more):
        """The fault engine with these orders, which can be changed later."""
        self.order(name, fault)
        env = {"FAULT_FILE": str(self.folder / name), **more.pop("env", {})}
        self.pools[name] = Daemon.pool(engine="fault", env=env, **more)

    def order(self, name, fault):
        orders = ",".join(filter(None, (self.always.get(name), fault)))
        (self.folder / (name + ".part")).write_text(orders, encoding="ascii")
        os.rename(self.folder / (name + ".part"), self.folder / name)

    def replica(self, name):
        return self.daemon.pool_state(name)["replicas"][0]

    def poolctl(self, *words):
        return subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % self.daemon.port, *words],
                              capture_output=True, text=True, timeout=60, check=False)

    def operation(self, *words):
        """A verb of poolctl's, waited for; the operation as it ended."""
        return json.loads(self.poolctl("--json", *words).stdout)


@pytest.fixture
def world(daemon, tmp_path):
    w = World(daemon, tmp_path)
    yield w
    for s in (*w.running, *w.waiting.values()):
        s.close()


def remember(world, name):
    """Which engine it was before somebody did something."""
    world.pids.setdefault(name, world.replica(name).get("pid"))


def operation(world):
    op = world.daemon.get("/v1/operations/%s?wait=60s" % world.operation_id).json()
    assert op["state"] != "running"
    return op


# ---- given --------------------------------------------------------------------------------------------


@given(words('a pool "{name}" with the real engine'))
def real_pool(world, name):
    world.pool(name, slots=4)


@given(words('a pool "{name}" with the real engine and {n:d} slots'))
def real_pool_with_slots(world, name, n):
    world.pool(name, slots=n)


@given(words('a pool "{name}" with the real engine that may be idle for "{ttl}"'))
def short_lived_pool(world, name, ttl):
    world.pool(name, idle_ttl=ttl)


@given(words('a preloaded pool "{name}" with the real engine'))
def preloaded_pool(world, name):
    world.pool(name, start="preload")


@given(words('a {start:Pool} "{name}" with the real engine and the model file "{path}"'))
def pool_of_model(world, start, name, path):
    world.pool(name, model=path, start=start)


@given(words('a pool "{name}" whose engine dies after {n:d} bytes of a stream'))
def frail_pool(world, name, n):
    world.faulty(name, "stream:die_at=%d" % n)


@given(words('a {start:Pool} "{name}" whose engine loads for "{ms:d}ms"'))
def slow_pool(world, start, name, ms):
    world.faulty(name, "load:delay=%d" % ms, start=start)


@given(words('the pools "{a}" and "{b}" serve the name "{alias}" together'))
def shared_name(world, a, b, alias):
    for name in (a, b):
        world.pools[name]["aliases"] = [alias]


# ---- when ---------------------------------------------------------------------------------------------


@when(words('a client asks "{name}" for a {kind} chat answer'))
@then(words('a client asks "{name}" for a {kind} chat answer'))
def client_asks(world, name, kind):
    world.answers = [world.daemon.chat(name, stream=kind == "streamed")]


@when(words('{n:d} clients ask "{name}" at once'))
def many_clients_ask(world, n, name):
    with concurrent.futures.ThreadPoolExecutor(n) as crowd:
        world.answers = list(crowd.map(lambda _: world.daemon.chat(name), range(n)))


@given(parsers.re(r'(?P<n>\d+) clients? streams? from "(?P<name>\S+)"'))
@when(parsers.re(r'(?P<n>\d+) clients? streams? from "(?P<name>\S+)"'))
def clients_stream(world, n, name):
    streams = [world.daemon.open_chat(name, stream=True) for _ in range(int(n))]
    world.running += streams
    for s in streams:
        assert s.recv(1, socket.MSG_PEEK)       # its answer has begun


@when(words('the engine of "{name}" is killed'))
def kill_engine(world, name):
    world.seen[("instance_ready", name)] = world.daemon.mark()
    os.kill(world.replica(name)["pid"], signal.SIGKILL)


@when(words('a client asks "{name}" for a plain chat answer and leaves after it waits'))
def client_leaves(world, name):
    sock = world.daemon.open_chat(name)
    wait_until(lambda: world.daemon.pool_state(name)["queue_depth"] == 1, 30, "a request waiting")
    sock.close()


@when(words('an operator stops "{name}" with poolctl'))
def operator_stops(world, name):
    done = world.poolctl("stop", name)
    assert done.returncode == 0, done.stderr


@given(parsers.re(r'clients ask (?P<names>"\S+"(, "\S+")*) one after the other'))
@when(parsers.re(r'clients ask (?P<names>"\S+"(, "\S+")*) one after the other'))
def ask_in_turn(world, names):
    for name in re.findall(r'"([^"]+)"', names):
        answer = world.daemon.chat(name)
        assert answer.status == 200 and answer.headers["x-pool"] == name, answer.body


@when(words('a client asks "{name}" for the devices "{mask}"'))
def ask_for_devices(world, name, mask):
    world.answers = [world.daemon.chat(name, headers={"X-Placement": "mask=" + mask})]


@when(words('a client who has "{duration}" asks "{name}" for a plain chat answer'))
def ask_in_a_hurry(world, duration, name):
    world.answers = [world.daemon.chat(name, headers={"X-Deadline-Ms": str(ms(duration))})]


@when(words('a client waits for an answer of "{name}"'))
def client_waits(world, name):
    world.waiting[""] = world.daemon.open_chat(name)


@when(words('the engine of "{name}" may go on'))
def go_on(world, name):
    world.order(name, "")


# ---- then ---------------------------------------------------------------------------------------------


@given(words('the pool "{name}" is "{state}"'))
@when(words('the pool "{name}" is "{state}"'))
@then(words('the pool "{name}" is "{state}"'))
def pool_is(world, name, state):
    world.daemon.wait_state(name, state)


@then("the client receives the known text")
def known_text(world):
    assert [a.status for a in world.answers] == [200], world.answers
    assert world.answers[0].text().strip() == TEXT


@then(words("{n:d} clients receive the known text"))
def known_texts(world, n):
    assert [a.text().strip() for a in world.answers] == [TEXT] * n


@then("the stream is complete")
def stream_complete(world):
    assert world.answers[0].complete
    assert world.answers[0].events()[-1] == ("message", "[DONE]")


@then(parsers.re(r"the (?P<n>\d+) streams? (are|is) complete"))
def streams_complete(world, n):
    world.answers, world.running = [read_answer(s, "POST") for s in world.running], []
    assert [(a.status, a.complete, a.text().strip()) for a in world.answers] == [(200, True, TEXT)] * int(n)
    assert all(a.events()[-1] == ("message", "[DONE]") for a in world.answers)


@then(parsers.re(r'the (?P<n>\d+) streams? (are|is) broken off, with an error event "(?P<code>\S+)" at (their|its) end'))
def streams_broken(world, n, code):
    broken, world.running = [read_answer(s, "POST") for s in world.running], []
    assert len(broken) == int(n)
    for answer in broken:
        assert_broken(answer, code)


def assert_broken(answer, code):
    assert answer.status == 200 and not answer.complete
    assert ("message", "[DONE]") not in answer.events()
    name, data = answer.events()[-1]
    assert name == "error" and json.loads(data)["error"]["code"] == code


@then("the stream is broken off")
def stream_broken(world):
    assert world.answers[0].status == 200
    assert not world.answers[0].complete
    assert ("message", "[DONE]") not in world.answers[0].events()


@then(words('what arrived ends with an error event "{code}"'))
def error_event(world, code):
    assert_broken(world.answers[0], code)


@then(words('exactly {n:d} engine was started for "{name}"'))
@then(words('exactly {n:d} engines were started for "{name}"'))
def starts(world, n, name):
    assert world.daemon.count("instance_starting", pool_id=name) == n


@given(words('the event "{event}" is told for "{name}"'))
@when(words('the event "{event}" is told for "{name}"'))
@then(words('the event "{event}" is told for "{name}"'))
def told(world, event, name):
    world.daemon.wait(event, pool_id=name)


@then(words('the event "{event}" is told for "{name}" again'))
def told_again(world, event, name):
    world.daemon.wait(event, after=world.seen[(event, name)], pool_id=name)


@then(words('no process of "{name}" is left'))
def nothing_left(world, name):
    wait_until(lambda: not [i for i in instances_of(world.daemon.folder).values() if i.startswith(name + ".")],
               30, "the end of all processes of %s" % name)


@then(words('the client is refused with {status:d} "{code}"'))
def refused(world, status, code):
    answer = world.answers[0]
    assert (answer.status, answer.json()["error"]["code"]) == (status, code), answer.body


@then(words('the message names "{text}"'))
def message_names(world, text):
    assert text in world.answers[0].json()["error"]["message"]


@then(words('the pool "{name}" has nobody waiting'))
def nobody_waits(world, name):
    wait_until(lambda: world.daemon.pool_state(name)["queue_depth"] == 0, 30, "an empty queue")


@then(words('another client asks "{name}" and is answered'))
def another_client(world, name):
    assert world.daemon.chat(name).status == 200


@then("who waits receives the known text")
def waiter_answered(world):
    answer = read_answer(world.waiting.pop(""), "POST")
    assert answer.status == 200 and answer.text().strip() == TEXT, answer.body


@then(words('the answer comes from "{name}"'))
def answered_by(world, name):
    assert (world.answers[0].status, world.answers[0].headers["x-pool"]) == (200, name)


@then(words('the reload has failed and names "{text}"'))
def failed_and_names(world, text):
    op = operation(world)
    assert (op["kind"], op["state"]) == ("reload", "failed") and text in op["error"]["message"], op
    assert op["result"]["success"] is False and op["result"]["rolled_back"] is False


@then(words('the engine of "{name}" is still the same'))
def same_engine(world, name):
    wait_until(lambda: world.replica(name).get("pid"), 30, "an engine of %s" % name)
    assert world.replica(name)["pid"] == world.pids[name]


@then(words('only "{name}" was evicted'))
def evicted(world, name):
    world.daemon.wait("evicted", pool_id=name)
    assert world.daemon.count("evicted") == 1


@then(words('the next engine of "{name}" was started "{duration}" after the crash or later'))
def backed_off(world, name, duration):
    crash = world.daemon.wait("instance_crashed", pool_id=name)
    start = world.daemon.wait("instance_starting", after=world.daemon.events.index(crash), pool_id=name)
    assert (start["seen"] - crash["seen"]) * 1000 >= ms(duration)


@then(words('the pool "{name}" is not ready'))
def not_ready(world, name):
    health = world.daemon.pool_state(name)["health"]
    assert health["ready"] is False and health["code"], health


@then(words('the pool "{name}" is not ready, and its last error is of class "{what}"'))
def not_ready_of_class(world, name, what):
    not_ready(world, name)
    assert world.replica(name)["last_error"]["class"] == what
