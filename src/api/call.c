/* SPDX-License-Identifier: Apache-2.0 */
/* How handlers answer: every answer frees its call, so that a handler returns right behind it. */
#include "api/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/json.h"
#include "http/refusal.h"
#include "util/jsontext.h"
#include "util/str.h"

void pm_call_free(struct pm_call *call)
{
    if (call->gone)
        call->gone(call);
    for (int i = 0; i < PM_ROUTE_ARGS_MAX; i++)
        free(call->args[i]);
    pm_query_fini(&call->query);
    free(call);
}

/* The exchange's life goes on without us. */
static struct pm_exchange *let_go(struct pm_call *call)
{
    struct pm_exchange *exchange = call->exchange;

    pm_exchange_set_user(exchange, NULL);
    pm_call_free(call);
    return exchange;
}

void pm_call_text(struct pm_call *call, int status, const char *type, const void *data, size_t n)
{
    const struct pm_http_field fields[] = {
        {"Content-Type", type},
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
    };

    pm_exchange_respond(let_go(call), status, fields, 3, data, n);
}

void pm_call_json_at(struct pm_call *call, int status, const char *location, json_t *body)
{
    const struct pm_http_field fields[] = {
        {"Content-Type", "application/json"},
        {"Cache-Control", "no-store"},
        {"Location", location},
    };
    char *text = json_dumps(body, JSON_COMPACT | PM_JSON_REALS);

    json_decref(body);
    if (!text) {
        pm_call_fail(call, POOLMGR_E_INTERNAL, NULL, "the answer cannot be written as JSON");
        return;
    }
    pm_exchange_respond(let_go(call), status, fields, location ? 3 : 2, text, strlen(text));
    free(text);
}

void pm_call_json(struct pm_call *call, int status, json_t *body)
{
    pm_call_json_at(call, status, NULL, body);
}

void pm_call_empty(struct pm_call *call, int status)
{
    const struct pm_http_field field = {"Cache-Control", "no-store"};

    pm_exchange_respond(let_go(call), status, &field, 1, "", 0);
}

static json_t *error_at_json(const struct pm_config_errors *errors,
                             const struct pm_config_error *error)
{
    json_t *value = json_object();

    if (error->line > 0 && errors->file[0]) { /* a pool that came alone stands in no file */
        pm_put_text(value, "file", errors->file);
        pm_put_u64(value, "line", error->line);
        pm_put_u64(value, "column", error->column);
    }
    pm_put(value, "message", pm_text(error->message));
    if (error->code) {
        pm_put_text(value, "code", pm_status(error->code)->name);
        pm_put_u64(value, "offset", error->offset);
    }
    return value;
}

void pm_call_config_invalid(struct pm_call *call, const struct pm_config_errors *errors,
                            const struct poolmgr_error *error)
{
    const struct pm_http_field fields[] = {
        {"Content-Type", "application/json"},
        {"x-should-retry", "false"},
    };
    json_t *object = pm_error_json(error, NULL, pm_exchange_request_id(call->exchange));
    json_t *list = json_array(), *body;
    char *text;

    for (size_t i = 0; i < errors->n; i++)
        (void)json_array_append_new(list, error_at_json(errors, &errors->items[i]));
    pm_put(object, "errors", list);
    body = json_pack("{s:o}", "error", object);
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    pm_exchange_respond(let_go(call), pm_status(error->code)->http_status, fields, 2, text,
                        strlen(text));
    free(text);
}

void pm_call_error(struct pm_call *call, const struct poolmgr_error *error)
{
    struct poolmgr_error copy = *error; /* it may lie in what is freed */

    pm_exchange_refuse(let_go(call), &copy, "");
}

void pm_call_fail(struct pm_call *call, int code, const char *param, const char *format, ...)
{
    struct poolmgr_error error = {.code = code};
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error.message, sizeof(error.message), format, args);
    va_end(args);
    if (param)
        (void)pm_str_copy(error.param, sizeof(error.param), param);
    pm_call_error(call, &error);
}

bool pm_call_begin_stream(struct pm_call *call, const char *type)
{
    const struct pm_http_field fields[] = {
        {"Content-Type", type},
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Accel-Buffering", "no"}, /* nginx in front passes it as it comes */
    };
    bool only_head = pm_exchange_head(call->exchange)->method == PM_HEAD;

    pm_exchange_begin(call->exchange, 200, fields, 4, false, 0);
    if (!only_head)
        return true;
    pm_call_end_stream(call);
    return false;
}

void pm_call_end_stream(struct pm_call *call)
{
    pm_exchange_end(let_go(call));
}

/* ---- what handlers ask ------------------------------------------------------------------------------ */

static char *join(const struct iovec *pieces, size_t n_pieces, size_t n)
{
    char *text = pm_xalloc(n + 1), *at = text;

    for (size_t i = 0; i < n_pieces; i++) {
        memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    return text;
}

static bool is_member(const char *members, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = members; *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");

        if (length == n && memcmp(p, name, n) == 0)
            return true;
        p += length;
    }
    return false;
}

static int check_members(json_t *body, const char *members, struct poolmgr_error *err)
{
    const char *name;
    json_t *value;

    if (strcmp(members, PM_ANY_MEMBERS) == 0)
        return 0;
    json_object_foreach(body, name, value)
    {
        if (is_member(members, name))
            continue;
        (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST, "unknown member '%.64s'%s%s", name,
                      *members ? "; it may have: " : "; it takes none", members);
        return pm_error_param(err, POOLMGR_E_INVALID_REQUEST, name);
    }
    return 0;
}

int pm_parse_control_body(const char *text, size_t n, const char *members, json_t **ret,
                          struct poolmgr_error *err)
{
    json_error_t where;
    json_t *body;
    int r;

    if (n == 0) {
        *ret = json_object();
        return 0;
    }

    /* jansson stops at a depth of 2048 by itself and refuses an escaped NUL, but lets a raw one pass behind a number. */
    if (memchr(text, '\0', n))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "the body holds a NUL byte");
    body = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!body)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "the body is not good JSON at byte %d: %s",
                       where.position, where.text);
    if (!json_is_object(body)) {
        json_decref(body);
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "the body must be a JSON object");
    }

    r = check_members(body, members, err);
    if (r < 0)
        json_decref(body);
    else
        *ret = body;
    return r;
}

json_t *pm_call_body(struct pm_call *call)
{
    const struct iovec *pieces = NULL;
    struct poolmgr_error err = {0};
    json_t *body = NULL;
    size_t n_pieces = 0;
    size_t n = pm_exchange_body(call->exchange, &pieces, &n_pieces);
    char *text;
    int r;

    if (n > PM_CONTROL_BODY_MAX) {
        pm_call_fail(call, POOLMGR_E_TOO_LARGE, NULL, "a control body has at most %d bytes",
                     PM_CONTROL_BODY_MAX);
        return NULL;
    }

    text = join(pieces, n_pieces, n);
    r = pm_parse_control_body(text, n, call->route->body, &body, &err);
    free(text);
    if (r < 0)
        pm_call_error(call, &err);
    return body;
}

bool pm_call_pool(struct pm_call *call, struct pm_pool_view *ret)
{
    struct pm_manager *manager = call->api->manager;

    if (pm_core_pool(pm_manager_core(manager), call->args[0], pm_manager_now(manager), ret))
        return true;
    pm_call_fail(call, POOLMGR_E_NOT_FOUND, NULL, "there is no pool '%.64s'", call->args[0]);
    return false;
}
