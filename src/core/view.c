/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking (REG-1, REG-3, HEALTH-5): nothing here changes anything. What is not ready says why, with the numbers, and
 * what a person can do next.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define DURATION 32

static const char *duration(char *to, uint64_t ms)
{
    return pm_format_duration(to, DURATION, ms);
}

/* A pool shows its best replica. */
static const unsigned char rank[PM_STATE_COUNT] = {
    [PM_READY] = 0,    [PM_STARTING] = 1, [PM_STAGING] = 2, [PM_WAITING] = 3, [PM_SICK] = 4,
    [PM_STOPPING] = 5, [PM_BACKOFF] = 6,  [PM_COLD] = 7,    [PM_FAILED] = 8,
};

bool pm_state_is_better(enum pm_state a, enum pm_state b)
{
    return rank[a] < rank[b];
}

static const struct pm_place *better(const struct pm_place *a, const struct pm_place *b)
{
    return pm_state_is_better(b->state, a->state) ? b : a;
}

static const struct pm_place *best_place(const struct pm_pool *pool)
{
    const struct pm_place *best = pool->places[0];

    for (unsigned i = 1; i < pool->n_places; i++)
        best = better(best, pool->places[i]);
    return pool->reload && pool->reload->next ? better(best, pool->reload->next) : best;
}

enum pm_state pm_pool_best_state(const struct pm_pool *pool)
{
    return best_place(pool)->state;
}

/* ---- why it is not ready ------------------------------------------------------------------------------------ */

static void explain_not_ours(const struct pm_place *place, struct pm_pool_view *ret)
{
    const char *endpoint = place->spec->external.endpoint;
    char text[DURATION];

    if (place->vacant)
        (void)snprintf(ret->reason, sizeof(ret->reason), "no engine is handed over");
    else if (!place->gone)
        (void)snprintf(ret->reason, sizeof(ret->reason), "its engine at %s is asked", endpoint);
    else
        (void)snprintf(
            ret->reason, sizeof(ret->reason),
            "gone: %.60s; its engine at %.70s is asked every %s, and is not ours to start",
            place->last_error.text, endpoint, duration(text, place->spec->probe.every_ms));
    if (place->gone)
        ret->code = POOLMGR_E_ENGINE_GONE;
}

static void explain_cold(const struct pm_place *place, struct pm_pool_view *ret)
{
    const struct pm_pool *pool = place->pool;
    const char *id = pool->spec->id;
    struct poolmgr_error lost = {0};

    if (pool->breaker == PM_BREAKER_FORCED) {
        ret->code = POOLMGR_E_BREAKER_OPEN;
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "an operator keeps it from starting; poolctl reset %s --breaker closed", id);
    } else if (pm_room_lost(pool, &lost)) {
        ret->code = lost.code;
        (void)pm_str_copy(ret->reason, sizeof(ret->reason), lost.message);
    } else if (place->clock.n > 0) {
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "%.90s, %" PRIu64 " in a row; the next request tries again; poolctl logs %s",
                       place->last_error.text, place->clock.n, id);
    } else if (pool->spec->start == PM_PRELOAD && pool->parked) {
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "stopped; starts with the next request, or poolctl start %s", id);
    } else {
        (void)snprintf(ret->reason, sizeof(ret->reason), "starts with the first request");
    }
}

static void explain_starting(const struct pm_place *place, struct pm_pool_view *ret)
{
    uint64_t now_ms = place->pool->core->now_ms;
    char for_ms[DURATION], most[DURATION];

    (void)snprintf(ret->reason, sizeof(ret->reason),
                   "loads for %s, at most %s; %" PRIu64 " waiting request%s; poolctl logs %s",
                   duration(for_ms, now_ms - place->instance.started_ms),
                   duration(most, place->spec->start_max_ms), pm_pool_n_waiters(place->pool),
                   pm_plural(pm_pool_n_waiters(place->pool)), place->pool->spec->id);
}

