/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator (SIM-1): the deciding core in a world of engines that start, hang, crash, ignore signals and answer
 * late or twice, all drawn from one seed.
 *
 *   world       what is true outside: engines, the disk, streams; when what will happen next
 *   books       what must be true inside, kept from inputs and actions alone, never from core's memory
 *   invariants  what LIFECYCLE §6 says, one function an id: asked before each action is booked, and after each step
 *   driver      draws what happens next, and puts it in
 *   story       tells a seed that failed, in few steps
 */
#ifndef PM_TESTS_SIM_H
#define PM_TESTS_SIM_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"
#include "core/restart.h"
#include "util/heap.h"
#include "util/list.h"

#define SIM_POOLS            4
#define SIM_REPLICAS         4
#define SIM_ENGINES          8192
#define SIM_REQUESTS         65536
#define SIM_QUESTIONS        128
#define SIM_SPECS            512
#define SIM_LIVE             64
#define SIM_OPS              8192
#define SIM_SPARE            64 /* of each: a world that has less left than this comes to its end */
#define SIM_NEXT             (-2) /* a reload's */
#define SIM_SETS             (1U << SIM_POOLS)
#define SIM_TENANTS          3
#define SIM_NOBODY           (-1)
#define SIM_REMOVED          (1U << PM_INTENT_COUNT) /* a bit beside those of the intents */
#define SIM_DEVICES          2
#define SIM_CPU              SIM_DEVICES /* the number of one more */
#define SIM_ALL              (SIM_CPU + 1)
#define SIM_MODELS           4
#define SIM_MAX_WAIT_MS      10000
#define SIM_MIN_RESIDENCY_MS 30000
#define SIM_LOOK_OLD_MS      1000 /* core's */
#define SIM_LOOK_WAIT_MS     2000

struct sim;

/* ---- random numbers: those of a step depend on the seed and the step's number alone ------------------------ */

struct sim_random {
    uint64_t state;
};

uint64_t sim_mix(uint64_t a, uint64_t b);
uint64_t sim_draw(struct sim_random *random);
uint64_t sim_below(struct sim_random *random, uint64_t n);
bool sim_one_in(struct sim_random *random, uint64_t n); /* 0: never */
uint64_t sim_pick(struct sim_random *random, const uint64_t *values, size_t n);

