/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is refused, and why. Whoever cannot be served is told so as soon as that is known: at arrival, when the state of
 * a pool changes, and when the time is up. A pool refuses everybody, or those whose deadline comes before it may start
 * again; where several pools serve a name, a request is refused when all of them refuse it, with what can be tried
 * again soonest.
 *
 * A queue is bounded in requests and in bytes (QUEUE-2), and in how long it may be foretold to last (QUEUE-3): who
 * comes when it is full is refused, or has older batch make room.
 */
#include <string.h>

#include "core/inner.h"
#include "util/error.h"

#define FORCED_OPEN_RETRY_MS (60 * 1000)
#define RETRY_MS             1000

/* ---- refusing ------------------------------------------------------------------------------------------ */

static bool is_of_the_queue(int code)
{
    return code == POOLMGR_E_QUEUE_FULL || code == POOLMGR_E_QUEUE_DROPPED ||
           code == POOLMGR_E_QUEUE_TIMEOUT || code == POOLMGR_E_OVERLOADED;
}

/* A pool that a person has to bring back keeps a pin from being met. */
static void say_pin(struct poolmgr_error *error)
{
    if (error->code != POOLMGR_E_DRAINING && error->code != POOLMGR_E_DISABLED &&
        error->code != POOLMGR_E_POOL_FAILED && error->code != POOLMGR_E_MODEL_NOT_FOUND)
        return;
    (void)pm_wrap(error, error->code, "the pin cannot be met");
    error->code = POOLMGR_E_PIN_UNMET;
    error->retry_after_ms = 0;
}

static struct pm_action *refuse_request(struct pm_pool *pool, uint64_t request,
                                        uint64_t predicted_ms, const struct poolmgr_error *error,
                                        struct pm_actions *out)
{
    struct pm_action *action = pm_action_refuse(out, request, error);

    pool->counters.refused++;
    action->spec = pm_pool_spec_ref(pool->spec);
    if (predicted_ms != PM_NEVER)
        action->predicted_ms = predicted_ms;
    return action;
}

static void refuse(struct pm_waiter *waiter, struct pm_pool *pool,
                   const struct poolmgr_error *error, struct pm_actions *out)
{
    struct poolmgr_error told = *error;
    uint64_t predicted_ms = is_of_the_queue(told.code) ? pm_waiter_predict(waiter) : PM_NEVER;
    struct pm_action *action;

    if (waiter->pinned)
        say_pin(&told);
    pm_tell_waiter(waiter, pool, PM_EV_REQUEST_REFUSED, &told, out);
    action = refuse_request(pool, waiter->id, predicted_ms, &told, out);
    action->queue_position = waiter->position;
    action->waited_ms = pool->core->now_ms - waiter->arrived_ms;
    action->waited = true;
    pm_queue_remove(waiter);
}

void pm_queue_expired(struct pm_waiter *waiter, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    pm_error_of_timeout(waiter, &error);
    refuse(waiter, pm_group_face(waiter->group), &error, out);
}

/* When the first of the pool's places may be started, if all that keeps them is their clocks; 0 otherwise. */
static uint64_t delayed_until(const struct pm_pool *pool, const struct pm_place **ret)
{
    uint64_t first_ms = PM_NEVER;

    if (pool->breaker == PM_BREAKER_OFF)
        return 0;
    for (unsigned i = 0; i < pool->n_places; i++) {
        const struct pm_place *place = pool->places[i];

        if ((place->state != PM_BACKOFF && place->state != PM_COLD) ||
            pm_clock_permits(&place->clock, pool->core->now_ms))
            return 0;
        if (place->clock.next_ms < first_ms) {
            first_ms = place->clock.next_ms;
            *ret = place;
        }
    }
    return first_ms;
}

static bool any_up_or_coming(const struct pm_pool *pool)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pm_place_coming(pool->places[i]))
            return true;
    }
    return false;
}

