/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: what they are, what is planned on them. A declared one has no UUID; its index is its id, where that is one. */
#include <string.h>

#include "api/call.h"
#include "api/shapes.h"
#include "util/str.h"

static void put_id(json_t *device, const char *id)
{
    uint64_t index;

    pm_put_text(device, "id", id);
    if (pm_parse_u64(id, &index))
        pm_put_u64(device, "index", index);
}

static json_t *device_json(const struct pm_device_view *view, const struct pm_clock *clock)
{
    json_t *device = json_object();

    put_id(device, view->is.id);
    pm_put_text(device, "state", pm_device_state_name(view->is.state));
    pm_put_u64(device, "vram_total_bytes", view->is.total_bytes);
    if (view->free_known)
        pm_put_u64(device, "vram_free_bytes", view->free_bytes);
    pm_put_u64(device, "reserve_bytes", view->is.reserve_bytes);
    pm_put_u64(device, "planned_bytes", view->planned_bytes);
    pm_put_u64(device, "claimed_bytes", view->claimed_bytes);
    pm_put_time(device, "quarantined_until_at", view->until_ms, clock);
    return device;
}

void pm_devices_list(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    json_t *list = json_object(), *devices = json_array();
    struct pm_device_view view;

    for (size_t i = 0; pm_core_device_at(core, i, &view); i++)
        (void)json_array_append_new(devices, device_json(&view, &clock));
    pm_put(list, "devices", devices);
    pm_call_json(call, 200, list);
}

static void answer_with(struct pm_call *call, const char *id)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    struct pm_device_view view;

    for (size_t i = 0; pm_core_device_at(core, i, &view); i++) {
        if (strcmp(view.is.id, id) == 0) {
            pm_call_json(call, 200, device_json(&view, &clock));
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

void pm_put_replica_devices(json_t *replica, const struct pm_core *core, const char *pool_id,
                            unsigned index)
{
    struct pm_replica_device on;
    json_t *devices = json_array();

    for (size_t i = 0; pm_core_replica_device(core, pool_id, index, i, &on); i++) {
        json_t *device = json_object();

        put_id(device, on.id);
        pm_put_u64(device, "vram_total_bytes", on.total_bytes);
        if (on.free_known)
            pm_put_u64(device, "vram_free_bytes", on.free_bytes);
        pm_put_u64(device, "planned_bytes", on.planned_bytes);
        (void)json_array_append_new(devices, device);
    }
    if (json_array_size(devices) > 0)
        pm_put(replica, "devices", devices);
    else
        json_decref(devices);
}
