/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of places and their engines (NARR-1): a table of sentences, one a kind of event. Sentences are in
 * present tense, have names and numbers, and no ids that mean nothing to people. Of pools and of requests tell
 * tellpool.c and tellrequest.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/inner.h"
#include "util/str.h"

#define DURATION 32

static const char *duration(char *to, uint64_t ms)
{
    return pm_format_duration(to, DURATION, ms);
}

/* "qwen-8b", or "qwen-8b (replica 1)" where there are several. */
static const char *place_name(const struct pm_place *place, char to[static PM_ID_MAX + 24])
{
    if (place->pool->n_places == 1)
        return place->pool->spec->id;
    (void)snprintf(to, PM_ID_MAX + 24, "%s (replica %u)", place->pool->spec->id, place->index);
    return to;
}

/* ---- places ---------------------------------------------------------------------------------------------------- */

typedef void (*sentence)(const struct pm_place *place, const char *name, struct pm_event *event);

static void say_staging(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "the model of %s is checked", place->pool->spec->id);
}

static void say_model_failed(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s has no good model: %s", name, place->verdict.text);
}

static void say_starting(const struct pm_place *place, const char *name, struct pm_event *event)
{
    const char *cpu = pm_ways_why_cpu(place->pool->core, place->spec);
    uint64_t n = pm_pool_n_waiters(place->pool);

    switch (place->wanted.reason) {
    case PM_BECAUSE_WAITERS:
        pm_event_human(event, "%s starts: %" PRIu64 " request%s wait%s for it%s", name, n,
                       pm_plural(n), n == 1 ? "s" : "", cpu);
        break;
    case PM_BECAUSE_START:
        pm_event_human(event, "%s starts: an operator asks for it%s", name, cpu);
        break;
    case PM_BECAUSE_RESTART:
        if (place->clock.n > 0)
            pm_event_human(event, "%s starts again after failure %" PRIu64 "%s", name,
                           place->clock.n, cpu);
        else
            pm_event_human(event, "%s starts again%s", name, cpu); /* its failures are forgotten */
        break;
    case PM_BECAUSE_PRELOAD:
        pm_event_human(event, "%s starts: it is preloaded%s", name, cpu);
        break;
    case PM_BECAUSE_RELOAD: pm_event_human(event, "%s starts: it is reloaded%s", name, cpu); break;
    default: pm_event_human(event, "%s starts%s", name, cpu); break;
    }
}

static void say_ready(const struct pm_place *place, const char *name, struct pm_event *event)
{
    uint64_t took_ms = place->instance.ready_ms - place->instance.begun_ms;
    char text[DURATION];

    event->fields |= PM_EF_DURATION_MS;
    event->duration_ms = took_ms;
    if (!pm_place_is_ours(place)) {
        pm_event_human(event, "%s answers at %s, with %" PRIu64 " slot%s", name,
                       place->instance.endpoint, place->slots_total, pm_plural(place->slots_total));
        return;
    }
    pm_event_human(event, "%s is ready after %s with %" PRIu64 " slot%s", name,
                   duration(text, took_ms), place->slots_total, pm_plural(place->slots_total));
}

static void say_adopted(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[DURATION];

    pm_event_human(event, "%s goes on: its engine, up for %s, is adopted", name,
                   duration(text, place->instance.begun_ms - place->instance.started_ms));
}

static void say_sick(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[DURATION];

    if (!pm_place_is_ours(place)) {
        pm_event_human(event, "%s is sick: %" PRIu64 " probes missed", name,
                       place->instance.n_missed);
        return;
    }
    pm_event_human(event, "%s is sick: %" PRIu64 " probes missed; restart in %s unless it answers",
                   name, place->instance.n_missed,
                   duration(text, place->spec->probe.sick_restart_ms));
}

static void say_recovered(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s answers its probes again", name);
}

static void say_stalled(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s hangs: %s", name, place->verdict.text);
}

