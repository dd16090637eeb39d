/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books of who waits. A name stands for a set of pools, as bits; all names with one set share a queue, and a pool
 * serves every queue whose set it is in. In a queue there are two classes, in a class tenants take turns, and in a
 * tenant's line it is first come, first served.
 */
#include <string.h>

#include "sim.h"

static struct book_request *request_of(struct pm_link *link)
{
    return link ? pm_container_of(link, struct book_request, link) : NULL;
}

static bool has_name(const struct book_pool *pool, const char *name)
{
    return strcmp(pool->spec->id, name) == 0 || pm_strv_contains(&pool->spec->aliases, name);
}

unsigned book_pools_of(const struct sim *sim, const char *name)
{
    unsigned set = 0;

    for (int i = 0; i < sim->books.n_pools; i++) {
        const struct book_pool *pool = &sim->books.pools[i];

        if (pool->there && !pool->removing && has_name(pool, name))
            set |= 1U << i;
    }
    return set;
}

int book_first_of(const struct sim *sim, unsigned set)
{
    int first = SIM_NOBODY;

    for (int i = 0; i < sim->books.n_pools; i++) {
        if ((set & (1U << i)) &&
            (first == SIM_NOBODY || sim->books.pools[i].number < sim->books.pools[first].number))
            first = i;
    }
    return first;
}

bool book_came_before(const struct sim *sim, const struct book_request *a,
                      const struct book_request *b)
{
    return a->arrived_ms != b->arrived_ms ? a->arrived_ms < b->arrived_ms : a < b;
}

/* ---- lines --------------------------------------------------------------------------------------------------------- */

struct book_request *book_head_of_line(const struct book_queue *queue, enum pm_priority class,
                                       int tenant)
{
    return request_of(pm_list_first(&queue->lines[class][tenant].waiters));
}

/* Whose turn it is. */
struct book_request *book_head(const struct book_queue *queue, enum pm_priority class)
{
    struct book_request *head = NULL;
    int64_t first = INT64_MAX;

    for (int tenant = 0; tenant < SIM_TENANTS; tenant++) {
        const struct book_line *line = &queue->lines[class][tenant];

        if (!pm_list_empty(&line->waiters) && line->turn < first) {
            first = line->turn;
            head = book_head_of_line(queue, class, tenant);
        }
    }
    return head;
}

static void insert(struct sim *sim, struct book_line *line, struct book_request *request)
{
    struct pm_link *link;

    pm_list_each (&line->waiters, link) {
        if (book_came_before(sim, request, request_of(link)))
            break;
    }
    pm_list_insert_before(link, &request->link);
}

static void count(struct sim *sim, const struct book_request *request, int by)
{
    struct book_queue *queue = &sim->books.queues[request->set];
    uint64_t n = (uint64_t)(int64_t)by, bytes = request->bytes * n;

    queue->n[request->priority] += n;
    for (int i = 0; i < sim->books.n_pools; i++) {
        if (!(request->set & (1U << i)))
            continue;
        if (sim->books.pools[i].n_waiting == 0)
            sim->books.pools[i].waited_since_ms = sim->now_ms;
        sim->books.pools[i].n_waiting += n;
        sim->books.pools[i].bytes_waiting += bytes;
        if (request->set == 1U << i)
            sim->books.pools[i].n_waiting_here_only += n;
    }
}

static void count_home(struct sim *sim, const struct book_request *request, int by)
{
    struct book_home *home = &sim->books.homes[request->home];

    home->n += (uint64_t)(int64_t)by;
    home->bytes += request->bytes * (uint64_t)(int64_t)by;
}

static void stand_in(struct sim *sim, struct book_request *request)
{
    struct book_queue *queue = &sim->books.queues[request->set];
    struct book_line *line = &queue->lines[request->priority][request->tenant];

    if (pm_list_empty(&line->waiters))
        line->turn = ++sim->books.last_turn;
    insert(sim, line, request);
    count(sim, request, 1);
}

/* Nobody is left in it but who arrives in this very step: he came when it was empty. */
static bool is_begun_anew(struct sim *sim, const struct book_line *line)
{
    return pm_list_first(&line->waiters) == &sim->books.requests[sim->books.arriving].link &&
           line->waiters.head.prev == line->waiters.head.next;
}

static void step_out(struct sim *sim, struct book_request *request)
{
    struct book_queue *queue = &sim->books.queues[request->set];
    struct book_line *line = &queue->lines[request->priority][request->tenant];

    pm_list_remove(&request->link);
    if (is_begun_anew(sim, line))
        line->turn = ++sim->books.last_turn;
    count(sim, request, -1);
    if (queue->n[0] + queue->n[1] == 0)
        queue->waiterless_ms = sim->now_ms;
}

/* At the end of the step of its arrival: who was here before all others has the next turn. */
void books_arrived(struct sim *sim)
{
    struct book_request *request = &sim->books.requests[sim->books.arriving];
    struct book_queue *queue = &sim->books.queues[request->set];

    if (sim->books.arriving == 0 || request->state != REQ_WAITING || !request->retried)
        return;
    if (book_came_before(sim, request, book_head(queue, request->priority)))
        queue->lines[request->priority][request->tenant].turn = --sim->books.first_turn;
}

void books_enter_queue(struct sim *sim, struct book_request *request)
{
    stand_in(sim, request);
    count_home(sim, request, 1);
    pm_heap_set(&sim->books.deadlines, &request->deadline, request->deadline_ms);
}

