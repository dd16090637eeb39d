/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GGUF file is: magic, version, two counts, metadata pairs, tensor descriptions, then (aligned) the data. The
 * pairs have to be walked to reach the tensors, vocabularies of megabytes among them; so the header is read once,
 * front to back, through one small window. A tensor's end is its offset and the size of its rows by its type. A file
 * whose download broke off has all of its header and not all of its data: the last tensors then lie outside it.
 */
#include "plan/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "plan/window.h"

enum value_type {
    V_UINT8,
    V_INT8,
    V_UINT16,
    V_INT16,
    V_UINT32,
    V_INT32,
    V_FLOAT32,
    V_BOOL,
    V_STRING,
    V_ARRAY,
    V_UINT64,
    V_INT64,
    V_FLOAT64,
    V_COUNT
};

static const unsigned char value_size[V_COUNT] = {
    [V_UINT8] = 1, [V_INT8] = 1,    [V_UINT16] = 2, [V_INT16] = 2, [V_UINT32] = 4,  [V_INT32] = 4,
    [V_BOOL] = 1,  [V_FLOAT32] = 4, [V_UINT64] = 8, [V_INT64] = 8, [V_FLOAT64] = 8,
};

struct reader {
    struct pm_window window;
    const struct pm_gguf_visitor *visitor;
};

static bool is_integer(uint64_t type)
{
    return type < V_COUNT && value_size[type] != 0 && type != V_FLOAT32 && type != V_FLOAT64;
}

static bool is_signed(uint64_t type)
{
    return type == V_INT8 || type == V_INT16 || type == V_INT32 || type == V_INT64;
}

/* Of any integer type, and bool. What is negative becomes UINT64_MAX, which is beyond every limit. */
static int take_integer(struct reader *reader, uint64_t type, uint64_t *ret)
{
    size_t n = value_size[type];
    int r;

    r = pm_window_number(&reader->window, n, ret);
    if (r < 0)
        return r;

    if (is_signed(type) && *ret >> (8 * n - 1) != 0)
        *ret = UINT64_MAX;
    else if (type == V_BOOL)
        *ret = *ret != 0;

    return POOLMGR_OK;
}

static int skip_value(struct reader *reader, uint64_t type, unsigned depth);

/* Texts or arrays: each takes at least eight bytes, so that a lie about their number ends at the end of the file. */
static int skip_values(struct reader *reader, uint64_t type, uint64_t n, unsigned depth)
{
    for (uint64_t i = 0; i < n; i++) {
        int r = skip_value(reader, type, depth);

        if (r < 0)
            return r;
    }

    return POOLMGR_OK;
}

static int tell_elements(struct reader *reader, uint64_t type, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t value = 0;
        int r = take_integer(reader, type, &value);

        if (r < 0)
            return r;

        reader->visitor->on_element(reader->visitor->ctx, i, value);
    }

    return POOLMGR_OK;
}

/* `key` NULL: nobody is told. */
static int take_array(struct reader *reader, const char *key, unsigned depth)
{
    const struct pm_gguf_visitor *visitor = reader->visitor;
    uint64_t type, n;
    int r;

    r = pm_window_number(&reader->window, 4, &type);
    if (r < 0)
        return r;

    r = pm_window_number(&reader->window, 8, &n);
    if (r < 0)
        return r;

    if (key && visitor && visitor->on_array(visitor->ctx, key, n, is_integer(type)) &&
        is_integer(type))
        return tell_elements(reader, type, n);

    if (type >= V_COUNT || value_size[type] == 0)
        return skip_values(reader, type, n, depth);

    if (n > reader->window.source->size)
        return pm_window_cut_short(&reader->window);

    return pm_window_take(&reader->window, NULL, n * value_size[type]);
}

static int skip_value(struct reader *reader, uint64_t type, unsigned depth)
{
    uint64_t n;
    int r;

    if (type == V_STRING) {
        r = pm_window_number(&reader->window, 8, &n);
        return r < 0 ? r : pm_window_take(&reader->window, NULL, n);
    }

    if (type == V_ARRAY && depth < PM_GGUF_NEST_MAX)
        return take_array(reader, NULL, depth + 1);

    if (type == V_ARRAY)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "metadata of arrays in arrays, over %d deep, at byte %" PRIu64,
                       PM_GGUF_NEST_MAX, reader->window.offset);

    if (type >= V_COUNT || value_size[type] == 0)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "metadata of unknown type %" PRIu64 " at byte %" PRIu64, type,
                       reader->window.offset);

    return pm_window_take(&reader->window, NULL, value_size[type]);
}

