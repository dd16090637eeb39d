/* SPDX-License-Identifier: Apache-2.0 */
/* The client towards engines: what of an answer is believed, which connections are used again, what is replayed. */
#include "http/client.h"
#include "wire.h"

#define OK         "HTTP/1.1 200 OK\r\n"
#define HELLO      OK "Content-Length: 5\r\n\r\nhello"
#define CHUNKED    "Transfer-Encoding: chunked\r\n"
#define HEAD_BYTES "POST /v1/chat/completions HTTP/1.1\r\nHost: engine\r\nContent-Length: 4\r\n\r\n"

struct world {
    struct pm_loop *loop;
    struct pm_http_client *client;
    bool is_unix;
    int listen_fd;
    char folder[64], endpoint[128];
};

/* A call and all that was heard of it. */
struct heard {
    struct world *world;
    struct pm_http_call *call; /* NULL: over */
    int n_heads, status;
    bool ended, failed, pause_at_head, free_at_head;
    enum pm_call_error error;
    struct pm_buf body;
    char *sent_body; /* freed at the head where free_at_head says so */
    struct iovec piece;
    char type[64];
};

static const struct pm_http_client_options default_options = {
    .idle_max = 4,
    .idle_ms = 60000, /* so that what is closed was closed on purpose */
    .connect_ms = 5000,
    .first_byte_ms = 10000,
    .stream_idle_ms = 10000,
};

/* ---- a client, an engine that the tests play ---------------------------------------------------------- */

static void listen_here(struct world *world, int backlog)
{
    if (world->is_unix) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};

        (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/e", world->folder);
        (void)unlink(un.sun_path);
        (void)snprintf(world->endpoint, sizeof(world->endpoint), "unix:%s", un.sun_path);
        world->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(world->listen_fd, (struct sockaddr *)&un, sizeof(un)), 0);
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET};
        socklen_t n = sizeof(in);

        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        world->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(world->listen_fd, (struct sockaddr *)&in, sizeof(in)), 0);
        assert_int_equal(getsockname(world->listen_fd, (struct sockaddr *)&in, &n), 0);
        (void)snprintf(world->endpoint, sizeof(world->endpoint), "http://127.0.0.1:%u",
                       ntohs(in.sin_port));
    }
    assert_int_equal(listen(world->listen_fd, backlog), 0);
}

static void make_client(struct world *world, const struct pm_http_client_options *options)
{
    pm_http_client_free(world->client);
    assert_int_equal(pm_http_client_new(world->loop, options, &world->client, NULL), 0);
}

static int setup(void **state)
{
    struct world *world = pm_xalloc(sizeof(*world));

    world->is_unix = *state != NULL;
    make_folder(world->folder, sizeof(world->folder));
    if (pm_loop_new(&world->loop, NULL) < 0)
        return -1;
    listen_here(world, 64);
    make_client(world, &default_options);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    pm_http_client_free(world->client);
    pm_loop_free(world->loop);
    if (world->listen_fd >= 0)
        (void)close(world->listen_fd);
    remove_folder(world->folder, (const char *const[]){"e"}, 1);
    free(world);
    return 0;
}

static bool engine_accepts(struct world *world, struct peer *peer)
{
    peer->fd = accept4(world->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    return peer->fd >= 0;
}

/* The engine's end of the next connection that the client opens. */
static struct peer engine_peer(struct world *world)
{
    struct peer peer = {.fd = -1};

    TURN_UNTIL(world->loop, NULL, engine_accepts(world, &peer));
    return peer;
}

static void assert_no_connection(struct world *world)
{
    struct peer peer = {.fd = -1};

    turn_for(world->loop, NULL, 10);
    assert_false(engine_accepts(world, &peer));
}

/* ---- calls ---------------------------------------------------------------------------------------------- */

static void on_head(void *ctx, const struct pm_http_head *head)
{
    struct heard *heard = ctx;
    const struct pm_http_header *type = pm_http_find(head, "content-type", NULL);

    assert_false(heard->ended || heard->failed);
    heard->n_heads++;
    heard->status = head->status;
    if (type)
        (void)snprintf(heard->type, sizeof(heard->type), "%.*s", (int)type->value.n, type->value.p);
    if (heard->free_at_head) {
        free(heard->sent_body);
        heard->sent_body = NULL;
    }
    if (heard->pause_at_head)
        pm_http_call_pause(heard->call);
}

static void on_body(void *ctx, const char *data, size_t n)
{
    struct heard *heard = ctx;

    assert_int_equal(heard->n_heads, 1);
    assert_true(n > 0);
    pm_buf_add(&heard->body, data, n);
}

static void on_end(void *ctx)
{
    struct heard *heard = ctx;

    assert_int_equal(heard->n_heads, 1);
    assert_false(heard->ended || heard->failed);
    heard->ended = true;
    heard->call = NULL;
}

static void on_error(void *ctx, enum pm_call_error error, const char *text)
{
    struct heard *heard = ctx;

    assert_non_null(text);
    assert_false(heard->ended || heard->failed);
    heard->failed = true;
    heard->error = error;
    heard->call = NULL;
}

static const struct pm_http_call_handler handler = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
};

static void call_with(struct world *world, struct heard *heard, enum pm_http_method method,
                      const char *head, char *body, size_t n)
{
    *heard = (struct heard){.world = world, .sent_body = body, .piece = {body, n}};
    heard->call = pm_http_call_new(world->client, world->endpoint, method, head, strlen(head),
                                   &heard->piece, body ? 1 : 0, false, &handler, heard);
}

