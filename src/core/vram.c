/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory comes back (SUP-7). An engine's charge outlives the engine until what it used is seen to be free again. Memory
 * that a dead engine does not give back makes its device suspect until it comes back.
 */
#include "core/inner.h"
#include "util/str.h"

#define DURATION         32
#define RETURN_QUIET_MS  1000 /* free memory has not risen for so long: all is back */
#define RETURN_MAX_MS    (10 * 1000)
#define SUSPICIOUS_BYTES (UINT64_C(1) << 30)
#define LOOK_OLD_MS      1000 /* others than we may have come or gone since */

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static struct pm_place *place_of(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.charged);
}

/* What our engines use there, but for one: as it was seen, else as they are charged. */
static uint64_t ours(const struct pm_core *core, uint32_t number, const struct pm_place *but)
{
    uint64_t sum = 0;
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        const struct pm_share *share = pm_place_share(place_of(link), number);

        if (share && place_of(link) != but)
            sum = pm_add_ms(sum, share->seen ? share->used : share->bytes);
    }
    return sum;
}

static uint64_t in_use(const struct pm_known_device *device)
{
    return minus(minus(device->is.total_bytes, device->is.driver_bytes), device->free_bytes);
}

/* What is in use there and nobody's, as far as processes are listed. */
static uint64_t unaccounted(const struct pm_core *core, uint32_t number,
                            const struct pm_place *ending)
{
    const struct pm_known_device *device = pm_device_of(core, number);

    return minus(minus(in_use(device), ours(core, number, ending)), device->foreign_bytes);
}

uint64_t pm_vram_foreign(const struct pm_core *core, uint32_t number)
{
    const struct pm_known_device *device = pm_device_of(core, number);

    if (!device->free_known)
        return 0;
    return device->foreign_known && device->foreign_bytes > 0
               ? device->foreign_bytes
               : minus(in_use(device), ours(core, number, NULL));
}

/* An engine that came, has loaded, or is gone: what was seen before says nothing of it. */
void pm_vram_note_change(const struct pm_place *place)
{
    const struct pm_shares *charge = &place->room.charge;

    for (uint32_t i = 0; i < charge->n; i++)
        pm_device_of(place->pool->core, charge->items[i].account)->changed_ms =
            place->pool->core->now_ms;
}

bool pm_vram_is_old(const struct pm_core *core, uint32_t number)
{
    const struct pm_known_device *device = pm_device_of(core, number);

    return device->free_known && (device->seen_ms < device->changed_ms ||
                                  core->now_ms > pm_add_ms(device->seen_ms, LOOK_OLD_MS));
}

void pm_vram_note_start(struct pm_place *place)
{
    const struct pm_shares *charge = &place->room.charge;
    const struct pm_core *core = place->pool->core;

    for (uint32_t i = 0; i < charge->n; i++) {
        uint32_t number = charge->items[i].account;

        place->room.held->before[i] =
            pm_device_of(core, number)->free_known ? unaccounted(core, number, place) : PM_NEVER;
    }
}

/* By this look: what is charged to others later says nothing of it. */
static void note_growth(struct pm_place *place, uint32_t number)
{
    const struct pm_shares *charge = &place->room.charge;
    const struct pm_core *core = place->pool->core;
    const struct pm_known_device *device = pm_device_of(core, number);

    for (uint32_t i = 0; i < charge->n; i++) {
        uint64_t before = place->room.held->before[i];

        if (charge->items[i].account == number)
            place->room.held->grown[i] =
                device->processes_known && device->seen_ms > place->instance.childless_ms &&
                before != PM_NEVER &&
                minus(unaccounted(core, number, place), before) > SUSPICIOUS_BYTES;
    }
}

/* Somebody saw a process of it after it had ended. */
static bool is_listed(const struct pm_place *place, uint32_t i)
{
    return place->room.held->seen_ms[i] > place->instance.childless_ms &&
           place->room.charge.items[i].used > 0;
}

/* What the kernel had given to a process it has back when that ends. */
static bool is_seen(const struct pm_place *place, uint32_t i)
{
    uint32_t number = place->room.charge.items[i].account;

    return number != PM_CPU && pm_device_of(place->pool->core, number)->free_known;
}

bool pm_vram_must_return(const struct pm_place *place)
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
        pm_device_of(place->pool->core, place->room.charge.items[i].account);
    uint64_t since_ms = place->instance.childless_ms;

    if (!is_seen(place, i))
        return since_ms;
    if (device->seen_ms <= since_ms || is_listed(place, i) || place->room.held->grown[i])
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

enum pm_cause pm_vram_returned(const struct pm_place *place)
{
    uint64_t now_ms = place->pool->core->now_ms;

    if (!place->instance.childless)
        return PM_CAUSE_COUNT;
    if (now_ms >= returns_at(place) || place->pool->core->shutting_down)
        return PM_CAUSE_VRAM_BACK;
    return now_ms >= late_at(place) ? PM_CAUSE_VRAM_LATE : PM_CAUSE_COUNT;
}

uint64_t pm_vram_return_due(const struct pm_place *place)
{
    uint64_t at_ms = returns_at(place);

    return at_ms < late_at(place) ? at_ms : late_at(place);
}

