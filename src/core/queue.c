/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits. One queue a group of pools, two classes in it: interactive goes first, but every fourth grant is batch
 * while one waits, so that batch is slow and never starved. Inside a class tenants take turns, and inside a tenant it
 * is first come, first served (QUEUE-1). Where a pool is in several groups, the oldest of those whose turn it is goes
 * first. Everything is O(1) but for what has to look at each tenant; a request that is tried once more keeps its
 * arrival time and goes before those that came after it.
 *
 * A queue is bounded in requests and in bytes, by the name under which people come: who waits for only some of the
 * pools counts there, too (QUEUE-2).
 *
 * Who cannot be served is refused as soon as that is known: at arrival, and when the state of a pool changes.
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define FORCED_OPEN_RETRY_MS (60 * 1000)
#define RETRY_MS             1000

void pm_queue_init(struct pm_queue *queue)
{
    for (size_t i = 0; i < PM_N_PRIORITIES; i++)
        pm_list_init(&queue->classes[i].turns);
}

void pm_queue_fini(struct pm_queue *queue)
{
    for (size_t i = 0; i < PM_N_PRIORITIES; i++)
        pm_map_fini(&queue->classes[i].lines);
}

static struct pm_waiter *waiter_of(struct pm_link *link)
{
    return link ? pm_container_of(link, struct pm_waiter, link) : NULL;
}

static struct pm_waiter *waiter_of_home(struct pm_link *link)
{
    return link ? pm_container_of(link, struct pm_waiter, home_link) : NULL;
}

static struct pm_line *line_of(struct pm_link *link)
{
    return link ? pm_container_of(link, struct pm_line, link) : NULL;
}

