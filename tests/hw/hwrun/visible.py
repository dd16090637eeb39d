# SPDX-License-Identifier: Apache-2.0
"""Group 4: what CUDA makes of CUDA_VISIBLE_DEVICES."""
import concurrent.futures

from .harness import Skip

SENTENCE = "What CUDA makes of CUDA_VISIBLE_DEVICES"


def values(uuids):
    """name → (value or None for unset, the devices that are believed to be seen; None: nothing is believed)"""
    n, first = len(uuids), uuids[0]
    wrong = first[:-1] + ("1" if first[-1] == "0" else "0")
    return {
        "unset": (None, uuids),
        "empty": ("", []),
        "-1": ("-1", []),
        "0": ("0", [first]),
        "1": ("1", uuids[1:2]),
        "all indices": (",".join(map(str, range(n))), uuids),
        "0,0": ("0,0", []),
        "0,-1": ("0,-1", [first]),
        "-1,0": ("-1,0", []),
        " 0": (" 0", None),
        "0 ": ("0 ", None),
        "00": ("00", None),
        "+0": ("+0", None),
        "1gpu2": ("1gpu2", uuids[1:2]),
        "0gpu2": ("0gpu2", [first]),
        "full UUID": (first, [first]),
        "all UUIDs": (",".join(uuids), uuids),
        "UUID twice": (first + "," + first, []),
        "short UUID": (first[:12], [first]),
        "very short UUID": (first[:8], None),
        "upper-case UUID": ("GPU-" + first[4:].upper(), None),
        "wrong UUID": (wrong, []),
        "UUID, wrong UUID": (first + "," + wrong, [first]),
        "none": ("none", []),
        "MIG of nobody": ("MIG-00000000-0000-0000-0000-000000000000", []),
        "old MIG name of nobody": ("MIG-%s/1/0" % first, []),
    }


def look(h, value):
    environment = dict(h.environment)
    if value is not None:
        environment["CUDA_VISIBLE_DEVICES"] = value
    found = h.ask("visible", seconds=40, environment=environment)
    state = [f for f in found if f["fact"] == "visible"][0]
    return {"init": state["init"], "error": state["error"], "count": state["count"], "ms": state["ms"],
            "uuids": [f["uuid"] for f in found if f["fact"] == "seen"]}


def matrix(h):
    """CUDA sees the devices that are believed to follow from each value."""
    if not h.shared.get("devices"):
        raise Skip("NVML told no device")
    if any(d.get("mig_now") for d in h.shared["devices"]):
        raise Skip("a GPU is in MIG mode, and CUDA counts otherwise then")
    plain = look(h, None)
    if plain["init"] != 0:
        h.report.check("cuInit succeeds", False, "%d %s" % (plain["init"], plain["error"]))
        return
    uuids = [d["uuid"] for d in h.shared["devices"]]
    # The machine may hide devices from NVML or from CUDA; then what CUDA says by itself is the base.
    h.report.check("CUDA in PCI order sees the devices of NVML in its order", plain["uuids"] == uuids,
                   " ".join(plain["uuids"]))
    if not plain["uuids"]:
        raise Skip("CUDA sees no device")
    table = {}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        wanted = values(plain["uuids"])
        found = {name: pool.submit(look, h, value) for name, (value, _) in wanted.items()}
        for name, (value, believed) in wanted.items():
            table[name] = dict(found[name].result(), value=value)
            tell(h, name, value, table[name], believed, plain["uuids"])
    h.report.fact("matrix", table)
    h.report.note("cuInit and count take", "%.0f to %.0f ms" % (
        min(t["ms"] for t in table.values()), max(t["ms"] for t in table.values())))


def tell(h, name, value, seen, believed, uuids):
    shown = "sees %s" % (", ".join(str(uuids.index(u)) if u in uuids else u for u in seen["uuids"]) or "none")
    if seen["init"]:
        shown += "; cuInit says %d %s" % (seen["init"], seen["error"])
    what = "CUDA_VISIBLE_DEVICES " + ("unset" if value is None else "'%s'" % value if name != value else "'%s'" % name)
    if believed is None:
        h.report.note(what, shown)
    else:
        h.report.check("%s: %s" % (what, ", ".join(str(uuids.index(u)) for u in believed) or "none"),
                       seen["uuids"] == believed, shown)


CHECKS = [matrix]
