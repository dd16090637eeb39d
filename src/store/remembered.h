/* SPDX-License-Identifier: Apache-2.0 */
/* What the engines of one identity took of devices, as a small JSON text (STATE-1, VRAM-1). Pure. */
#ifndef PM_STORE_REMEMBERED_H
#define PM_STORE_REMEMBERED_H

#include <stddef.h>
#include <stdint.h>

#include "core/core.h"
#include "util/error.h"

#define PM_REMEMBERED_VERSION     1
#define PM_REMEMBERED_MAX_BYTES   (64 * 1024) /* of a file */
#define PM_REMEMBERED_DEVICES_MAX 64          /* of one identity; then the oldest is forgotten */
#define PM_REMEMBERED_VALUE_MAX   (INT64_C(1) << 50) /* bytes: no device has a PiB */

/* Zeros: nothing is remembered. */
struct pm_remembered {
    uint64_t identity;
    struct pm_memory_record *records; /* of this identity, no device twice; the last change last */
    size_t n;
};

/* Whether it could be read again. */
bool pm_remembered_accepts(const struct pm_memory_record *record);

/* Takes the place of what was remembered of the same device. False: it says nothing new. The record is accepted, and of
 * this identity. */
bool pm_remembered_put(struct pm_remembered *to, const struct pm_memory_record *record);

/* "0123456789abcdef": what its file is named after. */
void pm_remembered_name(uint64_t identity, char ret[17]);

/* The caller's. */
char *pm_remembered_write(const struct pm_remembered *remembered);

/* POOLMGR_E_INVALID_REQUEST with what is wrong with it. `name` is what the file is named after. */
int pm_remembered_read(const char *text, size_t n, const char *name, struct pm_remembered *ret,
                       struct poolmgr_error *err);
void pm_remembered_fini(struct pm_remembered *remembered);

#endif
