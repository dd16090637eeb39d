/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call is one request on one connection, and a small machine: connect, send head and body in one go, read a head,
 * read a body. Its owner is told from the loop, never from inside the function that begins the call. What is sent
 * again, once, is what a kept connection lost by its end, before a byte of an answer; and a connect that was refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/client_internal.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/str.h"

#define FRESH_ABOVE      (1024 * 1024) /* bodies that are not worth a replay */
#define INTERIM_MAX      16            /* 1xx answers before the real one */
#define IOV_AT_ONCE      64
#define CONNECT_AGAIN_MS 5 /* a full listen queue of a Unix socket is tried again this often */

enum call_state {
    CALL_BEGIN,
    CALL_CONNECTING,
    CALL_WAITING, /* for room in a full listen queue */
    CALL_HEAD,
    CALL_BODY,
    CALL_OVER,
};

struct pm_http_call {
    struct pm_http_client *client;
    struct pm_endpoint *endpoint;
    const struct pm_http_call_handler *handler;
    void *ctx;
    enum pm_http_method method;
    enum call_state state;
    struct pm_task begin_task, free_task;
    struct pm_watch watch; /* fd -1: no connection */
    struct pm_timer timer;
    uint64_t begun_ms,
        moved_ms;      /* of the call; of the connect, then the last sign of life in the body */
    uint64_t again_ms; /* of the next try to connect */
    uint64_t first_byte_ms, stream_idle_ms;
    bool fresh, reused, replayed, retried_connect, manual_idle, paused, gone_quiet;
    bool reached; /* a kept connection may have brought it to the engine before it was lost */

    /* sending */
    struct pm_buf head;
    const struct iovec *body;
    size_t n_body;
    struct iovec kept;    /* a copy of the body, when its owner let it go */
    uint64_t total, sent; /* bytes of head and body */
    bool sending;

    /* receiving */
    struct pm_buf in;
    struct pm_http_scan scan;
    struct pm_http_chunked chunked;
    enum pm_http_framing framing;
    uint64_t left;
    unsigned n_interim;
    bool keep_alive, stray;
    uint64_t keep_ms; /* how long the engine keeps an idle connection */
};

const char *pm_call_error_text(enum pm_call_error error)
{
    static const char *const texts[] = {
        [PM_CALL_REFUSED] = "nobody listens",
        [PM_CALL_CONNECT] = "no connection in time",
        [PM_CALL_NO_ANSWER] = "the connection ended before an answer",
        [PM_CALL_BAD_ANSWER] = "sent an answer that is not HTTP as it must be",
        [PM_CALL_FIRST_BYTE] = "no answer in time",
        [PM_CALL_BROKEN] = "the answer was broken off",
        [PM_CALL_STREAM_IDLE] = "the answer stopped coming",
    };

    return texts[error];
}

/* ---- the end of a call ------------------------------------------------------------------------------ */

static void free_call(struct pm_task *task)
{
    struct pm_http_call *call = pm_container_of(task, struct pm_http_call, free_task);

    pm_buf_fini(&call->head);
    pm_buf_fini(&call->in);
    free(call->kept.iov_base);
    free(call);
}

static void close_connection(struct pm_http_call *call)
{
    if (call->watch.fd < 0)
        return;
    pm_watch_remove(&call->watch);
    (void)close(call->watch.fd);
    call->watch.fd = -1;
}

static void end_call(struct pm_http_call *call)
{
    call->state = CALL_OVER;
    close_connection(call);
    pm_timer_clear(&call->timer);
    pm_list_remove(&call->begin_task.link);
    call->endpoint->n_calls--;
    pm_endpoint_free_when_unused(call->endpoint);
    pm_loop_later(call->client->loop, &call->free_task);
}

void pm_http_call_cancel(struct pm_http_call *call)
{
    if (call->state != CALL_OVER)
        end_call(call);
}

static void fail_call(struct pm_http_call *call, enum pm_call_error error)
{
    end_call(call);
    call->handler->on_error(call->ctx, error, pm_call_error_text(error));
}

/* Nobody is there; but who was reached before may have died of it. */
static void fail_connect(struct pm_http_call *call, enum pm_call_error error)
{
    fail_call(call, call->reached ? PM_CALL_NO_ANSWER : error);
}

