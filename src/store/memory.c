/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engines took of devices (VRAM-1), kept behind: nobody waits for it. One file at a time is with the helper thread;
 * what changes meanwhile is written after it, once, however often it changed. A write that fails is told when the one
 * before did not, and is tried again with the next thing that is to be remembered. The files are bounded: then the one
 * whose content is the oldest goes.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/inner.h"
#include "store/remembered.h"
#include "util/cleanup.h"
#include "util/file.h"

struct memory {
    struct pm_link link;
    struct pm_remembered is; /* n 0: its file is to go */
    bool dirty;
};

struct keeping {
    struct pm_work work;
    struct pm_store *store;
    uint64_t identity;
    char *folder, *path, *text; /* text NULL: no file */
    struct poolmgr_error failure;
};

static struct memory *memory_of(struct pm_link *link)
{
    return pm_container_of(link, struct memory, link);
}

/* ---- in the helper thread ----------------------------------------------------------------------------- */

static void write_it(struct pm_work *work)
{
    struct keeping *keeping = pm_container_of(work, struct keeping, work);

    if (!keeping->text) {
        (void)pm_remove_file(keeping->path, true, &keeping->failure);
        return;
    }
    if (pm_make_folders(keeping->folder, 0700, &keeping->failure) == 0)
        (void)pm_write_file(keeping->path, keeping->text, strlen(keeping->text), 0600, true,
                            &keeping->failure);
}

/* ---- in the loop thread ------------------------------------------------------------------------------- */

static void keeping_free(struct keeping *keeping)
{
    free(keeping->folder);
    free(keeping->path);
    free(keeping->text);
    free(keeping);
}

static void on_dropped(struct pm_work *work)
{
    keeping_free(pm_container_of(work, struct keeping, work));
}

static void forget(struct pm_store *store, struct memory *memory)
{
    (void)pm_map_remove_u64(&store->by_identity, memory->is.identity);
    pm_list_remove(&memory->link);
    pm_remembered_fini(&memory->is);
    free(memory);
}

static struct memory *first_dirty(const struct pm_store *store)
{
    struct pm_link *link;

    pm_list_each (&store->memories, link) {
        if (memory_of(link)->dirty)
            return memory_of(link);
    }
    return NULL;
}

static void on_written(struct pm_work *work);

static void write_next(struct pm_store *store)
{
    struct memory *memory = store->remembering || store->given_up ? NULL : first_dirty(store);
    struct keeping *keeping;
    char name[17];

    if (!memory)
        return;

    keeping = pm_xalloc(sizeof *keeping);
    keeping->work.work = write_it;
    keeping->work.done = on_written;
    keeping->work.drop = on_dropped;
    keeping->store = store;
    keeping->identity = memory->is.identity;
    pm_remembered_name(memory->is.identity, name);
    keeping->folder = pm_xstrdup(store->memory_folder);
    keeping->path = pm_xasprintf("%s/%s" PM_STORE_END, store->memory_folder, name);
    keeping->text = memory->is.n > 0 ? pm_remembered_write(&memory->is) : NULL;
    memory->dirty = false;
    store->remembering = true;
    pm_store_begins(store);
    pm_worker_add(store->worker, &keeping->work, PM_WORK_FIRST);
}

static void tell_failure(struct pm_store *store, const struct keeping *keeping)
{
    char name[17 + sizeof PM_STORE_END];

    if (store->forgetful)
        return;
    store->forgetful = true;
    pm_remembered_name(keeping->identity, name);
    (void)strcat(name, PM_STORE_END);
    store->unkept(store->ctx, name, &keeping->failure);
}

static void on_written(struct pm_work *work)
{
    struct keeping *keeping = pm_container_of(work, struct keeping, work);
    struct pm_store *store = keeping->store;
    struct memory *memory = pm_map_get_u64(&store->by_identity, keeping->identity);
    bool failed = keeping->failure.code != 0;

    store->remembering = false;
    if (failed)
        memory->dirty = true;
    else if (!keeping->text && memory->is.n == 0)
        forget(store, memory);
    pm_store_ends(store);
    if (failed) {
        tell_failure(store, keeping);
    } else {
        store->forgetful = false;
        write_next(store);
    }
    keeping_free(keeping);
}

static struct memory *add(struct pm_store *store, uint64_t identity)
{
    struct memory *memory = pm_map_get_u64(&store->by_identity, identity);

