/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of core share; nobody else includes this. An input is a function of core.h. It changes what it says
 * it changes, and ends with pm_pool_step(): one comparison of wanted and actual for the pool it concerns.
 */
#ifndef PM_CORE_INNER_H
#define PM_CORE_INNER_H

#include "core/core.h"
#include "core/restart.h"
#include "core/table.h"
#include "core/ways.h"
#include "util/heap.h"
#include "util/list.h"
#include "util/map.h"

/* ---- one heap of deadlines, one table of open questions ---------------------------------------------- */

enum pm_due_kind { PM_DUE_POOL, PM_DUE_WAITER, PM_DUE_SLOT };

struct pm_due {
    struct pm_heap_node node;
    enum pm_due_kind kind;
};

enum pm_question_kind {
    PM_QUESTION_STAGING,  /* owner: the pool */
    PM_QUESTION_INSTANCE, /* owner: the place */
    PM_QUESTION_PROBE,    /* owner: the place */
    PM_QUESTION_BUSY,     /* owner: the place */
    PM_QUESTION_RELOAD,   /* owner: the pool; the model it is reloaded to */
    PM_QUESTION_COMMIT,   /* owner: the operation that acts when it is durable */
    PM_QUESTION_TIDY,     /* owner: the pool; nothing waits for it */
};

/* Something that was asked of the world. Serial 0: nothing is open. */
struct pm_question {
    uint64_t serial;
    enum pm_question_kind kind;
    void *owner;
};

/* ---- requests ---------------------------------------------------------------------------------------- */

/* Somebody who waits. It stands in the queue of `group`; `home` is what its name stands for. */
struct pm_waiter {
    struct pm_link link;      /* in its line */
    struct pm_link home_link; /* in home->admitted */
    struct pm_due due;
    struct pm_line *line;
    struct pm_group *group, *home;
    struct pm_group *elsewhere; /* where it goes when all of `group` refuse; NULL: nowhere */
    uint64_t id, bytes, arrived_ms, position;
    uint64_t order;        /* of arrival, among equal times */
    uint64_t predicted_ms; /* at arrival, from then; PM_NEVER: nobody knew */
    enum pm_priority priority;
    bool pinned, plain;    /* plain: any pool of its name may serve it */
    struct pm_strv prefer; /* ids of pools */
    char *name;            /* by which it came */
    char request_id[PM_REQUEST_ID_MAX + 1];
};

#define PM_SLOTS_MAX                                                                               \
    (UINT64_C(1) << 20) /* of one instance: a lease's serial has room for no more */

#define PM_N_PRIORITIES 2
#define PM_BATCH_EVERY  4 /* every fourth grant is batch while one waits */

/* The waiters of one tenant in a class, oldest first. It is there while somebody waits. */
struct pm_line {
    struct pm_link link; /* in class->turns */
    struct pm_list waiters;
    uint64_t n;
    char *tenant;
};

struct pm_class_queue {
    struct pm_list turns; /* struct pm_line, whose turn it is first */
    struct pm_map lines;  /* tenant → struct pm_line */
    uint64_t n;
};

struct pm_queue {
    struct pm_class_queue classes[PM_N_PRIORITIES];
    uint64_t n, bytes;
    uint64_t n_interactive_in_row; /* granted from here while batch waits here */
};

/* Pools that serve a name together, and who waits for them. */
struct pm_group {
    struct pm_core *core;
    struct pm_link link;         /* in core->all_groups */
    struct pm_link touched_link; /* in core->touched */
    char *key;                   /* in core->groups: the ids of its pools */
    struct pm_pool **pools;      /* in the order of adding */
    size_t n_pools;
    struct pm_queue queue;
    /* Whoever came by a name of this group, wherever in it they wait: its bounds are theirs. By arrival. */
    struct pm_list admitted[PM_N_PRIORITIES];
    uint64_t n_admitted, bytes_admitted, batch_bytes_admitted;
    uint64_t n_names;
    uint64_t n_refs;         /* waiters that may go here from elsewhere */
    uint64_t waiterless_ms;  /* since when nobody waits */
    uint64_t swept_until_ms; /* whose deadline lies before this was refused already */
    /* what look() found when the core was of this version */
    uint64_t seen_version, seen_ms;
    bool served;            /* one of its pools is up or coming, and takes requests */
    struct pm_pool *target; /* else this one shall be started for it */
};

enum pm_slot_state { PM_SLOT_FREE, PM_SLOT_RUNNING, PM_SLOT_SETTLING, PM_SLOT_ABANDONED };

/* One slot of an instance. Made when it is first needed, reused as long as the daemon lives. */
struct pm_slot {
    struct pm_place *place;
    struct pm_slot *next_free;
    uint64_t serial; /* of the lease; 0: free */
    uint64_t request;
    uint64_t granted_ms;
    enum pm_slot_state state;
    struct pm_due due; /* cancel_settle, abandon_max */
    uint32_t index;
};

/* ---- wanted ------------------------------------------------------------------------------------------ */

enum pm_want { PM_KEEP, PM_UP, PM_EMPTY, PM_DOWN };

enum pm_reason {
    PM_BECAUSE_NOTHING,
    PM_BECAUSE_SHUTDOWN,
    PM_BECAUSE_DEVICE, /* a device of its instance is lost or must be reset */
    PM_BECAUSE_LEAVING,
    PM_BECAUSE_STOP,  /* a stop operation */
    PM_BECAUSE_DRAIN, /* a drain operation */
    PM_BECAUSE_REMOVAL,
    PM_BECAUSE_RELOAD,
    PM_BECAUSE_DISABLED,
    PM_BECAUSE_DRIVER,  /* a driver error dooms it */
    PM_BECAUSE_HELD,    /* intent draining: it stays, behind a closed gate */
    PM_BECAUSE_EVICTED, /* another pool needs its room */
    PM_BECAUSE_WAITERS, /* requests wait */
    PM_BECAUSE_START,   /* a start operation */
    PM_BECAUSE_PRELOAD,
    PM_BECAUSE_RESTART, /* its last ready instance ended by a failure */
    PM_BECAUSE_LEASES,
    PM_BECAUSE_HOPE,   /* its last waiter left a moment ago */
    PM_BECAUSE_IN_USE, /* ready, not idle for long enough */
    PM_BECAUSE_IDLE,
    PM_BECAUSE_ABANDONED, /* a start nobody waits for */
    PM_BECAUSE_NOT_OURS,  /* neither started nor stopped by us */
    PM_BECAUSE_WITHDRAWN, /* its handoff was taken back */
};

struct pm_wanted {
    enum pm_want want;
    enum pm_reason reason;
    bool closed;       /* by what goes before all requests: it is not for them */
    uint64_t until_ms; /* when this changes by itself, as an empty becomes a down; PM_NEVER */
};

