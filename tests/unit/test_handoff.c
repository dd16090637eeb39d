/* SPDX-License-Identifier: Apache-2.0 */
/* The document of a handoff (REG-4): validated whole, every mistake told with its member. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/handoff.h"
#include "util/cleanup.h"

#define LEAST                                                                                      \
    "\"version\":1,\"pool\":\"far-70b\",\"engine\":\"vllm\",\"endpoint\":\"http://127.0.0.1:"      \
    "8000\",\"model\":\"llama-70b\",\"slots\":64"

static int parse(const char *text, struct pm_pool_spec **ret, unsigned *ret_replica,
                 struct poolmgr_error *err)
{
    memset(err, 0, sizeof(*err));
    return pm_handoff_parse(text, strlen(text), ret, ret_replica, err);
}

static void test_a_whole_document_is_a_pool_that_is_not_ours(void **state)
{
    struct pm_pool_spec *spec = NULL;
    struct poolmgr_error err;
    unsigned replica = 9;

    (void)state;
    assert_int_equal(parse("{" LEAST ",\"replica\":3,\"engine_version\":\"0.11.0\","
                           "\"device_mask\":\"0,1\",\"pid\":991}",
                           &spec, &replica, &err),
                     0);
    assert_string_equal(spec->id, "far-70b");
    assert_int_equal(replica, 3);
    assert_string_equal(spec->engine, "vllm");
    assert_string_equal(spec->external.engine_version, "0.11.0");
    assert_string_equal(spec->external.endpoint, "http://127.0.0.1:8000");
    assert_string_equal(spec->external.model_name, "llama-70b");
    assert_string_equal(spec->devices, "0,1");
    assert_int_equal(spec->n_slots, 64);
    assert_int_equal(spec->external.pid, 991);
    assert_false(spec->habits.ours);
    assert_non_null(strstr(spec->text, "\"device_mask\":\"0,1\""));
    pm_pool_spec_unref(spec);
}

static void test_what_may_be_missing_is_unknown(void **state)
{
    struct pm_pool_spec *spec = NULL;
    struct poolmgr_error err;
    unsigned replica = 9;

    (void)state;
    assert_int_equal(parse("{" LEAST "}", &spec, &replica, &err), 0);
    assert_int_equal(replica, 0);
    assert_null(spec->external.engine_version);
    assert_string_equal(spec->devices, "");
    assert_int_equal(spec->external.pid, 0);
    pm_pool_spec_unref(spec);
}

/* Each row replaces one member of LEAST. */
static const struct {
    const char *member, *value, *words;
} wrong[] = {
    {"version", "2", "'version' must be a number from 1 to 1"},
    {"version", "\"1\"", "'version' must be a number"},
    {"version", "1.0", "'version' must be a number"},
    {"pool", "\"Far\"", "'pool' must be a pool's id"},
    {"pool", "\"a/b\"", "'pool' must be a pool's id"},
    {"pool", "\"0123456789012345678901234567890123456789012345678\"", "1 to 48 bytes"},
    {"pool", "7", "'pool' must be a text"},
    {"engine", "\"\"", "'engine' must be a text"},
    {"engine", "\"a\\nb\"", "'engine' must be a text"},
    {"endpoint", "\"127.0.0.1:8000\"", "'endpoint' must be"},
    {"endpoint", "\"http://localhost:8000\"", "'endpoint' must be"},
    {"endpoint", "\"http://127.0.0.1:8000/v1\"", "'endpoint' must be"},
    {"endpoint", "\"unix:relative\"", "'endpoint' must be"},
    {"endpoint", "null", "'endpoint' must be"},
    {"model", "[]", "'model' must be a text"},
    {"slots", "0", "'slots' must be a number from 1 to 65536"},
    {"slots", "65537", "'slots' must be a number from 1 to 65536"},
    {"slots", "-1", "'slots' must be"},
    {"replica", "16", "'replica' must be a number from 0 to 15"},
    {"replica", "-1", "'replica' must be"},
    {"pid", "1", "'pid' must be a number from 2 to"},
    {"pid", "9223372036854775807", "'pid' must be a number from 2 to"},
    {"device_mask", "0", "'device_mask' must be a text"},
    {"engine_version", "true", "'engine_version' must be a text"},
    {"api_key", "\"x\"", "unknown member 'api_key'"},
};

/* LEAST as an object, with one member set. */
static char *with(const char *member, const char *value)
{
    json_t *document = json_loads("{" LEAST "}", 0, NULL);
    json_t *one = json_loads(value, JSON_DECODE_ANY, NULL);
    char *text;

    assert_non_null(document);
    assert_non_null(one);
    assert_int_equal(json_object_set_new(document, member, one), 0);
    text = json_dumps(document, 0);
    json_decref(document);
    return text;
}

static void test_every_wrong_member_is_named_and_nothing_is_made(void **state)
{
    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(wrong); i++) {
        pm_auto_free char *text = with(wrong[i].member, wrong[i].value);
        struct pm_pool_spec *spec = NULL;
        struct poolmgr_error err;
        unsigned replica = 9;

        assert_int_equal(parse(text, &spec, &replica, &err), POOLMGR_E_INVALID_REQUEST);
        assert_null(spec);
        assert_int_equal(replica, 9);
        assert_string_equal(err.param, wrong[i].member);
        if (!strstr(err.message, wrong[i].words))
            fail_msg("%s: %s", wrong[i].words, err.message);
    }
}

static void test_every_member_that_must_be_there_is_asked_for(void **state)
{
    static const char *const members[] = {"version",  "pool",  "engine",
                                          "endpoint", "model", "slots"};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(members); i++) {
        json_t *document = json_loads("{" LEAST "}", 0, NULL);
        struct poolmgr_error err = {0};
        struct pm_pool_spec *spec;
        unsigned replica;

        assert_int_equal(json_object_del(document, members[i]), 0);
        assert_int_equal(pm_handoff_read(document, &spec, &replica, &err),
                         POOLMGR_E_INVALID_REQUEST);
        assert_string_equal(err.param, members[i]);
        assert_non_null(strstr(err.message, "needs"));
        json_decref(document);
    }
}

static void test_what_is_no_single_json_object_is_refused(void **state)
{
    static const char *const texts[] = {
        "", "[]", "1", "{" LEAST "} x", "{" LEAST ",\"slots\":1}", "{" LEAST ",}", "\xff",
    };
    char large[PM_HANDOFF_MAX_BYTES + 2], nul[] = "{" LEAST "1\0}";
    struct pm_pool_spec *spec;
    struct poolmgr_error err;
    unsigned replica;

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(texts); i++)
        assert_int_equal(parse(texts[i], &spec, &replica, &err), POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(pm_handoff_parse(nul, sizeof(nul) - 1, &spec, &replica, &err),
                     POOLMGR_E_INVALID_REQUEST);
    memset(large, ' ', sizeof(large));
    assert_int_equal(pm_handoff_parse(large, sizeof(large), &spec, &replica, &err),
                     POOLMGR_E_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_document_is_a_pool_that_is_not_ours),
        cmocka_unit_test(test_what_may_be_missing_is_unknown),
        cmocka_unit_test(test_every_wrong_member_is_named_and_nothing_is_made),
        cmocka_unit_test(test_every_member_that_must_be_there_is_asked_for),
        cmocka_unit_test(test_what_is_no_single_json_object_is_refused),
    };

    return cmocka_run_group_tests_name("handoff", tests, NULL, NULL);
}
