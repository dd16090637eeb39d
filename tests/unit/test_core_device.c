/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: driver errors and quarantine (SUP-8), loss, memory that comes back or does not (SUP-7). */
#include "core_room_world.h"

static struct pm_token token_of(const char *id)
{
    return place(id).token;
}

/* a and b of 5 GiB, idle on one device; their errors are the device's. */
static void begin_two(void)
{
    add_device(24);
    (void)spec_of("a", 5);
    (void)spec_of("b", 5);
    (void)spec_of("c", 5);
    for (size_t i = 0; i < n_specs; i++)
        specs[i]->restart = PM_RESTART_NEVER; /* the test says when */
    begin();
    use("a");
    use("b");
}

/* ---- driver errors of an engine ---------------------------------------------------------------------------- */

static void test_a_driver_error_dooms_an_engine_and_nothing_saves_it_SUP_8(void **s)
{
    struct pm_lease lease;

    add_device(24);
    (void)spec_of("a", 5);
    specs[0]->probe.every_ms = 2000;
    begin();
    lease = run("a");
    driver_error(token_of("a"), PM_XID_APP);
    assert_int_equal(place("a").state, PM_SICK);
    assert_false(place("a").gate_open);
    assert_told(&world, PM_EV_XID,
                "XID 31 of device 0 is the engine's doing, under the engine of a");
    for (int i = 0; i < 4; i++) {
        tick(&world, world.now_ms + 2000);
        probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    }
    assert_int_equal(place("a").state, PM_SICK);
    end_lease(lease); /* emptied */
    assert_int_equal(place("a").state, PM_STOPPING);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 0);
    ends("a");
    assert_int_equal(place("a").n_failures, 2); /* counts twice */
    assert_int_equal(place("a").last_error.class, PM_CLASS_DRIVER);
    assert_string_equal(place("a").last_error.text, "a driver error: XID 31");
    assert_int_equal(place("a").state, PM_BACKOFF);
}

static void test_its_streams_have_until_drain_deadline(void **s)
{
    add_device(24);
    (void)spec_of("a", 5);
    begin();
    (void)run("a");
    driver_error(token_of("a"), PM_XID_APP);
    tick(&world, world.now_ms + 5 * 60 * 1000 - 1);
    assert_int_equal(place("a").state, PM_SICK);
    next_tick(&world);
    assert_int_equal(place("a").state, PM_STOPPING);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_ENGINE_CRASHED);
}

static void test_a_doomed_engine_that_dies_first_has_its_class_still(void **s)
{
    add_device(24);
    (void)spec_of("a", 5);
    begin();
    (void)run("a");
    driver_error(token_of("a"), PM_XID_APP);
    driver_error(token_of("a"), PM_XID_APP);
    crash(&world, token_of("a"), (struct pm_exit){.signalled = true, .status = 6});
    assert_int_equal(place("a").n_failures, 2);
    assert_int_equal(place("a").last_error.class, PM_CLASS_DRIVER);
}

static void test_an_engine_that_dies_loading_after_a_driver_error_died_of_it(void **s)
{
    add_device(24);
    (void)spec_of("a", 5);
    begin();
    (void)wish("a");
    driver_error(token_of("a"), PM_XID_APP);
    assert_int_equal(place("a").state, PM_STARTING);
    crash(&world, token_of("a"), (struct pm_exit){.status = 1});
    assert_int_equal(place("a").last_error.class, PM_CLASS_DRIVER);
    assert_int_equal(place("a").n_failures, 2);
}

static void test_a_note_is_told_and_nothing_else(void **s)
{
    begin_two();
    driver_error(token_of("a"), PM_XID_NOTE);
    assert_told(&world, PM_EV_XID, "XID 31 of device 0 is noted, under the engine of a");
    assert_int_equal(world.out.n, 1);
    assert_true(place("a").gate_open);
    xid("7", token_of("a"), PM_XID_LOST); /* of nothing we know */
    assert_int_equal(world.out.n, 0);
}

/* ---- devices that are lost ---------------------------------------------------------------------------------- */

