/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a pool is durable (STATE-1). A command that changes it for good acts when the record is committed, and its
 * answer waits for that; a failed commit leaves everything as it was. A pool has one commit under way at a time, so
 * that the last word is the last one on the disk. No start, stop or lease comes by here.
 */
#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

static struct pm_op *op_of(struct pm_link *link)
{
    return pm_container_of(link, struct pm_op, pool_link);
}

/* ---- asking --------------------------------------------------------------------------------------------------- */

/* A drain that runs has stored what comes after it, and what is stored beside it says the same. */
static enum pm_intent intent_of(const struct pm_pool *pool)
{
    const struct pm_op *drain = pm_pool_op(pool, PM_OP_DRAIN);

    if (!drain)
        return pool->intent;
    return drain->then == PM_THEN_HOLD ? PM_DRAINING : PM_DISABLED;
}

static enum pm_intent intent_after(const struct pm_op *op)
{
    const struct pm_op *cancelled = pm_cancel_drain(op);

    if (cancelled)
        return cancelled->former;
    if (op->view.kind == PM_OP_DRAIN)
        return op->then == PM_THEN_HOLD ? PM_DRAINING : PM_DISABLED;
    return op->view.kind == PM_OP_RESUME ? PM_ENABLED : intent_of(op->pool);
}

/* What is durable while no commit is under way. */
static void fill(const struct pm_pool *pool, const struct pm_op *op, struct pm_pool_record *ret)
{
    const struct pm_op *drain = pm_pool_op(pool, PM_OP_DRAIN);

    (void)pm_str_copy(ret->pool_id, sizeof(ret->pool_id), pool->spec->id);
    ret->owner = pool->owner;
    ret->intent = op ? intent_after(op) : intent_of(pool);
    ret->removed = pool->removing || (op && op->view.kind == PM_OP_REMOVE);
    if (op && op->spec)
        ret->spec_text = op->spec->stored;
    else if (pool->owner == PM_OWNER_API || pm_pool_has_drift(pool))
        ret->spec_text = pool->spec->stored;
    if (!op)
        op = drain;
    if (!op)
        return;
    ret->has_operation = true;
    ret->operation = op->view.id;
    ret->kind = op->view.kind;
}

/* Of a pool that comes into being when this is durable. */
static void fill_new(const struct pm_op *op, struct pm_pool_record *ret)
{
    (void)pm_str_copy(ret->pool_id, sizeof(ret->pool_id), op->spec->id);
    ret->owner = op->owner;
    ret->intent = PM_ENABLED;
    ret->spec_text = op->spec->stored;
}

static bool is_writing(const struct pm_pool *pool)
{
    struct pm_link *link;

    if (pool->tidy.serial != 0)
        return true;
    pm_list_each (&pool->operations, link) {
        if (op_of(link)->commit.serial != 0)
            return true;
    }
    return false;
}

/* The first that waits for the disk, or NULL. */
static struct pm_op *next_to_commit(const struct pm_pool *pool)
{
    struct pm_link *link;

    pm_list_each (&pool->operations, link) {
        if (op_of(link)->stage == PM_OP_TO_COMMIT)
            return op_of(link);
    }
    return NULL;
}

void pm_commit(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool_record record = {0};

    if (op->pool)
        fill(op->pool, op, &record);
    else
        fill_new(op, &record);
    op->stored = true;
    if (op->pool)
        op->pool->to_tidy = false; /* this one says it all */
    pm_ask(op->core, &op->commit, PM_QUESTION_COMMIT, op);
    pm_action_persist(out, &op->commit, &record);
}

static void tidy(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_pool_record record = {0};

    fill(pool, NULL, &record);
    pool->to_tidy = false;
    pm_ask(pool->core, &pool->tidy, PM_QUESTION_TIDY, pool);
    pm_action_persist(out, &pool->tidy, &record);
}

void pm_commit_step(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_op *op;

    if (is_writing(pool) || pool->core->stopped)
        return;
    op = next_to_commit(pool);
    if (op)
        pm_commit(op, out);
    else if (pool->to_tidy && !pool->core->shutting_down && !pool->core->leaving)
        tidy(pool, out);
}

/* It may be on the disk already, or come there yet: what holds instead is written behind it. */
void pm_commit_forget(struct pm_op *op)
{
    if (op->stored && op->pool)
        op->pool->to_tidy = op->pool->is_behind = true;
    pm_unask(op->core, &op->commit);
}

/* ---- the answer ----------------------------------------------------------------------------------------------- */

static void refuse(struct pm_op *op, const struct poolmgr_error *failure, struct pm_actions *out)
{
    struct poolmgr_error error = *failure;

    op->stored = false; /* what was durable before still is */
    error.code = POOLMGR_E_STORE_FAILED;
    if (op->pool && op->pool->reload && op->pool->reload->op == op)
        pm_reload_not_committed(op, &error, out);
    else
        pm_op_end(op, PM_OP_FAILED, &error, out);
}

static void act(struct pm_op *op, struct pm_actions *out)
{
    op->stage = PM_OP_ACTING;
    pm_op_accept(op, out);
    pm_core_changed(op->core);
    if (op->view.kind == PM_OP_DRAIN)
        pm_drain_begin(op, out);
    else if (op->view.kind == PM_OP_RESUME)
        pm_resume_begin(op, out);
    else if (op->view.kind == PM_OP_CANCEL)
        pm_cancel_begin(op, out);
    else if (op->pool && op->pool->reload && op->pool->reload->op == op)
        pm_reload_committed(op, out);
    else if (op->spec)
        pm_put_begin(op, out);
    else
        pm_removal_begin(op, out);
}

static void committed(struct pm_op *op, const struct poolmgr_error *failure, struct pm_actions *out)
{
    struct pm_core *core = op->core;
    struct pm_pool *pool = op->pool;

    pm_unask(core, &op->commit);
    if (failure && pool)
        pool->to_tidy = pool->is_behind;
    else if (pool)
        pool->is_behind = pool->to_tidy;
    if (failure)
        refuse(op, failure, out);
    else
        act(op, out);
    if (pool)
        pm_pool_step(pool, out);
    pm_poolless_step(core, out);
}

void pm_core_persisted(struct pm_core *core, struct pm_token token,
                       const struct poolmgr_error *failure, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_pool *pool;
    struct pm_op *op;

    pm_core_enter(core, now_ms, out);
    op = pm_answered(core, token, PM_QUESTION_COMMIT);
    pool = pm_answered(core, token, PM_QUESTION_TIDY);
    if (op)
        committed(op, failure, out);
    if (!pool)
        return;
    pm_unask(core, &pool->tidy);
    if (!failure)
        pool->is_behind = pool->to_tidy;
    pm_pool_step(pool, out);
}
