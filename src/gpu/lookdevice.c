/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One device. Whatever the library does not know, or fails to tell, is unknown and nothing more; only what a device's
 * memory says, and what its driver asks for, makes its state.
 */
#include <stdio.h>
#include <string.h>

#include "core/event.h"
#include "gpu/look.h"
#include "util/str.h"

#define MIG_SLOTS_MAX         64
#define MODE_EXCLUSIVE_THREAD 1
#define MODE_PROHIBITED       2
#define MODE_EXCLUSIVE        3

/* ---- who it is -------------------------------------------------------------------------------------- */

void pm_look_identity(const struct pm_look *look, pm_nvml_device handle, struct pm_gpu_seen *to)
{
    struct pm_nvml_pci pci = {0};

    if (PM_NVML_CALL(&look->nvml, name, handle, to->name, sizeof(to->name)) != PM_NVML_OK)
        to->name[0] = '\0';
    to->name[sizeof(to->name) - 1] = '\0';
    pm_text_clean(to->name);
    if (look->nvml.pci(handle, &pci) == PM_NVML_OK)
        (void)snprintf(to->is.pci, sizeof(to->is.pci), "%08x:%02x:%02x.0", pci.domain,
                       pci.bus & 0xff, pci.device & 0xff);
    if (PM_NVML_CALL(&look->nvml, capability, handle, &to->cc_major, &to->cc_minor) != PM_NVML_OK)
        to->cc_major = to->cc_minor = 0;
}

void pm_look_blank(struct pm_gpu_seen *gpu)
{
    gpu->is.slot = gpu->is.gi = gpu->is.ci = -1;
    gpu->compute_mode = gpu->temperature_c = gpu->power_mw = PM_GPU_UNKNOWN;
    gpu->utilisation_percent = gpu->memory_percent = PM_GPU_UNKNOWN;
    gpu->n_ecc_uncorrected = gpu->remap_pending = gpu->remap_failed = PM_GPU_UNKNOWN;
    gpu->recovery = PM_GPU_UNKNOWN;
}

/* ---- how it is -------------------------------------------------------------------------------------- */

static void set_state(struct pm_gpu_seen *gpu, enum pm_device_state state, const char *text)
{
    gpu->state = state;
    (void)pm_str_copy(gpu->text, sizeof(gpu->text), text);
}

/* A device's state from the code of what was asked of it. A known handle that fails without a reason is lost. */
static void judge(const struct pm_look *look, struct pm_gpu_seen *gpu, int code)
{
    switch (code) {
    case PM_NVML_OK: set_state(gpu, PM_DEVICE_OK, ""); break;
    case PM_NVML_NO_PERMISSION:
        set_state(gpu, PM_DEVICE_DENIED, "no permission: our user must be able to open its device");
        break;
    case PM_NVML_RESET_REQUIRED:
        set_state(gpu, PM_DEVICE_RESET_REQUIRED, "must be reset: nvidia-smi --gpu-reset");
        break;
    case PM_NVML_BLOCKED:
        set_state(gpu, PM_DEVICE_BLOCKED, "the system keeps us from it: create the container anew");
        break;
    case PM_LOOK_TWIN:
        set_state(gpu, PM_DEVICE_UNKNOWN,
                  "another GPU says the same UUID: neither can be used by it");
        break;
    case PM_NVML_GPU_LOST:
    case PM_NVML_GONE:
    case PM_NVML_UNKNOWN: set_state(gpu, PM_DEVICE_LOST, "does not answer any more: reboot"); break;
    default:
        gpu->state = PM_DEVICE_UNKNOWN;
        pm_nvml_say(gpu->text, "its driver says: %s (code %d)", pm_nvml_text(&look->nvml, code),
                    code);
    }
}

static int read_memory(const struct pm_look *look, pm_nvml_device handle, struct pm_gpu_seen *gpu)
{
    struct pm_nvml_memory memory = {.version = PM_NVML_TAG(struct pm_nvml_memory, 2)};
    struct pm_nvml_memory_v1 old = {0};
    int code = PM_NVML_CALL(&look->nvml, memory, handle, &memory);

    if (code !=
        PM_NVML_OK) { /* whatever was wrong with the newer one: total and free are the same in both */
        code = look->nvml.memory_v1(handle, &old);
        memory.total = old.total;
        memory.free = old.free;
        memory.reserved = 0;
    }
    if (code != PM_NVML_OK)
        return code;

    gpu->total_bytes = memory.total;
    gpu->free_bytes = memory.free < memory.total ? memory.free : memory.total;
    gpu->driver_bytes = memory.reserved <= memory.total - gpu->free_bytes ? memory.reserved : 0;
    gpu->free_known = true;
    return PM_NVML_OK;
}

