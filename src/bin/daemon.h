/* SPDX-License-Identifier: Apache-2.0 */
/* The wiring that both daemons share. */
#ifndef PM_BIN_DAEMON_H
#define PM_BIN_DAEMON_H

#include "bin/options.h"
#include "config/config.h"

enum { PM_EXIT_OK = 0, PM_EXIT_COULD_NOT_RUN = 1, PM_EXIT_USAGE = 2 };

/* Serves until it is told to stop; returns the exit status of the program. */
int pm_daemon_run(const char *program, const struct pm_config *config);

#endif
