/* SPDX-License-Identifier: Apache-2.0 */
#include "util/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"

static int tell_holder(int fd, const char *folder, struct poolmgr_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        return pm_fail(err, POOLMGR_E_CONFLICT, "%s is in use by another daemon, pid %d", folder,
                       (int)lock.l_pid);

    return pm_fail(err, POOLMGR_E_CONFLICT, "%s is in use by another daemon", folder);
}

int pm_folder_lock(const char *folder, int *ret_fd, struct poolmgr_error *err)
{
    pm_auto_free char *path = pm_xasprintf("%s/lock", folder);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    pm_auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "%s", path);

    if (fcntl(fd, F_SETLK, &lock) < 0) {
        if (errno == EAGAIN || errno == EACCES)
            return tell_holder(fd, folder, err);
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "%s cannot be locked", path);
    }

    *ret_fd = pm_take_fd(&fd);
    return POOLMGR_OK;
}

void pm_folder_unlock(int *fd)
{
    if (*fd >= 0)
        (void)close(pm_take_fd(fd));
}
