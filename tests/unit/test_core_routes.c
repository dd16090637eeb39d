/* SPDX-License-Identifier: Apache-2.0 */
/* Names that several pools serve (SPEC "Route"; LIFECYCLE §2 row 9, §4), and what a request wishes (PLACE-2). */
#include <stdlib.h>

#include "core_operator.h"

static struct world world;
static struct pm_pool_spec *specs[3];

#define ALL "all" /* the alias of all pools */

/* Pools "a", "b", "c", each with one slot and the alias ALL; specs may be changed before begin(). */
static int set_up(void **s)
{
    static const char *const ids[] = {"a", "b", "c"};

    world_init(&world);
    for (int i = 0; i < 3; i++) {
        specs[i] = pm_pool_spec_new(ids[i]);
        specs[i]->n_slots = 1;
        pm_strv_add(&specs[i]->aliases, ALL);
    }
    return 0;
}

static int tear_down(void **s)
{
    world_fini(&world);
    for (int i = 0; i < 3; i++)
        pm_pool_spec_unref(specs[i]);
    return 0;
}

static void begin(int n_pools)
{
    for (int i = 0; i < n_pools; i++)
        world_add(&world, specs[i]);
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
}

static uint64_t ask(const char *route)
{
    return request_with(&world, (struct pm_request){.route = route});
}

static uint64_t ask_placed(const char *route, struct pm_placement placement)
{
    return request_with(&world, (struct pm_request){.route = route, .placement = placement});
}

static const char *staged_pool(void)
{
    return the_action(&world, PM_ACT_STAGE)->spec->id;
}

/* From its question for the model on: the engine that starts becomes ready. */
static struct pm_token bring_up(void)
{
    struct pm_token token;

    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    token = the_action(&world, PM_ACT_SPAWN)->token;
    endpoint_ready(&world, token);
    return token;
}

static struct pm_lease up(const char *pool)
{
    (void)ask(pool);
    (void)bring_up();
    return the_action(&world, PM_ACT_GRANT)->lease;
}

static struct pm_token up_and_idle(const char *pool)
{
    struct pm_token token;
    struct pm_lease lease;

    (void)ask(pool);
    token = bring_up();
    lease = the_action(&world, PM_ACT_GRANT)->lease;
    release(&world, &lease, PM_RELEASE_DONE);
    return token;
}

static const char *pool_of(const struct pm_lease *lease)
{
    static const char *const ids[] = {"a", "b", "c"};
    struct pm_replica_view view;

    for (int i = 0; i < 3; i++) {
        if (pm_core_replica(world.core, ids[i], 0, &view) && view.active_leases > 0 &&
            view.token.serial == the_action(&world, PM_ACT_GRANT)->lease_token.serial)
            return ids[i];
    }
    fail_msg("lease %llu is nobody's", (unsigned long long)lease->serial);
    return NULL;
}

static const char *granted_pool(void)
{
    return pool_of(&the_action(&world, PM_ACT_GRANT)->lease);
}

static enum pm_state state_of(const char *pool)
{
    struct pm_pool_view view;

    assert_true(pm_core_pool(world.core, pool, world.now_ms, &view));
    return view.state;
}

static uint64_t depth_of(const char *pool)
{
    struct pm_pool_view view;

    assert_true(pm_core_pool(world.core, pool, world.now_ms, &view));
    return view.queue_depth;
}

static int refused_with(void)
{
    return the_action(&world, PM_ACT_REFUSE)->error->code;
}

/* ---- one is started at a time ------------------------------------------------------------------------------- */

static void test_of_cold_pools_the_first_of_the_file_is_started_and_no_other(void **s)
{
    begin(3);
    for (int i = 0; i < 10; i++) {
        (void)ask(ALL);
        assert_int_equal(count_actions(&world, PM_ACT_STAGE), i == 0);
    }
    assert_int_equal(state_of("a"), PM_STAGING);
    assert_int_equal(state_of("b"), PM_COLD);
    assert_int_equal(state_of("c"), PM_COLD);
}

