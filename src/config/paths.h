/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are by default: for root or systemd, or for a user. For config/ only. */
#ifndef PM_CONFIG_PATHS_H
#define PM_CONFIG_PATHS_H

#include "config/config.h"

/* The file to read when none is named: POOLMGR_CONFIG, else the default place if a file is there. NULL: none. */
char *pm_default_config_path(void);

/* Fills the four folders: POOLMGR_… before systemd's … before the file's before the default; each absolute. */
void pm_resolve_folders(struct pm_config *config);

#endif
