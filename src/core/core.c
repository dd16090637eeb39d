/* SPDX-License-Identifier: Apache-2.0 */
/* The facade of the core, with an empty registry: every id is unknown. */
#include "core/core.h"

#include <stdlib.h>
#include <string.h>

#include "util/error.h"
#include "util/heap.h"
#include "util/str.h"

struct pm_core {
    struct pm_core_options options;
    uint64_t snapshot_version;
};

static void action_fini(struct pm_action *action)
{
    pm_pool_spec_unref(action->spec);
    free(action->error);
    free(action->event);
}

void pm_actions_clear(struct pm_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++)
        action_fini(&actions->items[i]);
    actions->n = 0;
}

void pm_actions_fini(struct pm_actions *actions)
{
    pm_actions_clear(actions);
    free(actions->items);
    memset(actions, 0, sizeof(*actions));
}

static struct pm_action *action_add(struct pm_actions *out, enum pm_action_kind kind)
{
    if (out->n == out->capacity) {
        out->capacity = out->capacity ? out->capacity * 2 : 16;
        out->items = pm_xrealloc(out->items, out->capacity * sizeof(*out->items));
    }
    memset(&out->items[out->n], 0, sizeof(out->items[0]));
    out->items[out->n].kind = kind;
    return &out->items[out->n++];
}

struct pm_core *pm_core_new(const struct pm_core_options *options)
{
    struct pm_core *core = pm_xalloc(sizeof(*core));

    core->options = *options;
    return core;
}

void pm_core_free(struct pm_core *core)
{
    free(core);
}
uint64_t pm_core_deadline(const struct pm_core *core)
{
    return PM_NEVER;
}
void pm_core_tick(struct pm_core *core, uint64_t now_ms, struct pm_actions *out)
{
}
int pm_core_add_pool(struct pm_core *core, struct pm_pool_spec *spec, enum pm_owner owner,
                     uint64_t now_ms, struct pm_actions *out, struct poolmgr_error *err)
{
    return POOLMGR_OK;
}
void pm_core_begin(struct pm_core *core, uint64_t now_ms, struct pm_actions *out)
{
}
void pm_core_shutdown(struct pm_core *core, bool at_once, uint64_t now_ms, struct pm_actions *out)
{
    (void)action_add(out, PM_ACT_STOPPED);
}
void pm_core_leave(struct pm_core *core, uint64_t now_ms, struct pm_actions *out)
{
    (void)action_add(out, PM_ACT_STOPPED);
}
void pm_core_request(struct pm_core *core, const struct pm_request *request, uint64_t now_ms,
                     struct pm_actions *out)
{
    struct pm_action *action = action_add(out, PM_ACT_REFUSE);

    action->request = request->id;
    action->error = pm_xalloc(sizeof(*action->error));
    (void)pm_fail(action->error, POOLMGR_E_MODEL_NOT_FOUND, "no model '%s' is served here",
                  request->route);
}
void pm_core_request_gone(struct pm_core *core, uint64_t request, uint64_t now_ms,
                          struct pm_actions *out)
{
}
void pm_core_release(struct pm_core *core, const struct pm_lease *lease, enum pm_release how,
                     uint64_t now_ms, struct pm_actions *out)
{
}
void pm_core_abandon(struct pm_core *core, const struct pm_lease *lease, uint64_t now_ms,
                     struct pm_actions *out)
{
}
void pm_core_keep_alive(struct pm_core *core, const struct pm_lease *lease, uint64_t keep_alive_ms,
                        uint64_t now_ms, struct pm_actions *out)
{
}
void pm_core_staged(struct pm_core *core, struct pm_token token, const struct pm_failure *failure,
                    uint64_t size_bytes, uint64_t now_ms, struct pm_actions *out)
{
}
void pm_core_spawned(struct pm_core *core, struct pm_token token, const struct pm_failure *failure,
                     int pid, uint64_t now_ms, struct pm_actions *out)
{
}
void pm_core_progress(struct pm_core *core, struct pm_token token, uint64_t now_ms,
                      struct pm_actions *out)
{
}
void pm_core_endpoint_ready(struct pm_core *core, struct pm_token token,
                            const struct pm_ready *ready, uint64_t now_ms, struct pm_actions *out)
{
}
void pm_core_probed(struct pm_core *core, struct pm_token probe, bool ok, uint64_t now_ms,
                    struct pm_actions *out)
{
}
void pm_core_busy(struct pm_core *core, struct pm_token probe, uint64_t n_busy, uint64_t now_ms,
                  struct pm_actions *out)
{
}
void pm_core_engine_exited(struct pm_core *core, struct pm_token token, const struct pm_exit *how,
                           uint64_t now_ms, struct pm_actions *out)
{
}
void pm_core_childless(struct pm_core *core, struct pm_token token, uint64_t now_ms,
                       struct pm_actions *out)
{
}
int pm_core_adopt(struct pm_core *core, const char *pool_id, unsigned replica, uint64_t instance,
                  int pid, uint64_t started_ms, uint64_t now_ms, struct pm_actions *out,
                  struct pm_token *ret_token, struct poolmgr_error *err)
{
    return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%s'", pool_id);
}
void pm_core_seen_instance(struct pm_core *core, const char *pool_id, uint64_t instance)
{
}
int pm_core_start(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%s'", pool_id);
}
int pm_core_stop(struct pm_core *core, const char *pool_id, uint64_t deadline_ms, uint64_t now_ms,
                 struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%s'", pool_id);
}
int pm_core_cancel_operation(struct pm_core *core, uint64_t op, uint64_t now_ms,
                             struct pm_actions *out, struct poolmgr_error *err)
{
    return pm_fail(err, POOLMGR_E_NOT_FOUND, "no operation op-%llu", (unsigned long long)op);
}
int pm_core_reset(struct pm_core *core, const char *pool_id, enum pm_breaker breaker,
                  uint64_t now_ms, struct pm_actions *out, struct poolmgr_error *err)
{
    return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%s'", pool_id);
}
bool pm_core_operation(const struct pm_core *core, uint64_t op, struct pm_operation *ret)
{
    return false;
}
bool pm_core_operation_at(const struct pm_core *core, size_t i, struct pm_operation *ret)
{
    return false;
}
uint64_t pm_core_snapshot_version(const struct pm_core *core)
{
    return core->snapshot_version;
}
size_t pm_core_n_pools(const struct pm_core *core)
{
    return 0;
}
bool pm_core_pool_at(const struct pm_core *core, size_t i, uint64_t now_ms,
                     struct pm_pool_view *ret)
{
    return false;
}
bool pm_core_pool(const struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_pool_view *ret)
{
    return false;
}
bool pm_core_replica(const struct pm_core *core, const char *pool_id, unsigned index,
                     struct pm_replica_view *ret)
{
    return false;
}
const struct pm_pool_spec *pm_core_route(const struct pm_core *core, const char *route)
{
    return NULL;
}
bool pm_core_waiter(const struct pm_core *core, uint64_t request, uint64_t *ret_position)
{
    return false;
}
bool pm_core_counters(const struct pm_core *core, const char *pool_id, struct pm_pool_counters *ret)
{
    return false;
}
