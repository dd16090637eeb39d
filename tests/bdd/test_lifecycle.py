# SPDX-License-Identifier: Apache-2.0
"""Steps that lifecycle.feature has alone."""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import threading
import time

from pytest_bdd import given, parsers, scenarios, then, when

from conftest import HELD, ms, not_ready, operation, remember, words
from poolmgr_test import Load, TEXT, alive, read_answer, tiny_model, wait_until

scenarios("lifecycle.feature")

# ---- given: pools ---------------------------------------------------------------------------------------


@given(words('a preloaded pool "{name}" whose engine ends with code {n:d} while it loads'))
def weak_pool(world, name, n):
    world.faulty(name, "load:exit=%d" % n, start="preload", backoff={"base": "60s", "cap": "60s"})


@given(words('a preloaded pool "{name}" whose engine meets a driver error with its second request'))
def pool_with_driver_error(world, name):
    world.faulty(name, "request:driver,request:after=1," + HELD, start="preload", slots=2,
                 backoff={"base": "2s", "jitter": 0})


@given(words('a preloaded pool "{name}" whose engine dies as soon as it is ready'))
def shaky_pool(world, name):
    world.faulty(name, "ready:exit_after=1,ready:exit=1", start="preload", backoff={"base": "400ms", "jitter": 0})


@given(parsers.re(r'a pool "(?P<name>\S+)" with (?P<n>\d+) slots? whose streams stay open until the engine may go on'))
def held_pool(world, name, n):
    world.faulty(name, HELD, slots=int(n))


@given("the daemon tells everything")
def tells_everything(world):
    world.more["log"] = {"level": "debug"}


@given(words('the devices "{names}" with "{size}" each'))
def devices(world, names, size):
    world.more["devices"] = {"declared": {name: size for name in names.split(",")}}


@given(words('the devices "{a}" with "{size_a}" and "{b}" with "{size_b}"'))
def unequal_devices(world, a, size_a, b, size_b):
    world.more["devices"] = {"declared": {a: size_a, b: size_b}}


@given(words('a {start:Pool} "{name}" that needs "{size}"'))
def pool_of_size(world, start, name, size):
    world.faulty(name, "", devices="auto", vram=size, start=start)


@given(words('a pool "{name}" on the devices "{mask}" that needs "{size}"'))
def pool_on_devices(world, name, mask, size):
    each = mask.split(",")      # one size is for one device; of several each has its own
    world.faulty(name, "", devices=mask, vram={device: size for device in each} if len(each) > 1 else size)


@given(words('a pool "{name}" that needs "{size}" whose engine loads for "{n:d}ms"'))
def faulty_pool_of_size(world, name, size, n):
    world.faulty(name, "load:delay=%d" % n, devices="auto", vram=size)


@given(words('a pool "{name}" that needs "{size}" whose streams stay open until the engine may go on'))
def held_pool_of_size(world, name, size):
    world.faulty(name, HELD, devices="auto", vram=size)


@given(words('a busy pool gives way after "{duration}"'))
def quick_eviction(world, duration):
    world.more["evict"] = {"max_wait": duration, "min_residency": duration}


@given(words('the pool "{name}" is also called "{alias}"'))
def other_name(world, name, alias):
    world.pools[name]["aliases"] = [alias]


@given(words('the queue of "{name}" takes {n:d} request, and then it does "{policy}"'))
def bounded_queue(world, name, n, policy):
    world.pools[name]["queue"] = {"requests": n, "policy": policy}


# ---- clients --------------------------------------------------------------------------------------------


@given(words('a client has asked "{name}"'))
def has_asked(world, name):
    assert world.daemon.chat(name).text().strip() == TEXT


@given(words('clients ask "{name}" again and again'))
def load(world, name, request):
    world.load = Load(world.daemon, [name])
    request.addfinalizer(world.load.end)
    world.load.wait_for_more(n=1)
    remember(world, name)


@then("nobody lost an answer")
def nothing_lost(world):
    world.load.wait_for_more(n=1)
    assert world.load.end() == []


@when(parsers.re(r'an? "(?P<priority>\S+)" client comes to "(?P<name>\S+)"'))
def client_of_class_comes(world, priority, name):
    world.waiting[priority] = world.daemon.open_chat(name, headers={"X-Priority": priority})


@when(parsers.re(r'an? "(?P<priority>\S+)" client waits for "(?P<name>\S+)"'))
def client_of_class_waits(world, priority, name):
    client_of_class_comes(world, priority, name)
    wait_until(lambda: world.daemon.pool_state(name)["queue_depth"] == 1, 30, "a request waiting")


@then(words('the "{priority}" client receives the known text'))
def client_of_class_answered(world, priority):
    answer = read_answer(world.waiting.pop(priority), "POST")
    assert answer.status == 200 and answer.text().strip() == TEXT, answer.body


