/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a spec asks of an estimate and a plan. What a user wrote in `args` comes last on the engine's command line and wins
 * there, also over what stands in `env`; so it does here, as far as it changes how much memory is taken. These are
 * llama.cpp's words: a family that reads GGUF files. A value that is not understood is the engine's to refuse.
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"

static void read_number(const char *text, uint64_t *ret)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (end != text && *end == '\0' && text[0] != '-' && n > 0)
        *ret = n;
}

static bool is_either(const char *text, const char *brief, const char *full)
{
    return strcmp(text, brief) == 0 || strcmp(text, full) == 0;
}

/* `total`: tokens of all slots, where the user gave them. */
static void read_pair(const char *name, const char *value, struct pm_estimate_ask *ask,
                      uint64_t *total)
{
    if (is_either(name, "-ctk", "--cache-type-k"))
        (void)pm_ggml_find_cache_type(value, &ask->cache_k);
    else if (is_either(name, "-ctv", "--cache-type-v"))
        (void)pm_ggml_find_cache_type(value, &ask->cache_v);
    else if (is_either(name, "-ub", "--ubatch-size"))
        read_number(value, &ask->ubatch);
    else if (is_either(name, "-np", "--parallel"))
        read_number(value, &ask->n_slots);
    else if (is_either(name, "-c", "--ctx-size"))
        read_number(value, total);
}

static void read_args(const struct pm_strv *args, struct pm_estimate_ask *ask, uint64_t *total)
{
    for (size_t i = 0; i < args->n; i++) {
        if (is_either(args->items[i], "-kvu", "--kv-unified"))
            ask->unified = true;
        else if (is_either(args->items[i], "-no-kvu", "--no-kv-unified"))
            ask->unified = false;
        else if (i + 1 < args->n)
            read_pair(args->items[i], args->items[i + 1], ask, total);
    }
}

static bool is_true(const char *text)
{
    return strcmp(text, "1") == 0 || strcmp(text, "true") == 0 || strcmp(text, "on") == 0 ||
           strcmp(text, "enabled") == 0;
}

/* llama.cpp takes from its environment what its command line does not say. */
static void read_env(const struct pm_pairs *env, struct pm_estimate_ask *ask, uint64_t *total)
{
    static const char *const pairs[][2] = {{"LLAMA_ARG_CACHE_TYPE_K", "-ctk"},
                                           {"LLAMA_ARG_CACHE_TYPE_V", "-ctv"},
                                           {"LLAMA_ARG_UBATCH", "-ub"}};

    for (size_t i = 0; i < env->names.n; i++) {
        const char *name = env->names.items[i], *value = env->values.items[i];

        for (size_t k = 0; k < PM_ARRAY_LEN(pairs); k++) {
            if (strcmp(name, pairs[k][0]) == 0)
                read_pair(pairs[k][1], value, ask, total);
        }
        if (strcmp(name, "LLAMA_ARG_KV_UNIFIED") == 0)
            ask->unified = is_true(value);
    }
}

struct pm_estimate_ask pm_spec_ask(const struct pm_pool_spec *spec)
{
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    uint64_t total = 0;

    ask.context = spec->context;
    ask.n_slots = spec->n_slots;
    if (spec->runs)
        read_env(&spec->runs->env, &ask, &total);
    read_env(&spec->env, &ask, &total);
    if (spec->runs)
        read_args(&spec->runs->args, &ask, &total);
    read_args(&spec->args, &ask, &total);
    if (total > 0)
        ask.context = ask.n_slots > 0 ? (total + ask.n_slots - 1) / ask.n_slots : total;
    return ask;
}

/* ---- how it is to lie on devices ------------------------------------------------------------------------ */

size_t pm_spec_ratios(const struct pm_pool_spec *spec, double *ret)
{
    const char *text = spec->tensor_split;
    size_t n = 0;
    char *end;

    if (*text != '[')
        return 0;
    while (*text != '\0' && *text != ']' && n < PM_SHARES_MAX) {
        ret[n++] = strtod(text + 1, &end);
        text = end + strspn(end, " ");
    }
    return n;
}

enum pm_split_mode pm_spec_split_mode(const struct pm_pool_spec *spec)
{
    if (spec->tensor_split[0] == '[')
        return PM_SPLIT_FIXED;
    return strcmp(spec->tensor_split, "auto") == 0 ? PM_SPLIT_AUTO : PM_SPLIT_NONE;
}

/* -lm is the newer word, with mmap as the mode that maps. */
static bool tells_to_keep(const struct pm_strv *args)
{
    for (size_t i = 0; i < args->n; i++) {
        const char *word = args->items[i];

        if (strcmp(word, "--no-mmap") == 0 || strcmp(word, "--mlock") == 0)
            return true;
        if (is_either(word, "-lm", "--load-mode") && i + 1 < args->n &&
            strcmp(args->items[i + 1], "mmap") != 0)
            return true;
    }
    return false;
}

bool pm_spec_maps(const struct pm_pool_spec *spec)
{
    return !tells_to_keep(&spec->args) && !(spec->runs && tells_to_keep(&spec->runs->args));
}

bool pm_spec_declares(const struct pm_pool_spec *spec)
{
    return spec->vram.each > 0 || spec->vram.devices.n > 0;
}
