# SPDX-License-Identifier: Apache-2.0
"""Reload with a way back (RELOAD-1), and pools by the API (REG-2, STATE-1)."""
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from poolmgr_test import Daemon, Load, TEXT, alive, http, read_answer, times, tiny_model, wait_until


def reload(d, pool, wait="60s", **body):
    answer = d.post("/v1/pools/%s/reload?wait=%s" % (pool, wait), body)
    return answer.json()


def put(d, pool, body, query=""):
    return http.request(d.port, "PUT", "/v1/pools/%s%s" % (pool, query), body)


def delete(d, pool, query=""):
    return http.request(d.port, "DELETE", "/v1/pools/%s%s" % (pool, query))


def another_model(tmp_path, name="other.gguf", *options):
    path = str(tmp_path / name)
    shutil.copy(tiny_model(*options), path)
    return path


def torn_model(tmp_path):
    path = another_model(tmp_path, "torn.gguf")
    os.truncate(path, os.path.getsize(path) // 2)
    return path


def test_the_engine_of_a_reload_that_succeeded_is_the_one_that_is_adopted(daemon):
    """SUP-9c: both run, and say the same of their settings: a model that was put in its place under the same name."""
    d = daemon({"m": Daemon.faulty("stream:delay=200", slots=2)})
    s = d.open_chat("m", stream=True)
    wait_until(lambda: d.pool_state("m")["active_leases"] == 1, 30, "a stream")
    old = d.pool_state("m")["replicas"][0]["pid"]
    assert reload(d, "m")["state"] == "succeeded"
    new = d.pool_state("m")["replicas"][0]["pid"]
    assert new != old and alive(old)
    d.kill()
    s.close()
    d.start()
    d.wait_state("m", "ready")
    assert d.pool_state("m")["replicas"][0]["pid"] == new
    wait_until(lambda: not alive(old), 30, "the end of the old engine")


# ---- reload ----------------------------------------------------------------------------------------------


def test_a_good_model_takes_over_without_losing_anybody(daemon, tmp_path):
    """RELOAD-1: side by side, switch at Ready, the old one's streams end by themselves."""
    d = daemon({"m": Daemon.pool(model=tiny_model("--layers", "64", "--embd", "256", "--ff", "512", "--sparse", "--endless"),
                                 args=["-t", "1"], slots=2)})
    s = d.open_chat("m", stream=True, max_tokens=80)
    wait_until(lambda: d.pool_state("m")["active_leases"] == 1, 30, "a stream")
    old = d.pool_state("m")["replicas"][0]["pid"]
    new = another_model(tmp_path)
    op = reload(d, "m", new_model_ref=new)
    assert op["state"] == "succeeded" and op["result"]["success"] and not op["result"]["rolled_back"], op
    assert d.chat("m").text().strip() == TEXT       # of the new model
    assert read_answer(s, "POST").complete          # of the old one
    pool = d.pool_state("m")
    assert pool["model"]["ref"] == new and pool["config_drift"] is True
    assert pool["replicas"][0]["pid"] != old
    wait_until(lambda: not alive(old), 30, "the end of the old engine")
    assert d.count("reload_switched", pool_id="m") == 1
    # A start of the daemon applies the file.
    d.stop()
    d.start()
    pool = d.pool_state("m")
    assert pool["model"]["ref"] != new and pool["config_drift"] is False


def environment_of(pid):
    with open("/proc/%d/environ" % pid, "rb") as f:
        return f.read().split(b"\0")


def test_secrets_survive_a_reload_and_a_spec_that_was_shown(daemon, tmp_path):
    """RELOAD-1: with another model everything else stays; what GET masks, PUT and reload take as it was."""
    d = daemon({"m": Daemon.faulty("", env={"MY_TOKEN": "hunter2"})})
    assert d.chat("m").status == 200
    for body in ({"new_model_ref": another_model(tmp_path)}, {"spec": d.pool_state("m")["spec"]}):
        op = reload(d, "m", **body)
        assert op["state"] == "succeeded", op
        assert b"MY_TOKEN=hunter2" in environment_of(d.pool_state("m")["replicas"][0]["pid"])
    answer = put(d, "new", d.pool_state("m")["spec"])
    assert answer.status == 400 and answer.json()["error"]["param"] == "env", answer.body
    answer = put(d, "new", {"model": "m", "slotz": 1})      # no place in a file is told: it stands in none
    assert [sorted(e) for e in answer.json()["error"]["errors"]] == [["message"]], answer.body


def test_a_missing_or_torn_model_is_refused_before_anything_is_touched(daemon, tmp_path):
    """RELOAD-1, INV-19: stage first; a failure there changes nothing."""
    d = daemon({"m": Daemon.pool()})
    assert d.chat("m").status == 200
    before = d.pool_state("m")["replicas"][0]
    for ref, code in (("/nowhere/x.gguf", "model_missing"), (torn_model(tmp_path), "model_corrupt")):
        op = reload(d, "m", new_model_ref=ref)
        assert op["state"] == "failed" and os.path.basename(ref) in op["error"]["message"], op
        assert op["result"]["success"] is False
    after = d.pool_state("m")
    assert after["replicas"][0]["pid"] == before["pid"] and after["state"] == "ready"
    assert after["config_drift"] is False
    assert d.chat("m").text().strip() == TEXT


def test_a_new_engine_that_crashes_leaves_the_old_one_serving(daemon):
    """RELOAD-1: a failed `next` is a failed reload; it does not count."""
    d = daemon({"m": Daemon.faulty("")})
    assert d.chat("m").status == 200
    pid = d.pool_state("m")["replicas"][0]["pid"]
    spec = d.pool_state("m")["spec"]
    spec["env"] = {"FAULT": "load:exit=9"}
    op = reload(d, "m", spec=spec)
    assert op["state"] == "failed", op
    replica = d.pool_state("m")["replicas"][0]
    assert replica["pid"] == pid and replica["failures_in_a_row"] == 0
    assert d.chat("m").status == 200


def test_many_bad_reloads_under_load_lose_no_request(daemon, tmp_path):
    """RELOAD-1, INV-17, INV-19: the old one answers all the time. Missing, torn, and one whose engine does not start."""
    n = times(9, 100)
    d = daemon({"m": Daemon.faulty("stream:delay=5", slots=4)})
    assert d.chat("m").status == 200
    pid = d.pool_state("m")["replicas"][0]["pid"]
    spec = d.pool_state("m")["spec"]
    spec["env"] = {"FAULT": "load:exit=9"}
    bad = [{"new_model_ref": "/nowhere/m.gguf"}, {"new_model_ref": torn_model(tmp_path)}, {"spec": spec}]
    load = Load(d, ["m"], width=8)
    try:
        for i in range(n):
            op = reload(d, "m", **bad[i % len(bad)])
            assert op["state"] == "failed" and op["result"]["success"] is False, op
            load.wait_for_more(n=1)
    finally:
        lost = load.end()
    print("%d reloads to a bad model under 8 streams: %d answers, %d lost" % (n, load.n_whole["m"], len(lost)))
    assert not lost
    pool = d.pool_state("m")
    assert pool["state"] == "ready" and pool["replicas"][0]["pid"] == pid and pool["config_drift"] is False


def test_two_reloads_at_once_and_words_that_mean_nothing(daemon, tmp_path):
    """RELOAD-1: a second one is 409."""
    d = daemon({"m": Daemon.faulty("load:delay=1500")})
    assert d.chat("m").status == 200
    spec = d.pool_state("m")["spec"]
    spec["context"] = 256
    first = d.post("/v1/pools/m/reload", {"spec": spec})
    assert first.status == 202
    second = d.post("/v1/pools/m/reload", {"new_model_ref": another_model(tmp_path)})
    assert second.status == 409 and second.json()["error"]["code"] == "conflict"
    assert d.get("/v1/operations/%s?wait=60s" % first.json()["id"]).json()["state"] == "succeeded"
    for body, param in (({"new_model_ref": 5}, "new_model_ref"), ({"spec": []}, "spec"),
                        ({"spec": {"slotz": 1, "model": "/m"}}, "slotz"),
                        ({"new_model_ref": "/a", "spec": {}}, "new_model_ref")):
        answer = d.post("/v1/pools/m/reload", body)
        assert answer.status == 400 and answer.json()["error"]["param"] == param, answer.body
    assert d.post("/v1/pools/nobody/reload", {}).status == 404


# ---- pools of the API ------------------------------------------------------------------------------------


def test_a_pool_of_the_api_is_made_changed_and_removed_and_outlives_kill_9(daemon):
    """REG-2, STATE-1, INV-26"""
    d = daemon({"m": Daemon.pool()})
    spec = {"model": tiny_model(), "engine": "llama", "devices": "cpu", "context": 512, "idle_ttl": "5m",
            "aliases": ["quick"]}
    answer = put(d, "extra", spec)
    assert answer.status == 201, answer.body
    assert answer.json()["owner"] == "api" and answer.json()["spec"]["idle_ttl"] == "5m"
    assert d.chat("quick").text().strip() == TEXT
    pid = d.pool_state("extra")["replicas"][0]["pid"]

    answer = put(d, "extra", {**spec, "idle_ttl": "7m"})        # limits: in place
    assert answer.status == 200 and answer.json()["spec"]["idle_ttl"] == "7m"
    assert d.pool_state("extra")["replicas"][0]["pid"] == pid

    answer = put(d, "extra", {**spec, "context": 256}, "?wait=60s")     # what the engine sees: a reload
    assert answer.json()["kind"] == "reload" and answer.json()["state"] == "succeeded", answer.body
    assert d.pool_state("extra")["replicas"][0]["pid"] != pid

    d.kill()
    d.start()
    assert d.pool_state("extra")["spec"]["context"] == 256
    assert d.chat("quick").text().strip() == TEXT
    assert delete(d, "extra").status == 204
    assert delete(d, "extra").status == 204                     # unknown by now
    assert d.chat("quick").status == 404
    d.kill()
    d.start()
    assert d.get("/v1/pools/extra").status == 404
    wait_until(lambda: len(d.left_over()) == 0, 30, "the end of the removed pool's engine")


def test_the_file_s_pools_are_the_file_s(daemon):
    """RELOAD-2: 409 owned_by_file; and a pool that is in use is not deleted under its clients."""
    d = daemon({"m": Daemon.pool()})
    for answer in (put(d, "m", {"model": tiny_model()}), delete(d, "m")):
        assert answer.status == 409 and answer.json()["error"]["code"] == "owned_by_file", answer.body
    spec = Daemon.pool(model=tiny_model("--layers", "64", "--embd", "256", "--ff", "512", "--sparse", "--endless"),
                       args=["-t", "1"])
    assert put(d, "busy", spec).status == 201
    s = d.open_chat("busy", stream=True, max_tokens=60)
    wait_until(lambda: d.pool_state("busy")["active_leases"] == 1, 30, "a stream")
    answer = delete(d, "busy")
    assert answer.status == 409 and answer.json()["error"]["code"] == "has_leases"
    assert delete(d, "busy", "?drain_ms=60000").status == 204
    assert d.chat("busy").status == 404                         # its names left the routes
    assert read_answer(s, "POST").complete
    wait_until(lambda: d.get("/v1/pools/busy").status == 404, 30, "the end of the removed pool")


def test_a_put_during_a_removal_is_a_new_pool_behind_it(daemon):
    """REG-2, OP-1: it is answered when the pool is back; whoever comes behind it has the last word."""
    d = daemon({"m": Daemon.pool()})
    spec = Daemon.faulty("stream:delay=50")
    assert put(d, "x", spec).status == 201
    s = d.open_chat("x", stream=True, max_tokens=5000)
    wait_until(lambda: d.pool_state("x")["active_leases"] == 1, 30, "a stream")
    assert delete(d, "x", "?drain_ms=600000").status == 204
    with ThreadPoolExecutor() as threads:
        answers = []
        for i in range(2):
            answers.append(threads.submit(put, d, "x", {**spec, "idle_ttl": "%dm" % (7 + i)}))
            wait_until(lambda n=i + 1: n_puts(d, "x") == n, 10, "a PUT that waits")
        error = answers[0].result().json()["error"]
        assert answers[0].result().status == 409 and error["code"] == "conflict", answers[0].result().body
        s.close()
        assert answers[1].result().status == 201
        assert answers[1].result().json()["spec"]["idle_ttl"] == "8m"


def n_puts(d, pool):
    """Behind the one that made it."""
    return len([o for o in d.get("/v1/operations").json()["operations"] if (o["kind"], o.get("pool_id")) == ("put", pool)]) - 1


def test_a_put_that_is_wrong_names_the_member_and_changes_nothing(daemon):
    """H-82, CONF-1"""
    d = daemon({"m": Daemon.pool()})
    for body, param in (({"model": "/m.gguf", "slotz": 1}, "slotz"), ({"model": "/m.gguf", "slots": 0}, "slots"),
                        ({"model": "/m.gguf", "engine": "none"}, "engine"),
                        ({"model": "/m.gguf", "idle_ttl": 5}, "idle_ttl")):
        answer = put(d, "x", body)
        error = answer.json()["error"]
        assert answer.status == 400 and error["code"] == "config_invalid" and error["param"] == param, answer.body
        assert error["errors"]
    for raw in (b"", b"[]", b"nope", b'{"model":"a","model":"b"}', b'{"model":"/a\\u0000b"}',
                b'{"model":' + b"[" * 3000 + b"]" * 3000 + b"}", b"\xef\xbb\xbf{}", json.dumps({"model": "x"}).encode("utf-16")):
        answer = put(d, "x", raw)
        assert answer.status == 400 and answer.json()["error"]["code"] in ("invalid_request", "config_invalid"), (raw[:40], answer.body)
    assert put(d, "X!", {"model": "/m"}).status == 400
    assert put(d, "x", {"model": "/m", "aliases": ["m"]}).status == 409
    assert d.get("/v1/pools/x").status == 404
    assert [p["id"] for p in d.get("/v1/pools").json()["pools"]] == ["m"]
