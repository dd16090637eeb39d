/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answering side of an exchange. The head of an answer is kept until its first bytes come, so that both leave in
 * one system call; after that each piece is one sendmsg, framing included. What the socket does not take is queued,
 * and whoever produces it is to stop above PM_EXCHANGE_QUEUE_HIGH.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "http/internal.h"
#include "http/refusal.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

/* ---- what a request says ---------------------------------------------------------------------------- */

const struct pm_http_head *pm_exchange_head(const struct pm_exchange *exchange)
{
    return exchange->head;
}

const char *pm_exchange_request_id(const struct pm_exchange *exchange)
{
    return exchange->request_id;
}

size_t pm_exchange_body(const struct pm_exchange *exchange, const struct iovec **ret,
                        size_t *ret_n_pieces)
{
    *ret = exchange->body;
    *ret_n_pieces = exchange->n_body;
    return (size_t)exchange->body_bytes;
}

void pm_exchange_drop_body(struct pm_exchange *exchange)
{
    struct pm_http_server *server = exchange->server;

    for (size_t i = 0; i < exchange->n_body; i++)
        free(exchange->body[i].iov_base);
    free(exchange->body);
    exchange->body = NULL;
    exchange->n_body = 0;
    if (!exchange->body_charged)
        return;
    server->counters.body_bytes -= exchange->body_charged;
    exchange->body_charged = 0;
    if (!pm_list_empty(&server->held))
        pm_loop_later(server->loop, &server->resume_task);
}

bool pm_exchange_is_unix(const struct pm_exchange *exchange)
{
    return exchange->is_unix;
}

const char *pm_exchange_local(const struct pm_exchange *exchange)
{
    return exchange->local;
}

void *pm_exchange_user(const struct pm_exchange *exchange)
{
    return exchange->user;
}

void pm_exchange_set_user(struct pm_exchange *exchange, void *user)
{
    exchange->user = user;
}

struct pm_loop *pm_exchange_loop(const struct pm_exchange *exchange)
{
    return exchange->server->loop;
}

bool pm_exchange_answered(const struct pm_exchange *exchange)
{
    return exchange->begun;
}

size_t pm_exchange_queued(const struct pm_exchange *exchange)
{
    return exchange->out.n - exchange->out_at;
}

/* ---- the socket ------------------------------------------------------------------------------------- */

/* Sends pieces; what is not taken is queued. */
static void send_pieces(struct pm_exchange *exchange, struct iovec *pieces, size_t n_pieces)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = n_pieces};
    ssize_t n = sendmsg(exchange->watch.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0)
        n = 0; /* EAGAIN: all of it waits; EPIPE, ECONNRESET: the event that says so is on its way */
    for (size_t i = 0; i < n_pieces; i++) {
        size_t taken = (size_t)n < pieces[i].iov_len ? (size_t)n : pieces[i].iov_len;

        n -= (ssize_t)taken;
        pm_buf_add(&exchange->out, (char *)pieces[i].iov_base + taken, pieces[i].iov_len - taken);
    }
    if (exchange->out.n)
        pm_connection_wrote(
            exchange); /* from now on the client has write_stall to take something */
}

/* The answer is whole and gone: the next request, or the end. */
static void after_answer(struct pm_exchange *exchange)
{
    bool close = exchange->close_after;

    if (close) {
        pm_connection_linger(exchange);
        return;
    }
    pm_exchange_reset(exchange);
    exchange->served = true;
    pm_connection_set_state(exchange, CONNECTION_HEAD);
    if (exchange->processing)
        return; /* the loop over requests goes on by itself */
    if (pm_exchange_unread(exchange))
        pm_loop_later(exchange->server->loop, &exchange->next_task);
    pm_connection_update(exchange);
}

