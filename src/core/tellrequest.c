/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of requests (NARR-1): that one waits and for what, that it gets its slot after that, that it is refused.
 * One that gets its slot at once is no event here.
 */
#include <inttypes.h>

#include "core/inner.h"
#include "util/str.h"

#define DURATION 32

static void begin_request(struct pm_event *event, enum pm_event_kind kind,
                          const struct pm_pool *pool, const char *request_id)
{
    pm_event_init(event, kind, pool->spec->id);
    pm_event_pool(event, pool->spec->id);
    if (request_id && request_id[0] != '\0')
        pm_event_request(event, request_id);
}

static const char *const waits_for[PM_STATE_COUNT] = {
    [PM_COLD] = "which is cold",           [PM_STAGING] = "whose model is checked",
    [PM_WAITING] = "which waits for room", [PM_STARTING] = "which loads",
    [PM_READY] = "whose slots are in use", [PM_SICK] = "which is sick",
    [PM_STOPPING] = "which stops first",   [PM_BACKOFF] = "which waits for its next try",
    [PM_FAILED] = "which failed",
};

/* At info the first that waits for a start; that others wait, too, is for developers. */
void pm_tell_queued(const struct pm_waiter *waiter, struct pm_actions *out)
{
    const struct pm_pool *pool = pm_group_face(waiter->group);
    enum pm_state state = pm_pool_best_state(pool);
    struct pm_event event;

    begin_request(&event, PM_EV_REQUEST_QUEUED, pool, waiter->request_id);
    event.fields |= PM_EF_QUEUE_POSITION;
    event.queue_position = waiter->position;
    if (waiter->predicted_ms != PM_NEVER) {
        event.fields |= PM_EF_PREDICTED_START_MS;
        event.predicted_start_ms = waiter->predicted_ms;
    }
    if (pm_pool_n_waiters(pool) > 1 || state == PM_READY)
        event.level = PM_DEBUG;
    if (waiter->position == 0)
        pm_event_human(&event, "a request waits for %s, %s", pool->spec->id, waits_for[state]);
    else
        pm_event_human(&event, "a request waits for %s, %s, behind %" PRIu64 " more",
                       pool->spec->id, waits_for[state], waiter->position);
    pm_action_tell(out, &event);
}

static void say_request_refused(const struct pm_pool *pool, const struct poolmgr_error *error,
                                struct pm_event *event)
{
    event->fields |= PM_EF_ERROR_CODE;
    event->error_code = error->code;
    if (error->retry_after_ms > 0) {
        event->fields |= PM_EF_RETRY_AFTER_MS;
        event->retry_after_ms = error->retry_after_ms;
    }
    pm_event_human(event, "a request is refused: %s", error->message);
}

void pm_tell_waiter(const struct pm_waiter *waiter, const struct pm_pool *pool,
                    enum pm_event_kind kind, const struct poolmgr_error *error,
                    struct pm_actions *out)
{
    uint64_t waited_ms = pool->core->now_ms - waiter->arrived_ms;
    char text[DURATION];
    struct pm_event event;

    begin_request(&event, kind, pool, waiter->request_id);
    event.fields |= PM_EF_DURATION_MS;
    event.duration_ms = waited_ms;
    if (error)
        say_request_refused(pool, error, &event);
    else
        pm_event_human(&event, "a request gets its slot of %s after %s", pool->spec->id,
                       pm_format_duration(text, sizeof(text), waited_ms));
    pm_action_tell(out, &event);
}

void pm_tell_refused(const struct pm_pool *pool, const struct pm_request *request,
                     const struct poolmgr_error *error, struct pm_actions *out)
{
    struct pm_event event;

    begin_request(&event, PM_EV_REQUEST_REFUSED, pool, request->request_id);
    say_request_refused(pool, error, &event);
    pm_action_tell(out, &event);
}
