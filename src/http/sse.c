/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where events end. A line ends with LF, CR or CRLF; an event ends with an empty line. A CR may be the first half of
 * a CRLF that was cut in two, so a boundary made by a CR is known at once, and a LF right behind it belongs to it.
 */
#include "http/sse.h"

#include <string.h>

enum state {
    LINE_START, /* between events, or behind the line end of a pending one (see in_event) */
    IN_LINE,
    AFTER_CR, /* a line has ended with CR: a LF now belongs to it */
};

/* Bits of n_done: how much of "data: [DONE]" the line has matched, and what the pending event is. */
enum { MATCH_MASK = 0x1f, IN_EVENT = 0x20, LINE_IS_COMMENT = 0x40, EVENT_IS_DONE = 0x80 };

static const char done_line[] = "data: [DONE]";
#define DONE_LENGTH (sizeof(done_line) - 1)
#define NO_MATCH    MATCH_MASK

static void begin_line(struct pm_sse *sse, char c)
{
    if (!(sse->n_done & IN_EVENT)) {
        sse->comment_only = true;
        sse->n_done &= (unsigned char)~EVENT_IS_DONE;
    }
    sse->n_done = (unsigned char)((sse->n_done & (IN_EVENT | EVENT_IS_DONE)) |
                                  (c == ':' ? LINE_IS_COMMENT : 0));
    if (c != ':')
        sse->comment_only = false;
    sse->state = IN_LINE;
}

static void match_done(struct pm_sse *sse, char c)
{
    unsigned n = sse->n_done & MATCH_MASK;

    if (n == NO_MATCH)
        return;
    n = n < DONE_LENGTH && done_line[n] == c ? n + 1 : NO_MATCH;
    sse->n_done = (unsigned char)((sse->n_done & ~MATCH_MASK) | n);
}

/* A line has ended; true when nothing is pending any more behind it. */
static bool end_line(struct pm_sse *sse, bool empty)
{
    if (empty) {
        if (sse->n_done & IN_EVENT) {
            sse->saw_data |= !sse->comment_only;
            sse->done |= (sse->n_done & EVENT_IS_DONE) != 0;
        }
        sse->n_done = 0;
        sse->passing = false;
        return true;
    }
    if ((sse->n_done & MATCH_MASK) == DONE_LENGTH)
        sse->n_done |= EVENT_IS_DONE;
    if (sse->comment_only) {
        sse->n_done = 0; /* a comment outside an event needs no blank line */
        sse->passing = false;
        return true;
    }
    sse->n_done |= IN_EVENT;
    return false;
}

size_t pm_sse_feed(struct pm_sse *sse, const char *data, size_t n, size_t n_held)
{
    size_t whole = 0;

    sse->saw_data = false;
    for (size_t i = 0; i < n; i++) {
        char c = data[i];
        bool boundary = false;

        if (sse->state == AFTER_CR && c == '\n') {
            /* The other half of a CRLF: no line of its own; a boundary stays one. */
            sse->state = LINE_START;
            if (!(sse->n_done & IN_EVENT))
                whole = i + 1;
            continue;
        }
        if (c == '\n' || c == '\r') {
            boundary = end_line(sse, sse->state != IN_LINE);
            sse->state = c == '\r' ? AFTER_CR : LINE_START;
        } else if (sse->state != IN_LINE) {
            begin_line(sse, c);
            match_done(sse, c);
        } else {
            match_done(sse, c);
        }
        if (boundary)
            whole = i + 1;
    }

    if (!sse->passing && whole == 0 && n_held + n > PM_SSE_TAIL_MAX)
        sse->passing = true;
    if (!sse->passing && whole && n - whole > PM_SSE_TAIL_MAX)
        sse->passing = true;
    return sse->passing ? n : whole;
}

bool pm_sse_at_boundary(const struct pm_sse *sse)
{
    return sse->state != IN_LINE && !(sse->n_done & IN_EVENT);
}
