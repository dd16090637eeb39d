/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands do to each other (OP-1). One kind of operation owns a pool at a time; what one that arrives does to the
 * one that runs is a table, and the same table is printed for people. A start that nobody asked for by a command and
 * the stop of an idle engine are met like commands.
 */
#include "core/inner.h"
#include "util/buf.h"
#include "util/error.h"
#include "util/str.h"

/* [arrives][runs] */
static const enum pm_meeting meetings[PM_OP_KIND_COUNT][PM_RUNS_COUNT] = {
    [PM_OP_DRAIN] =
        {
            [PM_RUNS_NOTHING] = PM_BESIDE,
            [PM_RUNS_DRAIN] = PM_REPLACES,
            [PM_RUNS_STOP] = PM_REPLACES,
            [PM_RUNS_START] = PM_CANCELS,
            [PM_RUNS_IDLE] = PM_REPLACES,
            [PM_RUNS_REMOVAL] = PM_CONFLICTS,
            [PM_RUNS_RELOAD] = PM_CANCELS,
            [PM_RUNS_SWAP] = PM_CANCELS,
        },
    [PM_OP_RESUME] =
        {
            [PM_RUNS_DRAIN] = PM_CANCELS,
            [PM_RUNS_REMOVAL] = PM_CONFLICTS,
        },
    [PM_OP_START] =
        {
            [PM_RUNS_NOTHING] = PM_BESIDE,
            [PM_RUNS_DRAIN] = PM_CONFLICTS,
            [PM_RUNS_STOP] = PM_CANCELS,
            [PM_RUNS_START] = PM_JOINS,
            [PM_RUNS_IDLE] = PM_QUEUES,
            [PM_RUNS_REMOVAL] = PM_CONFLICTS,
            [PM_RUNS_RELOAD] = PM_JOINS,
            [PM_RUNS_SWAP] = PM_JOINS,
        },
    [PM_OP_STOP] =
        {
            [PM_RUNS_NOTHING] = PM_BESIDE,
            [PM_RUNS_DRAIN] = PM_JOINS,
            [PM_RUNS_STOP] = PM_JOINS,
            [PM_RUNS_START] = PM_CANCELS,
            [PM_RUNS_IDLE] = PM_JOINS,
            [PM_RUNS_REMOVAL] = PM_JOINS,
            [PM_RUNS_RELOAD] = PM_CONFLICTS,
            [PM_RUNS_SWAP] = PM_CONFLICTS,
        },
    [PM_OP_RELOAD] =
        {
            [PM_RUNS_NOTHING] = PM_BESIDE,
            [PM_RUNS_DRAIN] = PM_CONFLICTS,
            [PM_RUNS_STOP] = PM_CONFLICTS,
            [PM_RUNS_START] = PM_CANCELS,
            [PM_RUNS_RELOAD] = PM_CONFLICTS,
            [PM_RUNS_SWAP] = PM_CONFLICTS,
            [PM_RUNS_REMOVAL] = PM_CONFLICTS,
            [PM_RUNS_IDLE] = PM_CANCELS,
        },
    [PM_OP_PUT] =
        {
            [PM_RUNS_NOTHING] = PM_BESIDE,
            [PM_RUNS_DRAIN] = PM_QUEUES,
            [PM_RUNS_STOP] = PM_QUEUES,
            [PM_RUNS_START] = PM_CANCELS,
            [PM_RUNS_RELOAD] = PM_QUEUES,
            [PM_RUNS_SWAP] = PM_QUEUES,
            [PM_RUNS_REMOVAL] = PM_QUEUES,
            [PM_RUNS_IDLE] = PM_CANCELS,
        },
    [PM_OP_REMOVE] =
        {
            [PM_RUNS_NOTHING] = PM_BESIDE,
            [PM_RUNS_DRAIN] = PM_REPLACES,
            [PM_RUNS_STOP] = PM_REPLACES,
            [PM_RUNS_START] = PM_CANCELS,
            [PM_RUNS_REMOVAL] = PM_JOINS,
            [PM_RUNS_IDLE] = PM_REPLACES,
            [PM_RUNS_RELOAD] = PM_CANCELS,
            [PM_RUNS_SWAP] = PM_CANCELS,
        },
    [PM_OP_CANCEL] =
        {
            [PM_RUNS_REMOVAL] = PM_CONFLICTS,
        },
};

static const char *const meeting_names[] = {
    [PM_MEETS_NOTHING] = "nothing to do", [PM_JOINS] = "joins",     [PM_REPLACES] = "replaces it",
    [PM_CANCELS] = "cancels it",          [PM_QUEUES] = "after it", [PM_BESIDE] = "at once",
    [PM_CONFLICTS] = "`conflict`",
};

