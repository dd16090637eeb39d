/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver is asked by a child, since it may hang or crash: `pool-probe --once` prints one snapshot and ends. What it
 * prints is bounded, and how long it is waited for. A child that hangs in the kernel even behind its SIGKILL is left: a
 * second watch, on its pidfd, takes its status when it comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/gather.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/str.h"

extern char **environ;

struct pm_driver_ask {
    struct pm_loop *loop;
    void (*on_answer)(void *ctx, enum pm_asked how, const char *text,
                      struct pm_gpu_snapshot *snapshot);
    void *ctx;
    pid_t pid;     /* 0: none runs */
    int pidfd, fd; /* -1: none */
    struct pm_watch output_watch, end_watch;
    struct pm_timer timer;
    struct pm_task free_task;
    struct pm_buf output;
    char text[POOLMGR_MESSAGE_MAX];
    bool whole; /* its output is at its end */
    bool answered, released;
};

static void free_now(struct pm_task *task)
{
    struct pm_driver_ask *ask = pm_container_of(task, struct pm_driver_ask, free_task);

    pm_buf_fini(&ask->output);
    free(ask);
}

/* Its owner let go, and no child is left. */
static void go_when_over(struct pm_driver_ask *ask)
{
    if (ask->released && ask->pid == 0)
        pm_loop_later(ask->loop, &ask->free_task);
}

static void stop_reading(struct pm_driver_ask *ask)
{
    pm_timer_clear(&ask->timer);
    pm_watch_remove(&ask->output_watch);
    if (ask->fd >= 0)
        (void)close(pm_take_fd(&ask->fd));
}

static void answer(struct pm_driver_ask *ask, enum pm_asked how, const char *text,
                   struct pm_gpu_snapshot *snapshot)
{
    stop_reading(ask);
    if (ask->answered)
        return;
    ask->answered = true;
    ask->on_answer(ask->ctx, how, text, snapshot);
}

static void kill_child(struct pm_driver_ask *ask)
{
    if (ask->pid > 0 && ask->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, ask->pidfd, SIGKILL, NULL, 0);
}

/* ---- what it said ----------------------------------------------------------------------------------- */

static void read_answer(struct pm_driver_ask *ask)
{
    struct poolmgr_error err = {0};
    struct pm_gpu_frame frame;

    if (ask->output.n == 0) {
        answer(ask, PM_ASKED_FAILED, "it printed nothing", NULL);
    } else if (pm_gpu_frame_read(ask->output.data, ask->output.n, &frame, &err) < 0) {
        answer(ask, PM_ASKED_FAILED, err.message, NULL);
    } else if (frame.kind != PM_GPU_FRAME_SNAPSHOT) {
        pm_gpu_frame_fini(&frame);
        answer(ask, PM_ASKED_FAILED, "it printed no snapshot", NULL);
    } else {
        answer(ask, PM_ASKED_ANSWERED, "", &frame.snapshot); /* the callee's now */
    }
}

/* Its output is whole, and it has ended: so that nothing of it is left when the answer is given. */
static void answer_when_over(struct pm_driver_ask *ask)
{
    if (ask->whole && ask->pid == 0 && !ask->answered)
        read_answer(ask);
}

static void on_output(struct pm_watch *watch, uint32_t events)
{
    struct pm_driver_ask *ask = pm_container_of(watch, struct pm_driver_ask, output_watch);
    char block[16384];
    ssize_t n;

    (void)events;
    do {
        n = read(ask->fd, block, sizeof(block));
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        pm_watch_remove(&ask->output_watch);
        ask->whole = true;
        answer_when_over(ask);
    } else if (ask->output.n + (size_t)n > PM_GPU_FRAME_MAX) {
        kill_child(ask);
        answer(ask, PM_ASKED_FAILED, "it printed more than 1 MiB", NULL);
    } else {
        pm_buf_add(&ask->output, block, (size_t)n);
    }
}

