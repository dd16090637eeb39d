/* SPDX-License-Identifier: Apache-2.0 */
/* The table of LIFECYCLE §6, and what is asked of every step whatever it was. */
#include "invariants.h"

#include <stdarg.h>
#include <stdio.h>

const struct sim_invariant sim_invariants[SIM_INVARIANTS] = {
    [1] = {.family = "REG",
           .sentence = "snapshots are ordered by id, their version grows with every change",
           .after = inv1_after},
    [2] = {.family = "REG",
           .sentence = "an input for an unknown id or an old token changes nothing"},
    [3] = {.family = "LEASE",
           .sentence = "leases are grants less ends, never more than slots",
           .at = inv3_at,
           .kinds = OF(PM_ACT_GRANT),
           .after = inv3_after},
    [4] = {.family = "LEASE",
           .sentence = "a grant goes only to a ready place with an open gate",
           .at = inv4_at,
           .kinds = OF(PM_ACT_GRANT)},
    [5] = {.family = "LEASE",
           .sentence = "a slot whose client left is not granted before it settled",
           .at = inv5_at,
           .kinds = OF(PM_ACT_GRANT)},
    [6] = {.family = "HEALTH",
           .sentence = "ready means every stage passed; an exit makes unroutable in its step",
           .after = inv6_after},
    [7] = {.family = "HEALTH",
           .sentence = "a busy engine is not sick by probes, no stall within a sign of life",
           .at = inv7_at,
           .kinds = OF(PM_ACT_SIGNAL) | OF(PM_ACT_KILL),
           .after = inv7_after},
    [8] = {.family = "HEALTH", .sentence = "what is not ready says why", .after = inv8_after},
    [9] = {.family = "LOAD",
           .sentence = "one process tree and one start in a place, one fetch a model",
           .at = inv9_at,
           .kinds = OF(PM_ACT_SPAWN) | OF(PM_ACT_STAGE) | OF(PM_ACT_FORGET)},
    [10] = {.family = "LOAD",
            .sentence = "charges never exceed a device, and end once",
            .at = inv10_at,
            .kinds = OF(PM_ACT_SPAWN),
            .after = inv10_after},
    [11] = {.family = "LOAD",
            .sentence = "nothing runs outside its plan or starts on a bad device",
            .at = inv11_at,
            .kinds = OF(PM_ACT_SPAWN)},
    [12] = {.family = "SUP",
            .sentence = "no spawn before its delay; only failures count",
            .at = inv12_at,
            .kinds = OF(PM_ACT_SPAWN),
            .after = inv12_after},
    [13] = {.family = "SUP",
            .sentence = "an open breaker has one trial, and closes no ready place",
            .at = inv13_at,
            .kinds = OF(PM_ACT_SPAWN) | OF(PM_ACT_STAGE)},
    [14] = {.family = "SUP",
            .sentence = "at most 10 failed starts in 60 s with the default backoff",
            .after = inv14_after},
    [15] = {.family = "SUP",
            .sentence = "failed is left only by a changed spec, file, hardware or a reset",
            .after = inv15_after},
    [16] = {.family = "SUP",
            .sentence = "a signal has a reason, SIGKILL comes only after stop_grace",
            .at = inv16_at,
            .kinds = OF(PM_ACT_SIGNAL) | OF(PM_ACT_KILL)},
    [17] = {.family = "DRAIN",
            .sentence = "nobody is refused because we closed a gate",
            .at = inv17_at,
            .kinds = OF(PM_ACT_REFUSE),
            .after = inv17_after},
    [18] = {.family = "DRAIN",
            .sentence = "no stream with a client is cut before its deadline",
            .at = inv18_at,
            .kinds = OF(PM_ACT_CUT),
            .after = inv18_after},
    [19] = {.family = "RELOAD",
            .sentence = "a reload that fails before the switch changes nothing",
            .at = inv19_at,
            .kinds = OF(PM_ACT_STAGE) | OF(PM_ACT_SPAWN),
            .after = inv19_after},
    [20] = {.family = "RELOAD",
            .sentence = "a config reload with an error changes nothing",
            .after = inv20_after},
    [21] = {.family = "EVICT",
            .sentence = "a victim was idle, or ready for min_residency with an old claimant",
            .at = inv21_at,
            .kinds = OF(PM_ACT_NARRATE)},
    [22] = {.family = "EVICT",
            .sentence = "no eviction cuts a stream; what it freed is the claimant's",
            .after = inv22_after},
    [23] = {.family = "QUEUE",
            .sentence = "a request is waiting, granted, answered or gone; bounds are kept",
            .at = inv23_at,
            .kinds = OF(PM_ACT_GRANT) | OF(PM_ACT_REFUSE) | OF(PM_ACT_CUT),
            .after = inv23_after},
    [24] = {.family = "QUEUE",
            .sentence = "grants follow arrival in a class, every fourth is batch",
            .at = inv24_at,
            .kinds = OF(PM_ACT_GRANT) | OF(PM_ACT_REFUSE)},
    [25] = {.family = "PLACE",
            .sentence = "asked twice it answers the same, a pin is met or refused",
            .at = inv25_at,
            .kinds = OF(PM_ACT_GRANT)},
    [26] = {.family = "STATE",
            .sentence = "after a kill the next daemon has the last acknowledged intents and specs",
            .at = inv26_at,
            .kinds = OF(PM_ACT_ACCEPTED) | OF(PM_ACT_PERSIST)},
    [27] = {.family = "STATE",
            .sentence = "a failed commit leaves all as before; nothing but a drain waits",
            .after = inv27_after},
    [28] = {.family = "OP",
            .sentence = "an operation ends once, in a final state, and none runs after a restart",
            .at = inv28_at,
            .kinds = OF(PM_ACT_OPERATION)},
    [29] = {.family = "SIM", .sentence = "a second look finds nothing to do"},
    [30] = {.family = "SIM",
            .sentence = "with nothing due nothing happens, the deadline lies ahead"},
    [31] = {.family = "bounds",
            .sentence = "every waiter has ended by its deadline",
            .at = inv31_at,
            .kinds = OF(PM_ACT_REFUSE),
            .after = inv31_after},
    [32] = {.family = "bounds",
            .sentence = "wanted and permitted comes up in bounded time",
            .after = inv32_after},
    [33] = {.family = "bounds",
            .sentence = "a start is ready or stopping by start_max, start_stall, abandon_after",
            .after = inv33_after},
    [34] = {.family = "bounds",
            .sentence = "stopping, sick, hung, idle and draining end in bounded time",
            .after = inv34_after},
    [35] = {.family = "bounds",
            .sentence = "a claimant has room in bounded time",
            .after = inv35_after},
};

