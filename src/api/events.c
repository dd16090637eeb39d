/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as they happen (NARR-2). A reader has no queue of its own: it remembers how far it is in the sink's ring and
 * takes what is there when its client has room. So a slow client costs nothing, and what the ring lost meanwhile is
 * told to it as a number. New events are looked at once a turn, however many there were.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "util/cleanup.h"
#include "util/str.h"

#define COMMENT_EVERY_MS 15000
#define TAIL_DEFAULT     50

struct reader {
    struct pm_call *call;
    struct pm_sink *sink;
    struct pm_sink_reader announced;
    struct pm_task look; /* at the end of the turn */
    struct pm_timer comment;
    uint64_t next; /* id */
    char pool_id[PM_ID_MAX + 1];
    enum pm_level level;
    bool follow, over; /* over: the call is gone, only `look` may still hold us */
};

static bool passes(const struct reader *reader, const struct pm_kept_event *event)
{
    return event->level <= reader->level &&
           (!reader->pool_id[0] || strcmp(event->pool_id, reader->pool_id) == 0);
}

static void add_missed(struct pm_buf *out, uint64_t count)
{
    if (count > 0)
        pm_buf_addf(out, "event: missed\ndata: {\"count\":%" PRIu64 "}\n\n", count);
}

/* Sends what is there, until the client's queue is full. False: nothing more will come. */
static bool pump(struct reader *reader)
{
    struct pm_exchange *exchange = reader->call->exchange;
    pm_auto_buf struct pm_buf out = {0};
    struct pm_kept_event event;
    uint64_t missed;

    while (pm_exchange_queued(exchange) + out.n < PM_EXCHANGE_QUEUE_HIGH &&
           pm_sink_next(reader->sink, reader->next, &event, &missed)) {
        add_missed(&out, missed);
        reader->next = event.id + 1;
        if (passes(reader, &event))
            pm_buf_addf(&out, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", event.id, event.name,
                        event.json);
    }
    if (out.n > 0)
        pm_exchange_send(exchange, out.data, out.n);
    return reader->follow || reader->next <= pm_sink_last_id(reader->sink);
}

/* The exchange may go within a send: then `over` is set, and this is all that is left to free. */
static void look(struct pm_task *task)
{
    struct reader *reader = pm_container_of(task, struct reader, look);

    if (reader->over) {
        free(reader);
        return;
    }
    if (!pump(reader) && !reader->over)
        pm_call_end_stream(reader->call);
}

static void look_later(struct reader *reader)
{
    pm_loop_later(pm_manager_loop(reader->call->api->manager), &reader->look);
}

static void on_announced(struct pm_sink_reader *announced)
{
    look_later(pm_container_of(announced, struct reader, announced));
}

static void on_drained(struct pm_call *call)
{
    look_later(call->state);
}

static void on_comment(struct pm_timer *timer)
{
    struct reader *reader = pm_container_of(timer, struct reader, comment);
    struct pm_loop *loop = pm_manager_loop(reader->call->api->manager);

    pm_timer_set(loop, timer, pm_loop_now_ms(loop) + COMMENT_EVERY_MS);
    if (pm_exchange_queued(reader->call->exchange) == 0)
        pm_exchange_send(reader->call->exchange, ":\n\n", 3);
}

/* Freed at the end of a turn, when no announcement can be under way. */
static void release(struct pm_call *call)
{
    struct reader *reader = call->state;

    pm_sink_detach(&reader->announced);
    pm_timer_clear(&reader->comment);
    reader->over = true;
    look_later(reader);
    reader->call = NULL;
}

/* The id of the event with which a tail of n begins. */
static uint64_t tail_start(const struct reader *reader, uint64_t n)
{
    uint64_t at = pm_sink_last_id(reader->sink) + 1;
    struct pm_kept_event event;
    uint64_t missed;

    for (uint64_t id = at - 1; n > 0 && id > 0; id--) {
        if (!pm_sink_next(reader->sink, id, &event, &missed) || missed > 0)
            break;
        if (passes(reader, &event)) {
            at = id;
            n--;
        }
    }
    return at;
}

static int read_query(struct pm_call *call, struct reader *reader, uint64_t *tail,
                      struct poolmgr_error *err)
{
    const char *level = pm_query_get(&call->query, "level");
    const char *pool = pm_query_get(&call->query, "pool");
    const struct pm_manager *manager = call->api->manager;
    struct pm_pool_view view;
    int r;

    r = pm_query_uint(&call->query, "tail", PM_SINK_RING, tail, err);
    if (r == 0)
        r = pm_query_flag(&call->query, "follow", &reader->follow, err);
    if (r < 0)
        return r;

    if (level && *level && !pm_level_by_name(level, &reader->level)) {
        (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                      "'level' must be error, warn, info or debug, not '%.32s'", level);
        return pm_error_param(err, POOLMGR_E_INVALID_REQUEST, "level");
    }
    if (!pool || !*pool)
        return 0;
    if (!pm_str_copy(reader->pool_id, sizeof(reader->pool_id), pool) ||
        !pm_core_pool(pm_manager_core(manager), pool, pm_manager_now(manager), &view)) {
        (void)pm_fail(err, POOLMGR_E_NOT_FOUND, "there is no pool '%.64s'", pool);
        return pm_error_param(err, POOLMGR_E_NOT_FOUND, "pool");
    }
    return 0;
}

static void say_hello(struct reader *reader)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_buf_addf(&out, "event: hello\ndata: {\"snapshot_version\":%" PRIu64 "}\n\n",
                pm_core_snapshot_version(pm_manager_core(reader->call->api->manager)));
    pm_exchange_send(reader->call->exchange, out.data, out.n);
}

void pm_events_stream(struct pm_call *call)
{
    struct pm_loop *loop = pm_manager_loop(call->api->manager);
    struct reader *reader = pm_xalloc(sizeof(*reader));
    struct poolmgr_error err = {0};
    uint64_t tail = TAIL_DEFAULT;

    reader->call = call;
    reader->sink = pm_manager_sink(call->api->manager);
    reader->level = PM_DEBUG;
    reader->follow = true;
    if (read_query(call, reader, &tail, &err) < 0) {
        free(reader);
        pm_call_error(call, &err);
        return;
    }

    reader->next = tail_start(reader, tail);
    reader->announced.fn = on_announced;
    reader->look.fn = look;
    reader->comment.fn = on_comment;
    pm_sink_attach(reader->sink, &reader->announced);
    pm_timer_set(loop, &reader->comment, pm_loop_now_ms(loop) + COMMENT_EVERY_MS);
    call->state = reader;
    call->gone = release;
    call->drained = on_drained;

    if (!pm_call_begin_stream(call, "text/event-stream"))
        return;
    look_later(reader);
    say_hello(reader);
}
