/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The items of a mask. Every function takes what it knows and moves the reader on, or fails with the byte at fault;
 * nothing is skipped and nothing is guessed.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "plan/maskitems.h"

#define UUID_TEMPLATE "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"
#define UUID_LENGTH   (sizeof(UUID_TEMPLATE) - 1)
#define AMD_DIGITS    16
#define PREFIX_DIGITS 4 /* the least that a prefix must have */

/* ---- the reader --------------------------------------------------------------------------------------- */

/* A piece of the text for a message: short, and nothing in it but ASCII that prints. */
struct pm_mask_excerpt pm_mask_excerpt(const struct pm_mask_reader *reader, size_t from, size_t to)
{
    struct pm_mask_excerpt ret = {""};
    size_t i;

    for (i = 0; from + i < to && i < sizeof(ret.text) - 4; i++) {
        char c = reader->text[from + i];

        ret.text[i] = (char)(c >= 0x20 && c <= 0x7e ? c : '?');
    }
    (void)memcpy(ret.text + i, "...", from + i < to ? 4 : 0);
    return ret;
}

static bool is_end(const struct pm_mask_reader *reader, size_t at)
{
    return at == reader->n || reader->text[at] == ',' || reader->text[at] == ';';
}

static bool is_digit_at(const struct pm_mask_reader *reader, size_t at)
{
    return at < reader->n && isdigit((unsigned char)reader->text[at]);
}

static bool is_hex_at(const struct pm_mask_reader *reader, size_t at)
{
    return at < reader->n && isxdigit((unsigned char)reader->text[at]);
}

/* How many bytes from `at` on are of a word, of its letters, digits and what else stands in `more`. */
static size_t run(const struct pm_mask_reader *reader, size_t at, const char *more)
{
    size_t n = 0;

    while (at + n < reader->n) {
        unsigned char c = (unsigned char)reader->text[at + n];

        if (c == '\0' || (!isalnum(c) && !strchr(more, c)))
            break;
        n++;
    }
    return n;
}

bool pm_mask_skip(struct pm_mask_reader *reader, const char *text)
{
    size_t n = strlen(text);

    if (reader->n - reader->at < n || memcmp(reader->text + reader->at, text, n) != 0)
        return false;
    reader->at += n;
    return true;
}

static bool is_word(const struct pm_mask_reader *reader, size_t at, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(reader->text + at, word, n) == 0;
}

/* The byte at `at` cannot stand there. */
static int refuse_byte(const struct pm_mask_reader *reader, size_t at)
{
    if (at == reader->n || reader->text[at] == ',' || reader->text[at] == ';')
        return pm_mask_refuse(reader, SYNTAX, at, NULL, "a device is missing %s",
                              at == reader->n ? "at the end of the mask" : "in the mask");

    if (isspace((unsigned char)reader->text[at]))
        return pm_mask_refuse(reader, SYNTAX, at, "write it without the blank",
                              "a blank in the mask");

    return pm_mask_refuse(reader, SYNTAX, at, "for example 0, 0-3, GPU-8f6c1f8e, none or all",
                          "'%s' cannot stand there in a mask",
                          pm_mask_excerpt(reader, at, at + 1 + run(reader, at + 1, "-:.")).text);
}

/* ---- parts of an item --------------------------------------------------------------------------------- */

static int take_index(struct pm_mask_reader *reader, unsigned *ret)
{
    size_t from = reader->at;
    unsigned value = 0;

    if (!is_digit_at(reader, from))
        return refuse_byte(reader, from);

    while (is_digit_at(reader, reader->at)) {
        if (value <= PM_MASK_INDEX_MAX)
            value = value * 10 + (unsigned)(reader->text[reader->at] - '0');
        reader->at++;
    }
    if (reader->text[from] == '0' && reader->at - from > 1)
        return pm_mask_refuse(reader, LEADING_ZERO, from, "write it without the zero",
                              "'%s' begins with a zero",
                              pm_mask_excerpt(reader, from, reader->at).text);
    if (value > PM_MASK_INDEX_MAX)
        return pm_mask_refuse(reader, INDEX_RANGE, from, NULL, "'%s' is over the largest index, %d",
                              pm_mask_excerpt(reader, from, reader->at).text, PM_MASK_INDEX_MAX);

    *ret = value;
    return POOLMGR_OK;
}

/* How many bytes of text[at..) are as the template of a UUID. */
static size_t match_uuid(const struct pm_mask_reader *reader, size_t at)
{
    size_t n = 0;

    while (n < UUID_LENGTH && at + n < reader->n &&
           (UUID_TEMPLATE[n] == '-' ? reader->text[at + n] == '-' : is_hex_at(reader, at + n)))
        n++;
    return n;
}

static int refuse_uuid(const struct pm_mask_reader *reader, size_t from, size_t at)
{
    return pm_mask_refuse(reader, UUID_MALFORMED, at, "UUIDs are shown by: poolctl devices",
                          "'%s' is no UUID",
                          pm_mask_excerpt(reader, from, from + run(reader, from, "-/._")).text);
}

