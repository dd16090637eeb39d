/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read here was written by a former version of this program, by half of it, or by somebody's editor. It is
 * taken whole or not at all: a member that is not known is as wrong as one that is missing, since whoever wrote it
 * meant something by it.
 */
#include "store/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/stored.h"
#include "util/cleanup.h"
#include "util/jsontext.h"
#include "util/str.h"

PM_DEFINE_AUTO(json_t *, json_decref)

void pm_record_fini(struct pm_pool_record *record)
{
    free(record->spec_text);
    record->spec_text = NULL;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

static bool says_nothing(const struct pm_pool_record *record)
{
    return record->removed || (record->owner != PM_OWNER_API && record->intent == PM_ENABLED &&
                               !record->spec_text && !record->has_operation);
}

static json_t *make_json(const struct pm_pool_record *record, json_t *spec)
{
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:s}", "version", PM_RECORD_VERSION, "pool", record->pool_id,
                  "owner", pm_owner_name(record->owner), "intent", pm_intent_name(record->intent));

    if (spec)
        (void)json_object_set(json, "spec", spec);
    if (record->has_operation)
        (void)json_object_set_new(json, "operation",
                                  json_pack("{s:I, s:s}", "id", (json_int_t)record->operation,
                                            "kind", pm_operation_kind_name(record->kind)));
    return json;
}

int pm_record_write(const struct pm_pool_record *record, char **ret, struct poolmgr_error *err)
{
    pm_auto(json_decref) json_t *spec = NULL, *json = NULL;
    pm_auto_free char *text = NULL;

    if (says_nothing(record)) {
        *ret = NULL;
        return POOLMGR_OK;
    }

    if (record->spec_text)
        spec = json_loads(record->spec_text, JSON_REJECT_DUPLICATES, NULL);
    if (record->spec_text && !json_is_object(spec))
        return pm_fail(err, POOLMGR_E_STORE_FAILED, "the specification of pool '%s' is no object",
                       record->pool_id);

    json = make_json(record, spec);
    text = json_dumps(json, JSON_INDENT(1) | PM_JSON_REALS);
    if (!text || strlen(text) + 1 > PM_RECORD_MAX_BYTES)
        return pm_fail(err, POOLMGR_E_STORE_FAILED,
                       "the record of pool '%s' would be larger than %d bytes", record->pool_id,
                       PM_RECORD_MAX_BYTES);

    *ret = pm_xasprintf("%s\n", text);
    return POOLMGR_OK;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static int wrong(struct poolmgr_error *err, const char *what)
{
    return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s", what);
}

static bool find_owner(const char *name, enum pm_owner *ret)
{
    for (size_t i = 0; i < PM_OWNER_COUNT; i++) {
        *ret = (enum pm_owner)i;
        if (strcmp(pm_owner_name(*ret), name) == 0)
            return true;
    }
    return false;
}

static bool find_intent(const char *name, enum pm_intent *ret)
{
    for (size_t i = 0; i < PM_INTENT_COUNT; i++) {
        *ret = (enum pm_intent)i;
        if (strcmp(pm_intent_name(*ret), name) == 0)
            return true;
    }
    return false;
}

static bool find_kind(const char *name, enum pm_operation_kind *ret)
{
    for (size_t i = 0; i < PM_OP_KIND_COUNT; i++) {
        *ret = (enum pm_operation_kind)i;
        if (strcmp(pm_operation_kind_name(*ret), name) == 0)
            return true;
    }
    return false;
}

static bool too_deep(const json_t *value, unsigned depth)
{
    const char *key;
    json_t *member;
    size_t i;

    if (depth > PM_RECORD_DEPTH_MAX)
        return true;
    json_object_foreach((json_t *)value, key, member)
    {
        if (too_deep(member, depth + 1))
            return true;
    }
    json_array_foreach(value, i, member)
    {
        if (too_deep(member, depth + 1))
            return true;
    }
    return false;
}

static int read_operation(json_t *json, struct pm_pool_record *ret, struct poolmgr_error *err)
{
    const char *kind;
    json_int_t id;

    if (!json)
        return POOLMGR_OK;
    if (json_unpack(json, "{s:I, s:s !}", "id", &id, "kind", &kind) < 0 || id <= 0 ||
        !find_kind(kind, &ret->kind))
        return wrong(err, "its operation is none of ours");

    ret->has_operation = true;
    ret->operation = (uint64_t)id;
    return POOLMGR_OK;
}

static int read_spec(const json_t *json, struct pm_pool_record *ret, struct poolmgr_error *err)
{
    if (!json)
        return ret->owner == PM_OWNER_API
                   ? wrong(err, "a pool of the API has no specification in it")
                   : POOLMGR_OK;
    if (!json_is_object(json))
        return wrong(err, "its specification is no object");
    if (too_deep(json, 1))
        return wrong(err, "its specification is nested too deep");

    ret->spec_text = json_dumps(json, JSON_COMPACT | PM_JSON_REALS);
    return ret->spec_text ? POOLMGR_OK : wrong(err, "its specification cannot be kept");
}

static int read_json(json_t *json, const char *pool_id, struct pm_pool_record *ret,
                     struct poolmgr_error *err)
{
    const char *id, *owner, *intent;
    json_t *spec = NULL, *operation = NULL;
    int version, r;

    if (json_unpack(json, "{s:i, s:s, s:s, s:s, s?o, s?o !}", "version", &version, "pool", &id,
                    "owner", &owner, "intent", &intent, "spec", &spec, "operation", &operation) < 0)
        return wrong(err, "a member is missing, of another type, or unknown");

    if (strcmp(id, pool_id) != 0 || !pm_pool_id_valid(id))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it is of another pool, '%.48s'", id);
    if (!find_owner(owner, &ret->owner) || !find_intent(intent, &ret->intent))
        return wrong(err, "its owner or intent is none of ours");

    (void)pm_str_copy(ret->pool_id, sizeof(ret->pool_id), id);
    r = read_operation(operation, ret, err);
    return r < 0 ? r : read_spec(spec, ret, err);
}

int pm_record_read(const char *text, size_t n, const char *pool_id, struct pm_pool_record *ret,
                   struct poolmgr_error *err)
{
    struct pm_pool_record record = {0};
    pm_auto(json_decref) json_t *json = NULL;
    int r;

    r = pm_stored_read(text, n, PM_RECORD_MAX_BYTES, PM_RECORD_VERSION, "it is no record of a pool",
                       &json, err);
    if (r < 0)
        return r;

    r = read_json(json, pool_id, &record, err);
    if (r < 0) {
        pm_record_fini(&record);
        return r;
    }

    *ret = record;
    return POOLMGR_OK;
}
