/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: what a long command is while it runs, and what is known of it afterwards (OP-1). An operation does
 * nothing itself: while it runs it is one of the reasons in want.c, and it has ended when the places are where it
 * wanted them. The last ones are kept, so that one can ask how they ended.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

static const char *const kind_names[] = {
    [PM_OP_START] = "start",     [PM_OP_STOP] = "stop",     [PM_OP_DRAIN] = "drain",
    [PM_OP_RESUME] = "resume",   [PM_OP_RELOAD] = "reload", [PM_OP_RESET] = "reset",
    [PM_OP_PUT] = "put",         [PM_OP_REMOVE] = "remove", [PM_OP_CONFIG_RELOAD] = "config-reload",
    [PM_OP_HANDOFF] = "handoff", [PM_OP_CANCEL] = "cancel",
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

    if (!op->owes_answer)
        return;
    if (!error && (core->shutting_down || core->leaving))
        (void)pm_fail(&op->view.error, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    else if (!error)
        (void)pm_fail(&op->view.error, POOLMGR_E_CONFLICT, "another command on %s %s",
                      op->view.pool_id, op->view.replaced_by ? "took its place" : "came first");
    answer(op, &op->view.error, out);
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

bool pm_place_is_up(const struct pm_place *place)
{
    return place->state == PM_READY || place->state == PM_SICK;
}

/* Ready, as far as it can be now: a replica whose start failed comes later, by the restart clock. */
static bool start_is_done(const struct pm_pool *pool)
{
    bool any_up = false;

    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pm_place_has_process(pool->places[i]) && !pm_place_is_up(pool->places[i]))
            return false;
        any_up = any_up || pm_place_is_up(pool->places[i]);
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
