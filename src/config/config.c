/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a file's text to a configuration: the tree, the settings of the top level, engines, pools, then what must hold
 * between them. Everything that is wrong is collected before anything is refused, so that one look mends it all.
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/check.h"
#include "config/devices.h"
#include "config/paths.h"
#include "config/pool.h"
#include "config/settings.h"
#include "config/yaml.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/jsontext.h"

/* ---- life ------------------------------------------------------------------------------------------- */

void pm_config_free(struct pm_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->n_engines; i++)
        pm_engine_spec_unref(config->engines[i]);
    for (size_t i = 0; i < config->n_pools; i++)
        pm_pool_spec_unref(config->pools[i]);
    for (struct pm_strv *const *list =
             (struct pm_strv *[]){&config->listen, &config->data_listen, &config->allowed_hosts,
                                  &config->cors_origins, &config->no_effect_yet, &config->warnings,
                                  &config->kept, NULL};
         *list; list++)
        pm_strv_fini(*list);
    free(config->devices.nvml);
    pm_device_sizes_fini(&config->devices.declared);
    pm_device_sizes_fini(&config->devices.reserve);
    free(config->path);
    free(config->folder);
    free(config->control_group);
    free(config->runtime_dir);
    free(config->state_dir);
    free(config->cache_dir);
    free(config->log_dir);
    free(config->handoff_dir);
    free(config->default_pool);
    free(config->defaults);
    free(config->engines);
    free(config->pools);
    free(config->text);
    free(config);
}

PM_DEFINE_AUTO(struct pm_config *, pm_config_free)
PM_DEFINE_AUTO(struct pm_yaml_file *, pm_yaml_free)

struct pm_engine_spec *pm_config_engine(const struct pm_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_engines; i++) {
        if (strcmp(config->engines[i]->name, name) == 0)
            return config->engines[i];
    }
    return NULL;
}

/* ---- engines ---------------------------------------------------------------------------------------- */

static struct pm_engine_spec *add_engine(struct pm_config *config, const char *name)
{
    struct pm_engine_spec *engine = pm_engine_spec_new(name);

    pm_settings_defaults(pm_engine_settings, engine);
    config->engines =
        pm_xrealloc(config->engines, (config->n_engines + 1) * sizeof(struct pm_engine_spec *));
    config->engines[config->n_engines++] = engine;
    return engine;
}

static void read_engines(struct pm_reading *reading, const struct pm_yaml *map,
                         struct pm_config *config)
{
    if (map && map->kind != PM_YAML_MAP && !(map->kind == PM_YAML_TEXT && !map->text[0])) {
        pm_config_error_at(reading->errors, map->line, map->column,
                           "'engines' must be a map of names and settings");
        map = NULL;
    }
    for (size_t i = 0; map && i < map->n; i++) {
        struct pm_engine_spec *engine = add_engine(config, map->keys[i]->text);
        char where[128];

        (void)snprintf(where, sizeof(where), " in engine '%.48s'", engine->name);
        pm_settings_read(reading, pm_engine_settings, map->values[i], where, engine);
        pm_check_engine(reading->errors, map->keys[i], engine);
        if (engine->url && engine->family != PM_FAMILY_EXTERNAL && reading->later &&
            !pm_strv_contains(reading->later, "url"))
            pm_strv_add(reading->later, "url"); /* of a download */
    }
    if (!pm_config_engine(config, "llama"))
        (void)add_engine(config, "llama");
}

static void use_engine_path(struct pm_config *config, const char *path, const char *here)
{
    struct pm_engine_spec *llama = pm_config_engine(config, "llama");

    if (!path)
        return;
    free(llama->path);
    llama->path = pm_settings_path(path, here);
}

/* ---- the command line ------------------------------------------------------------------------------- */

/* "Qwen3-8B-Q4_K_M.gguf" → id "qwen3-8b-q4_k_m", alias "Qwen3-8B-Q4_K_M" */
static void name_after_file(const char *path, char *id, char *alias)
{
    const char *slash = strrchr(path, '/');
    size_t n = 0;

    (void)pm_str_copy(alias, PM_ALIAS_MAX + 1, slash ? slash + 1 : path);
    if (strlen(alias) > 5 && strcasecmp(alias + strlen(alias) - 5, ".gguf") == 0)
        alias[strlen(alias) - 5] = '\0';
    for (const char *p = alias; *p && n < PM_ID_MAX; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        bool edge = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

        if (!edge && (n == 0 || !strchr("._-", c)))
            c = '-';
        if (edge || n > 0)
            id[n++] = c;
    }
    while (n > 0 && strchr("._-", id[n - 1]))
        n--;
    id[n] = '\0';
    if (n == 0)
        (void)pm_str_copy(id, PM_ID_MAX + 1, "model");
}

