/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a request: target decoded once → guard → route → its head's promises checked → inference to the gateway,
 * everything else to a handler when the request is whole. What can be refused by the head is refused there, so that
 * no byte of a body is read for it.
 *
 * An exchange's user pointer is a gateway's flight or a call of ours. A call's pointer is stored with its lowest bit
 * set: a flight may end without our hearing of it, so it cannot be wrapped into something that we would have to free.
 */
#include "api/api.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/guard.h"
#include "api/internal.h"
#include "http/refusal.h"
#include "util/str.h"

struct pm_api *pm_api_new(struct pm_manager *manager, struct pm_gateway *gateway,
                          const char *program, const char *profile)
{
    struct pm_api *api = pm_xalloc(sizeof(*api));

    api->manager = manager;
    api->gateway = gateway;
    api->program = program;
    api->profile = profile;
    api->started_ms = pm_manager_now(manager);
    return api;
}

void pm_api_free(struct pm_api *api)
{
    free(api);
}

void pm_api_serving(struct pm_api *api, struct pm_http_server *server)
{
    api->server = server;
}

void pm_api_closing(struct pm_api *api)
{
    api->closing = true;
}

/* ---- whose is it ------------------------------------------------------------------------------------ */

#define CALL_TAG ((uintptr_t)1)

static void set_call(struct pm_exchange *exchange, struct pm_call *call)
{
    pm_exchange_set_user(exchange, (void *)((uintptr_t)call | CALL_TAG));
}

static struct pm_call *call_of(const struct pm_exchange *exchange)
{
    uintptr_t user = (uintptr_t)pm_exchange_user(exchange);

    return user & CALL_TAG ? (struct pm_call *)(user & ~CALL_TAG) : NULL;
}

static struct pm_flight *flight_of(const struct pm_exchange *exchange)
{
    return call_of(exchange) ? NULL : pm_exchange_user(exchange);
}

/* ---- refusing by the head --------------------------------------------------------------------------- */

static bool is_health(const char *path)
{
    return strcmp(path, "/livez") == 0 || strcmp(path, "/readyz") == 0 ||
           strcmp(path, "/health") == 0;
}

static int check_guard(const struct pm_api *api, struct pm_exchange *exchange, const char *path,
                       struct poolmgr_error *err)
{
    const struct pm_config *config = pm_manager_config(api->manager);
    const struct pm_guard guard = {
        .listen = &config->listen,
        .allowed_hosts = &config->allowed_hosts,
        .is_unix = pm_exchange_is_unix(exchange),
        .open_host = is_health(path),
    };

    return pm_guard_check(&guard, pm_exchange_head(exchange), err);
}

/* What a body may not be: unannounced, twice described, coded, or there at all. */
static int check_body(const struct pm_http_head *head, const struct pm_route *route,
                      struct poolmgr_error *err)
{
    bool has_body = head->framing == PM_BODY_CHUNKED ||
                    (head->framing == PM_BODY_LENGTH && head->content_length > 0);
    const struct pm_http_header *coding;
    unsigned n = 0;

    if (head->method != PM_POST && head->method != PM_PUT && has_body)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s takes no body",
                       pm_http_method_name(head->method));
    if (route && route->kind == PM_ROUTE_INFERENCE && head->framing == PM_BODY_NONE &&
        !head->has_length)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                       "the request has no body: neither Content-Length nor chunks");

    (void)pm_http_find(head, "content-type", &n);
    if (n > 1) {
        (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST, "Content-Type is there twice");
        return pm_error_param(err, POOLMGR_E_INVALID_REQUEST, "Content-Type");
    }

    coding = pm_http_find(head, "content-encoding", NULL);
    if (has_body && coding && !pm_slice_is_nocase(coding->value, "identity"))
        return pm_fail(err, POOLMGR_E_UNSUPPORTED_MEDIA_TYPE,
                       "a body in Content-Encoding '%.*s' cannot be read; send it plain",
                       (int)(coding->value.n > 64 ? 64 : coding->value.n), coding->value.p);
    return 0;
}

/* 405 needs a header that pm_exchange_refuse() does not have. */
static void respond_wrong_method(struct pm_exchange *exchange, const char *path, unsigned allowed)
{
    const struct pm_http_head *head = pm_exchange_head(exchange);
    struct poolmgr_error err = {0};
    char allow[64];
    const struct pm_http_field fields[] = {
        {"Content-Type", "application/json"},
        {"Allow", pm_route_allow(allowed, allow, sizeof(allow))},
        {"x-should-retry", "false"},
    };
    pm_auto_buf struct pm_buf body = {0};

    (void)pm_fail(&err, POOLMGR_E_METHOD_NOT_ALLOWED, "%.200s does not take %s, but %s", path,
                  pm_http_method_name(head->method), allow);
    pm_refusal_object(&err, "", pm_exchange_request_id(exchange), &body);
    pm_exchange_respond(exchange, 405, fields, 3, body.data, body.n);
}

static void respond_options(struct pm_exchange *exchange, unsigned allowed)
{
    char allow[64];
    const struct pm_http_field fields[] = {
        {"Allow", pm_route_allow(allowed, allow, sizeof(allow))},
    };

    pm_exchange_respond(exchange, 204, fields, 1, NULL, 0);
}

static void respond_later(struct pm_exchange *exchange, const struct pm_route *route)
{
    struct poolmgr_error err = {0};

    (void)pm_fail(&err, POOLMGR_E_UNSUPPORTED, "%s %s is not built in this version",
                  pm_http_method_name(pm_exchange_head(exchange)->method), route->pattern);
    pm_exchange_refuse(exchange, &err, "");
}

