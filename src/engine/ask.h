/* SPDX-License-Identifier: Apache-2.0 */
/* A small GET to an engine, for this room. */
#ifndef PM_ENGINE_ASK_H
#define PM_ENGINE_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/client.h"
#include "util/buf.h"

#define PM_GET_BODY_MAX                                                                            \
    (1024 * 1024) /* bytes kept of an answer's body; what is more is thrown away */

struct pm_get;

#define PM_GET_REFUSED (-1)

/* status 0: no answer, PM_GET_REFUSED: nobody listens; body is NULL then, else what came of it (empty when it was not
 * asked for). */
typedef void (*pm_get_fn)(void *ctx, int status, struct pm_buf *body);

/* Answers once, after this call returned, and is gone then; or is freed before. */
struct pm_get *pm_get_new(struct pm_http_client *client, const char *endpoint, const char *path,
                          const char *api_key, uint64_t timeout_ms, bool keep_body, pm_get_fn fn,
                          void *ctx);
void pm_get_free(struct pm_get *get);

/* How many of llama-server's /slots work; false: it is no such list. */
bool pm_slots_busy(const char *text, size_t n, uint64_t *ret_busy);

/* Version and slots from llama-server's /props; false: it is no such object. Either may be missing (0, ""). */
bool pm_props_read(const char *text, size_t n, char *version, size_t size, uint64_t *ret_slots);

#endif
