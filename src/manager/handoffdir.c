/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watched folder of handoffs: a file `<pool>.<replica>.json` is a handoff as long as it is there. Whoever may write
 * there may send our clients' requests anywhere, so the folder must be ours and nobody else's. The kernel tells what
 * was closed, moved or removed; what is there already, and all of it after an overflow, is looked at by reading the
 * folder. A file is known by its content: the same content again is nothing, and one that was refused for what will
 * pass (another engine still stands there) is tried again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/handoff.h"
#include "manager/internal.h"
#include "util/cleanup.h"
#include "util/file.h"

#define CHANGES                                                                                    \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |       \
     IN_MOVE_SELF | IN_ONLYDIR)
#define ENDING         ".json"
#define FILES_MAX      1024 /* looked after; what is more is refused */
#define RETRY_EVERY_MS 5000

struct pm_handoff_folder {
    struct pm_manager *manager;
    const char *path;
    struct pm_watch watch;
    int fd;
    struct pm_list files;
    size_t n_files;
    struct pm_timer retry;
};

struct file {
    struct pm_link link;
    struct pm_handoff_folder *folder;
    char *name, *content;
    char *unread; /* why it could not be read, as it was told; NULL: it could */
    char pool_id[PM_ID_MAX + 1];
    unsigned replica;
    struct pm_handing *handing; /* NULL: nothing is under way */
    bool registered;            /* by some content of it */
    bool tries_again;
    bool seen;
};

/* ---- files ------------------------------------------------------------------------------------------ */

static struct file *find(struct pm_handoff_folder *folder, const char *name)
{
    struct pm_link *link;

    pm_list_each (&folder->files, link) {
        struct file *file = pm_container_of(link, struct file, link);

        if (strcmp(file->name, name) == 0)
            return file;
    }
    return NULL;
}

static struct file *file_new(struct pm_handoff_folder *folder, const char *name,
                             const char *pool_id, unsigned replica)
{
    struct file *file = pm_xalloc(sizeof *file);

    file->folder = folder;
    file->name = pm_xstrdup(name);
    file->replica = replica;
    (void)pm_str_copy(file->pool_id, sizeof file->pool_id, pool_id);
    pm_list_append(&folder->files, &file->link);
    folder->n_files++;
    return file;
}

static void file_free(struct file *file)
{
    pm_handing_free(file->handing);
    pm_list_remove(&file->link);
    file->folder->n_files--;
    free(file->name);
    free(file->content);
    free(file->unread);
    free(file);
}

static void vanish(struct file *file)
{
    struct pm_manager *manager = file->folder->manager;
    struct poolmgr_error err = {0};

    if (file->registered) {
        /* It may have been removed otherwise by now: then there is nothing to take back. */
        (void)pm_core_withdraw(manager->core, file->pool_id, file->replica, pm_manager_now(manager),
                               &manager->actions, &err);
        pm_manager_flush(manager);
    }
    file_free(file);
}

/* ---- handing over ----------------------------------------------------------------------------------- */

static void arm_retry(struct pm_handoff_folder *folder)
{
    pm_timer_set(folder->manager->loop, &folder->retry,
                 pm_manager_now(folder->manager) + RETRY_EVERY_MS);
}

static void on_handed(void *ctx, const struct poolmgr_error *error)
{
    struct file *file = ctx;

    pm_handing_free(pm_take(file->handing));
    file->registered = file->registered || !error;
    file->tries_again = error && error->code == POOLMGR_E_CONFLICT;
    if (file->tries_again)
        arm_retry(file->folder);
}

static void refuse(const struct file *file, const struct poolmgr_error *error)
{
    pm_handoff_tell_refused(file->folder->manager, file->name, error);
}

static int parse(const struct file *file, struct pm_pool_spec **ret, struct poolmgr_error *err)
{
    struct pm_pool_spec *spec = NULL;
    unsigned replica = 0;
    int r = pm_handoff_parse(file->content, strlen(file->content), &spec, &replica, err);

    if (r < 0)
        return r;
    if (strcmp(spec->id, file->pool_id) == 0 && replica == file->replica) {
        *ret = spec;
        return POOLMGR_OK;
    }
    r = pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                "its name is of replica %u of '%s', its content of replica %u of '%s'",
                file->replica, file->pool_id, replica, spec->id);
    pm_pool_spec_unref(spec);
    return r;
}