static void say_stopping(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[DURATION];

    if (place->instance.ready_ms == 0 && place->instance.stop_reason == PM_BECAUSE_IDLE) {
        pm_event_human(event, "%s stops before it is ready: nobody wants it any more", name);
        return;
    }
    switch (place->instance.stop_reason) {
    case PM_BECAUSE_IDLE:
        pm_event_human(event, "%s stops: idle for %s", name,
                       duration(text, place->pool->core->now_ms - place->pool->idle_ms));
        break;
    case PM_BECAUSE_SHUTDOWN: pm_event_human(event, "%s stops: the daemon ends", name); break;
    case PM_BECAUSE_DEVICE:
        pm_event_human(event, "%s stops: its device does not work", name);
        break;
    case PM_BECAUSE_STOP: pm_event_human(event, "%s stops: an operator asks for it", name); break;
    case PM_BECAUSE_DRAIN: pm_event_human(event, "%s stops: an operator drains it", name); break;
    case PM_BECAUSE_RELOAD: pm_event_human(event, "%s stops: it is reloaded", name); break;
    case PM_BECAUSE_REMOVAL: pm_event_human(event, "%s stops: it is removed", name); break;
    case PM_BECAUSE_DISABLED: pm_event_human(event, "%s stops: it is disabled", name); break;
    default: pm_event_human(event, "%s stops", name); break;
    }
}

static void say_abandoned(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[DURATION];

    pm_event_human(
        event, "%s is not needed any more: nobody waits for it for %s", name,
        duration(text, place->pool->core->now_ms - pm_pool_waiterless_since(place->pool)));
}

static void add_exit(bool signalled, int status, struct pm_event *event)
{
    if (status < 0)
        return;
    event->fields |= signalled ? PM_EF_SIGNAL : PM_EF_EXIT_STATUS;
    if (signalled)
        event->signal = status;
    else
        event->exit_status = status;
}

static void say_stopped(const struct pm_place *place, const char *name, struct pm_event *event)
{
    const struct pm_tenure *instance = &place->instance;
    uint64_t took_ms = place->pool->core->now_ms - instance->signalled_ms;
    char text[DURATION];

    event->fields |= PM_EF_DURATION_MS;
    event->duration_ms = took_ms;
    if (instance->exited)
        add_exit(instance->exit_signalled, instance->exit_status, event);
    pm_event_human(event, "%s is stopped after %s%s", name, duration(text, took_ms),
                   instance->next_kill_ms != PM_NEVER ? ", by SIGKILL" : "");
}

static void say_crashed(const struct pm_place *place, const char *name, struct pm_event *event)
{
    const char *how = place->verdict.class == PM_CLASS_GONE ? "is gone" : "crashes";
    uint64_t n = place->n_running;

    if (n > 0)
        pm_event_human(event, "%s %s with %" PRIu64 " request%s: %s", name, how, n, pm_plural(n),
                       place->last_error.text);
    else
        pm_event_human(event, "%s %s: %s", name, how, place->last_error.text);
}

static void say_start_failed(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s does not start: %s", name, place->last_error.text);
}

static void say_delayed(const struct pm_place *place, const char *name, struct pm_event *event)
{
    uint64_t left_ms = place->clock.next_ms - place->pool->core->now_ms;
    char text[DURATION];

    event->fields |= PM_EF_BACKOFF_MS;
    event->backoff_ms = left_ms;
    pm_event_human(event, "%s failed %" PRIu64 " times in a row; next start in %s at the earliest",
                   name, place->clock.n, duration(text, left_ms));
}

static void say_opened(const struct pm_place *place, const char *name, struct pm_event *event)
{
    uint64_t left_ms = place->clock.next_ms - place->pool->core->now_ms;
    char text[DURATION];

    event->fields |= PM_EF_BACKOFF_MS;
    event->backoff_ms = left_ms;
    pm_event_human(event, "the breaker of %s opens after %" PRIu64 " failures; next try in %s",
                   name, place->clock.n, duration(text, left_ms));
}