void pm_exchange_flush(struct pm_exchange *exchange)
{
    struct pm_http_server *server = exchange->server;
    ssize_t n;

    if (pm_exchange_queued(exchange)) {
        n = send(exchange->watch.fd, exchange->out.data + exchange->out_at,
                 pm_exchange_queued(exchange), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return;
        exchange->out_at += (size_t)n;
        if (pm_exchange_queued(exchange)) {
            pm_connection_wrote(exchange);
            return;
        }
    }
    exchange->out_at = 0;
    pm_buf_fini(&exchange->out);
    if (exchange->state == CONNECTION_FLUSH) {
        after_answer(exchange);
        return;
    }
    pm_connection_update(exchange);
    if (exchange->was_high && exchange->active) {
        exchange->was_high = false;
        if (server->handler->on_drained)
            server->handler->on_drained(exchange, server->ctx);
    }
}

/* ---- answers ---------------------------------------------------------------------------------------- */

void pm_exchange_reset(struct pm_exchange *exchange)
{
    pm_exchange_drop_body(exchange);
    free(exchange->head_bytes);
    free(exchange->head);
    exchange->head_bytes = NULL;
    exchange->head = NULL;
    exchange->user = NULL;
    exchange->active = exchange->begun = exchange->head_open = exchange->was_high =
        exchange->drop_body = false;
    exchange->body_whole = exchange->wants_continue = false;
    exchange->body_bytes = 0;
    memset(&exchange->chunked, 0, sizeof(exchange->chunked));
}

static const char *date(struct pm_http_server *server)
{
    uint64_t now_s = pm_wall_ms() / 1000;
    time_t now = (time_t)now_s;
    struct tm tm;

    if (now_s != server->date_s) {
        (void)gmtime_r(&now, &tm);
        (void)strftime(server->date_text, sizeof(server->date_text), "%a, %d %b %Y %H:%M:%S GMT",
                       &tm);
        server->date_s = now_s;
    }
    return server->date_text;
}

/* An answer's head is put together by hand: printf would be a tenth of what a short request costs. */
#define DECIMAL_SIZE 24

static const char *decimal(char *to, uint64_t number)
{
    char *at = to + DECIMAL_SIZE - 1;

    *at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return at;
}

static void add_line(struct pm_buf *out, const char *name, const char *value)
{
    pm_buf_adds(out, name);
    pm_buf_add(out, ": ", 2);
    pm_buf_adds(out, value);
    pm_buf_add(out, "\r\n", 2);
}

static void add_status_line(struct pm_buf *out, int status)
{
    char digits[DECIMAL_SIZE];

    pm_buf_reserve(out, 512); /* most heads fit: one allocation */
    pm_buf_add(out, "HTTP/1.1 ", 9);
    pm_buf_adds(out, decimal(digits, (uint64_t)status));
    pm_buf_add(out, " ", 1);
    pm_buf_adds(out, pm_http_reason(status));
    pm_buf_add(out, "\r\n", 2);
}

void pm_exchange_begin(struct pm_exchange *exchange, int status, const struct pm_http_field *fields,
                       size_t n_fields, bool has_length, uint64_t length)
{
    const struct pm_http_head *head = exchange->head;
    bool bodyless = status == 204 || status == 304;
    char digits[DECIMAL_SIZE];

    exchange->begun = exchange->head_open = true;
    exchange->drop_body = bodyless || (head && head->method == PM_HEAD);
    exchange->answer_left = length;
    exchange->framing = has_length || bodyless      ? ANSWER_LENGTH
                        : !head || head->minor == 1 ? ANSWER_CHUNKED
                                                    : ANSWER_CLOSE;
    /* A body that was announced and not read can only be got rid of with its connection. */
    if (!head || !head->keep_alive || exchange->server->draining ||
        exchange->framing == ANSWER_CLOSE ||
        (head->framing != PM_BODY_NONE && !exchange->body_whole))
        exchange->close_after = true;

    add_status_line(&exchange->out, status);
    add_line(&exchange->out, "Date", date(exchange->server));
    add_line(&exchange->out, "X-Request-Id", exchange->request_id);
    for (size_t i = 0; i < n_fields; i++)
        add_line(&exchange->out, fields[i].name, fields[i].value);
    if (has_length && !bodyless)
        add_line(&exchange->out, "Content-Length", decimal(digits, length));
    else if (exchange->framing == ANSWER_CHUNKED)
        add_line(&exchange->out, "Transfer-Encoding", "chunked");
}

void pm_exchange_add_header(struct pm_exchange *exchange, struct pm_slice name,
                            struct pm_slice value)
{
    if (!exchange->head_open)
        return;
    pm_buf_add(&exchange->out, name.p, name.n);
    pm_buf_adds(&exchange->out, ": ");
    pm_buf_add(&exchange->out, value.p, value.n);
    pm_buf_adds(&exchange->out, "\r\n");
}

static void close_head(struct pm_exchange *exchange)
{
    if (!exchange->head_open)
        return;
    exchange->head_open = false;
    pm_buf_adds(&exchange->out, exchange->close_after ? "Connection: close\r\n\r\n" : "\r\n");
}

/* Sends what is queued and these pieces; `out` is never sent around. */
static void send_now(struct pm_exchange *exchange, struct iovec *pieces, size_t n_pieces)
{
    struct iovec all[4];
    size_t n = 0;
    struct pm_buf queued = exchange->out;
    size_t at = exchange->out_at;

    if (exchange->state == CONNECTION_CLOSED)
        return;
    if (exchange->watch.events & EPOLLOUT) {
        /* The socket is full: behind what waits, whose sent part makes room. */
        pm_buf_consume(&exchange->out, exchange->out_at);
        exchange->out_at = 0;
        for (size_t i = 0; i < n_pieces; i++)
            pm_buf_add(&exchange->out, pieces[i].iov_base, pieces[i].iov_len);
    } else {
        exchange->out = (struct pm_buf){0};
        exchange->out_at = 0;
        if (queued.n > at)
            all[n++] = (struct iovec){queued.data + at, queued.n - at};
        for (size_t i = 0; i < n_pieces; i++)
            all[n++] = pieces[i];
        if (n)
            send_pieces(exchange, all, n);
        pm_buf_fini(&queued);
    }
    if (pm_exchange_queued(exchange) > PM_EXCHANGE_QUEUE_HIGH)
        exchange->was_high = true;
    pm_connection_update(exchange);
}

void pm_exchange_send(struct pm_exchange *exchange, const void *data, size_t n)
{
    static char line_end[] = "\r\n";
    char size[20];
    struct iovec pieces[3];
    size_t n_pieces = 0;

    if (!exchange->begun || exchange->state == CONNECTION_CLOSED)
        return;
    close_head(exchange);
    if (exchange->drop_body)
        n = 0;
    if (exchange->framing == ANSWER_LENGTH) {
        if (n > exchange->answer_left)
            n = (size_t)exchange->answer_left;
        exchange->answer_left -= n;
    }
    if (n) {
        if (exchange->framing == ANSWER_CHUNKED)
            pieces[n_pieces++] =
                (struct iovec){size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n)};
        pieces[n_pieces++] = (struct iovec){(void *)(uintptr_t)data, n};
        if (exchange->framing == ANSWER_CHUNKED)
            pieces[n_pieces++] = (struct iovec){line_end, 2};
    }
    send_now(exchange, pieces, n_pieces);
}