/* ---- places ------------------------------------------------------------------------------------------ */

/* Why a try ends. Zeros: as planned. */
struct pm_verdict {
    enum pm_class class;
    int code;
    bool permanent;
    bool exited, signalled; /* evidence of the exit */
    int status;
    bool hardware; /* other devices may mend it */
    char text[256];
    char hint[96];   /* what a person can do; "" nothing special */
    uint64_t random; /* drawn as the failure becomes known: so its delay can be told at once */
};

/* What is known of the instance that lives in a place, from its spawn until it is childless. */
struct pm_tenure {
    uint64_t n_unowned, unowned_until_ms; /* slots busy with streams of a former daemon */
    uint64_t n;                           /* of <pool>.<n>; 0: none */
    int pid;
    bool adopted, spawned, exited;
    bool second_signal; /* was sent */
    bool exit_signalled;
    int exit_status;
    uint64_t started_ms;               /* spawned, or its own start when adopted */
    uint64_t begun_ms;                 /* spawned or adopted by this daemon */
    uint64_t start_by_ms;              /* start_max ends */
    uint64_t progress_ms;              /* last sign of life of the start */
    uint64_t ready_ms, ready_since_ms; /* first ready; ready without a break since */
    uint64_t signalled_ms;             /* the ladder began */
    bool childless;                    /* nothing of its tree is left: its VRAM is to come back */
    uint64_t childless_ms;
    bool doomed;           /* by a driver error: good probes do not save it */
    uint64_t doomed_by_ms; /* when it is stopped, emptied or not */
    uint64_t driver_ms;    /* the last driver error that it is not to blame for yet; 0: none */
    uint32_t driver_on;    /* the device of the last one, plus 1; 0: unknown */
    uint64_t next_kill_ms; /* PM_NEVER: not yet */
    enum pm_reason stop_reason;
    char endpoint[128];
    char engine_version[64];
    bool owner_proved;
    /* health */
    uint64_t n_missed, n_good, n_limits_in_row;
    uint64_t next_probe_ms, last_check_ms, life_ms;
    uint64_t next_busy_ms; /* PM_NEVER: nothing settles */
};

/* A replica has one place that serves. A reload adds the next one, which takes over at the switch and leaves the
 * former as old until it has ended. */
enum pm_role { PM_SERVING, PM_NEXT, PM_OLD };

/* What was measured of real work; zeros: nothing yet. */
struct pm_measured {
    double service_ms; /* how long a lease lasts */
    double start_ms;   /* from spawn to ready */
};

/* How fast its engines answered, the last ones most. */
struct pm_perf {
    double first_token_ms;
    double n_tokens, decode_ms, n_answers; /* sums, older ones fading */
};

/* What goes with a charge, a row for each of its shares. */
struct pm_held {
    struct pm_way way;                  /* as it was planned; all but its shares */
    struct pm_part said[PM_SHARES_MAX]; /* what the engine said that it allocated; 0: nothing */
    uint64_t seen_ms[PM_SHARES_MAX];    /* when somebody saw what it uses; 0: never */
    uint64_t before[PM_SHARES_MAX];     /* what was in use there and nobody's; PM_NEVER: unknown */
    bool grown[PM_SHARES_MAX]; /* there was much more of that by the last look after its end */
};

/* Room on devices: what a place holds, waits for, or gives way to. */
struct pm_room {
    struct pm_shares charge;   /* of its instance, from the spawn until nothing of it is left */
    struct pm_held *held;      /* NULL: it has no charge */
    struct pm_plan *adopted;   /* where it was started, as long as nobody has looked for devices */
    struct pm_link charged;    /* in core->charged, while it holds a charge */
    struct pm_place *claimant; /* who makes it stop */
    struct pm_place *next_claimant; /* the same, while who shall stop is worked out */
    unsigned order;                 /* in which it was chosen then; 0: not chosen */
    /* while it waits for room */
    struct pm_link claim;    /* in core->claims */
    uint64_t since_ms;       /* whose waiter is older comes first; PM_NEVER: nobody waits for it */
    struct pm_shares target; /* where it waits for room */
    struct pm_shares reserved; /* what was freed for it */
    uint64_t due_ms;           /* when there is something to decide without an input */
    uint64_t look_by_ms; /* it waits for a look until then, before others stop; 0: it does not */
    bool told;           /* that it is short */
};

struct pm_place {
    /* what each placement looks at comes first */
    struct pm_pool *pool;
    unsigned index; /* of the replica */
    enum pm_state state;
    bool gate_open;
    uint32_t speed; /* when a usual answer ends, in steps of an eighth; 0: unknown */
    uint64_t slots_total, n_running, n_settling, n_abandoned;
    struct pm_tenure instance;
    struct pm_pool_spec *spec; /* what runs or shall run here; a reference */
    enum pm_role role;
    struct pm_link extra_link; /* in pool->extras, while it does not serve */
    uint64_t old_by_ms;        /* old: when who still runs there is cut */
    bool fresh;                /* serves since the reload under way */
    bool returns;              /* makes room for the reload under way: comes back if that fails */
    struct pm_perf perf;
    uint32_t kept_speed; /* as the next daemon will know it */
    uint64_t since_ms;
    struct pm_wanted wanted; /* what the last comparison said */
    enum pm_reason begun;    /* who wanted the present start */
    bool holds_start_place;
    struct pm_link start_link; /* in core->start_queue */
    struct pm_clock clock;
    uint64_t n_oom_in_row;
    struct pm_verdict verdict; /* of the present try */
    bool failed_when_ready;    /* its last ready instance ended by a failure */
    struct pm_question token, probe, busy;
    struct pm_slot **slots;
    uint32_t n_slots_made;
    struct pm_slot *free_slots;
    uint64_t n_spawns;
    struct pm_last_error last_error;
    struct pm_room room;
    /* an engine that is not ours (handoff.c) */
    bool vacant;    /* none stands for this replica */
    bool gone;      /* it was asked, and is not there */
    bool withdrawn; /* by withdraw_by_ms at the latest it is let go */
    uint64_t withdraw_by_ms;
};

static inline uint64_t pm_place_leases(const struct pm_place *place)
{
    return place->n_running + place->n_settling + place->n_abandoned;
}

static inline uint64_t pm_place_slots_free(const struct pm_place *place)
{
    uint64_t taken = pm_place_leases(place) + place->instance.n_unowned;

    return taken < place->slots_total ? place->slots_total - taken : 0;
}

static inline bool pm_place_is_free(const struct pm_place *place)
{
    return place->gate_open && pm_place_slots_free(place) > 0;
}

/* ---- devices ----------------------------------------------------------------------------------------- */

#define PM_DRIVER_ERRORS 3 /* of two or more pools within a minute put a device into quarantine */

