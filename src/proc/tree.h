/* SPDX-License-Identifier: Apache-2.0 */
/* Processes as /proc shows them: descendants, and who carries a folder's name in the environment. */
#ifndef PM_PROC_TREE_H
#define PM_PROC_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What /proc/<pid>/stat says. False: no such process, or a zombie. */
struct pm_stat {
    pid_t parent, group;
    uint64_t cpu_ms; /* its own and its reaped children's */
};
bool pm_stat_read(pid_t pid, struct pm_stat *ret);

/* Memory that a process and those it began have of their own: not of files, unless they are locked into it. 0: none is
 * there, or nobody may look. */
uint64_t pm_tree_own_bytes(pid_t root);

/* What a process calls itself, as ps shows it. False: no such process. */
bool pm_process_name(pid_t pid, char *to, size_t size);

/* Calls fn for each process, zombies too. */
void pm_each_process(void (*fn)(void *ctx, pid_t pid), void *ctx);

/* SIGKILL to each descendant of `root` (not to itself); returns how many there were. */
unsigned pm_kill_descendants(pid_t root);
bool pm_is_descendant(pid_t pid, pid_t root);

/* The value of a variable in the environment a process was started with; false: it has none, or may not be read. */
bool pm_process_variable(pid_t pid, const char *name, char *to, size_t size);

/* SIGKILL by pidfd to every process whose environment names this folder; returns how many there were. `told` (may be
 * NULL) is called for each. */
unsigned pm_kill_by_folder(const char *folder, void (*told)(void *ctx, pid_t pid), void *ctx);

#endif
