/* SPDX-License-Identifier: Apache-2.0 */
/* The server on the wire: what is answered, what is refused, and what happens to the connection. */
#include "http/internal.h"
#include "wire_server.h"

#define POST(path)  "POST " path " HTTP/1.1\r\nHost: localhost\r\n"
#define GET(path)   "GET " path " HTTP/1.1\r\nHost: localhost\r\n"
#define GOOD        GET("/good") "\r\n"
#define SMUGGLED    GET("/smuggled") "\r\n"
#define JSON        "{\"model\":\"m\"}"
#define CHUNKED     "Transfer-Encoding: chunked\r\n"
#define OK          "HTTP/1.1 200 OK\r\n"
#define WHOLE(peer) (peer_has(peer, "\r\n\r\n"))

static struct wire *wire_of(void **state)
{
    return *state;
}

/* The next good request on the connection is answered. */
static void assert_stays(struct wire *wire, struct peer *peer)
{
    size_t n = count_text(&peer->got, "HTTP/1.1 ");

    assert_true(peer_send(wire->loop, peer, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, peer, count_text(&peer->got, "HTTP/1.1 ") > n || peer->ended);
    TURN_UNTIL(wire->loop, peer, peer_has(peer, "\r\n\r\nnow") || peer->ended);
    assert_false(peer->ended);
}

/* The answers end, and so does the connection; not with a reset. */
static void assert_closes(struct wire *wire, struct peer *peer)
{
    TURN_UNTIL(wire->loop, peer, peer->ended || peer->reset);
    assert_false(peer->reset);
    assert_true(peer_has(peer, "Connection: close\r\n"));
}

/* ---- answers ---------------------------------------------------------------------------------------- */

static void test_an_answer_has_length_date_and_request_id_and_the_connection_stays(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    assert_true(peer_send(wire->loop, &peer, POST("/echo") "Content-Length: 13\r\n\r\n" JSON));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, JSON));
    assert_true(peer_has(&peer, OK));
    assert_true(peer_has(&peer, "\r\nContent-Length: 13\r\n"));
    assert_true(peer_has(&peer, "\r\nDate: "));
    assert_true(peer_has(&peer, " GMT\r\n"));
    assert_true(peer_has(&peer, "\r\nX-Request-Id: "));
    assert_false(peer_has(&peer, "Connection:"));
    assert_stays(wire, &peer);
    peer_close(&peer);
}

static void test_pipelined_requests_are_answered_in_order_p05(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    assert_true(peer_send(
        wire->loop, &peer,
        "\r\n" GET("/now") "\r\n" POST("/echo") "Content-Length: 5\r\n\r\nfirst" POST("/echo")
            CHUNKED "\r\n6\r\nsecond\r\n0\r\n\r\n" GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &peer, count_text(&peer.got, "\r\n\r\nnow") == 2);
    assert_true(strstr(peer_text(&peer), "first") < strstr(peer_text(&peer), "second"));
    assert_true(strstr(peer_text(&peer), "\r\n\r\nnow") < strstr(peer_text(&peer), "first"));
    assert_int_equal(count_text(&peer.got, OK), 4);
    assert_stays(wire, &peer);
    peer_close(&peer);
}

/* Also an answer that comes later lets the request behind it go on. */
static void test_what_follows_waits_for_the_answer_and_is_served_then(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);
    struct pm_exchange *exchange;

    assert_true(peer_send(wire->loop, &peer, GET("/later") "\r\n" GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &peer, wire->n_requests == 1);
    turn(wire->loop, &peer);
    assert_int_equal(wire->n_heads, 1);
    assert_int_equal(peer.got.n, 0);
    exchange = wire->last;
    wire->last = NULL;
    pm_exchange_respond(exchange, 200, NULL, 0, "late", 4);
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\nnow"));
    assert_true(peer_has(&peer, "\r\n\r\nlate" OK));
    peer_close(&peer);
}

static void test_head_and_204_have_no_body_and_the_connection_stays_p12(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    assert_true(peer_send(wire->loop, &peer,
                          "HEAD /now HTTP/1.1\r\nHost: localhost\r\n\r\n" GET("/bare") "\r\n"));
    TURN_UNTIL(wire->loop, &peer, count_text(&peer.got, "\r\n\r\n") == 2);
    assert_true(peer_has(&peer, "Content-Length: 3\r\n"));
    assert_false(peer_has(&peer, "\r\n\r\nnow"));
    assert_true(peer_has(&peer, "HTTP/1.1 204 No Content\r\n"));
    assert_int_equal(count_text(&peer.got, "Content-Length"), 1);
    assert_int_equal(count_text(&peer.got, "Transfer-Encoding"), 0);
    assert_stays(wire, &peer);
    peer_close(&peer);
}

static void test_a_stream_is_chunked_and_head_and_first_bytes_leave_together(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);
    const struct pm_http_field field = {"Content-Type", "text/event-stream"};

    assert_true(peer_send(wire->loop, &peer, GET("/later") "\r\n"));
    TURN_UNTIL(wire->loop, &peer, wire->n_requests == 1);
    pm_exchange_begin(wire->last, 200, &field, 1, false, 0);
    pm_exchange_add_header(wire->last, (struct pm_slice){"X-Pool!", 6}, (struct pm_slice){"m!", 1});
    turn_for(wire->loop, &peer, 5);
    assert_int_equal(peer.got.n, 0); /* nothing has been sent yet */
    pm_exchange_send(wire->last, "data: 1\n\n", 9);
    TURN_UNTIL(wire->loop, &peer, peer.got.n > 0);
    assert_true(peer_has(&peer, "\r\nContent-Type: text/event-stream\r\n"));
    assert_true(peer_has(&peer, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_true(peer_has(&peer, "\r\nX-Pool: m\r\n\r\n9\r\ndata: 1\n\n\r\n"));
    pm_exchange_send(wire->last, "data: 2\n\n", 9);
    pm_exchange_end(wire->last);
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "9\r\ndata: 2\n\n\r\n0\r\n\r\n"));
    assert_stays(wire, &peer);
    peer_close(&peer);
}

