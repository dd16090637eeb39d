/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll descriptor holds everything: the watched descriptors, one timerfd armed to the earliest timer, one
 * eventfd for posts from other threads, one signalfd. So an embedder can poll that single descriptor, and a loop
 * with nothing due never wakes up. Events are level-triggered: what is not dealt with now comes again.
 *
 * A batch of events names watches by pointer. A watch that is removed within a turn is struck out of the rest of
 * the batch, so that nobody is called for an object that is gone, or for a descriptor whose number came back.
 */
#include "util/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

#define BATCH_MAX 256

struct pm_loop {
    int epoll_fd, timer_fd, event_fd, signal_fd;
    struct pm_watch timer_watch, event_watch, signal_watch;
    struct pm_heap timers;
    uint64_t armed_ms; /* what the timerfd is set to; PM_NEVER: nothing */
    uint64_t now_ms;
    struct pm_list later;
    pthread_mutex_t posted_lock;
    struct pm_list posted; /* under posted_lock */
    struct epoll_event batch[BATCH_MAX];
    int n_batch, at_batch; /* what of the batch is still to come: [at, n) */
    bool stopped, in_turn;
    void (*on_signal)(void *ctx, int signo);
    void *signal_ctx;
    uint64_t lag_max_us, n_turns;
};

static void on_timer_fd(struct pm_watch *watch, uint32_t events)
{
    uint64_t n_expired;

    (void)events;
    (void)!read(watch->fd, &n_expired, sizeof(n_expired));
    watch->loop->armed_ms = PM_NEVER;
}

static void on_posted(struct pm_watch *watch, uint32_t events)
{
    struct pm_loop *loop = watch->loop;
    struct pm_link *link;
    uint64_t n_posts;

    (void)events;
    (void)!read(watch->fd, &n_posts, sizeof(n_posts));
    for (;;) {
        struct pm_task *task;

        (void)pthread_mutex_lock(&loop->posted_lock);
        link = pm_list_first(&loop->posted);
        if (link)
            pm_list_remove(link);
        (void)pthread_mutex_unlock(&loop->posted_lock);
        if (!link)
            return;
        task = pm_container_of(link, struct pm_task, link);
        task->fn(task);
    }
}

static void on_signal_fd(struct pm_watch *watch, uint32_t events)
{
    struct pm_loop *loop = watch->loop;
    struct signalfd_siginfo info;

    (void)events;
    while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        loop->on_signal(loop->signal_ctx, (int)info.ssi_signo);
}

int pm_loop_new(struct pm_loop **ret, struct poolmgr_error *err)
{
    struct pm_loop *loop = pm_xalloc(sizeof(*loop));

    loop->armed_ms = PM_NEVER;
    loop->now_ms = pm_monotonic_ms();
    pm_list_init(&loop->later);
    pm_list_init(&loop->posted);
    (void)pthread_mutex_init(&loop->posted_lock, NULL);
    loop->signal_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->timer_fd < 0 || loop->event_fd < 0 ||
        pm_watch_add(loop, &loop->timer_watch, loop->timer_fd, EPOLLIN, on_timer_fd) < 0 ||
        pm_watch_add(loop, &loop->event_watch, loop->event_fd, EPOLLIN, on_posted) < 0) {
        int r = pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "cannot make an event loop");

        pm_loop_free(loop);
        return r;
    }
    *ret = loop;
    return POOLMGR_OK;
}

static void run_later(struct pm_loop *loop)
{
    struct pm_link *link;

    while ((link = pm_list_first(&loop->later))) {
        struct pm_task *task = pm_container_of(link, struct pm_task, link);

        pm_list_remove(link);
        task->fn(task);
    }
}

void pm_loop_free(struct pm_loop *loop)
{
    if (!loop)
        return;

    run_later(loop);
    for (const int *fd =
             (int[]){loop->timer_fd, loop->event_fd, loop->signal_fd, loop->epoll_fd, -2};
         *fd != -2; fd++) {
        if (*fd >= 0)
            (void)close(*fd);
    }
    pm_heap_fini(&loop->timers);
    (void)pthread_mutex_destroy(&loop->posted_lock);
    free(loop);
}

