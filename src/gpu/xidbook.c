/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/xidbook.h"

#include <stdio.h>
#include <string.h>

#include "util/str.h"

void pm_xid_book_fini(struct pm_xid_book *book)
{
    free(book->entries);
    memset(book, 0, sizeof(*book));
}

static struct pm_xid_entry *entry_of(struct pm_xid_book *book, const char *id)
{
    struct pm_xid_entry *entry;

    for (size_t i = 0; i < book->n; i++) {
        if (strcmp(book->entries[i].id, id) == 0)
            return &book->entries[i];
    }
    if (book->n == PM_GPUS_MAX)
        return NULL;

    book->entries = pm_xrealloc(book->entries, (book->n + 1) * sizeof(book->entries[0]));
    entry = &book->entries[book->n++];
    memset(entry, 0, sizeof(*entry));
    (void)pm_str_copy(entry->id, sizeof(entry->id), id);
    return entry;
}

bool pm_xid_book_note(struct pm_xid_book *book, const struct pm_gpu_event *event, uint64_t now_ms)
{
    struct pm_xid_entry *entry = event->kind == PM_GPU_EVENT_XID ? entry_of(book, event->id) : NULL;
    enum pm_device_state before;

    if (!entry)
        return false;

    before = entry->memory.says;
    (void)pm_xid_judge(event->xid, event->recovery, false, now_ms, &entry->memory);
    if (entry->memory.says == before)
        return false;

    entry->xid = event->xid;
    return true;
}

static void set_state(struct pm_gpu_seen *gpu, enum pm_device_state state, const char *text)
{
    gpu->state = state;
    gpu->is.unhealthy = true;
    (void)pm_str_copy(gpu->text, sizeof(gpu->text), text);
}

void pm_xid_book_see(struct pm_xid_book *book, const struct pm_gpu_snapshot *snapshot)
{
    for (size_t i = 0; i < book->n; i++) {
        const struct pm_gpu_seen *gpu = pm_gpu_find(snapshot, book->entries[i].id);

        if (gpu)
            pm_xid_see(&book->entries[i].memory, gpu);
    }
}

static void apply_one(const struct pm_xid_entry *entry, struct pm_gpu_seen *gpu)
{
    enum pm_device_state state = pm_xid_state(&entry->memory, gpu->state);
    const char *what = pm_xid_text(entry->xid);
    char text[PM_GPU_TEXT_MAX + 1];

    if (state == gpu->state)
        return;
    (void)snprintf(text, sizeof(text), "XID %d%s%s: %s", entry->xid, *what ? ", " : "", what,
                   state == PM_DEVICE_LOST ? "reboot" : "must be reset: nvidia-smi --gpu-reset");
    set_state(gpu, state, text);
}

void pm_xid_book_apply(const struct pm_xid_book *book, struct pm_gpu_snapshot *snapshot)
{
    const struct pm_gpu_seen *parent = NULL;

    for (size_t i = 0; i < snapshot->n; i++) {
        struct pm_gpu_seen *gpu = &snapshot->gpus[i];

        if (gpu->is.slot >= 0) {
            if (parent && parent->state > gpu->state)
                set_state(gpu, parent->state, parent->text);
            continue;
        }
        parent = gpu;
        for (size_t k = 0; k < book->n; k++) {
            if (strcmp(book->entries[k].id, gpu->is.id) == 0)
                apply_one(&book->entries[k], gpu);
        }
    }
}
