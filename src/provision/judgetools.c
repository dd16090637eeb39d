/* SPDX-License-Identifier: Apache-2.0 */
/* The tools that the modes need, and the programs of the engines that pools name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provision/judge.h"
#include "util/str.h"

/* "podman docker" → "podman or docker" */
static void spell(const char *programs, char *to, size_t size)
{
    size_t n = 0;

    to[0] = '\0';
    while (*programs && n < size) {
        int length = (int)strcspn(programs, " ");

        n += (size_t)snprintf(to + n, size - n, "%s%.*s", n > 0 ? " or " : "", length, programs);
        programs += length;
        programs += strspn(programs, " ");
    }
}

static void judge_tool(struct pm_judging *j, size_t i)
{
    const struct pm_tool *tool = &pm_tools[i];
    bool needed = (tool->needed & j->needs->modes) || (j->needs->tools & (1u << i));
    const char *path = j->facts->tools[i].path;
    const char *install = tool->install[j->out->distro];
    struct pm_checked *checked;
    char programs[96];

    if (!needed && !(tool->wanted & j->needs->modes))
        return;
    if (tool->with_gpu && j->facts->driver.hardware.n[PM_VENDOR_NVIDIA] == 0)
        return;

    spell(tool->programs, programs, sizeof(programs));
    if (path) {
        checked =
            pm_judge_say(j, PM_CHECK_TOOL, PM_FOUND_NOTHING, NULL, path, "%s", tool->what_for);
    } else {
        checked = pm_judge_say(j, PM_CHECK_TOOL, PM_FOUND_TOOL_MISSING, NULL, NULL,
                               "no %s in PATH: it %s", programs, tool->what_for);
        free(checked->fix);
        checked->fix = pm_xstrdup(install ? install : tool->install[PM_DISTRO_OTHER]);
        if (!needed)
            pm_judge_soften(checked);
    }
    (void)snprintf(checked->code, sizeof(checked->code), "tool_%s", tool->name);
}

static void judge_engine(struct pm_judging *j, const struct pm_engine_facts *engine)
{
    switch (engine->state) {
    case PM_PROGRAM_UNNEEDED:
        (void)pm_judge_say(j, PM_CHECK_ENGINE, PM_FOUND_NOTHING, NULL, NULL,
                           "engine '%s' is run by somebody else", engine->name);
        break;
    case PM_PROGRAM_UNFETCHED:
        (void)pm_judge_say(j, PM_CHECK_ENGINE, PM_FOUND_ENGINE_UNFETCHED, engine->name, NULL,
                           "engine '%s' is to be fetched, which is not built yet", engine->name);
        break;
    case PM_PROGRAM_MISSING:
        (void)pm_judge_say(j, PM_CHECK_ENGINE, PM_FOUND_ENGINE_MISSING, engine->name,
                           engine->program, "engine '%s': %s %s", engine->name, engine->program,
                           engine->program[0] == '/' ? "does not exist" : "is not in PATH");
        break;
    case PM_PROGRAM_NOT_RUNNABLE:
        (void)pm_judge_say(j, PM_CHECK_ENGINE, PM_FOUND_ENGINE_NOT_RUNNABLE, engine->program,
                           engine->program, "engine '%s': %s is not a program that may be run",
                           engine->name, engine->program);
        break;
    case PM_PROGRAM_FINE:
        (void)pm_judge_say(j, PM_CHECK_ENGINE, PM_FOUND_NOTHING, NULL, engine->program,
                           "engine '%s'", engine->name);
        break;
    }
}

void pm_judge_tools(struct pm_judging *j)
{
    for (size_t i = 0; i < pm_n_tools; i++)
        judge_tool(j, i);
    for (size_t i = 0; j->needs->engines && i < j->facts->n_engines; i++)
        judge_engine(j, &j->facts->engines[i]);
}
