/* SPDX-License-Identifier: Apache-2.0 */
/* The error object that refusals carry, and the headers that say when to try again. */
#ifndef PM_HTTP_REFUSAL_H
#define PM_HTTP_REFUSAL_H

#include "http/server.h"
#include "util/buf.h"
#include "util/error.h"

/* {"error":{"code":…,"message":…}}; empty texts and unknown numbers are left out. pool_id may be "". */
void pm_refusal_object(const struct poolmgr_error *error, const char *pool_id,
                       const char *request_id, struct pm_buf *out);

/* Answers with the object: Retry-After, retry-after-ms and X-Backoff-Ms where trying again can help, else
 * x-should-retry: false; WWW-Authenticate with 401. */
void pm_exchange_refuse(struct pm_exchange *exchange, const struct poolmgr_error *error,
                        const char *pool_id);
/* With more headers behind these, at most PM_REFUSAL_MORE_MAX. */
#define PM_REFUSAL_MORE_MAX 4
void pm_exchange_refuse_with(struct pm_exchange *exchange, const struct poolmgr_error *error,
                             const char *pool_id, const struct pm_http_field *more, size_t n_more);

#endif
