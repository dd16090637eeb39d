/* SPDX-License-Identifier: Apache-2.0 */
/* A sum of bytes that remembers when it did not fit into 64 bits. */
#ifndef PM_PLAN_SUM_H
#define PM_PLAN_SUM_H

#include <stdbool.h>
#include <stdint.h>

struct pm_sum {
    uint64_t bytes;
    bool overflows;
};

static inline void pm_sum_add(struct pm_sum *sum, uint64_t bytes)
{
    if (__builtin_add_overflow(sum->bytes, bytes, &sum->bytes))
        sum->overflows = true;
}

static inline void pm_sum_add_product(struct pm_sum *sum, uint64_t a, uint64_t b)
{
    uint64_t product;

    if (__builtin_mul_overflow(a, b, &product))
        sum->overflows = true;
    else
        pm_sum_add(sum, product);
}

#endif
