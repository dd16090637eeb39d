/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are written behind (STATE-1): soon, one at a time, and nobody waits. Loop thread only. */
#ifndef PM_STORE_BEHIND_H
#define PM_STORE_BEHIND_H

#include "store/store.h"
#include "util/list.h"

/* Zeros after pm_behind_init(): nothing is to be written. */
struct pm_behind {
    struct pm_store *store;
    struct pm_list files; /* that wait for their turn */
    bool writing, failing;
    pm_store_unkept unkept; /* of the last who asked */
    void *ctx;
};

void pm_behind_init(struct pm_behind *behind, struct pm_store *store);
void pm_behind_fini(struct pm_behind *behind);

/* The file `name` of `folder` (which is made if need be) is to hold this, the callee's from now on; NULL: is to go. In
 * place of what waits for the same file. One that cannot be written is tried again with the next; `fn` is told once, and
 * once more only after one could be written. */
void pm_behind_put(struct pm_behind *behind, const char *folder, const char *name, char *text,
                   pm_store_unkept fn, void *ctx);

#endif
