/* SPDX-License-Identifier: Apache-2.0 */
/* A cgroup (v2) of its own for an instance's tree, where this process may make one. */
#ifndef PM_PROC_CGROUP_H
#define PM_PROC_CGROUP_H

#include <stdbool.h>

/* The folder of the cgroup (v2) that this process is in, below `root` ("": this machine), and of the hierarchy's top;
 * both the caller's. NULL: there is none. ret_top may be NULL. */
char *pm_cgroup_own(const char *root, char **ret_top);
/* It was handed to us: we may make others in it. */
bool pm_cgroup_is_delegated(const char *cgroup);

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
