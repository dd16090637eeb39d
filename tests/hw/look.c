/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher of one device: orders come by stdin, one a line, and each ends with {"fact":"done"}.
 *
 *   memory                    both memory calls
 *   rows                      the process rows of every call, as bytes
 *   events MS                 the events that come within so long
 *   clear                     throws away the events that wait
 *   fields                    the field values that matter here
 *   end SIGNAL PID FREE BYTES MS    sends the signal (0: none), and tells when the process was dead, when memory
 *                             began to come back (1 MiB over what was free), and when BYTES of it were free, all since
 *                             the signal, looking every millisecond for at most MS
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hw.h"

#define N_ROWS 64

static hw_device device;
static void *set;

static void tell_memory(void)
{
    struct hw_memory_v2 v2 = {.version = HW_MEMORY_V2};
    struct hw_memory v1 = {0};
    int r1 = nvml.memory(device, &v1), r2 = nvml.memory_v2 ? nvml.memory_v2(device, &v2) : 13;

    hw_begin("memory");
    hw_number("v1_code", r1);
    hw_size("v1_total", v1.total);
    hw_size("v1_free", v1.free);
    hw_size("v1_used", v1.used);
    hw_number("v2_code", r2);
    hw_size("v2_total", v2.total);
    hw_size("v2_reserved", v2.reserved);
    hw_size("v2_free", v2.free);
    hw_size("v2_used", v2.used);
    hw_end();
}

/* Poisoned, so that one sees how far the library wrote, and with what stride. */
static void tell_rows(const char *call, int (*ask)(hw_device, unsigned *, void *))
{
    unsigned char rows[N_ROWS * 32];
    unsigned needed = 0, n = N_ROWS;
    size_t written = sizeof(rows);
    int asked, r;

    if (!ask)
        return;
    memset(rows, 0xa5, sizeof(rows));
    asked = ask(device, &needed, NULL);
    r = ask(device, &n, rows);
    while (written > 0 && rows[written - 1] == 0xa5)
        written--;
    hw_begin("rows");
    hw_text("call", call);
    hw_number("empty_code", asked);
    hw_number("needed", needed);
    hw_number("code", r);
    hw_number("n", n);
    hw_size("written", written);
    hw_bytes("bytes", rows, written < 512 ? written : 512);
    hw_end();
}

static int ask_list(hw_device d, unsigned *n, void *rows)
{
    struct hw_list list = {.version = HW_LIST, .count = *n, .rows = rows};
    int r = nvml.row_list(d, &list);

    *n = list.count;
    return r;
}

static void tell_event(const struct hw_event *event, uint64_t since_ns)
{
    hw_begin("event");
    hw_size("type", event->type);
    hw_size("data", event->data);
    hw_size("gi", event->gi);
    hw_size("ci", event->ci);
    hw_number("same_device", event->device == device);
    hw_real("after_ms", (double)(hw_now_ns() - since_ns) / 1e6);
    hw_end();
}

static void take_events(unsigned ms, bool tell)
{
    uint64_t begun = hw_now_ns(), until = begun + ms * UINT64_C(1000000);

    while (set) {
        struct hw_event event = {0};
        uint64_t now = hw_now_ns();
        unsigned left = now < until ? (unsigned)((until - now) / 1000000) : 0;
        int r = nvml.event_wait(set, &event, left);

        if (r == 0 && tell)
            tell_event(&event, begun);
        if (r != 0 && r != 10) {
            hw_begin("event_wait");
            hw_number("code", r);
            hw_end();
        }
        if (r != 0 || (tell && hw_now_ns() >= until))
            break;
    }
}

static void tell_fields(void)
{
    static const unsigned ids[] = {142, 143, 144, 145, 230};

    for (size_t i = 0; nvml.fields && i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct hw_field field = {.id = ids[i]};
        int r = nvml.fields(device, 1, &field);

        hw_begin("field");
        hw_number("id", ids[i]);
        hw_number("code", r);
        hw_number("field_code", field.ret);
        hw_number("type", field.type);
        hw_size("value", field.type == 1 ? field.value.u32 : field.value.u64);
        hw_end();
    }
}

