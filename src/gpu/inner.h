/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of this room shorten. */
#ifndef PM_GPU_INNER_H
#define PM_GPU_INNER_H

#include <stdint.h>

extern struct pm_probe_times {
    uint64_t deadline_ms, first_deadline_ms; /* for an answer */
    uint64_t backoff_min_ms;
} pm_probe_times;

#endif
