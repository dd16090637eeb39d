/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine says about its work is counted when it makes sense, and only then (GW-6, H-71). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/usage.h"
#include "util/cleanup.h"
#include "util/str.h"

#define NOT UINT64_MAX /* not told */

static void check(const char *text, uint64_t in, uint64_t out, uint64_t decode_ms)
{
    struct pm_usage usage;

    pm_usage_read(text, strlen(text), &usage);
    if (usage.has_tokens_in != (in != NOT) || usage.has_tokens_out != (out != NOT) ||
        usage.has_decode != (decode_ms != NOT))
        fail_msg("%s: told %d %d %d", text, usage.has_tokens_in, usage.has_tokens_out,
                 usage.has_decode);
    assert_int_equal(usage.tokens_in, in == NOT ? 0 : in);
    assert_int_equal(usage.tokens_out, out == NOT ? 0 : out);
    assert_int_equal(usage.decode_ms, decode_ms == NOT ? 0 : decode_ms);
}

static void test_the_dialects_are_read(void **state)
{
    (void)state;
    check("{\"choices\":[],\"usage\":{\"completion_tokens\":7,\"prompt_tokens\":12,\"total_"
          "tokens\":19}}",
          12, 7, NOT);
    check("{\"usage\" : { \"completion_tokens\" : 7 , \"prompt_tokens\" : 12 } }", 12, 7, NOT);
    check("{\"usage\":{\"input_tokens\":3,\"output_tokens\":0}}", 3, 0, NOT);
    check("{\"timings\":{\"prompt_n\":5,\"predicted_n\":8,\"predicted_ms\":123.456}}", 5, 8, 123);
    check("data: {\"choices\":[]}\n\ndata: "
          "{\"usage\":{\"completion_tokens\":2,\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n",
          1, 2, NOT);
    check("\xef\xbb\xbf"
          "data: {\"usage\":{\"completion_tokens\":2}}\n\n",
          NOT, 2, NOT); /* H-66a */
    check("", NOT, NOT, NOT);
    check("{\"object\":\"list\",\"data\":[]}", NOT, NOT, NOT);
}

static void test_nonsense_moves_no_counter(void **state)
{
    static const char *const values[] = {
        "-1", "1e999", "1E3", "\"9\"", "null", "true", "[9]",        "{}",
        "+9", "0x9",   "9x",  ".5",    "",     "NaN",  "1000000001", "18446744073709551617"};
    pm_auto_free char *digits = pm_xalloc(1000001);
    pm_auto_free char *many = NULL;

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(values); i++) {
        pm_auto_free char *text = pm_xasprintf("{\"usage\":{\"completion_tokens\":%s}}", values[i]);

        check(text, NOT, NOT, NOT);
    }
    memset(digits, '9', 1000000);
    many = pm_xasprintf("{\"usage\":{\"completion_tokens\":%s}}", digits);
    check(many, NOT, NOT, NOT);
    check("{\"usage\":{\"completion_tokens\":7", NOT, NOT, NOT); /* cut: it may have been 70 */
    check("{\"usage\":{\"completion_tokens\"", NOT, NOT, NOT);
}

/* What a model writes about usage is text, and is not counted. */
static void test_words_in_the_text_of_an_answer_are_not_usage(void **state)
{
    (void)state;
    check("{\"content\":\"\\\"completion_tokens\\\":99\"}", NOT, NOT, NOT);
    check("{\"content\":\"completion_tokens: 99\"}", NOT, NOT, NOT);
    check("{\"usage\":{\"completion_tokens\":1},\"content\":\"\\\"completion_tokens\\\":99\"}", NOT,
          1, NOT);
    check("{\"completion_tokens_details\":{\"completion_tokens_x\":5}}", NOT, NOT, NOT);
}

/* The end is kept however the answer came, in a bounded room. */
static void test_the_tail_holds_the_end_of_an_answer(void **state)
{
    static const size_t pieces[] = {1, 7, 230, 4095, 4096, 4097, 9000, 100000};
    static char answer[100000];

    (void)state;
    for (size_t i = 0; i < sizeof(answer); i++)
        answer[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < PM_ARRAY_LEN(pieces); i++) {
        struct pm_usage_tail tail = {0};

        for (size_t at = 0; at < sizeof(answer); at += pieces[i]) {
            size_t n = sizeof(answer) - at < pieces[i] ? sizeof(answer) - at : pieces[i];

            pm_usage_tail_add(&tail, answer + at, n);
            assert_true(tail.n <= 2 * PM_USAGE_TAIL_MAX);
        }
        assert_true(tail.n >= PM_USAGE_TAIL_MAX);
        assert_memory_equal(tail.data, answer + sizeof(answer) - tail.n, tail.n);
        pm_usage_tail_fini(&tail);
        pm_usage_tail_fini(&tail);
    }
}

/* A number must not be put together from the ends of two reads. */
static void test_the_tail_has_no_gap(void **state)
{
    struct pm_usage_tail tail = {0};
    struct pm_usage usage;
    static char large[2 * PM_USAGE_TAIL_MAX];

    (void)state;
    memset(large, 'x', sizeof(large));
    memcpy(large + PM_USAGE_TAIL_MAX, "99}", 3);
    pm_usage_tail_add(&tail, "{\"completion_tokens\":", 21);
    pm_usage_tail_add(&tail, large, sizeof(large));
    pm_usage_read(tail.data, tail.n, &usage);
    assert_false(usage.has_tokens_out);
    pm_usage_tail_fini(&tail);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_dialects_are_read),
        cmocka_unit_test(test_nonsense_moves_no_counter),
        cmocka_unit_test(test_words_in_the_text_of_an_answer_are_not_usage),
        cmocka_unit_test(test_the_tail_holds_the_end_of_an_answer),
        cmocka_unit_test(test_the_tail_has_no_gap),
    };

    return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
