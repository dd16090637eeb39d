# SPDX-License-Identifier: Apache-2.0
"""Group 7: a kernel that stores to an address of nobody. It comes last."""
import os

from .child import ChildFailed
from .harness import Skip
from .daemon import GIB, service_with
from .memory import user, watcher

SENTENCE = "A kernel that stores to a bad address"

# XIDs after which a GPU needs a reset, or is lost.
ILL = {46, 48, 62, 64, 74, 79, 95, 110, 119, 120, 136, 140, 143, 155, 156, 158}

# In this order, until a store faults: what is mapped depends on the machine, and a store may be lost without a word.
BETWEEN = "between"
ADDRESSES = {"8": "8", "400000000008": "2^46 + 8", "1000000000000": "2^48, which is no address of the host's",
             "7ffffffff000": "the end of what a process of the host may have",
             "closed": "a page of the process itself that is closed to all", BETWEEN: "where no word begins"}
QUIET = "10000000000"   # 2^40: on an H100 with driver 580 a store there was lost, and nothing told of it


def attempt(h, look, address):
    """One store by a process of its own; what it said, the events, and whether what was stored is there."""
    victim = user(h)
    look.order("clear")
    try:
        store = victim.cuda("store " + address, seconds=10)
    except ChildFailed as e:    # it hangs, or is gone: that is no fault that anybody was told of
        store = {"code": 0, "error": str(e), "ms": 0, "address": 0}
    events = [e for e in look.order("events %d" % (2000 if store["code"] else 300)) if e["fact"] == "event"]
    found = {"address": address, "store": store, "events": events,
             "xids": [e["data"] for e in events if e["type"] == 0x8]}
    try:
        if store["code"] == 0 and not store["error"]:
            found["load"] = victim.cuda("load %x" % store["address"], seconds=10)
            found["copy"] = victim.cuda("copy %x" % store["address"], seconds=10)
        found["afterwards"] = victim.cuda("memory", seconds=5)
    except ChildFailed as e:
        found["died"] = str(e)
    victim.close()
    return found


def told(found):
    """It, for people."""
    store = found["store"]
    text = "code %d %s after %.1f ms, %s" % (store["code"], store["error"], store["ms"], "; ".join(
        "event of type 0x%x data %d gi %d ci %d after %.1f ms" % (e["type"], e["data"], e["gi"], e["ci"], e["after_ms"])
        for e in found["events"]) or "no event")
    for how in ("load", "copy"):
        if how in found:
            text += ", %s: code %d, sees 0x%x" % (how, found[how]["code"], found[how]["seen"])
    return text + (", " + found["died"] if "died" in found else "")


def find_fault(h, look):
    """The first attempt of ADDRESSES that faults, None if none does; and all that were made."""
    tried = []
    for address, what in ADDRESSES.items():
        tried.append(attempt(h, look, address))
        h.report.fact("stores", tried)
        h.report.note("a store to %s" % what, told(tried[-1]))
        if tried[-1]["store"]["code"]:
            return tried[-1], tried
    return None, tried


def bad_store(h):
    """The store fails with 700, an XID event tells of it, and the GPU stays healthy."""
    if not h.shared.get("devices"):
        raise Skip("NVML told no device")
    look, bystander = watcher(h), user(h)
    good = bystander.cuda("kernel good")
    h.report.check("a good kernel runs, from PTX text alone", good["code"] == 0, "code %d %s, %.0f ms" % (
        good["code"], good["error"], good["ms"]))
    if good["code"]:
        raise Skip("without a kernel that runs there is nothing to see")
    before = look.order("fields")
    fault, tried = find_fault(h, look)
    crooked = fault and fault["address"] == BETWEEN
    h.report.check("a store to a bad address is error 700 (716 where no word begins)",
                   fault and fault["store"]["code"] == (716 if crooked else 700),
                   told(fault) if fault else "none of %d faults" % len(tried))
    if fault:
        h.shared["bad_address"] = fault["address"]
        judge_events(h, look, fault)
        h.report.note("the process that did it goes on with", fault.get("died") or "code %d %s" % (
            fault["afterwards"]["code"], fault["afterwards"]["error"]))
    if not crooked:
        h.report.note("a store where no word begins", remembered(h, "crooked_store", attempt(h, look, BETWEEN)))
    h.report.note("a store to 2^40", remembered(h, "quiet_store", attempt(h, look, QUIET)))
    judge_afterwards(h, look, bystander, before)


def remembered(h, key, found):
    h.report.fact(key, found)
    return told(found)


def judge_events(h, look, fault):
    if look.greeting and look.greeting[0]["events_code"]:
        h.report.skip("an XID 31 or 13 event tells of it", "events: code %d" % look.greeting[0]["events_code"])
        return
    h.report.check("an XID 31 or 13 event tells of it", {13, 31} & set(fault["xids"]), told(fault))
    h.report.check("no event says that the GPU itself is ill", not ILL & set(fault["xids"]), fault["xids"])


def judge_afterwards(h, look, bystander, before):
    other = bystander.cuda("kernel good")
    h.report.check("a process beside it is not touched", other["code"] == 0, "code %d %s" % (
        other["code"], other["error"]))
    new = user(h).cuda("kernel good")
    h.report.check("a new process runs a kernel: the GPU is healthy", new["code"] == 0, "code %d %s" % (
        new["code"], new["error"]))
    after = look.order("fields")
    h.report.fact("fields", {"before": before, "after": after})
    action = {f["id"]: f["value"] for f in after if f["fact"] == "field" and not f["code"] and not f["field_code"]}
    if 230 in action:
        h.report.check("field 230 asks for nothing afterwards", action[230] == 0, action[230])
    else:
        h.report.skip("field 230 asks for nothing afterwards", "it is not told here")


def daemon_hears(h):
    """The daemon hears of such a store, and keeps the device."""
    if "bad_address" not in h.shared:
        raise Skip("no store faults here")
    service = service_with(h, {"idle": 2 * GIB}, "daemon-xid.log")
    bad = user(h).cuda("store " + h.shared["bad_address"])
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
