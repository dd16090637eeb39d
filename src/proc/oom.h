/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_PROC_OOM_H
#define PM_PROC_OOM_H

#include <stdint.h>

/* How many processes the kernel has killed for want of memory: in our memory cgroup where it counts them, else on the
 * machine. A SIGKILL that was not ours, with this number grown, was such a kill. */
uint64_t pm_oom_kills(void);

#endif
