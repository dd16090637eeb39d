/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program around us may have a handler of SIGCHLD, or ignore that signal, or reap whatever ends: then ours is
 * gone before we ask how it ended, and that is all we lose. Nobody's child but ours is ever waited for.
 */
#include "gpu/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/time.h"

extern char **environ;

static void set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                   POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setsigmask(attributes, &none);
    (void)posix_spawnattr_setsigdefault(attributes, &all);
}

int pm_child_spawn(const char *program, char *const *argv, int fd, int as_fd, struct pm_child *ret,
                   struct poolmgr_error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    struct pm_child child = {.pid_fd = -1};
    int r;

    (void)posix_spawnattr_init(&attributes);
    set_attributes(&attributes);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, fd, as_fd);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    if (as_fd != 1)
        (void)posix_spawn_file_actions_adddup2(&actions, 0, 1);
    r = posix_spawn(&child.pid, program, &actions, &attributes, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    if (r != 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, r, "%s", program);

    child.pid_fd = (int)syscall(SYS_pidfd_open, child.pid, 0);
    if (child.pid_fd < 0) { /* our own descriptors are used up: it must not run unseen */
        r = pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "the process of %s", program);
        (void)kill(child.pid, SIGKILL);
        (void)waitpid(child.pid, NULL, 0);
        return r;
    }

    *ret = child;
    return POOLMGR_OK;
}

void pm_child_kill(const struct pm_child *child)
{
    if (child->pid_fd >= 0)
        (void)syscall(SYS_pidfd_send_signal, child->pid_fd, SIGKILL, NULL, 0);
}

bool pm_child_reap(struct pm_child *child, char *text, size_t size)
{
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)child->pid_fd, &info, WEXITED | WNOHANG) < 0)
        (void)snprintf(text, size, "ended, and somebody else was told how");
    else if (info.si_pid == 0)
        return false;
    else if (info.si_code == CLD_EXITED)
        (void)snprintf(text, size, "ended with status %d", info.si_status);
    else
        (void)snprintf(text, size, "was killed by signal %d (%s)", info.si_status,
                       strsignal(info.si_status));

    (void)close(pm_take_fd(&child->pid_fd));
    return true;
}

void pm_child_end(struct pm_child *child, int wait_ms)
{
    struct pollfd ended = {.fd = child->pid_fd, .events = POLLIN};
    uint64_t until_ms = pm_monotonic_ms() + (uint64_t)wait_ms;
    char how[64];

    if (child->pid_fd < 0)
        return;

    pm_child_kill(child);
    while (!pm_child_reap(child, how, sizeof(how))) {
        uint64_t now_ms = pm_monotonic_ms();

        if (now_ms >= until_ms) {
            (void)close(pm_take_fd(&child->pid_fd));
            return;
        }
        (void)poll(&ended, 1, (int)(until_ms - now_ms));
    }
}
