/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One engine from its launch to its folder's end. A fresh start and an adoption differ in how the process comes
 * into our hands and in nothing else: both are told by on_spawned, waited for, proved, told to core, watched.
 *
 * Signs of life: its log, its memory growing while it loads, its CPU time while it works. They are looked at only
 * while there is something to wait for, so that an idle engine costs no wake-up.
 */
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "manager/internal.h"
#include "proc/tree.h"
#include "provision/start.h"
#include "util/cleanup.h"

#define WATCH_EVERY_MS    1000
#define RSS_STEP_BYTES    (1024 * 1024)
#define BUSY_CPU_PERCENT  1
#define TOUCH_EVERY_MS    500
#define NOT_OURS_RETRY_MS 100

extern char **environ;

struct pm_instance *pm_instance_find(struct pm_manager *manager, struct pm_token token)
{
    return token.serial == 0 ? NULL : pm_map_get_u64(&manager->by_token, token.serial);
}

/* ---- signs of life ---------------------------------------------------------------------------------- */

static void tell_progress(struct pm_instance *instance)
{
    struct pm_manager *manager = instance->manager;

    instance->touched_ms = pm_manager_now(manager);
    pm_core_progress(manager->core, instance->token, instance->touched_ms, &manager->actions);
    pm_manager_flush(manager);
}

void pm_instance_touch(struct pm_instance *instance)
{
    if (pm_manager_now(instance->manager) - instance->touched_ms >= TOUCH_EVERY_MS)
        tell_progress(instance);
}

static bool is_watched(const struct pm_instance *instance)
{
    return instance->process && !instance->exited &&
           (!instance->was_ready || instance->n_leases > 0);
}

static void arm_watch(struct pm_instance *instance)
{
    struct pm_loop *loop = instance->manager->loop;

    pm_timer_set(loop, &instance->watch_timer,
                 is_watched(instance) ? pm_loop_now_ms(loop) + WATCH_EVERY_MS : PM_NEVER);
}

static bool memory_grew(struct pm_instance *instance)
{
    uint64_t rss = pm_process_rss_bytes(instance->process);

    if (rss < instance->rss_max_bytes + RSS_STEP_BYTES)
        return false;

    instance->rss_max_bytes = rss;
    return true;
}

/* More than a hundredth of a core since it was last looked at. */
static bool cpu_moved(struct pm_instance *instance)
{
    uint64_t now_ms = pm_manager_now(instance->manager),
             cpu_ms = pm_process_cpu_ms(instance->process);
    uint64_t passed_ms = now_ms - instance->cpu_at_ms, used_ms = cpu_ms - instance->cpu_ms;
    bool known = cpu_ms >= instance->cpu_ms && instance->cpu_at_ms != 0;

    instance->cpu_ms = cpu_ms;
    instance->cpu_at_ms = now_ms;
    return known && used_ms * 100 > passed_ms * BUSY_CPU_PERCENT;
}

static void on_watch(struct pm_timer *timer)
{
    struct pm_instance *instance = pm_container_of(timer, struct pm_instance, watch_timer);

    arm_watch(instance);
    if (is_watched(instance) && (instance->was_ready ? cpu_moved(instance) : memory_grew(instance)))
        tell_progress(instance);
}

void pm_instance_leases(struct pm_instance *instance, int change)
{
    if (change < 0 && instance->n_leases > 0)
        instance->n_leases--;
    else if (change > 0)
        instance->n_leases++;

    if (is_watched(instance) != pm_heap_contains(&instance->watch_timer.node))
        arm_watch(instance);
}

/* ---- readiness -------------------------------------------------------------------------------------- */

static void on_endpoint(void *ctx, const struct pm_ready *ready);

static void wait_for_it(struct pm_instance *instance)
{
    instance->wait =
        pm_engine_wait_new(instance->manager->loop, instance->manager->client, instance->engine,
                           instance->endpoint, instance->api_key, on_endpoint, instance);
}

static void on_retry(struct pm_timer *timer)
{
    wait_for_it(pm_container_of(timer, struct pm_instance, retry_timer));
}

