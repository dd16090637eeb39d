/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to run a spec (VRAM-1, SPLIT-1): which devices its mask means, what it takes of them, and how it may lie on
 * them. `tensor_split: none` is one device of the mask, whichever has room; `auto` is the same, or a split where no single one
 * has; ratios are all of them, as given. Bytes that were declared stand above an estimate: a number is for one device, a map
 * for all that it names.
 *
 * All of this is worked out once for a spec, and again when the devices, the model or what was measured changed. Only a
 * split depends on what is free: the last one is kept with what was free then.
 */
#include "core/ways.h"

#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define KEPT 64 /* of specs that are in use no more, before they are swept out */

/* ---- what a spec says --------------------------------------------------------------------------------- */

static bool is_cpu(const struct pm_pool_spec *spec)
{
    return strcmp(spec->devices, "cpu") == 0 || (spec->where && pm_mask_is_cpu(spec->where));
}

bool pm_ways_on_cpu(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    if (!spec->habits.ours)
        return false;
    return is_cpu(spec) ||
           (core->listed && core->n_devices == 0 && core->gpus == PM_GPUS_NONE && !spec->where);
}

const char *pm_ways_why_cpu(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    return pm_ways_on_cpu(core, spec) && !is_cpu(spec)
               ? ", on the CPU: there is no GPU in this machine"
               : "";
}

bool pm_ways_needed(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    if (!spec->habits.ours || is_cpu(spec))
        return false;
    if (core->n_devices > 0 || pm_device_awaited(core))
        return true;
    return core->listed && (core->gpus == PM_GPUS_BROKEN || spec->where);
}

static size_t read_ratios(const char *text, double *ret)
{
    size_t n = 0;
    char *end;

    if (*text != '[')
        return 0;
    while (*text != '\0' && *text != ']' && n < PM_SHARES_MAX) {
        ret[n++] = strtod(text + 1, &end);
        text = end + strspn(end, " ");
    }
    return n;
}

static enum pm_split_mode mode_of(const struct pm_pool_spec *spec)
{
    if (spec->tensor_split[0] == '[')
        return PM_SPLIT_FIXED;
    return strcmp(spec->tensor_split, "auto") == 0 ? PM_SPLIT_AUTO : PM_SPLIT_NONE;
}

static bool is_declared(const struct pm_pool_spec *spec)
{
    return spec->vram.each > 0 || spec->vram.devices.n > 0;
}

/* ---- which devices ------------------------------------------------------------------------------------- */

static void find_accounts(const struct pm_core *core, const struct pm_mask *mask, bool one_engine,
                          struct pm_ways *ways)
{
    size_t *set = pm_xalloc((core->n_devices + 1) * sizeof(*set)), n = 0;

    if (pm_mask_resolve(mask, core->seen_gpus, core->n_devices, one_engine, set, &n, NULL,
                        &ways->error) == POOLMGR_OK) {
        ways->accounts = pm_xalloc((n + 1) * sizeof(*ways->accounts));
        for (size_t i = 0; i < n; i++)
            ways->accounts[ways->n_accounts++] = (uint32_t)set[i];
    }
    free(set);
}

static void resolve(const struct pm_core *core, struct pm_ways *ways)
{
    const struct pm_pool_spec *spec = ways->spec;
    bool one_engine = mode_of(spec) == PM_SPLIT_FIXED || spec->vram.devices.n > 1;

    find_accounts(core, spec->where ? spec->where : core->everything, one_engine, ways);
}

/* The device that a key of a map names. */
static bool account_of(const struct pm_core *core, const char *key, uint32_t *ret,
                       struct poolmgr_error *err)
{
    const struct pm_known_device *device = pm_device_find(core, key);
    struct pm_mask *mask = NULL;
    size_t *set, n = 0;

