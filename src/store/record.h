/* SPDX-License-Identifier: Apache-2.0 */
/* One pool's record as a small JSON text (STATE-1). Pure. */
#ifndef PM_STORE_RECORD_H
#define PM_STORE_RECORD_H

#include <stddef.h>

#include "core/core.h"
#include "util/error.h"

#define PM_RECORD_VERSION   1
#define PM_RECORD_MAX_BYTES (1024 * 1024) /* of a file; a specification is what fills it */
#define PM_RECORD_DEPTH_MAX 32            /* of a specification, as of a configuration */

/* The text, the caller's; NULL when the record says nothing that would not be so without it. A specification that is no
 * JSON object, or too large, is POOLMGR_E_STORE_FAILED. */
int pm_record_write(const struct pm_pool_record *record, char **ret, struct poolmgr_error *err);

/* POOLMGR_E_INVALID_REQUEST with what is wrong with it. `pool_id` is what the file is named after. */
int pm_record_read(const char *text, size_t n, const char *pool_id, struct pm_pool_record *ret,
                   struct poolmgr_error *err);
void pm_record_fini(struct pm_pool_record *record);

#endif
