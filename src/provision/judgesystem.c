/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel, what shims stand on, cgroups, containers, user namespaces, and the clock. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "provision/judge.h"
#include "util/str.h"
#include "util/time.h"

#define YEAR_MS    (UINT64_C(31556952) * 1000)
#define WALL_LEAST (55 * YEAR_MS)  /* 2025: the program is newer */
#define WALL_MOST  (130 * YEAR_MS) /* 2100 */

static void judge_configuration(struct pm_judging *j)
{
    if (j->needs->config_error)
        (void)pm_judge_say(j, PM_CHECK_CONFIGURATION, PM_FOUND_CONFIG_INVALID, NULL, NULL, "%s",
                           j->needs->config_error);
}

static void judge_kernel(struct pm_judging *j)
{
    const struct pm_os_facts *os = &j->facts->os;
    unsigned number = os->major * 1000 + os->minor;

    if (!os->release[0])
        (void)pm_judge_say(j, PM_CHECK_KERNEL, PM_FOUND_NOTHING, NULL, NULL,
                           "its release cannot be read");
    else if (number < 5004)
        (void)pm_judge_say(j, PM_CHECK_KERNEL, PM_FOUND_KERNEL_OLD, NULL, os->release,
                           "Linux %s cannot wait for processes by pidfd: 5.4 can", os->release);
    else if (number < 6001)
        (void)pm_judge_say(j, PM_CHECK_KERNEL, PM_FOUND_KERNEL_UNTRIED, NULL, os->release,
                           "Linux %s is older than 6.1, the oldest that is tested", os->release);
    else
        (void)pm_judge_say(j, PM_CHECK_KERNEL, PM_FOUND_NOTHING, NULL, os->release, "Linux %s, %s",
                           os->release, os->name[0] ? os->name : "of an unknown distribution");
}

static void judge_processes(struct pm_judging *j)
{
    const struct pm_process_facts *process = &j->facts->process;

    if (process->pidfd_error)
        (void)pm_judge_say(j, PM_CHECK_PROCESSES, PM_FOUND_PIDFD_REFUSED, NULL, "pidfd_open",
                           "pidfd_open: %s: engines could not be followed",
                           strerror(process->pidfd_error));
    if (process->subreaper_error)
        (void)pm_judge_say(j, PM_CHECK_PROCESSES, PM_FOUND_SUBREAPER_REFUSED, NULL, "subreaper",
                           "a shim could not adopt what its engine leaves behind: %s",
                           strerror(process->subreaper_error));
    if (!process->pidfd_error && !process->subreaper_error)
        (void)pm_judge_say(j, PM_CHECK_PROCESSES, PM_FOUND_NOTHING, NULL, NULL,
                           "pidfds and subreapers work");
}

static void judge_cgroup(struct pm_judging *j)
{
    const struct pm_cgroup_facts *cgroup = &j->facts->cgroup;
    const char *kind = cgroup->v1 && cgroup->v2 ? "mixed" : cgroup->v2 ? "v2" : "v1";

    if (!cgroup->v1 && !cgroup->v2)
        (void)pm_judge_say(j, PM_CHECK_CGROUP, PM_FOUND_CGROUP_NONE, NULL, "none",
                           "no cgroups are mounted: an engine's tree is killed process by process");
    else if (!cgroup->v2)
        (void)pm_judge_say(j, PM_CHECK_CGROUP, PM_FOUND_CGROUP_V1, NULL, kind,
                           "cgroups of v1 cannot kill a tree at once: it is killed process by "
                           "process");
    else if (!cgroup->own_known || !cgroup->delegated)
        (void)pm_judge_say(j, PM_CHECK_CGROUP, PM_FOUND_CGROUP_NOT_DELEGATED, NULL, kind,
                           "our cgroup was not delegated to us: an engine's tree is killed process "
                           "by process%s",
                           cgroup->v1 ? "; v1 stands beside v2 here" : "");
    else if (!cgroup->has_kill)
        (void)pm_judge_say(j, PM_CHECK_CGROUP, PM_FOUND_CGROUP_NO_KILL, NULL, kind,
                           "ours is delegated, and has no cgroup.kill: Linux 5.14 has");
    else
        (void)pm_judge_say(j, PM_CHECK_CGROUP, PM_FOUND_NOTHING, NULL, kind,
                           "ours is delegated: an engine's tree is killed at once");
}

/* ---- containers ------------------------------------------------------------------------------------- */

static bool init_is_ours(const char *name)
{
    return strcmp(name, "orchestratord") == 0 || strcmp(name, "pool-managerd") == 0 ||
           strcmp(name, "poolctl") == 0;
}

/* The first of our folders that lies on something read-only. */
static const char *read_only_folder(const struct pm_facts *facts)
{
    for (unsigned i = 0; i < PM_FOLDER_COUNT; i++) {
        if (facts->folders[i].read_only)
            return facts->folders[i].path;
    }
    return NULL;
}

