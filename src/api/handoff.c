/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/pools/{id}/handoff: answered when the engine has answered, so that a success is a pool that is ready. */
#include "config/handoff.h"

#include <string.h>

#include "api/json.h"
#include "api/waiting.h"

struct handing_over {
    struct pm_handing *handing;
    struct pm_pool_spec *spec;
    unsigned replica;
    uint64_t began_ms;
};

static void release(struct pm_call *call)
{
    struct handing_over *over = call->state;

    pm_handing_free(over->handing);
    pm_pool_spec_unref(over->spec);
    free(over);
}

static json_t *done_json(const struct pm_call *call, const struct handing_over *over)
{
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    json_t *done = json_object();

    pm_put_text(done, "kind", "handoff");
    pm_put_text(done, "pool_id", over->spec->id);
    pm_put_text(done, "state", "succeeded");
    pm_put_time(done, "created_at", over->began_ms, &clock);
    pm_put_time(done, "ended_at", clock.now_ms, &clock);
    pm_put(done, "result",
           json_pack("{s:i,s:s}", "replica", (int)over->replica, "endpoint",
                     over->spec->external.endpoint));
    return done;
}

static void on_handed(void *ctx, const struct poolmgr_error *error)
{
    struct pm_call *call = ctx;

    if (error)
        pm_call_error(call, error);
    else
        pm_call_json(call, 200, done_json(call, call->state));
}

/* A document of the pool that the route names; false: it was answered. */
static bool read_document(struct pm_call *call, struct pm_pool_spec **ret, unsigned *ret_replica)
{
    struct poolmgr_error err = {0};
    json_t *body = pm_call_body(call);
    int r;

    if (!body)
        return false;
    r = pm_handoff_read(body, ret, ret_replica, &err);
    json_decref(body);
    if (r < 0) {
        pm_call_error(call, &err);
        return false;
    }
    if (strcmp((*ret)->id, call->args[0]) == 0)
        return true;
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, "pool",
                 "the route is of pool '%.64s', the handoff of '%s'", call->args[0], (*ret)->id);
    pm_pool_spec_unref(*ret);
    return false;
}

void pm_commands_handoff(struct pm_call *call)
{
    struct pm_manager *manager = call->api->manager;
    struct pm_pool_spec *spec = NULL;
    struct handing_over *over;
    unsigned replica = 0;

    if (!pm_call_wait_ok(call) || !read_document(call, &spec, &replica))
        return;

    over = pm_xalloc(sizeof(*over));
    over->spec = spec;
    over->replica = replica;
    over->began_ms = pm_manager_now(manager);
    call->state = over;
    call->gone = release;
    over->handing = pm_manager_handoff(manager, spec, replica, false, on_handed, call);
}
