/* SPDX-License-Identifier: Apache-2.0 */
/* What the devices of a configuration mean: masks of pools, and sizes by device. For config/ only. */
#ifndef PM_CONFIG_DEVICES_H
#define PM_CONFIG_DEVICES_H

#include "config/config.h"
#include "config/yaml.h"

/* Where a pool stands: its key, its settings, and what holds for all pools (NULL: nothing does). */
struct pm_pool_at {
    const struct pm_yaml *key, *map, *defaults;
};

/* The name of one device as the key of a size; false after an error. `where` ends the sentence: " in pool 'tiny'". */
bool pm_read_device(struct pm_config_errors *errors, const struct pm_yaml *key, const char *setting,
                    const char *where);

/* `devices`, when it was read (NULL: it is not there): declared devices become what masks find, and the names of
 * `reserve` become theirs. */
void pm_read_declared(struct pm_config_errors *errors, const struct pm_yaml *devices,
                      struct pm_config *config);

/* A pool's `devices` as a mask, and the devices that it and `vram` mean, where some are declared. */
void pm_read_devices(struct pm_config_errors *errors, const struct pm_pool_at *at,
                     const struct pm_config *config, struct pm_pool_spec *spec);

#endif
