/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: who is called, when, in which order, and who is not called any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/loop.h"
#include "util/str.h"
#include "util/time.h"

#define LONG_MS 10000 /* the end of a wait that something else should end */

static char said[64]; /* what the callbacks said, a letter each */

static void say(char letter)
{
    size_t n = strlen(said);

    assert_true(n + 1 < sizeof(said));
    said[n] = letter;
    said[n + 1] = '\0';
}

static int make_loop(void **state)
{
    struct pm_loop *loop = NULL;

    said[0] = '\0';
    if (pm_loop_new(&loop, NULL) < 0)
        return -1;
    *state = loop;
    return 0;
}

static int free_loop(void **state)
{
    pm_loop_free(*state);
    return 0;
}

static bool fd_is_readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, timeout_ms) == 1;
}

/* Turns until the callbacks have said this much; every wait has an end. */
static void turn_until_said(struct pm_loop *loop, const char *expected)
{
    uint64_t end_ms = pm_monotonic_ms() + LONG_MS;

    while (strlen(said) < strlen(expected) && pm_monotonic_ms() < end_ms)
        assert_int_equal(pm_loop_turn(loop, 100), 0);
    assert_string_equal(said, expected);
}

/* ---- timers ----------------------------------------------------------------------------------------- */

struct lettered {
    struct pm_timer timer;
    struct pm_task task;
    struct pm_watch watch;
    char letter;
    struct pm_loop *loop;
    struct lettered *other;
    uint64_t at_ms;
};

static void say_timer(struct pm_timer *timer)
{
    struct lettered *l = pm_container_of(timer, struct lettered, timer);

    l->at_ms = pm_monotonic_ms();
    say(l->letter);
}

static void say_and_clear_other(struct pm_timer *timer)
{
    struct lettered *l = pm_container_of(timer, struct lettered, timer);

    say(l->letter);
    pm_timer_clear(&l->other->timer);
}

static void say_and_set_again(struct pm_timer *timer)
{
    struct lettered *l = pm_container_of(timer, struct lettered, timer);

    say(l->letter);
    pm_timer_set(l->loop, timer, 0);
}

static void test_timers_run_in_order_and_never_early(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered timers[] = {{.letter = 'c'}, {.letter = 'a'}, {.letter = 'b'}};
    uint64_t begun_ms = pm_monotonic_ms();
    const uint64_t after_ms[] = {30, 3, 12};

    for (size_t i = 0; i < 3; i++) {
        timers[i].timer.fn = say_timer;
        pm_timer_set(loop, &timers[i].timer, begun_ms + after_ms[i]);
    }
    turn_until_said(loop, "abc");
    for (size_t i = 0; i < 3; i++)
        assert_true(timers[i].at_ms >= begun_ms + after_ms[i]);
}

static void test_a_timer_in_the_past_runs_in_the_next_turn(void **state)
{
    struct lettered t = {.letter = 'a', .timer.fn = say_timer};

    pm_timer_set(*state, &t.timer, 0);
    assert_int_equal(pm_loop_turn(*state, LONG_MS), 0);
    assert_string_equal(said, "a");
}

static void test_a_timer_that_is_moved_or_cleared_does_not_run_at_its_old_time(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {.letter = 'a', .timer.fn = say_timer};
    struct lettered b = {.letter = 'b', .timer.fn = say_timer};
    struct lettered c = {.letter = 'c', .timer.fn = say_timer};
    uint64_t now_ms = pm_monotonic_ms();

    pm_timer_set(loop, &a.timer, now_ms + 1);
    pm_timer_set(loop, &a.timer, now_ms + 20);
    pm_timer_set(loop, &b.timer, now_ms + 1);
    pm_timer_clear(&b.timer);
    pm_timer_clear(&b.timer);
    pm_timer_set(loop, &c.timer, now_ms + 1);
    pm_timer_set(loop, &c.timer, PM_NEVER);
    turn_until_said(loop, "a");
    assert_true(a.at_ms >= now_ms + 20);
    assert_int_equal(pm_loop_turn(loop, 5), 0);
    assert_string_equal(said, "a");
}

