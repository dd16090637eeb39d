/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reload (RELOAD-1). The new model is staged first: a failure there changes nothing. Then the replicas change one at a
 * time. Each gets a `next` place. Where both fit, it starts beside the one that serves and takes over when it is ready;
 * else the former is emptied and stopped first, and comes back if the new one fails. The spec is committed when the
 * last one is ready, before the switch. After a failure those already changed go back.
 *
 * A reload does nothing itself: it says what is wanted of the places it owns (reloadwant.c), and looks what became of
 * them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

static struct pm_place *extra_of(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, extra_link);
}

static bool is_fresh(const struct pm_place *place)
{
    return place->fresh;
}

static bool is_down_and_returns(const struct pm_place *place)
{
    return place->returns && !pm_place_is_up(place) && !pm_place_is_on_its_way(place);
}

/* Past its first signal, or a switch: it cannot end any more as if it had not been. */
bool pm_reload_is_past_return(const struct pm_pool *pool)
{
    return pool->reload && (pool->reload->phase == PM_RELOAD_BACK || pm_pool_any(pool, is_fresh) ||
                            pm_pool_any(pool, is_down_and_returns));
}

/* ---- places that come and go -------------------------------------------------------------------------------------- */

void pm_place_retire(struct pm_place *place, uint64_t by_ms)
{
    struct pm_pool *pool = place->pool;

    place->role = PM_OLD;
    place->old_by_ms = by_ms;
    place->fresh = place->returns = false;
    if (!pm_link_in_list(&place->extra_link))
        pm_list_append(&pool->extras, &place->extra_link);
    pm_core_changed(pool->core);
}

static uint64_t drained_by(const struct pm_pool *pool)
{
    return pm_add_ms(pool->core->now_ms, pool->spec->drain_deadline_ms);
}

static void free_ended(struct pm_pool *pool)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&pool->extras, link, after) {
        struct pm_place *place = extra_of(link);

        if (place->role != PM_OLD || pm_place_has_process(place))
            continue;
        pm_place_free(place);
        pm_core_changed(pool->core);
    }
}

static void put_in(struct pm_place *place)
{
    struct pm_pool *pool = place->pool;
    struct pm_place *former = pm_reload_former(place);

    pm_list_remove(&place->extra_link);
    place->role = PM_SERVING;
    place->n_spawns += former->n_spawns;
    pool->past.is_news = true;
    pool->places[place->index] = place;
    pm_place_retire(former, drained_by(pool));
}

