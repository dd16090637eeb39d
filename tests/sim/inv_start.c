/* SPDX-License-Identifier: Apache-2.0 */
/* LOAD, SUP: what is started, when, how often, and how it is stopped. */
#include "invariants.h"

static struct book_replica *replica_at(struct sim *sim, const struct pm_action *action,
                                       int *ret_pool)
{
    *ret_pool = book_pool_of(sim, action->spec);
    return &sim->books.pools[*ret_pool].replicas[action->replica];
}

static bool is_coming(enum pm_state state)
{
    return state == PM_STAGING || state == PM_WAITING || state == PM_STARTING || state == PM_READY;
}

static bool will_serve(const struct sim *sim, const struct book_pool *pool)
{
    if (!pool->there || pool->removing || pool->intent != PM_ENABLED || pool->reloaded ||
        pool->n_running[PM_OP_STOP] > 0 || pool->n_running[PM_OP_DRAIN] > 0)
        return false; /* a reload that swaps closes the gate first */
    EACH_REPLICA (pool, k) {
        struct pm_replica_view view = {0};

        /* Before this step and still: of two that begin in one step one may be somebody else's. */
        if (is_coming(pool->replicas[k].view.state) &&
            pm_core_replica(sim->core, pool->spec->id, k, &view) && is_coming(view.state))
            return true;
    }
    return false;
}

/* Whether somebody waits for this pool whom no other will serve. */
static bool is_the_one(const struct sim *sim, int index)
{
    for (unsigned set = 1; set < SIM_SETS; set++) {
        const struct book_queue *queue = &sim->books.queues[set];
        bool other = false;

        if (!(set & (1U << index)) || queue->n[0] + queue->n[1] == 0)
            continue;
        for (int i = 0; i < sim->books.n_pools; i++)
            other =
                other || (i != index && (set & (1U << i)) && will_serve(sim, &sim->books.pools[i]));
        if (!other)
            return true;
    }
    return false;
}

static void look_at_stage(struct sim *sim, int index)
{
    const struct book_pool *pool = &sim->books.pools[index];
    bool by_itself = pool->spec->start == PM_PRELOAD || pool->reloaded || pool->changed_in_step ||
                     pool->n_running[PM_OP_START] > 0 || pool->started_in_step;

    EACH_REPLICA (pool, k)
        by_itself = by_itself || pool->replicas[k].crashed_when_ready ||
                    is_coming(pool->replicas[k].view.state) ||
                    pool->replicas[k].view.state == PM_SICK;
    if (!by_itself && pool->n_waiting > 0 && pool->n_waiting_here_only == 0 && !sim->wishes &&
        sim->world.n_devices == 0 &&
        !sim->world.has_cpu) /* else one may wait for room while another begins */
        HOLDS(sim, 9, index, "of the pools that share a name one is started at a time",
              is_the_one(sim, index), "another serves %" PRIu64 " who wait", pool->n_waiting);
}

static void look_at_forget(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->token);

    HOLDS(sim, 9, SIM_NOBODY, "a tree is forgotten once",
          index != SIM_NOBODY && !sim->books.engines[index].forgotten, "token %" PRIu64,
          action->token.serial);
    if (index != SIM_NOBODY)
        HOLDS(sim, 9, sim->books.engines[index].pool, "forgotten only when nothing is left of it",
              sim->world.engines[index].gone, "engine %d", index);
}

void inv9_at(struct sim *sim, const struct pm_action *action)
{
    struct book_replica *replica;
    int pool;

    if (action->kind == PM_ACT_FORGET) {
        look_at_forget(sim, action);
        return;
    }
    replica = replica_at(sim, action, &pool);
    HOLDS(sim, 9, pool, "nothing starts while the daemon ends",
          (!sim->books.shutting_down && !sim->books.leaving) ||
              (action->kind == PM_ACT_STAGE && book_any_reloaded(sim, SIM_SETS - 1)),
          "%s", "it does");
    if (action->spec == sim->books.pools[pool].spec && !sim->books.pools[pool].reloaded)
        HOLDS(sim, 9, pool, "nothing starts in a pool that shall rest",
              sim->books.pools[pool].intent == PM_ENABLED && !sim->books.pools[pool].removing,
              "it is %s", pm_intent_name(sim->books.pools[pool].intent));
    if (action->kind == PM_ACT_STAGE) {
        look_at_stage(sim, pool);
        HOLDS(sim, 9, pool, "one fetch at a time",
              !sim->books.pools[pool].staging || !book_is_pools(sim, pool, action->spec), "%s",
              "two");
        return;
    }
    if (sim->books.pools[pool].reloaded)
        return; /* places come and go: INV-19 asks what there may be */
    HOLDS(sim, 9, pool, "one process tree in a place", replica->engine == SIM_NOBODY,
          "replica %u has one", action->replica);
    HOLDS(sim, 9, pool, "nothing is spawned before its model is there", replica->staged,
          "replica %u", action->replica);
}

