/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell around core: descriptors into inputs, actions into system calls, no opinions. Loop thread only.
 * Inputs given while actions are executed are taken at once; their actions come after the running ones.
 */
#ifndef PM_MANAGER_MANAGER_H
#define PM_MANAGER_MANAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/config.h"
#include "core/core.h"
#include "engine/engine.h"
#include "gpu/gpu.h"
#include "http/client.h"
#include "manager/sink.h"
#include "plan/model.h"
#include "util/loop.h"

struct pm_manager;

struct pm_manager_options {
    const struct pm_config *config; /* borrowed for the manager's life; in force until a reload */
    struct pm_config_overrides overrides; /* how it is read again; what it points to is borrowed */
    const char *shim_path;                /* of pool-shim */
    const char *probe_path;               /* of pool-probe; NULL: devices are not looked for */
    void (*on_stopped)(void *ctx);        /* shutdown or leave is complete */
    /* Another configuration is in force: what the host keeps of it is to be set anew. May be NULL. */
    void (*on_config)(void *ctx, const struct pm_config *config);
    void *ctx;
};

/* Locks the runtime folder (POOLMGR_E_CONFLICT names the holder's pid), makes folders, adds the pools, adopts what
 * runs. Preloads start with pm_manager_begin(). */
int pm_manager_new(struct pm_loop *loop, const struct pm_manager_options *options,
                   struct pm_sink *sink, struct pm_manager **ret, struct poolmgr_error *err);
void pm_manager_begin(struct pm_manager *manager);
void pm_manager_free(struct pm_manager *manager);

/* To look only: pm_core_pool(), pm_core_operation_at() …; inputs go through the functions below. */
const struct pm_core *pm_manager_core(const struct pm_manager *manager);
struct pm_http_client *pm_manager_client(struct pm_manager *manager);
struct pm_sink *pm_manager_sink(struct pm_manager *manager);
/* The one in force: valid until the loop goes on. */
const struct pm_config *pm_manager_config(const struct pm_manager *manager);
uint64_t pm_manager_now(const struct pm_manager *manager);
struct pm_loop *pm_manager_loop(struct pm_manager *manager);

/* ---- requests: the gateway's ticket --------------------------------------------------------------- */

struct pm_grant {
    struct pm_lease lease;
    const struct pm_pool_spec *spec; /* borrowed: take a reference to keep it */
    char endpoint[128];
    char api_key[33];
    char engine_version[64];
    uint64_t queue_position, waited_ms;
    bool waited;
};

struct pm_refused {
    const struct poolmgr_error *error;
    const char *pool_id;                /* "": an unknown route */
    uint64_t queue_position, waited_ms; /* when it waited */
    bool waited;
    uint64_t predicted_ms; /* by the queue: how long it had to wait; 0: nobody knows */
};

/* Embedded by whoever waits. Exactly one of granted and refused is called, perhaps before pm_manager_request()
 * returns; `cut` may follow granted once: the lease is over, the stream must end as broken. */
struct pm_ticket {
    uint64_t id; /* the manager's */
    void (*granted)(struct pm_ticket *ticket, const struct pm_grant *grant);
    void (*refused)(struct pm_ticket *ticket, const struct pm_refused *how);
    void (*cut)(struct pm_ticket *ticket, const struct poolmgr_error *error);
};

/* request->id is given by the manager. The ticket must live until refused, pm_manager_leave_queue() or
 * pm_manager_release(). */
void pm_manager_request(struct pm_manager *manager, struct pm_ticket *ticket,
                        struct pm_request *request);
void pm_manager_leave_queue(struct pm_manager *manager, struct pm_ticket *ticket);
/* After this the ticket is its owner's again. */
void pm_manager_release(struct pm_manager *manager, struct pm_ticket *ticket, enum pm_release how);
void pm_manager_abandon(struct pm_manager *manager, struct pm_ticket *ticket);
void pm_manager_keep_alive(struct pm_manager *manager, struct pm_ticket *ticket,
                           uint64_t keep_alive_ms);
/* How fast it was answered, before its release: see pm_core_perf(). */
void pm_manager_perf(struct pm_manager *manager, struct pm_ticket *ticket, uint64_t first_token_ms,
                     uint64_t n_tokens, uint64_t decode_ms);
/* Bytes moved on a lease: a sign of life, and proof that an engine answers. Cheap. */
void pm_manager_touch(struct pm_manager *manager, struct pm_ticket *ticket);

/* ---- commands -------------------------------------------------------------------------------------- */

int pm_manager_start(struct pm_manager *manager, const char *pool_id, uint64_t *ret_op,
                     struct poolmgr_error *err);
int pm_manager_stop(struct pm_manager *manager, const char *pool_id, bool has_deadline,
                    uint64_t deadline_ms, uint64_t *ret_op,
                    struct poolmgr_error *err); /* default: the pool's drain_deadline */
int pm_manager_drain(struct pm_manager *manager, const char *pool_id, const struct pm_drain *drain,
                     uint64_t *ret_op, struct poolmgr_error *err);
int pm_manager_resume(struct pm_manager *manager, const char *pool_id, uint64_t *ret_op,
                      struct poolmgr_error *err);
int pm_manager_reload(struct pm_manager *manager, const char *pool_id,
                      const struct pm_reload *reload, uint64_t *ret_op, struct poolmgr_error *err);
int pm_manager_put_pool(struct pm_manager *manager, struct pm_pool_spec *spec, uint64_t *ret_op,
                        struct poolmgr_error *err);
