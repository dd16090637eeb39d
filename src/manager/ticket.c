/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets of the gateway and requests of core. A ticket is held here from its request until its owner has it back,
 * so that an action for a request that is gone by now (its owner left while the action waited in the list) finds
 * nothing, and a slot granted to nobody is given back in the same step.
 */
#include <stdio.h>

#include "manager/internal.h"
#include "util/cleanup.h"

struct held {
    struct pm_link link;
    struct pm_ticket *ticket;
    struct pm_lease lease; /* serial 0: it waits */
    struct pm_token instance;
};

static struct held *find(struct pm_manager *manager, uint64_t id)
{
    return pm_map_get_u64(&manager->tickets, id);
}

static void drop(struct pm_manager *manager, struct held *held)
{
    struct pm_instance *instance = pm_instance_find(manager, held->instance);

    if (instance && held->lease.serial != 0)
        pm_instance_leases(instance, -1);
    (void)pm_map_remove_u64(&manager->tickets, held->ticket->id);
    pm_list_remove(&held->link);
    free(held);
}

void pm_manager_request(struct pm_manager *manager, struct pm_ticket *ticket,
                        struct pm_request *request)
{
    struct held *held = pm_xalloc(sizeof *held);

    ticket->id = request->id = ++manager->last_ticket;
    held->ticket = ticket;
    (void)pm_map_set_u64(&manager->tickets, ticket->id, held);
    pm_list_append(&manager->held, &held->link);

    pm_core_request(manager->core, request, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

void pm_manager_leave_queue(struct pm_manager *manager, struct pm_ticket *ticket)
{
    struct held *held = find(manager, ticket->id);
    uint64_t id = ticket->id;

    if (!held)
        return;

    drop(manager, held);
    pm_core_request_gone(manager->core, id, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

static void fill_grant(const struct pm_action *action, const struct pm_instance *instance,
                       struct pm_grant *grant)
{
    grant->lease = action->lease;
    grant->spec = instance->spec;
    (void)pm_str_copy(grant->endpoint, sizeof grant->endpoint, instance->endpoint);
    (void)pm_str_copy(grant->api_key, sizeof grant->api_key, instance->api_key);
    (void)pm_str_copy(grant->engine_version, sizeof grant->engine_version,
                      instance->engine_version);
    grant->queue_position = action->queue_position;
    grant->waited_ms = action->waited_ms;
    grant->waited = action->waited;
}

void pm_ticket_granted(struct pm_manager *manager, const struct pm_action *action)
{
    struct held *held = find(manager, action->request);
    struct pm_instance *instance = pm_instance_find(manager, action->lease_token);
    struct pm_grant grant = {0};

    if (!held || !instance) {
        /* Its owner left while this action waited its turn. (An instance that is not known any more has ended: core
         * cuts its leases in the actions that follow.) */
        pm_core_release(manager->core, &action->lease, PM_RELEASE_UNUSED, pm_manager_now(manager),
                        &manager->actions);
        return;
    }

    held->lease = action->lease;
    held->instance = action->lease_token;
    pm_instance_leases(instance, 1);
    fill_grant(action, instance, &grant);
    held->ticket->granted(held->ticket, &grant);
}

void pm_ticket_refused(struct pm_manager *manager, const struct pm_action *action)
{
    struct held *held = find(manager, action->request);
    char pool_id[PM_ID_MAX + 1];
    struct pm_refused how = {
        .error = action->error,
        .pool_id = pool_id,
        .queue_position = action->queue_position,
        .waited_ms = action->waited_ms,
        .waited = action->waited,
        .predicted_ms = action->predicted_ms,
    };
    struct pm_ticket *ticket;

    if (!held)
        return;

    ticket = held->ticket;
    (void)pm_str_copy(pool_id, sizeof pool_id, action->spec ? action->spec->id : "");
    drop(manager, held);
    ticket->refused(ticket, &how);
}

void pm_ticket_cut(struct pm_manager *manager, const struct pm_action *action)
{
    struct held *held = find(manager, action->request);

    if (held)
        held->ticket->cut(held->ticket, action->error);
}

void pm_manager_release(struct pm_manager *manager, struct pm_ticket *ticket, enum pm_release how)
{
    struct held *held = find(manager, ticket->id);
    struct pm_lease lease;

    if (!held)
        return;

    lease = held->lease;
    drop(manager, held);
    pm_core_release(manager->core, &lease, how, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

void pm_manager_abandon(struct pm_manager *manager, struct pm_ticket *ticket)
{
    struct held *held = find(manager, ticket->id);

    if (!held)
        return;

    pm_core_abandon(manager->core, &held->lease, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

void pm_manager_keep_alive(struct pm_manager *manager, struct pm_ticket *ticket,
                           uint64_t keep_alive_ms)
{
    struct held *held = find(manager, ticket->id);

    if (!held)
        return;

    pm_core_keep_alive(manager->core, &held->lease, keep_alive_ms, pm_manager_now(manager),
                       &manager->actions);
    pm_manager_flush(manager);
}

void pm_manager_perf(struct pm_manager *manager, struct pm_ticket *ticket, uint64_t first_token_ms,
                     uint64_t n_tokens, uint64_t decode_ms)
{
    struct held *held = find(manager, ticket->id);

    if (held)
        pm_core_perf(manager->core, &held->lease, first_token_ms, n_tokens, decode_ms);
}

void pm_manager_touch(struct pm_manager *manager, struct pm_ticket *ticket)
{
    struct held *held = find(manager, ticket->id);
    struct pm_instance *instance = held ? pm_instance_find(manager, held->instance) : NULL;

    if (instance)
        pm_instance_touch(instance);
}

void pm_tickets_free(struct pm_manager *manager)
{
    struct pm_link *link;

    while ((link = pm_list_first(&manager->held)))
        drop(manager, pm_container_of(link, struct held, link));
    pm_map_fini(&manager->tickets);
}
