/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's life: it is made, it begins, time passes, requests come, it ends. All decisions are elsewhere; here is
 * what holds them together: the clock that never goes back, the heap of deadlines, the source of random numbers.
 */
#include "core/core.h"

#include <stdlib.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

static void set_options(struct pm_core *core, const struct pm_core_options *options)
{
    core->options = *options;
    if (core->options.max_parallel_starts == 0)
        core->options.max_parallel_starts = 1;
}

struct pm_core *pm_core_new(const struct pm_core_options *options)
{
    struct pm_core *core = pm_xalloc(sizeof(*core));

    set_options(core, options);
    core->random = options->seed;
    core->ways_version = 1;
    (void)pm_mask_parse("all", 3, &core->everything, NULL, NULL);
    pm_list_init(&core->all_ways);
    pm_list_init(&core->all_memories);
    pm_list_init(&core->operation_list);
    pm_list_init(&core->poolless);
    pm_list_init(&core->start_queue);
    pm_list_init(&core->all_groups);
    pm_list_init(&core->touched);
    pm_list_init(&core->claims);
    pm_list_init(&core->charged);
    pm_devices_init(core);
    return core;
}

void pm_core_free(struct pm_core *core)
{
    if (!core)
        return;
    pm_operations_fini(core);
    pm_registry_fini(core);
    pm_ways_fini(core);
    pm_memory_fini(core);
    pm_mask_unref(core->everything);
    pm_map_fini(&core->waiters);
    pm_map_fini(&core->questions);
    pm_heap_fini(&core->heap);
    pm_ledger_fini(&core->ledger);
    free(core->devices);
    free(core->seen_gpus);
    free(core);
}

