/* SPDX-License-Identifier: Apache-2.0 */
/* Building answers: what is unknown is left out, foreign text is made valid UTF-8, instants are RFC 3339. */
#ifndef PM_API_JSON_H
#define PM_API_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"
#include "util/error.h"
#include "util/heap.h"

/* Both clocks, read once for one answer: monotonic instants are shown as wall-clock time by today's offset. */
struct pm_clock {
    uint64_t now_ms, wall_ms;
};
struct pm_clock pm_clock_now(uint64_t now_ms);

/* `value` is taken over. */
void pm_put(json_t *object, const char *key, json_t *value);
/* NULL and "" are left out. */
void pm_put_text(json_t *object, const char *key, const char *text);
void pm_put_u64(json_t *object, const char *key, uint64_t value);
void pm_put_bool(json_t *object, const char *key, bool value);
/* A monotonic instant, also in the future; 0 is left out. */
void pm_put_time(json_t *object, const char *key, uint64_t at_ms, const struct pm_clock *clock);
/* {"code","class","text","at"}; left out when there is none. */
void pm_put_last_error(json_t *object, const char *key, const struct pm_last_error *error,
                       const struct pm_clock *clock);

json_t *pm_text(const char *text);

/* The inner object of an error answer; request_id and pool_id may be NULL. */
json_t *pm_error_json(const struct poolmgr_error *error, const char *pool_id,
                      const char *request_id);

#endif
