/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long commands (OP-1). One kind of operation owns a pool at a time; what a second one does to the first is a table.
 * An operation does nothing itself: while it runs it is one of the reasons in want.c, and it has ended when the
 * places are where it wanted them.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/inner.h"
#include "util/buf.h"
#include "util/error.h"
#include "util/str.h"

static const char *const kind_names[] = {
    [PM_OP_START] = "start",     [PM_OP_STOP] = "stop",     [PM_OP_DRAIN] = "drain",
    [PM_OP_RESUME] = "resume",   [PM_OP_RELOAD] = "reload", [PM_OP_RESET] = "reset",
    [PM_OP_PUT] = "put",         [PM_OP_REMOVE] = "remove", [PM_OP_CONFIG_RELOAD] = "config-reload",
    [PM_OP_HANDOFF] = "handoff",
};
static_assert(PM_ARRAY_LEN(kind_names) == PM_OP_KIND_COUNT, "a kind has no name");

const char *pm_operation_state_name(enum pm_operation_state state)
{
    static const char *const names[] = {
        [PM_OP_RUNNING] = "running",         [PM_OP_SUCCEEDED] = "succeeded",
        [PM_OP_FAILED] = "failed",           [PM_OP_CANCELLED] = "cancelled",
        [PM_OP_INTERRUPTED] = "interrupted",
    };

    return names[state];
}

const char *pm_operation_kind_name(enum pm_operation_kind kind)
{
    return kind_names[kind];
}

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
        pm_buf_addf(&buf, "\n| %s |", kind_names[rows[k]]);
        for (size_t i = 0; i < PM_RUNS_COUNT; i++)
            pm_buf_addf(&buf, " %s |", meeting_names[meetings[rows[k]][i]]);
    }
    pm_buf_adds(&buf, "\n");
    return pm_xstrdup(pm_buf_text(&buf));
}

static struct pm_op *op_of(struct pm_link *link)
{
    return pm_container_of(link, struct pm_op, pool_link);
}

struct pm_op *pm_pool_op(const struct pm_pool *pool, enum pm_operation_kind kind)
{
    struct pm_link *link;

    pm_list_each (&pool->operations, link) {
        if (op_of(link)->stage == PM_OP_ACTING && op_of(link)->view.kind == kind)
            return op_of(link);
    }
    return NULL;
}

bool pm_pool_has_start(const struct pm_pool *pool)
{
    return pm_pool_op(pool, PM_OP_START) != NULL;
}

uint64_t pm_pool_stop_by(const struct pm_pool *pool)
{
    uint64_t by_ms = PM_NEVER;
    struct pm_link *link;

    pm_list_each (&pool->operations, link) {
        const struct pm_op *op = op_of(link);
        bool empties = op->view.kind == PM_OP_STOP || op->view.kind == PM_OP_REMOVE;

        if (empties && op->stage == PM_OP_ACTING && op->deadline_ms < by_ms)
            by_ms = op->deadline_ms;
    }
    return by_ms;
}

/* ---- whom a command meets ------------------------------------------------------------------------------------ */

/* A command that waits for its commit is met as if it ran: its answer is on its way. */
static bool has_op(const struct pm_pool *pool, enum pm_operation_kind kind)
{
    struct pm_link *link;

    pm_list_each (&pool->operations, link) {
        if (op_of(link)->view.kind == kind)
            return true;
    }
    return false;
}

static enum pm_runs who_runs(const struct pm_pool *pool)
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
    return meetings[arrives][who_runs(pool)];
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
                       pool->spec->id, kind_names[arrives]);
    if (pm_pool_meets(pool, arrives) != PM_CONFLICTS)
        return POOLMGR_OK;
    return pm_fail(err, POOLMGR_E_CONFLICT, "%s %s: no %s now", pool->spec->id,
                   runs_in_words[who_runs(pool)], kind_names[arrives]);
}

/* ---- beginning and ending ---------------------------------------------------------------------------------- */

static void forget_oldest(struct pm_core *core)
{
    struct pm_link *link = core->operation_list.head.prev, *before;

    for (; core->n_operations > PM_OPERATIONS_KEPT && link != &core->operation_list.head;
         link = before) {
        struct pm_op *op = pm_container_of(link, struct pm_op, link);

        before = link->prev;
        if (op->view.state == PM_OP_RUNNING)
            continue;
        (void)pm_map_remove_u64(&core->operations, op->view.id);
        pm_list_remove(&op->link);
        core->n_operations--;
        free(op);
    }
}

