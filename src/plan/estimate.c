/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/estimate.h"

#include <stdlib.h>

struct pm_estimate_ask pm_estimate_ask_default(void)
{
    return (struct pm_estimate_ask){.n_slots = 1, .cache_k = PM_CACHE_F16, .cache_v = PM_CACHE_F16};
}

int pm_estimate_make(const struct pm_model *model, const struct pm_estimate_ask *ask,
                     struct pm_estimate *ret, struct poolmgr_error *err)
{
    (void)model, (void)ask, (void)ret;
    return pm_fail(err, POOLMGR_E_UNSUPPORTED, "nothing is estimated yet");
}

void pm_estimate_fini(struct pm_estimate *estimate)
{
    free(estimate->weights);
    free(estimate->kv);
    *estimate = (struct pm_estimate){0};
}

uint64_t pm_estimate_single(const struct pm_estimate *estimate)
{
    return estimate->weights_bytes + estimate->kv_bytes + estimate->compute_bytes;
}

uint64_t pm_estimate_on_cpu(const struct pm_estimate *estimate)
{
    return pm_estimate_single(estimate) + estimate->host_bytes - estimate->tied_bytes;
}
