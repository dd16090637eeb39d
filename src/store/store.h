/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What survives the daemon: STATE/pools/<pool>.json, one small file for each pool that has something to remember, and
 * STATE/memory/<identity>.json, one for each specification of which an engine was measured; STATE/past/<pool>.json, what
 * a pool went through (STATE-1). Files are written
 * by the helper thread: beside, fsync, rename, fsync of the folder. Loop thread only.
 */
#ifndef PM_STORE_STORE_H
#define PM_STORE_STORE_H

#include <stdint.h>

#include "core/core.h"
#include "util/worker.h"

#define PM_STORE_RECORDS_MAX  10000 /* files that are looked at; there are not more pools */
#define PM_STORE_MEMORIES_MAX 1024  /* files of measures; then the oldest is removed */

struct pm_store;

/* Makes the folder below `state_dir` and locks it: POOLMGR_E_CONFLICT names the holder's pid. */
int pm_store_open(struct pm_worker *worker, const char *state_dir, struct pm_store **ret,
                  struct poolmgr_error *err);
/* Behind the worker. */
void pm_store_free(struct pm_store *store);

/* The next daemon may have the folder: as soon as what is under way is written. Nothing may be committed after this. */
void pm_store_give_up(struct pm_store *store);

/* What a look at the folder finds, in the order of names. */
struct pm_store_reader {
    void (*record)(void *ctx, const struct pm_pool_record *record); /* valid during the call */
    void (*memory)(void *ctx,
                   const struct pm_memory_record *memory); /* the same; the oldest file's first */
    void (*past)(void *ctx, const struct pm_past *past);   /* the same */
    /* A file that is nothing of ours any more. It was put aside as <file>.broken, or error->hint says why not. */
    void (*broken)(void *ctx, const char *file, const struct poolmgr_error *error);
    void *ctx;
};

/* Reads all there is, and removes what commits that were cut short left behind. It blocks: for the start only. */
int pm_store_load(struct pm_store *store, const struct pm_store_reader *reader,
                  struct poolmgr_error *err);

/* Makes the record durable (one that says nothing has no file). fn is called once, later: `failure` NULL, or a
 * POOLMGR_E_STORE_FAILED, and then the file is as it was. Commits of a store are done one after the other. */
typedef void (*pm_store_committed)(void *ctx, struct pm_token token, const char *pool_id,
                                   const struct poolmgr_error *failure);
void pm_store_commit(struct pm_store *store, const struct pm_pool_record *record,
                     struct pm_token token, pm_store_committed fn, void *ctx);

/* Keeps it behind, soon, in the file of its identity: in place of what is there of the same device. Nobody waits, and
 * nothing fails: `fn` is called once when files cannot be written, and once more only after one could. Where the store
 * was given up, nothing is kept. */
typedef void (*pm_store_unkept)(void *ctx, const char *file, const struct poolmgr_error *failure);
void pm_store_remember(struct pm_store *store, const struct pm_memory_record *memory,
                       pm_store_unkept fn, void *ctx);
/* The same, in the file of its pool, which goes where `past` says nothing. */
void pm_store_keep(struct pm_store *store, const struct pm_past *past, pm_store_unkept fn,
                   void *ctx);

#endif
