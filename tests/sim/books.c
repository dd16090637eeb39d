/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true inside. Everything here follows from what was put in and what came out: who waits, who has which
 * slot, how often which replica failed. The invariants compare it with what the core shows.
 */
#include <stdlib.h>
#include <string.h>

#include "core/restart.h"
#include "invariants.h"

/* ---- finding ---------------------------------------------------------------------------------------------------- */

int book_engine_by_token(const struct sim *sim, struct pm_token token)
{
    for (int i = sim->world.n_engines; i-- > 0;) {
        if (sim->books.engines[i].token.serial == token.serial)
            return i;
    }
    return SIM_NOBODY;
}

int book_pool_by_id(const struct sim *sim, const char *id)
{
    for (int i = 0; i < sim->books.n_pools; i++) {
        if (strcmp(sim->books.pools[i].spec->id, id) == 0)
            return i;
    }
    return SIM_NOBODY;
}

/* Its spec, or what it became in this very step. */
bool book_is_pools(const struct sim *sim, int pool, const struct pm_pool_spec *spec)
{
    struct pm_pool_view view;

    return spec == sim->books.pools[pool].spec ||
           (pm_core_pool(sim->core, spec->id, sim->now_ms, &view) && view.spec == spec);
}

int book_pool_of(const struct sim *sim, const struct pm_pool_spec *spec)
{
    return book_pool_by_id(sim, spec->id);
}

static struct book_replica *replica_of(struct sim *sim, const struct book_engine *engine)
{
    return &sim->books.pools[engine->pool].replicas[engine->replica];
}

/* Living and abandoned ones of all its engines; who only settles is not counted. */
uint64_t book_leases(const struct book_pool *pool, const struct books *books)
{
    uint64_t n = 0;

    for (int i = 0; i < books->n_live; i++) {
        const struct book_engine *engine = &books->engines[books->live[i]];

        if (&books->pools[engine->pool] == pool)
            n += engine->n_granted + engine->n_abandoned;
    }
    return n;
}

static void lives(struct books *books, int index)
{
    if (books->n_live < SIM_LIVE)
        books->live[books->n_live++] = index;
}

static void lives_no_more(struct books *books, int index)
{
    for (int i = 0; i < books->n_live; i++) {
        if (books->live[i] == index)
            books->live[i--] = books->live[--books->n_live];
    }
}

/* Slots that may not be given to anybody now. */
uint64_t book_slots_taken(const struct sim *sim, const struct book_engine *engine)
{
    uint64_t n = engine->n_granted + engine->n_abandoned;
    const struct pm_link *link;

    if (engine->n_settling == 0)
        return n;
    pm_list_each (&engine->leases, link) {
        const struct book_request *request =
            pm_container_of(link, const struct book_request, engine_link);

        n += request->state == REQ_SETTLING && sim->now_ms < request->settles_ms;
    }
    return n;
}

uint64_t book_longest_delay(const struct pm_pool_spec *spec, uint64_t n)
{
    double t = (double)spec->backoff.base_ms;

    if (n < 2)
        return 0;
    for (uint64_t i = 2; i < n && t < (double)spec->backoff.cap_ms; i++)
        t *= 2;
    return t < (double)spec->backoff.cap_ms ? (uint64_t)t : spec->backoff.cap_ms;
}

/* ---- who waits --------------------------------------------------------------------------------------------------- */

void books_request(struct sim *sim, int index)
{
    struct book_request *request = &sim->books.requests[index];

    sim->books.arriving = index;
    request->state = REQ_WAITING;
    books_enter_queue(sim, request);
    if (request->set == 1U << request->pool && !sim->books.shutting_down && !sim->books.leaving)
        sim->books.pools[request->pool].maybe_parked = false; /* of several, any may be meant */
}

void books_gone(struct sim *sim, int index)
{
    books_leave_queue(sim, &sim->books.requests[index]);
    sim->books.requests[index].state = REQ_OVER;
}

static void take_refuse(struct sim *sim, const struct pm_action *action)
{
    sim_seen.refusals[-action->error->code]++;
    books_gone(sim, (int)action->request);
}

/* ---- who has a slot ---------------------------------------------------------------------------------------------- */

static uint64_t *count_of(struct book_engine *engine, enum book_request_state state)
{
    switch (state) {
    case REQ_GRANTED: return &engine->n_granted;
    case REQ_SETTLING: return &engine->n_settling;
    case REQ_ABANDONED: return &engine->n_abandoned;
    default: return NULL;
    }
}

static void set_state(struct sim *sim, struct book_request *request, enum book_request_state state)
{
    struct book_engine *engine = &sim->books.engines[request->engine];
    struct book_pool *pool = &sim->books.pools[request->pool];
    uint64_t *before = count_of(engine, request->state), *now = count_of(engine, state);

    if (before)
        (*before)--;
    if (now)
        (*now)++;
    request->state = state;
    if (state == REQ_OVER)
        pm_list_remove(&request->engine_link);
    if (before && state != REQ_GRANTED && book_leases(pool, &sim->books) == 0)
        pool->idle_ms = sim->now_ms; /* who settles may make it later, never earlier */
}

static uint64_t at_work(const struct book_engine *engine)
{
    return engine->n_granted + engine->n_abandoned;
}

