/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds how much memory of which device. Pure arithmetic on what it was told: an account has a capacity, what is
 * charged of it, and what is reserved of it for one who waits. What was taken is a value that remembers what it
 * holds; giving it back twice is harmless. Nothing is granted beyond a capacity, and no sum overflows.
 */
#ifndef PM_PLAN_LEDGER_H
#define PM_PLAN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_SHARES_MAX 16 /* devices of one engine */

struct pm_share {
    uint32_t account;
    uint64_t bytes;
};

/* What one engine needs, holds or has reserved: at most one share an account. Zeros: nothing. */
struct pm_shares {
    uint32_t n;
    struct pm_share items[PM_SHARES_MAX];
};

struct pm_account {
    uint64_t capacity, charged, reserved;
};

/* Zeros are an empty one. */
struct pm_ledger {
    struct pm_account *accounts;
    uint32_t n;
};

void pm_ledger_fini(struct pm_ledger *ledger);
uint32_t pm_ledger_open(struct pm_ledger *ledger, uint64_t capacity); /* the account's number */
/* It may fall below what is charged: nothing more is granted then. */
void pm_ledger_resize(struct pm_ledger *ledger, uint32_t account, uint64_t capacity);

/* False: it has a share of that account already, or no room for one more. */
bool pm_shares_add(struct pm_shares *shares, uint32_t account, uint64_t bytes);
uint64_t pm_shares_of(const struct pm_shares *shares, uint32_t account); /* 0: none */

/* What one who has `own` reserved (NULL: nothing) could be granted of an account. */
uint64_t pm_ledger_left(const struct pm_ledger *ledger, uint32_t account,
                        const struct pm_shares *own);
bool pm_ledger_fits(const struct pm_ledger *ledger, const struct pm_shares *want,
                    const struct pm_shares *own);

/* Grants `want` whole, and ends what the same one has reserved; false: it does not fit, and nothing has changed.
 * *charge must hold nothing. */
bool pm_ledger_charge(struct pm_ledger *ledger, const struct pm_shares *want, struct pm_shares *own,
                      struct pm_shares *charge);
/* Writes down what is taken already, fit or not: an engine that was there before us. False: a sum would overflow. */
bool pm_ledger_note(struct pm_ledger *ledger, const struct pm_shares *held,
                    struct pm_shares *charge);
void pm_ledger_release(struct pm_ledger *ledger, struct pm_shares *charge);

/* Of what was just freed, sets aside for *own what `want` lacks and is really left. */
void pm_ledger_reserve(struct pm_ledger *ledger, const struct pm_shares *freed,
                       const struct pm_shares *want, struct pm_shares *own);
void pm_ledger_unreserve(struct pm_ledger *ledger, struct pm_shares *own);

#endif
