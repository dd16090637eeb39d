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

#include "util/cleanup.h"

#define WINDOW 65536

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

/* Elements a block, bytes a block, by ggml's number of the type. Rows of zeros are types that are gone or unknown. */
static const struct {
    uint16_t n_elements, n_bytes;
} tensor_types[] = {
    [0] = {1, 4},      /* F32 */
    [1] = {1, 2},      /* F16 */
    [2] = {32, 18},    /* Q4_0 */
    [3] = {32, 20},    /* Q4_1 */
    [6] = {32, 22},    /* Q5_0 */
    [7] = {32, 24},    /* Q5_1 */
    [8] = {32, 34},    /* Q8_0 */
    [9] = {32, 36},    /* Q8_1 */
    [10] = {256, 84},  /* Q2_K */
    [11] = {256, 110}, /* Q3_K */
    [12] = {256, 144}, /* Q4_K */
    [13] = {256, 176}, /* Q5_K */
    [14] = {256, 210}, /* Q6_K */
    [15] = {256, 292}, /* Q8_K */
    [16] = {256, 66},  /* IQ2_XXS */
    [17] = {256, 74},  /* IQ2_XS */
    [18] = {256, 98},  /* IQ3_XXS */
    [19] = {256, 50},  /* IQ1_S */
    [20] = {32, 18},   /* IQ4_NL */
    [21] = {256, 110}, /* IQ3_S */
    [22] = {256, 82},  /* IQ2_S */
    [23] = {256, 136}, /* IQ4_XS */
    [24] = {1, 1},     /* I8 */
    [25] = {1, 2},     /* I16 */
    [26] = {1, 4},     /* I32 */
    [27] = {1, 8},     /* I64 */
    [28] = {1, 8},     /* F64 */
    [29] = {256, 56},  /* IQ1_M */
    [30] = {1, 2},     /* BF16 */
    [34] = {256, 54},  /* TQ1_0 */
    [35] = {256, 66},  /* TQ2_0 */
    [39] = {32, 17},   /* MXFP4 */
};

struct reader {
    const struct pm_gguf_source *source;
    struct poolmgr_error *err;
    uint64_t offset; /* of the next byte to be read */
    uint64_t window_offset;
    size_t n_window;
    unsigned char window[WINDOW];
};

static int cut_short(struct reader *reader)
{
    return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                   "cut short: its header goes on behind the last of its %" PRIu64 " bytes",
                   reader->source->size);
}

static int fill_window(struct reader *reader)
{
    long n = reader->source->read(reader->source->ctx, reader->offset, reader->window, WINDOW);

    if (n < 0)
        return pm_fail_errno(reader->err, POOLMGR_E_MODEL_MISSING, (int)-n, "cannot be read");

    if (n == 0)
        return cut_short(reader);

    reader->window_offset = reader->offset;
    reader->n_window = (size_t)n;
    return POOLMGR_OK;
}

/* The next n bytes; `to` NULL: skipped. */
static int take(struct reader *reader, void *to, uint64_t n)
{
    unsigned char *out = to;

    if (n > reader->source->size - reader->offset)
        return cut_short(reader);

    if (n > PM_GGUF_HEADER_MAX - reader->offset)
        return pm_fail(reader->err, POOLMGR_E_MODEL_UNSUPPORTED, "its header is larger than %d MiB",
                       PM_GGUF_HEADER_MAX / (1024 * 1024));

    if (!to) {
        reader->offset += n;
        return POOLMGR_OK;
    }

    while (n > 0) {
        uint64_t at = reader->offset - reader->window_offset;
        size_t n_here;
        int r;

        if (reader->offset < reader->window_offset || at >= reader->n_window) {
            r = fill_window(reader);
            if (r < 0)
                return r;
            at = 0;
        }

        n_here = reader->n_window - (size_t)at;
        if (n_here > n)
            n_here = (size_t)n;

        memcpy(out, reader->window + at, n_here);
        out += n_here;
        reader->offset += n_here;
        n -= n_here;
    }

    return POOLMGR_OK;
}

static uint64_t little_endian(const unsigned char *bytes, size_t n)
{
    uint64_t value = 0;

    while (n-- > 0)
        value = value << 8 | bytes[n];

    return value;
}

static int take_number(struct reader *reader, size_t n_bytes, uint64_t *ret)
{
    unsigned char bytes[8];
    int r;

    r = take(reader, bytes, n_bytes);
    if (r < 0)
        return r;

    *ret = little_endian(bytes, n_bytes);
    return POOLMGR_OK;
}

