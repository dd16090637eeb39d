/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool-probe as a child of ours. It asks the driver, since a driver may hang or crash and must not take us with it:
 * what is late is killed and begun again, and until it answers devices are PM_DEVICE_UNKNOWN. Loop thread only; no
 * function waits for the child but pm_probe_free(), and that a moment.
 *
 * It works inside of any program: no handler of SIGCHLD is needed or touched, only the own child is waited for, by its
 * pidfd, and if the program reaps it first that is no harm.
 *
 * Where there is no GPU hardware (and no library was named) no child lives; the hardware is looked for again once a
 * minute. Where the driver cannot be used the child ends, and another tries after 1, 2, 4 … 60 s.
 */
#ifndef PM_GPU_PROBE_H
#define PM_GPU_PROBE_H

#include "gpu/gpu.h"
#include "util/loop.h"

struct pm_probe;

#define PM_PROBE_IDLE_MS  5000 /* between two looks, when nothing is to happen */
#define PM_PROBE_HURRY_MS 200  /* while memory is to come back, or an engine loads */

struct pm_probe_options {
    const char *program; /* path of pool-probe */
    const char *nvml;    /* absolute path of the library; NULL or "": where the system has it */
    const char *root;    /* in front of /proc and /sys; NULL or "": nothing */
};

/* Called on the loop, never from inside a function below. What is handed in is valid during the call. */
struct pm_probe_handler {
    /* Something differs from the last time, or it is the first. Always all devices: those that were known and cannot
     * be seen now are in it as they were, with the state that tells why (UNKNOWN, MISMATCH, BLOCKED, LOST). States hold
     * what XIDs said, too, until a reset is seen (gpu/xid.h). What never told its name (pm_gpu_is_nameless()) is there to
     * be shown, and no device to plan for. */
    void (*on_snapshot)(void *ctx, const struct pm_gpu_snapshot *snapshot);
    /* A look has ended, with or without a difference: memory that was waited for is there, or is not. May be NULL. */
    void (*on_looked)(void *ctx);
    /* A snapshot with what it makes of the device follows, if it makes something of it. */
    void (*on_event)(void *ctx, const struct pm_gpu_event *event);
    /* The child hung, crashed or could not be run; a snapshot that says so follows. */
    void (*on_lost)(void *ctx, const char *text);
};

/* Texts are copied, `handler` is borrowed. Begins with the next turn of the loop. POOLMGR_E_CONFIG_INVALID: `nvml` is
 * no absolute path. */
int pm_probe_new(struct pm_loop *loop, const struct pm_probe_options *options,
                 const struct pm_probe_handler *handler, void *ctx, struct pm_probe **ret,
                 struct poolmgr_error *err);

/* How soon behind one look the next one comes: PM_PROBE_HURRY_MS, or PM_PROBE_IDLE_MS (at first). Cheap to repeat. */
void pm_probe_pace(struct pm_probe *probe, bool often);
/* The same, and looks now; if it looks already, once more behind that. Not from on_looked: it would never rest. */
void pm_probe_hurry(struct pm_probe *probe, bool often);

/* Lets go of the driver for `ms`, which resets and changes of MIG need; then begins anew, and forgets what XIDs said
 * before. 0: begins anew at once. */
void pm_probe_rest(struct pm_probe *probe, uint64_t ms);

/* The last snapshot handed out; NULL before the first. Valid until the loop goes on. */
const struct pm_gpu_snapshot *pm_probe_last(const struct pm_probe *probe);
/* When the look that showed it began, by the loop's clock: what happened since is not in it. */
uint64_t pm_probe_seen_ms(const struct pm_probe *probe);

/* One look without a loop or a daemon: runs `pool-probe --once` and waits for it, at most timeout_ms. What hinders it is
 * PM_NODE_UNRESPONSIVE and its text. The snapshot is the caller's. */
void pm_probe_once(const struct pm_probe_options *options, uint64_t timeout_ms,
                   struct pm_gpu_snapshot *ret);

/* Kills the child and waits for its end, at most a second: only one that hangs in the kernel stays behind. */
void pm_probe_free(struct pm_probe *probe);

#endif
