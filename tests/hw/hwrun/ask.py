# SPDX-License-Identifier: Apache-2.0
"""Group 1: what NVML says, compared with nvidia-smi, with itself and with sysfs."""
import os
import re

from .child import ChildFailed
from .harness import Skip
from .report import mib

SENTENCE = "NVML's symbols, fields, structures and names"

UUID = re.compile(r"GPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MODES = {"Default": 0, "Exclusive_Thread": 1, "Prohibited": 2, "Exclusive_Process": 3}
MIG = {"Disabled": 0, "Enabled": 1}
MIB = 1 << 20


def symbols(h):
    """Every symbol that the probe requires is there."""
    found = h.ask("symbols")
    h.report.fact("library", [f.get("path") for f in found if f["fact"] == "library"])
    found = [f for f in found if f["fact"] == "symbol"]
    h.report.fact("symbols", {f["name"]: f["there"] for f in found})
    lacking = [f["name"] for f in found if f["required"] and not f["there"]]
    h.report.check("every symbol that the probe requires is there", found and not lacking,
                   ", ".join(lacking) or "%d of them" % sum(f["required"] for f in found))
    optional = [f for f in found if not f["required"]]
    lacking = [f["name"] for f in optional if not f["there"]]
    h.report.note("optional symbols that lack", ", ".join(lacking) or "none of %d" % len(optional))


def devices(h):
    """NVML tells its driver and its devices."""
    found = h.ask("ask")
    h.report.check("the questions come to their end", found and found[-1]["fact"] == "end")
    driver = [f for f in found if f["fact"] == "driver"][0]
    seen = [f for f in found if f["fact"] == "device"]
    h.shared.update(asked=found, driver=driver, devices=seen)
    h.report.fact("driver", driver)
    h.report.fact("devices", seen)
    if seen:
        h.report.title = "%s, driver %s, CUDA %d.%d" % (
            " + ".join(d.get("name", "?") for d in seen), driver["version"] or "?", driver["cuda"] // 1000,
            driver["cuda"] % 1000 // 10)
    h.report.check("every device that is counted has a handle", len(seen) == driver["count"],
                   "%d of %d" % (len(seen), driver["count"]))
    for d in seen:
        h.report.check("the UUID is GPU- and 32 lower-case digits", UUID.fullmatch(d["uuid"]), d["uuid"])
        h.report.check("the bus id is made of domain, bus and device", d["pci_bus_id"].lower() == "%08x:%02x:%02x.0" % (
            d["pci_domain"], d["pci_bus"], d["pci_device"]), d["pci_bus_id"])
    order = [d["pci_bus_id"] for d in seen]
    h.report.check("NVML counts in PCI order", order == sorted(order), " ".join(order))
    refused = sorted({key[:-5] for d in seen for key, value in d.items() if key.endswith("_code") and value})
    h.report.note("questions about devices that are refused", ", ".join(
        "%s %d" % (key, seen[0][key + "_code"]) for key in refused) or "none")


def asked(h, fact):
    if "asked" not in h.shared:
        raise Skip("NVML told nothing")
    return [f for f in h.shared["asked"] if f["fact"] == fact]


def smi_rows(h, names):
    """name → list of texts, one for each GPU; a name that this nvidia-smi does not know is left out."""
    def ask(some):
        text = h.smi("--query-gpu=" + ",".join(some), "--format=csv,noheader,nounits")
        rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
        if any(len(row) != len(some) for row in rows):
            raise ChildFailed("nvidia-smi answered %r for %s" % (text[:200], ",".join(some)))
        return {name: [row[i] for row in rows] for i, name in enumerate(some)}
    try:
        return ask(names)
    except ChildFailed as e:
        if "ended" not in str(e) and "valid" not in str(e):
            raise
    table = {}
    for name in names:
        try:
            table.update(ask([name]))
        except ChildFailed:
            pass
    return table


def same(text, value, how):
    """Does nvidia-smi's text say the value? None: it says that it does not know."""
    if text.startswith("[") or text in ("N/A", ""):
        return None
    return how(text, value)


def exact(text, value):
    return text == str(value)


def near(part, least):
    return lambda text, value: abs(float(text) - value) <= max(least, part * abs(value))


def fields(h):
    """Every field is what nvidia-smi says."""
    seen, driver = asked(h, "device"), h.shared.get("driver")
    memory = {f["index"]: f for f in asked(h, "memory")}
    rows = []   # smi's name, key of ours, value of device → comparable, how to compare
    rows.append(("index", "index", lambda d: d["index"], exact))
    rows.append(("uuid", "uuid", lambda d: d["uuid"], exact))
    rows.append(("name", "name", lambda d: d.get("name"), exact))
    rows.append(("pci.bus_id", "pci_bus_id", lambda d: d["pci_bus_id"].upper(), lambda a, b: a.upper() == b))
    rows.append(("pci.device_id", "pci_id", lambda d: d["pci_id"], lambda a, b: int(a, 16) == b))
    rows.append(("pci.sub_device_id", "pci_subsystem", lambda d: d["pci_subsystem"], lambda a, b: int(a, 16) == b))
    rows.append(("driver_version", "driver", lambda d: driver["version"], exact))
    rows.append(("compute_cap", "cc", lambda d: "%d.%d" % (d["cc_major"], d["cc_minor"]), exact))
    rows.append(("compute_mode", "compute_mode", lambda d: d["compute_mode"], lambda a, b: MODES.get(a) == b))
    rows.append(("mig.mode.current", "mig_now", lambda d: d.get("mig_now"), lambda a, b: MIG.get(a) == b))
    rows.append(("mig.mode.pending", "mig_pending", lambda d: d.get("mig_pending"), lambda a, b: MIG.get(a) == b))
    rows.append(("memory.total", "total", lambda d: memory[d["index"]]["v1_total"] // MIB, near(0, 1)))
    rows.append(("memory.free", "free", lambda d: memory[d["index"]]["v1_free"] // MIB, near(0, 64)))
    rows.append(("memory.reserved", "reserved", lambda d: memory[d["index"]]["v2_reserved"] // MIB, near(0, 1)))
    rows.append(("temperature.gpu", "degrees", lambda d: d.get("degrees"), near(0, 5)))
    rows.append(("power.draw", "milliwatts", lambda d: d["milliwatts"] / 1000, near(0.4, 20)))
    rows.append(("utilization.gpu", "busy_percent", lambda d: d.get("busy_percent"), near(0, 20)))
    rows.append(("utilization.memory", "memory_busy", lambda d: d.get("memory_busy_percent"), near(0, 20)))
    rows.append(("ecc.errors.uncorrected.aggregate.total", "ecc", lambda d: d.get("ecc_aggregate"), exact))
    rows.append(("ecc.errors.uncorrected.volatile.total", "ecc", lambda d: d.get("ecc_volatile"), exact))
    table = smi_rows(h, [row[0] for row in rows] + ["memory.used"])
    h.report.fact("nvidia_smi", table)
    by_uuid = {uuid: i for i, uuid in enumerate(table.get("uuid", []))}
    for d in seen:
        if d["uuid"] not in by_uuid:
            h.report.check("nvidia-smi lists the UUID that NVML tells", False, d["uuid"])
            continue
        i = by_uuid[d["uuid"]]
        for name, key, value, how in rows:
            compare(h, d, name, key, value, how, table.get(name, [None] * (i + 1))[i])
        used = table.get("memory.used", [None] * (i + 1))[i]
        h.report.note("nvidia-smi's memory.used is", "%s MiB; v1 says %s, v2 %s" % (
            used, mib(memory[d["index"]]["v1_used"]), mib(memory[d["index"]]["v2_used"])))


def compare(h, device, name, key, value, how, text):
    what = "%s of GPU %d is nvidia-smi's" % (name, device["index"])
    if text is None:
        h.report.skip(what, "this nvidia-smi has no such field")
        return
    try:
        ours = value(device)
    except KeyError:
        ours = None
    if ours is None:
        unknown = text.startswith("[") or text in ("N/A", "")
        h.report.check(what, unknown, "NVML does not tell (code %s), nvidia-smi says %s" % (
            device.get(key + "_code"), text))
        return
    holds = same(text, ours, how)
    if holds is None:
        h.report.skip(what, "nvidia-smi says %s, NVML %s" % (text, ours))
    else:
        h.report.check(what, holds, "%s, and NVML %s" % (text, ours))


def identities(h):
    """The two memory structures agree as believed."""
    samples = asked(h, "memory")
    h.report.fact("memory", samples)
    if not samples:
        raise Skip("no device")
    ok = [s for s in samples if s["v1_code"] == 0]
    h.report.check("v1 answers", len(ok) == len(samples))

    def mostly(what, holds, text):
        h.report.check(what, ok and sum(map(holds, ok)) * 2 > len(ok), text(ok[0]) if ok else "")
    mostly("v1: total = free + used", lambda s: s["v1_total"] == s["v1_free"] + s["v1_used"],
           lambda s: "%d = %d + %d" % (s["v1_total"], s["v1_free"], s["v1_used"]))
    ok = [s for s in ok if s["v2_code"] == 0]
    if not ok:
        raise Skip("v2 is refused with code %d" % samples[0]["v2_code"])
    mostly("v2: total = reserved + free + used",
           lambda s: s["v2_total"] == s["v2_reserved"] + s["v2_free"] + s["v2_used"],
           lambda s: "%d = %d + %d + %d" % (s["v2_total"], s["v2_reserved"], s["v2_free"], s["v2_used"]))
    mostly("total and free are the same in both",
           lambda s: (s["v1_total"], s["v1_free"]) == (s["v2_total"], s["v2_free"]),
           lambda s: "total %d, %d; free %d, %d" % (s["v1_total"], s["v2_total"], s["v1_free"], s["v2_free"]))
    mostly("v1's used is v2's used and reserved together",
           lambda s: s["v1_used"] == s["v2_used"] + s["v2_reserved"],
           lambda s: "%d, and %d + %d" % (s["v1_used"], s["v2_used"], s["v2_reserved"]))


def tags(h):
    """A right tag is taken, and a wrong one refused."""
    found = asked(h, "tag")
    h.report.fact("tags", found)
    for call in ("memory_v2", "row_list", "temperature_v"):
        mine = [f for f in found if f["call"] == call]
        if not mine:
            h.report.skip("%s: a right tag is taken" % call, "the library has no such call")
            continue
        right = [f for f in mine if f["right"]]
        wrong = [f for f in mine if not f["right"]]
        seen = ", ".join("0x%08x: %d" % (f["tag"], f["code"]) for f in mine)
        if all(f["code"] == 3 for f in right):
            h.report.skip("%s: a right tag is taken" % call, "not supported here; %s" % seen)
            continue
        h.report.check("%s: the right tag is taken" % call, all(f["code"] == 0 for f in right), seen)
        h.report.check("%s: wrong tags are refused" % call, all(f["code"] != 0 for f in wrong), seen)


def names(h):
    """A device is found by its full UUID and its bus id, and by nothing that is not exact."""
    found = asked(h, "lookup")
    h.report.fact("lookups", found)
    if not found:
        raise Skip("the library cannot look devices up")
    by = {}
    for f in found:
        by.setdefault(f["how"], []).append(f)

    def all_same(how):
        return all(f["code"] == 0 and f["same"] for f in by[how])
    for how, what in (("full", "the full UUID finds the device"), ("pci", "the bus id finds the device")):
        if how in by:
            h.report.check(what, all_same(how), " ".join(f["asked"] for f in by[how]))
    for how, what in (("prefix", "a UUID's prefix finds nothing"), ("wrong", "a wrong UUID finds nothing")):
        if how in by:
            h.report.check(what, all(f["code"] != 0 for f in by[how]), "code %d" % by[how][0]["code"])
    for how in ("upper", "bare", "pci_legacy"):
        if how in by:
            h.report.note("a lookup by %s" % {"upper": "the UUID in upper case", "bare": "the UUID without GPU-",
                                              "pci_legacy": "the short bus id"}[how],
                          "finds it" if all_same(how) else "code %d" % by[how][0]["code"])


def sysfs(h):
    """sysfs knows the same device at that address."""
    for d in asked(h, "device"):
        address = "%04x:%02x:%02x.0" % (d["pci_domain"], d["pci_bus"], d["pci_device"])
        folder = "/sys/bus/pci/devices/" + address
        what = "sysfs has GPU %d at its address" % d["index"]
        if not os.path.isdir(folder):
            h.report.skip(what, "there is no %s: the machine hides it" % folder)
            continue
        ids = []
        for name in ("device", "vendor"):
            with open(os.path.join(folder, name), encoding="ascii") as f:
                ids.append(int(f.read(), 16))
        h.report.check(what, d["pci_id"] == ids[0] << 16 | ids[1], "%s: %04x:%04x" % (address, ids[1], ids[0]))
    text = h.smi("-q") if h.shared.get("devices") else ""
    with open(os.path.join(h.report.folder, "nvidia-smi.txt"), "w", encoding="utf-8") as f:
        f.write(text)


CHECKS = [symbols, devices, fields, identities, tags, names, sysfs]