static void take_grant(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->lease_token);
    struct book_request *request = &sim->books.requests[action->request];
    struct book_engine *engine;

    if (index == SIM_NOBODY || request->state != REQ_WAITING)
        return;
    request->pool = sim->books.engines[index].pool;
    if (action->waited)
        books_had_its_turn(sim, request, request->pool);
    books_leave_queue(sim, request);
    engine = &sim->books.engines[index];
    if (at_work(engine) == 0)
        engine->life_ms = sim->now_ms;
    engine->n_missed = 0;
    request->lease = action->lease;
    request->engine = index;
    request->granted_ms = sim->now_ms;
    request->state = REQ_GRANTED;
    engine->n_granted++;
    pm_list_append(&engine->leases, &request->engine_link);
    world_stream_begins(sim, (int)action->request, index);
}

static void take_cut(struct sim *sim, const struct pm_action *action)
{
    struct book_request *request = &sim->books.requests[action->request];

    if (request->state != REQ_GRANTED && request->state != REQ_ABANDONED)
        return;
    set_state(sim, request, REQ_OVER);
    world_stream_closes(sim, (int)action->request, false);
}

void books_released(struct sim *sim, int index, enum pm_release how)
{
    struct book_request *request = &sim->books.requests[index];
    struct book_engine *engine = &sim->books.engines[request->engine];
    const struct pm_pool_spec *spec = engine->spec;

    if (how == PM_RELEASE_DONE) {
        engine->life_ms = sim->now_ms;
        engine->n_limits = 0;
    }
    if (how == PM_RELEASE_LIMIT)
        engine->n_limits++;
    request->settles_ms = sim->now_ms + spec->cancel_settle_ms;
    if (request->settles_ms == sim->now_ms)
        request->settles_ms++; /* due at once is due with the next tick */
    set_state(sim, request,
              how == PM_RELEASE_DONE || how == PM_RELEASE_UNUSED ? REQ_OVER : REQ_SETTLING);
}

void books_abandoned(struct sim *sim, int index)
{
    struct book_request *request = &sim->books.requests[index];

    request->settles_ms = sim->now_ms + sim->books.engines[request->engine].spec->abandon_max_ms;
    set_state(sim, request, REQ_ABANDONED);
}

/* Nothing of its settling leases can matter any more. */
static void forget_leases(struct sim *sim, struct book_engine *engine)
{
    struct pm_link *link, *next;

    pm_list_each_safe (&engine->leases, link, next) {
        struct book_request *request = pm_container_of(link, struct book_request, engine_link);

        if (request->state == REQ_SETTLING)
            set_state(sim, request, REQ_OVER);
    }
}

/* An idle report frees as many as are busy less than there must be; which ones, nobody knows: those that would have
 * settled last. A granted request may not have reached the engine within a quarter of a second. */
void books_busy(struct sim *sim, int index, uint64_t n_busy)
{
    struct book_engine *engine = &sim->books.engines[index];
    struct pm_link *link;
    uint64_t n_ours = 0;

    pm_list_each (&engine->leases, link) {
        const struct book_request *request =
            pm_container_of(link, struct book_request, engine_link);

        n_ours += request->state == REQ_SETTLING || sim->now_ms - request->granted_ms >= 250;
    }
    while (n_ours-- > n_busy) {
        struct book_request *last = NULL;

        pm_list_each (&engine->leases, link) {
            struct book_request *request = pm_container_of(link, struct book_request, engine_link);

            if (request->state == REQ_SETTLING && (!last || request->settles_ms > last->settles_ms))
                last = request;
        }
        if (!last)
            return;
        set_state(sim, last, REQ_OVER);
        engine->unsure = engine->n_settling > 0;
    }
}

/* Who settled long ago is over; when all are, nothing is unsure any more. */
static void let_settle(struct sim *sim, struct book_engine *engine)
{
    struct pm_link *link, *next;
    uint64_t last_ms = 0;

    pm_list_each_safe (&engine->leases, link, next) {
        struct book_request *request = pm_container_of(link, struct book_request, engine_link);

        if (request->state != REQ_SETTLING)
            continue;
        last_ms = request->settles_ms > last_ms ? request->settles_ms : last_ms;
        if (request->settles_ms <= sim->now_ms)
            set_state(sim, request, REQ_OVER);
    }
    if (engine->n_settling == 0 && !engine->unsure)
        return;
    engine->sure_ms = last_ms > engine->sure_ms ? last_ms : engine->sure_ms;
    if (sim->now_ms > engine->sure_ms)
        engine->unsure = false;
}

/* ---- engines ------------------------------------------------------------------------------------------------------ */

static void open_engine(struct sim *sim, int index, int pool, unsigned replica)
{
    struct book_engine *engine = &sim->books.engines[index];

    memset(engine, 0, sizeof(*engine));
    pm_list_init(&engine->leases);
    engine->pool = pool;
    engine->replica = replica;
    engine->spec = sim->books.pools[pool].spec;
    engine->spawned_ms = engine->progress_ms = sim->now_ms;
    lives(&sim->books, index);
    if (!sim->books.pools[pool].reloaded || replica_of(sim, engine)->engine == SIM_NOBODY)
        replica_of(sim, engine)->engine = index;
    replica_of(sim, engine)->staged = false;
}

