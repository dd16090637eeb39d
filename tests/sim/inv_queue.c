/* SPDX-License-Identifier: Apache-2.0 */
/* DRAIN, QUEUE, PLACE, OP: who is refused and why, who is cut, in which order they go. */
#include "invariants.h"

#include <string.h>

static uint64_t counts(enum pm_class class)
{
    return class == PM_CLASS_NONE ? 0 : class == PM_CLASS_DRIVER ? 2 : 1;
}

/* Failures in a row of its worst replica, those whose tree is not gone yet among them. */
static uint64_t most_failures(const struct sim *sim, const struct book_pool *pool)
{
    uint64_t most = 0;

    EACH_REPLICA (pool, k) {
        const struct book_replica *replica = &pool->replicas[k];
        uint64_t n = replica->n;

        if (replica->engine != SIM_NOBODY)
            n += counts(sim->books.engines[replica->engine].class);
        most = n > most ? n : most;
    }
    return most;
}

/* Whether a delay may run that is over only after this deadline; one that has passed counts as that of the next tick. */
static bool waits_in_vain(const struct book_pool *pool, uint64_t deadline_ms)
{
    EACH_REPLICA (pool, k) {
        const struct book_replica *replica = &pool->replicas[k];

        if (replica->n >= 2 &&
            (pool->was_changed || /* the delay may be one of other limits */
             deadline_ms <= replica->failed_ms + book_longest_delay(pool->spec, replica->n)))
            return true;
    }
    return false;
}

