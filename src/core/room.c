/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room on devices (LOAD-2). A start that needs memory of a device waits in one line for all devices: the oldest
 * waiter first, starts that nobody waits for last, in the order of the file. At the end of every step the line is
 * walked: whose turn it is takes what it needs, charged and spawned in one step; who is short has others stopped
 * (evict.c) or waits. One that is short, and can get its room, keeps those behind it from the devices it waits for:
 * so nobody is overtaken for ever. One that cannot, because what is in the way is pinned or held, keeps nobody.
 *
 * Without a list of devices, and for engines on the CPU or not ours, there is no line: they start at once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define BYTES 32

static struct pm_place *place_of_claim(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.claim);
}

static struct pm_place *place_of_charge(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.charged);
}

static const char *bytes(char *to, uint64_t n)
{
    return pm_format_bytes(to, BYTES, n);
}

/* ---- what a spec asks for ---------------------------------------------------------------------------- */

static bool needs_devices(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    return core->n_devices > 0 && spec->habits.ours && strcmp(spec->devices, "cpu") != 0;
}

bool pm_room_needed(const struct pm_place *place)
{
    return needs_devices(place->pool->core, place->spec);
}

/* What it needs on that device; false: the spec says that it is not for it. */
static bool bytes_on(const struct pm_pool_spec *spec, const char *device, uint64_t *ret)
{
    *ret = pm_device_size(&spec->vram, device);
    return spec->vram.devices.n == 0 || pm_strv_contains(&spec->vram.devices, device);
}

static bool number_of(const struct pm_core *core, const char *id, uint32_t *ret)
{
    for (*ret = 0; *ret < core->n_devices; (*ret)++) {
        if (strcmp(pm_device_id(core, *ret), id) == 0)
            return true;
    }
    return false;
}

/* The whole mask: one way, or none where a device of it was never seen. */
static bool whole_mask(const struct pm_core *core, const struct pm_pool_spec *spec,
                       struct pm_shares *ret)
{
    for (size_t i = 0; i < spec->mask.n; i++) {
        uint32_t number;
        uint64_t n;

        if (!number_of(core, spec->mask.items[i], &number) ||
            !bytes_on(spec, spec->mask.items[i], &n) || !pm_shares_add(ret, number, n))
            return false;
    }
    return true;
}

/* auto: any one device. */
static bool one_device(const struct pm_core *core, const struct pm_pool_spec *spec, size_t i,
                       struct pm_shares *ret)
{
    for (uint32_t number = 0; number < core->n_devices; number++) {
        uint64_t n;

        if (bytes_on(spec, pm_device_id(core, number), &n) && i-- == 0)
            return pm_shares_add(ret, number, n);
    }
    return false;
}

bool pm_room_candidate(const struct pm_core *core, const struct pm_pool_spec *spec, size_t i,
                       struct pm_shares *ret)
{
    ret->n = 0;
    if (!needs_devices(core, spec))
        return false;
    if (spec->mask.n > 0)
        return i == 0 && whole_mask(core, spec, ret);
    return one_device(core, spec, i, ret);
}

/* ---- what can never be ------------------------------------------------------------------------------- */

/* How many bytes the fullest device of a way lacks when it is empty; *ret is that device. */
static uint64_t lacks_for_ever(const struct pm_core *core, const struct pm_shares *shares,
                               struct pm_share *ret)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < shares->n; i++) {
        uint64_t capacity = core->ledger.accounts[shares->items[i].account].capacity;

        if (shares->items[i].bytes > capacity && shares->items[i].bytes - capacity > most) {
            most = shares->items[i].bytes - capacity;
            *ret = shares->items[i];
        }
    }
    return most;
}

