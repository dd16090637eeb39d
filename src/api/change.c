/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pool is: PUT, DELETE and reload. A whole specification is made and checked before core hears of it; the
 * answer comes when the change is durable.
 */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/member.h"
#include "api/waiting.h"
#include "util/cleanup.h"
#include "util/str.h"

/* NULL: the call was answered. */
static struct pm_pool_spec *read_spec(struct pm_call *call, json_t *pool)
{
    struct pm_manager *manager = call->api->manager;
    const struct pm_config *config = pm_manager_config(manager);
    struct pm_config_errors *errors;
    struct poolmgr_error err = {0};
    struct pm_pool_spec *spec = NULL;
    struct pm_pool_view view = {0};

    (void)pm_core_pool(pm_manager_core(manager), call->args[0], pm_manager_now(manager), &view);
    if (pm_config_unmask(pool, view.spec, &err) < 0) {
        pm_call_error(call, &err);
        return NULL;
    }
    errors = pm_xalloc(sizeof(*errors));
    if (pm_config_pool(config, call->args[0], pool, &spec, errors, &err) < 0)
        pm_call_config_invalid(call, errors, &err);
    free(errors);
    return spec;
}

/* ---- PUT and DELETE --------------------------------------------------------------------------------- */

/* What the engine sees is changed by a reload, which takes its time. */
static void answer_put(struct pm_call *call, const struct pm_operation *op)
{
    if (op->kind == PM_OP_RELOAD)
        pm_call_operation(call, op->id, 202);
    else if (op->state == PM_OP_FAILED)
        pm_call_error(call, &op->error);
    else
        pm_pools_answer(call, op->made ? 201 : 200);
}

static void answer_removed(struct pm_call *call, const struct pm_operation *op)
{
    (void)op;
    pm_call_empty(call, 204);
}

void pm_change_put(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    struct pm_pool_spec *spec;
    json_t *body;
    uint64_t op;
    int r;

    if (!pm_call_wait_ok(call))
        return;
    body = pm_call_body(call);
    if (!body)
        return;
    spec = read_spec(call, body);
    json_decref(body);
    if (!spec)
        return;

    r = pm_manager_put_pool(call->api->manager, spec, &op, &err);
    pm_pool_spec_unref(spec);
    if (r < 0)
        pm_call_error(call, &err);
    else
        pm_call_when_accepted(call, op, answer_put);
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

/* ---- reload ----------------------------------------------------------------------------------------- */

/* The pool as it is wanted now, with another model: what belonged to the old file (its digest) is not the new one's. */
static json_t *with_model(const struct pm_pool_spec *spec, const char *ref)
{
    json_t *pool = json_loads(spec->stored, 0, NULL);
    json_t *model = json_object_get(pool, "model");

    if (json_is_object(model)) {
        (void)json_object_set_new(model, "main", pm_text(ref));
        (void)json_object_del(model, "sha256");
    } else {
        (void)json_object_set_new(pool, "model", pm_text(ref));
    }
    return pool;
}

static unsigned count_given(const json_t *body, const char *const *names, size_t n)
{
    unsigned n_given = 0;

    for (size_t i = 0; i < n; i++)
        n_given += json_object_get(body, names[i]) ? 1 : 0;
    return n_given;
}

/* What shall be: *ret is NULL for "what is wanted already, once more". False: the call was answered. */
static bool read_wanted(struct pm_call *call, const json_t *body, struct pm_pool_spec **ret)
{
    static const char *const ways[] = {"new_model_ref", "new_engine_version", "spec"};
    json_t *pool = json_object_get(body, "spec");
    const char *ref, *version;
    struct pm_pool_view view;

    *ret = NULL;
    if (!pm_call_pool(call, &view) || !pm_member_text(call, body, ways[0], &ref) ||
        !pm_member_text(call, body, ways[1], &version))
        return false;
    if (count_given(body, ways, PM_ARRAY_LEN(ways)) > 1) {
        pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, ways[0],
                     "a reload names one of new_model_ref, new_engine_version and spec");
        return false;
    }
    if (version) {
        pm_call_fail(call, POOLMGR_E_UNSUPPORTED, ways[1],
                     "there is no catalogue of engine versions yet; name another entry of "
                     "'engines' with a 'spec'");
        return false;
    }
    if (pool && !json_is_object(pool)) {
        pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, "spec", "'spec' must be a pool's settings");
        return false;
    }
    if (!pool && !ref)
        return true;

    pool = ref ? with_model(view.spec, ref) : json_incref(pool);
    *ret = read_spec(call, pool);
    json_decref(pool);
    return *ret != NULL;
}

static bool read_reload(struct pm_call *call, const json_t *body, struct pm_reload *ret)
{
    static const char *const deadlines[] = {
        [PM_DEADLINE_STOP] = "stop", [PM_DEADLINE_ABORT] = "abort"};
    unsigned on_deadline = PM_DEADLINE_ABORT;

    *ret = (struct pm_reload){0};
    if (!pm_member_ms(call, body, "deadline_ms", &ret->has_deadline, &ret->deadline_ms) ||
        !pm_member_word(call, body, "on_deadline", deadlines, PM_ARRAY_LEN(deadlines),
                        &on_deadline))
        return false;
    ret->on_deadline = (enum pm_on_deadline)on_deadline;
    return read_wanted(call, body, &ret->spec);
}

void pm_change_reload(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    struct pm_reload reload;
    json_t *body;
    uint64_t op;
    bool good;
    int r;

    if (!pm_call_wait_ok(call))
        return;
    body = pm_call_body(call);
    if (!body)
        return;
    good = read_reload(call, body, &reload);
    json_decref(body);
    if (!good)
        return;

    r = pm_manager_reload(call->api->manager, call->args[0], &reload, &op, &err);
    pm_pool_spec_unref(reload.spec);
    if (r < 0)
        pm_call_error(call, &err);
    else
        pm_call_operation(call, op, 202);
}
