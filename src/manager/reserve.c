/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept free on which device: `devices.reserve`, by any name that a mask may give to one. Which device a name means
 * is known only when devices are found, so a name that means none is told then.
 */
#include <string.h>

#include "manager/internal.h"
#include "plan/mask.h"
#include "util/cleanup.h"

/* n: none, or several. */
static size_t meant_by(const char *name, const struct pm_gpu *gpus, size_t n)
{
    struct poolmgr_error err = {0};
    struct pm_mask *mask = NULL;
    pm_auto_free size_t *set = pm_xalloc((n + 1) * sizeof *set);
    size_t n_set = 0, found = n;

    if (pm_mask_parse(name, strlen(name), &mask, NULL, &err) == POOLMGR_OK &&
        pm_mask_resolve(mask, gpus, n, false, set, &n_set, NULL, &err) == POOLMGR_OK && n_set == 1)
        found = set[0];
    pm_mask_unref(mask);
    return found;
}

uint64_t pm_reserve_of(const struct pm_device_sizes *reserve, const struct pm_gpu *gpus, size_t n,
                       size_t which)
{
    for (size_t i = 0; i < reserve->devices.n; i++) {
        if (meant_by(reserve->devices.items[i], gpus, n) == which)
            return reserve->bytes[i];
    }
    return reserve->each;
}

void pm_reserve_check(struct pm_manager *manager, const struct pm_gpu *gpus, size_t n)
{
    const struct pm_device_sizes *reserve = &manager->config->devices.reserve;

    for (size_t i = 0; i < reserve->devices.n; i++) {
        struct pm_event event;

        if (strcmp(reserve->devices.items[i], PM_CPU_ID) == 0 ||
            meant_by(reserve->devices.items[i], gpus, n) < n)
            continue;
        pm_event_init(&event, PM_EV_CONFIG_WARNING,
                      manager->config->path ? manager->config->path : "configuration");
        pm_event_human(&event, "devices.reserve has no effect for '%.40s': no GPU here is meant",
                       reserve->devices.items[i]);
        pm_event_text(&event, "those that are here are shown by: poolctl devices");
        pm_sink_tell(manager->sink, &event);
    }
}