/* ---- SUP -------------------------------------------------------------------------------------------------------- */

void inv12_at(struct sim *sim, const struct pm_action *action)
{
    struct book_replica *replica;
    const struct pm_pool_spec *spec;
    double least;
    int pool;

    replica = replica_at(sim, action, &pool);
    spec = sim->books.pools[pool].spec;
    if (replica->n < 2 || sim->books.pools[pool].reloaded || sim->books.pools[pool].was_changed)
        return;
    least = (double)book_longest_delay(spec, replica->n) * (1 - spec->backoff.jitter) - 1;
    HOLDS(sim, 12, pool, "no spawn before the last failure and its delay",
          (double)(sim->now_ms - replica->failed_ms) >= least,
          "%" PRIu64 " ms after failure %" PRIu64 ", not %.0f", sim->now_ms - replica->failed_ms,
          replica->n, least);
}

void inv12_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        EACH_REPLICA (&sim->books.pools[i], k) {
            const struct book_replica *replica = &sim->books.pools[i].replicas[k];

            if (replica->n != 0 || replica->view.n_failures != 0)
                HOLDS(sim, 12, i, "failures are counted, and nothing else",
                      replica->view.n_failures == replica->n,
                      "replica %u counts %" PRIu64 ", there were %" PRIu64, k,
                      replica->view.n_failures, replica->n);
        }
    }
}

static bool is_wanted_by_somebody(const struct book_pool *pool)
{
    return pool->n_waiting > 0 || pool->n_running[PM_OP_START] > 0 ||
           pool->spec->start == PM_PRELOAD;
}

void inv13_at(struct sim *sim, const struct pm_action *action)
{
    struct book_replica *replica;
    struct book_pool *pool;
    int index;

    replica = replica_at(sim, action, &index);
    pool = &sim->books.pools[index];
    if (replica->n < pool->spec->backoff.open_at || pool->reloaded)
        return;
    if (action->kind == PM_ACT_STAGE) {
        if (replica->view.state != PM_STAGING &&
            !pool->changed_in_step) /* else it only asks anew, for another spec */
            HOLDS(sim, 13, index, "an open breaker starts nothing by itself",
                  is_wanted_by_somebody(pool) || pool->started_in_step, "n is %" PRIu64,
                  replica->n);
        return;
    }
    HOLDS(sim, 13, index, "one trial at a time", replica->engine == SIM_NOBODY, "n is %" PRIu64,
          replica->n);
}

/* A request came to a pool with a free slot behind an open gate. */
void inv13_request(struct sim *sim, int request, bool was_free)
{
    const struct book_request *mine = &sim->books.requests[request];
    const struct book_pool *pool = &sim->books.pools[mine->pool];
    bool breaker_open = pool->forced;

    EACH_REPLICA (pool, k)
        breaker_open = breaker_open || pool->replicas[k].n >= pool->spec->backoff.open_at;
    if (was_free)
        HOLDS(sim, 4, mine->pool, "a free slot behind an open gate is granted",
              mine->state != REQ_WAITING, "request %d waits", request);
    if (was_free && pool->n_writes > 0)
        HOLDS(sim, 27, mine->pool, "a lease waits for no disk", mine->state != REQ_WAITING,
              "request %d waits", request);
    if (was_free && breaker_open)
        HOLDS(sim, 13, mine->pool, "an open breaker closes no ready place",
              mine->state == REQ_GRANTED || mine->state == REQ_OVER, "request %d", request);
}

