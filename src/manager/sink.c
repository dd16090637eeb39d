/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sink for everything that happens. An event is stamped, kept in a ring, written as a line and announced to
 * readers, in this order, and nothing of it may wait for anybody:
 *
 * - The descriptor is somebody else's (a terminal, a pipe, journald's socket, a file) and must not be switched to
 *   non-blocking, since the flag belongs to all who share it. So a pipe or terminal is opened anew for us alone; a
 *   socket is asked for each line; a file is written as it is.
 * - A line is written whole or not at all. What a full pipe took of a line is completed first, before the next;
 *   lines that find it still full are counted, and told as `missed` when it takes lines again.
 * - Readers of the ring only hear that there is something new. One that is too slow finds a gap, and its size.
 */
#include "manager/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

struct kept {
    uint64_t id; /* 0: nothing here yet */
    enum pm_event_kind kind;
    enum pm_level level;
    char pool_id[PM_ID_MAX + 1];
    struct pm_buf json;
};

struct pm_sink {
    struct pm_sink_options options;
    int fd; /* where we write: options.fd, or our own opening of it; -1 nowhere */
    bool own_fd, is_socket, must_poll;
    uint64_t n_lost;    /* lines since the last that was written */
    struct pm_buf line; /* what is still to be written of one line */
    struct kept *ring;
    uint64_t last_id;
    struct pm_list readers;
};

/* Our own, non-blocking way to the same pipe or terminal; where it cannot be opened we ask before we write. */
static void open_output(struct pm_sink *sink)
{
    struct stat st;
    char path[32];

    sink->fd = sink->options.fd;
    if (sink->fd < 0 || fstat(sink->fd, &st) < 0 || S_ISREG(st.st_mode))
        return;

    sink->is_socket = S_ISSOCK(st.st_mode);
    if (sink->is_socket)
        return;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", sink->options.fd);
    sink->fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    sink->own_fd = sink->fd >= 0;
    if (!sink->own_fd) {
        sink->fd = sink->options.fd;
        sink->must_poll = true;
    }
}

struct pm_sink *pm_sink_new(const struct pm_sink_options *options)
{
    struct pm_sink *sink = pm_xalloc(sizeof(*sink));

    sink->options = *options;
    sink->ring = pm_xalloc(PM_SINK_RING * sizeof(sink->ring[0]));
    pm_list_init(&sink->readers);
    open_output(sink);
    return sink;
}

void pm_sink_configure(struct pm_sink *sink, const struct pm_sink_options *options)
{
    int fd = sink->options.fd;

    sink->options = *options;
    sink->options.fd = fd;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

/* Bytes that a pipe takes without waiting once poll says that it is writable. */
#define SAFE_WRITE 4096

static ssize_t write_some(const struct pm_sink *sink, const char *data, size_t n)
{
    if (sink->is_socket)
        return send(sink->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sink->must_poll) {
        struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};

        if (poll(&ready, 1, 0) <= 0 || !(ready.revents & POLLOUT)) {
            errno = EAGAIN;
            return -1;
        }
        n = n > SAFE_WRITE ? SAFE_WRITE : n;
    }
    return write(sink->fd, data, n);
}

