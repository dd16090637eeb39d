/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request from its head to its slot: what the client says is checked, the body is scanned while it comes in, core
 * is asked, and nothing is sent while it waits (GW-4) but comments to a stream that waits long.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/counters.h"
#include "gateway/flight.h"
#include "http/refusal.h"
#include "util/error.h"
#include "util/jsontext.h"
#include "util/str.h"

#define MODEL_QUOTE_MAX 256 /* bytes of a stranger's name in a message */
#define RETRY_LOOK_MS   2   /* between two looks whether a lost engine is known to be over */
#define RETRY_WAIT_MS   500 /* then it lives, and is asked again */

uint64_t pm_flight_now(const struct pm_flight *flight)
{
    return pm_manager_now(flight->gateway->manager);
}

struct pm_gateway_counters *pm_flight_counters(struct pm_flight *flight)
{
    return pm_counters_of(flight->gateway, flight->pool_id);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void free_flight(struct pm_task *task)
{
    struct pm_flight *flight = pm_container_of(task, struct pm_flight, free_task);

    free(flight->scanner);
    free(flight->placement);
    free(flight->pieces);
    free(flight->model_text);
    pm_buf_fini(&flight->held);
    pm_usage_tail_fini(&flight->usage);
    pm_pool_spec_unref(flight->spec);
    free(flight);
}

void pm_flight_release(struct pm_flight *flight, enum pm_release how)
{
    if (!flight->holds_lease)
        return;

    flight->holds_lease = false;
    pm_manager_release(flight->gateway->manager, &flight->ticket, how);
}

void pm_flight_end(struct pm_flight *flight)
{
    struct pm_gateway *gateway = flight->gateway;

    if (flight->phase == FLIGHT_ENDED)
        return;

    if (flight->phase == FLIGHT_WAITING)
        pm_manager_leave_queue(gateway->manager, &flight->ticket);
    flight->phase = FLIGHT_ENDED;
    if (flight->call) {
        pm_http_call_cancel(flight->call);
        flight->call = NULL;
    }
    pm_flight_release(flight, PM_RELEASE_CLIENT_CLOSED);
    pm_timer_clear(&flight->loading);
    pm_timer_clear(&flight->retry);
    if (flight->retrying)
        gateway->n_retrying--;
    pm_list_remove(&flight->link);
    gateway->n_flights--;
    pm_loop_later(pm_manager_loop(gateway->manager), &flight->free_task);
}

void pm_flight_fail(struct pm_flight *flight, const struct poolmgr_error *error)
{
    struct pm_exchange *exchange = flight->exchange;
    bool begun = flight->committed || flight->phase == FLIGHT_STREAMING;

    if (flight->phase == FLIGHT_ENDED)
        return;

    if (flight->pool_id[0])
        pm_flight_counters(flight)->failed++;
    flight->exchange = NULL;
    if (exchange && begun) {
        flight->exchange = exchange;
        pm_answer_break(flight, error);
        flight->exchange = NULL;
    } else if (exchange) {
        flight->status = pm_status(error->code)->http_status;
        pm_answer_refuse(flight, exchange, error);
    }
    pm_flight_end(flight);
}

static void fail(struct pm_flight *flight, int code, const char *param, const char *text)
{
    struct poolmgr_error error = {0};

    (void)pm_fail(&error, code, "%s", text);
    if (param)
        (void)pm_error_param(&error, code, param);
    pm_flight_fail(flight, &error);
}

/* ---- the head --------------------------------------------------------------------------------------- */

/* The only line of that name; false (and the request refused) when there are several. */
static bool single_header(struct pm_flight *flight, const char *lower_name, struct pm_slice *ret)
{
    unsigned n;
    const struct pm_http_header *header =
        pm_http_find(pm_exchange_head(flight->exchange), lower_name, &n);

    *ret = header ? header->value : (struct pm_slice){0};
    if (n <= 1)
        return true;
    fail(flight, POOLMGR_E_INVALID_REQUEST, lower_name, "the header is given twice");
    return false;
}

static bool read_deadline(struct pm_flight *flight)
{
    struct pm_slice value;
    char text[24];

    if (!single_header(flight, "x-deadline-ms", &value))
        return false;
    if (!value.p)
        return true;
    (void)snprintf(text, sizeof(text), "%.*s", (int)(value.n < 23 ? value.n : 23), value.p);
    if (value.n < sizeof(text) && pm_parse_u64(text, &flight->deadline_ms) &&
        flight->deadline_ms > 0)
        return true;
    fail(flight, POOLMGR_E_INVALID_REQUEST, "X-Deadline-Ms",
         "X-Deadline-Ms is not a number of milliseconds above 0");
    return false;
}

static bool read_priority(struct pm_flight *flight)
{
    struct pm_slice value;

    if (!single_header(flight, "x-priority", &value))
        return false;
    if (!value.p || pm_slice_is(value, "interactive"))
        return true;
    flight->priority = PM_BATCH;
    if (pm_slice_is(value, "batch"))
        return true;
    fail(flight, POOLMGR_E_INVALID_REQUEST, "X-Priority",
         "X-Priority is neither interactive nor batch");
    return false;
}

static bool read_placement(struct pm_flight *flight)
{
    struct poolmgr_error error = {0};
    struct pm_slice value;

    if (!single_header(flight, "x-placement", &value))
        return false;
    if (!value.p)
        return true;
    flight->placement = pm_xalloc(sizeof(*flight->placement));
    if (pm_placement_parse(value.p, value.n, flight->placement, &error) == 0)
        return true;
    pm_flight_fail(flight, &error);
    return false;
}

static bool read_body_headers(struct pm_flight *flight)
{
    const struct pm_http_head *head = pm_exchange_head(flight->exchange);
    struct pm_slice value;

    if (!single_header(flight, "content-type", &value) ||
        !single_header(flight, "content-encoding", &value))
        return false;
    if (value.p && !pm_slice_is_nocase(value, "identity")) {
        pm_exchange_close_after(flight->exchange);
        fail(flight, POOLMGR_E_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding",
             "the body is compressed; send it plain");
        return false;
    }
    if (head->framing != PM_BODY_NONE || head->has_length)
        return true;
    pm_exchange_close_after(flight->exchange); /* what follows may be a body without a length */
    fail(flight, POOLMGR_E_INVALID_REQUEST, NULL, "the request has no body");
    return false;
}

/* A session id for events: only what is safe to tell. */
static void read_session(struct pm_flight *flight)
{
    const struct pm_http_header *header =
        pm_http_find(pm_exchange_head(flight->exchange), "x-session-id", NULL);

    if (!header || header->value.n > PM_REQUEST_ID_MAX)
        return;
    for (size_t i = 0; i < header->value.n; i++) {
        if ((unsigned char)header->value.p[i] < 0x21 || (unsigned char)header->value.p[i] > 0x7e)
            return;
    }
    memcpy(flight->session_id, header->value.p, header->value.n);
}

static void on_granted(struct pm_ticket *ticket, const struct pm_grant *grant);
static void on_refused(struct pm_ticket *ticket, const struct pm_refused *how);
static void on_cut(struct pm_ticket *ticket, const struct poolmgr_error *error);
static void try_again(struct pm_timer *timer);

struct pm_flight *pm_gateway_head(struct pm_gateway *gateway, struct pm_exchange *exchange,
                                  const char *path)
{
    struct pm_flight *flight = pm_xalloc(sizeof(*flight));

    flight->gateway = gateway;
    flight->exchange = exchange;
    flight->ticket =
        (struct pm_ticket){.granted = on_granted, .refused = on_refused, .cut = on_cut};
    flight->loading.fn = pm_answer_loading;
    flight->retry.fn = try_again;
    flight->free_task.fn = free_flight;
    flight->arrived_ms = pm_flight_now(flight);
    (void)pm_str_copy(flight->path, sizeof(flight->path), path);
    (void)pm_str_copy(flight->request_id, sizeof(flight->request_id),
                      pm_exchange_request_id(exchange));
    pm_list_append(&gateway->flights, &flight->link);
    gateway->n_flights++;

    read_session(flight);
    if (!read_body_headers(flight) || !read_deadline(flight) || !read_priority(flight) ||
        !read_placement(flight))
        return NULL;

    flight->scanner = pm_xalloc(sizeof(*flight->scanner));
    pm_scanner_init(flight->scanner);
    return flight;
}

/* ---- the body --------------------------------------------------------------------------------------- */

static void refuse_body(struct pm_flight *flight)
{
    fail(flight, POOLMGR_E_INVALID_REQUEST, flight->scanner->param, flight->scanner->error);
}

/* What the content of a body settles is answered when the body is whole: then the connection can go on. */
void pm_gateway_body(struct pm_flight *flight, const char *data, size_t n)
{
    if (flight->phase == FLIGHT_READING && !flight->scanner->error)
        (void)pm_scanner_feed(flight->scanner, data, n);
}

/* keep_alive: "5m", seconds, 0, or -1 for never. */
static bool read_keep_alive(struct pm_flight *flight, const struct pm_scanner *scanner)
{
    char text[sizeof(scanner->keep_alive)];
    size_t n = strlen(scanner->keep_alive);
    uint64_t seconds;

    if (!scanner->has_keep_alive)
        return true;

    flight->has_keep_alive = true;
    flight->keep_alive_member = scanner->keep_alive_member;
    if (strcmp(scanner->keep_alive, "-1") == 0) {
        flight->keep_alive_ms = PM_NEVER;
        return true;
    }
    if (pm_parse_u64(scanner->keep_alive, &seconds) && seconds <= UINT64_MAX / 1000000) {
        flight->keep_alive_ms = seconds * 1000;
        return true;
    }
    if (n >= 2 && scanner->keep_alive[0] == '"') {
        (void)snprintf(text, sizeof(text), "%.*s", (int)(n - 2), scanner->keep_alive + 1);
        if (pm_parse_duration(text, &flight->keep_alive_ms))
            return true;
    }
    fail(flight, POOLMGR_E_INVALID_REQUEST, "keep_alive",
         "keep_alive is no duration; write \"5m\", a number of seconds, 0, or -1 for never");
    return false;
}

static void model_not_found(struct pm_flight *flight, const char *model, size_t n)
{
    pm_auto_buf struct pm_buf quoted = {0};
    struct poolmgr_error error = {0};

    pm_json_quote(&quoted, model, n < MODEL_QUOTE_MAX ? n : MODEL_QUOTE_MAX);
    (void)pm_fail(&error, POOLMGR_E_MODEL_NOT_FOUND, "no model %s is served here",
                  pm_buf_text(&quoted));
    (void)pm_error_param(&error, error.code, "model");
    (void)pm_error_hint(&error, error.code, "GET /v1/models lists what is served");
    pm_flight_fail(flight, &error);
}

/* The pool behind the model's name, or the only one. */
static bool find_route(struct pm_flight *flight, const struct pm_scanner *scanner)
{
    const struct pm_core *core = pm_manager_core(flight->gateway->manager);
    const struct pm_pool_spec *spec;

    if (!scanner->has_model) {
        spec = pm_core_route(core, "");
        if (!spec) {
            fail(flight, POOLMGR_E_INVALID_REQUEST, "model",
                 "no model is named, and there is no default pool");
            return false;
        }
    } else if (scanner->model_too_long || scanner->n_model == 0 ||
               strlen(scanner->model) != scanner->n_model ||
               !(spec = pm_core_route(core, scanner->model))) {
        model_not_found(flight, scanner->model, scanner->n_model);
        return false;
    }
    (void)pm_str_copy(flight->route, sizeof(flight->route), scanner->model);
    (void)pm_str_copy(flight->pool_id, sizeof(flight->pool_id), spec->id);
    return true;
}

void pm_gateway_request(struct pm_flight *flight)
{
    struct pm_scanner *scanner = flight->scanner;

    if (flight->phase != FLIGHT_READING)
        return;
    if (pm_scanner_end(scanner) < 0) {
        refuse_body(flight);
        return;
    }
    flight->stream = scanner->stream;
    flight->model_value = scanner->model_value;
    if (!read_keep_alive(flight, scanner) || !find_route(flight, scanner))
        return;

    free(flight->scanner);
    flight->scanner = NULL;
    pm_flight_ask(flight);
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

void pm_flight_ask(struct pm_flight *flight)
{
    struct pm_manager *manager = flight->gateway->manager;
    uint64_t commit_after_ms = pm_manager_config(manager)->timeouts.commit_after_ms;
    const struct iovec *pieces;
    size_t n_pieces;
    struct pm_request request = {
        .route = flight->route,
        .request_id = flight->request_id,
        .bytes = pm_exchange_body(flight->exchange, &pieces, &n_pieces),
        .priority = flight->priority,
        .deadline_ms = flight->deadline_ms,
        .retried = flight->retrying,
        .arrived_ms = flight->arrived_ms,
    };

    if (flight->placement)
        request.placement = flight->placement->placement;
    flight->phase = FLIGHT_WAITING;
    if (flight->stream && commit_after_ms && !flight->committed)
        pm_timer_set(pm_manager_loop(manager), &flight->loading,
                     flight->arrived_ms + commit_after_ms);
    pm_manager_request(manager, &flight->ticket, &request);
}

static void on_granted(struct pm_ticket *ticket, const struct pm_grant *grant)
{
    struct pm_flight *flight = pm_container_of(ticket, struct pm_flight, ticket);

    flight->holds_lease = true;
    flight->phase = FLIGHT_CALLING;
    flight->granted_ms = pm_flight_now(flight);
    flight->lease = grant->lease;
    pm_pool_spec_unref(flight->spec);
    flight->spec = pm_pool_spec_ref((struct pm_pool_spec *)grant->spec);
    (void)pm_str_copy(flight->engine_version, sizeof(flight->engine_version),
                      grant->engine_version);
    (void)pm_str_copy(flight->pool_id, sizeof(flight->pool_id), grant->spec->id);
    if (!flight->retrying) {
        pm_flight_counters(flight)->started++;
        flight->waited = grant->waited;
        flight->waited_ms = grant->waited_ms;
        flight->queue_position = grant->queue_position;
        pm_histogram_add(&pm_flight_counters(flight)->queue_wait, grant->waited_ms);
    }
    pm_timer_clear(&flight->loading);
    if (flight->has_keep_alive)
        pm_manager_keep_alive(flight->gateway->manager, ticket, flight->keep_alive_ms);
    pm_flight_call(flight, grant);
}

static void on_refused(struct pm_ticket *ticket, const struct pm_refused *how)
{
    struct pm_flight *flight = pm_container_of(ticket, struct pm_flight, ticket);

    if (how->pool_id[0])
        (void)pm_str_copy(flight->pool_id, sizeof(flight->pool_id), how->pool_id);
    flight->predicted_ms = how->predicted_ms;
    if (!flight->retrying) {
        flight->waited = how->waited;
        flight->waited_ms = how->waited_ms;
        flight->queue_position = how->queue_position;
    }
    if (!flight->committed)
        flight->phase = FLIGHT_CALLING; /* it waits no more: the ticket is ours again */
    else
        flight->phase = FLIGHT_STREAMING;
    pm_flight_fail(flight, how->error);
}

/*
 * The lease is over. Where the engine itself is gone its connection will say so, and what it had still sent is there
 * to be read first; everything else ends the stream now.
 */
static void on_cut(struct pm_ticket *ticket, const struct poolmgr_error *error)
{
    struct pm_flight *flight = pm_container_of(ticket, struct pm_flight, ticket);

    pm_flight_release(flight, PM_RELEASE_DONE);
    if (error->code == POOLMGR_E_ENGINE_CRASHED && flight->call)
        return;
    if (flight->phase == FLIGHT_STREAMING)
        pm_tell_ended(flight, error);
    pm_flight_fail(flight, error);
}

/* ---- a second try (GW-3b) --------------------------------------------------------------------------- */

/* How many requests the engine held when it died: asked for each of them, counted for the first. */
static size_t n_held_beside(struct pm_flight *flight)
{
    struct pm_gateway *gateway = flight->gateway;
    const struct pm_lease *lease = &flight->lease;
    struct pm_link *link;

    if (gateway->dead.pool == lease->pool && gateway->dead.replica == lease->replica &&
        gateway->dead.instance == lease->instance && gateway->n_dead_held)
        return gateway->n_dead_held;

    gateway->dead = *lease;
    gateway->n_dead_held = 0;
    pm_list_each (&gateway->flights, link) {
        const struct pm_flight *other = pm_container_of(link, struct pm_flight, link);

        if ((other->call || other == flight) && other->lease.pool == lease->pool &&
            other->lease.replica == lease->replica && other->lease.instance == lease->instance)
            gateway->n_dead_held++;
    }
    return gateway->n_dead_held;
}

static bool may_retry(struct pm_flight *flight, bool reached)
{
    struct pm_gateway *gateway = flight->gateway;
    const struct pm_config *config = pm_manager_config(gateway->manager);
    uint64_t budget = (uint64_t)(config->retry.budget * (double)gateway->n_flights);

    if (budget < config->retry.minimum)
        budget = config->retry.minimum;
    return flight->exchange && !flight->retried && (!reached || n_held_beside(flight) > 1) &&
           gateway->n_retrying < budget;
}

/*
 * A connection's end is often seen before the process's. Asked at once, core would give the same dead engine again;
 * so the second try waits until that instance is known to be over, but not long: it may have only closed a connection.
 */
static void try_again(struct pm_timer *timer)
{
    struct pm_flight *flight = pm_container_of(timer, struct pm_flight, retry);
    struct pm_manager *manager = flight->gateway->manager;
    struct pm_replica_view view;
    uint64_t now_ms = pm_flight_now(flight);
    bool serves =
        pm_core_replica(pm_manager_core(manager), flight->pool_id, flight->lease.replica, &view) &&
        view.instance == flight->lease.instance && view.state == PM_READY;

    if (serves && now_ms < flight->retry_until_ms)
        pm_timer_set(pm_manager_loop(manager), timer, now_ms + RETRY_LOOK_MS);
    else
        pm_flight_ask(flight);
}

void pm_flight_engine_died(struct pm_flight *flight, bool reached, const char *text)
{
    struct poolmgr_error error = {0};
    bool retry = may_retry(flight, reached);

    flight->call = NULL;
    pm_flight_release(flight, PM_RELEASE_DONE);
    if (retry) {
        flight->retried = flight->retrying = true;
        flight->gateway->n_retrying++;
        pm_flight_counters(flight)->retries++;
        pm_tell_request(flight, PM_EV_REQUEST_RETRIED,
                        "%s lost its engine; a request is tried once more", flight->pool_id);
        flight->phase = FLIGHT_WAITING;
        flight->retry_until_ms = pm_flight_now(flight) + RETRY_WAIT_MS;
        try_again(&flight->retry);
        return;
    }
    (void)pm_fail(&error, POOLMGR_E_ENGINE_CRASHED, "the engine of '%s' died with the request: %s",
                  flight->pool_id, text);
    (void)pm_error_hint(&error, error.code, "poolctl logs %s shows its last words",
                        flight->pool_id);
    pm_tell_ended(flight, &error);
    pm_flight_fail(flight, &error);
}

/* ---- the client leaves ------------------------------------------------------------------------------ */

/* Does this engine stop working on a request when its connection closes (LEASE-2)? */
static bool stops_on_close(const struct pm_flight *flight)
{
    enum pm_cancel cancel = flight->spec->habits.cancel;

    return cancel == PM_CANCEL_ALL || (cancel == PM_CANCEL_STREAMS && flight->stream);
}

void pm_gateway_client_gone(struct pm_flight *flight)
{
    bool running = flight->phase == FLIGHT_CALLING || flight->phase == FLIGHT_STREAMING;

    if (flight->phase == FLIGHT_ENDED)
        return;

    if (flight->phase != FLIGHT_READING) {
        pm_flight_counters(flight)->cancelled++;
        pm_tell_request(flight, PM_EV_REQUEST_CANCELLED, "%s loses a client that %s",
                        flight->pool_id, running ? "was being answered" : "waited");
    }
    if (running && flight->call && !stops_on_close(flight)) {
        pm_http_call_keep_body(flight->call);
        flight->exchange = NULL;
        flight->phase = FLIGHT_DISCARDING;
        pm_manager_abandon(flight->gateway->manager, &flight->ticket);
        if (flight->paused && flight->call)
            pm_http_call_resume(flight->call);
        return;
    }
    flight->exchange = NULL;
    pm_flight_end(flight);
}
