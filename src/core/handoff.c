/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engines that are not ours (REG-4): handed over by whoever started them, or external in the file. They are probed,
 * routed, counted and emptied, and never started, signalled or judged: ready, sick, or cold, which is gone. Nothing
 * is wanted of them but that they are looked at, so a place of theirs has a comparison of its own.
 *
 * The place knows its engine under a token, like any instance, from the first look until it is let go; being gone ends
 * its leases, not the looking.
 */
#include <stdio.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

bool pm_place_is_ours(const struct pm_place *place)
{
    return place->spec->habits.ours;
}

static bool is_followed(const struct pm_place *place)
{
    return place->token.serial != 0;
}

bool pm_place_is_expected(const struct pm_place *place)
{
    return !pm_place_is_ours(place) && place->state == PM_COLD && !place->vacant && !place->gone &&
           !place->withdrawn && place->role != PM_OLD;
}

/* ---- looking ------------------------------------------------------------------------------------------------- */

static void follow(struct pm_place *place, struct pm_actions *out)
{
    const struct pm_external_spec *external = &place->spec->external;
    struct pm_tenure *instance = &place->instance;
    struct pm_pool *pool = place->pool;

    pm_place_begin_instance(place, ++pool->last_instance, pool->core->now_ms);
    (void)pm_str_copy(instance->endpoint, sizeof(instance->endpoint), external->endpoint);
    if (external->engine_version)
        (void)pm_str_copy(instance->engine_version, sizeof(instance->engine_version),
                          external->engine_version);
    instance->spawned = true;
    instance->pid = (int)external->pid;
    instance->next_probe_ms = pool->core->now_ms;
    place->slots_total = place->spec->n_slots;
    place->gone = false;
    pm_action_of(out, PM_ACT_FOLLOW, place)->spec = pm_pool_spec_ref(place->spec);
    pm_core_changed(pool->core);
}

static void remember_gone(struct pm_place *place, const char *text)
{
    place->gone = true;
    place->last_error.code = POOLMGR_E_ENGINE_GONE;
    place->last_error.class = PM_CLASS_GONE;
    place->last_error.at_ms = place->pool->core->now_ms;
    (void)pm_str_copy(place->last_error.text, sizeof(place->last_error.text), text);
    pm_text_clean(place->last_error.text);
    pm_core_changed(place->pool->core);
}

/* One that was there before has to prove itself as a sick one does. */
static uint64_t probes_to_be_ready(const struct pm_place *place)
{
    return place->gone ? place->spec->probe.rise : 1;
}

static enum pm_cause due(const struct pm_place *place)
{
    if (place->state != PM_COLD)
        return pm_health_due(place);
    return place->instance.n_good >= probes_to_be_ready(place) ? PM_CAUSE_ANSWERS : PM_CAUSE_COUNT;
}

/* When the daemon stops, the handoff is taken back, or another engine took its place: as soon as nobody is served
 * there, or at the deadline. */
static bool shall_be_let_go(const struct pm_place *place)
{
    const struct pm_wanted *wanted = &place->wanted;
    bool for_good = wanted->reason == PM_BECAUSE_SHUTDOWN || wanted->reason == PM_BECAUSE_REMOVAL ||
                    wanted->reason == PM_BECAUSE_WITHDRAWN || place->role == PM_OLD;

    return for_good && (wanted->want == PM_DOWN || pm_place_emptied(place));
}

static void error_of_parting(const struct pm_place *place, struct poolmgr_error *ret)
{
    if (place->pool->core->shutting_down)
        (void)pm_fail(ret, POOLMGR_E_SHUTTING_DOWN, "the daemon stops");
    else
        (void)pm_fail(ret, POOLMGR_E_DRAINING, "an operator takes %s out of service",
                      place->pool->spec->id);
}

static void forget(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    (void)pm_action_of(out, PM_ACT_FORGET, place);
    pm_health_end(place);
    pm_unask(core, &place->token);
    memset(&place->instance, 0, sizeof(place->instance));
    core->n_instances--;
    pm_core_changed(core);
}