    if (device) {
        *ret = (uint32_t)(device - core->devices);
        return true;
    }
    if (pm_mask_parse(key, strlen(key), &mask, NULL, err) < 0)
        return false;
    set = pm_xalloc((core->n_devices + 1) * sizeof(*set));
    if (pm_mask_resolve(mask, core->seen_gpus, core->n_devices, false, set, &n, NULL, err) ==
            POOLMGR_OK &&
        n == 1)
        *ret = (uint32_t)set[0];
    else if (n != 1)
        (void)pm_fail(err, POOLMGR_E_MASK_NOT_FOUND, "'vram' says '%.64s', which is not one device",
                      key);
    pm_mask_unref(mask);
    free(set);
    return n == 1;
}

static bool holds(const size_t *set, size_t n, uint32_t account)
{
    for (size_t i = 0; i < n; i++) {
        if (set[i] == account)
            return true;
    }
    return false;
}

bool pm_ways_within(const struct pm_core *core, const struct pm_pool_spec *spec,
                    const struct pm_mask *mask)
{
    const struct pm_ways *ways;
    bool all = true;
    size_t *set, n = 0;

    if (pm_ways_on_cpu(core, spec) || pm_mask_is_cpu(mask))
        return pm_ways_on_cpu(core, spec) && pm_mask_is_cpu(mask);
    ways = pm_ways_of(core, spec);
    set = pm_xalloc((core->n_devices + 1) * sizeof(*set));
    if (pm_mask_resolve(mask, core->seen_gpus, core->n_devices, false, set, &n, NULL, NULL) < 0)
        n = 0;
    for (size_t i = 0; i < ways->n_accounts; i++)
        all = all && holds(set, n, ways->accounts[i]);
    free(set);
    return all && n > 0 && ways->error.code == 0;
}

