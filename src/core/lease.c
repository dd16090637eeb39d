/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease is one slot taken for one request: a small value in the caller's hand, and the slot it names. The value
 * carries the instance, so a lease of an ended instance releases nothing, and releasing twice is harmless (LEASE-1).
 * A slot whose client left stays taken until the engine is known to have ended its answer (LEASE-2).
 */
#include <stdlib.h>

#include "core/inner.h"
#include "util/str.h"

/* The low bits of a lease's serial are its slot, the others count up: found in O(1), unique for ever. */
#define SLOT_BITS 20
#define SLOT_MASK (PM_SLOTS_MAX - 1)

#define ASK_BUSY_EVERY_MS 50
#define ARRIVES_WITHIN_MS 250 /* a granted request may not have reached its engine yet */

uint64_t pm_place_at_work(const struct pm_place *place)
{
    return place->n_running + place->n_abandoned;
}

static uint64_t *count_of(struct pm_place *place, enum pm_slot_state state)
{
    switch (state) {
    case PM_SLOT_RUNNING: return &place->n_running;
    case PM_SLOT_SETTLING: return &place->n_settling;
    case PM_SLOT_ABANDONED: return &place->n_abandoned;
    case PM_SLOT_FREE: break;
    }
    return NULL;
}

static void set_state(struct pm_slot *slot, enum pm_slot_state state)
{
    uint64_t *before = count_of(slot->place, slot->state), *after = count_of(slot->place, state);

    if (before)
        (*before)--;
    if (after)
        (*after)++;
    slot->state = state;
    pm_core_changed(slot->place->pool->core);
}

/* ---- slots ---------------------------------------------------------------------------------------------- */

static struct pm_slot *make_slot(struct pm_place *place)
{
    struct pm_slot *slot = pm_xalloc(sizeof(*slot));

    slot->place = place;
    slot->index = place->n_slots_made;
    slot->due.kind = PM_DUE_SLOT;
    place->slots = pm_xrealloc(place->slots, (place->n_slots_made + 1) * sizeof(*place->slots));
    place->slots[place->n_slots_made++] = slot;
    return slot;
}

static struct pm_slot *take_slot(struct pm_place *place, uint64_t request)
{
    struct pm_slot *slot = place->free_slots;

    if (slot)
        place->free_slots = slot->next_free;
    else
        slot = make_slot(place);

    slot->serial = (++place->pool->core->last_lease << SLOT_BITS) | slot->index;
    slot->request = request;
    slot->granted_ms = place->pool->core->now_ms;
    set_state(slot, PM_SLOT_RUNNING);
    place->pool->n_leases++;
    return slot;
}

void pm_pool_rests(struct pm_pool *pool)
{
    pool->idle_ms = pool->core->now_ms;
    pool->rest = ++pool->core->last_rest;
}

static void free_slot(struct pm_slot *slot)
{
    struct pm_place *place = slot->place;
    struct pm_pool *pool = place->pool;

    set_state(slot, PM_SLOT_FREE);
    pm_heap_remove(&pool->core->heap, &slot->due.node);
    slot->serial = 0;
    slot->next_free = place->free_slots;
    place->free_slots = slot;
    if (--pool->n_leases == 0)
        pm_pool_rests(pool);
}

static struct pm_slot *slot_of(const struct pm_place *place, const struct pm_lease *lease)
{
    uint64_t index = lease->serial & SLOT_MASK;

    if (index >= place->n_slots_made || place->slots[index]->serial != lease->serial)
        return NULL;
    return place->slots[index];
}

static struct pm_slot *find_slot(const struct pm_core *core, const struct pm_lease *lease)
{
    struct pm_slot *slot = NULL;
    const struct pm_link *link;
    const struct pm_pool *pool;

    if (lease->serial == 0 || lease->pool >= core->n_handles || !core->handles[lease->pool])
        return NULL;

    pool = core->handles[lease->pool];
    if (lease->replica < pool->n_places)
        slot = slot_of(pool->places[lease->replica], lease);
    if (slot)
        return slot;
    pm_list_each (&pool->extras, link) {
        slot = slot_of(pm_container_of(link, const struct pm_place, extra_link), lease);
        if (slot)
            return slot;
    }
    return NULL;
}

