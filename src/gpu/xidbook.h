/* SPDX-License-Identifier: Apache-2.0 */
/* What the XIDs of this machine's GPUs made of them, written into each snapshot. */
#ifndef PM_GPU_XIDBOOK_H
#define PM_GPU_XIDBOOK_H

#include "gpu/xid.h"

/* Zeros are an empty one. */
struct pm_xid_book {
    struct pm_xid_entry {
        char id[PM_DEVICE_ID_MAX + 1];
        int xid; /* that weighed most */
        struct pm_xid_memory memory;
    } * entries;
    size_t n;
};

/* Forgets all. */
void pm_xid_book_fini(struct pm_xid_book *book);

/* True: a device is to be seen otherwise from now on. */
bool pm_xid_book_note(struct pm_xid_book *book, const struct pm_gpu_event *event, uint64_t now_ms);

/* A fresh look may show that a device was reset. */
void pm_xid_book_see(struct pm_xid_book *book, const struct pm_gpu_snapshot *snapshot);

/* Sets the states of devices and of their instances. */
void pm_xid_book_apply(const struct pm_xid_book *book, struct pm_gpu_snapshot *snapshot);

#endif
