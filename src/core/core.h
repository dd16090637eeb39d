/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deciding core. Pure: inputs are these functions, outputs are appended to one list of actions, time is a
 * number. No system call, no clock, no random number it was not given, no log. See docs/lifecycle.md.
 *
 * All times are milliseconds on one monotonic clock that the driver passes in; it never goes back.
 * All functions are for the loop thread. What is handed in is copied unless its comment says otherwise.
 * An input for an unknown id, or with a token that is not current, changes nothing and appends nothing.
 * The driver executes actions in order; while it executes, it may give further inputs, whose actions come after.
 */
#ifndef PM_CORE_CORE_H
#define PM_CORE_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/event.h"
#include "core/spec.h"
#include "core/words.h"
#include "plan/ledger.h"
#include "plan/mask.h"
#include "plan/model.h"
#include "poolmgr/error.h"

struct pm_core;

/* Names one question to the outside world; its answer carries it back. Zero is no token. */
struct pm_token {
    uint64_t serial;
};

/* One slot taken for one request: a value in the caller's hand. Zeros are no lease. */
struct pm_lease {
    uint64_t serial; /* unique for ever */
    uint32_t pool, replica;
    uint64_t instance; /* the n of <pool>.<n> */
};

/* ---- what is durable (STATE-1) ---------------------------------------------------------------------- */

enum pm_operation_kind {
    PM_OP_START,
    PM_OP_STOP,
    PM_OP_DRAIN,
    PM_OP_RESUME,
    PM_OP_RELOAD,
    PM_OP_RESET,
    PM_OP_PUT,
    PM_OP_REMOVE,
    PM_OP_CONFIG_RELOAD,
    PM_OP_HANDOFF,
    PM_OP_CANCEL,
    PM_OP_KIND_COUNT
};

/* What a daemon leaves for the next one about a pool. */
struct pm_pool_record {
    char pool_id[PM_ID_MAX + 1];
    bool removed; /* nothing of it is kept any more */
    enum pm_owner owner;
    enum pm_intent intent;
    char *spec_text; /* of a pool that the API made or that was reloaded; NULL: the file's */
    bool has_operation;
    uint64_t operation; /* that runs */
    enum pm_operation_kind kind;
};

/* ---- actions ---------------------------------------------------------------------------------------- */

enum pm_action_kind {
    PM_ACT_STAGE, /* verify the model of `spec`; answered by pm_core_staged */
    PM_ACT_SPAWN, /* launch `instance` with `spec` on `plan`; answered by pm_core_spawned; watch it until childless */
    PM_ACT_SIGNAL,   /* SIGTERM to the engine's process group */
    PM_ACT_KILL,     /* SIGKILL to the whole tree; harmless when repeated */
    PM_ACT_PROBE,    /* one health probe; answered by pm_core_probed under `probe` */
    PM_ACT_ASK_BUSY, /* how many slots are busy; answered by pm_core_busy under `probe` */
    PM_ACT_FOLLOW, /* an engine that is not ours, `spec` says where: know it under `token` until FORGET; its end is
                    * told by pm_core_engine_gone */
    PM_ACT_FORGET, /* judged and over: the instance's folder may go */
    PM_ACT_GRANT,  /* the request has `lease` at this instance */
    PM_ACT_REFUSE, /* the request ends with `error` */
    PM_ACT_CUT, /* the lease has ended by our or the engine's doing: end its stream as broken with `error` */
    PM_ACT_PERSIST, /* make `record` durable; answered by pm_core_persisted */
    PM_ACT_REMEMBER, /* keep `memory` behind, in place of what has its identity and device (STATE-1); nobody waits */
    PM_ACT_KEEP, /* keep `past` behind, in place of what there is of its pool (STATE-1); nobody waits */
    PM_ACT_LOOK, /* look at the devices now: what is known of them is too old to stop somebody for */
    PM_ACT_ACCEPTED, /* who gave the command that began `operation` may be answered: it stands, or `error` says why not */
    PM_ACT_OPERATION, /* the operation has ended: see pm_core_operation() */
    PM_ACT_NARRATE,   /* tell `event` */
    PM_ACT_STOPPED,   /* after pm_core_shutdown: nothing is left; the daemon may exit */
};

/* Where an engine runs, and what is charged for it there. */
struct pm_plan {
    bool
        on_cpu; /* asked for, or there is no GPU in this machine (LOAD-5); its only device is "cpu", or it has none */
    bool has_all;      /* there is no GPU in this machine but these */
    unsigned n_layers; /* of the model, and the output; 0: unknown (the bytes were declared) */
    size_t n_devices;
    struct { /* in the order in which the engine shall see them */
        char id[PM_DEVICE_ID_MAX + 1];
        uint64_t bytes;
        uint64_t
            mapped_bytes;  /* of these, on the CPU: what all who map the same file have in common */
        unsigned n_layers; /* of all; 0 where n_layers is */
    } devices[PM_SHARES_MAX];
};

