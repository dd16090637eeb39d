/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool manager as a library: it starts, watches, restarts and stops engines, and hands out their slots, inside a
 * program that has an event loop of its own.
 *
 *     poll poolmgr_fd(); when it is readable call poolmgr_dispatch(). That is all the time it needs: timers are in the
 *     descriptor, and with nothing to do it never wakes up.
 *
 * It installs no signal handler, blocks no signal in the host's threads, is nobody's subreaper, raises no SIGPIPE and
 * never ends the process. It has one thread of its own, with all signals blocked, which looks at files; it calls
 * nobody. Starting an engine forks once and waits for that child by its pid, for a fraction of a millisecond.
 *
 * All functions are for one thread: that which calls poolmgr_dispatch(). Callbacks are made by poolmgr_dispatch() only,
 * and may call any function but poolmgr_dispatch() and poolmgr_free(). What a struct of a callback points to is valid
 * during that call; what a looking function returns, until the next call of any function of the same manager.
 *
 * Structs that may grow begin with `size`: set it to sizeof of yours. What a smaller one has no room for is left out.
 */
#ifndef POOLMGR_POOLMGR_H
#define POOLMGR_POOLMGR_H

#include <stddef.h>
#include <stdint.h>

#include "poolmgr/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define POOLMGR_API __attribute__((__visibility__("default")))
#else
#define POOLMGR_API
#endif

struct poolmgr;

/** One slot of one engine, taken for one request: a value to keep and to give back. Zeros are no lease. */
struct poolmgr_lease {
    uint64_t id;
    uint64_t instance;
};

/** Something that happened, as GET /v1/events and the log tell it. */
struct poolmgr_event {
    size_t size;
    const char *name;    /* "instance_ready" */
    const char *level;   /* "error" "warn" "info" "debug" */
    const char *pool_id; /* "" none */
    const char *json;    /* the whole: one line, without a line end */
    uint64_t n_missed; /* events before this one that were lost, since nobody dispatched in time */
};

struct poolmgr_options {
    size_t size;

    /* The configuration: a file, or its text in memory (`config_path` NULL); relative paths in a text start at
     * `config_folder` (NULL: the current one). What the file says of listening, keys and the gateway has no effect here. */
    const char *config_path;
    const char *config_text;
    const char *config_folder;

    const char *shim_path; /* of the program pool-shim; needed to start engines */

    void *ctx;                                                      /* what callbacks get */
    void (*on_event)(void *ctx, const struct poolmgr_event *event); /* NULL: nobody wants them */

    /* A lease ended without its holder: the engine died, or a stop came to its deadline. It needs no release. NULL: the
     * host looks with poolmgr_lease_endpoint(). */
    void (*on_lease_lost)(void *ctx, const struct poolmgr_lease *lease,
                          const struct poolmgr_error *why);

    void (*on_stopped)(
        void *ctx); /* after poolmgr_shutdown() or poolmgr_leave(): nothing is left to do */

    /* Of the program pool-probe, which looks for GPUs. NULL: nobody does, and engines choose their devices themselves
     * where the configuration declares none. */
    const char *probe_path;
};

/* ---- life ---------------------------------------------------------------------------------------------- */

/**
 * Reads the configuration, locks the runtime folder, adopts engines that a former manager left there, and begins.
 *
 * @param[out] ret  Written on success only; the caller's, for poolmgr_free().
 * @return POOLMGR_OK; POOLMGR_E_INVALID_REQUEST for options that make no sense; POOLMGR_E_CONFIG_INVALID,
 *         POOLMGR_E_PATH_TOO_LONG, POOLMGR_E_NOT_FOUND or POOLMGR_E_TOO_LARGE for the configuration; POOLMGR_E_CONFLICT
 *         when another manager has the runtime folder; POOLMGR_E_INTERNAL when the system refuses what is needed.
 */
POOLMGR_API int poolmgr_new(const struct poolmgr_options *options, struct poolmgr **ret,
                            struct poolmgr_error *err);

/**
 * Frees it, NULL too. Engines that still run are left to whoever adopts them, and end by themselves after
 * `orphan_timeout`: to stop them call poolmgr_shutdown() first, and go on dispatching until on_stopped.
 */
POOLMGR_API void poolmgr_free(struct poolmgr *mgr);

/** The descriptor to poll for reading. It stays the same, and is the manager's. */
POOLMGR_API int poolmgr_fd(const struct poolmgr *mgr);

/**
 * Does what is due, and makes callbacks; never waits.
 *
 * @return POOLMGR_OK; POOLMGR_E_CONFLICT when it is called from a callback; POOLMGR_E_INTERNAL when the kernel refuses.
 */
