/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as values, and the one table of codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/error.h"

static bool is_wire_name(const char *name)
{
    return name[0] != '\0' && name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] == '\0';
}

static void test_every_status_has_a_whole_row_of_its_own(void **state)
{
    (void)state;
    for (int code = -1; code > -POOLMGR_STATUS_COUNT; code--) {
        const struct pm_status *row = pm_status(code);

        assert_non_null(row->name);
        assert_true(is_wire_name(row->name));
        assert_int_equal(pm_status_by_name(row->name), code);
        assert_in_range(row->http_status, 400, 599);
        assert_in_range(row->exit_code, 1, 5);
        assert_true(row->when && row->when[0]);
    }
}

static void test_only_what_can_pass_is_retriable(void **state)
{
    (void)state;
    for (int code = -1; code > -POOLMGR_STATUS_COUNT; code--) {
        const struct pm_status *row = pm_status(code);

        if (row->retriable)
            assert_true(row->http_status == 429 || row->http_status == 503);
        if (row->http_status == 429)
            assert_true(row->retriable);
    }
}

static void test_the_codes_clients_know_stay_as_they_are(void **state)
{
    static const struct {
        int code;
        const char *name;
        int http_status, exit_code;
        bool retriable;
    } fixed[] = {
        {POOLMGR_E_INVALID_REQUEST, "invalid_request", 400, 2, false},
        {POOLMGR_E_MODEL_NOT_FOUND, "model_not_found", 404, 3, false},
        {POOLMGR_E_REQUEST_TIMEOUT, "request_timeout", 408, 5, false},
        {POOLMGR_E_CONFLICT, "conflict", 409, 1, false},
        {POOLMGR_E_TOO_LARGE, "too_large", 413, 2, false},
        {POOLMGR_E_QUEUE_FULL, "queue_full", 429, 1, true},
        {POOLMGR_E_HEADER_TOO_LARGE, "header_too_large", 431, 2, false},
        {POOLMGR_E_BREAKER_OPEN, "breaker_open", 503, 1, true},
        {POOLMGR_E_POOL_FAILED, "pool_failed", 503, 1, false},
        {POOLMGR_E_ENGINE_CRASHED, "engine_crashed", 502, 1, false},
        {POOLMGR_E_ENGINE_TIMEOUT, "engine_timeout", 504, 5, false},
        {POOLMGR_E_STORE_FAILED, "store_failed", 507, 1, false},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(fixed); i++) {
        const struct pm_status *row = pm_status(fixed[i].code);

        assert_string_equal(row->name, fixed[i].name);
        assert_int_equal(row->http_status, fixed[i].http_status);
        assert_int_equal(row->exit_code, fixed[i].exit_code);
        assert_int_equal(row->retriable, fixed[i].retriable);
    }
}

static void test_a_number_that_is_no_status_is_a_bug_of_ours(void **state)
{
    (void)state;
    assert_string_equal(pm_status(1)->name, "internal");
    assert_string_equal(pm_status(-POOLMGR_STATUS_COUNT)->name, "internal");
    assert_string_equal(pm_status(INT32_MIN)->name, "internal");
    assert_string_equal(pm_status(INT32_MAX)->name, "internal");
    assert_int_equal(pm_status_by_name("no_such_code"), 0);
    assert_int_equal(pm_status_by_name(""), 0);
}

static void test_the_type_follows_the_http_status(void **state)
{
    static const int wrong[] = {400, 404, 405, 408, 409, 413, 415, 417, 431};
    static const int broken[] = {500, 501, 502, 503, 504, 507};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(wrong); i++)
        assert_string_equal(pm_status_type(wrong[i]), "invalid_request_error");
    for (size_t i = 0; i < PM_ARRAY_LEN(broken); i++)
        assert_string_equal(pm_status_type(broken[i]), "server_error");
    assert_string_equal(pm_status_type(401), "authentication_error");
    assert_string_equal(pm_status_type(403), "permission_error");
    assert_string_equal(pm_status_type(429), "rate_limit_error");
}