int pm_loop_fd(const struct pm_loop *loop)
{
    return loop->epoll_fd;
}

uint64_t pm_loop_now_ms(const struct pm_loop *loop)
{
    return loop->now_ms;
}

void pm_loop_refresh(struct pm_loop *loop)
{
    if (!loop->in_turn)
        loop->now_ms = pm_monotonic_ms();
}

/* ---- watches ---------------------------------------------------------------------------------------- */

static int control(struct pm_watch *watch, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    return epoll_ctl(watch->loop->epoll_fd, operation, watch->fd, &event);
}

int pm_watch_add(struct pm_loop *loop, struct pm_watch *watch, int fd, uint32_t events,
                 void (*fn)(struct pm_watch *, uint32_t))
{
    *watch = (struct pm_watch){.loop = loop, .fd = fd, .events = events, .fn = fn};
    if (events == 0)
        return POOLMGR_OK;
    if (control(watch, EPOLL_CTL_ADD, events) < 0) {
        watch->loop = NULL;
        return POOLMGR_E_INTERNAL;
    }
    watch->registered = true;
    return POOLMGR_OK;
}

/* Strikes a watch out of what is left of the running batch. */
static void forget_events(struct pm_watch *watch)
{
    struct pm_loop *loop = watch->loop;

    for (int i = loop->at_batch; i < loop->n_batch; i++) {
        if (loop->batch[i].data.ptr == watch)
            loop->batch[i].data.ptr = NULL;
    }
}

void pm_watch_set(struct pm_watch *watch, uint32_t events)
{
    int r = 0;

    if (!watch->loop || watch->events == events)
        return;

    watch->events = events;
    if (events == 0) {
        r = control(watch, EPOLL_CTL_DEL, 0);
        watch->registered = false;
        forget_events(watch);
    } else if (watch->registered) {
        r = control(watch, EPOLL_CTL_MOD, events);
    } else {
        r = control(watch, EPOLL_CTL_ADD, events);
        watch->registered = true;
    }
    /* The descriptor is open and known, so only a mistake of ours or exhausted kernel memory can end here. */
    if (r < 0 && errno != ENOMEM && errno != ENOSPC)
        abort();
}

void pm_watch_remove(struct pm_watch *watch)
{
    if (!watch->loop)
        return;

    if (watch->registered)
        (void)control(watch, EPOLL_CTL_DEL, 0);
    forget_events(watch);
    watch->registered = false;
    watch->loop = NULL;
}

/* ---- timers ----------------------------------------------------------------------------------------- */

/* Arms the timerfd to the earliest timer; a system call only when that has become earlier, or the old one is over. */
static void arm(struct pm_loop *loop)
{
    struct pm_heap_node *first = pm_heap_first(&loop->timers);
    struct itimerspec when = {0};
    uint64_t due_ms = first ? first->key : PM_NEVER;

    if (due_ms == loop->armed_ms)
        return;

    if (first) {
        uint64_t at = due_ms ? due_ms : 1; /* zero would disarm it */

        when.it_value.tv_sec = (time_t)(at / 1000);
        when.it_value.tv_nsec = (long)(at % 1000) * 1000000;
    }
    (void)timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    loop->armed_ms = due_ms;
}

void pm_timer_set(struct pm_loop *loop, struct pm_timer *timer, uint64_t due_ms)
{
    timer->loop = loop;
    pm_heap_set(&loop->timers, &timer->node, due_ms);
    if (!loop->in_turn)
        arm(loop); /* whoever polls the loop's descriptor must be woken in time */
}

void pm_timer_clear(struct pm_timer *timer)
{
    if (timer->loop)
        pm_heap_remove(&timer->loop->timers, &timer->node);
}

