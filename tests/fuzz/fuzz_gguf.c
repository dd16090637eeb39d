/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a model file: read without a fault, and what is called whole lies inside the file. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "plan/gguf.h"

struct bytes {
    const uint8_t *data;
    size_t n;
};

static long read_bytes(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct bytes *bytes = ctx;

    if (offset >= bytes->n)
        return 0;
    if (n > bytes->n - offset)
        n = bytes->n - (size_t)offset;
    memcpy(to, bytes->data + offset, n);
    return (long)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, size};
    struct pm_gguf_source source = {.size = size, .read = read_bytes, .ctx = &bytes};
    struct poolmgr_error err = {0};
    struct pm_gguf gguf;
    int r = pm_gguf_read(&source, &gguf, &err);

    if (r < 0) {
        assert(r == POOLMGR_E_MODEL_CORRUPT || r == POOLMGR_E_MODEL_UNSUPPORTED);
        assert(err.message[0] != '\0');
        return 0;
    }

    assert(gguf.data_end <= size && gguf.version >= 2 && gguf.version <= 3);
    return 0;
}
