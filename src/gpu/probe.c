/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's end of pool-probe. It asks, and the child answers; the time between them is the only clock, so a
 * child that hangs is seen within one deadline whatever it hangs in. Such a child is killed, and another begins when
 * it is gone: one that cannot be killed (the kernel waits for the hardware) is waited for without holding up anybody.
 *
 * What is handed out is made anew from two things each time, the last good snapshot and the state of the machine
 * now, so no way through errors can leave a device in a state that nobody says any more.
 */
#include "gpu/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "gpu/child.h"
#include "gpu/frame.h"
#include "gpu/host.h"
#include "gpu/inner.h"
#include "gpu/serve.h"
#include "gpu/xidbook.h"
#include "util/str.h"

#define LOOK_FOR_GPUS_MS 60000 /* where there is none */
#define END_WAIT_MS      1000

struct pm_probe_times pm_probe_times = {.deadline_ms = 10000,
                                        .first_deadline_ms = 60000,
                                        .backoff_min_ms = 1000,
                                        .backoff_max_ms = 60000};

enum phase {
    PHASE_NONE,   /* no child; the timer begins one */
    PHASE_ASKED,  /* it owes us an answer; the timer is its deadline */
    PHASE_QUIET,  /* the timer asks */
    PHASE_ENDING, /* killed, or its connection is gone: its end is waited for */
};

struct pm_probe {
    struct pm_loop *loop;
    char *program, *nvml, *root;
    const struct pm_probe_handler *handler;
    void *ctx;

    enum phase phase;
    struct pm_timer timer;
    struct pm_child child;
    struct pm_watch child_watch;
    int fd;
    struct pm_watch watch;
    struct pm_buf in;
    bool often, again; /* again: ask as soon as it has answered */

    uint64_t backoff_ms, begun_ms, rest_ms;
    uint64_t asked_ms, seen_ms; /* when the look under way, and the last one that ended, began */
    bool resting;               /* its end was our wish */
    enum pm_node_state said;    /* by this child, in its last snapshot */
    struct pm_xid_book xids;
    struct pm_gpu_snapshot good; /* the last one with a driver that works */
    struct pm_gpu_snapshot last; /* handed out */
    bool has_last;

    bool released;
    struct pm_task free_task;
};

static void begin(struct pm_probe *probe);

/* ---- what is handed out ----------------------------------------------------------------------------- */

/* The machine as it was seen last, what XIDs made of it, and the state of its driver now. */
static void hand_out(struct pm_probe *probe, enum pm_node_state node, const char *text)
{
    struct pm_gpu_snapshot snapshot;
    bool same;

    pm_gpu_snapshot_copy(&snapshot, &probe->good);
    snapshot.node = node;
    (void)pm_str_copy(snapshot.text, sizeof(snapshot.text), text);
    if (node != PM_NODE_OK)
        pm_gpu_overlay(&snapshot);
    pm_xid_book_apply(&probe->xids, &snapshot);

    same = probe->has_last && pm_gpu_snapshot_same(&probe->last, &snapshot);
    pm_gpu_snapshot_fini(&probe->last);
    probe->last = snapshot;
    probe->has_last = true;
    if (!same)
        probe->handler->on_snapshot(probe->ctx, &probe->last);
}

/* Takes a good one. */
static void take_snapshot(struct pm_probe *probe, struct pm_gpu_snapshot *snapshot)
{
    probe->said = snapshot->node;
    if (snapshot->node == PM_NODE_OK) {
        pm_gpu_keep_vanished(snapshot, &probe->good);
        pm_xid_book_see(&probe->xids, snapshot);
        pm_gpu_snapshot_fini(&probe->good);
        probe->good = *snapshot;
        memset(snapshot, 0, sizeof(*snapshot));
    }
    hand_out(probe, probe->said, probe->said == PM_NODE_OK ? "" : snapshot->text);
}

/* An error of the driver. */
static void take_event(struct pm_probe *probe, const struct pm_gpu_event *event)
{
    bool differs = pm_xid_book_note(&probe->xids, event, pm_loop_now_ms(probe->loop));

    probe->handler->on_event(probe->ctx, event);
    if (!probe->released && differs && probe->said == PM_NODE_OK && probe->has_last)
        hand_out(probe, PM_NODE_OK, "");
}