static bool is_context_key(const struct pm_gguf *gguf, const char *key)
{
    size_t n = strlen(gguf->architecture);

    return n > 0 && strncmp(key, gguf->architecture, n) == 0 &&
           strcmp(key + n, ".context_length") == 0;
}

static int take_integer_pair(struct reader *reader, struct pm_gguf *gguf, const char *key,
                             uint64_t type)
{
    uint64_t value = 0;
    int r;

    r = take_integer(reader, type, &value);
    if (r < 0)
        return r;

    if (strcmp(key, "general.alignment") == 0)
        gguf->alignment = value;
    else if (strcmp(key, "split.count") == 0)
        gguf->n_shards = value;
    else if (strcmp(key, "split.no") == 0)
        gguf->shard = value;
    else if (is_context_key(gguf, key))
        gguf->context = value;

    if (reader->visitor)
        reader->visitor->on_number(reader->visitor->ctx, key, value);

    return POOLMGR_OK;
}

static int take_text_pair(struct reader *reader, struct pm_gguf *gguf, const char *key)
{
    if (strcmp(key, "general.architecture") == 0)
        return pm_window_text(&reader->window, PM_GGUF_HEADER_MAX, "an architecture's name",
                              gguf->architecture, sizeof gguf->architecture);

    if (strcmp(key, "general.name") == 0)
        return pm_window_text(&reader->window, PM_GGUF_HEADER_MAX, "a model's name", gguf->name,
                              sizeof gguf->name);

    return skip_value(reader, V_STRING, 0);
}

static int take_pair(struct reader *reader, struct pm_gguf *gguf)
{
    char key[128];
    uint64_t type;
    int r;

    r = pm_window_text(&reader->window, PM_GGUF_KEY_MAX, "a metadata key", key, sizeof key);
    if (r < 0)
        return r;

    r = pm_window_number(&reader->window, 4, &type);
    if (r < 0)
        return r;

    if (type == V_STRING)
        return take_text_pair(reader, gguf, key);

    if (type == V_ARRAY)
        return take_array(reader, key, 1);

    if (is_integer(type))
        return take_integer_pair(reader, gguf, key, type);

    return skip_value(reader, type, 0);
}

static int take_counts(struct reader *reader, struct pm_gguf *gguf)
{
    char magic[4];
    uint64_t version;
    int r;

    if (reader->window.source->size == 0)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT, "empty");

    if (reader->window.source->size < sizeof magic)
        return pm_window_cut_short(&reader->window);

    r = pm_window_take(&reader->window, magic, sizeof magic);
    if (r < 0)
        return r;

    if (memcmp(magic, "GGUF", sizeof magic) != 0)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "no GGUF file: it does not begin with 'GGUF'");

    r = pm_window_number(&reader->window, 4, &version);
    if (r < 0)
        return r;

    if (version < 2 || version > 3)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_UNSUPPORTED,
                       "GGUF version %" PRIu64 "%s; versions 2 and 3 are read", version,
                       version > 0xffff && (version & 0xffff) == 0 ? " (big-endian?)" : "");

    gguf->version = (uint32_t)version;
    r = pm_window_number(&reader->window, 8, &gguf->n_tensors);
    if (r < 0)
        return r;

    r = pm_window_number(&reader->window, 8, &gguf->n_pairs);
    if (r < 0)
        return r;

    if (gguf->n_tensors > PM_GGUF_TENSORS_MAX || gguf->n_pairs > PM_GGUF_PAIRS_MAX)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "its header counts %" PRIu64 " tensors and %" PRIu64
                       " metadata keys; no model has over %d and %d",
                       gguf->n_tensors, gguf->n_pairs, PM_GGUF_TENSORS_MAX, PM_GGUF_PAIRS_MAX);

    return POOLMGR_OK;
}

/* False: a product overflows. */
static bool measure_tensor(struct pm_gguf_tensor *tensor)
{
    tensor->n_elements = 1;
    for (size_t i = 0; i < tensor->n_dims; i++)
        if (__builtin_mul_overflow(tensor->n_elements, tensor->dims[i], &tensor->n_elements))
            return false;

    tensor->bytes = 0;
    return !tensor->of || pm_ggml_bytes(tensor->of, tensor->n_elements, &tensor->bytes);
}

