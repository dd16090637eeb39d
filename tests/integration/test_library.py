# SPDX-License-Identifier: Apache-2.0
"""LIB-1: examples/embed.c, a strict C99 program with its own poll loop, hosts the manager and a real engine."""
import json
import os
import subprocess

import pytest

from poolmgr_test import Daemon, ENGINE, FAULT_ENGINE, wait_until
from poolmgr_test.paths import BUILD, tiny_model
from poolmgr_test.processes import instances_of

EMBED = BUILD / "examples" / "embed"
SHIM = BUILD / "src" / "bin" / "pool-shim"


def config(folder, engine=ENGINE, **more):
    path = os.path.join(folder, "config.yaml")
    pool = {"model": tiny_model(), "engine": "own", "devices": "cpu", "context": 512, **more}
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"runtime_dir": folder + "/run", "state_dir": folder + "/state", "log_dir": folder + "/log",
                   "engines": {"own": {"family": "llama.cpp", "path": str(engine)}}, "pools": {"fox": pool}}, f)
    return path


def embed(*words):
    env = {k: v for k, v in os.environ.items() if not k.startswith("POOLMGR_")}
    return subprocess.run([str(EMBED), *words], capture_output=True, text=True, timeout=120, check=False, env=env)


@pytest.mark.parametrize("engine", [ENGINE, FAULT_ENGINE], ids=["real", "fault"])
def test_the_example_host_starts_uses_and_stops_an_engine(short_folder, engine):
    done = embed(config(short_folder, engine), "fox", str(SHIM))
    assert done.returncode == 0, done
    assert "slot of fox at unix:%s/run/instances/fox.1/engine.sock: it answers" % short_folder in done.stdout
    events = [json.loads(line[7:])["event"] for line in done.stdout.splitlines() if line.startswith("event: ")]
    assert [e for e in events if e.startswith("instance_")] == [
        "instance_starting", "instance_ready", "instance_stopping", "instance_stopped"]
    assert not instances_of(short_folder)
    assert os.listdir(short_folder + "/run/instances") == []


def test_a_start_that_fails_is_told_with_its_reason(short_folder):
    done = embed(config(short_folder, model="/nowhere/fox.gguf"), "fox", str(SHIM))
    assert done.returncode == 1 and "start failed: fox cannot start" in done.stdout and "/nowhere/fox.gguf" in done.stdout


def test_mistakes_are_told_and_nothing_is_left(short_folder):
    assert embed().returncode == 2
    done = embed(short_folder + "/none.yaml", "fox", str(SHIM))
    assert done.returncode == 1 and "none.yaml" in done.stderr
    done = embed(config(short_folder), "nobody", str(SHIM))
    assert done.returncode == 1 and "no pool 'nobody'" in done.stderr


def test_engines_of_a_host_and_of_a_daemon_are_the_same_kind(daemon):
    """SUP-9a: a daemon's runtime folder is held against a host, and the other way round."""
    d = daemon({"fox": Daemon.pool(engine="fault")})
    path = config(d.folder + "/host") if os.makedirs(d.folder + "/host") is None else ""
    with open(path, encoding="utf-8") as f:
        top = json.load(f)
    top["runtime_dir"] = d.runtime
    with open(path, "w", encoding="utf-8") as f:
        json.dump(top, f)
    done = embed(path, "fox", str(SHIM))
    assert done.returncode == 1 and "pid %d" % d.process.pid in done.stderr
    wait_until(lambda: d.get("/livez").status == 200, 10, "the daemon")