/* Keeps what fits into `to` (terminated), skips the rest. Bytes that are no ASCII text are shown as '?'. */
static int take_text(struct reader *reader, uint64_t max, const char *what, char *to, size_t size)
{
    uint64_t n;
    size_t n_kept, i;
    int r;

    r = take_number(reader, 8, &n);
    if (r < 0)
        return r;

    if (n > max)
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "%s of %" PRIu64 " bytes at byte %" PRIu64, what, n, reader->offset - 8);

    n_kept = n < size ? (size_t)n : size - 1;
    r = take(reader, to, n_kept);
    if (r < 0)
        return r;

    for (i = 0; i < n_kept; i++)
        if (to[i] < 0x20 || to[i] > 0x7e)
            to[i] = '?';
    to[n_kept] = '\0';

    return take(reader, NULL, n - n_kept);
}

static int skip_value(struct reader *reader, uint64_t type, unsigned depth);

static int skip_array(struct reader *reader, unsigned depth)
{
    uint64_t type, n, i;
    int r;

    r = take_number(reader, 4, &type);
    if (r < 0)
        return r;

    r = take_number(reader, 8, &n);
    if (r < 0)
        return r;

    if (type < V_COUNT && value_size[type] != 0) {
        if (n > reader->source->size)
            return cut_short(reader);
        return take(reader, NULL, n * value_size[type]);
    }

    /* Each text or array takes at least eight bytes, so that a lie about their number ends at the end of the file. */
    for (i = 0; i < n; i++) {
        r = skip_value(reader, type, depth);
        if (r < 0)
            return r;
    }

    return POOLMGR_OK;
}

static int skip_value(struct reader *reader, uint64_t type, unsigned depth)
{
    uint64_t n;
    int r;

    if (type == V_STRING) {
        r = take_number(reader, 8, &n);
        return r < 0 ? r : take(reader, NULL, n);
    }

    if (type == V_ARRAY && depth < PM_GGUF_NEST_MAX)
        return skip_array(reader, depth + 1);

    if (type >= V_COUNT || value_size[type] == 0)
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "metadata of unknown type %" PRIu64 " at byte %" PRIu64, type,
                       reader->offset);

    return take(reader, NULL, value_size[type]);
}

static bool is_unsigned(uint64_t type)
{
    return type == V_UINT8 || type == V_UINT16 || type == V_UINT32 || type == V_UINT64;
}

static bool is_context_key(const struct pm_gguf *gguf, const char *key)
{
    size_t n = strlen(gguf->architecture);

    return n > 0 && strncmp(key, gguf->architecture, n) == 0 &&
           strcmp(key + n, ".context_length") == 0;
}

static int take_pair(struct reader *reader, struct pm_gguf *gguf)
{
    char key[128];
    uint64_t type;
    int r;

    r = take_text(reader, PM_GGUF_KEY_MAX, "a metadata key", key, sizeof key);
    if (r < 0)
        return r;

    r = take_number(reader, 4, &type);
    if (r < 0)
        return r;

    if (type == V_STRING && strcmp(key, "general.architecture") == 0)
        return take_text(reader, PM_GGUF_HEADER_MAX, "an architecture's name", gguf->architecture,
                         sizeof gguf->architecture);

    if (is_unsigned(type) && strcmp(key, "general.alignment") == 0)
        return take_number(reader, value_size[type], &gguf->alignment);

    if (is_unsigned(type) && is_context_key(gguf, key))
        return take_number(reader, value_size[type], &gguf->context);

    return skip_value(reader, type, 0);
}

static int take_counts(struct reader *reader, struct pm_gguf *gguf)
{
    char magic[4];
    uint64_t version;
    int r;

    if (reader->source->size == 0)
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT, "empty");

    if (reader->source->size < sizeof magic)
        return cut_short(reader);

    r = take(reader, magic, sizeof magic);
    if (r < 0)
        return r;

    if (memcmp(magic, "GGUF", sizeof magic) != 0)
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "no GGUF file: it does not begin with 'GGUF'");

    r = take_number(reader, 4, &version);
    if (r < 0)
        return r;

    if (version < 2 || version > 3)
        return pm_fail(reader->err, POOLMGR_E_MODEL_UNSUPPORTED,
                       "GGUF version %" PRIu64 "%s; versions 2 and 3 are read", version,
                       (version & 0xffff) == 0 ? " (big-endian?)" : "");

    gguf->version = (uint32_t)version;
    r = take_number(reader, 8, &gguf->n_tensors);
    if (r < 0)
        return r;

    r = take_number(reader, 8, &gguf->n_pairs);
    if (r < 0)
        return r;

    if (gguf->n_tensors > PM_GGUF_TENSORS_MAX || gguf->n_pairs > PM_GGUF_PAIRS_MAX)
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "its header counts %" PRIu64 " tensors and %" PRIu64 " metadata keys",
                       gguf->n_tensors, gguf->n_pairs);

    return POOLMGR_OK;
}

