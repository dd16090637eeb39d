/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only what leads to DT_NEEDED is read: the header, the program headers, the dynamic section, and of the table of
 * strings the names that are asked for. Every number of the file is a stranger's: it is bounded before it is used.
 */
#include "provision/elf.h"

#include <elf.h>
#include <string.h>

#include "util/cleanup.h"

#define SEGMENTS_MAX     256
#define ENTRIES_MAX      4096 /* of the dynamic section */
#define LIBRARY_NAME_MAX 256  /* bytes of a library's name */

struct elf {
    const struct pm_elf_source *source;
    Elf64_Phdr segments[SEGMENTS_MAX];
    unsigned n_segments;
};

static bool read_at(const struct elf *elf, uint64_t offset, void *to, size_t n)
{
    return offset <= UINT64_MAX - n && elf->source->read(elf->source->ctx, offset, to, n);
}

static bool read_segments(struct elf *elf)
{
    Elf64_Ehdr header;

    if (!read_at(elf, 0, &header, sizeof(header)) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != (__BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB) ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
        header.e_phnum > SEGMENTS_MAX)
        return false;

    elf->n_segments = header.e_phnum;
    return read_at(elf, header.e_phoff, elf->segments, elf->n_segments * sizeof(elf->segments[0]));
}

/* Where an address of the running program is in the file. */
static bool offset_of(const struct elf *elf, uint64_t address, uint64_t *ret)
{
    for (unsigned i = 0; i < elf->n_segments; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];

        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
            address - segment->p_vaddr < segment->p_filesz)
            return !__builtin_add_overflow(segment->p_offset, address - segment->p_vaddr, ret);
    }
    return false;
}

static const Elf64_Phdr *dynamic_segment(const struct elf *elf)
{
    for (unsigned i = 0; i < elf->n_segments; i++) {
        if (elf->segments[i].p_type == PT_DYNAMIC)
            return &elf->segments[i];
    }
    return NULL;
}

/* The text at that offset, up to its end or LIBRARY_NAME_MAX; byte by byte, since the file may end behind it. */
static void add_name(const struct elf *elf, uint64_t offset, struct pm_strv *ret)
{
    char name[LIBRARY_NAME_MAX] = "";

    for (size_t n = 0; n + 1 < sizeof(name); n++) {
        if (offset > UINT64_MAX - n || !read_at(elf, offset + n, &name[n], 1) || !name[n])
            break;
    }
    name[sizeof(name) - 1] = '\0';
    if (name[0])
        pm_strv_add(ret, name);
}

bool pm_elf_needed(const struct pm_elf_source *source, struct pm_strv *ret)
{
    pm_auto_free struct elf *elf = pm_xalloc(sizeof(*elf));
    uint64_t names[PM_ELF_NEEDED_MAX], strings = 0;
    const Elf64_Phdr *dynamic;
    size_t n = 0;

    elf->source = source;
    if (!read_segments(elf) || !(dynamic = dynamic_segment(elf)))
        return false;

    for (uint64_t i = 0; i < dynamic->p_filesz / sizeof(Elf64_Dyn) && i < ENTRIES_MAX; i++) {
        Elf64_Dyn entry;

        if (dynamic->p_offset > UINT64_MAX - i * sizeof(entry) ||
            !read_at(elf, dynamic->p_offset + i * sizeof(entry), &entry, sizeof(entry)))
            return false;
        if (entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_STRTAB && !offset_of(elf, entry.d_un.d_ptr, &strings))
            return false;
        if (entry.d_tag == DT_NEEDED && n < PM_ELF_NEEDED_MAX)
            names[n++] = entry.d_un.d_val;
    }
    if (strings == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (names[i] <= UINT64_MAX - strings)
            add_name(elf, strings + names[i], ret);
    }
    return true;
}
