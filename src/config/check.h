/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold between settings. For config/ only. */
#ifndef PM_CONFIG_CHECK_H
#define PM_CONFIG_CHECK_H

#include "config/config.h"
#include "config/yaml.h"

void pm_check_engine(struct pm_config_errors *errors, const struct pm_yaml *key,
                     const struct pm_engine_spec *engine);
/* `config` has the engines, and the pools before this one. */
void pm_check_pool(struct pm_config_errors *errors, const struct pm_yaml *key,
                   const struct pm_yaml *map, const struct pm_config *config,
                   const struct pm_pool_spec *spec);
/* Adds a warning where the pool's backoff allows a storm (SUP-4). */
void pm_check_storm(struct pm_config *config, const struct pm_pool_spec *spec);
/* RUN/instances/<pool>.<n>/engine.sock must fit into a socket's address. */
void pm_check_path_lengths(struct pm_config_errors *errors, const struct pm_yaml *pools,
                           const struct pm_config *config);
/* Adds a warning where no declared device is large enough for it, and where it is not known what it needs. */
void pm_check_room(struct pm_config *config, const struct pm_pool_spec *spec);
/* When all is read: listeners, folders, names. */
void pm_check_config(struct pm_config_errors *errors, const struct pm_yaml *root,
                     const struct pm_config *config);

#endif