/* ---- the clock -------------------------------------------------------------------------------------- */

static void set_timer(struct pm_probe *probe, uint64_t after_ms)
{
    pm_timer_set(probe->loop, &probe->timer, pm_loop_now_ms(probe->loop) + after_ms);
}

static void ask(struct pm_probe *probe)
{
    const char order = PM_PROBE_LOOK;

    /* A full socket means that it reads nothing: its deadline will tell. */
    (void)send(probe->fd, &order, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    probe->phase = PHASE_ASKED;
    probe->asked_ms = pm_loop_now_ms(probe->loop);
    probe->again = false;
    set_timer(probe, pm_probe_times.deadline_ms);
}

static void wait_quietly(struct pm_probe *probe)
{
    set_timer(probe, probe->often ? PM_PROBE_HURRY_MS : PM_PROBE_IDLE_MS);
}

static void answered(struct pm_probe *probe)
{
    probe->phase = PHASE_QUIET;
    if (probe->said != PM_NODE_OK) { /* it ends by itself */
        pm_timer_clear(&probe->timer);
        return;
    }

    if (probe->handler->on_looked)
        probe->handler->on_looked(probe->ctx);
    if (probe->released || probe->phase != PHASE_QUIET)
        return;
    if (probe->again)
        ask(probe);
    else
        wait_quietly(probe);
}

/* Kills the child, if there is one, and tells why; the next one begins when it is gone. */
static void lose(struct pm_probe *probe, const char *text)
{
    probe->phase = PHASE_ENDING;
    pm_timer_clear(&probe->timer);
    pm_watch_set(&probe->watch, 0);
    pm_child_kill(&probe->child);
    probe->said = PM_NODE_UNRESPONSIVE;
    if (probe->handler->on_lost)
        probe->handler->on_lost(probe->ctx, text);
    if (!probe->released)
        hand_out(probe, PM_NODE_UNRESPONSIVE, text);
}

static void on_timer(struct pm_timer *timer)
{
    struct pm_probe *probe = pm_container_of(timer, struct pm_probe, timer);

    switch (probe->phase) {
    case PHASE_NONE: begin(probe); break;
    case PHASE_QUIET: ask(probe); break;
    case PHASE_ASKED: lose(probe, "pool-probe does not answer: the driver hangs"); break;
    case PHASE_ENDING: break;
    }
}

/* ---- what the child says ---------------------------------------------------------------------------- */

static void on_frame(struct pm_probe *probe, struct pm_gpu_frame *frame)
{
    if (frame->kind != PM_GPU_FRAME_EVENT)
        probe->seen_ms = probe->asked_ms;
    switch (frame->kind) {
    case PM_GPU_FRAME_SNAPSHOT:
        take_snapshot(probe, &frame->snapshot);
        if (!probe->released)
            answered(probe);
        break;
    case PM_GPU_FRAME_HEARTBEAT: answered(probe); break;
    case PM_GPU_FRAME_EVENT:
        take_event(probe, &frame->event);
        if (!probe->released)
            pm_probe_hurry(probe, probe->often); /* something changed there */
        break;
    default: break;
    }
}

static void take_frames(struct pm_probe *probe)
{
    struct pm_gpu_frame frame = {0};
    struct poolmgr_error err = {0};
    int r;

    while (probe->phase != PHASE_ENDING && (r = pm_gpu_frame_take(&probe->in, &frame, &err)) != 0) {
        pm_auto_free char *text = NULL;

        if (r < 0) {
            text = pm_xasprintf("pool-probe talks nonsense: %.80s", err.message);
            lose(probe, text);
            return;
        }
        on_frame(probe, &frame);
        pm_gpu_frame_fini(&frame);
        if (probe->released)
            return;
    }
}

/* False: nothing more is to be read now. */
static bool receive(struct pm_probe *probe)
{
    ssize_t n;

    pm_buf_reserve(&probe->in, 4096);
    n = recv(probe->fd, probe->in.data + probe->in.n, probe->in.capacity - probe->in.n,
             MSG_DONTWAIT);
    if (n > 0) {
        probe->in.n += (size_t)n;
        take_frames(probe);
        return !probe->released && probe->phase != PHASE_ENDING;
    }
    if (n < 0 && errno == EINTR)
        return true;
    if (n == 0 || errno != EAGAIN) { /* closed: its end will say how */
        pm_watch_set(&probe->watch, 0);
        pm_child_kill(&probe->child);
    }
    return false;
}

static void on_readable(struct pm_watch *watch, uint32_t events)
{
    struct pm_probe *probe = pm_container_of(watch, struct pm_probe, watch);

    (void)events;
    while (receive(probe))
        ;
}

/* ---- its end ---------------------------------------------------------------------------------------- */

static void let_go(struct pm_probe *probe)
{
    pm_watch_remove(&probe->watch);
    pm_watch_remove(&probe->child_watch);
    if (probe->fd >= 0)
        (void)close(pm_take_fd(&probe->fd));
    pm_buf_clear(&probe->in);
}

/* What ran well for long begins again soon; what ends again and again less and less often. */
static uint64_t next_backoff(struct pm_probe *probe)
{
    const struct pm_probe_times *times = &pm_probe_times;
    uint64_t ran_ms = pm_loop_now_ms(probe->loop) - probe->begun_ms, wait_ms = probe->backoff_ms;

    if (wait_ms == 0 || ran_ms >= times->backoff_max_ms + wait_ms)
        wait_ms = times->backoff_min_ms;
    probe->backoff_ms = wait_ms < times->backoff_max_ms / 2 ? wait_ms * 2 : times->backoff_max_ms;
    return wait_ms;
}

static void ended(struct pm_probe *probe, const char *how)
{
    bool expected = probe->resting || probe->said != PM_NODE_OK;
    char text[PM_GPU_TEXT_MAX + 1];

    let_go(probe);
    if (!expected) {
        (void)snprintf(text, sizeof(text), "pool-probe %s", how);
        lose(probe, text);
        if (probe->released)
            return;
    }

    probe->phase = PHASE_NONE;
    set_timer(probe, probe->resting ? probe->rest_ms : next_backoff(probe));
    probe->resting = false;
}

static void on_child(struct pm_watch *watch, uint32_t events)
{
    struct pm_probe *probe = pm_container_of(watch, struct pm_probe, child_watch);
    char how[64];

    (void)events;
    while (probe->phase != PHASE_ENDING && receive(probe)) /* its last words */
        ;
    if (!probe->released && pm_child_reap(&probe->child, how, sizeof(how)))
        ended(probe, how);
}

/* ---- its beginning ---------------------------------------------------------------------------------- */

static bool has_hardware(const struct pm_probe *probe)
{
    struct pm_gpu_hardware hardware;

    if (*probe->nvml || probe->good.n > 0) /* what was there once does not turn into nothing */
        return true;

    pm_gpu_hardware(probe->root, &hardware);
    return hardware.n[PM_VENDOR_NVIDIA] > 0;
}

static int spawn(struct pm_probe *probe, struct poolmgr_error *err)
{
    char *argv[8] = {(char *)"pool-probe"};
    int fds[2], r;
    size_t n = 1;

    if (*probe->nvml) {
        argv[n++] = (char *)"--nvml";
        argv[n++] = probe->nvml;
    }
    if (*probe->root) {
        argv[n++] = (char *)"--root";
        argv[n++] = probe->root;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno, "a socket for pool-probe");

    r = pm_child_spawn(probe->program, argv, fds[1], PM_PROBE_FD, &probe->child, err);
    (void)close(fds[1]);
    probe->fd = fds[0];
    if (r == 0)
        r = pm_watch_add(probe->loop, &probe->watch, probe->fd, EPOLLIN, on_readable);
    if (r == 0)
        r = pm_watch_add(probe->loop, &probe->child_watch, probe->child.pid_fd, EPOLLIN, on_child);
    return r;
}

static void begin(struct pm_probe *probe)
{
    struct poolmgr_error err = {0};
    char text[PM_GPU_TEXT_MAX + 1];

    if (!has_hardware(probe)) {
        set_timer(probe, LOOK_FOR_GPUS_MS);
        hand_out(probe, PM_NODE_NONE, "");
        return;
    }

    probe->begun_ms = probe->asked_ms = pm_loop_now_ms(probe->loop);
    probe->said = PM_NODE_OK;
    if (spawn(probe, &err) < 0) {
        pm_child_end(&probe->child, END_WAIT_MS);
        (void)snprintf(text, sizeof(text), "pool-probe cannot be run: %.80s", err.message);
        let_go(probe);
        lose(probe, text);
        if (!probe->released) {
            probe->phase = PHASE_NONE;
            set_timer(probe, next_backoff(probe));
        }
        return;
    }

    probe->phase = PHASE_ASKED; /* the first answer comes unasked */
    set_timer(probe, pm_probe_times.first_deadline_ms);
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void free_now(struct pm_task *task)
{
    struct pm_probe *probe = pm_container_of(task, struct pm_probe, free_task);

    pm_gpu_snapshot_fini(&probe->good);
    pm_gpu_snapshot_fini(&probe->last);
    pm_xid_book_fini(&probe->xids);
    pm_buf_fini(&probe->in);
    free(probe->program);
    free(probe->nvml);
    free(probe->root);
    free(probe);
}

int pm_probe_new(struct pm_loop *loop, const struct pm_probe_options *options,
                 const struct pm_probe_handler *handler, void *ctx, struct pm_probe **ret,
                 struct poolmgr_error *err)
{
    struct pm_probe *probe;

    if (options->nvml && *options->nvml && options->nvml[0] != '/')
        return pm_fail(err, POOLMGR_E_CONFIG_INVALID, "'%.80s' is no absolute path", options->nvml);

    probe = pm_xalloc(sizeof(*probe));
    probe->loop = loop;
    probe->program = pm_xstrdup(options->program);
    probe->nvml = pm_xstrdup(options->nvml ? options->nvml : "");
    probe->root = pm_xstrdup(options->root ? options->root : "");
    probe->handler = handler;
    probe->ctx = ctx;
    probe->fd = probe->child.pid_fd = -1;
    probe->timer.fn = on_timer;
    probe->free_task.fn = free_now;
    set_timer(probe, 0);
    *ret = probe;
    return POOLMGR_OK;
}

void pm_probe_pace(struct pm_probe *probe, bool often)
{
    if (probe->often == often)
        return;

    probe->often = often;
    if (probe->phase == PHASE_QUIET && probe->said == PM_NODE_OK)
        wait_quietly(probe);
}

void pm_probe_hurry(struct pm_probe *probe, bool often)
{
    probe->often = often;
    probe->again = true;
    if (probe->phase == PHASE_QUIET && probe->said == PM_NODE_OK)
        set_timer(probe, 0);
}

void pm_probe_rest(struct pm_probe *probe, uint64_t ms)
{
    probe->rest_ms = ms;
    pm_xid_book_fini(&probe->xids); /* what follows is changed hardware */
    if (probe->phase == PHASE_NONE) {
        set_timer(probe, ms);
        return;
    }

    probe->resting = true;
    probe->phase = PHASE_ENDING;
    pm_timer_clear(&probe->timer);
    pm_watch_set(&probe->watch, 0);
    pm_child_kill(&probe->child);
}

const struct pm_gpu_snapshot *pm_probe_last(const struct pm_probe *probe)
{
    return probe->has_last ? &probe->last : NULL;
}

uint64_t pm_probe_seen_ms(const struct pm_probe *probe)
{
    return probe->seen_ms;
}

void pm_probe_free(struct pm_probe *probe)
{
    if (!probe || probe->released)
        return;

    probe->released = true;
    pm_timer_clear(&probe->timer);
    let_go(probe);
    pm_child_end(&probe->child, END_WAIT_MS);
    pm_loop_later(probe->loop, &probe->free_task);
}
