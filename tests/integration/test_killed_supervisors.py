# SPDX-License-Identifier: Apache-2.0
"""Who supervises an engine may die, too: daemon, shim, or both, at an awkward moment. Afterwards no engine runs twice,
none runs unwatched, and nothing of a tree is left over (each test ends with that proof)."""
import os
import signal
import time

from poolmgr_test import Daemon, TEXT, alive, read_answer, wait_until


def starts(path):
    """How often the fault engine was started; it adds a line each time."""
    try:
        with open(path, encoding="ascii") as f:
            return len(f.readlines())
    except FileNotFoundError:
        return 0


def parent_of(pid):
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
        return int(f.read().rpartition(")")[2].split()[1])


def test_a_killed_daemon_leaves_engines_that_the_next_one_adopts(either, tmp_path):
    """SUP-9c: the same process, one start in all, and a deaf helper of it is not left over in the end."""
    count = tmp_path / "starts"
    d = either({"tiny": Daemon.faulty("start:setsid=1", env={"FAULT_STARTS": str(count)})})
    d.use("tiny", TEXT)
    pid = d.pool_state("tiny")["replicas"][0]["pid"]
    d.kill()
    assert alive(pid)
    mark = d.mark()
    d.start()
    d.wait("instance_adopted", after=mark, pool_id="tiny")
    d.use("tiny", TEXT)
    assert d.pool_state("tiny")["replicas"][0]["pid"] == pid and starts(count) == 1


def test_an_engine_that_ended_while_nobody_was_there_is_judged_by_its_record(either, tmp_path):
    """SUP-9b: exit.json is what the next daemon knows."""
    orders = tmp_path / "orders"
    orders.write_text("")
    d = either({"frail": Daemon.faulty("", env={"FAULT_FILE": str(orders)})})
    d.use("frail", TEXT)
    pid = d.pool_state("frail")["replicas"][0]["pid"]
    shim = parent_of(pid)
    d.kill()
    os.kill(pid, signal.SIGSEGV)
    wait_until(lambda: not alive(shim), 20, "the end of the shim")
    d.start()
    d.use("frail", TEXT)
    wait_until(lambda: len(os.listdir(d.runtime + "/instances")) == 1, 20, "the removal of the dead folder")


def test_a_killed_shim_takes_engine_and_strays_along(either):
    """SUP-9c"""
    d = either({"tiny": Daemon.faulty("start:fork=2,start:setsid=2", start="preload")})
    d.wait("instance_ready", pool_id="tiny")
    pids = wait_until(lambda: len(d.left_over()) == 5 and d.left_over(), 20, "the engine and its helpers")
    mark = d.mark()
    os.kill(parent_of(d.pool_state("tiny")["replicas"][0]["pid"]), signal.SIGKILL)
    d.wait("instance_crashed", after=mark, pool_id="tiny")
    wait_until(lambda: not any(alive(pid) for pid in pids), 20, "the end of the whole tree")
    d.wait("instance_ready", after=mark, pool_id="tiny")
    d.use("tiny", TEXT)


def test_strays_of_a_killed_daemon_and_shim_are_killed_by_the_next_daemon(either):
    """SUP-9c: SIGKILL of both; the helper in another session lives until somebody looks for it."""
    d = either({"tiny": Daemon.faulty("start:setsid=2")})
    d.use("tiny", TEXT)
    pids = wait_until(lambda: len(d.left_over()) == 3 and d.left_over(), 20, "the engine and its helpers")
    engine = d.pool_state("tiny")["replicas"][0]["pid"]
    shim = parent_of(engine)
    d.kill()
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: not alive(engine), 20, "the end of the engine")
    assert sum(alive(pid) for pid in pids) == 2
    d.start()
    wait_until(lambda: not any(alive(pid) for pid in pids), 20, "the end of the strays")
    d.use("tiny", TEXT)


def test_a_stopped_shim_holds_up_no_stop_for_ever(either):
    """SUP-9a, INV-16: ten seconds without a word, and it is killed; its engine dies with it."""
    d = either({"tiny": Daemon.faulty("")})
    d.use("tiny", TEXT)
    engine = d.pool_state("tiny")["replicas"][0]["pid"]
    shim = parent_of(engine)
    os.kill(shim, signal.SIGSTOP)
    begun = time.monotonic()
    assert d.stop() == 0
    assert 9 < time.monotonic() - begun < 40
    assert not alive(engine) and not alive(shim)


def test_streams_under_way_are_broken_off_when_the_shim_is_killed(daemon):
    """SUP-1, GW-3a"""
    d = daemon({"slow": Daemon.faulty("stream:delay=100")})
    s = d.open_chat("slow", stream=True)
    wait_until(lambda: d.pool_state("slow")["active_leases"] == 1, 20, "the stream's lease")
    os.kill(parent_of(d.pool_state("slow")["replicas"][0]["pid"]), signal.SIGKILL)
    answer = read_answer(s, "POST")
    assert answer.status == 502 or (not answer.complete and "engine_crashed" in answer.events()[-1][1])
