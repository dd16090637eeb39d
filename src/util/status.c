/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of codes: wire name, HTTP status, exit code of poolctl, whether trying again can help. */
#include <string.h>

#include "util/cleanup.h"
#include "util/error.h"

#define ROW(code, name, http, retry, exit, text)                                                   \
    [-POOLMGR_E_##code] = {name, http, exit, retry, text}

static const struct pm_status table[POOLMGR_STATUS_COUNT] = {
    [0] = {"ok", 200, 0, false, "done"},
    ROW(INTERNAL, "internal", 500, false, 1, "a bug of ours"),
    ROW(INVALID_REQUEST, "invalid_request", 400, false, 2,
        "the request is wrong; `param` names the member"),
    ROW(CONFIG_INVALID, "config_invalid", 400, false, 2,
        "the configuration is wrong; each error has file, line and column"),
    ROW(PATH_TOO_LONG, "path_too_long", 400, false, 2,
        "a socket's path would have more than 107 bytes"),
    ROW(CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded", 400, false, 1,
        "the prompt is over the pool's context"),
    ROW(INVALID_API_KEY, "invalid_api_key", 401, false, 1, "no key, or an unknown one"),
    ROW(FORBIDDEN, "forbidden", 403, false, 1, "the key may not do this"),
    ROW(ORIGIN_REFUSED, "origin_refused", 403, false, 1, "a web page or host that is not allowed"),
    ROW(MODEL_NOT_FOUND, "model_not_found", 404, false, 3, "no pool or alias of that name"),
    ROW(NOT_FOUND, "not_found", 404, false, 3, "nothing of that name"),
    ROW(METHOD_NOT_ALLOWED, "method_not_allowed", 405, false, 2,
        "the route has other methods; see `Allow`"),
    ROW(REQUEST_TIMEOUT, "request_timeout", 408, false, 5, "the client was too slow sending"),
    ROW(CONFLICT, "conflict", 409, false, 1, "something else is under way, or holds it"),
    ROW(ALREADY_EXISTS, "already_exists", 409, false, 1, "the name is taken"),
    ROW(OWNED_BY_FILE, "owned_by_file", 409, false, 1, "the pool is changed in the file only"),
    ROW(HAS_LEASES, "has_leases", 409, false, 1, "requests are running there"),
    ROW(TOO_LARGE, "too_large", 413, false, 2, "the body is over the limit"),
    ROW(UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, false, 2,
        "a compressed body we would have to read"),
    ROW(HEADER_TOO_LARGE, "header_too_large", 431, false, 2, "the head is over the limit"),
    ROW(EXPECTATION_FAILED, "expectation_failed", 417, false, 2,
        "an Expect other than 100-continue"),
    ROW(RATE_LIMIT_EXCEEDED, "rate_limit_exceeded", 429, true, 1, "the key's limit is reached"),
    ROW(QUEUE_FULL, "queue_full", 429, true, 1, "too many requests wait for this model"),
    ROW(QUEUE_DROPPED, "queue_dropped", 429, true, 1,
        "dropped from a full queue for a newer request"),
    ROW(NOT_READY, "not_ready", 503, true, 1, "no engine of the pool is up"),
    ROW(DRAINING, "draining", 503, true, 1, "the pool takes nothing new"),
    ROW(START_FAILED, "start_failed", 503, true, 1, "the engine did not come up"),
    ROW(START_TIMEOUT, "start_timeout", 503, true, 1, "the engine took too long to come up"),
    ROW(BREAKER_OPEN, "breaker_open", 503, true, 1,
        "the engine failed too often; the next try has a time"),
    ROW(VRAM_SHORT, "vram_short", 503, true, 1, "not enough VRAM is free now"),
    ROW(NO_CAPACITY, "no_capacity", 503, true, 1, "every slot is in use"),
    ROW(QUEUE_TIMEOUT, "queue_timeout", 503, true, 1, "the request waited until its deadline"),
    ROW(OVERLOADED, "overloaded", 503, true, 1, "more work than can be done in time"),
    ROW(SHUTTING_DOWN, "shutting_down", 503, true, 1, "the daemon is stopping"),
    ROW(DEVICE_LOST, "device_lost", 503, true, 1, "the pool's device does not work"),
    ROW(ENGINE_GONE, "engine_gone", 503, true, 1, "an engine that is not ours went away"),
    ROW(POOL_FAILED, "pool_failed", 503, false, 1, "the pool cannot start until a person acts"),
    ROW(NEVER_FITS, "never_fits", 503, false, 1, "the model can never fit on its devices"),
    ROW(PIN_UNMET, "pin_unmet", 503, false, 1, "the pool that was asked for cannot serve it"),
    ROW(DISABLED, "disabled", 503, false, 1, "the pool was switched off"),
    ROW(OFFLINE, "offline", 503, false, 1, "the model is not here and downloads are off"),
    ROW(ENGINE_CRASHED, "engine_crashed", 502, false, 1, "the engine died with the request"),
    ROW(BAD_ENGINE_ANSWER, "bad_engine_answer", 502, false, 1,
        "the engine's answer is not HTTP as we allow it"),
    ROW(ENGINE_TIMEOUT, "engine_timeout", 504, false, 5, "the engine did not answer in time"),
    ROW(UNSUPPORTED, "unsupported", 501, false, 1, "not something we do"),
    ROW(STORE_FAILED, "store_failed", 507, false, 1, "it could not be stored, so it was not done"),
    ROW(MODEL_MISSING, "model_missing", 503, false, 1, "the model's file is not there"),
    ROW(MODEL_CORRUPT, "model_corrupt", 503, false, 1, "the model's file is damaged"),
    ROW(MODEL_UNSUPPORTED, "model_unsupported", 503, false, 1,
        "the engine does not know this kind of model"),
    ROW(ENGINE_MISSING, "engine_missing", 503, false, 1, "the engine's program is not there"),
    ROW(BAD_ARGUMENTS, "bad_arguments", 503, false, 1, "the engine refuses its arguments"),
};

const struct pm_status *pm_status(int code)
{
    if (code > 0 || code <= -POOLMGR_STATUS_COUNT)
        code = POOLMGR_E_INTERNAL;
    return &table[-code];
}

int pm_status_by_name(const char *name)
{
    for (size_t i = 1; i < PM_ARRAY_LEN(table); i++) {
        if (strcmp(table[i].name, name) == 0)
            return -(int)i;
    }
    return 0;
}

const char *pm_status_type(int http_status)
{
    switch (http_status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return http_status >= 500 ? "server_error" : "invalid_request_error";
    }
}
