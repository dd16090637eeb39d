/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool's specification as values. The defaults stand here once; the table of settings reads them from a fresh
 * spec, so that the file, the schema and the core cannot disagree.
 */
#include "core/spec.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

bool pm_device_size_named(const struct pm_device_sizes *sizes, const char *device, uint64_t *ret)
{
    for (size_t i = 0; i < sizes->devices.n; i++) {
        if (strcmp(sizes->devices.items[i], device) != 0)
            continue;
        *ret = sizes->bytes[i];
        return true;
    }
    return false;
}

uint64_t pm_device_size(const struct pm_device_sizes *sizes, const char *device)
{
    uint64_t bytes;

    return pm_device_size_named(sizes, device, &bytes) ? bytes : sizes->each;
}

void pm_device_sizes_add(struct pm_device_sizes *sizes, const char *device, uint64_t bytes)
{
    pm_strv_add(&sizes->devices, device);
    sizes->bytes = pm_xrealloc(sizes->bytes, sizes->devices.n * sizeof(*sizes->bytes));
    sizes->bytes[sizes->devices.n - 1] = bytes;
}

bool pm_device_sizes_equal(const struct pm_device_sizes *a, const struct pm_device_sizes *b)
{
    if (a->each != b->each || !pm_strv_equal(&a->devices, &b->devices))
        return false;
    for (size_t i = 0; i < a->devices.n; i++) {
        if (a->bytes[i] != b->bytes[i])
            return false;
    }
    return true;
}

void pm_device_sizes_copy(struct pm_device_sizes *to, const struct pm_device_sizes *from)
{
    to->each = from->each;
    for (size_t i = 0; i < from->devices.n; i++)
        pm_device_sizes_add(to, from->devices.items[i], from->bytes[i]);
}

void pm_device_sizes_fini(struct pm_device_sizes *sizes)
{
    pm_strv_fini(&sizes->devices);
    free(sizes->bytes);
    sizes->bytes = NULL;
}

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
    set_limits(spec);
    set_times(spec);
    return spec;
}

struct pm_pool_spec *pm_pool_spec_ref(struct pm_pool_spec *spec)
{
    spec->refs++;
    return spec;
}

static void pairs_fini(struct pm_pairs *pairs)
{
    pm_strv_fini(&pairs->names);
    pm_strv_fini(&pairs->values);
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
    pm_engine_spec_unref(spec->runs);
    free(spec->external.endpoint);
    free(spec->external.model_name);
    free(spec->external.engine_version);
    free(spec->devices);
    pm_mask_unref(spec->where);
    free(spec->tensor_split);
    pm_strv_fini(&spec->args);
    pairs_fini(&spec->env);
    pm_strv_fini(&spec->mask);
    pm_device_sizes_fini(&spec->vram);
    free(spec->filters);
    free(spec->text);
    free(spec->stored);
    free(spec);
}

/* ---- engines ------------------------------------------------------------------------------------------------- */

struct pm_engine_spec *pm_engine_spec_new(const char *name)
{
    struct pm_engine_spec *engine = pm_xalloc(sizeof(*engine));

    engine->refs = 1;
    engine->name = pm_xstrdup(name);
    return engine;
}

struct pm_engine_spec *pm_engine_spec_ref(struct pm_engine_spec *engine)
{
    engine->refs++;
    return engine;
}

void pm_engine_spec_unref(struct pm_engine_spec *engine)
{
    if (!engine)
        return;

    assert(engine->refs > 0);
    if (--engine->refs > 0)
        return;

    free(engine->name);
    free(engine->mode);
    free(engine->path);
    free(engine->url);
    free(engine->sha256);
    free(engine->image);
    free(engine->runtime);
    free(engine->model_name);
    pm_strv_fini(&engine->args);
    pm_strv_fini(&engine->argv);
    pm_strv_fini(&engine->stop);
    pairs_fini(&engine->env);
    free(engine->ready);
    free(engine);
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_pairs(const struct pm_pairs *a, const struct pm_pairs *b)
{
    return pm_strv_equal(&a->names, &b->names) && pm_strv_equal(&a->values, &b->values);
}

bool pm_engine_spec_equal(const struct pm_engine_spec *a, const struct pm_engine_spec *b)
{
    if (a == b || !a || !b)
        return a == b;

    return same_text(a->name, b->name) && a->family == b->family && same_text(a->mode, b->mode) &&
           same_text(a->path, b->path) && same_text(a->url, b->url) &&
           same_text(a->sha256, b->sha256) && same_text(a->image, b->image) &&
           same_text(a->runtime, b->runtime) && same_text(a->model_name, b->model_name) &&
           pm_strv_equal(&a->args, &b->args) && pm_strv_equal(&a->argv, &b->argv) &&
           pm_strv_equal(&a->stop, &b->stop) && same_pairs(&a->env, &b->env) &&
           a->transport == b->transport && same_text(a->ready, b->ready) && a->cancel == b->cancel;
}

#define MEMBER(name) offsetof(struct pm_pool_spec, name)

static const size_t engine_texts[] = {
    MEMBER(model.main),
    MEMBER(model.mmproj),
    MEMBER(model.draft),
    MEMBER(model.sha256),
    MEMBER(engine),
    MEMBER(tensor_split),
    MEMBER(external.endpoint),
    MEMBER(external.model_name),
};

static const size_t engine_numbers[] = {MEMBER(n_slots), MEMBER(context)};

static const size_t engine_lists[] = {
    MEMBER(model.lora),
    MEMBER(args),
    MEMBER(env.names),
    MEMBER(env.values),
};

static const size_t limit_numbers[] = {
    MEMBER(n_replicas),        MEMBER(idle_ttl_ms),           MEMBER(evict_cost),
    MEMBER(max_queue_wait_ms), MEMBER(queue.n_requests),      MEMBER(queue.bytes),
    MEMBER(queue.max_age_ms),  MEMBER(drain_deadline_ms),     MEMBER(stop_grace_ms),
    MEMBER(start_stall_ms),    MEMBER(start_max_ms),          MEMBER(abandon_after_ms),
    MEMBER(stall_timeout_ms),  MEMBER(probe.every_ms),        MEMBER(probe.fall),
    MEMBER(probe.rise),        MEMBER(probe.sick_restart_ms), MEMBER(backoff.base_ms),
    MEMBER(backoff.cap_ms),    MEMBER(backoff.settle_ms),     MEMBER(backoff.reset_ms),
    MEMBER(backoff.open_at),   MEMBER(cancel_settle_ms),      MEMBER(abandon_max_ms),
};

static const void *at(const struct pm_pool_spec *spec, size_t offset)
{
    return (const char *)spec + offset;
}

static bool same_texts(const struct pm_pool_spec *a, const struct pm_pool_spec *b)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(engine_texts); i++) {
        if (!same_text(*(char *const *)at(a, engine_texts[i]),
                       *(char *const *)at(b, engine_texts[i])))
            return false;
    }
    return true;
}

