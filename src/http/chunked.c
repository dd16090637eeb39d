/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunked bodies, decoded in place: what is framing goes, what is body moves to the front, so that one read gives
 * one piece. Sizes, extensions, CRLFs and trailers are checked byte by byte; extensions and trailers are bounded
 * and dropped, and decide nothing.
 */
#include <string.h>

#include "http/chars.h"
#include "http/codec.h"

enum state {
    SIZE,
    SIZE_BLANK, /* blanks behind the size; here and below only before a ';' or '=' */
    EXT_NAME_START,
    EXT_NAME,
    EXT_NAME_BLANK,
    EXT_VALUE_START,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_QUOTED_END,
    EXT_VALUE_BLANK,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* first byte of a trailer line, or of the empty one */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE,
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* What may follow a chunk's size or an extension. */
static int size_line_goes_on(struct pm_http_chunked *chunked, char c, unsigned char blank_state)
{
    if (is_blank(c))
        chunked->state = blank_state;
    else if (c == ';')
        chunked->state = EXT_NAME_START;
    else if (c == '\r' && chunked->state != blank_state)
        chunked->state = SIZE_LF;
    else
        return -400;
    return 0;
}

static int read_size(struct pm_http_chunked *chunked, char c)
{
    int digit = pm_hex_digit(c);

    if (digit < 0)
        return chunked->n_digits ? size_line_goes_on(chunked, c, SIZE_BLANK) : -400;
    if (++chunked->n_digits > PM_HTTP_CHUNK_DIGITS_MAX)
        return -400;
    chunked->left = (chunked->left << 4) | (uint32_t)digit;
    return 0;
}

static int read_extension(struct pm_http_chunked *chunked, char c)
{
    switch ((enum state)chunked->state) {
    case EXT_NAME_START:
        if (is_blank(c))
            return 0;
        if (!pm_is_token_char(c))
            return -400;
        chunked->state = EXT_NAME;
        return 0;
    case EXT_NAME:
        if (pm_is_token_char(c))
            return 0;
        /* fall through */
    case EXT_NAME_BLANK:
        if (c == '=') {
            chunked->state = EXT_VALUE_START;
            return 0;
        }
        return size_line_goes_on(chunked, c, EXT_NAME_BLANK);
    case EXT_VALUE_START:
        if (is_blank(c))
            return 0;
        if (c != '"' && !pm_is_token_char(c))
            return -400;
        chunked->state = c == '"' ? EXT_QUOTED : EXT_VALUE;
        return 0;
    case EXT_VALUE:
        if (pm_is_token_char(c))
            return 0;
        return size_line_goes_on(chunked, c, EXT_VALUE_BLANK);
    case EXT_QUOTED_END:
    case EXT_VALUE_BLANK: return size_line_goes_on(chunked, c, EXT_VALUE_BLANK);
    case EXT_QUOTED:
        if (c == '"')
            chunked->state = EXT_QUOTED_END;
        else if (c == '\\')
            chunked->state = EXT_ESCAPED;
        return pm_is_value_char(c) ? 0 : -400;
    case EXT_ESCAPED: chunked->state = EXT_QUOTED; return pm_is_value_char(c) ? 0 : -400;
    default: return -400;
    }
}

static int end_size_line(struct pm_http_chunked *chunked, char c, uint64_t max_body)
{
    if (c != '\n')
        return -400;
    if (chunked->left > max_body - chunked->n_decoded)
        return -413;
    chunked->state = chunked->left ? DATA : TRAILER;
    chunked->n_digits = 0;
    chunked->n_ext = 0;
    return 0;
}

static int read_trailer(struct pm_http_chunked *chunked, char c)
{
    if (++chunked->n_trailer > PM_HTTP_TRAILER_MAX + 2)
        return -431;
    switch ((enum state)chunked->state) {
    case TRAILER:
        if (c == '\r') {
            chunked->state = END_LF;
            return 0;
        }
        chunked->state = TRAILER_NAME;
        if (++chunked->n_trailer_lines > PM_HTTP_TRAILER_LINES_MAX)
            return -431;
        return pm_is_token_char(c) ? 0 : -400;
    case TRAILER_NAME:
        if (c == ':')
            chunked->state = TRAILER_VALUE;
        else if (!pm_is_token_char(c))
            return -400;
        return 0;
    case TRAILER_VALUE:
        if (c == '\r')
            chunked->state = TRAILER_LF;
        else if (!pm_is_value_char(c))
            return -400;
        return 0;
    case TRAILER_LF: chunked->state = TRAILER; return c == '\n' ? 0 : -400;
    default: chunked->state = DONE; return c == '\n' ? 0 : -400;
    }
}

static int read_framing(struct pm_http_chunked *chunked, char c, uint64_t max_body)
{
    switch ((enum state)chunked->state) {
    case SIZE: return read_size(chunked, c);
    case SIZE_LF: return end_size_line(chunked, c, max_body);
    case DATA_CR: chunked->state = DATA_LF; return c == '\r' ? 0 : -400;
    case DATA_LF: chunked->state = SIZE; return c == '\n' ? 0 : -400;
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
    case END_LF: return read_trailer(chunked, c);
    default:
        if (++chunked->n_ext > PM_HTTP_CHUNK_EXT_MAX ||
            ++chunked->n_ext_sum > PM_HTTP_CHUNK_EXT_SUM_MAX)
            return -400;
        return chunked->state == SIZE_BLANK ? size_line_goes_on(chunked, c, SIZE_BLANK)
                                            : read_extension(chunked, c);
    }
}

int pm_http_chunked_decode(struct pm_http_chunked *chunked, char *data, size_t n, uint64_t max_body,
                           size_t *ret_n_used, size_t *ret_n_body)
{
    size_t at = 0, n_body = 0;
    int r = 0;

    while (at < n && r == 0 && chunked->state != DONE) {
        if (chunked->state == DATA) {
            size_t span = n - at < chunked->left ? n - at : chunked->left;

            memmove(data + n_body, data + at, span);
            n_body += span;
            at += span;
            chunked->n_decoded += span;
            chunked->left -= (uint32_t)span;
            if (chunked->left == 0)
                chunked->state = DATA_CR;
            continue;
        }
        r = read_framing(chunked, data[at], max_body);
        if (r == 0)
            at++;
    }
    *ret_n_used = at;
    *ret_n_body = n_body;
    return r < 0 ? r : chunked->state == DONE;
}
