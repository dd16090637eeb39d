/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "hw.h"

static_assert(sizeof(struct hw_pci) == 68 && offsetof(struct hw_pci, bus_id) == 36, "PCI info");
static_assert(sizeof(struct hw_memory) == 24, "memory v1");
static_assert(sizeof(struct hw_memory_v2) == 40 && offsetof(struct hw_memory_v2, free) == 24,
              "memory v2");
static_assert(sizeof(struct hw_list) == 24 && offsetof(struct hw_list, rows) == 16, "process list");
static_assert(sizeof(struct hw_attributes) == 40, "MIG attributes");
static_assert(sizeof(struct hw_event) == 32 && offsetof(struct hw_event, gi) == 24, "event");
static_assert(sizeof(struct hw_field) == 40 && offsetof(struct hw_field, value) == 32, "field");
static_assert(sizeof(struct hw_temperature) == 12, "temperature");

struct hw_nvml nvml;

#define AT(field) offsetof(struct hw_nvml, field)
static const struct {
    const char *name;
    size_t at;
    bool required;
} symbols[] = {
    {"nvmlInit_v2", AT(init), true},
    {"nvmlShutdown", AT(shutdown), true},
    {"nvmlErrorString", AT(error), true},
    {"nvmlDeviceGetCount_v2", AT(count), true},
    {"nvmlDeviceGetHandleByIndex_v2", AT(by_index), true},
    {"nvmlDeviceGetUUID", AT(uuid), true},
    {"nvmlDeviceGetPciInfo_v3", AT(pci), true},
    {"nvmlDeviceGetMemoryInfo", AT(memory), true},
    {"nvmlSystemGetDriverVersion", AT(driver), false},
    {"nvmlSystemGetCudaDriverVersion_v2", AT(cuda), false},
    {"nvmlDeviceGetHandleByUUID", AT(by_uuid), false},
    {"nvmlDeviceGetHandleByPciBusId_v2", AT(by_pci), false},
    {"nvmlDeviceGetName", AT(name), false},
    {"nvmlDeviceGetMemoryInfo_v2", AT(memory_v2), false},
    {"nvmlDeviceGetCudaComputeCapability", AT(capability), false},
    {"nvmlDeviceGetComputeMode", AT(compute_mode), false},
    {"nvmlDeviceGetMigMode", AT(mig_mode), false},
    {"nvmlDeviceGetMaxMigDeviceCount", AT(mig_max), false},
    {"nvmlDeviceGetMigDeviceHandleByIndex", AT(mig_by_index), false},
    {"nvmlDeviceGetAttributes_v2", AT(attributes), false},
    {"nvmlDeviceGetGpuInstanceId", AT(gi), false},
    {"nvmlDeviceGetComputeInstanceId", AT(ci), false},
    {"nvmlDeviceGetComputeRunningProcesses", AT(rows_v1), false},
    {"nvmlDeviceGetComputeRunningProcesses_v2", AT(rows_v2), false},
    {"nvmlDeviceGetComputeRunningProcesses_v3", AT(rows_v3), false},
    {"nvmlDeviceGetRunningProcessDetailList", AT(row_list), false},
    {"nvmlDeviceGetUtilizationRates", AT(utilisation), false},
    {"nvmlDeviceGetTemperature", AT(temperature), false},
    {"nvmlDeviceGetTemperatureV", AT(temperature_v), false},
    {"nvmlDeviceGetPowerUsage", AT(power), false},
    {"nvmlDeviceGetTotalEccErrors", AT(ecc), false},
    {"nvmlDeviceGetTopologyCommonAncestor", AT(ancestor), false},
    {"nvmlDeviceGetNvLinkState", AT(link), false},
    {"nvmlDeviceGetFieldValues", AT(fields), false},
    {"nvmlEventSetCreate", AT(set_create), false},
    {"nvmlEventSetFree", AT(set_free), false},
    {"nvmlDeviceGetSupportedEventTypes", AT(event_types), false},
    {"nvmlEventSetWait_v2", AT(event_wait), false},
    {"nvmlDeviceRegisterEvents", AT(event_register), false},
};
#define N_SYMBOLS (sizeof(symbols) / sizeof(symbols[0]))

static void *library;

bool hw_nvml_open(void)
{
    const char *path = getenv("HW_NVML");

    if (library)
        return true;
    library = dlopen(path && *path ? path : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        hw_begin("no_library");
        hw_text("text", dlerror());
        hw_end();
        return false;
    }
    for (size_t i = 0; i < N_SYMBOLS; i++) {
        void *symbol = dlsym(library, symbols[i].name);

        memcpy((char *)&nvml + symbols[i].at, &symbol, sizeof(symbol));
    }
    return true;
}

bool hw_nvml_start(void)
{
    int r;

    if (!hw_nvml_open())
        return false;
    if (!nvml.init || !nvml.shutdown || !nvml.by_index || !nvml.memory) {
        hw_begin("no_library");
        hw_text("text", "a required symbol lacks");
        hw_end();
        return false;
    }
    r = nvml.init();
    if (r == 0)
        return true;
    hw_begin("no_nvml");
    hw_number("code", r);
    hw_text("text", nvml.error ? nvml.error(r) : "");
    hw_end();
    return false;
}

hw_device hw_nvml_device(unsigned index)
{
    hw_device device = NULL;
    int r = nvml.by_index(index, &device);

    if (r == 0)
        return device;
    hw_begin("no_device");
    hw_number("code", r);
    hw_number("index", index);
    hw_end();
    return NULL;
}

void hw_nvml_symbols(void)
{
    struct link_map *map = NULL;

    if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map) {
        hw_begin("library");
        hw_text("path", map->l_name);
        hw_end();
    }
    for (size_t i = 0; i < N_SYMBOLS; i++) {
        hw_begin("symbol");
        hw_text("name", symbols[i].name);
        hw_number("required", symbols[i].required);
        hw_number("there", dlsym(library, symbols[i].name) != NULL);
        hw_end();
    }
}
