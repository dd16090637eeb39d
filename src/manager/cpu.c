/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU as a device: how much memory the machine has and how much of it is free, as far as we may use it, and what our
 * engines there have of their own. It is looked at before a start is decided, every second while an engine loads or ends,
 * and now and then, since others use it, too. A declared size takes the place of all that.
 */
#include <stdlib.h>
#include <string.h>

#include "gpu/host.h"
#include "manager/internal.h"
#include "proc/tree.h"

#define FRESH_MS  100 /* a look so old is as good as a new one */
#define BUSY_MS   1000
#define RESTED_MS (10 * 1000)

struct pm_cpu_watch {
    struct pm_manager *manager;
    struct pm_timer timer;
    uint64_t total_bytes, looked_ms;
};

static void tell_size(struct pm_manager *manager, uint64_t total_bytes)
{
    struct pm_device cpu = {.total_bytes = total_bytes};

    (void)pm_device_size_named(&manager->config->devices.reserve, PM_CPU_ID, &cpu.reserve_bytes);
    pm_core_cpu(manager->core, &cpu, pm_manager_now(manager), &manager->actions);
}

static bool is_there(const struct pm_instance *instance)
{
    return instance->plan.on_cpu && instance->plan.n_devices > 0 && instance->pid > 0 &&
           !instance->let_go;
}

/* Of one at which nobody may look nothing is told: core supposes something then. */
static void tell_engines(struct pm_manager *manager)
{
    uint64_t now_ms = pm_manager_now(manager), bytes;
    struct pm_link *link;

    pm_list_each (&manager->instances, link) {
        const struct pm_instance *instance = pm_container_of(link, struct pm_instance, link);

        if (!is_there(instance))
            continue;
        bytes = instance->exited ? 0 : pm_tree_own_bytes(instance->pid);
        if (bytes > 0 || instance->exited)
            pm_core_device_seen(manager->core, instance->token, PM_CPU_ID, bytes, now_ms, now_ms,
                                &manager->actions);
    }
}

void pm_cpu_look(struct pm_manager *manager)
{
    struct pm_cpu_watch *cpu = manager->cpu;
    uint64_t now_ms = pm_manager_now(manager);
    struct pm_host_memory memory;

    if (!cpu || (cpu->looked_ms > 0 && now_ms - cpu->looked_ms < FRESH_MS) ||
        pm_host_memory(NULL, &memory, NULL) < 0)
        return;
    cpu->looked_ms = now_ms;
    if (cpu->total_bytes != memory.most_bytes) {
        cpu->total_bytes = memory.most_bytes;
        tell_size(manager, cpu->total_bytes);
    }
    tell_engines(manager);
    pm_core_device_free(manager->core, PM_CPU_ID, memory.free_bytes, true, now_ms, now_ms,
                        &manager->actions);
}

void pm_cpu_look_again(struct pm_manager *manager)
{
    if (manager->cpu)
        manager->cpu->looked_ms = 0;
    pm_cpu_look(manager);
}

void pm_cpu_gone(struct pm_instance *instance)
{
    if (!instance->manager->cpu || !is_there(instance))
        return;
    pm_cpu_look_again(instance->manager); /* what it had is free only now */
}

/* Its memory comes or goes. */
static bool is_busy(const struct pm_instance *instance)
{
    return is_there(instance) &&
           (!instance->was_ready || instance->signalled_ms > 0 || instance->exited);
}

static void look_and_go_on(struct pm_manager *manager)
{
    uint64_t after_ms = RESTED_MS;
    struct pm_link *link;

    pm_cpu_look(manager);
    pm_list_each (&manager->instances, link) {
        if (is_busy(pm_container_of(link, struct pm_instance, link)))
            after_ms = BUSY_MS;
    }
    pm_timer_set(manager->loop, &manager->cpu->timer, pm_manager_now(manager) + after_ms);
}

static void on_timer(struct pm_timer *timer)
{
    struct pm_manager *manager = pm_container_of(timer, struct pm_cpu_watch, timer)->manager;

    look_and_go_on(manager);
    pm_manager_flush(manager);
}

void pm_cpu_mind(struct pm_instance *instance)
{
    struct pm_cpu_watch *cpu = instance->manager->cpu;

    if (cpu && is_there(instance))
        pm_timer_set(instance->manager->loop, &cpu->timer,
                     pm_manager_now(instance->manager) + BUSY_MS);
}

void pm_cpu_list(struct pm_manager *manager)
{
    uint64_t bytes;

    if (pm_device_size_named(&manager->config->devices.declared, PM_CPU_ID, &bytes))
        tell_size(manager, bytes);
    else if (manager->cpu && manager->cpu->total_bytes > 0)
        tell_size(manager, manager->cpu->total_bytes);
}

void pm_cpu_begin(struct pm_manager *manager)
{
    struct pm_cpu_watch *cpu;
    uint64_t bytes;

    if (pm_device_size_named(&manager->config->devices.declared, PM_CPU_ID, &bytes)) {
        tell_size(manager, bytes);
        return;
    }
    cpu = manager->cpu = pm_xalloc(sizeof *cpu);
    cpu->manager = manager;
    cpu->timer.fn = on_timer;
    look_and_go_on(manager);
}

void pm_cpu_free(struct pm_cpu_watch *cpu)
{
    if (!cpu)
        return;
    pm_timer_clear(&cpu->timer);
    free(cpu);
}