static void test_a_timer_cleared_by_another_of_the_same_turn_does_not_run(void **state)
{
    struct lettered b = {.letter = 'b', .timer.fn = say_timer};
    struct lettered a = {.letter = 'a', .timer.fn = say_and_clear_other, .other = &b};

    pm_timer_set(*state, &a.timer, 1);
    pm_timer_set(*state, &b.timer, 2);
    assert_int_equal(pm_loop_turn(*state, LONG_MS), 0);
    assert_int_equal(pm_loop_turn(*state, 0), 0);
    assert_string_equal(said, "a");
}

static void test_a_timer_that_is_always_due_leaves_the_others_their_turn(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {.letter = 'a', .timer.fn = say_and_set_again, .loop = loop};

    pm_timer_set(loop, &a.timer, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "aaa");
    pm_timer_clear(&a.timer);
}

/* INV-30 of the core rests on this: a loop with nothing due sleeps. */
static void test_a_loop_with_nothing_due_does_not_wake_up(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered far = {.letter = 'f', .timer.fn = say_timer};
    struct lettered near = {.letter = 'n', .timer.fn = say_timer};

    assert_false(fd_is_readable(pm_loop_fd(loop), 0));
    pm_timer_set(loop, &far.timer, pm_monotonic_ms() + 3600000);
    pm_timer_set(loop, &near.timer, pm_monotonic_ms() + 1);
    turn_until_said(loop, "n");
    assert_false(fd_is_readable(pm_loop_fd(loop), 50));
    pm_timer_clear(&far.timer);
    assert_int_equal(pm_loop_turn(loop, 0), 0);
    assert_false(fd_is_readable(pm_loop_fd(loop), 20));
}

static void test_the_loops_descriptor_wakes_an_embedder_for_timers(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered t = {.letter = 't', .timer.fn = say_timer};
    uint64_t due_ms = pm_monotonic_ms() + 10;

    pm_timer_set(loop, &t.timer, due_ms);
    assert_true(fd_is_readable(pm_loop_fd(loop), LONG_MS));
    assert_true(pm_monotonic_ms() >= due_ms);
    assert_int_equal(pm_loop_turn(loop, 0), 0);
    assert_string_equal(said, "t");
    assert_false(fd_is_readable(pm_loop_fd(loop), 0));
}

static void test_an_earlier_timer_moves_the_wakeup_forward(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered far = {.letter = 'f', .timer.fn = say_timer};
    struct lettered near = {.letter = 'n', .timer.fn = say_timer};

    pm_timer_set(loop, &far.timer, pm_monotonic_ms() + 3600000);
    pm_timer_set(loop, &near.timer, pm_monotonic_ms() + 5);
    assert_true(fd_is_readable(pm_loop_fd(loop), LONG_MS));
    assert_int_equal(pm_loop_turn(loop, 0), 0);
    assert_string_equal(said, "n");
    pm_timer_clear(&far.timer);
}

/* ---- watches ---------------------------------------------------------------------------------------- */

static void say_watch(struct pm_watch *watch, uint32_t events)
{
    (void)events;
    say(pm_container_of(watch, struct lettered, watch)->letter);
}

static void remove_other(struct pm_watch *watch, uint32_t events)
{
    struct lettered *l = pm_container_of(watch, struct lettered, watch);

    (void)events;
    say(l->letter);
    pm_watch_remove(&l->other->watch);
}

static void pause_other(struct pm_watch *watch, uint32_t events)
{
    struct lettered *l = pm_container_of(watch, struct lettered, watch);

    (void)events;
    say(l->letter);
    pm_watch_set(&l->other->watch, 0);
}

static void make_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
}

