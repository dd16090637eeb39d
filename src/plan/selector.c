/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/selector.h"

#include <string.h>

#include "util/cleanup.h"

/* Of each kind of device those variables that its library obeys, and those of ggml's own backends. An empty
 * CUDA_VISIBLE_DEVICES hides all, too, but some wrappers take it for "unset"; -1 is not a device for any. */
const struct pm_selector pm_selectors[] = {
    {"CUDA_VISIBLE_DEVICES", "-1"},
    {"CUDA_DEVICE_ORDER", NULL},
    {"NVIDIA_VISIBLE_DEVICES", "void"},
    {"HIP_VISIBLE_DEVICES", "-1"},
    {"ROCR_VISIBLE_DEVICES", "-1"},
    {"GPU_DEVICE_ORDINAL", "-1"},
    {"MUSA_VISIBLE_DEVICES", "-1"},
    {"ASCEND_RT_VISIBLE_DEVICES", ""},
    {"ONEAPI_DEVICE_SELECTOR", "*:cpu"},
    {"SYCL_DEVICE_FILTER", NULL},
    {"SYCL_DEVICE_ALLOWLIST", NULL},
    {"ZE_AFFINITY_MASK", NULL},
    {"ZE_FLAT_DEVICE_HIERARCHY", NULL},
    {"ZE_ENABLE_PCI_ID_DEVICE_ORDER", NULL},
    {"GGML_VK_VISIBLE_DEVICES", ""},
    {"GGML_OPENCL_PLATFORM", NULL},
    {"GGML_OPENCL_DEVICE", NULL},
    /* Not a choice of devices, but ways off them: what does not fit goes to the host's memory. */
    {"GGML_CUDA_ENABLE_UNIFIED_MEMORY", NULL},
    {"GGML_VK_ALLOW_SYSMEM_FALLBACK", NULL},
    {"GGML_VK_PREFER_HOST_MEMORY", NULL},
};
const size_t pm_n_selectors = PM_ARRAY_LEN(pm_selectors);

bool pm_is_selector(const char *name)
{
    for (size_t i = 0; i < pm_n_selectors; i++) {
        if (strcmp(pm_selectors[i].name, name) == 0)
            return true;
    }
    return false;
}