static void hand_over(struct file *file)
{
    struct pm_pool_spec *spec = NULL;
    struct poolmgr_error err = {0};

    pm_handing_free(pm_take(file->handing));
    file->tries_again = false;
    if (parse(file, &spec, &err) < 0) {
        refuse(file, &err);
        return;
    }
    file->handing =
        pm_manager_handoff(file->folder->manager, spec, file->replica, true, on_handed, file);
    pm_pool_spec_unref(spec);
}

static void on_retry(struct pm_timer *timer)
{
    struct pm_handoff_folder *folder = pm_container_of(timer, struct pm_handoff_folder, retry);
    struct pm_link *link;

    pm_list_each (&folder->files, link) {
        struct file *file = pm_container_of(link, struct file, link);

        if (file->tries_again)
            hand_over(file);
    }
}

/* ---- looking ---------------------------------------------------------------------------------------- */

/* "far-70b.0.json" → far-70b, 0 */
static bool read_name(const char *name, char pool_id[static PM_ID_MAX + 1], unsigned *ret_replica)
{
    pm_auto_free char *stem = pm_xstrndup(name, strlen(name) - strlen(ENDING));
    char *dot = strrchr(stem, '.');
    uint64_t replica;

    if (!dot || !pm_parse_u64(dot + 1, &replica) || replica >= PM_HANDOFF_REPLICAS_MAX ||
        (dot[1] == '0' && dot[2] != '\0'))
        return false;
    *dot = '\0';
    *ret_replica = (unsigned)replica;
    return pm_pool_id_valid(stem) && pm_str_copy(pool_id, PM_ID_MAX + 1, stem);
}

/* Files that are being written beside have other names, or begin with a dot. */
static bool is_of_interest(const char *name)
{
    return name[0] != '.' && pm_str_ends(name, ENDING) && strlen(name) > strlen(ENDING);
}

static const char *kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFLNK: return "a link";
    case S_IFDIR: return "a folder";
    case S_IFIFO: return "a FIFO";
    case S_IFSOCK: return "a socket";
    default: return "a device";
    }
}

/* Only a regular file is opened for reading, and that without blocking, if it was exchanged meanwhile. */
static int read_content(const struct pm_handoff_folder *folder, const char *name, char **ret,
                        struct poolmgr_error *err)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", folder->path, name);
    struct stat status;
    size_t n;
    int r;

    if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it is %s, not a file",
                       kind_of(status.st_mode));
    r = pm_read_file(path, PM_HANDOFF_MAX_BYTES, ret, &n, err);
    if (r == POOLMGR_OK && strlen(*ret) != n) {
        free(pm_take(*ret));
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it holds a NUL byte");
    }
    return r;
}

static struct file *find_or_add(struct pm_handoff_folder *folder, const char *name,
                                struct poolmgr_error *err)
{
    struct file *file = find(folder, name);
    char pool_id[PM_ID_MAX + 1];
    unsigned replica;

    if (file)
        return file;
    if (!read_name(name, pool_id, &replica)) {
        (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                      "a handoff's name is <pool>.<replica>.json, as far-70b.0.json");
        return NULL;
    }
    if (folder->n_files >= FILES_MAX) {
        (void)pm_fail(err, POOLMGR_E_TOO_LARGE, "there are more than %d handoffs", FILES_MAX);
        return NULL;
    }
    return file_new(folder, name, pool_id, replica);
}

/* Once, however often it is looked at. */
static void tell_unread(struct pm_handoff_folder *folder, const char *name, struct file *file,
                        const struct poolmgr_error *error)
{
    if (file && file->unread && strcmp(file->unread, error->message) == 0)
        return;
    if (file) {
        free(file->unread);
        file->unread = pm_xstrdup(error->message);
    }
    pm_handoff_tell_refused(folder->manager, name, error);
}

static void look(struct pm_handoff_folder *folder, const char *name)
{
    pm_auto_free char *content = NULL;
    struct poolmgr_error err = {0};
    struct file *file;

    if (!is_of_interest(name))
        return;
    file = find_or_add(folder, name, &err);
    if (file)
        file->seen = true;
    if (!file || read_content(folder, name, &content, &err) < 0) {
        if (err.code != POOLMGR_E_NOT_FOUND)
            tell_unread(folder, name, file, &err);
        else if (file)
            vanish(file);
        return;
    }
    free(pm_take(file->unread));
    if (file->content && strcmp(file->content, content) == 0)
        return;
    free(file->content);
    file->content = pm_take(content);
    hand_over(file);
}

