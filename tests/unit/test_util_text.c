/* SPDX-License-Identifier: Apache-2.0 */
/* Texts: durations and sizes read and printed, names, suggestions, UTF-8, what is safe in JSON, time stamps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "util/buf.h"
#include "util/cleanup.h"
#include "util/jsontext.h"
#include "util/str.h"
#include "util/time.h"

struct number {
    const char *text;
    uint64_t value;
};

static void test_durations_are_read(void **state)
{
    static const struct number good[] = {
        {"0", 0},
        {"0s", 0},
        {"500ms", 500},
        {"10s", 10000},
        {"15m", 900000},
        {"1h30m", 5400000},
        {"7d", 604800000},
        {"1d2h3m4s5ms", 93784005},
        {"90m", 5400000},
        {"1m500ms", 60500},
        {"18446744073709551615ms", UINT64_MAX},
    };
    static const char *const bad[] = {
        "",
        "10",
        "1",
        "s",
        "ms",
        "-1s",
        "+1s",
        " 1s",
        "1s ",
        "1 s",
        "1.5s",
        "1S",
        "1x",
        "30m1h",
        "1s1s",
        "1ms1s",
        "1h30",
        "1w",
        "00",
        "0x1s",
        "1sm",
        "1mss",
        "18446744073709551616ms",
        "18446744073709552s",
        "213503982335d",
        "18446744073709551s616ms",
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(good); i++) {
        uint64_t ms = 1;

        assert_true(pm_parse_duration(good[i].text, &ms));
        assert_int_equal(ms, good[i].value);
    }
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++) {
        uint64_t ms = 77;

        if (pm_parse_duration(bad[i], &ms))
            fail_msg("'%s' was read as %llu ms", bad[i], (unsigned long long)ms);
        assert_int_equal(ms, 77);
    }
}

static void test_sizes_are_read(void **state)
{
    static const struct number good[] = {
        {"0", 0},
        {"0GiB", 0},
        {"12B", 12},
        {"1KB", 1000},
        {"1KiB", 1024},
        {"64MiB", 64ull << 20},
        {"7GiB", 7ull << 30},
        {"5GB", 5000000000ull},
        {"2TB", 2000000000000ull},
        {"16777215TiB", 16777215ull << 40},
        {"18446744073709551615B", UINT64_MAX},
    };
    static const char *const bad[] = {
        "",    "1",        "100",   "GiB",         "-1B",
        " 1B", "1B ",      "1 GiB", "1gib",        "1G",
        "1Gi", "1.5GiB",   "1GiBs", "1b",          "1kB",
        "1PB", "1GiB1MiB", "0x10B", "16777216TiB", "18446744073709551616B",
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(good); i++) {
        uint64_t bytes = 1;

        assert_true(pm_parse_bytes(good[i].text, &bytes));
        assert_int_equal(bytes, good[i].value);
    }
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++) {
        uint64_t bytes = 77;

        if (pm_parse_bytes(bad[i], &bytes))
            fail_msg("'%s' was read as %llu bytes", bad[i], (unsigned long long)bytes);
        assert_int_equal(bytes, 77);
    }
}

static void test_counts_are_digits_and_do_not_overflow(void **state)
{
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1a", "0x1", "1.0", "18446744073709551616"};
    uint64_t value = 0;

    (void)state;
    assert_true(pm_parse_u64("18446744073709551615", &value));
    assert_int_equal(value, UINT64_MAX);
    assert_true(pm_parse_u64("007", &value));
    assert_int_equal(value, 7);
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++)
        assert_false(pm_parse_u64(bad[i], &value));
    assert_int_equal(value, 7);
}

static void test_what_is_printed_is_read_back(void **state)
{
    uint64_t seed = 3;

    (void)state;
    for (size_t i = 0; i < 5000; i++) {
        uint64_t value, back = 1;
        char text[64];

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        value = seed >> (seed % 61);
        if (i % 3 == 0)
            value &= ~0xfffffull; /* round sizes, too */

        assert_true(pm_parse_duration(pm_print_duration(text, sizeof(text), value), &back));
        assert_int_equal(back, value);
        assert_true(pm_parse_bytes(pm_print_bytes(text, sizeof(text), value), &back));
        assert_int_equal(back, value);
    }
}

static void test_defaults_are_printed_as_people_write_them(void **state)
{
    char text[64];

    (void)state;
    assert_string_equal(pm_print_duration(text, sizeof(text), 0), "0");
    assert_string_equal(pm_print_duration(text, sizeof(text), 500), "500ms");
    assert_string_equal(pm_print_duration(text, sizeof(text), 900000), "15m");
    assert_string_equal(pm_print_duration(text, sizeof(text), 5400000), "1h30m");
    assert_string_equal(pm_print_bytes(text, sizeof(text), 0), "0");
    assert_string_equal(pm_print_bytes(text, sizeof(text), 64ull << 20), "64MiB");
    assert_string_equal(pm_print_bytes(text, sizeof(text), 5000000000ull), "5GB");
    assert_string_equal(pm_print_bytes(text, sizeof(text), 5000000000000ull), "5TB");
    assert_string_equal(pm_print_bytes(text, sizeof(text), 1000), "1KB");
    assert_string_equal(pm_print_bytes(text, sizeof(text), 1001), "1001B");
}

