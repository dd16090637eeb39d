/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a plan costs, which is made on the loop before each start, and what reading a model's header does, on the helper:
 *
 *   header   tokens, scores, kinds and merges of a vocabulary of 262,144, and the tensors of 80 layers
 *   plan     80 layers and the output over 8 devices, none of which holds all
 *   context  the largest context that fits them
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/split.h"
#include "util/buf.h"
#include "util/time.h"

#define N_TOKENS 262144
#define N_LAYERS 80
#define GIB      (UINT64_C(1) << 30)

/* ---- a header ----------------------------------------------------------------------------------------- */

static void put(struct pm_buf *file, uint64_t number, size_t n_bytes)
{
    unsigned char bytes[8];

    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
    pm_buf_add(file, bytes, n_bytes);
}

static void put_text(struct pm_buf *file, const char *text)
{
    put(file, strlen(text), 8);
    pm_buf_adds(file, text);
}

static void put_number(struct pm_buf *file, const char *key, uint64_t value)
{
    put_text(file, key);
    put(file, 4, 4);
    put(file, value, 4);
}

static void put_array(struct pm_buf *file, const char *key, unsigned type, uint64_t n)
{
    put_text(file, key);
    put(file, 9, 4);
    put(file, type, 4);
    put(file, n, 8);
}

static void put_vocabulary(struct pm_buf *file)
{
    char text[32];

    put_array(file, "tokenizer.ggml.tokens", 8, N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++) {
        (void)snprintf(text, sizeof(text), "t%d", i);
        put_text(file, text);
    }
    put_array(file, "tokenizer.ggml.scores", 6, N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++)
        put(file, 0, 4);
    put_array(file, "tokenizer.ggml.token_type", 5, N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++)
        put(file, 1, 4);
    put_array(file, "tokenizer.ggml.merges", 8, 2 * N_TOKENS);
    for (int i = 0; i < 2 * N_TOKENS; i++) {
        (void)snprintf(text, sizeof(text), "m%d n%d", i, i);
        put_text(file, text);
    }
}

/* Of Q8_0; where its data lie is not looked at. */
static void put_tensor(struct pm_buf *file, const char *name, uint64_t columns, uint64_t rows)
{
    put_text(file, name);
    put(file, 2, 4);
    put(file, columns, 8);
    put(file, rows, 8);
    put(file, 8, 4);
    put(file, 0, 8);
}

static void put_tensors(struct pm_buf *file)
{
    static const char *const names[] = {"attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_norm",  "ffn_gate", "ffn_up", "ffn_down"};

    put_tensor(file, "token_embd.weight", 8192, N_TOKENS);
    for (int layer = 0; layer < N_LAYERS; layer++) {
        for (size_t i = 0; i < PM_ARRAY_LEN(names); i++) {
            char name[64];

            (void)snprintf(name, sizeof(name), "blk.%d.%s.weight", layer, names[i]);
            put_tensor(file, name, 8192, 8192);
        }
    }
}

static void put_header(struct pm_buf *file)
{
    pm_buf_adds(file, "GGUF");
    put(file, 3, 4);
    put(file, 1 + 9 * N_LAYERS, 8);
    put(file, 10, 8);
    put_text(file, "general.architecture");
    put(file, 8, 4);
    put_text(file, "llama");
    put_number(file, "llama.block_count", N_LAYERS);
    put_number(file, "llama.context_length", 131072);
    put_number(file, "llama.embedding_length", 8192);
    put_number(file, "llama.attention.head_count", 64);
    put_number(file, "llama.attention.head_count_kv", 8);
    put_vocabulary(file);
    put_tensors(file);
}

static long read_bytes(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct pm_buf *file = ctx;

    if (offset >= file->n)
        return 0;
    if (n > file->n - offset)
        n = file->n - (size_t)offset;
    memcpy(to, file->data + offset, n);
    return (long)n;
}

/* ---- measurements ------------------------------------------------------------------------------------- */

static void must(int r, const struct poolmgr_error *err)
{
    if (r == POOLMGR_OK)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static struct pm_model *measure_header(void)
{
    enum { N = 20 };
    struct pm_buf file = {0};
    struct pm_gguf_source source = {.read = read_bytes, .ctx = &file};
    struct pm_model *model = NULL;
    struct poolmgr_error err = {0};
    uint64_t began_ns;

    put_header(&file);
    source.size = file.n + 64 * GIB;
    began_ns = pm_monotonic_ns();
    for (int i = 0; i < N; i++) {
        pm_model_unref(model);
        must(pm_model_read(&source, 1, &model, &err), &err);
    }
    printf("header   %6.2f ms   %.1f MiB, %d tokens, %d merges\n",
           (double)(pm_monotonic_ns() - began_ns) / N / 1e6, (double)file.n / (1 << 20), N_TOKENS,
           2 * N_TOKENS);
    pm_buf_fini(&file);
    return model;
}

static void measure_plan(const struct pm_model *model, const struct pm_split_device *devices)
{
    enum { N = 200 };
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct poolmgr_error err = {0};
    struct pm_split split = {0};
    uint64_t began_ns = pm_monotonic_ns();

    ask.context = 8192;
    for (int i = 0; i < N; i++) {
        struct pm_estimate estimate;

        must(pm_estimate_make(model, &ask, &estimate, &err), &err);
        must(pm_split_plan(&estimate, PM_SPLIT_AUTO, NULL, 0, devices, 8, &split, &err), &err);
        pm_estimate_fini(&estimate);
    }
    printf("plan     %6.3f ms   %d layers, %zu of 8 devices used\n",
           (double)(pm_monotonic_ns() - began_ns) / N / 1e6, N_LAYERS, split.n_used);
}

static void measure_context(const struct pm_model *model, const struct pm_split_device *devices)
{
    enum { N = 200 };
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct poolmgr_error err = {0};
    uint64_t largest = 0, began_ns = pm_monotonic_ns();

    for (int i = 0; i < N; i++)
        must(pm_split_largest_context(model, &ask, PM_SPLIT_AUTO, NULL, 0, devices, 8, &largest,
                                      &err),
             &err);
    printf("context  %6.3f ms   %" PRIu64 " tokens\n",
           (double)(pm_monotonic_ns() - began_ns) / N / 1e6, largest);
}

int main(void)
{
    struct pm_model *model = measure_header();
    struct pm_split_device devices[8];

    for (size_t i = 0; i < 8; i++)
        devices[i] = (struct pm_split_device){
            .free_bytes = (10 + i % 3) * GIB, .reserve_bytes = GIB, .order = i};
    measure_plan(model, devices);
    measure_context(model, devices);
    pm_model_unref(model);
    return 0;
}
