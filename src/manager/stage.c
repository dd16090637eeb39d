/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model files are looked at on the one helper thread: a disk that sleeps, or a network folder that hangs, holds up
 * starts and nothing that runs. What was found good once is
 * trusted while the signature of its files (device, inode, size, times) stays, so that only the first start reads.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/internal.h"
#include "util/buf.h"
#include "util/cleanup.h"

#define TRUSTED_MAX 4096 /* signatures kept; then all are forgotten */

struct job {
    struct pm_work work;
    struct pm_stager *stager;
    struct pm_token token;
    struct pm_pool_spec *spec;
    char *signature, *key;
    int result;
    struct pm_model *model; /* NULL: trusted, or its files are not read here */
    uint64_t size_bytes;
    struct poolmgr_error error;
};

struct pm_stager {
    struct pm_manager *manager;
    struct pm_map trusted; /* of the helper thread alone: signature → size */
    struct pm_map models;  /* of the loop thread alone: signature → struct known */
    struct pm_list known;
};

/* What was read of a model that is trusted. */
struct known {
    struct pm_link link;
    struct pm_model *model;
};

static void add_path(struct pm_buf *out, const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0) {
        pm_buf_addf(out, "%s:missing;", path);
        return;
    }

    pm_buf_addf(out, "%s:%ju:%ju:%jd:%jd.%09ld:%jd.%09ld;", path, (uintmax_t)status.st_dev,
                (uintmax_t)status.st_ino, (intmax_t)status.st_size, (intmax_t)status.st_mtim.tv_sec,
                status.st_mtim.tv_nsec, (intmax_t)status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

static void add_file(struct pm_buf *out, const char *ref)
{
    const char *path = ref && pm_str_starts(ref, "file:") ? ref + strlen("file:") : ref;
    char part[PATH_MAX];

    if (!path)
        return;
    for (unsigned i = 0; pm_engine_shard(path, i, part, sizeof part); i++)
        add_path(out, part);
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

static void look(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);
    struct pm_stager *stager = job->stager;
    void *known;

    job->signature = pm_model_signature(job->spec);
    job->key = pm_xasprintf("%d;%s", (int)job->spec->runs->family, job->signature);
    known = pm_map_get(&stager->trusted, job->key);
    if (known) {
        job->size_bytes = (uint64_t)(uintptr_t)known - 1;
        return;
    }

    job->result = pm_engine_check_model(job->spec->runs, job->spec, &job->model, &job->size_bytes,
                                        &job->error);
    if (job->result < 0)
        return;

    if (stager->trusted.n >= TRUSTED_MAX)
        pm_map_fini(&stager->trusted);
    (void)pm_map_set(&stager->trusted, job->key, (void *)(uintptr_t)(job->size_bytes + 1));
}

/* ---- in the loop thread ----------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
    pm_pool_spec_unref(job->spec);
    pm_model_unref(job->model);
    free(job->signature);
    free(job->key);
    free(job);
}

static void forget_models(struct pm_stager *stager)
{
    while (!pm_list_empty(&stager->known)) {
        struct known *known = pm_container_of(pm_list_first(&stager->known), struct known, link);

        pm_list_remove(&known->link);
        pm_model_unref(known->model);
        free(known);
    }
    pm_map_fini(&stager->models);
}

/* What was read now, or when its files were read. Both threads forget what they trust; then it is read again. */
static struct pm_model *model_of(const struct job *job)
{
    struct pm_stager *stager = job->stager;
    struct known *known = pm_map_get(&stager->models, job->key);

    if (!job->model)
        return known ? known->model : NULL;
    if (!known && stager->models.n >= 2 * TRUSTED_MAX)
        forget_models(stager);
    if (!known) {
        known = pm_xalloc(sizeof *known);
        pm_list_append(&stager->known, &known->link);
        (void)pm_map_set(&stager->models, job->key, known);
    }
    pm_model_unref(known->model);
    known->model = pm_model_ref(job->model);
    return known->model;
}

static void fill_failure(const struct job *job, struct pm_failure *failure)
{
    failure->class = PM_CLASS_STAGING;
    failure->code = job->result == POOLMGR_E_INTERNAL ? 0 : job->result;
    failure->permanent = job->result != POOLMGR_E_INTERNAL;
    (void)pm_str_copy(failure->text, sizeof failure->text, job->error.message);
}

static void on_dropped(struct pm_work *work)
{
    job_free(pm_container_of(work, struct job, work));
}

static void on_looked(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);
    struct pm_manager *manager = job->stager->manager;
    struct pm_failure failure = {0};

    if (job->result < 0) {
        fill_failure(job, &failure);
        if (failure.permanent)
            pm_file_watches_add(manager->file_watches, job->spec, job->signature);
    }

    pm_cpu_look(manager);
    pm_core_program(
        manager->core, job->token,
        pm_programs_traits(manager->programs, job->spec->runs).few_outputs); /* looked at before */
    pm_core_staged(manager->core, job->token, job->result < 0 ? &failure : NULL,
                   job->result < 0 ? NULL : model_of(job), job->size_bytes, pm_manager_now(manager),
                   &manager->actions);
    job_free(job);
    pm_manager_flush(manager);
}

void pm_stager_begin(struct pm_stager *stager, struct pm_token token, struct pm_pool_spec *spec)
{
    struct job *job = pm_xalloc(sizeof *job);

    pm_programs_look(stager->manager->programs, spec->runs); /* stands before it in the line */
    job->work.work = look;
    job->work.done = on_looked;
    job->work.drop = on_dropped;
    job->stager = stager;
    job->token = token;
    job->spec = pm_pool_spec_ref(spec);
    pm_worker_add(stager->manager->worker, &job->work, PM_WORK_LAST);
}

struct pm_stager *pm_stager_new(struct pm_manager *manager)
{
    struct pm_stager *stager = pm_xalloc(sizeof *stager);

    stager->manager = manager;
    pm_list_init(&stager->known);
    return stager;
}

void pm_stager_free(struct pm_stager *stager)
{
    if (!stager)
        return;

    pm_map_fini(&stager->trusted);
    forget_models(stager);
    free(stager);
}
