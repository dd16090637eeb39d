/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of events. What is the same for all events of a kind stands in its row: the name readers filter by, the
 * level, who acts and on what. What differs is in the value: typed fields that a mask marks as set, and one sentence
 * for people, cut at PM_HUMAN_MAX characters so that a line stays a line.
 */
#include "core/event.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/str.h"

#define ROW(kind, name, level, actor, action, when)                                                \
    [PM_EV_##kind] = {name, level, actor, action, when}

static const struct pm_event_row rows[] = {
    ROW(DAEMON_STARTED, "daemon_started", PM_INFO, "daemon", "start",
        "the daemon serves; `listen` has the real ports"),
    ROW(DAEMON_STOPPING, "daemon_stopping", PM_INFO, "daemon", "stop",
        "the daemon was asked to stop or to leave"),
    ROW(CONFIG_APPLIED, "config_applied", PM_INFO, "daemon", "configure",
        "a configuration is in force"),
    ROW(CONFIG_REFUSED, "config_refused", PM_ERROR, "daemon", "configure",
        "a configuration has errors; nothing of it is applied"),
    ROW(CONFIG_WARNING, "config_warning", PM_WARN, "daemon", "configure",
        "a setting has no effect, or not the one expected"),
    ROW(POOL_ADDED, "pool_added", PM_DEBUG, "manager", "add", "a pool came into being"),
    ROW(POOL_REMOVED, "pool_removed", PM_INFO, "manager", "remove", "a pool is gone"),
    ROW(POOL_CHANGED, "pool_changed", PM_INFO, "manager", "change",
        "settings of a pool that its engine does not see are changed in place"),
    ROW(POOL_DISABLED, "pool_disabled", PM_INFO, "manager", "drain",
        "a pool is drained and stays at rest until it is resumed"),
    ROW(POOL_RESUMED, "pool_resumed", PM_INFO, "manager", "resume",
        "a pool serves again, by an operator's will"),
    ROW(POOL_RESET, "pool_reset", PM_INFO, "manager", "reset",
        "an operator reset failures or breaker of a pool"),
    ROW(REQUEST_QUEUED, "request_queued", PM_INFO, "manager", "admit",
        "a request waits; at info only the first one that waits for a start, else at debug"),
    ROW(REQUEST_PLACED, "request_placed", PM_DEBUG, "manager", "place",
        "a request that waited has a slot"),
    ROW(REQUEST_REFUSED, "request_refused", PM_WARN, "manager", "refuse",
        "a request ends without an engine; `error_code` says why"),
    ROW(REQUEST_CANCELLED, "request_cancelled", PM_INFO, "gateway", "cancel",
        "a client left before its answer ended"),
    ROW(STREAM_STARTED, "stream_started", PM_DEBUG, "gateway", "stream",
        "the first byte of an answer is on its way"),
    ROW(STREAM_ENDED, "stream_ended", PM_INFO, "gateway", "stream",
        "an answer ended; plain answers too"),
    ROW(REQUEST_ABANDONED, "request_abandoned", PM_INFO, "gateway", "abandon",
        "a client left and its answer is read to its end for nobody"),
    ROW(REQUEST_RETRIED, "request_retried", PM_WARN, "gateway", "retry",
        "a request is sent once more, before its first byte"),
    ROW(MODEL_STAGING, "model_staging", PM_DEBUG, "manager", "stage",
        "a model's files are checked or fetched"),
    ROW(MODEL_STAGED, "model_staged", PM_DEBUG, "manager", "stage",
        "a model's files are there and good"),
    ROW(MODEL_FAILED, "model_failed", PM_ERROR, "manager", "stage",
        "a model's files are missing or not good"),
    ROW(START_ABANDONED, "start_abandoned", PM_INFO, "manager", "stop",
        "a start is given up because nobody waits for it any more"),
    ROW(STORM, "storm", PM_ERROR, "manager", "restart",
        "a replica failed so often in a row that its breaker opened"),
    ROW(OOM_STORM, "oom_storm", PM_ERROR, "manager", "restart",
        "the failures of a storm were all out of memory"),
    ROW(INSTANCE_STARTING, "instance_starting", PM_INFO, "manager", "start",
        "an engine is launched"),
    ROW(INSTANCE_READY, "instance_ready", PM_INFO, "manager", "start",
        "an engine is ready and takes requests"),
    ROW(INSTANCE_SICK, "instance_sick", PM_WARN, "manager", "probe",
        "an engine does not answer its health probes"),
    ROW(INSTANCE_RECOVERED, "instance_recovered", PM_INFO, "manager", "probe",
        "a sick engine answers again"),
    ROW(INSTANCE_STALLED, "instance_stalled", PM_ERROR, "manager", "stop",
        "an engine shows no sign of life, or answers nobody"),
    ROW(INSTANCE_STOPPING, "instance_stopping", PM_INFO, "manager", "stop",
        "an engine is told to stop"),
    ROW(INSTANCE_STOPPED, "instance_stopped", PM_INFO, "manager", "stop",
        "an engine and all its children are gone, as planned"),
    ROW(INSTANCE_CRASHED, "instance_crashed", PM_ERROR, "manager", "restart",
        "a ready engine ended by itself, or had to be ended"),
    ROW(INSTANCE_ADOPTED, "instance_adopted", PM_INFO, "manager", "adopt",
        "an engine of a former daemon is taken over"),
    ROW(STRAY_KILLED, "stray_killed", PM_WARN, "manager", "kill",
        "a left-over process of a dead engine is killed"),
    ROW(START_FAILED, "start_failed", PM_ERROR, "manager", "start",
        "an engine did not become ready"),
    ROW(RESTART_DELAYED, "restart_delayed", PM_WARN, "manager", "restart",
        "the next start waits, after failures in a row"),
    ROW(BREAKER_OPENED, "breaker_opened", PM_ERROR, "manager", "breaker",
        "a replica is not started any more without a reason and a delay"),
    ROW(BREAKER_HALF_OPEN, "breaker_half_open", PM_INFO, "manager", "breaker",
        "one trial start is under way"),
    ROW(BREAKER_CLOSED, "breaker_closed", PM_INFO, "manager", "breaker",
        "a replica is trusted again"),
    ROW(STORE_FAILED, "store_failed", PM_ERROR, "manager", "store",
        "something could not be stored, or what was stored cannot be read"),
    ROW(DRAIN_STARTED, "drain_started", PM_INFO, "manager", "drain",
        "a pool takes no new requests; those that run may finish"),
    ROW(DRAIN_ENDED, "drain_ended", PM_INFO, "manager", "drain",
        "a drain is over, or was given up; `error_code` says why"),
    ROW(HANDOFF_ACCEPTED, "handoff_accepted", PM_INFO, "manager", "register",
        "an engine that somebody else started is registered"),
    ROW(HANDOFF_REFUSED, "handoff_refused", PM_ERROR, "manager", "register",
        "a handoff is not good, or its engine does not answer; nothing changed"),
    ROW(HANDOFF_WITHDRAWN, "handoff_withdrawn", PM_INFO, "manager", "withdraw",
        "a handoff is taken back: its engine gets nothing new, and goes on by itself"),
    ROW(RELOAD_STARTED, "reload_started", PM_INFO, "manager", "reload",
        "a pool shall run another model, engine or setting"),
    ROW(RELOAD_SWITCHED, "reload_switched", PM_INFO, "manager", "reload",
        "the new one serves; who still runs on the former one may finish"),
    ROW(RELOAD_FAILED, "reload_failed", PM_ERROR, "manager", "reload",
        "a reload ended and nothing changed"),
    ROW(RELOAD_ROLLED_BACK, "reload_rolled_back", PM_ERROR, "manager", "reload",
        "a reload failed and what served before was started again"),
    ROW(EVICT_CLAIMED, "evict_claimed", PM_INFO, "manager", "evict",
        "a busy pool takes nothing new: another needs its room on a device"),
    ROW(EVICT_CALLED_OFF, "evict_called_off", PM_INFO, "manager", "evict",
        "it takes requests again: the other needs its room no more"),
    ROW(EVICTED, "evicted", PM_INFO, "manager", "evict",
        "an engine is told to stop, so that another has room on a device"),
    ROW(VRAM_REFUSED, "vram_refused", PM_INFO, "manager", "plan",
        "a start waits for room on a device"),
    ROW(VRAM_RETURNED, "vram_returned", PM_DEBUG, "manager", "stop",
        "the memory of an engine that ended is back, or is not waited for any more"),
    ROW(DEVICE_FOUND, "device_found", PM_INFO, "manager", "look", "a device may be used"),
    ROW(DEVICE_LOST, "device_lost", PM_ERROR, "manager", "look",
        "a device is lost or must be reset: its engines are stopped"),
    ROW(DEVICE_UNUSABLE, "device_unusable", PM_ERROR, "manager", "look",
        "nothing new starts on a device: its driver does not answer, does not match, or refuses"),
    ROW(DEVICE_SUSPECT, "device_suspect", PM_ERROR, "manager", "look",
        "memory of a dead engine did not come back; nothing starts there"),
    ROW(DEVICE_QUARANTINED, "device_quarantined", PM_ERROR, "manager", "quarantine",
        "driver errors of several pools; nothing starts there for a while"),
    ROW(DEVICE_CLEARED, "device_cleared", PM_INFO, "manager", "quarantine",
        "a device that was quarantined or suspect may be used again"),
    ROW(XID, "xid", PM_WARN, "manager", "look", "a driver tells an error under an engine"),
};
static_assert(PM_ARRAY_LEN(rows) == PM_EV_COUNT, "an event has no row");

static const char *const level_names[] = {
    [PM_ERROR] = "error",
    [PM_WARN] = "warn",
    [PM_INFO] = "info",
    [PM_DEBUG] = "debug",
};

const struct pm_event_row *pm_event_row(enum pm_event_kind kind)
{
    assert(kind < PM_EV_COUNT);
    return &rows[kind];
}

const char *pm_level_name(enum pm_level level)
{
    return (size_t)level < PM_ARRAY_LEN(level_names) ? level_names[level] : "";
}

bool pm_level_by_name(const char *name, enum pm_level *ret)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(level_names); i++) {
        if (strcmp(level_names[i], name) == 0) {
            *ret = (enum pm_level)i;
            return true;
        }
    }
    return false;
}

