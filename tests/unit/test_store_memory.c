/* SPDX-License-Identifier: Apache-2.0 */
/* What engines were measured to take is found by the next daemon, and nobody waits for it (STATE-1, VRAM-1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/remembered.h"
#include "store/store.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define GPU "GPU-fa000000-0000-4000-8000-000000000000"

static struct pm_memory_record measured(uint64_t identity, const char *device, uint64_t compute)
{
    struct pm_memory_record record = {
        .identity = identity, .weights_bytes = 7, .kv_bytes = 8, .compute_bytes = compute};

    (void)pm_str_copy(record.device, sizeof(record.device), device);
    return record;
}

/* ---- as a text -------------------------------------------------------------------------------------- */

static void put(struct pm_remembered *to, const char *device, uint64_t compute)
{
    struct pm_memory_record record = measured(to->identity, device, compute);

    assert_true(pm_remembered_put(to, &record));
}

static void test_it_comes_back_as_it_was_written(void **state)
{
    struct pm_remembered is = {.identity = UINT64_C(0xfedcba9876543210)}, back;
    struct poolmgr_error err = {0};
    pm_auto_free char *text = NULL;

    (void)state;
    put(&is, "1", 1);
    put(&is, GPU, PM_REMEMBERED_VALUE_MAX);
    put(&is, "1", 0);
    text = pm_remembered_write(&is);
    if (pm_remembered_read(text, strlen(text), "fedcba9876543210", &back, &err) < 0)
        fail_msg("%s: %s", err.message, text);
    assert_int_equal(back.identity, is.identity);
    assert_int_equal(back.n, 2);
    assert_string_equal(back.records[0].device, GPU); /* the last change last */
    assert_string_equal(back.records[1].device, "1");
    assert_memory_equal(back.records, is.records, 2 * sizeof(*is.records));
    pm_remembered_fini(&is);
    pm_remembered_fini(&back);
}

static void test_what_is_no_news_is_told_and_devices_have_a_bound(void **state)
{
    struct pm_remembered is = {.identity = 1};
    struct pm_memory_record record = measured(1, "d0", 5);

    (void)state;
    for (int i = 0; i <= PM_REMEMBERED_DEVICES_MAX; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "d%d", i);
        put(&is, name, 5);
    }
    assert_int_equal(is.n, PM_REMEMBERED_DEVICES_MAX);
    assert_string_equal(is.records[0].device, "d1");
    assert_true(pm_remembered_put(&is, &record));
    assert_false(pm_remembered_put(&is, &record));
    record.compute_bytes = PM_REMEMBERED_VALUE_MAX + 1;
    assert_false(pm_remembered_accepts(&record));
    record = measured(1, "a b", 5);
    assert_false(pm_remembered_accepts(&record));
    pm_remembered_fini(&is);
}

#define REST(device, kv)                                                                           \
    "\"devices\":[{\"device\":\"" device "\",\"weights_bytes\":1,\"kv_bytes\":" kv                 \
    ",\"compute_bytes\":3,\"context_bytes\":4}]"
#define HEAD "\"version\":1,\"identity\":\"00000000000000a7\""
static const char good[] = "{" HEAD "," REST("0", "2") "}";

static void test_a_text_that_is_cut_anywhere_is_refused(void **state)
{
    struct pm_remembered is;
    struct poolmgr_error err;

    (void)state;
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(pm_remembered_read(good, n, "00000000000000a7", &is, &err),
                         POOLMGR_E_INVALID_REQUEST);
        assert_true(err.message[0]);
    }
    assert_int_equal(pm_remembered_read(good, sizeof(good) - 1, "00000000000000a7", &is, NULL), 0);
    assert_int_equal(is.records[0].kv_bytes, 2);
    pm_remembered_fini(&is);
}

static void test_what_is_wrong_is_refused_and_says_why(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"7", "it is no JSON"},
        {"[]", "no version"},
        {"{\"version\":2}", "its version is 2"},
        {"{" HEAD "," REST("0", "2") ",\"more\":1}", "unknown"},
        {"{" HEAD "}", "missing"},
        {"{\"version\":1,\"identity\":\"00000000000000a8\"," REST("0", "2") "}",
         "another identity"},
        {"{\"version\":1,\"identity\":\"a7\"," REST("0", "2") "}", "16 hexadecimal"},
        {"{\"version\":1,\"identity\":\"00000000000000A7\"," REST("0", "2") "}", "16 hexadecimal"},
        {"{" HEAD ",\"devices\":[]}", "no list of 1 to 64"},
        {"{" HEAD ",\"devices\":{}}", "no list of 1 to 64"},
        {"{" HEAD ",\"devices\":[7]}", "a member of a device"},
        {"{" HEAD "," REST("", "2") "}", "a device's name"},
        {"{" HEAD "," REST("a b", "2") "}", "a device's name"},
        {"{" HEAD "," REST("0", "-1") "}", "kv_bytes of device '0' is out of range"},
        {"{" HEAD "," REST("0", "1125899906842625") "}", "kv_bytes of device '0' is out of range"},
        {"{" HEAD "," REST("0", "1.5") "}", "a member of a device"},
        {"{" HEAD "," REST("0", "99999999999999999999") "}", "it is no JSON"},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_remembered is;
        struct poolmgr_error err = {0};

        if (pm_remembered_read(rows[i].text, strlen(rows[i].text), "00000000000000a7", &is, &err) !=
                POOLMGR_E_INVALID_REQUEST ||
            !strstr(err.message, rows[i].why))
            fail_msg("%s: '%s', not '%s'", rows[i].text, err.message, rows[i].why);
    }
}

