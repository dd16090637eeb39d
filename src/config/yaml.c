/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml reads, this builds a tree and refuses what a configuration has no use for: tags, merge keys, a second
 * document, keys given twice, aliases that blow up. Types are none of its business: every scalar is a text, and the
 * table of settings says what it must be.
 */
#include "config/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "util/cleanup.h"
#include "util/map.h"
#include "util/str.h"

struct pm_yaml_file {
    struct pm_yaml *root;
    struct pm_yaml **all;
    size_t n_all;
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    struct pm_yaml_file *file;
    struct pm_map anchors;
    struct pm_config_errors *errors;
    bool failed;
};

void pm_config_error_at(struct pm_config_errors *errors, unsigned line, unsigned column,
                        const char *format, ...)
{
    struct pm_config_error *error;
    va_list args;

    if (errors->n == PM_CONFIG_ERRORS_MAX) {
        errors->n_more++;
        return;
    }
    error = &errors->items[errors->n++];
    error->line = line;
    error->column = column;
    va_start(args, format);
    (void)vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
}

const struct pm_yaml *pm_yaml_get(const struct pm_yaml *map, const char *key)
{
    for (size_t i = 0; map->kind == PM_YAML_MAP && i < map->n; i++) {
        if (strcmp(map->keys[i]->text, key) == 0)
            return map->values[i];
    }
    return NULL;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void *fail(struct reader *reader, const char *text)
{
    const yaml_mark_t *mark = &reader->event.start_mark;

    if (!reader->failed)
        pm_config_error_at(reader->errors, (unsigned)mark->line + 1, (unsigned)mark->column + 1,
                           "%s", text);
    reader->failed = true;
    return NULL;
}

static bool next(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (yaml_parser_parse(&reader->parser, &reader->event))
        return true;
    memset(&reader->event, 0, sizeof(reader->event));
    if (!reader->failed)
        pm_config_error_at(reader->errors, (unsigned)reader->parser.problem_mark.line + 1,
                           (unsigned)reader->parser.problem_mark.column + 1, "not YAML: %s%s%s",
                           reader->parser.problem ? reader->parser.problem : "unreadable",
                           reader->parser.context ? ", " : "",
                           reader->parser.context ? reader->parser.context : "");
    reader->failed = true;
    return false;
}

static struct pm_yaml *new_node(struct reader *reader, enum pm_yaml_kind kind)
{
    struct pm_yaml_file *file = reader->file;
    struct pm_yaml *node = pm_xalloc(sizeof(*node));

    node->kind = kind;
    node->line = (unsigned)reader->event.start_mark.line + 1;
    node->column = (unsigned)reader->event.start_mark.column + 1;
    node->n_nodes = 1;
    if ((file->n_all & (file->n_all - 1)) == 0)
        file->all =
            pm_xrealloc(file->all, (file->n_all ? file->n_all * 2 : 1) * sizeof(file->all[0]));
    file->all[file->n_all++] = node;
    return node;
}

/* Adds a member; false when the file has grown beyond all measure. */
static bool add(struct reader *reader, struct pm_yaml *to, struct pm_yaml *key,
                struct pm_yaml *value)
{
    if ((to->n & (to->n - 1)) == 0) {
        size_t capacity = to->n ? to->n * 2 : 1;

        to->values = pm_xrealloc(to->values, capacity * sizeof(to->values[0]));
        to->keys = pm_xrealloc(to->keys, capacity * sizeof(to->keys[0]));
    }
    to->keys[to->n] = key;
    to->values[to->n++] = value;
    to->n_nodes += value->n_nodes + (key != NULL);
    if (to->n_nodes <= PM_YAML_NODES_MAX)
        return true;
    (void)fail(reader, "the file has more than 100000 values, its aliases expanded");
    return false;
}

static struct pm_yaml *read_node(struct reader *reader, unsigned depth);

/* The marks count characters, so that a text with others than ASCII is said to be none. */
static bool stands_as_written(const yaml_event_t *event, bool quoted)
{
    const yaml_mark_t *start = &event->start_mark, *end = &event->end_mark;

    return start->line == end->line &&
           end->column - start->column == event->data.scalar.length + (quoted ? 2 : 0);
}

static struct pm_yaml *read_scalar(struct reader *reader)
{
    struct pm_yaml *node = new_node(reader, PM_YAML_TEXT);
    const char *text = (const char *)reader->event.data.scalar.value;

    if (strlen(text) != reader->event.data.scalar.length)
        return fail(reader, "a value holds a NUL byte");
    node->text = pm_xstrdup(text);
    node->quoted = reader->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->as_written = stands_as_written(&reader->event, node->quoted);
    return node;
}

static struct pm_yaml *read_alias(struct reader *reader)
{
    struct pm_yaml *node =
        pm_map_get(&reader->anchors, (const char *)reader->event.data.alias.anchor);

    return node ? node
                : fail(reader,
                       "an alias names an anchor that is not there (or not complete) before it");
}

static struct pm_yaml *read_list(struct reader *reader, unsigned depth)
{
    struct pm_yaml *node = new_node(reader, PM_YAML_LIST);

    while (next(reader) && reader->event.type != YAML_SEQUENCE_END_EVENT) {
        struct pm_yaml *value = read_node(reader, depth + 1);

        if (!value || !add(reader, node, NULL, value))
            return NULL;
    }
    return reader->failed ? NULL : node;
}

static struct pm_yaml *read_map(struct reader *reader, unsigned depth)
{
    struct pm_yaml *node = new_node(reader, PM_YAML_MAP);
    struct pm_map seen = {0};
    bool ok = true;

    while (ok && next(reader) && reader->event.type != YAML_MAPPING_END_EVENT) {
        struct pm_yaml *key, *value, *first = NULL;

        if (reader->event.type != YAML_SCALAR_EVENT) {
            (void)fail(reader, "a key must be a plain text");
            break;
        }
        key = read_scalar(reader);
        if (!key)
            break;
        if (strcmp(key->text, "<<") == 0)
            ok = fail(reader,
                      "merge keys (<<) are not read; use `defaults`, or aliases of whole values") !=
                 NULL;
        else if ((first = pm_map_set(&seen, key->text, key)))
            pm_config_error_at(reader->errors, key->line, key->column,
                               "'%.64s' is given twice, first in line %u", key->text, first->line);
        value = ok && next(reader) ? read_node(reader, depth + 1) : NULL;
        ok = value && (first || add(reader, node, key, value));
    }
    pm_map_fini(&seen);
    return reader->failed ? NULL : node;
}

static const char *tag_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return (const char *)event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT: return (const char *)event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT: return (const char *)event->data.mapping_start.tag;
    default: return NULL;
    }
}

