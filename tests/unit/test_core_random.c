/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random worlds. Whatever comes, in whatever order, late or twice: what must hold after every step holds. A failing
 * seed is printed; `test_core_random SEED [ROUNDS [STEPS]]` runs it again.
 */
#include "core_sim.h"

#define ROUNDS 1000
#define STEPS  400

/* What came up at all, over all rounds: a world in which nothing happens proves nothing. */
static uint64_t n_actions[PM_ACT_STOPPED + 1], n_events[PM_EV_COUNT], n_states[PM_STATE_COUNT],
    n_refusals[POOLMGR_STATUS_COUNT];

/* ---- what came out: the books, and what an action may say --------------------------------------------------- */

static void on_spawn(struct sim *sim, const struct pm_action *action)
{
    int pool = sim_pool_of(sim, action->spec);
    struct sim_instance *instance = &sim->instances[sim->n_instances++];
    const struct pm_pool_spec *spec = sim->pools[pool].spec;
    uint64_t n = sim->pools[pool].replicas[action->replica].n;

    for (size_t i = 0; i + 1 < sim->n_instances; i++) {
        const struct sim_instance *other = &sim->instances[i];

        SIM_CHECK(sim, other->forgotten || other->pool != pool || other->replica != action->replica,
                  "INV-9: two process trees in one place");
    }
    SIM_CHECK(sim, !sim->shutting_down && !sim->leaving, "a start while the daemon ends");
    if (n >= 2) {
        double t = (double)spec->backoff.base_ms;

        for (uint64_t i = 2; i < n && t < (double)spec->backoff.cap_ms; i++)
            t *= 2;
        if (t > (double)spec->backoff.cap_ms)
            t = (double)spec->backoff.cap_ms;
        SIM_CHECK(sim,
                  (double)(sim->now_ms - sim->pools[pool].replicas[action->replica].failed_ms) >=
                      t * (1 - spec->backoff.jitter) - 1,
                  "INV-12: started %" PRIu64 " ms after failure %" PRIu64,
                  sim->now_ms - sim->pools[pool].replicas[action->replica].failed_ms, n);
    }

    memset(instance, 0, sizeof(*instance));
    instance->token = action->token;
    instance->pool = pool;
    instance->replica = action->replica;
    instance->progress_ms = sim->now_ms;
    instance->start_by_ms = sim->now_ms + spec->start_max_ms;
}

static void on_grant(struct sim *sim, const struct pm_action *action)
{
    struct sim_request *request = &sim->requests[action->request];
    struct sim_instance *instance = sim_instance(sim, action->lease_token);
    struct pm_replica_view view = sim_replica(sim, request->pool, action->lease.replica);

    SIM_CHECK(sim, request->state == REQ_WAITING, "INV-23: granted, but it does not wait");
    SIM_CHECK(sim, instance && instance->ready && !instance->exited && !instance->signalled,
              "INV-4: granted at an engine that is not ready");
    for (size_t i = 1; i < action->request; i++) {
        const struct sim_request *other = &sim->requests[i];

        SIM_CHECK(sim,
                  other->state != REQ_WAITING || other->pool != request->pool ||
                      other->batch != request->batch,
                  "INV-24: request %zu was overtaken by %" PRIu64, i, action->request);
    }
    if (!instance)
        return;

    request->state = REQ_GRANTED;
    request->lease = action->lease;
    request->instance = (size_t)(instance - sim->instances);
    SIM_CHECK(sim, sim_slots_in_use(sim, instance) <= view.slots_total,
              "INV-3, 5: more leases than slots");
}

static void on_refuse(struct sim *sim, const struct pm_action *action)
{
    struct sim_request *request = &sim->requests[action->request];

    SIM_CHECK(sim, request->state == REQ_WAITING, "INV-23: refused, but it does not wait");
    n_refusals[-action->error->code]++;
    SIM_CHECK(sim, action->error->message[0] != '\0', "an error without a message");
    if (action->error->code == POOLMGR_E_QUEUE_TIMEOUT)
        SIM_CHECK(sim, sim->now_ms >= request->deadline_ms, "refused before its deadline");
    request->state = REQ_OVER;
}

/* When the first operation that runs may cut. */
static uint64_t cuts_at(const struct sim *sim, int pool)
{
    uint64_t first_ms = PM_NEVER;

    for (size_t i = 0; i < SIM_OPS; i++) {
        if (sim->ops[i].cuts_at_ms != 0 && !sim->ops[i].ended && sim->ops[i].pool == pool &&
            sim->ops[i].cuts_at_ms < first_ms)
            first_ms = sim->ops[i].cuts_at_ms;
    }
    return first_ms;
}

