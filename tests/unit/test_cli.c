/* SPDX-License-Identifier: Apache-2.0 */
/* What poolctl prints (CLI-1): tables, events cut anywhere, and the page of its verbs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

static struct pm_table *sample(void)
{
    static const char *const titles[] = {"POOL", "STATE", "NOTE"};
    struct pm_table *table = pm_table_new(titles, 3);
    char **cells = pm_table_row(table);

    cells[0] = pm_xstrdup("größe");
    cells[1] = pm_xstrdup("ready");
    cells[2] = pm_xstrdup("stops when idle for 15m");
    cells = pm_table_row(table);
    cells[0] = pm_xstrdup("b");
    cells[1] = pm_xstrdup("backoff");
    return table;
}

static void test_columns_are_as_wide_as_their_widest_cell_in_characters(void **state)
{
    struct pm_table *table = sample();
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    pm_table_print(table, 0, &out);
    assert_string_equal(pm_buf_text(&out), "POOL   STATE    NOTE\n"
                                           "größe  ready    stops when idle for 15m\n"
                                           "b      backoff\n");
    pm_table_free(table);
}

static void test_the_last_column_is_cut_at_the_width_of_the_terminal(void **state)
{
    struct pm_table *table = sample();
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    pm_table_print(table, 26, &out);
    assert_string_equal(pm_buf_text(&out), "POOL   STATE    NOTE\n"
                                           "größe  ready    stops when\n"
                                           "b      backoff\n");
    pm_table_free(table);
}

static void test_a_table_holds_every_row(void **state)
{
    static const char *const titles[] = {"A", "B"};
    struct pm_table *table = pm_table_new(titles, 2);
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    for (int i = 0; i < 5000; i++)
        pm_table_row(table)[0] = pm_xasprintf("row-%d", i);
    pm_table_print(table, 0, &out);
    assert_non_null(strstr(pm_buf_text(&out), "\nrow-0\n"));
    assert_non_null(strstr(pm_buf_text(&out), "\nrow-4999\n"));
    pm_table_free(table);
}

struct seen {
    unsigned n;
    char text[256];
};

static bool on_event(void *ctx, const char *event, const char *data)
{
    struct seen *seen = ctx;

    (void)snprintf(seen->text + strlen(seen->text), sizeof(seen->text) - strlen(seen->text),
                   "[%s|%s]", event, data);
    return ++seen->n < 3;
}

static void test_events_are_the_same_wherever_they_are_cut(void **state)
{
    static const char stream[] = ": a comment\n\nid: 1\nevent: one\ndata: {\"a\":1}\n\ndata: "
                                 "two\n\nevent: three\ndata: 3\n\n";

    (void)state;
    for (size_t cut = 0; cut < sizeof(stream) - 1; cut++) {
        struct seen seen = {0};
        struct pm_events events = {.fn = on_event, .ctx = &seen};
        bool first = pm_events_feed(&events, stream, cut);
        bool second = pm_events_feed(&events, stream + cut, sizeof(stream) - 1 - cut);

        assert_true(first && !second); /* the third ends it */
        assert_string_equal(seen.text, "[one|{\"a\":1}][|two][three|3]");
        pm_events_fini(&events);
    }
}

static void test_names_are_encoded_for_paths(void **state)
{
    pm_auto_free char *encoded = pm_encode("org/na me%ü");

    (void)state;
    assert_string_equal(encoded, "org%2Fna%20me%25%C3%BC");
}

static void test_ages_are_for_people_and_nonsense_is_a_dash(void **state)
{
    char text[32];

    (void)state;
    assert_string_equal(pm_since(text, sizeof(text), "1970-01-01T00:00:10.500Z", 70500), "1m");
    assert_string_equal(pm_since(text, sizeof(text), "1970-01-01T00:00:10.500Z", 0), "0s");
    assert_string_equal(pm_since(text, sizeof(text), "1970-01-01T00:00:10.500Z", 50499), "39s");
    assert_string_equal(pm_since(text, sizeof(text), "yesterday", 0), "-");
    assert_string_equal(pm_since(text, sizeof(text), NULL, 0), "-");
}

static void test_a_clock_is_local_and_has_a_date_when_that_is_not_todays(void **state)
{
    char text[40];

    (void)state;
    assert_int_equal(setenv("TZ", "UTC-2", 1), 0);
    tzset();
    assert_string_equal(pm_clock(text, sizeof(text), "1970-01-01T00:00:10.500Z", 70500),
                        "02:00:10.500");
    assert_string_equal(pm_clock(text, sizeof(text), "1970-01-01T00:00:10.500Z", 86400000),
                        "1970-01-01 02:00:10.500");
    assert_string_equal(pm_clock(text, sizeof(text), "noon", 0), "-");
}

static void print_page(struct pm_buf *out)
{
    pm_buf_adds(
        out,
        "# poolctl\n\n"
        "`poolctl [--url URL] [--json] [--quiet] [--no-wait] [--timeout 10m] VERB …` talks to the "
        "daemon over its "
        "control socket, or over HTTP with `--url` or `POOLMGR_URL` (`http://host:port`, "
        "`unix:/path`). Text is "
        "for people and may change; `--json` is the API's shape. Errors go to standard error as "
        "`poolctl: what; hint`. This page is printed from the table of verbs.\n\n"
        "| verb | what it does |\n| --- | --- |\n");
    for (const struct pm_verb *verb = pm_verbs; verb->name; verb++) {
        pm_buf_addf(out, "| `%s%s", verb->name, verb->usage[0] ? " " : "");
        for (const char *p = verb->usage; *p; p++)
            pm_buf_addf(out, *p == '|' ? "\\%c" : "%c", *p);
        pm_buf_addf(out, "` | %s |\n", verb->help);
    }
    pm_buf_adds(
        out, "\n| exit status | when |\n| --- | --- |\n| 0 | done |\n| 1 | refused, or failed |\n"
             "| 2 | wrong use, or a configuration that is wrong |\n| 3 | nothing of that name |\n"
             "| 4 | no daemon answers |\n| 5 | the wait ended first |\n| 130 | Ctrl-C |\n");
}

static void test_the_page_of_verbs_is_current(void **state)
{
    const char *path = PM_SOURCE_ROOT "/docs/poolctl.md";
    pm_auto_buf struct pm_buf out = {0};
    pm_auto_free char *text = NULL;
    struct poolmgr_error err = {0};

    (void)state;
    print_page(&out);
    if (getenv("POOLMGR_WRITE_DOCS"))
        assert_int_equal(pm_write_file(path, out.data, out.n, 0644, false, &err), 0);
    assert_int_equal(pm_read_file(path, 1 << 20, &text, NULL, &err), 0);
    if (strcmp(text, pm_buf_text(&out)) != 0)
        fail_msg("docs/poolctl.md is old; run this test with POOLMGR_WRITE_DOCS=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_are_as_wide_as_their_widest_cell_in_characters),
        cmocka_unit_test(test_the_last_column_is_cut_at_the_width_of_the_terminal),
        cmocka_unit_test(test_a_table_holds_every_row),
        cmocka_unit_test(test_events_are_the_same_wherever_they_are_cut),
        cmocka_unit_test(test_names_are_encoded_for_paths),
        cmocka_unit_test(test_ages_are_for_people_and_nonsense_is_a_dash),
        cmocka_unit_test(test_a_clock_is_local_and_has_a_date_when_that_is_not_todays),
        cmocka_unit_test(test_the_page_of_verbs_is_current),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
