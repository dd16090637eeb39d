/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a spec may lie on its devices (VRAM-1, SPLIT-1). `tensor_split: none` is one device, whichever has room; `auto` is the
 * same, or a split where no single one has; ratios are all of them, as given. Bytes that were declared stand above an
 * estimate: a number is for one device, a map for all that it names.
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

/* ---- ways that do not depend on what is free ---------------------------------------------------------- */

static struct pm_way *add_way(struct pm_ways *ways)
{
    struct pm_way *way;

    ways->items = pm_xrealloc(ways->items, (ways->n + 1) * sizeof(*ways->items));
    way = &ways->items[ways->n++];
    memset(way, 0, sizeof(*way));
    way->n_layers = ways->model ? (unsigned)ways->model->n_layers + 1 : 0;
    return way;
}

static void add_single(struct pm_ways *ways, uint32_t account)
{
    const struct pm_estimate *estimate = &ways->estimate;
    struct pm_way *way = add_way(ways);
    uint64_t bytes = ways->spec->vram.each;

    if (ways->estimated && !pm_spec_declares(ways->spec)) {
        way->estimated = true;
        way->parts[0] = (struct pm_part){.weights = estimate->weights_bytes,
                                         .kv = estimate->kv_bytes,
                                         .compute = estimate->compute_bytes,
                                         .context = estimate->context_bytes};
        bytes = pm_add_ms(pm_estimate_single(estimate), estimate->context_bytes);
    }
    way->layers[0] = way->n_layers;
    (void)pm_shares_add(&way->shares, account, bytes);
}

/* The machine's memory: what lies on a GPU elsewhere, and what stays with the host. */
static void add_on_cpu(struct pm_ways *ways)
{
    const struct pm_pool_spec *spec = ways->spec;
    const struct pm_estimate *estimate = &ways->estimate;
    uint64_t bytes = pm_device_size(&spec->vram, PM_CPU_ID);
    struct pm_way *way;

    if (!pm_spec_declares(spec) && ways->estimated)
        bytes = pm_estimate_on_cpu(estimate);
    if (bytes == 0)
        return;
    way = add_way(ways);
    way->n_layers = 0; /* there is nothing to share out */
    (void)pm_shares_add(&way->shares, PM_CPU, bytes);
    if (!pm_spec_declares(spec) && pm_spec_maps(spec))
        way->mapped =
            bytes - estimate->kv_bytes - estimate->compute_bytes -
            (ways->size_bytes > ways->model->file_bytes ? ways->size_bytes - ways->model->file_bytes
                                                        : 0);
}

static void take_split(const struct pm_ways *ways, const uint32_t *accounts,
                       const struct pm_split *split, struct pm_way *ret)
{
    uint64_t context = ways->estimate.context_bytes;

    memset(ret, 0, sizeof(*ret));
    ret->estimated = true;
    ret->n_layers = (unsigned)ways->estimate.n_items;
    for (size_t i = 0; i < split->n_used; i++) {
        size_t row = split->used[i];

        ret->layers[i] = split->counts[row];
        ret->parts[i] = (struct pm_part){
            .weights = split->weights_bytes[row],
            .kv = split->kv_bytes[row],
            .compute = split->used_bytes[row] - split->weights_bytes[row] - split->kv_bytes[row],
            .context = context};
        (void)pm_shares_add(&ret->shares, accounts[row],
                            pm_add_ms(split->used_bytes[row], context));
    }
}

static uint64_t capacity(const void *core, uint32_t account)
{
    return ((const struct pm_core *)core)->ledger.accounts[account].capacity;
}

/* Where the devices stand on the bus: engines see them in this order. */
static uint64_t order_of(const struct pm_core *core, uint32_t account)
{
    const struct pm_gpu *gpu = &core->seen_gpus[account];

    return ((uint64_t)gpu->vendor << 48) + ((uint64_t)gpu->index << 16) + (uint64_t)(gpu->slot + 1);
}

static void fill_devices(const struct pm_core *core, const struct pm_ways *ways,
                         const uint32_t *accounts, size_t n, pm_left_fn left, const void *ctx,
                         struct pm_split_device *ret)
{
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct pm_split_device){.free_bytes = left(ctx, accounts[i]),
                                          .context_bytes = ways->estimate.context_bytes,
                                          .order = order_of(core, accounts[i])};
}

