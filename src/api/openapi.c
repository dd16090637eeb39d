/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes as OpenAPI 3.1. Rows that answer 501, or that a control port refuses, are left out: what is
 * listed is served. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/routes.h"
#include "util/cleanup.h"

/* ---- shapes ----------------------------------------------------------------------------------------- */

/* Members are NAME:TYPE; "!" behind the type: always there. Types: s text, i integer, n number, b boolean, t instant, o object,
 * *X list of schema X, $X schema X, *s *i lists of texts, of integers. */
struct shape {
    const char *name, *members;
};

static const struct shape shapes[] = {
    {"Error", "error:$ErrorObject!"},
    {"ErrorObject",
     "code:s! message:s! type:s! retriable:b! param:s offset:i retry_after_ms:i pool_id:s "
     "request_id:s hint:s"},
    {"LastError", "code:s! class:s text:s at:t"},
    {"ModelList", "object:s! data:*Model!"},
    {"Model", "id:s! object:s! created:i! owned_by:s! state:s! context:i aliases:*s! pools:*s"},
    {"PoolList", "snapshot_version:i! pools:*Pool!"},
    {"Pool",
     "id:s! owner:s! intent:s! state:s! aliases:*s! start:s! devices:s on_cpu:b model:o! engine:o! "
     "health:$Health! slots_total:i! slots_free:i! active_leases:i! queue_depth:i! "
     "since_at:t idle_stop_at:t config_drift:b! spec:o replicas:*Replica!"},
    {"Health", "live:b! ready:b! draining:b! last_check_at:t consecutive_failures:i! code:s "
               "reason:s last_error:$LastError"},
    {"PoolHealth", "id:s! state:s! live:b! ready:b! draining:b! last_check_at:t "
                   "consecutive_failures:i! code:s reason:s last_error:$LastError "
                   "replicas:*ReplicaHealth!"},
    {"ReplicaHealth", "index:i! state:s! live:b! ready:b! draining:b! last_check_at:t "
                      "consecutive_failures:i! last_error:$LastError"},
    {"Replica", "index:i! instance:s state:s! pid:i endpoint:s endpoint_owner:s engine_version:s "
                "started_at:t ready_at:t last_heartbeat_at:t slots_total:i! active_leases:i! "
                "restart_count:i! failures_in_a_row:i! breaker:s! next_start_at:t "
                "perf:$Perf last_error:$LastError devices:*ReplicaDevice"},
    {"Perf", "tokens_per_s:n first_token_ms:n"},
    {"Placement", "chosen:$Candidate decided_by:s ties:i waits:b predicted_start_ms:i "
                  "error:$ErrorObject candidates:*Candidate!"},
    {"Candidate", "pool_id:s! replica_id:i! refused_by:s"},
    {"Plan", "fits:b! on_cpu:b model:o! context:i! slots:i! total_context:i! largest_context:i! "
             "shortfall:$Shortfall host_bytes:i! devices:*PlanDevice! measured:*s args:*s! env:o!"},
    {"Shortfall", "device:i! bytes:i!"},
    {"PlanDevice",
     "device:i! uuid:s free_bytes:i! reserve_bytes:i! layers:i! weights_bytes:i kv_bytes:i "
     "compute_bytes:i context_bytes:i used_bytes:i"},
    {"ReplicaDevice",
     "id:s! uuid:s index:i mig_slot:i vram_total_bytes:i! vram_free_bytes:i planned_bytes:i! "
     "measured_bytes:i layers:i compute_capability:*i"},
    {"DeviceList", "devices:*Device! cpu:$Device driver:$Driver host:$Host"},
    {"Device",
     "id:s! uuid:s index:i mig_slot:i mig_mode:b name:s state:s! text:s pci:s vram_total_bytes:i! "
     "vram_free_bytes:i reserve_bytes:i! planned_bytes:i! claimed_bytes:i! left_bytes:i! "
     "foreign_bytes:i quarantined_until_at:t compute_capability:*i "
     "temperature_celsius:i power_milliwatts:i utilisation_percent:i "
     "processes:*DeviceProcess"},
    {"DeviceProcess", "pid:i! name:s pool_id:s used_bytes:i"},
    {"Driver", "state:s! text:s version:s cuda:s"},
    {"Host", "memory_total_bytes:i! memory_available_bytes:i! memory_limit_bytes:i "
             "memory_capacity_bytes:i!"},
    {"Preflight", "ok:b! checks:*Check!"},
    {"Check", "code:s! group:s! status:s! finding:s value:s value_bytes:i text:s! fix:s"},
    {"OperationList", "operations:*Operation!"},
    {"Operation", "id:s kind:s! pool_id:s state:s! created_at:t ended_at:t progress:o result:o "
                  "error:$ErrorObject replaced_by:s"},
    {"RequestList", "requests:*Request!"},
    {"Request", "id:s! pool_id:s model:s state:s! queue_position:i age_ms:i! stream:b!"},
    {"Cancelled", "id:s! state:s!"},
    {"Config", ""},
    {"Meta", "name:s! version:s! profile:s! pid:i! started_at:t! uptime_ms:i! listen:*s! "
             "config_path:s runtime_dir:s log_dir:s"},
    {"OpenAPI", ""},
};