void inv14_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct pm_pool_spec *spec = sim->books.pools[i].spec;

        if (spec->backoff.base_ms != 1000 || spec->backoff.cap_ms != 300000 ||
            spec->backoff.reset_ms != 300000)
            continue;
        EACH_REPLICA (&sim->books.pools[i], k) {
            const struct book_replica *replica = &sim->books.pools[i].replicas[k];
            uint64_t first_ms = replica->failed_starts_ms[replica->n_failed_starts % BOOK_FAILURES];

            if (!replica->failed_in_step)
                continue;
            HOLDS(sim, 14, i, "at most 10 failed starts in 60 s",
                  replica->n_failed_starts < BOOK_FAILURES || sim->now_ms - first_ms > 60000,
                  "11 in %" PRIu64 " ms", sim->now_ms - first_ms);
        }
    }
}

void inv15_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        EACH_REPLICA (&sim->books.pools[i], k) {
            const struct book_replica *replica = &sim->books.pools[i].replicas[k];

            if (replica->before.state == PM_FAILED)
                HOLDS(sim, 15, i, "failed is left only by a reset or a change",
                      replica->view.state == PM_FAILED || sim->books.pools[i].reset_in_step ||
                          sim->books.pools[i].reloaded || sim->books.pools[i].changed_in_step,
                      "it is %s", pm_state_name(replica->view.state));
        }
    }
}

static uint64_t idle_limit(const struct book_pool *pool)
{
    if (pool->has_keep_alive)
        return pool->keep_alive_ms;
    return pool->spec->idle_ttl_ms == 0 ? PM_NEVER : pool->spec->idle_ttl_ms;
}

/* Whether a stop as planned has a reason at all. */
static bool may_be_stopped(const struct sim *sim, const struct book_engine *engine)
{
    const struct book_pool *pool = &sim->books.pools[engine->pool];

    if (sim->books.shutting_down || pool->n_running[PM_OP_STOP] > 0 || pool->stopped_in_step ||
        pool->evicted_in_step || devices_fail_under(sim, engine) || pool->changed_in_step ||
        pool->reloaded || pool->n_running[PM_OP_DRAIN] > 0 || pool->intent == PM_DISABLED ||
        pool->removing)
        return true;
    if (pool->n_waiting_here_only > 0 || pool->n_running[PM_OP_START] > 0 ||
        book_leases(pool, &sim->books) > 0)
        return false;
    if (pool->spec->start == PM_PRELOAD && !pool->maybe_parked)
        return false;
    if (pool->n_waiting > 0)
        return true; /* another pool of theirs serves them */
    if (!engine->ready)
        return !engine->for_waiters || sim->books.is_mixed ||
               sim->now_ms - book_waiterless_ms(sim, engine->pool) >= pool->spec->abandon_after_ms;
    return idle_limit(pool) != PM_NEVER && sim->now_ms - pool->idle_ms >= idle_limit(pool);
}

void inv16_at(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->token);
    const struct book_engine *engine = &sim->books.engines[index < 0 ? 0 : index];

    HOLDS(sim, 16, engine->pool, "a signal is for an engine that is there",
          index != SIM_NOBODY && !engine->forgotten, "token %" PRIu64, action->token.serial);
    HOLDS(sim, 16, engine->pool, "nothing is signalled after a leave, but what a reload had begun",
          !sim->books.leaving || engine->is_next || sim->books.pools[engine->pool].reloaded, "%s",
          "it is");
    if (index == SIM_NOBODY)
        return;
    if (!engine->signalled && action->reason_code == PM_CLASS_NONE) {
        HOLDS(sim, 16, engine->pool, "the first signal comes when nobody has a lease",
              engine->n_granted == 0 || devices_fail_under(sim, engine), "%" PRIu64 " have",
              engine->n_granted);
        HOLDS(sim, 16, engine->pool, "a stop as planned has a reason", may_be_stopped(sim, engine),
              "%" PRIu64 " wait, %s", sim->books.pools[engine->pool].n_waiting,
              engine->ready ? "ready" : "loading");
    }
    if (action->kind == PM_ACT_KILL && !engine->exited &&
        !sim->books.pools[engine->pool].changed_in_step &&
        !sim->books.pools[engine->pool].reloaded) /* whose limits hold nobody can tell */
        HOLDS(sim, 16, engine->pool, "a live engine gets SIGKILL only after stop_grace",
              sim->books.at_once || engine->killed ||
                  action->reason_code == PM_CLASS_START_TIMEOUT ||
                  devices_fail_under(sim, engine) ||
                  (engine->signalled &&
                   sim->now_ms - engine->signalled_ms >= engine->spec->stop_grace_ms),
              "%" PRIu64 " ms after the first signal",
              engine->signalled ? sim->now_ms - engine->signalled_ms : 0);
}
