/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is true outside. An engine's fate is drawn when it is spawned: how long it loads, whether and when it crashes,
 * hangs, ignores signals, leaves children. What the world does comes as an event in virtual time, and an event is an
 * input to the core: the shim tells, a probe answers, a stream ends.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "util/str.h"

#define DEAF_MS        15000 /* every other quarter of a minute, some engines are */
#define ASKED_AGAIN_MS 50    /* how long an answer about busy slots is waited for */

enum { ENGINE_SALT = 1, STREAM_SALT, QUESTION_SALT };

void world_clear(struct sim *sim)
{
    struct world *world = &sim->world;

    pm_heap_fini(&world->heap);
    memset(&world->heap, 0, sizeof(world->heap));
    memset(world->engines, 0, (size_t)world->n_engines * sizeof(world->engines[0]));
    memset(world->streams, 0, (size_t)(sim->books.n_requests + 1) * sizeof(world->streams[0]));
    memset(world->questions, 0, sizeof(world->questions));
    world->n_devices = 0;
    devices_clear(sim);
    memset(world->disk, 0, sizeof(world->disk));
    memset(world->past, 0, sizeof(world->past));
    world->n_engines = world->next_question = 0;
    world->disk_free_ms = 0;
}

void world_schedule(struct sim *sim, struct world_event *event, uint64_t at_ms)
{
    pm_heap_set(&sim->world.heap, &event->node, at_ms);
}

uint64_t world_next_ms(const struct sim *sim)
{
    const struct pm_heap_node *first = pm_heap_first(&sim->world.heap);

    return first ? first->key : PM_NEVER;
}

static struct sim_random random_of(const struct sim *sim, unsigned salt, uint64_t number)
{
    return (struct sim_random){sim_mix(sim->seed, sim_mix(salt, number))};
}

static uint64_t after(uint64_t now_ms, uint64_t ms)
{
    return ms > PM_NEVER - now_ms ? PM_NEVER : now_ms + ms;
}

/* ---- engines ---------------------------------------------------------------------------------------------------- */

static enum pm_class some_evidence(struct sim_random *random)
{
    return (enum pm_class)SIM_PICK(random, PM_CLASS_NONE, PM_CLASS_NONE, PM_CLASS_OOM, PM_CLASS_OOM,
                                   PM_CLASS_DRIVER);
}

static void draw_engine(struct sim *sim, struct world_engine *engine, struct sim_random *random)
{
    const struct sim_mood *mood = sim->mood;

    engine->alive = true;
    engine->load_ms = SIM_PICK(random, 0, 5, 400, 2500, 9000, 40000);
    engine->life_every_ms = SIM_PICK(random, 300, 1500, 2500);
    engine->hangs_ms = PM_NEVER;
    engine->term_ms = SIM_PICK(random, 0, 10, 800, 3000, PM_NEVER);
    engine->kill_ms = SIM_PICK(random, 0, 5, 900);
    engine->tree_ms = SIM_PICK(random, 0, 1, 300);
    engine->tree_stays = sim_one_in(random, 8);
    engine->misses = sim_one_in(random, mood->deaf) ? (unsigned)SIM_PICK(random, 1, 2) : 0;
    engine->n_slots = SIM_PICK(random, 0, 0, 0, 1, 2);
    engine->lies = sim_one_in(random, 8);
    engine->launch_fails = sim_one_in(random, mood->crash * 3);
    engine->permanent = sim_one_in(random, mood->permanent);
    engine->evidence = some_evidence(random);
    if (sim_one_in(random, mood->hang))
        engine->load_ms = PM_NEVER;
    if (sim_one_in(random, mood->hang))
        engine->life_every_ms = PM_NEVER;
    engine->unfit = sim_one_in(random, mood->crash * 20);
}

static struct world_event event_of(enum world_kind kind, int index)
{
    return (struct world_event){.kind = kind, .index = index};
}

