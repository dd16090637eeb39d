/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, and what the kernel lets us have of other things. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "provision/judge.h"
#include "util/str.h"

#define MIB UINT64_C(1048576)
#define GIB (1024 * MIB)

#define MEMORY_LEAST        (256 * MIB)
#define MEMORY_WISHED       GIB
#define SWAP_USED_MOST      (256 * MIB)
#define DESCRIPTORS_WISHED  4096
#define DESCRIPTORS_OF_OURS 64 /* besides two a connection */

/* ---- memory ----------------------------------------------------------------------------------------- */

static void judge_free_memory(struct pm_judging *j)
{
    const struct pm_memory_facts *memory = &j->facts->memory;
    const struct pm_host_memory *host = &memory->host;
    bool by_cgroup =
        host->limit_bytes != UINT64_MAX && host->capacity_bytes < host->available_bytes;
    char bound[32], wanted[32], of[96];

    (void)pm_format_bytes(bound, sizeof(bound), by_cgroup ? host->limit_bytes : host->total_bytes);
    (void)snprintf(of, sizeof(of), by_cgroup ? "of the %s that our cgroup may use" : "of %s",
                   bound);
    if (!memory->known)
        (void)pm_judge_say(j, PM_CHECK_MEMORY, PM_FOUND_MEMORY_UNKNOWN, NULL, NULL,
                           "/proc/meminfo cannot be read");
    else if (host->capacity_bytes < MEMORY_LEAST)
        (void)pm_judge_size(j, PM_CHECK_MEMORY, PM_FOUND_MEMORY_OUT, NULL, host->capacity_bytes,
                            "%s; no engine can start in less than 256 MiB", of);
    else if (memory->model_bytes > host->capacity_bytes)
        (void)pm_judge_size(j, PM_CHECK_MEMORY, PM_FOUND_MEMORY_SHORT, memory->model_pool,
                            host->capacity_bytes, "%s; the model of %s on the CPU has %s", of,
                            memory->model_pool,
                            pm_format_bytes(wanted, sizeof(wanted), memory->model_bytes));
    else if (host->capacity_bytes < MEMORY_WISHED)
        (void)pm_judge_size(j, PM_CHECK_MEMORY, PM_FOUND_MEMORY_LOW, NULL, host->capacity_bytes,
                            "%s", of);
    else
        (void)pm_judge_size(j, PM_CHECK_MEMORY, PM_FOUND_NOTHING, NULL, host->capacity_bytes, "%s",
                            of);
}

static void judge_overcommit(struct pm_judging *j)
{
    const struct pm_memory_facts *memory = &j->facts->memory;
    uint64_t limit = memory->commit_limit_bytes, used = memory->committed_bytes;
    uint64_t left = limit > used ? limit - used : 0;
    char value[8], text[32];

    if (memory->overcommit < 0)
        return;
    (void)snprintf(value, sizeof(value), "%d", memory->overcommit);
    if (memory->overcommit == 2 && left < memory->host.available_bytes)
        (void)pm_judge_say(j, PM_CHECK_OVERCOMMIT, PM_FOUND_OVERCOMMIT_STRICT, NULL, value,
                           "strict: %s more can be promised, less than is available",
                           pm_format_bytes(text, sizeof(text), left));
    else
        (void)pm_judge_say(j, PM_CHECK_OVERCOMMIT, PM_FOUND_NOTHING, NULL, value, "%s",
                           memory->overcommit == 2 ? "strict, with enough left" : "not strict");
}

static void judge_swap(struct pm_judging *j)
{
    const struct pm_memory_facts *memory = &j->facts->memory;
    uint64_t total = memory->swap_total_bytes, free = memory->swap_free_bytes;
    uint64_t used = total > free ? total - free : 0;
    char text[32];

    if (!memory->known)
        return;
    if (used > SWAP_USED_MOST)
        (void)pm_judge_size(j, PM_CHECK_SWAP, PM_FOUND_SWAP_USED, NULL, used,
                            "of %s in use: answers may wait for the disk",
                            pm_format_bytes(text, sizeof(text), memory->swap_total_bytes));
    else if (memory->swap_total_bytes == 0)
        (void)pm_judge_size(j, PM_CHECK_SWAP, PM_FOUND_NOTHING, NULL, 0, "there is no swap");
    else
        (void)pm_judge_size(j, PM_CHECK_SWAP, PM_FOUND_NOTHING, NULL, used, "of %s in use",
                            pm_format_bytes(text, sizeof(text), memory->swap_total_bytes));
}

