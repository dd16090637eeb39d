/* SPDX-License-Identifier: Apache-2.0 */
/* Room on devices (LOAD-2, LOAD-5): plans, charges, the line of those who wait, what can never fit. */
#include "core_room_world.h"

/* ---- plans ---------------------------------------------------------------------------------------------- */

static void test_without_devices_nothing_is_planned_and_nobody_waits(void **s)
{
    (void)spec_of("a", 10);
    begin();
    (void)wish("a");
    assert_null(the_action(&world, PM_ACT_SPAWN)->plan);
    assert_int_equal(pool("a").planned_bytes, 0);
}

static void test_a_start_is_charged_and_spawned_in_one_step_LOAD_2(void **s)
{
    const struct pm_plan *plan;

    begin_three();
    (void)wish("a");
    plan = the_action(&world, PM_ACT_SPAWN)->plan;
    assert_int_equal(plan->n_devices, 1);
    assert_string_equal(plan->devices[0].id, "0");
    assert_int_equal(plan->devices[0].bytes, 10 * GIB);
    assert_int_equal(device(0).planned_bytes, 10 * GIB);
    assert_int_equal(pool("a").planned_bytes, 10 * GIB);
}

static void test_a_pool_for_the_cpu_needs_no_room_LOAD_5(void **s)
{
    struct pm_pool_spec *spec;

    add_device(24);
    spec = spec_of("a", 100);
    free(spec->devices);
    spec->devices = pm_xstrdup("cpu");
    begin();
    (void)wish("a");
    assert_true(the_action(&world, PM_ACT_SPAWN)->plan->on_cpu);
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->n_devices, 0);
    assert_true(pool("a").on_cpu);
}

static void test_auto_takes_the_tightest_device_it_fits_on(void **s)
{
    add_device(24);
    add_device(12);
    (void)spec_of("a", 10);
    (void)spec_of("b", 10);
    begin();
    (void)wish("a");
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "1");
    (void)wish("b");
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "0");
}

static void test_a_mask_of_two_is_one_of_them(void **s)
{
    add_device(24);
    add_device(12);
    add_device(8);
    only_on(spec_of("a", 10), "0,1");
    only_on(spec_of("b", 6), "0,1");
    begin();
    (void)wish("a");
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->n_devices, 1);
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "1");
    (void)wish("b");
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "0");
}

static void test_a_map_is_charged_on_all_that_it_names_in_the_order_of_the_mask(void **s)
{
    struct pm_pool_spec *spec;

    add_device(24);
    add_device(12);
    spec = spec_of("a", 0);
    only_on(spec, "1,0");
    pm_device_sizes_add(&spec->vram, "0", 20 * GIB);
    pm_device_sizes_add(&spec->vram, "1", 8 * GIB);
    begin();
    (void)wish("a");
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->n_devices, 2);
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "1");
    assert_int_equal(device(0).planned_bytes, 20 * GIB);
    assert_int_equal(device(1).planned_bytes, 8 * GIB);
}

static void test_a_mask_never_spills_to_another_device_INV_11(void **s)
{
    struct pm_pool_spec *spec;

    add_device(24);
    add_device(24);
    (void)spec_of("a", 20);
    spec = spec_of("b", 20);
    only_on(specs[0], "0");
    only_on(spec, "0");
    begin();
    end_lease(run("a"));
    specs[0]->pinned = true;
    (void)wish("b");
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    assert_int_equal(place("b").state, PM_WAITING);
}

static void test_replicas_are_charged_one_by_one(void **s)
{
    add_device(24);
    (void)spec_of("a", 10);
    specs[0]->n_replicas = 3;
    begin();
    (void)wish("a");
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 2);
    assert_int_equal(pool("a").planned_bytes, 20 * GIB);
}

/* ---- what can never fit ---------------------------------------------------------------------------------- */

static void test_what_can_never_fit_fails_for_good_with_the_missing_bytes(void **s)
{
    const struct poolmgr_error *error;

    add_device(24);
    add_device(12);
    (void)spec_of("a", 30);
    begin();
    (void)ask("a");
    error = the_action(&world, PM_ACT_REFUSE)->error;
    assert_int_equal(error->code, POOLMGR_E_NEVER_FITS);
    assert_string_equal(error->message,
                        "a cannot start: it needs 30.0 GiB on device 0, which has 23.0 GiB for "
                        "it: 7516192768 bytes are missing");
    assert_int_equal(place("a").state, PM_FAILED);
    assert_string_equal(pool("a").code_name, "never_fits");
    assert_int_equal(place("a").last_error.code, POOLMGR_E_NEVER_FITS);
    (void)ask("a");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_NEVER_FITS);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
}

