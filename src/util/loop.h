/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: level-triggered epoll, one timerfd for all timers, callbacks on the thread that turns it.
 * Everything here is for that thread, but pm_loop_post(), which any thread may call.
 */
#ifndef PM_UTIL_LOOP_H
#define PM_UTIL_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "util/error.h"
#include "util/heap.h"
#include "util/list.h"

struct pm_loop;

/* A descriptor that is watched. Embed it; pm_container_of() finds the owner. The descriptor stays its owner's. */
struct pm_watch {
    struct pm_loop *loop; /* NULL: not watched */
    int fd;
    uint32_t events; /* EPOLLIN | EPOLLOUT | EPOLLRDHUP …; what is asked for now */
    bool registered; /* in the epoll set */
    void (*fn)(struct pm_watch *watch, uint32_t events);
};

/* A moment. A timer of zeros is not set. */
struct pm_timer {
    struct pm_heap_node node;
    struct pm_loop *loop;
    void (*fn)(struct pm_timer *timer);
};

/* Something to do once, at the end of this turn: mostly to free what callbacks of this turn may still hold. */
struct pm_task {
    struct pm_link link;
    void (*fn)(struct pm_task *task);
};

int pm_loop_new(struct pm_loop **ret, struct poolmgr_error *err);
void pm_loop_free(struct pm_loop *loop);

/* The descriptor an embedder polls: readable when pm_loop_turn(loop, 0) has something to do, timers included. */
int pm_loop_fd(const struct pm_loop *loop);

/* Waits at most timeout_ms (-1: until something happens) and runs what is due. Returns 0 or POOLMGR_E_INTERNAL. */
int pm_loop_turn(struct pm_loop *loop, int timeout_ms);

/* Turns until pm_loop_stop(). */
int pm_loop_run(struct pm_loop *loop);
void pm_loop_stop(struct pm_loop *loop);

/* Monotonic milliseconds, read once a turn. */
uint64_t pm_loop_now_ms(const struct pm_loop *loop);
/* Reads them anew, outside of a turn: an embedder may have slept since the last one. Within one it changes nothing. */
void pm_loop_refresh(struct pm_loop *loop);

/* Starts to watch; 0 or POOLMGR_E_INTERNAL with the errno's text. */
int pm_watch_add(struct pm_loop *loop, struct pm_watch *watch, int fd, uint32_t events,
                 void (*fn)(struct pm_watch *, uint32_t));

/* Asks for other events; no system call when nothing changes. With 0 the descriptor leaves the epoll set, since
 * EPOLLHUP and EPOLLERR cannot be masked (a departure seen once must not spin the loop). */
void pm_watch_set(struct pm_watch *watch, uint32_t events);

/* Stops to watch; harmless twice. No callback of it runs after this, also not in the same turn. */
void pm_watch_remove(struct pm_watch *watch);

/* Sets or moves; PM_NEVER clears. `fn` must be set in the timer before. A due time in the past runs in the next turn. */
void pm_timer_set(struct pm_loop *loop, struct pm_timer *timer, uint64_t due_ms);
void pm_timer_clear(struct pm_timer *timer);

/* Runs task->fn at the end of this turn (or of the next when called outside one). Twice is once. */
void pm_loop_later(struct pm_loop *loop, struct pm_task *task);

/* From any thread: runs task->fn in the loop thread. The task belongs to the loop until then. */
void pm_loop_post(struct pm_loop *loop, struct pm_task *task);

/* Blocks the signals of `set` in this thread and delivers them to fn on the loop. One set a loop. */
int pm_loop_signals(struct pm_loop *loop, const sigset_t *set, void (*fn)(void *ctx, int signo),
                    void *ctx, struct poolmgr_error *err);

/* How long the longest turn took since the last call, and in all (for poolmgr_loop_lag_seconds). */
uint64_t pm_loop_lag_max_us(struct pm_loop *loop);
uint64_t pm_loop_turns(const struct pm_loop *loop);

#endif
