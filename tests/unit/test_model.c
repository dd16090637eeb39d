/* SPDX-License-Identifier: Apache-2.0 */
/* Models out of GGUF headers (VRAM-1, HEALTH-2): where the bytes of tensors lie, metadata of all shapes, shards, hostile files. */
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

static void assert_refused(const struct pm_gguf_source *files, size_t n, int code, const char *text)
{
    struct pm_model *model = NULL;
    struct poolmgr_error err = {0};

    assert_int_equal(pm_model_read(files, n, &model, &err), code);
    assert_null(model);
    if (!strstr(err.message, text))
        fail_msg("'%s' does not say '%s'", err.message, text);
}

static void put_plain(struct gguf_maker *maker)
{
    gguf_begin(maker, "llama");
    gguf_number(maker, "*.block_count", 2);
    gguf_number(maker, "*.context_length", 4096);
    gguf_number(maker, "*.embedding_length", 256);
    gguf_number(maker, "*.attention.head_count", 4);
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

static void test_tensors_are_summed_by_where_an_engine_puts_them(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model;

    put_plain(&maker);
    gguf_text(&maker, "general.name", "A Model");
    gguf_tensor(&maker, "token_embd.weight", 256, 1000, T_Q4_K);
    gguf_tensor(&maker, "position_embd.weight", 256, 10, T_F32);
    gguf_tensor(&maker, "token_types.weight", 256, 2, T_F32);
    gguf_tensor(&maker, "per_layer_token_embd.weight", 256, 3, T_F16);
    gguf_tensor(&maker, "token_embd_norm.weight", 256, 0, T_F32);
    gguf_layer_tensor(&maker, 0, "attn_q.weight", 256, 256, T_Q6_K);
    gguf_layer_tensor(&maker, 1, "attn_q.weight", 256, 256, T_Q4_K);
    gguf_tensor(&maker, "output_norm.weight", 256, 0, T_F32);
    gguf_tensor(&maker, "output.weight", 256, 1024, T_Q6_K);
    gguf_tensor(&maker, "rope_freqs.weight", 32, 0, T_F32);
    model = read_maker(&maker);

    assert_string_equal(model->architecture, "llama");
    assert_string_equal(model->name, "A Model");
    assert_string_equal(model->quantisation, "Q6_K");
    assert_int_equal(model->n_layers, 2);
    assert_int_equal(model->context, 4096);
    assert_int_equal(model->n_embd, 256);
    assert_int_equal(model->n_vocab, 1024);
    assert_int_equal(model->input_bytes, 1000 * 144 + 10 * 1024 + 2 * 1024 + 3 * 512);
    assert_int_equal(model->layers[0].weights_bytes, 256 * 210 + 1024);
    assert_int_equal(model->layers[1].weights_bytes, 256 * 144);
    assert_int_equal(model->output_bytes, 1024 + 1024 * 210 + 128);
    assert_int_equal(model->tied_bytes, 0);
    assert_int_equal(model->tensor_bytes, model->input_bytes + model->layers[0].weights_bytes +
                                              model->layers[1].weights_bytes + model->output_bytes);
    assert_int_equal(model->n_parameters,
                     256 * (1000 + 10 + 2 + 3 + 1 + 256 + 256 + 1 + 1024) + 32);
    pm_model_unref(model);
}

static void test_all_types_of_the_page_have_their_sizes(void **state)
{
    static const struct {
        unsigned id, n_elements, n_bytes;
    } rows[] = {
        {0, 1, 4},      {1, 1, 2},      {2, 32, 18},    {3, 32, 20},    {6, 32, 22},
        {7, 32, 24},    {8, 32, 34},    {9, 32, 36},    {10, 256, 84},  {11, 256, 110},
        {12, 256, 144}, {13, 256, 176}, {14, 256, 210}, {15, 256, 292}, {16, 256, 66},
        {17, 256, 74},  {18, 256, 98},  {19, 256, 50},  {20, 32, 18},   {21, 256, 110},
        {22, 256, 82},  {23, 256, 136}, {24, 1, 1},     {25, 1, 2},     {26, 1, 4},
        {27, 1, 8},     {28, 1, 8},     {29, 256, 56},  {30, 1, 2},     {34, 256, 54},
        {35, 256, 66},  {39, 32, 17},   {40, 64, 36},   {41, 128, 18},  {42, 64, 18},
    };
    size_t n_known = 0;

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        const struct pm_ggml_type *type = pm_ggml_type(rows[i].id);

        assert_non_null(type);
        assert_int_equal(type->n_elements, rows[i].n_elements);
        assert_int_equal(type->n_bytes, rows[i].n_bytes);
    }
    for (uint64_t id = 0; id < 1000; id++)
        n_known += pm_ggml_type(id) != NULL;
    assert_int_equal(n_known, PM_ARRAY_LEN(rows));
    assert_null(pm_ggml_type(UINT64_MAX));
}

