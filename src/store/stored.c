/* SPDX-License-Identifier: Apache-2.0 */
#include "store/stored.h"

#include <string.h>

#include "util/cleanup.h"

PM_DEFINE_AUTO(json_t *, json_decref)

static int check_version(json_t *json, int version, const char *it_is_not,
                         struct poolmgr_error *err)
{
    int is;

    if (json_unpack(json, "{s:i}", "version", &is) < 0)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "%s: it has no version", it_is_not);
    if (is != version)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "its version is %d, and we read %d", is,
                       version);
    return POOLMGR_OK;
}

int pm_stored_read(const char *text, size_t n, int max_bytes, int version, const char *it_is_not,
                   json_t **ret, struct poolmgr_error *err)
{
    pm_auto(json_decref) json_t *json = NULL;
    json_error_t where;
    int r;

    if (n > (size_t)max_bytes)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it is larger than %d bytes", max_bytes);
    if (memchr(text, '\0', n)) /* which jansson skips behind a number */
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it holds a NUL byte");

    json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "it is no JSON: %.160s, line %d", where.text,
                       where.line);

    r = check_version(json, version, it_is_not, err);
    if (r < 0)
        return r;

    *ret = pm_take(json);
    return POOLMGR_OK;
}
