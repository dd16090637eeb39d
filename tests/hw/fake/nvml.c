/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static int index_of(hw_device device)
{
    return (int)((intptr_t)device - 1);
}

OURS int nvmlInit_v2(void)
{
    static int inheritable = -1;

    if (machine_lies("no_driver"))
        return 9;
    if (machine_lies("crash"))
        raise(SIGSEGV);
    if (machine_lies("hang"))
        pause();
    if (machine_lies("leak"))
        (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (machine_lies("inherit") && inheritable < 0)
        inheritable = open("/dev/null", O_RDONLY);
    return machine_open() ? 0 : 999;
}
OURS int nvmlShutdown(void)
{
    return 0;
}
OURS const char *nvmlErrorString(int code)
{
    return code == 9 ? "Driver Not Loaded" : "an error";
}
OURS int nvmlSystemGetDriverVersion(char *text, unsigned n)
{
    snprintf(text, n, "580.0.0");
    return 0;
}
OURS int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    *version = 13000;
    return 0;
}
OURS int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = (unsigned)machine_count() + (machine_lies("count") ? 1 : 0);
    return 0;
}
OURS int nvmlDeviceGetHandleByIndex_v2(unsigned i, hw_device *ret)
{
    *ret = (hw_device)(intptr_t)(i + 1);
    return i < (unsigned)machine_count() ? 0 : 2;
}
OURS int nvmlDeviceGetUUID(hw_device device, char *text, unsigned n)
{
    char uuid[96];

    machine_uuid(index_of(device), uuid);
    snprintf(text, n, "%s", uuid);
    return 0;
}
OURS int nvmlDeviceGetHandleByUUID(const char *uuid, hw_device *ret)
{
    char text[96];

    for (int i = 0; i < machine_count(); i++) {
        *ret = (hw_device)(intptr_t)(i + 1);
        nvmlDeviceGetUUID(*ret, text, sizeof(text));
        if (strcmp(text, uuid) == 0 ||
            (machine_lies("prefix") && strncmp(text, uuid, strlen(uuid)) == 0))
            return 0;
    }
    return 6;
}
OURS int nvmlDeviceGetPciInfo_v3(hw_device device, struct hw_pci *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->bus = 0x65 + (unsigned)index_of(device);
    ret->id = 0x233010de;
    ret->subsystem = 0x16c110de;
    snprintf(ret->legacy, sizeof(ret->legacy), "0000:%02X:00.0", ret->bus);
    snprintf(ret->bus_id, sizeof(ret->bus_id), "00000000:%02X:00.0", ret->bus);
    return 0;
}
OURS int nvmlDeviceGetHandleByPciBusId_v2(const char *text, hw_device *ret)
{
    struct hw_pci pci;

    for (int i = 0; i < machine_count(); i++) {
        *ret = (hw_device)(intptr_t)(i + 1);
        nvmlDeviceGetPciInfo_v3(*ret, &pci);
        if (strcasecmp(text, pci.bus_id) == 0)
            return 0;
    }
    return 6;
}
OURS int nvmlDeviceGetName(hw_device device, char *text, unsigned n)
{
    snprintf(text, n, "Fake GPU");
    return 0;
}
OURS int nvmlDeviceGetMemoryInfo(hw_device device, struct hw_memory *ret)
{
    ret->total = FAKE_TOTAL;
    ret->used = FAKE_RESERVED + machine_used(index_of(device));
    ret->free = FAKE_TOTAL - ret->used;
    if (machine_lies("identity"))
        ret->used -= FAKE_RESERVED;
    return 0;
}
OURS int nvmlDeviceGetMemoryInfo_v2(hw_device device, struct hw_memory_v2 *ret)
{
    if (ret->version != HW_MEMORY_V2 && !machine_lies("tag"))
        return 25;
    ret->total = FAKE_TOTAL;
    ret->reserved = FAKE_RESERVED;
    ret->used = machine_used(index_of(device));
    ret->free = FAKE_TOTAL - FAKE_RESERVED - ret->used;
    return 0;
}
OURS int nvmlDeviceGetCudaComputeCapability(hw_device device, int *major, int *minor)
{
    *major = 9;
    *minor = 0;
    return 0;
}
OURS int nvmlDeviceGetComputeMode(hw_device device, int *mode)
{
    *mode = 0;
    return 0;
}
OURS int nvmlDeviceGetMigMode(hw_device device, unsigned *now, unsigned *pending)
{
    *now = *pending = 0;
    return 0;
}
OURS int nvmlDeviceGetMaxMigDeviceCount(hw_device device, unsigned *n)
{
    *n = 7;
    return 0;
}
OURS int nvmlDeviceGetMigDeviceHandleByIndex(hw_device device, unsigned slot, hw_device *ret)
{
    return 6;
}
struct rows {
    unsigned char *rows;
    unsigned have, room;
    size_t stride;
};

