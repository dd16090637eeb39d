/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room on devices (LOAD-2). A start that needs memory of a device waits in one line for all devices: the oldest
 * waiter first, starts that nobody waits for last, in the order of the file. At the end of every step the line is
 * walked: whose turn it is takes what it needs, charged and spawned in one step; who is short has others stopped
 * (evict.c) or waits. One that is short, and can get its room, keeps those behind it from the devices it waits for:
 * so nobody is overtaken for ever. One that cannot, because what is in the way is pinned or held, keeps nobody.
 *
 * Without a list of devices, and for engines that are not ours or of which nothing is known, there is no line: they start at
 * once.
 */
#include <string.h>

#include "core/inner.h"

static struct pm_place *place_of_claim(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.claim);
}

static struct pm_place *place_of_charge(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.charged);
}

bool pm_room_needed(const struct pm_place *place)
{
    return pm_ways_needed(place->pool->core, place->spec);
}

const struct pm_way *pm_room_way(const struct pm_core *core, const struct pm_pool_spec *spec,
                                 size_t i)
{
    const struct pm_ways *ways;

    if (!pm_ways_needed(core, spec))
        return NULL;
    if (pm_ways_on_cpu(core, spec))
        return i == 0 ? pm_cpu_way(core, spec) : NULL;
    if (!pm_core_has_gpus(core))
        return NULL;
    ways = pm_ways_of(core, spec);
    return i < ways->n ? &ways->items[i] : NULL;
}

/* ---- finding room ------------------------------------------------------------------------------------ */

bool pm_room_open_on(const struct pm_core *core, uint32_t account, bool first)
{
    return pm_device_permits(core, account) &&
           (!core->devices[account].taken || first || pm_list_empty(&core->claims));
}

bool pm_room_open(const struct pm_core *core, const struct pm_shares *shares, bool first)
{
    for (uint32_t i = 0; i < shares->n; i++) {
        if (!pm_room_open_on(core, shares->items[i].account, first))
            return false;
    }
    return true;
}

struct seeker {
    const struct pm_core *core;
    const struct pm_shares *own;
    bool first;
};

static uint64_t left_now(const void *ctx, uint32_t account)
{
    const struct seeker *seeker = ctx;

    if (!pm_room_open_on(seeker->core, account, seeker->first))
        return 0;
    return pm_ledger_left(&seeker->core->ledger, account, seeker->own);
}

static uint64_t left_after(const struct pm_ledger *ledger, const struct pm_shares *shares,
                           const struct pm_shares *own)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < shares->n; i++) {
        uint64_t left = pm_ledger_left(ledger, shares->items[i].account, own);

        most = left > most ? left : most;
    }
    return most;
}

/* The tightest place where it fits now; a split only where no such place is. */
bool pm_room_find(const struct pm_core *core, const struct pm_pool_spec *spec,
                  const struct pm_shares *own, bool first, struct pm_way *ret)
{
    const struct seeker seeker = {.core = core, .own = own, .first = first};
    const struct pm_way *way, *found = NULL;
    uint64_t tightest = UINT64_MAX;

    for (size_t i = 0; (way = pm_room_way(core, spec, i)); i++) {
        uint64_t left = left_after(&core->ledger, &way->shares, own);

        if (left >= tightest || !pm_room_open(core, &way->shares, first) ||
            !pm_ledger_fits(&core->ledger, &way->shares, own))
            continue;
        tightest = left;
        found = way;
    }
    if (!found && pm_core_has_gpus(core))
        found = pm_ways_split(core, spec, PM_SPLIT_NOW, left_now, &seeker);
    if (found)
        *ret = *found;
    return found != NULL;
}

bool pm_room_fits_beside(const struct pm_place *place, const struct pm_pool_spec *spec)
{
    const struct pm_core *core = place->pool->core;
    struct pm_way way;

    return !pm_ways_needed(core, spec) || pm_room_find(core, spec, NULL, false, &way);
}

/* ---- the line ---------------------------------------------------------------------------------------- */