/* Number i of core->devices is account i of core->ledger. Never forgotten: a lost one keeps its identity. The first is the
 * CPU, which no mask finds among GPUs. */
#define PM_CPU 0u

struct pm_known_device {
    struct pm_device is;
    char name[32];  /* for people: "GPU 0", "device a" */
    bool is_listed; /* by the last list; the CPU: its memory is known */
    bool free_known, processes_known, foreign_known;
    uint64_t free_bytes, seen_ms,
        risen_ms;           /* what was free; when that look began; the look that saw it rise */
    uint64_t changed_ms;    /* when what is in use there last changed by what we know of */
    uint64_t foreign_bytes; /* in use by processes that are not ours */
    bool quarantined, suspect;
    uint64_t quarantined_until_ms;
    struct pm_place *trial; /* the one that may start there after a quarantine */
    uint64_t trusted_bytes; /* suspect: what may be nobody's when it is trusted again */
    struct {
        uint64_t at_ms;
        uint32_t pool;
    } errors[PM_DRIVER_ERRORS]; /* the last, oldest first; at_ms 0: none */
    bool taken; /* an older claim waits for it: set and read while claims are walked */
};

/* ---- pools ------------------------------------------------------------------------------------------- */

/* A command is accepted when what it changes for good is durable; it acts when it is its turn. */
enum pm_op_stage { PM_OP_TO_COMMIT, PM_OP_QUEUED, PM_OP_ACTING };

struct pm_op {
    struct pm_link link;      /* in core->operations, newest first */
    struct pm_link pool_link; /* in pool->operations while it runs, or in core->poolless */
    struct pm_core *core;
    struct pm_pool *pool; /* NULL: gone, or it has none */
    struct pm_op *parent; /* the config reload it is a part of; NULL: none */
    struct pm_operation view;
    enum pm_op_stage stage;
    bool owes_answer; /* PM_ACT_ACCEPTED is still to come */
    bool stored;      /* it stands in the pool's record */
    struct pm_question commit;
    uint64_t deadline_ms;      /* stop, drain, remove; reload: relative */
    struct pm_pool_spec *spec; /* reload, put; a reference */
    enum pm_owner owner;       /* put of a new pool */
    bool was_parked;           /* stop */
    enum pm_on_deadline on_deadline;
    enum pm_then then;     /* drain */
    enum pm_intent former; /* drain: what an abort goes back to */
    uint64_t cancels;      /* cancel: the drain that it calls off */
};

/* Whom a command meets. */
enum pm_runs {
    PM_RUNS_NOTHING,
    PM_RUNS_DRAIN,
    PM_RUNS_STOP,
    PM_RUNS_START,
    PM_RUNS_RELOAD, /* before its first switch or signal */
    PM_RUNS_SWAP,   /* after it */
    PM_RUNS_REMOVAL,
    PM_RUNS_IDLE,
    PM_RUNS_COUNT
};

/* What it does to them. */
enum pm_meeting {
    PM_MEETS_NOTHING, /* nothing to do, success */
    PM_JOINS,         /* same end, two ids */
    PM_REPLACES,      /* ends the first, which names it */
    PM_CANCELS,       /* ends the first, then runs; queues behind it where that is too late */
    PM_QUEUES,        /* after it */
    PM_BESIDE,        /* at once, beside it */
    PM_CONFLICTS,     /* is refused */
};

enum pm_reload_phase {
    PM_RELOAD_STAGING,
    PM_RELOAD_CHANGING,
    PM_RELOAD_COMMITTING,
    PM_RELOAD_BACK
};

struct pm_reloading {
    struct pm_op *op;
    enum pm_reload_phase phase;
    struct pm_pool_spec *spec; /* a reference */
    struct pm_question staging;
    struct pm_place *next; /* of the replica that changes now; NULL: none */
    bool swaps;            /* the former makes room for it first */
    uint64_t swap_by_ms;
    struct poolmgr_error cause; /* code 0: all is well so far */
    enum pm_operation_state ends_as;
};

struct pm_pool {
    struct pm_core *core;
    uint32_t number;               /* counts up with each that is added: the order of the file */
    uint32_t handle;               /* in core->handles, for leases */
    struct pm_pool_spec *spec;     /* the last that was good */
    struct pm_pool_spec *wanted;   /* the last that was asked for, by whom ever */
    struct pm_pool_spec *declared; /* the last that its owner asked for */
    enum pm_owner owner;
    struct pm_place **places; /* one a replica: those that serve */
    unsigned n_places;
    struct pm_list extras; /* next and old ones of a reload */
    struct pm_due due;
    struct pm_group **groups; /* that it is in */
    size_t n_groups, groups_capacity;
    bool served;                   /* somebody, when it was compared last */
    uint64_t n_interactive_in_row; /* granted here while batch waits for it */
    struct pm_measured measured;
    struct {
        bool is_news;             /* to be told at once */
        bool is_faster_or_slower; /* to be told when the time has come */
        uint64_t told_ms;
    } past;
    struct pm_list operations; /* running ones, oldest first */
    struct pm_question staging;
    const struct pm_pool_spec *staged_spec; /* what the question is about */
    struct pm_reloading *reload;            /* NULL: none is under way */
    enum pm_intent intent;
    uint64_t intent_ms;      /* since when */
    struct pm_question tidy; /* its record is written once more, behind */
    bool to_tidy;
    bool removing;        /* for good: it is emptied, then forgotten */
    bool is_behind;       /* the disk may say something else than what holds */
    uint64_t model_bytes; /* as it was last staged; 0 unknown */
    bool parked;
    enum pm_breaker_mode breaker;
    bool failed; /* a permanent failure; forgotten by a reset */
    struct pm_verdict failure;
    uint64_t failed_ms;
    uint64_t n_leases;      /* of all places, abandoned ones too */
    uint64_t idle_ms;       /* since when it has no lease */
    uint64_t rest;          /* counts up: of two the later, within one millisecond too */
    uint64_t waiterless_ms; /* since when nobody waits */
    uint64_t keep_alive_ms; /* in place of idle_ttl */
    bool has_keep_alive;
    uint64_t last_instance;
    uint64_t shutdown_by_ms;
    enum pm_state state; /* of its best place */
    uint64_t since_ms;
    struct pm_pool_counters counters;
};

