/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_API_WAITING_H
#define PM_API_WAITING_H

#include "api/call.h"

/* Answers with an operation when it stands: 200 when it has ended by the query's `wait`, else status_running and its
 * Location. One that is refused is answered with its error. */
void pm_call_operation(struct pm_call *call, uint64_t op, int status_running);

/* Calls `accepted` when the command stands; one that is refused is answered with its error. */
void pm_call_when_accepted(struct pm_call *call, uint64_t op,
                           void (*accepted)(struct pm_call *call, const struct pm_operation *op));

/* The query's `wait` is good, to be asked before a command is given; false: it was answered with 400. */
bool pm_call_wait_ok(struct pm_call *call);

#endif
