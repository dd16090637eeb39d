/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine sees around it. Inherited device selectors stay for `devices: auto`: somebody set them for what
 * runs here. For `cpu` they are replaced by ones that hide every GPU. Secrets and what systemd said to the daemon
 * are the daemon's own.
 */
#include <string.h>

#include "engine/internal.h"
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

/* Each hides the GPUs of one vendor when it is set to this. */
static const struct {
    const char *name, *nothing;
} selectors[] = {
    {"CUDA_VISIBLE_DEVICES", ""},    {"NVIDIA_VISIBLE_DEVICES", "void"},
    {"HIP_VISIBLE_DEVICES", "-1"},   {"ROCR_VISIBLE_DEVICES", "-1"},
    {"GPU_DEVICE_ORDINAL", "-1"},    {"ONEAPI_DEVICE_SELECTOR", "*:cpu"},
    {"GGML_VK_VISIBLE_DEVICES", ""},
};

static bool named(const char *variable, const char *name)
{
    size_t n = strlen(name);

    return strncmp(variable, name, n) == 0 && variable[n] == '=';
}

static bool is_kept_back(const char *variable, bool hide_gpus)
{
    size_t i;

    if (pm_str_starts(variable, "POOLMGR_"))
        return true;

    for (i = 0; i < PM_ARRAY_LEN(kept_back); i++)
        if (named(variable, kept_back[i]))
            return true;

    for (i = 0; hide_gpus && i < PM_ARRAY_LEN(selectors); i++)
        if (named(variable, selectors[i].name))
            return true;

    return false;
}

/* Sets, replacing what was there: a name must not stand twice in an environment. */
static void set(struct pm_strv *env, const char *name, const char *value)
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
        set(env, pairs->names.items[i], pairs->values.items[i]);
}

static bool wants_cpu(const struct pm_pool_spec *pool)
{
    return pool->devices &&
           (strcmp(pool->devices, "cpu") == 0 || strcmp(pool->devices, "none") == 0);
}

void pm_engine_environment(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                           const char *instance_name, const char *api_key, char **environment,
                           struct pm_strv *ret)
{
    bool hide_gpus = wants_cpu(pool);
    size_t i;

    for (; environment && *environment; environment++)
        if (!is_kept_back(*environment, hide_gpus))
            pm_strv_add(ret, *environment);

    for (i = 0; hide_gpus && i < PM_ARRAY_LEN(selectors); i++)
        set(ret, selectors[i].name, selectors[i].nothing);

    set(ret, "POOLMGR_INSTANCE", instance_name);
    set(ret, "POOLMGR_POOL", pool->id);
    if (engine->family == PM_FAMILY_LLAMA_CPP) {
        set(ret, "LLAMA_API_KEY", api_key);
        set(ret, "GGML_NO_BACKTRACE", "1"); /* a crash must not wait for a debugger */
    }

    set_all(ret, &engine->env);
    set_all(ret, &pool->env);
}
