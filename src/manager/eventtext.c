/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event as a line: JSON for machines (NARR-1), or time, level, sentence and key=value for people. Both walk the
 * same table of optional fields, so that a field is named once and no format forgets it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "manager/sink.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/jsontext.h"
#include "util/str.h"
#include "util/time.h"

enum field_type { TEXT, U64, UNSIGNED, INT, CODE, CLASS, WORDS };

struct field {
    uint32_t bit;
    enum field_type type;
    const char *name;
    size_t offset;
};

#define FIELD(bit, type, member)                                                                   \
    {                                                                                              \
        PM_EF_##bit, type, #member, offsetof(struct pm_event, member)                              \
    }

/* In the order of NARR-1; what stands behind error_code is ours. */
static const struct field fields[] = {
    FIELD(REQUEST_ID, TEXT, request_id),
    FIELD(SESSION_ID, TEXT, session_id),
    FIELD(POOL_ID, TEXT, pool_id),
    FIELD(REPLICA_ID, UNSIGNED, replica_id),
    FIELD(INSTANCE, TEXT, instance),
    FIELD(ENGINE, TEXT, engine),
    FIELD(ENGINE_VERSION, TEXT, engine_version),
    FIELD(DEVICE, TEXT, device),
    FIELD(MODEL, TEXT, model),
    FIELD(QUEUE_POSITION, U64, queue_position),
    FIELD(PREDICTED_START_MS, U64, predicted_start_ms),
    FIELD(RETRY_AFTER_MS, U64, retry_after_ms),
    FIELD(BACKOFF_MS, U64, backoff_ms),
    FIELD(TOKENS_IN, U64, tokens_in),
    FIELD(TOKENS_OUT, U64, tokens_out),
    FIELD(DECODE_TIME_MS, U64, decode_time_ms),
    FIELD(DURATION_MS, U64, duration_ms),
    FIELD(ERROR_CODE, CODE, error_code),
    FIELD(CLASS, CLASS, class),
    FIELD(PID, INT, pid),
    FIELD(EXIT_STATUS, INT, exit_status),
    FIELD(SIGNAL, INT, signal),
    FIELD(BYTES_SENT, U64, bytes_sent),
    FIELD(HTTP_STATUS, INT, http_status),
    FIELD(TEXT, TEXT, text),
    {PM_EF_LISTEN, WORDS, "listen", offsetof(struct pm_event, text)},
};

/* A field's value as text; numbers are written into `room`. */
static const char *text_of(const struct pm_event *event, const struct field *field, char *room,
                           size_t size)
{
    const void *value = (const char *)event + field->offset;

    switch (field->type) {
    case TEXT:
    case WORDS: return value;
    case CODE: return pm_status(*(const int *)value)->name;
    case CLASS: return pm_class_name(*(const enum pm_class *)value);
    case U64: (void)snprintf(room, size, "%" PRIu64, *(const uint64_t *)value); break;
    case UNSIGNED: (void)snprintf(room, size, "%u", *(const unsigned *)value); break;
    case INT: (void)snprintf(room, size, "%d", *(const int *)value); break;
    }
    return room;
}

/* Whether it is told: what is marked as set, but a class that is none. */
static bool is_set(const struct pm_event *event, const struct field *field)
{
    if (!(event->fields & field->bit))
        return false;
    if (field->bit == PM_EF_TEXT && (event->fields & PM_EF_LISTEN))
        return false; /* the same bytes, told as `listen` */
    return field->type != CLASS || event->class != PM_CLASS_NONE;
}

static void add_member(struct pm_buf *out, const char *name, const char *text)
{
    pm_buf_addf(out, ",\"%s\":", name);
    pm_json_quote(out, text, strlen(text));
}

/* "a b c" → ["a","b","c"] */
static void add_words(struct pm_buf *out, const char *text)
{
    const char *separator = "";

    pm_buf_adds(out, "[");
    while (*(text += strspn(text, " "))) {
        size_t n = strcspn(text, " ");

        pm_buf_adds(out, separator);
        pm_json_quote(out, text, n);
        separator = ",";
        text += n;
    }
    pm_buf_adds(out, "]");
}

