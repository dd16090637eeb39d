/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVML's binary interface, as far as it is used, written down by hand: no header of the vendor is needed to build. LP64;
 * every function returns a code, but the one that makes a text of it. Handles are opaque pointers.
 */
#ifndef PM_GPU_NVML_H
#define PM_GPU_NVML_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/gpu.h"

#define PM_NVML_LIBRARY "libnvidia-ml.so.1"

typedef void *pm_nvml_device;
typedef void *pm_nvml_set;

enum pm_nvml_code {
    PM_NVML_OK = 0,
    PM_NVML_UNINITIALISED = 1,
    PM_NVML_INVALID_ARGUMENT = 2,
    PM_NVML_NOT_SUPPORTED = 3,
    PM_NVML_NO_PERMISSION = 4,
    PM_NVML_NOT_FOUND = 6,
    PM_NVML_BUFFER_TOO_SMALL = 7,
    PM_NVML_DRIVER_NOT_LOADED = 9,
    PM_NVML_TIMEOUT = 10,
    PM_NVML_LIBRARY_NOT_FOUND = 12,
    PM_NVML_FUNCTION_NOT_FOUND = 13,
    PM_NVML_GPU_LOST = 15,
    PM_NVML_RESET_REQUIRED = 16,
    PM_NVML_BLOCKED = 17,
    PM_NVML_MISMATCH = 18,
    PM_NVML_WRONG_VERSION = 25,
    PM_NVML_GONE = 28,
    PM_NVML_UNKNOWN = 999,
};

/* What versioned structs begin with; to be set before the call. */
#define PM_NVML_TAG(type, version) ((uint32_t)sizeof(type) | (uint32_t)(version) << 24)

struct pm_nvml_pci {
    char bus_id_old[16];
    uint32_t domain, bus, device, device_and_vendor, subsystem;
    char bus_id[32];
};

struct pm_nvml_memory_v1 {
    uint64_t total, free, used; /* used: with what the driver reserves */
};

struct pm_nvml_memory {
    uint32_t version;
    uint64_t total, reserved, free, used;
};

struct pm_nvml_process {
    uint32_t pid;
    uint64_t used; /* all ones: unknown */
    uint32_t gi, ci;
};

struct pm_nvml_process_list {
    uint32_t version, mode /* 0: compute */, count;
    void *rows; /* 32 bytes each */
};

struct pm_nvml_attributes {
    uint32_t multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    uint32_t gpu_slices, compute_slices;
    uint64_t memory_mib;
};

struct pm_nvml_event {
    pm_nvml_device device;
    uint64_t type, data;
    uint32_t gi, ci; /* all ones: none */
};

struct pm_nvml_field {
    uint32_t id, scope;
    int64_t time, latency;
    uint32_t
        type; /* 0 double, 1 unsigned, 2 unsigned long, 3 unsigned long long, 4 long long, 5 int */
    int32_t code;
    union {
        double real;
        uint32_t u32;
        uint64_t u64;
        int32_t i32;
    } value;
};

struct pm_nvml_utilisation {
    uint32_t gpu, memory;
};

static_assert(sizeof(void *) == 8 && sizeof(long) == 8, "the structs here are those of LP64");
static_assert(sizeof(struct pm_nvml_pci) == 68, "PCI info");
static_assert(offsetof(struct pm_nvml_pci, domain) == 16, "PCI info");
static_assert(offsetof(struct pm_nvml_pci, device_and_vendor) == 28, "PCI info");
static_assert(offsetof(struct pm_nvml_pci, bus_id) == 36, "PCI info");
static_assert(sizeof(struct pm_nvml_memory_v1) == 24, "memory v1");
static_assert(sizeof(struct pm_nvml_memory) == 40, "memory v2");
static_assert(offsetof(struct pm_nvml_memory, free) == 24, "memory v2");
static_assert(PM_NVML_TAG(struct pm_nvml_memory, 2) == 0x02000028, "memory v2");
static_assert(sizeof(struct pm_nvml_process) == 24, "process");
static_assert(offsetof(struct pm_nvml_process, used) == 8, "process");
static_assert(offsetof(struct pm_nvml_process, ci) == 20, "process");
static_assert(sizeof(struct pm_nvml_process_list) == 24, "process list");
static_assert(offsetof(struct pm_nvml_process_list, rows) == 16, "process list");
static_assert(PM_NVML_TAG(struct pm_nvml_process_list, 1) == 0x01000018, "process list");
static_assert(sizeof(struct pm_nvml_attributes) == 40, "MIG attributes");
static_assert(offsetof(struct pm_nvml_attributes, gpu_slices) == 24, "MIG attributes");
static_assert(offsetof(struct pm_nvml_attributes, memory_mib) == 32, "MIG attributes");
static_assert(sizeof(struct pm_nvml_event) == 32, "event");
static_assert(offsetof(struct pm_nvml_event, gi) == 24, "event");
static_assert(sizeof(struct pm_nvml_field) == 40, "field value");
static_assert(offsetof(struct pm_nvml_field, type) == 24, "field value");
static_assert(offsetof(struct pm_nvml_field, code) == 28, "field value");
static_assert(offsetof(struct pm_nvml_field, value) == 32, "field value");
static_assert(sizeof(struct pm_nvml_utilisation) == 8, "utilisation");

