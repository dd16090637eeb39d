/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instance's folder is the only truth about what runs: the lock says whether its shim lives (the kernel keeps
 * it, so that no kill can leave it behind), spec.json what was started, exit.json how it ended. All are small, and
 * written beside their place and renamed, so that half of one is never read.
 */
#include "proc/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"

void pm_shim_spec_fini(struct pm_shim_spec *spec)
{
    pm_strv_fini(&spec->argv);
    pm_strv_fini(&spec->env);
    free(spec->log_path);
    free(spec->ready_line);
    free(spec->meta);
}

/* Any bytes as JSON text: what is no UTF-8 is shown as '?'. */
static json_t *any_text(const char *text)
{
    pm_auto_free char *safe = pm_xstrdup(text);
    char *at;

    if (!pm_utf8_valid(safe, strlen(safe)))
        for (at = safe; *at; at++)
            if ((unsigned char)*at >= 0x80)
                *at = '?';

    return json_string(safe);
}

static json_t *list_of(const char *const *items)
{
    json_t *list = json_array();

    for (; *items; items++)
        json_array_append_new(list, any_text(*items));

    return list;
}

static int write_json(const char *folder, const char *name, json_t *json, struct poolmgr_error *err)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", folder, name);
    pm_auto_free char *text = json_dumps(json, JSON_INDENT(1));

    if (!text)
        return pm_fail(err, POOLMGR_E_INTERNAL, "%s cannot be written as JSON", path);

    return pm_write_file(path, text, strlen(text), 0600, false, err);
}

static json_t *read_json(const char *folder, const char *name, size_t max_bytes,
                         struct poolmgr_error *err)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", folder, name);
    pm_auto_free char *text = NULL;
    json_error_t where;
    json_t *json;
    size_t n;

    if (pm_read_file(path, max_bytes, &text, &n, err) < 0)
        return NULL;

    json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        (void)pm_fail(err, POOLMGR_E_INTERNAL, "%s:%d:%d: %s", path, where.line, where.column,
                      where.text);
    return json;
}

int pm_spec_write(const char *folder, const struct pm_launch *launch, uint64_t started_ms,
                  struct poolmgr_error *err)
{
    json_t *spec = json_pack(
        "{s:i, s:s, s:i, s:I, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:b}", "version", 1, "pool",
        launch->pool_id, "replica", (int)launch->replica, "instance", (json_int_t)launch->instance,
        "argv", list_of(launch->argv), "env", list_of(launch->env), "log_path", launch->log_path,
        "log_max_bytes", (json_int_t)launch->log_max_bytes, "log_files",
        (json_int_t)launch->log_files, "orphan_timeout_ms", (json_int_t)launch->orphan_timeout_ms,
        "started_ms", (json_int_t)started_ms, "core_dumps", launch->core_dumps);
    json_t *meta = launch->meta ? json_loads(launch->meta, JSON_REJECT_DUPLICATES, NULL) : NULL;
    int r;

    if (!spec)
        return pm_fail(err, POOLMGR_E_INTERNAL, "%s: a text of the launch is no UTF-8",
                       launch->pool_id);

    if (launch->ready_line)
        json_object_set_new(spec, "ready_line", json_string(launch->ready_line));
    if (meta)
        json_object_set_new(spec, "meta", meta);

    r = write_json(folder, "spec.json", spec, err);
    json_decref(spec);
    return r;
}

static void copy_list(json_t *list, struct pm_strv *to)
{
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item) if (json_is_string(item))
        pm_strv_add(to, json_string_value(item));
}

static uint64_t number_of(json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

int pm_spec_read(const char *folder, struct pm_shim_spec *ret, struct poolmgr_error *err)
{
    json_t *spec = read_json(folder, "spec.json", PM_SPEC_MAX_BYTES, err), *meta;

    if (!spec)
        return POOLMGR_E_INTERNAL;

    copy_list(json_object_get(spec, "argv"), &ret->argv);
    copy_list(json_object_get(spec, "env"), &ret->env);
    ret->log_path = pm_xstrdup(json_string_value(json_object_get(spec, "log_path")));
    ret->ready_line = pm_xstrdup(json_string_value(json_object_get(spec, "ready_line")));
    meta = json_object_get(spec, "meta");
    ret->meta = meta ? json_dumps(meta, JSON_COMPACT) : NULL;
    ret->log_max_bytes = number_of(spec, "log_max_bytes");
    ret->log_files = number_of(spec, "log_files");
    ret->orphan_timeout_ms = number_of(spec, "orphan_timeout_ms");
    ret->started_ms = number_of(spec, "started_ms");
    ret->replica = (unsigned)number_of(spec, "replica");
    ret->core_dumps = json_is_true(json_object_get(spec, "core_dumps"));
    json_decref(spec);

    if (ret->argv.n == 0 || !ret->log_path)
        return pm_fail(err, POOLMGR_E_INTERNAL, "%s/spec.json is not whole", folder);

    return POOLMGR_OK;
}

int pm_exit_write(const char *folder, const struct pm_process_exit *how, struct poolmgr_error *err)
{
    json_t *json =
        json_pack("{s:b, s:i, s:b, s:b, s:o}", "signalled", how->signalled, "status", how->status,
                  "sigkill_by_us", how->sigkill_by_us, "oom_kill", how->oom_kill, "log_tail",
                  any_text(how->log_tail ? how->log_tail : ""));
    int r = write_json(folder, "exit.json", json, err);

    json_decref(json);
    return r;
}

bool pm_exit_read(const char *folder, struct pm_process_exit *ret)
{
    json_t *json = read_json(folder, "exit.json", PM_EXIT_MAX_BYTES, NULL), *tail;

    if (!json)
        return false;

    ret->signalled = json_is_true(json_object_get(json, "signalled"));
    ret->status = (int)json_integer_value(json_object_get(json, "status"));
    ret->sigkill_by_us = json_is_true(json_object_get(json, "sigkill_by_us"));
    ret->oom_kill = json_is_true(json_object_get(json, "oom_kill"));
    tail = json_object_get(json, "log_tail");
    ret->log_tail = pm_xstrdup(json_is_string(tail) ? json_string_value(tail) : "");
    json_decref(json);
    return true;
}

static int open_lock(const char *folder, int flags)
{
    pm_auto_free char *path = pm_xasprintf("%s/lock", folder);

    return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

pid_t pm_lock_holder(const char *folder)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    pm_auto_close int fd = open_lock(folder, 0);

    if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;

    return lock.l_pid > 0 ? lock.l_pid : -1; /* -1: held, by somebody of another pid namespace */
}

int pm_lock_take(const char *folder)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    pm_auto_close int fd = open_lock(folder, O_CREAT);

    if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0)
        return -1;

    return pm_take_fd(&fd);
}
