/* SPDX-License-Identifier: Apache-2.0 */
/* A model's header is read on the helper thread: a disk that sleeps holds up an answer, and nothing that runs. */
#include <stdlib.h>

#include "engine/engine.h"
#include "manager/internal.h"
#include "util/cleanup.h"

struct pm_reading {
    struct pm_work work;
    void (*fn)(void *ctx, struct pm_model *model,
               const struct poolmgr_error *error); /* NULL: freed */
    void *ctx;
    char *ref;
    struct pm_model *model;
    int result;
    struct poolmgr_error error;
};

static void release(struct pm_reading *reading)
{
    pm_model_unref(reading->model);
    free(reading->ref);
    free(reading);
}

static void read_it(struct pm_work *work)
{
    struct pm_reading *reading = pm_container_of(work, struct pm_reading, work);

    reading->result = pm_engine_read_model(reading->ref, &reading->model, &reading->error);
}

static void on_dropped(struct pm_work *work)
{
    release(pm_container_of(work, struct pm_reading, work));
}

static void on_read(struct pm_work *work)
{
    struct pm_reading *reading = pm_container_of(work, struct pm_reading, work);

    if (reading->fn)
        reading->fn(reading->ctx, reading->model, reading->result < 0 ? &reading->error : NULL);
    release(reading);
}

struct pm_reading *pm_manager_read_model(struct pm_manager *manager, const char *ref,
                                         void (*fn)(void *ctx, struct pm_model *model,
                                                    const struct poolmgr_error *error),
                                         void *ctx)
{
    struct pm_reading *reading = pm_xalloc(sizeof *reading);

    reading->work.work = read_it;
    reading->work.done = on_read;
    reading->work.drop = on_dropped;
    reading->fn = fn;
    reading->ctx = ctx;
    reading->ref = pm_xstrdup(ref);
    pm_worker_add(manager->worker, &reading->work, PM_WORK_LAST);
    return reading;
}

void pm_reading_cancel(struct pm_reading *reading)
{
    if (reading)
        reading->fn = NULL;
}