static void take_spawn(struct sim *sim, const struct pm_action *action)
{
    int pool = book_pool_of(sim, action->spec), index = sim->world.n_engines;
    struct book_engine *engine = &sim->books.engines[index];

    sim->world.n_engines++;
    open_engine(sim, index, pool, action->replica);
    engine->token = action->token;
    engine->instance = action->instance;
    engine->spec = action->spec;
    engine->is_next = !book_is_pools(sim, pool, action->spec);
    engine->start_by_ms = sim->now_ms + engine->spec->start_max_ms;
    devices_charge(sim, engine, action->plan);
    engine->for_waiters = sim->books.pools[pool].n_waiting > 0;
    world_spawn(sim, index);
    devices_engine_begins(sim, index);
}

void books_adopt(struct sim *sim, int index, uint64_t started_ms)
{
    struct book_engine *engine = &sim->books.engines[index];
    uint64_t instance = engine->instance, stall_ms, most_ms, charged[SIM_ALL];
    unsigned used = engine->uses;

    memcpy(charged, engine->charged, sizeof(charged));
    open_engine(sim, index, engine->pool, engine->replica);
    engine->uses = used;
    memcpy(engine->charged, charged, sizeof(charged));
    memcpy(engine->pending, charged, sizeof(charged)); /* as far as is known then */
    for (int i = 0; i < SIM_ALL; i++) {
        sim->books.devices[i].charged += charged[i];
        sim->books.devices[i].pending += charged[i];
    }
    engine->instance = instance;
    engine->adopted = engine->told_launched = true;
    engine->for_waiters = true; /* it gets as long as if somebody had just left */
    engine->spawned_ms = started_ms;
    stall_ms = sim->now_ms + engine->spec->start_stall_ms;
    most_ms = started_ms + engine->spec->start_max_ms;
    engine->start_by_ms = most_ms > stall_ms ? most_ms : stall_ms;
}

static uint64_t counts(enum pm_class class)
{
    return class == PM_CLASS_NONE ? 0 : class == PM_CLASS_DRIVER ? 2 : 1;
}

static void judge(struct sim *sim, struct book_engine *engine, enum pm_class class, bool permanent)
{
    struct book_pool *pool = &sim->books.pools[engine->pool];

    engine->class = class;
    if (engine->is_next)
        return;
    if (engine->ready)
        replica_of(sim, engine)->crashed_when_ready = true;
    sim_seen.classes[class]++;
    pool->failed_in_step = true;
    if (permanent)
        pool->failed = true;
}

static void count_failed_start(struct sim *sim, struct book_replica *replica)
{
    replica->failed_starts_ms[replica->n_failed_starts++ % BOOK_FAILURES] = sim->now_ms;
    replica->failed_in_step = true;
}

/* A try is over: what failed is counted, what was planned is not (SUP-2). */
static void settle(struct sim *sim, int pool_index, struct book_replica *replica,
                   enum pm_class class, bool was_start)
{
    struct book_pool *pool = &sim->books.pools[pool_index];

    if (class == PM_CLASS_NONE || pool->failed)
        return;
    replica->n += counts(class);
    replica->failed_ms = sim->now_ms;
    if (was_start)
        count_failed_start(sim, replica);
    if (pool->spec->restart == PM_RESTART_NEVER)
        pool->maybe_parked = true;
}

static void take_forget(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->token);
    struct book_engine *engine;

    if (index == SIM_NOBODY)
        return;
    engine = &sim->books.engines[index];
    if (engine->forgotten)
        return;
    engine->forgotten = true;
    forget_leases(sim, engine);
    devices_release(sim, engine);
    lives_no_more(&sim->books, index);
    if (replica_of(sim, engine)->engine == index)
        replica_of(sim, engine)->engine = SIM_NOBODY;
    if (engine->is_next)
        return; /* held against nobody */
    settle(sim, engine->pool, replica_of(sim, engine), engine->class, !engine->ready);
}

/* The first sign that it ends, ours or its own. */
static void begin_stop(struct sim *sim, struct book_engine *engine)
{
    if (engine->signalled)
        return;
    engine->signalled = true;
    engine->signalled_ms = sim->now_ms;
}

static void take_signal(struct sim *sim, const struct pm_action *action, bool kill)
{
    int index = book_engine_by_token(sim, action->token);
    struct book_engine *engine;

    if (index == SIM_NOBODY)
        return;
    engine = &sim->books.engines[index];
    if (!engine->signalled && !engine->doomed && action->reason_code != PM_CLASS_NONE)
        judge(sim, engine, (enum pm_class)action->reason_code, false);
    begin_stop(sim, engine);
    if (kill) {
        engine->killed = true;
        engine->killed_ms = sim->now_ms;
        world_kill(sim, index);
    } else {
        world_signal(sim, index);
    }
}

void books_launched(struct sim *sim, int index, const struct pm_failure *failure)
{
    struct book_engine *engine = &sim->books.engines[index];

    engine->told_launched = true;
    engine->progress_ms = sim->now_ms;
    if (!failure)
        return;
    if (!engine->signalled)
        judge(sim, engine, failure->class != PM_CLASS_NONE ? failure->class : PM_CLASS_SPAWN,
              failure->permanent);
    engine->exited = true;
}