static struct pm_op *add(struct pm_core *core, struct pm_list *list, const char *pool_id,
                         enum pm_operation_kind kind, uint64_t id)
{
    struct pm_op *op = pm_xalloc(sizeof(*op));

    forget_oldest(core);
    op->core = core;
    op->view.id = id;
    op->view.kind = kind;
    op->view.state = PM_OP_RUNNING;
    op->view.created_ms = core->now_ms;
    op->deadline_ms = PM_NEVER;
    (void)pm_str_copy(op->view.pool_id, sizeof(op->view.pool_id), pool_id);

    (void)pm_map_set_u64(&core->operations, op->view.id, op);
    pm_list_prepend(&core->operation_list, &op->link);
    pm_list_append(list, &op->pool_link);
    core->n_operations++;
    pm_core_changed(core);
    return op;
}

static struct pm_op *add_to(struct pm_pool *pool, enum pm_operation_kind kind, uint64_t id)
{
    struct pm_op *op = add(pool->core, &pool->operations, pool->spec->id, kind, id);

    op->pool = pool;
    op->was_parked = pool->parked;
    return op;
}

struct pm_op *pm_op_begin(struct pm_pool *pool, enum pm_operation_kind kind, enum pm_op_stage stage)
{
    struct pm_op *op = add_to(pool, kind, ++pool->core->last_operation);

    op->stage = stage;
    op->view.accepted = stage != PM_OP_TO_COMMIT;
    return op;
}

struct pm_op *pm_op_begin_poolless(struct pm_core *core, const char *pool_id,
                                   enum pm_operation_kind kind, enum pm_op_stage stage)
{
    struct pm_op *op = add(core, &core->poolless, pool_id, kind, ++core->last_operation);

    op->stage = stage;
    op->view.accepted = stage != PM_OP_TO_COMMIT;
    return op;
}

static void answer(struct pm_op *op, const struct poolmgr_error *error, struct pm_actions *out)
{
    if (!op->owes_answer)
        return;
    op->owes_answer = false;
    op->view.accepted = !error;
    pm_action_accepted(out, op->view.id, error);
}

void pm_op_accept(struct pm_op *op, struct pm_actions *out)
{
    answer(op, NULL, out);
}

/* It ends before it was accepted: whoever gave the command is told why. */
static void answer_at_end(struct pm_op *op, const struct poolmgr_error *error,
                          struct pm_actions *out)
{
    const struct pm_core *core = op->core;
    struct poolmgr_error why = {0};

    if (core->shutting_down || core->leaving)
        (void)pm_fail(&why, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    else
        (void)pm_fail(&why, POOLMGR_E_CONFLICT, "another command on %s came first",
                      op->view.pool_id);
    answer(op, error ? error : &why, out);
}

void pm_op_end(struct pm_op *op, enum pm_operation_state state, const struct poolmgr_error *error,
               struct pm_actions *out)
{
    struct pm_core *core = op->core;

    op->view.state = state;
    op->view.ended_ms = core->now_ms;
    op->view.phase[0] = '\0';
    op->view.text[0] = '\0';
    if (error)
        op->view.error = *error;
    if (error && op->parent && op->parent->view.error.code == 0)
        op->parent->view.error = *error;
    pm_commit_forget(op);
    pm_pool_spec_unref(pm_take(op->spec));
    pm_list_remove(&op->pool_link);
    pm_core_changed(core);
    answer_at_end(op, error, out);
    pm_action_add(out, PM_ACT_OPERATION)->operation = op->view.id;
}

void pm_op_replace(struct pm_op *op, const struct pm_op *by, struct pm_actions *out)
{
    op->view.replaced_by = by->view.id;
    op->stored = false; /* the other one's record took its place */
    pm_op_end(op, PM_OP_CANCELLED, NULL, out);
}

void pm_op_restore(struct pm_pool *pool, enum pm_operation_kind kind, uint64_t id,
                   struct pm_actions *out)
{
    struct pm_op *op;