static size_t length_of_utf8(unsigned char lead)
{
    if (lead >= 0xf0)
        return 4;
    return lead >= 0xe0 ? 3 : 2;
}

/* A character that begins here and was cut by the end of the text. */
static bool is_cut(const char *p, size_t n)
{
    size_t n_left = strlen(p);

    for (size_t i = 1; i < n_left; i++) {
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return false;
    }
    return (unsigned char)p[0] >= 0xc2 && (unsigned char)p[0] <= 0xf4 && n_left < n;
}

void pm_text_clean(char *text)
{
    for (char *p = text; *p;) {
        unsigned char c = (unsigned char)*p;
        size_t n = length_of_utf8(c);

        if (c < 0x80) {
            *p = c < 0x20 || c == 0x7f ? ' ' : *p;
            p++;
        } else if (strnlen(p, n) == n && pm_utf8_valid(p, n)) {
            p += n;
        } else if (is_cut(p, n)) {
            *p = '\0';
        } else {
            *p++ = '?';
        }
    }
}

/* The last of PM_HUMAN_MAX characters of UTF-8, where there are more; NULL: there are not. */
static char *find_cut(char *text)
{
    size_t n_characters = 0;
    char *last = text;

    for (char *p = text; *p; p++) {
        if (((unsigned char)*p & 0xc0) == 0x80)
            continue;
        if (n_characters == PM_HUMAN_MAX)
            return last;
        n_characters++;
        last = p;
    }
    return NULL;
}

