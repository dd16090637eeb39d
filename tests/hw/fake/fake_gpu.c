/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test double for tests/hw/run alone: one library that stands for libnvidia-ml.so.1 and libcuda.so.1 of a machine
 * with FAKE_GPU_COUNT (1) GPUs. What processes hold is kept in the file FAKE_GPU, so that one sees what another takes;
 * what a dead process held is free again after FAKE_GPU_LAG milliseconds (0). It proves nothing of real drivers: it
 * says what run believes of them, and in FAKE_GPU_LIES (words separated by commas) something else, so that a test sees
 * run find it out.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../hw.h"

#define MIB       (UINT64_C(1) << 20)
#define TOTAL     (81920 * MIB)
#define RESERVED  (600 * MIB)
#define CONTEXT   (400 * MIB)
#define N_HOLDERS 64
#define N_GPUS    8

struct state {
    struct {
        int pid, gpu;
        uint64_t bytes, dead_ms;
    } holders[N_HOLDERS];
    uint64_t n_events, events[64]; /* XIDs */
};

static struct state *state;
static int visible[N_GPUS], n_visible, lost_code;

/* ---- small things ----------------------------------------------------------------------------------- */

static bool lies(const char *word)
{
    const char *text = getenv("FAKE_GPU_LIES"), *at = text;
    size_t n = strlen(word);

    for (; at && (at = strstr(at, word)); at += n)
        if ((at == text || at[-1] == ',') && (at[n] == '\0' || at[n] == ','))
            return true;
    return false;
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text ? atol(text) : otherwise;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int count(void)
{
    return (int)setting("FAKE_GPU_COUNT", 1);
}

static struct state *map(void)
{
    const char *path = getenv("FAKE_GPU");
    int fd;

    if (state)
        return state;
    fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return NULL;
    if (ftruncate(fd, sizeof(*state)) == 0)
        state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (state == MAP_FAILED)
        state = NULL;
    close(fd);
    return state;
}

static bool dead(int pid)
{
    char path[64], text[256] = "";
    FILE *f;
    const char *end;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (!f)
        return true;
    (void)!fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    end = strrchr(text, ')');
    return end && (end[2] == 'Z' || end[2] == 'X');
}

static uint64_t used(int gpu)
{
    uint64_t sum = 0;

    for (int i = 0; i < N_HOLDERS; i++) {
        if (!state->holders[i].pid || state->holders[i].gpu != gpu)
            continue;
        if (dead(state->holders[i].pid) && !lies("release")) {
            if (!state->holders[i].dead_ms)
                state->holders[i].dead_ms = now_ms();
            if (now_ms() - state->holders[i].dead_ms >= (uint64_t)setting("FAKE_GPU_LAG", 0)) {
                memset(&state->holders[i], 0, sizeof(state->holders[i]));
                continue;
            }
        }
        sum += state->holders[i].bytes;
    }
    return sum;
}

static int hold(int gpu, int64_t more)
{
    int pid = getpid(), mine = -1;

    for (int i = 0; i < N_HOLDERS; i++)
        if (state->holders[i].pid == pid || (mine < 0 && !state->holders[i].pid))
            mine = i;
    if (mine < 0 || (more > 0 && used(gpu) + (uint64_t)more > TOTAL - RESERVED))
        return 2;
    state->holders[mine].pid = pid;
    state->holders[mine].gpu = gpu;
    state->holders[mine].bytes += (uint64_t)more;
    return 0;
}

static int index_of(hw_device device)
{
    return (int)((intptr_t)device - 1);
}

/* ---- NVML ------------------------------------------------------------------------------------------- */

#define OURS __attribute__((visibility("default")))
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

OURS int nvmlInit_v2(void)
{
    if (lies("no_driver"))
        return 9;
    if (lies("crash"))
        raise(SIGSEGV);
    if (lies("hang"))
        pause();
    if (lies("leak"))
        (void)!open("/dev/null", O_RDONLY);
    return map() ? 0 : 999;
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
    *n = (unsigned)count() + (lies("count") ? 1 : 0);
    return 0;
}
OURS int nvmlDeviceGetHandleByIndex_v2(unsigned i, hw_device *ret)
{
    *ret = (hw_device)(intptr_t)(i + 1);
    return i < (unsigned)count() ? 0 : 2;
}
OURS int nvmlDeviceGetUUID(hw_device device, char *text, unsigned n)
{
    snprintf(text, n, "GPU-%08x-0a0b-4c4d-8e8f-0123456789ab",
             (unsigned)(0xf00d0000 + index_of(device)));
    return 0;
}
OURS int nvmlDeviceGetHandleByUUID(const char *uuid, hw_device *ret)
{
    char text[96];

    for (int i = 0; i < count(); i++) {
        *ret = (hw_device)(intptr_t)(i + 1);
        nvmlDeviceGetUUID(*ret, text, sizeof(text));
        if (strcmp(text, uuid) == 0 || (lies("prefix") && strncmp(text, uuid, strlen(uuid)) == 0))
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

    for (int i = 0; i < count(); i++) {
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
    ret->total = TOTAL;
    ret->used = RESERVED + used(index_of(device));
    ret->free = TOTAL - ret->used;
    if (lies("identity"))
        ret->used -= RESERVED;
    return 0;
}
OURS int nvmlDeviceGetMemoryInfo_v2(hw_device device, struct hw_memory_v2 *ret)
{
    if (ret->version != HW_MEMORY_V2 && !lies("tag"))
        return 25;
    ret->total = TOTAL;
    ret->reserved = RESERVED;
    ret->used = used(index_of(device));
    ret->free = TOTAL - RESERVED - ret->used;
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
static int give_rows(hw_device device, unsigned *n, unsigned char *rows, size_t stride)
{
    unsigned have = 0, room = *n, none = ~0u;

    for (int i = 0; i < N_HOLDERS; i++) {
        if (!state->holders[i].pid || state->holders[i].gpu != index_of(device) ||
            dead(state->holders[i].pid))
            continue;
        if (rows && have < room) {
            unsigned char *row = rows + have * stride;

            memset(row, 0, stride);
            memcpy(row, &state->holders[i].pid, 4);
            memcpy(row + 8, &state->holders[i].bytes, 8);
            if (stride > 16) {
                memcpy(row + 16, &none, 4);
                memcpy(row + 20, &none, 4);
            }
        }
        have++;
    }
    *n = have;
    return have > room ? 7 : 0;
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
    return give_rows(device, n, rows, lies("stride") ? 32 : 24);
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
        fields[i].value.u64 = lies("recovery") && fields[i].id == 230 ? 1 : 0;
    }
    return 0;
}
OURS int nvmlEventSetCreate(void **set)
{
    uint64_t *seen = malloc(sizeof(*seen));

    *seen = state->n_events;
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
    *ret = lies("no_xid") ? 0x2 : 0x8 | 0x2;
    return 0;
}
OURS int nvmlDeviceRegisterEvents(hw_device device, unsigned long long mask, void *set)
{
    return mask & ~0xaull ? 3 : 0;
}
OURS int nvmlEventSetWait_v2(void *set, struct hw_event *ret, unsigned ms)
{
    uint64_t *seen = set, until = now_ms() + ms + (lies("late") ? 100 : 0);

    while (*seen >= state->n_events) {
        if (now_ms() >= until)
            return 10;
        usleep(500);
    }
    *ret = (struct hw_event){
        .device = (hw_device)1, .type = 8, .data = state->events[*seen % 64], .gi = ~0u, .ci = ~0u};
    *seen += 1;
    return 0;
}

/* ---- CUDA ------------------------------------------------------------------------------------------- */

/* What is believed of CUDA_VISIBLE_DEVICES: the first bad item ends the list, a duplicate empties it. */
static void choose(void)
{
    char *text, *save = NULL;
    const char *given = getenv("CUDA_VISIBLE_DEVICES");

    n_visible = 0;
    for (int i = 0; !given && i < count(); i++)
        visible[n_visible++] = i;
    if (!given)
        return;
    text = strdup(given);
    for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        int found = -1;

        if (strncasecmp(word, "GPU-", 4) == 0) {
            for (int i = 0; i < count(); i++) {
                char uuid[96];

                nvmlDeviceGetUUID((hw_device)(intptr_t)(i + 1), uuid, sizeof(uuid));
                if (strncmp(uuid, word, strlen(word)) == 0 && strlen(word) > 8)
                    found = i;
            }
        } else if (*word >= '0' && *word <= '9') {
            found = atoi(word);
        }
        if (found < 0 || found >= count())
            break;
        for (int i = 0; i < n_visible; i++)
            if (visible[i] == found && !lies("visible")) {
                n_visible = 0;
                free(text);
                return;
            }
        if (n_visible < N_GPUS)
            visible[n_visible++] = found;
    }
    free(text);
}
OURS int cuInit(unsigned flags)
{
    if (!map())
        return 100;
    choose();
    return n_visible ? 0 : 100;
}
OURS int cuGetErrorName(int code, const char **ret)
{
    *ret = code == 100   ? "CUDA_ERROR_NO_DEVICE"
           : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                         : "CUDA_ERROR";
    return 0;
}
OURS int cuDeviceGetCount(int *ret)
{
    *ret = n_visible;
    return 0;
}
OURS int cuDeviceGet(int *ret, int i)
{
    *ret = visible[i];
    return i < n_visible ? 0 : 101;
}
OURS int cuDeviceGetName(char *text, int n, int device)
{
    return nvmlDeviceGetName(NULL, text, (unsigned)n);
}
OURS int cuDeviceGetUuid_v2(unsigned char *ret, int device)
{
    char uuid[96], digits[33];
    size_t n = 0;

    nvmlDeviceGetUUID((hw_device)(intptr_t)(device + 1), uuid, sizeof(uuid));
    for (const char *c = uuid + 4; *c && n < 32; c++)
        if (*c != '-')
            digits[n++] = *c;
    for (size_t i = 0; i < 16; i++) {
        unsigned value = 0;

        (void)sscanf(digits + 2 * i, "%2x", &value);
        ret[i] = (unsigned char)value;
    }
    return 0;
}
OURS int cuDeviceGetPCIBusId(char *text, int n, int device)
{
    snprintf(text, (size_t)n, "0000:%02x:00.0", 0x65 + device);
    return 0;
}
OURS int cuDevicePrimaryCtxRetain(void **ret, int device)
{
    *ret = (void *)1;
    return hold(device, lies("context") ? (int64_t)(700 * MIB) : (int64_t)CONTEXT);
}
OURS int cuCtxCreate_v2(void **ret, unsigned flags, int device)
{
    return cuDevicePrimaryCtxRetain(ret, device);
}
OURS int cuCtxSetCurrent(void *context)
{
    return 0;
}
OURS int cuCtxSynchronize(void)
{
    return lost_code;
}
OURS int cuMemGetInfo_v2(size_t *left, size_t *all)
{
    *all = TOTAL - RESERVED;
    *left = TOTAL - RESERVED - used(visible[0]);
    return lost_code;
}
static uint64_t sizes[1024], n_sizes = 1;
OURS int cuMemAlloc_v2(uint64_t *ret, size_t n)
{
    uint64_t whole = (n + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
    int r = n_sizes < 1024 ? hold(visible[0], (int64_t)(lies("delta") ? whole / 2 : whole)) : 2;

    if (r)
        return r;
    sizes[n_sizes] = whole;
    *ret = n_sizes++;
    return lost_code;
}
OURS int cuMemFree_v2(uint64_t at)
{
    return hold(visible[0], -(int64_t)sizes[at]);
}
OURS int cuMemsetD8_v2(uint64_t at, unsigned char value, size_t n)
{
    return lost_code;
}
OURS int cuMemcpyDtoH_v2(void *to, uint64_t at, size_t n)
{
    static const uint32_t stored = 0x600df00d;

    memcpy(to, &stored, n < sizeof(stored) ? n : sizeof(stored));
    return lost_code;
}
OURS int cuModuleLoadData(void **ret, const char *text)
{
    *ret = (void *)1;
    return strstr(text, ".visible .entry store") ? lost_code : 218;
}
OURS int cuModuleGetFunction(void **ret, void *module, const char *name)
{
    *ret = strcmp(name, "store") == 0 ? (void *)1 : (void *)2;
    return 0;
}
OURS int cuLaunchKernel(void *function, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e,
                        unsigned f, unsigned g, void *h, void **arguments, void **i)
{
    uint64_t argument = *(uint64_t *)arguments[0];

    if (function == (void *)1 && argument >= n_sizes && !lies("no_fault")) {
        lost_code = 700;
        state->events[state->n_events % 64] = lies("xid") ? 79 : 31;
        state->n_events++;
    }
    return 0;
}