static bool came_before(const struct pm_waiter *a, const struct pm_waiter *b)
{
    return a->arrived_ms != b->arrived_ms ? a->arrived_ms < b->arrived_ms : a->order < b->order;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static struct pm_line *find_line(const struct pm_queue *queue, enum pm_priority priority,
                                 const char *tenant)
{
    return pm_map_get(&queue->classes[priority].lines, tenant);
}

static struct pm_line *take_line(struct pm_queue *queue, enum pm_priority priority,
                                 const char *tenant)
{
    struct pm_class_queue *class = &queue->classes[priority];
    struct pm_line *line = pm_map_get(&class->lines, tenant);

    if (line)
        return line;
    line = pm_xalloc(sizeof(*line));
    line->tenant = pm_xstrdup(tenant);
    pm_list_init(&line->waiters);
    pm_list_append(&class->turns, &line->link);
    (void)pm_map_set(&class->lines, tenant, line);
    return line;
}

static void drop_line(struct pm_class_queue *class, struct pm_line *line)
{
    (void)pm_map_remove(&class->lines, line->tenant);
    pm_list_remove(&line->link);
    free(line->tenant);
    free(line);
}

/* Behind all that arrived no later. */
static void insert(struct pm_line *line, struct pm_waiter *waiter)
{
    struct pm_link *link = line->waiters.head.prev;

    if (link == &line->waiters.head || came_before(waiter_of(link), waiter)) {
        pm_list_append(&line->waiters, &waiter->link);
        return;
    }
    pm_list_each (&line->waiters, link) {
        if (came_before(waiter, waiter_of(link)))
            break;
    }
    pm_list_insert_before(link, &waiter->link);
}

/* Its turn is the next one if it is older than whoever had it. */
static void take_turn(struct pm_queue *queue, struct pm_waiter *waiter)
{
    struct pm_waiter *head = pm_queue_head(queue, waiter->priority);

    if (head == waiter || !came_before(waiter, head))
        return;
    pm_list_remove(&waiter->line->link);
    pm_list_prepend(&queue->classes[waiter->priority].turns, &waiter->line->link);
}

static void stand_in(struct pm_waiter *waiter, struct pm_group *group, const char *tenant)
{
    struct pm_queue *queue = &group->queue;

    waiter->group = group;
    waiter->line = take_line(queue, waiter->priority, tenant);
    insert(waiter->line, waiter);
    waiter->line->n++;
    queue->classes[waiter->priority].n++;
    queue->n++;
    queue->bytes += waiter->bytes;
    pm_group_touch(group);
}

static void step_out(struct pm_waiter *waiter)
{
    struct pm_group *group = waiter->group;
    struct pm_queue *queue = &group->queue;
    struct pm_class_queue *class = &queue->classes[waiter->priority];

    pm_list_remove(&waiter->link);
    class->n--;
    queue->n--;
    queue->bytes -= waiter->bytes;
    if (--waiter->line->n == 0)
        drop_line(class, waiter->line);
    waiter->line = NULL;
    if (queue->n == 0)
        group->waiterless_ms = group->core->now_ms;
    pm_group_touch(group);
}

/* ---- bounds -------------------------------------------------------------------------------------------- */

static void admit(struct pm_waiter *waiter, struct pm_group *home)
{
    struct pm_list *list = &home->admitted[waiter->priority];
    struct pm_link *link = list->head.prev;

    if (link != &list->head && came_before(waiter, waiter_of_home(link))) {
        pm_list_each (list, link) {
            if (came_before(waiter, waiter_of_home(link)))
                break;
        }
    } else {
        link = &list->head;
    }
    pm_list_insert_before(link, &waiter->home_link);
    waiter->home = home;
    home->n_admitted++;
    home->bytes_admitted += waiter->bytes;
    if (waiter->priority == PM_BATCH)
        home->batch_bytes_admitted += waiter->bytes;
}

static void unadmit(struct pm_waiter *waiter)
{
    struct pm_group *home = waiter->home;

    pm_list_remove(&waiter->home_link);
    home->n_admitted--;
    home->bytes_admitted -= waiter->bytes;
    if (waiter->priority == PM_BATCH)
        home->batch_bytes_admitted -= waiter->bytes;
    pm_group_touch(home);
}

static void set_elsewhere(struct pm_waiter *waiter, struct pm_group *elsewhere)
{
    if (elsewhere)
        elsewhere->n_refs++;
    if (waiter->elsewhere) {
        waiter->elsewhere->n_refs--;
        pm_group_touch(waiter->elsewhere);
    }
    waiter->elsewhere = elsewhere;
}

/* The largest of the pools' (SPEC, Route). */
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

/* ---- in and out --------------------------------------------------------------------------------------- */

static uint64_t deadline_of(const struct pm_group *home, const struct pm_request *request,
                            uint64_t arrived_ms)
{
    uint64_t most_ms = home->pools[0]->spec->queue.max_age_ms, asked_ms = request->deadline_ms;

    return pm_add_ms(arrived_ms, asked_ms == 0 || asked_ms > most_ms ? most_ms : asked_ms);
}

static uint64_t arrival_of(const struct pm_core *core, const struct pm_request *request)
{
    return request->retried ? request->arrived_ms : core->now_ms;
}

static void add(const struct pm_wish *wish, struct pm_group *group, struct pm_group *elsewhere,
                uint64_t predicted_ms, const struct pm_request *request, struct pm_actions *out)
{
    struct pm_core *core = group->core;
    struct pm_waiter *waiter = pm_xalloc(sizeof(*waiter));

    waiter->id = request->id;
    waiter->bytes = request->bytes;
    waiter->priority = request->priority;
    waiter->arrived_ms = arrival_of(core, request);
    waiter->order = ++core->last_arrival;
    waiter->predicted_ms = predicted_ms;
    waiter->pinned = request->placement.pin != NULL;
    waiter->plain = !wish->owned;
    waiter->due.kind = PM_DUE_WAITER;
    for (size_t i = 0; i < request->placement.n_prefer; i++)
        pm_strv_add(&waiter->prefer, request->placement.prefer[i]);
    (void)pm_str_copy(waiter->request_id, sizeof(waiter->request_id),
                      request->request_id ? request->request_id : "");
    waiter->name = pm_xstrdup(request->route);

    stand_in(waiter, group, request->tenant ? request->tenant : "");
    if (request->retried)
        take_turn(&group->queue, waiter);
    admit(waiter, wish->home);
    set_elsewhere(waiter, elsewhere);
    waiter->position = pm_queue_position(waiter);
    (void)pm_map_set_u64(&core->waiters, waiter->id, waiter);
    pm_due_set(core, &waiter->due, deadline_of(wish->home, request, waiter->arrived_ms));
    pm_core_changed(core);
    pm_tell_queued(waiter, out);
}

void pm_queue_remove(struct pm_waiter *waiter)
{
    struct pm_core *core = waiter->group->core;

    step_out(waiter);
    unadmit(waiter);
    set_elsewhere(waiter, NULL);
    (void)pm_map_remove_u64(&core->waiters, waiter->id);
    pm_heap_remove(&core->heap, &waiter->due.node);
    pm_core_changed(core);
    pm_strv_fini(&waiter->prefer);
    free(waiter->name);
    free(waiter);
}

static void move(struct pm_waiter *waiter, struct pm_group *to)
{
    pm_auto_free char *tenant = pm_xstrdup(waiter->line->tenant);

    step_out(waiter);
    stand_in(waiter, to, tenant);
    to->swept_until_ms = 0; /* it was not asked there */
    pm_core_changed(to->core);
}

/* ---- turns --------------------------------------------------------------------------------------------- */

struct pm_waiter *pm_queue_head(const struct pm_queue *queue, enum pm_priority priority)
{
    const struct pm_line *line = line_of(pm_list_first(&queue->classes[priority].turns));

    return line ? waiter_of(pm_list_first(&line->waiters)) : NULL;
}

static bool batch_is_due(const struct pm_queue *queue)
{
    return queue->classes[PM_BATCH].n > 0 && queue->n_interactive_in_row >= PM_BATCH_EVERY - 1;
}

/* The oldest of those whose turn it is, over all that wait for this pool; of those where batch is due, if asked. */
static struct pm_waiter *oldest_head(const struct pm_pool *pool, enum pm_priority priority,
                                     bool only_due)
{
    struct pm_waiter *oldest = NULL;

    for (size_t i = 0; i < pool->n_groups; i++) {
        const struct pm_queue *queue = &pool->groups[i]->queue;
        struct pm_waiter *head = queue->n > 0 ? pm_queue_head(queue, priority) : NULL;

        if (!head || (only_due && !batch_is_due(queue)))
            continue;
        if (!oldest || came_before(head, oldest))
            oldest = head;
    }
    return oldest;
}

/* Every fourth is batch, of those that a pool grants, and of those that come from a queue. */
struct pm_waiter *pm_pool_next_waiter(const struct pm_pool *pool)
{
    struct pm_waiter *interactive, *batch, *due;

    if (pool->core->waiters.n == 0)
        return NULL;
    interactive = oldest_head(pool, PM_INTERACTIVE, false);
    batch = oldest_head(pool, PM_BATCH, false);
    if (!batch || !interactive)
        return batch ? batch : interactive;
    due = oldest_head(pool, PM_BATCH, true);
    if (due)
        return due;
    return pool->n_interactive_in_row >= PM_BATCH_EVERY - 1 ? batch : interactive;
}

static void count_in_row(uint64_t *n_interactive_in_row, enum pm_priority priority,
                         bool batch_waits)
{
    if (priority == PM_BATCH || !batch_waits)
        *n_interactive_in_row = 0;
    else
        (*n_interactive_in_row)++;
}

void pm_queue_granted(struct pm_pool *pool, struct pm_waiter *waiter)
{
    struct pm_queue *queue = &waiter->group->queue;

    count_in_row(&pool->n_interactive_in_row, waiter->priority,
                 oldest_head(pool, PM_BATCH, false) != NULL);
    count_in_row(&queue->n_interactive_in_row, waiter->priority, queue->classes[PM_BATCH].n > 0);
    pm_list_remove(&waiter->line->link);
    pm_list_append(&queue->classes[waiter->priority].turns, &waiter->line->link);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How many of a class go before one that has n_before in its line: each other tenant has its turn as often. */
static uint64_t ahead_in_class(const struct pm_class_queue *class, const struct pm_line *own,
                               uint64_t n_before)
{
    uint64_t n = n_before, turns = n_before + 1;
    const struct pm_link *link;

    pm_list_each (&class->turns, link) {
        const struct pm_line *line = pm_container_of(link, const struct pm_line, link);

        if (line == own)
            turns = n_before;
        else
            n += least(line->n, turns);
    }
    return n;
}

/* And of the other class: each fourth is batch. */
static uint64_t ahead_of(const struct pm_queue *queue, enum pm_priority priority,
                         const struct pm_line *own, uint64_t n_before)
{
    uint64_t n = ahead_in_class(&queue->classes[priority], own, n_before);
    uint64_t most = PM_BATCH_EVERY - 1, in_row = least(queue->n_interactive_in_row, most);

    if (priority == PM_BATCH)
        return n + least(queue->classes[PM_INTERACTIVE].n, most * (n + 1) - in_row);
    return n + least(queue->classes[PM_BATCH].n, (in_row + n) / most);
}

uint64_t pm_queue_position(const struct pm_waiter *waiter)
{
    const struct pm_link *link = waiter->link.next;
    uint64_t n_behind = 0;

    for (; link != &waiter->line->waiters.head; link = link->next)
        n_behind++;
    return ahead_of(&waiter->group->queue, waiter->priority, waiter->line,
                    waiter->line->n - 1 - n_behind);
}

/* ---- looking ------------------------------------------------------------------------------------------- */

uint64_t pm_pool_n_waiters(const struct pm_pool *pool)
{
    uint64_t n = 0;

    for (size_t i = 0; i < pool->n_groups; i++)
        n += pool->groups[i]->queue.n;
    return n;
}

uint64_t pm_pool_waiting_bytes(const struct pm_pool *pool)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < pool->n_groups; i++)
        bytes += pool->groups[i]->queue.bytes;
    return bytes;
}

