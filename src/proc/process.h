/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engines as processes (SUP-9a, 9b): launching a shim by double fork and adopting it. The instance's folder (0700:
 * lock, shim.sock, spec.json, exit.json, engine.sock, log) is the only truth about what runs. Fresh start and
 * adoption are one code path. Loop thread only; never blocks.
 */
#ifndef PM_PROC_PROCESS_H
#define PM_PROC_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"
#include "util/loop.h"
#include "util/str.h"

struct pm_process;

/* What a shim is told to run; written to spec.json. All texts are copied. */
struct pm_launch {
    const char *instances_dir; /* RUN/instances */
    const char *shim_path;
    const char *pool_id;
    unsigned replica;
    uint64_t instance;
    const char *const *argv; /* NULL-terminated; argv[0] is an absolute path */
    const char *const *env;  /* NULL-terminated "NAME=value": the whole environment */
    const char *log_path;    /* LOG/<pool>.<replica>.log */
    uint64_t log_max_bytes, log_files;
    uint64_t orphan_timeout_ms;
    const char *ready_line; /* a log line that contains this is told at once; NULL: none */
    bool core_dumps;        /* false: RLIMIT_CORE 0 */
    const char *
        meta; /* JSON object kept as it is for the adopter (endpoint, key, engine …); may be NULL */
};

struct pm_process_exit {
    bool signalled;
    int status; /* exit code or signal; -1 unknown: the shim was killed before it could tell */
    bool sigkill_by_us; /* a SIGKILL was asked for through us */
    bool oom_kill;      /* its cgroup counted an oom kill */
    char *log_tail;     /* the last lines of the log (at most 20, 8 KiB); never NULL in callbacks */
};

/* Called on the loop, never from inside a function below. */
struct pm_process_handler {
    void (*on_spawned)(void *ctx, pid_t pid); /* exec succeeded */
    void (*on_spawn_failed)(
        void *ctx, bool missing,
        const char *text); /* nothing runs; the process ends with on_childless */
    void (*on_ready_line)(void *ctx);
    void (*on_log)(void *ctx, uint64_t n_bytes); /* it wrote something; at most every 100 ms */
    void (*on_exited)(void *ctx, const struct pm_process_exit *how); /* the engine's main process */
    void (*on_childless)(void *ctx); /* no descendant is left and the lock is free; last call */
};

/* Makes the folder, launches the shim, adopts it. Failures of the launch itself are told by on_spawn_failed, so a
 * negative result is only POOLMGR_E_PATH_TOO_LONG, POOLMGR_E_ALREADY_EXISTS (folder is there) or POOLMGR_E_INTERNAL. */
int pm_process_launch(struct pm_loop *loop, const struct pm_launch *launch,
                      const struct pm_process_handler *handler, void *ctx, struct pm_process **ret,
                      struct poolmgr_error *err);

/* What was found in one instance folder. */
struct pm_found_instance {
    char pool_id[49];
    uint64_t instance;
    unsigned replica;
    bool locked;         /* a shim holds it */
    pid_t shim_pid, pid; /* 0 unknown */
    uint64_t started_ms; /* monotonic; 0 unknown */
    char *meta;          /* as given to launch; NULL when spec.json cannot be read */
    bool has_exit;
    struct pm_process_exit exit; /* from exit.json */
};

/* Looks through RUN/instances, in order of name. fn gets a value valid during the call. Strays of dead shims (by
 * POOLMGR_INSTANCE in their environment, and below this RUN) are killed here; each is told by `stray`. */
int pm_process_scan(const char *instances_dir,
                    void (*fn)(void *ctx, const struct pm_found_instance *found),
                    void (*stray)(void *ctx, const char *instance, pid_t pid), void *ctx,
                    struct poolmgr_error *err);

/* Takes over a running shim: on_spawned comes first, and on_ready_line again if it was seen already. */
int pm_process_adopt(struct pm_loop *loop, const char *instances_dir, const char *pool_id,
                     uint64_t instance, const struct pm_process_handler *handler, void *ctx,
                     struct pm_process **ret, struct poolmgr_error *err);

void pm_process_signal(struct pm_process *process,
                       int signo); /* to the engine's process group, through the shim */
void pm_process_kill(
    struct pm_process *process); /* SIGKILL to the whole tree; repeat is harmless */

/* Lets go without touching the engine (leave, tests): the shim waits orphan_timeout for the next daemon. */
void pm_process_release(struct pm_process *process);

/* Removes the folder of an instance that is childless. */
void pm_process_forget(const char *instances_dir, const char *pool_id, uint64_t instance);

/* Bytes of RSS, or 0; CPU time in ms of the engine's tree, or 0. */
uint64_t pm_process_rss_bytes(const struct pm_process *process);
uint64_t pm_process_cpu_ms(const struct pm_process *process);

/* True when the listening socket (TCP port of 127.0.0.1) is held by a process of the instance's tree (ENGINE-3). */
bool pm_process_owns_port(const struct pm_process *process, unsigned port, bool *ret_known);

#endif
