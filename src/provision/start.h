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
    /* What the engine will have of the machine's memory for itself; a model that is mapped can be given back and does
     * not count. 0: not known. */
    uint64_t memory_bytes;
};

struct pm_start_facts {
    int folder_error; /* errno of writing to instances_dir; 0 */
    bool folder_known;
    uint64_t folder_free_bytes;
    bool inodes_known; /* false: its file system has no fixed number */
    uint64_t n_free_inodes;
    bool descriptors_known;
    uint64_t n_free_descriptors;
    bool memory_known;
    uint64_t memory_bytes; /* that can be had */
};

/* Pure. POOLMGR_E_FOLDER_DENIED, POOLMGR_E_DISK_FULL, POOLMGR_E_DESCRIPTORS_SHORT, POOLMGR_E_MEMORY_SHORT: not now;
 * each says what, how much of it, and what to do. */
int pm_start_judge(const struct pm_start_facts *facts, const struct pm_start_needs *needs,
                   struct poolmgr_error *err);

/* By its `devices`, as written. */
enum pm_where { PM_WHERE_EITHER /* auto */, PM_WHERE_CPU, PM_WHERE_GPU };
enum pm_where pm_pool_where(const struct pm_pool_spec *spec);

/* Will its engine have the whole model in memory that is its own? On the CPU, and told to read or lock it instead of
 * mapping it. */
bool pm_start_keeps_model(const struct pm_pool_spec *spec);

/* Memory is looked at only where the needs name some: that costs more than all the rest. */
void pm_start_look(const struct pm_start_needs *needs, struct pm_start_facts *ret);

#endif