/* splitmix64: every number is drawn from the seed, so that a run can be repeated. */
uint64_t pm_core_random(struct pm_core *core)
{
    uint64_t x = core->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void pm_core_changed(struct pm_core *core)
{
    core->version++;
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

static void waiter_due(struct pm_waiter *waiter, struct pm_actions *out)
{
    struct pm_core *core = waiter->group->core;

    pm_queue_expired(waiter, out);
    pm_core_settle(core, out);
}

static void slot_due(struct pm_slot *slot, struct pm_actions *out)
{
    struct pm_pool *pool = slot->place->pool;

    pm_slot_due(slot, out);
    pm_pool_step(pool, out);
}

static void due(struct pm_due *what, struct pm_actions *out)
{
    switch (what->kind) {
    case PM_DUE_POOL: pm_pool_step(pm_container_of(what, struct pm_pool, due), out); break;
    case PM_DUE_WAITER: waiter_due(pm_container_of(what, struct pm_waiter, due), out); break;
    case PM_DUE_SLOT: slot_due(pm_container_of(what, struct pm_slot, due), out); break;
    }
}

/* What is due now is due with the next tick: a step never ends with something due. */
void pm_due_set(struct pm_core *core, struct pm_due *what, uint64_t due_ms)
{
    if (due_ms <= core->now_ms)
        due_ms = core->now_ms + 1;
    if (due_ms != what->node.key || !pm_heap_contains(&what->node))
        pm_heap_set(&core->heap, &what->node, due_ms);
}

void pm_core_enter(struct pm_core *core, uint64_t now_ms, struct pm_actions *out)
{
    struct pm_heap_node *first;

    if (now_ms > core->now_ms)
        core->now_ms = now_ms;
    while ((first = pm_heap_first(&core->heap)) && first->key <= core->now_ms)
        due(pm_container_of(first, struct pm_due, node), out);
}

void pm_core_tick(struct pm_core *core, uint64_t now_ms, struct pm_actions *out)
{
    pm_core_enter(core, now_ms, out);
}

uint64_t pm_core_deadline(const struct pm_core *core)
{
    const struct pm_heap_node *first = pm_heap_first(&core->heap);

    return first ? first->key : PM_NEVER;
}

/* ---- begin and end --------------------------------------------------------------------------------------------- */

void pm_core_step_all(struct pm_core *core, struct pm_actions *out)
{
    struct pm_pool *pool;

    for (size_t i = 0; i < core->n_pools;) {
        pool = core->pools[i];
        pm_pool_step(pool, out);
        if (i < core->n_pools && core->pools[i] == pool)
            i++; /* else it is gone, and another took its place */
    }
}

void pm_core_configure(struct pm_core *core, const struct pm_core_options *options, uint64_t now_ms,
                       struct pm_actions *out)
{
    pm_core_enter(core, now_ms, out);
    set_options(core, options);
    pm_core_changed(core);
    pm_core_step_all(core, out);
}

void pm_core_begin(struct pm_core *core, uint64_t now_ms, struct pm_actions *out)
{
    pm_core_enter(core, now_ms, out);
    core->begun = true;
    pm_core_changed(core);
    pm_core_step_all(core, out);
}

/* Once: after a leave at once, after a shutdown when no engine is left. */
void pm_core_may_stop(struct pm_core *core, struct pm_actions *out)
{
    if (core->stopped || !(core->leaving || (core->shutting_down && core->n_instances == 0)))
        return;

    core->stopped = true;
    for (size_t i = 0; i < core->n_pools; i++)
        pm_operations_interrupt(&core->pools[i]->operations, out);
    pm_operations_interrupt(&core->poolless, out);
    (void)pm_action_add(out, PM_ACT_STOPPED);
}

/* The one under way, and those that wait for their turn. */
static void call_off_reloads(struct pm_pool *pool, struct pm_actions *out)
{
    pm_reload_call_off(pool, false, out);
    pm_operations_end(pool, PM_OP_RELOAD, PM_OP_CANCELLED, out);
}

void pm_core_shutdown(struct pm_core *core, bool at_once, uint64_t now_ms, struct pm_actions *out)
{
    pm_core_enter(core, now_ms, out);
    if (core->leaving)
        return;
    pm_core_changed(core);
    core->at_once = at_once || core->shutting_down;
    if (!core->shutting_down) {
        core->shutting_down = true;
        for (size_t i = 0; i < core->n_pools; i++) {
            struct pm_pool *pool = core->pools[i];

            pool->shutdown_by_ms = pm_add_ms(core->now_ms, pool->spec->drain_deadline_ms);
            pm_operations_end(pool, PM_OP_START, PM_OP_CANCELLED, out);
            call_off_reloads(pool, out);
        }
    }
    pm_core_step_all(core, out);
    pm_core_may_stop(core, out);
}

void pm_core_leave(struct pm_core *core, uint64_t now_ms, struct pm_actions *out)
{
    pm_core_enter(core, now_ms, out);
    if (core->shutting_down || core->leaving)
        return;

    pm_core_changed(core);
    core->begun = false; /* nothing starts any more: not what a reload kept waiting either */
    for (size_t i = 0; i < core->n_pools; i++)
        call_off_reloads(core->pools[i], out);
    pm_core_step_all(core, out); /* what only a reload wanted has its signal before we leave */
    core->leaving = true;
    pm_core_step_all(core, out);
    pm_core_may_stop(core, out);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static void refuse_unknown(struct pm_core *core, const struct pm_request *request,
                           struct pm_actions *out)
{
    struct poolmgr_error error = {0};
    char name[PM_ALIAS_MAX + 1];

    if (request->route[0] == '\0') {
        (void)pm_fail(&error, POOLMGR_E_INVALID_REQUEST,
                      "the request names no model, and there is no default among %zu pools",
                      core->n_pools);
    } else {
        (void)pm_str_copy(name, sizeof(name), request->route);
        pm_text_clean(name);
        (void)pm_fail(&error, POOLMGR_E_MODEL_NOT_FOUND, "no model '%s' is served here", name);
    }
    (void)pm_error_param(&error, 0, "model");
    (void)pm_error_hint(&error, 0, "GET /v1/models lists what is");
    (void)pm_action_refuse(out, request->id, &error);
}

/* Nobody waits for a place that is free: whoever did has it. */
static void place_or_queue(const struct pm_wish *wish, const struct pm_request *request,
                           struct pm_actions *out)
{
    struct pm_core *core = wish->home->core;
    struct pm_place *place = core->leaving ? NULL : pm_wish_choose(wish);
    struct pm_pool *pool = place ? place->pool : wish->first[0];

    pool->counters.requests++;
    if (!core->shutting_down && !core->leaving && (place || wish->n_first == 1))
        pool->parked = false; /* of several, whichever is wanted for it */
    if (place)
        pm_request_grant(place, request->id, out);
    else
        pm_queue_arrive(wish, request, out);
    pm_pool_step(pool, out);
}

static void refuse_wish(struct pm_group *home, const struct pm_request *request,
                        struct pm_actions *out)
{
    struct poolmgr_error error = {0};
    struct pm_wish wish;

    (void)pm_wish_of(home, &request->placement, request->context_needed, &wish, &error);
    home->pools[0]->counters.requests++;
    pm_queue_refuse_arrival(home->pools[0], request, &error, out);
}

void pm_core_request(struct pm_core *core, const struct pm_request *request, uint64_t now_ms,
                     struct pm_actions *out)
{
    struct pm_group *home;
    struct pm_wish wish;

    pm_core_enter(core, now_ms, out);
    home = pm_group_find(core, request->route);
    if (!home) {
        refuse_unknown(core, request, out);
        return;
    }
    if (pm_wish_of(home, &request->placement, request->context_needed, &wish, NULL) < 0) {
        refuse_wish(home, request, out);
        return;
    }
    place_or_queue(&wish, request, out);
    pm_wish_fini(&wish);
}

void pm_core_request_gone(struct pm_core *core, uint64_t request, uint64_t now_ms,
                          struct pm_actions *out)
{
    struct pm_waiter *waiter;

    pm_core_enter(core, now_ms, out);
    waiter = pm_map_get_u64(&core->waiters, request);
    if (!waiter)
        return;

    pm_group_face(waiter->group)->counters.cancelled++;
    pm_queue_remove(waiter);
    pm_core_settle(core, out);
}