#define SIM_PICK(random, ...)                                                                      \
    sim_pick((random), (const uint64_t[]){__VA_ARGS__},                                            \
             sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

/* ---- the world ------------------------------------------------------------------------------------------------ */

/* What a seed is like. Each number is a chance of one in so many; 0: never. */
struct sim_mood {
    const char *name;
    unsigned time, request, client, operate,
        trouble;                           /* how often what happens, relative to each other */
    unsigned crash, hang, deaf, permanent; /* of an engine */
    unsigned lose;                         /* an action or an answer */
    unsigned full;                         /* the disk */
    unsigned hasty;                        /* a client that is gone in the step of its grant */
    unsigned kill_daemon, jump;            /* of a trouble */
};

enum world_kind {
    WORLD_LAUNCHED,
    WORLD_LIFE,
    WORLD_END,
    WORLD_ANSWER,
    WORLD_STREAM,
    WORLD_MEMORY,
    WORLD_LIST
};

/* Something that will happen. */
struct world_event {
    struct pm_heap_node node;
    enum world_kind kind;
    int index; /* of the engine, the question or the request */
};

/* An engine, and what will become of it: drawn when it is spawned. */
struct world_engine {
    struct world_event launched, life, end;
    bool launch_fails, unfit, permanent, tree_stays, alive, gone, loaded, lies;
    bool never_launched;
    bool has_all; /* its memory was taken before it was adopted */
    enum pm_class evidence;
    uint64_t load_ms;  /* from its launch to its first 200; PM_NEVER: it hangs */
    uint64_t ready_ms; /* when it will be ready; PM_NEVER */
    uint64_t life_every_ms, hangs_ms;
    uint64_t term_ms, kill_ms, tree_ms; /* how long it takes to end */
    unsigned misses;                    /* one in so many probes */
    uint64_t n_slots;
    uint64_t memory[SIM_ALL], memory_until_ms;
    uint64_t was_used[SIM_ALL]; /* as the last look showed */
    struct pm_list streams;     /* of struct world_stream */
};

struct world_stream {
    struct world_event event;
    struct pm_link link; /* in its engine's list */
    int engine;
    uint64_t works_until_ms; /* the engine is busy with it; PM_NEVER while it is read */
};

/* What the disk has of a pool. */
struct world_record {
    bool exists, removed, has_operation;
    int spec; /* its number; SIM_NOBODY: the file's */
    enum pm_intent intent;
    uint64_t operation;
    enum pm_operation_kind kind;
};

struct world_question {
    bool for_reload; /* STAGE: of a spec that is not the pool's yet */
    struct world_event event;
    struct world_record record; /* PERSIST */
    enum pm_action_kind kind;   /* STAGE, PROBE, ASK_BUSY, PERSIST */
    struct pm_token token;
    int pool, engine;
    uint64_t asked_ms;
    bool open; /* asked, and not answered yet */
};

struct world_device {
    struct pm_device is;
    struct world_event memory; /* somebody looks at it, or tells what that showed */
    bool looks, again; /* the look began and is not told yet; another one is asked for behind it */
    uint64_t began_ms, was_free_bytes; /* what it showed */
    uint64_t leaked_bytes, foreign_bytes;
};

struct world {
    struct world_device devices[SIM_ALL];
    int n_devices;                       /* without the CPU */
    bool has_cpu;                        /* the machine's memory is known */
    bool sees_memory, sees_processes;    /* somebody tells what is free, and who uses it */
    bool has_uuids;                      /* devices are found; else they are declared */
    bool estimates_err;                  /* engines take other memory than was planned */
    bool discovers;                      /* the list comes later */
    bool says_memory;                    /* engines say what they allocated */
    struct pm_model *models[SIM_MODELS]; /* of specs that declare no bytes; NULL: there are none */
    struct world_event list;
    struct pm_heap heap;
    struct world_engine engines[SIM_ENGINES];
    int n_engines;
    struct world_stream streams[SIM_REQUESTS];
    struct world_question questions[SIM_QUESTIONS];
    int next_question;
    struct world_record disk[SIM_POOLS];
    struct pm_past past[SIM_POOLS]; /* what was kept behind, and when */
    uint64_t past_ms[SIM_POOLS];
    uint64_t disk_free_ms; /* one helper thread writes: one after the other */
};

void world_clear(struct sim *sim);
uint64_t world_next_ms(const struct sim *sim);
void world_happens(struct sim *sim); /* what is next: an input */
void world_schedule(struct sim *sim, struct world_event *event, uint64_t at_ms);
void world_spawn(struct sim *sim, int engine);
void world_signal(struct sim *sim, int engine);
void world_kill(struct sim *sim, int engine);
void world_ask(struct sim *sim, enum pm_action_kind kind, struct pm_token token, int pool,
               int engine);
void world_persist(struct sim *sim, struct pm_token token, const struct pm_pool_record *record);
void world_stream_begins(struct sim *sim, int request, int engine);
void world_stream_closes(struct sim *sim, int request, bool read_on);
void world_stream_over(struct sim *sim, int request);
uint64_t world_busy(struct sim *sim, int engine);
void world_daemon_died(struct sim *sim);
struct pm_exit world_some_exit(struct sim *sim, int engine);

/* ---- the books ------------------------------------------------------------------------------------------------ */

enum book_request_state {
    REQ_NONE,
    REQ_WAITING,
    REQ_GRANTED,
    REQ_SETTLING,
    REQ_ABANDONED,
    REQ_OVER
};

struct book_request {
    const char *name;             /* as the client wrote it */
    struct pm_link link;          /* in its queue, while it waits */
    struct pm_heap_node deadline; /* while it waits */
    struct pm_link engine_link;   /* while it has a slot */
    enum book_request_state state;
    unsigned set,
        home; /* pools that it waits for, as bits; and those of its name, where it is counted */
    int pool, engine; /* that serve it */
    int tenant, pin;
    bool retried, demands; /* some pools of its name, and no other */
    enum pm_priority priority;
    uint64_t bytes, arrived_ms, asked_ms, deadline_ms, granted_ms, settles_ms;
    struct pm_lease lease;
};

struct book_engine {
    struct pm_token token; /* of the present daemon; serial 0: none */
    int pool;
    unsigned replica;
    uint64_t instance;
    const struct pm_pool_spec *spec;
    bool adopted, told_launched, ready, exited, signalled, killed, forgotten;
    bool for_waiters;    /* somebody waited for this start */
    enum pm_class class; /* how its try ends, as far as is known: NONE is as planned */
    uint64_t spawned_ms, start_by_ms, progress_ms, life_ms, ready_ms, signalled_ms, killed_ms;
    uint64_t slots_total, n_granted, n_settling, n_abandoned, n_missed, n_good, n_limits;
    struct pm_list leases; /* of struct book_request */
    bool is_next;          /* of a reload, not in place yet */
    bool unsure;           /* an idle report freed some of those that settle: nobody knows which */
    uint64_t sure_ms;      /* … until all have settled */
    unsigned uses;         /* devices, as bits */
    uint64_t charged[SIM_ALL];
    uint64_t pending[SIM_ALL];      /* of that, not in use yet as far as was told */
    bool estimated;                 /* its bytes are: they change with what it says */
    bool doomed, childless;         /* by the driver; nothing is left of it */
    uint64_t doomed_ms, watched_ms; /* a driver error that may be its doing; 0: none */
};

#define BOOK_FAILURES 11

struct book_replica {
    int engine; /* whose tree is not known to be gone, or SIM_NOBODY */
    bool staged;
    uint64_t n, failed_ms; /* SUP-2, from failures alone */
    uint64_t failed_starts_ms[BOOK_FAILURES], n_failed_starts;
    bool failed_in_step, crashed_when_ready, is_claimed;
    uint64_t ready_since_ms, sick_since_ms, stopping_since_ms, waiting_since_ms;
    struct pm_replica_view view, before;
};

struct book_line {
    struct pm_list waiters;
    int64_t turn; /* the smallest is next */
};

struct book_queue {
    struct book_line lines[2][SIM_TENANTS];
    uint64_t n[2], n_interactive_in_row, waiterless_ms;
    uint64_t left_ms; /* when one who had waited left last */
};

/* What is bounded: all that came by names with one set of pools. */
struct book_home {
    uint64_t n, bytes;
};

struct book_pool {
    struct pm_pool_spec *spec;
    enum pm_owner owner;
    uint64_t number;               /* the order in which they were added */
    struct pm_pool_spec *declared; /* what its owner asked for last */
    struct pm_pool_spec *asked;    /* … or anybody, and it has not come to that yet */
    int first_spec, acknowledged_spec, written_spec; /* an API pool's */
    struct pm_token staging_token, reload_token;     /* the reload's own look at its model */
    const struct pm_pool_spec *staging_spec;
    bool was_changed;            /* its bounds may be smaller than when they came */
    bool reloaded, staging_next; /* since the daemon began: places come and go */
    bool not_staged, changed_in_step, not_staged_in_step, untouched_in_step;
    uint64_t cut_ms;      /* no reload may cut before this */
    bool there, removing; /* until it is forgotten; from the acceptance of its removal on */
    struct book_replica replicas[SIM_REPLICAS];
    uint64_t waited_since_ms, n_waiting, n_waiting_here_only, bytes_waiting, n_interactive_in_row;
    enum pm_intent intent;
    uint64_t intent_ms;
    uint64_t stop_by_ms; /* the earliest deadline of a stop or drain that runs; PM_NEVER: none */
    unsigned n_running[PM_OP_KIND_COUNT]; /* operations; a drain from its acceptance on */
    bool failed, forced, maybe_parked, staging;
    unsigned n_writes;           /* that are under way */
    enum pm_intent acknowledged; /* what the next daemon must have */
    unsigned written;            /* intents that were being written when the daemon died, as bits */
    bool acknowledged_removed;
    uint64_t staged_by_ms; /* when the disk will have answered */
    uint64_t idle_ms, waiterless_ms, placed_ms, keep_alive_ms;
    bool has_keep_alive;
    struct pm_pool_view view, before;
    /* in this step */
    bool reset_in_step, stopped_in_step, started_in_step, failed_in_step, not_written_in_step,
        evicted_in_step, drained_in_step;
};

struct book_op {
    enum pm_operation_kind kind;
    int pool;
    bool known, ended, answered, acts, persisted, joins;
    bool aborts;               /* at its deadline */
    struct pm_pool_spec *spec; /* a reload or a put: what it asks for */
    uint64_t by_ms;            /* … which is this */
    enum pm_intent intent;     /* a drain or a resume: what comes after it */
    enum pm_intent former;     /* … and what was before */
    uint64_t cancels;          /* a cancel: that drain */
};

struct book_device {
    enum pm_device_state state; /* as its driver says */
    uint64_t charged, pending;
    bool free_known; /* as it was told last */
    uint64_t free_bytes;
    uint64_t seen_ms,
        changed_ms;  /* when that look began; when an engine came, was ready or was over */
    int first_trial; /* engines before this one began before the quarantine */
    struct pm_device_view view; /* after the last step */
};

struct books {
    struct book_device devices[SIM_ALL];
    bool listed, no_gpu; /* devices were looked for; there is no hardware */
    uint64_t unblocked_ms;
    struct book_pool pools[SIM_POOLS];
    int n_pools;
    struct book_request requests[SIM_REQUESTS];
    int n_requests; /* ids 1..n */
    struct book_engine engines[SIM_ENGINES];
    struct book_op ops[SIM_OPS];
    uint64_t last_number;
    struct book_queue queues[SIM_SETS];
    struct book_home homes[SIM_SETS];
    int64_t last_turn, first_turn;
    bool is_mixed;            /* wishes, or pools that went: turns are not known any more */
    struct pm_heap deadlines; /* of who waits */
    uint64_t version;
    bool begun, shutting_down, at_once, leaving, stopped;
    uint64_t shutdown_ms;
    uint64_t last_op;
    int live[SIM_LIVE], n_live; /* engines that are not forgotten */
    int arriving;               /* the request of this step, or 0 */
};

void books_take(struct sim *sim, const struct pm_action *action);
void books_look(struct sim *sim);  /* at what the core shows, after a step */
void books_begin(struct sim *sim); /* what is of one step only is forgotten */
void books_clear(struct sim *sim);
void books_open_pool(struct sim *sim, int pool, struct pm_pool_spec *spec, enum pm_owner owner);
unsigned book_written(const struct world_record *record);
void books_daemon_died(struct sim *sim);

/* What goes in, before it does. */
void books_request(struct sim *sim, int request);
void books_gone(struct sim *sim, int request);
void books_released(struct sim *sim, int request, enum pm_release how);
void books_abandoned(struct sim *sim, int request);
void books_launched(struct sim *sim, int engine, const struct pm_failure *failure);
void books_life(struct sim *sim, int engine);
void books_ready(struct sim *sim, int engine, const struct pm_ready *ready);
void books_unfit(struct sim *sim, int engine);
void books_exited(struct sim *sim, int engine, const struct pm_exit *how);
void books_staged(struct sim *sim, int pool, const struct pm_failure *failure);
void books_probed(struct sim *sim, int engine, bool ok);
void books_busy(struct sim *sim, int engine, uint64_t n_busy);
void books_reset(struct sim *sim, int pool);
const struct book_op *book_cancelled(const struct sim *sim,
                                     const struct book_op *cancel); /* or NULL */
void books_command(struct sim *sim, uint64_t id, const struct book_op *op);
void books_persisted(struct sim *sim, int pool, const struct world_record *record, bool failed);
void books_doomed(struct sim *sim, int engine);
void books_adopt(struct sim *sim, int engine, uint64_t started_ms);

int book_engine_by_token(const struct sim *sim, struct pm_token token);
int book_pool_by_id(const struct sim *sim, const char *id);
bool book_is_pools(const struct sim *sim, int pool, const struct pm_pool_spec *spec);
int book_pool_of(const struct sim *sim, const struct pm_pool_spec *spec);
uint64_t book_slots_taken(const struct sim *sim, const struct book_engine *engine);
uint64_t book_leases(const struct book_pool *pool, const struct books *books);
uint64_t book_longest_delay(const struct pm_pool_spec *spec, uint64_t n); /* t of SUP-2 */

/* queues.c */
unsigned book_pools_of(const struct sim *sim, const char *name);
int book_first_of(const struct sim *sim, unsigned set); /* the one that was added first */
bool book_any_reloaded(const struct sim *sim, unsigned set);
void books_enter_names(struct sim *sim, int pool);
bool book_came_before(const struct sim *sim, const struct book_request *a,
                      const struct book_request *b);
struct book_request *book_head_of_line(const struct book_queue *queue, enum pm_priority class,
                                       int tenant);
struct book_request *book_head(const struct book_queue *queue, enum pm_priority class);
struct book_request *book_oldest_head(const struct sim *sim, int pool, enum pm_priority class);
uint64_t book_waiterless_ms(const struct sim *sim, int pool);
uint64_t book_most(const struct sim *sim, unsigned set,
                   uint64_t (*of)(const struct pm_pool_spec *));
void books_enter_queue(struct sim *sim, struct book_request *request);
void books_leave_queue(struct sim *sim, struct book_request *request);
void books_had_its_turn(struct sim *sim, const struct book_request *request, int pool);
void books_arrived(struct sim *sim);
void books_leave_names(struct sim *sim, int pool);
void books_open_queues(struct sim *sim);

/* ---- invariants ----------------------------------------------------------------------------------------------- */

#define SIM_INVARIANTS 36 /* ids from 1 */

/* One thing that is asked. They stand in a section of their own, so that one that was never asked is known, too. */
struct sim_clause {
    int id; /* INV-… */
    const char *sentence, *condition;
    uint64_t n; /* how often it was asked */
    uint64_t padding[4];
};
extern struct sim_clause __start_sim_clauses[], __stop_sim_clauses[];

struct sim_invariant {
    const char *family, *sentence;
    /* Before the action is booked, for the kinds that concern it; after the step. Either may be NULL. */
    void (*at)(struct sim *sim, const struct pm_action *action);
    uint32_t kinds;
    void (*after)(struct sim *sim);
    const char *missing; /* not NULL: why nothing asks it yet */
};
extern const struct sim_invariant sim_invariants[SIM_INVARIANTS];

void sim_broken(struct sim *sim, const struct sim_clause *clause, int pool, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));

