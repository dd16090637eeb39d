# SPDX-License-Identifier: Apache-2.0
"""poolctl as people call it (CLI-1, OP-1, CONF-1): what it prints, and how it ends."""
import json
import os
import subprocess

from poolmgr_test import Daemon, POOLCTL, TEXT


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


def test_json_is_the_shape_of_the_api(daemon):
    d = daemon({"fox": Daemon.pool()})
    assert json.loads(poolctl(d, "--json", "ps").stdout)["pools"][0]["id"] == "fox"
    assert json.loads(poolctl(d, "--json", "start", "fox").stdout)["state"] == "succeeded"
    assert json.loads(poolctl(d, "--json", "requests").stdout) == {"requests": []}


def test_logs_and_events_of_the_past_end_by_themselves(daemon):
    d = daemon({"fox": Daemon.pool()})
    assert poolctl(d, "start", "fox").returncode == 0
    assert "listening on" in poolctl(d, "logs", "fox").stdout
    assert "fox is ready after" in poolctl(d, "events", "-n", "20").stdout
    lines = poolctl(d, "--json", "events", "--pool", "fox", "-n", "1").stdout.splitlines()
    assert len(lines) == 1 and json.loads(lines[0])["pool_id"] == "fox"


def test_mistakes_end_with_their_status_and_a_sentence(daemon):
    d = daemon({"fox": Daemon.pool(model="/nowhere/fox.gguf")})
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


def test_the_control_socket_is_found_without_being_named(daemon):
    d = daemon({"fox": Daemon.pool()})
    assert poolctl(d, "ps", url=False, POOLMGR_RUNTIME_DIR=d.runtime).returncode == 0


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
