/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engines that are not ours (REG-4): there is an endpoint to ask, and perhaps a process whose end the kernel tells at
 * once. Nothing here, or anywhere, signals it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "manager/internal.h"
#include "util/cleanup.h"

bool pm_pid_runs(uint64_t pid, int *ret_fd)
{
    int fd = pidfd_open((pid_t)pid, 0);

    if (fd >= 0 && ret_fd)
        *ret_fd = fd;
    else if (fd >= 0)
        (void)close(fd);
    return fd >= 0 || errno != ESRCH;
}

static void tell_gone(struct pm_instance *instance, const char *text)
{
    struct pm_manager *manager = instance->manager;

    pm_http_client_forget(manager->client, instance->endpoint);
    pm_core_engine_gone(manager->core, instance->token, text, pm_manager_now(manager),
                        &manager->actions);
    pm_manager_flush(manager);
}

static void tell_ended(struct pm_instance *instance)
{
    char text[64];

    instance->pid_ended = true;
    (void)snprintf(text, sizeof text, "its process %" PRIu64 " has ended",
                   instance->spec->external.pid);
    tell_gone(instance, text);
}

void pm_instance_refused(struct pm_instance *instance)
{
    if (instance->pid_ended)
        tell_ended(instance);
    else
        tell_gone(instance, "nobody listens at its endpoint");
}

static void on_pid(struct pm_watch *watch, uint32_t events)
{
    struct pm_instance *instance = pm_container_of(watch, struct pm_instance, pid_watch);

    (void)events;
    pm_watch_remove(watch);
    tell_ended(instance);
}

void pm_instance_follow(struct pm_manager *manager, const struct pm_action *action)
{
    struct pm_instance *instance =
        pm_instance_new(manager, action->token, action->spec, action->replica, action->instance);
    const struct pm_external_spec *external = &action->spec->external;

    instance->was_ready = true;
    (void)pm_str_copy(instance->endpoint, sizeof instance->endpoint, external->endpoint);
    if (external->engine_version)
        (void)pm_str_copy(instance->engine_version, sizeof instance->engine_version,
                          external->engine_version);
    if (external->pid == 0)
        return;

    if (!pm_pid_runs(external->pid, &instance->pid_fd))
        tell_ended(instance);
    else if (instance->pid_fd >= 0)
        (void)pm_watch_add(manager->loop, &instance->pid_watch, instance->pid_fd, EPOLLIN, on_pid);
}

void pm_instance_unfollow(struct pm_instance *instance)
{
    pm_watch_remove(&instance->pid_watch);
    if (instance->pid_fd >= 0)
        (void)close(pm_take_fd(&instance->pid_fd));
}
