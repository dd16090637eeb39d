/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "gpu/frame.h"
#include "gpu/gpu.h"
#include "util/str.h"

static const char *const node_state_names[] = {
    [PM_NODE_OK] = "ok",
    [PM_NODE_NONE] = "none",
    [PM_NODE_NO_LIBRARY] = "no_library",
    [PM_NODE_STUB_LIBRARY] = "stub_library",
    [PM_NODE_NO_DRIVER] = "no_driver",
    [PM_NODE_MISMATCH] = "mismatch",
    [PM_NODE_BLOCKED] = "blocked",
    [PM_NODE_UNRESPONSIVE] = "unresponsive",
};
static_assert(PM_ARRAY_LEN(node_state_names) == PM_NODE_STATE_COUNT, "a node's state has no name");

const char *pm_node_state_name(enum pm_node_state state)
{
    assert(state >= 0 && state < PM_NODE_STATE_COUNT);
    return node_state_names[state];
}

const char *const pm_gpu_event_names[] = {
    [PM_GPU_EVENT_XID] = "xid",           [PM_GPU_EVENT_ECC] = "ecc",
    [PM_GPU_EVENT_MIG] = "mig",           [PM_GPU_EVENT_UNAVAILABLE] = "unavailable",
    [PM_GPU_EVENT_RECOVERY] = "recovery",
};
static_assert(PM_ARRAY_LEN(pm_gpu_event_names) == PM_GPU_EVENT_KIND_COUNT, "an event has no name");

void pm_gpu_snapshot_fini(struct pm_gpu_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->n; i++)
        free(snapshot->gpus[i].processes);
    free(snapshot->gpus);
    memset(snapshot, 0, sizeof(*snapshot));
}

void pm_gpu_snapshot_copy(struct pm_gpu_snapshot *to, const struct pm_gpu_snapshot *from)
{
    *to = *from;
    to->gpus = pm_xalloc((from->n > 0 ? from->n : 1) * sizeof(to->gpus[0]));
    for (size_t i = 0; i < from->n; i++) {
        const struct pm_gpu_seen *gpu = &from->gpus[i];
        size_t n_bytes = gpu->n_processes * sizeof(gpu->processes[0]);

        to->gpus[i] = *gpu;
        to->gpus[i].processes = NULL;
        if (n_bytes > 0) {
            to->gpus[i].processes = pm_xalloc(n_bytes);
            memcpy(to->gpus[i].processes, gpu->processes, n_bytes);
        }
    }
}

bool pm_gpu_is_nameless(const char *id)
{
    return pm_str_starts(id, PM_GPU_NAMELESS);
}

static bool same_identity(const struct pm_gpu *a, const struct pm_gpu *b)
{
    return a->vendor == b->vendor && strcmp(a->id, b->id) == 0 && a->index == b->index &&
           a->slot == b->slot && a->gi == b->gi && a->ci == b->ci && strcmp(a->pci, b->pci) == 0 &&
           a->mig_mode == b->mig_mode && a->hidden == b->hidden && a->unhealthy == b->unhealthy &&
           a->prohibited == b->prohibited;
}

static bool same_processes(const struct pm_gpu_seen *a, const struct pm_gpu_seen *b)
{
    if (a->n_processes != b->n_processes || a->processes_complete != b->processes_complete)
        return false;
    for (size_t i = 0; i < a->n_processes; i++) {
        const struct pm_gpu_process *p = &a->processes[i], *q = &b->processes[i];

        if (p->pid != q->pid || p->bytes_known != q->bytes_known || p->bytes != q->bytes)
            return false;
    }
    return true;
}

static bool same_gpu(const struct pm_gpu_seen *a, const struct pm_gpu_seen *b)
{
    return same_identity(&a->is, &b->is) && strcmp(a->name, b->name) == 0 && a->state == b->state &&
           strcmp(a->text, b->text) == 0 && a->total_bytes == b->total_bytes &&
           a->driver_bytes == b->driver_bytes && a->free_known == b->free_known &&
           a->free_bytes == b->free_bytes && a->cc_major == b->cc_major &&
           a->cc_minor == b->cc_minor && a->compute_mode == b->compute_mode &&
           a->mig_pending == b->mig_pending && a->n_ecc_uncorrected == b->n_ecc_uncorrected &&
           a->remap_pending == b->remap_pending && a->remap_failed == b->remap_failed &&
           a->recovery == b->recovery && same_processes(a, b);
}

bool pm_gpu_snapshot_same(const struct pm_gpu_snapshot *a, const struct pm_gpu_snapshot *b)
{
    if (a->node != b->node || strcmp(a->text, b->text) != 0 || strcmp(a->driver, b->driver) != 0 ||
        a->cuda_version != b->cuda_version || a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (!same_gpu(&a->gpus[i], &b->gpus[i]))
            return false;
    }
    return true;
}

struct pm_gpu_seen *pm_gpu_find(const struct pm_gpu_snapshot *snapshot, const char *id)
{
    for (size_t i = 0; i < snapshot->n; i++) {
        if (strcmp(snapshot->gpus[i].is.id, id) == 0)
            return &snapshot->gpus[i];
    }
    return NULL;
}
