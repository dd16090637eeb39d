/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a configuration to a process that serves, and back. Order matters: the manager locks the runtime folder
 * before any socket in it is replaced; listeners are open before preloads start; on the way out what runs ends first
 * while who comes is told so, then the listeners close, then what was answered leaves, and only then are the parts
 * taken down. Listeners that a next daemon has, too, close at once: who connects waits for that one.
 */
#include "bin/daemon.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "api/api.h"
#include "bin/announce.h"
#include "bin/surroundings.h"
#include "gateway/gateway.h"
#include "http/server.h"
#include "manager/manager.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

#define FLUSH_MAX_MS  2000 /* for answers that are on their way when all engines have stopped */
#define FLUSH_LOOK_MS 10

struct daemon {
    const struct pm_program *program;
    const struct pm_config *config; /* to begin with */
    const struct pm_config_overrides *overrides;
    struct pm_loop *loop;
    struct pm_sink *sink;
    struct pm_manager *manager;
    struct pm_gateway *gateway; /* NULL: this daemon serves no inference */
    struct pm_api *api;
    struct pm_http_server *server;
    char *shim_path, *probe_path;
    bool stopping, leaving, stopped;
    unsigned n_given;    /* sockets that systemd listens on for us */
    uint64_t give_up_ms; /* when streams are not waited for any more */
    struct pm_timer flush_timer, watchdog_timer;
    struct pm_config_watch *reload; /* of the last SIGHUP */
};

/* ---- the way out ------------------------------------------------------------------------------------ */

static bool all_sent(struct daemon *daemon)
{
    struct pm_http_server_counters counters;

    pm_http_server_counters(daemon->server, &counters);
    return pm_gateway_n_flights(daemon->gateway) == 0 && counters.connections == 0;
}

static void on_flush(struct pm_timer *timer)
{
    struct daemon *daemon = pm_container_of(timer, struct daemon, flush_timer);
    uint64_t now_ms = pm_loop_now_ms(daemon->loop);

    if (all_sent(daemon) || now_ms >= daemon->give_up_ms)
        pm_loop_stop(daemon->loop);
    else
        pm_timer_set(daemon->loop, timer, now_ms + FLUSH_LOOK_MS);
}

/* The one in force; the first one is only what we began with. */
static const struct pm_config *config_of(const struct daemon *daemon)
{
    return pm_manager_config(daemon->manager);
}

static uint64_t longest_drain(const struct pm_config *config)
{
    uint64_t longest = 0;
    size_t i;

    for (i = 0; i < config->n_pools; i++)
        if (config->pools[i]->drain_deadline_ms > longest)
            longest = config->pools[i]->drain_deadline_ms;

    return longest;
}

/* No engine is ours any more: what is left are bytes on their way to clients, and, having left, open streams. */
static void on_stopped(void *ctx)
{
    struct daemon *daemon = ctx;
    uint64_t now_ms = pm_loop_now_ms(daemon->loop);

    daemon->stopped = true;
    pm_http_server_stop_listening(daemon->server);
    daemon->give_up_ms =
        now_ms + (daemon->leaving ? longest_drain(config_of(daemon)) : FLUSH_MAX_MS);
    pm_timer_set(daemon->loop, &daemon->flush_timer, now_ms);
}

static void begin_stop(struct daemon *daemon, bool leave)
{
    daemon->stopping = true;
    daemon->leaving = leave;
    pm_notify("STOPPING=1");
    pm_announce(daemon->sink, PM_EV_DAEMON_STOPPING, daemon->program->name,
                leave ? "leaves its engines to the next daemon"
                      : "stops: running requests end first",
                NULL);
    pm_api_closing(daemon->api);
    if (leave || daemon->n_given > 0)
        pm_http_server_stop_listening(daemon->server);
    pm_http_server_drain(daemon->server);
    if (leave)
        pm_manager_leave(daemon->manager);
    else
        pm_manager_shutdown(daemon->manager, false);
}

static void hurry(struct daemon *daemon)
{
    pm_announce(daemon->sink, PM_EV_DAEMON_STOPPING, daemon->program->name, "stops at once", NULL);
    if (daemon->stopped)
        pm_loop_stop(daemon->loop);
    else
        pm_manager_shutdown(daemon->manager, true);
}