static void call(struct world *world, struct heard *heard)
{
    static char body[] = "body";

    call_with(world, heard, PM_POST, HEAD_BYTES, body, 4);
}

static void forget(struct heard *heard)
{
    if (heard->call)
        pm_http_call_cancel(heard->call);
    heard->call = NULL;
    pm_buf_fini(&heard->body);
}

static bool is_over(const struct heard *heard)
{
    return heard->ended || heard->failed;
}

static void take_request(struct world *world, struct peer *peer)
{
    TURN_UNTIL(world->loop, peer, peer_has(peer, "\r\n\r\nbody"));
    assert_string_equal(peer_text(peer), HEAD_BYTES "body");
    peer->got.n = 0;
}

static bool body_is(struct heard *heard, const char *text)
{
    return strcmp(pm_buf_text(&heard->body), text) == 0;
}

/* A call that is answered as it should be; the connection may be kept after it. */
static void good_call_on(struct world *world, struct peer *peer)
{
    struct heard heard;

    call(world, &heard);
    take_request(world, peer);
    assert_true(peer_send(world->loop, peer, HELLO));
    TURN_UNTIL(world->loop, peer, is_over(&heard));
    assert_true(heard.ended && body_is(&heard, "hello"));
    forget(&heard);
}

static void good_call(struct world *world, struct peer *ret)
{
    struct heard heard;

    call(world, &heard);
    *ret = engine_peer(world);
    take_request(world, ret);
    assert_true(peer_send(world->loop, ret, HELLO));
    TURN_UNTIL(world->loop, ret, is_over(&heard));
    assert_true(heard.ended && body_is(&heard, "hello"));
    forget(&heard);
}

/* The client has closed this connection; the next request comes by another. */
static void assert_dropped(struct world *world, struct peer *peer)
{
    TURN_UNTIL(world->loop, peer, peer->ended || peer->reset);
    peer_close(peer);
}

/* ---- good answers --------------------------------------------------------------------------------------- */

static void test_an_answer_is_passed_and_its_connection_used_again(void **state)
{
    struct world *world = *state;
    struct peer peer;

    good_call(world, &peer);
    good_call_on(world, &peer);
    good_call_on(world, &peer);
    assert_no_connection(world);
    peer_close(&peer);
}

static void test_answers_that_must_pass_do_h54_h58_p16(void **state)
{
    static const struct {
        const char *bytes, *body;
    } rows[] = {
        {"HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", "hello"},
        {"HTTP/1.1 200 \r\nContent-Length: 5\r\nX-Empty:\r\n\r\nhello", "hello"},
        {"HTTP/1.1 200 d\xe9j\xe0 vu\r\nContent-Length: 5\r\n\r\nhello", "hello"},
        {OK "Content-Length: 0\r\n\r\n", ""},
        {OK CHUNKED "\r\n5;a=b\r\nhello\r\n0\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n",
         "hello"},
        {OK CHUNKED "\r\n1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "hello"},
        {"HTTP/1.1 100 Continue\r\n\r\n" HELLO, "hello"},
        {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" HELLO,
         "hello"},
        {"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" HELLO, "hello"},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", "hello"},
        {"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
         ""},
    };
    struct world *world = *state;
    struct peer peer;

    good_call(world, &peer);
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
            size_t n = strlen(rows[i].bytes), step = by_bytes ? 1 : n;
            struct heard heard;

            call(world, &heard);
            take_request(world, &peer); /* on the same connection each time */
            for (size_t at = 0; at < n; at += step) {
                assert_true(peer_send_n(world->loop, &peer, rows[i].bytes + at, step));
                if (by_bytes)
                    assert_int_equal(pm_loop_turn(world->loop, 0), 0);
            }
            TURN_UNTIL(world->loop, &peer, is_over(&heard));
            if (!heard.ended || !body_is(&heard, rows[i].body))
                fail_msg("row %zu", i);
            forget(&heard);
        }
    }
    peer_close(&peer);
}

static void test_an_answer_that_ends_with_the_connection_is_whole_and_not_used_again_h61(
    void **state)
{
    static const char *const answers[] = {
        OK "\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
        OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello",
    };
    struct world *world = *state;

    for (size_t i = 0; i < PM_ARRAY_LEN(answers); i++) {
        struct heard heard;
        struct peer peer;

        call(world, &heard);
        peer = engine_peer(world);
        take_request(world, &peer);
        assert_true(peer_send(world->loop, &peer, answers[i]));
        if (i < 2) {
            TURN_UNTIL(world->loop, &peer, body_is(&heard, "hello"));
            assert_false(is_over(&heard));
            (void)shutdown(peer.fd, SHUT_WR);
        }
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        assert_true(heard.ended && body_is(&heard, "hello"));
        assert_dropped(world, &peer);
        forget(&heard);
    }
}