/* What an engine was seen to take of a device: remembered for the next start of the same, and by the next daemon. */
struct pm_memory_record {
    uint64_t identity; /* pm_spec_identity() */
    char device[PM_DEVICE_ID_MAX + 1];
    uint64_t weights_bytes, kv_bytes, compute_bytes, context_bytes; /* 0: not known */
};

/* Why a replica failed last. */
struct pm_last_error {
    int code; /* 0: none */
    enum pm_class class;
    char text[256];
    uint64_t at_ms;
};

/* What a pool went through: for the next daemon. */
#define PM_PAST_REPLICAS_MAX 64 /* of the first ones */
struct pm_past_replica {
    uint64_t n_failures;             /* in a row, as SUP-2 counts them */
    uint64_t failed_ago_ms;          /* since the last one was settled; of no meaning without one */
    struct pm_last_error last_error; /* of the last one; its time is failed_ago_ms */
    uint64_t n_spawns;               /* ever */
    double first_token_ms;           /* from here on as measured, the last ones most; 0: unknown */
    double n_tokens, decode_ms, n_answers;
};
struct pm_past {
    char pool_id[PM_ID_MAX + 1];
    uint64_t identity;           /* pm_spec_identity() of what it was */
    double service_ms, start_ms; /* how long a request and a start take; 0: unknown */
    size_t n;                    /* 0: nothing is to be kept of it */
    struct pm_past_replica replicas[PM_PAST_REPLICAS_MAX];
};

struct pm_action {
    enum pm_action_kind kind;
    struct pm_token
        token; /* of the instance: SPAWN FOLLOW SIGNAL KILL PROBE ASK_BUSY FORGET; of the question: STAGE, PERSIST */
    struct pm_token probe;     /* PROBE, ASK_BUSY */
    struct pm_pool_spec *spec; /* STAGE, SPAWN, FOLLOW: a reference held by the list */
                               /* REFUSE: of the pool it was refused for; NULL: there is none */
    struct pm_plan *plan; /* SPAWN: owned by the list; NULL: nothing is known of devices here */
    unsigned replica;
    uint64_t instance;           /* SPAWN, FOLLOW */
    uint64_t request;            /* GRANT, REFUSE, CUT */
    struct pm_lease lease;       /* GRANT, CUT */
    struct pm_token lease_token; /* GRANT: token of the instance that serves it */
    uint64_t queue_position;     /* GRANT, REFUSE: at arrival, from 0 */
    uint64_t waited_ms;          /* GRANT, REFUSE */
    bool waited;                 /* GRANT, REFUSE: false when that was the step of its arrival */
    uint64_t predicted_ms; /* GRANT: how long it was to wait, foretold at its arrival; REFUSE by the
                              queue: how long it had to wait (QUEUE-3); 0: nobody knows */
    uint64_t operation;    /* OPERATION, ACCEPTED */
    struct pm_pool_record *record;   /* PERSIST: owned by the list */
    struct pm_memory_record *memory; /* REMEMBER: owned by the list */
    struct pm_past *past;            /* KEEP: owned by the list */
    struct poolmgr_error *error;     /* REFUSE, CUT, ACCEPTED: owned by the list */
    struct pm_event *event;          /* NARRATE: owned by the list */
    int reason_code; /* KILL, SIGNAL: enum pm_class of what ended it; for the record only */
};

/* A growable list; zeros are an empty one. */
struct pm_actions {
    struct pm_action *items;
    size_t n, capacity;
};

void pm_actions_clear(
    struct pm_actions *actions); /* releases what the items hold, keeps the memory */
void pm_actions_fini(struct pm_actions *actions);

/* ---- life ------------------------------------------------------------------------------------------- */

struct pm_core_options {
    uint64_t max_parallel_starts;     /* preload only */
    uint64_t seed;                    /* for jitter; every random number is drawn from it */
    char default_pool[PM_ID_MAX + 1]; /* "" none */
    uint64_t evict_max_wait_ms;       /* a waiter older than this may claim a busy pool's room */
    uint64_t evict_min_residency_ms;  /* a pool that became ready later is not claimed */
    uint64_t quarantine_ms;           /* of a device with driver errors of several pools */
    bool
        discovers; /* devices are looked for: until the first list nothing starts that may need one */
    bool gpu_only; /* nothing runs on the CPU (LOAD-5) */
};

struct pm_core *pm_core_new(const struct pm_core_options *options);
/* Other options (but the seed), in force with this step. */
void pm_core_configure(struct pm_core *core, const struct pm_core_options *options, uint64_t now_ms,
                       struct pm_actions *out);
void pm_core_free(struct pm_core *core);

/* When to call tick at the latest; PM_NEVER when nothing is due. */
uint64_t pm_core_deadline(const struct pm_core *core);
void pm_core_tick(struct pm_core *core, uint64_t now_ms, struct pm_actions *out);

/* ---- pools ------------------------------------------------------------------------------------------ */