/* P-07: one answer, then the end; never a chunk, never a 1xx. */
static void test_http_1_0_gets_one_answer_that_ends_with_the_connection_p07_h36a(void **state)
{
    static const char *const heads[] = {
        "POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\n",
        "POST /echo HTTP/1.0\r\nHost:\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n",
        ("POST /echo HTTP/1.0\r\nConnection: close\r\nExpect: 100-continue\r\n"
         "Content-Length: 2\r\n\r\n"),
    };
    struct wire *wire = wire_of(state);

    for (size_t i = 0; i < PM_ARRAY_LEN(heads); i++) {
        struct peer peer = wire_peer(wire);

        assert_true(peer_send(wire->loop, &peer, heads[i]));
        turn_for(wire->loop, &peer, 5);
        assert_int_equal(peer.got.n, 0);
        assert_true(peer_send(wire->loop, &peer, "hi"));
        assert_closes(wire, &peer);
        assert_int_equal(count_text(&peer.got, "HTTP/1.1 "), 1);
        assert_true(peer_has(&peer, "\r\n\r\nhi"));
        peer_close(&peer);
    }
}

static void test_a_stream_to_http_1_0_ends_with_fin_and_breaks_with_rst(void **state)
{
    struct wire *wire = wire_of(state);

    for (int broken = 0; broken < 2; broken++) {
        struct peer peer = wire_peer(wire);
        unsigned n = wire->n_requests;

        assert_true(peer_send(wire->loop, &peer, "GET /later HTTP/1.0\r\n\r\n"));
        TURN_UNTIL(wire->loop, &peer, wire->n_requests == n + 1);
        pm_exchange_begin(wire->last, 200, NULL, 0, false, 0);
        pm_exchange_send(wire->last, "some", 4);
        TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\nsome"));
        assert_false(peer_has(&peer, "chunked"));
        if (broken)
            pm_exchange_break(wire->last);
        else
            pm_exchange_end(wire->last);
        TURN_UNTIL(wire->loop, &peer, peer.ended || peer.reset);
        if (!wire->is_unix) /* a Unix socket has no reset when all was read */
            assert_int_equal(peer.reset, broken);
        peer_close(&peer);
    }
    assert_int_equal(wire->n_gone, 0); /* the owner ended them itself */
}

static void test_a_broken_stream_has_no_last_chunk_and_a_short_answer_ends_short(void **state)
{
    struct wire *wire = wire_of(state);

    for (int with_length = 0; with_length < 2; with_length++) {
        struct peer peer = wire_peer(wire);
        unsigned n = wire->n_requests;

        assert_true(peer_send(wire->loop, &peer, GET("/later") "\r\n"));
        TURN_UNTIL(wire->loop, &peer, wire->n_requests == n + 1);
        pm_exchange_begin(wire->last, 200, NULL, 0, with_length, 123);
        pm_exchange_send(wire->last, "data: a\n\n", 9);
        if (with_length)
            pm_exchange_end(wire->last); /* 114 bytes are missing: that must not look whole */
        else
            pm_exchange_break(wire->last);
        TURN_UNTIL(wire->loop, &peer, peer.ended);
        assert_false(peer_has(&peer, "0\r\n\r\n"));
        assert_true(peer_has(&peer, "data: a\n\n"));
        peer_close(&peer);
    }
}

/* ---- request ids ------------------------------------------------------------------------------------ */

static void test_a_bad_request_id_is_replaced_and_a_good_one_kept_h25(void **state)
{
    static const char long_id[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const struct {
        const char *lines, *kept;
    } rows[] = {
        {"X-Request-Id: a.B_9:-\r\n", "X-Request-Id: a.B_9:-\r\n"},
        {pm_xasprintf("X-Request-Id: %s\r\n", long_id), pm_xasprintf(": %s\r\n", long_id)},
        {pm_xasprintf("X-Request-Id: %sb\r\n", long_id), NULL},
        {pm_xstrdup("X-Request-Id: a b\r\n"), NULL},
        {"X-Request-Id: a\"b\r\n", NULL},
        {"X-Request-Id: a\xff"
         "b\r\n",
         NULL},
        {"X-Request-Id: \r\n", NULL},
        {"X-Request-Id: one\r\nX-Request-Id: two\r\n", NULL},
    };
    struct wire *wire = wire_of(state);

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct peer peer = wire_peer(wire);

        assert_true(peer_send(wire->loop, &peer, GET("/now")));
        assert_true(peer_send(wire->loop, &peer, rows[i].lines));
        assert_true(peer_send(wire->loop, &peer, "\r\n"));
        TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\nnow"));
        assert_int_equal(count_text(&peer.got, "X-Request-Id: "), 1);
        if (rows[i].kept)
            assert_true(peer_has(&peer, rows[i].kept));
        else
            assert_false(peer_has(&peer, rows[i].lines));
        peer_close(&peer);
    }
    free((void *)(uintptr_t)rows[1].lines);
    free((void *)(uintptr_t)rows[1].kept);
    free((void *)(uintptr_t)rows[2].lines);
    free((void *)(uintptr_t)rows[3].lines);
}

