/* SPDX-License-Identifier: Apache-2.0 */
/* drain, resume, reload: what an operator wants of a pool for good. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define SPEC_MAX (1024 * 1024)

/* An option of these verbs: what stands behind it becomes a member of the body. */
struct option {
    const char *name, *member;
    json_t *(*read)(const char *text);
};

static json_t *read_duration(const char *text)
{
    uint64_t ms;

    if (!pm_parse_duration(text, &ms))
        pm_cli_die(2, "--deadline %s is no duration; write 30s or 5m", text);
    return json_integer((json_int_t)ms);
}

static json_t *read_word(const char *text)
{
    json_t *value = json_string(text);

    if (!value)
        pm_cli_die(2, "an option's value is no UTF-8");
    return value;
}

/* The daemon does not know where we stand: a path is made absolute here. */
static json_t *read_ref(const char *text)
{
    pm_auto_free char *here = getcwd(NULL, 0), *path = NULL;
    const char *home = getenv("HOME");

    if (pm_str_starts(text, "file:"))
        text += 5;
    if (text[0] == '/' || pm_str_starts(text, "hf:") || strstr(text, "://"))
        return read_word(text);
    if (pm_str_starts(text, "~/") && home)
        path = pm_xasprintf("%s/%s", home, text + 2);
    else
        path = pm_xasprintf("%s/%s", here ? here : "", text);
    return read_word(path);
}

static json_t *read_spec(const char *path)
{
    pm_auto_free char *text = NULL;
    struct poolmgr_error err = {0};
    json_error_t where;
    json_t *spec;
    size_t n;

    if (pm_read_file(path, SPEC_MAX, &text, &n, &err) < 0)
        pm_cli_die(1, "%s", err.message);
    spec = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(spec))
        pm_cli_die(2, "%s:%d:%d: a pool's settings as a JSON object are wanted: %s", path,
                   where.line, where.column, spec ? "this is another value" : where.text);
    return spec;
}

static const struct option drain_options[] = {
    {"--deadline", "deadline_ms", read_duration},
    {"--on-deadline", "on_deadline", read_word},
    {"--then", "then", read_word},
    {0},
};
static const struct option reload_options[] = {
    {"--model", "new_model_ref", read_ref},
    {"--engine-version", "new_engine_version", read_word},
    {"--file", "spec", read_spec},
    {"--deadline", "deadline_ms", read_duration},
    {"--on-deadline", "on_deadline", read_word},
    {0},
};

static bool take_option(const struct pm_cli *cli, int *at, const struct option *options,
                        json_t *body)
{
    for (; options->name; options++) {
        size_t n = strlen(options->name);
        const char *word = cli->argv[*at];

        if (strncmp(word, options->name, n) != 0 || (word[n] && word[n] != '='))
            continue;
        if (!word[n] && *at + 1 == cli->argc)
            pm_cli_die(2, "%s needs a value", options->name);
        (void)json_object_set_new(body, options->member,
                                  options->read(word[n] ? word + n + 1 : cli->argv[++*at]));
        return true;
    }
    return false;
}

/* One pool, and options that make the body. */
static int change(struct pm_cli *cli, const char *verb, const struct option *options)
{
    json_t *body = json_object();
    pm_auto_free char *text = NULL;
    const char *pool = NULL;

    for (int i = 1; i < cli->argc; i++) {
        if (take_option(cli, &i, options, body))
            continue;
        if (pool || cli->argv[i][0] == '-')
            pm_cli_usage(cli);
        pool = cli->argv[i];
    }
    if (!pool)
        pm_cli_usage(cli);
    text = json_dumps(body, 0);
    json_decref(body);
    return pm_cli_command(cli, pool, verb, text);
}

int pm_verb_drain(struct pm_cli *cli)
{
    return change(cli, "drain", drain_options);
}

int pm_verb_reload(struct pm_cli *cli)
{
    return change(cli, "reload", reload_options);
}

int pm_verb_resume(struct pm_cli *cli)
{
    int status = 0;

    if (cli->argc < 2)
        pm_cli_usage(cli);
    for (int i = 1; i < cli->argc; i++) {
        int r = pm_cli_command(cli, cli->argv[i], "resume", NULL);

        status = status ? status : r;
    }
    return status;
}
