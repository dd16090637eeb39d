# SPDX-License-Identifier: Apache-2.0
"""Every way an engine can fail: the client is told, the daemon goes on, nothing is left over.

The daemon serves a healthy pool beside the failing one in each of these, and that one must not notice.
"""
import os
import signal
import socket
import time

import pytest

from poolmgr_test import Daemon, TEXT, alive, read_answer, tiny_model, wait_until

QUICK = {"backoff": {"base": "100ms", "cap": "200ms"}}


def pools(fault, **more):
    return {"bad": Daemon.faulty(fault, **{**QUICK, **more}), "good": Daemon.faulty("load:delay=1")}


def assert_the_other_pool_serves(d):
    answer = d.chat("good")
    assert (answer.status, answer.text().strip()[:9]) == (200, "The quick")


def refused(answer, status, code):
    assert answer.status == status, answer.body
    error = answer.json()["error"]
    assert error["code"] == code, error
    assert error["message"] and error["pool_id"] == "bad"
    return error


# ---- before it is ready ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault, words", [
    ("start:exit=3", "3"),
    ("start:signal=11", "SIGSEGV"),
    ("load:delay=100,load:exit=7", "7"),
])
def test_a_start_that_fails_is_tried_again_then_told_with_class_and_status(daemon, fault, words):
    """LOAD-3, SUP-1, SUP-2: the first failure keeps its waiters, the second ends them."""
    d = daemon(pools(fault))
    error = refused(d.chat("bad"), 503, "start_failed")
    assert words in error["message"], error
    assert error["retriable"] is True
    wait_until(lambda: d.count("start_failed", pool_id="bad") == 2, 30, "two failed starts told")
    assert_the_other_pool_serves(d)


def test_out_of_memory_is_named_as_such(daemon):
    d = daemon(pools("start:oom"))
    error = refused(d.chat("bad"), 503, "start_failed")
    assert "memory" in error["message"], error
    assert d.pool_state("bad")["replicas"][0]["last_error"]["class"] == "oom"
    assert_the_other_pool_serves(d)


def test_a_corrupt_model_is_permanent_and_tried_once(daemon, tmp_path):
    """SUP-6"""
    starts = tmp_path / "starts"
    d = daemon(pools("start:corrupt", env={"FAULT_STARTS": str(starts)}))
    error = refused(d.chat("bad"), 503, "pool_failed")
    assert "corrupt" in error["message"] and error["retriable"] is False
    refused(d.chat("bad"), 503, "pool_failed")
    d.wait_state("bad", "failed")
    assert len(starts.read_text().splitlines()) == 1
    assert_the_other_pool_serves(d)


@pytest.mark.parametrize("fault", ["load:hang", "load:deaf", "load:absent"])
def test_an_engine_that_never_comes_up_is_killed_after_start_stall(daemon, fault):
    """LOAD-3: says 503 for ever, accepts and never answers, never listens."""
    d = daemon(pools(fault, start_stall="700ms"))
    error = refused(d.chat("bad"), 503, "start_timeout")
    assert error["retriable"] is True
    wait_until(lambda: not [i for i in d.left_over().values() if i.startswith("bad.")], 30, "the end of its tree")
    assert_the_other_pool_serves(d)


def test_a_slow_load_is_waited_for_and_holds_up_nobody_else(daemon):
    d = daemon(pools("load:delay=1500"))
    sock = d.open_chat("bad")
    wait_until(lambda: d.pool_state("bad")["state"] == "starting", 30, "the start")
    assert_the_other_pool_serves(d)
    assert d.pool_state("bad")["state"] == "starting"
    assert read_answer(sock).status == 200


def test_a_silent_engine_is_found_ready_by_its_health_alone(daemon):
    """HEALTH-4: without a ready line."""
    d = daemon(pools("start:silent,load:delay=50"))
    assert d.chat("bad").status == 200


def test_an_engine_that_floods_its_log_is_not_blocked(daemon):
    """SUP-9b: 24 MiB before it listens; the log is bounded."""
    d = daemon(pools("start:flood=25165824"), more={"engine_log": {"max_size": "1MiB", "files": 2}})
    assert d.chat("bad").status == 200
    folder = d.environment["POOLMGR_LOG_DIR"]
    sizes = [os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder) if n.startswith("bad.")]
    assert sum(sizes) <= 3 * 1024 * 1024 and len(sizes) <= 2


def test_a_port_that_somebody_squats_is_never_taken_for_the_engine(daemon):
    """ENGINE-3: over TCP an answer counts only from a process of the instance's own tree."""
    d = daemon({"bad": {**Daemon.faulty("load:absent", start_stall="700ms", **QUICK), "engine": "tcp"},
                "good": Daemon.faulty("load:delay=1")},
               more={"engines": {"tcp": {"family": "command", "argv": ["/bin/sh", "-c", "sleep 30; echo ${PORT}"],
                                         "transport": "tcp"}}})
    refused(d.chat("bad"), 503, "start_timeout")
    assert_the_other_pool_serves(d)


