/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each look begins anew with the list of devices and asks everything that can change. What was seen once is never
 * forgotten: a GPU that falls off the bus is still named, by what was known of it. Devices stand in PCI order, which
 * is not the order in which the library numbers them.
 */
#include "gpu/look.h"

#include <stdio.h>
#include <string.h>

#include "core/event.h"
#include "util/str.h"

#define ALL_NAMESPACES "pid:[4026531836]" /* the kernel's first pid namespace */

/* ---- life ------------------------------------------------------------------------------------------- */

static bool shows_all_namespaces(const char *root)
{
    pm_auto_free char *path = pm_xasprintf("%s/proc/self/ns/pid", root ? root : "");
    char target[64];
    ssize_t n = readlink(path, target, sizeof(target) - 1);

    target[n > 0 ? n : 0] = '\0';
    return strcmp(target, ALL_NAMESPACES) == 0;
}

enum pm_node_state pm_look_open(struct pm_look *look, const char *nvml, const char *root,
                                char *text)
{
    enum pm_node_state node;

    memset(look, 0, sizeof(*look));
    node = pm_nvml_open(&look->nvml, nvml, text);
    if (node != PM_NODE_OK)
        return node;

    look->all_namespaces = shows_all_namespaces(root);
    (void)PM_NVML_CALL(&look->nvml, driver_version, look->driver, sizeof(look->driver));
    look->driver[sizeof(look->driver) - 1] = '\0';
    pm_text_clean(look->driver);
    (void)PM_NVML_CALL(&look->nvml, cuda_version, &look->cuda_version);
    return PM_NODE_OK;
}

void pm_look_close(struct pm_look *look)
{
    pm_nvml_close(&look->nvml);
    free(look->gpus);
    memset(look, 0, sizeof(*look));
}

/* ---- who is there ----------------------------------------------------------------------------------- */

/* In PCI order; what has no address comes last, until it is placed. */
static bool comes_before(const struct pm_gpu_seen *a, const struct pm_gpu_seen *b)
{
    if (a->is.pci[0] == '\0' || b->is.pci[0] == '\0')
        return b->is.pci[0] == '\0' && a->is.pci[0] != '\0';
    return strcmp(a->is.pci, b->is.pci) < 0;
}

static struct pm_look_gpu *add(struct pm_look *look, const struct pm_gpu_seen *is)
{
    size_t at = look->n;

    look->gpus = pm_xrealloc(look->gpus, (look->n + 1) * sizeof(look->gpus[0]));
    while (at > 0 && comes_before(is, &look->gpus[at - 1].is))
        at--;
    memmove(&look->gpus[at + 1], &look->gpus[at], (look->n - at) * sizeof(look->gpus[0]));
    memset(&look->gpus[at], 0, sizeof(look->gpus[0]));
    look->gpus[at].is = *is;
    look->n++;
    return &look->gpus[at];
}

static struct pm_look_gpu *find_id(struct pm_look *look, const char *id)
{
    for (size_t i = 0; i < look->n; i++) {
        if (strcmp(look->gpus[i].is.is.id, id) == 0)
            return &look->gpus[i];
    }
    return NULL;
}

/* The one that stood there the last time, and was not found elsewhere in this look. */
static struct pm_look_gpu *find_index(struct pm_look *look, unsigned index)
{
    for (size_t i = 0; i < look->n; i++) {
        if (!look->gpus[i].there && look->gpus[i].nvml_index == index)
            return &look->gpus[i];
    }
    return NULL;
}

/* Two of one UUID: who asked for it could get either, so that nobody gets one. */
static int refuse_twin(struct pm_look_gpu *former)
{
    if (!former || !former->there)
        return PM_NVML_OK;
    former->code = PM_LOOK_TWIN;
    return PM_LOOK_TWIN;
}

static struct pm_look_gpu *meet(struct pm_look *look, unsigned index)
{
    struct pm_gpu_seen fresh = {0};
    struct pm_look_gpu *gpu;
    pm_nvml_device handle = NULL;
    int code = look->nvml.by_index(index, &handle);

    pm_look_blank(&fresh);
    if (code == PM_NVML_OK)
        code = look->nvml.uuid(handle, fresh.is.id, PM_DEVICE_ID_MAX + 1);
    fresh.is.id[PM_DEVICE_ID_MAX] = '\0';
    pm_text_clean(fresh.is.id);
    if (code == PM_NVML_OK && fresh.is.id[0] == '\0')
        code = PM_NVML_UNKNOWN;
    if (code == PM_NVML_OK)
        code = refuse_twin(find_id(look, fresh.is.id));

