/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate (VRAM-1): the numbers of DEVICES §7, each rule, and what cannot be. */
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

static struct pm_estimate_ask ask_for(uint64_t context)
{
    struct pm_estimate_ask ask = pm_estimate_ask_default();

    ask.context = context;
    return ask;
}

static uint64_t kv_of(const struct pm_model *model, const struct pm_estimate_ask *ask)
{
    struct pm_estimate estimate = estimate_of(model, ask);
    uint64_t bytes = estimate.kv_bytes;

    pm_estimate_fini(&estimate);
    return bytes;
}

/* ---- the table of the page ---------------------------------------------------------------------------- */

static void assert_weights(const struct model_shape *shape, uint64_t host, uint64_t layers,
                           uint64_t output)
{
    struct pm_model *model = make_model(shape);
    struct pm_estimate_ask ask = ask_for(8192);
    struct pm_estimate estimate = estimate_of(model, &ask);

    assert_int_equal(estimate.n_items, shape->n_layers + 1);
    assert_int_equal(estimate.host_bytes, host);
    assert_int_equal(estimate.weights[shape->n_layers], output);
    assert_int_equal(estimate.weights_bytes, layers + output);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

static void test_weights_lie_where_the_page_says_to_the_byte(void **state)
{
    assert_weights(&shape_8b, 295501824, 4186439680, 430956800);
    assert_weights(&shape_32b, 437944320, 18768723968, 638689280);
    assert_weights(&shape_70b, 591003648, 41059614720, 861913344);
    assert_weights(&shape_30b_a3b, 175030272, 18120425472, 255260672);
    assert_weights(&shape_4b, 319065600, 2172248064, 319075840);
}

static void test_large_and_small_layers_have_the_bytes_of_the_page(void **state)
{
    static const struct {
        const struct model_shape *shape;
        uint64_t large, small;
    } rows[] = {{&shape_8b, 138936320, 122716160},
                {&shape_32b, 312184832, 274337792},
                {&shape_70b, 544079872, 482410496}};

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_model *model = make_model(rows[i].shape);
        size_t n = model->n_layers;

        assert_int_equal(model->layers[0].weights_bytes, rows[i].large);
        assert_int_equal(model->layers[n / 8].weights_bytes, rows[i].small);
        assert_int_equal(model->layers[n / 8 + 2].weights_bytes, rows[i].large);
        assert_int_equal(model->layers[n - 1].weights_bytes, rows[i].large);
        pm_model_unref(model);
    }
}

static void test_kv_caches_have_the_bytes_of_the_page(void **state)
{
    struct pm_model *m8b = make_model(&shape_8b), *m70b = make_model(&shape_70b);
    struct pm_model *a3b = make_model(&shape_30b_a3b), *m4b = make_model(&shape_4b);
    struct pm_estimate_ask ask = ask_for(8192);
    struct pm_estimate estimate;

    assert_int_equal(kv_of(m8b, &ask), 1024 * MIB);
    assert_int_equal(kv_of(m70b, &ask), 2560 * MIB);
    estimate = estimate_of(a3b, &ask);
    assert_int_equal(estimate.kv_per_token, 96 * 1024);
    pm_estimate_fini(&estimate);

    ask = ask_for(32768);
    assert_int_equal(kv_of(m4b, &ask), 4608 * MIB);
    ask.cache_k = ask.cache_v = PM_CACHE_Q8_0;
    assert_int_equal(kv_of(m4b, &ask), 2448 * MIB);
    ask.cache_k = ask.cache_v = PM_CACHE_Q4_0;
    assert_int_equal(kv_of(m4b, &ask), 1296 * MIB);
    pm_model_unref(m8b);
    pm_model_unref(m70b);
    pm_model_unref(a3b);
    pm_model_unref(m4b);
}

/* ---- architectures ------------------------------------------------------------------------------------ */

struct numbers {
    const char *key;
    unsigned value;
};

