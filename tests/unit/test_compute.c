/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compute buffer (VRAM-1): of models in their published shapes, against what llama.cpp 0.7.0 (build 11669) itself sets
 * aside for them; docs/estimates.md tells how that was asked. And what the formula makes of each kind of layer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan/estimate.h"
#include "plan_models.h"

#define MIB (UINT64_C(1) << 20)

static struct pm_estimate estimate_of(const struct pm_model *model,
                                      const struct pm_estimate_ask *ask)
{
    struct pm_estimate estimate = {0};
    struct poolmgr_error err = {0};

    if (pm_estimate_make(model, ask, &estimate, &err) < 0)
        fail_msg("%s", err.message);
    return estimate;
}

/* The engine's number, which it prints cut to whole MiB: never less, and not much more. */
static void assert_covers_within(uint64_t bytes, uint64_t engine_mib, unsigned percent)
{
    if (bytes < engine_mib * MIB || bytes > (engine_mib + 1) * MIB * (100 + percent) / 100)
        fail_msg("%.2f MiB for the engine's %u", (double)bytes / MIB, (unsigned)engine_mib);
}

static void assert_covers(uint64_t bytes, uint64_t engine_mib)
{
    assert_covers_within(bytes, engine_mib, 10);
}

static void test_it_covers_what_an_engine_takes_for_models_in_their_published_shapes(void **state)
{
    static const struct {
        const struct model_shape *shape;
        unsigned context, n_slots, ubatch;
        unsigned single, first; /* MiB, logits of one token a slot; 0: not asked */
        unsigned single_all;    /* logits of all */
    } rows[] = {
        {&shape_8b, 8192, 1, 512, 124, 244, 290},     {&shape_32b, 8192, 1, 512, 210, 354, 345},
        {&shape_70b, 8192, 1, 512, 240, 456, 322},    {&shape_4b, 8192, 1, 512, 85, 172, 324},
        {&shape_30b_a3b, 8192, 1, 512, 92, 168, 320}, {&shape_8b, 32768, 4, 1024, 0, 680, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pm_model *model = make_model(rows[i].shape);
        struct pm_estimate_ask ask = pm_estimate_ask_default();
        struct pm_estimate estimate;

        ask.context = rows[i].context;
        ask.ubatch = rows[i].ubatch;
        ask.n_slots = ask.n_outputs = rows[i].n_slots;
        estimate = estimate_of(model, &ask);
        if (rows[i].single > 0)
            assert_covers(estimate.compute_bytes, rows[i].single);
        assert_covers(estimate.compute_split_bytes + estimate.compute_first_bytes, rows[i].first);
        pm_estimate_fini(&estimate);

        ask.n_outputs = 0;
        estimate = estimate_of(model, &ask);
        if (rows[i].single_all > 0)
            assert_covers(estimate.compute_bytes, rows[i].single_all);
        pm_estimate_fini(&estimate);
        pm_model_unref(model);
    }
}

static void test_it_does_not_grow_with_slots_that_share_the_context(void **state)
{
    struct pm_model *model = make_model(&shape_8b);
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate one, four, unified;

    ask.context = 8192;
    ask.n_outputs = 1;
    one = estimate_of(model, &ask);
    ask.n_slots = 4;
    four = estimate_of(model, &ask);
    ask.unified = true;
    unified = estimate_of(model, &ask);
    assert_int_equal(four.compute_bytes, one.compute_bytes);
    assert_int_equal(unified.compute_bytes, one.compute_bytes + 3 * 2 * 512 * 8192);
    pm_estimate_fini(&one);
    pm_estimate_fini(&four);
    pm_estimate_fini(&unified);
    pm_model_unref(model);
}

static void test_a_context_smaller_than_a_step_makes_the_step_smaller(void **state)
{
    struct pm_model *model = make_model(&shape_8b);
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate small, same;

    ask.context = 256;
    small = estimate_of(model, &ask);
    ask.ubatch = 256;
    same = estimate_of(model, &ask);
    assert_int_equal(small.compute_bytes, same.compute_bytes);
    pm_estimate_fini(&small);
    pm_estimate_fini(&same);
    pm_model_unref(model);
}

static void begin(struct gguf_maker *maker, const char *architecture, unsigned n_embd)
{
    gguf_begin(maker, architecture);
    gguf_number(maker, "*.block_count", 1);
    gguf_number(maker, "*.context_length", 4096);
    gguf_number(maker, "*.embedding_length", n_embd);
    gguf_number(maker, "*.attention.head_count", 16);
}

static void assert_work(struct gguf_maker *maker, uint64_t work, uint64_t handed, uint64_t returned)
{
    struct pm_model *model = read_maker(maker);

    assert_int_equal(model->work_elements, work);
    assert_int_equal(model->handed_elements, handed);
    assert_int_equal(model->returned_elements, returned);
    pm_model_unref(model);
    gguf_maker_fini(maker);
    *maker = (struct gguf_maker){0};
}

static void test_each_kind_of_layer_has_its_moment_that_needs_most(void **state)
{
    auto_gguf maker = {0};

    /* Without a gate; with one; with one in the same matrix. */
    begin(&maker, "starcoder2", 1024);
    gguf_layer_tensor(&maker, 0, "ffn_up.weight", 1024, 4096, T_F16);
    gguf_layer_tensor(&maker, 0, "ffn_down.weight", 4096, 1024, T_F16);
    assert_work(&maker, 4096, 0, 0);
    begin(&maker, "llama", 1024);
    gguf_layer_tensor(&maker, 0, "ffn_gate.weight", 1024, 2816, T_F16);
    gguf_layer_tensor(&maker, 0, "ffn_up.weight", 1024, 2816, T_F16);
    gguf_layer_tensor(&maker, 0, "ffn_down.weight", 2816, 1024, T_F16);
    assert_work(&maker, 3 * 2816, 0, 0);
    begin(&maker, "phi3", 1024);
    gguf_layer_tensor(&maker, 0, "ffn_up.weight", 1024, 2 * 2816, T_F16);
    gguf_layer_tensor(&maker, 0, "ffn_down.weight", 2816, 1024, T_F16);
    assert_work(&maker, 3 * 2816, 0, 0);

    /* Attention wider than what follows. */
    begin(&maker, "llama", 1024);
    gguf_layer_tensor(&maker, 0, "attn_q.weight", 1024, 4096, T_F16);
    gguf_layer_tensor(&maker, 0, "attn_k.weight", 1024, 512, T_F16);
    gguf_layer_tensor(&maker, 0, "attn_v.weight", 1024, 256, T_F16);
    assert_work(&maker, 2 * 4096 + 512 + 256, 0, 0);

    /* MLA: DeepSeek-V3's. */
    begin(&maker, "deepseek2", 7168);
    gguf_number(&maker, "*.attention.kv_lora_rank", 512);
    gguf_number(&maker, "*.attention.key_length_mla", 192);
    gguf_number(&maker, "*.rope.dimension_count", 64);
    gguf_layer_tensor(&maker, 0, "attn_q_b.weight", 1536, 16 * 192, T_F16);
    assert_work(&maker, 16 * (192 + 64 + 512 + 576), 0, 0);

    /* Experts whose answers fit where gate and up were, and some whose do not. */
    begin(&maker, "qwen3moe", 2048);
    gguf_number(&maker, "*.expert_used_count", 4);
    gguf_experts(&maker, 0, "ffn_gate_exps.weight", 2048, 1024, 32, T_F16);
    gguf_experts(&maker, 0, "ffn_up_exps.weight", 2048, 1024, 32, T_F16);
    gguf_experts(&maker, 0, "ffn_down_exps.weight", 1024, 2048, 32, T_F16);
    assert_work(&maker, 4 * 3 * 1024, 0, 0);
    begin(&maker, "qwen3moe", 2048);
    gguf_number(&maker, "*.expert_used_count", 8);
    gguf_experts(&maker, 0, "ffn_gate_exps.weight", 2048, 768, 128, T_F16);
    gguf_experts(&maker, 0, "ffn_up_exps.weight", 2048, 768, 128, T_F16);
    gguf_experts(&maker, 0, "ffn_down_exps.weight", 768, 2048, 128, T_F16);
    assert_work(&maker, 8 * 3 * 768 + 8 * 2048, 0, 0);

    /* A recurrent layer. */
    begin(&maker, "mamba2", 1024);
    gguf_number(&maker, "*.ssm.conv_kernel", 4);
    gguf_number(&maker, "*.ssm.inner_size", 2048);
    gguf_number(&maker, "*.ssm.state_size", 128);
    gguf_number(&maker, "*.ssm.group_count", 1);
    gguf_layer_tensor(&maker, 0, "ssm_in.weight", 1024, 4384, T_F16);
    gguf_layer_tensor(&maker, 0, "ssm_conv1d.weight", 4, 2304, T_F32);
    assert_work(&maker, 4384 + 2 * 2304 + 2048, 4384, 2048);
}

/* What the engine takes for a small one: heads 8, embedding 256; in MiB, by one device, and by the second of two. */
static void test_without_flash_attention_the_product_of_q_and_k_is_there(void **state)
{
    static const struct {
        unsigned context, n_slots, ubatch;
        unsigned single;
        unsigned split; /* 0: not asked */
    } rows[] = {{4096, 2, 512, 75, 0},
                {8192, 1, 512, 147, 198},
                {16384, 1, 512, 291, 0},
                {8192, 1, 256, 73, 0}};
    auto_gguf maker = {0};
    struct poolmgr_error err = {0};
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate estimate;
    struct pm_model *model;

    (void)state;
    begin(&maker, "grok", 256);
    gguf_number(&maker, "*.attention.head_count", 8);
    gguf_number(&maker, "*.attention.head_count_kv", 4);
    gguf_number(&maker, "*.vocab_size", 512);
    gguf_layer_tensor(&maker, 0, "attn_q.weight", 256, 256, T_F16);
    model = read_maker(&maker);
    assert_int_equal(model->product_heads, 8);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ask.context = rows[i].context;
        ask.n_slots = ask.n_outputs = rows[i].n_slots;
        ask.ubatch = rows[i].ubatch;
        estimate = estimate_of(model, &ask);
        assert_covers(estimate.compute_bytes, rows[i].single);
        if (rows[i].split > 0)
            assert_covers(estimate.compute_split_bytes, rows[i].split);
        pm_estimate_fini(&estimate);
    }

    ask.cache_v = PM_CACHE_Q8_0;
    assert_int_equal(pm_estimate_make(model, &ask, &estimate, &err), POOLMGR_E_BAD_ARGUMENTS);
    assert_string_equal(
        err.message,
        "a V cache of type Q8_0 needs flash attention, and architecture 'grok' has none");
    pm_model_unref(model);
}

