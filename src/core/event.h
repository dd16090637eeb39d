/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Significant events (NARR-1): one row of the table in event.c for each name of INTERFACES §5 "Events", and a
 * value of typed fields. Core appends them to its actions, edges hand them to the sink; nothing else logs.
 */
#ifndef PM_CORE_EVENT_H
#define PM_CORE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/spec.h"

enum pm_level { PM_ERROR, PM_WARN, PM_INFO, PM_DEBUG };

enum pm_event_kind {
    PM_EV_DAEMON_STARTED,
    PM_EV_DAEMON_STOPPING,
    PM_EV_CONFIG_APPLIED,
    PM_EV_CONFIG_REFUSED,
    PM_EV_CONFIG_WARNING,
    PM_EV_POOL_ADDED,
    PM_EV_POOL_REMOVED,
    PM_EV_POOL_CHANGED,
    PM_EV_POOL_DISABLED,
    PM_EV_POOL_RESUMED,
    PM_EV_POOL_RESET,
    PM_EV_REQUEST_QUEUED,
    PM_EV_REQUEST_PLACED,
    PM_EV_REQUEST_REFUSED,
    PM_EV_REQUEST_CANCELLED,
    PM_EV_STREAM_STARTED,
    PM_EV_STREAM_ENDED,
    PM_EV_REQUEST_ABANDONED,
    PM_EV_REQUEST_RETRIED,
    PM_EV_MODEL_STAGING,
    PM_EV_MODEL_STAGED,
    PM_EV_MODEL_FAILED,
    PM_EV_START_ABANDONED,
    PM_EV_STORM,
    PM_EV_OOM_STORM,
    PM_EV_INSTANCE_STARTING,
    PM_EV_INSTANCE_READY,
    PM_EV_INSTANCE_SICK,
    PM_EV_INSTANCE_RECOVERED,
    PM_EV_INSTANCE_STALLED,
    PM_EV_INSTANCE_STOPPING,
    PM_EV_INSTANCE_STOPPED,
    PM_EV_INSTANCE_CRASHED,
    PM_EV_INSTANCE_ADOPTED,
    PM_EV_STRAY_KILLED,
    PM_EV_START_FAILED,
    PM_EV_RESTART_DELAYED,
    PM_EV_BREAKER_OPENED,
    PM_EV_BREAKER_HALF_OPEN,
    PM_EV_BREAKER_CLOSED,
    PM_EV_STORE_FAILED,
    PM_EV_DRAIN_STARTED,
    PM_EV_DRAIN_ENDED,
    PM_EV_HANDOFF_ACCEPTED,
    PM_EV_HANDOFF_REFUSED,
    PM_EV_HANDOFF_WITHDRAWN,
    PM_EV_RELOAD_STARTED,
    PM_EV_RELOAD_SWITCHED,
    PM_EV_RELOAD_FAILED,
    PM_EV_RELOAD_ROLLED_BACK,
    PM_EV_EVICT_CLAIMED,
    PM_EV_EVICT_CALLED_OFF,
    PM_EV_EVICTED,
    PM_EV_VRAM_REFUSED,
    PM_EV_VRAM_RETURNED,
    PM_EV_DEVICE_FOUND,
    PM_EV_DEVICE_LOST,
    PM_EV_DEVICE_UNUSABLE,
    PM_EV_DEVICE_SUSPECT,
    PM_EV_DEVICE_QUARANTINED,
    PM_EV_DEVICE_CLEARED,
    PM_EV_XID,
    PM_EV_COUNT
};

