/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway as the router and the API see it. */
#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/counters.h"
#include "gateway/flight.h"

struct pm_gateway *pm_gateway_new(struct pm_manager *manager)
{
    struct pm_gateway *gateway = pm_xalloc(sizeof(*gateway));

    gateway->manager = manager;
    pm_list_init(&gateway->flights);
    pm_list_init(&gateway->all_counters);
    return gateway;
}

void pm_gateway_free(struct pm_gateway *gateway)
{
    struct pm_link *link;

    if (!gateway)
        return;

    while ((link = pm_list_first(&gateway->flights))) {
        struct pm_flight *flight = pm_container_of(link, struct pm_flight, link);

        flight->exchange = NULL;
        pm_flight_end(flight);
    }
    pm_counters_free(gateway);
    free(gateway);
}

size_t pm_gateway_n_flights(const struct pm_gateway *gateway)
{
    return gateway ? gateway->n_flights : 0;
}

bool pm_gateway_flight_at(const struct pm_gateway *gateway, size_t i, struct pm_flight_view *ret)
{
    struct pm_link *link;

    if (!gateway)
        return false;

    pm_list_each (&gateway->flights, link) {
        const struct pm_flight *flight = pm_container_of(link, struct pm_flight, link);
        uint64_t position = 0;

        if (flight->phase == FLIGHT_READING || i-- > 0)
            continue;
        (void)pm_core_waiter(pm_manager_core(gateway->manager), flight->ticket.id, &position);
        *ret = (struct pm_flight_view){
            .request_id = flight->request_id,
            .pool_id = flight->pool_id,
            .route = flight->route,
            .running = flight->phase != FLIGHT_WAITING,
            .stream = flight->stream,
            .queue_position = position,
            .age_ms = pm_flight_now(flight) - flight->arrived_ms,
        };
        return true;
    }
    return false;
}

static struct pm_flight *find(struct pm_gateway *gateway, const char *request_id)
{
    struct pm_link *link;

    pm_list_each (&gateway->flights, link) {
        struct pm_flight *flight = pm_container_of(link, struct pm_flight, link);

        if (strcmp(flight->request_id, request_id) == 0 && flight->phase != FLIGHT_DISCARDING)
            return flight;
    }
    return NULL;
}

int pm_gateway_cancel(struct pm_gateway *gateway, const char *request_id, struct poolmgr_error *err)
{
    struct pm_flight *flight = gateway ? find(gateway, request_id) : NULL;
    struct poolmgr_error why = {0};

    if (!flight)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no request '%.*s' waits or runs",
                       PM_REQUEST_ID_MAX, request_id);

    (void)pm_fail(&why, POOLMGR_E_CONFLICT, "the request was cancelled by an operator");
    pm_flight_release(flight, PM_RELEASE_CLIENT_CLOSED);
    pm_flight_fail(flight, &why);
    return POOLMGR_OK;
}
