/* SPDX-License-Identifier: Apache-2.0 */
/* What is told, word for word (NARR-1): one story of a pool from its first request to its last try. */
#include "core_world.h"

static struct world world;
static char story[16384];

static int set_up(void **s)
{
    world_init(&world);
    story[0] = '\0';
    return 0;
}

static int tear_down(void **s)
{
    world_fini(&world);
    return 0;
}

/* Adds what the last input told, down to this level. */
static void listen_to(enum pm_level level)
{
    for (size_t i = 0; i < world.out.n; i++) {
        const struct pm_event *event = world.out.items[i].event;
        size_t n = strlen(story);

        if (world.out.items[i].kind != PM_ACT_NARRATE || event->level > level)
            continue;
        (void)snprintf(story + n, sizeof(story) - n, "%s %s: %s\n", pm_level_name(event->level),
                       pm_event_row(event->kind)->name, event->human);
    }
}

static void hear(void)
{
    listen_to(PM_INFO);
}

static void test_a_day_in_the_life_of_a_pool(void **s)
{
    struct pm_exit oom = {.status = 1,
                          .evidence = {.class = PM_CLASS_OOM, .text = "cudaMalloc failed"}};
    struct pm_token token;
    struct pm_lease lease;

    world.spec->queue.n_requests = 2;
    world_begin(&world), hear();
    (void)request(&world), hear();
    token = the_action(&world, PM_ACT_STAGE)->token;
    (void)request(&world), hear();
    (void)request(&world), hear();
    staged(&world, token, NULL), hear();
    token = the_action(&world, PM_ACT_SPAWN)->token;
    spawned(&world, token, NULL), hear();
    world.now_ms += 4117;
    endpoint_ready(&world, token), hear();
    lease = action_at(&world, PM_ACT_GRANT, 0)->lease;
    (void)request(&world), hear(); /* does not wait: the gateway's line alone */
    release(&world, &lease, PM_RELEASE_DONE), hear();
    exited(&world, token, (struct pm_exit){.signalled = true, .status = 11}), hear();
    childless(&world, token), hear();
    for (int i = 0; i < 4; i++) {
        if (state(&world) == PM_BACKOFF)
            tick(&world, replica(&world, 0).next_start_ms), hear();
        staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL), hear();
        exited(&world, replica(&world, 0).token, oom), hear();
        childless(&world, replica(&world, 0).token), hear();
    }
    tick(&world, replica(&world, 0).next_start_ms), hear();
    (void)request(&world), hear();
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL), hear();
    endpoint_ready(&world, replica(&world, 0).token), hear();
    lease = the_action(&world, PM_ACT_GRANT)->lease;
    tick(&world, world.now_ms + 60000), hear();
    release(&world, &lease, PM_RELEASE_DONE), hear();
    tick(&world, world.now_ms + 15 * 60 * 1000), hear();
    world.now_ms += 1200;
    crash(&world, replica(&world, 0).token, (struct pm_exit){.status = 0}), hear();

    assert_string_equal(
        story,
        "info request_queued: a request waits for qwen-8b, which is cold\n"
        "warn request_refused: a request is refused: the queue of qwen-8b is full: 2 "
        "waiting requests, 0 B\n"
        "info instance_starting: qwen-8b starts: 2 requests wait for it\n"
        "info instance_ready: qwen-8b is ready after 4.1 s with 4 slots\n"
        "error instance_crashed: qwen-8b crashes with 2 requests: signal 11 (SIGSEGV)\n"
        "info instance_starting: qwen-8b starts again after failure 1\n"
        "error start_failed: qwen-8b does not start: out of memory, exit status 1: cudaMalloc "
        "failed\n"
        "warn restart_delayed: qwen-8b failed 2 times in a row; next start in 992 ms at the "
        "earliest\n"
        "info instance_starting: qwen-8b starts again after failure 2\n"
        "error start_failed: qwen-8b does not start: out of memory, exit status 1: cudaMalloc "
        "failed\n"
        "warn restart_delayed: qwen-8b failed 3 times in a row; next start in 1.1 s at the "
        "earliest\n"
        "info instance_starting: qwen-8b starts again after failure 3\n"
        "error start_failed: qwen-8b does not start: out of memory, exit status 1: cudaMalloc "
        "failed\n"
        "warn restart_delayed: qwen-8b failed 4 times in a row; next start in 2.8 s at the "
        "earliest\n"
        "info instance_starting: qwen-8b starts again after failure 4\n"
        "error start_failed: qwen-8b does not start: out of memory, exit status 1: cudaMalloc "
        "failed\n"
        "error breaker_opened: the breaker of qwen-8b opens after 5 failures; next try in 6.2 s\n"
        "error storm: qwen-8b failed 5 times in a row, the last time: out of memory, exit status "
        "1: cudaMalloc failed\n"
        "info request_queued: a request waits for qwen-8b, which is cold\n"
        "info instance_starting: qwen-8b starts: 1 request waits for it\n"
        "info breaker_half_open: qwen-8b gets one more try after 5 failures\n"
        "info instance_ready: qwen-8b is ready after 0 ms with 4 slots\n"
        "info breaker_closed: qwen-8b is trusted again after 1m without a failure\n"
        "info instance_stopping: qwen-8b stops: idle for 15m\n"
        "info instance_stopped: qwen-8b is stopped after 1.2 s\n");
}

