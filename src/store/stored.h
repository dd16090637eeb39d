/* SPDX-License-Identifier: Apache-2.0 */
/* How a file of the store begins to be read, whatever it holds. Pure. */
#ifndef PM_STORE_STORED_H
#define PM_STORE_STORED_H

#include <jansson.h>
#include <stddef.h>

#include "util/error.h"

/* The JSON of a text of at most `max_bytes` that has this version. `it_is_not` says of one without any what it then is
 * not: "it is no record of a pool". POOLMGR_E_INVALID_REQUEST with what is wrong with it. */
int pm_stored_read(const char *text, size_t n, int max_bytes, int version, const char *it_is_not,
                   json_t **ret, struct poolmgr_error *err);

#endif
