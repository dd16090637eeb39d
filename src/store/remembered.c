/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As a pool's record it is taken whole or not at all. Its numbers go into plans: what no device has is no number of
 * ours.
 */
#include "store/remembered.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/stored.h"
#include "util/cleanup.h"
#include "util/str.h"

#define NAME_LENGTH 16

PM_DEFINE_AUTO(json_t *, json_decref)

static const struct {
    const char *name;
    size_t offset;
} values[] = {
    {"weights_bytes", offsetof(struct pm_memory_record, weights_bytes)},
    {"kv_bytes", offsetof(struct pm_memory_record, kv_bytes)},
    {"compute_bytes", offsetof(struct pm_memory_record, compute_bytes)},
    {"context_bytes", offsetof(struct pm_memory_record, context_bytes)},
};

static uint64_t value_of(const struct pm_memory_record *record, size_t i)
{
    return *(const uint64_t *)((const char *)record + values[i].offset);
}

static bool is_device(const char *id)
{
    size_t n = strlen(id);

    for (size_t i = 0; i < n; i++) {
        if (id[i] <= ' ' || id[i] > '~')
            return false;
    }
    return n > 0 && n <= PM_DEVICE_ID_MAX;
}

/* ---- what is held ------------------------------------------------------------------------------------- */

static size_t find(const struct pm_remembered *remembered, const char *device)
{
    size_t i = 0;

    while (i < remembered->n && strcmp(remembered->records[i].device, device) != 0)
        i++;
    return i;
}

static void drop(struct pm_remembered *from, size_t i)
{
    from->n--;
    memmove(from->records + i, from->records + i + 1, (from->n - i) * sizeof(*from->records));
}

static bool is_same(const struct pm_memory_record *a, const struct pm_memory_record *b)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(values); i++) {
        if (value_of(a, i) != value_of(b, i))
            return false;
    }
    return true;
}

bool pm_remembered_accepts(const struct pm_memory_record *record)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(values); i++) {
        if (value_of(record, i) > PM_REMEMBERED_VALUE_MAX)
            return false;
    }
    return is_device(record->device);
}

bool pm_remembered_put(struct pm_remembered *to, const struct pm_memory_record *record)
{
    size_t at = find(to, record->device);

    if (at < to->n && is_same(&to->records[at], record))
        return false;
    if (at < to->n)
        drop(to, at);
    else if (to->n == PM_REMEMBERED_DEVICES_MAX)
        drop(to, 0);
    to->records = pm_xrealloc(to->records, (to->n + 1) * sizeof(*to->records));
    to->records[to->n++] = *record;
    return true;
}

void pm_remembered_fini(struct pm_remembered *remembered)
{
    free(remembered->records);
    *remembered = (struct pm_remembered){0};
}

void pm_remembered_name(uint64_t identity, char ret[17])
{
    (void)snprintf(ret, NAME_LENGTH + 1, "%016" PRIx64, identity);
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static json_t *device_json(const struct pm_memory_record *record)
{
    json_t *json = json_pack("{s:s}", "device", record->device);

    for (size_t i = 0; i < PM_ARRAY_LEN(values); i++)
        (void)json_object_set_new(json, values[i].name,
                                  json_integer((json_int_t)value_of(record, i)));
    return json;
}

char *pm_remembered_write(const struct pm_remembered *remembered)
{
    pm_auto(json_decref) json_t *json = NULL;
    pm_auto_free char *text = NULL;
    json_t *devices = json_array();
    char name[NAME_LENGTH + 1];

    for (size_t i = 0; i < remembered->n; i++)
        (void)json_array_append_new(devices, device_json(&remembered->records[i]));
    pm_remembered_name(remembered->identity, name);
    json = json_pack("{s:i, s:s, s:o}", "version", PM_REMEMBERED_VERSION, "identity", name,
                     "devices", devices);
    text = json_dumps(json, JSON_INDENT(1));
    return pm_xasprintf("%s\n", text);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static int wrong(struct poolmgr_error *err, const char *what)
{
    return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s", what);
}

static int read_device(json_t *json, struct pm_remembered *ret, struct poolmgr_error *err)
{
    json_int_t bytes[PM_ARRAY_LEN(values)];
    struct pm_memory_record record = {.identity = ret->identity};
    const char *device;

    if (json_unpack(json, "{s:s, s:I, s:I, s:I, s:I !}", "device", &device, values[0].name,
                    &bytes[0], values[1].name, &bytes[1], values[2].name, &bytes[2], values[3].name,
                    &bytes[3]) < 0)
        return wrong(err, "a member of a device is missing, of another type, or unknown");
    if (!is_device(device))
        return wrong(err, "a device's name is none");
    if (find(ret, device) < ret->n)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "device '%.95s' stands there twice", device);

    (void)pm_str_copy(record.device, sizeof(record.device), device);
    for (size_t i = 0; i < PM_ARRAY_LEN(values); i++) {
        if (bytes[i] < 0 || bytes[i] > PM_REMEMBERED_VALUE_MAX)
            return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s of device '%.95s' is out of range",
                           values[i].name, device);
        *(uint64_t *)((char *)&record + values[i].offset) = (uint64_t)bytes[i];
    }
    (void)pm_remembered_put(ret, &record);
    return POOLMGR_OK;
}

static int read_devices(const json_t *json, struct pm_remembered *ret, struct poolmgr_error *err)
{
    size_t n = json_array_size(json), i;
    json_t *device;

    if (n == 0 || n > PM_REMEMBERED_DEVICES_MAX)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "its devices are no list of 1 to %d",
                       PM_REMEMBERED_DEVICES_MAX);
    json_array_foreach(json, i, device)
    {
        int r = read_device(device, ret, err);

        if (r < 0)
            return r;
    }
    return POOLMGR_OK;
}

static bool read_identity(const char *text, uint64_t *ret)
{
    if (strlen(text) != NAME_LENGTH || strspn(text, "0123456789abcdef") != NAME_LENGTH)
        return false;
    *ret = strtoull(text, NULL, 16);
    return true;
}

static int read_json(json_t *json, const char *name, struct pm_remembered *ret,
                     struct poolmgr_error *err)
{
    const char *identity;
    json_t *devices;
    int version;

    if (json_unpack(json, "{s:i, s:s, s:o !}", "version", &version, "identity", &identity,
                    "devices", &devices) < 0)
        return wrong(err, "a member is missing, of another type, or unknown");
    if (!read_identity(identity, &ret->identity))
        return wrong(err, "its identity is no 16 hexadecimal digits");
    if (strcmp(identity, name) != 0)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it is of another identity, '%s'", identity);
    return read_devices(devices, ret, err);
}

int pm_remembered_read(const char *text, size_t n, const char *name, struct pm_remembered *ret,
                       struct poolmgr_error *err)
{
    struct pm_remembered remembered = {0};
    pm_auto(json_decref) json_t *json = NULL;
    int r;

    r = pm_stored_read(text, n, PM_REMEMBERED_MAX_BYTES, PM_REMEMBERED_VERSION,
                       "it is nothing that was remembered", &json, err);
    if (r < 0)
        return r;

    r = read_json(json, name, &remembered, err);
    if (r < 0) {
        pm_remembered_fini(&remembered);
        return r;
    }

    *ret = remembered;
    return POOLMGR_OK;
}
