/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at an engine from outside: memory, CPU time, who holds a port, what its log said last. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/inner.h"
#include "proc/shimlog.h"
#include "proc/tree.h"
#include "util/cleanup.h"

uint64_t pm_process_rss_bytes(const struct pm_process *process)
{
    unsigned long long size, resident;
    char path[64];
    FILE *file;
    int n;

    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)process->pid);
    file = process->pid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return 0;

    n = fscanf(file, "%llu %llu", &size, &resident);
    (void)fclose(file);
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

struct sum {
    pid_t root;
    uint64_t cpu_ms;
};

static void add_cpu(void *ctx, pid_t pid)
{
    struct sum *sum = ctx;
    struct pm_stat stat;

    if ((pid == sum->root || pm_is_descendant(pid, sum->root)) && pm_stat_read(pid, &stat))
        sum->cpu_ms += stat.cpu_ms;
}

uint64_t pm_process_cpu_ms(const struct pm_process *process)
{
    struct sum sum = {.root = process->pid};

    if (process->pid > 0)
        pm_each_process(add_cpu, &sum);

    return sum.cpu_ms;
}

/* ---- who listens (ENGINE-3) -------------------------------------------------------------------------- */

#define LISTENERS_MAX 16

struct listeners {
    unsigned long inodes[LISTENERS_MAX];
    size_t n;
};

static bool read_listeners(const char *path, unsigned port, struct listeners *to)
{
    FILE *file = fopen(path, "re");
    char line[512];

    if (!file)
        return false;

    while (fgets(line, sizeof line, file)) {
        unsigned local_port, state;
        unsigned long inode;

        if (sscanf(line,
                   " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                   &local_port, &state, &inode) == 3 &&
            local_port == port && state == 0x0a && to->n < LISTENERS_MAX)
            to->inodes[to->n++] = inode;
    }

    (void)fclose(file);
    return true;
}

struct search {
    pid_t root;
    const struct listeners *listeners;
    bool found, unreadable;
};

static bool is_listener(int folder_fd, const char *name, const struct listeners *listeners)
{
    char target[64];
    unsigned long inode;
    ssize_t n = readlinkat(folder_fd, name, target, sizeof target - 1);
    size_t i;

    if (n <= 0)
        return false;

    target[n] = '\0';
    if (sscanf(target, "socket:[%lu]", &inode) != 1)
        return false;

    for (i = 0; i < listeners->n; i++)
        if (listeners->inodes[i] == inode)
            return true;

    return false;
}

static void search_descriptors(void *ctx, pid_t pid)
{
    struct search *search = ctx;
    struct dirent *entry;
    char path[64];
    DIR *folder;

    if (search->found || (pid != search->root && !pm_is_descendant(pid, search->root)))
        return;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    folder = opendir(path);
    if (!folder) {
        search->unreadable = true;
        return;
    }

    while (!search->found && (entry = readdir(folder)))
        search->found = is_listener(dirfd(folder), entry->d_name, search->listeners);

    (void)closedir(folder);
}

bool pm_process_owns_port(const struct pm_process *process, unsigned port, bool *ret_known)
{
    struct listeners listeners = {.n = 0};
    struct search search = {.root = process->shim_pid, .listeners = &listeners};
    bool readable = read_listeners("/proc/net/tcp", port, &listeners);

    (void)read_listeners("/proc/net/tcp6", port, &listeners);
    if (process->shim_pid > 0)
        pm_each_process(search_descriptors, &search);

    *ret_known = readable && process->shim_pid > 0 && (search.found || !search.unreadable);
    return search.found;
}

/* ---- the log's end ----------------------------------------------------------------------------------- */

char *pm_log_tail_read(const char *folder)
{
    pm_auto_free char *path = pm_xasprintf("%s/log", folder);
    pm_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct pm_shim_log log = {.fd = -1};
    struct stat status;
    ssize_t n = 0;

    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        n = pread(fd, log.tail, PM_LOG_TAIL_BYTES,
                  status.st_size > PM_LOG_TAIL_BYTES ? status.st_size - PM_LOG_TAIL_BYTES : 0);

    log.n_tail = n > 0 ? (size_t)n : 0;
    return pm_shim_log_tail(&log);
}