static struct pm_model *make_plain(struct gguf_maker *maker, const char *architecture,
                                   const struct numbers *numbers)
{
    gguf_begin(maker, architecture);
    for (; numbers->key; numbers++)
        gguf_number(maker, numbers->key, numbers->value);
    gguf_tensor(maker, "token_embd.weight", 64, 100, T_F16);
    return read_maker(maker);
}

static const struct numbers gpt_oss[] = {{"*.block_count", 24},
                                         {"*.context_length", 131072},
                                         {"*.embedding_length", 2880},
                                         {"*.attention.head_count", 64},
                                         {"*.attention.head_count_kv", 8},
                                         {"*.attention.key_length", 64},
                                         {"*.attention.value_length", 64},
                                         {"*.attention.sliding_window", 128},
                                         {NULL, 0}};
static const struct numbers gemma_27b[] = {{"*.block_count", 62},
                                           {"*.context_length", 131072},
                                           {"*.embedding_length", 5376},
                                           {"*.attention.head_count", 32},
                                           {"*.attention.head_count_kv", 16},
                                           {"*.attention.key_length", 128},
                                           {"*.attention.value_length", 128},
                                           {"*.attention.sliding_window", 1024},
                                           {NULL, 0}};
static const struct numbers deepseek_v3[] = {{"*.block_count", 61},
                                             {"*.context_length", 163840},
                                             {"*.embedding_length", 7168},
                                             {"*.attention.head_count", 128},
                                             {"*.attention.head_count_kv", 1},
                                             {"*.attention.key_length", 576},
                                             {"*.attention.value_length", 512},
                                             {"*.attention.key_length_mla", 192},
                                             {"*.attention.value_length_mla", 128},
                                             {"*.attention.kv_lora_rank", 512},
                                             {"*.rope.dimension_count", 64},
                                             {NULL, 0}};

/* Bytes of the layers that slide, and of those that do not. */
static void sum_kinds(const struct pm_model *model, const struct pm_estimate_ask *ask,
                      uint64_t *ret_sliding, uint64_t *ret_whole)
{
    struct pm_estimate estimate = estimate_of(model, ask);

    *ret_sliding = *ret_whole = 0;
    for (size_t i = 0; i < model->n_layers; i++)
        *(model->layers[i].sliding ? ret_sliding : ret_whole) += estimate.kv[i];
    pm_estimate_fini(&estimate);
}

static void assert_kinds(const char *architecture, const struct numbers *numbers, uint64_t context,
                         uint64_t whole, uint64_t sliding)
{
    auto_gguf maker = {0};
    struct pm_model *model = make_plain(&maker, architecture, numbers);
    struct pm_estimate_ask ask = ask_for(context);
    uint64_t is_sliding, is_whole;

    sum_kinds(model, &ask, &is_sliding, &is_whole);
    assert_int_equal(is_whole, whole);
    assert_int_equal(is_sliding, sliding);
    pm_model_unref(model);
}

static void test_sliding_layers_keep_a_window_and_a_step(void **state)
{
    assert_kinds("gpt-oss", gpt_oss, 131072, 3072 * MIB, 18 * MIB);
    assert_kinds("gemma3", gemma_27b, 8192, 640 * MIB, 624 * MIB);
}

static void test_mla_keeps_one_compressed_row(void **state)
{
    assert_kinds("deepseek2", deepseek_v3, 8192, 575668224, 0);
}

static void assert_pattern(struct gguf_maker *maker, const char *pattern)
{
    struct pm_model *model = read_maker(maker);
    char is[128] = "";

    for (size_t i = 0; i < model->n_layers; i++) {
        const struct pm_model_layer *layer = &model->layers[i];

        is[i] = (char)(layer->sliding              ? 's'
                       : layer->k_elements > 0     ? layer->state_elements > 0 ? 'b' : 'k'
                       : layer->state_elements > 0 ? 'r'
                                                   : '-');
    }
    assert_string_equal(is, pattern);
    pm_model_unref(model);
}