static void refuse_inference(const struct pm_api *api, struct pm_exchange *exchange,
                             const char *path)
{
    struct poolmgr_error err = {0};

    (void)pm_fail(&err, POOLMGR_E_NOT_FOUND,
                  "%.200s is not served here: this is the control port of %s", path, api->program);
    (void)pm_error_hint(&err, 0, "send requests to a gateway (orchestratord, port 8080)");
    pm_exchange_refuse(exchange, &err, "");
}

/* ---- routing ---------------------------------------------------------------------------------------- */

static void begin_call(struct pm_api *api, struct pm_exchange *exchange,
                       const struct pm_route_match *found, struct pm_query *query)
{
    struct pm_call *call = pm_xalloc(sizeof(*call));

    call->api = api;
    call->exchange = exchange;
    call->route = found->route;
    call->query = *query;
    for (int i = 0; i < PM_ROUTE_ARGS_MAX; i++)
        call->args[i] = pm_xstrndup(found->args[i].p ? found->args[i].p : "", found->args[i].n);
    set_call(exchange, call);
}

static void begin_flight(struct pm_api *api, struct pm_exchange *exchange, const char *path)
{
    struct pm_flight *flight = pm_gateway_head(api->gateway, exchange, path);

    assert(((uintptr_t)flight & CALL_TAG) == 0);
    if (flight) /* else it is answered, and the exchange is not ours to touch */
        pm_exchange_set_user(exchange, flight);
}

/* The route that takes it from here; NULL: it was answered. */
static bool find_route(const struct pm_api *api, struct pm_exchange *exchange, const char *path,
                       struct pm_route_match *found, struct poolmgr_error *err)
{
    const struct pm_http_head *head = pm_exchange_head(exchange);

    pm_route_find(path, head->method, found);
    if (found->route && !api->gateway && pm_route_is_inference(found->route)) {
        refuse_inference(api, exchange, path);
        return false;
    }
    if (found->allowed == 0) {
        (void)pm_fail(err, POOLMGR_E_NOT_FOUND, "there is no route %.200s", path);
        (void)pm_error_hint(err, POOLMGR_E_NOT_FOUND, "GET /openapi.json lists all routes");
        pm_exchange_refuse(exchange, err, "");
        return false;
    }
    if (check_body(head, found->route, err) < 0) {
        pm_exchange_close_after(exchange); /* a body may follow that nobody announced */
        pm_exchange_refuse(exchange, err, "");
        return false;
    }
    if (head->method == PM_OPTIONS) {
        respond_options(exchange, found->allowed);
        return false;
    }
    if (!found->route) {
        respond_wrong_method(exchange, path, found->allowed);
        return false;
    }
    return true;
}

static void route(struct pm_api *api, struct pm_exchange *exchange, const char *path,
                  struct pm_slice query_text)
{
    struct pm_query query = {0};
    struct pm_route_match found;
    struct poolmgr_error err = {0};

    if (!find_route(api, exchange, path, &found, &err))
        return;
    if (found.route->kind == PM_ROUTE_LATER) {
        respond_later(exchange, found.route);
        return;
    }
    if (pm_query_parse(query_text, found.route->query, &query, &err) < 0) {
        pm_exchange_refuse(exchange, &err, "");
        return;
    }
    if (found.route->kind == PM_ROUTE_API) {
        begin_call(api, exchange, &found, &query);
        return;
    }
    pm_query_fini(&query);
    begin_flight(api, exchange, path);
}

static void on_head(struct pm_exchange *exchange, void *ctx)
{
    struct pm_api *api = ctx;
    const struct pm_http_head *head = pm_exchange_head(exchange);
    char path[PM_HTTP_TARGET_MAX + 1];
    struct poolmgr_error err = {0};
    struct pm_slice query;
    int r = pm_api_decode_target(head->target, path, sizeof(path), &query);

    if (r == -400)
        (void)pm_fail(&err, POOLMGR_E_INVALID_REQUEST,
                      "the path has a broken escape or a dot segment");
    else if (r == -404)
        (void)pm_fail(&err, POOLMGR_E_NOT_FOUND, "there is no such route");
    else
        (void)check_guard(api, exchange, path, &err);

    if (err.code != 0) {
        pm_exchange_refuse(exchange, &err, "");
        return;
    }
    route(api, exchange, path, query);
}

static void on_body(struct pm_exchange *exchange, const char *data, size_t n, void *ctx)
{
    struct pm_flight *flight = flight_of(exchange);

    if (flight)
        pm_gateway_body(flight, data, n);
}

static void on_request(struct pm_exchange *exchange, void *ctx)
{
    struct pm_call *call = call_of(exchange);
    struct pm_flight *flight = flight_of(exchange);

    if (call)
        call->route->handler(call);
    else if (flight)
        pm_gateway_request(flight);
}

static void on_gone(struct pm_exchange *exchange, void *ctx)
{
    struct pm_call *call = call_of(exchange);
    struct pm_flight *flight = flight_of(exchange);

    if (call)
        pm_call_free(call);
    else if (flight)
        pm_gateway_client_gone(flight);
}

static void on_drained(struct pm_exchange *exchange, void *ctx)
{
    struct pm_call *call = call_of(exchange);
    struct pm_flight *flight = flight_of(exchange);

    if (call && call->drained)
        call->drained(call);
    else if (flight)
        pm_gateway_drained(flight);
}

const struct pm_http_handler pm_api_handler = {
    .on_head = on_head,
    .on_body = on_body,
    .on_request = on_request,
    .on_gone = on_gone,
    .on_drained = on_drained,
};
