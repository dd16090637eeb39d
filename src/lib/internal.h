/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the library share. */
#ifndef PM_LIB_INTERNAL_H
#define PM_LIB_INTERNAL_H

#include "manager/manager.h"
#include "poolmgr/poolmgr.h"
#include "util/map.h"

struct poolmgr {
    struct poolmgr_options options; /* the callbacks; its texts are not kept */
    struct pm_config *config;
    char *shim_path, *probe_path;
    struct pm_loop *loop;
    struct pm_sink *sink;
    struct pm_manager *manager;

    struct pm_sink_reader reader;
    struct pm_task call_task; /* callbacks, at the end of a turn */
    uint64_t next_event;
    bool stopped, told_stopped, dispatching;

    struct pm_map leases; /* id → struct held */
    struct pm_list held, lost;
    uint64_t last_lease;
    struct pm_list handoffs;

    /* what the last looking function pointed into */
    struct pm_pool_view view;
    struct pm_operation operation;
};

/* Every function of the API begins with this: a host's loop may have slept. */
static inline void pm_lib_enter(struct poolmgr *mgr)
{
    pm_loop_refresh(mgr->loop);
}

/* Copies what the caller's struct has room for; its `size` stays. */
void pm_lib_fill(void *to, const void *from, size_t size);
/* Copies what the caller's struct has; what it has not stays as it is. */
void pm_lib_take(void *to, const void *from, size_t size);

/* lease.c */
void pm_lib_leases_free(struct poolmgr *mgr);
void pm_lib_tell_lost(struct poolmgr *mgr);

/* handoff.c */
void pm_lib_handoffs_free(struct poolmgr *mgr);

#endif
