/* SPDX-License-Identifier: Apache-2.0 */
/* The document by which somebody else's engine is registered (REG-4): validated whole, then a pool's specification. */
#ifndef PM_CONFIG_HANDOFF_H
#define PM_CONFIG_HANDOFF_H

#include <jansson.h>

#include "core/core.h"

#define PM_HANDOFF_VERSION   1
#define PM_HANDOFF_MAX_BYTES (16 * 1024) /* of a document */
#define PM_HANDOFF_TEXT_MAX  63          /* bytes of engine, engine_version */
#define PM_HANDOFF_SLOTS_MAX 65536
#define PM_HANDOFF_PID_MAX   4194304 /* the kernel's PID_MAX_LIMIT */

/* What a document may have, blank-separated; unknown members are refused. */
#define PM_HANDOFF_MEMBERS                                                                         \
    "version pool replica engine engine_version endpoint model device_mask slots pid"

/* One reference is the caller's. POOLMGR_E_INVALID_REQUEST; `param` is the member at fault. */
int pm_handoff_read(const json_t *document, struct pm_pool_spec **ret, unsigned *ret_replica,
                    struct poolmgr_error *err);

/* The same from text. POOLMGR_E_TOO_LARGE, too. */
int pm_handoff_parse(const char *text, size_t n, struct pm_pool_spec **ret, unsigned *ret_replica,
                     struct poolmgr_error *err);

#endif
