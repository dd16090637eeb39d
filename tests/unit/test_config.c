/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: every row of the table, every refusal with its place (CONF-1, REG-2, AUTH-1, SUP-4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "config/config.h"
#include "config/settings.h"
#include "util/cleanup.h"
#include "util/file.h"

PM_DEFINE_AUTO(struct pm_config *, pm_config_free)

static struct pm_config_errors errors;

static struct pm_config *parse_with(const char *text, const struct pm_config_overrides *overrides)
{
    struct pm_config *config = NULL;
    struct poolmgr_error err = {0};

    (void)pm_config_parse(text, strlen(text), "config.yaml", "/home/fox", overrides, &config,
                          &errors, &err);
    return config;
}

static struct pm_config *parse(const char *text)
{
    return parse_with(text, NULL);
}

/* Refused, with exactly this as an error: "line:column: message" (a prefix of the message). */
static void assert_refused(const char *text, const char *wanted)
{
    struct pm_config *config = parse(text);
    char line[POOLMGR_MESSAGE_MAX + 32];

    assert_null(config);
    for (size_t i = 0; i < errors.n; i++) {
        (void)snprintf(line, sizeof(line), "%u:%u: %s", errors.items[i].line,
                       errors.items[i].column, errors.items[i].message);
        if (strncmp(line, wanted, strlen(wanted)) == 0)
            return;
        print_error("%s\n", line);
    }
    fail_msg("wanted: %s", wanted);
}

static void test_an_empty_file_is_a_configuration_without_pools(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = parse("");

    (void)state;
    assert_non_null(config);
    assert_int_equal(config->n_pools, 0);
    assert_string_equal(config->listen.items[0], "127.0.0.1:8080");
    assert_non_null(pm_config_engine(config, "llama"));
    assert_int_equal(config->no_effect_yet.n, 0);
}

static void test_only_a_model_is_needed_and_everything_else_has_its_default(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("pools: { tiny: { model: tiny.gguf } }");
    const struct pm_pool_spec *pool;

    (void)state;
    assert_non_null(config);
    pool = config->pools[0];
    assert_string_equal(pool->id, "tiny");
    assert_string_equal(pool->model.main, "/home/fox/tiny.gguf");
    assert_int_equal(pool->n_slots, 4);
    assert_int_equal(pool->context, 8192);
    assert_int_equal(pool->idle_ttl_ms, 900000);
    assert_int_equal(pool->queue.max_age_ms, 600000);
    assert_int_equal(config->timeouts.first_byte_ms, 600000);
    assert_int_equal(config->limits.body, 64 << 20);
    assert_true(config->retry.budget > 0.19 && config->retry.budget < 0.21);
}

/* The defaults stand in core's spec and in the table: they must be the same. */
static void walk_defaults(const struct pm_setting *rows, void *by_table, void *by_core)
{
    json_t *a, *b;

    pm_settings_defaults(rows, by_table);
    a = pm_settings_dump(rows, by_table);
    b = pm_settings_dump(rows, by_core);
    for (; rows->name; rows++) {
        if (rows->type != PM_RAW && rows->offset != PM_UNSTORED && rows->fallback)
            assert_true(json_equal(json_object_get(a, rows->name), json_object_get(b, rows->name)));
    }
    json_decref(a);
    json_decref(b);
}

static void test_the_defaults_of_the_table_are_those_of_core(void **state)
{
    struct pm_pool_spec *by_core = pm_pool_spec_new("a"), *by_table = pm_pool_spec_new("a");

    (void)state;
    walk_defaults(pm_pool_settings, by_table, by_core);
    pm_pool_spec_unref(by_core);
    pm_pool_spec_unref(by_table);
}

/* A value that no row of this type takes. */
static const char *wrong_value(enum pm_setting_type type)
{
    switch (type) {
    case PM_BOOL: return "yes";
    case PM_UINT: return "-1";
    case PM_DURATION: return "10";
    case PM_BYTES: return "64";
    case PM_SHARE: return "120%";
    case PM_WORD: return "nonsense";
    case PM_PAIRS: return "[a]";
    case PM_LIST: return "{ a: b }";
    case PM_GROUP:
    case PM_GROUPS: return "nonsense";
    case PM_TEXT:
    case PM_PATH:
    case PM_MODEL_REF: return "[a]";
    default: return NULL;
    }
}

/* Each row, below `prefix`, refuses a wrong value at the value's own line and column. */
static void walk_refusals(const struct pm_setting *rows, const char *prefix, unsigned depth)
{
    for (; rows->name; rows++) {
        const char *value = wrong_value(rows->type);
        char text[512], wanted[64];

        if (rows->type == PM_GROUP && rows->rows[0].type == PM_MODEL_REF)
            continue; /* a model may be a text */
        if (rows->type == PM_GROUP && rows->offset != PM_UNSTORED && depth < 3) {
            (void)snprintf(text, sizeof(text), "%s%*s%s:\n", prefix, (int)depth * 2, "",
                           rows->name);
            walk_refusals(rows->rows, text, depth + 1);
        }
        if (!value || rows->offset == PM_UNSTORED)
            continue;
        (void)snprintf(text, sizeof(text), "%s%*s%s: %s\n", prefix, (int)depth * 2, "", rows->name,
                       value);
        {
            unsigned lines = 0;

            for (const char *p = text; *p; p++)
                lines += *p == '\n';
            (void)snprintf(wanted, sizeof(wanted), "%u:%u: ", lines,
                           (unsigned)(depth * 2 + strlen(rows->name) + 3));
        }
        assert_refused(text, wanted);
    }
}

static void test_every_row_refuses_a_wrong_value_where_it_stands(void **state)
{
    (void)state;
    walk_refusals(pm_top_settings, "", 0);
    walk_refusals(pm_pool_settings, "pools:\n  tiny:\n", 2);
    walk_refusals(pm_engine_settings, "engines:\n  mine:\n", 2);
}

static void test_what_has_no_effect_yet_is_checked_like_any_other(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = parse(
        "pools: { a: { model: m, filters: { strip: [top_k], set: { temperature: 0.2 } } } }\n");

    (void)state;
    assert_non_null(config);
    assert_refused("pools: { a: { model: m, tensor_split: some } }\n", "1:39: ");
    assert_refused("pools: { a: { model: m, tensor_split: [0, 1] } }\n", "1:39: ");
    assert_refused("pools: { a: { model: m, filters: 3 } }\n", "1:34: ");
    assert_refused("pools: { a: { model: m, filters: { stripe: [] } } }\n",
                   "1:36: unknown key 'stripe' in 'filters' in pool 'a'; did you mean 'strip'?");
    assert_refused("pools: { a: { model: m, filters: { set: [] } } }\n", "1:41: ");
}

static void test_an_unknown_key_is_refused_with_a_suggestion(void **state)
{
    (void)state;
    assert_refused("pools:\n  tiny:\n    model: x\n    slotz: 4\n",
                   "4:5: unknown key 'slotz' in pool 'tiny'; did you mean 'slots'?");
    assert_refused("colour: red\n", "1:1: unknown key 'colour'");
    assert_refused("pools:\n  a:\n    model: x\n    probe: { evry: 1s }\n",
                   "4:14: unknown key 'evry' in 'probe' in pool 'a'; did you mean 'every'?");
}

static void test_all_errors_come_at_once_and_at_most_twenty_are_kept(void **state)
{
    char text[4096] = "";

    (void)state;
    for (int i = 0; i < 30; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "unknown%d: 1\n", i);
    assert_null(parse(text));
    assert_int_equal(errors.n, PM_CONFIG_ERRORS_MAX);
    assert_int_equal(errors.n_more, 10);
}

static void test_what_yaml_can_do_and_we_do_not_read_is_refused(void **state)
{
    (void)state;
    assert_refused("pools:\n  a: { model: x }\n  a: { model: y }\n",
                   "3:3: 'a' is given twice, first in line 2");
    assert_refused("pools:\n  a: { model: x }\n  a: { model: y }\n  b: { slotz: 1 }\n",
                   "4:8: unknown key 'slotz'");
    assert_refused("pools:\n  a: !!str x\n", "2:6: tags");
    assert_refused("x: &d { model: x }\npools:\n  a:\n    <<: *d\n", "4:5: merge keys");
    assert_refused("pools: {}\n---\npools: {}\n", "2:1: a second document");
    assert_refused("pools: {\n", "2:1: not YAML");
    assert_refused("- a\n", "1:1: the file must be a map");
    assert_refused("pools: *nowhere\n", "1:8: an alias");
}

static void test_aliases_work_and_do_not_blow_up(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("pools:\n  a: { model: x, probe: &p { every: 5s } }\n  b: { model: y, probe: *p }\n");
    char text[4096] = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";

    (void)state;
    assert_non_null(config);
    assert_int_equal(config->pools[1]->probe.every_ms, 5000);
    for (int i = 1; i < 10; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
                       "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                       i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    assert_null(parse(text));
    assert_non_null(strstr(errors.items[0].message, "100000 values"));
}

static void test_types_come_from_the_table_and_not_from_yaml(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("pools:\n  \"1\": { model: on, engine: llama, aliases: [yes, 1.5, null] }\n");

    (void)state;
    assert_non_null(config);
    assert_string_equal(config->pools[0]->model.main, "/home/fox/on");
    assert_string_equal(config->pools[0]->aliases.items[0], "yes");
    assert_string_equal(config->pools[0]->aliases.items[1], "1.5");
}

static void test_variables_are_read_and_missing_ones_are_errors(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = NULL;

    (void)state;
    assert_int_equal(setenv("PM_TEST_MODEL", "m.gguf", 1), 0);
    assert_int_equal(unsetenv("PM_TEST_NOT_SET"), 0);
    config = parse("pools: { a: { model: \"/models/${env:PM_TEST_MODEL}\", engine: "
                   "\"${env:PM_TEST_NOT_SET:-llama}\" } }");
    assert_non_null(config);
    assert_string_equal(config->pools[0]->model.main, "/models/m.gguf");
    assert_string_equal(config->pools[0]->engine, "llama");
    assert_refused("pools:\n  a: { model: \"${env:PM_TEST_NOT_SET}\" }\n",
                   "2:15: the environment has no 'PM_TEST_NOT_SET'");
}

static void test_defaults_come_first_and_maps_merge(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("defaults: { context: 100, env: { A: a, B: b }, args: [--one] }\n"
              "pools: { x: { model: m, env: { B: other }, args: [--two] }, y: { model: m } }\n");

    (void)state;
    assert_non_null(config);
    assert_int_equal(config->pools[0]->context, 100);
    assert_int_equal(config->pools[0]->env.names.n, 2);
    assert_string_equal(config->pools[0]->env.values.items[1], "other");
    assert_int_equal(config->pools[0]->args.n, 1);
    assert_string_equal(config->pools[0]->args.items[0], "--two");
    assert_string_equal(config->pools[1]->args.items[0], "--one");
    assert_refused("defaults: { model: x }\n", "1:20: 'model' belongs to one pool");
}

static void test_an_alias_may_stand_in_several_pools(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("pools:\n  a: { model: x, aliases: [z] }\n  b: { model: x, aliases: [z] }\n");

    (void)state;
    assert_int_equal(config->n_pools, 2);
    assert_string_equal(config->pools[0]->aliases.items[0], "z");
    assert_string_equal(config->pools[1]->aliases.items[0], "z");
}

static void test_names_are_checked(void **state)
{
    (void)state;
    assert_refused("pools:\n  Tiny: { model: x }\n", "2:3: 'Tiny' is no pool's id");
    assert_refused("pools:\n  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: { model: x }\n",
                   "2:3: ");
    assert_refused("pools:\n  a: { model: x, aliases: [b] }\n  b: { model: x }\n",
                   "2:6: pool 'a': the alias 'b' is another pool's id");
    assert_refused("pools:\n  a: { model: x, engine: nobody }\n",
                   "2:26: pool 'a' names the engine 'nobody'");
    assert_refused("default_pool: b\npools: { a: { model: x } }\n",
                   "1:15: 'default_pool' names a pool");
    assert_refused("pools: { a: {} }\n", "1:10: pool 'a' has no 'model'");
}

static void test_selectors_are_ours(void **state)
{
    (void)state;
    assert_refused("pools:\n  a: { model: x, env: { CUDA_VISIBLE_DEVICES: 0 } }\n",
                   "2:25: 'env' in pool 'a' may not name 'CUDA_VISIBLE_DEVICES'");
    assert_refused("pools:\n  a: { model: x, env: { POOLMGR_X: 0 } }\n", "2:25: ");
}

#define DECLARED "devices: { declared: { 0: 24GiB, 1: 12GiB } }\n"

static void test_declared_devices_masks_and_sizes_are_read(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("devices: { reserve: { 1: 2GiB }, declared: { 0: 24GiB, 1: 12GiB } }\n"
              "evict: { max_wait: 3s, min_residency: 4s }\n"
              "defaults: { vram: 7GiB }\n"
              "pools: { a: { model: m, pinned: true }, b: { model: m, devices: \"1,0\", vram: { 0: "
              "1GiB, 1: 2GiB } }, c: { model: m, devices: cpu } }\n");

    (void)state;
    assert_non_null(config);
    assert_int_equal(pm_device_size(&config->devices.declared, "1"), UINT64_C(12) << 30);
    assert_int_equal(pm_device_size(&config->devices.reserve, "0"), UINT64_C(1) << 30);
    assert_int_equal(pm_device_size(&config->devices.reserve, "1"), UINT64_C(2) << 30);
    assert_int_equal(config->devices.quarantine_ms, 300000);
    assert_int_equal(config->evict.max_wait_ms, 3000);
    assert_int_equal(config->evict.min_residency_ms, 4000);
    assert_int_equal(config->pools[0]->mask.n, 0);
    assert_int_equal(config->pools[0]->vram.each, UINT64_C(7) << 30);
    assert_int_equal(config->pools[1]->mask.n, 2);
    assert_string_equal(config->pools[1]->mask.items[0], "1");
    assert_int_equal(pm_device_size(&config->pools[1]->vram, "1"), UINT64_C(2) << 30);
    assert_non_null(strstr(config->pools[1]->text, "\"vram\":{\"0\":\"1GiB\",\"1\":\"2GiB\"}"));
    assert_int_equal(config->no_effect_yet.n, 0);
    assert_int_equal(config->warnings.n, 0);
}

/* GPUs are looked for all the same, and what is kept free of each of them is not for the CPU. */
static void test_the_cpu_may_be_declared_and_have_a_reserve(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = parse(
        "devices: { reserve: { cpu: 2GiB }, declared: { cpu: 16GiB } }\n"
        "pools: { a: { model: m, devices: cpu, vram: 7GiB }, b: { model: m, devices: \"3\" } }\n");
    pm_auto(pm_config_free) struct pm_config *both = parse(
        "devices: { declared: { cpu: 16GiB, 0: 24GiB } }\n"
        "pools: { a: { model: m, vram: 20GiB }, b: { model: m, devices: cpu, vram: 20GiB } }\n");
    uint64_t bytes = 0;

    (void)state;
    assert_non_null(config);
    assert_false(pm_config_declares_gpus(config));
    assert_true(pm_device_size_named(&config->devices.declared, "cpu", &bytes));
    assert_int_equal(bytes, UINT64_C(16) << 30);
    assert_true(pm_device_size_named(&config->devices.reserve, "cpu", &bytes));
    assert_int_equal(bytes, UINT64_C(2) << 30);
    assert_int_equal(config->devices.reserve.each, UINT64_C(1) << 30);
    assert_non_null(both);
    assert_true(pm_config_declares_gpus(both));
    assert_false(pm_device_size_named(&both->devices.reserve, "cpu", &bytes));
    assert_int_equal(both->warnings.n, 0);
    assert_refused("devices: { declared: { cpu: 0 } }\n", "1:24: device 'cpu' has no memory");
    assert_refused("devices: { declared: { none: 1GiB } }\n", "1:24: 'none' in 'declared'");
    assert_refused(DECLARED "pools: { a: { model: m, devices: \"0\", vram: { cpu: 1GiB } } }\n",
                   "2:47: 'vram' in pool 'a' names device 'cpu', which is not in its 'devices'");
}

static void test_room_has_effect_without_declared_devices(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("evict: { max_wait: 3s }\ndevices: { reserve: 2GiB }\n"
              "pools: { a: { model: m, vram: 7GiB, pinned: true } }\n");

    (void)state;
    assert_non_null(config);
    assert_int_equal(config->no_effect_yet.n, 0);
}

static void test_masks_and_sizes_that_name_no_device_are_refused_where_they_stand(void **state)
{
    (void)state;
    assert_refused("devices: { reserve: 1 }\n", "1:21: ");
    assert_refused("devices: { reserve: [1GiB] }\n",
                   "1:21: 'reserve' in 'devices' must be a size, or a map of device and size");
    assert_refused("devices: { declared: 24GiB }\n",
                   "1:22: 'declared' in 'devices' must be a map of device and size");
    assert_refused("devices: { declared: { 0: 24 } }\n", "1:27: ");
    assert_refused("devices: { declared: { 0: 0 } }\n", "1:24: device '0' has no memory");
    assert_refused("devices: { declared: { \"a b\": 1GiB } }\n",
                   "1:25: 'a b' in 'declared' in 'devices' is no device");
    assert_refused("devices: { declared: { 0-1: 1GiB } }\n",
                   "1:24: '0-1' in 'declared' in 'devices' is no device, but several");
    assert_refused("devices: { declared: { GPU-1234: 1GiB } }\n",
                   "1:24: 'GPU-1234' cannot be declared: write its index");
    assert_refused("devices: { declared: { nvidia:0: 1GiB } }\n",
                   "1:24: 'nvidia:0' cannot be declared: write its index");
    assert_refused("devices: { declared: { 0: 24GiB }, reserve: { 1: 1GiB } }\n",
                   "1:47: 'reserve' names device '1', which is not in 'devices.declared'");
    assert_refused("devices: { declared: { 0: 24GiB }, reserve: { 0: 1GiB, nvidia:0: 1GiB } }\n",
                   "1:56: 'reserve' names device '0' twice");
    assert_refused("evict: { max_wait: 10 }\n", "1:20: ");
    assert_refused("pools: { a: { model: m, vram: 7 } }\n",
                   "1:31: 'vram' in pool 'a' is '7'; it must be a size");
    assert_refused("pools: { a: { model: m, vram: { 0: much } } }\n",
                   "1:36: 'vram' in pool 'a' is 'much'; it must be a size");
    assert_refused(DECLARED "pools: { a: { model: m, devices: \"0,7\" } }\n",
                   "2:37: 'devices' in pool 'a': there is no GPU 7 of nvidia here, but 2 others; "
                   "'devices.declared' has 0, 1");
    assert_refused(DECLARED "pools: { a: { model: m, devices: \"0,1,0\" } }\n",
                   "2:39: 'devices' in pool 'a': '0' names a device that '0' names");
    assert_refused(DECLARED "pools: { a: { model: m, devices: \"0,,1\" } }\n",
                   "2:37: 'devices' in pool 'a': a device is missing in the mask");
    assert_refused(DECLARED "pools: { a: { model: m, vram: { 7: 1GiB } } }\n",
                   "2:33: 'vram' in pool 'a' names device '7', which is not in");
    assert_refused(DECLARED "pools: { a: { model: m, devices: \"0\", vram: { 1: 1GiB } } }\n",
                   "2:47: 'vram' in pool 'a' names device '1', which is not in its 'devices'");
    assert_refused(DECLARED "pools: { a: { model: m, devices: \"0,1\", vram: { 1: 1GiB } } }\n",
                   "2:47: 'vram' in pool 'a' has no size for device '0'");
    assert_refused("gpu_only: true\npools: { a: { model: m, devices: cpu } }\n",
                   "2:34: pool 'a' is for the CPU, and 'gpu_only' is true");
}

/* MASK-1: read without devices, with the fault's own column wherever the text stands in the file. */
static void test_masks_of_devices_that_are_not_declared_are_read(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("defaults: { devices: \"amd:0\" }\n"
              "pools: { a: { model: m, devices: \"0-1\" }, b: { model: m }, c: { model: m, "
              "devices: auto }, "
              "d: { model: m, devices: none } }\n");

    (void)state;
    assert_non_null(config);
    assert_string_equal(pm_mask_text(config->pools[0]->where), "0-1");
    assert_int_equal(config->pools[0]->mask.n, 0);
    assert_string_equal(pm_mask_text(config->pools[1]->where), "amd:0");
    assert_null(config->pools[2]->where);
    assert_null(config->pools[3]->where);
    assert_string_equal(config->pools[3]->devices, "cpu");
    assert_non_null(strstr(config->pools[3]->text, "\"devices\":\"none\""));
}

static void test_a_fault_of_a_mask_has_its_column(void **state)
{
    (void)state;
    assert_refused("pools:\n  a: { model: x, devices: 0-128 }\n",
                   "2:27: 'devices' in pool 'a': range '0-128' has 129 indexes");
    assert_refused("pools:\n  a: { model: x, devices: '1gpu2' }\n", "2:29: 'devices' in pool 'a'");
    assert_refused("pools:\n  a: { model: x, devices: \"-1\" }\n",
                   "2:28: 'devices' in pool 'a': '-1' is below zero; write none for no device");
    assert_refused("pools:\n  a: { model: x, devices: \"\" }\n",
                   "2:28: 'devices' in pool 'a': the mask is empty; write none");
    /* Escapes, and lines: the value's own place. */
    assert_refused("pools:\n  a: { model: x, devices: \"0,\\x31,,\" }\n", "2:27: ");
    assert_refused("pools:\n  a:\n    model: x\n    devices: >-\n      0,,1\n", "4:14: ");
    assert_refused("pools: { a: { model: &m \"0,,1\", devices: *m } }\n", "1:22: ");
    assert_refused("defaults: { devices: '0,01' }\npools: { a: { model: x } }\n",
                   "1:25: 'devices' in pool 'a': '01' begins with a zero");
    assert_refused("gpu_only: true\npools: { a: { model: m, devices: none } }\n",
                   "2:34: pool 'a' is for the CPU, and 'gpu_only' is true");
}

#define UUID "GPU-8f6c1f8e-0000-1111-2222-333344445555"

/* However a device is written, it is the declared one. */
static void test_declared_devices_have_other_names_too(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = parse(
        "devices: { declared: { 0: 24GiB, " UUID ": 12GiB }, reserve: { GPU-8f6c: 2GiB } }\n"
        "pools: { a: { model: m, devices: \"GPU-8F6C1F8E;nvidia:0\", vram: { GPU-8f6c1: 1GiB, "
        "nvidia:0: 2GiB } }, b: { model: m, devices: all } }\n");

    (void)state;
    assert_non_null(config);
    assert_int_equal(pm_device_size(&config->devices.reserve, UUID), UINT64_C(2) << 30);
    assert_string_equal(config->pools[0]->mask.items[0], UUID);
    assert_string_equal(config->pools[0]->mask.items[1], "0");
    assert_int_equal(pm_device_size(&config->pools[0]->vram, UUID), UINT64_C(1) << 30);
    assert_int_equal(pm_device_size(&config->pools[0]->vram, "0"), UINT64_C(2) << 30);
    assert_non_null(strstr(config->pools[0]->text, "\"GPU-8f6c1\":\"1GiB\""));
    assert_int_equal(config->pools[1]->mask.n, 2);
}

/* PUT: the code of the mask, and its byte. */
static void test_a_pool_alone_is_refused_with_the_code_of_its_mask(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = parse("pools: {}\n");
    pm_auto_free struct pm_config_errors *found = pm_xalloc(sizeof(*found));
    json_t *pool = json_pack("{s:s, s:s}", "model", "m", "devices", "0,2,-1");
    struct pm_pool_spec *spec = NULL;
    struct poolmgr_error err = {0};

    (void)state;
    assert_int_equal(pm_config_pool(config, "a", pool, &spec, found, &err),
                     POOLMGR_E_MASK_NEGATIVE);
    assert_int_equal(err.code, POOLMGR_E_MASK_NEGATIVE);
    assert_true(err.has_offset);
    assert_int_equal(err.offset, 4);
    assert_string_equal(err.param, "devices");
    json_decref(pool);
}

static void test_the_same_devices_are_no_change(void **state)
{
    static const struct {
        const char *a, *b;
        enum pm_spec_change change;
    } rows[] = {
        {"0-1", "0,1", PM_SPEC_LIMITS},
        {"0-1", "1,0", PM_SPEC_LIMITS},
        {"0;nvidia:1", "nvidia:1;0", PM_SPEC_LIMITS},
        {"GPU-8f6c1f8e", "GPU-8F6C1F8E", PM_SPEC_LIMITS},
        {"0", "0-1", PM_SPEC_ENGINE},
        {"0-1", "0", PM_SPEC_ENGINE},
        {"0", "nvidia:0", PM_SPEC_ENGINE},
        {"0", "auto", PM_SPEC_ENGINE},
        {"cpu", "0", PM_SPEC_ENGINE},
        {"0:1", "1:0", PM_SPEC_ENGINE},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        pm_auto_free char *a =
            pm_xasprintf("pools: { a: { model: m, devices: '%s' } }\n", rows[i].a);
        pm_auto_free char *b =
            pm_xasprintf("pools: { a: { model: m, devices: '%s' } }\n", rows[i].b);
        pm_auto(pm_config_free) struct pm_config *one = parse(a), *other = parse(b);

        assert_int_equal(pm_spec_compare(one->pools[0], other->pools[0]), rows[i].change);
        one->pools[0]->tensor_split[0] = '['; /* which device gets what is then a matter of order */
        assert_int_equal(pm_spec_compare(one->pools[0], other->pools[0]), PM_SPEC_ENGINE);
    }
}

static void test_a_pool_that_never_fits_is_taken_with_a_warning(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse(DECLARED
              "pools: { a: { model: m, vram: 30GiB }, b: { model: m }, c: { model: m, "
              "devices: \"0,1\", vram: { 0: 12GiB, 1: 12GiB } }, d: { model: m, vram: 23GiB } }\n");

    (void)state;
    assert_non_null(config);
    assert_int_equal(config->warnings.n, 2);
    assert_string_equal(config->warnings.items[0],
                        "pool 'a' can never start: device 0 lacks 7516192768 bytes for it");
    assert_string_equal(config->warnings.items[1],
                        "pool 'c' can never start: device 1 lacks 1073741824 bytes for it");
}

static void test_bytes_that_nobody_names_or_estimates_are_warned_of(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse(DECLARED "engines: { mine: { family: command, argv: [/bin/e] } }\n"
                       "pools: { a: { engine: mine } }\n");

    (void)state;
    assert_non_null(config);
    assert_int_equal(config->warnings.n, 1);
    assert_string_equal(config->warnings.items[0],
                        "pool 'a' names no vram: what it needs on a device is not counted");
}

static void test_how_a_pool_is_split_is_read_SPLIT_1(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("pools: { a: { model: m, tensor_split: [0.67, 0.33] }, b: { model: m, tensor_split: "
              "auto }, c: { model: m } }\n");

    (void)state;
    assert_non_null(config);
    assert_string_equal(config->pools[0]->tensor_split, "[0.67,0.33]");
    assert_string_equal(config->pools[1]->tensor_split, "auto");
    assert_string_equal(config->pools[2]->tensor_split, "none");
    assert_non_null(strstr(config->pools[0]->text, "\"tensor_split\":[0.67,0.33]"));
    assert_non_null(strstr(config->pools[1]->text, "\"tensor_split\":\"auto\""));
    assert_refused("pools: { a: { model: m, tensor_split: [0.6, 0.3] } }\n",
                   "1:39: 'tensor_split' in pool 'a' has a sum of 0.9: ratios are parts of 1");
    assert_refused(
        DECLARED "pools: { a: { model: m, devices: '0', tensor_split: [0.5, 0.5] } }\n",
        "2:53: 'tensor_split' in pool 'a' has 2 ratios, and 'devices' 1 devices: give one for "
        "each");
}

static void test_listening_beyond_loopback_is_refused(void **state)
{
    (void)state;
    assert_refused("listen: 0.0.0.0:8080\n", "1:9: '0.0.0.0:8080' is not loopback");
    assert_refused("listen: [127.0.0.1:99999]\n", "1:9: '127.0.0.1:99999' is no address");
    assert_refused("listen: nonsense\n", "1:9: 'nonsense' is no address");
    assert_refused("data_listen: 0.0.0.0:9201\n", "1:14: '0.0.0.0:9201' is not loopback");
    assert_refused("data_listen: [nonsense]\n", "1:14: 'nonsense' is no address");
}

static void test_a_socket_path_that_is_too_long_is_refused_and_names_the_pool(void **state)
{
    struct pm_config *config = NULL;
    struct poolmgr_error err = {0};
    char text[256];

    (void)state;
    assert_int_equal(unsetenv("POOLMGR_RUNTIME_DIR"), 0);
    (void)snprintf(text, sizeof(text), "runtime_dir: /tmp/%0*d\npools: { fox: { model: x } }\n", 80,
                   0);
    assert_int_equal(pm_config_parse(text, strlen(text), "c", "/", NULL, &config, &errors, &err),
                     POOLMGR_E_PATH_TOO_LONG);
    assert_non_null(strstr(err.message, "'fox'"));
    assert_null(config);
}

static void test_settings_without_effect_are_kept_and_named(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("control_group: x\nkeys: [ { name: a, scopes: [infer] } ]\npools: { a: { model: m, "
              "pinned: true } }\n");

    (void)state;
    assert_non_null(config);
    assert_true(pm_strv_contains(&config->no_effect_yet, "control_group"));
    assert_true(pm_strv_contains(&config->no_effect_yet, "keys"));
    assert_int_equal(config->no_effect_yet.n, 2);
    assert_true(config->pools[0]->pinned);
    assert_refused("keys: [ { nmae: a } ]\n",
                   "1:11: unknown key 'nmae' in 'keys'; did you mean 'name'?");
}

static void test_a_backoff_that_allows_a_storm_is_warned_of(void **state)
{
    pm_auto(pm_config_free) struct pm_config *calm = parse("pools: { a: { model: m } }");
    pm_auto(pm_config_free) struct pm_config *storm =
        parse("pools: { a: { model: m, backoff: { base: 10ms, cap: 100ms } } }");

    (void)state;
    assert_int_equal(calm->warnings.n, 0);
    assert_int_equal(storm->warnings.n, 1);
}

static void test_a_model_on_the_command_line_is_a_pool_named_after_its_file(void **state)
{
    struct pm_config_overrides overrides = {0};
    pm_auto(pm_config_free) struct pm_config *config = NULL;

    (void)state;
    pm_strv_add(&overrides.models, "/m/Qwen3-8B-Q4_K_M.gguf");
    pm_strv_add(&overrides.listen, "127.0.0.1:0");
    overrides.engine = "/usr/bin/llama-server";
    config = parse_with("", &overrides);
    assert_non_null(config);
    assert_string_equal(config->pools[0]->id, "qwen3-8b-q4_k_m");
    assert_string_equal(config->pools[0]->aliases.items[0], "Qwen3-8B-Q4_K_M");
    assert_string_equal(config->listen.items[0], "127.0.0.1:0");
    assert_string_equal(pm_config_engine(config, "llama")->path, "/usr/bin/llama-server");

    pm_strv_add(&overrides.models, "/other/qwen3-8b-q4_k_m.gguf");
    assert_null(parse_with("", &overrides));
    assert_non_null(strstr(errors.items[0].message, "is there already"));
    pm_strv_fini(&overrides.models);
    pm_strv_fini(&overrides.listen);
}

static void test_a_model_on_the_command_line_is_read_as_one_in_the_file(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = NULL;
    struct pm_config_overrides overrides = {0};

    (void)state;
    pm_strv_add(&overrides.models, "hf:Qwen/Qwen3-8B-GGUF:Q4_K_M");
    pm_strv_add(&overrides.models, "/models/fox.gguf");
    config = parse_with("defaults: { slots: 2, args: [--one] }\n", &overrides);
    assert_null(parse_with("defaults: { engine: nobody }\n", &overrides));
    pm_strv_fini(&overrides.models);
    assert_non_null(config);
    assert_string_equal(config->pools[0]->model.main, "hf:Qwen/Qwen3-8B-GGUF:Q4_K_M");
    assert_string_equal(config->pools[1]->model.main, "/models/fox.gguf");
    assert_int_equal(config->pools[1]->n_slots, 2);
    assert_string_equal(config->pools[1]->args.items[0], "--one");
}

static void test_shares_are_shown_as_they_were_written(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = parse("retry: { budget: 0.2 }\n");

    (void)state;
    assert_non_null(config);
    assert_non_null(strstr(config->text, "\"budget\": 0.2,"));
}

static void test_a_program_s_own_address_stands_where_nobody_names_one(void **state)
{
    const struct pm_config_overrides overrides = {.listen_default = "127.0.0.1:9200"};
    pm_auto(pm_config_free) struct pm_config *silent = parse_with("", &overrides);
    pm_auto(pm_config_free) struct pm_config *named =
        parse_with("listen: \"[::1]:1\"\n", &overrides);

    (void)state;
    assert_string_equal(silent->listen.items[0], "127.0.0.1:9200");
    assert_int_equal(named->listen.n, 1);
    assert_string_equal(named->listen.items[0], "[::1]:1");
}

static void test_secrets_are_masked_in_what_is_shown(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("pools: { a: { model: m, env: { MY_TOKEN: hunter2, X: shown } } }");

    (void)state;
    assert_null(strstr(config->text, "hunter2"));
    assert_null(strstr(config->pools[0]->text, "hunter2"));
    assert_non_null(strstr(config->text, "shown"));
    assert_string_equal(config->pools[0]->env.values.items[0], "hunter2");
}

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* STATE-1: a pool of the API is made again from what was stored of it, its secrets too. */
static void test_what_is_stored_of_a_pool_is_read_as_the_same_pool(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("engines: { e: { args: [-x] } }\n"
              "defaults: { slots: 9 }\n"
              "pools: { a: { model: { main: m, mmproj: p, lora: [l], sha256: " SHA " }, engine: e,"
              " args: ['\"\\', \"\\u0001 \\x7f \\x85 \\u2028 \\ufeff \\U0001f600\", '${SOCKET}'], "
              "slots: 3, aliases: [x],"
              " env: { MY_TOKEN: hunter2 }, idle_ttl: 1m, start: preload, pinned: true,"
              " backoff: { jitter: 0.1 }, queue: { bytes: 1MiB } } }");
    struct pm_pool_spec *spec = NULL;
    json_t *stored;

    (void)state;
    assert_non_null(config);
    assert_non_null(strstr(config->pools[0]->stored, "hunter2"));
    stored = json_loads(config->pools[0]->stored, 0, NULL);
    assert_int_equal(pm_config_pool(config, "a", stored, &spec, &errors, NULL), 0);
    assert_string_equal(spec->stored, config->pools[0]->stored);
    assert_ptr_equal(spec->runs, config->pools[0]->runs);
    json_decref(stored);
    pm_pool_spec_unref(spec);
}

static void test_the_sample_file_is_accepted(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = NULL;
    pm_auto_free char *text = NULL;
    struct poolmgr_error err = {0};

    (void)state;
    assert_int_equal(
        pm_read_file(PM_SOURCE_ROOT "/examples/config.yaml", 1 << 20, &text, NULL, &err), 0);
    config = parse(text);
    assert_non_null(config);
    assert_true(config->n_pools >= 2);
    assert_int_equal(config->no_effect_yet.n, 0);
}

static void test_the_page_of_settings_is_current(void **state)
{
    const char *path = PM_SOURCE_ROOT "/docs/configuration.md";
    pm_auto_buf struct pm_buf out = {0};
    pm_auto_free char *text = NULL;
    struct poolmgr_error err = {0};

    (void)state;
    pm_config_docs(&out);
    if (getenv("POOLMGR_WRITE_DOCS"))
        assert_int_equal(pm_write_file(path, out.data, out.n, 0644, false, &err), 0);
    assert_int_equal(pm_read_file(path, 1 << 20, &text, NULL, &err), 0);
    if (strcmp(text, pm_buf_text(&out)) != 0)
        fail_msg("docs/configuration.md is old; run this test with POOLMGR_WRITE_DOCS=1");
}

static void test_the_schema_is_json_and_knows_every_key(void **state)
{
    pm_auto_buf struct pm_buf out = {0};
    json_t *schema;

    (void)state;
    pm_config_schema(&out);
    schema = json_loadb(out.data, out.n, 0, NULL);
    assert_non_null(schema);
    for (const struct pm_setting *row = pm_top_settings; row->name; row++)
        assert_non_null(json_object_get(json_object_get(schema, "properties"), row->name));
    json_decref(schema);
}

/* ---- one pool alone ---------------------------------------------------------------------------------- */

static const char *const shop = "engines: {own: {family: command, argv: [x]}}\n"
                                "defaults: {slots: 7, env: {A: '1', B: '1'}, idle_ttl: 1h}\n"
                                "pools: {}\n";

static int read_alone(const struct pm_config *config, const char *id, const char *text,
                      struct pm_pool_spec **ret, struct poolmgr_error *err)
{
    json_t *pool = json_loads(text, 0, NULL);
    int r;

    assert_non_null(pool);
    r = pm_config_pool(config, id, pool, ret, &errors, err);
    json_decref(pool);
    return r;
}

static void test_a_pool_alone_is_read_as_one_of_the_file(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config = parse(shop);
    struct pm_pool_spec *spec = NULL;
    struct poolmgr_error err = {0};

    (void)state;
    assert_non_null(config);
    assert_int_equal(read_alone(config, "x",
                                "{\"model\":\"m/\u00e9\\\"q.gguf\",\"engine\":\"own\","
                                "\"env\":{\"B\":\"2\"},\"idle_ttl\":\"5m\",\"pinned\":true}",
                                &spec, &err),
                     POOLMGR_OK);
    assert_string_equal(spec->id, "x");
    assert_string_equal(spec->model.main, "/home/fox/m/\xc3\xa9\"q.gguf");
    assert_int_equal(spec->n_slots, 7);
    assert_int_equal(spec->idle_ttl_ms, 300000);
    assert_true(spec->pinned);
    assert_int_equal(spec->env.names.n, 2);
    assert_non_null(spec->text);
    assert_int_equal(spec->refs, 1);
    pm_pool_spec_unref(spec);
    assert_int_equal(config->n_pools, 0);
}

static void test_a_pool_alone_that_is_wrong_names_the_member(void **state)
{
    static const struct {
        const char *id, *text, *member, *message;
    } rows[] = {
        {"x", "{\"model\":\"m\",\"slotz\":1}", "slotz", "unknown key 'slotz' in pool 'x'"},
        {"x", "{\"model\":\"m\",\"slots\":0}", "slots", "'slots'"},
        {"x", "{\"model\":\"m\",\"probe\":{\"every\":\"soon\"}}", "probe", "'every'"},
        {"x", "{\"engine\":\"none\",\"model\":\"m\"}", "engine", "not in 'engines'"},
        {"x", "{\"slots\":2}", "", "has no 'model'"},
        {"x", "[]", "", ""},
        {"x", "{\"model\":null}", "model", "'model' in pool 'x' is null"},
        {"x", "{\"model\":{\"main\":\"m\",\"draft\":null}}", "model", "is null"},
        {"X!", "{\"model\":\"m\"}", "", "no pool's id"},
    };
    pm_auto(pm_config_free) struct pm_config *config = parse(shop);

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_pool_spec *spec = NULL;
        struct poolmgr_error err = {0};

        assert_int_equal(read_alone(config, rows[i].id, rows[i].text, &spec, &err),
                         POOLMGR_E_CONFIG_INVALID);
        assert_null(spec);
        assert_true(errors.n > 0);
        if (strcmp(err.param, rows[i].member) != 0 || !strstr(err.message, rows[i].message))
            fail_msg("%s: param '%s', '%s'", rows[i].text, err.param, err.message);
    }
}

/* What is shown masked comes back as it was, and nobody's secret becomes the mask. */
static void test_a_masked_secret_that_comes_back_is_what_it_was(void **state)
{
    pm_auto(pm_config_free) struct pm_config *config =
        parse("pools: { a: { model: m, env: { MY_TOKEN: hunter2, X: shown } } }");
    json_t *pool = json_loads(config->pools[0]->text, 0, NULL);
    struct poolmgr_error err = {0};

    (void)state;
    assert_int_equal(pm_config_unmask(pool, NULL, &err), POOLMGR_E_CONFIG_INVALID);
    assert_string_equal(err.param, "env");
    assert_int_equal(pm_config_unmask(pool, config->pools[0], &err), POOLMGR_OK);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(pool, "env"), "MY_TOKEN")), "hunter2");
    assert_string_equal(json_string_value(json_object_get(json_object_get(pool, "env"), "X")),
                        "shown");
    json_decref(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_file_is_a_configuration_without_pools),
        cmocka_unit_test(test_only_a_model_is_needed_and_everything_else_has_its_default),
        cmocka_unit_test(test_the_defaults_of_the_table_are_those_of_core),
        cmocka_unit_test(test_every_row_refuses_a_wrong_value_where_it_stands),
        cmocka_unit_test(test_what_has_no_effect_yet_is_checked_like_any_other),
        cmocka_unit_test(test_an_unknown_key_is_refused_with_a_suggestion),
        cmocka_unit_test(test_all_errors_come_at_once_and_at_most_twenty_are_kept),
        cmocka_unit_test(test_what_yaml_can_do_and_we_do_not_read_is_refused),
        cmocka_unit_test(test_aliases_work_and_do_not_blow_up),
        cmocka_unit_test(test_types_come_from_the_table_and_not_from_yaml),
        cmocka_unit_test(test_variables_are_read_and_missing_ones_are_errors),
        cmocka_unit_test(test_defaults_come_first_and_maps_merge),
        cmocka_unit_test(test_an_alias_may_stand_in_several_pools),
        cmocka_unit_test(test_names_are_checked),
        cmocka_unit_test(test_selectors_are_ours),
        cmocka_unit_test(test_declared_devices_masks_and_sizes_are_read),
        cmocka_unit_test(test_the_cpu_may_be_declared_and_have_a_reserve),
        cmocka_unit_test(test_room_has_effect_without_declared_devices),
        cmocka_unit_test(test_masks_of_devices_that_are_not_declared_are_read),
        cmocka_unit_test(test_a_fault_of_a_mask_has_its_column),
        cmocka_unit_test(test_declared_devices_have_other_names_too),
        cmocka_unit_test(test_a_pool_alone_is_refused_with_the_code_of_its_mask),
        cmocka_unit_test(test_the_same_devices_are_no_change),
        cmocka_unit_test(test_masks_and_sizes_that_name_no_device_are_refused_where_they_stand),
        cmocka_unit_test(test_a_pool_that_never_fits_is_taken_with_a_warning),
        cmocka_unit_test(test_bytes_that_nobody_names_or_estimates_are_warned_of),
        cmocka_unit_test(test_how_a_pool_is_split_is_read_SPLIT_1),
        cmocka_unit_test(test_listening_beyond_loopback_is_refused),
        cmocka_unit_test(test_a_socket_path_that_is_too_long_is_refused_and_names_the_pool),
        cmocka_unit_test(test_settings_without_effect_are_kept_and_named),
        cmocka_unit_test(test_a_backoff_that_allows_a_storm_is_warned_of),
        cmocka_unit_test(test_a_model_on_the_command_line_is_a_pool_named_after_its_file),
        cmocka_unit_test(test_a_model_on_the_command_line_is_read_as_one_in_the_file),
        cmocka_unit_test(test_shares_are_shown_as_they_were_written),
        cmocka_unit_test(test_a_program_s_own_address_stands_where_nobody_names_one),
        cmocka_unit_test(test_secrets_are_masked_in_what_is_shown),
        cmocka_unit_test(test_what_is_stored_of_a_pool_is_read_as_the_same_pool),
        cmocka_unit_test(test_the_sample_file_is_accepted),
        cmocka_unit_test(test_the_page_of_settings_is_current),
        cmocka_unit_test(test_the_schema_is_json_and_knows_every_key),
        cmocka_unit_test(test_a_pool_alone_is_read_as_one_of_the_file),
        cmocka_unit_test(test_a_pool_alone_that_is_wrong_names_the_member),
        cmocka_unit_test(test_a_masked_secret_that_comes_back_is_what_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
