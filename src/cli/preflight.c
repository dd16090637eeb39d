/* SPDX-License-Identifier: Apache-2.0 */
/* preflight: the daemon is asked where one answers, since its limits and its user are what counts; else we look. */
#include "provision/preflight.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "provision/gather.h"
#include "util/cleanup.h"
#include "util/str.h"

/* ---- looking by ourselves --------------------------------------------------------------------------- */

struct asking {
    struct pm_loop *loop;
    struct pm_facts *facts;
};

static void on_answer(void *ctx, enum pm_asked how, const char *text,
                      struct pm_gpu_snapshot *snapshot)
{
    struct asking *asking = ctx;

    pm_facts_answered(asking->facts, how, text, snapshot);
    pm_loop_stop(asking->loop);
}

static void ask_driver(const struct pm_gather *gather, struct pm_facts *facts)
{
    pm_auto_free char *program = pm_find_pool_probe();
    struct asking asking = {.facts = facts};
    struct poolmgr_error err = {0};
    struct pm_driver_ask *ask;

    if (!program) {
        pm_facts_answered(facts, PM_ASKED_MISSING, NULL, NULL);
        return;
    }
    if (pm_loop_new(&asking.loop, &err) < 0)
        pm_cli_die(1, "%s", err.message);
    ask =
        pm_driver_ask_new(asking.loop, program, gather->nvml, PM_ASK_DRIVER_MS, on_answer, &asking);
    (void)pm_loop_run(asking.loop);
    pm_driver_ask_free(ask);
    (void)pm_loop_turn(asking.loop, 0); /* what was let go of is freed */
    pm_loop_free(asking.loop);
}

/* The configuration that a daemon would have; where it is wrong, the one without a file, and *ret_wrong says why. */
static struct pm_config *load(char **ret_wrong)
{
    struct pm_config_overrides overrides = {0};
    pm_auto_free struct pm_config_errors *errors = pm_xalloc(sizeof(*errors));
    struct pm_config *config = NULL;
    struct poolmgr_error err = {0};

    *ret_wrong = NULL;
    if (pm_config_load(&overrides, &config, errors, &err) == 0)
        return config;
    *ret_wrong = pm_xstrdup(err.message);
    if (pm_config_parse("", 0, "(no file)", "/", &overrides, &config, errors, &err) < 0)
        pm_cli_die(2, "%s", err.message);
    return config;
}

static json_t *look(enum pm_mode mode)
{
    pm_auto_free char *wrong = NULL;
    struct pm_config *config = load(&wrong);
    struct pm_preflight preflight;
    struct pm_gather gather;
    struct pm_needs needs;
    struct pm_facts facts;
    json_t *root;

    pm_gather_init(config, NULL, &gather);
    pm_needs_of(config, mode, &needs);
    needs.config_error = wrong;
    pm_facts_gather(&gather, &facts);
    if (pm_driver_to_be_asked(&gather, &facts))
        ask_driver(&gather, &facts);
    pm_preflight_judge(&facts, &needs, &preflight);
    root = pm_preflight_json(&preflight);
    pm_preflight_fini(&preflight);
    pm_facts_fini(&facts);
    pm_gather_fini(&gather);
    pm_config_free(config);
    return root;
}

/* ---- asking, and telling ---------------------------------------------------------------------------- */

static json_t *ask_daemon(struct pm_cli *cli, enum pm_mode mode)
{
    pm_auto_free char *body = mode == PM_MODE_COUNT
                                  ? pm_xstrdup("{}")
                                  : pm_xasprintf("{\"mode\":\"%s\"}", pm_modes[mode].name);

    return pm_cli_ask_json(cli, "POST", "/v1/preflight", body);
}

static enum pm_mode read_mode(struct pm_cli *cli)
{
    const char *names[PM_MODE_COUNT], *word = "", *near;
    enum pm_mode mode = PM_MODE_COUNT;
    pm_auto_buf struct pm_buf list = {0};

