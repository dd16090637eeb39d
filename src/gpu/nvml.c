/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library is asked for by name at run time: it belongs to the driver, not to us. Names with a version are asked
 * for as such, since those without are the oldest ones. Without a few functions nothing can be said; each of the
 * others may be missing, and what it would have told is unknown then.
 */
#include "gpu/nvml.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/str.h"

#define STUB_SAYS "!!!" /* how the texts of the toolkit's library begin */

static const struct symbol {
    const char *name;
    size_t offset;
    bool required;
} symbols[] = {
#define REQUIRED(name, member)                                                                     \
    {                                                                                              \
#name, offsetof(struct pm_nvml, member), true                                              \
    }
#define OPTIONAL(name, member)                                                                     \
    {                                                                                              \
#name, offsetof(struct pm_nvml, member), false                                             \
    }
    REQUIRED(nvmlInit_v2, init),
    REQUIRED(nvmlShutdown, shutdown),
    REQUIRED(nvmlErrorString, error_string),
    REQUIRED(nvmlDeviceGetCount_v2, count),
    REQUIRED(nvmlDeviceGetHandleByIndex_v2, by_index),
    REQUIRED(nvmlDeviceGetUUID, uuid),
    REQUIRED(nvmlDeviceGetPciInfo_v3, pci),
    REQUIRED(nvmlDeviceGetMemoryInfo, memory_v1),
    OPTIONAL(nvmlSystemGetDriverVersion, driver_version),
    OPTIONAL(nvmlSystemGetCudaDriverVersion_v2, cuda_version),
    OPTIONAL(nvmlDeviceGetName, name),
    OPTIONAL(nvmlDeviceGetMemoryInfo_v2, memory),
    OPTIONAL(nvmlDeviceGetCudaComputeCapability, capability),
    OPTIONAL(nvmlDeviceGetComputeMode, compute_mode),
    OPTIONAL(nvmlDeviceGetMigMode, mig_mode),
    OPTIONAL(nvmlDeviceGetMaxMigDeviceCount, mig_max),
    OPTIONAL(nvmlDeviceGetMigDeviceHandleByIndex, mig_by_index),
    OPTIONAL(nvmlDeviceGetAttributes_v2, attributes),
    OPTIONAL(nvmlDeviceGetGpuInstanceId, gpu_instance),
    OPTIONAL(nvmlDeviceGetComputeInstanceId, compute_instance),
    OPTIONAL(nvmlDeviceGetComputeRunningProcesses_v3, processes),
    OPTIONAL(nvmlDeviceGetRunningProcessDetailList, process_list),
    OPTIONAL(nvmlDeviceGetUtilizationRates, utilisation),
    OPTIONAL(nvmlDeviceGetTemperature, temperature),
    OPTIONAL(nvmlDeviceGetPowerUsage, power),
    OPTIONAL(nvmlDeviceGetTotalEccErrors, ecc_errors),
    OPTIONAL(nvmlDeviceGetFieldValues, fields),
    OPTIONAL(nvmlEventSetCreate, set_create),
    OPTIONAL(nvmlEventSetFree, set_free),
    OPTIONAL(nvmlDeviceGetSupportedEventTypes, event_types),
    OPTIONAL(nvmlDeviceRegisterEvents, register_events),
    OPTIONAL(nvmlEventSetWait_v2, event_wait),
};

void pm_nvml_say(char *text, const char *format, ...)
{
    char all[2048];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(all, sizeof(all), format, args);
    va_end(args);
    (void)pm_str_copy(text, PM_GPU_TEXT_MAX + 1, all);
}

const char *pm_nvml_text(const struct pm_nvml *nvml, int code)
{
    static char text[PM_GPU_TEXT_MAX + 1];
    const char *says = nvml->error_string ? nvml->error_string(code) : NULL;

    pm_nvml_say(text, "%.*s", PM_GPU_TEXT_MAX, says && *says ? says : "no text");
    return text;
}

enum pm_node_state pm_nvml_node_state(const struct pm_nvml *nvml, int code, char *text)
{
    const char *says = pm_nvml_text(nvml, code);

    if (pm_str_starts(says, STUB_SAYS)) {
        pm_nvml_say(text,
                    "the library is the CUDA toolkit's stub: let the driver's own be found first");
        return PM_NODE_STUB_LIBRARY;
    }

    switch (code) {
    case PM_NVML_MISMATCH:
        pm_nvml_say(text,
                    "driver and library are of different versions: reload the driver or reboot");
        return PM_NODE_MISMATCH;
    case PM_NVML_BLOCKED:
    case PM_NVML_UNKNOWN:
        pm_nvml_say(text,
                    "the system keeps us from the GPUs (code %d): a container must be created anew",
                    code);
        return PM_NODE_BLOCKED;
    case PM_NVML_NO_PERMISSION:
        pm_nvml_say(text, "no permission: our user must be able to open /dev/nvidiactl");
        return PM_NODE_BLOCKED;
    case PM_NVML_LIBRARY_NOT_FOUND:
        pm_nvml_say(text, "a library of the driver is missing (%.60s): install the driver anew",
                    says);
        return PM_NODE_NO_LIBRARY;
    case PM_NVML_DRIVER_NOT_LOADED:
        pm_nvml_say(text, "the driver is not loaded: install it, or modprobe nvidia");
        return PM_NODE_NO_DRIVER;
    default:
        pm_nvml_say(text, "the driver does not answer as one (code %d, %.60s)", code, says);
        return PM_NODE_NO_DRIVER;
    }
}

/* The name of the first required function that is missing, or NULL. */
static const char *find_symbols(struct pm_nvml *nvml)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(symbols); i++) {
        void *function = dlsym(nvml->library, symbols[i].name);

        if (!function && symbols[i].required)
            return symbols[i].name;
        memcpy((char *)nvml + symbols[i].offset, &function, sizeof(function));
    }
    return NULL;
}

/* The loader passes over a library for another kind of machine as if it were not there. */
static void say_why(const char *name, const char *why, char *text)
{
    if (name[0] == '/' && access(name, F_OK) == 0 && pm_str_starts(why, name) &&
        strstr(why, "No such file"))
        pm_nvml_say(text, "%.60s is no library for this kind of machine", name);
    else
        pm_nvml_say(text, "%s", why);
}

enum pm_node_state pm_nvml_open(struct pm_nvml *nvml, const char *path, char *text)
{
    const char *name = path && *path ? path : PM_NVML_LIBRARY, *missing;
    int code;

    memset(nvml, 0, sizeof(*nvml));
    nvml->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!nvml->library) {
        say_why(name, dlerror(), text);
        return PM_NODE_NO_LIBRARY;
    }

    missing = find_symbols(nvml);
    if (missing) {
        pm_nvml_say(text, "%.60s lacks %s: too old, or not NVIDIA's", name, missing);
        nvml->shutdown = NULL;
        return PM_NODE_NO_LIBRARY;
    }

    code = nvml->init();
    if (code == PM_NVML_OK)
        return PM_NODE_OK;

    nvml->shutdown = NULL; /* it was never up */
    return pm_nvml_node_state(nvml, code, text);
}

void pm_nvml_close(struct pm_nvml *nvml)
{
    if (nvml->shutdown)
        (void)nvml->shutdown();
    if (nvml->library)
        (void)dlclose(nvml->library);
    memset(nvml, 0, sizeof(*nvml));
}
