/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engines took of devices (VRAM-1), kept behind. The files are bounded: then the one whose content is the oldest goes.
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
    struct pm_remembered is;
};

static struct memory *memory_of(struct pm_link *link)
{
    return pm_container_of(link, struct memory, link);
}

static void forget(struct pm_store *store, struct memory *memory)
{
    (void)pm_map_remove_u64(&store->by_identity, memory->is.identity);
    pm_list_remove(&memory->link);
    pm_remembered_fini(&memory->is);
    free(memory);
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

static void put_file(struct pm_store *store, const struct memory *memory, char *text,
                     pm_store_unkept fn, void *ctx)
{
    char name[17 + sizeof PM_STORE_END];

    pm_remembered_name(memory->is.identity, name);
    (void)strcat(name, PM_STORE_END);
    pm_behind_put(&store->behind, store->memory_folder, name, text, fn, ctx);
}

void pm_store_remember(struct pm_store *store, const struct pm_memory_record *record,
                       pm_store_unkept fn, void *ctx)
{
    struct memory *memory, *oldest;

    if (!pm_remembered_accepts(record))
        return;
    memory = add(store, record->identity);
    if (!pm_remembered_put(&memory->is, record))
        return;

    pm_list_remove(&memory->link);
    pm_list_append(&store->memories, &memory->link);
    put_file(store, memory, pm_remembered_write(&memory->is), fn, ctx);
    if (store->by_identity.n <= PM_STORE_MEMORIES_MAX)
        return;
    oldest = memory_of(pm_list_first(&store->memories));
    put_file(store, oldest, NULL, fn, ctx);
    forget(store, oldest);
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
