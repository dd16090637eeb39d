/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One listener serves everything at home: the table of routes (routes.c), the guard (Host, Origin, loopback),
 * resources, events, logs, metrics. Inference routes are handed to gateway/; a daemon without one is a control port.
 * Loop thread only.
 */
#ifndef PM_API_API_H
#define PM_API_API_H

#include "gateway/gateway.h"
#include "http/server.h"
#include "manager/manager.h"

struct pm_api;

/* gateway NULL: a control port, which refuses inference. The names (kept, not copied) are what /v1/meta tells. */
struct pm_api *pm_api_new(struct pm_manager *manager, struct pm_gateway *gateway,
                          const char *program, const char *profile);
void pm_api_free(struct pm_api *api);

/* The handler to give to pm_http_server_new(), with the api as ctx. */
extern const struct pm_http_handler pm_api_handler;

/* After the listeners are open: readyz may say ok. The server's counters are shown in /metrics. */
void pm_api_serving(struct pm_api *api, struct pm_http_server *server);
/* Shutting down: readyz says so. */
void pm_api_closing(struct pm_api *api);

#endif
