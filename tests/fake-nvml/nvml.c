/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library: NVML's binary interface over the shared state, with the answers of a driver of 2025. What a call does
 * instead of its work (fail, wait, hang) is said by a rule of its name.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

#define API  __attribute__((__visibility__("default")))
#define NONE 0xffffffffu

enum {
    OK = 0,
    UNINITIALISED = 1,
    INVALID = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    TOO_SMALL = 7,
    NO_DRIVER = 9,
    TIMEOUT = 10,
    WRONG_VERSION = 25,
};

/* A handle is the address of one of these. */
struct fake_handle {
    int gpu, slot;
};
typedef struct fake_handle *device;

struct set {
    uint32_t seen;
    uint64_t types[FAKE_GPUS_MAX];
};

static struct fake_state *state;
static struct fake_handle handles[FAKE_GPUS_MAX][FAKE_SLOTS + 1];
static int n_inits;

static void sleep_ms(unsigned ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

/* ---- the way into a call ---------------------------------------------------------------------------- */

/* What the rule of a function says; OK: do your work. Without the lock, since it may take for ever. */
static int obey_rule(const char *call)
{
    struct fake_rule *rule, now = {0};

    if (!state)
        return OK;
    fake_lock(state);
    state->n_calls++;
    rule = fake_rule(state, call, false);
    if (rule) {
        now = *rule;
        if (rule->left > 0 && --rule->left == 0)
            memset(rule, 0, sizeof(*rule));
    }
    fake_unlock(state);

    if (now.delay_ms > 0) /* a sleep of nothing is a sleep */
        sleep_ms(now.delay_ms);
    while (now.hangs) {
        sleep_ms(2);
        fake_lock(state);
        rule = fake_rule(state, call, false);
        now.hangs = rule && rule->hangs;
        fake_unlock(state);
    }
    return now.code;
}

/* Of a call for a device: OK, and the lock is held. */
static int enter(const char *call, device handle)
{
    int code = state && n_inits > 0 ? obey_rule(call) : UNINITIALISED;

    if (code != OK)
        return code;
    if (!handle || handle < &handles[0][0] || handle > &handles[FAKE_GPUS_MAX - 1][FAKE_SLOTS])
        return INVALID;

    fake_lock(state);
    code = state->gpus[handle->gpu].gone ? 15 : state->gpus[handle->gpu].code;
    if (code == OK && handle->slot >= 0 &&
        !(state->gpus[handle->gpu].mig_now && state->gpus[handle->gpu].slots[handle->slot].used))
        code = NOT_FOUND;
    if (code != OK)
        fake_unlock(state);
    return code;
}

#define ENTER(handle)                                                                              \
    do {                                                                                           \
        int code_ = enter(__func__, handle);                                                       \
        if (code_ != OK)                                                                           \
            return code_;                                                                          \
    } while (0)

static int leave(int code)
{
    fake_unlock(state);
    return code;
}

static struct fake_gpu *gpu_of(device handle)
{
    return &state->gpus[handle->gpu];
}

static device handle_of(int gpu, int slot)
{
    device handle = &handles[gpu][slot + 1];

    handle->gpu = gpu;
    handle->slot = slot;
    return handle;
}

static int put_text(char *to, unsigned size, const char *text)
{
    if (strlen(text) + 1 > size)
        return TOO_SMALL;
    strcpy(to, text);
    return OK;
}

/* ---- the library ------------------------------------------------------------------------------------ */

API int nvmlInit_v2(void)
{
    int code;

    if (!state)
        state = fake_open(getenv("FAKE_NVML"));
    if (!state)
        return NO_DRIVER;
    code = obey_rule(__func__);
    if (code == OK && state->stub)
        code = 999;
    if (code == OK) {
        n_inits++;
        fake_lock(state);
        state->n_inits++;
        fake_unlock(state);
    }
    return code;
}

API int nvmlShutdown(void)
{
    int code = obey_rule(__func__);

    if (code != OK)
        return code;
    if (n_inits == 0)
        return UNINITIALISED;
    n_inits--;
    return OK;
}

API const char *nvmlErrorString(int code)
{
    if (state && state->stub)
        return "!!! Stub library: this is not the driver's own, which must be loaded instead of "
               "it; the text goes "
               "on for long, so that it must be cut somewhere !!!";

    switch (code) {
    case 0: return "Success";
    case 1: return "Uninitialized";
    case 2: return "Invalid Argument";
    case 3: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 6: return "Not Found";
    case 7: return "Insufficient Size";
    case 8: return "Insufficient External Power";
    case 9: return "Driver Not Loaded";
    case 10: return "Timeout";
    case 15: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 17: return "GPU access blocked by the operating system";
    case 18: return "Driver/library version mismatch";
    case 25: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

API int nvmlSystemGetDriverVersion(char *to, unsigned size)
{
    int code = obey_rule(__func__);

    return code == OK ? put_text(to, size, state->driver) : code;
}

API int nvmlSystemGetCudaDriverVersion_v2(int *ret)
{
    int code = obey_rule(__func__);

    if (code == OK)
        *ret = state->cuda_version;
    return code;
}

/* ---- devices ---------------------------------------------------------------------------------------- */

/* The GPU at an index: what is gone is not counted. -1: none. */
static int at_index(unsigned index, unsigned *ret_n)
{
    int found = -1;

    *ret_n = 0;
    for (int i = 0; i < state->n_gpus; i++) {
        if (state->gpus[i].gone)
            continue;
        if ((*ret_n)++ == index)
            found = i;
    }
    return found;
}

API int nvmlDeviceGetCount_v2(unsigned *ret)
{
    int code = n_inits > 0 ? obey_rule(__func__) : UNINITIALISED;

    if (code != OK)
        return code;
    fake_lock(state);
    (void)at_index(0, ret);
    return leave(OK);
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *ret)
{
    int code = n_inits > 0 ? obey_rule(__func__) : UNINITIALISED, gpu;
    unsigned n;

    if (code != OK)
        return code;
    fake_lock(state);
    gpu = at_index(index, &n);
    if (gpu < 0)
        return leave(INVALID);
    if (state->gpus[gpu].code != OK)
        return leave(state->gpus[gpu].code);
    *ret = handle_of(gpu, -1);
    return leave(OK);
}

API int nvmlDeviceGetHandleByUUID(const char *uuid, device *ret)
{
    int code = n_inits > 0 ? obey_rule(__func__) : UNINITIALISED, gpu, slot;

    if (code != OK)
        return code;
    fake_lock(state);
    if (!fake_find(state, uuid, &gpu, &slot) ||
        strlen(uuid) !=
            strlen(slot < 0 ? state->gpus[gpu].uuid : state->gpus[gpu].slots[slot].uuid))
        return leave(NOT_FOUND);
    *ret = handle_of(gpu, slot);
    return leave(OK);
}

static void put_bus_id(const struct fake_gpu *gpu, char *to, size_t size)
{
    (void)snprintf(to, size, "%08X:%02X:%02X.0", gpu->domain, gpu->bus & 0xff, gpu->device & 0xff);
}

API int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, device *ret)
{
    int code = n_inits > 0 ? obey_rule(__func__) : UNINITIALISED;
    char text[32];

    if (code != OK)
        return code;
    fake_lock(state);
    for (int i = 0; i < state->n_gpus; i++) {
        put_bus_id(&state->gpus[i], text, sizeof(text));
        if (strcasecmp(text, bus_id) == 0) {
            *ret = handle_of(i, -1);
            return leave(OK);
        }
    }
    return leave(NOT_FOUND);
}

API int nvmlDeviceGetName(device handle, char *to, unsigned size)
{
    char text[160];

    ENTER(handle);
    if (handle->slot < 0)
        return leave(put_text(to, size, gpu_of(handle)->name));
    (void)snprintf(text, sizeof(text), "%s MIG %d", gpu_of(handle)->name, handle->slot);
    return leave(put_text(to, size, text));
}

API int nvmlDeviceGetUUID(device handle, char *to, unsigned size)
{
    ENTER(handle);
    return leave(put_text(to, size,
                          handle->slot < 0 ? gpu_of(handle)->uuid
                                           : gpu_of(handle)->slots[handle->slot].uuid));
}

API int nvmlDeviceGetPciInfo_v3(device handle, void *to)
{
    struct {
        char old[16];
        uint32_t domain, bus, device, id, subsystem;
        char bus_id[32];
    } *pci = to;

    ENTER(handle);
    memset(pci, 0, sizeof(*pci));
    pci->domain = gpu_of(handle)->domain;
    pci->bus = gpu_of(handle)->bus;
    pci->device = gpu_of(handle)->device;
    pci->id = 0x233010de;
    put_bus_id(gpu_of(handle), pci->bus_id, sizeof(pci->bus_id));
    return leave(OK);
}

static uint64_t total_of(device handle)
{
    return handle->slot < 0 ? gpu_of(handle)->total : gpu_of(handle)->slots[handle->slot].total;
}

API int nvmlDeviceGetMemoryInfo(device handle, uint64_t *to /* total, free, used */)
{
    ENTER(handle);
    to[0] = total_of(handle);
    to[1] = fake_free_bytes(state, handle->gpu, handle->slot);
    to[2] = to[0] - to[1];
    return leave(OK);
}

API int nvmlDeviceGetMemoryInfo_v2(device handle, void *to)
{
    struct {
        uint32_t version;
        uint64_t total, reserved, free, used;
    } *memory = to;

    ENTER(handle);
    if (memory->version != 0x02000028)
        return leave(WRONG_VERSION);
    memory->total = total_of(handle);
    memory->reserved = handle->slot < 0 ? gpu_of(handle)->reserved : 0;
    memory->free = fake_free_bytes(state, handle->gpu, handle->slot);
    memory->used = memory->total - memory->reserved - memory->free;
    return leave(OK);
}

API int nvmlDeviceGetCudaComputeCapability(device handle, int *ret_major, int *ret_minor)
{
    ENTER(handle);
    *ret_major = gpu_of(handle)->cc_major;
    *ret_minor = gpu_of(handle)->cc_minor;
    return leave(OK);
}

API int nvmlDeviceGetComputeMode(device handle, int *ret)
{
    ENTER(handle);
    *ret = gpu_of(handle)->compute_mode;
    return leave(OK);
}

/* ---- MIG -------------------------------------------------------------------------------------------- */

API int nvmlDeviceGetMigMode(device handle, unsigned *ret_now, unsigned *ret_pending)
{
    ENTER(handle);
    if (!gpu_of(handle)->mig_capable)
        return leave(NOT_SUPPORTED);
    *ret_now = gpu_of(handle)->mig_now;
    *ret_pending = gpu_of(handle)->mig_pending;
    return leave(OK);
}

API int nvmlDeviceGetMaxMigDeviceCount(device handle, unsigned *ret)
{
    ENTER(handle);
    *ret = gpu_of(handle)->mig_capable ? FAKE_SLOTS : 0;
    return leave(OK);
}

API int nvmlDeviceGetMigDeviceHandleByIndex(device handle, unsigned slot, device *ret)
{
    ENTER(handle);
    if (slot >= FAKE_SLOTS || !gpu_of(handle)->mig_now || !gpu_of(handle)->slots[slot].used)
        return leave(NOT_FOUND);
    *ret = handle_of(handle->gpu, (int)slot);
    return leave(OK);
}

API int nvmlDeviceGetAttributes_v2(device handle, void *to)
{
    struct {
        uint32_t multiprocessors, others[5], gpu_slices, compute_slices;
        uint64_t memory_mib;
    } *attributes = to;

    ENTER(handle);
    if (handle->slot < 0)
        return leave(NOT_SUPPORTED);
    memset(attributes, 0, sizeof(*attributes));
    attributes->multiprocessors = 16;
    attributes->gpu_slices = attributes->compute_slices = 1;
    attributes->memory_mib = total_of(handle) >> 20;
    return leave(OK);
}

API int nvmlDeviceGetGpuInstanceId(device handle, unsigned *ret)
{
    ENTER(handle);
    if (handle->slot < 0)
        return leave(NOT_SUPPORTED);
    *ret = gpu_of(handle)->slots[handle->slot].gi;
    return leave(OK);
}

API int nvmlDeviceGetComputeInstanceId(device handle, unsigned *ret)
{
    ENTER(handle);
    if (handle->slot < 0)
        return leave(NOT_SUPPORTED);
    *ret = gpu_of(handle)->slots[handle->slot].ci;
    return leave(OK);
}

/* ---- processes -------------------------------------------------------------------------------------- */

/* Rows as the driver writes them; how many there are. */
static unsigned write_rows(device handle, unsigned char *rows, unsigned n_room, size_t width)
{
    unsigned n = 0;

    (void)fake_free_bytes(state, handle->gpu, handle->slot); /* the dead go first */
    for (const struct fake_holding *it = state->holdings; it < state->holdings + FAKE_HOLDINGS_MAX;
         it++) {
        unsigned char row[32] = {0};
        uint32_t pid = (uint32_t)it->pid, gi = NONE, ci = NONE;
        uint64_t bytes = state->bytes_hidden ? UINT64_MAX : it->bytes;

        if (it->pid == 0 || it->dead_ms > 0 || it->gpu != handle->gpu ||
            (handle->slot >= 0 && it->slot != handle->slot))
            continue;
        if (n < n_room) {
            if (it->slot >= 0) {
                gi = gpu_of(handle)->slots[it->slot].gi;
                ci = gpu_of(handle)->slots[it->slot].ci;
            }
            memcpy(row, &pid, 4);
            memcpy(row + 8, &bytes, 8);
            memcpy(row + 16, &gi, 4);
            memcpy(row + 20, &ci, 4);
            memcpy(rows + n * width, row, width);
        }
        n++;
    }
    return n;
}

API int nvmlDeviceGetComputeRunningProcesses_v3(device handle, unsigned *n, void *rows)
{
    unsigned n_room, n_rows;

    ENTER(handle);
    n_room = rows ? *n : 0;
    n_rows = write_rows(handle, rows, n_room, state->row_bytes);
    *n = n_rows;
    return leave(n_rows > n_room ? TOO_SMALL : OK);
}

API int nvmlDeviceGetRunningProcessDetailList(device handle, void *to)
{
    struct {
        uint32_t version, mode, count;
        void *rows;
    } *list = to;
    unsigned n_room, n_rows;

    ENTER(handle);
    if (list->version != 0x01000018)
        return leave(WRONG_VERSION);
    n_room = list->rows ? list->count : 0;
    n_rows = list->mode == 0 ? write_rows(handle, list->rows, n_room, 32) : 0;
    list->count = n_rows;
    return leave(n_rows > n_room ? TOO_SMALL : OK);
}

/* ---- gauges ----------------------------------------------------------------------------------------- */

API int nvmlDeviceGetUtilizationRates(device handle, unsigned *to)
{
    ENTER(handle);
    to[0] = gpu_of(handle)->utilisation;
    to[1] = gpu_of(handle)->memory_utilisation;
    return leave(handle->slot < 0 ? OK : NOT_SUPPORTED);
}

API int nvmlDeviceGetTemperature(device handle, int sensor, unsigned *ret)
{
    ENTER(handle);
    *ret = gpu_of(handle)->temperature;
    return leave(sensor == 0 && handle->slot < 0 ? OK : NOT_SUPPORTED);
}

API int nvmlDeviceGetPowerUsage(device handle, unsigned *ret)
{
    ENTER(handle);
    *ret = gpu_of(handle)->power_mw;
    return leave(handle->slot < 0 ? OK : NOT_SUPPORTED);
}

API int nvmlDeviceGetTotalEccErrors(device handle, int uncorrected, int aggregate,
                                    unsigned long long *ret)
{
    ENTER(handle);
    *ret = uncorrected && !aggregate ? gpu_of(handle)->ecc_errors : 0;
    return leave(OK);
}

API int nvmlDeviceGetTopologyCommonAncestor(device a, device b, int *ret)
{
    ENTER(a);
    *ret = a->gpu == b->gpu ? 0 : 30;
    return leave(OK);
}

API int nvmlDeviceGetNvLinkState(device handle, unsigned link, int *ret)
{
    ENTER(handle);
    (void)link;
    *ret = 0;
    return leave(NOT_SUPPORTED);
}

struct field {
    uint32_t id, scope;
    int64_t time, latency;
    uint32_t type;
    int32_t code;
    uint64_t value;
};

API int nvmlDeviceGetFieldValues(device handle, int n, struct field *fields)
{
    ENTER(handle);
    for (int i = 0; i < n; i++) {
        const struct fake_gpu *gpu = gpu_of(handle);
        int value = fields[i].id == 230   ? gpu->recovery
                    : fields[i].id == 144 ? gpu->remap_pending
                    : fields[i].id == 145 ? gpu->remap_failed
                                          : -1;

        fields[i].type = 1;
        fields[i].code = value < 0 ? NOT_SUPPORTED : OK;
        fields[i].value = value < 0 ? 0xdeadbeef : (uint64_t)value;
    }
    return leave(OK);
}

/* ---- events ----------------------------------------------------------------------------------------- */

API int nvmlEventSetCreate(struct set **ret)
{
    int code = n_inits > 0 ? obey_rule(__func__) : UNINITIALISED;

    if (code != OK)
        return code;
    *ret = calloc(1, sizeof(**ret));
    (*ret)->seen = __atomic_load_n(&state->event_serial, __ATOMIC_SEQ_CST);
    return OK;
}

API int nvmlEventSetFree(struct set *set)
{
    free(set);
    return OK;
}

API int nvmlDeviceGetSupportedEventTypes(device handle, unsigned long long *ret)
{
    ENTER(handle);
    *ret = gpu_of(handle)->event_types;
    return leave(OK);
}

API int nvmlDeviceRegisterEvents(device handle, unsigned long long mask, struct set *set)
{
    ENTER(handle);
    if (handle->slot >= 0 || (mask & ~gpu_of(handle)->event_types))
        return leave(NOT_SUPPORTED);
    set->types[handle->gpu] |= mask;
    return leave(OK);
}

/* True: the next one that the set waits for. */
static bool next_event(struct set *set, struct fake_event *ret)
{
    while (set->seen != state->event_serial) {
        uint32_t serial = ++set->seen;

        *ret = state->events[serial % FAKE_EVENTS];
        if (ret->serial == serial && (set->types[ret->gpu] & ret->type))
            return true;
    }
    return false;
}

API int nvmlEventSetWait_v2(struct set *set, void *to, unsigned timeout_ms)
{
    struct {
        void *device;
        uint64_t type, data;
        uint32_t gi, ci;
    } *event = to;
    struct timespec timeout = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
    struct fake_event it;

    for (;;) {
        int code = n_inits > 0 ? obey_rule(__func__) : UNINITIALISED;
        uint32_t serial;
        bool has;

        if (code != OK)
            return code;
        fake_lock(state);
        has = next_event(set, &it);
        serial = state->event_serial;
        fake_unlock(state);
        if (has)
            break;
        if (syscall(SYS_futex, &state->event_serial, FUTEX_WAIT, serial, &timeout, NULL, 0) < 0 &&
            errno == ETIMEDOUT)
            return TIMEOUT;
    }

    event->device = handle_of(it.gpu, -1);
    event->type = it.type;
    event->data = it.data;
    event->gi = it.gi;
    event->ci = it.ci;
    return OK;
}
