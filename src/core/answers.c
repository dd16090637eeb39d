/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the world. Each finds its place by its token (one that is not current is dropped), writes down what it
 * was told, and lets the table and the comparison do the rest.
 */
#include <stdio.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

static void take_failure(struct pm_verdict *verdict, const struct pm_failure *failure,
                         enum pm_class class, int code)
{
    verdict->class = failure->class != PM_CLASS_NONE ? failure->class : class;
    verdict->code = failure->code != 0 ? failure->code : code;
    verdict->permanent = failure->permanent;
    (void)pm_str_copy(verdict->text, sizeof(verdict->text), failure->text);
    pm_text_clean(verdict->text);
    (void)pm_str_copy(verdict->hint, sizeof(verdict->hint), failure->hint);
}

/* ---- the model -------------------------------------------------------------------------------------------- */

static void staging_failed(struct pm_place *place, const struct pm_failure *failure,
                           struct pm_actions *out)
{
    struct pm_verdict verdict = {0};

    take_failure(&verdict, failure, PM_CLASS_STAGING, POOLMGR_E_START_FAILED);
    pm_place_judge(place, &verdict, out);
    (void)pm_place_move(place, PM_CAUSE_STAGING_FAILED, out);
}

void pm_core_program(struct pm_core *core, struct pm_token token, bool few_outputs)
{
    const struct pm_pool *pool = pm_answered(core, token, PM_QUESTION_RELOAD);

    if (pool)
        pm_ways_know_program(core, pool->reload->spec, few_outputs);
    else if ((pool = pm_answered(core, token, PM_QUESTION_STAGING)))
        pm_ways_know_program(core, pool->staged_spec, few_outputs);
}

void pm_core_staged(struct pm_core *core, struct pm_token token, const struct pm_failure *failure,
                    struct pm_model *model, uint64_t size_bytes, uint64_t now_ms,
                    struct pm_actions *out)
{
    struct pm_pool *pool;

    pm_core_enter(core, now_ms, out);
    pool = pm_answered(core, token, PM_QUESTION_RELOAD);
    if (pool) {
        if (!failure)
            pm_ways_know(core, pool->reload->spec, model, size_bytes);
        pm_reload_staged(pool, failure, out);
        pm_pool_step(pool, out);
        return;
    }
    pool = pm_answered(core, token, PM_QUESTION_STAGING);
    if (!pool)
        return;

    pm_unask(core, &pool->staging);
    pool->model_bytes = failure ? 0 : size_bytes;
    if (!failure)
        pm_tell_staged(pool, size_bytes, out);
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pool->places[i]->state != PM_STAGING || pool->places[i]->spec != pool->staged_spec)
            continue;
        if (failure) {
            staging_failed(pool->places[i], failure, out);
            continue;
        }
        pm_ways_know(core, pool->places[i]->spec, model, size_bytes);
        (void)pm_place_move(pool->places[i], PM_CAUSE_STAGED, out);
    }
    pm_pool_step(pool, out);
}

/* ---- a start ---------------------------------------------------------------------------------------------- */

static void spawn_failed(struct pm_place *place, const struct pm_failure *failure,
                         struct pm_actions *out)
{
    struct pm_verdict verdict = {0};

    if (place->state == PM_STARTING) {
        take_failure(&verdict, failure, PM_CLASS_SPAWN, POOLMGR_E_START_FAILED);
        pm_place_judge(place, &verdict, out);
    }
    (void)pm_place_move(place, PM_CAUSE_SPAWN_FAILED, out);
}

void pm_core_spawned(struct pm_core *core, struct pm_token token, const struct pm_failure *failure,
                     int pid, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || (place->instance.spawned && (failure || place->instance.pid > 0)))
        return;

    place->instance.spawned = true;
    place->instance.pid = pid > 0 ? pid : 0;
    place->instance.progress_ms = core->now_ms;
    pm_core_changed(core);
    if (failure)
        spawn_failed(place, failure, out);
    pm_pool_step(place->pool, out);
}

void pm_core_progress(struct pm_core *core, struct pm_token token, uint64_t now_ms,
                      struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place)
        return;

    place->instance.progress_ms = core->now_ms;
    place->instance.life_ms = core->now_ms;
    pm_pool_step(place->pool, out);
}

void pm_core_endpoint_ready(struct pm_core *core, struct pm_token token,
                            const struct pm_ready *ready, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_tenure *instance;
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || place->state != PM_STARTING)
        return;

    instance = &place->instance;
    instance->spawned = true; /* it answers, so it runs */
    (void)pm_str_copy(instance->endpoint, sizeof(instance->endpoint), ready->endpoint);
    (void)pm_str_copy(instance->engine_version, sizeof(instance->engine_version),
                      ready->engine_version);
    instance->owner_proved = ready->owner_proved;
    place->slots_total = ready->n_slots > 0 ? ready->n_slots : place->spec->n_slots;
    if (place->slots_total > PM_SLOTS_MAX)
        place->slots_total = PM_SLOTS_MAX;
    (void)pm_place_move(place, PM_CAUSE_READY, out);
    pm_pool_step(place->pool, out);
}