struct pm_core {
    struct pm_core_options options;
    uint64_t random;
    uint64_t now_ms;
    uint64_t version;
    uint64_t last_serial, last_lease, last_operation, last_arrival, last_rest;
    struct pm_heap heap;
    struct pm_map questions; /* serial → struct pm_question */
    struct pm_map names;     /* id or alias → struct pm_group */
    struct pm_map groups;    /* key → struct pm_group */
    struct pm_list all_groups, touched;
    struct pm_map ids;      /* id → struct pm_pool */
    struct pm_map waiters;  /* request → struct pm_waiter */
    struct pm_pool **pools; /* in the order of adding */
    struct pm_pool **by_id;
    size_t n_pools, capacity;
    uint32_t last_number;
    struct pm_pool **handles; /* what a lease names its pool by; NULL: gone */
    size_t n_handles;
    struct pm_map operations; /* id → struct pm_op */
    struct pm_list operation_list;
    struct pm_list poolless; /* operations that run without a pool: new ones, config reloads */
    size_t n_operations;
    struct pm_list start_queue; /* places that wait for a start place, in the order of the file */
    uint64_t n_start_places_taken;
    struct pm_known_device *devices;
    struct pm_gpu *seen_gpus; /* of them, for masks; not of the CPU */
    size_t n_devices;         /* with the CPU */
    bool listed;              /* there was a list */
    enum pm_gpus gpus;
    char gpus_text[160];
    struct pm_mask *everything; /* "all" */
    struct pm_map ways;         /* spec → struct pm_ways */
    struct pm_list all_ways;
    uint64_t ways_version;
    struct pm_map memories; /* of what engines took: identity and device → struct pm_memory */
    struct pm_list all_memories;
    struct pm_ledger ledger;
    struct pm_list
        claims; /* places that wait for room: the oldest waiter first, then as in the file */
    struct pm_list charged;      /* places that hold a charge */
    uint64_t n_claimed;          /* of them, those that give way */
    const struct pm_place *turn; /* whose turn it is to take `turn_plan` */
    struct pm_way turn_plan;
    uint64_t n_instances; /* from spawn to childless */
    bool begun, shutting_down, at_once, leaving, stopped;
};

/* actions.c */
struct pm_action *pm_action_add(struct pm_actions *out, enum pm_action_kind kind);
struct pm_action *pm_action_of(struct pm_actions *out, enum pm_action_kind kind,
                               const struct pm_place *place);
struct pm_action *pm_action_refuse(struct pm_actions *out, uint64_t request,
                                   const struct poolmgr_error *error);
void pm_action_cut(struct pm_actions *out, uint64_t request, const struct pm_lease *lease,
                   const struct poolmgr_error *error);
void pm_action_tell(struct pm_actions *out, const struct pm_event *event);
void pm_action_persist(struct pm_actions *out, const struct pm_question *question,
                       const struct pm_pool_record *record);
void pm_action_remember(struct pm_actions *out, const struct pm_memory_record *memory);
struct pm_past *pm_action_keep(struct pm_actions *out); /* zeros, to be filled */
void pm_action_accepted(struct pm_actions *out, uint64_t operation,
                        const struct poolmgr_error *error); /* NULL: it stands */

/* core.c */
uint64_t pm_core_random(struct pm_core *core);
void pm_core_changed(struct pm_core *core);
/* Every input begins with this: the clock goes on, and what is due by then happens first. */
void pm_core_enter(struct pm_core *core, uint64_t now_ms, struct pm_actions *out);
void pm_core_step_all(struct pm_core *core, struct pm_actions *out);
void pm_core_may_stop(struct pm_core *core, struct pm_actions *out); /* PM_ACT_STOPPED */
void pm_due_set(struct pm_core *core, struct pm_due *what, uint64_t due_ms);

/* question.c: asks, and drops answers that are not current any more */
void pm_ask(struct pm_core *core, struct pm_question *question, enum pm_question_kind kind,
            void *owner);
void pm_unask(struct pm_core *core, struct pm_question *question);
void *pm_answered(const struct pm_core *core, struct pm_token token, enum pm_question_kind kind);

/* registry.c */
struct pm_pool *pm_registry_find(const struct pm_core *core, const char *id);
int pm_registry_check_names(const struct pm_core *core, const struct pm_pool_spec *spec,
                            const struct pm_pool *but, struct poolmgr_error *err);
struct pm_pool *pm_registry_add(struct pm_core *core, struct pm_pool_spec *spec,
                                enum pm_owner owner, struct pm_actions *out);
void pm_registry_forget(struct pm_pool *pool); /* frees it: nothing of it runs */
void pm_registry_fini(struct pm_core *core);

/* place.c */
struct pm_place *pm_place_new(struct pm_pool *pool, unsigned index, enum pm_role role,
                              struct pm_pool_spec *spec);
void pm_place_free(struct pm_place *place);
void pm_place_set_spec(struct pm_place *place, struct pm_pool_spec *spec);

/* place.c: the only function that changes a state; false when the cause means nothing there */
bool pm_place_move(struct pm_place *place, enum pm_cause cause, struct pm_actions *out);
/* How the present try ends became known: from here on the verdict stands. */
void pm_place_judge(struct pm_place *place, const struct pm_verdict *verdict,
                    struct pm_actions *out);
void pm_place_begin_instance(struct pm_place *place, uint64_t n, uint64_t started_ms);
void pm_place_ask_stage(struct pm_place *place, struct pm_actions *out);
void pm_place_ladder(struct pm_place *place, struct pm_actions *out);
uint64_t pm_place_ladder_due(const struct pm_place *place);
bool pm_place_coming(const struct pm_place *place); /* up, or on its way */
bool pm_place_emptied(const struct pm_place *place);
enum pm_breaker pm_place_breaker(const struct pm_place *place);
uint64_t pm_place_n_after(const struct pm_place *place); /* n once the present try is settled */
uint64_t pm_place_delay_after(const struct pm_place *place);

/* group.c: the set of these pools, made where there is none; NULL for no pools */
struct pm_group *pm_group_of(struct pm_core *core, struct pm_pool *const *pools, size_t n);
void pm_group_free(struct pm_group *group);
void pm_group_free_unused(struct pm_group *group);
struct pm_group *pm_group_find(const struct pm_core *core, const char *name); /* or NULL */
bool pm_group_has(const struct pm_group *group, const struct pm_pool *pool);
/* Its id and aliases reach it; reach it no more, and who waits goes to the other pools of its name, or is refused. */
void pm_pool_enter_names(struct pm_pool *pool);
void pm_pool_change_names(struct pm_pool *pool, const struct pm_strv *aliases_before);
void pm_pool_leave_names(struct pm_pool *pool, struct pm_actions *out);
bool pm_pool_serves(const struct pm_pool *pool);    /* up or coming, and takes requests */
bool pm_pool_may_start(const struct pm_pool *pool); /* cold, and every permit says yes */
/* Whether another pool of the group than this one serves or may start. */
bool pm_group_has_other(const struct pm_group *group, const struct pm_pool *pool);
bool pm_group_wants(struct pm_group *group, const struct pm_pool *pool);
/* Whom it wants to be started, where nobody serves; or NULL. */
const struct pm_pool *pm_group_target(struct pm_group *group);
bool pm_pool_is_waited_for(const struct pm_pool *pool); /* by somebody for whom it shall run */
uint64_t pm_pool_waiterless_since(const struct pm_pool *pool);
struct pm_pool *pm_group_face(
    struct pm_group *group);                 /* who is named when people are told about it */