static void say_storm(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s failed %" PRIu64 " times in a row, the last time: %s", name,
                   place->clock.n, place->last_error.text);
}

static void say_oom_storm(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s ran out of memory %" PRIu64 " times in a row", name,
                   place->n_oom_in_row);
}

static void say_half_open(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s gets one more try after %" PRIu64 " failures", name, place->clock.n);
}

static void say_closed(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[DURATION];

    pm_event_human(event, "%s is trusted again after %s without a failure", name,
                   duration(text, place->pool->core->now_ms - place->instance.ready_since_ms));
}

static const sentence sentences[PM_EV_COUNT] = {
    [PM_EV_MODEL_STAGING] = say_staging,        [PM_EV_MODEL_FAILED] = say_model_failed,
    [PM_EV_START_ABANDONED] = say_abandoned,    [PM_EV_STORM] = say_storm,
    [PM_EV_OOM_STORM] = say_oom_storm,          [PM_EV_INSTANCE_STARTING] = say_starting,
    [PM_EV_INSTANCE_READY] = say_ready,         [PM_EV_INSTANCE_SICK] = say_sick,
    [PM_EV_INSTANCE_RECOVERED] = say_recovered, [PM_EV_INSTANCE_STALLED] = say_stalled,
    [PM_EV_INSTANCE_STOPPING] = say_stopping,   [PM_EV_INSTANCE_STOPPED] = say_stopped,
    [PM_EV_INSTANCE_CRASHED] = say_crashed,     [PM_EV_INSTANCE_ADOPTED] = say_adopted,
    [PM_EV_START_FAILED] = say_start_failed,    [PM_EV_RESTART_DELAYED] = say_delayed,
    [PM_EV_BREAKER_OPENED] = say_opened,        [PM_EV_BREAKER_HALF_OPEN] = say_half_open,
    [PM_EV_BREAKER_CLOSED] = say_closed,
};

static void add_engine(const struct pm_place *place, struct pm_event *event)
{
    const struct pm_pool_spec *spec = place->spec;
    const char *engine = spec->habits.family ? spec->habits.family : spec->engine;

    if (place->instance.pid > 0) {
        event->fields |= PM_EF_PID;
        event->pid = place->instance.pid;
    }
    if (engine) {
        event->fields |= PM_EF_ENGINE;
        (void)pm_str_copy(event->engine, sizeof(event->engine), engine);
    }
    if (place->instance.engine_version[0] != '\0') {
        event->fields |= PM_EF_ENGINE_VERSION;
        (void)pm_str_copy(event->engine_version, sizeof(event->engine_version),
                          place->instance.engine_version);
    }
    if (spec->model.main) {
        event->fields |= PM_EF_MODEL;
        (void)pm_str_copy(event->model, sizeof(event->model), spec->model.main);
    }
}

static void add_verdict(const struct pm_verdict *verdict, struct pm_event *event)
{
    if (verdict->class == PM_CLASS_NONE)
        return;

    event->fields |= PM_EF_CLASS | PM_EF_ERROR_CODE;
    event->class = verdict->class;
    event->error_code = verdict->code;
    if (verdict->text[0] != '\0')
        pm_event_text(event, verdict->text);
    if (verdict->exited)
        add_exit(verdict->signalled, verdict->status, event);
}

void pm_tell_place(const struct pm_place *place, enum pm_event_kind kind, struct pm_actions *out)
{
    const char *id = place->pool->spec->id;
    char name[PM_ID_MAX + 24];
    struct pm_event event;

    pm_event_init(&event, kind, id);
    pm_event_pool(&event, id);
    pm_event_replica(&event, place->index, place->instance.n);
    add_engine(place, &event);
    add_verdict(&place->verdict, &event);
    sentences[kind](place, place_name(place, name), &event);
    pm_action_tell(out, &event);
}

