/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SUP-6: a pool that failed for its model's files is tried again when one of them was closed or moved into place.
 * The kernel tells (inotify) about the folder; of a folder that is missing too, about the nearest one above it that
 * is there. Each watch speaks once: a file that is still bad fails again, and is watched again.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine.h"
#include "manager/internal.h"
#include "util/cleanup.h"

#define CHANGES                                                                                    \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct pm_file_watches {
    struct pm_manager *manager;
    struct pm_watch watch;
    int fd;
    struct pm_list files;
};

struct watched {
    struct pm_link link;
    char pool_id[PM_ID_MAX + 1];
    char *path;   /* of the file */
    char *folder; /* what is watched: its folder, or the nearest above it */
    int wd;       /* -1: nothing can be watched */
    struct pm_pool_spec *spec;
    char *signature;
};

static void watched_free(struct watched *watched)
{
    pm_list_remove(&watched->link);
    pm_pool_spec_unref(watched->spec);
    free(watched->path);
    free(watched->folder);
    free(watched->signature);
    free(watched);
}

/* The nearest folder on the way to the file that can be watched. */
static void watch_nearest(struct pm_file_watches *watches, struct watched *watched)
{
    char folder[PATH_MAX];
    char *slash;

    watched->wd = -1;
    if (!pm_str_copy(folder, sizeof folder, watched->path))
        return;

    while (watched->wd < 0 && (slash = strrchr(folder, '/'))) {
        *slash = '\0';
        watched->wd =
            inotify_add_watch(watches->fd, folder[0] ? folder : "/", CHANGES | IN_ONLYDIR);
    }

    free(watched->folder);
    watched->folder = pm_xstrdup(folder[0] ? folder : "/");
}

/* Inotify has one watch for a folder, however many files of it are waited for. */
static void unwatch_unused(struct pm_file_watches *watches, int wd)
{
    struct pm_link *link;

    if (wd < 0)
        return;

    pm_list_each (&watches->files, link)
        if (pm_container_of(link, struct watched, link)->wd == wd)
            return;

    (void)inotify_rm_watch(watches->fd, wd);
}

static void forget_pool(struct pm_file_watches *watches, const char *pool_id)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&watches->files, link, after) {
        struct watched *watched = pm_container_of(link, struct watched, link);
        int wd = watched->wd;

        if (strcmp(watched->pool_id, pool_id) != 0)
            continue;
        watched_free(watched);
        unwatch_unused(watches, wd);
    }
}

static bool has_changed(const struct watched *watched)
{
    pm_auto_free char *now = pm_model_signature(watched->spec);

    return strcmp(now, watched->signature) != 0;
}