void books_leave_queue(struct sim *sim, struct book_request *request)
{
    struct book_queue *queue = &sim->books.queues[request->set];
    uint64_t waiterless_ms = queue->waiterless_ms;

    if (!pm_link_in_list(&request->link))
        return;
    step_out(sim, request);
    if (request != &sim->books.requests[sim->books.arriving])
        queue->left_ms = sim->now_ms;
    else if (queue->left_ms != sim->now_ms) /* it never waited, and nobody left with it who had */
        queue->waiterless_ms = waiterless_ms;
    count_home(sim, request, -1);
    pm_heap_remove(&sim->books.deadlines, &request->deadline);
}

static void count_in_row(uint64_t *n, enum pm_priority priority, bool batch_waits)
{
    *n = priority == PM_BATCH || !batch_waits ? 0 : *n + 1;
}

/* Before it leaves its queue for a slot of this pool. */
void books_had_its_turn(struct sim *sim, const struct book_request *request, int pool)
{
    struct book_queue *queue = &sim->books.queues[request->set];

    count_in_row(&sim->books.pools[pool].n_interactive_in_row, request->priority,
                 book_oldest_head(sim, pool, PM_BATCH) != NULL);
    count_in_row(&queue->n_interactive_in_row, request->priority, queue->n[PM_BATCH] > 0);
    queue->lines[request->priority][request->tenant].turn = ++sim->books.last_turn;
}

/* Over all queues that a pool serves. */
struct book_request *book_oldest_head(const struct sim *sim, int pool, enum pm_priority class)
{
    struct book_request *oldest = NULL;

    for (unsigned set = 0; set < SIM_SETS; set++) {
        struct book_request *head;

        if (!(set & (1U << pool)) || sim->books.queues[set].n[class] == 0)
            continue;
        head = book_head(&sim->books.queues[set], class);
        if (!oldest || book_came_before(sim, head, oldest))
            oldest = head;
    }
    return oldest;
}

/* The last time that one of its queues became empty. */
uint64_t book_waiterless_ms(const struct sim *sim, int pool)
{
    uint64_t last_ms = sim->books.pools[pool].waiterless_ms;

    for (unsigned set = 0; set < SIM_SETS; set++) {
        if ((set & (1U << pool)) && sim->books.queues[set].waiterless_ms > last_ms)
            last_ms = sim->books.queues[set].waiterless_ms;
    }
    return last_ms;
}

/* ---- a pool comes or goes ---------------------------------------------------------------------------------------------------- */

static void stand_elsewhere(struct sim *sim, struct book_request *request, unsigned set)
{
    if (request->set == set)
        return;
    step_out(sim, request);
    request->set = set;
    stand_in(sim, request);
}

static void live_elsewhere(struct sim *sim, struct book_request *request, unsigned home)
{
    count_home(sim, request, -1);
    request->home = home;
    count_home(sim, request, 1);
}

/* Who came by one of its names waits for it, too. */
void books_enter_names(struct sim *sim, int pool)
{
    for (int i = 1; i <= sim->books.n_requests; i++) {
        struct book_request *request = &sim->books.requests[i];

        if (request->state != REQ_WAITING || !has_name(&sim->books.pools[pool], request->name))
            continue;
        sim->books.is_mixed = true;
        if (!request->demands)
            stand_elsewhere(sim, request, request->set | 1U << pool);
        live_elsewhere(sim, request, request->home | 1U << pool);
    }
}

/* Who waits for others, too, waits on for them. */
void books_leave_names(struct sim *sim, int pool)
{
    unsigned bit = 1U << pool;

    sim->books.is_mixed = true;
    for (int i = 1; i <= sim->books.n_requests; i++) {
        struct book_request *request = &sim->books.requests[i];

        if (request->state != REQ_WAITING)
            continue;
        if (request->set != bit)
            stand_elsewhere(sim, request, request->set & ~bit);
        if ((request->home & bit) && request->home != bit)
            live_elsewhere(sim, request, request->home & ~bit);
    }
}

void books_open_queues(struct sim *sim)
{
    struct books *books = &sim->books;

    memset(books->queues, 0, sizeof(books->queues));
    memset(books->homes, 0, sizeof(books->homes));
    books->is_mixed = sim->wishes;
    books->last_turn = 0;
    books->first_turn = 0;
    for (unsigned set = 0; set < SIM_SETS; set++) {
        for (int class = 0; class < 2; class ++) {
            for (int tenant = 0; tenant < SIM_TENANTS; tenant++)
                pm_list_init(&books->queues[set].lines[class][tenant].waiters);
        }
        books->queues[set].waiterless_ms = sim->now_ms;
    }
}

/* ---- bounds ---------------------------------------------------------------------------------------------------------- */

uint64_t book_most(const struct sim *sim, unsigned set, uint64_t (*of)(const struct pm_pool_spec *))
{
    uint64_t most = 0;

    for (int i = 0; i < sim->books.n_pools; i++) {
        uint64_t n = set & (1U << i) ? of(sim->books.pools[i].spec) : 0;

        most = n > most ? n : most;
    }
    return most;
}

bool book_any_reloaded(const struct sim *sim, unsigned set)
{
    for (int i = 0; i < sim->books.n_pools; i++) {
        if ((set & (1U << i)) && sim->books.pools[i].reloaded)
            return true;
    }
    return false;
}
