/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts as the API's JSON, and the tables as docs/preflight.md. */
#include <string.h>

#include "provision/preflight.h"
#include "util/str.h"

static void put_text(json_t *object, const char *key, const char *text)
{
    if (text && text[0])
        (void)json_object_set_new(object, key,
                                  pm_utf8_valid(text, strlen(text)) ? json_string(text)
                                                                    : json_string("(no text)"));
}

static json_t *checked_json(const struct pm_checked *checked)
{
    json_t *value = json_object();

    put_text(value, "code", checked->code);
    put_text(value, "group", pm_check_group_name(pm_checks[checked->check].group));
    put_text(value, "status", pm_outcome_name(checked->outcome));
    put_text(value, "finding", pm_findings[checked->finding].word);
    put_text(value, "value", checked->value);
    if (checked->has_bytes)
        (void)json_object_set_new(value, "value_bytes", json_integer((json_int_t)checked->bytes));
    put_text(value, "text", checked->text);
    put_text(value, "fix", checked->fix);
    return value;
}

json_t *pm_preflight_json(const struct pm_preflight *preflight)
{
    json_t *root = json_object(), *checks = json_array();

    (void)json_object_set_new(root, "ok", json_boolean(pm_preflight_ok(preflight)));
    for (size_t i = 0; i < preflight->n; i++)
        (void)json_array_append_new(checks, checked_json(&preflight->items[i]));
    (void)json_object_set_new(root, "checks", checks);
    return root;
}

/* ---- the page --------------------------------------------------------------------------------------- */

/* In a cell of a table a bar must be escaped. */
static void add_cell(struct pm_buf *out, const char *text)
{
    for (; *text; text++)
        pm_buf_addf(out, *text == '|' ? "\\%c" : "%c", *text);
}

static void add_command(struct pm_buf *out, const char *command)
{
    if (!command) {
        pm_buf_adds(out, "the same");
        return;
    }
    pm_buf_adds(out, "`");
    add_cell(out, command);
    pm_buf_adds(out, "`");
}

static void add_fixes(struct pm_buf *out, const char *const *fix)
{
    for (unsigned i = 0; i < PM_DISTRO_COUNT; i++) {
        pm_buf_adds(out, " | ");
        add_command(out, fix[i]);
    }
    pm_buf_adds(out, " |\n");
}

static void add_modes_of(struct pm_buf *out, unsigned modes)
{
    const char *between = "";

    for (unsigned i = 0; i < PM_MODE_COUNT; i++) {
        if (modes & PM_MODE_BIT(i)) {
            pm_buf_addf(out, "%s`%s`", between, pm_modes[i].name);
            between = ", ";
        }
    }
}

static void add_tools(struct pm_buf *out)
{
    pm_buf_adds(out, "\n## Tools\n\nWith a GPU only: `nvcc`, `nvidia-ctk`. A tool that is only "
                     "useful is a warning where it is missing; one that the ref of a model needs "
                     "(`s3:`, `oci:`) a fail.\n\n"
                     "| code | any of | what for | needed by | useful for | otherwise | Debian | "
                     "Fedora | Arch |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < pm_n_tools; i++) {
        const struct pm_tool *tool = &pm_tools[i];

        pm_buf_addf(out, "| `tool_%s` | `%s` | %s | ", tool->name, tool->programs, tool->what_for);
        add_modes_of(out, tool->needed);
        pm_buf_adds(out, " | ");
        add_modes_of(out, tool->wanted);
        add_fixes(out, tool->install);
    }
}

void pm_preflight_docs(struct pm_buf *out)
{
    pm_buf_adds(
        out,
        "# Preflight\n\n"
        "Is this machine fit? `poolctl preflight [--mode M]` looks and says, per check, pass, warn "
        "or fail, with a number, and with the command that mends it on Debian, Fedora and Arch. It "
        "works without a daemon and without a GPU, creates nothing, changes nothing, and never "
        "carries a command out. Where a daemon answers it is asked (`POST /v1/preflight`, body "
        "`{\"mode\":\"source\"}` or none), since its limits and its user are what counts; else "
        "poolctl looks by itself. Exit status 1: something failed. This page is printed from the "
        "tables of the code.\n\n"
        "`{\"ok\":…,\"checks\":[{\"code\",\"group\",\"status\",\"finding\",\"value\","
        "\"value_bytes\",\"text\",\"fix\"}]}`: `code` names the check, `finding` what was found "
        "(absent when it passed), `value_bytes` stands where the value is a size. Codes and "
        "findings stay; texts may change.\n\n"
        "## Modes\n\nWithout `--mode`: what the engines and models of the configuration need.\n\n"
        "| mode | for |\n| --- | --- |\n");
    for (unsigned i = 0; i < PM_MODE_COUNT; i++)
        pm_buf_addf(out, "| `%s` | %s |\n", pm_modes[i].name, pm_modes[i].help);
    pm_buf_adds(out, "\n## Checks\n\n| code | group | its value |\n| --- | --- | --- |\n");
    for (unsigned i = 0; i < PM_CHECK_COUNT; i++)
        pm_buf_addf(out, "| `%s` | %s | %s |\n", pm_checks[i].code,
                    pm_check_group_name(pm_checks[i].group), pm_checks[i].value);
    add_tools(out);
    pm_buf_adds(out, "\n## Findings\n\n`{}` stands for what it is about: a path, a GPU, a "
                     "version.\n\n"
                     "| finding | status | when | otherwise | Debian | Fedora | Arch |\n"
                     "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (unsigned i = PM_FOUND_NOTHING + 1; i < PM_FINDING_COUNT; i++) {
        pm_buf_addf(out, "| `%s` | %s | ", pm_findings[i].word,
                    pm_outcome_name(pm_findings[i].outcome));
        add_cell(out, pm_findings[i].when);
        add_fixes(out, pm_findings[i].fix);
    }
}
