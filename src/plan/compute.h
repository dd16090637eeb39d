/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compute buffer: what an engine sets aside on each device for one step. It is laid out once, for the largest step there
 * can be, and does not grow. Pure.
 */
#ifndef PM_PLAN_COMPUTE_H
#define PM_PLAN_COMPUTE_H

#include "plan/model.h"
#include "plan/sum.h"

#define PM_COMPUTE_COPIES 4 /* of what comes in, in a split: llama.cpp's GGML_SCHED_MAX_COPIES */

struct pm_compute_ask {
    uint64_t n_tokens;  /* of one step */
    uint64_t n_outputs; /* of them those whose logits are kept */
    /* Of the caches, in all streams together; and of one stream, which is what a token sees. */
    uint64_t cells, stream_cells, stream_sliding_cells;
    uint64_t n_slots;
    bool widened;   /* the cache is of F32, and copied to F16 where attention reads it */
    bool quantised; /* the cache is of blocks, and rotated where it is written and read */
};

struct pm_compute {
    struct pm_sum single; /* on one device that holds all */
    struct pm_sum split;  /* on each of several */
    struct pm_sum first;  /* and so much more on the first of them, with the embeddings */
    struct pm_sum last;   /* and on the last, with the logits */
    struct pm_sum layer;  /* and on each of several for each of its layers */
};

/*
 * Rows are of n_embd elements of 4 bytes for each token of a step.
 *
 *     single = 4 rows + max(work, logits) + mask + 1 MiB
 *     split  = 8 rows + work + 4 masks + 4 × (handed + returned) + 1 MiB
 *     first  = max(0, 10 rows − 4 × handed)
 *     last   = max(0, logits − work)
 *     layer  = 0
 *     mask   = 2 bytes a token and cell it sees, once for the layers that see all and once for those with a window
 *
 * work has the states of all slots, the copies of a cache that is widened, and one row more for a cache of blocks.
 *
 * Of a model whose layers have inputs of their own (Gemma 3n and 4), which are made once and kept to the end, and several
 * streams, each as wide as n_embd (Gemma 3n; streams 0 of others):
 *
 *     single + inputs + 2 streams + max(0, 2 inputs + 2 rows − max(work, logits))
 *     split  + 9 streams
 *     first    is at least 6 inputs + streams, and 2 inputs more than above
 *     last   + 5 inputs + streams, where there are streams: they begin on the last device
 *     layer  + 4 × its inputs
 *
 * The streams go to the next device twice, as they are and turned.
 *
 * The fours: devices of a split work at different steps at once, so that what comes in from outside is there four times
 * (llama.cpp's pipeline has four copies): the mask, what the device before hands over (1 row), and on the first device the
 * embeddings, three ways in (3 rows). Attention is taken as flash attention, which llama.cpp uses where it can: the product of
 * Q and K is never there as a whole. Of an architecture that has none it is, 4 bytes a head, token and cell, and the mask has 4
 * bytes, too.
 */
void pm_compute_make(const struct pm_model *model, const struct pm_compute_ask *ask,
                     struct pm_compute *ret);

#endif