static int value_of(const struct pm_nvml_field *field)
{
    if (field->code != PM_NVML_OK)
        return PM_GPU_UNKNOWN;

    switch (field->type) {
    case 0: return (int)field->value.real;
    case 2:
    case 3:
    case 4: return (int)field->value.u64;
    default: return field->value.i32;
    }
}

static void read_fields(const struct pm_look *look, pm_nvml_device handle, struct pm_gpu_seen *gpu)
{
    struct pm_nvml_field fields[] = {
        {.id = PM_NVML_FIELD_RECOVERY, .code = PM_NVML_NOT_SUPPORTED},
        {.id = PM_NVML_FIELD_REMAP_PENDING, .code = PM_NVML_NOT_SUPPORTED},
        {.id = PM_NVML_FIELD_REMAP_FAILED, .code = PM_NVML_NOT_SUPPORTED},
    };

    if (PM_NVML_CALL(&look->nvml, fields, handle, PM_ARRAY_LEN(fields), fields) != PM_NVML_OK)
        return;
    gpu->recovery = value_of(&fields[0]);
    gpu->remap_pending = value_of(&fields[1]);
    gpu->remap_failed = value_of(&fields[2]);
}

int pm_look_recovery(const struct pm_look *look, pm_nvml_device device)
{
    struct pm_gpu_seen gpu;

    pm_look_blank(&gpu);
    read_fields(look, device, &gpu);
    return gpu.recovery;
}

static void read_gauges(const struct pm_look *look, pm_nvml_device handle, struct pm_gpu_seen *gpu)
{
    struct pm_nvml_utilisation use;
    unsigned long long n_errors;
    unsigned number;

    if (PM_NVML_CALL(&look->nvml, temperature, handle, 0, &number) == PM_NVML_OK)
        gpu->temperature_c = (int)number;
    if (PM_NVML_CALL(&look->nvml, power, handle, &number) == PM_NVML_OK)
        gpu->power_mw = (int)number;
    if (PM_NVML_CALL(&look->nvml, utilisation, handle, &use) == PM_NVML_OK) {
        gpu->utilisation_percent = (int)use.gpu;
        gpu->memory_percent = (int)use.memory;
    }
    if (PM_NVML_CALL(&look->nvml, ecc_errors, handle, 1, 0, &n_errors) == PM_NVML_OK)
        gpu->n_ecc_uncorrected = (int64_t)n_errors;
}

static void read_processes(const struct pm_look *look, pm_nvml_device handle,
                           struct pm_gpu_seen *gpu, size_t *n_left)
{
    bool whole =
        pm_nvml_processes(&look->nvml, handle, *n_left, &gpu->processes, &gpu->n_processes);

    gpu->processes_complete = whole && look->all_namespaces;
    *n_left -= gpu->n_processes;
}

/* What the driver asks an operator to do, where it can say so. */
static void heed_recovery(struct pm_gpu_seen *gpu)
{
    if (gpu->recovery == 2)
        set_state(gpu, PM_DEVICE_LOST, "its driver asks for a reboot");
    else if (gpu->recovery == 1 || gpu->recovery == 4)
        set_state(gpu, PM_DEVICE_RESET_REQUIRED,
                  "its driver asks for a reset: nvidia-smi --gpu-reset");
}

static void read_modes(const struct pm_look *look, pm_nvml_device handle, struct pm_gpu_seen *gpu)
{
    unsigned now = 0, pending = 0;

    if (PM_NVML_CALL(&look->nvml, compute_mode, handle, &gpu->compute_mode) != PM_NVML_OK)
        gpu->compute_mode = PM_GPU_UNKNOWN;
    if (PM_NVML_CALL(&look->nvml, mig_mode, handle, &now, &pending) != PM_NVML_OK)
        now = pending = 0;
    gpu->is.mig_mode = now != 0;
    gpu->mig_pending = now != pending;
    if (gpu->mig_pending)
        set_state(gpu, PM_DEVICE_UNKNOWN,
                  "its MIG mode changes with the next reset: nvidia-smi --gpu-reset");
}

