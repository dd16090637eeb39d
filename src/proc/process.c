/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's end of a shim. Launching is: a folder, what to run, a listening socket that the shim inherits, a
 * connection to it, and the shim's exec; from the connection on a fresh start and an adoption are one thing.
 *
 * The end comes in two ways. A shim that says "childless" ends by itself, and with it its lock. A connection that
 * breaks without that word means that the shim was killed: its engine dies with it, what else is left of the tree is
 * found by the folder's name in its environment and killed, and only then, with the lock free, it is over. A lock
 * that is held by something silent is freed by killing its holder.
 */
#include "proc/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/cgroup.h"
#include "proc/folder.h"
#include "proc/inner.h"
#include "proc/shim.h"
#include "proc/tree.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/time.h"

#define LOOK_EVERY_MS 20 /* while something that is killed is not gone */

uint64_t pm_silent_max_ms = 10000;

/* ---- life ------------------------------------------------------------------------------------------- */

static void free_now(struct pm_task *task)
{
    struct pm_process *process = pm_container_of(task, struct pm_process, free_task);

    free(process->folder);
    free(process->failure);
    free(process);
}

/* Callbacks of this turn may still hold it: it is freed at the turn's end. */
void pm_process_release(struct pm_process *process)
{
    if (!process || process->released)
        return;

    process->released = true;
    pm_watch_remove(&process->watch);
    pm_timer_clear(&process->timer);
    if (process->connection >= 0)
        (void)close(pm_take_fd(&process->connection));
    pm_loop_later(process->loop, &process->free_task);
}

static void end(struct pm_process *process)
{
    const struct pm_process_handler *handler = process->handler;
    void *ctx = process->ctx;

    pm_process_release(process);
    handler->on_childless(ctx);
}

/* ---- the end of a shim ------------------------------------------------------------------------------ */

static void look_again(struct pm_process *process, uint64_t after_ms)
{
    pm_timer_set(process->loop, &process->timer, pm_loop_now_ms(process->loop) + after_ms);
}

/* The exit record, or what can be known without one: the shim was killed before it could write it. */
static void tell_exited(struct pm_process *process)
{
    struct pm_process_exit how = {.status = -1};

    process->exited = true;
    if (!pm_exit_read(process->folder, &how))
        how.log_tail = pm_log_tail_read(process->folder);
    how.sigkill_by_us = how.sigkill_by_us || process->kill_asked;
    process->handler->on_exited(process->ctx, &how);
    free(how.log_tail);
}

static void tell_killed(struct pm_process *process)
{
    if (process->exited || process->released)
        return;

    if (process->spawned) {
        tell_exited(process);
    } else if (!process->failed) {
        process->failed = true;
        process->handler->on_spawn_failed(process->ctx, false,
                                          "its shim ended before the engine was started");
    }
}

