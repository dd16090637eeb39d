/* SPDX-License-Identifier: Apache-2.0 */
/* What operators command, at the worst moment as at any other. */
#include "invariants.h"

static void command_start(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct book_op op = {.kind = PM_OP_START, .pool = index};
    struct poolmgr_error err = {0};
    uint64_t id = 0;

    sim_input(sim, index, "an operator starts %s", pool->spec->id);
    pool->started_in_step = true;
    if (pm_core_start(sim->core, pool->spec->id, sim->now_ms, &sim->out, &id, &err) == 0) {
        books_command(sim, id, &op);
        pool->maybe_parked = pool->has_keep_alive = false;
    }
    sim_taken(sim);
}

static void command_stop(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    uint64_t deadline_ms = SIM_PICK(&sim->random, 0, 1000, 30000, PM_NEVER), id = 0;
    struct book_op op = {.kind = PM_OP_STOP, .pool = index};
    struct poolmgr_error err = {0};

    sim_input(sim, index, "an operator stops %s by %" PRIu64 " ms", pool->spec->id, deadline_ms);
    pool->stopped_in_step = true;
    op.by_ms = pm_add_ms(sim->now_ms, deadline_ms);
    if (pm_core_stop(sim->core, pool->spec->id, deadline_ms, sim->now_ms, &sim->out, &id, &err) ==
        0) {
        books_command(sim, id, &op);
        pool->maybe_parked = true;
    }
    sim_taken(sim);
}

static void command_drain(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct pm_drain drain = {.has_deadline = !sim_one_in(&sim->random, 4),
                             .deadline_ms = SIM_PICK(&sim->random, 0, 1000, 30000, PM_NEVER),
                             .on_deadline =
                                 (enum pm_on_deadline)sim_below(&sim->random, PM_ON_DEADLINE_COUNT),
                             .then = (enum pm_then)sim_below(&sim->random, PM_THEN_COUNT)};
    struct book_op op = {.kind = PM_OP_DRAIN, .pool = index};
    struct poolmgr_error err = {0};
    uint64_t id = 0;

    sim_input(sim, index, "an operator drains %s by %" PRIu64 " ms or %s, then %s", pool->spec->id,
              drain.has_deadline ? drain.deadline_ms : pool->spec->drain_deadline_ms,
              pm_on_deadline_name(drain.on_deadline), pm_then_name(drain.then));
    op.by_ms = pm_add_ms(sim->now_ms,
                         drain.has_deadline ? drain.deadline_ms : pool->spec->drain_deadline_ms);
    op.aborts = drain.on_deadline == PM_DEADLINE_ABORT;
    op.intent = drain.then == PM_THEN_HOLD ? PM_DRAINING : PM_DISABLED;
    if (pm_core_drain(sim->core, pool->spec->id, &drain, sim->now_ms, &sim->out, &id, &err) == 0)
        books_command(sim, id, &op);
    sim_taken(sim);
}

static void command_resume(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct book_op op = {.kind = PM_OP_RESUME, .pool = index, .intent = PM_ENABLED};
    struct poolmgr_error err = {0};
    uint64_t id = 0;

    sim_input(sim, index, "an operator resumes %s", pool->spec->id);
    if (pm_core_resume(sim->core, pool->spec->id, sim->now_ms, &sim->out, &id, &err) == 0)
        books_command(sim, id, &op);
    sim_taken(sim);
}

