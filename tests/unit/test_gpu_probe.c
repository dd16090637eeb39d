/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool-probe as a child of a program with a loop: what becomes of it when the driver hangs, crashes, talks nonsense or is
 * not there, and that the program is never held up by it (DEV-1).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "gpu/child.h"
#include "gpu/inner.h"
#include "gpu/probe.h"
#include "gpu_fake.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/time.h"

#define FIRST_NAMESPACE PM_SOURCE_ROOT "/tests/trees/first-namespace"
#define NO_GPU          PM_SOURCE_ROOT "/tests/trees/hybrid"
#define DEADLINE_MS     30000

static struct pm_loop *loop;
static struct pm_probe *probe;
static char *library, *program;
static struct pm_probe_options options;
static unsigned n_snapshots, n_looked, n_lost, n_events;
static char lost[256];
static struct pm_gpu_event event;
static bool free_in_callback, kill_is_deaf;
static uint64_t longest_turn_ms;

void __real_pm_child_kill(const struct pm_child *child);
void __wrap_pm_child_kill(const struct pm_child *child);

/* A process that waits for its hardware does not hear SIGKILL; here it is not even sent. */
void __wrap_pm_child_kill(const struct pm_child *child)
{
    if (!kill_is_deaf)
        __real_pm_child_kill(child);
}

static void on_snapshot(void *ctx, const struct pm_gpu_snapshot *snapshot)
{
    (void)ctx;
    n_snapshots++;
    assert_true(snapshot == pm_probe_last(probe));
    if (free_in_callback)
        pm_probe_free(probe);
}

static void on_looked(void *ctx)
{
    (void)ctx;
    n_looked++;
}

static void on_event(void *ctx, const struct pm_gpu_event *is)
{
    (void)ctx;
    n_events++;
    event = *is;
}

static void on_lost(void *ctx, const char *text)
{
    (void)ctx;
    n_lost++;
    (void)pm_str_copy(lost, sizeof(lost), text);
}

static const struct pm_probe_handler handler = {on_snapshot, on_looked, on_event, on_lost};

/* ---- turning ---------------------------------------------------------------------------------------- */

static void turn(int timeout_ms)
{
    uint64_t begun_ms;

    struct pollfd fd = {.fd = pm_loop_fd(loop), .events = POLLIN};

    (void)poll(&fd, 1, timeout_ms);
    begun_ms = pm_monotonic_ms();
    assert_int_equal(pm_loop_turn(loop, 0), 0);
    if (pm_monotonic_ms() - begun_ms > longest_turn_ms)
        longest_turn_ms = pm_monotonic_ms() - begun_ms;
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_ms_ = pm_monotonic_ms() + DEADLINE_MS;                                      \
        while (!(condition)) {                                                                     \
            if (pm_monotonic_ms() > until_ms_)                                                     \
                fail_msg("it did not come to: %s (node %s, lost '%s')", #condition,                \
                         pm_probe_last(probe) ? pm_node_state_name(pm_probe_last(probe)->node)     \
                                              : "-",                                               \
                         lost);                                                                    \
            turn(20);                                                                              \
        }                                                                                          \
    } while (0)

static bool node_is(enum pm_node_state node)
{
    return pm_probe_last(probe) && pm_probe_last(probe)->node == node;
}

static const struct pm_gpu_seen *gpu(size_t i)
{
    assert_true(pm_probe_last(probe) && i < pm_probe_last(probe)->n);
    return &pm_probe_last(probe)->gpus[i];
}

static void look(void)
{
    unsigned before = n_looked;

    pm_probe_hurry(probe, false);
    UNTIL(n_looked > before);
}

/* ---- processes of ours ------------------------------------------------------------------------------ */

/* The pids of children of this program that are named pool-probe, zombies too; how many. */
static int children(int *ret, int n_max)
{
    DIR *entries = opendir("/proc");
    struct dirent *entry;
    int n = 0;

    while ((entry = readdir(entries))) {
        pm_auto_free char *path = pm_xasprintf("/proc/%s/stat", entry->d_name), *text = NULL;
        int pid, parent;
        char name[64];

        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
            pm_read_file(path, 65536, &text, NULL, NULL) < 0 ||
            sscanf(text, "%d (%63[^)]) %*c %d", &pid, name, &parent) != 3)
            continue;
        if (parent == getpid() && n < n_max)
            ret[n++] = pid;
    }
    (void)closedir(entries);
    return n;
}

