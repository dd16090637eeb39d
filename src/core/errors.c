/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests, commands and last_error say: one line with the numbers, and a hint what a person can do next. Texts
 * of engines and files come in as they are; nothing here knows a prompt.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define DURATION 32

static const char *duration(char *to, uint64_t ms)
{
    return pm_format_duration(to, DURATION, ms);
}

const char *pm_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- how a try ended --------------------------------------------------------------------------------------- */

static const char *signal_name(int number)
{
    const char *name = sigabbrev_np(number);

    return name ? name : "unknown";
}

static void describe_exit(const struct pm_verdict *verdict, char *to, size_t size)
{
    if (verdict->status < 0)
        (void)snprintf(to, size, "it ended, and nobody saw how");
    else if (verdict->signalled)
        (void)snprintf(to, size, "signal %d (SIG%s)", verdict->status,
                       signal_name(verdict->status));
    else
        (void)snprintf(to, size, "exit status %d", verdict->status);
}

/* "out of memory (signal 9 (SIGKILL)): the line"; the parts that are known. */
void pm_describe_verdict(const struct pm_verdict *verdict, char *to, size_t size)
{
    char how[64] = "";

    if (verdict->exited)
        describe_exit(verdict, how, sizeof(how));
    switch (verdict->class) {
    case PM_CLASS_OOM:
        (void)snprintf(to, size, "out of memory%s%s", how[0] ? ", " : "", how);
        break;
    case PM_CLASS_DRIVER:
        (void)snprintf(to, size, "a driver error%s%s", how[0] ? ", " : "", how);
        break;
    case PM_CLASS_KILLED:
        (void)snprintf(to, size, "killed by somebody else%s%s", how[0] ? ", " : "", how);
        break;
    default: (void)snprintf(to, size, "%s", how); break;
    }
    if (verdict->text[0] != '\0') {
        size_t n = strlen(to);

        (void)snprintf(to + n, size - n, "%s%s", n > 0 ? ": " : "", verdict->text);
    }
    if (to[0] == '\0')
        (void)pm_str_copy(to, size, pm_class_name(verdict->class));
    pm_text_clean(to); /* it may have been cut */
}

void pm_describe_timeout(const struct pm_place *place, char *to, size_t size)
{
    const struct pm_tenure *instance = &place->instance;
    uint64_t now_ms = place->pool->core->now_ms;
    char text[DURATION];

    if (now_ms >= instance->start_by_ms)
        (void)snprintf(to, size, "not ready after %s (start_max)",
                       duration(text, now_ms - instance->started_ms));
    else
        (void)snprintf(to, size, "no progress for %s (start_stall)",
                       duration(text, now_ms - instance->progress_ms));
}

void pm_describe_stall(const struct pm_place *place, char *to, size_t size)
{
    uint64_t now_ms = place->pool->core->now_ms;
    char text[DURATION];

    if (now_ms - place->instance.life_ms >= place->spec->stall_timeout_ms)
        (void)snprintf(to, size, "%" PRIu64 " request%s and no sign of life for %s",
                       pm_place_at_work(place), pm_plural(pm_place_at_work(place)),
                       duration(text, now_ms - place->instance.life_ms));
    else
        (void)snprintf(to, size, "%" PRIu64 " requests in a row ran into their limits",
                       place->instance.n_limits_in_row);
}

void pm_describe_sickness(const struct pm_place *place, char *to, size_t size)
{
    char text[DURATION];

    (void)snprintf(to, size, "no answer to health probes for %s",
                   duration(text, place->pool->core->now_ms - place->since_ms));
}

/* ---- errors of waiting requests ------------------------------------------------------------------------------ */

static void hint_logs(const struct pm_pool *pool, struct poolmgr_error *ret)
{
    (void)pm_error_hint(ret, 0, "poolctl logs %s shows what the engine said", pool->spec->id);
}

static void error_of_permanent(const struct pm_pool *pool, const struct pm_verdict *verdict,
                               struct poolmgr_error *ret)
{
    char text[300];

