/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pool is: its removal. The answer comes when the change is durable.
 */
#include "api/waiting.h"

static void answer_removed(struct pm_call *call, const struct pm_operation *op)
{
    (void)op;
    pm_call_empty(call, 204);
}

void pm_change_remove(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    bool has_drain = pm_query_get(&call->query, "drain_ms") != NULL;
    uint64_t drain_ms = 0, op;
    struct pm_pool_view view;

    if (pm_query_uint(&call->query, "drain_ms", INT64_MAX, &drain_ms, &err) < 0)
        pm_call_error(call, &err);
    else if (!pm_core_pool(pm_manager_core(call->api->manager), call->args[0],
                           pm_manager_now(call->api->manager), &view))
        pm_call_empty(call, 204); /* it is gone, as was asked for (REG-2) */
    else if (pm_manager_remove_pool(call->api->manager, call->args[0], has_drain, drain_ms, &op,
                                    &err) < 0)
        pm_call_error(call, &err);
    else
        pm_call_when_accepted(call, op, answer_removed);
}
