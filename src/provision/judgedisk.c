/* SPDX-License-Identifier: Apache-2.0 */
/* Our four folders: may we write there, and is there room? */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "provision/judge.h"
#include "util/cleanup.h"
#include "util/str.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define INODES_LEAST 1024

struct folder_row {
    enum pm_check check;
    const char *setting;
    uint64_t least, wished; /* bytes */
};

static const struct folder_row folder_rows[PM_FOLDER_COUNT] = {
    [PM_FOLDER_RUNTIME] = {PM_CHECK_DISK_RUNTIME, "runtime_dir", MIB, 16 * MIB},
    [PM_FOLDER_STATE] = {PM_CHECK_DISK_STATE, "state_dir", MIB, 64 * MIB},
    [PM_FOLDER_LOG] = {PM_CHECK_DISK_LOG, "log_dir", MIB, 64 * MIB}, /* and what logs may have */
    [PM_FOLDER_CACHE] = {PM_CHECK_DISK_CACHE, "cache_dir", GIB, 5 * GIB},
};

/* What make_private() of the manager will refuse. */
static bool is_open(const struct pm_folder_facts *folder, const struct pm_user_facts *user)
{
    bool shared = pm_str_starts(folder->path, "/tmp/") || pm_str_starts(folder->path, "/var/tmp/");

    return folder->is_there && (folder->uid != user->uid || (shared && (folder->mode & 0077) != 0));
}

/* What keeps us from writing there; PM_FOUND_NOTHING: nothing. */
static enum pm_finding obstacle(const struct pm_folder_facts *folder, bool is_runtime,
                                const struct pm_user_facts *user)
{
    if (folder->error)
        return PM_FOUND_FOLDER_UNREADABLE;
    if (!folder->is_folder)
        return PM_FOUND_FOLDER_NONE;
    if (is_runtime && is_open(folder, user))
        return PM_FOUND_FOLDER_OPEN;
    if (folder->read_only)
        return PM_FOUND_FOLDER_READ_ONLY;
    return folder->may_write ? PM_FOUND_NOTHING : PM_FOUND_FOLDER_DENIED;
}

static struct pm_checked *say_obstacle(struct pm_judging *j, const struct folder_row *row,
                                       const struct pm_folder_facts *folder,
                                       enum pm_finding finding)
{
    pm_auto_free char *word = pm_judge_word(folder->path);
    pm_auto_free char *owner = pm_xasprintf("%s %s", j->facts->user.name, word);
    const char *where = folder->is_there ? folder->path : folder->nearest;

    switch (finding) {
    case PM_FOUND_FOLDER_UNREADABLE:
        return pm_judge_say(j, row->check, finding, folder->path, NULL, "%s %s: %s", row->setting,
                            folder->path, strerror(folder->error));
    case PM_FOUND_FOLDER_NONE:
        return pm_judge_say(j, row->check, finding, where, NULL, "%s %s: %s is no folder",
                            row->setting, folder->path, where);
    case PM_FOUND_FOLDER_OPEN:
        return pm_judge_say(j, row->check, finding, folder->path, NULL,
                            "%s %s is of user %u and mode %04o; it must be ours and 0700",
                            row->setting, folder->path, folder->uid, folder->mode & 07777);
    case PM_FOUND_FOLDER_READ_ONLY:
        return pm_judge_say(j, row->check, finding, folder->path, NULL,
                            "%s %s lies on a read-only file system", row->setting, folder->path);
    default:
        return pm_judge_say(j, row->check, finding, owner, NULL, "%s %s: %s may not %s %s",
                            row->setting, folder->path, j->facts->user.name,
                            folder->is_there ? "write to" : "make it in", where);
    }
}

static struct pm_checked *judge_room(struct pm_judging *j, const struct folder_row *row,
                                     const struct pm_folder_facts *folder, uint64_t wished)
{
    char text[32];

    if (folder->n_inodes > 0 && folder->free_inodes < INODES_LEAST)
        return pm_judge_size(j, row->check, PM_FOUND_INODES_LOW, folder->nearest,
                             folder->free_bytes, "%s %s: only %" PRIu64 " files can be made",
                             row->setting, folder->path, folder->free_inodes);
    if (folder->free_bytes < row->least)
        return pm_judge_size(j, row->check, PM_FOUND_DISK_FULL, folder->nearest, folder->free_bytes,
                             "%s %s needs at least %s", row->setting, folder->path,
                             pm_format_bytes(text, sizeof(text), row->least));
    if (folder->free_bytes < wished)
        return pm_judge_size(j, row->check, PM_FOUND_DISK_LOW, folder->nearest, folder->free_bytes,
                             "%s %s may need %s", row->setting, folder->path,
                             pm_format_bytes(text, sizeof(text), wished));
    return pm_judge_size(j, row->check, PM_FOUND_NOTHING, NULL, folder->free_bytes, "%s %s%s%s",
                         row->setting, folder->path,
                         folder->is_there ? "" : ", which will be made in ",
                         folder->is_there ? "" : folder->nearest);
}

static void judge_folder(struct pm_judging *j, enum pm_folder_kind kind)
{
    const struct pm_folder_facts *folder = &j->facts->folders[kind];
    const struct folder_row *row = &folder_rows[kind];
    enum pm_finding finding = obstacle(folder, kind == PM_FOLDER_RUNTIME, &j->facts->user);
    uint64_t wished = row->wished;
    struct pm_checked *checked;

    if (kind == PM_FOLDER_LOG && j->needs->log_bytes > wished)
        wished = j->needs->log_bytes;
    checked = finding == PM_FOUND_NOTHING ? judge_room(j, row, folder, wished)
                                          : say_obstacle(j, row, folder, finding);
    if (kind == PM_FOLDER_CACHE && !j->needs->fetches)
        pm_judge_soften(checked); /* nothing is put there */
}

void pm_judge_disk(struct pm_judging *j)
{
    for (unsigned i = 0; i < PM_FOLDER_COUNT; i++) {
        if (j->facts->folders[i].path)
            judge_folder(j, (enum pm_folder_kind)i);
    }
}