/* Whether a start is over by its time limits. */
static bool is_late(const struct sim *sim, const struct book_pool *pool)
{
    EACH_REPLICA (pool, k) {
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

static uint64_t requests_of(const struct pm_pool_spec *spec)
{
    return spec->queue.n_requests;
}

static uint64_t bytes_of(const struct pm_pool_spec *spec)
{
    return spec->queue.bytes;
}

static uint64_t wait_of(const struct pm_pool_spec *spec)
{
    return spec->max_queue_wait_ms ? spec->max_queue_wait_ms : spec->queue.max_age_ms;
}

static bool is_over_its_bounds(const struct sim *sim, unsigned home, uint64_t bytes)
{
    return sim->books.homes[home].n > book_most(sim, home, requests_of) ||
           sim->books.homes[home].bytes > book_most(sim, home, bytes_of) ||
           bytes > book_most(sim, home, bytes_of);
}

/* Each code has its own reason in a pool, and a gate that we closed is none. */
static bool has_reason(const struct sim *sim, const struct book_pool *pool, uint64_t deadline_ms,
                       int code)
{
    switch (code) {
    case POOLMGR_E_MODEL_NOT_FOUND: return pool->removing || !pool->there;
    case POOLMGR_E_DRAINING: return pool->intent == PM_DRAINING;
    case POOLMGR_E_DISABLED: return pool->intent == PM_DISABLED;
    case POOLMGR_E_DEVICE_LOST: return devices_lost(sim, pool->spec);
    case POOLMGR_E_NEVER_FITS:
    case POOLMGR_E_POOL_FAILED: return pool->failed || pool->reloaded;
    case POOLMGR_E_START_TIMEOUT: return pool->changed_in_step || is_late(sim, pool);
    case POOLMGR_E_START_FAILED:
        return pool->reloaded || pool->failed_in_step || pool->stopped_in_step ||
               waits_in_vain(pool, deadline_ms);
    case POOLMGR_E_BREAKER_OPEN:
        return pool->reloaded || pool->forced || waits_in_vain(pool, deadline_ms);
    case POOLMGR_E_PIN_UNMET:
        return pool->removing || !pool->there || pool->intent != PM_ENABLED || pool->failed ||
               pool->reloaded;
    default: return false;
    }
}

static bool one_has_reason(const struct sim *sim, const struct book_request *request, int code)
{
    for (int i = 0; i < sim->books.n_pools; i++) {
        if ((request->set & (1U << i)) &&
            has_reason(sim, &sim->books.pools[i], request->deadline_ms, code))
            return true;
    }
    return false;
}

static bool may_be_refused(const struct sim *sim, const struct book_request *request,
                           const struct pm_action *action)
{
    switch (action->error->code) {
    case POOLMGR_E_SHUTTING_DOWN: return sim->books.shutting_down || sim->books.leaving;
    case POOLMGR_E_QUEUE_TIMEOUT: return sim->now_ms >= request->deadline_ms;
    case POOLMGR_E_QUEUE_FULL:
    case POOLMGR_E_QUEUE_DROPPED: return is_over_its_bounds(sim, request->home, request->bytes);
    case POOLMGR_E_OVERLOADED: return action->predicted_ms > book_most(sim, request->home, wait_of);
    case POOLMGR_E_PIN_UNMET: /* there is none as it wishes, or the pin's cannot serve */
        return request->set == 0 ||
               (request->pin != SIM_NOBODY && one_has_reason(sim, request, POOLMGR_E_PIN_UNMET));
    case POOLMGR_E_MODEL_NOT_FOUND:
        if (request->set == 0)
            return true;
        break;
    default: break;
    }
    return one_has_reason(sim, request, action->error->code);
}

/* Refused by a pool, not by the queue or the daemon. */
static bool is_of_a_pool(int code)
{
    return code == POOLMGR_E_DRAINING || code == POOLMGR_E_DISABLED ||
           code == POOLMGR_E_POOL_FAILED || code == POOLMGR_E_START_FAILED ||
           code == POOLMGR_E_START_TIMEOUT || code == POOLMGR_E_BREAKER_OPEN ||
           code == POOLMGR_E_MODEL_NOT_FOUND;
}

/* Before this step, and after it: what is due in one is done one after the other. A reload that goes back in it may have lost
 * all that served before what serves again. */
static bool another_serves(const struct sim *sim, unsigned set)
{
    for (int i = 0; i < sim->books.n_pools; i++) {
        struct pm_pool_view view;

        if ((set & (1U << i)) &&
            pm_core_pool(sim->core, sim->books.pools[i].spec->id, sim->now_ms, &view) &&
            view.ready && sim->books.pools[i].before.ready && !sim->books.pools[i].reloaded)
            return true;
    }
    return false;
}

/* Of the pools of a set, one whose failures are more than one. */
static uint64_t most_failures_of(const struct sim *sim, unsigned set)
{
    uint64_t most = 0;

    for (int i = 0; i < sim->books.n_pools; i++) {
        uint64_t n = set & (1U << i) ? most_failures(sim, &sim->books.pools[i]) : 0;

        most = n > most ? n : most;
    }
    return most;
}

static bool is_stopped_in_step(const struct sim *sim, unsigned set)
{
    for (int i = 0; i < sim->books.n_pools; i++) {
        if ((set & (1U << i)) && sim->books.pools[i].stopped_in_step)
            return true;
    }
    return false;
}

void inv17_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];
    int code = action->error->code;

    HOLDS(sim, 17, request->pool, "a refusal has a reason, and a closed gate is none",
          may_be_refused(sim, request, action), "request %" PRIu64 " got %d: %s", action->request,
          code, action->error->message);
    if (code == POOLMGR_E_START_FAILED && !is_stopped_in_step(sim, request->set) &&
        !book_any_reloaded(sim, request->set))
        HOLDS(sim, 17, request->pool, "the first failed start keeps who waits",
              most_failures_of(sim, request->set) >= 2, "request %" PRIu64, action->request);
    if (is_of_a_pool(code))
        HOLDS(sim, 17, request->pool, "nobody is refused where another pool of the name serves",
              !another_serves(sim, request->set), "request %" PRIu64 " got %d", action->request,
              code);
    HOLDS(sim, 17, request->pool, "a refusal has a message", action->error->message[0] != '\0',
          "code %d", code);
}

void inv17_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
        if (sim->books.pools[i].intent != PM_ENABLED || sim->books.pools[i].removing)
            HOLDS(sim, 17, i, "an operator's drain leaves nobody waiting",
                  sim->books.pools[i].n_waiting_here_only == 0, "%" PRIu64 " wait",
                  sim->books.pools[i].n_waiting_here_only);
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
    if (engine->doomed && engine->doomed_ms + pool->spec->drain_deadline_ms < by_ms)
        by_ms = engine->doomed_ms + pool->spec->drain_deadline_ms;
    if (pool->intent == PM_DISABLED && pool->intent_ms + pool->spec->drain_deadline_ms < by_ms)
        by_ms = pool->intent_ms + pool->spec->drain_deadline_ms;
    if (sim->books.shutting_down && sim->books.shutdown_ms + pool->spec->drain_deadline_ms < by_ms)
        by_ms = sim->books.shutdown_ms + pool->spec->drain_deadline_ms;
    if (request->state == REQ_GRANTED)
        HOLDS(sim, 18, request->pool, "no stream with a client is cut before its deadline",
              engine->exited || hangs(sim, engine) || pool->changed_in_step ||
                  ((sim->books.shutting_down || engine->doomed) &&
                   pool->was_changed) || /* to another deadline */
                  sim->now_ms >= by_ms ||
                  sim->books.at_once || devices_fail_under(sim, engine),
              "request %" PRIu64 ": %s", action->request, action->error->message);
    if (request->state == REQ_ABANDONED)
        HOLDS(sim, 18, request->pool, "what nobody reads is read on until abandon_max",
              engine->exited || engine->signalled || engine->doomed || hangs(sim, engine) ||
                  pool->changed_in_step || devices_fail_under(sim, engine) ||
                  sim->now_ms >= request->settles_ms || sim->now_ms >= by_ms || sim->books.at_once,
              "request %" PRIu64 ": %s", action->request, action->error->message);
}

