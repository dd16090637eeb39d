/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over each header: metadata go into `keys`, tensors into sums by layer. What they mean together, plan/arch.c says
 * at the end. Only the first shard's metadata count, as with llama.cpp; the others have tensors, and say which shard they are.
 */
#include "plan/model.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/arch.h"
#include "plan/keys.h"
#include "plan/work.h"
#include "util/str.h"

struct pm_model *pm_model_new(size_t n_layers)
{
    struct pm_model *model;

    assert(n_layers <= PM_MODEL_LAYERS_MAX);
    model = pm_xalloc(sizeof(*model) + n_layers * sizeof(model->layers[0]));
    model->n_refs = 1;
    model->n_layers = n_layers;
    return model;
}

struct pm_model *pm_model_ref(struct pm_model *model)
{
    if (model)
        (void)__atomic_add_fetch(&model->n_refs, 1, __ATOMIC_RELAXED);
    return model;
}

void pm_model_unref(struct pm_model *model)
{
    if (!model)
        return;
    assert(model->n_refs > 0);
    if (__atomic_sub_fetch(&model->n_refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(model);
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

struct builder {
    struct pm_keys keys;
    struct pm_widths widths;
    struct pm_gguf first; /* of the first shard */
    uint64_t layer_bytes[PM_MODEL_LAYERS_MAX];
    uint64_t type_bytes[PM_GGML_TYPES];
    uint64_t input_bytes, embedding_bytes, rest_bytes;
    uint64_t n_tensors, n_elements, bytes, file_bytes;
    uint64_t n_rows; /* of the output matrix, or of token_embd: the vocabulary */
    bool has_output; /* output.weight */
    bool is_first;   /* the shard that is being walked */
    bool overflows;
    bool layer_beyond; /* a tensor of a layer that is none */
    char unknown[160]; /* the first tensor whose type is; "" none */
    uint64_t unknown_type;
};

/* Looked up by token, position or kind, one row each: never worth a device's memory. */
static const char *const looked_up[] = {"token_embd", "position_embd", "token_types",
                                        "per_layer_token_embd"};
/* Of no layer by their name; an engine puts them with the first. */
static const char *const with_first[] = {"token_embd_norm", "per_layer_model_proj",
                                         "per_layer_proj_norm"};

/* Is a tensor's name up to its first dot one of the list? */
static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    size_t length = strcspn(name, ".");

    for (size_t i = 0; i < n; i++) {
        if (strlen(list[i]) == length && memcmp(name, list[i], length) == 0)
            return true;
    }

    return false;
}

/* "blk.17.attn_q.weight": 17. False: not a layer's. */
static bool layer_of(const char *name, uint64_t *ret)
{
    uint64_t layer = 0;
    size_t i = strlen("blk.");

    if (!pm_str_starts(name, "blk.") || name[i] < '0' || name[i] > '9')
        return false;

    for (; name[i] >= '0' && name[i] <= '9'; i++) {
        if (layer < PM_MODEL_LAYERS_MAX)
            layer = layer * 10 + (uint64_t)(name[i] - '0');
    }

    *ret = layer;
    return name[i] == '.';
}

static void add(struct builder *builder, uint64_t *sum, uint64_t n)
{
    if (__builtin_add_overflow(*sum, n, sum))
        builder->overflows = true;
}

static uint64_t *place_of(struct builder *builder, const struct pm_gguf_tensor *tensor)
{
    uint64_t layer;

    if (layer_of(tensor->name, &layer)) {
        if (layer < PM_MODEL_LAYERS_MAX)
            return &builder->layer_bytes[layer];
        builder->layer_beyond = true;
    }

    if (is_one_of(tensor->name, looked_up, PM_ARRAY_LEN(looked_up)))
        return &builder->input_bytes;
    if (is_one_of(tensor->name, with_first, PM_ARRAY_LEN(with_first)))
        return &builder->layer_bytes[0];

    return &builder->rest_bytes;
}

static void on_tensor(void *ctx, const struct pm_gguf_tensor *tensor)
{
    struct builder *builder = ctx;
    bool is_embedding = strcmp(tensor->name, "token_embd.weight") == 0;
    bool is_output = strcmp(tensor->name, "output.weight") == 0;

    if (!tensor->of && builder->unknown[0] == '\0') {
        (void)pm_str_copy(builder->unknown, sizeof(builder->unknown), tensor->name);
        builder->unknown_type = tensor->type;
    }

    add(builder, place_of(builder, tensor), tensor->bytes);
    add(builder, &builder->n_elements, tensor->n_elements);
    add(builder, &builder->bytes, tensor->bytes);
    if (tensor->of)
        add(builder, &builder->type_bytes[tensor->type], tensor->bytes);
    if (is_embedding)
        builder->embedding_bytes = tensor->bytes;
    if ((is_embedding && !builder->has_output) || is_output)
        builder->n_rows = tensor->n_dims > 1 ? tensor->dims[1] : 0;
    builder->has_output |= is_output;
    builder->n_tensors++;
    pm_widths_see(&builder->widths, tensor);
}

static void on_number(void *ctx, const char *key, uint64_t value)
{
    struct builder *builder = ctx;

    if (builder->is_first)
        pm_keys_number(&builder->keys, key, value);
}

static bool on_array(void *ctx, const char *key, uint64_t n, bool are_integers)
{
    struct builder *builder = ctx;

    return builder->is_first && pm_keys_array(&builder->keys, key, n, are_integers);
}

static void on_element(void *ctx, uint64_t i, uint64_t value)
{
    struct builder *builder = ctx;

    pm_keys_element(&builder->keys, i, value);
}

/* ---- shards ------------------------------------------------------------------------------------------- */

static int check_shard(const struct builder *builder, const struct pm_gguf *gguf, size_t i,
                       size_t n, struct poolmgr_error *err)
{
    uint64_t n_shards = gguf->n_shards > 0 ? gguf->n_shards : 1;

    if (i == 0 && gguf->shard != 0)
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT,
                       "it is shard %" PRIu64 " of %" PRIu64 "; a model begins with its first",
                       gguf->shard + 1, n_shards);

    if (n == 1 && n_shards > 1)
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT,
                       "it is the first of %" PRIu64 " shards, and its name does not say so: the "
                       "others are found where it ends in -00001-of-%05" PRIu64 ".gguf",
                       n_shards, n_shards);

    if (i == 0 && n_shards != n)
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT,
                       "it is the first of %" PRIu64 " shards, and %zu are given", n_shards, n);

    if (i > 0 && (gguf->shard != i || (gguf->n_shards != 0 && gguf->n_shards != n)))
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT,
                       "it is shard %" PRIu64 " of %" PRIu64 ", where shard %zu of %zu is needed",
                       gguf->shard + 1, n_shards, i + 1, n);

    if (i > 0 && gguf->architecture[0] != '\0' &&
        strcmp(gguf->architecture, builder->first.architecture) != 0)
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT,
                       "it is of architecture '%s', and the first shard of '%s'",
                       gguf->architecture, builder->first.architecture);

    return POOLMGR_OK;
}

