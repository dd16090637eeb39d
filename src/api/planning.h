/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking for a plan: a model, what is wanted of it, and devices; the answer as INTERFACES §5 has it. One answer for the API and
 * for `poolctl plan`, which needs no daemon for it. Asks, and changes nothing.
 */
#ifndef PM_API_PLANNING_H
#define PM_API_PLANNING_H

#include <jansson.h>

#include "plan/mask.h"
#include "plan/split.h"

#define PM_PLANNING_RESERVE_BYTES (UINT64_C(1) << 30) /* what devices.reserve is by default */

struct pm_planning_device {
    struct pm_gpu gpu; /* its id is what an engine's environment names it by: a UUID, or an index */
    struct pm_split_device is; /* context_bytes 0: the estimate's */
};

struct pm_planning {
    const struct pm_model *model;
    const char *ref; /* as it was asked for */
    struct pm_estimate_ask ask;
    enum pm_split_mode mode;
    const double *ratios; /* of PM_SPLIT_FIXED */
    size_t n_ratios;
    const struct pm_planning_device *devices;
    size_t n_devices;
    bool on_cpu;    /* the only device is the CPU */
    bool knows_fit; /* the engine knows -fit, which has to be switched off */
};

/*
 * Where it does not fit, `devices` shows the plan that would, were the short device as much larger as it lacks.
 *
 * @param[out] ret  The caller's.
 *
 * @return POOLMGR_OK, whether it fits or not; what pm_estimate_make() and pm_split_plan() return.
 */
int pm_planning_answer(const struct pm_planning *planning, json_t **ret, struct poolmgr_error *err);

/*
 * Which of n devices the mask means, in its order. Of more than PM_SHARES_MAX instances of MIG, of which an engine uses one, those
 * with the most room. What pm_mask_resolve() refuses; POOLMGR_E_MASK_TOO_LONG: more than PM_SHARES_MAX.
 */
int pm_planning_choose(const struct pm_mask *mask, const struct pm_planning_device *devices,
                       size_t n, struct pm_planning_device chosen[PM_SHARES_MAX], size_t *ret_n,
                       struct poolmgr_error *err);

/* The CPU in place of devices[0] and all others. */
void pm_planning_on_cpu(struct pm_planning *planning, struct pm_planning_device *devices,
                        uint64_t free_bytes, uint64_t reserve_bytes);

/* The i-th device of a machine that is only spoken of. */
struct pm_planning_device pm_planning_imagine(size_t i, uint64_t free_bytes);

/* "none", "auto", or "[0.67,0.33]" as a pool's tensor_split has it; or "balanced". False: none of them. ratios: PM_SHARES_MAX. */
bool pm_planning_read_split(const char *text, enum pm_split_mode *ret, double *ratios,
                            size_t *ret_n);

#endif
