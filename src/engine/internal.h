/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#ifndef PM_ENGINE_INTERNAL_H
#define PM_ENGINE_INTERNAL_H

#include "engine/engine.h"

/* What a family adds to the public row: how its command line is made, how its last words are judged. */
struct pm_family_row {
    struct pm_adapter adapter;
    const struct pm_last_words *last_words; /* ends with a row of NULL */
    const char *version_path;               /* where it tells version and slots; NULL: nowhere */
    const char *busy_path;                  /* where it tells its slots; NULL: nowhere */
    int permanent_exit; /* an exit code that means "do not try again"; 0: none */
};

/* A text in an engine's log that settles what went wrong. */
struct pm_last_words {
    const char *text; /* found anywhere in a line, case ignored */
    enum pm_class class;
    int code;
    bool permanent;
};

/* NULL: this family's part is not built yet. */
const struct pm_family_row *pm_family_row(enum pm_family family);

/* The path of its health route, by family or as a command's `ready` says. */
const char *pm_engine_health_path(const struct pm_engine_spec *engine);

/* The program that would be run; the caller's. POOLMGR_E_ENGINE_MISSING. */
int pm_engine_program(const struct pm_engine_spec *engine, char **environment, char **ret,
                      struct poolmgr_error *err);

/* More layers than any model has: llama.cpp takes the smaller of this and all of them (seen: 999 for a model of 6
 * layers is "offloaded 7/7 layers"). "all" says the same and is not known to builds before 2026. */
#define PM_ENGINE_ALL_LAYERS 999

enum pm_choice_of {
    PM_CHOICE_OPEN, /* nothing is said: it does as it does by itself */
    PM_CHOICE_CPU,
    PM_CHOICE_DEVICES
};

/* What a start says of devices. Zeros: nothing. */
struct pm_choice {
    enum pm_choice_of of;
    struct pm_pairs variables;
    struct pm_strv arguments; /* llama.cpp's */
};

void pm_choice_fini(struct pm_choice *choice);
void pm_choice_hide_all(struct pm_choice *choice);
/* plan NULL: by the pool, which is for the CPU or says nothing. traits NULL: nothing is known of the program.
 * POOLMGR_E_BAD_ARGUMENTS: devices by index and by UUID, or of several vendors. */
int pm_engine_choose(const struct pm_plan *plan, const struct pm_pool_spec *pool,
                     const struct pm_engine_traits *traits, struct pm_choice *ret,
                     struct poolmgr_error *err);

/* Whether llama.cpp is told by "NAME=…" where it computes. */
bool pm_engine_is_device_variable(const char *variable);

/* The daemon's environment less secrets, what is meant for the daemon alone and, unless nothing is said of devices,
 * what others said of them; then what is chosen. */
void pm_engine_inherit(const struct pm_choice *choice, char **environment, struct pm_strv *ret);
/* The same, then what names the instance, the engine's own key, and last the engine's and the pool's own variables. */
void pm_engine_environment(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                           const struct pm_choice *choice, const char *instance_name,
                           const char *api_key, char **environment, struct pm_strv *ret);
void pm_environment_set(struct pm_strv *env, const char *name, const char *value);

/* What a --help tells; for pm_engine_look() and its test. */
void pm_engine_read_help(const char *help, struct pm_engine_traits *ret);

/* "file:/x" and "/x" are "/x"; NULL: not a local file. */
const char *pm_model_path(const char *ref);

/* A GET to an engine: *to gets the head's bytes. */
size_t pm_engine_get_head(char *to, size_t size, const char *path, const char *api_key);

#endif