void pm_core_start_unfit(struct pm_core *core, struct pm_token token,
                         const struct pm_failure *failure, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_verdict verdict = {0};
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || place->state != PM_STARTING || core->leaving) /* what runs is the next daemon's */
        return;

    place->instance.spawned = true; /* it answers, so it runs */
    take_failure(&verdict, failure, PM_CLASS_SPAWN, POOLMGR_E_START_FAILED);
    pm_place_judge(place, &verdict, out);
    (void)pm_place_move(place, PM_CAUSE_UNFIT, out);
    pm_pool_step(place->pool, out);
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

static enum pm_class class_of_exit(const struct pm_exit *how)
{
    enum { SIGNAL_KILL = 9 };

    if (how->status < 0 || (how->signalled && how->status == SIGNAL_KILL))
        return PM_CLASS_KILLED;
    return how->signalled ? PM_CLASS_SIGNAL : PM_CLASS_EXIT;
}

static void judge_exit(struct pm_place *place, const struct pm_exit *how, struct pm_actions *out)
{
    bool was_up = place->state == PM_READY || place->state == PM_SICK;
    struct pm_verdict verdict = {0};

    take_failure(&verdict, &how->evidence, class_of_exit(how),
                 was_up ? POOLMGR_E_ENGINE_CRASHED : POOLMGR_E_START_FAILED);
    if (pm_device_blames(place))
        verdict.class = PM_CLASS_DRIVER;
    verdict.exited = true;
    verdict.signalled = how->signalled;
    verdict.status = how->status;
    pm_place_judge(place, &verdict, out);
}

static void exited(struct pm_place *place, const struct pm_exit *how, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    if (place->instance.exited)
        return;

    place->instance.exited = true;
    place->instance.exit_signalled = how->signalled;
    place->instance.exit_status = how->status;
    /* After a signal of ours, or a driver error, the reason stays what it was. */
    if (place->state != PM_STOPPING && !place->instance.doomed)
        judge_exit(place, how, out);
    (void)pm_place_move(place, PM_CAUSE_EXIT, out);
    pm_error_of_cut(place, &error);
    pm_leases_end(place, false, &error, out);
}

void pm_core_engine_exited(struct pm_core *core, struct pm_token token, const struct pm_exit *how,
                           uint64_t now_ms, struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place)
        return;

    exited(place, how, out);
    pm_pool_step(place->pool, out);
}

void pm_core_childless(struct pm_core *core, struct pm_token token, uint64_t now_ms,
                       struct pm_actions *out)
{
    const struct pm_exit unknown = {.status = -1};
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place)
        return;

    exited(place, &unknown,
           out); /* nothing of it is left, so it has ended, whether we were told or not */
    if (!pm_vram_must_return(place)) {
        (void)pm_place_move(place, PM_CAUSE_CHILDLESS, out);
    } else if (!place->instance.childless) {
        place->instance.childless = true;
        place->instance.childless_ms = core->now_ms;
        pm_core_changed(core);
    }
    pm_pool_step(place->pool, out);
}

/* ---- adoption --------------------------------------------------------------------------------------------- */

int pm_core_adopt(struct pm_core *core, const char *pool_id, unsigned replica, uint64_t instance,
                  int pid, uint64_t started_ms, uint64_t now_ms, struct pm_actions *out,
                  struct pm_token *ret_token, struct poolmgr_error *err)
{
    struct pm_place *place;
    struct pm_pool *pool;

    pm_core_enter(core, now_ms, out);
    pool = pm_registry_find(core, pool_id);
    if (!pool || replica >= pool->n_places || !pool->spec->habits.ours)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no replica %u of a pool '%s'", replica, pool_id);

    place = pool->places[replica];
    if (pm_place_next(place->state, PM_CAUSE_ADOPTED) == PM_NOWHERE)
        return pm_fail(err, POOLMGR_E_CONFLICT, "replica %u of '%s' has an engine already: %s.%llu",
                       replica, pool_id, pool_id, (unsigned long long)place->instance.n);

    pm_core_seen_instance(core, pool_id, instance);
    pm_place_begin_instance(place, instance, started_ms < now_ms ? started_ms : now_ms);
    pm_room_take_adopted(place);
    place->instance.adopted = place->instance.spawned = true;
    place->instance.pid = pid > 0 ? pid : 0;
    /* It may have been up for days: what it gets to prove itself counts from now. */
    if (place->instance.start_by_ms < pm_add_ms(core->now_ms, pool->spec->start_stall_ms))
        place->instance.start_by_ms = pm_add_ms(core->now_ms, pool->spec->start_stall_ms);
    place->begun = PM_BECAUSE_WAITERS;
    pool->waiterless_ms = core->now_ms;
    (void)pm_place_move(place, PM_CAUSE_ADOPTED, out);
    pm_tell_place(place, PM_EV_INSTANCE_ADOPTED, out);
    *ret_token = (struct pm_token){place->token.serial};
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}
