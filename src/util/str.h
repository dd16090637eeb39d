/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_UTIL_STR_H
#define PM_UTIL_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that a small program cannot go on without: these abort instead of returning NULL. */
void *pm_xalloc(size_t n); /* zeroed */
void *pm_xrealloc(void *memory, size_t n);
char *pm_xstrdup(const char *text); /* NULL stays NULL */
char *pm_xstrndup(const char *text, size_t n);
char *pm_xasprintf(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

/* A list of texts; zeros are an empty one. `items` is NULL-terminated once something was added. */
struct pm_strv {
    char **items;
    size_t n;
};

void pm_strv_fini(struct pm_strv *strv);
void pm_strv_add(struct pm_strv *strv, const char *text); /* copies */
void pm_strv_copy(struct pm_strv *to, const struct pm_strv *from);
bool pm_strv_contains(const struct pm_strv *strv, const char *text);
bool pm_strv_equal(const struct pm_strv *a, const struct pm_strv *b);

/* Copies at most size - 1 bytes, always terminates; cuts at a UTF-8 boundary. Returns false when it was cut. */
bool pm_str_copy(char *to, size_t size, const char *from);

bool pm_str_starts(const char *text, const char *prefix);
bool pm_str_ends(const char *text, const char *suffix);

/* The item of `candidates` nearest to `word` by edit distance, or NULL when none is near: for "did you mean". */
const char *pm_str_suggest(const char *word, const char *const *candidates, size_t n);

/* "7.0 GiB", "512 MiB", "12 B" */
const char *pm_format_bytes(char *to, size_t size, uint64_t bytes);
/* "850 ms", "4.1 s", "12m", "2h" — for people */
const char *pm_format_duration(char *to, size_t size, uint64_t ms);
/* "15m", "500ms", "1h30m" — what pm_parse_duration reads */
const char *pm_print_duration(char *to, size_t size, uint64_t ms);
/* "7GiB", "512MiB", "100" — what pm_parse_bytes reads */
const char *pm_print_bytes(char *to, size_t size, uint64_t bytes);

/* INTERFACES §1: `500ms 10s 15m 1h30m 7d`, `64MiB 7GiB 5GB`; a bare number only 0. False when it is none or overflows. */
bool pm_parse_duration(const char *text, uint64_t *ret_ms);
bool pm_parse_bytes(const char *text, uint64_t *ret_bytes);
bool pm_parse_u64(const char *text, uint64_t *ret); /* digits only, no overflow */

/* A pool's id by the grammar of INTERFACES §1. */
bool pm_pool_id_valid(const char *id);

/* Random bytes of the kernel as hex; n_bytes * 2 + 1 written. */
void pm_random_hex(char *to, size_t n_bytes);

/* Well-formed UTF-8 throughout (no overlong forms, no surrogates). */
bool pm_utf8_valid(const char *data, size_t n);

#endif
