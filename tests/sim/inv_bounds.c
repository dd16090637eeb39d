/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds in virtual time: nothing waits, loads, stops or hangs for ever. */
#include "invariants.h"

#define SLACK_MS         1000
#define REAPING_MS       3500  /* a lost SIGKILL is sent again after a second */
#define LONGEST_GRACE_MS 10000 /* that is drawn: whose limits hold after a reload nobody can tell */

void inv31_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];

    if (action->error->code == POOLMGR_E_QUEUE_TIMEOUT)
        HOLDS(sim, 31, request->pool, "nobody is refused by its deadline before it",
              sim->now_ms >= request->deadline_ms, "%" PRIu64 " ms early",
              request->deadline_ms - sim->now_ms);
}

void inv31_after(struct sim *sim)
{
    const struct pm_heap_node *first = pm_heap_first(&sim->books.deadlines);

    if (first)
        HOLDS(sim, 31, pm_container_of(first, const struct book_request, deadline)->pool,
              "every waiter has ended by its deadline", sim->now_ms < first->key,
              "one waits %" PRIu64 " ms longer", sim->now_ms - first->key);
}

/* What somebody waits for is on its way, and each part of the way has its own end. */
static void look_at_wanted(struct sim *sim, int index, struct book_pool *pool, unsigned k)
{
    const struct book_replica *replica = &pool->replicas[k];
    const struct pm_replica_view *view = &replica->view;

    HOLDS(sim, 32, index, "what somebody waits for does not stay cold",
          view->state != PM_COLD || pool->forced, "replica %u", k);
    if (pool->n_writes > 0)
        HOLDS(sim, 27, index, "a start waits for no disk", view->state != PM_COLD || pool->forced,
              "replica %u", k);
    HOLDS(sim, 32, index, "what somebody waits for does not queue behind preloads",
          view->state != PM_WAITING || devices_needed(sim, pool->spec), "replica %u", k);
    if (view->state == PM_BACKOFF && !pool->was_changed)
        HOLDS(
            sim, 32, index, "a delay is never longer than delay(n)",
            view->next_start_ms <= replica->failed_ms + book_longest_delay(pool->spec, replica->n),
            "%" PRIu64 " ms longer",
            view->next_start_ms - replica->failed_ms - book_longest_delay(pool->spec, replica->n));
}

static bool keeps_cold(const struct book_pool *pool)
{
    return pool->forced || pool->failed || !pool->there || pool->removing ||
           pool->intent != PM_ENABLED || pool->n_running[PM_OP_STOP] > 0;
}

/* Of several pools that may serve a name, one at least is on its way, or nothing can be done about any. */
static void look_at_set(struct sim *sim, unsigned set)
{
    bool one_comes = false, one_may = false;

    for (int i = 0; i < sim->books.n_pools; i++) {
        const struct book_pool *pool = &sim->books.pools[i];

        if (!(set & (1U << i)) || !pool->there)
            continue;
        one_may = one_may || !keeps_cold(pool);
        EACH_REPLICA (pool, k)
            one_comes = one_comes || pool->reloaded || pool->replicas[k].view.state != PM_COLD;
    }
    HOLDS(sim, 32, book_first_of(sim, set), "of the pools that share a name not all stay cold",
          one_comes || !one_may, "set %x", set);
}

void inv32_after(struct sim *sim)
{
    if (!sim->books.begun || sim->books.shutting_down || sim->books.leaving)
        return;
    for (unsigned set = 1; set < SIM_SETS && !sim->wishes; set++) {
        if (sim->books.queues[set].n[0] + sim->books.queues[set].n[1] > 0 && (set & (set - 1)))
            look_at_set(sim, set);
    }
    EACH_POOL (sim, i) {
        struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            const struct book_replica *replica = &pool->replicas[k];

            if (replica->view.state == PM_STAGING && !pool->reloaded)
                HOLDS(sim, 32, i, "what is staging has a fetch", pool->staging, "replica %u", k);
            if (replica->view.state == PM_BACKOFF)
                HOLDS(sim, 32, i, "a delay that is over is over",
                      replica->view.next_start_ms > sim->now_ms, "replica %u", k);
            if (!pool->reloaded && replica->engine != SIM_NOBODY &&
                sim->books.engines[replica->engine].ready &&
                !sim->books.engines[replica->engine].signalled)
                HOLDS(sim, 32, i, "what answered is ready",
                      replica->view.state == PM_READY || replica->view.state == PM_SICK, "it is %s",
                      pm_state_name(replica->view.state));
            if (pool->n_waiting_here_only > 0 && pool->n_running[PM_OP_STOP] == 0 &&
                !pool->reloaded)
                look_at_wanted(sim, i, pool, k);
        }
    }
}

/* ---- starts ----------------------------------------------------------------------------------------------------- */

static bool is_on_its_way(enum pm_state state)
{
    return state == PM_STAGING || state == PM_WAITING || state == PM_STARTING;
}

/* Nobody and nothing wants this start any more. */
static bool is_left_alone(const struct sim *sim, const struct book_pool *pool,
                          const struct book_replica *replica)
{
    return is_on_its_way(replica->view.state) && pool->n_waiting == 0 &&
           pool->n_running[PM_OP_START] == 0 && !pool->reloaded && pool->intent == PM_ENABLED &&
           !pool->removing && pool->n_running[PM_OP_DRAIN] == 0 &&
           pool->spec->start != PM_PRELOAD && !replica->crashed_when_ready &&
           book_leases(pool, &sim->books) == 0 && pool->view.active_leases == 0;
}

