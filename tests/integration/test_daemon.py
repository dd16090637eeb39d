# SPDX-License-Identifier: Apache-2.0
"""The daemon as a process: systemd's protocols, a terminal, signals, what it leaves and what it refuses."""
import json
import os
import pty
import random
import signal
import socket
import subprocess
import threading

import pytest

from poolmgr_test import Daemon, ENGINE, alive, get, read_answer, tiny_model, wait_until
from poolmgr_test.paths import ORCHESTRATORD, POOL_MANAGERD


@pytest.fixture(params=[ORCHESTRATORD, POOL_MANAGERD], ids=lambda path: path.name)
def program(request):
    return request.param


def environment(folder):
    env = {k: v for k, v in os.environ.items() if not k.startswith("POOLMGR_")}
    for kind in ("RUNTIME", "STATE", "CACHE", "LOG"):
        env["POOLMGR_%s_DIR" % kind] = os.path.join(folder, kind.lower())
    return env


def test_a_socket_of_systemd_is_served_and_readiness_is_told(short_folder, program):
    """SUP-9d: socket activation; READY=1 when it serves, STOPPING=1 when it ends, WATCHDOG=1 between."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    port = listener.getsockname()[1]
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(short_folder + "/n")
    notify.settimeout(30)
    env = environment(str(short_folder))
    env.update(NOTIFY_SOCKET=short_folder + "/n", WATCHDOG_USEC="200000")
    os.set_inheritable(listener.fileno(), True)
    words = "exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 exec %s --model %s --engine %s --log-format json" % (
        listener.fileno(), program, tiny_model(), ENGINE)
    process = subprocess.Popen(["/bin/bash", "-c", words], env=env, pass_fds=[listener.fileno()],
                               stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    lines = []
    threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True).start()
    try:
        assert notify.recv(100) == b"READY=1"
        assert get(port, "/readyz").status == 200
        assert notify.recv(100) == b"WATCHDOG=1"
        process.terminate()
        told = set()
        while b"STOPPING=1" not in told:
            told.add(notify.recv(100))
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    started = [json.loads(line) for line in lines if b'"daemon_started"' in line][0]
    assert "127.0.0.1:%d" % port in started["listen"]


def test_on_a_terminal_it_says_where_it_serves_and_what_to_copy(short_folder):
    """The line to copy works."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([str(ORCHESTRATORD), "--model", tiny_model(), "--engine", ENGINE, "--listen", "127.0.0.1:0"],
                               env=environment(str(short_folder)), stdout=theirs, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL)
    os.close(theirs)
    try:
        text = ""
        while "curl" not in text or not text.rstrip().endswith("'"):
            text += os.read(ours, 4096).decode()
        assert "serving at http://127.0.0.1:" in text and "tiny" in text
        line = [l for l in text.splitlines() if "curl" in l][0].strip()
        out = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        assert "[DONE]" in out.stdout, (line, out)
    finally:
        process.terminate()
        assert process.wait(30) == 0
        os.close(ours)


def test_a_stream_goes_on_while_the_daemon_leaves_and_the_next_one_serves_beside_it(daemon):
    """SUP-9d: the old process carries its stream to its end, the new one adopts at once."""
    model = tiny_model("--layers", "64", "--embd", "256", "--ff", "512", "--sparse", "--endless")
    d = daemon({"m": Daemon.pool(model=model, args=["-t", "1"], slots=2)})
    assert d.chat("m", max_tokens=1).status == 200
    pid = d.pool_state("m")["replicas"][0]["pid"]
    s = d.open_chat("m", stream=True, max_tokens=150)
    assert s.recv(1, socket.MSG_PEEK)
    old = d.process
    old.send_signal(signal.SIGUSR2)
    d.wait("daemon_stopping")
    mark = d.mark()
    d.start()
    d.wait("instance_adopted", after=mark)
    assert d.chat("m", max_tokens=2).status == 200
    answer = read_answer(s, "POST")
    assert answer.complete and answer.events()[-1] == ("message", "[DONE]")
    assert old.wait(30) == 0
    assert d.pool_state("m")["replicas"][0]["pid"] == pid and alive(pid)