static int n_children(void)
{
    int pids[16];

    return children(pids, 16);
}

static int child(void)
{
    int pids[16];

    assert_int_equal(children(pids, 16), 1);
    return pids[0];
}

static bool is_running(int pid)
{
    pm_auto_free char *path = pm_xasprintf("/proc/%d/stat", pid), *text = NULL;
    const char *end;

    if (pm_read_file(path, 65536, &text, NULL, NULL) < 0)
        return false;
    end = strrchr(text, ')');
    return end && end[2] != 'Z';
}

static int count_fds(const char *pid)
{
    pm_auto_free char *path = pm_xasprintf("/proc/%s/fd", pid);
    DIR *entries = opendir(path);
    int n = 0;

    while (readdir(entries))
        n++;
    (void)closedir(entries);
    return n - 2;
}

/* ---- life ------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    library = fake_library();
    program = built("src/bin/pool-probe");
    fake_begin(2);
    options = (struct pm_probe_options){program, library, FIRST_NAMESPACE};
    pm_probe_times = (struct pm_probe_times){.deadline_ms = 10000,
                                             .first_deadline_ms = 60000,
                                             .backoff_min_ms = 50,
                                             .backoff_max_ms = 400};
    n_snapshots = n_looked = n_lost = n_events = 0;
    lost[0] = '\0';
    free_in_callback = kill_is_deaf = false;
    longest_turn_ms = 0;
    return pm_loop_new(&loop, NULL);
}

static int take_down(void **state)
{
    (void)state;
    if (!free_in_callback)
        pm_probe_free(probe);
    probe = NULL;
    pm_loop_free(loop);
    fake_end();
    free(library);
    free(program);
    return n_children() == 0 ? 0 : 1;
}

static void begin(void)
{
    assert_int_equal(pm_probe_new(loop, &options, &handler, NULL, &probe, NULL), 0);
}

static void begin_well(void)
{
    begin();
    UNTIL(node_is(PM_NODE_OK));
    assert_int_equal(n_snapshots, 1);
}

/* ---- as it should be -------------------------------------------------------------------------------- */

static void test_what_changes_is_told_once_and_nothing_else_is(void **state)
{
    (void)state;
    begin_well();
    assert_int_equal(pm_probe_last(probe)->n, 2);
    look();
    look();
    assert_int_equal(n_snapshots, 1);
    assert_true(fake_take(fake, 1, -1, 999999, FAKE_GIB));
    look();
    assert_int_equal(n_snapshots, 2);
    assert_int_equal(gpu(1)->processes[0].pid, 999999);
    look();
    assert_int_equal(n_snapshots, 2);
    assert_int_equal(n_lost, 0);
}

static void test_a_gauge_is_fresh_and_nobody_is_woken_for_it(void **state)
{
    (void)state;
    begin_well();
    fake->gpus[0].temperature = 77;
    look();
    assert_int_equal(n_snapshots, 1);
    assert_int_equal(gpu(0)->temperature_c, 77);
}

static void test_in_a_hurry_it_looks_five_times_a_second(void **state)
{
    uint64_t until_ms;

    (void)state;
    begin_well();
    pm_probe_hurry(probe, true);
    until_ms = pm_monotonic_ms() + 2000;
    while (pm_monotonic_ms() < until_ms)
        turn(20);
    assert_in_range(n_looked, 3, 14);
    pm_probe_pace(probe, false);
    until_ms = pm_monotonic_ms() + 1000;
    n_looked = 0;
    while (pm_monotonic_ms() < until_ms)
        turn(20);
    assert_in_range(n_looked, 0, 1);
}

static void test_who_asks_while_it_looks_is_answered_by_a_look_behind_it(void **state)
{
    (void)state;
    begin_well();
    fake_lock(fake);
    fake_rule(fake, "nvmlDeviceGetCount_v2", true)->delay_ms = 150;
    fake_unlock(fake);
    pm_probe_hurry(probe, false);
    turn(50); /* asked */
    turn(50);
    pm_probe_hurry(probe, false);
    n_looked = 0;
    for (uint64_t until_ms = pm_monotonic_ms() + 3000;
         pm_monotonic_ms() < until_ms && n_looked < 2;)
        turn(20);
    assert_int_equal(n_looked, 2); /* in less than it waits by itself */
}

