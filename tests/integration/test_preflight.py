# SPDX-License-Identifier: Apache-2.0
"""PRE-1, LOAD-2: is this machine fit? By poolctl alone, by the daemon, and before every start."""
import json
import os
import pty
import resource
import socket
import subprocess

import pytest

from poolmgr_test import Daemon, POOLCTL, wait_until

WORDS = {"pass", "warn", "fail"}


def run(folder, *arguments, config="", path=None, **environment):
    """poolctl without a daemon: in folders of its own, which are not there."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("POOLMGR_", "XDG_"))}
    for kind in ("RUNTIME", "STATE", "CACHE", "LOG"):
        env["POOLMGR_%s_DIR" % kind] = os.path.join(folder, kind.lower())
    env["POOLMGR_CONFIG"] = os.path.join(folder, "config.yaml")
    env.update({"PATH": path} if path else {}, **environment)
    with open(env["POOLMGR_CONFIG"], "w", encoding="utf-8") as f:
        f.write(config if "listen" in config else config + "listen: 127.0.0.1:0\n")    # others test here, too
    return subprocess.run([str(POOLCTL), *arguments], capture_output=True, text=True, timeout=60, check=False, env=env)


def checks(text):
    """code → its verdicts, of which each is whole."""
    found = {}
    for check in json.loads(text)["checks"]:
        assert set(check) <= {"code", "group", "status", "finding", "value", "value_bytes", "text", "fix"}, check
        assert check["status"] in WORDS and check["text"] and (check["status"] == "pass") == ("finding" not in check)
        assert (check["status"] == "pass") == ("fix" not in check), check
        found.setdefault(check["code"], []).append(check)
    return found


def test_it_works_without_a_daemon_and_leaves_nothing_behind(short_folder):
    done = run(short_folder, "preflight", "--json")
    found = checks(done.stdout)
    assert {"kernel", "cgroup", "gpu", "engine", "disk_state", "memory", "descriptors", "listen", "clock"} <= set(found)
    assert os.listdir(short_folder) == ["config.yaml"]
    assert done.returncode == (0 if json.loads(done.stdout)["ok"] else 1)


def test_the_exit_status_is_the_answer_and_the_text_has_a_line_a_check(short_folder):
    empty = os.path.join(short_folder, "bin")
    os.mkdir(empty)
    bad = run(short_folder, "preflight", "--mode", "source", path=empty)
    assert bad.returncode == 1 and bad.stdout.splitlines()[0] == "as poolctl sees it"
    lines = bad.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "tool_git" in line)
    assert lines[at].split()[:2] == ["fail", "tool_git"] and lines[at + 1].startswith("        fix: ")
    assert lines[-1].startswith("not fit: ") and "\033" not in bad.stdout
    n = sum(line.startswith(("  pass", "  warn", "  fail")) for line in lines)
    assert lines[-1].split(": ")[1] == "%d pass, %d warn, %d fail" % tuple(
        sum(line.startswith("  " + word) for line in lines) for word in ("pass", "warn", "fail")) and n > 15

    good = run(short_folder, "preflight", "--mode", "external")
    assert (good.returncode, good.stdout.splitlines()[-1].startswith("fit: ")) == (0, True), good
    assert run(short_folder, "preflight", "--mode", "source", "--quiet", path=empty).stdout == ""


def test_colours_are_for_terminals(short_folder):
    parent, child = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    env.update({"POOLMGR_%s_DIR" % k: short_folder + "/" + k.lower() for k in ("RUNTIME", "STATE", "CACHE", "LOG")})
    subprocess.run([str(POOLCTL), "preflight", "--mode", "external"], stdout=child, timeout=60, check=False, env=env)
    os.close(child)
    assert b"\033[32mpass\033[0m" in os.read(parent, 65536)
    os.close(parent)


def test_a_wrong_configuration_is_a_finding_and_the_rest_is_checked_all_the_same(short_folder):
    done = run(short_folder, "preflight", "--json", config="pols: {}\n")
    found = checks(done.stdout)
    assert done.returncode == 1 and found["configuration"][0]["finding"] == "config_invalid"
    assert "config.yaml:1:1" in found["configuration"][0]["text"] and "memory" in found


def test_wrong_use_is_refused(short_folder):
    for arguments, words in [(("--mode", "sauce"), "did you mean 'source'?"), (("--mode", "x"), "there are: external"),
                             (("now",), "usage: poolctl preflight"), (("--mode",), "usage: poolctl preflight")]:
        done = run(short_folder, "preflight", *arguments)
        assert (done.returncode, words in done.stderr) == (2, True), done


def test_who_holds_a_port_is_named(short_folder):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = run(short_folder, "preflight", "--json", config="listen: 127.0.0.1:%d\n" % port)
        check = checks(done.stdout)["listen"][0]
        assert check["finding"] == "port_taken" and "process %d (" % os.getpid() in check["text"], check
        assert ":%d" % port in check["fix"]


def test_a_limit_on_descriptors_is_compared_with_the_connections_that_are_wanted(short_folder):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))

    env = {**os.environ, "POOLMGR_CONFIG": short_folder + "/config.yaml", "POOLMGR_RUNTIME_DIR": short_folder + "/run"}
    with open(env["POOLMGR_CONFIG"], "w", encoding="utf-8") as f:
        f.write("limits: { connections: 1000 }\nlisten: 127.0.0.1:0\n")
    done = subprocess.run([str(POOLCTL), "preflight", "--json"], capture_output=True, text=True, timeout=60,
                          check=False, env=env, preexec_fn=few)
    check = checks(done.stdout)["descriptors"][0]
    assert (check["finding"], check["value"], "2064" in check["text"]) == ("descriptors_short", "512", True), check


def test_the_daemon_is_asked_where_one_answers(either):
    d = either({"fox": Daemon.pool()})
    answer = d.post("/v1/preflight")
    assert answer.status == 200
    found = checks(answer.body)
    assert all(c["status"] == "pass" and "our own daemon" in c["text"]
               for c in found["listen"] if not c["value"].endswith(":0")), found["listen"]
    assert found["engine"][0]["status"] == "pass" and found["disk_state"][0]["value_bytes"] > 0
    assert all("engine" not in checks(d.post("/v1/preflight", {"mode": mode}).body)
               for mode in ("source", "container", "models", "external"))

    environment = {**os.environ, "POOLMGR_RUNTIME_DIR": d.runtime}
    done = subprocess.run([str(POOLCTL), "preflight"], capture_output=True, text=True, timeout=60, check=False,
                          env=environment)
    assert done.stdout.startswith("as the daemon sees it\n"), done
    done = subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, "--json", "preflight", "--mode", "models"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert "tool_oras" in checks(done.stdout)
    gone = subprocess.run([str(POOLCTL), "--url", "unix:/tmp/no.sock", "preflight"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert gone.returncode == 4


def test_bad_bodies_are_refused_by_name(daemon):
    d = daemon({"fox": Daemon.pool()})
    for body in ({"mode": "sauce"}, {"mode": 1}, {"mode": None}, {"colour": "red"}):
        answer = d.post("/v1/preflight", body)
        assert answer.status == 400 and answer.json()["error"]["param"] == list(body)[0], answer.body


def test_many_ask_at_once_and_some_leave(daemon):
    d = daemon({"fox": Daemon.pool()})
    sockets = []
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", d.port))
        s.sendall(b"POST /v1/preflight HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        sockets.append(s)
    for s in sockets[::2]:
        s.close()
    assert all(b"200 OK" in s.recv(65536) for s in sockets[1::2])
    for s in sockets[1::2]:
        s.close()
    d.use("fox")


# ---- GPUs that are not there ---------------------------------------------------------------------------------

def test_the_driver_and_its_devices_are_judged_with_and_without_a_daemon(daemon, short_folder, gpus):
    g = gpus(2)
    config = "devices: { nvml: %s }\n" % g.library
    found = checks(run(short_folder, "preflight", "--json", config=config, **g.environment).stdout)
    assert found["gpu"][0]["value"] == "2" and [c["value"] for c in found["device"]] == [g.uuid(0), g.uuid(1)]
    assert all(c["status"] == "pass" for c in found["device"] + found["driver"]), found

    d = daemon({"fox": Daemon.pool()}, {"devices": {"nvml": g.library}}, environment=g.environment)
    again = checks(d.post("/v1/preflight").body)
    assert [c["value"] for c in again["device"]] == [c["value"] for c in found["device"]]


@pytest.mark.parametrize("change, code, finding", [
    (lambda g: g.call("nvmlInit_v2", "code=9"), "driver", "driver_not_loaded"),
    (lambda g: g.call("nvmlInit_v2", "code=18"), "driver", "driver_mismatch"),
    (lambda g: g.call("nvmlInit_v2", "code=17"), "driver", "driver_blocked"),
    (lambda g: g.option(stub=1), "driver", "library_stub"),
    (lambda g: g.set(1, code=15), "device", "device_lost"),
    (lambda g: g.set(1, code=16), "device", "device_reset_required"),
    (lambda g: g.set(1, code=4), "device", "device_denied"),
    (lambda g: g.set(1, mig_capable=1, mig_pending=1), "device", "mig_pending"),
    (lambda g: g.set(1, compute_mode=2), "device", "compute_prohibited"),
    (lambda g: g.set(1, remap_pending=1), "device", "remap_pending"),
])
def test_each_fault_of_driver_and_device_is_told_by_its_name(short_folder, gpus, change, code, finding):
    g = gpus(2)
    change(g)
    config = "devices: { nvml: %s }\n" % g.library
    done = run(short_folder, "preflight", "--json", "--mode", "external", config=config, **g.environment)
    found = [c.get("finding") for c in checks(done.stdout)[code]]
    assert finding in found and len(found) == (1 if code == "driver" else 2), found
    assert done.returncode == (0 if finding == "remap_pending" else 1)


def test_pools_for_gpus_on_a_machine_without_one_are_told(short_folder):
    done = run(short_folder, "preflight", "--json", config="gpu_only: true\n")
    found = checks(done.stdout)["gpu"]
    if found[0]["value"] == "0":
        assert found[0]["finding"] == "gpu_missing" and done.returncode == 1


# ---- before every start --------------------------------------------------------------------------------------

def test_a_runtime_folder_that_is_full_is_named_and_tried_again(daemon, tmp_path):
    """LOAD-2, SUP-6: what is short now may not be the next time."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    script = tmp_path / "small"
    script.write_text("#!/bin/sh\nmkdir -p $POOLMGR_RUNTIME_DIR && mount -t tmpfs -o size=2m,mode=700 none "
                      "$POOLMGR_RUNTIME_DIR\nexec \"$@\"\n", encoding="ascii")
    script.chmod(0o755)
    d = daemon({"fox": Daemon.pool(backoff={"base": "100ms", "cap": "200ms", "open_at": 1000})},
               wrapper=("unshare", "-m", str(script)))
    filler = "/proc/%d/root%s/filler" % (d.process.pid, d.runtime)
    with open(filler, "wb") as f:
        f.write(b"x" * (1536 << 10))
    d.post("/v1/pools/fox/start?wait=100ms")
    last = wait_until(lambda: d.pool_state("fox")["replicas"][0].get("last_error"), 30, "the refusal")
    assert last["code"] == "disk_full" and "an instance needs 1 MiB" in last["text"], last
    check = checks(d.post("/v1/preflight").body)["disk_runtime"][0]
    assert check["finding"] == "disk_full" and check["value_bytes"] < 1 << 20
    os.unlink(filler)
    d.use("fox")
