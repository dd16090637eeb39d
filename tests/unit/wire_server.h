/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for tests, on TCP and on a Unix socket. What its handler does is said by the target's first letters:
 *
 *     /now     answers 200 "now" when it sees the head
 *     /refuse  refuses with 404 not_found when it sees the head
 *     /bare    answers 204
 *     /fill    answers 200 with 4 KiB, the last of which are "filled"
 *     /later   is left to the test, in wire->last
 *     /flood   sends wire->flood_total bytes in chunks, as fast as the client reads
 *     others   200 with the body that came, when the request is whole
 */
#ifndef TESTS_UNIT_WIRE_SERVER_H
#define TESTS_UNIT_WIRE_SERVER_H

#include "http/refusal.h"
#include "http/server.h"
#include "wire.h"

struct wire {
    struct pm_loop *loop;
    struct pm_http_server *server;
    bool is_unix;
    char folder[64];
    const char *address;
    struct pm_exchange *last; /* the newest that was not ended; NULL once it is gone */
    unsigned n_heads, n_bodies, n_requests, n_gone, n_drained, n_refused;
    int refused_status;
    uint64_t flood_total, flood_sent;
    size_t queued_max;
};

static const struct pm_http_server_options wire_options = {
    .body_max = 64u << 20,
    .body_memory = 512u << 20,
    .body_rate = 256,
    .head_ms = 10000,
    .body_idle_ms = 10000,
    .write_stall_ms = 10000,
    .keep_alive_ms = 10000,
};

static bool target_is(const struct pm_exchange *exchange, const char *prefix)
{
    struct pm_slice target = pm_exchange_head(exchange)->target;

    return target.n >= strlen(prefix) && memcmp(target.p, prefix, strlen(prefix)) == 0;
}

static void wire_on_head(struct pm_exchange *exchange, void *ctx)
{
    struct wire *wire = ctx;
    struct poolmgr_error error = {0};
    char fill[4096];

    wire->n_heads++;
    wire->last = NULL;
    if (target_is(exchange, "/now")) {
        pm_exchange_respond(exchange, 200, NULL, 0, "now", 3);
    } else if (target_is(exchange, "/fill")) {
        memset(fill, '.', sizeof(fill));
        memcpy(fill + sizeof(fill) - 6, "filled", 6);
        pm_exchange_respond(exchange, 200, NULL, 0, fill, sizeof(fill));
    } else if (target_is(exchange, "/refuse")) {
        (void)pm_fail(&error, POOLMGR_E_NOT_FOUND, "nothing is here");
        pm_exchange_refuse(exchange, &error, "");
    } else {
        wire->last = exchange;
    }
}

static void wire_on_body(struct pm_exchange *exchange, const char *data, size_t n, void *ctx)
{
    struct wire *wire = ctx;
    struct poolmgr_error error = {0};

    (void)data;
    assert_true(n > 0);
    wire->n_bodies++;
    if (target_is(exchange, "/enough")) {
        wire->last = NULL;
        (void)pm_fail(&error, POOLMGR_E_INVALID_REQUEST, "that is enough");
        pm_exchange_refuse(exchange, &error, "");
    }
}

static void wire_flood(struct wire *wire)
{
    static char block[16 * 1024];

    memset(block, 'x', sizeof(block));
    while (wire->last && wire->flood_sent < wire->flood_total &&
           pm_exchange_queued(wire->last) <= PM_EXCHANGE_QUEUE_HIGH) {
        wire->flood_sent += sizeof(block);
        pm_exchange_send(wire->last, block, sizeof(block));
        if (pm_exchange_queued(wire->last) > wire->queued_max)
            wire->queued_max = pm_exchange_queued(wire->last);
    }
    if (wire->last && wire->flood_sent >= wire->flood_total) {
        struct pm_exchange *exchange = wire->last;

        wire->last = NULL;
        pm_exchange_end(exchange);
    }
}

