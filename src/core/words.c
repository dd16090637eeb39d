/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words users meet, one table beside each enum. A word that is missing here cannot be printed anywhere, so the
 * lengths are asserted and tests/unit/test_words.c walks every row.
 */
#include "core/words.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "util/cleanup.h"

static const char *const owner_names[] = {
    [PM_OWNER_FILE] = "file",
    [PM_OWNER_API] = "api",
    [PM_OWNER_HANDOFF] = "handoff",
};
static_assert(PM_ARRAY_LEN(owner_names) == PM_OWNER_COUNT, "an owner has no name");

static const char *const intent_names[] = {
    [PM_ENABLED] = "enabled",
    [PM_DRAINING] = "draining",
    [PM_DISABLED] = "disabled",
};
static_assert(PM_ARRAY_LEN(intent_names) == PM_INTENT_COUNT, "an intent has no name");

static const char *const state_names[] = {
    [PM_COLD] = "cold",         [PM_STAGING] = "staging", [PM_WAITING] = "waiting",
    [PM_STARTING] = "starting", [PM_READY] = "ready",     [PM_SICK] = "sick",
    [PM_STOPPING] = "stopping", [PM_BACKOFF] = "backoff", [PM_FAILED] = "failed",
};
static_assert(PM_ARRAY_LEN(state_names) == PM_STATE_COUNT, "a state has no name");

static const char *const breaker_names[] = {
    [PM_BREAKER_CLOSED] = "closed",       [PM_BREAKER_OPEN] = "open",
    [PM_BREAKER_HALF_OPEN] = "half-open", [PM_BREAKER_FORCED_OPEN] = "forced-open",
    [PM_BREAKER_DISABLED] = "disabled",
};
static_assert(PM_ARRAY_LEN(breaker_names) == PM_BREAKER_COUNT, "a breaker's state has no name");

static const char *const class_names[] = {
    [PM_CLASS_NONE] = "",         [PM_CLASS_STAGING] = "staging",
    [PM_CLASS_SPAWN] = "spawn",   [PM_CLASS_EXIT] = "exit",
    [PM_CLASS_SIGNAL] = "signal", [PM_CLASS_OOM] = "oom",
    [PM_CLASS_DRIVER] = "driver", [PM_CLASS_HEALTH] = "health",
    [PM_CLASS_STALL] = "stall",   [PM_CLASS_START_TIMEOUT] = "start-timeout",
    [PM_CLASS_KILLED] = "killed", [PM_CLASS_GONE] = "gone",
};
static_assert(PM_ARRAY_LEN(class_names) == PM_CLASS_COUNT, "a class has no name");

static const char *const on_deadline_names[] = {
    [PM_DEADLINE_STOP] = "stop",
    [PM_DEADLINE_ABORT] = "abort",
};
static_assert(PM_ARRAY_LEN(on_deadline_names) == PM_ON_DEADLINE_COUNT, "a word has no name");

static const char *const then_names[] = {
    [PM_THEN_STOP] = "stop",
    [PM_THEN_HOLD] = "hold",
};
static_assert(PM_ARRAY_LEN(then_names) == PM_THEN_COUNT, "a word has no name");

static const char *const device_state_names[] = {
    [PM_DEVICE_OK] = "ok",           [PM_DEVICE_UNKNOWN] = "unknown",
    [PM_DEVICE_DENIED] = "denied",   [PM_DEVICE_MISMATCH] = "mismatch",
    [PM_DEVICE_BLOCKED] = "blocked", [PM_DEVICE_RESET_REQUIRED] = "reset_required",
    [PM_DEVICE_LOST] = "lost",       [PM_DEVICE_QUARANTINED] = "quarantined",
    [PM_DEVICE_SUSPECT] = "suspect",
};
static_assert(PM_ARRAY_LEN(device_state_names) == PM_DEVICE_STATE_COUNT,
              "a state of devices has no name");

static const char *name_of(const char *const *names, size_t n, size_t value)
{
    return value < n ? names[value] : "";
}

const char *pm_owner_name(enum pm_owner owner)
{
    return name_of(owner_names, PM_OWNER_COUNT, owner);
}

const char *pm_intent_name(enum pm_intent intent)
{
    return name_of(intent_names, PM_INTENT_COUNT, intent);
}

const char *pm_state_name(enum pm_state state)
{
    return name_of(state_names, PM_STATE_COUNT, state);
}

const char *pm_breaker_name(enum pm_breaker breaker)
{
    return name_of(breaker_names, PM_BREAKER_COUNT, breaker);
}

const char *pm_class_name(enum pm_class class)
{
    return name_of(class_names, PM_CLASS_COUNT, class);
}

const char *pm_on_deadline_name(enum pm_on_deadline on_deadline)
{
    return name_of(on_deadline_names, PM_ON_DEADLINE_COUNT, on_deadline);
}

const char *pm_then_name(enum pm_then then)
{
    return name_of(then_names, PM_THEN_COUNT, then);
}

const char *pm_device_state_name(enum pm_device_state state)
{
    return name_of(device_state_names, PM_DEVICE_STATE_COUNT, state);
}

bool pm_breaker_by_name(const char *name, enum pm_breaker *ret)
{
    for (size_t i = 0; i < PM_BREAKER_COUNT; i++) {
        if (strcmp(breaker_names[i], name) == 0) {
            *ret = (enum pm_breaker)i;
            return true;
        }
    }
    return false;
}
