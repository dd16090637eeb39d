# SPDX-License-Identifier: Apache-2.0
"""Group 2: how long NVML takes, and what it leaves behind."""

from .harness import Skip

SENTENCE = "How long NVML takes, and what it leaves behind"

MS = 300            # for each call
INITS, INITS_MS = 1000, 12000
THREADS, THREADS_MS = 8, 2000


def pace(h):
    """No call takes a tenth of the probe's deadline."""
    found = [f for f in h.ask("pace", str(MS), seconds=40) if f["fact"] == "pace"]
    h.report.fact("pace", found)
    worst = max(found, key=lambda f: f["max_us"], default={"max_us": 1e9, "call": "none"})
    h.report.check("no call takes a tenth of the probe's deadline of 10 s", worst["max_us"] < 1e6,
                   "the slowest: %s, %.1f ms" % (worst["call"], worst["max_us"] / 1e3))
    for f in found:
        h.report.note("%s, %d calls%s" % (f["call"], f["n"], ", code %d" % f["code"] if f["code"] else ""),
                      "p50 %.1f, p99 %.1f, max %.1f µs" % (f["p50_us"], f["p99_us"], f["max_us"]))


def cold(h):
    """A first init while nobody else uses the driver."""
    sum_ = [f for f in h.ask("inits", "3", "6000", seconds=65) if f["fact"] == "inits"][0]
    h.report.fact("cold_inits", sum_)
    h.report.note("init and shutdown while nobody else uses the driver", "code %d; first init %.1f ms; both: %s" % (
        sum_["code"], sum_["first_us"] / 1e3, "p50 %.1f ms" % (sum_["p50_us"] / 1e3) if sum_["n"] else "never"))
    h.kept_to_the_end.append(h.talk("look", str(h.options.device)))     # from now on somebody does, as the probe will
    h.talks.pop()


def inits(h):
    """A thousand inits leave no more behind than ten."""
    found = h.ask("inits", str(INITS), str(INITS_MS), seconds=INITS_MS / 1000 + 65)
    sum_ = [f for f in found if f["fact"] == "inits"][0]
    h.report.fact("inits", sum_)
    h.report.fact("descriptors", [f for f in found if f["fact"] == "descriptor"])
    if sum_["n"] == 0:
        raise Skip("init is refused with code %d" % sum_["code"])
    what = "init and shutdown, %d times" % sum_["n"]
    h.report.check("%s, all succeed" % what, sum_["code"] == 0, "code %d" % sum_["code"])
    h.report.note(what, "first init %.1f ms; both: p50 %.2f, p99 %.2f, max %.1f ms" % (
        sum_["first_us"] / 1e3, sum_["p50_us"] / 1e3, sum_["p99_us"] / 1e3, sum_["max_us"] / 1e3))
    h.report.check("the first init is far below the probe's deadline of 60 s", sum_["first_us"] < 20e6)
    h.report.check("they leave no more descriptors behind than the first ten did",
                   sum_["n"] < 20 or sum_["descriptors_after"] == sum_["descriptors_after_10"],
                   "%d before, %d after one, %d after ten, %d at the end" % tuple(
                       sum_["descriptors_" + when] for when in ("before", "after_1", "after_10", "after")))
    h.report.check("a child would inherit none of them, nor of those that NVML holds open",
                   not sum_["descriptors_after_inheritable"] and not sum_["descriptors_open_inheritable"],
                   "%d of %d, and %d of %d" % (
                       sum_["descriptors_after_inheritable"], sum_["descriptors_after"],
                       sum_["descriptors_open_inheritable"], sum_["descriptors_open"]))
    h.report.check("they leave no memory behind (1 MiB in all, after the first ten)",
                   sum_["n"] < 20 or sum_["rss_after_kb"] - sum_["rss_after_10_kb"] < 1024,
                   "%d KiB resident before, %d after ten, %d at the end" % (
                       sum_["rss_before_kb"], sum_["rss_after_10_kb"], sum_["rss_after_kb"]))
    h.report.note("threads while NVML is open", sum_["threads_open"])


def threads(h):
    """Eight threads at once get right answers."""
    sum_ = [f for f in h.ask("threads", str(THREADS), str(THREADS_MS)) if f["fact"] == "threads"][0]
    h.report.fact("threads", sum_)
    h.report.check("eight threads at once get right answers", sum_["n"] > 0 and not sum_["failed"] and not sum_["wrong"],
                   "%d answers, %d failed, %d wrong, the slowest pair %.1f ms" % (
                       sum_["n"], sum_["failed"], sum_["wrong"], sum_["max_us"] / 1e3))


CHECKS = [cold, pace, inits, threads]
