/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives the daemon of a pool (STATE-1): core says what and when, the store makes it durable, and at the start
 * it comes back. A start of the daemon applies the file: a pool that stands there is the file's, whoever had it before,
 * and of one that stood there and does not any more nothing is kept. What holds for a pool that was handed over waits
 * until it is handed over again.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "manager/internal.h"
#include "util/cleanup.h"

/* Of a pool that is not handed over yet. */
struct waiting {
    struct pm_link link; /* in manager->records */
    struct pm_pool_record record;
};

static void tell(struct pm_manager *manager, enum pm_event_kind kind, const char *target,
                 const char *human, const char *text)
{
    struct pm_event event;

    pm_event_init(&event, kind, target);
    if (pm_pool_id_valid(target))
        pm_event_pool(&event, target);
    pm_event_human(&event, "%s", human);
    if (text)
        pm_event_text(&event, text);
    pm_sink_tell(manager->sink, &event);
}

static void tell_failure(struct pm_manager *manager, const char *pool_id, const char *what,
                         const char *text)
{
    pm_auto_free char *human = pm_xasprintf("what holds for %s %s", pool_id, what);

    tell(manager, PM_EV_STORE_FAILED, pool_id, human, text);
}

/* ---- while it runs ---------------------------------------------------------------------------------- */

static void on_committed(void *ctx, struct pm_token token, const char *pool_id,
                         const struct poolmgr_error *failure)
{
    struct pm_manager *manager = ctx;

    if (failure)
        tell_failure(manager, pool_id, "cannot be stored", failure->message);
    pm_core_persisted(manager->core, token, failure, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

void pm_record_commit(struct pm_manager *manager, const struct pm_action *action)
{
    pm_store_commit(manager->store, action->record, action->token, on_committed, manager);
}

static void on_unkept(void *ctx, const char *file, const struct poolmgr_error *failure)
{
    tell(ctx, PM_EV_STORE_FAILED, file, "what was counted and measured cannot be stored",
         failure->message);
}

void pm_record_remember(struct pm_manager *manager, const struct pm_memory_record *memory)
{
    pm_store_remember(manager->store, memory, on_unkept, manager);
}

void pm_record_keep(struct pm_manager *manager, const struct pm_past *past)
{
    pm_store_keep(manager->store, past, on_unkept, manager);
}

/* ---- at the start ----------------------------------------------------------------------------------- */

static void on_mended(void *ctx, struct pm_token token, const char *pool_id,
                      const struct poolmgr_error *failure)
{
    (void)token;
    if (failure)
        tell_failure(ctx, pool_id, "cannot be stored", failure->message);
}

static void mend(struct pm_manager *manager, const struct pm_pool_record *record)
{
    pm_store_commit(manager->store, record, (struct pm_token){0}, on_mended, manager);
}

static void forget(struct pm_manager *manager, const struct pm_pool_record *record)
{
    struct pm_pool_record none = {.removed = true};
    pm_auto_free char *human =
        pm_xasprintf("%s is not in the file any more: that it was %s is forgotten", record->pool_id,
                     pm_intent_name(record->intent));

    (void)pm_str_copy(none.pool_id, sizeof none.pool_id, record->pool_id);
    tell(manager, PM_EV_POOL_REMOVED, record->pool_id, human, NULL);
    mend(manager, &none);
}

/* It is the file's from now on, also when it does not stand there any more. */
static void hand_to_file(struct pm_manager *manager, const struct pm_pool_record *record)
{
    struct pm_pool_record now = *record;
    pm_auto_free char *human =
        pm_xasprintf("%s stands in the file now, and is what the file says", record->pool_id);

    now.owner = PM_OWNER_FILE;
    now.spec_text = NULL;
    tell(manager, PM_EV_CONFIG_WARNING, record->pool_id, human, NULL);
    mend(manager, &now);
}

int pm_record_spec(const struct pm_manager *manager, const char *pool_id, const char *stored,
                   struct pm_pool_spec **ret, struct poolmgr_error *err)
{
    pm_auto_free struct pm_config_errors *errors = pm_xalloc(sizeof *errors);
    json_t *json = json_loads(stored, 0, NULL);
    int r = pm_config_pool(manager->config, pool_id, json, ret, errors, err);

    json_decref(json);
    return r;
}

static int make_pool(struct pm_manager *manager, const struct pm_pool_record *record,
                     struct poolmgr_error *err)
{
    struct pm_pool_spec *spec = NULL;
    int r;

    r = pm_record_spec(manager, record->pool_id, record->spec_text, &spec, err);
    if (r < 0)
        return r;

    r = pm_manager_add_pool(manager, spec, record->owner, err);
    pm_pool_spec_unref(spec);
    return r;
}

static void wait_for_handoff(struct pm_manager *manager, const struct pm_pool_record *record)
{
    struct waiting *waiting = pm_xalloc(sizeof *waiting);

    waiting->record = *record;
    waiting->record.spec_text = NULL; /* its handoff says what it is */
    pm_list_append(&manager->records, &waiting->link);
}

static void waiting_free(struct waiting *waiting)
{
    pm_list_remove(&waiting->link);
    free(waiting);
}

void pm_record_handed_over(struct pm_manager *manager, const char *pool_id)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&manager->records, link, after) {
        struct waiting *waiting = pm_container_of(link, struct waiting, link);

        if (strcmp(waiting->record.pool_id, pool_id) != 0)
            continue;
        pm_core_restore(manager->core, &waiting->record, pm_manager_now(manager),
                        &manager->actions);
        waiting_free(waiting);
    }
}

