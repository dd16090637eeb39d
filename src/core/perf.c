/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is measured, and what it foretells (QUEUE-3): how long a lease lasts and a start takes, by pool; how fast an
 * engine answers, by replica. Means in which each new value counts for an eighth, so that they follow a change and
 * do not jump. Where nothing was measured nothing is foretold.
 */
#include "core/inner.h"

#define NEW_COUNTS 0.125

static void follow(double *mean, double value)
{
    *mean += (value - *mean) * (*mean > 0 ? NEW_COUNTS : 1);
}

/* Nothing lasts no time at all. */
static double measured(uint64_t ms)
{
    return ms > 0 ? (double)ms : 0.5;
}

void pm_perf_started(struct pm_place *place)
{
    if (place->instance.adopted)
        return;
    follow(&place->pool->measured.start_ms,
           measured(place->instance.ready_ms - place->instance.begun_ms));
    place->pool->past.is_news = true;
}

void pm_perf_served(struct pm_pool *pool, uint64_t took_ms)
{
    follow(&pool->measured.service_ms, measured(took_ms));
}

/* ---- hints ------------------------------------------------------------------------------------------------ */

/* Long answers say more about speed than short ones: tokens and times are summed up, older ones fading. */
static void add_answer(struct pm_perf *perf, uint64_t n_tokens, uint64_t decode_ms)
{
    perf->n_tokens += (double)n_tokens - perf->n_tokens * NEW_COUNTS;
    perf->decode_ms += (double)decode_ms - perf->decode_ms * NEW_COUNTS;
    perf->n_answers += 1 - perf->n_answers * NEW_COUNTS;
}

/* Differences below an eighth are noise. */
static uint32_t coarse(double ms)
{
    uint64_t rest = ms < 1e15 ? (uint64_t)ms : (uint64_t)1e15;
    uint32_t steps = 1;

    while (rest >= 16) {
        rest /= 2;
        steps += 8;
    }
    return steps + (uint32_t)rest;
}

void pm_perf_look(struct pm_place *place)
{
    if (place->perf.n_answers > 0)
        place->speed =
            coarse(place->perf.first_token_ms + place->perf.decode_ms / place->perf.n_answers);
}

void pm_core_perf(struct pm_core *core, const struct pm_lease *lease, uint64_t first_token_ms,
                  uint64_t n_tokens, uint64_t decode_ms)
{
    struct pm_place *place = pm_lease_place(core, lease);

    if (!place)
        return;
    if (first_token_ms != PM_NEVER)
        follow(&place->perf.first_token_ms, measured(first_token_ms));
    if (n_tokens > 0 && decode_ms > 0)
        add_answer(&place->perf, n_tokens, decode_ms);
    pm_perf_look(place);
    pm_past_note_speed(place);
    pm_core_changed(core);
}

/* ---- predicted start ---------------------------------------------------------------------------------------- */

/* What the pools of a group can do. */
struct power {
    bool open;
    uint64_t n_free, n_slots; /* of those that serve */
    double per_ms;            /* leases that end */
    double ready_in_ms;       /* the first that will be ready; < 0: nobody knows */
};

static double start_takes(const struct pm_pool *pool, const struct pm_place *place)
{
    double for_ms = 0;

    if (pool->measured.start_ms <= 0)
        return -1;
    if (place->state == PM_STARTING)
        for_ms = (double)(pool->core->now_ms - place->instance.begun_ms);
    return for_ms < pool->measured.start_ms ? pool->measured.start_ms - for_ms : 0;
}

static void expect(struct power *power, double ready_in_ms)
{
    if (ready_in_ms >= 0 && (power->ready_in_ms < 0 || ready_in_ms < power->ready_in_ms))
        power->ready_in_ms = ready_in_ms;
}

static void add_place(struct power *power, const struct pm_place *place)
{
    const struct pm_pool *pool = place->pool;

    if (!pm_place_coming(place) || !pm_place_may_serve(place))
        return;
    power->n_slots += place->slots_total;
    if (pool->measured.service_ms > 0)
        power->per_ms += (double)place->slots_total / pool->measured.service_ms;
    if (place->gate_open) {
        power->open = true;
        power->n_free += pm_place_slots_free(place);
    } else if (place->state != PM_SICK) {
        expect(power, start_takes(pool, place));
    }
}

/* Nobody serves: it is the one that is to be started, when its clock lets it. */
static void add_target(struct power *power, const struct pm_pool *pool)
{
    const struct pm_place *place = pool->places[0];
    double takes_ms = start_takes(pool, place);

    for (unsigned i = 0; i < pool->n_places; i++) {
        power->n_slots += pool->places[i]->slots_total;
        if (pool->places[i]->clock.next_ms < place->clock.next_ms)
            place = pool->places[i];
    }
    if (pool->measured.service_ms > 0)
        power->per_ms += (double)power->n_slots / pool->measured.service_ms;
    if (takes_ms >= 0 && place->clock.next_ms > pool->core->now_ms)
        takes_ms += (double)(place->clock.next_ms - pool->core->now_ms);
    expect(power, takes_ms);
}

/* Who waits for these pools by other names: shared evenly among all that can serve them. */
static double n_beside(const struct pm_group *group)
{
    double n = 0;

    for (size_t i = 0; i < group->n_pools; i++) {
        const struct pm_pool *pool = group->pools[i];

        for (size_t k = 0; k < pool->n_groups; k++) {
            if (pool->groups[k] != group)
                n += (double)pool->groups[k]->queue.n / (double)pool->groups[k]->n_pools;
        }
    }
    return n;
}

uint64_t pm_group_predict(struct pm_group *group, uint64_t n_ahead)
{
    struct power power = {.ready_in_ms = -1};
    double n, ms;

    for (size_t i = 0; i < group->n_pools; i++) {
        for (unsigned k = 0; k < group->pools[i]->n_places; k++)
            add_place(&power, group->pools[i]->places[k]);
    }
    if (power.n_slots == 0)
        add_target(&power, pm_group_face(group));

    n = (double)n_ahead + n_beside(group) - (double)(power.open ? power.n_free : power.n_slots);
    if ((!power.open && power.ready_in_ms < 0) || (n >= 0 && power.per_ms <= 0))
        return PM_NEVER;
    ms = (power.open ? 0 : power.ready_in_ms) + (n >= 0 ? (n + 1) / power.per_ms : 0);
    if (ms >= (double)PM_PREDICTED_MAX_MS)
        return PM_PREDICTED_MAX_MS;
    return ms < 1 ? 1 : (uint64_t)ms;
}

uint64_t pm_waiter_predict(const struct pm_waiter *waiter)
{
    return pm_group_predict(waiter->group, pm_queue_position(waiter));
}

bool pm_core_predicted_start(const struct pm_core *core, uint64_t request, uint64_t *ret_ms)
{
    const struct pm_waiter *waiter = pm_map_get_u64(&core->waiters, request);
    uint64_t ms = waiter ? pm_waiter_predict(waiter) : PM_NEVER;

    if (ms == PM_NEVER)
        return false;
    *ret_ms = ms;
    return true;
}
