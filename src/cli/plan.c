/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: does a model fit, where, and with which flags. Of a file it is answered here, with neither a daemon nor a GPU; of a pool
 * the daemon is asked, which knows its devices.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan.h"
#include "engine/engine.h"
#include "plan/ggml.h"
#include "util/cleanup.h"
#include "util/str.h"

struct question {
    const char *ref;
    const char *devices, *machine, *split, *svg, *engine;
    uint64_t context, n_slots, reserve_bytes;
    bool has_reserve;
    const char *of_a_file; /* an option that a pool's own settings stand against; NULL none */
    struct pm_estimate_ask ask;
};

/* ---- options ------------------------------------------------------------------------------------------ */

static uint64_t read_bytes(const char *text, const char *option)
{
    uint64_t bytes;

    if (!pm_parse_bytes(text, &bytes) || bytes > INT64_MAX)
        pm_cli_die(2, "%s: '%s' is no size; write 512MiB or 1GiB", option, text);
    return bytes;
}

/* "q8_0", as the engine's -ctk has it. */
static unsigned read_type(const char *text, const char *option)
{
    unsigned id;

    if (!pm_ggml_find_cache_type(text, &id))
        pm_cli_die(2,
                   "%s: no type '%s'; f16, q8_0 and q4_0 are the usual ones, and an engine takes "
                   "f32, bf16, q5_1, q5_0, q4_1 and iq4_nl, too",
                   option, text);
    return id;
}

static bool read_text_option(struct question *question, const char *name, const char *value)
{
    if (strcmp(name, "--split") == 0 || strcmp(name, "--engine") == 0)
        question->of_a_file = name;

    if (strcmp(name, "--devices") == 0)
        question->devices = value;
    else if (strcmp(name, "--machine") == 0)
        question->machine = value;
    else if (strcmp(name, "--split") == 0)
        question->split = value;
    else if (strcmp(name, "--svg") == 0)
        question->svg = value;
    else if (strcmp(name, "--engine") == 0)
        question->engine = value;
    else
        return false;
    return true;
}

static bool read_number_option(struct question *question, const char *name, const char *value)
{
    struct pm_estimate_ask *ask = &question->ask;

    if (strcmp(name, "--ctx") != 0 && strcmp(name, "--parallel") != 0)
        question->of_a_file = name;
    if (strcmp(name, "--ctx") == 0)
        question->context = pm_cli_number(value, "--ctx");
    else if (strcmp(name, "--parallel") == 0)
        question->n_slots = pm_cli_number(value, "--parallel");
    else if (strcmp(name, "--ubatch") == 0)
        ask->ubatch = pm_cli_number(value, "--ubatch");
    else if (strcmp(name, "--cache-k") == 0)
        ask->cache_k = read_type(value, name);
    else if (strcmp(name, "--cache-v") == 0)
        ask->cache_v = read_type(value, name);
    else if (strcmp(name, "--compute") == 0)
        ask->measured.compute_bytes = read_bytes(value, name);
    else if (strcmp(name, "--reserve") == 0) {
        question->reserve_bytes = read_bytes(value, name);
        question->has_reserve = true;
    } else
        return false;
    return true;
}

static void read_question(struct pm_cli *cli, struct question *question)
{
    for (int i = 1; i < cli->argc; i++) {
        const char *word = cli->argv[i];

        if (word[0] != '-' && !question->ref) {
            question->ref = word;
            continue;
        }
        if (strcmp(word, "--unified") == 0) {
            question->of_a_file = word;
            question->ask.unified = true;
            continue;
        }
        if (word[0] == '-' && i + 1 == cli->argc)
            pm_cli_die(2, "%s needs a value", word);
        if (word[0] != '-')
            pm_cli_usage(cli);
        if (!read_text_option(question, word, cli->argv[i + 1]) &&
            !read_number_option(question, word, cli->argv[i + 1]))
            pm_cli_usage(cli);
        i++;
    }
    if (!question->ref || !question->ref[0])
        pm_cli_usage(cli);
}

/* A pool's id has neither a slash nor a scheme. */
static bool is_pool(const char *ref)
{
    return !strchr(ref, '/') && !strchr(ref, ':') && !pm_str_ends(ref, ".gguf");
}

/* ---- answered here ------------------------------------------------------------------------------------ */

static const char *path_of(const char *ref)
{
    if (pm_str_starts(ref, "hf:") || (strstr(ref, "://") && !pm_str_starts(ref, "file:")))
        pm_cli_die(1,
                   "%s is not a local file, and models are not downloaded yet; download the "
                   "GGUF yourself and give its path",
                   ref);
    return ref;
}

static size_t imagine_machine(const char *text, struct pm_planning_device **ret)
{
    uint64_t free_bytes[PM_SHARES_MAX];
    size_t n = pm_plan_read_machine(text, free_bytes);

    *ret = pm_xalloc(n * sizeof(**ret));
    for (size_t i = 0; i < n; i++)
        (*ret)[i] = pm_planning_imagine(i, free_bytes[i]);
    return n;
}

/* What is invalid is always the split: devices were counted before. */
static _Noreturn void die_unplanned(const struct question *question,
                                    const struct poolmgr_error *err)
{
    if (err->code == POOLMGR_E_CONFIG_INVALID)
        pm_cli_die(2, "--split: %s", err->message);
    pm_cli_die(1, "%s: %s%s%s", question->ref, err->message, err->hint[0] ? "; " : "", err->hint);
}

static void find_memory(const struct question *question, struct pm_planning *planning,
                        struct pm_planning_device *devices)
{
    uint64_t free_bytes[PM_SHARES_MAX];