static void test_a_look_is_as_old_as_its_beginning(void **state)
{
    (void)state;
    begin_well();
    fake_lock(fake);
    fake_rule(fake, "nvmlDeviceGetCount_v2", true)->delay_ms = 150;
    fake_unlock(fake);
    look();
    assert_in_range(pm_monotonic_ms() - pm_probe_seen_ms(probe), 150, 60000);
}

static void test_an_idle_program_is_woken_less_than_once_a_second(void **state)
{
    uint64_t until_ms, turns;

    (void)state;
    begin_well();
    turn(200); /* what is left of the first look */
    turns = pm_loop_turns(loop);
    until_ms = pm_monotonic_ms() + 6000;
    while (pm_monotonic_ms() < until_ms) {
        struct pollfd fd = {.fd = pm_loop_fd(loop), .events = POLLIN};

        if (poll(&fd, 1, (int)(until_ms - pm_monotonic_ms())) > 0)
            assert_int_equal(pm_loop_turn(loop, 0), 0);
    }
    assert_in_range(pm_loop_turns(loop) - turns, 1, 4);
}

static void test_an_event_is_told_with_the_drivers_answer(void **state)
{
    struct fake_event xid = {.gpu = 1, .type = 0x8, .data = 79, .gi = UINT32_MAX, .ci = UINT32_MAX};

    (void)state;
    begin_well();
    fake->gpus[1].recovery = 2;
    fake_lock(fake);
    fake_tell(fake, &xid);
    fake_unlock(fake);
    UNTIL(n_events == 1);
    assert_int_equal(event.kind, PM_GPU_EVENT_XID);
    assert_string_equal(event.id, gpu(1)->is.id);
    assert_int_equal(event.xid, 79);
    assert_int_equal(event.gi, PM_GPU_UNKNOWN);
    assert_int_equal(event.recovery, 2);
    UNTIL(gpu(1)->state == PM_DEVICE_LOST); /* it looks at once */

    xid = (struct fake_event){.gpu = 0, .type = 0x100, .data = 0, .gi = 7, .ci = 0};
    fake_lock(fake);
    fake_tell(fake, &xid);
    fake_unlock(fake);
    UNTIL(n_events == 2);
    assert_int_equal(event.kind, PM_GPU_EVENT_MIG);
    assert_int_equal(event.gi, 7);
    assert_int_equal(event.xid, 0);
}

static void tell_xid(int index, uint64_t xid)
{
    struct fake_event is = {
        .gpu = index, .type = 0x8, .data = xid, .gi = UINT32_MAX, .ci = UINT32_MAX};
    unsigned before = n_events;

    fake_lock(fake);
    fake_tell(fake, &is);
    fake_unlock(fake);
    UNTIL(n_events > before);
}

static void test_what_an_xid_says_holds_whatever_the_driver_shows(void **state)
{
    (void)state;
    fake->gpus[0].recovery = fake->gpus[1].recovery = -1; /* it cannot ask */
    fake_slot_add(1, 0, 5 * FAKE_GIB);
    begin_well();
    tell_xid(0, 31);
    tell_xid(1, 48);
    assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
    assert_int_equal(gpu(1)->state, PM_DEVICE_RESET_REQUIRED);
    assert_string_equal(gpu(1)->text,
                        "XID 48, double bit memory error: must be reset: nvidia-smi --gpu-reset");
    assert_int_equal(gpu(2)->state, PM_DEVICE_RESET_REQUIRED); /* its instance */
    assert_true(gpu(1)->is.unhealthy && gpu(2)->is.unhealthy);
    assert_int_equal(n_snapshots, 2);
    assert_int_equal(kill(child(), SIGKILL), 0); /* another child, and still */
    UNTIL(n_lost == 1 && node_is(PM_NODE_OK));
    assert_int_equal(gpu(1)->state, PM_DEVICE_RESET_REQUIRED);
    tell_xid(1, 79);
    assert_int_equal(gpu(1)->state, PM_DEVICE_LOST);
    tell_xid(0, 95);
    look();
    assert_true(fake_take(fake, 0, -1, 999999, FAKE_GIB));
    look();
    assert_int_equal(gpu(0)->state, PM_DEVICE_RESET_REQUIRED);
    assert_int_equal(gpu(1)->state,
                     PM_DEVICE_LOST); /* what one of them shows is no news of the other */
    pm_probe_rest(probe, 0);          /* an operator did what was to be done */
    UNTIL(gpu(1)->state == PM_DEVICE_OK);
    assert_int_equal(gpu(2)->state, PM_DEVICE_OK);
}