static void kill_silent_holder(struct pm_process *process, pid_t holder)
{
    pm_auto_close int pidfd = holder > 0 ? (int)syscall(SYS_pidfd_open, holder, 0) : -1;

    /* Asked again behind the pidfd, so that it is the holder that is killed. */
    if (pidfd >= 0 && pm_lock_holder(process->folder) == holder)
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

/* The connection is gone: is everything else? */
static void look_for_end(struct pm_process *process)
{
    pid_t holder = pm_lock_holder(process->folder);

    if (holder != 0) {
        if (pm_loop_now_ms(process->loop) - process->silent_since_ms >= pm_silent_max_ms)
            kill_silent_holder(process, holder);
        look_again(process, process->childless ? 1 : LOOK_EVERY_MS);
        return;
    }

    if (!process->childless) {
        tell_killed(process);
        if (process->released)
            return;
        if (pm_kill_by_folder(process->folder, NULL, NULL) > 0) {
            look_again(process, LOOK_EVERY_MS);
            return;
        }
    }

    end(process);
}

static void on_hung_up(struct pm_process *process)
{
    pm_watch_remove(&process->watch);
    (void)close(pm_take_fd(&process->connection));
    process->silent_since_ms = pm_loop_now_ms(process->loop);
    look_for_end(process);
}

static void on_timer(struct pm_timer *timer)
{
    struct pm_process *process = pm_container_of(timer, struct pm_process, timer);

    if (process->failure) {
        process->handler->on_spawn_failed(process->ctx, false, process->failure);
        if (!process->released)
            end(process);
    } else if (process->connection < 0) {
        look_for_end(process);
    } else {
        /* Connected, and not a word, or no answer to an order: it hangs, or was stopped. */
        on_hung_up(process);
        if (!process->released)
            process->silent_since_ms = 0;
    }
}

/* ---- what a shim says ------------------------------------------------------------------------------- */

static void on_failed_packet(struct pm_process *process, const char *words)
{
    process->failed = true;
    process->handler->on_spawn_failed(process->ctx, words[0] == '1',
                                      strlen(words) > 2 ? words + 2 : "");
}

static void on_packet(struct pm_process *process, const char *packet)
{
    int pid;
    unsigned long long n;

    process->awaits = false;
    pm_timer_clear(&process->timer);
    if (sscanf(packet, "hello %d", &pid) == 1) {
        process->shim_pid = pid;
    } else if (sscanf(packet, "spawned %d", &pid) == 1) {
        process->spawned = true;
        process->pid = pid;
        process->handler->on_spawned(process->ctx, pid);
    } else if (pm_str_starts(packet, "failed ")) {
        on_failed_packet(process, packet + strlen("failed "));
    } else if (strcmp(packet, "ready") == 0) {
        process->handler->on_ready_line(process->ctx);
    } else if (sscanf(packet, "log %llu", &n) == 1) {
        process->handler->on_log(process->ctx, n);
    } else if (strcmp(packet, "exited") == 0) {
        tell_exited(process);
    } else if (strcmp(packet, "childless") == 0) {
        process->childless = true;
    }
}

static void on_connection(struct pm_watch *watch, uint32_t events)
{
    struct pm_process *process = pm_container_of(watch, struct pm_process, watch);
    char packet[PM_SHIM_PACKET_MAX + 1];
    ssize_t n;

    (void)events;
    while (!process->released) {
        n = recv(process->connection, packet, sizeof packet - 1, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            on_hung_up(process);
            return;
        }
        packet[n] = '\0';
        on_packet(process, packet);
    }
}

static void order(struct pm_process *process, const char *text)
{
    if (process->connection < 0)
        return;

    (void)send(process->connection, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (!process->awaits)
        look_again(process, pm_silent_max_ms);
    process->awaits = true;
}

void pm_process_signal(struct pm_process *process, int signo)
{
    char text[32];

    (void)snprintf(text, sizeof text, "signal %d", signo);
    order(process, text);
}

void pm_process_kill(struct pm_process *process)
{
    process->kill_asked = true;
    order(process, "kill");
}

/* ---- connecting ------------------------------------------------------------------------------------- */

static int socket_address(const char *folder, struct sockaddr_un *ret, struct poolmgr_error *err)
{
    int n;

    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(ret->sun_path, sizeof ret->sun_path, "%s/shim.sock", folder);
    if (n < 0 || (size_t)n >= sizeof ret->sun_path)
        return pm_fail(err, POOLMGR_E_PATH_TOO_LONG,
                       "%s/shim.sock has %d bytes; a socket's path has at most %zu", folder, n,
                       sizeof ret->sun_path - 1);

    return POOLMGR_OK;
}

static struct pm_process *process_new(struct pm_loop *loop, const char *folder,
                                      const struct pm_process_handler *handler, void *ctx)
{
    struct pm_process *process = pm_xalloc(sizeof *process);

    process->loop = loop;
    process->folder = pm_xstrdup(folder);
    process->handler = handler;
    process->ctx = ctx;
    process->connection = -1;
    process->timer.fn = on_timer;
    process->free_task.fn = free_now;
    return process;
}

static int call_shim(struct pm_process *process, const struct sockaddr_un *address,
                     struct poolmgr_error *err)
{
    pm_auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "%s", address->sun_path);

    r = pm_watch_add(process->loop, &process->watch, fd, EPOLLIN, on_connection);
    if (r < 0)
        return pm_fail(err, r, "%s cannot be watched", address->sun_path);

    process->connection = pm_take_fd(&fd);
    process->silent_since_ms = pm_loop_now_ms(process->loop);
    process->awaits = true;
    look_again(process, pm_silent_max_ms);
    return POOLMGR_OK;
}

int pm_process_adopt(struct pm_loop *loop, const char *instances_dir, const char *pool_id,
                     uint64_t instance, const struct pm_process_handler *handler, void *ctx,
                     struct pm_process **ret, struct poolmgr_error *err)
{
    pm_auto_free char *folder = pm_xasprintf("%s/%s.%" PRIu64, instances_dir, pool_id, instance);
    struct sockaddr_un address;
    struct pm_process *process;
    int r;

    r = socket_address(folder, &address, err);
    if (r < 0)
        return r;

    process = process_new(loop, folder, handler, ctx);
    if (call_shim(process, &address, NULL) < 0) {
        /* It does not listen: dead, or about to be. How it ended is found out as after a broken connection. */
        process->silent_since_ms = pm_loop_now_ms(loop);
        process->spawned = true;
        look_again(process, 0);
    }

    *ret = process;
    return POOLMGR_OK;
}

/* ---- launching -------------------------------------------------------------------------------------- */

static int make_folder(const char *folder, const struct pm_launch *launch,
                       struct poolmgr_error *err)
{
    pm_auto_free char *link = pm_xasprintf("%s/log", folder);

    if (mkdir(folder, 0700) < 0)
        return pm_fail_errno(err, errno == EEXIST ? POOLMGR_E_ALREADY_EXISTS : POOLMGR_E_INTERNAL,
                             errno, "%s", folder);

    (void)symlink(launch->log_path, link);
    return pm_spec_write(folder, launch, pm_monotonic_ms(), err);
}

static int listen_at(const struct sockaddr_un *address, int *ret_fd, struct poolmgr_error *err)
{
    pm_auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        listen(fd, 16) < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "%s", address->sun_path);

    *ret_fd = pm_take_fd(&fd);
    return POOLMGR_OK;
}

