/* SPDX-License-Identifier: Apache-2.0 */
/* The wiring that both daemons share. */
#ifndef PM_BIN_DAEMON_H
#define PM_BIN_DAEMON_H

#include "bin/options.h"
#include "bin/program.h"
#include "config/config.h"

/* Serves until it is told to stop; returns the exit status of the program. The configuration is read again as it was
 * read first: with these overrides. */
int pm_daemon_run(const struct pm_program *program, const struct pm_config *config,
                  const struct pm_config_overrides *overrides);

#endif
