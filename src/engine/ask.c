/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to an engine over its own HTTP: a small GET, its status, and (where it is asked for) a bounded body.
 * The answer is given once; a question that is freed is never answered.
 */
#include "engine/ask.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "util/buf.h"
#include "util/str.h"

struct pm_get {
    struct pm_http_call *call;
    struct pm_buf body;
    int status;
    bool keep_body;
    pm_get_fn fn;
    void *ctx;
};

size_t pm_engine_get_head(char *to, size_t size, const char *path, const char *api_key)
{
    bool has_key = api_key && api_key[0] != '\0';
    int n = snprintf(to, size, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s%s\r\n", path,
                     has_key ? "Authorization: Bearer " : "", has_key ? api_key : "",
                     has_key ? "\r\n" : "");

    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static void answer(struct pm_get *get)
{
    struct pm_get taken = *get;

    free(get);
    taken.fn(taken.ctx, taken.status, taken.status > 0 ? &taken.body : NULL);
    pm_buf_fini(&taken.body);
}

static void on_head(void *ctx, const struct pm_http_head *head)
{
    struct pm_get *get = ctx;

    get->status = head->status;
}

static void on_body(void *ctx, const char *data, size_t n)
{
    struct pm_get *get = ctx;

    if (get->keep_body && n <= PM_GET_BODY_MAX - get->body.n)
        pm_buf_add(&get->body, data, n);
}

static void on_end(void *ctx)
{
    answer(ctx);
}

static void on_error(void *ctx, enum pm_call_error error, const char *text)
{
    struct pm_get *get = ctx;

    (void)text;
    get->status = error == PM_CALL_REFUSED ? PM_GET_REFUSED : 0;
    answer(get);
}

static const struct pm_http_call_handler handler = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
};

struct pm_get *pm_get_new(struct pm_http_client *client, const char *endpoint, const char *path,
                          const char *api_key, uint64_t timeout_ms, bool keep_body, pm_get_fn fn,
                          void *ctx)
{
    struct pm_get *get = pm_xalloc(sizeof *get);
    char head[1024];
    size_t n = pm_engine_get_head(head, sizeof head, path, api_key);

    get->keep_body = keep_body;
    get->fn = fn;
    get->ctx = ctx;
    get->call = pm_http_call_new(client, endpoint, PM_GET, head, n, NULL, 0, false, &handler, get);
    pm_http_call_limits(get->call, timeout_ms, timeout_ms);
    return get;
}

void pm_get_free(struct pm_get *get)
{
    if (!get)
        return;

    pm_http_call_cancel(get->call);
    pm_buf_fini(&get->body);
    free(get);
}

/* ---- the public questions --------------------------------------------------------------------------- */

struct pm_engine_ask {
    struct pm_get *get;
    void (*on_probe)(void *ctx, enum pm_probed how);
    void (*on_busy)(void *ctx, bool known, uint64_t n_busy);
    void *ctx;
};

static void probe_answered(void *ctx, int status, struct pm_buf *body)
{
    struct pm_engine_ask ask = *(struct pm_engine_ask *)ctx;

    (void)body;
    free(ctx);
    ask.on_probe(ask.ctx, status == 200              ? PM_PROBED_GOOD
                          : status == PM_GET_REFUSED ? PM_PROBED_REFUSED
                                                     : PM_PROBED_MISSED);
}

struct pm_engine_ask *pm_engine_probe(struct pm_http_client *client,
                                      const struct pm_engine_spec *engine, const char *endpoint,
                                      uint64_t timeout_ms,
                                      void (*fn)(void *ctx, enum pm_probed how), void *ctx)
{
    struct pm_engine_ask *ask = pm_xalloc(sizeof *ask);

    ask->on_probe = fn;
    ask->ctx = ctx;
    ask->get = pm_get_new(client, endpoint, pm_engine_health_path(engine), "", timeout_ms, false,
                          probe_answered, ask);
    return ask;
}

bool pm_slots_busy(const char *text, size_t n, uint64_t *ret_busy)
{
    json_t *slots = json_loadb(text, n, 0, NULL), *slot;
    bool is_list = json_is_array(slots);
    uint64_t n_busy = 0;
    size_t i;

    json_array_foreach(slots, i, slot) n_busy +=
        json_is_true(json_object_get(slot, "is_processing"));

    json_decref(slots);
    if (is_list)
        *ret_busy = n_busy;
    return is_list;
}

static void busy_answered(void *ctx, int status, struct pm_buf *body)
{
    struct pm_engine_ask ask = *(struct pm_engine_ask *)ctx;
    uint64_t n_busy = 0;
    bool known;

    free(ctx);
    known = status == 200 && pm_slots_busy(body->data, body->n, &n_busy);
    ask.on_busy(ask.ctx, known, n_busy);
}

struct pm_engine_ask *pm_engine_busy(struct pm_http_client *client,
                                     const struct pm_engine_spec *engine, const char *endpoint,
                                     const char *api_key, uint64_t timeout_ms,
                                     void (*fn)(void *ctx, bool known, uint64_t n_busy), void *ctx)
{
    const struct pm_family_row *row = pm_family_row(engine->family);
    struct pm_engine_ask *ask = pm_xalloc(sizeof *ask);

    ask->on_busy = fn;
    ask->ctx = ctx;
    ask->get = pm_get_new(client, endpoint, row && row->busy_path ? row->busy_path : "/slots",
                          api_key, timeout_ms, true, busy_answered, ask);
    return ask;
}

void pm_engine_ask_free(struct pm_engine_ask *ask)
{
    if (!ask)
        return;

    pm_get_free(ask->get);
    free(ask);
}
