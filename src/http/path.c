/* SPDX-License-Identifier: Apache-2.0 */
/* A target's path is decoded once, here, so that what is checked is what is served. */
#include <string.h>

#include "http/chars.h"
#include "http/codec.h"

/* One byte of a path, decoded; -1: a bad escape or an encoded control. *encoded says that it was an escape. */
static int next_byte(const char **p, const char *end, bool *encoded)
{
    int high, low;

    *encoded = **p == '%';
    if (!*encoded)
        return (unsigned char)*(*p)++;

    high = end - *p > 2 ? pm_hex_digit((*p)[1]) : -1;
    low = high >= 0 ? pm_hex_digit((*p)[2]) : -1;
    if (low < 0 || high * 16 + low < 0x20 || high * 16 + low == 0x7f)
        return -1;
    *p += 3;
    return high * 16 + low;
}

/* "." and ".." between slashes. */
static bool is_dot_segment(const char *from, const char *to)
{
    return (to - from == 1 && from[0] == '.') ||
           (to - from == 2 && from[0] == '.' && from[1] == '.');
}

int pm_http_decode_path(struct pm_slice target, char *to, size_t size, struct pm_slice *ret_query)
{
    const char *p = target.p, *end = target.p + target.n;
    const char *question = memchr(target.p, '?', target.n);
    char *out = to, *segment = to + 1;
    int verdict = 0;

    *ret_query = (struct pm_slice){end, 0};
    if (question) {
        *ret_query = (struct pm_slice){question + 1, (size_t)(end - question - 1)};
        end = question;
    }

    while (p < end) {
        bool encoded;
        int byte = next_byte(&p, end, &encoded);

        if (byte < 0)
            return -400;
        if (byte == '/' && !encoded && out > to) {
            if (is_dot_segment(segment, out))
                return -400;
            if (out == segment)
                verdict = -404;
            segment = out + 1;
        }
        if (byte == '/' && encoded)
            verdict = -404;
        if ((size_t)(out - to) + 1 >= size) {
            verdict = -404;
            out = segment = to; /* go on looking for bad escapes */
        }
        *out++ = (char)byte;
    }
    if (is_dot_segment(segment, out))
        return -400;
    *out = '\0';
    return verdict;
}
