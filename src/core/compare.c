/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one comparison of wanted and actual. After every input the pool it concerns is compared until nothing changes
 * any more: so what one change makes possible happens in the same step, a second comparison finds nothing to do, and
 * nobody has to remember to trigger anything.
 *
 * Wanted up is not yet a start. The permits are asked in order, and the first that refuses is the state people see.
 */
#include "core/inner.h"

/* ---- permits ----------------------------------------------------------------------------------------- */

static bool daemon_permits(const struct pm_place *place)
{
    return place->pool->core->begun;
}

static bool failure_permits(const struct pm_place *place)
{
    return !place->pool->failed;
}

static bool breaker_permits(const struct pm_place *place)
{
    return place->pool->breaker != PM_BREAKER_FORCED;
}

static bool clock_permits(const struct pm_place *place)
{
    return pm_clock_permits(&place->clock, place->pool->core->now_ms);
}

struct permit {
    bool (*permits)(const struct pm_place *place);
    enum pm_cause
        otherwise; /* what its refusal does to a cold place; PM_CAUSE_COUNT: it stays cold */
};

static const struct permit start_permits[] = {
    {daemon_permits, PM_CAUSE_COUNT},
    {failure_permits, PM_CAUSE_SIBLING_FAILED},
    {breaker_permits, PM_CAUSE_COUNT},
    {clock_permits, PM_CAUSE_REFUSED},
};

/* PM_CAUSE_START when nobody refuses. */
static enum pm_cause ask_permits(const struct pm_place *place)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(start_permits); i++) {
        if (!start_permits[i].permits(place))
            return start_permits[i].otherwise;
    }
    return PM_CAUSE_START;
}

bool pm_place_may_start(const struct pm_place *place)
{
    return place->state == PM_COLD && pm_place_is_ours(place) &&
           ask_permits(place) == PM_CAUSE_START;
}

/* ---- places to start: preload only, in the order of the file ----------------------------------------- */

static bool needs_start_place(const struct pm_place *place)
{
    return place->wanted.reason == PM_BECAUSE_PRELOAD;
}

static bool start_places_left(const struct pm_core *core)
{
    return core->n_start_places_taken < core->options.max_parallel_starts;
}

static bool stands_before(const struct pm_place *a, const struct pm_place *b)
{
    if (a->pool->number != b->pool->number)
        return a->pool->number < b->pool->number;
    return a->index < b->index;
}

static void queue_for_start_place(struct pm_place *place)
{
    struct pm_list *queue = &place->pool->core->start_queue;
    struct pm_link *link;

    if (pm_link_in_list(&place->start_link))
        return;

    for (link = queue->head.prev; link != &queue->head; link = link->prev) {
        if (stands_before(pm_container_of(link, struct pm_place, start_link), place))
            break;
    }
    pm_list_insert_before(link->next, &place->start_link);
}

static bool take_start_place(struct pm_place *place)
{
    struct pm_core *core = place->pool->core;

    if (!needs_start_place(place))
        return true;
    if (!start_places_left(core)) {
        queue_for_start_place(place);
        return false;
    }
    place->holds_start_place = true;
    core->n_start_places_taken++;
    return true;
}

/* ---- wanted and actual: each returns whether the state changed ---------------------------------------- */

static bool unwanted(const struct pm_place *place)
{
    return place->wanted.want == PM_EMPTY || place->wanted.want == PM_DOWN;
}

static bool compare_cold(struct pm_place *place, struct pm_actions *out)
{
    enum pm_cause cause;

    if (unwanted(place))
        pm_room_leave(place); /* it was to come back */
    if (place->wanted.want != PM_UP)
        return false;
    cause = ask_permits(place);
    return cause != PM_CAUSE_COUNT && pm_place_move(place, cause, out);
}

/* LOAD-2: what can never fit fails for good; where that is known, before anything is fetched for it. */
static bool never_fits(struct pm_place *place, struct pm_actions *out)
{
    struct pm_verdict verdict = {0};

    if (!pm_room_never(place->pool->core, place->spec, &verdict))
        return false;
    pm_place_judge(place, &verdict, out);
    return pm_place_move(place, PM_CAUSE_NEVER_FITS, out);
}

static bool compare_staging(struct pm_place *place, struct pm_actions *out)
{
    if (unwanted(place) || !breaker_permits(place))
        return pm_place_move(place, PM_CAUSE_UNWANTED, out);
    pm_place_ask_stage(place, out); /* if it had to wait with its question */
    if (pm_ways_estimated(place->pool->core, place->spec))
        return false; /* of the model as it was: another one may lie there by now */
    return never_fits(place, out);
}

static bool compare_waiting(struct pm_place *place, struct pm_actions *out)
{
    if (unwanted(place) || !breaker_permits(place))
        return pm_place_move(place, PM_CAUSE_UNWANTED, out);
    if (never_fits(place, out))
        return true;
    if (!daemon_permits(place) || !pm_reload_permits(place) || !pm_room_ask(place) ||
        !take_start_place(place))
        return false;
    pm_room_take(place);
    return pm_place_move(place, PM_CAUSE_ROOM, out);
}