static void cuts(struct sim *sim, uint64_t op, int pool, uint64_t after_ms)
{
    sim->ops[op].pool = pool;
    sim->ops[op].cuts_at_ms = after_ms < PM_NEVER - sim->now_ms ? sim->now_ms + after_ms : PM_NEVER;
}

static void on_cut(struct sim *sim, const struct pm_action *action)
{
    struct sim_request *request = &sim->requests[action->request];
    struct sim_instance *instance = &sim->instances[request->instance];
    uint64_t by_ms = cuts_at(sim, request->pool);

    SIM_CHECK(sim, request->state == REQ_GRANTED || request->state == REQ_ABANDONED,
              "cut, but it holds no lease");
    if (sim->shutting_down) {
        uint64_t ends_ms = sim->shutdown_ms + sim->pools[request->pool].spec->drain_deadline_ms;

        by_ms = ends_ms < by_ms ? ends_ms : by_ms;
    }
    if (request->state == REQ_GRANTED && (action->error->code == POOLMGR_E_DRAINING ||
                                          action->error->code == POOLMGR_E_SHUTTING_DOWN))
        SIM_CHECK(sim, sim->now_ms >= by_ms || sim->at_once || instance->exited,
                  "INV-18: a stream was cut before its deadline");
    request->state = REQ_OVER;
}

static void on_signal(struct sim *sim, const struct pm_action *action)
{
    struct sim_instance *instance = sim_instance(sim, action->token);

    SIM_CHECK(sim, instance && !instance->forgotten, "a signal for nobody");
    SIM_CHECK(sim, !sim->leaving, "a signal after leave");
    if (!instance || instance->signalled)
        return;
    instance->signalled = true;
    instance->signalled_ms = sim->now_ms;
}

static void on_kill(struct sim *sim, const struct pm_action *action)
{
    struct sim_instance *instance = sim_instance(sim, action->token);
    const struct pm_pool_spec *spec;

    SIM_CHECK(sim, instance && !instance->forgotten, "SIGKILL for nobody");
    if (!instance)
        return;
    spec = sim->pools[instance->pool].spec;
    SIM_CHECK(
        sim,
        instance->exited || sim->at_once || action->reason_code == PM_CLASS_START_TIMEOUT ||
            (instance->signalled && sim->now_ms - instance->signalled_ms >= spec->stop_grace_ms),
        "INV-16: SIGKILL of a live engine");
    instance->killed = true;
    instance->killed_ms = sim->now_ms;
    if (!instance->signalled) {
        instance->signalled = true;
        instance->signalled_ms = sim->now_ms;
    }
}

static void ask(struct sim *sim, const struct pm_action *action, struct pm_token token, int pool)
{
    if (sim->n_questions == SIM_QUESTIONS) /* the world forgets one: it is never answered */
        sim->questions[sim_below(sim, SIM_QUESTIONS)] = sim->questions[--sim->n_questions];
    sim->questions[sim->n_questions++] = (struct sim_question){action->kind, token, pool};
}

static void on_operation(struct sim *sim, const struct pm_action *action)
{
    struct pm_operation op = {0};

    SIM_CHECK(sim, pm_core_operation(sim->core, action->operation, &op), "an unknown operation");
    SIM_CHECK(sim, !sim->ops[action->operation].ended, "INV-28: an operation ended twice");
    SIM_CHECK(sim, op.state != PM_OP_RUNNING, "INV-28: ended, but still running");
    sim->ops[action->operation].ended = true;
}

static void on_event(struct sim *sim, const struct pm_event *event)
{
    n_events[event->kind]++;
    SIM_CHECK(sim, event->human[0] != '\0', "an event without a sentence: %s",
              pm_event_row(event->kind)->name);
}

static void take(struct sim *sim, const struct pm_action *action)
{
    struct sim_instance *instance;

    n_actions[action->kind]++;
    switch (action->kind) {
    case PM_ACT_STAGE: ask(sim, action, action->token, sim_pool_of(sim, action->spec)); break;
    case PM_ACT_SPAWN: on_spawn(sim, action); break;
    case PM_ACT_SIGNAL: on_signal(sim, action); break;
    case PM_ACT_KILL: on_kill(sim, action); break;
    case PM_ACT_PROBE:
    case PM_ACT_ASK_BUSY: ask(sim, action, action->probe, 0); break;
    case PM_ACT_FORGET:
        instance = sim_instance(sim, action->token);
        SIM_CHECK(sim, instance && !instance->forgotten, "forgotten twice");
        if (instance)
            instance->forgotten = true;
        break;
    case PM_ACT_GRANT: on_grant(sim, action); break;
    case PM_ACT_REFUSE: on_refuse(sim, action); break;
    case PM_ACT_CUT: on_cut(sim, action); break;
    case PM_ACT_PERSIST: ask(sim, action, action->token, 0); break;
    case PM_ACT_ACCEPTED:
        SIM_CHECK(sim, !sim->ops[action->operation].answered, "a command was answered twice");
        sim->ops[action->operation].answered = true;
        break;
    case PM_ACT_OPERATION: on_operation(sim, action); break;
    case PM_ACT_NARRATE: on_event(sim, action->event); break;
    case PM_ACT_STOPPED:
        SIM_CHECK(sim, !sim->stopped, "stopped twice");
        sim->stopped = true;
        break;
    }
}

