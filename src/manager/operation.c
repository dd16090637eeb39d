/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the API and who waits for their end. An operation may end inside the command that began it; its
 * watchers are told at the end of the turn, when whoever asked holds what it needs to be told.
 */
#include "manager/internal.h"
#include "util/cleanup.h"

struct pm_op_watch {
    struct pm_link link;
    struct pm_manager *manager;
    uint64_t op;
    enum pm_op_until until;
    bool moved, told;
    struct pm_operation
        how; /* as it moved: core may have forgotten it before its watcher is told */
    void (*fn)(void *ctx, const struct pm_operation *op);
    void *ctx;
};

int pm_manager_start(struct pm_manager *manager, const char *pool_id, uint64_t *ret_op,
                     struct poolmgr_error *err)
{
    int r = pm_core_start(manager->core, pool_id, pm_manager_now(manager), &manager->actions,
                          ret_op, err);

    pm_manager_flush(manager);
    return r;
}

int pm_manager_stop(struct pm_manager *manager, const char *pool_id, bool has_deadline,
                    uint64_t deadline_ms, uint64_t *ret_op, struct poolmgr_error *err)
{
    uint64_t now_ms = pm_manager_now(manager);
    struct pm_pool_view view;
    int r;

    if (!has_deadline && pm_core_pool(manager->core, pool_id, now_ms, &view))
        deadline_ms = view.spec->drain_deadline_ms;

    r = pm_core_stop(manager->core, pool_id, deadline_ms, now_ms, &manager->actions, ret_op, err);
    pm_manager_flush(manager);
    return r;
}

int pm_manager_drain(struct pm_manager *manager, const char *pool_id, const struct pm_drain *drain,
                     uint64_t *ret_op, struct poolmgr_error *err)
{
    int r = pm_core_drain(manager->core, pool_id, drain, pm_manager_now(manager), &manager->actions,
                          ret_op, err);

    pm_manager_flush(manager);
    return r;
}

int pm_manager_resume(struct pm_manager *manager, const char *pool_id, uint64_t *ret_op,
                      struct poolmgr_error *err)
{
    int r = pm_core_resume(manager->core, pool_id, pm_manager_now(manager), &manager->actions,
                           ret_op, err);

    pm_manager_flush(manager);
    return r;
}

int pm_manager_reload(struct pm_manager *manager, const char *pool_id,
                      const struct pm_reload *reload, uint64_t *ret_op, struct poolmgr_error *err)
{
    int r = pm_core_reload(manager->core, pool_id, reload, pm_manager_now(manager),
                           &manager->actions, ret_op, err);

    pm_manager_flush(manager);
    return r;
}

int pm_manager_put_pool(struct pm_manager *manager, struct pm_pool_spec *spec, uint64_t *ret_op,
                        struct poolmgr_error *err)
{
    int r = pm_core_put_pool(manager->core, spec, pm_manager_now(manager), &manager->actions,
                             ret_op, err);

    pm_manager_flush(manager);
    return r;
}

int pm_manager_remove_pool(struct pm_manager *manager, const char *pool_id, bool has_drain,
                           uint64_t drain_ms, uint64_t *ret_op, struct poolmgr_error *err)
{
    int r = pm_core_remove_pool(manager->core, pool_id, has_drain, drain_ms,
                                pm_manager_now(manager), &manager->actions, ret_op, err);

    pm_manager_flush(manager);
    return r;
}

int pm_manager_reset(struct pm_manager *manager, const char *pool_id, enum pm_breaker breaker,
                     struct poolmgr_error *err)
{
    int r = pm_core_reset(manager->core, pool_id, breaker, pm_manager_now(manager),
                          &manager->actions, err);

    pm_manager_flush(manager);
    return r;
}

int pm_manager_cancel_operation(struct pm_manager *manager, uint64_t op, uint64_t *ret_op,
                                struct poolmgr_error *err)
{
    int r = pm_core_cancel_operation(manager->core, op, pm_manager_now(manager), &manager->actions,
                                     ret_op, err);

    pm_manager_flush(manager);
    return r;
}

void pm_manager_shutdown(struct pm_manager *manager, bool at_once)
{
    pm_core_shutdown(manager->core, at_once, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

/* The next daemon finds lock and instances free at once; streams that run go on over their own connections. */
void pm_manager_leave(struct pm_manager *manager)
{
    struct pm_link *link;

    pm_core_leave(manager->core, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);

    pm_list_each (&manager->instances, link)
        pm_instance_let_go(pm_container_of(link, struct pm_instance, link));
    pm_strangers_free(manager);
    pm_store_give_up(manager->store);
    pm_folder_unlock(&manager->lock_fd);
}

static bool is_so_far(const struct pm_operation *op, enum pm_op_until until)
{
    return op->state != PM_OP_RUNNING || (until == PM_UNTIL_ACCEPTED && op->accepted);
}

/* The first watcher whose operation has come so far and who was not told yet. */
static struct pm_op_watch *next_to_tell(struct pm_manager *manager)
{
    struct pm_link *link;

    pm_list_each (&manager->op_watches, link) {
        struct pm_op_watch *watch = pm_container_of(link, struct pm_op_watch, link);

        if (watch->moved && !watch->told)
            return watch;
    }

    return NULL;
}

/* The list is searched anew for each: whoever is told may free any of them. */
static void tell_watchers(struct pm_task *task)
{
    struct pm_manager *manager = pm_container_of(task, struct pm_manager, op_task);
    struct pm_op_watch *watch;

    while ((watch = next_to_tell(manager))) {
        struct pm_operation how = watch->how; /* whoever is told may free it */

        watch->told = true;
        watch->fn(watch->ctx, &how);
    }
}

static void look(struct pm_op_watch *watch)
{
    struct pm_manager *manager = watch->manager;

    if (!pm_core_operation(manager->core, watch->op, &watch->how) ||
        !is_so_far(&watch->how, watch->until))
        return;
    watch->moved = true;
    pm_loop_later(manager->loop, &manager->op_task);
}

void pm_operation_moved(struct pm_manager *manager, uint64_t op)
{
    struct pm_link *link;

    pm_list_each (&manager->op_watches, link) {
        struct pm_op_watch *watch = pm_container_of(link, struct pm_op_watch, link);

        if (watch->op == op && !watch->told)
            look(watch);
    }
}

struct pm_op_watch *pm_manager_watch_operation(struct pm_manager *manager, uint64_t op,
                                               enum pm_op_until until,
                                               void (*fn)(void *ctx, const struct pm_operation *op),
                                               void *ctx)
{
    struct pm_op_watch *watch;
    struct pm_operation now;

    if (!pm_core_operation(manager->core, op, &now))
        return NULL;

    watch = pm_xalloc(sizeof *watch);
    watch->manager = manager;
    watch->op = op;
    watch->until = until;
    watch->fn = fn;
    watch->ctx = ctx;
    pm_list_append(&manager->op_watches, &watch->link);
    look(watch);
    return watch;
}

void pm_op_watch_free(struct pm_op_watch *watch)
{
    if (!watch)
        return;

    pm_list_remove(&watch->link);
    free(watch);
}

void pm_operations_init(struct pm_manager *manager)
{
    pm_list_init(&manager->op_watches);
    manager->op_task.fn = tell_watchers;
}

/* The watches are their owners'; they are only taken out of the list. */
void pm_operations_free(struct pm_manager *manager)
{
    struct pm_link *link;

    pm_list_remove(&manager->op_task.link);
    while ((link = pm_list_first(&manager->op_watches)))
        pm_list_remove(link);
}
