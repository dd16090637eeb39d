/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of devices that nobody sees now. */
#include <string.h>

#include "gpu/inner.h"
#include "util/str.h"

static enum pm_device_state state_under(enum pm_node_state node)
{
    switch (node) {
    case PM_NODE_MISMATCH: return PM_DEVICE_MISMATCH;
    case PM_NODE_BLOCKED: return PM_DEVICE_BLOCKED;
    default: return PM_DEVICE_UNKNOWN;
    }
}

/* The devices as they were known, while nobody can look at them. What is worse stays. */
void pm_gpu_overlay(struct pm_gpu_snapshot *snapshot)
{
    enum pm_device_state state = state_under(snapshot->node);

    for (size_t i = 0; i < snapshot->n; i++) {
        struct pm_gpu_seen *gpu = &snapshot->gpus[i];

        if (gpu->state < state) {
            gpu->state = state;
            (void)pm_str_copy(gpu->text, sizeof(gpu->text), snapshot->text);
        }
        gpu->is.unhealthy = true;
        gpu->free_known = gpu->processes_complete = false;
        gpu->free_bytes = 0;
        gpu->n_processes = 0;
    }
}

/* A GPU that was there before is lost when it is not any more. An instance is gone: somebody took it away. */
void pm_gpu_keep_vanished(struct pm_gpu_snapshot *to, const struct pm_gpu_snapshot *before)
{
    for (size_t i = 0; i < before->n; i++) {
        const struct pm_gpu_seen *gpu = &before->gpus[i];
        struct pm_gpu_seen *kept;

        if (gpu->is.slot >= 0 || pm_gpu_is_nameless(gpu->is.id) || pm_gpu_find(to, gpu->is.id))
            continue;
        to->gpus = pm_xrealloc(to->gpus, (to->n + 1) * sizeof(to->gpus[0]));
        kept = &to->gpus[to->n++];
        *kept = *gpu;
        kept->processes = NULL;
        kept->n_processes = 0;
        kept->free_known = kept->processes_complete = false;
        kept->is.unhealthy = true;
        kept->is.index = PM_MASK_INDEX_MAX + 1;
        kept->state = PM_DEVICE_LOST;
        (void)pm_str_copy(kept->text, sizeof(kept->text), "is not there any more: reboot");
    }
}
