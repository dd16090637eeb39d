/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it takes to choose among 1,000 pools with 8 replicas each that serve one name: a request that finds all of
 * them ready, its grant, its release; with and without measured speeds, and with a wish.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/core.h"
#include "util/time.h"

#define N_POOLS    1000
#define N_REPLICAS 8
#define N_REQUESTS 2000

static struct pm_core *core;
static struct pm_actions out;
static uint64_t n_requests;

static const struct pm_action *nth(enum pm_action_kind kind, size_t n)
{
    for (size_t i = 0; i < out.n; i++) {
        if (out.items[i].kind == kind && n-- == 0)
            return &out.items[i];
    }
    fprintf(stderr, "no action of kind %d\n", (int)kind);
    exit(1);
}

static void release(const struct pm_lease *lease)
{
    pm_actions_clear(&out);
    pm_core_release(core, lease, PM_RELEASE_UNUSED, 2, &out);
    pm_actions_clear(&out);
}

static void make_ready(const char *id)
{
    const struct pm_ready ready = {.endpoint = "unix:/engine.sock", .owner_proved = true};
    struct pm_request asked = {.id = ++n_requests, .route = id, .request_id = "bench"};
    struct pm_token tokens[N_REPLICAS], staging;
    struct pm_lease lease = {0};

    pm_core_request(core, &asked, 1, &out);
    staging = nth(PM_ACT_STAGE, 0)->token;
    pm_actions_clear(&out);
    pm_core_staged(core, staging, NULL, NULL, 0, 1, &out);
    for (size_t i = 0; i < N_REPLICAS; i++)
        tokens[i] = nth(PM_ACT_SPAWN, i)->token;
    pm_actions_clear(&out);
    for (size_t i = 0; i < N_REPLICAS; i++) {
        pm_core_endpoint_ready(core, tokens[i], &ready, 1, &out);
        if (i == 0)
            lease = nth(PM_ACT_GRANT, 0)->lease;
        pm_actions_clear(&out);
    }
    release(&lease);
}

static void make_pools(void)
{
    const struct pm_core_options options = {.max_parallel_starts = 2, .seed = 1};
    struct poolmgr_error err = {0};
    char id[PM_ID_MAX + 1];

    core = pm_core_new(&options);
    pm_core_begin(core, 1, &out);
    for (size_t i = 0; i < N_POOLS; i++) {
        struct pm_pool_spec *spec;

        (void)snprintf(id, sizeof(id), "pool-%04zu", i);
        spec = pm_pool_spec_new(id);
        spec->n_replicas = N_REPLICAS;
        pm_strv_add(&spec->aliases, "all");
        if (pm_core_add_pool(core, spec, PM_OWNER_FILE, 1, &out, &err) < 0)
            exit(1);
        pm_pool_spec_unref(spec);
        pm_actions_clear(&out);
        make_ready(id);
    }
}

static struct pm_lease ask(struct pm_placement placement)
{
    struct pm_request request = {
        .id = ++n_requests, .route = "all", .request_id = "bench", .placement = placement};

    pm_core_request(core, &request, 2, &out);
    return nth(PM_ACT_GRANT, 0)->lease;
}

static void measure(const char *what, struct pm_placement placement)
{
    struct pm_lease *leases = calloc(N_REQUESTS, sizeof(*leases));
    uint64_t began_ns = pm_monotonic_ns(), took_ns;

    if (!leases)
        exit(1);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        leases[i] = ask(placement);
        pm_actions_clear(&out);
    }
    took_ns = pm_monotonic_ns() - began_ns;
    printf("%d pools with %d replicas, %-20s %6.1f us a placement\n", N_POOLS, N_REPLICAS, what,
           (double)took_ns / N_REQUESTS / 1e3);
    for (size_t i = 0; i < N_REQUESTS; i++)
        release(&leases[i]);
    free(leases);
}

/* One answer of each replica: who was never asked is asked first. */
static void measure_speeds(void)
{
    struct pm_lease *leases = calloc(N_POOLS * N_REPLICAS, sizeof(*leases));

    if (!leases)
        exit(1);
    for (size_t i = 0; i < N_POOLS * N_REPLICAS; i++) {
        leases[i] = ask((struct pm_placement){0});
        pm_core_perf(core, &leases[i], 50 + i % 100, 100, 1000 + i % 777);
        pm_actions_clear(&out);
    }
    for (size_t i = 0; i < N_POOLS * N_REPLICAS; i++)
        release(&leases[i]);
    free(leases);
}

int main(void)
{
    const char *const avoided[] = {"pool-0000", "pool-0001"};

    make_pools();
    measure("by leases:", (struct pm_placement){0});
    measure("two avoided:", (struct pm_placement){.avoid = avoided, .n_avoid = 2});
    measure_speeds();
    measure("by speed:", (struct pm_placement){0});
    pm_actions_fini(&out);
    pm_core_free(core);
    return 0;
}