/* ---- what hangs, crashes and lies ------------------------------------------------------------------- */

static void test_a_driver_that_hangs_holds_up_nobody_and_is_begun_anew(void **state)
{
    (void)state;
    begin_well();
    pm_probe_times.deadline_ms = 300;
    fake_hang("nvmlDeviceGetMemoryInfo_v2", true);
    pm_probe_hurry(probe, false);
    UNTIL(n_lost == 1);
    assert_true(node_is(PM_NODE_UNRESPONSIVE));
    assert_non_null(strstr(lost, "hangs"));
    assert_int_equal(gpu(0)->state, PM_DEVICE_UNKNOWN);
    assert_int_equal(gpu(1)->state, PM_DEVICE_UNKNOWN);
    assert_string_equal(gpu(0)->text, lost);
    assert_false(gpu(0)->free_known);
    assert_int_equal(gpu(0)->total_bytes, 24 * FAKE_GIB);
    fake_hang("nvmlDeviceGetMemoryInfo_v2", false);
    UNTIL(node_is(PM_NODE_OK));
    assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
    assert_true(longest_turn_ms < 2000);
    assert_int_equal(n_children(), 1);
}

static void test_a_first_call_that_hangs_has_a_deadline_of_its_own(void **state)
{
    (void)state;
    pm_probe_times.first_deadline_ms = 400;
    fake_hang("nvmlInit_v2", true);
    begin();
    UNTIL(n_lost == 1);
    assert_true(node_is(PM_NODE_UNRESPONSIVE));
    assert_int_equal(pm_probe_last(probe)->n, 0);
    UNTIL(n_lost == 3); /* again and again */
    assert_int_equal(n_snapshots, 1);
    fake_hang("nvmlInit_v2", false);
    UNTIL(node_is(PM_NODE_OK));
}

static void test_a_child_that_cannot_be_killed_is_waited_for_without_waiting(void **state)
{
    (void)state;
    begin_well();
    pm_probe_times.deadline_ms = 200;
    kill_is_deaf = true;
    fake_hang("nvmlDeviceGetUUID", true);
    pm_probe_hurry(probe, true);
    UNTIL(n_lost == 1);
    for (uint64_t until_ms = pm_monotonic_ms() + 1000; pm_monotonic_ms() < until_ms;)
        turn(20);
    assert_int_equal(n_children(), 1); /* no second one beside it */
    assert_int_equal(gpu(0)->state, PM_DEVICE_UNKNOWN);
    assert_true(longest_turn_ms < 2000);
    fake_hang("nvmlDeviceGetUUID",
              false); /* the hardware answers: it finds its reader gone, and ends */
    kill_is_deaf = false;
    assert_int_equal(kill(child(), SIGKILL), 0);
    UNTIL(node_is(PM_NODE_OK));
}

static void test_a_crash_is_told_and_begun_anew(void **state)
{
    (void)state;
    begin_well();
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(kill(child(), SIGKILL), 0);
        UNTIL(n_lost == i);
        assert_non_null(strstr(lost, "signal 9"));
        assert_true(node_is(PM_NODE_UNRESPONSIVE));
        UNTIL(node_is(PM_NODE_OK));
    }
}

/* A program in place of pool-probe. */
static void run_script(const char *text)
{
    static char path[64];

    (void)snprintf(path, sizeof(path), "/tmp/poolmgr-liar-%d", getpid());
    (void)unlink(path);
    assert_int_equal(pm_write_file(path, text, strlen(text), 0755, false, NULL), 0);
    options.program = path;
}

static void assert_lost(const char *script, const char *says)
{
    n_lost = 0;
    lost[0] = '\0';
    run_script(script);
    begin();
    UNTIL(n_lost >= 1);
    if (!strstr(lost, says))
        fail_msg("'%s' does not say '%s'", lost, says);
    assert_true(node_is(PM_NODE_UNRESPONSIVE));
    pm_probe_free(probe);
    probe = NULL;
    turn(0);
    assert_int_equal(n_children(), 0);
    (void)unlink(options.program);
}

