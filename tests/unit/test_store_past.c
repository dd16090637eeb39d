/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool went through is found by the next daemon, and nobody waits for it (STATE-1, SUP-2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/past.h"
#include "store/store.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define NOW_MS UINT64_C(1790000000000)

static struct pm_past past_of(const char *pool_id, uint64_t n_failures)
{
    struct pm_past past = {.identity = 0xa7, .service_ms = 70.5, .start_ms = 900, .n = 2};
    struct pm_past_replica *was = &past.replicas[1];

    (void)pm_str_copy(past.pool_id, sizeof(past.pool_id), pool_id);
    *was = (struct pm_past_replica){.n_failures = n_failures,
                                    .failed_ago_ms = 5000,
                                    .n_spawns = 7,
                                    .first_token_ms = 12.25,
                                    .n_tokens = 100,
                                    .decode_ms = 2000,
                                    .n_answers = 3};
    was->last_error.code = POOLMGR_E_ENGINE_CRASHED;
    was->last_error.class = PM_CLASS_OOM;
    (void)strcpy(was->last_error.text, "out of memory");
    return past;
}

/* ---- as a text -------------------------------------------------------------------------------------- */

static void test_it_comes_back_as_it_was_written_and_time_has_passed(void **state)
{
    struct pm_past is = past_of("a", 3), back;
    pm_auto_free char *text = pm_past_write(&is, NOW_MS);
    struct poolmgr_error err = {0};

    (void)state;
    if (pm_past_read(text, strlen(text), "a", NOW_MS + 60000, &back, &err) < 0)
        fail_msg("%s: %s", err.message, text);
    assert_int_equal(back.replicas[1].failed_ago_ms, 65000);
    back.replicas[1].failed_ago_ms = 5000;
    assert_memory_equal(&back, &is, sizeof(is));

    /* the clock was set back: it failed just now, not in the future */
    assert_int_equal(pm_past_read(text, strlen(text), "a", 1000, &back, NULL), 0);
    assert_int_equal(back.replicas[1].failed_ago_ms, 0);
}

static void test_what_never_ran_has_no_file(void **state)
{
    struct pm_past none = {.n = 1};

    (void)state;
    assert_null(pm_past_write(&none, NOW_MS));
    none.n = 0;
    assert_null(pm_past_write(&none, NOW_MS));
}

#define RUNS "\"starts\":1,\"first_token_ms\":0.5,\"tokens\":4,\"decode_ms\":2,\"answers\":1"
#define FAILED(n, code)                                                                            \
    ",\"failures\":{\"in_a_row\":" n ",\"last_unix_ms\":1,\"code\":\"" code                        \
    "\",\"class\":\"oom\",\"text\":\"x\"}"
#define HEAD                                                                                       \
    "{\"version\":1,\"pool\":\"a\",\"identity\":\"00000000000000a7\",\"service_ms\":1,"            \
    "\"start_ms\":1,\"replicas\":"
#define GOOD HEAD "[{" RUNS FAILED("2", "engine_crashed") "}]}"

static void test_a_text_that_is_cut_anywhere_is_refused(void **state)
{
    static const char good[] = GOOD;
    struct pm_past past;

    (void)state;
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        struct poolmgr_error err = {0};

        assert_int_equal(pm_past_read(good, n, "a", NOW_MS, &past, &err),
                         POOLMGR_E_INVALID_REQUEST);
        assert_true(err.message[0]);
    }
    assert_int_equal(pm_past_read(good, sizeof(good) - 1, "a", NOW_MS, &past, NULL), 0);
    assert_int_equal(past.replicas[0].n_failures, 2);
}

