/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations (OP-1), and waiting for one. A command is answered when it stands (what it changes for good is durable);
 * with `wait` when it has ended, or the time asked for is over. Whoever comes first, and be it the client's leaving,
 * ends the waiting; the operation itself is not disturbed by any of them.
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
    void (*accepted)(struct pm_call *call, const struct pm_operation *op);
};

/* ---- the answer ------------------------------------------------------------------------------------- */

static bool was_refused(const struct pm_operation *op)
{
    return op->state != PM_OP_RUNNING && !op->accepted && op->error.code != 0;
}

static void answer(struct pm_call *call, const struct pm_operation *op, int status_running)
{
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    char location[48];

    if (was_refused(op) && call->route->scope != PM_SCOPE_READ) {
        pm_call_error(call, &op->error);
        return;
    }
    (void)snprintf(location, sizeof(location), "/v1/operations/op-%" PRIu64, op->id);
    pm_call_json_at(call, op->state == PM_OP_RUNNING ? status_running : 200, location,
                    pm_operation_json(op, &clock));
}

/* False: it is forgotten already, and the call was answered. */
static bool look(struct pm_call *call, uint64_t id, struct pm_operation *ret)
{
    if (pm_core_operation(pm_manager_core(call->api->manager), id, ret))
        return true;
    pm_call_fail(call, POOLMGR_E_NOT_FOUND, NULL, "there is no operation 'op-%" PRIu64 "'", id);
    return false;
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

static void release(struct pm_call *call)
{
    struct waiting *waiting = call->state;

    pm_op_watch_free(waiting->watch);
    pm_timer_clear(&waiting->timer);
    free(waiting);
}

static void on_accepted(void *ctx, const struct pm_operation *op)
{
    struct waiting *waiting = ctx;

    if (waiting->accepted && !was_refused(op))
        waiting->accepted(waiting->call, op);
    else
        answer(waiting->call, op, waiting->status_running);
}

static void on_end(void *ctx, const struct pm_operation *op)
{
    struct waiting *waiting = ctx;

    answer(waiting->call, op, 200);
}

/* The time asked for is over; whether the command stands is waited for in any case. */
static void on_timer(struct pm_timer *timer)
{
    struct waiting *waiting = pm_container_of(timer, struct waiting, timer);

    pm_op_watch_free(waiting->watch);
    waiting->watch = pm_manager_watch_operation(waiting->call->api->manager, waiting->op,
                                                PM_UNTIL_ACCEPTED, on_accepted, waiting);
}

static struct waiting *begin_waiting(struct pm_call *call, uint64_t op, enum pm_op_until until)
{
    struct waiting *waiting = pm_xalloc(sizeof(*waiting));

    waiting->call = call;
    waiting->op = op;
    waiting->timer.fn = on_timer;
    waiting->watch = pm_manager_watch_operation(
        call->api->manager, op, until, until == PM_UNTIL_ENDED ? on_end : on_accepted, waiting);
    call->state = waiting;
    call->gone = release;
    return waiting;
}

#define WAIT_MAX_MS (24u * 3600 * 1000)

static uint64_t asked_wait_ms(const struct pm_call *call)
{
    struct poolmgr_error err = {0};
    uint64_t wait_ms = 0;

    /* A wait that cannot be read was refused before the command; see pm_call_wait_ok(). */
    (void)pm_query_duration(&call->query, "wait", &wait_ms, &err);
    return wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS;
}

void pm_call_operation(struct pm_call *call, uint64_t id, int status_running)
{
    struct pm_manager *manager = call->api->manager;
    uint64_t wait_ms = asked_wait_ms(call);
    struct pm_operation op;
    struct waiting *waiting;

    if (!look(call, id, &op))
        return;
    if (op.state != PM_OP_RUNNING || (wait_ms == 0 && op.accepted)) {
        answer(call, &op, status_running);
        return;
    }
    waiting = begin_waiting(call, id, wait_ms > 0 ? PM_UNTIL_ENDED : PM_UNTIL_ACCEPTED);
    waiting->status_running = status_running;
    if (wait_ms > 0)
        pm_timer_set(pm_manager_loop(manager), &waiting->timer, pm_manager_now(manager) + wait_ms);
}

void pm_call_when_accepted(struct pm_call *call, uint64_t id,
                           void (*accepted)(struct pm_call *call, const struct pm_operation *op))
{
    struct pm_operation op;

    if (!look(call, id, &op))
        return;
    if (op.accepted)
        accepted(call, &op);
    else if (op.state != PM_OP_RUNNING)
        answer(call, &op, 202);
    else
        begin_waiting(call, id, PM_UNTIL_ACCEPTED)->accepted = accepted;
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

static void answer_cancelled(struct pm_call *call, const struct pm_operation *op)
{
    uint64_t id = op->id;

    (void)pm_operation_id(call->args[0], &id); /* not the one that cancelled it */
    pm_call_operation(call, id, 200);
}

void pm_operations_cancel(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    json_t *body;
    uint64_t id, by;

    if (!find(call, &id))
        return;
    body = pm_call_body(call);
    if (!body)
        return;
    json_decref(body);

    if (pm_manager_cancel_operation(call->api->manager, id, &by, &err) < 0)
        pm_call_error(call, &err);
    else
        pm_call_when_accepted(call, by, answer_cancelled);
}