static int read_shard(struct builder *builder, const struct pm_gguf_source *file, size_t i,
                      size_t n, struct poolmgr_error *err)
{
    const struct pm_gguf_visitor visitor = {
        .ctx = builder,
        .on_number = on_number,
        .on_array = on_array,
        .on_element = on_element,
        .on_tensor = on_tensor,
    };
    struct pm_gguf gguf;
    int r;

    builder->is_first = i == 0;
    r = pm_gguf_walk(file, &visitor, &gguf, err);
    if (r < 0)
        return r;

    r = check_shard(builder, &gguf, i, n, err);
    if (r < 0)
        return r;

    if (i == 0)
        builder->first = gguf;
    add(builder, &builder->file_bytes, file->size);
    return POOLMGR_OK;
}

static int read_shards(struct builder *builder, const struct pm_gguf_source *files, size_t n,
                       struct poolmgr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int r = read_shard(builder, &files[i], i, n, err);

        if (r < 0)
            return n == 1 ? r : pm_wrap(err, r, "file %zu of %zu", i + 1, n);
    }

    if (builder->overflows)
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT, "the sizes of its tensors overflow");

    if (n > 1 && builder->keys.n_tensors != 0 && builder->keys.n_tensors != builder->n_tensors)
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT,
                       "its shards hold %" PRIu64 " tensors, and it has %" PRIu64,
                       builder->n_tensors, builder->keys.n_tensors);

    return POOLMGR_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static uint64_t vocabulary_of(const struct builder *builder)
{
    if (builder->n_rows > 0)
        return builder->n_rows;
    return pm_keys_get(&builder->keys, PM_KEY_VOCAB_SIZE, builder->keys.n_tokens);
}

