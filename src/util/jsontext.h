/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign text made safe for JSON: engines, files and clients may say anything. */
#ifndef PM_UTIL_JSONTEXT_H
#define PM_UTIL_JSONTEXT_H

#include <stddef.h>

#include "util/buf.h"

/* A flag of json_dumps(): 0.2, not 0.20000000000000001. */
#define PM_JSON_REALS JSON_REAL_PRECISION(15)

/* Appends the bytes as a JSON string with its quotes: controls escaped, bytes that are no UTF-8 replaced by U+FFFD. */
void pm_json_quote(struct pm_buf *out, const char *text, size_t n);

/* Appends the bytes as well-formed UTF-8: what is none is replaced by U+FFFD. Controls stay. */
void pm_utf8_repair(struct pm_buf *out, const char *text, size_t n);

#endif