static void test_what_is_no_frame_ends_the_child(void **state)
{
    (void)state;
    assert_lost("#!/bin/sh\nprintf 'hello, world' >&3\nexec sleep 60\n", "nonsense");
    assert_lost("#!/bin/sh\nprintf '\\002\\000\\000\\000{}' >&3\nexec sleep 60\n", "nonsense");
    assert_lost("#!/bin/sh\nprintf '\\024\\000\\000\\000{\"kind\":' >&3\nexit 3\n", "ended with");
    assert_lost("#!/bin/sh\nexit 0\n", "ended with status 0");
    assert_lost("#!/bin/sh\nkill -9 $$\n", "signal 9");
    assert_lost("#!/bin/sh\nexec 3>&-\nexec sleep 60\n", "pool-probe was killed by signal 9");
}

static void test_a_program_that_is_not_there_is_said(void **state)
{
    (void)state;
    options.program = "/nonexistent/pool-probe";
    begin();
    UNTIL(n_lost == 2);
    assert_non_null(strstr(lost, "/nonexistent/pool-probe: No such file"));
    assert_true(node_is(PM_NODE_UNRESPONSIVE));
    assert_int_equal(n_snapshots, 1);
}

/* ---- states of the machine -------------------------------------------------------------------------- */

static void test_a_machine_without_gpus_has_no_child(void **state)
{
    (void)state;
    options.nvml = NULL;
    options.root = NO_GPU;
    begin();
    UNTIL(node_is(PM_NODE_NONE));
    assert_int_equal(pm_probe_last(probe)->n, 0);
    for (int i = 0; i < 10; i++)
        turn(20);
    assert_int_equal(n_children(), 0);
    assert_int_equal(n_snapshots, 1);
    assert_int_equal(n_lost, 0);
}

static void test_a_library_that_comes_later_is_found(void **state)
{
    pm_auto_free char *later = pm_xasprintf("/tmp/poolmgr-nvml-%d.so.1", getpid());

    (void)state;
    (void)unlink(later);
    options.nvml = later;
    begin();
    UNTIL(node_is(PM_NODE_NO_LIBRARY));
    UNTIL(n_children() == 0); /* none lives while there is nothing to ask */
    assert_int_equal(symlink(library, later), 0);
    UNTIL(node_is(PM_NODE_OK));
    assert_int_equal(n_snapshots, 2);
    assert_int_equal(n_lost, 0);
    (void)unlink(later);
}

static const struct {
    int code;
    enum pm_node_state node;
    enum pm_device_state state;
} ends[] = {
    {18, PM_NODE_MISMATCH, PM_DEVICE_MISMATCH},
    {17, PM_NODE_BLOCKED, PM_DEVICE_BLOCKED},
    {9, PM_NODE_NO_DRIVER, PM_DEVICE_UNKNOWN},
};

static void test_devices_are_named_in_whatever_state_the_driver_is(void **state)
{
    (void)state;
    begin_well();
    for (size_t i = 0; i < PM_ARRAY_LEN(ends); i++) {
        fake_call("nvmlInit_v2", ends[i].code);
        fake_call("nvmlDeviceGetCount_v2", ends[i].code);
        pm_probe_hurry(probe, false);
        UNTIL(node_is(ends[i].node));
        assert_int_equal(pm_probe_last(probe)->n, 2);
        assert_int_equal(gpu(0)->state, ends[i].state);
        assert_true(gpu(0)->is.unhealthy && gpu(0)->text[0] != '\0');
        fake_call("nvmlInit_v2", 0);
        fake_call("nvmlDeviceGetCount_v2", 0);
        UNTIL(node_is(PM_NODE_OK));
        assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
    }
    assert_int_equal(n_lost, 0);
}

static void test_what_is_worse_stays_while_nobody_can_look(void **state)
{
    (void)state;
    begin_well();
    fake->gpus[1].recovery = 1;
    look();
    assert_int_equal(gpu(1)->state, PM_DEVICE_RESET_REQUIRED);
    fake_call("nvmlInit_v2", 18);
    assert_int_equal(kill(child(), SIGKILL), 0);
    UNTIL(node_is(PM_NODE_MISMATCH));
    assert_int_equal(gpu(0)->state, PM_DEVICE_MISMATCH);
    assert_int_equal(gpu(1)->state, PM_DEVICE_RESET_REQUIRED);
}