int pm_manager_remove_pool(struct pm_manager *manager, const char *pool_id, bool has_drain,
                           uint64_t drain_ms, uint64_t *ret_op, struct poolmgr_error *err);
int pm_manager_reset(struct pm_manager *manager, const char *pool_id, enum pm_breaker breaker,
                     struct poolmgr_error *err);
/* Ends a quarantine, or trusts a suspect device: POOLMGR_E_NOT_FOUND, POOLMGR_E_CONFLICT. */
int pm_manager_clear_device(struct pm_manager *manager, const char *id, struct poolmgr_error *err);
/* What was last seen of the machine's GPUs, until the loop goes on; NULL: nothing, or they are declared. */
const struct pm_gpu_snapshot *pm_manager_gpus(const struct pm_manager *manager);
bool pm_manager_discovers(const struct pm_manager *manager); /* devices are found, not declared */
/* The pool whose engine a process belongs to, borrowed until the loop goes on; NULL: none of ours. */
const char *pm_manager_process_pool(const struct pm_manager *manager, pid_t pid);
int pm_manager_cancel_operation(struct pm_manager *manager, uint64_t op, uint64_t *ret_op,
                                struct poolmgr_error *err);

/* Calls fn once when the operation has come so far, or has ended (soon if it has already); NULL when there is none
 * such. Accepted: what the command changes for good is durable; ended without having been accepted: refused. */
enum pm_op_until { PM_UNTIL_ACCEPTED, PM_UNTIL_ENDED };
struct pm_op_watch;
struct pm_op_watch *pm_manager_watch_operation(struct pm_manager *manager, uint64_t op,
                                               enum pm_op_until until,
                                               void (*fn)(void *ctx, const struct pm_operation *op),
                                               void *ctx);
void pm_op_watch_free(struct pm_op_watch *watch);

/* Registers somebody else's engine (REG-4): its endpoint is asked first. fn is called once, never from inside this call:
 * NULL when it is registered, else why not. POOLMGR_E_ENGINE_GONE: nobody answers there, and nothing changed (`keep`:
 * it is registered all the same, and ready when it answers); else what pm_core_handoff() says. Freed before: fn is not
 * called, and nothing is registered. */
struct pm_handing;
struct pm_handing *pm_manager_handoff(struct pm_manager *manager, struct pm_pool_spec *spec,
                                      unsigned replica, bool keep,
                                      void (*fn)(void *ctx, const struct poolmgr_error *error),
                                      void *ctx);
/* That shows how it goes, before fn and after; 0 with `keep`. */
uint64_t pm_handing_operation(const struct pm_handing *handing);
void pm_handing_free(struct pm_handing *handing); /* also after fn */

/* ---- questions ------------------------------------------------------------------------------------- */

/* What is known of an engine's program; zeros: it is old, or nobody has asked it yet. */
struct pm_engine_traits pm_manager_traits(const struct pm_manager *manager,
                                          const struct pm_engine_spec *engine);

/* Reads the files of a pool's model on the helper thread. fn is called once, never from inside this call, and the reading is
 * over then: the model is borrowed, or NULL and `error` says why; size_bytes is that of all files, projector and draft, too. */
struct pm_reading;
typedef void pm_reading_fn(void *ctx, struct pm_model *model, uint64_t size_bytes,
                           const struct poolmgr_error *error);
struct pm_reading *pm_manager_read_model(struct pm_manager *manager, struct pm_pool_spec *spec,
                                         pm_reading_fn *fn, void *ctx);
void pm_reading_cancel(struct pm_reading *reading); /* fn is not called any more */

void pm_manager_shutdown(struct pm_manager *manager, bool at_once);
void pm_manager_leave(struct pm_manager *manager);

/* ---- configuration (RELOAD-2) ----------------------------------------------------------------------- */

struct pm_config_answer {
    const struct poolmgr_error *error; /* NULL: it is in force; else nothing has changed */
    /* All that is wrong in the file, with POOLMGR_E_CONFIG_INVALID and POOLMGR_E_PATH_TOO_LONG; else none. */
    const struct pm_config_errors *errors;
    uint64_t op; /* that carries it out, when it is in force */
};

/* Reads the file again, as it is from now on, and puts all of it in force or nothing. fn is called once, never from
 * inside this call; NULL: nobody wants to know, and there is no watch. */
struct pm_config_watch;
struct pm_config_watch *pm_manager_reload_config(struct pm_manager *manager,
                                                 void (*fn)(void *ctx,
                                                            const struct pm_config_answer *answer),
                                                 void *ctx);
void pm_config_watch_free(struct pm_config_watch *watch); /* also after fn */

/* ---- is this machine fit (PRE-1) -------------------------------------------------------------------- */

/* Looks at the machine with the configuration in force; mode is one of enum pm_mode, PM_MODE_COUNT: those of its
 * engines. fn is called once, never from inside this call, with verdicts that are valid during the call. Freed before:
 * fn is not called. */
struct pm_preflight;
struct pm_preflight_run;
struct pm_preflight_run *pm_manager_preflight(struct pm_manager *manager, unsigned mode,
                                              void (*fn)(void *ctx,
                                                         const struct pm_preflight *preflight),
                                              void *ctx);
void pm_preflight_run_free(struct pm_preflight_run *run); /* also after fn; NULL is fine */

/* LOG/<pool>.<replica>.log */
void pm_manager_log_path(const struct pm_manager *manager, const char *pool_id, unsigned replica,
                         char *to, size_t size);

#endif
