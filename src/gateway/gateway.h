/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of one inference request: name → wait → lease → engine → stream → release (GW-1 to GW-6 as far as built).
 * It takes exchanges of inference routes from the router and owns them until their end. Loop thread only.
 */
#ifndef PM_GATEWAY_GATEWAY_H
#define PM_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/server.h"
#include "manager/manager.h"

struct pm_gateway;
struct pm_flight; /* one request under way */

struct pm_gateway *pm_gateway_new(struct pm_manager *manager);
void pm_gateway_free(struct pm_gateway *gateway);

/* The router's on_head, on_body, on_request and on_gone for inference routes; path is the decoded path. */
struct pm_flight *pm_gateway_head(struct pm_gateway *gateway, struct pm_exchange *exchange,
                                  const char *path);
void pm_gateway_body(struct pm_flight *flight, const char *data, size_t n);
void pm_gateway_request(struct pm_flight *flight);
void pm_gateway_client_gone(struct pm_flight *flight);
void pm_gateway_drained(struct pm_flight *flight);

/* Looking works without a gateway (NULL), too: it has no flights. */

/* Shutdown: running streams that are cut get `event: error` shutting_down. Tells how many flights there are. */
size_t pm_gateway_n_flights(const struct pm_gateway *gateway);

/* For /v1/requests, oldest first. */
struct pm_flight_view {
    const char *request_id, *pool_id; /* pool_id "" while only the route is known: then route */
    const char *route;
    bool running, stream;
    uint64_t queue_position; /* while waiting */
    uint64_t age_ms;
};
bool pm_gateway_flight_at(const struct pm_gateway *gateway, size_t i, struct pm_flight_view *ret);
/* Ends it as if its client had gone, after answering it. POOLMGR_E_NOT_FOUND. */
int pm_gateway_cancel(struct pm_gateway *gateway, const char *request_id,
                      struct poolmgr_error *err);

/* Histograms and counters for /metrics; per pool. */
#define PM_LATENCY_BUCKETS 14
struct pm_histogram {
    uint64_t counts[PM_LATENCY_BUCKETS + 1];
    double sum;
    uint64_t n;
};
extern const double pm_latency_bounds[PM_LATENCY_BUCKETS]; /* seconds */
struct pm_gateway_counters {
    uint64_t started, completed, failed, cancelled, retries, bytes_sent, tokens_in, tokens_out;
    struct pm_histogram first_token, decode, queue_wait;
};
const struct pm_gateway_counters *pm_gateway_counters(const struct pm_gateway *gateway,
                                                      const char *pool_id);

#endif
