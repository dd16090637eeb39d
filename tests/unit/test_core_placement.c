/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request goes, and why (PLACE-1, INV-25); what is measured, and what it foretells (QUEUE-3, REG-1). */
#include <stdlib.h>

#include "core_world.h"

#define ALL "all"

static struct world world;
static struct pm_pool_spec *specs[3];
static struct pm_token tokens[3];

static const char *const ids[] = {"a", "b", "c"};

static int set_up(void **s)
{
    world_init(&world);
    for (int i = 0; i < 3; i++) {
        specs[i] = pm_pool_spec_new(ids[i]);
        specs[i]->n_slots = 2;
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

static void begin(void)
{
    for (int i = 0; i < 3; i++)
        world_add(&world, specs[i]);
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
}

/* Takes `ms` to load, and has the lease of whoever started it. */
static struct pm_lease up_after(int pool, uint64_t ms)
{
    (void)request_with(&world, (struct pm_request){.route = ids[pool]});
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    tokens[pool] = the_action(&world, PM_ACT_SPAWN)->token;
    world.now_ms += ms;
    endpoint_ready(&world, tokens[pool]);
    return action_at(&world, PM_ACT_GRANT, 0)->lease;
}

static void idle(int pool)
{
    struct pm_lease lease = up_after(pool, 100);

    release(&world, &lease, PM_RELEASE_UNUSED);
}

static struct pm_lease grant(const char *route)
{
    (void)request_with(&world, (struct pm_request){.route = route});
    return the_action(&world, PM_ACT_GRANT)->lease;
}

/* "a" with whoever the token of the last grant belongs to. */
static const char *granted_pool(void)
{
    for (int i = 0; i < 3; i++) {
        if (tokens[i].serial == the_action(&world, PM_ACT_GRANT)->lease_token.serial)
            return ids[i];
    }
    return "nobody";
}

static void perf(const char *pool, uint64_t first_token_ms, uint64_t n_tokens, uint64_t decode_ms)
{
    struct pm_lease lease = grant(pool);

    pm_core_perf(world.core, &lease, first_token_ms, n_tokens, decode_ms);
    release(&world, &lease, PM_RELEASE_UNUSED);
}

static struct pm_placement_view explain(const char *route, struct pm_placement placement)
{
    struct pm_placement_view view;
    struct poolmgr_error err = {0};
    uint64_t version = pm_core_snapshot_version(world.core);

    assert_int_equal(pm_core_explain(world.core, route, &placement, world.now_ms, &view, &err),
                     POOLMGR_OK);
    assert_int_equal(pm_core_snapshot_version(world.core), version);
    return view;
}

/* "a b:health c:pin leases": candidates in their order with what refuses them, and what decided. */
static void assert_explained(const char *route, struct pm_placement placement, const char *expected)
{
    struct pm_placement_view view = explain(route, placement), again = explain(route, placement);
    char text[256] = "";

    for (size_t i = 0; i < view.n; i++) {
        size_t at = strlen(text);

        (void)snprintf(text + at, sizeof(text) - at, "%s%s%s ", view.candidates[i].pool_id,
                       view.candidates[i].refused_by[0] ? ":" : "", view.candidates[i].refused_by);
        assert_string_equal(view.candidates[i].pool_id, again.candidates[i].pool_id);
        assert_string_equal(view.candidates[i].refused_by, again.candidates[i].refused_by);
    }
    (void)strcat(text, view.decided_by);
    assert_string_equal(text, expected);
    assert_int_equal(view.chosen, !view.candidates[0].refused_by[0]);
    pm_placement_view_fini(&view);
    pm_placement_view_fini(&again);
}

#define ANY ((struct pm_placement){0})

/* ---- the order ------------------------------------------------------------------------------------------------- */

static void test_fewest_leases_then_the_first_id(void **s)
{
    begin();
    for (int i = 0; i < 3; i++)
        idle(i);
    assert_explained(ALL, ANY, "a b c id");
    (void)grant(ALL);
    assert_string_equal(granted_pool(), "a");
    assert_explained(ALL, ANY, "b c a id");
    (void)grant(ALL);
    assert_string_equal(granted_pool(), "b");
    assert_explained(ALL, ANY, "c a b leases");
    (void)grant(ALL);
    (void)grant(ALL);
    assert_string_equal(granted_pool(), "a");
    assert_explained(ALL, ANY, "b c a:slots id");
}

static void test_the_fastest_goes_first_where_all_speeds_are_known(void **s)
{
    begin();
    for (int i = 0; i < 3; i++)
        idle(i);
    perf("a", 100, 100, 2000);
    perf("c", 100, 100, 500);
    assert_explained(ALL, ANY, "a b c id"); /* nothing is known of b */
    perf("b", 100, 100, 5000);
    assert_explained(ALL, ANY, "c a b speed");
    (void)grant("c");
    assert_explained(ALL, ANY, "c a b speed");
    (void)grant("c");
    assert_explained(ALL, ANY, "a b c:slots speed");
}

static void test_small_differences_of_speed_are_noise(void **s)
{
    begin();
    idle(0);
    idle(1);
    perf("a", 100, 100, 1010);
    perf("b", 100, 100, 1000);
    assert_explained(ALL, ANY, "a b c:health id");
    (void)grant("a");
    assert_explained(ALL, ANY, "b a c:health leases");
}

static void test_what_refuses_a_replica_is_told(void **s)
{
    const char *const a[] = {"a"};
    struct poolmgr_error err = {0};
    struct pm_lease lease;
    uint64_t op;

    free(specs[2]->devices);
    specs[2]->devices = pm_xstrdup("0,1");
    begin();
    idle(0);
    idle(1);
    assert_explained(ALL, ANY, "a b c:health id");
    assert_explained("b", ANY, "b only");
    assert_explained(ALL, (struct pm_placement){.pin = "b"}, "b a:pin c:pin only");
    assert_explained(ALL, (struct pm_placement){.mask = "0,1,2"}, "a:mask b:mask c:health ");
    assert_explained(ALL, (struct pm_placement){.avoid = a, .n_avoid = 1},
                     "b a:avoid c:health only");
    assert_explained("a", (struct pm_placement){.avoid = a, .n_avoid = 1}, "a only");
    assert_explained("a", (struct pm_placement){.avoid = a, .n_avoid = 1, .no_fallback = true},
                     "a:avoid ");
    assert_explained(ALL, (struct pm_placement){.prefer = a, .n_prefer = 1}, "a b c:health prefer");
    assert_explained(ALL, (struct pm_placement){.prefer = a, .n_prefer = 1, .no_fallback = true},
                     "a b:prefer c:prefer only");
    lease = grant("b");
    (void)lease;
    assert_int_equal(pm_core_stop(world.core, "b", 1000, world.now_ms, &world.out, &op, &err),
                     POOLMGR_OK);
    assert_explained(ALL, ANY, "a b:gate c:health only");
}

static void test_who_is_not_placed_is_told_whether_it_would_wait(void **s)
{
    struct pm_placement_view view;
    struct poolmgr_error err = {0};

    begin();
    view = explain(ALL, ANY);
    assert_false(view.chosen);
    assert_int_equal(view.error.code, 0);
    pm_placement_view_fini(&view);

    view = explain(ALL, (struct pm_placement){.pin = "z"});
    assert_int_equal(view.error.code, POOLMGR_E_PIN_UNMET);
    pm_placement_view_fini(&view);

    assert_int_equal(
        pm_core_reset(world.core, "a", PM_BREAKER_FORCED_OPEN, world.now_ms, &world.out, &err),
        POOLMGR_OK);
    view = explain("a", ANY);
    assert_int_equal(view.error.code, POOLMGR_E_BREAKER_OPEN);
    pm_placement_view_fini(&view);

    assert_int_equal(pm_core_explain(world.core, "nobody", &ANY, world.now_ms, &view, &err),
                     POOLMGR_E_MODEL_NOT_FOUND);
}

static void test_whoever_is_chosen_passes_every_filter_INV_25(void **s)
{
    begin();
    for (int i = 0; i < 3; i++)
        idle(i);
    for (int i = 0; i < 6; i++) {
        struct pm_placement_view view = explain(ALL, ANY);

        assert_true(view.chosen);
        (void)grant(ALL);
        assert_string_equal(granted_pool(), view.candidates[0].pool_id);
        pm_placement_view_fini(&view);
    }
    assert_explained(ALL, ANY, "a:slots b:slots c:slots ");
}

/* ---- what is measured ---------------------------------------------------------------------------------------------- */

static struct pm_replica_view replica_of(const char *pool)
{
    struct pm_replica_view view;

    assert_true(pm_core_replica(world.core, pool, 0, &view));
    return view;
}

static void assert_near(double value, double expected)
{
    assert_true(value > expected * 0.99 && value < expected * 1.01);
}

static void test_speed_is_measured_by_tokens_and_not_by_answers_REG_1(void **s)
{
    begin();
    idle(0);
    assert_true(replica_of("a").tokens_per_s == 0);
    assert_true(replica_of("a").first_token_ms == 0);
    perf("a", 80, 1000, 10000); /* 100 a second */
    assert_near(replica_of("a").tokens_per_s, 100);
    assert_near(replica_of("a").first_token_ms, 80);
    perf("a", 160, 1, 100); /* 10 a second, but who counts one token */
    assert_near(replica_of("a").tokens_per_s, 99.0);
    assert_near(replica_of("a").first_token_ms, 90);
    for (int i = 0; i < 100; i++)
        perf("a", 160, 500, 10000);
    assert_near(replica_of("a").tokens_per_s, 50); /* it follows */
    assert_near(replica_of("a").first_token_ms, 160);
}

static void test_what_is_not_known_of_an_answer_changes_nothing(void **s)
{
    struct pm_lease lease;

    begin();
    idle(0);
    perf("a", PM_NEVER, 0, 0);
    perf("a", PM_NEVER, 10, 0);
    perf("a", PM_NEVER, 0, 10);
    assert_true(replica_of("a").tokens_per_s == 0);
    assert_true(replica_of("a").first_token_ms == 0);
    lease = grant("a");
    release(&world, &lease, PM_RELEASE_DONE);
    pm_core_perf(world.core, &lease, 5, 5, 5); /* too late */
    assert_true(replica_of("a").first_token_ms == 0);
    pm_core_perf(world.core, &(struct pm_lease){0}, 5, 5, 5);
}

/* ---- what it foretells ------------------------------------------------------------------------------------------------ */

/* Two slots that are taken, after answers of 1 s each. */
static void fill(struct pm_lease leases[2])
{
    struct pm_lease lease;

    begin();
    idle(0);
    lease = grant("a");
    world.now_ms += 1000;
    release(&world, &lease, PM_RELEASE_DONE);
    leases[0] = grant("a");
    leases[1] = grant("a");
}

static void test_where_nothing_was_measured_nothing_is_foretold(void **s)
{
    struct pm_lease lease;
    uint64_t id, ms = 0;

    begin();
    lease = up_after(0, 100);
    (void)grant("a");
    id = request_with(&world, (struct pm_request){.route = "a"});
    assert_false(pm_core_predicted_start(world.core, id, &ms));
    release(&world, &lease, PM_RELEASE_UNUSED);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->predicted_ms, 0);
    assert_false(pm_core_predicted_start(world.core, id, &ms));
}

static void test_a_start_is_foretold_from_measured_service_and_position(void **s)
{
    struct pm_lease leases[2];
    uint64_t first, second, ms = 0;

    fill(leases);
    first = request_with(&world, (struct pm_request){.route = "a"});
    second = request_with(&world, (struct pm_request){.route = "a"});
    assert_true(pm_core_predicted_start(world.core, first, &ms));
    assert_int_equal(ms, 500); /* two slots, a second each */
    assert_true(pm_core_predicted_start(world.core, second, &ms));
    assert_int_equal(ms, 1000);
    assert_int_equal(find_event(&world, PM_EV_REQUEST_QUEUED)->predicted_start_ms, 1000);
    release(&world, &leases[0], PM_RELEASE_UNUSED);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->predicted_ms, 500);
    assert_true(pm_core_predicted_start(world.core, second, &ms));
    assert_int_equal(ms, 500);
}

