/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes by RFC 9110; not for other rooms. */
#ifndef PM_HTTP_CHARS_H
#define PM_HTTP_CHARS_H

#include <stdbool.h>
#include <string.h>

/* tchar: what names, methods and tokens are made of. */
static inline bool pm_is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

/* What a header's value may hold: blanks, visible ASCII, obs-text; no controls. */
static inline bool pm_is_value_char(char c)
{
    unsigned char u = (unsigned char)c;

    return u == '\t' || (u >= 0x20 && u != 0x7f);
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
