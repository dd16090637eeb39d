/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/cleanup.h"
#include "util/jsontext.h"
#include "util/str.h"

/* A message may name a file of strangers: nothing of its name steers the terminal (C0 and DEL, and C1 as UTF-8 has it). */
static void disarm(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        if (*at < 0x20 || *at == 0x7f)
            *at = '?';
        else if (*at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
            at[0] = at[1] = '?';
    }
}

void pm_cli_die(int status, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        abort();
    va_end(args);
    disarm(text);
    fprintf(stderr, "poolctl: %s\n", text);
    fflush(NULL);
    _exit(status); /* the verb's memory goes with the process */
}

/* ---- tables ----------------------------------------------------------------------------------------- */

/* Characters, not bytes. */
static size_t width(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* The first n characters. */
static void add_cut(struct pm_buf *out, const char *text, size_t n)
{
    const char *p = text;

    for (; *p && (n > 0 || ((unsigned char)*p & 0xc0) == 0x80); p++)
        n -= ((unsigned char)*p & 0xc0) != 0x80;
    pm_buf_add(out, text, (size_t)(p - text));
}

struct pm_table *pm_table_new(const char *const *titles, size_t n_columns)
{
    struct pm_table *table = pm_xalloc(sizeof(*table));
    char **cells;

    table->n_columns = n_columns;
    cells = pm_table_row(table);
    for (size_t c = 0; c < n_columns; c++)
        cells[c] = pm_xstrdup(titles[c]);
    return table;
}

void pm_table_free(struct pm_table *table)
{
    for (size_t r = 0; r < table->n_rows; r++) {
        for (size_t c = 0; c < table->n_columns; c++)
            free(table->cells[r][c]);
    }
    free(table->cells);
    free(table);
}

char **pm_table_row(struct pm_table *table)
{
    if (table->n_rows == table->capacity) {
        table->capacity = table->capacity ? 2 * table->capacity : 64;
        table->cells = pm_xrealloc(table->cells, table->capacity * sizeof(table->cells[0]));
    }
    memset(table->cells[table->n_rows], 0, sizeof(table->cells[0]));
    return table->cells[table->n_rows++];
}

static const char *cell(const struct pm_table *table, size_t r, size_t c)
{
    return table->cells[r][c] ? table->cells[r][c] : "";
}

void pm_table_print(const struct pm_table *table, unsigned columns, struct pm_buf *out)
{
    size_t widths[PM_COLUMNS_MAX] = {0};

    for (size_t r = 0; r < table->n_rows; r++) {
        for (size_t c = 0; c < table->n_columns; c++) {
            size_t n = width(cell(table, r, c));

            widths[c] = n > widths[c] ? n : widths[c];
        }
    }
    for (size_t r = 0; r < table->n_rows; r++) {
        size_t used = 0;

        for (size_t c = 0; c < table->n_columns; c++) {
            bool last = c + 1 == table->n_columns;
            size_t n = width(cell(table, r, c));

            if (last && columns && used + n > columns)
                n = columns > used ? columns - used : 0;
            add_cut(out, cell(table, r, c), n);
            for (size_t i = n; !last && i < widths[c] + 2; i++)
                pm_buf_add(out, " ", 1);
            used += widths[c] + 2;
        }
        while (out->n && out->data[out->n - 1] == ' ')
            out->n--;
        pm_buf_adds(out, "\n");
    }
}

/* ---- values ----------------------------------------------------------------------------------------- */

const char *pm_text(const json_t *object, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : otherwise;
}

uint64_t pm_number(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

void pm_print_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | PM_JSON_REALS);

    puts(text);
    free(text);
}

char *pm_encode(const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *encoded = pm_xalloc(strlen(text) * 3 + 1), *to = encoded;

    for (; *text; text++) {
        if (strchr(plain, *text))
            *to++ = *text;
        else
            to += sprintf(to, "%%%02X", (unsigned)(unsigned char)*text);
    }
    return encoded;
}

/* Milliseconds since 1970 of an RFC 3339 instant in UTC; false: it is none. */
static bool read_instant(const char *instant, uint64_t *ret_ms)
{
    struct tm tm = {0};
    unsigned ms;

    if (!instant || sscanf(instant, "%d-%d-%dT%d:%d:%d.%uZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                           &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms) != 7)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_ms = (uint64_t)timegm(&tm) * 1000 + ms;
    return true;
}

const char *pm_since(char *to, size_t size, const char *instant, uint64_t now_ms)
{
    uint64_t then_ms, ms_ago;

    if (!read_instant(instant, &then_ms))
        return "-";
    ms_ago = now_ms > then_ms ? now_ms - then_ms : 0;
    if (ms_ago >= 60000)
        return pm_format_duration(to, size, ms_ago);
    (void)snprintf(to, size, "%us", (unsigned)(ms_ago / 1000));
    return to;
}

const char *pm_clock(char *to, size_t size, const char *instant, uint64_t now_ms)
{
    uint64_t then_ms;
    time_t then, now = (time_t)(now_ms / 1000);
    struct tm tm = {0}, today = {0};
    char text[32];

    if (!read_instant(instant, &then_ms))
        return "-";
    then = (time_t)(then_ms / 1000);
    (void)localtime_r(&then, &tm);
    (void)localtime_r(&now, &today);
    (void)strftime(text, sizeof(text),
                   tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday ? "%H:%M:%S"
                                                                              : "%F %H:%M:%S",
                   &tm);
    (void)snprintf(to, size, "%s.%03u", text, (unsigned)(then_ms % 1000));
    return to;
}

uint64_t pm_cli_number(const char *text, const char *what)
{
    uint64_t n;

    if (!text)
        pm_cli_die(2, "%s must be followed by a number", what);
    if (!pm_parse_u64(text, &n))
        pm_cli_die(2, "%s: '%s' is no number from 0 up", what, text);
    return n;
}

/* ---- events ----------------------------------------------------------------------------------------- */

static bool end_line(struct pm_events *events)
{
    const char *line = pm_buf_text(&events->line);
    bool go_on = true;

    if (pm_str_starts(line, "event: ")) {
        (void)pm_str_copy(events->event, sizeof(events->event), line + 7);
    } else if (pm_str_starts(line, "data: ")) {
        pm_buf_adds(&events->data, line + 6);
    } else if (!line[0] && events->data.n) {
        go_on = events->fn(events->ctx, events->event, pm_buf_text(&events->data));
        pm_buf_clear(&events->data);
        events->event[0] = '\0';
    }
    pm_buf_clear(&events->line);
    return go_on;
}

bool pm_events_feed(void *ctx, const char *data, size_t n)
{
    struct pm_events *events = ctx;

    for (size_t i = 0; i < n; i++) {
        if (data[i] != '\n')
            pm_buf_add(&events->line, &data[i], 1);
        else if (!end_line(events))
            return false;
    }
    return true;
}

void pm_events_fini(struct pm_events *events)
{
    pm_buf_fini(&events->line);
    pm_buf_fini(&events->data);
}
