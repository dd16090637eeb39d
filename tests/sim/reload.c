/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that shall be something else: by reload, by PUT, by the file. */
#include <stdlib.h>

#include "invariants.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* From here on places come and go, and nobody is cut before one of these deadlines. */
static void expect_reload(struct sim *sim, int index, const struct pm_pool_spec *spec,
                          uint64_t deadline_ms)
{
    struct book_pool *pool = &sim->books.pools[index];
    uint64_t first_ms = earlier(pool->spec->drain_deadline_ms, spec->drain_deadline_ms);

    pool->reloaded = true;
    pool->cut_ms = earlier(pool->cut_ms, pm_add_ms(sim->now_ms, earlier(first_ms, deadline_ms)));
}

void sim_reload(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct pm_reload reload = {
        .has_deadline = !sim_one_in(&sim->random, 4),
        .deadline_ms = SIM_PICK(&sim->random, 0, 2000, 30000),
        .on_deadline = (enum pm_on_deadline)sim_below(&sim->random, PM_ON_DEADLINE_COUNT)};
    struct book_op op = {.kind = PM_OP_RELOAD, .pool = index};
    struct poolmgr_error err = {0};
    uint64_t id = 0;

    reload.spec = sim_spec(sim, index, pool->spec);
    if (!reload.spec)
        return;
    op.spec = reload.spec;
    sim_input(sim, index, "an operator reloads %s by %" PRIu64 " ms or %s", pool->spec->id,
              reload.has_deadline ? reload.deadline_ms : pool->spec->drain_deadline_ms,
              pm_on_deadline_name(reload.on_deadline));
    if (pm_core_reload(sim->core, pool->spec->id, &reload, sim->now_ms, &sim->out, &id, &err) ==
        0) {
        books_command(sim, id, &op);
        pool->asked = reload.spec;
        expect_reload(sim, index, reload.spec,
                      reload.on_deadline == PM_DEADLINE_ABORT ? PM_NEVER
                      : reload.has_deadline                   ? reload.deadline_ms
                                                              : PM_NEVER);
    }
    sim_taken(sim);
}

void sim_put(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct pm_pool_spec *spec = sim_spec(sim, index, pool->spec);
    struct book_op op = {.kind = PM_OP_PUT, .pool = index, .spec = spec};
    struct poolmgr_error err = {0};
    struct pm_operation view = {0};
    uint64_t id = 0;
    int r;

    if (!spec)
        return;
    sim_input(sim, index, "an operator puts %s", spec->id);
    r = pm_core_put_pool(sim->core, spec, sim->now_ms, &sim->out, &id, &err);
    HOLDS(sim, 2, index, "the file's pools are changed by the file only",
          pool->owner == PM_OWNER_API || r < 0, "op-%" PRIu64, id);
    if (r == 0) {
        (void)pm_core_operation(sim->core, id, &view);
        op.kind = view.kind;
        books_command(sim, id, &op);
        pool->asked = spec;
        if (pool->there) {
            pool->declared = spec;
            if (view.kind == PM_OP_RELOAD)
                expect_reload(sim, index, spec, PM_NEVER);
        }
    }
    sim_taken(sim);
}

/* Twice the same pool: the whole file is refused. */
static void refuse_file(struct sim *sim, int index)
{
    struct pm_pool_spec *twice[2] = {sim->books.pools[index].declared,
                                     sim->books.pools[index].declared};
    struct poolmgr_error err = {0};
    uint64_t id = 0;

    sim_input(sim, SIM_NOBODY, "a file with a mistake is applied");
    HOLDS(sim, 20, index, "a file with a mistake is refused",
          pm_core_apply_file(sim->core, twice, 2, sim->now_ms, &sim->out, &id, &err) < 0, "%s",
          "it is not");
    HOLDS(sim, 20, index, "a config reload with an error changes nothing",
          sim->out.n == 0 && pm_core_snapshot_version(sim->core) == sim->books.version,
          "%zu actions", sim->out.n);
    pm_actions_clear(&sim->out);
}

static void note_file(struct sim *sim, int index, struct pm_pool_spec *spec)
{
    struct book_pool *pool = &sim->books.pools[index];

    if (spec == pool->declared) {
        pool->untouched_in_step = true;
        return;
    }
    if (pm_spec_compare(pool->spec, spec) == PM_SPEC_ENGINE || pool->reloaded)
        expect_reload(sim, index, spec, PM_NEVER);
    pool->declared = pool->asked = spec;
    pool->changed_in_step = true;
}

/* The file changes some of its pools, or none. */
void sim_apply_file(struct sim *sim)
{
    struct pm_pool_spec *specs[SIM_POOLS];
    struct book_op op = {.kind = PM_OP_CONFIG_RELOAD};
    struct poolmgr_error err = {0};
    int of[SIM_POOLS];
    uint64_t id = 0;
    size_t n = 0;

    EACH_POOL (sim, i) {
        if (sim->books.pools[i].owner != PM_OWNER_FILE)
            continue;
        specs[n] = sim_one_in(&sim->random, 2) ? sim_spec(sim, i, sim->books.pools[i].spec) : NULL;
        if (!specs[n])
            specs[n] = sim->books.pools[i].declared;
        of[n++] = i;
    }
    if (n > 0 && sim_one_in(&sim->random, 4)) {
        refuse_file(sim, of[0]);
        return;
    }
    sim_input(sim, SIM_NOBODY, "the file is applied");
    if (pm_core_apply_file(sim->core, specs, n, sim->now_ms, &sim->out, &id, &err) == 0) {
        books_command(sim, id, &op);
        for (size_t i = 0; i < n; i++)
            note_file(sim, of[i], specs[i]);
    }
    sim_taken(sim);
}
