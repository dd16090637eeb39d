/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: what they are, what is planned on them, who uses them. One that was found is known by its UUID, one that was
 * declared by its name in the file; an index is for people.
 */
#include <string.h>

#include "api/call.h"
#include "api/shapes.h"
#include "core/event.h"
#include "gpu/host.h"
#include "proc/tree.h"
#include "util/str.h"

static void put_identity(json_t *device, const char *id, const struct pm_gpu *gpu)
{
    pm_put_text(device, "id", id);
    if (strcmp(gpu->id, id) == 0 && pm_str_starts(id, gpu->slot < 0 ? "GPU-" : "MIG-"))
        pm_put_text(device, "uuid", id);
    if (gpu->index <= PM_MASK_INDEX_MAX)
        pm_put_u64(device, "index", gpu->index);
    if (gpu->slot >= 0 && pm_str_starts(id, "MIG-"))
        pm_put(device, "mig_slot", json_integer(gpu->slot));
}

static void put_capability(json_t *device, const struct pm_gpu_seen *seen)
{
    if (seen && seen->cc_major > 0)
        pm_put(device, "compute_capability", json_pack("[i, i]", seen->cc_major, seen->cc_minor));
}

/* ---- as it was seen --------------------------------------------------------------------------------- */

static json_t *process_json(const struct pm_call *call, const struct pm_gpu_process *process)
{
    json_t *user = json_object();
    const char *pool_id = pm_manager_process_pool(call->api->manager, process->pid);
    char name[64];

    pm_put(user, "pid", json_integer(process->pid));
    if (pm_process_name(process->pid, name, sizeof(name))) {
        pm_text_clean(name); /* whoever runs it chose it */
        pm_put_text(user, "name", name);
    }
    pm_put_text(user, "pool_id", pool_id);
    if (process->bytes_known)
        pm_put_u64(user, "used_bytes", process->bytes);
    return user;
}

static void put_known(json_t *device, const char *key, int value)
{
    if (value != PM_GPU_UNKNOWN)
        pm_put(device, key, json_integer(value));
}

static void put_seen(json_t *device, const struct pm_call *call, const struct pm_gpu_seen *seen)
{
    json_t *users = json_array();

    pm_put_text(device, "name", seen->name);
    pm_put_text(device, "text", seen->text);
    pm_put_text(device, "pci", seen->is.pci);
    if (seen->is.mig_mode)
        pm_put(device, "mig_mode", json_true());
    put_capability(device, seen);
    put_known(device, "temperature_celsius", seen->temperature_c);
    put_known(device, "power_milliwatts", seen->power_mw);
    put_known(device, "utilisation_percent", seen->utilisation_percent);
    for (size_t i = 0; i < seen->n_processes; i++)
        (void)json_array_append_new(users, process_json(call, &seen->processes[i]));
    pm_put(device, "processes", users);
}

static const struct pm_gpu_seen *seen_as(const struct pm_call *call, const char *id)
{
    const struct pm_gpu_snapshot *gpus = pm_manager_gpus(call->api->manager);

    return gpus ? pm_gpu_find(gpus, id) : NULL;
}

/* ---- as it is planned with -------------------------------------------------------------------------- */

static json_t *device_json(const struct pm_call *call, const struct pm_device_view *view,
                           const struct pm_clock *clock)
{
    const struct pm_gpu_seen *seen = seen_as(call, view->is.id);
    json_t *device = json_object();

    put_identity(device, view->is.id, &view->is.is_gpu);
    pm_put_text(device, "state", pm_device_state_name(view->is.state));
    pm_put_u64(device, "vram_total_bytes", view->is.total_bytes);
    if (view->free_known)
        pm_put_u64(device, "vram_free_bytes", view->free_bytes);
    pm_put_u64(device, "reserve_bytes", view->is.reserve_bytes);
    pm_put_u64(device, "planned_bytes", view->planned_bytes);
    pm_put_u64(device, "claimed_bytes", view->claimed_bytes);
    pm_put_u64(device, "left_bytes", view->left_bytes);
    if (view->free_known)
        pm_put_u64(device, "foreign_bytes", view->foreign_bytes);
    pm_put_time(device, "quarantined_until_at", view->until_ms, clock);
    if (seen)
        put_seen(device, call, seen);
    return device;
}