static bool is_prohibited(const struct pm_gpu_seen *gpu)
{
    switch (gpu->compute_mode) {
    case MODE_PROHIBITED: return true;
    case MODE_EXCLUSIVE_THREAD:
    case MODE_EXCLUSIVE: return gpu->n_processes > 0;
    default: return false;
    }
}

/* Everything of one device that can change. */
static void read_device(const struct pm_look *look, pm_nvml_device handle, struct pm_gpu_seen *gpu,
                        size_t *n_left)
{
    judge(look, gpu, read_memory(look, handle, gpu));
    if (gpu->state != PM_DEVICE_OK)
        return;

    read_processes(look, handle, gpu, n_left);
    read_gauges(look, handle, gpu);
    gpu->is.prohibited = is_prohibited(gpu);
}

void pm_look_at(const struct pm_look *look, size_t at, struct pm_gpu_seen *gpu, size_t *n_left)
{
    const struct pm_look_gpu *known = &look->gpus[at];

    *gpu = known->is;
    gpu->is.index = (unsigned)at;
    judge(look, gpu, known->code);
    if (known->code == PM_NVML_OK) {
        read_modes(look, known->handle, gpu);
        if (gpu->state == PM_DEVICE_OK)
            read_device(look, known->handle, gpu, n_left);
        else
            (void)read_memory(look, known->handle, gpu);
        read_fields(look, known->handle, gpu);
        heed_recovery(gpu);
    }
    gpu->is.unhealthy = gpu->state != PM_DEVICE_OK;
}

/* ---- MIG -------------------------------------------------------------------------------------------- */

/* False: nothing is in that slot. */
static bool take_instance(const struct pm_look *look, const struct pm_gpu_seen *parent,
                          pm_nvml_device handle, unsigned slot, struct pm_gpu_seen *gpu,
                          size_t *n_left)
{
    unsigned id;

    memset(gpu, 0, sizeof(*gpu));
    pm_look_blank(gpu);
    if (look->nvml.uuid(handle, gpu->is.id, PM_DEVICE_ID_MAX + 1) != PM_NVML_OK)
        return false;

    gpu->is.id[PM_DEVICE_ID_MAX] = '\0';
    pm_text_clean(gpu->is.id);
    pm_look_identity(look, handle, gpu);
    (void)pm_str_copy(gpu->is.pci, sizeof(gpu->is.pci), parent->is.pci);
    gpu->is.index = parent->is.index;
    gpu->is.slot = (int)slot;
    if (PM_NVML_CALL(&look->nvml, gpu_instance, handle, &id) == PM_NVML_OK)
        gpu->is.gi = (int)id;
    if (PM_NVML_CALL(&look->nvml, compute_instance, handle, &id) == PM_NVML_OK)
        gpu->is.ci = (int)id;
    gpu->cc_major = parent->cc_major;
    gpu->cc_minor = parent->cc_minor;
    gpu->compute_mode = parent->compute_mode;
    gpu->recovery = parent->recovery;
    read_device(look, handle, gpu, n_left);
    if (parent->state != PM_DEVICE_OK)
        set_state(gpu, parent->state, parent->text);
    gpu->is.unhealthy = gpu->state != PM_DEVICE_OK;
    return true;
}

/* Slots have holes. */
size_t pm_look_instances(const struct pm_look *look, const struct pm_look_gpu *known,
                         const struct pm_gpu_seen *parent, struct pm_gpu_seen *to, size_t n_max,
                         size_t *n_left)
{
    unsigned n_slots = 0;
    size_t n = 0;

    if (PM_NVML_CALL(&look->nvml, mig_max, known->handle, &n_slots) != PM_NVML_OK)
        return 0;
    for (unsigned slot = 0; slot < n_slots && slot < MIG_SLOTS_MAX && n < n_max; slot++) {
        pm_nvml_device handle = NULL;

        if (PM_NVML_CALL(&look->nvml, mig_by_index, known->handle, slot, &handle) == PM_NVML_OK &&
            take_instance(look, parent, handle, slot, &to[n], n_left))
            n++;
    }
    return n;
}
