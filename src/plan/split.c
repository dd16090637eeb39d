/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Greedy decides: where each device in turn takes the longest range that it can hold, and something is left over, nothing
 * else would hold it either. How far each gets, from the left and from the right, also says what is lacking: with one device
 * made large enough for what lies between the two, all fits, and with a byte less nothing does. Which of the feasible cuts
 * is taken is the matter of balance.c.
 */
#include "plan/split.h"

#include <stdlib.h>
#include <string.h>

#include "plan/internal.h"
#include "util/str.h"

/* ---- the question ------------------------------------------------------------------------------------- */

static void order_devices(struct pm_cut *cut, const struct pm_split_device *devices, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = i;

        for (; at > 0 && devices[cut->device[at - 1]].order > devices[i].order; at--)
            cut->device[at] = cut->device[at - 1];
        cut->device[at] = i;
    }
}

static void cut_fini(struct pm_cut *cut)
{
    free(cut->cost);
}

static void cut_init(struct pm_cut *cut, const struct pm_estimate *estimate,
                     const struct pm_split_device *devices, size_t n)
{
    uint64_t in_split = 0;

    *cut = (struct pm_cut){
        .n_items = estimate->n_items,
        .n = n,
        .cost = pm_xalloc((estimate->n_items + 1) * sizeof(*cut->cost)),
        .compute_single = estimate->compute_bytes,
        .compute_split = estimate->compute_split_bytes,
    };
    cut->cost[0] = 0;
    for (size_t i = 0; i < cut->n_items; i++) {
        uint64_t more = estimate->split ? estimate->split[i] : 0;

        cut->cost[i + 1] = cut->cost[i] + estimate->weights[i] + estimate->kv[i] + more;
        in_split += more;
    }

    /* What the first and the last of several pay more goes with the first item and the last; one that holds all pays nothing more. */
    for (size_t i = 1; i <= cut->n_items; i++)
        cut->cost[i] += estimate->compute_first_bytes;
    cut->cost[cut->n_items] += estimate->compute_last_bytes;
    cut->compute_single -= estimate->compute_first_bytes + estimate->compute_last_bytes + in_split;

    order_devices(cut, devices, n);
    for (size_t d = 0; d < n; d++) {
        const struct pm_split_device *device = &devices[cut->device[d]];

        cut->capacity[d] =
            (pm_wide)device->free_bytes - device->reserve_bytes - device->context_bytes;
    }
}

static bool holds(const struct pm_cut *cut, uint64_t compute, size_t d, size_t from, size_t to)
{
    return from >= to || (pm_wide)pm_cut_used(cut, compute, from, to) <= cut->capacity[d];
}

/* Bytes that device d lacks to hold [from, to); not above 0: it holds them. */
static pm_wide lack(const struct pm_cut *cut, uint64_t compute, size_t d, size_t from, size_t to)
{
    return from >= to ? 0 : (pm_wide)pm_cut_used(cut, compute, from, to) - cut->capacity[d];
}

/* ---- one device --------------------------------------------------------------------------------------- */

/* The smallest that holds all, of equal ones the first; cut->n: none does. */
static size_t find_single(const struct pm_cut *cut)
{
    size_t best = cut->n;

    for (size_t d = 0; d < cut->n; d++) {
        if (holds(cut, cut->compute_single, d, 0, cut->n_items) &&
            (best == cut->n || cut->capacity[d] < cut->capacity[best]))
            best = d;
    }

    return best;
}

static void set_single(const struct pm_cut *cut, size_t d, size_t at[PM_SHARES_MAX + 1])
{
    for (size_t i = 0; i <= cut->n; i++)
        at[i] = i <= d ? 0 : cut->n_items;
}

/* ---- several ------------------------------------------------------------------------------------------ */

/* The end of the longest range from `from` that device d holds. */
static size_t reach_right(const struct pm_cut *cut, size_t d, size_t from)
{
    size_t low = from, high = cut->n_items;

    while (low < high) {
        size_t middle = high - (high - low) / 2;

        if (holds(cut, cut->compute_split, d, from, middle))
            low = middle;
        else
            high = middle - 1;
    }

    return low;
}

static size_t reach_left(const struct pm_cut *cut, size_t d, size_t to)
{
    size_t low = 0, high = to;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (holds(cut, cut->compute_split, d, middle, to))
            high = middle;
        else
            low = middle + 1;
    }

    return low;
}

