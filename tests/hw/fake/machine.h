/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test double for tests/hw/run alone: one library that stands for libnvidia-ml.so.1 and libcuda.so.1 of a machine
 * with FAKE_GPU_COUNT (1) GPUs. What processes hold is kept in the file FAKE_GPU, so that one sees what another takes;
 * what a dead process held is free again after FAKE_GPU_LAG milliseconds (0). It proves nothing of real drivers: it
 * says what run believes of them, and in FAKE_GPU_LIES (words separated by commas) something else, so that a test sees
 * run find it out.
 *
 * With FAKE_NVML the CUDA half uses the GPUs of tests/fake-nvml instead, whose library then is the NVML of the test.
 */
#ifndef PM_TESTS_HW_FAKE_H
#define PM_TESTS_HW_FAKE_H

#include "../hw.h"

#define MIB           (UINT64_C(1) << 20)
#define FAKE_TOTAL    (81920 * MIB)
#define FAKE_RESERVED (600 * MIB)
#define OURS          __attribute__((visibility("default")))
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

bool machine_open(void); /* false: there is none */
bool machine_lies(const char *word);
int machine_count(void);
void machine_uuid(int gpu, char uuid[96]);
uint64_t machine_used(int gpu);
uint64_t machine_free(int gpu);
uint64_t machine_total(int gpu);
/* This process holds so much more (or less) there; 2, CUDA's code, where it is not free. */
int machine_hold(int gpu, int64_t more);
/* Calls `see` with every process that holds something there. */
void machine_holders(int gpu, void (*see)(void *ctx, int pid, uint64_t bytes), void *ctx);
/* XIDs, counted from the beginning. */
void machine_xid(int gpu, unsigned xid);
uint64_t machine_n_xids(void);
unsigned machine_xid_at(uint64_t i);

#endif