/* Launched in a moment; the shim tells, unless that gets lost. */
void world_spawn(struct sim *sim, int index)
{
    struct sim_random random = random_of(sim, ENGINE_SALT, (uint64_t)index);
    struct world_engine *engine = &sim->world.engines[index];
    uint64_t launch_ms = SIM_PICK(&random, 0, 2, 20);

    memset(engine, 0, sizeof(*engine));
    pm_list_init(&engine->streams);
    engine->launched = event_of(WORLD_LAUNCHED, index);
    engine->life = event_of(WORLD_LIFE, index);
    engine->end = event_of(WORLD_END, index);
    draw_engine(sim, engine, &random);
    engine->ready_ms = after(sim->now_ms + launch_ms, engine->load_ms);
    if (sim_one_in(&random, sim->mood->lose)) { /* nothing was launched at all */
        engine->never_launched = true;
        engine->ready_ms = PM_NEVER;
        return;
    }
    world_schedule(sim, &engine->launched, sim->now_ms + launch_ms);
    if (engine->launch_fails)
        return;
    if (sim_one_in(&random, sim->mood->crash))
        world_schedule(sim, &engine->end,
                       sim->now_ms + launch_ms +
                           SIM_PICK(&random, 0, 50, 1000, 5000, 30000, 120000));
    if (sim_one_in(&random, sim->mood->hang))
        engine->hangs_ms = sim->now_ms + SIM_PICK(&random, 1000, 10000, 60000);
}

static void ends_by(struct sim *sim, struct world_engine *engine, uint64_t ms)
{
    uint64_t at_ms = after(sim->now_ms, ms);

    if (pm_heap_contains(&engine->end.node) && engine->end.node.key <= at_ms)
        return;
    world_schedule(sim, &engine->end, at_ms);
}

/* SIGTERM; some notice only the second, some none. */
void world_signal(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];

    if (engine->gone || !engine->alive || sim_one_in(&sim->random, sim->mood->lose))
        return;
    if (engine->never_launched)
        ends_by(sim, engine, 0);
    else
        ends_by(sim, engine, engine->term_ms);
}

void world_kill(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];

    if (engine->gone || sim_one_in(&sim->random, sim->mood->lose))
        return;
    engine->tree_stays = false;
    ends_by(sim, engine, engine->kill_ms);
}

static void launched(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];
    struct pm_failure failure = {.class = PM_CLASS_NONE, .permanent = engine->permanent};
    uint64_t next_ms;

    if (!engine->alive)
        return;
    if (engine->launch_fails) {
        (void)pm_str_copy(failure.text, sizeof(failure.text), "no such program");
        engine->alive = false;
        engine->gone = true;
        devices_engine_ends(sim, index);
    } else {
        next_ms = after(sim->now_ms, engine->life_every_ms);
        world_schedule(sim, &engine->life, next_ms < engine->ready_ms ? next_ms : engine->ready_ms);
    }
    if (!engine->launch_fails && sim_one_in(&sim->random, sim->mood->lose)) {
        sim_input(sim, sim->books.engines[index].pool, "nobody hears that %s runs",
                  sim_engine_name(sim, index));
        return;
    }
    if (sim->books.engines[index].adopted)
        return; /* found running: nobody was asked to launch it */
    sim_input(sim, sim->books.engines[index].pool, "%s %s", sim_engine_name(sim, index),
              engine->launch_fails ? "cannot be launched" : "is launched");
    books_launched(sim, index, engine->launch_fails ? &failure : NULL);
    pm_core_spawned(sim->core, sim->books.engines[index].token,
                    engine->launch_fails ? &failure : NULL, 4711, sim->now_ms, &sim->out);
    sim_taken(sim);
}

/* It answers, and runs where it was not to run. */
static void is_unfit(struct sim *sim, int index)
{
    const struct pm_failure failure = {.code = POOLMGR_E_ENGINE_MISSING, .permanent = true};

    sim_input(sim, sim->books.engines[index].pool, "%s answers: unfit",
              sim_engine_name(sim, index));
    books_unfit(sim, index);
    pm_core_start_unfit(sim->core, sim->books.engines[index].token, &failure, sim->now_ms,
                        &sim->out);
    sim_taken(sim);
}