static void put_small(struct gguf_maker *maker, const char *architecture, unsigned n_layers)
{
    gguf_begin(maker, architecture);
    gguf_number(maker, "*.block_count", n_layers);
    gguf_number(maker, "*.context_length", 4096);
    gguf_number(maker, "*.embedding_length", 512);
    gguf_number(maker, "*.attention.head_count", 8);
    gguf_tensor(maker, "token_embd.weight", 512, 100, T_F16);
}

static void put_states(struct gguf_maker *maker)
{
    gguf_number(maker, "*.ssm.conv_kernel", 4);
    gguf_number(maker, "*.ssm.inner_size", 1024);
    gguf_number(maker, "*.ssm.state_size", 16);
    gguf_number(maker, "*.ssm.group_count", 2);
}

static void test_which_layers_slide_is_by_architecture_or_by_the_file(void **state)
{
    static const struct {
        const char *architecture;
        unsigned n_layers, window, period;
        const char *pattern;
    } rows[] = {
        {"gemma2", 6, 4096, 0, "sksksk"},
        {"gemma2", 4, 0, 0, "kkkk"},
        {"gemma3", 8, 512, 0,
         "sssssks"
         "s"},
        {"gemma3", 6, 512, 3, "sskssk"},
        {"cohere2", 8, 512, 0, "sssksssk"},
        {"cohere2moe", 8, 512, 0, "ksssksss"},
        {"llama4", 8, 8192, 0, "sssksssk"},
        {"phi3", 4, 2047, 0, "kkkk"},
        {"exaone4", 4, 4096, 0, "kkkk"},
        {"smallthinker", 8, 99, 0, "ksssksss"},
        {"llama", 4, 4096, 0, "kkkk"},
        {"llama", 4, 4096, 2, "sksk"},
        {"gpt-oss", 4, 128, 1, "kkkk"},
        {"plamo3", 9, 64, 0,
         "sssssssk"
         "s"},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        auto_gguf maker = {0};

        put_small(&maker, rows[i].architecture, rows[i].n_layers);
        gguf_number(&maker, "*.attention.sliding_window", rows[i].window);
        if (rows[i].period > 0)
            gguf_number(&maker, "*.attention.sliding_window_pattern", rows[i].period);
        assert_pattern(&maker, rows[i].pattern);
    }
}

static void test_a_window_that_is_not_in_the_file_is_the_architectures(void **state)
{
    static const struct {
        const char *architecture;
        uint64_t window;
    } rows[] = {{"gemma2", 4096}, {"gemma3", 0}, {"llama4", 8192}, {"smallthinker", 0}};

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        auto_gguf maker = {0};
        struct pm_model *model;

        put_small(&maker, rows[i].architecture, 8);
        model = read_maker(&maker);
        assert_int_equal(model->window, rows[i].window);
        pm_model_unref(model);
    }
}

static void test_some_windows_are_the_architectures_whatever_the_file_says(void **state)
{
    static const struct {
        const char *architecture;
        unsigned told;
        uint64_t window;
    } rows[] = {{"llama4", 100, 8192},
                {"llama4", 0, 0},
                {"smallthinker", 100, 4096},
                {"phi3", 100, 0},
                {"gemma3", 100, 100}};

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        auto_gguf maker = {0};
        struct pm_model *model;

        put_small(&maker, rows[i].architecture, 8);
        gguf_number(&maker, "*.attention.sliding_window", rows[i].told);
        model = read_maker(&maker);
        assert_int_equal(model->window, rows[i].window);
        pm_model_unref(model);
    }
}

