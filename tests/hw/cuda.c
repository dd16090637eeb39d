/* SPDX-License-Identifier: Apache-2.0 */
/* CUDA by its driver library alone. The kernels are PTX text, which the driver compiles: no toolkit is needed. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hw.h"

#define MAX_TAKEN 256
#define STORED    UINT32_C(0x600df00d)

static struct {
    int (*init)(unsigned);
    int (*error_name)(int, const char **);
    int (*count)(int *);
    int (*get)(int *, int);
    int (*name)(char *, int, int);
    int (*uuid)(unsigned char *, int);
    int (*pci)(char *, int, int);
    int (*retain)(void **, int);
    int (*create)(void **, unsigned, int);
    int (*current)(void *);
    int (*synchronize)(void);
    int (*memory)(size_t *, size_t *);
    int (*take)(uint64_t *, size_t);
    int (*give_back)(uint64_t);
    int (*fill)(uint64_t, unsigned char, size_t);
    int (*copy_back)(void *, uint64_t, size_t);
    int (*load)(void **, const char *);
    int (*function)(void **, void *, const char *);
    int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                  void *, void **, void **);
} cuda;

static const struct {
    const char *name, *otherwise;
    void *where;
} symbols[] = {
    {"cuInit", NULL, &cuda.init},
    {"cuGetErrorName", NULL, &cuda.error_name},
    {"cuDeviceGetCount", NULL, &cuda.count},
    {"cuDeviceGet", NULL, &cuda.get},
    {"cuDeviceGetName", NULL, &cuda.name},
    {"cuDeviceGetUuid_v2", "cuDeviceGetUuid", &cuda.uuid},
    {"cuDeviceGetPCIBusId", NULL, &cuda.pci},
    {"cuDevicePrimaryCtxRetain", NULL, &cuda.retain},
    {"cuCtxCreate_v2", NULL, &cuda.create},
    {"cuCtxSetCurrent", NULL, &cuda.current},
    {"cuCtxSynchronize", NULL, &cuda.synchronize},
    {"cuMemGetInfo_v2", NULL, &cuda.memory},
    {"cuMemAlloc_v2", NULL, &cuda.take},
    {"cuMemFree_v2", NULL, &cuda.give_back},
    {"cuMemsetD8_v2", NULL, &cuda.fill},
    {"cuMemcpyDtoH_v2", NULL, &cuda.copy_back},
    {"cuModuleLoadData", NULL, &cuda.load},
    {"cuModuleGetFunction", NULL, &cuda.function},
    {"cuLaunchKernel", NULL, &cuda.launch},
};

static const char kernels[] =
    ".address_size 64\n"
    ".visible .entry store(.param .u64 where)\n"
    "{ .reg .u64 %rd<2>; .reg .u32 %r<2>;\n"
    "  ld.param.u64 %rd1, [where]; mov.u32 %r1, 0x600df00d; st.global.u32 [%rd1], %r1; ret; }\n"
    ".visible .entry load(.param .u64 from, .param .u64 to)\n"
    "{ .reg .u64 %rd<3>; .reg .u32 %r<2>;\n"
    "  ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to];\n"
    "  ld.global.u32 %r1, [%rd1]; st.global.u32 [%rd2], %r1; ret; }\n"
    ".visible .entry spin(.param .u64 ns)\n"
    "{ .reg .u64 %rd<5>; .reg .pred %p<2>;\n"
    "  ld.param.u64 %rd1, [ns]; mov.u64 %rd2, %globaltimer; add.u64 %rd3, %rd2, %rd1;\n"
    "again:\n"
    "  mov.u64 %rd4, %globaltimer; setp.lt.u64 %p1, %rd4, %rd3; @%p1 bra again; ret; }\n";

/* From the oldest: a driver compiles for newer architectures than the text names, not for older ones. */
static const char *const heads[] = {
    ".version 6.0\n.target sm_50\n",
    ".version 6.3\n.target sm_75\n",
    ".version 7.8\n.target sm_90\n",
};

static uint64_t taken[MAX_TAKEN];
static size_t n_taken;
static void *module;

bool hw_cuda_start(int *ret_code)
{
    const char *path = getenv("HW_CUDA");
    void *library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

    *ret_code = -1;
    if (!library) {
        hw_begin("no_library");
        hw_text("text", dlerror());
        hw_end();
        return false;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *symbol = dlsym(library, symbols[i].name);

        if (!symbol && symbols[i].otherwise)
            symbol = dlsym(library, symbols[i].otherwise);
        if (!symbol) {
            hw_begin("no_library");
            hw_text("text", symbols[i].name);
            hw_end();
            return false;
        }
        memcpy(symbols[i].where, &symbol, sizeof(symbol));
    }
    *ret_code = cuda.init(0);
    return *ret_code == 0;
}

