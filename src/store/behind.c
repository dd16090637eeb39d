/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file at a time is with the helper thread; what changes meanwhile is written after it, once, however often it
 * changed.
 */
#include "store/behind.h"

#include <stdlib.h>
#include <string.h>

#include "store/inner.h"
#include "util/cleanup.h"
#include "util/file.h"

struct behind {
    struct pm_link link; /* in behind->files, while it waits */
    struct pm_work work;
    struct pm_behind *behind;
    char *folder, *name, *text;
    struct poolmgr_error failure;
};

static struct behind *file_of(struct pm_link *link)
{
    return pm_container_of(link, struct behind, link);
}

/* ---- in the helper thread ----------------------------------------------------------------------------- */

static void write_it(struct pm_work *work)
{
    struct behind *file = pm_container_of(work, struct behind, work);
    pm_auto_free char *path = pm_xasprintf("%s/%s", file->folder, file->name);

    memset(&file->failure, 0, sizeof file->failure);
    if (!file->text)
        (void)pm_remove_file(path, true, &file->failure);
    else if (pm_make_folders(file->folder, 0700, &file->failure) == 0)
        (void)pm_write_file(path, file->text, strlen(file->text), 0600, true, &file->failure);
}

/* ---- in the loop thread ------------------------------------------------------------------------------- */

static void file_free(struct behind *file)
{
    pm_list_remove(&file->link);
    free(file->folder);
    free(file->name);
    free(file->text);
    free(file);
}

static void on_dropped(struct pm_work *work)
{
    file_free(pm_container_of(work, struct behind, work));
}

static struct behind *find(const struct pm_behind *behind, const char *folder, const char *name)
{
    struct pm_link *link;

    pm_list_each (&behind->files, link) {
        if (strcmp(file_of(link)->name, name) == 0 && strcmp(file_of(link)->folder, folder) == 0)
            return file_of(link);
    }
    return NULL;
}

static void write_next(struct pm_behind *behind)
{
    struct pm_link *link = pm_list_first(&behind->files);

    if (!link || behind->writing || behind->store->given_up)
        return;

    pm_list_remove(link);
    behind->writing = true;
    pm_store_begins(behind->store);
    pm_worker_add(behind->store->worker, &file_of(link)->work, PM_WORK_FIRST);
}

/* It waits again, unless something newer does. */
static void put_back(struct behind *file)
{
    struct pm_behind *behind = file->behind;

    if (!behind->failing)
        behind->unkept(behind->ctx, file->name, &file->failure);
    behind->failing = true;
    if (find(behind, file->folder, file->name))
        file_free(file);
    else
        pm_list_append(&behind->files, &file->link);
}

static void on_written(struct pm_work *work)
{
    struct behind *file = pm_container_of(work, struct behind, work);
    struct pm_behind *behind = file->behind;

    behind->writing = false;
    pm_store_ends(behind->store);
    if (file->failure.code != 0) {
        put_back(file);
        return;
    }
    behind->failing = false;
    file_free(file);
    write_next(behind);
}

void pm_behind_put(struct pm_behind *behind, const char *folder, const char *name, char *text,
                   pm_store_unkept fn, void *ctx)
{
    struct behind *file = find(behind, folder, name);

    behind->unkept = fn;
    behind->ctx = ctx;
    if (!file) {
        file = pm_xalloc(sizeof *file);
        file->work.work = write_it;
        file->work.done = on_written;
        file->work.drop = on_dropped;
        file->behind = behind;
        file->folder = pm_xstrdup(folder);
        file->name = pm_xstrdup(name);
    }
    free(file->text);
    file->text = text;
    pm_list_remove(&file->link);
    if (text)
        pm_list_append(&behind->files, &file->link); /* the last change last */
    else
        pm_list_prepend(&behind->files, &file->link); /* room first */
    write_next(behind);
}

void pm_behind_init(struct pm_behind *behind, struct pm_store *store)
{
    behind->store = store;
    pm_list_init(&behind->files);
}

void pm_behind_fini(struct pm_behind *behind)
{
    while (!pm_list_empty(&behind->files))
        file_free(file_of(pm_list_first(&behind->files)));
}
