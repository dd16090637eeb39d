/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints and the connections kept to them: a few each, the last used first, for a short time. One is thrown away
 * with the first stray byte or its end, so that no answer is ever taken for another's. Calls are in call.c.
 */
#include "http/client_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"

struct idle {
    struct pm_link link;
    struct pm_endpoint *endpoint;
    struct pm_watch watch;
    struct pm_timer timer;
    struct pm_task free_task;
};

/* ---- idle connections ------------------------------------------------------------------------------- */

static void free_idle(struct pm_task *task)
{
    free(pm_container_of(task, struct idle, free_task));
}

/* Takes it out of the list; returns its descriptor. */
static int take_idle(struct idle *idle)
{
    int fd = idle->watch.fd;

    pm_watch_remove(&idle->watch);
    pm_timer_clear(&idle->timer);
    pm_list_remove(&idle->link);
    idle->endpoint->n_idle--;
    pm_loop_later(idle->endpoint->client->loop, &idle->free_task);
    return fd;
}

/* Anything that happens to an idle connection is its end: EOF, an error, or bytes that nobody asked for. */
static void on_idle_event(struct pm_watch *watch, uint32_t events)
{
    (void)events;
    (void)close(take_idle(pm_container_of(watch, struct idle, watch)));
}

static void on_idle_time(struct pm_timer *timer)
{
    (void)close(take_idle(pm_container_of(timer, struct idle, timer)));
}

void pm_endpoint_keep(struct pm_endpoint *endpoint, int fd, uint64_t keep_ms)
{
    struct pm_http_client *client = endpoint->client;
    struct idle *idle = pm_xalloc(sizeof(*idle));

    if (keep_ms == 0 || keep_ms > client->options.idle_ms)
        keep_ms = client->options.idle_ms;
    idle->endpoint = endpoint;
    idle->timer.fn = on_idle_time;
    idle->free_task.fn = free_idle;
    if (pm_watch_add(client->loop, &idle->watch, fd, EPOLLIN | EPOLLRDHUP, on_idle_event) < 0) {
        (void)close(fd);
        free(idle);
        return;
    }
    pm_list_prepend(&endpoint->idle, &idle->link);
    endpoint->n_idle++;
    pm_timer_set(client->loop, &idle->timer, pm_loop_now_ms(client->loop) + keep_ms);
    if (endpoint->n_idle > client->options.idle_max)
        (void)close(take_idle(pm_container_of(endpoint->idle.head.prev, struct idle, link)));
}

int pm_endpoint_take(struct pm_endpoint *endpoint)
{
    struct pm_link *link;
    char byte;

    while ((link = pm_list_first(&endpoint->idle))) {
        int fd = take_idle(pm_container_of(link, struct idle, link));

        /* The loop may not have seen yet what came in this very turn. */
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
            return fd;
        (void)close(fd);
    }
    return -1;
}

void pm_endpoint_free_when_unused(struct pm_endpoint *endpoint)
{
    if (!endpoint->forgotten || endpoint->n_calls || endpoint->n_idle)
        return;
    pm_list_remove(&endpoint->link);
    free(endpoint);
}

void pm_http_client_forget(struct pm_http_client *client, const char *name)
{
    struct pm_endpoint *endpoint = pm_map_remove(&client->endpoints, name);
    struct pm_link *link;

    if (!endpoint)
        return;
    endpoint->forgotten = true;
    while ((link = pm_list_first(&endpoint->idle)))
        (void)close(take_idle(pm_container_of(link, struct idle, link)));
    pm_endpoint_free_when_unused(endpoint);
}

struct pm_endpoint *pm_endpoint_find(struct pm_http_client *client, const char *name)
{
    struct pm_endpoint *endpoint = pm_map_get(&client->endpoints, name);

    if (endpoint)
        return endpoint;
    endpoint = pm_xalloc(sizeof(*endpoint) + strlen(name) + 1);
    endpoint->client = client;
    memcpy(endpoint->name, name, strlen(name) + 1);
    pm_list_init(&endpoint->idle);
    pm_list_append(&client->all, &endpoint->link);
    (void)pm_map_set(&client->endpoints, name, endpoint);
    return endpoint;
}

/* ---- the client ------------------------------------------------------------------------------------- */

int pm_http_client_new(struct pm_loop *loop, const struct pm_http_client_options *options,
                       struct pm_http_client **ret, struct poolmgr_error *err)
{
    struct pm_http_client *client = pm_xalloc(sizeof(*client));

    (void)err;
    client->loop = loop;
    client->options = *options;
    pm_list_init(&client->all);
    *ret = client;
    return POOLMGR_OK;
}

void pm_http_client_configure(struct pm_http_client *client,
                              const struct pm_http_client_options *options)
{
    client->options = *options;
}

void pm_http_client_free(struct pm_http_client *client)
{
    struct pm_link *link, *inner;

    if (!client)
        return;
    while ((link = pm_list_first(&client->all))) {
        struct pm_endpoint *endpoint = pm_container_of(link, struct pm_endpoint, link);

        while ((inner = pm_list_first(&endpoint->idle))) {
            struct idle *idle = pm_container_of(inner, struct idle, link);

            (void)close(take_idle(idle));
            pm_list_remove(&idle->free_task.link);
            free(idle);
        }
        pm_list_remove(link);
        free(endpoint);
    }
    pm_map_fini(&client->endpoints);
    free(client);
}
