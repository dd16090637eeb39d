/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: what their drivers say of them, and what core makes of it. A device that is lost or must be reset stops its
 * engines at once and is to blame itself: nobody's failures grow.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define DURATION 32

void pm_devices_init(struct pm_core *core)
{
    struct pm_known_device *cpu;

    core->n_devices = 1;
    core->seen_gpus = pm_xalloc(sizeof(*core->seen_gpus));
    cpu = core->devices = pm_xalloc(sizeof(*core->devices));
    (void)pm_str_copy(cpu->is.id, sizeof(cpu->is.id), PM_CPU_ID);
    (void)pm_str_copy(cpu->name, sizeof(cpu->name), "the CPU");
    cpu->is.is_gpu.slot = -1;
    cpu->is.is_gpu.index = PM_MASK_INDEX_MAX + 1;
    cpu->is.state = PM_DEVICE_OK;
    (void)pm_ledger_open(&core->ledger, 0);
}

bool pm_core_has_gpus(const struct pm_core *core)
{
    return core->n_devices > PM_CPU + 1;
}

struct pm_known_device *pm_device_find(const struct pm_core *core, const char *id)
{
    for (size_t i = 0; i < core->n_devices; i++) {
        if (strcmp(core->devices[i].is.id, id) == 0)
            return &core->devices[i];
    }
    return NULL;
}

struct pm_known_device *pm_device_of(const struct pm_core *core, uint32_t number)
{
    return &core->devices[number];
}

const char *pm_device_id(const struct pm_core *core, uint32_t number)
{
    return pm_device_of(core, number)->is.id;
}

const char *pm_device_name(const struct pm_core *core, uint32_t number)
{
    return pm_device_of(core, number)->name;
}

