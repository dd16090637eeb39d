/* SPDX-License-Identifier: Apache-2.0 */
/* The parent of one engine; started by a daemon, never by hand. */
#include <stdio.h>
#include <unistd.h>

#include "proc/shim.h"

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(
            stderr,
            "pool-shim is started by orchestratord or pool-managerd; it is of no use by itself\n");
        return 2;
    }

    /* The second fork: whoever launched it has nothing to wait for, and is not its parent. */
    switch (fork()) {
    case -1: return 1;
    case 0: return pm_shim_run(argv[1]);
    default: return 0;
    }
}
