/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums that are only ever compared by subtraction from a capacity, so that nothing wraps: what is left of an account
 * is 0 when more is charged than it has (engines that were there before us, a device that shrank).
 */
#include "plan/ledger.h"

#include <assert.h>
#include <stdlib.h>

#include "util/str.h"

void pm_ledger_fini(struct pm_ledger *ledger)
{
    free(ledger->accounts);
    *ledger = (struct pm_ledger){0};
}

uint32_t pm_ledger_open(struct pm_ledger *ledger, uint64_t capacity)
{
    ledger->accounts = pm_xrealloc(ledger->accounts, (ledger->n + 1) * sizeof(*ledger->accounts));
    ledger->accounts[ledger->n] =
        (struct pm_account){.capacity = capacity, .free = PM_LEDGER_UNSEEN};
    return ledger->n++;
}

static struct pm_account *account_of(const struct pm_ledger *ledger, uint32_t account)
{
    assert(account < ledger->n);
    return &ledger->accounts[account];
}

void pm_ledger_resize(struct pm_ledger *ledger, uint32_t account, uint64_t capacity)
{
    account_of(ledger, account)->capacity = capacity;
}

void pm_ledger_see(struct pm_ledger *ledger, uint32_t account, uint64_t free_bytes)
{
    account_of(ledger, account)->free = free_bytes;
}

/* ---- shares ----------------------------------------------------------------------------------------- */

static const struct pm_share *find(const struct pm_shares *shares, uint32_t account)
{
    for (uint32_t i = 0; shares && i < shares->n; i++) {
        if (shares->items[i].account == account)
            return &shares->items[i];
    }
    return NULL;
}

static struct pm_share *share_of(struct pm_shares *shares, uint32_t account)
{
    return (struct pm_share *)find(shares, account);
}

bool pm_shares_add(struct pm_shares *shares, uint32_t account, uint64_t bytes)
{
    if (shares->n == PM_SHARES_MAX || find(shares, account))
        return false;
    shares->items[shares->n++] = (struct pm_share){.account = account, .bytes = bytes};
    return true;
}

