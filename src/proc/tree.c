/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc/cgroup.h"
#include "proc/folder.h"
#include "util/cleanup.h"
#include "util/str.h"

#define DEPTH_MAX          256 /* generations between a process and its ancestor */
#define CHILDREN_DEPTH_MAX 8
#define ENVIRONMENT_MAX    (1024 * 1024)

static ssize_t read_proc(pid_t pid, const char *file, char *to, size_t size)
{
    char path[64];
    pm_auto_close int fd = -1;
    size_t n = 0;
    ssize_t got = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;

    while (n + 1 < size && (got = read(fd, to + n, size - n - 1)) > 0)
        n += (size_t)got;

    to[n] = '\0';
    return got < 0 ? -1 : (ssize_t)n;
}

bool pm_process_name(pid_t pid, char *to, size_t size)
{
    if (read_proc(pid, "comm", to, size) <= 0)
        return false;

    to[strcspn(to, "\n")] = '\0';
    return true;
}

bool pm_stat_read(pid_t pid, struct pm_stat *ret)
{
    unsigned long long user, system, children_user, children_system;
    int parent, group;
    char text[1024], state, *after;

    if (read_proc(pid, "stat", text, sizeof text) <= 0)
        return false;

    after = strrchr(text, ')'); /* the name may hold anything */
    if (!after ||
        sscanf(after + 1, " %c %d %d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &state,
               &parent, &group, &user, &system, &children_user, &children_system) != 7)
        return false;

    ret->parent = (pid_t)parent;
    ret->group = (pid_t)group;
    ret->cpu_ms =
        (user + system + children_user + children_system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    return state != 'Z' && state != 'X';
}

static uint64_t kib_of(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    unsigned long long kib;

    return line && sscanf(line + strlen(name), " %llu kB", &kib) == 1 ? kib : 0;
}

static uint64_t own_bytes(pid_t pid)
{
    char status[8192];
    uint64_t locked, file;

    if (read_proc(pid, "status", status, sizeof status) <= 0)
        return 0;
    locked = kib_of(status, "\nVmLck:");
    file = kib_of(status, "\nRssFile:");
    return 1024 * (kib_of(status, "\nRssAnon:") + kib_of(status, "\nRssShmem:") +
                   (locked < file ? locked : file));
}

/* The kernel lists those that the first thread of each began, which is enough for a launcher of an engine. */
static uint64_t tree_own_bytes(pid_t root, unsigned depth)
{
    char file[48], list[4096], *rest;
    uint64_t sum = own_bytes(root);
    long pid;

    (void)snprintf(file, sizeof file, "task/%d/children", (int)root);
    if (depth >= CHILDREN_DEPTH_MAX || read_proc(root, file, list, sizeof list) <= 0)
        return sum;
    for (rest = list; (pid = strtol(rest, &rest, 10)) > 0;)
        sum += tree_own_bytes((pid_t)pid, depth + 1);
    return sum;
}

uint64_t pm_tree_own_bytes(pid_t root)
{
    return tree_own_bytes(root, 0);
}

void pm_each_process(void (*fn)(void *ctx, pid_t pid), void *ctx)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    int pid;

    if (!folder)
        return;

    while ((entry = readdir(folder))) {
        pid = atoi(entry->d_name);
        if (pid > 0)
            fn(ctx, pid);
    }

    (void)closedir(folder);
}

bool pm_is_descendant(pid_t pid, pid_t root)
{
    struct pm_stat stat;
    unsigned i;

    for (i = 0; i < DEPTH_MAX && pid > 1 && pm_stat_read(pid, &stat); i++) {
        if (stat.parent == root)
            return true;
        pid = stat.parent;
    }

    return false;
}

static int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static bool kill_by_pidfd(int pidfd)
{
    return pidfd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0;
}

struct kill {
    pid_t root;
    const char *folder;
    unsigned n;
    void (*told)(void *ctx, pid_t pid);
    void *ctx;
};

/* The pidfd is taken first and the question asked after it: the answer is about the process that is then killed. */
static void kill_descendant(void *ctx, pid_t pid)
{
    struct kill *kill = ctx;
    pm_auto_close int pidfd = -1;

    if (pid == kill->root || !pm_is_descendant(pid, kill->root))
        return;

    pidfd = pidfd_of(pid);
    if (pidfd < 0 || !pm_is_descendant(pid, kill->root))
        return;

    (void)kill_by_pidfd(pidfd);
    kill->n++;
}

unsigned pm_kill_descendants(pid_t root)
{
    struct kill kill = {.root = root};

    pm_each_process(kill_descendant, &kill);
    return kill.n;
}

/* Of all processes of a machine few have so much that it does not fit on the stack. */
bool pm_process_variable(pid_t pid, const char *name, char *to, size_t size)
{
    char usual[16 * 1024];
    pm_auto_free char *large = NULL;
    const char *environment = usual, *at;
    ssize_t n = read_proc(pid, "environ", usual, sizeof usual);
    size_t n_name = strlen(name);

    if (n == (ssize_t)sizeof usual - 1) {
        environment = large = pm_xalloc(ENVIRONMENT_MAX);
        n = read_proc(pid, "environ", large, ENVIRONMENT_MAX);
    }
    for (at = environment; n > 0 && at < environment + n; at += strlen(at) + 1)
        if (strncmp(at, name, n_name) == 0 && at[n_name] == '=')
            return pm_str_copy(to, size, at + n_name + 1);

    return false;
}

static bool names_folder(pid_t pid, const char *folder)
{
    char value[4096];

    return pm_process_variable(pid, PM_FOLDER_VARIABLE, value, sizeof value) &&
           strcmp(value, folder) == 0;
}

static void kill_named(void *ctx, pid_t pid)
{
    struct kill *kill = ctx;
    pm_auto_close int pidfd = -1;

    if (pid == getpid() || !names_folder(pid, kill->folder))
        return;

    pidfd = pidfd_of(pid);
    if (pidfd < 0 || !names_folder(pid, kill->folder) || !kill_by_pidfd(pidfd))
        return;

    kill->n++;
    if (kill->told)
        kill->told(kill->ctx, pid);
}

unsigned pm_kill_by_folder(const char *folder, void (*told)(void *ctx, pid_t pid), void *ctx)
{
    struct kill kill = {.folder = folder, .told = told, .ctx = ctx};

    pm_each_process(kill_named, &kill);
    kill.n += pm_cgroup_kill(folder);
    return kill.n;
}
