/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's answer on its way to the client. Bodies pass as they come; of server-sent events only whole ones go
 * out, the torn rest is held back, so that an answer that breaks off can say so and never looks complete (GW-3a).
 * A slow client stops the reading from the engine, nothing is piled up in between (GW-2).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gateway/counters.h"
#include "gateway/flight.h"
#include "http/refusal.h"
#include "util/error.h"

/* ---- sending ---------------------------------------------------------------------------------------- */

static void send_bytes(struct pm_flight *flight, const char *data, size_t n)
{
    if (!flight->exchange || n == 0)
        return;

    flight->bytes_sent += n;
    pm_exchange_send(flight->exchange, data, n);
    if (flight->exchange && flight->call && !flight->paused &&
        pm_exchange_queued(flight->exchange) > PM_EXCHANGE_QUEUE_HIGH) {
        flight->paused = true;
        pm_http_call_pause(flight->call);
    }
}

void pm_gateway_drained(struct pm_flight *flight)
{
    if (!flight->paused || !flight->call)
        return;

    flight->paused = false;
    pm_http_call_resume(flight->call);
}

static void begin_stream(struct pm_flight *flight, int status)
{
    static const struct pm_http_field fields[] = {
        {"Content-Type", "text/event-stream"},
        {"Cache-Control", "no-cache"},
    };

    flight->status = status;
    pm_exchange_begin(flight->exchange, status, fields, PM_ARRAY_LEN(fields), false, 0);
}

void pm_answer_loading(struct pm_timer *timer)
{
    struct pm_flight *flight = pm_container_of(timer, struct pm_flight, loading);
    const struct pm_config *config = pm_manager_config(flight->gateway->manager);

    if (flight->phase != FLIGHT_WAITING || !flight->exchange)
        return;

    if (!flight->committed) {
        flight->committed = true;
        begin_stream(flight, 200);
        if (!pm_core_route_at(pm_manager_core(flight->gateway->manager), flight->route, 1))
            pm_exchange_add_header(flight->exchange, (struct pm_slice){"X-Pool", 6},
                                   (struct pm_slice){flight->pool_id, strlen(flight->pool_id)});
    }
    pm_timer_set(pm_manager_loop(flight->gateway->manager), timer,
                 pm_flight_now(flight) + config->timeouts.loading_every_ms);
    send_bytes(flight, ": loading\n\n", 11);
}

void pm_answer_break(struct pm_flight *flight, const struct poolmgr_error *error)
{
    struct pm_exchange *exchange = flight->exchange;
    pm_auto_buf struct pm_buf event = {0};

    flight->exchange = NULL;
    if ((flight->sse || flight->committed) && !flight->events.passing) {
        pm_buf_adds(&event, "event: error\ndata: ");
        pm_refusal_object(error, flight->pool_id, flight->request_id, &event);
        pm_buf_adds(&event, "\n\n");
        flight->bytes_sent += event.n;
        pm_exchange_send(exchange, event.data, event.n);
    }
    pm_exchange_break(exchange);
}

/* ---- the head --------------------------------------------------------------------------------------- */

static bool starts_nocase(struct pm_slice value, const char *lower)
{
    size_t n = strlen(lower);

    return value.n >= n && pm_slice_is_nocase((struct pm_slice){value.p, n}, lower);
}

static bool is_ours(const struct pm_http_header *header)
{
    return header->hop_by_hop || pm_slice_is_nocase(header->name, "content-length") ||
           pm_slice_is_nocase(header->name, "date") ||
           pm_slice_is_nocase(header->name, "x-request-id") ||
           pm_slice_is_nocase(header->name, "x-pool") || starts_nocase(header->name, "x-queue-") ||
           starts_nocase(header->name, "access-control-");
}

/* What every answer tells: which pool, and how long it was waited for. */
struct told {
    struct pm_http_field fields[4];
    size_t n;
    char position[24], wait[24], eta[24];
};

static void tell(const struct pm_flight *flight, struct told *told)
{
    told->n = 0;
    if (flight->pool_id[0])
        told->fields[told->n++] = (struct pm_http_field){"X-Pool", flight->pool_id};
    if (!flight->waited)
        return;

    (void)snprintf(told->position, sizeof(told->position), "%" PRIu64, flight->queue_position);
    (void)snprintf(told->wait, sizeof(told->wait), "%" PRIu64, flight->waited_ms);
    told->fields[told->n++] = (struct pm_http_field){"X-Queue-Position", told->position};
    told->fields[told->n++] = (struct pm_http_field){"X-Queue-Wait-Ms", told->wait};
}

