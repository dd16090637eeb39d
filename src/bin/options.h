/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of the daemons: one table of options. */
#ifndef PM_BIN_OPTIONS_H
#define PM_BIN_OPTIONS_H

#include <stdbool.h>

#include "bin/program.h"
#include "config/config.h"

struct pm_options {
    struct pm_config_overrides overrides;
    bool check, version, help;
};

/* POOLMGR_E_INVALID_REQUEST: an unknown option, a missing or a superfluous value. */
int pm_options_parse(int argc, char **argv, struct pm_options *ret, struct poolmgr_error *err);
void pm_options_fini(struct pm_options *options);
void pm_options_help(const struct pm_program *program);

#endif
