/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits. One queue a group of pools, two classes in it: interactive goes first, but every fourth grant is batch
 * while one waits, so that batch is slow and never starved. Inside a class tenants take turns, and inside a tenant it
 * is first come, first served (QUEUE-1). Where a pool is in several groups, the oldest of those whose turn it is goes
 * first. Everything is O(1) but for what has to look at each tenant; a request that is tried once more keeps its
 * arrival time and goes before those that came after it.
 *
 * A queue is counted in requests and in bytes, by the name under which people come: who waits for only some of the pools
 * counts there, too (QUEUE-2). Who may come in and who has to leave is said in refuse.c.
 */
#include <stdlib.h>

#include "core/inner.h"
#include "util/str.h"

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
    if (queue->n++ == 0)
        group->swept_until_ms = 0; /* whoever was swept out, it was for other reasons */
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

/* ---- counted by name ----------------------------------------------------------------------------------- */

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

void pm_waiter_set_elsewhere(struct pm_waiter *waiter, struct pm_group *elsewhere)
{
    if (elsewhere)
        elsewhere->n_refs++;
    if (waiter->elsewhere) {
        waiter->elsewhere->n_refs--;
        pm_group_touch(waiter->elsewhere);
    }
    waiter->elsewhere = elsewhere;
}

/* ---- in and out --------------------------------------------------------------------------------------- */

static uint64_t arrival_of(const struct pm_core *core, const struct pm_request *request)
{
    return request->retried ? request->arrived_ms : core->now_ms;
}

uint64_t pm_queue_deadline(const struct pm_group *home, const struct pm_request *request)
{
    uint64_t most_ms = home->pools[0]->spec->queue.max_age_ms, asked_ms = request->deadline_ms;

    return pm_add_ms(arrival_of(home->core, request),
                     asked_ms == 0 || asked_ms > most_ms ? most_ms : asked_ms);
}

void pm_queue_add(const struct pm_wish *wish, struct pm_group *group, struct pm_group *elsewhere,
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
    pm_waiter_set_elsewhere(waiter, elsewhere);
    waiter->position = pm_queue_position(waiter);
    (void)pm_map_set_u64(&core->waiters, waiter->id, waiter);
    pm_due_set(core, &waiter->due, pm_queue_deadline(wish->home, request));
    pm_core_changed(core);
    pm_tell_queued(waiter, out);
}

void pm_queue_remove(struct pm_waiter *waiter)
{
    struct pm_core *core = waiter->group->core;

    step_out(waiter);
    unadmit(waiter);
    pm_waiter_set_elsewhere(waiter, NULL);
    (void)pm_map_remove_u64(&core->waiters, waiter->id);
    pm_heap_remove(&core->heap, &waiter->due.node);
    pm_core_changed(core);
    pm_strv_fini(&waiter->prefer);
    free(waiter->name);
    free(waiter);
}

void pm_waiter_move(struct pm_waiter *waiter, struct pm_group *to)
{
    pm_auto_free char *tenant = pm_xstrdup(waiter->line->tenant);

    step_out(waiter);
    stand_in(waiter, to, tenant);
    to->swept_until_ms = 0; /* it was not asked there */
    pm_core_changed(to->core);
}

void pm_waiter_rehome(struct pm_waiter *waiter, struct pm_group *group, struct pm_group *elsewhere,
                      struct pm_group *home)
{
    if (group != waiter->group)
        pm_waiter_move(waiter, group);
    if (home != waiter->home) {
        unadmit(waiter);
        admit(waiter, home);
    }
    pm_waiter_set_elsewhere(waiter, elsewhere == group ? NULL : elsewhere);
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

uint64_t pm_queue_position_of(const struct pm_queue *queue, const struct pm_request *request)
{
    const struct pm_class_queue *class = &queue->classes[request->priority];
    const struct pm_line *line = pm_map_get(&class->lines, request->tenant ? request->tenant : "");

    return ahead_of(queue, request->priority, line, line && !request->retried ? line->n : 0);
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

struct pm_waiter *pm_group_oldest_admitted(const struct pm_group *home, enum pm_priority priority)
{
    return waiter_of_home(pm_list_first(&home->admitted[priority]));
}

struct pm_waiter **pm_queue_all(const struct pm_queue *queue)
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
