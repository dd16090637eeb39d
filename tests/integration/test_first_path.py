# SPDX-License-Identifier: Apache-2.0
"""From a file to a streamed answer and back to rest, with the real engine."""
import json
import os
import re
import subprocess

from poolmgr_test import Daemon, DaemonFailed, ENGINE, TEXT, alive, read_answer, tiny_model, wait_until
from poolmgr_test.paths import ORCHESTRATORD, POOL_MANAGERD

import pytest


def test_a_request_starts_the_engine_streams_and_the_idle_engine_is_stopped(daemon):
    """LOAD-1, HEALTH-2, ENGINE-3, GW-2, LOAD-6, SUP-7"""
    d = daemon({"tiny": Daemon.pool(idle_ttl="300ms")})
    assert d.count("instance_starting") == 0

    answer = d.chat("tiny", stream=True)
    assert answer.status == 200 and answer.complete
    assert answer.headers["x-pool"] == "tiny"
    assert answer.text().strip() == TEXT
    assert answer.events()[-1] == ("message", "[DONE]")

    ready = d.wait("instance_ready")
    assert ready["engine"] == "llama.cpp" and ready["pool_id"] == "tiny"
    d.wait("instance_stopped")
    d.wait_state("tiny", "cold")
    assert not d.left_over()
    assert not os.listdir(os.path.join(d.runtime, "instances"))

    again = d.chat("tiny")
    assert again.status == 200 and again.text().strip() == TEXT
    assert d.count("instance_starting") == 2


def test_a_ready_pool_shows_what_runs(either):
    """REG-1, ENGINE-3: the endpoint is a socket in the instance's folder, proved to be ours."""
    d = either({"tiny": Daemon.pool(slots=3)})
    d.use("tiny", TEXT)
    pool = d.pool_state("tiny")
    replica = pool["replicas"][0]
    assert pool["state"] == "ready" and pool["slots_total"] == 3 and pool["active_leases"] == 0
    assert replica["endpoint"] == "unix:%s/instances/tiny.1/engine.sock" % d.runtime
    assert replica["endpoint_owner"] == "proved"
    assert alive(replica["pid"])
    assert pool["engine"]["version"]
    assert os.stat(d.runtime + "/instances/tiny.1").st_mode & 0o777 == 0o700
    with open("/proc/%d/cmdline" % replica["pid"], "rb") as f:
        command = f.read().split(b"\0")
    with open("/proc/%d/environ" % replica["pid"], "rb") as f:
        environment = dict(e.split(b"=", 1) for e in f.read().split(b"\0") if b"=" in e)
    assert environment[b"POOLMGR_INSTANCE"] == b"tiny.1" and environment[b"POOLMGR_POOL"] == b"tiny"
    key = environment[b"LLAMA_API_KEY"]
    assert re.fullmatch(rb"[0-9a-f]{32}", key) and not any(key in word for word in command)
    assert not any(name.startswith(b"POOLMGR_") and name not in (b"POOLMGR_INSTANCE", b"POOLMGR_POOL", b"POOLMGR_INSTANCE_DIR")
                   for name in environment)


def test_a_refusal_after_a_wait_tells_pool_place_and_time(daemon):
    """GW-4"""
    d = daemon({"m": Daemon.faulty("load:delay=20000"), "gone": Daemon.pool(model="/nowhere/m.gguf")})
    answer = d.chat("m", headers={"X-Deadline-Ms": "300"})
    assert (answer.status, answer.json()["error"]["code"]) == (503, "queue_timeout")
    assert (answer.headers["x-pool"], answer.headers["x-queue-position"]) == ("m", "0")
    assert 300 <= int(answer.headers["x-queue-wait-ms"]) < 10000
    assert d.chat("gone").status == 503
    answer = d.chat("gone")
    assert answer.headers["x-pool"] == "gone" and "x-queue-wait-ms" not in answer.headers
    assert "x-pool" not in d.chat("nobody").headers