def test_who_comes_while_the_daemon_stops_is_told_so(daemon):
    """API-1: `shutting_down` and /readyz, as long as streams end."""
    model = tiny_model("--layers", "64", "--embd", "256", "--ff", "512", "--sparse", "--endless")
    d = daemon({"m": Daemon.pool(model=model, args=["-t", "1"], slots=2), "other": Daemon.pool()})
    s = d.open_chat("m", stream=True, max_tokens=150)
    assert s.recv(1, socket.MSG_PEEK)
    d.process.terminate()
    d.wait("daemon_stopping")
    for pool in ("m", "other"):
        answer = d.chat(pool)
        assert (answer.status, answer.json()["error"]["code"]) == (503, "shutting_down")
        assert "retry-after-ms" in answer.headers
    answer = d.post("/v1/pools/other/start")
    assert (answer.status, answer.json()["error"]["code"]) == (503, "shutting_down")
    answer = d.get("/readyz")
    assert (answer.status, answer.body) == (503, b"shutting down\n")
    assert d.get("/livez").status == 200 and d.pool_state("m")["active_leases"] == 1
    assert read_answer(s, "POST").events()[-1] == ("message", "[DONE]")
    assert d.process.wait(30) == 0


def test_beyond_loopback_without_keys_it_does_not_start(short_folder, program):
    """AUTH-1"""
    out = subprocess.run([str(program), "--model", tiny_model(), "--listen", "0.0.0.0:0"],
                         env=environment(str(short_folder)), capture_output=True, text=True, timeout=30, check=False)
    assert out.returncode == 2 and "0.0.0.0" in out.stderr


def test_a_port_in_use_is_told_and_nothing_is_left(short_folder, program):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        out = subprocess.run([str(program), "--model", tiny_model(), "--listen", "127.0.0.1:%d" % port],
                             env=environment(str(short_folder)), capture_output=True, text=True, timeout=30, check=False)
    assert out.returncode == 1
    assert str(port) in out.stderr and "pid %d" % os.getpid() in out.stderr


def test_a_runtime_folder_in_tmp_that_others_may_read_is_refused(short_folder, program):
    folder = "/tmp/pmt-open-%d" % os.getpid()
    os.mkdir(folder, 0o755)
    try:
        env = environment(str(short_folder))
        env["POOLMGR_RUNTIME_DIR"] = folder
        out = subprocess.run([str(program), "--model", tiny_model(), "--listen", "127.0.0.1:0"], env=env,
                             capture_output=True, text=True, timeout=30, check=False)
        assert out.returncode in (1, 2) and folder in out.stderr
    finally:
        os.rmdir(folder)


def test_a_child_that_a_killed_daemon_left_with_its_socket_is_waited_for(either):
    """SUP-9c: one that was being launched holds what the daemon listened on until it has become an engine's shim."""
    d = either({})
    d.kill()
    os.unlink(d.socket)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(d.socket)
        left.listen()
        threading.Timer(0.3, lambda: left.shutdown(socket.SHUT_RDWR)).start()
        d.start()
    assert d.get("/v1/pools").status == 200


def test_killed_at_random_nothing_runs_twice_and_nothing_is_left(either):
    """SUP-9c: SIGKILL of either, shims and engines, in any order; POOLMGR_TEST_SEED replays."""
    seed = int(os.environ.get("POOLMGR_TEST_SEED") or random.randrange(1 << 30))
    print("seed", seed)
    rng = random.Random(seed)
    names = ["a", "b", "c"]
    d = either({name: Daemon.faulty("stream:tokens=3", start="preload",
                                    backoff={"base": "10ms", "cap": "20ms", "jitter": 0, "open_at": 1000})
                for name in names}, {"max_parallel_starts": 3})

    def engines():
        return {pid: name for pid, name in d.left_over().items()}

    for _ in range(12):
        for what in rng.sample(["daemon", "shim", "engine"], rng.randint(1, 3)):
            pids = list(wait_until(engines, 20, "an engine") if d.process.poll() is None else engines())
            if what == "daemon":
                d.kill()
            for pid in rng.sample(pids, min(len(pids), rng.randint(1, 2))):
                try:
                    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
                        parent = int(f.read().rpartition(")")[2].split()[1])
                    if what == "engine":
                        os.kill(pid, signal.SIGKILL)
                    elif what == "shim" and parent > 1 and parent != d.process.pid:
                        os.kill(parent, signal.SIGKILL)
                except (FileNotFoundError, ProcessLookupError):
                    pass
        if d.process.poll() is not None:
            d.start()
        running = list(engines().values())
        assert len(running) == len(set(running)), running
    for name in names:
        d.wait_state(name, "ready")
        d.use(name)
    wait_until(lambda: sorted(n.split(".")[0] for n in engines().values()) == names, 20, "one engine for each pool")
    assert d.stop() == 0
    assert not d.left_over()
    assert os.listdir(d.runtime + "/instances") == []