static const char *anchor_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT: return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT: return (const char *)event->data.mapping_start.anchor;
    default: return NULL;
    }
}

/* The node that the current event begins. */
static struct pm_yaml *read_node(struct reader *reader, unsigned depth)
{
    pm_auto_free char *anchor = pm_xstrdup(anchor_of(&reader->event));
    struct pm_yaml *node = NULL;

    if (depth > PM_YAML_DEPTH_MAX)
        return fail(reader, "the file is nested too deep");
    if (tag_of(&reader->event))
        return fail(reader, "tags (!…) are not read");
    switch (reader->event.type) {
    case YAML_SCALAR_EVENT: node = read_scalar(reader); break;
    case YAML_ALIAS_EVENT: return read_alias(reader);
    case YAML_SEQUENCE_START_EVENT: node = read_list(reader, depth); break;
    case YAML_MAPPING_START_EVENT: node = read_map(reader, depth); break;
    default: return fail(reader, "a value is missing");
    }
    if (node && anchor)
        (void)pm_map_set(&reader->anchors, anchor, node);
    return node;
}

static void read_document(struct reader *reader)
{
    if (!next(reader) || !next(reader)) /* the stream begins, the document begins */
        return;
    if (reader->event.type == YAML_STREAM_END_EVENT) {
        reader->file->root = new_node(reader, PM_YAML_MAP);
        return;
    }
    if (!next(reader))
        return;
    reader->file->root = read_node(reader, 0);
    if (reader->failed || !next(reader) || !next(reader))
        return;
    if (reader->event.type != YAML_STREAM_END_EVENT) {
        (void)fail(reader, "a second document begins; one file is one document");
        return;
    }
    if (reader->file->root->kind == PM_YAML_TEXT && !reader->file->root->text[0])
        reader->file->root->kind = PM_YAML_MAP;
    else if (reader->file->root->kind != PM_YAML_MAP) {
        pm_config_error_at(reader->errors, reader->file->root->line, reader->file->root->column,
                           "the file must be a map of settings, as `pools:`");
        reader->failed = true;
    }
}

struct pm_yaml_file *pm_yaml_read(const char *text, size_t n, struct pm_config_errors *errors)
{
    struct reader reader = {.errors = errors};

    reader.file = pm_xalloc(sizeof(*reader.file));
    if (!yaml_parser_initialize(&reader.parser))
        abort();
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, n);
    read_document(&reader);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    pm_map_fini(&reader.anchors);
    if (!reader.failed)
        return reader.file;
    pm_yaml_free(reader.file);
    return NULL;
}

const struct pm_yaml *pm_yaml_root(const struct pm_yaml_file *file)
{
    return file->root;
}

void pm_yaml_free(struct pm_yaml_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->n_all; i++) {
        free(file->all[i]->text);
        free(file->all[i]->keys);
        free(file->all[i]->values);
        free(file->all[i]);
    }
    free(file->all);
    free(file);
}