static void command_remove(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    uint64_t drain_ms = SIM_PICK(&sim->random, 0, 1000, 30000, PM_NEVER), id = 0;
    struct book_op op = {.kind = PM_OP_REMOVE, .pool = index, .joins = pool->removing};
    bool has_drain = sim_one_in(&sim->random, 2);
    struct poolmgr_error err = {0};
    int r;

    sim_input(sim, index, "an operator removes %s by %" PRIu64 " ms", pool->spec->id,
              has_drain ? drain_ms : pool->spec->drain_deadline_ms);
    op.by_ms = pm_add_ms(sim->now_ms, has_drain ? drain_ms : pool->spec->drain_deadline_ms);
    r = pm_core_remove_pool(sim->core, pool->spec->id, has_drain, drain_ms, sim->now_ms, &sim->out,
                            &id, &err);
    HOLDS(sim, 2, index, "the file's pools are removed by the file only",
          pool->owner == PM_OWNER_API || r < 0, "op-%" PRIu64, id);
    if (r == 0)
        books_command(sim, id, &op);
    sim_taken(sim);
}

static void command_cancel(struct sim *sim)
{
    uint64_t id = 1 + sim_below(&sim->random, 12), by = 0;
    struct poolmgr_error err = {0};
    struct pm_operation last;
    struct book_op op = {.kind = PM_OP_CANCEL};

    if (pm_core_operation_at(sim->core, sim_below(&sim->random, 4), &last))
        id = last.id;
    sim_input(sim, SIM_NOBODY, "an operator cancels op-%" PRIu64, id);
    if (sim->books.ops[id % SIM_OPS].known)
        sim->books.pools[sim->books.ops[id % SIM_OPS].pool].stopped_in_step = true;
    op.pool = sim->books.ops[id % SIM_OPS].pool;
    op.cancels = id;
    if (pm_core_cancel_operation(sim->core, id, sim->now_ms, &sim->out, &by, &err) == 0 && by != id)
        books_command(sim, by, &op);
    sim_taken(sim);
}

static void command_reset(struct sim *sim, int index)
{
    static const enum pm_breaker breakers[] = {PM_BREAKER_CLOSED, PM_BREAKER_CLOSED,
                                               PM_BREAKER_FORCED_OPEN, PM_BREAKER_DISABLED};
    enum pm_breaker breaker = breakers[sim_below(&sim->random, 4)];
    struct book_pool *pool = &sim->books.pools[index];
    struct poolmgr_error err = {0};

    sim_input(sim, index, "an operator resets %s, breaker %s", pool->spec->id,
              pm_breaker_name(breaker));
    if (!sim->books.shutting_down && !sim->books.leaving) {
        books_reset(sim, index);
        pool->forced = breaker == PM_BREAKER_FORCED_OPEN;
    }
    (void)pm_core_reset(sim->core, pool->spec->id, breaker, sim->now_ms, &sim->out, &err);
    sim_taken(sim);
}

/* It means something only where something failed for good, or waits for its clock. */
static void file_changes(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    bool matters = pool->failed || pool->reloaded;

    EACH_REPLICA (pool, k)
        matters = matters || pool->replicas[k].view.state == PM_BACKOFF;
    sim_input(sim, index, "the model of %s changes", pool->spec->id);
    if (matters)
        books_reset(sim, index);
    pm_core_file_changed(sim->core, pool->spec->id, sim->now_ms, &sim->out);
    if (matters)
        sim_taken(sim);
    else
        sim_nothing(sim);
}

void sim_operator(struct sim *sim)
{
    int index = (int)sim_below(&sim->random, (uint64_t)sim->books.n_pools);

    if (!sim->books.pools[index].there) {
        if (sim_one_in(&sim->random, 2))
            sim_put(sim, index);
        return;
    }
    switch (sim_below(&sim->random, 27) / 2) {
    case 0: command_start(sim, index); break;
    case 1:
    case 2: command_stop(sim, index); break;
    case 3: command_cancel(sim); break;
    case 4: command_reset(sim, index); break;
    case 5: file_changes(sim, index); break;
    case 6:
    case 7: command_drain(sim, index); break;
    case 8:
    case 9: command_resume(sim, index); break;
    case 10:
    case 11: sim_reload(sim, index); break;
    case 12:
        if (sim_one_in(&sim->random, 2))
            sim_put(sim, index);
        else
            sim_apply_file(sim);
        break;
    default: command_remove(sim, index); break;
    }
}
