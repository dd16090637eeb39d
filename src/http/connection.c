/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection reads one request at a time. What comes behind it stays in `in`, or with the kernel, until the answer
 * is whole. While an answer runs nothing is read, but a client that leaves is seen at once (EPOLLRDHUP). There is one
 * timer a connection, set to the next moment at which something could be over; bytes only move a stamp, and the timer
 * looks at the stamp when it fires.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/internal.h"
#include "http/refusal.h"
#include "util/cleanup.h"
#include "util/str.h"

static uint64_t now_ms(const struct pm_exchange *exchange)
{
    return pm_loop_now_ms(exchange->server->loop);
}

/* ---- time ------------------------------------------------------------------------------------------- */

/* When what is going on is over, if nothing more happens. */
static uint64_t deadline_of(const struct pm_exchange *exchange)
{
    const struct pm_http_server_options *options = &exchange->server->options;
    uint64_t idle_ms, mean_ms;

    switch (exchange->state) {
    case CONNECTION_HEAD:
        if (exchange->in.n == 0 && exchange->server->counters.requests && exchange->request_id[0])
            return exchange->since_ms + options->keep_alive_ms;
        return exchange->since_ms + options->head_ms;
    case CONNECTION_BODY:
        /* Neither silence for body_idle, nor, once that has passed, a mean below body_rate. */
        idle_ms = exchange->moved_ms + options->body_idle_ms;
        mean_ms =
            options->body_rate ? exchange->body_bytes * 1000 / options->body_rate : PM_NEVER / 2;
        if (mean_ms < options->body_idle_ms)
            mean_ms = options->body_idle_ms;
        mean_ms += exchange->since_ms;
        return idle_ms < mean_ms ? idle_ms : mean_ms;
    case CONNECTION_HELD: return exchange->since_ms + options->body_idle_ms;
    case CONNECTION_ANSWER:
    case CONNECTION_FLUSH:
        return exchange->out.n > exchange->out_at ? exchange->moved_ms + options->write_stall_ms
                                                  : PM_NEVER;
    case CONNECTION_LINGER: return exchange->since_ms + PM_SERVER_LINGER_MS;
    case CONNECTION_CLOSED: break;
    }
    return PM_NEVER;
}

static void on_time(struct pm_timer *timer)
{
    struct pm_exchange *exchange = pm_container_of(timer, struct pm_exchange, timer);
    uint64_t due_ms = deadline_of(exchange);

    if (due_ms > now_ms(exchange)) {
        pm_timer_set(exchange->server->loop, timer, due_ms);
        return;
    }
    switch (exchange->state) {
    case CONNECTION_HEAD:
        if (exchange->in.n == 0) {
            pm_connection_close(exchange, false);
            return;
        }
        pm_exchange_refuse_code(exchange, POOLMGR_E_REQUEST_TIMEOUT,
                                "the head did not come in time");
        return;
    case CONNECTION_BODY:
        pm_exchange_refuse_code(exchange, POOLMGR_E_REQUEST_TIMEOUT, "the body came too slowly");
        return;
    case CONNECTION_HELD:
        pm_exchange_refuse_code(exchange, POOLMGR_E_OVERLOADED,
                                "the memory for request bodies is in use");
        return;
    case CONNECTION_ANSWER:
    case CONNECTION_FLUSH: pm_connection_close(exchange, true); return;
    default: pm_connection_close(exchange, false); return;
    }
}

/* The timer is only ever moved forward here when it would fire too late. */
static void arm(struct pm_exchange *exchange)
{
    uint64_t due_ms = deadline_of(exchange);

    if (!pm_heap_contains(&exchange->timer.node) ? due_ms != PM_NEVER
                                                 : due_ms < exchange->timer.node.key)
        pm_timer_set(exchange->server->loop, &exchange->timer, due_ms);
}

/* ---- what is watched -------------------------------------------------------------------------------- */