static void tell(struct pm_file_watches *watches, const char *pool_id)
{
    struct pm_manager *manager = watches->manager;
    char id[PM_ID_MAX + 1];

    (void)pm_str_copy(id, sizeof id, pool_id);
    forget_pool(watches, id);
    pm_core_file_changed(manager->core, id, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

/* Something happened in a folder. A file that is being written is not looked at before it was closed: while it is
 * open for writing IN_CREATE is not enough, but of a link or a rename it is all that comes. */
static bool settles(const struct watched *watched, const struct inotify_event *event)
{
    struct stat status;

    if ((event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB)) != 0)
        return has_changed(watched);

    return lstat(watched->path, &status) == 0 && (S_ISLNK(status.st_mode) || status.st_nlink > 1) &&
           has_changed(watched);
}

/* False: nobody is waiting for this folder any more, or the list changed and must be walked anew. */
static bool look_once(struct pm_file_watches *watches, const struct inotify_event *event)
{
    struct pm_link *link;

    pm_list_each (&watches->files, link) {
        struct watched *watched = pm_container_of(link, struct watched, link);
        size_t n = watched->folder ? strlen(watched->folder) : 0;
        bool last_folder = n > 0 && !strchr(watched->path + n + (n > 1), '/');

        if (watched->wd != event->wd)
            continue;

        if (!last_folder || (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0)
            watch_nearest(watches, watched); /* the next folder on the way may be there now */

        if ((last_folder && settles(watched, event)) || (!last_folder && has_changed(watched))) {
            tell(watches, watched->pool_id);
            return true;
        }
    }

    return false;
}

static void on_events(struct pm_watch *watch, uint32_t events)
{
    struct pm_file_watches *watches = pm_container_of(watch, struct pm_file_watches, watch);
    char buffer[16 * 1024] __attribute__((__aligned__(__alignof__(struct inotify_event))));
    ssize_t n = read(watches->fd, buffer, sizeof buffer);
    const char *at;

    (void)events;
    for (at = buffer; n > 0 && at < buffer + n;) {
        const struct inotify_event *event = (const void *)at;

        while (look_once(watches, event))
            ;
        at += sizeof *event + event->len;
    }
}

static void add_file(struct pm_file_watches *watches, struct pm_pool_spec *spec, const char *ref,
                     const char *signature)
{
    const char *path = ref && pm_str_starts(ref, "file:") ? ref + strlen("file:") : ref;
    struct watched *watched;

    if (!path || path[0] != '/')
        return;

    watched = pm_xalloc(sizeof *watched);
    (void)pm_str_copy(watched->pool_id, sizeof watched->pool_id, spec->id);
    watched->path = pm_xstrdup(path);
    watched->spec = pm_pool_spec_ref(spec);
    watched->signature = pm_xstrdup(signature);
    watch_nearest(watches, watched);
    pm_list_append(&watches->files, &watched->link);
}

/* What changed between the look and the watch would be missed; it is found by looking once more, at the end of the
 * turn (core must hear of the failure first). */
struct late_look {
    struct pm_task task;
    struct pm_file_watches *watches;
    char pool_id[PM_ID_MAX + 1];
};

static void on_late_look(struct pm_task *task)
{
    struct late_look *late = pm_container_of(task, struct late_look, task);
    struct pm_link *link;

    pm_list_each (&late->watches->files, link) {
        struct watched *watched = pm_container_of(link, struct watched, link);

        if (strcmp(watched->pool_id, late->pool_id) == 0 && has_changed(watched)) {
            tell(late->watches, late->pool_id);
            break;
        }
    }

    free(late);
}

void pm_file_watches_add(struct pm_file_watches *watches, const struct pm_pool_spec *spec,
                         const char *signature)
{
    struct pm_pool_spec *shared = pm_pool_spec_ref((struct pm_pool_spec *)spec);
    struct late_look *late;
    size_t i;

    forget_pool(watches, spec->id);
    add_file(watches, shared, spec->model.main, signature);
    add_file(watches, shared, spec->model.mmproj, signature);
    add_file(watches, shared, spec->model.draft, signature);
    for (i = 0; i < spec->model.lora.n; i++)
        add_file(watches, shared, spec->model.lora.items[i], signature);
    pm_pool_spec_unref(shared);

    late = pm_xalloc(sizeof *late);
    late->task.fn = on_late_look;
    late->watches = watches;
    (void)pm_str_copy(late->pool_id, sizeof late->pool_id, spec->id);
    pm_loop_later(watches->manager->loop, &late->task);
}

int pm_file_watches_new(struct pm_manager *manager, struct pm_file_watches **ret,
                        struct poolmgr_error *err)
{
    struct pm_file_watches *watches = pm_xalloc(sizeof *watches);
    int r;

    watches->manager = manager;
    pm_list_init(&watches->files);
    watches->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watches->fd < 0) {
        r = pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "inotify");
        free(watches);
        return r;
    }

    r = pm_watch_add(manager->loop, &watches->watch, watches->fd, EPOLLIN, on_events);
    if (r < 0) {
        pm_file_watches_free(watches);
        return pm_wrap(err, r, "inotify");
    }

    *ret = watches;
    return POOLMGR_OK;
}

void pm_file_watches_free(struct pm_file_watches *watches)
{
    struct pm_link *link;

    if (!watches)
        return;

    pm_watch_remove(&watches->watch);
    while ((link = pm_list_first(&watches->files)))
        watched_free(pm_container_of(link, struct watched, link));
    (void)close(watches->fd);
    free(watches);
}
