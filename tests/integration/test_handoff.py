# SPDX-License-Identifier: Apache-2.0
"""REG-4: engines that somebody else started. They are the test's own processes, so that each test also proves that
nothing signals or restarts them."""
import json
import os
import socket
import time

import pytest

from poolmgr_test import Daemon, TEXT, alive, free_port, read_answer, wait_until
from poolmgr_test.daemon import DaemonFailed

QUICK = {"every": "400ms", "fall": 3, "rise": 2}


def hand_over(d, document, pool=None):
    return d.post("/v1/pools/%s/handoff" % (pool or document["pool"]), document)


def write(folder, document, name=None):
    """Whole or not at all."""
    path = os.path.join(folder, name or "%(pool)s.%(replica)d.json" % document)
    with open(path + ".part", "w", encoding="utf-8") as f:
        json.dump(document, f)
    os.rename(path + ".part", path)
    return path


@pytest.fixture
def drop(tmp_path):
    folder = tmp_path / "handoffs"
    folder.mkdir(mode=0o700)
    return str(folder)


# ---- by the API -----------------------------------------------------------------------------------------


def test_a_handed_over_engine_is_ready_shown_and_left_alone_in_the_end(either, engine):
    """REG-4: by API, on both daemons; a stop of the daemon does not touch it."""
    e = engine()
    d = either({"own": Daemon.pool()})
    answer = hand_over(d, e.document())
    assert answer.status == 200, answer.body
    assert (answer.json()["kind"], answer.json()["state"]) == ("handoff", "succeeded")
    assert answer.headers["location"] == "/v1/operations/" + answer.json()["id"]
    result = d.get(answer.headers["location"]).json()["result"]
    assert (result["replica"], result["endpoint"]) == (0, e.document()["endpoint"])
    pool = d.pool_state("far")
    replica = pool["replicas"][0]
    assert (pool["owner"], pool["state"], pool["slots_total"]) == ("handoff", "ready", 2)
    assert (replica["pid"], replica["endpoint"], replica["endpoint_owner"]) == (
        e.process.pid, "http://127.0.0.1:%d" % e.port, "unproved")
    assert pool["engine"] == {"name": "llama.cpp", "family": "external", "version": "b1"}
    assert pool["spec"] == e.document()
    d.wait("handoff_accepted", pool_id="far")
    assert d.count("instance_starting") == 0

    assert hand_over(d, e.document()).status == 200     # the same again is nothing
    assert d.count("handoff_accepted") == 1
    assert d.stop() == 0
    assert alive(e.process.pid) and e.answers()


def test_requests_go_to_it_under_its_own_name_and_are_counted(daemon, engine):
    e = engine("stream:delay=20")
    d = daemon({})
    assert hand_over(d, e.document()).status == 200
    assert d.chat("far").text().strip() == TEXT
    s = d.open_chat("far", stream=True)
    wait_until(lambda: d.pool_state("far")["active_leases"] == 1, 20, "the lease")
    assert read_answer(s, "POST").events()[-1] == ("message", "[DONE]")
    assert d.pool_state("far")["active_leases"] == 0


def test_one_that_dies_is_gone_at_once_and_serves_again_when_it_is_back(daemon, engine):
    """LIFECYCLE: gone; two good probes bring it back; without a pid only its door tells."""
    e = engine()
    d = daemon({})
    assert hand_over(d, e.document(pid=None)).status == 200
    e.kill()
    crash = d.wait("instance_crashed", pool_id="far")
    assert crash["class"] == "gone"
    error = d.chat("far").json()["error"]
    assert error["code"] == "engine_gone" and error["retriable"]
    assert d.pool_state("far")["health"]["code"] == "engine_gone"
    mark = d.mark()
    e.start()
    d.wait("instance_ready", after=mark, pool_id="far")
    assert d.chat("far").text().strip() == TEXT
    assert d.count("instance_starting") == 0


