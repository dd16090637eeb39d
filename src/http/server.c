/* SPDX-License-Identifier: Apache-2.0 */
/* The server as its owner sees it: options, life, counters. Connections are in connection.c, answers in exchange.c. */
#include "http/server.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/internal.h"
#include "util/cleanup.h"
#include "util/str.h"

/* Two descriptors a stream, and some for everything else. */
static uint64_t connections_by_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= 128)
        return 32;
    return (limit.rlim_cur - 64) / 2;
}

static void resume_held(struct pm_task *task)
{
    pm_body_resume_held(pm_container_of(task, struct pm_http_server, resume_task));
}

void pm_http_server_configure(struct pm_http_server *server,
                              const struct pm_http_server_options *options)
{
    server->options = *options;
    server->connections_max =
        options->connections_max ? options->connections_max : connections_by_descriptors();
}

int pm_http_server_new(struct pm_loop *loop, const struct pm_http_server_options *options,
                       const struct pm_http_handler *handler, void *ctx,
                       struct pm_http_server **ret, struct poolmgr_error *err)
{
    struct pm_http_server *server = pm_xalloc(sizeof(*server));

    (void)err;
    server->loop = loop;
    server->handler = handler;
    server->ctx = ctx;
    server->resume_task.fn = resume_held;
    pm_http_server_configure(server, options);
    pm_list_init(&server->listeners);
    pm_list_init(&server->connections);
    pm_list_init(&server->held);
    pm_random_hex(server->id_prefix, 4);
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *ret = server;
    return POOLMGR_OK;
}

void pm_http_server_free(struct pm_http_server *server)
{
    struct pm_link *link;

    if (!server)
        return;

    while ((link = pm_list_first(&server->connections)))
        pm_connection_close(pm_container_of(link, struct pm_exchange, link), false);
    while ((link = pm_list_first(&server->listeners)))
        pm_listener_close(pm_container_of(link, struct listener, link));
    pm_list_remove(&server->resume_task.link);
    if (server->spare_fd >= 0)
        (void)close(server->spare_fd);
    free(server);
}

const char *pm_http_server_address(const struct pm_http_server *server, size_t i)
{
    struct pm_link *link;

    pm_list_each (&server->listeners, link) {
        if (i-- == 0)
            return pm_container_of(link, struct listener, link)->address;
    }
    return NULL;
}

void pm_http_server_stop_listening(struct pm_http_server *server)
{
    struct pm_link *link;

    while ((link = pm_list_first(&server->listeners)))
        pm_listener_close(pm_container_of(link, struct listener, link));
}

void pm_http_server_drain(struct pm_http_server *server)
{
    struct pm_link *link, *after;

    server->draining = true;
    pm_list_each_safe (&server->connections, link, after) {
        struct pm_exchange *exchange = pm_container_of(link, struct pm_exchange, link);

        if (exchange->state == CONNECTION_HEAD && !pm_exchange_unread(exchange))
            pm_connection_close(exchange, false);
        else
            exchange->close_after = true;
    }
}

void pm_http_server_counters(const struct pm_http_server *server,
                             struct pm_http_server_counters *ret)
{
    *ret = server->counters;
}
