/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a mask is read strictly, byte by byte, because what reads it after us is not strict: CUDA takes the
 * beginning of a list up to its first fault and says nothing. Groups and their order are read here, items in
 * maskitem.c. What the text repeats is found here, too; that one device has two names is found where devices are
 * known, in maskresolve.c.
 */
#include "plan/mask.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plan/maskitems.h"
#include "util/str.h"

static const char *const vendor_names[] = {
    [PM_VENDOR_NVIDIA] = "nvidia",
    [PM_VENDOR_AMD] = "amd",
    [PM_VENDOR_INTEL] = "intel",
};
_Static_assert(PM_ARRAY_LEN(vendor_names) == PM_VENDOR_COUNT, "a name for every vendor");

const char *pm_vendor_name(enum pm_vendor vendor)
{
    return vendor_names[vendor];
}

int pm_mask_fail(struct poolmgr_error *err, size_t *ret_offset, int code, size_t offset,
                 const char *hint, const char *format, ...)
{
    char message[POOLMGR_MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (ret_offset)
        *ret_offset = offset;
    (void)pm_fail(err, code, "%s", message);
    (void)pm_error_offset(err, code, (uint32_t)offset);
    if (hint)
        (void)pm_error_hint(err, code, "%s", hint);
    return code;
}

/* ---- what the text repeats ---------------------------------------------------------------------------- */

static bool overlap(const struct pm_mask_item *a, const struct pm_mask_item *b)
{
    bool same_scope = a->vendor == b->vendor;

    if (a->kind != b->kind)
        return false;

    switch (a->kind) {
    case PM_MASK_ALL: return false; /* has a code of its own */
    case PM_MASK_RANGE: return same_scope && a->first <= b->last && b->first <= a->last;
    case PM_MASK_SLOT: return same_scope && a->first == b->first && a->last == b->last;
    case PM_MASK_MIG_OF:
        return a->first == b->first && a->last == b->last && strcmp(a->id, b->id) == 0;
    default: return strcmp(a->id, b->id) == 0;
    }
}

static int check_duplicate(const struct pm_mask_reader *reader, const struct pm_mask_item *item)
{
    for (size_t i = 0; i < reader->mask->n_items; i++) {
        if (overlap(&reader->mask->items[i], item))
            return pm_mask_refuse(
                reader, DUPLICATE, item->offset, "name every device once",
                "'%s' names a device that '%s' names",
                pm_mask_excerpt(reader, item->offset, item->offset + item->length).text,
                pm_mask_excerpt(reader, reader->mask->items[i].offset,
                                reader->mask->items[i].offset + reader->mask->items[i].length)
                    .text);
    }
    return POOLMGR_OK;
}

/* `all` stands alone in its group, a vendor's in its vendor, and one without a vendor in the mask. */
static int check_all(const struct pm_mask_reader *reader)
{
    const struct pm_mask *mask = reader->mask;

    for (size_t i = 0; i < mask->n_items; i++) {
        const struct pm_mask_item *all = &mask->items[i];

        for (size_t k = 0; all->kind == PM_MASK_ALL && k < mask->n_items; k++) {
            if (k != i &&
                (all->vendor == PM_MASK_VENDOR_ANY || all->vendor == mask->items[k].vendor))
                return pm_mask_refuse(reader, MIXED_ALL, all->offset,
                                      "write it alone, or leave it out",
                                      "'all' stands beside devices that it means already");
        }
    }
    return POOLMGR_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static int take_item(struct pm_mask_reader *reader)
{
    struct pm_mask *mask = reader->mask;
    struct pm_mask_item item;
    int r;

    r = pm_mask_read_item(reader, &item);
    if (r < 0)
        return r;

    r = check_duplicate(reader, &item);
    if (r < 0)
        return r;

    mask->items = pm_xrealloc(mask->items, (mask->n_items + 1) * sizeof(item));
    mask->items[mask->n_items++] = item;
    return POOLMGR_OK;
}

static int take_group(struct pm_mask_reader *reader)
{
    reader->vendor = PM_MASK_VENDOR_ANY;
    for (int i = 0; i < PM_VENDOR_COUNT; i++) {
        size_t n = strlen(vendor_names[i]);

        if (reader->n - reader->at > n && reader->text[reader->at + n] == ':' &&
            memcmp(reader->text + reader->at, vendor_names[i], n) == 0) {
            reader->vendor = (enum pm_vendor)i;
            reader->at += n + 1;
            break;
        }
    }

    do {
        int r = take_item(reader);

        if (r < 0)
            return r;
    } while (pm_mask_skip(reader, ","));
    return POOLMGR_OK;
}

static bool is_whole(const struct pm_mask_reader *reader, const char *word)
{
    return strlen(word) == reader->n && memcmp(reader->text, word, reader->n) == 0;
}

static int take_mask(struct pm_mask_reader *reader)
{
    if (reader->n == 0)
        return pm_mask_refuse(reader, EMPTY, 0, "write none for no device, or all",
                              "the mask is empty");

    if (reader->n > PM_MASK_TEXT_MAX)
        return pm_mask_refuse(reader, TOO_LONG, PM_MASK_TEXT_MAX, NULL,
                              "the mask has %zu bytes, over the limit of %d", reader->n,
                              PM_MASK_TEXT_MAX);

    reader->mask->is_cpu = is_whole(reader, "none") || is_whole(reader, "cpu");
    if (reader->mask->is_cpu)
        return POOLMGR_OK;

    do {
        int r = take_group(reader);

        if (r < 0)
            return r;
    } while (pm_mask_skip(reader, ";"));
    return check_all(reader);
}

int pm_mask_parse(const char *text, size_t n, struct pm_mask **ret, size_t *ret_offset,
                  struct poolmgr_error *err)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = pm_xalloc(sizeof(*mask));
    struct pm_mask_reader reader = {.mask = mask, .ret_offset = ret_offset, .err = err, .n = n};
    int r;

    mask->refs = 1;
    if (n <= PM_MASK_TEXT_MAX) {
        mask->text = pm_xalloc(n + 1);
        if (n > 0)
            (void)memcpy(mask->text, text, n);
        reader.text = mask->text;
    }
    r = take_mask(&reader);
    if (r < 0)
        return r;

    *ret = pm_take(mask);
    return POOLMGR_OK;
}

struct pm_mask *pm_mask_ref(struct pm_mask *mask)
{
    mask->refs++;
    return mask;
}

void pm_mask_unref(struct pm_mask *mask)
{
    if (!mask || --mask->refs > 0)
        return;

    free(mask->items);
    free(mask->text);
    free(mask);
}

bool pm_mask_is_cpu(const struct pm_mask *mask)
{
    return mask->is_cpu;
}

const char *pm_mask_text(const struct pm_mask *mask)
{
    return mask->text;
}