/* HOLDS(sim, 9, pool, "a place has one process tree", condition, "%d", …): counts, and tells when it does not hold. */
#define HOLDS(sim, id_, pool, sentence_, condition_, ...)                                          \
    do {                                                                                           \
        static struct sim_clause clause_                                                           \
            __attribute__((__section__("sim_clauses"), __used__, __aligned__(64))) = {             \
                .id = (id_), .sentence = (sentence_), .condition = #condition_};                   \
        clause_.n++;                                                                               \
        if (!(condition_))                                                                         \
            sim_broken((sim), &clause_, (pool), __VA_ARGS__);                                      \
    } while (0)

/* ---- the driver ----------------------------------------------------------------------------------------------- */

struct sim {
    uint64_t seed, step, n_steps;
    struct sim_random random; /* of this step */
    const struct sim_mood *mood;
    struct pm_core *core;
    struct pm_actions out;
    uint64_t now_ms, jumped_ms;
    bool wishes; /* requests pin, prefer and avoid pools */
    struct world world;
    struct books books;
    struct pm_pool_spec *specs[SIM_SPECS]; /* all that were ever asked for; `text` is the number */
    int n_specs;
    const unsigned char *left_out; /* steps that are not made; NULL: all are */
    const struct sim_clause *broken;
    int broken_pool;
    uint64_t broken_step, broken_ms;
    char broken_text[256], input[160];
    struct story *story; /* NULL: nobody listens */
};

extern struct sim sim_here; /* there is one in a process */

struct pm_pool_spec *sim_spec(struct sim *sim, int pool, const struct pm_pool_spec *like);
void sim_make_core(struct sim *sim);
void sim_begin(struct sim *sim);
void sim_time_passes(struct sim *sim);
void sim_clock_jumps(struct sim *sim);
void sim_reload(struct sim *sim, int pool);
void sim_put(struct sim *sim, int pool);
void sim_apply_file(struct sim *sim);
void sim_operator(struct sim *sim);
void sim_trouble(struct sim *sim);

bool sim_run(struct sim *sim, uint64_t seed, uint64_t n_steps);
/* Takes what an input appended and asks the invariants. */
void sim_taken(struct sim *sim);
/* The same for an input that must change nothing (INV-2). */
void sim_nothing(struct sim *sim);
/* Says what is put in next. */
void sim_input(struct sim *sim, int pool, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));
void sim_request(struct sim *sim, const char *name, int retried);
void sim_release(struct sim *sim, int request, enum pm_release how);
void sim_abandon(struct sim *sim, int request);
const char *sim_engine_name(const struct sim *sim, int engine);

