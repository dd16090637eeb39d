/* SPDX-License-Identifier: Apache-2.0 */
/* docs/api.md from the table of routes and the table of codes. */
#include <string.h>

#include "api/routes.h"
#include "util/error.h"

static const char intro[] =
    "# The HTTP API\n\n"
    "This page is printed from the tables that the daemon serves by; `GET "
    "/openapi.json` is the same list for\n"
    "programs. `orchestratord` serves all of it on one listener; `pool-managerd` "
    "is a control port: it refuses inference\n"
    "(the POST routes of scope `infer`) with 404 `not_found`, and leaves them out of its "
    "`/openapi.json`. JSON\n"
    "members that are unknown are left out, never null or 0;\n"
    "sizes are integers ending in `_bytes`, durations integers in `_ms`, "
    "instants RFC 3339 ending in `_at`.\n\n"
    "Without keys, programs on this machine may ask for everything. A "
    "request whose `Host` is not a loopback\n"
    "name, a listen address or one of `allowed_hosts`, or that a browser "
    "sends for a page of another origin, is\n"
    "refused with `origin_refused`: no web page can reach the daemon "
    "behind its user's back. `/livez`, `/readyz`\n"
    "and `/health` take any `Host`. A proxy in front passes its own name "
    "as `Host` unless it is told to pass the\n"
    "client's; name it in `allowed_hosts`.\n\n"
    "`HEAD` answers like `GET`, without the body. `OPTIONS` answers 204 "
    "with `Allow`. A path is read once: `%2e`\n"
    "and `..` are refused, case and trailing slashes count. A query key "
    "may be given once. Control bodies are\n"
    "JSON objects (1 MiB at most); unknown members, duplicate members and "
    "anything behind the object are\n"
    "refused. Values of `env` whose names look like secrets are shown as "
    "`********`; in a specification that comes back\n"
    "like this they stay what they were.\n\n";

static void add_methods(struct pm_buf *out, unsigned methods)
{
    for (unsigned m = 0; m < PM_METHOD_COUNT; m++) {
        if (methods & PM_METHOD(m))
            pm_buf_addf(out, "%s ", pm_http_method_name((enum pm_http_method)m));
    }
}

static void add_route(struct pm_buf *out, const struct pm_route *route)
{
    pm_buf_adds(out, "| ");
    add_methods(out, route->methods);
    pm_buf_addf(out, "| `%s` | %s | %s", route->pattern, pm_scope_name(route->scope), route->help);
    if (route->body && *route->body)
        pm_buf_addf(out, "; body: `%s`", route->body);
    pm_buf_adds(out, " |\n");
}

static void add_routes(struct pm_buf *out, enum pm_route_kind kind)
{
    pm_buf_adds(out, "| method | path | scope | does |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < pm_n_routes; i++) {
        if (pm_routes[i].kind == kind)
            add_route(out, &pm_routes[i]);
    }
}

static void add_query_keys(struct pm_buf *out)
{
    pm_buf_adds(out, "\n### Query keys\n\nRoutes that take keys refuse others.\n\n"
                     "| path | key | is | means |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < pm_n_routes; i++) {
        for (const struct pm_query_key *key = pm_routes[i].query; key && key->name; key++)
            pm_buf_addf(out, "| `%s` | `%s` | %s | %s |\n", pm_routes[i].pattern, key->name,
                        key->type, key->help);
    }
}

static void add_codes(struct pm_buf *out)
{
    pm_buf_adds(
        out,
        "\n## Errors\n\n"
        "`{\"error\":{\"code\",\"message\",\"type\",\"param\",\"offset\",\"retriable\",\"retry_"
        "after_ms\","
        "\"pool_id\",\"request_id\",\"hint\"}}`.\n"
        "`offset` is the byte at fault in a mask, counted from 0.\n"
        "What can be tried again has `Retry-After`, `retry-after-ms` and `X-Backoff-Ms`; "
        "everything else\n"
        "has `x-should-retry: false`. Malformed HTTP is answered with a bare status and the end of "
        "the\n"
        "connection. Every answer has `X-Request-Id`.\n\n"
        "| code | HTTP | again | exit of poolctl | when |\n| --- | --- | --- | --- | --- |\n");
    for (int code = 1; code < POOLMGR_STATUS_COUNT; code++) {
        const struct pm_status *status = pm_status(-code);

        pm_buf_addf(out, "| `%s` | %d | %s | %d | %s |\n", status->name, status->http_status,
                    status->retriable ? "yes" : "no", status->exit_code, status->when);
    }
}

void pm_api_docs(struct pm_buf *out)
{
    pm_buf_adds(out, intro);
    pm_buf_adds(out, "## Control\n\n");
    add_routes(out, PM_ROUTE_API);
    add_query_keys(out);
    pm_buf_adds(out, "\nCommands answer 202 with an operation and its `Location`, or with "
                     "`?wait=30s` 200 once it has\n"
                     "ended. An operation is `running`, then `succeeded`, `failed`, `cancelled` or "
                     "`interrupted`.\n"
                     "A reset is done when it is answered, and has no id.\n\n"
                     "## Inference\n\n"
                     "`model` is a pool's id or one of its aliases. An alias may stand in several "
                     "pools, which then serve it together. The body goes to the engine, "
                     "its answer comes back.\n\n");
    add_routes(out, PM_ROUTE_INFERENCE);
    pm_buf_adds(
        out,
        "\nA request may carry `X-Request-Id` (1 to 128 of `A-Z a-z 0-9 . _ : -`, else one is "
        "made), `X-Session-Id`\n"
        "(for the events), `X-Priority: interactive` (the default) or `batch`, and "
        "`X-Deadline-Ms`: from its arrival to\n"
        "its slot, at most `queue.max_age`. The member `keep_alive` of its body is for us, not "
        "for the engine:\n"
        "`\"5m\"`, a number of seconds, 0 to stop the engine after this request, or -1 to "
        "keep it; it holds until\n"
        "the next request that names one.\n\n"
        "`X-Placement: pin=a; prefer=b,c; avoid=d; mask=0; fallback=no` chooses among the pools "
        "of the model's name; each member\n"
        "may be left out, none may come twice. `pin`: this pool and no other, or `pin_unmet`. "
        "`prefer`: these before others.\n"
        "`avoid`: these only if no other can serve. `mask`: only pools that use no device outside "
        "of these. `fallback=no`: only\n"
        "what is preferred, and never what is avoided. `POST /v1/placement` explains what comes "
        "of it.\n\n"
        "Answers and refusals tell the pool in `X-Pool` and, after a wait, the place in the "
        "queue at arrival (from 0)\n"
        "in `X-Queue-Position` and the time in `X-Queue-Wait-Ms`. Who is refused by the queue "
        "(`queue_full`, `queue_dropped`,\n"
        "`queue_timeout`, `overloaded`) is told in `X-Queue-ETA-Ms` how long it had to wait, as "
        "far as measured times foretell.\nWhile a request waits nothing "
        "is sent, except to\n"
        "a stream that has waited for `timeouts.commit_after`: it is answered 200, and "
        "`: loading` every\n"
        "`timeouts.loading_every`; what ends it after that is an `event: error` with the object "
        "of a refusal.\n");
    pm_buf_adds(out,
                "\n## Not in this version\n\nThese are known, and answer 501 `unsupported`.\n\n");
    add_routes(out, PM_ROUTE_LATER);
    add_codes(out);
}