static void finish_call(struct pm_http_call *call)
{
    bool reusable = call->keep_alive && !call->stray && call->sent == call->total &&
                    call->framing != PM_BODY_UNTIL_CLOSE && !call->gone_quiet;

    if (reusable && !call->endpoint->forgotten) {
        pm_watch_remove(&call->watch);
        pm_endpoint_keep(call->endpoint, call->watch.fd, call->keep_ms);
        call->watch.fd = -1;
    }
    end_call(call);
    call->handler->on_end(call->ctx);
}

/* ---- time ------------------------------------------------------------------------------------------- */

static uint64_t connect_deadline(const struct pm_http_call *call)
{
    return call->moved_ms + call->client->options.connect_ms;
}

static uint64_t deadline_of(const struct pm_http_call *call)
{
    switch (call->state) {
    case CALL_CONNECTING: return connect_deadline(call);
    case CALL_WAITING: return call->again_ms;
    case CALL_HEAD: return call->begun_ms + call->first_byte_ms;
    case CALL_BODY: return call->paused ? PM_NEVER : call->moved_ms + call->stream_idle_ms;
    default: return PM_NEVER;
    }
}

static void arm(struct pm_http_call *call)
{
    uint64_t due_ms = deadline_of(call);

    if (!pm_heap_contains(&call->timer.node) || due_ms < call->timer.node.key)
        pm_timer_set(call->client->loop, &call->timer, due_ms);
}

static void try_connect(struct pm_http_call *call);

static void on_time(struct pm_timer *timer)
{
    struct pm_http_call *call = pm_container_of(timer, struct pm_http_call, timer);
    uint64_t due_ms = deadline_of(call);

    if (due_ms > pm_loop_now_ms(call->client->loop)) {
        pm_timer_set(call->client->loop, timer, due_ms);
        return;
    }
    if (call->state == CALL_WAITING && call->again_ms < connect_deadline(call)) {
        try_connect(call);
        return;
    }
    if (call->state <= CALL_WAITING)
        fail_connect(call, PM_CALL_CONNECT);
    else
        fail_call(call, call->state == CALL_HEAD ? PM_CALL_FIRST_BYTE : PM_CALL_STREAM_IDLE);
}

void pm_http_call_manual_idle(struct pm_http_call *call)
{
    call->manual_idle = true;
}

void pm_http_call_touch(struct pm_http_call *call)
{
    call->moved_ms = pm_loop_now_ms(call->client->loop);
}

void pm_http_call_limits(struct pm_http_call *call, uint64_t first_byte_ms, uint64_t stream_idle_ms)
{
    if (first_byte_ms)
        call->first_byte_ms = first_byte_ms;
    if (stream_idle_ms)
        call->stream_idle_ms = stream_idle_ms;
}

/* ---- sending ---------------------------------------------------------------------------------------- */

static void connect_fresh(struct pm_http_call *call);

/* A kept connection was closed by the engine just as it was used: once more, on a fresh one. */
static void lost_before_answer(struct pm_http_call *call)
{
    bool again = call->reused && !call->replayed && call->in.n == 0 && call->n_interim == 0 &&
                 !call->kept.iov_base;

    if (!again) {
        fail_call(call, call->in.n ? PM_CALL_BAD_ANSWER : PM_CALL_NO_ANSWER);
        return;
    }
    close_connection(call);
    call->replayed = true;
    call->reused = false;
    call->reached = call->sent > 0;
    call->sent = 0;
    connect_fresh(call);
}

static size_t unsent_pieces(const struct pm_http_call *call, struct iovec *to)
{
    uint64_t skip = call->sent;
    size_t n = 0;

    for (size_t i = 0; i <= call->n_body && n < IOV_AT_ONCE; i++) {
        struct iovec piece =
            i == 0 ? (struct iovec){call->head.data, call->head.n} : call->body[i - 1];

        if (skip >= piece.iov_len) {
            skip -= piece.iov_len;
            continue;
        }
        to[n++] = (struct iovec){(char *)piece.iov_base + skip, piece.iov_len - (size_t)skip};
        skip = 0;
    }
    return n;
}

static void watch_call(struct pm_http_call *call)
{
    uint32_t events = call->paused ? (uint32_t)EPOLLRDHUP : (uint32_t)(EPOLLIN | EPOLLRDHUP);

    if (call->gone_quiet && call->paused)
        events = 0; /* it is gone and its last bytes wait: level-triggered events would spin */
    if (call->sending)
        events |= EPOLLOUT;
    if (call->state == CALL_HEAD || call->state == CALL_BODY)
        pm_watch_set(&call->watch, events);
}