static void test_a_pool_that_is_up_is_enough(void **s)
{
    begin(2);
    (void)up("b");
    (void)ask(ALL); /* b is full: it waits, and a is not started for it */
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    assert_int_equal(state_of("a"), PM_COLD);
    (void)ask("a"); /* who wants a gets a */
    assert_string_equal(staged_pool(), "a");
}

static void test_who_waits_is_served_by_whichever_pool_has_a_slot_first(void **s)
{
    struct pm_lease lease;
    uint64_t first, second;

    begin(2);
    lease = up("a");
    first = ask(ALL);
    second = ask(ALL);
    (void)ask("b");
    (void)bring_up(); /* b is ready: who waited longest goes first, by whatever name it came */
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, first);
    assert_string_equal(granted_pool(), "b");
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, second);
    assert_string_equal(granted_pool(), "a");
    assert_int_equal(depth_of("a"), 0);
    assert_int_equal(depth_of("b"), 1);
}

static void test_when_a_start_fails_the_next_pool_is_tried_and_nobody_is_refused(void **s)
{
    const struct pm_failure failure = {.class = PM_CLASS_STAGING, .permanent = true};
    uint64_t id;

    begin(2);
    id = ask(ALL);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_int_equal(state_of("a"), PM_FAILED);
    assert_string_equal(staged_pool(), "b");
    (void)bring_up();
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, id);
}

static void test_an_engine_that_dies_leaves_its_waiters_to_the_other_pool(void **s)
{
    const struct pm_exit how = {.signalled = true, .status = 11};
    struct pm_token token;
    uint64_t id;

    begin(2);
    (void)ask("a");
    token = bring_up();
    id = ask(ALL);
    exited(&world, token, how);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_string_equal(staged_pool(), "b");
    (void)bring_up();
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, id);
}

static void test_a_stop_sends_who_waits_to_another_pool(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_token token;
    uint64_t op, id;

    begin(2);
    id = ask(ALL);
    token = the_action(&world, PM_ACT_STAGE)->token;
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_stop(world.core, "a", 1000, world.now_ms, &world.out, &op, &err),
                     POOLMGR_OK);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_string_equal(staged_pool(), "b");
    assert_true(token.serial != the_action(&world, PM_ACT_STAGE)->token.serial);
    (void)bring_up();
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, id);
}

static void test_a_stop_of_the_only_pool_refuses_who_waits_for_its_start(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    begin(1);
    (void)ask(ALL);
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_stop(world.core, "a", 1000, world.now_ms, &world.out, &op, &err),
                     POOLMGR_OK);
    assert_int_equal(refused_with(), POOLMGR_E_START_FAILED);
}

static void test_while_an_operator_stops_one_pool_the_other_is_started(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    begin(2);
    (void)up("a");
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_stop(world.core, "a", 60000, world.now_ms, &world.out, &op, &err),
                     POOLMGR_OK);
    assert_int_equal(state_of("a"), PM_READY); /* its last answer is not over */
    (void)ask(ALL);
    assert_string_equal(staged_pool(), "b");
}

static void test_the_last_waiter_gives_up_the_start_of_whichever_pool_it_was_LOAD_4(void **s)
{
    uint64_t id;

    specs[1]->abandon_after_ms = 2000;
    begin(2);
    (void)up("a");
    (void)ask("b");
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    id = ask(ALL);
    gone(&world, id - 1);
    tick(&world, world.now_ms + 5000);
    assert_int_equal(state_of("b"), PM_STARTING); /* somebody waits, who may be served by a, too */
    gone(&world, id);
    tick(&world, world.now_ms + 1999);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    tick(&world, world.now_ms + 1);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

/* ---- refusals of several ---------------------------------------------------------------------------------------- */

static void forced_open(const char *pool)
{
    struct poolmgr_error err = {0};

    pm_actions_clear(&world.out);
    assert_int_equal(
        pm_core_reset(world.core, pool, PM_BREAKER_FORCED_OPEN, world.now_ms, &world.out, &err),
        POOLMGR_OK);
}

static void test_where_all_refuse_what_can_be_tried_again_is_told(void **s)
{
    const struct pm_failure failure = {.class = PM_CLASS_STAGING, .permanent = true};

    begin(2);
    (void)ask("a");
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure);
    forced_open("b");
    (void)ask(ALL);
    assert_int_equal(refused_with(), POOLMGR_E_BREAKER_OPEN);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->spec->id, "b");
    (void)ask("a");
    assert_int_equal(refused_with(), POOLMGR_E_POOL_FAILED);
}

