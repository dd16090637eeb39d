# SPDX-License-Identifier: Apache-2.0
"""Group 3: what a context and allocations cost, how processes are listed, and when memory comes back."""
import signal
import time

from . import rows
from .child import ChildFailed
from .harness import Skip
from .report import mib

SENTENCE = "Video memory: contexts, allocations, process rows, and its return"

MIB, GIB = 1 << 20, 1 << 30
CONTEXT_LEAST, CONTEXT_MOST = 100 * MIB, 640 * MIB
QUIET = 32 * MIB                # what may come and go by itself


def watcher(h):
    return h.talk("look", str(h.options.device))


def user(h, context="primary"):
    """A process with a context on the device; Skip when CUDA does not work here."""
    if not h.shared.get("devices"):
        raise Skip("NVML told no device")
    uuid = h.shared["devices"][h.options.device]["uuid"]
    hold = h.talk("hold", environment=dict(h.environment, CUDA_VISIBLE_DEVICES=uuid))
    for order in ["init"] + (["context " + context] if context else []):
        answer = hold.order(order, seconds=60)
        if answer[0]["fact"] == "no_library":
            raise Skip("CUDA does not work here: %s" % answer[0]["text"])
        if answer[0]["code"]:
            raise ChildFailed("CUDA's %s: %d %s" % (order, answer[0]["code"], answer[0]["error"]))
    return hold


def free_now(look):
    return look.order("memory")[0]["v1_free"]


def settled(h, look, seconds=4):
    """What is free once it has not moved for 0.4 s, or for a part of the patience where that is short."""
    quiet = min(0.4, h.options.patience / 4)
    deadline, last, since = time.monotonic() + seconds, free_now(look), time.monotonic()
    while time.monotonic() - since < quiet and time.monotonic() < deadline:
        time.sleep(0.03)
        now = free_now(look)
        if abs(now - last) > MIB:
            last, since = now, time.monotonic()
    return last


def returned(h, look, before):
    """What is free once as much is as before, or patience has ended."""
    deadline = time.monotonic() + h.options.patience
    while free_now(look) < before - QUIET and time.monotonic() < deadline:
        time.sleep(0.05)
    return free_now(look)


def baseline(h, look):
    """What is free while nothing of ours runs, and what ran before has given back; Skip where others come and go."""
    seen, deadline = [], time.monotonic() + h.options.patience
    while settled(h, look) < h.shared.get("free_expected", 0) - QUIET:
        if time.monotonic() > deadline:     # it was waited for once
            h.shared["free_expected"] = free_now(look)
    for _ in range(10):
        seen.append(free_now(look))
        time.sleep(0.03)
    if max(seen) - min(seen) > QUIET:
        raise Skip("somebody else uses this GPU: its free memory moved by %s" % mib(max(seen) - min(seen)))
    return seen[-1]


def contexts(h):
    """A bare context costs some hundred MiB."""
    look = watcher(h)
    before = baseline(h, look)
    hold = user(h, context=None)
    after_init = settled(h, look)
    answer = hold.order("context primary", seconds=60)[0]
    after_context = settled(h, look)
    kernel = hold.cuda("kernel good")
    after_kernel = settled(h, look)
    said = hold.cuda("memory")
    h.report.fact("context", {"before": before, "after_init": after_init, "after_context": after_context,
                              "after_kernel": after_kernel, "cuda": [answer, kernel, said]})
    cost = before - after_context
    h.report.note("cuInit alone costs", mib(before - after_init))
    h.report.check("a bare context costs between 100 and 640 MiB", CONTEXT_LEAST <= cost <= CONTEXT_MOST,
                   "%s, made in %.0f ms; the estimate charges 512 MiB until one was measured" % (
                       mib(cost), answer["ms"]))
    h.report.note("a loaded and run kernel costs", mib(after_context - after_kernel))
    v2 = look.order("memory")[0]
    h.report.check("CUDA's total is at most NVML's", 0 < said["total"] <= v2["v1_total"], "%s of %s" % (
        mib(said["total"]), mib(v2["v1_total"])))
    h.report.note("CUDA says free", "%s; NVML %s" % (mib(said["free"]), mib(v2["v1_free"])))
    end(h, look, hold, before, signal.SIGKILL, "kill -9 of a bare context")
    own = user(h, context="own")
    h.report.note("a context of one's own, not the primary one, costs", mib(before - settled(h, look)))
    own.close()


def end(h, look, hold, before, sig, what):
    """Ends a process and tells when its memory came back to `before`; the fact."""
    look.order("clear")
    free = free_now(look)
    patience = h.options.patience
    found = look.order("end %d %d %d %d %d" % (sig, hold.pid, free, before - QUIET, patience * 1000),
                       seconds=patience + 10)
    fact = [f for f in found if f["fact"] == "end"][0]
    fact["events"] = look.order("events 300")
    fact["held"] = before - free
    h.report.fact(what, fact)
    came = fact["back_ms"] >= 0 and fact["dead_ms"] >= 0
    h.report.check("%s: all memory comes back within %g s" % (what, patience), came,
                   "%s held; dead after %.1f ms, first bytes after %.1f, all after %.1f; %d looks, the longest %.1f ms"
                   % (mib(before - free), fact["dead_ms"], fact["first_ms"], fact["back_ms"], fact["looks"],
                      fact["longest_look_us"] / 1e3))
    if came:
        h.report.note("%s: all is back, counted from the end of the process" % what,
                      "%+.1f ms" % (fact["back_ms"] - fact["dead_ms"]))
    events = [e for e in fact["events"] if e["fact"] == "event"]
    h.report.note("%s: events" % what, ", ".join("type 0x%x data %d" % (e["type"], e["data"]) for e in events)
                  or "none")
    return fact


