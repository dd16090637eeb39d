/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two queues in, one queue out, one mutex around them. The way back is an eventfd of the worker's own, so that taking
 * the watch away is enough to be sure that nothing of it is delivered any more.
 */
#include "util/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util/str.h"

#define QUIT_WAIT_S 2 /* for the work under way when the worker ends */

struct pm_worker {
    struct pm_loop *loop;
    struct pm_watch watch;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct pm_list first, last, finished; /* under the mutex */
    bool quit;                            /* under the mutex */
};

/* ---- in the helper thread --------------------------------------------------------------------------- */

static struct pm_work *take_work(struct pm_list *list)
{
    struct pm_link *link = pm_list_first(list);

    if (!link)
        return NULL;

    pm_list_remove(link);
    return pm_container_of(link, struct pm_work, link);
}

static struct pm_work *next_work(struct pm_worker *worker)
{
    struct pm_work *work = NULL;

    while (!worker->quit && !(work = take_work(&worker->first)) &&
           !(work = take_work(&worker->last)))
        (void)pthread_cond_wait(&worker->wake, &worker->mutex);
    return work;
}

static void *run(void *ctx)
{
    struct pm_worker *worker = ctx;
    const uint64_t one = 1;
    struct pm_work *work;

    (void)pthread_mutex_lock(&worker->mutex);
    while ((work = next_work(worker))) {
        (void)pthread_mutex_unlock(&worker->mutex);
        work->work(work);
        (void)pthread_mutex_lock(&worker->mutex);
        pm_list_append(&worker->finished, &work->link);
        if (!worker->quit)
            (void)!write(worker->watch.fd, &one, sizeof one);
    }
    (void)pthread_mutex_unlock(&worker->mutex);

    return NULL;
}

/* ---- in the loop thread ----------------------------------------------------------------------------- */

static struct pm_work *take_finished(struct pm_worker *worker)
{
    struct pm_work *work;

    (void)pthread_mutex_lock(&worker->mutex);
    work = take_work(&worker->finished);
    (void)pthread_mutex_unlock(&worker->mutex);
    return work;
}

static void on_finished(struct pm_watch *watch, uint32_t events)
{
    struct pm_worker *worker = pm_container_of(watch, struct pm_worker, watch);
    struct pm_work *work;
    uint64_t n;

    (void)events;
    (void)!read(watch->fd, &n, sizeof n);
    while ((work = take_finished(worker)))
        work->done(work);
}

static int start_thread(struct pm_worker *worker, struct poolmgr_error *err)
{
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&worker->thread, NULL, run, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0 ? POOLMGR_OK : pm_fail_errno(err, POOLMGR_E_INTERNAL, r, "no helper thread");
}

static void release(struct pm_worker *worker)
{
    pm_watch_remove(&worker->watch);
    if (worker->watch.fd >= 0)
        (void)close(worker->watch.fd);
    (void)pthread_mutex_destroy(&worker->mutex);
    (void)pthread_cond_destroy(&worker->wake);
    free(worker);
}

int pm_worker_new(struct pm_loop *loop, struct pm_worker **ret, struct poolmgr_error *err)
{
    struct pm_worker *worker = pm_xalloc(sizeof *worker);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r;

    worker->loop = loop;
    worker->watch.fd = fd;
    pm_list_init(&worker->first);
    pm_list_init(&worker->last);
    pm_list_init(&worker->finished);
    (void)pthread_mutex_init(&worker->mutex, NULL);
    (void)pthread_cond_init(&worker->wake, NULL);

    if (fd < 0)
        r = pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "no way back from a helper thread");
    else
        r = pm_watch_add(loop, &worker->watch, fd, EPOLLIN, on_finished);
    if (r == 0)
        r = start_thread(worker, err);
    if (r < 0) {
        release(worker);
        return r;
    }

    *ret = worker;
    return POOLMGR_OK;
}

void pm_worker_add(struct pm_worker *worker, struct pm_work *work, enum pm_work_order order)
{
    (void)pthread_mutex_lock(&worker->mutex);
    pm_list_append(order == PM_WORK_FIRST ? &worker->first : &worker->last, &work->link);
    (void)pthread_cond_signal(&worker->wake);
    (void)pthread_mutex_unlock(&worker->mutex);
}

static void drop_all(struct pm_list *list)
{
    struct pm_work *work;

    while ((work = take_work(list)))
        work->drop(work);
}

bool pm_worker_free(struct pm_worker *worker)
{
    struct timespec until;

    if (!worker)
        return true;

    (void)pthread_mutex_lock(&worker->mutex);
    worker->quit = true;
    (void)pthread_cond_signal(&worker->wake);
    (void)pthread_mutex_unlock(&worker->mutex);

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += QUIT_WAIT_S;
    if (pthread_timedjoin_np(worker->thread, NULL, &until) != 0) {
        (void)pthread_detach(worker->thread);
        pm_watch_remove(&worker->watch);
        return false;
    }

    drop_all(&worker->first);
    drop_all(&worker->last);
    drop_all(&worker->finished);
    release(worker);
    return true;
}
