/* SPDX-License-Identifier: Apache-2.0 */
#include "util/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/str.h"

void pm_buf_fini(struct pm_buf *buf)
{
    free(buf->data);
    *buf = (struct pm_buf){0};
}

void pm_buf_clear(struct pm_buf *buf)
{
    buf->n = 0;
}

void pm_buf_reserve(struct pm_buf *buf, size_t n_more)
{
    size_t wanted = buf->n + n_more;

    if (wanted <= buf->capacity)
        return;

    if (wanted < buf->capacity * 2)
        wanted = buf->capacity * 2;
    if (wanted < 64)
        wanted = 64;
    buf->data = pm_xrealloc(buf->data, wanted);
    buf->capacity = wanted;
}

void pm_buf_add(struct pm_buf *buf, const void *data, size_t n)
{
    if (n == 0)
        return;

    pm_buf_reserve(buf, n);
    memcpy(buf->data + buf->n, data, n);
    buf->n += n;
}

void pm_buf_adds(struct pm_buf *buf, const char *text)
{
    pm_buf_add(buf, text, strlen(text));
}

void pm_buf_addf(struct pm_buf *buf, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n <= 0)
        return;

    pm_buf_reserve(buf, (size_t)n + 1);
    va_start(args, format);
    (void)vsnprintf(buf->data + buf->n, (size_t)n + 1, format, args);
    va_end(args);
    buf->n += (size_t)n;
}

void pm_buf_consume(struct pm_buf *buf, size_t n)
{
    if (n >= buf->n) {
        buf->n = 0;
        return;
    }
    memmove(buf->data, buf->data + n, buf->n - n);
    buf->n -= n;
}

const char *pm_buf_text(struct pm_buf *buf)
{
    pm_buf_reserve(buf, 1);
    buf->data[buf->n] = '\0';
    return buf->data;
}
