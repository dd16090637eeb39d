/* SPDX-License-Identifier: Apache-2.0 */
/* REG, LEASE, HEALTH: what is shown, who has a slot, what is ready. */
#include <string.h>

#include "invariants.h"

static bool shows_the_same(const struct book_pool *pool)
{
    const struct pm_pool_view *a = &pool->before, *b = &pool->view;

    if (a->state != b->state || a->ready != b->ready || a->slots_free != b->slots_free ||
        a->active_leases != b->active_leases || a->queue_depth != b->queue_depth ||
        a->queue_bytes != b->queue_bytes || a->slots_total != b->slots_total ||
        a->intent != b->intent)
        return false;
    EACH_REPLICA (pool, k) {
        const struct pm_replica_view *c = &pool->replicas[k].before, *d = &pool->replicas[k].view;

        if (c->state != d->state || c->gate_open != d->gate_open || c->instance != d->instance ||
            c->active_leases != d->active_leases || c->n_failures != d->n_failures ||
            c->pid != d->pid)
            return false;
    }
    return true;
}

void inv20_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        /* But by the names and devices that it shares with what changes, and the place to start that this gives back. */
        if (pool->untouched_in_step && !pool->evicted_in_step &&
            !(pool->before.state == PM_WAITING && pool->view.state == PM_STARTING) &&
            pool->n_waiting == pool->n_waiting_here_only &&
            (pool->spec->aliases.n == 0 || pool->before.queue_depth == pool->view.queue_depth))
            HOLDS(sim, 20, i, "what the file does not change keeps instance, leases and queue",
                  shows_the_same(pool), "%s, not %s", pm_state_name(pool->view.state),
                  pm_state_name(pool->before.state));
    }
}

void inv27_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        if (sim->books.pools[i].not_written_in_step && !sim->books.pools[i].reloaded &&
            !sim->books.stopped && !sim->books.pools[i].evicted_in_step &&
            !sim->books.pools[i].drained_in_step) /* one that its cancel held up */
            HOLDS(sim, 27, i, "a failed commit leaves all as before",
                  shows_the_same(&sim->books.pools[i]), "%s", "it does not");
    }
}

void inv1_after(struct sim *sim)
{
    uint64_t version = pm_core_snapshot_version(sim->core);
    struct pm_pool_view view;
    char last[PM_ID_MAX + 1] = "";

    HOLDS(sim, 1, SIM_NOBODY, "the version never goes back", version >= sim->books.version,
          "%" PRIu64 " after %" PRIu64, version, sim->books.version);
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];
        const struct pm_replica_view *replica = &pool->replicas[0].view;

        if (version == sim->books.version)
            HOLDS(sim, 1, i, "the version grows with every change", shows_the_same(pool),
                  "%s changed", pool->spec->id);
        if (pool->spec->n_replicas == 1 && !pool->reloaded && replica->gate_open &&
            pool->replicas[0].engine >= 0 && !sim->books.engines[pool->replicas[0].engine].adopted)
            HOLDS(sim, 1, i, "slots_free is slots_total less leases",
                  pool->view.slots_free == (replica->slots_total > replica->active_leases
                                                ? replica->slots_total - replica->active_leases
                                                : 0),
                  "%" PRIu64 " of %" PRIu64 " with %" PRIu64 " leases", pool->view.slots_free,
                  replica->slots_total, replica->active_leases);
    }
    if (sim->step % 64 != 0)
        return; /* the order does not change often */
    for (size_t i = 0; pm_core_pool_at(sim->core, i, sim->now_ms, &view); i++) {
        HOLDS(sim, 1, SIM_NOBODY, "snapshots are ordered by id", strcmp(last, view.spec->id) < 0,
              "%s before %s", last, view.spec->id);
        (void)strcpy(last, view.spec->id);
    }
}

/* ---- LEASE ------------------------------------------------------------------------------------------------------ */

void inv3_at(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->lease_token);
    const struct book_engine *engine = &sim->books.engines[index < 0 ? 0 : index];

    if (index != SIM_NOBODY)
        HOLDS(sim, 3, engine->pool, "no grant exceeds slots_total",
              engine->n_granted + engine->n_abandoned < engine->slots_total,
              "%" PRIu64 " leases of %" PRIu64 " slots", engine->n_granted + engine->n_abandoned,
              engine->slots_total);
}

void inv3_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            const struct book_replica *replica = &pool->replicas[k];
            const struct book_engine *engine;
            uint64_t least;

            if (replica->engine == SIM_NOBODY) {
                HOLDS(sim, 3, i, "no engine, no lease", replica->view.active_leases == 0,
                      "%" PRIu64, replica->view.active_leases);
                continue;
            }
            engine = &sim->books.engines[replica->engine];
            least = engine->n_granted + engine->n_abandoned;
            HOLDS(sim, 3, i, "leases of an instance are grants less ends",
                  replica->view.active_leases >= least &&
                      (engine->unsure || replica->view.active_leases <= least + engine->n_settling),
                  "replica %u: %" PRIu64 " shown, %" PRIu64 " granted, %" PRIu64 " settle", k,
                  replica->view.active_leases, least, engine->n_settling);
        }
    }
}

