/* SPDX-License-Identifier: Apache-2.0 */
/* The files of an instance's folder, read and written by daemon and shim alike. */
#ifndef PM_PROC_FOLDER_H
#define PM_PROC_FOLDER_H

#include "proc/process.h"

#define PM_SPEC_MAX_BYTES (8 * 1024 * 1024)
#define PM_EXIT_MAX_BYTES (256 * 1024)

/* The name of the variable by which processes of an instance are found again; its value is the folder's path. */
#define PM_FOLDER_VARIABLE "POOLMGR_INSTANCE_DIR"

/* spec.json as read. Everything is owned by it. */
struct pm_shim_spec {
    struct pm_strv argv, env;
    char *log_path, *ready_line, *meta; /* the last two may be NULL */
    uint64_t log_max_bytes, log_files, orphan_timeout_ms, started_ms;
    unsigned replica;
    bool core_dumps;
};
void pm_shim_spec_fini(struct pm_shim_spec *spec);

int pm_spec_write(const char *folder, const struct pm_launch *launch, uint64_t started_ms,
                  struct poolmgr_error *err);
int pm_spec_read(const char *folder, struct pm_shim_spec *ret, struct poolmgr_error *err);

/* exit.json. The log's tail is written as text whatever bytes it holds. */
int pm_exit_write(const char *folder, const struct pm_process_exit *how, struct poolmgr_error *err);
/* ret->log_tail is the caller's; NULL when there is no exit.json. */
bool pm_exit_read(const char *folder, struct pm_process_exit *ret);

/* Who holds the folder's lock; 0: nobody. */
pid_t pm_lock_holder(const char *folder);
/* Takes the lock for this process; the descriptor, or -1. It must stay open, and the file never opened again. */
int pm_lock_take(const char *folder);

#endif