static void test_who_waits_is_refused_when_the_last_pool_refuses_too(void **s)
{
    begin(2);
    (void)ask(ALL);
    forced_open("b");
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    forced_open("a");
    assert_int_equal(refused_with(), POOLMGR_E_BREAKER_OPEN);
}

/* ---- pools that rest or go -------------------------------------------------------------------------------------- */

static void drained(const char *pool, enum pm_then then)
{
    const struct pm_drain drain = {.has_deadline = true, .deadline_ms = 60000, .then = then};
    struct poolmgr_error err = {0};
    uint64_t op;

    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_drain(world.core, pool, &drain, world.now_ms, &world.out, &op, &err),
                     POOLMGR_OK);
    durable(&world);
}

static void test_who_waits_for_a_pool_that_is_drained_goes_elsewhere(void **s)
{
    uint64_t both, pinned, only;

    begin(2);
    (void)up("a");
    both = ask(ALL);
    pinned = ask_placed(ALL, (struct pm_placement){.pin = "a"});
    only = ask("a");
    drained("a", PM_THEN_HOLD);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct pm_action *action = action_at(&world, PM_ACT_REFUSE, i);

        assert_int_equal(action->error->code,
                         action->request == pinned ? POOLMGR_E_PIN_UNMET : POOLMGR_E_DRAINING);
        assert_true(action->request == pinned || action->request == only);
    }
    assert_string_equal(staged_pool(), "b");
    (void)bring_up();
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, both);

    (void)ask_placed(ALL, (struct pm_placement){.pin = "a"});
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
    (void)ask("a");
    assert_int_equal(refused_with(), POOLMGR_E_DRAINING);
    (void)ask(ALL);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
}

static void removed(const char *pool)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    pm_actions_clear(&world.out);
    assert_int_equal(
        pm_core_remove_pool(world.core, pool, true, 60000, world.now_ms, &world.out, &op, &err),
        POOLMGR_OK);
    durable(&world);
}

static void add_by_api(int pool)
{
    struct poolmgr_error err = {0};

    assert_int_equal(
        pm_core_add_pool(world.core, specs[pool], PM_OWNER_API, world.now_ms, &world.out, &err),
        POOLMGR_OK);
}

static void test_a_removed_pool_leaves_its_names_and_its_waiters_to_the_others(void **s)
{
    uint64_t both, pinned, only;
    struct pm_lease lease;

    for (int i = 0; i < 2; i++)
        add_by_api(i);
    begin(0);
    lease = up("a");
    both = ask(ALL);
    pinned = ask_placed(ALL, (struct pm_placement){.pin = "a"});
    only = ask("a");
    removed("a");
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct pm_action *action = action_at(&world, PM_ACT_REFUSE, i);

        assert_int_equal(action->error->code, action->request == pinned
                                                  ? POOLMGR_E_PIN_UNMET
                                                  : POOLMGR_E_MODEL_NOT_FOUND);
        assert_true(action->request == pinned || action->request == only);
    }
    assert_string_equal(staged_pool(), "b");
    assert_string_equal(pm_core_route(world.core, ALL)->id, "b");
    assert_null(pm_core_route_at(world.core, ALL, 1));
    assert_null(pm_core_route(world.core, "a"));
    (void)bring_up();
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, both);
    release(&world, &lease, PM_RELEASE_DONE); /* what ran there ends there */
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

static void test_the_last_pool_of_a_name_takes_the_name_with_it(void **s)
{
    add_by_api(0);
    begin(0);
    (void)ask(ALL);
    removed("a");
    assert_int_equal(refused_with(), POOLMGR_E_MODEL_NOT_FOUND);
    (void)ask(ALL);
    assert_int_equal(refused_with(), POOLMGR_E_MODEL_NOT_FOUND);
}

