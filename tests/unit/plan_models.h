/* SPDX-License-Identifier: Apache-2.0 */
/* The models of DEVICES §7, as Q4_K_M files have them: tensor by tensor, read by pm_model_read(). */
#ifndef PM_TEST_PLAN_MODELS_H
#define PM_TEST_PLAN_MODELS_H

#include "gguf_maker.h"
#include "plan/model.h"

struct model_shape {
    const char *architecture;
    unsigned n_layers, n_embd, n_q, n_kv, head, n_ff, n_vocab, context;
    unsigned n_experts;    /* 0: dense */
    unsigned n_used;       /* of them, for one token */
    bool bias, norms;      /* of Q, K and V; of Q's and K's heads */
    bool tied, rope_freqs; /* no output.weight; frequencies of Llama 3.1 */
    unsigned embedding;    /* type of token_embd */
    unsigned small_v;      /* type of V in a small layer */
};

static const struct model_shape shape_8b = {"llama",
                                            32,
                                            4096,
                                            32,
                                            8,
                                            128,
                                            14336,
                                            128256,
                                            131072,
                                            .rope_freqs = true,
                                            .embedding = T_Q4_K,
                                            .small_v = T_Q4_K};
static const struct model_shape shape_32b = {"qwen2",
                                             64,
                                             5120,
                                             40,
                                             8,
                                             128,
                                             27648,
                                             152064,
                                             131072,
                                             .bias = true,
                                             .embedding = T_Q4_K,
                                             .small_v = T_Q4_K};
static const struct model_shape shape_70b = {"llama",
                                             80,
                                             8192,
                                             64,
                                             8,
                                             128,
                                             28672,
                                             128256,
                                             131072,
                                             .rope_freqs = true,
                                             .embedding = T_Q4_K,
                                             .small_v = T_Q5_K};
static const struct model_shape shape_30b_a3b = {"qwen3moe",
                                                 48,
                                                 2048,
                                                 32,
                                                 4,
                                                 128,
                                                 768,
                                                 151936,
                                                 40960,
                                                 .n_experts = 128,
                                                 .n_used = 8,
                                                 .norms = true,
                                                 .embedding = T_Q4_K,
                                                 .small_v = T_Q4_K};
static const struct model_shape shape_4b = {"qwen3",
                                            36,
                                            2560,
                                            32,
                                            8,
                                            128,
                                            9728,
                                            151936,
                                            40960,
                                            .norms = true,
                                            .tied = true,
                                            .embedding = T_Q6_K,
                                            .small_v = T_Q4_K};

static inline void put_attention(struct gguf_maker *maker, const struct model_shape *shape,
                                 size_t i, bool large)
{
    unsigned q = shape->n_q * shape->head, kv = shape->n_kv * shape->head;

    gguf_layer_tensor(maker, i, "attn_norm.weight", shape->n_embd, 0, T_F32);
    gguf_layer_tensor(maker, i, "attn_q.weight", shape->n_embd, q, T_Q4_K);
    gguf_layer_tensor(maker, i, "attn_k.weight", shape->n_embd, kv, T_Q4_K);
    gguf_layer_tensor(maker, i, "attn_v.weight", shape->n_embd, kv,
                      large ? T_Q6_K : shape->small_v);
    gguf_layer_tensor(maker, i, "attn_output.weight", q, shape->n_embd, T_Q4_K);
    if (shape->bias) {
        gguf_layer_tensor(maker, i, "attn_q.bias", q, 0, T_F32);
        gguf_layer_tensor(maker, i, "attn_k.bias", kv, 0, T_F32);
        gguf_layer_tensor(maker, i, "attn_v.bias", kv, 0, T_F32);
    }
    if (shape->norms) {
        gguf_layer_tensor(maker, i, "attn_q_norm.weight", shape->head, 0, T_F32);
        gguf_layer_tensor(maker, i, "attn_k_norm.weight", shape->head, 0, T_F32);
    }
}

static inline void put_feed_forward(struct gguf_maker *maker, const struct model_shape *shape,
                                    size_t i, bool large)
{
    unsigned n = shape->n_experts, down = large ? T_Q6_K : T_Q4_K;

    gguf_layer_tensor(maker, i, "ffn_norm.weight", shape->n_embd, 0, T_F32);
    if (n == 0) {
        gguf_layer_tensor(maker, i, "ffn_gate.weight", shape->n_embd, shape->n_ff, T_Q4_K);
        gguf_layer_tensor(maker, i, "ffn_up.weight", shape->n_embd, shape->n_ff, T_Q4_K);
        gguf_layer_tensor(maker, i, "ffn_down.weight", shape->n_ff, shape->n_embd, down);
        return;
    }

    gguf_layer_tensor(maker, i, "ffn_gate_inp.weight", shape->n_embd, n, T_F32);
    gguf_experts(maker, i, "ffn_gate_exps.weight", shape->n_embd, shape->n_ff, n, T_Q4_K);
    gguf_experts(maker, i, "ffn_up_exps.weight", shape->n_embd, shape->n_ff, n, T_Q4_K);
    gguf_experts(maker, i, "ffn_down_exps.weight", shape->n_ff, shape->n_embd, n, down);
}

static inline void put_shape(struct gguf_maker *maker, const struct model_shape *shape)
{
    size_t n = shape->n_layers;

    gguf_begin(maker, shape->architecture);
    gguf_number(maker, "*.block_count", n);
    gguf_number(maker, "*.context_length", shape->context);
    gguf_number(maker, "*.embedding_length", shape->n_embd);
    gguf_number(maker, "*.attention.head_count", shape->n_q);
    gguf_number(maker, "*.attention.head_count_kv", shape->n_kv);
    gguf_number(maker, "*.attention.key_length", shape->head);
    gguf_number(maker, "*.attention.value_length", shape->head);
    if (shape->n_experts > 0)
        gguf_number(maker, "*.expert_used_count", shape->n_used);
    gguf_tensor(maker, "token_embd.weight", shape->n_embd, shape->n_vocab, shape->embedding);
    for (size_t i = 0; i < n; i++) {
        bool large = i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;

        put_attention(maker, shape, i, large);
        put_feed_forward(maker, shape, i, large);
    }
    gguf_tensor(maker, "output_norm.weight", shape->n_embd, 0, T_F32);
    if (!shape->tied)
        gguf_tensor(maker, "output.weight", shape->n_embd, shape->n_vocab, T_Q6_K);
    if (shape->rope_freqs)
        gguf_tensor(maker, "rope_freqs.weight", shape->head / 2, 0, T_F32);
}

static inline struct pm_model *read_maker(struct gguf_maker *maker)
{
    struct pm_gguf_source source = gguf_finish(maker);
    struct pm_model *model = NULL;
    struct poolmgr_error err = {0};

    if (pm_model_read(&source, 1, &model, &err) < 0)
        fail_msg("%s", err.message);
    return model;
}

static inline struct pm_model *make_model(const struct model_shape *shape)
{
    auto_gguf maker = {0};

    put_shape(&maker, shape);
    return read_maker(&maker);
}

#endif
