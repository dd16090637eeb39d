/* SPDX-License-Identifier: Apache-2.0 */
/* The error object that every refusal carries, and the headers that say when to try again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http/refusal.h"
#include "util/error.h"
#include "util/jsontext.h"

#define RETRY_AFTER_MAX_S 60

static void add_text(struct pm_buf *out, const char *name, const char *text)
{
    if (!*text)
        return;
    pm_buf_addf(out, ",\"%s\":", name);
    pm_json_quote(out, text, strlen(text));
}

void pm_refusal_object(const struct poolmgr_error *error, const char *pool_id,
                       const char *request_id, struct pm_buf *out)
{
    const struct pm_status *status = pm_status(error->code);

    pm_buf_addf(out, "{\"error\":{\"code\":\"%s\",\"message\":", status->name);
    pm_json_quote(out, error->message, strlen(error->message));
    pm_buf_addf(out, ",\"type\":\"%s\"", pm_status_type(status->http_status));
    add_text(out, "param", error->param);
    if (error->has_offset)
        pm_buf_addf(out, ",\"offset\":%" PRIu32, error->offset);
    pm_buf_addf(out, ",\"retriable\":%s", status->retriable ? "true" : "false");
    if (status->retriable && error->retry_after_ms)
        pm_buf_addf(out, ",\"retry_after_ms\":%" PRIu64, error->retry_after_ms);
    if (error->code == POOLMGR_E_QUEUE_FULL)
        pm_buf_adds(out, ",\"policy_label\":\"reject\"");
    if (error->code == POOLMGR_E_QUEUE_DROPPED)
        pm_buf_adds(out, ",\"policy_label\":\"drop-lru\"");
    if (error->code == POOLMGR_E_BREAKER_OPEN)
        pm_buf_adds(out, ",\"policy_label\":\"breaker\"");
    add_text(out, "pool_id", pool_id);
    add_text(out, "request_id", request_id);
    add_text(out, "hint", error->hint);
    pm_buf_adds(out, "}}");
}

static uint64_t whole_seconds(uint64_t ms)
{
    uint64_t seconds = (ms + 999) / 1000;

    return seconds < 1 ? 1 : seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : seconds;
}

void pm_exchange_refuse(struct pm_exchange *exchange, const struct poolmgr_error *error,
                        const char *pool_id)
{
    pm_exchange_refuse_with(exchange, error, pool_id, NULL, 0);
}

void pm_exchange_refuse_with(struct pm_exchange *exchange, const struct poolmgr_error *error,
                             const char *pool_id, const struct pm_http_field *more, size_t n_more)
{
    const struct pm_status *status = pm_status(error->code);
    char seconds[8], ms[24];
    struct pm_http_field fields[5 + PM_REFUSAL_MORE_MAX] = {{"Content-Type", "application/json"}};
    size_t n = 1;
    pm_auto_buf struct pm_buf object = {0};

    if (status->retriable) {
        uint64_t after_ms = error->retry_after_ms ? error->retry_after_ms : 1000;

        (void)snprintf(seconds, sizeof(seconds), "%" PRIu64, whole_seconds(after_ms));
        (void)snprintf(ms, sizeof(ms), "%" PRIu64, after_ms);
        fields[n++] = (struct pm_http_field){"Retry-After", seconds};
        fields[n++] = (struct pm_http_field){"retry-after-ms", ms};
        fields[n++] = (struct pm_http_field){"X-Backoff-Ms", ms};
    } else {
        fields[n++] = (struct pm_http_field){"x-should-retry", "false"};
    }
    if (status->http_status == 401)
        fields[n++] = (struct pm_http_field){"WWW-Authenticate", "Bearer"};
    for (size_t i = 0; i < n_more && i < PM_REFUSAL_MORE_MAX; i++)
        fields[n++] = more[i];

    pm_refusal_object(error, pool_id, pm_exchange_request_id(exchange), &object);
    pm_exchange_respond(exchange, status->http_status, fields, n, object.data, object.n);
}
