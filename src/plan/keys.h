/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The integers of a GGUF's metadata that say how a model is built: those of the table in keys.c, "<architecture>.<name>".
 * They may come before the architecture is known, so each remembers whose it is. Where one is given twice the last counts;
 * an array that is empty, too long or not of integers is not given.
 */
#ifndef PM_PLAN_KEYS_H
#define PM_PLAN_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_KEYS_LAYERS_MAX 1024 /* values of an array */

enum pm_key {
    PM_KEY_CONTEXT_LENGTH,
    PM_KEY_BLOCK_COUNT,
    PM_KEY_NEXTN_LAYERS,
    PM_KEY_EMBEDDING_LENGTH,
    PM_KEY_VOCAB_SIZE,
    PM_KEY_FEED_FORWARD_LENGTH,
    PM_KEY_EXPERTS_USED,
    PM_KEY_HEAD_COUNT,
    PM_KEY_HEAD_COUNT_KV,
    PM_KEY_KEY_LENGTH,
    PM_KEY_VALUE_LENGTH,
    PM_KEY_KEY_LENGTH_SWA,
    PM_KEY_VALUE_LENGTH_SWA,
    PM_KEY_KEY_LENGTH_MLA,
    PM_KEY_KV_LORA_RANK,
    PM_KEY_ROPE_DIMENSIONS,
    PM_KEY_WINDOW,
    PM_KEY_WINDOW_PATTERN,
    PM_KEY_SHARED_KV_LAYERS,
    PM_KEY_RECURRENT_LAYERS,
    PM_KEY_FULL_ATTENTION_INTERVAL,
    PM_KEY_INDEXER_KEY_LENGTH,
    PM_KEY_INDEXER_TYPES,
    PM_KEY_SSM_CONV_KERNEL,
    PM_KEY_SSM_INNER_SIZE,
    PM_KEY_SSM_STATE_SIZE,
    PM_KEY_SSM_GROUP_COUNT,
    PM_KEY_KDA_HEAD_DIM,
    PM_KEY_WKV_HEAD_SIZE,
    PM_KEY_TOKEN_SHIFT_COUNT,
    PM_KEY_SHORTCONV_CACHE,
    PM_KEY_COUNT
};

struct pm_key_value {
    char owner[64];   /* the architecture in front of it; "" not given */
    uint64_t value;   /* alone; of an array its first */
    uint64_t n_items; /* of an array */
    uint64_t *items;  /* NULL: it stands alone */
};

/* Zeros are an empty one. */
struct pm_keys {
    struct pm_key_value values[PM_KEY_COUNT];
    uint64_t n_tokens;           /* of the tokenizer's list */
    uint64_t n_tensors;          /* split.tensors.count: of all shards together; 0 not told */
    struct pm_key_value *filled; /* the array whose elements are being told */
};

void pm_keys_fini(struct pm_keys *keys);

/* For pm_gguf_visitor. */
void pm_keys_number(struct pm_keys *keys, const char *name, uint64_t value);
bool pm_keys_array(struct pm_keys *keys, const char *name, uint64_t n, bool are_integers);
void pm_keys_element(struct pm_keys *keys, uint64_t i, uint64_t value);

/* From here on `keys` are those of one architecture: forgets all others. */
void pm_keys_settle(struct pm_keys *keys, const char *architecture);

bool pm_keys_has(const struct pm_keys *keys, enum pm_key key);
/* What stands alone, or is the same for all layers; `otherwise` where it is not given. */
uint64_t pm_keys_get(const struct pm_keys *keys, enum pm_key key, uint64_t otherwise);
/* Of a layer: what stands alone is every layer's; `otherwise` where it is not given, or an array ends before. */
uint64_t pm_keys_of_layer(const struct pm_keys *keys, enum pm_key key, size_t layer,
                          uint64_t otherwise);
bool pm_keys_is_array(const struct pm_keys *keys, enum pm_key key);

/* "attention.head_count_kv" */
const char *pm_key_name(enum pm_key key);

#endif
