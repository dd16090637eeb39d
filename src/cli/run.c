/* SPDX-License-Identifier: Apache-2.0 */
/* run: ask a pool, and print the text as it comes. version: of both sides. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/str.h"

#define PROMPT_MAX (16 * 1024 * 1024)

struct reply {
    bool json, finished;
    int status;
};

static bool on_event(void *ctx, const char *event, const char *data)
{
    struct reply *reply = ctx;
    json_t *value;
    const char *text;

    if (reply->json)
        puts(data);
    if (strcmp(data, "[DONE]") == 0) {
        reply->finished = true;
        return false;
    }
    value = json_loads(data, 0, NULL);
    if (strcmp(event, "error") == 0) {
        const json_t *error = json_object_get(value, "error");

        fprintf(stderr, "\npoolctl: %s\n", pm_text(error, "message", data));
        reply->status = pm_status(pm_status_by_name(pm_text(error, "code", "")))->exit_code;
    }
    text = pm_text(json_object_get(json_array_get(json_object_get(value, "choices"), 0), "delta"),
                   "content", "");
    if (!reply->json)
        fputs(text, stdout);
    json_decref(value);
    return fflush(stdout) == 0;
}

/* What stands behind the pool, or is piped in; a greeting where there is nothing to read. The caller's. */
static char *read_prompt(const struct pm_cli *cli)
{
    pm_auto_buf struct pm_buf text = {0};
    char block[4096];
    size_t n;

    if (cli->argc == 3)
        return pm_xstrdup(cli->argv[2]);
    while (!isatty(STDIN_FILENO) && (n = fread(block, 1, sizeof(block), stdin)) > 0) {
        if (text.n + n > PROMPT_MAX)
            pm_cli_die(2, "the prompt is larger than 16 MiB");
        pm_buf_add(&text, block, n);
    }
    return pm_xstrdup(text.n > 0 ? pm_buf_text(&text) : "Hello!");
}

int pm_verb_run(struct pm_cli *cli)
{
    struct reply reply = {.json = cli->json};
    struct pm_events events = {.fn = on_event, .ctx = &reply};
    struct pm_answer answer;
    pm_auto_free char *body = NULL, *prompt = NULL;
    json_t *request;

    if (cli->argc < 2 || cli->argc > 3)
        pm_cli_usage(cli);
    prompt = read_prompt(cli);
    request = json_pack("{s:s,s:b,s:[{s:s,s:s}]}", "model", cli->argv[1], "stream", 1, "messages",
                        "role", "user", "content", prompt);
    if (!request)
        pm_cli_die(2, "the prompt is not UTF-8");
    body = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    pm_cli_ask(cli, "POST", "/v1/chat/completions", body, &answer, pm_events_feed, &events);
    pm_events_fini(&events);
    if (!cli->json)
        putchar('\n');
    return reply.status ? reply.status : reply.finished ? 0 : 1;
}

int pm_verb_version(struct pm_cli *cli)
{
    json_t *meta;

    if (!cli->json)
        printf("poolctl %s\n", PM_VERSION);
    fflush(stdout);
    meta = pm_cli_ask_json(cli, "GET", "/v1/meta", NULL);
    if (cli->json)
        pm_print_json(meta);
    else
        printf("%s %s\n", pm_text(meta, "name", "daemon"), pm_text(meta, "version", "?"));
    json_decref(meta);
    return 0;
}
