/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which driver a CUDA needs, by the release notes of NVIDIA's CUDA toolkit, each row compared with them
 * (https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/, 13.3: table 2 "minimum required driver version for minor
 * version compatibility", table 3 "corresponding driver versions", Linux, the GA of each toolkit). Within one major
 * version a program runs on the major version's least driver; what it compiles at its start needs the driver that came
 * with its toolkit. There was no 12.7, and from 13.4 on toolkits come without a driver.
 */
#include <stdlib.h>

#include "provision/judge.h"
#include "util/cleanup.h"

/* Table 2 tells the branches (450, 525, 580). 450.80.02 is by the note below it; the others are of 12.0 and 13.0 GA. */
static const struct {
    unsigned major;
    const char *driver;
} least[] = {
    {11, "450.80.02"},
    {12, "525.60.13"},
    {13, "580.65.06"},
};

static const struct {
    unsigned major, minor;
    const char *driver;
} own[] = {
    {11, 0, "450.51.05"}, {11, 1, "455.23"},    {11, 2, "460.27.03"}, {11, 3, "465.19.01"},
    {11, 4, "470.42.01"}, {11, 5, "495.29.05"}, {11, 6, "510.39.01"}, {11, 7, "515.43.04"},
    {11, 8, "520.61.05"}, {12, 0, "525.60.13"}, {12, 1, "530.30.02"}, {12, 2, "535.54.03"},
    {12, 3, "545.23.06"}, {12, 4, "550.54.14"}, {12, 5, "555.42.02"}, {12, 6, "560.28.03"},
    {12, 8, "570.26"},    {12, 9, "575.51.03"}, {13, 0, "580.65.06"}, {13, 1, "590.44.01"},
    {13, 2, "595.45.04"}, {13, 3, "610.43.02"},
};

const char *pm_cuda_least_driver(unsigned major)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(least); i++) {
        if (least[i].major == major)
            return least[i].driver;
    }
    return NULL;
}

const char *pm_cuda_own_driver(unsigned major, unsigned minor)
{
    const char *found = NULL;

    for (size_t i = 0; i < PM_ARRAY_LEN(own); i++) {
        if (own[i].major == major && own[i].minor <= minor)
            found = own[i].driver;
    }
    return found;
}

int pm_version_compare(const char *a, const char *b)
{
    while (*a || *b) {
        char *end_a, *end_b;
        unsigned long x = strtoul(a, &end_a, 10), y = strtoul(b, &end_b, 10);

        if (x != y)
            return x < y ? -1 : 1;
        if (end_a == a && end_b == b)
            return 0; /* no more numbers */
        a = *end_a == '.' ? end_a + 1 : end_a;
        b = *end_b == '.' ? end_b + 1 : end_b;
    }
    return 0;
}
