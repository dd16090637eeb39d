/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of devices that masks were resolved to: their normal form, and how they lie to each other. */
#include "plan/mask.h"
#include "util/buf.h"
#include "util/str.h"

static void add_name(struct pm_buf *buf, const struct pm_gpu *gpu)
{
    if (gpu->id[0])
        pm_buf_adds(buf, gpu->id);
    else if (gpu->pci[0])
        pm_buf_addf(buf, "pci:%s", gpu->pci);
    else
        pm_buf_addf(buf, "%u", gpu->index);
}

char *pm_mask_normal(const struct pm_gpu *gpus, const size_t *set, size_t n)
{
    pm_auto_buf struct pm_buf buf = {0};

    for (int vendor = 0; vendor < PM_VENDOR_COUNT; vendor++) {
        bool begun = false;

        for (size_t i = 0; i < n; i++) {
            const struct pm_gpu *gpu = &gpus[set[i]];

            if ((int)gpu->vendor != vendor)
                continue;
            if (begun)
                pm_buf_adds(&buf, ",");
            else
                pm_buf_addf(&buf, "%s%s:", buf.n > 0 ? ";" : "", pm_vendor_name(gpu->vendor));
            add_name(&buf, gpu);
            begun = true;
        }
    }
    if (n == 0)
        pm_buf_adds(&buf, "none");
    return pm_xstrdup(pm_buf_text(&buf));
}

bool pm_mask_subset(const size_t *a, size_t n_a, const size_t *b, size_t n_b)
{
    for (size_t i = 0; i < n_a; i++) {
        size_t k = 0;

        while (k < n_b && b[k] != a[i])
            k++;
        if (k == n_b)
            return false;
    }
    return true;
}

/* A resolved set has every device once. */
bool pm_mask_equal(const size_t *a, size_t n_a, const size_t *b, size_t n_b)
{
    return n_a == n_b && pm_mask_subset(a, n_a, b, n_b);
}