static void describe_never(const struct pm_core *core, const struct pm_share *share,
                           uint64_t missing, struct pm_verdict *ret)
{
    char needs[BYTES], has[BYTES];

    ret->class = PM_CLASS_SPAWN;
    ret->code = POOLMGR_E_NEVER_FITS;
    ret->permanent = true;
    (void)snprintf(ret->text, sizeof(ret->text),
                   "it needs %s on device %s, which has %s for it: %" PRIu64 " bytes are missing",
                   bytes(needs, share->bytes), pm_device_id(core, share->account),
                   bytes(has, core->ledger.accounts[share->account].capacity), missing);
}

bool pm_room_never(const struct pm_core *core, const struct pm_pool_spec *spec,
                   struct pm_verdict *ret)
{
    struct pm_share share, worst = {0};
    uint64_t least = UINT64_MAX;
    struct pm_shares shares;

    for (size_t i = 0; pm_room_candidate(core, spec, i, &shares); i++) {
        uint64_t missing = lacks_for_ever(core, &shares, &share);

        if (missing == 0)
            return false;
        if (missing < least) {
            least = missing;
            worst = share;
        }
    }
    if (least == UINT64_MAX) /* its devices are unknown: that is no matter of size */
        return false;
    describe_never(core, &worst, least, ret);
    return true;
}

static bool all_work(const struct pm_core *core, const struct pm_shares *shares)
{
    for (uint32_t i = 0; i < shares->n; i++) {
        if (!pm_device_works(core, shares->items[i].account))
            return false;
    }
    return true;
}

static bool has_engine(const struct pm_pool *pool)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        enum pm_state state = pool->places[i]->state;

        if (state == PM_STARTING || state == PM_READY || state == PM_SICK)
            return true;
    }
    return false;
}

bool pm_room_lost(const struct pm_pool *pool, struct poolmgr_error *ret)
{
    const struct pm_core *core = pool->core;
    struct pm_shares shares;

    if (!needs_devices(core, pool->spec) || has_engine(pool))
        return false;
    for (size_t i = 0; pm_room_candidate(core, pool->spec, i, &shares); i++) {
        if (all_work(core, &shares))
            return false;
    }
    (void)pm_fail(ret, POOLMGR_E_DEVICE_LOST, "no device that %s may use works", pool->spec->id);
    (void)pm_error_hint(ret, 0, "poolctl devices shows what is wrong with them");
    ret->retry_after_ms = 1000;
    return true;
}

/* ---- finding room ------------------------------------------------------------------------------------ */