static void test_one_byte_too_many_never_fits_and_the_last_byte_does(void **s)
{
    add_device(24);
    (void)spec_of("a", 23);
    (void)spec_of("b", 23);
    specs[1]->vram.each++;
    begin();
    (void)wish("a");
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 1);
    (void)ask("b");
    assert_non_null(
        strstr(the_action(&world, PM_ACT_REFUSE)->error->message, ": 1 byte is missing"));
}

/* SUP-6 */
static void test_a_larger_device_is_changed_hardware(void **s)
{
    add_device(24);
    (void)spec_of("a", 30);
    specs[0]->start = PM_PRELOAD;
    begin();
    assert_int_equal(place("a").state, PM_FAILED);
    devices[0].total_bytes = 48 * GIB;
    list_devices();
    assert_int_equal(place("a").state, PM_STAGING);
}

/* ---- short ----------------------------------------------------------------------------------------------- */

static void test_who_is_short_waits_and_says_what_is_missing_HEALTH_5(void **s)
{
    begin_three();
    (void)run("a");
    (void)run("b");
    (void)wish("c");
    assert_int_equal(place("c").state, PM_WAITING);
    assert_string_equal(pool("c").code_name, "vram_short");
    assert_string_equal(pool("c").reason,
                        "waits for room: device 0 lacks 7.0 GiB of the 10.0 GiB it needs");
    assert_told(&world, PM_EV_VRAM_REFUSED,
                "c waits for room: device 0 lacks 7.0 GiB of the 10.0 GiB it needs");
    (void)ask("c");
    assert_null(find_event(&world, PM_EV_VRAM_REFUSED)); /* told once */
}

static void test_a_request_that_waited_for_room_in_vain_is_told_so(void **s)
{
    begin_three();
    specs[0]->pinned = specs[1]->pinned = true;
    (void)run("a");
    (void)run("b");
    (void)wish("c");
    pass(10 * 60 * 1000 - 1);
    tick(&world, world.now_ms + 1);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_QUEUE_TIMEOUT);
    assert_non_null(strstr(the_action(&world, PM_ACT_REFUSE)->error->message,
                           "device 0 lacks 7.0 GiB of the 10.0 GiB it needs"));
}

/* INV-10: the charge ends after the last of its processes, and only then. */
static void test_a_charge_ends_once_and_after_childless(void **s)
{
    begin_three();
    (void)run("a");
    (void)run("b");
    (void)wish("c");
    exited(&world, place("a").token, (struct pm_exit){.status = 1});
    assert_int_equal(device(0).planned_bytes, 20 * GIB);
    assert_int_equal(place("c").state, PM_WAITING);
    childless(&world, place("a").token);
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].bytes, 10 * GIB);
    assert_int_equal(place("c").state, PM_STARTING);
    assert_int_equal(device(0).planned_bytes, 20 * GIB);
}

static void test_a_spawn_that_fails_gives_its_charge_back(void **s)
{
    const struct pm_failure failure = {.text = "no shim"};

    begin_three();
    (void)wish("a");
    spawned(&world, place("a").token, &failure);
    assert_int_equal(device(0).planned_bytes, 0);
}

static void test_a_claim_nobody_wants_any_more_is_given_up(void **s)
{
    uint64_t request;

    begin_three();
    specs[2]->abandon_after_ms = 0;
    (void)run("a");
    (void)run("b");
    request = wish("c");
    gone(&world, request);
    assert_int_equal(place("c").state, PM_COLD);
    ends("a");
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
}

/* ---- the line -------------------------------------------------------------------------------------------- */

static void test_the_oldest_waiter_comes_first_and_no_smaller_one_overtakes_it(void **s)
{
    begin_three();
    specs[2]->vram.each = 2 * GIB;
    (void)run("a");
    (void)spec_of("d", 20);
    world_add(&world, specs[3]);
    (void)wish("d");
    world.now_ms++;
    (void)wish("c"); /* would fit at once; but d may get its room, and waited longer */
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    assert_string_equal(pool("c").reason, "waits for room: other pools have waited longer");
    ends("a");
    assert_int_equal(place("d").state, PM_STARTING);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 2); /* c beside it */
}

static void test_one_that_cannot_get_its_room_keeps_nobody_from_theirs(void **s)
{
    begin_three();
    specs[0]->pinned = true;
    specs[2]->vram.each = 2 * GIB;
    (void)run("a");
    (void)spec_of("d", 20);
    world_add(&world, specs[3]);
    (void)wish("d");
    world.now_ms++;
    (void)wish("c");
    assert_int_equal(place("c").state, PM_STARTING);
    assert_int_equal(place("d").state, PM_WAITING);
}