void pm_answer_refuse(const struct pm_flight *flight, struct pm_exchange *exchange,
                      const struct poolmgr_error *error)
{
    struct told told;

    tell(flight, &told);
    if (flight->predicted_ms > 0) {
        (void)snprintf(told.eta, sizeof(told.eta), "%" PRIu64, flight->predicted_ms);
        told.fields[told.n++] = (struct pm_http_field){"X-Queue-ETA-Ms", told.eta};
    }
    pm_exchange_refuse_with(exchange, error, flight->pool_id, told.fields, told.n);
}

static void begin_answer(struct pm_flight *flight, const struct pm_http_head *head)
{
    struct told told;
    bool has_length = head->framing == PM_BODY_LENGTH || head->framing == PM_BODY_NONE;

    tell(flight, &told);
    pm_exchange_begin(flight->exchange, head->status, told.fields, told.n,
                      has_length && !flight->sse,
                      head->framing == PM_BODY_LENGTH ? head->content_length : 0);
    for (unsigned i = 0; i < head->n_headers; i++) {
        if (!is_ours(&head->headers[i]))
            pm_exchange_add_header(flight->exchange, head->headers[i].name, head->headers[i].value);
    }
}

/* An answer that the client cannot be given; the engine's connection is closed. */
static void refuse_answer(struct pm_flight *flight, int code, const char *text)
{
    struct poolmgr_error error = {0};

    (void)pm_fail(&error, code, "the engine of '%s' %s", flight->pool_id, text);
    if (flight->call)
        pm_http_call_cancel(flight->call);
    flight->call = NULL;
    pm_flight_release(flight, code == POOLMGR_E_ENGINE_TIMEOUT ? PM_RELEASE_LIMIT
                                                               : PM_RELEASE_CLIENT_CLOSED);
    pm_tell_ended(flight, &error);
    pm_flight_fail(flight, &error);
}

static void on_head(void *ctx, const struct pm_http_head *head)
{
    struct pm_flight *flight = ctx;
    const struct pm_http_header *type = pm_http_find(head, "content-type", NULL);
    char text[64];

    if (flight->retrying) {
        flight->retrying = false;
        flight->gateway->n_retrying--;
    }
    pm_manager_touch(flight->gateway->manager, &flight->ticket);
    if (!flight->exchange)
        return; /* nobody reads it any more */

    flight->sse = type && starts_nocase(type->value, "text/event-stream");
    flight->until_close = head->framing == PM_BODY_UNTIL_CLOSE;
    if (flight->sse && pm_http_find(head, "content-encoding", NULL)) {
        refuse_answer(flight, POOLMGR_E_BAD_ENGINE_ANSWER, "compresses a stream");
        return;
    }
    if (flight->committed && (head->status != 200 || !flight->sse)) {
        (void)snprintf(text, sizeof(text), "answers %d to a stream that waited", head->status);
        refuse_answer(flight, POOLMGR_E_BAD_ENGINE_ANSWER, text);
        return;
    }

    if (flight->sse)
        pm_http_call_manual_idle(flight->call);
    flight->status = head->status;
    flight->phase = FLIGHT_STREAMING;
    pm_exchange_drop_body(flight->exchange);
    if (!flight->committed)
        begin_answer(flight, head);
}

/* ---- the body --------------------------------------------------------------------------------------- */

static void count_first_token(struct pm_flight *flight)
{
    if (flight->first_token_ms)
        return;

    flight->first_token_ms = pm_flight_now(flight);
    pm_histogram_add(&pm_flight_counters(flight)->first_token,
                     flight->first_token_ms - flight->arrived_ms);
    if (flight->sse)
        pm_tell_request(flight, PM_EV_STREAM_STARTED,
                        "%s streams its first token after %" PRIu64 " ms", flight->pool_id,
                        flight->first_token_ms - flight->arrived_ms);
}

/* Whole events go out in one call; the rest waits for its end. */
static void pass_events(struct pm_flight *flight, const char *data, size_t n)
{
    size_t n_whole = pm_sse_feed(&flight->events, data, n, flight->held.n);

    if (flight->events.saw_data) {
        if (flight->call)
            pm_http_call_touch(flight->call);
        count_first_token(flight);
    }
    if (n_whole && flight->held.n) {
        pm_buf_add(&flight->held, data, n_whole);
        send_bytes(flight, flight->held.data, flight->held.n);
        pm_buf_clear(&flight->held);
    } else {
        send_bytes(flight, data, n_whole);
    }
    pm_buf_add(&flight->held, data + n_whole, n - n_whole);
}

