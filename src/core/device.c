/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: what their drivers say, and what core makes of it. A device that is lost or must be reset stops its
 * engines at once and is to blame itself: nobody's failures grow. Driver errors of several pools in a row put it into
 * quarantine; when that is over one start is the trial, and the others wait for it. Memory that a dead engine does not
 * give back makes it suspect until it comes back.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define DURATION            32
#define DRIVER_ERRORS_IN_MS (60 * 1000)
#define BLAMES_FOR_MS       (10 * 1000) /* an exit so long after a driver error is its doing */
#define RETURN_QUIET_MS     1000        /* free memory has not risen for so long: all is back */
#define RETURN_MAX_MS       (10 * 1000)
#define SUSPICIOUS_BYTES    (UINT64_C(1) << 30)

static struct pm_known_device *find(const struct pm_core *core, const char *id)
{
    for (size_t i = 0; i < core->n_devices; i++) {
        if (strcmp(core->devices[i].is.id, id) == 0)
            return &core->devices[i];
    }
    return NULL;
}

static struct pm_known_device *device_of(const struct pm_core *core, uint32_t number)
{
    return &core->devices[number];
}

const char *pm_device_id(const struct pm_core *core, uint32_t number)
{
    return device_of(core, number)->is.id;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- telling ---------------------------------------------------------------------------------------- */

__attribute__((__format__(__printf__, 4, 5))) static void tell(const struct pm_known_device *device,
                                                               enum pm_event_kind kind,
                                                               struct pm_actions *out,
                                                               const char *format, ...)
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
    pm_event_human(&event, "device %s %s", device->is.id, text);
    pm_action_tell(out, &event);
}

static void tell_found(const struct pm_known_device *device, struct pm_actions *out)
{
    char total[DURATION], reserve[DURATION];

    tell(device, PM_EV_DEVICE_FOUND, out, "is there with %s, %s of it kept free",
         pm_format_bytes(total, sizeof(total), device->is.total_bytes),
         pm_format_bytes(reserve, sizeof(reserve), device->is.reserve_bytes));
}

static const char *const what_is_wrong[PM_DEVICE_STATE_COUNT] = {
    [PM_DEVICE_DENIED] = "may not be used: we have no permission",
    [PM_DEVICE_MISMATCH] = "takes no new engines: reload the driver, or reboot",
    [PM_DEVICE_BLOCKED] = "is blocked by the operating system",
    [PM_DEVICE_RESET_REQUIRED] = "must be reset: its engines are stopped",
    [PM_DEVICE_LOST] = "is lost: its engines are stopped",
};

/* ---- states ----------------------------------------------------------------------------------------- */

static bool is_dead(enum pm_device_state state)
{
    return state == PM_DEVICE_LOST || state == PM_DEVICE_RESET_REQUIRED;
}

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
    return device_of(core, number)->is.state == PM_DEVICE_OK;
}

bool pm_device_permits(const struct pm_core *core, uint32_t number)
{
    const struct pm_known_device *device = device_of(core, number);

    if (device->is.state != PM_DEVICE_OK || device->suspect)
        return false;
    return !device->quarantined || (!device->trial && core->now_ms >= device->quarantined_until_ms);
}

bool pm_device_fails_under(const struct pm_place *place)
{
    const struct pm_shares *charge = &place->room.charge;

    if (place->instance.blamed)
        return true;
    for (uint32_t i = 0; i < charge->n; i++) {
        if (is_dead(device_of(place->pool->core, charge->items[i].account)->is.state))
            return true;
    }
    return false;
}

/* ---- the list --------------------------------------------------------------------------------------- */

static struct pm_known_device *add(struct pm_core *core, const struct pm_device *is,
                                   struct pm_actions *out)
{
    struct pm_known_device *device;

    core->devices = pm_xrealloc(core->devices, (core->n_devices + 1) * sizeof(*core->devices));
    device = &core->devices[core->n_devices++];
    memset(device, 0, sizeof(*device));
    device->is = *is;
    (void)pm_ledger_open(&core->ledger, minus(is->total_bytes, is->reserve_bytes));
    if (is->state == PM_DEVICE_OK)
        tell_found(device, out);
    else
        tell(device, PM_EV_DEVICE_LOST, out, "%s", what_is_wrong[is->state]);
    return device;
}

