# SPDX-License-Identifier: Apache-2.0
"""Group 8: a real llama-server on this GPU through Vulkan, where one was carried along. What it says of its buffers is
compared with what NVML sees."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from . import memory, vulkan
from .child import ChildFailed, end, run
from .harness import HERE, Skip
from .report import mib

SENTENCE = "A real engine by Vulkan: its buffer lines, NVML's bytes, and what comes back"

BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute|output|host) buffer size\s*=\s*([0-9.]+) MiB")
OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers")


def unpack(h):
    """The engine that pack.sh put beside run, at the place that is written into it."""
    packed, home = os.path.join(HERE, "engine.tar.xz"), os.path.join(HERE, "engine.home")
    if not os.path.exists(packed):
        raise Skip("no llama-server with Vulkan was carried along (--engine)")
    with open(home, encoding="utf-8") as f:
        home = f.read().strip()
    path = os.path.join(home, "usr/bin/llama-server")
    if not os.path.exists(path):
        os.makedirs(home, mode=0o700)
        code = "import tarfile; tarfile.open(%r).extractall(%r)" % (packed, home)
        for words in (["tar", "-xJf", packed, "-C", home], [sys.executable, "-W", "ignore", "-c", code]):
            status, _, err = run(words, min(40, h.left()))  # tar needs xz, Python brings its own
            if status == 0:
                break
        else:
            raise Skip("%s cannot be unpacked: %s" % (packed, err.strip()[-200:]))
    return path


def devices(h):
    """The engine lists the GPU as a Vulkan device."""
    path = h.options.engine or unpack(h)
    if not os.access(path, os.X_OK):
        raise Skip("%s is no program" % path)
    if not h.shared.get("devices"):
        raise Skip("NVML told no device")
    name = h.shared["devices"][0].get("name", "?")
    found = vulkan.find_way(h, os.path.realpath(path), h.environment, name)
    if not found:
        raise Skip("it sees no Vulkan device by any way that was tried")
    environment, listed = found
    h.report.check("the engine lists the GPU as a Vulkan device", any(name in line for line in listed),
                   "; ".join(listed))
    h.shared["engine"] = (os.path.realpath(path), environment)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def chat(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(
            {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except OSError as e:
        raise ChildFailed("the engine does not answer: %s" % e) from None
    finally:
        connection.close()


class Process:
    """What group 3's end() needs of a process."""

    def __init__(self, process):
        self.process, self.pid = process, process.pid

    def close(self):
        end(self.process)


def serve(h):
    """Its buffer lines are what NVML sees it take."""
    if "engine" not in h.shared:
        raise Skip("there is no engine that sees the GPU")
    model = h.model("300mb.gguf", "--size-mb", "300", "--layers", "8", "--embd", "512", "--heads", "8", "--sparse",
                    "--endless")
    path, environment = h.shared["engine"]
    look = memory.watcher(h)
    before = memory.baseline(h, look)
    port, log_path = free_port(), os.path.join(h.report.folder, "engine.log")
    begun = time.monotonic()
    with open(log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen([path, "-m", model, "--host", "127.0.0.1", "--port", str(port), "-sm", "none",
                                    "-mg", "0", "-ngl", "99", "-c", "8192", "-np", "2", "-lv", "4", "--no-ui"],
                                   env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True)
    held = Process(process)
    h.talks.append(held)
    while not ready(port):
        if process.poll() is not None:
            raise Skip("it does not start: status %d, %s" % (process.returncode, tail(log_path)))
        if time.monotonic() - begun > min(40, h.left()):
            raise Skip("it was not ready in time: %s" % tail(log_path))
        time.sleep(0.1)
    ready_s = time.monotonic() - begun
    loaded = memory.settled(h, look)
    status, answer = chat(port)
    h.report.check("it answers a request", status == 200, "ready after %.1f s; %s" % (ready_s, answer[:80]))
    used = memory.settled(h, look)
    with open(log_path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    buffers = [(device, what, float(size)) for device, what, size in BUFFER.findall(text)]
    layers = OFFLOADED.search(text)
    on_gpu = sum(size for device, _, size in buffers if device.startswith("Vulkan") and "Host" not in device)
    h.report.fact("engine", {"before": before, "loaded": loaded, "used": used, "buffers": buffers,
                             "offloaded": layers.groups() if layers else None, "ready_s": ready_s,
                             "model_bytes": os.path.getsize(model), "rows": look.order("rows")})
    for device, what, size in buffers:
        h.report.note("buffer line: %s %s" % (device, what), "%.2f MiB" % size)
    h.report.check("all layers are on the GPU", layers and layers.group(1) == layers.group(2),
                   layers.group(0) if layers else "no such line")
    taken = (before - loaded) / (1 << 20)
    h.report.check("NVML sees what the buffer lines say, and at most 512 MiB more for the process",
                   on_gpu > 0 and 0 <= taken - on_gpu <= 512, "%.1f MiB taken, %.1f in buffers, %.1f besides" % (
                       taken, on_gpu, taken - on_gpu))
    h.report.note("the first request takes", mib(loaded - used))
    estimate(h, model, buffers)
    memory.end(h, look, held, before, signal.SIGKILL, "kill -9 of the engine")


def estimate(h, model, buffers):
    """Our own estimate of the same model, where poolctl can make one."""
    poolctl = h.program("poolctl")
    if not poolctl:
        h.report.skip("the estimate's weights and KV are the engine's", "poolctl is not built here")
        return
    status, out, err = run([poolctl, "--json", "plan", model, "--ctx", "4096", "--parallel", "2", "--machine", "40"],
                           min(15, h.left()), h.environment)
    h.report.fact("plan", {"status": status, "out": out, "err": err})
    try:
        plan = json.loads(out)["devices"][0]
    except (ValueError, KeyError, IndexError):
        h.report.skip("the estimate's weights and KV are the engine's", "poolctl plan: status %d, %s" % (
            status, (err or out).strip()[-160:]))
        return
    for key, what in (("weights_bytes", "model"), ("kv_bytes", "KV")):
        seen = sum(size for device, kind, size in buffers
                   if kind == what and device.startswith("Vulkan") and "Host" not in device)
        ours = plan.get(key, 0) / (1 << 20)
        h.report.check("the estimate's %s is the engine's to the line's last digit" % what, abs(ours - seen) <= 0.011,
                       "%.2f MiB, and %.2f" % (ours, seen))
    seen = sum(size for device, kind, size in buffers
               if kind == "compute" and device.startswith("Vulkan") and "Host" not in device)
    h.report.note("the estimate's compute buffer", "%.1f MiB, and the engine's %.1f" % (
        plan.get("compute_bytes", 0) / (1 << 20), seen))


def tail(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()[-300:].replace("\n", " ")


CHECKS = [devices, serve]