static bool same_numbers(const struct pm_pool_spec *a, const struct pm_pool_spec *b,
                         const size_t *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (*(const uint64_t *)at(a, members[i]) != *(const uint64_t *)at(b, members[i]))
            return false;
    }
    return true;
}

static bool same_lists(const struct pm_pool_spec *a, const struct pm_pool_spec *b)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(engine_lists); i++) {
        if (!pm_strv_equal(at(a, engine_lists[i]), at(b, engine_lists[i])))
            return false;
    }
    return true;
}

/* Masks are equal as sets, unless what each device gets depends on their order. */
static bool same_devices(const struct pm_pool_spec *a, const struct pm_pool_spec *b)
{
    bool in_order = a->tensor_split && a->tensor_split[0] == '[';

    return same_text(a->devices, b->devices) ||
           (a->where && b->where && !in_order && pm_mask_same(a->where, b->where));
}

static bool same_limits(const struct pm_pool_spec *a, const struct pm_pool_spec *b)
{
    return same_numbers(a, b, limit_numbers, PM_ARRAY_LEN(limit_numbers)) &&
           pm_strv_equal(&a->aliases, &b->aliases) && a->start == b->start &&
           a->pinned == b->pinned && a->restart == b->restart &&
           a->queue.policy == b->queue.policy && a->backoff.jitter == b->backoff.jitter &&
           same_text(a->filters, b->filters) && same_text(a->text, b->text);
}

enum pm_spec_change pm_spec_compare(const struct pm_pool_spec *a, const struct pm_pool_spec *b)
{
    if (a == b)
        return PM_SPEC_SAME;
    if (!pm_engine_spec_equal(a->runs, b->runs) || !same_texts(a, b) || !same_lists(a, b) ||
        !same_devices(a, b) || !pm_device_sizes_equal(&a->vram, &b->vram) ||
        !same_numbers(a, b, engine_numbers, PM_ARRAY_LEN(engine_numbers)))
        return PM_SPEC_ENGINE;
    return same_limits(a, b) ? PM_SPEC_SAME : PM_SPEC_LIMITS;
}

/* ---- identity --------------------------------------------------------------------------------------------------- */

/* FNV-1a; a length goes before each text, so that two of them are not one. */
static void mix(uint64_t *hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < n; i++)
        *hash = (*hash ^ p[i]) * UINT64_C(0x100000001b3);
}

static void mix_number(uint64_t *hash, uint64_t number)
{
    mix(hash, &number, sizeof(number));
}

static void mix_text(uint64_t *hash, const char *text)
{
    mix_number(hash, text ? strlen(text) : UINT64_MAX);
    mix(hash, text, text ? strlen(text) : 0);
}

static void mix_list(uint64_t *hash, const struct pm_strv *list)
{
    mix_number(hash, list->n);
    for (size_t i = 0; i < list->n; i++)
        mix_text(hash, list->items[i]);
}

static void mix_engine(uint64_t *hash, const struct pm_engine_spec *engine)
{
    mix_text(hash, engine->path);
    mix_text(hash, engine->image);
    mix_text(hash, engine->sha256);
    mix_list(hash, &engine->args);
    mix_list(hash, &engine->argv);
    mix_list(hash, &engine->env.names);
    mix_list(hash, &engine->env.values);
}

uint64_t pm_spec_identity(const struct pm_pool_spec *spec)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < PM_ARRAY_LEN(engine_texts); i++)
        mix_text(&hash, *(char *const *)at(spec, engine_texts[i]));
    for (size_t i = 0; i < PM_ARRAY_LEN(engine_numbers); i++)
        mix_number(&hash, *(const uint64_t *)at(spec, engine_numbers[i]));
    for (size_t i = 0; i < PM_ARRAY_LEN(engine_lists); i++)
        mix_list(&hash, at(spec, engine_lists[i]));
    if (spec->runs)
        mix_engine(&hash, spec->runs);
    return hash;
}
