# SPDX-License-Identifier: Apache-2.0
"""Engines that crash, hang, lie and do not go: what is told, and that nothing of them is left."""
import os
import signal
import socket

import pytest

from poolmgr_test import Daemon, alive, read_answer, wait_until

QUICK = {"base": "20ms", "cap": "100ms", "jitter": 0}


def error_of(answer):
    return answer.json()["error"]


@pytest.mark.parametrize("fault, cls, told", [
    ("start:exit=3", "exit", "3"),
    ("load:exit=5", "exit", "5"),
    ("start:signal=11", "signal", "11"),
    ("start:oom", "oom", "memory"),
])
def test_a_start_that_fails_twice_ends_who_waits_with_its_class(either, fault, cls, told):
    """LOAD-3, SUP-1, SUP-2: the first failure is tried again at once, the second is told."""
    d = either({"m": Daemon.faulty(fault)})
    error = d.refusal("m")
    assert error["code"] == "start_failed" and error["retriable"] and 0 < error["retry_after_ms"] <= 1000
    wait_until(lambda: d.count("start_failed") == 2, 20, "the event of the second failure")
    assert d.count("instance_starting") == 2
    last = d.pool_state("m")["replicas"][0]["last_error"]
    assert last["class"] == cls and told in last["text"], last
    assert not d.left_over()


def test_a_model_that_the_engine_calls_corrupt_is_not_tried_again(either):
    """SUP-6"""
    d = either({"m": Daemon.faulty("start:corrupt")})
    assert d.refusal("m")["code"] == "pool_failed"
    assert d.refusal("m")["code"] == "pool_failed"
    assert d.count("instance_starting") == 1
    assert d.pool_state("m")["replicas"][0]["last_error"]["code"] == "model_corrupt"


def test_an_engine_that_keeps_crashing_opens_the_breaker_and_stays_bounded(either):
    """SUP-3, SUP-4: who comes while it is open is refused at once, with the time."""
    d = either({"m": Daemon.faulty("start:exit=1", start="preload",
                                   backoff={"base": "20ms", "cap": "30s", "jitter": 0})})
    d.wait("breaker_opened")
    d.wait("storm")     # told in the same breath, after it
    assert d.count("storm") == 1
    if d.program == "orchestratord":    # an operator's start waits instead
        assert d.refusal("m")["code"] in ("breaker_open", "start_failed")
    assert d.count("instance_starting") <= 10
    assert d.pool_state("m")["replicas"][0]["breaker"] in ("open", "half-open")


@pytest.mark.parametrize("fault", ["load:hang", "load:deaf", "load:absent"])
def test_a_start_without_progress_is_given_up_and_its_tree_killed(either, fault):
    """LOAD-3, INV-33"""
    d = either({"m": Daemon.faulty(fault + ",start:setsid=1", start_stall="400ms", stop_grace="60s")})
    assert d.refusal("m")["code"] == "start_timeout"
    wait_until(lambda: not d.left_over() or d.count("instance_starting") > 1, 20, "the end of its tree")
    assert d.count("start_failed", **{"class": "start-timeout"}) >= 1


def test_a_slow_load_that_says_503_is_waited_for(either):
    """HEALTH-2: a port that answers is not readiness."""
    d = either({"m": Daemon.faulty("load:delay=700,start:silent")})
    d.use("m")
    assert d.wait("instance_ready")["duration_ms"] >= 700


def test_an_engine_that_floods_its_log_serves_and_fills_no_disk(either):
    """SUP-9b"""
    d = either({"m": Daemon.faulty("start:flood=3000000")}, {"engine_log": {"max_size": "64KiB", "files": 2}})
    d.use("m")
    folder = d.environment["POOLMGR_LOG_DIR"]
    files = set(os.listdir(folder))
    assert "m.0.log.1" in files and files <= {"m.0.log", "m.0.log.1"}
    assert all(os.stat(os.path.join(folder, f)).st_size <= 192 * 1024 for f in os.listdir(folder))


@pytest.mark.parametrize("fault", ["health:fail", "health:deaf"])
def test_an_idle_engine_that_misses_its_probes_is_sick_then_restarted(either, tmp_path, fault):
    """HEALTH-3a"""
    orders = tmp_path / "orders"
    orders.write_text("")
    d = either({"m": Daemon.pool(engine="fault", env={"FAULT_FILE": str(orders)}, start="preload",
                                 probe={"every": "100ms", "fall": 3, "rise": 2, "sick_restart": "300ms"})})
    first = d.wait("instance_ready")
    orders.write_text(fault)
    d.wait("instance_sick")
    crash = d.wait("instance_crashed")
    assert crash["class"] == "health"
    wait_until(lambda: not alive(first["pid"]), 20, "the end of the sick engine")


def test_a_sick_engine_that_answers_again_is_well_again(daemon, tmp_path):
    """HEALTH-3a: requests wait while it is sick, and it is the same engine afterwards."""
    orders = tmp_path / "orders"
    orders.write_text("")
    d = daemon({"m": Daemon.pool(engine="fault", env={"FAULT_FILE": str(orders)}, start="preload",
                                 probe={"every": "100ms", "fall": 2, "rise": 2, "sick_restart": "60s"})})
    first = d.wait("instance_ready")
    orders.write_text("health:fail")
    d.wait("instance_sick")
    s = d.open_chat("m")
    orders.write_text("")
    d.wait("instance_recovered")
    assert read_answer(s, "POST").status == 200
    assert d.pool_state("m")["replicas"][0]["pid"] == first["pid"]