/* ENGINE-3: a socket in the instance's own folder can be nobody else's; a port is asked for. */
static bool endpoint_is_ours(struct pm_instance *instance, bool *ret_proved)
{
    unsigned port;
    bool known = false, owned;

    *ret_proved = true;
    if (sscanf(instance->endpoint, "http://127.0.0.1:%u", &port) != 1)
        return true;

    owned = pm_process_owns_port(instance->process, port, &known);
    *ret_proved = known && owned;
    return owned || !known;
}

static void on_fit(struct pm_instance *instance, const struct pm_failure *unfit)
{
    struct pm_manager *manager = instance->manager;

    if (unfit) {
        pm_core_start_unfit(manager->core, instance->token, unfit, pm_manager_now(manager),
                            &manager->actions);
        pm_manager_flush(manager);
        return;
    }

    instance->was_ready = true;
    pm_gpus_mind(instance);
    pm_cpu_mind(instance);
    (void)pm_str_copy(instance->engine_version, sizeof instance->engine_version,
                      instance->ready.engine_version);
    arm_watch(instance);
    pm_measure_ready(instance->measure);
    pm_core_endpoint_ready(manager->core, instance->token, &instance->ready,
                           pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

static void on_endpoint(void *ctx, const struct pm_ready *ready)
{
    struct pm_instance *instance = ctx;
    struct pm_manager *manager = instance->manager;
    struct pm_ready told = *ready;

    instance->wait = NULL;
    if (!endpoint_is_ours(instance, &told.owner_proved)) {
        pm_timer_set(manager->loop, &instance->retry_timer,
                     pm_manager_now(manager) + NOT_OURS_RETRY_MS);
        return;
    }

    instance->ready = told;
    if (pm_fit_matters(instance))
        pm_fit_ask(instance, on_fit);
    else
        on_fit(instance, NULL);
}

/* ---- the first signal ------------------------------------------------------------------------------- */

/* An engine may wait for its open connections before it goes (llama-server then often waits for ever). The last
 * request's connection is given back in the turn in which it ended, so that is waited for; then all kept ones are
 * closed, and only then it is told. */
static void send_signal(struct pm_task *task)
{
    struct pm_instance *instance = pm_container_of(task, struct pm_instance, signal_task);

    if (!instance->process)
        return;

    instance->signalled_ms = pm_manager_now(instance->manager);
    pm_gpus_mind(instance);
    pm_cpu_mind(instance);
    pm_questions_free(instance);
    pm_http_client_forget(instance->manager->client, instance->endpoint);
    pm_process_signal(instance->process, SIGTERM);
}

void pm_instance_signal(struct pm_instance *instance)
{
    pm_loop_later(instance->manager->loop, &instance->signal_task);
}

/* ---- what the process says -------------------------------------------------------------------------- */

static void on_spawned(void *ctx, pid_t pid)
{
    struct pm_instance *instance = ctx;
    struct pm_manager *manager = instance->manager;
    struct pm_stat stat;

    instance->pid = pid;
    if (pm_stat_read(pid, &stat))
        instance->shim_pid = stat.parent;
    pm_gpus_mind(instance);
    pm_cpu_mind(instance);
    arm_watch(instance);
    if (!instance->wait && !instance->exited)
        wait_for_it(instance);
    pm_core_spawned(manager->core, instance->token, NULL, (int)pid, pm_manager_now(manager),
                    &manager->actions);
    pm_manager_flush(manager);
}

/* What is short now, and may not be the next time. */
static bool is_of_the_machine(int code)
{
    return code == POOLMGR_E_FOLDER_DENIED || code == POOLMGR_E_DISK_FULL ||
           code == POOLMGR_E_DESCRIPTORS_SHORT;
}

static bool never_by_itself(int code)
{
    return code == POOLMGR_E_ENGINE_MISSING || code == POOLMGR_E_UNSUPPORTED ||
           code == POOLMGR_E_BAD_ARGUMENTS || code == POOLMGR_E_PATH_TOO_LONG;
}

static void spawn_failed(struct pm_instance *instance, int code, const char *text, const char *hint)
{
    struct pm_manager *manager = instance->manager;
    struct pm_failure failure = {
        .class = PM_CLASS_SPAWN,
        .code = never_by_itself(code) || is_of_the_machine(code) ? code : 0,
        .permanent = never_by_itself(code),
    };

    (void)pm_str_copy(failure.text, sizeof failure.text, text);
    (void)pm_str_copy(failure.hint, sizeof failure.hint, hint);
    pm_core_spawned(manager->core, instance->token, &failure, 0, pm_manager_now(manager),
                    &manager->actions);
    pm_manager_flush(manager);
}

static void on_spawn_failed(void *ctx, bool missing, const char *text)
{
    spawn_failed(ctx, missing ? POOLMGR_E_ENGINE_MISSING : POOLMGR_E_INTERNAL, text, "");
}

static void on_ready_line(void *ctx)
{
    struct pm_instance *instance = ctx;

    if (instance->wait)
        pm_engine_wait_hurry(instance->wait);
}

static void on_log(void *ctx, uint64_t n_bytes)
{
    struct pm_instance *instance = ctx;

    (void)n_bytes;
    if (is_watched(instance))
        pm_instance_touch(instance);
}

static void quieten(struct pm_instance *instance)
{
    pm_engine_wait_free(pm_take(instance->wait));
    pm_fit_free(pm_take(instance->fit));
    pm_questions_free(instance);
    pm_timer_clear(&instance->watch_timer);
    pm_timer_clear(&instance->retry_timer);
    pm_list_remove(&instance->signal_task.link);
}

static bool is_about_the_model(int code)
{
    return code == POOLMGR_E_MODEL_MISSING || code == POOLMGR_E_MODEL_CORRUPT ||
           code == POOLMGR_E_MODEL_UNSUPPORTED;
}

static void on_exited(void *ctx, const struct pm_process_exit *how)
{
    struct pm_instance *instance = ctx;
    struct pm_manager *manager = instance->manager;
    struct pm_exit told = {0};

    instance->exited = true;
    pm_gpus_mind(instance);
    quieten(instance);
    pm_http_client_forget(manager->client, instance->endpoint);
    pm_engine_judge(instance->engine, how, instance->was_ready, &told);
    if (told.evidence.permanent && is_about_the_model(told.evidence.code)) {
        pm_auto_free char *signature = pm_model_signature(instance->spec);

        pm_file_watches_add(manager->file_watches, instance->spec, signature);
    }

    pm_core_engine_exited(manager->core, instance->token, &told, pm_manager_now(manager),
                          &manager->actions);
    pm_manager_flush(manager);
}

static void end(struct pm_instance *instance)
{
    if (instance->spec->habits.ours)
        pm_process_forget(instance->manager->instances_dir, instance->spec->id, instance->number);
    pm_instance_free(instance);
}

static void on_childless(void *ctx)
{
    struct pm_instance *instance = ctx;
    struct pm_manager *manager = instance->manager;

    instance->process = NULL;
    quieten(instance);
    if (instance->forget) {
        end(instance);
        return;
    }

    pm_cpu_gone(instance);
    pm_core_childless(manager->core, instance->token, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

const struct pm_process_handler pm_instance_handler = {
    .on_spawned = on_spawned,
    .on_spawn_failed = on_spawn_failed,
    .on_ready_line = on_ready_line,
    .on_log = on_log,
    .on_exited = on_exited,
    .on_childless = on_childless,
};

/* ---- life ------------------------------------------------------------------------------------------- */

struct pm_instance *pm_instance_new(struct pm_manager *manager, struct pm_token token,
                                    struct pm_pool_spec *spec, unsigned replica, uint64_t number)
{
    struct pm_instance *instance = pm_xalloc(sizeof *instance);

    instance->manager = manager;
    instance->token = token;
    instance->spec = pm_pool_spec_ref(spec);
    instance->engine = spec->runs;
    instance->pid_fd = -1;
    instance->replica = replica;
    instance->number = number;
    instance->watch_timer.fn = on_watch;
    instance->retry_timer.fn = on_retry;
    instance->signal_task.fn = send_signal;
    pm_list_init(&instance->questions);
    pm_list_append(&manager->instances, &instance->link);
    (void)pm_map_set_u64(&manager->by_token, token.serial, instance);
    return instance;
}

void pm_instance_let_go(struct pm_instance *instance)
{
    instance->let_go = true;
    pm_gpus_mind(instance);
    quieten(instance);
    if (instance->process)
        pm_process_release(pm_take(instance->process));
}

void pm_instance_free(struct pm_instance *instance)
{
    pm_instance_let_go(instance);
    pm_instance_unfollow(instance);
    (void)pm_map_remove_u64(&instance->manager->by_token, instance->token.serial);
    pm_list_remove(&instance->link);
    pm_measure_free(instance->measure);
    pm_pool_spec_unref(instance->spec);
    free(instance);
}

/* LOAD-2: what the launch would stumble over, before it. */
static int check_machine(const struct pm_instance *instance, struct poolmgr_error *err)
{
    const struct pm_manager *manager = instance->manager;
    struct pm_start_needs needs = {.instances_dir = manager->instances_dir};
    struct pm_start_facts facts;

    pm_start_look(&needs, &facts);
    return pm_start_judge(&facts, &needs, err);
}

static int launch(struct pm_instance *instance, const struct pm_plan *plan,
                  struct poolmgr_error *err)
{
    const struct pm_config *config = instance->manager->config;
    __attribute__((__cleanup__(pm_engine_command_fini))) struct pm_engine_command command = {0};
    const struct pm_adapter *adapter = pm_adapter(instance->engine->family);
    pm_auto_free char *name = pm_xasprintf("%s.%" PRIu64, instance->spec->id, instance->number);
    pm_auto_free char *folder = pm_xasprintf("%s/%s", instance->manager->instances_dir, name);
    const struct pm_engine_traits traits =
        pm_programs_traits(instance->manager->programs, instance->engine);
    pm_auto_free char *meta = NULL;
    struct pm_log_mark mark;
    char log_path[PATH_MAX];
    int r;

    r = check_machine(instance, err);
    if (r < 0)
        return r;

    if (plan && instance->manager->gpus) { /* what is declared, the file knows */
        r = pm_engine_obeys(instance->engine, instance->spec, plan, err);
        if (r < 0)
            return r;
    }

    r = pm_engine_command(instance->engine, instance->spec, instance->replica, folder, name, plan,
                          &traits, environ, &command, err);
    if (r < 0)
        return r;

    (void)pm_str_copy(instance->endpoint, sizeof instance->endpoint, command.endpoint);
    (void)pm_str_copy(instance->api_key, sizeof instance->api_key, command.api_key);
    pm_manager_log_path(instance->manager, instance->spec->id, instance->replica, log_path,
                        sizeof log_path);
    mark = pm_log_mark(log_path);
    meta = pm_meta_write(instance->engine, instance->spec, &command, plan, &mark);
    if (plan && !plan->on_cpu && plan->n_devices > 0)
        instance->measure =
            pm_measure_new(instance->manager, instance->token, plan, log_path, mark.from);

    struct pm_launch what = {
        .instances_dir = instance->manager->instances_dir,
        .shim_path = instance->manager->options.shim_path,
        .pool_id = instance->spec->id,
        .replica = instance->replica,
        .instance = instance->number,
        .argv = (const char *const *)command.argv.items,
        .env = (const char *const *)command.env.items,
        .log_path = log_path,
        .log_max_bytes = config->engine_log.max_bytes,
        .log_files = config->engine_log.n_files,
        .orphan_timeout_ms = config->orphan_timeout_ms,
        .ready_line = adapter->ready_line,
        .core_dumps = config->core_dumps,
        .meta = meta,
    };

    return pm_process_launch(instance->manager->loop, &what, &pm_instance_handler, instance,
                             &instance->process, err);
}

void pm_instance_spawn(struct pm_manager *manager, const struct pm_action *action)
{
    struct pm_instance *instance =
        pm_instance_new(manager, action->token, action->spec, action->replica, action->instance);
    struct poolmgr_error err = {0};
    int r;

    if (action->plan)
        instance->plan = *action->plan;
    r = launch(instance, action->plan, &err);
    if (r < 0)
        spawn_failed(instance, r, err.message, err.hint);
}

void pm_instance_forget(struct pm_manager *manager, const struct pm_action *action)
{
    struct pm_instance *instance = pm_instance_find(manager, action->token);

    if (!instance)
        return;

    if (instance->process)
        instance->forget = true; /* as soon as it is childless */
    else
        end(instance);
}