void inv18_after(struct sim *sim)
{
    EACH_POOL (sim, i) {
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

/* Its bounds may be smaller than when they came. */
static bool any_changed(const struct sim *sim, unsigned set)
{
    for (int i = 0; i < sim->books.n_pools; i++) {
        if ((set & (1U << i)) && sim->books.pools[i].was_changed)
            return true;
    }
    return false;
}

static void look_at_homes(struct sim *sim)
{
    for (unsigned home = 1; home < SIM_SETS; home++) {
        if (sim->books.homes[home].n > 0 && !any_changed(sim, home))
            HOLDS(sim, 23, book_first_of(sim, home), "a queue keeps its bounds",
                  !is_over_its_bounds(sim, home, 0), "%" PRIu64 " wait with %" PRIu64 " bytes",
                  sim->books.homes[home].n, sim->books.homes[home].bytes);
    }
}

void inv23_after(struct sim *sim)
{
    if (!sim->books.is_mixed) /* a pool that went may have had the larger bounds */
        look_at_homes(sim);
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        if (sim->wishes)
            HOLDS(sim, 23, i, "nobody waits who does not",
                  pool->view.queue_depth <= pool->n_waiting, "%" PRIu64 " wait, not %" PRIu64,
                  pool->view.queue_depth, pool->n_waiting);
        else
            HOLDS(sim, 23, i, "all who wait are in the queue",
                  pool->view.queue_depth == pool->n_waiting &&
                      pool->view.queue_bytes == pool->bytes_waiting,
                  "%" PRIu64 " wait, not %" PRIu64, pool->view.queue_depth, pool->n_waiting);
        if (pool->n_waiting > 0 && pool->view.queue_depth > 0)
            HOLDS(sim, 23, i, "nobody waits beside a free slot", pool->view.slots_free == 0,
                  "%" PRIu64 " free", pool->view.slots_free);
    }
}

/* Who arrives in this step, even one that is tried once more, is not in yet. */
static bool is_oldest_batch(const struct sim *sim, const struct book_request *request)
{
    for (int i = 1; i <= sim->books.n_requests; i++) {
        const struct book_request *other = &sim->books.requests[i];

        if (other != request && i != sim->books.arriving && other->state == REQ_WAITING &&
            other->home == request->home && other->priority == PM_BATCH &&
            book_came_before(sim, other, request))
            return false;
    }
    return request->priority == PM_BATCH;
}

static void look_at_order(struct sim *sim, const struct book_request *request, int pool)
{
    const struct book_queue *queue = &sim->books.queues[request->set];
    uint64_t in_row = sim->books.pools[pool].n_interactive_in_row;
    int id = (int)(request - sim->books.requests);

    if (id == sim->books.arriving && request->retried)
        return; /* where it would have stood is known after the step */

    HOLDS(sim, 24, pool, "inside a class tenants take turns",
          request == book_head(queue, request->priority), "it is not the turn of request %d", id);
    if (request->priority == PM_INTERACTIVE) {
        HOLDS(sim, 24, pool, "of several queues the oldest head goes first",
              request == book_oldest_head(sim, pool, PM_INTERACTIVE), "request %d overtakes", id);
        if (book_oldest_head(sim, pool, PM_BATCH))
            HOLDS(sim, 24, pool, "every fourth grant is batch while one waits",
                  in_row < 3 && (queue->n[PM_BATCH] == 0 || queue->n_interactive_in_row < 3),
                  "after %" PRIu64, in_row);
    } else if (book_oldest_head(sim, pool, PM_INTERACTIVE)) {
        HOLDS(sim, 24, pool, "batch goes first only every fourth time",
              in_row >= 3 || queue->n_interactive_in_row >= 3, "after %" PRIu64, in_row);
    }
}

void inv24_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];
    int engine = book_engine_by_token(sim, action->lease_token);

    if (action->kind == PM_ACT_REFUSE) {
        if (action->error->code == POOLMGR_E_QUEUE_DROPPED)
            HOLDS(sim, 24, request->pool, "drop-lru takes the oldest batch",
                  sim->books.pools[book_first_of(sim, request->home)].spec->queue.policy ==
                          PM_QUEUE_DROP_LRU &&
                      is_oldest_batch(sim, request),
                  "request %" PRIu64, action->request);
        return;
    }
    if (request->state != REQ_WAITING || engine == SIM_NOBODY || sim->wishes)
        return;
    HOLDS(sim, 24, request->pool, "grants follow arrival in a class and tenant",
          request == book_head_of_line(&sim->books.queues[request->set], request->priority,
                                       request->tenant),
          "request %" PRIu64 " overtakes", action->request);
    if (!sim->books.is_mixed)
        look_at_order(sim, request, sim->books.engines[engine].pool);
}

