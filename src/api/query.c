/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A query is split at `&` and the first `=`, then each side is decoded once. What two readers would read differently
 * is refused: a key given twice has no right value. A route that takes keys refuses others, since a misspelt `wait`
 * that is ignored is worse than an error; routes that take none ignore what clients append.
 */
#include "api/query.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/str.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Decodes in place; false: a broken escape, or a NUL. */
static bool decode(char *text)
{
    char *to = text;

    for (const char *p = text; *p; p++, to++) {
        int high, low;

        if (*p != '%') {
            *to = *p;
            continue;
        }
        high = hex_digit(p[1]);
        low = high < 0 ? -1 : hex_digit(p[2]);
        if (low < 0 || high * 16 + low == 0)
            return false;
        *to = (char)(high * 16 + low);
        p += 2;
    }
    *to = '\0';
    return true;
}

static int wrong(struct poolmgr_error *err, const char *param, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

static int wrong(struct poolmgr_error *err, const char *param, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s", text);
    return pm_error_param(err, POOLMGR_E_INVALID_REQUEST, param);
}

static int check_known(const char *name, const struct pm_query_key *keys, struct poolmgr_error *err)
{
    const char *names[PM_ROUTE_QUERY_MAX];
    const char *near;
    size_t n = 0;

    for (; keys[n].name; n++) {
        if (strcmp(keys[n].name, name) == 0)
            return 0;
        names[n] = keys[n].name;
    }

    near = pm_str_suggest(name, names, n);
    if (near)
        return wrong(err, name, "unknown query key '%s'; did you mean '%s'?", name, near);
    return wrong(err, name, "unknown query key '%s'", name);
}

static int add_pair(struct pm_query *query, char *pair, const struct pm_query_key *keys,
                    struct poolmgr_error *err)
{
    char *value = strchr(pair, '=');

    if (value)
        *value++ = '\0';
    else
        value = pair + strlen(pair);

    if (!decode(pair) || !decode(value))
        return wrong(err, pair, "the query has a broken %% escape");
    if (*pair == '\0' && *value == '\0')
        return 0;
    if (pm_query_get(query, pair))
        return wrong(err, pair, "the query has '%s' twice", pair);
    if (query->n == PM_QUERY_PAIRS_MAX)
        return wrong(err, pair, "the query has more than %d keys", PM_QUERY_PAIRS_MAX);

    query->names[query->n] = pair;
    query->values[query->n++] = value;
    return keys ? check_known(pair, keys, err) : 0;
}

int pm_query_parse(struct pm_slice text, const struct pm_query_key *keys, struct pm_query *ret,
                   struct poolmgr_error *err)
{
    char *rest;
    int r = 0;

    *ret = (struct pm_query){0};
    if (text.n == 0)
        return 0;

    rest = ret->text = pm_xstrndup(text.p, text.n);
    while (r == 0 && rest) {
        char *pair = strsep(&rest, "&");

        r = add_pair(ret, pair, keys, err);
    }

    if (r < 0)
        pm_query_fini(ret);
    return r;
}

void pm_query_fini(struct pm_query *query)
{
    free(query->text);
    *query = (struct pm_query){0};
}

const char *pm_query_get(const struct pm_query *query, const char *name)
{
    for (unsigned i = 0; i < query->n; i++) {
        if (strcmp(query->names[i], name) == 0)
            return query->values[i];
    }
    return NULL;
}

int pm_query_uint(const struct pm_query *query, const char *name, uint64_t max, uint64_t *value,
                  struct poolmgr_error *err)
{
    const char *text = pm_query_get(query, name);
    uint64_t number;

    if (!text)
        return 0;
    if (!pm_parse_u64(text, &number) || number > max)
        return wrong(err, name, "'%s' must be a number from 0 to %llu, not '%s'", name,
                     (unsigned long long)max, text);

    *value = number;
    return 0;
}

int pm_query_duration(const struct pm_query *query, const char *name, uint64_t *value_ms,
                      struct poolmgr_error *err)
{
    const char *text = pm_query_get(query, name);
    uint64_t ms;

    if (!text)
        return 0;
    if (!pm_parse_duration(text, &ms))
        return wrong(err, name, "'%s' must be a duration such as 30s, not '%s'", name, text);

    *value_ms = ms;
    return 0;
}

int pm_query_flag(const struct pm_query *query, const char *name, bool *value,
                  struct poolmgr_error *err)
{
    const char *text = pm_query_get(query, name);

    if (!text)
        return 0;
    if (strcmp(text, "1") != 0 && strcmp(text, "0") != 0 && strcmp(text, "true") != 0 &&
        strcmp(text, "false") != 0)
        return wrong(err, name, "'%s' must be 1 or 0, not '%s'", name, text);

    *value = *text == '1' || *text == 't';
    return 0;
}
