/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole or not at all, and nothing but what was asked for is removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <signal.h>

#include "util/cleanup.h"
#include "util/file.h"
#include "util/lock.h"
#include "util/str.h"

/* Each test has a folder of its own, which is also where it stands. */
static int enter_folder(void **state)
{
    char template[] = "/tmp/pm-file-XXXXXX";

    *state = pm_xstrdup(mkdtemp(template));
    return *state && chdir(*state) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    int r = chdir("/") == 0 ? pm_remove_tree(*state, NULL) : -1;

    free(*state);
    return r;
}

static size_t n_entries(const char *path)
{
    DIR *folder = opendir(path);
    size_t n = 0;

    assert_non_null(folder);
    while (readdir(folder))
        n++;
    (void)closedir(folder);
    return n - 2;
}

static void assert_content(const char *path, const char *expected)
{
    pm_auto_free char *text = NULL;
    size_t n = 0;

    assert_int_equal(pm_read_file(path, 1 << 20, &text, &n, NULL), POOLMGR_OK);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
}

static void test_what_was_written_is_read(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(pm_write_file("a", "one", 3, 0600, false, NULL), POOLMGR_OK);
    assert_content("a", "one");
    assert_int_equal(pm_write_file("a", "second", 6, 0640, true, NULL), POOLMGR_OK);
    assert_content("a", "second");
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(pm_write_file("a", NULL, 0, 0600, false, NULL), POOLMGR_OK);
    assert_content("a", "");
    assert_int_equal(n_entries("."), 1);
}

static void test_a_file_over_the_limit_is_refused(void **state)
{
    struct poolmgr_error err = {0};
    char *text = NULL;
    char bytes[10000];

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(pm_write_file("a", bytes, sizeof(bytes), 0600, false, NULL), POOLMGR_OK);
    assert_int_equal(pm_read_file("a", sizeof(bytes) - 1, &text, NULL, &err), POOLMGR_E_TOO_LARGE);
    assert_string_equal(err.message, "'a' is larger than 9999 bytes");
    assert_null(text);
    assert_int_equal(pm_read_file("a", sizeof(bytes), &text, NULL, &err), POOLMGR_OK);
    free(text);
}