static void test_a_gpu_that_the_next_child_does_not_find_is_lost(void **state)
{
    char id[96];

    (void)state;
    fake_slot_add(1, 0, 5 * FAKE_GIB);
    begin_well();
    assert_int_equal(pm_probe_last(probe)->n, 3);
    (void)pm_str_copy(id, sizeof(id), gpu(0)->is.id);
    fake->gpus[0].gone = true;
    fake->gpus[1].slots[0].used = false;
    assert_int_equal(kill(child(), SIGKILL), 0);
    UNTIL(n_lost == 1 && node_is(PM_NODE_OK));
    assert_int_equal(pm_probe_last(probe)->n,
                     2); /* the instance was taken away, which is no loss */
    assert_string_equal(gpu(1)->is.id, id);
    assert_int_equal(gpu(1)->state, PM_DEVICE_LOST);
    assert_true(gpu(1)->is.index > PM_MASK_INDEX_MAX);
    fake->gpus[0].gone = false;
    look();
    assert_int_equal(pm_probe_last(probe)->n, 2);
    assert_int_equal(pm_gpu_find(pm_probe_last(probe), id)->state, PM_DEVICE_OK);
}

/* ---- commands and ends ------------------------------------------------------------------------------ */

static void test_it_lets_go_of_the_driver_and_comes_back(void **state)
{
    uint64_t begun_ms;
    int before;

    (void)state;
    begin_well();
    before = child();
    begun_ms = pm_monotonic_ms();
    pm_probe_rest(probe, 500);
    UNTIL(n_children() == 0);
    UNTIL(n_children() == 1);
    assert_true(pm_monotonic_ms() - begun_ms >= 450);
    assert_int_not_equal(child(), before);
    look();
    assert_int_equal(n_lost, 0);
    assert_int_equal(n_snapshots, 1); /* nothing changed */
}

static void test_it_ends_when_its_reader_is_gone(void **state)
{
    char *argv[] = {(char *)"pool-probe", (char *)"--nvml", library, NULL};
    struct pm_child is;
    struct pollfd ended;
    struct pm_gpu_frame frame;
    struct pm_buf in = {0};
    char how[64], byte;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(pm_child_spawn(program, argv, fds[1], 3, &is, NULL), 0);
    (void)close(fds[1]);
    do { /* until it has said all it has to say, and waits */
        assert_int_equal(read(fds[0], &byte, 1), 1);
        pm_buf_add(&in, &byte, 1);
    } while (pm_gpu_frame_take(&in, &frame, NULL) == 0);
    pm_gpu_frame_fini(&frame);
    pm_buf_fini(&in);
    (void)poll(NULL, 0, 50);
    (void)close(fds[0]);
    ended = (struct pollfd){.fd = is.pid_fd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, DEADLINE_MS), 1);
    assert_true(pm_child_reap(&is, how, sizeof(how)));
    assert_string_equal(how, "ended with status 0");
}

static void test_it_may_be_freed_from_what_it_calls(void **state)
{
    (void)state;
    free_in_callback = true;
    begin();
    while (n_snapshots == 0)
        turn(20);
    turn(0);
    assert_int_equal(n_children(), 0);
}

static void test_it_may_be_freed_while_the_driver_hangs(void **state)
{
    (void)state;
    begin_well();
    fake_hang("nvmlDeviceGetCount_v2", true);
    pm_probe_hurry(probe, false);
    turn(100);
    pm_probe_free(probe);
    probe = NULL;
    assert_int_equal(n_children(), 0);
}

/* A host of the library, in a process of its own; it never returns. */
static void live_elsewhere(int tell_fd)
{
    begin();
    while (!node_is(PM_NODE_OK))
        turn(20);
    fake_hang("nvmlDeviceGetCount_v2", true);
    pm_probe_hurry(probe, false);
    turn(100);
    turn(100);
    dprintf(tell_fd, "%d\n", child());
    for (;;)
        (void)pause();
}

static void test_it_ends_with_its_parent_also_while_the_driver_hangs(void **state)
{
    char text[32] = "";
    int fds[2], pid, host;

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    host = fork();
    if (host == 0)
        live_elsewhere(fds[1]);
    (void)close(fds[1]);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    (void)close(fds[0]);
    pid = atoi(text);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(kill(host, SIGKILL), 0);
    assert_int_equal(waitpid(host, NULL, 0), host);
    for (uint64_t until_ms = pm_monotonic_ms() + DEADLINE_MS; is_running(pid);) {
        assert_true(pm_monotonic_ms() < until_ms);
        (void)poll(NULL, 0, 5);
    }
}

/* ---- whatever happens ------------------------------------------------------------------------------- */

static unsigned draw(unsigned n)
{
    static uint32_t state = 20260101;

    state = state * 1664525 + 1013904223;
    return (state >> 8) % n;
}

