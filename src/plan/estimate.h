/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many bytes an engine takes for a model, by what it can place apart: one number for each layer and one for the
 * output. Formulas are those of DEVICES §7. Weights and KV cache are exact; the compute buffer is a formula
 * (plan/compute.h) until it was measured. Pure; every product and sum is checked.
 */
#ifndef PM_PLAN_ESTIMATE_H
#define PM_PLAN_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/model.h"
#include "util/error.h"

#define PM_ESTIMATE_UBATCH        512                           /* llama.cpp's -ub */
#define PM_ESTIMATE_CONTEXT_BYTES (UINT64_C(512) * 1024 * 1024) /* CUDA context, until measured */
#define PM_ESTIMATE_SLOTS_MAX     65536
#define PM_ESTIMATE_TOKENS_MAX    UINT32_C(0x7fffffff) /* of all slots: no -c of llama.cpp is larger */

/* ggml's numbers of the types a KV cache is commonly kept in. */
enum {
    PM_CACHE_F32 = 0,
    PM_CACHE_F16 = 1,
    PM_CACHE_Q4_0 = 2,
    PM_CACHE_Q8_0 = 8,
    PM_CACHE_BF16 = 30
};

/* What an engine was seen to take; zeros: not measured. It takes the place of the formula. */
struct pm_measured_memory {
    uint64_t compute_bytes; /* the compute buffer, on the device where it is largest */
    uint64_t
        context_bytes; /* of the driver: what a process takes of a device before it has allocated anything */
};

struct pm_estimate_ask {
    uint64_t context; /* tokens of one request; 0: as trained */
    uint64_t n_slots; /* requests at once; 0: 1 */
    uint64_t ubatch;  /* tokens of one step; 0: PM_ESTIMATE_UBATCH */
    /* Tokens of one step whose logits the engine keeps room for. 0: all, as llama.cpp did before it knew a limit (#23861; its
     * server then has one a slot). */
    uint64_t n_outputs;
    unsigned cache_k, cache_v; /* ggml types; zeros are F32: start from pm_estimate_ask_default() */
    bool unified;              /* one cache for all slots (-kvu) */
    uint64_t mmproj_bytes;     /* the projector: on the first of the devices */
    uint64_t draft_bytes;      /* a draft model with its cache: likewise */
    struct pm_measured_memory measured;
};

/* One slot, context as trained, F16. */
struct pm_estimate_ask pm_estimate_ask_default(void);

struct pm_estimate {
    size_t n_items;    /* layers + 1: the last is the output */
    uint64_t *weights; /* of each item, bytes; of the first with mmproj_bytes and draft_bytes */
    uint64_t
        *kv; /* of each item, bytes: KV cache, or state of a recurrent layer; of the output 0 */
    /* of each item, bytes that its device needs more to compute, if it is one of several; NULL: none does */
    uint64_t *split;
    uint64_t weights_bytes, kv_bytes; /* sums of the two */
    uint64_t host_bytes;              /* weights that stay in the host's memory */
    uint64_t tied_bytes;              /* of the output's weights: a copy of what is in host_bytes */
    uint64_t compute_bytes;           /* on one device that holds all */
    uint64_t compute_split_bytes;     /* on each of several devices */
    uint64_t compute_first_bytes;     /* and so much more on the first of several */
    uint64_t compute_last_bytes;      /* and on the last */
    uint64_t context_bytes;           /* CUDA context, on each device; not part of any sum here */
    uint64_t context;                 /* tokens of one request */
    uint64_t total_context;           /* of all slots: -c */
    uint64_t
        kv_per_token; /* bytes that one more token of context costs at last: no sliding layers */
};

/*
 * @param[out] ret  Give it to pm_estimate_fini().
 *
 * @return POOLMGR_OK; POOLMGR_E_MODEL_UNSUPPORTED: model->no_estimate; POOLMGR_E_BAD_ARGUMENTS: a cache type that is
 *         none, whose blocks do not divide a layer's rows, or that the architecture cannot use; a context, or a number of slots, beyond what an engine can be
 *         asked for or whose bytes do not fit 64 bits; no context asked for and none known of the model.
 */
int pm_estimate_make(const struct pm_model *model, const struct pm_estimate_ask *ask,
                     struct pm_estimate *ret, struct poolmgr_error *err);
void pm_estimate_fini(struct pm_estimate *estimate); /* twice is harmless */

/* Bytes on one device that holds all layers and the output; without the CUDA context. Does not overflow: make refuses. */
uint64_t pm_estimate_single(const struct pm_estimate *estimate);
/* Bytes of the host's memory when no device is used: what is tied is there once. */
uint64_t pm_estimate_on_cpu(const struct pm_estimate *estimate);

#endif