/* Adds a pool (keeps a reference to spec). POOLMGR_E_ALREADY_EXISTS; POOLMGR_E_CONFLICT when an alias is
 * another pool's id. Nothing is started before pm_core_begin() was called once. */
int pm_core_add_pool(struct pm_core *core, struct pm_pool_spec *spec, enum pm_owner owner,
                     uint64_t now_ms, struct pm_actions *out, struct poolmgr_error *err);

/* All pools of the start are in and adoption is done: preload starts, in the order they were added. */
void pm_core_begin(struct pm_core *core, uint64_t now_ms, struct pm_actions *out);

/* One graceful shutdown (on_exit: stop): every wait is refused, engines are drained to their drain_deadline and
 * stopped; `at_once`: no grace. PM_ACT_STOPPED when nothing is left. A second call hurries the first. */
void pm_core_shutdown(struct pm_core *core, bool at_once, uint64_t now_ms, struct pm_actions *out);

/* The same for on_exit: leave: waiters are refused, nothing is signalled, PM_ACT_STOPPED in this step. */
void pm_core_leave(struct pm_core *core, uint64_t now_ms, struct pm_actions *out);

/* ---- devices ---------------------------------------------------------------------------------------- */

struct pm_device {
    char id[PM_DEVICE_ID_MAX + 1]; /* known by this for ever */
    struct pm_gpu
        is_gpu; /* as masks see it; is_gpu.id "": declared in the file, known by its id alone. Whether it works
                           * is said by `state`, not by is_gpu.unhealthy */
    uint64_t total_bytes, reserve_bytes;
    uint64_t
        driver_bytes; /* of the total, what its driver keeps for itself for good; 0: none, or unknown */
    bool free_known;     /* what is free is told with the list: nothing starts before it is known */
    uint64_t free_bytes; /* counts where it was not known before */
    uint64_t seen_ms;    /* when that look began */
    enum pm_device_state
        state; /* what its driver says: not PM_DEVICE_QUARANTINED, not PM_DEVICE_SUSPECT */
};

/* What GPUs there are in this machine, whether they can be listed or not. */
enum pm_gpus {
    PM_GPUS_UNKNOWN, /* nobody says; where no device is listed, an engine does as it does by itself */
    PM_GPUS_NONE,    /* no hardware at all: `auto` is the CPU */
    PM_GPUS_OTHER,   /* another vendor's only: as unknown */
    PM_GPUS_BROKEN, /* there are some, and none can be used: who needs one has to wait, and never gets the CPU */
};

/* Before the list that it belongs to, and whenever it changes. `text` says why it is broken; else NULL. */
void pm_core_gpus(struct pm_core *core, enum pm_gpus gpus, const char *text, uint64_t now_ms,
                  struct pm_actions *out);

/* The whole list, whenever something of it changed; the first one says that looking has ended. A known device that is
 * not on it is lost; one that is new, comes back, grew or was reset is changed hardware (SUP-6). Without a list pools need no
 * room (but see `discovers`). */
void pm_core_devices(struct pm_core *core, const struct pm_device *devices, size_t n,
                     uint64_t now_ms, struct pm_actions *out);

#define PM_CPU_ID "cpu"

/* The CPU is a device, too: its memory is the machine's. Told before the first list, and whenever its total or its reserve
 * changed; until then engines on the CPU need no room. `state` and `is_gpu` mean nothing. */
void pm_core_cpu(struct pm_core *core, const struct pm_device *cpu, uint64_t now_ms,
                 struct pm_actions *out);

/* One look at a device, told in this order: what each of our engines uses there (who is not listed any more: 0; who may
 * be hidden: not at all), what processes that are not ours use, and what is free. Nothing is decided before the last.
 * `seen_ms`: when the look began; the same look may be told again. */
void pm_core_device_seen(struct pm_core *core, struct pm_token instance, const char *id,
                         uint64_t bytes, uint64_t seen_ms, uint64_t now_ms, struct pm_actions *out);
void pm_core_device_foreign(struct pm_core *core, const char *id, uint64_t bytes, uint64_t now_ms,
                            struct pm_actions *out);
/* `processes_known`: the list of those who use it is complete. What is free bounds what is granted there: memory of
 * others counts as absent (VRAM-1). While an engine that used it ends, this says whether its memory came back (SUP-7). */
void pm_core_device_free(struct pm_core *core, const char *id, uint64_t free_bytes,
                         bool processes_known, uint64_t seen_ms, uint64_t now_ms,
                         struct pm_actions *out);

/* What an engine says that it allocated on a device; as often as it says so, while it loads or after. Of a plan by
 * estimate it takes the estimate's place when the engine is ready, and is remembered. */
enum pm_memory_kind { PM_MEMORY_WEIGHTS, PM_MEMORY_KV, PM_MEMORY_COMPUTE, PM_MEMORY_KIND_COUNT };
void pm_core_measured(struct pm_core *core, struct pm_token instance, const char *id,
                      enum pm_memory_kind kind, uint64_t bytes, uint64_t now_ms,
                      struct pm_actions *out);
