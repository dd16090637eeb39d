/* SPDX-License-Identifier: Apache-2.0 */
/* What core shows, as the API's JSON. Pure: views in, values out; what is unknown is left out. */
#ifndef PM_API_SHAPES_H
#define PM_API_SHAPES_H

#include "api/json.h"
#include "config/config.h"
#include "manager/manager.h"

/* `replicas`: view->n_replicas of them. */
json_t *pm_pool_json(const struct pm_pool_view *view, const struct pm_replica_view *replicas,
                     const struct pm_clock *clock);
json_t *pm_pool_health_json(const struct pm_pool_view *view, const struct pm_replica_view *replicas,
                            const struct pm_clock *clock);
/* What its engine holds of which device; nothing where none is planned. */
void pm_put_replica_devices(json_t *replica, const struct pm_manager *manager, const char *pool_id,
                            unsigned index);
json_t *pm_operation_json(const struct pm_operation *op, const struct pm_clock *clock);

const char *pm_family_name(enum pm_family family);

/* "op-17" → 17; false: it is not an operation's id. */
bool pm_operation_id(const char *text, uint64_t *ret);

#endif
