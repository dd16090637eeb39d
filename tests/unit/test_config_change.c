/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration that takes the place of another changes, and what it may not (RELOAD-2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "config/config.h"
#include "config/settings.h"
#include "util/cleanup.h"
#include "util/file.h"

PM_DEFINE_AUTO(struct pm_config *, pm_config_free)

static struct pm_config_errors errors;

/* NULL: refused, and `errors` says why. */
static struct pm_config *reparse(const char *text, const struct pm_config *running)
{
    const struct pm_config_overrides overrides = {.running = running};
    struct pm_config *config = NULL;

    (void)pm_config_parse(text, strlen(text), "config.yaml", "/home/fox", &overrides, &config,
                          &errors, NULL);
    return config;
}

static struct pm_config *parse(const char *text)
{
    struct pm_config *config = reparse(text, NULL);

    if (!config)
        fail_msg("%s", errors.items[0].message);
    return config;
}

/* ---- engines ---------------------------------------------------------------------------------------- */

/* Another value than the default, for each type that engines have. */
static const char *other_value(const struct pm_setting *row)
{
    switch (row->type) {
    case PM_WORD: return strrchr(row->words, '|') + 1;
    case PM_LIST: return "[/bin/x]";
    case PM_PAIRS: return "{ A: b }";
    case PM_TEXT: return strcmp(row->name, "url") == 0 ? "'http://127.0.0.1:1'" : "/x";
    default: return "/x";
    }
}

static void assert_seen(const struct pm_setting *row)
{
    pm_auto_free char *text = pm_xasprintf(
        "engines: { e: { %s: %s%s } }\npools: { a: { model: m, engine: e } }", row->name,
        other_value(row),
        strcmp(row->name, "family") == 0 ? ", argv: [/bin/y], url: 'http://127.0.0.1:1'" : "");
    pm_auto(pm_config_free) struct pm_config *now =
        parse("engines: { e: {} }\npools: { a: { model: m, engine: e } }");
    pm_auto(pm_config_free) struct pm_config *next = parse(text);

    if (pm_engine_spec_equal(now->pools[0]->runs, next->pools[0]->runs))
        fail_msg("a change of an engine's '%s' is not seen", row->name);
}

static void test_every_setting_of_an_engine_is_seen_by_the_pools_that_use_it(void **state)
{
    (void)state;
    for (const struct pm_setting *row = pm_engine_settings; row->name; row++) {
        if (row->offset != PM_UNSTORED)
            assert_seen(row);
    }
}

static void test_the_same_engine_read_twice_is_equal(void **state)
{
    const char *text = "engines: { e: { args: [-x], env: { A: b } } }\n"
                       "pools: { a: { model: m, engine: e }, b: { model: m } }";
    pm_auto(pm_config_free) struct pm_config *now = parse(text);
    pm_auto(pm_config_free) struct pm_config *next = parse(text);

    (void)state;
    assert_true(pm_engine_spec_equal(now->pools[0]->runs, next->pools[0]->runs));
    assert_true(pm_engine_spec_equal(now->pools[1]->runs, next->pools[1]->runs));
    assert_false(pm_engine_spec_equal(now->pools[0]->runs, now->pools[1]->runs));
    assert_false(pm_engine_spec_equal(now->pools[0]->runs, NULL));
}

static void test_a_pool_keeps_its_engine_when_its_configuration_is_gone(void **state)
{
    struct pm_config *config = parse("engines: { e: { args: [-x] } }\n"
                                     "pools: { a: { model: m, engine: e } }");
    struct pm_pool_spec *spec = pm_pool_spec_ref(config->pools[0]);

    (void)state;
    pm_config_free(config);
    assert_string_equal(spec->runs->name, "e");
    assert_string_equal(spec->runs->args.items[0], "-x");
    pm_pool_spec_unref(spec);
}

/* ---- what a reload keeps ---------------------------------------------------------------------------- */

static json_t *dump(const struct pm_config *config)
{
    return pm_settings_dump(pm_top_settings, config);
}

static const char *first_value(const struct pm_setting *row)
{
    return row->type == PM_LIST ? "[127.0.0.1:1]" : "/one";
}

static const char *second_value(const struct pm_setting *row)
{
    return row->type == PM_LIST ? "[127.0.0.1:2, '[::1]:3']" : "/two";
}

static void assert_kept(const struct pm_setting *row)
{
    pm_auto_free char *first = pm_xasprintf("%s: %s", row->name, first_value(row));
    pm_auto_free char *second = pm_xasprintf("%s: %s", row->name, second_value(row));
    pm_auto(pm_config_free) struct pm_config *now = parse(first);
    pm_auto(pm_config_free) struct pm_config *next = reparse(second, now);
    pm_auto(pm_config_free) struct pm_config *gone = reparse("", now);
    pm_auto(pm_config_free) struct pm_config *same = reparse(first, now);
    json_t *before = dump(now), *after = dump(next), *without = dump(gone);

    assert_int_equal(next->kept.n, 1);
    assert_string_equal(next->kept.items[0], row->name);
    assert_true(json_equal(json_object_get(before, row->name), json_object_get(after, row->name)));
    assert_int_equal(gone->kept.n, 1);
    assert_true(
        json_equal(json_object_get(before, row->name), json_object_get(without, row->name)));
    assert_non_null(strstr(next->text, row->type == PM_LIST ? "127.0.0.1:1" : "/one"));
    assert_int_equal(same->kept.n, 0);
    json_decref(before);
    json_decref(after);
    json_decref(without);
}

static void test_what_needs_a_restart_stays_and_is_named(void **state)
{
    static const char *const names[] = {"listen",    "data_listen", "control_group", "runtime_dir",
                                        "state_dir", "cache_dir",   "log_dir",       "handoff_dir"};
    size_t n = 0;

    (void)state;
    for (const struct pm_setting *row = pm_top_settings; row->name; row++) {
        if (!row->restart)
            continue;
        assert_true(n < PM_ARRAY_LEN(names));
        assert_string_equal(row->name, names[n++]);
        assert_kept(row);
    }
    assert_int_equal(n, PM_ARRAY_LEN(names));
}

static void test_everything_else_changes(void **state)
{
    pm_auto(pm_config_free) struct pm_config *now = parse("");
    pm_auto(pm_config_free) struct pm_config *next =
        reparse("limits: { body: 1MiB }\ntimeouts: { head: 1s }\nlog: { level: debug }\n"
                "allowed_hosts: [a.example]\nmax_parallel_starts: 7\non_exit: leave\n",
                now);

    (void)state;
    assert_int_equal(next->kept.n, 0);
    assert_int_equal(next->limits.body, 1 << 20);
    assert_int_equal(next->timeouts.head_ms, 1000);
    assert_int_equal(next->log.level, PM_DEBUG);
    assert_string_equal(next->allowed_hosts.items[0], "a.example");
    assert_int_equal(next->max_parallel_starts, 7);
    assert_int_equal(next->on_exit, PM_EXIT_LEAVE);
}

/* It would keep the next daemon from starting: so it is said now. */
static void test_a_kept_setting_is_checked_as_the_next_start_would(void **state)
{
    pm_auto(pm_config_free) struct pm_config *now = parse("");

    (void)state;
    assert_null(reparse("listen: [nowhere]", now));
    assert_int_equal(errors.n, 1);
    assert_int_equal(errors.items[0].line, 1);
    assert_int_equal(errors.items[0].column, 9);
    assert_string_equal(errors.file, "config.yaml");
}

static void test_a_new_pool_must_fit_into_the_folder_that_is_kept(void **state)
{
    char folder[80], text[256];
    pm_auto(pm_config_free) struct pm_config *now = NULL;

    (void)state;
    memset(folder, 'x', sizeof(folder));
    folder[0] = '/';
    folder[sizeof(folder) - 20] = '\0';
    (void)snprintf(text, sizeof(text), "runtime_dir: %s", folder);
    now = parse(text);
    assert_null(
        reparse("runtime_dir: /run/p\npools: { a-pool-with-a-long-name: { model: m } }", now));
    assert_int_equal(errors.items[0].line, 2);
    assert_non_null(strstr(errors.items[0].message, "a-pool-with-a-long-name"));
}

/* Moved away while it is saved: every pool would be drained. */
static void test_a_file_that_is_gone_is_an_error_and_no_configuration_without_pools(void **state)
{
    struct pm_config_overrides overrides = {0};
    pm_auto(pm_config_free) struct pm_config *now = NULL, *next = NULL;
    char folder[] = "/tmp/pm-config-XXXXXX";
    pm_auto_free char *below = NULL, *path = NULL;
    struct poolmgr_error err = {0};

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("XDG_CONFIG_HOME", folder, 1), 0);
    assert_int_equal(unsetenv("POOLMGR_CONFIG"), 0);
    below = pm_xasprintf("%s/poolmgr", folder);
    path = pm_xasprintf("%s/config.yaml", below);
    assert_int_equal(pm_make_folders(below, 0700, NULL), 0);
    assert_int_equal(pm_write_file(path, "default_pool: ''\n", 17, 0600, false, NULL), 0);
    overrides.path = path;
    assert_int_equal(pm_config_load(&overrides, &now, &errors, &err), 0);

    overrides.path = NULL;
    overrides.running = now;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pm_config_load(&overrides, &next, &errors, &err), POOLMGR_E_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
    assert_null(next);
    assert_int_equal(pm_remove_tree(folder, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_setting_of_an_engine_is_seen_by_the_pools_that_use_it),
        cmocka_unit_test(test_the_same_engine_read_twice_is_equal),
        cmocka_unit_test(test_a_pool_keeps_its_engine_when_its_configuration_is_gone),
        cmocka_unit_test(test_what_needs_a_restart_stays_and_is_named),
        cmocka_unit_test(test_everything_else_changes),
        cmocka_unit_test(test_a_kept_setting_is_checked_as_the_next_start_would),
        cmocka_unit_test(test_a_new_pool_must_fit_into_the_folder_that_is_kept),
        cmocka_unit_test(test_a_file_that_is_gone_is_an_error_and_no_configuration_without_pools),
    };

    /* What stands there comes before the file. */
    for (const char *const *name =
             (const char *const[]){"POOLMGR_RUNTIME_DIR", "POOLMGR_STATE_DIR", "POOLMGR_CACHE_DIR",
                                   "POOLMGR_LOG_DIR", "RUNTIME_DIRECTORY", "STATE_DIRECTORY",
                                   "CACHE_DIRECTORY", "LOGS_DIRECTORY", NULL};
         *name; name++)
        (void)unsetenv(*name);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
