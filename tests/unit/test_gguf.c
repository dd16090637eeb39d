/* SPDX-License-Identifier: Apache-2.0 */
/* The GGUF reader: a whole header is read, anything less is refused with its reason (HEALTH-2, SUP-6). */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plan/gguf.h"
#include "util/buf.h"

/* ---- a file made by hand ---------------------------------------------------------------------------- */

static void put(struct pm_buf *file, uint64_t number, size_t n_bytes)
{
    size_t i;

    for (i = 0; i < n_bytes; i++) {
        unsigned char byte = (unsigned char)(i < 8 ? number >> (8 * i) : 0);

        pm_buf_add(file, &byte, 1);
    }
}

static void put_text(struct pm_buf *file, const char *text)
{
    put(file, strlen(text), 8);
    pm_buf_adds(file, text);
}

static void put_start(struct pm_buf *file, uint32_t version, uint64_t n_tensors, uint64_t n_pairs)
{
    pm_buf_adds(file, "GGUF");
    put(file, version, 4);
    put(file, n_tensors, 8);
    put(file, n_pairs, 8);
}

static void put_tensor(struct pm_buf *file, const char *name, uint64_t rows, uint64_t columns,
                       uint32_t type, uint64_t offset)
{
    put_text(file, name);
    put(file, 2, 4);
    put(file, columns, 8);
    put(file, rows, 8);
    put(file, type, 4);
    put(file, offset, 8);
}

/* Metadata of all shapes and two tensors: 64 × 4 of F32 (1024 bytes), then 256 × 2 of Q4_K (288 bytes). */
static void make_file(struct pm_buf *file)
{
    put_start(file, 3, 2, 5);
    put_text(file, "general.architecture");
    put(file, 8, 4);
    put_text(file, "llama");
    put_text(file, "llama.context_length");
    put(file, 4, 4);
    put(file, 4096, 4);
    put_text(file, "tokenizer.ggml.tokens");
    put(file, 9, 4);
    put(file, 8, 4);
    put(file, 2, 8);
    put_text(file, "a");
    put_text(file, "b");
    put_text(file, "tokenizer.ggml.scores");
    put(file, 9, 4);
    put(file, 6, 4);
    put(file, 3, 8);
    put(file, 0, 12);
    put_text(file, "general.alignment");
    put(file, 4, 4);
    put(file, 64, 4);
    put_tensor(file, "first.weight", 4, 64, 0, 0);
    put_tensor(file, "last.weight", 2, 256, 12, 1024);
    while (file->n % 64 != 0)
        put(file, 0, 1);
    while (file->n % 64 != 0 || file->n < 64)
        put(file, 0, 1);
}

static long read_buf(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct pm_buf *file = ctx;

    if (offset >= file->n)
        return 0;
    if (n > file->n - offset)
        n = file->n - (size_t)offset;
    memcpy(to, file->data + offset, n);
    return (long)n;
}

static int read_file(struct pm_buf *file, struct pm_gguf *gguf, struct poolmgr_error *err)
{
    struct pm_gguf_source source = {.size = file->n, .read = read_buf, .ctx = file};

    return pm_gguf_read(&source, gguf, err);
}

static void assert_refused(struct pm_buf *file, int code, const char *text)
{
    struct poolmgr_error err = {0};
    struct pm_gguf gguf;

    assert_int_equal(read_file(file, &gguf, &err), code);
    if (!strstr(err.message, text))
        fail_msg("'%s' does not say '%s'", err.message, text);
}

/* ---- sentences -------------------------------------------------------------------------------------- */

static void test_a_whole_file_is_read(void **state)
{
    pm_auto_buf struct pm_buf file = {0};
    struct poolmgr_error err = {0};
    struct pm_gguf gguf;
    size_t header;

    (void)state;
    make_file(&file);
    header = file.n;
    put(&file, 0, 8);
    while (file.n < header + 1024 + 288)
        put(&file, 0, 8);

    assert_int_equal(read_file(&file, &gguf, &err), POOLMGR_OK);
    assert_string_equal(gguf.architecture, "llama");
    assert_int_equal(gguf.context, 4096);
    assert_int_equal(gguf.alignment, 64);
    assert_int_equal(gguf.data_offset, header);
    assert_int_equal(gguf.data_end, header + 1024 + 288);
    assert_int_equal(gguf.n_unknown_types, 0);
}

static void test_each_shorter_file_is_cut_short(void **state)
{
    pm_auto_buf struct pm_buf file = {0};
    struct poolmgr_error err = {0};
    struct pm_gguf gguf;
    size_t whole;

    (void)state;
    make_file(&file);
    whole = file.n + 1024 + 288;
    while (file.n < whole)
        put(&file, 0, 1);

    while (file.n > 0) {
        file.n--;
        assert_int_equal(read_file(&file, &gguf, &err), POOLMGR_E_MODEL_CORRUPT);
    }
}

static void test_a_broken_download_names_the_tensor(void **state)
{
    pm_auto_buf struct pm_buf file = {0};

    (void)state;
    make_file(&file);
    put(&file, 0, 8);
    assert_refused(&file, POOLMGR_E_MODEL_CORRUPT, "tensor 'last.weight' lies outside");
}

