/* SPDX-License-Identifier: Apache-2.0 */
#include "api/json.h"

#include <string.h>

#include "util/buf.h"
#include "util/jsontext.h"
#include "util/time.h"

struct pm_clock pm_clock_now(uint64_t now_ms)
{
    return (struct pm_clock){now_ms, pm_wall_ms()};
}

void pm_put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

json_t *pm_text(const char *text)
{
    json_t *value = json_string(text);

    if (!value) { /* not UTF-8 */
        pm_auto_buf struct pm_buf good = {0};

        pm_utf8_repair(&good, text, strlen(text));
        value = json_stringn(good.data, good.n);
    }
    return value;
}

void pm_put_text(json_t *object, const char *key, const char *text)
{
    if (text && *text)
        pm_put(object, key, pm_text(text));
}

void pm_put_u64(json_t *object, const char *key, uint64_t value)
{
    pm_put(object, key, json_integer((json_int_t)value));
}

void pm_put_bool(json_t *object, const char *key, bool value)
{
    pm_put(object, key, json_boolean(value));
}

void pm_put_time(json_t *object, const char *key, uint64_t at_ms, const struct pm_clock *clock)
{
    char text[PM_TIMESTAMP_SIZE];

    if (at_ms == 0 || at_ms == PM_NEVER)
        return;
    pm_put(object, key,
           json_string(pm_format_timestamp(text, clock->wall_ms + at_ms - clock->now_ms)));
}

void pm_put_last_error(json_t *object, const char *key, const struct pm_last_error *error,
                       const struct pm_clock *clock)
{
    json_t *value;

    if (error->code == 0)
        return;

    value = json_object();
    pm_put_text(value, "code", pm_status(error->code)->name);
    pm_put_text(value, "class", pm_class_name(error->class));
    pm_put_text(value, "text", error->text);
    pm_put_time(value, "at", error->at_ms, clock);
    pm_put(object, key, value);
}

json_t *pm_error_json(const struct poolmgr_error *error, const char *pool_id,
                      const char *request_id)
{
    const struct pm_status *status = pm_status(error->code);
    json_t *value = json_object();

    pm_put_text(value, "code", status->name);
    pm_put(value, "message", pm_text(error->message));
    pm_put_text(value, "type", pm_status_type(status->http_status));
    pm_put_text(value, "param", error->param);
    if (error->has_offset)
        pm_put_u64(value, "offset", error->offset);
    pm_put_bool(value, "retriable", status->retriable);
    if (status->retriable && error->retry_after_ms > 0)
        pm_put_u64(value, "retry_after_ms", error->retry_after_ms);
    pm_put_text(value, "pool_id", pool_id);
    pm_put_text(value, "request_id", request_id);
    pm_put_text(value, "hint", error->hint);
    return value;
}