static void test_a_type_of_tomorrow_is_read_and_not_estimated(void **state)
{
    auto_gguf maker = {0};
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate estimate;
    struct poolmgr_error err = {0};
    struct pm_model *model;

    put_plain(&maker);
    gguf_tensor(&maker, "token_embd.weight", 256, 1000, T_F16);
    gguf_layer_tensor(&maker, 1, "ffn_up.weight", 256, 256, 99);
    model = read_maker(&maker);
    assert_int_equal(pm_estimate_make(model, &ask, &estimate, &err), POOLMGR_E_MODEL_UNSUPPORTED);
    assert_non_null(strstr(err.message, "tensor 'blk.1.ffn_up.weight' is of type 99"));
    assert_non_null(strstr(err.hint, "vram"));
    pm_model_unref(model);
}

static void test_names_that_only_look_like_layers_are_none(void **state)
{
    static const char *const names[] = {"blk.",      "blk.x.a",        "blk.1",
                                        "blk.-1.a",  "blk.+0.a",       "xblk.0.a",
                                        "blk.0x1.a", "outputs.weight", "token_embdx.a"};

    for (size_t i = 0; i < PM_ARRAY_LEN(names); i++) {
        auto_gguf maker = {0};
        struct pm_model *model;

        put_plain(&maker);
        gguf_tensor(&maker, names[i], 32, 0, T_F32);
        model = read_maker(&maker);
        assert_int_equal(model->output_bytes, 128);
        assert_string_equal(model->no_estimate, "");
        pm_model_unref(model);
    }
}

static void test_files_that_are_no_model_by_themselves_say_so(void **state)
{
    auto_gguf vocabulary = {0}, projector = {0};
    struct pm_model *model;

    (void)state;
    put_plain(&vocabulary);
    model = read_maker(&vocabulary);
    assert_string_equal(model->no_estimate, "it has no tensors, as a file with a vocabulary alone");
    pm_model_unref(model);

    gguf_begin(&projector, "clip");
    gguf_number(&projector, "clip.vision.block_count", 24);
    gguf_tensor(&projector, "v.patch_embd.weight", 32, 32, T_F16);
    model = read_maker(&projector);
    assert_non_null(strstr(model->no_estimate, "it is a projector"));
    pm_model_unref(model);
}

static void test_a_layer_beyond_counting_is_no_estimate(void **state)
{
    static const char *const names[] = {"blk.1024.a", "blk.18446744073709551616.a",
                                        "blk.99999999999999999999999999999999.a"};

    for (size_t i = 0; i < PM_ARRAY_LEN(names); i++) {
        auto_gguf maker = {0};
        struct pm_model *model;

        put_plain(&maker);
        gguf_tensor(&maker, names[i], 32, 0, T_F32);
        model = read_maker(&maker);
        assert_non_null(strstr(model->no_estimate, "more than 1024 layers"));
        pm_model_unref(model);
    }
}

/* ---- metadata ----------------------------------------------------------------------------------------- */

static void test_integers_come_in_any_type(void **state)
{
    static const struct {
        unsigned type;
        size_t n_bytes;
    } rows[] = {{0, 1}, {1, 1}, {2, 2}, {3, 2}, {4, 4}, {5, 4}, {10, 8}, {11, 8}};

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        auto_gguf maker = {0};
        struct pm_model *model;

        gguf_begin(&maker, "llama");
        gguf_number_of(&maker, "general.alignment", rows[i].type, rows[i].n_bytes, 32);
        gguf_number_of(&maker, "*.block_count", rows[i].type, rows[i].n_bytes, 3);
        gguf_number_of(&maker, "*.embedding_length", rows[i].type, rows[i].n_bytes, 64);
        gguf_number_of(&maker, "*.attention.head_count", rows[i].type, rows[i].n_bytes, 2);
        gguf_number_of(&maker, "*.context_length", rows[i].type, rows[i].n_bytes, 100);
        gguf_array(&maker, "*.attention.head_count_kv", rows[i].type, 3);
        gguf_put(&maker.pairs, 2, rows[i].n_bytes);
        gguf_put(&maker.pairs, 0, rows[i].n_bytes);
        gguf_put(&maker.pairs, 1, rows[i].n_bytes);
        model = read_maker(&maker);
        assert_int_equal(model->n_layers, 3);
        assert_int_equal(model->context, 100);
        assert_int_equal(model->layers[0].k_elements, 64);
        assert_int_equal(model->layers[1].k_elements, 0);
        assert_int_equal(model->layers[2].k_elements, 32);
        pm_model_unref(model);
    }
}

