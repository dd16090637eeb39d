/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of deadlines with intrusive nodes: the earliest first, equal ones in order of insertion. */
#ifndef PM_UTIL_HEAP_H
#define PM_UTIL_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_NEVER UINT64_MAX

struct pm_heap_node {
    uint64_t key;   /* usually milliseconds on the monotonic clock */
    uint64_t order; /* among equal keys */
    size_t index;   /* place in the heap + 1; 0: in no heap */
};

struct pm_heap {
    struct pm_heap_node **nodes;
    size_t n, capacity;
    uint64_t n_inserted;
};

void pm_heap_fini(struct pm_heap *heap); /* the nodes are their owners' */

/* Inserts, or moves a node that is in the heap. PM_NEVER takes it out. Aborts when memory is exhausted. */
void pm_heap_set(struct pm_heap *heap, struct pm_heap_node *node, uint64_t key);

/* Harmless for a node that is in no heap. */
void pm_heap_remove(struct pm_heap *heap, struct pm_heap_node *node);

/* The earliest node, or NULL. */
struct pm_heap_node *pm_heap_first(const struct pm_heap *heap);

static inline bool pm_heap_contains(const struct pm_heap_node *node)
{
    return node->index != 0;
}

#endif
