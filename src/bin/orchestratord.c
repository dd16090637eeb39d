/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway with the pool manager inside: the only daemon of a workstation. */
#include "bin/program.h"

int main(int argc, char **argv)
{
    static const struct pm_program program = {
        .name = "orchestratord",
        .profile = "home",
        .does = "serves language models: it starts an engine when a request needs it",
        .listen = "127.0.0.1:8080",
        .has_gateway = true,
    };

    return pm_program_main(&program, argc, argv);
}