static void test_answers_without_a_body_end_with_their_head_h62(void **state)
{
    static const struct {
        enum pm_http_method method;
        const char *bytes;
        bool kept;
    } rows[] = {
        {PM_GET, "HTTP/1.1 204 No Content\r\n\r\n", true},
        {PM_GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", false},
        {PM_GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false},
        {PM_GET, "HTTP/1.1 204 No Content\r\n" CHUNKED "\r\n", false},
        {PM_GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true},
        {PM_GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", false},
        {PM_HEAD, OK "Content-Length: 5\r\n\r\nhello", false},
        {PM_HEAD, OK "Content-Length: 100\r\n\r\n", true},
    };
    struct world *world = *state;

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct heard heard;
        struct peer peer;

        call_with(world, &heard, rows[i].method, "X / HTTP/1.1\r\n\r\n", NULL, 0);
        peer = engine_peer(world);
        TURN_UNTIL(world->loop, &peer, peer_has(&peer, "\r\n\r\n"));
        peer.got.n = 0;
        assert_true(peer_send(world->loop, &peer, rows[i].bytes));
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        if (!heard.ended || heard.body.n)
            fail_msg("row %zu", i);
        if (rows[i].kept)
            good_call_on(world, &peer);
        else
            assert_dropped(world, &peer);
        peer_close(&peer);
        pm_http_client_forget(world->client, world->endpoint);
        forget(&heard);
    }
}

/* ---- bad answers ---------------------------------------------------------------------------------------- */

static const struct {
    const char *id;
    struct pm_slice bytes;
} bad_heads[] = {
    {"H-50 a", BYTES(OK "Content-Length: 5\r\n" CHUNKED "\r\nhello")},
    {"H-50 b", BYTES(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")},
    {"H-50 c list", BYTES(OK "Content-Length: 5, 5\r\n\r\nhello")},
    {"H-50 c sign", BYTES(OK "Content-Length: +5\r\n\r\nhello")},
    {"H-50 c negative", BYTES(OK "Content-Length: -1\r\n\r\nhello")},
    {"H-50 c letters", BYTES(OK "Content-Length: 5x\r\n\r\nhello")},
    {"H-50 c empty", BYTES(OK "Content-Length:\r\n\r\nhello")},
    {"H-50 c too large", BYTES(OK "Content-Length: 99999999999999999999\r\n\r\nhello")},
    {"H-50 d gzip", BYTES(OK "Transfer-Encoding: gzip, chunked\r\n\r\nhello")},
    {"H-50 d identity", BYTES(OK "Transfer-Encoding: identity\r\n\r\nhello")},
    {"H-50 e", BYTES("HTTP/1.0 200 OK\r\n" CHUNKED "\r\nhello")},
    {"H-51 a", BYTES("HTP/1.1 200 OK\r\n\r\n")},
    {"H-51 b", BYTES("HTTP/2 200 OK\r\n\r\n")},
    {"H-51 c", BYTES("HTTP/1.2 200 OK\r\n\r\n")},
    {"H-51 d", BYTES("HTTP/1.1 20 OK\r\n\r\n")},
    {"H-51 e", BYTES("HTTP/1.1 2000 OK\r\n\r\n")},
    {"H-51 f", BYTES("HTTP/1.1 099 OK\r\n\r\n")},
    {"H-51 g", BYTES("HTTP/1.1 600 OK\r\n\r\n")},
    {"H-51 h", BYTES("HTTP/1.1  200 OK\r\n\r\n")},
    {"H-51 i", BYTES("ICY 200 OK\r\n\r\n")},
    {"H-51 j", BYTES("\r\n" HELLO)},
    {"H-51 k", BYTES("warning: x\n" HELLO)},
    {"H-51 l", BYTES("\0" HELLO)},
    {"H-52 a", BYTES("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")},
    {"H-52 b", BYTES(OK "X: a\rSet-Cookie: b\r\n\r\n")},
    {"H-52 c", BYTES(OK "X: a\0b\r\n\r\n")},
    {"H-52 d", BYTES(OK "X: a\r\n b\r\n\r\n")},
    {"H-52 e", BYTES(OK "X : a\r\n\r\n")},
    {"H-52 f", BYTES(OK "NoColon\r\n\r\n")},
    {"H-52 h", BYTES(OK "Content-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 0\r\n\r\n")},
    {"H-54 f", BYTES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")},
};

static void test_a_head_that_is_not_http_is_a_bad_answer_and_nothing_of_it_is_passed(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < PM_ARRAY_LEN(bad_heads); i++) {
        for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
            size_t n = bad_heads[i].bytes.n, step = by_bytes ? 1 : n;
            struct heard heard;
            struct peer peer;

            call(world, &heard);
            peer = engine_peer(world);
            take_request(world, &peer);
            for (size_t at = 0; at < n; at += step) {
                if (!peer_send_n(world->loop, &peer, bad_heads[i].bytes.p + at, step))
                    break; /* refused before its end */
                if (by_bytes)
                    assert_int_equal(pm_loop_turn(world->loop, 0), 0);
            }
            TURN_UNTIL(world->loop, &peer, is_over(&heard));
            if (!heard.failed || heard.error != PM_CALL_BAD_ANSWER || heard.n_heads)
                fail_msg("%s: %d", bad_heads[i].id, (int)heard.error);
            assert_dropped(world, &peer);
            forget(&heard);
        }
    }
}

static void test_heads_without_end_and_too_many_interim_answers_are_bad_h53_h54e(void **state)
{
    struct world *world = *state;
    char filler[1024];

    memset(filler, 'x', sizeof(filler));
    for (int row = 0; row < 3; row++) {
        struct heard heard;
        struct peer peer;
        bool open = true;

        call(world, &heard);
        peer = engine_peer(world);
        take_request(world, &peer);
        if (row == 0)
            open = peer_send(world->loop, &peer, OK "X: ");
        for (int i = 0; open && i < (row == 0 ? 70 : row == 1 ? 17 : 101); i++)
            open = row == 0   ? peer_send_n(world->loop, &peer, filler, sizeof(filler))
                   : row == 1 ? peer_send(world->loop, &peer, "HTTP/1.1 100 Continue\r\n\r\n")
                              : peer_send(world->loop, &peer, i ? "X: a\r\n" : OK "X: a\r\n");
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        assert_true(heard.failed && heard.error == PM_CALL_BAD_ANSWER);
        assert_dropped(world, &peer);
        forget(&heard);
    }
}

static void test_sixteen_interim_answers_are_skipped(void **state)
{
    struct world *world = *state;
    struct heard heard;
    struct peer peer;

    call(world, &heard);
    peer = engine_peer(world);
    take_request(world, &peer);
    for (int i = 0; i < 16; i++)
        assert_true(peer_send(world->loop, &peer, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_true(peer_send(world->loop, &peer, HELLO));
    TURN_UNTIL(world->loop, &peer, is_over(&heard));
    assert_true(heard.ended && heard.status == 200);
    good_call_on(world, &peer);
    peer_close(&peer);
    forget(&heard);
}

static void test_a_malformed_or_torn_body_is_broken_after_what_was_good_h57_h59_h61(void **state)
{
    static const struct {
        const char *bytes;
        bool then_fin;
    } rows[] = {
        {OK CHUNKED "\r\n5\r\nhello\r\n0x5\r\nworld\r\n", false},
        {OK CHUNKED "\r\n5\r\nhello\r\n000000005\r\nworld\r\n", false},
        {OK CHUNKED "\r\n5\r\nhello\r\n5\nworld\r\n", false},
        {OK CHUNKED "\r\n5\r\nhello\r\n5;x\ny\r\nworld\r\n", false},
        {OK CHUNKED "\r\n5\r\nhelloX\r\n", false},
        {OK CHUNKED "\r\n5\r\nhello\r\n0\r\nX : 1\r\n\r\n", false},
        {OK "Content-Length: 100\r\n\r\nhello", true},
        {OK CHUNKED "\r\n5\r\nhello", true},
        {OK CHUNKED "\r\n5\r\nhello\r\n5", true},
        {OK CHUNKED "\r\n5\r\nhello\r\n", true},
        {OK CHUNKED "\r\n5\r\nhello\r\n0\r\n", true},
    };
    struct world *world = *state;

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        for (int reset = 0; reset <= (int)rows[i].then_fin; reset++) {
            struct heard heard;
            struct peer peer;

            call(world, &heard);
            peer = engine_peer(world);
            take_request(world, &peer);
            assert_true(peer_send(world->loop, &peer, rows[i].bytes));
            TURN_UNTIL(world->loop, &peer, body_is(&heard, "hello"));
            if (rows[i].then_fin && reset)
                peer_reset(&peer);
            else if (rows[i].then_fin)
                (void)shutdown(peer.fd, SHUT_WR);
            TURN_UNTIL(world->loop, &peer, is_over(&heard));
            if (!heard.failed || heard.error != PM_CALL_BROKEN || !body_is(&heard, "hello"))
                fail_msg("row %zu", i);
            peer_close(&peer);
            forget(&heard);
        }
    }
}

/* TCP only: a Unix socket says FIN. */
static void test_a_reset_does_not_end_an_answer_without_a_length_h61b(void **state)
{
    struct world *world = *state;
    struct heard heard;
    struct peer peer;

    call(world, &heard);
    peer = engine_peer(world);
    take_request(world, &peer);
    assert_true(peer_send(world->loop, &peer, OK "\r\nhello"));
    TURN_UNTIL(world->loop, &peer, body_is(&heard, "hello"));
    peer_reset(&peer);
    TURN_UNTIL(world->loop, NULL, is_over(&heard));
    assert_true(heard.failed && heard.error == PM_CALL_BROKEN);
    forget(&heard);
}

/* ---- which connection ------------------------------------------------------------------------------------ */

static void test_stray_bytes_end_a_connection_and_are_nobodys_answer_h60(void **state)
{
    static const char *const answers[] = {HELLO "XYZ", HELLO HELLO};
    struct world *world = *state;

    for (size_t i = 0; i < PM_ARRAY_LEN(answers); i++) {
        struct heard heard;
        struct peer peer;

        call(world, &heard);
        peer = engine_peer(world);
        take_request(world, &peer);
        assert_true(peer_send(world->loop, &peer, answers[i]));
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        assert_true(heard.ended && body_is(&heard, "hello"));
        assert_dropped(world, &peer);
        forget(&heard);
    }
}

struct stray {
    struct pm_task task;
    struct world *world;
    struct heard *heard;
    struct peer *kept;
    const char *bytes;
};

/* Within a turn: the loop has no chance to see the bytes before the call takes the connection. */
static void send_stray_and_call(struct pm_task *task)
{
    struct stray *stray = pm_container_of(task, struct stray, task);

    assert_true(peer_send(NULL, stray->kept, stray->bytes));
    call(stray->world, stray->heard);
}

static void test_bytes_on_a_kept_connection_drop_it_and_the_next_call_gets_its_own_h60cd(
    void **state)
{
    static const char *const strays[] = {
        OK "Content-Length: 4\r\n\r\nevil",
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    };
    struct world *world = *state;

    for (int i = 0; i < 4; i++) {
        struct peer kept, peer;
        struct heard heard;

        struct stray stray = {
            .task = {.fn = send_stray_and_call},
            .world = world,
            .heard = &heard,
            .kept = &kept,
            .bytes = strays[i % 2],
        };

        good_call(world, &kept);
        if (i < 2) {
            assert_true(peer_send(world->loop, &kept, strays[i % 2]));
            turn(world->loop, NULL);
            call(world, &heard);
        } else {
            pm_loop_later(world->loop, &stray.task);
        }
        peer = engine_peer(world);
        take_request(world, &peer);
        assert_true(peer_send(world->loop, &peer, HELLO));
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        assert_true(heard.ended && body_is(&heard, "hello"));
        assert_dropped(world, &kept);
        peer_close(&peer);
        turn(world->loop, NULL);
        pm_http_client_forget(world->client, world->endpoint);
        forget(&heard);
    }
}

static void test_the_connection_used_last_is_used_first_and_few_are_kept(void **state)
{
    struct world *world = *state;
    struct pm_http_client_options options = default_options;
    struct heard heard[3];
    struct peer peers[3];

    options.idle_max = 2;
    make_client(world, &options);
    for (int i = 0; i < 3; i++) {
        call(world, &heard[i]);
        peers[i] = engine_peer(world);
        take_request(world, &peers[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(peer_send(world->loop, &peers[i], HELLO));
        TURN_UNTIL(world->loop, &peers[i], is_over(&heard[i]));
        forget(&heard[i]);
    }
    assert_dropped(world, &peers[0]); /* one too many: the one unused for longest */
    good_call_on(world, &peers[2]);
    good_call_on(world, &peers[2]);
    peer_close(&peers[1]);
    peer_close(&peers[2]);
}

static void test_a_kept_connection_is_closed_in_time_and_as_its_engine_says(void **state)
{
    static const char *const hints[] = {"timeout=1", "timeout=5, max=0", "max=0"};
    struct world *world = *state;
    struct pm_http_client_options options = default_options;
    struct heard heard;
    struct peer peer;

    for (size_t i = 0; i < PM_ARRAY_LEN(hints); i++) {
        pm_auto_free char *answer =
            pm_xasprintf(OK "Keep-Alive: %s\r\nContent-Length: 5\r\n\r\nhello", hints[i]);

        call(world, &heard);
        peer = engine_peer(world);
        take_request(world, &peer);
        assert_true(peer_send(world->loop, &peer, answer));
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        assert_dropped(world, &peer);
        forget(&heard);
    }
    options.idle_ms = 30;
    make_client(world, &options);
    good_call(world, &peer);
    assert_dropped(world, &peer);
}

static void test_large_bodies_use_a_fresh_connection(void **state)
{
    enum { SIZE = (1 << 20) + 1 };
    struct world *world = *state;
    pm_auto_free char *body = malloc(SIZE);
    struct heard heard;
    struct peer kept, peer;

    memset(body, 'b', SIZE);
    good_call(world, &kept);
    call_with(world, &heard, PM_POST, "P / HTTP/1.1\r\n\r\n", body, SIZE);
    heard.sent_body = NULL;
    peer = engine_peer(world);
    TURN_UNTIL(world->loop, &peer, peer.got.n == 16 + SIZE); /* all of it, as the engine takes it */
    assert_true(peer_send(world->loop, &peer, HELLO));
    TURN_UNTIL(world->loop, &peer, is_over(&heard));
    assert_true(heard.ended);
    peer_close(&peer);
    peer_close(&kept);
    forget(&heard);
}

static void test_forgetting_an_endpoint_closes_what_was_kept(void **state)
{
    struct world *world = *state;
    struct heard heard;
    struct peer kept, running;

    good_call(world, &kept);
    call(world, &heard);
    take_request(world, &kept);
    running = kept;
    pm_http_client_forget(world->client, world->endpoint);
    assert_true(peer_send(world->loop, &running, HELLO)); /* what runs goes on … */
    TURN_UNTIL(world->loop, &running, is_over(&heard));
    assert_true(heard.ended);
    assert_dropped(world, &running); /* … and is not kept */
    forget(&heard);

    good_call(world, &kept);
    pm_http_client_forget(world->client, world->endpoint);
    assert_dropped(world, &kept);
}

/* ---- replay ---------------------------------------------------------------------------------------------- */

static void test_a_stale_kept_connection_is_replayed_once_and_whole_h59c(void **state)
{
    struct world *world = *state;

    for (int row = 0; row < 4; row++) {
        struct heard heard;
        struct peer kept, peer;

        good_call(world, &kept);
        call(world, &heard);
        if (row == 3)
            peer_close(&kept); /* before the request is even sent */
        else
            take_request(world, &kept);
        if (row == 0)
            peer_close(&kept);
        else if (row < 3)
            peer_reset(&kept);
        peer = engine_peer(world);
        take_request(world, &peer); /* the same bytes again */
        if (row == 2)
            peer_close(&peer); /* and a fresh connection that dies is the engine's fault */
        else
            assert_true(peer_send(world->loop, &peer, HELLO));
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        if (row == 2)
            assert_true(heard.failed && heard.error == PM_CALL_NO_ANSWER);
        else
            assert_true(heard.ended && body_is(&heard, "hello"));
        assert_no_connection(world);
        peer_close(&peer);
        turn(world->loop, NULL);
        pm_http_client_forget(world->client, world->endpoint);
        forget(&heard);
    }
}

/* The request may be what the engine died of: that is not the same as nobody having been there. */
static void test_an_engine_that_is_gone_for_the_replay_was_reached_h59c(void **state)
{
    struct world *world = *state;
    struct heard heard;
    struct peer kept;

    good_call(world, &kept);
    call(world, &heard);
    take_request(world, &kept);
    (void)close(world->listen_fd);
    world->listen_fd = -1;
    peer_close(&kept);
    TURN_UNTIL(world->loop, NULL, is_over(&heard));
    assert_true(heard.failed && heard.error == PM_CALL_NO_ANSWER);
    forget(&heard);
}

static void test_nothing_is_replayed_on_a_fresh_connection_or_after_a_byte_of_an_answer(
    void **state)
{
    static const char *const said[] = {"", "H", "HTTP/1.1 100 Continue\r\n\r\n"};
    struct world *world = *state;

    for (size_t i = 0; i < PM_ARRAY_LEN(said); i++) {
        struct heard heard;
        struct peer peer;

        if (i)
            good_call(world, &peer);
        call(world, &heard);
        if (!i)
            peer = engine_peer(world);
        take_request(world, &peer);
        assert_true(peer_send(world->loop, &peer, said[i]));
        turn(world->loop, NULL);
        peer_close(&peer);
        TURN_UNTIL(world->loop, NULL, is_over(&heard));
        assert_true(heard.failed);
        assert_int_equal(heard.error, i == 1 ? PM_CALL_BAD_ANSWER : PM_CALL_NO_ANSWER);
        assert_no_connection(world);
        forget(&heard);
    }
}

/* ---- connecting ------------------------------------------------------------------------------------------ */

static void test_a_refused_connect_is_said_after_one_more_try(void **state)
{
    struct world *world = *state;
    struct heard heard;

    (void)close(world->listen_fd);
    world->listen_fd = -1;
    call(world, &heard);
    assert_false(is_over(&heard)); /* never from inside */
    TURN_UNTIL(world->loop, NULL, is_over(&heard));
    assert_true(heard.failed && heard.error == PM_CALL_REFUSED);
    forget(&heard);
}

static void test_an_endpoint_is_a_path_or_a_numeric_address_and_nothing_else(void **state)
{
    static const char *const good[] = {"unix:/run/e.sock", "http://127.0.0.1:8000",
                                       "http://10.0.0.7:65535"};
    static const char *const bad[] = {"",
                                      "unix:",
                                      "unix:e.sock",
                                      "http://localhost:8000",
                                      "https://127.0.0.1:8000",
                                      "http://127.0.0.1",
                                      "http://127.0.0.1:0",
                                      "http://127.0.0.1:65536",
                                      "http://127.0.0.1:8000/",
                                      "http://127.0.0.1:8000@evil",
                                      "http://1.2.3:80",
                                      "http://127.0.0.1:-1"};
    char longest[5 + 108 + 1] = "unix:/";

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(good); i++)
        assert_true(pm_http_endpoint_valid(good[i]));
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++)
        assert_false(pm_http_endpoint_valid(bad[i]));
    memset(longest + 6, 'x', 106);
    assert_true(pm_http_endpoint_valid(longest));
    longest[6 + 106] = 'x';
    assert_false(pm_http_endpoint_valid(longest));
}

/* Engines listen with short queues (llama-server: five); a full one is no refusal. */
static void test_a_full_listen_queue_is_waited_for(void **state)
{
    enum { CALLS = 12 };
    struct world *world = *state;
    struct pm_http_client_options options = default_options;
    struct heard heard[CALLS];
    struct peer peers[CALLS];

    options.connect_ms = options.first_byte_ms =
        60000; /* a dropped SYN comes again after 1, 3, 7 s */
    (void)close(world->listen_fd);
    listen_here(world, 1);
    make_client(world, &options);
    for (int i = 0; i < CALLS; i++)
        call(world, &heard[i]);
    turn_for(world->loop, NULL, 20); /* nobody accepts */
    for (int i = 0; i < CALLS; i++)
        assert_false(is_over(&heard[i]));
    for (int i = 0; i < CALLS; i++) {
        peers[i] = engine_peer(world);
        take_request(world, &peers[i]);
        assert_true(peer_send(world->loop, &peers[i], HELLO));
    }
    for (int i = 0; i < CALLS; i++) {
        TURN_UNTIL(world->loop, NULL, is_over(&heard[i]));
        assert_true(heard[i].ended);
        forget(&heard[i]);
        peer_close(&peers[i]);
    }
}

static void test_a_listen_queue_that_stays_full_ends_with_the_time_to_connect(void **state)
{
    struct world *world = *state;
    struct pm_http_client_options options = default_options;
    struct heard heard[4];

    options.connect_ms = 40;
    options.first_byte_ms = 60000;
    (void)close(world->listen_fd);
    listen_here(world, 0);
    make_client(world, &options);
    for (int i = 0; i < 4; i++)
        call(world, &heard[i]);
    TURN_UNTIL(world->loop, NULL, is_over(&heard[3]));
    assert_true(heard[3].failed && heard[3].error == PM_CALL_CONNECT);
    for (int i = 0; i < 4; i++)
        forget(&heard[i]);
}

/* ---- early answers and large bodies ------------------------------------------------------------------------ */

/* H-56. The owner lets go of the body when the head comes: not a byte of it may be touched after that. */
static void test_an_early_answer_passes_while_the_body_is_half_written_h56(void **state)
{
    enum { SIZE = 8 << 20 };
    struct world *world = *state;

    for (int reset = 0; reset < 2; reset++) {
        struct heard heard;
        struct peer peer;
        char *body = malloc(SIZE);

        memset(body, 'b', SIZE);
        call_with(world, &heard, PM_POST, "P / HTTP/1.1\r\n\r\n", body, SIZE);
        heard.free_at_head = true;
        peer = engine_peer(world);
        turn_for(world->loop, NULL, 5); /* the socket is full now */
        assert_true(peer_send(world->loop, &peer,
                              "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
                              "Content-Length: 5\r\n\r\nlarge"));
        if (reset)
            peer_reset(&peer);
        else
            (void)shutdown(peer.fd, SHUT_WR);
        if (!reset)
            TURN_UNTIL(world->loop, &peer, is_over(&heard));
        else
            TURN_UNTIL(world->loop, NULL, is_over(&heard));
        assert_true(heard.ended);
        assert_int_equal(heard.status, 413);
        assert_true(body_is(&heard, "large"));
        peer_close(&peer);
        assert_no_connection(world);
        forget(&heard);
        free(heard.sent_body);
    }
}

static void test_an_early_answer_that_goes_on_sends_nothing_more_of_a_freed_body(void **state)
{
    enum { SIZE = 8 << 20 };
    struct world *world = *state;
    struct heard heard;
    struct peer peer;
    char *body = malloc(SIZE);

    memset(body, 'b', SIZE);
    call_with(world, &heard, PM_POST, "P / HTTP/1.1\r\n\r\n", body, SIZE);
    heard.free_at_head = true;
    peer = engine_peer(world);
    turn_for(world->loop, NULL, 5);
    assert_true(peer_send(world->loop, &peer, OK CHUNKED "\r\n5\r\nhello\r\n"));
    TURN_UNTIL(world->loop, NULL, heard.n_heads == 1);
    assert_null(heard.sent_body);
    turn_for(world->loop, &peer, 20); /* the engine reads: there would be room for more */
    assert_true(peer.got.n < SIZE);
    assert_true(peer_send(world->loop, &peer, "0\r\n\r\n"));
    TURN_UNTIL(world->loop, &peer, is_over(&heard));
    assert_true(heard.ended);
    assert_dropped(world, &peer);
    forget(&heard);
}

static void test_a_body_that_is_kept_is_sent_to_its_end(void **state)
{
    enum { SIZE = 8 << 20 };
    struct world *world = *state;
    struct heard heard;
    struct peer peer;
    char *body = malloc(SIZE);

    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)('a' + i % 19);
    call_with(world, &heard, PM_POST, "P / HTTP/1.1\r\n\r\n", body, SIZE);
    peer = engine_peer(world);
    turn_for(world->loop, NULL, 5);
    pm_http_call_keep_body(heard.call);
    free(body);
    TURN_UNTIL(world->loop, &peer, peer.got.n == 16 + SIZE);
    for (size_t i = 0; i < SIZE; i += 1009)
        assert_int_equal(peer.got.data[16 + i], 'a' + i % 19);
    assert_true(peer_send(world->loop, &peer, HELLO));
    TURN_UNTIL(world->loop, &peer, is_over(&heard));
    assert_true(heard.ended);
    peer_close(&peer);
    forget(&heard);
}

/* ---- back-pressure and time -------------------------------------------------------------------------------- */

static void test_a_paused_call_reads_nothing_and_a_finished_engine_does_not_spin_it_h47c(
    void **state)
{
    struct world *world = *state;
    struct pm_http_client_options options = default_options;
    struct heard heard;
    struct peer peer;
    uint64_t n_turns;

    options.stream_idle_ms = 30; /* the clock stands while we do not read */
    make_client(world, &options);
    for (int reset = 0; reset < 2; reset++) {
        call(world, &heard);
        heard.pause_at_head = true;
        peer = engine_peer(world);
        take_request(world, &peer);
        assert_true(peer_send(world->loop, &peer, OK CHUNKED "\r\n"));
        TURN_UNTIL(world->loop, NULL, heard.n_heads == 1);
        assert_true(peer_send(world->loop, &peer, "5\r\nhello\r\n0\r\n\r\n"));
        if (reset && world->is_unix)
            peer_close(&peer);
        else
            (void)shutdown(peer.fd, reset ? SHUT_RDWR : SHUT_WR);
        turn_for(world->loop, NULL, 50);
        assert_false(is_over(&heard));
        assert_int_equal(heard.body.n, 0);
        n_turns = pm_loop_turns(world->loop);
        assert_int_equal(pm_loop_turn(world->loop, 40), 0); /* nothing wakes it */
        assert_int_equal(pm_loop_turn(world->loop, 40), 0);
        assert_int_equal(pm_loop_turns(world->loop), n_turns + 2);
        pm_http_call_resume(heard.call);
        TURN_UNTIL(world->loop, NULL, is_over(&heard));
        assert_true(heard.ended && body_is(&heard, "hello"));
        peer_close(&peer);
        forget(&heard);
    }
}

static void test_pausing_while_connecting_does_not_lose_the_connection(void **state)
{
    struct world *world = *state;
    struct heard heard;
    struct peer peer;

    call(world, &heard);
    pm_http_call_pause(heard.call);
    turn(world->loop, NULL);
    pm_http_call_resume(heard.call);
    pm_http_call_pause(heard.call);
    peer = engine_peer(world);
    take_request(world, &peer); /* it is sent all the same */
    assert_true(peer_send(world->loop, &peer, HELLO));
    turn_for(world->loop, NULL, 5);
    assert_int_equal(heard.body.n, 0);
    pm_http_call_resume(heard.call);
    TURN_UNTIL(world->loop, &peer, is_over(&heard));
    assert_true(heard.ended);
    peer_close(&peer);
    forget(&heard);
}

static void test_silence_and_dripping_end_with_first_byte_h53d_h63a(void **state)
{
    struct world *world = *state;
    struct pm_http_client_options options = default_options;

    options.first_byte_ms = 40;
    make_client(world, &options);
    for (int drip = 0; drip < 2; drip++) {
        struct heard heard;
        struct peer peer;
        uint64_t begun_ms;
        const char *bytes = OK "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

        turn(world->loop, NULL);
        begun_ms = pm_loop_now_ms(world->loop); /* the clock of the call */
        call(world, &heard);
        peer = engine_peer(world);
        while (!is_over(&heard)) {
            if (drip && *bytes)
                (void)peer_send_n(world->loop, &peer, bytes++, 1);
            turn(world->loop, NULL);
            assert_true(pm_monotonic_ms() < begun_ms + WIRE_DEADLINE_MS);
        }
        assert_true(heard.failed && heard.error == PM_CALL_FIRST_BYTE);
        assert_true(pm_monotonic_ms() - begun_ms >= 39);
        peer_close(&peer);
        forget(&heard);
    }
}

static void test_silence_inside_a_body_ends_with_stream_idle_h63b(void **state)
{
    struct world *world = *state;
    struct pm_http_client_options options = default_options;

    options.stream_idle_ms = 300;
    make_client(world, &options);
    for (int manual = 0; manual < 2; manual++) {
        struct heard heard;
        struct peer peer;
        uint64_t begun_ms;

        call(world, &heard);
        if (manual)
            pm_http_call_manual_idle(heard.call);
        peer = engine_peer(world);
        take_request(world, &peer);
        assert_true(peer_send(world->loop, &peer, OK CHUNKED "\r\n"));
        TURN_UNTIL(world->loop, &peer, heard.n_heads == 1);
        begun_ms = pm_monotonic_ms();
        while (!is_over(&heard) && pm_monotonic_ms() < begun_ms + 700) {
            (void)peer_send(world->loop, &peer,
                            "1\r\n:\r\n"); /* bytes, but are they a sign of life? */
            turn_for(world->loop, NULL, 10);
        }
        assert_int_equal(is_over(&heard), manual);
        TURN_UNTIL(world->loop, &peer, is_over(&heard));
        assert_true(heard.failed && heard.error == PM_CALL_STREAM_IDLE);
        peer_close(&peer);
        forget(&heard);
    }
}

static void test_a_cancelled_call_closes_its_connection_and_says_nothing(void **state)
{
    struct world *world = *state;

    for (int stage = 0; stage < 3; stage++) {
        struct heard heard;
        struct peer peer = {.fd = -1};

        call(world, &heard);
        if (stage)
            peer = engine_peer(world);
        if (stage == 2) {
            assert_true(peer_send(world->loop, &peer, OK CHUNKED "\r\n5\r\nhello\r\n"));
            TURN_UNTIL(world->loop, NULL, heard.body.n == 5);
        }
        pm_http_call_cancel(heard.call);
        heard.call = NULL;
        turn_for(world->loop, NULL, 5);
        assert_false(is_over(&heard));
        if (stage)
            assert_dropped(world, &peer);
        else
            assert_no_connection(world);
        forget(&heard);
    }
}

#define ON_BOTH(test)                                                                              \
    {#test " over tcp", test, setup, teardown, NULL},                                              \
    {                                                                                              \
#test " over a unix socket", test, setup, teardown, (void *)"unix"                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_an_answer_is_passed_and_its_connection_used_again),
        ON_BOTH(test_answers_that_must_pass_do_h54_h58_p16),
        ON_BOTH(test_an_answer_that_ends_with_the_connection_is_whole_and_not_used_again_h61),
        ON_BOTH(test_answers_without_a_body_end_with_their_head_h62),
        ON_BOTH(test_a_head_that_is_not_http_is_a_bad_answer_and_nothing_of_it_is_passed),
        ON_BOTH(test_heads_without_end_and_too_many_interim_answers_are_bad_h53_h54e),
        ON_BOTH(test_sixteen_interim_answers_are_skipped),
        ON_BOTH(test_a_malformed_or_torn_body_is_broken_after_what_was_good_h57_h59_h61),
        cmocka_unit_test_setup_teardown(test_a_reset_does_not_end_an_answer_without_a_length_h61b,
                                        setup, teardown),
        ON_BOTH(test_stray_bytes_end_a_connection_and_are_nobodys_answer_h60),
        ON_BOTH(test_bytes_on_a_kept_connection_drop_it_and_the_next_call_gets_its_own_h60cd),
        ON_BOTH(test_the_connection_used_last_is_used_first_and_few_are_kept),
        ON_BOTH(test_a_kept_connection_is_closed_in_time_and_as_its_engine_says),
        ON_BOTH(test_large_bodies_use_a_fresh_connection),
        ON_BOTH(test_forgetting_an_endpoint_closes_what_was_kept),
        ON_BOTH(test_a_stale_kept_connection_is_replayed_once_and_whole_h59c),
        ON_BOTH(test_an_engine_that_is_gone_for_the_replay_was_reached_h59c),
        ON_BOTH(test_nothing_is_replayed_on_a_fresh_connection_or_after_a_byte_of_an_answer),
        ON_BOTH(test_a_refused_connect_is_said_after_one_more_try),
        cmocka_unit_test(test_an_endpoint_is_a_path_or_a_numeric_address_and_nothing_else),
        ON_BOTH(test_a_full_listen_queue_is_waited_for),
        ON_BOTH(test_a_listen_queue_that_stays_full_ends_with_the_time_to_connect),
        ON_BOTH(test_an_early_answer_passes_while_the_body_is_half_written_h56),
        ON_BOTH(test_an_early_answer_that_goes_on_sends_nothing_more_of_a_freed_body),
        ON_BOTH(test_a_body_that_is_kept_is_sent_to_its_end),
        ON_BOTH(test_a_paused_call_reads_nothing_and_a_finished_engine_does_not_spin_it_h47c),
        ON_BOTH(test_pausing_while_connecting_does_not_lose_the_connection),
        ON_BOTH(test_silence_and_dripping_end_with_first_byte_h53d_h63a),
        ON_BOTH(test_silence_inside_a_body_ends_with_stream_idle_h63b),
        ON_BOTH(test_a_cancelled_call_closes_its_connection_and_says_nothing),
    };

    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