/* ---- refusals --------------------------------------------------------------------------------------- */

struct refusal {
    const char *id;
    struct pm_slice bytes;
    int status;
    const char *code; /* NULL: bare */
};

static const struct refusal refusals[] = {
    {"H-01 a", BYTES(POST("/echo") "Content-Length: 13\r\n" CHUNKED "\r\n0\r\n\r\n" SMUGGLED), 400,
     NULL},
    {"H-02 e",
     BYTES(POST(
         "/echo") "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED),
     400, NULL},
    {"H-03 gzip, chunked",
     BYTES(POST("/echo") "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" SMUGGLED), 501, NULL},
    {"H-04 a", BYTES("POST /echo HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n" SMUGGLED), 400, NULL},
    {"H-05 b", BYTES(POST("/echo") "Content-Length: 13\r\nContent-Length: 13\r\n\r\n" JSON), 400,
     NULL},
    {"H-07 cap + 1", BYTES(POST("/echo") "Content-Length: 67108865\r\n\r\n" JSON), 413,
     "too_large"},
    {"H-07 2^64 + 13", BYTES(POST("/echo") "Content-Length: 18446744073709551629\r\n\r\n" JSON),
     413, "too_large"},
    {"H-12 e", BYTES("\n" GOOD SMUGGLED), 400, NULL},
    {"H-15 a", BYTES("GET http://localhost/now HTTP/1.1\r\nHost: localhost\r\n\r\n" SMUGGLED), 400,
     NULL},
    {"H-17 b", BYTES("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n" SMUGGLED), 501, NULL},
    {"H-18 a", BYTES("GET /now HTTP/2.0\r\nHost: localhost\r\n\r\n" SMUGGLED), 505, NULL},
    {"H-18 k", BYTES("\x16\x03\x01\x02\0\x01"), 400, NULL},
    {"H-19", BYTES("GET /now HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n" SMUGGLED), 400, NULL},
    {"H-21 b", BYTES("GET /now HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" SMUGGLED), 400, NULL},
    {"H-28 0xd", BYTES(POST("/echo") CHUNKED "\r\n0xd\r\n" JSON "\r\n0\r\n\r\n" SMUGGLED), 400,
     NULL},
    {"H-29 a", BYTES(POST("/echo") CHUNKED "\r\nffffffff\r\n"), 413, "too_large"},
    {"H-30 i", BYTES(POST("/echo") CHUNKED "\r\nc\r\n" JSON "\r\n0\r\n\r\n" SMUGGLED), 400, NULL},
    {"H-31 a", BYTES(POST("/echo") CHUNKED "\r\nd;x\ny\r\n" JSON "\r\n0\r\n\r\n" SMUGGLED), 400,
     NULL},
    {"H-33 a", BYTES(POST("/echo") CHUNKED "\r\nd\r\n" JSON "\r\n0\r\nX : 1\r\n\r\n" SMUGGLED), 400,
     NULL},
    {"H-34 200-ok", BYTES(POST("/echo") "Expect: 200-ok\r\nContent-Length: 13\r\n\r\n" JSON), 417,
     "expectation_failed"},
    {"H-34 list", BYTES(POST("/echo") "Expect: 100-continue, x\r\nContent-Length: 13\r\n\r\n" JSON),
     417, "expectation_failed"},
    {"H-34 empty", BYTES(POST("/echo") "Expect:\r\nContent-Length: 13\r\n\r\n" JSON), 417,
     "expectation_failed"},
    {"H-34 two lines",
     BYTES(POST("/echo") "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: "
                         "13\r\n\r\n" JSON),
     417, "expectation_failed"},
    {"H-35 a",
     BYTES(POST("/echo") "Expect: 100-continue\r\nContent-Length: 67108865\r\n\r\n" SMUGGLED), 413,
     "too_large"},
    {"H-35 c", BYTES(POST("/refuse") "Expect: 100-continue\r\nContent-Length: 13\r\n\r\n" SMUGGLED),
     404, "not_found"},
    {"H-35 d", BYTES(POST("/echo") "Expect: 100-continue\r\nContent-Length: +1\r\n\r\n" SMUGGLED),
     400, NULL},
    {"H-39 a", BYTES(POST("/refuse") "Content-Length: 13\r\n\r\n" JSON SMUGGLED), 404, "not_found"},
    {"H-39 a, chunked", BYTES(POST("/refuse") CHUNKED "\r\nd\r\n" JSON "\r\n0\r\n\r\n" SMUGGLED),
     404, "not_found"},
    {"H-42 a", BYTES("GET /now HTTP/1.1\r\nHost: localhost\r\nConnection: Host\r\n\r\n" SMUGGLED),
     400, NULL},
    {"H-43 websocket",
     BYTES(GET("/now") "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" SMUGGLED), 501,
     "unsupported"},
    {"H-43 websocket, h2c",
     BYTES(GET("/now") "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n" SMUGGLED), 501,
     "unsupported"},
    {"the owner has enough", BYTES(POST("/enough") "Content-Length: 100\r\n\r\n" JSON), 400,
     "invalid_request"},
    {"the owner has enough, chunked",
     BYTES(POST("/enough") CHUNKED "\r\nd\r\n" JSON "\r\n0\r\n\r\n" SMUGGLED), 400,
     "invalid_request"},
};

enum delivery { IN_ONE, BY_BYTES, AS_SECOND, DELIVERIES };

static void deliver(struct wire *wire, struct peer *peer, struct pm_slice bytes, enum delivery how)
{
    size_t step = how == BY_BYTES ? 1 : bytes.n;

    if (how == AS_SECOND) {
        assert_true(peer_send(wire->loop, peer, GET("/now") "\r\n"));
        TURN_UNTIL(wire->loop, peer, peer_has(peer, "\r\n\r\nnow"));
        peer->got.n = 0;
    }
    for (size_t at = 0; at < bytes.n && !peer->ended; at += step) {
        if (!peer_send_n(wire->loop, peer, bytes.p + at, step))
            break; /* it was settled before */
        if (how == BY_BYTES)
            assert_int_equal(pm_loop_turn(wire->loop, 0), 0);
    }
}

static void assert_refused(struct wire *wire, const struct refusal *row, enum delivery how)
{
    struct peer peer = wire_peer(wire);
    char line[32];
    unsigned n_requests = wire->n_requests;

    deliver(wire, &peer, row->bytes, how);
    TURN_UNTIL(wire->loop, &peer, peer.ended || peer.reset);
    (void)snprintf(line, sizeof(line), "HTTP/1.1 %d ", row->status);
    if (peer.reset || !pm_str_starts(peer_text(&peer), line) ||
        count_text(&peer.got, "HTTP/1.1 ") != 1)
        fail_msg("%s (delivery %d): %s", row->id, (int)how, peer_text(&peer));
    assert_true(peer_has(&peer, "\r\nX-Request-Id: "));
    assert_true(peer_has(&peer, "\r\nConnection: close\r\n"));
    if (row->code) {
        pm_auto_free char *code = pm_xasprintf("{\"error\":{\"code\":\"%s\",", row->code);

        assert_true(peer_has(&peer, code));
        assert_true(peer_has(&peer, "\r\nContent-Type: application/json\r\n"));
    } else {
        assert_true(peer_has(&peer, "\r\nContent-Length: 0\r\n"));
        assert_true(pm_str_ends(peer_text(&peer), "\r\n\r\n"));
    }
    assert_int_equal(wire->n_requests, n_requests); /* nobody was asked for anything */
    peer_close(&peer);
}

static void test_hostile_requests_are_refused_and_the_connection_closed(void **state)
{
    struct wire *wire = wire_of(state);

    for (size_t i = 0; i < PM_ARRAY_LEN(refusals); i++) {
        for (enum delivery how = IN_ONE; how < DELIVERIES; how++)
            assert_refused(wire, &refusals[i], how);
    }
    assert_null(wire->last); /* and every exchange that was begun was taken back */
}

static void test_malformed_requests_are_counted_once(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);
    struct pm_http_server_counters counters;

    assert_true(peer_send(wire->loop, &peer, "GET /now HTTP/2.0\r\n"));
    assert_closes(wire, &peer);
    assert_int_equal(wire->n_refused, 1);
    assert_int_equal(wire->refused_status, 505);
    pm_http_server_counters(wire->server, &counters);
    assert_int_equal(counters.refused, 1);
    peer_close(&peer);
}

