/* SPDX-License-Identifier: Apache-2.0 */
/* placement explain: where a request would go now, and what keeps it from going elsewhere. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/str.h"

/* "a,b" as a list. */
static json_t *list_of(const char *text)
{
    json_t *list = json_array();

    for (;;) {
        size_t n = strcspn(text, ",");

        (void)json_array_append_new(list, json_stringn(text, n));
        if (!text[n])
            return list;
        text += n + 1;
    }
}

static const char *value_of(const struct pm_cli *cli, int *at, const char *name)
{
    size_t n = strlen(name);
    const char *word = cli->argv[*at];

    if (strncmp(word, name, n) != 0 || (word[n] && word[n] != '='))
        return NULL;
    if (word[n])
        return word + n + 1;
    if (*at + 1 == cli->argc)
        pm_cli_die(2, "%s needs a value", name);
    return cli->argv[++*at];
}

static bool read_option(const struct pm_cli *cli, int *at, json_t *body)
{
    const char *value;

    if (strcmp(cli->argv[*at], "--no-fallback") == 0)
        (void)json_object_set_new(body, "fallback", json_false());
    else if ((value = value_of(cli, at, "--pin")))
        (void)json_object_set_new(body, "pin", json_string(value));
    else if ((value = value_of(cli, at, "--mask")))
        (void)json_object_set_new(body, "mask", json_string(value));
    else if ((value = value_of(cli, at, "--prefer")))
        (void)json_object_set_new(body, "prefer", list_of(value));
    else if ((value = value_of(cli, at, "--avoid")))
        (void)json_object_set_new(body, "avoid", list_of(value));
    else
        return false;
    return true;
}

static void print_answer(const json_t *answer)
{
    const json_t *chosen = json_object_get(answer, "chosen"), *candidate;
    const json_t *error = json_object_get(answer, "error");
    size_t i;

    if (chosen)
        printf("goes to %s replica %" PRIu64 ", decided by %s\n", pm_text(chosen, "pool_id", "?"),
               pm_number(chosen, "replica_id"), pm_text(answer, "decided_by", "?"));
    else if (error)
        printf("is refused, %s: %s\n", pm_text(error, "code", "?"), pm_text(error, "message", ""));
    else
        printf("waits\n");
    json_array_foreach(json_object_get(answer, "candidates"), i, candidate)
    {
        const char *refused_by = pm_text(candidate, "refused_by", "");

        printf("  %s replica %" PRIu64 ": %s\n", pm_text(candidate, "pool_id", "?"),
               pm_number(candidate, "replica_id"), refused_by[0] ? refused_by : "may serve");
    }
}

int pm_verb_placement(struct pm_cli *cli)
{
    json_t *body, *answer;
    pm_auto_free char *text = NULL;

    if (cli->argc < 3 || strcmp(cli->argv[1], "explain") != 0)
        pm_cli_usage(cli);
    body = json_pack("{s:s}", "model", cli->argv[2]);
    for (int i = 3; i < cli->argc; i++) {
        if (!read_option(cli, &i, body))
            pm_cli_usage(cli);
    }
    text = json_dumps(body, 0);
    json_decref(body);

    answer = pm_cli_ask_json(cli, "POST", "/v1/placement", text);
    if (cli->json)
        pm_print_json(answer);
    else
        print_answer(answer);
    json_decref(answer);
    return 0;
}
