/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes by RFC 9110; not for other rooms. */
#ifndef PM_HTTP_CHARS_H
#define PM_HTTP_CHARS_H

#include <stdbool.h>

enum {
    PM_CHAR_TOKEN = 1, /* tchar: what names, methods and tokens are made of */
    PM_CHAR_VALUE =
        2, /* what a header's value may hold: blanks, visible ASCII, obs-text; no controls */
    PM_CHAR_TARGET = 4, /* visible ASCII but '#' */
};
extern const unsigned char pm_char_classes[256];

static inline bool pm_is_token_char(char c)
{
    return pm_char_classes[(unsigned char)c] & PM_CHAR_TOKEN;
}

static inline bool pm_is_value_char(char c)
{
    return pm_char_classes[(unsigned char)c] & PM_CHAR_VALUE;
}

static inline bool pm_is_target_char(char c)
{
    return pm_char_classes[(unsigned char)c] & PM_CHAR_TARGET;
}

static inline bool pm_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* 0..15, or -1 */
static inline int pm_hex_digit(char c)
{
    if (pm_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

#endif