# ---- while it serves ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 50, 200, 1000])
def test_a_stream_whose_engine_dies_at_byte_n_never_looks_complete(daemon, n):
    """GW-3a: whole events only, then an error event, no last chunk."""
    d = daemon(pools("stream:die_at=%d" % n))
    answer = d.chat("bad", stream=True)
    if answer.status == 502:        # it died before anything could be passed on
        assert answer.json()["error"]["code"] == "engine_crashed"
    else:
        assert answer.status == 200 and not answer.complete
        name, data = answer.events()[-1]
        assert name == "error" and "engine_crashed" in data
        assert answer.body.endswith(b"\n\n")
        assert ("message", "[DONE]") not in answer.events()
    d.wait("instance_crashed", pool_id="bad")
    assert_the_other_pool_serves(d)


def test_a_plain_answer_that_breaks_off_is_short_of_its_length(daemon):
    d = daemon(pools("stream:die_at=100"))
    answer = d.chat("bad")
    assert answer.status == 200 and not answer.complete
    assert_the_other_pool_serves(d)


def test_a_stream_that_the_engine_closes_early_is_broken_off(daemon):
    d = daemon(pools("stream:close_at=300"))
    answer = d.chat("bad", stream=True)
    assert not answer.complete and answer.events()[-1][0] == "error"
    assert d.pool_state("bad")["state"] == "ready"


@pytest.mark.parametrize("fault, words", [("request:exit=9", "9"), ("request:signal=11", "SIGSEGV")])
def test_a_request_that_kills_its_engine_alone_is_not_tried_on_the_next(daemon, fault, words, tmp_path):
    """GW-3b: it was that engine's only one."""
    starts = tmp_path / "starts"
    d = daemon(pools(fault, env={"FAULT_STARTS": str(starts)}))
    refused(d.chat("bad"), 502, "engine_crashed")
    event = d.wait("instance_crashed", pool_id="bad")
    assert words in event["human"] or words in str(event.get("exit_status")) or words in str(event.get("signal"))
    assert_the_other_pool_serves(d)


def test_requests_that_shared_the_engine_are_tried_once_more_when_it_dies(daemon, tmp_path):
    """GW-3b: two wait for an answer when the engine dies; the next engine answers both."""
    orders = tmp_path / "orders"
    orders.write_text("request:hang")
    d = daemon(pools("", slots=4, env={"FAULT_FILE": str(orders)}))
    socks = [d.open_chat("bad") for _ in range(2)]
    wait_until(lambda: d.pool_state("bad")["active_leases"] == 2, 30, "two running requests")
    os.kill(d.pool_state("bad")["replicas"][0]["pid"], signal.SIGKILL)
    orders.write_text("")
    assert [read_answer(s).status for s in socks] == [200, 200]
    wait_until(lambda: d.count("request_retried", pool_id="bad") == 2, 30, "two second tries told")


def test_an_engine_that_accepts_and_never_answers_is_a_timeout(daemon):
    """H-63 a"""
    d = daemon(pools("request:hang"), more={"timeouts": {"first_byte": "500ms"}})
    error = refused(d.chat("bad"), 504, "engine_timeout")
    assert error["retriable"] is False
    assert_the_other_pool_serves(d)


def test_silence_inside_a_stream_is_a_timeout_and_an_error_event(daemon):
    """H-63 b"""
    d = daemon(pools("stream:hang_at=300"), more={"timeouts": {"stream_idle": "500ms"}})
    answer = d.chat("bad", stream=True)
    assert not answer.complete
    name, data = answer.events()[-1]
    assert name == "error" and "engine_timeout" in data


def test_an_engines_own_error_passes_unchanged(daemon):
    d = daemon(pools("request:status=418"))
    answer = d.chat("bad")
    assert (answer.status, answer.json()["error"]["message"]) == (418, "as ordered")


def test_a_ready_engine_that_leaves_with_0_has_crashed(daemon):
    """SUP-1"""
    d = daemon(pools("ready:exit_after=300,ready:exit=0", start="preload"))
    event = d.wait("instance_crashed", pool_id="bad")
    assert event["class"] == "exit"
    d.wait("instance_ready", after=d.events.index(event), pool_id="bad")


PROBE = {"every": "100ms", "fall": 3, "rise": 2, "sick_restart": "60s"}


def test_an_engine_whose_health_fails_is_sick_and_recovers(daemon, tmp_path):
    """HEALTH-3a: live, not ready; two good looks bring it back."""
    orders = tmp_path / "orders"
    orders.write_text("")
    d = daemon(pools("", start="preload", probe=PROBE, env={"FAULT_FILE": str(orders)}))
    d.wait("instance_ready", pool_id="bad")
    orders.write_text("health:fail")
    d.wait("instance_sick", pool_id="bad")
    health = d.get("/v1/pools/bad/health").json()
    assert (health["live"], health["ready"]) == (True, False)
    orders.write_text("")
    d.wait("instance_recovered", pool_id="bad")
    assert d.chat("bad").status == 200


