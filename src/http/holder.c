/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds a port: the listening socket's inode from /proc/net/tcp, then the process with a descriptor of it. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static bool holds(const char *pid, const char *wanted)
{
    char path[288], link[64];
    struct dirent *entry;
    bool found = false;
    DIR *folder;

    (void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
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

static void name_process(const char *pid, char *to, size_t size)
{
    char path[288], name[32] = "";
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    file = fopen(path, "re");
    if (file) {
        if (fgets(name, sizeof(name), file))
            name[strcspn(name, "\n")] = '\0';
        (void)fclose(file);
    }
    (void)snprintf(to, size, "held by pid %.10s (%s)", pid, name);
}

void pm_port_holder(unsigned port, char *to, size_t size)
{
    unsigned long inode = listening_inode("/proc/net/tcp", port);
    struct dirent *entry;
    char wanted[64];
    DIR *processes;

    to[0] = '\0';
    if (!inode)
        inode = listening_inode("/proc/net/tcp6", port);
    processes = inode ? opendir("/proc") : NULL;
    if (!processes)
        return;

    (void)snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    while (!to[0] && (entry = readdir(processes))) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && holds(entry->d_name, wanted))
            name_process(entry->d_name, to, size);
    }
    (void)closedir(processes);
}