void pm_event_init(struct pm_event *event, enum pm_event_kind kind, const char *target)
{
    memset(event, 0, sizeof(*event));
    event->kind = kind;
    event->level = pm_event_row(kind)->level;
    (void)pm_str_copy(event->target, sizeof(event->target), target);
    pm_text_clean(event->target);
}

void pm_event_human(struct pm_event *event, const char *format, ...)
{
    char text[sizeof(event->human) * 2], *cut;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    pm_text_clean(text);
    cut = find_cut(text);
    if (cut && !(event->fields & PM_EF_TEXT))
        pm_event_text(event, text);
    if (cut)
        memcpy(cut, "…", sizeof("…"));
    (void)pm_str_copy(event->human, sizeof(event->human), text);
}

void pm_event_pool(struct pm_event *event, const char *pool_id)
{
    event->fields |= PM_EF_POOL_ID;
    (void)pm_str_copy(event->pool_id, sizeof(event->pool_id), pool_id);
}

void pm_event_replica(struct pm_event *event, unsigned replica, uint64_t instance)
{
    event->fields |= PM_EF_REPLICA_ID;
    event->replica_id = replica;
    if (instance == 0)
        return;

    event->fields |= PM_EF_INSTANCE;
    (void)snprintf(event->instance, sizeof(event->instance), "%.*s.%llu", PM_ID_MAX, event->pool_id,
                   (unsigned long long)instance);
}

void pm_event_request(struct pm_event *event, const char *request_id)
{
    event->fields |= PM_EF_REQUEST_ID;
    (void)pm_str_copy(event->request_id, sizeof(event->request_id), request_id);
}

void pm_event_text(struct pm_event *event, const char *text)
{
    event->fields |= PM_EF_TEXT;
    (void)pm_str_copy(event->text, sizeof(event->text), text);
    pm_text_clean(event->text);
}
