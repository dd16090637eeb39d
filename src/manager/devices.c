/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: those that the configuration declares, or else those that are found (gpus.c), and the CPU (cpu.c). */
#include <string.h>

#include "manager/internal.h"
#include "util/cleanup.h"

static void list_declared(struct pm_manager *manager)
{
    const struct pm_config *config = manager->config;
    const struct pm_device_sizes *declared = &config->devices.declared;
    pm_auto_free struct pm_device *devices = pm_xalloc(declared->devices.n * sizeof devices[0]);
    size_t n = 0;

    for (size_t i = 0; i < declared->devices.n; i++) {
        const char *id = declared->devices.items[i];

        if (strcmp(id, PM_CPU_ID) == 0)
            continue;
        (void)pm_str_copy(devices[n].id, sizeof devices[n].id, id);
        devices[n].total_bytes = declared->bytes[i];
        devices[n++].reserve_bytes = pm_device_size(&config->devices.reserve, id);
    }
    pm_core_devices(manager->core, devices, n, pm_manager_now(manager), &manager->actions);
}

bool pm_manager_discovers(const struct pm_manager *manager)
{
    return manager->options.probe_path && !pm_config_declares_gpus(manager->config);
}

int pm_devices_begin(struct pm_manager *manager, struct poolmgr_error *err)
{
    pm_cpu_begin(manager);
    if (pm_manager_discovers(manager))
        return pm_gpus_new(manager, &manager->gpus, err);
    pm_manager_list_devices(manager);
    return POOLMGR_OK;
}

void pm_manager_list_devices(struct pm_manager *manager)
{
    pm_cpu_list(manager);
    if (manager->gpus)
        pm_gpus_list(manager->gpus);
    else if (pm_config_declares_gpus(manager->config))
        list_declared(manager);
}

int pm_manager_clear_device(struct pm_manager *manager, const char *id, struct poolmgr_error *err)
{
    int r =
        pm_core_device_clear(manager->core, id, pm_manager_now(manager), &manager->actions, err);

    if (r != POOLMGR_E_NOT_FOUND && manager->gpus)
        pm_gpus_forgive(manager->gpus);
    pm_manager_flush(manager);
    return r;
}