void pm_group_touch(struct pm_group *group); /* its pools are compared before the step ends */
void pm_pool_note_serving(struct pm_pool *pool);

/* room.c: the line of those who wait for room on devices */
bool pm_room_needed(
    const struct pm_place *place); /* whether its start needs room on devices at all */
/* Whether it may start now: it needs no room, or there is room and it is its turn. Else it waits in line. */
bool pm_room_ask(struct pm_place *place);
void pm_room_leave(struct pm_place *place); /* it does not wait any more */
/* Whose turn it is, and who gives way to whom; ends every step. */
void pm_room_step(struct pm_core *core, struct pm_actions *out);
uint64_t pm_room_due(const struct pm_place *place);
/* Whether one more with this spec fits without a stop of anybody. */
bool pm_room_fits_beside(const struct pm_place *place, const struct pm_pool_spec *spec);
/* Whether something may be waited for, or started, on a device; `first`: by whoever waited longer. */
bool pm_room_open_on(const struct pm_core *core, uint32_t account, bool first);
bool pm_room_open(const struct pm_core *core, const struct pm_shares *shares, bool first);
/* The i-th way to run `spec` on devices, whatever is free; NULL behind the last. */
const struct pm_way *pm_room_way(const struct pm_core *core, const struct pm_pool_spec *spec,
                                 size_t i);
/* Where it fits now, or would if nobody waited longer. */
bool pm_room_find(const struct pm_core *core, const struct pm_pool_spec *spec,
                  const struct pm_shares *own, bool first, struct pm_way *ret);

/* charge.c: what a place holds of devices */
void pm_room_take(struct pm_place *place); /* charges what was found for it */
void pm_room_take_adopted(struct pm_place *place);
void pm_room_give_back(struct pm_place *place, struct pm_actions *out);
void pm_room_forget(struct pm_place *place);
void pm_room_devices_found(struct pm_core *core); /* adopted engines have theirs */
void pm_room_set_claimant(struct pm_place *place, struct pm_place *claimant);
struct pm_plan *pm_room_plan(
    const struct pm_place *place); /* the caller's; NULL: nothing is known */
uint64_t pm_place_planned_bytes(const struct pm_place *place);
struct pm_share *pm_place_share(struct pm_place *place, uint32_t account); /* NULL: none */

/* short.c: what is missing, and how it is told */
/* Fills the verdict of a start for which there is no device, or none that is large enough. */
bool pm_room_never(const struct pm_core *core, const struct pm_pool_spec *spec,
                   struct pm_verdict *ret);
/* Whether all devices it could run on are out of use, as their drivers say; *ret says which. */
bool pm_room_lost(const struct pm_pool *pool, struct poolmgr_error *ret);
/* What it waits for, and the code of that; 0: none. */
int pm_room_explain(const struct pm_place *place, char *to, size_t size);
#define PM_ROOM_TEXT 224

/* evict.c: works out who has to stop for a claim, and where (next_claimant, target, due_ms). False: nobody's stop
 * would be enough. *ret_at_once: those who stop now are enough. */
bool pm_evict_look(struct pm_place *claimant, bool *ret_at_once, struct pm_actions *out);
/* It has had somebody stopped, whose room is to be its own: it is not kept from it by those who waited longer. */
bool pm_evict_has_begun(const struct pm_place *claimant);
bool pm_evict_claimed(const struct pm_place *place); /* it gives way: row 8 of what is wanted */

/* memory.c: what engines were seen to take */
/* It is ready, or was looked at: what it takes is charged in place of what was estimated. */
void pm_memory_settle(struct pm_place *place, struct pm_actions *out);
void pm_memory_fini(struct pm_core *core);

/* cpu.c: the machine's memory, and files that several engines have mapped */
bool pm_cpu_weighs(const struct pm_core *core, const struct pm_pool_spec *spec);
/* The way of a spec on the CPU, without what another engine carries of its file already; NULL: nothing is known of it. */
const struct pm_way *pm_cpu_way(const struct pm_core *core, const struct pm_pool_spec *spec);
void pm_cpu_spare(const struct pm_core *core, const struct pm_pool_spec *spec, struct pm_way *way);
/* Its charge is about to end: another engine that has the same file mapped carries it on. */
void pm_cpu_hand_on(struct pm_place *place);
/* Of what these hold together, what stays in use by others, or by who claims. */
uint64_t pm_cpu_kept(const struct pm_place *claimant,
                     bool (*counts)(const struct pm_place *, const struct pm_place *));
/* What an engine on the CPU is supposed to have taken once it is ready, where nobody can see it. */
uint64_t pm_cpu_supposed(const struct pm_place *place, const struct pm_share *share);

/* device.c: the list, and the states of what is on it */
void pm_devices_init(struct pm_core *core);
bool pm_core_has_gpus(const struct pm_core *core); /* that are known, whatever their state */
struct pm_known_device *pm_device_find(const struct pm_core *core, const char *id); /* or NULL */
struct pm_known_device *pm_device_of(const struct pm_core *core, uint32_t number);
const char *pm_device_id(const struct pm_core *core, uint32_t number);
const char *pm_device_name(const struct pm_core *core, uint32_t number); /* for people */
bool pm_device_awaited(const struct pm_core *core); /* nobody has looked for devices yet */
enum pm_device_state pm_device_state(const struct pm_known_device *device);
/* Whether something may start there; a quarantine that is over lets one through. */
bool pm_device_permits(const struct pm_core *core, uint32_t number);
bool pm_device_works(const struct pm_core *core, uint32_t number); /* as its driver says */
bool pm_device_fails_under(const struct pm_place *place);          /* lost, or to be reset */
void pm_device_set_state(struct pm_core *core, struct pm_known_device *device,
                         enum pm_device_state state, struct pm_actions *out);
void pm_tell_device(const struct pm_known_device *device, enum pm_event_kind kind,
                    struct pm_actions *out, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));

/* identity.c: who a device is */
void pm_device_identify(struct pm_known_device *device, size_t position); /* fills its name, too */
bool pm_device_is_same(const struct pm_gpu *a, const struct pm_gpu *b);
void pm_device_show(struct pm_core *core, const struct pm_known_device *device); /* to masks */
/* One that is gone has no index any more: who has its place on the bus now has it. */
void pm_devices_forget_indexes(struct pm_core *core);