    pm_describe_verdict(verdict, text, sizeof(text));
    (void)pm_fail(
        ret, verdict->code == POOLMGR_E_NEVER_FITS ? POOLMGR_E_NEVER_FITS : POOLMGR_E_POOL_FAILED,
        "%s cannot start: %s", pool->spec->id, text);
    if (verdict->hint[0] != '\0')
        (void)pm_error_hint(ret, 0, "%s", verdict->hint);
    else
        (void)pm_error_hint(ret, 0, "mend it, then: poolctl reset %s", pool->spec->id);
}

void pm_error_of_failed_pool(const struct pm_pool *pool, struct poolmgr_error *ret)
{
    error_of_permanent(pool, &pool->failure, ret);
}

/* LOAD-3: class, status or signal, and the line that was recognised. */
void pm_error_of_failure(const struct pm_place *place, struct poolmgr_error *ret)
{
    const struct pm_pool *pool = place->pool;
    bool timeout = place->verdict.class == PM_CLASS_START_TIMEOUT;
    char text[300];

    if (place->verdict.permanent) {
        error_of_permanent(pool, &place->verdict, ret);
        return;
    }
    pm_describe_verdict(&place->verdict, text, sizeof(text));
    (void)pm_fail(ret, timeout ? POOLMGR_E_START_TIMEOUT : POOLMGR_E_START_FAILED,
                  "%s did not start (%s): %s", pool->spec->id, pm_class_name(place->verdict.class),
                  text);
    ret->retry_after_ms = pm_place_delay_after(place) > 0 ? pm_place_delay_after(place) : 1000;
    hint_logs(pool, ret);
}

/* The next try comes after the request's deadline. */
void pm_error_of_delay(const struct pm_place *place, struct poolmgr_error *ret)
{
    const struct pm_pool *pool = place->pool;
    uint64_t left_ms = place->clock.next_ms - pool->core->now_ms;
    char text[DURATION];

    (void)pm_fail(ret,
                  place->clock.n >= pool->spec->backoff.open_at ? POOLMGR_E_BREAKER_OPEN
                                                                : POOLMGR_E_START_FAILED,
                  "%s failed %" PRIu64 " times in a row, the last time: %s; next try in %s",
                  pool->spec->id, place->clock.n, place->last_error.text, duration(text, left_ms));
    ret->retry_after_ms = left_ms;
    hint_logs(pool, ret);
}

/* "qwen-8b", or "qwen-8b and 2 more pools" */
static const char *group_name(const struct pm_group *group, char to[static PM_ID_MAX + 40])
{
    const char *id = group->pools[0]->spec->id;

    if (group->n_pools == 1)
        return id;
    (void)snprintf(to, PM_ID_MAX + 40, "%s and %zu more pool%s", id, group->n_pools - 1,
                   pm_plural(group->n_pools - 1));
    return to;
}

void pm_error_of_full_queue(const struct pm_group *group, int code, struct poolmgr_error *ret)
{
    char bytes[DURATION], name[PM_ID_MAX + 40];

    (void)pm_fail(ret, code, "the queue of %s is full: %" PRIu64 " waiting request%s, %s",
                  group_name(group, name), group->n_admitted, pm_plural(group->n_admitted),
                  pm_format_bytes(bytes, sizeof(bytes), group->bytes_admitted));
    ret->retry_after_ms = 1000;
    (void)pm_error_hint(ret, 0, "queue.requests is %" PRIu64 ", queue.bytes %s",
                        pm_group_most_requests(group),
                        pm_format_bytes(bytes, sizeof(bytes), pm_group_most_bytes(group)));
}

void pm_error_of_overload(const struct pm_group *group, uint64_t predicted_ms, uint64_t most_ms,
                          struct poolmgr_error *ret)
{
    char predicted[DURATION], most[DURATION], name[PM_ID_MAX + 40];

    (void)pm_fail(ret, POOLMGR_E_OVERLOADED, "%s would begin in %s, behind %" PRIu64 " request%s",
                  group_name(group, name), duration(predicted, predicted_ms), group->queue.n,
                  pm_plural(group->queue.n));
    ret->retry_after_ms = predicted_ms;
    (void)pm_error_hint(ret, 0, "max_queue_wait is %s: more slots or replicas, or a longer one",
                        duration(most, most_ms));
}