static void test_preloads_come_last_in_the_order_of_the_file_and_stop_nobody(void **s)
{
    struct pm_token staging[3];

    add_device(24);
    for (const char *const *id = (const char *const[]){"a", "b", "c", NULL}; *id; id++)
        spec_of(*id, 10)->start = PM_PRELOAD;
    (void)spec_of("d", 10);
    begin();
    for (size_t i = 0; i < 3; i++)
        staging[i] = action_at(&world, PM_ACT_STAGE, i)->token;
    staged(&world, staging[2], NULL); /* c is first to be there */
    staged(&world, staging[1], NULL);
    assert_states(PM_STAGING, PM_STARTING, PM_STARTING);
    staged(&world, staging[0], NULL);
    (void)wish("d");
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    ends("b");
    assert_int_equal(place("d").state, PM_STARTING); /* a request goes before a preload */
    assert_int_equal(place("a").state, PM_WAITING);
    pass(60000);
    assert_int_equal(place("a").state, PM_WAITING);
}

static void test_a_preload_that_waits_for_room_takes_no_place_to_start(void **s)
{
    add_device(24);
    for (const char *const *id = (const char *const[]){"a", "b", "c", "d", NULL}; *id; id++)
        spec_of(*id, 20)->start = PM_PRELOAD;
    specs[3]->vram.each = 1 * GIB;
    begin();
    for (size_t i = 0, n = world.out.n; i < n; i++)
        assert_true(world.out.items[i].kind != PM_ACT_SPAWN);
    {
        struct pm_token staging[4];

        for (size_t i = 0; i < 4; i++)
            staging[i] = action_at(&world, PM_ACT_STAGE, i)->token;
        for (size_t i = 0; i < 4; i++)
            staged(&world, staging[i], NULL);
    }
    assert_states(PM_STARTING, PM_WAITING, PM_WAITING);
    assert_int_equal(place("d").state, PM_STARTING);
}

/* ---- reloads ---------------------------------------------------------------------------------------------- */

/* Another model for a; staged. */
static void reload_a(uint64_t gib)
{
    struct pm_reload reload = {.spec = spec_of("a", gib)};
    struct poolmgr_error err = {0};
    uint64_t op;

    reload.spec->model.main = pm_xstrdup("/m/new.gguf");
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_reload(world.core, "a", &reload, world.now_ms, &world.out, &op, &err),
                     0);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
}

static void test_a_reload_that_fits_starts_beside_RELOAD_1(void **s)
{
    begin_three();
    (void)run("a");
    reload_a(13);
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].bytes, 13 * GIB);
    assert_true(place("a").gate_open);
    assert_int_equal(device(0).planned_bytes, 23 * GIB);
}

static void test_a_reload_that_does_not_fit_evicts_nobody_and_swaps(void **s)
{
    struct pm_lease lease;

    begin_three();
    use("b");
    lease = run("a");
    reload_a(10);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    assert_false(place("a").gate_open);
    end_lease(lease);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    ends("a");
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->spec->model.main, "/m/new.gguf");
    assert_int_equal(place("b").state, PM_READY);
}

static void test_what_one_of_a_swap_frees_is_the_others_though_somebody_waits_for_longer(void **s)
{
    struct pm_lease lease;

    add_device(24);
    (void)spec_of("a", 20);
    (void)spec_of("b", 20);
    begin();
    lease = run("a");
    (void)wish("b");
    world.now_ms++;
    reload_a(20);
    end_lease(lease);
    ends("a");
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->spec->model.main, "/m/new.gguf");
    assert_int_equal(place("b").state, PM_WAITING);
    assert_int_equal(device(0).planned_bytes, 20 * GIB);
    assert_int_equal(device(0).claimed_bytes, 0);
}

static void test_a_reload_that_can_never_fit_changes_nothing(void **s)
{
    begin_three();
    (void)run("a");
    reload_a(30);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    assert_true(place("a").gate_open);
    assert_int_equal(device(0).planned_bytes, 10 * GIB);
}

/* ---- devices that do not work ------------------------------------------------------------------------------ */

static void test_a_pool_whose_device_is_lost_refuses_at_once(void **s)
{
    begin_three();
    devices[0].state = PM_DEVICE_DENIED;
    list_devices();
    (void)ask("a");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DEVICE_LOST);
    devices[0].state = PM_DEVICE_OK;
    list_devices();
    (void)wish("a");
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_who_waits_for_room_on_a_device_that_gets_lost_is_refused(void **s)
{
    begin_three();
    (void)run("a");
    (void)run("b");
    (void)wish("c");
    devices[0].state = PM_DEVICE_MISMATCH; /* what runs there stays */
    list_devices();
    assert_told(&world, PM_EV_DEVICE_UNUSABLE,
                "device 0 takes no new engines: reload the driver, or reboot");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DEVICE_LOST);
    assert_string_equal(pool("c").code_name, "device_lost");
    assert_states(PM_READY, PM_READY, PM_WAITING);
}

