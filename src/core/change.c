/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools that go (REG-2). A removal is for good: when it is durable the names leave the routes, what runs may finish,
 * and when nothing of the pool is left it is forgotten.
 */
#include <inttypes.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

/* ---- specs ------------------------------------------------------------------------------------------------------ */

static void replace(struct pm_pool_spec **spec, struct pm_pool_spec *by)
{
    struct pm_pool_spec *before = *spec;

    *spec = pm_pool_spec_ref(by);
    pm_pool_spec_unref(before);
}

void pm_pool_set_wanted(struct pm_pool *pool, struct pm_pool_spec *spec)
{
    replace(&pool->wanted, spec);
}

/* More replicas come cold; those beyond the last end when who runs there has finished. */
static void resize(struct pm_pool *pool, unsigned n_places)
{
    for (unsigned i = n_places; i < pool->n_places; i++)
        pm_place_retire(pool->places[i],
                        pm_add_ms(pool->core->now_ms, pool->spec->drain_deadline_ms));
    pool->places = pm_xrealloc(pool->places, n_places * sizeof(struct pm_place *));
    for (unsigned i = pool->n_places; i < n_places; i++)
        pool->places[i] = pm_place_new(pool, i, PM_SERVING, pool->spec);
    pool->n_places = n_places;
}

void pm_pool_set_spec(struct pm_pool *pool, struct pm_pool_spec *spec)
{
    pm_registry_take_names(pool);
    replace(&pool->spec, spec);
    pm_registry_give_names(pool);
    resize(pool, spec->n_replicas > 0 ? (unsigned)spec->n_replicas : 1);
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pm_place_has_process(pool->places[i]))
            continue;
        pm_place_set_spec(pool->places[i], spec);
        pool->places[i]->slots_total = spec->n_slots;
    }
    pm_core_changed(pool->core);
}

/* ---- removal --------------------------------------------------------------------------------------------------- */

void pm_removal_begin(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;
    struct pm_op *before;

    while ((before = pm_pool_op(pool, PM_OP_DRAIN)))
        pm_op_replace(before, op, out);
    while ((before = pm_pool_op(pool, PM_OP_STOP)))
        pm_op_replace(before, op, out);
    pm_operations_end(pool, PM_OP_START, PM_OP_CANCELLED, out);
    pm_reload_call_off(pool, false, out);
    if (pool->removing)
        return; /* joined */

    pool->removing = true;
    pm_registry_take_names(pool);
    pm_core_changed(pool->core);
}

bool pm_removal_is_over(const struct pm_pool *pool)
{
    return pool->removing && !pool->core->leaving && !pm_pool_any(pool, pm_place_has_process);
}

void pm_removal_end(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_core *core = pool->core;

    pm_operations_end(pool, PM_OP_REMOVE, PM_OP_SUCCEEDED, out);
    pm_operations_interrupt(pool, out); /* commands that came when it was too late */
    pm_tell_removed(pool, out);
    pm_operations_part(pool);
    pm_registry_forget(pool);
    pm_core_changed(core);
}

static int check_removal(const struct pm_pool *pool, bool has_drain, struct poolmgr_error *err)
{
    const char *id = pool->spec->id;
    uint64_t n = pm_pool_living_leases(pool);
    int r;

    if (pool->owner == PM_OWNER_FILE)
        return pm_fail(err, POOLMGR_E_OWNED_BY_FILE,
                       "'%s' stands in the configuration file: take it out there", id);
    if (has_drain || n == 0 || pool->removing)
        return POOLMGR_OK;
    r = pm_fail(err, POOLMGR_E_HAS_LEASES, "'%s' serves %" PRIu64 " request%s", id, n,
                pm_plural(n));
    return pm_error_hint(err, r, "drain_ms lets them finish first");
}

int pm_core_remove_pool(struct pm_core *core, const char *pool_id, bool has_drain,
                        uint64_t drain_ms, uint64_t now_ms, struct pm_actions *out,
                        uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = check_removal(pool, has_drain, err);
    if (r < 0)
        return r;

    op = pm_op_begin(pool, PM_OP_REMOVE, pool->removing ? PM_OP_ACTING : PM_OP_TO_COMMIT);
    op->owes_answer = true;
    op->deadline_ms = pm_add_ms(core->now_ms, has_drain ? drain_ms : pool->spec->drain_deadline_ms);
    *ret_op = op->view.id;
    if (pool->removing)
        pm_op_accept(op, out);
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}