void sim_broken(struct sim *sim, const struct sim_clause *clause, int pool, const char *format, ...)
{
    va_list args;

    if (sim->broken)
        return; /* the first says it all */
    sim->broken = clause;
    sim->broken_pool = pool;
    sim->broken_step = sim->step;
    sim->broken_ms = sim->now_ms;
    va_start(args, format);
    (void)vsnprintf(sim->broken_text, sizeof(sim->broken_text), format, args);
    va_end(args);
}

void invariants_at(struct sim *sim, const struct pm_action *action)
{
    for (int id = 1; id < SIM_INVARIANTS; id++) {
        if (sim_invariants[id].kinds & OF(action->kind))
            sim_invariants[id].at(sim, action);
    }
}

void invariants_after(struct sim *sim)
{
    for (int id = 1; id < SIM_INVARIANTS; id++) {
        if (sim_invariants[id].after)
            sim_invariants[id].after(sim);
    }
}

/* ---- asked of every step ---------------------------------------------------------------------------------------- */

void inv2_nothing(struct sim *sim)
{
    HOLDS(sim, 2, SIM_NOBODY, "a dead input appends nothing", sim->out.n == 0, "%zu actions",
          sim->out.n);
    HOLDS(sim, 2, SIM_NOBODY, "a dead input changes nothing",
          pm_core_snapshot_version(sim->core) == sim->books.version, "version %" PRIu64,
          pm_core_snapshot_version(sim->core));
}

void inv29_second_look(struct sim *sim)
{
    pm_core_tick(sim->core, sim->now_ms, &sim->out);
    HOLDS(sim, 29, SIM_NOBODY, "a second look finds nothing to do", sim->out.n == 0,
          "%zu actions, the first of kind %d", sim->out.n,
          sim->out.n ? (int)sim->out.items[0].kind : 0);
    HOLDS(sim, 29, SIM_NOBODY, "a second look changes nothing",
          pm_core_snapshot_version(sim->core) == sim->books.version, "version %" PRIu64,
          pm_core_snapshot_version(sim->core));
    pm_actions_clear(&sim->out);
}

/* A tick before anything is due. */
void inv30_early_look(struct sim *sim)
{
    HOLDS(sim, 30, SIM_NOBODY, "with nothing due nothing happens", sim->out.n == 0,
          "%zu actions, the first of kind %d", sim->out.n,
          sim->out.n ? (int)sim->out.items[0].kind : 0);
    HOLDS(sim, 30, SIM_NOBODY, "with nothing due nothing changes",
          pm_core_snapshot_version(sim->core) == sim->books.version, "version %" PRIu64,
          pm_core_snapshot_version(sim->core));
}