static const char *const calls[] = {
    "nvmlInit_v2",       "nvmlDeviceGetCount_v2",      "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues",
    "nvmlEventSetCreate"};
static const int codes[] = {0, 4, 9, 10, 15, 16, 17, 18, 28, 999};

static void do_something(void)
{
    const char *call = calls[draw(PM_ARRAY_LEN(calls))];
    struct fake_gpu *one = &fake->gpus[draw(2)];
    struct fake_event xid = {
        .gpu = (int)draw(2), .type = 0x8, .data = draw(160), .gi = UINT32_MAX, .ci = UINT32_MAX};
    int pids[16];

    switch (draw(8)) {
    case 0: fake_call(call, codes[draw(PM_ARRAY_LEN(codes))]); break;
    case 1: fake_hang(call, draw(2)); break;
    case 2: one->code = codes[draw(PM_ARRAY_LEN(codes))]; break;
    case 3: one->gone = draw(2); break;
    case 4: one->recovery = (int)draw(6) - 1; break;
    case 5:
        if (children(pids, 16) > 0)
            (void)kill(pids[0], SIGKILL);
        break;
    case 6: pm_probe_rest(probe, draw(30)); break;
    default:
        fake_lock(fake);
        fake_tell(fake, &xid);
        (void)fake_take(fake, (int)draw(2), -1, (int)(900000 + draw(5)), draw(1 << 20));
        fake_unlock(fake);
    }
}

static void heal(void)
{
    fake_lock(fake);
    memset(fake->rules, 0, sizeof(fake->rules));
    for (int i = 0; i < 2; i++) {
        fake->gpus[i].code = 0;
        fake->gpus[i].gone = false;
        fake->gpus[i].recovery = 0;
    }
    fake_unlock(fake);
}

static bool is_true(void)
{
    bool same = node_is(PM_NODE_OK) && pm_probe_last(probe)->n == 2;

    for (size_t i = 0; same && i < 2; i++) {
        fake_lock(fake);
        same = gpu(i)->state == PM_DEVICE_OK &&
               gpu(i)->free_bytes == fake_free_bytes(fake, (int)i, -1);
        fake_unlock(fake);
    }
    return same;
}

static void test_whatever_happens_it_comes_back_to_the_truth(void **state)
{
    struct pm_probe_times patient = pm_probe_times;

    (void)state;
    begin_well();
    for (int round = 0; round < 20; round++) {
        pm_probe_times = (struct pm_probe_times){.deadline_ms = 100,
                                                 .first_deadline_ms = 150,
                                                 .backoff_min_ms = 1,
                                                 .backoff_max_ms = 20};
        for (unsigned n = 1 + draw(12); n > 0; n--) {
            do_something();
            pm_probe_hurry(probe, draw(2));
            for (unsigned turns = draw(8); turns > 0; turns--)
                turn(10);
        }
        heal();
        pm_probe_rest(probe, 0);
        pm_probe_times = patient; /* this machine may be slow */
        pm_probe_hurry(probe, true);
        UNTIL(is_true());
        assert_int_equal(n_children(), 1);
        assert_int_equal(pm_probe_last(probe)->gpus[0].is.index, 0);
    }
}

static void test_no_descriptor_is_left_to_anybody(void **state)
{
    int before = count_fds("self"), loose[2];
    pm_auto_free char *pid = NULL;

    (void)state;
    assert_int_equal(pipe(loose), 0); /* some library's that is not closed by exec */
    begin_well();
    pid = pm_xasprintf("%d", child());
    assert_in_range(count_fds(pid), 4, 6); /* three, the socket, and a pipe for events */
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(kill(child(), SIGKILL), 0);
        UNTIL(n_lost == i && node_is(PM_NODE_OK));
    }
    pm_probe_free(probe);
    probe = NULL;
    turn(0);
    assert_int_equal(count_fds("self"), before + 2);
    (void)close(loose[0]);
    (void)close(loose[1]);
}

/* ---- inside of other programs ----------------------------------------------------------------------- */

static void reap_all(int signo)
{
    int before = errno;

    (void)signo;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = before;
}

static void live_with(void (*on_sigchld)(int))
{
    struct sigaction action = {.sa_handler = on_sigchld, .sa_flags = SA_RESTART}, before;

    assert_int_equal(sigaction(SIGCHLD, &action, &before), 0);
    begin_well();
    assert_int_equal(kill(child(), SIGKILL), 0);
    UNTIL(n_lost == 1);
    UNTIL(node_is(PM_NODE_OK));
    pm_probe_free(probe);
    probe = NULL;
    turn(0);
    assert_int_equal(n_children(), 0);
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
}