/* Bytes of a tensor; false: they overflow. *ret_known false: a type this table does not know. */
static bool tensor_bytes(const uint64_t *dims, size_t n_dims, uint64_t type, uint64_t *ret_bytes,
                         bool *ret_known)
{
    uint64_t n = 1;
    size_t i;

    *ret_known = type < PM_ARRAY_LEN(tensor_types) && tensor_types[type].n_elements != 0;
    for (i = 0; i < n_dims; i++)
        if (__builtin_mul_overflow(n, dims[i], &n))
            return false;

    if (!*ret_known)
        return true;

    n = n / tensor_types[type].n_elements + (n % tensor_types[type].n_elements != 0);
    return !__builtin_mul_overflow(n, tensor_types[type].n_bytes, ret_bytes);
}

/* The tensor that ends last, kept for the message. */
struct last_tensor {
    char name[PM_GGUF_NAME_MAX + 1];
    uint64_t end; /* in the data */
};

static int take_tensor(struct reader *reader, struct pm_gguf *gguf, struct last_tensor *last)
{
    char name[PM_GGUF_NAME_MAX + 1];
    uint64_t n_dims, dims[PM_GGUF_DIMS_MAX], type, offset, bytes = 0, end;
    bool known;
    size_t i;
    int r;

    r = take_text(reader, PM_GGUF_NAME_MAX, "a tensor's name", name, sizeof name);
    if (r < 0)
        return r;

    r = take_number(reader, 4, &n_dims);
    if (r < 0)
        return r;

    if (n_dims > PM_GGUF_DIMS_MAX)
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "tensor '%.128s' has %" PRIu64 " dimensions", name, n_dims);

    for (i = 0; i < n_dims; i++) {
        r = take_number(reader, 8, &dims[i]);
        if (r < 0)
            return r;
    }

    r = take_number(reader, 4, &type);
    if (r < 0)
        return r;

    r = take_number(reader, 8, &offset);
    if (r < 0)
        return r;

    if (!tensor_bytes(dims, (size_t)n_dims, type, &bytes, &known) ||
        __builtin_add_overflow(offset, bytes, &end))
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "the size of tensor '%.128s' overflows", name);

    gguf->n_unknown_types += !known;
    if (end >= last->end) {
        last->end = end;
        memcpy(last->name, name, sizeof name);
    }

    return POOLMGR_OK;
}

static int check_data(struct reader *reader, struct pm_gguf *gguf, const struct last_tensor *last)
{
    uint64_t gap = reader->offset % gguf->alignment;

    gguf->data_offset = reader->offset + (gap != 0 ? gguf->alignment - gap : 0);
    if (gguf->n_tensors == 0) {
        gguf->data_end = reader->offset;
        return POOLMGR_OK;
    }

    if (__builtin_add_overflow(gguf->data_offset, last->end, &gguf->data_end) ||
        gguf->data_end > reader->source->size)
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "cut short: tensor '%.128s' lies outside the file's %" PRIu64 " bytes",
                       last->name, reader->source->size);

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
        return pm_fail(reader->err, POOLMGR_E_MODEL_CORRUPT,
                       "its alignment is %" PRIu64 ", not a power of two", gguf->alignment);

    for (i = 0; i < gguf->n_tensors; i++) {
        r = take_tensor(reader, gguf, &last);
        if (r < 0)
            return r;
    }

    return check_data(reader, gguf, &last);
}

int pm_gguf_read(const struct pm_gguf_source *source, struct pm_gguf *ret,
                 struct poolmgr_error *err)
{
    struct reader reader = {.source = source, .err = err};
    struct pm_gguf gguf = {0};
    int r;

    r = read_header(&reader, &gguf);
    if (r < 0)
        return r;

    *ret = gguf;
    return POOLMGR_OK;
}