    if (pm_map_get_u64(&pool->core->operations, id))
        return;
    if (id > pool->core->last_operation)
        pool->core->last_operation = id;
    op = add_to(pool, kind, id);
    op->stored = true; /* until a record without it is */
    pm_op_end(op, PM_OP_INTERRUPTED, NULL, out);
}

static void end_kind(struct pm_pool *pool, enum pm_operation_kind kind,
                     enum pm_operation_state state, const struct poolmgr_error *error,
                     struct pm_actions *out)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&pool->operations, link, after) {
        if (op_of(link)->view.kind == kind)
            pm_op_end(op_of(link), state, error, out);
    }
}

void pm_operations_end(struct pm_pool *pool, enum pm_operation_kind kind,
                       enum pm_operation_state state, struct pm_actions *out)
{
    end_kind(pool, kind, state, NULL, out);
}

void pm_operations_cancel_starts_before(struct pm_pool *pool, const struct pm_op *op,
                                        struct pm_actions *out)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&pool->operations, link, after) {
        if (op_of(link)->view.kind == PM_OP_START && op_of(link)->view.id < op->view.id)
            pm_op_end(op_of(link), PM_OP_CANCELLED, NULL, out);
    }
}

void pm_operations_part(struct pm_pool *pool)
{
    struct pm_link *link;

    pm_list_each (&pool->core->operation_list, link) {
        struct pm_op *op = pm_container_of(link, struct pm_op, link);

        if (op->pool == pool)
            op->pool = NULL;
    }
}

void pm_operations_interrupt(struct pm_list *operations, struct pm_actions *out)
{
    struct pm_link *link, *after;

    pm_list_each_safe (operations, link, after)
        pm_op_end(op_of(link), PM_OP_INTERRUPTED, NULL, out);
}

/* A start is a waiter without a deadline: what ends all waiters ends it, too. */
void pm_operations_fail_starts(struct pm_pool *pool, const struct poolmgr_error *error,
                               struct pm_actions *out)
{
    end_kind(pool, PM_OP_START, PM_OP_FAILED, error, out);
}

void pm_operations_fini(struct pm_core *core)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&core->operation_list, link, after) {
        struct pm_op *op = pm_container_of(link, struct pm_op, link);

        pm_pool_spec_unref(op->spec);
        free(op);
    }
    pm_map_fini(&core->operations);
}

/* ---- what has ended ------------------------------------------------------------------------------------------ */

bool pm_pool_any(const struct pm_pool *pool, bool (*is)(const struct pm_place *place))
{
    const struct pm_link *link;

    for (unsigned i = 0; i < pool->n_places; i++) {
        if (is(pool->places[i]))
            return true;
    }
    pm_list_each (&pool->extras, link) {
        if (is(pm_container_of(link, const struct pm_place, extra_link)))
            return true;
    }
    return false;
}

bool pm_place_has_process(const struct pm_place *place)
{
    return place->state != PM_COLD && place->state != PM_BACKOFF && place->state != PM_FAILED;
}

bool pm_place_is_stopping(const struct pm_place *place)
{
    return place->state == PM_STOPPING;
}

bool pm_place_is_on_its_way(const struct pm_place *place)
{
    return place->state == PM_STAGING || place->state == PM_WAITING || place->state == PM_STARTING;
}

static bool is_up(const struct pm_place *place)
{
    return place->state == PM_READY || place->state == PM_SICK;
}

/* Ready, as far as it can be now: a replica whose start failed comes later, by the restart clock. */
static bool start_is_done(const struct pm_pool *pool)
{
    bool any_up = false;

    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pm_place_has_process(pool->places[i]) && !is_up(pool->places[i]))
            return false;
        any_up = any_up || is_up(pool->places[i]);
    }
    return any_up;
}

static const char *const start_phases[PM_STATE_COUNT] = {
    [PM_COLD] = "",
    [PM_STAGING] = "staging",
    [PM_WAITING] = "waiting",
    [PM_STARTING] = "starting",
    [PM_READY] = "starting",
    [PM_SICK] = "starting",
    [PM_STOPPING] = "stopping",
    [PM_BACKOFF] = "waiting",
    [PM_FAILED] = "",
};

