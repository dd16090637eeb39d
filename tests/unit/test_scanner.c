/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner of inference bodies against H-72 to H-81 and P-13: who is named, where the members stand, and what is
 * refused. Each body runs in one piece, a byte at a time, and cut in two at every byte; all must give the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/scanner.h"
#include "rounds.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

/* What was found, as one line. A model with a NUL or a blank in it shows by its length. */
static void describe(const struct pm_scanner *scanner, int r, char *to, size_t size)
{
    int n;

    if (r < 0) {
        assert_non_null(scanner->error);
        (void)snprintf(to, size, "refused %s", scanner->param ? scanner->param : "-");
        return;
    }
    n = snprintf(to, size, "%s", scanner->has_model ? "model " : "no model");
    if (scanner->has_model)
        n += snprintf(to + n, size - (size_t)n, "%zu '%s' %d..%d", scanner->n_model, scanner->model,
                      (int)scanner->model_value.from, (int)scanner->model_value.to);
    (void)snprintf(to + n, size - (size_t)n, "%s%s%s%s", scanner->model_too_long ? " too long" : "",
                   scanner->stream ? " stream" : "", scanner->has_keep_alive ? " keep " : "",
                   scanner->keep_alive);
}

/* In two pieces: the first `cut` bytes and the rest; with step 1 the rest a byte at a time. */
static int scan(struct pm_scanner *scanner, const char *data, size_t n, size_t cut, size_t step)
{
    pm_scanner_init(scanner);
    if (pm_scanner_feed(scanner, data, cut) < 0)
        return -1;
    for (size_t at = cut; at < n; at += step) {
        if (pm_scanner_feed(scanner, data + at, n - at < step ? n - at : step) < 0)
            return -1;
    }
    return pm_scanner_end(scanner);
}

static void check_bytes(const char *id, const char *data, size_t n, const char *expected)
{
    struct pm_scanner scanner;
    char line[512];

    describe(&scanner, scan(&scanner, data, n, n, n), line, sizeof(line));
    if (strcmp(line, expected) != 0)
        fail_msg("%s: '%s', expected '%s'", id, line, expected);
    describe(&scanner, scan(&scanner, data, n, 0, 1), line, sizeof(line));
    if (strcmp(line, expected) != 0)
        fail_msg("%s, a byte at a time: '%s', expected '%s'", id, line, expected);
    for (size_t cut = 1; n < 4096 && cut < n; cut++) {
        describe(&scanner, scan(&scanner, data, n, cut, n), line, sizeof(line));
        if (strcmp(line, expected) != 0)
            fail_msg("%s, cut at %zu: '%s', expected '%s'", id, cut, line, expected);
    }
}

struct row {
    const char *id, *bytes;
    size_t n;
    const char *expected;
};

#define ROW(id, bytes, expected)                                                                   \
    {                                                                                              \
        id, bytes, sizeof(bytes) - 1, expected                                                     \
    }

static void check_rows(const struct row *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++)
        check_bytes(rows[i].id, rows[i].bytes, rows[i].n, rows[i].expected);
}

#define CHECK_ROWS(rows) check_rows(rows, PM_ARRAY_LEN(rows))

static char *repeat(const char *text, size_t n_times)
{
    size_t n = strlen(text);
    char *all = malloc(n * n_times + 1);

    for (size_t i = 0; i < n_times; i++)
        memcpy(all + i * n, text, n);
    all[n * n_times] = '\0';
    return all;
}

static void check_long(const char *id, const char *before, const char *text, size_t n_times,
                       const char *after, const char *expected)
{
    pm_auto_free char *all = repeat(text, n_times);
    pm_auto_free char *bytes = pm_xasprintf("%s%s%s", before, all, after);

    check_bytes(id, bytes, strlen(bytes), expected);
}

/* ---------------------------------------------------------------------------------------------------- */

