/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request would go now, and why (PLACE-1). Asks, and changes nothing. */
#include <string.h>

#include "api/call.h"
#include "api/json.h"

#define POOLS_MAX 64 /* in prefer, and in avoid */

/* What the body asks; texts are the body's. */
struct question {
    const char *model;
    struct pm_placement placement;
    const char *prefer[POOLS_MAX], *avoid[POOLS_MAX];
};

static bool wrong(struct pm_call *call, const char *member, const char *must)
{
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, member, "'%s' must be %s", member, must);
    return false;
}

/* Each false: it was answered with 400. */
static bool read_text(struct pm_call *call, const json_t *body, const char *member,
                      const char **ret)
{
    const json_t *value = json_object_get(body, member);

    if (!value)
        return true;
    if (!json_is_string(value))
        return wrong(call, member, "a text");
    *ret = json_string_value(value);
    return true;
}

static bool read_mask(struct pm_call *call, const json_t *body, const char **ret)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    struct poolmgr_error err = {0};

    if (!read_text(call, body, "mask", ret))
        return false;
    if (!*ret || pm_mask_parse(*ret, strlen(*ret), &mask, NULL, &err) == 0)
        return true;
    (void)pm_error_param(&err, 0, "mask");
    pm_call_error(call, &err);
    return false;
}

static bool read_pools(struct pm_call *call, const json_t *body, const char *member,
                       const char **ids, size_t *ret_n)
{
    const json_t *value = json_object_get(body, member), *id;
    size_t i;

    if (!value)
        return true;
    if (!json_is_array(value) || json_array_size(value) > POOLS_MAX)
        return wrong(call, member, "a list of at most 64 pools");
    json_array_foreach(value, i, id)
    {
        if (!json_is_string(id))
            return wrong(call, member, "a list of at most 64 pools");
        ids[i] = json_string_value(id);
    }
    *ret_n = json_array_size(value);
    return true;
}

static bool read_fallback(struct pm_call *call, const json_t *body, bool *ret_no_fallback)
{
    const json_t *value = json_object_get(body, "fallback");

    if (value && !json_is_boolean(value))
        return wrong(call, "fallback", "true or false");
    *ret_no_fallback = json_is_false(value);
    return true;
}

static bool read_question(struct pm_call *call, const json_t *body, struct question *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->model = "";
    ret->placement.prefer = ret->prefer;
    ret->placement.avoid = ret->avoid;
    return read_text(call, body, "model", &ret->model) &&
           read_text(call, body, "pin", &ret->placement.pin) &&
           read_pools(call, body, "prefer", ret->prefer, &ret->placement.n_prefer) &&
           read_pools(call, body, "avoid", ret->avoid, &ret->placement.n_avoid) &&
           read_mask(call, body, &ret->placement.mask) &&
           read_fallback(call, body, &ret->placement.no_fallback);
}

static json_t *candidate_json(const struct pm_candidate *candidate)
{
    json_t *value = json_object();

    pm_put_text(value, "pool_id", candidate->pool_id);
    pm_put_u64(value, "replica_id", candidate->replica);
    pm_put_text(value, "refused_by", candidate->refused_by);
    return value;
}

static json_t *view_json(const struct pm_placement_view *view)
{
    json_t *value = json_object(), *candidates = json_array();

    if (view->chosen) {
        pm_put(value, "chosen", candidate_json(&view->candidates[0]));
        pm_put_text(value, "decided_by", view->decided_by);
        pm_put_u64(value, "ties", view->n_ties);
    } else if (view->error.code != 0) {
        pm_put(value, "error", pm_error_json(&view->error, NULL, NULL));
    } else {
        pm_put_bool(value, "waits", true);
        if (view->predicted_ms > 0)
            pm_put_u64(value, "predicted_start_ms", view->predicted_ms);
    }
    for (size_t i = 0; i < view->n; i++)
        (void)json_array_append_new(candidates, candidate_json(&view->candidates[i]));
    pm_put(value, "candidates", candidates);
    return value;
}

void pm_placement_explain(struct pm_call *call)
{
    struct pm_manager *manager = call->api->manager;
    struct pm_placement_view view;
    struct poolmgr_error err = {0};
    json_t *body = pm_call_body(call);
    struct question question;
    int r;

    if (!body)
        return;
    if (!read_question(call, body, &question)) {
        json_decref(body);
        return;
    }
    r = pm_core_explain(pm_manager_core(manager), question.model, &question.placement,
                        pm_manager_now(manager), &view, &err);
    json_decref(body);
    if (r < 0) {
        (void)pm_error_param(&err, 0, "model");
        pm_call_error(call, &err);
        return;
    }
    pm_call_json(call, 200, view_json(&view));
    pm_placement_view_fini(&view);
}
