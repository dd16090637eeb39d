/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/str.h"

#define EXIT_INTERRUPTED 130

static void print_help(FILE *to)
{
    fprintf(to,
            "usage: poolctl [--url URL] [--json] [--quiet] [--no-wait] [--timeout 10m] VERB …\n\n");
    for (const struct pm_verb *verb = pm_verbs; verb->name; verb++)
        fprintf(to, "  %s %s\n        %s\n", verb->name, verb->usage, verb->help);
    fprintf(to, "\nURL is http://host:port or unix:/path; else POOLMGR_URL, else your control "
                "socket, else\n"
                "/run/poolmgr/control.sock.\n"
                "Exit status: 0 done, 1 refused, 2 wrong use, 3 not found, 4 no daemon, 5 the wait "
                "ended first, 130 Ctrl-C.\n");
}

static void on_interrupt(int signo)
{
    (void)signo;
    _exit(EXIT_INTERRUPTED);
}

static void look_at_terminal(struct pm_cli *cli)
{
    const char *columns = getenv("COLUMNS"), *no_colour = getenv("NO_COLOR");
    struct winsize size = {0};
    uint64_t n;

    cli->terminal = isatty(STDOUT_FILENO) == 1;
    cli->colour = cli->terminal && !(no_colour && no_colour[0]);
    if (columns && pm_parse_u64(columns, &n) && n >= 20 && n < 10000)
        cli->columns = (unsigned)n;
    else if (cli->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        cli->columns = size.ws_col;
}

/* Options in front of the verb; the index of the verb. */
static int read_options(struct pm_cli *cli, int argc, char **argv)
{
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        bool has_value = i + 1 < argc;

        if (strcmp(argv[i], "--json") == 0)
            cli->json = true;
        else if (strcmp(argv[i], "--quiet") == 0)
            cli->quiet = true;
        else if (strcmp(argv[i], "--no-wait") == 0)
            cli->no_wait = true;
        else if (strcmp(argv[i], "--url") == 0 && has_value)
            cli->url = argv[++i];
        else if (strcmp(argv[i], "--timeout") == 0 && has_value) {
            if (!pm_parse_duration(argv[++i], &cli->timeout_ms))
                pm_cli_die(2, "--timeout %s is no duration; write 30s or 10m", argv[i]);
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(stdout);
            exit(0);
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("poolctl %s\n", PM_VERSION);
            exit(0);
        } else {
            pm_cli_die(2, "unknown option %s; poolctl --help lists them", argv[i]);
        }
    }
    return i;
}

static int unknown_verb(const char *name)
{
    const char *names[32];
    size_t n = 0;
    const char *near;

    for (; pm_verbs[n].name && n < 32; n++)
        names[n] = pm_verbs[n].name;
    near = pm_str_suggest(name, names, n);
    if (near)
        pm_cli_die(2, "unknown verb '%s'; did you mean '%s'?", name, near);
    pm_cli_die(2, "unknown verb '%s'; poolctl --help lists them", name);
}

int main(int argc, char **argv)
{
    struct pm_cli cli = {.url = getenv("POOLMGR_URL"), .timeout_ms = 600000};
    int at;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_interrupt);
    look_at_terminal(&cli);
    at = read_options(&cli, argc, argv);
    if (at == argc) {
        print_help(stderr);
        return 2;
    }
    cli.argc = argc - at;
    cli.argv = argv + at;
    for (const struct pm_verb *verb = pm_verbs; verb->name; verb++) {
        if (strcmp(verb->name, cli.argv[0]) == 0)
            return verb->run(&cli);
    }
    return unknown_verb(cli.argv[0]);
}
