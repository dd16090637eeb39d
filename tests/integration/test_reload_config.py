# SPDX-License-Identifier: Apache-2.0
"""RELOAD-2: SIGHUP reads the file again and puts all of it in force, or nothing; what is not edited does not notice."""
import os
import signal
import socket
import time

from poolmgr_test import Daemon, ENGINE, Load, TEXT, alive, read_answer, request, times, wait_until


def reload(d, name="config_applied"):
    mark = d.mark()
    d.process.send_signal(signal.SIGHUP)
    return d.wait(name, after=mark)


def pid_of(d, pool):
    return d.pool_state(pool)["replicas"][0].get("pid")


def write(d, text):
    with open(d.config, "w", encoding="utf-8") as f:
        f.write(text)


def test_a_file_with_errors_changes_nothing_and_names_every_place(daemon):
    """CONF-1, INV-20: all errors at once, each with file, line and column; what runs goes on as it was."""
    d = daemon({"a": Daemon.pool(start="preload"), "b": Daemon.pool()})
    d.wait("instance_ready", pool_id="a")
    pid, config = pid_of(d, "a"), d.get("/v1/config").json()
    write(d, "log: { level: loud }\npools:\n  a: { model: x, slotz: 3 }\n  c: { model: y }\n")
    event = reload(d, "config_refused")
    assert event["level"] == "error" and event["target"] == d.config
    assert event["human"] == "the configuration has 2 errors: nothing of it is applied"
    assert "%s:1:15: 'level' in 'log' is 'loud'" % d.config in event["text"]
    assert "%s:3:18: unknown key 'slotz' in pool 'a'; did you mean 'slots'?" % d.config in event["text"]

    write(d, "pools: [")
    assert reload(d, "config_refused")["text"].startswith("%s:2:1: not YAML: " % d.config)
    os.unlink(d.config)
    assert "No such file" in reload(d, "config_refused")["text"]
    os.mkdir(d.config)
    assert "not a regular file" in reload(d, "config_refused")["text"]
    os.rmdir(d.config)
    write(d, "#" * (1 << 20) + "\n")
    assert "larger than" in reload(d, "config_refused")["text"]

    assert d.get("/v1/config").json() == config
    assert pid_of(d, "a") == pid and d.chat("b").text().strip() == TEXT
    assert d.get("/v1/pools/c").status == 404


def test_settings_of_the_daemon_change_in_place(daemon):
    """Level, limits, hosts and times hold for what comes next; no engine notices."""
    pools = {"a": Daemon.pool(start="preload")}
    d = daemon(pools)
    d.wait("instance_ready", pool_id="a")
    pid = pid_of(d, "a")
    assert d.get("/v1/pools", headers={"Host": "fox.example"}).status in (400, 403)
    assert d.chat("a", stream=True).status == 200 and d.count("stream_started") == 0    # it is told at debug

    d.write_config(pools, {"log": {"level": "debug"}, "limits": {"body": "1KiB"}, "default_pool": "a",
                           "timeouts": {"keep_alive": "1s"}, "max_parallel_starts": 7})
    event = reload(d)
    assert event["human"] == "the configuration is applied: 0 by reload, 0 in place, 0 new, 0 gone, 1 as before"
    mark = d.mark()
    assert d.chat("a", stream=True).status == 200
    d.wait("stream_started", after=mark)
    assert d.chat("a", padding="x" * 1024).status == 413
    config = d.get("/v1/config").json()
    assert (config["log"]["level"], config["max_parallel_starts"], config["default_pool"]) == ("debug", 7, "a")
    assert pid_of(d, "a") == pid

    d.write_config(pools)
    reload(d)
    mark = d.mark()
    assert d.chat("a", stream=True, padding="x" * 1024).status == 200
    d.wait("stream_ended", after=mark)
    assert d.count("stream_started", after=mark) == 0
    assert d.count("instance_stopping") == 0 and pid_of(d, "a") == pid