/* What came up at all, over all seeds: a world in which nothing happens proves nothing. */
struct sim_seen {
    uint64_t actions[PM_ACT_STOPPED + 1], events[PM_EV_COUNT], states[PM_STATE_COUNT],
        refusals[POOLMGR_STATUS_COUNT], classes[PM_CLASS_COUNT];
};
extern struct sim_seen sim_seen;

/* ---- devices -------------------------------------------------------------------------------------------------- */

void devices_draw(struct sim *sim);
void devices_draw_spec(struct sim *sim, struct pm_pool_spec *spec, struct sim_random *random);
void devices_keep(struct pm_pool_spec *spec, const struct pm_pool_spec *like);
void devices_show(struct sim *sim);
void devices_found(struct sim *sim);
bool devices_view(const struct sim *sim, int device, struct pm_device_view *ret);
bool devices_on_cpu(const struct sim *sim, const struct pm_pool_spec *spec);
bool devices_may_use(const struct sim *sim, const struct pm_pool_spec *spec, int device);
uint64_t devices_bytes(const struct pm_pool_spec *spec, int device);
struct pm_model *devices_model(const struct sim *sim, const struct pm_pool_spec *spec);
bool devices_amend(const struct sim *sim); /* charges change while engines run */
void devices_measured(struct sim *sim, int engine);
void devices_look(struct sim *sim); /* at charges that changed, after a step */
void devices_clear(struct sim *sim);
void devices_refused(struct sim *sim, int pool);
uint64_t devices_left(const struct sim *sim, int device);
bool devices_foreign(const struct sim *sim, int device);
bool devices_needed(const struct sim *sim, const struct pm_pool_spec *spec);
bool devices_never_fit(const struct sim *sim, const struct pm_pool_spec *spec);
bool devices_lost(const struct sim *sim, const struct pm_pool_spec *spec);
int device_of(const struct sim *sim, const char *id);
bool devices_fail_under(const struct sim *sim, const struct book_engine *engine);
void devices_charge(struct sim *sim, struct book_engine *engine, const struct pm_plan *plan);
void devices_release(struct sim *sim, struct book_engine *engine);
void devices_engine_begins(struct sim *sim, int engine);
void devices_engine_ends(struct sim *sim, int engine);
void devices_changed(struct sim *sim, const struct book_engine *engine);
void devices_asked(struct sim *sim); /* for a look */
void devices_memory(struct sim *sim, int device);
void devices_trouble(struct sim *sim);

/* ---- the story ------------------------------------------------------------------------------------------------ */

struct story;

void story_tell(struct sim *sim, int pool, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));
/* Runs a seed that failed again, leaves out what is not needed, and tells the rest. */
void story_of(struct sim *sim, uint64_t seed, uint64_t n_steps);

#define TELL(sim, ...)                                                                             \
    do {                                                                                           \
        if ((sim)->story)                                                                          \
            story_tell((sim), __VA_ARGS__);                                                        \
    } while (0)

/* ---- properties ------------------------------------------------------------------------------------------------- */

/* Worlds made for one sentence each; returns how many do not hold. */
unsigned sim_properties(void);

#endif
