/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pool went through, as the next daemon wants to know it (STATE-1): how often its replicas failed in a row, and
 * when; how often they were started; how fast they answer. It is kept behind, and nobody waits for that. A failure or a
 * start is told in its step: they are as rare as the restart clock makes them. Speeds are told when they changed by more
 * than noise, and at most once a second for a pool, however many requests it serves.
 */
#include "core/inner.h"
#include "util/str.h"

#define SPEEDS_EVERY_MS 1000
#define NOISE_STEPS     1 /* of an eighth */

/* ---- to the next daemon --------------------------------------------------------------------------------------- */

void pm_past_note_speed(struct pm_place *place)
{
    uint32_t a = place->speed, b = place->kept_speed;

    if ((a > b ? a - b : b - a) > NOISE_STEPS)
        place->pool->past.is_faster_or_slower = true;
}

static void fill_replica(struct pm_place *place, struct pm_past_replica *ret)
{
    ret->n_failures = place->clock.n;
    ret->failed_ago_ms = place->pool->core->now_ms - place->clock.failed_ms;
    ret->last_error = place->last_error;
    ret->n_spawns = place->n_spawns;
    ret->first_token_ms = place->perf.first_token_ms;
    ret->n_tokens = place->perf.n_tokens;
    ret->decode_ms = place->perf.decode_ms;
    ret->n_answers = place->perf.n_answers;
    place->kept_speed = place->speed;
}

/* A pool of handoffs begins anew with each daemon. */
static struct pm_past *tell(const struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_past *past;

    if (pool->owner == PM_OWNER_HANDOFF)
        return NULL;
    past = pm_action_keep(out);
    (void)pm_str_copy(past->pool_id, sizeof(past->pool_id), pool->spec->id);
    return past;
}

uint64_t pm_past_due(const struct pm_pool *pool)
{
    return pool->past.is_faster_or_slower ? pm_add_ms(pool->past.told_ms, SPEEDS_EVERY_MS)
                                          : PM_NEVER;
}

void pm_past_step(struct pm_pool *pool, struct pm_actions *out)
{
    uint64_t now_ms = pool->core->now_ms;
    struct pm_past *past;

    if (!pool->past.is_news && now_ms < pm_past_due(pool))
        return;
    pool->past.is_news = pool->past.is_faster_or_slower = false;
    pool->past.told_ms = now_ms;
    past = tell(pool, out);
    if (!past)
        return;
    past->identity = pm_spec_identity(pool->spec);
    past->service_ms = pool->measured.service_ms;
    past->start_ms = pool->measured.start_ms;
    for (; past->n < pool->n_places && past->n < PM_PAST_REPLICAS_MAX; past->n++)
        fill_replica(pool->places[past->n], &past->replicas[past->n]);
}

void pm_past_forget(const struct pm_pool *pool, struct pm_actions *out)
{
    (void)tell(pool, out);
}

/* ---- from the last one ---------------------------------------------------------------------------------------- */

/* The rest of the delay runs. */
static void recall_clock(struct pm_place *place, const struct pm_past_replica *was)
{
    const struct pm_pool_spec *spec = place->spec;
    struct pm_core *core = place->pool->core;
    uint64_t delay_ms =
        pm_restart_delay(was->n_failures, spec->backoff.base_ms, spec->backoff.cap_ms,
                         spec->backoff.jitter, pm_core_random(core));

    place->clock.n = was->n_failures;
    place->clock.failed_ms =
        core->now_ms > was->failed_ago_ms ? core->now_ms - was->failed_ago_ms : 0;
    place->last_error = was->last_error;
    place->last_error.at_ms = place->clock.failed_ms;
    place->clock.next_ms = core->now_ms;
    if (delay_ms > was->failed_ago_ms)
        place->clock.next_ms = pm_add_ms(core->now_ms, delay_ms - was->failed_ago_ms);
}

static void recall_speed(struct pm_place *place, const struct pm_past_replica *was)
{
    place->perf = (struct pm_perf){.first_token_ms = was->first_token_ms,
                                   .n_tokens = was->n_tokens,
                                   .decode_ms = was->decode_ms,
                                   .n_answers = was->n_answers};
    pm_perf_look(place);
    place->kept_speed = place->speed;
}

void pm_core_recall_past(struct pm_core *core, const struct pm_past *past, uint64_t now_ms,
                         struct pm_actions *out)
{
    struct pm_pool *pool;

    pm_core_enter(core, now_ms, out);
    pool = pm_registry_find(core, past->pool_id);
    if (!pool)
        return;

    for (size_t i = 0; i < past->n && i < pool->n_places; i++)
        pool->places[i]->n_spawns = past->replicas[i].n_spawns;
    if (past->identity != pm_spec_identity(pool->spec))
        return; /* it is another engine by now: nothing is held against it (SUP-2) */
    for (size_t i = 0; i < past->n && i < pool->n_places; i++) {
        if (past->replicas[i].n_failures > 0)
            recall_clock(pool->places[i], &past->replicas[i]);
        recall_speed(pool->places[i], &past->replicas[i]);
    }
    pool->measured.service_ms = past->service_ms;
    pool->measured.start_ms = past->start_ms;
}