/* What a former daemon remembered; before pm_core_begin(). */
void pm_core_recall(struct pm_core *core, const struct pm_memory_record *memory);
/* What is remembered of engines of this spec, and counts in the estimate of its next start; zeros: nothing. */
void pm_core_measures(const struct pm_core *core, const struct pm_pool_spec *spec,
                      struct pm_measured_memory *ret);

/* The driver reports an error of a device (SUP-8). `known`: false, and the action is NOTE: it is to blame for an engine
 * there that dies soon after. `instance`: the one that caused it; no token: whoever is alone there. RESET and LOST take the device,
 * and the instances of a GPU, out of use until pm_core_devices() says something else. */
void pm_core_xid(struct pm_core *core, const char *id, int xid, enum pm_xid_action action,
                 bool known, struct pm_token instance, uint64_t now_ms, struct pm_actions *out);

/* An operator trusts a device that was quarantined or suspect. POOLMGR_E_NOT_FOUND; POOLMGR_E_CONFLICT: its driver
 * says that it cannot be used. */
int pm_core_device_clear(struct pm_core *core, const char *id, uint64_t now_ms,
                         struct pm_actions *out, struct poolmgr_error *err);

/* ---- requests --------------------------------------------------------------------------------------- */

/* What a request asks for among the pools of its name (PLACE-2). Zeros: nothing. Ids that are none of these pools'
 * are no wish; a pin to one cannot be met. */
struct pm_placement {
    const char *pin;           /* this pool and no other; NULL: none */
    const char *const *prefer; /* these before others */
    size_t n_prefer;
    const char *const *avoid; /* these only if no other can serve */
    size_t n_avoid;
    const char *mask; /* only pools that use no device outside of these, "0,1"; NULL: any */
    bool no_fallback; /* only what is preferred, never what is avoided */
};

struct pm_request {
    uint64_t id; /* the caller's, unique, never 0 */
    const char
        *route; /* a pool's id or an alias, as the client wrote it; "" the default or only pool */
    const char *request_id; /* X-Request-Id, for events */
    uint64_t bytes;         /* what is held in memory for it (QUEUE-1) */
    enum pm_priority priority;
    uint64_t
        deadline_ms; /* relative, arrival to grant; 0: the pool's max_age; larger is capped by it */
    bool retried;    /* its engine died before the first byte: keeps arrived_ms, goes to the head */
    uint64_t arrived_ms; /* with `retried` only */
    const char *tenant;  /* inside a class tenants take turns; NULL or "": none */
    struct pm_placement placement;
    uint64_t context_needed; /* tokens; 0: unknown */
};

/* Ends in exactly one of GRANT or REFUSE, now or later, unless pm_core_request_gone() comes first. An unknown
 * route is refused with POOLMGR_E_MODEL_NOT_FOUND. */
void pm_core_request(struct pm_core *core, const struct pm_request *request, uint64_t now_ms,
                     struct pm_actions *out);

/* The client left while the request waited. Harmless when it does not wait any more. */
void pm_core_request_gone(struct pm_core *core, uint64_t request, uint64_t now_ms,
                          struct pm_actions *out);

/* PLACE-1, explained: all replicas of the pools of a name, what refuses each, and which one would be chosen now. */
struct pm_candidate {
    const char *pool_id; /* borrowed until the next input */
    unsigned replica;
    const char *
        refused_by; /* "pin" "prefer" "avoid" "mask" "context" "gate" "health" "slots"; "" nothing */
};
struct pm_placement_view {
    struct pm_candidate *candidates; /* in the order of choice, then the refused ones by id */
    size_t n;
    bool chosen; /* the first candidate gets the request */
    const char *
        decided_by; /* "only" "prefer" "speed" "leases" "id": what told it from the next; "" none chosen */
    size_t n_ties;              /* how many passed but for the order of their ids */
    struct poolmgr_error error; /* not chosen: why it would be refused; code 0: it would wait */
    uint64_t predicted_ms;      /* how long it would wait; 0: not, or nobody knows */
};
/* Changes nothing. POOLMGR_E_MODEL_NOT_FOUND; else *ret is filled, and to be given to _fini. */
int pm_core_explain(const struct pm_core *core, const char *route,
                    const struct pm_placement *placement, uint64_t now_ms,
                    struct pm_placement_view *ret, struct poolmgr_error *err);
void pm_placement_view_fini(struct pm_placement_view *view);

enum pm_release {
    PM_RELEASE_DONE, /* the answer ended */
    PM_RELEASE_CLIENT_CLOSED, /* client gone, engine's connection closed: settles by idle report or cancel_settle */
    PM_RELEASE_LIMIT, /* ran into first_byte or stream_idle (HEALTH-3b); connection closed: settles too */
    PM_RELEASE_UNUSED, /* never reached the engine */
};

/* Ends a lease; a second time, or after its instance ended, changes nothing. */
void pm_core_release(struct pm_core *core, const struct pm_lease *lease, enum pm_release how,
                     uint64_t now_ms, struct pm_actions *out);