void pm_connection_update(struct pm_exchange *exchange)
{
    uint32_t events = EPOLLRDHUP;

    if (exchange->state == CONNECTION_CLOSED)
        return;
    if (exchange->state == CONNECTION_HEAD || exchange->state == CONNECTION_BODY)
        events |= EPOLLIN;
    if (exchange->state == CONNECTION_LINGER)
        events = EPOLLIN;
    if (exchange->out.n > exchange->out_at && exchange->state != CONNECTION_LINGER)
        events |= EPOLLOUT;
    /* A client that has sent its last request and shut its side may still want the answers queued for it. */
    if (exchange->state == CONNECTION_FLUSH)
        events &= ~(uint32_t)EPOLLRDHUP;
    pm_watch_set(&exchange->watch, events);
    arm(exchange);
}

void pm_connection_set_state(struct pm_exchange *exchange, enum connection_state state)
{
    exchange->state = state;
    exchange->since_ms = exchange->moved_ms = now_ms(exchange);
}

/* ---- closing ---------------------------------------------------------------------------------------- */

static void free_exchange(struct pm_task *task)
{
    struct pm_exchange *exchange = pm_container_of(task, struct pm_exchange, free_task);

    pm_exchange_reset(exchange);
    pm_buf_fini(&exchange->in);
    pm_buf_fini(&exchange->out);
    free(exchange);
}

static void tell_gone(struct pm_exchange *exchange)
{
    struct pm_http_server *server = exchange->server;

    if (!exchange->active)
        return;
    exchange->active = false;
    server->handler->on_gone(exchange, server->ctx);
}

