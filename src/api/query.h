/* SPDX-License-Identifier: Apache-2.0 */
/* The query of a target: decoded, each key at most once, and the values checked when they are read. Pure. */
#ifndef PM_API_QUERY_H
#define PM_API_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "api/routes.h"
#include "util/error.h"

#define PM_QUERY_PAIRS_MAX 32

struct pm_query {
    char *text; /* what names and values point into */
    const char *names[PM_QUERY_PAIRS_MAX], *values[PM_QUERY_PAIRS_MAX];
    unsigned n;
};

/* Zeros are an empty query. POOLMGR_E_INVALID_REQUEST with `param`: a key twice, a broken escape, too many pairs, or
 * a key that is none of `keys` (NULL: any key passes, and is ignored). */
int pm_query_parse(struct pm_slice text, const struct pm_query_key *keys, struct pm_query *ret,
                   struct poolmgr_error *err);
void pm_query_fini(struct pm_query *query);

/* The value; NULL: the key is not there. */
const char *pm_query_get(const struct pm_query *query, const char *name);

/* An absent key leaves *value as it is. POOLMGR_E_INVALID_REQUEST with `param`. */
int pm_query_uint(const struct pm_query *query, const char *name, uint64_t max, uint64_t *value,
                  struct poolmgr_error *err);
int pm_query_duration(const struct pm_query *query, const char *name, uint64_t *value_ms,
                      struct poolmgr_error *err);
int pm_query_flag(const struct pm_query *query, const char *name, bool *value,
                  struct poolmgr_error *err);

#endif
