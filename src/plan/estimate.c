/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights are read off the file. A KV cache has one row a token for K and one for V in each layer that keeps one; rows are
 * counted in cells, which llama.cpp rounds up to 256, for each stream of its own. All products and sums are checked as they are
 * made, and the largest sum of all is kept below half of 64 bits: whoever adds a few of ours need not look.
 */
#include "plan/estimate.h"

#include <inttypes.h>
#include <stdlib.h>

#include "plan/compute.h"
#include "plan/ggml.h"
#include "plan/sum.h"
#include "util/str.h"

#define CELLS       256 /* llama.cpp rounds a cache's length up to it */
#define BYTES_LIMIT (UINT64_MAX / 2)

/* What is the same for all layers. */
struct terms {
    const struct pm_ggml_type *type_k, *type_v;
    uint64_t cells, sliding_cells; /* of one stream */
    uint64_t n_streams, n_slots;
};

static uint64_t round_up(uint64_t n)
{
    return (n + CELLS - 1) / CELLS * CELLS;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct pm_estimate_ask pm_estimate_ask_default(void)
{
    return (struct pm_estimate_ask){.n_slots = 1, .cache_k = PM_CACHE_F16, .cache_v = PM_CACHE_F16};
}

/* ---- what is asked ------------------------------------------------------------------------------------ */

static int check_type(unsigned id, const char *which, const struct pm_ggml_type **ret,
                      struct poolmgr_error *err)
{
    *ret = pm_ggml_cache_type(id);
    if (!*ret)
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS,
                       "the %s cache's type %u is none that an engine keeps a cache in", which, id);
    return POOLMGR_OK;
}

static int check_ask(const struct pm_model *model, const struct pm_estimate_ask *ask,
                     struct pm_estimate *estimate, struct terms *terms, struct poolmgr_error *err)
{
    int r;

    if (model->no_estimate[0] != '\0') {
        (void)pm_fail(err, POOLMGR_E_MODEL_UNSUPPORTED, "its memory cannot be estimated: %s",
                      model->no_estimate);
        return pm_error_hint(err, POOLMGR_E_MODEL_UNSUPPORTED,
                             "say yourself what it takes of a device, as the pool's vram");
    }

    r = check_type(ask->cache_k, "K", &terms->type_k, err);
    if (r < 0)
        return r;

    r = check_type(ask->cache_v, "V", &terms->type_v, err);
    if (r < 0)
        return r;

    if (model->product_heads > 0 && terms->type_v->n_elements > 1)
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS,
                       "a V cache of type %s needs flash attention, and architecture '%s' has none",
                       terms->type_v->name, model->architecture);

    terms->n_slots = ask->n_slots > 0 ? ask->n_slots : 1;
    estimate->context = ask->context > 0 ? ask->context : model->context;
    if (estimate->context == 0) {
        (void)pm_fail(err, POOLMGR_E_BAD_ARGUMENTS,
                      "no context is asked for, and the model does not say what it was trained on");
        return pm_error_hint(err, POOLMGR_E_BAD_ARGUMENTS,
                             "say how many tokens, as the pool's context or with --ctx");
    }

    if (terms->n_slots > PM_ESTIMATE_SLOTS_MAX)
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS, "%" PRIu64 " slots are more than %d",
                       terms->n_slots, PM_ESTIMATE_SLOTS_MAX);

    if (estimate->context > PM_ESTIMATE_TOKENS_MAX / terms->n_slots)
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS,
                       "a context of %" PRIu64 " tokens for each of %" PRIu64
                       " slots is more than an engine counts (%" PRIu32 ")",
                       estimate->context, terms->n_slots, PM_ESTIMATE_TOKENS_MAX);

    if (ask->ubatch > PM_ESTIMATE_TOKENS_MAX)
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS, "a step of %" PRIu64 " tokens is too many",
                       ask->ubatch);

    estimate->total_context = estimate->context * terms->n_slots;
    return POOLMGR_OK;
}

/* ---- KV cache ----------------------------------------------------------------------------------------- */

static void set_cells(const struct pm_model *model, const struct pm_estimate_ask *ask,
                      uint64_t ubatch, const struct pm_estimate *estimate, struct terms *terms)
{
    uint64_t n_windows = ask->unified ? terms->n_slots : 1;

    terms->n_streams = ask->unified ? 1 : terms->n_slots;
    terms->cells = round_up(ask->unified ? estimate->total_context : estimate->context);
    terms->sliding_cells = round_up(less(terms->cells, model->window * n_windows + ubatch));
}

