/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a mask, the first of them chooses a machine: refused with a code of masks and a byte that lies in the
 * text, or a set of that machine's usable devices, each once, whose normal form means the same set and is its own.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "plan/mask.h"
#include "util/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GPUS_MAX 6

static const struct machine {
    size_t n;
    struct pm_gpu gpus[GPUS_MAX];
} machines[] = {
    {0, {{0}}},
    {4,
     {{.id = "GPU-8f6c1f8e-0000-1111-2222-333344445555", .slot = -1, .pci = "00000000:17:00.0"},
      {.id = "GPU-8f6c1f8e-0000-1111-2222-333344445556", .slot = -1, .index = 1},
      {.id = "GPU-12345678-0000-1111-2222-333344445555", .slot = -1, .index = 2, .hidden = true},
      {.id = "GPU-aabbccdd-0000-1111-2222-333344445555",
       .slot = -1,
       .index = 3,
       .unhealthy = true}}},
    {4,
     {{.id = "GPU-8f6c1f8e-0000-1111-2222-333344445555", .slot = -1, .mig_mode = true},
      {.id = "MIG-00000000-0000-1111-2222-333344445555", .slot = 0, .gi = 1},
      {.id = "MIG-00000002-0000-1111-2222-333344445555", .slot = 2, .gi = 5},
      {.id = "GPU-12345678-0000-1111-2222-333344445555",
       .slot = -1,
       .index = 1,
       .prohibited = true}}},
    {6,
     {{.vendor = PM_VENDOR_AMD, .id = "GPU-0123456789abcdef", .slot = -1},
      {.id = "GPU-8f6c1f8e-0000-1111-2222-333344445555", .slot = -1},
      {.vendor = PM_VENDOR_INTEL, .slot = -1, .pci = "00000000:00:02.0"},
      {.vendor = PM_VENDOR_AMD, .id = "GPU-8f6c1f8e00001111", .slot = -1, .index = 1},
      {.vendor = PM_VENDOR_INTEL, .slot = -1, .index = 1},
      {.id = "1", .slot = -1, .index = 1}}},
};

static void check_fault(int r, size_t offset, const struct poolmgr_error *err, size_t n)
{
    assert(r < 0 && r == err->code && pm_str_starts(pm_status(r)->name, "mask_"));
    assert(err->has_offset && err->offset == offset && offset <= n);
    assert(err->message[0] != '\0' && pm_utf8_valid(err->message, strlen(err->message)));
}

static void check_set(const struct machine *machine, const size_t *set, size_t n)
{
    assert(n <= machine->n);
    for (size_t i = 0; i < n; i++) {
        const struct pm_gpu *gpu = &machine->gpus[set[i]];

        assert(set[i] < machine->n && !gpu->hidden && !gpu->unhealthy && !gpu->prohibited);
        assert(!(gpu->slot < 0 && gpu->mig_mode));
        for (size_t k = 0; k < i; k++)
            assert(set[k] != set[i]);
    }
}

static void check_normal_form(const struct machine *machine, const size_t *set, size_t n)
{
    pm_auto_free char *normal = pm_mask_normal(machine->gpus, set, n), *twice = NULL;
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    size_t again[GPUS_MAX], n_again;
    int r;

    r = pm_mask_parse(normal, strlen(normal), &mask, NULL, NULL);
    assert(r == 0);
    r = pm_mask_resolve(mask, machine->gpus, machine->n, false, again, &n_again, NULL, NULL);
    assert(r == 0 && pm_mask_equal(set, n, again, n_again));
    twice = pm_mask_normal(machine->gpus, again, n_again);
    assert(strcmp(normal, twice) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    const struct machine *machine;
    struct poolmgr_error err = {0};
    size_t set[GPUS_MAX], n = 0, offset = 0;
    int r;

    if (size == 0)
        return 0;
    machine = &machines[data[0] % PM_ARRAY_LEN(machines)];
    data++;
    size--;

    r = pm_mask_parse((const char *)data, size, &mask, &offset, &err);
    if (r < 0) {
        check_fault(r, offset, &err, size);
        return 0;
    }
    assert(strlen(pm_mask_text(mask)) == size && memcmp(pm_mask_text(mask), data, size) == 0);

    r = pm_mask_resolve(mask, machine->gpus, machine->n, false, set, &n, &offset, &err);
    if (r < 0) {
        check_fault(r, offset, &err, size);
        return 0;
    }
    check_set(machine, set, n);
    assert(!pm_mask_is_cpu(mask) || n == 0);
    check_normal_form(machine, set, n);
    return 0;
}
