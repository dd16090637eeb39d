/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit is one file, whole or not at all. Its result counts when the folder is synced too: a rename that a power cut
 * may undo has not happened for whoever waits for it. So where the last step fails, the former file is put back.
 *
 * What is found at the start and cannot be read costs only itself: it is put aside under another name, for a person to
 * look at, and its pool begins as if it had no record.
 */
#include "store/inner.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/past.h"
#include "store/record.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/lock.h"
#include "util/time.h"

#define BROKEN_END ".broken"

struct commit {
    struct pm_work work;
    struct pm_store *store;
    struct pm_token token;
    char pool_id[PM_ID_MAX + 1];
    char *path, *text; /* text NULL: no file */
    struct poolmgr_error failure;
    pm_store_committed fn;
    void *ctx;
};

/* ---- in the helper thread --------------------------------------------------------------------------- */

static int put(const char *path, const char *text, bool durable, struct poolmgr_error *err)
{
    return text ? pm_write_file(path, text, strlen(text), 0600, durable, err)
                : pm_remove_file(path, durable, err);
}

static void write_it(struct pm_work *work)
{
    struct commit *commit = pm_container_of(work, struct commit, work);
    pm_auto_free char *former = NULL;

    if (commit->failure.code != 0)
        return;

    (void)pm_read_file(commit->path, PM_RECORD_MAX_BYTES, &former, NULL, NULL);
    if (put(commit->path, commit->text, true, &commit->failure) < 0)
        (void)put(commit->path, former, false, NULL);
}

/* ---- in the loop thread ----------------------------------------------------------------------------- */

static void commit_free(struct commit *commit)
{
    free(commit->path);
    free(commit->text);
    free(commit);
}

static void on_dropped(struct pm_work *work)
{
    commit_free(pm_container_of(work, struct commit, work));
}

static void let_go(struct pm_store *store)
{
    if (store->given_up && store->n_under_way == 0)
        pm_folder_unlock(&store->lock_fd);
}

void pm_store_begins(struct pm_store *store)
{
    store->n_under_way++;
}

void pm_store_ends(struct pm_store *store)
{
    store->n_under_way--;
    let_go(store);
}

static void on_written(struct pm_work *work)
{
    struct commit *commit = pm_container_of(work, struct commit, work);

    pm_store_ends(commit->store);
    commit->fn(commit->ctx, commit->token, commit->pool_id,
               commit->failure.code != 0 ? &commit->failure : NULL);
    commit_free(commit);
}

void pm_store_commit(struct pm_store *store, const struct pm_pool_record *record,
                     struct pm_token token, pm_store_committed fn, void *ctx)
{
    struct commit *commit = pm_xalloc(sizeof *commit);

    commit->work.work = write_it;
    commit->work.done = on_written;
    commit->work.drop = on_dropped;
    commit->store = store;
    commit->token = token;
    commit->path = pm_xasprintf("%s/%s" PM_STORE_END, store->folder, record->pool_id);
    commit->fn = fn;
    commit->ctx = ctx;
    (void)pm_str_copy(commit->pool_id, sizeof commit->pool_id, record->pool_id);
    (void)pm_record_write(record, &commit->text, &commit->failure);
    pm_store_begins(store);
    pm_worker_add(store->worker, &commit->work, PM_WORK_FIRST);
}

/* ---- life ------------------------------------------------------------------------------------------- */

int pm_store_open(struct pm_worker *worker, const char *state_dir, struct pm_store **ret,
                  struct poolmgr_error *err)
{
    struct pm_store *store = pm_xalloc(sizeof *store);
    int r;

    store->worker = worker;
    store->lock_fd = -1;
    store->folder = pm_xasprintf("%s/pools", state_dir);
    store->memory_folder = pm_xasprintf("%s/memory", state_dir);
    store->past_folder = pm_xasprintf("%s/past", state_dir);
    pm_behind_init(&store->behind, store);
    pm_list_init(&store->memories);
    r = pm_make_folders(store->folder, 0700, err);
    if (r == 0)
        r = pm_folder_lock(state_dir, &store->lock_fd, err);
    if (r < 0) {
        pm_store_free(store);
        return r;
    }

    *ret = store;
    return POOLMGR_OK;
}

void pm_store_free(struct pm_store *store)
{
    if (!store)
        return;

    pm_folder_unlock(&store->lock_fd);
    pm_store_forget_all(store);
    pm_behind_fini(&store->behind);
    free(store->past_folder);
    free(store->folder);
    free(store);
}

void pm_store_give_up(struct pm_store *store)
{
    store->given_up = true;
    let_go(store);
}

/* ---- reading ---------------------------------------------------------------------------------------- */

