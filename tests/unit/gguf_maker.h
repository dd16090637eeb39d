/* SPDX-License-Identifier: Apache-2.0 */
/* Makes GGUF headers for tests: metadata and tensors whose data need not be there. */
#ifndef PM_TEST_GGUF_MAKER_H
#define PM_TEST_GGUF_MAKER_H

#include <stdio.h>
#include <string.h>

#include "plan/gguf.h"
#include "util/buf.h"

enum { T_F32 = 0, T_F16 = 1, T_Q8_0 = 8, T_Q4_K = 12, T_Q5_K = 13, T_Q6_K = 14 };

struct gguf_maker {
    const char *architecture;
    struct pm_buf pairs, tensors, file;
    uint64_t n_pairs, n_tensors, data;
};

static inline void gguf_put(struct pm_buf *to, uint64_t number, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char byte = (unsigned char)(number >> (8 * i));

        pm_buf_add(to, &byte, 1);
    }
}

static inline void gguf_put_text(struct pm_buf *to, const char *text)
{
    gguf_put(to, strlen(text), 8);
    pm_buf_adds(to, text);
}

/* "*.block_count" begins with the maker's architecture. */
static inline void gguf_put_key(struct gguf_maker *maker, const char *key)
{
    char text[128];

    if (key[0] == '*')
        (void)snprintf(text, sizeof(text), "%s%s", maker->architecture, key + 1);
    else
        (void)snprintf(text, sizeof(text), "%s", key);
    gguf_put_text(&maker->pairs, text);
    maker->n_pairs++;
}

static inline void gguf_text(struct gguf_maker *maker, const char *key, const char *text)
{
    gguf_put_key(maker, key);
    gguf_put(&maker->pairs, 8, 4);
    gguf_put_text(&maker->pairs, text);
}

/* type: 0 u8, 2 u16, 4 u32, 5 i32, 7 bool, 10 u64, 11 i64 */
static inline void gguf_number_of(struct gguf_maker *maker, const char *key, unsigned type,
                                  size_t n_bytes, uint64_t value)
{
    gguf_put_key(maker, key);
    gguf_put(&maker->pairs, type, 4);
    gguf_put(&maker->pairs, value, n_bytes);
}

static inline void gguf_number(struct gguf_maker *maker, const char *key, uint64_t value)
{
    gguf_number_of(maker, key, 4, 4, value);
}

static inline void gguf_array(struct gguf_maker *maker, const char *key, unsigned type, uint64_t n)
{
    gguf_put_key(maker, key);
    gguf_put(&maker->pairs, 9, 4);
    gguf_put(&maker->pairs, type, 4);
    gguf_put(&maker->pairs, n, 8);
}

static inline void gguf_numbers(struct gguf_maker *maker, const char *key, size_t n,
                                const unsigned *values)
{
    gguf_array(maker, key, 5, n);
    for (size_t i = 0; i < n; i++)
        gguf_put(&maker->pairs, values[i], 4);
}

static inline void gguf_begin(struct gguf_maker *maker, const char *architecture)
{
    maker->architecture = architecture;
    gguf_text(maker, "general.architecture", architecture);
}

static inline void gguf_tensor(struct gguf_maker *maker, const char *name, uint64_t columns,
                               uint64_t rows, unsigned type)
{
    const struct pm_ggml_type *of = pm_ggml_type(type);
    uint64_t bytes = 0;

    gguf_put_text(&maker->tensors, name);
    gguf_put(&maker->tensors, rows > 0 ? 2 : 1, 4);
    gguf_put(&maker->tensors, columns, 8);
    if (rows > 0)
        gguf_put(&maker->tensors, rows, 8);
    gguf_put(&maker->tensors, type, 4);
    gguf_put(&maker->tensors, maker->data, 8);
    if (of && pm_ggml_bytes(of, columns * (rows > 0 ? rows : 1), &bytes))
        maker->data += (bytes + 31) / 32 * 32;
    maker->n_tensors++;
}

/* The matrices of n experts, one behind the other. */
static inline void gguf_tensor3(struct gguf_maker *maker, const char *name, uint64_t columns,
                                uint64_t rows, uint64_t n, unsigned type)
{
    const struct pm_ggml_type *of = pm_ggml_type(type);
    uint64_t bytes = 0;

    gguf_put_text(&maker->tensors, name);
    gguf_put(&maker->tensors, 3, 4);
    gguf_put(&maker->tensors, columns, 8);
    gguf_put(&maker->tensors, rows, 8);
    gguf_put(&maker->tensors, n, 8);
    gguf_put(&maker->tensors, type, 4);
    gguf_put(&maker->tensors, maker->data, 8);
    if (of && pm_ggml_bytes(of, columns * rows * n, &bytes))
        maker->data += (bytes + 31) / 32 * 32;
    maker->n_tensors++;
}

static inline void gguf_experts(struct gguf_maker *maker, size_t layer, const char *name,
                                uint64_t columns, uint64_t rows, uint64_t n, unsigned type)
{
    char text[96];

    (void)snprintf(text, sizeof(text), "blk.%zu.%s", layer, name);
    gguf_tensor3(maker, text, columns, rows, n, type);
}

/* "blk.3.ffn_up.weight" */
static inline void gguf_layer_tensor(struct gguf_maker *maker, size_t layer, const char *name,
                                     uint64_t columns, uint64_t rows, unsigned type)
{
    char text[96];

    (void)snprintf(text, sizeof(text), "blk.%zu.%s", layer, name);
    gguf_tensor(maker, text, columns, rows, type);
}

static inline long gguf_read_bytes(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct pm_buf *file = ctx;

    if (offset >= file->n)
        return 0;
    if (n > file->n - offset)
        n = file->n - (size_t)offset;
    memcpy(to, file->data + offset, n);
    return (long)n;
}

/* The header's bytes are maker->file; the source says that the data follow. */
static inline struct pm_gguf_source gguf_finish(struct gguf_maker *maker)
{
    struct pm_buf *file = &maker->file;

    pm_buf_clear(file);
    pm_buf_adds(file, "GGUF");
    gguf_put(file, 3, 4);
    gguf_put(file, maker->n_tensors, 8);
    gguf_put(file, maker->n_pairs, 8);
    pm_buf_add(file, maker->pairs.data, maker->pairs.n);
    if (maker->tensors.n > 0)
        pm_buf_add(file, maker->tensors.data, maker->tensors.n);
    while (file->n % 32 != 0)
        gguf_put(file, 0, 1);
    return (struct pm_gguf_source){
        .size = file->n + maker->data, .read = gguf_read_bytes, .ctx = file};
}

static inline void gguf_maker_fini(struct gguf_maker *maker)
{
    pm_buf_fini(&maker->pairs);
    pm_buf_fini(&maker->tensors);
    pm_buf_fini(&maker->file);
}

#define auto_gguf __attribute__((__cleanup__(gguf_maker_fini))) struct gguf_maker

#endif
