/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager behind a C API. The loop is ours, but it is the host that turns it, when the one descriptor is readable;
 * between two turns the clock is read anew by each call. Callbacks are collected and made at the end of a turn, so that
 * a host may call anything from them.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/internal.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/str.h"

void pm_lib_fill(void *to, const void *from, size_t size)
{
    size_t room = *(const size_t *)to;

    if (room > sizeof(size_t))
        memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t),
               (room < size ? room : size) - sizeof(size_t));
}

void pm_lib_take(void *to, const void *from, size_t size)
{
    size_t there = *(const size_t *)from;

    if (there > sizeof(size_t))
        memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t),
               (there < size ? there : size) - sizeof(size_t));
}

/* ---- callbacks ---------------------------------------------------------------------------------------- */

static void tell_events(struct poolmgr *mgr)
{
    struct pm_kept_event kept;
    uint64_t n_missed = 0;

    while (pm_sink_next(mgr->sink, mgr->next_event, &kept, &n_missed)) {
        const struct poolmgr_event event = {
            .size = sizeof(event),
            .name = kept.name,
            .level = pm_level_name(kept.level),
            .pool_id = kept.pool_id,
            .json = kept.json,
            .n_missed = n_missed,
        };

        mgr->next_event = kept.id + 1;
        mgr->options.on_event(mgr->options.ctx, &event);
    }
}

static void make_calls(struct pm_task *task)
{
    struct poolmgr *mgr = pm_container_of(task, struct poolmgr, call_task);

    if (mgr->options.on_event)
        tell_events(mgr);
    pm_lib_tell_lost(mgr);
    if (!mgr->stopped || mgr->told_stopped)
        return;
    mgr->told_stopped = true;
    if (mgr->options.on_stopped)
        mgr->options.on_stopped(mgr->options.ctx);
}

static void on_event(struct pm_sink_reader *reader)
{
    struct poolmgr *mgr = pm_container_of(reader, struct poolmgr, reader);

    pm_loop_later(mgr->loop, &mgr->call_task);
}

static void on_stopped(void *ctx)
{
    struct poolmgr *mgr = ctx;

    mgr->stopped = true;
    pm_loop_later(mgr->loop, &mgr->call_task);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static int check_options(const struct poolmgr_options *options, struct poolmgr_error *err)
{
    if (!options->config_path == !options->config_text)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                       "a manager needs one of config_path and config_text");
    if (!options->shim_path)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST,
                       "a manager needs shim_path, the path of pool-shim");
    return POOLMGR_OK;
}

static int load_config(struct poolmgr *mgr, struct poolmgr_error *err)
{
    const struct poolmgr_options *options = &mgr->options;
    const struct pm_config_overrides overrides = {.path = options->config_path};
    pm_auto_free struct pm_config_errors *errors = pm_xalloc(sizeof(*errors));

    if (options->config_path)
        return pm_config_load(&overrides, &mgr->config, errors, err);
    return pm_config_parse(options->config_text, strlen(options->config_text), "config_text",
                           options->config_folder ? options->config_folder : ".", NULL,
                           &mgr->config, errors, err);
}

static int begin(struct poolmgr *mgr, struct poolmgr_error *err)
{
    const struct pm_sink_options quiet = {.fd = -1};
    struct pm_manager_options options = {.on_stopped = on_stopped, .ctx = mgr};
    int r;

    r = load_config(mgr, err);
    if (r < 0)
        return r;
    r = pm_loop_new(&mgr->loop, err);
    if (r < 0)
        return r;

    mgr->sink = pm_sink_new(&quiet);
    mgr->reader.fn = on_event;
    pm_sink_attach(mgr->sink, &mgr->reader);
    options.config = mgr->config;
    options.shim_path = mgr->shim_path;
    options.probe_path = mgr->probe_path;
    r = pm_manager_new(mgr->loop, &options, mgr->sink, &mgr->manager, err);
    if (r < 0)
        return r;
    pm_manager_begin(mgr->manager);
    return POOLMGR_OK;
}

int poolmgr_new(const struct poolmgr_options *options, struct poolmgr **ret,
                struct poolmgr_error *err)
{
    struct poolmgr *mgr = pm_xalloc(sizeof(*mgr));
    int r;

    mgr->options.size = sizeof(mgr->options);
    pm_lib_take(&mgr->options, options, sizeof(mgr->options));
    mgr->call_task.fn = make_calls;
    mgr->next_event = 1;
    pm_list_init(&mgr->held);
    pm_list_init(&mgr->lost);
    pm_list_init(&mgr->handoffs);

    r = check_options(&mgr->options, err);
    if (r == POOLMGR_OK) {
        mgr->shim_path = pm_xstrdup(mgr->options.shim_path);
        if (mgr->options.probe_path)
            mgr->probe_path = pm_xstrdup(mgr->options.probe_path);
        r = begin(mgr, err);
    }
    if (r < 0) {
        poolmgr_free(mgr);
        return r;
    }
    *ret = mgr;
    return POOLMGR_OK;
}

void poolmgr_free(struct poolmgr *mgr)
{
    if (!mgr)
        return;

    pm_lib_handoffs_free(mgr);
    pm_lib_leases_free(mgr);
    pm_manager_free(mgr->manager);
    pm_list_remove(&mgr->call_task.link);
    if (mgr->sink)
        pm_sink_detach(&mgr->reader);
    pm_sink_free(mgr->sink);
    pm_loop_free(mgr->loop);
    pm_config_free(mgr->config);
    free(mgr->shim_path);
    free(mgr->probe_path);
    free(mgr);
}

int poolmgr_fd(const struct poolmgr *mgr)
{
    return pm_loop_fd(mgr->loop);
}

int poolmgr_dispatch(struct poolmgr *mgr)
{
    int r;

    if (mgr->dispatching)
        return POOLMGR_E_CONFLICT;

    mgr->dispatching = true;
    r = pm_loop_turn(mgr->loop, 0);
    mgr->dispatching = false;
    return r;
}

void poolmgr_shutdown(struct poolmgr *mgr, int at_once)
{
    pm_lib_enter(mgr);
    pm_manager_shutdown(mgr->manager, at_once != 0);
}

void poolmgr_leave(struct poolmgr *mgr)
{
    pm_lib_enter(mgr);
    pm_manager_leave(mgr->manager);
}