static void send_repeated(struct wire *wire, struct peer *peer, char byte, size_t n)
{
    char *bytes = malloc(n);

    assert_non_null(bytes);
    memset(bytes, byte, n);
    (void)peer_send_n(wire->loop, peer, bytes, n);
    free(bytes);
}

static void test_a_head_that_is_too_long_is_refused_the_moment_it_is_h27(void **state)
{
    struct wire *wire = wire_of(state);
    struct pm_http_server_counters counters;

    for (int first_line = 0; first_line < 2; first_line++) {
        struct peer peer = wire_peer(wire);

        assert_true(peer_send(wire->loop, &peer, first_line ? "GET /" : GET("/now") "X: "));
        send_repeated(wire, &peer, 'a', 70000);
        assert_closes(wire, &peer);
        assert_true(
            pm_str_starts(peer_text(&peer), first_line ? "HTTP/1.1 414 " : "HTTP/1.1 431 "));
        assert_int_equal(peer_has(&peer, "header_too_large"), !first_line);
        peer_close(&peer);
    }
    pm_http_server_counters(wire->server, &counters);
    assert_int_equal(counters.refused, 2);
}

static void test_the_answer_is_not_overtaken_by_a_reset_when_more_comes(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    assert_true(peer_send(wire->loop, &peer, POST("/refuse") "Content-Length: 60000\r\n\r\n"));
    TURN_UNTIL(wire->loop, NULL, wire->n_heads == 1);
    send_repeated(wire, &peer, 'x', 60000); /* after the answer was written */
    turn_for(wire->loop, NULL, 10);
    assert_closes(wire, &peer);
    assert_true(peer_has(&peer, "\"code\":\"not_found\""));
    assert_int_equal(wire_connections(wire), 1); /* it would read on … */
    send_repeated(wire, &peer, 'x', 10000);
    TURN_UNTIL(wire->loop, NULL, wire_connections(wire) == 0); /* … but not more than 64 KiB */
    peer_close(&peer);
}

