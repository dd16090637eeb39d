/* SPDX-License-Identifier: Apache-2.0 */
/* Several pools on declared devices: the shortest way to say "a, b and c of 10 GiB on a device of 24". */
#ifndef PM_TESTS_CORE_ROOM_WORLD_H
#define PM_TESTS_CORE_ROOM_WORLD_H

#include <stdlib.h>

#include "core_world.h"

#define GIB           (UINT64_C(1) << 30)
#define MAX_WAIT      10000
#define MIN_RESIDENCY 30000
#define QUARANTINE    300000
#define POOLS_MAX     8

static struct world world;
static struct pm_pool_spec *specs[POOLS_MAX];
static size_t n_specs;
static struct pm_device devices[4];
static size_t n_devices;

static int set_up(void **s)
{
    static const struct pm_core_options options = {.max_parallel_starts = 2,
                                                   .seed = 7,
                                                   .evict_max_wait_ms = MAX_WAIT,
                                                   .evict_min_residency_ms = MIN_RESIDENCY,
                                                   .quarantine_ms = QUARANTINE};

    memset(&world, 0, sizeof(world));
    world.core = pm_core_new(&options);
    world.now_ms = 1000;
    n_specs = n_devices = 0;
    memset(devices, 0, sizeof(devices));
    return 0;
}

static int tear_down(void **s)
{
    pm_core_free(world.core);
    for (size_t i = 0; i < n_specs; i++)
        pm_pool_spec_unref(specs[i]);
    pm_actions_fini(&world.out);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- devices -------------------------------------------------------------------------------------------- */

static inline void list_devices(void)
{
    pm_actions_clear(&world.out);
    pm_core_devices(world.core, devices, n_devices, world.now_ms, &world.out);
}

/* Device "0", "1" …, 1 GiB of it kept free. */
static inline void add_device(uint64_t total_gib)
{
    struct pm_device *device = &devices[n_devices];

    (void)snprintf(device->id, sizeof(device->id), "%zu", n_devices);
    device->total_bytes = total_gib * GIB;
    device->reserve_bytes = GIB;
    n_devices++;
}

static inline struct pm_device_view device(size_t i)
{
    struct pm_device_view view;

    assert_true(pm_core_device_at(world.core, i, &view));
    return view;
}

static inline void seen_free(const char *id, uint64_t gib, bool processes_known)
{
    pm_actions_clear(&world.out);
    pm_core_device_free(world.core, id, gib * GIB, processes_known, world.now_ms, world.now_ms,
                        &world.out);
}

static inline int clear(const char *id)
{
    struct poolmgr_error err = {0};

    pm_actions_clear(&world.out);
    return pm_core_device_clear(world.core, id, world.now_ms, &world.out, &err);
}

/* The driver reports an error of a device; of this engine, where it is told. */
static inline void xid(const char *id, struct pm_token token, enum pm_xid_action action)
{
    pm_actions_clear(&world.out);
    pm_core_xid(world.core, id, 31, action, true, token, world.now_ms, &world.out);
}

static inline void driver_error(struct pm_token token, enum pm_xid_action action)
{
    xid("0", token, action);
}

/* ---- pools ---------------------------------------------------------------------------------------------- */

/* May be changed before add_pools(). */
static inline struct pm_pool_spec *spec_of(const char *id, uint64_t gib)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(id);

    spec->vram.each = gib * GIB;
    spec->idle_ttl_ms = 0;
    spec->stall_timeout_ms = PM_NEVER;
    spec->probe.every_ms = PM_NEVER;
    specs[n_specs++] = spec;
    return spec;
}

/* Only these devices: "0,1". */
static inline void only_on(struct pm_pool_spec *spec, const char *mask)
{
    struct poolmgr_error err = {0};

    free(spec->devices);
    spec->devices = pm_xstrdup(mask);
    assert_int_equal(pm_mask_parse(mask, strlen(mask), &spec->where, NULL, &err), 0);
}

static inline void begin(void)
{
    list_devices();
    for (size_t i = 0; i < n_specs; i++)
        world_add(&world, specs[i]);
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
}

/* Pools a, b and c of 10 GiB on one device of 24. */
static inline void begin_three(void)
{
    add_device(24);
    (void)spec_of("a", 10);
    (void)spec_of("b", 10);
    (void)spec_of("c", 10);
    begin();
}

static inline struct pm_pool_view pool(const char *id)
{
    struct pm_pool_view view;

    assert_true(pm_core_pool(world.core, id, world.now_ms, &view));
    return view;
}

static inline struct pm_replica_view place(const char *id)
{
    struct pm_replica_view view;

    assert_true(pm_core_replica(world.core, id, 0, &view));
    return view;
}

static inline void assert_states(enum pm_state a, enum pm_state b, enum pm_state c)
{
    assert_int_equal(place("a").state, a);
    assert_int_equal(place("b").state, b);
    assert_int_equal(place("c").state, c);
}

static inline uint64_t ask(const char *id)
{
    return request_with(&world, (struct pm_request){.route = id});
}

/* A request came and its model is good: what came out is what its wish for room led to. */
static inline uint64_t wish(const char *id)
{
    uint64_t request = ask(id);

    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    return request;
}

/* The launched engine of a pool becomes ready; the lease of the request that started it. */
static inline struct pm_lease make_ready(const char *id)
{
    struct pm_token token = place(id).token;

    spawned(&world, token, NULL);
    endpoint_ready(&world, token);
    return action_at(&world, PM_ACT_GRANT, 0)->lease;
}

static inline struct pm_lease run(const char *id)
{
    (void)wish(id);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 1);
    return make_ready(id);
}

static inline void end_lease(struct pm_lease lease)
{
    release(&world, &lease, PM_RELEASE_DONE);
}

/* It was used, and is idle now. */
static inline void use(const char *id)
{
    end_lease(run(id));
}

/* The engine of a pool that was told to stop has ended. */
static inline void ends(const char *id)
{
    crash(&world, place(id).token, (struct pm_exit){.signalled = true, .status = 15});
}

static inline void pass(uint64_t ms)
{
    uint64_t until_ms = world.now_ms + ms;

    while (pm_core_deadline(world.core) < until_ms)
        tick(&world, pm_core_deadline(world.core));
    tick(&world, until_ms);
}

#endif