static bool let_go(struct pm_place *place, struct pm_actions *out)
{
    bool moved = pm_place_is_up(place) && pm_place_move(place, PM_CAUSE_LET_GO, out);

    if (is_followed(place))
        forget(place, out);
    if (place->withdrawn) {
        place->withdrawn = false;
        place->vacant = true;
    }
    return moved;
}

/* At a deadline of an operator's the streams end; the engine is not ours to stop. */
static void cut_at_deadline(struct pm_place *place, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    if (place->wanted.want != PM_DOWN || pm_place_emptied(place))
        return;
    error_of_parting(place, &error);
    pm_leases_end(place, true, &error, out);
}

/* Its specification names another door by now. */
static bool has_moved(const struct pm_place *place)
{
    return strcmp(place->instance.endpoint, place->spec->external.endpoint) != 0;
}

bool pm_place_follow(struct pm_place *place, struct pm_actions *out)
{
    enum pm_cause cause;

    if (shall_be_let_go(place))
        return let_go(place, out);
    if (place->vacant || !place->pool->core->begun)
        return false;
    if (is_followed(place) && !pm_place_is_up(place) && has_moved(place))
        forget(place, out);
    if (!is_followed(place))
        follow(place, out);

    cut_at_deadline(place, out);
    pm_health_look(place, out);
    if (place->state == PM_COLD && place->instance.n_missed >= place->spec->probe.fall &&
        !place->gone)
        remember_gone(place, "it does not answer its health route");
    cause = due(place);
    return cause != PM_CAUSE_COUNT && pm_place_move(place, cause, out);
}

uint64_t pm_place_follow_due(const struct pm_place *place)
{
    return is_followed(place) ? pm_health_next_due(place) : PM_NEVER;
}

/* ---- leaving ------------------------------------------------------------------------------------------------- */

static void error_of_going(const struct pm_place *place, struct poolmgr_error *ret)
{
    (void)pm_fail(ret, POOLMGR_E_ENGINE_CRASHED, "the engine of %s is gone: %s",
                  place->pool->spec->id, place->last_error.text);
}

static void tell_gone(struct pm_place *place, struct pm_actions *out)
{
    place->verdict.class = PM_CLASS_GONE;
    place->verdict.code = POOLMGR_E_ENGINE_GONE;
    (void)pm_str_copy(place->verdict.text, sizeof(place->verdict.text), place->last_error.text);
    pm_tell_place(place, PM_EV_INSTANCE_CRASHED, out);
    memset(&place->verdict, 0, sizeof(place->verdict)); /* nothing of it is held against anybody */
}

void pm_place_left(struct pm_place *place, enum pm_cause cause, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    place->gate_open = false;
    if (cause == PM_CAUSE_LET_GO) {
        error_of_parting(place, &error);
        pm_leases_end(place, false, &error, out);
        return;
    }

    tell_gone(place, out);
    place->pool->counters.crashes++;
    error_of_going(place, &error);
    pm_leases_end(place, false, &error, out);
    pm_health_end(place);
    place->instance.n_good = 0;
    place->instance.next_probe_ms =
        pm_add_ms(place->pool->core->now_ms, place->spec->probe.every_ms);
}

void pm_core_engine_gone(struct pm_core *core, struct pm_token token, const char *text,
                         uint64_t now_ms, struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || pm_place_is_ours(place))
        return;

    pm_unask(core, &place->probe);
    place->instance.last_check_ms = core->now_ms;
    place->instance.n_good = 0;
    place->instance.n_missed++;
    remember_gone(place, text);
    (void)pm_place_move(place, PM_CAUSE_GONE, out);
    pm_pool_step(place->pool, out);
}

/* ---- what is told to requests and commands --------------------------------------------------------------------- */

void pm_error_of_gone(const struct pm_pool *pool, struct poolmgr_error *ret)
{
    const struct pm_place *last = pool->places[0];

    for (unsigned i = 1; i < pool->n_places; i++) {
        if (pool->places[i]->last_error.at_ms > last->last_error.at_ms)
            last = pool->places[i];
    }
    (void)pm_fail(ret, POOLMGR_E_ENGINE_GONE, "the engine of %s is gone: %s", pool->spec->id,
                  last->last_error.text);
    ret->retry_after_ms = pm_add_ms(0, last->spec->probe.every_ms * last->spec->probe.rise);
    (void)pm_error_hint(ret, 0, "it is not ours to start; it is used again when it answers");
}