/* ---- PLACE ------------------------------------------------------------------------------------------------------ */

void inv25_at(struct sim *sim, const struct pm_action *action)
{
    const struct book_request *request = &sim->books.requests[action->request];
    int engine = book_engine_by_token(sim, action->lease_token);

    if (engine == SIM_NOBODY || request->pin == SIM_NOBODY)
        return;
    HOLDS(sim, 25, request->pool, "a pin is met or refused",
          sim->books.engines[engine].pool == request->pin, "request %" PRIu64 " is pinned to %s",
          action->request, sim->books.pools[request->pin].spec->id);
}

static bool says_the_same(const struct pm_placement_view *a, const struct pm_placement_view *b)
{
    if (a->n != b->n || a->chosen != b->chosen || a->error.code != b->error.code)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->candidates[i].pool_id, b->candidates[i].pool_id) != 0 ||
            a->candidates[i].replica != b->candidates[i].replica ||
            strcmp(a->candidates[i].refused_by, b->candidates[i].refused_by) != 0)
            return false;
    }
    return true;
}

/* What would be done with a request; SIM_NOBODY: it would not be granted. */
static int explained(struct sim *sim, const struct pm_request *request, unsigned *ret_replica,
                     int *ret_code)
{
    struct pm_placement_view view, again;
    struct poolmgr_error err = {0};
    int pool = SIM_NOBODY;

    *ret_code = 0;
    if (pm_core_explain(sim->core, request->route, &request->placement, sim->now_ms, &view, &err) <
        0) {
        *ret_code = err.code;
        return SIM_NOBODY;
    }
    (void)pm_core_explain(sim->core, request->route, &request->placement, sim->now_ms, &again,
                          &err);
    HOLDS(sim, 25, SIM_NOBODY, "asked twice it answers the same", says_the_same(&view, &again),
          "%s", request->route);
    if (view.chosen) {
        pool = book_pool_by_id(sim, view.candidates[0].pool_id);
        *ret_replica = view.candidates[0].replica;
    }
    *ret_code = view.error.code;
    pm_placement_view_fini(&view);
    pm_placement_view_fini(&again);
    return pool;
}

void inv25_explain(struct sim *sim, const struct pm_request *request, struct sim_choice *ret)
{
    ret->pool = explained(sim, request, &ret->replica, &ret->code);
    ret->asked = true;
    EACH_POOL (sim, i) {
        EACH_REPLICA (&sim->books.pools[i], k)
            ret->may_reopen =
                ret->may_reopen || sim->books.pools[i].replicas[k].view.state == PM_READY;
    }
    if (ret->pool == SIM_NOBODY)
        return;
    HOLDS(sim, 25, ret->pool, "what is chosen is ready, behind an open gate, and was asked for",
          sim->books.pools[ret->pool].replicas[ret->replica].view.gate_open &&
              (sim->books.requests[request->id].set & (1U << ret->pool)),
          "%s", request->route);
}

void inv25_request(struct sim *sim, int request, const struct sim_choice *choice)
{
    const struct book_request *mine = &sim->books.requests[request];

    if (!choice->asked || sim->books.shutting_down || sim->books.leaving)
        return;
    if (choice->pool != SIM_NOBODY)
        HOLDS(sim, 25, choice->pool, "what is explained is what is done",
              mine->lease.serial != 0 && mine->pool == choice->pool &&
                  mine->lease.replica == choice->replica,
              "request %d", request);
    else if (!choice->may_reopen)
        HOLDS(sim, 25, mine->pool, "who would not be granted is not", mine->lease.serial == 0,
              "request %d", request);
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
    const struct book_op *cancelled = op->kind == PM_OP_CANCEL ? book_cancelled(sim, op) : NULL;
    enum pm_intent intent = cancelled ? cancelled->former : op->intent;

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
    else if (op->kind != PM_OP_CANCEL || cancelled)
        HOLDS(sim, 26, op->pool, "an intent is durable before the answer",
              disk->exists ? disk->intent == intent : intent == PM_ENABLED,
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