/* ---- what holds after every step ------------------------------------------------------------------------------- */

static void check_replica(struct sim *sim, int pool, unsigned index)
{
    struct pm_replica_view view = sim_replica(sim, pool, index);
    const struct pm_pool_spec *spec = sim->pools[pool].spec;
    enum pm_state before = sim->pools[pool].replicas[index].state;

    SIM_CHECK(sim, before != PM_FAILED || view.state == PM_FAILED || sim->reset,
              "INV-15: failed became %s", pm_state_name(view.state));
    if (view.n_failures > sim->pools[pool].replicas[index].n)
        sim->pools[pool].replicas[index].failed_ms = sim->now_ms;
    sim->pools[pool].replicas[index].n = view.n_failures;
    sim->pools[pool].replicas[index].state = view.state;
    n_states[view.state]++;

    if (view.state == PM_BACKOFF || view.state == PM_FAILED)
        SIM_CHECK(sim, view.last_error.code != 0 && view.last_error.text[0] != '\0',
                  "INV-8: %s without a reason", pm_state_name(view.state));
    SIM_CHECK(sim, !view.gate_open || view.state == PM_READY, "an open gate of a place not ready");
    if (sim->leaving)
        return;
    if (view.state == PM_STARTING) {
        struct sim_instance *instance = sim_instance(sim, view.token);

        SIM_CHECK(sim, instance && sim->now_ms < instance->start_by_ms,
                  "INV-33: a start outlives start_max");
        SIM_CHECK(sim, instance && sim->now_ms < instance->progress_ms + spec->start_stall_ms,
                  "INV-33: a start without progress outlives start_stall");
    }
    if (view.state == PM_STOPPING) {
        struct sim_instance *instance = sim_instance(sim, view.token);
        uint64_t since_ms = instance ? instance->signalled_ms : 0;

        SIM_CHECK(sim, instance != NULL, "stopping without a process");
        if (instance && instance->signalled && sim->now_ms > since_ms + spec->stop_grace_ms)
            SIM_CHECK(sim, instance->killed && sim->now_ms - instance->killed_ms <= 1000,
                      "INV-34: nobody kills an engine that does not end");
    }
}

static void check_pool(struct sim *sim, int pool)
{
    uint64_t n_leases = 0, n_waiting = 0;
    struct pm_pool_view view;

    SIM_CHECK(sim, pm_core_pool(sim->core, sim->pools[pool].spec->id, sim->now_ms, &view), "gone");
    for (size_t i = 1; i <= sim->n_requests; i++) {
        const struct sim_request *request = &sim->requests[i];

        if (request->pool != pool)
            continue;
        n_waiting += request->state == REQ_WAITING;
        n_leases += request->state == REQ_GRANTED || request->state == REQ_ABANDONED;
        SIM_CHECK(sim, request->state != REQ_WAITING || sim->now_ms < request->deadline_ms,
                  "INV-31: request %zu outlives its deadline", i);
    }
    SIM_CHECK(sim, view.queue_depth == n_waiting, "INV-23: %" PRIu64 " wait, not %" PRIu64,
              view.queue_depth, n_waiting);
    SIM_CHECK(sim, view.active_leases >= n_leases, "INV-3: leases were lost");
    SIM_CHECK(sim,
              view.queue_depth <= sim->pools[pool].spec->queue.n_requests &&
                  view.queue_bytes <= sim->pools[pool].spec->queue.bytes,
              "INV-23: the queue is over its bounds");
    SIM_CHECK(sim, view.ready || view.reason[0] != '\0', "INV-8: not ready, and nobody says why");
    SIM_CHECK(sim, view.queue_depth == 0 || view.slots_free == 0,
              "someone waits beside a free slot");
    SIM_CHECK(sim, view.idle_stop_ms == 0 || view.idle_stop_ms > sim->now_ms || sim->leaving,
              "INV-34: idle for too long");
    for (unsigned i = 0; i < sim->pools[pool].spec->n_replicas; i++)
        check_replica(sim, pool, i);
}

