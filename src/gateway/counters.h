/* SPDX-License-Identifier: Apache-2.0 */
/* For the files of gateway/ only. */
#ifndef PM_GATEWAY_COUNTERS_H
#define PM_GATEWAY_COUNTERS_H

#include "gateway/flight.h"

/* Never NULL; lives as long as the gateway. */
struct pm_gateway_counters *pm_counters_of(struct pm_gateway *gateway, const char *pool_id);
void pm_histogram_add(struct pm_histogram *histogram, uint64_t ms);
void pm_counters_free(struct pm_gateway *gateway);

#endif