/* Writes what is left of the line; false: not now, or never. */
static bool write_line(struct pm_sink *sink)
{
    while (sink->line.n > 0) {
        ssize_t n = write_some(sink, sink->line.data, sink->line.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        pm_buf_consume(&sink->line, (size_t)n);
    }
    return true;
}

/* Takes over one line. What does not begin to be written is lost; what has begun is completed later. */
static void put_line(struct pm_sink *sink, const char *text, size_t n)
{
    pm_buf_clear(&sink->line);
    pm_buf_add(&sink->line, text, n);
    pm_buf_adds(&sink->line, "\n");
    if (write_line(sink) || sink->line.n != n + 1)
        return;

    pm_buf_clear(&sink->line);
    sink->n_lost++;
}

static void format_lost(const struct pm_sink *sink, uint64_t wall_ms, struct pm_buf *out)
{
    char time[PM_TIMESTAMP_SIZE];

    if (sink->options.pretty) {
        pm_buf_addf(out, "… %" PRIu64 " lines were lost here: nobody read them", sink->n_lost);
        return;
    }
    pm_buf_addf(out,
                "{\"time\":\"%s\",\"level\":\"warn\",\"event\":\"missed\",\"actor\":\"daemon\","
                "\"action\":\"log\",\"target\":\"log\",\"human\":\"%" PRIu64
                " lines of the log were lost because nobody read them\",\"count\":%" PRIu64 "}",
                pm_format_timestamp(time, wall_ms), sink->n_lost, sink->n_lost);
}

/* Says how many lines were lost, now that lines can be written again. False: they cannot. */
static bool tell_lost(struct pm_sink *sink, uint64_t wall_ms)
{
    pm_auto_buf struct pm_buf text = {0};
    uint64_t n_lost = sink->n_lost;

    if (n_lost == 0)
        return true;

    format_lost(sink, wall_ms, &text);
    put_line(sink, text.data, text.n);
    if (sink->n_lost > n_lost) {
        sink->n_lost = n_lost; /* the notice itself is no loss */
        return false;
    }
    sink->n_lost = 0;
    return sink->line.n == 0;
}

static void write_event(struct pm_sink *sink, const struct pm_event *event, uint64_t wall_ms,
                        const struct pm_buf *json)
{
    pm_auto_buf struct pm_buf pretty = {0};

    if (sink->fd < 0 || event->level > sink->options.level)
        return;

    if (!write_line(sink) || !tell_lost(sink, wall_ms)) {
        sink->n_lost++;
        return;
    }

    if (!sink->options.pretty) {
        put_line(sink, json->data, json->n);
        return;
    }
    pm_event_pretty(event, wall_ms, sink->options.colour, &pretty);
    put_line(sink, pretty.data, pretty.n);
}

void pm_sink_free(struct pm_sink *sink)
{
    struct pm_link *link, *after;

    if (!sink)
        return;

    if (sink->fd >= 0 && write_line(sink))
        (void)tell_lost(sink, pm_wall_ms());
    pm_list_each_safe (&sink->readers, link, after)
        pm_list_remove(link);
    for (size_t i = 0; i < PM_SINK_RING; i++)
        pm_buf_fini(&sink->ring[i].json);
    free(sink->ring);
    pm_buf_fini(&sink->line);
    if (sink->own_fd)
        (void)close(sink->fd);
    free(sink);
}

/* ---- keeping ---------------------------------------------------------------------------------------- */

static struct kept *slot_of(const struct pm_sink *sink, uint64_t id)
{
    return &sink->ring[id % PM_SINK_RING];
}

static const struct kept *keep(struct pm_sink *sink, const struct pm_event *event, uint64_t wall_ms)
{
    struct kept *kept = slot_of(sink, ++sink->last_id);

    kept->id = sink->last_id;
    kept->kind = event->kind;
    kept->level = event->level;
    (void)pm_str_copy(kept->pool_id, sizeof(kept->pool_id),
                      event->fields & PM_EF_POOL_ID ? event->pool_id : "");
    pm_buf_clear(&kept->json);
    pm_event_json(event, wall_ms, &kept->json);
    (void)pm_buf_text(&kept->json);
    return kept;
}

void pm_sink_tell(struct pm_sink *sink, const struct pm_event *event)
{
    uint64_t wall_ms = pm_wall_ms();
    const struct kept *kept = keep(sink, event, wall_ms);
    struct pm_link *link, *after;

    write_event(sink, event, wall_ms, &kept->json);
    pm_list_each_safe (&sink->readers, link, after) {
        struct pm_sink_reader *reader = pm_container_of(link, struct pm_sink_reader, link);

        reader->fn(reader);
    }
}

uint64_t pm_sink_last_id(const struct pm_sink *sink)
{
    return sink->last_id;
}

bool pm_sink_next(const struct pm_sink *sink, uint64_t id, struct pm_kept_event *ret,
                  uint64_t *ret_missed)
{
    uint64_t oldest = sink->last_id < PM_SINK_RING ? 1 : sink->last_id - PM_SINK_RING + 1;
    uint64_t from = id < oldest ? oldest : id;
    const struct kept *kept;

    if (from > sink->last_id)
        return false;

    kept = slot_of(sink, from);
    *ret = (struct pm_kept_event){
        .id = kept->id,
        .name = pm_event_row(kept->kind)->name,
        .level = kept->level,
        .pool_id = kept->pool_id,
        .json = kept->json.data,
    };
    if (ret_missed)
        *ret_missed = id == 0 ? 0 : from - id;
    return true;
}

void pm_sink_attach(struct pm_sink *sink, struct pm_sink_reader *reader)
{
    pm_list_append(&sink->readers, &reader->link);
}

void pm_sink_detach(struct pm_sink_reader *reader)
{
    pm_list_remove(&reader->link);
}
