/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the runtime folder when a daemon starts. A process that names a folder below ours in its environment,
 * and whose folder's lock is free, is a stray of a shim that was killed: it is killed first, also when the folder is
 * gone. Then every folder is looked at: is its lock held, what was started, how did it end.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "proc/cgroup.h"
#include "proc/folder.h"
#include "proc/process.h"
#include "proc/tree.h"
#include "util/cleanup.h"

struct scan {
    const char *instances_dir;
    void (*fn)(void *ctx, const struct pm_found_instance *found);
    void (*stray)(void *ctx, const char *instance, pid_t pid);
    void *ctx;
    const char *stray_name; /* of the folder whose strays are being killed */
};

/* "tiny.3" → "tiny" and 3. */
static bool split_name(const char *name, struct pm_found_instance *found)
{
    const char *dot = strrchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : 0;

    if (n == 0 || n >= sizeof found->pool_id || !pm_parse_u64(dot + 1, &found->instance))
        return false;

    memcpy(found->pool_id, name, n);
    found->pool_id[n] = '\0';
    return pm_pool_id_valid(found->pool_id);
}

static void look_at(struct scan *scan, const char *name)
{
    pm_auto_free char *folder = pm_xasprintf("%s/%s", scan->instances_dir, name);
    struct pm_found_instance found = {0};
    struct pm_shim_spec spec = {0};
    pid_t holder;

    if (!split_name(name, &found))
        return;

    holder = pm_lock_holder(folder);
    found.locked = holder != 0;
    if (!found.locked)
        (void)pm_cgroup_kill(folder);
    found.shim_pid = holder > 0 ? holder : 0;
    if (pm_spec_read(folder, &spec, NULL) == 0) {
        found.replica = spec.replica;
        found.started_ms = spec.started_ms;
        found.meta = spec.meta;
    }
    found.has_exit = pm_exit_read(folder, &found.exit);
    scan->fn(scan->ctx, &found);
    free(found.exit.log_tail);
    pm_shim_spec_fini(&spec);
}

static void tell_stray(void *ctx, pid_t pid)
{
    struct scan *scan = ctx;

    scan->stray(scan->ctx, scan->stray_name, pid);
}

static void look_for_stray(void *ctx, pid_t pid)
{
    struct scan *scan = ctx;
    char folder[4096];
    size_t n = strlen(scan->instances_dir);

    if (!pm_process_variable(pid, PM_FOLDER_VARIABLE, folder, sizeof folder) ||
        strncmp(folder, scan->instances_dir, n) != 0 || folder[n] != '/' ||
        pm_lock_holder(folder) != 0)
        return;

    scan->stray_name = folder + n + 1;
    (void)pm_kill_by_folder(folder, tell_stray, scan);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Of two that a reload left behind the newer one is told first: what it replaced is one too many. */
static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return versionsort(b, a);
}

int pm_process_scan(const char *instances_dir,
                    void (*fn)(void *ctx, const struct pm_found_instance *found),
                    void (*stray)(void *ctx, const char *instance, pid_t pid), void *ctx,
                    struct poolmgr_error *err)
{
    struct scan scan = {.instances_dir = instances_dir, .fn = fn, .stray = stray, .ctx = ctx};
    struct dirent **entries = NULL;
    int i, n = scandir(instances_dir, &entries, is_visible, newest_first);

    if (n < 0)
        return pm_fail(err, POOLMGR_E_INTERNAL, "%s: %m", instances_dir);

    /* Strays go first: a folder without its strays is over, and may be removed by whoever is told of it. */
    pm_each_process(look_for_stray, &scan);
    for (i = 0; i < n; i++) {
        look_at(&scan, entries[i]->d_name);
        free(entries[i]);
    }

    free(entries);
    return POOLMGR_OK;
}