/* False: the connection is gone. */
static bool send_more(struct pm_http_call *call)
{
    struct iovec pieces[IOV_AT_ONCE];

    while (call->sent < call->total) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = unsent_pieces(call, pieces)};
        ssize_t n = sendmsg(call->watch.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            bool gone = errno == EPIPE || errno == ECONNRESET;

            call->sending = false; /* an early answer may still be there to be read */
            watch_call(call);
            return gone;
        }
        if (n < 0) {
            call->sending = true;
            watch_call(call);
            return true;
        }
        call->sent += (uint64_t)n;
    }
    call->sending = false;
    watch_call(call);
    return true;
}

void pm_http_call_keep_body(struct pm_http_call *call)
{
    uint64_t skip = call->sent > call->head.n ? call->sent - call->head.n : 0;
    uint64_t size = call->total - call->head.n;
    char *copy;

    if (call->state == CALL_OVER || call->kept.iov_base)
        return;
    /* A place for all of it keeps the counting simple; what was sent already is never touched. */
    copy = malloc(size ? (size_t)size : 1);
    if (!copy)
        abort();
    for (size_t i = 0, at = 0; i < call->n_body; at += call->body[i++].iov_len) {
        if (at + call->body[i].iov_len > skip)
            memcpy(copy + at, call->body[i].iov_base, call->body[i].iov_len);
    }
    call->kept = (struct iovec){copy, (size_t)size};
    call->body = &call->kept;
    call->n_body = 1;
}

/* ---- receiving -------------------------------------------------------------------------------------- */

static bool announces_body(const struct pm_http_head *head)
{
    return (head->has_length && head->content_length) ||
           pm_http_find(head, "transfer-encoding", NULL);
}

/* The number behind "name=" in a Keep-Alive header; -1: it is not there. */
static long keep_alive_number(struct pm_slice value, const char *name)
{
    const char *at = memmem(value.p, value.n, name, strlen(name)), *end = value.p + value.n;
    long number = 0;

    if (!at)
        return -1;
    for (at += strlen(name); at < end && *at >= '0' && *at <= '9' && number < 100000; at++)
        number = number * 10 + (*at - '0');
    return number;
}

static void read_keep_alive(struct pm_http_call *call, const struct pm_http_head *head)
{
    const struct pm_http_header *header = pm_http_find(head, "keep-alive", NULL);
    long seconds = header ? keep_alive_number(header->value, "timeout=") : -1;

    /* A 204 that announces a body may send it later, into the next answer. */
    call->keep_alive = head->keep_alive && !(head->status == 204 && announces_body(head));
    if ((seconds >= 0 && seconds <= 1) || (header && keep_alive_number(header->value, "max=") == 0))
        call->keep_alive = false;
    call->keep_ms = seconds > 1 ? (uint64_t)(seconds - 1) * 1000 : 0;
}

/* Passes what of these bytes is body; they are decoded where they lie. Bytes behind its end are nobody's. */
static void read_body(struct pm_http_call *call, char *data, size_t n)
{
    size_t n_used = n, n_body = n;
    bool whole = false;
    int r = 0;

    if (call->framing == PM_BODY_CHUNKED) {
        r = pm_http_chunked_decode(&call->chunked, data, n, UINT64_MAX / 2, &n_used, &n_body);
        whole = r == 1;
    } else if (call->framing == PM_BODY_LENGTH) {
        n_used = n_body = n < call->left ? n : (size_t)call->left;
        call->left -= n_body;
        whole = call->left == 0;
    }
    call->stray = n_used < n;
    if (n_body) {
        if (!call->manual_idle)
            call->moved_ms = pm_loop_now_ms(call->client->loop);
        call->handler->on_body(call->ctx, data, n_body);
        if (call->state != CALL_BODY)
            return;
    }
    if (r < 0)
        fail_call(call, PM_CALL_BROKEN);
    else if (whole)
        finish_call(call);
}

static void take_interim(struct pm_http_call *call, size_t n)
{
    if (call->client->head.status == 101 || ++call->n_interim > INTERIM_MAX) {
        fail_call(call, PM_CALL_BAD_ANSWER);
        return;
    }
    pm_buf_consume(&call->in, n);
    memset(&call->scan, 0, sizeof(call->scan));
}

/* An answer that comes early is the engine's last word: what is unsent stays unsent, for the body belongs to its owner
 * again, and the connection is not used again. */