static void drop_next(struct pm_reloading *reload)
{
    if (reload->next)
        pm_place_retire(reload->next, reload->next->pool->core->now_ms);
    reload->next = NULL;
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

static void finish(struct pm_pool *pool, enum pm_operation_state state,
                   const struct poolmgr_error *error, struct pm_actions *out)
{
    struct pm_reloading *reload = pool->reload;
    struct pm_op *op = reload->op;

    drop_next(reload);
    for (unsigned i = 0; i < pool->n_places; i++) {
        pool->places[i]->fresh = pool->places[i]->returns = false;
        pool->places[i]->old_by_ms = drained_by(pool); /* if its spec is not the pool's */
    }
    pm_unask(pool->core, &reload->staging);
    pm_pool_spec_unref(reload->spec);
    free(reload);
    pool->reload = NULL;

    op->view.has_result = true;
    (void)pm_str_copy(op->view.engine_version, sizeof(op->view.engine_version),
                      pool->places[0]->instance.engine_version);
    pm_op_end(op, state, error, out);
    pm_tell_reload(op,
                   op->view.switched      ? PM_EV_RELOAD_SWITCHED
                   : op->view.rolled_back ? PM_EV_RELOAD_ROLLED_BACK
                                          : PM_EV_RELOAD_FAILED,
                   pool, out);
}

static void go_back(struct pm_pool *pool, enum pm_operation_state state, struct pm_actions *out)
{
    struct pm_reloading *reload = pool->reload;
    struct poolmgr_error cause = reload->cause;

    if (!pm_reload_is_past_return(pool)) {
        finish(pool, state, cause.code != 0 ? &cause : NULL, out);
        return;
    }
    drop_next(reload);
    reload->op->stage =
        PM_OP_ACTING; /* what is on its way to the disk is taken back when it is there */
    reload->phase = PM_RELOAD_BACK;
    reload->ends_as = state;
    reload->swap_by_ms = drained_by(pool);
    reload->op->view.rolled_back = true;
    pm_core_changed(pool->core);
}

void pm_reload_call_off(struct pm_pool *pool, bool goes_back, struct pm_actions *out)
{
    if (!pool->reload)
        return;
    if (goes_back)
        go_back(pool, PM_OP_CANCELLED, out);
    else
        finish(pool, PM_OP_CANCELLED, NULL, out);
}

/* ---- failures ------------------------------------------------------------------------------------------------------- */

/* The verdict over one of its places is known. */
void pm_reload_judged(struct pm_place *place)
{
    struct pm_reloading *reload = place->pool->reload;
    const char *id = place->pool->spec->id;
    char text[300];

    pm_describe_verdict(&place->verdict, text, sizeof(text));
    if (place->role == PM_NEXT) {
        reload->cause = (struct poolmgr_error){0};
        (void)pm_fail(&reload->cause, place->verdict.code, "the new engine of %s %s (%s): %s", id,
                      pm_place_is_up(place) ? "ended before the switch" : "did not start",
                      pm_class_name(place->verdict.class), text);
        (void)pm_error_hint(&reload->cause, 0, "poolctl logs %s shows what it said", id);
        reload->next = NULL;
        pm_place_retire(place, place->pool->core->now_ms);
    } else if (reload && reload->phase == PM_RELOAD_BACK && place->returns) {
        size_t n = strlen(reload->cause.message);

        (void)snprintf(reload->cause.message + n, sizeof(reload->cause.message) - n,
                       "; and the former one did not start again (%s): %s",
                       pm_class_name(place->verdict.class), text);
        place->returns = false;
    }
}

/* What was changed by a reload that was called off, and has ended since. */
static void take_back(struct pm_pool *pool)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        struct pm_place *place = pool->places[i];

        if (place->spec == pool->spec || place->fresh || !place->spec->habits.ours ||
            pm_place_has_process(place))
            continue;
        pm_place_set_spec(place, pool->spec);
        place->slots_total = pool->spec->n_slots;
        pm_core_changed(pool->core);
    }
}

void pm_reload_look(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_reloading *reload = pool->reload;
    const struct pm_place *former;

    take_back(pool);
    if (!reload || reload->phase != PM_RELOAD_CHANGING || !reload->next || !reload->swaps ||
        pool->core->now_ms < reload->swap_by_ms || reload->op->view.forced)
        return;
    former = pm_reload_former(reload->next);
    if (pm_place_emptied(former) || !pm_place_is_up(former))
        return;

    reload->op->view.n_leases_left = former->n_running;
    if (reload->op->on_deadline == PM_DEADLINE_STOP) {
        reload->op->view.forced = true;
        pm_core_changed(pool->core);
        return;
    }
    (void)pm_fail(&reload->cause, POOLMGR_E_HAS_LEASES,
                  "%" PRIu64 " request%s of %s still ran at the deadline of its reload",
                  former->n_running, pm_plural(former->n_running), pool->spec->id);
    go_back(pool, PM_OP_FAILED, out);
}

/* ---- forth ------------------------------------------------------------------------------------------------------------ */

/* What still runs the former spec; what is disabled is emptied anyway. */
static struct pm_place *next_to_change(const struct pm_pool *pool, const struct pm_place *but)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        struct pm_place *place = pool->places[i];

        if (!place->fresh && place != but && pm_place_has_process(place))
            return place;
    }
    return NULL;
}

static void begin_next(struct pm_pool *pool, struct pm_place *former)
{
    struct pm_reloading *reload = pool->reload;

    reload->swaps = !pm_place_is_up(former) || !pm_room_fits_beside(former, reload->spec);
    reload->swap_by_ms = pm_add_ms(pool->core->now_ms, reload->op->deadline_ms);
    former->returns = reload->swaps;
    reload->next = pm_place_new(pool, former->index, PM_NEXT, reload->spec);
    pm_list_append(&pool->extras, &reload->next->extra_link);
    pm_core_changed(pool->core);
}

static void ask_commit(struct pm_reloading *reload, struct pm_core *core)
{
    reload->phase = PM_RELOAD_COMMITTING;
    reload->op->stage = PM_OP_TO_COMMIT;
    pm_core_changed(core);
}

static void switch_to_next(struct pm_reloading *reload)
{
    reload->next->fresh = true;
    put_in(reload->next);
    reload->next = NULL;
}