void pm_records_free(struct pm_manager *manager)
{
    struct pm_link *link;

    while ((link = pm_list_first(&manager->records)))
        waiting_free(pm_container_of(link, struct waiting, link));
}

static void on_record(void *ctx, const struct pm_pool_record *record)
{
    struct pm_manager *manager = ctx;
    struct poolmgr_error err = {0};
    struct pm_pool_view view;
    bool is_there = pm_core_pool(manager->core, record->pool_id, pm_manager_now(manager), &view);

    if (!is_there && record->owner == PM_OWNER_FILE) {
        forget(manager, record);
        return;
    }
    if (!is_there && record->owner == PM_OWNER_HANDOFF) {
        wait_for_handoff(manager, record);
        return;
    }

    /* What it lacks, as its engine, may come back: the file stays. */
    if (!is_there && make_pool(manager, record, &err) < 0) {
        tell_failure(manager, record->pool_id, "is stored, and it cannot be made again",
                     err.message);
        return;
    }

    if (is_there && record->owner != PM_OWNER_FILE)
        hand_to_file(manager, record);
    pm_core_restore(manager->core, record, pm_manager_now(manager), &manager->actions);
}

static void on_memory(void *ctx, const struct pm_memory_record *memory)
{
    struct pm_manager *manager = ctx;

    pm_core_recall(manager->core, memory);
}

/* Of one that is gone nothing is kept. */
static void on_past(void *ctx, const struct pm_past *past)
{
    struct pm_manager *manager = ctx;
    struct pm_past none = {0};
    struct pm_pool_view view;

    if (pm_core_pool(manager->core, past->pool_id, pm_manager_now(manager), &view)) {
        pm_core_recall_past(manager->core, past, pm_manager_now(manager), &manager->actions);
        return;
    }
    (void)pm_str_copy(none.pool_id, sizeof none.pool_id, past->pool_id);
    pm_record_keep(manager, &none);
}

static void on_broken(void *ctx, const char *file, const struct poolmgr_error *error)
{
    pm_auto_free char *human = pm_xasprintf("%s is broken and %s", file,
                                            error->hint[0] ? "not read" : "put aside as .broken");
    pm_auto_free char *text =
        pm_xasprintf("%s%s%s", error->message, error->hint[0] ? "; " : "", error->hint);

    tell(ctx, PM_EV_STORE_FAILED, file, human, text);
}

int pm_records_restore(struct pm_manager *manager, struct poolmgr_error *err)
{
    const struct pm_store_reader reader = {.record = on_record,
                                           .memory = on_memory,
                                           .past = on_past,
                                           .broken = on_broken,
                                           .ctx = manager};

    return pm_store_load(manager->store, &reader, err);
}
