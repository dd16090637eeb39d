/* SPDX-License-Identifier: Apache-2.0 */
/* How often a random test goes round, or how long a text is: a tenth under tools that are many times slower
 * (POOLMGR_TEST_SHORT). */
#ifndef TESTS_ROUNDS_H
#define TESTS_ROUNDS_H

#include <stdlib.h>

static inline int rounds(int n)
{
    return getenv("POOLMGR_TEST_SHORT") ? n / 10 : n;
}

#endif
