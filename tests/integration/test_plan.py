# SPDX-License-Identifier: Apache-2.0
"""Asking for a plan (VRAM-1, SPLIT-1): `poolctl plan` without a daemon and without a GPU, and POST /v1/plan."""
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from poolmgr_test import Daemon, ENGINE, POOLCTL, ROOT, tiny_model

sys.path.insert(0, str(ROOT / "tools"))
import make_models  # noqa: E402

GIB = 1 << 30


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model in its published shape, whose weights are holes."""
    folder = tmp_path_factory.mktemp("models")
    return lambda name: make_models.write(str(folder), name)


def plan(*arguments, cwd=None, **environment):
    return subprocess.run([str(POOLCTL), "plan", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
                          env={**os.environ, "COLUMNS": "90", **environment})


def asked(*arguments):
    done = plan(*arguments, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_does_not_fit_is_said_with_the_bytes_and_the_largest_context_that_does(published):
    path = published("qwen2.5-32b-real")
    done = plan(path, "--ctx", "8192", "--machine", "11800MiB,11800MiB", "--compute", "512MiB")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == \
        "does not fit: device 0 lacks 1.11 GiB (1193914368 bytes); the largest context that fits is 3584 tokens"
    assert "-ngl" not in done.stdout

    status, answer = asked(path, "--ctx", "8192", "--machine", "11800MiB,11800MiB", "--compute", "512MiB")
    assert (status, answer["fits"], answer["shortfall"]) == (1, False, {"device": 0, "bytes": 1193914368})
    assert answer["largest_context"] == 3584
    fits = plan(path, "--ctx", "3584", "--machine", "11800MiB,11800MiB", "--compute", "512MiB")
    assert fits.returncode == 0


def test_what_is_lacking_is_told_to_the_byte(published):
    path = published("llama-3.1-8b-real")
    asks = (path, "--ctx", "8192", "--compute", "512MiB", "--quiet", "--machine")
    lacking = 1652023552 # of 5900 MiB: DEVICES §8
    there = 5900 << 20
    done = plan(*asks, "5900MiB")
    assert done.stdout == "does not fit: device 0 lacks 1.54 GiB (%d bytes); no context does\n" % lacking
    assert plan(*asks, "%dB" % (there + lacking)).stdout == "fits; the largest context that fits is 8192 tokens\n"
    assert plan(*asks, "%dB" % (there + lacking - 1)).stdout == \
        "does not fit: device 0 lacks 1 byte; the largest context that fits is 7936 tokens\n"
    assert "lacks 1023 bytes; " in plan(*asks, "%dB" % (there + lacking - 1023)).stdout
    assert "lacks 1.0 KiB (1024 bytes); " in plan(*asks, "%dB" % (there + lacking - 1024)).stdout


def test_more_context_than_a_model_was_trained_on_is_told(published):
    path = published("qwen3-4b-real")
    done = plan(path, "--ctx", "100000", "--machine", "48", "--quiet")
    assert (done.returncode, done.stdout) == (0, "fits; it was trained on 40960 tokens, and 100000 are more\n")
    assert plan(path, "--ctx", "40960", "--machine", "48", "--quiet").stdout == \
        "fits; the largest context that fits is 40960 tokens\n"
    done = plan(path, "--ctx", "100000", "--machine", "12", "--quiet")
    assert done.returncode == 1 and done.stdout.endswith("; the largest context that fits is 40960 tokens\n")


def test_nothing_is_lacking_on_a_device_that_takes_no_part(published):
    done = plan(published("qwen3-4b-real"), "--ctx", "4096", "--machine", "40,3", "--reserve", "25GiB")
    assert done.returncode == 0
    assert "!" not in done.stdout.replace("! lacking", "")


def test_the_golden_plans_of_one_and_several_devices(published):
    """DEVICES §8, by the command line alone."""
    for name, machine, auto, balanced, used, largest in [
            ("qwen2.5-32b-real", "24000MiB,11800MiB", [65, 0], [46, 19], [15456854016, 7171784704], None),
            ("qwen2.5-32b-real", "11800MiB,11800MiB,7900MiB", [25, 26, 14], [25, 26, 14],
             [8726188032, 8882692096, 5556629504], 25600),
            ("llama-3.1-8b-real", "7900MiB", [33], [33], [6228009216], 11520),
            ("llama-3.1-70b-real", "24000MiB,24000MiB", [41, 40], [41, 40], None, None), # 40 MiB smaller than a published one
            ("llama-3.1-70b-real", "48000MiB,24000MiB", [81, 0], [56, 25], None, None)]:
        asks = (published(name), "--ctx", "8192", "--machine", machine, "--compute", "512MiB")
        status, answer = asked(*asks)
        assert (status, [device["layers"] for device in answer["devices"]]) == (0, auto)
        if largest:
            assert answer["largest_context"] == largest
        status, answer = asked(*asks, "--split", "balanced")
        assert (status, [device["layers"] for device in answer["devices"]]) == (0, balanced)
        flags = ["-sm", "layer", "-ts", ",".join(map(str, balanced))] if len(balanced) > 1 else ["-sm", "none", "-mg", "0"]
        assert answer["args"] == [*flags, "-ngl", str(sum(balanced)), "-c", "8192", "-np", "1"]
        for device, bytes_used in zip(answer["devices"], used or []):
            assert device["used_bytes"] - device["context_bytes"] == bytes_used
            assert device["used_bytes"] == sum(device[part + "_bytes"] for part in
                                               ("weights", "kv", "compute", "context"))


def test_a_plan_says_how_a_pool_has_the_same(published):
    path = published("llama-3.1-70b-real")
    for machine in ("48,24", "3,24,40", "9,9,9,9,9,9,9,9", "30,1,31", ",".join(["5"] * 15 + ["9"])):
        asks = (path, "--ctx", "4096", "--machine", machine)
        counts = [device["layers"] for device in asked(*asks, "--split", "balanced")[1]["devices"]]
        ratios = re.search(r"^tensor_split: (\[.*\])$", plan(*asks, "--split", "balanced").stdout, re.M).group(1)
        _, again = asked(*asks, "--split", ratios)
        assert [device["layers"] for device in again["devices"]] == counts
    assert "tensor_split" not in plan(path, "--ctx", "4096", "--machine", "48,24").stdout


def test_flags_have_what_was_asked_for(published):
    path = published("qwen3-4b-real")
    for option, flags in [((), []), (("--cache-k", "Q8_0", "--cache-v", "iq4_nl"), ["-ctk", "q8_0", "-ctv", "iq4_nl"]),
                          (("--cache-v", "bf16"), ["-ctv", "bf16"]), (("--unified",), ["-kvu"]),
                          (("--ubatch", "2048"), ["-ub", "2048"]), (("--ubatch", "4096"), ["-b", "4096", "-ub", "4096"])]:
        _, answer = asked(path, "--ctx", "8192", "--parallel", "2", "--machine", "48", *option)
        assert answer["args"] == ["-sm", "none", "-mg", "0", "-ngl", "37", "-c", "16384", "-np", "2", *flags]
        assert "flags %s\n" % " ".join(answer["args"]) in \
            plan(path, "--ctx", "8192", "--parallel", "2", "--machine", "48", *option).stdout


def test_the_answer_has_the_shape_of_the_api(published):
    status, answer = asked(published("qwen3-4b-real"), "--ctx", "4096", "--parallel", "2", "--machine", "24,8GiB")
    assert status == 0
    assert set(answer) == {"fits", "model", "context", "slots", "total_context", "largest_context", "host_bytes",
                           "devices", "args", "env"}
    assert (answer["context"], answer["slots"], answer["total_context"]) == (4096, 2, 8192)
    assert (answer["model"]["architecture"], answer["model"]["layers"]) == ("qwen3", 36)
    assert answer["host_bytes"] == 319065600
    # One that fits is enough, and the smallest: device 1.
    assert [d["layers"] for d in answer["devices"]] == [0, 37]
    assert answer["devices"][1]["free_bytes"] == 8 * GIB and answer["devices"][1]["reserve_bytes"] == GIB
    assert answer["env"] == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}


def test_caches_and_what_is_kept_free_change_the_plan(published):
    path = published("qwen3-4b-real")
    kv = {}
    for kind in ("f16", "q8_0", "q4_0"):
        _, answer = asked(path, "--ctx", "32768", "--machine", "24", "--cache-k", kind, "--cache-v", kind)
        kv[kind] = answer["devices"][0]["kv_bytes"] >> 20
    assert kv == {"f16": 4608, "q8_0": 2448, "q4_0": 1296}
    assert asked(path, "--ctx", "8192", "--machine", "5", "--reserve", "2GiB")[0] == 1
    assert asked(path, "--ctx", "8192", "--machine", "5", "--reserve", "512MiB")[0] == 0


def test_devices_and_ratios_are_chosen(published):
    path = published("qwen3-4b-real")
    _, answer = asked(path, "--ctx", "8192", "--machine", "24,24,24", "--devices", "2,0", "--split", "[0.5,0.5]")
    assert [d["device"] for d in answer["devices"]] == [2, 0]
    assert sorted(d["layers"] for d in answer["devices"]) == [18, 19]
    for arguments, words in [(("--devices", "3"), "3"), (("--devices", "0,,1"), "--devices"),
                             (("--devices", "cpu"), "the CPU has one memory"), (("--split", "[0.5,0.6,0]"), "not to 1"),
                             (("--split", "[0.5,nan,0]"), "ratio 2"), (("--split", "[-1,2,0]"), "ratio 1"), (("--split", "[1]"), "1 ratio for 3 devices"),
                             (("--split", "half"), "--split"), (("--cache-k", "f17"), "no type 'f17'"),
                             (("--ctx", "99999999999"), "99999999999"), (("--reserve", "lots"), "no size"),
                             (("--engine", "/nowhere/llama"), "cannot be run"), (("--engine", "/bin/ls"), "is no llama-server")]:
        done = plan(path, "--machine", "24,24,24", *arguments)
        assert done.returncode in (1, 2) and words in done.stderr, (arguments, done)
        assert "nan" not in done.stdout


def test_an_engine_is_asked_what_it_keeps_room_for(published):
    path = published("qwen3-4b-real")
    _, unknown = asked(path, "--ctx", "8192", "--machine", "24")
    _, known = asked(path, "--ctx", "8192", "--machine", "24", "--engine", ENGINE)
    assert "-fit" not in unknown["args"]
    for member in ("weights_bytes", "kv_bytes"):
        assert known["devices"][0][member] == unknown["devices"][0][member]
    if "-fit" not in known["args"]:
        pytest.skip("an old engine")
    # The logits of 512 tokens, or of one: then the feed-forward part is what counts.
    assert [plan["devices"][0]["compute_bytes"] >> 20 for plan in (unknown, known)] == [325, 86]


def test_mistakes_are_told(published, tmp_path):
    path = published("qwen3-4b-real")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    for arguments, words in [(("hf:Qwen/Qwen3-4B-GGUF", "--machine", "24"), "not downloaded yet"),
                             ((str(tmp_path / "none.gguf"), "--machine", "24"), "none.gguf"),
                             ((str(broken), "--machine", "24"), "version 0"),
                             ((path, "--machine", "24,lots"), "'lots' is no size"),
                             ((path, "--machine", ",".join(["24"] * 17)), "more than 16"),
                             ((path, "--machine"), "needs a value"),
                             ((), "usage: poolctl plan")]:
        done = plan(*arguments)
        assert done.returncode != 0 and words in done.stderr + done.stdout, (arguments, done)


def test_what_is_wrong_is_told_with_what_it_stands_at(published, tmp_path):
    path = published("qwen3-4b-real")
    for arguments, error in [(("--ctx", "-1"), "--ctx: '-1' is no number from 0 up"),
                             (("--ctx=8k",), "--ctx: '8k' is no number from 0 up"),
                             (("--machine=-1",), "--machine: '-1' is no size; write 24 (GiB) or 11800MiB, one a device"),
                             (("--split", "[0.5,0.6]"), "--split: the ratios sum to 1.1, not to 1"),
                             (("--split=layer",), "--split layer: none, auto, balanced, or ratios as [0.67,0.33], one a device"),
                             (("--devices", "0 ,1"), "--devices: a blank in the mask; write it without the blank"),
                             (("--context=3",), "unknown option --context=3 of plan; poolctl --help lists them"),
                             (("--cache-k", "f64"), "--cache-k: no type 'f64'; f16, q8_0 and q4_0 are the usual ones, and an "
                                                    "engine takes f32, bf16, q5_1, q5_0, q4_1 and iq4_nl, too"),
                             (("--ctx", str(1 << 31)), path + ": a context of 2147483648 tokens for each of 1 slots is more "
                                                              "than an engine counts (2147483647)")]:
        done = plan(path, "--machine", "24,24", *arguments)
        assert done.returncode in (1, 2) and done.stderr == "poolctl: %s\n" % error, done
    assert plan("", "--machine", "24").stderr.startswith("usage: poolctl plan ")

    # As = has it, and as a pool's model has it.
    same = [plan(*words).stdout for words in [(path, "--ctx", "8192", "--machine", "24"), (path, "--machine=24", "--ctx=8192"),
                                              ("file://" + path, "--machine=24", "--ctx", "8192")]]
    assert same[0].startswith("fits; ") and same[0] == same[1] == same[2]


def test_help_is_of_the_verb_that_is_asked():
    done = plan("--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: poolctl plan REF|POOL [--ctx N] ")
    assert "drain" not in done.stdout and "does a model fit" in done.stdout
    everything = subprocess.run([str(POOLCTL), "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert everything.returncode == 0 and all("\n  %s " % verb in everything.stdout for verb in ("plan", "drain"))


def test_names_of_files_do_not_steer_the_terminal(tmp_path):
    for name in ("\033]0;mine\a.gguf", "\u009b31m.gguf", "\x7f.gguf"):
        hostile = tmp_path / name
        assert plan(str(hostile), "--machine", "24").stderr.rstrip("\n").isprintable()
        hostile.write_bytes(open(tiny_model(), "rb").read())
        done = plan(str(hostile), "--ctx", "512", "--machine", "24")
        assert done.returncode == 0 and done.stdout.replace("\n", "").isprintable()
        assert asked(str(hostile), "--ctx", "512", "--machine", "24")[1]["model"]["ref"] == str(hostile)
    (tmp_path / "x.gguf").write_bytes(open(tiny_model(), "rb").read())
    os.rename(tmp_path / "x.gguf", bytes(tmp_path) + b"/\xff.gguf")
    done = subprocess.run([str(POOLCTL), "plan", bytes(tmp_path) + b"/\xff.gguf", "--machine", "24", "--json"],
                          capture_output=True, timeout=60, check=False)
    assert "ref" not in json.loads(done.stdout.decode())["model"]


def test_a_gpu_that_does_not_work_is_no_reason_for_the_cpu(published):
    """LOAD-5: it is told what is wrong, and how to ask all the same."""
    done = plan(published("qwen3-4b-real"), POOL_PROBE_ROOT=str(ROOT / "tests" / "trees" / "workstation"))
    assert done.returncode == 1 and not done.stdout
    assert "no GPU that can be planned on" in done.stderr and "--machine 24,12" in done.stderr


def test_bars_fit_the_terminal_and_a_picture_is_drawn(published, tmp_path):
    path = published("qwen2.5-32b-real")
    for columns in (30, 41, 42, 60, 80, 200):
        done = plan(path, "--ctx", "8192", "--machine", "24000MiB,11800MiB", "--split", "[0.7,0.3]", COLUMNS=str(columns))
        lines = done.stdout.splitlines()
        bars = [line.split()[-1] for line in lines if re.fullmatch(r"W+K+C+x+r+\.+", line.split()[-1])]
        assert len(bars) == 2 and len(bars[1]) < len(bars[0])
        # The first and the last are for copying: whole.
        assert all(len(line) <= columns for line in lines[1:] if not line.startswith(("flags ", "CUDA_", "tensor_split"))), done.stdout
        assert "\033" not in done.stdout
        # Broken nowhere but behind a comma or the like.
        assert "of 23.4 GiB: weights 12.5 GiB, KV cache 1.4 GiB, compute " in re.sub(r"\n +", " ", done.stdout)

    picture = tmp_path / "plan.svg"
    done = plan(path, "--ctx", "8192", "--machine", "11800MiB,11800MiB", "--svg", str(picture))
    root = xml.etree.ElementTree.fromstring(picture.read_text())
    assert root.tag.endswith("svg")
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(t.startswith("weights") for t in titles) == 2
    assert any(t.startswith("lacking") for t in titles) == (done.returncode == 1)


def test_a_picture_goes_where_a_link_points_and_what_is_no_file_stays(published, tmp_path):
    path = published("qwen3-4b-real")
    (tmp_path / "there.svg").write_text("an older one, longer than nothing")
    (tmp_path / "link.svg").symlink_to("there.svg")
    assert plan(path, "--machine", "24", "--svg", str(tmp_path / "link.svg")).returncode == 0
    assert (tmp_path / "link.svg").is_symlink() and "</svg>" in (tmp_path / "there.svg").read_text()

    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
    done = plan(path, "--machine", "24", "--svg", str(tmp_path / "pipe"))
    if not (tmp_path / "pipe").is_fifo():
        reader.kill()
    assert done.returncode == 0 and "</svg>" in reader.communicate(timeout=60)[0]
    for name, words in [("no/where.svg", "No such file"), ("", "Is a directory"), ("there.svg/x.svg", "Not a directory")]:
        bad = str(tmp_path / name)
        done = plan(path, "--machine", "24", "--svg", bad)
        assert done.returncode == 1 and "--svg: '%s' cannot be written: %s" % (bad, words) in done.stderr, done


def test_the_page_shows_what_is_printed(published, tmp_path):
    page = (ROOT / "docs" / "devices.md").read_text()
    shown = re.search(r"```\n(\$ poolctl plan [^`]*)```", page).group(1)
    (tmp_path / "Qwen2.5-32B-Instruct-Q4_K_M.gguf").symlink_to(published("qwen2.5-32b-real"))
    printed = ""
    for line in shown.splitlines():
        if line.startswith("$ poolctl plan "):
            printed += line + "\n" + plan(*line.split()[3:], cwd=tmp_path, COLUMNS="").stdout
    assert printed == shown

    plan("Qwen2.5-32B-Instruct-Q4_K_M.gguf", "--ctx", "8192", "--machine", "12,12,8", "--svg", "plan.svg", cwd=tmp_path)
    assert (tmp_path / "plan.svg").read_text() == (ROOT / "docs" / "plan.svg").read_text()


# ---- with a daemon ----------------------------------------------------------------------------------------


def test_a_pool_is_planned_on_the_devices_of_its_daemon(either, published):
    declared = {"devices": {"declared": {"0": "12GiB", "1": "8GiB"}, "reserve": "1GiB"}}
    quantised = ["-ctk", "q8_0", "-ctv", "q8_0"]
    pools = {"small": Daemon.pool(model=tiny_model(), devices="1", vram="100MiB", context=1024, slots=2),
             "large": Daemon.pool(model=published("qwen2.5-32b-real"), devices="0,1", vram="1GiB", context=8192,
                                  slots=1, tensor_split="auto"),
             "quant": Daemon.pool(model=published("qwen3-4b-real"), devices="0", context=32768, slots=1, args=quantised)}
    d = either(pools, more=declared)
    answer = d.post("/v1/plan", {"model": "small"}).json()
    assert answer["fits"] and [x["device"] for x in answer["devices"]] == [1]
    assert (answer["context"], answer["slots"]) == (1024, 2)
    assert answer["devices"][0]["free_bytes"] == 8 * GIB

    answer = d.post("/v1/plan", {"model": "quant"}).json()
    assert answer["devices"][0]["kv_bytes"] == 2448 << 20
    answer = d.post("/v1/plan", {"model": "large"}).json()
    assert not answer["fits"] and answer["shortfall"]["bytes"] > 0
    assert d.post("/v1/plan", {"model": "large", "machine": [{"free_bytes": 40 * GIB}], "devices": "0"}).json()["fits"]
    answer = d.post("/v1/plan", {"model": "small", "context": 2048, "slots": 1, "devices": "0"}).json()
    assert (answer["total_context"], answer["devices"][0]["device"]) == (2048, 0)

    done = subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, "plan", "large"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and done.stdout.startswith("does not fit: device ")
    assert d.pool_state("small")["state"] == "cold"
    for option in (("--cache-k", "q8_0"), ("--reserve", "1GiB"), ("--unified",), ("--split", "auto")):
        done = subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, "plan", "large", *option],
                              capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "goes with a file" in done.stderr) == (2, True), done

    for body, status, param in [({"model": "nobody"}, 404, "model"), ({"model": 3}, 400, "model"),
                                ({"model": "small", "devices": "0,,1"}, 400, "devices"),
                                ({"model": "small", "devices": "7"}, 400, "devices"),
                                ({}, 400, "model"),
                                ({"model": "small", "context": -1}, 400, "context"),
                                ({"model": "small", "context": 1 << 30}, 400, "context"), # of 2 slots
                                ({"model": "small", "context": 1 << 31, "slots": 1}, 400, "context"),
                                ({"model": "small", "slots": 65537}, 400, "slots"),
                                ({"model": "small", "slots": "two"}, 400, "slots"),
                                ({"model": "small", "machine": []}, 400, "machine"),
                                ({"model": "small", "machine": [{"free_bytes": 0}]}, 400, "machine"),
                                ({"model": "small", "size": 3}, 400, "size")]:
        answer = d.post("/v1/plan", body)
        assert answer.status == status, (body, answer.body)
        assert answer.json()["error"]["param"] == param, (body, answer.body)


def test_a_pool_without_gpus_is_planned_on_a_machine_that_may_be(either, published):
    d = either({"cpu": Daemon.pool(model=published("qwen3-4b-real")), "auto": Daemon.pool(devices="auto")})
    assert d.post("/v1/plan", {"model": "cpu"}).json()["on_cpu"]
    assert d.post("/v1/plan", {"model": "cpu", "devices": "none"}).json()["on_cpu"]
    refused = d.post("/v1/plan", {"model": "cpu", "devices": "all"})
    assert refused.status in (400, 409) and refused.json()["error"]["param"] == "devices", refused.body
    answer = d.post("/v1/plan", {"model": "cpu", "machine": [{"free_bytes": 24 * GIB}]}).json()
    assert answer["fits"] and "on_cpu" not in answer
    done = subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, "plan", "cpu", "--machine", "8,8"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.startswith("fits; ")) == (0, True), done


def test_a_pool_on_the_cpu_is_planned_in_the_machines_memory(daemon, published):
    """VRAM-1: weights are there once, the host's with the rest; with the bytes that are lacking it fits."""
    d = daemon({"a": Daemon.pool(model=published("qwen3-4b-real"), context=8192, slots=1)},
               {"devices": {"declared": {"cpu": "4GiB"}, "reserve": {"cpu": "1GiB"}}})
    answer = d.post("/v1/plan", {"model": "a"}).json()
    on = answer["devices"][0]
    assert answer["on_cpu"] and not answer["fits"] and len(answer["devices"]) == 1
    assert (on["free_bytes"], on["reserve_bytes"], on["context_bytes"]) == (4 * GIB, GIB, 0)
    assert (on["weights_bytes"], on["kv_bytes"]) == (319065600 + 2172248064 + 10240, 1152 << 20)
    assert answer["shortfall"]["bytes"] == on["used_bytes"] - 3 * GIB
    assert 0 < answer["largest_context"] < 8192
    assert (answer["args"][:4], answer["env"]) == (["--device", "none", "-ngl", "0"], {})
    for lacks in (0, 1):
        answer = d.post("/v1/plan", {"model": "a", "devices": "cpu",
                                     "machine": [{"free_bytes": on["used_bytes"] - lacks}]}).json()
        assert (answer["fits"], answer.get("shortfall", {}).get("bytes", 0)) == (not lacks, lacks)
    error = d.refusal("a")
    assert error["code"] == "never_fits" and "%d bytes are missing" % (on["used_bytes"] - 3 * GIB) in error["message"]
    done = subprocess.run([str(POOLCTL), "--url", "unix:" + d.socket, "plan", "a"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stdout.startswith("does not fit: the CPU lacks "), done


def test_a_file_is_planned_for_the_cpu_of_this_machine_or_of_another(published):
    path = published("qwen3-4b-real")
    status, answer = asked(path, "--devices", "cpu", "--machine", "16", "--ctx", "8192")
    assert (status, answer["fits"], answer["on_cpu"]) == (0, True, True)
    assert answer["devices"][0]["free_bytes"] == 16 * GIB and answer["devices"][0]["reserve_bytes"] == 0
    assert "host memory" not in plan(path, "--devices", "cpu", "--machine", "16").stdout
    assert asked(tiny_model(), "--devices", "cpu")[1]["on_cpu"]
    assert plan(path, "--devices", "cpu", "--machine", "16,16").returncode == 2


def test_where_there_is_no_gpu_a_file_is_planned_on_the_cpu_as_a_pool_runs_there(tmp_path):
    """LOAD-5: it is said; and a GPU that is asked for is not there."""
    for arguments in ((), ("--devices", "auto")):
        done = plan(tiny_model(), *arguments, POOL_PROBE_ROOT=str(tmp_path))
        assert done.returncode == 0 and done.stdout.startswith("fits"), done
        assert "no GPU in this machine: planned on the CPU" in done.stderr
        assert re.search(r"^  cpu +\d+ layers", done.stdout, re.M) and "reserve" not in done.stdout.split("\n")[3]
    done = plan(tiny_model(), "--devices", "0", POOL_PROBE_ROOT=str(tmp_path))
    assert done.returncode == 2 and "there is no GPU 0 here" in done.stderr


def test_a_model_that_cannot_be_read_is_said(daemon, tmp_path):
    d = daemon({"gone": Daemon.pool(model=str(tmp_path / "gone.gguf"), devices="0", vram="1GiB")},
               more={"devices": {"declared": {"0": "12GiB"}}})
    answer = d.post("/v1/plan", {"model": "gone"})
    assert "gone.gguf" in answer.json()["error"]["message"]
    assert answer.status in (404, 503)


def test_a_projector_and_a_draft_take_their_room_on_the_first_device(daemon, tmp_path):
    """VRAM-1: a plan counts what a start would."""
    draft, gone = tmp_path / "draft.gguf", tmp_path / "gone.gguf"
    draft.write_bytes(open(tiny_model(), "rb").read())
    size = draft.stat().st_size
    declared = {"devices": {"declared": {"0": "12GiB"}}}
    models = {"alone": tiny_model(), "both": {"main": tiny_model(), "mmproj": tiny_model(), "draft": str(draft)},
              "without": {"main": tiny_model(), "mmproj": str(gone)}}
    d = daemon({name: Daemon.pool(model=model, devices="0", context=1024) for name, model in models.items()}, more=declared)
    alone, both = (d.post("/v1/plan", {"model": name}).json()["devices"][0] for name in ("alone", "both"))
    assert both["weights_bytes"] == alone["weights_bytes"] + 2 * size
    assert both["used_bytes"] == alone["used_bytes"] + 2 * size
    refused = d.post("/v1/plan", {"model": "without"})
    assert refused.status == 503 and "gone.gguf does not exist" in refused.json()["error"]["message"]
