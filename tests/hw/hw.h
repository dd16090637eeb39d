/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper of tests/hw/run: asks NVML and CUDA by dlopen, and tells what they said. It judges nothing; run does.
 * HW_NVML and HW_CUDA name other libraries than libnvidia-ml.so.1 and libcuda.so.1.
 */
#ifndef PM_TESTS_HW_H
#define PM_TESTS_HW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- out.c: facts, one JSON object a line, each written at once -------------------------------------- */

void hw_begin(const char *fact);
void hw_text(const char *key, const char *value);
void hw_number(const char *key, long long value);
void hw_size(const char *key, unsigned long long value);
void hw_real(const char *key, double value);
void hw_bytes(const char *key, const void *data, size_t n); /* as hexadecimal digits */
void hw_end(void);

uint64_t hw_now_ns(void); /* CLOCK_MONOTONIC */
void hw_sleep_ms(long ms);

/* Reads one line of stdin without its end; false at the end of the input. */
bool hw_line(char *line, size_t size);

/* ---- nvml.c ------------------------------------------------------------------------------------------ */

/* The structures of libnvidia-ml as LP64 lays them out; sizes and offsets are asserted in nvml.c. */
struct hw_pci {
    char legacy[16];
    uint32_t domain, bus, device, id, subsystem;
    char bus_id[32];
};
struct hw_memory {
    uint64_t total, free, used;
};
struct hw_memory_v2 {
    uint32_t version;
    uint64_t total, reserved, free, used;
};
struct hw_list {
    uint32_t version, mode, count;
    void *rows;
};
struct hw_attributes {
    uint32_t n[8];
    uint64_t memory_mb;
};
struct hw_event {
    void *device;
    uint64_t type, data;
    uint32_t gi, ci;
};
struct hw_field {
    uint32_t id, scope;
    int64_t time, latency;
    uint32_t type;
    int32_t ret;
    union {
        double d;
        uint32_t u32;
        uint64_t u64;
    } value;
};
struct hw_utilisation {
    uint32_t gpu, memory;
};
struct hw_temperature {
    uint32_t version, sensor;
    int32_t degrees;
};
#define HW_MEMORY_V2   0x02000028u
#define HW_LIST        0x01000018u
#define HW_TEMPERATURE 0x0100000cu

typedef void *hw_device;

/* One pointer each; NULL: the library has no such symbol. */
struct hw_nvml {
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error)(int);
    int (*driver)(char *, unsigned);
    int (*cuda)(int *);
    int (*count)(unsigned *);
    int (*by_index)(unsigned, hw_device *);
    int (*by_uuid)(const char *, hw_device *);
    int (*by_pci)(const char *, hw_device *);
    int (*name)(hw_device, char *, unsigned);
    int (*uuid)(hw_device, char *, unsigned);
    int (*pci)(hw_device, struct hw_pci *);
    int (*memory)(hw_device, struct hw_memory *);
    int (*memory_v2)(hw_device, struct hw_memory_v2 *);
    int (*capability)(hw_device, int *, int *);
    int (*compute_mode)(hw_device, int *);
    int (*mig_mode)(hw_device, unsigned *, unsigned *);
    int (*mig_max)(hw_device, unsigned *);
    int (*mig_by_index)(hw_device, unsigned, hw_device *);
    int (*attributes)(hw_device, struct hw_attributes *);
    int (*gi)(hw_device, unsigned *);
    int (*ci)(hw_device, unsigned *);
    int (*rows_v1)(hw_device, unsigned *, void *); /* 16 bytes a row */
    int (*rows_v2)(hw_device, unsigned *, void *);
    int (*rows_v3)(hw_device, unsigned *, void *);
    int (*row_list)(hw_device, struct hw_list *);
    int (*utilisation)(hw_device, struct hw_utilisation *);
    int (*temperature)(hw_device, int, unsigned *);
    int (*temperature_v)(hw_device, struct hw_temperature *);
    int (*power)(hw_device, unsigned *);
    int (*ecc)(hw_device, int, int, unsigned long long *);
    int (*ancestor)(hw_device, hw_device, int *);
    int (*link)(hw_device, unsigned, int *);
    int (*fields)(hw_device, int, struct hw_field *);
    int (*set_create)(void **);
    int (*set_free)(void *);
    int (*event_types)(hw_device, unsigned long long *);
    int (*event_wait)(void *, struct hw_event *, unsigned);
    int (*event_register)(hw_device, unsigned long long, void *);
};

extern struct hw_nvml nvml;

/* Opens the library and finds its symbols; false was told as {"fact":"no_library","text":…}. */
bool hw_nvml_open(void);

/* Opens and initialises it; false was told, {"fact":"no_nvml","code":…,"text":…} for the library's own refusal. */
bool hw_nvml_start(void);

/* The device of this index; NULL was told. */
hw_device hw_nvml_device(unsigned index);

void hw_nvml_symbols(void); /* tells each */

/* ---- cuda.c ------------------------------------------------------------------------------------------ */

struct hw_cuda;
struct hw_cuda_context;

/* Opens libcuda and calls cuInit; *ret_code is its result, negative: there is no library, or a symbol lacks. */
bool hw_cuda_start(int *ret_code);
const char *hw_cuda_error(int code); /* "CUDA_ERROR_…" */
int hw_cuda_count(int *ret);
int hw_cuda_uuid(int index, char uuid[41]);
int hw_cuda_name(int index, char *name, int size);
int hw_cuda_pci(int index, char *pci, int size);

int hw_cuda_context(bool primary); /* of device 0, and makes it current */
int hw_cuda_take(uint64_t bytes);  /* allocates, and writes to it */
int hw_cuda_give_back(void);       /* all of it */
int hw_cuda_memory(uint64_t *ret_free, uint64_t *ret_total);
/* Runs the kernel `good` (stores to memory of its own) or `spin` (ms long; does not wait for it). */
int hw_cuda_kernel(const char *name, unsigned ms);

/* An address by its name: hexadecimal digits; `closed`, a page of this process that nobody may touch; or `between`,
   memory of the GPU's where no word begins. 0 also where there is none. */
uint64_t hw_cuda_address(const char *text);
int hw_cuda_store(uint64_t address);               /* a kernel stores 0x600df00d there */
int hw_cuda_load(uint64_t address, uint32_t *ret); /* a kernel reads what is there */
int hw_cuda_copy(uint64_t address, uint32_t *ret); /* cuMemcpyDtoH reads it */

/* ---- the commands; each returns the exit status ------------------------------------------------------ */

int hw_symbols(int argc, char **argv);
int hw_ask(int argc, char **argv);
int hw_pace(int argc, char **argv);
int hw_inits(int argc, char **argv);
int hw_threads(int argc, char **argv);
int hw_look(int argc, char **argv);
int hw_hold(int argc, char **argv);
int hw_visible(int argc, char **argv);
int hw_events(int argc, char **argv);

#endif
