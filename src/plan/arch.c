/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/arch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

/* More elements of one token or sequence than any layer has: what is read was written by strangers. */
#define ELEMENTS_MAX (UINT64_C(1) << 40)
#define VALUE_MAX    UINT64_C(0x7fffffff)

__extension__ typedef unsigned __int128 wide;

enum memory {
    CACHE,          /* each layer has a KV cache */
    NOTHING,        /* encoders and diffusion: each request anew */
    STATE,          /* each layer has a state */
    BOTH,           /* each layer has both */
    BY_HEADS,       /* a layer without KV heads has a state, the others a cache */
    BY_HEADS_OR_FF, /* likewise; one with a feed-forward part has neither */
    BY_INTERVAL,    /* one layer in full_attention_interval has a cache, the others a state */
    UNKNOWN,        /* something else, not estimated here */
};

enum {
    NO_OUTPUT = 1,      /* has no output matrix at all, or makes it of token_embd where that is */
    WINDOW_IGNORED = 2, /* the key is there and llama.cpp does without */
    WINDOW_ASKED = 4, /* the row's window counts, not the key's; and only where the key is there */
    WINDOW_FIXED = 8, /* the row's window counts, not the key's; none where the key says 0 */
    WINDOW_ALL = 16,  /* each layer that has a cache slides */
    WINDOW_64 = 32,   /* only the model of 64 layers slides */
    DENSE_FIRST = 64, /* the first layer of a period does not slide; else its last */
    INDEXED = 128,    /* a row of indexer.key_length beside the cache */
    NO_FLASH = 256,   /* attention as a product of matrices, whatever the engine is asked for */
};

struct row {
    const char *name;
    enum memory memory;
    unsigned flags;
    unsigned period;    /* of sliding layers, where the metadata have none; 0: none slides then */
    unsigned window;    /* tokens, where the metadata have none */
    unsigned kv_layers; /* at the start, where the metadata do not say how many share; 0: all */
    unsigned interval;  /* BY_INTERVAL, where the metadata have none */
};

static const struct row rows[] = {
    {.name = "afmoe", .period = 4},
    {.name = "arwkv7", .memory = STATE},
    {.name = "bailingmoe3", .memory = BY_HEADS},
    {.name = "bert", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "bitnet", .flags = NO_OUTPUT},
    {.name = "clip", .memory = UNKNOWN},
    {.name = "cohere2", .period = 4},
    {.name = "cohere2moe", .period = 4, .flags = DENSE_FIRST},
    {.name = "deepseek32", .flags = INDEXED},
    {.name = "deepseek4", .memory = UNKNOWN},
    {.name = "dflash", .memory = UNKNOWN},
    {.name = "dots3note", .memory = UNKNOWN},
    {.name = "dream", .memory = NOTHING},
    {.name = "eagle3", .memory = UNKNOWN},
    {.name = "eurobert", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "exaone-moe", .period = 4, .window = 128},
    {.name = "exaone4", .period = 4, .window = 4096, .flags = WINDOW_64},
    {.name = "falcon-h1", .memory = BOTH},
    {.name = "gemma-embedding", .memory = NOTHING},
    {.name = "gemma2", .period = 2, .window = 4096},
    {.name = "gemma3", .period = 6},
    {.name = "gemma3n", .period = 5, .kv_layers = 20},
    {.name = "gemma4-assistant", .memory = UNKNOWN},
    {.name = "glm-dsa", .flags = INDEXED},
    {.name = "glm5-next", .memory = UNKNOWN},
    {.name = "gpt-oss", .period = 2},
    {.name = "granitehybrid", .memory = BY_HEADS},
    {.name = "graniteswitch", .memory = UNKNOWN},
    {.name = "grok", .flags = NO_FLASH},
    {.name = "hy_v4", .memory = UNKNOWN},
    {.name = "jamba", .memory = BY_HEADS},
    {.name = "jina-bert-v2", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "jina-bert-v3", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "kimi-k3", .memory = BY_HEADS},
    {.name = "kimi-linear", .memory = BY_HEADS},
    {.name = "laguna", .period = 4, .flags = DENSE_FIRST},
    {.name = "lfm2", .memory = BY_HEADS, .flags = WINDOW_ALL},
    {.name = "lfm2moe", .memory = BY_HEADS},
    {.name = "llada", .memory = NOTHING},
    {.name = "llada-moe", .memory = NOTHING},
    {.name = "llama4", .period = 4, .window = 8192, .flags = WINDOW_FIXED},
    {.name = "mamba", .memory = STATE},
    {.name = "mamba2", .memory = STATE},
    {.name = "mellum", .period = 4},
    {.name = "minimax-01", .memory = UNKNOWN},
    {.name = "minimax-m3", .memory = UNKNOWN},
    {.name = "modern-bert", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "muse-glimmer", .period = 4},
    {.name = "nanbeige", .memory = UNKNOWN},
    {.name = "nemotron_h", .memory = BY_HEADS_OR_FF},
    {.name = "nemotron_h_moe", .memory = BY_HEADS_OR_FF},
    {.name = "neo-bert", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "nomic-bert", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "nomic-bert-moe", .memory = NOTHING, .flags = NO_OUTPUT},
    {.name = "olmo2", .period = 4},
    {.name = "phi3", .flags = WINDOW_IGNORED},
    {.name = "plamo2", .memory = BY_HEADS},
    {.name = "plamo3", .period = 8},
    {.name = "pockettts", .memory = UNKNOWN},
    {.name = "qwen35", .memory = BY_INTERVAL, .interval = 4},
    {.name = "qwen35moe", .memory = BY_INTERVAL, .interval = 4},
    {.name = "qwen3next", .memory = BY_INTERVAL, .interval = 4},
    {.name = "qwen3tts", .memory = UNKNOWN},
    {.name = "qwen4exp", .memory = UNKNOWN},
    {.name = "rnd1", .memory = NOTHING},
    {.name = "rwkv6", .memory = STATE},
    {.name = "rwkv6qwen2", .memory = STATE},
    {.name = "rwkv7", .memory = STATE},
    {.name = "smallthinker", .period = 4, .window = 4096, .flags = DENSE_FIRST | WINDOW_ASKED},
    {.name = "t5", .memory = UNKNOWN},
    {.name = "t5encoder", .memory = UNKNOWN},
    {.name = "wavtokenizer-dec", .memory = UNKNOWN},
};

