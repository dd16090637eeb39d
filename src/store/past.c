/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As a pool's record it is taken whole or not at all. What it says goes into delays and predictions: what nobody can have
 * measured is no number of ours.
 */
#include "store/past.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/stored.h"
#include "util/cleanup.h"
#include "util/jsontext.h"
#include "util/str.h"

PM_DEFINE_AUTO(json_t *, json_decref)

/* ---- writing ------------------------------------------------------------------------------------------ */

static bool says_nothing(const struct pm_past *past)
{
    for (size_t i = 0; i < past->n; i++) {
        const struct pm_past_replica *was = &past->replicas[i];

        if (was->n_spawns > 0 || was->n_failures > 0 || was->n_answers > 0)
            return false;
    }
    return true;
}

static uint64_t bounded(uint64_t n)
{
    return n < PM_PAST_COUNT_MAX ? n : PM_PAST_COUNT_MAX;
}

static double no_more(double value)
{
    return value < (double)PM_PAST_COUNT_MAX ? value : (double)PM_PAST_COUNT_MAX;
}

static json_t *failures_json(const struct pm_past_replica *was, uint64_t wall_ms)
{
    uint64_t at_ms = wall_ms > was->failed_ago_ms ? wall_ms - was->failed_ago_ms : 0;

    return json_pack("{s:I, s:I, s:s, s:s, s:s}", "in_a_row", (json_int_t)bounded(was->n_failures),
                     "last_unix_ms", (json_int_t)bounded(at_ms), "code",
                     pm_status(was->last_error.code)->name, "class",
                     pm_class_name(was->last_error.class), "text", was->last_error.text);
}

static json_t *replica_json(const struct pm_past_replica *was, uint64_t wall_ms)
{
    json_t *json =
        json_pack("{s:I, s:f, s:f, s:f, s:f}", "starts", (json_int_t)bounded(was->n_spawns),
                  "first_token_ms", no_more(was->first_token_ms), "tokens", no_more(was->n_tokens),
                  "decode_ms", no_more(was->decode_ms), "answers", no_more(was->n_answers));

    if (was->n_failures > 0)
        (void)json_object_set_new(json, "failures", failures_json(was, wall_ms));
    return json;
}

