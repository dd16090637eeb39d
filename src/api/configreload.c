/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/config/reload: answered when the file was read, and all of it is in force or nothing (RELOAD-2). */
#include <stdlib.h>

#include "api/waiting.h"

static void release(struct pm_call *call)
{
    pm_config_watch_free(call->state);
}

static void on_answer(void *ctx, const struct pm_config_answer *answer)
{
    struct pm_call *call = ctx;

    if (answer->error && answer->errors && answer->errors->n > 0) {
        pm_call_config_invalid(call, answer->errors, answer->error);
        return;
    }
    if (answer->error) {
        pm_call_error(call, answer->error);
        return;
    }
    release(call);
    call->state = NULL;
    call->gone = NULL;
    pm_call_operation(call, answer->op, 202);
}

void pm_config_reload(struct pm_call *call)
{
    json_t *body;

    if (!pm_call_wait_ok(call))
        return;
    body = pm_call_body(call);
    if (!body)
        return;
    json_decref(body);

    call->gone = release;
    call->state = pm_manager_reload_config(call->api->manager, on_answer, call);
}