static void describe_room(const struct pm_pool *pool, char *to, size_t size)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        const struct pm_place *place = pool->places[i];
        char text[PM_ROOM_TEXT];

        if (place->state != PM_WAITING || !pm_room_needed(place))
            continue;
        (void)pm_room_explain(place, text, sizeof(text));
        (void)snprintf(to, size, "for %s, which %s", pool->spec->id, text);
        return;
    }
    (void)snprintf(to, size, "for %s to start", pool->spec->id);
}

/* What it waited for. */
static void describe_wait(const struct pm_pool *pool, char *to, size_t size)
{
    const char *id = pool->spec->id;
    char text[DURATION];

    switch (pm_pool_best_state(pool)) {
    case PM_READY:
        (void)snprintf(to, size, "for a free slot of %s (%" PRIu64 " in use)", id, pool->n_leases);
        return;
    case PM_STAGING: (void)snprintf(to, size, "for the model of %s", id); return;
    case PM_STARTING:
        (void)snprintf(to, size, "for %s to load (%s so far)", id,
                       duration(text, pool->core->now_ms - pool->since_ms));
        return;
    case PM_SICK: (void)snprintf(to, size, "for %s, which does not answer its probes", id); return;
    case PM_STOPPING: (void)snprintf(to, size, "for %s to stop and start again", id); return;
    case PM_BACKOFF: (void)snprintf(to, size, "for the next try to start %s", id); return;
    case PM_WAITING: describe_room(pool, to, size); return;
    case PM_COLD:
    case PM_FAILED:
    case PM_STATE_COUNT: break;
    }
    (void)snprintf(to, size, "for %s to start", id);
}

void pm_error_of_timeout(const struct pm_waiter *waiter, struct poolmgr_error *ret)
{
    const struct pm_pool *pool = pm_group_face(waiter->group);
    char what[160], text[DURATION];

    describe_wait(pool, what, sizeof(what));
    (void)pm_fail(ret, POOLMGR_E_QUEUE_TIMEOUT, "waited %s %s",
                  duration(text, pool->core->now_ms - waiter->arrived_ms), what);
    ret->retry_after_ms = 1000;
    if (pm_pool_best_state(pool) == PM_READY)
        (void)pm_error_hint(ret, 0, "more slots, or a longer queue.max_age or X-Deadline-Ms");
    else
        (void)pm_error_hint(ret, 0, "poolctl ps %s shows how far it is", pool->spec->id);
}

/* ---- errors of running requests ------------------------------------------------------------------------------- */

void pm_error_of_cut(const struct pm_place *place, struct poolmgr_error *ret)
{
    const char *id = place->pool->spec->id;
    char text[300];

    pm_describe_verdict(&place->verdict, text, sizeof(text));
    if (place->wanted.reason == PM_BECAUSE_DEVICE)
        (void)pm_fail(ret, POOLMGR_E_ENGINE_CRASHED, "the device of %s does not work any more", id);
    else if (place->verdict.class == PM_CLASS_STALL)
        (void)pm_fail(ret, POOLMGR_E_ENGINE_TIMEOUT, "the engine of %s hangs: %s", id, text);
    else if (place->verdict.class != PM_CLASS_NONE)
        (void)pm_fail(ret, POOLMGR_E_ENGINE_CRASHED, "the engine of %s died: %s", id, text);
    else if (place->pool->core->shutting_down)
        (void)pm_fail(ret, POOLMGR_E_SHUTTING_DOWN, "the daemon stops, and %s with it", id);
    else
        (void)pm_fail(ret, POOLMGR_E_DRAINING, "an operator %s %s",
                      place->instance.stop_reason == PM_BECAUSE_STOP      ? "stops"
                      : place->instance.stop_reason == PM_BECAUSE_REMOVAL ? "removes"
                      : place->instance.stop_reason == PM_BECAUSE_RELOAD  ? "reloads"
                                                                          : "drains",
                      id);
}

void pm_error_of_abandoned(const struct pm_place *place, struct poolmgr_error *ret)
{
    char text[DURATION];

    (void)pm_fail(ret, POOLMGR_E_ENGINE_TIMEOUT,
                  "an answer of %s that nobody reads is not over "
                  "after %s",
                  place->pool->spec->id, duration(text, place->spec->abandon_max_ms));
}
