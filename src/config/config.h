/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file of INTERFACES §3: YAML in, values out, every error with file:line:column. One table of
 * settings (settings.h) gives parsing, defaults, JSON Schema, docs and dump.
 */
#ifndef PM_CONFIG_CONFIG_H
#define PM_CONFIG_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "core/spec.h"
#include "util/buf.h"
#include "util/error.h"

#define PM_CONFIG_MAX_BYTES  (1024 * 1024)
#define PM_CONFIG_ERRORS_MAX 20
#define PM_CONFIG_POOLS_MAX  1000

enum pm_log_format { PM_LOG_AUTO, PM_LOG_PRETTY, PM_LOG_JSON };
enum pm_on_exit { PM_EXIT_STOP, PM_EXIT_LEAVE };

struct pm_config {
    char *path;   /* of the file; NULL: none */
    char *folder; /* where its relative paths start */
    struct pm_strv listen, data_listen;
    char *control_group;
    bool tls_in_front;
    struct pm_strv allowed_hosts, cors_origins;
    char *runtime_dir, *state_dir, *cache_dir, *log_dir, *handoff_dir;
    enum pm_on_exit on_exit;
    bool gpu_only;
    uint64_t max_parallel_starts;
    char *default_pool;
    bool core_dumps;
    struct {
        enum pm_level level;
        enum pm_log_format format;
    } log;
    struct {
        uint64_t max_bytes, n_files;
    } engine_log;
    struct {
        uint64_t body, body_memory, body_rate, connections, header;
    } limits;
    struct {
        uint64_t head_ms, body_idle_ms, connect_ms, first_byte_ms, stream_idle_ms, write_stall_ms,
            keep_alive_ms, commit_after_ms, loading_every_ms;
    } timeouts;
    struct {
        double budget;
        uint64_t minimum;
    } retry;
    struct {
        char *nvml;                      /* path of the library, or the name of the system's */
        struct pm_device_sizes declared; /* none: nobody knows what is there */
        struct pm_device_sizes reserve;
        uint64_t quarantine_ms;
    } devices;
    struct {
        uint64_t max_wait_ms, min_residency_ms;
    } evict;
    uint64_t orphan_timeout_ms;
    struct pm_engine_spec **engines; /* `llama` is always there */
    size_t n_engines;
    char *defaults;              /* `defaults` as JSON: they hold for pools of the API, too */
    struct pm_pool_spec **pools; /* in the order of the file */
    size_t n_pools;
    struct pm_strv
        no_effect_yet; /* keys that were set and whose part is not built: one warning at start */
    struct pm_strv warnings; /* sentences: settings that are allowed and unwise */
    struct pm_strv kept; /* keys that a reload cannot change: the file says something else by now */
    char *text;          /* the whole as JSON with defaults, secrets masked (GET /v1/config) */
};

struct pm_config_error {
    unsigned line, column; /* from 1; 0: no place in a file */
    int code;              /* of a mask, with the byte at fault in it; 0: config_invalid */
    uint32_t offset;
    char message
        [POOLMGR_MESSAGE_MAX]; /* "unknown key 'slotz' in pool 'tiny'; did you mean 'slots'?" */
};

struct pm_config_errors {
    struct pm_config_error items[PM_CONFIG_ERRORS_MAX];
    size_t n;
    size_t n_more;  /* found, but not kept */
    char file[512]; /* what the errors call it */
};

/* What the command line and the environment say; they come before the file. Zeros: nothing. */
struct pm_config_overrides {
    const char *path; /* --config; else POOLMGR_CONFIG, else the default place if a file is there */
    struct pm_strv models, listen; /* --model, --listen */
    const char *engine;            /* --engine: path of a llama-server for `llama` */
    const char *log_format;
    const char *listen_default; /* where neither file nor --listen says; NULL: the table's */
    /* A reload: settings that need a restart keep its values, and a file that is gone is an error. NULL: a start. */
    const struct pm_config *running;
};

/* Reads the file, applies the overrides, checks everything. POOLMGR_E_CONFIG_INVALID with errors filled (err has the
 * first as "file:line:column: message"); POOLMGR_E_NOT_FOUND, POOLMGR_E_TOO_LARGE for the file itself. */
int pm_config_load(const struct pm_config_overrides *overrides, struct pm_config **ret,
                   struct pm_config_errors *errors, struct poolmgr_error *err);

/* The same from memory; name is what errors call it, folder is where relative paths start. Reads no file. For tests,
 * fuzzing and `poolctl config check -`. */
int pm_config_parse(const char *text, size_t n, const char *name, const char *folder,
                    const struct pm_config_overrides *overrides, struct pm_config **ret,
                    struct pm_config_errors *errors, struct poolmgr_error *err);
void pm_config_free(struct pm_config *config);

struct pm_engine_spec *pm_config_engine(const struct pm_config *config, const char *name);

/* One pool that does not stand in the file (PUT): a JSON object in the file's words, below the file's `defaults`, with
 * its engines. One reference is the caller's. POOLMGR_E_CONFIG_INVALID with errors filled, where a mask is the first that
 * is wrong its POOLMGR_E_MASK_…; err names the member. */
int pm_config_pool(const struct pm_config *config, const char *id, const json_t *pool,
                   struct pm_pool_spec **ret, struct pm_config_errors *errors,
                   struct poolmgr_error *err);

/* A pool that was read from us and comes back: what is masked in it is what `former` has (NULL: nobody). */
int pm_config_unmask(json_t *pool, const struct pm_pool_spec *former, struct poolmgr_error *err);

/* Whether GPUs are declared, so that none is looked for; the CPU is none. */
bool pm_config_declares_gpus(const struct pm_config *config);
/* The declared devices as masks see them; the caller frees them. NULL: none is declared. */
struct pm_gpu *pm_config_gpus(const struct pm_config *config, size_t *ret_n);

/* For people (`config check`): what would be served, resolved. */
void pm_config_describe(const struct pm_config *config, struct pm_buf *out);
/* JSON Schema of the file, from the same table. */
void pm_config_schema(struct pm_buf *out);
/* docs/configuration.md, from the same table. */
void pm_config_docs(struct pm_buf *out);

#endif
