/* SPDX-License-Identifier: Apache-2.0 */
/* What a mask is while it is read (mask.c, maskitem.c), and once it was (maskresolve.c). */
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

/* Stands at one byte of a text. */
struct pm_mask_reader {
    const char *text;
    size_t n, at;
    struct pm_mask *mask;
    enum pm_vendor vendor; /* of the group being read */
    size_t *ret_offset;
    struct poolmgr_error *err;
};

/* The item at the reader's place, which goes behind it; the codes of one item. */
int pm_mask_read_item(struct pm_mask_reader *reader, struct pm_mask_item *ret);
bool pm_mask_skip(struct pm_mask_reader *reader,
                  const char *text); /* false: it does not stand there */

struct pm_mask_excerpt {
    char text[40];
};

/* A piece of the text for a message: short, and nothing in it but ASCII that prints. */
struct pm_mask_excerpt pm_mask_excerpt(const struct pm_mask_reader *reader, size_t from, size_t to);

/* Fills `err` with offset and hint (NULL: none), and *ret_offset; returns `code`. */
int pm_mask_fail(struct poolmgr_error *err, size_t *ret_offset, int code, size_t offset,
                 const char *hint, const char *format, ...)
    __attribute__((__format__(__printf__, 6, 7)));

#define pm_mask_refuse(of, code, offset, hint, ...)                                                \
    pm_mask_fail((of)->err, (of)->ret_offset, POOLMGR_E_MASK_##code, offset, hint, __VA_ARGS__)

#endif
