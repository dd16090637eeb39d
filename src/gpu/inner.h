/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the parent's end of pool-probe. */
#ifndef PM_GPU_INNER_H
#define PM_GPU_INNER_H

#include <stdint.h>

#include "gpu/gpu.h"

/* Tests shorten them. */
extern struct pm_probe_times {
    uint64_t deadline_ms, first_deadline_ms; /* for an answer */
    uint64_t backoff_min_ms, backoff_max_ms; /* between two children that cannot go on */
} pm_probe_times;

/* ---- overlay.c */

/* Devices as they were known, in a machine whose node is not PM_NODE_OK: nothing of them is known but that. */
void pm_gpu_overlay(struct pm_gpu_snapshot *snapshot);
/* Adds the GPUs that were there before and are not any more. */
void pm_gpu_keep_vanished(struct pm_gpu_snapshot *to, const struct pm_gpu_snapshot *before);

#endif
