/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the items of a mask to the devices of a machine, in three passes over the whole: which devices are meant; is
 * one meant twice, or together with its own instance; may each be used. So a device that stands in two places is
 * told as that, and not as what else is wrong with it.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "plan/mask.h"
#include "plan/maskitems.h"
#include "util/str.h"

struct pick {
    size_t gpu; /* position in gpus */
    const struct pm_mask_item *item;
};

struct resolver {
    const struct pm_mask *mask;
    const struct pm_gpu *gpus;
    size_t n;
    struct pick *picks;
    size_t n_picks;
    size_t *ret_offset;
    struct poolmgr_error *err;
};

#define refuse(resolver, code, item, hint, ...)                                                    \
    pm_mask_refuse(resolver, code, (item)->offset, hint, __VA_ARGS__)

/* The item as it is written; for messages: long ones are cut. */
#define WRITTEN(resolver, item) (int)(item)->length, (resolver)->mask->text + (item)->offset

static bool is_whole(const struct pm_gpu *gpu)
{
    return gpu->slot < 0;
}

static int add(struct resolver *resolver, size_t gpu, const struct pm_mask_item *item)
{
    if (resolver->n_picks == PM_MASK_DEVICES_MAX)
        return refuse(resolver, TOO_LONG, item, NULL, "the mask has more than %d devices",
                      PM_MASK_DEVICES_MAX);
    resolver->picks[resolver->n_picks++] = (struct pick){gpu, item};
    return POOLMGR_OK;
}

/* ---- which devices an item means ---------------------------------------------------------------------- */

static bool is_of(const struct pm_gpu *gpu, enum pm_vendor vendor)
{
    return vendor == PM_MASK_VENDOR_ANY || gpu->vendor == vendor;
}

/* The position of the first device that `fits`; n: there is none. */
static size_t find(const struct resolver *resolver, const struct pm_mask_item *item,
                   bool (*fits)(const struct pm_gpu *, const struct pm_mask_item *), size_t from)
{
    for (size_t i = from; i < resolver->n; i++) {
        if (is_of(&resolver->gpus[i], item->vendor) && fits(&resolver->gpus[i], item))
            return i;
    }
    return resolver->n;
}

static bool is_index(const struct pm_gpu *gpu, const struct pm_mask_item *item)
{
    return is_whole(gpu) && gpu->index == item->first;
}

static bool has_id(const struct pm_gpu *gpu, const struct pm_mask_item *item)
{
    return strcasecmp(gpu->id, item->id) == 0;
}

static bool is_whole_id(const struct pm_gpu *gpu, const struct pm_mask_item *item)
{
    return is_whole(gpu) && has_id(gpu, item);
}

/* A prefix is one of NVIDIA's UUIDs, which are longer than AMD's and have dashes. */
static bool has_prefix(const struct pm_gpu *gpu, const struct pm_mask_item *item)
{
    return is_whole(gpu) && gpu->vendor == PM_VENDOR_NVIDIA &&
           strncasecmp(gpu->id, item->id, strlen(item->id)) == 0;
}

static bool has_pci(const struct pm_gpu *gpu, const struct pm_mask_item *item)
{
    return is_whole(gpu) && strcasecmp(gpu->pci, item->id) == 0;
}

static size_t count_whole(const struct resolver *resolver, enum pm_vendor vendor)
{
    size_t n = 0;

    for (size_t i = 0; i < resolver->n; i++)
        n += is_whole(&resolver->gpus[i]) && is_of(&resolver->gpus[i], vendor);
    return n;
}

/* An index says nothing without a vendor, where there are several. *ret: the one that is meant. */
static int choose_vendor(struct resolver *resolver, const struct pm_mask_item *item,
                         enum pm_vendor *ret)
{
    char names[64] = "";
    unsigned n_vendors = 0;

