/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine sees around it. What was inherited to choose devices is dropped where a plan chooses them; where
 * there is none somebody set it for what runs here, and it stays. Secrets and what systemd said to the daemon are the
 * daemon's own.
 */
#include <string.h>

#include "engine/internal.h"
#include "plan/selector.h"
#include "util/cleanup.h"

static const char *const kept_back[] = {
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "SYSTEMD_EXEC_PID",
    "FDSTORE",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "LLAMA_API_KEY",
};

/* What else llama.cpp takes from there that changes how much memory a plan needs. */
static const char *const memory_arguments[] = {
    "LLAMA_ARG_FIT_TARGET",    "LLAMA_ARG_FIT_CTX",
    "LLAMA_ARG_CACHE_TYPE_K",  "LLAMA_ARG_CACHE_TYPE_V",
    "LLAMA_ARG_UBATCH",        "LLAMA_ARG_KV_UNIFIED",
    "LLAMA_ARG_NO_KV_UNIFIED", "LLAMA_ARG_KV_UNIFIED_PER_SLOT",
};

static bool named(const char *variable, const char *name)
{
    size_t n = strlen(name);

    return strncmp(variable, name, n) == 0 && variable[n] == '=';
}

static bool any_named(const char *variable, const char *const *names, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (named(variable, names[i]))
            return true;

    return false;
}

static bool chooses_devices(const char *variable)
{
    size_t i;

    for (i = 0; i < pm_n_selectors; i++)
        if (named(variable, pm_selectors[i].name))
            return true;

    return pm_engine_is_device_variable(variable) ||
           any_named(variable, memory_arguments, PM_ARRAY_LEN(memory_arguments));
}

static bool is_kept_back(const char *variable, bool keep_choice)
{
    return pm_str_starts(variable, "POOLMGR_") ||
           any_named(variable, kept_back, PM_ARRAY_LEN(kept_back)) ||
           (!keep_choice && chooses_devices(variable));
}

/* Sets, replacing what was there: a name must not stand twice in an environment. */
void pm_environment_set(struct pm_strv *env, const char *name, const char *value)
{
    pm_auto_free char *text = pm_xasprintf("%s=%s", name, value);
    size_t i;

    for (i = 0; i < env->n; i++) {
        if (named(env->items[i], name)) {
            free(env->items[i]);
            env->items[i] = pm_take(text);
            return;
        }
    }

    pm_strv_add(env, text);
}

static void set_all(struct pm_strv *env, const struct pm_pairs *pairs)
{
    size_t i;

    for (i = 0; i < pairs->names.n; i++)
        pm_environment_set(env, pairs->names.items[i], pairs->values.items[i]);
}

void pm_engine_inherit(const struct pm_choice *choice, char **environment, struct pm_strv *ret)
{
    size_t i;

    for (; environment && *environment; environment++)
        if (!is_kept_back(*environment, choice->of == PM_CHOICE_OPEN))
            pm_strv_add(ret, *environment);

    for (i = 0; i < choice->variables.names.n; i++)
        pm_environment_set(ret, choice->variables.names.items[i],
                           choice->variables.values.items[i]);
}

void pm_engine_environment(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                           const struct pm_choice *choice, const char *instance_name,
                           const char *api_key, char **environment, struct pm_strv *ret)
{
    pm_engine_inherit(choice, environment, ret);
    pm_environment_set(ret, "POOLMGR_INSTANCE", instance_name);
    pm_environment_set(ret, "POOLMGR_POOL", pool->id);
    if (engine->family == PM_FAMILY_LLAMA_CPP) {
        pm_environment_set(ret, "LLAMA_API_KEY", api_key);
        pm_environment_set(ret, "GGML_NO_BACKTRACE",
                           "1"); /* a crash must not wait for a debugger */
    }

    set_all(ret, &engine->env);
    set_all(ret, &pool->env);
}