static void test_a_program_may_reap_whatever_ends(void **state)
{
    (void)state;
    live_with(reap_all);
}

static void test_a_program_may_ignore_its_children(void **state)
{
    (void)state;
    live_with(SIG_IGN);
}

/* ---- once ------------------------------------------------------------------------------------------- */

static void test_one_look_needs_no_loop(void **state)
{
    struct pm_gpu_snapshot snapshot;

    (void)state;
    pm_probe_once(&options, DEADLINE_MS, &snapshot);
    assert_int_equal(snapshot.node, PM_NODE_OK);
    assert_int_equal(snapshot.n, 2);
    pm_gpu_snapshot_fini(&snapshot);

    options.nvml = NULL;
    options.root = NO_GPU;
    pm_probe_once(&options, DEADLINE_MS, &snapshot);
    assert_int_equal(snapshot.node, PM_NODE_NONE);
    pm_gpu_snapshot_fini(&snapshot);
}

static void test_one_look_has_an_end(void **state)
{
    struct pm_gpu_snapshot snapshot;
    uint64_t begun_ms = pm_monotonic_ms();

    (void)state;
    fake_hang("nvmlDeviceGetCount_v2", true);
    pm_probe_once(&options, 300, &snapshot);
    assert_int_equal(snapshot.node, PM_NODE_UNRESPONSIVE);
    assert_non_null(strstr(snapshot.text, "hangs"));
    assert_true(pm_monotonic_ms() - begun_ms < 5000);
    pm_gpu_snapshot_fini(&snapshot);

    options.program = "/nonexistent/pool-probe";
    pm_probe_once(&options, 300, &snapshot);
    assert_int_equal(snapshot.node, PM_NODE_UNRESPONSIVE);
    assert_non_null(strstr(snapshot.text, "/nonexistent/pool-probe"));
    pm_gpu_snapshot_fini(&snapshot);

    run_script("#!/bin/sh\necho hello\n");
    pm_probe_once(&options, DEADLINE_MS, &snapshot);
    assert_int_equal(snapshot.node, PM_NODE_UNRESPONSIVE);
    pm_gpu_snapshot_fini(&snapshot);
    (void)unlink(options.program);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_changes_is_told_once_and_nothing_else_is),
        TEST(test_a_gauge_is_fresh_and_nobody_is_woken_for_it),
        TEST(test_in_a_hurry_it_looks_five_times_a_second),
        TEST(test_who_asks_while_it_looks_is_answered_by_a_look_behind_it),
        TEST(test_a_look_is_as_old_as_its_beginning),
        TEST(test_an_idle_program_is_woken_less_than_once_a_second),
        TEST(test_an_event_is_told_with_the_drivers_answer),
        TEST(test_what_an_xid_says_holds_whatever_the_driver_shows),
        TEST(test_a_driver_that_hangs_holds_up_nobody_and_is_begun_anew),
        TEST(test_a_first_call_that_hangs_has_a_deadline_of_its_own),
        TEST(test_a_child_that_cannot_be_killed_is_waited_for_without_waiting),
        TEST(test_a_crash_is_told_and_begun_anew),
        TEST(test_what_is_no_frame_ends_the_child),
        TEST(test_a_program_that_is_not_there_is_said),
        TEST(test_a_machine_without_gpus_has_no_child),
        TEST(test_a_library_that_comes_later_is_found),
        TEST(test_devices_are_named_in_whatever_state_the_driver_is),
        TEST(test_what_is_worse_stays_while_nobody_can_look),
        TEST(test_a_gpu_that_the_next_child_does_not_find_is_lost),
        TEST(test_it_lets_go_of_the_driver_and_comes_back),
        TEST(test_it_ends_when_its_reader_is_gone),
        TEST(test_it_may_be_freed_from_what_it_calls),
        TEST(test_it_may_be_freed_while_the_driver_hangs),
        TEST(test_it_ends_with_its_parent_also_while_the_driver_hangs),
        TEST(test_whatever_happens_it_comes_back_to_the_truth),
        TEST(test_no_descriptor_is_left_to_anybody),
        TEST(test_a_program_may_reap_whatever_ends),
        TEST(test_a_program_may_ignore_its_children),
        TEST(test_one_look_needs_no_loop),
        TEST(test_one_look_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
