/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine runs on the devices of its plan or not at all (MASK-1, LOAD-5), and llama-server does what its last word says.
 * `args` come last and `env` is a person's own, so both are read before a start on devices that were found: a word that would
 * put work elsewhere than planned is refused by name, not changed. What says what the plan says may stay: many write
 * `-ngl 99` by habit. What keeps a part of the model on the host may stay where `vram` says what is left for its devices.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "util/cleanup.h"

enum kind {
    CHOOSES, /* a device of its own */
    LAYERS,  /* how many layers are on devices, or which on which */
    HOST,    /* a part of the model stays off its devices */
    SILENCES /* the log that says where its layers are */
};

static const struct word {
    const char *arguments, *variables; /* of one meaning, with blanks around each */
    enum kind kind;
    const char *may_be; /* the value with which nothing differs */
} words[] = {
    {" -dev --device ", " LLAMA_ARG_DEVICE ", CHOOSES, NULL},
    {" -devd --device-draft --spec-draft-device ", " LLAMA_ARG_DEVICE_DRAFT ", CHOOSES, NULL},
    {" -mmdev --mmproj-device ", " MTMD_BACKEND_DEVICE ", CHOOSES, NULL},
    {" --rpc ", " LLAMA_ARG_RPC ", CHOOSES, NULL},
    {" -ngl --gpu-layers --n-gpu-layers ", " LLAMA_ARG_N_GPU_LAYERS ", LAYERS, "all"},
    {" -ngld --gpu-layers-draft --n-gpu-layers-draft --spec-draft-ngl ",
     " LLAMA_ARG_N_GPU_LAYERS_DRAFT ", LAYERS, "all"},
    {" -sm --split-mode ", " LLAMA_ARG_SPLIT_MODE ", LAYERS, NULL},
    {" -ts --tensor-split ", " LLAMA_ARG_TENSOR_SPLIT ", LAYERS, NULL},
    {" -mg --main-gpu ", " LLAMA_ARG_MAIN_GPU ", LAYERS, NULL},
    {" -fit --fit ", " LLAMA_ARG_FIT ", LAYERS, "off"},
    {" -ot --override-tensor ", " LLAMA_ARG_OVERRIDE_TENSOR ", HOST, NULL},
    {" -otd --override-tensor-draft --spec-draft-override-tensor ", "", HOST, NULL},
    {" -cmoe --cpu-moe ", " LLAMA_ARG_CPU_MOE ", HOST, NULL},
    {" -cmoed --cpu-moe-draft --spec-draft-cpu-moe ",
     " LLAMA_ARG_CPU_MOE_DRAFT LLAMA_ARG_SPEC_DRAFT_CPU_MOE ", HOST, NULL},
    {" -ncmoe --n-cpu-moe ", " LLAMA_ARG_N_CPU_MOE ", HOST, "0"},
    {" -ncmoed --n-cpu-moe-draft --spec-draft-n-cpu-moe --spec-draft-ncmoe ",
     " LLAMA_ARG_N_CPU_MOE_DRAFT LLAMA_ARG_SPEC_DRAFT_N_CPU_MOE ", HOST, "0"},
    {" -ncffn --n-cpu-ffn ", " LLAMA_ARG_N_CPU_FFN ", HOST, "0"},
    {" --moe-cache-mib ", " LLAMA_ARG_MOE_CACHE_MIB ", HOST, "0"},
    {" -nkvo --no-kv-offload ", " LLAMA_ARG_NO_KV_OFFLOAD LLAMA_ARG_KV_OFFLOAD ", HOST, NULL},
    {" --no-mmproj-offload ", " LLAMA_ARG_NO_MMPROJ_OFFLOAD LLAMA_ARG_MMPROJ_OFFLOAD ", HOST, NULL},
    {" --log-disable ", "", SILENCES, NULL},
    {" --log-jsonl ", " LLAMA_ARG_LOG_JSONL ", SILENCES, NULL},
    {" -lv --verbosity --log-verbosity ", " LLAMA_ARG_LOG_VERBOSITY ", SILENCES, "4"},
};

static bool holds(const char *list, const char *name, size_t n)
{
    pm_auto_free char *padded = pm_xasprintf(" %.*s ", (int)n, name);

    return strstr(list, padded) != NULL;
}