static void explain_sick(const struct pm_place *place, struct pm_pool_view *ret)
{
    uint64_t now_ms = place->pool->core->now_ms;
    uint64_t at_ms = pm_add_ms(place->since_ms, place->spec->probe.sick_restart_ms);
    char text[DURATION];

    if (!pm_place_is_ours(place)) {
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "missed %" PRIu64 " health probes; used again when it answers",
                       place->instance.n_missed);
        return;
    }
    if (place->instance.doomed) {
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "%.90s; restarted when its %" PRIu64 " request%s have ended",
                       place->last_error.text, place->n_running, pm_plural(place->n_running));
        return;
    }
    (void)snprintf(ret->reason, sizeof(ret->reason),
                   "missed %" PRIu64 " health probes; restarted in %s unless it answers",
                   place->instance.n_missed, duration(text, at_ms > now_ms ? at_ms - now_ms : 0));
}

static void explain_stopping(const struct pm_place *place, struct pm_pool_view *ret)
{
    uint64_t now_ms = place->pool->core->now_ms;
    uint64_t at_ms = pm_add_ms(place->instance.signalled_ms, place->spec->stop_grace_ms);
    char text[DURATION];

    if (place->instance.childless)
        (void)snprintf(ret->reason, sizeof(ret->reason), "ended; its memory comes back");
    else if (place->instance.next_kill_ms != PM_NEVER)
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "its processes are killed until none is left");
    else
        (void)snprintf(ret->reason, sizeof(ret->reason), "told to stop; killed in %s",
                       duration(text, at_ms > now_ms ? at_ms - now_ms : 0));
}

static void explain_backoff(const struct pm_place *place, struct pm_pool_view *ret)
{
    uint64_t now_ms = place->pool->core->now_ms;
    char text[DURATION];

    ret->code = place->clock.n >= place->spec->backoff.open_at ? POOLMGR_E_BREAKER_OPEN
                                                               : POOLMGR_E_START_FAILED;
    (void)snprintf(
        ret->reason, sizeof(ret->reason),
        "%.90s, %" PRIu64 " in a row; next start in %s; poolctl logs %s", place->last_error.text,
        place->clock.n,
        duration(text, place->clock.next_ms > now_ms ? place->clock.next_ms - now_ms : 0),
        place->pool->spec->id);
}

static void explain_failed(const struct pm_pool *pool, struct pm_pool_view *ret)
{
    char text[300];

    pm_describe_verdict(&pool->failure, text, sizeof(text));
    ret->code =
        pool->failure.code == POOLMGR_E_NEVER_FITS ? POOLMGR_E_NEVER_FITS : POOLMGR_E_POOL_FAILED;
    (void)snprintf(ret->reason, sizeof(ret->reason), "%.100s; %s, then: poolctl reset %s", text,
                   pool->failure.hint[0] ? pool->failure.hint : "mend it", pool->spec->id);
}

/* False: it rests for another reason. */
static bool explain_intent(const struct pm_pool *pool, struct pm_pool_view *ret)
{
    struct poolmgr_error error = {0};

    if (!pm_pool_intent_refuses(pool, &error))
        return false;
    ret->code = error.code;
    (void)snprintf(ret->reason, sizeof(ret->reason), "%.90s%s%.90s", error.message,
                   error.hint[0] ? "; " : "", error.hint);
    return true;
}

/* False: nothing is reloaded. */
static bool explain_reload(const struct pm_pool *pool, struct pm_pool_view *ret)
{
    if (!pool->reload)
        return false;
    (void)snprintf(ret->reason, sizeof(ret->reason),
                   "is reloaded (%s); %" PRIu64
                   " waiting request%s; poolctl operations op-%" PRIu64,
                   pool->reload->op->view.phase, pm_pool_n_waiters(pool),
                   pm_plural(pm_pool_n_waiters(pool)), pool->reload->op->view.id);
    return true;
}

static void explain_waiting(const struct pm_place *place, struct pm_pool_view *ret)
{
    uint64_t n = place->pool->core->n_start_places_taken;

    if (pm_room_needed(place) && !pm_link_in_list(&place->start_link))
        ret->code = pm_room_explain(place, ret->reason, sizeof(ret->reason));
    else
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "waits while %" PRIu64 " other pool%s load; a request starts it now", n,
                       pm_plural(n));
}

