/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets for the tests of server and client: one loop, peers that are plain descriptors, and waits that turn the
 * loop until something is so. A wait that is never fulfilled fails after WIRE_DEADLINE_MS; nothing sleeps.
 */
#ifndef TESTS_UNIT_WIRE_H
#define TESTS_UNIT_WIRE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/cleanup.h"
#include "util/loop.h"
#include "util/str.h"
#include "util/time.h"

#define WIRE_DEADLINE_MS 20000

#define WIRE_HELPER static __attribute__((__unused__))

/* One end of a connection that the test holds itself. */
struct peer {
    int fd;
    struct pm_buf got;
    bool ended, reset; /* FIN, RST seen */
};

WIRE_HELPER void peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        (void)close(peer->fd);
    peer->fd = -1;
    pm_buf_fini(&peer->got);
}

/* Closes with RST (TCP); over a Unix socket it is a plain close. */
WIRE_HELPER void peer_reset(struct peer *peer)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    peer_close(peer);
}

/* Reads what is there. */
WIRE_HELPER void peer_pump(struct peer *peer)
{
    char buffer[64 * 1024];
    ssize_t n;

    if (peer->fd < 0 || peer->ended || peer->reset)
        return;
    while ((n = recv(peer->fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
        pm_buf_add(&peer->got, buffer, (size_t)n);
    if (n == 0)
        peer->ended = true;
    else if (errno != EAGAIN && errno != EINTR)
        peer->reset = true;
}

WIRE_HELPER const char *peer_text(struct peer *peer)
{
    return pm_buf_text(&peer->got);
}

WIRE_HELPER bool peer_has(struct peer *peer, const char *text)
{
    return peer->got.n && memmem(peer->got.data, peer->got.n, text, strlen(text));
}

WIRE_HELPER bool peer_tail_has(struct peer *peer, size_t n_tail, const char *text)
{
    size_t n = peer->got.n < n_tail ? peer->got.n : n_tail;

    return n && memmem(peer->got.data + peer->got.n - n, n, text, strlen(text));
}

WIRE_HELPER size_t count_text(const struct pm_buf *buf, const char *text)
{
    const char *at = buf->data, *end = buf->data + buf->n;
    size_t n = 0;

    while (at && at < end && (at = memmem(at, (size_t)(end - at), text, strlen(text)))) {
        n++;
        at += strlen(text);
    }
    return n;
}

/* Turns the loop once, and reads what came for the peer (which may be NULL). */
WIRE_HELPER void turn(struct pm_loop *loop, struct peer *peer)
{
    assert_int_equal(pm_loop_turn(loop, 2), 0);
    if (peer)
        peer_pump(peer);
}

#define TURN_UNTIL(loop, peer, condition)                                                          \
    do {                                                                                           \
        uint64_t end_ms_ = pm_monotonic_ms() + WIRE_DEADLINE_MS;                                   \
        while (!(condition)) {                                                                     \
            if (pm_monotonic_ms() > end_ms_)                                                       \
                fail_msg("never so: %s", #condition);                                              \
            turn(loop, peer);                                                                      \
        }                                                                                          \
    } while (0)

/* Turns for this long; for what must not happen meanwhile. */
WIRE_HELPER void turn_for(struct pm_loop *loop, struct peer *peer, uint64_t ms)
{
    uint64_t end_ms = pm_monotonic_ms() + ms;

    while (pm_monotonic_ms() < end_ms)
        turn(loop, peer);
}

/* Sends all of it, turning the loop while the other side does not read. False: the connection is gone. */
WIRE_HELPER bool peer_send_n(struct pm_loop *loop, struct peer *peer, const char *data, size_t n)
{
    uint64_t end_ms = pm_monotonic_ms() + WIRE_DEADLINE_MS;

    while (n > 0) {
        ssize_t sent = send(peer->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent > 0) {
            data += sent;
            n -= (size_t)sent;
            continue;
        }
        if (pm_monotonic_ms() > end_ms)
            fail_msg("the other side does not read");
        turn(loop, NULL);
    }
    return true;
}

WIRE_HELPER bool peer_send(struct pm_loop *loop, struct peer *peer, const char *text)
{
    return peer_send_n(loop, peer, text, strlen(text));
}

/* Connects to "127.0.0.1:port" or "unix:/path". */
WIRE_HELPER struct peer peer_connect(const char *address)
{
    struct peer peer = {.fd = -1};

    if (pm_str_starts(address, "unix:")) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};

        assert_true(pm_str_copy(un.sun_path, sizeof(un.sun_path), address + 5));
        peer.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(peer.fd, (struct sockaddr *)&un, sizeof(un)), 0);
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET};

        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
        peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(peer.fd, (struct sockaddr *)&in, sizeof(in)), 0);
    }
    return peer;
}

/* A folder for sockets; removed with what is in it by remove_folder(). */
WIRE_HELPER void make_folder(char *path, size_t size)
{
    (void)snprintf(path, size, "/tmp/pm-wire-XXXXXX");
    assert_non_null(mkdtemp(path));
}

WIRE_HELPER void remove_folder(const char *path, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pm_auto_free char *file = pm_xasprintf("%s/%s", path, names[i]);

        (void)unlink(file);
    }
    (void)rmdir(path);
}

/* Text with C escapes that may hold zero bytes. */
#define BYTES(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

#endif
