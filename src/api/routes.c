/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row a route. The router, the docs and the OpenAPI document read nothing else, so that what is served is what is
 * written down. A path is matched segment by segment after it was decoded once; case counts, and a trailing slash is
 * another path. Rows whose part is not built say so themselves, with 501, instead of looking unknown.
 */
#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#include "api/call.h"
#include "config/handoff.h"
#include "util/cleanup.h"

static const struct pm_query_key wait_query[] = {
    {"wait", "duration", "answer when it has ended, at the latest after this time"},
    {0},
};
static const struct pm_query_key remove_query[] = {
    {"drain_ms", "integer", "running requests end first, at most until then; 0: at once"},
    {0},
};
static const struct pm_query_key events_query[] = {
    {"tail", "integer", "how many of the last events come first; 50"},
    {"pool", "string", "only events of this pool"},
    {"level", "string", "error, warn, info or debug: the least important to send; debug"},
    {"follow", "boolean", "0: end after the tail"},
    {0},
};
static const struct pm_query_key logs_query[] = {
    {"tail", "integer", "how many of the last lines; 200"},
    {"replica", "integer", "which replica; 0"},
    {"follow", "boolean", "1: go on with new lines"},
    {0},
};

#define GET  PM_METHOD(PM_GET)
#define POST PM_METHOD(PM_POST)
#define PUT  PM_METHOD(PM_PUT)
#define DEL  PM_METHOD(PM_DELETE)

#define API(methods, pattern, scope, handler, query, body, answer, status, help)                   \
    {                                                                                              \
        methods, pattern, PM_SCOPE_##scope, PM_ROUTE_API, handler, query, body, answer, status,    \
            help                                                                                   \
    }
#define INFERENCE(pattern, help)                                                                   \
    {                                                                                              \
        POST, pattern, PM_SCOPE_INFER, PM_ROUTE_INFERENCE, NULL, NULL, NULL, "engine", 200, help   \
    }
#define LATER(methods, pattern, scope, help)                                                       \
    {                                                                                              \
        methods, pattern, PM_SCOPE_##scope, PM_ROUTE_LATER, NULL, NULL, NULL, "", 501, help        \
    }

