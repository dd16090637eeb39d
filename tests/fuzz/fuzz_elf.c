/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a program: read without a fault, and what it asks for is bounded. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "provision/elf.h"

struct bytes {
    const uint8_t *data;
    size_t n;
};

static bool read_bytes(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct bytes *bytes = ctx;

    if (offset > bytes->n || n > bytes->n - offset)
        return false;
    memcpy(to, bytes->data + offset, n);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, size};
    struct pm_elf_source source = {.read = read_bytes, .ctx = &bytes};
    struct pm_strv needed = {0};
    bool good = pm_elf_needed(&source, &needed);

    assert(needed.n <= PM_ELF_NEEDED_MAX && (good || needed.n == 0));
    for (size_t i = 0; i < needed.n; i++)
        assert(needed.items[i][0] && strlen(needed.items[i]) < 256);
    pm_strv_fini(&needed);
    return 0;
}
