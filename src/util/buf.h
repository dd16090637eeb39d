/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer. `data` is not terminated unless pm_buf_text() was asked. */
#ifndef PM_UTIL_BUF_H
#define PM_UTIL_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct pm_buf {
    char *data;
    size_t n, capacity;
};

void pm_buf_fini(struct pm_buf *buf);
void pm_buf_clear(struct pm_buf *buf);                  /* keeps the memory */
void pm_buf_reserve(struct pm_buf *buf, size_t n_more); /* aborts when memory is exhausted */
void pm_buf_add(struct pm_buf *buf, const void *data, size_t n);
void pm_buf_adds(struct pm_buf *buf, const char *text);
void pm_buf_addf(struct pm_buf *buf, const char *format, ...)
    __attribute__((__format__(__printf__, 2, 3)));
void pm_buf_consume(struct pm_buf *buf, size_t n); /* drops the first n bytes */
const char *pm_buf_text(struct pm_buf *buf);       /* terminated; valid until the next change */

/* For __cleanup__: `__attribute__((__cleanup__(pm_buf_fini))) struct pm_buf b = {0};` */
#define pm_auto_buf __attribute__((__cleanup__(pm_buf_fini)))

#endif