/* The driver says that it is to blame: from here on nothing saves it. */
void books_doomed(struct sim *sim, int index)
{
    struct book_engine *engine = &sim->books.engines[index];

    if (engine->doomed)
        return;
    engine->doomed = true;
    engine->doomed_ms = sim->now_ms;
    judge(sim, engine, PM_CLASS_DRIVER, false);
}

void books_life(struct sim *sim, int index)
{
    sim->books.engines[index].progress_ms = sim->now_ms;
    sim->books.engines[index].life_ms = sim->now_ms;
}

void books_ready(struct sim *sim, int index, const struct pm_ready *ready)
{
    struct book_engine *engine = &sim->books.engines[index];

    if (engine->ready || engine->signalled || engine->exited)
        return;
    engine->ready = engine->told_launched = true;
    replica_of(sim, engine)->crashed_when_ready = false;
    engine->ready_ms = engine->life_ms = sim->now_ms;
    devices_changed(sim, engine);
    engine->slots_total = ready->n_slots > 0 ? ready->n_slots : engine->spec->n_slots;
    if (book_leases(&sim->books.pools[engine->pool], &sim->books) == 0)
        sim->books.pools[engine->pool].idle_ms = sim->now_ms;
}

void books_unfit(struct sim *sim, int index)
{
    struct book_engine *engine = &sim->books.engines[index];

    if (engine->ready || engine->signalled || engine->exited || sim->books.leaving)
        return; /* after a leave it is for the next daemon to judge */
    engine->told_launched = true;
    judge(sim, engine, PM_CLASS_SPAWN, true);
}

static enum pm_class class_of(const struct pm_exit *how)
{
    if (how && how->evidence.class != PM_CLASS_NONE)
        return how->evidence.class;
    if (!how || how->status < 0 || (how->signalled && how->status == 9))
        return PM_CLASS_KILLED;
    return how->signalled ? PM_CLASS_SIGNAL : PM_CLASS_EXIT;
}

/* It follows a driver error that may be its doing. */
static bool died_of_the_driver(const struct sim *sim, const struct book_engine *engine)
{
    return engine->watched_ms > 0 && sim->now_ms - engine->watched_ms <= 10000;
}

/* `how` NULL: nothing of it is left, and nobody saw it end. */
void books_exited(struct sim *sim, int index, const struct pm_exit *how)
{
    struct book_engine *engine = &sim->books.engines[index];

    if (engine->exited)
        return;
    engine->exited = true;
    if (!engine->signalled && !engine->doomed)
        judge(sim, engine, died_of_the_driver(sim, engine) ? PM_CLASS_DRIVER : class_of(how),
              how && how->evidence.permanent);
    begin_stop(sim, engine);
    forget_leases(sim, engine);
}

void books_probed(struct sim *sim, int index, bool ok)
{
    struct book_engine *engine = &sim->books.engines[index];

    if (ok) {
        engine->n_good++;
        engine->n_missed = 0;
        return;
    }
    engine->n_good = 0;
    if (at_work(engine) == 0)
        engine->n_missed++;
}

/* The one before was not answered in all that time: a miss. */
static void take_probe(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->token);

    if (index == SIM_NOBODY)
        return;
    for (int i = 0; i < SIM_QUESTIONS; i++) {
        struct world_question *question = &sim->world.questions[i];

        if (question->open && question->kind == PM_ACT_PROBE && question->engine == index) {
            question->open = false;
            world_schedule(sim, &question->event, PM_NEVER);
            books_probed(sim, index, false);
        }
    }
    world_ask(sim, PM_ACT_PROBE, action->probe, sim->books.engines[index].pool, index);
}

static void take_ask_busy(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->token);

    if (index != SIM_NOBODY)
        world_ask(sim, PM_ACT_ASK_BUSY, action->probe, sim->books.engines[index].pool, index);
}

/* ---- models ------------------------------------------------------------------------------------------------------- */

static void take_stage(struct sim *sim, const struct pm_action *action)
{
    int pool = book_pool_of(sim, action->spec);

    if (!book_is_pools(sim, pool, action->spec)) {
        sim->books.pools[pool].staging_next = true;
        if (sim->books.pools[pool].reload_token.serial == 0) {
            sim->books.pools[pool].reload_token = action->token;
            sim->books.pools[pool].not_staged = false;
        }
    } else {
        sim->books.pools[pool].staging = true;
        sim->books.pools[pool].staging_token = action->token;
        sim->books.pools[pool].staging_spec = action->spec;
    }
    world_ask(sim, PM_ACT_STAGE, action->token, pool,
              book_is_pools(sim, pool, action->spec) ? SIM_NOBODY : SIM_NEXT);
}