static void test_auto_goes_where_devices_work(void **s)
{
    add_device(24);
    add_device(12);
    (void)spec_of("a", 10);
    begin();
    devices[1].state = PM_DEVICE_LOST;
    list_devices();
    (void)wish("a");
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "0");
}

/* MASK-1, SUP-6 */
static void test_a_mask_with_an_unknown_device_fails_until_it_is_found(void **s)
{
    struct pm_token staging;

    add_device(24);
    only_on(spec_of("a", 10), "1");
    begin();
    (void)ask("a");
    staging = the_action(&world, PM_ACT_STAGE)->token;
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_POOL_FAILED);
    assert_int_equal(place("a").last_error.code, POOLMGR_E_MASK_NOT_FOUND);
    assert_int_equal(place("a").state, PM_FAILED);
    add_device(24);
    list_devices();
    (void)ask("a");
    staged(&world, staging, NULL);
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "1");
}

/* LOAD-3: who comes when all pools of a name had refused is asked anew, though nobody waited between. */
static void test_who_comes_after_all_were_refused_is_refused_too(void **s)
{
    struct pm_pool_spec *a = spec_of("a", 10), *b = spec_of("b", 10);

    add_device(24);
    only_on(a, "1");
    only_on(b, "0");
    pm_strv_add(&a->aliases, "chat");
    pm_strv_add(&b->aliases, "chat");
    begin();
    devices[0].state = PM_DEVICE_LOST;
    list_devices();
    for (int i = 0; i < 2; i++) {
        (void)ask("chat");
        assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 1);
        assert_int_equal(place("a").state, PM_FAILED);
        pm_actions_clear(&world.out);
        pm_core_file_changed(world.core, "a", world.now_ms, &world.out);
        assert_int_equal(place("a").state, PM_COLD);
    }
}

/* SUP-9d: what the reload kept waiting has room, and may start by all but this. */
static void test_a_leave_that_calls_a_reload_off_starts_nothing(void **s)
{
    add_device(12);
    spec_of("a", 10)->n_replicas = 2;
    begin();
    use("a");
    reload_a(10);
    ends("a");
    crash(&world, the_action(&world, PM_ACT_SPAWN)->token, (struct pm_exit){.status = 1});
    assert_int_equal(place("a").state, PM_STAGING);
    pm_actions_clear(&world.out);
    pm_core_leave(world.core, world.now_ms, &world.out);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

/* ---- adoption ------------------------------------------------------------------------------------------------ */

static struct pm_token adopt(const char *id)
{
    struct poolmgr_error err = {0};
    struct pm_token token;

    assert_int_equal(
        pm_core_adopt(world.core, id, 0, 1, 4711, 10, world.now_ms, &world.out, &token, &err), 0);
    return token;
}

static void test_an_adopted_engine_is_charged_where_it_was_started(void **s)
{
    struct pm_plan plan = {.n_devices = 1, .devices = {{.id = "1", .bytes = 9 * GIB}}};
    struct pm_replica_device on;
    struct pm_token token;

    add_device(24);
    add_device(12);
    (void)spec_of("a", 10);
    list_devices();
    world_add(&world, specs[0]);
    token = adopt("a");
    assert_int_equal(device(0).planned_bytes, 10 * GIB); /* as far as can be guessed */
    pm_core_adopted_on(world.core, token, &plan, world.now_ms, &world.out);
    assert_int_equal(device(0).planned_bytes, 0);
    assert_int_equal(device(1).planned_bytes, 9 * GIB);
    assert_true(pm_core_replica_device(world.core, "a", 0, 0, &on));
    assert_string_equal(on.id, "1");
    assert_int_equal(on.planned_bytes, 9 * GIB);
    assert_false(pm_core_replica_device(world.core, "a", 0, 1, &on));
}

static void test_an_adopted_engine_is_not_guessed_on_a_device_that_is_lost(void **s)
{
    struct pm_plan plan = {.n_devices = 1, .devices = {{.id = "1", .bytes = 10 * GIB}}};
    struct pm_token token;

    add_device(24);
    add_device(12);
    devices[0].state = PM_DEVICE_LOST;
    (void)spec_of("a", 10);
    list_devices();
    world_add(&world, specs[0]);
    token = adopt("a");
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 0);
    assert_int_equal(device(1).planned_bytes, 10 * GIB);
    pm_core_adopted_on(world.core, token, &plan, world.now_ms, &world.out);
    assert_int_equal(device(1).planned_bytes, 10 * GIB);
}