/* Prefix (its case kept) and lower-case digits of text[from..to). */
static void keep_id(const struct pm_mask_reader *reader, size_t from, size_t to,
                    struct pm_mask_item *item)
{
    size_t n = to - from;

    (void)memcpy(item->id, reader->text + from, n);
    item->id[n] = '\0';
    for (size_t i = 4; i < n; i++)
        item->id[i] = (char)tolower((unsigned char)item->id[i]);
}

/* Behind "GPU-": a whole UUID, its beginning, or AMD's 16 digits. */
static int take_gpu(struct pm_mask_reader *reader, struct pm_mask_item *item)
{
    size_t digits = reader->at, from = digits - 4;
    size_t n_hex = 0, n_uuid = match_uuid(reader, digits), n_word = run(reader, digits, "-/._");

    while (is_hex_at(reader, digits + n_hex))
        n_hex++;

    if (n_hex == AMD_DIGITS && n_word == AMD_DIGITS) {
        item->kind = PM_MASK_AMD;
        n_uuid = AMD_DIGITS;
    } else if (n_uuid != n_word) {
        return refuse_uuid(reader, from, digits + n_uuid);
    } else if (n_uuid < PREFIX_DIGITS) {
        return pm_mask_refuse(reader, PREFIX_SHORT, from, "write more of its digits",
                              "'%s' has fewer than %d digits of a UUID",
                              pm_mask_excerpt(reader, from, digits + n_uuid).text, PREFIX_DIGITS);
    } else {
        item->kind = n_uuid == UUID_LENGTH ? PM_MASK_UUID : PM_MASK_PREFIX;
    }

    keep_id(reader, from, digits + n_uuid, item);
    reader->at = digits + n_uuid;
    return POOLMGR_OK;
}

/* Behind "MIG-GPU-", as in "MIG-GPU-…/1/0": the instance by its parent's UUID and the instances' ids. */
static int take_mig_of(struct pm_mask_reader *reader, struct pm_mask_item *item)
{
    size_t digits = reader->at, gpu = digits - 4, from = gpu - 4;
    size_t n_uuid = match_uuid(reader, digits);
    int r;

    if (n_uuid != UUID_LENGTH)
        return refuse_uuid(reader, from, digits + n_uuid);

    item->kind = PM_MASK_MIG_OF;
    keep_id(reader, gpu, digits + n_uuid, item);
    reader->at = digits + n_uuid;
    if (!pm_mask_skip(reader, "/"))
        return refuse_uuid(reader, from, reader->at);
    r = take_index(reader, &item->first);
    if (r < 0)
        return r;
    if (!pm_mask_skip(reader, "/"))
        return refuse_uuid(reader, from, reader->at);
    return take_index(reader, &item->last);
}

/* Behind "MIG-". */
static int take_mig(struct pm_mask_reader *reader, struct pm_mask_item *item)
{
    size_t digits = reader->at, from = digits - 4;
    size_t n_uuid = match_uuid(reader, digits);

    if (pm_mask_skip(reader, "GPU-"))
        return take_mig_of(reader, item);

    if (n_uuid != UUID_LENGTH || run(reader, digits, "-/._") != UUID_LENGTH)
        return refuse_uuid(reader, from, digits + n_uuid);

    item->kind = PM_MASK_MIG;
    keep_id(reader, from, digits + n_uuid, item);
    reader->at = digits + n_uuid;
    return POOLMGR_OK;
}

/* A domain of 8 digits, of 4 or none, by how many digits stand before the first colon. */
static const struct {
    const char *form, *fill; /* what is put in front to make it 8 */
} pci_forms[] = {{"hhhhhhhh:hh:hh.d", ""}, {"hhhh:hh:hh.d", "0000"}, {"hh:hh.d", "00000000:"}};

/* Moves *at on while the text is as the form. */
static bool match_form(const struct pm_mask_reader *reader, const char *form, size_t *at)
{
    for (; *form; form++, (*at)++) {
        bool fits = *form == 'h'   ? is_hex_at(reader, *at)
                    : *form == 'd' ? is_digit_at(reader, *at)
                                   : *at < reader->n && reader->text[*at] == *form;

        if (!fits)
            return false;
    }
    return true;
}

