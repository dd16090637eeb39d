/* SPDX-License-Identifier: Apache-2.0 */
/* requests and operations: lists, and the cancelling of one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

static void print_table(const struct pm_cli *cli, const struct pm_table *table)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_table_print(table, cli->columns, &out);
    fwrite(out.data, 1, out.n, stdout);
}

/* A reload that has begun to change engines is called off by going back, which takes a while. */
static void tell_cancelled(const struct pm_cli *cli, const struct pm_answer *answer)
{
    json_t *op = json_loadb(answer->body.data, answer->body.n, 0, NULL);

    if (strcmp(pm_text(op, "state", ""), "running") == 0)
        printf("%s: is called off: %s\n", cli->argv[2],
               pm_text(json_object_get(op, "progress"), "text", "it goes back"));
    else
        printf("%s: cancelled\n", cli->argv[2]);
    json_decref(op);
}

static int cancel(struct pm_cli *cli, const char *what)
{
    pm_auto_free char *id = pm_encode(cli->argv[2]);
    pm_auto_free char *path = pm_xasprintf("/v1/%s/%s/cancel", what, id);
    struct pm_answer answer;

    pm_cli_ask(cli, "POST", path, NULL, &answer, NULL, NULL);
    if (cli->json && answer.body.n)
        fwrite(answer.body.data, 1, answer.body.n, stdout);
    else if (!cli->quiet)
        tell_cancelled(cli, &answer);
    pm_buf_fini(&answer.body);
    return 0;
}

static void add_request(struct pm_table *table, const json_t *request)
{
    char **cells = pm_table_row(table);
    bool waits = strcmp(pm_text(request, "state", ""), "waiting") == 0;
    char age[32];

    cells[0] = pm_xstrdup(pm_text(request, "id", "?"));
    cells[1] = pm_xstrdup(pm_text(request, "pool_id", "-"));
    cells[2] = pm_xstrdup(pm_text(request, "state", "?"));
    cells[3] =
        waits ? pm_xasprintf("%" PRIu64, pm_number(request, "queue_position")) : pm_xstrdup("-");
    cells[4] = pm_xstrdup(pm_format_duration(age, sizeof(age), pm_number(request, "age_ms")));
    cells[5] =
        json_is_true(json_object_get(request, "stream")) ? pm_xstrdup("yes") : pm_xstrdup("no");
}

int pm_verb_requests(struct pm_cli *cli)
{
    static const char *const titles[] = {"REQUEST", "POOL", "STATE", "POSITION", "AGE", "STREAM"};
    struct pm_table *table;
    const json_t *requests;
    json_t *root;

    if (cli->argc == 3 && strcmp(cli->argv[1], "cancel") == 0)
        return cancel(cli, "requests");
    if (cli->argc != 1)
        pm_cli_usage(cli);
    root = pm_cli_ask_json(cli, "GET", "/v1/requests", NULL);
    if (cli->json) {
        pm_print_json(root);
    } else {
        table = pm_table_new(titles, PM_ARRAY_LEN(titles));
        requests = json_object_get(root, "requests");
        for (size_t i = 0; i < json_array_size(requests); i++)
            add_request(table, json_array_get(requests, i));
        print_table(cli, table);
        pm_table_free(table);
    }
    json_decref(root);
    return 0;
}

static void add_operation(struct pm_table *table, const json_t *op)
{
    char **cells = pm_table_row(table);
    char since[32];

    cells[0] = pm_xstrdup(pm_text(op, "id", "?"));
    cells[1] = pm_xstrdup(pm_text(op, "kind", "?"));
    cells[2] = pm_xstrdup(pm_text(op, "pool_id", "-"));
    cells[3] = pm_xstrdup(pm_text(op, "state", "?"));
    cells[4] =
        pm_xstrdup(pm_since(since, sizeof(since), pm_text(op, "created_at", NULL), pm_wall_ms()));
    cells[5] = pm_xstrdup(pm_text(json_object_get(op, "error"), "message",
                                  pm_text(json_object_get(op, "progress"), "phase", "")));
}

int pm_verb_operations(struct pm_cli *cli)
{
    static const char *const titles[] = {"OPERATION", "KIND", "POOL", "STATE", "AGE", "NOTE"};
    pm_auto_free char *id = cli->argc == 2 ? pm_encode(cli->argv[1]) : NULL;
    pm_auto_free char *path =
        id ? pm_xasprintf("/v1/operations/%s", id) : pm_xstrdup("/v1/operations");
    struct pm_table *table;
    const json_t *operations;
    json_t *root;

    if (cli->argc == 3 && strcmp(cli->argv[1], "cancel") == 0)
        return cancel(cli, "operations");
    if (cli->argc > 2 || (id && strcmp(id, "cancel") == 0))
        pm_cli_usage(cli);
    root = pm_cli_ask_json(cli, "GET", path, NULL);
    if (cli->json) {
        pm_print_json(root);
    } else {
        table = pm_table_new(titles, PM_ARRAY_LEN(titles));
        operations = json_object_get(root, "operations");
        if (id)
            add_operation(table, root);
        for (size_t i = 0; !id && i < json_array_size(operations); i++)
            add_operation(table, json_array_get(operations, i));
        print_table(cli, table);
        pm_table_free(table);
    }
    json_decref(root);
    return 0;
}