static uint64_t start_stalls_at(const struct pm_place *place)
{
    return pm_add_ms(place->instance.progress_ms, place->spec->start_stall_ms);
}

static bool start_is_over(const struct pm_place *place)
{
    uint64_t now_ms = place->pool->core->now_ms;

    return now_ms >= place->instance.start_by_ms || now_ms >= start_stalls_at(place);
}

static void judge_timeout(struct pm_place *place, struct pm_actions *out)
{
    struct pm_verdict verdict = {.class = PM_CLASS_START_TIMEOUT, .code = POOLMGR_E_START_TIMEOUT};

    pm_describe_timeout(place, verdict.text, sizeof(verdict.text));
    pm_place_judge(place, &verdict, out);
}

/* Why it is told to stop. */
static enum pm_cause stop_cause(const struct pm_place *place)
{
    if (place->wanted.reason == PM_BECAUSE_DEVICE)
        return PM_CAUSE_DEVICE;
    return place->instance.doomed ? PM_CAUSE_DOOMED : PM_CAUSE_STOP;
}

static bool compare_starting(struct pm_place *place, struct pm_actions *out)
{
    if (unwanted(place))
        return pm_place_move(place, stop_cause(place), out);
    if (!start_is_over(place))
        return false;

    judge_timeout(place, out);
    return pm_place_move(place, PM_CAUSE_START_TIMEOUT, out);
}

static bool compare_up(struct pm_place *place, struct pm_actions *out)
{
    enum pm_cause cause;

    if (place->wanted.want == PM_DOWN ||
        (place->wanted.want == PM_EMPTY && pm_place_emptied(place)))
        return pm_place_move(place, stop_cause(place), out);

    pm_health_look(place, out);
    cause = pm_health_due(place);
    if (cause == PM_CAUSE_COUNT)
        return false;
    if (place->instance.doomed) /* it hangs, too; but how it ends was judged before */
        return pm_place_move(place, PM_CAUSE_DOOMED, out);
    if (cause == PM_CAUSE_STALL || cause == PM_CAUSE_HEALTH)
        pm_health_judge(place, cause, out);
    return pm_place_move(place, cause, out);
}

static bool compare_stopping(struct pm_place *place, struct pm_actions *out)
{
    enum pm_cause cause = pm_vram_returned(place);

    if (cause != PM_CAUSE_COUNT)
        return pm_place_move(place, cause, out);
    pm_place_ladder(place, out);
    return false;
}

static bool compare_place(struct pm_place *place, struct pm_actions *out)
{
    if (place->pool->core->leaving)
        return false; /* what runs is the next daemon's */
    if (!pm_place_is_ours(place))
        return pm_place_follow(place, out);

    switch (place->state) {
    case PM_COLD: return compare_cold(place, out);
    case PM_STAGING: return compare_staging(place, out);
    case PM_WAITING: return compare_waiting(place, out);
    case PM_STARTING: return compare_starting(place, out);
    case PM_READY:
    case PM_SICK: return compare_up(place, out);
    case PM_STOPPING: return compare_stopping(place, out);
    case PM_BACKOFF: return clock_permits(place) && pm_place_move(place, PM_CAUSE_DELAY_OVER, out);
    case PM_FAILED:
    case PM_STATE_COUNT: break;
    }
    return false;
}

/* ---- deadlines ---------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t place_due(const struct pm_place *place)
{
    uint64_t wanted_until_ms = place->wanted.until_ms;

    if (place->pool->core->leaving)
        return PM_NEVER;
    if (!pm_place_is_ours(place))
        return earlier(wanted_until_ms, pm_place_follow_due(place));
    switch (place->state) {
    case PM_STAGING: return wanted_until_ms;
    case PM_WAITING: return earlier(wanted_until_ms, pm_room_due(place));
    case PM_STARTING:
        return earlier(wanted_until_ms,
                       earlier(place->instance.start_by_ms, start_stalls_at(place)));
    case PM_READY:
    case PM_SICK: return earlier(wanted_until_ms, pm_health_next_due(place));
    case PM_STOPPING: return pm_place_ladder_due(place);
    case PM_BACKOFF: return place->clock.next_ms;
    case PM_COLD:
    case PM_FAILED:
    case PM_STATE_COUNT: break;
    }
    return PM_NEVER;
}

static void set_due(struct pm_pool *pool)
{
    uint64_t due_ms = pm_past_due(pool);
    struct pm_link *link;

    for (unsigned i = 0; i < pool->n_places; i++)
        due_ms = earlier(due_ms, place_due(pool->places[i]));
    pm_list_each (&pool->extras, link)
        due_ms = earlier(due_ms, place_due(pm_container_of(link, struct pm_place, extra_link)));
    pm_due_set(pool->core, &pool->due, due_ms);
}

/* What is due in this very step has its turn in it, and is told then. */
void pm_pool_set_due(struct pm_pool *pool)
{
    if (!pm_heap_contains(&pool->due.node) || pool->due.node.key > pool->core->now_ms)
        set_due(pool);
}

