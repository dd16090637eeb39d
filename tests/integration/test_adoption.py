# SPDX-License-Identifier: Apache-2.0
"""SUP-9a, 9c: engines outlive a killed daemon, are adopted by the next one, or end; never a second copy."""
import os
import signal

from poolmgr_test import Daemon, TEXT, alive, wait_until

NAMES = ["p0", "p1", "p2", "p3", "p4"]


def start_five(either, **more):
    d = either({name: Daemon.pool(start="preload") for name in NAMES},
               {"max_parallel_starts": 5, **more})
    for name in NAMES:
        d.wait("instance_ready", pool_id=name)
    return d, {name: d.pool_state(name)["replicas"][0]["pid"] for name in NAMES}


def test_five_engines_of_a_killed_daemon_are_adopted_and_serve_on(either):
    """SUP-9c: SIGKILL of the daemon: same processes, no second copy, whole answers."""
    d, pids = start_five(either)
    d.kill()
    assert all(alive(pid) for pid in pids.values())

    mark = d.mark()
    d.start()
    for name in NAMES:
        d.wait("instance_adopted", pool_id=name, after=mark)
    assert d.count("instance_starting", after=mark) == 0
    for name in NAMES:
        wait_until(lambda: "pid" in d.pool_state(name)["replicas"][0], 20, "its shim to say what it runs")
        replica = d.pool_state(name)["replicas"][0]
        assert replica["pid"] == pids[name] and replica["instance"] == name + ".1"
        d.use(name, TEXT)
    assert d.stop() == 0
    assert not any(alive(pid) for pid in pids.values())


def test_five_engines_nobody_comes_back_for_end_after_the_timeout(either):
    """SUP-9b: orphan_timeout."""
    d, pids = start_five(either, orphan_timeout="1s")
    d.kill()
    wait_until(lambda: not any(alive(pid) for pid in pids.values()), 30, "the end of the orphans")
    wait_until(lambda: not d.left_over(), 30, "the end of their shims")

    mark = d.mark()
    d.start()
    for name in NAMES:
        d.wait("instance_ready", pool_id=name, after=mark)
        d.use(name, TEXT)
    assert len([n for n in os.listdir(d.runtime + "/instances")]) == 5


def test_an_engine_with_other_settings_is_stopped_not_adopted(either):
    """SUP-9a: what runs is what the file says."""
    d = either({"tiny": Daemon.pool(slots=2)})
    d.use("tiny", TEXT)
    pid = d.pool_state("tiny")["replicas"][0]["pid"]
    d.kill()

    d.write_config({"tiny": Daemon.pool(slots=3)})
    mark = d.mark()
    d.start()
    d.use("tiny", TEXT)
    pool = d.pool_state("tiny")
    assert pool["slots_total"] == 3 and pool["replicas"][0]["pid"] != pid
    assert d.count("instance_adopted", after=mark) == 0
    wait_until(lambda: not alive(pid), 30, "the end of the engine of the old settings")
    wait_until(lambda: os.listdir(d.runtime + "/instances") == ["tiny.2"], 30, "only the new instance's folder")


def test_an_engine_of_a_pool_that_is_gone_is_stopped(either):
    """SUP-9a"""
    d = either({"old": Daemon.pool(), "new": Daemon.pool()})
    d.use("old", TEXT)
    pid = d.pool_state("old")["replicas"][0]["pid"]
    d.kill()
    d.write_config({"new": Daemon.pool()})
    d.start()
    wait_until(lambda: not alive(pid), 30, "the end of the engine of a pool that is gone")
    d.use("new", TEXT)


def test_a_killed_shim_takes_its_engine_along_and_the_pool_starts_again(either):
    """SUP-9c: SIGKILL of the shim."""
    d = either({"tiny": Daemon.pool()})
    d.use("tiny", TEXT)
    replica = d.pool_state("tiny")["replicas"][0]
    with open("/proc/%d/stat" % replica["pid"], encoding="ascii") as f:
        shim = int(f.read().rpartition(")")[2].split()[1])
    mark = d.mark()
    os.kill(shim, signal.SIGKILL)
    d.wait("instance_crashed", after=mark, pool_id="tiny")
    wait_until(lambda: not alive(replica["pid"]), 10, "the end of the engine")
    d.use("tiny", TEXT)


def test_daemon_and_shims_killed_leave_nothing_behind_and_the_next_daemon_serves(either):
    """SUP-9c: SIGKILL of both."""
    d, pids = start_five(either)
    shims = []
    for pid in pids.values():
        with open("/proc/%d/stat" % pid, encoding="ascii") as f:
            shims.append(int(f.read().rpartition(")")[2].split()[1]))
    d.kill()
    for shim in shims:
        os.kill(shim, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in pids.values()), 10, "the end of the engines")
    mark = d.mark()
    d.start()
    for name in NAMES:
        d.wait("instance_ready", pool_id=name, after=mark)
        d.use(name, TEXT)


def test_sigusr2_leaves_the_engines_to_the_next_daemon(either):
    """SUP-9d"""
    d = either({"tiny": Daemon.pool()})
    d.use("tiny", TEXT)
    pid = d.pool_state("tiny")["replicas"][0]["pid"]
    d.process.send_signal(signal.SIGUSR2)
    assert d.process.wait(30) == 0
    assert alive(pid)
    mark = d.mark()
    d.start()
    d.wait("instance_adopted", after=mark, pool_id="tiny")
    d.use("tiny", TEXT)
    assert d.pool_state("tiny")["replicas"][0]["pid"] == pid