    *ret = item->vendor;
    for (int i = 0; item->vendor == PM_MASK_VENDOR_ANY && i < PM_VENDOR_COUNT; i++) {
        size_t length = strlen(names);

        if (count_whole(resolver, (enum pm_vendor)i) == 0)
            continue;
        *ret = (enum pm_vendor)i;
        (void)snprintf(names + length, sizeof(names) - length, "%s%s:%.*s",
                       n_vendors++ ? " or " : "", pm_vendor_name(*ret), WRITTEN(resolver, item));
    }
    if (n_vendors < 2)
        return POOLMGR_OK;
    (void)refuse(resolver, VENDOR_AMBIGUOUS, item, NULL,
                 "'%.*s' does not say whose GPU: there are some of %u vendors",
                 WRITTEN(resolver, item), n_vendors);
    return pm_error_hint(resolver->err, POOLMGR_E_MASK_VENDOR_AMBIGUOUS, "write %s", names);
}

static int refuse_missing(struct resolver *resolver, const struct pm_mask_item *item)
{
    return refuse(resolver, NOT_FOUND, item, "what is here is shown by: poolctl devices",
                  "there is no device '%.*s' here", WRITTEN(resolver, item));
}

/* A GPU by its index. */
static int find_index(struct resolver *resolver, const struct pm_mask_item *item, unsigned index,
                      size_t *ret)
{
    struct pm_mask_item one = *item;
    char others[32] = "and no other";
    size_t n;
    int r;

    r = choose_vendor(resolver, item, &one.vendor);
    if (r < 0)
        return r;

    one.first = index;
    *ret = find(resolver, &one, is_index, 0);
    if (*ret < resolver->n)
        return POOLMGR_OK;
    n = count_whole(resolver, one.vendor);
    if (n > 0)
        (void)snprintf(others, sizeof(others), "but %zu other%s", n, n == 1 ? "" : "s");
    return refuse(resolver, NOT_FOUND, item, "what is here is shown by: poolctl devices",
                  "there is no GPU %u%s%s here, %s", index,
                  one.vendor == PM_MASK_VENDOR_ANY ? "" : " of ",
                  one.vendor == PM_MASK_VENDOR_ANY ? "" : pm_vendor_name(one.vendor), others);
}

static int add_range(struct resolver *resolver, const struct pm_mask_item *item)
{
    for (unsigned i = item->first; i <= item->last; i++) {
        size_t gpu;
        int r = find_index(resolver, item, i, &gpu);

        if (r == POOLMGR_OK)
            r = add(resolver, gpu, item);
        if (r < 0)
            return r;
    }
    return POOLMGR_OK;
}

static int refuse_no_mig(struct resolver *resolver, const struct pm_mask_item *item)
{
    return refuse(resolver, MIG_DISABLED, item, "name the whole GPU, or have MIG switched on",
                  "'%.*s' is an instance of a GPU that is not in MIG mode",
                  WRITTEN(resolver, item));
}

/* An instance by its place on its GPU: gpus[parent]. */
static int add_instance(struct resolver *resolver, const struct pm_mask_item *item, size_t parent)
{
    const struct pm_gpu *gpu = &resolver->gpus[parent];

    if (!gpu->mig_mode)
        return refuse_no_mig(resolver, item);

    for (size_t i = 0; i < resolver->n; i++) {
        const struct pm_gpu *child = &resolver->gpus[i];
        bool is_it = item->kind == PM_MASK_SLOT
                         ? child->slot == (int)item->last
                         : child->gi == (int)item->first && child->ci == (int)item->last;

        if (!is_whole(child) && child->vendor == gpu->vendor && child->index == gpu->index && is_it)
            return add(resolver, i, item);
    }
    return refuse_missing(resolver, item);
}

static int add_slot(struct resolver *resolver, const struct pm_mask_item *item)
{
    size_t parent;
    int r;

    r = find_index(resolver, item, item->first, &parent);
    if (r < 0)
        return r;
    return add_instance(resolver, item, parent);
}

static int add_mig_of(struct resolver *resolver, const struct pm_mask_item *item)
{
    size_t parent = find(resolver, item, is_whole_id, 0);

    if (parent == resolver->n)
        return refuse_missing(resolver, item);
    return add_instance(resolver, item, parent);
}

static int add_prefix(struct resolver *resolver, const struct pm_mask_item *item)
{
    size_t i = find(resolver, item, has_prefix, 0);

    if (i == resolver->n)
        return refuse_missing(resolver, item);
    if (find(resolver, item, has_prefix, i + 1) < resolver->n)
        return refuse(resolver, PREFIX_AMBIGUOUS, item, "write more of its digits",
                      "the UUIDs of several devices begin with '%.*s'", WRITTEN(resolver, item));
    return add(resolver, i, item);
}

