/* SPDX-License-Identifier: Apache-2.0 */
#include "util/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"

static int read_all(int fd, const char *path, size_t max_bytes, char **ret, size_t *ret_n,
                    struct poolmgr_error *err)
{
    size_t capacity = 4096;
    pm_auto_free char *text = pm_xalloc(capacity);
    size_t n = 0;

    for (;;) {
        ssize_t got = read(fd, text + n, capacity - n - 1);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return pm_fail_errno(err, POOLMGR_E_INVALID_REQUEST, errno, "cannot read '%s'", path);
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > max_bytes)
            return pm_fail(err, POOLMGR_E_TOO_LARGE, "'%s' is larger than %zu bytes", path,
                           max_bytes);
        if (n + 1 == capacity) {
            capacity *= 2;
            text = pm_xrealloc(text, capacity);
        }
    }

    text[n] = '\0';
    if (ret_n)
        *ret_n = n;
    *ret = pm_take(text);
    return POOLMGR_OK;
}

int pm_read_file(const char *path, size_t max_bytes, char **ret, size_t *ret_n,
                 struct poolmgr_error *err)
{
    pm_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0)
        return pm_fail_errno(err, errno == ENOENT ? POOLMGR_E_NOT_FOUND : POOLMGR_E_INVALID_REQUEST,
                             errno, "cannot open '%s'", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "'%s' is not a regular file", path);

    return read_all(fd, path, max_bytes, ret, ret_n, err);
}

static int write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, data, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        data += put;
        n -= (size_t)put;
    }
    return 0;
}

/* So that a rename survives a power cut. */
static int sync_folder_of(const char *path)
{
    pm_auto_free char *folder = pm_xstrdup(path);
    char *slash = strrchr(folder, '/');
    pm_auto_close int fd = -1;

    if (slash)
        slash[slash == folder] = '\0';
    fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int write_and_close(int fd, const void *data, size_t n, mode_t mode, bool durable)
{
    int r = write_all(fd, data, n);

    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && durable && fsync(fd) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

int pm_write_file(const char *path, const void *data, size_t n, mode_t mode, bool durable,
                  struct poolmgr_error *err)
{
    pm_auto_free char *part = pm_xasprintf("%s.XXXXXX", path);
    int fd = mkostemp(part, O_CLOEXEC);
    int r;

    if (fd < 0)
        return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, errno, "cannot write beside '%s'", path);

    r = write_and_close(fd, data, n, mode, durable);
    if (r == 0 && rename(part, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(part);
        return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, -r, "cannot write '%s'", path);
    }
    if (durable && (r = sync_folder_of(path)) < 0)
        return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, -r, "cannot sync the folder of '%s'",
                             path);
    return POOLMGR_OK;
}

int pm_remove_file(const char *path, bool durable, struct poolmgr_error *err)
{
    int r;

    if (unlink(path) < 0 && errno != ENOENT)
        return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, errno, "cannot remove '%s'", path);
    if (durable && (r = sync_folder_of(path)) < 0)
        return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, -r, "cannot sync the folder of '%s'",
                             path);
    return POOLMGR_OK;
}

int pm_make_folders(const char *path, mode_t mode, struct poolmgr_error *err)
{
    pm_auto_free char *partial = pm_xstrdup(path);
    struct stat st;

    for (char *at = partial + 1;; at++) {
        char former = *at;

        if (former != '/' && former != '\0')
            continue;
        *at = '\0';
        if (mkdir(partial, mode) < 0 && errno != EEXIST)
            return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, errno, "cannot make folder '%s'",
                                 partial);
        *at = former;
        if (former == '\0')
            break;
    }
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return pm_fail(err, POOLMGR_E_STORE_FAILED, "'%s' is not a folder", path);
    return POOLMGR_OK;
}

static int remove_below(int parent, const char *name);

static int remove_entries(DIR *folder)
{
    struct dirent *entry;
    int first = 0;

    while ((entry = readdir(folder))) {
        int r;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = remove_below(dirfd(folder), entry->d_name);
        if (r < 0 && first == 0)
            first = r;
    }
    return first;
}

static int remove_below(int parent, const char *name)
{
    DIR *folder;
    int fd, r;

    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;

    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    folder = fdopendir(fd);
    if (!folder) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    r = remove_entries(folder);
    (void)closedir(folder);
    if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

int pm_remove_tree(const char *path, struct poolmgr_error *err)
{
    int r = remove_below(AT_FDCWD, path);

    if (r < 0)
        return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, -r, "cannot remove '%s'", path);
    return POOLMGR_OK;
}
