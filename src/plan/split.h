/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which layers go to which device: DEVICES §8. Items of an estimate (layers in order, then the output) are cut into
 * contiguous ranges, one a device, in PCI order. A device with a range pays its items and its compute buffer; one without pays
 * nothing. Pure and deterministic; fractions are compared exactly.
 */
#ifndef PM_PLAN_SPLIT_H
#define PM_PLAN_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/estimate.h"
#include "plan/ledger.h"

#define PM_SPLIT_CONTEXT_STEP 256

/* Capacity is free − reserve − context; nothing fits where that is negative. */
struct pm_split_device {
    uint64_t free_bytes;
    uint64_t reserve_bytes; /* kept free for others */
    uint64_t context_bytes; /* CUDA context of the engine */
    uint64_t order;         /* position in PCI order; equal ones stay in the order given */
};

enum pm_split_mode {
    PM_SPLIT_NONE,     /* all on one device: the one with the smallest capacity that fits */
    PM_SPLIT_AUTO,     /* one device if one fits; else the fewest; then the smallest maximum of
                        * used / capacity; then the smallest boundaries */
    PM_SPLIT_BALANCED, /* over all devices: the smallest maximum of used / capacity; then the smallest
                        * boundaries */
    PM_SPLIT_FIXED,    /* by a user's ratios */
};

/* Arrays have one row for each device, in the order in which the devices were given. */
struct pm_split {
    bool fits;
    size_t n; /* devices given */
    /* Items of each, the output among them; 0 takes no part. They are the engine's -ts, in the order of `used`. */
    unsigned counts[PM_SHARES_MAX];
    uint64_t used_bytes[PM_SHARES_MAX]; /* weights + KV + compute buffer */
    uint64_t weights_bytes[PM_SHARES_MAX];
    uint64_t kv_bytes[PM_SHARES_MAX];
    size_t n_used;
    size_t used
        [PM_SHARES_MAX]; /* devices that take part, in PCI order: the engine's CUDA0, CUDA1, … */
    /* Where it does not fit: so many bytes more on that device would make it fit, and one less would not. By ratios, where
     * several may be short: the one that lacks most, and what it lacks; and only there the rows above are filled, too. */
    size_t short_device;
    uint64_t short_bytes;
};

/*
 * @param ratios  For PM_SPLIT_FIXED, one a device in the order given: finite, ≥ 0, sum within 1e-6 of 1. Else not looked at.
 *
 * @return POOLMGR_OK, whether it fits or not; POOLMGR_E_CONFIG_INVALID: no device, more than PM_SHARES_MAX, ratios that are
 *         not as above (the message says which).
 */
int pm_split_plan(const struct pm_estimate *estimate, enum pm_split_mode mode, const double *ratios,
                  size_t n_ratios, const struct pm_split_device *devices, size_t n,
                  struct pm_split *ret, struct poolmgr_error *err);

/* One each of used[0..n_used), count / (layers + 1), the last 1 − the rest: for people. An engine is given counts. */
void pm_split_ratios(const struct pm_split *split, double ret[PM_SHARES_MAX]);

/*
 * The largest context of one request that fits: a multiple of PM_SPLIT_CONTEXT_STEP up to what the model was trained on (of one
 * trained on less, that); 0: none does. Of a model that does not say what it was trained on: up to ask->context, which is not
 * looked at else.
 *
 * @return POOLMGR_OK; what pm_estimate_make() and pm_split_plan() return for the smallest context.
 */
int pm_split_largest_context(const struct pm_model *model, const struct pm_estimate_ask *ask,
                             enum pm_split_mode mode, const double *ratios, size_t n_ratios,
                             const struct pm_split_device *devices, size_t n, uint64_t *ret,
                             struct poolmgr_error *err);

#endif
