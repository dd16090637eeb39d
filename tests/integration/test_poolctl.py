# SPDX-License-Identifier: Apache-2.0
"""poolctl as people call it (CLI-1, OP-1, CONF-1): what it prints, and how it ends."""
import json
import os
import signal
import subprocess
import time

from poolmgr_test import Daemon, POOLCTL, TEXT, tiny_model


def poolctl(daemon, *arguments, url=True, **environment):
    env = {**os.environ, "COLUMNS": "200", **environment}
    where = ["--url", "unix:" + daemon.socket] if url and daemon else []
    return subprocess.run([str(POOLCTL), *where, *arguments], capture_output=True, text=True, timeout=60, check=False,
                          env=env)


def test_start_run_stop_and_what_ps_says_meanwhile(daemon):
    d = daemon({"fox": Daemon.pool(), "owl": Daemon.pool()})
    rows = poolctl(d, "ps").stdout.splitlines()
    assert rows[0].split() == ["POOL", "STATE", "SLOTS", "WAIT", "DEVICES", "VRAM", "TOK/S", "SINCE", "NOTE"]
    assert rows[1].split()[:2] == ["fox", "cold"] and rows[1].endswith("starts with the first request")

    done = poolctl(d, "start", "fox")
    assert (done.returncode, done.stdout) == (0, "fox: start succeeded\n")
    assert poolctl(d, "ps", "fox").stdout.splitlines()[1].split()[:3] == ["fox", "ready", "0/4"]

    done = poolctl(d, "run", "fox", "who are you?")
    assert (done.returncode, done.stdout.strip()) == (0, TEXT)

    done = poolctl(d, "stop", "fox")
    assert (done.returncode, done.stdout) == (0, "fox: stop succeeded\n")
    assert d.pool_state("fox")["state"] == "cold"
    assert [line.split()[1] for line in poolctl(d, "operations").stdout.splitlines()[1:]] == ["stop", "start"]


def test_json_is_the_shape_of_the_api(either):
    d = either({"fox": Daemon.pool()})
    assert json.loads(poolctl(d, "--json", "ps").stdout)["pools"][0]["id"] == "fox"
    assert json.loads(poolctl(d, "--json", "start", "fox").stdout)["state"] == "succeeded"
    assert json.loads(poolctl(d, "--json", "requests").stdout) == {"requests": []}


def test_logs_and_events_of_the_past_end_by_themselves(either):
    d = either({"fox": Daemon.pool()})
    assert poolctl(d, "start", "fox").returncode == 0
    assert "listening on" in poolctl(d, "logs", "fox").stdout
    assert "fox is ready after" in poolctl(d, "events", "-n", "20").stdout
    levels = {line.split()[1] for line in poolctl(d, "events").stdout.splitlines()}
    assert levels <= {"info", "warn", "error"}
    assert "debug fox is added" in poolctl(d, "events", "--level", "debug").stdout
    lines = poolctl(d, "--json", "events", "--pool", "fox", "-n", "1").stdout.splitlines()
    assert len(lines) == 1 and json.loads(lines[0])["pool_id"] == "fox"


def test_a_sentence_that_an_event_cuts_is_told_whole(daemon, gpus):
    """NARR-1: `human` has 100 characters at most; `text` has the reason, or all of the sentence, and people are told all of it."""
    g = gpus(1)
    name = "a-pool-whose-name-is-nearly-as-long-as-one-can"
    d = daemon({name: Daemon.faulty("", devices="0", vram="900GiB"), "small": Daemon.faulty("", devices="0", vram="900GiB")},
               {"devices": {"nvml": g.library}}, environment=g.environment)
    for pool in (name, "small"):
        assert poolctl(d, "start", pool).returncode != 0
        reason = d.pool_state(pool)["replicas"][0]["last_error"]["text"]
        events = [json.loads(line) for line in poolctl(d, "--json", "events", "--pool", pool).stdout.splitlines()]
        failed = [event for event in events if event["event"] == "start_failed"][-1]
        assert len(failed["human"]) <= 100 and failed["text"] == reason, failed
        assert failed["human"].endswith("…") or pool != name, failed
        told = poolctl(d, "events", "--pool", pool).stdout
        assert "%s does not start: %s\n" % (pool, reason) in told and "…" not in told, told


