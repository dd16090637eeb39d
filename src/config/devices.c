/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mask is read with the file, so that its faults have a line and a column. Which devices it means is found here only
 * where they are declared; else the machine says so when engines are started. Sizes by device have masks of one device
 * as their keys; with declared devices they are named as those are.
 */
#include "config/devices.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/str.h"

/* The value of a member of a map, or one of its keys. NULL: there is none. */
static const struct pm_yaml *place_in(const struct pm_yaml *map, const char *name, const char *key)
{
    const struct pm_yaml *node = map && map->kind == PM_YAML_MAP ? pm_yaml_get(map, name) : NULL;

    for (size_t i = 0; key && node && node->kind == PM_YAML_MAP && i < node->n; i++) {
        if (strcmp(node->keys[i]->text, key) == 0)
            return node->keys[i];
    }
    return node;
}

static const struct pm_yaml *place_of(const struct pm_pool_at *at, const char *name,
                                      const char *key)
{
    const struct pm_yaml *node = place_in(at->map, name, key);

    if (!node)
        node = place_in(at->defaults, name, key);
    return node ? node : at->key;
}

/* An error of a mask that stands in a node. */
static void add_error(struct pm_config_errors *errors, const struct pm_yaml *node, const char *text,
                      const struct poolmgr_error *err, const char *hint)
{
    bool exact = node->as_written && strlen(node->text) >= err->offset;
    unsigned behind = exact ? err->offset + (node->quoted ? 1 : 0) : 0;
    size_t n = errors->n;

    pm_config_error_at(errors, node->line, node->column + behind, "%s: %s%s%s", text, err->message,
                       hint[0] ? "; " : "", hint);
    if (errors->n == n)
        return;
    errors->items[n].code = err->code;
    errors->items[n].offset = err->offset;
}

/* ---- declared devices --------------------------------------------------------------------------------- */

static bool is_cpu(const char *name)
{
    return strcmp(name, "cpu") == 0;
}

bool pm_config_declares_gpus(const struct pm_config *config)
{
    const struct pm_strv *names = &config->devices.declared.devices;

    return names->n > 1 || (names->n == 1 && !is_cpu(names->items[0]));
}

struct pm_gpu *pm_config_gpus(const struct pm_config *config, size_t *ret_n)
{
    const struct pm_strv *names = &config->devices.declared.devices;
    struct pm_gpu *gpus = names->n > 0 ? pm_xalloc(names->n * sizeof(*gpus)) : NULL;

    *ret_n = 0;
    for (size_t i = 0; i < names->n; i++) {
        pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;

        if (pm_mask_parse(names->items[i], strlen(names->items[i]), &mask, NULL, NULL) == 0 &&
            pm_mask_declares(mask, &gpus[*ret_n]))
            (*ret_n)++;
    }
    return gpus;
}

static const char *declared_names(const struct pm_config *config, char *to, size_t size)
{
    const struct pm_strv *names = &config->devices.declared.devices;
    size_t n = 0;

    to[0] = '\0';
    for (size_t i = 0; i < names->n && n < size; i++)
        n += (size_t)snprintf(to + n, size - n, "%s%s", i > 0 ? ", " : "'devices.declared' has ",
                              names->items[i]);
    return to;
}

/* The declared devices that a mask means, in its order. */
static int resolve(const struct pm_config *config, const struct pm_mask *mask, struct pm_strv *ret,
                   struct poolmgr_error *err)
{
    size_t n_gpus, n = 0;
    pm_auto_free struct pm_gpu *gpus = pm_config_gpus(config, &n_gpus);
    pm_auto_free size_t *set = pm_xalloc((n_gpus + 1) * sizeof(*set));
    int r;

    r = pm_mask_resolve(mask, gpus, n_gpus, false, set, &n, NULL, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        pm_strv_add(ret, gpus[set[i]].id);
    return POOLMGR_OK;
}

bool pm_read_device(struct pm_config_errors *errors, const struct pm_yaml *key, const char *setting,
                    const char *where)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    pm_auto_free char *text =
        pm_xasprintf("'%.64s' in '%s'%s is no device", key->text, setting, where);
    struct poolmgr_error err = {0};

    if (pm_mask_parse(key->text, strlen(key->text), &mask, NULL, &err) < 0) {
        add_error(errors, key, text, &err, err.hint);
        return false;
    }
    if (pm_mask_is_one(mask) || is_cpu(key->text))
        return true;
    pm_config_error_at(errors, key->line, key->column, "%s, but several or none: write one a line",
                       text);
    return false;
}

static const struct pm_yaml *declared_at(const struct pm_yaml *devices, const char *setting,
                                         const char *name)
{
    const struct pm_yaml *node = place_in(devices, setting, name);

    return node ? node : devices;
}

static void check_declared(struct pm_config_errors *errors, const struct pm_yaml *devices,
                           const struct pm_config *config)
{
    const struct pm_device_sizes *declared = &config->devices.declared;

    for (size_t i = 0; i < declared->devices.n; i++) {
        const char *name = declared->devices.items[i];
        const struct pm_yaml *at = declared_at(devices, "declared", name);
        pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
        struct pm_gpu gpu;

        if (declared->bytes[i] == 0)
            pm_config_error_at(errors, at->line, at->column, "device '%s' has no memory", name);
        if (!is_cpu(name) && (pm_mask_parse(name, strlen(name), &mask, NULL, NULL) < 0 ||
                              !pm_mask_declares(mask, &gpu)))
            pm_config_error_at(errors, at->line, at->column,
                               "'%s' cannot be declared: write its index, as 0, or its whole UUID",
                               name);
        for (size_t k = 0; k < i; k++) {
            if (strcasecmp(declared->devices.items[k], name) == 0)
                pm_config_error_at(errors, at->line, at->column, "device '%s' is declared twice",
                                   name);
        }
    }
}