POOLMGR_API int poolmgr_dispatch(struct poolmgr *mgr);

/** Drains and stops all engines; `at_once`, or a second call: without grace. on_stopped follows. */
POOLMGR_API void poolmgr_shutdown(struct poolmgr *mgr, int at_once);

/** Leaves the engines to the next manager of the same runtime folder. on_stopped follows. */
POOLMGR_API void poolmgr_leave(struct poolmgr *mgr);

/* ---- leases -------------------------------------------------------------------------------------------- */

/**
 * Takes one slot of a pool for one request. Never waits, and starts nothing: see poolmgr_start().
 *
 * @param pool_id   Which pool; not kept.
 * @param[out] ret  Written on success only. Give it to poolmgr_lease_release().
 *
 * @return POOLMGR_OK; POOLMGR_E_NOT_FOUND when there is no such pool; POOLMGR_E_NOT_READY when no engine of it is up;
 *         POOLMGR_E_DRAINING or POOLMGR_E_DISABLED when it takes no new leases; POOLMGR_E_NO_CAPACITY when every slot is
 *         in use; POOLMGR_E_SHUTTING_DOWN.
 */
POOLMGR_API int poolmgr_lease_acquire(struct poolmgr *mgr, const char *pool_id,
                                      struct poolmgr_lease *ret, struct poolmgr_error *err);

enum poolmgr_release {
    POOLMGR_RELEASE_DONE = 0, /* the answer ended */
    POOLMGR_RELEASE_CLOSED =
        1, /* given up, and the engine's connection closed: the slot is free when it settled */
    POOLMGR_RELEASE_UNUSED = 2 /* never reached the engine */
};

/** Gives a slot back. A second time, or after its engine ended, it changes nothing. */
POOLMGR_API void poolmgr_lease_release(struct poolmgr *mgr, const struct poolmgr_lease *lease,
                                       enum poolmgr_release how);

/** Bytes moved on it: a sign of life, without which a busy engine is hung after `stall_timeout`. Cheap. */
POOLMGR_API void poolmgr_lease_touch(struct poolmgr *mgr, const struct poolmgr_lease *lease);

/** Where a lease's engine answers. */
struct poolmgr_endpoint {
    size_t size;
    const char *url;        /* "unix:/run/…/engine.sock" or "http://127.0.0.1:41234" */
    const char *api_key;    /* for Authorization: Bearer; "" none */
    const char *model_name; /* what the engine wants in `model`; "" whatever the client wrote */
    const char *pool_id;
    unsigned replica;
};

/** @return POOLMGR_OK; POOLMGR_E_NOT_FOUND when it is no lease any more. */
POOLMGR_API int poolmgr_lease_endpoint(struct poolmgr *mgr, const struct poolmgr_lease *lease,
                                       struct poolmgr_endpoint *ret, struct poolmgr_error *err);

/* ---- looking ------------------------------------------------------------------------------------------- */

struct poolmgr_pool {
    size_t size;
    const char *id;
    const char *owner;  /* "file" "api" "handoff" */
    const char *intent; /* "enabled" "draining" "disabled" */
    const char *state;  /* of its best replica: "cold" "staging" "waiting" "starting" "ready" … */
    int live, ready;
    const char *code;   /* why it is not ready, for programs; "" when it is */
    const char *reason; /* the same for people */
    uint64_t slots_total, slots_free, active_leases, queue_depth, n_replicas;
};

/** Grows with every change of what can be looked at. */
POOLMGR_API uint64_t poolmgr_snapshot_version(const struct poolmgr *mgr);
POOLMGR_API size_t poolmgr_n_pools(const struct poolmgr *mgr);

/** The i-th pool by id. @return POOLMGR_OK; POOLMGR_E_NOT_FOUND behind the last. */
POOLMGR_API int poolmgr_pool_at(struct poolmgr *mgr, size_t i, struct poolmgr_pool *ret);
/** @return POOLMGR_OK; POOLMGR_E_NOT_FOUND. */
POOLMGR_API int poolmgr_pool_find(struct poolmgr *mgr, const char *pool_id,
                                  struct poolmgr_pool *ret, struct poolmgr_error *err);

/* ---- commands ------------------------------------------------------------------------------------------ */

struct poolmgr_operation {
    size_t size;
    uint64_t id;
    const char *kind;  /* "start" "stop" "drain" "resume" "reload" */
    const char *state; /* "running" "succeeded" "failed" "cancelled" "interrupted" */
    const char *pool_id;
    const char *phase;          /* "starting" …; "" none */
    struct poolmgr_error error; /* code 0: none */
    int accepted;               /* what it changes for good is durable: it stands */
    int forced;                 /* requests were cut at its deadline */
    uint64_t n_leases_left;     /* how many ran then */
};

