/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations (OP-1), and waiting for one: whoever comes first, its end, the time asked for, or the client's leaving,
 * answers the call. An operation that runs on is not disturbed by any of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/shapes.h"
#include "api/waiting.h"
#include "util/cleanup.h"
#include "util/str.h"

struct waiting {
    struct pm_call *call;
    struct pm_op_watch *watch;
    struct pm_timer timer;
    uint64_t op;
    int status_running;
};

static void answer(struct pm_call *call, uint64_t id, int status_running)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    struct pm_operation op;
    char location[48];

    if (!pm_core_operation(core, id, &op)) {
        pm_call_fail(call, POOLMGR_E_NOT_FOUND, NULL, "there is no operation 'op-%" PRIu64 "'", id);
        return;
    }

    (void)snprintf(location, sizeof(location), "/v1/operations/op-%" PRIu64, id);
    pm_call_json_at(call, op.state == PM_OP_RUNNING ? status_running : 200, location,
                    pm_operation_json(&op, &clock));
}

static void release(struct pm_call *call)
{
    struct waiting *waiting = call->state;

    pm_op_watch_free(waiting->watch);
    pm_timer_clear(&waiting->timer);
    free(waiting);
}

static void on_timer(struct pm_timer *timer)
{
    struct waiting *waiting = pm_container_of(timer, struct waiting, timer);

    answer(waiting->call, waiting->op, waiting->status_running);
}

static void on_end(void *ctx, const struct pm_operation *op)
{
    struct waiting *waiting = ctx;

    answer(waiting->call, op->id, 200);
}

static void wait_for(struct pm_call *call, uint64_t op, uint64_t wait_ms, int status_running)
{
    struct pm_manager *manager = call->api->manager;
    struct waiting *waiting = pm_xalloc(sizeof(*waiting));

    waiting->call = call;
    waiting->op = op;
    waiting->status_running = status_running;
    waiting->timer.fn = on_timer;
    waiting->watch = pm_manager_watch_operation(manager, op, on_end, waiting);
    call->state = waiting;
    call->gone = release;
    pm_timer_set(pm_manager_loop(manager), &waiting->timer, pm_manager_now(manager) + wait_ms);
}

#define WAIT_MAX_MS (24u * 3600 * 1000)

void pm_call_operation(struct pm_call *call, uint64_t op, int status_running)
{
    struct poolmgr_error err = {0};
    uint64_t wait_ms = 0;

    /* A wait that cannot be read was refused before the command; see pm_call_wait_ok(). */
    (void)pm_query_duration(&call->query, "wait", &wait_ms, &err);
    if (wait_ms > WAIT_MAX_MS)
        wait_ms = WAIT_MAX_MS;
    if (wait_ms == 0)
        answer(call, op, status_running);
    else
        wait_for(call, op, wait_ms, status_running);
}

bool pm_call_wait_ok(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    uint64_t wait_ms;

    if (pm_query_duration(&call->query, "wait", &wait_ms, &err) == 0)
        return true;
    pm_call_error(call, &err);
    return false;
}

/* ---- routes ----------------------------------------------------------------------------------------- */

void pm_operations_list(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    json_t *list = json_object(), *operations = json_array();
    struct pm_operation op;

    for (size_t i = 0; pm_core_operation_at(core, i, &op); i++)
        (void)json_array_append_new(operations, pm_operation_json(&op, &clock));
    pm_put(list, "operations", operations);
    pm_call_json(call, 200, list);
}

/* The operation of the first argument; false: it was answered with 404. */
static bool find(struct pm_call *call, uint64_t *ret_id)
{
    struct pm_operation op;

    if (pm_operation_id(call->args[0], ret_id) &&
        pm_core_operation(pm_manager_core(call->api->manager), *ret_id, &op))
        return true;
    pm_call_fail(call, POOLMGR_E_NOT_FOUND, NULL, "there is no operation '%.64s'", call->args[0]);
    return false;
}

void pm_operations_show(struct pm_call *call)
{
    uint64_t id;

    if (pm_call_wait_ok(call) && find(call, &id))
        pm_call_operation(call, id, 200);
}

void pm_operations_cancel(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    json_t *body;
    uint64_t id;

    if (!find(call, &id))
        return;
    body = pm_call_body(call);
    if (!body)
        return;
    json_decref(body);

    if (pm_manager_cancel_operation(call->api->manager, id, &err) < 0)
        pm_call_error(call, &err);
    else
        pm_call_operation(call, id, 200);
}