def test_mistakes_end_with_their_status_and_a_sentence(either):
    d = either({"fox": Daemon.pool(model="/nowhere/fox.gguf")})
    for arguments, status, words in [
            (("start", "nope"), 3, "nope"),
            (("start",), 2, "usage: poolctl start"),
            (("strat",), 2, "did you mean 'start'?"),
            (("--colour", "ps"), 2, "unknown option --colour"),
            (("logs", "nope"), 3, "nope"),
            (("operations", "op-999"), 3, "op-999"),
            (("requests", "cancel", "nobody"), 3, "nobody"),
            (("start", "fox"), 1, "/nowhere/fox.gguf"),
            (("reset", "fox", "--breaker", "ajar"), 2, "breaker")]:
        done = poolctl(d, *arguments)
        assert (done.returncode, words in done.stderr) == (status, True), (arguments, done)
    done = poolctl(None, "--url", "unix:" + d.folder + "/no.sock", "ps")
    assert done.returncode == 4 and "no daemon answers" in done.stderr


def test_the_control_socket_is_found_without_being_named(either):
    d = either({"fox": Daemon.pool()})
    assert poolctl(d, "ps", url=False, POOLMGR_RUNTIME_DIR=d.runtime).returncode == 0


def test_shared_options_stand_anywhere_and_unknown_ones_are_refused_before_anything_is_done(daemon):
    d = daemon({"fox": Daemon.pool()})
    assert json.loads(poolctl(d, "ps", "fox", "--json").stdout)["id"] == "fox"
    assert poolctl(d, "--timeout=30s", "start", "fox", "--quiet").stdout == ""
    for arguments, words in [(("stop", "fox", "--force"), "unknown option --force of stop"),
                             (("ps", "-x"), "unknown option -x of ps"), (("--url",), "--url needs a value"),
                             (("operations", "cancel"), "usage: poolctl operations")]:
        done = poolctl(d, *arguments)
        assert (done.returncode, words in done.stderr) == (2, True), (arguments, done)
    assert d.pool_state("fox")["state"] == "ready"
    assert poolctl(d, "ps", "--", "-x").returncode == 3
    assert poolctl(d, "run", "fox", "- what is 2 - 3?").returncode == 0
    assert poolctl(None, "help").stdout == poolctl(None, "--help").stdout


def test_only_who_stops_when_idle_is_said_to(daemon):
    d = daemon({"fox": Daemon.pool(), "owl": Daemon.pool(start="preload"), "yak": Daemon.pool(idle_ttl="0")})
    assert poolctl(d, "start", "fox", "owl", "yak").returncode == 0
    notes = [line.rstrip().endswith("stops when idle for 15m") for line in poolctl(d, "ps").stdout.splitlines()[1:]]
    assert notes == [True, False, False]
    assert "idle_stop_at" in d.pool_state("fox")
    assert "idle_stop_at" not in d.pool_state("owl") and "idle_stop_at" not in d.pool_state("yak")


def test_version_names_both_sides(daemon):
    d = daemon({"fox": Daemon.pool()})
    assert [line.split()[0] for line in poolctl(d, "version").stdout.splitlines()] == ["poolctl", "orchestratord"]
    assert json.loads(poolctl(d, "--json", "version").stdout)["name"] == "orchestratord"


def test_a_wait_ends_when_its_time_is_over(daemon):
    d = daemon({"slow": Daemon.faulty("load:delay=5000")})
    began = time.monotonic()
    done = poolctl(d, "--timeout", "500ms", "start", "slow")
    assert (done.returncode, "goes on" in done.stderr) == (5, True), done
    assert time.monotonic() - began < 4


def test_a_daemon_that_does_not_answer_is_not_waited_for_for_ever(daemon):
    d = daemon({"fox": Daemon.pool()})
    d.process.send_signal(signal.SIGSTOP)
    done = poolctl(d, "--timeout", "100ms", "ps")
    d.process.send_signal(signal.SIGCONT)
    assert (done.returncode, "does not answer" in done.stderr) == (5, True), done


def test_what_is_followed_ends_with_its_reader(daemon):
    d = daemon({"fox": Daemon.pool(model=tiny_model("--endless"), context=16000)})
    assert poolctl(d, "start", "fox").returncode == 0
    for verb in (("events", "-f"), ("logs", "fox", "-f"), ("run", "fox", "hi")):
        command = [str(POOLCTL), "--url", "unix:" + d.socket, *verb]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as follower:
            assert follower.stdout.read(1)
            follower.stdout.close()
            follower.wait(20)


