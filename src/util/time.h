/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_UTIL_TIME_H
#define PM_UTIL_TIME_H

#include <stddef.h>
#include <stdint.h>

uint64_t pm_monotonic_ms(void);
uint64_t pm_monotonic_ns(void);
uint64_t pm_wall_ms(void); /* since 1970, UTC */

#define PM_TIMESTAMP_SIZE 25 /* "2026-01-31T12:00:04.117Z" and its NUL */
const char *pm_format_timestamp(char *to, uint64_t wall_ms);

#endif
