/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine says goes to a file as it comes: an engine whose pipe nobody reads stops, so reading never waits
 * for anything. Files rotate by size: x.log, x.log.1 … The last bytes are kept in memory, since a full disk is just
 * when one wants to know what the engine said last.
 */
#include "proc/shimlog.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"

void pm_shim_log_open(struct pm_shim_log *log)
{
    struct stat status;

    log->fd =
        open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0600);
    log->n_bytes = log->fd >= 0 && fstat(log->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

void pm_shim_log_close(struct pm_shim_log *log)
{
    if (log->fd >= 0)
        (void)close(pm_take_fd(&log->fd));
}

static void rotate(struct pm_shim_log *log)
{
    uint64_t i;

    pm_shim_log_close(log);
    for (i = log->n_files > 1 ? log->n_files - 1 : 0; i > 0; i--) {
        pm_auto_free char *from =
            i > 1 ? pm_xasprintf("%s.%u", log->path, (unsigned)i - 1) : pm_xstrdup(log->path);
        pm_auto_free char *to = pm_xasprintf("%s.%u", log->path, (unsigned)i);

        (void)rename(from, to);
    }

    if (log->n_files <= 1)
        (void)truncate(log->path, 0);
    pm_shim_log_open(log);

    /* A folder that lets nothing be renamed must not make the file grow for ever. */
    if (log->fd >= 0 && log->n_bytes >= log->max_bytes && ftruncate(log->fd, 0) == 0)
        log->n_bytes = 0;
}

/* False: it takes nothing now either. */
static bool tell_lost(struct pm_shim_log *log)
{
    char line[96];
    int n = snprintf(line, sizeof line, "\n[poolmgr: %llu bytes are missing here]\n",
                     (unsigned long long)log->n_lost);

    if (log->n_lost == 0)
        return true;
    if (write(log->fd, line, (size_t)n) != n)
        return false;

    log->n_bytes += (uint64_t)n;
    log->n_lost = 0;
    return true;
}

static void put(struct pm_shim_log *log, const char *data, size_t n)
{
    ssize_t written = 0;

    while (n > 0 && log->fd >= 0 && tell_lost(log)) {
        written = write(log->fd, data, n);
        if (written <= 0)
            break;
        data += written;
        n -= (size_t)written;
        log->n_bytes += (uint64_t)written;
    }

    log->n_lost += n;
}

static void keep_tail(struct pm_shim_log *log, const char *data, size_t n)
{
    if (n > PM_LOG_TAIL_BYTES) {
        data += n - PM_LOG_TAIL_BYTES;
        n = PM_LOG_TAIL_BYTES;
    }

    if (log->n_tail + n > sizeof log->tail) {
        size_t n_kept = PM_LOG_TAIL_BYTES < log->n_tail ? PM_LOG_TAIL_BYTES : log->n_tail;

        memmove(log->tail, log->tail + log->n_tail - n_kept, n_kept);
        log->n_tail = n_kept;
    }

    memcpy(log->tail + log->n_tail, data, n);
    log->n_tail += n;
}

/* Looks for the ready line in what came, and across the seam of two reads. */
static void look_for_ready(struct pm_shim_log *log, const char *data, size_t n)
{
    char both[2 * sizeof log->seam];
    size_t n_word = log->ready_line ? strlen(log->ready_line) : 0;
    size_t n_head = n < sizeof log->seam ? n : sizeof log->seam;
    size_t n_kept;

    if (log->ready || n_word == 0 || n_word > sizeof log->seam)
        return;

    memcpy(both, log->seam, log->n_seam);
    memcpy(both + log->n_seam, data, n_head);
    log->ready = memmem(both, log->n_seam + n_head, log->ready_line, n_word) != NULL ||
                 memmem(data, n, log->ready_line, n_word) != NULL;

    n_kept = n_word - 1 < n ? n_word - 1 : n;
    if (n >= n_word - 1) {
        memcpy(log->seam, data + n - n_kept, n_kept);
        log->n_seam = n_kept;
    } else {
        size_t n_all = log->n_seam + n_head, n_last = n_word - 1 < n_all ? n_word - 1 : n_all;

        memcpy(log->seam, both + n_all - n_last, n_last);
        log->n_seam = n_last;
    }
}

/* While a replica is reloaded its log has two writers. What the other one wrote counts, and where it began the next
 * file we go on there: the one we have open may be the next to be thrown away. */
static void follow(struct pm_shim_log *log)
{
    struct stat ours, named;

    if (log->fd < 0 || fstat(log->fd, &ours) < 0)
        return;
    if (stat(log->path, &named) == 0 && named.st_ino == ours.st_ino &&
        named.st_dev == ours.st_dev) {
        log->n_bytes = (uint64_t)ours.st_size;
        return;
    }
    pm_shim_log_close(log);
    pm_shim_log_open(log);
}

void pm_shim_log_add(struct pm_shim_log *log, const char *data, size_t n)
{
    look_for_ready(log, data, n);
    keep_tail(log, data, n);
    follow(log);
    if (log->max_bytes > 0 && log->n_bytes > 0 && log->n_bytes + n > log->max_bytes)
        rotate(log);
    if (log->fd < 0)
        pm_shim_log_open(log);

    put(log, data, n);
}

char *pm_shim_log_tail(const struct pm_shim_log *log)
{
    size_t n_lines = 0, from = log->n_tail, i;
    char *text;

    while (from > 0 && log->n_tail - from < PM_LOG_TAIL_BYTES) {
        if (log->tail[from - 1] == '\n' && from < log->n_tail && ++n_lines == PM_LOG_TAIL_LINES)
            break;
        from--;
    }

    text = pm_xalloc(log->n_tail - from + 1);
    for (i = from; i < log->n_tail; i++)
        text[i - from] = log->tail[i] ? log->tail[i] : '?';
    return text;
}