static void judge_container(struct pm_judging *j)
{
    const struct pm_container_facts *container = &j->facts->container;
    const char *kind = container->kind[0] ? container->kind : "none";
    const char *folder = container->root_read_only ? read_only_folder(j->facts) : NULL;
    bool no_init = init_is_ours(container->init);

    if (no_init)
        (void)pm_judge_say(j, PM_CHECK_CONTAINER, PM_FOUND_CONTAINER_NO_INIT, NULL, kind,
                           "process 1 is %s, which reaps no orphans of others", container->init);
    if (folder)
        (void)pm_judge_say(j, PM_CHECK_CONTAINER, PM_FOUND_CONTAINER_READ_ONLY, folder, kind,
                           "the root is read-only, and %s lies on it", folder);
    if (no_init || folder)
        return;
    (void)pm_judge_say(j, PM_CHECK_CONTAINER, PM_FOUND_NOTHING, NULL, kind,
                       container->kind[0] ? "in a container%s; process 1 is %s"
                                          : "in no container%s; process 1 is %s",
                       container->root_read_only ? ", with a read-only root" : "",
                       container->init[0] ? container->init : "unknown");
}

static void judge_user_namespaces(struct pm_judging *j)
{
    const struct pm_namespace_facts *spaces = &j->facts->namespaces;
    const struct pm_user_facts *user = &j->facts->user;
    char value[24];

    if (!(j->needs->modes & PM_MODE_BIT(PM_MODE_CONTAINER)))
        return;

    (void)snprintf(value, sizeof(value), "%" PRIu64, spaces->n_user_max);
    if (spaces->n_user_max == PM_UNLIMITED)
        value[0] = '\0';
    if (user->uid == 0)
        (void)pm_judge_say(j, PM_CHECK_USER_NAMESPACES, PM_FOUND_NOTHING, NULL, value,
                           "root needs none for containers");
    else if (spaces->n_user_max == 0 || spaces->unprivileged_clone == 0)
        (void)pm_judge_say(j, PM_CHECK_USER_NAMESPACES, PM_FOUND_USERNS_OFF, NULL, value,
                           "a user may make no user namespaces here, and containers without root "
                           "need one");
    else if (!spaces->has_subuid || !spaces->has_subgid)
        (void)pm_judge_say(j, PM_CHECK_USER_NAMESPACES, PM_FOUND_SUBIDS_MISSING, user->name, value,
                           "%s has no range in %s", user->name,
                           spaces->has_subuid ? "/etc/subgid" : "/etc/subuid");
    else if (spaces->apparmor_restricts == 1)
        (void)pm_judge_say(j, PM_CHECK_USER_NAMESPACES, PM_FOUND_USERNS_RESTRICTED, NULL, value,
                           "AppArmor lets only programs with a profile make user namespaces");
    else
        (void)pm_judge_say(j, PM_CHECK_USER_NAMESPACES, PM_FOUND_NOTHING, NULL, value,
                           "%s may run containers without root", user->name);
}

void pm_judge_system(struct pm_judging *j)
{
    judge_configuration(j);
    judge_kernel(j);
    judge_processes(j);
    judge_cgroup(j);
    judge_container(j);
    judge_user_namespaces(j);
}

/* ---- the clock -------------------------------------------------------------------------------------- */

void pm_judge_clock(struct pm_judging *j)
{
    const struct pm_clock_facts *clock = &j->facts->clock;
    char now[PM_TIMESTAMP_SIZE];

    (void)pm_format_timestamp(now, clock->wall_ms);
    if (!clock->monotonic_runs)
        (void)pm_judge_say(j, PM_CHECK_CLOCK, PM_FOUND_CLOCK_STOPPED, NULL, now,
                           "the monotonic clock stands still");
    else if (clock->wall_ms < WALL_LEAST || clock->wall_ms > WALL_MOST)
        (void)pm_judge_say(j, PM_CHECK_CLOCK, PM_FOUND_CLOCK_WRONG, NULL, now,
                           "it says %.4s, which cannot be", now);
    else if (clock->sync == PM_CLOCK_FREE)
        (void)pm_judge_say(j, PM_CHECK_CLOCK, PM_FOUND_CLOCK_FREE, NULL, now,
                           "the kernel says that nothing disciplines the clock%s",
                           j->facts->container.kind[0] ? ", which is the host's" : "");
    else
        (void)pm_judge_say(j, PM_CHECK_CLOCK, PM_FOUND_NOTHING, NULL, now,
                           clock->sync == PM_CLOCK_SYNCHRONISED
                               ? "it runs, and is synchronised"
                               : "it runs; whether it is synchronised is not known");
}
