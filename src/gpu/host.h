/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine without a driver: its memory, as far as we may use it, and which GPUs are plugged in. Everything is
 * read below a root, so that recorded trees can be looked at, too; NULL or "" is this machine.
 */
#ifndef PM_GPU_HOST_H
#define PM_GPU_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "plan/mask.h"
#include "util/error.h"

struct pm_host_memory {
    uint64_t total_bytes, available_bytes; /* MemTotal, MemAvailable */
    /* Of the control group, or the one above it, that leaves least; UINT64_MAX: none has a limit. */
    uint64_t limit_bytes;
    uint64_t limit_used_bytes; /* in use there, caches of files included */
    uint64_t
        limit_cache_bytes; /* of these, files that were not used lately: given back when asked for */
    uint64_t limit_file_bytes; /* all files: what is mapped is among them, and can be read again */
    /* min(MemAvailable, limit - used). */
    uint64_t capacity_bytes;
    /* The whole of it, and what is free, as a plan counts: files of a group are given back when somebody needs the room, as
     * they are in MemAvailable. */
    uint64_t most_bytes, free_bytes;
};

/* POOLMGR_E_INTERNAL: <root>/proc/meminfo cannot be read, or lacks a line. Control groups that cannot be read limit
 * nothing. */
int pm_host_memory(const char *root, struct pm_host_memory *ret, struct poolmgr_error *err);

/* GPUs by vendor that a plan could be for, whether a driver works or not. Not counted: what is part of a processor
 * and lives in its memory. */
struct pm_gpu_hardware {
    unsigned n[PM_VENDOR_COUNT];
};

void pm_gpu_hardware(const char *root, struct pm_gpu_hardware *ret);

#endif