bool pm_device_awaited(const struct pm_core *core)
{
    return core->options.discovers && !core->listed;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- telling ---------------------------------------------------------------------------------------- */

void pm_tell_device(const struct pm_known_device *device, enum pm_event_kind kind,
                    struct pm_actions *out, const char *format, ...)
{
    char text[PM_HUMAN_MAX * 4];
    struct pm_event event;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    pm_event_init(&event, kind, device->is.id);
    event.fields |= PM_EF_DEVICE;
    (void)pm_str_copy(event.device, sizeof(event.device), device->is.id);
    pm_event_human(&event, "%s %s", device->name, text);
    pm_action_tell(out, &event);
}

static void tell_found(const struct pm_known_device *device, struct pm_actions *out)
{
    char total[DURATION], reserve[DURATION];

    pm_tell_device(device, PM_EV_DEVICE_FOUND, out, "is there with %s, %s of it kept free",
                   pm_format_bytes(total, sizeof(total), device->is.total_bytes),
                   pm_format_bytes(reserve, sizeof(reserve), device->is.reserve_bytes));
}

static const char *const what_is_wrong[PM_DEVICE_STATE_COUNT] = {
    [PM_DEVICE_UNKNOWN] = "cannot be looked at: nothing new starts on it",
    [PM_DEVICE_DENIED] = "may not be used: we have no permission",
    [PM_DEVICE_MISMATCH] = "takes no new engines: reload the driver, or reboot",
    [PM_DEVICE_BLOCKED] = "is blocked by the operating system",
    [PM_DEVICE_RESET_REQUIRED] = "must be reset: its engines are stopped",
    [PM_DEVICE_LOST] = "is lost: its engines are stopped",
};

static bool is_dead(enum pm_device_state state)
{
    return state == PM_DEVICE_LOST || state == PM_DEVICE_RESET_REQUIRED;
}

static void tell_wrong(const struct pm_known_device *device, struct pm_actions *out)
{
    enum pm_device_state state = device->is.state;

    pm_tell_device(device, is_dead(state) ? PM_EV_DEVICE_LOST : PM_EV_DEVICE_UNUSABLE, out, "%s",
                   what_is_wrong[state]);
}

/* ---- states ----------------------------------------------------------------------------------------- */

enum pm_device_state pm_device_state(const struct pm_known_device *device)
{
    if (device->is.state != PM_DEVICE_OK)
        return device->is.state;
    if (device->quarantined)
        return PM_DEVICE_QUARANTINED;
    return device->suspect ? PM_DEVICE_SUSPECT : PM_DEVICE_OK;
}

bool pm_device_works(const struct pm_core *core, uint32_t number)
{
    return pm_device_of(core, number)->is.state == PM_DEVICE_OK;
}

bool pm_device_permits(const struct pm_core *core, uint32_t number)
{
    const struct pm_known_device *device = pm_device_of(core, number);

    if (device->is.state != PM_DEVICE_OK || device->suspect)
        return false;
    return !device->quarantined || (!device->trial && core->now_ms >= device->quarantined_until_ms);
}

bool pm_device_fails_under(const struct pm_place *place)
{
    const struct pm_shares *charge = &place->room.charge;

    for (uint32_t i = 0; i < charge->n; i++) {
        if (is_dead(pm_device_of(place->pool->core, charge->items[i].account)->is.state))
            return true;
    }
    return false;
}

/* ---- the list --------------------------------------------------------------------------------------- */

/* What engines can have of an empty device. */
static uint64_t capacity_of(const struct pm_device *is)
{
    return minus(minus(is->total_bytes, is->driver_bytes), is->reserve_bytes);
}

static struct pm_known_device *add(struct pm_core *core, const struct pm_device *is,
                                   struct pm_actions *out)
{
    struct pm_known_device *device;

    core->devices = pm_xrealloc(core->devices, (core->n_devices + 1) * sizeof(*core->devices));
    core->seen_gpus =
        pm_xrealloc(core->seen_gpus, (core->n_devices + 1) * sizeof(*core->seen_gpus));
    device = &core->devices[core->n_devices++];
    memset(device, 0, sizeof(*device));
    device->is = *is;
    pm_device_identify(device, core->n_devices - 1);
    (void)pm_ledger_open(&core->ledger, capacity_of(is));
    pm_device_show(core, device);
    if (is->state == PM_DEVICE_OK)
        tell_found(device, out);
    else
        tell_wrong(device, out);
    return device;
}

static bool could_use(const struct pm_pool *pool, uint32_t number)
{
    const struct pm_ways *ways;

    if (!pm_ways_needed(pool->core, pool->spec))
        return false;
    ways = pm_ways_of(pool->core, pool->spec);
    for (size_t i = 0; i < ways->n_accounts; i++) {
        if (ways->accounts[i] == number)
            return true;
    }
    return false;
}

/* What failed for good, or waits for its clock, may be tried again on changed hardware (SUP-6). */
static void hardware_changed(struct pm_core *core, const struct pm_known_device *device,
                             struct pm_actions *out)
{
    uint32_t number = (uint32_t)(device - core->devices);

    for (size_t i = 0; i < core->n_pools && (core->listed || number == PM_CPU); i++) {
        if (could_use(core->pools[i], number))
            pm_pool_forgive(core->pools[i], out);
    }
}

/* So may what failed for want of a device. */
static void devices_changed(struct pm_core *core, struct pm_actions *out)
{
    for (size_t i = 0; i < core->n_pools; i++) {
        if (core->pools[i]->failed && core->pools[i]->failure.hardware)
            pm_pool_forgive(core->pools[i], out);
    }
}

void pm_device_set_state(struct pm_core *core, struct pm_known_device *device,
                         enum pm_device_state state, struct pm_actions *out)
{
    enum pm_device_state before = device->is.state;

    if (before == state)
        return;

    device->is.state = state;
    pm_core_changed(core);
    if (state != PM_DEVICE_OK) {
        tell_wrong(device, out);
        return;
    }
    tell_found(device, out);
    if (before == PM_DEVICE_UNKNOWN)
        return; /* nobody could look: nothing has changed */
    device->quarantined = device->suspect = false;
    device->free_known = false; /* what was free before its end says nothing */
    pm_ledger_see(&core->ledger, (uint32_t)(device - core->devices), PM_LEDGER_UNSEEN);
    memset(device->errors, 0, sizeof(device->errors));
    hardware_changed(core, device, out);
}

static void set_size(struct pm_core *core, struct pm_known_device *device,
                     const struct pm_device *is, struct pm_actions *out)
{
    uint64_t before = minus(device->is.total_bytes, device->is.reserve_bytes);
    uint64_t after = minus(is->total_bytes, is->reserve_bytes);
    uint32_t number = (uint32_t)(device - core->devices);

    if (capacity_of(&device->is) == capacity_of(is) && before == after)
        return;
    device->is.total_bytes = is->total_bytes;
    device->is.reserve_bytes = is->reserve_bytes;
    device->is.driver_bytes = is->driver_bytes;
    pm_ledger_resize(&core->ledger, number, capacity_of(is));
    if (device->free_known)
        pm_ledger_see(&core->ledger, number, minus(device->free_bytes, is->reserve_bytes));
    pm_ways_changed(core);
    pm_core_changed(core);
    if (after > before)
        hardware_changed(core, device, out);
}

/* True: masks may find other devices now. */
static bool set_identity(struct pm_core *core, struct pm_known_device *device,
                         const struct pm_device *is)
{
    struct pm_known_device now = {.is = *is};

    pm_device_identify(&now, (size_t)(device - core->devices));
    if (pm_device_is_same(&now.is.is_gpu, &device->is.is_gpu))
        return false;
    device->is.is_gpu = now.is.is_gpu;
    memcpy(device->name, now.name, sizeof(device->name));
    pm_device_show(core, device);
    return true;
}

static bool is_listed(const char *id, const struct pm_device *devices, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(devices[i].id, id) == 0)
            return true;
    }
    return false;
}

