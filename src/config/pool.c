/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools, of the file and alone: below `defaults`, with the engines of the file, and checked against each other. A pool
 * that comes by the API is read by the same code from the same words.
 */
#include "config/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/check.h"
#include "config/devices.h"
#include "util/cleanup.h"
#include "util/jsontext.h"

static char *text_of(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | PM_JSON_REALS);

    json_decref(json);
    return text;
}

void pm_finish_pool(const struct pm_config *config, struct pm_pool_spec *spec, const char *folder)
{
    struct pm_engine_spec *engine = pm_config_engine(config, spec->engine);

    if (engine)
        spec->runs = pm_engine_spec_ref(engine);
    for (size_t i = 0; i < spec->model.lora.n; i++) {
        char *path = pm_settings_path(spec->model.lora.items[i], folder);

        free(spec->model.lora.items[i]);
        spec->model.lora.items[i] = path;
    }
    spec->text = text_of(pm_settings_dump(pm_pool_settings, spec));
    spec->stored = text_of(pm_settings_dump_secrets(pm_pool_settings, spec));
}

void pm_add_pool(struct pm_config *config, struct pm_pool_spec *spec)
{
    config->pools =
        pm_xrealloc(config->pools, (config->n_pools + 1) * sizeof(struct pm_pool_spec *));
    config->pools[config->n_pools++] = spec;
}

struct pm_pool_spec *pm_new_pool(const struct pm_reading *reading, const struct pm_yaml *root,
                                 const char *id)
{
    const struct pm_yaml *defaults = pm_yaml_get(root, "defaults");
    struct pm_pool_spec *spec = pm_pool_spec_new(id);

    if (defaults && defaults->kind == PM_YAML_MAP) {
        /* Its mistakes were told when it was checked by itself. */
        struct pm_config_errors *told = pm_xalloc(sizeof(*told));
        struct pm_reading quiet = {.errors = told, .folder = reading->folder};

        pm_settings_read(&quiet, pm_pool_settings, defaults, "", spec);
        free(told);
    }
    return spec;
}

static void read_pool(struct pm_reading *reading, const struct pm_yaml *root,
                      const struct pm_yaml *key, const struct pm_yaml *value,
                      struct pm_config *config)
{
    struct pm_pool_spec *spec;
    char where[128];

    if (!pm_pool_id_valid(key->text)) {
        pm_config_error_at(reading->errors, key->line, key->column,
                           "'%.64s' is no pool's id: 1 to 48 of a-z 0-9 . _ -, beginning and "
                           "ending with a letter or digit",
                           key->text);
        return;
    }
    spec = pm_new_pool(reading, root, key->text);
    (void)snprintf(where, sizeof(where), " in pool '%s'", key->text);
    pm_settings_read(reading, pm_pool_settings, value, where, spec);
    pm_finish_pool(config, spec, reading->folder);
    pm_read_devices(reading->errors,
                    &(struct pm_pool_at){key, value, pm_yaml_get(root, "defaults")}, config, spec);
    pm_check_pool(reading->errors, key, value, config, spec);
    pm_check_storm(config, spec);
    pm_check_room(config, spec);
    pm_add_pool(config, spec);
}

static void read_defaults(struct pm_reading *reading, const struct pm_yaml *map)
{
    struct pm_pool_spec *scratch;

    if (!map)
        return;
    for (const char *const *name = (const char *const[]){"model", "aliases", NULL}; *name; name++) {
        const struct pm_yaml *value = pm_yaml_get(map, *name);

        if (value)
            pm_config_error_at(reading->errors, value->line, value->column,
                               "'%s' belongs to one pool; it cannot stand in 'defaults'", *name);
    }
    scratch = pm_pool_spec_new("defaults");
    pm_settings_read(reading, pm_pool_settings, map, " in 'defaults'", scratch);
    pm_pool_spec_unref(scratch);
}

static void keep_defaults(struct pm_config *config, const struct pm_yaml *map)
{
    json_t *json = map ? pm_yaml_json(map) : json_object();

    config->defaults = json_dumps(json, JSON_COMPACT | PM_JSON_REALS);
    json_decref(json);
}

void pm_read_pools(struct pm_reading *reading, const struct pm_yaml *root, struct pm_config *config)
{
    const struct pm_yaml *map = pm_yaml_get(root, "pools");

    read_defaults(reading, pm_yaml_get(root, "defaults"));
    keep_defaults(config, pm_yaml_get(root, "defaults"));
    if (!map || (map->kind == PM_YAML_TEXT && !map->text[0]))
        return;
    if (map->kind != PM_YAML_MAP) {
        pm_config_error_at(reading->errors, map->line, map->column,
                           "'pools' must be a map of ids and settings");
        return;
    }
    if (map->n > PM_CONFIG_POOLS_MAX) {
        pm_config_error_at(reading->errors, map->line, map->column,
                           "there are %zu pools; at most %d work", map->n, PM_CONFIG_POOLS_MAX);
        return;
    }
    for (size_t i = 0; i < map->n; i++)
        read_pool(reading, root, map->keys[i], map->values[i], config);
}

/* ---- one pool alone --------------------------------------------------------------------------------- */

PM_DEFINE_AUTO(struct pm_yaml_file *, pm_yaml_free)

/* The member of a pool in which a place of its text lies: the last one that begins before it. */
static void find_member(const struct pm_yaml *pool, const struct pm_config_error *error, char *to,
                        size_t size)
{
    to[0] = '\0';
    for (size_t i = 0; pool->kind == PM_YAML_MAP && i < pool->n; i++) {
        const struct pm_yaml *key = pool->keys[i];

        if (key->line < error->line || (key->line == error->line && key->column <= error->column))
            (void)pm_str_copy(to, size, key->text);
    }
}

