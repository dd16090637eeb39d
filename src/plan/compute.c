/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/compute.h"

#define MIB    (UINT64_C(1) << 20)
#define COPIES PM_COMPUTE_COPIES
#define ROWS   4 /* of any layer: input, norm, the sum behind attention, a spare one */
#define ROWS_FIRST                                                                                 \
    10 /* 3 ways in, 4 times each, instead of 1; and two that are lost between the copies */

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What the layers have that counts: kinds of caches, the widest row of one, the largest state. */
struct layers {
    bool sees_all, slides;
    uint64_t row, state;
};

static struct layers look_at_layers(const struct pm_model *model)
{
    struct layers layers = {0};

    for (size_t i = 0; i < model->n_layers; i++) {
        const struct pm_model_layer *layer = &model->layers[i];
        uint64_t elements = layer->k_elements + layer->v_elements;

        layers.sees_all |= elements > 0 && !layer->sliding;
        layers.slides |= elements > 0 && layer->sliding;
        layers.row = more(layers.row, elements);
        layers.state = more(layers.state, layer->state_elements);
    }

    return layers;
}

static void add(struct pm_sum *to, uint64_t times, const struct pm_sum *what)
{
    pm_sum_add_product(to, times, what->bytes);
    to->overflows |= what->overflows;
}

static struct pm_sum work_of(const struct pm_model *model, const struct pm_compute_ask *ask,
                             const struct layers *layers)
{
    struct pm_sum work = {0}, product = {0};

    pm_sum_add_product(&product, 4 * ask->n_tokens, model->product_heads);
    add(&work, ask->stream_cells, &product);
    pm_sum_add_product(&work, 4 * ask->n_tokens, model->work_elements);
    pm_sum_add_product(&work, 4 * ask->n_slots, layers->state);
    if (ask->widened)
        pm_sum_add_product(&work, 2 * layers->row, ask->cells);
    if (ask->quantised)
        pm_sum_add_product(&work, 4 * ask->n_tokens, model->n_embd);
    return work;
}

static struct pm_sum mask_of(const struct pm_model *model, const struct pm_compute_ask *ask,
                             const struct layers *layers)
{
    uint64_t size = model->product_heads > 0 ? 4 : 2; /* F32, or F16 for flash attention */
    struct pm_sum mask = {0};

    if (layers->sees_all)
        pm_sum_add_product(&mask, size * ask->n_tokens, ask->stream_cells);
    if (layers->slides)
        pm_sum_add_product(&mask, size * ask->n_tokens, ask->stream_sliding_cells);
    return mask;
}

static struct pm_sum what_is_more(const struct pm_sum *a, const struct pm_sum *b)
{
    return (struct pm_sum){.bytes = a->bytes > b->bytes ? a->bytes - b->bytes : 0,
                           .overflows = a->overflows || b->overflows};
}

/* What inputs of each layer's own, and streams, need beside: there are no streams without such inputs. */
static void add_streams(const struct pm_model *model, const struct pm_compute_ask *ask,
                        const struct pm_sum *row, const struct pm_sum *work, struct pm_compute *ret)
{
    struct pm_sum streams = {0}, inputs = {0}, start = {0}, first = {0};

    if (model->input_elements == 0)
        return;

    pm_sum_add_product(&streams, 4 * ask->n_tokens, model->stream_elements);
    pm_sum_add_product(&inputs, 4 * ask->n_tokens, model->input_elements);
    add(&start, 2, &inputs);
    add(&start, 2, row);
    start = what_is_more(&start, work);
    start = what_is_more(&start, &ret->last);
    add(&ret->single, 1, &start);
    add(&ret->single, 1, &inputs);
    add(&ret->single, 2, &streams);

    add(&ret->split, 1 + 2 * COPIES, &streams);
    pm_sum_add_product(&ret->layer, COPIES, inputs.bytes / model->n_layers);
    add(&ret->first, 2, &inputs);
    add(&first, 6, &inputs);
    add(&first, 1, &streams);
    if (first.bytes > ret->first.bytes)
        ret->first = first;
    if (model->stream_elements > 0) {
        add(&ret->last, 5, &inputs);
        add(&ret->last, 1, &streams);
    }
}

void pm_compute_make(const struct pm_model *model, const struct pm_compute_ask *ask,
                     struct pm_compute *ret)
{
    struct layers layers = look_at_layers(model);
    struct pm_sum work = work_of(model, ask, &layers), mask = mask_of(model, ask, &layers);
    struct pm_sum row = {0}, logits = {0}, handed = {0}, returned = {0}, embeddings = {0};

    pm_sum_add_product(&row, 4 * ask->n_tokens, model->n_embd);
    pm_sum_add_product(&logits, 4 * ask->n_outputs, model->n_vocab);
    pm_sum_add_product(&handed, 4 * COPIES * ask->n_tokens, model->handed_elements);
    pm_sum_add_product(&returned, 4 * COPIES * ask->n_tokens, model->returned_elements);

    *ret = (struct pm_compute){.single.bytes = MIB, .split.bytes = MIB};
    ret->last = what_is_more(&logits, &work);
    add(&ret->single, ROWS, &row);
    add(&ret->single, 1, &work);
    add(&ret->single, 1, &ret->last);
    add(&ret->single, 1, &mask);
    add(&ret->split, ROWS + COPIES, &row);
    add(&ret->split, 1, &work);
    add(&ret->split, COPIES, &mask);
    add(&ret->split, 1, &handed);
    add(&ret->split, 1, &returned);
    add(&embeddings, ROWS_FIRST, &row);
    ret->first = what_is_more(&embeddings, &handed);
    add_streams(model, ask, &row, &work, ret);
}