static void test_adopted_engines_count_though_they_do_not_fit(void **s)
{
    add_device(24);
    for (const char *const *id = (const char *const[]){"a", "b", "c", "d", NULL}; *id; id++)
        (void)spec_of(*id, 10);
    list_devices();
    for (size_t i = 0; i < n_specs; i++)
        world_add(&world, specs[i]);
    (void)adopt("a");
    (void)adopt("b");
    (void)adopt("c");
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
    assert_int_equal(device(0).planned_bytes, 30 * GIB);
    (void)wish("d");
    assert_int_equal(place("d").state, PM_WAITING);
    ends("a"); /* 20 are charged: still nothing left for one more */
    assert_int_equal(place("d").state, PM_WAITING);
    ends("b");
    assert_int_equal(place("d").state, PM_STARTING);
}

/* LIFECYCLE, row 9: of several the best that may start; when that fails for good in its own step, the next in it. */
static void test_when_all_others_never_fit_the_one_that_was_stopped_is_started(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    add_device(24);
    pm_strv_add(&spec_of("a", 40)->aliases, "chat");
    pm_strv_add(&spec_of("b", 10)->aliases, "chat");
    pm_strv_add(&spec_of("c", 40)->aliases, "chat");
    begin();
    assert_int_equal(pm_core_stop(world.core, "b", 0, world.now_ms, &world.out, &op, &err), 0);
    (void)ask("chat");
    assert_states(PM_FAILED, PM_STAGING, PM_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_devices_nothing_is_planned_and_nobody_waits),
        TEST(test_a_start_is_charged_and_spawned_in_one_step_LOAD_2),
        TEST(test_a_pool_for_the_cpu_needs_no_room_LOAD_5),
        TEST(test_auto_takes_the_tightest_device_it_fits_on),
        TEST(test_a_mask_of_two_is_one_of_them),
        TEST(test_a_map_is_charged_on_all_that_it_names_in_the_order_of_the_mask),
        TEST(test_a_mask_never_spills_to_another_device_INV_11),
        TEST(test_replicas_are_charged_one_by_one),
        TEST(test_what_can_never_fit_fails_for_good_with_the_missing_bytes),
        TEST(test_one_byte_too_many_never_fits_and_the_last_byte_does),
        TEST(test_a_larger_device_is_changed_hardware),
        TEST(test_who_is_short_waits_and_says_what_is_missing_HEALTH_5),
        TEST(test_a_request_that_waited_for_room_in_vain_is_told_so),
        TEST(test_a_charge_ends_once_and_after_childless),
        TEST(test_a_spawn_that_fails_gives_its_charge_back),
        TEST(test_a_claim_nobody_wants_any_more_is_given_up),
        TEST(test_the_oldest_waiter_comes_first_and_no_smaller_one_overtakes_it),
        TEST(test_one_that_cannot_get_its_room_keeps_nobody_from_theirs),
        TEST(test_preloads_come_last_in_the_order_of_the_file_and_stop_nobody),
        TEST(test_a_preload_that_waits_for_room_takes_no_place_to_start),
        TEST(test_a_reload_that_fits_starts_beside_RELOAD_1),
        TEST(test_a_reload_that_does_not_fit_evicts_nobody_and_swaps),
        TEST(test_what_one_of_a_swap_frees_is_the_others_though_somebody_waits_for_longer),
        TEST(test_a_reload_that_can_never_fit_changes_nothing),
        TEST(test_a_pool_whose_device_is_lost_refuses_at_once),
        TEST(test_who_waits_for_room_on_a_device_that_gets_lost_is_refused),
        TEST(test_auto_goes_where_devices_work),
        TEST(test_when_all_others_never_fit_the_one_that_was_stopped_is_started),
        TEST(test_a_mask_with_an_unknown_device_fails_until_it_is_found),
        TEST(test_who_comes_after_all_were_refused_is_refused_too),
        TEST(test_a_leave_that_calls_a_reload_off_starts_nothing),
        TEST(test_an_adopted_engine_is_charged_where_it_was_started),
        TEST(test_an_adopted_engine_is_not_guessed_on_a_device_that_is_lost),
        TEST(test_adopted_engines_count_though_they_do_not_fit),
    };

    return cmocka_run_group_tests_name("core: room", tests, NULL, NULL);
}
