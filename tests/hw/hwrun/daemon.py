# SPDX-License-Identifier: Apache-2.0
"""Group 6: the real daemon on the real GPU. Its engines are fault engines that take video memory by CUDA (vram.c)."""
import json
import os
import signal
import threading
import time

from . import memory
from .child import ChildFailed, how, run
from .harness import Skip
from .report import mib
from .service import Service

SENTENCE = "The daemon on this GPU: two plans at once, and the loss of its probe"

GIB = 1 << 30
RESERVE = GIB


def config_of(h, model, pools):
    engine, preload = h.program("fault_engine"), h.program("libhwvram.so")
    config = {
        "listen": ["127.0.0.1:0"],
        "devices": {"reserve": "%dMiB" % (RESERVE >> 20)},
        "evict": {"max_wait": "2s", "min_residency": 0},
        "max_parallel_starts": 4,
        "engines": {"hw": {"family": "llama.cpp", "path": engine}},
        "pools": {},
    }
    if "/" in h.options.nvml:
        config["devices"]["nvml"] = os.path.abspath(h.options.nvml)
    for name, bytes_ in pools.items():
        config["pools"][name] = {
            "model": model, "engine": "hw", "devices": "auto", "context": 512, "vram": "%dMiB" % (bytes_ >> 20),
            "pinned": True, "idle_ttl": 0, "stop_grace": "3s",
            # the context is part of what is declared
            "env": {"LD_PRELOAD": preload, "HW_VRAM": str(bytes_ - memory.CONTEXT_MOST), "HW_VRAM_STEPS": "4",
                    "HW_CUDA": h.options.cuda}}
    return config


class Low(threading.Thread):
    """Looks at the device's free memory all the time, and remembers the least of it."""

    def __init__(self, look):
        super().__init__(daemon=True)
        self.look, self.least, self.ended = look, None, threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            try:
                free = memory.free_now(self.look)
            except ChildFailed:
                return
            self.least = free if self.least is None else min(free, self.least)
            time.sleep(0.02)

    def end(self):
        self.ended.set()
        self.join(5)
        return self.least


def probe_once(h):
    """pool-probe tells what NVML tells."""
    probe = h.program("pool-probe")
    if not probe:
        raise Skip("pool-probe is not built here")
    if not h.shared.get("devices"):
        raise Skip("NVML told no device")
    words = ["--nvml", os.path.abspath(h.options.nvml)] if "/" in h.options.nvml else []
    begun = time.monotonic()
    status, out, err = run([probe, "--once", *words], min(70, h.left()), h.environment)
    took = time.monotonic() - begun
    h.report.log("pool-probe --once: %d\n%s%s" % (status, out, err))
    if status != 0:
        raise ChildFailed("it ended with %s: %s" % (how(status), (out + err).strip()[-200:]))
    told = json.loads(out)
    h.report.fact("probe_once", told)
    h.report.check("pool-probe finds that this machine is ok", told.get("node") == "ok", "%s %s, %.0f ms" % (
        told.get("node"), told.get("text", ""), took * 1e3))
    gpus = {gpu.get("id"): gpu for gpu in told.get("gpus", [])}
    h.report.check("pool-probe tells the driver", told.get("driver") == h.shared["driver"]["version"],
                   told.get("driver"))
    for d in h.shared["devices"]:
        gpu = gpus.get(d["uuid"], {})
        memory_ = [f for f in h.shared["asked"] if f["fact"] == "memory" and f["index"] == d["index"]][0]
        believed = {"name": d.get("name"), "pci": d["pci_bus_id"].lower(), "state": "ok",
                    "total_bytes": memory_["v1_total"], "compute_capability": [d.get("cc_major"), d.get("cc_minor")]}
        wrong = {k: gpu.get(k) for k, v in believed.items() if gpu.get(k) != v}
        h.report.check("pool-probe tells GPU %d as NVML does" % d["index"], gpu and not wrong, wrong or gpu)
        h.report.check("pool-probe tells its free memory", abs(gpu.get("free_bytes", 0) - memory_["v1_free"]) <=
                       memory.QUIET, "%s, and NVML before %d" % (gpu.get("free_bytes"), memory_["v1_free"]))


def service_with(h, pools, log_name):
    """A daemon that has found its devices; Skip where it does not look for any."""
    if not h.shared.get("devices"):
        raise Skip("NVML told no device")
    for name in ("orchestratord", "pool-shim", "pool-probe", "fault_engine", "libhwvram.so"):
        if not h.program(name):
            raise Skip("%s is not built here" % name)
    service = Service(h, config_of(h, h.model("tiny.gguf"), pools), log_name)
    h.kept.append(service)
    try:
        service.until(lambda: service.children("pool-probe"), 6, "the daemon's pool-probe")
    except ChildFailed:
        if service.process.poll() is None:
            raise Skip("this daemon does not look for devices") from None
        raise
    service.until(lambda: any(d.get("state") not in (None, "unknown") for d in service.devices()), 20, "a device")
    return service


