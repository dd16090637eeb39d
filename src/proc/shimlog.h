/* SPDX-License-Identifier: Apache-2.0 */
/* The log of one engine: a file that rotates, its last lines, and the line that says "ready". */
#ifndef PM_PROC_SHIMLOG_H
#define PM_PROC_SHIMLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_LOG_TAIL_BYTES 8192
#define PM_LOG_TAIL_LINES 20

struct pm_shim_log {
    const char *path;
    uint64_t max_bytes, n_files;
    int fd; /* -1: it cannot be opened; the engine goes on */
    uint64_t n_bytes,
        n_lost; /* lost: what the disk did not take, told in the log when it takes something again */
    char tail[2 * PM_LOG_TAIL_BYTES];
    size_t n_tail;
    const char *ready_line; /* NULL: none */
    char seam[256];         /* the last bytes, in case the ready line is cut in two */
    size_t n_seam;
    bool ready;
};

void pm_shim_log_open(struct pm_shim_log *log);
/* Never blocks for longer than a write to a file; what a full disk does not take is lost, and the engine goes on. */
void pm_shim_log_add(struct pm_shim_log *log, const char *data, size_t n);
void pm_shim_log_close(struct pm_shim_log *log);

/* The last lines, at most PM_LOG_TAIL_LINES; the caller's. NULs are shown as '?'. */
char *pm_shim_log_tail(const struct pm_shim_log *log);

#endif