static void test_a_pool_that_comes_later_serves_its_name_too(void **s)
{
    uint64_t both;

    begin(1);
    (void)up("a");
    (void)ask("a");
    both = ask(ALL); /* came when there was only a */
    add_by_api(1);
    assert_string_equal(pm_core_route_at(world.core, ALL, 1)->id, "b");
    (void)ask("b");
    (void)bring_up();
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, both);
}

/* ---- bounds ---------------------------------------------------------------------------------------------------- */

static void test_the_largest_bound_counts_and_the_first_max_age(void **s)
{
    specs[0]->queue.n_requests = 1;
    specs[1]->queue.n_requests = 3;
    specs[0]->queue.max_age_ms = 5000;
    specs[1]->queue.max_age_ms = 1000;
    begin(2);
    for (int i = 0; i < 3; i++) {
        (void)ask(ALL);
        assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    }
    (void)ask(ALL);
    assert_int_equal(refused_with(), POOLMGR_E_QUEUE_FULL);
    tick(&world, world.now_ms + 4999);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    tick(&world, world.now_ms + 1);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 3);
}

static void test_wishes_do_not_make_a_queue_longer(void **s)
{
    const char *const b[] = {"b"};

    for (int i = 0; i < 2; i++) {
        specs[i]->queue.n_requests = 2;
        specs[i]->queue.policy = PM_QUEUE_DROP_LRU;
    }
    begin(2);
    (void)request_with(&world, (struct pm_request){.route = ALL, .priority = PM_BATCH});
    (void)ask_placed(ALL, (struct pm_placement){.pin = "a"});
    (void)ask_placed(ALL, (struct pm_placement){.avoid = b, .n_avoid = 1});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->request, 1); /* the batch is dropped */
    assert_int_equal(refused_with(), POOLMGR_E_QUEUE_DROPPED);
    (void)ask_placed(ALL, (struct pm_placement){.pin = "b"});
    assert_int_equal(refused_with(), POOLMGR_E_QUEUE_FULL);
}

static void test_drop_lru_drops_nobody_for_a_request_that_does_not_fit_then_either(void **s)
{
    struct pm_lease lease;

    specs[0]->queue.bytes = 1000;
    specs[0]->queue.policy = PM_QUEUE_DROP_LRU;
    begin(1);
    lease = up("a");
    (void)request_with(&world, (struct pm_request){.route = "a", .bytes = 600});
    (void)request_with(&world,
                       (struct pm_request){.route = "a", .bytes = 300, .priority = PM_BATCH});
    (void)request_with(&world, (struct pm_request){.route = "a", .bytes = 500});
    assert_int_equal(refused_with(), POOLMGR_E_QUEUE_FULL);
    assert_int_equal(depth_of("a"), 2);
    (void)lease;
}

/* ---- tenants --------------------------------------------------------------------------------------------------- */

static void test_tenants_take_turns_and_inside_a_tenant_it_is_first_come_first_served(void **s)
{
    static const char *const tenants[] = {"x", "x", "x", "x", "y", "z", "z"};
    static const uint64_t order[] = {2, 6, 7, 3, 8, 4, 5};
    struct pm_lease lease;

    begin(1);
    lease = up("a");
    for (size_t i = 0; i < sizeof(tenants) / sizeof(tenants[0]); i++)
        (void)request_with(&world, (struct pm_request){.route = "a", .tenant = tenants[i]});
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        release(&world, &lease, PM_RELEASE_DONE);
        assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, order[i]);
        lease = the_action(&world, PM_ACT_GRANT)->lease;
    }
}

