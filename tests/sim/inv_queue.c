/* SPDX-License-Identifier: Apache-2.0 */
/* DRAIN, QUEUE, OP: who is refused and why, who is cut, in which order they go. */
#include <stdlib.h>

#include "invariants.h"

static uint64_t counts(enum pm_class class)
{
    return class == PM_CLASS_NONE ? 0 : class == PM_CLASS_DRIVER ? 2 : 1;
}

/* Failures in a row of its worst replica, those whose tree is not gone yet among them. */
static uint64_t most_failures(const struct sim *sim, const struct book_pool *pool)
{
    uint64_t most = 0;

    EACH_REPLICA(pool, k)
    {
        const struct book_replica *replica = &pool->replicas[k];
        uint64_t n = replica->n;

        if (replica->engine != SIM_NOBODY)
            n += counts(sim->books.engines[replica->engine].class);
        most = n > most ? n : most;
    }
    return most;
}

/* Whether a delay may run that is over only after this deadline. */
static bool waits_in_vain(const struct book_pool *pool, uint64_t deadline_ms)
{
    EACH_REPLICA(pool, k)
    {
        const struct book_replica *replica = &pool->replicas[k];

        if (replica->n >= 2 &&
            (pool->was_changed || /* the delay may be one of other limits */
             deadline_ms < replica->failed_ms + book_longest_delay(pool->spec, replica->n)))
            return true;
    }
    return false;
}

/* Whether a start is over by its time limits. */
static bool is_late(const struct sim *sim, const struct book_pool *pool)
{
    EACH_REPLICA(pool, k)
    {
        const struct book_engine *engine;

        if (pool->replicas[k].engine == SIM_NOBODY)
            continue;
        engine = &sim->books.engines[pool->replicas[k].engine];
        if (!engine->ready && !engine->signalled &&
            (sim->now_ms >= engine->start_by_ms ||
             sim->now_ms - engine->progress_ms >= engine->spec->start_stall_ms))
            return true;
    }
    return false;
}

static bool is_over_its_bounds(const struct book_pool *pool, const struct book_request *request)
{
    return book_n_waiting(pool) > pool->spec->queue.n_requests ||
           pool->queue.bytes > pool->spec->queue.bytes || request->bytes > pool->spec->queue.bytes;
}

/* What it was told to wait, against what a pool lets one wait. */
static bool would_wait_too_long(const struct book_pool *pool, const struct pm_action *action)
{
    uint64_t most_ms = pool->spec->max_queue_wait_ms;

    return action->predicted_ms > (most_ms > 0 ? most_ms : pool->spec->queue.max_age_ms);
}

/* Each code has its own reason, and a gate that we closed is none. */
static bool may_be_refused(const struct sim *sim, const struct book_pool *pool,
                           const struct book_request *request, const struct pm_action *action)
{
    switch (action->error->code) {
    case POOLMGR_E_SHUTTING_DOWN: return sim->books.shutting_down || sim->books.leaving;
    case POOLMGR_E_QUEUE_TIMEOUT: return sim->now_ms >= request->deadline_ms;
    case POOLMGR_E_OVERLOADED: return would_wait_too_long(pool, action);
    case POOLMGR_E_QUEUE_FULL:
    case POOLMGR_E_QUEUE_DROPPED: return is_over_its_bounds(pool, request);
    case POOLMGR_E_MODEL_NOT_FOUND: return pool->removing || !pool->there;
    case POOLMGR_E_DRAINING: return pool->intent == PM_DRAINING;
    case POOLMGR_E_DISABLED: return pool->intent == PM_DISABLED;
    case POOLMGR_E_POOL_FAILED: return pool->failed || pool->reloaded;
    case POOLMGR_E_START_TIMEOUT: return pool->changed_in_step || is_late(sim, pool);
    case POOLMGR_E_START_FAILED:
        return pool->reloaded || pool->failed_in_step || pool->stopped_in_step ||
               waits_in_vain(pool, request->deadline_ms);
    case POOLMGR_E_BREAKER_OPEN:
        return pool->reloaded || pool->forced || waits_in_vain(pool, request->deadline_ms);
    default: return false;
    }
}

