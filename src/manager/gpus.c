/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pool-probe sees, as inputs of core: which devices there are and in what state, who uses how much of their
 * memory, what their driver complains about. Core judges; here is only found out whose a process is, which instance of
 * a GPU an error means, and when it is worth looking often: while an engine loads, and while one that ended gives its
 * memory back.
 */
#include <string.h>

#include "gpu/host.h"
#include "gpu/probe.h"
#include "gpu/xid.h"
#include "manager/internal.h"
#include "proc/tree.h"
#include "util/cleanup.h"

#define OWN_STOP_MS   (10 * 1000) /* an XID 45 so long after a signal of ours is its echo */
#define ANCESTORS_MAX 64

/* What is remembered of a GPU between its errors. */
struct gpu_past {
    struct pm_link link;
    char id[PM_DEVICE_ID_MAX + 1];
    struct pm_xid_memory xids;
};

struct pm_gpu_watch {
    struct pm_manager *manager;
    struct pm_probe *probe;
    struct pm_list pasts;
    unsigned n_minded;    /* engines whose memory comes or goes */
    bool reserve_is_read; /* what is wrong with `reserve` of this configuration was told */
};

static const struct pm_gpu_snapshot *last(const struct pm_gpu_watch *gpus)
{
    return pm_probe_last(gpus->probe);
}

/* ---- which there are -------------------------------------------------------------------------------- */

static const char *library_of(const struct pm_manager *manager)
{
    const char *nvml = manager->config->devices.nvml;

    return nvml && strchr(nvml, '/') ? nvml : "";
}

static enum pm_gpus what_there_is(const struct pm_gpu_watch *gpus,
                                  const struct pm_gpu_snapshot *snapshot)
{
    struct pm_gpu_hardware hardware;

    if (snapshot->n > 0)
        return PM_GPUS_UNKNOWN; /* the list says it all */
    pm_gpu_hardware(NULL, &hardware);
    if (hardware.n[PM_VENDOR_NVIDIA] > 0 ||
        (snapshot->node != PM_NODE_NONE && *library_of(gpus->manager)))
        return PM_GPUS_BROKEN;
    return hardware.n[PM_VENDOR_AMD] + hardware.n[PM_VENDOR_INTEL] > 0 ? PM_GPUS_OTHER
                                                                       : PM_GPUS_NONE;
}

/* One whose name nobody could read yet is no device that could be known again. */
static void list(struct pm_gpu_watch *gpus, const struct pm_gpu_snapshot *snapshot)
{
    struct pm_manager *manager = gpus->manager;
    pm_auto_free struct pm_device *devices = pm_xalloc((snapshot->n + 1) * sizeof *devices);
    pm_auto_free struct pm_gpu *seen = pm_xalloc((snapshot->n + 1) * sizeof *seen);
    size_t n = 0;

    for (size_t i = 0; i < snapshot->n; i++)
        seen[i] = snapshot->gpus[i].is;
    for (size_t i = 0; i < snapshot->n; i++) {
        const struct pm_gpu_seen *gpu = &snapshot->gpus[i];

        if (pm_gpu_is_nameless(gpu->is.id))
            continue;
        memcpy(devices[n].id, gpu->is.id, sizeof devices[n].id);
        devices[n].is_gpu = gpu->is;
        devices[n].total_bytes = gpu->total_bytes;
        devices[n].driver_bytes = gpu->driver_bytes;
        devices[n].reserve_bytes =
            pm_reserve_of(&manager->config->devices.reserve, seen, snapshot->n, i);
        devices[n].free_known = gpu->free_known;
        devices[n].free_bytes = gpu->free_bytes;
        devices[n].seen_ms = pm_probe_seen_ms(gpus->probe);
        devices[n++].state = gpu->state;
    }
    pm_core_gpus(manager->core, what_there_is(gpus, snapshot), snapshot->text,
                 pm_manager_now(manager), &manager->actions);
    pm_core_devices(manager->core, devices, n, pm_manager_now(manager), &manager->actions);
    if (n > 0 && !gpus->reserve_is_read)
        pm_reserve_check(manager, seen, snapshot->n);
    gpus->reserve_is_read = n > 0;
}

/* ---- whose memory it is ----------------------------------------------------------------------------- */

static bool runs_on(const struct pm_instance *instance, const char *device)
{
    for (size_t i = 0; i < instance->plan.n_devices; i++) {
        if (strcmp(instance->plan.devices[i].id, device) == 0)
            return true;
    }
    return false;
}

static bool is_of(const struct pm_instance *instance, pid_t pid)
{
    for (size_t i = 0; i < instance->n_users; i++) {
        if (instance->users[i] == pid)
            return true;
    }
    return instance->pid > 0 && (pid == instance->pid || pid == instance->shim_pid);
}

