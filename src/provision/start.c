/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "util/str.h"

#define FOLDER_LEAST_BYTES                                                                         \
    (1024 * 1024) /* spec.json, exit.json with the log's tail, a log's link */
#define INODES_LEAST      16
#define DESCRIPTORS_LEAST 8 /* shim, its pidfd, a probe, and the first connections */

static int no_folder(const struct pm_start_facts *facts, const struct pm_start_needs *needs,
                     struct poolmgr_error *err)
{
    (void)pm_fail_errno(err, POOLMGR_E_FOLDER_DENIED, facts->folder_error,
                        "%s cannot be written to", needs->instances_dir);
    return pm_error_hint(err, POOLMGR_E_FOLDER_DENIED,
                         "poolctl preflight says what is wrong there");
}

static int no_room(const struct pm_start_facts *facts, const struct pm_start_needs *needs,
                   struct poolmgr_error *err)
{
    char text[32];

    if (facts->folder_free_bytes < FOLDER_LEAST_BYTES)
        (void)pm_fail(err, POOLMGR_E_DISK_FULL, "%s has %s left; an instance needs 1 MiB there",
                      needs->instances_dir,
                      pm_format_bytes(text, sizeof(text), facts->folder_free_bytes));
    else
        (void)pm_fail(err, POOLMGR_E_DISK_FULL,
                      "in %s %" PRIu64 " files can be made; an instance "
                      "needs %d",
                      needs->instances_dir, facts->n_free_inodes, INODES_LEAST);
    return pm_error_hint(err, POOLMGR_E_DISK_FULL, "make room there, or set runtime_dir");
}

static int no_descriptors(const struct pm_start_facts *facts, struct poolmgr_error *err)
{
    (void)pm_fail(err, POOLMGR_E_DESCRIPTORS_SHORT,
                  "%" PRIu64 " descriptors are left, and a start needs %d",
                  facts->n_free_descriptors, DESCRIPTORS_LEAST);
    return pm_error_hint(err, POOLMGR_E_DESCRIPTORS_SHORT,
                         "raise the limit (LimitNOFILE= of the unit, ulimit -Hn), or lower "
                         "limits.connections");
}

int pm_start_judge(const struct pm_start_facts *facts, const struct pm_start_needs *needs,
                   struct poolmgr_error *err)
{
    if (facts->folder_error)
        return no_folder(facts, needs, err);
    if (facts->folder_known && (facts->folder_free_bytes < FOLDER_LEAST_BYTES ||
                                (facts->inodes_known && facts->n_free_inodes < INODES_LEAST)))
        return no_room(facts, needs, err);
    if (facts->descriptors_known && facts->n_free_descriptors < DESCRIPTORS_LEAST)
        return no_descriptors(facts, err);
    return POOLMGR_OK;
}

enum pm_where pm_pool_where(const struct pm_pool_spec *spec)
{
    const char *devices = spec->devices ? spec->devices : "auto";

    if (strcmp(devices, "auto") == 0)
        return PM_WHERE_EITHER;
    return strcmp(devices, "cpu") == 0 || strcmp(devices, "none") == 0 ? PM_WHERE_CPU
                                                                       : PM_WHERE_GPU;
}

/* ---- looking ---------------------------------------------------------------------------------------- */

static void look_at_folder(const char *path, struct pm_start_facts *ret)
{
    struct statvfs room;

    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0) {
        ret->folder_error = errno;
        return;
    }
    ret->folder_known = statvfs(path, &room) == 0;
    if (!ret->folder_known)
        return;
    ret->folder_free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    ret->inodes_known = room.f_files > 0;
    ret->n_free_inodes = room.f_favail;
}

/* Counting those that are open would mean reading a folder; taking a few and giving them back is exact, and cheaper. */
static void look_at_descriptors(struct pm_start_facts *ret)
{
    int taken[DESCRIPTORS_LEAST];
    uint64_t n = 0;

    while (n < DESCRIPTORS_LEAST && (taken[n] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
        n++;
    ret->descriptors_known = n > 0 || errno == EMFILE;
    ret->n_free_descriptors = n;
    while (n > 0)
        (void)close(taken[--n]);
}

void pm_start_look(const struct pm_start_needs *needs, struct pm_start_facts *ret)
{
    *ret = (struct pm_start_facts){0};
    look_at_folder(needs->instances_dir, ret);
    look_at_descriptors(ret);
}
