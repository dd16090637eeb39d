/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools that come, change and go (REG-2, RELOAD-2). What their owner asks for is compared with what they are: limits
 * are applied in place, what an engine sees by a reload, when it is its turn; of what waits for that the newest wins.
 * A removal is for good: when it is durable the names leave the routes, what runs may finish, and when nothing of the
 * pool is left it is forgotten.
 */
#include <inttypes.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

/* ---- specs ------------------------------------------------------------------------------------------------------ */

static void replace(struct pm_pool_spec **spec, struct pm_pool_spec *by)
{
    struct pm_pool_spec *before = *spec;

    *spec = pm_pool_spec_ref(by);
    pm_pool_spec_unref(before);
}

void pm_pool_set_wanted(struct pm_pool *pool, struct pm_pool_spec *spec)
{
    replace(&pool->wanted, spec);
}

/* More replicas come cold; those beyond the last end when who runs there has finished. */
static void resize(struct pm_pool *pool, unsigned n_places)
{
    for (unsigned i = n_places; i < pool->n_places; i++)
        pm_place_retire(pool->places[i],
                        pm_add_ms(pool->core->now_ms, pool->spec->drain_deadline_ms));
    pool->places = pm_xrealloc(pool->places, n_places * sizeof(struct pm_place *));
    for (unsigned i = pool->n_places; i < n_places; i++)
        pool->places[i] = pm_place_new(pool, i, PM_SERVING, pool->spec);
    pool->n_places = n_places;
}

void pm_pool_set_spec(struct pm_pool *pool, struct pm_pool_spec *spec)
{
    struct pm_pool_spec *before = pm_pool_spec_ref(pool->spec);

    replace(&pool->spec, spec);
    pm_pool_change_names(pool, &before->aliases);
    pm_pool_spec_unref(before);
    resize(pool, spec->n_replicas > 0 ? (unsigned)spec->n_replicas : 1);
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pm_place_has_process(pool->places[i]))
            continue;
        pm_place_set_spec(pool->places[i], spec);
        pool->places[i]->slots_total = spec->n_slots;
    }
    pm_core_changed(pool->core);
}

/* Nothing that its engines see: they are told nothing. */
static void set_limits(struct pm_pool *pool, struct pm_pool_spec *spec, struct pm_actions *out)
{
    bool changed = pm_spec_compare(pool->spec, spec) != PM_SPEC_SAME;

    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pool->places[i]->spec == pool->spec)
            pm_place_set_spec(pool->places[i], spec);
    }
    pm_pool_set_spec(pool, spec);
    if (changed)
        pm_tell_changed(pool, out);
}

bool pm_pool_has_drift(const struct pm_pool *pool)
{
    return pm_spec_compare(pool->declared, pool->spec) != PM_SPEC_SAME;
}

/* ---- changes that wait for their turn ----------------------------------------------------------------------------- */

static struct pm_op *queued_change(const struct pm_pool *pool)
{
    struct pm_link *link;

    pm_list_each (&pool->operations, link) {
        struct pm_op *op = pm_container_of(link, struct pm_op, pool_link);

        if (op->stage == PM_OP_QUEUED)
            return op;
    }
    return NULL;
}

static void declare(struct pm_pool *pool, struct pm_pool_spec *spec)
{
    replace(&pool->declared, spec);
    replace(&pool->wanted, spec);
}

/* The operation that brings the pool to this spec, now or when it is its turn. */
static struct pm_op *queue_change(struct pm_pool *pool, struct pm_pool_spec *spec,
                                  struct pm_actions *out)
{
    struct pm_op *before = queued_change(pool);
    struct pm_op *op = pm_op_begin(pool, PM_OP_RELOAD, PM_OP_QUEUED);

    if (before)
        pm_op_replace(before, op, out);
    op->spec = pm_pool_spec_ref(spec);
    op->on_deadline = PM_DEADLINE_ABORT;
    op->deadline_ms = pool->spec->drain_deadline_ms;
    return op;
}