static void test_what_is_wrong_is_refused_and_says_why(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"7", "it is no JSON"},
        {"{}", "no version"},
        {"{\"version\":2}", "its version is 2"},
        {HEAD "[{" RUNS "}],\"more\":1}", "unknown"},
        {"{\"version\":1,\"pool\":\"b\",\"identity\":\"00000000000000a7\",\"service_ms\":1,"
         "\"start_ms\":1,\"replicas\":[{" RUNS "}]}",
         "another pool, 'b'"},
        {"{\"version\":1,\"pool\":\"a\",\"identity\":\"a7\",\"service_ms\":1,\"start_ms\":1,"
         "\"replicas\":[{" RUNS "}]}",
         "16 hexadecimal"},
        {"{\"version\":1,\"pool\":\"a\",\"identity\":\"00000000000000a7\",\"service_ms\":-1,"
         "\"start_ms\":1,\"replicas\":[{" RUNS "}]}",
         "how long its requests"},
        {HEAD "[]}", "no list of 1 to 64"},
        {HEAD "{}}", "no list of 1 to 64"},
        {HEAD "[7]}", "a member of a replica"},
        {HEAD "[{" RUNS ",\"more\":1}]}", "a member of a replica"},
        {HEAD "[{\"starts\":-1,\"first_token_ms\":0,\"tokens\":0,\"decode_ms\":0,\"answers\":0}]}",
         "was started is out of range"},
        {HEAD "[{\"starts\":1,\"first_token_ms\":1e300,\"tokens\":0,\"decode_ms\":0,"
              "\"answers\":0}]}",
         "a speed of a replica"},
        {HEAD
         "[{\"starts\":1,\"first_token_ms\":1,\"tokens\":1,\"decode_ms\":1,\"answers\":1e-300}]}",
         "a speed of a replica"},
        {HEAD "[{\"starts\":1,\"first_token_ms\":1,\"tokens\":1,\"decode_ms\":0,\"answers\":1}]}",
         "a speed of a replica"},
        {HEAD "[{" RUNS FAILED("0", "engine_crashed") "}]}", "how often it failed"},
        {HEAD "[{" RUNS FAILED("-1", "engine_crashed") "}]}", "how often it failed"},
        {HEAD "[{" RUNS FAILED("1", "nonsense") "}]}", "why it failed"},
        {HEAD "[{" RUNS ",\"failures\":7}]}", "a member of its failures"},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct poolmgr_error err = {0};
        struct pm_past past;

        if (pm_past_read(rows[i].text, strlen(rows[i].text), "a", NOW_MS, &past, &err) !=
                POOLMGR_E_INVALID_REQUEST ||
            !strstr(err.message, rows[i].why))
            fail_msg("%s: '%s', not '%s'", rows[i].text, err.message, rows[i].why);
    }
}

/* ---- a folder of them ------------------------------------------------------------------------------- */

static struct world {
    char folder[32];
    struct pm_loop *loop;
    struct pm_worker *worker;
    struct pm_store *store;
    char said[256]; /* what was found or told, a word each */
    unsigned n_unkept;
} world;

static void open_store(void)
{
    assert_int_equal(pm_worker_new(world.loop, &world.worker, NULL), POOLMGR_OK);
    assert_int_equal(pm_store_open(world.worker, world.folder, &world.store, NULL), POOLMGR_OK);
}

static void close_store(void)
{
    assert_true(pm_worker_free(world.worker));
    pm_store_free(world.store);
}

static int make_world(void **state)
{
    memset(&world, 0, sizeof(world));
    (void)strcpy(world.folder, "/tmp/pm-past-XXXXXX");
    if (!mkdtemp(world.folder) || chdir(world.folder) < 0 || pm_loop_new(&world.loop, NULL) < 0)
        return -1;
    (void)signal(SIGXFSZ, SIG_IGN);
    open_store();
    *state = NULL;
    return 0;
}

static int end_world(void **state)
{
    (void)state;
    close_store();
    pm_loop_free(world.loop);
    return chdir("/") == 0 ? pm_remove_tree(world.folder, NULL) : -1;
}

static void on_past(void *ctx, const struct pm_past *past)
{
    size_t n = strlen(world.said);

    (void)ctx;
    (void)snprintf(world.said + n, sizeof(world.said) - n, "%s=%" PRIu64 " ", past->pool_id,
                   past->replicas[1].n_failures);
}

static void on_broken(void *ctx, const char *file, const struct poolmgr_error *error)
{
    size_t n = strlen(world.said);

    (void)ctx;
    (void)snprintf(world.said + n, sizeof(world.said) - n, "%s!%s ",
                   error->hint[0] ? "stays" : "aside", file);
}