static int code_of(const struct pm_config_errors *errors)
{
    return errors->items[0].code ? errors->items[0].code : POOLMGR_E_CONFIG_INVALID;
}

static int refuse_pool(const struct pm_yaml *pool, const struct pm_config_errors *errors,
                       struct poolmgr_error *err)
{
    int code = code_of(errors);
    char member[POOLMGR_PARAM_MAX] = "";

    if (pool)
        find_member(pool, &errors->items[0], member, sizeof(member));
    (void)pm_fail(err, code, "%s", errors->items[0].message);
    if (errors->items[0].code)
        (void)pm_error_offset(err, code, errors->items[0].offset);
    return pm_error_param(err, code, member);
}

/* JSON is YAML but for characters that YAML does not take raw, or takes for the end of a line: in a text of JSON they
 * stand within quotes only, where both know escapes. */
static bool needs_escape(unsigned code)
{
    return (code >= 0x7f && code <= 0x9f) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
           code == 0xfffe || code == 0xffff;
}

/* `json` is valid UTF-8. */
static char *json_as_yaml(const char *json)
{
    pm_auto_buf struct pm_buf out = {0};

    for (const unsigned char *p = (const unsigned char *)json; *p;) {
        size_t n = *p < 0xc0 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
        unsigned code = n == 2   ? (*p & 0x1fu) << 6 | (p[1] & 0x3fu)
                        : n == 3 ? (*p & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu)
                                 : *p;

        if (n < 4 && needs_escape(code))
            pm_buf_addf(&out, "\\u%04x", code);
        else
            pm_buf_add(&out, (const char *)p, n);
        p += n;
    }
    return pm_xstrdup(pm_buf_text(&out));
}

/* A document like the file's, with this one pool in it. */
static char *document(const struct pm_config *config, const char *id, const json_t *pool)
{
    json_t *defaults = config->defaults ? json_loads(config->defaults, 0, NULL) : NULL;
    json_t *root = json_pack("{s:o, s:{s:O}}", "defaults", defaults ? defaults : json_object(),
                             "pools", id, pool);
    pm_auto_free char *text = json_dumps(root, JSON_COMPACT);

    json_decref(root);
    return json_as_yaml(text);
}

static const char *value_of(const struct pm_pool_spec *spec, const char *name)
{
    for (size_t i = 0; spec && i < spec->env.names.n; i++) {
        if (strcmp(spec->env.names.items[i], name) == 0)
            return spec->env.values.items[i];
    }
    return NULL;
}

int pm_config_unmask(json_t *pool, const struct pm_pool_spec *former, struct poolmgr_error *err)
{
    json_t *env = json_object_get(pool, "env"), *value;
    const char *name;

    json_object_foreach(env, name, value)
    {
        const char *text = json_string_value(value), *known = value_of(former, name);

        if (!text || strcmp(text, PM_MASKED) != 0)
            continue;
        if (!known) {
            (void)pm_fail(err, POOLMGR_E_CONFIG_INVALID,
                          "'%.64s' in 'env' is masked, and nobody knows its value: write it", name);
            return pm_error_param(err, POOLMGR_E_CONFIG_INVALID, "env");
        }
        (void)json_string_set(value, known);
    }
    return POOLMGR_OK;
}

/* The first member that is null, in groups too, or NULL. What filters set may be. */
static const char *find_null(const json_t *pool)
{
    const char *name, *found = NULL;
    json_t *value;

    json_object_foreach((json_t *)pool, name, value)
    {
        if (strcmp(name, "filters") == 0)
            continue;
        if (json_is_null(value) || find_null(value))
            found = name;
    }
    return found;
}

static int refuse_null(const char *id, const char *member, struct pm_config_errors *errors,
                       struct poolmgr_error *err)
{
    pm_config_error_at(errors, 1, 1, "'%.64s' in pool '%s' is null: leave out what is not set",
                       member, id);
    (void)pm_fail(err, POOLMGR_E_CONFIG_INVALID, "%s", errors->items[0].message);
    return pm_error_param(err, POOLMGR_E_CONFIG_INVALID, member);
}

int pm_config_pool(const struct pm_config *config, const char *id, const json_t *pool,
                   struct pm_pool_spec **ret, struct pm_config_errors *errors,
                   struct poolmgr_error *err)
{
    pm_auto_free char *text = document(config, id, pool);
    pm_auto(pm_yaml_free) struct pm_yaml_file *file = NULL;
    struct pm_config scratch = {.engines = config->engines,
                                .n_engines = config->n_engines,
                                .gpu_only = config->gpu_only,
                                .devices = config->devices,
                                .runtime_dir = config->runtime_dir};
    struct pm_reading reading = {.errors = errors, .folder = config->folder};
    const struct pm_yaml *root;

    *errors = (struct pm_config_errors){0};
    if (find_null(pool))
        return refuse_null(id, find_null(pool), errors, err);
    file = pm_yaml_read(text, strlen(text), errors);
    if (!file)
        return refuse_pool(NULL, errors, err);

    root = pm_yaml_root(file);
    pm_read_pools(&reading, root, &scratch);
    pm_check_path_lengths(errors, pm_yaml_get(root, "pools"), &scratch);
    if (errors->n == 0)
        *ret = pm_pool_spec_ref(scratch.pools[0]);
    else
        (void)refuse_pool(pm_yaml_get(pm_yaml_get(root, "pools"), id), errors, err);

    for (size_t i = 0; i < scratch.n_pools; i++)
        pm_pool_spec_unref(scratch.pools[i]);
    free(scratch.pools);
    free(scratch.defaults);
    pm_strv_fini(&scratch.warnings);
    return errors->n == 0 ? POOLMGR_OK : code_of(errors);
}
