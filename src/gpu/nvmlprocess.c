/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of processes have 24 bytes, but some drivers wrote 32 or 16. So each row is given 32, all bytes of a value that
 * no row has, and what was written tells the width: n rows of 24 leave the last quarter as it was, of 16 the last half.
 */
#include <limits.h>
#include <string.h>

#include "gpu/nvml.h"
#include "util/str.h"

#define SPARE_ROWS 16 /* for who comes between the two calls */
#define TRIES      3

static bool is_poison(const unsigned char *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (from[i] != PM_NVML_POISON)
            return false;
    }
    return true;
}

size_t pm_nvml_stride(const unsigned char *rows, size_t n)
{
    if (is_poison(rows + 16 * n, 16 * n))
        return 16;
    return is_poison(rows + 24 * n, 8 * n) ? 24 : PM_NVML_ROW_MAX;
}

/* One call with room for n rows: PM_NVML_OK, or PM_NVML_BUFFER_TOO_SMALL and *n how many there are. */
static int call(const struct pm_nvml *nvml, pm_nvml_device device, bool detailed, unsigned *n,
                void *rows)
{
    struct pm_nvml_process_list list = {.version = PM_NVML_TAG(struct pm_nvml_process_list, 1)};
    int code;

    if (!detailed)
        return PM_NVML_CALL(nvml, processes, device, n, rows);

    list.count = *n;
    list.rows = rows;
    code = PM_NVML_CALL(nvml, process_list, device, &list);
    *n = list.count;
    return code;
}

/* All rows, poisoned behind what was written; the caller's. */
static int read_rows(const struct pm_nvml *nvml, pm_nvml_device device, bool detailed, size_t n_max,
                     unsigned char **ret, size_t *ret_n)
{
    unsigned n = 0, room;
    int code = call(nvml, device, detailed, &n, NULL);

    for (int i = 0; code == PM_NVML_BUFFER_TOO_SMALL && i < TRIES; i++) {
        pm_auto_free unsigned char *rows = NULL;

        if (n > n_max)
            return PM_NVML_BUFFER_TOO_SMALL;
        room = n + SPARE_ROWS;
        rows = pm_xalloc((size_t)room * PM_NVML_ROW_MAX);
        memset(rows, PM_NVML_POISON, (size_t)room * PM_NVML_ROW_MAX);
        n = room;
        code = call(nvml, device, detailed, &n, rows);
        if (code == PM_NVML_OK && n <= room && n <= n_max) {
            *ret = pm_take(rows);
            *ret_n = n;
            return PM_NVML_OK;
        }
    }

    *ret_n = 0;
    return code == PM_NVML_OK && n > 0 ? PM_NVML_UNKNOWN : code; /* rows without room for them */
}

/* Returns whether the memory of each is known. */
static bool take_rows(const unsigned char *rows, size_t n, struct pm_gpu_process *to)
{
    size_t stride = pm_nvml_stride(rows, n);
    bool all_known = true;

    for (size_t i = 0; i < n; i++) {
        uint32_t pid;

        memcpy(&pid, rows + i * stride, sizeof(pid));
        memcpy(&to[i].bytes, rows + i * stride + 8, sizeof(to[i].bytes));
        to[i].pid = pid <= INT_MAX ? (int)pid : 0;
        to[i].bytes_known = to[i].bytes != UINT64_MAX;
        all_known = all_known && to[i].bytes_known;
    }
    return all_known;
}

bool pm_nvml_processes(const struct pm_nvml *nvml, pm_nvml_device device, size_t n_max,
                       struct pm_gpu_process **ret, size_t *ret_n)
{
    pm_auto_free unsigned char *rows = NULL;
    size_t n = 0;
    int code = read_rows(nvml, device, true, n_max, &rows, &n);

    if (code != PM_NVML_OK && code != PM_NVML_BUFFER_TOO_SMALL)
        code = read_rows(nvml, device, false, n_max, &rows, &n);

    *ret = NULL;
    *ret_n = 0;
    if (code != PM_NVML_OK)
        return false;
    if (n == 0)
        return true;

    *ret = pm_xalloc(n * sizeof((*ret)[0]));
    *ret_n = n;
    return take_rows(rows, n, *ret);
}