static double ms_since(uint64_t begun)
{
    return (double)(hw_now_ns() - begun) / 1e6;
}

static void watch_end(int sig, int pid, uint64_t free_before, uint64_t want, unsigned limit_ms)
{
    struct pollfd dead = {.events = POLLIN, .fd = (int)syscall(SYS_pidfd_open, pid, 0)};
    double dead_ms = -1, first_ms = -1, back_ms = -1, longest_us = 0;
    struct hw_memory m = {0};
    size_t n = 0;
    uint64_t begun = hw_now_ns();

    if (sig)
        kill(pid, sig);
    do {
        uint64_t before;

        if (dead_ms < 0 && (dead.fd < 0 || poll(&dead, 1, 0) > 0))
            dead_ms = ms_since(begun);
        before = hw_now_ns();
        if (nvml.memory(device, &m) == 0) {
            if (first_ms < 0 && m.free > free_before + (1 << 20))
                first_ms = ms_since(begun);
            if (back_ms < 0 && m.free >= want)
                back_ms = ms_since(begun);
        }
        if ((double)(hw_now_ns() - before) / 1e3 > longest_us)
            longest_us = (double)(hw_now_ns() - before) / 1e3;
        n++;
        hw_sleep_ms(1);
    } while ((back_ms < 0 || dead_ms < 0) && ms_since(begun) < limit_ms);
    hw_begin("end");
    hw_number("signal", sig);
    hw_number("pidfd", dead.fd >= 0);
    hw_real("dead_ms", dead_ms);
    hw_real("first_ms", first_ms);
    hw_real("back_ms", back_ms);
    hw_size("looks", n);
    hw_real("longest_look_us", longest_us);
    hw_size("free", m.free);
    hw_end();
    if (dead.fd >= 0)
        close(dead.fd);
}

static void obey(char *line)
{
    unsigned long long numbers[5] = {0};
    char *at = strchr(line, ' ');

    if (at)
        *at++ = '\0';
    for (size_t i = 0; at && *at && i < 5; i++)
        numbers[i] = strtoull(at, &at, 10);
    if (strcmp(line, "memory") == 0) {
        tell_memory();
    } else if (strcmp(line, "rows") == 0) {
        tell_rows("v1", nvml.rows_v1);
        tell_rows("v2", nvml.rows_v2);
        tell_rows("v3", nvml.rows_v3);
        tell_rows("list", nvml.row_list ? ask_list : NULL);
    } else if (strcmp(line, "events") == 0) {
        take_events((unsigned)numbers[0], true);
    } else if (strcmp(line, "clear") == 0) {
        take_events(0, false);
    } else if (strcmp(line, "fields") == 0) {
        tell_fields();
    } else if (strcmp(line, "end") == 0) {
        watch_end((int)numbers[0], (int)numbers[1], numbers[2], numbers[3], (unsigned)numbers[4]);
    } else {
        hw_begin("unknown_order");
        hw_text("order", line);
        hw_end();
    }
    hw_begin("done");
    hw_end();
}

/* look INDEX */
int hw_look(int argc, char **argv)
{
    unsigned long long mask = 0;
    char line[256];
    int r = -1;

    if (!hw_nvml_start())
        return 3;
    device = hw_nvml_device(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
    if (!device)
        return 3;
    if (nvml.event_types && nvml.set_create && nvml.event_register && nvml.event_wait)
        r = nvml.event_types(device, &mask);
    if (r == 0)
        r = nvml.set_create(&set);
    if (r == 0)
        r = nvml.event_register(device, mask & 0xc10a, set);
    if (r)
        set = NULL;
    hw_begin("looking");
    hw_number("events_code", r);
    hw_size("events_mask", mask);
    hw_end();
    hw_begin("done");
    hw_end();
    while (hw_line(line, sizeof(line)))
        obey(line);
    return 0;
}