static void test_negative_numbers_are_no_sizes(void **state)
{
    auto_gguf maker = {0}, layers = {0}, array = {0};
    struct pm_model *model;

    put_plain(&maker);
    gguf_number_of(&maker, "*.attention.key_length", 5, 4, (uint64_t)-1);
    model = read_maker(&maker);
    assert_non_null(strstr(model->no_estimate, "'llama.attention.key_length' is not a size"));
    pm_model_unref(model);

    put_plain(&layers);
    gguf_number_of(&layers, "*.block_count", 1, 1, 0x80);
    model = read_maker(&layers);
    assert_non_null(strstr(model->no_estimate, "more than"));
    assert_int_equal(model->n_layers, 0);
    pm_model_unref(model);

    put_plain(&array);
    gguf_numbers(&array, "*.attention.head_count_kv", 2, (unsigned[]){1, (unsigned)-1});
    model = read_maker(&array);
    assert_non_null(strstr(model->no_estimate, "'llama.attention.head_count_kv' is not a size"));
    pm_model_unref(model);
}

static void test_keys_count_for_their_architecture_wherever_they_stand(void **state)
{
    auto_gguf maker = {.architecture = "qwen2"};
    struct pm_model *model;

    gguf_number(&maker, "*.block_count", 5);
    gguf_number(&maker, "clip.block_count", 27);
    gguf_number(&maker, "*.embedding_length", 64);
    gguf_number(&maker, "clip.context_length", 77);
    gguf_text(&maker, "general.architecture", "qwen2");
    gguf_number(&maker, "*.block_count", 5);
    model = read_maker(&maker);
    assert_int_equal(model->n_layers, 5);
    assert_int_equal(model->context, 0);
    pm_model_unref(model);
}

static void test_the_vocabulary_is_counted_where_no_matrix_tells_it(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model;

    put_plain(&maker);
    gguf_array(&maker, "tokenizer.ggml.tokens", 8, 3);
    for (int i = 0; i < 3; i++)
        gguf_put_text(&maker.pairs, "x");
    model = read_maker(&maker);
    assert_int_equal(model->n_vocab, 3);
    pm_model_unref(model);
}

static void test_the_vocabulary_is_the_outputs_wherever_it_stands(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model;

    put_plain(&maker);
    gguf_tensor(&maker, "output.weight", 256, 100, T_F16);
    gguf_tensor(&maker, "token_embd.weight", 256, 200, T_F16);
    model = read_maker(&maker);
    assert_int_equal(model->n_vocab, 100);
    pm_model_unref(model);
}

static void test_arrays_that_are_no_layers_are_passed_over(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model;

    put_plain(&maker);
    gguf_array(&maker, "*.attention.head_count_kv", 6, 2); /* floats */
    gguf_put(&maker.pairs, 0, 8);
    gguf_array(&maker, "*.attention.sliding_window_pattern", 4, 5000);
    for (int i = 0; i < 5000; i++)
        gguf_put(&maker.pairs, 1, 4);
    gguf_array(&maker, "*.feed_forward_length", 4, 0);
    gguf_number(&maker, "*.attention.sliding_window", 512);
    model = read_maker(&maker);
    assert_int_equal(model->layers[1].k_elements, 256);
    assert_false(model->layers[1].sliding);
    pm_model_unref(model);
}

static void test_a_header_with_a_large_vocabulary_is_walked(void **state)
{
    auto_gguf maker = {0};
    struct pm_model *model;

    put_plain(&maker);
    gguf_array(&maker, "tokenizer.ggml.tokens", 8, 262144);
    for (int i = 0; i < 262144; i++)
        gguf_put_text(&maker.pairs, "token");
    gguf_array(&maker, "tokenizer.ggml.token_type", 5, 262144);
    for (int i = 0; i < 262144; i++)
        gguf_put(&maker.pairs, 1, 4);
    model = read_maker(&maker);
    assert_int_equal(model->n_vocab, 262144);
    pm_model_unref(model);
}

/* ---- shards ------------------------------------------------------------------------------------------- */

struct shards {
    struct gguf_maker makers[3];
    struct pm_gguf_source files[3];
};

