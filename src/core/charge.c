/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a place holds of devices: a charge, from the spawn of its instance until its memory is back, and what goes with it.
 * An adopted engine holds what it was started with, whether that fits or not; where nobody has looked for devices yet, it
 * gets its charge when they are known.
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/str.h"

static struct pm_place *place_of_charge(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.charged);
}

struct pm_share *pm_place_share(struct pm_place *place, uint32_t account)
{
    struct pm_shares *charge = &place->room.charge;

    for (uint32_t i = 0; i < charge->n; i++) {
        if (charge->items[i].account == account)
            return &charge->items[i];
    }
    return NULL;
}

/* ---- taking ------------------------------------------------------------------------------------------ */

static void hold(struct pm_place *place, const struct pm_way *way)
{
    place->room.held = pm_xalloc(sizeof(*place->room.held));
    place->room.held->way = *way;
    pm_list_append(&place->pool->core->charged, &place->room.charged);
    pm_trial_begin(place);
    pm_vram_note_start(place);
    pm_vram_note_change(place);
    pm_core_changed(place->pool->core);
}

static void let_go(struct pm_place *place)
{
    pm_vram_note_change(place);
    pm_cpu_hand_on(place);
    pm_ledger_release(&place->pool->core->ledger, &place->room.charge);
    pm_list_remove(&place->room.charged);
    free(place->room.held);
    place->room.held = NULL;
}

void pm_room_take(struct pm_place *place)
{
    struct pm_core *core = place->pool->core;

    if (!pm_room_needed(place))
        return;
    if (pm_ledger_charge(&core->ledger, &core->turn_plan.shares, &place->room.reserved,
                         &place->room.charge))
        hold(place, &core->turn_plan);
}

/* ---- adopted engines --------------------------------------------------------------------------------- */

static bool all_work(const struct pm_core *core, const struct pm_shares *shares)
{
    for (uint32_t i = 0; i < shares->n; i++) {
        if (!pm_device_works(core, shares->items[i].account))
            return false;
    }
    return true;
}

static uint64_t most_left(const struct pm_core *core, const struct pm_shares *shares)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < shares->n; i++) {
        uint64_t left = pm_ledger_left(&core->ledger, shares->items[i].account, NULL);

        most = left > most ? left : most;
    }
    return most;
}

/* Of the devices that work, the one that has most left: where it was started may be told later. */
static const struct pm_way *guess(const struct pm_place *place)
{
    const struct pm_core *core = place->pool->core;
    const struct pm_way *way, *found = NULL;
    uint64_t most = 0;

    for (size_t i = 0; (way = pm_room_way(core, place->spec, i)); i++) {
        uint64_t left = most_left(core, &way->shares);

        if (!all_work(core, &way->shares) || (found && left <= most))
            continue;
        most = left;
        found = way;
    }
    return found;
}

static void note(struct pm_place *place, const struct pm_way *way)
{
    if (way->shares.n > 0 &&
        pm_ledger_note(&place->pool->core->ledger, &way->shares, &place->room.charge))
        hold(place, way);
}

void pm_room_take_adopted(struct pm_place *place)
{
    struct pm_way declared;
    const struct pm_way *way = guess(place);

    if (!way)
        return;
    declared = *way;
    declared.estimated = false;
    note(place, &declared);
}

static void take_plan(const struct pm_place *place, const struct pm_plan *plan, struct pm_way *ret)
{
    const struct pm_core *core = place->pool->core;

    memset(ret, 0, sizeof(*ret));
    ret->n_layers = plan->n_layers;
    for (size_t i = 0; i < plan->n_devices; i++) {
        const struct pm_known_device *device = pm_device_find(core, plan->devices[i].id);

        if (!device)
            continue;
        ret->layers[ret->shares.n] = plan->devices[i].n_layers;
        ret->mapped = plan->devices[i].mapped_bytes;
        (void)pm_shares_add(&ret->shares, (uint32_t)(device - core->devices),
                            plan->devices[i].bytes);
    }
    pm_cpu_spare(core, place->spec, ret);
}

static void move_to(struct pm_place *place, const struct pm_plan *plan)
{
    struct pm_way way;

    let_go(place);
    take_plan(place, plan, &way);
    note(place, &way);
}

static void keep_for_later(struct pm_place *place, const struct pm_plan *plan)
{
    free(place->room.adopted);
    place->room.adopted = pm_xalloc(sizeof(*plan));
    *place->room.adopted = *plan;
}

void pm_core_adopted_on(struct pm_core *core, struct pm_token token, const struct pm_plan *plan,
                        uint64_t now_ms, struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || !(pm_room_needed(place) || pm_ways_on_cpu(core, place->spec)))
        return;
    if (pm_ways_awaited(core, place->spec) && !plan->on_cpu)
        keep_for_later(place, plan);
    else
        move_to(place, plan);
    pm_pool_step(place->pool, out);
}