static void add_model(struct pm_reading *reading, const struct pm_yaml *root,
                      struct pm_config *config, const char *ref, const char *here)
{
    const struct pm_yaml nowhere = {.kind = PM_YAML_TEXT}; /* its mistakes have no line in a file */
    char id[PM_ID_MAX + 1], alias[PM_ALIAS_MAX + 1];
    struct pm_pool_spec *spec;

    name_after_file(ref, id, alias);
    for (size_t i = 0; i < config->n_pools; i++) {
        if (strcmp(config->pools[i]->id, id) == 0) {
            pm_config_error_at(
                reading->errors, 0, 0,
                "--model %s: a pool '%s' is there already; name the model in the file", ref, id);
            return;
        }
    }
    spec = pm_new_pool(reading, root, id);
    free(spec->model.main);
    spec->model.main = pm_settings_model_ref(ref, here);
    if (strcmp(alias, id) != 0)
        pm_strv_add(&spec->aliases, alias);
    pm_finish_pool(config, spec, here);
    pm_read_devices(reading->errors,
                    &(struct pm_pool_at){&nowhere, &nowhere, pm_yaml_get(root, "defaults")}, config,
                    spec);
    pm_check_pool(reading->errors, &nowhere, &nowhere, config, spec);
    pm_check_storm(config, spec);
    pm_add_pool(config, spec);
}

/* The table's default is orchestratord's. */
static void use_listen_default(struct pm_config *config,
                               const struct pm_config_overrides *overrides)
{
    if (!overrides || !overrides->listen_default)
        return;
    pm_strv_fini(&config->listen);
    pm_strv_add(&config->listen, overrides->listen_default);
}

static void apply_overrides(struct pm_reading *reading, const struct pm_yaml *root,
                            struct pm_config *config, const struct pm_config_overrides *overrides)
{
    pm_auto_free char *here = getcwd(NULL, 0);

    if (!overrides)
        return;
    if (!here)
        here = pm_xstrdup("/");
    use_engine_path(config, overrides->engine, here);
    for (size_t i = 0; i < overrides->models.n; i++)
        add_model(reading, root, config, overrides->models.items[i], here);
    if (overrides->listen.n) {
        pm_strv_fini(&config->listen);
        pm_strv_copy(&config->listen, &overrides->listen);
    }
    if (overrides->log_format) {
        static const char *const formats[] = {"auto", "pretty", "json"};
        size_t i = 0;

        while (i < PM_ARRAY_LEN(formats) && strcmp(formats[i], overrides->log_format) != 0)
            i++;
        if (i == PM_ARRAY_LEN(formats))
            pm_config_error_at(reading->errors, 0, 0,
                               "--log-format %s: it must be one of: auto, pretty, json",
                               overrides->log_format);
        else
            config->log.format = (enum pm_log_format)i;
    }
}

/* ---- the whole -------------------------------------------------------------------------------------- */

static void make_text(struct pm_config *config)
{
    json_t *json = pm_settings_dump(pm_top_settings, config);
    json_t *engines = json_object(), *pools = json_object();

    for (size_t i = 0; i < config->n_engines; i++)
        (void)json_object_set_new(engines, config->engines[i]->name,
                                  pm_settings_dump(pm_engine_settings, config->engines[i]));
    for (size_t i = 0; i < config->n_pools; i++)
        (void)json_object_set_new(pools, config->pools[i]->id,
                                  pm_settings_dump(pm_pool_settings, config->pools[i]));
    (void)json_object_set_new(json, "engines", engines);
    (void)json_object_set_new(json, "pools", pools);
    config->text = json_dumps(json, JSON_INDENT(2) | PM_JSON_REALS);
    json_decref(json);
}

static int refuse(const struct pm_config_errors *errors, const char *name,
                  struct poolmgr_error *err)
{
    const struct pm_config_error *first = &errors->items[0];
    int code = strstr(first->message, "bytes; a socket's path") ? POOLMGR_E_PATH_TOO_LONG
                                                                : POOLMGR_E_CONFIG_INVALID;

