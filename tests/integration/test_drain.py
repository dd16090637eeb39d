# SPDX-License-Identifier: Apache-2.0
"""Drain and resume by hand: nothing is cut that ends in time, the intent outlives the daemon, the last word wins."""
import socket
import subprocess

from poolmgr_test import Daemon, Load, POOLCTL, TEXT, read_answer, times, tiny_model, wait_until

SLOW = ("--layers", "64", "--embd", "256", "--ff", "512", "--sparse", "--endless")


def slow_pool(**more):
    """An engine whose tokens take some milliseconds, and which never stops by itself."""
    return Daemon.pool(model=tiny_model(*SLOW), args=["-t", "1"], **more)


def drain(d, pool, wait="60s", **body):
    return d.post("/v1/pools/%s/drain?wait=%s" % (pool, wait), body).json()


def resume(d, pool):
    answer = d.post("/v1/pools/%s/resume?wait=60s" % pool)
    assert answer.json()["state"] == "succeeded", answer.body


def poolctl(d, *words):
    return subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % d.port, *words], capture_output=True, text=True,
                          timeout=60, check=False)


def test_a_drain_lets_streams_end_refuses_who_comes_and_stays_down(daemon):
    """DRAIN-1, DRAIN-2: no stream that ends before the deadline is cut."""
    d = daemon({"m": slow_pool(slots=4)})
    streams = [d.open_chat("m", stream=True, max_tokens=60) for _ in range(4)]
    wait_until(lambda: d.pool_state("m")["active_leases"] == 4, 30, "four streams")
    op = d.post("/v1/pools/m/drain")
    assert op.status == 202 and op.json()["state"] == "running"
    assert op.headers["location"] == "/v1/operations/" + op.json()["id"]
    refused = d.chat("m")
    assert refused.status == 503 and refused.json()["error"]["code"] == "draining"
    for s in streams:
        answer = read_answer(s, "POST")
        assert answer.complete and answer.events()[-1] == ("message", "[DONE]")
    ended = d.get("/v1/operations/%s?wait=60s" % op.json()["id"]).json()
    assert ended["state"] == "succeeded"
    assert ended["result"]["forced"] is False and ended["result"]["leases_left"] == 0
    pool = d.pool_state("m")
    assert (pool["intent"], pool["state"]) == ("disabled", "cold")
    assert d.chat("m").json()["error"]["code"] == "disabled"
    assert not d.left_over()
    resume(d, "m")
    assert d.chat("m", max_tokens=3).status == 200


def test_what_runs_at_the_deadline_is_cut_and_told(daemon):
    """DRAIN-2: on_deadline stop: a broken stream, `forced`, and how many were left."""
    d = daemon({"m": slow_pool(slots=2)})
    streams = [d.open_chat("m", stream=True) for _ in range(2)]
    for s in streams:
        assert s.recv(1, socket.MSG_PEEK)       # it has begun
    op = drain(d, "m", deadline_ms=300, then="stop")
    assert op["state"] == "succeeded"
    assert op["result"]["forced"] is True and op["result"]["leases_left"] == 2
    for s in streams:
        answer = read_answer(s, "POST")
        assert not answer.complete and answer.events()[-1][0] == "error" and "draining" in answer.events()[-1][1]
    assert d.pool_state("m")["state"] == "cold"


def test_a_drain_that_aborts_at_its_deadline_changes_nothing(daemon):
    """DRAIN-2: on_deadline abort: intent and gate as before, nothing is cut."""
    d = daemon({"m": slow_pool(slots=2)})
    s = d.open_chat("m", stream=True, max_tokens=120)
    wait_until(lambda: d.pool_state("m")["active_leases"] == 1, 30, "a stream")
    op = drain(d, "m", deadline_ms=200, on_deadline="abort")
    assert op["state"] == "failed" and op["error"]["code"] == "has_leases"
    assert d.pool_state("m")["intent"] == "enabled"
    assert d.chat("m", max_tokens=2).status == 200
    assert read_answer(s, "POST").complete