static void suspect(const struct pm_place *place, uint32_t i, struct pm_actions *out)
{
    const struct pm_share *share = &place->room.charge.items[i];
    struct pm_known_device *device = pm_device_of(place->pool->core, share->account);
    char text[DURATION];

    device->suspect = true;
    device->trusted_bytes = place->room.held->before[i] + SUSPICIOUS_BYTES;
    pm_core_changed(place->pool->core);
    pm_tell_device(
        device, PM_EV_DEVICE_SUSPECT, out, "is suspect: %s in use are nobody's after %s ended",
        pm_format_bytes(text, sizeof(text), unaccounted(place->pool->core, share->account, place)),
        place->pool->spec->id);
}

void pm_vram_note_end(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    bool late = place->instance.childless && core->now_ms >= late_at(place);

    for (uint32_t i = 0; i < place->room.charge.n; i++) {
        if (late && is_seen(place, i) && place->room.held->grown[i])
            suspect(place, i, out);
    }
    if (place->instance.childless && !pm_shares_of(&place->room.charge, PM_CPU))
        pm_tell_room(place, PM_EV_VRAM_RETURNED, out);
}

/* ---- looking ---------------------------------------------------------------------------------------- */

void pm_core_device_seen(struct pm_core *core, struct pm_token token, const char *id,
                         uint64_t bytes, uint64_t seen_ms, uint64_t now_ms, struct pm_actions *out)
{
    const struct pm_known_device *device = pm_device_find(core, id);
    struct pm_share *share;
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || !device || core->leaving)
        return;
    share = pm_place_share(place, (uint32_t)(device - core->devices));
    if (!share)
        return;
    if (!share->seen || share->used != bytes)
        pm_core_changed(core);
    pm_ledger_use(&core->ledger, &place->room.charge, share->account, bytes, true);
    place->room.held->seen_ms[share - place->room.charge.items] = seen_ms;
}

void pm_core_device_foreign(struct pm_core *core, const char *id, uint64_t bytes, uint64_t now_ms,
                            struct pm_actions *out)
{
    struct pm_known_device *device = pm_device_find(core, id);

    pm_core_enter(core, now_ms, out);
    if (!device || core->leaving || (device->foreign_known && device->foreign_bytes == bytes))
        return;
    device->foreign_known = true;
    device->foreign_bytes = bytes;
    pm_core_changed(core);
}

/* The next place whose memory is back with this look, or NULL. */
static struct pm_place *next_returned(const struct pm_core *core)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        if (place_of(link)->state == PM_STOPPING &&
            pm_vram_returned(place_of(link)) != PM_CAUSE_COUNT)
            return place_of(link);
    }
    return NULL;
}

void pm_vram_note_free(struct pm_core *core, struct pm_known_device *device, uint64_t free_bytes,
                       uint64_t seen_ms)
{
    if (!device->free_known || free_bytes > device->free_bytes)
        device->risen_ms = seen_ms;
    if (!device->free_known || free_bytes != device->free_bytes)
        pm_core_changed(core);
    device->free_known = true;
    device->free_bytes = free_bytes;
    device->seen_ms = seen_ms;
    pm_ledger_see(&core->ledger, (uint32_t)(device - core->devices),
                  minus(free_bytes, device->is.reserve_bytes));
}

/* Who was ready before this look has loaded all, whether anybody can see it or not. */
static void settle_those_there(struct pm_core *core, uint32_t number, struct pm_actions *out)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        struct pm_place *place = place_of(link);
        struct pm_share *share = pm_place_share(place, number);
        uint64_t all;

        if (!share || place->instance.ready_ms == 0 ||
            pm_device_of(core, number)->seen_ms < place->instance.ready_ms)
            continue;
        all = number == PM_CPU ? pm_cpu_supposed(place, share) : share->bytes;
        if (!share->seen && share->used != all) {
            pm_ledger_use(&core->ledger, &place->room.charge, number, all, false);
            pm_core_changed(core);
        }
        pm_memory_settle(place, out);
    }
}

static void trust_again(struct pm_core *core, struct pm_known_device *device,
                        struct pm_actions *out)
{
    uint32_t number = (uint32_t)(device - core->devices);

    if (!device->suspect || unaccounted(core, number, NULL) > device->trusted_bytes)
        return;
    device->suspect = false;
    pm_tell_device(device, PM_EV_DEVICE_CLEARED, out, "may be used again: its memory is back");
    pm_core_step_all(core, out);
}

void pm_core_device_free(struct pm_core *core, const char *id, uint64_t free_bytes,
                         bool processes_known, uint64_t seen_ms, uint64_t now_ms,
                         struct pm_actions *out)
{
    struct pm_known_device *device = pm_device_find(core, id);
    struct pm_place *place;
    struct pm_link *link;

    pm_core_enter(core, now_ms, out);
    if (!device || core->leaving)
        return;

    pm_vram_note_free(core, device, free_bytes, seen_ms);
    device->processes_known = processes_known;
    pm_list_each (&core->charged, link) {
        if (place_of(link)->instance.childless)
            note_growth(place_of(link), (uint32_t)(device - core->devices));
    }
    settle_those_there(core, (uint32_t)(device - core->devices), out);
    trust_again(core, device, out);
    while ((place = next_returned(core)))
        pm_pool_step(place->pool, out);
    pm_core_settle(core, out);            /* there may be more room now, or less */
    pm_list_each (&core->charged, link) { /* when they are looked at again has changed */
        place = place_of(link);
        if (place->instance.childless)
            pm_pool_set_due(place->pool);
    }
}