static int add_one(struct resolver *resolver, const struct pm_mask_item *item,
                   bool (*fits)(const struct pm_gpu *, const struct pm_mask_item *))
{
    size_t i = find(resolver, item, fits, 0);

    if (i == resolver->n)
        return refuse_missing(resolver, item);
    return add(resolver, i, item);
}

/* ---- whether a device may be used --------------------------------------------------------------------- */

static int check_usable(struct resolver *resolver, const struct pm_gpu *gpu,
                        const struct pm_mask_item *item)
{
    if (gpu->hidden)
        return refuse(resolver, NOT_PERMITTED, item,
                      "start the daemon without CUDA_VISIBLE_DEVICES, or with this device in it",
                      "'%.*s' is not among the devices that were given to this daemon",
                      WRITTEN(resolver, item));
    if (is_whole(gpu) && gpu->mig_mode)
        return refuse(resolver, GPU_IN_MIG_MODE, item,
                      "name its instances, which are shown by: poolctl devices",
                      "'%.*s' is in MIG mode: only its instances can be used",
                      WRITTEN(resolver, item));
    if (gpu->unhealthy)
        return refuse(resolver, DEVICE_UNHEALTHY, item, "its state is shown by: poolctl devices",
                      "'%.*s' does not work", WRITTEN(resolver, item));
    if (gpu->prohibited)
        return refuse(resolver, COMPUTE_PROHIBITED, item, "nvidia-smi -c DEFAULT allows it",
                      "the compute mode of '%.*s' allows no other program",
                      WRITTEN(resolver, item));
    return POOLMGR_OK;
}

static int compare_places(const void *left, const void *right, void *ctx)
{
    const struct pm_gpu *gpus = ctx;
    const struct pm_gpu *a = &gpus[((const struct pick *)left)->gpu];
    const struct pm_gpu *b = &gpus[((const struct pick *)right)->gpu];

    if (a->vendor != b->vendor)
        return a->vendor < b->vendor ? -1 : 1;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    if (a->slot != b->slot)
        return a->slot < b->slot ? -1 : 1;
    return a < b ? -1 : 1;
}

/* What can be used, by vendor, index and slot. Nothing at all: why the first one cannot. */
static int add_all(struct resolver *resolver, const struct pm_mask_item *item)
{
    size_t first = resolver->n_picks, refused = resolver->n;

    for (size_t i = 0; i < resolver->n; i++) {
        const struct pm_gpu *gpu = &resolver->gpus[i];
        bool usable = !gpu->hidden && !gpu->unhealthy && !gpu->prohibited &&
                      !(is_whole(gpu) && gpu->mig_mode);
        int r;

        if (!is_of(gpu, item->vendor))
            continue;
        if (!usable) {
            refused = refused < resolver->n ? refused : i;
            continue;
        }
        r = add(resolver, i, item);
        if (r < 0)
            return r;
    }

    if (resolver->n_picks == first && refused < resolver->n)
        return check_usable(resolver, &resolver->gpus[refused], item);
    if (resolver->n_picks == first)
        return refuse(resolver, NOT_FOUND, item, "what is here is shown by: poolctl devices",
                      "there is no %s%sGPU here",
                      item->vendor == PM_MASK_VENDOR_ANY ? "" : pm_vendor_name(item->vendor),
                      item->vendor == PM_MASK_VENDOR_ANY ? "" : " ");
    qsort_r(resolver->picks + first, resolver->n_picks - first, sizeof(*resolver->picks),
            compare_places, (void *)resolver->gpus);
    return POOLMGR_OK;
}

static int add_item(struct resolver *resolver, const struct pm_mask_item *item)
{
    switch (item->kind) {
    case PM_MASK_ALL: return add_all(resolver, item);
    case PM_MASK_RANGE: return add_range(resolver, item);
    case PM_MASK_SLOT: return add_slot(resolver, item);
    case PM_MASK_PREFIX: return add_prefix(resolver, item);
    case PM_MASK_MIG_OF: return add_mig_of(resolver, item);
    case PM_MASK_PCI: return add_one(resolver, item, has_pci);
    case PM_MASK_MIG: return add_one(resolver, item, has_id);
    case PM_MASK_UUID:
    case PM_MASK_AMD: return add_one(resolver, item, is_whole_id);
    }
    return refuse_missing(resolver, item);
}

