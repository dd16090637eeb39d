/* SPDX-License-Identifier: Apache-2.0 */
/* What tells one daemon from the other, and the main() they share. */
#ifndef PM_BIN_PROGRAM_H
#define PM_BIN_PROGRAM_H

#include <stdbool.h>

struct pm_program {
    const char *name;
    const char *profile; /* "home" or "node" */
    const char *does;    /* one sentence of --help, behind the name */
    const char *listen;  /* where neither file nor command line names an address */
    bool has_gateway;    /* serves inference */
};

enum { PM_EXIT_OK = 0, PM_EXIT_COULD_NOT_RUN = 1, PM_EXIT_USAGE = 2 };

/* Command line, configuration, then the daemon; returns the exit status. */
int pm_program_main(const struct pm_program *program, int argc, char **argv);

#endif