def test_the_end_of_its_process_is_seen_and_not_polled_for(daemon, engine):
    """SUP-1: its streams end as broken, whoever waits is told."""
    e = engine("stream:delay=200,stream:tokens=1000", slots=1)
    d = daemon({})
    assert hand_over(d, e.document()).status == 200
    running = d.open_chat("far", stream=True)
    assert running.recv(1, socket.MSG_PEEK)
    waiting = d.open_chat("far")
    wait_until(lambda: d.pool_state("far")["queue_depth"] == 1, 20, "the second request")
    begun = time.monotonic()
    e.kill()
    crash = d.wait("instance_crashed", pool_id="far")
    assert crash["seen"] - begun < 1, "seen by a probe, not by the kernel"
    assert not read_answer(running, "POST").complete
    assert read_answer(waiting, "POST").json()["error"]["code"] == "engine_gone"


def test_a_bad_handoff_is_refused_and_changes_nothing(either, engine):
    """REG-4: wrong ids, a dead endpoint, a dead process, another owner, unknown members."""
    e = engine()
    d = either({"own": Daemon.pool()})
    doc = e.document()
    dead = free_port()
    for document, pool, status, code, param in [
            (doc, "near", 400, "invalid_request", "pool"),
            ({**doc, "version": 2}, None, 400, "invalid_request", "version"),
            ({**doc, "slots": 0}, None, 400, "invalid_request", "slots"),
            ({**doc, "replica": 99}, None, 400, "invalid_request", "replica"),
            ({**doc, "endpoint": "http://localhost:1"}, None, 400, "invalid_request", "endpoint"),
            ({**doc, "gpu": 1}, None, 400, "invalid_request", "gpu"),
            ({**doc, "pool": "Far"}, "Far", 400, "invalid_request", "pool"),
            ({**doc, "endpoint": "http://127.0.0.1:%d" % dead}, None, 503, "engine_gone", None),
            ({**doc, "pid": 4194303}, None, 503, "engine_gone", "pid"),
            ({**doc, "pool": "own"}, None, 409, "already_exists", None)]:
        answer = hand_over(d, document, pool)
        error = answer.json()["error"]
        assert (answer.status, error["code"], error.get("param")) == (status, code, param), answer.body
    assert [p["id"] for p in d.get("/v1/pools").json()["pools"]] == ["own"]
    assert d.pool_state("own")["owner"] == "file"


def test_nobody_starts_or_stops_it_here(either, engine):
    e = engine()
    d = either({})
    assert hand_over(d, e.document()).status == 200
    for verb in ("start", "stop"):
        answer = d.post("/v1/pools/far/" + verb)
        assert (answer.status, answer.json()["error"]["code"]) == (409, "conflict")
    assert d.pool_state("far")["state"] == "ready"


def test_another_engine_takes_over_and_the_former_finishes_what_it_has(daemon, engine):
    """LIFECYCLE §3: new content is a reload side by side; no stream is cut."""
    e, other = engine("stream:delay=30"), engine()
    d = daemon({})
    assert hand_over(d, e.document()).status == 200
    running = d.open_chat("far", stream=True)
    assert running.recv(1, socket.MSG_PEEK)
    assert hand_over(d, other.document()).status == 200
    pool = d.pool_state("far")
    assert pool["replicas"][0]["pid"] == other.process.pid and pool["active_leases"] == 1
    assert d.chat("far").text().strip() == TEXT
    assert read_answer(running, "POST").events()[-1] == ("message", "[DONE]")
    assert alive(e.process.pid) and e.answers()


def test_two_replicas_serve_together(daemon, engine):
    first, second = engine(slots=1), engine(slots=1)
    d = daemon({})
    assert hand_over(d, first.document()).status == 200
    assert hand_over(d, second.document(replica=1)).status == 200
    pool = d.pool_state("far")
    assert (pool["slots_total"], [r["state"] for r in pool["replicas"]]) == (2, ["ready", "ready"])
    first.kill()
    d.wait("instance_crashed", pool_id="far")
    assert d.chat("far").text().strip() == TEXT