static const struct row *row_of(const char *architecture)
{
    static const struct row plain = {.name = ""};

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, architecture) == 0)
            return &rows[i];
    }

    return &plain;
}

bool pm_arch_ties_output(const char *architecture)
{
    return (row_of(architecture)->flags & NO_OUTPUT) == 0;
}

size_t pm_arch_own_layers(const struct pm_keys *keys, size_t n_layers)
{
    uint64_t n_drafting = pm_keys_get(keys, PM_KEY_NEXTN_LAYERS, 0);

    return n_drafting < n_layers ? n_layers - (size_t)n_drafting : n_layers;
}

/* ---- sliding windows ---------------------------------------------------------------------------------- */

static uint64_t window_of(const struct row *row, const struct pm_keys *keys, size_t n_layers)
{
    bool given = pm_keys_has(keys, PM_KEY_WINDOW);
    uint64_t window = pm_keys_get(keys, PM_KEY_WINDOW, row->window);

    if ((row->flags & WINDOW_IGNORED) != 0 || window == 0)
        return 0;
    if ((row->flags & WINDOW_64) != 0 && n_layers != 64)
        return 0;
    if ((row->flags & WINDOW_ASKED) != 0)
        return given ? row->window : 0;

    return (row->flags & WINDOW_FIXED) != 0 ? row->window : window;
}

static bool slides(const struct row *row, const struct pm_keys *keys, size_t layer)
{
    uint64_t period = row->period;

    if ((row->flags & WINDOW_ALL) != 0)
        return true;
    if (pm_keys_is_array(keys, PM_KEY_WINDOW_PATTERN))
        return pm_keys_of_layer(keys, PM_KEY_WINDOW_PATTERN, layer, 0) != 0;

    if (pm_keys_has(keys, PM_KEY_WINDOW_PATTERN)) {
        period = pm_keys_get(keys, PM_KEY_WINDOW_PATTERN, 0);
        if (period == 0)
            return true;
    }

    if (period == 0)
        return false;

    return layer % period != ((row->flags & DENSE_FIRST) != 0 ? 0 : period - 1);
}

