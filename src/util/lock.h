/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock that makes a process the only one in a folder. It is the kernel's: it ends with the process, and its
 * holder's pid can be asked for. The process must not open <folder>/lock again, since any close of it drops the lock.
 */
#ifndef PM_UTIL_LOCK_H
#define PM_UTIL_LOCK_H

#include "util/error.h"

/* POOLMGR_E_CONFLICT names the folder and its holder's pid. */
int pm_folder_lock(const char *folder, int *ret_fd, struct poolmgr_error *err);
void pm_folder_unlock(int *fd); /* -1: nothing to do */

#endif