/* ---- another configuration -------------------------------------------------------------------------- */

static struct pm_sink_options sink_options(const struct pm_config *config)
{
    bool terminal = isatty(STDERR_FILENO);

    return (struct pm_sink_options){
        .fd = STDERR_FILENO,
        .pretty =
            config->log.format == PM_LOG_PRETTY || (config->log.format == PM_LOG_AUTO && terminal),
        .colour = terminal && !getenv("NO_COLOR"),
        .level = config->log.level,
    };
}

static struct pm_http_server_options server_options(const struct pm_config *config)
{
    return (struct pm_http_server_options){
        .body_max = config->limits.body,
        .body_memory = config->limits.body_memory,
        .body_rate = config->limits.body_rate,
        .connections_max = config->limits.connections,
        .head_ms = config->timeouts.head_ms,
        .body_idle_ms = config->timeouts.body_idle_ms,
        .write_stall_ms = config->timeouts.write_stall_ms,
        .keep_alive_ms = config->timeouts.keep_alive_ms,
    };
}

static void on_config(void *ctx, const struct pm_config *config)
{
    struct daemon *daemon = ctx;
    struct pm_sink_options sink = sink_options(config);
    struct pm_http_server_options server = server_options(config);

    pm_sink_configure(daemon->sink, &sink);
    pm_http_server_configure(daemon->server, &server);
    pm_announce_warnings(daemon->sink, daemon->program->name, config);
}

/* Whether it was applied is told by the manager; systemd wants to know only that it is over. */
static void on_reloaded(void *ctx, const struct pm_config_answer *answer)
{
    struct daemon *daemon = ctx;

    (void)answer;
    pm_config_watch_free(pm_take(daemon->reload));
    if (!daemon->stopping)
        pm_notify("READY=1");
}

/* A second one replaces the first: it reads the file later. */
static void begin_reload(struct daemon *daemon)
{
    pm_auto_free char *text =
        pm_xasprintf("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, pm_monotonic_ns() / 1000);

    pm_notify(text);
    pm_config_watch_free(daemon->reload);
    daemon->reload = pm_manager_reload_config(daemon->manager, on_reloaded, daemon);
}

static void on_signal(void *ctx, int signo)
{
    struct daemon *daemon = ctx;

    if (signo == SIGHUP)
        begin_reload(daemon);
    else if (!daemon->stopping)
        begin_stop(daemon, signo == SIGUSR2 || config_of(daemon)->on_exit == PM_EXIT_LEAVE);
    else if (signo != SIGUSR2)
        hurry(daemon);
}

/* ---- the way in ------------------------------------------------------------------------------------- */

static void on_watchdog(struct pm_timer *timer)
{
    struct daemon *daemon = pm_container_of(timer, struct daemon, watchdog_timer);

    pm_notify("WATCHDOG=1");
    pm_timer_set(daemon->loop, timer, pm_loop_now_ms(daemon->loop) + pm_watchdog_ms() / 2);
}

static int watch_signals(struct daemon *daemon, struct poolmgr_error *err)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR2);
    (void)signal(SIGPIPE, SIG_IGN);
    return pm_loop_signals(daemon->loop, &set, on_signal, daemon, err);
}

static int open_server(struct daemon *daemon, struct poolmgr_error *err)
{
    struct pm_http_server_options options = server_options(daemon->config);

    return pm_http_server_new(daemon->loop, &options, &pm_api_handler, daemon->api, &daemon->server,
                              err);
}

/* What systemd listens on for us takes the place of `listen`; the control socket is always our own. */
static int open_listeners(struct daemon *daemon, struct poolmgr_error *err)
{
    pm_auto_free char *control = pm_xasprintf("unix:%s/control.sock", daemon->config->runtime_dir);
    unsigned i;
    int r;

    daemon->n_given = pm_listen_fds();
    for (i = 0; i < daemon->n_given; i++) {
        r = pm_http_server_adopt(daemon->server, 3 + (int)i, err);
        if (r < 0)
            return r;
    }

    for (i = 0; daemon->n_given == 0 && i < daemon->config->listen.n; i++) {
        r = pm_http_server_listen(daemon->server, daemon->config->listen.items[i], 0600, err);
        if (r < 0)
            return r;
    }

    return pm_http_server_listen(daemon->server, control, 0600, err);
}

