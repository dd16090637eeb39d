/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place moves by the table and in one function. Leaving a state gives back what belonged to it, entering one takes
 * what it needs, and everything that shall happen outside is appended to the list.
 *
 * A try is what lies between the wish to start and `settle`. How it ends is judged once, when it becomes known: from
 * then on the verdict stands, whatever follows until nothing of the engine's tree is left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define KILL_EVERY_MS 1000 /* the tree is killed again until nothing of it is left */

struct pm_place *pm_place_new(struct pm_pool *pool, unsigned index, enum pm_role role,
                              struct pm_pool_spec *spec)
{
    struct pm_place *place = pm_xalloc(sizeof(*place));

    place->pool = pool;
    place->index = index;
    place->role = role;
    /* a reload stages before it makes one; an engine that is not ours waits for no room */
    place->state = role == PM_NEXT && spec->habits.ours ? PM_WAITING : PM_COLD;
    place->spec = pm_pool_spec_ref(spec);
    place->since_ms = pool->core->now_ms;
    place->slots_total = spec->n_slots;
    place->room.due_ms = PM_NEVER;
    return place;
}

/* It has no process; answers that are still under way find nobody. */
void pm_place_free(struct pm_place *place)
{
    struct pm_core *core = place->pool->core;

    pm_unask(core, &place->token);
    pm_unask(core, &place->probe);
    pm_unask(core, &place->busy);
    pm_list_remove(&place->start_link);
    pm_list_remove(&place->extra_link);
    pm_room_forget(place);
    pm_place_free_slots(place);
    pm_pool_spec_unref(place->spec);
    free(place);
}

void pm_place_set_spec(struct pm_place *place, struct pm_pool_spec *spec)
{
    struct pm_pool_spec *before = place->spec;

    place->spec = pm_pool_spec_ref(spec);
    pm_ways_inherit(place->pool->core, before, spec);
    pm_pool_spec_unref(before);
}

static bool has_process(const struct pm_place *place)
{
    return place->token.serial != 0;
}

bool pm_place_coming(const struct pm_place *place)
{
    return place->state == PM_STAGING || place->state == PM_WAITING ||
           place->state == PM_STARTING || place->state == PM_READY || place->state == PM_SICK ||
           pm_place_is_expected(place);
}

bool pm_place_emptied(const struct pm_place *place)
{
    return place->n_running == 0;
}

static bool try_failed(const struct pm_place *place)
{
    return place->verdict.class != PM_CLASS_NONE;
}

static uint64_t counts(const struct pm_verdict *verdict)
{
    if (verdict->class == PM_CLASS_NONE)
        return 0;
    return verdict->class == PM_CLASS_DRIVER ? 2 : 1;
}

uint64_t pm_place_n_after(const struct pm_place *place)
{
    return pm_add_ms(place->clock.n, counts(&place->verdict));
}

uint64_t pm_place_delay_after(const struct pm_place *place)
{
    const struct pm_pool_spec *spec = place->spec;

    return pm_restart_delay(pm_place_n_after(place), spec->backoff.base_ms, spec->backoff.cap_ms,
                            spec->backoff.jitter, place->verdict.random);
}

enum pm_breaker pm_place_breaker(const struct pm_place *place)
{
    const struct pm_pool_spec *spec = place->spec;
    bool trial = place->state == PM_STARTING || place->state == PM_READY || place->state == PM_SICK;

    return pm_clock_breaker(&place->clock, place->pool->breaker, spec->backoff.open_at, trial);
}

/* ---- the end of a try -------------------------------------------------------------------------------- */

static bool others_coming(const struct pm_place *place)
{
    for (unsigned i = 0; i < place->pool->n_places; i++) {
        if (i != place->index && pm_place_coming(place->pool->places[i]))
            return true;
    }
    return false;
}

static void fail_siblings(struct pm_place *place, struct pm_actions *out)
{
    for (unsigned i = 0; i < place->pool->n_places; i++) {
        if (i != place->index)
            (void)pm_place_move(place->pool->places[i], PM_CAUSE_SIBLING_FAILED, out);
    }
}

static void remember_error(struct pm_place *place, const struct pm_verdict *verdict, uint64_t at_ms)
{
    place->last_error.code = verdict->code;
    place->last_error.class = verdict->class;
    place->last_error.at_ms = at_ms;
    pm_describe_verdict(verdict, place->last_error.text, sizeof(place->last_error.text));
}