static void test_a_member_of_ours_comes_once_in_whatever_case(void **state)
{
    static const struct row rows[] = {
        ROW("H-72a", "{\"model\":\"m\",\"model\":\"evil\"}", "refused model"),
        ROW("H-72b", "{\"model\":\"m\",\"model\":\"m\"}", "refused model"),
        ROW("H-72c", "{\"model\":\"m\",\"mod\\u0065l\":\"evil\"}", "refused model"),
        ROW("H-72d", "{\"stream\":true,\"model\":\"m\",\"stream\":false}", "refused stream"),
        ROW("H-72e", "{\"model\":\"m\",\"Model\":\"evil\"}", "refused model"),
        ROW("H-72e, first", "{\"MODEL\":\"evil\",\"model\":\"m\"}", "refused model"),
        ROW("H-75l", "{\"keep_alive\":1,\"model\":\"m\",\"keep_alive\":2}", "refused keep_alive"),
        ROW("H-75l, other case", "{\"keep_alive\":1,\"model\":\"m\",\"Keep_Alive\":2}",
            "refused keep_alive"),
        ROW("P-13, below the top", "{\"x\":{\"model\":1,\"model\":2},\"model\":\"m\"}",
            "model 1 'm' 35..38"),
        ROW("P-13, others", "{\"a\":1,\"a\":2,\"model\":\"m\"}", "model 1 'm' 21..24"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_the_model_is_found_by_what_its_key_means(void **state)
{
    static const struct row rows[] = {
        ROW("H-73a", "{\"mod\\u0065l\":\"m\"}", "model 1 'm' 14..17"),
        ROW("H-73b", "{\"\\u006D\\u006f\\u0064\\u0065\\u006c\":\"\\u006d\"}", "model 1 'm' 34..42"),
        ROW("H-73c", "{\"x\":{\"model\":\"evil\"},\"model\":\"m\"}", "model 1 'm' 30..33"),
        ROW("H-73d", "{\"messages\":[{\"model\":\"evil\"}],\"model\":\"m\"}", "model 1 'm' 39..42"),
        ROW("H-73e", "{\"x\":\"model\",\"model\":\"m\"}", "model 1 'm' 21..24"),
        ROW("H-73f", "{\"x\":\"\\\",\\\"model\\\":\\\"evil\",\"model\":\"m\"}",
            "model 1 'm' 35..38"),
        ROW("H-74a", "{\"Model\":\"m\"}", "no model"),
        ROW("H-74b", "{\"model \":\"m\"}", "no model"),
        ROW("H-74c", "{\"model\\u0000\":\"m\"}", "no model"),
        ROW("H-74d", "{\"mode\":\"m\"}", "no model"),
        ROW("H-74e", "{\"modelAAAAAAAAAAAAAAAAAAAAAAAAAAAA\":\"m\"}", "no model"),
        ROW("H-74g", "{\"x\":{\"model\":\"m\"}}", "no model"),
        ROW("an empty object", "{}", "no model"),
        ROW("an empty key", "{\"\":1,\"model\":\"m\"}", "model 1 'm' 14..17"),
        ROW("P-13, blanks", " \t\r\n{ \"model\" : \"m\" , \"stream\" : true } \r\n ",
            "model 1 'm' 16..19 stream"),
        ROW("P-13", "{\"model\":\"m\",\"stream\":null}", "model 1 'm' 9..12"),
        ROW("P-13", "{\"model\":\"m\",\"stream\":false}", "model 1 'm' 9..12"),
        ROW("P-13, a pair", "{\"model\":\"\\ud83d\\ude00\"}", "model 4 '\xf0\x9f\x98\x80' 9..23"),
        ROW("P-13", "{\"messages\":\"model\",\"model\":\"m\"}", "model 1 'm' 28..31"),
        ROW("all escapes", "{\"model\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\"}",
            "model 13 '\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac' 9..39"),
    };

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-73g", "{\"x\":\"", "\\\\", 65536, "\",\"model\":\"m\"}",
               "model 1 'm' 131088..131091");
    check_long("H-73g, an odd one", "{\"x\":\"\\\"", "\\\\", 65536, "\",\"model\":\"m\"}",
               "model 1 'm' 131090..131093");
    check_long("H-74f", "{\"", "A", 70000, "\":\"m\"}", "no model");
    check_long("P-13, last", "{\"messages\":\"", "x", 1000000, "\",\"model\":\"m\"}",
               "model 1 'm' 1000023..1000026");
}

static void test_members_of_ours_have_one_type(void **state)
{
    static const struct row rows[] = {
        ROW("H-75a", "{\"model\":5}", "refused model"),
        ROW("H-75b", "{\"model\":true}", "refused model"),
        ROW("H-75c", "{\"model\":[]}", "refused model"),
        ROW("H-75d", "{\"model\":{\"model\":\"m\"}}", "refused model"),
        ROW("H-75e", "{\"model\":null}", "refused model"),
        ROW("H-75f", "{\"model\":\"m\",\"stream\":\"true\"}", "refused stream"),
        ROW("H-75g", "{\"model\":\"m\",\"stream\":1}", "refused stream"),
        ROW("H-75h", "{\"model\":\"m\",\"stream\":{}}", "refused stream"),
        ROW("stream, more letters", "{\"model\":\"m\",\"stream\":truer}", "refused stream"),
        ROW("stream, fewer letters", "{\"model\":\"m\",\"stream\":tru}", "refused stream"),
        ROW("stream, other case", "{\"model\":\"m\",\"stream\":True}", "refused stream"),
        ROW("keep_alive, a list", "{\"model\":\"m\",\"keep_alive\":[1]}", "refused keep_alive"),
        ROW("keep_alive, an escape", "{\"model\":\"m\",\"keep_alive\":\"5\\u006d\"}",
            "refused keep_alive"),
        ROW("keep_alive, long",
            "{\"model\":\"m\",\"keep_alive\":\"1234567890123456789012345678901\"}",
            "refused keep_alive"),
        ROW("keep_alive, a long number",
            "{\"model\":\"m\",\"keep_alive\":12345678901234567890123456789012}",
            "refused keep_alive"),
        ROW("keep_alive, text", "{\"model\":\"m\",\"keep_alive\":\"5m\"}",
            "model 1 'm' 9..12 keep \"5m\""),
        ROW("keep_alive, number", "{\"keep_alive\":-1,\"model\":\"m\"}",
            "model 1 'm' 25..28 keep -1"),
        ROW("keep_alive, empty", "{\"model\":\"m\",\"keep_alive\":\"\"}",
            "model 1 'm' 9..12 keep \"\""),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_a_long_model_is_told_and_not_cut_short(void **state)
{
    pm_auto_free char *a = repeat("A", 256);
    pm_auto_free char *expected = pm_xasprintf("model 256 '%s' 9..267", a);
    pm_auto_free char *too_long = pm_xasprintf("model 256 '%s' 9..268 too long", a);

    (void)state;
    check_long("P-12", "{\"model\":\"", "A", 256, "\"}", expected);
    check_long("H-76b", "{\"model\":\"", "A", 257, "\"}", too_long);
}

/* H-76: names no pool has, told apart by their length. */
static void test_a_model_is_kept_byte_for_byte(void **state)
{
    static const struct row rows[] = {
        ROW("H-76a", "{\"model\":\"\"}", "model 0 '' 9..11"),
        ROW("H-76d", "{\"model\":\"m\\u0000x\"}", "model 3 'm' 9..19"),
        ROW("H-76e", "{\"model\":\"m \"}", "model 2 'm ' 9..13"),
        ROW("H-76f", "{\"model\":\"M\"}", "model 1 'M' 9..12"),
        ROW("H-76g", "{\"model\":\"../m\"}", "model 4 '../m' 9..15"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_names_that_two_readers_spell_differently_are_refused(void **state)
{
    static const struct row rows[] = {
        ROW("H-77a", "{\"model\":\"\\ud800\"}", "refused model"),
        ROW("H-77b", "{\"model\":\"\\udc00\\ud800\"}", "refused model"),
        ROW("H-77c", "{\"model\":\"\xff\"}", "refused model"),
        ROW("H-77d", "{\"model\":\"\xc1\xad\"}", "refused model"),
        ROW("H-77e", "{\"model\":\"m\n\"}", "refused model"),
        ROW("H-77f", "{\"model\":\"\\x6d\"}", "refused model"),
        ROW("H-77g", "{\"model\":\"\\u00g0\"}", "refused model"),
        ROW("a NUL", "{\"model\":\"m\0\"}", "refused model"),
        ROW("an escaped NUL byte", "{\"model\":\"\\\0\"}", "refused model"),
        ROW("half a pair, then a letter", "{\"model\":\"\\ud83dx\"}", "refused model"),
        ROW("half a pair, then an escape", "{\"model\":\"\\ud83d\\n\"}", "refused model"),
        ROW("half a pair, then a letter's escape", "{\"model\":\"\\ud83d\\u0041\"}",
            "refused model"),
        ROW("a sequence cut by the end", "{\"model\":\"\xe2\x82\"}", "refused model"),
        ROW("a sequence cut by an escape", "{\"model\":\"\xe2\x82\\u00ac\"}", "refused model"),
        ROW("an encoded surrogate", "{\"model\":\"\xed\xa0\x80\"}", "refused model"),
        ROW("beyond Unicode", "{\"model\":\"\xf4\x90\x80\x80\"}", "refused model"),
        ROW("overlong in three", "{\"model\":\"\xe0\x81\xad\"}", "refused model"),
        ROW("overlong in four", "{\"model\":\"\xf0\x80\x81\xad\"}", "refused model"),
        ROW("a continuation alone", "{\"model\":\"\x80\"}", "refused model"),
        ROW("in a key", "{\"mod\xff\":1,\"model\":\"m\"}", "refused -"),
        ROW("in a key, an escape", "{\"mod\\x65l\":\"evil\",\"model\":\"m\"}", "refused -"),
        ROW("whole sequences", "{\"model\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
            "model 9 '\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80' 9..20"),
    };

    (void)state;
    CHECK_ROWS(rows);
}

static void test_a_body_is_one_whole_object(void **state)
{
    static const struct row rows[] = {
        ROW("H-78a", "", "refused -"),
        ROW("H-78c", "[]", "refused -"),
        ROW("H-78d", "\"model\"", "refused -"),
        ROW("H-78e", "null", "refused -"),
        ROW("H-78f", "{\"model\":\"m\"", "refused -"),
        ROW("H-78g", "{\"model\":\"m\"]", "refused -"),
        ROW("H-78h", "{\"model\":\"m\"}x", "refused -"),
        ROW("H-78i", "{\"model\":\"m\"}{\"model\":\"evil\"}", "refused -"),
        ROW("H-78j", "{\"model\":\"m\"}\0{}", "refused -"),
        ROW("H-78k", "\xef\xbb\xbf{\"model\":\"m\"}", "refused -"),
        ROW("H-78l", "{\0\"\0m\0o\0d\0e\0l\0\"\0:\0\"\0m\0\"\0}\0", "refused -"),
        ROW("H-78l, with a mark", "\xff\xfe{\0\"\0m\0\"\0:\0001\0}\0", "refused -"),
        ROW("H-79a", "{\"a\" \"model\":\"m\"}", "refused -"),
        ROW("H-79b", "{model:\"m\"}", "refused -"),
        ROW("H-79c", "{'model':'m'}", "refused -"),
        ROW("H-79d", "{\"model\":\"m\",}", "refused -"),
        ROW("H-79e", "{\"a\":/*\"model\":\"evil\",*/1,\"model\":\"m\"}", "refused -"),
        ROW("H-79f, the engine's to judge", "{\"a\":NaN,\"model\":\"m\"}", "model 1 'm' 17..20"),
        ROW("a comment below the top",
            "{\"x\":[/*\"*/],\"model\":\"evil\",\"y\":[/*\"*/],\"model\":\"m\"}", "refused -"),
        ROW("quotes of another kind below the top",
            "{\"x\":['\"'],\"model\":\"evil\",\"y\":['\"'],\"model\":\"m\"}", "refused -"),
        ROW("a blank that JSON has not",
            "{\"x\":[1,\xc2\xa0"
            "2],\"model\":\"m\"}",
            "refused -"),
        ROW("a NUL behind a number", "{\"x\":1\0,\"model\":\"m\"}", "refused -"),
        ROW("a NUL below the top", "{\"x\":[\0],\"model\":\"m\"}", "refused -"),
        ROW("a comma first", "{,\"model\":\"m\"}", "refused -"),
        ROW("two commas", "{\"a\":1,,\"model\":\"m\"}", "refused -"),
        ROW("two values", "{\"a\":1 2,\"model\":\"m\"}", "refused -"),
        ROW("no value", "{\"a\":,\"model\":\"m\"}", "refused -"),
        ROW("no colon", "{\"a\",\"model\":\"m\"}", "refused -"),
        ROW("a bracket of the other kind", "{\"x\":[1},\"model\":\"m\"}", "refused -"),
        ROW("nested brackets that cross", "{\"x\":{\"y\":[1}],\"model\":\"m\"}", "refused -"),
        ROW("cut in a key", "{\"mod", "refused -"),
        ROW("cut in an escape", "{\"x\":\"\\", "refused -"),
        ROW("cut in a number", "{\"x\":1", "refused -"),
        ROW("cut in a list", "{\"x\":[1", "refused -"),
    };

    (void)state;
    CHECK_ROWS(rows);
    check_long("H-78b", "", " \r\n\t", 1000, "", "refused -");
    for (unsigned c = 0; c < 256; c++) { /* outside of texts only what JSON is made of */
        char top[] = "{\"x\":?,\"model\":\"m\"}", deep[] = "{\"x\":[?],\"model\":\"m\"}";

        if (c >= 0x80 || c < 0x20 || strchr("'/\\#`();=*&|!@$%^~<>?_", (int)c)) {
            if (c == '\t' || c == '\r' || c == '\n')
                continue;
            top[5] = deep[6] = (char)c;
            check_bytes("at the top", top, sizeof(top) - 1, "refused -");
            check_bytes("below the top", deep, sizeof(deep) - 1, "refused -");
        }
    }
}

static void test_depth_is_bounded(void **state)
{
    pm_auto_free char *open = repeat("[", 10000);
    pm_auto_free char *close = repeat("]", 10000);
    pm_auto_free char *deep = pm_xasprintf("{\"x\":%.511s%.511s,\"model\":\"m\"}", open, close);
    pm_auto_free char *deeper = pm_xasprintf("{\"x\":%.512s%.512s,\"model\":\"m\"}", open, close);
    pm_auto_free char *deepest = pm_xasprintf("{\"x\":%s%s,\"model\":\"m\"}", open, close);

    (void)state;
    check_bytes("512 with the top", deep, strlen(deep), "model 1 'm' 1036..1039");
    check_bytes("513 with the top", deeper, strlen(deeper), "refused -");
    check_bytes("H-80a", deepest, strlen(deepest), "refused -");
    check_long("H-80b", "", "{\"a\":", 1000000, "", "refused -");
}

/* Bodies that would cost a careless reader the square of their length; all are a few MiB (H-80 c to e). */
static void test_no_body_costs_more_than_its_length(void **state)
{
    static const struct {
        const char *id, *before, *text, *after;
    } rows[] = {
        {"a text", "{\"x\":\"", "x", "\",\"model\":\"m\"}"},
        {"a text of escapes", "{\"x\":\"", "\\n", "\",\"model\":\"m\"}"},
        {"a text of quotes", "{\"x\":\"", "\\\"", "\",\"model\":\"m\"}"},
        {"a nested text of escapes", "{\"x\":[\"", "\\n", "\"],\"model\":\"m\"}"},
        {"many texts, one backslash at the end", "{\"x\":[", "\"\",", "\"\\n\"],\"model\":\"m\"}"},
        {"members", "{", "\"a\":1,", "\"model\":\"m\"}"},
        {"a number", "{\"x\":1", "1", ",\"model\":\"m\"}"},
    };
    int n_times = rounds(2000000);
    struct pm_scanner scanner;

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        pm_auto_free char *all = repeat(rows[i].text, (size_t)n_times);
        pm_auto_free char *body = pm_xasprintf("%s%s%s", rows[i].before, all, rows[i].after);
        size_t n = strlen(body);
        uint64_t before_ms = pm_monotonic_ms(), took_ms;

        if (scan(&scanner, body, n, n, n) < 0)
            fail_msg("%s: %s", rows[i].id, scanner.error);
        assert_string_equal(scanner.model, "m");
        took_ms = pm_monotonic_ms() - before_ms;
        /* Some tens of milliseconds with sanitizers; a square would be hours. */
        if (took_ms > 20000)
            fail_msg("%s: %d ms", rows[i].id, (int)took_ms);
    }
}

static char *without_keep_alive(const char *body)
{
    struct pm_scanner scanner;
    size_t n = strlen(body);

    assert_int_equal(scan(&scanner, body, n, n, n), 0);
    assert_true(scanner.has_keep_alive);
    return pm_xasprintf("%.*s%s", (int)scanner.keep_alive_member.from, body,
                        body + scanner.keep_alive_member.to);
}

/* H-81 b */
static void test_cutting_keep_alive_leaves_json(void **state)
{
    static const char *const rows[][2] = {
        {"{\"keep_alive\":5,\"model\":\"m\"}", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"keep_alive\":\"5m\"}", "{\"model\":\"m\"}"},
        {"{\"a\":[1,2],\"keep_alive\":5,\"model\":\"m\"}", "{\"a\":[1,2],\"model\":\"m\"}"},
        {"{\"keep_alive\":5}", "{}"},
        {"{ \"keep_alive\" : 5 }", "{ }"},
        {"{ \"model\" : \"m\" , \"keep_alive\" : 5 }", "{ \"model\" : \"m\" }"},
        {"{\"keep_\\u0061live\":5,\"x\":{\"keep_alive\":7}}", "{\"x\":{\"keep_alive\":7}}"},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        pm_auto_free char *left = without_keep_alive(rows[i][0]);

        if (strcmp(left, rows[i][1]) != 0)
            fail_msg("%s: '%s' is left, expected '%s'", rows[i][0], left, rows[i][1]);
    }
}

static void test_a_refusal_is_final_and_comes_at_once(void **state)
{
    struct pm_scanner scanner;

    (void)state;
    pm_scanner_init(&scanner);
    assert_int_equal(pm_scanner_feed(&scanner, "[", 1), -1);
    assert_int_equal(pm_scanner_feed(&scanner, "{\"model\":\"m\"}", 13), -1);
    assert_int_equal(pm_scanner_end(&scanner), -1);
    assert_string_equal(scanner.error, "the body is not a JSON object");

    pm_scanner_init(&scanner);
    assert_int_equal(pm_scanner_feed(&scanner, "{\"model\":5", 10), 0);
    assert_int_equal(pm_scanner_feed(&scanner, ",", 1),
                     -1); /* nobody waits for the rest of the body */
    assert_string_equal(scanner.param, "model");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_of_ours_comes_once_in_whatever_case),
        cmocka_unit_test(test_the_model_is_found_by_what_its_key_means),
        cmocka_unit_test(test_members_of_ours_have_one_type),
        cmocka_unit_test(test_a_long_model_is_told_and_not_cut_short),
        cmocka_unit_test(test_a_model_is_kept_byte_for_byte),
        cmocka_unit_test(test_names_that_two_readers_spell_differently_are_refused),
        cmocka_unit_test(test_a_body_is_one_whole_object),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_no_body_costs_more_than_its_length),
        cmocka_unit_test(test_cutting_keep_alive_leaves_json),
        cmocka_unit_test(test_a_refusal_is_final_and_comes_at_once),
    };

    return cmocka_run_group_tests_name("scanner", tests, NULL, NULL);
}
