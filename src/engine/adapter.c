/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The families, one row each. A row is all that is known of an engine's habits; nothing else in the program asks
 * which family it has before it. The last words are ordered: the first row that any line matches wins, so that the
 * cause ("out of memory") comes before its consequence ("failed to load model").
 */
#include "engine/engine.h"

#include <string.h>

#include "engine/internal.h"
#include "util/cleanup.h"
#include "util/str.h"

static const struct pm_last_words llama_last_words[] = {
    {"invalid argument:", PM_CLASS_EXIT, POOLMGR_E_BAD_ARGUMENTS, true},
    {"error while handling argument", PM_CLASS_EXIT, POOLMGR_E_BAD_ARGUMENTS, true},
    {"error: unknown argument", PM_CLASS_EXIT, POOLMGR_E_BAD_ARGUMENTS, true},
    {"expected value for argument", PM_CLASS_EXIT, POOLMGR_E_BAD_ARGUMENTS, true},
    {"unknown model architecture", PM_CLASS_EXIT, POOLMGR_E_MODEL_UNSUPPORTED, true},
    {"but this software only supports up to version", PM_CLASS_EXIT, POOLMGR_E_MODEL_UNSUPPORTED,
     true},
    {"invalid magic characters", PM_CLASS_EXIT, POOLMGR_E_MODEL_CORRUPT, true},
    {"failed to read magic", PM_CLASS_EXIT, POOLMGR_E_MODEL_CORRUPT, true},
    {"model is corrupted or incomplete", PM_CLASS_EXIT, POOLMGR_E_MODEL_CORRUPT, true},
    {"failed to open gguf file", PM_CLASS_EXIT, POOLMGR_E_MODEL_MISSING, true},
    {"out of memory", PM_CLASS_OOM, 0, false},
    {"std::bad_alloc", PM_CLASS_OOM, 0, false},
    {"unable to allocate", PM_CLASS_OOM, 0, false},
    {"failed to allocate", PM_CLASS_OOM, 0, false},
    {"cudamalloc failed", PM_CLASS_OOM, 0, false},
    {"errorcode: erroroutofdevicememory", PM_CLASS_OOM, 0, false},
    {"nvrm: xid", PM_CLASS_DRIVER, 0, false},
    {"cuda error", PM_CLASS_DRIVER, 0, false},
    {"no backends are loaded", PM_CLASS_EXIT, POOLMGR_E_ENGINE_MISSING, true},
    {"couldn't bind", PM_CLASS_EXIT, 0, false},
    {"tensor '", PM_CLASS_EXIT, POOLMGR_E_MODEL_CORRUPT, false},
    {"error loading model", PM_CLASS_EXIT, 0, false},
    {"ggml_assert", PM_CLASS_SIGNAL, 0, false},
    {"failed to load model", PM_CLASS_EXIT, 0, false},
    {NULL, PM_CLASS_NONE, 0, false},
};

static const struct pm_last_words command_last_words[] = {
    {"out of memory", PM_CLASS_OOM, 0, false},
    {"cuda error", PM_CLASS_DRIVER, 0, false},
    {NULL, PM_CLASS_NONE, 0, false},
};

static const struct pm_family_row rows[] = {
    {
        .adapter =
            {
                .family = PM_FAMILY_LLAMA_CPP,
                .name = "llama.cpp",
                .habits = {.cancel = PM_CANCEL_STREAMS,
                           .second_sigterm = true,
                           .reports_busy = true,
                           .ours = true},
                .unix_socket = true,
                .ready_line = "listening on ",
                .health_path = "/health",
                .guards_with_key = true,
            },
        .last_words = llama_last_words,
        .version_path = "/props",
        .busy_path = "/slots",
    },
    {
        .adapter =
            {
                .family = PM_FAMILY_COMMAND,
                .name = "command",
                .habits = {.cancel = PM_CANCEL_NONE, .ours = true},
                .unix_socket = true,
                .health_path = "/health",
            },
        .last_words = command_last_words,
        .permanent_exit = 78, /* sysexits' EX_CONFIG */
    },
    {
        .adapter =
            {
                .family = PM_FAMILY_EXTERNAL,
                .name = "external",
                .habits = {.cancel = PM_CANCEL_NONE, .ours = false},
                .health_path = "/health",
                .sends_model_name = true,
            },
        .last_words = command_last_words,
    },
};

const struct pm_family_row *pm_family_row(enum pm_family family)
{
    size_t i;

    for (i = 0; i < PM_ARRAY_LEN(rows); i++)
        if (rows[i].adapter.family == family)
            return &rows[i];

    return NULL;
}

const struct pm_adapter *pm_adapter(enum pm_family family)
{
    const struct pm_family_row *row = pm_family_row(family);

    return row ? &row->adapter : NULL;
}

static void fill_external(const struct pm_engine_spec *engine, struct pm_pool_spec *pool)
{
    free(pool->external.endpoint);
    free(pool->external.model_name);
    pool->external.endpoint = pm_xstrdup(engine->url);
    pool->external.model_name = engine->model_name ? pm_xstrdup(engine->model_name) : NULL;
}

void pm_engine_fill_habits(const struct pm_engine_spec *engine, struct pm_pool_spec *pool)
{
    const struct pm_adapter *adapter = pm_adapter(engine->family);

    pool->habits = adapter ? adapter->habits : (struct pm_engine_habits){.ours = true};
    pool->habits.family = adapter ? adapter->name : NULL;
    if (engine->family == PM_FAMILY_COMMAND || engine->family == PM_FAMILY_EXTERNAL)
        pool->habits.cancel = engine->cancel;
    if (engine->family == PM_FAMILY_EXTERNAL)
        fill_external(engine, pool);
}

void pm_engine_fill_handed(struct pm_pool_spec *pool)
{
    size_t i;

    for (i = 0; i < PM_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].adapter.name, pool->engine) == 0)
            pool->habits.cancel = rows[i].adapter.habits.cancel;
}

const char *pm_engine_health_path(const struct pm_engine_spec *engine)
{
    const struct pm_adapter *adapter = pm_adapter(engine->family);

    if ((engine->family == PM_FAMILY_COMMAND || engine->family == PM_FAMILY_EXTERNAL) &&
        engine->ready && engine->ready[0] == '/')
        return engine->ready;

    return adapter ? adapter->health_path : "/health";
}