static void test_events_carry_fields_for_programs(void **s)
{
    struct pm_exit how = {.status = 3, .evidence = {.text = "bad tensor"}};
    const struct pm_event *event;

    world.spec->model.main = pm_xstrdup("/m/qwen.gguf");
    world_begin(&world);
    exited(&world, start_engine(&world), how);
    event = find_event(&world, PM_EV_START_FAILED);
    assert_non_null(event);
    assert_int_equal(event->fields, PM_EF_POOL_ID | PM_EF_REPLICA_ID | PM_EF_INSTANCE | PM_EF_PID |
                                        PM_EF_ENGINE | PM_EF_MODEL | PM_EF_CLASS |
                                        PM_EF_ERROR_CODE | PM_EF_TEXT | PM_EF_EXIT_STATUS);
    assert_string_equal(event->target, POOL);
    assert_string_equal(event->instance, POOL ".1");
    assert_int_equal(event->pid, 4711);
    assert_int_equal(event->class, PM_CLASS_EXIT);
    assert_int_equal(event->error_code, POOLMGR_E_START_FAILED);
    assert_int_equal(event->exit_status, 3);
    assert_string_equal(event->text, "bad tensor");
    assert_string_equal(event->engine, "llama");
    assert_string_equal(event->model, "/m/qwen.gguf");
}

static void test_of_those_who_wait_for_a_start_only_the_first_is_told_at_info(void **s)
{
    const struct pm_event *event;

    world_begin(&world);
    (void)request(&world);
    event = find_event(&world, PM_EV_REQUEST_QUEUED);
    assert_int_equal(event->level, PM_INFO);
    assert_string_equal(event->human, "a request waits for " POOL ", which is cold");
    assert_string_equal(event->request_id, "req");
    (void)request(&world);
    event = find_event(&world, PM_EV_REQUEST_QUEUED);
    assert_int_equal(event->level, PM_DEBUG);
    assert_int_equal(event->queue_position, 1);
}

static void test_replicas_are_told_apart(void **s)
{
    world.spec->n_replicas = 2;
    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    endpoint_ready(&world, replica(&world, 1).token);
    assert_told(&world, PM_EV_INSTANCE_READY, POOL " (replica 1) is ready after 0 ms with 4 slots");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_day_in_the_life_of_a_pool),
        TEST(test_events_carry_fields_for_programs),
        TEST(test_of_those_who_wait_for_a_start_only_the_first_is_told_at_info),
        TEST(test_replicas_are_told_apart),
    };

    return cmocka_run_group_tests_name("core: events", tests, NULL, NULL);
}
