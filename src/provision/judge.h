/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that judge share. For provision/ only. */
#ifndef PM_PROVISION_JUDGE_H
#define PM_PROVISION_JUDGE_H

#include "provision/preflight.h"

struct pm_judging {
    const struct pm_facts *facts;
    const struct pm_needs *needs;
    struct pm_preflight *out;
};

/* A path of blanks and the like, as one word of a shell; anything else as it is. The caller's. */
char *pm_judge_word(const char *about);

/* Adds a verdict: of PM_FOUND_NOTHING a pass. `about` takes the place of {} in its fix, `value` may be NULL. Good
 * until the next one is added. */
struct pm_checked *pm_judge_say(struct pm_judging *judging, enum pm_check check,
                                enum pm_finding finding, const char *about, const char *value,
                                const char *format, ...)
    __attribute__((__format__(__printf__, 6, 7)));
/* The same, and its value is a size. */
struct pm_checked *pm_judge_size(struct pm_judging *judging, enum pm_check check,
                                 enum pm_finding finding, const char *about, uint64_t bytes,
                                 const char *format, ...)
    __attribute__((__format__(__printf__, 6, 7)));
/* A fail that is only a warning here. */
void pm_judge_soften(struct pm_checked *checked);

void pm_judge_system(struct pm_judging *judging);
void pm_judge_gpu(struct pm_judging *judging);
void pm_judge_tools(struct pm_judging *judging);
void pm_judge_disk(struct pm_judging *judging);
void pm_judge_memory(struct pm_judging *judging);
void pm_judge_limits(struct pm_judging *judging);
void pm_judge_network(struct pm_judging *judging);
void pm_judge_clock(struct pm_judging *judging);

/* "535.54.03" against "535.104": as strcmp() does, number by number. */
int pm_version_compare(const char *a, const char *b);

/* The least driver for programs of that CUDA, and the one that came with it (the newest minor version up to that one
 * that the table has); NULL: a CUDA that the table does not know. */
const char *pm_cuda_least_driver(unsigned major);
const char *pm_cuda_own_driver(unsigned major, unsigned minor);

#endif
