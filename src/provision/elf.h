/* SPDX-License-Identifier: Apache-2.0 */
/* Which libraries a program asks the loader for. For provision/ only. */
#ifndef PM_PROVISION_ELF_H
#define PM_PROVISION_ELF_H

#include <stdbool.h>

#include "util/str.h"

/* Something to read bytes from: true when all n bytes at that offset are in *to. */
struct pm_elf_source {
    bool (*read)(void *ctx, uint64_t offset, void *to, size_t n);
    void *ctx;
};

#define PM_ELF_NEEDED_MAX 256 /* libraries that are read of one program */

/* Adds the names of its DT_NEEDED ("libcudart.so.12"). False: it is no ELF file of this machine's word size and byte
 * order, not linked dynamically, or damaged. Reads no more than some hundred KiB, whatever the file says of itself. */
bool pm_elf_needed(const struct pm_elf_source *source, struct pm_strv *ret);

#endif