/* ---- the set as a whole ------------------------------------------------------------------------------- */

static bool is_parent(const struct pm_gpu *a, const struct pm_gpu *b)
{
    return is_whole(a) && !is_whole(b) && a->vendor == b->vendor && a->index == b->index &&
           a->index <= PM_MASK_INDEX_MAX;
}

static int check_pair(struct resolver *resolver, const struct pick *former,
                      const struct pick *latter)
{
    const struct pm_gpu *a = &resolver->gpus[former->gpu], *b = &resolver->gpus[latter->gpu];

    if (former->gpu == latter->gpu)
        return refuse(resolver, DUPLICATE, latter->item, "name every device once",
                      "'%.*s' names a device that '%.*s' names", WRITTEN(resolver, latter->item),
                      WRITTEN(resolver, former->item));
    if (is_parent(a, b) || is_parent(b, a))
        return refuse(resolver, MIG_PARENT_OVERLAP, latter->item, "name the instances alone",
                      "'%.*s' and '%.*s' are a GPU and an instance of it",
                      WRITTEN(resolver, former->item), WRITTEN(resolver, latter->item));
    return POOLMGR_OK;
}

static int check_pairs(struct resolver *resolver)
{
    for (size_t i = 1; i < resolver->n_picks; i++) {
        for (size_t k = 0; k < i; k++) {
            int r = check_pair(resolver, &resolver->picks[k], &resolver->picks[i]);

            if (r < 0)
                return r;
        }
    }
    return POOLMGR_OK;
}

/* CUDA gives a program one instance, and nothing beside it. */
static int check_one_engine(struct resolver *resolver)
{
    bool instance = false;

    for (size_t i = 0; i < resolver->n_picks; i++) {
        const struct pm_gpu *gpu = &resolver->gpus[resolver->picks[i].gpu];
        const struct pm_mask_item *item = resolver->picks[i].item;

        if (gpu->vendor != resolver->gpus[resolver->picks[0].gpu].vendor)
            return refuse(resolver, MIXED_VENDOR, item, "name the devices of one vendor",
                          "one engine cannot use devices of several vendors");
        instance = instance || !is_whole(gpu);
        if (instance && i > 0)
            return refuse(resolver, MIG_MULTI, item, "name one instance, or whole GPUs",
                          "one engine can use one MIG instance, and nothing beside it");
    }
    return POOLMGR_OK;
}

static int resolve(struct resolver *resolver, bool one_engine)
{
    int r;

    for (size_t i = 0; i < resolver->mask->n_items; i++) {
        r = add_item(resolver, &resolver->mask->items[i]);
        if (r < 0)
            return r;
    }
    r = check_pairs(resolver);
    if (r < 0)
        return r;
    for (size_t i = 0; i < resolver->n_picks; i++) {
        r = check_usable(resolver, &resolver->gpus[resolver->picks[i].gpu],
                         resolver->picks[i].item);
        if (r < 0)
            return r;
    }
    return one_engine ? check_one_engine(resolver) : POOLMGR_OK;
}

int pm_mask_resolve(const struct pm_mask *mask, const struct pm_gpu *gpus, size_t n,
                    bool one_engine, size_t *ret, size_t *ret_n, size_t *ret_offset,
                    struct poolmgr_error *err)
{
    pm_auto_free struct pick *picks = pm_xalloc(PM_MASK_DEVICES_MAX * sizeof(*picks));
    struct resolver resolver = {
        .mask = mask, .gpus = gpus, .n = n, .picks = picks, .ret_offset = ret_offset, .err = err};
    int r;

    r = resolve(&resolver, one_engine);
    if (r < 0)
        return r;

    for (size_t i = 0; i < resolver.n_picks; i++)
        ret[i] = picks[i].gpu;
    *ret_n = resolver.n_picks;
    return POOLMGR_OK;
}
