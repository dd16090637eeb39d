/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups, memory, and the limits of our process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/cgroup.h"
#include "provision/gatherinner.h"
#include "util/cleanup.h"
#include "util/str.h"

/* ---- cgroups ---------------------------------------------------------------------------------------- */

/* pids.max and pids.current of a folder; the one that leaves least counts. `folder` is a full path. */
static void look_at_tasks(const char *folder, struct pm_cgroup_facts *ret)
{
    uint64_t max, used;

    if (!pm_look_number(folder, "/pids.max", &max) ||
        !pm_look_number(folder, "/pids.current", &used))
        return;
    if (ret->n_tasks_max == PM_UNLIMITED || max - used < ret->n_tasks_max - ret->n_tasks) {
        ret->n_tasks_max = max;
        ret->n_tasks = used < max ? used : max;
    }
}

/* From a cgroup's folder up to `top`, its hierarchy's root. */
static void walk_up(const char *top, char *folder, struct pm_cgroup_facts *ret)
{
    while (strlen(folder) > strlen(top)) {
        look_at_tasks(folder, ret);
        *strrchr(folder, '/') = '\0';
    }
    look_at_tasks(folder, ret);
}

/* "8:pids:/path" and its like are of v1. */
static void look_at_v1(const char *root, struct pm_cgroup_facts *ret)
{
    pm_auto_free char *text = pm_look_text(root, "/proc/self/cgroup");

    for (char *rest = text, *line; rest && (line = strsep(&rest, "\n"));) {
        char *number = strsep(&line, ":"), *controllers = line ? strsep(&line, ":") : NULL;

        if (!line || !controllers || strcmp(number, "0") == 0)
            continue;
        ret->v1 = true;
        if (strcmp(controllers, "pids") == 0) {
            pm_auto_free char *top = pm_xasprintf("%s/sys/fs/cgroup/pids", root);
            pm_auto_free char *folder = pm_xasprintf("%s%s", top, strcmp(line, "/") ? line : "");

            walk_up(top, folder, ret);
        }
    }
}

void pm_look_at_cgroup(const char *root, struct pm_cgroup_facts *ret)
{
    pm_auto_free char *top = NULL, *own = pm_cgroup_own(root, &top);

    ret->n_tasks_max = PM_UNLIMITED;
    look_at_v1(root, ret);
    if (!own)
        return;
    ret->v2 = true;
    ret->own_known = pm_look_there(own, "");
    ret->delegated = ret->own_known && pm_cgroup_is_delegated(own);
    ret->has_kill = pm_look_there(own, "/cgroup.kill");
    walk_up(top, own, ret);
}

/* ---- memory ----------------------------------------------------------------------------------------- */

/* "SwapTotal:     1024 kB" in bytes; 0: not there. */
static uint64_t bytes_in(const char *text, const char *name)
{
    pm_auto_free char *begin = pm_xasprintf("\n%s:", name);
    const char *line = strstr(text, begin);
    unsigned long long kib;

    return line && sscanf(line + strlen(begin), "%llu", &kib) == 1 ? (uint64_t)kib * 1024 : 0;
}

static void look_at_memory(const char *root, struct pm_memory_facts *ret)
{
    pm_auto_free char *text = pm_look_text(root, "/proc/meminfo");
    uint64_t overcommit;

    ret->known = pm_host_memory(root, &ret->host, NULL) == 0;
    ret->overcommit =
        pm_look_number(root, "/proc/sys/vm/overcommit_memory", &overcommit) ? (int)overcommit : -1;
    if (!text)
        return;
    ret->swap_total_bytes = bytes_in(text, "SwapTotal");
    ret->swap_free_bytes = bytes_in(text, "SwapFree");
    ret->commit_limit_bytes = bytes_in(text, "CommitLimit");
    ret->committed_bytes = bytes_in(text, "Committed_AS");
}

/* ---- limits ----------------------------------------------------------------------------------------- */

static uint64_t read_limit(const char *word)
{
    uint64_t n;

    return pm_parse_u64(word, &n) ? n : PM_UNLIMITED;
}

/* "Max open files            1024                 524288               files" */
static bool limit_in(const char *text, const char *name, uint64_t *ret_soft, uint64_t *ret_hard)
{
    const char *line = text ? strstr(text, name) : NULL;
    char soft[32], hard[32];

    if (!line || sscanf(line + strlen(name), "%31s %31s", soft, hard) != 2)
        return false;
    *ret_soft = read_limit(soft);
    *ret_hard = read_limit(hard);
    return true;
}

void pm_look_at_limits(const char *root, struct pm_facts *facts)
{
    pm_auto_free char *text = pm_look_text(root, "/proc/self/limits");
    struct pm_limit_facts *limits = &facts->limits;
    uint64_t soft, hard;

    look_at_memory(root, &facts->memory);
    limits->known = limit_in(text, "Max open files", &soft, &limits->n_descriptors) &&
                    limit_in(text, "Max processes", &soft, &limits->n_processes) &&
                    limit_in(text, "Max locked memory", &limits->memlock_bytes, &hard) &&
                    limit_in(text, "Max core file size", &soft, &limits->core_bytes);
    (void)pm_look_number(root, "/proc/sys/kernel/threads-max", &limits->n_threads_max);
}