void pm_judge_memory(struct pm_judging *j)
{
    judge_free_memory(j);
    judge_overcommit(j);
    judge_swap(j);
}

/* ---- limits ----------------------------------------------------------------------------------------- */

static const char *number(char *to, size_t size, uint64_t n)
{
    if (n == PM_UNLIMITED)
        (void)pm_str_copy(to, size, "unlimited");
    else
        (void)snprintf(to, size, "%" PRIu64, n);
    return to;
}

static void judge_descriptors(struct pm_judging *j)
{
    uint64_t n = j->facts->limits.n_descriptors, n_wanted = j->needs->n_connections;
    char value[24];

    (void)number(value, sizeof(value), n);
    if (n_wanted > 0 && (n < DESCRIPTORS_OF_OURS || (n - DESCRIPTORS_OF_OURS) / 2 < n_wanted))
        (void)pm_judge_say(j, PM_CHECK_DESCRIPTORS, PM_FOUND_DESCRIPTORS_SHORT, NULL, value,
                           "limits.connections is %" PRIu64 ", which needs %" PRIu64 " descriptors",
                           n_wanted, 2 * n_wanted + DESCRIPTORS_OF_OURS);
    else if (n < DESCRIPTORS_WISHED)
        (void)pm_judge_say(j, PM_CHECK_DESCRIPTORS, PM_FOUND_DESCRIPTORS_LOW, NULL, value,
                           "enough for about %" PRIu64 " streams at once", n / 2);
    else
        (void)pm_judge_say(j, PM_CHECK_DESCRIPTORS, PM_FOUND_NOTHING, NULL, value,
                           "the hard limit, to which the daemon raises its own");
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void judge_tasks(struct pm_judging *j)
{
    const struct pm_cgroup_facts *cgroup = &j->facts->cgroup;
    uint64_t of_cgroup = cgroup->n_tasks_max, n, n_wanted = j->needs->n_threads + 64;
    char value[24];

    if (of_cgroup != PM_UNLIMITED)
        of_cgroup = of_cgroup > cgroup->n_tasks ? of_cgroup - cgroup->n_tasks : 0;
    n = least_of(of_cgroup, j->facts->limits.n_processes);
    if (j->facts->limits.n_threads_max > 0)
        n = least_of(n, j->facts->limits.n_threads_max);
    (void)number(value, sizeof(value), n);
    if (n < n_wanted)
        (void)pm_judge_say(j, PM_CHECK_TASKS, PM_FOUND_TASKS_LOW, NULL, value,
                           "all engines at once may have %" PRIu64 " threads%s", n_wanted,
                           n == of_cgroup ? "; the cgroup allows no more" : "");
    else
        (void)pm_judge_say(j, PM_CHECK_TASKS, PM_FOUND_NOTHING, NULL, value,
                           "processes and threads; all engines at once may have %" PRIu64,
                           n_wanted);
}

static void judge_memlock(struct pm_judging *j)
{
    const struct pm_limit_facts *limits = &j->facts->limits;

    if (j->needs->locks_memory && limits->memlock_bytes != PM_UNLIMITED)
        (void)pm_judge_size(j, PM_CHECK_MEMLOCK, PM_FOUND_MEMLOCK_LOW, NULL, limits->memlock_bytes,
                            "an engine is told --mlock, and may lock no more than this");
    else
        (void)pm_judge_size(j, PM_CHECK_MEMLOCK, PM_FOUND_NOTHING, NULL, limits->memlock_bytes,
                            "%s",
                            j->needs->locks_memory ? "engines may lock their models"
                                                   : "no engine is told to lock memory");
}

static void judge_core(struct pm_judging *j)
{
    uint64_t bytes = j->facts->limits.core_bytes;

    if (j->needs->core_dumps && bytes == 0)
        (void)pm_judge_size(j, PM_CHECK_CORE, PM_FOUND_CORE_FORBIDDEN, NULL, bytes,
                            "core_dumps is true, and the hard limit is 0");
    else
        (void)pm_judge_size(j, PM_CHECK_CORE, PM_FOUND_NOTHING, NULL, bytes, "core dumps are %s",
                            j->needs->core_dumps ? "wanted, and allowed" : "not wanted");
}

void pm_judge_limits(struct pm_judging *j)
{
    if (!j->facts->limits.known)
        return;
    judge_descriptors(j);
    judge_tasks(j);
    judge_memlock(j);
    judge_core(j);
}
