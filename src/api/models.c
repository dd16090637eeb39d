/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's list of models: one entry a pool, and one an alias that stands for several; by name also what any alias
 * stands for. */
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

static bool has_several(const struct pm_core *core, const char *name)
{
    return pm_core_route_at(core, name, 1) != NULL;
}

/* What several pools serve together: shown like the best of them, with the context that all of them have. */
static json_t *route_json(const struct pm_call *call, const char *name)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    uint64_t now_ms = pm_manager_now(call->api->manager), context = UINT64_MAX;
    json_t *model, *pools = json_array();
    struct pm_pool_view view, best = {0};
    const struct pm_pool_spec *spec;

    for (size_t i = 0; (spec = pm_core_route_at(core, name, i)); i++) {
        (void)pm_core_pool(core, spec->id, now_ms, &view);
        if (!best.spec || pm_state_is_better(view.state, best.state))
            best = view;
        if (spec->context < context)
            context = spec->context;
        (void)json_array_append_new(pools, pm_text(spec->id));
    }
    model = model_json(call, &best, name);
    if (context > 0)
        pm_put_u64(model, "context", context);
    else
        (void)json_object_del(model, "context");
    pm_put(model, "aliases", json_array());
    pm_put(model, "pools", pools);
    return model;
}

/* Each once, with its first pool. */
static void add_routes(const struct pm_call *call, const struct pm_pool_spec *spec, json_t *data)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);

    for (size_t i = 0; i < spec->aliases.n; i++) {
        const char *alias = spec->aliases.items[i];

        if (has_several(core, alias) && pm_core_route(core, alias) == spec)
            (void)json_array_append_new(data, route_json(call, alias));
    }
}

void pm_models_list(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    uint64_t now_ms = pm_manager_now(call->api->manager);
    json_t *list = json_object(), *data = json_array();
    struct pm_pool_view view;

    for (size_t i = 0; pm_core_pool_at(core, i, now_ms, &view); i++) {
        (void)json_array_append_new(data, model_json(call, &view, view.spec->id));
        add_routes(call, view.spec, data);
    }
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
    pm_call_json(call, 200,
                 has_several(core, call->args[0]) ? route_json(call, call->args[0])
                                                  : model_json(call, &view, call->args[0]));
}
