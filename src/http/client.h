/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client towards engines: one request on one connection, kept ones in a small LIFO per endpoint. Strict
 * towards answers (hostile-cases H-50 to H-62). Loop thread only. Never follows, never retries by itself, but for
 * one replay of a stale kept connection and one more try of a refused connect (GW-3b).
 */
#ifndef PM_HTTP_CLIENT_H
#define PM_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "http/codec.h"
#include "util/error.h"
#include "util/loop.h"

struct pm_http_client; /* all endpoints */
struct pm_http_call;

struct pm_http_client_options {
    unsigned idle_max; /* kept connections an endpoint: 4 */
    uint64_t idle_ms;  /* how long one is kept: 2000; less when the engine's Keep-Alive says so */
    uint64_t connect_ms, first_byte_ms, stream_idle_ms;
};

enum pm_call_error {
    PM_CALL_REFUSED,     /* nobody listens; the request reached nobody */
    PM_CALL_CONNECT,     /* connect_ms passed, or no route; it reached nobody */
    PM_CALL_NO_ANSWER,   /* closed or reset before the first byte of an answer */
    PM_CALL_BAD_ANSWER,  /* not HTTP as we allow it; before the head was passed */
    PM_CALL_FIRST_BYTE,  /* first_byte_ms passed without a whole head */
    PM_CALL_BROKEN,      /* closed, reset or malformed inside the body */
    PM_CALL_STREAM_IDLE, /* stream_idle_ms passed inside the body */
};
const char *pm_call_error_text(enum pm_call_error error);

/* Exactly one of on_end and on_error ends a call, unless pm_http_call_cancel() does. The call is gone after it. */
struct pm_http_call_handler {
    /* The final head (1xx are skipped). Its slices are valid during the call only. */
    void (*on_head)(void *ctx, const struct pm_http_head *head);
    /* Bytes of the body without framing; may be called often. */
    void (*on_body)(void *ctx, const char *data, size_t n);
    void (*on_end)(void *ctx);
    void (*on_error)(void *ctx, enum pm_call_error error, const char *text);
};

int pm_http_client_new(struct pm_loop *loop, const struct pm_http_client_options *options,
                       struct pm_http_client **ret, struct poolmgr_error *err);
void pm_http_client_free(struct pm_http_client *client); /* calls must have ended */
/* For calls that begin from now on. */
void pm_http_client_configure(struct pm_http_client *client,
                              const struct pm_http_client_options *options);

/*
 * Begins a request; never calls back before it returns. `head` is the whole head, request line to empty line, copied.
 * The pieces of the body are borrowed until on_head or the end of the call; what is unsent at on_head stays unsent. `endpoint` is
 * "unix:/path" or "http://127.0.0.1:port" (numeric). fresh: never a kept connection.
 */
struct pm_http_call *pm_http_call_new(struct pm_http_client *client, const char *endpoint,
                                      enum pm_http_method method, const char *head, size_t n_head,
                                      const struct iovec *body, size_t n_pieces, bool fresh,
                                      const struct pm_http_call_handler *handler, void *ctx);

/* Whether a text is an endpoint: "unix:/path" of at most 107 bytes, or "http://a.b.c.d:port" and nothing behind it. */
bool pm_http_endpoint_valid(const char *endpoint);

/* Back-pressure: no byte of the body is read until resumed. */
void pm_http_call_pause(struct pm_http_call *call);
void pm_http_call_resume(struct pm_http_call *call);

/* The owner is about to free the body, but the answer is still wanted: the call copies what it has not sent yet. It is
 * not replayed after this. */
void pm_http_call_keep_body(struct pm_http_call *call);

/* A sign of life that moves stream_idle and first_byte (a whole SSE event; comments do not move it). Called by the
 * owner of SSE streams, who must have said manual_idle; else each byte moves it. */
void pm_http_call_manual_idle(struct pm_http_call *call);
void pm_http_call_touch(struct pm_http_call *call);

/* Other times than the client's: 0 keeps that one. */
void pm_http_call_limits(struct pm_http_call *call, uint64_t first_byte_ms,
                         uint64_t stream_idle_ms);

/* Closes the connection; no callback follows. */
void pm_http_call_cancel(struct pm_http_call *call);

/* Drops the kept connections of an endpoint whose engine is gone. */
void pm_http_client_forget(struct pm_http_client *client, const char *endpoint);

#endif
