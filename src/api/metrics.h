/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as a table: text exposition and docs/metrics.md come from the same rows (MET-1). Pure. */
#ifndef PM_API_METRICS_H
#define PM_API_METRICS_H

#include "core/core.h"
#include "gateway/gateway.h"
#include "http/server.h"
#include "util/buf.h"

/* What one pool counts. */
struct pm_metrics_pool {
    const char *id;
    enum pm_state state;
    uint64_t ready; /* 0, 1 */
    struct pm_pool_view view;
    struct pm_pool_counters core;
    struct pm_gateway_counters gateway;
    const struct pm_replica_view *replicas; /* view.n_replicas of them */
};

/* What a scrape sees. */
struct pm_metrics {
    const char *version;
    uint64_t started_at_s; /* wall clock */
    uint64_t resident_bytes, open_descriptors;
    uint64_t loop_lag_us, loop_turns;
    uint64_t n_flights, n_events;
    struct pm_http_server_counters http;
    const struct pm_metrics_pool *pools;
    size_t n_pools;
};

void pm_metrics_write(const struct pm_metrics *metrics, struct pm_buf *out);
void pm_metrics_docs(struct pm_buf *out);

#endif
