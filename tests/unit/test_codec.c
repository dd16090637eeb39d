/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict codec against every hostile row about heads, chunked bodies, trailers and paths, and against the honest
 * bytes it must let pass. Each row runs in one piece, a byte at a time, and cut in two at every byte; all must give the
 * same, and the verdict with the byte that settles it (GW-5).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http_reader.h"
#include "util/cleanup.h"
#include "util/str.h"

#define P            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
#define G            "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
#define T            "Transfer-Encoding: chunked\r\n"
#define J            "{\"model\":\"m\"}"
#define L            "Content-Length: 13\r\n"
#define R            P L "\r\n" J
#define C            P T "\r\n"
#define S            "GET /upstream/m/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define A            "HTTP/1.1 200 OK\r\n"
#define R_HEAD(line) P line L "\r\n" J
#define R_TEXT       "POST /v1/chat/completions " J "|"
#define C_TEXT       "POST /v1/chat/completions |"
#define G_TEXT       "GET /v1/models |"

struct row {
    const char *id, *bytes;
    size_t n;
    const char *expected;
};

#define ROW(id, bytes, expected)                                                                   \
    {                                                                                              \
        id, bytes, sizeof(bytes) - 1, expected                                                     \
    }

static void read_all(struct reader *reader, bool responses, enum pm_http_method method,
                     const char *data, size_t n, size_t piece)
{
    *reader = (struct reader){.responses = responses, .of_method = method};
    reader_feed_all(reader, data, n, piece);
}

static void assert_same(const char *id, const char *how, const struct reader *reader,
                        const char *expected, const struct reader *whole)
{
    if (strcmp(reader->text.data, expected) != 0)
        fail_msg("%s, %s: read '%s', expected '%s'", id, how, reader->text.data, expected);
    if (strcmp(reader->detail.data, whole->detail.data) != 0)
        fail_msg("%s, %s: the heads differ: '%s', '%s'", id, how, reader->detail.data,
                 whole->detail.data);
}

/* In one piece, a byte at a time, and in two pieces cut at every byte. */
static void check_bytes(const char *id, bool responses, enum pm_http_method method,
                        const char *data, size_t n, const char *expected)
{
    struct reader whole, other;

    read_all(&whole, responses, method, data, n, n);
    assert_same(id, "in one piece", &whole, expected, &whole);
    read_all(&other, responses, method, data, n, 1);
    assert_same(id, "a byte at a time", &other, expected, &whole);
    reader_fini(&other);
    for (size_t cut = 1; n < READER_EXACT_MAX && cut < n; cut++) {
        other = (struct reader){.responses = responses, .of_method = method};
        reader_feed(&other, data, cut);
        reader_feed_all(&other, data + cut, n - cut, n);
        assert_same(id, "cut in two", &other, expected, &whole);
        reader_fini(&other);
    }
    reader_fini(&whole);
}

static void check_rows(const struct row *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++)
        check_bytes(rows[i].id, false, PM_GET, rows[i].bytes, rows[i].n, rows[i].expected);
}

static void check_answers(const struct row *rows, size_t n_rows, enum pm_http_method method)
{
    for (size_t i = 0; i < n_rows; i++)
        check_bytes(rows[i].id, true, method, rows[i].bytes, rows[i].n, rows[i].expected);
}

#define CHECK_ROWS(rows) check_rows(rows, PM_ARRAY_LEN(rows))

/* With how many bytes the verdict fell, given one by one. */
static size_t settled_at(const char *data, size_t n, const char *expected)
{
    struct reader reader;
    size_t at;

    read_all(&reader, false, PM_GET, data, n, 1);
    assert_string_equal(reader.text.data, expected);
    assert_int_equal(reader.state, READER_STOPPED);
    at = reader.n_settled;
    reader_fini(&reader);
    return at;
}

static char *repeat(const char *text, size_t n_times)
{
    size_t n = strlen(text);
    char *all = malloc(n * n_times + 1);

    for (size_t i = 0; i < n_times; i++)
        memcpy(all + i * n, text, n);
    all[n * n_times] = '\0';
    return all;
}

/* Before, the same text so many times, after: read in all ways. */
static void check_long(const char *id, const char *before, const char *text, size_t n_times,
                       const char *after, const char *expected)
{
    pm_auto_free char *all = repeat(text, n_times);
    pm_auto_free char *bytes = pm_xasprintf("%s%s%s", before, all, after);

    check_bytes(id, false, PM_GET, bytes, strlen(bytes), expected);
}

/* ---- framing of requests ---------------------------------------------------------------------------- */