/* ---- states ------------------------------------------------------------------------------------------- */

/* Elements of the two tensors that one sequence keeps: what the convolution still needs, and the state proper. */
static wide state_of(const struct pm_keys *keys, uint64_t n_embd)
{
    uint64_t wkv = pm_keys_get(keys, PM_KEY_WKV_HEAD_SIZE, 0);
    uint64_t short_cache = pm_keys_get(keys, PM_KEY_SHORTCONV_CACHE, 0);
    uint64_t kda = pm_keys_get(keys, PM_KEY_KDA_HEAD_DIM, 0);
    uint64_t n_heads = pm_keys_get(keys, PM_KEY_HEAD_COUNT, 0);
    uint64_t kernel = pm_keys_get(keys, PM_KEY_SSM_CONV_KERNEL, 0);
    uint64_t inner = pm_keys_get(keys, PM_KEY_SSM_INNER_SIZE, 0);
    uint64_t state = pm_keys_get(keys, PM_KEY_SSM_STATE_SIZE, 0);
    uint64_t n_groups = pm_keys_get(keys, PM_KEY_SSM_GROUP_COUNT, 0);
    wide recent = kernel > 0 ? kernel - 1 : 0;

    if (wkv > 0)
        return (wide)n_embd * (pm_keys_get(keys, PM_KEY_TOKEN_SHIFT_COUNT, 2) + wkv);
    if (short_cache > 0)
        return (wide)n_embd * (short_cache - 1) + (wide)state * inner;
    if (kda > 0)
        return 3 * (kernel > 0 ? recent : 3) * n_heads * kda + (wide)kda * kda * n_heads;

    return recent * (inner + 2 * (wide)n_groups * state) + (wide)state * inner;
}

/* ---- layers ------------------------------------------------------------------------------------------- */

static bool is_recurrent(const struct row *row, const struct pm_keys *keys, size_t layer,
                         bool has_heads)
{
    switch (row->memory) {
    case STATE:
    case BOTH: return true;
    case BY_HEADS: return !has_heads;
    case BY_HEADS_OR_FF:
        return !has_heads && pm_keys_of_layer(keys, PM_KEY_FEED_FORWARD_LENGTH, layer, 0) == 0;
    case BY_INTERVAL: break;
    default: return false;
    }

    if (pm_keys_has(keys, PM_KEY_RECURRENT_LAYERS))
        return pm_keys_of_layer(keys, PM_KEY_RECURRENT_LAYERS, layer, 0) != 0;

    uint64_t interval = pm_keys_get(keys, PM_KEY_FULL_ATTENTION_INTERVAL, row->interval);

    return interval == 0 || (layer + 1) % interval != 0;
}

static bool has_cache(const struct row *row, const struct pm_keys *keys, size_t layer,
                      bool recurrent)
{
    if (row->memory == NOTHING || row->memory == STATE)
        return false;
    if (row->memory == BY_HEADS_OR_FF)
        return !recurrent && pm_keys_of_layer(keys, PM_KEY_FEED_FORWARD_LENGTH, layer, 0) == 0;

    return row->memory == BOTH || !recurrent;
}

/* Elements of one token in a layer with a cache. */
static bool lay_out_cache(const struct row *row, const struct pm_keys *keys, uint64_t n_embd,
                          size_t at, struct pm_model_layer *layer)
{
    uint64_t n_heads = pm_keys_get(keys, PM_KEY_HEAD_COUNT, 0);
    uint64_t n_kv = pm_keys_of_layer(keys, PM_KEY_HEAD_COUNT_KV, at,
                                     pm_keys_of_layer(keys, PM_KEY_HEAD_COUNT, at, 0));
    uint64_t length = n_heads > 0 ? n_embd / n_heads : 0;
    uint64_t k_length = pm_keys_get(keys, PM_KEY_KEY_LENGTH, length);
    uint64_t v_length = pm_keys_get(keys, PM_KEY_VALUE_LENGTH, length);
    uint64_t lora = pm_keys_get(keys, PM_KEY_KV_LORA_RANK, 0);

    if (layer->sliding) {
        k_length = pm_keys_get(keys, PM_KEY_KEY_LENGTH_SWA, k_length);
        v_length = pm_keys_get(keys, PM_KEY_VALUE_LENGTH_SWA, v_length);
    }

    if (pm_keys_get(keys, PM_KEY_KEY_LENGTH_MLA, 0) > 0 && lora > 0) {
        layer->k_elements = layer->k_head = lora + pm_keys_get(keys, PM_KEY_ROPE_DIMENSIONS, 0);
    } else {
        layer->k_head = k_length;
        layer->v_head = v_length;
        layer->k_elements = k_length * n_kv;
        layer->v_elements = v_length * n_kv;
    }

    if ((row->flags & INDEXED) != 0 && pm_keys_of_layer(keys, PM_KEY_INDEXER_TYPES, at, 1) != 0)
        layer->index_elements = pm_keys_get(keys, PM_KEY_INDEXER_KEY_LENGTH, 0);

    return layer->k_elements <= ELEMENTS_MAX && layer->v_elements <= ELEMENTS_MAX;
}

