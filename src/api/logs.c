/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine wrote: the last lines of its log, and then new ones for as long as the client stays. The file is the
 * shim's, which turns it over by renaming; so a follower keeps the file it reads open, reads it to its end, and goes
 * over to the new one when the name points to another file. It looks a few times a second, while somebody follows.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/call.h"
#include "util/cleanup.h"
#include "util/jsontext.h"
#include "util/str.h"

#define TAIL_DEFAULT     200
#define TAIL_MAX         100000
#define TAIL_BYTES_MAX   (1024 * 1024) /* that many are looked through for a tail */
#define LOOK_EVERY_MS    200
#define COMMENT_EVERY_MS 15000
#define READ_MAX         (64 * 1024)

#define TEXT_TYPE "text/plain; charset=utf-8"
#define SSE_TYPE  "text/event-stream"

struct follower {
    struct pm_call *call;
    char path[PATH_MAX];
    int fd; /* -1: there is no file yet */
    ino_t inode;
    off_t at;
    bool sse;
    struct pm_buf line; /* SSE: a line whose end was not read yet */
    struct pm_timer timer;
    uint64_t sent_ms;
};

/* ---- tails ------------------------------------------------------------------------------------------ */

/* Where the last n lines of data begin. */
static size_t last_lines(const char *data, size_t size, uint64_t n)
{
    size_t at = size;

    while (at > 0 && n > 0) {
        const char *end = at > 1 ? memrchr(data, '\n', at - 1) : NULL;

        at = end ? (size_t)(end - data) + 1 : 0;
        n--;
    }
    return at;
}

/* Appends up to the last n lines of a file; returns the file's size then, 0 when there is none. */
static off_t add_tail(int fd, uint64_t n, struct pm_buf *out)
{
    pm_auto_buf struct pm_buf data = {0};
    struct stat st;
    ssize_t got;
    size_t at;

    if (fstat(fd, &st) < 0)
        return 0;

    data.n = st.st_size > TAIL_BYTES_MAX ? TAIL_BYTES_MAX : (size_t)st.st_size;
    at = data.n;
    data.n = 0;
    pm_buf_reserve(&data, at + 1);
    got = pread(fd, data.data, at, st.st_size - (off_t)at);
    if (got <= 0)
        return st.st_size;

    at = last_lines(data.data, (size_t)got, n);
    pm_buf_add(out, data.data + at, (size_t)got - at);
    return st.st_size;
}

static uint64_t count_lines(const struct pm_buf *text)
{
    uint64_t n = 0;

    for (size_t i = 0; i < text->n; i++)
        n += text->data[i] == '\n';
    return n;
}