/* LOAD-3: the first failed start keeps its waiters, since the next try is at once; any other ends them. */
static void end_waiters_of_failed_start(struct pm_place *place, struct pm_actions *out)
{
    bool next_is_at_once = pm_place_n_after(place) == 1 && !place->verdict.permanent &&
                           place->verdict.class != PM_CLASS_START_TIMEOUT;
    struct poolmgr_error error = {0};

    if (next_is_at_once || others_coming(place))
        return;

    pm_error_of_failure(place, &error);
    pm_queue_refuse_all(place->pool, &error, out);
    pm_operations_fail_starts(place->pool, &error, out);
}

static void tell_judged(struct pm_place *place, bool was_up, struct pm_actions *out)
{
    if (place->verdict.class == PM_CLASS_STALL)
        pm_tell_place(place, PM_EV_INSTANCE_STALLED, out);
    else if (place->verdict.class == PM_CLASS_STAGING)
        pm_tell_place(place, PM_EV_MODEL_FAILED, out);
    else if (was_up)
        pm_tell_place(place, PM_EV_INSTANCE_CRASHED, out);
    else
        pm_tell_place(place, PM_EV_START_FAILED, out);
}

void pm_place_judge(struct pm_place *place, const struct pm_verdict *verdict,
                    struct pm_actions *out)
{
    bool was_up = place->state == PM_READY || place->state == PM_SICK;

    place->verdict = *verdict;
    place->verdict.random = pm_core_random(place->pool->core);
    remember_error(place, &place->verdict, place->pool->core->now_ms);
    tell_judged(place, was_up, out);
    if (verdict->class == PM_CLASS_DRIVER)
        pm_device_note_failure(place, out);
    pm_reload_judged(place);
    if (place->role != PM_SERVING) {
        place->pool->counters.crashes += was_up;
        place->pool->counters.start_failures += !was_up;
        return; /* the replica has another place, and its own clock */
    }

    if (verdict->permanent) {
        place->pool->failed = true;
        place->pool->failure = place->verdict;
        place->pool->failed_ms = place->pool->core->now_ms;
        fail_siblings(place, out);
    }
    if (was_up) {
        place->failed_when_ready = true;
        place->pool->counters.crashes++;
        return;
    }
    place->pool->counters.start_failures++;
    end_waiters_of_failed_start(place, out);
}

static void tell_storm(struct pm_place *place, struct pm_actions *out)
{
    uint64_t open_at = place->spec->backoff.open_at;

    pm_tell_place(place, PM_EV_BREAKER_OPENED, out);
    pm_tell_place(place, place->n_oom_in_row >= open_at ? PM_EV_OOM_STORM : PM_EV_STORM, out);
}

static enum pm_state settle_failure(struct pm_place *place, struct pm_actions *out)
{
    const struct pm_pool_spec *spec = place->spec;
    uint64_t n_before = place->clock.n, delay_ms = pm_place_delay_after(place);

    if (place->pool->failed) /* for good: by this failure, or by a sibling's */
        return PM_FAILED;

    pm_clock_fail(&place->clock, counts(&place->verdict), delay_ms, place->pool->core->now_ms);
    place->pool->past.is_news = true;
    place->n_oom_in_row = place->verdict.class == PM_CLASS_OOM ? place->n_oom_in_row + 1 : 0;
    if (n_before < spec->backoff.open_at && place->clock.n >= spec->backoff.open_at)
        tell_storm(place, out);
    else if (delay_ms > 0)
        pm_tell_place(place, PM_EV_RESTART_DELAYED, out);

    if (spec->restart == PM_RESTART_NEVER) {
        place->pool->parked = true;
        return PM_COLD;
    }
    return delay_ms > 0 ? PM_BACKOFF : PM_COLD;
}

static void forget_instance(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    struct poolmgr_error error = {0};

    if (!has_process(place))
        return;

    pm_error_of_cut(place, &error);
    pm_leases_end(place, false, &error, out);
    (void)pm_action_of(out, PM_ACT_FORGET, place);
    pm_unask(core, &place->token);
    pm_health_end(place);
    core->n_instances--;
}

static enum pm_state settle(struct pm_place *place, struct pm_actions *out)
{
    enum pm_state to = PM_COLD;

    if (try_failed(place) && place->role == PM_SERVING)
        to = settle_failure(place, out);
    else if (!try_failed(place))
        pm_tell_place(place, PM_EV_INSTANCE_STOPPED, out);

    forget_instance(place, out);
    pm_room_leave(place);
    pm_room_give_back(place, out);
    memset(&place->instance, 0, sizeof(place->instance));
    memset(&place->verdict, 0, sizeof(place->verdict));
    place->begun = PM_BECAUSE_NOTHING;
    place->slots_total = place->spec->n_slots;
    if (place->pool->failed && place->role == PM_SERVING)
        return PM_FAILED; /* stopped as planned beside one that failed */
    return to;
}

