/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POOLMGR_ERROR_H
#define POOLMGR_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Every status that a function, an HTTP answer or a command can end with. Zero is success, all others are
 * negative. The one table of wire names, HTTP statuses and exit codes is in src/util/status.c.
 */
enum poolmgr_status {
    POOLMGR_OK = 0,
    POOLMGR_E_INTERNAL = -1,
    POOLMGR_E_INVALID_REQUEST = -2,
    POOLMGR_E_CONFIG_INVALID = -3,
    POOLMGR_E_PATH_TOO_LONG = -4,
    POOLMGR_E_CONTEXT_LENGTH_EXCEEDED = -5,
    POOLMGR_E_INVALID_API_KEY = -6,
    POOLMGR_E_FORBIDDEN = -7,
    POOLMGR_E_ORIGIN_REFUSED = -8,
    POOLMGR_E_MODEL_NOT_FOUND = -9,
    POOLMGR_E_NOT_FOUND = -10,
    POOLMGR_E_METHOD_NOT_ALLOWED = -11,
    POOLMGR_E_REQUEST_TIMEOUT = -12,
    POOLMGR_E_CONFLICT = -13,
    POOLMGR_E_ALREADY_EXISTS = -14,
    POOLMGR_E_OWNED_BY_FILE = -15,
    POOLMGR_E_HAS_LEASES = -16,
    POOLMGR_E_TOO_LARGE = -17,
    POOLMGR_E_UNSUPPORTED_MEDIA_TYPE = -18,
    POOLMGR_E_HEADER_TOO_LARGE = -19,
    POOLMGR_E_EXPECTATION_FAILED = -20,
    POOLMGR_E_RATE_LIMIT_EXCEEDED = -21,
    POOLMGR_E_QUEUE_FULL = -22,
    POOLMGR_E_QUEUE_DROPPED = -23,
    POOLMGR_E_NOT_READY = -24,
    POOLMGR_E_DRAINING = -25,
    POOLMGR_E_START_FAILED = -26,
    POOLMGR_E_START_TIMEOUT = -27,
    POOLMGR_E_BREAKER_OPEN = -28,
    POOLMGR_E_VRAM_SHORT = -29,
    POOLMGR_E_NO_CAPACITY = -30,
    POOLMGR_E_QUEUE_TIMEOUT = -31,
    POOLMGR_E_OVERLOADED = -32,
    POOLMGR_E_SHUTTING_DOWN = -33,
    POOLMGR_E_DEVICE_LOST = -34,
    POOLMGR_E_ENGINE_GONE = -35,
    POOLMGR_E_POOL_FAILED = -36,
    POOLMGR_E_NEVER_FITS = -37,
    POOLMGR_E_PIN_UNMET = -38,
    POOLMGR_E_DISABLED = -39,
    POOLMGR_E_OFFLINE = -40,
    POOLMGR_E_ENGINE_CRASHED = -41,
    POOLMGR_E_BAD_ENGINE_ANSWER = -42,
    POOLMGR_E_ENGINE_TIMEOUT = -43,
    POOLMGR_E_UNSUPPORTED = -44,
    POOLMGR_E_STORE_FAILED = -45,
    POOLMGR_E_MODEL_MISSING = -46,
    POOLMGR_E_MODEL_CORRUPT = -47,
    POOLMGR_E_MODEL_UNSUPPORTED = -48,
    POOLMGR_E_ENGINE_MISSING = -49,
    POOLMGR_E_BAD_ARGUMENTS = -50,
    POOLMGR_E_MASK_EMPTY = -51,
    POOLMGR_E_MASK_TOO_LONG = -52,
    POOLMGR_E_MASK_SYNTAX = -53,
    POOLMGR_E_MASK_LEADING_ZERO = -54,
    POOLMGR_E_MASK_NEGATIVE = -55,
    POOLMGR_E_MASK_INDEX_RANGE = -56,
    POOLMGR_E_MASK_RANGE_REVERSED = -57,
    POOLMGR_E_MASK_RANGE_TOO_WIDE = -58,
    POOLMGR_E_MASK_DUPLICATE = -59,
    POOLMGR_E_MASK_MIXED_NONE = -60,
    POOLMGR_E_MASK_MIXED_ALL = -61,
    POOLMGR_E_MASK_UUID_MALFORMED = -62,
    POOLMGR_E_MASK_PREFIX_SHORT = -63,
    POOLMGR_E_MASK_PREFIX_AMBIGUOUS = -64,
    POOLMGR_E_MASK_NOT_FOUND = -65,
    POOLMGR_E_MASK_NOT_PERMITTED = -66,
    POOLMGR_E_MASK_VENDOR_UNKNOWN = -67,
    POOLMGR_E_MASK_VENDOR_AMBIGUOUS = -68,
    POOLMGR_E_MASK_MIG_DISABLED = -69,
    POOLMGR_E_MASK_GPU_IN_MIG_MODE = -70,
    POOLMGR_E_MASK_MIG_PARENT_OVERLAP = -71,
    POOLMGR_E_MASK_DEVICE_UNHEALTHY = -72,
    POOLMGR_E_MASK_COMPUTE_PROHIBITED = -73,
    POOLMGR_E_MASK_MIG_MULTI = -74,
    POOLMGR_E_MASK_MIXED_VENDOR = -75,
    POOLMGR_E_FOLDER_DENIED = -76,
    POOLMGR_E_DISK_FULL = -77,
    POOLMGR_E_DESCRIPTORS_SHORT = -78,
    POOLMGR_STATUS_COUNT = 79
};

#define POOLMGR_MESSAGE_MAX 512
#define POOLMGR_PARAM_MAX   64
#define POOLMGR_HINT_MAX    192

/**
 * Why something failed. The caller owns it, nothing in it has to be freed, and it is filled on failure only.
 * Start with `struct poolmgr_error err = {0};`.
 */
struct poolmgr_error {
    int code;                          /* enum poolmgr_status, negative */
    char message[POOLMGR_MESSAGE_MAX]; /* one line, no final period: what and which */
    char param[POOLMGR_PARAM_MAX];     /* the member or header at fault; "" unknown */
    char hint[POOLMGR_HINT_MAX];       /* what a person can do next; "" none */
    uint64_t retry_after_ms;           /* 0: unknown, or not retriable */
    bool has_offset;                   /* of masks: */
    uint32_t offset;                   /* the byte at fault in the text that was given, from 0 */
};

#ifdef __cplusplus
}
#endif

#endif
