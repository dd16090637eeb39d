/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an architecture remembers of the tokens it has seen, layer by layer: a KV cache, a window of one, a state, or
 * nothing. llama.cpp decides it from the metadata by rules that differ between architectures; they are one table here. An
 * architecture without a row is taken as plain attention, in which each layer has a cache.
 */
#ifndef PM_PLAN_ARCH_H
#define PM_PLAN_ARCH_H

#include <stdbool.h>

#include "plan/keys.h"
#include "plan/model.h"

/* The output is token_embd once more where the file has no output.weight. */
bool pm_arch_ties_output(const char *architecture);

/*
 * Fills of each layer what it keeps, and the model's window, by `keys`, which are settled. The model knows its architecture and
 * n_embd. Where that is impossible no_estimate says why.
 */
void pm_arch_lay_out(const struct pm_keys *keys, struct pm_model *model);

/* Layers of the model itself: the rest are for drafting, and an engine leaves them in the file unless it is told to draft. */
size_t pm_arch_own_layers(const struct pm_keys *keys, size_t n_layers);

#endif
