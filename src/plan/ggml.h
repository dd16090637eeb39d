/* SPDX-License-Identifier: Apache-2.0 */
/* The types that a tensor's or a cache's elements are kept in: DEVICES §7. */
#ifndef PM_PLAN_GGML_H
#define PM_PLAN_GGML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pm_ggml_type {
    const char *name;             /* "Q4_K" */
    uint16_t n_elements, n_bytes; /* of one block */
};

#define PM_GGML_TYPES 43 /* ids below; not each is one */

/* By ggml's number of it; NULL: gone, or unknown here. */
const struct pm_ggml_type *pm_ggml_type(uint64_t id);

/* Of those that an engine keeps a KV cache in; NULL: it takes no such -ctk. */
const struct pm_ggml_type *pm_ggml_cache_type(uint64_t id);
/* By its name there, "q8_0". False: none of them. */
bool pm_ggml_find_cache_type(const char *name, unsigned *ret_id);

/* Bytes of n elements, the last block whole. False: more than 64 bits. */
bool pm_ggml_bytes(const struct pm_ggml_type *type, uint64_t n, uint64_t *ret);

#endif