static void test_a_start_of_an_engine_is_foretold_from_the_last_ones(void **s)
{
    const struct pm_exit how = {.signalled = true, .status = 11};
    uint64_t id, ms = 0;

    begin();
    (void)up_after(0, 4000);
    crash(&world, tokens[0], how);
    id = request_with(&world, (struct pm_request){.route = "a"});
    assert_true(pm_core_predicted_start(world.core, id, &ms));
    assert_int_equal(ms, 4000);
}

static void test_who_would_wait_too_long_is_refused_at_once_with_the_time(void **s)
{
    struct pm_lease leases[2];

    specs[0]->max_queue_wait_ms = 1200;
    fill(leases);
    (void)request_with(&world, (struct pm_request){.route = "a"});
    (void)request_with(&world, (struct pm_request){.route = "a"});
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    (void)request_with(&world, (struct pm_request){.route = "a"});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_OVERLOADED);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->message,
                        "a would begin in 1.5 s, behind 2 requests");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->retry_after_ms, 1500);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->predicted_ms, 1500);
}

static void test_refusals_by_the_queue_say_how_long_it_was_to_wait(void **s)
{
    struct pm_lease leases[2];

    specs[0]->queue.n_requests = 1;
    fill(leases);
    (void)request_with(&world, (struct pm_request){.route = "a", .deadline_ms = 50});
    (void)request_with(&world, (struct pm_request){.route = "a"});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_FULL);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->predicted_ms, 1000);
    tick(&world, world.now_ms + 50);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_TIMEOUT);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->predicted_ms, 500);
}

