/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what an engine answers, over a real socket to the real client. However they are cut, the caller hears
 * the same: at most one head, then bytes, then exactly one end or one error. The first byte says how the bytes are
 * cut and whether HEAD was asked, the rest are the bytes; then the engine closes.
 */
#include <assert.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/client.h"
#include "util/buf.h"

#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    struct pm_buf body;
    int status, n_ends;
    int outcome; /* 1: an end; else minus the error */
};

static void on_head(void *ctx, const struct pm_http_head *head)
{
    struct heard *heard = ctx;

    assert(heard->status == 0 && heard->n_ends == 0);
    assert(head->status >= 200 && head->status <= 599);
    heard->status = head->status;
}

static void on_body(void *ctx, const char *data, size_t n)
{
    struct heard *heard = ctx;

    assert(heard->status && heard->n_ends == 0 && n > 0);
    pm_buf_add(&heard->body, data, n);
}

static void on_end(void *ctx)
{
    struct heard *heard = ctx;

    assert(heard->status);
    heard->n_ends++;
    heard->outcome = 1;
}

static void on_error(void *ctx, enum pm_call_error error, const char *text)
{
    struct heard *heard = ctx;

    (void)text;
    heard->n_ends++;
    heard->outcome = -(int)error;
}

static const struct pm_http_call_handler handler = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
};

static int listen_fd = -1;
static char folder[] = "/tmp/pm-fuzz-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void remove_socket(void)
{
    (void)unlink(address.sun_path);
    (void)rmdir(folder);
}

static void listen_once(void)
{
    int r;

    if (listen_fd >= 0)
        return;
    if (!mkdtemp(folder))
        abort();
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/e", folder);
    listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    r = bind(listen_fd, (struct sockaddr *)&address, sizeof(address));
    assert(r == 0);
    r = listen(listen_fd, 8);
    assert(r == 0);
    (void)atexit(remove_socket);
}

static void turn_while_busy(struct pm_loop *loop)
{
    struct pollfd p = {.fd = pm_loop_fd(loop), .events = POLLIN};

    do
        (void)pm_loop_turn(loop, 0);
    while (poll(&p, 1, 0) == 1);
}

static void answer(const uint8_t *data, size_t size, size_t step, bool only_head,
                   struct heard *heard)
{
    static const struct pm_http_client_options options = {
        .idle_max = 2,
        .idle_ms = 60000,
        .connect_ms = 60000,
        .first_byte_ms = 60000,
        .stream_idle_ms = 60000,
    };
    static const char head[] = "GET / HTTP/1.1\r\nHost: engine\r\n\r\n";
    struct pm_http_client *client = NULL;
    struct pm_loop *loop = NULL;
    char endpoint[128];
    int fd, r;

    r = pm_loop_new(&loop, NULL);
    assert(r == 0);
    r = pm_http_client_new(loop, &options, &client, NULL);
    assert(r == 0);
    (void)snprintf(endpoint, sizeof(endpoint), "unix:%s", address.sun_path);
    (void)pm_http_call_new(client, endpoint, only_head ? PM_HEAD : PM_GET, head, sizeof(head) - 1,
                           NULL, 0, false, &handler, heard);
    turn_while_busy(loop);
    fd = accept(listen_fd, NULL, NULL);
    assert(fd >= 0);
    for (size_t at = 0; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;

        if (send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break; /* the client has heard enough */
        turn_while_busy(loop);
    }
    (void)close(fd);
    turn_while_busy(loop);
    assert(heard->n_ends == 1);
    pm_http_client_free(client);
    pm_loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole = {0}, cut = {0};
    bool only_head;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    listen_once();
    only_head = data[0] & 0x80;
    answer(data + 1, size - 1, size - 1, only_head, &whole);
    answer(data + 1, size - 1, 1 + data[0] % 64u, only_head, &cut);
    assert(whole.status == cut.status);
    assert(whole.outcome == cut.outcome);
    assert(whole.body.n == cut.body.n);
    assert(whole.body.n == 0 || memcmp(whole.body.data, cut.body.data, cut.body.n) == 0);
    pm_buf_fini(&whole.body);
    pm_buf_fini(&cut.body);
    return 0;
}