static void test_a_position_counts_turns_and_classes(void **s)
{
    static const struct {
        const char *tenant;
        enum pm_priority priority;
        uint64_t position;
    } rows[] = {
        {"x", PM_INTERACTIVE, 0}, {"x", PM_INTERACTIVE, 1}, {"x", PM_INTERACTIVE, 2},
        {"y", PM_INTERACTIVE, 1}, {"y", PM_INTERACTIVE, 3}, {"x", PM_BATCH, 3},
        {"x", PM_BATCH, 6},       {"x", PM_INTERACTIVE, 6}, {"z", PM_INTERACTIVE, 2},
    };
    struct pm_lease lease;

    begin(1);
    lease = up("a");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t position = 99;
        uint64_t id = request_with(&world, (struct pm_request){.route = "a",
                                                               .tenant = rows[i].tenant,
                                                               .priority = rows[i].priority});

        assert_true(pm_core_waiter(world.core, id, &position));
        assert_int_equal(position, rows[i].position);
    }
    (void)lease;
}

/* ---- wishes ------------------------------------------------------------------------------------------------------ */

static void test_a_pin_reaches_its_pool_and_no_other(void **s)
{
    struct pm_lease lease;
    uint64_t pinned, other;

    begin(2);
    (void)up_and_idle("a");
    pinned = ask_placed(ALL, (struct pm_placement){.pin = "b"});
    assert_string_equal(staged_pool(), "b");
    (void)pinned;
    other = ask(ALL); /* nobody is blocked by one who waits for another pool */
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, other);
    lease = the_action(&world, PM_ACT_GRANT)->lease;
    assert_string_equal(pool_of(&lease), "a");
}

static void test_a_pin_outside_the_route_or_to_a_failed_pool_is_not_met(void **s)
{
    const struct pm_failure failure = {.class = PM_CLASS_STAGING, .permanent = true};

    begin(2);
    (void)ask_placed("a", (struct pm_placement){.pin = "b"});
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->param, "X-Placement");
    (void)ask_placed(ALL, (struct pm_placement){.pin = "nobody"});
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);

    (void)ask_placed(ALL, (struct pm_placement){.pin = "a"});
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure); /* while it waits */
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
    (void)ask_placed(ALL, (struct pm_placement){.pin = "a"}); /* and at arrival */
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->retry_after_ms, 0);
}

static void test_what_is_preferred_is_taken_and_started_first(void **s)
{
    const char *const c[] = {"c"};
    const struct pm_placement prefer = {.prefer = c, .n_prefer = 1};
    struct pm_lease lease;

    begin(3);
    (void)ask_placed(ALL, prefer);
    assert_string_equal(staged_pool(), "c");
    (void)bring_up();
    lease = the_action(&world, PM_ACT_GRANT)->lease;
    (void)up_and_idle("a");
    (void)ask_placed(ALL, prefer); /* c is full: a is as good as nothing better */
    assert_string_equal(granted_pool(), "a");
    release(&world, &lease, PM_RELEASE_DONE);
    (void)ask_placed(ALL, prefer);
    assert_string_equal(granted_pool(), "c");
}

static void test_without_fallback_only_what_is_preferred_serves(void **s)
{
    const char *const c[] = {"c"};

    begin(3);
    (void)up_and_idle("a");
    (void)ask_placed(ALL, (struct pm_placement){.prefer = c, .n_prefer = 1, .no_fallback = true});
    assert_string_equal(staged_pool(), "c");
    (void)ask_placed("a", (struct pm_placement){.prefer = c, .n_prefer = 1, .no_fallback = true});
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
}

static void test_what_is_avoided_serves_only_when_nobody_else_can(void **s)
{
    const char *const a[] = {"a"};
    const struct pm_placement avoid = {.avoid = a, .n_avoid = 1};
    uint64_t id;

    begin(2);
    (void)up_and_idle("a");
    id = ask_placed(ALL, avoid);
    assert_string_equal(staged_pool(), "b"); /* though a is free */
    forced_open("b");                        /* elsewhere, then */
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, id);
    assert_string_equal(granted_pool(), "a");
    (void)ask_placed("a", avoid); /* there is nobody else */
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
}

static void test_what_is_avoided_without_fallback_never_serves(void **s)
{
    const char *const a[] = {"a"};
    const struct pm_placement avoid = {.avoid = a, .n_avoid = 1, .no_fallback = true};

    begin(2);
    (void)up_and_idle("a");
    (void)ask_placed(ALL, avoid);
    forced_open("b");
    assert_int_equal(refused_with(), POOLMGR_E_BREAKER_OPEN);
    (void)ask_placed("a", avoid);
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
}