    if (first->line)
        return pm_fail(err, code, "%s:%u:%u: %s", name, first->line, first->column, first->message);
    return pm_fail(err, code, "%s", first->message);
}

static void read_file(struct pm_reading *reading, const struct pm_yaml *root,
                      struct pm_config *config)
{
    pm_settings_read(reading, pm_top_settings, root, "", config);
    pm_read_declared(reading->errors, pm_yaml_get(root, "devices"), config);
    read_engines(reading, pm_yaml_get(root, "engines"), config);
    pm_read_pools(reading, root, config);
}

/* Engines run on what was declared: to take it from under them is no matter of a reload. */
static void keep_declared(struct pm_config *config, const struct pm_config *running)
{
    if (pm_device_sizes_equal(&config->devices.declared, &running->devices.declared))
        return;
    pm_device_sizes_fini(&config->devices.declared);
    pm_device_sizes_copy(&config->devices.declared, &running->devices.declared);
    pm_strv_add(&config->kept, "devices.declared");
}

/* What the file says of these is right for the next start, so it was checked; what goes on is what runs. */
static void keep_running(struct pm_config_errors *errors, const struct pm_yaml *root,
                         struct pm_config *config, const struct pm_config *running)
{
    pm_settings_keep(pm_top_settings, config, running, &config->kept);
    keep_declared(config, running);
    pm_check_path_lengths(errors, pm_yaml_get(root, "pools"), config);
}

int pm_config_parse(const char *text, size_t n, const char *name, const char *folder,
                    const struct pm_config_overrides *overrides, struct pm_config **ret,
                    struct pm_config_errors *errors, struct poolmgr_error *err)
{
    pm_auto(pm_config_free) struct pm_config *config = pm_xalloc(sizeof(*config));
    pm_auto(pm_yaml_free) struct pm_yaml_file *file = NULL;
    struct pm_reading reading = {
        .errors = errors, .folder = folder, .later = &config->no_effect_yet};
    const struct pm_yaml *root = NULL;

    *errors = (struct pm_config_errors){0};
    config->folder = pm_xstrdup(folder);
    (void)pm_str_copy(errors->file, sizeof(errors->file), name);
    if (n > PM_CONFIG_MAX_BYTES)
        return pm_fail(err, POOLMGR_E_TOO_LARGE, "%s is larger than 1 MiB", name);
    file = pm_yaml_read(text, n, errors);
    if (!file)
        return refuse(errors, name, err);

    root = pm_yaml_root(file);
    pm_settings_defaults(pm_top_settings, config);
    use_listen_default(config, overrides);
    read_file(&reading, root, config);
    apply_overrides(&reading, root, config, overrides);
    pm_resolve_folders(config);
    pm_check_config(errors, root, config);
    if (errors->n == 0 && overrides && overrides->running)
        keep_running(errors, root, config, overrides->running);
    if (errors->n)
        return refuse(errors, name, err);

    make_text(config);
    *ret = pm_take(config);
    return POOLMGR_OK;
}

static char *config_path(const struct pm_config_overrides *overrides)
{
    char *path =
        overrides && overrides->path ? pm_xstrdup(overrides->path) : pm_default_config_path();

    /* Moved away in the middle of being saved: that is no configuration without pools. */
    if (!path && overrides && overrides->running)
        path = pm_xstrdup(overrides->running->path);
    return path;
}

int pm_config_load(const struct pm_config_overrides *overrides, struct pm_config **ret,
                   struct pm_config_errors *errors, struct poolmgr_error *err)
{
    pm_auto_free char *path = config_path(overrides);
    pm_auto_free char *text = NULL, *folder = NULL, *here = getcwd(NULL, 0);
    size_t n = 0;
    int r;

    *errors = (struct pm_config_errors){0};
    if (!path)
        return pm_config_parse("", 0, "(no file)", here ? here : "/", overrides, ret, errors, err);

    r = pm_read_file(path, PM_CONFIG_MAX_BYTES, &text, &n, err);
    if (r < 0)
        return r;
    folder = pm_settings_path(path, here ? here : "/");
    folder[strrchr(folder, '/') - folder] = '\0';
    r = pm_config_parse(text, n, path, folder[0] ? folder : "/", overrides, ret, errors, err);
    if (r == POOLMGR_OK)
        (*ret)->path = pm_xstrdup(path);
    return r;
}
