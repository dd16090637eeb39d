/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits. Two classes, FIFO inside each; interactive goes first, but every fourth grant is batch while one waits,
 * so that batch is slow and never starved. Bounded in requests and in bytes (QUEUE-1). Everything is O(1); a request
 * that is tried once more keeps its arrival time and goes before those that came after it.
 *
 * Who cannot be served is refused as soon as that is known: at arrival, and when the state of the pool changes.
 */
#include <stdlib.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define FORCED_OPEN_RETRY_MS (60 * 1000)
#define RETRY_MS             1000

void pm_queue_init(struct pm_queue *queue)
{
    for (size_t i = 0; i < PM_N_PRIORITIES; i++)
        pm_list_init(&queue->classes[i]);
}

static struct pm_waiter *waiter_of(struct pm_link *link)
{
    return link ? pm_container_of(link, struct pm_waiter, link) : NULL;
}

/* ---- in and out --------------------------------------------------------------------------------------- */

/* Behind all that arrived no later. */
static void insert(struct pm_list *class, struct pm_waiter *waiter, bool retried)
{
    struct pm_link *link;

    if (!retried) {
        pm_list_append(class, &waiter->link);
        return;
    }
    pm_list_each (class, link) {
        if (waiter_of(link)->arrived_ms > waiter->arrived_ms)
            break;
    }
    pm_list_insert_before(link, &waiter->link);
}

static uint64_t deadline_of(const struct pm_pool *pool, const struct pm_request *request,
                            uint64_t arrived_ms)
{
    uint64_t most_ms = pool->spec->queue.max_age_ms, asked_ms = request->deadline_ms;

    return pm_add_ms(arrived_ms, asked_ms == 0 || asked_ms > most_ms ? most_ms : asked_ms);
}

static uint64_t arrival_of(const struct pm_pool *pool, const struct pm_request *request)
{
    return request->retried ? request->arrived_ms : pool->core->now_ms;
}

/* How many go before the one that was just added at the end of its class. */
static uint64_t ahead_of(const struct pm_queue *queue, const struct pm_waiter *waiter)
{
    return (waiter->priority == PM_BATCH ? queue->n : queue->n_in_class[PM_INTERACTIVE]) - 1;
}

static void add(struct pm_pool *pool, const struct pm_request *request, struct pm_actions *out)
{
    struct pm_queue *queue = &pool->queue;
    struct pm_waiter *waiter = pm_xalloc(sizeof(*waiter));

    waiter->pool = pool;
    waiter->id = request->id;
    waiter->bytes = request->bytes;
    waiter->priority = request->priority;
    waiter->arrived_ms = arrival_of(pool, request);
    waiter->due.kind = PM_DUE_WAITER;
    (void)pm_str_copy(waiter->request_id, sizeof(waiter->request_id),
                      request->request_id ? request->request_id : "");

    insert(&queue->classes[request->priority], waiter, request->retried);
    queue->n_in_class[request->priority]++;
    queue->n++;
    queue->bytes += waiter->bytes;
    waiter->position = request->retried ? pm_queue_position(waiter) : ahead_of(queue, waiter);
    (void)pm_map_set_u64(&pool->core->waiters, waiter->id, waiter);
    pm_due_set(pool->core, &waiter->due, deadline_of(pool, request, waiter->arrived_ms));
    pm_core_changed(pool->core);
    pm_tell_queued(waiter, out);
}

void pm_queue_remove(struct pm_waiter *waiter)
{
    struct pm_pool *pool = waiter->pool;
    struct pm_queue *queue = &pool->queue;

    pm_list_remove(&waiter->link);
    queue->n_in_class[waiter->priority]--;
    queue->n--;
    queue->bytes -= waiter->bytes;
    if (queue->n == 0)
        pool->waiterless_ms = pool->core->now_ms;

    (void)pm_map_remove_u64(&pool->core->waiters, waiter->id);
    pm_heap_remove(&pool->core->heap, &waiter->due.node);
    pm_core_changed(pool->core);
    free(waiter);
}

struct pm_waiter *pm_queue_next(const struct pm_queue *queue)
{
    struct pm_waiter *interactive = waiter_of(pm_list_first(&queue->classes[PM_INTERACTIVE]));
    struct pm_waiter *batch = waiter_of(pm_list_first(&queue->classes[PM_BATCH]));

    if (!batch || (interactive && queue->n_interactive_in_row < PM_BATCH_EVERY - 1))
        return interactive;
    return batch;
}

void pm_queue_granted(struct pm_queue *queue, enum pm_priority priority)
{
    if (priority == PM_BATCH || queue->n_in_class[PM_BATCH] == 0)
        queue->n_interactive_in_row = 0;
    else
        queue->n_interactive_in_row++;
}

uint64_t pm_queue_position(const struct pm_waiter *waiter)
{
    const struct pm_queue *queue = &waiter->pool->queue;
    uint64_t n = waiter->priority == PM_BATCH ? queue->n_in_class[PM_INTERACTIVE] : 0;
    const struct pm_link *link;

    for (link = waiter->link.prev; link != &queue->classes[waiter->priority].head;
         link = link->prev)
        n++;
    return n;
}

uint64_t pm_pool_n_waiters(const struct pm_pool *pool)
{
    return pool->queue.n;
}

uint64_t pm_pool_waiting_bytes(const struct pm_pool *pool)
{
    return pool->queue.bytes;
}

