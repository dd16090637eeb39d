/* SPDX-License-Identifier: Apache-2.0 */
#include "config/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/client.h"
#include "util/cleanup.h"
#include "util/str.h"

#define SOCKET_PATH_MAX 107
#define LONGEST_SOCKET  "engine.sock"
#define INSTANCE_DIGITS 10 /* of the n in <pool>.<n> */

static void error_at(struct pm_config_errors *errors, const struct pm_yaml *map, const char *name,
                     const struct pm_yaml *otherwise, const char *text)
{
    const struct pm_yaml *node = map ? pm_yaml_get(map, name) : NULL;

    if (!node)
        node = otherwise;
    pm_config_error_at(errors, node ? node->line : 0, node ? node->column : 0, "%s", text);
}

/* ---- engines ---------------------------------------------------------------------------------------- */

void pm_check_engine(struct pm_config_errors *errors, const struct pm_yaml *key,
                     const struct pm_engine_spec *engine)
{
    if (engine->family == PM_FAMILY_COMMAND && engine->argv.n == 0)
        pm_config_error_at(
            errors, key->line, key->column,
            "engine '%.48s' of family command needs 'argv': the program and its arguments",
            engine->name);
    if (engine->family == PM_FAMILY_EXTERNAL &&
        (!engine->url || !pm_http_endpoint_valid(engine->url)))
        pm_config_error_at(errors, key->line, key->column,
                           "engine '%.48s' of family external needs 'url': http://10.0.0.7:8000 "
                           "(a numeric address) or unix:/path",
                           engine->name);
    if ((engine->family == PM_FAMILY_COMMAND || engine->family == PM_FAMILY_EXTERNAL) &&
        engine->ready && engine->ready[0] != '/')
        pm_config_error_at(errors, key->line, key->column,
                           "engine '%.48s': 'ready' must be a path, as /health", engine->name);
}

/* ---- pools ------------------------------------------------------------------------------------------ */

static bool alias_valid(const char *alias)
{
    size_t n = strlen(alias);

    if (n == 0 || n > PM_ALIAS_MAX || !pm_utf8_valid(alias, n))
        return false;
    for (const char *p = alias; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    }
    return true;
}

static void check_names(struct pm_config_errors *errors, const struct pm_yaml *key,
                        const struct pm_pool_spec *spec)
{
    for (size_t i = 0; i < spec->aliases.n; i++) {
        const char *alias = spec->aliases.items[i];

        if (!alias_valid(alias))
            pm_config_error_at(errors, key->line, key->column,
                               "pool '%s': an alias must be a text of at most 256 bytes without "
                               "control characters",
                               spec->id);
    }
}

/* How many bytes a device lacks for a pool when it is empty; 0 none. */
static uint64_t lacks(const struct pm_config *config, const struct pm_pool_spec *spec,
                      const char *device)
{
    uint64_t total = pm_device_size(&config->devices.declared, device);
    uint64_t reserve = pm_device_size(&config->devices.reserve, device);
    uint64_t has = total > reserve ? total - reserve : 0,
             needs = pm_device_size(&spec->vram, device);

    return needs > has ? needs - has : 0;
}

/* It runs on all of its devices, or not at all: a map of bytes, or ratios. */
static bool needs_all(const struct pm_pool_spec *spec)
{
    return spec->vram.devices.n > 0 || spec->tensor_split[0] == '[';
}

/* *ret is the device that decides. */
static uint64_t lacks_for_ever(const struct pm_config *config, const struct pm_pool_spec *spec,
                               const char **ret)
{
    const struct pm_strv *devices = spec->vram.devices.n > 0 ? &spec->vram.devices
                                    : spec->mask.n > 0       ? &spec->mask
                                                             : &config->devices.declared.devices;
    uint64_t found = 0;

    for (size_t i = 0; i < devices->n; i++) {
        uint64_t missing;

        if (strcmp(devices->items[i], "cpu") == 0)
            continue;
        missing = lacks(config, spec, devices->items[i]);
        if (!needs_all(spec) && missing == 0)
            return 0;
        if (**ret == '\0' || (needs_all(spec) ? missing > found : missing < found)) {
            found = missing;
            *ret = devices->items[i];
        }
    }
    return found;
}

