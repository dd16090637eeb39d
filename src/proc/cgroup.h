/* SPDX-License-Identifier: Apache-2.0 */
/* A cgroup (v2) of its own for an instance's tree, where this process may make one. */
#ifndef PM_PROC_CGROUP_H
#define PM_PROC_CGROUP_H

#include <stdbool.h>

/* Makes it below the cgroup that this process is in, if that one was delegated, and leaves the link `cgroup` to it in
 * the instance's folder. False: there is none, and the tree is killed process by process. */
bool pm_cgroup_make(const char *folder);
/* Moves this process into the folder's cgroup; what it starts is in it, too. */
bool pm_cgroup_enter(const char *folder);
/* SIGKILL to all in the folder's cgroup, at once, so that none can fork away. True: there was somebody. */
bool pm_cgroup_kill(const char *folder);
/* Removes the folder's cgroup, if it is empty. */
void pm_cgroup_remove(const char *folder);

#endif
