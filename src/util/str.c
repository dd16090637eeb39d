/* SPDX-License-Identifier: Apache-2.0 */
#include "util/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- memory ----------------------------------------------------------------------------------------- */

void *pm_xalloc(size_t n)
{
    void *memory = calloc(1, n ? n : 1);

    if (!memory)
        abort();
    return memory;
}

void *pm_xrealloc(void *memory, size_t n)
{
    void *grown = realloc(memory, n ? n : 1);

    if (!grown)
        abort();
    return grown;
}

char *pm_xstrndup(const char *text, size_t n)
{
    char *copy = pm_xalloc(n + 1);

    memcpy(copy, text, n);
    return copy;
}

char *pm_xstrdup(const char *text)
{
    return text ? pm_xstrndup(text, strlen(text)) : NULL;
}

char *pm_xasprintf(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    int n;

    va_start(args, format);
    n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0)
        abort();
    return text;
}

/* ---- lists of texts --------------------------------------------------------------------------------- */

void pm_strv_fini(struct pm_strv *strv)
{
    for (size_t i = 0; i < strv->n; i++)
        free(strv->items[i]);
    free(strv->items);
    *strv = (struct pm_strv){0};
}

void pm_strv_add(struct pm_strv *strv, const char *text)
{
    strv->items = pm_xrealloc(strv->items, (strv->n + 2) * sizeof(strv->items[0]));
    strv->items[strv->n++] = pm_xstrdup(text);
    strv->items[strv->n] = NULL;
}

void pm_strv_copy(struct pm_strv *to, const struct pm_strv *from)
{
    for (size_t i = 0; i < from->n; i++)
        pm_strv_add(to, from->items[i]);
}

bool pm_strv_contains(const struct pm_strv *strv, const char *text)
{
    for (size_t i = 0; i < strv->n; i++) {
        if (strcmp(strv->items[i], text) == 0)
            return true;
    }
    return false;
}

bool pm_strv_equal(const struct pm_strv *a, const struct pm_strv *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return true;
}

/* ---- texts ------------------------------------------------------------------------------------------ */

bool pm_str_copy(char *to, size_t size, const char *from)
{
    size_t n = strlen(from);

    if (n < size) {
        memcpy(to, from, n + 1);
        return true;
    }

    n = size - 1;
    while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
        n--;
    memcpy(to, from, n);
    to[n] = '\0';
    return false;
}

bool pm_str_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool pm_str_ends(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);

    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

#define SUGGEST_WORD_MAX 48

/* Levenshtein's distance of two short words. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[SUGGEST_WORD_MAX + 1];
    size_t n = strlen(b);

    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned above = row[j];
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);

            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[n];
}

const char *pm_str_suggest(const char *word, const char *const *candidates, size_t n)
{
    size_t length = strlen(word);
    unsigned best = length <= 3 ? 2 : 3; /* farther away is another word */
    const char *found = NULL;

    if (length == 0 || length > SUGGEST_WORD_MAX)
        return NULL;

    for (size_t i = 0; i < n; i++) {
        unsigned d;

        if (strlen(candidates[i]) > SUGGEST_WORD_MAX)
            continue;
        d = distance(word, candidates[i]);
        if (d < best && d < length) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}

/* ---- sizes and durations ---------------------------------------------------------------------------- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"TiB", 1ull << 40}, {"GiB", 1ull << 30},      {"MiB", 1ull << 20},
    {"KiB", 1ull << 10}, {"TB", 1000000000000ull}, {"GB", 1000000000ull},
    {"MB", 1000000ull},  {"KB", 1000ull},          {"B", 1},
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000},
};

const char *pm_format_bytes(char *to, size_t size, uint64_t bytes)
{
    for (size_t i = 0; i < 4; i++) {
        double value = (double)bytes / (double)size_units[i].factor;

        if (bytes >= size_units[i].factor) {
            (void)snprintf(to, size, value < 99.95 ? "%.1f %s" : "%.0f %s", value,
                           size_units[i].name);
            return to;
        }
    }
    (void)snprintf(to, size, "%u B", (unsigned)bytes);
    return to;
}

const char *pm_format_duration(char *to, size_t size, uint64_t ms)
{
    if (ms < 1000)
        (void)snprintf(to, size, "%u ms", (unsigned)ms);
    else if (ms < 60000)
        (void)snprintf(to, size, ms % 1000 < 50 ? "%.0f s" : "%.1f s", (double)ms / 1000);
    else if (ms < 3600000)
        (void)snprintf(to, size, "%um", (unsigned)(ms / 60000));
    else if (ms < 2 * 86400000ull)
        (void)snprintf(to, size, "%uh", (unsigned)(ms / 3600000));
    else
        (void)snprintf(to, size, "%llud", (unsigned long long)(ms / 86400000));
    return to;
}

const char *pm_print_duration(char *to, size_t size, uint64_t ms)
{
    static const struct unit order[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t n = 0;

    if (ms == 0)
        (void)pm_str_copy(to, size, "0");
    for (size_t i = 0; i < 5 && n < size; i++) {
        uint64_t count = ms / order[i].factor;

        ms %= order[i].factor;
        if (count)
            n += (size_t)snprintf(to + n, size - n, "%llu%s", (unsigned long long)count,
                                  order[i].name);
    }
    return to;
}

const char *pm_print_bytes(char *to, size_t size, uint64_t bytes)
{
    const struct unit *largest = NULL; /* that divides it: 5TB is not "4882812500KiB" */

    for (size_t i = 0; i < sizeof(size_units) / sizeof(size_units[0]) && bytes; i++) {
        if (bytes % size_units[i].factor == 0 &&
            (!largest || size_units[i].factor > largest->factor))
            largest = &size_units[i];
    }
    (void)snprintf(to, size, "%llu%s", (unsigned long long)(largest ? bytes / largest->factor : 0),
                   largest ? largest->name : "");
    return to;
}

