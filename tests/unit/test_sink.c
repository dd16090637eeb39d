/* SPDX-License-Identifier: Apache-2.0 */
/* Events as lines, and the sink that writes, keeps and announces them (NARR-1, NARR-2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "manager/sink.h"
#include "poolmgr/error.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/jsontext.h"
#include "util/str.h"

#define NOON 1769860804117u /* 2026-01-31T12:00:04.117Z */

static struct pm_event ready_event(void)
{
    struct pm_event event;

    pm_event_init(&event, PM_EV_INSTANCE_READY, "qwen-8b");
    pm_event_human(&event, "qwen-8b is ready after 4.1 s on GPU 0 with 6.9 GiB");
    pm_event_pool(&event, "qwen-8b");
    pm_event_replica(&event, 0, 3);
    event.fields |= PM_EF_ENGINE | PM_EF_ENGINE_VERSION | PM_EF_DURATION_MS;
    (void)pm_str_copy(event.engine, sizeof(event.engine), "llama.cpp");
    (void)pm_str_copy(event.engine_version, sizeof(event.engine_version), "0.7.0");
    event.duration_ms = 4117;
    return event;
}

static void assert_json(const struct pm_event *event, const char *expected)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_event_json(event, NOON, &out);
    assert_string_equal(pm_buf_text(&out), expected);
}

static void assert_pretty(const struct pm_event *event, bool colour, const char *expected)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_event_pretty(event, NOON, colour, &out);
    assert_string_equal(pm_buf_text(&out), expected);
}

static void test_an_event_is_the_json_line_of_narr_1(void **state)
{
    struct pm_event event = ready_event();

    (void)state;
    assert_json(
        &event,
        "{\"time\":\"2026-01-31T12:00:04.117Z\",\"level\":\"info\",\"event\":\"instance_ready\","
        "\"actor\":\"manager\",\"action\":\"start\",\"target\":\"qwen-8b\","
        "\"human\":\"qwen-8b is ready after 4.1 s on GPU 0 with 6.9 GiB\",\"pool_id\":\"qwen-8b\","
        "\"replica_id\":0,\"instance\":\"qwen-8b.3\",\"engine\":\"llama.cpp\","
        "\"engine_version\":\"0.7.0\",\"duration_ms\":4117}");
}

static void test_codes_and_classes_are_told_by_name(void **state)
{
    struct pm_event event;

    (void)state;
    pm_event_init(&event, PM_EV_INSTANCE_CRASHED, "m");
    event.fields |= PM_EF_ERROR_CODE | PM_EF_CLASS | PM_EF_SIGNAL;
    event.error_code = POOLMGR_E_ENGINE_CRASHED;
    event.class = PM_CLASS_OOM;
    event.signal = 9;
    assert_json(&event,
                "{\"time\":\"2026-01-31T12:00:04.117Z\",\"level\":\"error\","
                "\"event\":\"instance_crashed\",\"actor\":\"manager\",\"action\":\"restart\","
                "\"target\":\"m\",\"human\":\"\",\"error_code\":\"engine_crashed\","
                "\"class\":\"oom\",\"signal\":9}");
}

static void test_a_class_of_a_planned_end_is_not_told(void **state)
{
    struct pm_event event = ready_event();
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    event.fields |= PM_EF_CLASS;
    event.class = PM_CLASS_NONE;
    pm_event_json(&event, NOON, &out);
    assert_null(strstr(pm_buf_text(&out), "class"));
}

static void test_listen_addresses_are_an_array(void **state)
{
    struct pm_event event;
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    pm_event_init(&event, PM_EV_DAEMON_STARTED, "orchestratord");
    pm_event_text(&event, "127.0.0.1:8080 unix:/run/c.sock");
    event.fields |= PM_EF_LISTEN;
    pm_event_json(&event, NOON, &out);
    assert_non_null(
        strstr(pm_buf_text(&out), "\"listen\":[\"127.0.0.1:8080\",\"unix:/run/c.sock\"]}"));
    assert_null(strstr(pm_buf_text(&out), "\"text\""));
}

