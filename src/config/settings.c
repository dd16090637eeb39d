/* SPDX-License-Identifier: Apache-2.0 */
/* Values from nodes, by the type of their row. An error is collected and reading goes on with the next setting. */
#include "config/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/devices.h"
#include "plan/selector.h"
#include "util/cleanup.h"
#include "util/jsontext.h"
#include "util/str.h"

#define NAMES_MAX 64

size_t pm_settings_count(const struct pm_setting *rows)
{
    size_t n = 0;

    while (rows[n].name)
        n++;
    return n;
}

static void *at(const struct pm_setting *row, void *base)
{
    return (char *)base + row->offset;
}

static bool is_stored(const struct pm_setting *row, const void *base)
{
    return base && row->offset != PM_UNSTORED;
}

/* ---- texts ------------------------------------------------------------------------------------------ */

/* Appends the value of ${env:NAME} or ${env:NAME:-text}; false: unset and without a text. */
static bool expand(struct pm_reading *reading, const struct pm_yaml *node, const char *inside,
                   struct pm_buf *out)
{
    const char *otherwise = strstr(inside, ":-");
    pm_auto_free char *name =
        otherwise ? pm_xstrndup(inside, (size_t)(otherwise - inside)) : pm_xstrdup(inside);
    const char *value = getenv(name);

    if (!value && otherwise)
        value = otherwise + 2;
    if (!value) {
        pm_config_error_at(reading->errors, node->line, node->column,
                           "the environment has no '%s'; set it, or write ${env:%s:-a default}",
                           name, name);
        return false;
    }
    pm_buf_adds(out, value);
    return true;
}

char *pm_settings_text(struct pm_reading *reading, const struct pm_yaml *node, const char *name)
{
    pm_auto_buf struct pm_buf out = {0};
    const char *p;

    if (node->kind != PM_YAML_TEXT) {
        pm_config_error_at(reading->errors, node->line, node->column, "'%s' must be a text", name);
        return NULL;
    }
    for (p = node->text; *p;) {
        const char *begin = strstr(p, "${env:"), *end = begin ? strchr(begin, '}') : NULL;

        if (!end) {
            pm_buf_adds(&out, p);
            break;
        }
        pm_buf_add(&out, p, (size_t)(begin - p));
        {
            pm_auto_free char *inside = pm_xstrndup(begin + 6, (size_t)(end - begin - 6));

            if (!expand(reading, node, inside, &out))
                return NULL;
        }
        p = end + 1;
    }
    return pm_xstrdup(pm_buf_text(&out));
}

char *pm_settings_path(const char *path, const char *folder)
{
    const char *home = getenv("HOME");

    if (path[0] == '/' || path[0] == '\0')
        return pm_xstrdup(path);
    if (pm_str_starts(path, "~/") && home && home[0])
        return pm_xasprintf("%s/%s", home, path + 2);
    return pm_xasprintf("%s/%s", folder, path);
}

char *pm_settings_model_ref(const char *text, const char *folder)
{
    const char *colon = strchr(text, ':'), *slash = strchr(text, '/');

    if (pm_str_starts(text, "file:"))
        return pm_settings_path(text + 5, folder);
    if (colon && colon != text && (!slash || colon < slash))
        return pm_xstrdup(text);
    return pm_settings_path(text, folder);
}

/* ---- values ----------------------------------------------------------------------------------------- */

static int find_word(const char *words, const char *text)
{
    size_t n = strlen(text);

    for (int i = 0; n; i++) {
        size_t length = strcspn(words, "|");

        if (length == n && memcmp(words, text, n) == 0)
            return i;
        if (!words[length])
            break;
        words += length + 1;
    }
    return -1;
}

static bool parse_share(const char *text, double *ret)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || text[0] == '+' || text[0] == '-' || value != value)
        return false;
    if (strcmp(end, "%") == 0)
        value /= 100;
    else if (*end)
        return false;
    *ret = value;
    return value >= 0 && value <= 1;
}