/* driver.c: driver errors (SUP-8) */
void pm_device_note_failure(const struct pm_place *place, struct pm_actions *out);
bool pm_device_blames(const struct pm_place *place); /* its exit follows a driver error */
/* A start on a device whose quarantine is over is its trial, until it is ready or ends. */
void pm_trial_begin(struct pm_place *place);
void pm_trial_succeeds(const struct pm_place *place, struct pm_actions *out);
void pm_trial_end(const struct pm_place *place);

/* vram.c: memory that comes back (SUP-7) */
void pm_vram_note_start(struct pm_place *place);
void pm_vram_note_change(const struct pm_place *place);
/* Whoever stops for want of memory there may stop for nothing: a look comes first. */
bool pm_vram_is_old(const struct pm_core *core, uint32_t number);
void pm_vram_note_end(struct pm_place *place, struct pm_actions *out);
/* SUP-7's last rung: whether its memory has to come back, and whether it has (PM_CAUSE_COUNT: not yet). */
bool pm_vram_must_return(const struct pm_place *place);
enum pm_cause pm_vram_returned(const struct pm_place *place);
uint64_t pm_vram_return_due(const struct pm_place *place);
void pm_vram_note_free(struct pm_core *core, struct pm_known_device *device, uint64_t free_bytes,
                       uint64_t seen_ms);
/* In use there by others than our engines, as far as is known. */
uint64_t pm_vram_foreign(const struct pm_core *core, uint32_t number);

/* compare.c: one comparison of wanted and actual; every input ends with one of them */
void pm_pool_settle(struct pm_pool *pool, struct pm_actions *out); /* for one pool alone */
void pm_pool_set_due(struct pm_pool *pool);
void pm_pool_step(struct pm_pool *pool, struct pm_actions *out);
void pm_core_settle(struct pm_core *core, struct pm_actions *out); /* of what was touched */
bool pm_place_may_start(const struct pm_place *place); /* cold, and every permit says yes */

/* want.c */
struct pm_wanted pm_place_want(const struct pm_place *place);
struct pm_wanted pm_wanted(enum pm_want want, enum pm_reason reason, uint64_t until_ms);
struct pm_wanted pm_empty_by(enum pm_reason reason, uint64_t deadline_ms, uint64_t now_ms);
/* Whether it serves who waits as soon as it is ready, and may be started for them: nothing that goes before all
 * requests says otherwise. */
bool pm_place_may_serve(const struct pm_place *place);
bool pm_place_is_free_to_start(const struct pm_place *place);

/* queue.c */
struct pm_wish; /* placement.c */
void pm_queue_init(struct pm_queue *queue);
void pm_queue_fini(struct pm_queue *queue);
/* Lets it wait for these pools; `elsewhere`: for those when none of these can serve it, or NULL. */
void pm_queue_add(const struct pm_wish *wish, struct pm_group *group, struct pm_group *elsewhere,
                  uint64_t predicted_ms, const struct pm_request *request, struct pm_actions *out);
void pm_queue_remove(struct pm_waiter *waiter); /* frees it */
uint64_t pm_queue_deadline(const struct pm_group *home, const struct pm_request *request);
void pm_waiter_move(struct pm_waiter *waiter, struct pm_group *to);
void pm_waiter_set_elsewhere(struct pm_waiter *waiter, struct pm_group *elsewhere);
/* Its name stands for other pools now: where it waits, where it may go, where it counts. */
void pm_waiter_rehome(struct pm_waiter *waiter, struct pm_group *group, struct pm_group *elsewhere,
                      struct pm_group *home);
/* Whose turn it is in a class, and whose at this pool; or NULL. */
struct pm_waiter *pm_queue_head(const struct pm_queue *queue, enum pm_priority priority);
struct pm_waiter *pm_pool_next_waiter(const struct pm_pool *pool);
void pm_queue_granted(struct pm_pool *pool, struct pm_waiter *waiter);
/* How many go before it; and before one that would come now. */
uint64_t pm_queue_position(const struct pm_waiter *waiter);
uint64_t pm_queue_position_of(const struct pm_queue *queue, const struct pm_request *request);
/* Who waits for this pool, by whatever name. */
uint64_t pm_pool_n_waiters(const struct pm_pool *pool);
uint64_t pm_pool_waiting_bytes(const struct pm_pool *pool);
const struct pm_waiter *pm_queue_oldest(const struct pm_queue *queue);
const struct pm_waiter *pm_pool_oldest_waiter(const struct pm_pool *pool); /* NULL: nobody waits */
/* Of those that count under a name; or NULL. */
struct pm_waiter *pm_group_oldest_admitted(const struct pm_group *home, enum pm_priority priority);
/* All of a queue: they may be refused one by one while one walks. The caller frees it. */
struct pm_waiter **pm_queue_all(const struct pm_queue *queue);

/* refuse.c */
/* Lets it wait, or refuses it at once. */
void pm_queue_arrive(const struct pm_wish *wish, const struct pm_request *request,
                     struct pm_actions *out);
void pm_queue_refuse_arrival(struct pm_pool *pool, const struct pm_request *request,
                             const struct poolmgr_error *error, struct pm_actions *out);
/* Whether a pool of these may serve a request that waits until then; false: *ret, which may be NULL, says why not. */
bool pm_pools_admit(struct pm_pool *const *pools, size_t n, uint64_t deadline_ms,
                    struct poolmgr_error *ret);
void pm_queue_expired(struct pm_waiter *waiter, struct pm_actions *out);
void pm_pool_sweep(struct pm_pool *pool, struct pm_actions *out); /* refuses who cannot be served */
/* Ends the wait of all who wait for this pool, and for no other that serves or may start. */
void pm_queue_refuse_all(struct pm_pool *pool, const struct poolmgr_error *error,
                         struct pm_actions *out);
/* There is no pool left that may serve who waits here. */
void pm_queue_removed(struct pm_queue *queue, struct pm_pool *gone, struct pm_actions *out);
/* The bounds of a queue: the largest of the pools' (SPEC, Route). */
uint64_t pm_group_most_requests(const struct pm_group *home);
uint64_t pm_group_most_bytes(const struct pm_group *home);

/* placement.c: what a request asks for, as sets of pools */
struct pm_wish {
    struct pm_group *home;  /* what its name stands for */
    struct pm_pool **first; /* which may serve it */
    struct pm_pool **also;  /* and those that may if none of these can; holds `first`, too */
    size_t n_first, n_also;
    bool owned; /* the sets are not the group's own */
    const struct pm_placement *placement;
};
/* POOLMGR_E_PIN_UNMET, POOLMGR_E_CONTEXT_LENGTH_EXCEEDED: no pool of its name may serve it. */
int pm_wish_of(struct pm_group *home, const struct pm_placement *placement, uint64_t context_needed,
               struct pm_wish *ret, struct poolmgr_error *err);
