/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever reads decides when to look, and knows by that how long an answer may take; this end only waits and obeys.
 * An event wakes it, too. So a machine on which nothing happens costs nothing between two looks.
 */
#include "gpu/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "gpu/frame.h"
#include "gpu/host.h"
#include "gpu/nvmlevent.h"
#include "util/str.h"

struct serving {
    int fd;
    struct pm_look look;
    struct pm_nvml_events events;
    struct pm_buf told; /* the last snapshot */
};

/* False: nobody reads any more. */
static bool send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool send_frame(int fd, const struct pm_buf *json)
{
    const unsigned char head[PM_GPU_HEAD_BYTES] = {
        (unsigned char)json->n, (unsigned char)(json->n >> 8), (unsigned char)(json->n >> 16),
        (unsigned char)(json->n >> 24)};

    return send_all(fd, (const char *)head, sizeof(head)) && send_all(fd, json->data, json->n);
}

/* A snapshot, or a heartbeat where it would be the same again. */
static bool tell_snapshot(struct serving *serving, const struct pm_gpu_snapshot *snapshot)
{
    pm_auto_buf struct pm_buf out = {0};
    bool same;

    pm_gpu_write_snapshot(&out, snapshot);
    same = out.n == serving->told.n && memcmp(out.data, serving->told.data, out.n) == 0;
    if (!same) {
        pm_buf_clear(&serving->told);
        pm_buf_add(&serving->told, out.data, out.n);
    } else {
        pm_buf_clear(&out);
        pm_gpu_write_heartbeat(&out);
    }
    return send_frame(serving->fd, &out);
}

/* False: it is over. */
static bool look_and_tell(struct serving *serving)
{
    struct pm_gpu_snapshot snapshot;
    bool goes_on;

    pm_look_take(&serving->look, &snapshot);
    pm_nvml_events_watch(&serving->events, &serving->look);
    goes_on = tell_snapshot(serving, &snapshot) && snapshot.node == PM_NODE_OK;
    pm_gpu_snapshot_fini(&snapshot);
    return goes_on;
}

static bool tell_events(struct serving *serving)
{
    struct pm_gpu_event event;

    while (pm_nvml_events_take(&serving->events, &serving->look, &event)) {
        pm_auto_buf struct pm_buf out = {0};

        pm_gpu_write_event(&out, &event);
        if (!send_frame(serving->fd, &out))
            return false;
    }
    return true;
}

/* However many looks were asked for, one answers all that came by now. */
static bool obey(struct serving *serving)
{
    char orders[64];
    ssize_t n = recv(serving->fd, orders, sizeof(orders), 0);

    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0 || memchr(orders, PM_PROBE_END, (size_t)n))
        return false;
    return !memchr(orders, PM_PROBE_LOOK, (size_t)n) || look_and_tell(serving);
}

static void wait_and_obey(struct serving *serving)
{
    struct pollfd fds[2] = {{.fd = serving->fd, .events = POLLIN},
                            {.fd = serving->events.read_fd, .events = POLLIN}};

    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents && !tell_events(serving))
            return;
        if (fds[0].revents && !obey(serving))
            return;
    }
}

int pm_probe_serve(int fd, const char *nvml, const char *root)
{
    struct serving serving = {.fd = fd};
    struct pm_gpu_snapshot snapshot = {0};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also while it hangs in the driver */
    snapshot.node = pm_look_open(&serving.look, nvml, root, snapshot.text);
    if (snapshot.node != PM_NODE_OK) {
        (void)tell_snapshot(&serving, &snapshot);
        return 0;
    }

    pm_nvml_events_open(&serving.events, &serving.look.nvml);
    if (look_and_tell(&serving))
        wait_and_obey(&serving);
    return 0;
}

int pm_probe_print(const char *nvml, const char *root)
{
    pm_auto_buf struct pm_buf out = {0};
    struct pm_gpu_snapshot snapshot = {.node = PM_NODE_NONE};
    struct pm_gpu_hardware hardware;
    struct pm_look look;

    pm_gpu_hardware(root, &hardware);
    if ((nvml && *nvml) || hardware.n[PM_VENDOR_NVIDIA] > 0) {
        snapshot.node = pm_look_open(&look, nvml, root, snapshot.text);
        if (snapshot.node == PM_NODE_OK)
            pm_look_take(&look, &snapshot);
        pm_look_close(&look);
    }

    pm_gpu_write_snapshot(&out, &snapshot);
    pm_buf_adds(&out, "\n");
    pm_gpu_snapshot_fini(&snapshot);
    return fwrite(out.data, 1, out.n, stdout) == out.n && fflush(stdout) == 0 ? 0 : 1;
}