static void show_phase(struct pm_op *op)
{
    const struct pm_pool *pool = op->pool;
    const char *phase = start_phases[pm_pool_best_state(pool)];

    if (op->view.kind != PM_OP_START)
        phase = pm_pool_any(pool, pm_place_is_stopping) ? "stopping" : "draining";
    (void)pm_str_copy(op->view.phase, sizeof(op->view.phase), phase);
}

static void step_op(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;

    if (op->view.kind == PM_OP_STOP && !pm_pool_any(pool, pm_place_has_process))
        pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
    else if (op->view.kind == PM_OP_START && !pm_pool_op(pool, PM_OP_STOP) && start_is_done(pool))
        pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
    else if (op->view.kind == PM_OP_DRAIN)
        pm_drain_step(op, out);
}

void pm_operations_step(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&pool->operations, link, after) {
        if (op_of(link)->stage == PM_OP_ACTING)
            step_op(op_of(link), out);
    }
    pm_list_each (&pool->operations, link) {
        if (op_of(link)->stage == PM_OP_ACTING && op_of(link)->view.kind != PM_OP_RELOAD)
            show_phase(op_of(link));
    }
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

int pm_find_pool(struct pm_core *core, const char *pool_id, struct pm_pool **ret,
                 struct poolmgr_error *err)
{
    struct pm_pool *pool = pm_registry_find(core, pool_id);

    if (!pool)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%s'", pool_id);
    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    *ret = pool;
    return POOLMGR_OK;
}

/* A stop can be called off until its first signal. */
static bool call_off_stop(struct pm_pool *pool, struct pm_actions *out)
{
    if (pm_pool_any(pool, pm_place_is_stopping))
        return false;
    pool->parked = pm_pool_op(pool, PM_OP_STOP)->was_parked;
    end_kind(pool, PM_OP_STOP, PM_OP_CANCELLED, NULL, out);
    return true;
}

/* What rests by an operator's will starts by an operator's will only. */
static int refuse_start_of_resting(const struct pm_pool *pool, struct poolmgr_error *err)
{
    int r = pm_fail(err, POOLMGR_E_CONFLICT, "%s is %s: resume it first", pool->spec->id,
                    pm_intent_name(pool->intent == PM_DISABLED ? PM_DISABLED : PM_DRAINING));

    return pm_error_hint(err, r, "poolctl resume %s", pool->spec->id);
}