static bool lay_out_layer(const struct row *row, const struct pm_keys *keys,
                          const struct pm_model *model, size_t at, struct pm_model_layer *layer)
{
    bool has_heads = pm_keys_of_layer(keys, PM_KEY_HEAD_COUNT_KV, at,
                                      pm_keys_of_layer(keys, PM_KEY_HEAD_COUNT, at, 0)) > 0;
    bool recurrent = is_recurrent(row, keys, at, has_heads);

    if (recurrent) {
        wide elements = state_of(keys, model->n_embd);

        if (elements > ELEMENTS_MAX)
            return false;
        layer->state_elements = (uint64_t)elements;
    }

    if (!has_cache(row, keys, at, recurrent))
        return true;

    layer->sliding = model->window > 0 && slides(row, keys, at);
    return lay_out_cache(row, keys, model->n_embd, at, layer);
}

/* The first value that is no number of elements, layers or tokens; PM_KEY_COUNT: none. */
static enum pm_key find_absurd(const struct pm_keys *keys)
{
    for (size_t i = 0; i < PM_KEY_COUNT; i++) {
        const struct pm_key_value *value = &keys->values[i];

        if (value->value > VALUE_MAX)
            return (enum pm_key)i;
        for (size_t at = 0; at < value->n_items; at++) {
            if (value->items[at] > VALUE_MAX)
                return (enum pm_key)i;
        }
    }

    return PM_KEY_COUNT;
}

/* Layers from the start that keep a cache of their own; the others read theirs. */
static size_t count_kv_layers(const struct row *row, const struct pm_keys *keys, size_t n)
{
    uint64_t n_shared =
        pm_keys_get(keys, PM_KEY_SHARED_KV_LAYERS,
                    row->kv_layers > 0 && n > row->kv_layers ? n - row->kv_layers : 0);

    return n_shared < n ? n - (size_t)n_shared : 0;
}

void pm_arch_lay_out(const struct pm_keys *keys, struct pm_model *model)
{
    const struct row *row = row_of(model->architecture);
    size_t n = pm_arch_own_layers(keys, model->n_layers);
    size_t n_kv = count_kv_layers(row, keys, n);
    enum pm_key absurd = find_absurd(keys);

    if (row->memory == UNKNOWN) {
        (void)snprintf(model->no_estimate, sizeof(model->no_estimate),
                       "what architecture '%s' remembers is not estimated here", row->name);
        return;
    }

    if (absurd != PM_KEY_COUNT) {
        (void)snprintf(model->no_estimate, sizeof(model->no_estimate),
                       "its '%s.%s' is not a size that a model can have", model->architecture,
                       pm_key_name(absurd));
        return;
    }

    if ((row->flags & NO_FLASH) != 0)
        model->product_heads = pm_keys_get(keys, PM_KEY_HEAD_COUNT, 0);
    model->window = window_of(row, keys, n);
    for (size_t i = 0; i < n; i++) {
        struct pm_model_layer *layer = &model->layers[i];

        if (!lay_out_layer(row, keys, model, i, layer)) {
            (void)snprintf(model->no_estimate, sizeof(model->no_estimate),
                           "layer %zu would remember more than a model can", i);
            return;
        }
        if (i >= n_kv) {
            layer->k_elements = layer->v_elements = layer->index_elements = 0;
            layer->reads = n_kv > 1 && layer->sliding ? n_kv - 1 : n_kv;
        }
    }
}