/* Reads digits, at least one; false on overflow. */
static bool take_number(const char **text, uint64_t *ret)
{
    const char *at = *text;
    uint64_t value = 0;

    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    }
    *text = at;
    *ret = value;
    return true;
}

static const struct unit *take_unit(const char **text, const struct unit *units, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (pm_str_starts(*text, units[i].name)) {
            *text += strlen(units[i].name);
            return &units[i];
        }
    }
    return NULL;
}

bool pm_parse_u64(const char *text, uint64_t *ret)
{
    uint64_t value;

    if (!take_number(&text, &value) || *text)
        return false;
    *ret = value;
    return true;
}

bool pm_parse_duration(const char *text, uint64_t *ret_ms)
{
    uint64_t former = UINT64_MAX;
    uint64_t total = 0;

    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return true;
    }
    if (!*text)
        return false;

    while (*text) {
        const struct unit *unit;
        uint64_t value;

        if (!take_number(&text, &value))
            return false;
        unit = take_unit(&text, duration_units, sizeof(duration_units) / sizeof(duration_units[0]));
        if (!unit || unit->factor >= former) /* 1h30m, never 30m1h */
            return false;
        former = unit->factor;
        if (__builtin_mul_overflow(value, unit->factor, &value) ||
            __builtin_add_overflow(total, value, &total))
            return false;
    }
    *ret_ms = total;
    return true;
}

bool pm_parse_bytes(const char *text, uint64_t *ret_bytes)
{
    const struct unit *unit;
    uint64_t value;

    if (!take_number(&text, &value))
        return false;
    if (!*text) {
        if (value != 0)
            return false;
        *ret_bytes = 0;
        return true;
    }
    unit = take_unit(&text, size_units, sizeof(size_units) / sizeof(size_units[0]));
    if (!unit || *text || __builtin_mul_overflow(value, unit->factor, &value))
        return false;
    *ret_bytes = value;
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------ */

#define POOL_ID_MAX 48

static bool is_id_edge(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool pm_pool_id_valid(const char *id)
{
    size_t n = strlen(id);

    if (n == 0 || n > POOL_ID_MAX || !is_id_edge(id[0]) || !is_id_edge(id[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_id_edge(id[i]) && !strchr("._-", id[i]))
            return false;
    }
    return true;
}

void pm_random_hex(char *to, size_t n_bytes)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char byte;

        if (getrandom(&byte, 1, 0) != 1)
            abort();
        to[2 * i] = digits[byte >> 4];
        to[2 * i + 1] = digits[byte & 15];
    }
    to[2 * n_bytes] = '\0';
}

/* Length of the well-formed sequence at data, or 0. */
static size_t utf8_sequence(const unsigned char *data, size_t n)
{
    static const struct {
        unsigned char first, last, low, high; /* lead bytes, and what may follow at once */
        unsigned char length;
    } rows[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (data[0] < rows[i].first || data[0] > rows[i].last)
            continue;
        if (rows[i].length > n)
            return 0;
        if (rows[i].length > 1 && (data[1] < rows[i].low || data[1] > rows[i].high))
            return 0;
        for (size_t j = 2; j < rows[i].length; j++) {
            if ((data[j] & 0xc0) != 0x80)
                return 0;
        }
        return rows[i].length;
    }
    return 0;
}

bool pm_utf8_valid(const char *data, size_t n)
{
    const unsigned char *at = (const unsigned char *)data;

    while (n > 0) {
        size_t length = utf8_sequence(at, n);

        if (length == 0)
            return false;
        at += length;
        n -= length;
    }
    return true;
}