static void set_devices(int pool, const char *devices)
{
    free(specs[pool]->devices);
    specs[pool]->devices = pm_xstrdup(devices);
}

static void test_a_mask_is_respected_and_nothing_runs_beside_it_MASK_1(void **s)
{
    set_devices(0, "0,1");
    set_devices(1, "1");
    set_devices(2, "cpu");
    begin(3);
    (void)ask_placed(ALL, (struct pm_placement){.mask = "1"});
    assert_string_equal(staged_pool(), "b");
    (void)ask_placed(ALL, (struct pm_placement){.mask = "cpu"});
    assert_string_equal(staged_pool(), "c");
    (void)ask_placed(ALL, (struct pm_placement){.mask = "1,0"}); /* b comes, and lies within it */
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    (void)ask_placed(ALL, (struct pm_placement){.mask = "2"});
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
    (void)ask_placed(ALL, (struct pm_placement){.mask = ""});
    assert_int_equal(refused_with(), POOLMGR_E_PIN_UNMET);
}

static void test_a_prompt_goes_where_it_fits(void **s)
{
    specs[0]->context = 1000;
    specs[1]->context = 4000;
    begin(2);
    (void)request_with(&world, (struct pm_request){.route = ALL, .context_needed = 2000});
    assert_string_equal(staged_pool(), "b");
    (void)request_with(&world, (struct pm_request){.route = ALL, .context_needed = 5000});
    assert_int_equal(refused_with(), POOLMGR_E_CONTEXT_LENGTH_EXCEEDED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_of_cold_pools_the_first_of_the_file_is_started_and_no_other),
        TEST(test_a_pool_that_is_up_is_enough),
        TEST(test_who_waits_is_served_by_whichever_pool_has_a_slot_first),
        TEST(test_when_a_start_fails_the_next_pool_is_tried_and_nobody_is_refused),
        TEST(test_an_engine_that_dies_leaves_its_waiters_to_the_other_pool),
        TEST(test_a_stop_sends_who_waits_to_another_pool),
        TEST(test_a_stop_of_the_only_pool_refuses_who_waits_for_its_start),
        TEST(test_while_an_operator_stops_one_pool_the_other_is_started),
        TEST(test_the_last_waiter_gives_up_the_start_of_whichever_pool_it_was_LOAD_4),
        TEST(test_where_all_refuse_what_can_be_tried_again_is_told),
        TEST(test_who_waits_is_refused_when_the_last_pool_refuses_too),
        TEST(test_who_waits_for_a_pool_that_is_drained_goes_elsewhere),
        TEST(test_a_removed_pool_leaves_its_names_and_its_waiters_to_the_others),
        TEST(test_the_last_pool_of_a_name_takes_the_name_with_it),
        TEST(test_a_pool_that_comes_later_serves_its_name_too),
        TEST(test_the_largest_bound_counts_and_the_first_max_age),
        TEST(test_wishes_do_not_make_a_queue_longer),
        TEST(test_drop_lru_drops_nobody_for_a_request_that_does_not_fit_then_either),
        TEST(test_tenants_take_turns_and_inside_a_tenant_it_is_first_come_first_served),
        TEST(test_a_position_counts_turns_and_classes),
        TEST(test_a_pin_reaches_its_pool_and_no_other),
        TEST(test_a_pin_outside_the_route_or_to_a_failed_pool_is_not_met),
        TEST(test_what_is_preferred_is_taken_and_started_first),
        TEST(test_without_fallback_only_what_is_preferred_serves),
        TEST(test_what_is_avoided_serves_only_when_nobody_else_can),
        TEST(test_what_is_avoided_without_fallback_never_serves),
        TEST(test_a_mask_is_respected_and_nothing_runs_beside_it_MASK_1),
        TEST(test_a_prompt_goes_where_it_fits),
    };

    return cmocka_run_group_tests_name("core: routes", tests, NULL, NULL);
}
