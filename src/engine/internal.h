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

/* The environment of an engine: the daemon's less secrets and what is meant for the daemon alone, then what names
 * the instance, the engine's own key, and last the engine's and the pool's own variables. */
void pm_engine_environment(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                           const char *instance_name, const char *api_key, char **environment,
                           struct pm_strv *ret);

/* "file:/x" and "/x" are "/x"; NULL: not a local file. */
const char *pm_model_path(const char *ref);

/* A GET to an engine: *to gets the head's bytes. */
size_t pm_engine_get_head(char *to, size_t size, const char *path, const char *api_key);

#endif
