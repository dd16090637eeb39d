/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a model's layers compute with at once, beside weights and cache. An engine lays out one step's graph before it
 * runs, and a value's memory is given to the next one as soon as nobody needs it, so what counts is the layer and the moment
 * that need most. Widths are read off the tensors' shapes: what a matrix makes of one token is as wide as its second dimension.
 */
#ifndef PM_PLAN_WORK_H
#define PM_PLAN_WORK_H

#include <stdint.h>

#include "plan/gguf.h"
#include "plan/keys.h"
#include "plan/model.h"

enum pm_width {
    PM_WIDTH_UP,   /* ffn_up: a feed-forward part; twice as wide where the gate is in it */
    PM_WIDTH_GATE, /* ffn_gate */
    PM_WIDTH_DOWN, /* ffn_down: what comes in */
    PM_WIDTH_UP_EXPERT,
    PM_WIDTH_GATE_EXPERT,
    PM_WIDTH_DOWN_EXPERT,
    PM_WIDTH_Q,
    PM_WIDTH_K,
    PM_WIDTH_V,
    PM_WIDTH_QKV,
    PM_WIDTH_KV_B,   /* MLA as files of old have it: K and V of all heads */
    PM_WIDTH_SSM_IN, /* a recurrent layer: all that it makes of its input */
    PM_WIDTH_SSM_CONV,
    PM_WIDTH_STREAMS, /* altup_proj: streams beside the first; of no layer, as the next */
    PM_WIDTH_INPUTS,  /* per_layer_model_proj: what all layers get as inputs of their own */
    PM_WIDTH_COUNT
};

/* Of each kind the widest tensor. Zeros: none was seen. */
struct pm_widths {
    uint64_t widest[PM_WIDTH_COUNT];
};

void pm_widths_see(struct pm_widths *widths, const struct pm_gguf_tensor *tensor);

/* Fills the model's work_, handed_, returned_, stream_ and input_elements; its layers are laid out, and `keys` settled. */
void pm_work_measure(const struct pm_widths *widths, const struct pm_keys *keys,
                     struct pm_model *model);

#endif