static json_t *reference(const char *name, size_t n)
{
    char text[96];

    (void)snprintf(text, sizeof(text), "#/components/schemas/%.*s", (int)n, name);
    return json_pack("{s:s}", "$ref", text);
}

static json_t *type_of(const char *type, size_t n)
{
    switch (type[0]) {
    case 'i': return json_pack("{s:s}", "type", "integer");
    case 'n': return json_pack("{s:s}", "type", "number");
    case 'b': return json_pack("{s:s}", "type", "boolean");
    case 't': return json_pack("{s:s,s:s}", "type", "string", "format", "date-time");
    case 'o': return json_pack("{s:s}", "type", "object");
    case '$': return reference(type + 1, n - 1);
    case '*':
        return json_pack("{s:s,s:o}", "type", "array", "items",
                         n == 2 ? type_of(type + 1, 1) : reference(type + 1, n - 1));
    default: return json_pack("{s:s}", "type", "string");
    }
}

static json_t *schema_of(const struct shape *shape)
{
    json_t *schema = json_pack("{s:s}", "type", "object");
    json_t *properties = json_object(), *required = json_array();

    for (const char *p = shape->members; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " "), n_name = strcspn(p, ":");
        bool always = p[n - 1] == '!';
        const char *type = p + n_name + 1;

        (void)json_object_setn_new(properties, p, n_name,
                                   type_of(type, n - n_name - 1 - (always ? 1 : 0)));
        if (always)
            (void)json_array_append_new(required, json_stringn(p, n_name));
        p += n;
    }
    pm_put(schema, "properties", properties);
    if (json_array_size(required) > 0)
        pm_put(schema, "required", required);
    else
        json_decref(required);
    return schema;
}

/* ---- routes ----------------------------------------------------------------------------------------- */

/* "/v1/models/{name...}" → "/v1/models/{name}" */
static void path_of(const struct pm_route *route, char *to, size_t size)
{
    char *dots;

    (void)snprintf(to, size, "%s", route->pattern);
    dots = strstr(to, "...}");
    if (dots)
        memmove(dots, "}", 2);
}

static void add_path_parameters(json_t *parameters, const struct pm_route *route)
{
    for (const char *p = strchr(route->pattern, '{'); p; p = strchr(p + 1, '{')) {
        json_t *one = json_object();

        pm_put(one, "name", json_stringn(p + 1, strcspn(p + 1, ".}")));
        pm_put_text(one, "in", "path");
        pm_put_bool(one, "required", true);
        pm_put(one, "schema", type_of("s", 1));
        (void)json_array_append_new(parameters, one);
    }
}

static json_t *parameters_of(const struct pm_route *route)
{
    json_t *parameters = json_array();

    add_path_parameters(parameters, route);
    for (const struct pm_query_key *key = route->query; key && key->name; key++) {
        json_t *one = json_object();

        pm_put_text(one, "name", key->name);
        pm_put_text(one, "in", "query");
        pm_put_text(one, "description", key->help);
        pm_put(one, "schema", type_of(strcmp(key->type, "integer") == 0 ? "i" : "s", 1));
        (void)json_array_append_new(parameters, one);
    }
    return parameters;
}