/* The tensor that ends last, kept for the message. */
struct last_tensor {
    char name[PM_GGUF_NAME_MAX + 1];
    uint64_t end; /* in the data */
};

static int take_dims(struct reader *reader, struct pm_gguf_tensor *tensor)
{
    uint64_t n_dims;
    int r;

    r = pm_window_number(&reader->window, 4, &n_dims);
    if (r < 0)
        return r;

    if (n_dims > PM_GGUF_DIMS_MAX)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "tensor '%.128s' has %" PRIu64 " dimensions", tensor->name, n_dims);

    tensor->n_dims = (size_t)n_dims;
    for (size_t i = 0; i < tensor->n_dims; i++) {
        r = pm_window_number(&reader->window, 8, &tensor->dims[i]);
        if (r < 0)
            return r;
    }

    return POOLMGR_OK;
}

static int take_tensor(struct reader *reader, struct pm_gguf *gguf, struct last_tensor *last)
{
    struct pm_gguf_tensor tensor;
    uint64_t offset, end;
    int r;

    r = pm_window_text(&reader->window, PM_GGUF_NAME_MAX, "a tensor's name", tensor.name,
                       sizeof tensor.name);
    if (r < 0)
        return r;

    r = take_dims(reader, &tensor);
    if (r < 0)
        return r;

    r = pm_window_number(&reader->window, 4, &tensor.type);
    if (r < 0)
        return r;

    r = pm_window_number(&reader->window, 8, &offset);
    if (r < 0)
        return r;

    tensor.of = pm_ggml_type(tensor.type);
    if (!measure_tensor(&tensor) || __builtin_add_overflow(offset, tensor.bytes, &end))
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "the size of tensor '%.128s' overflows", tensor.name);

    gguf->n_unknown_types += !tensor.of;
    if (end >= last->end) {
        last->end = end;
        memcpy(last->name, tensor.name, sizeof tensor.name);
    }

    if (reader->visitor)
        reader->visitor->on_tensor(reader->visitor->ctx, &tensor);

    return POOLMGR_OK;
}

static int check_data(struct reader *reader, struct pm_gguf *gguf, const struct last_tensor *last)
{
    uint64_t gap = reader->window.offset % gguf->alignment;

    gguf->data_offset = reader->window.offset + (gap != 0 ? gguf->alignment - gap : 0);
    if (gguf->n_tensors == 0) {
        gguf->data_end = reader->window.offset;
        return POOLMGR_OK;
    }

    if (__builtin_add_overflow(gguf->data_offset, last->end, &gguf->data_end) ||
        gguf->data_end > reader->window.source->size)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "cut short: tensor '%.128s' lies outside the file's %" PRIu64 " bytes",
                       last->name, reader->window.source->size);

    return POOLMGR_OK;
}

static int read_header(struct reader *reader, struct pm_gguf *gguf)
{
    struct last_tensor last = {0};
    uint64_t i;
    int r;

    gguf->alignment = 32;
    r = take_counts(reader, gguf);
    if (r < 0)
        return r;

    for (i = 0; i < gguf->n_pairs; i++) {
        r = take_pair(reader, gguf);
        if (r < 0)
            return r;
    }

    if (gguf->alignment == 0 || (gguf->alignment & (gguf->alignment - 1)) != 0 ||
        gguf->alignment > PM_GGUF_HEADER_MAX)
        return pm_fail(reader->window.err, POOLMGR_E_MODEL_CORRUPT,
                       "its alignment is %" PRIu64 ", and not a power of two up to %d MiB",
                       gguf->alignment, PM_GGUF_HEADER_MAX / (1024 * 1024));

    for (i = 0; i < gguf->n_tensors; i++) {
        r = take_tensor(reader, gguf, &last);
        if (r < 0)
            return r;
    }

    return check_data(reader, gguf, &last);
}

int pm_gguf_walk(const struct pm_gguf_source *source, const struct pm_gguf_visitor *visitor,
                 struct pm_gguf *ret, struct poolmgr_error *err)
{
    struct reader reader = {.window = {.source = source, .err = err}, .visitor = visitor};
    struct pm_gguf gguf = {0};
    int r;

    r = read_header(&reader, &gguf);
    if (r < 0)
        return r;

    *ret = gguf;
    return POOLMGR_OK;
}

int pm_gguf_read(const struct pm_gguf_source *source, struct pm_gguf *ret,
                 struct poolmgr_error *err)
{
    return pm_gguf_walk(source, NULL, ret, err);
}