/* Small ones with inputs for each layer: what the engine takes in 4096 tokens of context, in MiB: on one device, and on the
 * second of three, which has the layers [from, to). */
static const struct gemma {
    const char *architecture;
    unsigned n_embd, n_layers, ff, n_heads, n_kv, head, per_layer;
    unsigned single, from, to, second;
} gemmas[] = {
    {"gemma3n", 256, 24, 512, 4, 1, 64, 256, 47, 9, 17, 61},
    {"gemma3n", 2048, 12, 8192, 8, 2, 256, 256, 95, 5, 9, 252},
    {"gemma3n", 512, 10, 2048, 8, 2, 64, 256, 31, 4, 8, 82},
    {"gemma3n", 1024, 8, 8192, 8, 2, 128, 256, 81, 3, 6, 162},
    {"gemma4", 512, 36, 1024, 8, 1, 64, 256, 63, 13, 25, 56},
    {"gemma4", 1536, 10, 6144, 8, 1, 256, 128, 55, 4, 8, 82},
};

static struct pm_model *make_gemma(struct gguf_maker *maker, const struct gemma *of)
{
    uint64_t n_embd = of->n_embd;

    begin(maker, of->architecture, of->n_embd);
    gguf_number(maker, "*.block_count", of->n_layers);
    gguf_number(maker, "*.attention.head_count", of->n_heads);
    gguf_number(maker, "*.attention.head_count_kv", of->n_kv);
    gguf_number(maker, "*.attention.key_length", of->head);
    gguf_number(maker, "*.attention.value_length", of->head);
    gguf_number(maker, "*.attention.sliding_window", 512);
    gguf_number(maker, "*.attention.sliding_window_pattern", 5);
    gguf_number(maker, "*.vocab_size", 32000);
    gguf_tensor(maker, "per_layer_model_proj.weight", n_embd,
                (uint64_t)of->n_layers * of->per_layer, T_F16);
    if (strcmp(of->architecture, "gemma3n") == 0)
        gguf_tensor3(maker, "altup_proj.weight", n_embd, n_embd, 3, T_F16);
    gguf_layer_tensor(maker, 0, "ffn_gate.weight", n_embd, of->ff, T_F16);
    gguf_layer_tensor(maker, 0, "ffn_up.weight", n_embd, of->ff, T_F16);
    gguf_layer_tensor(maker, 0, "ffn_down.weight", of->ff, n_embd, T_F16);
    return read_maker(maker);
}