void books_staged(struct sim *sim, int index, const struct pm_failure *failure)
{
    struct book_pool *pool = &sim->books.pools[index];

    pool->staging = false;
    if (pool->staging_spec != pool->spec)
        return; /* it is another one by now, and asked for anew */
    if (failure)
        pool->failed_in_step = true;
    for (unsigned i = 0; i < pool->spec->n_replicas; i++) {
        struct book_replica *replica = &pool->replicas[i];

        if (replica->view.state != PM_STAGING)
            continue;
        if (!failure) {
            replica->staged = true;
            continue;
        }
        if (failure->permanent) {
            pool->failed = true;
            return;
        }
        settle(sim, index, replica,
               failure->class != PM_CLASS_NONE ? failure->class : PM_CLASS_STAGING, true);
        sim_seen.classes[PM_CLASS_STAGING]++;
    }
}

/* ---- operations --------------------------------------------------------------------------------------------------- */

/* Which deadlines cut what still runs. */
static bool cuts(const struct book_op *op)
{
    return op->kind == PM_OP_STOP || op->kind == PM_OP_REMOVE ||
           (op->kind == PM_OP_DRAIN && !op->aborts);
}

/* When the first of those that run may cut. */
static void look_at_deadlines(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];

    pool->stop_by_ms = PM_NEVER;
    for (uint64_t id = 1; id <= sim->books.last_op; id++) {
        const struct book_op *op = &sim->books.ops[id % SIM_OPS];

        if (op->known && op->acts && !op->ended && op->pool == index && cuts(op) &&
            op->by_ms < pool->stop_by_ms)
            pool->stop_by_ms = op->by_ms;
    }
}

/* What is durable before it is answered acts when it is accepted. */
static bool is_answered_later(enum pm_operation_kind kind)
{
    return kind == PM_OP_DRAIN || kind == PM_OP_RESUME || kind == PM_OP_REMOVE ||
           kind == PM_OP_RELOAD || kind == PM_OP_PUT || kind == PM_OP_CONFIG_RELOAD ||
           kind == PM_OP_CANCEL;
}

static void acts(struct sim *sim, struct book_op *op)
{
    op->acts = true;
    sim->books.pools[op->pool].n_running[op->kind]++;
    look_at_deadlines(sim, op->pool);
}

/* The command stands in the core, and has this id. */
void books_command(struct sim *sim, uint64_t id, const struct book_op *op)
{
    sim->books.ops[id % SIM_OPS] = *op;
    sim->books.ops[id % SIM_OPS].known = true;
    if (id > sim->books.last_op)
        sim->books.last_op = id;
    if (!is_answered_later(op->kind))
        acts(sim, &sim->books.ops[id % SIM_OPS]);
}

static void set_intent(struct sim *sim, int index, enum pm_intent intent)
{
    struct book_pool *pool = &sim->books.pools[index];

    if (pool->intent == intent)
        return;
    pool->intent = intent;
    pool->intent_ms = sim->now_ms;
}

/* What a second drain replaces keeps what was before the first. */
static enum pm_intent former_of(const struct sim *sim, const struct book_op *op)
{
    for (uint64_t id = 1; id <= sim->books.last_op; id++) {
        const struct book_op *other = &sim->books.ops[id % SIM_OPS];

        if (other != op && other->known && other->acts && !other->ended &&
            other->kind == PM_OP_DRAIN && other->pool == op->pool)
            return other->former;
    }
    return sim->books.pools[op->pool].intent;
}

/* What it calls off still runs: what was before it holds again. */
const struct book_op *book_cancelled(const struct sim *sim, const struct book_op *cancel)
{
    const struct book_op *drain = &sim->books.ops[cancel->cancels % SIM_OPS];

    return drain->acts && !drain->ended ? drain : NULL;
}

static void take_accepted(struct sim *sim, const struct pm_action *action)
{
    struct book_op *op = &sim->books.ops[action->operation % SIM_OPS];

    op->answered = true;
    if (action->error || !op->known)
        return;
    if (op->kind == PM_OP_REMOVE) {
        sim->books.pools[op->pool].acknowledged_removed = true;
        if (!sim->books.pools[op->pool].removing)
            books_leave_names(sim, op->pool);
        sim->books.pools[op->pool].removing = true;
        acts(sim, op);
        return;
    }
    if (op->kind == PM_OP_CANCEL && book_cancelled(sim, op))
        sim->books.pools[op->pool].acknowledged = book_cancelled(sim, op)->former;
    if (op->kind != PM_OP_DRAIN && op->kind != PM_OP_RESUME) {
        acts(sim, op);
        return;
    }
    sim->books.pools[op->pool].acknowledged = op->intent;
    op->former = former_of(sim, op);
    acts(sim, op);
    if (op->kind == PM_OP_RESUME) {
        sim->books.pools[op->pool].maybe_parked = false;
        if (op->persisted)
            sim->books.pools[op->pool].idle_ms = sim->now_ms; /* it rests anew from here */
    }
    set_intent(sim, op->pool, op->kind == PM_OP_DRAIN ? PM_DRAINING : PM_ENABLED);
}

