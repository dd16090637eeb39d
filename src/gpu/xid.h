/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XIDs, the numbers under which NVIDIA's driver reports errors: what each asks for is a table. The driver's own
 * answer ("recovery action") is heard, too, and the more severe one counts.
 */
#ifndef PM_GPU_XID_H
#define PM_GPU_XID_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/gpu.h"

#define PM_XID_REPEAT_MS (10 * 60 * 1000) /* 109 twice within this: RESET */
#define PM_XID_BLAME_MS                                                                            \
    (10 * 1000) /* an unknown XID, and an engine there that dies within this: APP */

/* What is remembered of one GPU between its XIDs. Zeros: none came yet. */
struct pm_xid_memory {
    bool had_109;
    uint64_t last_109_ms;
    enum pm_device_state says; /* what XIDs made of it: PM_DEVICE_OK, RESET_REQUIRED or LOST */
    bool asked, gone; /* since then its driver asked for something; it could not be used at all */
    int64_t n_ecc;    /* since then the most uncorrected errors that were counted */
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

/*
 * A driver that cannot ask for a reset shows a GPU that needs one as if nothing were wrong. So the word of an XID holds
 * until a reset is seen: the driver asked for something and does not any more, the GPU was lost or unusable and is back,
 * or its count of errors began anew; or until an operator says so (zeros in *memory). To be called with each look.
 */
void pm_xid_see(struct pm_xid_memory *memory, const struct pm_gpu_seen *gpu);

/* What state a GPU is in that is seen in this one. Its instances share it. */
enum pm_device_state pm_xid_state(const struct pm_xid_memory *memory, enum pm_device_state seen);

/* What an XID asks for without a memory and without the driver's answer: what the table says (ASK: NOTE). */
enum pm_xid_action pm_xid_action(int xid);

/* "graphics engine exception": what it is, for people; "" where this table has no words. */
const char *pm_xid_text(int xid);

#endif
