/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases of a host: a ticket of the manager's that is granted at once or not at all. Why not is what looking says, so
 * that asking for a slot starts nothing and counts as nobody's wait.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/internal.h"
#include "util/error.h"
#include "util/str.h"

struct held {
    struct pm_link link; /* in mgr->held, or mgr->lost until its holder was told */
    struct poolmgr *mgr;
    struct pm_ticket ticket;
    struct poolmgr_lease lease;
    struct pm_grant grant;
    struct pm_pool_spec *spec; /* a reference; NULL: not granted */
    bool refused;
    struct poolmgr_error why;
};

static void held_free(struct held *held)
{
    (void)pm_map_remove_u64(&held->mgr->leases, held->lease.id);
    pm_list_remove(&held->link);
    pm_pool_spec_unref(held->spec);
    free(held);
}

static struct held *find(struct poolmgr *mgr, const struct poolmgr_lease *lease)
{
    struct held *held = lease->id ? pm_map_get_u64(&mgr->leases, lease->id) : NULL;

    return held && held->lease.instance == lease->instance ? held : NULL;
}

/* ---- the manager's answers ------------------------------------------------------------------------------ */

static void on_granted(struct pm_ticket *ticket, const struct pm_grant *grant)
{
    struct held *held = pm_container_of(ticket, struct held, ticket);

    held->grant = *grant;
    held->spec = pm_pool_spec_ref((struct pm_pool_spec *)grant->spec);
    held->lease.instance = grant->lease.instance;
}

static void on_refused(struct pm_ticket *ticket, const struct pm_refused *how)
{
    struct held *held = pm_container_of(ticket, struct held, ticket);

    held->refused = true;
    held->why = *how->error;
}

static void on_cut(struct pm_ticket *ticket, const struct poolmgr_error *error)
{
    struct held *held = pm_container_of(ticket, struct held, ticket);
    struct poolmgr *mgr = held->mgr;

    held->why = *error;
    (void)pm_map_remove_u64(&mgr->leases, held->lease.id);
    pm_list_remove(&held->link);
    pm_list_append(&mgr->lost, &held->link);
    pm_manager_release(mgr->manager, ticket, PM_RELEASE_DONE);
    pm_loop_later(mgr->loop, &mgr->call_task);
}

void pm_lib_tell_lost(struct poolmgr *mgr)
{
    struct pm_link *link;

    while ((link = pm_list_first(&mgr->lost))) {
        struct held *held = pm_container_of(link, struct held, link);
        const struct poolmgr_lease lease = held->lease;
        const struct poolmgr_error why = held->why;

        held_free(held);
        if (mgr->options.on_lease_lost)
            mgr->options.on_lease_lost(mgr->options.ctx, &lease, &why);
    }
}

/* ---- taking --------------------------------------------------------------------------------------------- */

static int fail_with_reason(const struct pm_pool_view *view, int code, struct poolmgr_error *err)
{
    return pm_fail(err, code, "%s is %s: %s", view->spec->id, pm_state_name(view->state),
                   view->reason);
}

static int check_pool(struct poolmgr *mgr, const char *pool_id, struct poolmgr_error *err)
{
    struct pm_pool_view view;

    if (!pm_core_pool(pm_manager_core(mgr->manager), pool_id, pm_manager_now(mgr->manager), &view))
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%.64s'", pool_id);
    if (view.intent == PM_DISABLED)
        return pm_fail(err, POOLMGR_E_DISABLED, "an operator has disabled %s", pool_id);
    if (view.intent == PM_DRAINING)
        return pm_fail(err, POOLMGR_E_DRAINING, "%s is draining", pool_id);
    if (!view.ready)
        return fail_with_reason(
            &view, view.state == PM_READY ? POOLMGR_E_DRAINING : POOLMGR_E_NOT_READY, err);
    if (view.slots_free == 0 || view.queue_depth > 0)
        return pm_fail(err, POOLMGR_E_NO_CAPACITY, "all slots of %s are in use", pool_id);
    return POOLMGR_OK;
}

