/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a former daemon left behind. An engine whose pool still wants it as it is, is adopted: from then on nothing
 * tells it from one we started. An engine of a pool that is gone, or that was changed, is a stranger: it is stopped
 * by the usual ladder, and nothing waits for it. Folders of instances that ended are told about and removed.
 */
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "manager/internal.h"
#include "util/cleanup.h"

#define STRANGER_GRACE_MS 10000 /* half of it to a second SIGTERM, all of it to SIGKILL */

/* ---- meta: what the next daemon must know of an instance ---------------------------------------------- */

static void hash_text(uint64_t *hash, const char *text)
{
    /* FNV-1a; the NUL is hashed too, so that "a","b" is not "ab". */
    do {
        *hash = (*hash ^ (unsigned char)(text ? *text : '\0')) * UINT64_C(0x100000001b3);
    } while (text && *text++);
}

static void hash_list(uint64_t *hash, const struct pm_strv *list)
{
    size_t i;

    for (i = 0; i < list->n; i++)
        hash_text(hash, list->items[i]);
    hash_text(hash, "\n");
}

static void hash_number(uint64_t *hash, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    hash_text(hash, text);
}

/* Of all that an engine is started with: equal hashes need no other engine. */
static void spec_hash(const struct pm_engine_spec *engine, const struct pm_pool_spec *spec,
                      char to[17])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    hash_text(&hash, engine->name);
    hash_number(&hash, engine->family);
    hash_text(&hash, engine->path);
    hash_number(&hash, engine->transport);
    hash_list(&hash, &engine->argv);
    hash_list(&hash, &engine->args);
    hash_list(&hash, &engine->env.names);
    hash_list(&hash, &engine->env.values);
    hash_text(&hash, spec->model.main);
    hash_text(&hash, spec->model.mmproj);
    hash_text(&hash, spec->model.draft);
    hash_list(&hash, &spec->model.lora);
    hash_text(&hash, spec->devices);
    if (strcmp(spec->tensor_split, "none") != 0) /* the hash of all others stays as it was */
        hash_text(&hash, spec->tensor_split);
    hash_number(&hash, spec->n_slots);
    hash_number(&hash, spec->context);
    hash_list(&hash, &spec->args);
    hash_list(&hash, &spec->env.names);
    hash_list(&hash, &spec->env.values);
    (void)snprintf(to, 17, "%016" PRIx64, hash);
}

static json_t *plan_json(const struct pm_plan *plan)
{
    json_t *devices = json_array();

    for (size_t i = 0; i < plan->n_devices; i++)
        (void)json_array_append_new(devices,
                                    json_pack("{s:s, s:I, s:I, s:i}", "id", plan->devices[i].id,
                                              "bytes", (json_int_t)plan->devices[i].bytes, "mapped",
                                              (json_int_t)plan->devices[i].mapped_bytes, "layers",
                                              (int)plan->devices[i].n_layers));
    return devices;
}

/* False: it says nothing of devices, or nothing that can be read. */
static bool plan_read(const json_t *meta, struct pm_plan *ret)
{
    const json_t *devices = json_object_get(meta, "devices");

    for (size_t i = 0; i < json_array_size(devices) && i < PM_SHARES_MAX; i++) {
        const json_t *device = json_array_get(devices, i);
        const char *id = json_string_value(json_object_get(device, "id"));
        json_int_t bytes = json_integer_value(json_object_get(device, "bytes"));
        json_int_t mapped = json_integer_value(json_object_get(device, "mapped"));
        json_int_t layers = json_integer_value(json_object_get(device, "layers"));

        if (!id || bytes < 0 || mapped < 0 || mapped > bytes || layers < 0 ||
            layers > PM_MODEL_LAYERS_MAX + 1 ||
            !pm_str_copy(ret->devices[i].id, sizeof ret->devices[i].id, id))
            return false;
        ret->devices[i].bytes = (uint64_t)bytes;
        ret->devices[i].mapped_bytes = (uint64_t)mapped;
        ret->on_cpu = strcmp(id, PM_CPU_ID) == 0;
        ret->devices[i].n_layers = (unsigned)layers;
        ret->n_layers += (unsigned)layers;
        ret->n_devices++;
    }
    return ret->n_devices > 0;
}

char *pm_meta_write(const struct pm_engine_spec *engine, const struct pm_pool_spec *spec,
                    const struct pm_engine_command *command, const struct pm_plan *plan,
                    const struct pm_log_mark *log)
{
    char hash[17];
    json_t *meta;
    char *text;

    spec_hash(engine, spec, hash);
    meta = json_pack("{s:i, s:s, s:s, s:s, s:s}", "version", 1, "endpoint", command->endpoint,
                     "api_key", command->api_key, "engine", engine->name, "spec", hash);
    if (plan)
        (void)json_object_set_new(meta, "devices", plan_json(plan));
    (void)json_object_set_new(
        meta, "log",
        json_pack("{s:I, s:I}", "from", (json_int_t)log->from, "inode", (json_int_t)log->inode));
    text = json_dumps(meta, JSON_COMPACT);
    json_decref(meta);
    return text;
}

