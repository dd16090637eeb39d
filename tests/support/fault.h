/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the engine that fails on demand. */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* ---- fault_engine.c */

/* True when the order is given; *value (may be NULL) is what stands behind '='. */
bool fault_ordered(const char *name, char *value, size_t size);
long fault_number(const char *name, long otherwise);
void fault_sleep_ms(long ms);

/* ---- fault_vram.c */

/* Takes the memory that the orders of `vram` name of GPUs that are not there; ends the program where it is not enough. */
void fault_vram_load(int argc, char **argv);

#endif