void pm_wish_fini(struct pm_wish *wish);
/* The best open place with a free slot; or NULL. */
struct pm_place *pm_wish_choose(const struct pm_wish *wish);

/* perf.c: what is measured, and what it foretells */
void pm_perf_started(struct pm_place *place);
void pm_perf_served(struct pm_pool *pool, uint64_t took_ms);
#define PM_PREDICTED_MAX_MS (UINT64_C(30) * 24 * 3600 * 1000)
/* When a request that comes behind so many gets its slot, from now; PM_NEVER: nothing says. */
uint64_t pm_group_predict(struct pm_group *group, uint64_t n_ahead);
uint64_t pm_waiter_predict(const struct pm_waiter *waiter);

void pm_perf_look(struct pm_place *place); /* it was measured */

/* past.c: what the next daemon is to know of a pool */
void pm_past_note_speed(struct pm_place *place);
uint64_t pm_past_due(const struct pm_pool *pool);
void pm_past_step(struct pm_pool *pool, struct pm_actions *out);
void pm_past_forget(const struct pm_pool *pool, struct pm_actions *out); /* it is removed */

/* lease.c */
struct pm_place *pm_pool_choose(const struct pm_pool *pool); /* open, with a free slot; or NULL */
struct pm_place *pm_lease_place(const struct pm_core *core, const struct pm_lease *lease);
void pm_pool_rests(struct pm_pool *pool); /* from now on nobody uses it */
void pm_request_grant(struct pm_place *place, uint64_t request, struct pm_actions *out);
void pm_waiter_grant(struct pm_waiter *waiter, struct pm_place *place, struct pm_actions *out);
void pm_leases_end(struct pm_place *place, bool only_living, const struct poolmgr_error *error,
                   struct pm_actions *out);
void pm_slot_due(struct pm_slot *slot, struct pm_actions *out);
void pm_ask_busy(struct pm_place *place, struct pm_actions *out);
uint64_t pm_place_at_work(const struct pm_place *place); /* leases the engine works for */
void pm_place_free_slots(struct pm_place *place);

/* health.c */
void pm_health_begin(struct pm_place *place, struct pm_actions *out);
void pm_health_end(struct pm_place *place);
void pm_health_look(struct pm_place *place, struct pm_actions *out); /* does what is due */
/* What health says shall happen to it; PM_CAUSE_COUNT: nothing. */
enum pm_cause pm_health_due(const struct pm_place *place);
/* The verdict of a stall, or of an engine that stays sick. */
void pm_health_judge(struct pm_place *place, enum pm_cause cause, struct pm_actions *out);
uint64_t pm_health_next_due(const struct pm_place *place);

/* meeting.c */
enum pm_runs pm_pool_runs(const struct pm_pool *pool);
enum pm_meeting pm_pool_meets(const struct pm_pool *pool, enum pm_operation_kind arrives);
int pm_pool_refuses_command(const struct pm_pool *pool, enum pm_operation_kind arrives,
                            struct poolmgr_error *err); /* POOLMGR_E_CONFLICT, or 0 */

/* command.c */
int pm_find_pool(struct pm_core *core, const char *pool_id, struct pm_pool **ret,
                 struct poolmgr_error *err);                        /* for a command */
void pm_pool_forgive(struct pm_pool *pool, struct pm_actions *out); /* what failed is forgotten */

/* operations.c */
struct pm_op *pm_pool_op(const struct pm_pool *pool, enum pm_operation_kind kind); /* that acts */
bool pm_pool_has_start(const struct pm_pool *pool);
uint64_t pm_pool_stop_by(const struct pm_pool *pool); /* of its stops and removals; PM_NEVER */
/* Any of its places, next and old ones too. */
bool pm_pool_any(const struct pm_pool *pool, bool (*is)(const struct pm_place *place));
bool pm_place_has_process(const struct pm_place *place); /* or may get one */
bool pm_place_is_up(const struct pm_place *place);
bool pm_place_is_stopping(const struct pm_place *place);
bool pm_place_is_on_its_way(const struct pm_place *place);
struct pm_op *pm_op_begin(struct pm_pool *pool, enum pm_operation_kind kind,
                          enum pm_op_stage stage);
struct pm_op *pm_op_begin_poolless(struct pm_core *core, const char *pool_id,
                                   enum pm_operation_kind kind, enum pm_op_stage stage);
void pm_op_accept(struct pm_op *op, struct pm_actions *out);
void pm_op_end(struct pm_op *op, enum pm_operation_state state, const struct poolmgr_error *error,
               struct pm_actions *out);
void pm_op_restore(struct pm_pool *pool, enum pm_operation_kind kind, uint64_t id,
                   struct pm_actions *out); /* of a former daemon: interrupted */
void pm_op_replace(struct pm_op *op, const struct pm_op *by, struct pm_actions *out);
void pm_operations_step(struct pm_pool *pool, struct pm_actions *out); /* ends what has ended */
void pm_operations_fail_starts(struct pm_pool *pool, const struct poolmgr_error *error,
                               struct pm_actions *out);
void pm_operations_end(struct pm_pool *pool, enum pm_operation_kind kind,
                       enum pm_operation_state state, struct pm_actions *out);
void pm_operations_interrupt(struct pm_list *operations, struct pm_actions *out);
/* Its own staging is over: the starts that were there before it are not wanted any more. */
void pm_operations_cancel_starts_before(struct pm_pool *pool, const struct pm_op *op,
                                        struct pm_actions *out);
void pm_operations_part(struct pm_pool *pool); /* they outlive it */
void pm_operations_fini(struct pm_core *core);

/* intent.c: what an operator wants of a pool for good */
bool pm_pool_is_held(const struct pm_pool *pool); /* nobody's victim */
bool pm_pool_admits(const struct pm_pool *pool);  /* may lease, as far as operators say */
bool pm_pool_intent_refuses(const struct pm_pool *pool, struct poolmgr_error *ret);
uint64_t pm_pool_empty_by(const struct pm_pool *pool);
bool pm_intent_want(const struct pm_place *place, struct pm_wanted *ret); /* false: no opinion */
void pm_pool_set_intent(struct pm_pool *pool, enum pm_intent intent);

/* commit.c */
void pm_commit(struct pm_op *op, struct pm_actions *out);
void pm_commit_step(struct pm_pool *pool, struct pm_actions *out); /* asks, one at a time */
void pm_commit_forget(struct pm_op *op);                           /* whatever the answer is */

/* reload.c */
void pm_reload_begin(struct pm_op *op, struct pm_actions *out);
void pm_reload_staged(struct pm_pool *pool, const struct pm_failure *failure,
                      struct pm_actions *out);
void pm_reload_committed(struct pm_op *op, struct pm_actions *out);
void pm_reload_not_committed(struct pm_op *op, const struct poolmgr_error *failure,
                             struct pm_actions *out);
