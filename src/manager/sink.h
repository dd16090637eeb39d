/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where events go: one JSON line each to stderr (or pretty on a terminal), a ring of the last ones, and the readers
 * of GET /v1/events (NARR-1, NARR-2). A slow reader never slows us. Loop thread only.
 */
#ifndef PM_MANAGER_SINK_H
#define PM_MANAGER_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "util/buf.h"
#include "util/list.h"

#define PM_SINK_RING 1024 /* events kept for `tail` and for slow readers */

struct pm_sink;

struct pm_sink_options {
    int fd; /* where lines go; -1: nowhere */
    bool pretty, colour;
    enum pm_level level; /* the least important that is written to fd */
};

struct pm_sink *pm_sink_new(const struct pm_sink_options *options);
void pm_sink_free(struct pm_sink *sink);
/* Other looks and another level, from the next line on; fd stays. */
void pm_sink_configure(struct pm_sink *sink, const struct pm_sink_options *options);

/* Stamps with the wall clock, writes (never blocks: a full pipe loses lines, which are counted and told), keeps, wakes readers. */
void pm_sink_tell(struct pm_sink *sink, const struct pm_event *event);

/* One event as NARR-1's JSON line without a line end, or as a line for people. Pure; golden-tested. */
void pm_event_json(const struct pm_event *event, uint64_t wall_ms, struct pm_buf *out);
void pm_event_pretty(const struct pm_event *event, uint64_t wall_ms, bool colour,
                     struct pm_buf *out);

/* What is kept. Ids count up from 1. */
struct pm_kept_event {
    uint64_t id;
    const char *name; /* row's name */
    enum pm_level level;
    const char *pool_id; /* "" none */
    const char *json;
};
uint64_t pm_sink_last_id(const struct pm_sink *sink);
/* The first kept event with an id >= `id` (0: the oldest that is kept); *ret_missed (may be NULL) is how many from `id`
 * on are gone. False: none yet. `ret` is valid until the next event. */
bool pm_sink_next(const struct pm_sink *sink, uint64_t id, struct pm_kept_event *ret,
                  uint64_t *ret_missed);

/* fn is called for each event that was kept, within pm_sink_tell(): it only remembers to look, at the end of the turn.
 * It may detach its reader. */
struct pm_sink_reader {
    struct pm_link link;
    void (*fn)(struct pm_sink_reader *reader);
};
void pm_sink_attach(struct pm_sink *sink, struct pm_sink_reader *reader);
void pm_sink_detach(struct pm_sink_reader *reader);

#endif
