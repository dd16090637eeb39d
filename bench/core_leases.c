/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it takes to take and give back one slot, through the whole core: a request that finds a ready engine, its
 * grant, its release. With 10, 1,000 and 10,000 ready pools: the time of a step must not grow with their number.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/core.h"
#include "util/time.h"

#define N_LEASES 2000000

static struct pm_token token_of(const struct pm_actions *out, enum pm_action_kind kind)
{
    for (size_t i = 0; i < out->n; i++) {
        if (out->items[i].kind == kind)
            return out->items[i].token;
    }
    fprintf(stderr, "no action of kind %d\n", (int)kind);
    exit(1);
}

static struct pm_lease lease_of(const struct pm_actions *out)
{
    for (size_t i = 0; i < out->n; i++) {
        if (out->items[i].kind == PM_ACT_GRANT)
            return out->items[i].lease;
    }
    fprintf(stderr, "no grant\n");
    exit(1);
}

static void make_ready(struct pm_core *core, const char *id, uint64_t request,
                       struct pm_actions *out)
{
    const struct pm_ready ready = {.endpoint = "unix:/engine.sock", .owner_proved = true};
    struct pm_request asked = {.id = request, .route = id, .request_id = "bench"};
    struct pm_lease lease;
    struct pm_token token;

    pm_core_request(core, &asked, 1, out);
    token = token_of(out, PM_ACT_STAGE);
    pm_actions_clear(out);
    pm_core_staged(core, token, NULL, 0, 1, out);
    token = token_of(out, PM_ACT_SPAWN);
    pm_actions_clear(out);
    pm_core_endpoint_ready(core, token, &ready, 1, out);
    lease = lease_of(out);
    pm_actions_clear(out);
    pm_core_release(core, &lease, PM_RELEASE_DONE, 1, out);
    pm_actions_clear(out);
}

static void measure(size_t n_pools)
{
    const struct pm_core_options options = {.max_parallel_starts = 2, .seed = 1};
    struct pm_core *core = pm_core_new(&options);
    struct pm_actions out = {0};
    struct poolmgr_error err = {0};
    uint64_t began_ns, took_ns;
    char id[PM_ID_MAX + 1];

    pm_core_begin(core, 1, &out);
    for (size_t i = 0; i < n_pools; i++) {
        struct pm_pool_spec *spec;

        (void)snprintf(id, sizeof(id), "pool-%zu", i);
        spec = pm_pool_spec_new(id);
        if (pm_core_add_pool(core, spec, PM_OWNER_FILE, 1, &out, &err) < 0)
            exit(1);
        pm_pool_spec_unref(spec);
        pm_actions_clear(&out);
        make_ready(core, id, i + 1, &out);
    }

    (void)snprintf(id, sizeof(id), "pool-%zu", n_pools / 2);
    began_ns = pm_monotonic_ns();
    for (uint64_t i = 0; i < N_LEASES; i++) {
        struct pm_request request = {.id = n_pools + 1 + i, .route = id, .request_id = "bench"};
        struct pm_lease lease;

        pm_core_request(core, &request, 2, &out);
        lease = lease_of(&out);
        pm_actions_clear(&out);
        pm_core_release(core, &lease, PM_RELEASE_DONE, 2, &out);
        pm_actions_clear(&out);
    }
    took_ns = pm_monotonic_ns() - began_ns;
    printf("%6zu pools: %5.1f ns to acquire and release, %4.1f million a second\n", n_pools,
           (double)took_ns / N_LEASES, N_LEASES * 1e3 / (double)took_ns);
    pm_actions_fini(&out);
    pm_core_free(core);
}

int main(void)
{
    measure(10);
    measure(1000);
    measure(10000);
    return 0;
}