void pm_connection_close(struct pm_exchange *exchange, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (exchange->state == CONNECTION_CLOSED)
        return;

    exchange->state = CONNECTION_CLOSED;
    if (reset)
        (void)setsockopt(exchange->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    pm_watch_remove(&exchange->watch);
    (void)close(exchange->watch.fd);
    pm_timer_clear(&exchange->timer);
    pm_list_remove(&exchange->link);
    pm_list_remove(&exchange->held_link);
    pm_list_remove(&exchange->next_task.link);
    exchange->server->counters.connections--;
    tell_gone(exchange);
    pm_exchange_drop_body(exchange);
    pm_loop_later(exchange->server->loop, &exchange->free_task);
}

/* Our side is shut; what the client still sends is thrown away, so that no reset overtakes the answer. */
void pm_connection_linger(struct pm_exchange *exchange)
{
    (void)shutdown(exchange->watch.fd, SHUT_WR);
    pm_exchange_reset(exchange);
    pm_buf_fini(&exchange->in);
    exchange->lingered = 0;
    pm_connection_set_state(exchange, CONNECTION_LINGER);
    pm_connection_update(exchange);
}

static void read_lingering(struct pm_exchange *exchange)
{
    ssize_t n =
        recv(exchange->watch.fd, exchange->server->read_buffer, PM_SERVER_READ_SIZE, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && (exchange->lingered += (uint64_t)n) < PM_SERVER_LINGER_MAX)
        return;
    pm_connection_close(exchange, false);
}

/* ---- bodies ----------------------------------------------------------------------------------------- */

/* Charges n bytes of body memory; false: none is left, and the connection waits for it. */
static bool charge(struct pm_exchange *exchange, uint64_t n)
{
    struct pm_http_server *server = exchange->server;

    /* A body alone always has room, or a cap above the budget could never be served. */
    if (server->counters.body_bytes &&
        server->counters.body_bytes + n > server->options.body_memory) {
        if (!pm_link_in_list(&exchange->held_link))
            pm_list_append(&server->held, &exchange->held_link);
        pm_connection_set_state(exchange, CONNECTION_HELD);
        return false;
    }
    server->counters.body_bytes += n;
    exchange->body_charged += n;
    return true;
}

void pm_connection_resume_held(struct pm_http_server *server)
{
    size_t n = 0;
    struct pm_link *link;

    pm_list_each (&server->held, link)
        n++;
    while (n-- > 0 && (link = pm_list_first(&server->held))) {
        struct pm_exchange *exchange = pm_container_of(link, struct pm_exchange, held_link);

        pm_list_remove(link);
        pm_connection_set_state(exchange, CONNECTION_BODY);
        pm_connection_go_on(exchange);
        if (exchange->state == CONNECTION_HELD)
            return; /* still no room: it is the last in the list now, and the others want as much */
    }
}

static void add_block(struct pm_exchange *exchange, size_t n)
{
    exchange->body =
        pm_xrealloc(exchange->body, (exchange->n_body + 1) * sizeof(exchange->body[0]));
    exchange->body[exchange->n_body++] = (struct iovec){malloc(n), 0};
    if (!exchange->body[exchange->n_body - 1].iov_base)
        abort();
}

static bool tell_body(struct pm_exchange *exchange, const char *data, size_t n)
{
    const struct pm_http_handler *handler = exchange->server->handler;

    exchange->body_bytes += n;
    exchange->moved_ms = now_ms(exchange);
    if (n && handler->on_body && !exchange->begun)
        handler->on_body(exchange, data, n, exchange->server->ctx);
    return exchange->state == CONNECTION_BODY && !exchange->begun;
}

/* Takes decoded bytes of a chunked body into blocks. */
static bool keep_bytes(struct pm_exchange *exchange, const char *data, size_t n)
{
    while (n > 0) {
        struct iovec *last = exchange->n_body ? &exchange->body[exchange->n_body - 1] : NULL;
        size_t span;

        if (!last || last->iov_len == PM_SERVER_BLOCK) {
            add_block(exchange, PM_SERVER_BLOCK);
            last = &exchange->body[exchange->n_body - 1];
            exchange->server->counters.body_bytes += PM_SERVER_BLOCK;
            exchange->body_charged += PM_SERVER_BLOCK;
        }
        span = PM_SERVER_BLOCK - last->iov_len < n ? PM_SERVER_BLOCK - last->iov_len : n;
        memcpy((char *)last->iov_base + last->iov_len, data, span);
        last->iov_len += span;
        if (!tell_body(exchange, (char *)last->iov_base + last->iov_len - span, span))
            return false;
        data += span;
        n -= span;
    }
    return true;
}

/* Uses what of `in` belongs to the body. True: the request is whole. */
static bool read_chunked(struct pm_exchange *exchange)
{
    size_t n_used, n_decoded;
    int r;

    if (exchange->in.n == 0)
        return false;
    if (!exchange->body_charged ||
        exchange->n_body * PM_SERVER_BLOCK < exchange->body_bytes + exchange->in.n) {
        /* Room for what is there now, before any of it is decoded. */
        if (exchange->server->counters.body_bytes &&
            exchange->server->counters.body_bytes + exchange->in.n >
                exchange->server->options.body_memory &&
            !charge(exchange, exchange->in.n))
            return false;
    }
    r = pm_http_chunked_decode(&exchange->chunked, exchange->in.data, exchange->in.n,
                               exchange->server->options.body_max, &n_used, &n_decoded);
    if (!keep_bytes(exchange, exchange->in.data, n_decoded))
        return false;
    pm_buf_consume(&exchange->in, n_used);
    if (r == -413)
        pm_exchange_refuse_code(exchange, POOLMGR_E_TOO_LARGE,
                                "the body is larger than limits.body allows");
    else if (r == -431)
        pm_exchange_refuse_code(exchange, POOLMGR_E_HEADER_TOO_LARGE,
                                "the trailers are larger than 4 KiB");
    else if (r < 0)
        pm_exchange_respond_bare(exchange, -r);
    else if (r == 0)
        exchange->moved_ms = now_ms(exchange);
    return r == 1;
}

static bool read_length(struct pm_exchange *exchange)
{
    uint64_t length = exchange->head->content_length, left;
    size_t n;

    if (!exchange->n_body) {
        if (!charge(exchange, length))
            return false;
        add_block(exchange, (size_t)length);
    }
    left = length - exchange->body_bytes;
    n = exchange->in.n < left ? exchange->in.n : (size_t)left;
    if (n) {
        char *to = (char *)exchange->body[0].iov_base + exchange->body_bytes;

        memcpy(to, exchange->in.data, n);
        pm_buf_consume(&exchange->in, n);
        exchange->body[0].iov_len += n;
        if (!tell_body(exchange, to, n))
            return false;
    }
    return exchange->body_bytes == length;
}

static void send_continue(struct pm_exchange *exchange)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

    exchange->wants_continue = false;
    /* Nothing else is queued here, and so few bytes always fit into an empty socket buffer. */
    if (exchange->in.n == 0)
        (void)send(exchange->watch.fd, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void read_body(struct pm_exchange *exchange)
{
    const struct pm_http_handler *handler = exchange->server->handler;
    bool whole;

    if (exchange->head->framing == PM_BODY_NONE)
        whole = true;
    else if (exchange->head->framing == PM_BODY_LENGTH)
        whole = read_length(exchange);
    else
        whole = read_chunked(exchange);

    if (exchange->state != CONNECTION_BODY)
        return;
    if (exchange->begun) {
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

/* ---- heads ------------------------------------------------------------------------------------------ */

static bool id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("._:-", c);
}

/* The client's X-Request-Id when it is a good one, else one of ours. */
static void choose_id(struct pm_exchange *exchange, const struct pm_http_head *head)
{
    struct pm_http_server *server = exchange->server;
    unsigned n = 0;
    const struct pm_http_header *header = head ? pm_http_find(head, "x-request-id", &n) : NULL;
    bool good = header && n == 1 && header->value.n > 0 && header->value.n < PM_SERVER_ID_SIZE;

    for (size_t i = 0; good && i < header->value.n; i++)
        good = header->value.p[i] && id_char(header->value.p[i]);
    if (good) {
        memcpy(exchange->request_id, header->value.p, header->value.n);
        exchange->request_id[header->value.n] = '\0';
        return;
    }
    (void)snprintf(exchange->request_id, sizeof(exchange->request_id), "%s-%llx", server->id_prefix,
                   (unsigned long long)++server->n_ids);
}

/* Keeps the head's bytes and what was found in them; the rest of `in` is what follows. */
static void keep_head(struct pm_exchange *exchange, size_t n)
{
    const struct pm_http_head *head = &exchange->server->head;
    size_t size =
        offsetof(struct pm_http_head, headers) + head->n_headers * sizeof(head->headers[0]);
    struct pm_buf rest = {0};

    pm_buf_add(&rest, exchange->in.data + n, exchange->in.n - n);
    exchange->head_bytes = exchange->in.data;
    exchange->head = pm_xalloc(size);
    memcpy(exchange->head, head, size);
    exchange->in = rest;
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
    choose_id(exchange, exchange->head);
    server->counters.requests++;
    exchange->wants_continue = exchange->head->expect_continue && exchange->head->minor == 1;
    pm_connection_set_state(exchange, CONNECTION_BODY);
    if (!head_is_served(exchange))
        return;

    exchange->active = true;
    server->handler->on_head(exchange, server->ctx);
    if (exchange->state != CONNECTION_BODY)
        return;
    if (exchange->begun) /* answered already, and that answer goes on */
        pm_connection_set_state(exchange, CONNECTION_ANSWER);
    else
        read_body(exchange);
}

static void refuse_head(struct pm_exchange *exchange, int status)
{
    exchange->server->counters.refused++;
    if (exchange->server->handler->on_refused)
        exchange->server->handler->on_refused(status, exchange->server->ctx);
    if (status == 431)
        pm_exchange_refuse_code(exchange, POOLMGR_E_HEADER_TOO_LARGE,
                                "the head has more than 64 KiB or 100 lines");
    else
        pm_exchange_respond_bare(exchange, status);
}

static void read_head(struct pm_exchange *exchange)
{
    long n = pm_http_parse_request(exchange->in.data, exchange->in.n, &exchange->scan,
                                   &exchange->server->head);

    if (n == 0)
        return;
    memset(&exchange->scan, 0, sizeof(exchange->scan));
    if (n < 0) {
        choose_id(exchange, NULL);
        refuse_head(exchange, (int)-n);
        return;
    }
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
        n_former = exchange->in.n;
        if (exchange->state == CONNECTION_BODY)
            read_body(exchange);
        else if (exchange->state == CONNECTION_HEAD && exchange->in.n &&
                 exchange->out.n - exchange->out_at <= PM_EXCHANGE_QUEUE_HIGH)
            read_head(exchange);
    } while (exchange->state != CONNECTION_CLOSED &&
             (exchange->state != former || exchange->in.n != n_former) &&
             (exchange->state == CONNECTION_HEAD || exchange->state == CONNECTION_BODY) &&
             exchange->in.n);
    exchange->processing = false;
    if (exchange->in.n == 0 && exchange->state != CONNECTION_CLOSED)
        pm_buf_fini(&exchange->in);
    pm_connection_update(exchange);
}

/* ---- bytes ------------------------------------------------------------------------------------------ */

/* A body of known length goes straight to its place. */
static ssize_t receive(struct pm_exchange *exchange)
{
    struct pm_http_server *server = exchange->server;
    ssize_t n;

    if (exchange->state == CONNECTION_BODY && exchange->head->framing == PM_BODY_LENGTH &&
        exchange->n_body) {
        uint64_t left = exchange->head->content_length - exchange->body_bytes;
        char *to = (char *)exchange->body[0].iov_base + exchange->body_bytes;

        n = recv(exchange->watch.fd, to, left, MSG_DONTWAIT);
        if (n > 0) {
            exchange->body[0].iov_len += (size_t)n;
            (void)tell_body(exchange, to, (size_t)n);
        }
        return n;
    }
    n = recv(exchange->watch.fd, server->read_buffer, PM_SERVER_READ_SIZE, MSG_DONTWAIT);
    if (n > 0) {
        if (exchange->state == CONNECTION_HEAD && exchange->in.n == 0) {
            exchange->since_ms = now_ms(exchange);
            exchange->request_id[0] = '\0';
            arm(exchange);
        }
        pm_buf_add(&exchange->in, server->read_buffer, (size_t)n);
    }
    return n;
}

static void on_readable(struct pm_exchange *exchange)
{
    ssize_t n = receive(exchange);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        pm_connection_close(exchange, false);
        return;
    }
    if (exchange->state != CONNECTION_CLOSED)
        pm_connection_go_on(exchange);
}

static void on_events(struct pm_watch *watch, uint32_t events)
{
    struct pm_exchange *exchange = pm_container_of(watch, struct pm_exchange, watch);

    if (exchange->state == CONNECTION_LINGER) {
        read_lingering(exchange);
        return;
    }
    if (events & EPOLLOUT)
        pm_exchange_flush(exchange);
    if (exchange->state == CONNECTION_CLOSED)
        return;
    if (events & EPOLLIN &&
        (exchange->state == CONNECTION_HEAD || exchange->state == CONNECTION_BODY)) {
        on_readable(exchange);
        return; /* what was read first counts first; a departure comes again with the next turn */
    }
    if (events & (EPOLLERR | EPOLLHUP) ||
        (events & EPOLLRDHUP && exchange->state != CONNECTION_FLUSH))
        pm_connection_close(exchange, false);
}

static void on_next(struct pm_task *task)
{
    pm_connection_go_on(pm_container_of(task, struct pm_exchange, next_task));
}

void pm_connection_new(struct pm_http_server *server, const struct listener *listener, int fd)
{
    struct pm_exchange *exchange = pm_xalloc(sizeof(*exchange));
    int one = 1;

    exchange->server = server;
    exchange->listener = listener;
    exchange->is_unix = listener->is_unix;
    (void)pm_str_copy(exchange->local, sizeof(exchange->local), listener->address);
    exchange->timer.fn = on_time;
    exchange->free_task.fn = free_exchange;
    exchange->next_task.fn = on_next;
    if (!listener->is_unix)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (pm_watch_add(server->loop, &exchange->watch, fd, EPOLLIN | EPOLLRDHUP, on_events) < 0) {
        (void)close(fd);
        free(exchange);
        return;
    }
    pm_list_append(&server->connections, &exchange->link);
    server->counters.connections++;
    pm_connection_set_state(exchange, CONNECTION_HEAD);
    arm(exchange);
}
