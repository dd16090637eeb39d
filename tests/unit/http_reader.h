/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of one connection's bytes, made of the codec alone: heads, bodies by their framing, the next head. What it
 * understood is a text, so that a test compares one line, and the same bytes cut in any other way must give the same
 * text. Unit tests and the fuzz target share it.
 */
#ifndef PM_TEST_HTTP_READER_H
#define PM_TEST_HTTP_READER_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/codec.h"
#include "util/buf.h"

#define READER_BODY_MAX ((uint64_t)64 * 1024 * 1024)
#define READER_EXACT_MAX                                                                           \
    4096 /* up to here each look is at a copy of the exact size: a read behind it is seen */
#define READER_HEADS_MAX 16 /* messages of one connection */

enum reader_state { READER_HEAD, READER_BODY, READER_STOPPED };

struct reader {
    bool responses;
    enum pm_http_method of_method; /* responses: to what */
    enum reader_state state;
    struct pm_buf in;
    struct pm_http_scan scan;
    struct pm_http_chunked chunked;
    struct pm_http_head head;
    uint64_t left; /* of a body of known length */
    unsigned n_heads;
    size_t n_fed, n_settled; /* bytes given in all; given when it stopped */
    struct pm_buf text;      /* "POST /v1/x body|200 body|400" */
    struct pm_buf detail;    /* every field of every head */
};

static inline void reader_fini(struct reader *reader)
{
    pm_buf_fini(&reader->in);
    pm_buf_fini(&reader->text);
    pm_buf_fini(&reader->detail);
}

static inline void reader_stop(struct reader *reader, const char *verdict)
{
    pm_buf_adds(&reader->text, verdict);
    reader->state = READER_STOPPED;
    reader->n_settled = reader->n_fed;
}

static inline void reader_stop_status(struct reader *reader, long status)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%ld", status);
    reader_stop(reader, text);
}

static inline void reader_tell_head(struct reader *reader)
{
    const struct pm_http_head *head = &reader->head;
    char line[256];

    (void)snprintf(line, sizeof(line),
                   "%d %d 1.%d framing=%d length=%d:%" PRIu64 " keep=%d expect=%d%d up=%d n=%u\n",
                   (int)head->method, head->status, head->minor, (int)head->framing,
                   head->has_length, head->content_length, head->keep_alive, head->expect_continue,
                   head->wrong_expect, head->upgrade, head->n_headers);
    pm_buf_adds(&reader->detail, line);
    for (unsigned i = 0; i < head->n_headers; i++) {
        const struct pm_http_header *header = &head->headers[i];

        pm_buf_add(&reader->detail, header->name.p, header->name.n);
        pm_buf_adds(&reader->detail, header->hop_by_hop ? " - " : " = ");
        pm_buf_add(&reader->detail, header->value.p, header->value.n);
        pm_buf_adds(&reader->detail, "\n");
    }

    if (reader->responses) {
        (void)snprintf(line, sizeof(line), "%d ", head->status);
        pm_buf_adds(&reader->text, line);
    } else {
        pm_buf_adds(&reader->text, pm_http_method_name(head->method));
        pm_buf_adds(&reader->text, " ");
        pm_buf_add(&reader->text, head->target.p, head->target.n);
        pm_buf_adds(&reader->text, " ");
    }
}

static inline void reader_message_ends(struct reader *reader)
{
    pm_buf_adds(&reader->text, "|");
    reader->state = READER_HEAD;
    memset(&reader->scan, 0, sizeof(reader->scan));
    memset(&reader->chunked, 0, sizeof(reader->chunked));
    if (!reader->head.keep_alive)
        reader_stop(reader, "close");
    else if (reader->n_heads == READER_HEADS_MAX)
        reader_stop(reader, "enough");
}

/* What a server refuses by the head alone. */
static inline int reader_judge(const struct pm_http_head *head)
{
    if (head->wrong_expect)
        return 417;
    if (head->upgrade)
        return 501;
    return head->framing == PM_BODY_LENGTH && head->content_length > READER_BODY_MAX ? 413 : 0;
}

static inline void reader_take_head(struct reader *reader)
{
    size_t n = reader->in.n;
    char *exact = NULL;
    const char *data = reader->in.data;
    long r;

    if (n <= READER_EXACT_MAX) {
        exact = malloc(n);
        memcpy(exact, data, n);
        data = exact;
    }
    r = reader->responses
            ? pm_http_parse_response(data, n, &reader->scan, reader->of_method, &reader->head)
            : pm_http_parse_request(data, n, &reader->scan, &reader->head);
    if (r < 0) {
        reader_stop_status(reader, -r);
    } else if (r > 0) {
        int refused = reader->responses ? 0 : reader_judge(&reader->head);

        reader->n_heads++;
        if (refused) {
            reader_stop_status(reader, refused);
        } else {
            reader_tell_head(reader);
            reader->left = reader->head.content_length;
            reader->state = READER_BODY;
            pm_buf_consume(&reader->in, (size_t)r);
        }
    }
    free(exact);
}

static inline void reader_take_body(struct reader *reader)
{
    size_t n_used = reader->in.n, n_body = 0;
    int r = 0;

    switch (reader->head.framing) {
    case PM_BODY_NONE: r = 1, n_used = 0; break;
    case PM_BODY_LENGTH:
        if (n_used > reader->left)
            n_used = (size_t)reader->left;
        n_body = n_used;
        reader->left -= n_used;
        r = reader->left == 0;
        break;
    case PM_BODY_CHUNKED:
        r = pm_http_chunked_decode(&reader->chunked, reader->in.data, reader->in.n, READER_BODY_MAX,
                                   &n_used, &n_body);
        break;
    case PM_BODY_UNTIL_CLOSE: n_body = n_used; break;
    }
    pm_buf_add(&reader->text, reader->in.data, n_body);
    pm_buf_consume(&reader->in, n_used);
    if (r < 0)
        reader_stop(reader, "|"), reader_stop_status(reader, -r);
    else if (r == 1)
        reader_message_ends(reader);
}

static inline void reader_feed(struct reader *reader, const char *data, size_t n)
{
    enum reader_state before;
    size_t n_before;

    reader->n_fed += n;
    pm_buf_add(&reader->in, data, n);
    do {
        before = reader->state;
        n_before = reader->in.n;
        if (reader->state == READER_HEAD && reader->in.n)
            reader_take_head(reader);
        else if (reader->state == READER_BODY)
            reader_take_body(reader);
    } while (reader->state != READER_STOPPED &&
             (reader->state != before || reader->in.n != n_before));
}

/* All bytes in pieces of the given size; then "more" where something is still owed. */
static inline void reader_feed_all(struct reader *reader, const char *data, size_t n, size_t piece)
{
    for (size_t at = 0; at < n && reader->state != READER_STOPPED; at += piece)
        reader_feed(reader, data + at, n - at < piece ? n - at : piece);
    if (reader->state == READER_BODY || (reader->state == READER_HEAD && reader->in.n))
        pm_buf_adds(&reader->text, "more");
    pm_buf_add(&reader->text, "", 1);
    pm_buf_add(&reader->detail, "", 1);
}

#endif
