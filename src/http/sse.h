/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boundaries of server-sent events in a byte stream, so that towards a client only whole events go out (GW-3a).
 * Bytes are never changed. An event ends with an empty line; lines end with LF, CR or CRLF.
 */
#ifndef PM_HTTP_SSE_H
#define PM_HTTP_SSE_H

#include <stdbool.h>
#include <stddef.h>

#define PM_SSE_TAIL_MAX                                                                            \
    (64 * 1024) /* of an unfinished event, held back; then it is passed as it comes */

struct pm_sse {
    bool
        saw_data; /* in what the last pm_sse_feed() passed: of an event that is more than comments */
    bool done;    /* `data: [DONE]` was completed */
    /* its own */
    unsigned char state;   /* what the last byte was */
    unsigned char n_mark;  /* bytes of a byte order mark seen at the start of the stream */
    unsigned char n_match; /* how much of `data: [DONE]` the running line is */
    bool passing;          /* inside an event larger than PM_SSE_TAIL_MAX */
    bool in_event;         /* a line of the pending event has ended */
    bool line_is_comment;
    bool event_is_done;
};

/*
 * Looks at the next n bytes and returns how many of them end with a whole event: send what was held before and
 * these, hold the rest. n_held is what is held already: once n_held + n passes PM_SSE_TAIL_MAX all of it is to be
 * sent (returns n). A comment line outside an event passes at once.
 */
size_t pm_sse_feed(struct pm_sse *sse, const char *data, size_t n, size_t n_held);

/* At an event boundary: an `event: error` may follow. */
bool pm_sse_at_boundary(const struct pm_sse *sse);

#endif