/* Of sizes by device, the names become those of the declared devices. */
static void name_as_declared(struct pm_config_errors *errors, const struct pm_config *config,
                             const char *what, const struct pm_yaml *at,
                             struct pm_device_sizes *sizes, size_t i)
{
    char **name = &sizes->devices.items[i], names[POOLMGR_HINT_MAX];
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    pm_auto_free char *text = NULL;
    struct pm_strv found = {0};
    struct poolmgr_error err = {0};
    int r;

    if (is_cpu(*name) || pm_mask_parse(*name, strlen(*name), &mask, NULL, NULL) < 0)
        return; /* that is its name; or it was told when it was read */
    r = resolve(config, mask, &found, &err);
    if (r == POOLMGR_E_MASK_NOT_FOUND) {
        text = pm_xasprintf("%s names device '%.64s', which is not in 'devices.declared'", what,
                            *name);
        add_error(errors, at, text, &err, declared_names(config, names, sizeof(names)));
    } else if (r < 0) {
        text = pm_xasprintf("%s names device '%.64s'", what, *name);
        add_error(errors, at, text, &err, err.hint);
    } else if (pm_strv_contains(&(struct pm_strv){sizes->devices.items, i}, found.items[0])) {
        pm_config_error_at(errors, at->line, at->column, "%s names device '%s' twice", what,
                           found.items[0]);
    } else {
        free(*name);
        *name = pm_xstrdup(found.items[0]);
    }
    pm_strv_fini(&found);
}

void pm_read_declared(struct pm_config_errors *errors, const struct pm_yaml *devices,
                      struct pm_config *config)
{
    struct pm_device_sizes *reserve = &config->devices.reserve;

    if (!devices || config->devices.declared.devices.n == 0)
        return;
    check_declared(errors, devices, config);
    if (!pm_config_declares_gpus(config))
        return;
    for (size_t i = 0; i < reserve->devices.n; i++)
        name_as_declared(errors, config, "'reserve'",
                         declared_at(devices, "reserve", reserve->devices.items[i]), reserve, i);
}

/* ---- a pool ------------------------------------------------------------------------------------------- */

static void read_mask(struct pm_config_errors *errors, const struct pm_pool_at *at,
                      const struct pm_config *config, struct pm_pool_spec *spec)
{
    pm_auto_free char *text = pm_xasprintf("'devices' in pool '%s'", spec->id);
    const struct pm_yaml *node = place_of(at, "devices", NULL);
    struct poolmgr_error err = {0};
    char names[POOLMGR_HINT_MAX];
    int r;

    if (strcmp(spec->devices, "auto") == 0)
        return;
    r = pm_mask_parse(spec->devices, strlen(spec->devices), &spec->where, NULL, &err);
    if (r == 0 && pm_config_declares_gpus(config))
        r = resolve(config, spec->where, &spec->mask, &err);
    if (r < 0)
        add_error(errors, node, text, &err,
                  r == POOLMGR_E_MASK_NOT_FOUND ? declared_names(config, names, sizeof(names))
                                                : err.hint);
    else if (spec->mask.n > PM_MASK_MAX)
        pm_config_error_at(errors, node->line, node->column,
                           "%s names %zu devices; an engine has at most %d", text, spec->mask.n,
                           PM_MASK_MAX);
}

static void check_vram(struct pm_config_errors *errors, const struct pm_pool_at *at,
                       struct pm_pool_spec *spec)
{
    const struct pm_strv *named = &spec->vram.devices;

    for (size_t i = 0; named->n > 0 && i < spec->mask.n; i++) {
        const struct pm_yaml *node = place_of(at, "vram", NULL);

        if (!pm_strv_contains(named, spec->mask.items[i]))
            pm_config_error_at(errors, node->line, node->column,
                               "'vram' in pool '%s' has no size for device '%.64s'", spec->id,
                               spec->mask.items[i]);
    }
}

static void read_vram(struct pm_config_errors *errors, const struct pm_pool_at *at,
                      const struct pm_config *config, struct pm_pool_spec *spec)
{
    pm_auto_free char *text = pm_xasprintf("'vram' in pool '%s'", spec->id);
    struct pm_strv *named = &spec->vram.devices;

    for (size_t i = 0; i < named->n; i++) {
        const struct pm_yaml *node = place_of(at, "vram", named->items[i]);
        size_t n = errors->n;

        name_as_declared(errors, config, text, node, &spec->vram, i);
        if (errors->n == n && spec->mask.n > 0 && !pm_strv_contains(&spec->mask, named->items[i]))
            pm_config_error_at(errors, node->line, node->column,
                               "%s names device '%s', which is not in its 'devices'", text,
                               named->items[i]);
    }
    check_vram(errors, at, spec);
}

void pm_read_devices(struct pm_config_errors *errors, const struct pm_pool_at *at,
                     const struct pm_config *config, struct pm_pool_spec *spec)
{
    const struct pm_yaml *node = place_of(at, "devices", NULL);

    read_mask(errors, at, config, spec);
    if (spec->where && pm_mask_is_cpu(spec->where)) {
        pm_mask_unref(pm_take(spec->where));
        free(spec->devices);
        spec->devices = pm_xstrdup("cpu"); /* `none` is another word for it */
        if (config->gpu_only)
            pm_config_error_at(errors, node->line, node->column,
                               "pool '%s' is for the CPU, and 'gpu_only' is true", spec->id);
    }
    if (pm_config_declares_gpus(config))
        read_vram(errors, at, config, spec);
}
