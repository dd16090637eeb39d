/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "config/handoff.h"
#include "lib/internal.h"
#include "util/str.h"

struct handing_over {
    struct pm_link link;
    struct pm_handing *handing;
    struct pm_task task; /* tells, at the end of the turn */
    bool failed;
    struct poolmgr_error error;
    void (*on_done)(void *ctx, const struct poolmgr_error *error);
    void *ctx;
    struct poolmgr *mgr;
};

static void over_free(struct handing_over *over)
{
    pm_list_remove(&over->link);
    pm_list_remove(&over->task.link);
    pm_handing_free(over->handing);
    free(over);
}

static void tell(struct pm_task *task)
{
    struct handing_over *over = pm_container_of(task, struct handing_over, task);
    struct handing_over told = *over;

    over_free(over);
    if (told.on_done)
        told.on_done(told.ctx, told.failed ? &told.error : NULL);
}

static void on_handed(void *ctx, const struct poolmgr_error *error)
{
    struct handing_over *over = ctx;

    over->failed = error != NULL;
    if (error)
        over->error = *error;
    pm_loop_later(over->mgr->loop, &over->task);
}

int poolmgr_register_ready_from_handoff(struct poolmgr *mgr, const char *json, size_t n,
                                        void (*on_done)(void *ctx,
                                                        const struct poolmgr_error *error),
                                        void *ctx, struct poolmgr_error *err)
{
    struct pm_pool_spec *spec = NULL;
    struct handing_over *over;
    unsigned replica = 0;
    int r;

    pm_lib_enter(mgr);
    r = pm_handoff_parse(json, n, &spec, &replica, err);
    if (r < 0)
        return r;

    over = pm_xalloc(sizeof(*over));
    over->mgr = mgr;
    over->task.fn = tell;
    over->on_done = on_done;
    over->ctx = ctx;
    pm_list_append(&mgr->handoffs, &over->link);
    over->handing = pm_manager_handoff(mgr->manager, spec, replica, false, on_handed, over);
    pm_pool_spec_unref(spec);
    return POOLMGR_OK;
}

void pm_lib_handoffs_free(struct poolmgr *mgr)
{
    struct pm_link *link;

    while ((link = pm_list_first(&mgr->handoffs)))
        over_free(pm_container_of(link, struct handing_over, link));
}