static void make_shards(struct shards *shards, unsigned n_tensors)
{
    for (unsigned i = 0; i < 3; i++) {
        struct gguf_maker *maker = &shards->makers[i];

        if (i == 0)
            put_plain(maker);
        else
            gguf_number(maker, "llama.block_count", 1); /* only the first shard's count */
        gguf_number_of(maker, "split.no", 2, 2, i);
        gguf_number_of(maker, "split.count", 2, 2, 3);
        gguf_number_of(maker, "split.tensors.count", 5, 4, n_tensors);
        if (i == 0)
            gguf_tensor(maker, "token_embd.weight", 256, 1000, T_F16);
        gguf_layer_tensor(maker, i == 2, "attn_q.weight", 256, 256, T_F16);
        if (i == 2)
            gguf_tensor(maker, "output.weight", 256, 1000, T_F16);
        shards->files[i] = gguf_finish(maker);
    }
}

static void shards_fini(struct shards *shards)
{
    for (size_t i = 0; i < 3; i++)
        gguf_maker_fini(&shards->makers[i]);
}

#define auto_shards __attribute__((__cleanup__(shards_fini))) struct shards

static void test_all_shards_together_are_one_model(void **state)
{
    auto_shards shards = {0};
    struct poolmgr_error err = {0};
    struct pm_model *model = NULL;

    make_shards(&shards, 5);
    assert_int_equal(pm_model_read(shards.files, 3, &model, &err), POOLMGR_OK);
    assert_int_equal(model->layers[0].weights_bytes, 2 * 256 * 512);
    assert_int_equal(model->layers[1].weights_bytes, 256 * 512);
    assert_int_equal(model->output_bytes, 1000 * 512);
    assert_int_equal(model->tied_bytes, 0);
    assert_int_equal(model->file_bytes,
                     shards.files[0].size + shards.files[1].size + shards.files[2].size);
    pm_model_unref(model);
}

static void test_a_wrong_set_of_shards_is_refused_with_what_is_wrong(void **state)
{
    auto_shards shards = {0}, lacking = {0};
    struct pm_gguf_source files[4];
    const struct pm_gguf_source *of = shards.files;

    make_shards(&shards, 5);
    assert_refused(of, 1, POOLMGR_E_MODEL_CORRUPT,
                   "it is the first of 3 shards, and its name does not say so: the others are "
                   "found where it ends in -00001-of-00003.gguf");
    assert_refused(of, 2, POOLMGR_E_MODEL_CORRUPT,
                   "file 1 of 2: it is the first of 3 shards, and 2 are");
    assert_refused(of + 1, 1, POOLMGR_E_MODEL_CORRUPT, "it is shard 2 of 3; a model begins");
    memcpy(files, of, sizeof(shards.files));
    files[1] = of[2];
    files[2] = of[1];
    assert_refused(files, 3, POOLMGR_E_MODEL_CORRUPT,
                   "file 2 of 3: it is shard 3 of 3, where shard 2 of 3 is needed");
    files[1] = of[1];
    assert_refused(files, 3, POOLMGR_E_MODEL_CORRUPT, "file 3 of 3: it is shard 2 of 3");
    files[1] = of[0];
    assert_refused(files, 3, POOLMGR_E_MODEL_CORRUPT, "file 2 of 3: it is shard 1 of 3");
    assert_refused(of, 0, POOLMGR_E_MODEL_CORRUPT, "not 0");
    make_shards(&lacking, 6);
    assert_refused(lacking.files, 3, POOLMGR_E_MODEL_CORRUPT, "hold 5 tensors, and it has 6");
}

static void test_two_whole_models_are_not_one(void **state)
{
    auto_gguf one = {0}, other = {0};
    struct pm_gguf_source files[2];

    put_plain(&one);
    put_plain(&other);
    files[0] = gguf_finish(&one);
    files[1] = gguf_finish(&other);
    assert_refused(files, 2, POOLMGR_E_MODEL_CORRUPT, "the first of 1 shards, and 2 are given");
}

static void test_a_shard_of_another_model_is_refused(void **state)
{
    auto_shards shards = {0};
    auto_gguf other = {0};

    make_shards(&shards, 5);
    gguf_begin(&other, "gemma3");
    gguf_number(&other, "split.no", 1);
    gguf_number(&other, "split.count", 3);
    shards.files[1] = gguf_finish(&other);
    assert_refused(shards.files, 3, POOLMGR_E_MODEL_CORRUPT,
                   "it is of architecture 'gemma3', and the first shard of 'llama'");
}

