#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: serve.py      in the folder that pack.sh made, on a machine with an NVIDIA GPU

The product as a person would use it, with a real engine (llama-server by Vulkan) and models of 300 MB and 2 GB: what
is found, planned, started, measured, evicted and refused there. It judges nothing: what it prints is to be read.
"""
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.realpath(__file__))
WORK = "/tmp/poolmgr-hw-serve"
PORT = 8123
POOLCTL = os.path.join(HERE, "poolctl")
DRIVER_FILES = {"VK_DRIVER_FILES": "vulkan/icd.d/nvidia_icd.json",
                "__EGL_VENDOR_LIBRARY_FILENAMES": "glvnd/egl_vendor.d/10_nvidia.json"}


def show(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60)
    print("$", os.path.basename(words[0]), *words[1:])
    print(done.stdout.decode("utf-8", "replace"))


def ask_daemon(*words):
    show(POOLCTL, "--url", "http://127.0.0.1:%d" % PORT, *words)


def engine():
    with open(os.path.join(HERE, "engine.home"), encoding="utf-8") as f:
        home = f.read().strip()
    if not os.path.exists(home):
        os.makedirs(home, mode=0o700)
        subprocess.run(["tar", "-xJf", os.path.join(HERE, "engine.tar.xz"), "-C", home], check=True)
    variables = {"LD_LIBRARY_PATH": home + "/usr/lib/display"}
    for name, file in DRIVER_FILES.items():
        for folder in ("/usr/local/nvidia/share", "/etc", "/usr/share"):
            if os.path.exists(os.path.join(folder, file)):
                variables.setdefault(name, os.path.join(folder, file))
    return {"path": home + "/usr/bin/llama-server", "env": variables}


def model(name, *options):
    path = os.path.join(WORK, name)
    show(sys.executable, os.path.join(HERE, "make_tiny_gguf.py"), path, *options)
    return path


def write_config():
    small = model("small.gguf", "--size-mb", "300", "--layers", "8", "--embd", "512", "--heads", "8", "--sparse")
    large = model("large.gguf", "--size-mb", "2048", "--layers", "16", "--embd", "1024", "--sparse")
    folders = {name + "_dir": os.path.join(WORK, name) for name in ("runtime", "state", "cache", "log")}
    pools = {"small": {"model": small, "slots": 4, "context": 4096}, "large": {"model": large, "slots": 1},
             "huge": {"model": large, "slots": 1, "vram": "77GiB"}, "never": {"model": large, "vram": "900GiB"},
             "cpu": {"model": small, "devices": "cpu"}, "wrong": {"model": small, "devices": "9"}}
    with open(os.path.join(WORK, "config.yaml"), "w", encoding="utf-8") as f:
        json.dump({"listen": "127.0.0.1:%d" % PORT, **folders, "engines": {"llama": engine()}, "pools": pools}, f)
    return f.name


def chat(pool):
    body = json.dumps({"model": pool, "messages": [{"role": "user", "content": "hi"}]}).encode()
    begun = time.monotonic()
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/v1/chat/completions" % PORT, body, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as e:
        status, text = e.code, e.read()
    print("%s answers %d after %.2f s: %.300s" % (pool, status, time.monotonic() - begun, text.decode()))


def use():
    time.sleep(2)
    ask_daemon("devices")
    ask_daemon("plan", "small")
    for pool in ("small", "large", "cpu", "wrong", "never"):
        chat(pool)
    time.sleep(6)       # until what they took was looked at
    ask_daemon("ps")
    ask_daemon("devices")
    show("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv")
    chat("huge")        # where it fits on the card: in place of the one that was used longest ago
    chat("small")
    ask_daemon("ps")
    ask_daemon("preflight")


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK, mode=0o700)
    config = write_config()
    with open(os.path.join(WORK, "events.jsonl"), "w", encoding="utf-8") as events:
        daemon = subprocess.Popen([os.path.join(HERE, "orchestratord"), "--config", config], stderr=events)
    try:
        use()
    finally:
        daemon.terminate()
        print("the daemon ended with status", daemon.wait(60))
        show("nvidia-smi", "--query-gpu=memory.used,memory.free", "--format=csv")
    with open(events.name, encoding="utf-8") as f:
        for event in map(json.loads, f):
            print(event["time"], event["level"], event["human"])


if __name__ == "__main__":
    main()
