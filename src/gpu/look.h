/* SPDX-License-Identifier: Apache-2.0 */
/* One look after the other at NVIDIA's devices, inside of pool-probe. Every function may hang in the driver. */
#ifndef PM_GPU_LOOK_H
#define PM_GPU_LOOK_H

#include "gpu/nvml.h"

#define PM_LOOK_TWIN (-1) /* a code that no library has: another GPU says the same UUID */

/* A GPU that was seen once. Its identity stays, whatever becomes of it. */
struct pm_look_gpu {
    pm_nvml_device handle;
    unsigned nvml_index;   /* at which the library gave it last */
    int code;              /* of this look: PM_NVML_OK, or why it has no handle */
    bool there;            /* in this look */
    bool watched;          /* its events are waited for */
    struct pm_gpu_seen is; /* what does not change: identity, name, size, capability */
};

struct pm_look {
    struct pm_nvml nvml;
    bool all_namespaces; /* processes of every pid namespace are shown to us */
    char driver[PM_NVML_VERSION_SIZE];
    int cuda_version;
    struct pm_look_gpu *gpus; /* in PCI order */
    size_t n;
};

/* PM_NODE_OK, or the state of the machine and `text` says why. pm_look_close() either way. */
enum pm_node_state pm_look_open(struct pm_look *look, const char *nvml, const char *root,
                                char *text);
void pm_look_close(struct pm_look *look);

/* What there is now; the snapshot is the caller's. With a node that is not PM_NODE_OK the library is of no use any
 * more. */
void pm_look_take(struct pm_look *look, struct pm_gpu_snapshot *ret);

/* ---- lookdevice.c */

/* What does not change: name, address, capability. */
void pm_look_identity(const struct pm_look *look, pm_nvml_device handle, struct pm_gpu_seen *to);
/* Nothing is known of its gauges. */
void pm_look_blank(struct pm_gpu_seen *gpu);

/* All that can change of the GPU at that place; n_left: rows of processes that there is room for. */
void pm_look_at(const struct pm_look *look, size_t at, struct pm_gpu_seen *gpu, size_t *n_left);
/* Its instances, at most n_max; how many. */
size_t pm_look_instances(const struct pm_look *look, const struct pm_look_gpu *known,
                         const struct pm_gpu_seen *parent, struct pm_gpu_seen *to, size_t n_max,
                         size_t *n_left);

/* What the driver asks for on a device now; PM_GPU_UNKNOWN: it does not tell. */
int pm_look_recovery(const struct pm_look *look, pm_nvml_device device);

/* ---- visible.c */

/* Marks what our own CUDA_VISIBLE_DEVICES hides (NULL: nothing), read as CUDA reads it: the first item that is none ends
 * the list, a device named twice empties it, an item may be the beginning of a UUID. Numbers are taken as PCI order. */
void pm_visible_apply(const char *text, struct pm_gpu_snapshot *snapshot);

#endif