/* Bytes of one row. No block holds elements of two heads, or an engine refuses the type. */
static int measure_row(const struct pm_ggml_type *type, uint64_t n_elements, uint64_t n_head,
                       uint64_t *ret, struct poolmgr_error *err)
{
    if (n_elements > 0 && (n_head > 0 ? n_head : n_elements) % type->n_elements != 0)
        return pm_fail(
            err, POOLMGR_E_BAD_ARGUMENTS,
            "a cache of type %s has blocks of %u elements, and the model heads of %" PRIu64,
            type->name, type->n_elements, n_head > 0 ? n_head : n_elements);

    if (!pm_ggml_bytes(type, n_elements, ret))
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS, "a row of the cache overflows");

    return POOLMGR_OK;
}

/* *per_token is that of a layer whose cache grows with the context. */
static int measure_layer(const struct pm_model_layer *layer, const struct terms *terms,
                         uint64_t *ret, uint64_t *per_token, struct poolmgr_error *err)
{
    uint64_t k, v, index, cells = layer->sliding ? terms->sliding_cells : terms->cells;
    struct pm_sum row = {0}, sum = {0};
    int r;

    r = measure_row(terms->type_k, layer->k_elements, layer->k_head, &k, err);
    if (r < 0)
        return r;

    r = measure_row(terms->type_v, layer->v_elements, layer->v_head, &v, err);
    if (r < 0)
        return r;

    r = measure_row(terms->type_k, layer->index_elements, 0, &index, err);
    if (r < 0)
        return r;

    pm_sum_add(&row, k);
    pm_sum_add(&row, v);
    pm_sum_add(&row, index);
    pm_sum_add_product(&sum, row.bytes, cells * terms->n_streams);
    pm_sum_add_product(&sum, layer->state_elements, 4 * terms->n_slots);
    if (row.overflows || sum.overflows)
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS, "the bytes of one layer's cache overflow");

    *ret = sum.bytes;
    *per_token = layer->sliding ? 0 : row.bytes;
    return POOLMGR_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static int fill_items(const struct pm_model *model, const struct pm_estimate_ask *ask,
                      const struct terms *terms, struct pm_estimate *estimate, struct pm_sum *total,
                      struct poolmgr_error *err)
{
    struct pm_sum first = {0}, output = {0};

    for (size_t i = 0; i < model->n_layers; i++) {
        uint64_t per_token = 0;
        int r = measure_layer(&model->layers[i], terms, &estimate->kv[i], &per_token, err);

        if (r < 0)
            return r;

        estimate->weights[i] = model->layers[i].weights_bytes;
        estimate->kv_per_token += per_token;
    }

    pm_sum_add(&first, estimate->weights[0]);
    pm_sum_add(&first, ask->mmproj_bytes);
    pm_sum_add(&first, ask->draft_bytes);
    pm_sum_add(&output, model->output_bytes);
    pm_sum_add(&output, model->tied_bytes);
    estimate->weights[0] = first.bytes;
    estimate->weights[model->n_layers] = output.bytes;
    total->overflows |= first.overflows | output.overflows;
    for (size_t i = 0; i < estimate->n_items; i++) {
        pm_sum_add(total, estimate->weights[i]);
        estimate->weights_bytes += estimate->weights[i];
    }
    for (size_t i = 0; i < estimate->n_items; i++) {
        pm_sum_add(total, estimate->kv[i]);
        estimate->kv_bytes += estimate->kv[i];
    }

    return POOLMGR_OK;
}

/* A layer that reads another's cache is handed that, if it is another device's. */
static void set_split(const struct pm_model *model, const struct pm_sum *of_each,
                      struct pm_estimate *estimate, struct pm_sum *total)
{
    estimate->split = pm_xalloc(estimate->n_items * sizeof(*estimate->split));
    for (size_t i = 0; i < model->n_layers; i++) {
        struct pm_sum sum = *of_each;

        if (model->layers[i].reads > 0)
            pm_sum_add_product(&sum, PM_COMPUTE_COPIES, estimate->kv[model->layers[i].reads - 1]);
        estimate->split[i] = sum.bytes;
        pm_sum_add(total, sum.bytes);
        total->overflows |= sum.overflows;
    }
}