static void write_byte(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

static void test_a_watch_is_called_while_there_is_something(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {.letter = 'a'};
    int pair[2];
    char byte;

    make_pair(pair);
    assert_int_equal(pm_watch_add(loop, &a.watch, pair[0], EPOLLIN, say_watch), 0);
    assert_int_equal(pm_loop_turn(loop, 0), 0);
    assert_string_equal(said, "");
    write_byte(pair[1]);
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "aa"); /* level-triggered: what is left comes again */
    assert_int_equal(read(pair[0], &byte, 1), 1);
    assert_int_equal(pm_loop_turn(loop, 0), 0);
    assert_string_equal(said, "aa");

    pm_watch_set(&a.watch, EPOLLIN | EPOLLOUT);
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "aaa");
    pm_watch_remove(&a.watch);
    pm_watch_remove(&a.watch);
    write_byte(pair[1]);
    assert_int_equal(pm_loop_turn(loop, 0), 0);
    assert_string_equal(said, "aaa");
    (void)close(pair[0]);
    (void)close(pair[1]);
}

/* Two watches are ready in one turn, and whoever is called first does `fn` to the other. */
static void race(struct pm_loop *loop, void (*fn)(struct pm_watch *, uint32_t))
{
    struct lettered a = {.letter = 'x'}, b = {.letter = 'x'};
    int first[2], second[2];

    a.other = &b;
    b.other = &a;
    make_pair(first);
    make_pair(second);
    assert_int_equal(pm_watch_add(loop, &a.watch, first[0], EPOLLIN, fn), 0);
    assert_int_equal(pm_watch_add(loop, &b.watch, second[0], EPOLLIN, fn), 0);
    write_byte(first[1]);
    write_byte(second[1]);
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "x");
    pm_watch_remove(&a.watch);
    pm_watch_remove(&b.watch);
    for (size_t i = 0; i < 2; i++) {
        (void)close(first[i]);
        (void)close(second[i]);
    }
}

static void test_a_removed_watch_is_not_called_in_the_same_turn(void **state)
{
    race(*state, remove_other);
}

static void test_a_paused_watch_is_not_called_in_the_same_turn(void **state)
{
    race(*state, pause_other);
}

/* Whoever is called first closes the other's descriptor and watches a new one that gets its number. */
static void replace_other(struct pm_watch *watch, uint32_t events)
{
    struct lettered *l = pm_container_of(watch, struct lettered, watch);
    int number = l->other->watch.fd;
    int pair[2];

    (void)events;
    say('x');
    pm_watch_remove(&l->other->watch);
    (void)close(number);
    make_pair(pair);
    if (pair[0] != number) {
        assert_int_equal(dup2(pair[0], number), number);
        (void)close(pair[0]);
    }
    assert_int_equal(pm_watch_add(l->loop, &l->other->watch, number, EPOLLIN, say_watch), 0);
    l->at_ms = (uint64_t)pair[1];
}

static void test_a_number_reused_in_the_same_turn_gets_no_old_event(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {.letter = 'a', .loop = loop}, b = {.letter = 'b', .loop = loop};
    int first[2], second[2];

    a.other = &b;
    b.other = &a;
    make_pair(first);
    make_pair(second);
    assert_int_equal(pm_watch_add(loop, &a.watch, first[0], EPOLLIN, replace_other), 0);
    assert_int_equal(pm_watch_add(loop, &b.watch, second[0], EPOLLIN, replace_other), 0);
    write_byte(first[1]);
    write_byte(second[1]);
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "x"); /* and neither 'a' nor 'b' */
    (void)close((int)(a.at_ms | b.at_ms));
    pm_watch_remove(&a.watch);
    pm_watch_remove(&b.watch);
    (void)close(a.watch.fd);
    (void)close(b.watch.fd);
    (void)close(first[1]);
    (void)close(second[1]);
}

static void test_a_departure_that_nobody_asks_about_does_not_spin_the_loop(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {.letter = 'a'};
    int pair[2];

    make_pair(pair);
    assert_int_equal(pm_watch_add(loop, &a.watch, pair[0], EPOLLIN, say_watch), 0);
    pm_watch_set(&a.watch, 0);
    (void)close(pair[1]);
    assert_false(fd_is_readable(pm_loop_fd(loop), 20));
    pm_watch_set(&a.watch, EPOLLIN);
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "a");
    pm_watch_remove(&a.watch);
    (void)close(pair[0]);
}

