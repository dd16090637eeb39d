/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of the control API under way. A handler answers it in its call, or keeps it and answers later: then it
 * sets `gone` to release what it holds. Answering frees the call. Loop thread only.
 */
#ifndef PM_API_CALL_H
#define PM_API_CALL_H

#include <jansson.h>

#include "api/api.h"
#include "api/query.h"
#include "api/routes.h"
#include "util/list.h"

struct pm_api {
    struct pm_manager *manager;
    struct pm_gateway *gateway; /* NULL: none, a control port */
    const char *program, *profile;
    struct pm_http_server *server; /* NULL: not serving yet */
    uint64_t started_ms;           /* monotonic */
    bool closing;
};

struct pm_call {
    struct pm_api *api;
    struct pm_exchange *exchange;
    const struct pm_route *route;
    char *args[PM_ROUTE_ARGS_MAX]; /* "" where the route has none */
    struct pm_query query;
    void *state; /* the handler's */
    void (*gone)(
        struct pm_call *call); /* releases state; the client is gone, or the answer whole */
    void (*drained)(struct pm_call *call); /* the client took what was queued */
};

/* Answers, each once. `body` is taken over. */
void pm_call_json(struct pm_call *call, int status, json_t *body);
void pm_call_json_at(struct pm_call *call, int status, const char *location, json_t *body);
void pm_call_text(struct pm_call *call, int status, const char *type, const void *data, size_t n);
void pm_call_empty(struct pm_call *call, int status);
/* 400 with all that is wrong: `errors` beside the error's other members. */
void pm_call_config_invalid(struct pm_call *call, const struct pm_config_errors *errors,
                            const struct poolmgr_error *error);
void pm_call_error(struct pm_call *call, const struct poolmgr_error *error);
void pm_call_fail(struct pm_call *call, int code, const char *param, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));

/* A stream: begin, then pm_exchange_send() on call->exchange; end frees the call. False: nothing may follow the head
 * (HEAD), the call is over. */
bool pm_call_begin_stream(struct pm_call *call, const char *type);
void pm_call_end_stream(struct pm_call *call);

/* The body as a JSON object whose members are all among the route's; an absent or empty body is an empty object.
 * NULL: it was answered with 400. */
json_t *pm_call_body(struct pm_call *call);

/* The pool of the first argument; false: it was answered with 404. */
bool pm_call_pool(struct pm_call *call, struct pm_pool_view *ret);

/* Handlers, by file. */
void pm_models_list(struct pm_call *call); /* models.c */
void pm_models_show(struct pm_call *call);
void pm_pools_list(struct pm_call *call); /* pools.c */
void pm_pools_show(struct pm_call *call);
void pm_pools_health(struct pm_call *call);
void pm_pools_answer(struct pm_call *call, int status); /* with the pool of the first argument */
void pm_commands_start(struct pm_call *call);           /* commands.c */
void pm_commands_stop(struct pm_call *call);
void pm_commands_reset(struct pm_call *call);
void pm_commands_drain(struct pm_call *call);
void pm_commands_resume(struct pm_call *call);
void pm_change_put(struct pm_call *call); /* change.c */
void pm_change_reload(struct pm_call *call);
void pm_change_remove(struct pm_call *call);
void pm_commands_handoff(struct pm_call *call);  /* handoff.c */
void pm_placement_explain(struct pm_call *call); /* placement.c */
void pm_plan_ask(struct pm_call *call);          /* plan.c */
void pm_preflight_ask(struct pm_call *call);     /* preflight.c */
void pm_devices_list(struct pm_call *call);      /* devices.c */
void pm_devices_clear(struct pm_call *call);
void pm_operations_list(struct pm_call *call); /* operations.c */
void pm_operations_show(struct pm_call *call);
void pm_operations_cancel(struct pm_call *call);
void pm_requests_list(struct pm_call *call); /* requests.c */
void pm_requests_cancel(struct pm_call *call);
void pm_events_stream(struct pm_call *call); /* events.c */
void pm_logs_show(struct pm_call *call);     /* logs.c */
void pm_about_config(struct pm_call *call);  /* about.c */
void pm_config_reload(struct pm_call *call); /* configreload.c */
void pm_about_meta(struct pm_call *call);
void pm_about_openapi(struct pm_call *call);
void pm_about_live(struct pm_call *call);
void pm_about_ready(struct pm_call *call);
void pm_about_front(struct pm_call *call);
void pm_metrics_show(struct pm_call *call); /* scrape.c */

#endif