def test_what_cannot_be_written_is_a_failure(daemon):
    d = daemon({"fox": Daemon.pool()})
    for verb in (("ps",), ("config", "show"), ("events",)):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, *verb], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert (done.returncode, "cannot be written" in done.stderr) == (1, True), (verb, done)


def test_mistakes_of_the_usual_file_carry_its_name(tmp_path):
    (tmp_path / "c.yaml").write_text("colour: red\n", encoding="utf-8")
    done = poolctl(None, "config", "check", POOLMGR_CONFIG=str(tmp_path / "c.yaml"))
    assert done.returncode == 2 and "%s:1:1: unknown key" % (tmp_path / "c.yaml") in done.stderr


def test_config_check_needs_no_daemon_and_names_every_mistake(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("pools: { fox: { model: x.gguf } }\n", encoding="utf-8")
    bad.write_text("pools:\n  fox:\n    model: x\n    slotz: 4\n    start: never\n", encoding="utf-8")
    done = poolctl(None, "config", "check", str(good))
    assert done.returncode == 0 and str(tmp_path / "x.gguf") in done.stdout
    done = poolctl(None, "config", "check", str(bad))
    assert done.returncode == 2
    assert "%s:4:5: unknown key 'slotz' in pool 'fox'; did you mean 'slots'?" % bad in done.stderr
    assert "%s:5:12: 'start' in pool 'fox' is 'never'" % bad in done.stderr
    assert json.loads(poolctl(None, "config", "schema").stdout)["title"] == "poolmgr configuration"


def test_config_reload_applies_all_or_nothing_and_says_what_is_wrong_where(daemon):
    """RELOAD-2, CLI-1"""
    d = daemon({"a": Daemon.pool(), "b": Daemon.pool()})
    assert d.chat("a").status == 200
    pid = d.pool_state("a")["replicas"][0]["pid"]
    d.write_config({"a": Daemon.pool(idle_ttl="7m"), "c": Daemon.pool()})
    done = poolctl(d, "config", "reload")
    assert done.returncode == 0 and "configuration: config-reload succeeded" in done.stdout, done
    assert [p["id"] for p in d.get("/v1/pools").json()["pools"]] == ["a", "c"]
    assert d.pool_state("a")["replicas"][0]["pid"] == pid and d.pool_state("a")["spec"]["idle_ttl"] == "7m"
    d.write_config({"a": Daemon.pool(slotz=1), "c": Daemon.pool(slots=0)})
    done = poolctl(d, "config", "reload")
    assert done.returncode == 2 and "slotz" in done.stderr and "'slots'" in done.stderr, done
    assert "config.yaml:" in done.stderr
    answer = d.post("/v1/config/reload")
    error = answer.json()["error"]
    assert answer.status == 400 and error["code"] == "config_invalid"
    assert len(error["errors"]) == 2 and all(e["line"] > 0 and e["file"] == d.config for e in error["errors"])
    assert d.chat("c").status == 200


def test_placement_is_explained_in_words(daemon):
    """PLACE-1, CLI-1"""
    d = daemon({"a": Daemon.pool(aliases=["both"]), "b": Daemon.pool(aliases=["both"])})
    assert d.chat("b").status == 200
    out = poolctl(d, "placement", "explain", "both")
    assert out.returncode == 0 and "goes to b replica 0" in out.stdout, out
    out = poolctl(d, "placement", "explain", "both", "--pin", "nobody")
    assert "pin_unmet" in out.stdout, out
    assert poolctl(d, "placement", "explain", "none").returncode == 3
    assert poolctl(d, "placement").returncode == 2


def test_a_prompt_may_be_piped_in_and_a_pool_may_repeat_its_own_name(daemon):
    """CLI-1"""
    d = daemon({"m": Daemon.pool(aliases=["m", "other"])})
    out = subprocess.run([str(POOLCTL), "--url", "http://127.0.0.1:%d" % d.port, "run", "m"], input="hi there",
                         capture_output=True, text=True, timeout=60, check=False)
    assert out.returncode == 0 and TEXT in out.stdout, out
    assert d.chat("other").status == 200
