/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has to stop so that a claim has room (EVICT-1, EVICT-2). Nothing happens here: it is worked out anew after every
 * input, and whom it names gives way as long as it is named.
 *
 * Idle pools come first: the cheapest, and of equal ones the one that was used longest ago; they are taken until it
 * fits, and what is not needed is put back. Where they are not enough, a claimant that has waited for max_wait has the
 * gate of a busy pool closed that is ready for min_residency, and waits until its requests have ended. Who gives way
 * already is kept in preference to others, so that no pool is disturbed for nothing. The idle ones that are needed
 * besides stop when the busy ones have: their memory would lie idle until then.
 *
 * Nobody stops for what was seen before memory changed hands there, or a while ago (vram.c): a look comes first.
 */
#include <string.h>

#include "core/inner.h"

#define LOOK_WAIT_MS 2000

/* How soon a way is free, the soonest first. */
enum ease { BY_ITSELF, BY_IDLE, BY_BUSY, LATER, NEVER };

struct way {
    struct pm_shares shares;
    enum ease ease;
    uint64_t cost; /* of those who stop */
    unsigned n;
};

static struct pm_place *place_of(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.charged);
}

bool pm_evict_claimed(const struct pm_place *place)
{
    return place->room.claimant && (place->state == PM_READY || place->state == PM_SICK);
}

bool pm_evict_has_begun(const struct pm_place *claimant)
{
    struct pm_link *link;

    if (claimant->room.reserved.n > 0)
        return true;
    pm_list_each (&claimant->pool->core->charged, link) {
        if (place_of(link)->state == PM_STOPPING && place_of(link)->room.claimant == claimant)
            return true;
    }
    return false;
}

/* ---- who may be asked -------------------------------------------------------------------------------- */

/* Nobody's victim: what is pinned, held, or not another pool's. */
static bool is_protected(const struct pm_place *place, const struct pm_place *claimant)
{
    return place->pool == claimant->pool || place->spec->pinned || pm_pool_is_held(place->pool);
}

/* It stops anyway, for another reason. */
static bool is_going(const struct pm_place *place)
{
    return (place->wanted.want == PM_EMPTY || place->wanted.want == PM_DOWN) &&
           !pm_evict_claimed(place);
}

static bool is_others(const struct pm_place *place, const struct pm_place *claimant)
{
    const struct pm_place *of = place->room.next_claimant;

    return of && of != claimant;
}

static bool may_be_asked(const struct pm_place *place, const struct pm_place *claimant)
{
    return pm_place_is_up(place) && !is_protected(place, claimant) && !is_going(place) &&
           !is_others(place, claimant);
}

static bool is_idle(const struct pm_place *place)
{
    return place->pool->n_leases == 0 && place->instance.n_unowned == 0 &&
           !pm_pool_is_waited_for(place->pool);
}

static uint64_t resides_until(const struct pm_place *place)
{
    return pm_add_ms(place->instance.ready_ms, place->pool->core->options.evict_min_residency_ms);
}

/* ---- what is missing --------------------------------------------------------------------------------- */

/* Its memory comes back without a claim, or by this one's. */
static bool is_coming_back(const struct pm_place *place, const struct pm_place *claimant)
{
    return place->state == PM_STOPPING &&
           (!place->room.claimant || place->room.claimant == claimant);
}

/* What stops is to give back all that it was charged. What was seen of it says little: it may be loading, or its end may
 * have been seen before its memory was free. When it has ended it is known. */
static void add_freed(struct pm_freed *freed, const struct pm_place *place, uint32_t account)
{
    struct pm_freed before = *freed;
    uint64_t charged;

    pm_freed_add(freed, &place->room.charge, account);
    charged = pm_add_ms(before.used, freed->charged - before.charged);
    if (place->state == PM_STOPPING && freed->used < charged)
        freed->used = charged;
}