static void test_a_refused_client_that_stays_is_let_go_after_the_linger_time(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);
    uint64_t begun_ms = pm_monotonic_ms();

    assert_true(peer_send(wire->loop, &peer, "GARBAGE\r\n\r\n"));
    assert_closes(wire, &peer);
    TURN_UNTIL(wire->loop, NULL, wire_connections(wire) == 0);
    assert_true(pm_monotonic_ms() - begun_ms >= PM_SERVER_LINGER_MS - 5);
    peer_close(&peer);
}

/* ---- bodies and what follows them ------------------------------------------------------------------- */

static void test_what_is_left_of_a_body_is_the_next_request_h08(void **state)
{
    static const struct {
        const char *bytes;
        const char *body;
    } rows[] = {
        {POST("/echo") "Content-Length: 13\r\n\r\n" JSON "XYZ\r\n\r\n",
         "\r\n\r\n" JSON "HTTP/1.1 400 "},
        {POST("/echo") "Content-Length: 5\r\n\r\n" JSON, "\r\n\r\n{\"modHTTP/1.1 400 "},
        {POST("/echo") "Content-Length: 0\r\n\r\n" JSON, "\r\n\r\nHTTP/1.1 400 "},
    };
    struct wire *wire = wire_of(state);

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct peer peer = wire_peer(wire);

        assert_true(peer_send(wire->loop, &peer, rows[i].bytes));
        assert_closes(wire, &peer);
        assert_true(pm_str_starts(peer_text(&peer), OK));
        assert_true(peer_has(&peer, rows[i].body));
        assert_int_equal(count_text(&peer.got, "HTTP/1.1 "), 2);
        peer_close(&peer);
    }
}

static void test_connection_close_and_garbage_end_it_h38(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    assert_true(
        peer_send(wire->loop, &peer,
                  POST("/echo") "Connection: close\r\nContent-Length: 13\r\n\r\n" JSON SMUGGLED));
    assert_closes(wire, &peer);
    assert_true(pm_str_ends(peer_text(&peer), "\r\n\r\n" JSON));
    assert_int_equal(wire->n_heads, 1);
    peer_close(&peer);

    peer = wire_peer(wire);
    assert_true(peer_send(wire->loop, &peer, GET("/now") "\r\nGARBAGE\r\n\r\n"));
    assert_closes(wire, &peer);
    assert_true(peer_has(&peer, "\r\n\r\nnowHTTP/1.1 400 "));
    peer_close(&peer);
}

static void test_100_continue_comes_only_when_the_body_is_wanted_h36_p03(void **state)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    assert_true(peer_send(wire->loop, &peer,
                          POST("/echo") "Expect: 100-Continue\r\nContent-Length: 13\r\n\r\n"));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, line));
    assert_int_equal(peer.got.n, strlen(line));
    assert_true(peer_send(wire->loop, &peer, JSON));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\n" JSON));
    assert_int_equal(count_text(&peer.got, "100 Continue"), 1);

    /* No body at all, or all of it there already: nothing to wait for. */
    peer.got.n = 0;
    assert_true(peer_send(wire->loop, &peer, GET("/now") "Expect: 100-continue\r\n\r\n"));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\nnow"));
    assert_true(peer_send(wire->loop, &peer,
                          POST("/echo") "Expect: 100-continue\r\nContent-Length: 13\r\n\r\n" JSON));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\n" JSON));
    assert_false(peer_has(&peer, "100 Continue"));

    peer.got.n = 0;
    assert_true(
        peer_send(wire->loop, &peer, POST("/echo") "Expect: 100-continue\r\n" CHUNKED "\r\n"));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, line));
    assert_true(peer_send(wire->loop, &peer, "2\r\nhi\r\n0\r\n\r\n"));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "\r\n\r\nhi"));
    peer_close(&peer);
}

static void test_bodies_arrive_whole_however_they_are_cut(void **state)
{
    enum { SIZE = 300000 };
    struct wire *wire = wire_of(state);
    pm_auto_free char *body = malloc(SIZE);
    struct peer peer = wire_peer(wire);

    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)('a' + i % 23);
    for (size_t step = 1; step < SIZE; step = step * 19 + 1) {
        struct pm_buf chunked = {0};
        size_t n = step == 1 ? 3000 : SIZE;

        pm_buf_adds(&chunked, POST("/echo") CHUNKED "\r\n");
        for (size_t at = 0; at < n; at += step) {
            size_t span = n - at < step ? n - at : step;

            pm_buf_addf(&chunked, "%zX\r\n", span);
            pm_buf_add(&chunked, body + at, span);
            pm_buf_adds(&chunked, "\r\n");
        }
        pm_buf_adds(&chunked, "0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n");
        peer.got.n = 0;
        assert_true(peer_send_n(wire->loop, &peer, chunked.data, chunked.n));
        TURN_UNTIL(wire->loop, &peer, WHOLE(&peer) && peer.got.n >= n);
        TURN_UNTIL(wire->loop, &peer,
                   memcmp(peer.got.data + peer.got.n - n, body, n) == 0); /* H-32: no trailer */
        pm_buf_fini(&chunked);
    }
    assert_true(peer_send(wire->loop, &peer, POST("/echo") "Content-Length: 300000\r\n\r\n"));
    peer.got.n = 0;
    assert_true(peer_send_n(wire->loop, &peer, body, SIZE));
    TURN_UNTIL(wire->loop, &peer, WHOLE(&peer) && peer.got.n > SIZE);
    TURN_UNTIL(wire->loop, &peer, memcmp(peer.got.data + peer.got.n - SIZE, body, SIZE) == 0);
    assert_stays(wire, &peer);
    peer_close(&peer);
}