int pm_core_start(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    enum pm_meeting meets;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = pm_pool_check_ours(pool, "start", err);
    if (r < 0)
        return r;

    meets = pm_pool_meets(pool, PM_OP_START);
    if (who_runs(pool) == PM_RUNS_DRAIN || pool->intent != PM_ENABLED)
        return refuse_start_of_resting(pool, err);
    r = pm_pool_refuses_command(pool, PM_OP_START, err);
    if (r < 0)
        return r;

    if (meets == PM_CANCELS)
        (void)call_off_stop(pool, out); /* else this one follows it */
    pool->parked = false;
    pool->has_keep_alive = false;
    *ret_op = pm_op_begin(pool, PM_OP_START, PM_OP_ACTING)->view.id;
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

/* Whoever waits for a start that an operator stops is told so; who waits for a slot of a running engine waits on. */
static void refuse_those_who_wait_for_a_start(struct pm_pool *pool, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    if (pm_pool_n_waiters(pool) == 0 || pm_pool_any(pool, is_up) ||
        pm_pool_any(pool, pm_place_is_stopping))
        return;
    (void)pm_fail(&error, POOLMGR_E_START_FAILED, "an operator stops the start of %s",
                  pool->spec->id);
    error.retry_after_ms = 1000;
    pm_queue_refuse_all(pool, &error, out);
}

int pm_core_stop(struct pm_core *core, const char *pool_id, uint64_t deadline_ms, uint64_t now_ms,
                 struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = pm_pool_check_ours(pool, "stop", err);
    if (r == POOLMGR_OK && !(deadline_ms == 0 && pool->reload))
        r = pm_pool_refuses_command(pool, PM_OP_STOP, err);
    if (r < 0)
        return r;

    pm_reload_call_off(pool, false, out);
    refuse_those_who_wait_for_a_start(pool, out);
    end_kind(pool, PM_OP_START, PM_OP_CANCELLED, NULL, out);
    op = pm_op_begin(pool, PM_OP_STOP, PM_OP_ACTING);
    op->deadline_ms =
        pm_add_ms(core->now_ms, deadline_ms); /* of all that run the earliest counts */
    pool->parked = true;
    *ret_op = op->view.id;
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

int pm_core_cancel_operation(struct pm_core *core, uint64_t id, uint64_t now_ms,
                             struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_pool *pool;
    struct pm_op *op;

    pm_core_enter(core, now_ms, out);
    op = pm_map_get_u64(&core->operations, id);
    if (!op)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no operation op-%llu", (unsigned long long)id);
    if (op->view.state != PM_OP_RUNNING)
        return pm_fail(err, POOLMGR_E_CONFLICT, "op-%llu has ended already",
                       (unsigned long long)id);
    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    if (op->view.kind == PM_OP_REMOVE)
        return pm_fail(err, POOLMGR_E_CONFLICT, "a removal is for good");
    if (op->view.kind == PM_OP_CONFIG_RELOAD)
        return pm_fail(err, POOLMGR_E_CONFLICT, "its parts can be cancelled, one by one");
    if (!op->pool && op->commit.serial != 0)
        return pm_fail(err, POOLMGR_E_CONFLICT, "it is on its way to the disk");
    if (op->view.kind == PM_OP_STOP && !call_off_stop(op->pool, out))
        return pm_fail(err, POOLMGR_E_CONFLICT,
                       "the engine of %s has its signal: the stop is finished first",
                       op->pool->spec->id);

    pool = op->pool;
    if (op->view.kind == PM_OP_DRAIN && op->stage == PM_OP_ACTING)
        pm_drain_call_off(op, PM_OP_CANCELLED, NULL, out);
    else if (op->view.kind == PM_OP_RELOAD && pool->reload && pool->reload->op == op)
        pm_reload_call_off(pool, true, out);
    else if (op->view.state == PM_OP_RUNNING)
        pm_op_end(op, PM_OP_CANCELLED, NULL, out);
    if (pool)
        pm_pool_step(pool, out);
    pm_poolless_step(core, out);
    return POOLMGR_OK;
}

static bool waits_for_its_clock(const struct pm_place *place)
{
    return place->state == PM_BACKOFF;
}

/* What failed is forgotten; what runs is left alone. */
void pm_pool_forgive(struct pm_pool *pool, struct pm_actions *out)
{
    pool->failed = false;
    for (unsigned i = 0; i < pool->n_places; i++) {
        pool->places[i]->clock = (struct pm_clock){0};
        pool->places[i]->n_oom_in_row = 0;
        (void)pm_place_move(pool->places[i], PM_CAUSE_RESET, out);
    }
    pm_core_changed(pool->core);
}

int pm_core_reset(struct pm_core *core, const char *pool_id, enum pm_breaker breaker,
                  uint64_t now_ms, struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;

    pool->breaker = breaker == PM_BREAKER_FORCED_OPEN ? PM_BREAKER_FORCED
                    : breaker == PM_BREAKER_DISABLED  ? PM_BREAKER_OFF
                                                      : PM_BREAKER_AUTOMATIC;
    pm_tell_reset(pool, out);
    pm_pool_forgive(pool, out);
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

void pm_core_file_changed(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                          struct pm_actions *out)
{
    struct pm_pool *pool;

    pm_core_enter(core, now_ms, out);
    pool = pm_registry_find(core, pool_id);
    if (!pool || !(pool->failed || pm_pool_any(pool, waits_for_its_clock)))
        return;

    pm_tell_file_changed(pool, out);
    pm_pool_forgive(pool, out);
    pm_pool_step(pool, out);
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

bool pm_core_operation(const struct pm_core *core, uint64_t id, struct pm_operation *ret)
{
    const struct pm_op *op = pm_map_get_u64(&core->operations, id);

    if (!op)
        return false;
    *ret = op->view;
    return true;
}

bool pm_core_operation_at(const struct pm_core *core, size_t i, struct pm_operation *ret)
{
    const struct pm_link *link;

    pm_list_each (&core->operation_list, link) {
        if (i-- > 0)
            continue;
        *ret = pm_container_of(link, const struct pm_op, link)->view;
        return true;
    }
    return false;
}
