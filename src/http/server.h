/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: listeners, connections, one exchange (request and answer) at a time on each. It frames, bounds
 * and times out; it has never heard of a pool. Loop thread only. Callbacks may call any function here.
 *
 * One exchange: on_head → (body is read: on_body … ) → on_request, then the owner answers, in the same call or
 * later; on_gone comes instead of, or after, any of these when the client left, and then nothing else. After
 * pm_exchange_end() or on_gone the exchange must not be touched.
 */
#ifndef PM_HTTP_SERVER_H
#define PM_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "http/codec.h"
#include "util/error.h"
#include "util/loop.h"

struct pm_http_server;
struct pm_exchange;

/* Limits and times of INTERFACES §3 `limits` and `timeouts`; changed in place by a reload. */
struct pm_http_server_options {
    uint64_t body_max;        /* limits.body */
    uint64_t body_memory;     /* limits.body_memory, over all exchanges */
    uint64_t body_rate;       /* bytes a second, the least mean */
    uint64_t connections_max; /* 0: half of (descriptor limit - 64) */
    uint64_t head_ms, body_idle_ms, write_stall_ms, keep_alive_ms;
};

struct pm_http_handler {
    /* The head is good. Either start to answer (refuse: no byte of the body is then read; the connection closes if
     * one was announced), or return and the body is read. Set exchange->user here. */
    void (*on_head)(struct pm_exchange *exchange, void *ctx);
    /* The next bytes of the body, as they come; they stay in pm_exchange_body(). May answer (refuse). NULL: not wanted. */
    void (*on_body)(struct pm_exchange *exchange, const char *data, size_t n, void *ctx);
    /* The request is whole. */
    void (*on_request)(struct pm_exchange *exchange, void *ctx);
    /* The client is gone (EOF, half-close, reset, write_stall) before the answer was whole. `user` is to be released. */
    void (*on_gone)(struct pm_exchange *exchange, void *ctx);
    /* What was queued has been sent (only after pm_exchange_queued() had been over PM_EXCHANGE_QUEUE_HIGH). */
    void (*on_drained)(struct pm_exchange *exchange, void *ctx);
    /* A malformed request was answered by the server itself (bare status); for counters. May be NULL. */
    void (*on_refused)(int status, void *ctx);
};

#define PM_EXCHANGE_QUEUE_HIGH (64 * 1024) /* stop reading from the other side above this */
#define PM_SERVER_PIPELINE_MAX (64 * 1024) /* bytes read ahead of the running exchange */
#define PM_SERVER_LINGER_MAX   (64 * 1024) /* thrown away after a refusal, or PM_SERVER_LINGER_MS */
#define PM_SERVER_LINGER_MS    2000

/* What a request says; valid until the exchange's end. The head's bytes are kept by the exchange. */
const struct pm_http_head *pm_exchange_head(const struct pm_exchange *exchange);
/* The request id: X-Request-Id when it is good, else one of ours; it is sent with every answer. */
const char *pm_exchange_request_id(const struct pm_exchange *exchange);
/* The body so far, in one or more pieces; released by pm_exchange_drop_body(). */
size_t pm_exchange_body(const struct pm_exchange *exchange, const struct iovec **ret,
                        size_t *ret_n_pieces);
void pm_exchange_drop_body(struct pm_exchange *exchange);
/* The connection came over a Unix socket. */
bool pm_exchange_is_unix(const struct pm_exchange *exchange);
/* The address it came in by, as "127.0.0.1:8080". */
const char *pm_exchange_local(const struct pm_exchange *exchange);
void *pm_exchange_user(const struct pm_exchange *exchange);
void pm_exchange_set_user(struct pm_exchange *exchange, void *user);
struct pm_loop *pm_exchange_loop(const struct pm_exchange *exchange);
bool pm_exchange_answered(
    const struct pm_exchange *exchange); /* the head of the answer was given */

struct pm_http_field {
    const char *name, *value;
};

/*
 * Begins an answer: status and headers are queued, not yet sent, so that head and first bytes leave together.
 * Connection, framing, Date and X-Request-Id are the server's. has_length: exactly `length` bytes will follow;
 * else chunked for 1.1, until-close for 1.0. To HEAD and for 204, 304 what follows is counted and dropped.
 */
void pm_exchange_begin(struct pm_exchange *exchange, int status, const struct pm_http_field *fields,
                       size_t n_fields, bool has_length, uint64_t length);
/* One more header that is not terminated text; between begin and the first send. */
void pm_exchange_add_header(struct pm_exchange *exchange, struct pm_slice name,
                            struct pm_slice value);

/* Sends now what is queued and these bytes, in one system call; what the socket does not take is queued. */
void pm_exchange_send(struct pm_exchange *exchange, const void *data, size_t n);
size_t pm_exchange_queued(const struct pm_exchange *exchange);

/* The answer is whole (last chunk where there are chunks). The next request of the connection may follow. */
void pm_exchange_end(struct pm_exchange *exchange);

/* The answer is broken off and must not look whole: FIN without the last chunk; HTTP/1.0 and until-close: RST. */
void pm_exchange_break(struct pm_exchange *exchange);

/* A whole answer in one call. */
void pm_exchange_respond(struct pm_exchange *exchange, int status,
                         const struct pm_http_field *fields, size_t n_fields, const void *body,
                         size_t n);
/* A bare status: no body, Connection: close. */
void pm_exchange_respond_bare(struct pm_exchange *exchange, int status);
/* The connection is to close after this answer; what follows on it is never parsed. */
void pm_exchange_close_after(struct pm_exchange *exchange);

int pm_http_server_new(struct pm_loop *loop, const struct pm_http_server_options *options,
                       const struct pm_http_handler *handler, void *ctx,
                       struct pm_http_server **ret, struct poolmgr_error *err);
/* For what comes from now on; connections that are there stay. */
void pm_http_server_configure(struct pm_http_server *server,
                              const struct pm_http_server_options *options);
/* Closes everything at once (on_gone for what runs). */
void pm_http_server_free(struct pm_http_server *server);

/* "127.0.0.1:8080", "[::1]:0", "unix:/path" (mode for the socket file). A port in use is POOLMGR_E_CONFLICT and names
 * the holder when it can be known. A dead socket file is replaced. */
int pm_http_server_listen(struct pm_http_server *server, const char *address, unsigned mode,
                          struct poolmgr_error *err);
/* A descriptor of socket activation; it is the server's from now on. */
int pm_http_server_adopt(struct pm_http_server *server, int fd, struct poolmgr_error *err);
/* The i-th listener with its real port, "127.0.0.1:41233"; NULL behind the last. */
const char *pm_http_server_address(const struct pm_http_server *server, size_t i);
void pm_http_server_stop_listening(struct pm_http_server *server);
/* Closes idle connections, answers the running exchanges with Connection: close. */
void pm_http_server_drain(struct pm_http_server *server);

struct pm_http_server_counters {
    uint64_t accepted, connections, requests, refused,
        body_bytes; /* connections, body_bytes: now */
};
void pm_http_server_counters(const struct pm_http_server *server,
                             struct pm_http_server_counters *ret);

#endif