void pm_tell_handoff(const struct pm_place *place, enum pm_event_kind kind, struct pm_actions *out)
{
    const char *id = place->pool->spec->id, *text;
    char name[PM_ID_MAX + 24];
    struct pm_event event;

    pm_event_init(&event, kind, id);
    pm_event_pool(&event, id);
    pm_event_replica(&event, place->index, place->instance.n);
    add_engine(place, &event);
    text = kind == PM_EV_HANDOFF_WITHDRAWN ? "is taken back: its engine gets nothing new"
                                           : "is handed over";
    pm_event_human(&event, "%s at %s %s", place_name(place, name), place->spec->external.endpoint,
                   text);
    pm_action_tell(out, &event);
}

/* ---- room ------------------------------------------------------------------------------------------------------ */

static const char *bytes(char *to, uint64_t n)
{
    return pm_format_bytes(to, DURATION, n);
}

/* The device that is the matter, as a field. */
static void add_device(const struct pm_place *place, const struct pm_shares *shares,
                       struct pm_event *event)
{
    if (shares->n == 0)
        return;
    event->fields |= PM_EF_DEVICE;
    (void)pm_str_copy(event->device, sizeof(event->device),
                      pm_device_id(place->pool->core, shares->items[0].account));
}

static const char *claimant_name(const struct pm_place *place)
{
    return place->room.claimant ? place->room.claimant->pool->spec->id : "another pool";
}

static void say_claimed(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[DURATION];

    pm_event_human(event,
                   "%s takes nothing new: %s needs its %s; %" PRIu64 " request%s end%s first", name,
                   claimant_name(place), bytes(text, pm_place_planned_bytes(place)),
                   place->n_running, pm_plural(place->n_running), place->n_running == 1 ? "s" : "");
}

static void say_called_off(const struct pm_place *place, const char *name, struct pm_event *event)
{
    pm_event_human(event, "%s takes requests again: %s does not need its room any more", name,
                   claimant_name(place));
}

static void say_evicted(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[DURATION];

    pm_event_human(event, "%s stops: %s needs its %s on %s", name, claimant_name(place),
                   bytes(text, pm_place_planned_bytes(place)),
                   pm_device_name(place->pool->core, place->room.charge.items[0].account));
}

static void say_vram_refused(const struct pm_place *place, const char *name, struct pm_event *event)
{
    char text[PM_ROOM_TEXT];

    (void)pm_room_explain(place, text, sizeof(text));
    pm_event_human(event, "%s %s", name, text);
}

static void say_vram_returned(const struct pm_place *place, const char *name,
                              struct pm_event *event)
{
    uint64_t took_ms = place->pool->core->now_ms - place->instance.childless_ms;
    bool back = pm_vram_returned(place) == PM_CAUSE_VRAM_BACK;
    char text[DURATION];

    event->fields |= PM_EF_DURATION_MS;
    event->duration_ms = took_ms;
    if (!back)
        event->level = PM_WARN;
    pm_event_human(event,
                   back ? "the memory of %s is back after %s"
                        : "the memory of %s is not seen back after %s",
                   name, duration(text, took_ms));
}

void pm_tell_room(const struct pm_place *place, enum pm_event_kind kind, struct pm_actions *out)
{
    static const sentence room_sentences[PM_EV_COUNT] = {
        [PM_EV_EVICT_CLAIMED] = say_claimed,
        [PM_EV_EVICT_CALLED_OFF] = say_called_off,
        [PM_EV_EVICTED] = say_evicted,
        [PM_EV_VRAM_REFUSED] = say_vram_refused,
        [PM_EV_VRAM_RETURNED] = say_vram_returned,
    };
    const char *id = place->pool->spec->id;
    char name[PM_ID_MAX + 24];
    struct pm_event event;

    pm_event_init(&event, kind, id);
    pm_event_pool(&event, id);
    pm_event_replica(&event, place->index, place->instance.n);
    add_device(place, place->room.charge.n > 0 ? &place->room.charge : &place->room.target, &event);
    room_sentences[kind](place, place_name(place, name), &event);
    pm_action_tell(out, &event);
}
