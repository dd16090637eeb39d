/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to requests: what was read is cut into heads, a good head becomes an exchange, and its body is read
 * before what lies behind it is looked at. Requests that were sent ahead are served one after the other, each when
 * the answer before it is whole.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http/internal.h"
#include "util/cleanup.h"
#include "util/str.h"

/* ---- request ids ------------------------------------------------------------------------------------ */

static bool id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("._:-", c));
}

void pm_request_own_id(struct pm_exchange *exchange)
{
    (void)snprintf(exchange->request_id, sizeof(exchange->request_id), "%s-%llx",
                   exchange->server->id_prefix, (unsigned long long)++exchange->server->n_ids);
}

/* The client's X-Request-Id when it is a good one, else one of ours. */
static void choose_id(struct pm_exchange *exchange)
{
    unsigned n;
    const struct pm_http_header *header = pm_http_find(exchange->head, "x-request-id", &n);
    bool good = header && n == 1 && header->value.n > 0 && header->value.n < PM_SERVER_ID_SIZE;

    for (size_t i = 0; good && i < header->value.n; i++)
        good = id_char(header->value.p[i]);
    if (!good) {
        pm_request_own_id(exchange);
        return;
    }
    memcpy(exchange->request_id, header->value.p, header->value.n);
    exchange->request_id[header->value.n] = '\0';
}

/* ---- heads ------------------------------------------------------------------------------------------ */

static void move_slice(struct pm_slice *slice, const char *from, const char *to)
{
    if (slice->p)
        slice->p = to + (slice->p - from);
}

/* Keeps the head's bytes and what was found in them. The buffer itself is kept where nothing follows, as usual. */
static void keep_head(struct pm_exchange *exchange, size_t n)
{
    const struct pm_http_head *found = &exchange->server->head;
    size_t size =
        offsetof(struct pm_http_head, headers) + found->n_headers * sizeof(found->headers[0]);
    const char *from = exchange->in.data + exchange->in_at;
    struct pm_http_head *head = pm_xalloc(size);

    memcpy(head, found, size);
    exchange->head = head;
    if (exchange->in_at == 0 && exchange->in.n == n) {
        exchange->head_bytes = exchange->in.data;
        exchange->in = (struct pm_buf){0};
        return;
    }
    exchange->head_bytes = pm_xalloc(n);
    memcpy(exchange->head_bytes, from, n);
    exchange->in_at += n;
    move_slice(&head->target, from, exchange->head_bytes);
    move_slice(&head->host, from, exchange->head_bytes);
    for (unsigned i = 0; i < head->n_headers; i++) {
        move_slice(&head->headers[i].name, from, exchange->head_bytes);
        move_slice(&head->headers[i].value, from, exchange->head_bytes);
    }
}

/* What the head alone refuses, before the owner sees it. */
static bool head_is_served(struct pm_exchange *exchange)
{
    const struct pm_http_head *head = exchange->head;

    if (head->wrong_expect)
        pm_exchange_refuse_code(exchange, POOLMGR_E_EXPECTATION_FAILED,
                                "only Expect: 100-continue is understood");
    else if (head->upgrade)
        pm_exchange_refuse_code(exchange, POOLMGR_E_UNSUPPORTED, "connections are not upgraded");
    else if (head->framing == PM_BODY_LENGTH &&
             head->content_length > exchange->server->options.body_max)
        pm_exchange_refuse_code(exchange, POOLMGR_E_TOO_LARGE,
                                "the body is larger than limits.body allows");
    else
        return true;
    return false;
}

/* A request begins. */
static void take_head(struct pm_exchange *exchange, size_t n)
{
    struct pm_http_server *server = exchange->server;

    keep_head(exchange, n);
    choose_id(exchange);
    server->counters.requests++;
    exchange->wants_continue = exchange->head->expect_continue && exchange->head->minor == 1;
    pm_connection_set_state(exchange, CONNECTION_BODY);
    if (!head_is_served(exchange))
        return;

    exchange->active = true;
    server->handler->on_head(exchange, server->ctx);
    if (exchange->state == CONNECTION_BODY)
        pm_body_read(exchange);
}

static void refuse_head(struct pm_exchange *exchange, int status)
{
    if (status == 431)
        pm_exchange_refuse_code(exchange, POOLMGR_E_HEADER_TOO_LARGE,
                                "the head has more than 64 KiB or 100 lines");
    else
        pm_exchange_refuse_bare(exchange, status);
}

static void read_head(struct pm_exchange *exchange)
{
    long n =
        pm_http_parse_request(exchange->in.data + exchange->in_at, pm_exchange_unread(exchange),
                              &exchange->scan, &exchange->server->head);

    if (n == 0)
        return;
    memset(&exchange->scan, 0, sizeof(exchange->scan));
    exchange->request_id[0] = '\0';
    if (n < 0)
        refuse_head(exchange, (int)-n);
    else
        take_head(exchange, (size_t)n);
}

/* One request after the other, as far as bytes and the client's reading of the answers go. */
void pm_connection_go_on(struct pm_exchange *exchange)
{
    enum connection_state former;
    size_t n_former;

    if (exchange->processing)
        return;
    exchange->processing = true;
    do {
        former = exchange->state;
        n_former = pm_exchange_unread(exchange);
        if (exchange->state == CONNECTION_BODY)
            pm_body_read(exchange);
        else if (exchange->state == CONNECTION_HEAD && n_former)
            read_head(exchange);
    } while ((exchange->state == CONNECTION_HEAD || exchange->state == CONNECTION_BODY) &&
             (exchange->state != former || pm_exchange_unread(exchange) != n_former) &&
             pm_exchange_unread(exchange));
    exchange->processing = false;
    if (pm_exchange_unread(exchange) == 0) {
        pm_buf_fini(&exchange->in);
        exchange->in_at = 0;
    }
    pm_connection_update(exchange);
}

/* ---- bytes ------------------------------------------------------------------------------------------ */

static ssize_t receive(struct pm_exchange *exchange)
{
    struct pm_http_server *server = exchange->server;
    ssize_t n = recv(exchange->watch.fd, server->read_buffer, PM_SERVER_READ_SIZE, MSG_DONTWAIT);

    if (n <= 0)
        return n;
    if (exchange->state == CONNECTION_HEAD && pm_exchange_unread(exchange) == 0) {
        exchange->since_ms = pm_loop_now_ms(server->loop); /* of the first byte of a head */
        exchange->request_id[0] = '\0';
    }
    pm_buf_consume(&exchange->in, exchange->in_at);
    exchange->in_at = 0;
    pm_buf_add(&exchange->in, server->read_buffer, (size_t)n);
    return n;
}

void pm_connection_readable(struct pm_exchange *exchange)
{
    ssize_t n = pm_body_is_direct(exchange) ? pm_body_receive(exchange) : receive(exchange);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        pm_connection_close(exchange, false);
    else if (exchange->state != CONNECTION_CLOSED)
        pm_connection_go_on(exchange);
}
