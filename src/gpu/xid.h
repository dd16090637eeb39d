/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XIDs, the numbers under which NVIDIA's driver reports errors: what each asks for is a table. The driver's own
 * answer ("recovery action") is heard, too, and the more severe one counts.
 */
#ifndef PM_GPU_XID_H
#define PM_GPU_XID_H

#include <stdbool.h>
#include <stdint.h>

#include "core/words.h"

#define PM_XID_REPEAT_MS (10 * 60 * 1000) /* 109 twice within this: RESET */
#define PM_XID_BLAME_MS                                                                            \
    (10 * 1000) /* an unknown XID, and an engine there that dies within this: APP */

/* What is remembered of one GPU between its XIDs. Zeros: none came yet. */
struct pm_xid_memory {
    bool had_109;
    uint64_t last_109_ms;
};

struct pm_xid_verdict {
    enum pm_xid_action action;
    bool known; /* false: NOTE now, and APP if an engine on that GPU dies within PM_XID_BLAME_MS */
    bool remap_pending; /* rows of memory are to be replaced with the next reset */
};

/*
 * What an XID asks for.
 *
 * @param recovery  What the driver asks for (struct pm_gpu_event); PM_GPU_UNKNOWN where it does not tell.
 *                  1 and 4 are a RESET, 2 is LOST, 3 stops the engines there: APP.
 * @param own_stop  An engine there ended by our own doing a moment ago: XID 45 is its echo.
 * @param memory    Of that GPU.
 */
struct pm_xid_verdict pm_xid_judge(int xid, int recovery, bool own_stop, uint64_t now_ms,
                                   struct pm_xid_memory *memory);

/* The same without a memory and without the driver's answer: what the table says (ASK: NOTE). */
enum pm_xid_action pm_xid_action(int xid);

/* "graphics engine exception": what it is, for people; "" where this table has no words. */
const char *pm_xid_text(int xid);

#endif
