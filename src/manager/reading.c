/* SPDX-License-Identifier: Apache-2.0 */
/* A model's header is read on the helper thread: a disk that sleeps holds up an answer, and nothing that runs. */
#include <stdlib.h>

#include "engine/engine.h"
#include "manager/internal.h"
#include "util/cleanup.h"

struct pm_reading {
    struct pm_work work;
    pm_reading_fn *fn; /* NULL: nobody waits any more */
    void *ctx;
    struct pm_pool_spec *spec;
    struct pm_model *model;
    uint64_t size_bytes;
    int result;
    struct poolmgr_error error;
};

static void release(struct pm_reading *reading)
{
    pm_model_unref(reading->model);
    pm_pool_spec_unref(reading->spec);
    free(reading);
}

static void read_it(struct pm_work *work)
{
    struct pm_reading *reading = pm_container_of(work, struct pm_reading, work);

    reading->result = pm_engine_check_model(reading->spec->runs, reading->spec, &reading->model,
                                            &reading->size_bytes, &reading->error);
}

static void on_dropped(struct pm_work *work)
{
    release(pm_container_of(work, struct pm_reading, work));
}

static void on_read(struct pm_work *work)
{
    struct pm_reading *reading = pm_container_of(work, struct pm_reading, work);

    if (reading->fn)
        reading->fn(reading->ctx, reading->model, reading->size_bytes,
                    reading->result < 0 ? &reading->error : NULL);
    release(reading);
}

struct pm_reading *pm_manager_read_model(struct pm_manager *manager, struct pm_pool_spec *spec,
                                         pm_reading_fn *fn, void *ctx)
{
    struct pm_reading *reading = pm_xalloc(sizeof *reading);

    reading->work.work = read_it;
    reading->work.done = on_read;
    reading->work.drop = on_dropped;
    reading->fn = fn;
    reading->ctx = ctx;
    reading->spec = pm_pool_spec_ref(spec);
    pm_worker_add(manager->worker, &reading->work, PM_WORK_LAST);
    return reading;
}

void pm_reading_cancel(struct pm_reading *reading)
{
    if (reading)
        reading->fn = NULL;
}
