# SPDX-License-Identifier: Apache-2.0
"""Steps of serve.feature. They drive the real daemon and look from outside; none sets what it asserts."""
import concurrent.futures
import os
import signal
import subprocess

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from poolmgr_test import Daemon, POOLCTL, TEXT, instances_of, wait_until

scenarios("serve.feature")


class World:
    def __init__(self):
        self.daemon = None
        self.answers = []
        self.seen = {}          # (event, pool) → index behind the last one that a step saw


@pytest.fixture
def world(daemon):
    w = World()
    w.make = lambda name, pool: setattr(w, "daemon", daemon({name: pool}))
    return w


# ---- given --------------------------------------------------------------------------------------------


@given(parsers.parse('a pool "{name}" with the real engine'))
def real_pool(world, name):
    world.make(name, Daemon.pool(slots=4))


@given(parsers.parse('a pool "{name}" with the real engine and {n:d} slots'))
def real_pool_with_slots(world, name, n):
    world.make(name, Daemon.pool(slots=n))


@given(parsers.parse('a pool "{name}" with the real engine that may be idle for "{ttl}"'))
def short_lived_pool(world, name, ttl):
    world.make(name, Daemon.pool(idle_ttl=ttl))


@given(parsers.parse('a preloaded pool "{name}" with the real engine'))
def preloaded_pool(world, name):
    world.make(name, Daemon.pool(start="preload"))


@given(parsers.parse('a pool "{name}" with the real engine and the model file "{path}"'))
def pool_of_model(world, name, path):
    world.make(name, Daemon.pool(model=path))


@given(parsers.parse('a pool "{name}" whose engine dies after {n:d} bytes of a stream'))
def frail_pool(world, name, n):
    world.make(name, Daemon.faulty("stream:die_at=%d" % n))


@given(parsers.parse('a pool "{name}" whose engine loads for "{ms:d}ms"'))
def slow_pool(world, name, ms):
    world.make(name, Daemon.faulty("load:delay=%d" % ms))


# ---- when ---------------------------------------------------------------------------------------------


@when(parsers.parse('a client asks "{name}" for a {kind} chat answer'))
@then(parsers.parse('a client asks "{name}" for a {kind} chat answer'))
def client_asks(world, name, kind):
    world.answers = [world.daemon.chat(name, stream=kind == "streamed")]


@when(parsers.parse('{n:d} clients ask "{name}" at once'))
def many_clients_ask(world, n, name):
    with concurrent.futures.ThreadPoolExecutor(n) as crowd:
        world.answers = list(crowd.map(lambda _: world.daemon.chat(name), range(n)))


@when(parsers.parse('the engine of "{name}" is killed'))
def kill_engine(world, name):
    world.seen[("instance_ready", name)] = world.daemon.mark()
    os.kill(world.daemon.pool_state(name)["replicas"][0]["pid"], signal.SIGKILL)


@when(parsers.parse('a client asks "{name}" for a plain chat answer and leaves after it waits'))
def client_leaves(world, name):
    sock = world.daemon.open_chat(name)
    wait_until(lambda: world.daemon.pool_state(name)["queue_depth"] == 1, 30, "a request waiting")
    sock.close()


@when(parsers.parse('an operator stops "{name}" with poolctl'))
def operator_stops(world, name):
    done = subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % world.daemon.port, "stop", name],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# ---- then ---------------------------------------------------------------------------------------------


@given(parsers.parse('the pool "{name}" is "{state}"'))
@then(parsers.parse('the pool "{name}" is "{state}"'))
def pool_is(world, name, state):
    world.daemon.wait_state(name, state)


@then("the client receives the known text")
def known_text(world):
    assert [a.status for a in world.answers] == [200]
    assert world.answers[0].text().strip() == TEXT


@then(parsers.parse("{n:d} clients receive the known text"))
def known_texts(world, n):
    assert [a.text().strip() for a in world.answers] == [TEXT] * n


@then("the stream is complete")
def stream_complete(world):
    assert world.answers[0].complete
    assert world.answers[0].events()[-1] == ("message", "[DONE]")


@then("the stream is broken off")
def stream_broken(world):
    assert world.answers[0].status == 200
    assert not world.answers[0].complete
    assert ("message", "[DONE]") not in world.answers[0].events()


@then(parsers.parse('what arrived ends with an error event "{code}"'))
def error_event(world, code):
    name, data = world.answers[0].events()[-1]
    assert name == "error"
    assert '"code":"%s"' % code in data.replace(" ", "")


@then(parsers.parse('exactly {n:d} engine was started for "{name}"'))
def starts(world, n, name):
    assert world.daemon.count("instance_starting", pool_id=name) == n


@given(parsers.parse('the event "{event}" is told for "{name}"'))
@then(parsers.parse('the event "{event}" is told for "{name}"'))
def told(world, event, name):
    world.daemon.wait(event, pool_id=name)


@then(parsers.parse('the event "{event}" is told for "{name}" again'))
def told_again(world, event, name):
    world.daemon.wait(event, after=world.seen[(event, name)], pool_id=name)


@then(parsers.parse('no process of "{name}" is left'))
def nothing_left(world, name):
    wait_until(lambda: not [i for i in instances_of(world.daemon.folder).values() if i.startswith(name + ".")],
               30, "the end of all processes of %s" % name)


@then(parsers.parse('the client is refused with {status:d} "{code}"'))
def refused(world, status, code):
    answer = world.answers[0]
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


@then(parsers.parse('the message names "{text}"'))
def message_names(world, text):
    assert text in world.answers[0].json()["error"]["message"]


@then(parsers.parse('the pool "{name}" has nobody waiting'))
def nobody_waits(world, name):
    wait_until(lambda: world.daemon.pool_state(name)["queue_depth"] == 0, 30, "an empty queue")


@then(parsers.parse('another client asks "{name}" and is answered'))
def another_client(world, name):
    assert world.daemon.chat(name).status == 200


