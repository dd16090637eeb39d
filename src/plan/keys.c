/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/keys.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/str.h"

static const char *const names[PM_KEY_COUNT] = {
    [PM_KEY_CONTEXT_LENGTH] = "context_length",
    [PM_KEY_BLOCK_COUNT] = "block_count",
    [PM_KEY_NEXTN_LAYERS] = "nextn_predict_layers",
    [PM_KEY_EMBEDDING_LENGTH] = "embedding_length",
    [PM_KEY_VOCAB_SIZE] = "vocab_size",
    [PM_KEY_FEED_FORWARD_LENGTH] = "feed_forward_length",
    [PM_KEY_EXPERTS_USED] = "expert_used_count",
    [PM_KEY_HEAD_COUNT] = "attention.head_count",
    [PM_KEY_HEAD_COUNT_KV] = "attention.head_count_kv",
    [PM_KEY_KEY_LENGTH] = "attention.key_length",
    [PM_KEY_VALUE_LENGTH] = "attention.value_length",
    [PM_KEY_KEY_LENGTH_SWA] = "attention.key_length_swa",
    [PM_KEY_VALUE_LENGTH_SWA] = "attention.value_length_swa",
    [PM_KEY_KEY_LENGTH_MLA] = "attention.key_length_mla",
    [PM_KEY_KV_LORA_RANK] = "attention.kv_lora_rank",
    [PM_KEY_ROPE_DIMENSIONS] = "rope.dimension_count",
    [PM_KEY_WINDOW] = "attention.sliding_window",
    [PM_KEY_WINDOW_PATTERN] = "attention.sliding_window_pattern",
    [PM_KEY_SHARED_KV_LAYERS] = "attention.shared_kv_layers",
    [PM_KEY_RECURRENT_LAYERS] = "attention.recurrent_layers",
    [PM_KEY_FULL_ATTENTION_INTERVAL] = "full_attention_interval",
    [PM_KEY_INDEXER_KEY_LENGTH] = "attention.indexer.key_length",
    [PM_KEY_INDEXER_TYPES] = "attention.indexer.types",
    [PM_KEY_SSM_CONV_KERNEL] = "ssm.conv_kernel",
    [PM_KEY_SSM_INNER_SIZE] = "ssm.inner_size",
    [PM_KEY_SSM_STATE_SIZE] = "ssm.state_size",
    [PM_KEY_SSM_GROUP_COUNT] = "ssm.group_count",
    [PM_KEY_KDA_HEAD_DIM] = "kda.head_dim",
    [PM_KEY_WKV_HEAD_SIZE] = "wkv.head_size",
    [PM_KEY_TOKEN_SHIFT_COUNT] = "token_shift_count",
    [PM_KEY_SHORTCONV_CACHE] = "shortconv.l_cache",
};

const char *pm_key_name(enum pm_key key)
{
    return names[key];
}

static void clear(struct pm_key_value *value)
{
    free(value->items);
    *value = (struct pm_key_value){0};
}

void pm_keys_fini(struct pm_keys *keys)
{
    for (size_t i = 0; i < PM_KEY_COUNT; i++)
        clear(&keys->values[i]);
    *keys = (struct pm_keys){0};
}

/* An architecture's name holds no dot: the first one ends it. NULL: none of the table. Emptied, and its owner written down. */
static struct pm_key_value *take(struct pm_keys *keys, const char *name)
{
    const char *dot = strchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : 0;

    if (n == 0 || n >= sizeof(keys->values[0].owner))
        return NULL;

    for (size_t i = 0; i < PM_KEY_COUNT; i++) {
        struct pm_key_value *value = &keys->values[i];

        if (strcmp(dot + 1, names[i]) != 0)
            continue;
        clear(value);
        memcpy(value->owner, name, n);
        return value;
    }

    return NULL;
}

void pm_keys_number(struct pm_keys *keys, const char *name, uint64_t value)
{
    struct pm_key_value *to;

    if (strcmp(name, "split.tensors.count") == 0)
        keys->n_tensors = value;

    to = take(keys, name);
    if (to)
        to->value = value;
}

bool pm_keys_array(struct pm_keys *keys, const char *name, uint64_t n, bool are_integers)
{
    struct pm_key_value *to;

    if (strcmp(name, "tokenizer.ggml.tokens") == 0)
        keys->n_tokens = n;

    to = take(keys, name);
    if (!to)
        return false;

    if (n == 0 || n > PM_KEYS_LAYERS_MAX || !are_integers) {
        clear(to);
        return false;
    }

    to->n_items = n;
    to->items = pm_xalloc((size_t)n * sizeof(*to->items));
    keys->filled = to;
    return true;
}

void pm_keys_element(struct pm_keys *keys, uint64_t i, uint64_t value)
{
    assert(keys->filled && i < keys->filled->n_items);
    keys->filled->items[i] = value;
    if (i == 0)
        keys->filled->value = value;
}

void pm_keys_settle(struct pm_keys *keys, const char *architecture)
{
    for (size_t i = 0; i < PM_KEY_COUNT; i++) {
        if (strcmp(keys->values[i].owner, architecture) != 0)
            clear(&keys->values[i]);
    }
}

bool pm_keys_has(const struct pm_keys *keys, enum pm_key key)
{
    return keys->values[key].owner[0] != '\0';
}

bool pm_keys_is_array(const struct pm_keys *keys, enum pm_key key)
{
    return keys->values[key].items != NULL;
}

uint64_t pm_keys_get(const struct pm_keys *keys, enum pm_key key, uint64_t otherwise)
{
    return pm_keys_has(keys, key) ? keys->values[key].value : otherwise;
}

uint64_t pm_keys_of_layer(const struct pm_keys *keys, enum pm_key key, size_t layer,
                          uint64_t otherwise)
{
    const struct pm_key_value *value = &keys->values[key];

    if (!pm_keys_has(keys, key) || (value->items && layer >= value->n_items))
        return otherwise;

    return value->items ? value->items[layer] : value->value;
}
