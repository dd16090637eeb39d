/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/cleanup.h"
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

/* What stands behind `name` in "name value" or "name=value"; NULL where argv[*at] is another word. */
static const char *value_of(const char *name, int argc, char **argv, int *at)
{
    size_t n = strlen(name);

    if (strncmp(argv[*at], name, n) != 0)
        return NULL;
    if (argv[*at][n] == '=')
        return argv[*at] + n + 1;
    if (argv[*at][n])
        return NULL;
    if (*at + 1 == argc)
        pm_cli_die(2, "%s needs a value", name);
    return argv[++*at];
}

/* One of the options that all verbs share; false: another word. */
static bool read_option(struct pm_cli *cli, int argc, char **argv, int *at)
{
    const char *value;

    if (strcmp(argv[*at], "--json") == 0) {
        cli->json = true;
    } else if (strcmp(argv[*at], "--quiet") == 0) {
        cli->quiet = true;
    } else if (strcmp(argv[*at], "--no-wait") == 0) {
        cli->no_wait = true;
    } else if ((value = value_of("--url", argc, argv, at))) {
        cli->url = value;
    } else if ((value = value_of("--timeout", argc, argv, at))) {
        if (!pm_parse_duration(value, &cli->timeout_ms))
            pm_cli_die(2, "--timeout %s is no duration; write 30s or 10m", value);
    } else if (strcmp(argv[*at], "--help") == 0 || strcmp(argv[*at], "-h") == 0) {
        print_help(stdout);
        exit(0);
    } else if (strcmp(argv[*at], "--version") == 0) {
        printf("poolctl %s\n", PM_VERSION);
        exit(0);
    } else {
        return false;
    }
    return true;
}

/* Does the usage name it: "-n" in "POOL [-f] [-n 200]", but not in "POOL… [--now]"? */
static bool names_option(const char *usage, const char *option)
{
    size_t n = strlen(option);

    for (const char *at = usage; (at = strstr(at, option)); at += n) {
        if (at > usage && at[-1] == '[' && strchr(" ]", at[n]))
            return true;
    }
    return false;
}

static const struct pm_verb *find_verb(const char *name)
{
    const struct pm_verb *verb = pm_verbs;

    while (verb->name && strcmp(verb->name, name) != 0)
        verb++;
    return verb->name ? verb : NULL;
}

/* A prompt has blanks in it, an option has none, nor is it a number. */
static bool looks_like_option(const char *word)
{
    return word[0] == '-' && word[1] && !strchr("0123456789", word[1]) && !strpbrk(word, " \t\n");
}

/* Cuts "--name=value" of an option of the verb; NULL: it is none. */
static char *cut_value(const struct pm_verb *verb, char *word)
{
    char *equals = strchr(word, '=');

    if (!verb || !equals || !pm_str_starts(word, "--"))
        return NULL;
    *equals = '\0';
    if (names_option(verb->usage, word))
        return equals + 1;
    *equals = '=';
    return NULL;
}

/* Of the verb alone, once there is one. */
static void help_with(const struct pm_verb *verb, const char *word)
{
    if (!verb || (strcmp(word, "--help") != 0 && strcmp(word, "-h") != 0))
        return;
    printf("usage: poolctl %s %s\n\n  %s\n\nOptions that all verbs share: poolctl --help\n",
           verb->name, verb->usage, verb->help);
    exit(0);
}

/* Takes shared options out, wherever they stand; what is left is the verb and its own. Behind -- nothing is one. */
static void read_options(struct pm_cli *cli, int argc, char **argv)
{
    const struct pm_verb *verb = NULL;
    char *value;
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];

        help_with(verb, word);
        if (read_option(cli, argc, argv, &i))
            continue;
        value = cut_value(verb, argv[i]);
        if (looks_like_option(word) && !(verb && names_option(verb->usage, word)))
            pm_cli_die(2, "unknown option %s%s%s; poolctl --help lists them", word,
                       verb ? " of " : "", verb ? verb->name : "");
        if (cli->argc == 0)
            verb = find_verb(word);
        cli->argv[cli->argc++] = argv[i];
        if (value)
            cli->argv[cli->argc++] = value;
    }
    for (i++; i < argc; i++)
        cli->argv[cli->argc++] = argv[i];
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

/* Descriptors 0 to 2 are open, or a socket could become somebody's standard output. */
static void open_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
}

/* What could not be written was not told. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    pm_cli_die(1, "standard output cannot be written: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    pm_auto_free char **words = pm_xalloc(2 * (size_t)argc * sizeof(*words)); /* "--a=b" are two */
    struct pm_cli cli = {.url = getenv("POOLMGR_URL"), .timeout_ms = 600000, .argv = words};
    const struct pm_verb *verb;

    open_standard_descriptors();
    signal(SIGINT, on_interrupt);
    look_at_terminal(&cli);
    read_options(&cli, argc, argv);
    if (cli.argc == 0) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(cli.argv[0], "help") == 0) {
        print_help(stdout);
        return finish(0);
    }
    verb = find_verb(cli.argv[0]);
    return verb ? finish(verb->run(&cli)) : unknown_verb(cli.argv[0]);
}