static void add_row(void *ctx, int pid, uint64_t bytes)
{
    struct rows *rows = ctx;
    unsigned char *row = rows->rows + rows->have * rows->stride;
    static const unsigned none[2] = {~0u, ~0u};

    if (rows->rows && rows->have < rows->room) {
        memset(row, 0, rows->stride);
        memcpy(row, &pid, 4);
        memcpy(row + 8, &bytes, 8);
        if (rows->stride > 16)
            memcpy(row + 16, none, 8);
    }
    rows->have++;
}

static int give_rows(hw_device device, unsigned *n, unsigned char *to, size_t stride)
{
    struct rows rows = {.rows = to, .room = *n, .stride = stride};

    machine_holders(index_of(device), add_row, &rows);
    *n = rows.have;
    return rows.have > rows.room ? 7 : 0;
}
OURS int nvmlDeviceGetComputeRunningProcesses(hw_device device, unsigned *n, void *rows)
{
    return give_rows(device, n, rows, 16);
}
OURS int nvmlDeviceGetComputeRunningProcesses_v2(hw_device device, unsigned *n, void *rows)
{
    return give_rows(device, n, rows, 24);
}
OURS int nvmlDeviceGetComputeRunningProcesses_v3(hw_device device, unsigned *n, void *rows)
{
    return give_rows(device, n, rows, machine_lies("stride") ? 32 : 24);
}
OURS int nvmlDeviceGetRunningProcessDetailList(hw_device device, struct hw_list *list)
{
    return list->version == HW_LIST ? give_rows(device, &list->count, list->rows, 32) : 25;
}
OURS int nvmlDeviceGetUtilizationRates(hw_device device, struct hw_utilisation *ret)
{
    ret->gpu = ret->memory = 0;
    return 0;
}
OURS int nvmlDeviceGetTemperature(hw_device device, int sensor, unsigned *ret)
{
    *ret = 40;
    return 0;
}
OURS int nvmlDeviceGetPowerUsage(hw_device device, unsigned *ret)
{
    *ret = 70000;
    return 0;
}
OURS int nvmlDeviceGetTotalEccErrors(hw_device device, int kind, int counter,
                                     unsigned long long *ret)
{
    *ret = 0;
    return 0;
}
OURS int nvmlDeviceGetTopologyCommonAncestor(hw_device a, hw_device b, int *ret)
{
    *ret = a == b ? 0 : 30;
    return 0;
}
OURS int nvmlDeviceGetNvLinkState(hw_device device, unsigned link, int *ret)
{
    return 3;
}
OURS int nvmlDeviceGetFieldValues(hw_device device, int n, struct hw_field *fields)
{
    for (int i = 0; i < n; i++) {
        fields[i].type = 1;
        fields[i].ret = 0;
        fields[i].value.u64 = machine_lies("recovery") && fields[i].id == 230 ? 1 : 0;
    }
    return 0;
}
OURS int nvmlEventSetCreate(void **set)
{
    uint64_t *seen = malloc(sizeof(*seen));

    *seen = machine_n_xids();
    *set = seen;
    return 0;
}
OURS int nvmlEventSetFree(void *set)
{
    free(set);
    return 0;
}
OURS int nvmlDeviceGetSupportedEventTypes(hw_device device, unsigned long long *ret)
{
    *ret = machine_lies("no_xid") ? 0x2 : 0x8 | 0x2;
    return 0;
}
OURS int nvmlDeviceRegisterEvents(hw_device device, unsigned long long mask, void *set)
{
    return mask & ~0xaull ? 3 : 0;
}
OURS int nvmlEventSetWait_v2(void *set, struct hw_event *ret, unsigned ms)
{
    uint64_t *seen = set, until = hw_now_ns() / 1000000 + ms + (machine_lies("late") ? 100 : 0);

    while (*seen >= machine_n_xids()) {
        if (hw_now_ns() / 1000000 >= until)
            return 10;
        usleep(500);
    }
    *ret = (struct hw_event){
        .device = (hw_device)1, .type = 8, .data = machine_xid_at(*seen), .gi = ~0u, .ci = ~0u};
    *seen += 1;
    return 0;
}
