/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the header of a GGUF file: is it one, is it whole, what does it hold. Pure: the bytes come through a
 * function. What it reads was written by strangers, so every count has a limit with a name, nothing is believed
 * before it was checked against the file's size, and memory use does not depend on the file.
 */
#ifndef PM_PLAN_GGUF_H
#define PM_PLAN_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/ggml.h"
#include "util/error.h"

#define PM_GGUF_HEADER_MAX                                                                         \
    (64 * 1024 * 1024)            /* bytes up to the data; the largest vocabularies need 12 MiB */
#define PM_GGUF_PAIRS_MAX   65536 /* metadata keys */
#define PM_GGUF_TENSORS_MAX 262144
#define PM_GGUF_KEY_MAX     65535 /* bytes of a key; the format's own limit */
#define PM_GGUF_NAME_MAX    1024  /* bytes of a tensor's name; llama.cpp takes 127 */
#define PM_GGUF_NEST_MAX    4     /* arrays in arrays */
#define PM_GGUF_DIMS_MAX    8     /* llama.cpp takes 4 */

/* Where the bytes come from. */
struct pm_gguf_source {
    uint64_t size; /* of the file */
    /* Up to n bytes from `offset` into `to`; returns how many (0: end of the file), or a negative errno. */
    long (*read)(void *ctx, uint64_t offset, void *to, size_t n);
    void *ctx;
};

/* What the header says. Unknown numbers are 0. */
struct pm_gguf {
    uint32_t version;
    uint64_t n_pairs, n_tensors;
    char architecture[64]; /* general.architecture; "" not told */
    char name[96];         /* general.name; "" not told */
    uint64_t context;      /* <architecture>.context_length */
    uint64_t n_shards;     /* split.count: files of this model */
    uint64_t shard;        /* split.no: which of them, from 0 */
    uint64_t alignment;
    uint64_t data_offset; /* where the tensors' data begins */
    uint64_t
        data_end; /* behind the last tensor, as far as types are known; at most the file's size */
    uint64_t
        n_unknown_types; /* tensors whose type this table does not know: their end was not checked */
};

/* One tensor's description. */
struct pm_gguf_tensor {
    char name[PM_GGUF_NAME_MAX + 1];
    size_t n_dims;
    uint64_t dims[PM_GGUF_DIMS_MAX]; /* the first is the length of a row */
    uint64_t type;
    const struct pm_ggml_type *of; /* NULL: a type that is unknown here; bytes is 0 then */
    uint64_t n_elements, bytes;
};

/*
 * Told of what stands in the header, in its order. Keys and tensors are good during the call. Integers are of any type,
 * and booleans 0 or 1; a negative one is UINT64_MAX.
 */
struct pm_gguf_visitor {
    void *ctx;
    void (*on_number)(void *ctx, const char *key, uint64_t value);
    /* An array of n; true: on_element() is to be told each, where they are integers. */
    bool (*on_array)(void *ctx, const char *key, uint64_t n, bool are_integers);
    void (*on_element)(void *ctx, uint64_t i, uint64_t value);
    void (*on_tensor)(void *ctx, const struct pm_gguf_tensor *tensor);
};

/*
 * POOLMGR_E_MODEL_CORRUPT: no GGUF, cut short (the message names the tensor), or against itself;
 * POOLMGR_E_MODEL_UNSUPPORTED: a version or a size of the header that is not read here;
 * POOLMGR_E_MODEL_MISSING: the bytes cannot be read. Messages do not name the file.
 */
int pm_gguf_read(const struct pm_gguf_source *source, struct pm_gguf *ret,
                 struct poolmgr_error *err);

/* The same walk, which tells `visitor` (NULL: nobody) what it meets; it may have been told much when it fails. */
int pm_gguf_walk(const struct pm_gguf_source *source, const struct pm_gguf_visitor *visitor,
                 struct pm_gguf *ret, struct poolmgr_error *err);

#endif
