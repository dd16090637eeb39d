/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The moments that need most, found in an engine's own buffers over the models of docs/estimates.md:
 *
 * - a feed-forward part with a gate: gate, up and their product at once;
 * - experts: the same for each expert that is used, and what they make of it (n_embd each) where that does not fit into the
 *   place of gate and up;
 * - attention: Q twice (as made, and as the answer), K and V. With MLA: Q, its rotated part, Q in the space of the cache, and
 *   the two joined;
 * - a recurrent layer: all it makes of its input, what goes into its convolution and comes out, and what the scan gives.
 *
 * Four rows of n_embd beside them are in the estimate: the layer's input, its norm, the sum behind attention, and a spare one.
 */
#include "plan/work.h"

#include <string.h>

#include "util/cleanup.h"

/* No layer has more: what is read was written by strangers, and sums of it must not overflow. */
#define WORK_MAX (UINT64_C(1) << 40)

static const struct {
    const char *name; /* behind "blk.N.", where it is a layer's */
    enum pm_width to;
    unsigned dimension; /* the one that counts */
} tensors[] = {
    {"ffn_up.weight", PM_WIDTH_UP, 1},
    {"ffn_gate.weight", PM_WIDTH_GATE, 1},
    {"ffn_down.weight", PM_WIDTH_DOWN, 0},
    {"ffn_up_exps.weight", PM_WIDTH_UP_EXPERT, 1},
    {"ffn_gate_exps.weight", PM_WIDTH_GATE_EXPERT, 1},
    {"ffn_gate_up_exps.weight", PM_WIDTH_UP_EXPERT, 1},
    {"ffn_down_exps.weight", PM_WIDTH_DOWN_EXPERT, 0},
    {"attn_q.weight", PM_WIDTH_Q, 1},
    {"attn_q_b.weight", PM_WIDTH_Q, 1},
    {"attn_k.weight", PM_WIDTH_K, 1},
    {"attn_v.weight", PM_WIDTH_V, 1},
    {"attn_qkv.weight", PM_WIDTH_QKV, 1},
    {"attn_kv_b.weight", PM_WIDTH_KV_B, 1},
    {"ssm_in.weight", PM_WIDTH_SSM_IN, 1},
    {"ssm_conv1d.weight", PM_WIDTH_SSM_CONV, 1},
    {"altup_proj.weight", PM_WIDTH_STREAMS, 2},
    {"per_layer_model_proj.weight", PM_WIDTH_INPUTS, 1},
};

void pm_widths_see(struct pm_widths *widths, const struct pm_gguf_tensor *tensor)
{
    const char *name = tensor->name;

    if (strncmp(name, "blk.", 4) == 0) {
        name = strchr(name + 4, '.');
        if (!name++)
            return;
    }

    for (size_t i = 0; i < PM_ARRAY_LEN(tensors); i++) {
        uint64_t *to = &widths->widest[tensors[i].to];
        uint64_t width =
            tensor->n_dims > tensors[i].dimension ? tensor->dims[tensors[i].dimension] : 0;

        if (strcmp(name, tensors[i].name) == 0 && width <= WORK_MAX && width > *to)
            *to = width;
    }
}

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) || product > WORK_MAX ? WORK_MAX : product;
}

/* Gate, up and their product; without a gate it is done in place. */
static uint64_t gated(uint64_t up, uint64_t gate, uint64_t down)
{
    if (gate > 0)
        return up + gate + down;
    return up > down ? up + down : up;
}

static uint64_t feed_forward(const struct pm_widths *widths, const struct pm_keys *keys,
                             const struct pm_model *model)
{
    const uint64_t *widest = widths->widest;
    uint64_t n_used = pm_keys_get(keys, PM_KEY_EXPERTS_USED, 0);
    uint64_t made = times(n_used, widest[PM_WIDTH_UP_EXPERT] + widest[PM_WIDTH_GATE_EXPERT]);
    uint64_t given = times(n_used, model->n_embd);
    uint64_t experts = times(n_used, gated(widest[PM_WIDTH_UP_EXPERT], widest[PM_WIDTH_GATE_EXPERT],
                                           widest[PM_WIDTH_DOWN_EXPERT]));

    if (experts > 0 && given > made)
        experts += given;

    return more(gated(widest[PM_WIDTH_UP], widest[PM_WIDTH_GATE], widest[PM_WIDTH_DOWN]), experts);
}

static uint64_t attention(const struct pm_widths *widths, const struct pm_keys *keys)
{
    const uint64_t *widest = widths->widest;
    uint64_t n_heads = pm_keys_get(keys, PM_KEY_HEAD_COUNT, 0);
    uint64_t lora = pm_keys_get(keys, PM_KEY_KV_LORA_RANK, 0);
    uint64_t rotated = pm_keys_get(keys, PM_KEY_ROPE_DIMENSIONS, 0);

    if (lora > 0 && pm_keys_get(keys, PM_KEY_KEY_LENGTH_MLA, 0) > 0)
        return widest[PM_WIDTH_Q] + times(n_heads, 2 * lora + 2 * rotated);

    return 2 * (widest[PM_WIDTH_Q] + widest[PM_WIDTH_KV_B]) + widest[PM_WIDTH_K] +
           widest[PM_WIDTH_V] + 2 * widest[PM_WIDTH_QKV];
}

/* Files of architectures that name their matrices otherwise: as much as the widest known ones need. */
static uint64_t recurrent(const struct pm_widths *widths, uint64_t inner, uint64_t n_embd)
{
    const uint64_t *widest = widths->widest;

    if (widest[PM_WIDTH_SSM_IN] == 0)
        return times(8, n_embd);
    return widest[PM_WIDTH_SSM_IN] + 2 * widest[PM_WIDTH_SSM_CONV] + inner;
}

void pm_work_measure(const struct pm_widths *widths, const struct pm_keys *keys,
                     struct pm_model *model)
{
    uint64_t inner = pm_keys_get(keys, PM_KEY_SSM_INNER_SIZE, 0);
    bool recurs = false;

    for (size_t i = 0; i < model->n_layers; i++)
        recurs |= model->layers[i].state_elements > 0;

    model->work_elements = more(feed_forward(widths, keys, model), attention(widths, keys));
    model->input_elements = widths->widest[PM_WIDTH_INPUTS];
    if (widths->widest[PM_WIDTH_STREAMS] > 0)
        model->stream_elements = times(widths->widest[PM_WIDTH_STREAMS] + 1, model->n_embd);
    if (recurs) {
        model->work_elements = more(model->work_elements, recurrent(widths, inner, model->n_embd));
        model->handed_elements = widths->widest[PM_WIDTH_SSM_IN];
        model->returned_elements = inner;
    }
}