static bool may_change(const struct pm_pool *pool)
{
    return pm_pool_meets(pool, PM_OP_PUT) != PM_QUEUES && !pool->core->leaving &&
           !pool->core->shutting_down;
}

/* The difference may have become another one while it waited. */
static void begin_change(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;

    if (pm_spec_compare(pool->spec, op->spec) == PM_SPEC_ENGINE) {
        pm_reload_begin(op, out);
    } else if (pool->owner == PM_OWNER_API) {
        op->stage = PM_OP_TO_COMMIT;
        pm_core_changed(pool->core);
    } else {
        set_limits(pool, op->spec, out);
        pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
    }
}

void pm_change_step(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_op *op = queued_change(pool);

    if (op && may_change(pool))
        begin_change(op, out);
}

/* ---- PUT ------------------------------------------------------------------------------------------------------------ */

/* It is durable: a pool comes into being, or has its new limits. */
void pm_put_begin(struct pm_op *op, struct pm_actions *out)
{
    struct poolmgr_error error = {0};
    struct pm_pool *pool = op->pool;

    if (pool) {
        if (op->view.kind == PM_OP_PUT && !pool->reload && !queued_change(pool))
            declare(pool, op->spec); /* else somebody asked for another since */
        set_limits(pool, op->spec, out);
        pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
        return;
    }
    if (pm_registry_check_names(op->core, op->spec, NULL, &error) < 0) {
        pm_op_end(op, PM_OP_FAILED, &error, out);
        return;
    }
    pool = pm_registry_add(op->core, op->spec, op->owner, out);
    op->view.made = true;
    pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
    pm_pool_step(pool, out);
}

/* Until the pool of that name is gone, and what it says is durable. */
static struct pm_op *arrival_of(const struct pm_core *core, const char *id)
{
    struct pm_link *link;

    pm_list_each (&core->poolless, link) {
        struct pm_op *op = pm_container_of(link, struct pm_op, pool_link);

        if (op->spec && strcmp(op->spec->id, id) == 0)
            return op;
    }
    return NULL;
}

/* New, or back when the one of the same name is gone. */
static struct pm_op *arrive(struct pm_core *core, struct pm_pool_spec *spec, enum pm_owner owner,
                            struct pm_actions *out)
{
    struct pm_op *before = arrival_of(core, spec->id);
    struct pm_op *op = pm_op_begin_poolless(core, spec->id, PM_OP_PUT,
                                            owner == PM_OWNER_API ? PM_OP_TO_COMMIT : PM_OP_QUEUED);

    if (before)
        pm_op_replace(before, op, out);
    op->spec = pm_pool_spec_ref(spec);
    op->owner = owner;
    return op;
}

static bool any_part_runs(const struct pm_op *parent)
{
    struct pm_link *link;

    pm_list_each (&parent->core->operation_list, link) {
        const struct pm_op *op = pm_container_of(link, struct pm_op, link);

        if (op->parent == parent && op->view.state == PM_OP_RUNNING)
            return true;
    }
    return false;
}

static bool is_being_removed(const struct pm_pool *pool)
{
    return pm_pool_runs(pool) == PM_RUNS_REMOVAL;
}

/* Its removal could not be stored. */
static void refuse_arrival(struct pm_op *op, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    (void)pm_fail(&error, POOLMGR_E_CONFLICT, "'%s' was not removed after all", op->spec->id);
    pm_op_end(op, PM_OP_FAILED, &error, out);
}