static void add_field(struct pm_buf *out, const struct pm_event *event, const struct field *field)
{
    char room[24];
    const char *text = text_of(event, field, room, sizeof(room));

    if (field->type == WORDS) {
        pm_buf_addf(out, ",\"%s\":", field->name);
        add_words(out, text);
    } else if (text == room) {
        pm_buf_addf(out, ",\"%s\":%s", field->name, text);
    } else {
        add_member(out, field->name, text);
    }
}

void pm_event_json(const struct pm_event *event, uint64_t wall_ms, struct pm_buf *out)
{
    const struct pm_event_row *row = pm_event_row(event->kind);
    char time[PM_TIMESTAMP_SIZE];

    pm_buf_addf(out, "{\"time\":\"%s\"", pm_format_timestamp(time, wall_ms));
    add_member(out, "level", pm_level_name(event->level));
    add_member(out, "event", row->name);
    add_member(out, "actor", row->actor);
    add_member(out, "action", row->action);
    add_member(out, "target", event->target);
    add_member(out, "human", event->human);
    for (size_t i = 0; i < PM_ARRAY_LEN(fields); i++) {
        if (is_set(event, &fields[i]))
            add_field(out, event, &fields[i]);
    }
    pm_buf_adds(out, "}");
}

/* ---- for people ------------------------------------------------------------------------------------- */

#define DIM   "\033[2m"
#define PLAIN "\033[0m"

static const char *const level_colours[] = {
    [PM_ERROR] = "\033[31m",
    [PM_WARN] = "\033[33m",
    [PM_INFO] = "",
    [PM_DEBUG] = DIM,
};

/* Foreign text must not move a terminal's cursor: controls become blanks, broken UTF-8 is replaced. */
static void add_printable(struct pm_buf *out, const char *text)
{
    size_t start = out->n;

    pm_utf8_repair(out, text, strlen(text));
    for (size_t i = start; i < out->n; i++) {
        unsigned char c = (unsigned char)out->data[i];

        if (c < 0x20 || c == 0x7f)
            out->data[i] = ' ';
        else if (c == 0xc2 && i + 1 < out->n && (unsigned char)out->data[i + 1] < 0xa0)
            out->data[i] = out->data[i + 1] = ' '; /* C1 controls: 8-bit escape sequences */
    }
}

static bool needs_quotes(const char *text)
{
    return *text == '\0' || strpbrk(text, " \"=\t\n\r\\") != NULL;
}

static void add_pair(struct pm_buf *out, const char *name, const char *text)
{
    pm_buf_addf(out, " %s=", name);
    if (needs_quotes(text))
        pm_json_quote(out, text, strlen(text));
    else
        add_printable(out, text);
}

static void add_clock(struct pm_buf *out, uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm = {0};

    (void)localtime_r(&seconds, &tm);
    pm_buf_addf(out, "%02d:%02d:%02d.%03u", tm.tm_hour, tm.tm_min, tm.tm_sec,
                (unsigned)(wall_ms % 1000));
}

void pm_event_pretty(const struct pm_event *event, uint64_t wall_ms, bool colour,
                     struct pm_buf *out)
{
    const char *paint = colour ? level_colours[event->level] : "";
    const char *dim = colour ? DIM : "", *plain = colour ? PLAIN : "";

    pm_buf_adds(out, dim);
    add_clock(out, wall_ms);
    pm_buf_addf(out, "%s %s%-5s%s ", plain, paint, pm_level_name(event->level),
                *paint ? plain : "");
    add_printable(out, event->human);
    pm_buf_addf(out, "%s  event=%s", dim, pm_event_row(event->kind)->name);
    for (size_t i = 0; i < PM_ARRAY_LEN(fields); i++) {
        char room[24];

        if (is_set(event, &fields[i]))
            add_pair(out, fields[i].name, text_of(event, &fields[i], room, sizeof(room)));
    }
    pm_buf_adds(out, plain);
}