/* ---- entering a state -------------------------------------------------------------------------------- */

/* One question a spec is open: its answer is for all places that shall run it. */
void pm_place_ask_stage(struct pm_place *place, struct pm_actions *out)
{
    struct pm_pool *pool = place->pool;
    struct pm_action *action;

    if (pool->staging.serial != 0)
        return;

    pool->staged_spec = place->spec;
    pm_ask(pool->core, &pool->staging, PM_QUESTION_STAGING, pool);
    action = pm_action_add(out, PM_ACT_STAGE);
    action->token.serial = pool->staging.serial;
    action->spec = pm_pool_spec_ref(place->spec);
    action->replica = place->index;
    pm_tell_place(place, PM_EV_MODEL_STAGING, out);
}

static void stage(struct pm_place *place, struct pm_actions *out)
{
    memset(&place->verdict, 0, sizeof(place->verdict));
    place->begun = place->wanted.reason;
    pm_place_ask_stage(place, out);
}

/* What a fresh start and an adoption have in common. */
void pm_place_begin_instance(struct pm_place *place, uint64_t n, uint64_t started_ms)
{
    struct pm_tenure *instance = &place->instance;
    struct pm_core *core = place->pool->core;

    memset(instance, 0, sizeof(*instance));
    instance->n = n;
    instance->started_ms = started_ms;
    instance->begun_ms = core->now_ms;
    instance->start_by_ms = pm_add_ms(started_ms, place->spec->start_max_ms);
    instance->progress_ms = core->now_ms;
    instance->next_kill_ms = PM_NEVER;
    instance->next_probe_ms = PM_NEVER;
    instance->next_busy_ms = PM_NEVER;
    pm_ask(core, &place->token, PM_QUESTION_INSTANCE, place);
    core->n_instances++;
}

static void spawn(struct pm_place *place, struct pm_actions *out)
{
    struct pm_pool *pool = place->pool;
    struct pm_action *action;

    pm_place_begin_instance(place, ++pool->last_instance, pool->core->now_ms);
    place->n_spawns++;
    pool->past.is_news = true;
    pool->counters.starts++;

    action = pm_action_of(out, PM_ACT_SPAWN, place);
    action->spec = pm_pool_spec_ref(place->spec);
    action->plan = pm_room_plan(place);
    pm_tell_place(place, PM_EV_INSTANCE_STARTING, out);
    if (place->clock.n >= place->spec->backoff.open_at && pool->breaker == PM_BREAKER_AUTOMATIC)
        pm_tell_place(place, PM_EV_BREAKER_HALF_OPEN, out);
}

static void become_ready(struct pm_place *place, enum pm_state from, struct pm_actions *out)
{
    struct pm_pool *pool = place->pool;
    uint64_t now_ms = pool->core->now_ms;

    place->instance.ready_since_ms = now_ms;
    if (from == PM_SICK) {
        pm_tell_place(place, PM_EV_INSTANCE_RECOVERED, out);
        return;
    }

    place->instance.ready_ms = now_ms;
    place->failed_when_ready = false;
    pool->counters.ready++;
    pm_perf_started(place);
    if (pool->n_leases == 0)
        pm_pool_rests(pool);
    pm_tell_place(place, PM_EV_INSTANCE_READY, out);
    pm_trial_succeeds(place, out);
    pm_vram_note_change(place);
    pm_memory_settle(place, out);
    pm_health_begin(place, out);
}

static void send_signal(struct pm_place *place, struct pm_actions *out)
{
    pm_action_of(out, PM_ACT_SIGNAL, place)->reason_code = (int)place->verdict.class;
}

static void send_kill(struct pm_place *place, struct pm_actions *out)
{
    pm_action_of(out, PM_ACT_KILL, place)->reason_code = (int)place->verdict.class;
    place->instance.next_kill_ms = pm_add_ms(place->pool->core->now_ms, KILL_EVERY_MS);
}

static void tell_stopping(struct pm_place *place, struct pm_actions *out)
{
    if (place->instance.stop_reason == PM_BECAUSE_IDLE && place->instance.ready_ms > 0)
        place->pool->counters.idle_stops++;
    if (place->instance.stop_reason == PM_BECAUSE_EVICTED)
        place->pool->counters.evictions++;
    if (place->instance.stop_reason == PM_BECAUSE_ABANDONED)
        pm_tell_place(place, PM_EV_START_ABANDONED, out);
    else if (place->instance.stop_reason == PM_BECAUSE_EVICTED)
        pm_tell_room(place, PM_EV_EVICTED, out);
    else
        pm_tell_place(place, PM_EV_INSTANCE_STOPPING, out);
}