static void test_who_waits_by_other_names_is_ahead_too(void **s)
{
    struct pm_lease leases[2];
    uint64_t id, ms = 0;

    fill(leases);
    (void)request_with(&world, (struct pm_request){.route = "a"});
    (void)request_with(&world, (struct pm_request){.route = "a"});
    id = request_with(&world, (struct pm_request){.route = ALL});
    assert_true(pm_core_predicted_start(world.core, id, &ms));
    assert_int_equal(ms, 1500);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fewest_leases_then_the_first_id),
        TEST(test_the_fastest_goes_first_where_all_speeds_are_known),
        TEST(test_small_differences_of_speed_are_noise),
        TEST(test_what_refuses_a_replica_is_told),
        TEST(test_who_is_not_placed_is_told_whether_it_would_wait),
        TEST(test_whoever_is_chosen_passes_every_filter_INV_25),
        TEST(test_speed_is_measured_by_tokens_and_not_by_answers_REG_1),
        TEST(test_what_is_not_known_of_an_answer_changes_nothing),
        TEST(test_where_nothing_was_measured_nothing_is_foretold),
        TEST(test_a_start_is_foretold_from_measured_service_and_position),
        TEST(test_a_start_of_an_engine_is_foretold_from_the_last_ones),
        TEST(test_who_would_wait_too_long_is_refused_at_once_with_the_time),
        TEST(test_refusals_by_the_queue_say_how_long_it_was_to_wait),
        TEST(test_who_waits_by_other_names_is_ahead_too),
    };

    return cmocka_run_group_tests_name("core: placement", tests, NULL, NULL);
}
