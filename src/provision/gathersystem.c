/* SPDX-License-Identifier: Apache-2.0 */
/* The distribution, the kernel, our user, containers, cgroups, limits, memory and clocks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "proc/cgroup.h"
#include "provision/gatherinner.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

#define CAP_NET_BIND_SERVICE_BIT 10
#define CLOCK_LOOKS              100000 /* at the monotonic clock, until it has moved */

/* ---- the distribution ------------------------------------------------------------------------------- */

/* The value of NAME=value, unquoted. */
static bool value_in(const char *text, const char *name, char *to, size_t size)
{
    size_t n = strlen(name);

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == '=') {
            const char *from = line + n + 1;
            size_t length = strcspn(from, "\n");

            if (length >= 2 && (*from == '"' || *from == '\'') && from[length - 1] == *from) {
                from++;
                length -= 2;
            }
            (void)snprintf(to, size, "%.*s", (int)length, from);
            return true;
        }
    }
    to[0] = '\0';
    return false;
}

/* Of the blank-separated words of ID and ID_LIKE the first that is known. */
static enum pm_distro family_of(const char *words)
{
    static const struct {
        const char *word;
        enum pm_distro distro;
    } families[] = {
        {"debian", PM_DISTRO_DEBIAN}, {"ubuntu", PM_DISTRO_DEBIAN}, {"fedora", PM_DISTRO_FEDORA},
        {"rhel", PM_DISTRO_FEDORA},   {"centos", PM_DISTRO_FEDORA}, {"arch", PM_DISTRO_ARCH},
    };

    while (*words) {
        size_t n = strcspn(words, " ");

        for (size_t i = 0; i < PM_ARRAY_LEN(families); i++) {
            if (strlen(families[i].word) == n && memcmp(families[i].word, words, n) == 0)
                return families[i].distro;
        }
        words += n;
        words += strspn(words, " ");
    }
    return PM_DISTRO_OTHER;
}

static void look_at_os(const char *root, struct pm_os_facts *ret)
{
    pm_auto_free char *text = pm_look_text(root, "/etc/os-release");
    char id[64] = "", like[128] = "";

    if (!text)
        text = pm_look_text(root, "/usr/lib/os-release");
    if (text) {
        (void)value_in(text, "ID", id, sizeof(id));
        (void)value_in(text, "ID_LIKE", like, sizeof(like));
        if (!value_in(text, "PRETTY_NAME", ret->name, sizeof(ret->name)))
            (void)pm_str_copy(ret->name, sizeof(ret->name), id);
    }
    ret->distro = family_of(id);
    if (ret->distro == PM_DISTRO_OTHER)
        ret->distro = family_of(like);
    (void)pm_look_line(root, "/proc/sys/kernel/osrelease", ret->release, sizeof(ret->release));
    if (sscanf(ret->release, "%u.%u", &ret->major, &ret->minor) != 2)
        ret->release[0] = '\0';
}

/* ---- our user --------------------------------------------------------------------------------------- */

static void look_at_user(const char *root, struct pm_user_facts *ret)
{
    pm_auto_free char *status = pm_look_text(root, "/proc/self/status");
    const char *line = status ? strstr(status, "\nUid:") : NULL;
    unsigned long long capabilities = 0;
    uint64_t first = 1024;

    if (!line || sscanf(line, "\nUid: %*u %u", &ret->uid) != 1)
        ret->uid = geteuid();
    line = status ? strstr(status, "\nCapEff:") : NULL;
    if (line)
        (void)sscanf(line, "\nCapEff: %llx", &capabilities);
    (void)pm_look_number(root, "/proc/sys/net/ipv4/ip_unprivileged_port_start", &first);
    ret->may_bind_low =
        line ? ((capabilities >> CAP_NET_BIND_SERVICE_BIT) & 1) == 1 : ret->uid == 0;
    ret->low_port_end = (unsigned)first;
    pm_look_name(root, "/etc/passwd", ret->uid, ret->name, sizeof(ret->name));
}