int poolmgr_lease_acquire(struct poolmgr *mgr, const char *pool_id, struct poolmgr_lease *ret,
                          struct poolmgr_error *err)
{
    struct pm_request request = {.route = pool_id, .request_id = ""};
    struct held *held;
    int r;

    pm_lib_enter(mgr);
    r = check_pool(mgr, pool_id, err);
    if (r < 0)
        return r;

    held = pm_xalloc(sizeof(*held));
    held->mgr = mgr;
    held->lease.id = ++mgr->last_lease;
    held->ticket = (struct pm_ticket){.granted = on_granted, .refused = on_refused, .cut = on_cut};
    (void)pm_map_set_u64(&mgr->leases, held->lease.id, held);
    pm_list_append(&mgr->held, &held->link);
    pm_manager_request(mgr->manager, &held->ticket, &request);
    if (held->spec) {
        *ret = held->lease;
        return POOLMGR_OK;
    }

    r = held->refused ? held->why.code : POOLMGR_E_NO_CAPACITY;
    if (held->refused && err)
        *err = held->why;
    else if (!held->refused)
        (void)pm_fail(err, r, "all slots of %s are in use", pool_id);
    pm_manager_leave_queue(mgr->manager, &held->ticket);
    held_free(held);
    return r;
}

/* ---- holding and giving back ----------------------------------------------------------------------------- */

void poolmgr_lease_release(struct poolmgr *mgr, const struct poolmgr_lease *lease,
                           enum poolmgr_release how)
{
    static const enum pm_release hows[] = {
        [POOLMGR_RELEASE_DONE] = PM_RELEASE_DONE,
        [POOLMGR_RELEASE_CLOSED] = PM_RELEASE_CLIENT_CLOSED,
        [POOLMGR_RELEASE_UNUSED] = PM_RELEASE_UNUSED,
    };
    struct held *held = find(mgr, lease);

    if (!held || (unsigned)how >= PM_ARRAY_LEN(hows))
        return;
    pm_lib_enter(mgr);
    pm_manager_release(mgr->manager, &held->ticket, hows[how]);
    held_free(held);
}

void poolmgr_lease_touch(struct poolmgr *mgr, const struct poolmgr_lease *lease)
{
    struct held *held = find(mgr, lease);

    if (!held)
        return;
    pm_lib_enter(mgr);
    pm_manager_touch(mgr->manager, &held->ticket);
}

int poolmgr_lease_endpoint(struct poolmgr *mgr, const struct poolmgr_lease *lease,
                           struct poolmgr_endpoint *ret, struct poolmgr_error *err)
{
    const struct held *held = find(mgr, lease);
    const char *model_name;

    if (!held)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "it is no lease any more");

    model_name = held->spec->external.model_name ? held->spec->external.model_name
                                                 : held->spec->runs->model_name;
    pm_lib_fill(ret,
                &(const struct poolmgr_endpoint){
                    .url = held->grant.endpoint,
                    .api_key = held->grant.api_key,
                    .model_name = model_name ? model_name : "",
                    .pool_id = held->spec->id,
                    .replica = held->grant.lease.replica,
                },
                sizeof(*ret));
    return POOLMGR_OK;
}

void pm_lib_leases_free(struct poolmgr *mgr)
{
    struct pm_list *const lists[] = {&mgr->held, &mgr->lost};
    struct pm_link *link;

    for (size_t i = 0; i < PM_ARRAY_LEN(lists); i++) {
        while ((link = pm_list_first(lists[i]))) {
            struct held *held = pm_container_of(link, struct held, link);

            if (lists[i] == &mgr->held && mgr->manager)
                pm_manager_release(mgr->manager, &held->ticket, PM_RELEASE_CLIENT_CLOSED);
            held_free(held);
        }
    }
    pm_map_fini(&mgr->leases);
}