static void check(struct sim *sim)
{
    struct pm_pool_view a, b;

    for (int i = 0; i < sim->n_pools; i++)
        check_pool(sim, i);
    for (size_t i = 0; i + 1 < pm_core_n_pools(sim->core); i++) {
        (void)pm_core_pool_at(sim->core, i, sim->now_ms, &a);
        (void)pm_core_pool_at(sim->core, i + 1, sim->now_ms, &b);
        SIM_CHECK(sim, strcmp(a.spec->id, b.spec->id) < 0, "INV-1: not ordered by id");
    }
    SIM_CHECK(sim, pm_core_snapshot_version(sim->core) >= sim->version, "INV-1: it went back");
    SIM_CHECK(sim, pm_core_deadline(sim->core) > sim->now_ms, "INV-30: something is due");
}

/* Takes what an input appended, then asks once more: there is nothing left to do (INV-29, INV-30). */
static void taken(struct sim *sim, const char *input)
{
    sim->input = input;
    for (size_t i = 0; i < sim->out.n; i++)
        take(sim, &sim->out.items[i]);
    SIM_CHECK(
        sim,
        sim->out.n == 0 || pm_core_snapshot_version(sim->core) > sim->version ||
            sim->out.items[0].kind == PM_ACT_REFUSE || sim->out.items[0].kind == PM_ACT_PROBE ||
            sim->out.items[0].kind == PM_ACT_KILL || sim->out.items[0].kind == PM_ACT_SIGNAL ||
            sim->out.items[0].kind == PM_ACT_ASK_BUSY || sim->out.items[0].kind == PM_ACT_NARRATE ||
            sim->out.items[0].kind == PM_ACT_PERSIST,
        "INV-1: something happened, but the version did not grow");
    pm_actions_clear(&sim->out);
    check(sim);
    sim->version = pm_core_snapshot_version(sim->core);
    sim->reset = false;

    pm_core_tick(sim->core, sim->now_ms, &sim->out);
    SIM_CHECK(sim, sim->out.n == 0, "INV-29: a second look finds something to do");
    SIM_CHECK(sim, pm_core_snapshot_version(sim->core) == sim->version,
              "INV-29: a second look changes something");
    pm_actions_clear(&sim->out);
}

/* An input that must change nothing (INV-2). */
static void nothing(struct sim *sim, const char *input)
{
    sim->input = input;
    SIM_CHECK(sim, sim->out.n == 0, "INV-2: a dead input appended something");
    SIM_CHECK(sim, pm_core_snapshot_version(sim->core) == sim->version,
              "INV-2: a dead input changed something");
    pm_actions_clear(&sim->out);
}

/* ---- inputs ------------------------------------------------------------------------------------------------------- */

static void time_passes(struct sim *sim)
{
    uint64_t due_ms = pm_core_deadline(sim->core);
    uint64_t by_ms = sim->now_ms + SIM_PICK(sim, 0, 1, 10, 100, 1000, 5000);

    /* The driver wakes up at the deadline, sometimes a little late. */
    sim->now_ms = due_ms < by_ms ? due_ms : by_ms;
    pm_core_tick(sim->core, sim->now_ms, &sim->out);
    taken(sim, "tick");
}

static void request_comes(struct sim *sim)
{
    struct pm_request request = {.request_id = "r"};
    struct sim_request *mine;
    struct pm_pool_view view;
    bool free_slot;

    if (sim->n_requests + 1 >= SIM_REQUESTS)
        return;
    request.id = ++sim->n_requests;
    mine = &sim->requests[request.id];
    mine->state = REQ_WAITING;
    mine->pool = (int)sim_below(sim, (uint64_t)sim->n_pools);
    mine->batch = sim_one_in(sim, 3);
    request.route = sim->pools[mine->pool].spec->id;
    request.priority = mine->batch ? PM_BATCH : PM_INTERACTIVE;
    request.bytes = sim_below(sim, 120);
    request.deadline_ms = SIM_PICK(sim, 0, 1, 500, 5000, UINT64_MAX);
    mine->deadline_ms = sim->pools[mine->pool].spec->queue.max_age_ms;
    if (request.deadline_ms != 0 && request.deadline_ms < mine->deadline_ms)
        mine->deadline_ms = request.deadline_ms;
    mine->deadline_ms += sim->now_ms;
    (void)pm_core_pool(sim->core, request.route, sim->now_ms, &view);
    free_slot = view.slots_free > 0 && !sim->shutting_down && !sim->leaving;
    pm_core_request(sim->core, &request, sim->now_ms, &sim->out);
    taken(sim, "request");
    SIM_CHECK(sim, !free_slot || mine->state == REQ_GRANTED,
              "INV-13: a ready place with a free slot gave none");
}

static struct sim_request *some_request(struct sim *sim, uint64_t *ret_id)
{
    uint64_t n = sim->n_requests < 12 ? sim->n_requests : 12;