def begin(h):
    """The daemon finds the GPU, and tells what NVML tells."""
    look = memory.watcher(h)
    before = memory.baseline(h, look)
    pools = {"big-a": int(before * 0.6), "big-b": int(before * 0.6), "small-a": int(before * 0.2),
             "small-b": int(before * 0.2)}
    if pools["small-a"] < GIB:
        raise Skip("only %s are free" % mib(before))
    service = service_with(h, pools, "daemon.log")
    h.shared.update(service=service, service_before=before)
    found = service.devices()
    h.report.fact("devices", found)
    by_uuid = {uuid_of(d): d for d in found}
    for d in h.shared["devices"]:
        mine = by_uuid.get(d["uuid"], {})
        h.report.check("GPU %d is shown with its UUID" % d["index"], mine, found)
        if "name" in mine:
            h.report.check("GPU %d is shown with its name" % d["index"], mine["name"] == d.get("name"), mine["name"])
        else:
            h.report.skip("GPU %d is shown with its name" % d["index"], "this daemon shows none")
        total = [f["v1_total"] for f in h.shared["asked"] if f["fact"] == "memory" and f["index"] == d["index"]][0]
        h.report.check("GPU %d is shown with its memory" % d["index"], mine.get("vram_total_bytes") == total, total)


def uuid_of(device):
    return device.get("uuid") or device.get("id")


def service_of(h):
    if "service" not in h.shared:
        raise Skip("there is no daemon that looks for devices")
    if h.shared["service"].process.poll() is not None:
        raise Skip("the daemon has ended: %s" % h.shared["service"].last_words())
    return h.shared["service"]


def start_both(service, names):
    for name in names:
        status, answer = service.ask("POST", "/v1/pools/%s/start" % name, {})
        if status != 202:
            raise ChildFailed("start of %s: %s %s" % (name, status, answer))


def states(service, names):
    return [service.pool(name).get("state") for name in names]


def two_plans(h):
    """Of two pools that do not fit together one starts, and the other waits for its memory."""
    service, names = service_of(h), ["big-a", "big-b"]
    low = Low(memory.watcher(h))
    start_both(service, names)
    service.until(lambda: "ready" in states(service, names), 40, "one of two pools")
    time.sleep(3)   # the other has its chance to be wrong
    seen, least = states(service, names), low.end()
    h.report.fact("two_plans", {"states": seen, "least_free": least, "pools": [service.pool(n) for n in names]})
    h.report.check("of two pools that do not fit together exactly one is ready", seen.count("ready") == 1, seen)
    h.report.check("the other waits, and was not launched", "waiting" in seen, seen)
    h.report.check("the reserve was never touched", least is not None and least >= RESERVE, "%s free at least" % (
        mib(least or 0)))
    first = names[seen.index("ready")]
    other = names[1 - names.index(first)]
    h.shared["other"] = other
    begun = time.monotonic()
    service.ask("POST", "/v1/pools/%s/stop" % first, {"deadline_ms": 0})
    service.until(lambda: states(service, [other]) == ["ready"], 30, "the other pool, when the first is stopped")
    h.report.check("it starts when the first is stopped", True, "%.1f s after the order" % (time.monotonic() - begun))
    h.report.check("no device is suspect of keeping memory", not service.events("device_suspect"))
    status, answer = service.chat(other)
    h.report.check("it answers a request", status == 200, "" if status == 200 else answer)
    service.ask("POST", "/v1/pools/%s/stop?wait=15s" % other, {"deadline_ms": 0}, seconds=20)


def two_that_fit(h):
    """Two pools that fit together start at once."""
    service, names = service_of(h), ["small-a", "small-b"]
    low = Low(memory.watcher(h))
    start_both(service, names)
    service.until(lambda: states(service, names) == ["ready", "ready"], 40, "both pools that fit together")
    least = low.end()
    h.report.check("two pools that fit together are ready at once", True, "%s free at least" % mib(least or 0))
    pids = [service.engine_pid(name) for name in names]
    environment = []
    for pid in pids:
        with open("/proc/%d/environ" % pid, "rb") as f:
            environment += [v.decode() for v in f.read().split(b"\0") if v.startswith((b"CUDA_", b"NVIDIA_"))]
    uuids = [d["uuid"] for d in h.shared["devices"]]
    visible = [v.split("=", 1)[1] for v in environment if v.startswith("CUDA_VISIBLE_DEVICES=")]
    h.report.check("their engines got a full UUID each, in PCI order",
                   environment.count("CUDA_DEVICE_ORDER=PCI_BUS_ID") == 2 and len(visible) == 2 and
                   all(v in uuids for v in visible), environment)
    measured = [d for name in names for r in service.pool(name)["replicas"] for d in r.get("devices", [])]
    h.report.fact("small_devices", measured)
    h.report.check("both are planned on a device", len(measured) == 2 and all(
        uuid_of(d) in uuids for d in measured), measured)
    time.sleep(1)
    free = [d.get("vram_free_bytes") for d in service.devices()]
    h.report.note("the daemon says free", free)