/* What would be left there when all that count have ended: of what they are charged, and of what they really use. */
static uint64_t left_without(const struct pm_place *claimant, uint32_t account,
                             bool (*counts)(const struct pm_place *place,
                                            const struct pm_place *claimant))
{
    const struct pm_core *core = claimant->pool->core;
    struct pm_freed freed = {0};
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        const struct pm_place *place = place_of(link);

        if (counts(place, claimant))
            add_freed(&freed, place, account);
    }
    if (account == PM_CPU) {
        uint64_t kept = pm_cpu_kept(claimant, counts);

        freed.charged -= kept < freed.charged ? kept : freed.charged;
        freed.pending -= kept < freed.pending ? kept : freed.pending;
    }
    return pm_ledger_left_without(&core->ledger, account, &claimant->room.reserved, &freed);
}

static bool is_chosen_or_coming(const struct pm_place *place, const struct pm_place *claimant)
{
    return place->room.order > 0 || is_coming_back(place, claimant);
}

static bool goes_one_day(const struct pm_place *place, const struct pm_place *claimant)
{
    if (place->state == PM_STOPPING)
        return is_coming_back(place, claimant);
    return is_going(place) || !is_protected(place, claimant);
}

static bool is_short_on(const struct pm_place *claimant, const struct pm_share *share,
                        bool (*counts)(const struct pm_place *, const struct pm_place *))
{
    return share->bytes > left_without(claimant, share->account, counts);
}

static bool would_fit(const struct pm_place *claimant, const struct pm_shares *shares,
                      bool (*counts)(const struct pm_place *, const struct pm_place *))
{
    for (uint32_t i = 0; i < shares->n; i++) {
        if (is_short_on(claimant, &shares->items[i], counts))
            return false;
    }
    return true;
}

static bool holds(const struct pm_place *place, uint32_t account)
{
    struct pm_freed freed = {0};

    pm_freed_add(&freed, &place->room.charge, account);
    return freed.charged > 0 || freed.used > 0;
}

/* Its stop would free something of what is missing. */
static bool helps(const struct pm_place *place, const struct pm_place *claimant,
                  const struct pm_shares *shares)
{
    for (uint32_t i = 0; i < shares->n; i++) {
        if (holds(place, shares->items[i].account) &&
            is_short_on(claimant, &shares->items[i], is_chosen_or_coming))
            return true;
    }
    return false;
}

/* ---- choosing ---------------------------------------------------------------------------------------- */

/* The cheapest first; then whose last use, or whose start when all are in use, is longest ago. */
static bool goes_before(const struct pm_place *a, const struct pm_place *b)
{
    bool idle = is_idle(a);
    uint64_t a_since = idle ? a->pool->rest : a->instance.ready_ms;
    uint64_t b_since = idle ? b->pool->rest : b->instance.ready_ms;

    if ((a->room.claimant != NULL) != (b->room.claimant != NULL))
        return a->room.claimant != NULL;
    if (a->spec->evict_cost != b->spec->evict_cost)
        return a->spec->evict_cost < b->spec->evict_cost;
    if (a_since != b_since)
        return a_since < b_since;
    return a->pool->number != b->pool->number ? a->pool->number < b->pool->number
                                              : a->index < b->index;
}

static struct pm_place *best(const struct pm_place *claimant, const struct pm_shares *shares,
                             bool idle)
{
    const struct pm_core *core = claimant->pool->core;
    struct pm_place *found = NULL;
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        struct pm_place *place = place_of(link);

        if (place->room.order > 0 || is_idle(place) != idle || !may_be_asked(place, claimant) ||
            (!idle && core->now_ms < resides_until(place)) || !helps(place, claimant, shares))
            continue;
        if (!found || goes_before(place, found))
            found = place;
    }
    return found;
}

static void choose(const struct pm_place *claimant, const struct pm_shares *shares, bool idle,
                   unsigned *n)
{
    struct pm_place *place;

    while ((place = best(claimant, shares, idle)))
        place->room.order = ++*n;
}

static struct pm_place *chosen(const struct pm_core *core, unsigned order)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        if (place_of(link)->room.order == order)
            return place_of(link);
    }
    return NULL;
}

