/* SPDX-License-Identifier: Apache-2.0 */
/* splitmix64, and draws from it. */
#include "sim.h"

static uint64_t scrambled(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t sim_mix(uint64_t a, uint64_t b)
{
    return scrambled(scrambled(a + UINT64_C(0x9e3779b97f4a7c15)) ^ b);
}

uint64_t sim_draw(struct sim_random *random)
{
    return scrambled(random->state += UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t sim_below(struct sim_random *random, uint64_t n)
{
    return n == 0 ? 0 : sim_draw(random) % n;
}

bool sim_one_in(struct sim_random *random, uint64_t n)
{
    return n != 0 && sim_below(random, n) == 0;
}

uint64_t sim_pick(struct sim_random *random, const uint64_t *values, size_t n)
{
    return values[sim_below(random, n)];
}