void inv4_at(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->lease_token);
    const struct book_engine *engine = &sim->books.engines[index < 0 ? 0 : index];
    struct pm_replica_view view = {0};

    HOLDS(sim, 4, SIM_NOBODY, "a grant goes to an engine that is there",
          index != SIM_NOBODY && !engine->forgotten, "request %" PRIu64, action->request);
    if (index == SIM_NOBODY)
        return;
    HOLDS(sim, 4, engine->pool, "a grant goes to a ready engine",
          engine->ready && !engine->exited && !engine->signalled, "request %" PRIu64 "%s%s%s",
          action->request, engine->ready ? "" : ", not ready", engine->exited ? ", exited" : "",
          engine->signalled ? ", signalled" : "");
    (void)pm_core_replica(sim->core, sim->books.pools[engine->pool].spec->id, engine->replica,
                          &view);
    HOLDS(sim, 4, engine->pool, "a sick engine gets no grant",
          view.state != PM_SICK ||
              sim->books.pools[engine->pool].replicas[engine->replica].before.state != PM_SICK,
          "request %" PRIu64, action->request);
    HOLDS(sim, 4, engine->pool, "a grant goes to a pool that is enabled",
          sim->books.pools[engine->pool].intent == PM_ENABLED &&
              !sim->books.pools[engine->pool].removing,
          "it is %s", pm_intent_name(sim->books.pools[engine->pool].intent));
    HOLDS(sim, 4, engine->pool, "a grant goes to a pool that was asked for",
          sim->books.requests[action->request].set & (1U << engine->pool), "request %" PRIu64,
          action->request);
}

void inv5_at(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->lease_token);
    const struct book_engine *engine = &sim->books.engines[index < 0 ? 0 : index];

    if (index != SIM_NOBODY && engine->n_settling > 0 && !engine->unsure)
        HOLDS(sim, 5, engine->pool, "a slot whose client left is granted only when it settled",
              book_slots_taken(sim, engine) < engine->slots_total,
              "%" PRIu64 " taken of %" PRIu64 " slots", book_slots_taken(sim, engine),
              engine->slots_total);
    if (index != SIM_NOBODY && engine->n_abandoned > 0)
        HOLDS(sim, 5, engine->pool, "a slot that is read to its end is not granted",
              engine->n_granted + engine->n_abandoned < engine->slots_total, "%" PRIu64 " slots",
              engine->slots_total);
}

/* ---- HEALTH ----------------------------------------------------------------------------------------------------- */

void inv6_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            const struct pm_replica_view *view = &pool->replicas[k].view;
            const struct book_engine *engine;

            HOLDS(sim, 6, i, "a gate is open only where it is ready",
                  !view->gate_open || view->state == PM_READY, "%s", pm_state_name(view->state));
            if (view->state != PM_READY && view->state != PM_SICK)
                continue;
            HOLDS(sim, 6, i, "ready means there is an engine",
                  pool->replicas[k].engine != SIM_NOBODY, "replica %u", k);
            if (pool->replicas[k].engine == SIM_NOBODY)
                continue;
            engine = &sim->books.engines[pool->replicas[k].engine];
            HOLDS(sim, 6, i, "ready means it was launched and answered as ours",
                  engine->ready && engine->told_launched, "replica %u", k);
            HOLDS(sim, 6, i, "an exit makes unroutable in its step", !engine->exited, "replica %u",
                  k);
        }
    }
}

void inv7_at(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->token);
    const struct book_engine *engine = &sim->books.engines[index < 0 ? 0 : index];

    if (index == SIM_NOBODY || engine->signalled ||
        sim->books.pools[engine->pool].changed_in_step) /* by limits that are new */
        return;
    if (action->reason_code == PM_CLASS_STALL)
        HOLDS(sim, 7, engine->pool, "no stall within stall_timeout of a sign of life",
              sim->now_ms - engine->life_ms >= engine->spec->stall_timeout_ms ||
                  engine->n_limits >= 3,
              "%" PRIu64 " ms, %" PRIu64 " limits", sim->now_ms - engine->life_ms,
              engine->n_limits);
    if (action->reason_code == PM_CLASS_HEALTH)
        HOLDS(sim, 7, engine->pool, "restarted for health only when sick for sick_restart",
              sim->now_ms -
                          sim->books.pools[engine->pool].replicas[engine->replica].sick_since_ms >=
                      engine->spec->probe.sick_restart_ms ||
                  sim->books.pools[engine->pool].reloaded, /* whose next one is not in view yet */
              "%s", "earlier");
}

void inv7_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            const struct book_replica *replica = &pool->replicas[k];
            const struct book_engine *engine;

            if (replica->view.state == replica->before.state || replica->engine == SIM_NOBODY ||
                replica->view.instance != replica->before.instance)
                continue;
            engine = &sim->books.engines[replica->engine];
            if (replica->view.state == PM_SICK && !engine->doomed)
                HOLDS(sim, 7, i, "sick only after `fall` misses without a lease",
                      engine->n_granted + engine->n_abandoned == 0 &&
                          engine->n_missed >= engine->spec->probe.fall,
                      "%" PRIu64 " missed, %" PRIu64 " leases", engine->n_missed,
                      engine->n_granted + engine->n_abandoned);
            if (replica->view.state == PM_READY && replica->before.state == PM_SICK)
                HOLDS(sim, 7, i, "ready again only after `rise` good probes",
                      engine->n_good >= engine->spec->probe.rise && !engine->doomed,
                      "%" PRIu64 " good", engine->n_good);
        }
    }
}

void inv8_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        if (!pool->view.ready)
            HOLDS(sim, 8, i, "what is not ready has a code and a reason",
                  pool->view.code_name[0] != '\0' && pool->view.reason[0] != '\0', "%s",
                  pm_state_name(pool->view.state));
        EACH_REPLICA (pool, k) {
            const struct pm_replica_view *view = &pool->replicas[k].view;

            if (view->state == PM_BACKOFF || view->state == PM_FAILED)
                HOLDS(sim, 8, i, "backoff and failed have code, class and text",
                      view->last_error.code != 0 && view->last_error.class != PM_CLASS_NONE &&
                          view->last_error.text[0] != '\0',
                      "%s", pm_state_name(view->state));
        }
    }
}
