/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handoff is strict, since whoever writes one cannot see what we made of it: every member is checked, none is
 * guessed, unknown ones are refused, and nothing is registered of a document that is wrong in one place.
 */
#include "config/handoff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/client.h"
#include "util/cleanup.h"
#include "util/error.h"

/* ---- members --------------------------------------------------------------------------------------- */

static int wrong(struct poolmgr_error *err, const char *name, const char *must)
{
    (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST, "'%s' must be %s", name, must);
    return pm_error_param(err, POOLMGR_E_INVALID_REQUEST, name);
}

static int missing(struct poolmgr_error *err, const char *name)
{
    (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST, "a handoff needs '%s'", name);
    return pm_error_param(err, POOLMGR_E_INVALID_REQUEST, name);
}

static bool is_text(const json_t *value, size_t max)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);

    if (!text || n == 0 || n > max)
        return false;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    }
    return true;
}

/* NULL when it is not there; `required` members must be. */
static int read_text(const json_t *document, const char *name, bool required, size_t max,
                     const char **ret, struct poolmgr_error *err)
{
    const json_t *value = json_object_get(document, name);
    char must[64];

    if (!value)
        return required ? missing(err, name) : POOLMGR_OK;
    if (!is_text(value, max)) {
        (void)snprintf(must, sizeof(must), "a text of 1 to %zu bytes without control characters",
                       max);
        return wrong(err, name, must);
    }
    *ret = json_string_value(value);
    return POOLMGR_OK;
}

static int read_number(const json_t *document, const char *name, bool required, uint64_t least,
                       uint64_t most, uint64_t *ret, struct poolmgr_error *err)
{
    const json_t *value = json_object_get(document, name);
    json_int_t number = json_integer_value(value);
    char must[80];

    if (!value)
        return required ? missing(err, name) : POOLMGR_OK;
    if (!json_is_integer(value) || number < (json_int_t)least || number > (json_int_t)most) {
        (void)snprintf(must, sizeof(must), "a number from %" PRIu64 " to %" PRIu64, least, most);
        return wrong(err, name, must);
    }
    *ret = (uint64_t)number;
    return POOLMGR_OK;
}

static bool is_member(const char *name)
{
    size_t n = strlen(name);

    for (const char *p = PM_HANDOFF_MEMBERS; *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");

        if (length == n && memcmp(p, name, n) == 0)
            return true;
        p += length;
    }
    return false;
}

static int check_members(const json_t *document, struct poolmgr_error *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)document, name, value)
    {
        if (is_member(name))
            continue;
        (void)pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                      "unknown member '%.64s'; a handoff may have: " PM_HANDOFF_MEMBERS, name);
        return pm_error_param(err, POOLMGR_E_INVALID_REQUEST, name);
    }
    return POOLMGR_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

struct document {
    uint64_t version, replica, n_slots, pid;
    const char *pool, *engine, *engine_version, *endpoint, *model, *device_mask;
};

static int read_members(const json_t *document, struct document *ret, struct poolmgr_error *err)
{
    const struct {
        const char *name;
        bool required;
        size_t max;
        const char **to;
    } texts[] = {
        {"pool", true, PM_ID_MAX, &ret->pool},
        {"engine", true, PM_HANDOFF_TEXT_MAX, &ret->engine},
        {"engine_version", false, PM_HANDOFF_TEXT_MAX, &ret->engine_version},
        {"endpoint", true, sizeof(((struct pm_ready *)0)->endpoint) - 1, &ret->endpoint},
        {"model", true, PM_ALIAS_MAX, &ret->model},
    };
    const struct {
        const char *name;
        bool required;
        uint64_t least, most;
        uint64_t *to;
    } numbers[] = {
        {"version", true, PM_HANDOFF_VERSION, PM_HANDOFF_VERSION, &ret->version},
        {"replica", false, 0, PM_HANDOFF_REPLICAS_MAX - 1, &ret->replica},
        {"slots", true, 1, PM_HANDOFF_SLOTS_MAX, &ret->n_slots},
        {"pid", false, 2, PM_HANDOFF_PID_MAX, &ret->pid},
    };
    int r = POOLMGR_OK;

    for (size_t i = 0; i < PM_ARRAY_LEN(numbers) && r == POOLMGR_OK; i++)
        r = read_number(document, numbers[i].name, numbers[i].required, numbers[i].least,
                        numbers[i].most, numbers[i].to, err);
    for (size_t i = 0; i < PM_ARRAY_LEN(texts) && r == POOLMGR_OK; i++)
        r = read_text(document, texts[i].name, texts[i].required, texts[i].max, texts[i].to, err);
    return r;
}