static void test_a_descriptor_that_cannot_be_watched_is_an_error(void **state)
{
    struct lettered a = {.letter = 'a'};

    assert_int_equal(pm_watch_add(*state, &a.watch, -1, EPOLLIN, say_watch), POOLMGR_E_INTERNAL);
    assert_null(a.watch.loop);
    pm_watch_remove(&a.watch);
}

/* ---- tasks ------------------------------------------------------------------------------------------ */

static void say_task(struct pm_task *task)
{
    say(pm_container_of(task, struct lettered, task)->letter);
}

static void later_from_timer(struct pm_timer *timer)
{
    struct lettered *l = pm_container_of(timer, struct lettered, timer);

    say('t');
    pm_loop_later(l->loop, &l->task);
    pm_loop_later(l->loop, &l->task);
}

static void test_a_task_for_later_runs_once_at_the_end_of_the_turn(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {
        .letter = 'a', .loop = loop, .timer.fn = later_from_timer, .task.fn = say_task};
    struct lettered b = {.letter = 'b', .timer.fn = say_timer};

    pm_timer_set(loop, &a.timer, 1);
    pm_timer_set(loop, &b.timer, 2);
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "tba");
    assert_false(fd_is_readable(pm_loop_fd(loop), 0)); /* it leaves no wake-up behind */
}

static void test_a_task_given_outside_a_turn_is_not_forgotten(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {.letter = 'a', .task.fn = say_task};

    pm_loop_later(loop, &a.task);
    assert_true(fd_is_readable(pm_loop_fd(loop), 0));
    assert_int_equal(pm_loop_turn(loop, LONG_MS), 0);
    assert_string_equal(said, "a");
}

static void test_what_was_left_for_later_runs_when_the_loop_is_freed(void **state)
{
    struct lettered a = {.letter = 'a', .task.fn = say_task};
    struct pm_loop *loop = NULL;

    (void)state;
    assert_int_equal(pm_loop_new(&loop, NULL), 0);
    pm_loop_later(loop, &a.task);
    pm_loop_free(loop);
    assert_string_equal(said, "a");
}

#define N_POSTS 500

struct poster {
    struct pm_loop *loop;
    struct post {
        struct pm_task task;
        struct poster *poster;
    } posts[N_POSTS];
    size_t n_run;
    pthread_t loop_thread;
};

static void count_post(struct pm_task *task)
{
    struct post *post = pm_container_of(task, struct post, task);

    assert_ptr_equal(post, &post->poster->posts[post->poster->n_run]); /* in order */
    assert_true(pthread_equal(pthread_self(), post->poster->loop_thread));
    post->poster->n_run++;
}

static void *post_all(void *context)
{
    struct poster *poster = context;

    for (size_t i = 0; i < N_POSTS; i++)
        pm_loop_post(poster->loop, &poster->posts[i].task);
    return NULL;
}