static bool is_coming(const struct pm_place *next)
{
    return next->state == PM_WAITING || next->state == PM_STARTING || pm_place_is_expected(next);
}

static void change(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_reloading *reload = pool->reload;
    struct pm_place *next = reload->next, *place;

    if (next && is_coming(next))
        return;
    if (next && next->state != PM_READY && !pm_place_is_ours(next))
        (void)pm_fail(&reload->cause, POOLMGR_E_ENGINE_GONE,
                      "the new engine of %s is not there: %s", pool->spec->id,
                      next->last_error.text);
    else if (next && next->state != PM_READY)
        (void)pm_fail(&reload->cause, POOLMGR_E_BREAKER_OPEN, "an operator keeps %s from starting",
                      pool->spec->id);
    if (reload->cause.code != 0) {
        go_back(pool, PM_OP_FAILED, out);
        return;
    }

    place = next_to_change(pool, next ? pm_reload_former(next) : NULL);
    if (!place)
        ask_commit(reload, pool->core);
    else if (next)
        switch_to_next(reload);
    else if (!pm_place_is_stopping(place) && pool->intent != PM_DISABLED)
        begin_next(pool, place);
}

void pm_reload_committed(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;
    struct pm_reloading *reload = pool->reload;

    if (reload->phase == PM_RELOAD_BACK) { /* it was called off meanwhile */
        pool->to_tidy = pool->is_behind = true;
        return;
    }
    if (reload->next && reload->next->state != PM_READY)
        (void)pm_fail(&reload->cause, POOLMGR_E_ENGINE_TIMEOUT,
                      "the new engine of %s does not answer any more", pool->spec->id);
    if (reload->cause.code != 0) {
        pool->to_tidy = pool->is_behind = true; /* what is durable is taken back */
        reload->phase = PM_RELOAD_CHANGING;
        change(pool, out);
        return;
    }
    if (reload->next)
        switch_to_next(reload);
    op->view.switched = true;
    pm_pool_set_spec(pool, reload->spec);
    pm_pool_forgive(pool, out);
    finish(pool, PM_OP_SUCCEEDED, NULL, out);
}

void pm_reload_not_committed(struct pm_op *op, const struct poolmgr_error *failure,
                             struct pm_actions *out)
{
    if (op->pool->reload->phase == PM_RELOAD_BACK)
        return;
    op->pool->reload->cause = *failure;
    go_back(op->pool, PM_OP_FAILED, out);
}

/* ---- and back --------------------------------------------------------------------------------------------------------- */

/* The former one of this replica still runs: it only has to open its gate. */
static struct pm_place *still_ready(const struct pm_place *fresh)
{
    struct pm_link *link;

    pm_list_each (&fresh->pool->extras, link) {
        struct pm_place *place = extra_of(link);

        if (place->index == fresh->index && place->spec == fresh->pool->spec &&
            place->state == PM_READY)
            return place;
    }
    return NULL;
}

/* It cannot come back now; what comes later comes by the rules of everybody. */
static bool stays_down(const struct pm_place *place)
{
    return place->state == PM_BACKOFF || place->state == PM_FAILED ||
           (place->state == PM_COLD && place->pool->breaker == PM_BREAKER_FORCED);
}

/* Whether this replica is what it was; one at a time. */
static bool is_back(struct pm_place *place)
{
    struct pm_place *former;

    if (place->fresh && (former = still_ready(place))) {
        put_in(former);
        return true;
    }
    if (place->fresh && pm_place_has_process(place))
        return false;
    if (place->fresh) {
        pm_place_set_spec(place, place->pool->spec);
        place->fresh = false;
        place->returns = true;
        pm_core_changed(place->pool->core);
    }
    if (place->returns && (place->state == PM_READY || stays_down(place)))
        place->returns = false;
    return !place->returns;
}

static void step_back(struct pm_pool *pool, struct pm_actions *out)
{
    struct poolmgr_error cause = pool->reload->cause;

    for (unsigned i = 0; i < pool->n_places; i++) {
        if (!is_back(pool->places[i]))
            return;
    }
    finish(pool, pool->reload->ends_as, cause.code != 0 ? &cause : NULL, out);
}

/* ---- the step --------------------------------------------------------------------------------------------------------- */