static void test_what_is_no_regular_file_is_refused_without_waiting(void **state)
{
    struct poolmgr_error err = {0};
    char *text = NULL;

    (void)state;
    assert_int_equal(pm_read_file("none", 10, &text, NULL, &err), POOLMGR_E_NOT_FOUND);
    assert_string_equal(err.message, "cannot open 'none': No such file or directory");
    assert_int_equal(pm_read_file(".", 10, &text, NULL, &err), POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(pm_read_file("fifo", 10, &text, NULL, &err), POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.message, "'fifo' is not a regular file");
    assert_null(text);
}

static void test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(void **state)
{
    struct rlimit former, small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    struct poolmgr_error err = {0};
    char bytes[10000];

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(pm_write_file("a", "old", 3, 0600, true, NULL), POOLMGR_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
    small.rlim_max = former.rlim_max;
    (void)signal(SIGXFSZ,
                 SIG_IGN); /* so that the limit shows as EFBIG, much as a full disk as ENOSPC */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(pm_write_file("a", bytes, sizeof(bytes), 0600, true, &err),
                     POOLMGR_E_STORE_FAILED);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
    assert_string_equal(err.message, "cannot write 'a': File too large");
    assert_content("a", "old");
    assert_int_equal(n_entries("."), 1);
}

static void test_a_write_into_no_folder_or_over_a_folder_fails(void **state)
{
    struct poolmgr_error err = {0};

    (void)state;
    assert_int_equal(pm_write_file("none/a", "x", 1, 0600, false, &err), POOLMGR_E_STORE_FAILED);
    assert_int_equal(mkdir("folder", 0700), 0);
    assert_int_equal(pm_write_file("folder", "x", 1, 0600, false, &err), POOLMGR_E_STORE_FAILED);
    assert_int_equal(n_entries("."), 1);
}

static void test_folders_are_made_with_their_parents_and_keep_their_mode(void **state)
{
    struct poolmgr_error err = {0};
    struct stat st;

    (void)state;
    assert_int_equal(mkdir("a", 0755), 0);
    assert_int_equal(pm_make_folders("a/b//c/", 0700, &err), POOLMGR_OK);
    assert_int_equal(pm_make_folders("a/b/c", 0755, &err), POOLMGR_OK);
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(stat("a/b/c", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    assert_int_equal(pm_write_file("file", "x", 1, 0600, false, NULL), POOLMGR_OK);
    assert_int_equal(pm_make_folders("file", 0700, &err), POOLMGR_E_STORE_FAILED);
    assert_int_equal(pm_make_folders("file/b", 0700, &err), POOLMGR_E_STORE_FAILED);
}

static void test_a_tree_is_removed_and_links_are_not_followed(void **state)
{
    (void)state;
    assert_int_equal(pm_make_folders("kept", 0700, NULL), POOLMGR_OK);
    assert_int_equal(pm_write_file("kept/file", "x", 1, 0600, false, NULL), POOLMGR_OK);
    assert_int_equal(pm_make_folders("tree/a/b", 0700, NULL), POOLMGR_OK);
    assert_int_equal(pm_write_file("tree/a/b/file", "x", 1, 0600, false, NULL), POOLMGR_OK);
    assert_int_equal(mkfifo("tree/fifo", 0600), 0);
    assert_int_equal(symlink("../kept", "tree/link"), 0);
    assert_int_equal(symlink("nowhere", "tree/a/broken"), 0);

    assert_int_equal(pm_remove_tree("tree", NULL), POOLMGR_OK);
    assert_int_equal(access("tree", F_OK), -1);
    assert_content("kept/file", "x");

    assert_int_equal(symlink("kept", "link"), 0);
    assert_int_equal(pm_remove_tree("link", NULL), POOLMGR_OK);
    assert_int_equal(access("link", F_OK), -1);
    assert_content("kept/file", "x");
    assert_int_equal(pm_remove_tree("none", NULL), POOLMGR_OK);
}

static void test_a_file_is_removed_once_and_a_missing_one_is_removed_too(void **state)
{
    struct poolmgr_error err = {0};

    (void)state;
    assert_int_equal(pm_write_file("a", "x", 1, 0600, true, NULL), POOLMGR_OK);
    assert_int_equal(pm_remove_file("a", true, &err), POOLMGR_OK);
    assert_int_equal(n_entries("."), 0);
    assert_int_equal(pm_remove_file("a", true, &err), POOLMGR_OK);
    assert_int_equal(mkdir("folder", 0700), 0);
    assert_int_equal(pm_remove_file("folder", true, &err), POOLMGR_E_STORE_FAILED);
    assert_int_equal(n_entries("."), 1);
}

/* STATE-1: the second one names the first, and has the folder when that is gone, however it went. */
static void test_a_folder_is_locked_by_one_process_until_it_ends(void **state)
{
    struct poolmgr_error err = {0};
    char expected[96];
    int ready[2], fd = -1;
    pid_t holder;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    holder = fork();
    if (holder == 0) {
        (void)!write(ready[1], pm_folder_lock(".", &fd, NULL) == POOLMGR_OK ? "y" : "n", 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], expected, 1), 1);
    assert_int_equal(expected[0], 'y');

    assert_int_equal(pm_folder_lock(".", &fd, &err), POOLMGR_E_CONFLICT);
    assert_int_equal(fd, -1);
    (void)snprintf(expected, sizeof(expected), ". is in use by another daemon, pid %d", holder);
    assert_string_equal(err.message, expected);

    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    assert_int_equal(pm_folder_lock(".", &fd, &err), POOLMGR_OK);
    pm_folder_unlock(&fd);
    assert_int_equal(fd, -1);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_read, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_a_file_over_the_limit_is_refused, enter_folder,
                                        leave_folder),
        cmocka_unit_test_setup_teardown(test_what_is_no_regular_file_is_refused_without_waiting,
                                        enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_a_write_that_fails_leaves_the_old_file_and_no_rubbish,
                                        enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_a_write_into_no_folder_or_over_a_folder_fails,
                                        enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(
            test_folders_are_made_with_their_parents_and_keep_their_mode, enter_folder,
            leave_folder),
        cmocka_unit_test_setup_teardown(
            test_a_file_is_removed_once_and_a_missing_one_is_removed_too, enter_folder,
            leave_folder),
        cmocka_unit_test_setup_teardown(test_a_folder_is_locked_by_one_process_until_it_ends,
                                        enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_a_tree_is_removed_and_links_are_not_followed,
                                        enter_folder, leave_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
