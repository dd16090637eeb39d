/* SPDX-License-Identifier: Apache-2.0 */
/* Words, defaults and the table of events: nothing is missing, nothing is there twice, sentences fit their line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/event.h"
#include "core/spec.h"
#include "core/words.h"
#include "util/str.h"

static const char *owner(int i)
{
    return pm_owner_name((enum pm_owner)i);
}

static const char *intent(int i)
{
    return pm_intent_name((enum pm_intent)i);
}

static const char *state(int i)
{
    return pm_state_name((enum pm_state)i);
}

static const char *breaker(int i)
{
    return pm_breaker_name((enum pm_breaker)i);
}

static const char *class(int i)
{
    return pm_class_name((enum pm_class)i);
}

static void check_names(const char *(*name)(int), int first, int n)
{
    for (int i = first; i < n; i++) {
        assert_true(name(i)[0] != '\0');
        for (int k = first; k < i; k++)
            assert_string_not_equal(name(i), name(k));
    }
    assert_string_equal(name(n), "");
}

static void test_every_word_has_a_name_of_its_own(void **s)
{
    check_names(owner, 0, PM_OWNER_COUNT);
    check_names(intent, 0, PM_INTENT_COUNT);
    check_names(state, 0, PM_STATE_COUNT);
    check_names(breaker, 0, PM_BREAKER_COUNT);
    check_names(class, 1, PM_CLASS_COUNT);
    assert_string_equal(class(PM_CLASS_NONE), "");
}

static void test_a_breaker_is_found_by_its_name(void **s)
{
    enum pm_breaker found = PM_BREAKER_OPEN;

    for (int i = 0; i < PM_BREAKER_COUNT; i++) {
        assert_true(pm_breaker_by_name(breaker(i), &found));
        assert_int_equal(found, i);
    }
    assert_false(pm_breaker_by_name("ajar", &found));
}

static void test_a_fresh_spec_has_the_documented_defaults(void **s)
{
    struct pm_pool_spec *spec = pm_pool_spec_new("tiny");

    assert_string_equal(spec->id, "tiny");
    assert_string_equal(spec->engine, "llama");
    assert_string_equal(spec->devices, "auto");
    assert_string_equal(spec->tensor_split, "none");
    assert_int_equal(spec->vram.each, 0);
    assert_int_equal(spec->vram.devices.n, 0);
    assert_int_equal(spec->n_replicas, 1);
    assert_int_equal(spec->n_slots, 4);
    assert_int_equal(spec->context, 8192);
    assert_int_equal(spec->start, PM_ON_DEMAND);
    assert_int_equal(spec->idle_ttl_ms, 15 * 60 * 1000);
    assert_false(spec->pinned);
    assert_int_equal(spec->evict_cost, 1);
    assert_int_equal(spec->restart, PM_RESTART_ALWAYS);
    assert_int_equal(spec->max_queue_wait_ms, 0);
    assert_int_equal(spec->queue.n_requests, 1024);
    assert_int_equal(spec->queue.bytes, 256 * 1024 * 1024);
    assert_int_equal(spec->queue.policy, PM_QUEUE_REJECT);
    assert_int_equal(spec->queue.max_age_ms, 10 * 60 * 1000);
    assert_int_equal(spec->drain_deadline_ms, 5 * 60 * 1000);
    assert_int_equal(spec->stop_grace_ms, 10 * 1000);
    assert_int_equal(spec->start_stall_ms, 2 * 60 * 1000);
    assert_int_equal(spec->start_max_ms, 30 * 60 * 1000);
    assert_int_equal(spec->abandon_after_ms, 60 * 1000);
    assert_int_equal(spec->stall_timeout_ms, 2 * 60 * 1000);
    assert_int_equal(spec->probe.every_ms, 2000);
    assert_int_equal(spec->probe.fall, 3);
    assert_int_equal(spec->probe.rise, 2);
    assert_int_equal(spec->probe.sick_restart_ms, 60 * 1000);
    assert_int_equal(spec->backoff.base_ms, 1000);
    assert_int_equal(spec->backoff.cap_ms, 5 * 60 * 1000);
    assert_true(spec->backoff.jitter > 0.49 && spec->backoff.jitter < 0.51);
    assert_int_equal(spec->backoff.settle_ms, 60 * 1000);
    assert_int_equal(spec->backoff.reset_ms, 5 * 60 * 1000);
    assert_int_equal(spec->backoff.open_at, 5);
    assert_int_equal(spec->cancel_settle_ms, 500);
    assert_int_equal(spec->abandon_max_ms, 10 * 60 * 1000);
    assert_true(spec->habits.ours);
    pm_pool_spec_unref(pm_pool_spec_ref(spec));
    pm_pool_spec_unref(spec);
    pm_pool_spec_unref(NULL);
}

static void test_every_event_has_a_whole_row_and_a_name_of_its_own(void **s)
{
    for (int i = 0; i < PM_EV_COUNT; i++) {
        const struct pm_event_row *row = pm_event_row((enum pm_event_kind)i);

        assert_true(row->name && row->name[0] && row->actor && row->actor[0]);
        assert_true(row->action && row->action[0] && row->when && row->when[0]);
        for (const char *p = row->name; *p; p++)
            assert_true((*p >= 'a' && *p <= 'z') || *p == '_');
        for (int k = 0; k < i; k++)
            assert_string_not_equal(row->name, pm_event_row((enum pm_event_kind)k)->name);
    }
}

static void test_levels_are_found_by_their_names(void **s)
{
    enum pm_level level = PM_ERROR;

    for (int i = PM_ERROR; i <= PM_DEBUG; i++) {
        assert_true(pm_level_by_name(pm_level_name((enum pm_level)i), &level));
        assert_int_equal(level, i);
    }
    assert_false(pm_level_by_name("loud", &level));
}

static size_t characters(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void test_a_sentence_is_cut_at_a_hundred_characters_not_bytes_and_is_told_whole_NARR_1(
    void **s)
{
    char long_text[600] = "", wide[600] = "";
    struct pm_event event;

    memset(long_text, 'x', 300);
    pm_event_init(&event, PM_EV_STORM, "p");
    pm_event_human(&event, "%s", long_text);
    assert_int_equal(characters(event.human), PM_HUMAN_MAX);
    assert_true(pm_str_ends(event.human, "x…"));
    assert_string_equal(event.text, long_text); /* all of it, for who wants it */
    assert_true(event.fields & PM_EF_TEXT);

    pm_event_init(&event, PM_EV_STORM, "p");
    pm_event_text(&event, "the reason");
    for (int i = 0; i < 150; i++)
        strcat(wide, "ü");
    pm_event_human(&event, "%s", wide);
    assert_int_equal(characters(event.human), PM_HUMAN_MAX);
    assert_true(pm_utf8_valid(event.human, strlen(event.human)));
    assert_string_equal(event.text, "the reason");

    long_text[100] = '\0';
    pm_event_init(&event, PM_EV_STORM, "p");
    pm_event_human(&event, "%s", long_text);
    assert_string_equal(event.human, long_text);
    assert_false(event.fields & PM_EF_TEXT);
}

