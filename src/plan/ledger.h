/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds how much memory of which device. Pure arithmetic on what it was told: an account has a capacity, what is
 * charged of it, and what is reserved of it for one who waits. What was taken is a value that remembers what it
 * holds; giving it back twice is harmless. Nothing is granted beyond a capacity, and no sum overflows.
 *
 * Where somebody looks at a device, what is free there bounds it, too, for others than we use it:
 *   left = min(capacity - charged, free - sum of max(0, bytes - used) over all charges) - what is reserved for others
 * A charge that is not in use yet is still to come out of what is free (DEVICES §8).
 */
#ifndef PM_PLAN_LEDGER_H
#define PM_PLAN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_SHARES_MAX 16 /* devices of one engine */

struct pm_share {
    uint32_t account;
    bool seen; /* of a charge: `used` was seen, and is not only supposed */
    uint64_t bytes;
    uint64_t
        used; /* of a charge: what is in use for it; more than `bytes` where that was too small */
};

/* What one engine needs, holds or has reserved: at most one share an account. Zeros: nothing. */
struct pm_shares {
    uint32_t n;
    struct pm_share items[PM_SHARES_MAX];
};

#define PM_LEDGER_UNSEEN UINT64_MAX /* free: nobody looks */

struct pm_account {
    uint64_t capacity, charged, reserved;
    uint64_t pending; /* of what is charged: not in use yet */
    uint64_t free;    /* as seen, less what shall stay free; PM_LEDGER_UNSEEN */
};

/* What an account gets back when some charges end. Zeros: nothing. */
struct pm_freed {
    uint64_t charged, pending, used;
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

/* What is free there besides what shall stay free; PM_LEDGER_UNSEEN: that is not known any more. */
void pm_ledger_see(struct pm_ledger *ledger, uint32_t account, uint64_t free_bytes);

/* What one who has `own` reserved (NULL: nothing) could be granted of an account. */
uint64_t pm_ledger_left(const struct pm_ledger *ledger, uint32_t account,
                        const struct pm_shares *own);
/* … when what is in `freed` has come back. */
uint64_t pm_ledger_left_without(const struct pm_ledger *ledger, uint32_t account,
                                const struct pm_shares *own, const struct pm_freed *freed);
void pm_freed_add(struct pm_freed *freed, const struct pm_shares *charge, uint32_t account);
/* What others than those with charges keep from us there: capacity that is neither charged nor left. */
uint64_t pm_ledger_foreign(const struct pm_ledger *ledger, uint32_t account);
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

/* So many bytes are in use for a charge; `seen`: somebody looked, else it is supposed. Nothing where it has no share. */
void pm_ledger_use(struct pm_ledger *ledger, struct pm_shares *charge, uint32_t account,
                   uint64_t bytes, bool seen);
/* Makes a share of a charge smaller, or larger by no more than is neither charged nor reserved: for what is in use
 * already, whatever is free. */
void pm_ledger_amend(struct pm_ledger *ledger, struct pm_shares *charge, uint32_t account,
                     uint64_t bytes);

/* So many bytes of a share are the other charge's from now on: whoever had them, they stay charged. */
void pm_ledger_hand_on(struct pm_ledger *ledger, struct pm_shares *from, struct pm_shares *to,
                       uint32_t account, uint64_t bytes);

/* Of what was just freed, sets aside for *own what `want` lacks and is really left. */
void pm_ledger_reserve(struct pm_ledger *ledger, const struct pm_shares *freed,
                       const struct pm_shares *want, struct pm_shares *own);
void pm_ledger_unreserve(struct pm_ledger *ledger, struct pm_shares *own);

#endif