/* A reload, a put, or a part of a change of the file has ended. */
static void take_change(struct sim *sim, const struct book_op *op, const struct pm_operation *view)
{
    int index = view->pool_id[0] ? book_pool_by_id(sim, view->pool_id) : SIM_NOBODY;
    struct book_pool *pool = &sim->books.pools[index < 0 ? 0 : index];

    if (view->kind == PM_OP_RELOAD && view->state == PM_OP_SUCCEEDED && view->switched)
        inv19_succeeds(sim, index);   /* else it had only to set limits */
    if (view->kind == PM_OP_RELOAD) { /* nobody waits for it any more */
        pool->staging_next = false;
        pool->reload_token.serial = 0;
    }
    if (index == SIM_NOBODY || view->state != PM_OP_SUCCEEDED)
        return;
    if (view->kind == PM_OP_REMOVE) { /* gone from the file, too */
        pool->there = false;
        return;
    }
    if (view->kind != PM_OP_RELOAD && view->kind != PM_OP_PUT)
        return;
    pool->changed_in_step = true;
    if (op->known && op->spec)
        pool->asked = op->spec;
    if (op->known && op->spec && pool->owner == PM_OWNER_API)
        pool->acknowledged_spec = atoi(op->spec->text);
}

static void take_operation(struct sim *sim, const struct pm_action *action)
{
    struct book_op *op = &sim->books.ops[action->operation % SIM_OPS];
    struct pm_operation view = {0};

    op->ended = true;
    (void)pm_core_operation(sim->core, action->operation, &view);
    take_change(sim, op, &view);
    if (!op->known || !op->acts)
        return;
    sim->books.pools[op->pool].n_running[op->kind]--;
    look_at_deadlines(sim, op->pool);
    if (op->kind == PM_OP_DRAIN && view.state == PM_OP_SUCCEEDED)
        sim->books.pools[op->pool].drained_in_step = true;
    if (op->kind == PM_OP_REMOVE)
        sim->books.pools[op->pool].there = view.state != PM_OP_SUCCEEDED;
    if ((op->kind != PM_OP_DRAIN && op->kind != PM_OP_RESUME) || !is_answered_later(op->kind) ||
        view.replaced_by != 0 || view.state == PM_OP_INTERRUPTED)
        return;
    set_intent(sim, op->pool, view.state == PM_OP_SUCCEEDED ? op->intent : op->former);
}

/* ---- the disk ------------------------------------------------------------------------------------------------------ */

static void take_persist(struct sim *sim, const struct pm_action *action)
{
    sim->books.pools[book_pool_by_id(sim, action->record->pool_id)].n_writes++;
    if (action->record->has_operation)
        sim->books.ops[action->record->operation % SIM_OPS].persisted = true;
    world_persist(sim, action->token, action->record);
}

unsigned book_written(const struct world_record *record)
{
    return record->removed ? SIM_REMOVED : 1U << record->intent;
}

void books_persisted(struct sim *sim, int index, const struct world_record *record, bool failed)
{
    struct book_pool *pool = &sim->books.pools[index];

    pool->n_writes--;
    if (failed) {
        pool->not_written_in_step = true;
        return;
    }
    pool->written = sim->books.leaving || sim->books.ops[record->operation % SIM_OPS].ended
                        ? book_written(record) /* its command was called off meanwhile */
                        : 0;
    pool->written_spec = record->spec;
    if (!record->has_operation)
        pool->acknowledged = record->intent; /* what came of it is written behind it */
}

void books_reset(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];

    pool->failed = false;
    pool->reset_in_step = true;
    for (unsigned i = 0; i < pool->spec->n_replicas; i++) {
        pool->replicas[i].n = 0;
        pool->replicas[i].n_failed_starts = 0;
    }
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */

/* A PUT has made it, or made it anew. */
static void books_pool_comes(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct pm_pool_spec *spec = pool->asked;
    enum pm_owner owner = pool->owner;
    int first_spec = pool->first_spec;

    memset(pool, 0, sizeof(*pool));
    books_open_pool(sim, index, spec, owner);
    books_enter_names(sim, index);
    pool->first_spec = first_spec;
}

static void take_event(struct sim *sim, const struct pm_event *event)
{
    int index = book_pool_by_id(sim, event->pool_id);
    struct book_pool *pool = &sim->books.pools[index < 0 ? 0 : index];

    sim_seen.events[event->kind]++;
    if (index != SIM_NOBODY && event->kind == PM_EV_POOL_ADDED && !pool->there)
        books_pool_comes(sim, index);
    if (index == SIM_NOBODY)
        return;
    if (event->kind == PM_EV_EVICTED)
        pool->evicted_in_step = true;
    if (event->kind == PM_EV_REQUEST_PLACED)
        pool->placed_ms = sim->now_ms; /* it waited here, if only on its way from elsewhere */
    if (event->kind == PM_EV_START_FAILED && devices_never_fit(sim, pool->spec))
        pool->failed = pool->failed_in_step = true;
    if (event->kind == PM_EV_START_FAILED && devices_model(sim, pool->spec) &&
        strstr(event->human, "which has"))
        devices_refused(sim, index);
}