static void becomes_ready(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];
    struct pm_ready ready = {.endpoint = "unix:/x", .owner_proved = true};

    engine->loaded = true;
    if (engine->unfit) {
        is_unfit(sim, index);
        return;
    }
    ready.n_slots = engine->n_slots;
    sim_input(sim, sim->books.engines[index].pool, "%s answers: ready",
              sim_engine_name(sim, index));
    books_ready(sim, index, &ready);
    pm_core_endpoint_ready(sim->core, sim->books.engines[index].token, &ready, sim->now_ms,
                           &sim->out);
    sim_taken(sim);
    devices_measured(sim, index);
}

/* It loads, or works for a stream: its log grows. */
static void shows_life(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];
    uint64_t next_ms = after(sim->now_ms, engine->life_every_ms);

    if (!engine->alive)
        return;
    if (!engine->loaded && sim->now_ms >= engine->ready_ms) {
        if (!pm_list_empty(&engine->streams))
            world_schedule(sim, &engine->life, next_ms);
        becomes_ready(sim, index);
        return;
    }
    if (engine->loaded && pm_list_empty(&engine->streams))
        return; /* goes on with the next stream */
    if (!engine->loaded && engine->ready_ms < next_ms)
        next_ms = engine->ready_ms;
    world_schedule(sim, &engine->life, next_ms);
    if (sim->now_ms >= engine->hangs_ms)
        return;
    sim_input(sim, sim->books.engines[index].pool, "%s shows life", sim_engine_name(sim, index));
    books_life(sim, index);
    pm_core_progress(sim->core, sim->books.engines[index].token, sim->now_ms, &sim->out);
    sim_taken(sim);
    if (!engine->loaded && sim_one_in(&sim->random, 4))
        devices_measured(sim, index);
}

struct pm_exit world_some_exit(struct sim *sim, int index)
{
    const struct world_engine *engine = &sim->world.engines[index];
    struct pm_exit how = {.signalled = sim_one_in(&sim->random, 2)};

    how.status =
        how.signalled ? (int)SIM_PICK(&sim->random, 9, 11) : (int)SIM_PICK(&sim->random, 0, 1, 78);
    how.evidence.class = engine->evidence;
    how.evidence.permanent = engine->permanent;
    (void)pm_str_copy(how.evidence.text, sizeof(how.evidence.text),
                      engine->evidence == PM_CLASS_OOM ? "cudaMalloc failed: out of memory" : "");
    return how;
}

static void forget_streams(struct sim *sim, struct world_engine *engine)
{
    struct pm_link *link, *next;

    pm_list_each_safe (&engine->streams, link, next) {
        struct world_stream *stream = pm_container_of(link, struct world_stream, link);

        pm_list_remove(&stream->link);
        world_schedule(sim, &stream->event, PM_NEVER);
    }
}

static void childless(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];

    engine->gone = true;
    engine->alive = false;
    sim->books.engines[index].childless = true;
    devices_engine_ends(sim, index);
    forget_streams(sim, engine);
    sim_input(sim, sim->books.engines[index].pool, "nothing is left of %s",
              sim_engine_name(sim, index));
    books_exited(sim, index, NULL);
    pm_core_childless(sim->core, sim->books.engines[index].token, sim->now_ms, &sim->out);
    sim_taken(sim);
}

static void ends(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];
    struct pm_exit how;

    if (engine->gone)
        return;
    if (!engine->alive || engine->never_launched || sim_one_in(&sim->random, 12)) {
        childless(sim, index); /* at once, and nobody saw how it ended; or after its exit */
        return;
    }
    engine->alive = false;
    forget_streams(sim, engine);
    if (!engine->tree_stays)
        world_schedule(sim, &engine->end, after(sim->now_ms, engine->tree_ms));
    how = world_some_exit(sim, index);
    sim_input(sim, sim->books.engines[index].pool, "%s ends (%s %d%s%s)",
              sim_engine_name(sim, index), how.signalled ? "signal" : "exit", how.status,
              how.evidence.class ? ", " : "", pm_class_name(how.evidence.class));
    books_exited(sim, index, &how);
    pm_core_engine_exited(sim->core, sim->books.engines[index].token, &how, sim->now_ms, &sim->out);
    sim_taken(sim);
}

/* ---- questions -------------------------------------------------------------------------------------------------- */

static bool must_be_answered(const struct world_question *question)
{
    return question->open && (question->kind == PM_ACT_STAGE || question->kind == PM_ACT_PERSIST);
}

