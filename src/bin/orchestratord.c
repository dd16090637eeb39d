/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway with the pool manager inside: the only daemon of a workstation. */
#include <stdio.h>
#include <string.h>

#include "bin/daemon.h"
#include "util/buf.h"
#include "util/cleanup.h"

#define PROGRAM "orchestratord"

/* The first one carries the file's name in front of its place; the others get the same. */
static void print_errors(const struct pm_config_errors *errors, const struct poolmgr_error *err)
{
    pm_auto_free char *first = pm_xasprintf("%u:%u: %s", errors->items[0].line,
                                            errors->items[0].column, errors->items[0].message);
    int n_name = 0;
    size_t i;

    fprintf(stderr, PROGRAM ": %s%s%s\n", err->message, err->hint[0] ? "; " : "", err->hint);
    if (errors->n > 1 && pm_str_ends(err->message, first))
        n_name = (int)(strlen(err->message) - strlen(first));

    for (i = 1; i < errors->n; i++)
        fprintf(stderr, PROGRAM ": %.*s%u:%u: %s\n", n_name, err->message, errors->items[i].line,
                errors->items[i].column, errors->items[i].message);
    if (errors->n_more > 0)
        fprintf(stderr, PROGRAM ": and %zu more\n", errors->n_more);
}

static int describe(const struct pm_config *config)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_config_describe(config, &out);
    fwrite(out.data, 1, out.n, stdout);
    return PM_EXIT_OK;
}

static int load_and_run(const struct pm_options *options)
{
    struct pm_config_errors errors = {0};
    struct poolmgr_error err = {0};
    struct pm_config *config = NULL;
    int status;

    if (pm_config_load(&options->overrides, &config, &errors, &err) < 0) {
        print_errors(&errors, &err);
        return PM_EXIT_USAGE;
    }

    status = options->check ? describe(config) : pm_daemon_run(PROGRAM, config);
    pm_config_free(config);
    return status;
}

int main(int argc, char **argv)
{
    struct pm_options options = {0};
    struct poolmgr_error err = {0};
    int status = PM_EXIT_OK;

    if (pm_options_parse(argc, argv, &options, &err) < 0) {
        fprintf(stderr, PROGRAM ": %s\n", err.message);
        status = PM_EXIT_USAGE;
    } else if (options.help) {
        pm_options_help(PROGRAM);
    } else if (options.version) {
        puts(PROGRAM " " PM_VERSION);
    } else {
        status = load_and_run(&options);
    }

    pm_options_fini(&options);
    return status;
}
