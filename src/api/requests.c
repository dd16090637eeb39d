/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait or run: who, where, how long; never what. */
#include "api/call.h"
#include "api/json.h"

static json_t *request_json(const struct pm_flight_view *flight)
{
    json_t *value = json_object();

    pm_put_text(value, "id", flight->request_id);
    pm_put_text(value, "pool_id", flight->pool_id);
    if (!flight->pool_id || !*flight->pool_id)
        pm_put_text(value, "model", flight->route);
    pm_put_text(value, "state", flight->running ? "running" : "waiting");
    if (!flight->running)
        pm_put_u64(value, "queue_position", flight->queue_position);
    pm_put_u64(value, "age_ms", flight->age_ms);
    pm_put_bool(value, "stream", flight->stream);
    return value;
}

void pm_requests_list(struct pm_call *call)
{
    json_t *list = json_object(), *requests = json_array();
    struct pm_flight_view flight;

    for (size_t i = 0; pm_gateway_flight_at(call->api->gateway, i, &flight); i++)
        (void)json_array_append_new(requests, request_json(&flight));
    pm_put(list, "requests", requests);
    pm_call_json(call, 200, list);
}

void pm_requests_cancel(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    json_t *body = pm_call_body(call), *done;

    if (!body)
        return;
    json_decref(body);

    if (pm_gateway_cancel(call->api->gateway, call->args[0], &err) < 0) {
        pm_call_error(call, &err);
        return;
    }
    done = json_object();
    pm_put_text(done, "id", call->args[0]);
    pm_put_text(done, "state", "cancelled");
    pm_call_json(call, 200, done);
}
