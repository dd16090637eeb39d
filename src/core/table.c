/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says what a place becomes. A place is the home of one engine instance of one replica. What is not listed
 * means nothing there: a late answer, a probe of an engine that is already stopping. Only pm_place_move() reads it.
 */
#include "core/table.h"

#include <assert.h>

#include "util/buf.h"
#include "util/cleanup.h"
#include "util/str.h"

#define TO(state) ((state) + 1) /* so that an absent entry is zero */
#define SETTLE    TO(PM_SETTLE)

static const unsigned char next_state[PM_STATE_COUNT][PM_CAUSE_COUNT] = {
    [PM_COLD] =
        {
            [PM_CAUSE_START] = TO(PM_STAGING),
            [PM_CAUSE_REFUSED] = TO(PM_BACKOFF),
            [PM_CAUSE_SIBLING_FAILED] = TO(PM_FAILED),
            [PM_CAUSE_ADOPTED] = TO(PM_STARTING),
            [PM_CAUSE_ANSWERS] = TO(PM_READY),
        },
    [PM_STAGING] =
        {
            [PM_CAUSE_STAGED] = TO(PM_WAITING),
            [PM_CAUSE_STAGING_FAILED] = SETTLE,
            [PM_CAUSE_NEVER_FITS] = SETTLE,
            [PM_CAUSE_UNWANTED] = TO(PM_COLD),
            [PM_CAUSE_SIBLING_FAILED] = TO(PM_FAILED),
        },
    [PM_WAITING] =
        {
            [PM_CAUSE_NEVER_FITS] = SETTLE,
            [PM_CAUSE_ROOM] = TO(PM_STARTING),
            [PM_CAUSE_UNWANTED] = TO(PM_COLD),
            [PM_CAUSE_SIBLING_FAILED] = TO(PM_FAILED),
        },
    [PM_STARTING] =
        {
            [PM_CAUSE_SPAWN_FAILED] = SETTLE,
            [PM_CAUSE_READY] = TO(PM_READY),
            [PM_CAUSE_UNFIT] = TO(PM_STOPPING),
            [PM_CAUSE_START_TIMEOUT] = TO(PM_STOPPING),
            [PM_CAUSE_STOP] = TO(PM_STOPPING),
            [PM_CAUSE_DEVICE] = TO(PM_STOPPING),
            [PM_CAUSE_EXIT] = TO(PM_STOPPING),
        },
    [PM_READY] =
        {
            [PM_CAUSE_MISSED] = TO(PM_SICK),
            [PM_CAUSE_STALL] = TO(PM_STOPPING),
            [PM_CAUSE_STOP] = TO(PM_STOPPING),
            [PM_CAUSE_DRIVER] = TO(PM_SICK),
            [PM_CAUSE_DEVICE] = TO(PM_STOPPING),
            [PM_CAUSE_EXIT] = TO(PM_STOPPING),
            [PM_CAUSE_GONE] = TO(PM_COLD),
            [PM_CAUSE_LET_GO] = TO(PM_COLD),
        },
    [PM_SICK] =
        {
            [PM_CAUSE_RECOVERED] = TO(PM_READY),
            [PM_CAUSE_HEALTH] = TO(PM_STOPPING),
            [PM_CAUSE_STALL] = TO(PM_STOPPING),
            [PM_CAUSE_STOP] = TO(PM_STOPPING),
            [PM_CAUSE_DRIVER] = TO(PM_SICK),
            [PM_CAUSE_DOOMED] = TO(PM_STOPPING),
            [PM_CAUSE_DEVICE] = TO(PM_STOPPING),
            [PM_CAUSE_EXIT] = TO(PM_STOPPING),
            [PM_CAUSE_GONE] = TO(PM_COLD),
            [PM_CAUSE_LET_GO] = TO(PM_COLD),
        },
    [PM_STOPPING] =
        {
            [PM_CAUSE_EXIT] = TO(PM_STOPPING),
            [PM_CAUSE_SPAWN_FAILED] = SETTLE,
            [PM_CAUSE_CHILDLESS] = SETTLE,
            [PM_CAUSE_VRAM_BACK] = SETTLE,
            [PM_CAUSE_VRAM_LATE] = SETTLE,
        },
    [PM_BACKOFF] =
        {
            [PM_CAUSE_DELAY_OVER] = TO(PM_COLD),
            [PM_CAUSE_RESET] = TO(PM_COLD),
            [PM_CAUSE_SIBLING_FAILED] = TO(PM_FAILED),
        },
    [PM_FAILED] =
        {
            [PM_CAUSE_RESET] = TO(PM_COLD),
        },
};

