/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's list of models: one entry a pool, and by name also what an alias stands for. */
#include <string.h>

#include "api/call.h"
#include "api/json.h"
#include "util/time.h"

static json_t *model_json(const struct pm_call *call, const struct pm_pool_view *view,
                          const char *name)
{
    uint64_t age_ms = pm_manager_now(call->api->manager) - call->api->started_ms;
    json_t *model = json_object(), *aliases = json_array();

    pm_put_text(model, "id", name);
    pm_put_text(model, "object", "model");
    pm_put_u64(model, "created", (pm_wall_ms() - age_ms) / 1000);
    pm_put_text(model, "owned_by", "poolmgr");
    pm_put_text(model, "state", pm_state_name(view->state));
    if (view->spec->context > 0)
        pm_put_u64(model, "context", view->spec->context);
    for (size_t i = 0; i < view->spec->aliases.n; i++)
        (void)json_array_append_new(aliases, pm_text(view->spec->aliases.items[i]));
    pm_put(model, "aliases", aliases);
    return model;
}

void pm_models_list(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    uint64_t now_ms = pm_manager_now(call->api->manager);
    json_t *list = json_object(), *data = json_array();
    struct pm_pool_view view;

    for (size_t i = 0; pm_core_pool_at(core, i, now_ms, &view); i++)
        (void)json_array_append_new(data, model_json(call, &view, view.spec->id));
    pm_put_text(list, "object", "list");
    pm_put(list, "data", data);
    pm_call_json(call, 200, list);
}

void pm_models_show(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    const struct pm_pool_spec *spec = pm_core_route(core, call->args[0]);
    struct pm_pool_view view;

    if (!spec || !pm_core_pool(core, spec->id, pm_manager_now(call->api->manager), &view)) {
        pm_call_fail(call, POOLMGR_E_MODEL_NOT_FOUND, NULL, "there is no model '%.256s'",
                     call->args[0]);
        return;
    }
    pm_call_json(call, 200, model_json(call, &view, call->args[0]));
}
