/* SPDX-License-Identifier: Apache-2.0 */
/* getopt_long would take abbreviations, which break the day another option begins with the same letters. */
#include "bin/options.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

enum option { O_CONFIG, O_MODEL, O_LISTEN, O_ENGINE, O_LOG_FORMAT, O_CHECK, O_VERSION, O_HELP };

static const struct {
    const char *name;
    enum option option;
    const char *value; /* NULL: takes none */
    const char *help;
} rows[] = {
    {"--config", O_CONFIG, "FILE", "the configuration; else POOLMGR_CONFIG, else the usual places"},
    {"--model", O_MODEL, "FILE",
     "serve this GGUF file, in a pool named after it; may be given again"},
    {"--listen", O_LISTEN, "ADDR",
     "host:port or unix:/path instead of the file's; may be given again"},
    {"--engine", O_ENGINE, "PATH", "the llama-server to run"},
    {"--log-format", O_LOG_FORMAT, "F", "auto, pretty or json"},
    {"--check", O_CHECK, NULL, "check the configuration, print what would be served, and end"},
    {"--version", O_VERSION, NULL, "print the version"},
    {"--help", O_HELP, NULL, "print this"},
};

static void set(struct pm_options *options, enum option option, const char *value)
{
    switch (option) {
    case O_CONFIG: options->overrides.path = value; break;
    case O_MODEL: pm_strv_add(&options->overrides.models, value); break;
    case O_LISTEN: pm_strv_add(&options->overrides.listen, value); break;
    case O_ENGINE: options->overrides.engine = value; break;
    case O_LOG_FORMAT: options->overrides.log_format = value; break;
    case O_CHECK: options->check = true; break;
    case O_VERSION: options->version = true; break;
    case O_HELP: options->help = true; break;
    }
}

static int unknown(const char *word, struct poolmgr_error *err)
{
    const char *names[PM_ARRAY_LEN(rows)], *near;
    size_t i;

    for (i = 0; i < PM_ARRAY_LEN(rows); i++)
        names[i] = rows[i].name;

    near = pm_str_suggest(word, names, PM_ARRAY_LEN(rows));
    return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "unknown option '%s'%s%s%s", word,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "; see --help");
}

/* "--config X" and "--config=X". */
static int parse_one(char **argv, int *at, struct pm_options *options, struct poolmgr_error *err)
{
    const char *word = argv[*at], *value = NULL;
    size_t i, n = strcspn(word, "=");

    for (i = 0; i < PM_ARRAY_LEN(rows); i++)
        if (strlen(rows[i].name) == n && strncmp(rows[i].name, word, n) == 0)
            break;

    if (i == PM_ARRAY_LEN(rows))
        return unknown(word, err);

    if (word[n] == '=')
        value = word + n + 1;
    else if (rows[i].value)
        value = argv[++*at];

    if (rows[i].value && (!value || !*value))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s needs a value: %s %s", rows[i].name,
                       rows[i].name, rows[i].value);

    if (!rows[i].value && value)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s takes no value", rows[i].name);

    set(options, rows[i].option, value);
    return POOLMGR_OK;
}

int pm_options_parse(int argc, char **argv, struct pm_options *ret, struct poolmgr_error *err)
{
    int i, r;

    for (i = 1; i < argc; i++) {
        r = parse_one(argv, &i, ret, err);
        if (r < 0)
            return r;
    }

    return POOLMGR_OK;
}

void pm_options_fini(struct pm_options *options)
{
    pm_strv_fini(&options->overrides.models);
    pm_strv_fini(&options->overrides.listen);
}

void pm_options_help(const struct pm_program *program)
{
    size_t i;

    printf("%s %s.\n\n"
           "usage: %s [OPTION]…\n\n",
           program->name, program->does, program->name);
    for (i = 0; i < PM_ARRAY_LEN(rows); i++) {
        pm_auto_free char *name = pm_xasprintf("%s%s%s", rows[i].name, rows[i].value ? " " : "",
                                               rows[i].value ? rows[i].value : "");

        printf("  %-16s  %s\n", name, rows[i].help);
    }
    printf("\nWithout --listen and `listen` of the configuration it listens on %s.\n",
           program->listen);
    printf(
        "\nSIGTERM and SIGINT stop it (a second one at once), SIGUSR2 leaves the engines running.\n"
        "Exit status: 0 stopped as asked, 1 could not run, 2 command line or configuration.\n");
}
