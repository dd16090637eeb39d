/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine families as tables (ENGINE-2): arguments, environment, readiness, ready line, slots, cancel, stop habits,
 * permanent failures, version. Adding a family is adding a table; tests/integration/conformance runs them all.
 */
#ifndef PM_ENGINE_ENGINE_H
#define PM_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "core/core.h"
#include "http/client.h"
#include "plan/model.h"
#include "proc/process.h"
#include "util/loop.h"

struct pm_adapter {
    enum pm_family family;
    const char *name; /* "llama.cpp" */
    struct pm_engine_habits habits;
    bool unix_socket;        /* can listen on one */
    const char *ready_line;  /* NULL none */
    const char *health_path; /* "/health" */
    bool sends_model_name;   /* insists on its own name in `model` */
    bool guards_with_key;    /* understands the random API key of POOLMGR */
};

const struct pm_adapter *pm_adapter(
    enum pm_family family); /* NULL: this family's part is not built yet */

/* The spec's habits by its engine's adapter (and `cancel` of a command); of an external one where it is, too. */
void pm_engine_fill_habits(const struct pm_engine_spec *engine, struct pm_pool_spec *pool);

/* The habits of an engine that was handed over, by the name its handoff gives it. */
void pm_engine_fill_handed(struct pm_pool_spec *pool);

/* What one start needs. Everything is owned by it. */
struct pm_engine_command {
    struct pm_strv argv, env; /* env: the whole environment, selectors and secrets taken out */
    char endpoint[128];
    char api_key[33]; /* "" none */
};
void pm_engine_command_fini(struct pm_engine_command *command);

/* What a program of llama.cpp can, as far as its builds differ. Zeros: it is old, or unknown. */
struct pm_engine_traits {
    bool fit;         /* it moves layers by itself unless `-fit off` says no */
    bool trace;       /* it tells its buffers at `-lv 4` only */
    bool few_outputs; /* it keeps room for the logits of one token a slot, not of a whole step */
};

#define PM_ENGINE_LOOK_MS 3000 /* a program of many libraries, from a cold disk, needs one */

/* Which file would be run, with what changes when another takes its place: path, device, inode, size, time. The
 * caller's; NULL: there is none. */
char *pm_engine_signature(const struct pm_engine_spec *engine, char **environment);
/* Asks the program for its --help. It blocks for timeout_ms at most, whatever the program does: for the helper thread,
 * once a signature. False: it did not answer whole and in time (nothing of it is left), and *ret is zeros. */
bool pm_engine_look(const struct pm_engine_spec *engine, char **environment, uint64_t timeout_ms,
                    struct pm_engine_traits *ret);

/* Looks the program up and makes the command line. folder: the instance's. plan: its devices, and nothing else of what
 * the daemon inherited about devices; NULL: nothing is known of them here, and the engine does as it does by itself.
 * traits: NULL is unknown. POOLMGR_E_ENGINE_MISSING (path and what was looked for), POOLMGR_E_PATH_TOO_LONG,
 * POOLMGR_E_UNSUPPORTED (family not built), POOLMGR_E_INTERNAL (no port), POOLMGR_E_BAD_ARGUMENTS (devices that
 * no engine can be given together). */
int pm_engine_command(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                      unsigned replica, const char *folder, const char *instance_name,
                      const struct pm_plan *plan, const struct pm_engine_traits *traits,
                      char **environment, struct pm_engine_command *ret, struct poolmgr_error *err);

/* For a plan of devices that were found: whether `args` and `env` of the engine and of the pool leave its work where the plan
 * has it. POOLMGR_E_BAD_ARGUMENTS names the word that does not. */
int pm_engine_obeys(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                    const struct pm_plan *plan, struct poolmgr_error *err);

/* The model's files: there, regular, readable, with a header that is whole (GGUF: magic, version, counts and the
 * last tensor inside the file), of the main one all shards. Blocking but bounded (64 KiB … 16 MiB a file read); run it on
 * the helper thread. *ret_model: what an estimate needs of the main one, with one reference; NULL where its files are not read
 * here. *ret_size: bytes of all files.
 * POOLMGR_E_MODEL_MISSING, POOLMGR_E_MODEL_CORRUPT, POOLMGR_E_MODEL_UNSUPPORTED. */
int pm_engine_check_model(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                          struct pm_model **ret_model, uint64_t *ret_size,
                          struct poolmgr_error *err);
/* The same of one GGUF, or of all its shards, alone: `ref` is a path, or "file:" and one; a relative one starts at the current
 * folder. *ret: a reference. */
int pm_engine_read_model(const char *ref, struct pm_model **ret, struct poolmgr_error *err);
/* The i-th file of a model whose first one is `path`: "x-00001-of-00003.gguf" has three. False behind the last. */
bool pm_engine_shard(const char *path, unsigned i, char *to, size_t size);

/* Judges how an engine ended by its code, signal and last lines (SUP-1, SUP-6): class, permanent, code, the line. */
void pm_engine_judge(const struct pm_engine_spec *engine, const struct pm_process_exit *how,
                     bool was_ready, struct pm_exit *ret);

/* Waits for readiness (HEALTH-4): every 1 ms while nothing listens, 5 ms once it says "not yet" (25 ms after a
 * minute), at once on pm_engine_wait_hurry(). on_ready is the last call; cancel needs none. */
struct pm_engine_wait;
struct pm_engine_wait *pm_engine_wait_new(struct pm_loop *loop, struct pm_http_client *client,
                                          const struct pm_engine_spec *engine, const char *endpoint,
                                          const char *api_key,
                                          void (*on_ready)(void *ctx, const struct pm_ready *ready),
                                          void *ctx);
void pm_engine_wait_hurry(struct pm_engine_wait *wait);
void pm_engine_wait_free(struct pm_engine_wait *wait);

enum pm_probed { PM_PROBED_MISSED, PM_PROBED_GOOD, PM_PROBED_REFUSED /* nobody listens */ };

/* One probe, or one look at its slots: answered once, within timeout_ms, never from inside this call. */
struct pm_engine_ask;
struct pm_engine_ask *pm_engine_probe(struct pm_http_client *client,
                                      const struct pm_engine_spec *engine, const char *endpoint,
                                      uint64_t timeout_ms,
                                      void (*fn)(void *ctx, enum pm_probed how), void *ctx);
struct pm_engine_ask *pm_engine_busy(struct pm_http_client *client,
                                     const struct pm_engine_spec *engine, const char *endpoint,
                                     const char *api_key, uint64_t timeout_ms,
                                     void (*fn)(void *ctx, bool known, uint64_t n_busy), void *ctx);
void pm_engine_ask_free(struct pm_engine_ask *ask); /* no answer any more */

#endif