/* Whatever is wrong with its text has a code of a mask's. *ret NULL: it is not there. */
static int read_mask(const json_t *json, struct document *document, struct pm_mask **ret,
                     struct poolmgr_error *err)
{
    const json_t *value = json_object_get(json, "device_mask");
    int r;

    if (!value)
        return POOLMGR_OK;
    if (!json_is_string(value))
        return wrong(err, "device_mask", "a text");
    document->device_mask = json_string_value(value);
    r = pm_mask_parse(document->device_mask, json_string_length(value), ret, NULL, err);
    return r < 0 ? pm_error_param(err, r, "device_mask") : POOLMGR_OK;
}

static char *copy_or_null(const char *text)
{
    return text ? pm_xstrdup(text) : NULL;
}

static void replace(char **text, const char *by)
{
    free(*text);
    *text = pm_xstrdup(by);
}

static struct pm_pool_spec *make_spec(const json_t *json, const struct document *document,
                                      struct pm_mask *where)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(document->pool);

    replace(&spec->engine, document->engine);
    spec->runs = pm_engine_spec_new("external");
    spec->runs->family = PM_FAMILY_EXTERNAL;
    spec->runs->mode = pm_xstrdup("external");
    replace(&spec->devices, document->device_mask ? document->device_mask : "");
    if (where && pm_mask_is_cpu(where))
        replace(&spec->devices, "cpu");
    else if (where)
        spec->where = pm_mask_ref(where);
    spec->habits = (struct pm_engine_habits){.ours = false, .cancel = PM_CANCEL_NONE};
    spec->model.main = pm_xstrdup(document->model);
    spec->n_slots = document->n_slots;
    spec->context = 0;
    spec->external.endpoint = pm_xstrdup(document->endpoint);
    spec->external.model_name = pm_xstrdup(document->model);
    spec->external.engine_version = copy_or_null(document->engine_version);
    spec->external.pid = document->pid;
    spec->text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    return spec;
}

int pm_handoff_read(const json_t *json, struct pm_pool_spec **ret, unsigned *ret_replica,
                    struct poolmgr_error *err)
{
    pm_auto(pm_mask_unref) struct pm_mask *where = NULL;
    struct document document = {0};
    int r;

    if (!json_is_object(json))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "a handoff must be a JSON object");

    r = check_members(json, err);
    if (r < 0)
        return r;
    r = read_members(json, &document, err);
    if (r < 0)
        return r;
    if (!pm_pool_id_valid(document.pool))
        return wrong(err, "pool", "a pool's id: 1 to 48 of a-z 0-9 . _ -");
    if (!pm_http_endpoint_valid(document.endpoint))
        return wrong(err, "endpoint",
                     "http://127.0.0.1:8000 (a numeric address and nothing behind the port) or "
                     "unix:/path");

    r = read_mask(json, &document, &where, err);
    if (r < 0)
        return r;

    *ret = make_spec(json, &document, where);
    *ret_replica = (unsigned)document.replica;
    return POOLMGR_OK;
}

int pm_handoff_parse(const char *text, size_t n, struct pm_pool_spec **ret, unsigned *ret_replica,
                     struct poolmgr_error *err)
{
    json_error_t where;
    json_t *json;
    int r;

    if (n > PM_HANDOFF_MAX_BYTES)
        return pm_fail(err, POOLMGR_E_TOO_LARGE, "a handoff has at most %d bytes",
                       PM_HANDOFF_MAX_BYTES);
    /* jansson lets a raw NUL pass behind a number. */
    if (memchr(text, '\0', n))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it holds a NUL byte");

    json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it is not good JSON at byte %d: %s",
                       where.position, where.text);
    r = pm_handoff_read(json, ret, ret_replica, err);
    json_decref(json);
    return r;
}