@then(words('the "{priority}" client is refused with {status:d} "{code}"'))
def client_of_class_refused(world, priority, status, code):
    world.answers = [read_answer(world.waiting.pop(priority), "POST")]
    assert (world.answers[0].status, world.answers[0].json()["error"]["code"]) == (status, code)


@then(words('the refusal names the policy "{label}"'))
def policy(world, label):
    assert world.answers[0].json()["error"]["policy_label"] == label


@then("the refusal says when it is worth to ask again")
def retry_after(world):
    error = world.answers[0].json()["error"]
    assert error["retriable"] is True and error["retry_after_ms"] > 0
    assert int(world.answers[0].headers["retry-after"]) >= 1


@when(words('{n:d} clients ask "{a}" and {m:d} ask "{b}" at once'))
def ask_two_names(world, n, a, m, b):
    with concurrent.futures.ThreadPoolExecutor(n + m) as crowd:
        world.answers = list(crowd.map(lambda i: world.daemon.chat(a if i < n else b), range(n + m)))


# ---- operators ------------------------------------------------------------------------------------------


@when(words('an operator begins to drain "{name}"'))
def begin_to_drain(world, name):
    remember(world, name)
    world.operation_id = world.poolctl("--no-wait", "drain", name).stdout.strip()
    assert world.operation_id.startswith("op-")


@when(words('an operator drains "{name}" with "{options}"'))
def drain(world, name, options):
    remember(world, name)
    world.operation_id = world.operation("drain", name, *options.split())["id"]


@when(words('an operator resumes "{name}"'))
def resume(world, name):
    done = world.poolctl("resume", name)
    assert done.returncode == 0, done.stderr


def reload(world, name, *options):
    remember(world, name)
    world.operation_id = world.operation("reload", name, *options)["id"]


@when(words('an operator reloads "{name}" with the model "{path}"'))
def reload_model(world, name, path):
    reload(world, name, "--model", path)


@when(words('an operator reloads "{name}" with another model'))
def reload_another_model(world, name, *options):
    path = str(world.folder / "another.gguf")
    shutil.copy(tiny_model(), path)
    reload(world, name, "--model", path, *options)


@when(words('an operator reloads "{name}" with another model and "{options}"'))
def reload_another_model_with(world, name, options):
    reload_another_model(world, name, *options.split())


@when(words('an operator reloads "{name}" with an engine that "{fault}"'))
def reload_bad_engine(world, name, fault):
    spec = {**world.pools[name], "env": {"FAULT": fault}, "start_stall": "700ms"}
    path = world.folder / "spec.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    reload(world, name, "--file", str(path))


@then("the drain has succeeded, and cut nothing")
def drained(world):
    op = operation(world)
    assert (op["kind"], op["state"]) == ("drain", "succeeded"), op
    assert (op["result"]["forced"], op["result"]["leases_left"]) == (False, 0)


@then(words("the drain has succeeded by force, with {n:d} leases left"))
def drained_by_force(world, n):
    op = operation(world)
    assert (op["kind"], op["state"]) == ("drain", "succeeded"), op
    assert (op["result"]["forced"], op["result"]["leases_left"]) == (True, n)


@then("the reload has succeeded")
def reloaded(world):
    op = operation(world)
    assert (op["kind"], op["state"]) == ("reload", "succeeded"), op
    assert op["result"]["success"] is True and op["result"]["rolled_back"] is False


@then(words('the {kind} has failed with "{code}"'))
def failed_with(world, kind, code):
    op = operation(world)
    assert (op["kind"], op["state"], op["error"]["code"]) == (kind, "failed", code), op
    assert kind == "drain" or op["result"]["rolled_back"] is False


@then("the reload has failed and was rolled back")
def rolled_back(world):
    op = operation(world)
    assert (op["kind"], op["state"]) == ("reload", "failed"), op
    assert op["result"]["success"] is False and op["result"]["rolled_back"] is True


@when("the daemon is killed and started again")
def kill_daemon(world):
    world.daemon.kill()
    world.daemon.start()


@when("the daemon is stopped")
def stop_daemon(world):
    assert world.daemon.stop() == 0


@when(words('an operator tries to stop "{name}"'))
def try_to_stop(world, name):
    world.refused = world.poolctl("stop", name)


@then(words('the operator is refused with "{text}"'))
def operator_refused(world, text):
    assert world.refused.returncode == 1 and text in world.refused.stderr, world.refused


# ---- what is seen ---------------------------------------------------------------------------------------


@then(words('the pool "{name}" is not ready, and its last error names "{text}"'))
def not_ready_because(world, name, text):
    not_ready(world, name)
    assert text in world.replica(name)["last_error"]["text"]


@then("the daemon itself is ready")
def daemon_ready(world):
    assert world.daemon.get("/readyz").status == 200


@then(words('the breaker of "{name}" is "{state}"'))
def breaker(world, name, state):
    wait_until(lambda: world.replica(name)["breaker"] == state, 30, "the breaker being %s" % state)


