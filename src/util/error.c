/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors are values that their caller owns. Whoever detects a failure fills one, whoever knows more puts context in
 * front of it, and whoever ends the request tells it, once.
 */
#include "util/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/str.h"

static void fill(struct poolmgr_error *err, int code, const char *format, va_list args)
    __attribute__((__format__(__printf__, 3, 0)));

static void fill(struct poolmgr_error *err, int code, const char *format, va_list args)
{
    *err = (struct poolmgr_error){.code = code};
    (void)vsnprintf(err->message, sizeof(err->message), format, args);
}

int pm_fail(struct poolmgr_error *err, int code, const char *format, ...)
{
    va_list args;

    if (!err)
        return code;

    va_start(args, format);
    fill(err, code, format, args);
    va_end(args);
    return code;
}

int pm_fail_errno(struct poolmgr_error *err, int code, int errno_value, const char *format, ...)
{
    va_list args;
    size_t n;

    if (!err)
        return code;

    va_start(args, format);
    fill(err, code, format, args);
    va_end(args);
    n = strlen(err->message);
    (void)snprintf(err->message + n, sizeof(err->message) - n, ": %s", strerror(errno_value));
    return code;
}

int pm_wrap(struct poolmgr_error *err, int code, const char *format, ...)
{
    char former[POOLMGR_MESSAGE_MAX];
    va_list args;
    int n;

    if (!err)
        return code;

    (void)pm_str_copy(former, sizeof(former), err->message);
    va_start(args, format);
    n = vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(err->message))
        (void)snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", former);
    err->code = code;
    return code;
}

int pm_error_param(struct poolmgr_error *err, int code, const char *param)
{
    if (!err)
        return code;

    (void)pm_str_copy(err->param, sizeof(err->param), param);
    return err->code;
}

int pm_error_offset(struct poolmgr_error *err, int code, uint32_t offset)
{
    if (!err)
        return code;

    err->has_offset = true;
    err->offset = offset;
    return err->code;
}

int pm_error_hint(struct poolmgr_error *err, int code, const char *format, ...)
{
    va_list args;

    if (!err)
        return code;

    va_start(args, format);
    (void)vsnprintf(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    return err->code;
}
