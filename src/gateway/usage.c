/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/usage.h"

#include <stdlib.h>
#include <string.h>

#include "util/str.h"

void pm_usage_tail_add(struct pm_usage_tail *tail, const char *data, size_t n)
{
    size_t drop;

    if (n >= PM_USAGE_TAIL_MAX) {
        data += n - PM_USAGE_TAIL_MAX;
        n = PM_USAGE_TAIL_MAX;
        tail->n = 0; /* what came before is not next to it */
    }
    if (!tail->data)
        tail->data = pm_xalloc(2 * PM_USAGE_TAIL_MAX);

    /* Twice the size, so that bytes move once in a while and not with each event. */
    if (tail->n + n > 2 * PM_USAGE_TAIL_MAX) {
        drop = tail->n > PM_USAGE_TAIL_MAX ? tail->n - PM_USAGE_TAIL_MAX : 0;
        if (drop < tail->n + n - 2 * PM_USAGE_TAIL_MAX)
            drop = tail->n + n - 2 * PM_USAGE_TAIL_MAX;
        memmove(tail->data, tail->data + drop, tail->n - drop);
        tail->n -= drop;
    }
    memcpy(tail->data + tail->n, data, n);
    tail->n += n;
}

void pm_usage_tail_fini(struct pm_usage_tail *tail)
{
    free(tail->data);
    *tail = (struct pm_usage_tail){0};
}

/* The last `"name":` in the text; a quoted one inside a JSON text has a backslash before its quotes. */
static const char *find_last(const char *data, size_t n, const char *name)
{
    const char *found = NULL, *at = data;
    size_t length = strlen(name);

    while ((at = memmem(at, n - (size_t)(at - data), name, length))) {
        const char *p = at + length, *end = data + n;

        if (at > data && at[-1] == '"' && p < end && *p == '"') {
            for (p++; p < end && (*p == ' ' || *p == ':'); p++)
                ;
            found = p;
        }
        at += length;
    }
    return found;
}

/* A plain count, or the whole part of a plain decimal; false for signs, exponents, texts and absurd sizes. */
static bool read_number(const char *p, const char *end, uint64_t *ret)
{
    const char *begin = p;
    uint64_t value = 0;

    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (uint64_t)(*p - '0');
        if (value > PM_USAGE_TOKENS_MAX)
            return false;
    }
    if (p == begin)
        return false;
    if (p < end && *p == '.') {
        for (p++; p < end && *p >= '0' && *p <= '9'; p++)
            ;
    }
    if (p == end || !strchr(",} \r\n", *p))
        return false;
    *ret = value;
    return true;
}

static bool read_member(const char *data, size_t n, const char *name, uint64_t *ret)
{
    const char *at = find_last(data, n, name);

    return at && read_number(at, data + n, ret);
}

void pm_usage_read(const char *data, size_t n, struct pm_usage *ret)
{
    *ret = (struct pm_usage){0};
    if (n == 0)
        return;
    ret->has_tokens_in = read_member(data, n, "prompt_tokens", &ret->tokens_in) ||
                         read_member(data, n, "input_tokens", &ret->tokens_in) ||
                         read_member(data, n, "prompt_n", &ret->tokens_in);
    ret->has_tokens_out = read_member(data, n, "completion_tokens", &ret->tokens_out) ||
                          read_member(data, n, "output_tokens", &ret->tokens_out) ||
                          read_member(data, n, "predicted_n", &ret->tokens_out);
    ret->has_decode = read_member(data, n, "predicted_ms", &ret->decode_ms);
}
