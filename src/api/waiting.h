/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_API_WAITING_H
#define PM_API_WAITING_H

#include "api/call.h"

/* Answers with an operation: 200 when it has ended, at the latest after the query's `wait`; else with status_running
 * and its Location. */
void pm_call_operation(struct pm_call *call, uint64_t op, int status_running);

/* The query's `wait` is good, to be asked before a command is given; false: it was answered with 400. */
bool pm_call_wait_ok(struct pm_call *call);

#endif
