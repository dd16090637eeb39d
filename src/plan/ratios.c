/* SPDX-License-Identifier: Apache-2.0 */
/* Ratios of a user to counts of items, and counts to ratios for people. */
#include <math.h>

#include "plan/internal.h"

#define SUM_TOLERANCE 1e-6

int pm_cut_check_ratios(const double *ratios, size_t n_ratios, size_t n, struct poolmgr_error *err)
{
    double sum = 0;

    if (n_ratios != n)
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID, "%zu %s for %zu %s: each has one", n_ratios,
                       n_ratios == 1 ? "ratio" : "ratios", n, n == 1 ? "device" : "devices");

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(ratios[i]) || ratios[i] < 0)
            return pm_fail(err, POOLMGR_E_CONFIG_INVALID, "ratio %zu is %g; ratios are from 0 to 1",
                           i + 1, ratios[i]);
        sum += ratios[i];
    }

    if (fabs(sum - 1) > SUM_TOLERANCE)
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID, "the ratios sum to %.9g, not to 1", sum);

    return POOLMGR_OK;
}

void pm_cut_by_ratios(const struct pm_cut *cut, const double *ratios, size_t at[PM_SHARES_MAX + 1])
{
    size_t counts[PM_SHARES_MAX], left = cut->n_items;
    double remainders[PM_SHARES_MAX];

    for (size_t d = 0; d < cut->n; d++) {
        double exact = ratios[cut->device[d]] * (double)cut->n_items;

        counts[d] = (size_t)exact;
        if (counts[d] > left)
            counts[d] = left;
        remainders[d] = exact - (double)counts[d];
        left -= counts[d];
    }

    for (; left > 0; left--) {
        size_t most = 0;

        for (size_t d = 1; d < cut->n; d++) {
            if (remainders[d] > remainders[most])
                most = d;
        }
        counts[most]++;
        remainders[most] -= 1;
    }

    at[0] = 0;
    for (size_t d = 0; d < cut->n; d++)
        at[d + 1] = at[d] + counts[d];
}

void pm_split_ratios(const struct pm_split *split, double ret[PM_SHARES_MAX])
{
    unsigned n_items = 0;
    double rest = 1;

    for (size_t i = 0; i < split->n_used; i++)
        n_items += split->counts[split->used[i]];
    for (size_t i = 0; i < split->n_used; i++) {
        ret[i] = i + 1 < split->n_used ? (double)split->counts[split->used[i]] / n_items : rest;
        rest -= ret[i];
    }
}