static bool could_use(const struct pm_pool *pool, uint32_t number)
{
    struct pm_shares shares;

    for (size_t i = 0; pm_room_candidate(pool->core, pool->spec, i, &shares); i++) {
        for (uint32_t k = 0; k < shares.n; k++) {
            if (shares.items[k].account == number)
                return true;
        }
    }
    return false;
}

/* What failed for good, or waits for its clock, may be tried again on changed hardware (SUP-6). */
static void hardware_changed(struct pm_core *core, const struct pm_known_device *device,
                             struct pm_actions *out)
{
    for (size_t i = 0; i < core->n_pools; i++) {
        if (could_use(core->pools[i], (uint32_t)(device - core->devices)))
            pm_pool_forgive(core->pools[i], out);
    }
}

static void set_state(struct pm_core *core, struct pm_known_device *device,
                      enum pm_device_state state, struct pm_actions *out)
{
    if (device->is.state == state)
        return;

    device->is.state = state;
    pm_core_changed(core);
    if (state != PM_DEVICE_OK) {
        tell(device, PM_EV_DEVICE_LOST, out, "%s", what_is_wrong[state]);
        return;
    }
    device->quarantined = device->suspect = false;
    memset(device->errors, 0, sizeof(device->errors));
    tell_found(device, out);
    hardware_changed(core, device, out);
}

static void set_size(struct pm_core *core, struct pm_known_device *device,
                     const struct pm_device *is, struct pm_actions *out)
{
    uint64_t before = minus(device->is.total_bytes, device->is.reserve_bytes);
    uint64_t after = minus(is->total_bytes, is->reserve_bytes);

    if (device->is.total_bytes == is->total_bytes && device->is.reserve_bytes == is->reserve_bytes)
        return;
    device->is.total_bytes = is->total_bytes;
    device->is.reserve_bytes = is->reserve_bytes;
    pm_ledger_resize(&core->ledger, (uint32_t)(device - core->devices), after);
    pm_core_changed(core);
    if (after > before)
        hardware_changed(core, device, out);
}

static bool is_listed(const char *id, const struct pm_device *devices, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(devices[i].id, id) == 0)
            return true;
    }
    return false;
}

void pm_core_devices(struct pm_core *core, const struct pm_device *devices, size_t n,
                     uint64_t now_ms, struct pm_actions *out)
{
    pm_core_enter(core, now_ms, out);
    for (size_t i = 0; i < n; i++) {
        struct pm_known_device *device = find(core, devices[i].id);

        if (!device)
            device = add(core, &devices[i], out);
        set_size(core, device, &devices[i], out);
        set_state(core, device, devices[i].state, out);
    }
    for (size_t i = 0; i < core->n_devices; i++) {
        if (!is_listed(core->devices[i].is.id, devices, n))
            set_state(core, &core->devices[i], PM_DEVICE_LOST, out);
    }
    pm_core_changed(core);
    pm_core_step_all(core, out);
}

int pm_core_device_clear(struct pm_core *core, const char *id, uint64_t now_ms,
                         struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_known_device *device = find(core, id);

    pm_core_enter(core, now_ms, out);
    if (!device)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no device '%s'", id);
    if (device->is.state != PM_DEVICE_OK)
        return pm_fail(err, POOLMGR_E_CONFLICT, "device %s %s", id,
                       what_is_wrong[device->is.state]);

    if (device->quarantined || device->suspect)
        tell(device, PM_EV_DEVICE_CLEARED, out, "may be used again: an operator says so");
    device->quarantined = device->suspect = false;
    memset(device->errors, 0, sizeof(device->errors));
    pm_core_changed(core);
    pm_core_step_all(core, out);
    return POOLMGR_OK;
}

/* ---- driver errors (SUP-8) -------------------------------------------------------------------------- */

static void quarantine(struct pm_core *core, struct pm_known_device *device, struct pm_actions *out,
                       const char *why)
{
    char text[DURATION];

    device->quarantined = true;
    device->quarantined_until_ms = pm_add_ms(core->now_ms, core->options.quarantine_ms);
    memset(device->errors, 0, sizeof(device->errors));
    pm_core_changed(core);
    tell(device, PM_EV_DEVICE_QUARANTINED, out, "is quarantined for %s: %s",
         pm_format_duration(text, sizeof(text), core->options.quarantine_ms), why);
}