static void test_a_cut_shard_is_named(void **state)
{
    auto_shards shards = {0};

    make_shards(&shards, 5);
    shards.files[2].size -= 1;
    assert_refused(shards.files, 3, POOLMGR_E_MODEL_CORRUPT, "file 3 of 3: cut short");
}

/* ---- hostile files ------------------------------------------------------------------------------------ */

static void test_each_shorter_header_is_refused(void **state)
{
    auto_gguf maker = {0};
    struct pm_gguf_source source;

    put_plain(&maker);
    gguf_numbers(&maker, "*.attention.head_count_kv", 2, (unsigned[]){1, 2});
    gguf_array(&maker, "tokenizer.ggml.tokens", 8, 1);
    gguf_put_text(&maker.pairs, "x");
    gguf_tensor(&maker, "token_embd.weight", 256, 4, T_F16);
    source = gguf_finish(&maker);
    while (source.size > 0) {
        source.size--;
        if (maker.file.n > source.size)
            maker.file.n = source.size;
        assert_refused(&source, 1, POOLMGR_E_MODEL_CORRUPT, "");
    }
}

static void test_a_huge_array_of_numbers_ends_with_the_file(void **state)
{
    auto_gguf maker = {0}, layers = {0};
    struct pm_gguf_source source;

    put_plain(&maker);
    gguf_array(&maker, "*.attention.head_count_kv", 4, UINT64_MAX / 4);
    source = gguf_finish(&maker);
    assert_refused(&source, 1, POOLMGR_E_MODEL_CORRUPT, "cut short");

    put_plain(&layers);
    gguf_array(&layers, "*.attention.head_count_kv", 4, 1000);
    source = gguf_finish(&layers);
    assert_refused(&source, 1, POOLMGR_E_MODEL_CORRUPT, "cut short");
}

static void test_sizes_whose_sum_overflows_are_refused(void **state)
{
    auto_gguf maker = {0};
    struct pm_gguf_source source;

    put_plain(&maker);
    for (int i = 0; i < 5; i++) {
        gguf_tensor(&maker, "x", UINT64_C(1) << 30, UINT64_C(1) << 30, T_F32);
        maker.data = 0;
    }
    source = gguf_finish(&maker);
    source.size = UINT64_MAX / 2 + 1;
    assert_refused(&source, 1, POOLMGR_E_MODEL_CORRUPT, "the sizes of its tensors overflow");
}

static void test_references_are_counted(void **state)
{
    struct pm_model *model = pm_model_new(3);

    assert_ptr_equal(pm_model_ref(model), model);
    pm_model_unref(model);
    assert_int_equal(model->n_layers, 3);
    pm_model_unref(model);
    pm_model_unref(NULL);
    assert_null(pm_model_ref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors_are_summed_by_where_an_engine_puts_them),
        cmocka_unit_test(test_all_types_of_the_page_have_their_sizes),
        cmocka_unit_test(test_a_type_of_tomorrow_is_read_and_not_estimated),
        cmocka_unit_test(test_names_that_only_look_like_layers_are_none),
        cmocka_unit_test(test_files_that_are_no_model_by_themselves_say_so),
        cmocka_unit_test(test_a_layer_beyond_counting_is_no_estimate),
        cmocka_unit_test(test_integers_come_in_any_type),
        cmocka_unit_test(test_negative_numbers_are_no_sizes),
        cmocka_unit_test(test_keys_count_for_their_architecture_wherever_they_stand),
        cmocka_unit_test(test_the_vocabulary_is_counted_where_no_matrix_tells_it),
        cmocka_unit_test(test_the_vocabulary_is_the_outputs_wherever_it_stands),
        cmocka_unit_test(test_arrays_that_are_no_layers_are_passed_over),
        cmocka_unit_test(test_a_header_with_a_large_vocabulary_is_walked),
        cmocka_unit_test(test_all_shards_together_are_one_model),
        cmocka_unit_test(test_a_wrong_set_of_shards_is_refused_with_what_is_wrong),
        cmocka_unit_test(test_two_whole_models_are_not_one),
        cmocka_unit_test(test_a_shard_of_another_model_is_refused),
        cmocka_unit_test(test_a_cut_shard_is_named),
        cmocka_unit_test(test_each_shorter_header_is_refused),
        cmocka_unit_test(test_a_huge_array_of_numbers_ends_with_the_file),
        cmocka_unit_test(test_sizes_whose_sum_overflows_are_refused),
        cmocka_unit_test(test_references_are_counted),
    };

    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
