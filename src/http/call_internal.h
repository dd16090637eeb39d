/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a call share: callstate.c is below callanswer.c, and both are below call.c. Not for other rooms. */
#ifndef PM_HTTP_CALL_INTERNAL_H
#define PM_HTTP_CALL_INTERNAL_H

#include "http/client_internal.h"
#include "util/buf.h"

enum call_state {
    CALL_BEGIN,
    CALL_CONNECTING,
    CALL_WAITING, /* for room in a full listen queue */
    CALL_HEAD,
    CALL_BODY,
    CALL_OVER,
};

struct pm_http_call {
    struct pm_http_client *client;
    struct pm_endpoint *endpoint;
    const struct pm_http_call_handler *handler;
    void *ctx;
    enum pm_http_method method;
    enum call_state state;
    struct pm_task begin_task, free_task;
    struct pm_watch watch; /* fd -1: no connection */
    struct pm_timer timer;
    uint64_t begun_ms,
        moved_ms;      /* of the call; of the connect, then the last sign of life in the body */
    uint64_t again_ms; /* of the next try to connect */
    uint64_t first_byte_ms, stream_idle_ms;
    bool fresh, reused, replayed, retried_connect, manual_idle, paused, gone_quiet;
    bool reached; /* a kept connection may have brought it to the engine before it was lost */

    /* sending */
    struct pm_buf head;
    const struct iovec *body;
    size_t n_body;
    struct iovec kept;    /* a copy of the body, when its owner let it go */
    uint64_t total, sent; /* bytes of head and body */
    bool sending;

    /* receiving */
    struct pm_buf in;
    struct pm_http_scan scan;
    struct pm_http_chunked chunked;
    enum pm_http_framing framing;
    uint64_t left;
    unsigned n_interim;
    bool keep_alive, stray;
    uint64_t keep_ms; /* how long the engine keeps an idle connection */
};

/* The end of its connection; and of the call, which its owner is told. */
void pm_http_call_disconnect(struct pm_http_call *call);
void pm_http_call_fail(struct pm_http_call *call, enum pm_call_error error);
void pm_http_call_fail_connect(struct pm_http_call *call, enum pm_call_error error);
void pm_http_call_finish(struct pm_http_call *call);

uint64_t pm_http_call_connect_deadline(const struct pm_http_call *call);
uint64_t pm_http_call_deadline(const struct pm_http_call *call);
void pm_http_call_arm(struct pm_http_call *call);
/* For what it wants now. */
void pm_http_call_watch(struct pm_http_call *call);

/* What is in `in`, and what of the body has just come. The call may have ended behind either. */
void pm_http_call_read_head(struct pm_http_call *call);
void pm_http_call_read_body(struct pm_http_call *call, char *data, size_t n);

#endif
