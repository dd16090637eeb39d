/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask when there are no keys: programs of this machine, and no web page of somebody else (AUTH-1). Pure. */
#ifndef PM_API_GUARD_H
#define PM_API_GUARD_H

#include <stdbool.h>

#include "http/codec.h"
#include "util/error.h"
#include "util/str.h"

struct pm_guard {
    const struct pm_strv *listen;        /* as configured: their hosts are good, but wildcards */
    const struct pm_strv *allowed_hosts; /* with or without a port; the port does not count */
    bool is_unix;                        /* Host is not checked there */
    bool open_host;                      /* a health route: any Host */
};

/* A Host header's value names this machine. */
bool pm_guard_host_ok(const struct pm_guard *guard, struct pm_slice host);

/* POOLMGR_E_ORIGIN_REFUSED: a Host or an Origin that is not ours, or a request that a browser says comes from
 * another site. */
int pm_guard_check(const struct pm_guard *guard, const struct pm_http_head *head,
                   struct poolmgr_error *err);

#endif
