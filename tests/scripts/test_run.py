# SPDX-License-Identifier: Apache-2.0
"""`make run` and `make demo` as users meet them. They build what is released, so the first of these takes longest."""
import os
import signal
import socket
import subprocess
import time

import pytest

from poolmgr_test import ENGINE, ROOT
from poolmgr_test.paths import TEXT, tiny_model

pytestmark = pytest.mark.xdist_group("run")      # they share build/release and build/run

LEFT_OVER = str(ROOT / "scripts" / "left_over.py")


def environment(**more):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("POOLMGR_")}
    return {**clean, "ENGINE": ENGINE, **more}


def make(target, **more):
    return subprocess.run(["make", "-s", "-C", str(ROOT), target], env=environment(**more), capture_output=True, text=True,
                          timeout=300, check=False)


def test_demo_shows_the_streamed_text_and_leaves_nothing_behind():
    done = make("demo")
    assert done.returncode == 0, done.stderr
    assert TEXT in done.stdout
    assert "curl -sN http://127.0.0.1:" in done.stdout
    assert done.stderr.endswith("== stopped; no process is left\n")


def test_demo_takes_a_users_model_and_names_the_pool_after_it(tmp_path):
    os.symlink(tiny_model(), tmp_path / "My Model-Q4_K_M.gguf")
    done = make("demo", MODEL=str(tmp_path / "My Model-Q4_K_M.gguf"))
    assert done.returncode == 0, done.stderr
    assert TEXT in done.stdout


@pytest.mark.parametrize("more, words", [
    ({"MODEL": "/nowhere/model.gguf"}, "MODEL=/nowhere/model.gguf: no such file"),
    ({"ENGINE": "/nowhere/llama-server"}, "ENGINE=/nowhere/llama-server: no such program"),
    ({"MODEL": "/etc/hostname"}, "refused: "),
    ({"ENGINE": "/bin/false"}, "refused: "),
])
def test_what_is_wrong_is_said_in_words(more, words):
    done = make("demo", **more)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_in_words():
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = make("demo", PORT=str(server.getsockname()[1]))
    assert done.returncode != 0
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_stays_and_ctrl_c_stops_everything():
    with subprocess.Popen(["make", "-s", "-C", str(ROOT), "run"], env=environment(PORT="0"), text=True,
                          start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said = ""
        deadline = time.monotonic() + 240
        while "serving until Ctrl-C" not in said and time.monotonic() < deadline:
            line = process.stderr.readline()
            assert line, said
            said += line
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert TEXT in out
    assert "stopping" in err
    assert "== stopped\n" in err


def test_a_process_of_an_engine_that_is_left_is_found_and_no_other(tmp_path):
    def left():
        return subprocess.run([LEFT_OVER, str(tmp_path)], capture_output=True, text=True, check=True).stdout.split()

    plain = {k: v for k, v in os.environ.items() if k != "POOLMGR_INSTANCE"}
    commands = [
        (["sleep", "60"], {**plain, "POOLMGR_INSTANCE": "a.1"}),                              # another daemon's
        (["sh", "-c", "sleep 60; :", str(tmp_path)], plain),                                  # no engine
        (["sh", "-c", "sleep 60; :", str(tmp_path)], {**plain, "POOLMGR_INSTANCE": "a.1"}),   # found
    ]
    processes = [subprocess.Popen(command, env=env, start_new_session=True) for command, env in commands]
    try:
        deadline = time.monotonic() + 10
        while not left() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left() == [str(processes[2].pid)]
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert left() == []