/* The dearest is put back first. */
static void put_back(const struct pm_place *claimant, const struct pm_shares *shares, unsigned n)
{
    for (unsigned order = n; order > 0; order--) {
        struct pm_place *place = chosen(claimant->pool->core, order);

        place->room.order = 0;
        if (!would_fit(claimant, shares, is_chosen_or_coming))
            place->room.order = order;
    }
}

static void choose_nobody(const struct pm_core *core)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link)
        place_of(link)->room.order = 0;
}

static void add_up(const struct pm_core *core, struct way *way)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        if (place_of(link)->room.order == 0)
            continue;
        way->n++;
        way->cost = pm_add_ms(way->cost, place_of(link)->spec->evict_cost);
    }
}

/* Chooses who would have to stop for a way, and says how soon it would be free. */
static void look_at(const struct pm_place *claimant, struct way *way)
{
    const struct pm_core *core = claimant->pool->core;
    unsigned n = 0;

    choose_nobody(core);
    way->cost = way->n = 0;
    way->ease = BY_ITSELF;
    if (would_fit(claimant, &way->shares, is_chosen_or_coming))
        return;

    way->ease = BY_IDLE;
    choose(claimant, &way->shares, true, &n);
    if (!would_fit(claimant, &way->shares, is_chosen_or_coming)) {
        way->ease = BY_BUSY;
        choose(claimant, &way->shares, false, &n);
    }
    if (would_fit(claimant, &way->shares, is_chosen_or_coming)) {
        put_back(claimant, &way->shares, n);
        add_up(core, way);
        return;
    }
    choose_nobody(core);
    way->ease = would_fit(claimant, &way->shares, goes_one_day) ? LATER : NEVER;
}

static bool is_better(const struct pm_place *claimant, const struct way *a, const struct way *b)
{
    if (a->ease != b->ease)
        return a->ease < b->ease;
    if (a->cost != b->cost)
        return a->cost < b->cost;
    if (a->n != b->n)
        return a->n < b->n;
    return claimant->room.target.n > 0 &&
           b->shares.items[0].account != claimant->room.target.items[0].account &&
           a->shares.items[0].account == claimant->room.target.items[0].account;
}

struct claim {
    const struct pm_place *claimant;
    bool begun;
};

static uint64_t left_one_day(const void *ctx, uint32_t account)
{
    const struct claim *claim = ctx;

    if (!pm_room_open_on(claim->claimant->pool->core, account, claim->begun))
        return 0;
    return left_without(claim->claimant, account, goes_one_day);
}

static void try_way(const struct claim *claim, const struct pm_shares *shares, struct way *ret)
{
    struct way way = {.shares = *shares};

    if (!pm_room_open(claim->claimant->pool->core, shares, claim->begun))
        return;
    look_at(claim->claimant, &way);
    if (way.ease != NEVER && (ret->ease == NEVER || is_better(claim->claimant, &way, ret)))
        *ret = way;
}

static bool find_way(const struct pm_place *claimant, struct way *ret)
{
    const struct claim claim = {.claimant = claimant, .begun = pm_evict_has_begun(claimant)};
    const struct pm_core *core = claimant->pool->core;
    const struct pm_way *way;

    ret->ease = NEVER;
    for (size_t i = 0; (way = pm_room_way(core, claimant->spec, i)); i++)
        try_way(&claim, &way->shares, ret);
    way = pm_core_has_gpus(core)
              ? pm_ways_split(core, claimant->spec, PM_SPLIT_ONE_DAY, left_one_day, &claim)
              : NULL;
    if (way)
        try_way(&claim, &way->shares, ret);
    if (ret->ease == NEVER)
        return false;
    look_at(claimant, ret); /* others were chosen for other ways since */
    return true;
}

/* ---- claiming ---------------------------------------------------------------------------------------- */

/* What is reserved elsewhere is given back. */
static void wait_there(struct pm_place *claimant, const struct pm_shares *shares)
{
    const struct pm_shares *reserved = &claimant->room.reserved;

    claimant->room.target = *shares;
    for (uint32_t i = 0; i < reserved->n; i++) {
        if (pm_shares_of(shares, reserved->items[i].account) < reserved->items[i].bytes) {
            pm_ledger_unreserve(&claimant->pool->core->ledger, &claimant->room.reserved);
            return;
        }
    }
}

