/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After failure n the next start waits: not at all the first time, since most failures do not repeat; then twice as
 * long each time, up to a cap, less a random share so that many replicas do not come back in step. All of it is
 * arithmetic on numbers that are passed in, so that a test can walk every n and every random number.
 */
#include "core/restart.h"

uint64_t pm_add_ms(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* min(cap, base·2^exponent) */
static uint64_t doubled(uint64_t base_ms, uint64_t exponent, uint64_t cap_ms)
{
    if (base_ms >= cap_ms || base_ms == 0)
        return base_ms < cap_ms ? base_ms : cap_ms;
    if (exponent >= 64 || base_ms > (cap_ms >> exponent))
        return cap_ms;
    return base_ms << exponent;
}

uint64_t pm_restart_delay(uint64_t n, uint64_t base_ms, uint64_t cap_ms, double jitter,
                          uint64_t random)
{
    double share = (double)(random >> 11) / (double)(UINT64_C(1) << 53);
    uint64_t longest, cut;

    if (n < 2)
        return 0;

    longest = doubled(base_ms, n - 2, cap_ms);
    if (longest >= UINT64_C(1) << 53) /* beyond what a double counts exactly: 285,000 years */
        return longest;

    cut = (uint64_t)((double)longest * jitter * share);
    return cut < longest ? longest - cut : 0;
}

void pm_clock_fail(struct pm_clock *clock, uint64_t by, uint64_t delay_ms, uint64_t now_ms)
{
    clock->n = pm_add_ms(clock->n, by);
    clock->failed_ms = now_ms;
    clock->next_ms = pm_add_ms(now_ms, delay_ms);
}

uint64_t pm_clock_forgiven(uint64_t n, uint64_t ready_for_ms, uint64_t settle_ms, uint64_t reset_ms,
                           uint64_t open_at)
{
    uint64_t most = open_at > 0 ? open_at - 1 : 0;

    if (ready_for_ms >= reset_ms)
        return 0;
    if (ready_for_ms >= settle_ms && n > most)
        return most;
    return n;
}

bool pm_clock_permits(const struct pm_clock *clock, uint64_t now_ms)
{
    return clock->n < 2 || now_ms >= clock->next_ms;
}

enum pm_breaker pm_clock_breaker(const struct pm_clock *clock, enum pm_breaker_mode mode,
                                 uint64_t open_at, bool trial)
{
    if (mode == PM_BREAKER_FORCED)
        return PM_BREAKER_FORCED_OPEN;
    if (mode == PM_BREAKER_OFF)
        return PM_BREAKER_DISABLED;
    if (clock->n < open_at)
        return PM_BREAKER_CLOSED;
    return trial ? PM_BREAKER_HALF_OPEN : PM_BREAKER_OPEN;
}