static void test_posts_of_a_thread_run_in_order_on_the_loop(void **state)
{
    struct poster *poster = pm_xalloc(sizeof(*poster));
    uint64_t end_ms = pm_monotonic_ms() + LONG_MS;
    pthread_t thread;

    poster->loop = *state;
    poster->loop_thread = pthread_self();
    for (size_t i = 0; i < N_POSTS; i++) {
        poster->posts[i].poster = poster;
        poster->posts[i].task.fn = count_post;
    }
    assert_int_equal(pthread_create(&thread, NULL, post_all, poster), 0);
    while (poster->n_run < N_POSTS && pm_monotonic_ms() < end_ms)
        assert_int_equal(pm_loop_turn(poster->loop, 100), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(poster->n_run, N_POSTS);
    free(poster);
}

/* ---- running, signals ------------------------------------------------------------------------------- */

static void stop_from_timer(struct pm_timer *timer)
{
    say('s');
    pm_loop_stop(pm_container_of(timer, struct lettered, timer)->loop);
}

static void test_the_loop_runs_until_it_is_stopped(void **state)
{
    struct pm_loop *loop = *state;
    struct lettered a = {.letter = 'a', .timer.fn = say_timer};
    struct lettered stop = {.loop = loop, .timer.fn = stop_from_timer};
    uint64_t n_turns = pm_loop_turns(loop);

    pm_timer_set(loop, &a.timer, pm_monotonic_ms() + 1);
    pm_timer_set(loop, &stop.timer, pm_monotonic_ms() + 10);
    assert_int_equal(pm_loop_run(loop), 0);
    assert_string_equal(said, "as");
    assert_in_range(pm_loop_turns(loop) - n_turns, 1, 3);
    assert_true(pm_loop_now_ms(loop) <= pm_monotonic_ms());
}

static void say_signal(void *context, int signo)
{
    assert_ptr_equal(context, said);
    say(signo == SIGUSR1 ? '1' : signo == SIGUSR2 ? '2' : '?');
}

static void test_signals_arrive_on_the_loop(void **state)
{
    struct pm_loop *loop = *state;
    sigset_t set, former;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGUSR2);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &former), 0);
    assert_int_equal(pm_loop_signals(loop, &set, say_signal, said, NULL), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    turn_until_said(loop, "1");
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    turn_until_said(loop, "12");
    assert_false(fd_is_readable(pm_loop_fd(loop), 0));
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &former, NULL), 0);
}

static void dawdle(struct pm_timer *timer)
{
    (void)timer;
    (void)poll(NULL, 0, 20);
}

static void test_the_longest_turn_is_told_once(void **state)
{
    struct lettered slow = {.timer.fn = dawdle};

    pm_timer_set(*state, &slow.timer, 0);
    assert_int_equal(pm_loop_turn(*state, LONG_MS), 0);
    assert_true(pm_loop_lag_max_us(*state) >= 19000);
    assert_int_equal(pm_loop_lag_max_us(*state), 0);
}

static void test_descriptors_of_the_loop_are_not_inherited(void **state)
{
    int flags = fcntl(pm_loop_fd(*state), F_GETFD);

    assert_true(flags >= 0 && (flags & FD_CLOEXEC));
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, make_loop, free_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_timers_run_in_order_and_never_early),
        LOOP_TEST(test_a_timer_in_the_past_runs_in_the_next_turn),
        LOOP_TEST(test_a_timer_that_is_moved_or_cleared_does_not_run_at_its_old_time),
        LOOP_TEST(test_a_timer_cleared_by_another_of_the_same_turn_does_not_run),
        LOOP_TEST(test_a_timer_that_is_always_due_leaves_the_others_their_turn),
        LOOP_TEST(test_a_loop_with_nothing_due_does_not_wake_up),
        LOOP_TEST(test_the_loops_descriptor_wakes_an_embedder_for_timers),
        LOOP_TEST(test_an_earlier_timer_moves_the_wakeup_forward),
        LOOP_TEST(test_a_watch_is_called_while_there_is_something),
        LOOP_TEST(test_a_removed_watch_is_not_called_in_the_same_turn),
        LOOP_TEST(test_a_paused_watch_is_not_called_in_the_same_turn),
        LOOP_TEST(test_a_number_reused_in_the_same_turn_gets_no_old_event),
        LOOP_TEST(test_a_departure_that_nobody_asks_about_does_not_spin_the_loop),
        LOOP_TEST(test_a_descriptor_that_cannot_be_watched_is_an_error),
        LOOP_TEST(test_a_task_for_later_runs_once_at_the_end_of_the_turn),
        LOOP_TEST(test_a_task_given_outside_a_turn_is_not_forgotten),
        LOOP_TEST(test_what_was_left_for_later_runs_when_the_loop_is_freed),
        LOOP_TEST(test_posts_of_a_thread_run_in_order_on_the_loop),
        LOOP_TEST(test_the_loop_runs_until_it_is_stopped),
        LOOP_TEST(test_signals_arrive_on_the_loop),
        LOOP_TEST(test_the_longest_turn_is_told_once),
        LOOP_TEST(test_descriptors_of_the_loop_are_not_inherited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