    if (code == PM_NVML_OK) {
        gpu = find_id(look, fresh.is.id);
        if (!gpu) {
            pm_look_identity(look, handle, &fresh);
            gpu = add(look, &fresh);
        }
        gpu->handle = handle;
    } else {
        gpu = find_index(look, index);
        if (!gpu) { /* never seen before: it has no name but its number */
            (void)snprintf(fresh.is.id, sizeof(fresh.is.id), PM_GPU_NAMELESS "%u", index);
            gpu = find_id(look, fresh.is.id);
            if (!gpu)
                gpu = add(look, &fresh);
        }
    }

    gpu->nvml_index = index;
    gpu->code = code;
    gpu->there = true;
    return gpu;
}

/* Codes that are no device's own: the library itself is at its end. */
static bool is_of_node(int code)
{
    return code == PM_NVML_UNINITIALISED || code == PM_NVML_DRIVER_NOT_LOADED ||
           code == PM_NVML_MISMATCH;
}

/* What never had a name is not missed: it may stand there under its own by now. */
static void forget_nameless(struct pm_look *look)
{
    size_t n = 0;

    for (size_t i = 0; i < look->n; i++) {
        if (look->gpus[i].there || !pm_gpu_is_nameless(look->gpus[i].is.is.id))
            look->gpus[n++] = look->gpus[i];
    }
    look->n = n;
}

/* Where one without a name stands on the bus cannot be asked: it is believed to stand where the library counts it, so that
 * the indexes of the others are as they would be if it answered. */
static void place_nameless(struct pm_look *look)
{
    for (size_t i = 0; i < look->n; i++) {
        struct pm_look_gpu gpu = look->gpus[i];
        size_t at = 0;

        if (!pm_gpu_is_nameless(gpu.is.is.id))
            continue;
        while (at < i && (!look->gpus[at].there || look->gpus[at].nvml_index < gpu.nvml_index))
            at++;
        memmove(&look->gpus[at + 1], &look->gpus[at], (i - at) * sizeof(look->gpus[0]));
        look->gpus[at] = gpu;
    }
}

/* Who is there now; the code that ended it, if one did. */
static int meet_all(struct pm_look *look)
{
    unsigned n = 0;
    int code = look->nvml.count(&n);

    if (code != PM_NVML_OK)
        return code;

    for (size_t i = 0; i < look->n; i++)
        look->gpus[i].there = false;
    for (unsigned i = 0; i < n && i < PM_GPUS_MAX; i++) {
        code = meet(look, i)->code;
        if (is_of_node(code))
            return code;
    }
    forget_nameless(look);
    place_nameless(look);
    for (size_t i = 0; i < look->n; i++) {
        if (!look->gpus[i].there)
            look->gpus[i].code = PM_NVML_GPU_LOST;
    }
    return PM_NVML_OK;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

void pm_look_take(struct pm_look *look, struct pm_gpu_snapshot *ret)
{
    size_t n_left = PM_GPU_PROCESSES_MAX;
    int code = meet_all(look);

    memset(ret, 0, sizeof(*ret));
    (void)pm_str_copy(ret->driver, sizeof(ret->driver), look->driver);
    ret->cuda_version = look->cuda_version;
    if (code != PM_NVML_OK) {
        ret->node = pm_nvml_node_state(&look->nvml, code, ret->text);
        return;
    }

    ret->gpus = pm_xalloc(PM_GPUS_MAX * sizeof(ret->gpus[0]));
    for (size_t i = 0; i < look->n && ret->n < PM_GPUS_MAX; i++) {
        struct pm_gpu_seen *gpu = &ret->gpus[ret->n++];

        pm_look_at(look, i, gpu, &n_left);
        look->gpus[i].is.total_bytes = gpu->total_bytes; /* of one that is lost it is still known */
        look->gpus[i].is.driver_bytes = gpu->driver_bytes;
        if (gpu->is.mig_mode && look->gpus[i].code == PM_NVML_OK)
            ret->n += pm_look_instances(look, &look->gpus[i], gpu, gpu + 1, PM_GPUS_MAX - ret->n,
                                        &n_left);
    }
    pm_visible_apply(getenv("CUDA_VISIBLE_DEVICES"), ret);
}
