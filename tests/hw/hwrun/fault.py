# SPDX-License-Identifier: Apache-2.0
"""Group 7: a kernel that stores to an address of nobody. It comes last."""
import os

from .harness import Skip
from .daemon import GIB, service_with
from .memory import user, watcher

SENTENCE = "A kernel that stores to a bad address"

# XIDs after which a GPU needs a reset, or is lost.
ILL = {46, 48, 62, 64, 74, 79, 95, 110, 119, 120, 136, 140, 143, 155, 156, 158}


def bad_store(h):
    """The store fails with 700, an XID event tells of it, and the GPU stays healthy."""
    if not h.shared.get("devices"):
        raise Skip("NVML told no device")
    look, victim = watcher(h), user(h)
    good = victim.cuda("kernel good")
    h.report.check("a good kernel runs, from PTX text alone", good["code"] == 0, "code %d %s, %.0f ms" % (
        good["code"], good["error"], good["ms"]))
    if good["code"]:
        raise Skip("without a kernel that runs there is nothing to see")
    bystander = user(h)
    before = look.order("fields")
    look.order("clear")
    bad = victim.cuda("kernel bad")
    events = look.order("events 2000")
    xids = [e["data"] for e in events if e["fact"] == "event" and e["type"] == 0x8]
    after = look.order("fields")
    h.report.fact("bad_store", {"cuda": bad, "events": events, "fields_before": before, "fields_after": after})
    h.report.check("a store to a bad address is error 700", bad["code"] == 700, "code %d %s after %.0f ms" % (
        bad["code"], bad["error"], bad["ms"]))
    if look.greeting and look.greeting[0]["events_code"]:
        h.report.skip("an XID 31 or 13 event tells of it", "events: code %d" % look.greeting[0]["events_code"])
    else:
        h.report.check("an XID 31 or 13 event tells of it", {13, 31} & set(xids), "; ".join(
            "type 0x%x data %d gi %d ci %d after %.1f ms" % (e["type"], e["data"], e["gi"], e["ci"], e["after_ms"])
            for e in events if e["fact"] == "event") or "no event in 2 s")
        h.report.check("no event says that the GPU itself is ill", not ILL & set(xids), xids)
    again = victim.cuda("memory")
    h.report.note("the process that did it goes on with", "code %d %s" % (again["code"], again["error"]))
    other = bystander.cuda("kernel good")
    h.report.check("a process beside it is not touched", other["code"] == 0, "code %d %s" % (
        other["code"], other["error"]))
    new = user(h).cuda("kernel good")
    h.report.check("a new process runs a kernel: the GPU is healthy", new["code"] == 0, "code %d %s" % (
        new["code"], new["error"]))
    action = {f["id"]: f["value"] for f in after if f["fact"] == "field" and not f["code"] and not f["field_code"]}
    if 230 in action:
        h.report.check("field 230 asks for nothing afterwards", action[230] == 0, action[230])
    else:
        h.report.skip("field 230 asks for nothing afterwards", "it is not told here")


def daemon_hears(h):
    """The daemon hears of such a store, and keeps the device."""
    service = service_with(h, {"idle": 2 * GIB}, "daemon-xid.log")
    bad = user(h).cuda("kernel bad")
    event = service.wait("xid", 10)
    h.report.fact("daemon_xid", {"cuda": bad, "event": event, "devices": service.devices()})
    h.report.check("the daemon hears of such a store", True, event.get("human", event))
    h.report.check("and keeps the device", all(d.get("state") == "ok" for d in service.devices()), service.devices())
    h.report.check("which it does not put in quarantine", not service.events("device_quarantined"))
    h.report.check("that daemon ends with status 0", service.stop() == 0)


def kernel_log(h):
    """The kernel's log names the XID and the process."""
    try:
        lines = read_kernel_log()
    except OSError as e:
        raise Skip("/dev/kmsg: %s" % e.strerror) from None
    lines = [line for line in lines if "NVRM" in line]
    h.report.fact("kernel_log", lines[-50:])
    xids = [line for line in lines if "Xid" in line]
    h.report.note("the kernel's log has", xids[-1] if xids else "no line of an XID, and %d of NVRM" % len(lines))


def read_kernel_log():
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    lines = []
    try:
        while True:
            try:
                lines.append(os.read(fd, 8192).decode("utf-8", "replace").strip())
            except BrokenPipeError:     # the kernel was faster, some are lost
                pass
    except BlockingIOError:
        return lines
    finally:
        os.close(fd)


CHECKS = [bad_store, daemon_hears, kernel_log]