/* False: an older version of this program did not say where its part of the log begins. */
static bool log_read(const char *text, struct pm_log_mark *ret)
{
    json_t *meta = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_int_t from = -1, inode = 0;
    bool there =
        meta && json_unpack(meta, "{s:{s:I, s:I}}", "log", "from", &from, "inode", &inode) == 0;

    json_decref(meta);
    *ret = (struct pm_log_mark){.from = (uint64_t)from, .inode = (uint64_t)inode};
    return there && from >= 0;
}

/* Both values of an instance that can be adopted; false: it was started with another specification, or by a
 * version of this program that wrote other things. */
static bool meta_read(const char *text, const struct pm_engine_spec *engine,
                      const struct pm_pool_spec *spec, struct pm_instance *instance,
                      struct pm_plan *ret_plan)
{
    json_t *meta = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *endpoint = NULL, *api_key = NULL, *hash = NULL;
    int version = 0;
    char ours[17];
    bool same;

    spec_hash(engine, spec, ours);
    same = meta &&
           json_unpack(meta, "{s:i, s:s, s:s, s:s}", "version", &version, "endpoint", &endpoint,
                       "api_key", &api_key, "spec", &hash) == 0 &&
           version == 1 && strcmp(hash, ours) == 0 &&
           pm_str_copy(instance->endpoint, sizeof instance->endpoint, endpoint) &&
           pm_str_copy(instance->api_key, sizeof instance->api_key, api_key);
    if (!same || !plan_read(meta, ret_plan))
        ret_plan->n_devices = 0;
    json_decref(meta);
    return same;
}

/* ---- strangers -------------------------------------------------------------------------------------- */

struct stranger {
    struct pm_link link;
    struct pm_manager *manager;
    struct pm_process *process;
    struct pm_timer timer;
    char pool_id[PM_ID_MAX + 1];
    uint64_t number;
    bool signalled_twice;
};

static void stranger_free(struct stranger *stranger)
{
    pm_timer_clear(&stranger->timer);
    pm_list_remove(&stranger->link);
    free(stranger);
}

static void stranger_ignore_spawned(void *ctx, pid_t pid)
{
    (void)ctx;
    (void)pid;
}

static void stranger_ignore_failed(void *ctx, bool missing, const char *text)
{
    (void)ctx;
    (void)missing;
    (void)text;
}

static void stranger_ignore_line(void *ctx)
{
    (void)ctx;
}

static void stranger_ignore_log(void *ctx, uint64_t n_bytes)
{
    (void)ctx;
    (void)n_bytes;
}

static void stranger_exited(void *ctx, const struct pm_process_exit *how)
{
    struct stranger *stranger = ctx;

    (void)how;
    pm_process_kill(stranger->process); /* what it left running */
}

static void stranger_childless(void *ctx)
{
    struct stranger *stranger = ctx;

    pm_process_forget(stranger->manager->instances_dir, stranger->pool_id, stranger->number);
    stranger_free(stranger);
}

static const struct pm_process_handler stranger_handler = {
    .on_spawned = stranger_ignore_spawned,
    .on_spawn_failed = stranger_ignore_failed,
    .on_ready_line = stranger_ignore_line,
    .on_log = stranger_ignore_log,
    .on_exited = stranger_exited,
    .on_childless = stranger_childless,
};

static void on_stranger_grace(struct pm_timer *timer)
{
    struct stranger *stranger = pm_container_of(timer, struct stranger, timer);

    if (stranger->signalled_twice)
        pm_process_kill(stranger->process);
    else
        pm_process_signal(stranger->process, SIGTERM);
    stranger->signalled_twice = true;
    pm_timer_set(stranger->manager->loop, timer,
                 pm_manager_now(stranger->manager) + STRANGER_GRACE_MS / 2);
}

static void tell(struct pm_manager *manager, enum pm_event_kind kind,
                 const struct pm_found_instance *found, const char *human)
{
    struct pm_event event;

    pm_event_init(&event, kind, found->pool_id);
    pm_event_pool(&event, found->pool_id);
    pm_event_replica(&event, found->replica, found->instance);
    pm_event_human(&event, "%s.%" PRIu64 " %s", found->pool_id, found->instance, human);
    pm_sink_tell(manager->sink, &event);
}

static void stop_stranger(struct pm_manager *manager, const struct pm_found_instance *found,
                          const char *why)
{
    struct stranger *stranger = pm_xalloc(sizeof *stranger);
    struct poolmgr_error err = {0};

    stranger->manager = manager;
    stranger->number = found->instance;
    stranger->timer.fn = on_stranger_grace;
    (void)pm_str_copy(stranger->pool_id, sizeof stranger->pool_id, found->pool_id);
    if (pm_process_adopt(manager->loop, manager->instances_dir, found->pool_id, found->instance,
                         &stranger_handler, stranger, &stranger->process, &err) < 0) {
        tell(manager, PM_EV_INSTANCE_STOPPING, found, err.message);
        free(stranger);
        return;
    }

    pm_list_append(&manager->strangers, &stranger->link);
    tell(manager, PM_EV_INSTANCE_STOPPING, found, why);
    pm_process_signal(stranger->process, SIGTERM);
    pm_timer_set(manager->loop, &stranger->timer, pm_manager_now(manager) + STRANGER_GRACE_MS / 2);
}