    if (n == 0)
        return NULL;
    *ret_id = sim->n_requests - sim_below(sim, n);
    return &sim->requests[*ret_id];
}

static void client_leaves(struct sim *sim)
{
    uint64_t id;
    struct sim_request *request = some_request(sim, &id);

    if (!request)
        return;
    pm_core_request_gone(sim->core, id, sim->now_ms, &sim->out);
    if (request->state != REQ_WAITING) {
        nothing(sim, "gone of one that does not wait");
        return;
    }
    request->state = REQ_OVER;
    taken(sim, "gone");
}

static void lease_ends(struct sim *sim)
{
    uint64_t id;
    struct sim_request *request = some_request(sim, &id);
    enum pm_release how = (enum pm_release)sim_below(sim, 4);

    if (!request || request->lease.serial == 0)
        return;
    pm_core_release(sim->core, &request->lease, how, sim->now_ms, &sim->out);
    if (request->state != REQ_GRANTED && request->state != REQ_ABANDONED) {
        nothing(sim, "a second release");
        return;
    }
    request->state = REQ_OVER;
    if (how == PM_RELEASE_CLIENT_CLOSED || how == PM_RELEASE_LIMIT) {
        request->state = REQ_SETTLING;
        request->settles_ms = sim->now_ms + sim->pools[request->pool].spec->cancel_settle_ms;
        if (sim->pools[request->pool].spec->habits.reports_busy)
            request->settles_ms = 0; /* an idle report may come at any time */
    }
    taken(sim, "release");
}

static void lease_is_abandoned(struct sim *sim)
{
    uint64_t id;
    struct sim_request *request = some_request(sim, &id);

    if (!request || request->lease.serial == 0)
        return;
    pm_core_abandon(sim->core, &request->lease, sim->now_ms, &sim->out);
    if (request->state != REQ_GRANTED) {
        nothing(sim, "abandon of no lease");
        return;
    }
    request->state = REQ_ABANDONED;
    taken(sim, "abandon");
}

static void keep_alive(struct sim *sim)
{
    uint64_t id;
    struct sim_request *request = some_request(sim, &id);

    if (!request || request->state != REQ_GRANTED)
        return;
    pm_core_keep_alive(sim->core, &request->lease, SIM_PICK(sim, 0, 1000, PM_NEVER), sim->now_ms,
                       &sim->out);
    taken(sim, "keep_alive");
}

static struct pm_failure some_failure(struct sim *sim)
{
    struct pm_failure failure = {.class = (enum pm_class)SIM_PICK(sim, PM_CLASS_NONE, PM_CLASS_NONE,
                                                                  PM_CLASS_OOM, PM_CLASS_DRIVER)};

    if (sim->greedy)
        failure.class = PM_CLASS_OOM;
    failure.permanent = sim_one_in(sim, sim->greedy ? 100 : 10);
    (void)pm_str_copy(failure.text, sizeof(failure.text),
                      sim_one_in(sim, 2) ? "" : "cudaMalloc failed: out of memory");
    return failure;
}

static void world_answers(struct sim *sim)
{
    static const struct poolmgr_error full = {.code = POOLMGR_E_STORE_FAILED,
                                              .message = "no space left on device"};
    size_t i = sim_below(sim, sim->n_questions);
    struct sim_question asked;
    struct pm_failure failure;

    if (sim->n_questions == 0)
        return;
    asked = sim->questions[i];
    if (!sim_one_in(sim, 8)) /* else it will be answered once more */
        sim->questions[i] = sim->questions[--sim->n_questions];
    switch (asked.kind) {
    case PM_ACT_STAGE:
        failure = some_failure(sim);
        failure.class = PM_CLASS_NONE;
        pm_core_staged(sim->core, asked.token,
                       sim_one_in(sim, sim->greedy ? 50 : 8) ? &failure : NULL, 1000, sim->now_ms,
                       &sim->out);
        taken(sim, "staged");
        break;
    case PM_ACT_PERSIST:
        pm_core_persisted(sim->core, asked.token, sim_one_in(sim, 8) ? &full : NULL, sim->now_ms,
                          &sim->out);
        taken(sim, "persisted");
        break;
    case PM_ACT_PROBE:
        pm_core_probed(sim->core, asked.token, sim_one_in(sim, sim->deaf ? 5 : 9) == sim->deaf,
                       sim->now_ms, &sim->out);
        taken(sim, "probed");
        break;
    default:
        pm_core_busy(sim->core, asked.token, sim_below(sim, 3), sim->now_ms, &sim->out);
        taken(sim, "busy");
        break;
    }
}

static struct sim_instance *some_instance(struct sim *sim)
{
    uint64_t n = sim->n_instances < 6 ? sim->n_instances : 6;

