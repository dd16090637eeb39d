/* SPDX-License-Identifier: Apache-2.0 */
/* What tests over GPUs that are not there begin with: a file of them, and where the library is. */
#ifndef GPU_FAKE_H
#define GPU_FAKE_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../fake-nvml/fake.h"
#include "util/str.h"

#define FAKE_GIB (UINT64_C(1) << 30)

static char fake_file[64];
static struct fake_state *fake;

/* A path below the build's root, where this program is in tests/unit/. The caller's. */
static inline char *built(const char *path)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < 3; i++)
        *strrchr(self, '/') = '\0';
    return pm_xasprintf("%s/%s", self, path);
}

static inline char *fake_library(void)
{
    return built("tests/fake-nvml/libnvidia-ml.so.1");
}

/* n GPUs of 24 GiB, and nobody on them. */
static inline void fake_begin(int n)
{
    (void)snprintf(fake_file, sizeof(fake_file), "/tmp/poolmgr-fake-%d", getpid());
    if (!fake_create(fake_file, n, 24 * FAKE_GIB))
        abort();
    fake = fake_open(fake_file);
    if (!fake || setenv("FAKE_NVML", fake_file, 1) < 0 || unsetenv("CUDA_VISIBLE_DEVICES") < 0)
        abort();
}

static inline void fake_end(void)
{
    (void)unlink(fake_file);
}

static inline void fake_call(const char *call, int code)
{
    fake_lock(fake);
    fake_rule(fake, call, true)->code = code;
    fake_unlock(fake);
}

static inline void fake_hang(const char *call, bool hangs)
{
    fake_lock(fake);
    fake_rule(fake, call, true)->hangs = hangs;
    fake_unlock(fake);
}

static inline void fake_slot_add(int gpu, int slot, uint64_t bytes)
{
    struct fake_slot *is = &fake->gpus[gpu].slots[slot];

    fake->gpus[gpu].mig_capable = true;
    fake->gpus[gpu].mig_now = fake->gpus[gpu].mig_pending = 1;
    *is = (struct fake_slot){.used = true, .gi = (unsigned)slot + 7, .total = bytes};
    (void)snprintf(is->uuid, sizeof(is->uuid), "MIG-%08x-1111-4000-8000-%012x", gpu,
                   (unsigned)slot);
}

#endif