def test_hold_keeps_the_engine_and_a_held_or_disabled_pool_stays_so_over_kill_9(daemon):
    """DRAIN-2, STATE-1, INV-26"""
    d = daemon({"held": Daemon.pool(), "down": Daemon.pool(start="preload")})
    assert d.chat("held").status == 200
    d.wait("instance_ready", pool_id="down")
    assert drain(d, "held", then="hold")["state"] == "succeeded"
    assert drain(d, "down")["state"] == "succeeded"
    pid = d.pool_state("held")["replicas"][0]["pid"]
    d.kill()
    d.start()
    held = d.pool_state("held")
    assert (held["intent"], d.pool_state("down")["intent"]) == ("draining", "disabled")
    wait_until(lambda: d.pool_state("held")["replicas"][0].get("pid") == pid, 30, "the adopted engine")
    assert d.chat("held").json()["error"]["code"] == "draining"
    assert d.chat("down").json()["error"]["code"] == "disabled"
    assert d.pool_state("down")["state"] == "cold"
    resume(d, "held")
    assert d.chat("held").text().strip() == TEXT
    assert d.pool_state("held")["replicas"][0]["pid"] == pid
    resume(d, "down")
    d.wait_state("down", "ready")


def test_many_drains_under_streams_cut_none(daemon):
    """DRAIN-2, INV-18: drain and resume again and again while clients stream."""
    n, width = times(8, 100), times(10, 50)
    d = daemon({"m": Daemon.faulty("stream:delay=10", slots=width)})
    load = Load(d, ["m"], width, refusals=("draining", "disabled"))
    try:
        for i in range(n):
            wait_until(lambda: d.pool_state("m")["active_leases"] >= width * 4 // 5, 60, "streams")
            op = drain(d, "m", then="hold" if i % 2 else "stop")
            assert op["state"] == "succeeded" and op["result"]["forced"] is False, op
            assert d.pool_state("m")["active_leases"] == 0
            resume(d, "m")
    finally:
        cut = load.end()
    print("%d drains under %d streams: %d whole, %d cut, %d turned away meanwhile"
          % (n, width, load.n_whole["m"], len(cut), load.n_refused))
    assert not cut and load.n_whole["m"] >= n * width * 4 // 5


def test_bad_words_and_unknown_pools_change_nothing(daemon):
    d = daemon({"m": Daemon.pool()})
    for body, param in (({"deadline_ms": -1}, "deadline_ms"), ({"deadline_ms": "5m"}, "deadline_ms"),
                        ({"on_deadline": "maybe"}, "on_deadline"), ({"then": "nothing"}, "then"), ({"x": 1}, "x")):
        answer = d.post("/v1/pools/m/drain", body)
        assert answer.status == 400, body
        assert answer.json()["error"]["param"] == param
    assert d.post("/v1/pools/m/drain", b'{"deadline_ms": 1e999}').status == 400
    assert d.post("/v1/pools/nobody/drain").json()["error"]["code"] == "not_found"
    assert d.pool_state("m")["intent"] == "enabled"
    # A deadline beyond all time is no deadline.
    assert drain(d, "m", deadline_ms=2 ** 63 - 1)["state"] == "succeeded"
    resume(d, "m")


def test_poolctl_drains_and_resumes_in_words(daemon):
    """CLI-1"""
    d = daemon({"m": Daemon.pool()})
    assert d.chat("m").status == 200
    out = poolctl(d, "drain", "m", "--then", "hold", "--deadline", "10s")
    assert out.returncode == 0 and "m: drain succeeded" in out.stdout, out
    table = poolctl(d, "ps").stdout
    assert "poolctl resume m" in table, table
    assert poolctl(d, "resume", "m").returncode == 0
    assert poolctl(d, "drain", "nobody").returncode == 3
    assert poolctl(d, "drain").returncode == 2
    assert poolctl(d, "drain", "m", "--then", "dance").returncode == 2
    assert poolctl(d, "start", "m").returncode == 0
    assert poolctl(d, "drain", "m").returncode == 0
    out = poolctl(d, "start", "m")
    assert out.returncode == 1 and "resume" in out.stderr
