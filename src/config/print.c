/* SPDX-License-Identifier: Apache-2.0 */
/* What the table of settings prints: a schema, a page of documentation, a plan for people. */
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"
#include "util/cleanup.h"

/* ---- JSON Schema ------------------------------------------------------------------------------------ */

static json_t *words_schema(const char *words)
{
    json_t *values = json_array();

    for (;;) {
        size_t n = strcspn(words, "|");

        (void)json_array_append_new(values, json_stringn(words, n));
        if (!words[n])
            break;
        words += n + 1;
    }
    return json_pack("{s:o}", "enum", values);
}

static json_t *map_schema(const struct pm_setting *rows);

static json_t *setting_schema(const struct pm_setting *row)
{
    json_t *schema;

    switch (row->type) {
    case PM_BOOL: schema = json_pack("{s:s}", "type", "boolean"); break;
    case PM_UINT:
        schema = json_pack("{s:s,s:I}", "type", "integer", "minimum", (json_int_t)row->least);
        if (row->most)
            (void)json_object_set_new(schema, "maximum", json_integer((json_int_t)row->most));
        break;
    case PM_DURATION:
        schema = json_pack("{s:[s,s],s:s}", "type", "string", "integer", "pattern",
                           "^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$");
        break;
    case PM_BYTES:
        schema = json_pack("{s:[s,s],s:s}", "type", "string", "integer", "pattern",
                           "^(0|[0-9]+([KMGT]i?)?B)$");
        break;
    case PM_SHARE: schema = json_pack("{s:[s,s]}", "type", "string", "number"); break;
    case PM_WORD: schema = words_schema(row->words); break;
    case PM_LIST:
        schema =
            json_pack("{s:[s,s],s:{s:s}}", "type", "array", "string", "items", "type", "string");
        break;
    case PM_PAIRS:
        schema = json_pack("{s:s,s:{s:[s,s,s]}}", "type", "object", "additionalProperties", "type",
                           "string", "number", "boolean");
        break;
    case PM_GROUP: schema = map_schema(row->rows); break;
    case PM_GROUPS:
        schema = json_pack("{s:s,s:o}", "type", "array", "items", map_schema(row->rows));
        break;
    case PM_NAMED:
        schema =
            json_pack("{s:s,s:o}", "type", "object", "additionalProperties", map_schema(row->rows));
        break;
    case PM_SIZES:
        schema =
            json_pack("{s:[{s:[s,s]},{s:s,s:{s:[s,s]}}]}", "anyOf", "type", "string", "integer",
                      "type", "object", "additionalProperties", "type", "string", "integer");
        break;
    case PM_RAW: schema = json_object(); break;
    default: schema = json_pack("{s:s}", "type", "string"); break;
    }
    /* A model may be just its file. */
    if (row->type == PM_GROUP && row->rows[0].type == PM_MODEL_REF)
        schema = json_pack("{s:[{s:s},o]}", "anyOf", "type", "string", schema);
    (void)json_object_set_new(schema, "description", json_string(row->help));
    if (row->fallback && row->type != PM_GROUP)
        (void)json_object_set_new(schema, "default",
                                  row->type == PM_BOOL   ? json_boolean(row->fallback[0] == 't')
                                  : row->type == PM_UINT ? json_integer(atoll(row->fallback))
                                                         : json_string(row->fallback));
    return schema;
}

static json_t *map_schema(const struct pm_setting *rows)
{
    json_t *properties = json_object();

    for (; rows->name; rows++)
        (void)json_object_set_new(properties, rows->name, setting_schema(rows));
    return json_pack("{s:s,s:b,s:o}", "type", "object", "additionalProperties", 0, "properties",
                     properties);
}