void books_take(struct sim *sim, const struct pm_action *action)
{
    sim_seen.actions[action->kind]++;
    switch (action->kind) {
    case PM_ACT_STAGE: take_stage(sim, action); break;
    case PM_ACT_SPAWN: take_spawn(sim, action); break;
    case PM_ACT_SIGNAL: take_signal(sim, action, false); break;
    case PM_ACT_KILL: take_signal(sim, action, true); break;
    case PM_ACT_FOLLOW: break; /* no world has engines of somebody else yet */
    case PM_ACT_PROBE: take_probe(sim, action); break;
    case PM_ACT_ASK_BUSY: take_ask_busy(sim, action); break;
    case PM_ACT_FORGET: take_forget(sim, action); break;
    case PM_ACT_GRANT: take_grant(sim, action); break;
    case PM_ACT_REFUSE: take_refuse(sim, action); break;
    case PM_ACT_CUT: take_cut(sim, action); break;
    case PM_ACT_OPERATION: take_operation(sim, action); break;
    case PM_ACT_PERSIST: take_persist(sim, action); break;
    case PM_ACT_REMEMBER: break;
    case PM_ACT_KEEP:
        sim->world.past[book_pool_by_id(sim, action->past->pool_id)] = *action->past;
        sim->world.past_ms[book_pool_by_id(sim, action->past->pool_id)] = sim->now_ms;
        break;
    case PM_ACT_LOOK: devices_asked(sim); break;
    case PM_ACT_ACCEPTED: take_accepted(sim, action); break;
    case PM_ACT_NARRATE: take_event(sim, action->event); break;
    case PM_ACT_STOPPED: sim->books.stopped = true; break;
    }
}

/* Which place serves a replica changes with a switch, and with it the failures that count. */
static void look_at_reloaded(struct sim *sim, struct book_replica *replica)
{
    int index =
        replica->view.token.serial ? book_engine_by_token(sim, replica->view.token) : SIM_NOBODY;

    replica->engine =
        index != SIM_NOBODY && !sim->books.engines[index].forgotten ? index : SIM_NOBODY;
    replica->n = replica->view.n_failures;
    replica->n_failed_starts = 0;
}

static void look_at_replica(struct sim *sim, struct book_pool *pool, unsigned index)
{
    struct book_replica *replica = &pool->replicas[index];
    enum pm_state before = replica->view.state;

    if (replica->engine != SIM_NOBODY)
        let_settle(sim, &sim->books.engines[replica->engine]);

    (void)pm_core_replica(sim->core, pool->spec->id, index, &replica->view);
    if (pool->reloaded)
        look_at_reloaded(sim, replica);
    if (pool->changed_in_step)
        replica->n = replica->view.n_failures; /* by limits that are new */
    sim_seen.states[replica->view.state]++;
    if (replica->view.state == before)
        return;
    if (replica->view.state == PM_READY)
        replica->ready_since_ms = sim->now_ms;
    if (replica->view.state == PM_SICK)
        replica->sick_since_ms = sim->now_ms;
    if (replica->view.state == PM_STOPPING)
        replica->stopping_since_ms = sim->now_ms;
    if (replica->view.state == PM_WAITING)
        replica->waiting_since_ms = sim->now_ms;
    if (replica->view.state == PM_COLD)
        replica->staged = false;
}

/* Being ready for long makes up for failures. */
static void forgive(struct sim *sim, const struct pm_pool_spec *spec, struct book_replica *replica)
{
    uint64_t n = replica->n;

    if (replica->n == 0 || replica->before.state != PM_READY || sim->books.leaving)
        return;
    n = pm_clock_forgiven(n, sim->now_ms - replica->ready_since_ms, spec->backoff.settle_ms,
                          spec->backoff.reset_ms, spec->backoff.open_at);
    if (replica->view.state != PM_READY && replica->view.n_failures != n)
        return; /* it ended in the very step */
    replica->n = n;
    if (n == 0)
        replica->n_failed_starts = 0;
}

/* What it is now; that it may be so is INV-19's to ask. */
static void look_at_spec(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];

    if (pool->view.spec == pool->spec)
        return;
    inv19_spec(sim, index);
    pool->was_changed = true;
    for (int i = 0; i < sim->n_specs; i++) {
        if (sim->specs[i] == pool->view.spec)
            pool->spec = sim->specs[i];
    }
    if (pool->reloaded && sim->now_ms + pool->spec->drain_deadline_ms < pool->cut_ms)
        pool->cut_ms = sim->now_ms + pool->spec->drain_deadline_ms; /* a limit of a PUT before it */
    for (int i = 0; i < sim->books.n_live; i++) {
        struct book_engine *engine = &sim->books.engines[sim->books.live[i]];

        if (engine->pool == index && pool->replicas[engine->replica].engine == sim->books.live[i] &&
            pm_spec_compare(engine->spec, pool->spec) != PM_SPEC_ENGINE)
            engine->spec = pool->spec; /* limits hold for what runs */
        if (engine->pool == index && engine->spec == pool->spec)
            engine->is_next = false;
    }
}

void books_look(struct sim *sim)
{
    struct books *books = &sim->books;

    for (int i = 0; i < books->n_pools; i++) {
        struct book_pool *pool = &books->pools[i];

        if (!pool->there)
            continue;
        for (unsigned k = 0; k < pool->spec->n_replicas; k++) {
            look_at_replica(sim, pool, k);
            if (!pool->reloaded)
                forgive(sim, pool->spec, &pool->replicas[k]);
        }
        (void)pm_core_pool(sim->core, pool->spec->id, sim->now_ms, &pool->view);
        look_at_spec(sim, i);
        if (pool->n_waiting > 0) {
            for (unsigned k = 0; k < pool->spec->n_replicas; k++) {
                if (pool->replicas[k].engine != SIM_NOBODY)
                    books->engines[pool->replicas[k].engine].for_waiters = true;
            }
        }
    }
}

