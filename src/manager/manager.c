/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell: what happens outside becomes an input of core, what core appends becomes system calls, in order. An
 * input that comes up while actions are executed goes to core at once (core is not running then: it only appended),
 * and its actions come after the running ones. One timer is armed to core's earliest deadline.
 */
#include "manager/manager.h"

#include <stdio.h>
#include <string.h>

#include "manager/internal.h"
#include "provision/gather.h"
#include "util/cleanup.h"

static void arm_tick(struct pm_manager *manager)
{
    pm_timer_set(manager->loop, &manager->tick, pm_core_deadline(manager->core));
}

void pm_manager_flush(struct pm_manager *manager)
{
    size_t i;

    if (manager->executing)
        return;

    /* The list grows while it is walked, and may move: each item is taken by value. What it points to is the
     * list's until it is cleared. */
    manager->executing = true;
    for (i = 0; i < manager->actions.n; i++) {
        struct pm_action action = manager->actions.items[i];

        pm_manager_execute(manager, &action);
    }

    pm_actions_clear(&manager->actions);
    manager->executing = false;
    arm_tick(manager);
}

static void on_tick(struct pm_timer *timer)
{
    struct pm_manager *manager = pm_container_of(timer, struct pm_manager, tick);

    pm_core_tick(manager->core, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
}

int pm_manager_add_pool(struct pm_manager *manager, struct pm_pool_spec *spec, enum pm_owner owner,
                        struct poolmgr_error *err)
{
    pm_engine_fill_habits(spec->runs, spec);
    return pm_core_add_pool(manager->core, spec, owner, pm_manager_now(manager), &manager->actions,
                            err);
}

static int add_pools(struct pm_manager *manager, struct poolmgr_error *err)
{
    size_t i;
    int r;

    for (i = 0; i < manager->config->n_pools; i++) {
        r = pm_manager_add_pool(manager, manager->config->pools[i], PM_OWNER_FILE, err);
        if (r < 0)
            return r;
    }

    return POOLMGR_OK;
}

static struct pm_http_client_options client_options(const struct pm_config *config)
{
    return (struct pm_http_client_options){
        .idle_max = 4,
        .idle_ms = 2000,
        .connect_ms = config->timeouts.connect_ms,
        .first_byte_ms = config->timeouts.first_byte_ms,
        .stream_idle_ms = config->timeouts.stream_idle_ms,
    };
}

static struct pm_core_options core_options(const struct pm_config *config)
{
    struct pm_core_options options = {
        .max_parallel_starts = config->max_parallel_starts,
        .evict_max_wait_ms = config->evict.max_wait_ms,
        .evict_min_residency_ms = config->evict.min_residency_ms,
        .quarantine_ms = config->devices.quarantine_ms,
        .gpu_only = config->gpu_only,
    };

    (void)pm_str_copy(options.default_pool, sizeof options.default_pool,
                      config->default_pool ? config->default_pool : "");
    return options;
}

static int make_client(struct pm_manager *manager, struct poolmgr_error *err)
{
    struct pm_http_client_options options = client_options(manager->config);

    return pm_http_client_new(manager->loop, &options, &manager->client, err);
}

static void make_core(struct pm_manager *manager)
{
    struct pm_core_options options = core_options(manager->config);
    char seed[17];

    pm_random_hex(seed, 8);
    options.seed = strtoull(seed, NULL, 16);
    options.discovers = pm_manager_discovers(manager);
    manager->core = pm_core_new(&options);
}

void pm_manager_configure(struct pm_manager *manager)
{
    struct pm_http_client_options client = client_options(manager->config);
    struct pm_core_options core = core_options(manager->config);

    core.discovers = pm_manager_discovers(manager);
    pm_http_client_configure(manager->client, &client);
    pm_core_configure(manager->core, &core, pm_manager_now(manager), &manager->actions);
    pm_manager_list_devices(manager); /* what is kept free of them may have changed */
}

static int set_up(struct pm_manager *manager, struct poolmgr_error *err)
{
    int r;

    r = pm_folders_make(manager, err);
    if (r < 0)
        return r;

    r = pm_folder_lock(manager->config->runtime_dir, &manager->lock_fd, err);
    if (r < 0)
        return r;

    r = make_client(manager, err);
    if (r < 0)
        return r;

    r = pm_worker_new(manager->loop, &manager->worker, err);
    if (r < 0)
        return r;

    r = pm_store_open(manager->worker, manager->config->state_dir, &manager->store, err);
    if (r < 0)
        return r;

    manager->stager = pm_stager_new(manager);
    manager->programs = pm_programs_new(manager);
    r = pm_file_watches_new(manager, &manager->file_watches, err);
    if (r < 0)
        return r;

    r = pm_handoff_folder_new(manager, &manager->handoff_folder, err);
    if (r < 0)
        return r;

    make_core(manager);
    r = pm_devices_begin(manager, err);
    if (r < 0)
        return r;

    r = add_pools(manager, err);
    if (r < 0)
        return r;

    r = pm_records_restore(manager, err);
    if (r < 0)
        return r;

    return pm_adopt_all(manager, err);
}

int pm_manager_new(struct pm_loop *loop, const struct pm_manager_options *options,
                   struct pm_sink *sink, struct pm_manager **ret, struct poolmgr_error *err)
{
    struct pm_manager *manager = pm_xalloc(sizeof *manager);
    int r;

    manager->loop = loop;
    manager->options = *options;
    manager->config = options->config;
    manager->sink = sink;
    manager->lock_fd = -1;
    manager->tick.fn = on_tick;
    pm_list_init(&manager->instances);
    pm_list_init(&manager->strangers);
    pm_list_init(&manager->held);
    pm_list_init(&manager->handings);
    pm_list_init(&manager->config_watches);
    pm_list_init(&manager->records);
    pm_list_init(&manager->preflights);
    pm_operations_init(manager);

    r = set_up(manager, err);
    if (r < 0) {
        pm_manager_free(manager);
        return r;
    }

    pm_manager_flush(manager);
    *ret = manager;
    return POOLMGR_OK;
}

void pm_manager_begin(struct pm_manager *manager)
{
    pm_programs_begin(manager->programs);
    pm_core_begin(manager->core, pm_manager_now(manager), &manager->actions);
    pm_manager_flush(manager);
    pm_handoff_folder_begin(manager->handoff_folder);
}

void pm_manager_free(struct pm_manager *manager)
{
    struct pm_link *link;

    if (!manager)
        return;

    pm_timer_clear(&manager->tick);
    if (pm_worker_free(manager->worker)) {
        pm_stager_free(manager->stager);
        pm_programs_free(manager->programs);
        pm_store_free(manager->store);
    }
    pm_file_watches_free(manager->file_watches);
    pm_handoff_folder_free(manager->handoff_folder);
    pm_handings_forget(manager);
    pm_driver_ask_free(manager->driver_ask);
    while ((link = pm_list_first(&manager->instances)))
        pm_instance_free(pm_container_of(link, struct pm_instance, link));
    pm_gpus_free(manager->gpus);
    pm_cpu_free(manager->cpu);
    pm_strangers_free(manager);
    pm_tickets_free(manager);
    pm_operations_free(manager);
    pm_config_watches_free(manager);
    pm_records_free(manager);
    pm_map_fini(&manager->by_token);
    pm_actions_fini(&manager->actions);
    pm_core_free(manager->core);
    pm_http_client_free(manager->client);
    pm_folder_unlock(&manager->lock_fd);
    pm_config_free(manager->reloaded);
    free(manager->instances_dir);
    free(manager);
}

const struct pm_core *pm_manager_core(const struct pm_manager *manager)
{
    return manager->core;
}

struct pm_http_client *pm_manager_client(struct pm_manager *manager)
{
    return manager->client;
}

struct pm_sink *pm_manager_sink(struct pm_manager *manager)
{
    return manager->sink;
}

const struct pm_config *pm_manager_config(const struct pm_manager *manager)
{
    return manager->config;
}

struct pm_loop *pm_manager_loop(struct pm_manager *manager)
{
    return manager->loop;
}

uint64_t pm_manager_now(const struct pm_manager *manager)
{
    return pm_loop_now_ms(manager->loop);
}

void pm_manager_log_path(const struct pm_manager *manager, const char *pool_id, unsigned replica,
                         char *to, size_t size)
{
    (void)snprintf(to, size, "%s/%s.%u.log", manager->config->log_dir, pool_id, replica);
}