/* ---- the step ------------------------------------------------------------------------------------------ */

static void update_gate(struct pm_place *place)
{
    bool open = place->state == PM_READY && place->role == PM_SERVING && !unwanted(place) &&
                pm_pool_admits(place->pool);

    if (open == place->gate_open)
        return;
    place->gate_open = open;
    pm_core_changed(place->pool->core);
}

static void serve(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_waiter *waiter;
    struct pm_place *place;

    while ((waiter = pm_pool_next_waiter(pool)) && (place = pm_pool_choose(pool)))
        pm_waiter_grant(waiter, place, out);
}

static void compare_until_at_rest(struct pm_place *place, struct pm_actions *out)
{
    do {
        place->wanted = pm_place_want(place);
        if (place->wanted.reason == PM_BECAUSE_WAITERS) {
            place->begun = PM_BECAUSE_WAITERS; /* whoever began it: now it is for them */
            place->pool->parked = false;
        }
        update_gate(place);
    } while (compare_place(place, out));
}

static void compare_pool(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_link *link;

    for (unsigned i = 0; i < pool->n_places; i++)
        compare_until_at_rest(pool->places[i], out);
    pm_list_each (&pool->extras, link)
        compare_until_at_rest(pm_container_of(link, struct pm_place, extra_link), out);
}

static void note_state(struct pm_pool *pool)
{
    enum pm_state state = pm_pool_best_state(pool);

    if (state == pool->state)
        return;
    pool->state = state;
    pool->since_ms = pool->core->now_ms;
}

/* By an operator, or the file: of a pool that only serves there is less to look at. */
static bool is_commanded(const struct pm_pool *pool)
{
    return pool->reload || !pm_list_empty(&pool->operations);
}

static void look_at_commands(struct pm_pool *pool, struct pm_actions *out)
{
    pm_drain_look(pool, out);
    pm_reload_look(pool, out);
}

static void step_commands(struct pm_pool *pool, struct pm_actions *out)
{
    pm_reload_step(pool, out);
    pm_operations_step(pool, out);
    pm_change_step(pool, out);
}

void pm_pool_settle(struct pm_pool *pool, struct pm_actions *out)
{
    uint64_t version;

    do {
        version = pool->core->version;
        if (is_commanded(pool))
            look_at_commands(pool, out);
        compare_pool(pool, out);
        pm_pool_sweep(pool, out);
        if (is_commanded(pool))
            step_commands(pool, out);
        serve(pool, out);
    } while (version != pool->core->version);

    pm_commit_step(pool, out);
    pm_past_step(pool, out);
    note_state(pool);
    pm_pool_note_serving(pool);
    set_due(pool);
}

/* A start that ended may let the next one begin. */
static void hand_out_start_places(struct pm_core *core, struct pm_actions *out)
{
    while (start_places_left(core) && !pm_list_empty(&core->start_queue)) {
        struct pm_place *place =
            pm_container_of(pm_list_first(&core->start_queue), struct pm_place, start_link);

        pm_list_remove(&place->start_link);
        if (pm_room_needed(place))
            pm_room_step(core, out); /* it has its turn there, if there is still room */
        else
            pm_pool_settle(place->pool, out);
    }
}

/* Pools that are waited for together with the one that was compared: it may be their turn to start, or to rest. */
static void settle_touched(struct pm_core *core, struct pm_actions *out)
{
    struct pm_link *link;

    while ((link = pm_list_first(&core->touched))) {
        struct pm_group *group = pm_container_of(link, struct pm_group, touched_link);
        const struct pm_pool *target = pm_group_target(group);

        pm_list_remove(link);
        group->n_refs++; /* a change that begins here may take its names */
        for (size_t i = 0; i < group->n_pools; i++) {
            struct pm_pool *pool = group->pools[i];

            if (pool->served || pm_pool_serves(pool) || pm_group_wants(group, pool))
                pm_pool_settle(pool, out);
        }
        group->n_refs--;
        /* Who was to start cannot: now it is another's turn. */
        if (pm_group_target(group) != target)
            pm_group_touch(group);
        if (!pm_link_in_list(&group->touched_link))
            pm_group_free_unused(group);
    }
}

void pm_core_settle(struct pm_core *core, struct pm_actions *out)
{
    do {
        settle_touched(core, out);
        hand_out_start_places(core, out);
        pm_room_step(core, out);
        pm_poolless_step(core, out);
    } while (!pm_list_empty(&core->touched));
    pm_core_may_stop(core, out);
}

void pm_pool_step(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_core *core = pool->core;

    pm_pool_settle(pool, out);
    if (pm_removal_is_over(pool))
        pm_removal_end(pool, out);
    pm_core_settle(core, out);
}
