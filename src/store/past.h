/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool went through, as a small JSON text (STATE-1). Pure: the wall clock is passed in. */
#ifndef PM_STORE_PAST_H
#define PM_STORE_PAST_H

#include <stddef.h>

#include "core/core.h"
#include "util/error.h"

#define PM_PAST_VERSION   1
#define PM_PAST_MAX_BYTES (128 * 1024)        /* of a file */
#define PM_PAST_COUNT_MAX (UINT64_C(1) << 50) /* of failures, starts, tokens, milliseconds */

/* The text, the caller's; NULL when it says nothing. */
char *pm_past_write(const struct pm_past *past, uint64_t wall_ms);

/* POOLMGR_E_INVALID_REQUEST with what is wrong with it. `pool_id` is what the file is named after. */
int pm_past_read(const char *text, size_t n, const char *pool_id, uint64_t wall_ms,
                 struct pm_past *ret, struct poolmgr_error *err);

#endif
