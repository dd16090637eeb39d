/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cheap part of a preflight, before every start (LOAD-2): what the engine's launch would stumble over a moment
 * later, in words that say so. Some system calls, a few microseconds; the model and the program are checked elsewhere
 * (pm_engine_check_model(), pm_engine_command()), and a log folder that takes nothing keeps no engine from running.
 */
#ifndef PM_PROVISION_START_H
#define PM_PROVISION_START_H

#include <stdbool.h>
#include <stdint.h>

#include "core/spec.h"
#include "util/error.h"

struct pm_start_needs {
    const char *instances_dir; /* RUN/instances: the instance's folder is made there */
};

struct pm_start_facts {
    int folder_error; /* errno of writing to instances_dir; 0 */
    bool folder_known;
    uint64_t folder_free_bytes;
    bool inodes_known; /* false: its file system has no fixed number */
    uint64_t n_free_inodes;
    bool descriptors_known;
    uint64_t n_free_descriptors;
};

/* Pure. POOLMGR_E_FOLDER_DENIED, POOLMGR_E_DISK_FULL, POOLMGR_E_DESCRIPTORS_SHORT: not now;
 * each says what, how much of it, and what to do. */
int pm_start_judge(const struct pm_start_facts *facts, const struct pm_start_needs *needs,
                   struct poolmgr_error *err);

/* By its `devices`, as written. */
enum pm_where { PM_WHERE_EITHER /* auto */, PM_WHERE_CPU, PM_WHERE_GPU };
enum pm_where pm_pool_where(const struct pm_pool_spec *spec);

void pm_start_look(const struct pm_start_needs *needs, struct pm_start_facts *ret);

#endif