void pm_config_schema(struct pm_buf *out)
{
    json_t *schema = map_schema(pm_top_settings);
    pm_auto_free char *text = NULL;

    (void)json_object_set_new(schema, "$schema",
                              json_string("https://json-schema.org/draft/2020-12/schema"));
    (void)json_object_set_new(schema, "title", json_string("poolmgr configuration"));
    text = json_dumps(schema, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(schema);
    pm_buf_addf(out, "%s\n", text);
}

/* ---- documentation ---------------------------------------------------------------------------------- */

static const char *type_name(const struct pm_setting *row)
{
    static const char *const names[] = {
        [PM_BOOL] = "true, false",    [PM_UINT] = "number",           [PM_DURATION] = "duration",
        [PM_BYTES] = "size",          [PM_SHARE] = "share",           [PM_TEXT] = "text",
        [PM_PATH] = "path",           [PM_MODEL_REF] = "path",        [PM_WORD] = "word",
        [PM_LIST] = "list",           [PM_PAIRS] = "names and texts", [PM_GROUP] = "map",
        [PM_GROUPS] = "list of maps", [PM_NAMED] = "names and maps",  [PM_RAW] = "any",
        [PM_SIZES] = "size, or map",
    };

    if (row->type == PM_SIZES && row->shape == PM_SHAPE_MAP)
        return "names and sizes";
    return names[row->type];
}

static void add_words(const struct pm_setting *row, struct pm_buf *out)
{
    const char *p = row->words;

    for (;;) {
        size_t n = strcspn(p, "|");

        pm_buf_addf(out, "%s`%.*s`", p == row->words ? "" : ", ", (int)n, p);
        if (!p[n])
            return;
        p += n + 1;
    }
}

static void add_rows(const struct pm_setting *rows, const char *prefix, struct pm_buf *out)
{
    for (; rows->name; rows++) {
        bool group = rows->type == PM_GROUP && rows->rows != pm_pool_settings;

        pm_buf_addf(out, "| `%s%s` | ", prefix, rows->name);
        if (rows->type == PM_WORD)
            add_words(rows, out);
        else
            pm_buf_adds(out, type_name(rows));
        if (rows->fallback && rows->fallback[0])
            pm_buf_addf(out, " | `%s`", rows->fallback);
        else
            pm_buf_adds(out, " | ");
        pm_buf_addf(out, " | %s%s%s |\n", rows->help, rows->restart ? " *(needs a restart)*" : "",
                    rows->later && rows->type != PM_GROUP ? " *(no effect yet)*" : "");
        if (group || rows->type == PM_GROUPS) {
            pm_auto_free char *inner = pm_xasprintf("%s%s.", prefix, rows->name);

            add_rows(rows->rows, inner, out);
        }
    }
}

static void add_table(const char *title, const char *text, const struct pm_setting *rows,
                      struct pm_buf *out)
{
    pm_buf_addf(
        out,
        "\n## %s\n\n%s\n\n| key | value | default | what it does |\n| --- | --- | --- | --- |\n",
        title, text);
    add_rows(rows, "", out);
}

void pm_config_docs(struct pm_buf *out)
{
    pm_buf_adds(out, "# The configuration file\n\n"
                     "One YAML file: `--config`, else `POOLMGR_CONFIG`, else "
                     "`/etc/poolmgr/config.yaml` for root and "
                     "`~/.config/poolmgr/config.yaml` for a user. `poolctl config check` reads it "
                     "as the daemon would, and "
                     "names the file, line and column of every mistake. This page is printed from "
                     "the table that reads it.\n\n"
                     "Durations are `500ms 10s 15m 1h30m 7d`, sizes `64MiB 7GiB 5GB`; a bare "
                     "number is a count, or `0`. "
                     "Relative paths start at the file's folder, `~/` at home. `${env:NAME}` and "
                     "`${env:NAME:-text}` stand "
                     "for variables. Aliases (`&a`, `*a`) work; tags, `<<` and a second document "
                     "are refused.\n\n"
                     "On `SIGHUP` the daemon reads the file again. All of it is in force, or, with "
                     "any mistake, nothing: "
                     "`config_refused` names every one. What the file says the same of goes on: "
                     "pools that were not edited keep "
                     "their engines and streams, and one whose engine would see a difference is "
                     "reloaded. What *needs a restart* "
                     "keeps its value until then, and is warned of.\n");
    add_table("Top level",
              "Folders come from the command line, `POOLMGR_RUNTIME_DIR` and its like, systemd, "
              "the file, "
              "or the default, in this order.",
              pm_top_settings, out);
    add_table("Engines", "Each under its name in `engines`.", pm_engine_settings, out);
    add_table("Pools",
              "Each under its id in `pools`: 1 to 48 of `a-z 0-9 . _ -`. Only `model` is needed. "
              "Keys in `defaults` hold "
              "for all pools.",
              pm_pool_settings, out);
}

/* ---- a plan for people ------------------------------------------------------------------------------ */

static void describe_place(const struct pm_config *config, const struct pm_pool_spec *pool,
                           struct pm_buf *out)
{
    bool all = pool->vram.devices.n > 1 || (pool->where && pm_mask_is_one(pool->where));

    if (strcmp(pool->devices, "cpu") == 0)
        pm_buf_adds(out, "on the CPU");
    else if (pool->tensor_split[0] == '[')
        pm_buf_addf(out, "split %s over %s", pool->tensor_split, pool->devices);
    else if (all && pool->where)
        pm_buf_addf(out, "on device %s", pool->devices);
    else
        pm_buf_addf(out, "on one device%s%s%s",
                    strcmp(pool->tensor_split, "auto") == 0 ? " or more" : "",
                    pool->where ? " of " : "", pool->where ? pool->devices : "");
    if (strcmp(pool->devices, "auto") == 0 && !pm_config_declares_gpus(config))
        pm_buf_adds(out, ", or on the CPU where there is none");
}

static void describe_devices(const struct pm_config *config, const struct pm_pool_spec *pool,
                             struct pm_buf *out)
{
    const struct pm_device_sizes *vram = &pool->vram;
    char size[32];

    pm_buf_adds(out, "  runs:    ");
    describe_place(config, pool, out);
    for (size_t i = 0; i < vram->devices.n; i++)
        pm_buf_addf(out, ", %s of %s", pm_print_bytes(size, sizeof(size), vram->bytes[i]),
                    vram->devices.items[i]);
    if (vram->devices.n == 0 && vram->each > 0)
        pm_buf_addf(out, ", %s%s", pm_print_bytes(size, sizeof(size), vram->each),
                    pool->tensor_split[0] == '[' ? " of each" : "");
    pm_buf_adds(out, "\n");
}

/* One size for all is not for the CPU. */
static uint64_t kept_free(const struct pm_config *config, const char *device)
{
    uint64_t bytes = strcmp(device, "cpu") == 0 ? 0 : config->devices.reserve.each;

    (void)pm_device_size_named(&config->devices.reserve, device, &bytes);
    return bytes;
}

static void describe_declared(const struct pm_config *config, struct pm_buf *out)
{
    const struct pm_device_sizes *declared = &config->devices.declared;
    char size[32], reserve[32];

    for (size_t i = 0; i < declared->devices.n; i++)
        pm_buf_addf(out, "device %s:      %s, %s of it kept free\n", declared->devices.items[i],
                    pm_print_bytes(size, sizeof(size), declared->bytes[i]),
                    pm_print_bytes(reserve, sizeof(reserve),
                                   kept_free(config, declared->devices.items[i])));
}

void pm_config_describe(const struct pm_config *config, struct pm_buf *out)
{
    char idle[32];

    pm_buf_addf(out, "configuration: %s\n", config->path ? config->path : "none; defaults");
    for (size_t i = 0; i < config->listen.n; i++)
        pm_buf_addf(out, "listens on:    %s\n", config->listen.items[i]);
    pm_buf_addf(out, "runtime:       %s\nlogs:          %s\n", config->runtime_dir,
                config->log_dir);
    describe_declared(config, out);
    for (size_t i = 0; i < config->n_pools; i++) {
        const struct pm_pool_spec *pool = config->pools[i];
        const struct pm_engine_spec *engine = pm_config_engine(config, pool->engine);
        bool stays = pool->start == PM_PRELOAD || pool->idle_ttl_ms == 0;

        pm_buf_addf(out, "\n%s\n  model:   %s\n  engine:  %s%s%s%s\n", pool->id,
                    pool->model.main ? pool->model.main : "-", pool->engine,
                    engine->path ? " (" : "", engine->path ? engine->path : "",
                    engine->path ? ")" : "");
        pm_buf_addf(out, "  serves:  %llu request%s at once, %llu tokens each\n",
                    (unsigned long long)pool->n_slots, pool->n_slots == 1 ? "" : "s",
                    (unsigned long long)pool->context);
        describe_devices(config, pool, out);
        pm_buf_addf(out, "  starts:  %s; %s%s\n",
                    pool->start == PM_PRELOAD ? "with the daemon" : "with the first request",
                    stays ? "never stops by itself" : "stops when idle for ",
                    stays ? "" : pm_print_duration(idle, sizeof(idle), pool->idle_ttl_ms));
        for (size_t j = 0; j < pool->aliases.n; j++)
            pm_buf_addf(out, "  alias:   %s\n", pool->aliases.items[j]);
    }
    for (size_t i = 0; i < config->warnings.n; i++)
        pm_buf_addf(out, "\nwarning: %s\n", config->warnings.items[i]);
    for (size_t i = 0; i < config->no_effect_yet.n; i++)
        pm_buf_addf(out, "%s%s",
                    i ? ", " : "\nwithout effect yet: ", config->no_effect_yet.items[i]);
    if (config->no_effect_yet.n)
        pm_buf_adds(out, "\n");
}
