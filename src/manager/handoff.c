/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a handoff to a registered engine: nobody is believed before the endpoint answered (REG-4). It is asked here, and
 * core hears of an engine that is there; where a handoff is kept although nobody answers, core goes on asking.
 */
#include <inttypes.h>
#include <string.h>

#include "manager/internal.h"
#include "util/cleanup.h"

#define ASK_TIMEOUT_MS 2000

struct pm_handing {
    struct pm_link link; /* in manager->handings, until it is answered */
    struct pm_manager *manager;
    struct pm_pool_spec *spec; /* a reference */
    unsigned replica;
    bool keep;
    uint64_t op; /* 0: it has none */
    struct pm_engine_ask *ask;
    struct pm_task task; /* it needs no asking */
    void (*fn)(void *ctx, const struct poolmgr_error *error);
    void *ctx;
};

void pm_handoff_tell_refused(struct pm_manager *manager, const char *what,
                             const struct poolmgr_error *error)
{
    struct pm_event event;

    pm_event_init(&event, PM_EV_HANDOFF_REFUSED, what);
    pm_event_human(&event, "the handoff %s is refused: %s", what, error->message);
    pm_event_text(&event, error->message);
    event.fields |= PM_EF_ERROR_CODE;
    event.error_code = error->code;
    pm_sink_tell(manager->sink, &event);
}

static void end_operation(struct pm_handing *handing, const struct poolmgr_error *error)
{
    struct pm_manager *manager = handing->manager;

    if (handing->op == 0)
        return;
    pm_core_handoff_ends(manager->core, handing->op, error, pm_manager_now(manager),
                         &manager->actions);
    pm_manager_flush(manager);
}

static void answer(struct pm_handing *handing, const struct poolmgr_error *error)
{
    pm_list_remove(&handing->link);
    end_operation(handing, error);
    if (error)
        pm_handoff_tell_refused(handing->manager, handing->spec->id, error);
    handing->fn(handing->ctx, error);
}

static void register_it(struct pm_handing *handing, bool answered)
{
    struct pm_manager *manager = handing->manager;
    const struct pm_handoff handoff = {handing->spec, handing->replica, answered};
    struct poolmgr_error err = {0};
    int r =
        pm_core_handoff(manager->core, &handoff, pm_manager_now(manager), &manager->actions, &err);

    if (r == 0)
        pm_record_handed_over(manager, handing->spec->id);
    pm_manager_flush(manager);
    answer(handing, r < 0 ? &err : NULL);
}

static void nobody_is_there(struct pm_handing *handing, const char *what)
{
    struct poolmgr_error err = {0};

    if (handing->keep) {
        register_it(handing, false);
        return;
    }
    (void)pm_fail(&err, POOLMGR_E_ENGINE_GONE, "%s %s", handing->spec->external.endpoint, what);
    (void)pm_error_hint(&err, 0, "hand an engine over when it is ready: GET /health must say 200");
    err.retry_after_ms = 1000;
    answer(handing, &err);
}

static void on_probed(void *ctx, enum pm_probed how)
{
    struct pm_handing *handing = ctx;

    handing->ask = NULL;
    if (how == PM_PROBED_GOOD)
        register_it(handing, true);
    else
        nobody_is_there(handing, how == PM_PROBED_REFUSED ? "refuses connections: nobody listens"
                                                          : "does not answer its health route");
}

static void on_no_process(struct pm_task *task)
{
    struct pm_handing *handing = pm_container_of(task, struct pm_handing, task);
    struct poolmgr_error err = {0};

    if (handing->keep) {
        register_it(handing, false);
        return;
    }
    (void)pm_fail(&err, POOLMGR_E_ENGINE_GONE, "no process %" PRIu64 " runs here",
                  handing->spec->external.pid);
    (void)pm_error_param(&err, 0, "pid");
    (void)pm_error_hint(&err, 0, "leave 'pid' out for an engine in a container, or elsewhere");
    answer(handing, &err);
}

struct pm_handing *pm_manager_handoff(struct pm_manager *manager, struct pm_pool_spec *spec,
                                      unsigned replica, bool keep,
                                      void (*fn)(void *ctx, const struct poolmgr_error *error),
                                      void *ctx)
{
    struct pm_handing *handing = pm_xalloc(sizeof *handing);

    handing->manager = manager;
    handing->spec = pm_pool_spec_ref(spec);
    handing->replica = replica;
    handing->keep = keep;
    handing->fn = fn;
    handing->ctx = ctx;
    handing->task.fn = on_no_process;
    pm_list_append(&manager->handings, &handing->link);

    pm_engine_fill_handed(spec);
    if (!keep) {
        handing->op = pm_core_handoff_begins(manager->core, spec, replica, pm_manager_now(manager),
                                             &manager->actions);
        pm_manager_flush(manager);
    }
    if (spec->external.pid != 0 && !pm_pid_runs(spec->external.pid, NULL))
        pm_loop_later(manager->loop, &handing->task);
    else
        handing->ask = pm_engine_probe(manager->client, spec->runs, spec->external.endpoint,
                                       ASK_TIMEOUT_MS, on_probed, handing);
    return handing;
}

uint64_t pm_handing_operation(const struct pm_handing *handing)
{
    return handing->op;
}

void pm_handing_free(struct pm_handing *handing)
{
    struct poolmgr_error gone = {0};

    if (!handing)
        return;

    if (pm_link_in_list(&handing->link)) {
        (void)pm_fail(&gone, POOLMGR_E_CONFLICT, "whoever handed it over did not wait");
        end_operation(handing, &gone);
    }
    pm_list_remove(&handing->link);
    pm_list_remove(&handing->task.link);
    pm_engine_ask_free(handing->ask);
    pm_pool_spec_unref(handing->spec);
    free(handing);
}

/* The client must have no call left when it is freed. */
void pm_handings_forget(struct pm_manager *manager)
{
    struct pm_link *link;

    while ((link = pm_list_first(&manager->handings))) {
        struct pm_handing *handing = pm_container_of(link, struct pm_handing, link);

        pm_list_remove(link);
        pm_list_remove(&handing->task.link);
        pm_engine_ask_free(pm_take(handing->ask));
    }
}