    return n == 0 ? NULL : &sim->instances[sim->n_instances - 1 - sim_below(sim, n)];
}

static void spawn_answers(struct sim *sim)
{
    struct sim_instance *instance = some_instance(sim);
    struct pm_failure failure = some_failure(sim);
    bool fails = sim_one_in(sim, 10), dead;

    if (!instance)
        return;
    /* Who is ready was launched: only its pid is news. */
    dead = instance->forgotten || instance->answered_spawn || (fails && instance->ready);
    pm_core_spawned(sim->core, instance->token, fails ? &failure : NULL, 4711, sim->now_ms,
                    &sim->out);
    if (dead) {
        nothing(sim, "a second answer to a spawn");
        return;
    }
    instance->answered_spawn = true;
    instance->progress_ms = sim->now_ms;
    taken(sim, fails ? "spawn failed" : "spawned");
}

static void engine_shows_life(struct sim *sim)
{
    struct sim_instance *instance = some_instance(sim);

    if (!instance)
        return;
    if (!instance->forgotten)
        instance->progress_ms = sim->now_ms;
    pm_core_progress(sim->core, instance->token, sim->now_ms, &sim->out);
    taken(sim, "progress");
}

static void engine_is_ready(struct sim *sim)
{
    struct sim_instance *instance = some_instance(sim);
    struct pm_ready ready = {.endpoint = "unix:/x", .n_slots = sim_below(sim, 3)};

    if (!instance)
        return;
    if (!instance->exited && !instance->signalled && !instance->forgotten)
        instance->ready = true;
    pm_core_endpoint_ready(sim->core, instance->token, &ready, sim->now_ms, &sim->out);
    taken(sim, "endpoint ready");
}

static void forget_leases(struct sim *sim, const struct sim_instance *instance)
{
    for (size_t i = 1; i <= sim->n_requests; i++) {
        if (sim->requests[i].state == REQ_SETTLING &&
            &sim->instances[sim->requests[i].instance] == instance)
            sim->requests[i].state = REQ_OVER;
    }
}

static void engine_exits(struct sim *sim)
{
    struct sim_instance *instance = some_instance(sim);
    struct pm_exit how = {.signalled = sim_one_in(sim, 2)};

    if (!instance)
        return;
    how.status = how.signalled ? (int)SIM_PICK(sim, 9, 11) : (int)SIM_PICK(sim, 0, 1, 78);
    how.evidence = some_failure(sim);
    if (instance->forgotten || instance->exited) {
        pm_core_engine_exited(sim->core, instance->token, &how, sim->now_ms, &sim->out);
        nothing(sim, "a second exit");
        return;
    }
    instance->exited = true;
    if (!instance->signalled) {
        instance->signalled = true;
        instance->signalled_ms = sim->now_ms;
    }
    forget_leases(sim, instance);
    pm_core_engine_exited(sim->core, instance->token, &how, sim->now_ms, &sim->out);
    taken(sim, "exit");
}

static void tree_ends(struct sim *sim, struct sim_instance *instance)
{
    if (!instance)
        return;
    if (instance->forgotten) {
        pm_core_childless(sim->core, instance->token, sim->now_ms, &sim->out);
        nothing(sim, "a second childless");
        return;
    }
    instance->exited = true;
    forget_leases(sim, instance);
    pm_core_childless(sim->core, instance->token, sim->now_ms, &sim->out);
    taken(sim, "childless");
    SIM_CHECK(sim, instance->forgotten, "childless, but not forgotten");
}

static void operator_commands(struct sim *sim)
{
    static const enum pm_breaker breakers[] = {PM_BREAKER_CLOSED, PM_BREAKER_CLOSED,
                                               PM_BREAKER_FORCED_OPEN, PM_BREAKER_DISABLED};
    int i = (int)sim_below(sim, (uint64_t)sim->n_pools);
    struct sim_pool *pool = &sim->pools[i];
    uint64_t op = 0, deadline_ms = SIM_PICK(sim, 0, 1000, 30000, PM_NEVER);
    struct pm_drain drain = {.has_deadline = true,
                             .on_deadline = (enum pm_on_deadline)sim_below(sim, 2),
                             .then = (enum pm_then)sim_below(sim, 2)};
    struct poolmgr_error err = {0};

    switch (sim_below(sim, 8)) {
    case 5:
    case 6:
        drain.deadline_ms = deadline_ms;
        if (pm_core_drain(sim->core, pool->spec->id, &drain, sim->now_ms, &sim->out, &op, &err) ==
                0 &&
            drain.on_deadline == PM_DEADLINE_STOP)
            cuts(sim, op, i, deadline_ms);
        taken(sim, "drain");
        break;
    case 7:
        (void)pm_core_resume(sim->core, pool->spec->id, sim->now_ms, &sim->out, &op, &err);
        taken(sim, "resume");
        break;
    case 0:
        (void)pm_core_start(sim->core, pool->spec->id, sim->now_ms, &sim->out, &op, &err);
        taken(sim, "start");
        break;
    case 1:
        if (pm_core_stop(sim->core, pool->spec->id, deadline_ms, sim->now_ms, &sim->out, &op,
                         &err) == 0)
            cuts(sim, op, i, deadline_ms);
        taken(sim, "stop");
        break;
    case 2:
        op = 1 + sim_below(sim, 10);
        (void)pm_core_cancel_operation(sim->core, op, sim->now_ms, &sim->out, &err);
        taken(sim, "cancel");
        break;
    case 3:
        sim->reset = true;
        (void)pm_core_reset(sim->core, pool->spec->id, breakers[sim_below(sim, 4)], sim->now_ms,
                            &sim->out, &err);
        taken(sim, "reset");
        break;
    default:
        sim->reset = true;
        pm_core_file_changed(sim->core, pool->spec->id, sim->now_ms, &sim->out);
        taken(sim, "file changed");
        break;
    }
}