const struct pm_waiter *pm_queue_oldest(const struct pm_queue *queue)
{
    const struct pm_waiter *oldest = NULL;
    const struct pm_link *link;

    for (size_t i = 0; i < PM_N_PRIORITIES; i++) {
        pm_list_each (&queue->classes[i].turns, link) {
            const struct pm_line *line = pm_container_of(link, const struct pm_line, link);
            const struct pm_waiter *first = waiter_of(pm_list_first(&line->waiters));

            if (!oldest || came_before(first, oldest))
                oldest = first;
        }
    }
    return oldest;
}

const struct pm_waiter *pm_pool_oldest_waiter(const struct pm_pool *pool)
{
    const struct pm_waiter *oldest = NULL;

    for (size_t i = 0; i < pool->n_groups; i++) {
        const struct pm_waiter *first = pm_queue_oldest(&pool->groups[i]->queue);

        if (first && (!oldest || came_before(first, oldest)))
            oldest = first;
    }
    return oldest;
}

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
        move(waiter, waiter->elsewhere);
        set_elsewhere(waiter, NULL);
    } else {
        refuse(waiter, other.pool, &other.error, out);
    }
}

/* All of a queue: they may be refused one by one while one walks. The caller frees it. */
static struct pm_waiter **all_of(const struct pm_queue *queue)
{
    struct pm_waiter **all = pm_xalloc((queue->n + 1) * sizeof(*all));
    struct pm_link *line, *link;
    size_t n = 0;

