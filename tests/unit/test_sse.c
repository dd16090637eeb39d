/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event boundaries against H-64 to H-70: only whole events pass, bytes are never changed, and the same stream cut in
 * any way passes the same events. Each stream runs in one piece, a byte at a time, and cut in two at every byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/sse.h"
#include "util/buf.h"
#include "util/cleanup.h"

/* What a gateway does with it. */
struct stream {
    struct pm_sse sse;
    struct pm_buf held, passed;
    size_t n_held_max;
    unsigned n_sends, n_data; /* feeds that passed bytes; feeds that passed more than comments */
};

static void stream_fini(struct stream *stream)
{
    pm_buf_fini(&stream->held);
    pm_buf_fini(&stream->passed);
}

static void feed(struct stream *stream, const char *data, size_t n)
{
    size_t n_whole = pm_sse_feed(&stream->sse, data, n, stream->held.n);

    assert_true(n_whole <= n);
    if (n_whole) {
        pm_buf_add(&stream->passed, stream->held.data, stream->held.n);
        pm_buf_add(&stream->passed, data, n_whole);
        pm_buf_clear(&stream->held);
        stream->n_sends++;
    }
    pm_buf_add(&stream->held, data + n_whole, n - n_whole);
    if (stream->held.n > stream->n_held_max)
        stream->n_held_max = stream->held.n;
    stream->n_data += stream->sse.saw_data;
}

static void feed_all(struct stream *stream, const char *data, size_t n, size_t piece)
{
    for (size_t at = 0; at < n; at += piece)
        feed(stream, data + at, n - at < piece ? n - at : piece);
}

static void check_stream(const struct stream *stream, const char *id, size_t cut, const char *data,
                         size_t n, size_t n_whole, bool boundary)
{
    if (stream->passed.n != n_whole || stream->held.n != n - n_whole)
        fail_msg("%s, cut at %zu: %zu bytes passed, %zu held of %zu, expected %zu", id, cut,
                 stream->passed.n, stream->held.n, n, n_whole);
    if ((n_whole && memcmp(stream->passed.data, data, n_whole) != 0) ||
        (n > n_whole && memcmp(stream->held.data, data + n_whole, n - n_whole) != 0))
        fail_msg("%s, cut at %zu: the bytes differ", id, cut);
    if (pm_sse_at_boundary(&stream->sse) != boundary)
        fail_msg("%s, cut at %zu: boundary %d", id, cut, !boundary);
}

/* n_whole: of the whole stream, how many bytes have passed in the end. */
static void check(const char *id, const char *data, size_t n, size_t n_whole, bool done)
{
    bool boundary = n_whole == n;

    for (size_t cut = 0; cut <= n; cut++) {
        struct stream stream = {0};

        if (cut == 0)
            feed_all(&stream, data, n, 1);
        else
            feed(&stream, data, cut), feed_all(&stream, data + cut, n - cut, n);
        check_stream(&stream, id, cut, data, n, n_whole, boundary);
        if (stream.sse.done != done)
            fail_msg("%s, cut at %zu: done %d", id, cut, stream.sse.done);
        stream_fini(&stream);
    }
}

struct row {
    const char *id, *bytes;
    size_t n;
    const char *rest; /* what is held at the end */
    bool done;
};

#define ROW(id, bytes, rest)                                                                       \
    {                                                                                              \
        id, bytes, sizeof(bytes) - 1, rest, false                                                  \
    }
#define DONE(id, bytes, rest)                                                                      \
    {                                                                                              \
        id, bytes, sizeof(bytes) - 1, rest, true                                                   \
    }

