/* SPDX-License-Identifier: Apache-2.0 */
/* What the next daemon finds: whole or as before, and a file that is broken costs itself alone (STATE-1, INV-26). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/record.h"
#include "store/store.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define SPEC "{\"model\":{\"main\":\"/m/a.gguf\"},\"env\":{\"A\":\"\xc3\xa9\"}}"

/* ---- a record as a text ----------------------------------------------------------------------------- */

static struct pm_pool_record record_of(const char *id, enum pm_intent intent)
{
    struct pm_pool_record record = {.owner = PM_OWNER_FILE, .intent = intent};

    (void)pm_str_copy(record.pool_id, sizeof(record.pool_id), id);
    return record;
}

static void assert_same(const struct pm_pool_record *a, const struct pm_pool_record *b)
{
    assert_string_equal(a->pool_id, b->pool_id);
    assert_int_equal(a->removed, b->removed);
    assert_int_equal(a->owner, b->owner);
    assert_int_equal(a->intent, b->intent);
    assert_int_equal(a->has_operation, b->has_operation);
    assert_int_equal(a->operation, b->operation);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->spec_text != NULL, b->spec_text != NULL);
    if (a->spec_text)
        assert_string_equal(a->spec_text, b->spec_text);
}

static void assert_comes_back(const struct pm_pool_record *record)
{
    struct pm_pool_record back = {0};
    pm_auto_free char *text = NULL;
    struct poolmgr_error err = {0};

    assert_int_equal(pm_record_write(record, &text, &err), POOLMGR_OK);
    assert_non_null(text);
    if (pm_record_read(text, strlen(text), record->pool_id, &back, &err) < 0)
        fail_msg("%s: %s", err.message, text);
    assert_same(record, &back);
    pm_record_fini(&back);
}

static void test_every_word_comes_back_as_it_was_written(void **state)
{
    (void)state;
    for (int owner = 0; owner < PM_OWNER_COUNT; owner++) {
        for (int intent = 0; intent < PM_INTENT_COUNT; intent++) {
            for (int kind = 0; kind < PM_OP_KIND_COUNT; kind++) {
                struct pm_pool_record record = record_of("a.b-c", (enum pm_intent)intent);

                record.owner = (enum pm_owner)owner;
                record.spec_text = (char *)SPEC;
                record.has_operation = true;
                record.operation = INT64_MAX;
                record.kind = (enum pm_operation_kind)kind;
                assert_comes_back(&record);
            }
        }
    }
}

static void test_what_would_be_so_anyway_has_no_text(void **state)
{
    struct pm_pool_record record = record_of("a", PM_ENABLED);
    char *text = (char *)1;

    (void)state;
    assert_int_equal(pm_record_write(&record, &text, NULL), POOLMGR_OK);
    assert_null(text);
    text = (char *)1;
    record.owner = PM_OWNER_HANDOFF;
    assert_int_equal(pm_record_write(&record, &text, NULL), POOLMGR_OK);
    assert_null(text);
    record.intent = PM_DISABLED;
    record.removed = true;
    assert_int_equal(pm_record_write(&record, &text, NULL), POOLMGR_OK);
    assert_null(text);
}

static void test_a_specification_that_cannot_be_kept_is_refused(void **state)
{
    struct pm_pool_record record = record_of("a", PM_ENABLED);
    pm_auto_free char *large = pm_xalloc(PM_RECORD_MAX_BYTES + 16);
    struct poolmgr_error err = {0};
    char *text = NULL;

    (void)state;
    record.spec_text = (char *)"[]";
    assert_int_equal(pm_record_write(&record, &text, &err), POOLMGR_E_STORE_FAILED);
    memset(large, 'x', PM_RECORD_MAX_BYTES + 15);
    memcpy(large, "{\"a\":\"", 6);
    memcpy(large + PM_RECORD_MAX_BYTES, "\"}", 3);
    record.spec_text = large;
    assert_int_equal(pm_record_write(&record, &text, &err), POOLMGR_E_STORE_FAILED);
    assert_null(text);
}

static const char good[] =
    "{\"version\":1,\"pool\":\"a\",\"owner\":\"api\",\"intent\":\"draining\","
    "\"spec\":{},\"operation\":{\"id\":7,\"kind\":\"drain\"}}";