int pm_pool_check_ours(const struct pm_pool *pool, const char *verb, struct poolmgr_error *err)
{
    if (pool->spec->habits.ours)
        return POOLMGR_OK;
    (void)pm_fail(err, POOLMGR_E_CONFLICT, "the engine of %s is not ours: nobody can %s it here",
                  pool->spec->id, verb);
    return pm_error_hint(err, 0, "poolctl drain %s takes it out of service", pool->spec->id);
}

/* ---- registering --------------------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* The same process behind the same door. */
static bool same_engine(const struct pm_pool_spec *a, const struct pm_pool_spec *b)
{
    return same_text(a->external.endpoint, b->external.endpoint) &&
           same_text(a->external.model_name, b->external.model_name) &&
           same_text(a->engine, b->engine) && a->external.pid == b->external.pid;
}

static bool same_content(const struct pm_pool_spec *a, const struct pm_pool_spec *b)
{
    return same_engine(a, b) && a->n_slots == b->n_slots && same_text(a->devices, b->devices) &&
           same_text(a->external.engine_version, b->external.engine_version);
}

/* The place of the replica; those below it that nobody handed over are vacant. */
static struct pm_place *place_of(struct pm_pool *pool, unsigned replica, struct pm_pool_spec *spec)
{
    if (replica >= pool->n_places)
        pool->places = pm_xrealloc(pool->places, (replica + 1) * sizeof(struct pm_place *));
    while (replica >= pool->n_places) {
        pool->places[pool->n_places] = pm_place_new(pool, pool->n_places, PM_SERVING, spec);
        pool->places[pool->n_places++]->vacant = true;
    }
    return pool->places[replica];
}

static int check_owner(const struct pm_pool *pool, struct poolmgr_error *err)
{
    if (pool->owner == PM_OWNER_HANDOFF && pool->removing)
        return pm_fail(err, POOLMGR_E_CONFLICT,
                       "'%s' is being removed: hand it over when it is gone", pool->spec->id);
    if (pool->owner == PM_OWNER_HANDOFF)
        return POOLMGR_OK;
    return pm_fail(err, POOLMGR_E_ALREADY_EXISTS,
                   "pool '%s' is there already, and is no handoff but the %s's", pool->spec->id,
                   pm_owner_name(pool->owner));
}

static int find_or_add(struct pm_core *core, struct pm_pool_spec *spec, struct pm_pool **ret,
                       struct pm_actions *out, struct poolmgr_error *err)
{
    int r;

    *ret = pm_registry_find(core, spec->id);
    if (*ret)
        return check_owner(*ret, err);
    r = pm_registry_check_names(core, spec, NULL, err);
    if (r < 0)
        return r;
    *ret = pm_registry_add(core, spec, PM_OWNER_HANDOFF, out);
    (*ret)->places[0]->vacant = true;
    return POOLMGR_OK;
}

static void take_limits(struct pm_place *place, struct pm_pool_spec *spec)
{
    pm_place_set_spec(place, spec);
    place->slots_total = spec->n_slots;
    (void)pm_str_copy(place->instance.engine_version, sizeof(place->instance.engine_version),
                      spec->external.engine_version ? spec->external.engine_version : "");
    pm_core_changed(place->pool->core);
}

/* One that answers takes over from one that is up; one that may be dead does not. */
static int check_takes_over(const struct pm_place *place, const struct pm_handoff *handoff,
                            struct poolmgr_error *err)
{
    if (!pm_place_is_up(place) || handoff->answered)
        return POOLMGR_OK;
    return pm_fail(err, POOLMGR_E_CONFLICT,
                   "replica %u of '%s' is up at %s, and nobody answers at %s", place->index,
                   place->pool->spec->id, place->instance.endpoint,
                   handoff->spec->external.endpoint);
}

/* Beside the former engine, which finishes what it has (REG-4: a reload side by side). */
static struct pm_place *install_beside(struct pm_place *former, struct pm_pool_spec *spec)
{
    struct pm_pool *pool = former->pool;
    struct pm_place *place = pm_place_new(pool, former->index, PM_SERVING, spec);