static void look_at_all(struct pm_handoff_folder *folder)
{
    struct pm_link *link, *after;
    DIR *dir = opendir(folder->path);
    struct dirent *entry;

    pm_list_each (&folder->files, link)
        pm_container_of(link, struct file, link)->seen = false;
    while (dir && (entry = readdir(dir)))
        look(folder, entry->d_name);
    if (dir)
        (void)closedir(dir);
    pm_list_each_safe (&folder->files, link, after) {
        struct file *file = pm_container_of(link, struct file, link);

        if (!file->seen)
            vanish(file);
    }
}

/* ---- being told ------------------------------------------------------------------------------------- */

/* A file that is open for writing is not looked at before it is closed; of a link, and of what is no file, IN_CREATE is
 * all that comes. */
static bool is_whole(const struct pm_handoff_folder *folder, const struct inotify_event *event)
{
    pm_auto_free char *path = NULL;
    struct stat status;

    if ((event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0)
        return true;
    path = pm_xasprintf("%s/%s", folder->path, event->name);
    return lstat(path, &status) == 0 && (!S_ISREG(status.st_mode) || status.st_nlink > 1);
}

static void take_event(struct pm_handoff_folder *folder, const struct inotify_event *event)
{
    struct file *file = event->len > 0 ? find(folder, event->name) : NULL;

    if ((event->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF)) != 0)
        look_at_all(folder);
    else if ((event->mask & (IN_MOVED_FROM | IN_DELETE)) != 0 && file)
        look(folder, event->name); /* gone, unless another took its name meanwhile */
    else if (event->len > 0 && (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE)) != 0 &&
             is_whole(folder, event))
        look(folder, event->name);
}

static void on_events(struct pm_watch *watch, uint32_t events)
{
    struct pm_handoff_folder *folder = pm_container_of(watch, struct pm_handoff_folder, watch);
    char buffer[16 * 1024] __attribute__((__aligned__(__alignof__(struct inotify_event))));
    ssize_t n = read(folder->fd, buffer, sizeof buffer);
    const char *at;

    (void)events;
    for (at = buffer; n > 0 && at < buffer + n;) {
        const struct inotify_event *event = (const void *)at;

        take_event(folder, event);
        at += sizeof *event + event->len;
    }
}

/* ---- life ------------------------------------------------------------------------------------------- */

static int watch_folder(struct pm_handoff_folder *folder, struct poolmgr_error *err)
{
    int r;

    r = pm_make_folders(folder->path, 0700, err);
    if (r < 0)
        return r;
    r = pm_check_private("handoff_dir", folder->path, err);
    if (r < 0)
        return r;

    folder->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (folder->fd < 0 || inotify_add_watch(folder->fd, folder->path, CHANGES) < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "handoff_dir %s cannot be watched",
                             folder->path);
    return pm_watch_add(folder->manager->loop, &folder->watch, folder->fd, EPOLLIN, on_events);
}

int pm_handoff_folder_new(struct pm_manager *manager, struct pm_handoff_folder **ret,
                          struct poolmgr_error *err)
{
    const char *path = manager->config->handoff_dir;
    struct pm_handoff_folder *folder;
    int r;

    if (!path || path[0] == '\0')
        return POOLMGR_OK;

    folder = pm_xalloc(sizeof *folder);
    folder->manager = manager;
    folder->path = path;
    folder->fd = -1;
    folder->retry.fn = on_retry;
    pm_list_init(&folder->files);
    r = watch_folder(folder, err);
    if (r < 0) {
        pm_handoff_folder_free(folder);
        return r;
    }

    *ret = folder;
    return POOLMGR_OK;
}

void pm_handoff_folder_begin(struct pm_handoff_folder *folder)
{
    if (folder)
        look_at_all(folder);
}

void pm_handoff_folder_free(struct pm_handoff_folder *folder)
{
    struct pm_link *link;

    if (!folder)
        return;

    pm_watch_remove(&folder->watch);
    pm_timer_clear(&folder->retry);
    while ((link = pm_list_first(&folder->files)))
        file_free(pm_container_of(link, struct file, link));
    if (folder->fd >= 0)
        (void)close(folder->fd);
    free(folder);
}