const struct pm_route pm_routes[] = {
    INFERENCE("/v1/chat/completions", "chat, plain or streamed"),
    INFERENCE("/v1/completions", "text completion, plain or streamed"),
    INFERENCE("/v1/embeddings", "vectors for texts"),
    INFERENCE("/v1/responses", "OpenAI's responses"),
    INFERENCE("/v1/messages", "Anthropic's messages"),
    INFERENCE("/v1/rerank", "documents by relevance"),
    INFERENCE("/infill", "llama.cpp's code infill"),
    INFERENCE("/tokenize", "llama.cpp's tokens of a text"),
    INFERENCE("/detokenize", "llama.cpp's text of tokens"),

    API(GET, "/v1/models", INFER, pm_models_list, NULL, NULL, "ModelList", 200,
        "OpenAI's list of models, with state, context and aliases"),
    API(GET, "/v1/models/{name...}", INFER, pm_models_show, NULL, NULL, "Model", 200,
        "one model by pool id or alias; slashes of a name may be encoded or not"),

    API(GET, "/v1/pools", READ, pm_pools_list, NULL, NULL, "PoolList", 200,
        "all pools, by id, with a snapshot_version that counts up"),
    API(GET, "/v1/pools/{id}", READ, pm_pools_show, NULL, NULL, "Pool", 200, "one pool"),
    API(PUT, "/v1/pools/{id}", ADMIN, pm_change_put, wait_query, PM_ANY_MEMBERS, "Pool", 200,
        "make a pool of the API (201), or change one: limits in place (200), else by a reload "
        "(202)"),
    API(DEL, "/v1/pools/{id}", ADMIN, pm_change_remove, remove_query, NULL, "", 204,
        "remove a pool of the API; one that is in use needs drain_ms"),
    API(GET, "/v1/pools/{id}/health", READ, pm_pools_health, NULL, NULL, "PoolHealth", 200,
        "health of a pool and of its replicas, with the reason when it is not ready"),
    API(POST, "/v1/pools/{id}/start", ADMIN, pm_commands_start, wait_query, "", "Operation", 202,
        "start it, also without a request"),
    API(POST, "/v1/pools/{id}/stop", ADMIN, pm_commands_stop, wait_query, "deadline_ms",
        "Operation", 202,
        "unload it: running requests end first, at most until deadline_ms (0: at once); the next "
        "request starts it again"),
    API(POST, "/v1/pools/{id}/drain", ADMIN, pm_commands_drain, wait_query,
        "deadline_ms on_deadline then", "Operation", 202,
        "take nothing new, let running requests end by deadline_ms, then stop the engine or hold "
        "it "
        "(then: stop, hold); on_deadline: stop cuts what still runs, abort gives the drain up"),
    API(POST, "/v1/pools/{id}/resume", ADMIN, pm_commands_resume, wait_query, "", "Operation", 202,
        "undo a drain, running or ended"),
    API(POST, "/v1/pools/{id}/reload", ADMIN, pm_change_reload, wait_query,
        "new_model_ref new_engine_version spec deadline_ms on_deadline", "Operation", 202,
        "change model or settings with a way back: the new one is started beside the old one where "
        "it fits, else in its place (on_deadline: abort, stop)"),
    API(POST, "/v1/pools/{id}/reset", ADMIN, pm_commands_reset, wait_query, "breaker", "Operation",
        200,
        "forget its failures and set the breaker: closed (the default), forced-open or disabled"),

    API(POST, "/v1/pools/{id}/handoff", ADMIN, pm_commands_handoff, wait_query, PM_HANDOFF_MEMBERS,
        "Operation", 200,
        "register an engine that somebody else started, as a replica of a pool; answered when the "
        "engine has answered"),

    API(GET, "/v1/devices", READ, pm_devices_list, NULL, NULL, "DeviceList", 200,
        "devices, their memory, and what is planned on them"),
    API(POST, "/v1/devices/{id}/clear", ADMIN, pm_devices_clear, NULL, "", "Device", 200,
        "end the quarantine of a device, or trust one that is suspect"),

    API(GET, "/v1/operations", READ, pm_operations_list, NULL, NULL, "OperationList", 200,
        "operations, newest first; ended ones are kept for a while"),
    API(GET, "/v1/operations/{id}", READ, pm_operations_show, wait_query, NULL, "Operation", 200,
        "one operation; with `wait` when it has ended"),
    API(POST, "/v1/operations/{id}/cancel", ADMIN, pm_operations_cancel, NULL, "", "Operation", 200,
        "give a running operation up"),

    API(GET, "/v1/requests", READ, pm_requests_list, NULL, NULL, "RequestList", 200,
        "requests that wait or run, oldest first; never their contents"),
    API(POST, "/v1/requests/{id}/cancel", ADMIN, pm_requests_cancel, NULL, "", "Cancelled", 200,
        "end a request as if its client had left"),

    API(POST, "/v1/placement", READ, pm_placement_explain, NULL,
        "model pin prefer avoid mask fallback", "Placement", 200,
        "where a request for `model` would go now, what refuses each other replica, and what "
        "decided; changes nothing"),
    API(POST, "/v1/plan", READ, pm_plan_ask, NULL, "model devices context slots machine", "Plan",
        200,
        "whether the model of pool `model` fits, where, and with which flags; on its devices, or "
        "on a `machine` that may not "
        "be there; changes nothing"),

    API(POST, "/v1/preflight", READ, pm_preflight_ask, NULL, "mode", "Preflight", 200,
        "whether this machine is fit for the configuration, or for one mode; looks, and changes "
        "nothing"),

    API(GET, "/v1/events", READ, pm_events_stream, events_query, NULL, "sse", 200,
        "events as they happen: `hello`, the tail, then each; `missed` with a count when the "
        "reader was too slow"),
    API(GET, "/v1/logs/{pool}", READ, pm_logs_show, logs_query, NULL, "text", 200,
        "what a pool's engine wrote: text, or SSE when it is followed; Accept may ask for the "
        "other"),

    API(GET, "/v1/config", READ, pm_about_config, NULL, NULL, "Config", 200,
        "the configuration in force with all defaults, secrets masked"),
    API(POST, "/v1/config/reload", ADMIN, pm_config_reload, wait_query, "", "Operation", 202,
        "read the file again: all of it is applied, or nothing; pools that did not change keep "
        "their engines and streams"),
    API(GET, "/v1/meta", READ, pm_about_meta, NULL, NULL, "Meta", 200,
        "what this daemon is: version, process, addresses, since when"),
    API(GET, "/openapi.json", READ, pm_about_openapi, NULL, NULL, "OpenAPI", 200,
        "this list as OpenAPI 3.1"),
    API(GET, "/metrics", READ, pm_metrics_show, NULL, NULL, "text", 200, "metrics for Prometheus"),
    API(GET, "/livez", OPEN, pm_about_live, NULL, NULL, "text", 200, "ok while the loop turns"),
    API(GET, "/readyz", OPEN, pm_about_ready, NULL, NULL, "text", 200,
        "ok when it serves; else 503 and a line a reason; never about pools"),
    API(GET, "/health", OPEN, pm_about_ready, NULL, NULL, "text", 200, "the same as /readyz"),
    API(GET, "/", READ, pm_about_front, NULL, NULL, "text", 200,
        "for people: what runs here, and what to try next"),

    LATER(GET | POST | PUT | DEL, "/upstream/{pool}", ADMIN, "a pool's engine, raw"),
    LATER(GET | POST | PUT | DEL, "/upstream/{pool}/{path...}", ADMIN, "a pool's engine, raw"),
    LATER(POST, "/v1/audio/{path...}", INFER, "speech and transcription"),
    LATER(POST, "/v1/images/{path...}", INFER, "images"),
    LATER(GET, "/v1/catalog/{kind}", READ, "models or engines that are here"),
    LATER(POST | DEL, "/v1/catalog/{kind}/{path...}", ADMIN, "fetch, check and remove them"),
    LATER(GET, "/v1/nodes", READ, "nodes of a gateway"),
    LATER(POST, "/v1/nodes/{name}/drain", ADMIN, "send a node nothing new"),
    LATER(POST, "/v1/nodes/{name}/resume", ADMIN, "undo that"),
};
const size_t pm_n_routes = PM_ARRAY_LEN(pm_routes);

