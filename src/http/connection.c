/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection: what is watched, what time it has, how it ends. One request is read at a time; what comes
 * behind it stays in `in`, or with the kernel, until the answer is whole. While an answer runs nothing is read, but a
 * client that leaves is seen at once (EPOLLRDHUP). There is one timer a connection, set to the next moment at which
 * something could be over; bytes only move a stamp, and the timer looks at the stamp when it fires.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/internal.h"
#include "util/cleanup.h"
#include "util/str.h"

static uint64_t now_ms(const struct pm_exchange *exchange)
{
    return pm_loop_now_ms(exchange->server->loop);
}

/* ---- time ------------------------------------------------------------------------------------------- */

/* Neither silence for body_idle, nor, once that has passed, a mean below body_rate. */
static uint64_t body_deadline(const struct pm_exchange *exchange)
{
    const struct pm_http_server_options *options = &exchange->server->options;
    uint64_t idle_ms = exchange->moved_ms + options->body_idle_ms, mean_ms;

    if (!options->body_rate)
        return idle_ms;

    mean_ms = exchange->body_bytes * 1000 / options->body_rate;
    if (mean_ms < options->body_idle_ms)
        mean_ms = options->body_idle_ms;
    mean_ms += exchange->since_ms;
    return idle_ms < mean_ms ? idle_ms : mean_ms;
}

/* When what is going on is over, if nothing more happens. */
static uint64_t deadline_of(const struct pm_exchange *exchange)
{
    const struct pm_http_server_options *options = &exchange->server->options;

    switch (exchange->state) {
    case CONNECTION_HEAD:
        return exchange->since_ms + (exchange->served && !pm_exchange_unread(exchange)
                                         ? options->keep_alive_ms
                                         : options->head_ms);
    case CONNECTION_BODY: return body_deadline(exchange);
    case CONNECTION_HELD: return exchange->since_ms + options->body_idle_ms;
    case CONNECTION_ANSWER:
    case CONNECTION_FLUSH:
        return pm_exchange_queued(exchange) ? exchange->moved_ms + options->write_stall_ms
                                            : PM_NEVER;
    case CONNECTION_LINGER: return exchange->since_ms + PM_SERVER_LINGER_MS;
    case CONNECTION_CLOSED: break;
    }
    return PM_NEVER;
}

void pm_connection_wrote(struct pm_exchange *exchange)
{
    int in_kernel = 0;

    exchange->moved_ms = now_ms(exchange);
    if (ioctl(exchange->watch.fd, SIOCOUTQ, &in_kernel) == 0)
        exchange->in_kernel = in_kernel;
}

/* A slow reader may empty the kernel's queue for a long time before there is room for another write. */
static bool client_still_reads(struct pm_exchange *exchange)
{
    int in_kernel = 0;

    if (ioctl(exchange->watch.fd, SIOCOUTQ, &in_kernel) < 0 || in_kernel >= exchange->in_kernel)
        return false;
    pm_connection_wrote(exchange);
    return true;
}

static void time_is_over(struct pm_exchange *exchange)
{
    switch (exchange->state) {
    case CONNECTION_HEAD:
        if (pm_exchange_unread(exchange) == 0)
            pm_connection_close(exchange, false);
        else
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

static void on_time(struct pm_timer *timer)
{
    struct pm_exchange *exchange = pm_container_of(timer, struct pm_exchange, timer);
    uint64_t due_ms = deadline_of(exchange);

    if (due_ms <= now_ms(exchange) && pm_exchange_queued(exchange) && client_still_reads(exchange))
        due_ms = deadline_of(exchange);
    if (due_ms > now_ms(exchange))
        pm_timer_set(exchange->server->loop, timer, due_ms);
    else
        time_is_over(exchange);
}

/* The timer is only ever moved here when it would fire too late. */
static void arm(struct pm_exchange *exchange)
{
    uint64_t due_ms = deadline_of(exchange);

    if (!pm_heap_contains(&exchange->timer.node) ? due_ms != PM_NEVER
                                                 : due_ms < exchange->timer.node.key)
        pm_timer_set(exchange->server->loop, &exchange->timer, due_ms);
}

/* ---- what is watched -------------------------------------------------------------------------------- */

static uint32_t wanted_events(const struct pm_exchange *exchange)
{
    uint32_t events = EPOLLRDHUP;

    switch (exchange->state) {
    case CONNECTION_HEAD:
    case CONNECTION_BODY: events |= EPOLLIN; break;
    case CONNECTION_HELD:
    case CONNECTION_ANSWER:
        /* Most clients send nothing before they have their answer: EPOLLIN is only taken out when one does, and a
         * request costs no epoll_ctl. */
        events |= exchange->watch.events & (uint32_t)EPOLLIN;
        break;
    case CONNECTION_FLUSH:
        /* A client that has sent its last request and shut its side still wants the answers queued for it. */
        events = 0;
        break;
    case CONNECTION_LINGER: return EPOLLIN;
    case CONNECTION_CLOSED: return 0;
    }
    return pm_exchange_queued(exchange) ? events | EPOLLOUT : events;
}

void pm_connection_update(struct pm_exchange *exchange)
{
    if (exchange->state == CONNECTION_CLOSED)
        return;
    pm_watch_set(&exchange->watch, wanted_events(exchange));
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
    exchange->server->n_turned -= exchange->turned;
    pm_exchange_tell_gone(exchange);
    pm_exchange_drop_body(exchange);
    pm_loop_later(exchange->server->loop, &exchange->free_task);
}

/* Our side is shut; what the client still sends is thrown away, so that no reset overtakes the answer. */
void pm_connection_linger(struct pm_exchange *exchange)
{
    (void)shutdown(exchange->watch.fd, SHUT_WR);
    pm_exchange_reset(exchange);
    pm_buf_fini(&exchange->in);
    exchange->in_at = 0;
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

/* ---- events ----------------------------------------------------------------------------------------- */

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
        pm_connection_readable(exchange);
        return; /* what was read first counts first; a departure comes again with the next turn */
    }
    if (events & (EPOLLERR | EPOLLHUP) ||
        (events & EPOLLRDHUP && exchange->state != CONNECTION_FLUSH))
        pm_connection_close(exchange, false);
    else if (events & EPOLLIN)
        pm_watch_set(watch, watch->events & ~(uint32_t)EPOLLIN); /* it is read after the answer */
}

static void on_next(struct pm_task *task)
{
    pm_connection_go_on(pm_container_of(task, struct pm_exchange, next_task));
}

struct pm_exchange *pm_connection_new(struct pm_http_server *server,
                                      const struct listener *listener, int fd)
{
    struct pm_exchange *exchange = pm_xalloc(sizeof(*exchange));
    int one = 1;

    exchange->server = server;
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
        return NULL;
    }
    pm_list_append(&server->connections, &exchange->link);
    server->counters.connections++;
    pm_connection_set_state(exchange, CONNECTION_HEAD);
    arm(exchange);
    return exchange;
}
