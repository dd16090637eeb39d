/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway tells. A request that did not wait is one line at info: stream_ended, for plain answers too. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "gateway/flight.h"
#include "util/str.h"

static void describe(struct pm_flight *flight, enum pm_event_kind kind, struct pm_event *event)
{
    const char *target = flight->pool_id[0] ? flight->pool_id : flight->route;

    pm_event_init(event, kind, target);
    pm_event_request(event, flight->request_id);
    if (flight->pool_id[0])
        pm_event_pool(event, flight->pool_id);
    if (flight->session_id[0]) {
        (void)pm_str_copy(event->session_id, sizeof(event->session_id), flight->session_id);
        event->fields |= PM_EF_SESSION_ID;
    }
    if (flight->lease.serial)
        pm_event_replica(event, flight->lease.replica, flight->lease.instance);
}

void pm_tell_request(struct pm_flight *flight, enum pm_event_kind kind, const char *format, ...)
{
    char text[512];
    struct pm_event event;
    va_list args;

    describe(flight, kind, &event);
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    pm_event_human(&event, "%s", text);
    pm_sink_tell(pm_manager_sink(flight->gateway->manager), &event);
}

static void add_usage(struct pm_flight *flight, const struct pm_usage *usage,
                      struct pm_event *event)
{
    struct pm_gateway_counters *counters = pm_flight_counters(flight);

    if (usage->has_tokens_in) {
        event->tokens_in = usage->tokens_in;
        event->fields |= PM_EF_TOKENS_IN;
        counters->tokens_in += usage->tokens_in;
    }
    if (usage->has_tokens_out) {
        event->tokens_out = usage->tokens_out;
        event->fields |= PM_EF_TOKENS_OUT;
        counters->tokens_out += usage->tokens_out;
    }
    if (usage->has_decode) {
        event->decode_time_ms = usage->decode_ms;
        event->fields |= PM_EF_DECODE_TIME_MS;
    }
}

/* "fox answers 25 tokens in 0.4 s", and what a person would add. */
static void add_human(struct pm_flight *flight, const struct pm_usage *usage,
                      const struct poolmgr_error *error, struct pm_event *event)
{
    char took[32];

    (void)pm_format_duration(took, sizeof(took), event->duration_ms);
    if (error)
        pm_event_human(event, "%s breaks off a stream after %s: %s", flight->pool_id, took,
                       error->message);
    else if (flight->status >= 400)
        pm_event_human(event, "%s refuses a request with %d after %s", flight->pool_id,
                       flight->status, took);
    else if (usage->has_tokens_out)
        pm_event_human(event, "%s answers %" PRIu64 " token%s in %s", flight->pool_id,
                       usage->tokens_out, usage->tokens_out == 1 ? "" : "s", took);
    else
        pm_event_human(event, "%s answers in %s", flight->pool_id, took);
}

void pm_tell_ended(struct pm_flight *flight, const struct poolmgr_error *error)
{
    const struct pm_usage *usage = pm_flight_usage(flight);
    struct pm_event event;

    describe(flight, PM_EV_STREAM_ENDED, &event);
    if (error) {
        event.level = PM_WARN;
        event.error_code = error->code;
        event.fields |= PM_EF_ERROR_CODE;
    }
    event.duration_ms = pm_flight_now(flight) - flight->arrived_ms;
    event.bytes_sent = flight->bytes_sent;
    event.http_status = flight->status;
    event.fields |= PM_EF_DURATION_MS | PM_EF_BYTES_SENT | PM_EF_HTTP_STATUS;
    add_usage(flight, usage, &event);
    add_human(flight, usage, error, &event);
    pm_sink_tell(pm_manager_sink(flight->gateway->manager), &event);
}
