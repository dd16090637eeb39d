/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a step of the core costs with 10 to 10,000 ready pools: the time must not grow with their number.
 *
 *   lease   a request that finds a ready engine, its grant and its release: two steps
 *   probe   a health probe that falls due, and its good answer: two steps
 *
 * One line a size: pools, nanoseconds of a lease, nanoseconds of a probe, leases a second. core_plot.py draws them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/core.h"
#include "util/time.h"

#define N_LEASES 1000000
#define N_PROBES 500000

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

static void make_ready(struct pm_core *core, const char *id, uint64_t request, uint64_t now_ms,
                       struct pm_actions *out)
{
    const struct pm_ready ready = {.endpoint = "unix:/engine.sock", .owner_proved = true};
    struct pm_request asked = {.id = request, .route = id, .request_id = "bench"};
    struct pm_lease lease;
    struct pm_token token;

    pm_core_request(core, &asked, now_ms, out);
    token = token_of(out, PM_ACT_STAGE);
    pm_actions_clear(out);
    pm_core_staged(core, token, NULL, NULL, 0, now_ms, out);
    token = token_of(out, PM_ACT_SPAWN);
    pm_actions_clear(out);
    pm_core_endpoint_ready(core, token, &ready, now_ms, out);
    lease = lease_of(out);
    pm_actions_clear(out);
    pm_core_release(core, &lease, PM_RELEASE_DONE, now_ms, out);
    pm_actions_clear(out);
}

/* Each pool's probes fall due at another millisecond. */
static struct pm_core *make_core(size_t n_pools, struct pm_actions *out)
{
    const struct pm_core_options options = {.max_parallel_starts = 2, .seed = 1};
    struct pm_core *core = pm_core_new(&options);
    struct poolmgr_error err = {0};
    char id[PM_ID_MAX + 1];

    pm_core_begin(core, 1, out);
    for (size_t i = 0; i < n_pools; i++) {
        struct pm_pool_spec *spec;

        (void)snprintf(id, sizeof(id), "pool-%zu", i);
        spec = pm_pool_spec_new(id);
        spec->idle_ttl_ms = 0;
        if (pm_core_add_pool(core, spec, PM_OWNER_FILE, 1, out, &err) < 0)
            exit(1);
        pm_pool_spec_unref(spec);
        pm_actions_clear(out);
        make_ready(core, id, i + 1, 2 + i * spec->probe.every_ms / n_pools, out);
    }
    return core;
}

static uint64_t time_leases(struct pm_core *core, size_t n_pools, uint64_t now_ms,
                            struct pm_actions *out)
{
    uint64_t began_ns = pm_monotonic_ns();
    char id[PM_ID_MAX + 1];

    (void)snprintf(id, sizeof(id), "pool-%zu", n_pools / 2);
    for (uint64_t i = 0; i < N_LEASES; i++) {
        struct pm_request request = {.id = n_pools + 1 + i, .route = id, .request_id = "bench"};
        struct pm_lease lease;

        pm_core_request(core, &request, now_ms, out);
        lease = lease_of(out);
        pm_actions_clear(out);
        pm_core_release(core, &lease, PM_RELEASE_DONE, now_ms, out);
        pm_actions_clear(out);
    }
    return pm_monotonic_ns() - began_ns;
}

/* Answers the probes of one tick; how many there were. */
static uint64_t answer(struct pm_core *core, uint64_t now_ms, struct pm_actions *out,
                       struct pm_actions *answers)
{
    uint64_t n = 0;

    for (size_t i = 0; i < out->n; i++) {
        if (out->items[i].kind != PM_ACT_PROBE)
            continue;
        pm_core_probed(core, out->items[i].probe, true, now_ms, answers);
        pm_actions_clear(answers);
        n++;
    }
    pm_actions_clear(out);
    return n;
}

static uint64_t time_probes(struct pm_core *core, struct pm_actions *out)
{
    struct pm_actions answers = {0};
    uint64_t began_ns = pm_monotonic_ns();

    for (uint64_t n = 0; n < N_PROBES;) {
        uint64_t now_ms = pm_core_deadline(core);

        pm_core_tick(core, now_ms, out);
        n += answer(core, now_ms, out, &answers);
    }
    pm_actions_fini(&answers);
    return pm_monotonic_ns() - began_ns;
}

static void measure(size_t n_pools)
{
    struct pm_actions out = {0};
    struct pm_core *core = make_core(n_pools, &out);
    uint64_t lease_ns = time_leases(core, n_pools, 2001, &out);
    uint64_t probe_ns = time_probes(core, &out);

    printf("%6zu pools  %6.1f ns a lease  %6.1f ns a probe  %4.1f million leases a second\n",
           n_pools, (double)lease_ns / N_LEASES, (double)probe_ns / N_PROBES,
           N_LEASES * 1e3 / (double)lease_ns);
    pm_actions_fini(&out);
    pm_core_free(core);
}

int main(void)
{
    static const size_t sizes[] = {10, 30, 100, 300, 1000, 3000, 10000};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        measure(sizes[i]);
    return 0;
}
