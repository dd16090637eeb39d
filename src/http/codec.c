/* SPDX-License-Identifier: Apache-2.0 */
/* What heads, chunks and paths share: classes of bytes, slices, methods, reason phrases. */
#include "http/codec.h"

#include <string.h>

#include "http/chars.h"
#include "util/cleanup.h"

#define VISIBLE (PM_CHAR_VALUE | PM_CHAR_TARGET)
#define ALL     (VISIBLE | PM_CHAR_TOKEN)

const unsigned char pm_char_classes[256] = {
    ['\t'] = PM_CHAR_VALUE,
    [' '] = PM_CHAR_VALUE,
    ['!'] = ALL,
    ['"'] = VISIBLE,
    ['#'] = PM_CHAR_VALUE | PM_CHAR_TOKEN,
    ['$' ... '\''] = ALL,
    ['(' ... ')'] = VISIBLE,
    ['*' ... '+'] = ALL,
    [','] = VISIBLE,
    ['-' ... '.'] = ALL,
    ['/'] = VISIBLE,
    ['0' ... '9'] = ALL,
    [':' ... '@'] = VISIBLE,
    ['A' ... 'Z'] = ALL,
    ['[' ... ']'] = VISIBLE,
    ['^' ... 'z'] = ALL, /* with '_' and '`' */
    ['{'] = VISIBLE,
    ['|'] = ALL,
    ['}'] = VISIBLE,
    ['~'] = ALL,
    [0x80 ... 0xff] = PM_CHAR_VALUE,
};

bool pm_slice_is(struct pm_slice slice, const char *text)
{
    return slice.n == strlen(text) && memcmp(slice.p, text, slice.n) == 0;
}

bool pm_slice_is_nocase(struct pm_slice slice, const char *lower)
{
    size_t i;

    for (i = 0; i < slice.n; i++) {
        char c = slice.p[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c + 32);
        if (lower[i] == '\0' || c != lower[i])
            return false;
    }
    return lower[i] == '\0';
}

static const char *const method_names[PM_METHOD_COUNT] = {
    [PM_GET] = "GET", [PM_POST] = "POST",     [PM_HEAD] = "HEAD",
    [PM_PUT] = "PUT", [PM_DELETE] = "DELETE", [PM_OPTIONS] = "OPTIONS",
};

const char *pm_http_method_name(enum pm_http_method method)
{
    return method_names[method];
}

const struct pm_http_header *pm_http_find(const struct pm_http_head *head, const char *lower_name,
                                          unsigned *ret_n)
{
    const struct pm_http_header *first = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < head->n_headers; i++) {
        if (!pm_slice_is_nocase(head->headers[i].name, lower_name))
            continue;
        if (!first)
            first = &head->headers[i];
        n++;
    }
    if (ret_n)
        *ret_n = n;
    return first;
}

const char *pm_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        if (rows[i].status == status)
            return rows[i].reason;
    }
    return "Status";
}
