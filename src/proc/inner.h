/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the daemon's end share. */
#ifndef PM_PROC_INNER_H
#define PM_PROC_INNER_H

#include "proc/process.h"

struct pm_process {
    struct pm_loop *loop;
    char *folder;
    const struct pm_process_handler *handler;
    void *ctx;
    int connection; /* -1: gone */
    struct pm_watch watch;
    struct pm_timer timer; /* connected: until it says hello; gone: when to look again */
    struct pm_task free_task;
    char *failure; /* the shim itself could not be run */
    pid_t shim_pid, pid;
    bool awaits; /* an order was sent, and nothing was heard since */
    bool spawned, failed, exited, childless, kill_asked, released;
    uint64_t silent_since_ms;
};

/* How long a shim may hold the lock, or be given orders, without a word; tests shorten it. */
extern uint64_t pm_silent_max_ms;

/* The last lines of a folder's log; the caller's. */
char *pm_log_tail_read(const char *folder);

#endif
