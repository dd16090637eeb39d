/* SPDX-License-Identifier: Apache-2.0 */
/* What the client's connections (client.c) and its calls (call.c) share; not for other rooms. */
#ifndef PM_HTTP_CLIENT_INTERNAL_H
#define PM_HTTP_CLIENT_INTERNAL_H

#include "http/client.h"
#include "util/list.h"
#include "util/map.h"

#define PM_CLIENT_READ_SIZE (64 * 1024)

struct pm_endpoint {
    struct pm_link link;
    struct pm_http_client *client;
    struct pm_list idle; /* last used first */
    unsigned n_idle;
    unsigned n_calls; /* that point here */
    bool forgotten;   /* its engine is gone: freed with the last of them */
    char name[];
};

struct pm_http_client {
    struct pm_loop *loop;
    struct pm_http_client_options options;
    struct pm_map endpoints;
    struct pm_list all;
    struct pm_http_head head; /* scratch of one parse */
    char buffer[PM_CLIENT_READ_SIZE];
};

/* Made when it is first named. */
struct pm_endpoint *pm_endpoint_find(struct pm_http_client *client, const char *name);
void pm_endpoint_free_when_unused(struct pm_endpoint *endpoint);

/* Keeps a connection for the next call, at most so long; the descriptor is the endpoint's from now on. */
void pm_endpoint_keep(struct pm_endpoint *endpoint, int fd, uint64_t keep_ms);
/* A kept connection, the last used first, on which nothing has happened meanwhile; -1: none. */
int pm_endpoint_take(struct pm_endpoint *endpoint);

#endif