/* False: nothing of it can be done now. */
static bool step_poolless(struct pm_op *op, struct pm_actions *out)
{
    const struct pm_pool *pool = op->spec ? pm_registry_find(op->core, op->spec->id) : NULL;

    if (op->view.kind == PM_OP_HANDOFF)
        return false;
    if (op->view.kind == PM_OP_CONFIG_RELOAD) {
        if (op->stage != PM_OP_ACTING || any_part_runs(op))
            return false;
        op->view.has_result = true;
        pm_op_end(op, op->view.error.code != 0 ? PM_OP_FAILED : PM_OP_SUCCEEDED, NULL, out);
        return true;
    }
    if (op->commit.serial != 0 || (pool && is_being_removed(pool)))
        return false;
    if (pool)
        refuse_arrival(op, out);
    else if (op->stage == PM_OP_TO_COMMIT)
        pm_commit(op, out);
    else
        pm_put_begin(op, out);
    return true;
}

void pm_poolless_step(struct pm_core *core, struct pm_actions *out)
{
    struct pm_link *link;

    if (core->leaving || core->shutting_down)
        return;
    for (link = core->poolless.head.next; link != &core->poolless.head;) {
        if (step_poolless(pm_container_of(link, struct pm_op, pool_link), out))
            link = core->poolless.head.next; /* it may have changed the list */
        else
            link = link->next;
    }
}

static int check_put(const struct pm_core *core, const struct pm_pool *pool,
                     const struct pm_pool_spec *spec, struct poolmgr_error *err)
{
    const struct pm_op *before = arrival_of(core, spec->id);

    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    if (pool && pool->owner == PM_OWNER_FILE)
        return pm_fail(err, POOLMGR_E_OWNED_BY_FILE,
                       "'%s' stands in the configuration file: change it there", spec->id);
    if (pool && pool->owner == PM_OWNER_HANDOFF)
        return pm_fail(err, POOLMGR_E_ALREADY_EXISTS, "'%s' is an engine that was handed over",
                       spec->id);
    if (before && before->commit.serial != 0)
        return pm_fail(err, POOLMGR_E_CONFLICT, "'%s' is being added", spec->id);
    return pm_registry_check_names(core, spec, pool, err);
}

static struct pm_op *put(struct pm_pool *pool, struct pm_pool_spec *spec, struct pm_actions *out)
{
    struct pm_op *op;

    if (pm_spec_compare(pool->spec, spec) == PM_SPEC_ENGINE || pool->reload ||
        queued_change(pool)) {
        declare(pool, spec);
        op = queue_change(pool, spec, out);
        op->owes_answer = true;
        pm_op_accept(op, out);
        return op;
    }
    op = pm_op_begin(pool, PM_OP_PUT, PM_OP_TO_COMMIT);
    op->owes_answer = true;
    op->spec = pm_pool_spec_ref(spec);
    return op;
}

int pm_core_put_pool(struct pm_core *core, struct pm_pool_spec *spec, uint64_t now_ms,
                     struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    pool = pm_registry_find(core, spec->id);
    r = check_put(core, pool, spec, err);
    if (r < 0)
        return r;

    if (pool && !is_being_removed(pool)) {
        op = put(pool, spec, out);
        *ret_op = op->view.id;
        pm_pool_step(pool, out);
        return POOLMGR_OK;
    }
    op = arrive(core, spec, PM_OWNER_API, out);
    op->owes_answer = true;
    *ret_op = op->view.id;
    pm_poolless_step(core, out);
    return POOLMGR_OK;
}

/* ---- the file --------------------------------------------------------------------------------------------------------- */

static const struct pm_pool_spec *spec_of(struct pm_pool_spec *const *specs, size_t n,
                                          const char *id)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(specs[i]->id, id) == 0)
            return specs[i];
    }
    return NULL;
}

/* An id of this file's that is an alias elsewhere in it is the configuration's to find; here it is against the others. */
static int check_file(const struct pm_core *core, struct pm_pool_spec *const *specs, size_t n,
                      struct poolmgr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct pm_pool *pool = pm_registry_find(core, specs[i]->id);
        const struct pm_op *arrival = arrival_of(core, specs[i]->id);

        if (spec_of(specs, i, specs[i]->id))
            return pm_fail(err, POOLMGR_E_ALREADY_EXISTS, "pool '%s' stands there twice",
                           specs[i]->id);
        if ((pool && pool->owner != PM_OWNER_FILE && !pool->removing) ||
            (arrival && arrival->owner != PM_OWNER_FILE))
            return pm_fail(err, POOLMGR_E_ALREADY_EXISTS,
                           "pool '%s' already exists: it is not the file's", specs[i]->id);
    }
    return POOLMGR_OK;
}