/* "a.json.x8Rq2L": what pm_write_file() left when it was cut short. */
static bool is_left_over(const char *name)
{
    size_t n = strlen(name);

    return n > strlen(PM_STORE_END) + 7 && name[n - 7] == '.' &&
           strncmp(name + n - 7 - strlen(PM_STORE_END), PM_STORE_END, strlen(PM_STORE_END)) == 0 &&
           !pm_str_ends(name, BROKEN_END) && !pm_str_ends(name, PM_STORE_END);
}

void pm_store_put_aside(const char *path, struct poolmgr_error *error)
{
    pm_auto_free char *aside = pm_xasprintf("%s" BROKEN_END, path);

    (void)pm_remove_tree(aside, NULL); /* an earlier one, whatever it is */
    if (rename(path, aside) < 0)
        (void)snprintf(error->hint, sizeof error->hint, "it cannot be put aside: %s",
                       strerror(errno));
}

static void read_one(struct pm_store *store, const char *name, const struct pm_store_reader *reader)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", store->folder, name), *text = NULL;
    pm_auto_free char *pool_id = pm_xstrndup(name, strlen(name) - strlen(PM_STORE_END));
    struct pm_pool_record record;
    struct poolmgr_error err = {0};
    size_t n = 0;
    int r;

    r = pm_read_file(path, PM_RECORD_MAX_BYTES, &text, &n, &err);
    if (r == POOLMGR_OK)
        r = pm_record_read(text, n, pool_id, &record, &err);
    if (r < 0) {
        pm_store_put_aside(path, &err);
        reader->broken(reader->ctx, name, &err);
        return;
    }

    reader->record(reader->ctx, &record);
    pm_record_fini(&record);
}

static void read_past(struct pm_store *store, const char *name,
                      const struct pm_store_reader *reader)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", store->past_folder, name), *text = NULL;
    pm_auto_free char *pool_id = pm_xstrndup(name, strlen(name) - strlen(PM_STORE_END));
    struct poolmgr_error err = {0};
    struct pm_past past;
    size_t n = 0;
    int r;

    r = pm_read_file(path, PM_PAST_MAX_BYTES, &text, &n, &err);
    if (r == POOLMGR_OK)
        r = pm_past_read(text, n, pool_id, pm_wall_ms(), &past, &err);
    if (r < 0) {
        pm_store_put_aside(path, &err);
        reader->broken(reader->ctx, name, &err);
        return;
    }
    reader->past(reader->ctx, &past);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int pm_store_list(const char *path, struct pm_strv *names, struct poolmgr_error *err)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;

    if (!folder)
        return pm_fail_errno(err, POOLMGR_E_STORE_FAILED, errno, "cannot open '%s'", path);

    while ((entry = readdir(folder)) && names->n < PM_STORE_RECORDS_MAX) {
        if (is_left_over(entry->d_name))
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        else if (pm_str_ends(entry->d_name, PM_STORE_END) &&
                 strcmp(entry->d_name, PM_STORE_END) != 0)
            pm_strv_add(names, entry->d_name);
    }
    (void)closedir(folder);
    if (names->n > 0)
        qsort(names->items, names->n, sizeof names->items[0], by_name);
    return POOLMGR_OK;
}

static void load_pasts(struct pm_store *store, const struct pm_store_reader *reader)
{
    struct pm_strv names = {0};
    struct poolmgr_error err = {0};

    if (access(store->past_folder, F_OK) == 0 &&
        pm_store_list(store->past_folder, &names, &err) < 0) {
        (void)pm_error_hint(&err, 0, "it is no folder of ours");
        reader->broken(reader->ctx, "past", &err);
    }
    for (size_t i = 0; i < names.n; i++)
        read_past(store, names.items[i], reader);
    pm_strv_fini(&names);
}

void pm_store_keep(struct pm_store *store, const struct pm_past *past, pm_store_unkept fn,
                   void *ctx)
{
    pm_auto_free char *name = pm_xasprintf("%s" PM_STORE_END, past->pool_id);

    pm_behind_put(&store->behind, store->past_folder, name, pm_past_write(past, pm_wall_ms()), fn,
                  ctx);
}

int pm_store_load(struct pm_store *store, const struct pm_store_reader *reader,
                  struct poolmgr_error *err)
{
    struct pm_strv names = {0};
    int r = pm_store_list(store->folder, &names, err);
    size_t i;

    for (i = 0; r == POOLMGR_OK && i < names.n; i++)
        read_one(store, names.items[i], reader);

    pm_strv_fini(&names);
    if (r == POOLMGR_OK) {
        pm_store_recall(store, reader);
        load_pasts(store, reader);
    }
    return r;
}
