/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on a pool. All of a request is checked before anything is done. */
#include "api/json.h"
#include "api/member.h"
#include "api/waiting.h"
#include "util/str.h"

/* A pool, a good `wait` and a good body; NULL: it was answered. */
static json_t *check(struct pm_call *call)
{
    struct pm_pool_view view;

    if (!pm_call_wait_ok(call) || !pm_call_pool(call, &view))
        return NULL;
    return pm_call_body(call);
}

/* A command that takes nothing but its pool. */
static void command(struct pm_call *call,
                    int (*of_manager)(struct pm_manager *manager, const char *pool_id,
                                      uint64_t *ret_op, struct poolmgr_error *err))
{
    struct poolmgr_error err = {0};
    json_t *body = check(call);
    uint64_t op;

    if (!body)
        return;
    json_decref(body);

    if (of_manager(call->api->manager, call->args[0], &op, &err) < 0)
        pm_call_error(call, &err);
    else
        pm_call_operation(call, op, 202);
}

void pm_commands_start(struct pm_call *call)
{
    command(call, pm_manager_start);
}

void pm_commands_stop(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    json_t *body = check(call);
    uint64_t deadline_ms = 0, op;
    bool has_deadline, good;

    if (!body)
        return;
    good = pm_member_ms(call, body, "deadline_ms", &has_deadline, &deadline_ms);
    json_decref(body);
    if (!good)
        return;

    if (pm_manager_stop(call->api->manager, call->args[0], has_deadline, deadline_ms, &op, &err) <
        0)
        pm_call_error(call, &err);
    else
        pm_call_operation(call, op, 202);
}

/* ---- drain and resume ------------------------------------------------------------------------------- */

static bool read_drain(struct pm_call *call, const json_t *body, struct pm_drain *ret)
{
    static const char *const deadlines[] = {
        [PM_DEADLINE_STOP] = "stop", [PM_DEADLINE_ABORT] = "abort"};
    static const char *const thens[] = {[PM_THEN_STOP] = "stop", [PM_THEN_HOLD] = "hold"};
    unsigned on_deadline = PM_DEADLINE_STOP, then = PM_THEN_STOP;

    *ret = (struct pm_drain){0};
    if (!pm_member_ms(call, body, "deadline_ms", &ret->has_deadline, &ret->deadline_ms) ||
        !pm_member_word(call, body, "on_deadline", deadlines, PM_ARRAY_LEN(deadlines),
                        &on_deadline) ||
        !pm_member_word(call, body, "then", thens, PM_ARRAY_LEN(thens), &then))
        return false;
    ret->on_deadline = (enum pm_on_deadline)on_deadline;
    ret->then = (enum pm_then)then;
    return true;
}

void pm_commands_drain(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    json_t *body = check(call);
    struct pm_drain drain;
    uint64_t op;
    bool good;

    if (!body)
        return;
    good = read_drain(call, body, &drain);
    json_decref(body);
    if (!good)
        return;

    if (pm_manager_drain(call->api->manager, call->args[0], &drain, &op, &err) < 0)
        pm_call_error(call, &err);
    else
        pm_call_operation(call, op, 202);
}

void pm_commands_resume(struct pm_call *call)
{
    command(call, pm_manager_resume);
}

/* ---- reset ------------------------------------------------------------------------------------------ */

/* Open and half-open are what the failures make of it, and nothing to ask for. */
static bool member_breaker(struct pm_call *call, json_t *body, enum pm_breaker *ret)
{
    const json_t *value = json_object_get(body, "breaker");

    *ret = PM_BREAKER_CLOSED;
    if (!value)
        return true;
    if (json_is_string(value) && pm_breaker_by_name(json_string_value(value), ret) &&
        *ret != PM_BREAKER_OPEN && *ret != PM_BREAKER_HALF_OPEN)
        return true;
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, "breaker",
                 "'breaker' must be closed, forced-open or disabled");
    return false;
}

/* It is done when it is answered: the operation it tells has no id, since there is nothing to wait for. */
void pm_commands_reset(struct pm_call *call)
{
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    struct poolmgr_error err = {0};
    json_t *body = check(call), *done;
    enum pm_breaker breaker;
    bool good;

    if (!body)
        return;
    good = member_breaker(call, body, &breaker);
    json_decref(body);
    if (!good)
        return;

    if (pm_manager_reset(call->api->manager, call->args[0], breaker, &err) < 0) {
        pm_call_error(call, &err);
        return;
    }
    done = json_object();
    pm_put_text(done, "kind", "reset");
    pm_put_text(done, "pool_id", call->args[0]);
    pm_put_text(done, "state", "succeeded");
    pm_put_time(done, "created_at", clock.now_ms, &clock);
    pm_put_time(done, "ended_at", clock.now_ms, &clock);
    pm_put(done, "result", json_pack("{s:s}", "breaker", pm_breaker_name(breaker)));
    pm_call_json(call, 200, done);
}