static uint64_t asked_at(const struct pm_pool *pool, enum pm_operation_kind kind)
{
    const struct pm_op *op = pm_pool_op(pool, kind);

    return op ? op->view.created_ms : PM_NEVER;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Since when somebody waits for it: a request, or an operator. What a reload adds beside an engine stops nobody. */
static uint64_t waits_since(const struct pm_place *place)
{
    bool for_requests = place->wanted.reason == PM_BECAUSE_WAITERS;
    const struct pm_waiter *waiter = for_requests ? pm_pool_oldest_waiter(place->pool) : NULL;

    if (place->wanted.want != PM_UP || (place->role == PM_NEXT && !pm_reload_swaps(place->pool)))
        return PM_NEVER;
    return earlier(
        waiter ? waiter->arrived_ms : PM_NEVER,
        earlier(asked_at(place->pool, PM_OP_START), asked_at(place->pool, PM_OP_RELOAD)));
}

static bool stands_before(const struct pm_place *a, const struct pm_place *b)
{
    if (a->room.since_ms != b->room.since_ms)
        return a->room.since_ms < b->room.since_ms;
    if (a->pool->number != b->pool->number)
        return a->pool->number < b->pool->number;
    return a->index < b->index;
}

static void stand_in_line(struct pm_place *place)
{
    struct pm_list *claims = &place->pool->core->claims;
    uint64_t since_ms = waits_since(place);
    struct pm_link *link;

    if (pm_link_in_list(&place->room.claim) && place->room.since_ms == since_ms)
        return;

    pm_list_remove(&place->room.claim);
    place->room.since_ms = since_ms;
    for (link = claims->head.prev; link != &claims->head; link = link->prev) {
        if (stands_before(place_of_claim(link), place))
            break;
    }
    pm_list_insert_before(link->next, &place->room.claim);
}

bool pm_room_ask(struct pm_place *place)
{
    if (!pm_room_needed(place))
        return true;
    if (pm_ways_awaited(place->pool->core, place->spec))
        return false;
    stand_in_line(place);
    return place->pool->core->turn == place;
}

void pm_room_leave(struct pm_place *place)
{
    struct pm_room *room = &place->room;

    pm_list_remove(&room->claim);
    pm_ledger_unreserve(&place->pool->core->ledger, &room->reserved);
    room->target.n = 0;
    room->due_ms = PM_NEVER;
    room->look_by_ms = 0;
    room->told = false;
}

uint64_t pm_room_due(const struct pm_place *place)
{
    return place->room.due_ms > place->pool->core->now_ms ? place->room.due_ms : PM_NEVER;
}

/* ---- the walk ---------------------------------------------------------------------------------------- */

static bool take_turn(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    if (!pm_room_find(core, place->spec, &place->room.reserved, pm_evict_has_begun(place),
                      &core->turn_plan))
        return false;

    core->turn = place;
    pm_pool_settle(place->pool, out);
    core->turn = NULL;
    return true;
}

static void keep_from_others(const struct pm_place *place)
{
    const struct pm_shares *target = &place->room.target;

    for (uint32_t i = 0; i < target->n; i++)
        place->pool->core->devices[target->items[i].account].taken = true;
}

static void tell_short(struct pm_place *place, struct pm_actions *out)
{
    if (place->room.told)
        return;
    place->room.told = true;
    pm_tell_room(place, PM_EV_VRAM_REFUSED, out);
}

/* The trial after a quarantine, or its end, is something to decide. */
static void look_again_after_quarantine(struct pm_place *place)
{
    const struct pm_core *core = place->pool->core;

    for (size_t i = 0; i < core->n_devices; i++) {
        uint64_t until_ms = core->devices[i].quarantined_until_ms;

        if (core->devices[i].quarantined && until_ms > core->now_ms &&
            until_ms < place->room.due_ms)
            place->room.due_ms = until_ms;
    }
}

/* Short: others have to stop for it, or it waits. */
static void wait_in_line(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    const struct pm_way *first;
    bool at_once = false;

    place->room.due_ms = PM_NEVER;
    if (place->room.since_ms == PM_NEVER) {
        place->room.target.n = 0;
        pm_ledger_unreserve(&core->ledger, &place->room.reserved);
    } else if (pm_evict_look(place, &at_once, out)) {
        keep_from_others(place);
    }
    first = pm_room_way(core, place->spec, 0);
    if (place->room.target.n == 0 && first) /* so that something can be said of it */
        place->room.target = first->shares;
    look_again_after_quarantine(place);
    if (!at_once)
        tell_short(place, out);
}

/* True: somebody took his turn, and all is to be looked at again. */
static bool walk(struct pm_core *core, struct pm_actions *out)
{
    struct pm_link *link;

    for (size_t i = 0; i < core->n_devices; i++)
        core->devices[i].taken = false;
    pm_list_each (&core->charged, link)
        place_of_charge(link)->room.next_claimant = NULL;

    pm_list_each (&core->claims, link) {
        struct pm_place *place = place_of_claim(link);
        uint64_t version = core->version;

        if (!take_turn(place, out))
            wait_in_line(place, out);
        else if (version != core->version)
            return true;
    }
    return false;
}

static void give_way(struct pm_place *place, struct pm_place *claimant, struct pm_actions *out)
{
    bool up = place->state == PM_READY || place->state == PM_SICK;

    if (!claimant && up)
        pm_tell_room(place, PM_EV_EVICT_CALLED_OFF, out);
    pm_room_set_claimant(place, claimant);
    if (claimant && up && !pm_place_emptied(place))
        pm_tell_room(place, PM_EV_EVICT_CLAIMED, out);
    pm_pool_settle(place->pool, out);
}

/* True: somebody gives way, or need not any more. */
static bool apply_claims(struct pm_core *core, struct pm_actions *out)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        struct pm_place *place = place_of_charge(link);

        if (place->room.next_claimant == place->room.claimant)
            continue;
        give_way(place, place->room.next_claimant, out);
        return true;
    }
    return false;
}

void pm_room_step(struct pm_core *core, struct pm_actions *out)
{
    struct pm_link *link;

    if (core->leaving || !core->begun || (pm_list_empty(&core->claims) && core->n_claimed == 0))
        return;

    while (walk(core, out) || apply_claims(core, out))
        ;
    pm_list_each (&core->claims, link) {
        if (place_of_claim(link)->room.due_ms != PM_NEVER)
            pm_pool_set_due(place_of_claim(link)->pool);
    }
}