/* What refuses everybody, whatever their deadline. */
static bool refuses_all(const struct pm_pool *pool, struct poolmgr_error *ret)
{
    const char *id = pool->spec->id;

    if (pool->core->shutting_down || pool->core->leaving) {
        (void)pm_fail(ret, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
        ret->retry_after_ms = RETRY_MS;
        return true;
    }
    if (pm_pool_intent_refuses(pool, ret) || pm_room_lost(pool, ret))
        return true;
    if (any_up_or_coming(pool))
        return false;
    if (!pool->spec->habits.ours) {
        pm_error_of_gone(pool, ret);
        return true;
    }
    if (pool->failed) {
        pm_error_of_failed_pool(pool, ret);
        return true;
    }
    if (pool->breaker == PM_BREAKER_FORCED) {
        (void)pm_fail(ret, POOLMGR_E_BREAKER_OPEN, "an operator keeps %s from starting", id);
        ret->retry_after_ms = FORCED_OPEN_RETRY_MS;
        (void)pm_error_hint(ret, 0, "poolctl reset %s --breaker closed lets it start again", id);
        return true;
    }
    return false;
}

/* ---- refusing by several pools --------------------------------------------------------------------------- */

/* What several pools say about who waits for them. */
struct answer {
    bool none_refuses_nor_delays;
    bool all_refuse;
    uint64_t until_ms; /* whose deadline lies before this is refused */
    struct pm_pool *pool;
    struct poolmgr_error error; /* told, and by which pool */
};

/* Of what pools refuse with, what can be tried again soonest is told (LIFECYCLE §4). */
static void consider(struct answer *answer, struct pm_pool *pool, const struct poolmgr_error *error)
{
    bool can = pm_status(error->code)->retriable;
    bool could = answer->pool && pm_status(answer->error.code)->retriable;

    if (answer->pool &&
        (can < could || (can == could && error->retry_after_ms >= answer->error.retry_after_ms)))
        return;
    answer->pool = pool;
    answer->error = *error;
}

static void ask(struct pm_pool *const *pools, size_t n, struct answer *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->all_refuse = true;
    ret->until_ms = PM_NEVER;
    for (size_t i = 0; i < n; i++) {
        struct poolmgr_error error = {0};
        const struct pm_place *place = NULL;
        uint64_t until_ms;

        if (refuses_all(pools[i], &error)) {
            consider(ret, pools[i], &error);
            continue;
        }
        ret->all_refuse = false;
        until_ms = delayed_until(pools[i], &place);
        if (until_ms == 0) {
            ret->none_refuses_nor_delays = true;
            return;
        }
        if (until_ms < ret->until_ms)
            ret->until_ms = until_ms;
        pm_error_of_delay(place, &error);
        consider(ret, pools[i], &error);
    }
}

static bool admits(const struct answer *answer, uint64_t deadline_ms)
{
    return answer->none_refuses_nor_delays ||
           (!answer->all_refuse && answer->until_ms <= deadline_ms);
}

bool pm_pools_admit(struct pm_pool *const *pools, size_t n, uint64_t deadline_ms,
                    struct poolmgr_error *ret)
{
    struct answer answer;

    ask(pools, n, &answer);
    if (admits(&answer, deadline_ms))
        return true;
    if (ret)
        *ret = answer.error;
    return false;
}

static void refuse_or_send_elsewhere(struct pm_waiter *waiter, const struct answer *answer,
                                     struct pm_actions *out)
{
    struct answer other;

    if (!waiter->elsewhere) {
        refuse(waiter, answer->pool, &answer->error, out);
        return;
    }
    ask(waiter->elsewhere->pools, waiter->elsewhere->n_pools, &other);
    if (admits(&other, waiter->due.node.key)) {
        pm_waiter_move(waiter, waiter->elsewhere);
        pm_waiter_set_elsewhere(waiter, NULL);
    } else {
        refuse(waiter, other.pool, &other.error, out);
    }
}

static void sweep(struct pm_group *group, struct pm_actions *out)
{
    pm_auto_free struct pm_waiter **all = NULL;
    uint64_t until_ms, n = group->queue.n;
    struct answer answer;

    ask(group->pools, group->n_pools, &answer);
    until_ms = answer.none_refuses_nor_delays ? 0 : answer.until_ms;
    if (until_ms == group->swept_until_ms)
        return; /* who came since was asked at arrival */
    group->swept_until_ms = until_ms;
    if (until_ms == 0)
        return;

    all = pm_queue_all(&group->queue);
    for (uint64_t i = 0; i < n; i++) {
        if (!admits(&answer, all[i]->due.node.key))
            refuse_or_send_elsewhere(all[i], &answer, out);
    }
}

static void sweep_starts(struct pm_pool *pool, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    if (refuses_all(pool, &error))
        pm_operations_fail_starts(pool, &error, out);
}

void pm_pool_sweep(struct pm_pool *pool, struct pm_actions *out)
{
    if (pm_pool_has_start(pool))
        sweep_starts(pool, out);
    if (pool->core->waiters.n == 0)
        return;
    for (size_t i = 0; i < pool->n_groups; i++) {
        if (pool->groups[i]->queue.n > 0)
            sweep(pool->groups[i], out);
    }
}

void pm_queue_refuse_all(struct pm_pool *pool, const struct poolmgr_error *error,
                         struct pm_actions *out)
{
    for (size_t i = 0; i < pool->n_groups; i++) {
        struct pm_group *group = pool->groups[i];
        pm_auto_free struct pm_waiter **all = NULL;
        uint64_t n = group->queue.n;

        if (n == 0 || pm_group_has_other(group, pool))
            continue;
        all = pm_queue_all(&group->queue);
        for (uint64_t k = 0; k < n; k++) {
            struct pm_group *elsewhere = all[k]->elsewhere;

            if (elsewhere && pm_group_has_other(elsewhere, pool))
                pm_waiter_move(all[k], elsewhere);
            else
                refuse(all[k], pool, error, out);
        }
    }
}

void pm_queue_removed(struct pm_queue *queue, struct pm_pool *gone, struct pm_actions *out)
{
    pm_auto_free struct pm_waiter **all = pm_queue_all(queue);
    uint64_t n = queue->n;
    struct poolmgr_error error = {0};

    (void)pm_pool_intent_refuses(gone, &error);
    for (uint64_t i = 0; i < n; i++)
        refuse(all[i], gone, &error, out);
}

/* ---- arrival -------------------------------------------------------------------------------------------- */

uint64_t pm_group_most_requests(const struct pm_group *home)
{
    uint64_t most = 0;

    for (size_t i = 0; i < home->n_pools; i++) {
        if (home->pools[i]->spec->queue.n_requests > most)
            most = home->pools[i]->spec->queue.n_requests;
    }
    return most;
}

uint64_t pm_group_most_bytes(const struct pm_group *home)
{
    uint64_t most = 0;

    for (size_t i = 0; i < home->n_pools; i++) {
        if (home->pools[i]->spec->queue.bytes > most)
            most = home->pools[i]->spec->queue.bytes;
    }
    return most;
}

/* The longest that one may have to wait, by what is foretold. */
static uint64_t most_wait(const struct pm_group *home)
{
    uint64_t most_ms = 0;

    for (size_t i = 0; i < home->n_pools; i++) {
        const struct pm_pool_spec *spec = home->pools[i]->spec;
        uint64_t ms = spec->max_queue_wait_ms ? spec->max_queue_wait_ms : spec->queue.max_age_ms;

        if (ms > most_ms)
            most_ms = ms;
    }
    return most_ms;
}

static bool has_room(const struct pm_group *home, const struct pm_request *request)
{
    uint64_t most = pm_group_most_bytes(home);

    return home->n_admitted < pm_group_most_requests(home) && request->bytes <= most &&
           home->bytes_admitted <= most - request->bytes;
}

static bool batch_would_make_room(const struct pm_group *home, const struct pm_request *request)
{
    uint64_t most = pm_group_most_bytes(home);
    uint64_t kept = home->bytes_admitted - home->batch_bytes_admitted;

    return !pm_list_empty(&home->admitted[PM_BATCH]) && request->bytes <= most &&
           kept <= most - request->bytes && pm_group_most_requests(home) > 0;
}

/* drop-lru: the oldest batch makes room, never a higher class for a lower. */
static void drop_batch(struct pm_group *home, const struct pm_request *request,
                       struct pm_actions *out)
{
    struct poolmgr_error error = {0};
    struct pm_waiter *oldest;

    if (home->pools[0]->spec->queue.policy != PM_QUEUE_DROP_LRU ||
        !batch_would_make_room(home, request))
        return;

    while (!has_room(home, request) && (oldest = pm_group_oldest_admitted(home, PM_BATCH))) {
        pm_error_of_full_queue(home, POOLMGR_E_QUEUE_DROPPED, &error);
        refuse(oldest, pm_group_face(oldest->group), &error, out);
    }
}

static void refuse_foretold(struct pm_pool *pool, const struct pm_request *request,
                            const struct poolmgr_error *error, uint64_t predicted_ms,
                            struct pm_actions *out)
{
    struct poolmgr_error told = *error;

    if (request->placement.pin)
        say_pin(&told);
    pm_tell_refused(pool, request, &told, out);
    (void)refuse_request(pool, request->id, predicted_ms, &told, out);
}

void pm_queue_refuse_arrival(struct pm_pool *pool, const struct pm_request *request,
                             const struct poolmgr_error *error, struct pm_actions *out)
{
    refuse_foretold(pool, request, error, PM_NEVER, out);
}

/* The pools that shall serve it, and where it may go after that; NULL: *ret says why nobody takes it. */
static struct pm_group *choose_group(const struct pm_wish *wish, uint64_t deadline_ms,
                                     struct pm_group **ret_elsewhere, struct answer *ret)
{
    struct pm_core *core = wish->home->core;

    *ret_elsewhere = NULL;
    ask(wish->first, wish->n_first, ret);
    if (admits(ret, deadline_ms)) {
        if (wish->n_also > wish->n_first)
            *ret_elsewhere = pm_group_of(core, wish->also, wish->n_also);
        return wish->owned ? pm_group_of(core, wish->first, wish->n_first) : wish->home;
    }
    if (wish->n_also > wish->n_first) {
        ask(wish->also, wish->n_also, ret);
        if (admits(ret, deadline_ms))
            return pm_group_of(core, wish->also, wish->n_also);
    }
    return NULL;
}

void pm_queue_arrive(const struct pm_wish *wish, const struct pm_request *request,
                     struct pm_actions *out)
{
    struct pm_group *home = wish->home, *group, *elsewhere;
    uint64_t deadline_ms = pm_queue_deadline(home, request);
    uint64_t predicted_ms;
    struct poolmgr_error error = {0};
    struct answer answer;

    group = choose_group(wish, deadline_ms, &elsewhere, &answer);
    if (!group) {
        refuse_foretold(answer.pool, request, &answer.error, PM_NEVER, out);
        return;
    }
    pm_group_touch(group); /* which frees it if nobody comes to wait in it */
    if (elsewhere)
        pm_group_touch(elsewhere);

    predicted_ms = pm_group_predict(group, pm_queue_position_of(&group->queue, request));
    if (predicted_ms != PM_NEVER && predicted_ms > most_wait(home) && !request->retried) {
        pm_error_of_overload(group, predicted_ms, most_wait(home), &error);
        refuse_foretold(pm_group_face(group), request, &error, predicted_ms, out);
        return;
    }
    drop_batch(home, request, out);
    if (!has_room(home, request)) {
        pm_error_of_full_queue(home, POOLMGR_E_QUEUE_FULL, &error);
        refuse_foretold(pm_group_face(group), request, &error, predicted_ms, out);
        return;
    }
    pm_queue_add(wish, group, elsewhere, predicted_ms, request, out);
}
