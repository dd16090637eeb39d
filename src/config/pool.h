/* SPDX-License-Identifier: Apache-2.0 */
/* Pools as they are read from a file's tree. For config/ only. */
#ifndef PM_CONFIG_POOL_H
#define PM_CONFIG_POOL_H

#include "config/settings.h"

/* `defaults` and `pools`; the engines are read before. */
void pm_read_pools(struct pm_reading *reading, const struct pm_yaml *root,
                   struct pm_config *config);

/* A pool with what the file says for all. */
struct pm_pool_spec *pm_new_pool(const struct pm_reading *reading, const struct pm_yaml *root,
                                 const char *id);

/* What follows from the settings themselves; folder is where relative paths start. */
void pm_finish_pool(const struct pm_config *config, struct pm_pool_spec *spec, const char *folder);
void pm_add_pool(struct pm_config *config, struct pm_pool_spec *spec); /* takes the reference */

#endif