static void test_a_text_that_is_cut_anywhere_is_refused(void **state)
{
    struct pm_pool_record record;
    struct poolmgr_error err;

    (void)state;
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(pm_record_read(good, n, "a", &record, &err), POOLMGR_E_INVALID_REQUEST);
        assert_true(err.message[0]);
    }
    assert_int_equal(pm_record_read(good, sizeof(good) - 1, "a", &record, NULL), POOLMGR_OK);
    assert_int_equal(record.operation, 7);
    assert_int_equal(record.kind, PM_OP_DRAIN);
    pm_record_fini(&record);
}

static void test_what_is_no_record_is_refused_and_says_why(void **state)
{
#define REST "\"pool\":\"a\",\"owner\":\"file\",\"intent\":\"draining\""
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "it is no JSON"},
        {"7", "it is no JSON"},
        {"null", "it is no JSON"},
        {"[]", "no version"},
        {"{}", "no version"},
        {"{\"name\":\"left-pad\",\"version\":\"1.3.0\"}", "no version"},
        {"{\"version\":2," REST "}", "its version is 2"},
        {"{\"version\":0," REST "}", "its version is 0"},
        {"{\"version\":1,\"version\":1," REST "}", "it is no JSON"},
        {"{\"version\":1," REST ",\"more\":1}", "unknown"},
        {"{\"version\":1,\"pool\":\"a\",\"owner\":\"file\"}", "missing"},
        {"{\"version\":1,\"pool\":\"b\",\"owner\":\"file\",\"intent\":\"draining\"}",
         "another pool, 'b'"},
        {"{\"version\":1,\"pool\":\"a\",\"owner\":\"me\",\"intent\":\"draining\"}", "none of ours"},
        {"{\"version\":1,\"pool\":\"a\",\"owner\":\"file\",\"intent\":\"on\"}", "none of ours"},
        {"{\"version\":1,\"pool\":\"a\",\"owner\":\"api\",\"intent\":\"draining\"}",
         "no specification"},
        {"{\"version\":1," REST ",\"spec\":[]}", "no object"},
        {"{\"version\":1," REST ",\"spec\":null}", "no object"},
        {"{\"version\":1," REST ",\"operation\":7}", "operation"},
        {"{\"version\":1," REST ",\"operation\":{\"id\":0,\"kind\":\"drain\"}}", "operation"},
        {"{\"version\":1," REST ",\"operation\":{\"id\":7,\"kind\":\"dance\"}}", "operation"},
        {"{\"version\":1," REST ",\"operation\":{\"id\":7,\"kind\":\"drain\",\"x\":1}}",
         "operation"},
        {"{\"version\":1," REST "} x", "it is no JSON"},
        {"{\"version\":1,\"pool\":\"\xff\",\"owner\":\"file\",\"intent\":\"draining\"}",
         "it is no JSON"},
    };
#undef REST

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_pool_record record;
        struct poolmgr_error err = {0};

        if (pm_record_read(rows[i].text, strlen(rows[i].text), "a", &record, &err) !=
                POOLMGR_E_INVALID_REQUEST ||
            !strstr(err.message, rows[i].why))
            fail_msg("%s: '%s', not '%s'", rows[i].text, err.message, rows[i].why);
    }
}