/* NULL: the text is a value of that row and was stored; else what it should have been. */
static const char *store_scalar(const struct pm_setting *row, const char *text, const char *folder,
                                void *base)
{
    uint64_t number = 0;
    double share;
    int word;

    switch (row->type) {
    case PM_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return "true or false";
        if (is_stored(row, base))
            *(bool *)at(row, base) = text[0] == 't';
        return NULL;
    case PM_UINT:
        if (!pm_parse_u64(text, &number) || number < row->least ||
            (row->most && number > row->most))
            return "a whole number";
        break;
    case PM_DURATION:
        if (!pm_parse_duration(text, &number) || number < row->least)
            return "a duration, as 500ms, 10s, 15m, 1h30m or 7d";
        break;
    case PM_BYTES:
    case PM_SIZES: /* `each` comes first */
        if (!pm_parse_bytes(text, &number) || number < row->least)
            return "a size, as 64MiB, 7GiB or 5GB";
        break;
    case PM_SHARE:
        if (!parse_share(text, &share))
            return "a share, as 20% or 0.2";
        if (is_stored(row, base))
            *(double *)at(row, base) = share;
        return NULL;
    case PM_WORD:
        word = find_word(row->words, text);
        if (word < 0)
            return "one of the words";
        if (is_stored(row, base))
            *(int *)at(row, base) = word;
        return NULL;
    default:
        if (is_stored(row, base)) {
            char **to = at(row, base);

            free(*to);
            *to = row->type == PM_PATH        ? pm_settings_path(text, folder)
                  : row->type == PM_MODEL_REF ? pm_settings_model_ref(text, folder)
                                              : pm_xstrdup(text);
        }
        return NULL;
    }
    if (is_stored(row, base))
        *(uint64_t *)at(row, base) = number;
    return NULL;
}

static void wrong_value(struct pm_reading *reading, const struct pm_setting *row,
                        const struct pm_yaml *node, const char *text, const char *wanted,
                        const char *where)
{
    char bounds[96] = "";

    if (row->type == PM_UINT && row->most)
        (void)snprintf(bounds, sizeof(bounds), " from %" PRIu64 " to %" PRIu64, row->least,
                       row->most);
    else if (row->least && row->type != PM_DURATION && row->type != PM_BYTES)
        (void)snprintf(bounds, sizeof(bounds), ", at least %" PRIu64, row->least);
    else if (row->least)
        (void)snprintf(bounds, sizeof(bounds), ", more than 0");
    if (row->type == PM_WORD)
        pm_config_error_at(reading->errors, node->line, node->column,
                           "'%s'%s is '%.64s'; it must be one of: %s", row->name, where, text,
                           row->words);
    else
        pm_config_error_at(reading->errors, node->line, node->column,
                           "'%s'%s is '%.64s'; it must be %s%s", row->name, where, text, wanted,
                           bounds);
}

static void read_scalar(struct pm_reading *reading, const struct pm_setting *row,
                        const struct pm_yaml *node, const char *where, void *base)
{
    pm_auto_free char *text = NULL;
    const char *wanted;

    if (node->kind != PM_YAML_TEXT) {
        pm_config_error_at(reading->errors, node->line, node->column,
                           "'%s'%s must be a single value", row->name, where);
        return;
    }
    text = pm_settings_text(reading, node, row->name);
    if (!text)
        return;
    wanted = store_scalar(row, text, reading->folder, base);
    if (wanted)
        wrong_value(reading, row, node, text, wanted, where);
}

static void read_size(struct pm_reading *reading, const struct pm_setting *row,
                      const struct pm_yaml *key, const struct pm_yaml *node, const char *where,
                      struct pm_device_sizes *to)
{
    pm_auto_free char *text = pm_settings_text(reading, node, key->text);
    uint64_t bytes;