struct cause_row {
    const char *name, *when, *actions;
};

static const struct cause_row causes[] = {
    [PM_CAUSE_START] = {"start", "wanted up, and every permit says yes", "the model is checked"},
    [PM_CAUSE_REFUSED] = {"refused", "wanted up, but the restart clock says not yet", "–"},
    [PM_CAUSE_STAGED] = {"staged", "the model is there and good", "room is asked for"},
    [PM_CAUSE_STAGING_FAILED] = {"staging-failed", "the model is not there or not good",
                                 "a failed start of class `staging`"},
    [PM_CAUSE_NEVER_FITS] = {"never-fits", "no device is large enough for it",
                             "a failed start, permanent, with the missing bytes"},
    [PM_CAUSE_ROOM] = {"room", "room is granted",
                       "charge and spawn; `start_max` and `start_stall` begin here"},
    [PM_CAUSE_UNWANTED] = {"unwanted", "not wanted any more, and there is no process yet",
                           "claim, reservation and place to start are given back"},
    [PM_CAUSE_SPAWN_FAILED] = {"spawn-failed", "the engine cannot be launched",
                               "a failed start of class `spawn`, unless it was to stop anyway"},
    [PM_CAUSE_READY] = {"ready", "the endpoint is ours and its health says 200",
                        "gate opens, the queue is served in the same step"},
    [PM_CAUSE_UNFIT] = {"unfit", "it is up, and has put on the CPU what was planned on a device",
                        "a failed start of class `spawn`, permanent; SIGTERM"},
    [PM_CAUSE_START_TIMEOUT] = {"start-timeout",
                                "`start_max` over, or no progress for `start_stall`",
                                "SIGKILL of the tree"},
    [PM_CAUSE_STOP] = {"stop", "wanted empty and emptied or at its deadline; or wanted down",
                       "SIGTERM; no failure"},
    [PM_CAUSE_MISSED] = {"missed", "`probe.fall` probes missed in a row without a lease",
                         "gate closes"},
    [PM_CAUSE_RECOVERED] = {"recovered", "`probe.rise` good probes in a row", "gate opens"},
    [PM_CAUSE_HEALTH] = {"health", "sick for `probe.sick_restart`", "SIGTERM"},
    [PM_CAUSE_STALL] = {"stall",
                        "leases and no sign of life for `stall_timeout`, or three request limits "
                        "in a row",
                        "leases end, SIGTERM"},
    [PM_CAUSE_DRIVER] = {"driver", "a driver error of a live engine",
                         "gate closes; good probes do not open it again"},
    [PM_CAUSE_DOOMED] = {"doomed", "after a driver error: emptied, at `drain_deadline`, or hanging",
                         "SIGTERM; class `driver`, which counts twice"},
    [PM_CAUSE_DEVICE] = {"device", "a device of its is lost, or must be reset",
                         "leases end, SIGKILL of the tree; the device is blamed: no failure"},
    [PM_CAUSE_EXIT] = {"exit", "the engine's process ends, with exit code 0 too",
                       "in this step: gate closed, leases ended; after a signal of ours the reason "
                       "stays what it was"},
    [PM_CAUSE_CHILDLESS] = {"childless",
                            "nothing of the engine's tree is left, and no memory of a device has "
                            "to come back",
                            "charge given back; the instance's folder may go"},
    [PM_CAUSE_VRAM_BACK] = {"vram-back",
                            "nothing of it is left, and free memory of its devices has not risen "
                            "for 1 s",
                            "the same"},
    [PM_CAUSE_VRAM_LATE] = {"vram-late", "the same 10 s later, and it is not back",
                            "the same; the device is suspect if the memory is nobody's"},
    [PM_CAUSE_DELAY_OVER] = {"delay-over", "the restart clock lets it go on", "–"},
    [PM_CAUSE_RESET] = {"reset", "an operator's reset", "failures are forgotten"},
    [PM_CAUSE_SIBLING_FAILED] = {"sibling-failed", "another replica of the pool failed for good",
                                 "–"},
    [PM_CAUSE_ADOPTED] = {"adopted", "an engine of a former daemon lives here",
                          "probed as after a fresh start"},
    [PM_CAUSE_ANSWERS] = {"answers",
                          "not ours: it answers its probe; after it was gone, "
                          "`probe.rise` in a row",
                          "gate opens, the queue is served in the same step"},
    [PM_CAUSE_GONE] = {"gone", "not ours: nobody listens at its endpoint, or its process ended",
                       "in this step: gate closed, leases ended; it is probed on"},
    [PM_CAUSE_LET_GO] = {"let-go",
                         "not ours: withdrawn or the daemon stops, and emptied or at the "
                         "deadline",
                         "it is left alone, and not probed any more"},
};
static_assert(PM_ARRAY_LEN(causes) == PM_CAUSE_COUNT, "a cause has no row");

