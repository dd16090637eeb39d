/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/window.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

int pm_window_cut_short(const struct pm_window *window)
{
    return pm_fail(window->err, POOLMGR_E_MODEL_CORRUPT,
                   "cut short: its header goes on behind the last of its %" PRIu64 " bytes",
                   window->source->size);
}

static int fill(struct pm_window *window)
{
    long n = window->source->read(window->source->ctx, window->offset, window->bytes,
                                  sizeof(window->bytes));

    if (n < 0)
        return pm_fail_errno(window->err, POOLMGR_E_MODEL_MISSING, (int)-n, "cannot be read");

    if (n == 0)
        return pm_window_cut_short(window);

    window->bytes_offset = window->offset;
    window->n_bytes = (size_t)n;
    return POOLMGR_OK;
}

int pm_window_take(struct pm_window *window, void *to, uint64_t n)
{
    unsigned char *out = to;

    if (n > window->source->size - window->offset)
        return pm_window_cut_short(window);

    if (n > PM_GGUF_HEADER_MAX - window->offset)
        return pm_fail(window->err, POOLMGR_E_MODEL_UNSUPPORTED, "its header is larger than %d MiB",
                       PM_GGUF_HEADER_MAX / (1024 * 1024));

    if (!to) {
        window->offset += n;
        return POOLMGR_OK;
    }

    while (n > 0) {
        uint64_t at = window->offset - window->bytes_offset;
        size_t n_here;
        int r;

        if (window->offset < window->bytes_offset || at >= window->n_bytes) {
            r = fill(window);
            if (r < 0)
                return r;
            at = 0;
        }

        n_here = window->n_bytes - (size_t)at;
        if (n_here > n)
            n_here = (size_t)n;

        memcpy(out, window->bytes + at, n_here);
        out += n_here;
        window->offset += n_here;
        n -= n_here;
    }

    return POOLMGR_OK;
}

static uint64_t little_endian(const unsigned char *bytes, size_t n)
{
    uint64_t value = 0;

    while (n-- > 0)
        value = value << 8 | bytes[n];

    return value;
}

/* A vocabulary is half a million lengths, nearly all of which lie in the window whole. */
static bool take_length(struct pm_window *window, uint64_t *ret)
{
    uint64_t at = window->offset - window->bytes_offset;

    if (window->offset < window->bytes_offset || at + sizeof(*ret) > window->n_bytes ||
        window->offset + sizeof(*ret) > window->source->size ||
        window->offset + sizeof(*ret) > PM_GGUF_HEADER_MAX)
        return false;

    memcpy(ret, window->bytes + at, sizeof(*ret));
    *ret = le64toh(*ret);
    window->offset += sizeof(*ret);
    return true;
}

int pm_window_number(struct pm_window *window, size_t n_bytes, uint64_t *ret)
{
    unsigned char bytes[8];
    int r;

    if (n_bytes == sizeof(*ret) && take_length(window, ret))
        return POOLMGR_OK;

    r = pm_window_take(window, bytes, n_bytes);
    if (r < 0)
        return r;

    *ret = little_endian(bytes, n_bytes);
    return POOLMGR_OK;
}

int pm_window_text(struct pm_window *window, uint64_t max, const char *what, char *to, size_t size)
{
    uint64_t n;
    size_t n_kept, i;
    int r;

    r = pm_window_number(window, 8, &n);
    if (r < 0)
        return r;

    if (n > max)
        return pm_fail(window->err, POOLMGR_E_MODEL_CORRUPT,
                       "%s of %" PRIu64 " bytes at byte %" PRIu64, what, n, window->offset - 8);

    n_kept = n < size ? (size_t)n : size - 1;
    r = pm_window_take(window, to, n_kept);
    if (r < 0)
        return r;

    for (i = 0; i < n_kept; i++)
        if (to[i] < 0x20 || to[i] > 0x7e)
            to[i] = '?';
    to[n_kept] = '\0';

    return pm_window_take(window, NULL, n - n_kept);
}
