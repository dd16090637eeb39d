/* SPDX-License-Identifier: Apache-2.0 */
/* The server's times, memory and numbers: what is slow, too much or too many, and what it costs the others. */
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "http/internal.h"
#include "wire_server.h"

#define POST(path) "POST " path " HTTP/1.1\r\nHost: localhost\r\n"
#define GET(path)  "GET " path " HTTP/1.1\r\nHost: localhost\r\n"
#define CHUNKED    "Transfer-Encoding: chunked\r\n"
#define SHORT_MS   150

/* The clocks of the loop and of the test are read at different moments, and cut to milliseconds. */
#define SLACK_MS 3

static struct wire *with(void **state, struct pm_http_server_options options)
{
    struct wire *wire = *state;

    wire_serve(wire, &options);
    return wire;
}

static bool under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return preloaded && strstr(preloaded, "/vgpreload_");
}

static void assert_refused(struct wire *wire, struct peer *peer, const char *code)
{
    pm_auto_free char *object = pm_xasprintf("{\"error\":{\"code\":\"%s\",", code);

    TURN_UNTIL(wire->loop, peer, peer->ended || peer->reset);
    assert_false(peer->reset);
    assert_true(peer_has(peer, object));
    assert_true(peer_has(peer, "\r\nConnection: close\r\n"));
    assert_true(peer_has(peer, "\r\nX-Request-Id: "));
}

/* ---- slow senders ------------------------------------------------------------------------------------ */