static uint64_t claims_busy_at(const struct pm_place *claimant)
{
    uint64_t since_ms =
        claimant->room.since_ms > claimant->since_ms ? claimant->room.since_ms : claimant->since_ms;

    return pm_add_ms(since_ms, claimant->pool->core->options.evict_max_wait_ms);
}

/* When time alone may let a busy pool be claimed. */
static uint64_t decides_at(const struct pm_place *claimant)
{
    const struct pm_core *core = claimant->pool->core;
    uint64_t first_ms = claims_busy_at(claimant);
    struct pm_link *link;

    if (first_ms > core->now_ms)
        return first_ms;
    first_ms = PM_NEVER;
    pm_list_each (&core->charged, link) {
        uint64_t at_ms = resides_until(place_of(link));

        if (pm_place_is_up(place_of(link)) && at_ms > core->now_ms && at_ms < first_ms)
            first_ms = at_ms;
    }
    return first_ms;
}

static bool shall_give_way(const struct pm_place *place, const struct pm_place *claimant,
                           enum ease ease)
{
    if (place->room.order == 0 || ease == BY_ITSELF)
        return false;
    if (ease == BY_IDLE)
        return true;
    return !is_idle(place) && claimant->pool->core->now_ms >= claims_busy_at(claimant);
}

static bool is_old(const struct pm_place *claimant)
{
    const struct pm_core *core = claimant->pool->core;
    const struct pm_ways *ways = pm_ways_of(core, claimant->spec);

    for (size_t i = 0; i < ways->n_accounts; i++) {
        if (pm_device_permits(core, ways->accounts[i]) && pm_vram_is_old(core, ways->accounts[i]))
            return true;
    }
    return false;
}

/* Nobody else stops for what was seen too long ago. A look is asked for, and waited for a while: a driver may hang. */
static bool waits_for_look(struct pm_place *claimant, enum ease ease, struct pm_actions *out)
{
    const struct pm_core *core = claimant->pool->core;
    bool asks_others = false;
    struct pm_link *link;

    pm_list_each (&core->charged, link)
        asks_others = asks_others || (place_of(link)->room.claimant != claimant &&
                                      shall_give_way(place_of(link), claimant, ease));
    if (!asks_others || !is_old(claimant)) {
        claimant->room.look_by_ms = 0;
        return false;
    }
    if (claimant->room.look_by_ms == 0) {
        claimant->room.look_by_ms = pm_add_ms(core->now_ms, LOOK_WAIT_MS);
        (void)pm_action_add(out, PM_ACT_LOOK);
    }
    return core->now_ms < claimant->room.look_by_ms;
}

bool pm_evict_look(struct pm_place *claimant, bool *ret_at_once, struct pm_actions *out)
{
    const struct pm_core *core = claimant->pool->core;
    struct pm_link *link;
    struct way way;
    bool waits;

    *ret_at_once = false;
    pm_list_each (&core->charged, link) { /* who has his signal goes on freeing for it */
        if (place_of(link)->state == PM_STOPPING && place_of(link)->room.claimant == claimant)
            place_of(link)->room.next_claimant = claimant;
    }
    if (!find_way(claimant, &way)) {
        claimant->room.look_by_ms = 0;
        return false;
    }

    wait_there(claimant, &way.shares);
    claimant->room.due_ms = decides_at(claimant);
    waits = waits_for_look(claimant, way.ease, out);
    if (waits && claimant->room.look_by_ms < claimant->room.due_ms)
        claimant->room.due_ms = claimant->room.look_by_ms;
    pm_list_each (&core->charged, link) {
        if (shall_give_way(place_of(link), claimant, way.ease) &&
            (!waits || place_of(link)->room.claimant == claimant))
            place_of(link)->room.next_claimant = claimant;
    }
    *ret_at_once = way.ease <= BY_IDLE;
    return true;
}
