/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/split.h"

int pm_split_plan(const struct pm_estimate *estimate, enum pm_split_mode mode, const double *ratios,
                  size_t n_ratios, const struct pm_split_device *devices, size_t n,
                  struct pm_split *ret, struct poolmgr_error *err)
{
    (void)estimate, (void)mode, (void)ratios, (void)n_ratios, (void)devices, (void)n, (void)ret;
    return pm_fail(err, POOLMGR_E_UNSUPPORTED, "nothing is split yet");
}

int pm_split_largest_context(const struct pm_model *model, const struct pm_estimate_ask *ask,
                             enum pm_split_mode mode, const double *ratios, size_t n_ratios,
                             const struct pm_split_device *devices, size_t n, uint64_t *ret,
                             struct poolmgr_error *err)
{
    (void)model, (void)ask, (void)mode, (void)ratios, (void)n_ratios, (void)devices, (void)n,
        (void)ret;
    return pm_fail(err, POOLMGR_E_UNSUPPORTED, "nothing is split yet");
}
