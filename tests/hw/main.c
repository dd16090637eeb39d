/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "hw.h"

static const struct {
    const char *name;
    int (*command)(int, char **);
} commands[] = {
    {"symbols", hw_symbols}, {"ask", hw_ask},         {"pace", hw_pace},
    {"inits", hw_inits},     {"threads", hw_threads}, {"look", hw_look},
    {"hold", hw_hold},       {"visible", hw_visible}, {"events", hw_events},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].command(argc - 1, argv + 1);
    fprintf(stderr, "usage: hw COMMAND …; see tests/hw/README.md\n");
    return 2;
}