    for (int i = 1; i < cli->argc; i++) {
        if (strcmp(cli->argv[i], "--mode") == 0 && i + 1 < cli->argc)
            word = cli->argv[++i];
        else
            pm_cli_usage(cli);
    }
    if (!word[0] || pm_mode_by_name(word, &mode))
        return mode;

    for (size_t i = 0; i < PM_MODE_COUNT; i++) {
        names[i] = pm_modes[i].name;
        pm_buf_addf(&list, " %s", names[i]);
    }
    near = pm_str_suggest(word, names, PM_MODE_COUNT);
    if (near)
        pm_cli_die(2, "unknown mode '%s'; did you mean '%s'?", word, near);
    pm_cli_die(2, "unknown mode '%s'; there are:%s", word, pm_buf_text(&list));
}

int pm_verb_preflight(struct pm_cli *cli)
{
    enum pm_mode mode = read_mode(cli);
    bool asks = (cli->url && cli->url[0]) || pm_cli_daemon_answers();
    json_t *root = asks ? ask_daemon(cli, mode) : look(mode);
    bool ok = json_is_true(json_object_get(root, "ok"));
    pm_auto_buf struct pm_buf out = {0};

    if (cli->json) {
        pm_print_json(root);
    } else if (!cli->quiet) {
        pm_buf_addf(&out, "%s\n\n", asks ? "as the daemon sees it" : "as poolctl sees it");
        pm_print_preflight(root, cli->colour, &out);
        fwrite(out.data, 1, out.n, stdout);
    }
    json_decref(root);
    return ok ? 0 : 1;
}

/* ---- text ------------------------------------------------------------------------------------------- */

static size_t longest(const json_t *checks, const char *member, size_t most)
{
    const json_t *check;
    size_t i, most_yet = 0;

    json_array_foreach(checks, i, check)
    {
        size_t n = strlen(pm_text(check, member, ""));

        most_yet = n > most_yet && n <= most ? n : most_yet;
    }
    return most_yet;
}

#define VALUE_MOST 28 /* a longer one, as an address or a UUID, pushes its text to the right */

/* Adds a word, in its colour. */
static void add_status(struct pm_buf *out, const char *status, bool colour)
{
    unsigned number = strcmp(status, "fail") == 0 ? 31 : strcmp(status, "warn") == 0 ? 33 : 32;

    if (colour)
        pm_buf_addf(out, "\033[%um%s\033[0m", number, status);
    else
        pm_buf_adds(out, status);
}

void pm_print_preflight(const json_t *root, bool colour, struct pm_buf *out)
{
    const json_t *checks = json_object_get(root, "checks"), *check;
    int n_code = (int)longest(checks, "code", 32),
        n_value = (int)longest(checks, "value", VALUE_MOST);
    size_t i, n_pass = 0, n_warn = 0, n_fail = 0;
    const char *group = "";

    json_array_foreach(checks, i, check)
    {
        const char *status = pm_text(check, "status", "fail"), *fix = pm_text(check, "fix", "");

        if (strcmp(group, pm_text(check, "group", "")) != 0) {
            group = pm_text(check, "group", "");
            pm_buf_addf(out, "%s%s\n", i > 0 ? "\n" : "", group);
        }
        pm_buf_adds(out, "  ");
        add_status(out, status, colour);
        pm_buf_addf(out, "  %-*s  %-*s  %s\n", n_code, pm_text(check, "code", "?"), n_value,
                    pm_text(check, "value", ""), pm_text(check, "text", ""));
        if (fix[0])
            pm_buf_addf(out, "        fix: %s\n", fix);
        n_pass += strcmp(status, "pass") == 0;
        n_warn += strcmp(status, "warn") == 0;
        n_fail += strcmp(status, "fail") == 0;
    }
    pm_buf_addf(out, "\n%s: %zu pass, %zu warn, %zu fail\n",
                json_is_true(json_object_get(root, "ok")) ? "fit" : "not fit", n_pass, n_warn,
                n_fail);
}