/* Behind "pci:". */
static int take_pci(struct pm_mask_reader *reader, struct pm_mask_item *item)
{
    size_t from = reader->at, n_domain = 0, at = from, i;

    while (is_hex_at(reader, from + n_domain))
        n_domain++;
    i = n_domain == 8 ? 0 : n_domain == 4 ? 1 : 2;
    if (!match_form(reader, pci_forms[i].form, &at))
        return pm_mask_refuse(reader, SYNTAX, at, "for example pci:0000:65:00.0 or pci:65:00.0",
                              "'%s' is no PCI address",
                              pm_mask_excerpt(reader, from, from + run(reader, from, ":._-")).text);

    item->kind = PM_MASK_PCI;
    (void)snprintf(item->id, sizeof(item->id), "%s%.*s", pci_forms[i].fill, (int)(at - from),
                   reader->text + from);
    for (char *c = item->id; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    reader->at = at;
    return POOLMGR_OK;
}

/* "3", "0-3", "0:1" */
static int take_number(struct pm_mask_reader *reader, struct pm_mask_item *item)
{
    size_t from = reader->at;
    int r;

    item->kind = PM_MASK_RANGE;
    r = take_index(reader, &item->first);
    if (r < 0)
        return r;

    item->last = item->first;
    if (pm_mask_skip(reader, ":")) {
        item->kind = PM_MASK_SLOT;
        return take_index(reader, &item->last);
    }
    if (!pm_mask_skip(reader, "-"))
        return POOLMGR_OK;

    r = take_index(reader, &item->last);
    if (r < 0)
        return r;
    if (item->last < item->first)
        return pm_mask_refuse(reader, RANGE_REVERSED, from, "write the smaller index first",
                              "range '%s' goes down",
                              pm_mask_excerpt(reader, from, reader->at).text);
    if (item->last - item->first >= PM_MASK_RANGE_MAX)
        return pm_mask_refuse(reader, RANGE_TOO_WIDE, from, "write several ranges",
                              "range '%s' has %u indexes, over the limit of %d",
                              pm_mask_excerpt(reader, from, reader->at).text,
                              item->last - item->first + 1, PM_MASK_RANGE_MAX);
    return POOLMGR_OK;
}

/* A word that is no number: "all", a UUID, "pci:", or a mistake with a name. */
static int take_word(struct pm_mask_reader *reader, struct pm_mask_item *item)
{
    size_t from = reader->at, n = run(reader, from, "_");
    bool colon = from + n < reader->n && reader->text[from + n] == ':';

    if (pm_mask_skip(reader, "GPU-"))
        return take_gpu(reader, item);
    if (pm_mask_skip(reader, "MIG-"))
        return take_mig(reader, item);
    if (pm_mask_skip(reader, "pci:"))
        return take_pci(reader, item);

    if (colon) {
        for (int i = 0; i < PM_VENDOR_COUNT; i++) {
            if (is_word(reader, from, n, pm_vendor_name((enum pm_vendor)i)))
                return pm_mask_refuse(reader, SYNTAX, from,
                                      "groups of vendors are separated by ';'",
                                      "'%s:' within a group", pm_vendor_name((enum pm_vendor)i));
        }
        return pm_mask_refuse(reader, VENDOR_UNKNOWN, from, "nvidia, amd or intel",
                              "unknown vendor '%s'", pm_mask_excerpt(reader, from, from + n).text);
    }
    if (is_word(reader, from, n, "none") || is_word(reader, from, n, "cpu")) {
        if (!is_end(reader, from + n))
            return refuse_byte(reader, from + n);
        return pm_mask_refuse(reader, MIXED_NONE, from, "write it alone, or leave it out",
                              "'%s' stands beside devices",
                              pm_mask_excerpt(reader, from, from + n).text);
    }
    if (is_word(reader, from, n, "all")) {
        item->kind = PM_MASK_ALL;
        reader->at += n;
        return POOLMGR_OK;
    }
    if ((n == 3 && from + n < reader->n && reader->text[from + n] == '-') &&
        (strncasecmp(reader->text + from, "gpu", 3) == 0 ||
         strncasecmp(reader->text + from, "mig", 3) == 0))
        return pm_mask_refuse(reader, UUID_MALFORMED, from,
                              "UUIDs begin with GPU- or MIG-, in capitals", "'%s' is no UUID",
                              pm_mask_excerpt(reader, from, from + run(reader, from, "-/._")).text);
    return refuse_byte(reader, from);
}

/* ---- the item ------------------------------------------------------------------------------------------ */

int pm_mask_read_item(struct pm_mask_reader *reader, struct pm_mask_item *ret)
{
    struct pm_mask_item item = {.vendor = reader->vendor, .offset = (unsigned)reader->at};
    size_t from = reader->at;
    char c = from < reader->n ? reader->text[from] : '\0';
    int r;

    if (c == '-' && is_digit_at(reader, from + 1))
        return pm_mask_refuse(
            reader, NEGATIVE, from, "write none for no device at all", "'%s' is below zero",
            pm_mask_excerpt(reader, from, from + 1 + run(reader, from + 1, "")).text);

    if (isdigit((unsigned char)c))
        r = take_number(reader, &item);
    else if (isalpha((unsigned char)c))
        r = take_word(reader, &item);
    else
        r = refuse_byte(reader, from);
    if (r < 0)
        return r;

    if (!is_end(reader, reader->at))
        return refuse_byte(reader, reader->at);

    item.length = (unsigned)(reader->at - from);
    *ret = item;
    return POOLMGR_OK;
}