static void test_a_device_to_be_reset_stops_its_engines_and_is_blamed_itself(void **s)
{
    begin_two();
    driver_error(token_of("a"), PM_XID_RESET);
    assert_states(PM_STOPPING, PM_STOPPING, PM_COLD);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 2);
    assert_int_equal(device(0).is.state, PM_DEVICE_RESET_REQUIRED);
    (void)ask("c");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DEVICE_LOST);
    assert_string_equal(pool("c").code_name, "device_lost");
    assert_string_equal(pool("c").reason,
                        "no device that c may use works: device 0 is reset_required");
    ends("a");
    ends("b");
    assert_states(PM_COLD, PM_COLD, PM_COLD);
    assert_int_equal(place("a").n_failures, 0);
    devices[0].state = PM_DEVICE_OK; /* it was reset */
    list_devices();
    assert_string_equal(pool("c").reason, "starts with the first request");
    (void)wish("a");
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_a_device_that_vanishes_is_lost_and_keeps_its_name(void **s)
{
    struct pm_lease lease;

    add_device(24);
    (void)spec_of("a", 5);
    begin();
    lease = run("a");
    n_devices = 0;
    list_devices();
    assert_told(&world, PM_EV_DEVICE_LOST, "device 0 is lost: its engines are stopped");
    assert_told(&world, PM_EV_INSTANCE_STOPPING, "a stops: its device does not work");
    assert_int_equal(the_action(&world, PM_ACT_CUT)->lease.serial, lease.serial);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 1);
    assert_int_equal(device(0).is.state, PM_DEVICE_LOST);
    ends("a");
    assert_int_equal(place("a").n_failures, 0);
    n_devices = 1;
    list_devices();
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

static void test_a_start_on_a_lost_device_is_killed_and_one_being_stopped_is_hurried(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    begin_two();
    (void)wish("c");
    assert_int_equal(pm_core_stop(world.core, "a", 0, world.now_ms, &world.out, &op, &err), 0);
    devices[0].state = PM_DEVICE_LOST;
    list_devices();
    assert_states(PM_STOPPING, PM_STOPPING, PM_STOPPING);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 3);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
}

static void test_of_two_devices_the_one_that_is_lost_stops_the_engines_on_it(void **s)
{
    add_device(24);
    add_device(24);
    (void)spec_of("a", 0);
    pm_device_sizes_add(&specs[0]->vram, "0", 5 * GIB);
    pm_device_sizes_add(&specs[0]->vram, "1", 5 * GIB);
    (void)spec_of("b", 5);
    only_on(specs[1], "0");
    (void)spec_of("c", 5);
    only_on(specs[2], "1");
    begin();
    use("a");
    use("b");
    use("c");
    xid("1", (struct pm_token){0}, PM_XID_LOST);
    assert_states(PM_STOPPING, PM_READY, PM_STOPPING);
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
    assert_int_equal(device(1).is.state, PM_DEVICE_LOST);
}

/* ---- errors of a device -------------------------------------------------------------------------------------- */

static void test_an_error_of_a_device_is_the_doing_of_the_only_engine_there(void **s)
{
    add_device(24);
    (void)spec_of("a", 5);
    begin();
    use("a");
    xid("0", (struct pm_token){0}, PM_XID_APP);
    assert_int_equal(place("a").state, PM_STOPPING); /* nobody has a lease */
    assert_int_equal(place("a").last_error.class, PM_CLASS_DRIVER);
}

static void test_of_several_engines_the_one_that_dies_soon_is_to_blame(void **s)
{
    begin_two();
    xid("0", (struct pm_token){0}, PM_XID_APP);
    assert_told(&world, PM_EV_XID, "XID 31 of device 0 is a program's doing");
    assert_states(PM_READY, PM_READY, PM_COLD);
    tick(&world, world.now_ms + 10000);
    crash(&world, token_of("b"), (struct pm_exit){.signalled = true, .status = 6});
    assert_int_equal(place("b").last_error.class, PM_CLASS_DRIVER);
    tick(&world, world.now_ms + 1);
    crash(&world, token_of("a"), (struct pm_exit){.signalled = true, .status = 6});
    assert_int_equal(place("a").last_error.class, PM_CLASS_SIGNAL);
}

static void test_an_unknown_error_is_a_note_until_an_engine_dies_of_it_SUP_8(void **s)
{
    begin_two();
    pm_actions_clear(&world.out);
    pm_core_xid(world.core, "0", 999, PM_XID_NOTE, false, (struct pm_token){0}, world.now_ms,
                &world.out);
    assert_states(PM_READY, PM_READY, PM_COLD);
    tick(&world, world.now_ms + 9000);
    crash(&world, token_of("a"), (struct pm_exit){.status = 1});
    assert_int_equal(place("a").last_error.class, PM_CLASS_DRIVER);
}

