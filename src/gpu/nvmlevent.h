/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the driver, inside of pool-probe: a thread waits for them and writes them into a pipe. */
#ifndef PM_GPU_NVMLEVENT_H
#define PM_GPU_NVMLEVENT_H

#include <pthread.h>

#include "gpu/look.h"

struct pm_nvml_events {
    const struct pm_nvml *nvml;
    pm_nvml_set set;
    int read_fd, write_fd; /* whole struct pm_nvml_event; -1: this library has no events */
    pthread_t thread;
    bool runs;
};

void pm_nvml_events_open(struct pm_nvml_events *events, const struct pm_nvml *nvml);

/* Waits for the events of those that are not waited for yet. */
void pm_nvml_events_watch(struct pm_nvml_events *events, struct pm_look *look);

/* What came in, as a frame says it, with the driver's own answer; false: nothing, or nothing of interest. Does not
 * wait. */
bool pm_nvml_events_take(struct pm_nvml_events *events, const struct pm_look *look,
                         struct pm_gpu_event *ret);

/* The thread may wait in the driver for long; it ends with the process, and nothing of it can be freed before. */

#endif