static json_t *content(const char *type, json_t *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

/* Members of control bodies are texts, and milliseconds where their name says so, but for these. */
static const char *member_type(const char *name, size_t n)
{
    static const struct {
        const char *name, *type;
    } others[] = {{"prefer", "*s"}, {"avoid", "*s"}, {"fallback", "b"}, {"version", "i"},
                  {"replica", "i"}, {"slots", "i"},  {"pid", "i"}};

    for (size_t i = 0; i < PM_ARRAY_LEN(others); i++) {
        if (strlen(others[i].name) == n && memcmp(others[i].name, name, n) == 0)
            return others[i].type;
    }
    return n > 3 && memcmp(name + n - 3, "_ms", 3) == 0 ? "i" : "s";
}

static json_t *body_of(const struct pm_route *route)
{
    json_t *schema = json_pack("{s:s}", "type", "object"), *properties;

    if (route->kind == PM_ROUTE_INFERENCE)
        return json_pack("{s:b,s:o}", "required", 1, "content",
                         content("application/json", schema));

    properties = json_object();
    if (strcmp(route->body, PM_ANY_MEMBERS) == 0) {
        pm_put(schema, "properties", properties);
        return json_pack("{s:b,s:o}", "required", 1, "content",
                         content("application/json", schema));
    }
    for (const char *p = route->body; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        const char *type = member_type(p, n);

        (void)json_object_setn_new(properties, p, n, type_of(type, strlen(type)));
        p += n;
    }
    pm_put(schema, "properties", properties);
    pm_put_bool(schema, "additionalProperties", false);
    return json_pack("{s:b,s:o}", "required", 0, "content", content("application/json", schema));
}

static json_t *answer_content(const struct pm_route *route)
{
    if (strcmp(route->answer, "text") == 0)
        return content("text/plain", type_of("s", 1));
    if (strcmp(route->answer, "sse") == 0)
        return content("text/event-stream", type_of("s", 1));
    if (strcmp(route->answer, "engine") == 0)
        return content("application/json", json_pack("{s:s}", "type", "object"));
    return content("application/json", reference(route->answer, strlen(route->answer)));
}

static void add_answer(json_t *responses, int status, const char *description, json_t *what)
{
    char number[16];

    (void)snprintf(number, sizeof(number), "%d", status);
    pm_put(responses, number, json_pack("{s:s,s:o}", "description", description, "content", what));
}

static json_t *responses_of(const struct pm_route *route)
{
    json_t *responses = json_object();

    if (route->status == 202) {
        add_answer(responses, 200, "it has ended", answer_content(route));
        add_answer(responses, 202, "it goes on", answer_content(route));
    } else if (route->status == 204) {
        pm_put(responses, "204", json_pack("{s:s}", "description", route->help));
    } else {
        add_answer(responses, route->status, route->help, answer_content(route));
    }
    if (route->methods == PM_METHOD(PM_PUT)) {
        add_answer(responses, 201, "it is made", answer_content(route));
        add_answer(responses, 202, "it is changed by a reload",
                   content("application/json", reference("Operation", 9)));
    }
    if (strcmp(route->pattern, "/readyz") == 0 || strcmp(route->pattern, "/health") == 0)
        add_answer(responses, 503, "it does not serve; a line a reason", answer_content(route));
    pm_put(responses, "default",
           json_pack("{s:s,s:o}", "description", "refused", "content",
                     content("application/json", reference("Error", 5))));
    return responses;
}

static json_t *operation_of(const struct pm_route *route)
{
    json_t *operation = json_object();

    pm_put_text(operation, "summary", route->help);
    pm_put_text(operation, "x-scope", pm_scope_name(route->scope));
    pm_put(operation, "parameters", parameters_of(route));
    if (route->body || route->kind == PM_ROUTE_INFERENCE)
        pm_put(operation, "requestBody", body_of(route));
    pm_put(operation, "responses", responses_of(route));
    return operation;
}

static void add_route(json_t *paths, const struct pm_route *route)
{
    char path[64], method[8];
    json_t *item;

    path_of(route, path, sizeof(path));
    item = json_object_get(paths, path);
    if (!item) {
        item = json_object();
        pm_put(paths, path, item);
    }
    for (unsigned m = 0; m < PM_METHOD_COUNT; m++) {
        if (!(route->methods & PM_METHOD(m)))
            continue;
        (void)snprintf(method, sizeof(method), "%s", pm_http_method_name((enum pm_http_method)m));
        for (char *p = method; *p; p++)
            *p = (char)(*p | 0x20);
        pm_put(item, method, operation_of(route));
    }
}

void pm_api_openapi(bool has_gateway, struct pm_buf *out)
{
    json_t *document = json_object(), *paths = json_object(), *schemas = json_object();
    char *text;

    for (size_t i = 0; i < pm_n_routes; i++) {
        if (pm_routes[i].kind != PM_ROUTE_LATER &&
            (has_gateway || !pm_route_is_inference(&pm_routes[i])))
            add_route(paths, &pm_routes[i]);
    }
    for (size_t i = 0; i < PM_ARRAY_LEN(shapes); i++)
        pm_put(schemas, shapes[i].name, schema_of(&shapes[i]));

    pm_put_text(document, "openapi", "3.1.0");
    pm_put(document, "info", json_pack("{s:s,s:s}", "title", "poolmgr", "version", PM_VERSION));
    pm_put(document, "paths", paths);
    pm_put(document, "components", json_pack("{s:o}", "schemas", schemas));

    text = json_dumps(document, JSON_COMPACT);
    json_decref(document);
    pm_buf_adds(out, text ? text : "{}");
    free(text);
}