/* Devices that are needed at least; 0: all of them do not hold everything. */
static size_t count_needed(const struct pm_cut *cut)
{
    /* Where the first devices get to, with one in play more each time. */
    size_t before[PM_SHARES_MAX + 1] = {0}, now[PM_SHARES_MAX + 1] = {0};

    for (size_t k = 1; k <= cut->n; k++) {
        for (size_t d = 0; d < cut->n; d++) {
            size_t reached = reach_right(cut, d, before[d]);

            now[d + 1] = reached > now[d] ? reached : now[d];
        }
        if (now[cut->n] == cut->n_items)
            return k;
        memcpy(before, now, sizeof(before));
    }

    return 0;
}

static bool all_fit(const struct pm_cut *cut)
{
    size_t reached = 0;

    for (size_t d = 0; d < cut->n; d++)
        reached = reach_right(cut, d, reached);
    return reached == cut->n_items;
}

/* ---- what is lacking ---------------------------------------------------------------------------------- */

/* The least that one device lacks, of equal ones the first. */
static void explain_single(const struct pm_cut *cut, size_t *ret, pm_wide *ret_lack)
{
    *ret = 0;
    *ret_lack = lack(cut, cut->compute_single, 0, 0, cut->n_items);
    for (size_t d = 1; d < cut->n; d++) {
        pm_wide lacking = lack(cut, cut->compute_single, d, 0, cut->n_items);

        if (lacking < *ret_lack) {
            *ret = d;
            *ret_lack = lacking;
        }
    }
}

static void explain_several(const struct pm_cut *cut, size_t *ret, pm_wide *ret_lack)
{
    size_t from_right[PM_SHARES_MAX + 1], reached = 0;

    from_right[cut->n] = cut->n_items;
    for (size_t d = cut->n; d-- > 0;)
        from_right[d] = reach_left(cut, d, from_right[d + 1]);

    for (size_t d = 0; d < cut->n; d++) {
        pm_wide lacking = lack(cut, cut->compute_split, d, reached, from_right[d + 1]);

        if (lacking < *ret_lack) {
            *ret = d;
            *ret_lack = lacking;
        }
        reached = reach_right(cut, d, reached);
    }
}

static void set_short(const struct pm_cut *cut, size_t d, pm_wide lacking, struct pm_split *split)
{
    split->fits = false;
    split->short_device = cut->device[d];
    split->short_bytes = lacking > (pm_wide)UINT64_MAX ? UINT64_MAX : (uint64_t)lacking;
}

static void explain(const struct pm_cut *cut, enum pm_split_mode mode, struct pm_split *split)
{
    size_t d;
    pm_wide lacking;

    explain_single(cut, &d, &lacking);
    if (mode != PM_SPLIT_NONE)
        explain_several(cut, &d, &lacking);
    set_short(cut, d, lacking, split);
}

static size_t count_used(const struct pm_cut *cut, const size_t *at)
{
    size_t n = 0;

    for (size_t d = 0; d < cut->n; d++)
        n += at[d + 1] > at[d];
    return n;
}

static uint64_t compute_of(const struct pm_cut *cut, const size_t *at)
{
    return count_used(cut, at) > 1 ? cut->compute_split : cut->compute_single;
}

static void check_fixed(const struct pm_cut *cut, const size_t *at, struct pm_split *split)
{
    uint64_t compute = compute_of(cut, at);
    pm_wide most = 0;

    for (size_t d = 0; d < cut->n; d++) {
        pm_wide lacking = lack(cut, compute, d, at[d], at[d + 1]);

        if (lacking > most) {
            most = lacking;
            set_short(cut, d, lacking, split);
        }
    }
}

/* ---- does it fit -------------------------------------------------------------------------------------- */

bool pm_split_fits(const struct pm_estimate *estimate, enum pm_split_mode mode,
                   const double *ratios, const struct pm_split_device *devices, size_t n)
{
    struct pm_split split = {.fits = true};
    size_t at[PM_SHARES_MAX + 1];
    struct pm_cut cut;

    cut_init(&cut, estimate, devices, n);
    if (mode == PM_SPLIT_FIXED) {
        pm_cut_by_ratios(&cut, ratios, at);
        check_fixed(&cut, at, &split);
    } else {
        split.fits = find_single(&cut) < cut.n || (mode != PM_SPLIT_NONE && all_fit(&cut));
    }
    cut_fini(&cut);
    return split.fits;
}

