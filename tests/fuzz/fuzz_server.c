/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a client sends, over a real socket to the real server. However they are cut, the same requests
 * must come out; what goes back is nothing but whole answers; and when the client is gone nothing is left of it. The
 * first byte says how the bytes are cut, the rest are the bytes.
 */
#include <assert.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/internal.h"
#include "http/refusal.h"

#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the handler saw: method, target and body of each request. */
struct seen {
    struct pm_buf requests;
    unsigned n_begun, n_ended;
};

static void on_head(struct pm_exchange *exchange, void *ctx)
{
    struct seen *seen = ctx;

    seen->n_begun++;
    assert(pm_exchange_request_id(exchange)[0]);
    if (pm_exchange_head(exchange)->target.n > 1 &&
        pm_exchange_head(exchange)->target.p[1] == 'r') {
        struct poolmgr_error error = {.code = POOLMGR_E_NOT_FOUND, .message = "nothing is here"};

        seen->n_ended++;
        pm_buf_adds(&seen->requests, "refused ");
        pm_exchange_refuse(exchange, &error, "");
    }
}

static void on_request(struct pm_exchange *exchange, void *ctx)
{
    struct seen *seen = ctx;
    const struct pm_http_head *head = pm_exchange_head(exchange);
    const struct iovec *pieces;
    size_t n_pieces, n = pm_exchange_body(exchange, &pieces, &n_pieces), sum = 0;

    pm_buf_addf(&seen->requests, "%s %.*s %zu ", pm_http_method_name(head->method),
                (int)head->target.n, head->target.p, n);
    for (size_t i = 0; i < n_pieces; i++) {
        pm_buf_add(&seen->requests, pieces[i].iov_base, pieces[i].iov_len);
        sum += pieces[i].iov_len;
    }
    assert(sum == n);
    seen->n_ended++;
    pm_exchange_respond(exchange, 200, NULL, 0, "answer", 6);
}

static void on_gone(struct pm_exchange *exchange, void *ctx)
{
    struct seen *seen = ctx;

    (void)exchange;
    seen->n_ended++;
}

static const struct pm_http_handler handler = {
    .on_head = on_head,
    .on_request = on_request,
    .on_gone = on_gone,
};

static void turn_while_busy(struct pm_loop *loop)
{
    struct pollfd p = {.fd = pm_loop_fd(loop), .events = POLLIN};

    do
        (void)pm_loop_turn(loop, 0);
    while (poll(&p, 1, 0) == 1);
}

static void read_answers(int fd, struct pm_buf *to)
{
    char buffer[4096];
    ssize_t n;

    while ((n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
        pm_buf_add(to, buffer, (size_t)n);
}

/* Whole answers, one behind the other; only the last may lack its body (to a HEAD that was refused). */
static void check_answers(const struct pm_buf *answers)
{
    static struct pm_http_head head;
    size_t at = 0;

    while (at < answers->n) {
        struct pm_http_scan scan = {0};
        const char *from = answers->data + at;
        long n = pm_http_parse_response(from, answers->n - at, &scan, PM_GET, &head);
        bool bodyless;

        assert(n > 0);
        at += (size_t)n;
        bodyless = at == answers->n ||
                   (answers->n - at >= 9 && memcmp(answers->data + at, "HTTP/1.1 ", 9) == 0);
        assert(head.framing == PM_BODY_NONE || head.framing == PM_BODY_LENGTH);
        if (head.framing == PM_BODY_LENGTH && !bodyless)
            at += head.content_length;
    }
    assert(at == answers->n);
}

static void serve(const uint8_t *data, size_t size, size_t step, struct seen *seen)
{
    static const struct pm_http_server_options options = {
        .body_max = 2048,
        .body_memory = 1u << 20,
        .connections_max = 4,
        .head_ms = 60000,
        .body_idle_ms = 60000,
        .write_stall_ms = 60000,
        .keep_alive_ms = 60000,
    };
    static const struct listener listener = {.is_unix = true, .address = "unix:test"};
    struct pm_http_server_counters counters;
    struct pm_http_server *server = NULL;
    struct pm_loop *loop = NULL;
    struct pm_buf answers = {0};
    int pair[2], r;

    r = pm_loop_new(&loop, NULL);
    assert(r == 0);
    r = pm_http_server_new(loop, &options, &handler, seen, &server, NULL);
    assert(r == 0);
    r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
    assert(r == 0);
    (void)pm_connection_new(server, &listener, pair[0]);

    for (size_t at = 0; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;

        if (send(pair[1], data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break; /* the server has said its last word */
        turn_while_busy(loop);
        read_answers(pair[1], &answers);
    }
    check_answers(&answers);
    (void)close(pair[1]);
    turn_while_busy(loop);
    pm_http_server_counters(server, &counters);
    assert(counters.connections == 0);
    assert(counters.body_bytes == 0);
    assert(seen->n_begun == seen->n_ended); /* each owner heard of its exchange's end */
    pm_http_server_free(server);
    pm_loop_free(loop);
    pm_buf_fini(&answers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0}, cut = {0};

    if (size < 2 || size > INPUT_MAX)
        return 0;
    serve(data + 1, size - 1, size - 1, &whole);
    serve(data + 1, size - 1, 1 + data[0] % 64u, &cut);
    assert(whole.requests.n == cut.requests.n);
    assert(whole.requests.n == 0 ||
           memcmp(whole.requests.data, cut.requests.data, cut.requests.n) == 0);
    pm_buf_fini(&whole.requests);
    pm_buf_fini(&cut.requests);
    return 0;
}
