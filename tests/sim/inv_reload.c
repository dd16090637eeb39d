/* SPDX-License-Identifier: Apache-2.0 */
/* RELOAD: what a pool is, and that it is nothing else before its time. */
#include "invariants.h"

/* The core shows another spec than before. */
void inv19_spec(struct sim *sim, int index)
{
    const struct book_pool *pool = &sim->books.pools[index];

    HOLDS(sim, 19, index, "the spec is the last that succeeded",
          pool->changed_in_step &&
              (pool->view.spec == pool->asked || pool->view.spec == pool->declared),
          "it is number %s, not %s", pool->view.spec->text, pool->spec->text);
}

void inv19_succeeds(struct sim *sim, int index)
{
    HOLDS(sim, 19, index, "a reload whose model is not there does not succeed",
          !sim->books.pools[index].not_staged, "%s", sim->books.pools[index].spec->id);
}

void inv19_at(struct sim *sim, const struct pm_action *action)
{
    int index = book_pool_of(sim, action->spec);
    const struct book_pool *pool = &sim->books.pools[index];

    if (book_is_pools(sim, index, action->spec))
        return;
    if (action->kind == PM_ACT_STAGE)
        HOLDS(sim, 19, index, "a reload stages once", !pool->staging_next, "%s", "twice");
    if (action->kind != PM_ACT_SPAWN)
        return;
    HOLDS(sim, 19, index, "only a reload starts another spec", pool->reloaded, "%s",
          action->spec->text);
    for (int i = 0; i < sim->books.n_live; i++) {
        const struct book_engine *engine = &sim->books.engines[sim->books.live[i]];

        if (engine->pool == index && engine->replica == action->replica)
            HOLDS(sim, 19, index, "a replica has at most one next",
                  engine->ready || engine->signalled || !engine->is_next, "%s", action->spec->text);
    }
}

void inv19_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        if (pool->not_staged_in_step && !pool->changed_in_step)
            HOLDS(sim, 19, i, "a reload whose model is not there changes nothing",
                  pool->view.active_leases == pool->before.active_leases &&
                      pool->view.spec == pool->before.spec,
                  "%s", pool->spec->id);
    }
}
