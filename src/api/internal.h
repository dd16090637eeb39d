/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_API_INTERNAL_H
#define PM_API_INTERNAL_H

#include "api/call.h"

#define PM_CONTROL_BODY_MAX (1024 * 1024)

void pm_call_free(struct pm_call *call); /* calls gone */

/* Pure: strict JSON, an object, only members of the blank-separated list. */
int pm_parse_control_body(const char *text, size_t n, const char *members, json_t **ret,
                          struct poolmgr_error *err);

#endif
