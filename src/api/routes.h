/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes: what is served, by whom, to whom. docs/api.md and /openapi.json are printed from it. */
#ifndef PM_API_ROUTES_H
#define PM_API_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

#include "http/codec.h"
#include "util/buf.h"

struct pm_call;

enum pm_scope { PM_SCOPE_OPEN, PM_SCOPE_INFER, PM_SCOPE_READ, PM_SCOPE_ADMIN };

enum pm_route_kind {
    PM_ROUTE_API,       /* answered here, by `handler` */
    PM_ROUTE_INFERENCE, /* handed to the gateway */
    PM_ROUTE_LATER,     /* named, but its part is not built: 501 */
};

#define PM_METHOD(method)  (1u << (method))
#define PM_ROUTE_ARGS_MAX  2
#define PM_ROUTE_QUERY_MAX 6

#define PM_ANY_MEMBERS "*" /* a body whose members its handler checks */

/* A key of a query, and what it may be. */
struct pm_query_key {
    const char *name, *type, *help; /* type: "integer" "duration" "string" "boolean" */
};

struct pm_route {
    unsigned methods;    /* of PM_METHOD(); HEAD goes with GET by itself, and is not named */
    const char *pattern; /* "/v1/pools/{id}/start"; "{name...}" takes the rest, slashes included */
    enum pm_scope scope;
    enum pm_route_kind kind;
    void (*handler)(struct pm_call *call);
    const struct pm_query_key *query; /* PM_ROUTE_QUERY_MAX at most, ended by zeros; NULL: none */
    const char *body;   /* members of a control body, blank-separated; NULL: it takes none */
    const char *answer; /* schema of the answer in /openapi.json; "text", "sse", "" */
    int status;         /* of success */
    const char *help;
};

extern const struct pm_route pm_routes[];
extern const size_t pm_n_routes;

struct pm_route_match {
    const struct pm_route *route;            /* NULL: none for path and method */
    struct pm_slice args[PM_ROUTE_ARGS_MAX]; /* point into the path */
    unsigned allowed;                        /* methods of the path; 0: no such path */
};

/* Finds the route of a decoded path. HEAD finds GET's. */
void pm_route_find(const char *path, enum pm_http_method method, struct pm_route_match *ret);

/* "GET, HEAD, OPTIONS": the value of Allow. */
const char *pm_route_allow(unsigned methods, char *to, size_t size);

const char *pm_scope_name(enum pm_scope scope);

/* Decodes a target into path (PM_HTTP_TARGET_MAX + 1 bytes) and query: as pm_http_decode_path(), but in names behind
 * /v1/models/ an encoded slash is a slash of the name. Returns 0, -400 or -404. */
int pm_api_decode_target(struct pm_slice target, char *path, size_t size,
                         struct pm_slice *ret_query);

/* Inference, which a control port refuses. */
bool pm_route_is_inference(const struct pm_route *route);

/* docs/api.md, and the document of /openapi.json. */
void pm_api_docs(struct pm_buf *out);
void pm_api_openapi(bool has_gateway, struct pm_buf *out);

#endif
