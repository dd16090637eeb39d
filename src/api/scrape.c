/* SPDX-License-Identifier: Apache-2.0 */
/* Collects what /metrics shows: every number is counted where it happens, and only copied here. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/call.h"
#include "api/metrics.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

static uint64_t resident_bytes(void)
{
    unsigned long long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Linux tells the number of open descriptors as the folder's size since 6.2; before that it is counted. */
static uint64_t open_descriptors(void)
{
    uint64_t n = 0;
    DIR *folder = opendir("/proc/self/fd");

    if (!folder)
        return 0;
    while (readdir(folder))
        n++;
    (void)closedir(folder);
    return n > 3 ? n - 3 : 0; /* less ".", ".." and the folder itself */
}

static void collect_pool(const struct pm_call *call, const struct pm_pool_view *view,
                         struct pm_metrics_pool *ret)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    struct pm_replica_view *replicas = pm_xalloc(view->n_replicas * sizeof(replicas[0]));

    for (uint64_t i = 0; i < view->n_replicas; i++)
        (void)pm_core_replica(core, view->spec->id, (unsigned)i, &replicas[i]);

    ret->id = view->spec->id;
    ret->state = view->state;
    ret->ready = view->ready;
    ret->view = *view;
    ret->gateway = *pm_gateway_counters(call->api->gateway, view->spec->id);
    ret->replicas = replicas;
    (void)pm_core_counters(core, view->spec->id, &ret->core);
}

static struct pm_metrics_pool *collect_pools(const struct pm_call *call, size_t *ret_n)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    uint64_t now_ms = pm_manager_now(call->api->manager);
    struct pm_metrics_pool *pools = pm_xalloc(pm_core_n_pools(core) * sizeof(pools[0]));
    struct pm_pool_view view;

    for (*ret_n = 0; pm_core_pool_at(core, *ret_n, now_ms, &view); (*ret_n)++)
        collect_pool(call, &view, &pools[*ret_n]);
    return pools;
}

void pm_metrics_show(struct pm_call *call)
{
    const struct pm_api *api = call->api;
    uint64_t age_ms = pm_manager_now(api->manager) - api->started_ms;
    pm_auto_free struct pm_metrics_pool *pools = NULL;
    pm_auto_buf struct pm_buf out = {0};
    struct pm_metrics metrics = {
        .version = PM_VERSION,
        .started_at_s = (pm_wall_ms() - age_ms) / 1000,
        .resident_bytes = resident_bytes(),
        .open_descriptors = open_descriptors(),
        .loop_lag_us = pm_loop_lag_max_us(pm_manager_loop(api->manager)),
        .loop_turns = pm_loop_turns(pm_manager_loop(api->manager)),
        .n_flights = pm_gateway_n_flights(api->gateway),
        .n_events = pm_sink_last_id(pm_manager_sink(api->manager)),
    };

    if (api->server)
        pm_http_server_counters(api->server, &metrics.http);
    metrics.pools = pools = collect_pools(call, &metrics.n_pools);
    pm_metrics_write(&metrics, &out);
    for (size_t i = 0; i < metrics.n_pools; i++)
        free((void *)(uintptr_t)pools[i].replicas);
    pm_call_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.n);
}