bool pm_route_is_inference(const struct pm_route *route)
{
    return route->scope == PM_SCOPE_INFER && (route->methods & POST);
}

const char *pm_scope_name(enum pm_scope scope)
{
    static const char *const names[] = {"open", "infer", "read", "admin"};

    return names[scope];
}

/* ---- matching --------------------------------------------------------------------------------------- */

/* Matches a path against a pattern and keeps its arguments. */
static bool match(const char *pattern, const char *path, struct pm_slice *args)
{
    unsigned n = 0;

    while (*pattern) {
        size_t length;

        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }

        length = strcspn(pattern, "}");
        if (pattern[length - 1] == '.') {
            args[n] = (struct pm_slice){path, strlen(path)};
            return args[n].n > 0;
        }
        args[n].p = path;
        args[n].n = strcspn(path, "/");
        if (args[n].n == 0)
            return false;
        path += args[n++].n;
        pattern += length + 1;
    }
    return *path == '\0';
}

void pm_route_find(const char *path, enum pm_http_method method, struct pm_route_match *ret)
{
    unsigned wanted = PM_METHOD(method == PM_HEAD ? PM_GET : method);

    *ret = (struct pm_route_match){0};
    for (size_t i = 0; i < pm_n_routes; i++) {
        struct pm_slice args[PM_ROUTE_ARGS_MAX] = {{0}};

        if (!match(pm_routes[i].pattern, path, args))
            continue;

        ret->allowed |= pm_routes[i].methods;
        if (!ret->route && (pm_routes[i].methods & wanted)) {
            ret->route = &pm_routes[i];
            memcpy(ret->args, args, sizeof(args));
        }
    }
}

const char *pm_route_allow(unsigned methods, char *to, size_t size)
{
    size_t n = 0;

    if (methods & GET)
        methods |= PM_METHOD(PM_HEAD);
    methods |= PM_METHOD(PM_OPTIONS);

    to[0] = '\0';
    for (unsigned m = 0; m < PM_METHOD_COUNT && n < size; m++) {
        if (methods & PM_METHOD(m))
            n += (size_t)snprintf(to + n, size - n, "%s%s", n > 0 ? ", " : "",
                                  pm_http_method_name((enum pm_http_method)m));
    }
    return to;
}

/* ---- targets ---------------------------------------------------------------------------------------- */

/* Where the name begins in "/v1/models/NAME" as sent, or 0. */
static size_t name_at(struct pm_slice target)
{
    struct pm_slice query;
    char prefix[sizeof("/v1/models")];
    size_t at = 0;

    for (int slashes = 0; at < target.n && target.p[at] != '?'; at++) {
        if (target.p[at] == '/' && ++slashes == 3)
            break;
    }
    if (at >= target.n || target.p[at] != '/')
        return 0;
    if (pm_http_decode_path((struct pm_slice){target.p, at}, prefix, sizeof(prefix), &query) < 0 ||
        strcmp(prefix, "/v1/models") != 0)
        return 0;
    return at + 1;
}

/* A name as one text: escapes are decoded once, slashes are only characters. */
static int decode_name(struct pm_slice name, char *to, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < name.n && name.p[i] != '?'; i++, n++) {
        unsigned byte = (unsigned char)name.p[i];

        if (n + 1 >= size)
            return -404;
        if (byte == '%') { /* the escapes were checked before */
            (void)sscanf(name.p + i + 1, "%2x", &byte);
            i += 2;
        }
        to[n] = (char)byte;
    }
    to[n] = '\0';
    return 0;
}

int pm_api_decode_target(struct pm_slice target, char *path, size_t size,
                         struct pm_slice *ret_query)
{
    int r = pm_http_decode_path(target, path, size, ret_query);
    size_t at;

    if (r != -404)
        return r;

    at = name_at(target);
    if (at == 0)
        return r;

    memcpy(path, "/v1/models/", sizeof("/v1/models/"));
    return decode_name((struct pm_slice){target.p + at, target.n - at}, path + strlen(path),
                       size - strlen(path));
}
