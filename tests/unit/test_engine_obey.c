/* SPDX-License-Identifier: Apache-2.0 */
/* What a person writes in `args` and `env` cannot take an engine off the devices of its plan (MASK-1, LOAD-5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/internal.h"
#include "util/cleanup.h"

static const struct pm_plan gpu = {.n_layers = 33, .n_devices = 1, .devices = {{.id = "GPU-0"}}},
                            uncounted = {.n_devices = 1, .devices = {{.id = "GPU-0"}}},
                            cpu = {.on_cpu = true};

/* In `args`, of the engine and of the pool alike. */
static int obeys(const struct pm_plan *plan, const char *name, const char *value, bool has_vram,
                 struct poolmgr_error *err)
{
    int r = 0;

    for (int of_pool = 0; of_pool < 2; of_pool++) {
        struct pm_engine_spec engine = {.family = PM_FAMILY_LLAMA_CPP};
        struct pm_pool_spec *pool = pm_pool_spec_new("tiny");
        struct pm_strv *args = of_pool ? &pool->args : &engine.args;
        int found;

        pool->vram.each = has_vram;
        pm_strv_add(args, "--flash-attn");
        pm_strv_add(args, name);
        if (value)
            pm_strv_add(args, value);
        found = pm_engine_obeys(&engine, pool, plan, err);
        assert_true(!of_pool || found == r);
        r = found;
        pm_strv_fini(&engine.args);
        pm_pool_spec_unref(pool);
    }
    return r;
}

static void test_each_word_that_leads_off_the_plan_is_refused_by_name(void **state)
{
    static const struct {
        const char *name, *value;
        bool on_cpu, with_vram; /* it may stand there */
    } words[] = {
        {"-dev", "CUDA1", false, false},
        {"--device", "none", true, false},
        {"-devd", "CUDA1", false, false},
        {"--spec-draft-device", "none", true, false},
        {"-mmdev", "CUDA1", false, false},
        {"--rpc", "10.0.0.7:50052", false, false},
        {"-ngl", "0", true, false},
        {"-ngl", "32", true, false},
        {"-ngl", "-1", true, false},
        {"-ngl", "auto", true, false},
        {"-ngl", "33x", true, false},
        {"-ngl", NULL, true, false},
        {"--gpu-layers", "5", true, false},
        {"--n_gpu_layers", "5", true, false},
        {"-ngld", "0", true, false},
        {"-sm", "row", true, false},
        {"--split-mode", "layer", true, false},
        {"-ts", "1,0", true, false},
        {"--tensor_split", "1,0", true, false},
        {"-mg", "1", true, false},
        {"-fit", "on", true, false},
        {"-ot", "exps=CPU", true, true},
        {"--override-tensor", ".=CPU", true, true},
        {"-otd", ".=CPU", true, true},
        {"-cmoe", NULL, true, true},
        {"--cpu-moe", NULL, true, true},
        {"-ncmoe", "10", true, true},
        {"--n-cpu-moe", "10", true, true},
        {"-ncffn", "3", true, true},
        {"--moe-cache-mib", "100", true, true},
        {"-nkvo", NULL, true, true},
        {"--no-kv-offload", NULL, true, true},
        {"--no-mmproj-offload", NULL, true, true},
        {"--log-disable", NULL, true, false},
        {"--log-jsonl", NULL, true, false},
        {"-lv", "0", true, false},
        {"--log-verbosity", "3", true, false},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(words); i++) {
        const char *name = words[i].name, *value = words[i].value;
        struct poolmgr_error err = {0};

        assert_int_equal(obeys(&gpu, name, value, false, &err), POOLMGR_E_BAD_ARGUMENTS);
        assert_non_null(strstr(err.message, name));
        assert_true(err.hint[0] != '\0' && strlen(err.hint) < sizeof((struct pm_failure *)0)->hint);
        assert_int_equal(obeys(&gpu, name, value, true, NULL) == 0, words[i].with_vram);
        assert_int_equal(obeys(&cpu, name, value, false, NULL) == 0, words[i].on_cpu);
    }
}

