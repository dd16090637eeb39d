/* SPDX-License-Identifier: Apache-2.0 */
/* More context never takes less memory: what fits is found by bisection. */
#include "plan/internal.h"

struct search {
    const struct pm_model *model;
    struct pm_estimate_ask ask;
    enum pm_split_mode mode;
    const double *ratios;
    const struct pm_split_device *devices;
    size_t n;
};

static int try_context(struct search *search, uint64_t context, bool *ret,
                       struct poolmgr_error *err)
{
    struct pm_estimate estimate;
    int r;

    search->ask.context = context;
    r = pm_estimate_make(search->model, &search->ask, &estimate, err);
    if (r < 0)
        return r;

    *ret = pm_split_fits(&estimate, search->mode, search->ratios, search->devices, search->n);
    pm_estimate_fini(&estimate);
    return POOLMGR_OK;
}

/* What cannot be estimated is too large: an engine could not be asked for it either. */
static bool fits_context(struct search *search, uint64_t context)
{
    bool fits = false;

    return try_context(search, context, &fits, NULL) == POOLMGR_OK && fits;
}

int pm_split_largest_context(const struct pm_model *model, const struct pm_estimate_ask *ask,
                             enum pm_split_mode mode, const double *ratios, size_t n_ratios,
                             const struct pm_split_device *devices, size_t n, uint64_t *ret,
                             struct poolmgr_error *err)
{
    struct search search = {model, *ask, mode, ratios, devices, n};
    uint64_t most = model->context > 0 ? model->context : ask->context;
    uint64_t step = most < PM_SPLIT_CONTEXT_STEP ? most : PM_SPLIT_CONTEXT_STEP;
    uint64_t low = 0, high;
    bool fits = false;
    int r;

    r = pm_split_check(mode, ratios, n_ratios, n, err);
    if (r == POOLMGR_OK)
        r = try_context(&search, step, &fits, err);
    if (r < 0)
        return r;

    /* In steps: `low` fits, or is 0. */
    for (high = fits ? most / step : 0; low < high;) {
        uint64_t middle = high - (high - low) / 2;

        if (fits_context(&search, middle * step))
            low = middle;
        else
            high = middle - 1;
    }

    *ret = low * step;
    return POOLMGR_OK;
}