static void on_body(void *ctx, const char *data, size_t n)
{
    struct pm_flight *flight = ctx;

    pm_manager_touch(flight->gateway->manager, &flight->ticket);
    if (!flight->exchange)
        return;

    pm_usage_tail_add(&flight->usage, data, n);
    if (flight->sse) {
        pass_events(flight, data, n);
        return;
    }
    count_first_token(flight);
    send_bytes(flight, data, n);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

const struct pm_usage *pm_flight_usage(struct pm_flight *flight)
{
    if (!flight->usage_read)
        pm_usage_read(flight->usage.data, flight->usage.n, &flight->told);
    flight->usage_read = true;
    return &flight->told;
}

/* The engine's own times where it tells them; else a stream's, as they went by. */
static void tell_speed(struct pm_flight *flight)
{
    const struct pm_usage *usage = pm_flight_usage(flight);
    bool streamed = flight->sse && flight->first_token_ms;
    uint64_t decode_ms = usage->decode_ms;

    if (flight->status != 200)
        return;
    if (!usage->has_decode)
        decode_ms = streamed ? pm_flight_now(flight) - flight->first_token_ms : 0;
    pm_manager_perf(flight->gateway->manager, &flight->ticket,
                    streamed ? flight->first_token_ms - flight->granted_ms : PM_NEVER,
                    usage->has_tokens_out ? usage->tokens_out : 0, decode_ms);
}

static void fail_stream(struct pm_flight *flight, int code, const char *text)
{
    struct poolmgr_error error = {0};

    (void)pm_fail(&error, code, "the engine of '%s' %s", flight->pool_id, text);
    if (flight->exchange)
        pm_tell_ended(flight, &error);
    pm_flight_fail(flight, &error);
}

static void on_end(void *ctx)
{
    struct pm_flight *flight = ctx;
    struct pm_exchange *exchange = flight->exchange;

    flight->call = NULL;
    if (exchange)
        tell_speed(flight);
    pm_flight_release(flight, PM_RELEASE_DONE);
    if (!exchange) {
        pm_tell_request(flight, PM_EV_REQUEST_ABANDONED, "%s finishes an answer that nobody reads",
                        flight->pool_id);
        pm_flight_end(flight);
        return;
    }
    /* A stream without a length that ends inside an event was torn, whatever the connection said. */
    if (flight->sse && flight->until_close && !pm_sse_at_boundary(&flight->events)) {
        fail_stream(flight, POOLMGR_E_ENGINE_CRASHED, "broke off its answer");
        return;
    }

    send_bytes(flight, flight->held.data, flight->held.n);
    pm_flight_counters(flight)->completed++;
    pm_flight_counters(flight)->bytes_sent += flight->bytes_sent;
    if (flight->first_token_ms)
        pm_histogram_add(&pm_flight_counters(flight)->decode,
                         pm_flight_now(flight) - flight->first_token_ms);
    pm_tell_ended(flight, NULL);
    flight->exchange = NULL;
    pm_exchange_end(exchange);
    pm_flight_end(flight);
}

static void on_error(void *ctx, enum pm_call_error error, const char *text)
{
    struct pm_flight *flight = ctx;

    flight->call = NULL;
    if (flight->phase == FLIGHT_DISCARDING) {
        pm_flight_release(flight, PM_RELEASE_DONE);
        pm_flight_end(flight);
        return;
    }
    switch (error) {
    case PM_CALL_REFUSED:
    case PM_CALL_CONNECT:
    case PM_CALL_NO_ANSWER: pm_flight_engine_died(flight, error == PM_CALL_NO_ANSWER, text); return;
    case PM_CALL_BAD_ANSWER: refuse_answer(flight, POOLMGR_E_BAD_ENGINE_ANSWER, text); return;
    case PM_CALL_FIRST_BYTE:
        refuse_answer(flight, POOLMGR_E_ENGINE_TIMEOUT, "did not answer in time");
        return;
    case PM_CALL_STREAM_IDLE:
        pm_flight_release(flight, PM_RELEASE_LIMIT);
        fail_stream(flight, POOLMGR_E_ENGINE_TIMEOUT, "stopped sending");
        return;
    case PM_CALL_BROKEN:
        pm_flight_release(flight, PM_RELEASE_CLIENT_CLOSED);
        fail_stream(flight, POOLMGR_E_ENGINE_CRASHED, "broke off its answer");
        return;
    }
}

const struct pm_http_call_handler pm_answer_handler = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
};
