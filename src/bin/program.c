/* SPDX-License-Identifier: Apache-2.0 */
#include "bin/program.h"

#include <stdio.h>

#include "bin/daemon.h"
#include "util/buf.h"
#include "util/cleanup.h"

static void print_errors(const struct pm_program *program, const struct pm_config_errors *errors,
                         const struct poolmgr_error *err)
{
    if (errors->n == 0)
        fprintf(stderr, "%s: %s%s%s\n", program->name, err->message, err->hint[0] ? "; " : "",
                err->hint);

    for (size_t i = 0; i < errors->n; i++) {
        const struct pm_config_error *error = &errors->items[i];

        if (error->line > 0)
            fprintf(stderr, "%s: %s:%u:%u: %s\n", program->name, errors->file, error->line,
                    error->column, error->message);
        else
            fprintf(stderr, "%s: %s\n", program->name, error->message);
    }
    if (errors->n_more > 0)
        fprintf(stderr, "%s: and %zu more\n", program->name, errors->n_more);
}

static int describe(const struct pm_config *config)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_config_describe(config, &out);
    fwrite(out.data, 1, out.n, stdout);
    return PM_EXIT_OK;
}

static int load_and_run(const struct pm_program *program, const struct pm_options *options)
{
    struct pm_config_errors errors = {0};
    struct poolmgr_error err = {0};
    struct pm_config *config = NULL;
    int status;

    if (pm_config_load(&options->overrides, &config, &errors, &err) < 0) {
        print_errors(program, &errors, &err);
        return PM_EXIT_USAGE;
    }

    status =
        options->check ? describe(config) : pm_daemon_run(program, config, &options->overrides);
    pm_config_free(config);
    return status;
}

int pm_program_main(const struct pm_program *program, int argc, char **argv)
{
    struct pm_options options = {.overrides.listen_default = program->listen};
    struct poolmgr_error err = {0};
    int status = PM_EXIT_OK;

    if (pm_options_parse(argc, argv, &options, &err) < 0) {
        fprintf(stderr, "%s: %s\n", program->name, err.message);
        status = PM_EXIT_USAGE;
    } else if (options.help) {
        pm_options_help(program);
    } else if (options.version) {
        printf("%s " PM_VERSION "\n", program->name);
    } else {
        status = load_and_run(program, &options);
    }

    pm_options_fini(&options);
    return status;
}