void pm_reload_call_off(struct pm_pool *pool, bool goes_back, struct pm_actions *out);
void pm_reload_judged(struct pm_place *place);
void pm_reload_look(struct pm_pool *pool, struct pm_actions *out); /* is its deadline there? */
void pm_reload_step(struct pm_pool *pool, struct pm_actions *out);
bool pm_reload_is_past_return(const struct pm_pool *pool);
void pm_place_retire(struct pm_place *place, uint64_t by_ms); /* it becomes an old one */

/* reloadwant.c */
struct pm_place *pm_reload_former(const struct pm_place *next);           /* it takes over from */
bool pm_reload_want(const struct pm_place *place, struct pm_wanted *ret); /* false: no opinion */
bool pm_reload_swaps(const struct pm_pool *pool); /* the former makes room first */
/* Who is to have the room that this place gives back: the other one of a swap. NULL: whoever waits. */
struct pm_place *pm_reload_heir(const struct pm_place *place);
bool pm_reload_permits(const struct pm_place *place);

/* change.c: pools that come, change and go */
void pm_pool_set_wanted(struct pm_pool *pool, struct pm_pool_spec *spec);
void pm_pool_set_spec(struct pm_pool *pool, struct pm_pool_spec *spec);
bool pm_pool_has_drift(const struct pm_pool *pool);
void pm_change_step(struct pm_pool *pool, struct pm_actions *out); /* what is queued has its turn */
void pm_poolless_step(struct pm_core *core, struct pm_actions *out);
void pm_put_begin(struct pm_op *op, struct pm_actions *out);
void pm_pool_withdraw(struct pm_pool *pool, struct pm_actions *out);
void pm_removal_begin(struct pm_op *op, struct pm_actions *out);
bool pm_removal_is_over(const struct pm_pool *pool);
void pm_removal_end(struct pm_pool *pool, struct pm_actions *out); /* frees the pool */

/* drain.c */
void pm_drain_begin(struct pm_op *op, struct pm_actions *out);
uint64_t pm_pool_living_leases(const struct pm_pool *pool);       /* whose client is there */
void pm_drain_look(struct pm_pool *pool, struct pm_actions *out); /* is its deadline there? */
void pm_drain_step(struct pm_op *op, struct pm_actions *out);
void pm_drain_call_off(struct pm_op *op, enum pm_operation_state state,
                       const struct poolmgr_error *error, struct pm_actions *out);
void pm_resume_begin(struct pm_op *op, struct pm_actions *out);
/* Of a drain that acts: the operation that calls it off when that is durable. */
struct pm_op *pm_drain_cancel(struct pm_op *drain);
/* What is called off; NULL: it has ended meanwhile. */
struct pm_op *pm_cancel_drain(const struct pm_op *cancel);
void pm_cancel_begin(struct pm_op *op, struct pm_actions *out);

/* handoff.c */
bool pm_place_is_ours(const struct pm_place *place);
/* Not ours, and not asked yet: it may be there. */
bool pm_place_is_expected(const struct pm_place *place);
/* The comparison of a place whose engine is not ours; true: its state changed. */
bool pm_place_follow(struct pm_place *place, struct pm_actions *out);
uint64_t pm_place_follow_due(const struct pm_place *place);
/* It is cold now: gone, or let go. */
void pm_place_left(struct pm_place *place, enum pm_cause cause, struct pm_actions *out);
/* POOLMGR_E_CONFLICT for an engine that is not ours: nobody here may start or stop it. */
int pm_pool_check_ours(const struct pm_pool *pool, const char *verb, struct poolmgr_error *err);
void pm_error_of_gone(const struct pm_pool *pool, struct poolmgr_error *ret);

/* tell.c */
void pm_tell_place(const struct pm_place *place, enum pm_event_kind kind, struct pm_actions *out);
/* Of a place and the one it gives way to, or NULL. */
void pm_tell_room(const struct pm_place *place, enum pm_event_kind kind, struct pm_actions *out);
void pm_tell_handoff(const struct pm_place *place, enum pm_event_kind kind, struct pm_actions *out);

/* tellpool.c */
void pm_tell_staged(const struct pm_pool *pool, uint64_t size_bytes, struct pm_actions *out);
void pm_tell_reset(const struct pm_pool *pool, struct pm_actions *out);
void pm_tell_intent(const struct pm_pool *pool, enum pm_event_kind kind, struct pm_actions *out);
void pm_tell_reload(const struct pm_op *op, enum pm_event_kind kind, const struct pm_pool *pool,
                    struct pm_actions *out);
void pm_tell_changed(const struct pm_pool *pool, struct pm_actions *out);
void pm_tell_removed(const struct pm_pool *pool, struct pm_actions *out);
void pm_tell_drain(const struct pm_op *op, enum pm_event_kind kind, struct pm_actions *out);
void pm_tell_file_changed(const struct pm_pool *pool, struct pm_actions *out);

/* tellrequest.c */
void pm_tell_queued(const struct pm_waiter *waiter, struct pm_actions *out);
void pm_tell_waiter(const struct pm_waiter *waiter, const struct pm_pool *pool,
                    enum pm_event_kind kind, const struct poolmgr_error *error,
                    struct pm_actions *out);
void pm_tell_refused(const struct pm_pool *pool, const struct pm_request *request,
                     const struct poolmgr_error *error, struct pm_actions *out);

/* errors.c */
const char *pm_plural(uint64_t n); /* "s", or nothing for one */
void pm_describe_verdict(const struct pm_verdict *verdict, char *to, size_t size);
void pm_describe_timeout(const struct pm_place *place, char *to, size_t size);
void pm_describe_stall(const struct pm_place *place, char *to, size_t size);
void pm_describe_sickness(const struct pm_place *place, char *to, size_t size);
void pm_error_of_failure(const struct pm_place *place, struct poolmgr_error *ret);
void pm_error_of_failed_pool(const struct pm_pool *pool, struct poolmgr_error *ret);
void pm_error_of_delay(const struct pm_place *place, struct poolmgr_error *ret);
void pm_error_of_full_queue(const struct pm_group *group, int code, struct poolmgr_error *ret);
void pm_error_of_overload(const struct pm_group *group, uint64_t predicted_ms, uint64_t most_ms,
                          struct poolmgr_error *ret);
void pm_error_of_timeout(const struct pm_waiter *waiter, struct poolmgr_error *ret);
void pm_error_of_cut(const struct pm_place *place, struct poolmgr_error *ret);
void pm_error_of_abandoned(const struct pm_place *place, struct poolmgr_error *ret);

/* view.c */
enum pm_state pm_pool_best_state(const struct pm_pool *pool);
const struct pm_place *pm_pool_shown(const struct pm_pool *pool, unsigned index); /* of a replica */

#endif
