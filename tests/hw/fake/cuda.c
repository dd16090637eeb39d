/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ADDRESSES                                                                                  \
    UINT64_C(0x200000000) /* of the first allocation; the next ones follow by ADDRESS */
#define ADDRESS     UINT64_C(0x10000)
#define ALLOCATIONS 1024
#define STORED      UINT32_C(0x600df00d)

static int visible[16], n_visible, lost_code;

/* What is believed of CUDA_VISIBLE_DEVICES: the first bad item ends the list, a duplicate empties it. */
static void choose(void)
{
    char *text, *save = NULL;
    const char *given = getenv("CUDA_VISIBLE_DEVICES");

    n_visible = 0;
    for (int i = 0; !given && i < machine_count(); i++)
        visible[n_visible++] = i;
    if (!given)
        return;
    text = strdup(given);
    for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        int found = -1;

        if (strncasecmp(word, "GPU-", 4) == 0) {
            for (int i = 0; i < machine_count(); i++) {
                char uuid[96];

                machine_uuid(i, uuid);
                if (strncmp(uuid, word, strlen(word)) == 0 && strlen(word) > 8)
                    found = i;
            }
        } else if (*word >= '0' && *word <= '9') {
            found = atoi(word);
        }
        if (found < 0 || found >= machine_count())
            break;
        for (int i = 0; i < n_visible; i++)
            if (visible[i] == found && !machine_lies("visible")) {
                n_visible = 0;
                free(text);
                return;
            }
        if (n_visible < 16)
            visible[n_visible++] = found;
    }
    free(text);
}
OURS int cuInit(unsigned flags)
{
    if (!machine_open())
        return 100;
    choose();
    return n_visible ? 0 : 100;
}
OURS int cuGetErrorName(int code, const char **ret)
{
    *ret = code == 100   ? "CUDA_ERROR_NO_DEVICE"
           : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
           : code == 716 ? "CUDA_ERROR_MISALIGNED_ADDRESS"
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
    return snprintf(text, (size_t)n, "Fake GPU") < 0;
}
OURS int cuDeviceGetUuid_v2(unsigned char *ret, int device)
{
    char uuid[96], digits[33];
    size_t n = 0;

    machine_uuid(device, uuid);
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
    return machine_hold(device,
                        machine_lies("context") ? (int64_t)(700 * MIB) : (int64_t)(400 * MIB));
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
    *all = machine_total(visible[0]) - FAKE_RESERVED;
    *left = machine_free(visible[0]);
    return lost_code;
}
static uint64_t sizes[ALLOCATIONS], n_sizes;
OURS int cuMemAlloc_v2(uint64_t *ret, size_t n)
{
    uint64_t whole = (n + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
    int r = n_sizes < ALLOCATIONS
                ? machine_hold(visible[0], (int64_t)(machine_lies("delta") ? whole / 2 : whole))
                : 2;

    if (r)
        return r;
    *ret = ADDRESSES + n_sizes * ADDRESS;
    sizes[n_sizes++] = whole;
    return lost_code;
}
OURS int cuMemFree_v2(uint64_t at)
{
    return machine_hold(visible[0], -(int64_t)sizes[(at - ADDRESSES) / ADDRESS]);
}
OURS int cuMemsetD8_v2(uint64_t at, unsigned char value, size_t n)
{
    return lost_code;
}

/* Where a kernel stored; what was stored is STORED, everywhere. */
static uint64_t stored[64], n_stored;

static bool is_stored(uint64_t at)
{
    for (uint64_t i = 0; i < n_stored; i++)
        if (stored[i] == at)
            return true;
    return false;
}

static int fault(int code, unsigned xid)
{
    lost_code = code;
    machine_xid(visible[0], machine_lies("xid") ? 79 : xid);
    return 0;
}

/* A store is lost where nothing is, and does no harm, where the machine lies so. */
static int store(uint64_t at)
{
    bool ours = at >= ADDRESSES && at < ADDRESSES + n_sizes * ADDRESS;

    if (!ours && (machine_lies("no_fault") || (machine_lies("null") && at < 4096)))
        return 0;
    if (at % 4 != 0)
        return machine_lies("no_fault") ? 0 : fault(716, 13);
    if (!ours)
        return fault(700, 31);
    if (n_stored < 64)
        stored[n_stored++] = at;
    return 0;
}
OURS int cuMemcpyDtoH_v2(void *to, uint64_t at, size_t n)
{
    uint32_t value = is_stored(at) ? STORED : 0;

    memcpy(to, &value, n < sizeof(value) ? n : sizeof(value));
    return lost_code;
}
OURS int cuModuleLoadData(void **ret, const char *text)
{
    *ret = (void *)1;
    return strstr(text, ".visible .entry store") ? lost_code : 218;
}
OURS int cuModuleGetFunction(void **ret, void *module, const char *name)
{
    *ret = (void *)(intptr_t)name[1]; /* s[t]ore, l[o]ad, s[p]in */
    return 0;
}
OURS int cuLaunchKernel(void *function, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e,
                        unsigned f, unsigned g, void *h, void **arguments, void **i)
{
    uint64_t at = *(uint64_t *)arguments[0];

    if (function == (void *)(intptr_t)'t')
        return store(at);
    if (function == (void *)(intptr_t)'o' && is_stored(at))
        return store(*(uint64_t *)arguments[1]);
    return 0;
}
