/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back: interim heads, the real one, and the body behind it, decoded where it lies. */
#include <string.h>

#include "http/call_internal.h"

#define INTERIM_MAX 16 /* 1xx answers before the real one */

static bool announces_body(const struct pm_http_head *head)
{
    return (head->has_length && head->content_length) ||
           pm_http_find(head, "transfer-encoding", NULL);
}

/* The number behind "name=" in a Keep-Alive header; -1: it is not there. */
static long keep_alive_number(struct pm_slice value, const char *name)
{
    const char *at = memmem(value.p, value.n, name, strlen(name)), *end = value.p + value.n;
    long number = 0;

    if (!at)
        return -1;
    for (at += strlen(name); at < end && *at >= '0' && *at <= '9' && number < 100000; at++)
        number = number * 10 + (*at - '0');
    return number;
}

static void read_keep_alive(struct pm_http_call *call, const struct pm_http_head *head)
{
    const struct pm_http_header *header = pm_http_find(head, "keep-alive", NULL);
    long seconds = header ? keep_alive_number(header->value, "timeout=") : -1;

    /* A 204 that announces a body may send it later, into the next answer. */
    call->keep_alive = head->keep_alive && !(head->status == 204 && announces_body(head));
    if ((seconds >= 0 && seconds <= 1) || (header && keep_alive_number(header->value, "max=") == 0))
        call->keep_alive = false;
    call->keep_ms = seconds > 1 ? (uint64_t)(seconds - 1) * 1000 : 0;
}

/* Passes what of these bytes is body; they are decoded where they lie. Bytes behind its end are nobody's. */
void pm_http_call_read_body(struct pm_http_call *call, char *data, size_t n)
{
    size_t n_used = n, n_body = n;
    bool whole = false;
    int r = 0;

    if (call->framing == PM_BODY_CHUNKED) {
        r = pm_http_chunked_decode(&call->chunked, data, n, UINT64_MAX / 2, &n_used, &n_body);
        whole = r == 1;
    } else if (call->framing == PM_BODY_LENGTH) {
        n_used = n_body = n < call->left ? n : (size_t)call->left;
        call->left -= n_body;
        whole = call->left == 0;
    }
    call->stray = n_used < n;
    if (n_body) {
        if (!call->manual_idle)
            call->moved_ms = pm_loop_now_ms(call->client->loop);
        call->handler->on_body(call->ctx, data, n_body);
        if (call->state != CALL_BODY)
            return;
    }
    if (r < 0)
        pm_http_call_fail(call, PM_CALL_BROKEN);
    else if (whole)
        pm_http_call_finish(call);
}

static void take_interim(struct pm_http_call *call, size_t n)
{
    if (call->client->head.status == 101 || ++call->n_interim > INTERIM_MAX) {
        pm_http_call_fail(call, PM_CALL_BAD_ANSWER);
        return;
    }
    pm_buf_consume(&call->in, n);
    memset(&call->scan, 0, sizeof(call->scan));
}

/* An answer that comes early is the engine's last word: what is unsent stays unsent, for the body belongs to its owner
 * again, and the connection is not used again. */
static void stop_sending(struct pm_http_call *call)
{
    if (!call->sending)
        return;
    call->sending = false;
    call->keep_alive = false;
    pm_http_call_watch(call);
}

/* The real head; what came with it of the body follows it at once. */
static void take_head(struct pm_http_call *call, size_t n)
{
    struct pm_http_head *head = &call->client->head;
    struct pm_buf bytes = call->in; /* the head's slices point into it while its owner looks */

    call->in = (struct pm_buf){0};
    call->state = CALL_BODY;
    call->framing = head->framing;
    call->left = head->framing == PM_BODY_LENGTH ? head->content_length : 0;
    call->moved_ms = pm_loop_now_ms(call->client->loop);
    read_keep_alive(call, head);
    stop_sending(call);
    pm_http_call_arm(call);
    call->handler->on_head(call->ctx, head);
    if (call->state == CALL_BODY && call->framing == PM_BODY_NONE) {
        call->stray = bytes.n > n;
        pm_http_call_finish(call);
    } else if (call->state == CALL_BODY && bytes.n > n) {
        pm_http_call_read_body(call, bytes.data + n, bytes.n - n);
    }
    pm_buf_fini(&bytes);
}

void pm_http_call_read_head(struct pm_http_call *call)
{
    while (call->state == CALL_HEAD && call->in.n) {
        long n = pm_http_parse_response(call->in.data, call->in.n, &call->scan, call->method,
                                        &call->client->head);

        if (n == 0)
            return;
        if (n < 0)
            pm_http_call_fail(call, PM_CALL_BAD_ANSWER);
        else if (call->client->head.status < 200)
            take_interim(call, (size_t)n);
        else
            take_head(call, (size_t)n);
    }
}