static void test_a_gpu_takes_its_mig_instances_along(void **s)
{
    static const char *const ids[] = {"GPU-a", "MIG-a", "MIG-b", "GPU-b"};

    for (int i = 0; i < 4; i++) {
        struct pm_gpu *gpu = &devices[i].is_gpu;

        add_device(24);
        (void)pm_str_copy(devices[i].id, sizeof(devices[i].id), ids[i]);
        (void)pm_str_copy(gpu->id, sizeof(gpu->id), ids[i]);
        (void)pm_str_copy(gpu->pci, sizeof(gpu->pci), i < 3 ? "00000000:65:00.0" : "x");
        gpu->slot = i == 1 || i == 2 ? i - 1 : -1;
        gpu->index = i == 3;
        gpu->mig_mode = i == 0;
    }
    list_devices();
    xid("MIG-b", (struct pm_token){0}, PM_XID_RESET);
    assert_int_equal(device(1).is.state, PM_DEVICE_OK);
    assert_int_equal(device(2).is.state, PM_DEVICE_RESET_REQUIRED);
    xid("GPU-a", (struct pm_token){0}, PM_XID_LOST);
    assert_told(&world, PM_EV_XID, "XID 31 of GPU 0 means that the device is lost");
    assert_int_equal(device(1).is.state, PM_DEVICE_LOST);
    assert_int_equal(device(2).is.state, PM_DEVICE_LOST);
    assert_int_equal(device(3).is.state, PM_DEVICE_OK);
}

/* ---- quarantine ---------------------------------------------------------------------------------------------- */

/* The engine of a pool is up, and dies of a driver error. */
static void fails(const char *id)
{
    driver_error(token_of(id), PM_XID_APP);
    ends(id);
}

/* Starts once more, on a pool that failed just now. */
static void wish_again(const char *id)
{
    struct poolmgr_error err = {0};

    assert_int_equal(
        pm_core_reset(world.core, id, PM_BREAKER_CLOSED, world.now_ms, &world.out, &err), 0);
    (void)wish(id);
}

static void quarantine(void)
{
    begin_two();
    fails("a");
    fails("b");
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
    wish_again("a");
    (void)make_ready("a");
    driver_error(token_of("a"), PM_XID_APP);
}

static void test_three_driver_errors_of_two_pools_quarantine_the_device_once(void **s)
{
    quarantine();
    assert_int_equal(device(0).is.state, PM_DEVICE_QUARANTINED);
    assert_told(&world, PM_EV_DEVICE_QUARANTINED,
                "device 0 is quarantined for 5m: 3 driver errors of several pools in a minute");
    (void)wish("c");
    assert_int_equal(place("c").state, PM_WAITING);
    assert_string_equal(pool("c").reason,
                        "waits: device 0 is quarantined; poolctl devices clear 0 ends that");
    assert_int_equal(place("a").state, PM_SICK); /* what runs there stays */
}