int pm_split_check(enum pm_split_mode mode, const double *ratios, size_t n_ratios, size_t n,
                   struct poolmgr_error *err)
{
    if (n == 0)
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID, "there is no device to plan for");

    if (n > PM_SHARES_MAX)
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID, "%zu devices are more than %d", n,
                       PM_SHARES_MAX);

    return mode == PM_SPLIT_FIXED ? pm_cut_check_ratios(ratios, n_ratios, n, err) : POOLMGR_OK;
}

/* ---- the answer --------------------------------------------------------------------------------------- */

static bool is_before(const size_t *a, const size_t *b, size_t n)
{
    for (size_t i = 0; i <= n; i++) {
        if (a[i] != b[i])
            return a[i] < b[i];
    }
    return false;
}

/* Takes `other`, everything on one device, where it is better: it may, since that device needs no more than the compute buffer of
 * one. */
static void take_better(const struct pm_cut *cut, const size_t *other, size_t at[PM_SHARES_MAX + 1])
{
    int order = pm_cut_compare(cut, other, cut->compute_single, at, compute_of(cut, at));

    if (order < 0 || (order == 0 && is_before(other, at, cut->n)))
        memcpy(at, other, sizeof(at[0]) * (cut->n + 1));
}

/* False: not even all devices together hold everything. */
static bool balance(const struct pm_cut *cut, size_t at[PM_SHARES_MAX + 1])
{
    bool found = all_fit(cut);

    if (found)
        pm_cut_balance(cut, cut->n, at);

    for (size_t d = 0; d < cut->n; d++) {
        size_t single[PM_SHARES_MAX + 1];

        if (!holds(cut, cut->compute_single, d, 0, cut->n_items))
            continue;
        set_single(cut, d, single);
        if (found)
            take_better(cut, single, at);
        else
            memcpy(at, single, sizeof(at[0]) * (cut->n + 1));
        found = true;
    }

    return found;
}

static bool choose(const struct pm_cut *cut, enum pm_split_mode mode, size_t at[PM_SHARES_MAX + 1])
{
    size_t single, n_needed;

    if (mode == PM_SPLIT_BALANCED)
        return balance(cut, at);

    single = find_single(cut);
    if (single < cut->n) {
        set_single(cut, single, at);
        return true;
    }

    n_needed = mode == PM_SPLIT_AUTO ? count_needed(cut) : 0;
    if (n_needed > 0)
        pm_cut_balance(cut, n_needed, at);
    return n_needed > 0;
}

static void fill_rows(const struct pm_cut *cut, const struct pm_estimate *estimate,
                      const size_t *at, struct pm_split *split)
{
    uint64_t compute = compute_of(cut, at);

    for (size_t d = 0; d < cut->n; d++) {
        size_t row = cut->device[d];

        if (at[d + 1] == at[d])
            continue;
        split->used[split->n_used++] = row;
        split->counts[row] = (unsigned)(at[d + 1] - at[d]);
        split->used_bytes[row] = pm_cut_used(cut, compute, at[d], at[d + 1]);
        for (size_t i = at[d]; i < at[d + 1]; i++) {
            split->weights_bytes[row] += estimate->weights[i];
            split->kv_bytes[row] += estimate->kv[i];
        }
    }
}

int pm_split_plan(const struct pm_estimate *estimate, enum pm_split_mode mode, const double *ratios,
                  size_t n_ratios, const struct pm_split_device *devices, size_t n,
                  struct pm_split *ret, struct poolmgr_error *err)
{
    size_t at[PM_SHARES_MAX + 1];
    struct pm_split split = {.fits = true, .n = n};
    struct pm_cut cut;
    int r;

    r = pm_split_check(mode, ratios, n_ratios, n, err);
    if (r < 0)
        return r;

    cut_init(&cut, estimate, devices, n);
    if (mode == PM_SPLIT_FIXED) {
        pm_cut_by_ratios(&cut, ratios, at);
        check_fixed(&cut, at, &split);
        fill_rows(&cut, estimate, at, &split);
    } else if (choose(&cut, mode, at)) {
        fill_rows(&cut, estimate, at, &split);
    } else {
        explain(&cut, mode, &split);
    }
    cut_fini(&cut);
    *ret = split;
    return POOLMGR_OK;
}