def test_what_needs_a_restart_is_named_and_kept(daemon):
    pools = {"a": Daemon.pool(start="preload")}
    d = daemon(pools)
    d.wait("instance_ready", pool_id="a")
    pid, before = pid_of(d, "a"), d.get("/v1/config").json()
    d.write_config(pools, {"listen": ["127.0.0.1:1"], "control_group": "root", "handoff_dir": "/tmp/none",
                           "on_exit": "leave"})
    mark = d.mark()
    reload(d)
    event = d.wait("config_warning", after=mark, human="settings in the file change with a restart only")
    assert event["text"] == "listen, control_group, handoff_dir"
    after = d.get("/v1/config").json()
    for key in ("listen", "control_group", "handoff_dir"):
        assert after[key] == before[key]
    assert after["on_exit"] == "leave"
    assert d.stop() == 0        # by the new on_exit: engines stay
    assert alive(pid)
    d.write_config(pools)
    d.start()
    wait_until(lambda: pid_of(d, "a"), 20, "its shim to say what it runs")
    assert pid_of(d, "a") == pid


def test_a_reload_during_a_reload_reads_the_file_once_more(daemon):
    """The last state of the file is in force, however many asked meanwhile."""
    pools = {"a": Daemon.pool()}
    d = daemon(pools)
    for n in range(2, 12):
        d.write_config(pools, {"max_parallel_starts": n})
        d.process.send_signal(signal.SIGHUP)
    wait_until(lambda: d.get("/v1/config").json()["max_parallel_starts"] == 11, 30, "the last file in force")
    time.sleep(0.2)
    assert d.get("/v1/config").json()["max_parallel_starts"] == 11
    assert d.count("config_refused") == 0


NAMES = ["p0", "p1", "p2", "p3", "p4"]
N_TOKENS = 40


def streaming(**more):
    return Daemon.faulty("stream:delay=20,stream:tokens=%d" % N_TOKENS, start="preload", **more)


def test_one_of_five_pools_is_edited_under_load_and_the_others_do_not_notice(daemon):
    """RELOAD-2, INV-20: the other four keep their processes, and no stream of any is dropped."""
    n, width = times(2, 50), times(2, 10)
    pools = {name: streaming(slots=width) for name in NAMES}
    d = daemon(pools, {"max_parallel_starts": 5})
    for name in NAMES:
        d.wait("instance_ready", pool_id=name)
    pids = {name: pid_of(d, name) for name in NAMES}
    load = Load(d, NAMES, width)
    try:
        load.wait_for_more()
        for i in range(n):
            edited, change = NAMES[(i + 2) % 5], ({"context": 1024 + i} if i % 2 else {"args": ["--round=%d" % i]})
            pools[edited] = streaming(slots=width, **change)
            d.write_config(pools, {"max_parallel_starts": 5})
            mark = d.mark()
            assert reload(d)["human"].startswith("the configuration is applied: 1 by reload, 0 in place, 0 new")
            d.wait("instance_ready", after=mark, pool_id=edited)
            d.wait("instance_stopped", after=mark, pool_id=edited)
            load.wait_for_more()
            for name in NAMES:
                assert (pid_of(d, name) == pids[name]) == (name != edited)
            assert d.count("instance_stopping", after=mark) == 1
            pids[edited] = pid_of(d, edited)
            assert not d.pool_state(edited)["config_drift"]
    finally:
        dropped = load.end()
    print("%d edits of one of five pools under %d streams: %d whole, %d dropped"
          % (n, 5 * width, sum(load.n_whole.values()), len(dropped)))
    assert not dropped


def test_limits_of_a_pool_change_in_place(daemon):
    pools = {"a": streaming()}
    d = daemon(pools)
    d.wait("instance_ready", pool_id="a")
    pid = pid_of(d, "a")
    pools["a"] = streaming(idle_ttl="1h", queue={"requests": 7})
    d.write_config(pools)
    mark = d.mark()
    assert reload(d)["human"].startswith("the configuration is applied: 0 by reload, 1 in place, 0 new")
    assert d.pool_state("a")["spec"]["idle_ttl"] == "1h"
    assert pid_of(d, "a") == pid and d.count("instance_starting", after=mark) == 0