static bool fixed_split(const struct pm_core *core, struct pm_ways *ways, const double *ratios,
                        size_t n_ratios, struct pm_split *ret)
{
    struct pm_split_device devices[PM_SHARES_MAX];
    size_t n = ways->n_accounts < PM_SHARES_MAX ? ways->n_accounts : PM_SHARES_MAX;

    fill_devices(core, ways, ways->accounts, n, capacity, core, devices);
    return pm_split_plan(&ways->estimate, PM_SPLIT_FIXED, ratios, n_ratios, devices, n, ret,
                         &ways->error) == POOLMGR_OK;
}

/* All devices of the mask, by the user's ratios. */
static void add_by_ratios(const struct pm_core *core, struct pm_ways *ways)
{
    double ratios[PM_SHARES_MAX];
    size_t n = pm_spec_ratios(ways->spec, ratios);
    struct pm_split split = {0};
    struct pm_way *way;

    if (ways->estimated && !fixed_split(core, ways, ratios, n, &split))
        return;
    way = add_way(ways);
    if (ways->estimated && !pm_spec_declares(ways->spec)) {
        take_split(ways, ways->accounts, &split, way);
        return;
    }
    if (!ways->estimated)
        way->n_layers = 0; /* nobody knows how they are shared out */
    for (size_t i = 0; i < ways->n_accounts && i < PM_SHARES_MAX; i++) {
        way->layers[i] = ways->estimated ? split.counts[i] : 0;
        (void)pm_shares_add(&way->shares, ways->accounts[i], ways->spec->vram.each);
    }
}

/* A map's bytes say how the layers are shared out, too. */
static void count_layers(const struct pm_core *core, struct pm_ways *ways, struct pm_way *way)
{
    struct pm_split_device devices[PM_SHARES_MAX] = {0};
    double ratios[PM_SHARES_MAX], sum = 0;
    struct pm_split split = {0};

    way->layers[0] = way->n_layers;
    if (way->shares.n == 1)
        return;
    for (uint32_t i = 0; i < way->shares.n; i++)
        sum += (double)way->shares.items[i].bytes;
    for (uint32_t i = 0; i < way->shares.n; i++) {
        ratios[i] = sum > 0 ? (double)way->shares.items[i].bytes / sum : 1.0 / way->shares.n;
        devices[i].order = order_of(core, way->shares.items[i].account);
    }
    if (!ways->estimated || pm_split_plan(&ways->estimate, PM_SPLIT_FIXED, ratios, way->shares.n,
                                          devices, way->shares.n, &split, NULL) < 0)
        way->n_layers = 0;
    for (uint32_t i = 0; i < way->shares.n; i++)
        way->layers[i] = way->n_layers > 0 ? split.counts[i] : 0;
}

static bool is_in_mask(const struct pm_ways *ways, uint32_t account)
{
    for (size_t i = 0; i < ways->n_accounts; i++) {
        if (ways->accounts[i] == account)
            return true;
    }
    return false;
}

/* All that the map names, in the order of the mask. */
static void add_by_map(const struct pm_core *core, struct pm_ways *ways)
{
    const struct pm_device_sizes *vram = &ways->spec->vram;
    struct pm_shares named = {0};
    struct pm_way *way;

    for (size_t i = 0; i < vram->devices.n; i++) {
        uint32_t account = 0;

        if (!pm_ways_account(core, vram->devices.items[i], &account, &ways->error))
            return;
        if (!is_in_mask(ways, account) || !pm_shares_add(&named, account, vram->bytes[i])) {
            (void)pm_fail(&ways->error, POOLMGR_E_MASK_NOT_FOUND,
                          "'vram' names device '%.64s', which is not in its devices, or twice",
                          vram->devices.items[i]);
            return;
        }
    }
    way = add_way(ways);
    for (size_t i = 0; i < ways->n_accounts; i++) {
        for (uint32_t k = 0; k < named.n; k++) {
            if (named.items[k].account == ways->accounts[i])
                (void)pm_shares_add(&way->shares, ways->accounts[i], named.items[k].bytes);
        }
    }
    count_layers(core, ways, way);
}

/* Instances of MIG are not put together: a process uses one (DEVICES §2). */
static void find_split_accounts(const struct pm_core *core, struct pm_ways *ways)
{
    for (size_t i = 0; i < ways->n_accounts && ways->n_split < PM_SHARES_MAX; i++) {
        const struct pm_gpu *gpu = &core->seen_gpus[ways->accounts[i]];

        if (gpu->slot < 0 && gpu->vendor == core->seen_gpus[ways->accounts[0]].vendor)
            ways->split_accounts[ways->n_split++] = ways->accounts[i];
    }
    if (ways->n_split == 1)
        ways->n_split = 0;
}

