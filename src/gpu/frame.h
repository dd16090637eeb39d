/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of frames: words that both ends know. */
#ifndef PM_GPU_FRAME_H
#define PM_GPU_FRAME_H

#include "gpu/gpu.h"

#define PM_GPU_HEAD_BYTES 4 /* the length in front of a frame */

extern const char *const pm_gpu_event_names[PM_GPU_EVENT_KIND_COUNT];

#endif