    if (!question->machine)
        free_bytes[0] = pm_plan_look_at_memory();
    else if (pm_plan_read_machine(question->machine, free_bytes) > 1)
        pm_cli_die(2, "--machine %s: the CPU has one memory", question->machine);
    pm_planning_on_cpu(planning, devices, free_bytes[0],
                       question->has_reserve ? question->reserve_bytes : 0);
}

static void find_devices(const struct question *question, struct pm_planning *planning,
                         struct pm_planning_device chosen[PM_SHARES_MAX])
{
    pm_auto_free struct pm_planning_device *devices = NULL;
    size_t n = question->machine ? imagine_machine(question->machine, &devices)
                                 : pm_plan_look_at_machine(&devices);

    if (n == 0 && pm_plan_is_auto(question->devices)) {
        fprintf(stderr, "poolctl: no GPU in this machine: planned on the CPU\n");
        find_memory(question, planning, chosen);
        return;
    }
    for (size_t i = 0; i < n && question->has_reserve; i++)
        devices[i].is.reserve_bytes = question->reserve_bytes;
    planning->n_devices = pm_plan_choose(question->devices, devices, n, chosen);
}

static json_t *answer_here(const struct question *question)
{
    struct pm_planning_device devices[PM_SHARES_MAX] = {0};
    double ratios[PM_SHARES_MAX];
    struct poolmgr_error err = {0};
    struct pm_model *model = NULL;
    struct pm_planning planning = {.ref = question->ref, .ask = question->ask, .ratios = ratios};
    struct pm_plan_engine engine = {0};
    json_t *answer = NULL;

    if (!pm_planning_read_split(question->split ? question->split : "auto", &planning.mode, ratios,
                                &planning.n_ratios))
        pm_cli_die(2, "--split %s: none, auto, balanced, or ratios as [0.67,0.33], one a device",
                   question->split);
    if (pm_engine_read_model(path_of(question->ref), &model, &err) < 0)
        pm_cli_die(pm_status(err.code)->exit_code, "%s", err.message);

    if (pm_plan_is_cpu(question->devices))
        find_memory(question, &planning, devices);
    else
        find_devices(question, &planning, devices);
    planning.devices = devices;
    planning.model = model;
    planning.ask.context = question->context;
    planning.ask.n_slots = question->n_slots;
    if (question->engine)
        engine = pm_plan_look_at_engine(question->engine);
    planning.knows_fit = engine.knows_fit;
    if (engine.few_outputs)
        planning.ask.n_outputs = question->n_slots > 0 ? question->n_slots : 1;
    if (pm_planning_answer(&planning, &answer, &err) < 0)
        die_unplanned(question, &err);
    pm_model_unref(model);
    return answer;
}

/* ---- answered by a daemon ----------------------------------------------------------------------------- */

static json_t *ask_daemon(struct pm_cli *cli, const struct question *question)
{
    json_t *body = json_pack("{s:s}", "model", question->ref), *answer;
    pm_auto_free char *text = NULL;

    if (question->of_a_file)
        pm_cli_die(2, "%s goes with a file; a pool is planned with its own settings",
                   question->of_a_file);

    if (question->devices)
        (void)json_object_set_new(body, "devices", json_string(question->devices));
    if (question->context > 0)
        (void)json_object_set_new(body, "context", json_integer((json_int_t)question->context));
    if (question->n_slots > 0)
        (void)json_object_set_new(body, "slots", json_integer((json_int_t)question->n_slots));
    if (question->machine) {
        uint64_t free_bytes[PM_SHARES_MAX];
        size_t n = pm_plan_read_machine(question->machine, free_bytes);
        json_t *machine = json_array();

        for (size_t i = 0; i < n; i++)
            (void)json_array_append_new(
                machine, json_pack("{s:I}", "free_bytes", (json_int_t)free_bytes[i]));
        (void)json_object_set_new(body, "machine", machine);
    }
    text = json_dumps(body, 0);
    json_decref(body);
    if (!text)
        pm_cli_die(2, "'%s' is no UTF-8", question->ref);
    answer = pm_cli_ask_json(cli, "POST", "/v1/plan", text);
    return answer;
}

/* ---- the verb ----------------------------------------------------------------------------------------- */

/* As a shell's `>` would: what a link points to is written, and a device stays one. */
static void write_svg(const char *path, const json_t *answer)
{
    pm_auto_buf struct pm_buf out = {0};
    FILE *file = fopen(path, "we");

    pm_plan_draw(answer, &out);
    if (!file || fwrite(out.data, 1, out.n, file) != out.n || fclose(file) != 0)
        pm_cli_die(1, "--svg: '%s' cannot be written: %s", path, strerror(errno));
}

int pm_verb_plan(struct pm_cli *cli)
{
    struct question question = {.ask = pm_estimate_ask_default()};
    pm_auto_buf struct pm_buf out = {0};
    json_t *answer;
    bool fits;

    read_question(cli, &question);
    answer = is_pool(question.ref) ? ask_daemon(cli, &question) : answer_here(&question);
    fits = json_is_true(json_object_get(answer, "fits"));
    if (question.svg)
        write_svg(question.svg, answer);
    if (cli->json) {
        pm_print_json(answer);
    } else {
        pm_plan_print_verdict(answer, &out);
        if (!cli->quiet) {
            pm_plan_print(answer, cli->columns, cli->colour, &out);
            pm_plan_print_measured(answer, &out);
        }
        fwrite(out.data, 1, out.n, stdout);
    }
    json_decref(answer);
    return fits ? 0 : 1;
}