static void test_arrays_say_it_layer_by_layer(void **state)
{
    static const unsigned slides[] = {1, 1, 0, 1, 1, 0}, heads[] = {2, 2, 1, 2, 0, 1};
    auto_gguf maker = {0};
    struct pm_model *model;

    put_small(&maker, "gemma4", 6);
    gguf_number(&maker, "*.attention.sliding_window", 512);
    gguf_number(&maker, "*.attention.key_length", 128);
    gguf_number(&maker, "*.attention.value_length", 128);
    gguf_number(&maker, "*.attention.key_length_swa", 64);
    gguf_number(&maker, "*.attention.value_length_swa", 32);
    gguf_number(&maker, "*.attention.shared_kv_layers", 1);
    gguf_numbers(&maker, "*.attention.sliding_window_pattern", 6, slides);
    gguf_numbers(&maker, "*.attention.head_count_kv", 6, heads);
    model = read_maker(&maker);
    assert_int_equal(model->layers[0].k_elements, 128);
    assert_int_equal(model->layers[0].v_elements, 64);
    assert_int_equal(model->layers[2].k_elements, 128);
    assert_int_equal(model->layers[2].v_elements, 128);
    assert_int_equal(model->layers[4].k_elements, 0);
    assert_int_equal(model->layers[5].k_elements, 0);
    pm_model_unref(model);
}

static void test_layers_at_the_end_that_share_keep_nothing(void **state)
{
    auto_gguf maker = {0}, told = {0};

    put_small(&maker, "gemma3n", 24);
    gguf_number(&maker, "*.attention.sliding_window", 512);
    assert_pattern(&maker, "ssssk"
                           "ssssk"
                           "ssssk"
                           "ssssk"
                           "ssss");
    assert_int_equal(maker.n_tensors, 1);
    put_small(&told, "gemma3n", 6);
    gguf_number(&told, "*.attention.shared_kv_layers", 5);
    assert_pattern(&told, "k-----");
}

static void test_hybrids_have_states_where_they_have_no_heads(void **state)
{
    static const unsigned heads[] = {0, 0, 2, 0}, ff[] = {0, 64, 0, 0};
    auto_gguf granite = {0}, nemotron = {0}, next = {0}, told = {0}, falcon = {0}, mamba = {0};

    put_small(&granite, "granitehybrid", 4);
    put_states(&granite);
    gguf_numbers(&granite, "*.attention.head_count_kv", 4, heads);
    assert_pattern(&granite, "rrkr");

    put_small(&nemotron, "nemotron_h", 4);
    put_states(&nemotron);
    gguf_numbers(&nemotron, "*.attention.head_count_kv", 4, heads);
    gguf_numbers(&nemotron, "*.feed_forward_length", 4, ff);
    assert_pattern(&nemotron, "r-kr");

    put_small(&next, "qwen3next", 8);
    put_states(&next);
    assert_pattern(&next, "rrrkrrrk");

    put_small(&told, "qwen35", 4);
    put_states(&told);
    gguf_number(&told, "*.full_attention_interval", 2);
    assert_pattern(&told, "rkrk");

    put_small(&falcon, "falcon-h1", 2);
    put_states(&falcon);
    assert_pattern(&falcon, "bb");

    put_small(&mamba, "mamba2", 2);
    put_states(&mamba);
    assert_pattern(&mamba, "rr");
}

