/* SPDX-License-Identifier: Apache-2.0 */
/* Values back to the words of the file, by the type of their row; and those that a reload keeps. */
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"
#include "util/cleanup.h"
#include "util/str.h"

static const void *at(const struct pm_setting *row, const void *base)
{
    return (const char *)base + row->offset;
}

static json_t *dump_word(const char *words, int index)
{
    while (index-- > 0)
        words += strcspn(words, "|") + 1;
    return json_stringn(words, strcspn(words, "|"));
}

static json_t *dump_list(const struct pm_strv *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->n; i++)
        (void)json_array_append_new(array, json_string(list->items[i]));
    return array;
}

/* Values that look like secrets are not shown. */
static bool looks_secret(const char *name)
{
    static const char *const parts[] = {"TOKEN",    "KEY",    "SECRET",
                                        "PASSWORD", "PASSWD", "CREDENTIAL"};

    for (size_t i = 0; i < PM_ARRAY_LEN(parts); i++) {
        if (strcasestr(name, parts[i]))
            return true;
    }
    return false;
}

static json_t *dump_pairs(const struct pm_pairs *pairs, bool secrets)
{
    json_t *object = json_object();

    for (size_t i = 0; i < pairs->names.n; i++)
        (void)json_object_set_new(object, pairs->names.items[i],
                                  json_string(!secrets && looks_secret(pairs->names.items[i])
                                                  ? PM_MASKED
                                                  : pairs->values.items[i]));
    return object;
}

static json_t *dump_sizes(const struct pm_device_sizes *sizes)
{
    json_t *object;
    char text[64];

    if (sizes->devices.n == 0)
        return json_string(pm_print_bytes(text, sizeof(text), sizes->each));
    object = json_object();
    for (size_t i = 0; i < sizes->devices.n; i++)
        (void)json_object_set_new(object, sizes->devices.items[i],
                                  json_string(pm_print_bytes(text, sizeof(text), sizes->bytes[i])));
    return object;
}

static json_t *dump_value(const struct pm_setting *row, const void *base, bool secrets)
{
    const void *value = at(row, base);
    char text[64];

    switch (row->type) {
    case PM_BOOL: return json_boolean(*(const bool *)value);
    case PM_UINT: return json_integer((json_int_t) * (const uint64_t *)value);
    case PM_DURATION:
        return json_string(pm_print_duration(text, sizeof(text), *(const uint64_t *)value));
    case PM_BYTES: return json_string(pm_print_bytes(text, sizeof(text), *(const uint64_t *)value));
    case PM_SHARE: return json_real(*(const double *)value);
    case PM_WORD: return dump_word(row->words, *(const int *)value);
    case PM_LIST: return dump_list(value);
    case PM_SIZES: return dump_sizes(value);
    case PM_PAIRS: return dump_pairs(value, secrets);
    case PM_RAW:
        if (row->shape == PM_SHAPE_RATIOS && (*(char *const *)value)[0] != '[')
            return json_string(*(char *const *)value);
        return *(char *const *)value ? json_loads(*(char *const *)value, JSON_DECODE_ANY, NULL)
                                     : NULL;
    default: return *(char *const *)value ? json_string(*(char *const *)value) : NULL;
    }
}

static json_t *dump(const struct pm_setting *rows, const void *base, bool secrets)
{
    json_t *object = json_object();

    for (; rows->name; rows++) {
        json_t *value = NULL;

        if (rows->offset == PM_UNSTORED)
            continue;
        value = rows->type == PM_GROUP ? dump(rows->rows, base, secrets)
                                       : dump_value(rows, base, secrets);
        if (value)
            (void)json_object_set_new(object, rows->name, value);
    }
    return object;
}

json_t *pm_settings_dump(const struct pm_setting *rows, const void *base)
{
    return dump(rows, base, false);
}

json_t *pm_settings_dump_secrets(const struct pm_setting *rows, const void *base)
{
    return dump(rows, base, true);
}

/* ---- a reload --------------------------------------------------------------------------------------- */

static bool keep_list(struct pm_strv *to, const struct pm_strv *from)
{
    if (pm_strv_equal(to, from))
        return false;

    pm_strv_fini(to);
    pm_strv_copy(to, from);
    return true;
}

static bool keep_text(char **to, const char *from)
{
    if (*to && from ? strcmp(*to, from) == 0 : *to == from)
        return false;

    free(*to);
    *to = pm_xstrdup(from);
    return true;
}

void pm_settings_keep(const struct pm_setting *rows, void *base, const void *from,
                      struct pm_strv *ret_names)
{
    for (; rows->name; rows++) {
        void *to = (char *)base + rows->offset;

        if (!rows->restart)
            continue;
        if (rows->type == PM_LIST ? keep_list(to, at(rows, from))
                                  : keep_text(to, *(char *const *)at(rows, from)))
            pm_strv_add(ret_names, rows->name);
    }
}