static void test_every_kind_of_event_with_every_field_is_good_json(void **state)
{
    (void)state;
    for (int kind = 0; kind < PM_EV_COUNT; kind++) {
        pm_auto_buf struct pm_buf out = {0};
        struct pm_event event;
        json_t *parsed;

        pm_event_init(&event, (enum pm_event_kind)kind, "t\"\\\n\x01\x7f\xff");
        memset(event.human, 0xc3, sizeof(event.human) - 1);
        memset(event.text, 0x1b, sizeof(event.text) - 1);
        event.fields = ~0u;
        event.class = PM_CLASS_GONE;
        pm_event_json(&event, UINT64_MAX / 2000, &out);
        parsed = json_loadb(out.data, out.n, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(parsed);
        assert_int_equal(json_object_size(parsed), 7 + 25);
        json_decref(parsed);
    }
}

static void test_json_texts_escape_controls_and_replace_what_is_no_utf8(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", "\"\""},
        {"caf\xc3\xa9", "\"caf\xc3\xa9\""},
        {"a\"b\\c\n\r\t\x1b\x7f", "\"a\\\"b\\\\c\\n\\r\\t\\u001b\\u007f\""},
        {"\xff"
         "a",
         "\"\xef\xbf\xbd"
         "a\""},
        {"\xc3", "\"\xef\xbf\xbd\""},
        {"\xc1\xad", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        pm_auto_buf struct pm_buf out = {0};

        pm_json_quote(&out, rows[i].text, strlen(rows[i].text));
        assert_string_equal(pm_buf_text(&out), rows[i].expected);
    }
}

static void test_an_event_for_people_has_time_level_sentence_and_pairs(void **state)
{
    struct pm_event event = ready_event();

    (void)state;
    pm_event_text(&event, "two words");
    assert_pretty(&event, false,
                  "12:00:04.117 info  qwen-8b is ready after 4.1 s on GPU 0 with 6.9 GiB  "
                  "event=instance_ready pool_id=qwen-8b replica_id=0 instance=qwen-8b.3 "
                  "engine=llama.cpp engine_version=0.7.0 duration_ms=4117 text=\"two words\"");
}

static void test_colour_is_only_written_when_asked_for(void **state)
{
    struct pm_event event;

    (void)state;
    pm_event_init(&event, PM_EV_STORM, "m");
    pm_event_human(&event, "m failed 5 times");
    assert_pretty(&event, true,
                  "\033[2m12:00:04.117\033[0m \033[31merror\033[0m m failed 5 times\033[2m  "
                  "event=storm\033[0m");
    assert_pretty(&event, false, "12:00:04.117 error m failed 5 times  event=storm");
}

static void test_what_engines_say_cannot_steer_a_terminal(void **state)
{
    struct pm_event event = ready_event();
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    (void)pm_str_copy(event.human, sizeof(event.human),
                      "a\033[2Jb\xc2\x9b"
                      "31mc\xff");
    pm_event_pretty(&event, NOON, false, &out);
    assert_null(strchr(pm_buf_text(&out), '\033'));
    assert_null(strstr(pm_buf_text(&out), "\xc2\x9b"));
    assert_non_null(strstr(pm_buf_text(&out), "\xef\xbf\xbd"));
}

/* ---- the sink --------------------------------------------------------------------------------------- */

static struct pm_sink *quiet_sink(void)
{
    return pm_sink_new(&(struct pm_sink_options){.fd = -1, .level = PM_DEBUG});
}

static void tell(struct pm_sink *sink, enum pm_event_kind kind, const char *pool_id)
{
    struct pm_event event;

    pm_event_init(&event, kind, pool_id);
    if (*pool_id)
        pm_event_pool(&event, pool_id);
    pm_sink_tell(sink, &event);
}