static const char *const column_names[PM_RUNS_COUNT] = {
    [PM_RUNS_NOTHING] = "nothing",
    [PM_RUNS_DRAIN] = "drain",
    [PM_RUNS_STOP] = "stop",
    [PM_RUNS_START] = "start, asked or on demand",
    [PM_RUNS_RELOAD] = "reload, before its first signal or switch",
    [PM_RUNS_SWAP] = "reload, after it",
    [PM_RUNS_REMOVAL] = "removal",
    [PM_RUNS_IDLE] = "idle stop",
};

static const enum pm_operation_kind rows[] = {
    PM_OP_DRAIN, PM_OP_RESUME, PM_OP_START, PM_OP_STOP, PM_OP_RELOAD, PM_OP_PUT, PM_OP_REMOVE,
};

char *pm_meetings_markdown(void)
{
    pm_auto_buf struct pm_buf buf = {0};

    pm_buf_adds(&buf, "| arrives \\ runs |");
    for (size_t i = 0; i < PM_RUNS_COUNT; i++)
        pm_buf_addf(&buf, " %s |", column_names[i]);
    pm_buf_adds(&buf, "\n| --- |");
    for (size_t i = 0; i < PM_RUNS_COUNT; i++)
        pm_buf_adds(&buf, " --- |");
    for (size_t k = 0; k < PM_ARRAY_LEN(rows); k++) {
        pm_buf_addf(&buf, "\n| %s |", pm_operation_kind_name(rows[k]));
        for (size_t i = 0; i < PM_RUNS_COUNT; i++)
            pm_buf_addf(&buf, " %s |", meeting_names[meetings[rows[k]][i]]);
    }
    pm_buf_adds(&buf, "\n");
    return pm_xstrdup(pm_buf_text(&buf));
}

/* ---- whom a command meets ------------------------------------------------------------------------------------ */

/* A command that waits for its commit is met as if it ran: its answer is on its way. */
static bool has_op(const struct pm_pool *pool, enum pm_operation_kind kind)
{
    const struct pm_link *link;

    pm_list_each (&pool->operations, link) {
        if (pm_container_of(link, const struct pm_op, pool_link)->view.kind == kind)
            return true;
    }
    return false;
}

enum pm_runs pm_pool_runs(const struct pm_pool *pool)
{
    if (pool->removing || has_op(pool, PM_OP_REMOVE))
        return PM_RUNS_REMOVAL;
    if (has_op(pool, PM_OP_DRAIN))
        return PM_RUNS_DRAIN;
    if (pool->reload)
        return pm_reload_is_past_return(pool) ? PM_RUNS_SWAP : PM_RUNS_RELOAD;
    if (has_op(pool, PM_OP_STOP))
        return PM_RUNS_STOP;
    if (has_op(pool, PM_OP_START) || pm_pool_any(pool, pm_place_is_on_its_way))
        return PM_RUNS_START;
    return pm_pool_any(pool, pm_place_is_stopping) ? PM_RUNS_IDLE : PM_RUNS_NOTHING;
}

enum pm_meeting pm_pool_meets(const struct pm_pool *pool, enum pm_operation_kind arrives)
{
    return meetings[arrives][pm_pool_runs(pool)];
}

static const char *const runs_in_words[PM_RUNS_COUNT] = {
    [PM_RUNS_NOTHING] = "rests",
    [PM_RUNS_DRAIN] = "is draining",
    [PM_RUNS_STOP] = "is stopping",
    [PM_RUNS_START] = "is starting",
    [PM_RUNS_RELOAD] = "is reloading",
    [PM_RUNS_SWAP] = "is reloading",
    [PM_RUNS_REMOVAL] = "is being removed",
    [PM_RUNS_IDLE] = "is stopping",
};

int pm_pool_refuses_command(const struct pm_pool *pool, enum pm_operation_kind arrives,
                            struct poolmgr_error *err)
{
    bool needs_ours = arrives == PM_OP_START || arrives == PM_OP_STOP || arrives == PM_OP_RELOAD;

    if (needs_ours && !pool->spec->habits.ours)
        return pm_fail(err, POOLMGR_E_CONFLICT, "the engine of %s is not ours: no %s",
                       pool->spec->id, pm_operation_kind_name(arrives));
    if (pm_pool_meets(pool, arrives) != PM_CONFLICTS)
        return POOLMGR_OK;
    return pm_fail(err, POOLMGR_E_CONFLICT, "%s %s: no %s now", pool->spec->id,
                   runs_in_words[pm_pool_runs(pool)], pm_operation_kind_name(arrives));
}