/* Which optional fields are set; the names are NARR-1's. */
enum pm_event_field {
    PM_EF_REQUEST_ID = 1 << 0,
    PM_EF_SESSION_ID = 1 << 1,
    PM_EF_POOL_ID = 1 << 2,
    PM_EF_REPLICA_ID = 1 << 3,
    PM_EF_INSTANCE = 1 << 4,
    PM_EF_ENGINE = 1 << 5,
    PM_EF_ENGINE_VERSION = 1 << 6,
    PM_EF_DEVICE = 1 << 7,
    PM_EF_MODEL = 1 << 8,
    PM_EF_QUEUE_POSITION = 1 << 9,
    PM_EF_PREDICTED_START_MS = 1 << 10,
    PM_EF_RETRY_AFTER_MS = 1 << 11,
    PM_EF_BACKOFF_MS = 1 << 12,
    PM_EF_TOKENS_IN = 1 << 13,
    PM_EF_TOKENS_OUT = 1 << 14,
    PM_EF_DECODE_TIME_MS = 1 << 15,
    PM_EF_DURATION_MS = 1 << 16,
    PM_EF_ERROR_CODE = 1 << 17,
    PM_EF_CLASS = 1 << 18,
    PM_EF_PID = 1 << 19,
    PM_EF_EXIT_STATUS = 1 << 20,
    PM_EF_SIGNAL = 1 << 21,
    PM_EF_TEXT =
        1 << 22, /* what an engine or a file said, or all of a cut sentence; never a prompt */
    PM_EF_LISTEN = 1 << 23, /* in `text`, blank-separated; daemon_started only */
    PM_EF_BYTES_SENT = 1 << 24,
    PM_EF_HTTP_STATUS = 1 << 25,
};

#define PM_HUMAN_MAX      100 /* characters (NARR-1) */
#define PM_REQUEST_ID_MAX 128

struct pm_event {
    enum pm_event_kind kind;
    enum pm_level level; /* pm_event_init() takes the row's; may be changed */
    char target[PM_ALIAS_MAX + 1];
    char human[PM_HUMAN_MAX * 4 + 1];
    uint32_t fields; /* enum pm_event_field */
    char request_id[PM_REQUEST_ID_MAX + 1], session_id[PM_REQUEST_ID_MAX + 1];
    char pool_id[PM_ID_MAX + 1];
    unsigned replica_id;
    char instance[PM_ID_MAX + 24];
    char engine[64], engine_version[64], device[64], model[PM_ALIAS_MAX + 1];
    char text[512];
    uint64_t queue_position, predicted_start_ms, retry_after_ms, backoff_ms;
    uint64_t tokens_in, tokens_out, decode_time_ms, duration_ms, bytes_sent;
    int error_code; /* enum poolmgr_status */
    enum pm_class class;
    int pid, exit_status, signal, http_status;
};

/* What is the same for all events of a kind. */
struct pm_event_row {
    const char *name; /* "instance_ready" */
    enum pm_level level;
    const char *actor;  /* "manager" "gateway" "api" "daemon" */
    const char *action; /* "start" */
    const char *when;   /* for docs */
};

const struct pm_event_row *pm_event_row(enum pm_event_kind kind);
const char *pm_level_name(enum pm_level level);
bool pm_level_by_name(const char *name, enum pm_level *ret);

/* Zeroes, sets kind, level and target. */
void pm_event_init(struct pm_event *event, enum pm_event_kind kind, const char *target);

/* Formats `human`, cut at PM_HUMAN_MAX characters with an ellipsis; then all of it is the text, where there is none yet. */
void pm_event_human(struct pm_event *event, const char *format, ...)
    __attribute__((__format__(__printf__, 2, 3)));

/* Makes one line of valid UTF-8 of what an engine, a file or a client said: control characters become blanks, bytes
 * that are no UTF-8 question marks, and a character that was cut at the end is dropped. */
void pm_text_clean(char *text);

/* Setters that also mark the field. */
void pm_event_pool(struct pm_event *event, const char *pool_id);
void pm_event_replica(struct pm_event *event, unsigned replica, uint64_t instance);
void pm_event_request(struct pm_event *event, const char *request_id);
void pm_event_text(struct pm_event *event, const char *text);

#endif