static void test_a_state_has_its_bytes_for_each_sequence_whatever_the_context(void **state)
{
    auto_gguf mamba = {0}, rwkv = {0}, lfm = {0}, kimi = {0};
    struct pm_estimate_ask ask = ask_for(4096);
    struct pm_model *model;

    put_small(&mamba, "mamba2", 2);
    put_states(&mamba);
    model = read_maker(&mamba);
    assert_int_equal(model->layers[0].state_elements, 3 * (1024 + 2 * 2 * 16) + 16 * 1024);
    assert_int_equal(kv_of(model, &ask), 4 * 2 * model->layers[0].state_elements);
    ask.n_slots = 3;
    assert_int_equal(kv_of(model, &ask), 3 * 4 * 2 * model->layers[0].state_elements);
    ask.context = 256;
    assert_int_equal(kv_of(model, &ask), 3 * 4 * 2 * model->layers[0].state_elements);
    pm_model_unref(model);

    put_small(&rwkv, "rwkv7", 2);
    gguf_number(&rwkv, "*.wkv.head_size", 64);
    model = read_maker(&rwkv);
    assert_int_equal(model->layers[1].state_elements, 2 * 512 + 64 * 512);
    pm_model_unref(model);

    put_small(&lfm, "lfm2", 2);
    gguf_number(&lfm, "*.shortconv.l_cache", 3);
    gguf_number(&lfm, "*.attention.head_count_kv", 0);
    model = read_maker(&lfm);
    assert_int_equal(model->layers[0].state_elements, 2 * 512);
    pm_model_unref(model);

    put_small(&kimi, "kimi-linear", 1);
    gguf_number(&kimi, "*.kda.head_dim", 128);
    gguf_number(&kimi, "*.ssm.conv_kernel", 4);
    gguf_number(&kimi, "*.attention.head_count_kv", 0);
    model = read_maker(&kimi);
    assert_int_equal(model->layers[0].state_elements, 3 * 3 * 8 * 128 + 128 * 128 * 8);
    pm_model_unref(model);
}

static void test_encoders_remember_nothing(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model;

    put_small(&maker, "bert", 3);
    model = read_maker(&maker);
    assert_int_equal(model->layers[0].k_elements + model->layers[0].state_elements, 0);
    assert_int_equal(model->tied_bytes, 0);
    pm_model_unref(model);
}

static void test_an_output_that_is_made_of_the_embeddings_is_no_copy(void **state)
{
    auto_gguf llama = {0}, bitnet = {0};
    struct pm_model *model;

    (void)state;
    put_small(&llama, "llama", 2);
    gguf_tensor(&llama, "token_embd.weight", 64, 1000, T_F16);
    model = read_maker(&llama);
    assert_int_equal(model->tied_bytes, 64 * 1000 * 2);
    pm_model_unref(model);

    put_small(&bitnet, "bitnet", 2);
    gguf_tensor(&bitnet, "token_embd.weight", 64, 1000, T_F16);
    model = read_maker(&bitnet);
    assert_int_equal(model->tied_bytes, 0);
    pm_model_unref(model);
}

static void test_sparse_attention_keeps_a_row_for_its_indexer(void **state)
{
    auto_gguf maker = {0};
    struct pm_estimate_ask ask = ask_for(256);
    struct pm_model *model;

    put_small(&maker, "deepseek32", 2);
    gguf_number(&maker, "*.attention.key_length_mla", 192);
    gguf_number(&maker, "*.attention.kv_lora_rank", 512);
    gguf_number(&maker, "*.rope.dimension_count", 64);
    gguf_number(&maker, "*.attention.indexer.key_length", 128);
    model = read_maker(&maker);
    assert_int_equal(kv_of(model, &ask), 2 * 256 * 2 * (512 + 64 + 128));
    pm_model_unref(model);
}

