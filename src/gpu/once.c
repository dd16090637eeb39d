/* SPDX-License-Identifier: Apache-2.0 */
/* For programs without a loop: one look, with an end in sight. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gpu/child.h"
#include "gpu/probe.h"
#include "util/str.h"
#include "util/time.h"

#define END_WAIT_MS 1000

/* Reads until the end; false: it did not come in time, or is too long. */
static bool read_all(int fd, uint64_t until_ms, struct pm_buf *to)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};

    for (;;) {
        uint64_t now_ms = pm_monotonic_ms();
        ssize_t n;

        if (now_ms >= until_ms || to->n > PM_GPU_FRAME_MAX)
            return false;
        if (poll(&readable, 1, (int)(until_ms - now_ms)) <= 0)
            continue;
        pm_buf_reserve(to, 4096);
        n = read(fd, to->data + to->n, to->capacity - to->n);
        if (n > 0)
            to->n += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return n == 0;
    }
}

static void say(struct pm_gpu_snapshot *ret, const char *text)
{
    ret->node = PM_NODE_UNRESPONSIVE;
    (void)snprintf(ret->text, sizeof(ret->text), "%.*s", PM_GPU_TEXT_MAX, text);
}

static void read_answer(int fd, uint64_t timeout_ms, struct pm_gpu_snapshot *ret)
{
    pm_auto_buf struct pm_buf out = {0};
    struct pm_gpu_frame frame = {0};
    struct poolmgr_error err = {0};

    if (!read_all(fd, pm_monotonic_ms() + timeout_ms, &out))
        say(ret, "pool-probe does not answer: the driver hangs");
    else if (pm_gpu_frame_read(out.data, out.n, &frame, &err) < 0)
        say(ret, "pool-probe ended without an answer");
    else
        *ret = frame.snapshot;
}

void pm_probe_once(const struct pm_probe_options *options, uint64_t timeout_ms,
                   struct pm_gpu_snapshot *ret)
{
    char *argv[8] = {(char *)"pool-probe", (char *)"--once"};
    struct pm_child child = {.pid_fd = -1};
    struct poolmgr_error err = {0};
    size_t n = 2;
    int fds[2], r;

    if (options->nvml && *options->nvml) {
        argv[n++] = (char *)"--nvml";
        argv[n++] = (char *)options->nvml;
    }
    if (options->root && *options->root) {
        argv[n++] = (char *)"--root";
        argv[n++] = (char *)options->root;
    }

    memset(ret, 0, sizeof(*ret));
    if (pipe2(fds, O_CLOEXEC) < 0) {
        say(ret, "no descriptor is left for pool-probe");
        return;
    }

    r = pm_child_spawn(options->program, argv, fds[1], 1, &child, &err);
    (void)close(fds[1]);
    if (r < 0)
        say(ret, err.message);
    else
        read_answer(fds[0], timeout_ms, ret);
    pm_child_end(&child, END_WAIT_MS);
    (void)close(fds[0]);
}