def test_an_engine_over_tcp_is_proved_to_be_ours(either):
    """ENGINE-3: the listening port is held by the instance's tree."""
    d = either({"tiny": Daemon.pool(engine="tcp")},
               {"engines": {"tcp": {"family": "llama.cpp", "path": ENGINE, "transport": "tcp"}}})
    d.use("tiny", TEXT)
    replica = d.pool_state("tiny")["replicas"][0]
    assert replica["endpoint"].startswith("http://127.0.0.1:")
    assert replica["endpoint_owner"] == "proved"


def test_preload_starts_without_a_request(either):
    """LOAD-1"""
    d = either({"tiny": Daemon.pool(start="preload")})
    d.wait("instance_ready", pool_id="tiny")
    assert d.count("instance_starting") == 1


def test_sigterm_stops_everything_and_exits_0(either):
    """SUP-9d"""
    d = either({"a": Daemon.pool(start="preload"), "b": Daemon.pool(start="preload")})
    d.wait("instance_ready", pool_id="a")
    d.wait("instance_ready", pool_id="b")
    for name in "ab":  # llama-server may miss a SIGTERM in the very millisecond in which it becomes ready
        d.use(name, TEXT)
    assert d.stop() == 0
    assert not d.left_over()
    assert d.count("daemon_stopping") == 1


def test_a_stream_that_runs_when_the_daemon_stops_is_not_cut(daemon):
    """SUP-9d, INV-18"""
    model = tiny_model("--layers", "64", "--embd", "256", "--ff", "512", "--sparse")
    d = daemon({"slow": Daemon.pool(model=model, args=["-t", "1"])})
    assert d.chat("slow", max_tokens=1).status == 200
    s = d.open_chat("slow", stream=True)
    wait_until(lambda: d.pool_state("slow")["active_leases"] == 1, 20, "the stream's lease")
    d.process.terminate()
    answer = read_answer(s, "POST")
    assert answer.complete and answer.events()[-1] == ("message", "[DONE]")
    assert d.process.wait(60) == 0


def test_a_second_daemon_on_the_same_folder_names_the_holder(either):
    """STATE-1"""
    d = either({"tiny": Daemon.pool()})
    other = {"orchestratord": "pool-managerd", "pool-managerd": "orchestratord"}[d.program]
    with pytest.raises(DaemonFailed) as failed:
        second = Daemon({"tiny": Daemon.pool()}, folder=d.folder, start=False, program=other)
        second.start()
    assert failed.value.status == 1
    assert "pid %d" % d.process.pid in failed.value.text
    d.use("tiny", TEXT)


@pytest.mark.parametrize("program,port", [(ORCHESTRATORD, 8080), (POOL_MANAGERD, 9200)])
def test_command_lines_that_are_wrong_end_with_2(program, port):
    """Exit statuses of the programs, and where they listen by default."""
    def run(*words):
        return subprocess.run([str(program), *words], capture_output=True, text=True, timeout=60, check=False)

    assert run("--version").stdout.startswith(program.name)
    assert "--config" in run("--help").stdout and "127.0.0.1:%d" % port in run("--help").stdout
    assert "listens on:    127.0.0.1:%d\n" % port in run("--model", tiny_model(), "--check").stdout
    wrong = run("--modle", "x")
    assert wrong.returncode == 2 and "did you mean '--model'" in wrong.stderr
    assert run("--config").returncode == 2
    missing = run("--config", "/nowhere/x.yaml")
    assert missing.returncode == 2 and "/nowhere/x.yaml" in missing.stderr


def test_model_on_the_command_line_is_served_without_a_file(tmp_path, short_folder):
    """--model serves a pool named after the file."""
    model = tmp_path / "My_Model.gguf"
    model.write_bytes(open(tiny_model(), "rb").read())
    out = subprocess.run([str(ORCHESTRATORD), "--model", str(model), "--engine", ENGINE, "--check"],
                         capture_output=True, text=True, timeout=60, check=False,
                         env={**os.environ, "POOLMGR_RUNTIME_DIR": short_folder, "HOME": str(tmp_path)})
    assert out.returncode == 0, out.stderr
    assert "my_model" in out.stdout


