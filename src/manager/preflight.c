/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A preflight of this daemon's machine (PRE-1). Files and folders are looked at on the helper thread, since a disk may
 * hang; then what was seen of the GPUs last is taken, or where nobody watches them the driver is asked by a child, while
 * the loop goes on; then the facts are judged. The configuration may be another one by then: what is to be looked at
 * and what is needed are copied out of it first.
 */
#include "provision/preflight.h"

#include "manager/internal.h"
#include "provision/gather.h"
#include "util/cleanup.h"

struct pm_preflight_run {
    struct pm_work work;
    struct pm_manager *manager;
    struct pm_gather gather;
    struct pm_needs needs;
    struct pm_facts facts;
    struct pm_link asking; /* in manager->preflights: waits for the driver's answer */
    bool working;          /* the helper thread has it */
    void (*fn)(void *ctx, const struct pm_preflight *preflight); /* NULL: nobody waits any more */
    void *ctx;
};

static void run_free(struct pm_preflight_run *run)
{
    pm_list_remove(&run->asking);
    pm_gather_fini(&run->gather);
    pm_facts_fini(&run->facts);
    free(run);
}

/* The last of a run: its owner may free it in fn. */
static void finish(struct pm_preflight_run *run)
{
    struct pm_preflight preflight;

    pm_preflight_judge(&run->facts, &run->needs, &preflight);
    run->fn(run->ctx, &preflight);
    pm_preflight_fini(&preflight);
}

/* ---- the driver: one child, however many ask --------------------------------------------------------- */

static void on_answer(void *ctx, enum pm_asked how, const char *text,
                      struct pm_gpu_snapshot *snapshot)
{
    struct pm_manager *manager = ctx;
    struct pm_link *link;

    pm_driver_ask_free(pm_take(manager->driver_ask));
    while ((link = pm_list_first(&manager->preflights))) {
        struct pm_preflight_run *run = pm_container_of(link, struct pm_preflight_run, asking);
        struct pm_gpu_snapshot copy = {0};

        if (snapshot)
            pm_gpu_snapshot_copy(&copy, snapshot);
        pm_list_remove(link);
        pm_facts_answered(&run->facts, how, text, snapshot ? &copy : NULL);
        finish(run);
    }
    if (snapshot)
        pm_gpu_snapshot_fini(snapshot);
}

/* Devices that are declared are not watched: then it is asked for this. */
static void ask_driver(struct pm_preflight_run *run)
{
    struct pm_manager *manager = run->manager;
    const char *program = manager->options.probe_path;

    if (!program) {
        pm_facts_answered(&run->facts, PM_ASKED_MISSING, NULL, NULL);
        finish(run);
        return;
    }
    pm_list_append(&manager->preflights, &run->asking);
    if (!manager->driver_ask)
        manager->driver_ask = pm_driver_ask_new(manager->loop, program, run->gather.nvml,
                                                PM_ASK_DRIVER_MS, on_answer, manager);
}

/* What the manager saw last is as good as a new look: it looks by itself. */
static bool take_last(struct pm_preflight_run *run)
{
    const struct pm_gpu_snapshot *last = pm_manager_gpus(run->manager);
    struct pm_gpu_snapshot copy;

    if (!last)
        return false;
    pm_gpu_snapshot_copy(&copy, last);
    pm_facts_answered(&run->facts, PM_ASKED_ANSWERED, "", &copy);
    return true;
}

/* ---- the helper thread ------------------------------------------------------------------------------ */

static void look(struct pm_work *work)
{
    struct pm_preflight_run *run = pm_container_of(work, struct pm_preflight_run, work);

    pm_facts_gather(&run->gather, &run->facts);
}

static void on_looked(struct pm_work *work)
{
    struct pm_preflight_run *run = pm_container_of(work, struct pm_preflight_run, work);

    run->working = false;
    if (!run->fn)
        run_free(run);
    else if (!take_last(run) && pm_driver_to_be_asked(&run->gather, &run->facts))
        ask_driver(run);
    else
        finish(run);
}

static void on_dropped(struct pm_work *work)
{
    struct pm_preflight_run *run = pm_container_of(work, struct pm_preflight_run, work);

    run->working = false;
    if (!run->fn)
        run_free(run);
}

struct pm_preflight_run *pm_manager_preflight(struct pm_manager *manager, unsigned mode,
                                              void (*fn)(void *ctx,
                                                         const struct pm_preflight *preflight),
                                              void *ctx)
{
    struct pm_preflight_run *run = pm_xalloc(sizeof *run);

    run->manager = manager;
    run->fn = fn;
    run->ctx = ctx;
    pm_gather_init(manager->config, NULL, &run->gather);
    pm_needs_of(manager->config, (enum pm_mode)mode, &run->needs);
    run->work.work = look;
    run->work.done = on_looked;
    run->work.drop = on_dropped;
    run->working = true;
    pm_worker_add(manager->worker, &run->work, PM_WORK_LAST);
    return run;
}

void pm_preflight_run_free(struct pm_preflight_run *run)
{
    if (!run)
        return;

    run->fn = NULL;
    if (!run->working)
        run_free(run);
}