static void on_timer(struct pm_timer *timer)
{
    struct pm_driver_ask *ask = pm_container_of(timer, struct pm_driver_ask, timer);

    if (ask->text[0]) {
        answer(ask, PM_ASKED_FAILED, ask->text, NULL);
        return;
    }
    kill_child(ask);
    answer(ask, PM_ASKED_SILENT, "", NULL);
}

static void on_end(struct pm_watch *watch, uint32_t events)
{
    struct pm_driver_ask *ask = pm_container_of(watch, struct pm_driver_ask, end_watch);

    (void)events;
    (void)waitpid(ask->pid, NULL, WNOHANG);
    pm_watch_remove(&ask->end_watch);
    (void)close(pm_take_fd(&ask->pidfd));
    ask->pid = 0;
    answer_when_over(ask);
    go_when_over(ask);
}

/* ---- the child -------------------------------------------------------------------------------------- */

static int spawn(const char *program, const char *nvml, int output, pid_t *ret)
{
    bool named = nvml && nvml[0];
    char *const argv[] = {(char *)"pool-probe", (char *)"--once", named ? (char *)"--nvml" : NULL,
                          named ? (char *)nvml : NULL, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int r;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &all);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, output, 1);
    r = posix_spawn(ret, program, &actions, &attributes, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return r;
}

/* 0, or an errno. */
static int follow(struct pm_driver_ask *ask)
{
    ask->pidfd = (int)syscall(SYS_pidfd_open, ask->pid, 0);
    if (ask->pidfd < 0)
        return errno;
    (void)fcntl(ask->fd, F_SETFL, O_NONBLOCK);
    if (pm_watch_add(ask->loop, &ask->output_watch, ask->fd, EPOLLIN, on_output) < 0 ||
        pm_watch_add(ask->loop, &ask->end_watch, ask->pidfd, EPOLLIN, on_end) < 0)
        return ENOMEM;
    return 0;
}

/* A child that cannot be followed is none. */
static void give_up(struct pm_driver_ask *ask)
{
    pm_watch_remove(&ask->end_watch);
    if (ask->pidfd >= 0)
        (void)close(pm_take_fd(&ask->pidfd));
    (void)kill(ask->pid, SIGKILL); /* nobody else reaps it, so that the number is its own */
    (void)waitpid(ask->pid, NULL, 0);
    ask->pid = 0;
}

/* 0, or an errno. */
static int begin(struct pm_driver_ask *ask, const char *program, const char *nvml)
{
    int pipe_fds[2], r;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return errno;
    r = spawn(program, nvml, pipe_fds[1], &ask->pid);
    (void)close(pipe_fds[1]);
    ask->fd = pipe_fds[0];
    if (r != 0) {
        ask->pid = 0;
        return r;
    }
    r = follow(ask);
    if (r != 0)
        give_up(ask);
    return r;
}

struct pm_driver_ask *pm_driver_ask_new(struct pm_loop *loop, const char *program, const char *nvml,
                                        uint64_t deadline_ms,
                                        void (*on_answer)(void *ctx, enum pm_asked how,
                                                          const char *text,
                                                          struct pm_gpu_snapshot *snapshot),
                                        void *ctx)
{
    struct pm_driver_ask *ask = pm_xalloc(sizeof(*ask));
    int r;

    *ask = (struct pm_driver_ask){
        .loop = loop, .on_answer = on_answer, .ctx = ctx, .pidfd = -1, .fd = -1};
    ask->timer.fn = on_timer;
    ask->free_task.fn = free_now;
    r = begin(ask, program, nvml);
    if (r != 0)
        (void)snprintf(ask->text, sizeof(ask->text), "%s: %s", program, strerror(r));
    pm_timer_set(loop, &ask->timer, r != 0 ? 0 : pm_loop_now_ms(loop) + deadline_ms);
    return ask;
}

void pm_driver_ask_free(struct pm_driver_ask *ask)
{
    if (!ask || ask->released)
        return;
    stop_reading(ask);
    ask->answered = true;
    ask->released = true;
    kill_child(ask);
    go_when_over(ask);
}