void inv17_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];
    const struct book_pool *pool = &sim->books.pools[request->pool];
    int code = action->error->code;

    HOLDS(sim, 17, request->pool, "a refusal has a reason, and a closed gate is none",
          may_be_refused(sim, pool, request, action), "request %" PRIu64 " got %d: %s",
          action->request, code, action->error->message);
    if (code == POOLMGR_E_START_FAILED && pool->failed_in_step && !pool->stopped_in_step &&
        !pool->reloaded)
        HOLDS(sim, 17, request->pool, "the first failed start keeps who waits",
              most_failures(sim, pool) >= 2, "request %" PRIu64, action->request);
    HOLDS(sim, 17, request->pool, "a refusal has a message", action->error->message[0] != '\0',
          "code %d", code);
}

void inv17_after(struct sim *sim)
{
    EACH_POOL(sim, i)
    {
        if (sim->books.pools[i].intent != PM_ENABLED || sim->books.pools[i].removing)
            HOLDS(sim, 17, i, "an operator's drain leaves nobody waiting",
                  book_n_waiting(&sim->books.pools[i]) == 0, "%" PRIu64 " wait",
                  book_n_waiting(&sim->books.pools[i]));
    }
}

static bool hangs(const struct sim *sim, const struct book_engine *engine)
{
    return engine->n_limits >= 3 || sim->now_ms - engine->life_ms >= engine->spec->stall_timeout_ms;
}

void inv18_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];
    const struct book_engine *engine = &sim->books.engines[request->engine];
    const struct book_pool *pool = &sim->books.pools[request->pool];
    uint64_t by_ms = pool->stop_by_ms;

    by_ms = pool->cut_ms < by_ms ? pool->cut_ms : by_ms;
    if (pool->intent == PM_DISABLED && pool->intent_ms + pool->spec->drain_deadline_ms < by_ms)
        by_ms = pool->intent_ms + pool->spec->drain_deadline_ms;
    if (sim->books.shutting_down && sim->books.shutdown_ms + pool->spec->drain_deadline_ms < by_ms)
        by_ms = sim->books.shutdown_ms + pool->spec->drain_deadline_ms;
    if (request->state == REQ_GRANTED)
        HOLDS(sim, 18, request->pool, "no stream with a client is cut before its deadline",
              engine->exited || hangs(sim, engine) || pool->changed_in_step ||
                  sim->now_ms >= by_ms || sim->books.at_once,
              "request %" PRIu64 ": %s", action->request, action->error->message);
    if (request->state == REQ_ABANDONED)
        HOLDS(sim, 18, request->pool, "what nobody reads is read on until abandon_max",
              engine->exited || engine->signalled || hangs(sim, engine) ||
                  sim->now_ms >= request->settles_ms || sim->now_ms >= by_ms || sim->books.at_once,
              "request %" PRIu64 ": %s", action->request, action->error->message);
}

void inv18_after(struct sim *sim)
{
    EACH_POOL(sim, i)
    {
        const struct book_pool *pool = &sim->books.pools[i];

        if (!sim->books.leaving && !sim->books.stopped)
            HOLDS(sim, 18, i, "the intent is what the last word made it",
                  pool->view.intent == (pool->removing ? PM_DRAINING : pool->intent),
                  "it is %s, not %s", pm_intent_name(pool->view.intent),
                  pm_intent_name(pool->intent));
    }
}

/* ---- QUEUE ------------------------------------------------------------------------------------------------------ */

void inv23_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];

    if (action->kind == PM_ACT_GRANT)
        HOLDS(sim, 23, request->pool, "who is granted waited", request->state == REQ_WAITING,
              "request %" PRIu64 " is in state %d", action->request, (int)request->state);
    if (action->kind == PM_ACT_REFUSE)
        HOLDS(sim, 23, request->pool, "who is refused waited", request->state == REQ_WAITING,
              "request %" PRIu64 " is in state %d", action->request, (int)request->state);
    if (action->kind == PM_ACT_CUT)
        HOLDS(sim, 23, request->pool, "who is cut has a lease",
              request->state == REQ_GRANTED || request->state == REQ_ABANDONED,
              "request %" PRIu64 " is in state %d", action->request, (int)request->state);
}

