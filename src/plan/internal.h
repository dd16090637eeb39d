/* SPDX-License-Identifier: Apache-2.0 */
/* What split.c (feasible or not, and what is lacking), balance.c (which of the feasible), ratios.c and context.c share. */
#ifndef PM_PLAN_INTERNAL_H
#define PM_PLAN_INTERNAL_H

#include "plan/split.h"

/* Signed: a capacity may be negative, and what is lacking is a difference. */
__extension__ typedef __int128 pm_wide;

/* One question: rows are devices in PCI order. Boundaries: of n + 1, the first 0, the last n_items; device d has the items
 * [at[d], at[d + 1]). */
struct pm_cut {
    size_t n_items, n;
    /* cost[i]: bytes of the items before i, with what their devices pay more in a split. That is not in compute_single, which
     * may wrap below 0 therefore: what holds all items is above it again. */
    uint64_t *cost;
    uint64_t compute_single, compute_split;
    size_t device[PM_SHARES_MAX]; /* whose row it is, as given */
    pm_wide capacity[PM_SHARES_MAX];
};

/* Bytes of the items [from, to) and a compute buffer. */
uint64_t pm_cut_used(const struct pm_cut *cut, uint64_t compute, size_t from, size_t to);

/* The balanced boundaries over at most n_most devices, each within its capacity: the smallest maximum of used / capacity, then
 * the smallest. There are some: the caller has looked. */
void pm_cut_balance(const struct pm_cut *cut, size_t n_most, size_t at[PM_SHARES_MAX + 1]);

/* -1, 0, 1: the maximum of used / capacity of one is less, the same, more. compute as each pays it. */
int pm_cut_compare(const struct pm_cut *cut, const size_t *a, uint64_t compute_a, const size_t *b,
                   uint64_t compute_b);

/* What pm_split_plan() refuses. */
int pm_split_check(enum pm_split_mode mode, const double *ratios, size_t n_ratios, size_t n,
                   struct poolmgr_error *err);
/* Whether there is a plan, without making it; of what was checked. */
bool pm_split_fits(const struct pm_estimate *estimate, enum pm_split_mode mode,
                   const double *ratios, const struct pm_split_device *devices, size_t n);

int pm_cut_check_ratios(const double *ratios, size_t n_ratios, size_t n, struct poolmgr_error *err);
/* Whole items first, then one more each to those with the largest remainder, of equal ones the first. */
void pm_cut_by_ratios(const struct pm_cut *cut, const double *ratios, size_t at[PM_SHARES_MAX + 1]);

#endif
