/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/event.h"
#include "util/cleanup.h"
#include "util/str.h"

char *pm_judge_word(const char *about)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:=@,%";
    pm_auto_buf struct pm_buf out = {0};

    if (about[0] != '/' || about[strspn(about, plain)] == '\0')
        return pm_xstrdup(about);
    pm_buf_adds(&out, "'");
    for (; *about; about++)
        pm_buf_addf(&out, *about == '\'' ? "'\\''" : "%c", *about);
    pm_buf_adds(&out, "'");
    return pm_xstrdup(pm_buf_text(&out));
}

/* `about` in place of each {}. */
static char *fill_in(const char *pattern, const char *about)
{
    pm_auto_free char *word = pm_judge_word(about ? about : "…");
    pm_auto_buf struct pm_buf out = {0};
    const char *hole;

    for (; (hole = strstr(pattern, "{}")); pattern = hole + 2) {
        pm_buf_add(&out, pattern, (size_t)(hole - pattern));
        pm_buf_adds(&out, word);
    }
    pm_buf_adds(&out, pattern);
    return pm_xstrdup(pm_buf_text(&out));
}

static char *fix_of(const struct pm_preflight *out, enum pm_finding finding, const char *about)
{
    const struct pm_finding_row *row = &pm_findings[finding];
    const char *pattern = row->fix[out->distro];

    if (!pattern)
        pattern = row->fix[PM_DISTRO_OTHER];
    return pattern ? fill_in(pattern, about) : NULL;
}

static struct pm_checked *add(struct pm_preflight *out)
{
    if (out->n == out->capacity) {
        out->capacity = out->capacity ? 2 * out->capacity : 64;
        out->items = pm_xrealloc(out->items, out->capacity * sizeof(out->items[0]));
    }
    out->items[out->n] = (struct pm_checked){0};
    return &out->items[out->n++];
}

/* Names of files and devices are strangers' texts; NULL is fine. */
static char *cleaned(char *text)
{
    if (text)
        pm_text_clean(text);
    return text;
}

__attribute__((__format__(__printf__, 6, 0))) static struct pm_checked *say(
    struct pm_judging *judging, enum pm_check check, enum pm_finding finding, const char *about,
    const char *value, const char *format, va_list args)
{
    struct pm_checked *checked = add(judging->out);
    char text[1024];

    (void)vsnprintf(text, sizeof(text), format, args);
    checked->check = check;
    checked->finding = finding;
    checked->outcome = pm_findings[finding].outcome;
    (void)pm_str_copy(checked->code, sizeof(checked->code), pm_checks[check].code);
    checked->value = value && value[0] ? cleaned(pm_xstrdup(value)) : NULL;
    checked->text = cleaned(pm_xstrdup(text));
    checked->fix = cleaned(fix_of(judging->out, finding, about));
    return checked;
}

struct pm_checked *pm_judge_say(struct pm_judging *judging, enum pm_check check,
                                enum pm_finding finding, const char *about, const char *value,
                                const char *format, ...)
{
    struct pm_checked *checked;
    va_list args;

    va_start(args, format);
    checked = say(judging, check, finding, about, value, format, args);
    va_end(args);
    return checked;
}

struct pm_checked *pm_judge_size(struct pm_judging *judging, enum pm_check check,
                                 enum pm_finding finding, const char *about, uint64_t bytes,
                                 const char *format, ...)
{
    struct pm_checked *checked;
    char value[32];
    va_list args;

    if (bytes == PM_UNLIMITED)
        (void)pm_str_copy(value, sizeof(value), "unlimited");
    else
        (void)pm_format_bytes(value, sizeof(value), bytes);
    va_start(args, format);
    checked = say(judging, check, finding, about, value, format, args);
    va_end(args);
    checked->has_bytes = bytes != PM_UNLIMITED;
    checked->bytes = bytes;
    return checked;
}

void pm_judge_soften(struct pm_checked *checked)
{
    if (checked->outcome == PM_FAILS)
        checked->outcome = PM_WARNS;
}

void pm_preflight_judge(const struct pm_facts *facts, const struct pm_needs *needs,
                        struct pm_preflight *ret)
{
    struct pm_judging judging = {facts, needs, ret};

    *ret = (struct pm_preflight){.distro = facts->os.distro};
    pm_judge_system(&judging);
    pm_judge_gpu(&judging);
    pm_judge_tools(&judging);
    pm_judge_disk(&judging);
    pm_judge_memory(&judging);
    pm_judge_limits(&judging);
    pm_judge_network(&judging);
    pm_judge_clock(&judging);
}

bool pm_preflight_ok(const struct pm_preflight *preflight)
{
    for (size_t i = 0; i < preflight->n; i++) {
        if (preflight->items[i].outcome == PM_FAILS)
            return false;
    }
    return true;
}

void pm_preflight_fini(struct pm_preflight *preflight)
{
    for (size_t i = 0; i < preflight->n; i++) {
        free(preflight->items[i].value);
        free(preflight->items[i].text);
        free(preflight->items[i].fix);
    }
    free(preflight->items);
    *preflight = (struct pm_preflight){0};
}
