/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine says about the work it did: token counts and times, found in the last part of its answer. An engine
 * may say nonsense; then nothing is counted.
 */
#ifndef PM_GATEWAY_USAGE_H
#define PM_GATEWAY_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_USAGE_TAIL_MAX   4096          /* bytes of an answer's end that are kept */
#define PM_USAGE_TOKENS_MAX 1000000000ull /* more is nonsense */

/* The end of an answer, as it went by. Allocated with the first byte. */
struct pm_usage_tail {
    char *data;
    size_t n;
};

void pm_usage_tail_add(struct pm_usage_tail *tail, const char *data, size_t n);
void pm_usage_tail_fini(struct pm_usage_tail *tail);

struct pm_usage {
    bool has_tokens_in, has_tokens_out, has_decode;
    uint64_t tokens_in, tokens_out, decode_ms;
};

/* Reads OpenAI's `usage` and llama.cpp's `timings` members, in a JSON answer or the events of a stream. Pure. */
void pm_usage_read(const char *data, size_t n, struct pm_usage *ret);

#endif