static int open_log(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* The last n lines of the log; where the file is young, the one before it makes up what is missing. */
static void read_tail(struct follower *follower, uint64_t n, struct pm_buf *out)
{
    pm_auto_buf struct pm_buf newest = {0};
    char before[PATH_MAX + 2];
    struct stat st;
    uint64_t n_lines;

    follower->fd = open_log(follower->path);
    if (follower->fd >= 0 && fstat(follower->fd, &st) == 0) {
        follower->inode = st.st_ino;
        follower->at = add_tail(follower->fd, n, &newest);
    }

    n_lines = count_lines(&newest);
    if (n_lines < n) {
        pm_auto_close int fd = -1;

        (void)snprintf(before, sizeof(before), "%s.1", follower->path);
        fd = open_log(before);
        if (fd >= 0)
            (void)add_tail(fd, n - n_lines, out);
    }
    pm_buf_add(out, newest.data, newest.n);
}

/* ---- sending ---------------------------------------------------------------------------------------- */

/* Each line an SSE event; the part behind the last line end waits for the rest of its line. */
static void add_sse(struct pm_buf *line, const char *data, size_t n, struct pm_buf *out)
{
    while (n > 0) {
        const char *end = memchr(data, '\n', n);
        size_t length = end ? (size_t)(end - data) : n;

        pm_buf_add(line, data, length);
        if (!end && line->n < READ_MAX)
            return;

        for (size_t i = 0; i < line->n; i++) {
            if (line->data[i] == '\r')
                line->data[i] = ' ';
        }
        pm_buf_adds(out, "data: ");
        pm_utf8_repair(out, line->data, line->n);
        pm_buf_adds(out, "\n\n");
        pm_buf_clear(line);
        data += length + (end ? 1 : 0);
        n -= length + (end ? 1 : 0);
    }
}

/* The client may be gone behind this: nothing of the follower may be touched then. */
static void send_text(struct follower *follower, const char *data, size_t n)
{
    pm_auto_buf struct pm_buf out = {0};

    if (!follower->sse) {
        if (n > 0)
            pm_exchange_send(follower->call->exchange, data, n);
        return;
    }

    add_sse(&follower->line, data, n, &out);
    if (out.n > 0)
        pm_exchange_send(follower->call->exchange, out.data, out.n);
}

/* Goes over to the file that has the name now. */
static void change_file(struct follower *follower)
{
    struct stat st;
    int fd = open_log(follower->path);

    if (fd < 0)
        return;
    if (fstat(fd, &st) < 0 || (follower->fd >= 0 && st.st_ino == follower->inode)) {
        (void)close(fd);
        return;
    }

    if (follower->fd >= 0)
        (void)close(follower->fd);
    follower->fd = fd;
    follower->inode = st.st_ino;
    follower->at = 0;
}

/* What is new in the file that is open; a file that shrank is read from its start. */
static ssize_t read_new(struct follower *follower, char *data, size_t size)
{
    struct stat st;
    ssize_t n;

    if (follower->fd < 0 || fstat(follower->fd, &st) < 0)
        return 0;
    if (st.st_size < follower->at)
        follower->at = 0;

    n = pread(follower->fd, data, size, follower->at);
    if (n > 0)
        follower->at += n;
    return n;
}

static void look(struct pm_timer *timer)
{
    struct follower *follower = pm_container_of(timer, struct follower, timer);
    struct pm_loop *loop = pm_manager_loop(follower->call->api->manager);
    uint64_t now_ms = pm_loop_now_ms(loop);
    char data[READ_MAX];
    ssize_t n;

    pm_timer_set(loop, timer, now_ms + LOOK_EVERY_MS);
    if (pm_exchange_queued(follower->call->exchange) >= PM_EXCHANGE_QUEUE_HIGH)
        return;

    n = read_new(follower, data, sizeof(data));
    if (n <= 0) {
        change_file(follower);
        n = read_new(follower, data, sizeof(data));
    }
    if (n > 0) {
        if ((size_t)n == sizeof(data))
            pm_timer_set(loop, timer, now_ms);
        follower->sent_ms = now_ms;
        send_text(follower, data, (size_t)n);
    } else if (follower->sse && now_ms - follower->sent_ms >= COMMENT_EVERY_MS) {
        follower->sent_ms = now_ms;
        pm_exchange_send(follower->call->exchange, ":\n\n", 3);
    }
}

static void release(struct pm_call *call)
{
    struct follower *follower = call->state;

    pm_timer_clear(&follower->timer);
    if (follower->fd >= 0)
        (void)close(follower->fd);
    pm_buf_fini(&follower->line);
    free(follower);
}

/* ---- the route -------------------------------------------------------------------------------------- */

struct wanted {
    uint64_t tail, replica;
    bool follow;
};

static int read_query(struct pm_call *call, struct wanted *wanted, struct poolmgr_error *err)
{
    int r = pm_query_uint(&call->query, "tail", TAIL_MAX, &wanted->tail, err);

    if (r == 0)
        r = pm_query_uint(&call->query, "replica", UINT32_MAX, &wanted->replica, err);
    if (r == 0)
        r = pm_query_flag(&call->query, "follow", &wanted->follow, err);
    return r;
}

static bool accepts(const struct pm_call *call, const char *type)
{
    const struct pm_http_header *accept =
        pm_http_find(pm_exchange_head(call->exchange), "accept", NULL);

    return accept && memmem(accept->value.p, accept->value.n, type, strlen(type));
}

/* What goes on is SSE, what ends is text, unless the client says which it wants. */
static bool wants_sse(const struct pm_call *call, bool follow)
{
    return accepts(call, "text/event-stream") || (follow && !accepts(call, "text/plain"));
}

static void answer_whole(struct pm_call *call, struct follower *follower, struct pm_buf *tail)
{
    pm_auto_buf struct pm_buf out = {0};

    if (!follower->sse) {
        pm_call_text(call, 200, TEXT_TYPE, tail->data, tail->n);
        return;
    }

    if (tail->n > 0 && tail->data[tail->n - 1] != '\n')
        pm_buf_adds(tail, "\n");
    add_sse(&follower->line, tail->data, tail->n, &out);
    pm_call_text(call, 200, SSE_TYPE, out.data, out.n);
}

static void begin(struct pm_call *call, struct follower *follower, const struct wanted *wanted)
{
    struct pm_loop *loop = pm_manager_loop(call->api->manager);
    pm_auto_buf struct pm_buf tail = {0};

    read_tail(follower, wanted->tail, &tail);
    follower->timer.fn = look;
    follower->sent_ms = pm_loop_now_ms(loop);
    call->state = follower;
    call->gone = release;

    if (!wanted->follow) {
        answer_whole(call, follower, &tail);
        return;
    }
    if (!pm_call_begin_stream(call, follower->sse ? SSE_TYPE : TEXT_TYPE))
        return;
    pm_timer_set(loop, &follower->timer, pm_loop_now_ms(loop) + LOOK_EVERY_MS);
    send_text(follower, tail.data, tail.n);
}

void pm_logs_show(struct pm_call *call)
{
    struct wanted wanted = {.tail = TAIL_DEFAULT};
    struct poolmgr_error err = {0};
    struct pm_pool_view view;
    struct follower *follower;

    if (!pm_call_pool(call, &view))
        return;
    if (read_query(call, &wanted, &err) < 0) {
        pm_call_error(call, &err);
        return;
    }
    if (wanted.replica >= view.n_replicas) {
        pm_call_fail(call, POOLMGR_E_NOT_FOUND, "replica", "pool '%s' has no replica %llu",
                     call->args[0], (unsigned long long)wanted.replica);
        return;
    }

    follower = pm_xalloc(sizeof(*follower));
    follower->call = call;
    follower->fd = -1;
    follower->sse = wants_sse(call, wanted.follow);
    pm_manager_log_path(call->api->manager, call->args[0], (unsigned)wanted.replica, follower->path,
                        sizeof(follower->path));
    begin(call, follower, &wanted);
}
