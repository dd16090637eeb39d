/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a model file, front to back through one small window: what is skipped is not read. Nothing is taken beyond the
 * end of the file or beyond PM_GGUF_HEADER_MAX. Failures are those of pm_gguf_read().
 */
#ifndef PM_PLAN_WINDOW_H
#define PM_PLAN_WINDOW_H

#include "plan/gguf.h"

#define PM_WINDOW_BYTES 65536

struct pm_window {
    const struct pm_gguf_source *source;
    struct poolmgr_error *err;
    uint64_t offset; /* of the next byte to be taken */
    uint64_t bytes_offset;
    size_t n_bytes;
    unsigned char bytes[PM_WINDOW_BYTES];
};

/* Says that the file ends too early. */
int pm_window_cut_short(const struct pm_window *window);
/* The next n bytes; `to` NULL: skipped. */
int pm_window_take(struct pm_window *window, void *to, uint64_t n);
/* Little-endian, of at most 8 bytes. */
int pm_window_number(struct pm_window *window, size_t n_bytes, uint64_t *ret);
/* A length of 8 bytes, and so many of text. Keeps what fits into `to` (terminated), skips the rest; more than `max` are
 * refused as `what`. Bytes that are no ASCII text are shown as '?'. */
int pm_window_text(struct pm_window *window, uint64_t max, const char *what, char *to, size_t size);

#endif
