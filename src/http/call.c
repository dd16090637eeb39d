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

#include "http/call_internal.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/str.h"

#define FRESH_ABOVE      (1024 * 1024) /* bodies that are not worth a replay */
#define IOV_AT_ONCE      64
#define CONNECT_AGAIN_MS 5 /* a full listen queue of a Unix socket is tried again this often */

/* ---- sending ---------------------------------------------------------------------------------------- */

static void connect_fresh(struct pm_http_call *call);

/* A kept connection was closed by the engine just as it was used: once more, on a fresh one. */
static void lost_before_answer(struct pm_http_call *call)
{
    bool again = call->reused && !call->replayed && call->in.n == 0 && call->n_interim == 0 &&
                 !call->kept.iov_base;

    if (!again) {
        pm_http_call_fail(call, call->in.n ? PM_CALL_BAD_ANSWER : PM_CALL_NO_ANSWER);
        return;
    }
    pm_http_call_disconnect(call);
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
            pm_http_call_watch(call);
            return gone;
        }
        if (n < 0) {
            call->sending = true;
            pm_http_call_watch(call);
            return true;
        }
        call->sent += (uint64_t)n;
    }
    call->sending = false;
    pm_http_call_watch(call);
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

static void on_end_of_stream(struct pm_http_call *call)
{
    if (call->state == CALL_HEAD)
        lost_before_answer(call);
    else if (call->framing == PM_BODY_UNTIL_CLOSE)
        pm_http_call_finish(call);
    else
        pm_http_call_fail(call, PM_CALL_BROKEN);
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
            pm_http_call_fail(call, PM_CALL_BROKEN);
        return;
    }
    if (n == 0) {
        on_end_of_stream(call);
        return;
    }
    if (call->state == CALL_BODY) {
        pm_http_call_read_body(call, client->buffer, (size_t)n);
        return;
    }
    pm_buf_add(&call->in, client->buffer, (size_t)n);
    pm_http_call_read_head(call);
}

static void connected(struct pm_http_call *call)
{
    call->state = CALL_HEAD;
    pm_http_call_arm(call);
    if (!send_more(call))
        lost_before_answer(call);
}

static void connect_failed(struct pm_http_call *call, int errno_value)
{
    pm_http_call_disconnect(call);
    if (call->retried_connect) {
        pm_http_call_fail_connect(call, errno_value == ECONNREFUSED || errno_value == ENOENT
                                            ? PM_CALL_REFUSED
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
        pm_http_call_watch(call);
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
    pm_http_call_watch(call);
}

void pm_http_call_resume(struct pm_http_call *call)
{
    if (call->state == CALL_OVER || !call->paused)
        return;
    call->paused = false;
    call->moved_ms = pm_loop_now_ms(call->client->loop);
    if (call->watch.fd >= 0)
        pm_http_call_watch(call);
    pm_http_call_arm(call);
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
    pm_http_call_disconnect(call);
    call->state = CALL_WAITING;
    call->again_ms = pm_loop_now_ms(call->client->loop) + CONNECT_AGAIN_MS;
    if (call->again_ms > pm_http_call_connect_deadline(call))
        call->again_ms = pm_http_call_connect_deadline(call);
    pm_http_call_arm(call);
}

static void try_connect(struct pm_http_call *call)
{
    struct sockaddr_storage address;
    socklen_t n;
    int one = 1, fd = -1, r;

    if (parse_endpoint(call->endpoint->name, &address, &n))
        fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        pm_http_call_fail_connect(call, PM_CALL_CONNECT);
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
        pm_http_call_arm(call);
}

static void connect_fresh(struct pm_http_call *call)
{
    call->moved_ms = pm_loop_now_ms(call->client->loop);
    try_connect(call);
}

/* ---- time ------------------------------------------------------------------------------------------- */

static void on_time(struct pm_timer *timer)
{
    struct pm_http_call *call = pm_container_of(timer, struct pm_http_call, timer);
    uint64_t due_ms = pm_http_call_deadline(call);

    if (due_ms > pm_loop_now_ms(call->client->loop)) {
        pm_timer_set(call->client->loop, timer, due_ms);
        return;
    }
    if (call->state == CALL_WAITING && call->again_ms < pm_http_call_connect_deadline(call)) {
        try_connect(call);
        return;
    }
    if (call->state <= CALL_WAITING)
        pm_http_call_fail_connect(call, PM_CALL_CONNECT);
    else
        pm_http_call_fail(call,
                          call->state == CALL_HEAD ? PM_CALL_FIRST_BYTE : PM_CALL_STREAM_IDLE);
}

/* ---- a call ---------------------------------------------------------------------------------------- */

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
