/* SPDX-License-Identifier: Apache-2.0 */
/* Strict C99: every public header is included alone and twice, and every function of it is there to link. */
#include "poolmgr/error.h"
#include "poolmgr/poolmgr.h"

#include <stdio.h>

/* Addresses, so that the linker must find them all. */
typedef void (*any_function)(void);
static const any_function functions[] = {
    (any_function)poolmgr_new,
    (any_function)poolmgr_free,
    (any_function)poolmgr_fd,
    (any_function)poolmgr_dispatch,
    (any_function)poolmgr_shutdown,
    (any_function)poolmgr_leave,
    (any_function)poolmgr_lease_acquire,
    (any_function)poolmgr_lease_release,
    (any_function)poolmgr_lease_touch,
    (any_function)poolmgr_lease_endpoint,
    (any_function)poolmgr_snapshot_version,
    (any_function)poolmgr_n_pools,
    (any_function)poolmgr_pool_at,
    (any_function)poolmgr_pool_find,
    (any_function)poolmgr_start,
    (any_function)poolmgr_stop,
    (any_function)poolmgr_drain,
    (any_function)poolmgr_resume,
    (any_function)poolmgr_reload,
    (any_function)poolmgr_reset,
    (any_function)poolmgr_operation_find,
    (any_function)poolmgr_register_ready_from_handoff,
};

int main(void)
{
    struct poolmgr_options options = {
        sizeof(options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    struct poolmgr_error err = {0, "", "", "", 0, false, 0};
    struct poolmgr *mgr = NULL;

    size_t i;

    for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        if (!functions[i])
            return 1;
    if (poolmgr_new(&options, &mgr, &err) != POOLMGR_E_INVALID_REQUEST || mgr) {
        printf("not as it should be: %s\n", err.message);
        return 1;
    }
    poolmgr_free(NULL);
    return 0;
}
