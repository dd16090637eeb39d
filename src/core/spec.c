/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool's specification as values. The defaults stand here once; the table of settings reads them from a fresh
 * spec, so that the file, the schema and the core cannot disagree.
 */
#include "core/spec.h"

#include <assert.h>
#include <stdlib.h>

static void set_limits(struct pm_pool_spec *spec)
{
    spec->n_replicas = 1;
    spec->n_slots = 4;
    spec->context = 8192;
    spec->evict_cost = 1;
    spec->queue.n_requests = 1024;
    spec->queue.bytes = UINT64_C(256) * 1024 * 1024;
    spec->queue.policy = PM_QUEUE_REJECT;
    spec->queue.max_age_ms = 10 * 60 * 1000;
    spec->probe.every_ms = 2000;
    spec->probe.fall = 3;
    spec->probe.rise = 2;
    spec->probe.sick_restart_ms = 60 * 1000;
}

static void set_times(struct pm_pool_spec *spec)
{
    spec->idle_ttl_ms = 15 * 60 * 1000;
    spec->drain_deadline_ms = 5 * 60 * 1000;
    spec->stop_grace_ms = 10 * 1000;
    spec->start_stall_ms = 2 * 60 * 1000;
    spec->start_max_ms = 30 * 60 * 1000;
    spec->abandon_after_ms = 60 * 1000;
    spec->stall_timeout_ms = 2 * 60 * 1000;
    spec->cancel_settle_ms = 500;
    spec->abandon_max_ms = 10 * 60 * 1000;
    spec->backoff.base_ms = 1000;
    spec->backoff.cap_ms = 5 * 60 * 1000;
    spec->backoff.jitter = 0.5;
    spec->backoff.settle_ms = 60 * 1000;
    spec->backoff.reset_ms = 5 * 60 * 1000;
    spec->backoff.open_at = 5;
}

struct pm_pool_spec *pm_pool_spec_new(const char *id)
{
    struct pm_pool_spec *spec = pm_xalloc(sizeof(*spec));

    spec->refs = 1;
    (void)pm_str_copy(spec->id, sizeof(spec->id), id);
    spec->engine = pm_xstrdup("llama");
    spec->habits.ours = true;
    spec->devices = pm_xstrdup("auto");
    spec->tensor_split = pm_xstrdup("none");
    spec->vram = pm_xstrdup("0");
    set_limits(spec);
    set_times(spec);
    return spec;
}

struct pm_pool_spec *pm_pool_spec_ref(struct pm_pool_spec *spec)
{
    spec->refs++;
    return spec;
}

static void model_fini(struct pm_model_spec *model)
{
    free(model->main);
    free(model->mmproj);
    free(model->draft);
    pm_strv_fini(&model->lora);
    free(model->sha256);
}

void pm_pool_spec_unref(struct pm_pool_spec *spec)
{
    if (!spec)
        return;

    assert(spec->refs > 0);
    if (--spec->refs > 0)
        return;

    pm_strv_fini(&spec->aliases);
    model_fini(&spec->model);
    free(spec->engine);
    free(spec->external.endpoint);
    free(spec->external.model_name);
    free(spec->external.engine_version);
    free(spec->devices);
    free(spec->tensor_split);
    pm_strv_fini(&spec->args);
    pm_strv_fini(&spec->env.names);
    pm_strv_fini(&spec->env.values);
    free(spec->vram);
    free(spec->filters);
    free(spec->text);
    free(spec);
}