static void test_events_are_kept_in_order_with_ids_from_one(void **state)
{
    struct pm_sink *sink = quiet_sink();
    struct pm_kept_event kept;
    uint64_t missed;

    (void)state;
    assert_false(pm_sink_next(sink, 1, &kept, &missed));
    tell(sink, PM_EV_INSTANCE_STARTING, "a");
    tell(sink, PM_EV_STORM, "");
    assert_int_equal(pm_sink_last_id(sink), 2);
    assert_true(pm_sink_next(sink, 0, &kept, &missed));
    assert_int_equal(kept.id, 1);
    assert_int_equal(missed, 0);
    assert_string_equal(kept.name, "instance_starting");
    assert_string_equal(kept.pool_id, "a");
    assert_true(pm_sink_next(sink, 2, &kept, &missed));
    assert_int_equal(kept.level, PM_ERROR);
    assert_string_equal(kept.pool_id, "");
    assert_false(pm_sink_next(sink, 3, &kept, &missed));
    pm_sink_free(sink);
}

static void test_a_slow_reader_is_told_how_much_it_missed(void **state)
{
    struct pm_sink *sink = quiet_sink();
    struct pm_kept_event kept;
    uint64_t missed;

    (void)state;
    for (int i = 0; i < PM_SINK_RING + 7; i++)
        tell(sink, PM_EV_STREAM_ENDED, "m");
    assert_true(pm_sink_next(sink, 3, &kept, &missed));
    assert_int_equal(kept.id, 8);
    assert_int_equal(missed, 5);
    assert_true(pm_sink_next(sink, 8, &kept, &missed));
    assert_int_equal(missed, 0);
    pm_sink_free(sink);
}

struct counting_reader {
    struct pm_sink_reader reader;
    struct pm_sink *sink;
    unsigned n;
};

static void count_and_leave(struct pm_sink_reader *reader)
{
    struct counting_reader *counting = pm_container_of(reader, struct counting_reader, reader);

    if (++counting->n == 2)
        pm_sink_detach(reader);
}

static void test_readers_are_woken_until_they_detach(void **state)
{
    struct pm_sink *sink = quiet_sink();
    struct counting_reader reader = {.reader.fn = count_and_leave};

    (void)state;
    pm_sink_attach(sink, &reader.reader);
    for (int i = 0; i < 5; i++)
        tell(sink, PM_EV_STORM, "");
    assert_int_equal(reader.n, 2);
    pm_sink_free(sink);
}

static size_t read_all(int fd, struct pm_buf *out)
{
    char data[4096];
    ssize_t n;

    while ((n = read(fd, data, sizeof(data))) > 0)
        pm_buf_add(out, data, (size_t)n);
    return out->n;
}

static void test_only_the_level_asked_for_is_written(void **state)
{
    int ends[2];
    struct pm_sink *sink;
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    sink = pm_sink_new(&(struct pm_sink_options){.fd = ends[1], .level = PM_WARN});
    tell(sink, PM_EV_INSTANCE_STARTING, "m"); /* info */
    tell(sink, PM_EV_INSTANCE_SICK, "m");     /* warn */
    tell(sink, PM_EV_STORM, "m");             /* error */
    pm_sink_free(sink);
    (void)close(ends[1]);
    (void)read_all(ends[0], &out);
    (void)close(ends[0]);
    assert_null(strstr(pm_buf_text(&out), "instance_starting"));
    assert_non_null(strstr(pm_buf_text(&out), "instance_sick"));
    assert_non_null(strstr(pm_buf_text(&out), "storm"));
    assert_int_equal(out.data[out.n - 1], '\n');
}

static void test_another_level_holds_from_the_next_line_on(void **state)
{
    int ends[2];
    struct pm_sink *sink;
    pm_auto_buf struct pm_buf out = {0};

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    sink = pm_sink_new(&(struct pm_sink_options){.fd = ends[1], .level = PM_WARN});
    tell(sink, PM_EV_INSTANCE_STARTING, "m");
    pm_sink_configure(sink, &(struct pm_sink_options){.fd = -1, .level = PM_INFO});
    tell(sink, PM_EV_INSTANCE_STOPPED, "m");
    pm_sink_configure(sink, &(struct pm_sink_options){.fd = -1, .level = PM_INFO, .pretty = true});
    tell(sink, PM_EV_INSTANCE_READY, "m");
    pm_sink_free(sink);
    (void)close(ends[1]);
    (void)read_all(ends[0], &out);
    (void)close(ends[0]);
    assert_null(strstr(pm_buf_text(&out), "instance_starting"));
    assert_non_null(strstr(pm_buf_text(&out), "\"event\":\"instance_stopped\""));
    assert_null(strstr(pm_buf_text(&out), "\"event\":\"instance_ready\""));
    assert_true(strrchr(pm_buf_text(&out), '}') < out.data + out.n - 2); /* a pretty line follows */
}

