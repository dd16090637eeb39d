/* SPDX-License-Identifier: Apache-2.0 */
/* start, stop, reset: operations that poolctl waits for, unless told otherwise. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

#define WAIT_STEP_MS 5000 /* of one look at an operation */

static void progress(const struct pm_cli *cli, const char *pool, const char *phase)
{
    if (!cli->quiet && !cli->json && cli->terminal)
        fprintf(stdout, "\r\033[K%s: %s …", pool, phase);
    fflush(stdout);
}

static int finish(const struct pm_cli *cli, const char *pool, const json_t *op)
{
    const char *state = pm_text(op, "state", "?");
    const json_t *error = json_object_get(op, "error");
    const char *message = pm_text(error, "message", "");
    const char *hint = pm_text(error, "hint", "");
    int code = pm_status_by_name(pm_text(error, "code", ""));

    if (cli->terminal && !cli->quiet && !cli->json)
        fputs("\r\033[K", stdout);
    if (cli->json)
        pm_print_json(op);
    else if (!cli->quiet)
        printf("%s: %s %s\n", pool, pm_text(op, "kind", "?"), state);
    if (strcmp(state, "succeeded") == 0)
        return 0;
    fprintf(stderr, "poolctl: %s: %s%s%s\n", pool, message[0] ? message : state,
            hint[0] ? "; " : "", hint);
    return code ? pm_status(code)->exit_code : 1;
}

/* Looks at an operation until it has ended or the time is over. */
static int wait_for(struct pm_cli *cli, const char *pool, json_t *op)
{
    uint64_t until_ms = pm_monotonic_ms() + cli->timeout_ms;

    while (strcmp(pm_text(op, "state", ""), "running") == 0) {
        uint64_t now_ms = pm_monotonic_ms();
        uint64_t step_ms = until_ms - now_ms < WAIT_STEP_MS ? until_ms - now_ms : WAIT_STEP_MS;
        pm_auto_free char *path =
            pm_xasprintf("/v1/operations/%s?wait=%" PRIu64 "ms", pm_text(op, "id", ""), step_ms);

        if (now_ms >= until_ms) {
            fprintf(stderr,
                    "poolctl: %s: the operation %s goes on; poolctl operations %s shows it\n", pool,
                    pm_text(op, "id", ""), pm_text(op, "id", ""));
            json_decref(op);
            return PM_EXIT_WAIT_ENDED;
        }
        progress(cli, pool, pm_text(json_object_get(op, "progress"), "phase", "waiting"));
        json_decref(op);
        op = pm_cli_ask_json(cli, "GET", path, NULL);
        if (strcmp(pm_text(op, "state", ""), "running") == 0)
            (void)usleep(50000);
    }
    {
        int status = finish(cli, pool, op);

        json_decref(op);
        return status;
    }
}

int pm_cli_command(struct pm_cli *cli, const char *pool, const char *verb, const char *body)
{
    pm_auto_free char *id = pm_encode(pool);
    pm_auto_free char *path = pm_xasprintf("/v1/pools/%s/%s", id, verb);

    return pm_cli_operate(cli, pool, path, body);
}

int pm_cli_operate(struct pm_cli *cli, const char *what, const char *path, const char *body)
{
    json_t *op = pm_cli_ask_json(cli, "POST", path, body);

    if (cli->no_wait) {
        if (cli->json)
            pm_print_json(op);
        else
            puts(pm_text(op, "id", "?"));
        json_decref(op);
        return 0;
    }
    return wait_for(cli, what, op);
}

int pm_verb_start(struct pm_cli *cli)
{
    int status = 0;

    if (cli->argc < 2)
        pm_cli_usage(cli);
    for (int i = 1; i < cli->argc; i++) {
        int r = pm_cli_command(cli, cli->argv[i], "start", NULL);

        status = status ? status : r;
    }
    return status;
}

int pm_verb_stop(struct pm_cli *cli)
{
    bool now = false;
    int status = 0, n = 0;

    for (int i = 1; i < cli->argc; i++)
        now |= strcmp(cli->argv[i], "--now") == 0;
    for (int i = 1; i < cli->argc; i++) {
        int r;

        if (strcmp(cli->argv[i], "--now") == 0)
            continue;
        n++;
        r = pm_cli_command(cli, cli->argv[i], "stop", now ? "{\"deadline_ms\":0}" : NULL);
        status = status ? status : r;
    }
    if (!n)
        pm_cli_usage(cli);
    return status;
}

int pm_verb_reset(struct pm_cli *cli)
{
    const char *pool = NULL, *breaker = NULL;
    pm_auto_free char *body = NULL, *id = NULL, *path = NULL;
    json_t *answer;

    for (int i = 1; i < cli->argc; i++) {
        if (strcmp(cli->argv[i], "--breaker") == 0 && i + 1 < cli->argc)
            breaker = cli->argv[++i];
        else if (!pool)
            pool = cli->argv[i];
        else
            pm_cli_usage(cli);
    }
    if (!pool)
        pm_cli_usage(cli);
    if (breaker) {
        json_t *object = json_pack("{s:s}", "breaker", breaker);

        if (!object)
            pm_cli_usage(cli);
        body = json_dumps(object, 0);
        json_decref(object);
    }
    id = pm_encode(pool);
    path = pm_xasprintf("/v1/pools/%s/reset", id);
    answer = pm_cli_ask_json(cli, "POST", path, body);
    if (cli->json)
        pm_print_json(answer);
    else if (!cli->quiet)
        printf("%s: reset\n", pool);
    json_decref(answer);
    return 0;
}
