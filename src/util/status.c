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
    ROW(ENGINE_MISSING, "engine_missing", 503, false, 1,
        "the engine's program is missing, or lacks what it needs"),
    ROW(BAD_ARGUMENTS, "bad_arguments", 503, false, 1, "the engine refuses its arguments"),
    ROW(FOLDER_DENIED, "folder_denied", 503, true, 1,
        "the runtime folder cannot be written to, so no engine starts"),
    ROW(DISK_FULL, "disk_full", 503, true, 1,
        "the runtime folder has no room, so no engine starts"),
    ROW(DESCRIPTORS_SHORT, "descriptors_short", 503, true, 1,
        "too few descriptors are left to start an engine"),
    ROW(MASK_EMPTY, "mask_empty", 400, false, 2, "a mask of no bytes"),
    ROW(MASK_TOO_LONG, "mask_too_long", 400, false, 2,
        "a mask of more than 4096 bytes, or of more than 1024 devices; of more than 16 in a plan"),
    ROW(MASK_SYNTAX, "mask_syntax", 400, false, 2,
        "a mask with a byte that cannot stand there: `0,,1` `0,` `0 ,1` `+1` `1gpu2`"),
    ROW(MASK_LEADING_ZERO, "mask_leading_zero", 400, false, 2,
        "an index with a zero in front: `01`"),
    ROW(MASK_NEGATIVE, "mask_negative", 400, false, 2, "an index below zero: `-1`"),
    ROW(MASK_INDEX_RANGE, "mask_index_range", 400, false, 2, "an index over 1023"),
    ROW(MASK_RANGE_REVERSED, "mask_range_reversed", 400, false, 2, "a range that goes down: `3-1`"),
    ROW(MASK_RANGE_TOO_WIDE, "mask_range_too_wide", 400, false, 2,
        "a range of more than 128 indexes"),
    ROW(MASK_DUPLICATE, "mask_duplicate", 400, false, 2,
        "the same device twice: `0-2,1`, or by two of its names"),
    ROW(MASK_MIXED_NONE, "mask_mixed_none", 400, false, 2, "`none` or `cpu` beside something else"),
    ROW(MASK_MIXED_ALL, "mask_mixed_all", 400, false, 2,
        "`all` beside devices that it means already: `all,0`"),
    ROW(MASK_UUID_MALFORMED, "mask_uuid_malformed", 400, false, 2, "no UUID: `GPU-xyz`"),
    ROW(MASK_PREFIX_SHORT, "mask_prefix_short", 400, false, 2,
        "fewer than 4 digits of a UUID: `GPU-ab`"),
    ROW(MASK_PREFIX_AMBIGUOUS, "mask_prefix_ambiguous", 400, false, 2,
        "these first digits are those of several devices"),
    ROW(MASK_NOT_FOUND, "mask_not_found", 400, false, 2, "no such device here: `7` of 4"),
    ROW(MASK_NOT_PERMITTED, "mask_not_permitted", 400, false, 2,
        "a device that was not given to this daemon (CUDA_VISIBLE_DEVICES)"),
    ROW(MASK_VENDOR_UNKNOWN, "mask_vendor_unknown", 400, false, 2, "no vendor we know: `foo:0`"),
    ROW(MASK_VENDOR_AMBIGUOUS, "mask_vendor_ambiguous", 400, false, 2,
        "an index, where GPUs of several vendors are: `0` may be `nvidia:0` or `amd:0`"),
    ROW(MASK_MIG_DISABLED, "mask_mig_disabled", 400, false, 2,
        "a MIG slot of a GPU that is not in MIG mode"),
    ROW(MASK_GPU_IN_MIG_MODE, "mask_gpu_in_mig_mode", 400, false, 2,
        "a whole GPU that is in MIG mode: only its instances can be used"),
    ROW(MASK_MIG_PARENT_OVERLAP, "mask_mig_parent_overlap", 400, false, 2,
        "a GPU and an instance of it"),
    ROW(MASK_DEVICE_UNHEALTHY, "mask_device_unhealthy", 400, false, 2,
        "a device that does not work"),
    ROW(MASK_COMPUTE_PROHIBITED, "mask_compute_prohibited", 400, false, 2,
        "a device whose compute mode forbids another program"),
    ROW(MASK_MIG_MULTI, "mask_mig_multi", 400, false, 2,
        "several MIG instances, or one and another GPU, for one engine"),
    ROW(MASK_MIXED_VENDOR, "mask_mixed_vendor", 400, false, 2,
        "devices of several vendors for one engine"),
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