/* Runs what was due when the turn began: a timer that sets itself to now waits for the next turn. */
static void run_timers(struct pm_loop *loop)
{
    uint64_t until = loop->timers.n_inserted;
    struct pm_heap_node *node;

    while ((node = pm_heap_first(&loop->timers)) && node->key <= loop->now_ms &&
           node->order < until) {
        struct pm_timer *timer = pm_container_of(node, struct pm_timer, node);

        pm_heap_remove(&loop->timers, node);
        timer->fn(timer);
    }
}

/* ---- tasks ------------------------------------------------------------------------------------------ */

void pm_loop_later(struct pm_loop *loop, struct pm_task *task)
{
    uint64_t one = 1;

    if (pm_link_in_list(&task->link))
        return;
    if (!loop->in_turn && pm_list_empty(&loop->later))
        (void)!write(loop->event_fd, &one, sizeof(one)); /* the next turn must not wait */
    pm_list_append(&loop->later, &task->link);
}

void pm_loop_post(struct pm_loop *loop, struct pm_task *task)
{
    uint64_t one = 1;

    (void)pthread_mutex_lock(&loop->posted_lock);
    if (!pm_link_in_list(&task->link))
        pm_list_append(&loop->posted, &task->link);
    /* Within the lock: once it is free the loop may run the task and be freed itself. */
    (void)!write(loop->event_fd, &one, sizeof(one));
    (void)pthread_mutex_unlock(&loop->posted_lock);
}

/* ---- signals ---------------------------------------------------------------------------------------- */

int pm_loop_signals(struct pm_loop *loop, const sigset_t *set, void (*fn)(void *ctx, int signo),
                    void *ctx, struct poolmgr_error *err)
{
    if (pthread_sigmask(SIG_BLOCK, set, NULL) != 0)
        return pm_fail(err, POOLMGR_E_INTERNAL, "cannot block signals");

    loop->on_signal = fn;
    loop->signal_ctx = ctx;
    loop->signal_fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (loop->signal_fd < 0 ||
        pm_watch_add(loop, &loop->signal_watch, loop->signal_fd, EPOLLIN, on_signal_fd) < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "cannot watch signals");
    return POOLMGR_OK;
}

/* ---- turning ---------------------------------------------------------------------------------------- */

static void run_batch(struct pm_loop *loop)
{
    while (loop->at_batch < loop->n_batch) {
        struct epoll_event *event = &loop->batch[loop->at_batch++];
        struct pm_watch *watch = event->data.ptr;

        if (watch)
            watch->fn(watch, event->events);
    }
    loop->n_batch = loop->at_batch = 0;
}

int pm_loop_turn(struct pm_loop *loop, int timeout_ms)
{
    uint64_t begun_ns, took_us;
    int n;

    do {
        n = epoll_wait(loop->epoll_fd, loop->batch, BATCH_MAX, timeout_ms);
    } while (n < 0 && errno == EINTR && timeout_ms < 0);
    if (n < 0 && errno != EINTR)
        return POOLMGR_E_INTERNAL;

    begun_ns = pm_monotonic_ns();
    loop->now_ms = begun_ns / 1000000u;
    loop->n_batch = n < 0 ? 0 : n;
    loop->at_batch = 0;
    loop->in_turn = true;
    run_batch(loop);
    run_timers(loop);
    run_later(loop);
    loop->in_turn = false;
    arm(loop);

    loop->n_turns++;
    took_us = (pm_monotonic_ns() - begun_ns) / 1000u;
    if (took_us > loop->lag_max_us)
        loop->lag_max_us = took_us;
    return POOLMGR_OK;
}

int pm_loop_run(struct pm_loop *loop)
{
    int r = POOLMGR_OK;

    loop->stopped = false;
    while (!loop->stopped && r == POOLMGR_OK)
        r = pm_loop_turn(loop, -1);
    return r;
}

void pm_loop_stop(struct pm_loop *loop)
{
    loop->stopped = true;
}

uint64_t pm_loop_lag_max_us(struct pm_loop *loop)
{
    uint64_t lag_us = loop->lag_max_us;

    loop->lag_max_us = 0;
    return lag_us;
}

uint64_t pm_loop_turns(const struct pm_loop *loop)
{
    return loop->n_turns;
}