static struct world_question *ask(struct sim *sim, enum pm_action_kind kind, struct pm_token token,
                                  int pool, int engine)
{
    struct world *world = &sim->world;
    struct world_question *question = &world->questions[world->next_question];

    for (int i = 0; must_be_answered(question) && i < SIM_QUESTIONS; i++) {
        world->next_question = (world->next_question + 1) % SIM_QUESTIONS;
        question = &world->questions[world->next_question];
    }
    world_schedule(sim, &question->event, PM_NEVER); /* an old one is never answered */
    *question = (struct world_question){.event = event_of(WORLD_ANSWER, world->next_question),
                                        .kind = kind,
                                        .token = token,
                                        .pool = pool,
                                        .engine = engine,
                                        .asked_ms = sim->now_ms,
                                        .open = true};
    world->next_question = (world->next_question + 1) % SIM_QUESTIONS;
    return question;
}

void world_ask(struct sim *sim, enum pm_action_kind kind, struct pm_token token, int pool,
               int engine)
{
    struct sim_random random = random_of(sim, QUESTION_SALT, token.serial);
    struct world_question *question = ask(sim, kind, token, pool, engine);
    uint64_t after_ms = kind == PM_ACT_STAGE ? SIM_PICK(&random, 0, 0, 30, 2000, 20000)
                                             : SIM_PICK(&random, 0, 1, 5, 30, 1500, 3000);

    if (kind == PM_ACT_STAGE && engine == SIM_NOBODY)
        sim->books.pools[pool].staged_by_ms = sim->now_ms + after_ms;
    else if (kind != PM_ACT_STAGE && sim_one_in(&random, sim->mood->lose))
        return;
    world_schedule(sim, &question->event, sim->now_ms + after_ms);
}

/* One after the other, however long each takes. */
void world_persist(struct sim *sim, struct pm_token token, const struct pm_pool_record *record)
{
    struct sim_random random = random_of(sim, QUESTION_SALT, token.serial);
    struct world_question *question =
        ask(sim, PM_ACT_PERSIST, token, book_pool_by_id(sim, record->pool_id), SIM_NOBODY);
    uint64_t from_ms =
        sim->now_ms > sim->world.disk_free_ms ? sim->now_ms : sim->world.disk_free_ms;

    question->record =
        (struct world_record){.exists = true,
                              .removed = record->removed,
                              .has_operation = record->has_operation,
                              .intent = record->intent,
                              .spec = record->spec_text ? atoi(record->spec_text) : SIM_NOBODY,
                              .operation = record->operation,
                              .kind = record->kind};
    sim->world.disk_free_ms = from_ms + SIM_PICK(&random, 0, 2, 40, 900, 8000);
    world_schedule(sim, &question->event, sim->world.disk_free_ms);
}

static void persisted(struct sim *sim, struct world_question *question)
{
    static const struct poolmgr_error full = {.code = POOLMGR_E_STORE_FAILED,
                                              .message = "no space left on device"};
    bool fails = sim_one_in(&sim->random, sim->mood->full);

    sim_input(sim, question->pool, "%s is %swritten", sim->books.pools[question->pool].spec->id,
              fails ? "not " : "");
    if (!fails)
        sim->world.disk[question->pool] = question->record;
    books_persisted(sim, question->pool, &question->record, fails);
    pm_core_persisted(sim->core, question->token, fails ? &full : NULL, sim->now_ms, &sim->out);
    sim_taken(sim);
}

/* Of what a pool shall be; if it is not there, nothing changes. */
static void staged_next(struct sim *sim, const struct world_question *question)
{
    struct pm_failure failure = {.code = POOLMGR_E_MODEL_MISSING};
    bool fails = sim_one_in(&sim->random, 3);

    (void)pm_str_copy(failure.text, sizeof(failure.text), "no such file");
    sim_input(sim, question->pool, "the new model of %s is %s",
              sim->books.pools[question->pool].spec->id, fails ? "not there" : "there");
    sim->books.pools[question->pool].staging_next = false;
    pm_core_staged(sim->core, question->token, fails ? &failure : NULL,
                   devices_model(sim, sim->books.pools[question->pool].spec), 0, sim->now_ms,
                   &sim->out);
    if (question->token.serial == sim->books.pools[question->pool].reload_token.serial)
        sim->books.pools[question->pool].not_staged_in_step =
            sim->books.pools[question->pool].not_staged = fails;
    sim_taken(sim);
}