static void remember(struct pm_known_device *device, uint32_t pool, uint64_t now_ms)
{
    memmove(&device->errors[0], &device->errors[1],
            sizeof(device->errors) - sizeof(device->errors[0]));
    device->errors[PM_DRIVER_ERRORS - 1].at_ms = now_ms;
    device->errors[PM_DRIVER_ERRORS - 1].pool = pool;
}

/* So many in a minute, and not all of one pool: then it is not the pool. */
static bool is_to_blame(const struct pm_known_device *device, uint64_t now_ms)
{
    bool several = false;

    for (size_t i = 0; i < PM_DRIVER_ERRORS; i++) {
        if (device->errors[i].at_ms == 0 || now_ms - device->errors[i].at_ms > DRIVER_ERRORS_IN_MS)
            return false;
        several |= device->errors[i].pool != device->errors[0].pool;
    }
    return several;
}

void pm_device_note_failure(const struct pm_place *place, struct pm_actions *out)
{
    const struct pm_shares *charge = &place->room.charge;
    struct pm_core *core = place->pool->core;

    for (uint32_t i = 0; i < charge->n; i++) {
        struct pm_known_device *device = device_of(core, charge->items[i].account);

        if (device->quarantined && device->trial == place)
            quarantine(core, device, out, "the trial ended with a driver error");
        if (device->quarantined)
            continue;
        remember(device, place->pool->number, core->now_ms);
        if (is_to_blame(device, core->now_ms))
            quarantine(core, device, out, "3 driver errors of several pools in a minute");
    }
}

bool pm_device_blames(const struct pm_place *place)
{
    uint64_t at_ms = place->instance.driver_ms;

    return at_ms != 0 && place->pool->core->now_ms - at_ms <= BLAMES_FOR_MS;
}

static void doom(struct pm_place *place, int xid, struct pm_actions *out)
{
    struct pm_verdict verdict = {.class = PM_CLASS_DRIVER, .code = POOLMGR_E_ENGINE_CRASHED};
    struct pm_tenure *instance = &place->instance;

    if (place->state == PM_STARTING)
        instance->driver_ms = place->pool->core->now_ms;
    if ((place->state != PM_READY && place->state != PM_SICK) || instance->doomed)
        return;

    instance->doomed = true;
    instance->doomed_by_ms = pm_add_ms(place->pool->core->now_ms, place->spec->drain_deadline_ms);
    (void)snprintf(verdict.text, sizeof(verdict.text), "XID %d", xid);
    pm_place_judge(place, &verdict, out);
    (void)pm_place_move(place, PM_CAUSE_DRIVER, out);
}

/* Which of several devices it was is told by the next list. */
static void blame(struct pm_place *place, enum pm_device_state state, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    place->instance.blamed = true;
    pm_core_changed(core);
    if (place->room.charge.n == 1)
        set_state(core, device_of(core, place->room.charge.items[0].account), state, out);
}

static void tell_xid(const struct pm_place *place, int xid, enum pm_xid_action action,
                     struct pm_actions *out)
{
    static const char *const means[] = {
        [PM_XID_NOTE] = "is noted",
        [PM_XID_APP] = "is the engine's doing",
        [PM_XID_RESET] = "asks for a reset",
        [PM_XID_LOST] = "means that the device is lost",
    };
    struct pm_event event;

    pm_event_init(&event, PM_EV_XID, place->pool->spec->id);
    pm_event_pool(&event, place->pool->spec->id);
    pm_event_replica(&event, place->index, place->instance.n);
    if (action == PM_XID_NOTE)
        event.level = PM_INFO;
    if (place->room.charge.n > 0) {
        event.fields |= PM_EF_DEVICE;
        (void)pm_str_copy(event.device, sizeof(event.device),
                          pm_device_id(place->pool->core, place->room.charge.items[0].account));
    }
    pm_event_human(&event, "XID %d of the driver %s, under the engine of %s", xid, means[action],
                   place->pool->spec->id);
    pm_action_tell(out, &event);
}

void pm_core_driver_error(struct pm_core *core, struct pm_token token, int xid,
                          enum pm_xid_action action, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place)
        return;

    tell_xid(place, xid, action, out);
    if (action == PM_XID_APP)
        doom(place, xid, out);
    else if (action == PM_XID_RESET)
        blame(place, PM_DEVICE_RESET_REQUIRED, out);
    else if (action == PM_XID_LOST)
        blame(place, PM_DEVICE_LOST, out);
    pm_core_step_all(core, out);
}

