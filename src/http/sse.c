/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where events end. A line ends with LF, CR or CRLF; an event ends with an empty line. A CR may be the first half of
 * a CRLF that was cut in two, so a boundary made by a CR is known at once, and a LF right behind it belongs to it.
 * Between line ends only the first bytes of a line are looked at; the rest is skipped.
 */
#include "http/sse.h"

#include <string.h>

enum state {
    STREAM_START, /* a byte order mark may come, once */
    LINE_START,
    IN_LINE,
    AFTER_CR, /* a line has ended with CR: a LF now belongs to it */
};

static const char byte_order_mark[] = "\xef\xbb\xbf";
static const char done_line[] = "data: [DONE]";

enum { N_MARK = sizeof(byte_order_mark) - 1, N_DONE = sizeof(done_line) - 1, NO_MATCH = 0xff };

/* How much of done_line is read once `c` has come; the blank behind its colon may be left out. */
static unsigned char match_done(unsigned char n, char c)
{
    if (n < N_DONE && done_line[n] == c)
        return (unsigned char)(n + 1);
    if (n < N_DONE && done_line[n] == ' ' && done_line[n + 1] == c)
        return (unsigned char)(n + 2);
    return NO_MATCH;
}

static void begin_line(struct pm_sse *sse, char c)
{
    sse->line_is_comment = c == ':';
    sse->n_match = match_done(0, c);
    sse->state = IN_LINE;
}

/* A line has ended; true when nothing is pending any more behind it. */
static bool end_line(struct pm_sse *sse)
{
    bool empty = sse->state != IN_LINE;

    if (empty) {
        sse->saw_data |= sse->in_event;
        sse->done |= sse->event_is_done;
        sse->in_event = sse->event_is_done = sse->passing = false;
        return true;
    }
    if (sse->line_is_comment) { /* outside an event it needs no blank line */
        sse->passing = sse->passing && sse->in_event;
        return !sse->in_event;
    }
    sse->event_is_done |= sse->n_match == N_DONE;
    sse->in_event = true;
    return false;
}

/* At the start of the stream: a byte of the mark. What only begins like one is a line. */
static bool read_mark(struct pm_sse *sse, char c)
{
    if (c == byte_order_mark[sse->n_mark]) {
        if (++sse->n_mark == N_MARK)
            sse->state = LINE_START;
        return true;
    }
    sse->state = LINE_START;
    if (sse->n_mark) {
        begin_line(sse, byte_order_mark[0]);
        sse->n_match = NO_MATCH;
    }
    return false;
}

/* True when nothing is pending behind this byte. */
static bool read_byte(struct pm_sse *sse, char c)
{
    bool ends;

    if (sse->state == STREAM_START && read_mark(sse, c))
        return false;
    if (sse->state == AFTER_CR && c == '\n') { /* no line of its own; a boundary stays one */
        sse->state = LINE_START;
        return !sse->in_event;
    }
    if (c == '\n' || c == '\r') {
        ends = end_line(sse);
        sse->state = c == '\r' ? AFTER_CR : LINE_START;
        return ends;
    }
    if (sse->state == IN_LINE)
        sse->n_match = match_done(sse->n_match, c);
    else
        begin_line(sse, c);
    return false;
}

size_t pm_sse_feed(struct pm_sse *sse, const char *data, size_t n, size_t n_held)
{
    size_t whole = 0;

    sse->saw_data = false;
    for (size_t i = 0; i < n; i++) {
        while (sse->state == IN_LINE && sse->n_match == NO_MATCH && i < n && data[i] != '\n' &&
               data[i] != '\r')
            i++;
        if (i < n && read_byte(sse, data[i]))
            whole = i + 1;
    }

    if ((whole ? n - whole : n_held + n) > PM_SSE_TAIL_MAX)
        sse->passing = true;
    if (!sse->passing)
        return whole;

    /* What is larger than what is held, and still comes, is no silence; unless it is a comment. */
    sse->saw_data |= n && !sse->line_is_comment;
    return n;
}

bool pm_sse_at_boundary(const struct pm_sse *sse)
{
    return sse->state != IN_LINE && !sse->in_event;
}