static void test_sizes_and_times_for_people(void **state)
{
    char text[32];

    (void)state;
    assert_string_equal(pm_format_bytes(text, sizeof(text), 12), "12 B");
    assert_string_equal(pm_format_bytes(text, sizeof(text), 7ull << 30), "7.0 GiB");
    assert_string_equal(pm_format_bytes(text, sizeof(text), 512ull << 20), "512 MiB");
    assert_string_equal(pm_format_duration(text, sizeof(text), 850), "850 ms");
    assert_string_equal(pm_format_duration(text, sizeof(text), 4117), "4.1 s");
    assert_string_equal(pm_format_duration(text, sizeof(text), 59999), "60.0 s");
    assert_string_equal(pm_format_duration(text, sizeof(text), 720000), "12m");
    assert_string_equal(pm_format_duration(text, sizeof(text), 7200000), "2h");
    assert_string_equal(pm_format_duration(text, sizeof(text), 3 * 86400000ull), "3d");
}

static void test_pool_ids_follow_their_grammar(void **state)
{
    static const char *const good[] = {
        "a",   "0",    "qwen3-8b-q4_k_m",
        "a.b", "a--b", "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijkl"};
    static const char *const bad[] = {"",
                                      "-a",
                                      "a-",
                                      ".a",
                                      "a.",
                                      "_",
                                      "A",
                                      "a b",
                                      "a/b",
                                      "..",
                                      "a\n",
                                      "\xc3\xa4",
                                      "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklm"};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(good); i++)
        assert_true(pm_pool_id_valid(good[i]));
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++)
        assert_false(pm_pool_id_valid(bad[i]));
}

static void test_a_slip_of_the_finger_gets_the_word_that_was_meant(void **state)
{
    static const char *const words[] = {"slots", "start", "stop", "context", "idle_ttl", "model"};
    static const struct {
        const char *word, *meant;
    } rows[] = {
        {"slotz", "slots"}, {"slot", "slots"},  {"contxt", "context"}, {"idle-ttl", "idle_ttl"},
        {"modle", "model"}, {"satrt", "start"}, {"banana", NULL},      {"", NULL},
        {"x", NULL},        {"replicas", NULL},
    };
    char longer[200];

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        const char *found = pm_str_suggest(rows[i].word, words, PM_ARRAY_LEN(words));

        if (rows[i].meant)
            assert_string_equal(found, rows[i].meant);
        else
            assert_null(found);
    }
    memset(longer, 's', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_null(pm_str_suggest(longer, words, PM_ARRAY_LEN(words)));
    assert_null(pm_str_suggest("slots", NULL, 0));
}

static void test_copies_are_cut_between_characters(void **state)
{
    char to[8];

    (void)state;
    assert_true(pm_str_copy(to, sizeof(to), "1234567"));
    assert_string_equal(to, "1234567");
    assert_false(pm_str_copy(to, sizeof(to), "12345678"));
    assert_string_equal(to, "1234567");
    assert_false(
        pm_str_copy(to, sizeof(to), "12345\xe2\x82\xac")); /* a euro sign that does not fit */
    assert_string_equal(to, "12345");
    assert_false(pm_str_copy(to, 1, "x"));
    assert_string_equal(to, "");
}

static void test_prefixes_and_suffixes(void **state)
{
    (void)state;
    assert_true(pm_str_starts("hf:x", "hf:"));
    assert_false(pm_str_starts("hf", "hf:"));
    assert_true(pm_str_starts("x", ""));
    assert_true(pm_str_ends("a.gguf", ".gguf"));
    assert_false(pm_str_ends("gguf", ".gguf"));
    assert_true(pm_str_ends("x", ""));
}

static void test_lists_of_texts_own_their_copies(void **state)
{
    struct pm_strv a = {0}, b = {0};
    char word[] = "one";

    (void)state;
    assert_true(pm_strv_equal(&a, &b));
    pm_strv_add(&a, word);
    word[0] = 'x';
    pm_strv_add(&a, "two");
    assert_true(pm_strv_contains(&a, "one"));
    assert_false(pm_strv_contains(&a, "xne"));
    assert_null(a.items[a.n]);
    pm_strv_copy(&b, &a);
    assert_true(pm_strv_equal(&a, &b));
    pm_strv_add(&b, "three");
    assert_false(pm_strv_equal(&a, &b));
    pm_strv_fini(&a);
    pm_strv_fini(&b);
    assert_int_equal(a.n, 0);
}