static void show(const struct pm_pool *pool)
{
    static const char *const phases[] = {
        [PM_RELOAD_STAGING] = "staging",
        [PM_RELOAD_CHANGING] = "starting",
        [PM_RELOAD_COMMITTING] = "switching",
        [PM_RELOAD_BACK] = "starting",
    };
    const struct pm_reloading *reload = pool->reload;
    struct pm_op *op = reload->op;
    const char *phase = phases[reload->phase];

    if (reload->next && reload->swaps && pm_place_has_process(pm_reload_former(reload->next)))
        phase = pm_place_is_up(pm_reload_former(reload->next)) ? "draining" : "stopping";
    (void)pm_str_copy(op->view.phase, sizeof(op->view.phase), phase);
    op->view.text[0] = '\0';
    if (reload->next && pool->n_places > 1)
        (void)snprintf(op->view.text, sizeof(op->view.text), "replica %u of %u",
                       reload->next->index + 1, pool->n_places);
    if (reload->phase == PM_RELOAD_BACK)
        (void)pm_str_copy(op->view.text, sizeof(op->view.text), "going back to what served before");
}

void pm_reload_step(struct pm_pool *pool, struct pm_actions *out)
{
    if (pool->reload && pool->reload->phase == PM_RELOAD_CHANGING)
        change(pool, out);
    if (pool->reload && pool->reload->phase == PM_RELOAD_BACK)
        step_back(pool, out);
    if (pool->reload)
        show(pool);
    free_ended(pool);
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

void pm_reload_begin(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;
    struct pm_reloading *reload = pm_xalloc(sizeof(*reload));
    struct pm_action *action;

    op->stage = PM_OP_ACTING;
    reload->op = op;
    reload->spec = pm_pool_spec_ref(op->spec);
    reload->phase = PM_RELOAD_STAGING;
    pool->reload = reload;
    pm_ask(pool->core, &reload->staging, PM_QUESTION_RELOAD, pool);
    action = pm_action_add(out, PM_ACT_STAGE);
    action->token.serial = reload->staging.serial;
    action->spec = pm_pool_spec_ref(reload->spec);
    pm_core_changed(pool->core);
    pm_tell_reload(op, PM_EV_RELOAD_STARTED, pool, out);
}

static void refuse(struct pm_pool *pool, int code, const char *text, struct pm_actions *out)
{
    struct pm_reloading *reload = pool->reload;

    (void)pm_fail(&reload->cause, code != 0 ? code : POOLMGR_E_START_FAILED, "nothing changed: %s",
                  text);
    pm_text_clean(reload->cause.message);
    go_back(pool, PM_OP_FAILED, out);
}

/* The model is there, and there are devices that are large enough; or not: then nothing changed. */
void pm_reload_staged(struct pm_pool *pool, const struct pm_failure *failure,
                      struct pm_actions *out)
{
    struct pm_reloading *reload = pool->reload;
    struct pm_verdict never = {0};

    pm_unask(pool->core, &reload->staging);
    if (failure) {
        refuse(pool, failure->code, failure->text, out);
        return;
    }
    if (pm_room_never(pool->core, reload->spec, &never)) {
        refuse(pool, never.code, never.text, out);
        return;
    }
    pm_operations_cancel_starts_before(pool, reload->op, out);
    reload->phase = PM_RELOAD_CHANGING;
    pm_core_changed(pool->core);
}

int pm_core_reload(struct pm_core *core, const char *pool_id, const struct pm_reload *reload,
                   uint64_t now_ms, struct pm_actions *out, uint64_t *ret_op,
                   struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = pm_pool_check_ours(pool, "reload", err);
    if (r < 0)
        return r;
    r = pm_pool_refuses_command(pool, PM_OP_RELOAD, err);
    if (r == POOLMGR_OK && reload->spec)
        r = pm_registry_check_names(core, reload->spec, pool, err);
    if (r < 0)
        return r;
    if (reload->spec)
        pm_pool_set_wanted(pool, reload->spec);

    op = pm_op_begin(pool, PM_OP_RELOAD, PM_OP_ACTING);
    op->owes_answer = true;
    op->spec = pm_pool_spec_ref(pool->wanted);
    op->on_deadline = reload->on_deadline;
    op->deadline_ms = reload->has_deadline ? reload->deadline_ms : pool->spec->drain_deadline_ms;
    *ret_op = op->view.id;
    pm_op_accept(op, out);
    pm_reload_begin(op, out);
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}
