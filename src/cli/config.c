/* SPDX-License-Identifier: Apache-2.0 */
/* config check and schema need no daemon; show and reload ask it. */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "util/cleanup.h"

static int check(struct pm_cli *cli)
{
    struct pm_config_overrides overrides = {.path = cli->argc == 3 ? cli->argv[2] : NULL};
    struct pm_config_errors *errors = pm_xalloc(sizeof(*errors));
    struct pm_config *config = NULL;
    struct poolmgr_error err = {0};
    pm_auto_buf struct pm_buf out = {0};
    int r = pm_config_load(&overrides, &config, errors, &err);
    int status = r < 0 ? pm_status(r)->exit_code : 0;

    if (r < 0 && errors->n == 0)
        fprintf(stderr, "poolctl: %s\n", err.message);
    for (size_t i = 0; r < 0 && i < errors->n; i++) {
        const struct pm_config_error *error = &errors->items[i];

        if (error->line)
            fprintf(stderr, "%s:%u:%u: %s\n", errors->file, error->line, error->column,
                    error->message);
        else
            fprintf(stderr, "poolctl: %s\n", error->message);
    }
    if (errors->n_more)
        fprintf(stderr, "poolctl: and %zu more\n", errors->n_more);
    if (r == 0 && cli->json)
        puts(config->text);
    else if (r == 0 && !cli->quiet) {
        pm_config_describe(config, &out);
        fwrite(out.data, 1, out.n, stdout);
    }
    pm_config_free(config);
    free(errors);
    return status;
}

int pm_verb_config(struct pm_cli *cli)
{
    const char *what = cli->argc > 1 ? cli->argv[1] : "";
    pm_auto_buf struct pm_buf out = {0};

    if (strcmp(what, "check") == 0 && cli->argc <= 3)
        return check(cli);
    if (strcmp(what, "reload") == 0 && cli->argc == 2)
        return pm_cli_operate(cli, "configuration", "/v1/config/reload", NULL);
    if (strcmp(what, "schema") == 0 && cli->argc == 2) {
        pm_config_schema(&out);
        fwrite(out.data, 1, out.n, stdout);
        return 0;
    }
    if (strcmp(what, "show") == 0 && cli->argc == 2) {
        json_t *config = pm_cli_ask_json(cli, "GET", "/v1/config", NULL);

        pm_print_json(config);
        json_decref(config);
        return 0;
    }
    pm_cli_usage(cli);
}