bool pm_room_open(const struct pm_core *core, const struct pm_shares *shares, bool first)
{
    for (uint32_t i = 0; i < shares->n; i++) {
        uint32_t number = shares->items[i].account;

        if (!pm_device_permits(core, number) ||
            (core->devices[number].taken && !first && !pm_list_empty(&core->claims)))
            return false;
    }
    return true;
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

/* The tightest place where it fits now. */
static bool find_room(const struct pm_core *core, const struct pm_pool_spec *spec,
                      const struct pm_shares *own, bool first, struct pm_shares *ret)
{
    uint64_t tightest = UINT64_MAX;
    struct pm_shares shares;

    for (size_t i = 0; pm_room_candidate(core, spec, i, &shares); i++) {
        uint64_t left = left_after(&core->ledger, &shares, own);

        if (left >= tightest || !pm_room_open(core, &shares, first) ||
            !pm_ledger_fits(&core->ledger, &shares, own))
            continue;
        tightest = left;
        *ret = shares;
    }
    return tightest != UINT64_MAX;
}

bool pm_room_fits_beside(const struct pm_place *place, const struct pm_pool_spec *spec)
{
    const struct pm_core *core = place->pool->core;
    struct pm_shares shares;

    return !needs_devices(core, spec) || find_room(core, spec, NULL, false, &shares);
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
    room->told = false;
}

uint64_t pm_room_due(const struct pm_place *place)
{
    return place->room.due_ms > place->pool->core->now_ms ? place->room.due_ms : PM_NEVER;
}

/* ---- taking and giving back -------------------------------------------------------------------------- */

static void hold(struct pm_place *place)
{
    pm_list_append(&place->pool->core->charged, &place->room.charged);
    pm_trial_begin(place);
    pm_vram_note_start(place);
    pm_core_changed(place->pool->core);
}

void pm_room_take(struct pm_place *place)
{
    struct pm_core *core = place->pool->core;

    if (!pm_room_needed(place))
        return;
    if (pm_ledger_charge(&core->ledger, &core->turn_plan, &place->room.reserved,
                         &place->room.charge))
        hold(place);
}

/* auto: of the devices that work, the one that has most left: where it was started may be told later. */
static bool guess(const struct pm_place *place, struct pm_shares *ret)
{
    const struct pm_core *core = place->pool->core;
    struct pm_shares shares;
    uint64_t most = 0;
    bool found = false;

    for (size_t i = 0; pm_room_candidate(core, place->spec, i, &shares); i++) {
        uint64_t left = left_after(&core->ledger, &shares, NULL);

        if (!all_work(core, &shares) || (found && left <= most))
            continue;
        most = left;
        *ret = shares;
        found = true;
    }
    return found;
}

static void note(struct pm_place *place, const struct pm_shares *held)
{
    if (pm_ledger_note(&place->pool->core->ledger, held, &place->room.charge) && held->n > 0)
        hold(place);
}

void pm_room_take_adopted(struct pm_place *place)
{
    struct pm_shares shares;

    if (guess(place, &shares))
        note(place, &shares);
}

void pm_core_adopted_on(struct pm_core *core, struct pm_token token, const struct pm_plan *plan,
                        uint64_t now_ms, struct pm_actions *out)
{
    struct pm_shares shares = {0};
    struct pm_place *place;
    uint32_t number;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || !pm_room_needed(place))
        return;

    for (size_t i = 0; i < plan->n_devices; i++) {
        if (number_of(core, plan->devices[i].id, &number))
            (void)pm_shares_add(&shares, number, plan->devices[i].bytes);
    }
    pm_ledger_release(&core->ledger, &place->room.charge);
    pm_list_remove(&place->room.charged);
    note(place, &shares);
    pm_pool_step(place->pool, out);
}

static void set_claimant(struct pm_place *place, struct pm_place *claimant)
{
    struct pm_core *core = place->pool->core;

    if (place->room.claimant == claimant)
        return;
    core->n_claimed += (claimant != NULL);
    core->n_claimed -= (place->room.claimant != NULL);
    place->room.claimant = claimant;
    pm_core_changed(core);
}

/* The way to run it that has most of these devices. */
static void aim_at(struct pm_place *place, const struct pm_shares *freed)
{
    const struct pm_core *core = place->pool->core;
    struct pm_shares shares;
    unsigned most = 0;

    for (size_t i = 0; pm_room_candidate(core, place->spec, i, &shares); i++) {
        unsigned n = 0;

        for (uint32_t k = 0; k < freed->n; k++)
            n += pm_shares_of(&shares, freed->items[k].account) > 0;
        if (n <= most)
            continue;
        most = n;
        place->room.target = shares;
    }
}

/* What an eviction freed is its claimant's as long as that waits; what one of a swap frees is the other's. */
void pm_room_give_back(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    struct pm_place *heir = pm_reload_heir(place);
    struct pm_shares freed = place->room.charge;

    if (freed.n > 0) {
        pm_vram_note_end(place, out);
        pm_trial_end(place);
        pm_ledger_release(&core->ledger, &place->room.charge);
        pm_list_remove(&place->room.charged);
    }
    if (heir)
        aim_at(heir, &freed);
    else if (place->room.claimant && place->room.claimant->state == PM_WAITING)
        heir = place->room.claimant;
    if (heir)
        pm_ledger_reserve(&core->ledger, &freed, &heir->room.target, &heir->room.reserved);
    set_claimant(place, NULL);
}

void pm_room_forget(struct pm_place *place)
{
    struct pm_core *core = place->pool->core;
    struct pm_link *link;

    pm_room_leave(place);
    pm_ledger_release(&core->ledger, &place->room.charge);
    pm_list_remove(&place->room.charged);
    set_claimant(place, NULL);
    pm_list_each (&core->charged, link) {
        if (place_of_charge(link)->room.claimant == place)
            set_claimant(place_of_charge(link), NULL);
    }
    pm_trial_end(place);
}

