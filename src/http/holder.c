/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds a port: the listening socket's inode from /proc/net/tcp, then the process with a descriptor of it. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/holder.h"
#include "http/internal.h"
#include "util/cleanup.h"

#define TCP_LISTEN_STATE 0x0a

static unsigned long listening_inode(const char *table, unsigned port)
{
    FILE *file = fopen(table, "re");
    unsigned long inode = 0;
    char line[512];

    if (!file)
        return 0;
    while (!inode && fgets(line, sizeof(line), file)) {
        unsigned long found;
        unsigned state, local;

        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
                   &local, &state, &found) == 3 &&
            local == port && state == TCP_LISTEN_STATE)
            inode = found;
    }
    (void)fclose(file);
    return inode;
}

static bool holds(const char *root, const char *pid, const char *wanted)
{
    char path[PATH_MAX], link[64];
    struct dirent *entry;
    bool found = false;
    DIR *folder;

    (void)snprintf(path, sizeof(path), "%s/proc/%s/fd", root, pid);
    folder = opendir(path);
    if (!folder)
        return false;
    while (!found && (entry = readdir(folder))) {
        ssize_t n = readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1);

        found = n > 0 && (size_t)n == strlen(wanted) && memcmp(link, wanted, (size_t)n) == 0;
    }
    (void)closedir(folder);
    return found;
}

static void name_process(const char *root, const char *pid, struct pm_holder *ret)
{
    char path[PATH_MAX];
    FILE *file;

    ret->pid = atoi(pid);
    ret->name[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/proc/%s/comm", root, pid);
    file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(ret->name, sizeof(ret->name), file))
        ret->name[strcspn(ret->name, "\n")] = '\0';
    (void)fclose(file);
}

bool pm_socket_holder(const char *root, unsigned long inode, struct pm_holder *ret)
{
    struct dirent *entry;
    char wanted[64], path[PATH_MAX];
    bool found = false;
    DIR *processes;

    (void)snprintf(path, sizeof(path), "%s/proc", root);
    processes = opendir(path);
    if (!processes)
        return false;

    (void)snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    while (!found && (entry = readdir(processes))) {
        found = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
                holds(root, entry->d_name, wanted);
        if (found)
            name_process(root, entry->d_name, ret);
    }
    (void)closedir(processes);
    return found;
}

void pm_port_holder(unsigned port, char *to, size_t size)
{
    unsigned long inode = listening_inode("/proc/net/tcp", port);
    struct pm_holder holder;

    to[0] = '\0';
    if (!inode)
        inode = listening_inode("/proc/net/tcp6", port);
    if (inode && pm_socket_holder("", inode, &holder))
        (void)snprintf(to, size, "held by pid %d (%s)", holder.pid, holder.name);
}