static void test_two_lengths_are_refused(void **state)
{
    static const struct row rows[] = {
        ROW("H-01a", P "Content-Length: 13\r\n" T "\r\n" J, "400"),
        ROW("H-01b", P T "Content-Length: 13\r\n\r\n" J, "400"),
        ROW("H-01c", P "Content-Length: 0\r\n" T "\r\n0\r\n\r\n" S, "400"),
        ROW("H-05a", P "Content-Length: 13\r\nContent-Length: 14\r\n\r\n" J, "400"),
        ROW("H-05b", P "Content-Length: 13\r\nContent-Length: 13\r\n\r\n" J, "400"),
        ROW("H-05c", P "Content-Length: 0\r\ncontent-length: 13\r\n\r\n" J, "400"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_names_of_framing_headers_have_one_spelling(void **state)
{
    static const struct row rows[] = {
        ROW("H-02a", P "Content-Length : 13\r\n\r\n" J, "400"),
        ROW("H-02b", P "Content-Length\t: 13\r\n\r\n" J, "400"),
        ROW("H-02c", "POST /x HTTP/1.1\r\nHost : localhost\r\n" L "\r\n" J, "400"),
        ROW("H-02d", R_HEAD("X-A : 1\r\n"), "400"),
        ROW("H-02e", P "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" S,
            "400"),
        ROW("H-02f", R_HEAD("Content_Length: 5\r\n"), "400"),
        ROW("H-02g", R_HEAD("Transfer_Encoding: chunked\r\n"), "400"),
        ROW("H-02g, other case", R_HEAD("TRANSFER_encoding: chunked\r\n"), "400"),
        ROW("P-10, other names", R_HEAD("session_id: a\r\n"), R_TEXT),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_a_coding_is_chunked_or_refused(void **state)
{
#define CODED(coding) P "Transfer-Encoding: " coding "\r\n\r\n0\r\n\r\n" S
#define CODED_TWICE(a, b)                                                                          \
    P "Transfer-Encoding: " a "\r\nTransfer-Encoding: " b "\r\n\r\n0\r\n\r\n" S
    static const struct row rows[] = {
        ROW("H-03 identity", CODED("identity"), "400"),
        ROW("H-03 chunked, gzip", CODED("chunked, gzip"), "400"),
        ROW("H-03 chunked, chunked", CODED("chunked, chunked"), "400"),
        ROW("H-03 chunked,", CODED("chunked,"), "400"),
        ROW("H-03 ,chunked", CODED(",chunked"), "400"),
        ROW("H-03 xchunked", CODED("xchunked"), "400"),
        ROW("H-03 chunkedx", CODED("chunkedx"), "400"),
        ROW("H-03 chunked;q=1", CODED("chunked;q=1"), "400"),
        ROW("H-03 quoted", CODED("\"chunked\""), "400"),
        ROW("H-03 empty", CODED(""), "400"),
        ROW("H-03 vertical tab",
            CODED("\x0b"
                  "chunked"),
            "400"),
        ROW("H-03 no-break space",
            CODED("\xa0"
                  "chunked"),
            "400"),
        ROW("H-03 NUL", CODED("chunk\0ed"), "400"),
        ROW("H-03 chunked and identity", CODED_TWICE("chunked", "identity"), "400"),
        ROW("H-03 identity and chunked", CODED_TWICE("identity", "chunked"), "400"),
        ROW("H-03 chunked and chunked", CODED_TWICE("chunked", "chunked"), "400"),
        ROW("H-03 chunked and empty", CODED_TWICE("chunked", ""), "400"),
        ROW("H-03 gzip, chunked", CODED("gzip, chunked"), "501"),
        ROW("H-03 x, chunked", CODED("x, chunked"), "501"),
        ROW("H-04a", "POST /x HTTP/1.0\r\n" T "\r\n0\r\n\r\n" S, "400"),
        ROW("H-04b", "POST /x HTTP/1.0\r\n" T "Connection: keep-alive\r\n\r\n0\r\n\r\n" S, "400"),
        ROW("H-04c", "POST /x HTTP/1.0\r\n" T "Content-Length: 5\r\n\r\n0\r\n\r\n" S, "400"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_a_length_is_digits_without_a_leading_zero(void **state)
{
#define LENGTH(value) P "Content-Length: " value "\r\n\r\n" J
    static const struct row rows[] = {
        ROW("H-06 +13", LENGTH("+13"), "400"),
        ROW("H-06 -13", LENGTH("-13"), "400"),
        ROW("H-06 -0", LENGTH("-0"), "400"),
        ROW("H-06 13, 13", LENGTH("13, 13"), "400"),
        ROW("H-06 13,14", LENGTH("13,14"), "400"),
        ROW("H-06 0xd", LENGTH("0xd"), "400"),
        ROW("H-06 1 3", LENGTH("1 3"), "400"),
        ROW("H-06 1_3", LENGTH("1_3"), "400"),
        ROW("H-06 13;", LENGTH("13;"), "400"),
        ROW("H-06 13.0", LENGTH("13.0"), "400"),
        ROW("H-06 quoted", LENGTH("\"13\""), "400"),
        ROW("H-06 empty", LENGTH(""), "400"),
        ROW("H-06 no-break space",
            LENGTH("\xa0"
                   "13"),
            "400"),
        ROW("H-06 vertical tab", LENGTH("13\x0b"), "400"),
        ROW("H-06 013", LENGTH("013"), "400"),
        ROW("H-06 00", LENGTH("00"), "400"),
        ROW("H-07 cap + 1", LENGTH("67108865"), "413"),
        ROW("H-07 2^63", LENGTH("9223372036854775808"), "413"),
        ROW("H-07 2^64 + 13", LENGTH("18446744073709551629"), "413"),
        ROW("P-12 the cap itself", LENGTH("67108864"), "POST /v1/chat/completions " J "more"),
        ROW("P-01 blanks around", P "Content-Length:\t13 \t\r\n\r\n" J, R_TEXT),
        ROW("P-01 upper case", P "CONTENT-LENGTH: 13\r\n\r\n" J, R_TEXT),
        ROW("P-04b", P "Content-Length: 0\r\n\r\n", "POST /v1/chat/completions |"),
        ROW("P-04b GET", G "Content-Length: 0\r\n\r\n", G_TEXT),
        ROW("P-04a", "POST /v1/pools/m/start HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /v1/pools/m/start |"),
    };

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-07 9*1000", P "Content-Length: ", "9", 1000, "\r\n\r\n" J, "413");
    check_long("H-07 digits, then none", P "Content-Length: ", "9", 1000, "x\r\n\r\n" J, "400");
}

static void test_what_follows_a_body_is_the_next_request(void **state)
{
    static const struct row rows[] = {
        ROW("H-08a", R "XYZ\r\n\r\n", R_TEXT "400"),
        ROW("H-08b", P "Content-Length: 5\r\n\r\n" J, "POST /v1/chat/completions {\"mod|400"),
        ROW("H-08c", P "Content-Length: 0\r\n\r\n" J, "POST /v1/chat/completions |400"),
        ROW("H-09a", P "Content-Length: 14\r\n\r\n" J, "POST /v1/chat/completions " J "more"),
        ROW("H-09b", C "d\r\n" J "\r\n", "POST /v1/chat/completions " J "more"),
        ROW("H-09c", C "d\r\n" J "\r\n0\r\n", "POST /v1/chat/completions " J "more"),
        ROW("H-09d", C "d\r\n" J "\r\n0\r\n\r", "POST /v1/chat/completions " J "more"),
        ROW("H-10a", P "\r\n" J, "POST /v1/chat/completions |400"),
        ROW("H-38a", R_HEAD("Connection: close\r\n") S, R_TEXT "close"),
        ROW("H-38b", G "\r\nGARBAGE\r\n\r\n", G_TEXT "400"),
        ROW("P-05", "\r\n" G "\r\n" R G "\r\n", G_TEXT R_TEXT G_TEXT),
        ROW("P-05, between", R "\r\n" R, R_TEXT R_TEXT),
        ROW("a chunked body, then another request", C "d\r\n" J "\r\n0\r\n\r\n" S,
            R_TEXT "GET /upstream/m/smuggled |"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

/* ---- the request line ------------------------------------------------------------------------------- */

static void test_lines_end_with_crlf_alone(void **state)
{
    static const struct row rows[] = {
        ROW("H-12a", "GET /v1/models HTTP/1.1\nHost: localhost\r\n\r\n", "400"),
        ROW("H-12b", "GET /v1/models HTTP/1.1\r\nHost: localhost\n\r\n", "400"),
        ROW("H-12c", G "\n", "400"),
        ROW("H-12d", "GET /v1/models HTTP/1.1\nHost: localhost\n\n", "400"),
        ROW("H-12e", "\n" G "\r\n", "400"),
        ROW("H-12f", "GET /v1/models HTTP/1.1\rHost: localhost\r\n\r\n", "400"),
        ROW("H-12g", "GET\r/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        ROW("H-12h", "GET /v1/models HTTP/1.1\r\r\nHost: localhost\r\n\r\n", "400"),
        ROW("H-12i", G "X: a\rContent-Length: 5\r\n\r\n", "400"),
        ROW("H-12j", G "X: a\r\r\n\r\n", "400"),
        ROW("H-12k", G "X\r: a\r\n\r\n", "400"),
        ROW("H-13a", " " G "\r\n", "400"),
        ROW("H-13b", "\t" G "\r\n", "400"),
        ROW("H-13c", "\0" G "\r\n", "400"),
        ROW("H-13d", "\xef\xbb\xbf" G "\r\n", "400"),
        ROW("H-13e", "\r" G "\r\n", "400"),
        ROW("H-13f", "\r\n\r\n" G "\r\n", "400"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_a_request_line_has_three_words_and_two_blanks(void **state)
{
#define LINE(line) line "\r\nHost: localhost\r\n\r\n"
    static const struct row rows[] = {
        ROW("H-14a", LINE("GET  /v1/models HTTP/1.1"), "400"),
        ROW("H-14b", LINE("GET\t/v1/models HTTP/1.1"), "400"),
        ROW("H-14c", LINE("GET /v1/models\x0cHTTP/1.1"), "400"),
        ROW("H-14d", LINE("GET /v1/models  HTTP/1.1"), "400"),
        ROW("H-14e", LINE("GET /v1/models HTTP/1.1 "), "400"),
        ROW("H-14f", LINE("GET /v1/mo dels HTTP/1.1"), "400"),
        ROW("H-14g", LINE("GET /v1/models"), "400"),
        ROW("H-14h", LINE("GET HTTP/1.1"), "400"),
        ROW("H-15a", LINE("GET http://localhost/v1/models HTTP/1.1"), "400"),
        ROW("H-15b", LINE("GET http://evil/v1/models HTTP/1.1"), "400"),
        ROW("H-15c", LINE("GET localhost:8080 HTTP/1.1"), "400"),
        ROW("H-15d", LINE("GET * HTTP/1.1"), "400"),
        ROW("H-15d OPTIONS", LINE("OPTIONS * HTTP/1.1"), "400"),
        ROW("H-15e", LINE("GET v1/models HTTP/1.1"), "400"),
        ROW("H-15f", LINE("GET ?x HTTP/1.1"), "400"),
        ROW("H-15g", LINE("GET \\v1\\models HTTP/1.1"), "400"),
        ROW("H-15l", LINE("GET /v1/models#x HTTP/1.1"), "400"),
        ROW("P-11", LINE("GET /v1/models?{}^\"<>[]\x7c HTTP/1.1"), "GET /v1/models?{}^\"<>[]| |"),
        ROW("P-11 no query", LINE("GET /v1/models? HTTP/1.1"), "GET /v1/models? |"),
        ROW("P-11 escapes", LINE("GET /upstream/m/a//b?x=%0d%0a HTTP/1.1"),
            "GET /upstream/m/a//b?x=%0d%0a |"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

/* H-15 h to k, and H-19: every byte that may not stand there, and every one that may. */
static void test_targets_and_values_hold_no_byte_they_may_not(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char target[] = "GET /v1/?ls HTTP/1.1\r\nHost: localhost\r\n\r\n";
        char value[] = "GET / HTTP/1.1\r\nHost: localhost\r\nX: a?b\r\n\r\n";
        bool target_good = c > 0x20 && c < 0x7f && c != '#';
        bool value_good = c == '\t' || (c >= 0x20 && c != 0x7f);
        char expected[] = "GET /v1/?ls |";

        if (c == '\r' || c == '\n')
            value_good = false;
        target[8] = expected[8] = (char)c;
        value[sizeof("GET / HTTP/1.1\r\nHost: localhost\r\nX: a") - 1] = (char)c;
        check_bytes("H-15", false, PM_GET, target, sizeof(target) - 1,
                    target_good ? expected : "400");
        check_bytes("H-19", false, PM_GET, value, sizeof(value) - 1,
                    value_good ? "GET / |" : "400");
    }
}

static void test_methods_are_ours_or_unknown_or_malformed(void **state)
{
    static const struct row rows[] = {
        ROW("H-17a", LINE("PATCH /v1/models HTTP/1.1"), "501"),
        ROW("H-17b", LINE("TRACE /v1/models HTTP/1.1"), "501"),
        ROW("H-17c", LINE("CONNECT localhost:80 HTTP/1.1"), "501"),
        ROW("H-17d", LINE("get /v1/models HTTP/1.1"), "501"),
        ROW("H-17e", LINE("BREW /v1/models HTTP/1.1"), "501"),
        ROW("H-17g", LINE("G@T /v1/models HTTP/1.1"), "400"),
        ROW("H-17h", LINE("G\xc3T /v1/models HTTP/1.1"), "400"),
        ROW("H-17, all of ours",
            LINE("HEAD /a HTTP/1.1") LINE("PUT /b HTTP/1.1") LINE("DELETE /c HTTP/1.1")
                LINE("OPTIONS /d HTTP/1.1"),
            "HEAD /a |PUT /b |DELETE /c |OPTIONS /d |"),
        ROW("a prefix", LINE("GE /v1/models HTTP/1.1"), "501"),
        ROW("one letter more", LINE("GETS /v1/models HTTP/1.1"), "501"),
    };

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-17f", "", "A", 65536, "", "501");
}

static void test_versions_are_1_0_and_1_1(void **state)
{
    static const struct row rows[] = {
        ROW("H-18a", LINE("GET /v1/models HTTP/2.0"), "505"),
        ROW("H-18b", LINE("GET /v1/models HTTP/1.2"), "505"),
        ROW("H-18c", LINE("GET /v1/models HTTP/0.9"), "505"),
        ROW("H-18d", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "501"),
        ROW("H-18e", LINE("GET /v1/models HTTP/1.10"), "400"),
        ROW("H-18f", LINE("GET /v1/models HTTP/01.1"), "400"),
        ROW("H-18g", LINE("GET /v1/models http/1.1"), "400"),
        ROW("H-18h", LINE("GET /v1/models HTTP/1,1"), "400"),
        ROW("H-18i", LINE("GET /v1/models HTTP/1."), "400"),
        ROW("H-18j", LINE("GET /v1/models HTTPS/1.1"), "400"),
        ROW("H-18k", "\x16\x03\x01\x02\0\x01", "400"),
        ROW("H-18l", "\r\n\r\n\0\r\nQUIT\n", "400"),
        ROW("H-18m", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "501"),
        ROW("H-18n", "SSH-2.0-x\r\n", "501"),
        ROW("P-07", "GET /livez HTTP/1.0\r\n\r\n", "GET /livez |close"),
        ROW("P-07 empty Host", "GET /livez HTTP/1.0\r\nHost:\r\n\r\n", "GET /livez |close"),
        ROW("P-07 keep-alive", "GET /livez HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" S,
            "GET /livez |close"),
        ROW("P-08", "OPTIONS / HTTP/1.0\r\n\r\n", "OPTIONS / |close"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

#define SETTLED(bytes, expected) settled_at(bytes, sizeof(bytes) - 1, expected)

static void test_a_verdict_falls_with_the_byte_that_settles_it(void **state)
{
    pm_auto_free char *many = repeat("A", 70000);
    pm_auto_free char *no_end = pm_xasprintf(P "%s", many);
    pm_auto_free char *name = pm_xasprintf(G "%s: x\r\n", many);
    pm_auto_free char *target = pm_xasprintf("GET /%s", many);

    (void)state;
    assert_int_equal(settled_at(many, 70000, "501"), 8);               /* H-17f */
    assert_int_equal(SETTLED("\x16\x03\x01\x02\0\x01", "400"), 1);     /* H-18k */
    assert_int_equal(SETTLED("\r\n\r\n\0\r\nQUIT\n", "400"), 3);       /* H-18l */
    assert_int_equal(SETTLED("PROXY TCP4 1.2.3.4 1.2.3.4", "501"), 6); /* H-18m */
    assert_int_equal(SETTLED("SSH-2.0-x\r\n", "501"), 8);              /* H-18n */
    assert_int_equal(SETTLED("GET http://evil/", "400"), 5);           /* H-15b */
    assert_int_equal(SETTLED("GET /v1/models HTTP/1.1\n", "400"), 24); /* H-12a */
    assert_int_equal(settled_at(no_end, strlen(no_end), "431"),
                     65536); /* H-27e: the head can fit no more */
    assert_int_equal(settled_at(name, strlen(name), "431"), 65536);                /* H-27c */
    assert_int_equal(settled_at(target, strlen(target), "414"), 4 + 8193);         /* H-27f */
    assert_int_equal(SETTLED(C "d\n", C_TEXT "400"), sizeof(C "d\n") - 1);         /* H-30a */
    assert_int_equal(SETTLED(C "000000000", C_TEXT "400"), sizeof(C) - 1 + 9);     /* H-28 */
    assert_int_equal(SETTLED(C "ffffffff\r\n", C_TEXT "413"), sizeof(C) - 1 + 10); /* H-29a */
}

/* ---- headers ---------------------------------------------------------------------------------------- */

static void test_a_header_line_is_a_token_a_colon_and_a_value(void **state)
{
    static const struct row rows[] = {
        ROW("H-20a", R_HEAD(": x\r\n"), "400"),
        ROW("H-20b", R_HEAD("Na me: x\r\n"), "400"),
        ROW("H-20c", R_HEAD("Na\0me: x\r\n"), "400"),
        ROW("H-20d", R_HEAD("N\xc3\xa4me: x\r\n"), "400"),
        ROW("H-20e", R_HEAD("\"N\": x\r\n"), "400"),
        ROW("H-20f", R_HEAD("N(x): y\r\n"), "400"),
        ROW("H-20g", R_HEAD("N\x7f: x\r\n"), "400"),
        ROW("H-20h", R_HEAD("NoColon\r\n"), "400"),
        ROW("H-20i", R_HEAD(" \r\n"), "400"),
        ROW("H-20j", R_HEAD("X: a\r\n b\r\n"), "400"),
        ROW("H-20k", R_HEAD("X: a\r\n\tb\r\n"), "400"),
        ROW("H-20l", P "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400"),
        ROW("H-20m", "POST /x HTTP/1.1\r\n Host: localhost\r\n\r\n", "400"),
        ROW("H-20n", "POST /x HTTP/1.1\r\n\tContent-Length: 5\r\nHost: localhost\r\n\r\n", "400"),
        ROW("P-01",
            "POST /v1/chat/completions "
            "HTTP/1.1\r\nhost:localhost\r\nTransfer-encoding:Chunked\r\nX-A:\r\n"
            "X-B: \t\r\nX-Title: caf\xe9\t\"x\"\r\nAccept: a\r\nAccept: b\r\n\r\nd\r\n" J
            "\r\n0\r\n\r\n",
            R_TEXT),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_exactly_one_host_and_it_is_one(void **state)
{
#define HOST(line) "GET /x HTTP/1.1\r\n" line "\r\n"
    static const struct row rows[] = {
        ROW("H-21a", HOST(""), "400"),
        ROW("H-21b", HOST("Host: localhost\r\nHost: localhost\r\n"), "400"),
        ROW("H-21c", HOST("Host: localhost\r\nHost: evil\r\n"), "400"),
        ROW("H-21d", HOST("Host: localhost, evil\r\n"), "400"),
        ROW("H-21e", HOST("Host: local host\r\n"), "400"),
        ROW("H-21f", HOST("Host: localhost/x\r\n"), "400"),
        ROW("H-21g", HOST("Host: u@localhost\r\n"), "400"),
        ROW("H-21h", HOST("Host: localhost:99999\r\n"), "400"),
        ROW("H-21i", HOST("Host: localhost:8a\r\n"), "400"),
        ROW("H-21j", HOST("Host: [::1\r\n"), "400"),
        ROW("H-21k", HOST("Host: local\x80host\r\n"), "400"),
        ROW("H-21l", HOST("Host:\r\n"), "400"),
        ROW("two in HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
        ROW("brackets, nothing in them", HOST("Host: []\r\n"), "400"),
        ROW("behind brackets", HOST("Host: [::1]x\r\n"), "400"),
        ROW("a port of six digits", HOST("Host: localhost:000080\r\n"), "400"),
        ROW("a port alone", HOST("Host: :80\r\n"), "400"),
        ROW("P-09", HOST("Host: LOCALHOST:8080\r\n"), "GET /x |"),
        ROW("P-09", HOST("Host: 127.0.0.1\r\n"), "GET /x |"),
        ROW("P-09", HOST("Host: [::1]:8080\r\n"), "GET /x |"),
        ROW("P-09", HOST("Host: localhost:\r\n"), "GET /x |"),
        ROW("P-09", HOST("Host: my_upstream\r\n"), "GET /x |"),
        ROW("the highest port", HOST("Host: localhost:65535\r\n"), "GET /x |"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

/* A good head of exactly n bytes, its last line filled up. */
static char *head_of(size_t n)
{
    static const char start[] = "GET /x HTTP/1.1\r\nHost: localhost\r\nX: ";
    char *head = malloc(n + 1);

    memset(head, 'a', n);
    memcpy(head, start, sizeof(start) - 1);
    memcpy(head + n - 4, "\r\n\r\n", 5);
    return head;
}

static void test_heads_are_bounded(void **state)
{
    pm_auto_free char *largest = head_of(PM_HTTP_HEAD_MAX);
    pm_auto_free char *larger = head_of(PM_HTTP_HEAD_MAX + 1);

    (void)state;
    check_bytes("P-12", false, PM_GET, largest, strlen(largest), "GET /x |");
    check_bytes("H-27a", false, PM_GET, larger, strlen(larger), "431");
    check_long("H-27b", G "X: ", "A", 65536, "\r\n\r\n", "431");
    check_long("H-27c", G, "A", 65536, ": x\r\n\r\n", "431");
    check_long("H-27d", "GET /v1/models HTTP/1.1\r\n", "Host: h\r\n", 101, "\r\n", "431");
    check_long("H-27e", P, "A", 70000, "", "431");
    check_long("H-27f", "GET /", "a", 8192, " HTTP/1.1\r\nHost: h\r\n\r\n", "414");
    check_long("P-12, 100 lines", G, "X: a\r\n", 99, "\r\n", G_TEXT);
}

static void test_a_target_of_8000_bytes_passes(void **state)
{
    pm_auto_free char *many = repeat("a", 8000 - 1);
    pm_auto_free char *expected = pm_xasprintf("GET /%s |", many);

    (void)state;
    check_long("P-11", "GET /", "a", 8000 - 1, " HTTP/1.1\r\nHost: h\r\n\r\n", expected);
}

static void test_connection_may_not_nominate_what_decides(void **state)
{
    static const struct row rows[] = {
        ROW("H-42a", R_HEAD("Connection: Host\r\n"), "400"),
        ROW("H-42b", R_HEAD("Connection: Content-Length\r\n"), "400"),
        ROW("H-42c", P T "Connection: transfer-encoding\r\n\r\n0\r\n\r\n", "400"),
        ROW("H-42d", R_HEAD("Connection: close, Content-Type\r\n"), "400"),
        ROW("H-42e", R_HEAD("Connection: AUTHORIZATION\r\n"), "400"),
        ROW("no token", R_HEAD("Connection: a b\r\n"), "400"),
        ROW("P-01", R_HEAD("Connection: keep-alive, close\r\n") S, R_TEXT "close"),
        ROW("P-01, two lines", R_HEAD("Connection: close\r\nConnection: keep-alive\r\n") S,
            R_TEXT "close"),
        ROW("P-01, empty elements", R_HEAD("Connection: ,close,\r\n") S, R_TEXT "close"),
        ROW("P-01, empty", R_HEAD("Connection:\r\n") R, R_TEXT R_TEXT),
        ROW("P-10", R_HEAD("Connection: upgrade\r\n") R, R_TEXT R_TEXT),
        ROW("P-10", R_HEAD("Connection: TE\r\nTE: gzip\r\n") R, R_TEXT R_TEXT),
        ROW("P-10", R_HEAD("TE: trailers\r\nProxy-Connection: keep-alive\r\nVia: 1.1 a\r\n") R,
            R_TEXT R_TEXT),
    };

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-42f", P L "Connection: ", "a,", 33, "\r\n\r\n" J, "400");
    check_long("32 options", P L "Connection: ", "a,", 32, "\r\n\r\n" J, R_TEXT);
}

static void test_upgrades_are_refused_and_offers_of_h2c_ignored(void **state)
{
#define UPGRADE(to) R_HEAD("Connection: Upgrade\r\nUpgrade: " to "\r\n")
    static const struct row rows[] = {
        ROW("H-43", UPGRADE("websocket"), "501"),
        ROW("H-43", UPGRADE("TLS/1.0"), "501"),
        ROW("H-43", UPGRADE("foo"), "501"),
        ROW("H-43", UPGRADE("websocket, h2c"), "501"),
        ROW("H-43, two lines", R_HEAD("Upgrade: h2c\r\nUpgrade: websocket\r\n"), "501"),
        ROW("H-44",
            R_HEAD("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
                   "AAMAAABk\r\n"),
            R_TEXT),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_expect_is_100_continue_or_417(void **state)
{
#define EXPECT(value) R_HEAD("Expect: " value "\r\n")
    static const struct row rows[] = {
        ROW("H-34", EXPECT("200-ok"), "417"),
        ROW("H-34", EXPECT("100-continue, x"), "417"),
        ROW("H-34", EXPECT("100-continue;q=1"), "417"),
        ROW("H-34 empty", EXPECT(""), "417"),
        ROW("H-34 twice", R_HEAD("Expect: 100-continue\r\nExpect: 100-continue\r\n"), "417"),
        ROW("H-35a", P "Expect: 100-continue\r\nContent-Length: 67108865\r\n\r\n" S, "413"),
        ROW("H-35d", P "Expect: 100-continue\r\nContent-Length: 013\r\n\r\n" S, "400"),
        ROW("P-03", EXPECT("100-continue"), R_TEXT),
        ROW("P-03", EXPECT("100-Continue"), R_TEXT),
    };
    struct reader reader;

    (void)state;
    CHECK_ROWS(rows);
    read_all(&reader, false, PM_GET, EXPECT("100-Continue"), sizeof(EXPECT("100-Continue")) - 1,
             4096);
    assert_true(reader.head.expect_continue);
    reader_fini(&reader);
}

/* H-41: which lines are this hop's, told by name. */
static void test_headers_of_the_hop_are_marked(void **state)
{
    static const char bytes[] = P "Connection: X-A, x-b\r\nX-A: 1\r\nX-B: 2\r\nx-a: "
                                  "3\r\nKeep-Alive: 5\r\nTE: x\r\nTrailer: y\r\n"
                                  "Proxy-Connection: z\r\nProxy-Authorization: z\r\nProxy-X: "
                                  "z\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n"
                                  "X-C: 4\r\nProxies: 5\r\nAccept: 6\r\n\r\n";
    static const char *const kept[] = {"host", "x-c", "proxies", "accept"};
    struct reader reader;

    (void)state;
    read_all(&reader, false, PM_GET, bytes, sizeof(bytes) - 1, 4096);
    assert_int_equal(reader.head.n_headers, 16);
    reader_fini(&reader);

    /* Again without the reader, whose copy is gone: the lines point into the bytes. */
    {
        static struct pm_http_head head;
        struct pm_http_scan scan = {0};
        size_t n_kept = 0;

        assert_int_equal(pm_http_parse_request(bytes, sizeof(bytes) - 1, &scan, &head),
                         sizeof(bytes) - 1);
        for (unsigned i = 0; i < head.n_headers; i++) {
            if (head.headers[i].hop_by_hop)
                continue;
            assert_true(n_kept < PM_ARRAY_LEN(kept));
            assert_true(pm_slice_is_nocase(head.headers[i].name, kept[n_kept]));
            n_kept++;
        }
        assert_int_equal(n_kept, PM_ARRAY_LEN(kept));
        assert_true(pm_slice_is(head.target, "/v1/chat/completions"));
        assert_true(pm_slice_is(head.host, "localhost"));
    }
}

/* ---- chunks and trailers ---------------------------------------------------------------------------- */

static void test_a_chunk_size_is_one_to_eight_hex_digits(void **state)
{
#define SIZED(size) C size "\r\n" J "\r\n0\r\n\r\n" S
#define LAST(size)  C "d\r\n" J "\r\n" size "\r\n\r\n" S
    static const struct row rows[] = {
        ROW("H-28 0xd", SIZED("0xd"), C_TEXT "400"),
        ROW("H-28 +d", SIZED("+d"), C_TEXT "400"),
        ROW("H-28 -d", SIZED("-d"), C_TEXT "400"),
        ROW("H-28 blank d", SIZED(" d"), C_TEXT "400"),
        ROW("H-28 d blank", SIZED("d "), C_TEXT "400"),
        ROW("H-28 tab d", SIZED("\td"), C_TEXT "400"),
        ROW("H-28 empty", SIZED(""), C_TEXT "400"),
        ROW("H-28 g", SIZED("g"), C_TEXT "400"),
        ROW("H-28 d.0", SIZED("d.0"), C_TEXT "400"),
        ROW("H-28 0_d", SIZED("0_d"), C_TEXT "400"),
        ROW("H-28 nine digits", SIZED("00000000d"), C_TEXT "400"),
        ROW("H-28 2^32 + 13", SIZED("10000000d"), C_TEXT "400"),
        ROW("H-28 2^64 + 13", SIZED("1000000000000000d"), C_TEXT "400"),
        ROW("H-28 -0", LAST("-0"), "POST /v1/chat/completions " J "|400"),
        ROW("H-28 +0", LAST("+0"), "POST /v1/chat/completions " J "|400"),
        ROW("H-29a", C "ffffffff\r\n", C_TEXT "413"),
        ROW("P-02 D", C "D\r\n" J "\r\n0\r\n\r\n", R_TEXT),
        ROW("P-02 0000000d", C "0000000d\r\n" J "\r\n0\r\n\r\n", R_TEXT),
        ROW("P-02 extensions", C "d;a=b;c=\"x;\\\"y\"\r\n" J "\r\n0\r\n\r\n", R_TEXT),
        ROW("P-02 blanks in extensions", C "d ;a = b\r\n" J "\r\n0\r\n\r\n", R_TEXT),
        ROW("P-02 last chunk", C "d\r\n" J "\r\n000;x\r\n\r\n", R_TEXT),
        ROW("P-02 trailer", C "d\r\n" J "\r\n0\r\nX-Sum: 1\r\n\r\n", R_TEXT),
        ROW("P-02 no data", C "0\r\n\r\n" R, "POST /v1/chat/completions |" R_TEXT),
        ROW("chunks of one byte", C "1\r\na\r\n1\r\nb\r\n2\r\ncd\r\n0\r\n\r\n",
            "POST /v1/chat/completions abcd|"),
    };

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-28 0*70000", C, "0", 70000, "\r\n" J, C_TEXT "400");
}

static void test_chunks_end_where_they_say(void **state)
{
#define CHUNK(text) C text "0\r\n\r\n" S
    static const struct row rows[] = {
        ROW("H-30a", CHUNK("d\n" J "\r\n"), C_TEXT "400"),
        ROW("H-30b", CHUNK("d\r" J "\r\n"), C_TEXT "400"),
        ROW("H-30c", CHUNK("d\r\r\n" J "\r\n"), C_TEXT "400"),
        ROW("H-30d", CHUNK("\nd\r\n" J "\r\n"), C_TEXT "400"),
        ROW("H-30e", CHUNK("d\r\n" J "X\r\n"), "POST /v1/chat/completions " J "|400"),
        ROW("H-30f", CHUNK("d\r\n" J ""), "POST /v1/chat/completions " J "|400"),
        ROW("H-30g", CHUNK("d\r\n" J "\n"), "POST /v1/chat/completions " J "|400"),
        ROW("H-30h", CHUNK("d\r\n" J "\r"), "POST /v1/chat/completions " J "|400"),
        ROW("H-30i", CHUNK("c\r\n" J "\r\n"), "POST /v1/chat/completions {\"model\":\"m\"|400"),
        ROW("H-30j", CHUNK("e\r\n" J "\r\n"), "POST /v1/chat/completions " J "\r|400"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_extensions_are_checked_and_bounded(void **state)
{
    static const struct row rows[] = {
        ROW("H-31a", C "d;x\ny\r\n" J, C_TEXT "400"),
        ROW("H-31b", C "d;x\ry\r\n" J, C_TEXT "400"),
        ROW("H-31c", C "d;\0\r\n" J, C_TEXT "400"),
        ROW("H-31d", C "d;=x\r\n" J, C_TEXT "400"),
        ROW("H-31e", C "d;\r\n" J, C_TEXT "400"),
        ROW("H-31f", C "d;a=\"x\r\n" J, C_TEXT "400"),
        ROW("an escaped CR", C "d;a=\"\\\r\"\r\n" J, C_TEXT "400"),
        ROW("no value", C "d;a=\r\n" J, C_TEXT "400"),
        ROW("two values", C "d;a=b c\r\n" J, C_TEXT "400"),
        ROW("a token behind quotes", C "d;a=\"b\"c\r\n" J, C_TEXT "400"),
        ROW("a blank at the end of a name", C "d;a \r\n" J, C_TEXT "400"),
        ROW("a blank at the end of a value", C "d;a=b\t\r\n" J, C_TEXT "400"),
    };

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-31g", C "d;", "a", 257, "\r\n" J "\r\n0\r\n\r\n", C_TEXT "400");
    check_long("an extension of 255", C "d;", "a", 255, "\r\n" J "\r\n0\r\n\r\n", R_TEXT);
}

static void test_extensions_of_a_body_are_bounded_together(void **state)
{
    pm_auto_free char *extension = repeat("e", 199);
    pm_auto_free char *chunk = pm_xasprintf("1;%s\r\nx\r\n", extension);
    struct reader reader;
    pm_auto_free char *chunks = repeat(chunk, 30);
    pm_auto_free char *bytes = pm_xasprintf(C "%s", chunks);

    (void)state;
    read_all(&reader, false, PM_GET, bytes, strlen(bytes), strlen(bytes)); /* H-31h */
    assert_string_equal(reader.text.data, "POST /v1/chat/completions xxxxxxxxxxxxxxxxxxxx|400");
    reader_fini(&reader);
}

static void test_the_sum_of_chunks_is_bounded(void **state)
{
    enum { CHUNK_SIZE = 64 * 1024, N_CHUNKS = 1024 };
    struct pm_http_chunked chunked = {0};
    static char data[CHUNK_SIZE + 16];
    size_t n_used, n_body, n;

    (void)state;
    memcpy(data, "10000\r\n", 7);
    n = 7;
    for (int i = 0; i < N_CHUNKS; i++) { /* H-29b */
        assert_int_equal(
            pm_http_chunked_decode(&chunked, data, n, READER_BODY_MAX, &n_used, &n_body), 0);
        memset(data, 'x', CHUNK_SIZE);
        assert_int_equal(
            pm_http_chunked_decode(&chunked, data, CHUNK_SIZE, READER_BODY_MAX, &n_used, &n_body),
            0);
        assert_int_equal(n_body, CHUNK_SIZE);
        memcpy(data, "\r\n10000\r\n", 9);
        n = 9;
    }
    assert_int_equal(chunked.n_decoded, READER_BODY_MAX);
    assert_int_equal(pm_http_chunked_decode(&chunked, data, n, READER_BODY_MAX, &n_used, &n_body),
                     -413);
}

static void test_trailers_are_checked_bounded_and_dropped(void **state)
{
#define TRAILER(lines) C "d\r\n" J "\r\n0\r\n" lines "\r\n" R
    static const struct row rows[] = {
        ROW("H-32a", TRAILER("Content-Length: 100\r\n"), R_TEXT R_TEXT),
        ROW("H-32b", TRAILER(T), R_TEXT R_TEXT),
        ROW("H-32c", TRAILER("Host: evil\r\n"), R_TEXT R_TEXT),
        ROW("H-32d", TRAILER("Authorization: Bearer k\r\n"), R_TEXT R_TEXT),
        ROW("H-32e", TRAILER("Content-Type: text/plain\r\n"), R_TEXT R_TEXT),
        ROW("H-32f", TRAILER("X-Request-Id: x\r\n"), R_TEXT R_TEXT),
        ROW("H-33a", TRAILER("X : 1\r\n"), "POST /v1/chat/completions " J "|400"),
        ROW("H-33b", TRAILER("X: 1\n"), "POST /v1/chat/completions " J "|400"),
        ROW("H-33c", TRAILER(" X: 1\r\n"), "POST /v1/chat/completions " J "|400"),
        ROW("H-33d", TRAILER("X\r\n"), "POST /v1/chat/completions " J "|400"),
        ROW("H-33e", TRAILER("X: \0\r\n"), "POST /v1/chat/completions " J "|400"),
        ROW("H-33f", TRAILER(": x\r\n"), "POST /v1/chat/completions " J "|400"),
    };
    static const char before[] = C "d\r\n" J "\r\n0\r\n";

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-33g bytes", before, "X", 4096, ": 1\r\n\r\n",
               "POST /v1/chat/completions " J "|431");
    check_long("H-33g lines", before, "X: 1\r\n", 33, "\r\n",
               "POST /v1/chat/completions " J "|431");
    check_long("32 lines", before, "X: 1\r\n", 32, "\r\n", R_TEXT);
}

/* H-49b: a million chunks of one byte, and heads of single bytes: the time grows with the bytes, no faster. */
static void test_tiny_chunks_cost_linear_time(void **state)
{
    enum { N = 1000000 };
    pm_auto_free char *chunks = repeat("1\r\nx\r\n", N);
    struct pm_http_chunked chunked = {0};
    size_t n_used, n_body;

    (void)state;
    assert_int_equal(
        pm_http_chunked_decode(&chunked, chunks, 6 * (size_t)N, READER_BODY_MAX, &n_used, &n_body),
        0);
    assert_int_equal(n_body, N);
    assert_int_equal(n_used, 6 * (size_t)N);
}

/* ---- paths ------------------------------------------------------------------------------------------ */

static void test_a_path_is_decoded_once_and_has_one_reading(void **state)
{
    static const struct {
        const char *id, *target;
        int r;
        const char *path, *query;
    } rows[] = {
        {"H-16a", "/v1/../v1/pools", -400, NULL, NULL},
        {"H-16b", "/v1/%2e%2e/pools", -400, NULL, NULL},
        {"H-16c", "/upstream/m/.%2E/x", -400, NULL, NULL},
        {"one dot", "/v1/./pools", -400, NULL, NULL},
        {"dots at the end", "/v1/..", -400, NULL, NULL},
        {"a dot at the end", "/v1/%2e", -400, NULL, NULL},
        {"dots at once", "/..", -400, NULL, NULL},
        {"three dots", "/v1/...", 0, "/v1/...", ""},
        {"H-16d", "/v1/models/%00", -400, NULL, NULL},
        {"H-16e", "/v1/models/%zz", -400, NULL, NULL},
        {"H-16f", "/v1/models/%4", -400, NULL, NULL},
        {"an escape cut by the query", "/v1/models/%4?1", -400, NULL, NULL},
        {"an encoded line end", "/v1/models/%0a", -400, NULL, NULL},
        {"H-16g", "//v1/models", -404, NULL, NULL},
        {"H-16h", "/v1//models", -404, NULL, NULL},
        {"H-16i", "/V1/models", 0, "/V1/models", ""},
        {"H-16j", "/v1/models/", 0, "/v1/models/", ""},
        {"H-16k", "/v1%2Fmodels", -404, NULL, NULL},
        {"H-16l", "/v1/%256dodels", 0, "/v1/%6dodels", ""},
        {"H-16m", "/v1;a/models", 0, "/v1;a/models", ""},
        {"a bad escape behind a 404", "/v1//models/%zz", -400, NULL, NULL},
        {"P-11", "/v1/%6dodels", 0, "/v1/models", ""},
        {"P-11", "/v1/models?", 0, "/v1/models", ""},
        {"P-11", "/v1/models?a=%zz&b=../..//", 0, "/v1/models", "a=%zz&b=../..//"},
        {"the root", "/", 0, "/", ""},
        {"too long", "/0123456789012345678901234567890", -404, NULL, NULL},
        {"just fits", "/012345678901234567890123456789", 0, "/012345678901234567890123456789", ""},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].target);
        char *exact = malloc(n), path[32];
        struct pm_slice query;
        int r;

        memcpy(exact, rows[i].target, n);
        r = pm_http_decode_path((struct pm_slice){exact, n}, path, sizeof(path), &query);
        if (r != rows[i].r)
            fail_msg("%s: %d, expected %d", rows[i].id, r, rows[i].r);
        if (r == 0) {
            assert_string_equal(path, rows[i].path);
            assert_true(pm_slice_is(query, rows[i].query));
        }
        free(exact);
    }
}

/* ---- answers ---------------------------------------------------------------------------------------- */

static void test_answers_have_one_length(void **state)
{
    static const struct row rows[] = {
        ROW("H-50a", A "Content-Length: 5\r\n" T "\r\nhello", "502"),
        ROW("H-50a", A T "Content-Length: 5\r\n\r\nhello", "502"),
        ROW("H-50b", A "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "502"),
        ROW("H-50b", A "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "502"),
        ROW("H-50c 5, 5", A "Content-Length: 5, 5\r\n\r\nhello", "502"),
        ROW("H-50c +5", A "Content-Length: +5\r\n\r\nhello", "502"),
        ROW("H-50c -1", A "Content-Length: -1\r\n\r\nhello", "502"),
        ROW("H-50c 5x", A "Content-Length: 5x\r\n\r\nhello", "502"),
        ROW("H-50c empty", A "Content-Length:\r\n\r\nhello", "502"),
        ROW("H-50c 9*20", A "Content-Length: 99999999999999999999\r\n\r\nhello", "502"),
        ROW("H-50d", A "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "502"),
        ROW("H-50d", A "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", "502"),
        ROW("H-50d", A T T "\r\n0\r\n\r\n", "502"),
        ROW("H-50e", "HTTP/1.0 200 OK\r\n" T "\r\n0\r\n\r\n", "502"),
        ROW("a length", A "Content-Length: 5\r\n\r\nhello", "200 hello|"),
        ROW("P-16 no body", A "Content-Length: 0\r\n\r\n", "200 |"),
        ROW("chunked", A T "\r\n5\r\nhello\r\n0\r\n\r\n", "200 hello|"),
        ROW("H-60a", A "Content-Length: 5\r\n\r\nhelloXYZ", "200 hello|502"),
        ROW("H-61a", A "\r\nhello", "200 hellomore"),
        ROW("H-61d", "HTTP/1.0 200 OK\r\n\r\nhello", "200 hellomore"),
        ROW("H-61e", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello|close"),
        ROW("H-62a", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204 |"),
        ROW("H-62b", "HTTP/1.1 204 No Content\r\n" T "\r\n", "204 |"),
        ROW("H-62c", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 |"),
        ROW("H-54a", "HTTP/1.1 100 Continue\r\n\r\n" A "Content-Length: 5\r\n\r\nhello",
            "100 |200 hello|"),
        ROW("H-54d",
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" A
            "Content-Length: 5\r\n\r\nhello",
            "103 |200 hello|"),
    };
    static const struct row to_head[] = {
        ROW("H-62e", A "Content-Length: 100\r\n\r\n", "200 |"),
        ROW("HEAD, chunked", A T "\r\n", "200 |"),
        ROW("HEAD, nothing said", A "\r\n", "200 |"),
    };

    (void)state;
    check_answers(rows, PM_ARRAY_LEN(rows), PM_POST);
    check_answers(to_head, PM_ARRAY_LEN(to_head), PM_HEAD);
}

static void test_status_lines_are_strict_but_for_the_reason(void **state)
{
#define STATUS(line) line "\r\nContent-Length: 2\r\n\r\nhi"
    static const struct row rows[] = {
        ROW("H-51a", STATUS("HTP/1.1 200 OK"), "502"),
        ROW("H-51b", STATUS("HTTP/2 200 OK"), "502"),
        ROW("H-51c", STATUS("HTTP/1.2 200 OK"), "502"),
        ROW("H-51d", STATUS("HTTP/1.1 20 OK"), "502"),
        ROW("H-51e", STATUS("HTTP/1.1 2000 OK"), "502"),
        ROW("H-51f", STATUS("HTTP/1.1 099 OK"), "502"),
        ROW("H-51g", STATUS("HTTP/1.1 600 OK"), "502"),
        ROW("H-51h", STATUS("HTTP/1.1  200 OK"), "502"),
        ROW("H-51i", STATUS("ICY 200 OK"), "502"),
        ROW("H-51j", "\r\n" STATUS("HTTP/1.1 200 OK"), "502"),
        ROW("H-51k", "warning: x\n" STATUS("HTTP/1.1 200 OK"), "502"),
        ROW("H-51l", "\0" STATUS("HTTP/1.1 200 OK"), "502"),
        ROW("a status of 1xx bounds", STATUS("HTTP/1.1 599 X"), "599 hi|"),
        ROW("P-16", STATUS("HTTP/1.1 200"), "200 hi|"),
        ROW("P-16", STATUS("HTTP/1.1 200 "), "200 hi|"),
        ROW("P-16", STATUS("HTTP/1.1 200 caf\xe9"), "200 hi|"),
        ROW("a control in the reason", STATUS("HTTP/1.1 200 O\x01K"), "502"),
        ROW("P-16 names",
            "HTTP/1.1 200 OK\r\ncontent-length:2\r\nx:\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhi",
            "200 hi|"),
    };

    (void)state;
    check_answers(rows, PM_ARRAY_LEN(rows), PM_GET);
}

static void test_heads_of_answers_are_as_strict(void **state)
{
#define ANSWER(lines) A "Content-Length: 2\r\n" lines "\r\nhi"
    static const struct row rows[] = {
        ROW("H-52a", A "Content-Length: 2\n\r\nhi", "502"),
        ROW("H-52a", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi", "502"),
        ROW("H-52b", ANSWER("X: a\rSet-Cookie: b\r\n"), "502"),
        ROW("H-52c", ANSWER("X: \0\r\n"), "502"),
        ROW("H-52c", ANSWER("X: \x01\r\n"), "502"),
        ROW("H-52d", ANSWER("X: a\r\n b\r\n"), "502"),
        ROW("H-52e", ANSWER("X : a\r\n"), "502"),
        ROW("H-52f", ANSWER("nocolon\r\n"), "502"),
        ROW("H-52g", ANSWER("x(y): a\r\n"), "502"),
        ROW("H-52h", ANSWER("Content-Type: a/b\r\nContent-Type: a/b\r\n"), "502"),
        ROW("nominated framing", ANSWER("Connection: Content-Length\r\n"), "502"),
    };
    pm_auto_free char *lines = repeat("X: a\r\n", 101);
    pm_auto_free char *many = pm_xasprintf(A "%s\r\n", lines);
    pm_auto_free char *filler = repeat("a", 65536);
    pm_auto_free char *large = pm_xasprintf(A "X: %s\r\n\r\n", filler);
    pm_auto_free char *no_end = pm_xasprintf("HTTP/1.1 200 %s", filler);

    (void)state;
    check_answers(rows, PM_ARRAY_LEN(rows), PM_GET);
    check_bytes("H-53a", true, PM_GET, large, strlen(large), "502");
    check_bytes("H-53b", true, PM_GET, many, strlen(many), "502");
    check_bytes("H-53c", true, PM_GET, no_end, strlen(no_end), "502");
}

static void test_chunks_of_answers_are_as_strict(void **state)
{
#define CHUNKED A T "\r\n5\r\nhello\r\n"
    static const struct row rows[] = {
        ROW("H-57a", CHUNKED "0x5\r\nhello\r\n", "200 hello|400"),
        ROW("H-57b", CHUNKED "000000005\r\nhello\r\n", "200 hello|400"),
        ROW("H-57c", CHUNKED "5\nhello\r\n", "200 hello|400"),
        ROW("H-57d", CHUNKED "5;x\ny\r\nhello\r\n", "200 hello|400"),
        ROW("H-57e", CHUNKED "5\r\nhello0\r\n\r\n", "200 hellohello|400"),
        ROW("H-57f", CHUNKED "5\r\nhelloX\r\n", "200 hellohello|400"),
        ROW("H-57g", CHUNKED "0\r\nX : 1\r\n\r\n", "200 hello|400"),
        ROW("H-58", A T "\r\n5;a=b\r\nhello\r\n0\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n",
            "200 hello|"),
        ROW("H-59", CHUNKED, "200 hellomore"),
        ROW("H-59 after the last chunk", CHUNKED "0\r\n", "200 hellomore"),
    };

    (void)state;
    check_answers(rows, PM_ARRAY_LEN(rows), PM_GET);
}

/* H-55 a: what is of the engine's connection stays there. */
static void test_hop_headers_of_answers_are_marked(void **state)
{
    static const char bytes[] =
        A "Connection: X-A\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: x\r\n"
          "Proxy-Authenticate: x\r\nTrailer: x\r\nContent-Type: a/b\r\n\r\n";
    static struct pm_http_head head;
    struct pm_http_scan scan = {0};
    unsigned n_kept = 0;

    (void)state;
    assert_int_equal(pm_http_parse_response(bytes, sizeof(bytes) - 1, &scan, PM_GET, &head),
                     sizeof(bytes) - 1);
    for (unsigned i = 0; i < head.n_headers; i++)
        n_kept += !head.headers[i].hop_by_hop;
    assert_int_equal(n_kept, 1);
    assert_true(pm_http_find(&head, "content-type", NULL) != NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_lengths_are_refused),
        cmocka_unit_test(test_names_of_framing_headers_have_one_spelling),
        cmocka_unit_test(test_a_coding_is_chunked_or_refused),
        cmocka_unit_test(test_a_length_is_digits_without_a_leading_zero),
        cmocka_unit_test(test_what_follows_a_body_is_the_next_request),
        cmocka_unit_test(test_lines_end_with_crlf_alone),
        cmocka_unit_test(test_a_request_line_has_three_words_and_two_blanks),
        cmocka_unit_test(test_targets_and_values_hold_no_byte_they_may_not),
        cmocka_unit_test(test_methods_are_ours_or_unknown_or_malformed),
        cmocka_unit_test(test_versions_are_1_0_and_1_1),
        cmocka_unit_test(test_a_verdict_falls_with_the_byte_that_settles_it),
        cmocka_unit_test(test_a_header_line_is_a_token_a_colon_and_a_value),
        cmocka_unit_test(test_exactly_one_host_and_it_is_one),
        cmocka_unit_test(test_heads_are_bounded),
        cmocka_unit_test(test_a_target_of_8000_bytes_passes),
        cmocka_unit_test(test_connection_may_not_nominate_what_decides),
        cmocka_unit_test(test_upgrades_are_refused_and_offers_of_h2c_ignored),
        cmocka_unit_test(test_expect_is_100_continue_or_417),
        cmocka_unit_test(test_headers_of_the_hop_are_marked),
        cmocka_unit_test(test_a_chunk_size_is_one_to_eight_hex_digits),
        cmocka_unit_test(test_chunks_end_where_they_say),
        cmocka_unit_test(test_extensions_are_checked_and_bounded),
        cmocka_unit_test(test_extensions_of_a_body_are_bounded_together),
        cmocka_unit_test(test_the_sum_of_chunks_is_bounded),
        cmocka_unit_test(test_trailers_are_checked_bounded_and_dropped),
        cmocka_unit_test(test_tiny_chunks_cost_linear_time),
        cmocka_unit_test(test_a_path_is_decoded_once_and_has_one_reading),
        cmocka_unit_test(test_answers_have_one_length),
        cmocka_unit_test(test_status_lines_are_strict_but_for_the_reason),
        cmocka_unit_test(test_heads_of_answers_are_as_strict),
        cmocka_unit_test(test_chunks_of_answers_are_as_strict),
        cmocka_unit_test(test_hop_headers_of_answers_are_marked),
    };

    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
