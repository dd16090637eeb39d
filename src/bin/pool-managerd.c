/* SPDX-License-Identifier: Apache-2.0 */
/* The node daemon: the pool manager and its control API. Requests reach its engines by a gateway, not by it. */
#include "bin/program.h"

int main(int argc, char **argv)
{
    static const struct pm_program program = {
        .name = "pool-managerd",
        .profile = "node",
        .does = "manages the engines of one machine: it starts, watches, restarts and stops them",
        .listen = "127.0.0.1:9200",
        .has_gateway = false,
    };

    return pm_program_main(&program, argc, argv);
}