    for (size_t i = 0; i < PM_N_PRIORITIES; i++) {
        pm_list_each (&queue->classes[i].turns, line) {
            pm_list_each (&line_of(line)->waiters, link)
                all[n++] = waiter_of(link);
        }
    }
    return all;
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

    all = all_of(&group->queue);
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
        all = all_of(&group->queue);
        for (uint64_t k = 0; k < n; k++) {
            struct pm_group *elsewhere = all[k]->elsewhere;

            if (elsewhere && pm_group_has_other(elsewhere, pool))
                move(all[k], elsewhere);
            else
                refuse(all[k], pool, error, out);
        }
    }
}

void pm_queue_removed(struct pm_queue *queue, struct pm_pool *gone, struct pm_actions *out)
{
    pm_auto_free struct pm_waiter **all = all_of(queue);
    uint64_t n = queue->n;
    struct poolmgr_error error = {0};

    (void)pm_pool_intent_refuses(gone, &error);
    for (uint64_t i = 0; i < n; i++)
        refuse(all[i], gone, &error, out);
}

void pm_waiter_rehome(struct pm_waiter *waiter, struct pm_group *group, struct pm_group *elsewhere,
                      struct pm_group *home)
{
    if (group != waiter->group)
        move(waiter, group);
    if (home != waiter->home) {
        unadmit(waiter);
        admit(waiter, home);
    }
    set_elsewhere(waiter, elsewhere == group ? NULL : elsewhere);
}

/* ---- arrival -------------------------------------------------------------------------------------------- */

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

    while (!has_room(home, request) &&
           (oldest = waiter_of_home(pm_list_first(&home->admitted[PM_BATCH])))) {
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

/* When it would get its slot, if it came in now. */
static uint64_t predict(struct pm_group *group, const struct pm_request *request)
{
    const struct pm_line *line =
        find_line(&group->queue, request->priority, request->tenant ? request->tenant : "");

    return pm_group_predict(group, ahead_of(&group->queue, request->priority, line,
                                            line && !request->retried ? line->n : 0));
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

void pm_queue_add(const struct pm_wish *wish, const struct pm_request *request,
                  struct pm_actions *out)
{
    struct pm_group *home = wish->home, *group, *elsewhere;
    uint64_t deadline_ms = deadline_of(home, request, arrival_of(home->core, request));
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

    predicted_ms = predict(group, request);
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
    add(wish, group, elsewhere, predicted_ms, request, out);
}