# ---- by the watched folder ------------------------------------------------------------------------------


def test_files_that_are_there_come_and_go(either, engine, drop):
    """REG-4: what is there at the start, what is moved in, what is written and closed."""
    a, b, c = engine(), engine(), engine()
    write(drop, a.document("a"))
    d = either({}, {"handoff_dir": drop})
    d.wait("instance_ready", pool_id="a")
    write(drop, b.document("b"))
    d.wait("handoff_accepted", pool_id="b")
    with open(os.path.join(drop, "c.0.json"), "w", encoding="ascii") as f:
        f.write(json.dumps(c.document("c"))[:20])
        f.flush()
        time.sleep(0.1)
        f.write(json.dumps(c.document("c"))[20:])
    d.wait("handoff_accepted", pool_id="c")
    assert d.count("handoff_refused") == 0
    os.unlink(os.path.join(drop, "b.0.json"))
    d.wait("handoff_withdrawn", pool_id="b")
    d.wait("pool_removed", pool_id="b")
    assert [p["id"] for p in d.get("/v1/pools").json()["pools"]] == ["a", "c"]
    assert alive(b.process.pid) and b.answers()


def test_a_stale_file_makes_nothing_ready_and_its_engine_is_used_when_it_comes(daemon, engine, drop):
    """REG-4"""
    e = engine()
    e.kill()
    write(drop, e.document(pid=None))
    d = daemon({}, {"handoff_dir": drop})
    wait_until(lambda: d.pool_state("far").get("health", {}).get("code") == "engine_gone", 20, "its silence")
    assert d.chat("far").json()["error"]["code"] == "engine_gone"
    e.start()
    d.wait("instance_ready", pool_id="far")
    assert d.chat("far").text().strip() == TEXT


def test_files_that_are_wrong_are_told_and_the_others_serve(daemon, engine, drop):
    """REG-4: name and document disagree, no JSON, a link, another owner."""
    e = engine()
    d = daemon({"own": Daemon.pool()}, {"handoff_dir": drop})
    write(drop, e.document("b"), "a.0.json")
    assert "'a'" in d.wait("handoff_refused", target="a.0.json")["text"]
    for name in ("noreplica.json", "a.x.json", "A.0.json", "a.00.json", "a.16.json"):
        write(drop, e.document("b"), name)
        d.wait("handoff_refused", target=name)
    with open(os.path.join(drop, "t.0.json"), "w", encoding="ascii") as f:
        f.write("{")
    d.wait("handoff_refused", target="t.0.json")
    os.symlink(write(drop, e.document("l"), ".hidden.json"), os.path.join(drop, "l.0.json"))
    d.wait("handoff_refused", target="l.0.json")
    write(drop, e.document("own"))
    assert d.wait("handoff_refused", target="own")["error_code"] == "already_exists"
    write(drop, e.document("good"))
    d.wait("handoff_accepted", pool_id="good")
    assert {p["id"] for p in d.get("/v1/pools").json()["pools"]} == {"own", "good"}


def make_no_files(folder, prefix):
    """What has a handoff's name and is no file: its name and what it is called."""
    named = {prefix + kind + ".0.json": "it is a %s, not a file" % kind.replace("fifo", "FIFO")
             for kind in ("fifo", "folder", "socket")}
    paths = [os.path.join(folder, name) for name in named]
    os.mkfifo(paths[0])
    os.mkdir(paths[1])
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(paths[2])
    return named


