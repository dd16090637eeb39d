/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model files are looked at on the one helper thread: a disk that sleeps, or a network folder that hangs, holds up
 * the start of its own pool and nothing else. The thread never calls back; it posts. What was found good once is
 * trusted while the signature of its files (device, inode, size, times) stays, so that only the first start reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "manager/internal.h"
#include "util/buf.h"
#include "util/cleanup.h"

#define TRUSTED_MAX 4096 /* signatures kept; then all are forgotten */
#define QUIT_WAIT_S 2    /* for a look under way when the daemon ends */

struct job {
    struct pm_link link;
    struct pm_task task;
    struct pm_stager *stager;
    struct pm_token token;
    struct pm_pool_spec *spec;
    const struct pm_engine_spec *engine;
    char *signature;
    int result;
    uint64_t size_bytes;
    struct poolmgr_error error;
};

struct pm_stager {
    struct pm_manager *manager;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct pm_list jobs;   /* under the mutex */
    bool quit;             /* under the mutex */
    unsigned n_posted;     /* loop thread: jobs that are not back yet */
    struct pm_map trusted; /* of the thread alone: signature → size */
};

static void add_file(struct pm_buf *out, const char *ref)
{
    const char *path = ref && pm_str_starts(ref, "file:") ? ref + strlen("file:") : ref;
    struct stat status;

    if (!path)
        return;

    if (stat(path, &status) < 0) {
        pm_buf_addf(out, "%s:missing;", path);
        return;
    }

    pm_buf_addf(out, "%s:%ju:%ju:%jd:%jd.%09ld:%jd.%09ld;", path, (uintmax_t)status.st_dev,
                (uintmax_t)status.st_ino, (intmax_t)status.st_size, (intmax_t)status.st_mtim.tv_sec,
                status.st_mtim.tv_nsec, (intmax_t)status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

char *pm_model_signature(const struct pm_pool_spec *spec)
{
    pm_auto_buf struct pm_buf out = {0};
    size_t i;

    add_file(&out, spec->model.main);
    add_file(&out, spec->model.mmproj);
    add_file(&out, spec->model.draft);
    for (i = 0; i < spec->model.lora.n; i++)
        add_file(&out, spec->model.lora.items[i]);

    return pm_xstrdup(pm_buf_text(&out));
}

/* ---- in the helper thread --------------------------------------------------------------------------- */

static void look(struct pm_stager *stager, struct job *job)
{
    pm_auto_free char *key = NULL;
    void *known;

    job->signature = pm_model_signature(job->spec);
    key = pm_xasprintf("%d;%s", (int)job->engine->family, job->signature);
    known = pm_map_get(&stager->trusted, key);
    if (known) {
        job->size_bytes = (uint64_t)(uintptr_t)known - 1;
        return;
    }

    job->result = pm_engine_check_model(job->engine, job->spec, &job->size_bytes, &job->error);
    if (job->result < 0)
        return;

    if (stager->trusted.n >= TRUSTED_MAX)
        pm_map_fini(&stager->trusted);
    (void)pm_map_set(&stager->trusted, key, (void *)(uintptr_t)(job->size_bytes + 1));
}

static struct job *next_job(struct pm_stager *stager)
{
    struct pm_link *link = NULL;

    (void)pthread_mutex_lock(&stager->mutex);
    while (!stager->quit && !(link = pm_list_first(&stager->jobs)))
        (void)pthread_cond_wait(&stager->wake, &stager->mutex);
    if (link)
        pm_list_remove(link);
    (void)pthread_mutex_unlock(&stager->mutex);

    return link ? pm_container_of(link, struct job, link) : NULL;
}

static void *run(void *ctx)
{
    struct pm_stager *stager = ctx;
    struct job *job;

    while ((job = next_job(stager))) {
        look(stager, job);
        pm_loop_post(stager->manager->loop, &job->task);
    }

    return NULL;
}

/* ---- in the loop thread ----------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
    pm_pool_spec_unref(job->spec);
    free(job->signature);
    free(job);
}

static void fill_failure(const struct job *job, struct pm_failure *failure)
{
    failure->class = PM_CLASS_STAGING;
    failure->code = job->result == POOLMGR_E_INTERNAL ? 0 : job->result;
    failure->permanent = job->result != POOLMGR_E_INTERNAL;
    (void)pm_str_copy(failure->text, sizeof failure->text, job->error.message);
}

static void on_looked(struct pm_task *task)
{
    struct job *job = pm_container_of(task, struct job, task);
    struct pm_manager *manager = job->stager->manager;
    struct pm_failure failure = {0};

    job->stager->n_posted--;
    if (job->result < 0) {
        fill_failure(job, &failure);
        if (failure.permanent)
            pm_file_watches_add(manager->file_watches, job->spec, job->signature);
    }

    pm_core_staged(manager->core, job->token, job->result < 0 ? &failure : NULL, job->size_bytes,
                   pm_manager_now(manager), &manager->actions);
    job_free(job);
    pm_manager_flush(manager);
}

void pm_stager_begin(struct pm_stager *stager, struct pm_token token, struct pm_pool_spec *spec)
{
    struct job *job = pm_xalloc(sizeof *job);

    job->task.fn = on_looked;
    job->stager = stager;
    job->token = token;
    job->spec = pm_pool_spec_ref(spec);
    job->engine = pm_config_engine(stager->manager->options.config, spec->engine);
    stager->n_posted++;

    (void)pthread_mutex_lock(&stager->mutex);
    pm_list_append(&stager->jobs, &job->link);
    (void)pthread_cond_signal(&stager->wake);
    (void)pthread_mutex_unlock(&stager->mutex);
}

int pm_stager_new(struct pm_manager *manager, struct pm_stager **ret, struct poolmgr_error *err)
{
    struct pm_stager *stager = pm_xalloc(sizeof *stager);
    sigset_t all, before;
    int r;

    stager->manager = manager;
    pm_list_init(&stager->jobs);
    (void)pthread_mutex_init(&stager->mutex, NULL);
    (void)pthread_cond_init(&stager->wake, NULL);

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&stager->thread, NULL, run, stager);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        free(stager);
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, r, "no thread for model files");
    }

    *ret = stager;
    return POOLMGR_OK;
}

/* The thread may hang in a disk that does not answer: it is waited for a little, then left to the process's end,
 * with what it works on. */
void pm_stager_free(struct pm_stager *stager)
{
    struct timespec until;
    struct pm_link *link;

    if (!stager)
        return;

    (void)pthread_mutex_lock(&stager->mutex);
    stager->quit = true;
    (void)pthread_cond_signal(&stager->wake);
    (void)pthread_mutex_unlock(&stager->mutex);

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += QUIT_WAIT_S;
    if (pthread_timedjoin_np(stager->thread, NULL, &until) != 0)
        return;

    while ((link = pm_list_first(&stager->jobs))) {
        pm_list_remove(link);
        job_free(pm_container_of(link, struct job, link));
    }

    pm_map_fini(&stager->trusted);
    (void)pthread_mutex_destroy(&stager->mutex);
    (void)pthread_cond_destroy(&stager->wake);
    free(stager);
}