static void test_what_engines_say_cannot_break_a_line(void **s)
{
    struct pm_event event;

    pm_event_init(&event, PM_EV_START_FAILED, "p\n");
    pm_event_human(&event, "one\ntwo\x1b[31m");
    assert_string_equal(event.human, "one two [31m");
    pm_event_text(&event, "a\r\nb");
    assert_string_equal(event.text, "a  b");
    assert_string_equal(event.target, "p ");
    assert_true(event.fields & PM_EF_TEXT);
}

static void test_bytes_that_are_no_utf_8_become_question_marks(void **s)
{
    static const char *const pairs[][2] = {
        {"plain", "plain"},           {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xff\xfe", "??"},           {"a\x80z", "a?z"},
        {"\xc0\xaf", "??"},           /* overlong */
        {"\xed\xa0\x80.", "???."},    /* a surrogate */
        {"cut \xe2\x82", "cut "},     /* half a euro */
        {"cut \xf0\x9f\x98", "cut "}, /* most of a smile */
        {"\xe2\x82z", "??z"},         {"\xe2(", "?("},
        {"a\tb\r\nc\x7f", "a b  c "}, {"", ""},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char text[32];

        strcpy(text, pairs[i][0]);
        pm_text_clean(text);
        assert_string_equal(text, pairs[i][1]);
        assert_true(pm_utf8_valid(text, strlen(text)));
    }
}

static void test_setters_mark_what_they_set(void **s)
{
    struct pm_event event;

    pm_event_init(&event, PM_EV_INSTANCE_READY, "tiny");
    assert_int_equal(event.fields, 0);
    assert_int_equal(event.level, PM_INFO);
    pm_event_pool(&event, "tiny");
    pm_event_replica(&event, 1, 3);
    pm_event_request(&event, "abc");
    assert_int_equal(event.fields,
                     PM_EF_POOL_ID | PM_EF_REPLICA_ID | PM_EF_INSTANCE | PM_EF_REQUEST_ID);
    assert_string_equal(event.instance, "tiny.3");
    assert_int_equal(event.replica_id, 1);
    assert_string_equal(event.request_id, "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_word_has_a_name_of_its_own),
        cmocka_unit_test(test_a_breaker_is_found_by_its_name),
        cmocka_unit_test(test_a_fresh_spec_has_the_documented_defaults),
        cmocka_unit_test(test_every_event_has_a_whole_row_and_a_name_of_its_own),
        cmocka_unit_test(test_levels_are_found_by_their_names),
        cmocka_unit_test(
            test_a_sentence_is_cut_at_a_hundred_characters_not_bytes_and_is_told_whole_NARR_1),
        cmocka_unit_test(test_what_engines_say_cannot_break_a_line),
        cmocka_unit_test(test_bytes_that_are_no_utf_8_become_question_marks),
        cmocka_unit_test(test_setters_mark_what_they_set),
    };

    return cmocka_run_group_tests_name("core: words, specs, events", tests, NULL, NULL);
}