/* True: there are new ones, or others than before. */
static bool take_list(struct pm_core *core, const struct pm_device *devices, size_t n,
                      struct pm_actions *out)
{
    bool others = false;

    for (size_t i = 0; i < n; i++) {
        struct pm_known_device *device = pm_device_find(core, devices[i].id);

        others = !device || set_identity(core, device, &devices[i]) || others;
        if (!device) {
            device = add(core, &devices[i], out);
            hardware_changed(core, device, out);
        }
    }
    for (size_t i = PM_CPU + 1; i < core->n_devices; i++) {
        bool listed = is_listed(core->devices[i].is.id, devices, n);

        others = others || listed != core->devices[i].is_listed;
        core->devices[i].is_listed = listed;
    }
    return others;
}

void pm_core_devices(struct pm_core *core, const struct pm_device *devices, size_t n,
                     uint64_t now_ms, struct pm_actions *out)
{
    bool first = !core->listed, others;

    pm_core_enter(core, now_ms, out);
    others = take_list(core, devices, n, out);
    if (others)
        pm_devices_forget_indexes(core);
    if (others || first)
        pm_ways_changed(core);
    for (size_t i = 0; i < n; i++) {
        struct pm_known_device *device = pm_device_find(core, devices[i].id);
        bool worked = device->is.state == PM_DEVICE_OK;

        set_size(core, device, &devices[i], out);
        pm_device_set_state(core, device, devices[i].state, out);
        if (devices[i].free_known && !(worked && device->free_known)) /* else with who uses it */
            pm_vram_note_free(core, device, devices[i].free_bytes, devices[i].seen_ms);
    }
    for (size_t i = PM_CPU + 1; i < core->n_devices; i++) {
        if (!core->devices[i].is_listed)
            pm_device_set_state(core, &core->devices[i], PM_DEVICE_LOST, out);
    }
    core->listed = true;
    if (first)
        pm_room_devices_found(core);
    if (others || first)
        devices_changed(core, out);
    pm_core_changed(core);
    pm_core_step_all(core, out);
}

void pm_core_cpu(struct pm_core *core, const struct pm_device *is, uint64_t now_ms,
                 struct pm_actions *out)
{
    struct pm_known_device *cpu = pm_device_of(core, PM_CPU);