void pm_check_room(struct pm_config *config, const struct pm_pool_spec *spec)
{
    pm_auto_free char *text = NULL;
    const char *device = "";
    uint64_t missing;

    if (!pm_config_declares_gpus(config) || strcmp(spec->devices, "cpu") == 0)
        return;
    missing = lacks_for_ever(config, spec, &device);
    if (missing > 0)
        text = pm_xasprintf("pool '%s' can never start: device %s lacks %llu bytes for it",
                            spec->id, device, (unsigned long long)missing);
    else if (spec->vram.each == 0 && spec->vram.devices.n == 0 && spec->runs &&
             spec->runs->family != PM_FAMILY_LLAMA_CPP) /* whose models are estimated */
        text = pm_xasprintf("pool '%s' names no vram: what it needs on a device is not counted",
                            spec->id);
    if (text)
        pm_strv_add(&config->warnings, text);
}

static void check_engine_of(struct pm_config_errors *errors, const struct pm_yaml *key,
                            const struct pm_yaml *map, const struct pm_config *config,
                            const struct pm_pool_spec *spec)
{
    const struct pm_engine_spec *engine = pm_config_engine(config, spec->engine);
    char text[256];

    if (!engine) {
        (void)snprintf(text, sizeof(text),
                       "pool '%s' names the engine '%.48s', which is not in 'engines'", spec->id,
                       spec->engine);
        error_at(errors, map, "engine", key, text);
        return;
    }
    if (engine->family == PM_FAMILY_EXTERNAL && spec->n_replicas != 1)
        pm_config_error_at(errors, key->line, key->column,
                           "pool '%s': its engine is external and has one address: one replica",
                           spec->id);
    if (engine->family == PM_FAMILY_LLAMA_CPP && !spec->model.main)
        pm_config_error_at(errors, key->line, key->column, "pool '%s' has no 'model'", spec->id);
}

/* SUP-4: more than 10 failed starts in a minute, with the shortest delays that jitter allows? */
static bool allows_storm(const struct pm_pool_spec *spec)
{
    double at = 0, delay = (double)spec->backoff.base_ms;

    for (unsigned n = 2; n <= 11; n++) {
        at += delay * (1 - spec->backoff.jitter);
        delay = delay * 2 < (double)spec->backoff.cap_ms ? delay * 2 : (double)spec->backoff.cap_ms;
    }
    return at < 60000;
}

void pm_check_storm(struct pm_config *config, const struct pm_pool_spec *spec)
{
    pm_auto_free char *text = NULL;

    if (!allows_storm(spec))
        return;
    text = pm_xasprintf("pool '%s': its backoff allows more than 10 failed starts in a minute; "
                        "raise base or cap, or lower jitter",
                        spec->id);
    pm_strv_add(&config->warnings, text);
}

/* SPLIT-1: one ratio a device, and nothing is left over. */
static void check_split(struct pm_config_errors *errors, const struct pm_yaml *key,
                        const struct pm_yaml *map, const struct pm_pool_spec *spec)
{
    const struct pm_yaml *node = map ? pm_yaml_get(map, "tensor_split") : NULL;
    const char *text = spec->tensor_split;
    double sum = 0;
    size_t n = 0;

    if (*text != '[')
        return;
    while (*text != '\0' && *text != ']') {
        char *end;

        sum += strtod(text + 1, &end);
        n++;
        text = end;
    }
    node = node ? node : key;
    if (fabs(sum - 1) > 1e-6)
        pm_config_error_at(errors, node->line, node->column,
                           "'tensor_split' in pool '%s' has a sum of %.9g: ratios are parts of 1",
                           spec->id, sum);
    else if (spec->mask.n > 0 && n != spec->mask.n)
        pm_config_error_at(errors, node->line, node->column,
                           "'tensor_split' in pool '%s' has %zu ratios, and 'devices' %zu devices: "
                           "give one for each",
                           spec->id, n, spec->mask.n);
}

void pm_check_pool(struct pm_config_errors *errors, const struct pm_yaml *key,
                   const struct pm_yaml *map, const struct pm_config *config,
                   const struct pm_pool_spec *spec)
{
    check_names(errors, key, spec);
    check_split(errors, key, map->kind == PM_YAML_MAP ? map : NULL, spec);
    check_engine_of(errors, key, map->kind == PM_YAML_MAP ? map : NULL, config, spec);
}

