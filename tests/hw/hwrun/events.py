# SPDX-License-Identifier: Apache-2.0
"""Group 5: events and their wait, field values, MIG, NVLink, the way between GPUs."""

SENTENCE = "Events, field values, MIG, NVLink and topology"

BITS = {0x1: "single-bit ECC", 0x2: "double-bit ECC", 0x4: "pstate", 0x8: "XID", 0x10: "clock", 0x80: "power source",
        0x100: "MIG", 0x200: "single-bit ECC storm", 0x400: "DRAM retirement", 0x800: "DRAM retirement failed",
        0x1000: "non-fatal poison", 0x2000: "fatal poison", 0x4000: "unavailable", 0x8000: "recovery action"}
FIELDS = {142: "row remaps, corrected", 143: "row remaps, uncorrected", 144: "row remap pending",
          145: "row remap failed", 230: "recovery action"}
LEVELS = {0: "the same board", 10: "one switch", 20: "several switches", 30: "host bridge", 40: "NUMA node",
          50: "system"}


def asked(h):
    if "events" not in h.shared:
        h.shared["events"] = h.ask("events", str(h.options.device))
        h.report.fact("events", h.shared["events"])
    return h.shared["events"]


def mask(h):
    """XIDs can be waited for."""
    types = [f for f in asked(h) if f["fact"] == "event_types"][0]
    if types["code"]:
        h.report.skip("XIDs can be waited for", "event types are refused with code %d" % types["code"])
        return
    h.report.check("XIDs can be waited for", types["mask"] & 0x8, "mask 0x%x: %s" % (types["mask"], ", ".join(
        BITS.get(1 << i, "0x%x" % (1 << i)) for i in range(64) if types["mask"] >> i & 1)))
    for f in asked(h):
        if f["fact"] == "register":
            h.report.check("what is supported can be registered", f.get("code") == 0, "mask 0x%x, code %s" % (
                f.get("asked", 0), f.get("code")))
            if "unsupported_code" in f:
                h.report.note("to register what is not supported", "code %d" % f["unsupported_code"])


def wait(h):
    """A wait without event ends in time with code 10."""
    waits = [f for f in asked(h) if f["fact"] == "wait"]
    if not waits:
        h.report.skip("a wait without event ends in time with code 10", "there are no events here")
        return
    seen = ", ".join("%d ms: %.1f" % (f["asked_ms"], f["took_ms"]) for f in waits)
    quiet = [f for f in waits if f["code"] != 0]    # an event may come; then there is nothing to measure
    h.report.check("a wait without event ends with code 10", all(f["code"] == 10 for f in quiet), seen)
    h.report.check("a wait ends in time: not before, and at most 25 ms late",
                   all(-1.0 <= f["took_ms"] - f["asked_ms"] <= 25 for f in quiet), seen)


def values(h):
    """Field 230 is answered, and says that nothing needs to be done."""
    found = {f["id"]: f for f in h.talk("look", str(h.options.device)).order("fields") if f["fact"] == "field"}
    h.report.fact("fields", found)
    for number, name in FIELDS.items():
        f = found.get(number)
        what = "field %d, %s" % (number, name)
        if not f:
            h.report.skip(what, "the library has no field values")
        elif f["code"] or f["field_code"]:
            h.report.skip(what, "code %d, of the field %d" % (f["code"], f["field_code"]))
        elif number in (144, 145, 230):
            h.report.check(what + ": 0 on a healthy GPU", f["value"] == 0, "%d (type %d)" % (f["value"], f["type"]))
        else:
            h.report.note(what, "%d (type %d)" % (f["value"], f["type"]))


def mig(h):
    """Every slot of a GPU in MIG mode is empty or a device."""
    found = asked(h)
    mode = [f for f in found if f["fact"] == "mig"][0]
    slots = [f for f in found if f["fact"] == "mig_slot"]
    h.report.note("MIG", "mode %s, at most %s instances" % (
        "%d, pending %d" % (mode["now"], mode["pending"]) if mode["mode_code"] == 0 else "code %d" % mode["mode_code"],
        mode["max"] if mode["max_code"] == 0 else "code %d" % mode["max_code"]))
    if mode["mode_code"] or not mode["now"]:
        h.report.skip("every slot of a GPU in MIG mode is empty or a device", "MIG is off; slots say %s" % (
            ", ".join(str(f["code"]) for f in slots) or "nothing"))
        return
    h.report.check("every slot of a GPU in MIG mode is empty (code 6) or a device with a UUID",
                   all(f["code"] == 6 or f["code"] == 0 and f["uuid"].startswith("MIG-") for f in slots),
                   ", ".join(f.get("uuid", str(f["code"])) for f in slots))


def ways(h):
    """NVLink and topology answer."""
    links = [f for f in asked(h) if f["fact"] == "nvlink"]
    h.report.note("NVLink", "%d of %d links active; codes %s" % (
        sum(f["code"] == 0 and f["state"] == 1 for f in links), len(links),
        " ".join(sorted({str(f["code"]) for f in links})) or "none"))
    found = [f for f in asked(h) if f["fact"] == "way" and f["from"] != f["to"]]
    own = [f for f in asked(h) if f["fact"] == "way" and f["from"] == f["to"]]
    h.report.note("the way from a GPU to itself", ", ".join("code %d, level %d" % (f["code"], f["level"]) for f in own))
    if not found:
        h.report.skip("topology tells the way between GPUs", "there is one GPU")
        return
    h.report.check("topology tells the way between GPUs", all(f["code"] == 0 and f["level"] in LEVELS for f in found),
                   ", ".join("%d to %d: %s" % (f["from"], f["to"], LEVELS.get(f["level"], f["level"])) for f in found))


CHECKS = [mask, wait, values, mig, ways]