static void dead_inputs(struct sim *sim)
{
    struct pm_token never = {.serial = UINT64_MAX}, none = {0};
    struct pm_lease lease = {.serial = UINT64_MAX, .pool = 77, .replica = 9};
    struct pm_exit how = {0};

    pm_core_staged(sim->core, never, NULL, 0, sim->now_ms, &sim->out);
    pm_core_staged(sim->core, none, NULL, 0, sim->now_ms, &sim->out);
    pm_core_probed(sim->core, never, true, sim->now_ms, &sim->out);
    pm_core_busy(sim->core, none, 1, sim->now_ms, &sim->out);
    pm_core_engine_exited(sim->core, never, &how, sim->now_ms, &sim->out);
    pm_core_childless(sim->core, none, sim->now_ms, &sim->out);
    pm_core_release(sim->core, &lease, PM_RELEASE_DONE, sim->now_ms, &sim->out);
    pm_core_request_gone(sim->core, UINT64_MAX, sim->now_ms, &sim->out);
    pm_core_file_changed(sim->core, "nobody", sim->now_ms, &sim->out);
    nothing(sim, "dead inputs");
}

static void step(struct sim *sim)
{
    uint64_t what = sim_below(sim, 100);

    if (sim->calm && (what >= 91 || (what < 62 && sim_one_in(sim, 2))) && !sim_one_in(sim, 8))
        what = what < 62 ? 0 : 70;
    if (what < 25)
        time_passes(sim);
    else if (what < 45)
        request_comes(sim);
    else if (what < 50)
        client_leaves(sim);
    else if (what < 62)
        lease_ends(sim);
    else if (what < 64)
        lease_is_abandoned(sim);
    else if (what < 65)
        keep_alive(sim);
    else if (what < 78)
        world_answers(sim);
    else if (what < 83)
        spawn_answers(sim);
    else if (what < 86)
        engine_shows_life(sim);
    else if (what < 92)
        engine_is_ready(sim);
    else if (what < 94)
        engine_exits(sim);
    else if (what < 96)
        tree_ends(sim, some_instance(sim));
    else if (what < 99)
        operator_commands(sim);
    else
        dead_inputs(sim);
}

/* Whatever state it is in: a shutdown comes to its end, and leaves nothing. */
static void end(struct sim *sim)
{
    uint64_t last_ms = 0;

    sim->shutting_down = true;
    sim->shutdown_ms = sim->now_ms;
    sim->at_once = sim_one_in(sim, 3);
    pm_core_shutdown(sim->core, sim->at_once, sim->now_ms, &sim->out);
    taken(sim, "shutdown");
    for (int i = 0; i < 2000 && !sim->stopped && !sim->failed; i++) {
        last_ms = sim->now_ms;
        if (sim_one_in(sim, 20) && sim->n_requests + 1 < SIM_REQUESTS)
            request_comes(sim);
        for (size_t k = 0; k < sim->n_instances; k++) {
            struct sim_instance *instance = &sim->instances[k];

            if (instance->killed && !instance->forgotten)
                tree_ends(sim, instance);
        }
        time_passes(sim);
    }
    (void)last_ms;
    SIM_CHECK(sim, sim->stopped, "a shutdown without an end");
    for (size_t k = 0; k < sim->n_instances; k++)
        SIM_CHECK(sim, sim->instances[k].forgotten, "stopped, and an engine is left");
    for (size_t k = 1; k <= sim->n_requests; k++)
        SIM_CHECK(sim, sim->requests[k].state != REQ_WAITING, "stopped, and a request waits");
}