/* What the next daemon finds. */
static const char *load_again(void)
{
    const struct pm_store_reader reader = {.past = on_past, .broken = on_broken};

    close_store();
    open_store();
    world.said[0] = '\0';
    assert_int_equal(pm_store_load(world.store, &reader, NULL), POOLMGR_OK);
    return world.said;
}

static void on_unkept(void *ctx, const char *file, const struct poolmgr_error *failure)
{
    assert_ptr_equal(ctx, &world);
    assert_non_null(strstr(failure->message, "File too large"));
    assert_non_null(strstr(file, ".json"));
    world.n_unkept++;
}

static void keep(const char *pool_id, uint64_t n_failures)
{
    struct pm_past past = past_of(pool_id, n_failures);

    pm_store_keep(world.store, &past, on_unkept, &world);
}

static bool says(const char *file, const char *text)
{
    pm_auto_free char *is = NULL;

    if (pm_read_file(file, 65536, &is, NULL, NULL) < 0)
        return !text;
    return text && strstr(is, text);
}

static void turn_until(const char *file, const char *text)
{
    for (int i = 0; i < 10000 && !says(file, text); i++)
        assert_int_equal(pm_loop_turn(world.loop, 10), 0);
    assert_true(says(file, text));
}

static void test_what_was_kept_is_found_by_the_next_and_goes_with_its_pool(void **state)
{
    struct pm_past none = {.pool_id = "b"};

    (void)state;
    for (uint64_t i = 1; i <= 1001; i++)
        keep("a", i); /* while it is written: once more, with the last */
    keep("b", 2);
    turn_until("past/a.json", "\"in_a_row\": 1001");
    turn_until("past/b.json", "\"in_a_row\": 2");
    assert_string_equal(load_again(), "a=1001 b=2 ");
    pm_store_keep(world.store, &none, on_unkept, &world);
    turn_until("past/b.json", NULL);
    assert_string_equal(load_again(), "a=1001 ");
    assert_int_equal(world.n_unkept, 0);
}

static bool was_told(void)
{
    return world.n_unkept > 0;
}

static void test_a_full_disk_is_told_once_and_what_was_to_be_kept_is_kept_later(void **state)
{
    struct rlimit former, none;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
    none = former;
    none.rlim_cur = 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    for (uint64_t i = 1; i <= 20; i++) {
        keep("a", i);
        for (int k = 0; k < 1000 && !was_told(); k++)
            (void)pm_loop_turn(world.loop, 10);
        (void)pm_loop_turn(world.loop, 5);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
    assert_int_equal(world.n_unkept, 1);
    keep("b", 1);
    turn_until("past/a.json", "\"in_a_row\": 20");
    turn_until("past/b.json", "\"in_a_row\": 1");
}

static void test_a_broken_file_is_told_once_put_aside_and_costs_only_itself(void **state)
{
    (void)state;
    assert_int_equal(pm_make_folders("past", 0700, NULL), 0);
    assert_int_equal(pm_write_file("past/b.json", GOOD, strlen(GOOD), 0600, false, NULL), 0);
    keep("a", 4);
    turn_until("past/a.json", "\"in_a_row\": 4");
    assert_string_equal(load_again(), "a=4 aside!b.json ");
    assert_string_equal(load_again(), "a=4 ");
    assert_int_equal(access("past/b.json.broken", F_OK), 0);
}

static void test_a_folder_that_is_none_is_told_and_stops_nothing(void **state)
{
    (void)state;
    assert_int_equal(pm_write_file("past", "x", 1, 0600, false, NULL), POOLMGR_OK);
    assert_string_equal(load_again(), "stays!past ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_comes_back_as_it_was_written_and_time_has_passed),
        cmocka_unit_test(test_what_never_ran_has_no_file),
        cmocka_unit_test(test_a_text_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(test_what_is_wrong_is_refused_and_says_why),
        TEST(test_what_was_kept_is_found_by_the_next_and_goes_with_its_pool),
        TEST(test_a_full_disk_is_told_once_and_what_was_to_be_kept_is_kept_later),
        TEST(test_a_broken_file_is_told_once_put_aside_and_costs_only_itself),
        TEST(test_a_folder_that_is_none_is_told_and_stops_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
