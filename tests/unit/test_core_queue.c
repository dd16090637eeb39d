/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting: order, bounds, deadlines (QUEUE-1, QUEUE-2, INV-23, INV-24, INV-31). */
#include "core_world.h"

static struct world world;

static int set_up(void **s)
{
    world_init(&world);
    world.spec->n_slots = 1;
    return 0;
}

static int tear_down(void **s)
{
    world_fini(&world);
    return 0;
}

static uint64_t batch(void)
{
    return request_with(&world, (struct pm_request){.priority = PM_BATCH});
}

/* Ends the running request and tells who is next; 0: nobody. */
static uint64_t next(struct pm_lease *lease)
{
    release(&world, lease, PM_RELEASE_DONE);
    if (count_actions(&world, PM_ACT_GRANT) == 0)
        return 0;
    *lease = the_action(&world, PM_ACT_GRANT)->lease;
    return the_action(&world, PM_ACT_GRANT)->request;
}

static void test_requests_are_served_in_the_order_of_their_arrival(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    for (uint64_t i = 0; i < 50; i++)
        (void)request(&world);
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(next(&lease), i + 2);
    assert_int_equal(next(&lease), 0);
}

static void test_interactive_goes_first_and_every_fourth_grant_is_batch(void **s)
{
    static const char expected[] = "iiibiiibiibbb";
    struct pm_lease lease;
    char got[sizeof(expected)] = "";
    bool is_batch[32] = {false};

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    for (int i = 0; i < 5; i++)
        is_batch[batch()] = true;
    for (int i = 0; i < 8; i++)
        (void)request(&world);
    for (size_t i = 0; i < strlen(expected); i++)
        got[i] = is_batch[next(&lease)] ? 'b' : 'i';
    assert_string_equal(got, expected);
}

static void test_a_full_queue_refuses_the_next_request(void **s)
{
    struct pm_lease lease;

    world.spec->queue.n_requests = 2;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request(&world);
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_FULL);
    assert_int_equal(view(&world).queue_depth, 2);
}

static void test_a_queue_is_bounded_in_bytes_too(void **s)
{
    struct pm_lease lease;

    world.spec->queue.bytes = 1000;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request_with(&world, (struct pm_request){.bytes = 900});
    (void)request_with(&world, (struct pm_request){.bytes = 101});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_FULL);
    (void)request_with(&world, (struct pm_request){.bytes = 100});
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_int_equal(view(&world).queue_bytes, 1000);
    (void)request_with(&world, (struct pm_request){.bytes = UINT64_MAX});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_FULL);
    (void)next(&lease);
    assert_int_equal(view(&world).queue_bytes, 100);
}

static void test_drop_lru_drops_the_oldest_batch_and_never_an_interactive_request(void **s)
{
    struct pm_lease lease;
    uint64_t oldest;

    world.spec->queue.n_requests = 2;
    world.spec->queue.policy = PM_QUEUE_DROP_LRU;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request(&world);
    oldest = batch();
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->request, oldest);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_DROPPED);

    (void)batch();
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->request, world.n_requests);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_FULL);
}

static void test_a_request_waits_until_its_deadline_and_not_longer_INV_31(void **s)
{
    struct pm_lease lease;
    uint64_t id;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    id = request_with(&world, (struct pm_request){.deadline_ms = 1500});
    tick(&world, world.now_ms + 1499);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    tick(&world, world.now_ms + 1);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->request, id);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_TIMEOUT);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->message,
                        "waited 1.5 s for a free slot of " POOL " (1 in use)");
}

static void test_a_deadline_beyond_max_age_is_capped_by_it(void **s)
{
    world.spec->queue.max_age_ms = 3000;
    world_begin(&world);
    (void)request_with(&world, (struct pm_request){.deadline_ms = UINT64_MAX});
    (void)request(&world);
    tick(&world, world.now_ms + 3000);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 2);
    assert_string_equal(action_at(&world, PM_ACT_REFUSE, 0)->error->message,
                        "waited 3 s for the model of " POOL);
}

static void test_a_client_that_leaves_makes_room_and_is_never_granted(void **s)
{
    struct pm_lease lease;
    uint64_t first, second, position = 9;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    first = request(&world);
    second = request(&world);
    assert_true(pm_core_waiter(world.core, second, &position));
    assert_int_equal(position, 1);
    gone(&world, first);
    assert_true(pm_core_waiter(world.core, second, &position));
    assert_int_equal(position, 0);
    assert_false(pm_core_waiter(world.core, first, &position));
    gone(&world, first); /* twice is harmless */
    assert_int_equal(world.out.n, 0);
    assert_int_equal(next(&lease), second);
}

