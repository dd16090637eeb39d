/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an engine ended, in our words. The kernel's word comes first (a counted OOM kill, a SIGKILL that was not
 * ours), then the engine's own last lines by its family's table, then status and signal alone. An engine that was
 * ready once has shown that its model and its arguments are good, so that nothing it says later is permanent.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "util/cleanup.h"

/* The line around a byte of the log, without its time stamp and level. */
static void copy_line(const char *log, const char *at, char *to, size_t size)
{
    const char *from = at, *end = strchrnul(at, '\n');
    size_t n_stamp;

    while (from > log && from[-1] != '\n')
        from--;

    n_stamp = strspn(from, "0123456789.");
    if (n_stamp > 4 && from[n_stamp] == ' ' && from[n_stamp + 1] != '\0' &&
        from[n_stamp + 2] == ' ')
        from += n_stamp + 3;

    while (from < end && *from == ' ')
        from++;

    (void)snprintf(to, size, "%.*s", (int)(end - from), from);
}

static const struct pm_last_words *find_last_words(const struct pm_last_words *words,
                                                   const char *log, char *line, size_t size)
{
    const char *at;

    for (; words->text; words++) {
        at = strcasestr(log, words->text);
        if (at) {
            copy_line(log, at, line, size);
            return words;
        }
    }

    return NULL;
}

/* With no word that is known: the last line that is not empty, since that is where engines say it. */
static void copy_last_line(const char *log, char *to, size_t size)
{
    size_t n = strlen(log);

    while (n > 0 && (log[n - 1] == '\n' || log[n - 1] == ' ' || log[n - 1] == '\r'))
        n--;

    to[0] = '\0';
    if (n > 0) {
        pm_auto_free char *text = pm_xstrndup(log, n);

        copy_line(text, text + n - 1, to, size);
    }
}

static void judge_by_status(const struct pm_process_exit *how, struct pm_failure *evidence)
{
    if (how->oom_kill)
        evidence->class = PM_CLASS_OOM;
    else if (how->status < 0 || (how->signalled && how->status == SIGKILL && !how->sigkill_by_us))
        evidence->class = PM_CLASS_KILLED;
    else
        evidence->class = how->signalled ? PM_CLASS_SIGNAL : PM_CLASS_EXIT;
}

void pm_engine_judge(const struct pm_engine_spec *engine, const struct pm_process_exit *how,
                     bool was_ready, struct pm_exit *ret)
{
    const struct pm_family_row *row = pm_family_row(engine->family);
    const struct pm_last_words *words = NULL;
    struct pm_failure evidence = {0};
    const char *log = how->log_tail ? how->log_tail : "";

    judge_by_status(how, &evidence);
    if (row && evidence.class != PM_CLASS_KILLED)
        words = find_last_words(row->last_words, log, evidence.text, sizeof evidence.text);

    if (words) {
        evidence.code = was_ready ? 0 : words->code;
        evidence.permanent = words->permanent && !was_ready && !how->signalled;
        if (words->class == PM_CLASS_OOM || words->class == PM_CLASS_DRIVER)
            evidence.class = words->class;
    } else {
        copy_last_line(log, evidence.text, sizeof evidence.text);
    }

    if (row && row->permanent_exit != 0 && !how->signalled && how->status == row->permanent_exit)
        evidence.permanent = true;

    ret->signalled = how->signalled;
    ret->status = how->status;
    ret->evidence = evidence;
}