/* The client is gone but the engine's answer is read to its end: the slot stays taken (at most abandon_max, then
 * PM_ACT_CUT), but holds up no stop. */
void pm_core_abandon(struct pm_core *core, const struct pm_lease *lease, uint64_t now_ms,
                     struct pm_actions *out);

/* keep_alive of a request: until the next that names one. PM_NEVER: never stop; 0: stop after this. */
void pm_core_keep_alive(struct pm_core *core, const struct pm_lease *lease, uint64_t keep_alive_ms,
                        uint64_t now_ms, struct pm_actions *out);

/* How fast a request was answered, from its grant on, while it has its lease (REG-1's hints): PM_NEVER, 0 and 0 where
 * it is not known. Changes what is foretold and who is preferred, and nothing else. */
void pm_core_perf(struct pm_core *core, const struct pm_lease *lease, uint64_t first_token_ms,
                  uint64_t n_tokens, uint64_t decode_ms);

/* ---- answers of the world --------------------------------------------------------------------------- */

struct pm_failure {
    enum pm_class class
        ;     /* PM_CLASS_NONE in pm_exit: nothing special is known, judge by status and signal */
    int code; /* enum poolmgr_status for last_error (MODEL_MISSING, ENGINE_MISSING, …); 0 none */
    bool permanent; /* SUP-6 */
    char text[256]; /* one line for a person: the file, or what the engine said; "" none */
    char hint[96];  /* what a person can do; "" nothing special */
};

/* What is known of the program that would run it, before the answer under the same token. few_outputs: it keeps room for the
 * logits of one token a slot, not of a whole step; false: it does not, or nobody knows. */
void pm_core_program(struct pm_core *core, struct pm_token token, bool few_outputs);

/* `failure` NULL: the model is there and good. model: what an estimate needs of it, a reference is kept; NULL: unknown.
 * size_bytes: of all its files, with what the model does not count (projector, draft); 0 unknown. */
void pm_core_staged(struct pm_core *core, struct pm_token token, const struct pm_failure *failure,
                    struct pm_model *model, uint64_t size_bytes, uint64_t now_ms,
                    struct pm_actions *out);

/* The shim runs the engine (pid), or could not. */
void pm_core_spawned(struct pm_core *core, struct pm_token token, const struct pm_failure *failure,
                     int pid, uint64_t now_ms, struct pm_actions *out);

/* Signs of life of a start (log, memory growing), or of a busy engine (bytes, counters, CPU time). */
void pm_core_progress(struct pm_core *core, struct pm_token token, uint64_t now_ms,
                      struct pm_actions *out);

struct pm_ready {
    char endpoint[128];      /* "unix:/…" or "http://127.0.0.1:41234" */
    bool owner_proved;       /* ENGINE-3 */
    char engine_version[64]; /* "" unknown */
    uint64_t n_slots;        /* what the engine says it has; 0: as in the spec */
};

/* HEALTH-2 and ENGINE-3 whole: the endpoint is ours and its health said 200. */
void pm_core_endpoint_ready(struct pm_core *core, struct pm_token token,
                            const struct pm_ready *ready, uint64_t now_ms, struct pm_actions *out);

/* In its place: it answers, and is not what its plan says (LOAD-5). No request ever reaches it: the start has failed, and
 * it is stopped. */
void pm_core_start_unfit(struct pm_core *core, struct pm_token token,
                         const struct pm_failure *failure, uint64_t now_ms, struct pm_actions *out);

void pm_core_probed(struct pm_core *core, struct pm_token probe, bool ok, uint64_t now_ms,
                    struct pm_actions *out);
void pm_core_busy(struct pm_core *core, struct pm_token probe, uint64_t n_busy, uint64_t now_ms,
                  struct pm_actions *out);

struct pm_exit {
    bool signalled;
    int status; /* exit code, or the signal's number; -1 unknown (shim killed) */
    struct pm_failure evidence;
};

/* The engine's main process is gone; its tree may live on until pm_core_childless. */
void pm_core_engine_exited(struct pm_core *core, struct pm_token token, const struct pm_exit *how,
                           uint64_t now_ms, struct pm_actions *out);
void pm_core_childless(struct pm_core *core, struct pm_token token, uint64_t now_ms,
                       struct pm_actions *out);

/* Adoption, before pm_core_begin: an instance whose shim lives. *ret_token is what its actions and answers carry
 * from now on. It counts as starting until pm_core_endpoint_ready. POOLMGR_E_NOT_FOUND: no such pool or replica
 * (the driver stops the stranger); POOLMGR_E_CONFLICT: the replica has one already. */
int pm_core_adopt(struct pm_core *core, const char *pool_id, unsigned replica, uint64_t instance,
                  int pid, uint64_t started_ms, uint64_t now_ms, struct pm_actions *out,
                  struct pm_token *ret_token, struct poolmgr_error *err);