static void test_streams_and_inputs_of_each_layer_are_kept_beside_the_work(void **state)
{
    struct pm_estimate_ask ask = pm_estimate_ask_default();

    (void)state;
    ask.context = 4096;
    ask.n_outputs = 1;
    for (size_t i = 0; i < sizeof(gemmas) / sizeof(gemmas[0]); i++) {
        auto_gguf maker = {0};
        struct pm_model *model = make_gemma(&maker, &gemmas[i]);
        struct pm_estimate estimate = estimate_of(model, &ask);
        uint64_t second = estimate.compute_split_bytes;

        for (size_t at = gemmas[i].from; at < gemmas[i].to; at++)
            second += estimate.split[at];
        assert_covers_within(estimate.compute_bytes, gemmas[i].single, 15);
        assert_covers(second, gemmas[i].second);
        pm_estimate_fini(&estimate);
        pm_model_unref(model);
    }
}

/* Of the third of these on two devices, with 5 layers and the output on the second; the engine: 104.6 and 108.1. */
static void test_streams_begin_on_the_last_device_and_inputs_on_the_first(void **state)
{
    auto_gguf maker = {0};
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate estimate;
    struct pm_model *model = make_gemma(&maker, &gemmas[2]);
    uint64_t half;

    (void)state;
    ask.context = 4096;
    ask.n_outputs = 1;
    estimate = estimate_of(model, &ask);
    half = estimate.compute_split_bytes + 5 * estimate.split[0];
    assert_covers_within(half + estimate.compute_first_bytes, 104, 18);
    assert_covers(half + estimate.compute_last_bytes, 108);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

static void test_a_cache_that_is_shared_is_handed_to_each_layer_that_reads_it(void **state)
{
    static const unsigned slides[] = {1, 0, 1, 0};
    auto_gguf maker = {0};
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate estimate;
    struct pm_model *model;

    (void)state;
    begin(&maker, "gemma4", 512);
    gguf_number(&maker, "*.block_count", 4);
    gguf_number(&maker, "*.attention.sliding_window", 512);
    gguf_numbers(&maker, "*.attention.sliding_window_pattern", 4, slides);
    gguf_number(&maker, "*.attention.shared_kv_layers", 2);
    gguf_tensor(&maker, "output.weight", 512, 512, T_F16);
    model = read_maker(&maker);
    ask.context = 8192;
    estimate = estimate_of(model, &ask);
    assert_true(estimate.kv[1] > estimate.kv[0] && estimate.kv[0] > 0);
    assert_int_equal(estimate.split[0], 0);
    assert_int_equal(estimate.split[1], 0);
    assert_int_equal(estimate.split[2], 4 * estimate.kv[0]);
    assert_int_equal(estimate.split[3], 4 * estimate.kv[1]);
    pm_estimate_fini(&estimate);

    ask.measured.compute_bytes = 1;
    estimate = estimate_of(model, &ask);
    assert_null(estimate.split);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

static void test_widths_and_counts_of_strangers_do_not_overflow(void **state)
{
    auto_gguf maker = {0}, streams = {0};
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate estimate;
    struct poolmgr_error err = {0};
    struct pm_model *model;

    begin(&maker, "qwen3moe", 0x7fffffff);
    gguf_number(&maker, "*.expert_used_count", 0x7fffffff);
    gguf_experts(&maker, 0, "ffn_gate_exps.weight", 32, UINT64_C(1) << 40, 1, T_F16);
    gguf_experts(&maker, 0, "ffn_up_exps.weight", 32, UINT64_C(1) << 41, 1, T_F16);
    model = read_maker(&maker);
    assert_true(model->work_elements <= UINT64_C(4) << 40);
    ask.context = PM_ESTIMATE_TOKENS_MAX;
    ask.ubatch = PM_ESTIMATE_TOKENS_MAX;
    assert_int_equal(pm_estimate_make(model, &ask, &estimate, &err), POOLMGR_E_BAD_ARGUMENTS);
    assert_non_null(strstr(err.message, "overflow"));
    pm_model_unref(model);

    begin(&streams, "gemma3n", 0x7fffffff);
    gguf_tensor(&streams, "per_layer_model_proj.weight", 32, UINT64_C(1) << 40, T_F16);
    model = read_maker(&streams);
    assert_int_equal(pm_estimate_make(model, &ask, &estimate, &err), POOLMGR_E_BAD_ARGUMENTS);
    assert_non_null(strstr(err.message, "overflow"));
    pm_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_covers_what_an_engine_takes_for_models_in_their_published_shapes),
        cmocka_unit_test(test_it_does_not_grow_with_slots_that_share_the_context),
        cmocka_unit_test(test_a_context_smaller_than_a_step_makes_the_step_smaller),
        cmocka_unit_test(test_each_kind_of_layer_has_its_moment_that_needs_most),
        cmocka_unit_test(test_without_flash_attention_the_product_of_q_and_k_is_there),
        cmocka_unit_test(test_streams_and_inputs_of_each_layer_are_kept_beside_the_work),
        cmocka_unit_test(test_streams_begin_on_the_last_device_and_inputs_on_the_first),
        cmocka_unit_test(test_a_cache_that_is_shared_is_handed_to_each_layer_that_reads_it),
        cmocka_unit_test(test_widths_and_counts_of_strangers_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