def test_what_is_no_file_is_told_once_and_holds_nobody_up(daemon, engine, drop):
    """REG-4: a FIFO, a folder and a socket, before the start and later, and looked at again and again."""
    named = make_no_files(drop, "a-")
    d = daemon({}, {"handoff_dir": drop})
    named.update(make_no_files(drop, "b-"))
    for name, text in named.items():
        assert d.wait("handoff_refused", target=name)["text"] == text
    fd = os.open(os.path.join(drop, "b-fifo.0.json"), os.O_RDWR)    # its end is told like that of a file
    os.close(fd)
    write(drop, engine().document())
    d.wait("handoff_accepted", pool_id="far")
    assert {n: d.count("handoff_refused", target=n) for n in named} == {n: 1 for n in named}


def test_a_file_that_gets_worse_changes_nothing_and_one_that_changes_takes_over(daemon, engine, drop):
    e, other = engine(), engine()
    path = write(drop, e.document())
    d = daemon({}, {"handoff_dir": drop})
    d.wait("handoff_accepted", pool_id="far")
    with open(path, "w", encoding="ascii") as f:
        f.write("no JSON")
    d.wait("handoff_refused", target="far.0.json")
    assert d.chat("far").text().strip() == TEXT

    other.kill()
    write(drop, other.document(pid=None))   # another engine, which is not there: tried again
    assert d.wait("handoff_refused", target="far")["error_code"] == "conflict"
    assert d.pool_state("far")["replicas"][0]["pid"] == e.process.pid
    other.start()
    wait_until(lambda: d.pool_state("far")["replicas"][0]["endpoint"].endswith(":%d" % other.port), 30, "the other")
    assert d.chat("far").text().strip() == TEXT
    assert alive(e.process.pid)


def test_more_changes_than_the_kernel_tells_are_found_by_looking(daemon, engine, drop):
    """An overflow of the watch is a look at the whole folder."""
    e = engine()
    d = daemon({}, {"handoff_dir": drop})
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as f:
        n = int(f.read())
    if n > 50000:
        pytest.skip("this kernel queues %d events" % n)
    os.kill(d.process.pid, 19)      # SIGSTOP: nobody reads
    try:
        for i in range(n // 2 + 100):
            path = os.path.join(drop, "x%d" % (i % 2))
            with open(path, "w", encoding="ascii"):
                pass
            os.unlink(path)
        write(drop, e.document())
    finally:
        os.kill(d.process.pid, 18)
    d.wait("handoff_accepted", pool_id="far")


def test_a_folder_that_others_may_write_is_refused_at_the_start(tmp_path):
    """REG-4: 0700 and ours."""
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    os.chmod(folder, 0o755)
    with pytest.raises(DaemonFailed) as failed:
        Daemon({}, {"handoff_dir": str(folder)})
    assert failed.value.status == 2
    assert "handoff_dir" in failed.value.text and "0755" in failed.value.text
    if os.geteuid() == 0:
        os.chmod(folder, 0o700)
        os.chown(folder, 12345, -1)
        with pytest.raises(DaemonFailed) as failed:
            Daemon({}, {"handoff_dir": str(folder)})
        assert failed.value.status == 2 and "belongs to user 12345" in failed.value.text
        os.chown(folder, 0, -1)


# ---- external, in the file ------------------------------------------------------------------------------


def test_an_external_engine_of_the_file_is_asked_routed_and_left_alone(daemon, engine):
    """ENGINE-1: family external."""
    e = engine()
    d = daemon({"far": {"engine": "theirs", "slots": 2, "probe": QUICK}},
               {"engines": {"theirs": {"family": "external", "url": "http://127.0.0.1:%d" % e.port,
                                       "model_name": "their-name"}}})
    assert d.chat("far").text().strip() == TEXT
    assert d.pool_state("far")["owner"] == "file"
    e.orders.write_text("health:fail", encoding="ascii")
    d.wait("instance_sick")
    e.orders.write_text("", encoding="ascii")
    d.wait("instance_recovered")
    e.kill()
    d.wait("instance_crashed")
    e.start()
    wait_until(lambda: d.pool_state("far")["state"] == "ready", 20, "readiness")
    assert d.stop() == 0 and alive(e.process.pid)