@pytest.mark.parametrize("fault", ["request:hang", "stream:hang_at=300"])
def test_a_busy_engine_without_a_sign_of_life_is_hung_and_stopped(daemon, fault):
    """HEALTH-3b: the stream ends as broken, the engine is gone, the next request gets a new one."""
    d = daemon({"m": Daemon.faulty(fault + ",request:after=0", stall_timeout="600ms", stop_grace="500ms")})
    answer = d.chat("m", stream=True)
    assert not (answer.status == 200 and answer.events() and answer.events()[-1] == ("message", "[DONE]"))
    d.wait("instance_stalled")
    pid = d.wait("instance_ready")["pid"]
    wait_until(lambda: not alive(pid), 20, "the end of the hung engine")


def test_exit_0_that_nobody_asked_for_is_a_crash_and_it_comes_back(either):
    """SUP-1, SUP-2"""
    d = either({"m": Daemon.faulty("ready:exit_after=200", start="preload", backoff=QUICK)})
    crash = d.wait("instance_crashed")
    assert crash["class"] == "exit" and crash["exit_status"] == 0
    mark = d.mark()
    d.wait("instance_ready", after=mark)


@pytest.mark.parametrize("fault", ["request:signal=9", "request:exit=1", "stream:die_at=200"])
def test_an_engine_that_dies_with_a_request_never_leaves_a_whole_answer(daemon, fault):
    """GW-3a, GW-3b, SUP-1"""
    d = daemon({"m": Daemon.faulty(fault)})
    answer = d.chat("m", stream=True)
    if answer.status == 200:
        assert not answer.complete
        assert answer.events()[-1][0] == "error"
    else:
        assert answer.status == 502 and error_of(answer)["code"] == "engine_crashed"
    d.wait("instance_crashed")


def test_an_engine_that_ignores_sigterm_is_killed_with_its_helpers(either):
    """SUP-7"""
    d = either({"m": Daemon.faulty("term:ignore,start:setsid=2,start:fork=2", stop_grace="500ms")})
    d.use("m")
    wait_until(lambda: len(d.left_over()) >= 5, 20, "its helpers")
    assert d.post("/v1/pools/m/stop?wait=20s").status == 200
    assert not d.left_over()
    d.use("m")


def test_a_stop_at_once_cuts_streams_and_says_so(daemon):
    """DRAIN-1, SUP-7: deadline 0; an engine that hangs on SIGTERM while busy is killed after its grace."""
    d = daemon({"m": Daemon.faulty("term:hang_busy,stream:tokens=100000,stream:delay=20", stop_grace="500ms")})
    s = d.open_chat("m", stream=True)
    d.wait("instance_ready")
    assert s.recv(1, socket.MSG_PEEK)  # the answer has begun
    assert d.post("/v1/pools/m/stop?wait=20s", {"deadline_ms": 0}).status == 200
    answer = read_answer(s, "POST")
    assert not answer.complete
    assert not d.left_over()


def test_a_loading_engine_is_adopted_and_becomes_ready_once(either):
    """SUP-9a: kill -9 of the daemon during a start; no second copy."""
    d = either({"m": Daemon.faulty("load:delay=1500", start="preload")})
    pid = d.wait("instance_starting") and wait_until(lambda: d.left_over(), 20, "the engine")
    d.kill()
    mark = d.mark()
    d.start()
    wait_until(lambda: d.pool_state("m")["state"] == "ready", 30, "readiness")
    assert list(d.left_over()) == list(pid)
    assert d.count("instance_starting", after=mark) == 0
    d.use("m")


def test_a_start_nobody_waits_for_any_more_is_given_up(daemon):
    """LOAD-4"""
    d = daemon({"m": Daemon.faulty("load:hang", abandon_after="300ms")})
    s = d.open_chat("m")
    d.wait("instance_starting")
    s.close()
    d.wait("start_abandoned")
    wait_until(lambda: not d.left_over(), 20, "the end of the start")
    assert d.pool_state("m")["replicas"][0].get("restart_count", 0) == 0


def test_sigterm_twice_ends_at_once(daemon):
    """SUP-9d"""
    d = daemon({"m": Daemon.faulty("stream:tokens=100000,stream:delay=20,term:hang_busy", stop_grace="60s",
                                   drain_deadline="60s")})
    s = d.open_chat("m", stream=True)
    d.wait("instance_ready")
    wait_until(lambda: d.pool_state("m")["active_leases"] == 1, 20, "the lease")
    assert s.recv(1, socket.MSG_PEEK)  # the answer has begun
    d.process.send_signal(signal.SIGTERM)
    d.wait("daemon_stopping")
    d.process.send_signal(signal.SIGTERM)
    assert d.process.wait(20) == 0
    assert not read_answer(s, "POST").complete
    assert not d.left_over()
