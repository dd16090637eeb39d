/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model is, as far as its memory goes: read once from the headers of its files, then immutable and a few
 * kilobytes. The estimate (plan/estimate.h) is a function of this and of what one asks for.
 */
#ifndef PM_PLAN_MODEL_H
#define PM_PLAN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/gguf.h"
#include "util/cleanup.h"
#include "util/error.h"

#define PM_MODEL_LAYERS_MAX 1024 /* llama.cpp takes 512 */
#define PM_MODEL_SHARDS_MAX 1024

/* One layer: `blk.N.*`. All numbers are of this layer alone. */
struct pm_model_layer {
    uint64_t weights_bytes;
    /* Elements that one token leaves in the KV cache; 0 and 0: the layer keeps none (it is recurrent, or shares
     * another layer's). v_elements 0 beside k_elements: MLA, one compressed row for both. */
    uint64_t k_elements, v_elements;
    uint64_t k_head, v_head; /* of them in one head; 0: not told */
    uint64_t index_elements; /* of one more row, of K's type: the indexer of sparse attention */
    /* Elements of 4 bytes that one sequence keeps, whatever its length: r + s of a recurrent layer; else 0. */
    uint64_t state_elements;
    size_t reads; /* 1 + the layer before it whose cache it shares; 0: none's */
    bool sliding; /* attends to the last `window` tokens only, and keeps no more */
};

struct pm_model {
    unsigned n_refs;
    char architecture[64]; /* general.architecture */
    char name[96];         /* general.name; "" not told */
    char quantisation[16]; /* of the type most bytes are in: "Q4_K", "F16"; "" no tensors */
    uint64_t n_parameters; /* elements of all tensors */
    uint64_t file_bytes;   /* of all files together */
    uint64_t tensor_bytes; /* of all tensors */
    uint64_t context;      /* trained on, in tokens; 0 not told */
    uint64_t n_embd, n_vocab;
    uint64_t window;       /* tokens of the sliding layers; 0: none slides */
    uint64_t input_bytes;  /* token_embd and what else is only looked up: stays on the host */
    uint64_t output_bytes; /* output*, and all that belongs to no layer; without tied_bytes */
    uint64_t tied_bytes;   /* token_embd once more, as the output where the file has none; else 0 */
    /* What one step computes with, of 4 bytes each, for every token of it: in the layer that needs most, beside rows of
     * n_embd; and what two devices hand on and give back at a recurrent layer, beside one row (plan/work.h). */
    uint64_t work_elements, handed_elements, returned_elements;
    /* Likewise: of all streams of a model that has several (Gemma 3n), and of the inputs that all layers have of their own. */
    uint64_t stream_elements, input_elements;
    /* Heads whose product of Q and K is there as a whole: of an architecture that cannot use flash attention; else 0. */
    uint64_t product_heads;
    /* Why no estimate can be made of it, as one sentence ("tensor 'x' is of type 99, …"); "" one can. */
    char no_estimate[224];
    size_t n_layers;
    struct pm_model_layer layers[];
};

/*
 * Reads the headers of all shards of one model: files[0..n), in their order. The sources are used during the call only.
 *
 * The bytes of the tensors are summed by where an engine puts them (DEVICES §7): `blk.N.*` with their layer, what is only looked
 * up with the host, all else with the output. Layers that are only for drafting (nextn_predict_layers) count as layers and weigh
 * nothing: an engine leaves them in the file unless it is told to draft. What makes an estimate impossible and does not make
 * the file bad (a type or an architecture unknown here) is kept in no_estimate, so that the engine may still try.
 *
 * @param[out] ret  A reference; give it to pm_model_unref().
 *
 * @return POOLMGR_OK; what pm_gguf_read() returns, of the file that is at fault (its number is in the message where there are
 *         several); POOLMGR_E_MODEL_CORRUPT also for shards that are not each other's: missing, too many, twice or in another
 *         order, without all tensors; and for sizes whose sum overflows.
 */
int pm_model_read(const struct pm_gguf_source *files, size_t n, struct pm_model **ret,
                  struct poolmgr_error *err);

/* References may be taken and given back by several threads. A model of n_layers, all zeros, with one reference: for
 * those who fill it themselves. */
struct pm_model *pm_model_new(size_t n_layers);
struct pm_model *pm_model_ref(struct pm_model *model); /* NULL stays NULL */
void pm_model_unref(struct pm_model *model);           /* accepts NULL */

PM_DEFINE_AUTO(struct pm_model *, pm_model_unref)

#endif
