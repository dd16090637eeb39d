/* SPDX-License-Identifier: Apache-2.0 */
/* The restart clock (SUP-2) and the breaker, which is a view of it (SUP-3): pure functions of plain numbers. */
#ifndef PM_CORE_RESTART_H
#define PM_CORE_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include "core/words.h"

/* One a replica. Zeros: nothing has failed. */
struct pm_clock {
    uint64_t n;         /* failures in a row, as SUP-2 counts them */
    uint64_t failed_ms; /* when the last one was settled */
    uint64_t next_ms;   /* no start before this */
};

/* What the operator made of the breaker. */
enum pm_breaker_mode { PM_BREAKER_AUTOMATIC, PM_BREAKER_FORCED, PM_BREAKER_OFF };

/* How long to wait after failure n: 0 for n < 2, then t = min(cap, base·2^(n−2)) less a random share of at most
 * `jitter` (0..1) of it. `random` is uniform over all 64 bits. Never overflows. */
uint64_t pm_restart_delay(uint64_t n, uint64_t base_ms, uint64_t cap_ms, double jitter,
                          uint64_t random);

/* A failure that counts `by` was settled. */
void pm_clock_fail(struct pm_clock *clock, uint64_t by, uint64_t delay_ms, uint64_t now_ms);

/* The n that is left after an instance was ready for ready_for_ms: 0 from reset_ms on, below open_at from settle_ms on. */
uint64_t pm_clock_forgiven(uint64_t n, uint64_t ready_for_ms, uint64_t settle_ms, uint64_t reset_ms,
                           uint64_t open_at);

/* Whether the clock lets a start through. */
bool pm_clock_permits(const struct pm_clock *clock, uint64_t now_ms);

/* `trial`: a start is under way, or ready for less than settle_ms. */
enum pm_breaker pm_clock_breaker(const struct pm_clock *clock, enum pm_breaker_mode mode,
                                 uint64_t open_at, bool trial);

/* a + b, at most UINT64_MAX (which is PM_NEVER). */
uint64_t pm_add_ms(uint64_t a, uint64_t b);

#endif