static void test_a_chunked_body_over_the_cap_is_refused_when_the_sum_passes_it_h29b(void **state)
{
    struct wire *wire = wire_of(state);
    struct pm_http_server_options options = wire_options;
    struct peer peer;

    options.body_max = 30;
    wire_serve(wire, &options);
    peer = wire_peer(wire);
    assert_true(
        peer_send(wire->loop, &peer, POST("/echo") CHUNKED "\r\nd\r\n" JSON "\r\nd\r\n" JSON));
    TURN_UNTIL(wire->loop, &peer, wire->n_bodies >= 1);
    turn_for(wire->loop, &peer, 5);
    assert_int_equal(peer.got.n, 0); /* 26 bytes are not too many */
    assert_true(peer_send(wire->loop, &peer, "\r\n5\r\n"));
    assert_closes(wire, &peer);
    assert_true(peer_has(&peer, "\"code\":\"too_large\""));
    assert_int_equal(wire->n_gone, 1);
    peer_close(&peer);

    peer = wire_peer(wire); /* "up to" the cap is fine */
    assert_true(
        peer_send(wire->loop, &peer, POST("/echo") "Content-Length: 30\r\n\r\n" JSON JSON "1234"));
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, JSON "1234"));

    options.body_max = 13; /* a reload: the connection stays, its next request meets the new cap */
    pm_http_server_configure(wire->server, &options);
    peer.got.n = 0;
    assert_true(peer_send(wire->loop, &peer, POST("/echo") "Content-Length: 14\r\n\r\n"));
    assert_closes(wire, &peer);
    assert_true(peer_has(&peer, "\"code\":\"too_large\""));
    peer_close(&peer);
}

/* The owner of an exchange must hear of its end, or it would hold a pointer to nothing. */
static void test_the_owner_is_told_when_a_body_turns_out_to_be_malformed(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    assert_true(peer_send(wire->loop, &peer, POST("/later") CHUNKED "\r\nd\r\n" JSON "\r\n"));
    TURN_UNTIL(wire->loop, &peer, wire->n_bodies == 1);
    assert_non_null(wire->last);
    assert_true(peer_send(wire->loop, &peer, "zz\r\n"));
    assert_closes(wire, &peer);
    assert_true(pm_str_starts(peer_text(&peer), "HTTP/1.1 400 "));
    assert_int_equal(wire->n_gone, 1);
    assert_null(wire->last);
    assert_int_equal(wire->n_refused, 1);
    peer_close(&peer);
}

/* ---- departures ------------------------------------------------------------------------------------- */

static void test_half_close_and_reset_are_a_cancel_at_any_stage_h40_h09(void **state)
{
    static const char *const stages[] = {
        POST("/later") "Content-Length: 14\r\n\r\n" JSON,
        POST("/later") CHUNKED "\r\nd\r\n" JSON "\r\n",
        POST("/later") CHUNKED "\r\nd\r\n" JSON "\r\n0\r\n\r",
        GET("/later") "\r\n",
        POST("/later") "Content-Length: 13\r\n\r\n" JSON "0123456789",
    };
    struct wire *wire = wire_of(state);

    for (size_t i = 0; i < PM_ARRAY_LEN(stages); i++) {
        for (int how = 0; how < 4; how++) {
            struct peer peer = wire_peer(wire);
            unsigned n_gone = wire->n_gone, n_heads = wire->n_heads;

            assert_true(peer_send(wire->loop, &peer, stages[i]));
            if (how < 3)
                TURN_UNTIL(wire->loop, &peer, wire->n_heads == n_heads + 1);
            if (how == 0)
                peer_close(&peer);
            else if (how == 1)
                peer_reset(&peer);
            else
                (void)shutdown(peer.fd, SHUT_WR); /* 3: in one go with the request */
            TURN_UNTIL(wire->loop, NULL, wire->n_gone == n_gone + 1);
            assert_null(wire->last);
            peer_close(&peer);
        }
    }
    TURN_UNTIL(wire->loop, NULL, wire_connections(wire) == 0);
}

static void test_a_client_that_leaves_while_it_is_held_or_full_is_seen(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    wire->flood_total = 64u << 20;
    assert_true(peer_send(wire->loop, &peer, GET("/flood") "\r\n"));
    TURN_UNTIL(wire->loop, NULL, wire->queued_max > PM_EXCHANGE_QUEUE_HIGH);
    peer_close(&peer);
    TURN_UNTIL(wire->loop, NULL, wire->n_gone == 1);
    assert_int_equal(wire_connections(wire), 0);
}