/* llama.cpp takes --n_gpu_layers, too. */
static const struct word *find_argument(const char *text)
{
    pm_auto_free char *name = pm_xstrdup(text);

    if (pm_str_starts(name, "--"))
        for (char *p = name; *p; p++)
            *p = *p == '_' ? '-' : *p;
    for (size_t i = 0; i < PM_ARRAY_LEN(words); i++)
        if (holds(words[i].arguments, name, strlen(name)))
            return &words[i];
    return NULL;
}

static const struct word *find_variable(const char *name, size_t n)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(words); i++)
        if (holds(words[i].variables, name, n))
            return &words[i];
    return NULL;
}

bool pm_engine_is_device_variable(const char *variable)
{
    return find_variable(variable, strcspn(variable, "=")) != NULL;
}

/* ---- against a plan ----------------------------------------------------------------------------------- */

static bool is_at_least(const char *value, long least)
{
    char *end;
    long n = strtol(value, &end, 10);

    return end != value && *end == '\0' && n >= least;
}

static bool is_all_layers(const char *value, const struct pm_plan *plan)
{
    return is_at_least(value, plan->n_layers > 0 ? (long)plan->n_layers : PM_ENGINE_ALL_LAYERS);
}

static bool agrees(const struct word *word, const char *value, const struct pm_pool_spec *pool,
                   const struct pm_plan *plan)
{
    if (plan->on_cpu && word->kind != CHOOSES)
        return true; /* it sees no device */
    if (word->kind == HOST && (pool->vram.each > 0 || pool->vram.devices.n > 0))
        return true;
    if (!value || !word->may_be)
        return plan->on_cpu && value && strcmp(value, "none") == 0;
    if (word->kind == SILENCES)
        return is_at_least(value, 4); /* at which new builds tell it */
    return strcmp(value, word->may_be) == 0 ||
           (strcmp(word->may_be, "all") == 0 && is_all_layers(value, plan));
}

static int refuse(const struct word *word, const char *name, const char *where,
                  struct poolmgr_error *err)
{
    static const char *const reasons[] = {
        [CHOOSES] = "would choose devices besides its plan",
        [LAYERS] = "would put layers elsewhere than planned",
        [HOST] = "keeps a part of the model on the host, which is not planned",
        [SILENCES] = "hides where its layers are",
    };
    static const char *const hints[] = {
        [CHOOSES] = "leave it out: 'devices' says which it may use",
        [LAYERS] = "leave it out: 'devices' and 'tensor_split' say where layers go",
        [HOST] = "leave it out, or say in 'vram' what is left for its device",
        [SILENCES] = "leave it out",
    };

    (void)pm_fail(err, POOLMGR_E_BAD_ARGUMENTS, "'%.64s' in its %s %s", name, where,
                  reasons[word->kind]);
    return pm_error_hint(err, POOLMGR_E_BAD_ARGUMENTS, "%s", hints[word->kind]);
}

static int check_arguments(const struct pm_strv *arguments, const struct pm_pool_spec *pool,
                           const struct pm_plan *plan, struct poolmgr_error *err)
{
    for (size_t i = 0; i < arguments->n; i++) {
        const struct word *word = find_argument(arguments->items[i]);
        const char *value = i + 1 < arguments->n ? arguments->items[i + 1] : NULL;

        if (word && !agrees(word, value, pool, plan))
            return refuse(word, arguments->items[i], "args", err);
    }
    return POOLMGR_OK;
}

static int check_variables(const struct pm_pairs *env, const struct pm_pool_spec *pool,
                           const struct pm_plan *plan, struct poolmgr_error *err)
{
    for (size_t i = 0; i < env->names.n; i++) {
        const char *name = env->names.items[i];
        const struct word *word = find_variable(name, strlen(name));

        if (word && !agrees(word, env->values.items[i], pool, plan))
            return refuse(word, name, "env", err);
    }
    return POOLMGR_OK;
}

int pm_engine_obeys(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                    const struct pm_plan *plan, struct poolmgr_error *err)
{
    int r;

    if (engine->family != PM_FAMILY_LLAMA_CPP)
        return POOLMGR_OK; /* whose words are not known */
    r = check_arguments(&engine->args, pool, plan, err);
    if (r == POOLMGR_OK)
        r = check_arguments(&pool->args, pool, plan, err);
    if (r == POOLMGR_OK)
        r = check_variables(&engine->env, pool, plan, err);
    if (r == POOLMGR_OK)
        r = check_variables(&pool->env, pool, plan, err);
    return r;
}