    if (memory)
        return memory;
    memory = pm_xalloc(sizeof *memory);
    memory->is.identity = identity;
    pm_list_append(&store->memories, &memory->link);
    (void)pm_map_set_u64(&store->by_identity, identity, memory);
    return memory;
}

static void drop_oldest(struct pm_store *store)
{
    struct pm_link *link;

    pm_list_each (&store->memories, link) {
        struct memory *memory = memory_of(link);
        uint64_t identity = memory->is.identity;

        if (memory->is.n == 0)
            continue;
        pm_remembered_fini(&memory->is);
        memory->is.identity = identity;
        memory->dirty = true;
        store->n_memories--;
        return;
    }
}

void pm_store_remember(struct pm_store *store, const struct pm_memory_record *record,
                       pm_store_unkept fn, void *ctx)
{
    struct memory *memory;
    bool is_new;

    if (!pm_remembered_accepts(record))
        return;
    memory = add(store, record->identity);
    is_new = memory->is.n == 0;
    if (!pm_remembered_put(&memory->is, record))
        return;

    store->unkept = fn;
    store->ctx = ctx;
    memory->dirty = true;
    pm_list_remove(&memory->link);
    pm_list_append(&store->memories, &memory->link);
    if (is_new && store->n_memories++ == PM_STORE_MEMORIES_MAX)
        drop_oldest(store);
    write_next(store);
}

void pm_store_forget_all(struct pm_store *store)
{
    while (!pm_list_empty(&store->memories))
        forget(store, memory_of(pm_list_first(&store->memories)));
    pm_map_fini(&store->by_identity);
    free(store->memory_folder);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

struct found {
    const char *name;
    struct timespec changed;
};

static int by_age(const void *a, const void *b)
{
    const struct found *one = a, *other = b;

    if (one->changed.tv_sec != other->changed.tv_sec)
        return one->changed.tv_sec < other->changed.tv_sec ? -1 : 1;
    if (one->changed.tv_nsec != other->changed.tv_nsec)
        return one->changed.tv_nsec < other->changed.tv_nsec ? -1 : 1;
    return strcmp(one->name, other->name);
}

static void read_one(struct pm_store *store, const char *name, const struct pm_store_reader *reader)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", store->memory_folder, name), *text = NULL;
    pm_auto_free char *identity = pm_xstrndup(name, strlen(name) - strlen(PM_STORE_END));
    struct pm_remembered is = {0};
    struct poolmgr_error err = {0};
    struct memory *memory;
    size_t n = 0;
    int r;

    r = pm_read_file(path, PM_REMEMBERED_MAX_BYTES, &text, &n, &err);
    if (r == POOLMGR_OK)
        r = pm_remembered_read(text, n, identity, &is, &err);
    if (r < 0) {
        pm_store_put_aside(path, &err);
        reader->broken(reader->ctx, name, &err);
        return;
    }

    memory = add(store, is.identity);
    pm_remembered_fini(&memory->is);
    memory->is = is;
    store->n_memories++;
    for (size_t i = 0; i < is.n; i++)
        reader->memory(reader->ctx, &is.records[i]);
}

void pm_store_recall(struct pm_store *store, const struct pm_store_reader *reader)
{
    struct pm_strv names = {0};
    struct poolmgr_error err = {0};
    pm_auto_free struct found *found = NULL;
    struct stat status;

    if (stat(store->memory_folder, &status) < 0 && errno == ENOENT)
        return;
    if (pm_store_list(store->memory_folder, &names, &err) < 0) {
        (void)pm_error_hint(&err, 0, "it is no folder of ours");
        reader->broken(reader->ctx, "memory", &err);
        return;
    }

    found = pm_xalloc((names.n + 1) * sizeof *found);
    for (size_t i = 0; i < names.n; i++) {
        pm_auto_free char *path = pm_xasprintf("%s/%s", store->memory_folder, names.items[i]);

        found[i].name = names.items[i];
        if (stat(path, &status) == 0)
            found[i].changed = status.st_mtim;
    }
    qsort(found, names.n, sizeof *found, by_age);
    for (size_t i = 0; i < names.n; i++) {
        pm_auto_free char *path = pm_xasprintf("%s/%s", store->memory_folder, found[i].name);

        if (names.n - i > PM_STORE_MEMORIES_MAX)
            (void)pm_remove_file(path, false, NULL);
        else
            read_one(store, found[i].name, reader);
    }
    pm_strv_fini(&names);
}
