/* SPDX-License-Identifier: Apache-2.0 */
/* What a mask is once it was read; for mask.c, which makes it, and maskresolve.c, which finds its devices. */
#ifndef PM_PLAN_MASKITEMS_H
#define PM_PLAN_MASKITEMS_H

#include "plan/mask.h"

enum pm_mask_kind {
    PM_MASK_ALL,
    PM_MASK_RANGE,  /* first..last; one index is a range, too */
    PM_MASK_SLOT,   /* MIG slot `last` of GPU `first` */
    PM_MASK_UUID,   /* id: "GPU-…" of NVIDIA, whole */
    PM_MASK_PREFIX, /* id: "GPU-…" of NVIDIA, its beginning */
    PM_MASK_AMD,    /* id: "GPU-" and 16 digits */
    PM_MASK_MIG,    /* id: "MIG-…", whole */
    PM_MASK_MIG_OF, /* id: "GPU-…" of the parent; instances `first` and `last` */
    PM_MASK_PCI     /* id: "00000000:65:00.0" */
};

#define PM_MASK_VENDOR_ANY PM_VENDOR_COUNT /* its group names none */

struct pm_mask_item {
    enum pm_mask_kind kind;
    enum pm_vendor vendor;
    unsigned first, last;
    char id[48];             /* lower case but for the prefix */
    unsigned offset, length; /* in the text */
};

struct pm_mask {
    unsigned refs;
    char *text;
    bool is_cpu;
    struct pm_mask_item *items; /* none for the CPU */
    size_t n_items;
};

/* Fills `err` with offset and hint (NULL: none), and *ret_offset; returns `code`. */
int pm_mask_fail(struct poolmgr_error *err, size_t *ret_offset, int code, size_t offset,
                 const char *hint, const char *format, ...)
    __attribute__((__format__(__printf__, 6, 7)));

#endif