int pm_place_next(enum pm_state state, enum pm_cause cause)
{
    assert(state < PM_STATE_COUNT && cause < PM_CAUSE_COUNT);
    return (int)next_state[state][cause] - 1;
}

const char *pm_cause_name(enum pm_cause cause)
{
    return causes[cause].name;
}

const char *pm_cause_actions(enum pm_cause cause)
{
    return causes[cause].actions;
}

static const char *next_name(int next)
{
    return next == PM_SETTLE ? "settle" : pm_state_name((enum pm_state)next);
}

char *pm_place_table_markdown(void)
{
    pm_auto_buf struct pm_buf buf = {0};

    pm_buf_adds(&buf,
                "| in | cause | when | next | what is done |\n| --- | --- | --- | --- | --- |\n");
    for (enum pm_state state = 0; state < PM_STATE_COUNT; state++) {
        for (enum pm_cause cause = 0; cause < PM_CAUSE_COUNT; cause++) {
            int next = pm_place_next(state, cause);

            if (next == PM_NOWHERE)
                continue;
            pm_buf_addf(&buf, "| %s | %s | %s | %s | %s |\n", pm_state_name(state),
                        causes[cause].name, causes[cause].when, next_name(next),
                        causes[cause].actions);
        }
    }
    return pm_xstrdup(pm_buf_text(&buf));
}

/* One edge for all causes that lead from one state to another; nothing where none does. */
static void add_edge(struct pm_buf *to, enum pm_state state, int next)
{
    const char *separator = " : ";

    for (enum pm_cause cause = 0; cause < PM_CAUSE_COUNT; cause++) {
        if (pm_place_next(state, cause) != next)
            continue;
        if (separator[1] == ':')
            pm_buf_addf(to, "    %s --> %s", pm_state_name(state), next_name(next));
        pm_buf_addf(to, "%s%s", separator, causes[cause].name);
        separator = ", ";
    }
    if (separator[1] != ':')
        pm_buf_adds(to, "\n");
}

char *pm_place_diagram_mermaid(void)
{
    pm_auto_buf struct pm_buf buf = {0};

    pm_buf_adds(&buf, "```mermaid\nstateDiagram-v2\n    state settle <<choice>>\n"
                      "    [*] --> cold\n");
    for (enum pm_state state = 0; state < PM_STATE_COUNT; state++) {
        for (int next = 0; next <= PM_SETTLE; next++) {
            if (next != (int)state && next != PM_STATE_COUNT)
                add_edge(&buf, state, next);
        }
    }
    pm_buf_adds(&buf, "    settle --> cold : as planned, or no delay\n"
                      "    settle --> backoff : a failure, and its delay\n"
                      "    settle --> failed : for good\n```\n");
    return pm_xstrdup(pm_buf_text(&buf));
}