/* Or the daemon leaves: what runs is left alone, whatever comes after. */
static void leave(struct sim *sim)
{
    sim->leaving = true;
    pm_core_leave(sim->core, sim->now_ms, &sim->out);
    taken(sim, "leave");
    SIM_CHECK(sim, sim->stopped, "a leave takes more than a step");
    for (int i = 0; i < 100 && !sim->failed; i++)
        step(sim);
}

static bool run(uint64_t seed, uint64_t n_steps)
{
    static struct sim sim;

    sim_init(&sim, seed);
    sim_adopt(&sim);
    taken(&sim, "init");
    pm_core_begin(sim.core, sim.now_ms, &sim.out);
    taken(&sim, "begin");
    for (sim.step = 0; sim.step < n_steps && !sim.failed; sim.step++)
        step(&sim);
    if (!sim.failed && sim_one_in(&sim, 4))
        leave(&sim);
    else if (!sim.failed)
        end(&sim);
    sim_fini(&sim);
    return !sim.failed;
}

static const enum pm_event_kind gateway_events[] = {
    PM_EV_DAEMON_STARTED, PM_EV_DAEMON_STOPPING,   PM_EV_CONFIG_APPLIED,    PM_EV_CONFIG_REFUSED,
    PM_EV_CONFIG_WARNING, PM_EV_POOL_REMOVED,      PM_EV_REQUEST_CANCELLED, PM_EV_STREAM_STARTED,
    PM_EV_STREAM_ENDED,   PM_EV_REQUEST_ABANDONED, PM_EV_REQUEST_RETRIED,   PM_EV_STRAY_KILLED,
};

/* Seeds that failed once, found by longer runs: they are run first. */
static const struct {
    uint64_t seed, n_steps;
} kept[] = {
    {102394, 1000},  /* a launch that fails after the engine answered, with leases */
    {5001076, 1000}, /* a delay that is over after the daemon has left */
};

static uint64_t run_kept(void)
{
    uint64_t n_failed = 0;

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        n_failed += !run(kept[i].seed, kept[i].n_steps);
    return n_failed;
}

static bool is_told_by_others(enum pm_event_kind kind)
{
    for (size_t i = 0; i < sizeof(gateway_events) / sizeof(gateway_events[0]); i++) {
        if (gateway_events[i] == kind)
            return true;
    }
    return false;
}

static bool everything_came_up(void)
{
    static const int codes[] = {
        POOLMGR_E_QUEUE_FULL,   POOLMGR_E_QUEUE_DROPPED, POOLMGR_E_QUEUE_TIMEOUT,
        POOLMGR_E_POOL_FAILED,  POOLMGR_E_START_FAILED,  POOLMGR_E_START_TIMEOUT,
        POOLMGR_E_BREAKER_OPEN, POOLMGR_E_SHUTTING_DOWN, POOLMGR_E_DRAINING,
        POOLMGR_E_DISABLED,
    };
    bool all = true;

    for (int i = 0; i <= PM_ACT_STOPPED; i++) {
        if (n_actions[i] == 0 && (all = false, true))
            fprintf(stderr, "no action of kind %d came up\n", i);
    }
    for (int i = 0; i < PM_STATE_COUNT; i++) {
        if (n_states[i] == 0 && (all = false, true))
            fprintf(stderr, "nothing was ever %s\n", pm_state_name((enum pm_state)i));
    }
    for (int i = 0; i < PM_EV_COUNT; i++) {
        if (n_events[i] == 0 && !is_told_by_others((enum pm_event_kind)i) && (all = false, true))
            fprintf(stderr, "%s never came up\n", pm_event_row((enum pm_event_kind)i)->name);
    }
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (n_refusals[-codes[i]] == 0 && (all = false, true))
            fprintf(stderr, "nobody was refused with %d\n", codes[i]);
    }
    return all;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n_rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : ROUNDS;
    uint64_t n_steps = argc > 3 ? strtoull(argv[3], NULL, 10) : STEPS;
    uint64_t n_failed = 0;

    printf("1..2\n");
    if (argc == 1)
        n_failed += run_kept();
    for (uint64_t seed = first; seed < first + n_rounds && n_failed < 5; seed++)
        n_failed += !run(seed, n_steps);
    printf("%s 1 - whatever comes, the invariants of the core hold\n", n_failed ? "not ok" : "ok");
    if (argc > 1 || n_failed > 0) {
        printf("ok 2 # SKIP only a whole run must see everything\n");
        return n_failed ? 1 : 0;
    }
    if (!everything_came_up())
        n_failed++;
    printf("%s 2 - every action, event, state and refusal came up\n", n_failed ? "not ok" : "ok");
    return n_failed ? 1 : 0;
}