/* The first signal, or the end of the process: from here on the stop is finished before anything else. */
static void begin_stop(struct pm_place *place, enum pm_cause cause, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    place->gate_open = false;
    place->instance.signalled_ms = place->pool->core->now_ms;
    place->instance.stop_reason = place->wanted.reason;
    pm_health_end(place);

    pm_error_of_cut(place, &error);
    if (cause != PM_CAUSE_STOP)
        pm_leases_end(place, false, &error, out);
    else
        pm_leases_end(place, true, &error, out);

    if (cause == PM_CAUSE_STOP || cause == PM_CAUSE_DEVICE)
        tell_stopping(place, out);
    if (cause == PM_CAUSE_EXIT)
        return;
    if (cause == PM_CAUSE_START_TIMEOUT || cause == PM_CAUSE_DEVICE || place->pool->core->at_once)
        send_kill(place, out);
    else
        send_signal(place, out);
}

/* The ladder's later rungs, as often as they are due. */
void pm_place_ladder(struct pm_place *place, struct pm_actions *out)
{
    struct pm_tenure *instance = &place->instance;
    const struct pm_pool_spec *spec = place->spec;
    uint64_t now_ms = place->pool->core->now_ms;
    bool killing = instance->next_kill_ms != PM_NEVER;

    if (instance->childless)
        return;
    if (!killing && (place->pool->core->at_once || pm_device_fails_under(place) ||
                     now_ms >= pm_add_ms(instance->signalled_ms, spec->stop_grace_ms)))
        instance->next_kill_ms = now_ms;
    if (now_ms >= instance->next_kill_ms) {
        send_kill(place, out);
        return;
    }
    if (!killing && spec->habits.second_sigterm && !instance->second_signal && !instance->exited &&
        now_ms >= pm_add_ms(instance->signalled_ms, spec->stop_grace_ms / 2)) {
        instance->second_signal = true;
        send_signal(place, out);
    }
}

uint64_t pm_place_ladder_due(const struct pm_place *place)
{
    const struct pm_tenure *instance = &place->instance;
    const struct pm_pool_spec *spec = place->spec;

    if (instance->childless)
        return pm_vram_return_due(place);
    if (instance->next_kill_ms != PM_NEVER)
        return instance->next_kill_ms;
    if (spec->habits.second_sigterm && !instance->second_signal && !instance->exited)
        return pm_add_ms(instance->signalled_ms, spec->stop_grace_ms / 2);
    return pm_add_ms(instance->signalled_ms, spec->stop_grace_ms);
}

static void enter(struct pm_place *place, enum pm_state from, enum pm_cause cause,
                  struct pm_actions *out)
{
    switch (place->state) {
    case PM_STAGING: stage(place, out); break;
    case PM_STARTING:
        if (cause == PM_CAUSE_ROOM)
            spawn(place, out);
        break;
    case PM_READY: become_ready(place, from, out); break;
    case PM_SICK:
        place->gate_open = false;
        pm_tell_place(place, PM_EV_INSTANCE_SICK, out);
        break;
    case PM_STOPPING: begin_stop(place, cause, out); break;
    case PM_FAILED: /* by its own doing or a sibling's: the cause is the pool's */
        remember_error(place, &place->pool->failure, place->pool->failed_ms);
        break;
    case PM_COLD:
        if (!pm_place_is_ours(place))
            pm_place_left(place, cause, out);
        break;
    case PM_WAITING:
    case PM_BACKOFF:
    case PM_STATE_COUNT: break;
    }
}

static void leave(struct pm_place *place, enum pm_state from)
{
    struct pm_core *core = place->pool->core;

    if (from == PM_WAITING) {
        pm_list_remove(&place->start_link);
        pm_room_leave(place);
    }
    if (from == PM_STARTING && place->holds_start_place) {
        place->holds_start_place = false;
        core->n_start_places_taken--;
    }
}

bool pm_place_move(struct pm_place *place, enum pm_cause cause, struct pm_actions *out)
{
    enum pm_state from = place->state;
    int next = pm_place_next(from, cause);

    if (next == PM_NOWHERE)
        return false;

    pm_core_changed(place->pool->core);
    if (next == PM_SETTLE)
        next = settle(place, out);
    if (next == (int)from)
        return true;

    leave(place, from);
    place->state = (enum pm_state)next;
    place->since_ms = place->pool->core->now_ms;
    enter(place, from, cause, out);
    return true;
}
