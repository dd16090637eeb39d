/* SPDX-License-Identifier: Apache-2.0 */
#include "util/heap.h"

#include <stdlib.h>

#include "util/str.h"

void pm_heap_fini(struct pm_heap *heap)
{
    free(heap->nodes);
    *heap = (struct pm_heap){0};
}

static bool earlier(const struct pm_heap_node *a, const struct pm_heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

static void place(struct pm_heap *heap, size_t at, struct pm_heap_node *node)
{
    heap->nodes[at] = node;
    node->index = at + 1;
}

static void sift_up(struct pm_heap *heap, size_t at, struct pm_heap_node *node)
{
    while (at > 0 && earlier(node, heap->nodes[(at - 1) / 2])) {
        place(heap, at, heap->nodes[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(heap, at, node);
}

static void sift_down(struct pm_heap *heap, size_t at, struct pm_heap_node *node)
{
    size_t child;

    while ((child = 2 * at + 1) < heap->n) {
        if (child + 1 < heap->n && earlier(heap->nodes[child + 1], heap->nodes[child]))
            child++;
        if (!earlier(heap->nodes[child], node))
            break;
        place(heap, at, heap->nodes[child]);
        at = child;
    }
    place(heap, at, node);
}

/* Puts a node where it belongs, starting from a place that is free. */
static void settle(struct pm_heap *heap, size_t at, struct pm_heap_node *node)
{
    if (at > 0 && earlier(node, heap->nodes[(at - 1) / 2]))
        sift_up(heap, at, node);
    else
        sift_down(heap, at, node);
}

void pm_heap_set(struct pm_heap *heap, struct pm_heap_node *node, uint64_t key)
{
    if (key == PM_NEVER) {
        pm_heap_remove(heap, node);
        return;
    }

    node->key = key;
    node->order = heap->n_inserted++;
    if (node->index) {
        settle(heap, node->index - 1, node);
        return;
    }

    if (heap->n == heap->capacity) {
        heap->capacity = heap->capacity ? heap->capacity * 2 : 16;
        heap->nodes = pm_xrealloc(heap->nodes, heap->capacity * sizeof(heap->nodes[0]));
    }
    heap->n++;
    sift_up(heap, heap->n - 1, node);
}

void pm_heap_remove(struct pm_heap *heap, struct pm_heap_node *node)
{
    struct pm_heap_node *last;
    size_t at;

    if (!node->index)
        return;

    at = node->index - 1;
    node->index = 0;
    last = heap->nodes[--heap->n];
    if (last != node)
        settle(heap, at, last);
}

struct pm_heap_node *pm_heap_first(const struct pm_heap *heap)
{
    return heap->n ? heap->nodes[0] : NULL;
}
