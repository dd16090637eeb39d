/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers per pool for /metrics. They are made with a pool's first request and stay. */
#include <stdlib.h>

#include "gateway/counters.h"

const double pm_latency_bounds[PM_LATENCY_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                      1,     2.5,  5,     10,   30,  60,   300};

struct kept {
    struct pm_link link;
    struct pm_gateway_counters counters;
};

void pm_histogram_add(struct pm_histogram *histogram, uint64_t ms)
{
    double seconds = (double)ms / 1000;
    size_t i = 0;

    while (i < PM_LATENCY_BUCKETS && seconds > pm_latency_bounds[i])
        i++;
    histogram->counts[i]++;
    histogram->sum += seconds;
    histogram->n++;
}

struct pm_gateway_counters *pm_counters_of(struct pm_gateway *gateway, const char *pool_id)
{
    struct kept *kept = pm_map_get(&gateway->counters, pool_id);

    if (!kept) {
        kept = pm_xalloc(sizeof(*kept));
        (void)pm_map_set(&gateway->counters, pool_id, kept);
        pm_list_append(&gateway->all_counters, &kept->link);
    }
    return &kept->counters;
}

const struct pm_gateway_counters *pm_gateway_counters(const struct pm_gateway *gateway,
                                                      const char *pool_id)
{
    static const struct pm_gateway_counters none;
    const struct kept *kept = gateway ? pm_map_get(&gateway->counters, pool_id) : NULL;

    return kept ? &kept->counters : &none;
}

void pm_counters_free(struct pm_gateway *gateway)
{
    struct pm_link *link;

    while ((link = pm_list_first(&gateway->all_counters))) {
        pm_list_remove(link);
        free(pm_container_of(link, struct kept, link));
    }
    pm_map_fini(&gateway->counters);
}
