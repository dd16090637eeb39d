/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's folders. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/internal.h"
#include "util/cleanup.h"
#include "util/file.h"

int pm_check_private(const char *setting, const char *path, struct poolmgr_error *err)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "%s", path);

    if (!S_ISDIR(status.st_mode))
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID, "%s %s is not a folder", setting, path);

    if (status.st_uid != geteuid())
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID,
                       "%s %s belongs to user %u, and we are user %u", setting, path, status.st_uid,
                       geteuid());

    if ((status.st_mode & 0077) != 0)
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID,
                       "%s %s is open to others (mode %04o): chmod 700, or remove it", setting,
                       path, status.st_mode & 07777);

    return POOLMGR_OK;
}

/* The runtime folder holds sockets and keys: it must be ours, and nobody else's to look into. Outside of /tmp, where
 * somebody may have made it for us, it is made so. */
static int make_private(const char *path, struct poolmgr_error *err)
{
    struct stat status;
    bool shared = pm_str_starts(path, "/tmp/") || pm_str_starts(path, "/var/tmp/");

    if (!shared && lstat(path, &status) == 0 && S_ISDIR(status.st_mode) &&
        status.st_uid == geteuid() && (status.st_mode & 0077) != 0 &&
        chmod(path, status.st_mode & 07700) < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "chmod 700 %s", path);

    return pm_check_private("runtime_dir", path, err);
}

int pm_folders_make(struct pm_manager *manager, struct poolmgr_error *err)
{
    const struct pm_config *config = manager->config;
    const char *folders[] = {config->runtime_dir, config->state_dir, config->log_dir};
    size_t i;
    int r;

    for (i = 0; i < PM_ARRAY_LEN(folders); i++) {
        r = pm_make_folders(folders[i], 0700, err);
        if (r < 0)
            return r;
    }

    r = make_private(config->runtime_dir, err);
    if (r < 0)
        return r;

    manager->instances_dir = pm_xasprintf("%s/instances", config->runtime_dir);
    return pm_make_folders(manager->instances_dir, 0700, err);
}