static void staged(struct sim *sim, struct world_question *question)
{
    struct pm_failure failure = {.class = PM_CLASS_NONE};
    bool fails = sim_one_in(&sim->random, sim->mood->crash * 2);

    failure.permanent = sim_one_in(&sim->random, sim->mood->permanent);
    failure.code = failure.permanent ? POOLMGR_E_MODEL_CORRUPT : 0;
    (void)pm_str_copy(failure.text, sizeof(failure.text), "the disk is full");
    sim_input(sim, question->pool, "the model of %s is %s",
              sim->books.pools[question->pool].spec->id, fails ? "not there" : "there");
    books_staged(sim, question->pool, fails ? &failure : NULL);
    pm_core_staged(sim->core, question->token, fails ? &failure : NULL,
                   devices_model(sim, sim->books.pools[question->pool].spec), 0, sim->now_ms,
                   &sim->out);
    sim_taken(sim);
}

static void probed(struct sim *sim, struct world_question *question)
{
    const struct world_engine *engine = &sim->world.engines[question->engine];
    bool is_deaf = sim->now_ms / DEAF_MS % 2 == 0 && sim_one_in(&sim->random, engine->misses);
    bool ok = engine->alive && engine->loaded && sim->now_ms < engine->hangs_ms && !is_deaf;

    if (sim_one_in(&sim->random, sim->mood->lose * 4))
        ok = !ok; /* it lies */
    sim_input(sim, sim->books.engines[question->engine].pool, "%s %s its probe",
              sim_engine_name(sim, question->engine), ok ? "answers" : "misses");
    books_probed(sim, question->engine, ok);
    pm_core_probed(sim->core, question->token, ok, sim->now_ms, &sim->out);
    sim_taken(sim);
}

static void busy(struct sim *sim, struct world_question *question)
{
    uint64_t n_busy = world_busy(sim, question->engine);

    if (sim->world.engines[question->engine].lies)
        n_busy = sim_below(&sim->random, 4);
    sim_input(sim, sim->books.engines[question->engine].pool, "%s says %" PRIu64 " busy",
              sim_engine_name(sim, question->engine), n_busy);
    if (sim->now_ms - question->asked_ms < ASKED_AGAIN_MS && /* later it is not waited for */
        !sim->books.engines[question->engine].signalled)
        books_busy(sim, question->engine, n_busy);
    pm_core_busy(sim->core, question->token, n_busy, sim->now_ms, &sim->out);
    sim_taken(sim);
}