void inv23_after(struct sim *sim)
{
    EACH_POOL(sim, i)
    {
        const struct book_pool *pool = &sim->books.pools[i];

        HOLDS(sim, 23, i, "all who wait are in the queue",
              pool->view.queue_depth == book_n_waiting(pool) &&
                  pool->view.queue_bytes == pool->queue.bytes,
              "%" PRIu64 " wait, not %" PRIu64, pool->view.queue_depth, book_n_waiting(pool));
        if (book_n_waiting(pool) == 0)
            continue;
        if (!pool->was_changed)
            HOLDS(sim, 23, i, "a queue keeps its bounds",
                  !is_over_its_bounds(pool, &(struct book_request){0}),
                  "%" PRIu64 " wait with %" PRIu64 " bytes", book_n_waiting(pool),
                  pool->queue.bytes);
        HOLDS(sim, 23, i, "nobody waits beside a free slot", pool->view.slots_free == 0,
              "%" PRIu64 " free", pool->view.slots_free);
    }
}

static bool is_first_of_its_class(const struct book_pool *pool, const struct book_request *request)
{
    return pm_list_first(&pool->queue.classes[request->priority]) == &request->link;
}

/* Who arrives in this step, even one that is tried once more, is not in yet. */
static bool is_oldest_batch(const struct sim *sim, const struct book_pool *pool,
                            const struct book_request *request)
{
    const struct pm_list *class = &pool->queue.classes[PM_BATCH];
    const struct pm_link *link = pm_list_first(class);

    if (link == &sim->books.requests[sim->books.arriving].link)
        link = pm_list_next(class, link);
    return link == &request->link;
}

void inv24_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];
    const struct book_pool *pool = &sim->books.pools[request->pool];
    const struct book_queue *queue = &pool->queue;

    if (action->kind == PM_ACT_REFUSE) {
        if (action->error->code == POOLMGR_E_QUEUE_DROPPED)
            HOLDS(sim, 24, request->pool, "drop-lru takes the oldest batch",
                  pool->spec->queue.policy == PM_QUEUE_DROP_LRU &&
                      is_oldest_batch(sim, pool, request),
                  "request %" PRIu64, action->request);
        return;
    }
    if (request->state != REQ_WAITING)
        return;
    HOLDS(sim, 24, request->pool, "grants follow arrival in a class",
          is_first_of_its_class(pool, request), "request %" PRIu64 " overtakes", action->request);
    if (request->priority == PM_BATCH && queue->n[PM_INTERACTIVE] > 0)
        HOLDS(sim, 24, request->pool, "batch goes first only every fourth time",
              queue->n_interactive_in_row >= 3, "after %" PRIu64, queue->n_interactive_in_row);
    if (request->priority == PM_INTERACTIVE && queue->n[PM_BATCH] > 0)
        HOLDS(sim, 24, request->pool, "every fourth grant is batch while one waits",
              queue->n_interactive_in_row < 3, "after %" PRIu64, queue->n_interactive_in_row);
}

/* ---- OP --------------------------------------------------------------------------------------------------------- */

void inv28_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_op *op = &sim->books.ops[action->operation % SIM_OPS];
    struct pm_operation view = {0};

    HOLDS(sim, 28, SIM_NOBODY, "an operation ends once", !op->ended, "op-%" PRIu64,
          action->operation);
    HOLDS(sim, 28, SIM_NOBODY, "an operation ends in a final state",
          pm_core_operation(sim->core, action->operation, &view) && view.state != PM_OP_RUNNING,
          "op-%" PRIu64, action->operation);
}

