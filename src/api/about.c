/* SPDX-License-Identifier: Apache-2.0 */
/* What this daemon is and whether it serves: for people, programs and probes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/call.h"
#include "api/json.h"
#include "util/buf.h"
#include "util/str.h"

#define TEXT_TYPE "text/plain; charset=utf-8"

static const char *address(const struct pm_call *call, size_t i)
{
    return call->api->server ? pm_http_server_address(call->api->server, i) : NULL;
}

/* `text` of the configuration is JSON already. */
void pm_about_config(struct pm_call *call)
{
    const struct pm_config *config = pm_manager_config(call->api->manager);

    pm_call_text(call, 200, "application/json", config->text, strlen(config->text));
}

void pm_about_meta(struct pm_call *call)
{
    const struct pm_config *config = pm_manager_config(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    json_t *meta = json_object(), *listen = json_array();

    for (size_t i = 0; address(call, i); i++)
        (void)json_array_append_new(listen, pm_text(address(call, i)));
    pm_put_text(meta, "name", call->api->program);
    pm_put_text(meta, "version", PM_VERSION);
    pm_put_text(meta, "profile", call->api->profile);
    pm_put_u64(meta, "pid", (uint64_t)getpid());
    pm_put_time(meta, "started_at", call->api->started_ms, &clock);
    pm_put_u64(meta, "uptime_ms", clock.now_ms - call->api->started_ms);
    pm_put(meta, "listen", listen);
    pm_put_text(meta, "config_path", config->path);
    pm_put_text(meta, "runtime_dir", config->runtime_dir);
    pm_put_text(meta, "log_dir", config->log_dir);
    pm_call_json(call, 200, meta);
}

void pm_about_openapi(struct pm_call *call)
{
    pm_auto_buf struct pm_buf out = {0};

    pm_api_openapi(call->api->gateway != NULL, &out);
    pm_call_text(call, 200, "application/json", out.data, out.n);
}

/* ---- probes ----------------------------------------------------------------------------------------- */

void pm_about_live(struct pm_call *call)
{
    pm_call_text(call, 200, TEXT_TYPE, "ok\n", 3);
}

/* Never about pools: a daemon whose engines fail still has to be asked why. */
void pm_about_ready(struct pm_call *call)
{
    const char *reason = call->api->closing   ? "shutting down\n"
                         : !call->api->server ? "the listeners are not open yet\n"
                                              : NULL;

    if (reason)
        pm_call_text(call, 503, TEXT_TYPE, reason, strlen(reason));
    else
        pm_call_text(call, 200, TEXT_TYPE, "ok\n", 3);
}

/* ---- for people ------------------------------------------------------------------------------------- */

static void add_pool(struct pm_buf *out, const struct pm_pool_view *view)
{
    pm_buf_addf(out, "  %-24s %-9s", view->spec->id, pm_state_name(view->state));
    if (view->ready)
        pm_buf_addf(out, "%llu of %llu slots free", (unsigned long long)view->slots_free,
                    (unsigned long long)view->slots_total);
    else
        pm_buf_adds(out, view->reason);
    pm_buf_adds(out, "\n");
}

void pm_about_front(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    uint64_t now_ms = pm_manager_now(call->api->manager);
    const struct pm_http_head *head = pm_exchange_head(call->exchange);
    pm_auto_buf struct pm_buf out = {0};
    struct pm_pool_view view;
    char first[PM_ID_MAX + 1] = "";
    int n = (int)head->host.n;
    const char *host = n > 0 ? head->host.p : "localhost";

    pm_buf_addf(&out, "%s %s, up for %s\n\n", call->api->program, PM_VERSION,
                pm_format_duration((char[32]){0}, 32, now_ms - call->api->started_ms));
    for (size_t i = 0; pm_core_pool_at(core, i, now_ms, &view); i++) {
        if (i == 0)
            (void)pm_str_copy(first, sizeof(first), view.spec->id);
        add_pool(&out, &view);
    }
    if (n == 0)
        n = (int)strlen(host);
    if (first[0] && !call->api->gateway)
        pm_buf_addf(&out, "\nTry:\n  curl -s -X POST 'http://%.*s/v1/pools/%s/start?wait=60s'\n", n,
                    host, first);
    else if (first[0])
        pm_buf_addf(&out,
                    "\nTry:\n  curl -s http://%.*s/v1/chat/completions -d "
                    "'{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}'\n",
                    n, host, first);
    else
        pm_buf_adds(&out, "  no pools: add one to the configuration, or start with --model FILE\n");
    pm_buf_addf(&out,
                "\nMore:  http://%.*s/v1/pools  /v1/models  /v1/events  /metrics  "
                "/openapi.json\n",
                n, host);
    pm_call_text(call, 200, TEXT_TYPE, out.data, out.n);
}