const char *hw_cuda_error(int code)
{
    const char *name = NULL;

    return cuda.error_name && cuda.error_name(code, &name) == 0 && name ? name : "";
}

int hw_cuda_count(int *ret)
{
    return cuda.count(ret);
}

int hw_cuda_uuid(int index, char uuid[41])
{
    unsigned char b[16] = {0};
    int device = 0, r = cuda.get(&device, index);

    if (r == 0)
        r = cuda.uuid(b, device);
    snprintf(uuid, 41, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
    return r;
}

int hw_cuda_name(int index, char *name, int size)
{
    int device = 0, r = cuda.get(&device, index);

    return r ? r : cuda.name(name, size, device);
}

int hw_cuda_pci(int index, char *pci, int size)
{
    int device = 0, r = cuda.get(&device, index);

    return r ? r : cuda.pci(pci, size, device);
}

int hw_cuda_context(bool primary)
{
    void *context = NULL;
    int device = 0, r = cuda.get(&device, 0);

    if (r)
        return r;
    if (!primary)
        return cuda.create(&context, 0, device);
    r = cuda.retain(&context, device);
    return r ? r : cuda.current(context);
}

int hw_cuda_take(uint64_t bytes)
{
    uint64_t at = 0;
    int r;

    if (n_taken == MAX_TAKEN)
        return 2; /* CUDA_ERROR_OUT_OF_MEMORY */
    r = cuda.take(&at, bytes);
    if (r)
        return r;
    taken[n_taken++] = at;
    r = cuda.fill(at, 1, bytes);
    return r ? r : cuda.synchronize();
}

int hw_cuda_give_back(void)
{
    int r = 0;

    while (n_taken > 0 && r == 0)
        r = cuda.give_back(taken[--n_taken]);
    return r;
}

int hw_cuda_memory(uint64_t *ret_free, uint64_t *ret_total)
{
    size_t left = 0, all = 0;
    int r = cuda.memory(&left, &all);

    *ret_free = left;
    *ret_total = all;
    return r;
}

static int load_kernels(void)
{
    static char text[sizeof(kernels) + 64];
    int r = 0;

    for (size_t i = 0; !module && i < sizeof(heads) / sizeof(heads[0]); i++) {
        snprintf(text, sizeof(text), "%s%s", heads[i], kernels);
        r = cuda.load(&module, text);
        if (r)
            module = NULL;
    }
    return module ? 0 : r;
}

static int start_kernel(const char *name, uint64_t first, uint64_t second)
{
    void *function = NULL, *arguments[] = {&first, &second};
    int r = load_kernels();

    if (r == 0)
        r = cuda.function(&function, module, name);
    return r ? r : cuda.launch(function, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL);
}

static int run_kernel(const char *name, uint64_t first, uint64_t second)
{
    int r = start_kernel(name, first, second);

    return r ? r : cuda.synchronize();
}

/* Stores to memory of its own, and sees it there. */
static int store_well(void)
{
    uint64_t at = 0;
    uint32_t seen = 0;
    int r = cuda.take(&at, 4096);

    if (r == 0)
        r = run_kernel("store", at, 0);
    if (r == 0)
        r = cuda.copy_back(&seen, at, sizeof(seen));
    if (r == 0)
        r = cuda.give_back(at);
    return r ? r : seen == STORED ? 0 : -2;
}

int hw_cuda_kernel(const char *name, unsigned ms)
{
    if (strcmp(name, "spin") == 0)
        return start_kernel("spin", ms * UINT64_C(1000000), 0);
    return strcmp(name, "good") == 0 ? store_well() : -1;
}

/* Memory of its own, on a border that no word of four bytes has; 0: there is none. */
static uint64_t between_words(void)
{
    uint64_t at = 0;

    return cuda.take(&at, 4096) == 0 ? at + 1 : 0;
}

static uint64_t closed_page(void)
{
    void *page =
        mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? 0 : (uint64_t)page;
}

uint64_t hw_cuda_address(const char *text)
{
    if (strcmp(text, "closed") == 0)
        return closed_page();
    return strcmp(text, "between") == 0 ? between_words() : strtoull(text, NULL, 16);
}

int hw_cuda_store(uint64_t address)
{
    return run_kernel("store", address, 0);
}

int hw_cuda_load(uint64_t address, uint32_t *ret)
{
    uint64_t to = 0;
    int r = cuda.take(&to, 4096);

    if (r == 0)
        r = cuda.fill(to, 0, 4096);
    if (r == 0)
        r = run_kernel("load", address, to);
    return r ? r : cuda.copy_back(ret, to, sizeof(*ret));
}

int hw_cuda_copy(uint64_t address, uint32_t *ret)
{
    return cuda.copy_back(ret, address, sizeof(*ret));
}
