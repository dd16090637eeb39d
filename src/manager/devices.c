/* SPDX-License-Identifier: Apache-2.0 */
/* Devices as the configuration declares them: core is given the list before the first pool. */
#include <string.h>

#include "manager/internal.h"
#include "util/cleanup.h"

void pm_manager_list_devices(struct pm_manager *manager)
{
    const struct pm_config *config = manager->config;
    const struct pm_device_sizes *declared = &config->devices.declared;
    size_t n = declared->devices.n;
    pm_auto_free struct pm_device *devices = pm_xalloc((n > 0 ? n : 1) * sizeof devices[0]);

    for (size_t i = 0; i < n; i++) {
        const char *id = declared->devices.items[i];

        (void)pm_str_copy(devices[i].id, sizeof devices[i].id, id);
        devices[i].total_bytes = declared->bytes[i];
        devices[i].reserve_bytes = pm_device_size(&config->devices.reserve, id);
    }
    pm_core_devices(manager->core, devices, n, pm_manager_now(manager), &manager->actions);
}

int pm_manager_clear_device(struct pm_manager *manager, const char *id, struct poolmgr_error *err)
{
    int r =
        pm_core_device_clear(manager->core, id, pm_manager_now(manager), &manager->actions, err);

    pm_manager_flush(manager);
    return r;
}