/* ---- the whole -------------------------------------------------------------------------------------- */

static bool is_loopback(const char *address)
{
    return pm_str_starts(address, "unix:") || pm_str_starts(address, "127.") ||
           pm_str_starts(address, "localhost:") || pm_str_starts(address, "[::1]:");
}

static bool port_valid(const char *address)
{
    const char *colon = strrchr(address, ':');
    uint64_t port;

    return pm_str_starts(address, "unix:/") ||
           (colon && pm_parse_u64(colon + 1, &port) && port <= 65535);
}

static void check_listen(struct pm_config_errors *errors, const struct pm_yaml *node,
                         const struct pm_strv *addresses)
{
    for (size_t i = 0; i < addresses->n; i++) {
        const char *address = addresses->items[i];

        if (!port_valid(address))
            pm_config_error_at(
                errors, node ? node->line : 0, node ? node->column : 0,
                "'%.64s' is no address; write 127.0.0.1:8080, [::1]:8080 or unix:/path", address);
        else if (!is_loopback(address))
            pm_config_error_at(errors, node ? node->line : 0, node ? node->column : 0,
                               "'%.64s' is not loopback: listening there needs keys, which are not "
                               "built yet; put a proxy "
                               "that checks them in front of 127.0.0.1",
                               address);
        else if (pm_str_starts(address, "unix:") && strlen(address + 5) > SOCKET_PATH_MAX)
            pm_config_error_at(errors, node ? node->line : 0, node ? node->column : 0,
                               "'%.64s…' has %zu bytes; a socket's path has at most %d", address,
                               strlen(address + 5), SOCKET_PATH_MAX);
    }
}

void pm_check_path_lengths(struct pm_config_errors *errors, const struct pm_yaml *pools,
                           const struct pm_config *config)
{
    for (size_t i = 0; i < config->n_pools; i++) {
        const char *id = config->pools[i]->id;
        size_t n = strlen(config->runtime_dir) + strlen("/instances/") + strlen(id) + 1 +
                   INSTANCE_DIGITS + 1 + strlen(LONGEST_SOCKET);
        const struct pm_yaml *node = pools ? pm_yaml_get(pools, id) : NULL;

        if (n > SOCKET_PATH_MAX)
            pm_config_error_at(errors, node ? node->line : 0, node ? node->column : 0,
                               "pool '%s': its sockets below '%s' would have %zu bytes; a socket's "
                               "path has at most %d: "
                               "shorten the id or runtime_dir",
                               id, config->runtime_dir, n, SOCKET_PATH_MAX);
    }
}

static void check_ids_and_aliases(struct pm_config_errors *errors, const struct pm_yaml *pools,
                                  const struct pm_config *config)
{
    for (size_t i = 0; i < config->n_pools; i++) {
        for (size_t j = 0; j < config->n_pools; j++) {
            const struct pm_yaml *node = pools ? pm_yaml_get(pools, config->pools[j]->id) : NULL;

            if (i != j && pm_strv_contains(&config->pools[j]->aliases, config->pools[i]->id))
                pm_config_error_at(errors, node ? node->line : 0, node ? node->column : 0,
                                   "pool '%s': the alias '%s' is another pool's id",
                                   config->pools[j]->id, config->pools[i]->id);
        }
    }
}

void pm_check_config(struct pm_config_errors *errors, const struct pm_yaml *root,
                     const struct pm_config *config)
{
    const struct pm_yaml *pools = pm_yaml_get(root, "pools");
    bool found = !config->default_pool[0];

    for (size_t i = 0; i < config->n_pools && !found; i++)
        found = strcmp(config->pools[i]->id, config->default_pool) == 0;
    if (!found)
        error_at(errors, root, "default_pool", NULL,
                 "'default_pool' names a pool that is not in 'pools'");
    check_listen(errors, pm_yaml_get(root, "listen"), &config->listen);
    check_listen(errors, pm_yaml_get(root, "data_listen"), &config->data_listen);
    pm_check_path_lengths(errors, pools, config);
    check_ids_and_aliases(errors, pools, config);
}