    pm_core_enter(core, now_ms, out);
    if (core->leaving)
        return;
    if (!cpu->is_listed) {
        cpu->is_listed = true;
        pm_ways_changed(core);
        pm_core_changed(core);
    }
    set_size(core, cpu, is, out);
    if (is->free_known)
        pm_vram_note_free(core, cpu, is->free_bytes, is->seen_ms);
    pm_core_step_all(core, out);
}

void pm_core_gpus(struct pm_core *core, enum pm_gpus gpus, const char *text, uint64_t now_ms,
                  struct pm_actions *out)
{
    pm_core_enter(core, now_ms, out);
    if (core->gpus == gpus && strcmp(core->gpus_text, text ? text : "") == 0)
        return;
    core->gpus = gpus;
    (void)pm_str_copy(core->gpus_text, sizeof(core->gpus_text), text ? text : "");
    pm_ways_changed(core);
    devices_changed(core, out);
    pm_core_changed(core);
    pm_core_step_all(core, out);
}

int pm_core_device_clear(struct pm_core *core, const char *id, uint64_t now_ms,
                         struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_known_device *device = pm_device_find(core, id);

    pm_core_enter(core, now_ms, out);
    if (!device)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no device '%s'", id);
    if (device->is.state != PM_DEVICE_OK)
        return pm_fail(err, POOLMGR_E_CONFLICT, "%s %s", device->name,
                       what_is_wrong[device->is.state]);

    if (device->quarantined || device->suspect)
        pm_tell_device(device, PM_EV_DEVICE_CLEARED, out, "may be used again: an operator says so");
    device->quarantined = device->suspect = false;
    memset(device->errors, 0, sizeof(device->errors));
    pm_core_changed(core);
    pm_core_step_all(core, out);
    return POOLMGR_OK;
}

/* ---- looking ---------------------------------------------------------------------------------------- */

bool pm_core_device_at(const struct pm_core *core, size_t i, struct pm_device_view *ret)
{
    uint32_t number = i + 1 < core->n_devices ? (uint32_t)i + 1 : PM_CPU;
    const struct pm_known_device *device = &core->devices[number];

    if (i >= core->n_devices || (number == PM_CPU && !device->is_listed))
        return false;

    memset(ret, 0, sizeof(*ret));
    ret->is = device->is;
    ret->is.state = pm_device_state(device);
    ret->is.free_known = device->free_known;
    ret->is.free_bytes = device->free_bytes;
    ret->planned_bytes = core->ledger.accounts[number].charged;
    ret->claimed_bytes = core->ledger.accounts[number].reserved;
    ret->free_known = device->free_known;
    ret->free_bytes = device->free_bytes;
    ret->left_bytes = pm_ledger_left(&core->ledger, number, NULL);
    ret->foreign_bytes = pm_vram_foreign(core, number);
    ret->until_ms = device->quarantined ? device->quarantined_until_ms : 0;
    return true;
}

static void view_share(const struct pm_place *place, size_t i, struct pm_replica_device *ret)
{
    const struct pm_share *share = &place->room.charge.items[i];
    const struct pm_part *said = &place->room.held->said[i];
    const struct pm_known_device *device = pm_device_of(place->pool->core, share->account);

    memset(ret, 0, sizeof(*ret));
    (void)pm_str_copy(ret->id, sizeof(ret->id), device->is.id);
    ret->is_gpu = device->is.is_gpu;
    ret->total_bytes = device->is.total_bytes;
    ret->planned_bytes = share->bytes;
    ret->n_layers = place->room.held->way.layers[i];
    ret->free_known = device->free_known;
    ret->free_bytes = device->free_bytes;
    ret->seen = share->seen;
    ret->seen_bytes = share->seen ? share->used : 0;
    ret->measured_bytes = said->weights + said->kv + said->compute;
}

bool pm_core_replica_device(const struct pm_core *core, const char *pool_id, unsigned index,
                            size_t i, struct pm_replica_device *ret)
{
    const struct pm_pool *pool = pm_registry_find(core, pool_id);

    if (!pool || index >= pool->n_places || i >= pm_pool_shown(pool, index)->room.charge.n)
        return false;
    view_share(pm_pool_shown(pool, index), i, ret);
    return true;
}