static void name_type(const struct builder *builder, struct pm_model *model)
{
    uint64_t most = 0;

    for (size_t i = 0; i < PM_GGML_TYPES; i++) {
        if (builder->type_bytes[i] <= most)
            continue;
        most = builder->type_bytes[i];
        (void)pm_str_copy(model->quantisation, sizeof(model->quantisation), pm_ggml_type(i)->name);
    }
}

/* Of the last layer that has tensors; 0: none has. */
static size_t number_layers(const struct builder *builder)
{
    size_t n = PM_MODEL_LAYERS_MAX;

    while (n > 0 && builder->layer_bytes[n - 1] == 0)
        n--;
    return n;
}

/* Why nothing can be laid out; "" it can. */
static void explain(const struct builder *builder, uint64_t n_layers, struct pm_model *model)
{
    char *to = model->no_estimate;
    size_t size = sizeof(model->no_estimate);

    if (model->architecture[0] == '\0')
        (void)pm_str_copy(to, size, "it names no architecture");
    else if (strcmp(model->architecture, "clip") == 0)
        (void)pm_str_copy(to, size, "it is a projector, which goes beside a model, as its mmproj");
    else if (builder->unknown[0] != '\0')
        (void)snprintf(to, size, "tensor '%s' is of type %" PRIu64 ", whose size is not known here",
                       builder->unknown, builder->unknown_type);
    else if (n_layers == 0)
        (void)snprintf(to, size, "it has no '%s.block_count'", model->architecture);
    else if (n_layers > PM_MODEL_LAYERS_MAX || builder->layer_beyond)
        (void)snprintf(to, size, "it has more than %d layers", PM_MODEL_LAYERS_MAX);
    else if (number_layers(builder) > n_layers)
        (void)snprintf(to, size, "it has tensors of layer %zu, and %" PRIu64 " layers",
                       number_layers(builder) - 1, n_layers);
    else if (model->n_embd == 0)
        (void)snprintf(to, size, "it has no '%s.embedding_length'", model->architecture);
}

static struct pm_model *assemble(struct builder *builder)
{
    const struct pm_gguf *first = &builder->first;
    uint64_t n_layers;
    struct pm_model *model;

    pm_keys_settle(&builder->keys, first->architecture);
    n_layers = pm_keys_get(&builder->keys, PM_KEY_BLOCK_COUNT, 0);
    model = pm_model_new(n_layers <= PM_MODEL_LAYERS_MAX ? (size_t)n_layers : 0);
    (void)pm_str_copy(model->architecture, sizeof(model->architecture), first->architecture);
    (void)pm_str_copy(model->name, sizeof(model->name), first->name);
    name_type(builder, model);
    model->n_parameters = builder->n_elements;
    model->file_bytes = builder->file_bytes;
    model->tensor_bytes = builder->bytes;
    model->context = pm_keys_get(&builder->keys, PM_KEY_CONTEXT_LENGTH, 0);
    model->n_embd = pm_keys_get(&builder->keys, PM_KEY_EMBEDDING_LENGTH, 0);
    model->n_vocab = vocabulary_of(builder);
    model->input_bytes = builder->input_bytes;
    model->output_bytes = builder->rest_bytes;
    if (!builder->has_output && pm_arch_ties_output(model->architecture))
        model->tied_bytes = builder->embedding_bytes;

    explain(builder, n_layers, model);
    if (model->no_estimate[0] == '\0')
        pm_arch_lay_out(&builder->keys, model);
    if (model->no_estimate[0] == '\0' && builder->n_tensors == 0)
        (void)pm_str_copy(model->no_estimate, sizeof(model->no_estimate),
                          "it has no tensors, as a file with a vocabulary alone");
    pm_work_measure(&builder->widths, &builder->keys, model);
    for (size_t i = 0; i < pm_arch_own_layers(&builder->keys, model->n_layers); i++)
        model->layers[i].weights_bytes = builder->layer_bytes[i];

    return model;
}

int pm_model_read(const struct pm_gguf_source *files, size_t n, struct pm_model **ret,
                  struct poolmgr_error *err)
{
    pm_auto_free struct builder *builder = NULL;
    int r;

    if (n == 0 || n > PM_MODEL_SHARDS_MAX)
        return pm_fail(err, POOLMGR_E_MODEL_CORRUPT, "a model is 1 to %d files, not %zu",
                       PM_MODEL_SHARDS_MAX, n);

    builder = pm_xalloc(sizeof(*builder));
    r = read_shards(builder, files, n, err);
    if (r == POOLMGR_OK)
        *ret = assemble(builder);
    pm_keys_fini(&builder->keys);
    return r;
}