struct pm_plan *pm_room_plan(const struct pm_place *place)
{
    const struct pm_shares *charge = &place->room.charge;
    struct pm_plan *plan;

    if (charge->n == 0)
        return NULL;

    plan = pm_xalloc(sizeof(*plan));
    plan->n_devices = charge->n;
    for (uint32_t i = 0; i < charge->n; i++) {
        (void)pm_str_copy(plan->devices[i].id, sizeof(plan->devices[i].id),
                          pm_device_id(place->pool->core, charge->items[i].account));
        plan->devices[i].bytes = charge->items[i].bytes;
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

/* ---- the walk ---------------------------------------------------------------------------------------- */

static bool take_turn(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;

    if (!find_room(core, place->spec, &place->room.reserved, pm_evict_has_begun(place),
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
    bool at_once = false;

    place->room.due_ms = PM_NEVER;
    if (place->room.since_ms == PM_NEVER) {
        place->room.target.n = 0;
        pm_ledger_unreserve(&core->ledger, &place->room.reserved);
    } else if (pm_evict_look(place, &at_once)) {
        keep_from_others(place);
    }
    if (place->room.target.n == 0) /* so that something can be said of it */
        (void)pm_room_candidate(core, place->spec, 0, &place->room.target);
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
    set_claimant(place, claimant);
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

/* ---- looking ----------------------------------------------------------------------------------------- */

/* The device of its target, or of its first way, that lacks most now. */
static uint64_t lacks_now(const struct pm_place *place, struct pm_share *ret)
{
    const struct pm_core *core = place->pool->core;
    struct pm_shares shares = place->room.target;
    uint64_t most = 0;

    if (shares.n == 0 && !pm_room_candidate(core, place->spec, 0, &shares))
        return 0;
    for (uint32_t i = 0; i < shares.n; i++) {
        uint64_t left =
            pm_ledger_left(&core->ledger, shares.items[i].account, &place->room.reserved);

        if (shares.items[i].bytes > left && shares.items[i].bytes - left > most) {
            most = shares.items[i].bytes - left;
            *ret = shares.items[i];
        }
    }
    return most;
}

static const struct pm_known_device *kept_from(const struct pm_place *place)
{
    const struct pm_core *core = place->pool->core;
    struct pm_shares shares;

    for (size_t i = 0; pm_room_candidate(core, place->spec, i, &shares); i++) {
        for (uint32_t k = 0; k < shares.n; k++) {
            if (!pm_device_permits(core, shares.items[k].account))
                return &core->devices[shares.items[k].account];
        }
    }
    return NULL;
}

int pm_room_explain(const struct pm_place *place, char *to, size_t size)
{
    const struct pm_known_device *device = kept_from(place);
    struct poolmgr_error error;
    struct pm_share share;
    uint64_t missing;
    char lacks[BYTES], needs[BYTES];

    if (pm_room_lost(place->pool, &error)) {
        (void)snprintf(to, size, "%s; poolctl devices shows why", error.message);
        return POOLMGR_E_DEVICE_LOST;
    }
    missing = lacks_now(place, &share);
    if (missing > 0) {
        (void)snprintf(to, size, "waits for room: device %s lacks %s of the %s it needs",
                       pm_device_id(place->pool->core, share.account), bytes(lacks, missing),
                       bytes(needs, share.bytes));
        return POOLMGR_E_VRAM_SHORT;
    }
    if (device) {
        (void)snprintf(to, size, "waits: device %s is %s; poolctl devices clear %s ends that",
                       device->is.id, pm_device_state_name(pm_device_state(device)), device->is.id);
        return 0;
    }
    (void)snprintf(to, size, "waits for room: other pools have waited longer");
    return POOLMGR_E_VRAM_SHORT;
}
