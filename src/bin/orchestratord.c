/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway with the pool manager inside: the only daemon of a workstation. */
#include <stdio.h>
#include <string.h>

#include "bin/daemon.h"
#include "util/buf.h"
#include "util/cleanup.h"

#define PROGRAM "orchestratord"

static void print_errors(const struct pm_config_errors *errors, const struct poolmgr_error *err)
{
    if (errors->n == 0)
        fprintf(stderr, PROGRAM ": %s%s%s\n", err->message, err->hint[0] ? "; " : "", err->hint);

    for (size_t i = 0; i < errors->n; i++) {
        const struct pm_config_error *error = &errors->items[i];

        if (error->line > 0)
            fprintf(stderr, PROGRAM ": %s:%u:%u: %s\n", errors->file, error->line, error->column,
                    error->message);
        else
            fprintf(stderr, PROGRAM ": %s\n", error->message);
    }
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
