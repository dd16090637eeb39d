/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a request. One of a known length is read straight into its own memory, which the kernel gives page by
 * page as bytes come; a chunked one into blocks. Both are charged to one budget over all requests. Where that is used
 * up a connection is held: nothing more is read from it, its sender waits on a full window, and those who wait are
 * served in their order.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http/internal.h"
#include "util/cleanup.h"
#include "util/str.h"

/* ---- the budget ------------------------------------------------------------------------------------- */

static bool has_room(const struct pm_http_server *server, uint64_t n)
{
    /* A body alone always has room, or a cap above the budget could never be served. */
    return server->counters.body_bytes == 0 ||
           server->counters.body_bytes + n <= server->options.body_memory;
}

static void charge(struct pm_exchange *exchange, uint64_t n)
{
    exchange->server->counters.body_bytes += n;
    exchange->body_charged += n;
}

static void hold(struct pm_exchange *exchange, uint64_t n)
{
    exchange->held_bytes = n;
    pm_list_append(&exchange->server->held, &exchange->held_link);
    pm_connection_set_state(exchange, CONNECTION_HELD);
}

void pm_body_resume_held(struct pm_http_server *server)
{
    struct pm_link *link;

    while ((link = pm_list_first(&server->held))) {
        struct pm_exchange *exchange = pm_container_of(link, struct pm_exchange, held_link);

        if (!has_room(server, exchange->held_bytes))
            return;
        pm_list_remove(link);
        pm_connection_set_state(exchange, CONNECTION_BODY);
        pm_connection_go_on(exchange);
    }
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void add_block(struct pm_exchange *exchange, size_t n)
{
    exchange->body =
        pm_xrealloc(exchange->body, (exchange->n_body + 1) * sizeof(exchange->body[0]));
    exchange->body[exchange->n_body++] = (struct iovec){malloc(n), 0};
    if (!exchange->body[exchange->n_body - 1].iov_base)
        abort();
    charge(exchange, n);
}

/* False: the owner wants no more of it, or the connection is gone. */
static bool tell(struct pm_exchange *exchange, const char *data, size_t n)
{
    const struct pm_http_handler *handler = exchange->server->handler;

    exchange->body_bytes += n;
    exchange->moved_ms = pm_loop_now_ms(exchange->server->loop);
    if (n && handler->on_body)
        handler->on_body(exchange, data, n, exchange->server->ctx);
    return exchange->state == CONNECTION_BODY && !exchange->begun;
}

/* Takes decoded bytes of a chunked body into blocks. */
static bool keep_bytes(struct pm_exchange *exchange, const char *data, size_t n)
{
    while (n > 0) {
        struct iovec *last = exchange->n_body ? &exchange->body[exchange->n_body - 1] : NULL;
        char *to;
        size_t span;

        if (!last || last->iov_len == PM_SERVER_BLOCK) {
            add_block(exchange, PM_SERVER_BLOCK);
            last = &exchange->body[exchange->n_body - 1];
        }
        to = (char *)last->iov_base + last->iov_len;
        span = PM_SERVER_BLOCK - last->iov_len < n ? PM_SERVER_BLOCK - last->iov_len : n;
        memcpy(to, data, span);
        last->iov_len += span;
        if (!tell(exchange, to, span))
            return false;
        data += span;
        n -= span;
    }
    return true;
}

static void refuse_chunked(struct pm_exchange *exchange, int status)
{
    if (status == 413)
        pm_exchange_refuse_code(exchange, POOLMGR_E_TOO_LARGE,
                                "the body is larger than limits.body allows");
    else if (status == 431)
        pm_exchange_refuse_code(exchange, POOLMGR_E_HEADER_TOO_LARGE,
                                "the trailers have more than 4 KiB or 32 lines");
    else
        pm_exchange_refuse_bare(exchange, status);
}

/* Uses what was read and belongs to the body. True: the request is whole. */
static bool read_chunked(struct pm_exchange *exchange)
{
    size_t n = pm_exchange_unread(exchange), n_used, n_decoded;
    char *data = exchange->in.data + exchange->in_at;
    int r;

    if (n == 0)
        return false;
    if (exchange->n_body * PM_SERVER_BLOCK < exchange->body_bytes + n &&
        !has_room(exchange->server, n)) {
        hold(exchange, n); /* before any of it is decoded */
        return false;
    }
    r = pm_http_chunked_decode(&exchange->chunked, data, n, exchange->server->options.body_max,
                               &n_used, &n_decoded);
    if (!keep_bytes(exchange, data, n_decoded))
        return false;
    exchange->in_at += n_used;
    if (r < 0)
        refuse_chunked(exchange, -r);
    exchange->moved_ms = pm_loop_now_ms(exchange->server->loop);
    return r == 1;
}

static bool read_length(struct pm_exchange *exchange)
{
    uint64_t length = exchange->head->content_length, left;
    size_t n;

    if (!exchange->n_body) {
        if (!has_room(exchange->server, length)) {
            hold(exchange, length);
            return false;
        }
        add_block(exchange, (size_t)length);
    }
    left = length - exchange->body_bytes;
    n = pm_exchange_unread(exchange) < left ? pm_exchange_unread(exchange) : (size_t)left;
    if (n) {
        char *to = (char *)exchange->body[0].iov_base + exchange->body_bytes;

        memcpy(to, exchange->in.data + exchange->in_at, n);
        exchange->in_at += n;
        exchange->body[0].iov_len += n;
        if (!tell(exchange, to, n))
            return false;
    }
    return exchange->body_bytes == length;
}

static void send_continue(struct pm_exchange *exchange)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

    exchange->wants_continue = false;
    /* Nothing else is queued here, and so few bytes always fit into an empty socket buffer. A body that has begun
     * to come is not asked for. */
    if (exchange->body_bytes == 0)
        (void)send(exchange->watch.fd, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void pm_body_read(struct pm_exchange *exchange)
{
    const struct pm_http_handler *handler = exchange->server->handler;
    bool whole = true;

    if (!exchange->begun && exchange->head->framing == PM_BODY_LENGTH)
        whole = read_length(exchange);
    else if (!exchange->begun && exchange->head->framing == PM_BODY_CHUNKED)
        whole = read_chunked(exchange);

    if (exchange->state != CONNECTION_BODY)
        return;
    if (exchange->begun) { /* its owner answers already: the rest is not read */
        pm_connection_set_state(exchange, CONNECTION_ANSWER);
        return;
    }
    if (!whole) {
        if (exchange->wants_continue)
            send_continue(exchange);
        return;
    }
    exchange->body_whole = true;
    pm_connection_set_state(exchange, CONNECTION_ANSWER);
    handler->on_request(exchange, exchange->server->ctx);
}

bool pm_body_is_direct(const struct pm_exchange *exchange)
{
    return exchange->state == CONNECTION_BODY && exchange->head->framing == PM_BODY_LENGTH &&
           exchange->n_body && !exchange->begun;
}

ssize_t pm_body_receive(struct pm_exchange *exchange)
{
    uint64_t left = exchange->head->content_length - exchange->body_bytes;
    char *to = (char *)exchange->body[0].iov_base + exchange->body_bytes;
    ssize_t n = recv(exchange->watch.fd, to, left, MSG_DONTWAIT);

    if (n > 0) {
        exchange->body[0].iov_len += (size_t)n;
        (void)tell(exchange, to, (size_t)n);
    }
    return n;
}
