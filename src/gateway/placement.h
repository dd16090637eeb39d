/* SPDX-License-Identifier: Apache-2.0 */
/* The header X-Placement: pin=a; prefer=b,c; avoid=d; mask=0; fallback=no (PLACE-2). */
#ifndef PM_GATEWAY_PLACEMENT_H
#define PM_GATEWAY_PLACEMENT_H

#include "core/core.h"

#define PM_PLACEMENT_MAX       1024 /* bytes of the header */
#define PM_PLACEMENT_POOLS_MAX 16   /* in prefer, and in avoid */

/* The values point into the copy of the header: it may not be moved. */
struct pm_placement_header {
    struct pm_placement placement;
    const char *prefer[PM_PLACEMENT_POOLS_MAX], *avoid[PM_PLACEMENT_POOLS_MAX];
    char text[PM_PLACEMENT_MAX + 1];
};

/* Strict: known members, each once, blanks around them only. Pure. POOLMGR_E_INVALID_REQUEST with `param`; of a mask its
 * own POOLMGR_E_MASK_… with `offset` in the header. */
int pm_placement_parse(const char *data, size_t n, struct pm_placement_header *ret,
                       struct poolmgr_error *err);

#endif