static void test_many_connections_opened_and_reset_leave_nothing_h48a(void **state)
{
    enum { ROUNDS = 5, AT_ONCE = 100 };
    struct wire *wire = wire_of(state);
    struct peer peers[AT_ONCE];
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC), after;

    (void)close(before);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            peers[i] = wire_peer(wire);
            if (i % 2)
                assert_true(peer_send(wire->loop, &peers[i], "GET /now HTT"));
        }
        turn(wire->loop, NULL);
        for (int i = 0; i < AT_ONCE; i++)
            peer_reset(&peers[i]);
        TURN_UNTIL(wire->loop, NULL, wire_connections(wire) == 0);
    }
    after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(after, before); /* no descriptor was lost */
    (void)close(after);
}

/* ---- back-pressure ---------------------------------------------------------------------------------- */

static void test_a_slow_reader_stops_the_producer_and_gets_every_byte(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);

    wire->flood_total = 32u << 20;
    assert_true(peer_send(wire->loop, &peer, GET("/flood") "\r\n"));
    TURN_UNTIL(wire->loop, NULL, wire->queued_max > PM_EXCHANGE_QUEUE_HIGH);
    turn_for(wire->loop, NULL, 10);
    assert_true(wire->flood_sent < wire->flood_total);
    TURN_UNTIL(wire->loop, &peer,
               peer.got.n > 5 && memcmp(peer.got.data + peer.got.n - 5, "0\r\n\r\n", 5) == 0);
    assert_int_equal(wire->flood_sent, wire->flood_total);
    assert_true(wire->n_drained > 0);
    assert_true(wire->queued_max < PM_EXCHANGE_QUEUE_HIGH + 32 * 1024);
    assert_int_equal(count_text(&peer.got, "\r\n4000\r\n"), wire->flood_total / 0x4000);
    assert_stays(wire, &peer);
    peer_close(&peer);
}

static void test_unread_answers_stop_the_reading_of_pipelined_requests_h37(void **state)
{
    enum { REQUESTS = 2000 }; /* ten thousand are asked of the whole daemon */
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);
    struct pm_buf requests = {0};
    size_t sent = 0;

    for (int i = 0; i < REQUESTS; i++)
        pm_buf_addf(&requests, GET("/fill") "X-Request-Id: n-%d-\r\n\r\n", i);
    for (int idle = 0; idle < 20;) {
        ssize_t n = send(peer.fd, requests.data + sent, requests.n - sent, MSG_DONTWAIT);

        turn(wire->loop, NULL);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        if (sent == requests.n)
            break;
    }
    assert_true(wire->n_heads < REQUESTS); /* it did not go on without being read */
    while (sent < requests.n) {
        ssize_t n = send(peer.fd, requests.data + sent, requests.n - sent, MSG_DONTWAIT);

        sent += n > 0 ? (size_t)n : 0;
        turn(wire->loop, &peer);
    }
    TURN_UNTIL(wire->loop, &peer,
               peer_tail_has(&peer, 8192, "n-1999-") && peer_tail_has(&peer, 6, "filled"));
    assert_int_equal(count_text(&peer.got, "filled"), REQUESTS);
    for (int i = 0, at = 0; i < REQUESTS; i += 997) {
        char id[32];
        const char *found;

        (void)snprintf(id, sizeof(id), "Id: n-%d-\r\n", i);
        found = strstr(peer_text(&peer) + at, id);
        assert_non_null(found); /* in order */
        at = (int)(found - peer.got.data);
    }
    pm_buf_fini(&requests);
    peer_close(&peer);
}

static void test_more_bytes_while_a_stream_runs_do_not_hurt_it_h40a(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);
    char more[4096];
    size_t accepted = 0;
    uint64_t n_turns;
    int small = 8192;

    memset(more, 'x', sizeof(more));
    (void)setsockopt(peer.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_true(peer_send(wire->loop, &peer, GET("/later") "\r\n"));
    TURN_UNTIL(wire->loop, &peer, wire->n_requests == 1);
    pm_exchange_begin(wire->last, 200, NULL, 0, false, 0);
    pm_exchange_send(wire->last, "one", 3);
    for (int i = 0; i < 4096; i++) {
        ssize_t n = send(peer.fd, more, sizeof(more), MSG_DONTWAIT | MSG_NOSIGNAL);

        accepted += n > 0 ? (size_t)n : 0;
        turn(wire->loop, &peer);
        if (n < 0 && i > 50)
            break;
    }
    assert_true(accepted < 16u << 20); /* it stopped: the rest stays with the sender */
    n_turns = pm_loop_turns(wire->loop);
    assert_int_equal(pm_loop_turn(wire->loop, 30), 0);
    assert_int_equal(pm_loop_turns(wire->loop), n_turns + 1);
    pm_exchange_send(wire->last, "two", 3);
    pm_exchange_end(wire->last);
    TURN_UNTIL(wire->loop, &peer, peer_has(&peer, "3\r\ntwo\r\n0\r\n\r\n"));
    assert_int_equal(wire->n_gone, 0);
    peer_close(&peer);
}