static void test_driver_errors_of_one_pool_are_the_pools(void **s)
{
    begin_two();
    for (int i = 0; i < 4; i++) {
        fails("a");
        wish_again("a");
        end_lease(make_ready("a"));
    }
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

static void test_driver_errors_far_apart_are_not_counted_together(void **s)
{
    begin_two();
    fails("a");
    fails("b");
    world.now_ms += 60001;
    wish_again("a");
    (void)make_ready("a");
    driver_error(token_of("a"), PM_XID_APP);
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

static void test_a_command_ends_a_quarantine(void **s)
{
    quarantine();
    (void)wish("c");
    assert_int_equal(clear("0"), 0);
    assert_told(&world, PM_EV_DEVICE_CLEARED, "device 0 may be used again: an operator says so");
    assert_int_equal(place("c").state, PM_STARTING);
    assert_int_equal(clear("7"), POOLMGR_E_NOT_FOUND);
    devices[0].state = PM_DEVICE_LOST;
    list_devices();
    assert_int_equal(clear("0"), POOLMGR_E_CONFLICT);
}

static void test_a_reset_that_is_seen_ends_a_quarantine(void **s)
{
    quarantine();
    devices[0].state = PM_DEVICE_RESET_REQUIRED;
    list_devices();
    devices[0].state = PM_DEVICE_OK;
    list_devices();
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

static void test_after_a_quarantine_one_trial_starts_and_others_wait_for_it_INV_11(void **s)
{
    uint64_t since_ms;

    quarantine();
    since_ms = world.now_ms;
    (void)wish("c");
    (void)spec_of("d", 5);
    world_add(&world, specs[3]);
    world.now_ms++;
    (void)wish("d");
    pass(QUARANTINE - 2);
    assert_int_equal(place("c").state, PM_WAITING);
    tick(&world, since_ms + QUARANTINE);
    assert_int_equal(place("c").state, PM_STARTING); /* the oldest */
    assert_int_equal(place("d").state, PM_WAITING);
    assert_int_equal(device(0).is.state, PM_DEVICE_QUARANTINED);
    spawned(&world, token_of("c"), NULL);
    endpoint_ready(&world, token_of("c"));
    assert_told(&world, PM_EV_DEVICE_CLEARED, "device 0 may be used again: c is ready on it");
    assert_int_equal(place("d").state, PM_STARTING);
}

static void test_a_trial_that_fails_begins_the_quarantine_anew(void **s)
{
    const struct pm_exit driver = {.status = 1, .evidence = {.class = PM_CLASS_DRIVER}};
    uint64_t failed_ms;

    quarantine();
    (void)wish("c");
    pass(QUARANTINE);
    assert_int_equal(place("c").state, PM_STARTING);
    failed_ms = world.now_ms;
    exited(&world, token_of("c"), driver);
    assert_told(&world, PM_EV_DEVICE_QUARANTINED,
                "device 0 is quarantined for 5m: the trial ended with a driver error");
    assert_int_equal(device(0).until_ms, failed_ms + QUARANTINE);
}

static void test_a_trial_that_ends_otherwise_lets_the_next_one_try(void **s)
{
    quarantine();
    (void)wish("c");
    pass(QUARANTINE);
    crash(&world, token_of("c"), (struct pm_exit){.status = 1});
    assert_int_equal(device(0).is.state, PM_DEVICE_QUARANTINED);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(place("c").state, PM_STARTING);
}

/* ---- memory comes back (SUP-7) ---------------------------------------------------------------------------------- */

/* a, of 5 GiB, ended on a device somebody looks at. */
static void end_seen(uint64_t free_before_gib)
{
    begin_three();
    specs[0]->restart = PM_RESTART_NEVER;
    seen_free("0", free_before_gib, true);
    (void)run("a");
    seen_free("0", free_before_gib - 10, true);
    crash(&world, token_of("a"), (struct pm_exit){.status = 1});
    assert_int_equal(place("a").state, PM_STOPPING);
    assert_int_equal(device(0).planned_bytes, 10 * GIB);
}

static void test_memory_is_back_when_it_has_not_risen_for_a_second(void **s)
{
    uint64_t ended_ms;

    end_seen(23);
    ended_ms = world.now_ms;
    tick(&world, ended_ms + 400);
    seen_free("0", 18, true);
    tick(&world, ended_ms + 900);
    seen_free("0", 23, true);
    assert_int_equal(pm_core_deadline(world.core), ended_ms + 1900);
    tick(&world, ended_ms + 1899);
    assert_int_equal(place("a").state, PM_STOPPING);
    next_tick(&world);
    assert_int_equal(place("a").state, PM_COLD);
    assert_told(&world, PM_EV_VRAM_RETURNED, "the memory of a is back after 1.9 s");
    assert_int_equal(device(0).planned_bytes, 0);
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

static void test_nobody_is_killed_or_told_to_stop_while_memory_comes_back(void **s)
{
    end_seen(23);
    tick(&world, world.now_ms + 9999);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 0);
    childless(&world, token_of("a")); /* once more */
    assert_int_equal(world.out.n, 0);
}

static void test_memory_nobody_looks_at_is_waited_for_ten_seconds_and_nobody_is_suspect(void **s)
{
    uint64_t ended_ms;

    end_seen(23);
    ended_ms = world.now_ms;
    tick(&world, ended_ms + 9999);
    assert_int_equal(place("a").state, PM_STOPPING);
    next_tick(&world);
    assert_int_equal(world.now_ms, ended_ms + 10000);
    assert_int_equal(place("a").state, PM_COLD);
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

static void lose_memory(bool processes_known)
{
    uint64_t ended_ms;

    end_seen(23);
    ended_ms = world.now_ms;
    for (uint64_t ms = 500; ms < 10000; ms += 500) {
        tick(&world, ended_ms + ms);
        seen_free("0", 18, processes_known); /* 5 GiB are missing, and nobody's */
    }
    tick(&world, ended_ms + 10000);
    assert_int_equal(place("a").state, PM_COLD);
}

static void test_memory_that_does_not_come_back_makes_its_device_suspect_INV_11(void **s)
{
    lose_memory(true);
    assert_int_equal(device(0).is.state, PM_DEVICE_SUSPECT);
    assert_told(&world, PM_EV_DEVICE_SUSPECT,
                "device 0 is suspect: 6.0 GiB in use are nobody's after a ended");
    (void)wish("b");
    assert_int_equal(place("b").state, PM_WAITING);
    seen_free("0", 23, true); /* it clears itself */
    assert_told(&world, PM_EV_DEVICE_CLEARED, "device 0 may be used again: its memory is back");
    assert_int_equal(place("b").state, PM_STARTING);
}

static void test_a_command_trusts_a_suspect_device(void **s)
{
    lose_memory(true);
    (void)wish("b");
    assert_int_equal(clear("0"), 0);
    assert_int_equal(place("b").state, PM_STARTING);
}

static void test_nobody_is_suspect_where_processes_are_hidden(void **s)
{
    lose_memory(false);
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

static void test_a_claimant_waits_until_the_memory_is_back(void **s)
{
    begin_three();
    seen_free("0", 23, true);
    use("a");
    use("b");
    (void)wish("c");
    ends("a");
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
    tick(&world, world.now_ms + 300);
    seen_free("0", 23, true);
    tick(&world, world.now_ms + 1000);
    assert_states(PM_COLD, PM_READY, PM_STARTING);
}

static void test_a_shutdown_waits_for_no_memory(void **s)
{
    end_seen(23);
    pm_actions_clear(&world.out);
    pm_core_shutdown(world.core, false, world.now_ms, &world.out);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_driver_error_dooms_an_engine_and_nothing_saves_it_SUP_8),
        TEST(test_its_streams_have_until_drain_deadline),
        TEST(test_a_doomed_engine_that_dies_first_has_its_class_still),
        TEST(test_an_engine_that_dies_loading_after_a_driver_error_died_of_it),
        TEST(test_a_note_is_told_and_nothing_else),
        TEST(test_a_device_to_be_reset_stops_its_engines_and_is_blamed_itself),
        TEST(test_a_device_that_vanishes_is_lost_and_keeps_its_name),
        TEST(test_a_start_on_a_lost_device_is_killed_and_one_being_stopped_is_hurried),
        TEST(test_of_two_devices_the_one_that_is_lost_stops_the_engines_on_it),
        TEST(test_an_error_of_a_device_is_the_doing_of_the_only_engine_there),
        TEST(test_of_several_engines_the_one_that_dies_soon_is_to_blame),
        TEST(test_an_unknown_error_is_a_note_until_an_engine_dies_of_it_SUP_8),
        TEST(test_a_gpu_takes_its_mig_instances_along),
        TEST(test_three_driver_errors_of_two_pools_quarantine_the_device_once),
        TEST(test_driver_errors_of_one_pool_are_the_pools),
        TEST(test_driver_errors_far_apart_are_not_counted_together),
        TEST(test_a_command_ends_a_quarantine),
        TEST(test_a_reset_that_is_seen_ends_a_quarantine),
        TEST(test_after_a_quarantine_one_trial_starts_and_others_wait_for_it_INV_11),
        TEST(test_a_trial_that_fails_begins_the_quarantine_anew),
        TEST(test_a_trial_that_ends_otherwise_lets_the_next_one_try),
        TEST(test_memory_is_back_when_it_has_not_risen_for_a_second),
        TEST(test_nobody_is_killed_or_told_to_stop_while_memory_comes_back),
        TEST(test_memory_nobody_looks_at_is_waited_for_ten_seconds_and_nobody_is_suspect),
        TEST(test_memory_that_does_not_come_back_makes_its_device_suspect_INV_11),
        TEST(test_a_command_trusts_a_suspect_device),
        TEST(test_nobody_is_suspect_where_processes_are_hidden),
        TEST(test_a_claimant_waits_until_the_memory_is_back),
        TEST(test_a_shutdown_waits_for_no_memory),
    };

    return cmocka_run_group_tests_name("core: devices", tests, NULL, NULL);
}
