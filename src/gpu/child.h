/* SPDX-License-Identifier: Apache-2.0 */
/* pool-probe as a process: begun, killed and waited for by its pidfd, whatever else the program around us does. */
#ifndef PM_GPU_CHILD_H
#define PM_GPU_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "util/error.h"

struct pm_child {
    pid_t pid;
    int pid_fd; /* -1: there is none */
};

/* Runs `program` with `fd` as its descriptor `as_fd`, nothing at 0 and 1 (unless as_fd is one of them), our own errors
 * at 2, no blocked signal, in a session of its own. POOLMGR_E_INTERNAL. */
int pm_child_spawn(const char *program, char *const *argv, int fd, int as_fd, struct pm_child *ret,
                   struct poolmgr_error *err);

/* SIGKILL; harmless when it is gone. It may hang in the kernel, so this does not wait. */
void pm_child_kill(const struct pm_child *child);

/* True: it is gone, and `text` (`size` bytes) says how; the child is forgotten. False: it is not. Does not wait. */
bool pm_child_reap(struct pm_child *child, char *text, size_t size);

/* Kills it and waits for its end, at most wait_ms. What hangs in the kernel is left to its fate. */
void pm_child_end(struct pm_child *child, int wait_ms);

#endif