/* Where an adopted instance was started. Unknown: the devices of its mask, or the one that has most left. */
void pm_core_adopted_on(struct pm_core *core, struct pm_token token, const struct pm_plan *plan,
                        uint64_t now_ms, struct pm_actions *out);

/* An instance number that is in use on disk: the next one of the pool is larger. */
void pm_core_seen_instance(struct pm_core *core, const char *pool_id, uint64_t instance);

/* A file of a failed pool's model was changed or put in its place: what failed for good is tried again (SUP-6), as
 * after a reset, but the breaker stays as an operator set it. */
void pm_core_file_changed(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                          struct pm_actions *out);

/* ---- engines that are not ours (REG-4) --------------------------------------------------------------- */

#define PM_HANDOFF_REPLICAS_MAX 16

struct pm_handoff {
    struct pm_pool_spec
        *spec;        /* its habits are not ours, and it has an endpoint; a reference is kept */
    unsigned replica; /* < PM_HANDOFF_REPLICAS_MAX */
    bool
        answered; /* its endpoint answered just now: ready at once; else it is asked, and ready when it answers */
};

/* Registers somebody else's engine as a replica of a pool of handoffs, which it makes if need be. The same content
 * again is nothing; other limits are taken over in place; another engine takes the place of one that is gone, and, when
 * it has answered, takes over from one that is up, which finishes what it has. POOLMGR_E_ALREADY_EXISTS: the pool is
 * somebody else's; POOLMGR_E_CONFLICT: another engine is up there and this one did not answer, the pool is being
 * removed, or an alias has that name; POOLMGR_E_SHUTTING_DOWN. */
int pm_core_handoff(struct pm_core *core, const struct pm_handoff *handoff, uint64_t now_ms,
                    struct pm_actions *out, struct poolmgr_error *err);

/* The operation that shows it while its engine is asked, and what came of it; NULL: it is registered. */
uint64_t pm_core_handoff_begins(struct pm_core *core, const struct pm_pool_spec *spec,
                                unsigned replica, uint64_t now_ms, struct pm_actions *out);
void pm_core_handoff_ends(struct pm_core *core, uint64_t op, const struct poolmgr_error *error,
                          uint64_t now_ms, struct pm_actions *out);

/* Takes a handoff back: the replica gets nothing new, is emptied by its drain_deadline and let go; with the last one
 * the pool is removed.
 * POOLMGR_E_NOT_FOUND. */
int pm_core_withdraw(struct pm_core *core, const char *pool_id, unsigned replica, uint64_t now_ms,
                     struct pm_actions *out, struct poolmgr_error *err);

/* Nobody listens at the endpoint of an engine that is not ours, or its process has ended. `text` says which. */
void pm_core_engine_gone(struct pm_core *core, struct pm_token token, const char *text,
                         uint64_t now_ms, struct pm_actions *out);

/* ---- operations (OP-1) ------------------------------------------------------------------------------ */

enum pm_operation_state {
    PM_OP_RUNNING,
    PM_OP_SUCCEEDED,
    PM_OP_FAILED,
    PM_OP_CANCELLED,
    PM_OP_INTERRUPTED
};

#define PM_OPERATIONS_KEPT 256 /* ended ones that can still be asked for */

struct pm_operation {
    uint64_t id; /* "op-17" on the wire */
    enum pm_operation_kind kind;
    enum pm_operation_state state;
    char pool_id[PM_ID_MAX + 1];
    bool accepted;                 /* it stands: whoever gave the command may be told */
    uint64_t created_ms, ended_ms; /* ended_ms 0: running */
    char phase[16];             /* staging waiting draining stopping starting switching; "" none */
    char text[96];              /* the phase in words, with numbers; "" none */
    struct poolmgr_error error; /* code 0: none */
    uint64_t replaced_by;       /* 0: nobody */
    bool has_result;            /* what follows is known */
    uint64_t n_leases_left;     /* drain: how many ran at its deadline */
    bool forced;                /* drain: they were cut */
    bool rolled_back, switched; /* reload */
    bool made;                  /* put: a pool came into being */
    unsigned replica;           /* handoff */
    char endpoint[128];         /* handoff */
    char engine_version[64];    /* reload: of what serves now; "" unknown */
};

const char *pm_operation_kind_name(enum pm_operation_kind kind);    /* "config-reload" */
const char *pm_operation_state_name(enum pm_operation_state state); /* "running" */

/* POOLMGR_E_NOT_FOUND, POOLMGR_E_CONFLICT, POOLMGR_E_SHUTTING_DOWN, POOLMGR_E_POOL_FAILED. *ret_op is its id; the
 * operation may have ended within the call. */
int pm_core_start(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err);
/* deadline_ms 0: at once (streams are cut). */
int pm_core_stop(struct pm_core *core, const char *pool_id, uint64_t deadline_ms, uint64_t now_ms,
                 struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err);