/* ---- the trial after a quarantine -------------------------------------------------------------------- */

void pm_device_note_start(struct pm_place *place)
{
    const struct pm_shares *charge = &place->room.charge;

    for (uint32_t i = 0; i < charge->n; i++) {
        struct pm_known_device *device = device_of(place->pool->core, charge->items[i].account);
        uint64_t others =
            device->free_known ? minus(device->is.total_bytes, device->free_bytes) : 0;

        if (device->quarantined)
            device->trial = place;
        place->room.before[i] =
            device->free_known
                ? minus(others,
                        place->pool->core->ledger.accounts[charge->items[i].account].charged -
                            charge->items[i].bytes)
                : PM_NEVER;
    }
}

void pm_device_note_ready(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    for (size_t i = 0; i < core->n_devices; i++) {
        struct pm_known_device *device = &core->devices[i];

        if (device->trial != place)
            continue;
        device->trial = NULL;
        if (!device->quarantined)
            continue; /* an operator was faster */
        device->quarantined = false;
        pm_core_changed(core);
        tell(device, PM_EV_DEVICE_CLEARED, out, "may be used again: %s is ready on it",
             place->pool->spec->id);
    }
}

/* ---- memory comes back (SUP-7) ----------------------------------------------------------------------- */

/* What is in use there and nobody's, but for the share of one who ends. */
static uint64_t unaccounted(const struct pm_core *core, uint32_t number, uint64_t ending_bytes)
{
    const struct pm_known_device *device = device_of(core, number);
    uint64_t in_use = minus(device->is.total_bytes, device->free_bytes);

    return minus(in_use, minus(core->ledger.accounts[number].charged, ending_bytes));
}

static bool has_grown(const struct pm_place *place, uint32_t i)
{
    const struct pm_share *share = &place->room.charge.items[i];
    const struct pm_core *core = place->pool->core;
    const struct pm_known_device *device = device_of(core, share->account);
    uint64_t before = place->room.before[i];

    return device->processes_known && device->seen_ms > place->instance.childless_ms &&
           before != PM_NEVER &&
           minus(unaccounted(core, share->account, share->bytes), before) > SUSPICIOUS_BYTES;
}

static bool is_seen(const struct pm_place *place, uint32_t i)
{
    return device_of(place->pool->core, place->room.charge.items[i].account)->free_known;
}

bool pm_device_must_return(const struct pm_place *place)
{
    if (place->pool->core->shutting_down)
        return false;
    for (uint32_t i = 0; i < place->room.charge.n; i++) {
        if (is_seen(place, i))
            return true;
    }
    return false;
}

/* When the memory of one device will be back, as far as is known now. */
static uint64_t share_returns_at(const struct pm_place *place, uint32_t i)
{
    const struct pm_known_device *device =
        device_of(place->pool->core, place->room.charge.items[i].account);
    uint64_t since_ms = place->instance.childless_ms;

    if (!device->free_known)
        return since_ms;
    if (device->seen_ms <= since_ms || has_grown(place, i))
        return PM_NEVER;
    return pm_add_ms(device->risen_ms > since_ms ? device->risen_ms : since_ms, RETURN_QUIET_MS);
}

static uint64_t returns_at(const struct pm_place *place)
{
    uint64_t last_ms = 0;

    for (uint32_t i = 0; i < place->room.charge.n; i++) {
        uint64_t at_ms = share_returns_at(place, i);

        last_ms = at_ms > last_ms ? at_ms : last_ms;
    }
    return last_ms;
}

static uint64_t late_at(const struct pm_place *place)
{
    return pm_add_ms(place->instance.childless_ms, RETURN_MAX_MS);
}

enum pm_cause pm_device_returned(const struct pm_place *place)
{
    uint64_t now_ms = place->pool->core->now_ms;

    if (!place->instance.childless)
        return PM_CAUSE_COUNT;
    if (now_ms >= returns_at(place) || place->pool->core->shutting_down)
        return PM_CAUSE_VRAM_BACK;
    return now_ms >= late_at(place) ? PM_CAUSE_VRAM_LATE : PM_CAUSE_COUNT;
}

uint64_t pm_device_return_due(const struct pm_place *place)
{
    uint64_t at_ms = returns_at(place);

    return at_ms < late_at(place) ? at_ms : late_at(place);
}