void inv33_after(struct sim *sim)
{
    if (sim->books.leaving)
        return;
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            const struct book_replica *replica = &pool->replicas[k];
            const struct book_engine *engine =
                &sim->books.engines[replica->engine < 0 ? 0 : replica->engine];

            if (replica->view.state == PM_STARTING) {
                HOLDS(sim, 33, i, "what is starting has an engine", replica->engine != SIM_NOBODY,
                      "replica %u", k);
                HOLDS(sim, 33, i, "no start outlives start_max", sim->now_ms < engine->start_by_ms,
                      "replica %u", k);
                HOLDS(sim, 33, i, "no start outlives start_stall without progress",
                      sim->now_ms < engine->progress_ms + engine->spec->start_stall_ms,
                      "replica %u", k);
            }
            if (is_left_alone(sim, pool, replica))
                HOLDS(sim, 33, i, "a start without waiters is given up by abandon_after",
                      sim->now_ms <= book_waiterless_ms(sim, i) + pool->spec->abandon_after_ms ||
                          sim->now_ms <= pool->placed_ms + pool->spec->abandon_after_ms,
                      "%" PRIu64 " ms after the last", sim->now_ms - book_waiterless_ms(sim, i));
        }
    }
}

/* ---- ends ------------------------------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A clock that jumped left things due outside: they come with the next steps. */
static bool is_overdue(const struct sim *sim, const struct world_event *event)
{
    return pm_heap_contains(&event->node) && event->node.key <= sim->now_ms;
}

static void look_at_stopping(struct sim *sim, int index, const struct book_pool *pool, unsigned k)
{
    const struct book_replica *replica = &pool->replicas[k];
    const struct book_engine *engine;
    uint64_t since_ms, grace_ms;

    HOLDS(sim, 34, index, "what is stopping has a process", replica->engine != SIM_NOBODY,
          "replica %u", k);
    if (replica->engine == SIM_NOBODY)
        return;
    engine = &sim->books.engines[replica->engine];
    since_ms = engine->signalled_ms;
    grace_ms = pool->was_changed || pool->reloaded ? LONGEST_GRACE_MS : engine->spec->stop_grace_ms;
    if (sim->now_ms > since_ms + grace_ms && !pool->was_changed && !pool->reloaded &&
        !engine->childless)
        HOLDS(sim, 34, index, "what does not end is killed, every second",
              engine->killed && sim->now_ms - engine->killed_ms <= 1000, "replica %u", k);
    if (is_overdue(sim, &sim->world.engines[replica->engine].end))
        return;
    since_ms = later(since_ms + grace_ms, sim->jumped_ms);
    HOLDS(sim, 34, index, "stopping ends within stop_grace, reaping and 10 s",
          sim->now_ms <= since_ms + REAPING_MS + 10000, "replica %u: %" PRIu64 " ms", k,
          sim->now_ms - since_ms);
}

static uint64_t idle_by(const struct book_pool *pool)
{
    uint64_t limit_ms = pool->has_keep_alive           ? pool->keep_alive_ms
                        : pool->spec->idle_ttl_ms == 0 ? PM_NEVER
                                                       : pool->spec->idle_ttl_ms;

    if (limit_ms == PM_NEVER)
        return PM_NEVER;
    return pool->idle_ms + pool->spec->cancel_settle_ms + limit_ms + SLACK_MS;
}

static void look_at_up(struct sim *sim, int index, const struct book_pool *pool, unsigned k)
{
    const struct book_replica *replica = &pool->replicas[k];
    const struct book_engine *engine = &sim->books.engines[replica->engine];
    bool in_use = book_leases(pool, &sim->books) > 0 || pool->n_waiting > 0 ||
                  pool->n_running[PM_OP_START] > 0 || pool->intent != PM_ENABLED ||
                  pool->removing || pool->spec->start == PM_PRELOAD;

    if (replica->view.state == PM_SICK && !engine->doomed)
        HOLDS(sim, 34, index, "sick ends by sick_restart",
              sim->now_ms < replica->sick_since_ms + engine->spec->probe.sick_restart_ms,
              "replica %u", k);
    if (engine->n_granted + engine->n_abandoned > 0)
        HOLDS(sim, 34, index, "hung ends by stall_timeout",
              sim->now_ms < engine->life_ms + engine->spec->stall_timeout_ms, "replica %u", k);
    if (engine->n_granted > 0 && !pool->reloaded && pool->stop_by_ms != PM_NEVER)
        HOLDS(sim, 34, index, "a stop reaches its deadline", sim->now_ms < pool->stop_by_ms,
              "replica %u", k);
    if (!in_use && !pool->reloaded && !engine->doomed && idle_by(pool) != PM_NEVER &&
        !sim->books.shutting_down)
        HOLDS(sim, 34, index, "idle ends by idle_ttl", sim->now_ms <= idle_by(pool),
              "replica %u: %" PRIu64 " ms", k, sim->now_ms - pool->idle_ms);
}

void inv34_after(struct sim *sim)
{
    if (sim->books.leaving)
        return;
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            enum pm_state state = pool->replicas[k].view.state;

            if (state == PM_STOPPING)
                look_at_stopping(sim, i, pool, k);
            if ((state == PM_READY || state == PM_SICK) && pool->replicas[k].engine != SIM_NOBODY)
                look_at_up(sim, i, pool, k);
        }
    }
}