static void explain_up(const struct pm_place *place, struct pm_pool_view *ret)
{
    if (pm_evict_claimed(place))
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "gives its room to %s; %" PRIu64 " request%s still running",
                       place->room.claimant->pool->spec->id, place->n_running,
                       pm_plural(place->n_running));
    else
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "takes no new requests and stops; %" PRIu64 " request%s still running",
                       place->n_running, pm_plural(place->n_running));
}

static void explain(const struct pm_place *place, struct pm_pool_view *ret)
{
    if (explain_intent(place->pool, ret) || explain_reload(place->pool, ret))
        return;
    switch (place->state) {
    case PM_COLD:
        if (pm_place_is_ours(place))
            explain_cold(place, ret);
        else
            explain_not_ours(place, ret);
        break;
    case PM_STAGING:
        (void)snprintf(ret->reason, sizeof(ret->reason),
                       "its model is checked; %" PRIu64 " waiting request%s",
                       pm_pool_n_waiters(place->pool), pm_plural(pm_pool_n_waiters(place->pool)));
        break;
    case PM_WAITING: explain_waiting(place, ret); break;
    case PM_STARTING: explain_starting(place, ret); break;
    case PM_READY: explain_up(place, ret); break;
    case PM_SICK: explain_sick(place, ret); break;
    case PM_STOPPING: explain_stopping(place, ret); break;
    case PM_BACKOFF: explain_backoff(place, ret); break;
    case PM_FAILED: explain_failed(place->pool, ret); break;
    case PM_STATE_COUNT: break;
    }
}

/* HEALTH-5: stable, for programs. */
static const char *code_name(const struct pm_place *place, int code)
{
    if (code != 0)
        return pm_status(code)->name;
    if (place->pool->reload)
        return "reloading";
    if (place->state == PM_STOPPING && place->instance.stop_reason == PM_BECAUSE_IDLE)
        return "idle_stop";
    if (pm_evict_claimed(place) ||
        (place->state == PM_STOPPING && place->instance.stop_reason == PM_BECAUSE_EVICTED))
        return "evicting";
    return pm_state_name(place->state);
}

/* ---- pools ---------------------------------------------------------------------------------------------------- */

static void add_place(const struct pm_place *place, struct pm_pool_view *ret)
{
    if (place->state == PM_READY || place->state == PM_SICK) {
        ret->live = true;
        ret->slots_total += place->slots_total;
    }
    if (place->gate_open) {
        ret->ready = true;
        ret->slots_free += pm_place_slots_free(place);
    }
    ret->active_leases += pm_place_leases(place);
    ret->planned_bytes = pm_add_ms(ret->planned_bytes, pm_place_planned_bytes(place));
    if (place->instance.last_check_ms > ret->last_check_ms)
        ret->last_check_ms = place->instance.last_check_ms;
    ret->n_failed_checks += place->instance.n_missed;
    if (place->last_error.code != 0 && place->last_error.at_ms >= ret->last_error.at_ms)
        ret->last_error = place->last_error;
}

/* 0: none is due. */
static uint64_t idle_stop_at(const struct pm_pool *pool)
{
    uint64_t first_ms = PM_NEVER;

    for (unsigned i = 0; i < pool->n_places; i++) {
        const struct pm_wanted *wanted = &pool->places[i]->wanted;

        if (wanted->reason == PM_BECAUSE_IN_USE && wanted->until_ms < first_ms)
            first_ms = wanted->until_ms;
    }
    return first_ms == PM_NEVER ? 0 : first_ms;
}

static void view_pool(const struct pm_pool *pool, struct pm_pool_view *ret)
{
    struct pm_link *link;

    memset(ret, 0, sizeof(*ret));
    ret->spec = pool->spec;
    ret->owner = pool->owner;
    ret->on_cpu = pm_ways_on_cpu(pool->core, pool->spec);
    ret->intent = pool->removing ? PM_DRAINING : pool->intent; /* until it is gone */
    ret->state = pool->state;
    ret->since_ms = pool->since_ms;
    ret->model_bytes = pool->model_bytes;
    ret->n_replicas = pool->n_places;
    ret->config_drift = pm_pool_has_drift(pool);
    ret->queue_depth = pm_pool_n_waiters(pool);
    ret->queue_bytes = pm_pool_waiting_bytes(pool);
    ret->idle_stop_ms = idle_stop_at(pool);
    for (unsigned i = 0; i < pool->n_places; i++)
        add_place(pool->places[i], ret);
    pm_list_each (&pool->extras, link)
        ret->active_leases += pm_place_leases(pm_container_of(link, struct pm_place, extra_link));
    if (ret->slots_total == 0) /* none is up: what it will have */
        ret->slots_total = pool->n_places * pool->spec->n_slots;
    ret->code_name = "";
    if (!ret->ready) {
        explain(best_place(pool), ret);
        pm_text_clean(ret->reason); /* it may have been cut */
        ret->code_name = code_name(best_place(pool), ret->code);
    }
}