/* GW-3b: it keeps its arrival time, hence the head. */
static void test_a_request_that_is_tried_again_goes_before_those_that_came_later(void **s)
{
    struct pm_lease lease;
    uint64_t early_ms, retried;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    early_ms = world.now_ms;
    world.now_ms += 10;
    (void)request(&world);
    (void)request(&world);
    retried = request_with(&world, (struct pm_request){.retried = true, .arrived_ms = early_ms});
    assert_int_equal(next(&lease), retried);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->waited_ms, 10);
    assert_int_equal(next(&lease), 2);
}

static void test_a_grant_tells_how_long_and_behind_how_many_it_waited(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request(&world);
    (void)request(&world);
    (void)next(&lease);
    world.now_ms += 250;
    (void)next(&lease);
    assert_true(the_action(&world, PM_ACT_GRANT)->waited);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->queue_position, 1);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->waited_ms, 250);
}

static void test_an_unknown_model_and_no_model_are_told_apart(void **s)
{
    struct pm_pool_spec *other = pm_pool_spec_new("other");

    world_begin(&world);
    (void)request_with(&world, (struct pm_request){.route = "qwen-9b"});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_MODEL_NOT_FOUND);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->message,
                        "no model 'qwen-9b' is served here");
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->param, "model");

    (void)request_with(&world, (struct pm_request){.route = ""}); /* the only pool */
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 1);

    pm_actions_clear(&world.out);
    world_add(&world, other);
    (void)request_with(&world, (struct pm_request){.route = ""});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_INVALID_REQUEST);
    pm_pool_spec_unref(other);
}

static void test_an_alias_reaches_its_pool(void **s)
{
    pm_strv_add(&world.spec->aliases, "gpt-4o-mini");
    world_begin(&world);
    (void)request_with(&world, (struct pm_request){.route = "gpt-4o-mini"});
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 1);
    assert_ptr_equal(pm_core_route(world.core, "gpt-4o-mini"), world.spec);
    assert_null(pm_core_route(world.core, "gpt-4o"));
}

static void test_names_of_pools_are_taken_once_REG_2(void **s)
{
    struct pm_pool_spec *twin = pm_pool_spec_new(POOL), *thief = pm_pool_spec_new("thief"),
                        *alias = pm_pool_spec_new("mini");
    struct poolmgr_error err = {0};

    pm_strv_add(&world.spec->aliases, "mini");
    pm_strv_add(&thief->aliases, POOL);
    world_begin(&world);
    assert_int_equal(pm_core_add_pool(world.core, twin, PM_OWNER_FILE, 0, &world.out, &err),
                     POOLMGR_E_ALREADY_EXISTS);
    assert_int_equal(pm_core_add_pool(world.core, thief, PM_OWNER_FILE, 0, &world.out, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(pm_core_add_pool(world.core, alias, PM_OWNER_FILE, 0, &world.out, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(pm_core_n_pools(world.core), 1);
    pm_pool_spec_unref(twin);
    pm_pool_spec_unref(thief);
    pm_pool_spec_unref(alias);
}

static void test_the_default_pool_takes_requests_without_a_name(void **s)
{
    struct pm_core_options options = {.default_pool = "b"};
    struct pm_pool_spec *a = pm_pool_spec_new("a"), *b = pm_pool_spec_new("b");

    pm_core_free(world.core);
    world.core = pm_core_new(&options);
    world_add(&world, a);
    world_add(&world, b);
    assert_string_equal(pm_core_route(world.core, "")->id, "b");
    pm_core_configure(world.core, &(struct pm_core_options){.default_pool = "a"}, world.now_ms,
                      &world.out);
    assert_string_equal(pm_core_route(world.core, "")->id, "a");
    pm_pool_spec_unref(a);
    pm_pool_spec_unref(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_are_served_in_the_order_of_their_arrival),
        TEST(test_interactive_goes_first_and_every_fourth_grant_is_batch),
        TEST(test_a_full_queue_refuses_the_next_request),
        TEST(test_a_queue_is_bounded_in_bytes_too),
        TEST(test_drop_lru_drops_the_oldest_batch_and_never_an_interactive_request),
        TEST(test_a_request_waits_until_its_deadline_and_not_longer_INV_31),
        TEST(test_a_deadline_beyond_max_age_is_capped_by_it),
        TEST(test_a_client_that_leaves_makes_room_and_is_never_granted),
        TEST(test_a_request_that_is_tried_again_goes_before_those_that_came_later),
        TEST(test_a_grant_tells_how_long_and_behind_how_many_it_waited),
        TEST(test_an_unknown_model_and_no_model_are_told_apart),
        TEST(test_an_alias_reaches_its_pool),
        TEST(test_names_of_pools_are_taken_once_REG_2),
        TEST(test_the_default_pool_takes_requests_without_a_name),
    };

    return cmocka_run_group_tests_name("core: queue", tests, NULL, NULL);
}