/* A queue that never runs empty must not grow with what passed through it. */
static void test_memory_of_a_queue_that_never_empties_is_bounded(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire);
    static char block[16 * 1024];
    size_t taken = 0;

    memset(block, 'y', sizeof(block));
    assert_true(peer_send(wire->loop, &peer, GET("/later") "\r\n"));
    TURN_UNTIL(wire->loop, &peer, wire->n_requests == 1);
    pm_exchange_begin(wire->last, 200, NULL, 0, false, 0);
    while (pm_exchange_queued(wire->last) < PM_EXCHANGE_QUEUE_HIGH)
        pm_exchange_send(wire->last, block, sizeof(block));
    for (int i = 0; i < 4000; i++) {
        ssize_t n = recv(peer.fd, block, sizeof(block), MSG_DONTWAIT);

        taken += n > 0 ? (size_t)n : 0;
        assert_int_equal(pm_loop_turn(wire->loop, 0), 0);
        memset(block, 'y', sizeof(block));
        while (pm_exchange_queued(wire->last) < 2 * PM_EXCHANGE_QUEUE_HIGH)
            pm_exchange_send(wire->last, block, sizeof(block));
    }
    assert_true(taken > 16u << 20);
    assert_true(wire->last->out.capacity < 1u << 20);
    pm_exchange_break(wire->last);
    peer_close(&peer);
}

/* ---- the owner ends it all -------------------------------------------------------------------------- */

static void test_drain_closes_what_is_idle_and_ends_the_others_with_close(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer idle = wire_peer(wire), busy = wire_peer(wire);

    assert_true(peer_send(wire->loop, &idle, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &idle, peer_has(&idle, "\r\n\r\nnow"));
    assert_true(peer_send(wire->loop, &busy, GET("/later") "\r\n"));
    TURN_UNTIL(wire->loop, &busy, wire->n_requests == 1);
    pm_http_server_drain(wire->server);
    TURN_UNTIL(wire->loop, &idle, idle.ended);
    pm_exchange_respond(wire->last, 200, NULL, 0, "last", 4);
    assert_closes(wire, &busy);
    assert_true(peer_has(&busy, "\r\n\r\nlast"));
    peer_close(&idle);
    peer_close(&busy);
}

static void test_freeing_the_server_tells_the_owners_of_what_runs(void **state)
{
    struct wire *wire = wire_of(state);
    struct peer peer = wire_peer(wire), uploading = wire_peer(wire);

    assert_true(
        peer_send(wire->loop, &uploading, POST("/later") "Content-Length: 14\r\n\r\n" JSON));
    TURN_UNTIL(wire->loop, NULL, wire->n_bodies == 1);
    assert_true(peer_send(wire->loop, &peer, GET("/later") "\r\n"));
    TURN_UNTIL(wire->loop, NULL, wire->n_requests == 1);
    pm_http_server_free(wire->server);
    wire->server = NULL;
    assert_int_equal(wire->n_gone, 2);
    turn(wire->loop, &peer);
    assert_true(peer.ended || peer.reset);
    peer_close(&peer);
    peer_close(&uploading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_an_answer_has_length_date_and_request_id_and_the_connection_stays),
        ON_BOTH(test_pipelined_requests_are_answered_in_order_p05),
        ON_BOTH(test_what_follows_waits_for_the_answer_and_is_served_then),
        ON_BOTH(test_head_and_204_have_no_body_and_the_connection_stays_p12),
        ON_BOTH(test_a_stream_is_chunked_and_head_and_first_bytes_leave_together),
        ON_BOTH(test_http_1_0_gets_one_answer_that_ends_with_the_connection_p07_h36a),
        ON_BOTH(test_a_stream_to_http_1_0_ends_with_fin_and_breaks_with_rst),
        ON_BOTH(test_a_broken_stream_has_no_last_chunk_and_a_short_answer_ends_short),
        ON_BOTH(test_a_bad_request_id_is_replaced_and_a_good_one_kept_h25),
        ON_BOTH(test_hostile_requests_are_refused_and_the_connection_closed),
        ON_BOTH(test_malformed_requests_are_counted_once),
        ON_BOTH(test_a_head_that_is_too_long_is_refused_the_moment_it_is_h27),
        ON_BOTH(test_the_answer_is_not_overtaken_by_a_reset_when_more_comes),
        ON_BOTH(test_a_refused_client_that_stays_is_let_go_after_the_linger_time),
        ON_BOTH(test_what_is_left_of_a_body_is_the_next_request_h08),
        ON_BOTH(test_connection_close_and_garbage_end_it_h38),
        ON_BOTH(test_100_continue_comes_only_when_the_body_is_wanted_h36_p03),
        ON_BOTH(test_bodies_arrive_whole_however_they_are_cut),
        ON_BOTH(test_a_chunked_body_over_the_cap_is_refused_when_the_sum_passes_it_h29b),
        ON_BOTH(test_the_owner_is_told_when_a_body_turns_out_to_be_malformed),
        ON_BOTH(test_half_close_and_reset_are_a_cancel_at_any_stage_h40_h09),
        ON_BOTH(test_a_client_that_leaves_while_it_is_held_or_full_is_seen),
        ON_BOTH(test_many_connections_opened_and_reset_leave_nothing_h48a),
        ON_BOTH(test_a_slow_reader_stops_the_producer_and_gets_every_byte),
        ON_BOTH(test_unread_answers_stop_the_reading_of_pipelined_requests_h37),
        ON_BOTH(test_more_bytes_while_a_stream_runs_do_not_hurt_it_h40a),
        ON_BOTH(test_memory_of_a_queue_that_never_empties_is_bounded),
        ON_BOTH(test_drain_closes_what_is_idle_and_ends_the_others_with_close),
        ON_BOTH(test_freeing_the_server_tells_the_owners_of_what_runs),
    };

    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