    if (!text)
        return;
    if (!pm_read_device(reading->errors, key, row->name, where))
        return;
    if (!pm_parse_bytes(text, &bytes))
        wrong_value(reading, row, node, text, "a size, as 64MiB, 7GiB or 5GB", where);
    else if (to)
        pm_device_sizes_add(to, key->text, bytes);
}

static void read_sizes(struct pm_reading *reading, const struct pm_setting *row,
                       const struct pm_yaml *node, const char *where, void *base)
{
    struct pm_device_sizes *to = is_stored(row, base) ? at(row, base) : NULL;

    if (to)
        pm_device_sizes_fini(to); /* a map takes the place of an earlier one */
    if (node->kind == PM_YAML_TEXT && row->shape != PM_SHAPE_MAP)
        read_scalar(reading, row, node, where, base);
    else if (node->kind != PM_YAML_MAP)
        pm_config_error_at(reading->errors, node->line, node->column,
                           "'%s'%s must be a %smap of device and size, as { 0: 24GiB }", row->name,
                           where, row->shape == PM_SHAPE_MAP ? "" : "size, or a ");
    for (size_t i = 0; node->kind == PM_YAML_MAP && i < node->n; i++)
        read_size(reading, row, node->keys[i], node->values[i], where, to);
}

static void read_list(struct pm_reading *reading, const struct pm_setting *row,
                      const struct pm_yaml *node, void *base)
{
    struct pm_strv *to = is_stored(row, base) ? at(row, base) : NULL;

    if (to)
        pm_strv_fini(to);
    if (node->kind == PM_YAML_MAP) {
        pm_config_error_at(reading->errors, node->line, node->column,
                           "'%s' must be a list of texts", row->name);
        return;
    }
    for (size_t i = 0; i < (node->kind == PM_YAML_LIST ? node->n : 1); i++) {
        const struct pm_yaml *item = node->kind == PM_YAML_LIST ? node->values[i] : node;
        pm_auto_free char *text = pm_settings_text(reading, item, row->name);

        if (text && to)
            pm_strv_add(to, text);
    }
}

static bool name_valid(const char *name)
{
    if (!*name || (*name >= '0' && *name <= '9'))
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
           strlen(name);
}

/* Maps merge: a name that is there gets the new value. */
static void set_pair(struct pm_pairs *to, const char *name, const char *value)
{
    for (size_t i = 0; i < to->names.n; i++) {
        if (strcmp(to->names.items[i], name) == 0) {
            free(to->values.items[i]);
            to->values.items[i] = pm_xstrdup(value);
            return;
        }
    }
    pm_strv_add(&to->names, name);
    pm_strv_add(&to->values, value);
}

static void read_pairs(struct pm_reading *reading, const struct pm_setting *row,
                       const struct pm_yaml *node, const char *where, void *base)
{
    if (node->kind != PM_YAML_MAP) {
        pm_config_error_at(reading->errors, node->line, node->column,
                           "'%s'%s must be a map of names and texts", row->name, where);
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        const char *name = node->keys[i]->text;
        pm_auto_free char *text = NULL;

        if (!name_valid(name) || pm_is_selector(name) || pm_str_starts(name, "POOLMGR_")) {
            pm_config_error_at(reading->errors, node->keys[i]->line, node->keys[i]->column,
                               "'%s'%s may not name '%.64s'%s", row->name, where, name,
                               pm_is_selector(name) ? ": devices are chosen by `devices`"
                               : name_valid(name)   ? ": it is ours"
                                                    : ": it is no name of a variable");
            continue;
        }
        text = pm_settings_text(reading, node->values[i], name);
        if (text && is_stored(row, base))
            set_pair(at(row, base), name, text);
    }
}

