/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request under way; for the files of gateway/ only. A flight is in one phase at a time, and ends in one place
 * (pm_flight_end), which gives back whatever it holds.
 *
 *   READING → WAITING → CALLING → STREAMING → (ended)
 *                 ↑________|          |
 *                 a retry          DISCARDING: the client is gone, the engine's answer is read to its end
 */
#ifndef PM_GATEWAY_FLIGHT_H
#define PM_GATEWAY_FLIGHT_H

#include "gateway/gateway.h"
#include "gateway/placement.h"
#include "gateway/usage.h"
#include "http/scanner.h"
#include "http/sse.h"
#include "util/buf.h"
#include "util/list.h"
#include "util/map.h"

enum flight_phase {
    FLIGHT_READING,    /* the body comes in */
    FLIGHT_WAITING,    /* in core's queue */
    FLIGHT_CALLING,    /* granted; the engine has not answered yet */
    FLIGHT_STREAMING,  /* the engine's head was passed on */
    FLIGHT_DISCARDING, /* the client is gone */
    FLIGHT_ENDED,
};

struct pm_gateway {
    struct pm_manager *manager;
    struct pm_list flights; /* oldest first */
    size_t n_flights, n_retrying;
    struct pm_map counters; /* pool id → struct pm_gateway_counters */
    struct pm_list all_counters;
    /* The engine that died last, and how many requests it held then (GW-3b). */
    struct pm_lease dead;
    size_t n_dead_held;
};

struct pm_flight {
    struct pm_link link;
    struct pm_gateway *gateway;
    struct pm_exchange *exchange; /* NULL: the client is gone */
    struct pm_ticket ticket;
    enum flight_phase phase;
    struct pm_http_call *call;
    struct pm_task free_task;

    /* the request */
    char path[128];
    char request_id[PM_REQUEST_ID_MAX + 1], session_id[PM_REQUEST_ID_MAX + 1];
    char route[PM_ALIAS_MAX + 1];
    char pool_id[PM_ID_MAX + 1]; /* "" until it is known */
    enum pm_priority priority;
    struct pm_placement_header *placement; /* NULL: nothing is wished for */
    uint64_t deadline_ms;                  /* X-Deadline-Ms; 0 none */
    bool stream;
    bool has_keep_alive;
    uint64_t keep_alive_ms;
    struct pm_scan_range model_value, keep_alive_member;
    struct pm_scanner *scanner; /* while READING */
    struct iovec *pieces;       /* the body as it goes to the engine */
    size_t n_pieces;
    char *model_text; /* what replaces the model's name; NULL: nothing */
    uint64_t arrived_ms, granted_ms, first_token_ms;

    /* the try */
    struct pm_pool_spec *spec; /* a reference, from the first grant on */
    struct pm_lease lease;
    char engine_version[64];
    bool holds_lease; /* the ticket is granted and not given back */
    bool retrying, retried;
    bool waited;
    uint64_t queue_position, waited_ms;
    uint64_t predicted_ms; /* refused by the queue: how long it had to wait; 0: nobody knows */

    /* the answer */
    bool committed; /* 200 and comments went out while it waited */
    bool sse, until_close, paused;
    int status;
    uint64_t bytes_sent;
    struct pm_sse events;
    struct pm_buf held; /* of an unfinished event */
    struct pm_usage_tail usage;
    struct pm_usage told; /* of the whole answer; read once, when it is there */
    bool usage_read;
    struct pm_timer loading;
    struct pm_timer retry; /* between a lost engine and the second try */
    uint64_t retry_until_ms;
};

/* flight.c */
void pm_flight_end(struct pm_flight *flight);
/* Ends it towards the client: the error object, an error event, or a cut connection, whatever still fits. */
void pm_flight_fail(struct pm_flight *flight, const struct poolmgr_error *error);
/* Gives the lease back, if it holds one. */
void pm_flight_release(struct pm_flight *flight, enum pm_release how);
/* Asks core for a slot, for the first or the second time. */
void pm_flight_ask(struct pm_flight *flight);
/* The engine died with it before its answer began: once more, or 502 (GW-3b). `reached`: the request may have been
 * what killed it. */
void pm_flight_engine_died(struct pm_flight *flight, bool reached, const char *text);
struct pm_gateway_counters *pm_flight_counters(struct pm_flight *flight);
uint64_t pm_flight_now(const struct pm_flight *flight);

/* forward.c */
void pm_flight_call(struct pm_flight *flight, const struct pm_grant *grant);

/* answer.c */
extern const struct pm_http_call_handler pm_answer_handler;
/* The event that ends a broken stream: only at a boundary, then FIN without the last chunk (GW-3a). */
void pm_answer_break(struct pm_flight *flight, const struct poolmgr_error *error);
/* A refusal with the headers that every answer has. */
void pm_answer_refuse(const struct pm_flight *flight, struct pm_exchange *exchange,
                      const struct poolmgr_error *error);
/* `: loading` for a stream that waits (GW-4). */
void pm_answer_loading(struct pm_timer *timer);

/* answer.c: what the engine said of its work */
const struct pm_usage *pm_flight_usage(struct pm_flight *flight);

/* tell.c */
void pm_tell_ended(struct pm_flight *flight, const struct poolmgr_error *error);
void pm_tell_request(struct pm_flight *flight, enum pm_event_kind kind, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

#endif