static bool has_range(const char *root, const char *path, const struct pm_user_facts *user)
{
    pm_auto_free char *text = pm_look_text(root, path);
    char number[16];

    (void)snprintf(number, sizeof(number), "%u", user->uid);
    for (char *rest = text, *line; rest && (line = strsep(&rest, "\n"));) {
        char *name = strsep(&line, ":");

        if (line && (strcmp(name, user->name) == 0 || strcmp(name, number) == 0))
            return true;
    }
    return false;
}

static void look_at_namespaces(const char *root, const struct pm_user_facts *user,
                               struct pm_namespace_facts *ret)
{
    uint64_t n;

    ret->n_user_max = PM_UNLIMITED;
    if (pm_look_number(root, "/proc/sys/user/max_user_namespaces", &n))
        ret->n_user_max = n;
    ret->unprivileged_clone =
        pm_look_number(root, "/proc/sys/kernel/unprivileged_userns_clone", &n) ? (int)n : -1;
    ret->apparmor_restricts =
        pm_look_number(root, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", &n) ? (int)n
                                                                                           : -1;
    ret->has_subuid = has_range(root, "/etc/subuid", user);
    ret->has_subgid = has_range(root, "/etc/subgid", user);
}

/* ---- containers ------------------------------------------------------------------------------------- */

static bool root_is_read_only(const char *root)
{
    pm_auto_free char *mounts = pm_look_text(root, "/proc/self/mounts");
    bool read_only = false;

    for (char *rest = mounts, *line; rest && (line = strsep(&rest, "\n"));) {
        char *options = NULL;

        (void)strsep(&line, " ");
        if (!line || strcmp(strsep(&line, " "), "/") != 0 || !line)
            continue;
        (void)strsep(&line, " ");
        options = strsep(&line, " ");
        read_only = options && strncmp(options, "ro", 2) == 0 && (!options[2] || options[2] == ',');
    }
    return read_only;
}

static void look_at_container(const char *root, struct pm_container_facts *ret)
{
    pm_auto_free char *cgroup = pm_look_text(root, "/proc/self/cgroup");

    if (pm_look_there(root, "/var/run/secrets/kubernetes.io") ||
        (cgroup && strstr(cgroup, "kubepods")))
        (void)pm_str_copy(ret->kind, sizeof(ret->kind), "kubernetes");
    else if (pm_look_there(root, "/run/.containerenv"))
        (void)pm_str_copy(ret->kind, sizeof(ret->kind), "podman");
    else if (pm_look_there(root, "/.dockerenv"))
        (void)pm_str_copy(ret->kind, sizeof(ret->kind), "docker");
    else
        (void)pm_look_line(root, "/run/systemd/container", ret->kind, sizeof(ret->kind));
    (void)pm_look_line(root, "/proc/1/comm", ret->init, sizeof(ret->init));
    ret->root_read_only = root_is_read_only(root);
}

/* ---- what shims stand on, and clocks ---------------------------------------------------------------- */

static void look_at_processes(struct pm_process_facts *ret)
{
    pm_auto_close int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    int subreaper = 0;

    ret->pidfd_error = pidfd < 0 ? errno : 0;
    ret->subreaper_error = prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0) < 0 ? errno : 0;
}

static bool monotonic_moves(void)
{
    uint64_t first = pm_monotonic_ns();

    for (unsigned i = 0; i < CLOCK_LOOKS; i++) {
        if (pm_monotonic_ns() != first)
            return true;
    }
    return false;
}

static void look_at_clock(struct pm_clock_facts *ret)
{
    struct timex timex = {0}; /* modes 0: changes nothing */
    int state = adjtimex(&timex);

    ret->wall_ms = pm_wall_ms();
    ret->monotonic_runs = monotonic_moves();
    ret->sync = state < 0                          ? PM_CLOCK_UNKNOWN
                : (timex.status & STA_UNSYNC) != 0 ? PM_CLOCK_FREE
                                                   : PM_CLOCK_SYNCHRONISED;
}

void pm_look_at_system(const char *root, struct pm_facts *facts)
{
    look_at_os(root, &facts->os);
    look_at_user(root, &facts->user);
    look_at_namespaces(root, &facts->user, &facts->namespaces);
    look_at_container(root, &facts->container);
    look_at_processes(&facts->process);
    look_at_clock(&facts->clock);
}
