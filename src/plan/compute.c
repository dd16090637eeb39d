/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/compute.h"

#define MIB    (UINT64_C(1) << 20)
#define COPIES 4 /* of what comes in, in a split: llama.cpp's GGML_SCHED_MAX_COPIES */
#define ROWS   4 /* of any layer: input, norm, the sum behind attention, a spare one */
#define ROWS_FIRST                                                                                 \
    10 /* 3 ways in, 4 times each, instead of 1; and two that are lost between the copies */

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Which kinds of caches a step's tokens look at, and the widest row of one. */
static void look_at_layers(const struct pm_model *model, bool *sees_all, bool *slides,
                           uint64_t *widest)
{
    for (size_t i = 0; i < model->n_layers; i++) {
        const struct pm_model_layer *layer = &model->layers[i];
        uint64_t elements = layer->k_elements + layer->v_elements;

        *sees_all |= elements > 0 && !layer->sliding;
        *slides |= elements > 0 && layer->sliding;
        *widest = more(*widest, elements);
    }
}

void pm_compute_make(const struct pm_model *model, const struct pm_compute_ask *ask,
                     struct pm_compute *ret)
{
    struct pm_sum work = {0}, logits = {0}, mask = {0};
    bool sees_all = false, slides = false;
    uint64_t widest = 0;

    look_at_layers(model, &sees_all, &slides, &widest);
    *ret = (struct pm_compute){.single.bytes = MIB, .split.bytes = MIB};
    pm_sum_add_product(&work, 4 * ask->n_tokens, model->work_elements);
    if (ask->widened)
        pm_sum_add_product(&work, 2 * widest, ask->cells);
    pm_sum_add_product(&logits, 4 * ask->n_outputs, model->n_vocab);
    if (sees_all)
        pm_sum_add_product(&mask, 2 * ask->n_tokens, ask->stream_cells);
    if (slides)
        pm_sum_add_product(&mask, 2 * ask->n_tokens, ask->stream_sliding_cells);

    pm_sum_add_product(&ret->single, 4 * ROWS * ask->n_tokens, model->n_embd);
    pm_sum_add(&ret->single, more(work.bytes, logits.bytes));
    pm_sum_add(&ret->single, mask.bytes);

    pm_sum_add_product(&ret->split, 4 * (ROWS + COPIES) * ask->n_tokens, model->n_embd);
    pm_sum_add(&ret->split, work.bytes);
    pm_sum_add_product(&ret->split, COPIES, mask.bytes);
    pm_sum_add_product(&ret->split, 4 * COPIES * ask->n_tokens, model->handed_elements);
    pm_sum_add_product(&ret->first, 4 * ROWS_FIRST * ask->n_tokens, model->n_embd);
    pm_sum_add(&ret->last, logits.bytes > work.bytes ? logits.bytes - work.bytes : 0);

    ret->single.overflows |= work.overflows || logits.overflows || mask.overflows;
    ret->split.overflows |= work.overflows || logits.overflows || mask.overflows;
}
