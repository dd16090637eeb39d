/* SPDX-License-Identifier: Apache-2.0 */
/* NVML does not hear CUDA_VISIBLE_DEVICES, but our engines would: what it hides from us we do not hand out. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gpu/look.h"
#include "util/str.h"

#define NONE SIZE_MAX

static bool is_gpu(const struct pm_gpu_seen *gpu)
{
    return gpu->is.vendor == PM_VENDOR_NVIDIA && gpu->is.slot < 0;
}

/* The only device whose id begins so, or NONE. */
static size_t find_id(const struct pm_gpu_snapshot *snapshot, const char *text, size_t n)
{
    size_t found = NONE;

    for (size_t i = 0; i < snapshot->n; i++) {
        if (strncasecmp(snapshot->gpus[i].is.id, text, n) != 0)
            continue;
        if (found != NONE)
            return NONE;
        found = i;
    }
    return found;
}

static size_t find_index(const struct pm_gpu_snapshot *snapshot, long index)
{
    for (size_t i = 0; i < snapshot->n; i++) {
        if (is_gpu(&snapshot->gpus[i]) && (long)snapshot->gpus[i].is.index == index)
            return i;
    }
    return NONE;
}

/* "MIG-GPU-<uuid>/gi/ci", as older drivers name an instance. */
static size_t find_old_mig(const struct pm_gpu_snapshot *snapshot, const char *text, size_t n)
{
    for (size_t i = 0; i < snapshot->n; i++) {
        const struct pm_gpu_seen *parent = NULL, *gpu = &snapshot->gpus[i];
        pm_auto_free char *name = NULL;

        if (gpu->is.slot < 0)
            continue;
        for (size_t k = 0; k < i; k++) {
            if (is_gpu(&snapshot->gpus[k]))
                parent = &snapshot->gpus[k];
        }
        name = pm_xasprintf("MIG-%s/%d/%d", parent ? parent->is.id : "", gpu->is.gi, gpu->is.ci);
        if (strlen(name) == n && strncasecmp(name, text, n) == 0)
            return i;
    }
    return NONE;
}

/* One item as CUDA reads it; NONE ends the list. */
static size_t find_item(const struct pm_gpu_snapshot *snapshot, const char *text, size_t n)
{
    char *end;
    long index;

    if (n > 8 && strncmp(text, "MIG-GPU-", 8) == 0)
        return find_old_mig(snapshot, text, n);
    if (n > 4 && (strncmp(text, "GPU-", 4) == 0 || strncmp(text, "MIG-", 4) == 0))
        return find_id(snapshot, text, n);

    index = strtol(text, &end, 10);
    return end == text || end > text + n ? NONE : find_index(snapshot, index);
}

static void hide_all(struct pm_gpu_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->n; i++)
        snapshot->gpus[i].is.hidden = true;
}

void pm_visible_apply(const char *text, struct pm_gpu_snapshot *snapshot)
{
    bool parent_hidden = false;

    if (!text)
        return;

    hide_all(snapshot);
    while (*text) {
        size_t n = strcspn(text, ","), at = find_item(snapshot, text, n);

        if (at == NONE)
            break;
        if (!snapshot->gpus[at].is.hidden) { /* named twice */
            hide_all(snapshot);
            return;
        }
        snapshot->gpus[at].is.hidden = false;
        text += n + (text[n] == ',');
    }

    for (size_t i = 0; i < snapshot->n; i++) { /* a GPU shows its instances */
        struct pm_gpu *is = &snapshot->gpus[i].is;

        if (is->slot < 0)
            parent_hidden = is->hidden;
        else if (!parent_hidden)
            is->hidden = false;
    }
}