static void test_what_is_no_gguf_is_corrupt_and_what_is_newer_unsupported(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        int code;
        const char *text;
    } rows[] = {
        {"", 0, POOLMGR_E_MODEL_CORRUPT, "empty"},
        {"GG", 2, POOLMGR_E_MODEL_CORRUPT, "cut short"},
        {"hello world", 11, POOLMGR_E_MODEL_CORRUPT, "does not begin with 'GGUF'"},
        {"GGUF\x01\0\0\0", 8, POOLMGR_E_MODEL_UNSUPPORTED, "version 1"},
        {"GGUF\x09\0\0\0", 8, POOLMGR_E_MODEL_UNSUPPORTED, "version 9"},
        {"GGUF\0\0\0\x03", 8, POOLMGR_E_MODEL_UNSUPPORTED, "version 50331648 (big-endian?); "},
        {"GGUF\0\0\0\0", 8, POOLMGR_E_MODEL_UNSUPPORTED, "version 0; versions 2 and 3 are read"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pm_auto_buf struct pm_buf file = {0};

        pm_buf_add(&file, rows[i].bytes, rows[i].n);
        assert_refused(&file, rows[i].code, rows[i].text);
    }
}

static void test_numbers_that_lie_are_refused_without_allocating_for_them(void **state)
{
    pm_auto_buf struct pm_buf counts = {0}, array = {0}, key = {0}, sizes = {0}, dims = {0};
    pm_auto_buf struct pm_buf aligned = {0};

    (void)state;
    put_start(&counts, 3, UINT64_MAX, 1);
    assert_refused(&counts, POOLMGR_E_MODEL_CORRUPT,
                   "counts 18446744073709551615 tensors and 1 metadata keys; no model has over "
                   "262144 and 65536");

    put_start(&aligned, 3, 0, 1);
    put_text(&aligned, "general.alignment");
    put(&aligned, 4, 4);
    put(&aligned, UINT32_C(1) << 31, 4);
    assert_refused(&aligned, POOLMGR_E_MODEL_CORRUPT,
                   "alignment is 2147483648, and not a power of two up to 64 MiB");

    put_start(&array, 3, 0, 1);
    put_text(&array, "a");
    put(&array, 9, 4);
    put(&array, 10, 4);
    put(&array, UINT64_MAX / 8 + 1, 8);
    put(&array, 0, 64);
    assert_refused(&array, POOLMGR_E_MODEL_CORRUPT, "cut short");

    put_start(&key, 3, 0, 1);
    put(&key, 1 << 20, 8);
    put(&key, 0, 64);
    assert_refused(&key, POOLMGR_E_MODEL_CORRUPT, "a metadata key of 1048576 bytes");

    put_start(&sizes, 3, 1, 0);
    put_tensor(&sizes, "huge", UINT64_MAX / 2, 16, 0, 0);
    assert_refused(&sizes, POOLMGR_E_MODEL_CORRUPT, "tensor 'huge' overflows");

    put_start(&dims, 3, 1, 0);
    put_text(&dims, "flat");
    put(&dims, 1000, 4);
    assert_refused(&dims, POOLMGR_E_MODEL_CORRUPT, "1000 dimensions");
}

static void test_arrays_in_arrays_end(void **state)
{
    pm_auto_buf struct pm_buf file = {0};
    int i;

    (void)state;
    put_start(&file, 3, 0, 1);
    put_text(&file, "deep");
    put(&file, 9, 4);
    for (i = 0; i < 100; i++) {
        put(&file, 9, 4);
        put(&file, 1, 8);
    }
    assert_refused(&file, POOLMGR_E_MODEL_CORRUPT, "arrays in arrays, over 4 deep");
}

static void test_a_name_full_of_controls_is_told_harmlessly(void **state)
{
    pm_auto_buf struct pm_buf file = {0};
    struct poolmgr_error err = {0};
    struct pm_gguf gguf;

    (void)state;
    put_start(&file, 3, 1, 0);
    put_tensor(&file, "\x1b[31m\n\xff", 1, 1000, 0, 0);
    assert_int_equal(read_file(&file, &gguf, &err), POOLMGR_E_MODEL_CORRUPT);
    assert_non_null(strstr(err.message, "'?[31m?\?'"));
}

static void test_a_type_of_tomorrow_is_left_to_the_engine(void **state)
{
    pm_auto_buf struct pm_buf file = {0};
    struct poolmgr_error err = {0};
    struct pm_gguf gguf;

    (void)state;
    put_start(&file, 3, 1, 0);
    put_tensor(&file, "new", 4, 64, 99, 0);
    put(&file, 0, 40);
    assert_int_equal(read_file(&file, &gguf, &err), POOLMGR_OK);
    assert_int_equal(gguf.n_unknown_types, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_file_is_read),
        cmocka_unit_test(test_each_shorter_file_is_cut_short),
        cmocka_unit_test(test_a_broken_download_names_the_tensor),
        cmocka_unit_test(test_what_is_no_gguf_is_corrupt_and_what_is_newer_unsupported),
        cmocka_unit_test(test_numbers_that_lie_are_refused_without_allocating_for_them),
        cmocka_unit_test(test_arrays_in_arrays_end),
        cmocka_unit_test(test_a_name_full_of_controls_is_told_harmlessly),
        cmocka_unit_test(test_a_type_of_tomorrow_is_left_to_the_engine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
