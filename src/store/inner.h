/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the store: what its two folders have in common. */
#ifndef PM_STORE_INNER_H
#define PM_STORE_INNER_H

#include "store/behind.h"
#include "store/store.h"
#include "util/list.h"
#include "util/map.h"
#include "util/str.h"

#define PM_STORE_END ".json"

struct pm_store {
    struct pm_worker *worker;
    char *folder; /* of pools */
    int lock_fd;
    unsigned n_under_way;
    bool given_up;

    struct pm_behind behind;
    char *past_folder;

    /* memory.c: */
    char *memory_folder;
    struct pm_map by_identity;
    struct pm_list memories; /* the last change last */
};

/* One more, or one less, is with the helper thread. */
void pm_store_begins(struct pm_store *store);
void pm_store_ends(struct pm_store *store);

/* Names that end as ours do, in order; what writes that were cut short left behind is removed on the way. */
int pm_store_list(const char *folder, struct pm_strv *names, struct poolmgr_error *err);
/* To <file>.broken; error->hint says why not. */
void pm_store_put_aside(const char *path, struct poolmgr_error *error);

void pm_store_recall(struct pm_store *store, const struct pm_store_reader *reader);
void pm_store_forget_all(struct pm_store *store);

#endif
