/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an engine's event stream: nothing is lost or changed, what has passed ends with a whole event, and the
 * same stream cut in any way is told apart the same. The first byte chooses the cut.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stream {
    struct pm_sse sse;
    size_t n_passed, n_held;
    bool data;
};

static void feed(struct stream *stream, const char *data, size_t n)
{
    size_t n_whole = pm_sse_feed(&stream->sse, data, n, stream->n_held);

    assert(n_whole <= n);
    if (n_whole) {
        stream->n_passed += stream->n_held + n_whole;
        stream->n_held = n - n_whole;
    } else {
        stream->n_held += n;
    }
    assert(stream->n_held <= PM_SSE_TAIL_MAX);
    stream->data |= stream->sse.saw_data;
}

/* Line by line, as the standard has it: where the last whole event (or comment outside of one) ends. */
static size_t last_boundary(const char *data, size_t n)
{
    size_t boundary = 0, at = 0, mark = n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    bool in_event = false;

    at = mark;
    while (at < n) {
        size_t begin = at, end;

        while (at < n && data[at] != '\r' && data[at] != '\n')
            at++;
        if (at == n)
            break;
        end = at++;
        if (data[end] == '\r' && at < n && data[at] == '\n')
            at++;
        if (end == begin)
            in_event = false;
        else if (data[begin] != ':')
            in_event = true;
        if (!in_event)
            boundary = at;
    }
    return boundary;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *data = (const char *)bytes + 1;
    struct stream whole = {0}, single = {0}, two = {0};
    size_t n, cut;

    if (size < 1)
        return 0;
    n = size - 1;
    cut = n * bytes[0] / 256;

    feed(&whole, data, n);
    for (size_t i = 0; i < n; i++)
        feed(&single, data + i, 1);
    feed(&two, data, cut);
    feed(&two, data + cut, n - cut);

    assert(whole.n_passed + whole.n_held == n);
    assert(single.n_passed + single.n_held == n && two.n_passed + two.n_held == n);
    assert(whole.sse.done == single.sse.done && whole.sse.done == two.sse.done);
    assert(whole.data == single.data && whole.data == two.data);
    assert(pm_sse_at_boundary(&whole.sse) == pm_sse_at_boundary(&single.sse));
    assert(pm_sse_at_boundary(&whole.sse) == pm_sse_at_boundary(&two.sse));
    if (n <= PM_SSE_TAIL_MAX) {
        assert(whole.n_passed == last_boundary(data, n));
        assert(single.n_passed == whole.n_passed && two.n_passed == whole.n_passed);
    }
    return 0;
}