@pytest.mark.parametrize("name", ["missing", "empty", "text", "torn", "architecture", "argument", "engine",
                                  "family", "download"])
def test_what_can_never_start_is_tried_once_and_told(either, tmp_path, name):
    """SUP-6, LOAD-3: 503 pool_failed with the cause, without a second try; the daemon goes on."""
    model = tmp_path / "m.gguf"
    good = open(tiny_model(), "rb").read()
    content = {"missing": None, "empty": b"", "text": b"hello", "torn": good[:300000],
               "architecture": good.replace(b"llama", b"zzzma")}.get(name, good)
    if content is not None:
        model.write_bytes(content)
    bad = Daemon.pool(model=str(model))
    more = {}
    if name == "argument":
        bad["args"] = ["--frobnicate"]
    if name == "engine":
        bad["engine"] = "nowhere"
        more = {"engines": {"nowhere": {"family": "llama.cpp", "path": "/nowhere/llama-server"}}}
    if name == "family":
        bad["engine"] = "later"
        more = {"engines": {"later": {"family": "vllm"}}}
    if name == "download":
        bad["model"] = "hf:org/repo:Q4_K_M"
    d = either({"bad": bad, "good": Daemon.pool()}, more)

    for _ in range(2):
        error = d.refusal("bad")
        assert error["code"] == "pool_failed" and not error["retriable"]
    code = {"missing": "model_missing", "empty": "model_corrupt", "text": "model_corrupt", "torn": "model_corrupt",
            "architecture": "model_unsupported", "argument": "bad_arguments", "engine": "engine_missing",
            "family": "unsupported", "download": "model_missing"}[name]
    d.wait_state("bad", "failed")  # its processes are cleared away first
    state = d.pool_state("bad")
    assert state["state"] == "failed"
    assert state["replicas"][0]["last_error"]["code"] == code, json.dumps(state)
    if name == "engine":    # which, where, and what to do
        assert state["replicas"][0]["last_error"]["text"] == "engine 'nowhere': /nowhere/llama-server does not exist"
        assert state["health"]["reason"].endswith("; set engines.nowhere.path in the configuration, or --engine, "
                                                  "then: poolctl reset bad"), state["health"]
        assert error["hint"] == "set engines.nowhere.path in the configuration, or --engine"
    assert d.count("instance_starting", pool_id="bad") <= 1
    d.use("good", TEXT)


def test_a_failed_pool_comes_back_when_its_file_is_put_in_place(either, tmp_path):
    """SUP-6: within a second after a missing file was moved into place, also into a folder that was missing."""
    folder = tmp_path / "a" / "b"
    model = folder / "m.gguf"
    d = either({"tiny": Daemon.pool(model=str(model))})
    assert d.refusal("tiny")["code"] == "pool_failed"

    folder.mkdir(parents=True)
    part = folder / "m.gguf.part"
    good = open(tiny_model(), "rb").read()
    part.write_bytes(good[:1000])
    assert d.refusal("tiny")["code"] == "pool_failed"
    part.write_bytes(good)
    part.rename(model)
    d.wait_state("tiny", "cold")
    d.use("tiny", TEXT)


def test_a_torn_file_that_is_copied_again_is_served(either, tmp_path):
    """SUP-6: closed after writing."""
    model = tmp_path / "m.gguf"
    good = open(tiny_model(), "rb").read()
    model.write_bytes(good[:300000])
    d = either({"tiny": Daemon.pool(model=str(model))})
    assert d.refusal("tiny")["code"] == "pool_failed"
    with open(model, "wb") as f:
        f.write(good[:400000])
        f.flush()
        f.write(good[400000:])
    d.wait_state("tiny", "cold")
    d.use("tiny", TEXT)