/* Names of the API's and of handed over pools stay as they are. */
static int check_others(const struct pm_core *core, struct pm_pool_spec *const *specs, size_t n,
                        struct poolmgr_error *err)
{
    for (size_t i = 0; i < core->n_pools; i++) {
        const struct pm_pool *pool = core->pools[i];
        const char *id = pool->spec->id;

        if (pool->owner == PM_OWNER_FILE || pool->removing)
            continue;
        for (size_t k = 0; k < n; k++) {
            if (pm_strv_contains(&specs[k]->aliases, id))
                return pm_fail(err, POOLMGR_E_CONFLICT,
                               "alias '%s' of pool '%s' is the id of another pool", id,
                               specs[k]->id);
            if (pm_strv_contains(&pool->spec->aliases, specs[k]->id))
                return pm_fail(err, POOLMGR_E_CONFLICT, "'%s' is already an alias of pool '%s'",
                               specs[k]->id, id);
        }
    }
    return POOLMGR_OK;
}

/* Gone from the file. It says so at once; its record goes behind. */
static void withdraw(struct pm_pool *pool, struct pm_op *parent, struct pm_actions *out)
{
    struct pm_op *op = pm_op_begin(pool, PM_OP_REMOVE, PM_OP_ACTING);

    op->parent = parent;
    op->deadline_ms = pm_add_ms(pool->core->now_ms, pool->spec->drain_deadline_ms);
    pm_removal_begin(op, out);
    pool->to_tidy = true;
    pm_pool_step(pool, out);
}

static void change_to(struct pm_pool *pool, struct pm_pool_spec *spec, struct pm_op *parent,
                      struct pm_actions *out)
{
    if (pm_spec_compare(pool->declared, spec) == PM_SPEC_SAME) {
        replace(&pool->declared, spec);
        return; /* the file says what it said; what an operator reloaded stays */
    }
    declare(pool, spec);
    if (pm_spec_compare(pool->spec, spec) != PM_SPEC_ENGINE && !pool->reload &&
        !queued_change(pool))
        set_limits(pool, spec, out);
    else
        queue_change(pool, spec, out)->parent = parent;
    pm_pool_step(pool, out);
}

static void take_out_of_the_file(struct pm_core *core, struct pm_pool_spec *const *specs, size_t n,
                                 struct pm_op *parent, struct pm_actions *out)
{
    for (size_t i = core->n_pools; i-- > 0;) {
        struct pm_pool *pool = core->pools[i];

        if (pool->owner == PM_OWNER_FILE && !pool->removing && !spec_of(specs, n, pool->spec->id))
            withdraw(pool, parent, out);
    }
}

static bool config_reload_runs(const struct pm_core *core)
{
    struct pm_link *link;

    pm_list_each (&core->poolless, link) {
        if (pm_container_of(link, struct pm_op, pool_link)->view.kind == PM_OP_CONFIG_RELOAD)
            return true;
    }
    return false;
}

int pm_core_apply_file(struct pm_core *core, struct pm_pool_spec *const *specs, size_t n,
                       uint64_t now_ms, struct pm_actions *out, uint64_t *ret_op,
                       struct poolmgr_error *err)
{
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    if (config_reload_runs(core))
        return pm_fail(err, POOLMGR_E_CONFLICT, "the configuration is being applied");
    r = check_file(core, specs, n, err);
    if (r < 0)
        return r;
    r = check_others(core, specs, n, err);
    if (r < 0)
        return r;