static void test_a_failure_fills_the_error_and_returns_its_code(void **state)
{
    struct poolmgr_error err = {.retry_after_ms = 7, .hint = "of an older failure"};

    (void)state;
    assert_int_equal(pm_fail(&err, POOLMGR_E_CONFLICT, "pool '%s' is busy", "a"),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(err.code, POOLMGR_E_CONFLICT);
    assert_string_equal(err.message, "pool 'a' is busy");
    assert_string_equal(err.hint, "");
    assert_int_equal(err.retry_after_ms, 0);
    assert_int_equal(pm_fail(NULL, POOLMGR_E_CONFLICT, "nobody asks"), POOLMGR_E_CONFLICT);
}

static void test_context_goes_in_front(void **state)
{
    struct poolmgr_error err = {0};

    (void)state;
    (void)pm_fail_errno(&err, POOLMGR_E_NOT_FOUND, ENOENT, "cannot open 'x'");
    assert_string_equal(err.message, "cannot open 'x': No such file or directory");
    assert_int_equal(pm_wrap(&err, POOLMGR_E_CONFIG_INVALID, "pool '%s'", "a"),
                     POOLMGR_E_CONFIG_INVALID);
    assert_string_equal(err.message, "pool 'a': cannot open 'x': No such file or directory");
    assert_int_equal(err.code, POOLMGR_E_CONFIG_INVALID);
    assert_int_equal(pm_wrap(NULL, POOLMGR_E_INTERNAL, "x"), POOLMGR_E_INTERNAL);
}

static void test_hint_and_parameter_keep_the_code(void **state)
{
    struct poolmgr_error err = {0};
    int r = pm_fail(&err, POOLMGR_E_INVALID_REQUEST, "wrong");

    (void)state;
    r = pm_error_param(&err, r, "model");
    r = pm_error_hint(&err, r, "try %d", 2);
    assert_int_equal(r, POOLMGR_E_INVALID_REQUEST);
    assert_string_equal(err.param, "model");
    assert_string_equal(err.hint, "try 2");
    assert_string_equal(err.message, "wrong");
    assert_int_equal(pm_error_param(NULL, r, "model"), r);
    assert_int_equal(pm_error_hint(NULL, r, "x"), r);
}

static void test_messages_longer_than_their_room_are_cut_and_terminated(void **state)
{
    char longer[2 * POOLMGR_MESSAGE_MAX];
    struct poolmgr_error err = {0};

    (void)state;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    (void)pm_fail(&err, POOLMGR_E_INTERNAL, "%s", longer);
    assert_int_equal(strlen(err.message), POOLMGR_MESSAGE_MAX - 1);
    (void)pm_fail_errno(&err, POOLMGR_E_INTERNAL, ENOSPC, "%s", longer);
    assert_int_equal(strlen(err.message), POOLMGR_MESSAGE_MAX - 1);
    (void)pm_wrap(&err, POOLMGR_E_INTERNAL, "%s", longer);
    assert_int_equal(strlen(err.message), POOLMGR_MESSAGE_MAX - 1);
    (void)pm_error_hint(&err, POOLMGR_E_INTERNAL, "%s", longer);
    assert_int_equal(strlen(err.hint), POOLMGR_HINT_MAX - 1);
    (void)pm_error_param(&err, POOLMGR_E_INTERNAL, longer);
    assert_int_equal(strlen(err.param), POOLMGR_PARAM_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_a_whole_row_of_its_own),
        cmocka_unit_test(test_only_what_can_pass_is_retriable),
        cmocka_unit_test(test_the_codes_clients_know_stay_as_they_are),
        cmocka_unit_test(test_a_number_that_is_no_status_is_a_bug_of_ours),
        cmocka_unit_test(test_the_type_follows_the_http_status),
        cmocka_unit_test(test_a_failure_fills_the_error_and_returns_its_code),
        cmocka_unit_test(test_context_goes_in_front),
        cmocka_unit_test(test_hint_and_parameter_keep_the_code),
        cmocka_unit_test(test_messages_longer_than_their_room_are_cut_and_terminated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
