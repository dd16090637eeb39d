/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
static uint64_t sizes[1024], n_sizes = 1;
OURS int cuMemAlloc_v2(uint64_t *ret, size_t n)
{
    uint64_t whole = (n + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
    int r = n_sizes < 1024
                ? machine_hold(visible[0], (int64_t)(machine_lies("delta") ? whole / 2 : whole))
                : 2;

    if (r)
        return r;
    sizes[n_sizes] = whole;
    *ret = n_sizes++;
    return lost_code;
}
OURS int cuMemFree_v2(uint64_t at)
{
    return machine_hold(visible[0], -(int64_t)sizes[at]);
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

    if (function == (void *)1 && argument >= n_sizes && !machine_lies("no_fault")) {
        lost_code = 700;
        machine_xid(visible[0], machine_lies("xid") ? 79 : 31);
    }
    return 0;
}