def crash(h):
    """An engine that is killed comes back, and its memory is not charged twice."""
    service = service_of(h)
    pid = service.engine_pid("small-a")
    if not pid:
        raise Skip("small-a has no engine")
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    service.until(lambda: service.engine_pid("small-a") not in (None, pid) and
                  states(service, ["small-a"]) == ["ready"], 30, "small-a after kill -9")
    h.report.check("an engine that is killed comes back", True, "%.1f s" % (time.monotonic() - begun))
    h.report.check("no device is suspect of keeping memory", not service.events("device_suspect"))


def probe_stopped(h):
    """With the probe stopped the daemon serves on, and begins it anew."""
    service = service_of(h)
    before = service.children("pool-probe")
    if not before:
        raise ChildFailed("the daemon has no pool-probe")
    os.kill(before[0], signal.SIGSTOP)
    begun = time.monotonic()
    slowest, n, failed = 0.0, 0, 0
    unknown_s = None

    def replaced():
        nonlocal slowest, n, failed, unknown_s
        at = time.monotonic()
        status, _ = service.chat("small-a")
        slowest, n, failed = max(slowest, time.monotonic() - at), n + 1, failed + (status != 200)
        if unknown_s is None and any(d.get("state") == "unknown" for d in service.devices()):
            unknown_s = time.monotonic() - begun
        now = service.children("pool-probe")
        return now and before[0] not in now
    service.until(replaced, 30, "another probe")
    took = time.monotonic() - begun
    h.report.check("with the probe stopped requests are served", failed == 0, "%d requests, the slowest %.0f ms" % (
        n, slowest * 1e3))
    h.report.check("a stopped probe is replaced within its deadline of 10 s, and a little", took < 20, "%.1f s" % took)
    service.until(lambda: all(d.get("state") == "ok" for d in service.devices()), 20, "a device that is known again")
    h.report.note("the device was shown as unknown",
                  "after %.1f s" % unknown_s if unknown_s is not None else "not seen")
    h.report.note("the device is known again", "%.1f s after the stop" % (time.monotonic() - begun))
    h.report.fact("probe_stopped", {"requests": n, "failed": failed, "slowest_s": slowest, "replaced_s": took})


def probe_killed(h):
    """A probe that is killed is begun anew, and no engine is touched."""
    service = service_of(h)
    before = service.children("pool-probe")
    if not before:
        raise ChildFailed("the daemon has no pool-probe")
    engines = [service.engine_pid(name) for name in ("small-a", "small-b")]
    os.kill(before[0], signal.SIGKILL)
    begun = time.monotonic()
    service.until(lambda: [p for p in service.children("pool-probe") if p not in before], 15, "another probe")
    took = time.monotonic() - begun
    service.until(lambda: all(d.get("state") == "ok" for d in service.devices()), 15, "a device that is known again")
    h.report.check("a probe that is killed is begun anew", True, "%.1f s, the device known %.1f s later" % (
        took, time.monotonic() - begun - took))
    after = [service.engine_pid(name) for name in ("small-a", "small-b")]
    h.report.check("no engine was touched by that", engines == after and None not in after, "%s, %s" % (engines, after))


def ask_poolctl(h):
    """poolctl shows the devices, and preflight says what it thinks of this machine."""
    service, poolctl = service_of(h), h.program("poolctl")
    if not poolctl:
        raise Skip("poolctl is not built here")
    for words in (["devices"], ["ps"], ["preflight"], ["plan", h.model("tiny.gguf"), "--ctx", "512"]):
        status, out, err = run([poolctl, "--url", "http://127.0.0.1:%d" % service.port, *words],
                               min(15, h.left()), h.environment)
        h.report.fact("poolctl " + words[0], {"status": status, "out": out, "err": err})
        h.report.note("poolctl %s" % words[0], "status %d, %d lines%s" % (
            status, len(out.splitlines()), "; " + err.strip().splitlines()[-1] if err.strip() else ""))


def stop(h):
    """The daemon ends with status 0, and all its memory comes back."""
    service, before = service_of(h), h.shared["service_before"]
    begun = time.monotonic()
    status = service.stop()
    took = time.monotonic() - begun
    h.report.check("the daemon ends with status 0", status == 0, "%s after %.1f s" % (status, took))
    left = service.left_over()
    h.report.check("no engine of it is left", not left, left)
    now = memory.returned(h, memory.watcher(h), before)
    h.report.check("all its memory has come back", now >= before - memory.QUIET, "%s free, %s before" % (
        mib(now), mib(before)))


CHECKS = [probe_once, begin, two_plans, two_that_fit, crash, probe_stopped, probe_killed, ask_poolctl, stop]