static void stop_sending(struct pm_http_call *call)
{
    if (!call->sending)
        return;
    call->sending = false;
    call->keep_alive = false;
    watch_call(call);
}

/* The real head; what came with it of the body follows it at once. */
static void take_head(struct pm_http_call *call, size_t n)
{
    struct pm_http_head *head = &call->client->head;
    struct pm_buf bytes = call->in; /* the head's slices point into it while its owner looks */

    call->in = (struct pm_buf){0};
    call->state = CALL_BODY;
    call->framing = head->framing;
    call->left = head->framing == PM_BODY_LENGTH ? head->content_length : 0;
    call->moved_ms = pm_loop_now_ms(call->client->loop);
    read_keep_alive(call, head);
    stop_sending(call);
    arm(call);
    call->handler->on_head(call->ctx, head);
    if (call->state == CALL_BODY && call->framing == PM_BODY_NONE) {
        call->stray = bytes.n > n;
        finish_call(call);
    } else if (call->state == CALL_BODY && bytes.n > n) {
        read_body(call, bytes.data + n, bytes.n - n);
    }
    pm_buf_fini(&bytes);
}

static void read_head(struct pm_http_call *call)
{
    while (call->state == CALL_HEAD && call->in.n) {
        long n = pm_http_parse_response(call->in.data, call->in.n, &call->scan, call->method,
                                        &call->client->head);

        if (n == 0)
            return;
        if (n < 0)
            fail_call(call, PM_CALL_BAD_ANSWER);
        else if (call->client->head.status < 200)
            take_interim(call, (size_t)n);
        else
            take_head(call, (size_t)n);
    }
}

static void on_end_of_stream(struct pm_http_call *call)
{
    if (call->state == CALL_HEAD)
        lost_before_answer(call);
    else if (call->framing == PM_BODY_UNTIL_CLOSE)
        finish_call(call);
    else
        fail_call(call, PM_CALL_BROKEN);
}

static void on_readable(struct pm_http_call *call)
{
    struct pm_http_client *client = call->client;
    ssize_t n = recv(call->watch.fd, client->buffer, PM_CLIENT_READ_SIZE, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        if (call->state == CALL_HEAD)
            lost_before_answer(call);
        else
            fail_call(call, PM_CALL_BROKEN);
        return;
    }
    if (n == 0) {
        on_end_of_stream(call);
        return;
    }
    if (call->state == CALL_BODY) {
        read_body(call, client->buffer, (size_t)n);
        return;
    }
    pm_buf_add(&call->in, client->buffer, (size_t)n);
    read_head(call);
}

static void connected(struct pm_http_call *call)
{
    call->state = CALL_HEAD;
    arm(call);
    if (!send_more(call))
        lost_before_answer(call);
}

static void connect_failed(struct pm_http_call *call, int errno_value)
{
    close_connection(call);
    if (call->retried_connect) {
        fail_connect(call, errno_value == ECONNREFUSED || errno_value == ENOENT ? PM_CALL_REFUSED
                                                                                : PM_CALL_CONNECT);
        return;
    }
    call->retried_connect = true;
    connect_fresh(call);
}

static void on_events(struct pm_watch *watch, uint32_t events)
{
    struct pm_http_call *call = pm_container_of(watch, struct pm_http_call, watch);
    int error = 0;
    socklen_t n = sizeof(error);

    if (call->state == CALL_CONNECTING) {
        (void)getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error)
            connect_failed(call, error);
        else
            connected(call);
        return;
    }
    if (events & EPOLLOUT && call->sending && !send_more(call)) {
        lost_before_answer(call);
        return;
    }
    if (call->paused && events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        call->gone_quiet = true;
        watch_call(call);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) && !call->paused)
        on_readable(call);
}

void pm_http_call_pause(struct pm_http_call *call)
{
    if (call->state == CALL_OVER || call->paused)
        return;
    call->paused = true;
    watch_call(call);
}

void pm_http_call_resume(struct pm_http_call *call)
{
    if (call->state == CALL_OVER || !call->paused)
        return;
    call->paused = false;
    call->moved_ms = pm_loop_now_ms(call->client->loop);
    if (call->watch.fd >= 0)
        watch_call(call);
    arm(call);
}

/* ---- connecting ------------------------------------------------------------------------------------- */