/* So that it is known when its tree is dead, and the driver still lists it. */
static void remember(struct pm_instance *instance, pid_t pid)
{
    if (!is_of(instance, pid) && instance->n_users < PM_ARRAY_LEN(instance->users))
        instance->users[instance->n_users++] = pid;
}

/* The engine to whose tree a process belongs; NULL: none of ours. */
static struct pm_instance *owner_of(const struct pm_manager *manager, pid_t pid)
{
    struct pm_link *link;
    struct pm_stat stat;
    pid_t at = pid;

    for (unsigned depth = 0; at > 1 && depth < ANCESTORS_MAX; depth++) {
        pm_list_each (&manager->instances, link) {
            struct pm_instance *instance = pm_container_of(link, struct pm_instance, link);

            if (!is_of(instance, at))
                continue;
            remember(instance, pid);
            return instance;
        }
        if (!pm_stat_read(at, &stat))
            return NULL;
        at = stat.parent;
    }
    return NULL;
}

/* What one engine uses of the device, or (`of` NULL) what is nobody's of ours. False: it is not listed, or not how much. */
static bool usage_of(const struct pm_gpu_seen *gpu, struct pm_instance *const *owners,
                     const struct pm_instance *of, uint64_t *ret)
{
    bool known = false;

    *ret = 0;
    for (size_t i = 0; i < gpu->n_processes; i++) {
        if (owners[i] != of || !gpu->processes[i].bytes_known)
            continue;
        known = true;
        *ret += gpu->processes[i].bytes;
    }
    return known;
}

static void tell_usage(struct pm_gpu_watch *gpus, const struct pm_gpu_seen *gpu)
{
    struct pm_manager *manager = gpus->manager;
    pm_auto_free struct pm_instance **owners = pm_xalloc((gpu->n_processes + 1) * sizeof *owners);
    uint64_t now_ms = pm_manager_now(manager), seen_ms = pm_probe_seen_ms(gpus->probe), bytes;
    struct pm_link *link;

    for (size_t i = 0; i < gpu->n_processes; i++)
        owners[i] = owner_of(manager, gpu->processes[i].pid);
    pm_list_each (&manager->instances, link) {
        struct pm_instance *instance = pm_container_of(link, struct pm_instance, link);

        if (runs_on(instance, gpu->is.id) &&
            (usage_of(gpu, owners, instance, &bytes) || gpu->processes_complete))
            pm_core_device_seen(manager->core, instance->token, gpu->is.id, bytes, seen_ms, now_ms,
                                &manager->actions);
    }
    (void)usage_of(gpu, owners, NULL, &bytes);
    pm_core_device_foreign(manager->core, gpu->is.id, bytes, now_ms, &manager->actions);
    pm_core_device_free(manager->core, gpu->is.id, gpu->free_bytes, gpu->processes_complete,
                        seen_ms, now_ms, &manager->actions);
}

static void tell_all_usage(struct pm_gpu_watch *gpus)
{
    const struct pm_gpu_snapshot *snapshot = last(gpus);

    for (size_t i = 0; snapshot && i < snapshot->n; i++) {
        if (snapshot->gpus[i].free_known)
            tell_usage(gpus, &snapshot->gpus[i]);
    }
}

/* ---- errors ----------------------------------------------------------------------------------------- */

/* The device that an event means: an instance of its GPU, or the GPU. */
static const char *device_of(const struct pm_gpu_watch *gpus, const struct pm_gpu_event *event)
{
    const struct pm_gpu_snapshot *snapshot = last(gpus);
    const struct pm_gpu_seen *parent = snapshot ? pm_gpu_find(snapshot, event->id) : NULL;

    for (size_t i = 0; parent && event->gi >= 0 && i < snapshot->n; i++) {
        const struct pm_gpu *is = &snapshot->gpus[i].is;

        if (is->slot >= 0 && strcmp(is->pci, parent->is.pci) == 0 && is->gi == event->gi &&
            (event->ci < 0 || is->ci == event->ci))
            return is->id;
    }
    return event->id;
}

static bool we_stopped_one(const struct pm_gpu_watch *gpus, const char *device)
{
    uint64_t now_ms = pm_manager_now(gpus->manager);
    struct pm_link *link;

    pm_list_each (&gpus->manager->instances, link) {
        const struct pm_instance *instance = pm_container_of(link, struct pm_instance, link);

        if (instance->signalled_ms > 0 && now_ms - instance->signalled_ms <= OWN_STOP_MS &&
            runs_on(instance, device))
            return true;
    }
    return false;
}