const struct pm_waiter *pm_pool_oldest_waiter(const struct pm_pool *pool)
{
    const struct pm_waiter *oldest = NULL;

    for (size_t i = 0; i < PM_N_PRIORITIES; i++) {
        const struct pm_waiter *first = waiter_of(pm_list_first(&pool->queue.classes[i]));

        if (first && (!oldest || first->arrived_ms < oldest->arrived_ms))
            oldest = first;
    }
    return oldest;
}

/* ---- refusing ------------------------------------------------------------------------------------------ */

static void refuse(struct pm_waiter *waiter, const struct poolmgr_error *error,
                   struct pm_actions *out)
{
    struct pm_action *action;

    waiter->pool->counters.refused++;
    pm_tell_waiter(waiter, PM_EV_REQUEST_REFUSED, error, out);
    action = pm_action_refuse(out, waiter->id, error);
    action->queue_position = waiter->position;
    action->waited_ms = waiter->pool->core->now_ms - waiter->arrived_ms;
    action->waited = true;
    pm_queue_remove(waiter);
}

void pm_queue_refuse_all(struct pm_pool *pool, const struct poolmgr_error *error,
                         struct pm_actions *out)
{
    struct pm_waiter *waiter;

    while ((waiter = pm_queue_next(&pool->queue)))
        refuse(waiter, error, out);
}

void pm_queue_expired(struct pm_waiter *waiter, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    pm_error_of_timeout(waiter, &error);
    refuse(waiter, &error, out);
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
    if (pm_pool_intent_refuses(pool, ret))
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

/* Whether a request that would wait until deadline_ms may wait; *ret says why not. */
static bool admits(const struct pm_pool *pool, uint64_t deadline_ms, struct poolmgr_error *ret)
{
    const struct pm_place *place = NULL;
    uint64_t until_ms;

    if (refuses_all(pool, ret))
        return false;
    until_ms = delayed_until(pool, &place);
    if (until_ms <= deadline_ms)
        return true;
    pm_error_of_delay(place, ret);
    return false;
}

static void sweep_class(struct pm_list *class, uint64_t until_ms, const struct poolmgr_error *error,
                        struct pm_actions *out)
{
    struct pm_link *link, *after;

    pm_list_each_safe (class, link, after) {
        struct pm_waiter *waiter = waiter_of(link);

        if (waiter->due.node.key < until_ms)
            refuse(waiter, error, out);
    }
}

static void sweep(struct pm_pool *pool, struct pm_actions *out)
{
    const struct pm_place *place = NULL;
    struct poolmgr_error error = {0};
    uint64_t until_ms;

    if (refuses_all(pool, &error)) {
        pm_queue_refuse_all(pool, &error, out);
        pm_operations_fail_starts(pool, &error, out);
        return;
    }

    until_ms = delayed_until(pool, &place);
    if (until_ms == pool->swept_until_ms)
        return; /* who came since was asked at arrival */
    pool->swept_until_ms = until_ms;
    if (until_ms == 0)
        return;
    pm_error_of_delay(place, &error);
    for (size_t i = 0; i < PM_N_PRIORITIES; i++)
        sweep_class(&pool->queue.classes[i], until_ms, &error, out);
}

void pm_pool_sweep(struct pm_pool *pool, struct pm_actions *out)
{
    if (pm_pool_n_waiters(pool) > 0 || pm_pool_has_start(pool))
        sweep(pool, out);
}

/* ---- arrival -------------------------------------------------------------------------------------------- */

static bool has_room(const struct pm_pool *pool, const struct pm_request *request)
{
    const struct pm_queue *queue = &pool->queue;

    return queue->n < pool->spec->queue.n_requests && request->bytes <= pool->spec->queue.bytes &&
           queue->bytes <= pool->spec->queue.bytes - request->bytes;
}

/* drop-lru: the oldest batch makes room, never a higher class for a lower. */
static void drop_batch(struct pm_pool *pool, const struct pm_request *request,
                       struct pm_actions *out)
{
    struct poolmgr_error error = {0};
    struct pm_waiter *oldest;

    if (pool->spec->queue.policy != PM_QUEUE_DROP_LRU || request->bytes > pool->spec->queue.bytes)
        return;

    while (!has_room(pool, request) &&
           (oldest = waiter_of(pm_list_first(&pool->queue.classes[PM_BATCH])))) {
        pm_error_of_full_queue(pool, POOLMGR_E_QUEUE_DROPPED, &error);
        refuse(oldest, &error, out);
    }
}

static void refuse_arrival(struct pm_pool *pool, const struct pm_request *request,
                           const struct poolmgr_error *error, struct pm_actions *out)
{
    pool->counters.refused++;
    pm_tell_refused(pool, request, error, out);
    (void)pm_action_refuse(out, request->id, error);
}

void pm_queue_add(struct pm_pool *pool, const struct pm_request *request, struct pm_actions *out)
{
    uint64_t deadline_ms = deadline_of(pool, request, arrival_of(pool, request));
    struct poolmgr_error error = {0};

    if (!admits(pool, deadline_ms, &error)) {
        refuse_arrival(pool, request, &error, out);
        return;
    }
    drop_batch(pool, request, out);
    if (!has_room(pool, request)) {
        pm_error_of_full_queue(pool, POOLMGR_E_QUEUE_FULL, &error);
        refuse_arrival(pool, request, &error, out);
        return;
    }
    add(pool, request, out);
}