def steps(h):
    """Every allocation is seen to the byte, and every process in its row."""
    look = watcher(h)
    before = baseline(h, look)
    take = min(int(h.options.take * GIB), int(before * 0.6)) // 5 // (2 * MIB) * (2 * MIB)
    if take < 64 * MIB:
        raise Skip("only %s are free" % mib(before))
    hold, second = user(h), user(h)
    for order in ("take %d" % (2 * MIB), "give"):   # the first write loads code of CUDA's, which is not to be measured
        hold.order(order)
    bare = settled(h, look)
    seen, last = [], bare
    for _ in range(5):
        answer = hold.order("take %d" % take, seconds=30)[0]
        if answer["code"]:
            raise ChildFailed("cuMemAlloc: %d %s" % (answer["code"], answer["error"]))
        now = free_now(look)
        seen.append({"asked": take, "delta": last - now, "ms": answer["ms"]})
        last = now
    h.report.fact("steps", seen)
    h.report.check("each of five allocations of %s is seen at once, exactly but for 4 MiB" % mib(take),
                   all(abs(s["delta"] - take) <= 4 * MIB for s in seen),
                   "off by " + ", ".join(mib(s["delta"] - take) for s in seen))
    process_rows(h, look, {hold.pid: before - last - (before - bare) // 2, second.pid: (before - bare) // 2}, 5 * take)
    given = hold.cuda("give")
    after = settled(h, look)
    h.report.check("what is freed comes back to the device while the process lives",
                   given["code"] == 0 and after >= bare - QUIET, mib(after - last))
    for _ in range(5):
        hold.order("take %d" % take, seconds=30)
    second.close()
    settled(h, look)
    end(h, look, hold, before, signal.SIGKILL, "kill -9 with %s" % mib(5 * take))


def process_rows(h, look, expected, taken):
    """`expected`: pid → about how many bytes."""
    found = [f for f in look.order("rows") if f["fact"] == "rows"]
    h.report.fact("rows", {"rows": found, "expected": expected})
    believed = {"v1": 16, "v2": 24, "v3": 24, "list": 32}
    for f in found:
        name = "process rows, %s" % f["call"]
        if f["code"]:
            h.report.skip("%s: %d bytes apart" % (name, believed[f["call"]]), "refused with code %d" % f["code"])
            continue
        data = bytes.fromhex(f["bytes"])
        known = [p for p in expected if p.to_bytes(4, "little") in data]
        stride = rows.stride_of(f["n"], f["written"], data, known)
        if f["n"] == 0:
            h.report.skip("%s: %d bytes apart" % (name, believed[f["call"]]),
                          "no process is listed: the machine hides them")
            continue
        h.report.check("%s: %d bytes apart" % (name, believed[f["call"]]), stride == believed[f["call"]],
                       "%s; %d bytes written for %d rows" % (stride, f["written"], f["n"]))
        h.report.note("%s: asked with no room" % name, "code %d, needs %d" % (f["empty_code"], f["needed"]))
        if stride:
            compare_rows(h, name, rows.read(f["n"], stride, data), expected, taken)


def compare_rows(h, name, listed, expected, taken):
    shown = ", ".join("pid %d %s" % (pid, "unknown" if used is None else mib(used)) for pid, used, _, _ in listed)
    missing = [pid for pid in expected if pid not in [row[0] for row in listed]]
    if missing and len(listed) >= len(expected):
        h.report.note("%s: pids are of another namespace" % name, "ours are %s; %s" % (list(expected), shown))
        return
    h.report.check("%s: both processes are listed by pid" % name, not missing, shown)
    for pid, used, _, _ in listed:
        if pid in expected and used is not None:
            most = max(expected, key=expected.get)
            low, high = (taken, taken + 1 * GIB) if pid == most else (0, 1 * GIB)
            h.report.check("%s: the row of the %s process says what it holds" % (
                name, "large" if pid == most else "small"), low <= used <= high, mib(used))


def busy_kill(h):
    """A process killed while its kernel runs gives its memory back, too."""
    look = watcher(h)
    before = baseline(h, look)
    hold = user(h)
    hold.order("take %d" % min(GIB, before // 4))
    spin = hold.cuda("kernel spin 5000")
    if spin["code"]:
        raise ChildFailed("the kernel does not start: %d %s" % (spin["code"], spin["error"]))
    time.sleep(0.2)
    end(h, look, hold, before, signal.SIGKILL, "kill -9 while a kernel runs")


def leave(h):
    """A process that ends by itself gives its memory back, too."""
    look = watcher(h)
    before = baseline(h, look)
    hold = user(h)
    hold.order("take %d" % min(4 * GIB, before // 4))
    end(h, look, hold, before, signal.SIGTERM, "SIGTERM with a few GiB")


def afterwards(h):
    """Nothing of ours is left on the device."""
    look = watcher(h)
    first = h.shared.get("free_at_first")
    if first is None:
        raise Skip("it was not measured at first")
    now = returned(h, look, first)
    h.report.check("nothing of ours is left on the device", now >= first - QUIET, "%s free, %s at first" % (
        mib(now), mib(first)))


def remember(h):
    """What is free before anything of ours runs."""
    look = watcher(h)
    h.shared["free_at_first"] = h.shared["free_expected"] = baseline(h, look)
    h.report.note("free before anything of ours runs", mib(h.shared["free_at_first"]))


CHECKS = [remember, contexts, steps, busy_kill, leave, afterwards]
