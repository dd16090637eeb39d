/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one helper thread, for what may block: commits of the store, looks at files on slow disks. All signals are
 * blocked in it, it never calls back, it never touches what the loop thread changes. Everything here is for the loop
 * thread.
 */
#ifndef PM_UTIL_WORKER_H
#define PM_UTIL_WORKER_H

#include "util/loop.h"

struct pm_worker;

/* One piece of work; embed it. It is the worker's from pm_worker_add() until `done` or `drop` is called, once, in the
 * loop thread. */
struct pm_work {
    struct pm_link link;
    void (*work)(struct pm_work *work); /* in the helper thread */
    void (*done)(struct pm_work *work); /* it was worked on */
    void (*drop)(struct pm_work *work); /* the worker ends: nobody wants its result any more */
};

enum pm_work_order {
    PM_WORK_FIRST, /* before all that is not; among each other in order: commits, which somebody waits for */
    PM_WORK_LAST,
};

int pm_worker_new(struct pm_loop *loop, struct pm_worker **ret, struct poolmgr_error *err);

/* Ends the thread behind what it works on now; everything else is dropped. A thread that hangs in a disk is waited for
 * a little, then left to the end of the process: false, and what its work uses must stay. */
bool pm_worker_free(struct pm_worker *worker);

void pm_worker_add(struct pm_worker *worker, struct pm_work *work, enum pm_work_order order);

#endif
