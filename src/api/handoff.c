/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/pools/{id}/handoff: answered when the engine has answered, so that a success is a pool that is ready. */
#include "config/handoff.h"

#include <string.h>

#include "api/json.h"
#include "api/waiting.h"

static void release(struct pm_call *call)
{
    pm_handing_free(call->state);
}

static void on_handed(void *ctx, const struct poolmgr_error *error)
{
    struct pm_call *call = ctx;

    if (error)
        pm_call_error(call, error);
    else
        pm_call_operation(call, pm_handing_operation(call->state), 202);
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
    struct pm_pool_spec *spec = NULL;
    unsigned replica = 0;

    if (!pm_call_wait_ok(call) || !read_document(call, &spec, &replica))
        return;

    call->gone = release;
    call->state = pm_manager_handoff(call->api->manager, spec, replica, false, on_handed, call);
    pm_pool_spec_unref(spec);
}
