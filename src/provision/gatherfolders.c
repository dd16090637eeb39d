/* SPDX-License-Identifier: Apache-2.0 */
/* Our folders: whether we could write there is asked, and not tried. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "provision/gatherinner.h"
#include "util/cleanup.h"
#include "util/str.h"

/* Cuts the last part off "/a/b"; false: there is none. */
static bool go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash || !slash[1])
        return false;
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

/* The nearest part of the path that is there. */
static void find_nearest(const char *root, struct pm_folder_facts *folder, struct stat *status)
{
    folder->is_there = true;
    for (;;) {
        pm_auto_free char *full = pm_xasprintf("%s%s", root, folder->nearest);

        if (stat(full, status) == 0)
            return;
        if ((errno != ENOENT && errno != ENOTDIR) || !go_up(folder->nearest)) {
            folder->error = errno;
            return;
        }
        folder->is_there = false;
    }
}

static void look_at_room(const char *full, struct pm_folder_facts *folder)
{
    struct statvfs room;

    if (statvfs(full, &room) < 0) {
        folder->error = errno;
        return;
    }
    folder->read_only = (room.f_flag & ST_RDONLY) != 0;
    folder->free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    folder->total_bytes = (uint64_t)room.f_blocks * room.f_frsize;
    folder->free_inodes = room.f_favail;
    folder->n_inodes = room.f_files;
}

static void look_at_folder(const char *root, const char *path, struct pm_folder_facts *folder)
{
    pm_auto_free char *full = NULL;
    struct stat status = {0};

    folder->path = pm_xstrdup(path);
    folder->nearest = pm_xstrdup(path);
    find_nearest(root, folder, &status);
    if (folder->error)
        return;
    folder->is_folder = S_ISDIR(status.st_mode);
    folder->mode = status.st_mode & 07777;
    folder->uid = status.st_uid;
    full = pm_xasprintf("%s%s", root, folder->nearest);
    look_at_room(full, folder);
    folder->may_write = faccessat(AT_FDCWD, full, W_OK | X_OK, AT_EACCESS) == 0;
}

void pm_look_at_folders(const struct pm_gather *gather, struct pm_facts *facts)
{
    for (unsigned i = 0; i < PM_FOLDER_COUNT; i++)
        look_at_folder(gather->root, gather->folders[i], &facts->folders[i]);
}