size_t pm_core_n_pools(const struct pm_core *core)
{
    return core->n_pools;
}

bool pm_core_pool_at(const struct pm_core *core, size_t i, uint64_t now_ms,
                     struct pm_pool_view *ret)
{
    if (i >= core->n_pools)
        return false;
    view_pool(core->by_id[i], ret);
    return true;
}

bool pm_core_pool(const struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_pool_view *ret)
{
    const struct pm_pool *pool = pm_registry_find(core, pool_id);

    if (!pool)
        return false;
    view_pool(pool, ret);
    return true;
}

static void view_instance(const struct pm_place *place, struct pm_replica_view *ret)
{
    const struct pm_tenure *instance = &place->instance;

    ret->instance = instance->n;
    ret->token.serial = place->token.serial;
    ret->pid = instance->pid;
    (void)pm_str_copy(ret->endpoint, sizeof(ret->endpoint), instance->endpoint);
    (void)pm_str_copy(ret->engine_version, sizeof(ret->engine_version), instance->engine_version);
    ret->owner_proved = instance->owner_proved;
    ret->started_ms = instance->started_ms;
    ret->ready_ms = instance->ready_ms;
    ret->last_check_ms = instance->last_check_ms;
    ret->n_failed_checks = instance->n_missed;
}

/* While a reload swaps, the next one stands for its replica. */
const struct pm_place *pm_pool_shown(const struct pm_pool *pool, unsigned index)
{
    const struct pm_place *place = pool->places[index];
    const struct pm_place *next = pool->reload ? pool->reload->next : NULL;

    return next && next->index == index && !pm_place_has_process(place) ? next : place;
}

bool pm_core_replica(const struct pm_core *core, const char *pool_id, unsigned index,
                     struct pm_replica_view *ret)
{
    const struct pm_pool *pool = pm_registry_find(core, pool_id);
    const struct pm_place *place;

    if (!pool || index >= pool->n_places)
        return false;

    place = pm_pool_shown(pool, index);
    memset(ret, 0, sizeof(*ret));
    ret->index = index;
    ret->state = place->state;
    ret->live = place->state == PM_READY || place->state == PM_SICK;
    ret->gate_open = place->gate_open;
    view_instance(place, ret);
    ret->slots_total = place->slots_total;
    ret->active_leases = pm_place_leases(place);
    ret->n_failures = place->clock.n;
    ret->restart_count = place->n_spawns > 0 ? place->n_spawns - 1 : 0;
    ret->breaker = pm_place_breaker(place);
    ret->next_start_ms = place->state == PM_BACKOFF ? place->clock.next_ms : 0;
    ret->last_error = place->last_error;
    if (place->perf.decode_ms > 0)
        ret->tokens_per_s = place->perf.n_tokens / place->perf.decode_ms * 1000;
    ret->first_token_ms = place->perf.first_token_ms;
    return true;
}

bool pm_core_counters(const struct pm_core *core, const char *pool_id, struct pm_pool_counters *ret)
{
    const struct pm_pool *pool = pm_registry_find(core, pool_id);

    if (!pool)
        return false;
    *ret = pool->counters;
    return true;
}

bool pm_core_waiter(const struct pm_core *core, uint64_t request, uint64_t *ret_position)
{
    const struct pm_waiter *waiter = pm_map_get_u64(&core->waiters, request);

    if (!waiter)
        return false;
    *ret_position = pm_queue_position(waiter);
    return true;
}

uint64_t pm_core_snapshot_version(const struct pm_core *core)
{
    return core->version;
}