/* ---- how it lies on them ------------------------------------------------------------------------------- */

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

    if (ways->estimated && !is_declared(ways->spec)) {
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
    size_t n = read_ratios(ways->spec->tensor_split, ratios);
    struct pm_split split = {0};
    struct pm_way *way;

    if (ways->estimated && !fixed_split(core, ways, ratios, n, &split))
        return;
    way = add_way(ways);
    if (ways->estimated && !is_declared(ways->spec)) {
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

        if (!account_of(core, vram->devices.items[i], &account, &ways->error))
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

static void make_estimate(const struct pm_core *core, struct pm_ways *ways)
{
    struct pm_estimate_ask ask = pm_spec_ask(ways->spec);
    const struct pm_model *model = ways->model;

    if (!model || model->no_estimate[0] != '\0')
        return;
    if (ways->size_bytes > model->file_bytes)
        ask.mmproj_bytes = ways->size_bytes - model->file_bytes; /* projector, draft and the like */
    pm_memory_of(core, ways->spec, &ask.measured);
    ways->estimated = pm_estimate_make(model, &ask, &ways->estimate, NULL) == POOLMGR_OK;
}

static void make(const struct pm_core *core, struct pm_ways *ways)
{
    const struct pm_pool_spec *spec = ways->spec;
    enum pm_split_mode mode = mode_of(spec);

    resolve(core, ways);
    if (ways->error.code != 0)
        return;
    make_estimate(core, ways);
    if (spec->vram.devices.n > 0) {
        add_by_map(core, ways);
    } else if (mode == PM_SPLIT_FIXED) {
        add_by_ratios(core, ways);
    } else {
        for (size_t i = 0; i < ways->n_accounts; i++)
            add_single(ways, ways->accounts[i]);
        if (mode == PM_SPLIT_AUTO && ways->estimated && !is_declared(spec))
            find_split_accounts(core, ways);
    }
}

/* ---- what was worked out -------------------------------------------------------------------------------- */

static void clear(struct pm_ways *ways)
{
    free(ways->accounts);
    free(ways->items);
    if (ways->estimated)
        pm_estimate_fini(&ways->estimate);
    ways->accounts = NULL;
    ways->items = NULL;
    ways->n_accounts = ways->n = ways->n_split = 0;
    ways->estimated = false;
    memset(&ways->error, 0, sizeof(ways->error));
    for (size_t i = 0; i < PM_SPLIT_USES; i++)
        ways->memos[i].known = false;
}

static void forget(struct pm_core *core, struct pm_ways *ways)
{
    clear(ways);
    (void)pm_map_remove_u64(&core->ways, (uint64_t)(uintptr_t)ways->spec);
    pm_list_remove(&ways->link);
    pm_model_unref(ways->model);
    pm_pool_spec_unref(ways->spec);
    free(ways);
}

/* Specs that nobody else has. */
static void sweep(struct pm_core *core)
{
    struct pm_link *link, *next;

    for (link = core->all_ways.head.next; link != &core->all_ways.head; link = next) {
        struct pm_ways *ways = pm_container_of(link, struct pm_ways, link);

        next = link->next;
        if (ways->spec->refs == 1)
            forget(core, ways);
    }
}

static struct pm_ways *find(struct pm_core *core, const struct pm_pool_spec *spec)
{
    uint64_t key = (uint64_t)(uintptr_t)spec;
    struct pm_ways *ways = pm_map_get_u64(&core->ways, key);

    if (ways)
        return ways;
    if (core->ways.n > 4 * core->n_pools + KEPT)
        sweep(core);
    ways = pm_xalloc(sizeof(*ways));
    ways->spec = pm_pool_spec_ref((struct pm_pool_spec *)spec);
    pm_list_append(&core->all_ways, &ways->link);
    (void)pm_map_set_u64(&core->ways, key, ways);
    return ways;
}

const struct pm_ways *pm_ways_of(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    struct pm_ways *ways = find((struct pm_core *)core, spec); /* what is kept is no decision */

    if (ways->version != core->ways_version) {
        clear(ways);
        ways->version = core->ways_version;
        make(core, ways);
    }
    return ways;
}

bool pm_ways_estimated(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    return pm_ways_needed(core, spec) && core->n_devices > 0 && !is_declared(spec) &&
           pm_ways_of(core, spec)->estimated;
}

void pm_ways_know(struct pm_core *core, const struct pm_pool_spec *spec, struct pm_model *model,
                  uint64_t size_bytes)
{
    struct pm_ways *ways = find(core, spec);

    if (ways->size_bytes == size_bytes && (!model || ways->model == model))
        return; /* as it was known before */
    pm_model_unref(ways->model);
    ways->model = pm_model_ref(model);
    ways->size_bytes = size_bytes;
    ways->version = 0;
}

void pm_ways_inherit(struct pm_core *core, const struct pm_pool_spec *from,
                     const struct pm_pool_spec *to)
{
    const struct pm_ways *known = pm_map_get_u64(&core->ways, (uint64_t)(uintptr_t)from);

    if (known && known->model && from != to && pm_spec_compare(from, to) != PM_SPEC_ENGINE)
        pm_ways_know(core, to, known->model, known->size_bytes);
}

void pm_ways_changed(struct pm_core *core)
{
    core->ways_version++;
}

void pm_ways_fini(struct pm_core *core)
{
    while (!pm_list_empty(&core->all_ways))
        forget(core, pm_container_of(pm_list_first(&core->all_ways), struct pm_ways, link));
    pm_map_fini(&core->ways);
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

uint64_t pm_ways_largest_context(const struct pm_core *core, const struct pm_ways *ways)
{
    struct pm_estimate_ask ask = pm_spec_ask(ways->spec);
    struct pm_split_device devices[PM_SHARES_MAX];
    double ratios[PM_SHARES_MAX];
    enum pm_split_mode mode = mode_of(ways->spec);
    size_t n = ways->n_accounts < PM_SHARES_MAX ? ways->n_accounts : PM_SHARES_MAX;
    size_t n_ratios = mode == PM_SPLIT_FIXED ? read_ratios(ways->spec->tensor_split, ratios) : 0;
    uint64_t tokens = 0;

    if (!ways->estimated || is_declared(ways->spec))
        return 0;
    if (ways->size_bytes > ways->model->file_bytes)
        ask.mmproj_bytes = ways->size_bytes - ways->model->file_bytes;
    pm_memory_of(core, ways->spec, &ask.measured);
    fill_devices(core, ways, ways->accounts, n, capacity, core, devices);
    return pm_split_largest_context(ways->model, &ask, mode, n_ratios > 0 ? ratios : NULL, n_ratios,
                                    devices, n, &tokens, NULL) == POOLMGR_OK
               ? tokens
               : 0;
}
