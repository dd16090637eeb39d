/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine took of its devices stands in its log (VRAM-1). The log is read from where this engine began it, a
 * little after it is ready, since its shim writes behind it; on the helper thread, because it is a file. The engine's
 * devices are those of its plan, in the same order: it sees no others.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/buffers.h"
#include "manager/internal.h"
#include "util/cleanup.h"

#define BEHIND_MS 500 /* the log is complete so long after the engine is ready */

struct pm_measure {
    struct pm_manager *manager;
    struct pm_token token;
    struct pm_plan plan;
    char *log_path;
    uint64_t from; /* where this engine's part of the log begins */
    struct pm_timer timer;
};

struct job {
    struct pm_work work;
    struct pm_manager *manager;
    struct pm_token token;
    struct pm_plan plan;
    char *log_path;
    uint64_t from;
    bool known;
    struct pm_buffers buffers;
};

static void read_log(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);

    job->known = pm_buffers_read(job->log_path, job->from, &job->buffers, NULL) == POOLMGR_OK &&
                 job->buffers.knows_weights;
}

static void on_dropped(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);

    free(job->log_path);
    free(job);
}

static void tell(struct job *job, size_t i, enum pm_memory_kind kind, uint64_t bytes)
{
    struct pm_manager *manager = job->manager;

    pm_core_measured(manager->core, job->token, job->plan.devices[i].id, kind, bytes,
                     pm_manager_now(manager), &manager->actions);
}

static void on_read(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);
    struct pm_manager *manager = job->manager;

    for (size_t i = 0; job->known && i < job->plan.n_devices && i < job->buffers.n_devices; i++) {
        const struct pm_buffers_of *of = &job->buffers.devices[i];

        tell(job, i, PM_MEMORY_WEIGHTS, of->weights_bytes);
        tell(job, i, PM_MEMORY_KV, of->kv_bytes + of->recurrent_bytes);
        tell(job, i, PM_MEMORY_COMPUTE, of->compute_bytes);
    }
    on_dropped(work);
    pm_manager_flush(manager);
}

static void on_timer(struct pm_timer *timer)
{
    struct pm_measure *measure = pm_container_of(timer, struct pm_measure, timer);
    struct job *job = pm_xalloc(sizeof *job);

    job->work.work = read_log;
    job->work.done = on_read;
    job->work.drop = on_dropped;
    job->manager = measure->manager;
    job->token = measure->token;
    job->plan = measure->plan;
    job->log_path = pm_xstrdup(measure->log_path);
    job->from = measure->from;
    pm_worker_add(measure->manager->worker, &job->work, PM_WORK_LAST);
}

struct pm_log_mark pm_log_mark(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return (struct pm_log_mark){0};
    return (struct pm_log_mark){.from = (uint64_t)status.st_size, .inode = status.st_ino};
}

/* Where there was none yet, it has not been rotated if there is none before it. */
bool pm_log_mark_holds(const struct pm_log_mark *mark, const char *path)
{
    pm_auto_free char *former = pm_xasprintf("%s.1", path);
    struct pm_log_mark now = pm_log_mark(path);

    if (now.inode == 0 || now.from < mark->from)
        return false;
    return mark->inode != 0 ? now.inode == mark->inode : access(former, F_OK) < 0;
}

struct pm_measure *pm_measure_new(struct pm_manager *manager, struct pm_token token,
                                  const struct pm_plan *plan, const char *log_path, uint64_t from)
{
    struct pm_measure *measure = pm_xalloc(sizeof *measure);

    measure->manager = manager;
    measure->token = token;
    measure->plan = *plan;
    measure->log_path = pm_xstrdup(log_path);
    measure->from = from;
    measure->timer.fn = on_timer;
    return measure;
}

const char *pm_measure_log(const struct pm_measure *measure, uint64_t *ret_from)
{
    *ret_from = measure->from;
    return measure->log_path;
}

void pm_measure_ready(struct pm_measure *measure)
{
    if (measure)
        pm_timer_set(measure->manager->loop, &measure->timer,
                     pm_manager_now(measure->manager) + BEHIND_MS);
}

void pm_measure_free(struct pm_measure *measure)
{
    if (!measure)
        return;

    pm_timer_clear(&measure->timer);
    free(measure->log_path);
    free(measure);
}