/** `deadline_ms` of a command: the pool's own drain_deadline. */
#define POOLMGR_DEADLINE_DEFAULT UINT64_MAX

/**
 * Starts the pool's engines, or joins a start under way. *ret_op (may be NULL) is the operation.
 *
 * @return POOLMGR_OK when it was accepted; POOLMGR_E_NOT_FOUND; POOLMGR_E_CONFLICT; POOLMGR_E_SHUTTING_DOWN.
 */
POOLMGR_API int poolmgr_start(struct poolmgr *mgr, const char *pool_id, uint64_t *ret_op,
                              struct poolmgr_error *err);

/** Unloads: leases end first, at the latest after deadline_ms (0: at once). Otherwise as poolmgr_start(). */
POOLMGR_API int poolmgr_stop(struct poolmgr *mgr, const char *pool_id, uint64_t deadline_ms,
                             uint64_t *ret_op, struct poolmgr_error *err);

struct poolmgr_drain_options {
    size_t size;
    uint64_t deadline_ms; /* or POOLMGR_DEADLINE_DEFAULT */
    int abort;            /* at the deadline the drain is given up, else what still runs is cut */
    int hold;             /* the engines stay loaded, else they are stopped */
};

/**
 * Takes a pool out of service, until poolmgr_resume(): what runs finishes, nobody gets a slot. It acts when it is
 * durable (`accepted` of its operation), and outlives the manager.
 *
 * @param options  NULL: the pool's drain_deadline, then cut, then stop.
 * @return POOLMGR_OK when it is under way; POOLMGR_E_NOT_FOUND; POOLMGR_E_CONFLICT; POOLMGR_E_SHUTTING_DOWN.
 */
POOLMGR_API int poolmgr_drain(struct poolmgr *mgr, const char *pool_id,
                              const struct poolmgr_drain_options *options, uint64_t *ret_op,
                              struct poolmgr_error *err);

/** Undoes a drain. Otherwise as poolmgr_drain(). */
POOLMGR_API int poolmgr_resume(struct poolmgr *mgr, const char *pool_id, uint64_t *ret_op,
                               struct poolmgr_error *err);

/**
 * Changes what a pool's engines run, with the way back: the new one is ready before the former one goes, where both
 * fit, and the former one stays, or comes back, if the new one fails.
 *
 * @param json  The whole pool as in the configuration, as JSON; NULL: the wanted specification again.
 * @param n     Its bytes.
 * @return POOLMGR_OK when it is under way; POOLMGR_E_INVALID_REQUEST and POOLMGR_E_CONFIG_INVALID for the JSON;
 *         POOLMGR_E_NOT_FOUND; POOLMGR_E_CONFLICT; POOLMGR_E_SHUTTING_DOWN.
 */
POOLMGR_API int poolmgr_reload(struct poolmgr *mgr, const char *pool_id, const char *json, size_t n,
                               uint64_t *ret_op, struct poolmgr_error *err);

/** Forgets the failures of a pool. @return POOLMGR_OK; POOLMGR_E_NOT_FOUND; POOLMGR_E_SHUTTING_DOWN. */
POOLMGR_API int poolmgr_reset(struct poolmgr *mgr, const char *pool_id, struct poolmgr_error *err);

/** @return POOLMGR_OK; POOLMGR_E_NOT_FOUND when it was never there, or ended long ago. */
POOLMGR_API int poolmgr_operation_find(struct poolmgr *mgr, uint64_t op,
                                       struct poolmgr_operation *ret, struct poolmgr_error *err);

/**
 * Registers an engine that somebody else started (docs/engines.md has the document). Its endpoint is asked first.
 *
 * @param json     The document; not kept.
 * @param n        Its bytes.
 * @param on_done  Called once by poolmgr_dispatch(), unless the manager is freed before: `error` NULL when the engine
 *                 is ready, else why nothing changed (POOLMGR_E_ENGINE_GONE when nobody answers). May be NULL.
 *
 * @return POOLMGR_OK when the document is good and its endpoint is asked; POOLMGR_E_INVALID_REQUEST with the member at
 *         fault in err->param; POOLMGR_E_TOO_LARGE.
 */
POOLMGR_API int poolmgr_register_ready_from_handoff(
    struct poolmgr *mgr, const char *json, size_t n,
    void (*on_done)(void *ctx, const struct poolmgr_error *error), void *ctx,
    struct poolmgr_error *err);

#ifdef __cplusplus
}
#endif

#endif