void books_begin(struct sim *sim)
{
    books_arrived(sim);
    sim->books.arriving = 0;
    for (int i = 0; i < sim->books.n_pools; i++) {
        struct book_pool *pool = &sim->books.pools[i];

        pool->reset_in_step = pool->stopped_in_step = false;
        pool->started_in_step = pool->failed_in_step = pool->not_written_in_step = false;
        pool->changed_in_step = pool->not_staged_in_step = pool->untouched_in_step = false;
        pool->evicted_in_step = pool->drained_in_step = false;
        pool->before = pool->view;
        for (unsigned k = 0; k < pool->spec->n_replicas; k++) {
            pool->replicas[k].before = pool->replicas[k].view;
            pool->replicas[k].failed_in_step = false;
        }
    }
}

void books_open_pool(struct sim *sim, int index, struct pm_pool_spec *spec, enum pm_owner owner)
{
    struct book_pool *pool = &sim->books.pools[index];

    pool->spec = pool->declared = pool->asked = spec;
    pool->acknowledged_spec = pool->written_spec = atoi(spec->text);
    pool->cut_ms = PM_NEVER;
    pool->owner = owner;
    pool->number = ++sim->books.last_number;
    pool->there = true;
    pool->stop_by_ms = PM_NEVER;
    pool->idle_ms = pool->waiterless_ms = pool->intent_ms = sim->now_ms;
    for (unsigned k = 0; k < SIM_REPLICAS; k++)
        pool->replicas[k].engine = SIM_NOBODY;
}

void books_clear(struct sim *sim)
{
    struct books *books = &sim->books;

    for (int i = 0; i < sim->n_specs; i++)
        pm_pool_spec_unref(sim->specs[i]);
    sim->n_specs = 0;
    books->n_live = 0;
    pm_heap_fini(&books->deadlines);
    memset(books->pools, 0, sizeof(books->pools));
    memset(books->requests, 0, (size_t)(books->n_requests + 1) * sizeof(books->requests[0]));
    memset(books->engines, 0, (size_t)sim->world.n_engines * sizeof(books->engines[0]));
    memset(books->ops, 0, sizeof(books->ops));
    memset(&books->deadlines, 0, sizeof(books->deadlines));
    books->n_pools = books->n_requests = 0;
    memset(books->devices, 0, sizeof(books->devices));
    books->unblocked_ms = 0;
    books->version = books->shutdown_ms = books->last_op = 0;
    books->begun = books->shutting_down = books->at_once = books->leaving = books->stopped = false;
}

/* What the next daemon begins with: the file's, or what the disk has of an API pool. */
static struct pm_pool_spec *spec_on_disk(const struct sim *sim, int index)
{
    const struct book_pool *pool = &sim->books.pools[index];
    const struct world_record *record = &sim->world.disk[index];

    if (pool->owner != PM_OWNER_API)
        return pool->declared;
    return sim
        ->specs[record->exists && record->spec != SIM_NOBODY ? record->spec : pool->first_spec];
}

/* Its streams and waiters die with it; so do its operations, and what it knew of failures. */
void books_daemon_died(struct sim *sim)
{
    struct books *books = &sim->books;

    for (int i = 1; i <= books->n_requests; i++) {
        struct book_request *request = &books->requests[i];

        if (request->state == REQ_WAITING)
            books_gone(sim, i);
        if (request->state >= REQ_GRANTED && request->state <= REQ_ABANDONED)
            set_state(sim, request, REQ_OVER);
        request->lease = (struct pm_lease){0};
    }
    books->n_live = 0;
    for (int i = 0; i < SIM_ALL; i++)
        books->devices[i].charged = books->devices[i].pending = 0;
    for (int i = 0; i < sim->world.n_engines; i++)
        books->engines[i].token.serial = 0;
    for (int i = 0; i < books->n_pools; i++) {
        struct book_pool *pool = &books->pools[i];
        struct pm_pool_spec *declared = pool->declared;
        struct pm_pool_spec *spec = spec_on_disk(sim, i);
        int acknowledged_spec = pool->acknowledged_spec, written_spec = pool->written_spec;
        enum pm_intent acknowledged = pool->acknowledged;
        bool was_removed = pool->acknowledged_removed;
        enum pm_owner owner = pool->owner;
        int first_spec = pool->first_spec;
        unsigned written = pool->written;

        memset(pool, 0, sizeof(*pool));
        books_open_pool(sim, i, spec, owner);
        pool->there = !sim->world.disk[i].removed;
        pool->first_spec = first_spec;
        pool->acknowledged = acknowledged;
        pool->acknowledged_removed = was_removed;
        pool->declared = pool->owner == PM_OWNER_API ? spec : declared;
        pool->acknowledged_spec = acknowledged_spec;
        pool->written_spec = written_spec;
        pool->written = written;
    }
    books_open_queues(sim);
    books->last_op = 0;
    memset(books->ops, 0, sizeof(books->ops));
    books->version = 0;
    books->begun = books->shutting_down = books->at_once = books->leaving = books->stopped = false;
}