char *pm_past_write(const struct pm_past *past, uint64_t wall_ms)
{
    pm_auto_free char *identity = pm_xasprintf("%016" PRIx64, past->identity), *text = NULL;
    pm_auto(json_decref) json_t *json = NULL;
    json_t *replicas;

    if (says_nothing(past))
        return NULL;

    replicas = json_array();
    for (size_t i = 0; i < past->n; i++)
        (void)json_array_append_new(replicas, replica_json(&past->replicas[i], wall_ms));
    json = json_pack("{s:i, s:s, s:s, s:f, s:f, s:o}", "version", PM_PAST_VERSION, "pool",
                     past->pool_id, "identity", identity, "service_ms", no_more(past->service_ms),
                     "start_ms", no_more(past->start_ms), "replicas", replicas);
    text = json_dumps(json, JSON_INDENT(1) | PM_JSON_REALS);
    return pm_xasprintf("%s\n", text);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static int wrong(struct poolmgr_error *err, const char *what)
{
    return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s", what);
}

static bool is_count(json_int_t n)
{
    return n >= 0 && (uint64_t)n <= PM_PAST_COUNT_MAX;
}

/* Nothing was measured, or more than a fraction of it. */
static bool is_measure(double value)
{
    return value == 0 || (value >= 0.5 && value <= (double)PM_PAST_COUNT_MAX);
}

static bool find_class(const char *name, enum pm_class *ret)
{
    for (int i = PM_CLASS_NONE + 1; i < PM_CLASS_COUNT; i++) {
        *ret = (enum pm_class)i;
        if (strcmp(pm_class_name(*ret), name) == 0)
            return true;
    }
    return false;
}

static int read_failures(json_t *json, uint64_t wall_ms, struct pm_past_replica *ret,
                         struct poolmgr_error *err)
{
    struct pm_last_error *last = &ret->last_error;
    const char *code, *class, *text;
    json_int_t n, at_ms;

    if (!json)
        return POOLMGR_OK;
    if (json_unpack(json, "{s:I, s:I, s:s, s:s, s:s !}", "in_a_row", &n, "last_unix_ms", &at_ms,
                    "code", &code, "class", &class, "text", &text) < 0)
        return wrong(err, "a member of its failures is missing, of another type, or unknown");
    if (n == 0 || !is_count(n) || !is_count(at_ms))
        return wrong(err, "how often it failed, or when, is out of range");
    last->code = pm_status_by_name(code);
    (void)pm_str_copy(last->text, sizeof(last->text), text);
    pm_text_clean(last->text);
    if (last->code >= 0 || !find_class(class, &last->class) || last->text[0] == '\0')
        return wrong(err, "why it failed is nothing of ours");
    ret->n_failures = (uint64_t)n;
    ret->failed_ago_ms = wall_ms > (uint64_t)at_ms ? wall_ms - (uint64_t)at_ms : 0;
    return POOLMGR_OK;
}

static int read_replica(json_t *json, uint64_t wall_ms, struct pm_past_replica *ret,
                        struct poolmgr_error *err)
{
    json_t *failures = NULL;
    json_int_t n_spawns;

    if (json_unpack(json, "{s:I, s:F, s:F, s:F, s:F, s?o !}", "starts", &n_spawns, "first_token_ms",
                    &ret->first_token_ms, "tokens", &ret->n_tokens, "decode_ms", &ret->decode_ms,
                    "answers", &ret->n_answers, "failures", &failures) < 0)
        return wrong(err, "a member of a replica is missing, of another type, or unknown");
    if (!is_count(n_spawns))
        return wrong(err, "how often a replica was started is out of range");
    if (!is_measure(ret->first_token_ms) || !is_measure(ret->n_tokens) ||
        !is_measure(ret->decode_ms) || !is_measure(ret->n_answers) ||
        (ret->n_answers > 0) != (ret->n_tokens > 0) || (ret->n_answers > 0) != (ret->decode_ms > 0))
        return wrong(err, "a speed of a replica is none");

    ret->n_spawns = (uint64_t)n_spawns;
    return read_failures(failures, wall_ms, ret, err);
}

static int read_replicas(const json_t *json, uint64_t wall_ms, struct pm_past *ret,
                         struct poolmgr_error *err)
{
    size_t n = json_array_size(json);
    int r = POOLMGR_OK;

    if (n == 0 || n > PM_PAST_REPLICAS_MAX)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "its replicas are no list of 1 to %d",
                       PM_PAST_REPLICAS_MAX);
    for (; r == POOLMGR_OK && ret->n < n; ret->n++)
        r = read_replica(json_array_get(json, ret->n), wall_ms, &ret->replicas[ret->n], err);
    return r;
}

static int read_json(json_t *json, const char *pool_id, uint64_t wall_ms, struct pm_past *ret,
                     struct poolmgr_error *err)
{
    const char *id, *identity;
    json_t *replicas;
    int version;

    if (json_unpack(json, "{s:i, s:s, s:s, s:F, s:F, s:o !}", "version", &version, "pool", &id,
                    "identity", &identity, "service_ms", &ret->service_ms, "start_ms",
                    &ret->start_ms, "replicas", &replicas) < 0)
        return wrong(err, "a member is missing, of another type, or unknown");
    if (strcmp(id, pool_id) != 0 || !pm_pool_id_valid(id))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it is of another pool, '%.48s'", id);
    if (strlen(identity) != 16 || strspn(identity, "0123456789abcdef") != 16)
        return wrong(err, "its identity is no 16 hexadecimal digits");
    if (!is_measure(ret->service_ms) || !is_measure(ret->start_ms))
        return wrong(err, "how long its requests and starts take is out of range");

    (void)pm_str_copy(ret->pool_id, sizeof(ret->pool_id), id);
    ret->identity = strtoull(identity, NULL, 16);
    return read_replicas(replicas, wall_ms, ret, err);
}

int pm_past_read(const char *text, size_t n, const char *pool_id, uint64_t wall_ms,
                 struct pm_past *ret, struct poolmgr_error *err)
{
    pm_auto(json_decref) json_t *json = NULL;
    struct pm_past past = {0};
    int r;

    r = pm_stored_read(text, n, PM_PAST_MAX_BYTES, PM_PAST_VERSION,
                       "it is nothing of a pool's past", &json, err);
    if (r == POOLMGR_OK)
        r = read_json(json, pool_id, wall_ms, &past, err);
    if (r == POOLMGR_OK)
        *ret = past;
    return r;
}