struct pm_place *pm_lease_place(const struct pm_core *core, const struct pm_lease *lease)
{
    const struct pm_slot *slot = find_slot(core, lease);

    return slot ? slot->place : NULL;
}

static struct pm_lease lease_of(const struct pm_slot *slot)
{
    struct pm_lease lease = {.serial = slot->serial,
                             .pool = slot->place->pool->handle,
                             .replica = slot->place->index,
                             .instance = slot->place->instance.n};

    return lease;
}

void pm_place_free_slots(struct pm_place *place)
{
    for (uint32_t i = 0; i < place->n_slots_made; i++)
        free(place->slots[i]);
    free(place->slots);
}

/* ---- granting ------------------------------------------------------------------------------------------- */

static struct pm_action *grant(struct pm_place *place, uint64_t request, struct pm_actions *out)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_GRANT);

    if (pm_place_at_work(place) == 0)
        place->instance.life_ms = place->pool->core->now_ms;
    place->instance.n_missed = 0;
    place->pool->counters.granted++;
    action->request = request;
    action->lease = lease_of(take_slot(place, request));
    action->lease_token.serial = place->token.serial;
    action->replica = place->index;
    action->instance = place->instance.n;
    return action;
}

void pm_request_grant(struct pm_place *place, uint64_t request, struct pm_actions *out)
{
    (void)grant(place, request, out);
}

void pm_waiter_grant(struct pm_waiter *waiter, struct pm_place *place, struct pm_actions *out)
{
    struct pm_action *action = grant(place, waiter->id, out);

    action->queue_position = waiter->position;
    action->waited_ms = place->pool->core->now_ms - waiter->arrived_ms;
    action->waited = true;
    if (waiter->predicted_ms != PM_NEVER)
        action->predicted_ms = waiter->predicted_ms;
    pm_tell_waiter(waiter, place->pool, PM_EV_REQUEST_PLACED, NULL, out);
    pm_queue_granted(place->pool, waiter);
    pm_queue_remove(waiter);
}

/* ---- ending --------------------------------------------------------------------------------------------- */

static void cut(struct pm_slot *slot, const struct poolmgr_error *error, struct pm_actions *out)
{
    struct pm_lease lease = lease_of(slot);

    /* The request of a settling lease is over for its caller: there is nothing to cut. */
    if (error && slot->state != PM_SLOT_SETTLING)
        pm_action_cut(out, slot->request, &lease, error);
    free_slot(slot);
}

void pm_leases_end(struct pm_place *place, bool only_living, const struct poolmgr_error *error,
                   struct pm_actions *out)
{
    for (uint32_t i = 0; i < place->n_slots_made && pm_place_leases(place) > 0; i++) {
        struct pm_slot *slot = place->slots[i];

        if (slot->serial != 0 && (!only_living || slot->state == PM_SLOT_RUNNING))
            cut(slot, error, out);
    }
}

/* The connection is closed; the engine notices by and by. */
static void let_settle(struct pm_slot *slot, struct pm_actions *out)
{
    struct pm_place *place = slot->place;
    struct pm_core *core = place->pool->core;

    set_state(slot, PM_SLOT_SETTLING);
    pm_due_set(core, &slot->due, pm_add_ms(core->now_ms, place->spec->cancel_settle_ms));
    pm_ask_busy(place, out);
}

void pm_slot_due(struct pm_slot *slot, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    if (slot->state == PM_SLOT_ABANDONED)
        pm_error_of_abandoned(slot->place, &error);
    cut(slot, slot->state == PM_SLOT_ABANDONED ? &error : NULL, out);
}

static void count_limits(struct pm_place *place, enum pm_release how)
{
    if (how == PM_RELEASE_LIMIT)
        place->instance.n_limits_in_row++;
    if (how == PM_RELEASE_DONE)
        place->instance.n_limits_in_row = 0;
}