static void test_random_hex_is_hex_and_never_the_same(void **state)
{
    char a[33], b[33];

    (void)state;
    pm_random_hex(a, 16);
    pm_random_hex(b, 16);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_not_equal(a, b);
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------ */

static void test_utf8_is_judged_as_unicode_says(void **state)
{
    static const char *const good[] = {"",
                                       "abc",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "-\xe2\x82\xac-"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2x",
                                      "\xe0\x9f\xbf",
                                      "\xe2\x82",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xfe",
                                      "\xf0\x90\x80",
                                      "a\xe2\x82",
                                      "\xe2\x82\xac\x80"};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(good); i++)
        assert_true(pm_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < PM_ARRAY_LEN(bad); i++)
        assert_false(pm_utf8_valid(bad[i], strlen(bad[i])));
    assert_true(pm_utf8_valid("a\0b", 3));
}

static void test_every_code_point_is_valid_but_the_surrogates(void **state)
{
    (void)state;
    for (uint32_t c = 0x10000; c < 0x110000; c += 97) {
        char text[] = {(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 63)),
                       (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63))};

        assert_true(pm_utf8_valid(text, 4));
        assert_false(pm_utf8_valid(text, 3));
    }
    for (uint32_t c = 0x800; c < 0x10000; c++) {
        char text[] = {(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 63)),
                       (char)(0x80 | (c & 63))};

        assert_int_equal(pm_utf8_valid(text, 3), c < 0xd800 || c > 0xdfff);
    }
}

static void test_any_bytes_become_a_json_string_that_a_parser_reads(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (size_t round = 0; round < 2000; round++) {
        pm_auto_buf struct pm_buf quoted = {0}, repaired = {0};
        char bytes[24];
        json_t *value;

        for (size_t i = 0; i < sizeof(bytes); i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (char)(seed >> 56);
        }
        pm_json_quote(&quoted, bytes, sizeof(bytes));
        pm_utf8_repair(&repaired, bytes, sizeof(bytes));
        assert_true(pm_utf8_valid(repaired.data, repaired.n));

        value = json_loadb(quoted.data, quoted.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        assert_int_equal(json_string_length(value), repaired.n);
        assert_memory_equal(json_string_value(value), repaired.data, repaired.n);
        json_decref(value);
    }
}

static void test_quotes_controls_and_broken_bytes_in_json(void **state)
{
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    pm_json_quote(&out, "a\"b\\c\n\r\t\x01\x7f\xe2\x82\xac\xff", 14);
    assert_string_equal(pm_buf_text(&out),
                        "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\xe2\x82\xac\xef\xbf\xbd\"");
    pm_buf_clear(&out);
    pm_json_quote(&out, NULL, 0);
    assert_string_equal(pm_buf_text(&out), "\"\"");
}

/* ---- time ------------------------------------------------------------------------------------------- */

static void test_instants_are_rfc_3339_in_utc(void **state)
{
    char text[PM_TIMESTAMP_SIZE];

    (void)state;
    assert_string_equal(pm_format_timestamp(text, 0), "1970-01-01T00:00:00.000Z");
    assert_string_equal(pm_format_timestamp(text, 1769860804117u), "2026-01-31T12:00:04.117Z");
    assert_string_equal(pm_format_timestamp(text, 951827696789u), "2000-02-29T12:34:56.789Z");
    assert_int_equal(strlen(pm_format_timestamp(text, UINT64_MAX)), PM_TIMESTAMP_SIZE - 1);
}

static void test_the_monotonic_clock_goes_forward(void **state)
{
    uint64_t former_ns = pm_monotonic_ns();

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        uint64_t now_ns = pm_monotonic_ns();

        assert_true(now_ns >= former_ns);
        assert_true(pm_monotonic_ms() >= now_ns / 1000000u);
        former_ns = now_ns;
    }
    assert_true(pm_wall_ms() > 1700000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations_are_read),
        cmocka_unit_test(test_sizes_are_read),
        cmocka_unit_test(test_counts_are_digits_and_do_not_overflow),
        cmocka_unit_test(test_what_is_printed_is_read_back),
        cmocka_unit_test(test_defaults_are_printed_as_people_write_them),
        cmocka_unit_test(test_sizes_and_times_for_people),
        cmocka_unit_test(test_pool_ids_follow_their_grammar),
        cmocka_unit_test(test_a_slip_of_the_finger_gets_the_word_that_was_meant),
        cmocka_unit_test(test_copies_are_cut_between_characters),
        cmocka_unit_test(test_prefixes_and_suffixes),
        cmocka_unit_test(test_lists_of_texts_own_their_copies),
        cmocka_unit_test(test_random_hex_is_hex_and_never_the_same),
        cmocka_unit_test(test_utf8_is_judged_as_unicode_says),
        cmocka_unit_test(test_every_code_point_is_valid_but_the_surrogates),
        cmocka_unit_test(test_any_bytes_become_a_json_string_that_a_parser_reads),
        cmocka_unit_test(test_quotes_controls_and_broken_bytes_in_json),
        cmocka_unit_test(test_instants_are_rfc_3339_in_utc),
        cmocka_unit_test(test_the_monotonic_clock_goes_forward),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
