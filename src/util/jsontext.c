/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts are copied in runs of plain bytes, so that the common case is one memcpy. Each byte that does not begin a
 * well-formed sequence becomes one U+FFFD, as browsers do for a byte that can begin none.
 */
#include "util/jsontext.h"

#include "util/str.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Bytes of the well-formed sequence at `text`, or 0. */
static size_t sequence(const char *text, size_t n)
{
    unsigned char first = (unsigned char)text[0];
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    return length <= n && pm_utf8_valid(text, length) ? length : 0;
}

static void add_escape(struct pm_buf *out, unsigned char c)
{
    switch (c) {
    case '"': pm_buf_adds(out, "\\\""); break;
    case '\\': pm_buf_adds(out, "\\\\"); break;
    case '\n': pm_buf_adds(out, "\\n"); break;
    case '\r': pm_buf_adds(out, "\\r"); break;
    case '\t': pm_buf_adds(out, "\\t"); break;
    default: pm_buf_addf(out, "\\u%04x", c); break;
    }
}

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == 0x7f || c == '"' || c == '\\';
}

void pm_json_quote(struct pm_buf *out, const char *text, size_t n)
{
    size_t plain = 0; /* where the run of plain bytes began */
    size_t i = 0;

    pm_buf_adds(out, "\"");
    while (i < n) {
        bool escape = needs_escape((unsigned char)text[i]);
        size_t length = escape ? 1 : sequence(text + i, n - i);

        if (!escape && length > 0) {
            i += length;
            continue;
        }

        pm_buf_add(out, text + plain, i - plain);
        if (escape)
            add_escape(out, (unsigned char)text[i]);
        else
            pm_buf_adds(out, REPLACEMENT);
        plain = ++i;
    }
    pm_buf_add(out, text + plain, i - plain);
    pm_buf_adds(out, "\"");
}

void pm_utf8_repair(struct pm_buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = sequence(text + i, n - i);

        if (length > 0)
            pm_buf_add(out, text + i, length);
        else
            pm_buf_adds(out, REPLACEMENT);
        i += length > 0 ? length : 1;
    }
}
