/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an engine's answer: its end is kept in bounded room however it comes, and what is read from it is a
 * number that stands there. The first byte chooses the size of the pieces.
 */
#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/usage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_number(const char *data, size_t n, bool told, uint64_t number)
{
    char digits[24];

    if (!told) {
        assert(number == 0);
        return;
    }
    assert(number <= PM_USAGE_TOKENS_MAX);
    (void)snprintf(digits, sizeof(digits), "%" PRIu64, number);
    assert(memmem(data, n, digits, strlen(digits)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *data = (const char *)bytes + 1;
    struct pm_usage_tail tail = {0};
    struct pm_usage usage;
    size_t n, piece;
    char *exact;

    if (size < 1)
        return 0;
    n = size - 1;
    piece = 1 + (size_t)bytes[0] * 64;
    for (size_t at = 0; at < n; at += piece) {
        pm_usage_tail_add(&tail, data + at, n - at < piece ? n - at : piece);
        assert(tail.n <= 2 * PM_USAGE_TAIL_MAX);
    }
    assert(tail.n >= (n < PM_USAGE_TAIL_MAX ? n : PM_USAGE_TAIL_MAX));
    assert(tail.n <= n && (n == 0 || memcmp(tail.data, data + n - tail.n, tail.n) == 0));

    exact = malloc(tail.n ? tail.n : 1);
    if (tail.n)
        memcpy(exact, tail.data, tail.n);
    pm_usage_read(exact, tail.n, &usage);
    check_number(exact, tail.n, usage.has_tokens_in, usage.tokens_in);
    check_number(exact, tail.n, usage.has_tokens_out, usage.tokens_out);
    check_number(exact, tail.n, usage.has_decode, usage.decode_ms);
    free(exact);
    pm_usage_tail_fini(&tail);
    return 0;
}
