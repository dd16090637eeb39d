/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices a spec may use: what its mask means among those that are known (MASK-1), now. Where no mask is given it is
 * all that can be used.
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

/* Which accounts a mask means: GPUs alone. *ret has room for all; false: it means none of them. */
static bool resolve(const struct pm_core *core, const struct pm_mask *mask, bool one_engine,
                    size_t *ret, size_t *ret_n, struct poolmgr_error *err)
{
    *ret_n = 0;
    if (pm_mask_resolve(mask, core->seen_gpus + 1, core->n_devices - 1, one_engine, ret, ret_n,
                        NULL, err) < 0)
        return false;
    for (size_t i = 0; i < *ret_n; i++)
        ret[i]++;
    return true;
}

static void find_accounts(const struct pm_core *core, const struct pm_mask *mask, bool one_engine,
                          struct pm_ways *ways)
{
    size_t *set = pm_xalloc((core->n_devices + 1) * sizeof(*set)), n;

    if (resolve(core, mask, one_engine, set, &n, &ways->error)) {
        ways->accounts = pm_xalloc((n + 1) * sizeof(*ways->accounts));
        for (size_t i = 0; i < n; i++)
            ways->accounts[ways->n_accounts++] = (uint32_t)set[i];
    }
    free(set);
}

void pm_ways_resolve(const struct pm_core *core, struct pm_ways *ways)
{
    const struct pm_pool_spec *spec = ways->spec;
    bool one_engine = pm_spec_split_mode(spec) == PM_SPLIT_FIXED || spec->vram.devices.n > 1;

    if (pm_ways_on_cpu(core, spec)) {
        ways->accounts = pm_xalloc(sizeof(*ways->accounts));
        ways->accounts[ways->n_accounts++] = PM_CPU;
        return;
    }
    find_accounts(core, spec->where ? spec->where : core->everything, one_engine, ways);
}

/* The device that a key of a map names. */
bool pm_ways_account(const struct pm_core *core, const char *key, uint32_t *ret,
                     struct poolmgr_error *err)
{
    const struct pm_known_device *device = pm_device_find(core, key);
    struct pm_mask *mask = NULL;
    size_t *set, n;

    if (device) {
        *ret = (uint32_t)(device - core->devices);
        return true;
    }
    if (pm_mask_parse(key, strlen(key), &mask, NULL, err) < 0)
        return false;
    set = pm_xalloc((core->n_devices + 1) * sizeof(*set));
    if (resolve(core, mask, false, set, &n, err) && n == 1)
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
    size_t *set, n;

    if (pm_ways_on_cpu(core, spec) || pm_mask_is_cpu(mask))
        return pm_ways_on_cpu(core, spec) && pm_mask_is_cpu(mask);
    ways = pm_ways_of(core, spec);
    set = pm_xalloc((core->n_devices + 1) * sizeof(*set));
    (void)resolve(core, mask, false, set, &n, NULL);
    for (size_t i = 0; i < ways->n_accounts; i++)
        all = all && holds(set, n, ways->accounts[i]);
    free(set);
    return all && n > 0 && ways->error.code == 0;
}