static void test_a_dripping_head_is_refused_after_head_and_a_silent_client_just_closed_h45(
    void **state)
{
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer dripping, silent, idle, halfway;
    uint64_t begun_ms = pm_monotonic_ms();
    const char *head =
        GET("/now") "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    options.head_ms = SHORT_MS;
    options.keep_alive_ms = 2 * SHORT_MS;
    wire = with(state, options);
    dripping = wire_peer(wire);
    assert_true(peer_send_n(wire->loop, &dripping, head++, 1)); /* at once: silence is b */
    silent = wire_peer(wire);
    idle = wire_peer(wire);
    halfway = wire_peer(wire);
    assert_true(peer_send(wire->loop, &idle, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &idle, peer_has(&idle, "\r\n\r\nnow"));
    idle.got.n = 0;
    assert_true(peer_send(wire->loop, &halfway, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &halfway, peer_has(&halfway, "\r\n\r\nnow"));
    halfway.got.n = 0;
    assert_true(peer_send(wire->loop, &halfway, "GET /no"));

    while (!dripping.ended && pm_monotonic_ms() < begun_ms + WIRE_DEADLINE_MS) {
        if (*head && !dripping.got.n)
            (void)peer_send_n(wire->loop, &dripping, head++, 1);
        turn(wire->loop, &dripping);
    }
    assert_refused(wire, &dripping, "request_timeout"); /* a */
    assert_true(pm_monotonic_ms() - begun_ms >= SHORT_MS - SLACK_MS);
    TURN_UNTIL(wire->loop, &silent, silent.ended);
    assert_int_equal(silent.got.n, 0); /* b: without a byte */
    assert_refused(wire, &halfway, "request_timeout");
    TURN_UNTIL(wire->loop, &idle, idle.ended);
    assert_int_equal(idle.got.n, 0); /* c: the same, after keep_alive */
    assert_true(pm_monotonic_ms() - begun_ms >= 2 * SHORT_MS - SLACK_MS);
    peer_close(&dripping);
    peer_close(&silent);
    peer_close(&idle);
    peer_close(&halfway);
}

static void test_half_a_body_and_silence_is_refused_after_body_idle_h09_h36c(void **state)
{
    static const char *const starts[] = {
        POST("/later") "Content-Length: 14\r\n\r\n{\"model\":\"m\"}",
        POST("/later") CHUNKED "\r\nd\r\n{\"model\":\"m\"}\r\n",
        POST("/later") CHUNKED "\r\nd\r\n{\"model\":\"m\"}\r\n0\r\n",
        POST("/later") CHUNKED "\r\nd\r\n{\"model\":\"m\"}\r\n0\r\n\r",
        POST("/later") "Expect: 100-continue\r\nContent-Length: 13\r\n\r\n",
    };
    struct pm_http_server_options options = wire_options;
    struct wire *wire;

    options.body_idle_ms = SHORT_MS;
    wire = with(state, options);
    for (size_t i = 0; i < PM_ARRAY_LEN(starts); i++) {
        struct peer peer = wire_peer(wire);
        uint64_t begun_ms = pm_monotonic_ms();

        assert_true(peer_send(wire->loop, &peer, starts[i]));
        assert_refused(wire, &peer, "request_timeout");
        assert_true(pm_monotonic_ms() - begun_ms >= SHORT_MS - SLACK_MS);
        assert_int_equal(peer_has(&peer, "HTTP/1.1 100 Continue\r\n\r\n"), i == 4);
        assert_int_equal(wire->n_gone, i + 1);
        peer_close(&peer);
    }
    assert_int_equal(wire->n_requests, 0);
}

/* An idle timer alone never fires: what counts is the mean. */
static void test_a_body_that_drips_below_the_mean_rate_is_refused_h46(void **state)
{
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peer;
    uint64_t begun_ms;
    size_t sent = 0;

    options.body_idle_ms = SHORT_MS;
    options.body_rate = 10000;
    wire = with(state, options);
    peer = wire_peer(wire);
    begun_ms = pm_monotonic_ms();
    assert_true(peer_send(wire->loop, &peer, POST("/later") "Content-Length: 100000\r\n\r\n"));
    while (!peer.ended && pm_monotonic_ms() < begun_ms + WIRE_DEADLINE_MS) {
        if (!peer.got.n)
            sent += peer_send(wire->loop, &peer, "x");
        turn_for(wire->loop, &peer, SHORT_MS / 10);
    }
    assert_refused(wire, &peer, "request_timeout");
    assert_true(sent > 3); /* it was never silent for long */
    assert_true(pm_monotonic_ms() - begun_ms >= SHORT_MS - SLACK_MS);
    peer_close(&peer);
}

static void test_a_body_above_the_mean_rate_may_take_longer_than_body_idle(void **state)
{
    enum { STEPS = 12, STEP = 1000 };
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peer;
    char piece[STEP];

    memset(piece, 'x', sizeof(piece));
    options.body_idle_ms = 4 * SHORT_MS;
    options.body_rate = 1000;
    wire = with(state, options);
    peer = wire_peer(wire);
    assert_true(peer_send(wire->loop, &peer, POST("/echo") "Content-Length: 12000\r\n\r\n"));
    for (int i = 0; i < STEPS; i++) {
        assert_true(peer_send_n(wire->loop, &peer, piece, STEP));
        turn_for(wire->loop, &peer, SHORT_MS / 2);
    }
    TURN_UNTIL(wire->loop, &peer, peer.got.n > STEPS * STEP);
    assert_true(pm_str_starts(peer_text(&peer), "HTTP/1.1 200 "));
    peer_close(&peer);
}

/* ---- slow readers ------------------------------------------------------------------------------------ */

static void test_a_client_that_reads_nothing_is_reset_after_write_stall_h47a(void **state)
{
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peer;
    uint64_t n_turns;

    options.write_stall_ms = 2 * SHORT_MS;
    wire = with(state, options);
    wire->flood_total = 300u << 20;
    peer = wire_peer(wire);
    assert_true(peer_send(wire->loop, &peer, GET("/flood") "\r\n"));
    TURN_UNTIL(wire->loop, NULL, wire->queued_max > PM_EXCHANGE_QUEUE_HIGH);
    turn_for(wire->loop, NULL, 5);
    n_turns = pm_loop_turns(wire->loop);
    assert_int_equal(pm_loop_turn(wire->loop, 20), 0);
    assert_int_equal(pm_loop_turns(wire->loop), n_turns + 1); /* it costs nothing meanwhile */
    assert_true(wire->flood_sent < 32u << 20);                /* the other side was not read */
    TURN_UNTIL(wire->loop, NULL, wire->n_gone == 1);
    assert_int_equal(wire_connections(wire), 0);
    TURN_UNTIL(wire->loop, &peer, peer.reset || (wire->is_unix && peer.ended));
    peer_close(&peer);
}

static void test_a_client_that_reads_slowly_goes_on_h47b(void **state)
{
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peer;
    char buffer[32 * 1024];
    size_t got = 0;

    options.write_stall_ms = 2 * SHORT_MS;
    wire = with(state, options);
    wire->flood_total = 300u << 20;
    peer = wire_peer(wire);
    assert_true(peer_send(wire->loop, &peer, GET("/flood") "\r\n"));
    TURN_UNTIL(wire->loop, NULL, wire->queued_max > PM_EXCHANGE_QUEUE_HIGH);
    for (int i = 0; i < 40; i++) { /* 4 times write_stall in all */
        ssize_t n = recv(peer.fd, buffer, sizeof(buffer), MSG_DONTWAIT);

        got += n > 0 ? (size_t)n : 0;
        turn_for(wire->loop, NULL, SHORT_MS / 5);
    }
    assert_int_equal(wire->n_gone, 0);
    assert_true(got > 0);
    peer_close(&peer);
}

/* The time of a stall begins when a write is short, not when the last one succeeded long ago. */
static void test_a_pause_of_the_producer_is_no_stall_of_the_client(void **state)
{
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peer;
    static char block[8 << 20];

    options.write_stall_ms = 6 * SHORT_MS; /* far more than what is waited for after the send */
    wire = with(state, options);
    peer = wire_peer(wire);
    assert_true(peer_send(wire->loop, &peer, GET("/later") "\r\n"));
    TURN_UNTIL(wire->loop, &peer, wire->n_requests == 1);
    pm_exchange_begin(wire->last, 200, NULL, 0, false, 0);
    pm_exchange_send(wire->last, "first", 5);
    turn_for(wire->loop, &peer, 7 * SHORT_MS);
    pm_exchange_send(wire->last, block, sizeof(block));
    turn_for(wire->loop, NULL, SHORT_MS / 2);
    assert_int_equal(wire->n_gone, 0);
    peer_close(&peer);
}

/* ---- memory ------------------------------------------------------------------------------------------ */

static void test_bodies_over_the_budget_wait_in_their_order_h49a(void **state)
{
    enum { BODIES = 4, SIZE = 1000 };
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peers[BODIES];
    char body[SIZE];
    struct pm_http_server_counters counters;

    memset(body, 'x', sizeof(body));
    options.body_memory = 2 * SIZE + 1;
    wire = with(state, options);
    for (int i = 0; i < BODIES; i++) {
        pm_auto_free char *head =
            pm_xasprintf(POST("/echo") "X-Request-Id: n%d\r\nContent-Length: %d\r\n\r\n", i, SIZE);

        peers[i] = wire_peer(wire);
        assert_true(peer_send(wire->loop, &peers[i], head));
        assert_true(peer_send_n(wire->loop, &peers[i], body, SIZE - 1));
        TURN_UNTIL(wire->loop, &peers[i], wire->n_heads == (unsigned)i + 1);
        turn_for(wire->loop, &peers[i], 5);
    }
    pm_http_server_counters(wire->server, &counters);
    assert_int_equal(counters.body_bytes, 2 * SIZE); /* two are read, two are held back */
    for (int i = 0; i < BODIES; i++) {
        assert_true(peer_send(wire->loop, &peers[i], "."));
        TURN_UNTIL(wire->loop, &peers[i], peers[i].got.n > SIZE);
        assert_true(pm_str_starts(peer_text(&peers[i]), "HTTP/1.1 200 "));
        assert_int_equal(wire->n_requests, i + 1); /* nobody overtook */
        peer_close(&peers[i]);
    }
    turn(wire->loop, NULL);
    pm_http_server_counters(wire->server, &counters);
    assert_int_equal(counters.body_bytes, 0);
}

static void test_a_body_that_finds_no_memory_in_time_is_refused_h49a(void **state)
{
    static const char *const seconds[] = {
        POST("/echo") "Content-Length: 1000\r\n\r\nx",
        POST("/echo") CHUNKED "\r\n3e8\r\nx",
        POST("/echo") "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
    };
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer first;
    uint64_t n_turns, begun_ms;

    options.body_memory = 1000;
    options.body_idle_ms = 2 * SHORT_MS;
    options.body_rate = 1;
    wire = with(state, options);
    first = wire_peer(wire);
    assert_true(peer_send(wire->loop, &first, POST("/echo") "Content-Length: 1000\r\n\r\nx"));
    TURN_UNTIL(wire->loop, &first, wire->n_bodies == 1);
    for (size_t i = 0; i < PM_ARRAY_LEN(seconds); i++) {
        struct peer second = wire_peer(wire);

        begun_ms = pm_monotonic_ms();
        assert_true(peer_send(wire->loop, &second, seconds[i]));
        turn_for(wire->loop, &second, 5);
        assert_true(peer_send(wire->loop, &first, "x")); /* the first is alive */
        turn_for(wire->loop, &second, 5);
        n_turns = pm_loop_turns(wire->loop);
        assert_int_equal(pm_loop_turn(wire->loop, 10), 0);
        assert_int_equal(pm_loop_turns(wire->loop), n_turns + 1);
        while (!second.ended) {
            assert_true(pm_monotonic_ms() < begun_ms + WIRE_DEADLINE_MS);
            (void)peer_send(wire->loop, &first, "x");
            turn_for(wire->loop, &second, SHORT_MS / 10);
        }
        assert_refused(wire, &second, "overloaded");
        assert_true(peer_has(&second, "\r\nRetry-After: "));
        assert_false(peer_has(&second, "100 Continue"));
        assert_true(pm_monotonic_ms() - begun_ms >= 2 * SHORT_MS - SLACK_MS);
        peer_close(&second);
    }
    peer_close(&first);
}

static void test_a_held_client_that_leaves_is_seen_and_the_next_one_served(void **state)
{
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer first, second, third;

    options.body_memory = 1000;
    wire = with(state, options);
    first = wire_peer(wire);
    second = wire_peer(wire);
    third = wire_peer(wire);
    assert_true(peer_send(wire->loop, &first, POST("/echo") "Content-Length: 1000\r\n\r\nx"));
    TURN_UNTIL(wire->loop, NULL, wire->n_heads == 1);
    assert_true(peer_send(wire->loop, &second, POST("/echo") "Content-Length: 1000\r\n\r\nx"));
    TURN_UNTIL(wire->loop, NULL, wire->n_heads == 2);
    assert_true(peer_send(wire->loop, &third, POST("/echo") "Content-Length: 5\r\n\r\nthird"));
    TURN_UNTIL(wire->loop, NULL, wire->n_heads == 3);
    peer_close(&second);
    TURN_UNTIL(wire->loop, NULL, wire->n_gone == 1);
    peer_close(&first);
    TURN_UNTIL(wire->loop, &third, peer_has(&third, "\r\n\r\nthird"));
    peer_close(&third);
}

static void test_a_million_chunks_of_one_byte_take_linear_time_h49b(void **state)
{
    enum { CHUNKS = 1000000 };
    struct wire *wire = *state;
    struct peer peer = wire_peer(wire);
    struct pm_buf bytes = {0};

    pm_buf_adds(&bytes, POST("/echo") CHUNKED "\r\n");
    for (int i = 0; i < CHUNKS; i++)
        pm_buf_add(&bytes, "1\r\nx\r\n", 6);
    pm_buf_adds(&bytes, "0\r\n\r\n");
    assert_true(peer_send_n(wire->loop, &peer, bytes.data, bytes.n));
    TURN_UNTIL(wire->loop, &peer, peer.got.n > CHUNKS);
    assert_true(peer_has(&peer, "Content-Length: 1000000\r\n"));
    pm_buf_fini(&bytes);
    peer_close(&peer);
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

static void test_one_connection_too_many_is_told_so_and_let_in_when_one_leaves_h48b(void **state)
{
    enum { LIMIT = 3 };
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peers[LIMIT], more;

    options.connections_max = LIMIT;
    wire = with(state, options);
    for (int i = 0; i < LIMIT; i++) {
        peers[i] = wire_peer(wire);
        assert_true(peer_send(wire->loop, &peers[i], GET("/later") "\r\n"));
        TURN_UNTIL(wire->loop, NULL, wire->n_requests == (unsigned)i + 1);
    }
    pm_exchange_begin(wire->last, 200, NULL, 0, false, 0);
    for (int i = 0; i < 2; i++) {
        more = wire_peer(wire);
        (void)peer_send(wire->loop, &more, GET("/now") "\r\n"); /* no reset overtakes the answer */
        assert_refused(wire, &more, "overloaded");
        assert_true(peer_has(&more, "\r\nRetry-After: 1\r\n"));
        peer_close(&more);
    }
    pm_exchange_send(wire->last, "unhurt", 6);
    TURN_UNTIL(wire->loop, &peers[LIMIT - 1], peer_has(&peers[LIMIT - 1], "unhurt"));
    peer_close(&peers[0]);
    TURN_UNTIL(wire->loop, NULL, wire_connections(wire) == LIMIT - 1);
    more = wire_peer(wire);
    assert_true(peer_send(wire->loop, &more, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &more, peer_has(&more, "\r\n\r\nnow"));
    peer_close(&more);
    for (int i = 1; i < LIMIT; i++)
        peer_close(&peers[i]);
}

/* Callers that were told and do not leave are not to keep out those for whom there is room. */
static void test_who_was_turned_away_takes_no_place_h48b(void **state)
{
    enum { N_TURNED = 5 };
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer inside, turned[N_TURNED], next;

    options.connections_max = 1;
    wire = with(state, options);
    inside = wire_peer(wire);
    assert_true(peer_send(wire->loop, &inside, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &inside, peer_has(&inside, "\r\n\r\nnow"));
    for (int i = 0; i < N_TURNED; i++) {
        turned[i] = wire_peer(wire);
        assert_refused(wire, &turned[i], "overloaded");
    }
    peer_close(&inside);
    TURN_UNTIL(wire->loop, NULL,
               wire_connections(wire) == N_TURNED); /* all that were told linger */
    next = wire_peer(wire);
    assert_true(peer_send(wire->loop, &next, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &next, peer_has(&next, "\r\n\r\nnow"));
    for (int i = 0; i < N_TURNED; i++)
        peer_close(&turned[i]);
    peer_close(&next);
}

static void test_without_descriptors_callers_are_told_and_the_loop_rests_h48b(void **state)
{
    struct wire *wire = *state;
    struct peer running = wire_peer(wire), refused, later;
    struct rlimit former, tight;
    uint64_t n_turns;
    int fd;

    if (under_valgrind())
        return; /* it has a limit of its own, and closes what the kernel accepted beyond it */
    assert_true(peer_send(wire->loop, &running, GET("/later") "\r\n"));
    TURN_UNTIL(wire->loop, NULL, wire->n_requests == 1);
    refused = wire_peer(wire);
    later = wire_peer(wire);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &former), 0);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    tight = former;
    tight.rlim_cur = (rlim_t)fd; /* every number below is in use */
    (void)close(fd);
    tight.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    TURN_UNTIL(wire->loop, &refused, refused.ended || refused.reset);
    TURN_UNTIL(wire->loop, &later, later.ended || later.reset);
    n_turns = pm_loop_turns(wire->loop);
    assert_int_equal(pm_loop_turn(wire->loop, 20), 0);
    assert_int_equal(pm_loop_turns(wire->loop), n_turns + 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &former), 0);
    assert_refused(wire, &refused, "overloaded");
    {
        const char *body = strstr(peer_text(&refused), "\r\n\r\n") + 4;
        pm_auto_free char *length = pm_xasprintf("\r\nContent-Length: %zu\r\n", strlen(body));

        assert_true(peer_has(&refused, length));
    }
    pm_exchange_respond(wire->last, 200, NULL, 0, "unhurt", 6);
    TURN_UNTIL(wire->loop, &running, peer_has(&running, "unhurt"));
    peer_close(&refused);
    peer_close(&later);
    later = wire_peer(wire); /* and it accepts again */
    assert_true(peer_send(wire->loop, &later, GET("/now") "\r\n"));
    TURN_UNTIL(wire->loop, &later, peer_has(&later, "\r\n\r\nnow"));
    peer_close(&later);
    peer_close(&running);
}

/* Ten thousand bytes one by one are no reason to set a timer anew: the stamp moves, the timer looks later. */
static void test_bytes_do_not_move_the_timer_but_its_deadline(void **state)
{
    struct pm_http_server_options options = wire_options;
    struct wire *wire;
    struct peer peer;
    uint64_t order;

    options.body_idle_ms = 500;
    options.body_rate = 0;
    wire = with(state, options);
    peer = wire_peer(wire);
    assert_true(peer_send(wire->loop, &peer, POST("/later") "Content-Length: 1000\r\n\r\nx"));
    TURN_UNTIL(wire->loop, NULL, wire->n_bodies == 1);
    order = wire->last->timer.node.order;
    for (int i = 0; i < 100; i++) {
        assert_true(peer_send(wire->loop, &peer, "x"));
        assert_int_equal(pm_loop_turn(wire->loop, 1), 0);
    }
    assert_true(wire->n_bodies > 10);
    assert_int_equal(wire->last->timer.node.order, order);
    peer_close(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_a_dripping_head_is_refused_after_head_and_a_silent_client_just_closed_h45),
        ON_BOTH(test_half_a_body_and_silence_is_refused_after_body_idle_h09_h36c),
        ON_BOTH(test_a_body_that_drips_below_the_mean_rate_is_refused_h46),
        ON_BOTH(test_a_body_above_the_mean_rate_may_take_longer_than_body_idle),
        ON_BOTH(test_a_client_that_reads_nothing_is_reset_after_write_stall_h47a),
        ON_BOTH(test_a_client_that_reads_slowly_goes_on_h47b),
        ON_BOTH(test_a_pause_of_the_producer_is_no_stall_of_the_client),
        ON_BOTH(test_bodies_over_the_budget_wait_in_their_order_h49a),
        ON_BOTH(test_a_body_that_finds_no_memory_in_time_is_refused_h49a),
        ON_BOTH(test_a_held_client_that_leaves_is_seen_and_the_next_one_served),
        ON_BOTH(test_a_million_chunks_of_one_byte_take_linear_time_h49b),
        ON_BOTH(test_one_connection_too_many_is_told_so_and_let_in_when_one_leaves_h48b),
        ON_BOTH(test_who_was_turned_away_takes_no_place_h48b),
        ON_BOTH(test_without_descriptors_callers_are_told_and_the_loop_rests_h48b),
        ON_BOTH(test_bytes_do_not_move_the_timer_but_its_deadline),
    };

    return cmocka_run_group_tests_name("server limits", tests, NULL, NULL);
}
