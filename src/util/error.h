/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_UTIL_ERROR_H
#define PM_UTIL_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "poolmgr/error.h"

/* Fills `err` (which may be NULL) and returns `code`, so that `return pm_fail(err, …)` reads well. */
int pm_fail(struct poolmgr_error *err, int code, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

/* The same with ": strerror(errno_value)" at the end. */
int pm_fail_errno(struct poolmgr_error *err, int code, int errno_value, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));

/* Puts "context: " in front of the message and returns `code`. */
int pm_wrap(struct poolmgr_error *err, int code, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

/* Sets `param`, `offset` or `hint` of an error that is already filled; returns err->code, or `code` where err is NULL. */
int pm_error_param(struct poolmgr_error *err, int code, const char *param);
int pm_error_offset(struct poolmgr_error *err, int code, uint32_t offset);
int pm_error_hint(struct poolmgr_error *err, int code, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

/* One row of the table of codes (INTERFACES, "Errors"). */
struct pm_status {
    const char *name; /* wire name, "breaker_open" */
    int http_status;  /* 503 */
    int exit_code;    /* of poolctl */
    bool retriable;
    const char *when; /* for docs and help */
};

/* The row of a negative status; of POOLMGR_E_INTERNAL for numbers that are none. Never NULL. */
const struct pm_status *pm_status(int code);

/* The negative status of a wire name; 0 when there is none. */
int pm_status_by_name(const char *name);

/* OpenAI's `type` of an HTTP status: "invalid_request_error", "server_error", … */
const char *pm_status_type(int http_status);

#endif