    pool->places[place->index] = place;
    pm_place_retire(former, pm_add_ms(pool->core->now_ms, former->spec->drain_deadline_ms));
    return place;
}

static struct pm_place *install(struct pm_place *place, const struct pm_handoff *handoff,
                                struct pm_actions *out)
{
    if (pm_place_is_up(place)) {
        place = install_beside(place, handoff->spec);
    } else {
        if (is_followed(place))
            forget(place, out);
        pm_place_set_spec(place, handoff->spec);
        place->slots_total = handoff->spec->n_slots;
    }
    place->vacant = place->gone = place->withdrawn = false;
    memset(&place->last_error, 0, sizeof(place->last_error));
    pm_tell_handoff(place, PM_EV_HANDOFF_ACCEPTED, out);
    return place;
}

static void believe_answer(struct pm_place *place, struct pm_actions *out)
{
    if (place->state != PM_COLD)
        return;
    if (!is_followed(place))
        follow(place, out);
    (void)pm_place_move(place, PM_CAUSE_ANSWERS, out);
}

int pm_core_handoff(struct pm_core *core, const struct pm_handoff *handoff, uint64_t now_ms,
                    struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_place *place;
    struct pm_pool *pool;
    int r;

    pm_core_enter(core, now_ms, out);
    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");

    r = find_or_add(core, handoff->spec, &pool, out, err);
    if (r < 0)
        return r;

    place = place_of(pool, handoff->replica, handoff->spec);
    if (!place->vacant && same_engine(place->spec, handoff->spec)) {
        if (!same_content(place->spec, handoff->spec))
            take_limits(place, handoff->spec);
        place->withdrawn = false;
    } else {
        r = check_takes_over(place, handoff, err);
        if (r < 0)
            return r;
        place = install(place, handoff, out);
    }
    if (handoff->answered && core->begun)
        believe_answer(place, out);
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

uint64_t pm_core_handoff_begins(struct pm_core *core, const struct pm_pool_spec *spec,
                                unsigned replica, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_op *op;

    pm_core_enter(core, now_ms, out);
    op = pm_op_begin_poolless(core, spec->id, PM_OP_HANDOFF, PM_OP_ACTING);
    op->view.replica = replica;
    (void)pm_str_copy(op->view.endpoint, sizeof(op->view.endpoint), spec->external.endpoint);
    return op->view.id;
}

void pm_core_handoff_ends(struct pm_core *core, uint64_t id, const struct poolmgr_error *error,
                          uint64_t now_ms, struct pm_actions *out)
{
    struct pm_op *op;

    pm_core_enter(core, now_ms, out);
    op = pm_map_get_u64(&core->operations, id);
    if (op && op->view.state == PM_OP_RUNNING) /* else the daemon stops */
        pm_op_end(op, error ? PM_OP_FAILED : PM_OP_SUCCEEDED, error, out);
}

static bool is_taken_back(const struct pm_pool *pool)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (!pool->places[i]->vacant && !pool->places[i]->withdrawn)
            return false;
    }
    return true;
}

/* With its last engine the pool goes. */
static void remove_if_taken_back(struct pm_pool *pool, struct pm_actions *out)
{
    if (pool->removing || !is_taken_back(pool))
        return;
    pm_operations_end(pool, PM_OP_DRAIN, PM_OP_CANCELLED, out);
    pm_pool_withdraw(pool, out);
}

int pm_core_withdraw(struct pm_core *core, const char *pool_id, unsigned replica, uint64_t now_ms,
                     struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_pool *pool = pm_registry_find(core, pool_id);
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    if (!pool || pool->owner != PM_OWNER_HANDOFF || replica >= pool->n_places ||
        pool->places[replica]->vacant)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no replica %u of '%s' was handed over", replica,
                       pool_id);

    place = pool->places[replica];
    if (!place->withdrawn) {
        place->withdrawn = true;
        place->withdraw_by_ms = pm_add_ms(core->now_ms, place->spec->drain_deadline_ms);
        pm_tell_handoff(place, PM_EV_HANDOFF_WITHDRAWN, out);
        pm_core_changed(core);
        remove_if_taken_back(pool, out);
    }
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}
