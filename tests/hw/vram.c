/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the fault engine it makes that a user of the GPU: HW_VRAM bytes are taken by CUDA before main(), in
 * HW_VRAM_STEPS steps. Only the first process does so; what it starts does not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hw.h"

__attribute__((constructor)) static void take_vram(void)
{
    const char *bytes = getenv("HW_VRAM"), *steps = getenv("HW_VRAM_STEPS");
    uint64_t want = bytes ? strtoull(bytes, NULL, 10) : 0,
             n = steps ? strtoull(steps, NULL, 10) : 1;
    uint64_t left = 0, all = 0;
    char line[160];
    int r = 0;

    if (!want || !n)
        return;
    unsetenv("HW_VRAM");
    unsetenv("LD_PRELOAD");
    if (hw_cuda_start(&r))
        r = hw_cuda_context(true);
    for (uint64_t i = 0; r == 0 && i < n; i++)
        r = hw_cuda_take(want / n);
    if (r == 0) {
        (void)hw_cuda_memory(&left, &all);
        (void)!write(2, line,
                     (size_t)snprintf(line, sizeof(line),
                                      "hw: took %llu bytes, CUDA says %llu are free\n",
                                      (unsigned long long)want, (unsigned long long)left));
        return;
    }
    (void)!write(2, line,
                 (size_t)snprintf(line, sizeof(line),
                                  "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating "
                                  "failed: cudaMalloc failed: %s (%d)\n",
                                  r > 0 ? hw_cuda_error(r) : "no CUDA", r));
    _exit(1);
}