static void wire_on_request(struct pm_exchange *exchange, void *ctx)
{
    struct wire *wire = ctx;
    const struct iovec *pieces;
    size_t n_pieces;
    struct pm_buf body = {0};

    wire->n_requests++;
    if (target_is(exchange, "/later"))
        return;
    if (target_is(exchange, "/flood")) {
        wire->flood_sent = 0;
        pm_exchange_begin(exchange, 200, NULL, 0, false, 0);
        wire_flood(wire);
        return;
    }
    wire->last = NULL;
    if (target_is(exchange, "/bare")) {
        pm_exchange_respond(exchange, 204, NULL, 0, NULL, 0);
        return;
    }
    (void)pm_exchange_body(exchange, &pieces, &n_pieces);
    for (size_t i = 0; i < n_pieces; i++)
        pm_buf_add(&body, pieces[i].iov_base, pieces[i].iov_len);
    pm_exchange_respond(exchange, 200, NULL, 0, body.data, body.n);
    pm_buf_fini(&body);
}

static void wire_on_gone(struct pm_exchange *exchange, void *ctx)
{
    struct wire *wire = ctx;

    wire->n_gone++;
    if (wire->last == exchange)
        wire->last = NULL;
}

static void wire_on_drained(struct pm_exchange *exchange, void *ctx)
{
    struct wire *wire = ctx;

    wire->n_drained++;
    if (wire->last == exchange && target_is(exchange, "/flood"))
        wire_flood(wire);
}

static void wire_on_refused(int status, void *ctx)
{
    struct wire *wire = ctx;

    wire->n_refused++;
    wire->refused_status = status;
}

static const struct pm_http_handler wire_handler = {
    .on_head = wire_on_head,
    .on_body = wire_on_body,
    .on_request = wire_on_request,
    .on_gone = wire_on_gone,
    .on_drained = wire_on_drained,
    .on_refused = wire_on_refused,
};

/* Makes the server, or makes it anew with other options. */
WIRE_HELPER void wire_serve(struct wire *wire, const struct pm_http_server_options *options)
{
    pm_auto_free char *address =
        wire->is_unix ? pm_xasprintf("unix:%s/s", wire->folder) : pm_xstrdup("127.0.0.1:0");

    pm_http_server_free(wire->server);
    turn(wire->loop, NULL);
    assert_int_equal(
        pm_http_server_new(wire->loop, options, &wire_handler, wire, &wire->server, NULL), 0);
    assert_int_equal(pm_http_server_listen(wire->server, address, 0600, NULL), 0);
    wire->address = pm_http_server_address(wire->server, 0);
}

WIRE_HELPER struct peer wire_peer(struct wire *wire)
{
    return peer_connect(wire->address);
}

WIRE_HELPER uint64_t wire_connections(const struct wire *wire)
{
    struct pm_http_server_counters counters;

    pm_http_server_counters(wire->server, &counters);
    return counters.connections;
}

/* The prestate is not NULL for Unix sockets. */
WIRE_HELPER int wire_setup(void **state)
{
    struct wire *wire = pm_xalloc(sizeof(*wire));

    wire->is_unix = *state != NULL;
    make_folder(wire->folder, sizeof(wire->folder));
    if (pm_loop_new(&wire->loop, NULL) < 0)
        return -1;
    wire_serve(wire, &wire_options);
    *state = wire;
    return 0;
}

WIRE_HELPER int wire_teardown(void **state)
{
    struct wire *wire = *state;

    pm_http_server_free(wire->server);
    pm_loop_free(wire->loop);
    remove_folder(wire->folder, (const char *const[]){"s"}, 1);
    free(wire);
    return 0;
}

/* Each test runs over TCP and over a Unix socket. */
#define ON_BOTH(test)                                                                              \
    {#test " over tcp", test, wire_setup, wire_teardown, NULL},                                    \
    {                                                                                              \
#test " over a unix socket", test, wire_setup, wire_teardown, (void *)"unix"               \
    }

#endif