static void suspect(const struct pm_place *place, uint32_t i, struct pm_actions *out)
{
    const struct pm_share *share = &place->room.charge.items[i];
    struct pm_known_device *device = device_of(place->pool->core, share->account);
    char text[DURATION];

    device->suspect = true;
    device->trusted_bytes = place->room.before[i] + SUSPICIOUS_BYTES;
    pm_core_changed(place->pool->core);
    tell(device, PM_EV_DEVICE_SUSPECT, out, "is suspect: %s in use are nobody's after %s ended",
         pm_format_bytes(text, sizeof(text),
                         unaccounted(place->pool->core, share->account, share->bytes)),
         place->pool->spec->id);
}

void pm_device_note_end(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    bool late = place->instance.childless && core->now_ms >= late_at(place);

    for (uint32_t i = 0; i < place->room.charge.n; i++) {
        if (late && is_seen(place, i) && has_grown(place, i))
            suspect(place, i, out);
    }
    for (size_t i = 0; i < core->n_devices; i++) {
        if (core->devices[i].trial == place)
            core->devices[i].trial = NULL;
    }
    if (place->instance.childless)
        pm_tell_room(place, PM_EV_VRAM_RETURNED, out);
}

/* The next place whose memory is back with this look, or NULL. */
static struct pm_place *next_returned(const struct pm_core *core)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        struct pm_place *place = pm_container_of(link, struct pm_place, room.charged);

        if (place->state == PM_STOPPING && pm_device_returned(place) != PM_CAUSE_COUNT)
            return place;
    }
    return NULL;
}

void pm_core_device_free(struct pm_core *core, const char *id, uint64_t free_bytes,
                         bool processes_known, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_known_device *device = find(core, id);
    struct pm_place *place;
    struct pm_link *link;

    pm_core_enter(core, now_ms, out);
    if (!device || core->leaving)
        return;

    if (!device->free_known || free_bytes > device->free_bytes)
        device->risen_ms = core->now_ms;
    if (!device->free_known || free_bytes != device->free_bytes)
        pm_core_changed(core);
    device->free_known = true;
    device->free_bytes = free_bytes;
    device->processes_known = processes_known;
    device->seen_ms = core->now_ms;
    if (device->suspect &&
        unaccounted(core, (uint32_t)(device - core->devices), 0) <= device->trusted_bytes) {
        device->suspect = false;
        tell(device, PM_EV_DEVICE_CLEARED, out, "may be used again: its memory is back");
        pm_core_step_all(core, out);
    }
    while ((place = next_returned(core)))
        pm_pool_step(place->pool, out);
    pm_list_each (&core->charged, link) { /* when they are looked at again has changed */
        place = pm_container_of(link, struct pm_place, room.charged);
        if (place->instance.childless)
            pm_pool_set_due(place->pool);
    }
}

/* ---- looking ---------------------------------------------------------------------------------------- */

bool pm_core_device_at(const struct pm_core *core, size_t i, struct pm_device_view *ret)
{
    const struct pm_known_device *device = &core->devices[i];

    if (i >= core->n_devices)
        return false;

    memset(ret, 0, sizeof(*ret));
    ret->is = device->is;
    ret->is.state = pm_device_state(device);
    ret->planned_bytes = core->ledger.accounts[i].charged;
    ret->claimed_bytes = core->ledger.accounts[i].reserved;
    ret->free_known = device->free_known;
    ret->free_bytes = device->free_bytes;
    ret->until_ms = device->quarantined ? device->quarantined_until_ms : 0;
    return true;
}

bool pm_core_replica_device(const struct pm_core *core, const char *pool_id, unsigned index,
                            size_t i, struct pm_replica_device *ret)
{
    const struct pm_pool *pool = pm_registry_find(core, pool_id);
    const struct pm_known_device *device;
    const struct pm_shares *charge;

    if (!pool || index >= pool->n_places || i >= pool->places[index]->room.charge.n)
        return false;

    charge = &pool->places[index]->room.charge;
    device = device_of(core, charge->items[i].account);
    memset(ret, 0, sizeof(*ret));
    (void)pm_str_copy(ret->id, sizeof(ret->id), device->is.id);
    ret->total_bytes = device->is.total_bytes;
    ret->planned_bytes = charge->items[i].bytes;
    ret->free_known = device->free_known;
    ret->free_bytes = device->free_bytes;
    return true;
}
