/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver errors (SUP-8). An engine that caused one is doomed; a device that must be reset or is lost is blamed itself.
 * Errors of several pools in a row put a device into quarantine; when that is over one start is the trial, and the
 * others wait for it.
 */
#include <stdio.h>
#include <string.h>

#include "core/inner.h"
#include "util/str.h"

#define DURATION            32
#define DRIVER_ERRORS_IN_MS (60 * 1000)
#define BLAMES_FOR_MS       (10 * 1000) /* an exit so long after a driver error is its doing */

/* ---- driver errors (SUP-8) -------------------------------------------------------------------------- */

static void quarantine(struct pm_core *core, struct pm_known_device *device, struct pm_actions *out,
                       const char *why)
{
    char text[DURATION];

    device->quarantined = true;
    device->quarantined_until_ms = pm_add_ms(core->now_ms, core->options.quarantine_ms);
    memset(device->errors, 0, sizeof(device->errors));
    pm_core_changed(core);
    pm_tell_device(device, PM_EV_DEVICE_QUARANTINED, out, "is quarantined for %s: %s",
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
        uint32_t number = charge->items[i].account, on = place->instance.driver_on;
        struct pm_known_device *device = pm_device_of(core, number);

        if (on != 0 && on != number + 1)
            continue; /* it was another one */
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

static void doom(struct pm_place *place, uint32_t number, int xid, struct pm_actions *out)
{
    struct pm_verdict verdict = {.class = PM_CLASS_DRIVER, .code = POOLMGR_E_ENGINE_CRASHED};
    struct pm_tenure *instance = &place->instance;

    if (place->state == PM_STARTING)
        instance->driver_ms = place->pool->core->now_ms;
    instance->driver_on = number + 1;
    if ((place->state != PM_READY && place->state != PM_SICK) || instance->doomed)
        return;

    instance->doomed = true;
    instance->doomed_by_ms = pm_add_ms(place->pool->core->now_ms, place->spec->drain_deadline_ms);
    (void)snprintf(verdict.text, sizeof(verdict.text), "XID %d", xid);
    pm_place_judge(place, &verdict, out);
    (void)pm_place_move(place, PM_CAUSE_DRIVER, out);
}

/* ---- errors as the driver reports them --------------------------------------------------------------- */

static bool runs_on(const struct pm_place *place, uint32_t number)
{
    return pm_place_share((struct pm_place *)place, number) && place->state != PM_STOPPING;
}

/* Who is alone there; NULL: several, or nobody. */
static struct pm_place *only_one_on(const struct pm_core *core, uint32_t number)
{
    struct pm_place *found = NULL;
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        struct pm_place *place = pm_container_of(link, struct pm_place, room.charged);

        if (!runs_on(place, number))
            continue;
        if (found)
            return NULL;
        found = place;
    }
    return found;
}

/* Who of them dies soon died of it. */
static void watch_all_on(struct pm_core *core, uint32_t number)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        struct pm_place *place = pm_container_of(link, struct pm_place, room.charged);

        if (!runs_on(place, number))
            continue;
        place->instance.driver_ms = core->now_ms;
        place->instance.driver_on = number + 1;
    }
    pm_core_changed(core);
}

/* A GPU takes the instances of MIG on it along. */
static void take_out_of_use(struct pm_core *core, struct pm_known_device *device,
                            enum pm_device_state state, struct pm_actions *out)
{
    const struct pm_gpu *gpu = &device->is.is_gpu;

    pm_device_set_state(core, device, state, out);
    for (size_t i = 0; i < core->n_devices && gpu->slot < 0 && gpu->pci[0] != '\0'; i++) {
        const struct pm_gpu *part = &core->devices[i].is.is_gpu;

        if (part->slot >= 0 && strcmp(part->pci, gpu->pci) == 0)
            pm_device_set_state(core, &core->devices[i], state, out);
    }
}

static void tell_xid(const struct pm_known_device *device, const struct pm_place *place, int xid,
                     enum pm_xid_action action, struct pm_actions *out)
{
    static const char *const means[] = {
        [PM_XID_NOTE] = "is noted",
        [PM_XID_APP] = "is the engine's doing",
        [PM_XID_RESET] = "asks for a reset",
        [PM_XID_LOST] = "means that the device is lost",
    };
    const char *meaning = action == PM_XID_APP && !place ? "is a program's doing" : means[action];
    struct pm_event event;

    pm_event_init(&event, PM_EV_XID, place ? place->pool->spec->id : device->is.id);
    if (place) {
        pm_event_pool(&event, place->pool->spec->id);
        pm_event_replica(&event, place->index, place->instance.n);
    }
    if (action == PM_XID_NOTE)
        event.level = PM_INFO;
    event.fields |= PM_EF_DEVICE;
    (void)pm_str_copy(event.device, sizeof(event.device), device->is.id);
    if (place)
        pm_event_human(&event, "XID %d of %s %s, under the engine of %s", xid, device->name,
                       meaning, place->pool->spec->id);
    else
        pm_event_human(&event, "XID %d of %s %s", xid, device->name, meaning);
    pm_action_tell(out, &event);
}

static void blame_engine(struct pm_core *core, uint32_t number, struct pm_place *place, int xid,
                         struct pm_actions *out)
{
    if (place)
        doom(place, number, xid, out);
    else
        watch_all_on(core, number); /* one of them, or somebody else */
}

void pm_core_xid(struct pm_core *core, const char *id, int xid, enum pm_xid_action action,
                 bool known, struct pm_token token, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_known_device *device = pm_device_find(core, id);
    struct pm_place *place;
    uint32_t number;

    pm_core_enter(core, now_ms, out);
    if (!device || core->leaving)
        return;

    number = (uint32_t)(device - core->devices);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || !runs_on(place, number))
        place = only_one_on(core, number);
    tell_xid(device, place, xid, action, out);
    device->changed_ms = core->now_ms; /* who caused it may have ended by it */
    if (action == PM_XID_APP)
        blame_engine(core, number, place, xid, out);
    else if (action == PM_XID_RESET)
        take_out_of_use(core, device, PM_DEVICE_RESET_REQUIRED, out);
    else if (action == PM_XID_LOST)
        take_out_of_use(core, device, PM_DEVICE_LOST, out);
    else if (!known)
        watch_all_on(core, number);
    pm_core_step_all(core, out);
}

/* ---- the trial after a quarantine -------------------------------------------------------------------- */

void pm_trial_begin(struct pm_place *place)
{
    const struct pm_shares *charge = &place->room.charge;

    for (uint32_t i = 0; i < charge->n; i++) {
        struct pm_known_device *device = pm_device_of(place->pool->core, charge->items[i].account);

        if (device->quarantined)
            device->trial = place;
    }
}

void pm_trial_end(const struct pm_place *place)
{
    struct pm_core *core = place->pool->core;

    for (size_t i = 0; i < core->n_devices; i++) {
        if (core->devices[i].trial == place)
            core->devices[i].trial = NULL;
    }
}

void pm_trial_succeeds(const struct pm_place *place, struct pm_actions *out)
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
        pm_tell_device(device, PM_EV_DEVICE_CLEARED, out, "may be used again: %s is ready on it",
                       place->pool->spec->id);
    }
}