/* Deadlines are relative; one beyond all time never comes. */
struct pm_drain {
    bool has_deadline; /* false: the pool's drain_deadline */
    uint64_t deadline_ms;
    enum pm_on_deadline on_deadline;
    enum pm_then then;
};

/* DRAIN-2. Acts when its intent is durable; so does a resume. POOLMGR_E_NOT_FOUND, POOLMGR_E_CONFLICT,
 * POOLMGR_E_SHUTTING_DOWN; PM_ACT_ACCEPTED says whether it stands. */
int pm_core_drain(struct pm_core *core, const char *pool_id, const struct pm_drain *drain,
                  uint64_t now_ms, struct pm_actions *out, uint64_t *ret_op,
                  struct poolmgr_error *err);
int pm_core_resume(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                   struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err);

struct pm_reload {
    struct pm_pool_spec *
        spec; /* the whole wanted one; a reference is kept. NULL: the last that was wanted, again */
    bool has_deadline;    /* false: the pool's drain_deadline */
    uint64_t deadline_ms; /* of a swap, from the closing of the gate of a replica */
    enum pm_on_deadline on_deadline;
};

/* RELOAD-1. Accepted at once; the spec is committed when the new engine is ready, before it takes over.
 * POOLMGR_E_NOT_FOUND, POOLMGR_E_CONFLICT (with its names, too), POOLMGR_E_SHUTTING_DOWN. */
int pm_core_reload(struct pm_core *core, const char *pool_id, const struct pm_reload *reload,
                   uint64_t now_ms, struct pm_actions *out, uint64_t *ret_op,
                   struct poolmgr_error *err);

/* PUT (REG-2): a new pool, limits in place, or a reload; the API's own only. Keeps a reference to spec.
 * POOLMGR_E_OWNED_BY_FILE, POOLMGR_E_ALREADY_EXISTS (another owner's), POOLMGR_E_CONFLICT, POOLMGR_E_SHUTTING_DOWN. */
int pm_core_put_pool(struct pm_core *core, struct pm_pool_spec *spec, uint64_t now_ms,
                     struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err);

/* RELOAD-2: from now on the file wants these pools, and no others. What differs from what it wanted last is applied;
 * an error changes nothing. Ends when every change has ended. POOLMGR_E_CONFLICT while another runs,
 * POOLMGR_E_ALREADY_EXISTS, POOLMGR_E_SHUTTING_DOWN. */
int pm_core_apply_file(struct pm_core *core, struct pm_pool_spec *const *specs, size_t n,
                       uint64_t now_ms, struct pm_actions *out, uint64_t *ret_op,
                       struct poolmgr_error *err);

/* DELETE (REG-2): gone for good once nobody has a lease any more, or at the deadline; its names leave the routes as
 * soon as that is durable. POOLMGR_E_NOT_FOUND, POOLMGR_E_OWNED_BY_FILE, POOLMGR_E_HAS_LEASES (without has_drain),
 * POOLMGR_E_SHUTTING_DOWN. */
int pm_core_remove_pool(struct pm_core *core, const char *pool_id, bool has_drain,
                        uint64_t drain_ms, uint64_t now_ms, struct pm_actions *out,
                        uint64_t *ret_op, struct poolmgr_error *err);

/* The record of PM_ACT_PERSIST is durable, or (`failure`) what was durable before still is. */
void pm_core_persisted(struct pm_core *core, struct pm_token token,
                       const struct poolmgr_error *failure, uint64_t now_ms,
                       struct pm_actions *out);

/* What the last daemon left about a pool that was added; before pm_core_begin(). Its operation is interrupted. */
void pm_core_restore(struct pm_core *core, const struct pm_pool_record *record, uint64_t now_ms,
                     struct pm_actions *out);

/* What a former daemon kept of a pool that was added; before pm_core_begin(). Failures and speeds of another specification
 * than it has now are forgotten. */
void pm_core_recall_past(struct pm_core *core, const struct pm_past *past, uint64_t now_ms,
                         struct pm_actions *out);

/* Ends it early, as far as that is possible. A drain goes on until its former intent is durable again: *ret_op is the
 * operation that sees to that, and its PM_ACT_ACCEPTED says whether it stands; else *ret_op is `op`.
 * POOLMGR_E_NOT_FOUND, POOLMGR_E_CONFLICT, POOLMGR_E_SHUTTING_DOWN. */
int pm_core_cancel_operation(struct pm_core *core, uint64_t op, uint64_t now_ms,
                             struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err);

/* n = 0, breaker as asked (CLOSED is "automatic"). Stores and stops nothing. POOLMGR_E_NOT_FOUND. */
int pm_core_reset(struct pm_core *core, const char *pool_id, enum pm_breaker breaker,
                  uint64_t now_ms, struct pm_actions *out, struct poolmgr_error *err);

bool pm_core_operation(const struct pm_core *core, uint64_t op, struct pm_operation *ret);
/* The i-th, newest first; false behind the last. */
bool pm_core_operation_at(const struct pm_core *core, size_t i, struct pm_operation *ret);

