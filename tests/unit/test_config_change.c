/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration that takes the place of another changes, and what it may not (RELOAD-2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/settings.h"
#include "util/cleanup.h"

PM_DEFINE_AUTO(struct pm_config *, pm_config_free)

static struct pm_config *parse(const char *text)
{
    struct pm_config *config = NULL;
    struct pm_config_errors errors;
    struct poolmgr_error err = {0};

    if (pm_config_parse(text, strlen(text), "config.yaml", "/home/fox", NULL, &config, &errors,
                        &err) < 0)
        fail_msg("%s", err.message);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_setting_of_an_engine_is_seen_by_the_pools_that_use_it),
        cmocka_unit_test(test_the_same_engine_read_twice_is_equal),
        cmocka_unit_test(test_a_pool_keeps_its_engine_when_its_configuration_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