static void test_layers_for_drafting_weigh_nothing_but_count(void **state)
{
    auto_gguf maker = {0};
    struct pm_estimate_ask ask = ask_for(256);
    struct pm_estimate estimate;
    struct pm_model *model;

    put_small(&maker, "glm4moe", 3);
    gguf_number(&maker, "*.nextn_predict_layers", 1);
    for (size_t i = 0; i < 3; i++)
        gguf_layer_tensor(&maker, i, "ffn_up.weight", 512, 4, T_F16);
    model = read_maker(&maker);
    estimate = estimate_of(model, &ask);
    assert_int_equal(estimate.n_items, 4);
    assert_int_equal(estimate.weights[1], 4096);
    assert_int_equal(estimate.weights[2], 0);
    assert_int_equal(estimate.kv[2], 0);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

/* ---- slots, streams, steps ---------------------------------------------------------------------------- */

static void test_each_slot_has_a_stream_of_its_own_cells(void **state)
{
    struct pm_model *model = make_model(&shape_8b);
    struct pm_estimate_ask ask = ask_for(1000);
    uint64_t per_cell = 128 * 1024;

    assert_int_equal(kv_of(model, &ask), 1024 * per_cell);
    ask.n_slots = 3;
    assert_int_equal(kv_of(model, &ask), 3 * 1024 * per_cell);
    ask.unified = true;
    assert_int_equal(kv_of(model, &ask), 3072 * per_cell);
    ask.context = 1100;
    assert_int_equal(kv_of(model, &ask), 3328 * per_cell);
    pm_model_unref(model);
}

static void test_sliding_cells_count_slots_only_where_they_share_a_cache(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model = make_plain(&maker, "gpt-oss", gpt_oss);
    struct pm_estimate_ask ask = ask_for(8192);
    uint64_t sliding, whole;

    ask.n_slots = 4;
    sum_kinds(model, &ask, &sliding, &whole);
    assert_int_equal(sliding, 12 * 4 * 768 * 2048);
    ask.unified = true;
    sum_kinds(model, &ask, &sliding, &whole);
    assert_int_equal(sliding, 12 * 1024 * 2048);
    ask.ubatch = 2048;
    sum_kinds(model, &ask, &sliding, &whole);
    assert_int_equal(sliding, 12 * 2560 * 2048);
    ask = ask_for(256);
    sum_kinds(model, &ask, &sliding, &whole);
    assert_int_equal(sliding, whole);
    pm_model_unref(model);
}

static void test_a_measured_compute_buffer_takes_the_place_of_the_formula(void **state)
{
    struct pm_model *model = make_model(&shape_8b);
    struct pm_estimate_ask ask = ask_for(8192);
    struct pm_estimate estimate = estimate_of(model, &ask);

    assert_int_equal(estimate.context_bytes, 512 * MIB);
    assert_int_equal(pm_estimate_single(&estimate),
                     4186439680 + UINT64_C(430956800) + 1024 * MIB + estimate.compute_bytes);
    pm_estimate_fini(&estimate);

    ask.measured =
        (struct pm_measured_memory){.compute_bytes = 300 * MIB, .context_bytes = 400 * MIB};
    estimate = estimate_of(model, &ask);
    assert_int_equal(estimate.compute_bytes, 300 * MIB);
    assert_int_equal(estimate.compute_split_bytes, 300 * MIB);
    assert_int_equal(estimate.compute_first_bytes, 0);
    assert_int_equal(estimate.compute_last_bytes, 0);
    assert_int_equal(estimate.context_bytes, 400 * MIB);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

static void test_no_context_is_the_trained_one_of_each_request(void **state)
{
    struct pm_model *model = make_model(&shape_4b);
    struct pm_estimate_ask ask = ask_for(0);
    struct pm_estimate estimate;

    ask.n_slots = 2;
    estimate = estimate_of(model, &ask);
    assert_int_equal(estimate.context, 40960);
    assert_int_equal(estimate.total_context, 81920);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

static void test_projector_and_draft_lie_on_the_first_device(void **state)
{
    struct pm_model *model = make_model(&shape_8b);
    struct pm_estimate_ask ask = ask_for(256);
    struct pm_estimate estimate;

    ask.mmproj_bytes = 1000;
    ask.draft_bytes = 20;
    estimate = estimate_of(model, &ask);
    assert_int_equal(estimate.weights[0], 138936320 + 1020);
    assert_int_equal(estimate.weights_bytes, 4186439680 + UINT64_C(430956800) + 1020);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

static void test_on_the_cpu_what_is_tied_is_there_once(void **state)
{
    struct pm_model *model = make_model(&shape_4b);
    struct pm_estimate_ask ask = ask_for(256);
    struct pm_estimate estimate = estimate_of(model, &ask);

    assert_int_equal(pm_estimate_on_cpu(&estimate),
                     model->tensor_bytes + estimate.kv_bytes + estimate.compute_bytes);
    pm_estimate_fini(&estimate);
    pm_model_unref(model);
}

/* ---- what cannot be ----------------------------------------------------------------------------------- */

static void assert_refused(const struct pm_model *model, const struct pm_estimate_ask *ask,
                           int code, const char *text)
{
    struct pm_estimate estimate = {.n_items = 77};
    struct poolmgr_error err = {0};

    assert_int_equal(pm_estimate_make(model, ask, &estimate, &err), code);
    assert_int_equal(estimate.n_items, 77);
    if (!strstr(err.message, text))
        fail_msg("'%s' does not say '%s'", err.message, text);
}

static void test_impossible_contexts_are_refused(void **state)
{
    struct pm_model *model = make_model(&shape_70b);
    struct pm_estimate_ask ask = ask_for(UINT64_MAX);

    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS,
                   "a context of 18446744073709551615 tokens");
    ask = ask_for(UINT64_C(1) << 31);
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "more than an engine counts (2147483647)");
    ask.context--;
    ask.n_slots = 2;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "for each of 2 slots");
    ask = ask_for(1);
    ask.n_slots = UINT64_MAX;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "slots are more than");
    ask = ask_for(256);
    ask.ubatch = UINT64_MAX;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "a step of");
    pm_model_unref(model);
}