    op = pm_op_begin_poolless(core, "", PM_OP_CONFIG_RELOAD, PM_OP_QUEUED);
    op->owes_answer = true;
    *ret_op = op->view.id;
    pm_op_accept(op, out);
    take_out_of_the_file(core, specs, n, op, out);
    for (size_t i = 0; i < n; i++) {
        struct pm_pool *pool = pm_registry_find(core, specs[i]->id);

        if (pool && !pool->removing)
            change_to(pool, specs[i], op, out);
        else
            arrive(core, specs[i], PM_OWNER_FILE, out)->parent = op;
    }
    op->stage = PM_OP_ACTING; /* all of its parts are known */
    pm_poolless_step(core, out);
    return POOLMGR_OK;
}

/* ---- removal --------------------------------------------------------------------------------------------------- */

/* Nobody finds it any more; a second time changes nothing. */
void pm_pool_withdraw(struct pm_pool *pool, struct pm_actions *out)
{
    if (pool->removing)
        return;
    pool->removing = true;
    pm_pool_leave_names(pool, out);
    pm_core_changed(pool->core);
}

void pm_removal_begin(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;
    struct pm_op *before;

    while ((before = pm_pool_op(pool, PM_OP_DRAIN)))
        pm_op_replace(before, op, out);
    while ((before = pm_pool_op(pool, PM_OP_STOP)))
        pm_op_replace(before, op, out);
    pm_operations_end(pool, PM_OP_START, PM_OP_CANCELLED, out);
    pm_reload_call_off(pool, false, out);
    pm_operations_end(pool, PM_OP_RELOAD, PM_OP_CANCELLED, out);
    pm_pool_withdraw(pool, out);
}

bool pm_removal_is_over(const struct pm_pool *pool)
{
    return pool->removing && !pool->core->leaving && !pm_pool_any(pool, pm_place_has_process);
}

void pm_removal_end(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_core *core = pool->core;

    pm_operations_end(pool, PM_OP_REMOVE, PM_OP_SUCCEEDED, out);
    pm_operations_interrupt(&pool->operations, out); /* commands that came when it was too late */
    pm_tell_removed(pool, out);
    pm_past_forget(pool, out);
    pm_operations_part(pool);
    pm_registry_forget(pool);
    pm_core_changed(core);
}

static int check_removal(const struct pm_pool *pool, bool has_drain, struct poolmgr_error *err)
{
    const char *id = pool->spec->id;
    uint64_t n = pm_pool_living_leases(pool);
    int r;

    if (pool->owner == PM_OWNER_FILE)
        return pm_fail(err, POOLMGR_E_OWNED_BY_FILE,
                       "'%s' stands in the configuration file: take it out there", id);
    if (has_drain || n == 0 || pool->removing)
        return POOLMGR_OK;
    r = pm_fail(err, POOLMGR_E_HAS_LEASES, "'%s' serves %" PRIu64 " request%s", id, n,
                pm_plural(n));
    return pm_error_hint(err, r, "drain_ms lets them finish first");
}

int pm_core_remove_pool(struct pm_core *core, const char *pool_id, bool has_drain,
                        uint64_t drain_ms, uint64_t now_ms, struct pm_actions *out,
                        uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *op, *arrival;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = check_removal(pool, has_drain, err);
    if (r < 0)
        return r;

    op = pm_op_begin(pool, PM_OP_REMOVE, pool->removing ? PM_OP_ACTING : PM_OP_TO_COMMIT);
    op->owes_answer = true;
    op->deadline_ms = pm_add_ms(core->now_ms, has_drain ? drain_ms : pool->spec->drain_deadline_ms);
    *ret_op = op->view.id;
    arrival = arrival_of(core, pool_id);
    if (arrival && arrival->owner == PM_OWNER_API)
        pm_op_replace(arrival, op, out); /* it was to come back */
    if (pool->removing)
        pm_op_accept(op, out);
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}
