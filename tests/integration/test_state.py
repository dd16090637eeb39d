# SPDX-License-Identifier: Apache-2.0
"""STATE-1: what was acknowledged outlives the daemon, however that ends; what is broken costs itself alone."""
import errno
import json
import os
import random
import subprocess

import pytest
from poolmgr_test import Daemon, DaemonFailed, TEXT, times, wait_until


def pools_folder(d):
    return os.path.join(d.environment["POOLMGR_STATE_DIR"], "pools")


def write_record(d, pool, **members):
    os.makedirs(pools_folder(d), mode=0o700, exist_ok=True)
    record = {"version": 1, "pool": pool, "owner": "file", "intent": "enabled"}
    record.update(members)
    with open(os.path.join(pools_folder(d), pool + ".json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(record))


def read_record(d, pool):
    with open(os.path.join(pools_folder(d), pool + ".json"), encoding="utf-8") as f:
        return json.load(f)


def names(d):
    return sorted(os.listdir(pools_folder(d)))


def test_intents_of_the_last_daemon_hold(daemon):
    d = daemon({n: Daemon.pool() for n in ("off", "held", "on")}, start=False)
    write_record(d, "off", intent="disabled")
    write_record(d, "held", intent="draining")
    d.start()
    assert d.pool_state("off")["intent"] == "disabled" and d.pool_state("held")["intent"] == "draining"
    answer = d.chat("off")
    assert answer.status == 503 and answer.json()["error"]["code"] == "disabled"
    answer = d.chat("held")
    assert answer.status == 503 and answer.json()["error"]["code"] == "draining"
    assert d.chat("on").text().strip() == TEXT
    d.kill()
    d.start()
    assert d.pool_state("off")["intent"] == "disabled" and d.pool_state("held")["intent"] == "draining"


def test_a_broken_record_is_told_put_aside_and_costs_only_itself(daemon):
    d = daemon({n: Daemon.pool() for n in ("cut", "foreign", "good")}, start=False)
    write_record(d, "good", intent="disabled")
    for name, text in (("cut", '{"version":1,"po'), ("foreign", '{"name":"left-pad","version":"1.3.0"}')):
        with open(os.path.join(pools_folder(d), name + ".json"), "w", encoding="utf-8") as f:
            f.write(text)
    with open(os.path.join(pools_folder(d), "good.json.AbCdEf"), "w", encoding="utf-8") as f:
        f.write('{"ver')        # of a commit that was cut short
    d.start()
    for name in ("cut", "foreign"):
        event = d.wait("store_failed", target=name + ".json")
        assert event["level"] == "error" and event["human"] == name + ".json is broken and put aside as .broken"
        assert d.chat(name).text().strip() == TEXT
    assert d.pool_state("good")["intent"] == "disabled"
    assert names(d) == ["cut.json.broken", "foreign.json.broken", "good.json"]


def test_a_pool_of_the_api_comes_back_with_its_secrets_and_survives_a_lost_engine(daemon):
    d = daemon({"tiny": Daemon.pool()}, start=False)
    spec = dict(Daemon.pool(env={"MY_TOKEN": "hunter2"}))
    write_record(d, "mine", owner="api", spec=spec)
    write_record(d, "lost", owner="api", spec=dict(spec, engine="nowhere"))
    d.start()
    event = d.wait("store_failed", pool_id="lost")
    assert event["human"] == "what holds for lost is stored, and it cannot be made again"
    assert "nowhere" in event["text"]
    shown = d.pool_state("mine")
    assert shown["owner"] == "api" and "hunter2" not in json.dumps(shown)
    assert d.chat("mine").text().strip() == TEXT
    pid = shown["replicas"][0].get("pid") or d.pool_state("mine")["replicas"][0]["pid"]
    with open("/proc/%d/environ" % pid, "rb") as f:
        assert b"MY_TOKEN=hunter2" in f.read().split(b"\0")
    assert d.get("/v1/pools/lost").status == 404
    assert names(d) == ["lost.json", "mine.json"]


def test_a_pool_that_is_not_in_the_file_any_more_is_forgotten(daemon):
    d = daemon({"tiny": Daemon.pool()}, start=False)
    write_record(d, "gone", intent="disabled")
    d.start()
    assert "it was disabled is forgotten" in d.wait("pool_removed", pool_id="gone")["human"]
    assert d.stop() == 0
    assert names(d) == []


def test_a_pool_of_the_api_whose_name_the_file_has_now_is_the_files(daemon):
    d = daemon({"tiny": Daemon.pool(slots=3)}, start=False)
    write_record(d, "tiny", owner="api", intent="draining", spec=dict(Daemon.pool(slots=9)))
    d.start()
    d.wait("config_warning", target="tiny")
    shown = d.pool_state("tiny")
    assert (shown["owner"], shown["intent"], shown["spec"]["slots"]) == ("file", "draining", 3)
    assert d.stop() == 0
    assert read_record(d, "tiny") == {"version": 1, "pool": "tiny", "owner": "file", "intent": "draining"}


def test_a_second_daemon_on_the_same_state_exits_naming_the_first(daemon):
    first = daemon({"tiny": Daemon.pool()})
    with pytest.raises(DaemonFailed) as failed:
        daemon({"tiny": Daemon.pool()},
               environment={"POOLMGR_STATE_DIR": first.environment["POOLMGR_STATE_DIR"]})
    assert failed.value.status == 1
    assert "%s is in use by another daemon, pid %d" % (
        first.environment["POOLMGR_STATE_DIR"], first.process.pid) in failed.value.text
    assert first.chat("tiny").status == 200


# ---- what is acknowledged is durable ----------------------------------------------------------------

def command(d, pool, verb, body=None):
    return d.post("/v1/pools/%s/%s" % (pool, verb), body)


def is_accepted(answer):
    """200: it has ended already."""
    return answer.status in (200, 202)


def test_a_drained_pool_stays_drained_over_a_kill_of_the_daemon(daemon):
    """INV-26: as soon as it is answered, and until it is resumed."""
    d = daemon({"a": Daemon.pool(start="preload"), "b": Daemon.pool()})
    d.wait("instance_ready", pool_id="a")
    assert is_accepted(command(d, "a", "drain", {"then": "hold"}))
    assert is_accepted(command(d, "b", "drain"))
    d.kill()
    d.start()
    assert (d.pool_state("a")["intent"], d.pool_state("b")["intent"]) == ("draining", "disabled")
    assert d.chat("a").json()["error"]["code"] == "draining"
    assert d.chat("b").json()["error"]["code"] == "disabled"

    assert is_accepted(command(d, "a", "resume")) and is_accepted(command(d, "b", "resume"))
    d.kill()
    d.start()
    assert (d.pool_state("a")["intent"], d.pool_state("b")["intent"]) == ("enabled", "enabled")
    assert d.chat("a").text().strip() == TEXT and d.chat("b").text().strip() == TEXT
    wait_until(lambda: names(d) == [], 10, "no record that says nothing")


def test_a_kill_between_commands_keeps_the_last_that_was_answered(daemon):
    """INV-26, DRAIN-2: many daemons, each killed behind an answer."""
    d = daemon({"a": Daemon.pool()})
    random.seed(int(os.environ.get("POOLMGR_TEST_SEED", "7")))
    intent = "enabled"
    for _ in range(times(20, 200)):
        for _ in range(random.randrange(1, 4)):
            verb, body, intent = random.choice((("drain", {"then": "hold"}, "draining"), ("drain", None, "disabled"),
                                                ("resume", None, "enabled")))
            assert is_accepted(command(d, "a", verb, body))
        d.kill()
        d.start()
        assert d.pool_state("a")["intent"] == intent


def test_a_cancelled_drain_is_cancelled_over_a_kill_of_the_daemon(daemon):
    """INV-26, DRAIN-2: the next daemon does not go on with it, however soon it comes."""
    d = daemon({"a": Daemon.faulty("stream:delay=50", slots=8)})
    for _ in range(times(3, 20)):
        stream = d.open_chat("a", stream=True, max_tokens=5000)
        wait_until(lambda: d.pool_state("a")["active_leases"] == 1, 30, "a stream")
        drain = command(d, "a", "drain")
        assert drain.status == 202
        cancelled = d.post("/v1/operations/%s/cancel" % drain.json()["id"])
        assert cancelled.status == 200 and cancelled.json()["state"] == "cancelled", cancelled.body
        d.kill()
        d.start()
        stream.close()
        assert d.pool_state("a")["intent"] == "enabled"
        assert d.chat("a", max_tokens=1).status == 200


@pytest.fixture
def small_disk(daemon):
    """A daemon whose state lies on a disk of 64 KiB, and the folder by which we see it."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("a mount namespace needs root")
    d = daemon({"a": Daemon.pool(start="preload")}, start=False)
    state = d.environment["POOLMGR_STATE_DIR"]
    os.makedirs(state, mode=0o700)
    d.wrapper = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k,mode=700 none "$0" && exec "$@"', state]
    d.start()
    return d, "/proc/%d/root%s" % (d.process.pid, state)


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError as e:
            assert e.errno == errno.ENOSPC


def test_a_full_disk_refuses_the_command_and_nothing_has_changed(small_disk):
    """STATE-1, INV-27: 507 store_failed with the reason; leases, starts and stops do not care."""
    d, state = small_disk
    d.wait("instance_ready", pool_id="a")
    pid = d.pool_state("a")["replicas"][0]["pid"]
    fill(state + "/filler")
    answer = command(d, "a", "drain", {"then": "hold"})
    assert answer.status == 507 and answer.json()["error"]["code"] == "store_failed"
    assert "No space left on device" in answer.json()["error"]["message"]
    assert d.wait("store_failed", pool_id="a")["human"] == "what holds for a cannot be stored"
    shown = d.pool_state("a")
    assert (shown["intent"], shown["state"], shown["replicas"][0]["pid"]) == ("enabled", "ready", pid)
    assert os.listdir(state + "/pools") == []
    assert d.chat("a").text().strip() == TEXT
    assert is_accepted(command(d, "a", "stop"))
    d.wait("instance_stopped", pool_id="a")
    assert d.chat("a").text().strip() == TEXT

    os.unlink(state + "/filler")
    assert is_accepted(command(d, "a", "drain", {"then": "hold"}))
    assert d.pool_state("a")["intent"] == "draining"
    assert os.listdir(state + "/pools") == ["a.json"]


def test_a_folder_that_may_not_be_written_refuses_the_command(daemon):
    d = daemon({"a": Daemon.pool()})
    assert is_accepted(command(d, "a", "drain", {"then": "hold"}))
    os.rename(pools_folder(d), pools_folder(d) + "-away")
    answer = command(d, "a", "resume")
    assert answer.status == 507 and answer.json()["error"]["code"] == "store_failed"
    assert "No such file or directory" in answer.json()["error"]["message"]
    assert d.chat("a").json()["error"]["code"] == "draining"
    os.rename(pools_folder(d) + "-away", pools_folder(d))
    assert is_accepted(command(d, "a", "resume"))
    assert d.chat("a").text().strip() == TEXT


def test_what_holds_for_an_engine_that_was_handed_over_holds_when_it_is_again(daemon, engine):
    """STATE-1, REG-4: the next daemon knows nothing of it but what an operator wants of it."""
    d = daemon({"a": Daemon.pool()})
    document = engine().document()
    assert d.post("/v1/pools/far/handoff", document).status == 200
    assert is_accepted(command(d, "far", "drain", {"then": "hold"}))
    d.kill()
    d.start()
    assert d.get("/v1/pools/far").status == 404
    assert d.post("/v1/pools/far/handoff", document).status == 200
    assert d.pool_state("far")["intent"] == "draining"
    assert d.chat("far").json()["error"]["code"] == "draining"
    assert is_accepted(command(d, "far", "resume"))
    wait_until(lambda: names(d) == [], 10, "no record that says nothing")


# ---- what is kept behind ---------------------------------------------------------------------------------


def past_file(d, pool):
    return os.path.join(d.environment["POOLMGR_STATE_DIR"], "past", pool + ".json")


def read_past(d, pool):
    try:
        with open(past_file(d, pool), encoding="utf-8") as f:
            return json.load(f)["replicas"][0]
    except FileNotFoundError:
        return {}


def test_failures_and_their_delay_outlive_the_daemon(daemon):
    """STATE-1, SUP-2: the next daemon waits for the rest of the delay, and counts on."""
    d = daemon({"bad": Daemon.faulty("start:exit=7", start="preload", backoff={"base": "20s", "jitter": 0})})
    wait_until(lambda: read_past(d, "bad").get("failures", {}).get("in_a_row") == 2, 30, "two failures")
    before = d.pool_state("bad")["replicas"][0]
    d.kill()
    d.start()
    d.wait_state("bad", "backoff")
    after = d.pool_state("bad")["replicas"][0]
    assert (after["failures_in_a_row"], after["restart_count"]) == (2, 1)
    assert after["last_error"]["text"] == before["last_error"]["text"]
    d.kill()
    with open(past_file(d, "bad"), "w", encoding="utf-8") as f:
        f.write("{")
    d.start()
    assert d.wait("store_failed", target="bad.json")["human"] == "bad.json is broken and put aside as .broken"


def test_speeds_outlive_the_daemon_and_many_requests_are_few_writes(daemon):
    """STATE-1, REG-1: one write a second at most."""
    d = daemon({"a": Daemon.pool()})
    writes = set()
    for _ in range(30):
        assert d.chat("a").status == 200
        if os.path.exists(past_file(d, "a")):
            writes.add(os.stat(past_file(d, "a")).st_mtime_ns)
    wait_until(lambda: read_past(d, "a").get("answers", 0) > 0, 30, "its speed")
    assert len(writes) < 15, len(writes)
    d.kill()
    d.start()
    assert d.pool_state("a")["replicas"][0]["perf"]["tokens_per_s"] > 0
