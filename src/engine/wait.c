/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for readiness (HEALTH-4). A start is as slow as its waiting: so it is asked every millisecond while
 * nothing listens (a refused connect costs microseconds), every five once something answers, and at once when the
 * log says it. One question is under way at a time. After the first 200 the engine is asked once who it is; that
 * takes half a millisecond, and no answer to it costs readiness.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "engine/ask.h"
#include "engine/internal.h"
#include "util/str.h"

#define EVERY_WHILE_SILENT_MS  1
#define EVERY_WHILE_LOADING_MS 5
#define EVERY_WHEN_LONG_MS     25
#define LONG_MS                60000
#define PROBE_TIMEOUT_MS       2000
#define IDENTITY_TIMEOUT_MS    500

struct pm_engine_wait {
    struct pm_loop *loop;
    struct pm_http_client *client;
    const struct pm_engine_spec *engine;
    struct pm_timer timer;
    struct pm_get *get;
    uint64_t since_ms;
    bool hurry; /* the log said it while a question was under way */
    char api_key[64];
    struct pm_ready ready;
    void (*on_ready)(void *ctx, const struct pm_ready *ready);
    void *ctx;
};

/* "b11669-abc1234" or whatever the build calls itself. */
bool pm_props_read(const char *text, size_t n, char *version, size_t size, uint64_t *ret_slots)
{
    json_t *props = json_loadb(text, n, 0, NULL);
    const char *build = json_string_value(json_object_get(props, "build_info"));
    json_int_t n_slots = json_integer_value(json_object_get(props, "total_slots"));
    bool good = json_is_object(props);

    version[0] = '\0';
    if (build)
        (void)pm_str_copy(version, size, build);
    *ret_slots = n_slots > 0 ? (uint64_t)n_slots : 0;
    json_decref(props);
    return good;
}

static void finish(struct pm_engine_wait *wait)
{
    void (*on_ready)(void *, const struct pm_ready *) = wait->on_ready;
    struct pm_ready ready = wait->ready;
    void *ctx = wait->ctx;

    pm_engine_wait_free(wait);
    on_ready(ctx, &ready);
}

static void on_identity(void *ctx, int status, struct pm_buf *body)
{
    struct pm_engine_wait *wait = ctx;

    wait->get = NULL;
    if (status == 200)
        (void)pm_props_read(body->data, body->n, wait->ready.engine_version,
                            sizeof wait->ready.engine_version, &wait->ready.n_slots);
    finish(wait);
}

static void ask_identity(struct pm_engine_wait *wait)
{
    const struct pm_family_row *row = pm_family_row(wait->engine->family);

    if (!row || !row->version_path) {
        finish(wait);
        return;
    }

    wait->get = pm_get_new(wait->client, wait->ready.endpoint, row->version_path, wait->api_key,
                           IDENTITY_TIMEOUT_MS, true, on_identity, wait);
}

static uint64_t pause_after(const struct pm_engine_wait *wait, int status)
{
    if (wait->hurry)
        return 0;

    if (pm_loop_now_ms(wait->loop) - wait->since_ms > LONG_MS)
        return EVERY_WHEN_LONG_MS;

    return status <= 0 ? EVERY_WHILE_SILENT_MS : EVERY_WHILE_LOADING_MS;
}

static void on_health(void *ctx, int status, struct pm_buf *body)
{
    struct pm_engine_wait *wait = ctx;

    (void)body;
    wait->get = NULL;
    if (status == 200) {
        ask_identity(wait);
        return;
    }

    pm_timer_set(wait->loop, &wait->timer, pm_loop_now_ms(wait->loop) + pause_after(wait, status));
    wait->hurry = false;
}

static void probe(struct pm_engine_wait *wait)
{
    pm_timer_clear(&wait->timer);
    wait->get = pm_get_new(wait->client, wait->ready.endpoint, pm_engine_health_path(wait->engine),
                           "", PROBE_TIMEOUT_MS, false, on_health, wait);
}

static void on_timer(struct pm_timer *timer)
{
    probe(pm_container_of(timer, struct pm_engine_wait, timer));
}

struct pm_engine_wait *pm_engine_wait_new(struct pm_loop *loop, struct pm_http_client *client,
                                          const struct pm_engine_spec *engine, const char *endpoint,
                                          const char *api_key,
                                          void (*on_ready)(void *ctx, const struct pm_ready *ready),
                                          void *ctx)
{
    struct pm_engine_wait *wait = pm_xalloc(sizeof *wait);

    wait->loop = loop;
    wait->client = client;
    wait->engine = engine;
    wait->since_ms = pm_loop_now_ms(loop);
    wait->on_ready = on_ready;
    wait->ctx = ctx;
    wait->timer.fn = on_timer;
    (void)pm_str_copy(wait->ready.endpoint, sizeof wait->ready.endpoint, endpoint);
    (void)pm_str_copy(wait->api_key, sizeof wait->api_key, api_key ? api_key : "");
    pm_timer_set(loop, &wait->timer, wait->since_ms);
    return wait;
}

void pm_engine_wait_hurry(struct pm_engine_wait *wait)
{
    if (wait->get)
        wait->hurry = true;
    else
        probe(wait);
}

void pm_engine_wait_free(struct pm_engine_wait *wait)
{
    if (!wait)
        return;

    pm_timer_clear(&wait->timer);
    pm_get_free(wait->get);
    free(wait);
}