static void set_compute(const struct pm_model *model, const struct pm_estimate_ask *ask,
                        const struct terms *terms, uint64_t ubatch, struct pm_estimate *estimate,
                        struct pm_sum *total)
{
    uint64_t n_tokens = less(ubatch, estimate->total_context);
    struct pm_compute_ask what = {
        .n_tokens = n_tokens,
        .n_outputs = less(n_tokens, ask->n_outputs > 0 ? ask->n_outputs : n_tokens),
        .cells = terms->cells * terms->n_streams,
        .stream_cells = terms->cells,
        .stream_sliding_cells = terms->sliding_cells,
        .n_slots = terms->n_slots,
        .quantised = terms->type_k->n_elements > 1 || terms->type_v->n_elements > 1,
        .widened = ask->cache_k == PM_CACHE_F32 || ask->cache_v == PM_CACHE_F32,
    };
    struct pm_compute compute;

    if (ask->measured.compute_bytes > 0) {
        estimate->compute_bytes = estimate->compute_split_bytes = ask->measured.compute_bytes;
        pm_sum_add(total, ask->measured.compute_bytes);
        return;
    }

    pm_compute_make(model, &what, &compute);
    estimate->compute_bytes = compute.single.bytes;
    estimate->compute_split_bytes = compute.split.bytes;
    estimate->compute_first_bytes = compute.first.bytes;
    estimate->compute_last_bytes = compute.last.bytes;
    pm_sum_add(total, compute.split.bytes);
    pm_sum_add(total, compute.first.bytes);
    pm_sum_add(total, compute.last.bytes);
    set_split(model, &compute.layer, estimate, total);
    total->overflows |= compute.single.overflows || compute.split.overflows ||
                        compute.first.overflows || compute.last.overflows ||
                        compute.layer.overflows;
}

static int fill(const struct pm_model *model, const struct pm_estimate_ask *ask,
                struct pm_estimate *estimate, struct poolmgr_error *err)
{
    uint64_t ubatch = ask->ubatch > 0 ? ask->ubatch : PM_ESTIMATE_UBATCH;
    struct terms terms = {0};
    struct pm_sum total = {0};
    int r;

    r = check_ask(model, ask, estimate, &terms, err);
    if (r < 0)
        return r;

    set_cells(model, ask, ubatch, estimate, &terms);
    estimate->n_items = model->n_layers + 1;
    estimate->weights = pm_xalloc(estimate->n_items * sizeof(*estimate->weights));
    estimate->kv = pm_xalloc(estimate->n_items * sizeof(*estimate->kv));
    r = fill_items(model, ask, &terms, estimate, &total, err);
    if (r < 0)
        return r;

    set_compute(model, ask, &terms, ubatch, estimate, &total);
    estimate->host_bytes = model->input_bytes;
    estimate->tied_bytes = model->tied_bytes;
    estimate->context_bytes =
        ask->measured.context_bytes > 0 ? ask->measured.context_bytes : PM_ESTIMATE_CONTEXT_BYTES;
    pm_sum_add(&total, estimate->host_bytes);
    pm_sum_add(&total, estimate->context_bytes);
    if (total.overflows || total.bytes > BYTES_LIMIT)
        return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS,
                       "what a context of %" PRIu64 " tokens takes in %" PRIu64
                       " slots overflows 64 bits",
                       estimate->context, terms.n_slots);

    return POOLMGR_OK;
}

int pm_estimate_make(const struct pm_model *model, const struct pm_estimate_ask *ask,
                     struct pm_estimate *ret, struct poolmgr_error *err)
{
    struct pm_estimate estimate = {0};
    int r = fill(model, ask, &estimate, err);

    if (r < 0)
        pm_estimate_fini(&estimate);
    else
        *ret = estimate;
    return r;
}

void pm_estimate_fini(struct pm_estimate *estimate)
{
    free(estimate->weights);
    free(estimate->kv);
    free(estimate->split);
    *estimate = (struct pm_estimate){0};
}

uint64_t pm_estimate_single(const struct pm_estimate *estimate)
{
    return estimate->weights_bytes + estimate->kv_bytes + estimate->compute_bytes;
}

uint64_t pm_estimate_on_cpu(const struct pm_estimate *estimate)
{
    return pm_estimate_single(estimate) + estimate->host_bytes - estimate->tied_bytes;
}
