/* SPDX-License-Identifier: Apache-2.0 */
/* What a call is whatever it does: how long it may take, what its connection is watched for, and how it ends. */
#include <stdlib.h>
#include <unistd.h>

#include "http/call_internal.h"

const char *pm_call_error_text(enum pm_call_error error)
{
    static const char *const texts[] = {
        [PM_CALL_REFUSED] = "nobody listens",
        [PM_CALL_CONNECT] = "no connection in time",
        [PM_CALL_NO_ANSWER] = "the connection ended before an answer",
        [PM_CALL_BAD_ANSWER] = "sent an answer that is not HTTP as it must be",
        [PM_CALL_FIRST_BYTE] = "no answer in time",
        [PM_CALL_BROKEN] = "the answer was broken off",
        [PM_CALL_STREAM_IDLE] = "the answer stopped coming",
    };

    return texts[error];
}

/* ---- the end of a call ------------------------------------------------------------------------------ */

static void free_call(struct pm_task *task)
{
    struct pm_http_call *call = pm_container_of(task, struct pm_http_call, free_task);

    pm_buf_fini(&call->head);
    pm_buf_fini(&call->in);
    free(call->kept.iov_base);
    free(call);
}

void pm_http_call_disconnect(struct pm_http_call *call)
{
    if (call->watch.fd < 0)
        return;
    pm_watch_remove(&call->watch);
    (void)close(call->watch.fd);
    call->watch.fd = -1;
}

static void end_call(struct pm_http_call *call)
{
    call->state = CALL_OVER;
    pm_http_call_disconnect(call);
    pm_timer_clear(&call->timer);
    pm_list_remove(&call->begin_task.link);
    call->endpoint->n_calls--;
    pm_endpoint_free_when_unused(call->endpoint);
    call->free_task.fn = free_call;
    pm_loop_later(call->client->loop, &call->free_task);
}

void pm_http_call_cancel(struct pm_http_call *call)
{
    if (call->state != CALL_OVER)
        end_call(call);
}

void pm_http_call_fail(struct pm_http_call *call, enum pm_call_error error)
{
    end_call(call);
    call->handler->on_error(call->ctx, error, pm_call_error_text(error));
}

/* Nobody is there; but who was reached before may have died of it. */
void pm_http_call_fail_connect(struct pm_http_call *call, enum pm_call_error error)
{
    pm_http_call_fail(call, call->reached ? PM_CALL_NO_ANSWER : error);
}

void pm_http_call_finish(struct pm_http_call *call)
{
    bool reusable = call->keep_alive && !call->stray && call->sent == call->total &&
                    call->framing != PM_BODY_UNTIL_CLOSE && !call->gone_quiet;

    if (reusable && !call->endpoint->forgotten) {
        pm_watch_remove(&call->watch);
        pm_endpoint_keep(call->endpoint, call->watch.fd, call->keep_ms);
        call->watch.fd = -1;
    }
    end_call(call);
    call->handler->on_end(call->ctx);
}

/* ---- time ------------------------------------------------------------------------------------------- */

uint64_t pm_http_call_connect_deadline(const struct pm_http_call *call)
{
    return call->moved_ms + call->client->options.connect_ms;
}

uint64_t pm_http_call_deadline(const struct pm_http_call *call)
{
    switch (call->state) {
    case CALL_CONNECTING: return pm_http_call_connect_deadline(call);
    case CALL_WAITING: return call->again_ms;
    case CALL_HEAD: return call->begun_ms + call->first_byte_ms;
    case CALL_BODY: return call->paused ? PM_NEVER : call->moved_ms + call->stream_idle_ms;
    default: return PM_NEVER;
    }
}

void pm_http_call_arm(struct pm_http_call *call)
{
    uint64_t due_ms = pm_http_call_deadline(call);

    if (!pm_heap_contains(&call->timer.node) || due_ms < call->timer.node.key)
        pm_timer_set(call->client->loop, &call->timer, due_ms);
}

void pm_http_call_manual_idle(struct pm_http_call *call)
{
    call->manual_idle = true;
}

void pm_http_call_touch(struct pm_http_call *call)
{
    call->moved_ms = pm_loop_now_ms(call->client->loop);
}

void pm_http_call_limits(struct pm_http_call *call, uint64_t first_byte_ms, uint64_t stream_idle_ms)
{
    if (first_byte_ms)
        call->first_byte_ms = first_byte_ms;
    if (stream_idle_ms)
        call->stream_idle_ms = stream_idle_ms;
}

void pm_http_call_watch(struct pm_http_call *call)
{
    uint32_t events = call->paused ? (uint32_t)EPOLLRDHUP : (uint32_t)(EPOLLIN | EPOLLRDHUP);

    if (call->gone_quiet && call->paused)
        events = 0; /* it is gone and its last bytes wait: level-triggered events would spin */
    if (call->sending)
        events |= EPOLLOUT;
    if (call->state == CALL_HEAD || call->state == CALL_BODY)
        pm_watch_set(&call->watch, events);
}
