/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to run a spec: which devices it may use (reach.c), what it takes of them, and how it may lie on them (lay.c). All
 * of this is worked out once for a spec, and again when the devices, the model or what was measured changed. Only a split
 * depends on what is free: the last one is kept with what was free then.
 */
#include "core/ways.h"

#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define KEPT 64 /* of specs that are in use no more, before they are swept out */

/* ---- whether it needs any ----------------------------------------------------------------------------- */

static bool is_cpu(const struct pm_pool_spec *spec)
{
    return strcmp(spec->devices, "cpu") == 0 || (spec->where && pm_mask_is_cpu(spec->where));
}

bool pm_ways_on_cpu(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    if (!spec->habits.ours)
        return false;
    return is_cpu(spec) ||
           (core->listed && !pm_core_has_gpus(core) && core->gpus == PM_GPUS_NONE && !spec->where);
}

const char *pm_ways_why_cpu(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    return pm_ways_on_cpu(core, spec) && !is_cpu(spec)
               ? ", on the CPU: there is no GPU in this machine"
               : "";
}

bool pm_ways_needed(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    if (!spec->habits.ours)
        return false;
    if (pm_ways_on_cpu(core, spec))
        return pm_cpu_weighs(core, spec);
    if (pm_core_has_gpus(core) || pm_device_awaited(core))
        return true;
    return core->listed && (core->gpus == PM_GPUS_BROKEN || spec->where);
}

bool pm_ways_awaited(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    return pm_device_awaited(core) && !pm_ways_on_cpu(core, spec);
}

/* ---- what was worked out -------------------------------------------------------------------------------- */

struct pm_estimate_ask pm_ways_ask(const struct pm_core *core, const struct pm_ways *ways)
{
    struct pm_estimate_ask ask = pm_spec_ask(ways->spec);

    if (ways->model && ways->size_bytes > ways->model->file_bytes)
        ask.mmproj_bytes = ways->size_bytes - ways->model->file_bytes; /* projector, draft … */
    if (ways->few_outputs)
        ask.n_outputs = ask.n_slots > 0 ? ask.n_slots : 1;
    pm_core_measures(core, ways->spec, &ask.measured);
    return ask;
}

static void make_estimate(const struct pm_core *core, struct pm_ways *ways)
{
    struct pm_estimate_ask ask = pm_ways_ask(core, ways);
    const struct pm_model *model = ways->model;

    if (!model || model->no_estimate[0] != '\0')
        return;
    ways->estimated = pm_estimate_make(model, &ask, &ways->estimate, NULL) == POOLMGR_OK;
}

static void work_out(const struct pm_core *core, struct pm_ways *ways)
{
    pm_ways_resolve(core, ways);
    if (ways->error.code != 0)
        return;
    make_estimate(core, ways);
    pm_ways_lay(core, ways);
}

static void clear(struct pm_ways *ways)
{
    free(ways->accounts);
    free(ways->items);
    if (ways->estimated)
        pm_estimate_fini(&ways->estimate);
    ways->accounts = NULL;
    ways->items = NULL;
    ways->n_accounts = ways->n = ways->n_split = 0;
    ways->estimated = false;
    memset(&ways->error, 0, sizeof(ways->error));
    for (size_t i = 0; i < PM_SPLIT_USES; i++)
        ways->memos[i].known = false;
}

static void forget(struct pm_core *core, struct pm_ways *ways)
{
    clear(ways);
    (void)pm_map_remove_u64(&core->ways, (uint64_t)(uintptr_t)ways->spec);
    pm_list_remove(&ways->link);
    pm_model_unref(ways->model);
    pm_pool_spec_unref(ways->spec);
    free(ways);
}

/* Specs that nobody else has. */
static void sweep(struct pm_core *core)
{
    struct pm_link *link, *next;

    for (link = core->all_ways.head.next; link != &core->all_ways.head; link = next) {
        struct pm_ways *ways = pm_container_of(link, struct pm_ways, link);

        next = link->next;
        if (ways->spec->refs == 1)
            forget(core, ways);
    }
}

static struct pm_ways *find(struct pm_core *core, const struct pm_pool_spec *spec)
{
    uint64_t key = (uint64_t)(uintptr_t)spec;
    struct pm_ways *ways = pm_map_get_u64(&core->ways, key);

    if (ways)
        return ways;
    if (core->ways.n > 4 * core->n_pools + KEPT)
        sweep(core);
    ways = pm_xalloc(sizeof(*ways));
    ways->spec = pm_pool_spec_ref((struct pm_pool_spec *)spec);
    pm_list_append(&core->all_ways, &ways->link);
    (void)pm_map_set_u64(&core->ways, key, ways);
    return ways;
}

const struct pm_ways *pm_ways_of(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    struct pm_ways *ways = find((struct pm_core *)core, spec); /* what is kept is no decision */

    if (ways->version != core->ways_version) {
        clear(ways);
        ways->version = core->ways_version;
        work_out(core, ways);
    }
    return ways;
}

bool pm_ways_estimated(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    return pm_ways_needed(core, spec) && !pm_spec_declares(spec) &&
           pm_ways_of(core, spec)->estimated;
}

void pm_ways_know(struct pm_core *core, const struct pm_pool_spec *spec, struct pm_model *model,
                  uint64_t size_bytes)
{
    struct pm_ways *ways = find(core, spec);

    if (ways->size_bytes == size_bytes && (!model || ways->model == model))
        return; /* as it was known before */
    pm_model_unref(ways->model);
    ways->model = pm_model_ref(model);
    ways->size_bytes = size_bytes;
    ways->version = 0;
}

void pm_ways_know_program(struct pm_core *core, const struct pm_pool_spec *spec, bool few_outputs)
{
    struct pm_ways *ways = find(core, spec);

    if (ways->few_outputs == few_outputs)
        return;
    ways->few_outputs = few_outputs;
    ways->version = 0;
}

void pm_ways_inherit(struct pm_core *core, const struct pm_pool_spec *from,
                     const struct pm_pool_spec *to)
{
    const struct pm_ways *known = pm_map_get_u64(&core->ways, (uint64_t)(uintptr_t)from);

    if (!known || !known->model || from == to || pm_spec_compare(from, to) == PM_SPEC_ENGINE)
        return;
    pm_ways_know_program(core, to, known->few_outputs);
    pm_ways_know(core, to, known->model, known->size_bytes);
}

void pm_ways_changed(struct pm_core *core)
{
    core->ways_version++;
}

void pm_ways_fini(struct pm_core *core)
{
    while (!pm_list_empty(&core->all_ways))
        forget(core, pm_container_of(pm_list_first(&core->all_ways), struct pm_ways, link));
    pm_map_fini(&core->ways);
}