static void find_devices_of(struct pm_place *place)
{
    struct pm_plan *plan = place->room.adopted;

    if (place->instance.n == 0 || place->room.charge.n > 0)
        return;
    if (plan)
        move_to(place, plan);
    else if (pm_room_needed(place))
        pm_room_take_adopted(place);
    free(plan);
    place->room.adopted = NULL;
}

void pm_room_devices_found(struct pm_core *core)
{
    for (size_t i = 0; i < core->n_pools; i++) {
        for (unsigned k = 0; k < core->pools[i]->n_places; k++)
            find_devices_of(core->pools[i]->places[k]);
    }
}

/* ---- giving back ------------------------------------------------------------------------------------- */

void pm_room_set_claimant(struct pm_place *place, struct pm_place *claimant)
{
    struct pm_core *core = place->pool->core;

    if (place->room.claimant == claimant)
        return;
    core->n_claimed += (claimant != NULL);
    core->n_claimed -= (place->room.claimant != NULL);
    place->room.claimant = claimant;
    pm_core_changed(core);
}

static unsigned n_shared(const struct pm_shares *a, const struct pm_shares *b)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < b->n; i++)
        n += pm_shares_of(a, b->items[i].account) > 0;
    return n;
}

/* The way to run it that has most of these devices; where it fits none of them whole, the split that fits now. */
static void aim_at(struct pm_place *place, const struct pm_shares *freed)
{
    const struct pm_core *core = place->pool->core;
    const struct pm_way *way;
    struct pm_way split;
    unsigned most = 0;

    for (size_t i = 0; (way = pm_room_way(core, place->spec, i)); i++) {
        unsigned n = n_shared(&way->shares, freed);

        if (n <= most)
            continue;
        most = n;
        place->room.target = way->shares;
    }
    if (!pm_ledger_fits(&core->ledger, &place->room.target, &place->room.reserved) &&
        pm_room_find(core, place->spec, &place->room.reserved, true, &split))
        place->room.target = split.shares;
}

/* What an eviction freed is its claimant's as long as that waits; what one of a swap frees is the other's. */
void pm_room_give_back(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    struct pm_place *heir = pm_reload_heir(place);
    struct pm_shares freed;

    pm_cpu_hand_on(place);
    freed = place->room.charge;
    if (freed.n > 0) {
        pm_vram_note_end(place, out);
        pm_trial_end(place);
        let_go(place);
    }
    free(place->room.adopted);
    place->room.adopted = NULL;
    if (heir) {
        aim_at(heir, &freed);
    } else if (place->room.claimant && place->room.claimant->state == PM_WAITING) {
        heir = place->room.claimant;
        if (pm_ways_on_cpu(core, heir->spec))
            aim_at(heir, &freed); /* it needs more where nobody carries its file any more */
    }
    if (heir)
        pm_ledger_reserve(&core->ledger, &freed, &heir->room.target, &heir->room.reserved);
    pm_room_set_claimant(place, NULL);
}

void pm_room_forget(struct pm_place *place)
{
    struct pm_core *core = place->pool->core;
    struct pm_link *link;

    pm_room_leave(place);
    let_go(place);
    free(place->room.adopted);
    pm_room_set_claimant(place, NULL);
    pm_list_each (&core->charged, link) {
        if (place_of_charge(link)->room.claimant == place)
            pm_room_set_claimant(place_of_charge(link), NULL);
    }
    pm_trial_end(place);
}

/* ---- looking ----------------------------------------------------------------------------------------- */

static size_t n_listed(const struct pm_core *core)
{
    size_t n = 0;

    for (size_t i = PM_CPU + 1; i < core->n_devices; i++)
        n += core->devices[i].is_listed;
    return n;
}

struct pm_plan *pm_room_plan(const struct pm_place *place)
{
    const struct pm_core *core = place->pool->core;
    const struct pm_shares *charge = &place->room.charge;
    bool on_cpu = pm_ways_on_cpu(core, place->spec);
    struct pm_plan *plan;

    if (charge->n == 0 && !on_cpu)
        return NULL;

    plan = pm_xalloc(sizeof(*plan));
    plan->on_cpu = on_cpu;
    plan->n_devices = charge->n;
    plan->has_all = !on_cpu && charge->n == n_listed(core);
    plan->n_layers = charge->n > 0 ? place->room.held->way.n_layers : 0;
    for (uint32_t i = 0; i < charge->n; i++) {
        (void)pm_str_copy(plan->devices[i].id, sizeof(plan->devices[i].id),
                          pm_device_id(core, charge->items[i].account));
        plan->devices[i].bytes = charge->items[i].bytes + place->room.held->way.spared;
        plan->devices[i].mapped_bytes = place->room.held->way.mapped;
        plan->devices[i].n_layers = place->room.held->way.layers[i];
    }
    return plan;
}

uint64_t pm_place_planned_bytes(const struct pm_place *place)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < place->room.charge.n; i++)
        sum = pm_add_ms(sum, place->room.charge.items[i].bytes);
    return sum;
}
