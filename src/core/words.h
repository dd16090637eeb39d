/* SPDX-License-Identifier: Apache-2.0 */
/* The words of INTERFACES §1: each enum has its table of names in words.c, and a test that none is missing. */
#ifndef PM_CORE_WORDS_H
#define PM_CORE_WORDS_H

#include <stdbool.h>

enum pm_owner { PM_OWNER_FILE, PM_OWNER_API, PM_OWNER_HANDOFF, PM_OWNER_COUNT };

enum pm_intent { PM_ENABLED, PM_DRAINING, PM_DISABLED, PM_INTENT_COUNT };

enum pm_state {
    PM_COLD,
    PM_STAGING,
    PM_WAITING,
    PM_STARTING,
    PM_READY,
    PM_SICK,
    PM_STOPPING,
    PM_BACKOFF,
    PM_FAILED,
    PM_STATE_COUNT
};

enum pm_breaker {
    PM_BREAKER_CLOSED,
    PM_BREAKER_OPEN,
    PM_BREAKER_HALF_OPEN,
    PM_BREAKER_FORCED_OPEN,
    PM_BREAKER_DISABLED,
    PM_BREAKER_COUNT
};

/* Why an engine ended or a start failed (SUP-1). */
enum pm_class {
    PM_CLASS_NONE, /* as planned: an exit we asked for */
    PM_CLASS_STAGING,
    PM_CLASS_SPAWN,
    PM_CLASS_EXIT,
    PM_CLASS_SIGNAL,
    PM_CLASS_OOM,
    PM_CLASS_DRIVER,
    PM_CLASS_HEALTH,
    PM_CLASS_STALL,
    PM_CLASS_START_TIMEOUT,
    PM_CLASS_KILLED,
    PM_CLASS_GONE,
    PM_CLASS_COUNT
};

enum pm_start_mode { PM_ON_DEMAND, PM_PRELOAD };
enum pm_restart_mode { PM_RESTART_ALWAYS, PM_RESTART_NEVER };
enum pm_queue_policy { PM_QUEUE_REJECT, PM_QUEUE_DROP_LRU };
enum pm_priority { PM_INTERACTIVE, PM_BATCH };

/* Which requests an engine stops when their connection closes (LEASE-2). */
enum pm_cancel { PM_CANCEL_NONE, PM_CANCEL_STREAMS, PM_CANCEL_ALL };

/* What a drain does with the requests that still run at its deadline, and what it leaves behind (DRAIN-2). */
enum pm_on_deadline { PM_DEADLINE_STOP, PM_DEADLINE_ABORT, PM_ON_DEADLINE_COUNT };
enum pm_then { PM_THEN_STOP, PM_THEN_HOLD, PM_THEN_COUNT };
/* Of a device. The first are what its driver says, in order of weight; the last two are what core makes of it. */
enum pm_device_state {
    PM_DEVICE_OK,
    PM_DEVICE_UNKNOWN, /* nobody can say: its engines go on, nothing new starts on it */
    PM_DEVICE_DENIED,
    PM_DEVICE_MISMATCH,
    PM_DEVICE_BLOCKED,
    PM_DEVICE_RESET_REQUIRED,
    PM_DEVICE_LOST,
    PM_DEVICE_QUARANTINED, /* driver errors of several pools */
    PM_DEVICE_SUSPECT,     /* memory of a dead engine did not come back */
    PM_DEVICE_STATE_COUNT
};

/* What an XID asks for (SUP-8). */
enum pm_xid_action { PM_XID_NOTE, PM_XID_APP, PM_XID_RESET, PM_XID_LOST };

const char *pm_owner_name(enum pm_owner owner);
const char *pm_intent_name(enum pm_intent intent);
const char *pm_state_name(enum pm_state state);
const char *pm_breaker_name(enum pm_breaker breaker);
const char *pm_class_name(enum pm_class class); /* PM_CLASS_NONE: "" */
const char *pm_on_deadline_name(enum pm_on_deadline on_deadline);
const char *pm_then_name(enum pm_then then);
const char *pm_device_state_name(enum pm_device_state state);
bool pm_breaker_by_name(const char *name, enum pm_breaker *ret);

#endif
