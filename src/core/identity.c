/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a device is: what masks see of it (MASK-1), and its name for people. One that was declared is known by its name in
 * the file alone, one that was found by its UUID; an index is its place on the bus now.
 */
#include <stdio.h>
#include <string.h>

#include "core/inner.h"
#include "util/str.h"

/* One that was declared is known by its name in the file alone. */
void pm_device_identify(struct pm_known_device *device, size_t position)
{
    struct pm_gpu *gpu = &device->is.is_gpu;
    struct pm_mask *mask = NULL;

    if (gpu->id[0] != '\0') {
        if (gpu->slot >= 0)
            (void)snprintf(device->name, sizeof(device->name), "GPU %u:%d", gpu->index, gpu->slot);
        else
            (void)snprintf(device->name, sizeof(device->name), "GPU %u", gpu->index);
        return;
    }
    if (pm_mask_parse(device->is.id, strlen(device->is.id), &mask, NULL, NULL) < 0 ||
        !pm_mask_declares(mask, gpu)) {
        gpu->slot = -1;
        gpu->index = PM_MASK_INDEX_MAX + 1 + (unsigned)position; /* only `all` finds it */
        (void)pm_str_copy(gpu->id, sizeof(gpu->id), device->is.id);
    }
    pm_mask_unref(mask);
    (void)snprintf(device->name, sizeof(device->name), "device %.20s", device->is.id);
}

bool pm_device_is_same(const struct pm_gpu *a, const struct pm_gpu *b)
{
    return a->vendor == b->vendor && strcmp(a->id, b->id) == 0 && a->index == b->index &&
           a->slot == b->slot && strcmp(a->pci, b->pci) == 0 && a->mig_mode == b->mig_mode &&
           a->hidden == b->hidden && a->prohibited == b->prohibited;
}

/* Whether it works is said by its state. */
void pm_device_show(struct pm_core *core, const struct pm_known_device *device)
{
    size_t number = (size_t)(device - core->devices);

    core->seen_gpus[number] = device->is.is_gpu;
    core->seen_gpus[number].unhealthy = false;
    pm_ways_changed(core);
    pm_core_changed(core);
}

/* One that is gone has no index any more: who has its place on the bus now has it. */
void pm_devices_forget_indexes(struct pm_core *core)
{
    for (size_t i = PM_CPU + 1; i < core->n_devices; i++) {
        struct pm_gpu *gpu = &core->seen_gpus[i];

        for (size_t k = PM_CPU + 1; k < core->n_devices && !core->devices[i].is_listed; k++) {
            if (core->devices[k].is_listed && core->seen_gpus[k].vendor == gpu->vendor &&
                core->seen_gpus[k].index == gpu->index && core->seen_gpus[k].slot == gpu->slot)
                gpu->index = PM_MASK_INDEX_MAX + 1 + (unsigned)i;
        }
    }
}
