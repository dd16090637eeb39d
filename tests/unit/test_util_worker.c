/* SPDX-License-Identifier: Apache-2.0 */
/* The helper thread: what runs where, in which order, and what nobody hears of any more (LIB-1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"
#include "util/worker.h"

static char said
    [64]; /* what was worked on, a letter each, in order; written by the thread, read behind its end */
static char heard[64];
static pthread_t loop_thread;
static sem_t begun, go_on;

struct letter {
    struct pm_work work;
    char letter;
    bool all_blocked, elsewhere, holds;
};

static void append(char *to, char letter)
{
    size_t n = strlen(to);

    assert_true(n + 1 < sizeof(said));
    to[n] = letter;
    to[n + 1] = '\0';
}

static void say(struct pm_work *work)
{
    struct letter *letter = pm_container_of(work, struct letter, work);
    sigset_t blocked;

    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    letter->all_blocked = sigismember(&blocked, SIGTERM) == 1 &&
                          sigismember(&blocked, SIGHUP) == 1 && sigismember(&blocked, SIGCHLD) == 1;
    letter->elsewhere = !pthread_equal(pthread_self(), loop_thread);
    append(said, letter->letter);
    if (!letter->holds)
        return;
    (void)sem_post(&begun);
    (void)sem_wait(&go_on);
}

static void hear(struct pm_work *work)
{
    struct letter *letter = pm_container_of(work, struct letter, work);

    assert_true(pthread_equal(pthread_self(), loop_thread));
    assert_true(letter->elsewhere);
    assert_true(letter->all_blocked);
    append(heard, letter->letter);
    free(letter);
}

static void drop(struct pm_work *work)
{
    struct letter *letter = pm_container_of(work, struct letter, work);

    append(heard, '-');
    append(heard, letter->letter);
    free(letter);
}

static void add(struct pm_worker *worker, char name, enum pm_work_order order, bool holds)
{
    struct letter *letter = pm_xalloc(sizeof(*letter));

    letter->letter = name;
    letter->holds = holds;
    letter->work.work = say;
    letter->work.done = hear;
    letter->work.drop = drop;
    pm_worker_add(worker, &letter->work, order);
}

static int make(void **state)
{
    static struct pm_loop *loop;

    said[0] = heard[0] = '\0';
    loop_thread = pthread_self();
    (void)sem_init(&begun, 0, 0);
    (void)sem_init(&go_on, 0, 0);
    *state = NULL;
    if (pm_loop_new(&loop, NULL) < 0)
        return -1;
    *state = loop;
    return 0;
}

static int unmake(void **state)
{
    pm_loop_free(*state);
    return 0;
}

static void turn_until_heard(struct pm_loop *loop, size_t n)
{
    for (int i = 0; i < 100 && strlen(heard) < n; i++)
        assert_int_equal(pm_loop_turn(loop, 10000), 0);
    assert_int_equal(strlen(heard), n);
}

static void test_work_is_done_elsewhere_with_signals_blocked_and_told_on_the_loop(void **state)
{
    struct pm_worker *worker = NULL;

    assert_int_equal(pm_worker_new(*state, &worker, NULL), POOLMGR_OK);
    add(worker, 'a', PM_WORK_LAST, false);
    add(worker, 'b', PM_WORK_LAST, false);
    turn_until_heard(*state, 2);
    assert_string_equal(heard, "ab");
    assert_true(pm_worker_free(worker));
}

/* STATE-1: who waits for a commit does not wait for the models that others want looked at. */
static void test_a_commit_goes_before_looks_and_behind_earlier_commits(void **state)
{
    struct pm_worker *worker = NULL;

    assert_int_equal(pm_worker_new(*state, &worker, NULL), POOLMGR_OK);
    add(worker, 'a', PM_WORK_LAST, true);
    (void)sem_wait(&begun);
    add(worker, 'b', PM_WORK_LAST, false);
    add(worker, 'c', PM_WORK_FIRST, false);
    add(worker, 'd', PM_WORK_FIRST, false);
    (void)sem_post(&go_on);
    turn_until_heard(*state, 4);
    assert_string_equal(said, "acdb");
    assert_string_equal(heard, "acdb");
    assert_true(pm_worker_free(worker));
}

static void test_at_the_end_what_was_not_told_is_dropped(void **state)
{
    struct pm_worker *worker = NULL;

    assert_int_equal(pm_worker_new(*state, &worker, NULL), POOLMGR_OK);
    add(worker, 'a', PM_WORK_LAST, true);
    (void)sem_wait(&begun);
    add(worker, 'b', PM_WORK_LAST, false);
    add(worker, 'c', PM_WORK_FIRST, false);
    (void)sem_post(&go_on); /* it may get further before the end comes, and is not heard either */
    assert_true(pm_worker_free(worker));
    assert_int_equal(strlen(heard), 6);
    assert_non_null(strstr(heard, "-a"));
    assert_non_null(strstr(heard, "-b"));
    assert_non_null(strstr(heard, "-c"));
    assert_int_equal(pm_loop_turn(*state, 0), 0);
    assert_int_equal(strlen(heard), 6);
}

static size_t n_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    size_t n = 0;

    assert_non_null(folder);
    while (readdir(folder))
        n++;
    (void)closedir(folder);
    return n - 2;
}

static void test_a_thread_that_hangs_is_left_behind(void **state)
{
    static struct pm_worker *worker; /* stays known: it is the thread's for ever */
    size_t n_before = n_threads();

    assert_int_equal(pm_worker_new(*state, &worker, NULL), POOLMGR_OK);
    add(worker, 'a', PM_WORK_LAST, true);
    (void)sem_wait(&begun);
    assert_false(pm_worker_free(worker));
    (void)sem_post(&go_on); /* what it does then is heard by nobody */
    for (int i = 0; i < 1000 && n_threads() > n_before; i++)
        (void)usleep(10000);
    assert_int_equal(n_threads(), n_before);
    assert_int_equal(pm_loop_turn(*state, 0), 0);
    assert_string_equal(heard, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_work_is_done_elsewhere_with_signals_blocked_and_told_on_the_loop, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_commit_goes_before_looks_and_behind_earlier_commits,
                                        make, unmake),
        cmocka_unit_test_setup_teardown(test_at_the_end_what_was_not_told_is_dropped, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_thread_that_hangs_is_left_behind, make, unmake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
