/* SPDX-License-Identifier: Apache-2.0 */
/* Sets: what masks name by their texts alone, and what they were resolved to, with its normal form. */
#include <string.h>

#include "plan/maskitems.h"
#include "util/buf.h"
#include "util/str.h"

/* ---- by their texts ------------------------------------------------------------------------------------ */

bool pm_mask_is_one(const struct pm_mask *mask)
{
    return mask->n_items == 1 && mask->items[0].kind != PM_MASK_ALL &&
           (mask->items[0].kind != PM_MASK_RANGE || mask->items[0].first == mask->items[0].last);
}

bool pm_mask_declares(const struct pm_mask *mask, struct pm_gpu *ret)
{
    const struct pm_mask_item *item = &mask->items[0];
    struct pm_gpu gpu = {.index = PM_MASK_INDEX_MAX + 1, .slot = -1};

    if (!pm_mask_is_one(mask) || item->vendor != PM_MASK_VENDOR_ANY)
        return false;

    switch (item->kind) {
    case PM_MASK_RANGE: gpu.index = item->first; break;
    case PM_MASK_UUID: break;
    case PM_MASK_AMD: gpu.vendor = PM_VENDOR_AMD; break;
    case PM_MASK_MIG: gpu.slot = 0; break;
    default: return false;
    }
    (void)pm_str_copy(gpu.id, sizeof(gpu.id), mask->text);
    *ret = gpu;
    return true;
}

static bool same_item(const struct pm_mask_item *a, const struct pm_mask_item *b)
{
    return a->kind == b->kind && a->vendor == b->vendor && a->first == b->first &&
           a->last == b->last && strcmp(a->id, b->id) == 0;
}

static bool has_index(const struct pm_mask *mask, enum pm_vendor vendor, unsigned index)
{
    for (size_t i = 0; i < mask->n_items; i++) {
        const struct pm_mask_item *item = &mask->items[i];

        if (item->kind == PM_MASK_RANGE && item->vendor == vendor && item->first <= index &&
            index <= item->last)
            return true;
    }
    return false;
}

static bool has_item(const struct pm_mask *mask, const struct pm_mask_item *item)
{
    if (item->kind == PM_MASK_RANGE) {
        for (unsigned index = item->first; index <= item->last; index++) {
            if (!has_index(mask, item->vendor, index))
                return false;
        }
        return true;
    }
    for (size_t i = 0; i < mask->n_items; i++) {
        if (same_item(&mask->items[i], item))
            return true;
    }
    return false;
}

static bool has_all_of(const struct pm_mask *mask, const struct pm_mask *of)
{
    for (size_t i = 0; i < of->n_items; i++) {
        if (!has_item(mask, &of->items[i]))
            return false;
    }
    return true;
}

bool pm_mask_same(const struct pm_mask *a, const struct pm_mask *b)
{
    return a->is_cpu == b->is_cpu && has_all_of(a, b) && has_all_of(b, a);
}

/* ---- resolved ------------------------------------------------------------------------------------------ */

static void add_name(struct pm_buf *buf, const struct pm_gpu *gpu)
{
    if (gpu->id[0])
        pm_buf_adds(buf, gpu->id);
    else if (gpu->pci[0])
        pm_buf_addf(buf, "pci:%s", gpu->pci);
    else
        pm_buf_addf(buf, "%u", gpu->index);
}

char *pm_mask_normal(const struct pm_gpu *gpus, const size_t *set, size_t n)
{
    pm_auto_buf struct pm_buf buf = {0};

    for (int vendor = 0; vendor < PM_VENDOR_COUNT; vendor++) {
        bool begun = false;

        for (size_t i = 0; i < n; i++) {
            const struct pm_gpu *gpu = &gpus[set[i]];

            if ((int)gpu->vendor != vendor)
                continue;
            if (begun)
                pm_buf_adds(&buf, ",");
            else
                pm_buf_addf(&buf, "%s%s:", buf.n > 0 ? ";" : "", pm_vendor_name(gpu->vendor));
            add_name(&buf, gpu);
            begun = true;
        }
    }
    if (n == 0)
        pm_buf_adds(&buf, "none");
    return pm_xstrdup(pm_buf_text(&buf));
}

bool pm_mask_subset(const size_t *a, size_t n_a, const size_t *b, size_t n_b)
{
    for (size_t i = 0; i < n_a; i++) {
        size_t k = 0;

        while (k < n_b && b[k] != a[i])
            k++;
        if (k == n_b)
            return false;
    }
    return true;
}

/* A resolved set has every device once. */
bool pm_mask_equal(const size_t *a, size_t n_a, const size_t *b, size_t n_b)
{
    return n_a == n_b && pm_mask_subset(a, n_a, b, n_b);
}