/* Lines of JSON: all whole, their number, and what `missed` adds up to. */
static void count_lines(struct pm_buf *text, unsigned *ret_lines, unsigned *ret_lost)
{
    char *line = (char *)(uintptr_t)pm_buf_text(text), *end;

    *ret_lines = *ret_lost = 0;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        json_t *parsed = json_loadb(line, (size_t)(end - line), 0, NULL);

        assert_non_null(parsed);
        if (strcmp(json_string_value(json_object_get(parsed, "event")), "missed") == 0)
            *ret_lost += (unsigned)json_integer_value(json_object_get(parsed, "count"));
        else
            (*ret_lines)++;
        json_decref(parsed);
    }
    assert_string_equal(line, "");
}

/* The writer's end is closed by the sink's free and by us; what was told is written or counted. */
static void overflow(int reader, int writer)
{
    struct pm_sink *sink = pm_sink_new(&(struct pm_sink_options){.fd = writer, .level = PM_DEBUG});
    pm_auto_buf struct pm_buf out = {0};
    unsigned n_lines, n_lost, n_told = 0;

    for (; n_told < 5000; n_told++)
        tell(sink, PM_EV_STREAM_ENDED, "m"); /* nobody reads: this must return */
    assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
    (void)read_all(reader, &out);
    tell(sink, PM_EV_STORM, "m");
    n_told++;
    (void)read_all(reader, &out);
    pm_sink_free(sink);
    (void)close(writer);
    (void)read_all(reader, &out);
    (void)close(reader);

    count_lines(&out, &n_lines, &n_lost);
    assert_true(n_lost > 0);
    assert_int_equal(n_lines + n_lost, n_told);
    assert_non_null(strstr(pm_buf_text(&out), "\"storm\""));
}

static void test_a_full_pipe_loses_whole_lines_that_are_counted_and_told(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    overflow(ends[0], ends[1]);
}

static void test_a_full_socket_loses_whole_lines_that_are_counted_and_told(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    overflow(ends[0], ends[1]);
}

static void test_a_shared_descriptor_stays_blocking_for_its_others(void **state)
{
    int ends[2];
    struct pm_sink *sink;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    sink = pm_sink_new(&(struct pm_sink_options){.fd = ends[1], .level = PM_DEBUG});
    tell(sink, PM_EV_STORM, "m");
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    pm_sink_free(sink);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_event_is_the_json_line_of_narr_1),
        cmocka_unit_test(test_codes_and_classes_are_told_by_name),
        cmocka_unit_test(test_a_class_of_a_planned_end_is_not_told),
        cmocka_unit_test(test_listen_addresses_are_an_array),
        cmocka_unit_test(test_every_kind_of_event_with_every_field_is_good_json),
        cmocka_unit_test(test_json_texts_escape_controls_and_replace_what_is_no_utf8),
        cmocka_unit_test(test_an_event_for_people_has_time_level_sentence_and_pairs),
        cmocka_unit_test(test_colour_is_only_written_when_asked_for),
        cmocka_unit_test(test_what_engines_say_cannot_steer_a_terminal),
        cmocka_unit_test(test_events_are_kept_in_order_with_ids_from_one),
        cmocka_unit_test(test_a_slow_reader_is_told_how_much_it_missed),
        cmocka_unit_test(test_readers_are_woken_until_they_detach),
        cmocka_unit_test(test_only_the_level_asked_for_is_written),
        cmocka_unit_test(test_another_level_holds_from_the_next_line_on),
        cmocka_unit_test(test_a_full_pipe_loses_whole_lines_that_are_counted_and_told),
        cmocka_unit_test(test_a_full_socket_loses_whole_lines_that_are_counted_and_told),
        cmocka_unit_test(test_a_shared_descriptor_stays_blocking_for_its_others),
    };

    (void)setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