json_t *pm_yaml_json(const struct pm_yaml *node)
{
    json_t *json;

    if (node->kind == PM_YAML_TEXT) {
        char *end;
        double number = strtod(node->text, &end);

        if (!node->quoted && (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0))
            return json_boolean(node->text[0] == 't');
        if (!node->quoted && strcmp(node->text, "null") == 0)
            return json_null();
        if (!node->quoted && node->text[0] && !*end &&
            strspn(node->text, "0123456789.eE+-") == strlen(node->text))
            return strspn(node->text, "0123456789-") == strlen(node->text)
                       ? json_integer(strtoll(node->text, NULL, 10))
                       : json_real(number);
        json = json_string(node->text);
        return json ? json : json_string("");
    }
    json = node->kind == PM_YAML_LIST ? json_array() : json_object();
    for (size_t i = 0; i < node->n; i++) {
        if (node->kind == PM_YAML_LIST)
            (void)json_array_append_new(json, pm_yaml_json(node->values[i]));
        else
            (void)json_object_set_new(json, node->keys[i]->text, pm_yaml_json(node->values[i]));
    }
    return json;
}

/* What a variable holds is seen when its part is built. */
static bool is_variable(const struct pm_yaml *node)
{
    return node->kind == PM_YAML_TEXT && strstr(node->text, "${env:");
}

static bool is_ratio(const struct pm_yaml *node)
{
    char *end;

    return is_variable(node) ||
           (node->kind == PM_YAML_TEXT && node->text[0] >= '0' && node->text[0] <= '9' &&
            strtod(node->text, &end) > 0 && *end == '\0');
}

/* Are all values of a map or list what `fits` says? */
static bool all_are(const struct pm_yaml *node, enum pm_yaml_kind kind,
                    bool (*fits)(const struct pm_yaml *node))
{
    if (node->kind != kind)
        return false;
    for (size_t i = 0; i < node->n; i++) {
        if (!fits(node->values[i]))
            return false;
    }
    return true;
}

/* NULL: it has its row's shape; else what it should have been. */
static const char *wrong_shape(const struct pm_setting *row, const struct pm_yaml *node)
{
    switch (row->shape) {
    case PM_SHAPE_ANY: return NULL;
    case PM_SHAPE_MAP: return node->kind == PM_YAML_MAP ? NULL : "a map";
    case PM_SHAPE_RATIOS:
        return is_variable(node) ||
                       (node->kind == PM_YAML_TEXT && find_word("none|auto", node->text) >= 0) ||
                       all_are(node, PM_YAML_LIST, is_ratio)
                   ? NULL
                   : "none, auto, or a list of ratios, as [0.67, 0.33]";
    }
    return NULL;
}

static void read_raw(struct pm_reading *reading, const struct pm_setting *row,
                     const struct pm_yaml *node, const char *where, void *base)
{
    const char *wanted = wrong_shape(row, node);
    char inner[160];
    json_t *json;
    char **to;

    if (wanted) {
        pm_config_error_at(reading->errors, node->line, node->column, "'%s'%s must be %s",
                           row->name, where, wanted);
        return;
    }
    if (row->rows) {
        (void)snprintf(inner, sizeof(inner), " in '%s'%s", row->name, where);
        pm_settings_read(reading, row->rows, node, inner, NULL);
    }
    if (!is_stored(row, base))
        return;
    json = pm_yaml_json(node);
    to = at(row, base);
    free(*to);
    *to = row->shape == PM_SHAPE_RATIOS && json_is_string(json) /* a word stays a word */
              ? pm_xstrdup(json_string_value(json))
              : json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT | PM_JSON_REALS);
    json_decref(json);
}

/* ---- maps ------------------------------------------------------------------------------------------- */