/* NULL: nobody has looked yet. */
static json_t *driver_json(const struct pm_gpu_snapshot *gpus)
{
    json_t *driver;

    if (!gpus)
        return json_pack("{s:s,s:s}", "state", pm_node_state_name(PM_NODE_UNRESPONSIVE), "text",
                         "pool-probe has not answered yet");
    driver = json_object();
    pm_put_text(driver, "state", pm_node_state_name(gpus->node));
    pm_put_text(driver, "text", gpus->text);
    pm_put_text(driver, "version", gpus->driver);
    if (gpus->cuda_version > 0)
        pm_put(driver, "cuda",
               json_sprintf("%d.%d", gpus->cuda_version / 1000, gpus->cuda_version % 1000 / 10));
    return driver;
}

static void put_host(json_t *list)
{
    struct pm_host_memory memory;
    struct poolmgr_error err = {0};
    json_t *host;

    if (pm_host_memory(NULL, &memory, &err) < 0)
        return;
    host = json_object();
    pm_put_u64(host, "memory_total_bytes", memory.total_bytes);
    pm_put_u64(host, "memory_available_bytes", memory.available_bytes);
    if (memory.limit_bytes != UINT64_MAX)
        pm_put_u64(host, "memory_limit_bytes", memory.limit_bytes);
    pm_put_u64(host, "memory_capacity_bytes", memory.capacity_bytes);
    pm_put(list, "host", host);
}

void pm_devices_list(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    const struct pm_gpu_snapshot *gpus = pm_manager_gpus(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    json_t *list = json_object(), *devices = json_array();
    struct pm_device_view view;

    for (size_t i = 0; pm_core_device_at(core, i, &view); i++) {
        if (strcmp(view.is.id, PM_CPU_ID) == 0) /* who asks for a list wants GPUs */
            pm_put(list, "cpu", device_json(call, &view, &clock));
        else
            (void)json_array_append_new(devices, device_json(call, &view, &clock));
    }
    pm_put(list, "devices", devices);
    if (pm_manager_discovers(call->api->manager))
        pm_put(list, "driver", driver_json(gpus));
    put_host(list);
    pm_call_json(call, 200, list);
}

static void answer_with(struct pm_call *call, const char *id)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    struct pm_device_view view;

    for (size_t i = 0; pm_core_device_at(core, i, &view); i++) {
        if (strcmp(view.is.id, id) == 0) {
            pm_call_json(call, 200, device_json(call, &view, &clock));
            return;
        }
    }
}

void pm_devices_clear(struct pm_call *call)
{
    struct poolmgr_error err = {0};
    json_t *body = pm_call_body(call);

    if (!body)
        return;
    json_decref(body);

    if (pm_manager_clear_device(call->api->manager, call->args[0], &err) < 0)
        pm_call_error(call, &err);
    else
        answer_with(call, call->args[0]);
}

void pm_put_replica_devices(json_t *replica, const struct pm_manager *manager, const char *pool_id,
                            unsigned index)
{
    const struct pm_gpu_snapshot *gpus = pm_manager_gpus(manager);
    struct pm_replica_device on;
    json_t *devices = json_array();

    for (size_t i = 0; pm_core_replica_device(pm_manager_core(manager), pool_id, index, i, &on);
         i++) {
        json_t *device = json_object();

        put_identity(device, on.id, &on.is_gpu);
        pm_put_u64(device, "vram_total_bytes", on.total_bytes);
        if (on.free_known)
            pm_put_u64(device, "vram_free_bytes", on.free_bytes);
        pm_put_u64(device, "planned_bytes", on.planned_bytes);
        if (on.seen || on.measured_bytes > 0)
            pm_put_u64(device, "measured_bytes", on.seen ? on.seen_bytes : on.measured_bytes);
        if (on.n_layers > 0)
            pm_put_u64(device, "layers", on.n_layers);
        put_capability(device, gpus ? pm_gpu_find(gpus, on.id) : NULL);
        (void)json_array_append_new(devices, device);
    }
    if (json_array_size(devices) > 0)
        pm_put(replica, "devices", devices);
    else
        json_decref(devices);
}