static void test_nul_bytes_depth_and_size_have_limits(void **state)
{
    struct pm_pool_record record;
    struct poolmgr_error err = {0};
    pm_auto_free char *large = pm_xalloc(PM_RECORD_MAX_BYTES + 1);
    char text[1024] = "{\"version\":1\0,", *end;

    (void)state;
    memcpy(text + 14, good + 13, sizeof(good) - 13);
    assert_int_equal(pm_record_read(text, 14 + sizeof(good) - 14, "a", &record, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.message, "it holds a NUL byte");

    end = text + sprintf(text, "{\"version\":1,\"pool\":\"a\",\"owner\":\"api\",\"intent\":"
                               "\"draining\",\"spec\":{\"a\":");
    for (int i = 0; i < PM_RECORD_DEPTH_MAX; i++)
        *end++ = '[';
    for (int i = 0; i < PM_RECORD_DEPTH_MAX; i++)
        *end++ = ']';
    (void)strcpy(end, "}}");
    assert_int_equal(pm_record_read(text, strlen(text), "a", &record, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.message, "its specification is nested too deep");

    memset(large, ' ', PM_RECORD_MAX_BYTES + 1);
    memcpy(large, good, sizeof(good) - 1);
    assert_int_equal(pm_record_read(large, PM_RECORD_MAX_BYTES + 1, "a", &record, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(pm_record_read(large, PM_RECORD_MAX_BYTES, "a", &record, &err), POOLMGR_OK);
    pm_record_fini(&record);
}

/* ---- a folder of them ------------------------------------------------------------------------------- */

static struct world {
    char folder[32];
    struct pm_loop *loop;
    struct pm_worker *worker;
    struct pm_store *store;
    char said[512]; /* what was loaded or told, a word each */
    unsigned n_done;
    struct poolmgr_error failure;
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
    world.worker = NULL;
    world.store = NULL;
}

static int make_world(void **state)
{
    memset(&world, 0, sizeof(world));
    (void)strcpy(world.folder, "/tmp/pm-store-XXXXXX");
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

static void say(const char *name, char how, const char *what)
{
    size_t n = strlen(world.said);

    (void)snprintf(world.said + n, sizeof(world.said) - n, "%s%c%s ", name, how, what);
}

static void on_record(void *ctx, const struct pm_pool_record *record)
{
    (void)ctx;
    say(record->pool_id, '=', pm_intent_name(record->intent));
}

static void on_broken(void *ctx, const char *file, const struct poolmgr_error *error)
{
    (void)ctx;
    assert_true(error->message[0]);
    say(file, '!', error->hint);
}

/* What a new daemon finds. */
static const char *load(void)
{
    const struct pm_store_reader reader = {.record = on_record, .broken = on_broken};

    world.said[0] = '\0';
    assert_int_equal(pm_store_load(world.store, &reader, NULL), POOLMGR_OK);
    return world.said;
}

static void on_committed(void *ctx, struct pm_token token, const char *pool_id,
                         const struct poolmgr_error *failure)
{
    assert_ptr_equal(ctx, &world);
    assert_int_equal(token.serial, ++world.n_done);
    assert_true(pm_pool_id_valid(pool_id));
    world.failure = failure ? *failure : (struct poolmgr_error){0};
}

static void commit_record(const struct pm_pool_record *record)
{
    static const unsigned wait_ms = 10000;
    struct pm_token token = {.serial = world.n_done + 1};
    unsigned n = world.n_done;

    pm_store_commit(world.store, record, token, on_committed, &world);
    assert_int_equal(world.n_done, n); /* never from inside the call */
    for (int i = 0; i < 100 && world.n_done == n; i++)
        assert_int_equal(pm_loop_turn(world.loop, wait_ms), 0);
    assert_int_equal(world.n_done, n + 1);
}

static int commit(const char *id, enum pm_intent intent)
{
    struct pm_pool_record record = record_of(id, intent);

    commit_record(&record);
    return world.failure.code;
}

static void put(const char *name, const char *text)
{
    assert_int_equal(pm_write_file(name, text, strlen(text), 0600, false, NULL), POOLMGR_OK);
}

static unsigned n_files(void)
{
    DIR *folder = opendir("pools");
    unsigned n = 0;

    assert_non_null(folder);
    while (readdir(folder))
        n++;
    (void)closedir(folder);
    return n - 2;
}

static void test_what_was_committed_is_found_by_the_next(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(commit("b", PM_DRAINING), 0);
    assert_int_equal(commit("a", PM_DISABLED), 0);
    assert_int_equal(commit("b", PM_DISABLED), 0);
    close_store();
    open_store();
    assert_string_equal(load(), "a=disabled b=disabled ");
    assert_int_equal(stat("pools/a.json", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600); /* an `env` may hold secrets */
    assert_int_equal(stat("pools", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_what_says_nothing_has_no_file(void **state)
{
    (void)state;
    assert_int_equal(commit("a", PM_DISABLED), 0);
    assert_int_equal(commit("a", PM_ENABLED), 0);
    assert_int_equal(commit("b", PM_ENABLED), 0);
    assert_int_equal(n_files(), 0);
    assert_string_equal(load(), "");
}

/* INV-27 begins here: the answer is store_failed with the reason, and the file is what it was. */
static void test_a_disk_without_room_changes_nothing(void **state)
{
    struct rlimit former, none;
    int full;

    (void)state;
    assert_int_equal(commit("a", PM_DRAINING), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
    none = former;
    none.rlim_cur = 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    full = commit("a", PM_DISABLED);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
    assert_int_equal(full, POOLMGR_E_STORE_FAILED);
    assert_non_null(strstr(world.failure.message, "File too large"));
    assert_string_equal(load(), "a=draining ");
    assert_int_equal(n_files(), 1);
    assert_int_equal(commit("a", PM_DISABLED), 0);
    assert_string_equal(load(), "a=disabled ");
}

static void test_a_folder_that_is_gone_fails_the_commit_with_its_name(void **state)
{
    (void)state;
    assert_int_equal(rename("pools", "elsewhere"), 0);
    assert_int_equal(commit("a", PM_DISABLED), POOLMGR_E_STORE_FAILED);
    assert_non_null(strstr(world.failure.message, "/pools/a.json': No such file or directory"));
    assert_int_equal(rename("elsewhere", "pools"), 0);
}

/* The folder can be written, but not opened to be synced: what was renamed is not durable, so it is undone. */
static void test_a_folder_that_cannot_be_synced_gets_the_former_file_back(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(commit("a", PM_DRAINING), 0);
    assert_int_equal(chown("pools", 65534, 65534), 0);
    assert_int_equal(chown("pools/a.json", 65534, 65534), 0);
    assert_int_equal(chmod(".", 0711), 0);
    assert_int_equal(chmod("pools", 0300), 0);
    assert_int_equal(seteuid(65534), 0);
    (void)commit("a", PM_DISABLED);
    assert_int_equal(world.failure.code, POOLMGR_E_STORE_FAILED);
    assert_non_null(strstr(world.failure.message, "cannot sync"));
    (void)commit("b", PM_DISABLED);
    assert_int_equal(world.failure.code, POOLMGR_E_STORE_FAILED);
    (void)commit("a", PM_ENABLED);
    assert_int_equal(world.failure.code, POOLMGR_E_STORE_FAILED);
    assert_int_equal(seteuid(0), 0);
    assert_string_equal(load(), "a=draining ");
}

static void test_a_broken_file_is_put_aside_and_costs_only_itself(void **state)
{
    (void)state;
    assert_int_equal(commit("good", PM_DISABLED), 0);
    put("pools/cut.json", "{\"version\":1,\"po");
    put("pools/foreign.json", "{\"name\":\"left-pad\"}");
    put("pools/empty.json", "");
    put("pools/other.json", good);
    put("pools/Bad id.json", good);
    assert_int_equal(mkdir("pools/folder.json", 0700), 0);
    assert_int_equal(mkdir("pools/folder.json/x", 0700), 0);
    assert_int_equal(symlink("nowhere", "pools/link.json"), 0);
    put("pools/large.json", "");
    assert_int_equal(truncate("pools/large.json", PM_RECORD_MAX_BYTES + 1), 0);

    assert_string_equal(load(), "Bad id.json! cut.json! empty.json! folder.json! foreign.json! "
                                "good=disabled large.json! link.json! other.json! ");
    assert_int_equal(access("pools/cut.json.broken", F_OK), 0);
    assert_int_equal(access("pools/folder.json.broken/x", F_OK), 0);
    assert_int_equal(access("pools/cut.json", F_OK), -1);
    assert_string_equal(load(), "good=disabled ");

    /* A second one takes the first one's place. */
    put("pools/folder.json", "x");
    assert_string_equal(load(), "folder.json! good=disabled ");
    assert_int_equal(access("pools/folder.json.broken/x", F_OK), -1);
    assert_int_equal(commit("cut", PM_DRAINING), 0);
    assert_string_equal(load(), "cut=draining good=disabled ");
}

static void test_a_file_that_cannot_be_put_aside_says_so(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    put("pools/cut.json", "{");
    assert_int_equal(chmod(".", 0711), 0);
    assert_int_equal(chmod("pools", 0555), 0);
    assert_int_equal(chmod("pools/cut.json", 0644), 0);
    assert_int_equal(seteuid(65534), 0);
    (void)load();
    assert_int_equal(seteuid(0), 0);
    assert_string_equal(world.said, "cut.json!it cannot be put aside: Permission denied ");
}

static void test_what_a_cut_commit_left_is_removed_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(commit("a.json", PM_DISABLED), 0); /* a pool may be called so */
    put("pools/a.json.x8Rq2L", "{\"vers");
    put("pools/notes.txt", "mine");
    put("pools/a.json.broken", "kept");
    put("pools/.json", "x");
    assert_string_equal(load(), "a.json=disabled ");
    assert_int_equal(access("pools/a.json.x8Rq2L", F_OK), -1);
    assert_int_equal(access("pools/notes.txt", F_OK), 0);
    assert_int_equal(access("pools/a.json.broken", F_OK), 0);
    assert_int_equal(access("pools/.json", F_OK), 0);
}

/* What a daemon leaves when it is killed between any two steps: always one of the two records, whole. */
static void test_a_kill_between_commits_leaves_the_last_or_the_one_before(void **state)
{
    (void)state;
    close_store();
    for (int round = 0; round < 20; round++) {
        int told[2];
        char last = 0;
        pid_t child;

        assert_int_equal(pipe(told), 0);
        child = fork();
        if (child == 0) {
            struct pm_loop *loop = NULL;

            (void)pm_loop_new(&loop, NULL);
            world.loop = loop;
            open_store();
            for (int i = 0;; i++) {
                if (commit("a", i % 2 ? PM_DISABLED : PM_DRAINING) != 0)
                    _exit(1);
                (void)!write(told[1], i % 2 ? "d" : "g", 1);
            }
        }
        (void)close(told[1]);
        for (int i = 0; i < 5 + round; i++)
            assert_int_equal(read(told[0], &last, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(told[0], &last, 1) == 1)
            ;
        (void)close(told[0]);
        open_store();
        (void)load();
        if (strcmp(world.said, "a=draining ") != 0 && strcmp(world.said, "a=disabled ") != 0)
            fail_msg("'%s'", world.said);
        assert_int_equal(n_files(), 1);
        close_store();
    }
    open_store();
}

static void test_a_second_daemon_is_told_who_has_the_folder(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        struct pm_store *second = NULL;
        struct poolmgr_error err = {0};
        char expected[96];
        int r = pm_store_open(world.worker, world.folder, &second, &err);

        (void)snprintf(expected, sizeof(expected), "%s is in use by another daemon, pid %d",
                       world.folder, (int)getppid());
        _exit(r == POOLMGR_E_CONFLICT && strcmp(err.message, expected) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
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

static void test_the_folder_is_given_up_behind_the_last_commit(void **state)
{
    struct pm_pool_record record = record_of("a", PM_DISABLED);
    struct pm_token token = {.serial = 1};

    (void)state;
    assert_false(others_can_lock());
    pm_store_commit(world.store, &record, token, on_committed, &world);
    pm_store_give_up(world.store);
    assert_false(others_can_lock());
    while (world.n_done == 0)
        assert_int_equal(pm_loop_turn(world.loop, 10000), 0);
    assert_true(others_can_lock());
}

static void test_a_daemon_that_ends_hears_of_no_commit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct pm_pool_record record = record_of("a", PM_DISABLED);

        pm_store_commit(world.store, &record, (struct pm_token){.serial = i + 1}, on_committed,
                        &world);
    }
    close_store();
    assert_int_equal(pm_loop_turn(world.loop, 0), 0);
    assert_int_equal(world.n_done, 0);
    open_store();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_word_comes_back_as_it_was_written),
        cmocka_unit_test(test_what_would_be_so_anyway_has_no_text),
        cmocka_unit_test(test_a_specification_that_cannot_be_kept_is_refused),
        cmocka_unit_test(test_a_text_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(test_what_is_no_record_is_refused_and_says_why),
        cmocka_unit_test(test_nul_bytes_depth_and_size_have_limits),
        cmocka_unit_test_setup_teardown(test_what_was_committed_is_found_by_the_next, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(test_what_says_nothing_has_no_file, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_a_disk_without_room_changes_nothing, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(test_a_folder_that_is_gone_fails_the_commit_with_its_name,
                                        make_world, end_world),
        cmocka_unit_test_setup_teardown(
            test_a_folder_that_cannot_be_synced_gets_the_former_file_back, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_a_broken_file_is_put_aside_and_costs_only_itself,
                                        make_world, end_world),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_put_aside_says_so, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(test_what_a_cut_commit_left_is_removed_and_nothing_else,
                                        make_world, end_world),
        cmocka_unit_test_setup_teardown(
            test_a_kill_between_commits_leaves_the_last_or_the_one_before, make_world, end_world),
        cmocka_unit_test_setup_teardown(test_a_second_daemon_is_told_who_has_the_folder, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(test_the_folder_is_given_up_behind_the_last_commit,
                                        make_world, end_world),
        cmocka_unit_test_setup_teardown(test_a_daemon_that_ends_hears_of_no_commit, make_world,
                                        end_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
