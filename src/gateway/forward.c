/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request as the engine gets it: one canonical head, and the client's body byte for byte but for the ranges that
 * are ours to change. What belongs to the hop, to us, or to the client's secrets stays behind (GW-6).
 */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "gateway/flight.h"
#include "util/jsontext.h"

/* ---- the body --------------------------------------------------------------------------------------- */

struct pieces {
    struct iovec *items;
    size_t n;
};

static void add_piece(struct pieces *to, const char *base, size_t n)
{
    if (n == 0)
        return;
    to->items = pm_xrealloc(to->items, (to->n + 1) * sizeof(to->items[0]));
    to->items[to->n++] = (struct iovec){(char *)base, n};
}

/* Appends what of the body lies in [from, to). */
static void add_range(struct pieces *out, const struct iovec *body, size_t n_body, uint64_t from,
                      uint64_t to)
{
    uint64_t at = 0;

    for (size_t i = 0; i < n_body && at < to; at += body[i++].iov_len) {
        uint64_t begin = from > at ? from : at;
        uint64_t end = to < at + body[i].iov_len ? to : at + body[i].iov_len;

        if (begin < end)
            add_piece(out, (const char *)body[i].iov_base + (begin - at), (size_t)(end - begin));
    }
}

/* The body without keep_alive, and with the engine's name of the model where it insists on it. */
static uint64_t make_body(struct pm_flight *flight)
{
    const struct iovec *body;
    size_t n_body;
    uint64_t n = pm_exchange_body(flight->exchange, &body, &n_body), at = 0, sum = 0;
    struct pm_scan_range cuts[2];
    const char *inserts[2] = {NULL, NULL};
    struct pieces out = {0};
    size_t n_cuts = 0;

    if (flight->model_text && flight->model_value.to) {
        cuts[n_cuts] = flight->model_value;
        inserts[n_cuts++] = flight->model_text;
    }
    if (flight->has_keep_alive)
        cuts[n_cuts++] = flight->keep_alive_member;
    if (n_cuts == 2 && cuts[0].from > cuts[1].from) {
        struct pm_scan_range range = cuts[0];

        cuts[0] = cuts[1];
        cuts[1] = range;
        inserts[1] = inserts[0];
        inserts[0] = NULL;
    }
    for (size_t i = 0; i < n_cuts; i++) {
        add_range(&out, body, n_body, at, cuts[i].from);
        if (inserts[i])
            add_piece(&out, inserts[i], strlen(inserts[i]));
        at = cuts[i].to;
    }
    add_range(&out, body, n_body, at, n);

    free(flight->pieces);
    flight->pieces = out.items;
    flight->n_pieces = out.n;
    for (size_t i = 0; i < out.n; i++)
        sum += out.items[i].iov_len;
    return sum;
}

/* ---- the head --------------------------------------------------------------------------------------- */

static bool is_hex(struct pm_slice slice)
{
    for (size_t i = 0; i < slice.n; i++) {
        if (!((slice.p[i] >= '0' && slice.p[i] <= '9') || (slice.p[i] >= 'a' && slice.p[i] <= 'f')))
            return false;
    }
    return true;
}

/* 00-<32 hex>-<16 hex>-<2 hex>; anything else is not passed on. */
static bool traceparent_valid(struct pm_slice value)
{
    return value.n == 55 && memcmp(value.p, "00-", 3) == 0 && value.p[35] == '-' &&
           value.p[52] == '-' && is_hex((struct pm_slice){value.p + 3, 32}) &&
           is_hex((struct pm_slice){value.p + 36, 16}) &&
           is_hex((struct pm_slice){value.p + 53, 2});
}

static bool stays_behind(const struct pm_http_header *header)
{
    static const char *const names[] = {
        "host",        "content-length",  "authorization", "x-api-key",     "cookie",
        "origin",      "accept-encoding", "expect",        "x-deadline-ms", "x-priority",
        "x-placement", "x-session-id",    "x-request-id",  "connection",    "referer",
    };

    if (header->hop_by_hop)
        return true;
    for (size_t i = 0; i < PM_ARRAY_LEN(names); i++) {
        if (pm_slice_is_nocase(header->name, names[i]))
            return true;
    }
    return pm_slice_is_nocase(header->name, "traceparent") && !traceparent_valid(header->value);
}

static void add_line(struct pm_buf *out, struct pm_slice name, struct pm_slice value)
{
    pm_buf_add(out, name.p, name.n);
    pm_buf_adds(out, ": ");
    pm_buf_add(out, value.p, value.n);
    pm_buf_adds(out, "\r\n");
}

static void make_head(struct pm_flight *flight, const struct pm_grant *grant, uint64_t n_body,
                      struct pm_buf *out)
{
    const struct pm_http_head *head = pm_exchange_head(flight->exchange);

    /* The path was decoded and checked: what was routed is what is asked for, queries stay with us. */
    pm_buf_addf(
        out, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %llu\r\nX-Request-Id: %s\r\n",
        flight->path, (unsigned long long)n_body, flight->request_id);
    if (grant->api_key[0])
        pm_buf_addf(out, "Authorization: Bearer %s\r\n", grant->api_key);
    for (unsigned i = 0; i < head->n_headers; i++) {
        if (!stays_behind(&head->headers[i]))
            add_line(out, head->headers[i].name, head->headers[i].value);
    }
    pm_buf_adds(out, "\r\n");
}

/* ---- the call --------------------------------------------------------------------------------------- */

static void name_model(struct pm_flight *flight)
{
    const struct pm_engine_spec *engine = flight->spec->runs;
    const struct pm_adapter *adapter = pm_adapter(engine->family);
    const char *name =
        flight->spec->external.model_name ? flight->spec->external.model_name : engine->model_name;
    pm_auto_buf struct pm_buf quoted = {0};

    free(flight->model_text);
    flight->model_text = NULL;
    if (!adapter || !adapter->sends_model_name || !name)
        return;
    pm_json_quote(&quoted, name, strlen(name));
    flight->model_text = pm_xstrdup(pm_buf_text(&quoted));
}

void pm_flight_call(struct pm_flight *flight, const struct pm_grant *grant)
{
    pm_auto_buf struct pm_buf head = {0};

    name_model(flight);
    make_head(flight, grant, make_body(flight), &head);
    flight->call = pm_http_call_new(pm_manager_client(flight->gateway->manager), grant->endpoint,
                                    PM_POST, head.data, head.n, flight->pieces, flight->n_pieces,
                                    false, &pm_answer_handler, flight);
}