static void test_nul_bytes_and_size_have_limits(void **state)
{
    pm_auto_free char *large = pm_xalloc(PM_REMEMBERED_MAX_BYTES + 1);
    struct pm_remembered is;

    (void)state;
    memset(large, ' ', PM_REMEMBERED_MAX_BYTES + 1);
    memcpy(large, good, sizeof(good) - 1);
    assert_int_equal(
        pm_remembered_read(large, PM_REMEMBERED_MAX_BYTES + 1, "00000000000000a7", &is, NULL),
        POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(
        pm_remembered_read(large, PM_REMEMBERED_MAX_BYTES, "00000000000000a7", &is, NULL), 0);
    pm_remembered_fini(&is);
    large[sizeof(good)] = '\0';
    assert_int_equal(
        pm_remembered_read(large, PM_REMEMBERED_MAX_BYTES, "00000000000000a7", &is, NULL),
        POOLMGR_E_INVALID_REQUEST);
}

/* ---- a folder of them ------------------------------------------------------------------------------- */

static struct world {
    char folder[32];
    struct pm_loop *loop;
    struct pm_worker *worker;
    struct pm_store *store;
    char said[512]; /* what was recalled or told, a word each */
    size_t n_recalled;
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
    (void)strcpy(world.folder, "/tmp/pm-memory-XXXXXX");
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

static char *end_of_said(size_t *ret_size)
{
    size_t n = strlen(world.said);

    *ret_size = sizeof(world.said) - n;
    return world.said + n;
}

static void on_memory(void *ctx, const struct pm_memory_record *memory)
{
    size_t size;
    char *to = end_of_said(&size);

    (void)ctx;
    world.n_recalled++;
    (void)snprintf(to, size, "%" PRIx64 "/%s=%" PRIu64 " ", memory->identity, memory->device,
                   memory->compute_bytes);
}

static void on_broken(void *ctx, const char *file, const struct poolmgr_error *error)
{
    size_t size;
    char *to = end_of_said(&size);

    (void)ctx;
    assert_true(error->message[0]);
    (void)snprintf(to, size, "%s!%s ", error->hint[0] ? "stays" : "aside", file);
}

/* What the next daemon finds. */
static const char *load_again(void)
{
    const struct pm_store_reader reader = {.memory = on_memory, .broken = on_broken};

    close_store();
    open_store();
    world.said[0] = '\0';
    world.n_recalled = 0;
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

static void remember(uint64_t identity, const char *device, uint64_t compute)
{
    struct pm_memory_record record = measured(identity, device, compute);

    pm_store_remember(world.store, &record, on_unkept, &world);
}

static int is_record(const struct dirent *entry)
{
    return pm_str_ends(entry->d_name, ".json");
}

static size_t n_files(void)
{
    struct dirent **names;
    int n = scandir("memory", &names, is_record, NULL);

    for (int i = 0; i < n; i++)
        free(names[i]);
    if (n > 0)
        free(names);
    return n > 0 ? (size_t)n : 0;
}

static void turn_until(bool (*is_so)(void))
{
    for (int i = 0; i < 10000 && !is_so(); i++)
        assert_int_equal(pm_loop_turn(world.loop, 10), 0);
    assert_true(is_so());
}

static bool has_a7(void)
{
    pm_auto_free char *text = NULL;

    return pm_read_file("memory/00000000000000a7.json", 65536, &text, NULL, NULL) == 0 &&
           strstr(text, "\"compute_bytes\": 1001");
}

static void test_what_was_remembered_is_found_by_the_next(void **state)
{
    struct stat st;

    (void)state;
    assert_string_equal(load_again(), ""); /* there is no folder yet */
    remember(0xa7, "0", 5);
    remember(0xa7, GPU, 6);
    remember(0xb8, "0", 9);
    for (uint64_t i = 0; i <= 1001; i++)
        remember(0xa7, "0", i); /* while it is written: once more, with the last */
    turn_until(has_a7);
    assert_int_equal(stat("memory/00000000000000a7.json", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_string_equal(load_again(), "b8/0=9 a7/" GPU "=6 a7/0=1001 ");
    assert_int_equal(world.n_unkept, 0);
}

static bool has_two(void)
{
    return n_files() == 2;
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
        remember(1, "0", i);
        turn_until(was_told);
        (void)pm_loop_turn(world.loop, 5);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
    assert_int_equal(world.n_unkept, 1);
    assert_int_equal(n_files(), 0);
    remember(2, "0", 1);
    turn_until(has_two);
    assert_string_equal(load_again(), "1/0=20 2/0=1 ");

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    world.n_unkept = 0;
    remember(1, "0", 1);
    turn_until(was_told);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
}

static void write_file(const char *name, const char *text)
{
    assert_int_equal(pm_make_folders("memory", 0700, NULL), 0);
    assert_int_equal(pm_write_file(name, text, strlen(text), 0600, false, NULL), POOLMGR_OK);
}

static void test_a_broken_file_is_told_once_put_aside_and_costs_only_itself(void **state)
{
    (void)state;
    write_file("memory/00000000000000a7.json", good);
    write_file("memory/00000000000000a8.json", good);
    write_file("memory/x.json", "{\"ver");
    write_file("memory/00000000000000a9.json.AbCdEf", "{\"ver"); /* of a write that was cut short */
    (void)load_again();
    assert_non_null(strstr(world.said, "a7/0=3 "));
    assert_non_null(strstr(world.said, "aside!00000000000000a8.json "));
    assert_non_null(strstr(world.said, "aside!x.json "));
    assert_int_equal(access("memory/00000000000000a8.json.broken", F_OK), 0);
    assert_int_not_equal(access("memory/00000000000000a9.json.AbCdEf", F_OK), 0);
    assert_string_equal(load_again(), "a7/0=3 ");
}

static void test_a_folder_that_is_none_is_told_and_stops_nothing(void **state)
{
    (void)state;
    assert_int_equal(pm_write_file("memory", "x", 1, 0600, false, NULL), POOLMGR_OK);
    assert_string_equal(load_again(), "stays!memory ");
}

static bool has_all(void)
{
    return n_files() == PM_STORE_MEMORIES_MAX &&
           access("memory/00000000000003f5.json", F_OK) == 0 &&
           access("memory/0000000000010001.json", F_OK) == 0;
}

static void test_files_have_a_bound_and_the_oldest_goes(void **state)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    (void)state;
    for (uint64_t i = 0; i < PM_STORE_MEMORIES_MAX + 10; i++) {
        char name[64];
        pm_auto_free char *text = NULL;
        struct pm_remembered is = {.identity = i + 1};

        put(&is, "0", i + 1);
        text = pm_remembered_write(&is);
        (void)snprintf(name, sizeof(name), "memory/%016" PRIx64 ".json", i + 1);
        write_file(name, text);
        times[1].tv_sec = 100000 - (time_t)i; /* the last is the oldest */
        assert_int_equal(utimensat(AT_FDCWD, name, times, 0), 0);
        pm_remembered_fini(&is);
    }
    (void)load_again();
    assert_int_equal(world.n_recalled, PM_STORE_MEMORIES_MAX);
    assert_int_equal(n_files(), PM_STORE_MEMORIES_MAX);
    assert_int_equal(access("memory/0000000000000401.json", F_OK), -1);
    assert_int_equal(access("memory/0000000000000400.json", F_OK), 0);

    remember(0x400, "0", 1); /* the oldest is the newest now */
    for (uint64_t i = 1; i <= 11; i++)
        remember(0x10000 + i, "0", i);
    remember(0x3f5, "0", 77); /* it was to go, and is remembered again: another one goes */
    turn_until(has_all);
    assert_int_equal(access("memory/0000000000000400.json", F_OK), 0);
    assert_int_equal(access("memory/00000000000003f6.json", F_OK), -1);
    assert_int_equal(access("memory/00000000000003f4.json", F_OK), -1);
    (void)load_again();
    assert_int_equal(world.n_recalled, PM_STORE_MEMORIES_MAX);
}

static bool others_can_lock(void)
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        struct pm_store *second = NULL;

        _exit(pm_store_open(world.worker, world.folder, &second, NULL) == POOLMGR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static void test_a_store_that_was_given_up_writes_what_is_under_way_and_no_more(void **state)
{
    (void)state;
    remember(1, "0", 1);
    remember(2, "0", 1);
    pm_store_give_up(world.store);
    remember(3, "0", 1);
    assert_false(others_can_lock());
    turn_until(others_can_lock);
    for (int i = 0; i < 5; i++)
        (void)pm_loop_turn(world.loop, 5);
    assert_int_equal(n_files(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_comes_back_as_it_was_written),
        cmocka_unit_test(test_what_is_no_news_is_told_and_devices_have_a_bound),
        cmocka_unit_test(test_a_text_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(test_what_is_wrong_is_refused_and_says_why),
        cmocka_unit_test(test_nul_bytes_and_size_have_limits),
        cmocka_unit_test_setup_teardown(test_what_was_remembered_is_found_by_the_next, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(
            test_a_full_disk_is_told_once_and_what_was_to_be_kept_is_kept_later, make_world,
            end_world),
        cmocka_unit_test_setup_teardown(
            test_a_broken_file_is_told_once_put_aside_and_costs_only_itself, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_a_folder_that_is_none_is_told_and_stops_nothing,
                                        make_world, end_world),
        cmocka_unit_test_setup_teardown(test_files_have_a_bound_and_the_oldest_goes, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(
            test_a_store_that_was_given_up_writes_what_is_under_way_and_no_more, make_world,
            end_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