@then(words('at most {n:d} engines were started for "{name}"'))
def bounded_starts(world, n, name):
    assert 1 <= world.daemon.count("instance_starting", pool_id=name) <= n


@then(words('no request of "{name}" was placed before its engine was ready'))
def gated(world, name):
    ready = world.daemon.events.index(world.daemon.wait("instance_ready", pool_id=name))
    assert world.daemon.count("request_placed", pool_id=name) == 1
    assert world.daemon.count("request_placed", after=ready, pool_id=name) == 1


@then(parsers.re(r'the pools (?P<names>"\S+"(, "\S+")*) became ready, and no more than (?P<most>\d+) were loading at once'))
def bounded_preloads(world, names, most):
    for name in re.findall(r'"([^"]+)"', names):
        world.daemon.wait("instance_ready", pool_id=name)
    loading, peak = 0, 0
    for event in world.daemon.events:
        loading += {"instance_starting": 1, "instance_ready": -1}.get(event["event"], 0)
        peak = max(peak, loading)
    assert (loading, peak) == (0, int(most))


@then(words('the intent of "{name}" is "{intent}"'))
def intent_is(world, name, intent):
    assert world.daemon.pool_state(name)["intent"] == intent


@then(words('the engine of "{name}" is another one'))
def another_engine(world, name):
    pid = world.replica(name)["pid"]
    assert alive(pid) and pid != world.pids[name]


@then(words('the former engine of "{name}" ends'))
def former_ends(world, name):
    wait_until(lambda: not alive(world.pids[name]), 30, "the end of the former engine")


@then(words('nobody holds a slot of "{name}"'))
def no_leases(world, name):
    wait_until(lambda: world.daemon.pool_state(name)["active_leases"] == 0, 30, "no lease")


@then(words('"{name}" runs on exactly the devices "{mask}"'))
def runs_on(world, name, mask):
    replica = world.replica(name)
    assert replica["state"] == "ready" and ",".join(device["id"] for device in replica["devices"]) == mask


# ---- leases -----------------------------------------------------------------------------------------------


@given(words('somebody counts the leases of "{name}" all the time'))
def count_leases(world, name, request):
    world.counts, stop = [], threading.Event()

    def count():
        while not stop.is_set():
            pool = world.daemon.pool_state(name)
            world.counts.append((pool["active_leases"], pool["slots_free"], pool["slots_total"], pool["state"]))
            time.sleep(0.002)

    world.daemon.get("/livez")
    counter = threading.Thread(target=count)
    counter.start()
    request.addfinalizer(counter.join)
    request.addfinalizer(stop.set)


@when(words('{n:d} clients come for "{name}", some leave, the engine is killed, and the others are answered'))
def come_and_go(world, n, name):
    d = world.daemon
    streams = [d.open_chat(name, stream=True) for _ in range(n)]
    wait_until(lambda: d.pool_state(name)["active_leases"] == 2, 30, "all slots taken")
    for s in streams[::3]:
        s.close()       # some of those who run, some of those who wait
    wait_until(lambda: d.pool_state(name)["active_leases"] == 2, 30, "all slots taken again")
    pid = world.replica(name)["pid"]
    os.kill(pid, signal.SIGKILL)
    world.order(name, "stream:delay=5")
    answers = [read_answer(s, "POST") for i, s in enumerate(streams) if i % 3]
    whole = [a for a in answers if a.complete and a.status == 200]
    assert len(whole) >= len(answers) - 2, [(a.status, a.complete) for a in answers]


@then(words('the leases of "{name}" were between {low:d} and {high:d} at any time'))
def leases_bounded(world, name, low, high):
    assert len(world.counts) > 20 and max(c[0] for c in world.counts) == high
    for leases, free, total, state in world.counts:
        assert low <= leases <= high and 0 <= free <= high, (leases, free, total, state)


# ---- engines of others ------------------------------------------------------------------------------------


@given("an engine that somebody else started")
def foreign_engine(world, engine):
    world.foreign = engine()


@given("an engine that somebody else started and that is dead")
def dead_engine(world, engine):
    world.foreign = engine()
    world.foreign.kill()


@when(words('it is handed over as "{name}"'))
def hand_over(world, name):
    world.handoff = world.daemon.post("/v1/pools/%s/handoff" % name, world.foreign.document(name))


@then(words('the handoff is refused with {status:d} "{code}"'))
def handoff_refused(world, status, code):
    assert (world.handoff.status, world.handoff.json()["error"]["code"]) == (status, code)


@then(words('there is no pool "{name}"'))
def no_pool(world, name):
    assert world.daemon.get("/v1/pools/" + name).status == 404


@then("the engine of somebody else still runs")
def foreign_lives(world):
    assert alive(world.foreign.process.pid) and world.foreign.answers()
