/* SPDX-License-Identifier: Apache-2.0 */
#include "api/shapes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/str.h"

const char *pm_family_name(enum pm_family family)
{
    static const char *const names[] = {
        [PM_FAMILY_LLAMA_CPP] = "llama.cpp", [PM_FAMILY_VLLM] = "vllm",
        [PM_FAMILY_SGLANG] = "sglang",       [PM_FAMILY_TGI] = "tgi",
        [PM_FAMILY_COMMAND] = "command",     [PM_FAMILY_EXTERNAL] = "external",
    };

    return (size_t)family < PM_ARRAY_LEN(names) ? names[family] : "";
}

/* ---- pools ------------------------------------------------------------------------------------------ */

static json_t *model_json(const struct pm_pool_view *view)
{
    const struct pm_model_spec *spec = &view->spec->model;
    json_t *model = json_object();
    char digest[80];

    pm_put_text(model, "ref", spec->main);
    if (spec->sha256) {
        (void)snprintf(digest, sizeof(digest), "sha256:%s", spec->sha256);
        pm_put_text(model, "digest", digest);
    }
    if (view->model_bytes)
        pm_put_u64(model, "size_bytes", view->model_bytes);
    pm_put_text(model, "mmproj", spec->mmproj);
    pm_put_text(model, "draft", spec->draft);
    return model;
}

/* The version is that of the first replica that has told one. */
static json_t *engine_json(const struct pm_pool_view *view, const struct pm_replica_view *replicas)
{
    json_t *value = json_object();

    pm_put_text(value, "name", view->spec->engine);
    if (view->spec->runs)
        pm_put_text(value, "family", pm_family_name(view->spec->runs->family));
    for (uint64_t i = 0; i < view->n_replicas; i++) {
        if (replicas[i].engine_version[0]) {
            pm_put_text(value, "version", replicas[i].engine_version);
            break;
        }
    }
    return value;
}

static json_t *health_json(const struct pm_pool_view *view, const struct pm_clock *clock)
{
    json_t *health = json_object();

    pm_put_bool(health, "live", view->live);
    pm_put_bool(health, "ready", view->ready);
    pm_put_bool(health, "draining", view->intent == PM_DRAINING);
    pm_put_time(health, "last_check_at", view->last_check_ms, clock);
    pm_put_u64(health, "consecutive_failures", view->n_failed_checks);
    if (!view->ready) {
        pm_put_text(health, "code", view->code_name);
        pm_put_text(health, "reason", view->reason);
    }
    pm_put_last_error(health, "last_error", &view->last_error, clock);
    return health;
}

/* To a tenth: more is noise. */
static void put_number(json_t *object, const char *key, double value)
{
    if (value > 0)
        pm_put(object, key, json_real((double)(uint64_t)(value * 10 + 0.5) / 10));
}

static void put_perf(json_t *replica, const struct pm_replica_view *view)
{
    json_t *perf = json_object();

    put_number(perf, "tokens_per_s", view->tokens_per_s);
    put_number(perf, "first_token_ms", view->first_token_ms);
    if (json_object_size(perf) > 0)
        pm_put(replica, "perf", perf);
    else
        json_decref(perf);
}

static json_t *replica_json(const struct pm_pool_view *view, const struct pm_replica_view *replica,
                            const struct pm_clock *clock)
{
    json_t *value = json_object();
    char instance[PM_ID_MAX + 24];

    pm_put_u64(value, "index", replica->index);
    if (replica->instance > 0) {
        (void)snprintf(instance, sizeof(instance), "%s.%" PRIu64, view->spec->id,
                       replica->instance);
        pm_put_text(value, "instance", instance);
    }
    pm_put_text(value, "state", pm_state_name(replica->state));
    if (replica->pid > 0)
        pm_put_u64(value, "pid", (uint64_t)replica->pid);
    if (replica->endpoint[0]) {
        pm_put_text(value, "endpoint", replica->endpoint);
        pm_put_text(value, "endpoint_owner", replica->owner_proved ? "proved" : "unproved");
    }
    pm_put_text(value, "engine_version", replica->engine_version);
    pm_put_time(value, "started_at", replica->started_ms, clock);
    pm_put_time(value, "ready_at", replica->ready_ms, clock);
    pm_put_time(value, "last_heartbeat_at", replica->last_check_ms, clock);
    pm_put_u64(value, "slots_total", replica->slots_total);
    pm_put_u64(value, "active_leases", replica->active_leases);
    pm_put_u64(value, "restart_count", replica->restart_count);
    pm_put_u64(value, "failures_in_a_row", replica->n_failures);
    pm_put_text(value, "breaker", pm_breaker_name(replica->breaker));
    pm_put_time(value, "next_start_at", replica->next_start_ms, clock);
    put_perf(value, replica);
    pm_put_last_error(value, "last_error", &replica->last_error, clock);
    return value;
}

static void put_sizes(json_t *pool, const struct pm_pool_view *view, const struct pm_clock *clock)
{
    pm_put_u64(pool, "slots_total", view->slots_total);
    pm_put_u64(pool, "slots_free", view->slots_free);
    pm_put_u64(pool, "active_leases", view->active_leases);
    pm_put_u64(pool, "queue_depth", view->queue_depth);
    pm_put_time(pool, "since_at", view->since_ms, clock);
    pm_put_time(pool, "idle_stop_at", view->idle_stop_ms, clock);
    pm_put_bool(pool, "config_drift", view->config_drift);
}

