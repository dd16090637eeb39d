/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/oom.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/str.h"

/* The number behind `word` at the start of a line. */
static bool number_in(const char *path, const char *word, uint64_t *ret)
{
    FILE *file = fopen(path, "re");
    char line[256];
    bool found = false;
    unsigned long long number;

    if (!file)
        return false;

    while (!found && fgets(line, sizeof line, file)) {
        size_t n = strlen(word);

        if (strncmp(line, word, n) == 0 && line[n] == ' ' &&
            sscanf(line + n, "%llu", &number) == 1) {
            *ret = number;
            found = true;
        }
    }

    (void)fclose(file);
    return found;
}

/* Of the lines "0::/path" (v2) and "5:memory:/path" (v1). */
static bool count_of_cgroup(const char *line, uint64_t *ret)
{
    pm_auto_free char *path = NULL;
    const char *where = strrchr(line, ':');
    int n;

    if (!where)
        return false;

    n = (int)strcspn(where + 1, "\n");
    if (pm_str_starts(line, "0::"))
        path = pm_xasprintf("/sys/fs/cgroup%.*s/memory.events", n, where + 1);
    else if (strstr(line, ":memory:"))
        path = pm_xasprintf("/sys/fs/cgroup/memory%.*s/memory.oom_control", n, where + 1);

    return path && number_in(path, "oom_kill", ret);
}

uint64_t pm_oom_kills(void)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];
    uint64_t n = 0;
    bool known = false;

    while (file && !known && fgets(line, sizeof line, file))
        known = count_of_cgroup(line, &n);

    if (file)
        (void)fclose(file);
    if (!known)
        (void)number_in("/proc/vmstat", "oom_kill", &n);
    return n;
}