static void test_sums_that_overflow_are_refused(void **state)
{
    struct pm_model *model = make_model(&shape_8b);
    struct pm_estimate_ask ask = ask_for(256);

    ask.mmproj_bytes = UINT64_MAX;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "overflows 64 bits");
    ask.mmproj_bytes = UINT64_MAX / 2;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "overflows 64 bits");
    ask = ask_for(256);
    ask.measured.compute_bytes = UINT64_MAX;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "overflows 64 bits");
    ask = ask_for(256);
    model->layers[3].k_elements = UINT64_MAX / 4;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "overflow");
    model->layers[3].k_elements = UINT64_C(1) << 45;
    ask = ask_for(PM_ESTIMATE_TOKENS_MAX);
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "overflow");
    pm_model_unref(model);
}

static void test_cache_types_whose_blocks_do_not_fit_are_refused(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model;
    struct pm_estimate_ask ask = ask_for(256);

    put_small(&maker, "llama", 2);
    gguf_number(&maker, "*.attention.key_length", 80);
    gguf_number(&maker, "*.attention.head_count_kv", 2);
    model = read_maker(&maker);
    ask.cache_k = PM_CACHE_Q8_0;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS,
                   "type Q8_0 has blocks of 32 elements, and the model heads of 80");
    ask.cache_k = 99;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "the K cache's type 99");
    ask.cache_k = PM_CACHE_F16;
    ask.cache_v = 5;
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "the V cache's type 5");
    ask.cache_v = 24; /* I8: of tensors only */
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "none that an engine keeps a cache in");
    pm_model_unref(model);
}

static void test_a_cache_is_kept_in_the_types_that_an_engine_lists(void **state)
{
    static const char list[] = "f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1";
    char word[16];
    unsigned id, n = 0;

    (void)state;
    for (unsigned i = 0; i < PM_GGML_TYPES; i++)
        n += pm_ggml_cache_type(i) != NULL;
    assert_int_equal(n, 9);
    for (const char *at = list; *at; at += strspn(at, ", ")) {
        (void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, ","), at);
        assert_true(pm_ggml_find_cache_type(word, &id));
        assert_ptr_equal(pm_ggml_cache_type(id), pm_ggml_type(id));
        assert_int_equal(strcasecmp(pm_ggml_type(id)->name, word), 0);
        at += strlen(word);
    }
    assert_false(pm_ggml_find_cache_type("q4_K", &id) || pm_ggml_find_cache_type("", &id));
}