void pm_ways_lay(const struct pm_core *core, struct pm_ways *ways)
{
    const struct pm_pool_spec *spec = ways->spec;
    enum pm_split_mode mode = pm_spec_split_mode(spec);

    if (pm_ways_on_cpu(core, spec)) {
        add_on_cpu(ways);
    } else if (spec->vram.devices.n > 0) {
        add_by_map(core, ways);
    } else if (mode == PM_SPLIT_FIXED) {
        add_by_ratios(core, ways);
    } else {
        for (size_t i = 0; i < ways->n_accounts; i++)
            add_single(ways, ways->accounts[i]);
        if (mode == PM_SPLIT_AUTO && ways->estimated && !pm_spec_declares(spec))
            find_split_accounts(core, ways);
    }
}

/* ---- splits ---------------------------------------------------------------------------------------------- */

const struct pm_way *pm_ways_split(const struct pm_core *core, const struct pm_pool_spec *spec,
                                   enum pm_split_use use, pm_left_fn left, const void *ctx)
{
    struct pm_ways *ways = (struct pm_ways *)pm_ways_of(core, spec);
    struct pm_split_memo *memo = &ways->memos[use];
    struct pm_split_device devices[PM_SHARES_MAX];
    uint64_t now[PM_SHARES_MAX] = {0};
    struct pm_split split;

    if (ways->n_split == 0)
        return NULL;
    fill_devices(core, ways, ways->split_accounts, ways->n_split, left, ctx, devices);
    for (size_t i = 0; i < ways->n_split; i++)
        now[i] = devices[i].free_bytes;
    if (!memo->known || memcmp(now, memo->left, sizeof(now)) != 0) {
        memo->known = true;
        memcpy(memo->left, now, sizeof(now));
        memo->fits = pm_split_plan(&ways->estimate, PM_SPLIT_AUTO, NULL, 0, devices, ways->n_split,
                                   &split, NULL) == POOLMGR_OK &&
                     split.fits;
        if (memo->fits)
            take_split(ways, ways->split_accounts, &split, &memo->way);
    }
    return memo->fits ? &memo->way : NULL;
}

uint64_t pm_ways_split_lacks(const struct pm_core *core, const struct pm_ways *ways,
                             uint32_t *ret_account)
{
    struct pm_split_device devices[PM_SHARES_MAX];
    struct pm_split split;

    if (ways->n_split == 0)
        return 0;
    fill_devices(core, ways, ways->split_accounts, ways->n_split, capacity, core, devices);
    if (pm_split_plan(&ways->estimate, PM_SPLIT_AUTO, NULL, 0, devices, ways->n_split, &split,
                      NULL) < 0 ||
        split.fits)
        return 0;
    *ret_account = ways->split_accounts[split.short_device];
    return split.short_bytes;
}

/* What of the CPU's memory is left for what would lie on a GPU elsewhere. */
static struct pm_split_device cpu_beside_host(const struct pm_core *core,
                                              const struct pm_ways *ways)
{
    uint64_t host = ways->estimate.host_bytes - ways->estimate.tied_bytes;
    uint64_t has = capacity(core, PM_CPU);

    return (struct pm_split_device){.free_bytes = has > host ? has - host : 0};
}

uint64_t pm_ways_largest_context(const struct pm_core *core, const struct pm_ways *ways)
{
    struct pm_estimate_ask ask = pm_ways_ask(core, ways);
    struct pm_split_device devices[PM_SHARES_MAX];
    double ratios[PM_SHARES_MAX];
    enum pm_split_mode mode =
        pm_ways_on_cpu(core, ways->spec) ? PM_SPLIT_NONE : pm_spec_split_mode(ways->spec);
    size_t n = ways->n_accounts < PM_SHARES_MAX ? ways->n_accounts : PM_SHARES_MAX;
    size_t n_ratios = mode == PM_SPLIT_FIXED ? pm_spec_ratios(ways->spec, ratios) : 0;
    uint64_t tokens = 0;

    if (!ways->estimated || pm_spec_declares(ways->spec))
        return 0;
    if (pm_ways_on_cpu(core, ways->spec))
        devices[0] = cpu_beside_host(core, ways);
    else
        fill_devices(core, ways, ways->accounts, n, capacity, core, devices);
    return pm_split_largest_context(ways->model, &ask, mode, n_ratios > 0 ? ratios : NULL, n_ratios,
                                    devices, n, &tokens, NULL) == POOLMGR_OK
               ? tokens
               : 0;
}