/* ---- looking (REG-1, REG-3) ------------------------------------------------------------------------- */

struct pm_replica_view {
    unsigned index;
    uint64_t instance;     /* 0: none */
    struct pm_token token; /* of the instance */
    enum pm_state state;
    bool live, gate_open;
    int pid;            /* 0: unknown */
    char endpoint[128]; /* "" none */
    bool owner_proved;
    char engine_version[64];
    uint64_t started_ms, ready_ms, last_check_ms; /* 0: never */
    uint64_t n_failed_checks;
    uint64_t slots_total, active_leases;
    uint64_t n_failures;    /* the n of SUP-2 */
    uint64_t restart_count; /* spawns beyond the first, of former daemons, too */
    enum pm_breaker breaker;
    uint64_t next_start_ms; /* 0: no delay runs */
    struct pm_last_error last_error;
    double tokens_per_s, first_token_ms; /* of real answers, the last ones most; 0: unknown */
};

struct pm_pool_view {
    const struct pm_pool_spec *spec; /* borrowed until the next input */
    enum pm_owner owner;
    enum pm_intent intent;
    enum pm_state state; /* of its best replica */
    bool live, ready;
    int code; /* HEALTH-5: a status, 0 when ready or when there is none for it */
    const char *
        code_name; /* the stable code: the status's name, "idle_stop", or the state's name; "" when ready */
    char reason[288];     /* with numbers, and what to do next; "" when ready */
    uint64_t model_bytes; /* as it was last staged; 0 unknown */
    uint64_t slots_total, slots_free, active_leases, queue_depth, queue_bytes;
    bool config_drift;     /* it runs something else than its owner asked for last */
    uint64_t idle_stop_ms; /* 0: none is due */
    uint64_t since_ms;     /* of the state */
    uint64_t n_replicas;
    uint64_t planned_bytes; /* charged to devices for all its engines */
    bool on_cpu;            /* it runs without a GPU, asked for or not */
    uint64_t last_check_ms, n_failed_checks;
    struct pm_last_error last_error;
};

/* Pools show their best replica, and models their best pool. */
bool pm_state_is_better(enum pm_state a, enum pm_state b);
uint64_t pm_core_snapshot_version(const struct pm_core *core);
size_t pm_core_n_pools(const struct pm_core *core);
bool pm_core_pool_at(const struct pm_core *core, size_t i, uint64_t now_ms,
                     struct pm_pool_view *ret); /* by id */
bool pm_core_pool(const struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_pool_view *ret);
bool pm_core_replica(const struct pm_core *core, const char *pool_id, unsigned index,
                     struct pm_replica_view *ret);
/* The i-th device of a replica's engine; false behind the last. */
struct pm_replica_device {
    char id[PM_DEVICE_ID_MAX + 1];
    struct pm_gpu is_gpu;
    uint64_t total_bytes, planned_bytes;
    unsigned n_layers;     /* of the model; 0: unknown */
    bool free_known, seen; /* seen: what it uses is known */
    uint64_t free_bytes, seen_bytes;
    uint64_t measured_bytes; /* what the engine said that it allocated; 0: nothing */
};
bool pm_core_replica_device(const struct pm_core *core, const char *pool_id, unsigned index,
                            size_t i, struct pm_replica_device *ret);

struct pm_device_view {
    struct pm_device is;                   /* `state` with what core makes of it */
    uint64_t planned_bytes, claimed_bytes; /* charged; set aside for pools that wait */
    bool free_known;
    uint64_t free_bytes;
    uint64_t left_bytes;    /* what could be granted there now */
    uint64_t foreign_bytes; /* in use by others than our engines */
    uint64_t until_ms;      /* of a quarantine, whose trial may begin then; 0: none */
};
/* In the order of the first list, and the CPU, where it is known, behind them; false behind the last. */
bool pm_core_device_at(const struct pm_core *core, size_t i, struct pm_device_view *ret);

/* The pool behind a route ("" the default), or NULL; of several the first. */
const struct pm_pool_spec *pm_core_route(const struct pm_core *core, const char *route);
/* For /v1/requests: position of a waiter from 0; false when it does not wait. */
bool pm_core_waiter(const struct pm_core *core, uint64_t request, uint64_t *ret_position);
/* When it will get its slot, from now; false when it does not wait, or nobody knows (QUEUE-3). */
bool pm_core_predicted_start(const struct pm_core *core, uint64_t request, uint64_t *ret_ms);
/* Which pools serve a name, the i-th in the order of adding; NULL behind the last. */
const struct pm_pool_spec *pm_core_route_at(const struct pm_core *core, const char *route,
                                            size_t i);

/* Counters since the start, for /metrics; per pool. */
struct pm_pool_counters {
    uint64_t requests, granted, refused, cancelled, starts, ready, crashes, start_failures,
        idle_stops, abandoned, evictions;
};
bool pm_core_counters(const struct pm_core *core, const char *pool_id,
                      struct pm_pool_counters *ret);

#endif