static int set_up(struct daemon *daemon, struct poolmgr_error *err)
{
    struct pm_manager_options options = {.config = daemon->config,
                                         .overrides = *daemon->overrides,
                                         .on_stopped = on_stopped,
                                         .on_config = on_config,
                                         .ctx = daemon};
    struct pm_sink_options sink = sink_options(daemon->config);
    int r;

    r = pm_loop_new(&daemon->loop, err);
    if (r < 0)
        return r;

    r = watch_signals(daemon, err);
    if (r < 0)
        return r;

    daemon->sink = pm_sink_new(&sink);
    pm_announce_warnings(daemon->sink, daemon->program->name, daemon->config);
    pm_announce_descriptors(daemon->sink, daemon->program->name, pm_raise_descriptors());
    daemon->shim_path = pm_find_helper("pool-shim");
    if (!daemon->shim_path)
        return pm_fail(err, POOLMGR_E_INTERNAL,
                       "pool-shim is not beside this program, nor where it is installed");

    daemon->probe_path = pm_find_helper("pool-probe");
    if (!daemon->probe_path)
        return pm_fail(err, POOLMGR_E_INTERNAL,
                       "pool-probe is not beside this program, nor where it is installed");

    options.shim_path = daemon->shim_path;
    options.probe_path = daemon->probe_path;
    r = pm_manager_new(daemon->loop, &options, daemon->sink, &daemon->manager, err);
    if (r < 0)
        return r;

    if (daemon->program->has_gateway)
        daemon->gateway = pm_gateway_new(daemon->manager);
    daemon->api = pm_api_new(daemon->manager, daemon->gateway, daemon->program->name,
                             daemon->program->profile);
    r = open_server(daemon, err);
    if (r < 0)
        return r;

    return open_listeners(daemon, err);
}

static void take_down(struct daemon *daemon)
{
    pm_timer_clear(&daemon->flush_timer);
    pm_timer_clear(&daemon->watchdog_timer);
    pm_config_watch_free(daemon->reload);
    pm_http_server_free(daemon->server);
    pm_api_free(daemon->api);
    pm_gateway_free(daemon->gateway);
    pm_manager_free(daemon->manager);
    pm_sink_free(daemon->sink);
    pm_loop_free(daemon->loop);
    free(daemon->shim_path);
    free(daemon->probe_path);
}

static int serve(struct daemon *daemon)
{
    pm_api_serving(daemon->api, daemon->server);
    pm_manager_begin(daemon->manager);
    pm_announce_start(daemon->sink, daemon->program, daemon->config, daemon->server);
    pm_notify("READY=1");
    daemon->flush_timer.fn = on_flush;
    daemon->watchdog_timer.fn = on_watchdog;
    if (pm_watchdog_ms() > 0)
        pm_timer_set(daemon->loop, &daemon->watchdog_timer, 0);

    return pm_loop_run(daemon->loop) < 0 ? PM_EXIT_COULD_NOT_RUN : PM_EXIT_OK;
}

int pm_daemon_run(const struct pm_program *program, const struct pm_config *config,
                  const struct pm_config_overrides *overrides)
{
    struct daemon daemon = {.program = program, .config = config, .overrides = overrides};
    struct poolmgr_error err = {0};
    int status = PM_EXIT_COULD_NOT_RUN;

    if (!config->core_dumps)
        pm_forbid_core_dumps();

    if (set_up(&daemon, &err) < 0)
        fprintf(stderr, "%s: %s%s%s\n", program->name, err.message, err.hint[0] ? "; " : "",
                err.hint);
    else
        status = serve(&daemon);

    if (err.code == POOLMGR_E_CONFIG_INVALID || err.code == POOLMGR_E_PATH_TOO_LONG)
        status = PM_EXIT_USAGE;
    take_down(&daemon);
    return status;
}