static void test_whole_events_pass_and_torn_ones_are_held(void **state)
{
    static const struct row rows[] = {
        ROW("one", "data: a\n\n", ""),
        ROW("one and a half", "data: a\n\ndata: b", "data: b"),
        ROW("one line end", "data: a\n\ndata: b\n", "data: b\n"),
        ROW("H-65a", "data: a\r\rdata: b\r\r", ""),
        ROW("H-65b", "data: a\r\n\r\ndata: b\n\ndata: c\r\rdata: d\r\n\ndata: e\n\r\ndata: f\n\r",
            ""),
        ROW("H-65c", "data: a\r\n\r\n", ""),
        ROW("H-65c, cut", "data: a\r\n", "data: a\r\n"),
        ROW("H-66a",
            "\xef\xbb\xbf"
            "data: a\n\n",
            ""),
        ROW("H-66b", "data: \0\x01\n\n", ""),
        ROW("H-66c", "data: \xff\n\n", ""),
        ROW("H-66d", "data: \"\xc3\xa9\"\n\n", ""),
        ROW("H-67a", ": ping\n\n", ""),
        ROW("H-67b", ": ping\n", ""),
        ROW("H-67b, CR", ": ping\r", ""),
        ROW("H-67b, CRLF", ": ping\r\n", ""),
        ROW("H-67b, torn", ": pi", ": pi"),
        ROW("H-67c data", "data\n\n", ""),
        ROW("H-67c data:", "data:\n\n", ""),
        ROW("H-67c foo", "foo: x\n\n", ""),
        ROW("H-67c :", ":\n\n", ""),
        ROW("H-67c blank lines", "\n\n\n", ""),
        ROW("H-67c id", "id: \0\n\n", ""),
        ROW("H-67c retry", "retry: 1\n\n", ""),
        ROW("a comment inside an event", "data: a\n: ping\n", "data: a\n: ping\n"),
        ROW("and its end", "data: a\n: ping\ndata: b\n\n", ""),
        ROW("a comment in front of an event", ": ping\ndata: a\n", "data: a\n"),
        ROW("H-68a", "data: {\"a\":1}\n\ndata: [DONE]", "data: [DONE]"),
        DONE("done", "data: {\"a\":1}\n\ndata: [DONE]\n\n", ""),
        DONE("done, without the blank", "data:[DONE]\n\n", ""),
        DONE("done, behind a mark",
             "\xef\xbb\xbf"
             "data: [DONE]\n\n",
             ""),
        DONE("done, CRLF", "data: [DONE]\r\n\r\n", ""),
        DONE("H-68c", "data: [DONE]\n\ndata: {\"usage\":{}}\n\n", ""),
        ROW("not done, more behind", "data: [DONE]x\n\n", ""),
        ROW("not done, less", "data: [DONE\n\n", ""),
        ROW("not done, two blanks", "data:  [DONE]\n\n", ""),
        ROW("not done, elsewhere in the line", "data: {\"x\":\"data: [DONE]\"}\n\n", ""),
        ROW("not done, another field", "x: [DONE]\n\n", ""),
        ROW("H-70, CRLF CR", "data: {\"a\":1}\r\n\r", ""),
        ROW("H-70, one line end", "data: {\"a\":1}\n", "data: {\"a\":1}\n"),
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++)
        check(rows[i].id, rows[i].bytes, rows[i].n, rows[i].n - strlen(rows[i].rest), rows[i].done);
}

/* H-70: however far the engine came, only whole events have passed. */
static void test_after_every_byte_only_whole_events_have_passed(void **state)
{
    static const char first[] = "data: {\"a\":1}\n\n",
                      both[] = "data: {\"a\":1}\n\ndata: {\"b\":2}\n\n";

    (void)state;
    for (size_t n = 0; n < sizeof(both); n++) {
        struct stream stream = {0};
        size_t whole = n == sizeof(both) - 1 ? n : n >= sizeof(first) - 1 ? sizeof(first) - 1 : 0;

        feed_all(&stream, both, n, 1);
        check_stream(&stream, "H-70", n, both, n, whole, whole == n);
        stream_fini(&stream);
    }
}

/* H-67 a, b: a ping shows that the engine lives, and not that it works. */
static void test_comments_are_told_from_data(void **state)
{
    static const struct {
        const char *text;
        bool data;
    } rows[] = {
        {": ping\n\n", false},  {": ping\n", false},       {"\n\n\n", false},
        {"data: a\n\n", true},  {"data: a\n", false},      {": ping\n\ndata: a\n\n", true},
        {"retry: 1\n\n", true}, {": x\n: y\n\n\n", false}, {"data: a\n\n: ping\n\n", true},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_sse sse = {0};

        (void)pm_sse_feed(&sse, rows[i].text, strlen(rows[i].text), 0);
        if (sse.saw_data != rows[i].data)
            fail_msg("'%s': %d", rows[i].text, sse.saw_data);
        (void)pm_sse_feed(&sse, "", 0, 0);
        assert_false(sse.saw_data);
    }
}