void pm_core_release(struct pm_core *core, const struct pm_lease *lease, enum pm_release how,
                     uint64_t now_ms, struct pm_actions *out)
{
    struct pm_slot *slot;

    pm_core_enter(core, now_ms, out);
    slot = find_slot(core, lease);
    if (!slot || slot->state == PM_SLOT_SETTLING)
        return;

    if (how == PM_RELEASE_DONE)
        slot->place->instance.life_ms = core->now_ms;
    if (how == PM_RELEASE_DONE || how == PM_RELEASE_CLIENT_CLOSED)
        pm_perf_served(slot->place->pool, core->now_ms - slot->granted_ms);
    count_limits(slot->place, how);
    if (how == PM_RELEASE_DONE || how == PM_RELEASE_UNUSED)
        free_slot(slot);
    else
        let_settle(slot, out);
    pm_pool_step(slot->place->pool, out);
}

void pm_core_abandon(struct pm_core *core, const struct pm_lease *lease, uint64_t now_ms,
                     struct pm_actions *out)
{
    struct pm_slot *slot;

    pm_core_enter(core, now_ms, out);
    slot = find_slot(core, lease);
    if (!slot || slot->state != PM_SLOT_RUNNING)
        return;

    set_state(slot, PM_SLOT_ABANDONED);
    slot->place->pool->counters.abandoned++;
    pm_due_set(core, &slot->due, pm_add_ms(core->now_ms, slot->place->spec->abandon_max_ms));
    pm_pool_step(slot->place->pool, out);
}

void pm_core_keep_alive(struct pm_core *core, const struct pm_lease *lease, uint64_t keep_alive_ms,
                        uint64_t now_ms, struct pm_actions *out)
{
    struct pm_slot *slot;
    struct pm_pool *pool;

    pm_core_enter(core, now_ms, out);
    slot = find_slot(core, lease);
    if (!slot)
        return;

    pool = slot->place->pool;
    pool->has_keep_alive = true;
    pool->keep_alive_ms = keep_alive_ms;
    pm_core_changed(core);
    pm_pool_step(pool, out);
}

/* ---- what the engine says -------------------------------------------------------------------------------- */

/* Asks how many slots are busy, while that can free one. */
void pm_ask_busy(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    if (!place->spec->habits.reports_busy || place->busy.serial != 0)
        return;

    pm_ask(core, &place->busy, PM_QUESTION_BUSY, place);
    pm_action_of(out, PM_ACT_ASK_BUSY, place)->probe.serial = place->busy.serial;
    place->instance.next_busy_ms = pm_add_ms(core->now_ms, ASK_BUSY_EVERY_MS);
}

/* What the engine must be busy with if nothing that settles has ended. */
static uint64_t n_expected_busy(const struct pm_place *place)
{
    uint64_t n = 0, now_ms = place->pool->core->now_ms;

    for (uint32_t i = 0; i < place->n_slots_made; i++) {
        const struct pm_slot *slot = place->slots[i];

        n += slot->state == PM_SLOT_SETTLING ||
             (slot->serial != 0 && now_ms - slot->granted_ms >= ARRIVES_WITHIN_MS);
    }
    return n;
}

/* Of the leases that settle, the engine has ended as many as are busy less than we expect. */
static void free_settled(struct pm_place *place, uint64_t n_busy)
{
    uint64_t n_ours = n_expected_busy(place);

    for (uint32_t i = 0; i < place->n_slots_made && n_ours > n_busy; i++) {
        struct pm_slot *slot = place->slots[i];

        if (slot->state != PM_SLOT_SETTLING)
            continue;
        free_slot(slot);
        n_ours--;
    }
}

static void count_unowned(struct pm_place *place, uint64_t n_busy)
{
    uint64_t n_ours = pm_place_leases(place), n_before = place->instance.n_unowned;

    if (n_before == 0)
        return;
    place->instance.n_unowned = n_busy > n_ours ? n_busy - n_ours : 0;
    if (place->instance.n_unowned != n_before)
        pm_core_changed(place->pool->core);
}

void pm_core_busy(struct pm_core *core, struct pm_token probe, uint64_t n_busy, uint64_t now_ms,
                  struct pm_actions *out)
{
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, probe, PM_QUESTION_BUSY);
    if (!place)
        return;

    pm_unask(core, &place->busy);
    count_unowned(place, n_busy);
    free_settled(place, n_busy);
    pm_pool_step(place->pool, out);
}