static struct gpu_past *past_of(struct pm_gpu_watch *gpus, const char *id)
{
    struct gpu_past *past;
    struct pm_link *link;

    pm_list_each (&gpus->pasts, link) {
        past = pm_container_of(link, struct gpu_past, link);
        if (strcmp(past->id, id) == 0)
            return past;
    }
    past = pm_xalloc(sizeof *past);
    (void)pm_str_copy(past->id, sizeof past->id, id);
    pm_list_append(&gpus->pasts, &past->link);
    return past;
}

/* ---- what the probe says ---------------------------------------------------------------------------- */

static void on_snapshot(void *ctx, const struct pm_gpu_snapshot *snapshot)
{
    struct pm_gpu_watch *gpus = ctx;

    list(gpus, snapshot);
    tell_all_usage(gpus);
    pm_manager_flush(gpus->manager);
}

/* That nothing differs is news, too, to who waits for memory. */
static void on_looked(void *ctx)
{
    struct pm_gpu_watch *gpus = ctx;

    tell_all_usage(gpus);
    pm_manager_flush(gpus->manager);
}

static void on_event(void *ctx, const struct pm_gpu_event *event)
{
    struct pm_gpu_watch *gpus = ctx;
    struct pm_manager *manager = gpus->manager;
    uint64_t now_ms = pm_manager_now(manager);
    const char *device = device_of(gpus, event);
    struct pm_xid_verdict verdict;

    if (event->kind != PM_GPU_EVENT_XID)
        return; /* the look that follows tells what became of it */

    verdict = pm_xid_judge(event->xid, event->recovery, we_stopped_one(gpus, device), now_ms,
                           &past_of(gpus, event->id)->xids);
    pm_core_xid(manager->core, device, event->xid, verdict.action, verdict.known,
                (struct pm_token){0}, now_ms, &manager->actions);
    pm_manager_flush(manager);
}

static const struct pm_probe_handler handler = {
    .on_snapshot = on_snapshot,
    .on_looked = on_looked,
    .on_event = on_event,
};

/* ---- how often -------------------------------------------------------------------------------------- */

void pm_gpus_look(struct pm_manager *manager)
{
    if (manager->gpus)
        pm_probe_hurry(manager->gpus->probe, manager->gpus->n_minded > 0);
}

void pm_gpus_mind(struct pm_instance *instance)
{
    struct pm_gpu_watch *gpus = instance->manager->gpus;
    bool minds = instance->plan.n_devices > 0 && !instance->plan.on_cpu && !instance->let_go &&
                 (!instance->was_ready || instance->signalled_ms > 0 || instance->exited);

    if (!gpus || minds == instance->minded)
        return;
    instance->minded = minds;
    gpus->n_minded = minds ? gpus->n_minded + 1 : gpus->n_minded - 1;
    if (gpus->n_minded <= 1)
        pm_probe_hurry(gpus->probe, gpus->n_minded > 0);
}

/* ---- life ------------------------------------------------------------------------------------------- */

void pm_gpus_forgive(struct pm_gpu_watch *gpus)
{
    pm_probe_rest(gpus->probe, 0);
}

void pm_gpus_list(struct pm_gpu_watch *gpus)
{
    if (!last(gpus))
        return;
    gpus->reserve_is_read = false;
    list(gpus, last(gpus));
    tell_all_usage(gpus);
}

int pm_gpus_new(struct pm_manager *manager, struct pm_gpu_watch **ret, struct poolmgr_error *err)
{
    struct pm_probe_options options = {
        .program = manager->options.probe_path,
        .nvml = library_of(manager),
    };
    struct pm_gpu_watch *gpus = pm_xalloc(sizeof *gpus);
    int r;

    gpus->manager = manager;
    pm_list_init(&gpus->pasts);
    r = pm_probe_new(manager->loop, &options, &handler, gpus, &gpus->probe, err);
    if (r < 0) {
        free(gpus);
        return r;
    }
    *ret = gpus;
    return POOLMGR_OK;
}

void pm_gpus_free(struct pm_gpu_watch *gpus)
{
    struct pm_link *link;

    if (!gpus)
        return;
    pm_probe_free(gpus->probe);
    while ((link = pm_list_first(&gpus->pasts))) {
        pm_list_remove(link);
        free(pm_container_of(link, struct gpu_past, link));
    }
    free(gpus);
}

const char *pm_manager_process_pool(const struct pm_manager *manager, pid_t pid)
{
    const struct pm_instance *instance = owner_of(manager, pid);

    return instance ? instance->spec->id : NULL;
}

const struct pm_gpu_snapshot *pm_manager_gpus(const struct pm_manager *manager)
{
    return manager->gpus ? last(manager->gpus) : NULL;
}