static void finish(struct pm_exchange *exchange)
{
    exchange->active = false;
    pm_exchange_drop_body(exchange);
    if (exchange->state == CONNECTION_CLOSED)
        return;
    if (pm_exchange_queued(exchange)) {
        pm_connection_set_state(exchange, CONNECTION_FLUSH);
        pm_connection_update(exchange);
        return;
    }
    after_answer(exchange);
}

void pm_exchange_end(struct pm_exchange *exchange)
{
    static char end[] = "0\r\n\r\n";
    struct iovec last = {end, sizeof(end) - 1};

    if (exchange->framing == ANSWER_LENGTH && exchange->answer_left && !exchange->drop_body) {
        pm_exchange_break(exchange); /* less came than was said */
        return;
    }
    close_head(exchange);
    send_now(exchange, &last, exchange->framing == ANSWER_CHUNKED && !exchange->drop_body);
    finish(exchange);
}

void pm_exchange_break(struct pm_exchange *exchange)
{
    exchange->active = false;
    if (exchange->framing == ANSWER_CLOSE) {
        pm_connection_close(exchange, true); /* FIN is how it ends when all is well */
        return;
    }
    if (exchange->head_open) {
        close_head(exchange);
        send_now(exchange, NULL, 0);
    }
    exchange->close_after = true;
    finish(exchange);
}

void pm_exchange_respond(struct pm_exchange *exchange, int status,
                         const struct pm_http_field *fields, size_t n_fields, const void *body,
                         size_t n)
{
    pm_exchange_begin(exchange, status, fields, n_fields, true, n);
    pm_exchange_send(exchange, body, n);
    pm_exchange_end(exchange);
}

void pm_exchange_respond_bare(struct pm_exchange *exchange, int status)
{
    exchange->close_after = true;
    pm_exchange_respond(exchange, status, NULL, 0, NULL, 0);
}

void pm_exchange_close_after(struct pm_exchange *exchange)
{
    exchange->close_after = true;
}

void pm_exchange_tell_gone(struct pm_exchange *exchange)
{
    struct pm_http_server *server = exchange->server;

    if (!exchange->active)
        return;
    exchange->active = false;
    server->handler->on_gone(exchange, server->ctx);
}

/* What all refusals of the server itself have in common. */
static void begin_refusal(struct pm_exchange *exchange)
{
    pm_exchange_tell_gone(exchange); /* the owner has not answered, and is not to any more */
    if (!exchange->request_id[0])
        pm_request_own_id(exchange);
    exchange->server->counters.refused++;
    pm_list_remove(&exchange->held_link);
    exchange->close_after = true;
}

void pm_exchange_refuse_code(struct pm_exchange *exchange, int code, const char *text)
{
    struct poolmgr_error error = {0};

    begin_refusal(exchange);
    (void)pm_fail(&error, code, "%s", text);
    pm_exchange_refuse(exchange, &error, "");
}

void pm_exchange_refuse_bare(struct pm_exchange *exchange, int status)
{
    struct pm_http_server *server = exchange->server;

    begin_refusal(exchange);
    if (server->handler->on_refused)
        server->handler->on_refused(status, server->ctx);
    pm_exchange_respond_bare(exchange, status);
}