/* The shim needs nothing of our environment; nobody who looks for an engine's processes shall find it by name. */
static int exec_shim(const char *shim_path, const char *folder, int listen_fd)
{
    char *const argv[] = {(char *)"pool-shim", (char *)folder, NULL};
    char *const env[] = {(char *)"PATH=/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t pid;
    int r;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &all);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, listen_fd, PM_SHIM_LISTEN_FD);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, 0, 1);
    (void)posix_spawn_file_actions_adddup2(&actions, 0, 2);

    r = posix_spawn(&pid, shim_path, &actions, &attributes, argv, env);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    if (r == 0)
        (void)waitpid(pid, NULL, 0); /* it forks and ends: a fraction of a millisecond */
    return r;
}

int pm_process_launch(struct pm_loop *loop, const struct pm_launch *launch,
                      const struct pm_process_handler *handler, void *ctx, struct pm_process **ret,
                      struct poolmgr_error *err)
{
    pm_auto_free char *folder =
        pm_xasprintf("%s/%s.%" PRIu64, launch->instances_dir, launch->pool_id, launch->instance);
    pm_auto_close int listen_fd = -1;
    struct sockaddr_un address;
    struct pm_process *process;
    int r;

    r = socket_address(folder, &address, err);
    if (r < 0)
        return r;

    r = make_folder(folder, launch, err);
    if (r == 0)
        r = listen_at(&address, &listen_fd, err);
    if (r < 0) {
        if (r != POOLMGR_E_ALREADY_EXISTS)
            (void)pm_remove_tree(folder, NULL);
        return r;
    }

    process = process_new(loop, folder, handler, ctx);
    r = call_shim(process, &address, err);
    if (r < 0) {
        pm_process_release(process);
        (void)pm_remove_tree(folder, NULL);
        return r;
    }

    r = exec_shim(launch->shim_path, folder, listen_fd);
    if (r != 0) {
        process->failure = pm_xasprintf("%s: %s", launch->shim_path, strerror(r));
        look_again(process, 0);
        pm_watch_remove(&process->watch);
    }

    *ret = process;
    return POOLMGR_OK;
}

void pm_process_forget(const char *instances_dir, const char *pool_id, uint64_t instance)
{
    pm_auto_free char *folder = pm_xasprintf("%s/%s.%" PRIu64, instances_dir, pool_id, instance);

    pm_cgroup_remove(folder);
    (void)pm_remove_tree(folder, NULL);
}
