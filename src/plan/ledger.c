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
    ledger->accounts[ledger->n] = (struct pm_account){.capacity = capacity};
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

/* ---- shares ----------------------------------------------------------------------------------------- */

static const struct pm_share *find(const struct pm_shares *shares, uint32_t account)
{
    for (uint32_t i = 0; shares && i < shares->n; i++) {
        if (shares->items[i].account == account)
            return &shares->items[i];
    }
    return NULL;
}

bool pm_shares_add(struct pm_shares *shares, uint32_t account, uint64_t bytes)
{
    if (shares->n == PM_SHARES_MAX || find(shares, account))
        return false;
    shares->items[shares->n++] = (struct pm_share){account, bytes};
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

/* ---- granting --------------------------------------------------------------------------------------- */

uint64_t pm_ledger_left(const struct pm_ledger *ledger, uint32_t account,
                        const struct pm_shares *own)
{
    const struct pm_account *of = account_of(ledger, account);
    uint64_t for_others = minus(of->reserved, pm_shares_of(own, account));

    return minus(minus(of->capacity, of->charged), for_others);
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
    for (uint32_t i = 0; i < held->n; i++)
        account_of(ledger, held->items[i].account)->charged += held->items[i].bytes;
    *charge = *held;
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
        of->charged -= charge->items[i].bytes;
    }
    charge->n = 0;
}

/* ---- reserving -------------------------------------------------------------------------------------- */

static void reserve(struct pm_ledger *ledger, uint32_t account, uint64_t bytes,
                    struct pm_shares *own)
{
    struct pm_share *share = (struct pm_share *)find(own, account);

    if (bytes == 0 || (!share && !pm_shares_add(own, account, 0)))
        return;
    share = (struct pm_share *)find(own, account);
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