#define PM_NVML_UUID_SIZE    96
#define PM_NVML_NAME_SIZE    96
#define PM_NVML_VERSION_SIZE 80
#define PM_NVML_NONE         UINT32_MAX /* no instance */

#define PM_NVML_EVENT_ECC         UINT64_C(0x2)
#define PM_NVML_EVENT_XID         UINT64_C(0x8)
#define PM_NVML_EVENT_MIG         UINT64_C(0x100)
#define PM_NVML_EVENT_UNAVAILABLE UINT64_C(0x4000)
#define PM_NVML_EVENT_RECOVERY    UINT64_C(0x8000)

#define PM_NVML_FIELD_REMAP_PENDING 144
#define PM_NVML_FIELD_REMAP_FAILED  145
#define PM_NVML_FIELD_RECOVERY      230

/* The library: what a loader found in it. What is not required may be NULL. */
struct pm_nvml {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int code);
    int (*driver_version)(char *to, unsigned size);
    int (*cuda_version)(int *ret);
    int (*count)(unsigned *ret);
    int (*by_index)(unsigned index, pm_nvml_device *ret);
    int (*name)(pm_nvml_device device, char *to, unsigned size);
    int (*uuid)(pm_nvml_device device, char *to, unsigned size);
    int (*pci)(pm_nvml_device device, struct pm_nvml_pci *ret);
    int (*memory_v1)(pm_nvml_device device, struct pm_nvml_memory_v1 *ret);
    int (*memory)(pm_nvml_device device, struct pm_nvml_memory *ret);
    int (*capability)(pm_nvml_device device, int *ret_major, int *ret_minor);
    int (*compute_mode)(pm_nvml_device device, int *ret);
    int (*mig_mode)(pm_nvml_device device, unsigned *ret_now, unsigned *ret_pending);
    int (*mig_max)(pm_nvml_device device, unsigned *ret);
    int (*mig_by_index)(pm_nvml_device device, unsigned slot, pm_nvml_device *ret);
    int (*attributes)(pm_nvml_device device, struct pm_nvml_attributes *ret);
    int (*gpu_instance)(pm_nvml_device device, unsigned *ret);
    int (*compute_instance)(pm_nvml_device device, unsigned *ret);
    int (*processes)(pm_nvml_device device, unsigned *n, void *rows);
    int (*process_list)(pm_nvml_device device, struct pm_nvml_process_list *list);
    int (*utilisation)(pm_nvml_device device, struct pm_nvml_utilisation *ret);
    int (*temperature)(pm_nvml_device device, int sensor, unsigned *ret);
    int (*power)(pm_nvml_device device, unsigned *ret_mw);
    int (*ecc_errors)(pm_nvml_device device, int uncorrected, int aggregate,
                      unsigned long long *ret);
    int (*fields)(pm_nvml_device device, int n, struct pm_nvml_field *fields);
    int (*set_create)(pm_nvml_set *ret);
    int (*set_free)(pm_nvml_set set);
    int (*event_types)(pm_nvml_device device, unsigned long long *ret);
    int (*register_events)(pm_nvml_device device, unsigned long long mask, pm_nvml_set set);
    int (*event_wait)(pm_nvml_set set, struct pm_nvml_event *ret, unsigned timeout_ms);
};

/* A call of what may be missing. */
#define PM_NVML_CALL(nvml, function, ...)                                                          \
    ((nvml)->function ? (nvml)->function(__VA_ARGS__) : PM_NVML_FUNCTION_NOT_FOUND)

/* ---- nvml.c */

/* Loads and initialises the library at `path` (NULL or "": where the system has it). PM_NODE_OK, or the state that it
 * leaves the machine in, and `text` (PM_GPU_TEXT_MAX + 1 bytes) says why and what to do. pm_nvml_close() either way. */
enum pm_node_state pm_nvml_open(struct pm_nvml *nvml, const char *path, char *text);
void pm_nvml_close(struct pm_nvml *nvml);

/* The state that a code of a call for the whole machine stands for, and its text. */
enum pm_node_state pm_nvml_node_state(const struct pm_nvml *nvml, int code, char *text);

/* "Unknown Error", at most PM_GPU_TEXT_MAX bytes; valid until the next call. */
const char *pm_nvml_text(const struct pm_nvml *nvml, int code);

/* Writes a text of at most PM_GPU_TEXT_MAX bytes. */
void pm_nvml_say(char *text, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));

/* ---- nvmlprocess.c */

/* Who computes on a device, at most n_max; the list is the caller's. False: it is not known, or not whole. */
bool pm_nvml_processes(const struct pm_nvml *nvml, pm_nvml_device device, size_t n_max,
                       struct pm_gpu_process **ret, size_t *ret_n);

/* Bytes of a row, of n rows that were written into 32 * n poisoned bytes. */
size_t pm_nvml_stride(const unsigned char *rows, size_t n);
#define PM_NVML_ROW_MAX 32
#define PM_NVML_POISON  0xa5

#endif
