/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/preflight: is this machine fit (PRE-1)? Asks, and changes nothing; 200 whatever the answer is. */
#include "provision/preflight.h"

#include <stdio.h>

#include "api/call.h"

static void release(struct pm_call *call)
{
    pm_preflight_run_free(call->state);
}

static void on_verdicts(void *ctx, const struct pm_preflight *preflight)
{
    struct pm_call *call = ctx;

    pm_call_json(call, 200, pm_preflight_json(preflight));
}

/* False: it was answered with 400. */
static bool read_mode(struct pm_call *call, const json_t *body, enum pm_mode *ret)
{
    const json_t *value = json_object_get(body, "mode");
    const char *name = json_string_value(value);
    char names[128] = "";
    size_t n = 0;

    *ret = PM_MODE_COUNT;
    if (!value || (name && pm_mode_by_name(name, ret)))
        return true;

    for (unsigned i = 0; i < PM_MODE_COUNT && n < sizeof(names); i++)
        n += (size_t)snprintf(names + n, sizeof(names) - n, " %s", pm_modes[i].name);
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, "mode", "'mode' must be one of:%s", names);
    return false;
}

void pm_preflight_ask(struct pm_call *call)
{
    json_t *body = pm_call_body(call);
    enum pm_mode mode;
    bool good;

    if (!body)
        return;
    good = read_mode(call, body, &mode);
    json_decref(body);
    if (!good)
        return;

    call->gone = release;
    call->state = pm_manager_preflight(call->api->manager, mode, on_verdicts, call);
}
