/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that look share. For provision/ only. */
#ifndef PM_PROVISION_GATHERINNER_H
#define PM_PROVISION_GATHERINNER_H

#include "provision/gather.h"

/* A small file below root; the caller's, NULL when it cannot be read. */
char *pm_look_text(const char *root, const char *path);
/* Its first line without the end of it; "" and false when it cannot be read. */
bool pm_look_line(const char *root, const char *path, char *to, size_t size);
bool pm_look_number(const char *root, const char *path, uint64_t *ret);
bool pm_look_there(const char *root, const char *path);
/* The name of a number in /etc/passwd or /etc/group; the number itself where it has none. */
void pm_look_name(const char *root, const char *path, unsigned id, char *to, size_t size);
/* The first of the blank-separated programs that is in a folder of `folders` ("/usr/bin:/bin") and may be run, as it
 * is called there, without root; the caller's, NULL: none. */
char *pm_look_program(const char *root, const char *folders, const char *programs);
bool pm_look_runnable(const char *root, const char *path);

void pm_look_at_system(const char *root, struct pm_facts *facts);
void pm_look_at_cgroup(const char *root, struct pm_cgroup_facts *ret);
void pm_look_at_limits(const char *root, struct pm_facts *facts);
void pm_look_at_folders(const struct pm_gather *gather, struct pm_facts *facts);
void pm_look_at_listeners(const struct pm_gather *gather, struct pm_facts *facts);
void pm_look_at_programs(const struct pm_gather *gather, struct pm_facts *facts);
void pm_look_at_driver(const struct pm_gather *gather, struct pm_driver_facts *ret);

/* The CUDA that a program is linked with, by what it and the libraries beside it ask the loader for. False: none. */
bool pm_look_cuda(const char *root, const char *program, struct pm_engine_facts *ret);

#endif
