/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool shall be: every key of INTERFACES §3 "pools", as values. Made by config/, read by everybody,
 * never changed once it is made; shared by counting references (loop thread only). */
#ifndef PM_CORE_SPEC_H
#define PM_CORE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/words.h"
#include "plan/estimate.h"
#include "plan/mask.h"
#include "util/str.h"

#define PM_ID_MAX    48  /* bytes of a pool's id */
#define PM_MASK_MAX  16  /* devices of one engine */
#define PM_ALIAS_MAX 256 /* bytes of an alias, and of a model name as clients send it */

struct pm_pairs { /* NAME=value, in the order of the file */
    struct pm_strv names, values;
};

struct pm_model_spec {
    char *main; /* the ref as written; a path is absolute by now. NULL: the engine needs none */
    char *mmproj, *draft; /* NULL: none */
    struct pm_strv lora;
    char *sha256; /* of main, lower-case hex; NULL: unknown */
};

enum pm_family {
    PM_FAMILY_LLAMA_CPP,
    PM_FAMILY_VLLM,
    PM_FAMILY_SGLANG,
    PM_FAMILY_TGI,
    PM_FAMILY_COMMAND,
    PM_FAMILY_EXTERNAL
};
enum pm_transport { PM_TRANSPORT_UNIX, PM_TRANSPORT_TCP };

/* An entry of `engines`: what is run, and how. Made by config/ and never changed after; kept by the pools that name
 * it, so that an instance knows what it was started with when the file says something else by now. */
struct pm_engine_spec {
    unsigned refs;
    char *name;
    enum pm_family family;
    char *mode; /* "external" "binary" "container"; as given or derived */
    char *path; /* absolute; NULL: looked up in PATH */
    char *url, *sha256, *image, *runtime, *model_name;
    struct pm_strv args, argv, stop;
    struct pm_pairs env;
    enum pm_transport transport;
    char *ready;           /* command: path of its health route */
    enum pm_cancel cancel; /* command */
};

/* What core must know of an engine's habits; filled from its adapter's table (ENGINE-2). */
struct pm_engine_habits {
    const char *family; /* "llama.cpp", for events; static; NULL: unknown */
    enum pm_cancel cancel;
    bool second_sigterm; /* a second SIGTERM half-way through stop_grace helps */
    bool reports_busy;   /* can tell how many slots are busy */
    bool ours;           /* false: external or handed over; never signalled, never started */
};

/* Where an engine that is not ours answers, and what is known of it (REG-4). */
struct pm_external_spec {
    char *endpoint;       /* "http://10.0.0.7:8000", "unix:/path"; NULL: the engine is ours */
    char *model_name;     /* what it calls its model; NULL: as the client does */
    char *engine_version; /* NULL: unknown */
    uint64_t pid;         /* on this machine; 0: unknown */
};

/* One size for each device, or sizes by device, as `{ 0: 24GiB }`. */
struct pm_device_sizes {
    uint64_t each; /* on those that are not named */
    struct pm_strv devices;
    uint64_t *bytes; /* one a name */
};

uint64_t pm_device_size(const struct pm_device_sizes *sizes, const char *device);
/* False: it is not named there. */
bool pm_device_size_named(const struct pm_device_sizes *sizes, const char *device, uint64_t *ret);
void pm_device_sizes_add(struct pm_device_sizes *sizes, const char *device, uint64_t bytes);
bool pm_device_sizes_equal(const struct pm_device_sizes *a, const struct pm_device_sizes *b);
void pm_device_sizes_copy(struct pm_device_sizes *to, const struct pm_device_sizes *from);
void pm_device_sizes_fini(struct pm_device_sizes *sizes);

struct pm_pool_spec {
    unsigned refs;
    char id[PM_ID_MAX + 1];
    struct pm_strv aliases;
    struct pm_model_spec model;
    char *engine; /* name of an entry of `engines` */
    struct pm_engine_spec
        *runs; /* that entry, a reference; NULL where nothing is run (core's tests) */
    struct pm_engine_habits habits;
    struct pm_external_spec external;
    char *devices;         /* "auto", "cpu", or a mask as written */
    struct pm_mask *where; /* the same, read; NULL for auto and cpu */
    struct pm_strv mask;   /* the declared devices it means; none for auto and cpu */
    char *tensor_split;    /* "none", "auto", or "[0.67,0.33]" */
    uint64_t n_replicas;
    uint64_t n_slots; /* requests at once in one replica */
    uint64_t context; /* tokens for one request; 0: as trained */
    struct pm_strv args;
    struct pm_pairs env;
    struct pm_device_sizes vram; /* 0: not declared; where some are named, for no other device */
    enum pm_start_mode start;
    uint64_t idle_ttl_ms; /* 0: never */
    bool pinned;
    uint64_t evict_cost;
    enum pm_restart_mode restart;
    uint64_t max_queue_wait_ms; /* 0: max_age */
    struct {
        uint64_t n_requests, bytes;
        enum pm_queue_policy policy;
        uint64_t max_age_ms;
    } queue;
    uint64_t drain_deadline_ms;
    uint64_t stop_grace_ms;
    uint64_t start_stall_ms;
    uint64_t start_max_ms;
    uint64_t abandon_after_ms;
    uint64_t stall_timeout_ms;
    struct {
        uint64_t every_ms, fall, rise, sick_restart_ms;
    } probe;
    struct {
        uint64_t base_ms, cap_ms;
        double jitter; /* 0..1 */
        uint64_t settle_ms, reset_ms, open_at;
    } backoff;
    uint64_t cancel_settle_ms;
    uint64_t abandon_max_ms;
    char *filters; /* JSON text as written; NULL: none */
    char *
        text; /* the whole as canonical JSON in the file's words (API's `spec`); never NULL from config */
    char *stored; /* the same with its secrets, for the next daemon alone; never shown */
};

/* What lies between two specs of a pool. */
enum pm_spec_change {
    PM_SPEC_SAME,
    PM_SPEC_LIMITS, /* nothing that an engine sees: applied in place */
    PM_SPEC_ENGINE, /* another engine, model, device or argument: a reload */
};

enum pm_spec_change pm_spec_compare(const struct pm_pool_spec *a, const struct pm_pool_spec *b);
/* A number for what an engine sees of it: the same for specs between which nothing of that has changed. */
uint64_t pm_spec_identity(const struct pm_pool_spec *spec);

struct pm_pool_spec *pm_pool_spec_new(
    const char *id); /* with the defaults of INTERFACES §3; refs = 1 */
/* What is asked of an estimate: the pool's context and slots, and what its engine's arguments and its own say of the cache. */
struct pm_estimate_ask pm_spec_ask(const struct pm_pool_spec *spec);

struct pm_pool_spec *pm_pool_spec_ref(struct pm_pool_spec *spec);
void pm_pool_spec_unref(struct pm_pool_spec *spec); /* NULL is fine */

struct pm_engine_spec *pm_engine_spec_new(const char *name); /* the rest zeros; refs = 1 */
struct pm_engine_spec *pm_engine_spec_ref(struct pm_engine_spec *engine);
void pm_engine_spec_unref(struct pm_engine_spec *engine); /* NULL is fine */
/* Nothing that is run sees a difference. NULL is equal to NULL only. */
bool pm_engine_spec_equal(const struct pm_engine_spec *a, const struct pm_engine_spec *b);

#endif