def test_pools_come_and_go_with_the_file(daemon):
    """New ones serve at once, gone ones end their streams first and are no model any more."""
    pools = {"a": streaming(), "b": streaming()}
    d = daemon(pools)
    for name in pools:
        d.wait("instance_ready", pool_id=name)
    pid, gone = pid_of(d, "a"), pid_of(d, "b")
    s = d.open_chat("b", stream=True)
    assert s.recv(1, socket.MSG_PEEK)
    d.write_config({"a": streaming(), "c": streaming(aliases=["sea"])})
    mark = d.mark()
    assert reload(d)["human"] == ("the configuration is applied: 0 by reload, 0 in place, 1 new, 1 gone, "
                                  "1 as before")
    assert d.chat("sea", stream=True).status == 200
    answer = d.chat("b")
    assert answer.status == 404 and answer.json()["error"]["code"] == "model_not_found"
    answer = read_answer(s, "POST")
    assert answer.complete and answer.body.endswith(b"data: [DONE]\n\n")
    d.wait("pool_removed", after=mark, pool_id="b")
    assert not alive(gone) and pid_of(d, "a") == pid
    assert [p["id"] for p in d.get("/v1/pools").json()["pools"]] == ["a", "c"]
    reload(d)       # the same once more
    assert [p["id"] for p in d.get("/v1/pools").json()["pools"]] == ["a", "c"] and pid_of(d, "a") == pid


def test_an_edited_engine_reloads_the_pools_that_use_it(daemon):
    """RELOAD-2: what the engine sees of a pool stands in `engines` too."""
    pools = {"a": streaming(), "b": Daemon.pool(start="preload")}
    d = daemon(pools)
    for name in pools:
        d.wait("instance_ready", pool_id=name)
    a, b = pid_of(d, "a"), pid_of(d, "b")
    d.write_config(pools, {"engines": {"llama": {"family": "llama.cpp", "path": ENGINE, "args": ["--verbose"]}}})
    mark = d.mark()
    assert "1 by reload" in reload(d)["human"]
    d.wait("instance_stopped", after=mark, pool_id="b")
    assert pid_of(d, "a") == a
    with open("/proc/%d/cmdline" % pid_of(d, "b"), "rb") as f:
        assert b"--verbose" in f.read().split(b"\0") and pid_of(d, "b") != b
    assert d.chat("b").text().strip() == TEXT


def test_an_edited_engine_reloads_pools_of_the_api_too_and_one_that_is_gone_is_told(daemon):
    own = {"far": {"family": "llama.cpp", "path": ENGINE}}
    pools = {"a": Daemon.pool()}
    d = daemon(pools, {"engines": own})
    assert request(d.port, "PUT", "/v1/pools/mine", Daemon.pool(engine="far")).status == 201
    assert d.chat("mine").text().strip() == TEXT
    pid = pid_of(d, "mine")
    d.write_config(pools, {"engines": {"far": {"family": "llama.cpp", "path": ENGINE, "args": ["--verbose"]}}})
    mark = d.mark()
    reload(d)
    d.wait("instance_stopped", after=mark, pool_id="mine")
    assert pid_of(d, "mine") != pid and d.chat("mine").text().strip() == TEXT
    with open("/proc/%d/cmdline" % pid_of(d, "mine"), "rb") as f:
        assert b"--verbose" in f.read().split(b"\0")

    pid = pid_of(d, "mine")
    d.write_config(pools)
    mark = d.mark()
    reload(d)
    event = d.wait("config_warning", after=mark, human="mine of the API goes on with its engine as it was")
    assert "'far', which is not in 'engines'" in event["text"]
    assert pid_of(d, "mine") == pid and d.chat("mine").text().strip() == TEXT


def test_a_pool_that_cannot_be_the_files_refuses_the_whole_file(daemon):
    """All or nothing: an alias that is another new pool's name, told with its place."""
    pools = {"a": streaming()}
    d = daemon(pools)
    d.wait("instance_ready", pool_id="a")
    pid = pid_of(d, "a")
    d.write_config({"a": streaming(context=1024), "b": streaming(aliases=["a"])})
    assert "the alias 'a' is another pool's id" in reload(d, "config_refused")["text"]
    assert pid_of(d, "a") == pid and d.get("/v1/pools/b").status == 404
    assert d.pool_state("a")["spec"]["context"] == 512