static bool parse_endpoint(const char *name, struct sockaddr_storage *to, socklen_t *ret_n)
{
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)to;
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)to;
    char host[64];
    unsigned port;
    int n = 0;

    memset(to, 0, sizeof(*to));
    if (pm_str_starts(name, "unix:")) {
        un->sun_family = AF_UNIX;
        *ret_n = sizeof(*un);
        return name[5] == '/' && pm_str_copy(un->sun_path, sizeof(un->sun_path), name + 5);
    }
    in->sin_family = AF_INET;
    *ret_n = sizeof(*in);
    if (sscanf(name, "http://%15[0-9.]:%5u%n", host, &port, &n) != 2 || name[n] != '\0' ||
        port == 0 || port > 65535 || inet_pton(AF_INET, host, &in->sin_addr) != 1)
        return false;
    in->sin_port = htons((uint16_t)port);
    return true;
}

bool pm_http_endpoint_valid(const char *endpoint)
{
    struct sockaddr_storage address;
    socklen_t n;

    return parse_endpoint(endpoint, &address, &n);
}

/* A Unix socket says EAGAIN where the queue of its listener is full, which TCP would wait for by itself. */
static void wait_for_room(struct pm_http_call *call)
{
    close_connection(call);
    call->state = CALL_WAITING;
    call->again_ms = pm_loop_now_ms(call->client->loop) + CONNECT_AGAIN_MS;
    if (call->again_ms > connect_deadline(call))
        call->again_ms = connect_deadline(call);
    arm(call);
}

static void try_connect(struct pm_http_call *call)
{
    struct sockaddr_storage address;
    socklen_t n;
    int one = 1, fd = -1, r;

    if (parse_endpoint(call->endpoint->name, &address, &n))
        fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        fail_connect(call, PM_CALL_CONNECT);
        return;
    }
    if (address.ss_family == AF_INET)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    call->state = CALL_CONNECTING;
    call->watch.fd = fd;
    r = connect(fd, (const struct sockaddr *)&address, n);
    if (r < 0 && errno == EAGAIN)
        wait_for_room(call);
    else if ((r < 0 && errno != EINPROGRESS) ||
             pm_watch_add(call->client->loop, &call->watch, fd,
                          r == 0 ? EPOLLIN | EPOLLRDHUP : EPOLLOUT, on_events) < 0)
        connect_failed(call, r < 0 ? errno : ENOMEM);
    else if (r == 0)
        connected(call);
    else
        arm(call);
}

static void connect_fresh(struct pm_http_call *call)
{
    call->moved_ms = pm_loop_now_ms(call->client->loop);
    try_connect(call);
}

static bool connect_kept(struct pm_http_call *call)
{
    int fd = call->fresh ? -1 : pm_endpoint_take(call->endpoint);

    if (fd < 0)
        return false;
    if (pm_watch_add(call->client->loop, &call->watch, fd, EPOLLIN | EPOLLRDHUP, on_events) < 0) {
        (void)close(fd);
        call->watch.fd = -1;
        return false;
    }
    call->reused = true;
    connected(call);
    return true;
}

static void begin(struct pm_task *task)
{
    struct pm_http_call *call = pm_container_of(task, struct pm_http_call, begin_task);

    if (!connect_kept(call))
        connect_fresh(call);
}

struct pm_http_call *pm_http_call_new(struct pm_http_client *client, const char *endpoint,
                                      enum pm_http_method method, const char *head, size_t n_head,
                                      const struct iovec *body, size_t n_pieces, bool fresh,
                                      const struct pm_http_call_handler *handler, void *ctx)
{
    struct pm_http_call *call = pm_xalloc(sizeof(*call));

    call->client = client;
    call->endpoint = pm_endpoint_find(client, endpoint);
    call->endpoint->n_calls++;
    call->handler = handler;
    call->ctx = ctx;
    call->method = method;
    call->watch.fd = -1;
    call->begin_task.fn = begin;
    call->free_task.fn = free_call;
    call->timer.fn = on_time;
    call->begun_ms = call->moved_ms = pm_loop_now_ms(client->loop);
    call->first_byte_ms = client->options.first_byte_ms;
    call->stream_idle_ms = client->options.stream_idle_ms;
    pm_buf_add(&call->head, head, n_head);
    call->body = body;
    call->n_body = n_pieces;
    call->total = n_head;
    for (size_t i = 0; i < n_pieces; i++)
        call->total += body[i].iov_len;
    call->fresh = fresh || call->total - n_head > FRESH_ABOVE;
    pm_loop_later(client->loop, &call->begin_task);
    return call;
}