static void test_what_says_the_same_as_the_plan_may_stay(void **state)
{
    static const char *const words[][2] = {
        {"-ngl", "33"},   {"-ngl", "99"},  {"-ngl", "999"}, {"--n-gpu-layers", "all"},
        {"-fit", "off"},  {"-ncmoe", "0"}, {"-c", "4096"},  {"-kvu", NULL},
        {"-ctk", "q8_0"}, {"-b", "512"},   {"-lv", "4"},    {"--verbosity", "5"},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(words); i++)
        assert_int_equal(obeys(&gpu, words[i][0], words[i][1], false, NULL), 0);
    assert_int_equal(obeys(&uncounted, "-ngl", "999", false, NULL), 0);
    assert_int_equal(obeys(&uncounted, "-ngl", "99", false, NULL), POOLMGR_E_BAD_ARGUMENTS);
}

/* The variables of llama.cpp's arguments: dropped where they are inherited, refused where somebody wrote them. */
static void test_each_variable_that_leads_off_the_plan_is_refused_and_not_inherited(void **state)
{
    static const char *const names[] = {
        "LLAMA_ARG_DEVICE",       "LLAMA_ARG_RPC",          "LLAMA_ARG_N_GPU_LAYERS",
        "LLAMA_ARG_SPLIT_MODE",   "LLAMA_ARG_TENSOR_SPLIT", "LLAMA_ARG_MAIN_GPU",
        "LLAMA_ARG_FIT",          "LLAMA_ARG_KV_OFFLOAD",   "LLAMA_ARG_NO_KV_OFFLOAD",
        "LLAMA_ARG_CPU_MOE",      "LLAMA_ARG_N_CPU_MOE",    "LLAMA_ARG_OVERRIDE_TENSOR",
        "LLAMA_ARG_N_CPU_FFN",    "MTMD_BACKEND_DEVICE",    "LLAMA_ARG_N_GPU_LAYERS_DRAFT",
        "LLAMA_ARG_DEVICE_DRAFT", "LLAMA_ARG_LOG_JSONL",    "LLAMA_ARG_MMPROJ_OFFLOAD",
    };
    struct pm_choice choice = {.of = PM_CHOICE_DEVICES};

    for (size_t i = 0; i < PM_ARRAY_LEN(names); i++) {
        pm_auto_free char *text = pm_xasprintf("%s=1", names[i]);
        char *inherited[] = {text, NULL};
        struct pm_engine_spec engine = {.family = PM_FAMILY_LLAMA_CPP};
        struct pm_pool_spec *pool = pm_pool_spec_new("tiny");
        struct poolmgr_error err = {0};
        struct pm_strv env = {0};

        pm_engine_inherit(&choice, inherited, &env);
        assert_int_equal(env.n, 0);
        pm_strv_fini(&env);
        pm_strv_add(&pool->env.names, names[i]);
        pm_strv_add(&pool->env.values, "1");
        assert_int_equal(pm_engine_obeys(&engine, pool, &gpu, &err), POOLMGR_E_BAD_ARGUMENTS);
        assert_non_null(strstr(err.message, names[i]));
        pm_pool_spec_unref(pool);
    }
    assert_false(pm_engine_is_device_variable("LLAMA_ARG_THREADS=1"));
    assert_false(pm_engine_is_device_variable("LLAMA_ARG_DEVICES=1"));
    assert_false(pm_engine_is_device_variable("=1"));
    assert_false(pm_engine_is_device_variable(""));
}

static void test_the_words_of_other_families_are_their_own(void **state)
{
    struct pm_engine_spec engine = {.family = PM_FAMILY_COMMAND};
    struct pm_pool_spec *pool = pm_pool_spec_new("tiny");

    pm_strv_add(&pool->args, "--device");
    assert_int_equal(pm_engine_obeys(&engine, pool, &gpu, NULL), 0);
    pm_pool_spec_unref(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_word_that_leads_off_the_plan_is_refused_by_name),
        cmocka_unit_test(test_what_says_the_same_as_the_plan_may_stay),
        cmocka_unit_test(test_each_variable_that_leads_off_the_plan_is_refused_and_not_inherited),
        cmocka_unit_test(test_the_words_of_other_families_are_their_own),
    };

    return cmocka_run_group_tests_name("engine: obedience", tests, NULL, NULL);
}