static void answers(struct sim *sim, struct world_question *question)
{
    struct world_question asked = *question;

    question->open = false;
    if (asked.kind == PM_ACT_STAGE && asked.engine == SIM_NOBODY &&
        sim->books.pools[asked.pool].staging_token.serial != asked.token.serial) {
        sim_input(sim, asked.pool, "the model of a pool that is gone is there");
        pm_core_staged(sim->core, asked.token, NULL, NULL, 1000, sim->now_ms, &sim->out);
        sim_nothing(sim);
        return;
    }
    switch (asked.kind) {
    case PM_ACT_STAGE:
        if (asked.engine == SIM_NEXT)
            staged_next(sim, &asked);
        else
            staged(sim, &asked);
        break;
    case PM_ACT_PERSIST: persisted(sim, &asked); break;
    case PM_ACT_PROBE: probed(sim, &asked); break;
    default: busy(sim, &asked); break;
    }
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

void world_stream_begins(struct sim *sim, int request, int index)
{
    struct sim_random random = random_of(sim, STREAM_SALT, (uint64_t)request);
    struct world_stream *stream = &sim->world.streams[request];
    struct world_engine *engine = &sim->world.engines[index];

    stream->event = event_of(WORLD_STREAM, request);
    stream->engine = index;
    stream->works_until_ms = PM_NEVER;
    pm_list_append(&engine->streams, &stream->link);
    world_schedule(sim, &stream->event,
                   sim->now_ms + SIM_PICK(&random, 0, 5, 100, 1000, 6000, 30000));
    if (!pm_heap_contains(&engine->life.node))
        world_schedule(sim, &engine->life, after(sim->now_ms, engine->life_every_ms));
}

/* Its client left. The engine notices in a while, or its answer is read on. */
void world_stream_closes(struct sim *sim, int request, bool read_on)
{
    struct world_stream *stream = &sim->world.streams[request];

    if (read_on)
        return;
    stream->works_until_ms = sim->now_ms + SIM_PICK(&sim->random, 0, 20, 200, 3000);
    world_schedule(sim, &stream->event, stream->works_until_ms);
}

void world_stream_over(struct sim *sim, int request)
{
    struct world_stream *stream = &sim->world.streams[request];

    pm_list_remove(&stream->link);
    world_schedule(sim, &stream->event, PM_NEVER);
}

uint64_t world_busy(struct sim *sim, int index)
{
    const struct world_engine *engine = &sim->world.engines[index];
    const struct pm_link *link;
    uint64_t n = 0;

    pm_list_each (&engine->streams, link)
        n += sim->now_ms < pm_container_of(link, const struct world_stream, link)->works_until_ms;
    return n;
}

static void stream_ends(struct sim *sim, int index)
{
    const struct book_request *request = &sim->books.requests[index];
    struct world_stream *stream = &sim->world.streams[index];
    struct world_engine *engine = &sim->world.engines[stream->engine];

    if (request->state != REQ_GRANTED && request->state != REQ_ABANDONED) {
        world_stream_over(sim, index); /* nobody reads it any more, or the engine noticed */
        return;
    }
    if (sim->now_ms < engine->hangs_ms) {
        sim_release(sim, index, PM_RELEASE_DONE);
    } else if (request->state == REQ_GRANTED && sim_one_in(&sim->random, 3)) {
        sim_release(sim, index, PM_RELEASE_LIMIT);
    } else {
        world_schedule(sim, &stream->event, sim->now_ms + 20000);
    }
}

/* ---- the next event ---------------------------------------------------------------------------------------------- */

void world_happens(struct sim *sim)
{
    struct pm_heap_node *first = pm_heap_first(&sim->world.heap);
    struct world_event *event;

    if (!first)
        return;
    event = pm_container_of(first, struct world_event, node);
    pm_heap_remove(&sim->world.heap, first);
    switch (event->kind) {
    case WORLD_LAUNCHED: launched(sim, event->index); break;
    case WORLD_LIFE: shows_life(sim, event->index); break;
    case WORLD_END: ends(sim, event->index); break;
    case WORLD_ANSWER: answers(sim, &sim->world.questions[event->index]); break;
    case WORLD_MEMORY: devices_memory(sim, event->index); break;
    case WORLD_LIST: devices_found(sim); break;
    case WORLD_STREAM: stream_ends(sim, event->index); break;
    }
}

/* What was being written is there or not: a rename is whole. */
static void dies_writing(struct sim *sim, const struct world_question *question)
{
    sim->books.pools[question->pool].written |= book_written(&question->record);
    if (!sim_one_in(&sim->random, 2))
        return;
    sim->world.disk[question->pool] = question->record;
    sim->books.pools[question->pool].written_spec = question->record.spec;
}

/* Its questions die with it, and its streams; the engines go on and notice by and by. */
void world_daemon_died(struct sim *sim)
{
    for (int i = 0; i < SIM_QUESTIONS; i++) {
        struct world_question *question = &sim->world.questions[i];

        if (question->open && question->kind == PM_ACT_PERSIST)
            dies_writing(sim, question);
        world_schedule(sim, &question->event, PM_NEVER);
        question->open = false;
        question->token.serial = 0; /* the next daemon counts anew */
    }
    sim->world.disk_free_ms = 0;
    for (int i = 1; i <= sim->books.n_requests; i++) {
        struct world_stream *stream = &sim->world.streams[i];

        if (pm_link_in_list(&stream->link) && stream->works_until_ms == PM_NEVER)
            world_stream_closes(sim, i, false);
    }
}
