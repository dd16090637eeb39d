/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of pools (NARR-1): what operators and files do to them, and how it ends. The end of a drain or a reload
 * says how long it took and what it cost.
 */
#include <inttypes.h>

#include "core/inner.h"
#include "util/str.h"

#define DURATION 32

void pm_tell_staged(const struct pm_pool *pool, uint64_t size_bytes, struct pm_actions *out)
{
    struct pm_event event;
    char bytes[DURATION];

    pm_event_init(&event, PM_EV_MODEL_STAGED, pool->spec->id);
    pm_event_pool(&event, pool->spec->id);
    if (size_bytes > 0)
        pm_event_human(&event, "the model of %s is there and good: %s", pool->spec->id,
                       pm_format_bytes(bytes, sizeof(bytes), size_bytes));
    else
        pm_event_human(&event, "the model of %s is there and good", pool->spec->id);
    pm_action_tell(out, &event);
}

void pm_tell_reset(const struct pm_pool *pool, struct pm_actions *out)
{
    static const char *const words[] = {
        [PM_BREAKER_AUTOMATIC] = "its failures are forgotten",
        [PM_BREAKER_FORCED] = "it is kept from starting",
        [PM_BREAKER_OFF] = "its breaker refuses nobody",
    };
    struct pm_event event;

    pm_event_init(&event, PM_EV_POOL_RESET, pool->spec->id);
    pm_event_pool(&event, pool->spec->id);
    pm_event_human(&event, "an operator resets %s: %s", pool->spec->id, words[pool->breaker]);
    pm_action_tell(out, &event);
}

void pm_tell_intent(const struct pm_pool *pool, enum pm_event_kind kind, struct pm_actions *out)
{
    const char *id = pool->spec->id;
    struct pm_event event;

    pm_event_init(&event, kind, id);
    pm_event_pool(&event, id);
    if (kind == PM_EV_POOL_RESUMED)
        pm_event_human(&event, "an operator resumes %s: it serves again", id);
    else if (pool->intent == PM_DRAINING)
        pm_event_human(&event, "%s is drained and held behind a closed gate", id);
    else
        pm_event_human(&event, "%s is drained and disabled", id);
    pm_action_tell(out, &event);
}

static void say_reload(const struct pm_op *op, enum pm_event_kind kind, struct pm_event *event)
{
    const char *id = op->view.pool_id;
    char text[DURATION];

    (void)pm_format_duration(text, sizeof(text), event->duration_ms);
    if (kind == PM_EV_RELOAD_STARTED)
        pm_event_human(event, "%s is reloaded: the new model is checked first", id);
    else if (kind == PM_EV_RELOAD_SWITCHED)
        pm_event_human(event, "%s is reloaded after %s", id, text);
    else if (op->view.state == PM_OP_CANCELLED)
        pm_event_human(event, "the reload of %s is called off after %s", id, text);
    else
        pm_event_human(event, "the reload of %s fails%s: %s", id,
                       op->view.rolled_back ? ", the former one is back" : "",
                       op->view.error.message);
}

void pm_tell_reload(const struct pm_op *op, enum pm_event_kind kind, const struct pm_pool *pool,
                    struct pm_actions *out)
{
    struct pm_event event;

    pm_event_init(&event, kind, op->view.pool_id);
    pm_event_pool(&event, op->view.pool_id);
    if (kind != PM_EV_RELOAD_STARTED) {
        event.fields |= PM_EF_DURATION_MS;
        event.duration_ms = op->view.ended_ms - op->view.created_ms;
    }
    if (op->view.error.code != 0) {
        event.fields |= PM_EF_ERROR_CODE;
        event.error_code = op->view.error.code;
        pm_event_text(&event, op->view.error.message); /* whole; the sentence may be cut */
    }
    if (pool->wanted->model.main) {
        event.fields |= PM_EF_MODEL;
        (void)pm_str_copy(event.model, sizeof(event.model), pool->wanted->model.main);
    }
    say_reload(op, kind, &event);
    pm_action_tell(out, &event);
}

void pm_tell_changed(const struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_event event;

    pm_event_init(&event, PM_EV_POOL_CHANGED, pool->spec->id);
    pm_event_pool(&event, pool->spec->id);
    pm_event_human(&event, "limits of %s change in place", pool->spec->id);
    pm_action_tell(out, &event);
}

void pm_tell_removed(const struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_event event;

    pm_event_init(&event, PM_EV_POOL_REMOVED, pool->spec->id);
    pm_event_pool(&event, pool->spec->id);
    pm_event_human(&event, "%s is removed", pool->spec->id);
    pm_action_tell(out, &event);
}

static void say_drain_ended(const struct pm_op *op, struct pm_event *event)
{
    uint64_t n = op->view.n_leases_left;
    char text[DURATION];

    event->fields |= PM_EF_DURATION_MS;
    event->duration_ms = op->view.ended_ms - op->view.created_ms;
    (void)pm_format_duration(text, sizeof(text), event->duration_ms);
    if (op->view.state == PM_OP_CANCELLED)
        pm_event_human(event, "the drain of %s is called off after %s", op->view.pool_id, text);
    else if (op->view.state == PM_OP_FAILED)
        pm_event_human(event, "the drain of %s is given up after %s: %" PRIu64 " request%s left",
                       op->view.pool_id, text, n, pm_plural(n));
    else if (op->view.forced)
        pm_event_human(event, "%s is drained after %s; cut: %" PRIu64 " request%s",
                       op->view.pool_id, text, n, pm_plural(n));
    else
        pm_event_human(event, "%s is drained after %s; nothing was cut", op->view.pool_id, text);
    if (op->view.error.code != 0) {
        event->fields |= PM_EF_ERROR_CODE;
        event->error_code = op->view.error.code;
    }
}

void pm_tell_drain(const struct pm_op *op, enum pm_event_kind kind, struct pm_actions *out)
{
    uint64_t n = op->pool->n_leases;
    struct pm_event event;

    pm_event_init(&event, kind, op->view.pool_id);
    pm_event_pool(&event, op->view.pool_id);
    if (kind == PM_EV_DRAIN_ENDED)
        say_drain_ended(op, &event);
    else if (n == 0)
        pm_event_human(&event, "an operator drains %s: nothing runs", op->view.pool_id);
    else
        pm_event_human(&event, "an operator drains %s: %" PRIu64 " request%s may finish",
                       op->view.pool_id, n, pm_plural(n));
    pm_action_tell(out, &event);
}

void pm_tell_file_changed(const struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_event event;

    pm_event_init(&event, PM_EV_POOL_RESET, pool->spec->id);
    pm_event_pool(&event, pool->spec->id);
    pm_event_human(&event, "a file of %s changed: it may start again", pool->spec->id);
    pm_action_tell(out, &event);
}