void pm_strangers_free(struct pm_manager *manager)
{
    struct pm_link *link;

    while ((link = pm_list_first(&manager->strangers))) {
        struct stranger *stranger = pm_container_of(link, struct stranger, link);

        pm_process_release(stranger->process);
        stranger_free(stranger);
    }
}

/* ---- what is found ---------------------------------------------------------------------------------- */

static void ended_meanwhile(struct pm_manager *manager, const struct pm_found_instance *found)
{
    bool clean = found->has_exit && (found->exit.status == 0 || found->exit.sigkill_by_us ||
                                     (found->exit.signalled && found->exit.status == SIGTERM));

    tell(manager, clean ? PM_EV_INSTANCE_STOPPED : PM_EV_INSTANCE_CRASHED, found,
         clean ? "had ended while no daemon was there"
               : (found->has_exit ? "died while no daemon was there"
                                  : "and its shim died while no daemon was there"));
    pm_process_forget(manager->instances_dir, found->pool_id, found->instance);
}

/* What it said since it began tells where it runs, and what it takes. */
static void find_log(struct pm_instance *instance, const char *meta)
{
    struct pm_log_mark log;
    char path[PATH_MAX];

    pm_manager_log_path(instance->manager, instance->spec->id, instance->replica, path,
                        sizeof path);
    if (!instance->plan.on_cpu && instance->plan.n_devices > 0 && log_read(meta, &log) &&
        pm_log_mark_holds(&log, path))
        instance->measure =
            pm_measure_new(instance->manager, instance->token, &instance->plan, path, log.from);
}

static bool try_adopt(struct pm_manager *manager, const struct pm_found_instance *found,
                      const char **ret_why)
{
    uint64_t now_ms = pm_manager_now(manager);
    struct pm_instance *instance;
    struct pm_pool_view view;
    struct poolmgr_error err = {0};
    struct pm_token token;
    struct pm_instance probe = {0};
    struct pm_plan plan = {0};

    *ret_why = "is of no pool any more and is stopped";
    if (!pm_core_pool(manager->core, found->pool_id, now_ms, &view))
        return false;

    *ret_why = "was started with other settings and is stopped";
    if (!meta_read(found->meta, view.spec->runs, view.spec, &probe, &plan))
        return false;

    *ret_why = "is one too many and is stopped";
    if (pm_core_adopt(manager->core, found->pool_id, found->replica, found->instance,
                      (int)found->pid, found->started_ms, now_ms, &manager->actions, &token,
                      &err) < 0)
        return false;

    if (plan.n_devices > 0)
        pm_core_adopted_on(manager->core, token, &plan, now_ms, &manager->actions);
    instance = pm_instance_new(manager, token, (struct pm_pool_spec *)view.spec, found->replica,
                               found->instance);
    instance->plan = plan;
    find_log(instance, found->meta);
    memcpy(instance->endpoint, probe.endpoint, sizeof instance->endpoint);
    memcpy(instance->api_key, probe.api_key, sizeof instance->api_key);
    if (pm_process_adopt(manager->loop, manager->instances_dir, found->pool_id, found->instance,
                         &pm_instance_handler, instance, &instance->process, &err) < 0) {
        struct pm_exit gone = {.status = -1};

        (void)pm_str_copy(gone.evidence.text, sizeof gone.evidence.text, err.message);
        gone.evidence.class = PM_CLASS_KILLED;
        pm_core_engine_exited(manager->core, token, &gone, now_ms, &manager->actions);
        pm_core_childless(manager->core, token, now_ms, &manager->actions);
    }

    return true;
}

static void on_found(void *ctx, const struct pm_found_instance *found)
{
    struct pm_manager *manager = ctx;
    const char *why;

    pm_core_seen_instance(manager->core, found->pool_id, found->instance);
    if (!found->locked)
        ended_meanwhile(manager, found);
    else if (!try_adopt(manager, found, &why))
        stop_stranger(manager, found, why);
}

static void on_stray(void *ctx, const char *instance, pid_t pid)
{
    struct pm_manager *manager = ctx;
    struct pm_event event;

    pm_event_init(&event, PM_EV_STRAY_KILLED, instance);
    event.pid = (int)pid;
    event.fields |= PM_EF_PID;
    pm_event_human(&event, "kills process %d, left over from %s", (int)pid, instance);
    pm_sink_tell(manager->sink, &event);
}

int pm_adopt_all(struct pm_manager *manager, struct poolmgr_error *err)
{
    return pm_process_scan(manager->instances_dir, on_found, on_stray, manager, err);
}