static void test_what_is_not_understood_is_not_estimated(void **state)
{
    static const struct {
        const char *architecture, *key;
        uint64_t value;
        const char *text;
    } rows[] = {
        {"deepseek4", "x", 0, "'deepseek4' remembers"},
        {"llama", "*.block_count", 0, "no 'llama.block_count'"},
        {"llama", "*.block_count", 4000, "more than 1024 layers"},
        {"llama", "*.block_count", 1, "tensors of layer 2, and 1 layers"},
        {"llama", "*.embedding_length", 0, "no 'llama.embedding_length'"},
        {"llama", "*.attention.head_count_kv", UINT32_MAX,
         "'llama.attention.head_count_kv' is not"},
        {"mamba", "*.ssm.state_size", 0x7fffffff, "layer 0 would remember more"},
    };
    struct pm_estimate_ask ask = ask_for(256);

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        auto_gguf maker = {0};
        struct pm_model *model;

        put_small(&maker, rows[i].architecture, 3);
        gguf_number(&maker, "*.ssm.inner_size", 0x7fff);
        gguf_number(&maker, rows[i].key, rows[i].value);
        gguf_layer_tensor(&maker, 2, "ffn_up.weight", 512, 4, T_F16);
        model = read_maker(&maker);
        assert_refused(model, &ask, POOLMGR_E_MODEL_UNSUPPORTED, rows[i].text);
        pm_model_unref(model);
    }
}

static void test_a_model_that_does_not_know_its_context_must_be_asked_with_one(void **state)
{
    auto_gguf maker = {0};
    struct pm_estimate_ask ask = ask_for(0);
    struct pm_model *model;

    put_small(&maker, "llama", 1);
    gguf_number(&maker, "*.context_length", 0);
    model = read_maker(&maker);
    assert_refused(model, &ask, POOLMGR_E_BAD_ARGUMENTS, "no context is asked for");
    pm_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_lie_where_the_page_says_to_the_byte),
        cmocka_unit_test(test_large_and_small_layers_have_the_bytes_of_the_page),
        cmocka_unit_test(test_kv_caches_have_the_bytes_of_the_page),
        cmocka_unit_test(test_sliding_layers_keep_a_window_and_a_step),
        cmocka_unit_test(test_mla_keeps_one_compressed_row),
        cmocka_unit_test(test_which_layers_slide_is_by_architecture_or_by_the_file),
        cmocka_unit_test(test_a_window_that_is_not_in_the_file_is_the_architectures),
        cmocka_unit_test(test_some_windows_are_the_architectures_whatever_the_file_says),
        cmocka_unit_test(test_arrays_say_it_layer_by_layer),
        cmocka_unit_test(test_layers_at_the_end_that_share_keep_nothing),
        cmocka_unit_test(test_hybrids_have_states_where_they_have_no_heads),
        cmocka_unit_test(test_a_state_has_its_bytes_for_each_sequence_whatever_the_context),
        cmocka_unit_test(test_encoders_remember_nothing),
        cmocka_unit_test(test_an_output_that_is_made_of_the_embeddings_is_no_copy),
        cmocka_unit_test(test_sparse_attention_keeps_a_row_for_its_indexer),
        cmocka_unit_test(test_layers_for_drafting_weigh_nothing_but_count),
        cmocka_unit_test(test_each_slot_has_a_stream_of_its_own_cells),
        cmocka_unit_test(test_sliding_cells_count_slots_only_where_they_share_a_cache),
        cmocka_unit_test(test_a_measured_compute_buffer_takes_the_place_of_the_formula),
        cmocka_unit_test(test_no_context_is_the_trained_one_of_each_request),
        cmocka_unit_test(test_projector_and_draft_lie_on_the_first_device),
        cmocka_unit_test(test_on_the_cpu_what_is_tied_is_there_once),
        cmocka_unit_test(test_impossible_contexts_are_refused),
        cmocka_unit_test(test_sums_that_overflow_are_refused),
        cmocka_unit_test(test_cache_types_whose_blocks_do_not_fit_are_refused),
        cmocka_unit_test(test_a_cache_is_kept_in_the_types_that_an_engine_lists),
        cmocka_unit_test(test_what_is_not_understood_is_not_estimated),
        cmocka_unit_test(test_a_model_that_does_not_know_its_context_must_be_asked_with_one),
    };

    return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