uint64_t pm_shares_of(const struct pm_shares *shares, uint32_t account)
{
    const struct pm_share *share = find(shares, account);

    return share ? share->bytes : 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

static uint64_t pending_of(const struct pm_share *share)
{
    return minus(share->bytes, share->used);
}

/* ---- granting --------------------------------------------------------------------------------------- */

void pm_freed_add(struct pm_freed *freed, const struct pm_shares *charge, uint32_t account)
{
    const struct pm_share *share = find(charge, account);

    if (!share)
        return;
    freed->charged = plus(freed->charged, share->bytes);
    freed->pending = plus(freed->pending, pending_of(share));
    freed->used = plus(freed->used, share->used);
}

uint64_t pm_ledger_left_without(const struct pm_ledger *ledger, uint32_t account,
                                const struct pm_shares *own, const struct pm_freed *freed)
{
    const struct pm_account *of = account_of(ledger, account);
    uint64_t for_others = minus(of->reserved, pm_shares_of(own, account));
    uint64_t left = minus(of->capacity, minus(of->charged, freed->charged));

    if (of->free != PM_LEDGER_UNSEEN)
        left = less(left, minus(plus(of->free, freed->used), minus(of->pending, freed->pending)));
    return minus(left, for_others);
}

uint64_t pm_ledger_left(const struct pm_ledger *ledger, uint32_t account,
                        const struct pm_shares *own)
{
    static const struct pm_freed nothing;

    return pm_ledger_left_without(ledger, account, own, &nothing);
}

uint64_t pm_ledger_foreign(const struct pm_ledger *ledger, uint32_t account)
{
    const struct pm_account *of = account_of(ledger, account);

    if (of->free == PM_LEDGER_UNSEEN)
        return 0;
    return minus(minus(of->capacity, of->charged), minus(of->free, of->pending));
}

bool pm_ledger_fits(const struct pm_ledger *ledger, const struct pm_shares *want,
                    const struct pm_shares *own)
{
    for (uint32_t i = 0; i < want->n; i++) {
        if (want->items[i].bytes > pm_ledger_left(ledger, want->items[i].account, own))
            return false;
    }
    return true;
}

bool pm_ledger_note(struct pm_ledger *ledger, const struct pm_shares *held,
                    struct pm_shares *charge)
{
    assert(charge->n == 0);
    for (uint32_t i = 0; i < held->n; i++) {
        if (held->items[i].bytes > UINT64_MAX - account_of(ledger, held->items[i].account)->charged)
            return false;
    }
    *charge = *held;
    for (uint32_t i = 0; i < charge->n; i++) {
        struct pm_share *share = &charge->items[i];
        struct pm_account *of = account_of(ledger, share->account);

        share->used = 0;
        share->seen = false;
        of->charged += share->bytes;
        of->pending += share->bytes;
    }
    return true;
}

bool pm_ledger_charge(struct pm_ledger *ledger, const struct pm_shares *want, struct pm_shares *own,
                      struct pm_shares *charge)
{
    if (!pm_ledger_fits(ledger, want, own))
        return false;
    if (own)
        pm_ledger_unreserve(ledger, own);
    return pm_ledger_note(ledger, want, charge);
}

void pm_ledger_release(struct pm_ledger *ledger, struct pm_shares *charge)
{
    for (uint32_t i = 0; i < charge->n; i++) {
        struct pm_account *of = account_of(ledger, charge->items[i].account);

        assert(of->charged >= charge->items[i].bytes);
        assert(of->pending >= pending_of(&charge->items[i]));
        of->charged -= charge->items[i].bytes;
        of->pending -= pending_of(&charge->items[i]);
    }
    charge->n = 0;
}

static void change(struct pm_account *of, struct pm_share *share, uint64_t bytes, uint64_t used)
{
    of->charged -= share->bytes;
    of->pending -= pending_of(share);
    share->bytes = bytes;
    share->used = used;
    of->charged += share->bytes;
    of->pending += pending_of(share);
}

void pm_ledger_use(struct pm_ledger *ledger, struct pm_shares *charge, uint32_t account,
                   uint64_t bytes, bool seen)
{
    struct pm_share *share = share_of(charge, account);

    if (!share)
        return;
    share->seen = seen;
    change(account_of(ledger, account), share, share->bytes, bytes);
}

void pm_ledger_amend(struct pm_ledger *ledger, struct pm_shares *charge, uint32_t account,
                     uint64_t bytes)
{
    struct pm_share *share = share_of(charge, account);
    struct pm_account *of = account_of(ledger, account);
    uint64_t left = minus(minus(of->capacity, of->charged), of->reserved);

    if (share)
        change(of, share, less(bytes, plus(share->bytes, left)), share->used);
}

void pm_ledger_hand_on(struct pm_ledger *ledger, struct pm_shares *from, struct pm_shares *to,
                       uint32_t account, uint64_t bytes)
{
    struct pm_share *giver = share_of(from, account), *taker = share_of(to, account);
    struct pm_account *of = account_of(ledger, account);

    if (!giver || !taker)
        return;
    bytes = less(bytes, giver->bytes);
    change(of, giver, giver->bytes - bytes, giver->used);
    change(of, taker, taker->bytes + bytes, taker->used);
}

/* ---- reserving -------------------------------------------------------------------------------------- */

static void reserve(struct pm_ledger *ledger, uint32_t account, uint64_t bytes,
                    struct pm_shares *own)
{
    struct pm_share *share = share_of(own, account);

    if (bytes == 0 || (!share && !pm_shares_add(own, account, 0)))
        return;
    share = share_of(own, account);
    share->bytes += bytes;
    account_of(ledger, account)->reserved += bytes;
}

void pm_ledger_reserve(struct pm_ledger *ledger, const struct pm_shares *freed,
                       const struct pm_shares *want, struct pm_shares *own)
{
    for (uint32_t i = 0; i < freed->n; i++) {
        uint32_t account = freed->items[i].account;
        uint64_t lacks = minus(pm_shares_of(want, account), pm_shares_of(own, account));
        uint64_t left = pm_ledger_left(ledger, account, NULL);

        reserve(ledger, account, less(less(freed->items[i].bytes, lacks), left), own);
    }
}

void pm_ledger_unreserve(struct pm_ledger *ledger, struct pm_shares *own)
{
    for (uint32_t i = 0; i < own->n; i++) {
        struct pm_account *of = account_of(ledger, own->items[i].account);

        assert(of->reserved >= own->items[i].bytes);
        of->reserved -= own->items[i].bytes;
    }
    own->n = 0;
}