static void look_at_answer(struct sim *sim, const struct pm_action *action)
{
    const struct book_op *op = &sim->books.ops[action->operation % SIM_OPS];
    const struct book_pool *pool = &sim->books.pools[op->pool];
    const struct world_record *disk = &sim->world.disk[op->pool];

    HOLDS(sim, 28, op->pool, "a command is answered once", !op->answered, "op-%" PRIu64,
          action->operation);
    if (action->error)
        HOLDS(sim, 27, op->pool, "a command that is refused says why",
              action->error->message[0] != '\0' &&
                  (action->error->code != POOLMGR_E_STORE_FAILED || pool->not_written_in_step),
              "op-%" PRIu64 ": %d", action->operation, action->error->code);
    else if (op->kind == PM_OP_PUT)
        HOLDS(sim, 26, op->pool, "a pool is durable before the answer",
              disk->exists && !disk->removed && disk->spec == atoi(op->spec->text), "op-%" PRIu64,
              action->operation);
    else if (op->kind == PM_OP_RELOAD || op->kind == PM_OP_CONFIG_RELOAD)
        return; /* it stores what it did when it is done */
    else if (op->kind == PM_OP_REMOVE)
        HOLDS(sim, 26, op->pool, "a removal is durable before the answer",
              op->joins || (disk->exists && disk->removed), "op-%" PRIu64, action->operation);
    else
        HOLDS(sim, 26, op->pool, "an intent is durable before the answer",
              disk->exists ? disk->intent == op->intent : op->intent == PM_ENABLED,
              "op-%" PRIu64 ": the disk says %s", action->operation, pm_intent_name(disk->intent));
}

/* Only a command that was called off meanwhile may still be on its way. */
static void look_at_write(struct sim *sim, const struct pm_action *action)
{
    int pool = book_pool_by_id(sim, action->record->pool_id);

    for (int i = 0; i < SIM_QUESTIONS; i++) {
        const struct world_question *question = &sim->world.questions[i];

        if (question->open && question->kind == PM_ACT_PERSIST && question->pool == pool &&
            question->record.has_operation)
            HOLDS(sim, 26, pool, "nothing is written behind a command that is on its way",
                  sim->books.ops[question->record.operation % SIM_OPS].ended, "op-%" PRIu64,
                  question->record.operation);
    }
}

void inv26_at(struct sim *sim, const struct pm_action *action)
{
    if (action->kind == PM_ACT_PERSIST)
        look_at_write(sim, action);
    else
        look_at_answer(sim, action);
}

void inv28_restarted(struct sim *sim)
{
    struct pm_operation view;

    for (size_t i = 0; pm_core_operation_at(sim->core, i, &view); i++)
        HOLDS(sim, 28, SIM_NOBODY, "none runs after a restart", view.state == PM_OP_INTERRUPTED,
              "op-%" PRIu64, view.id);
}

/* ---- STATE ------------------------------------------------------------------------------------------------------ */

static void look_at_removed(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];

    HOLDS(sim, 26, index, "what is removed for good stays so, and nothing else",
          pool->there ? !pool->acknowledged_removed || (pool->written & ~SIM_REMOVED)
                      : pool->acknowledged_removed || (pool->written & SIM_REMOVED),
          "it is %s", pool->there ? "there" : "gone");
    pool->acknowledged_removed = !pool->there;
}

void inv26_restarted(struct sim *sim)
{
    for (int i = 0; i < sim->books.n_pools; i++) {
        struct book_pool *pool = &sim->books.pools[i];

        look_at_removed(sim, i);
        if (pool->there)
            HOLDS(sim, 26, i,
                  "the next daemon has the last acknowledged intent, or what was written",
                  pool->view.intent == pool->acknowledged ||
                      (pool->written & (1U << pool->view.intent)),
                  "it is %s, not %s", pm_intent_name(pool->view.intent),
                  pm_intent_name(pool->acknowledged));
        if (pool->there && pool->owner == PM_OWNER_API)
            HOLDS(sim, 26, i, "the next daemon has the last acknowledged spec, or what was written",
                  pool->spec == sim->specs[pool->acknowledged_spec] ||
                      pool->spec == sim->specs[pool->written_spec],
                  "it is number %s, not %d", pool->spec->text, pool->acknowledged_spec);
        pool->acknowledged_spec = pool->written_spec = atoi(pool->spec->text);
        pool->acknowledged = pool->view.intent;
        pool->written = 0;
    }
}