/* H-64: at most 64 KiB are held; a longer event passes as it comes, and is whole again at its end. */
static void test_an_event_without_end_is_not_held(void **state)
{
    enum { PIECE = 1000, N_PIECES = 300 };
    static const size_t pieces[] = {1, 1000, 65536, 200000};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(pieces); i++) {
        static char line[PIECE * N_PIECES];
        struct stream stream = {0};

        memset(line, 'A', sizeof(line));
        feed(&stream, "data: x\n\ndata: ", 15);
        feed_all(&stream, line, sizeof(line), pieces[i]);
        assert_true(stream.n_held_max <= PM_SSE_TAIL_MAX);
        assert_int_equal(stream.passed.n, 15 + sizeof(line));
        assert_false(pm_sse_at_boundary(&stream.sse)); /* a break here is a FIN only */
        feed(&stream, "\n", 1);
        assert_int_equal(stream.held.n, 0);
        assert_false(pm_sse_at_boundary(&stream.sse));
        feed(&stream, "\ndata: b", 8);
        assert_int_equal(stream.passed.n, 15 + sizeof(line) + 2);
        assert_int_equal(stream.held.n, 7); /* the next one is held again */
        stream_fini(&stream);
    }
}

/* H-64, H-67: what passes before its end is a sign that the engine works, but for a comment. */
static void test_what_passes_of_an_event_without_end_is_data_unless_it_is_a_comment(void **state)
{
    static const struct {
        const char *begin, *more;
        bool data;
    } rows[] = {
        {"data: ", "A", true},       {"data: a\ndata: ", "A", true},  {": ", "A", false},
        {"data: a\n: ", "A", false}, {"data: ", "\n: ping\n", false}, {"data: ", "", false},
    };
    static char line[PM_SSE_TAIL_MAX];

    (void)state;
    memset(line, 'A', sizeof(line));
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct stream stream = {0};

        feed(&stream, rows[i].begin, strlen(rows[i].begin));
        feed(&stream, line, sizeof(line));
        assert_int_equal(stream.held.n, 0);
        stream.n_data = 0;
        feed(&stream, rows[i].more, strlen(rows[i].more));
        if (stream.n_data != rows[i].data)
            fail_msg("'%s' then '%s': %u", rows[i].begin, rows[i].more, stream.n_data);
        stream_fini(&stream);
    }
}

static void test_the_largest_event_that_is_held(void **state)
{
    static char line[PM_SSE_TAIL_MAX];
    struct stream stream = {0};

    (void)state;
    memset(line, 'A', sizeof(line));
    memcpy(line, "data: ", 6);
    feed_all(&stream, line, sizeof(line), 4096);
    assert_int_equal(stream.held.n, PM_SSE_TAIL_MAX);
    feed(&stream, "\n\n", 2); /* its end: passed whole, although with its end it is more */
    assert_int_equal(stream.passed.n, PM_SSE_TAIL_MAX + 2);
    assert_true(pm_sse_at_boundary(&stream.sse));
    stream_fini(&stream);
}

/* H-69: what one read gave goes out in one piece, and nothing is lost or seen twice. */
static void test_many_events_of_one_read_are_one_write(void **state)
{
    enum { N = 100000 };
    static const char event[] = "data: {\"choices\":[]}\n\n";
    struct pm_buf all = {0};
    struct stream stream = {0};

    (void)state;
    for (int i = 0; i < N; i++)
        pm_buf_adds(&all, event);
    pm_buf_adds(&all, "data: [DONE]\n\n");
    feed(&stream, all.data, all.n);
    assert_int_equal(stream.n_sends, 1);
    assert_int_equal(stream.passed.n, all.n);
    assert_true(stream.sse.done);
    stream_fini(&stream);

    stream = (struct stream){0};
    feed_all(&stream, all.data, all.n, 1);
    assert_int_equal(stream.n_sends, N + 1);
    assert_int_equal(stream.n_data, N + 1);
    assert_memory_equal(stream.passed.data, all.data, all.n);
    stream_fini(&stream);
    pm_buf_fini(&all);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_events_pass_and_torn_ones_are_held),
        cmocka_unit_test(test_after_every_byte_only_whole_events_have_passed),
        cmocka_unit_test(test_comments_are_told_from_data),
        cmocka_unit_test(test_an_event_without_end_is_not_held),
        cmocka_unit_test(test_what_passes_of_an_event_without_end_is_data_unless_it_is_a_comment),
        cmocka_unit_test(test_the_largest_event_that_is_held),
        cmocka_unit_test(test_many_events_of_one_read_are_one_write),
    };

    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
