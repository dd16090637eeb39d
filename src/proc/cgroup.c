/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup holds what neither a new session nor an emptied environment can leave. It is used only where it was handed
 * to us: systemd marks what it delegates with an attribute, and a cgroup that a user may write to is that user's. No
 * controller is switched on in it, so that the daemon and the shims can stay in the cgroup above.
 */
#include "proc/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define TEXT_MAX (1024 * 1024)

/* Where the v2 tree is: alone, or beside v1. NULL: nowhere. */
static char *top_of_tree(const char *root)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

    for (size_t i = 0; i < PM_ARRAY_LEN(places); i++) {
        pm_auto_free char *top = pm_xasprintf("%s%s", root, places[i]);
        pm_auto_free char *procs = pm_xasprintf("%s/cgroup.procs", top);

        if (access(procs, F_OK) == 0)
            return pm_take(top);
    }
    return NULL;
}

char *pm_cgroup_own(const char *root, char **ret_top)
{
    pm_auto_free char *top = top_of_tree(root), *path = pm_xasprintf("%s/proc/self/cgroup", root);
    pm_auto_free char *text = NULL;
    char *line, *own;

    if (!top || pm_read_file(path, TEXT_MAX, &text, NULL, NULL) < 0)
        return NULL;

    line = strstr(text, "0::/");
    if (!line || (line != text && line[-1] != '\n'))
        return NULL;

    line += strlen("0::");
    line[strcspn(line, "\n")] = '\0';
    own = pm_xasprintf("%s%s", top, line[1] ? line : "");
    if (ret_top)
        *ret_top = pm_take(top);
    return own;
}

bool pm_cgroup_is_delegated(const char *cgroup)
{
    pm_auto_free char *procs = pm_xasprintf("%s/cgroup.procs", cgroup);
    char mark;

    if ((getxattr(cgroup, "trusted.delegate", &mark, 1) == 1 && mark == '1') ||
        (getxattr(cgroup, "user.delegate", &mark, 1) == 1 && mark == '1'))
        return true;

    return geteuid() != 0 && access(procs, W_OK) == 0 && access(cgroup, W_OK) == 0;
}

bool pm_cgroup_make(const char *folder)
{
    pm_auto_free char *link = pm_xasprintf("%s/cgroup", folder), *own = pm_cgroup_own("", NULL);
    pm_auto_free char *made = NULL, *killer = NULL;
    const char *name = strrchr(folder, '/');

    if (!own || !name || !pm_cgroup_is_delegated(own))
        return false;

    made = pm_xasprintf("%s/poolmgr-%s", own, name + 1);
    killer = pm_xasprintf("%s/cgroup.kill", made);
    if (mkdir(made, 0755) < 0)
        return false;

    if (access(killer, W_OK) < 0 || symlink(made, link) < 0) {
        (void)rmdir(made);
        return false;
    }

    return true;
}

static bool write_to(const char *folder, const char *file, const char *text)
{
    pm_auto_free char *path = pm_xasprintf("%s/cgroup/%s", folder, file);
    pm_auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

bool pm_cgroup_enter(const char *folder)
{
    return write_to(folder, "cgroup.procs", "0");
}

bool pm_cgroup_kill(const char *folder)
{
    pm_auto_free char *path = pm_xasprintf("%s/cgroup/cgroup.events", folder), *text = NULL;

    if (pm_read_file(path, TEXT_MAX, &text, NULL, NULL) < 0 || !strstr(text, "populated 1"))
        return false;

    return write_to(folder, "cgroup.kill", "1");
}

void pm_cgroup_remove(const char *folder)
{
    pm_auto_free char *link = pm_xasprintf("%s/cgroup", folder);
    char target[PATH_MAX];
    ssize_t n = readlink(link, target, sizeof target - 1);

    if (n <= 0)
        return;

    target[n] = '\0';
    (void)rmdir(target);
}