def test_an_engine_that_stays_sick_is_restarted(daemon, tmp_path):
    """HEALTH-3a, SUP-1: class health."""
    orders = tmp_path / "orders"
    orders.write_text("")
    d = daemon(pools("", start="preload", probe={**PROBE, "sick_restart": "300ms"}, env={"FAULT_FILE": str(orders)}))
    d.wait("instance_ready", pool_id="bad")
    mark = d.mark()
    orders.write_text("health:deaf")
    d.wait("instance_crashed", pool_id="bad", **{"class": "health"})
    orders.write_text("")
    d.wait("instance_ready", after=mark, pool_id="bad")


def test_a_storm_is_bounded_by_the_breaker_and_said_so(daemon):
    """SUP-3, SUP-4"""
    d = daemon(pools("ready:exit_after=1,ready:exit=1", start="preload", backoff={"base": "10ms", "cap": "20s"}))
    d.wait("storm", pool_id="bad")
    d.wait("breaker_opened", pool_id="bad")
    state = d.pool_state("bad")
    assert state["replicas"][0]["breaker"] in ("open", "half-open")
    assert_the_other_pool_serves(d)


# ---- when it is to stop ---------------------------------------------------------------------------------


def test_an_engine_that_ignores_sigterm_is_killed_after_stop_grace(daemon):
    """SUP-7"""
    d = daemon(pools("term:ignore", stop_grace="300ms"))
    assert d.chat("bad").status == 200
    pid = d.pool_state("bad")["replicas"][0]["pid"]
    begun = time.monotonic()
    answer = d.post("/v1/pools/bad/stop?wait=20s")
    assert answer.status == 200 and answer.json()["state"] == "succeeded"
    assert time.monotonic() - begun >= 0.3
    assert not alive(pid)


def test_children_and_helpers_in_sessions_of_their_own_go_with_their_engine(daemon):
    """SUP-9b: until childless."""
    d = daemon(pools("start:fork=3,start:setsid=3", stop_grace="300ms"))
    assert d.chat("bad").status == 200
    wait_until(lambda: len([i for i in d.left_over().values() if i.startswith("bad.")]) >= 7, 30, "all descendants")
    assert d.post("/v1/pools/bad/stop?wait=20s").json()["state"] == "succeeded"
    wait_until(lambda: not [i for i in d.left_over().values() if i.startswith("bad.")], 30, "no descendant left")


def test_helpers_of_a_crashed_engine_go_too(daemon):
    d = daemon(pools("start:setsid=3,request:signal=9"))
    refused(d.chat("bad"), 502, "engine_crashed")
    d.wait("instance_crashed", pool_id="bad")
    wait_until(lambda: len([i for i in d.left_over().values() if i == "bad.1"]) == 0, 30, "no descendant left")


def test_the_daemon_stops_although_every_engine_hangs(daemon):
    d = daemon(pools("term:ignore,start:setsid=2", stop_grace="300ms"))
    assert d.chat("bad").status == 200
    assert d.stop() == 0
    wait_until(lambda: not d.left_over(), 30, "the end of all engines")


# ---- clients that leave ---------------------------------------------------------------------------------


def test_a_client_that_leaves_a_stream_gives_its_slot_back(daemon):
    """LEASE-2, GW-5"""
    d = daemon({"bad": Daemon.faulty("stream:tokens=100000,stream:delay=5", slots=1)})
    sock = d.open_chat("bad", stream=True)
    assert sock.recv(100)
    sock.close()
    wait_until(lambda: d.pool_state("bad")["active_leases"] == 0, 30, "the slot back")


def test_a_half_close_is_a_departure(daemon):
    d = daemon({"bad": Daemon.faulty("stream:tokens=100000,stream:delay=5", slots=1)})
    sock = d.open_chat("bad", stream=True)
    assert sock.recv(100)
    sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: d.pool_state("bad")["active_leases"] == 0, 30, "the slot back")
    sock.close()


def test_a_plain_request_whose_client_left_is_read_to_its_end(daemon):
    """LEASE-2: llama.cpp does not stop for these; the slot is taken until it is done."""
    d = daemon({"bad": Daemon.faulty("stream:tokens=40,stream:delay=25", slots=1)})
    sock = d.open_chat("bad")
    wait_until(lambda: d.pool_state("bad")["active_leases"] == 1, 30, "a running request")
    sock.close()
    d.wait("request_cancelled", pool_id="bad")
    assert d.pool_state("bad")["active_leases"] == 1
    d.wait("request_abandoned", pool_id="bad")
    wait_until(lambda: d.pool_state("bad")["active_leases"] == 0, 30, "the slot back")


def test_a_start_that_nobody_waits_for_any_more_is_given_up(daemon):
    """LOAD-4"""
    d = daemon({"bad": Daemon.faulty("load:delay=20000", abandon_after="200ms")})
    sock = d.open_chat("bad")
    wait_until(lambda: d.pool_state("bad")["state"] == "starting", 30, "the start")
    sock.close()
    d.wait("start_abandoned", pool_id="bad")
    d.wait_state("bad", "cold")


def test_a_real_engine_goes_on_beside_all_this(daemon):
    d = daemon({"bad": Daemon.faulty("start:exit=1", **QUICK), "fox": Daemon.pool(model=tiny_model())})
    assert d.chat("bad").status == 503
    assert d.chat("fox").text().strip() == TEXT