json_t *pm_pool_json(const struct pm_pool_view *view, const struct pm_replica_view *replicas,
                     const struct pm_clock *clock)
{
    const struct pm_pool_spec *spec = view->spec;
    json_t *pool = json_object(), *list = json_array(), *aliases = json_array();
    json_t *text = spec->text ? json_loads(spec->text, 0, NULL) : NULL;

    for (size_t i = 0; i < spec->aliases.n; i++)
        (void)json_array_append_new(aliases, pm_text(spec->aliases.items[i]));
    for (uint64_t i = 0; i < view->n_replicas; i++)
        (void)json_array_append_new(list, replica_json(view, &replicas[i], clock));

    pm_put_text(pool, "id", spec->id);
    pm_put_text(pool, "owner", pm_owner_name(view->owner));
    pm_put_text(pool, "intent", pm_intent_name(view->intent));
    pm_put_text(pool, "state", pm_state_name(view->state));
    pm_put(pool, "aliases", aliases);
    pm_put_text(pool, "start", spec->start == PM_PRELOAD ? "preload" : "on-demand");
    pm_put_text(pool, "devices", spec->devices);
    if (view->on_cpu)
        pm_put_bool(pool, "on_cpu", true);
    pm_put(pool, "model", model_json(view));
    pm_put(pool, "engine", engine_json(view, replicas));
    pm_put(pool, "health", health_json(view, clock));
    put_sizes(pool, view, clock);
    if (text)
        pm_put(pool, "spec", text);
    pm_put(pool, "replicas", list);
    return pool;
}

json_t *pm_pool_health_json(const struct pm_pool_view *view, const struct pm_replica_view *replicas,
                            const struct pm_clock *clock)
{
    json_t *value = health_json(view, clock);
    json_t *list = json_array();

    for (uint64_t i = 0; i < view->n_replicas; i++) {
        json_t *one = json_object();

        pm_put_u64(one, "index", replicas[i].index);
        pm_put_text(one, "state", pm_state_name(replicas[i].state));
        pm_put_bool(one, "live", replicas[i].live);
        pm_put_bool(one, "ready", replicas[i].state == PM_READY && replicas[i].gate_open);
        pm_put_bool(one, "draining", view->intent == PM_DRAINING);
        pm_put_time(one, "last_check_at", replicas[i].last_check_ms, clock);
        pm_put_u64(one, "consecutive_failures", replicas[i].n_failed_checks);
        pm_put_last_error(one, "last_error", &replicas[i].last_error, clock);
        (void)json_array_append_new(list, one);
    }

    pm_put_text(value, "id", view->spec->id);
    pm_put_text(value, "state", pm_state_name(view->state));
    pm_put(value, "replicas", list);
    return value;
}

/* ---- operations ------------------------------------------------------------------------------------- */

bool pm_operation_id(const char *text, uint64_t *ret)
{
    return pm_str_starts(text, "op-") && text[3] != '0' && pm_parse_u64(text + 3, ret);
}

static json_t *progress_json(const struct pm_operation *op)
{
    json_t *progress = json_object();

    pm_put_text(progress, "phase", op->phase);
    pm_put_text(progress, "text", op->text);
    return progress;
}

/* What it came to: of a drain DRAIN-2's, of a reload RELOAD-1's. */
static json_t *result_json(const struct pm_operation *op)
{
    json_t *result = json_object();

    pm_put_u64(result, "duration_ms", op->ended_ms - op->created_ms);
    if (op->kind == PM_OP_DRAIN && op->has_result) {
        pm_put_bool(result, "forced", op->forced);
        pm_put_u64(result, "leases_left", op->n_leases_left);
    }
    if (op->kind == PM_OP_HANDOFF) {
        pm_put_u64(result, "replica", op->replica);
        pm_put_text(result, "endpoint", op->endpoint);
    }
    if (op->kind == PM_OP_RELOAD) {
        pm_put_bool(result, "success", op->state == PM_OP_SUCCEEDED);
        pm_put_bool(result, "rolled_back", op->rolled_back);
        pm_put_text(result, "engine_version", op->engine_version);
    }
    return result;
}

json_t *pm_operation_json(const struct pm_operation *op, const struct pm_clock *clock)
{
    json_t *value = json_object();
    char id[32];

    (void)snprintf(id, sizeof(id), "op-%" PRIu64, op->id);
    pm_put_text(value, "id", id);
    pm_put_text(value, "kind", pm_operation_kind_name(op->kind));
    pm_put_text(value, "pool_id", op->pool_id);
    pm_put_text(value, "state", pm_operation_state_name(op->state));
    pm_put_time(value, "created_at", op->created_ms, clock);
    pm_put_time(value, "ended_at", op->ended_ms, clock);
    if (op->state == PM_OP_RUNNING && op->phase[0])
        pm_put(value, "progress", progress_json(op));
    if (op->state == PM_OP_SUCCEEDED || op->has_result)
        pm_put(value, "result", result_json(op));
    if (op->error.code != 0)
        pm_put(value, "error", pm_error_json(&op->error, op->pool_id, NULL));
    if (op->replaced_by > 0) {
        (void)snprintf(id, sizeof(id), "op-%" PRIu64, op->replaced_by);
        pm_put_text(value, "replaced_by", id);
    }
    return value;
}
