/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it alive? A ready or sick engine is probed; one without a process never wakes us. A missed probe counts only
 * while no request holds a slot: a busy engine may be slow to answer, and then its streams tell (HEALTH-3a). An
 * engine with leases and no sign of life, or whose requests all run into their limits, hangs (HEALTH-3b).
 */
#include "core/inner.h"

#define LIMITS_THAT_STALL 3

void pm_health_begin(struct pm_place *place, struct pm_actions *out)
{
    struct pm_tenure *instance = &place->instance;
    const struct pm_pool_spec *spec = place->spec;
    uint64_t now_ms = place->pool->core->now_ms;

    instance->life_ms = now_ms;
    instance->last_check_ms = now_ms;
    instance->next_probe_ms = pm_add_ms(now_ms, spec->probe.every_ms);
    if (!instance->adopted)
        return;

    /* Streams of the former daemon may still run there: full, until the engine says how full, or they have settled. */
    instance->n_unowned = place->slots_total;
    instance->unowned_until_ms = pm_add_ms(
        now_ms, spec->habits.reports_busy ? spec->abandon_max_ms : spec->cancel_settle_ms);
    pm_ask_busy(place, out);
}

void pm_health_end(struct pm_place *place)
{
    struct pm_core *core = place->pool->core;

    pm_unask(core, &place->probe);
    pm_unask(core, &place->busy);
    place->instance.next_probe_ms = PM_NEVER;
    place->instance.next_busy_ms = PM_NEVER;
    place->instance.n_unowned = 0;
}

static void count_miss(struct pm_place *place)
{
    place->instance.n_good = 0;
    if (pm_place_leases(place) == 0)
        place->instance.n_missed++;
}

static void probe(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    if (place->probe.serial != 0)
        count_miss(place); /* not answered in all that time */

    pm_ask(core, &place->probe, PM_QUESTION_PROBE, place);
    pm_action_of(out, PM_ACT_PROBE, place)->probe.serial = place->probe.serial;
    place->instance.next_probe_ms = pm_add_ms(core->now_ms, place->spec->probe.every_ms);
    if (place->instance.n_unowned > 0)
        pm_ask_busy(place, out);
}

static void look_at_busy(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    place->instance.next_busy_ms = PM_NEVER;
    pm_unask(core, &place->busy); /* not answered in all that time */
    if (place->n_settling > 0)
        pm_ask_busy(place, out);
}

static void forget_unowned(struct pm_place *place)
{
    place->instance.n_unowned = 0;
    pm_core_changed(place->pool->core);
}

static void forgive(struct pm_place *place, struct pm_actions *out)
{
    const struct pm_pool_spec *spec = place->spec;
    uint64_t n_before = place->clock.n;

    if (place->state != PM_READY || n_before == 0)
        return;

    place->clock.n =
        pm_clock_forgiven(n_before, place->pool->core->now_ms - place->instance.ready_since_ms,
                          spec->backoff.settle_ms, spec->backoff.reset_ms, spec->backoff.open_at);
    if (place->clock.n == n_before)
        return;
    place->pool->past.is_news = true;
    pm_core_changed(place->pool->core);
    if (n_before >= spec->backoff.open_at && place->pool->breaker == PM_BREAKER_AUTOMATIC)
        pm_tell_place(place, PM_EV_BREAKER_CLOSED, out);
}

void pm_health_look(struct pm_place *place, struct pm_actions *out)
{
    uint64_t now_ms = place->pool->core->now_ms;

    forgive(place, out);
    if (now_ms >= place->instance.next_probe_ms)
        probe(place, out);
    if (now_ms >= place->instance.next_busy_ms)
        look_at_busy(place, out);
    if (place->instance.n_unowned > 0 && now_ms >= place->instance.unowned_until_ms)
        forget_unowned(place);
}

/* A slot that only settles is at rest, as far as anybody knows. */
static uint64_t stalls_at(const struct pm_place *place)
{
    if (pm_place_at_work(place) == 0 || !pm_place_is_ours(place))
        return PM_NEVER;
    return pm_add_ms(place->instance.life_ms, place->spec->stall_timeout_ms);
}

static uint64_t sick_restart_at(const struct pm_place *place)
{
    if (place->state != PM_SICK || place->instance.doomed || !pm_place_is_ours(place))
        return PM_NEVER;
    return pm_add_ms(place->since_ms, place->spec->probe.sick_restart_ms);
}

enum pm_cause pm_health_due(const struct pm_place *place)
{
    const struct pm_pool_spec *spec = place->spec;
    uint64_t now_ms = place->pool->core->now_ms;

    if (now_ms >= stalls_at(place) ||
        (place->instance.n_limits_in_row >= LIMITS_THAT_STALL && pm_place_is_ours(place)))
        return PM_CAUSE_STALL;
    if (now_ms >= sick_restart_at(place))
        return PM_CAUSE_HEALTH;
    if (place->state == PM_READY && place->instance.n_missed >= spec->probe.fall)
        return PM_CAUSE_MISSED;
    if (place->state == PM_SICK && place->instance.n_good >= spec->probe.rise &&
        !place->instance.doomed)
        return PM_CAUSE_RECOVERED;
    return PM_CAUSE_COUNT;
}

void pm_health_judge(struct pm_place *place, enum pm_cause cause, struct pm_actions *out)
{
    struct pm_verdict verdict = {.code = POOLMGR_E_ENGINE_TIMEOUT};

    if (cause == PM_CAUSE_STALL) {
        verdict.class = PM_CLASS_STALL;
        pm_describe_stall(place, verdict.text, sizeof(verdict.text));
    } else {
        verdict.class = PM_CLASS_HEALTH;
        pm_describe_sickness(place, verdict.text, sizeof(verdict.text));
    }
    pm_place_judge(place, &verdict, out);
}

static uint64_t forgiven_at(const struct pm_place *place)
{
    const struct pm_pool_spec *spec = place->spec;
    uint64_t after_ms = spec->backoff.reset_ms;

    if (place->state != PM_READY || place->clock.n == 0)
        return PM_NEVER;
    if (place->clock.n >= spec->backoff.open_at && spec->backoff.settle_ms < after_ms)
        after_ms = spec->backoff.settle_ms;
    return pm_add_ms(place->instance.ready_since_ms, after_ms);
}

uint64_t pm_health_next_due(const struct pm_place *place)
{
    uint64_t dues[] = {
        place->instance.next_probe_ms,
        place->instance.next_busy_ms,
        stalls_at(place),
        sick_restart_at(place),
        forgiven_at(place),
        place->instance.n_unowned > 0 ? place->instance.unowned_until_ms : PM_NEVER,
    };
    uint64_t first_ms = PM_NEVER;

    for (size_t i = 0; i < PM_ARRAY_LEN(dues); i++) {
        if (dues[i] < first_ms)
            first_ms = dues[i];
    }
    return first_ms;
}

void pm_core_probed(struct pm_core *core, struct pm_token token, bool ok, uint64_t now_ms,
                    struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_PROBE);
    if (!place)
        return;

    pm_unask(core, &place->probe);
    place->instance.last_check_ms = core->now_ms;
    if (ok) {
        place->instance.n_good++;
        place->instance.n_missed = 0;
    } else {
        count_miss(place);
    }
    pm_core_changed(core);
    pm_pool_step(place->pool, out);
}