static void unknown_key(struct pm_reading *reading, const struct pm_setting *rows,
                        const struct pm_yaml *key, const char *where)
{
    const char *names[NAMES_MAX];
    size_t n = 0;
    const char *near;

    for (; rows[n].name && n < NAMES_MAX; n++)
        names[n] = rows[n].name;
    near = pm_str_suggest(key->text, names, n);
    pm_config_error_at(reading->errors, key->line, key->column, "unknown key '%.64s'%s%s%s%s",
                       key->text, where, near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
}

static const struct pm_setting *find_row(const struct pm_setting *rows, const char *name)
{
    for (; rows->name; rows++) {
        if (strcmp(rows->name, name) == 0)
            return rows;
    }
    return NULL;
}

/* A setting whose part is not built, with another value than its default. */
static void note_later(struct pm_reading *reading, const struct pm_setting *row,
                       const struct pm_yaml *node)
{
    struct pm_strv *names = reading->later;

    if (!row->later || row->type == PM_GROUP || !names || pm_strv_contains(names, row->name))
        return;
    if (node->kind == PM_YAML_TEXT && row->fallback && strcmp(node->text, row->fallback) == 0)
        return;
    if (node->kind != PM_YAML_TEXT && node->n == 0)
        return;
    pm_strv_add(names, row->name);
}

static void read_groups(struct pm_reading *reading, const struct pm_setting *row,
                        const struct pm_yaml *node)
{
    if (node->kind != PM_YAML_LIST) {
        pm_config_error_at(reading->errors, node->line, node->column, "'%s' must be a list of maps",
                           row->name);
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        char where[80];

        (void)snprintf(where, sizeof(where), " in '%s'", row->name);
        pm_settings_read(reading, row->rows, node->values[i], where, NULL);
    }
}

static void read_setting(struct pm_reading *reading, const struct pm_setting *row,
                         const struct pm_yaml *node, const char *where, void *base)
{
    char inner[160];

    note_later(reading, row, node);
    switch (row->type) {
    case PM_LIST: read_list(reading, row, node, base); return;
    case PM_PAIRS: read_pairs(reading, row, node, where, base); return;
    case PM_RAW: read_raw(reading, row, node, where, base); return;
    case PM_SIZES: read_sizes(reading, row, node, where, base); return;
    case PM_GROUPS: read_groups(reading, row, node); return;
    case PM_NAMED: return; /* config.c knows what these are */
    case PM_GROUP:
        if (row->offset == PM_UNSTORED)
            return; /* `defaults`, too */
        (void)snprintf(inner, sizeof(inner), " in '%s'%s", row->name, where);
        /* A model may be just its file. */
        if (node->kind == PM_YAML_TEXT && row->rows[0].type == PM_MODEL_REF)
            read_scalar(reading, &row->rows[0], node, where, base);
        else
            pm_settings_read(reading, row->rows, node, inner, base);
        return;
    default: read_scalar(reading, row, node, where, base); return;
    }
}

void pm_settings_read(struct pm_reading *reading, const struct pm_setting *rows,
                      const struct pm_yaml *map, const char *where, void *base)
{
    if (map->kind == PM_YAML_TEXT && !map->text[0])
        return; /* `tiny:` with nothing behind it is an empty map */
    if (map->kind != PM_YAML_MAP) {
        pm_config_error_at(reading->errors, map->line, map->column,
                           "a map of settings is expected%s", where);
        return;
    }
    for (size_t i = 0; i < map->n; i++) {
        const struct pm_setting *row = find_row(rows, map->keys[i]->text);

        if (row)
            read_setting(reading, row, map->values[i], where, base);
        else
            unknown_key(reading, rows, map->keys[i], where);
    }
}

void pm_settings_defaults(const struct pm_setting *rows, void *base)
{
    for (; rows->name; rows++) {
        if (rows->type == PM_GROUP && rows->offset != PM_UNSTORED)
            pm_settings_defaults(rows->rows, base);
        else if (rows->type == PM_LIST && rows->fallback && is_stored(rows, base))
            pm_strv_add(at(rows, base), rows->fallback);
        else if (rows->fallback && rows->type != PM_RAW && rows->type != PM_LIST)
            (void)store_scalar(rows, rows->fallback, "/", base);
    }
}
