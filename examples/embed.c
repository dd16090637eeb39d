/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with a poll loop of its own that hosts the pool manager: it starts a pool, takes a slot, asks the engine
 * over it (here: a GET of its health, by hand), gives the slot back and stops everything. Nothing of the project but
 * poolmgr.h is used.
 *
 * usage: embed CONFIG POOL POOL-SHIM
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "poolmgr/poolmgr.h"

struct host {
    struct poolmgr *mgr;
    const char *pool_id;
    uint64_t start;
    int ready, stopped, failed;
};

/* ---- what the manager tells --------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct poolmgr_event *event)
{
    struct host *host = ctx;

    (void)host;
    if (strcmp(event->level, "debug") != 0)
        printf("event: %s\n", event->json);
}

static void on_lease_lost(void *ctx, const struct poolmgr_lease *lease,
                          const struct poolmgr_error *why)
{
    (void)ctx;
    (void)lease;
    printf("lost a slot: %s\n", why->message);
}

static void on_stopped(void *ctx)
{
    ((struct host *)ctx)->stopped = 1;
}

/* ---- asking an engine ---------------------------------------------------------------------------------- */

static int connect_to(const char *url)
{
    struct sockaddr_un un = {0};
    struct sockaddr_in in = {0};
    char host[64];
    unsigned port;
    int fd = -1;

    if (strncmp(url, "unix:", 5) == 0 && strlen(url + 5) < sizeof(un.sun_path)) {
        un.sun_family = AF_UNIX;
        strcpy(un.sun_path, url + 5);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
            return fd;
    } else if (sscanf(url, "http://%63[0-9.]:%u", host, &port) == 2) {
        in.sin_family = AF_INET;
        in.sin_port = htons((unsigned short)port);
        fd = inet_pton(AF_INET, host, &in.sin_addr) == 1 ? socket(AF_INET, SOCK_STREAM, 0) : -1;
        if (fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
            return fd;
    }
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static int ask_health(const char *url)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char answer[64] = "";
    int fd = connect_to(url), good = 0;

    if (fd < 0)
        return 0;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
        recv(fd, answer, sizeof(answer) - 1, 0) > 0)
        good = strncmp(answer, "HTTP/1.1 200", 12) == 0;
    (void)close(fd);
    return good;
}

/* A real host would hand the slot to a request and give it back when its answer has ended. */
static int use_a_slot(struct host *host)
{
    struct poolmgr_endpoint where = {0};
    struct poolmgr_error err = {0};
    struct poolmgr_lease lease = {0, 0};
    int good;

    if (poolmgr_lease_acquire(host->mgr, host->pool_id, &lease, &err) < 0) {
        printf("no slot: %s\n", err.message);
        return 0;
    }
    where.size = sizeof(where);
    if (poolmgr_lease_endpoint(host->mgr, &lease, &where, &err) < 0)
        return 0;
    good = ask_health(where.url);
    printf("slot of %s at %s: %s\n", where.pool_id, where.url, good ? "it answers" : "silence");
    poolmgr_lease_release(host->mgr, &lease, POOLMGR_RELEASE_DONE);
    return good;
}

/* ---- the host's own loop -------------------------------------------------------------------------------- */

static int look(struct host *host)
{
    struct poolmgr_operation op = {0};
    struct poolmgr_error err = {0};

    op.size = sizeof(op);
    if (host->ready || poolmgr_operation_find(host->mgr, host->start, &op, &err) < 0 ||
        strcmp(op.state, "running") == 0)
        return 0;

    host->ready = 1;
    host->failed = strcmp(op.state, "succeeded") != 0 || !use_a_slot(host);
    if (op.error.code != 0)
        printf("start %s: %s\n", op.state, op.error.message);
    poolmgr_shutdown(host->mgr, 0);
    return 1;
}

static int run(struct host *host)
{
    struct pollfd fds[1];

    fds[0].fd = poolmgr_fd(host->mgr); /* beside the host's own */
    fds[0].events = POLLIN;
    while (!host->stopped) {
        if (poll(fds, 1, -1) > 0 && poolmgr_dispatch(host->mgr) < 0)
            return 1;
        (void)look(host);
    }
    return host->failed;
}

int main(int argc, char **argv)
{
    struct poolmgr_options options = {0};
    struct poolmgr_error err = {0};
    struct host host = {0};
    int status = 1;

    if (argc != 4) {
        fprintf(stderr, "usage: embed CONFIG POOL POOL-SHIM\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    host.pool_id = argv[2];
    options.size = sizeof(options);
    options.config_path = argv[1];
    options.shim_path = argv[3];
    options.ctx = &host;
    options.on_event = on_event;
    options.on_lease_lost = on_lease_lost;
    options.on_stopped = on_stopped;
    if (poolmgr_new(&options, &host.mgr, &err) < 0 ||
        poolmgr_start(host.mgr, host.pool_id, &host.start, &err) < 0)
        fprintf(stderr, "embed: %s\n", err.message);
    else
        status = run(&host);
    poolmgr_free(host.mgr);
    return status;
}
