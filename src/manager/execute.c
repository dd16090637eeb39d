/* SPDX-License-Identifier: Apache-2.0 */
/* From an action to what does it. No action is refused here: what fails is told to core as an input. */
#include "manager/internal.h"

static void signal_instance(struct pm_manager *manager, struct pm_token token)
{
    struct pm_instance *instance = pm_instance_find(manager, token);

    if (instance)
        pm_instance_signal(instance);
}

static void kill_instance(struct pm_manager *manager, struct pm_token token)
{
    struct pm_instance *instance = pm_instance_find(manager, token);

    if (!instance || !instance->process)
        return;
    instance->signalled_ms = pm_manager_now(manager);
    pm_gpus_mind(instance);
    pm_process_kill(instance->process);
}

static void probe(struct pm_manager *manager, const struct pm_action *action)
{
    struct pm_instance *instance = pm_instance_find(manager, action->token);

    if (!instance)
        return;

    if (action->kind == PM_ACT_PROBE)
        pm_question_probe(instance, action->probe);
    else
        pm_question_busy(instance, action->probe);
}

void pm_manager_execute(struct pm_manager *manager, const struct pm_action *action)
{
    switch (action->kind) {
    case PM_ACT_STAGE: pm_stager_begin(manager->stager, action->token, action->spec); break;
    case PM_ACT_SPAWN: pm_instance_spawn(manager, action); break;
    case PM_ACT_FOLLOW: pm_instance_follow(manager, action); break;
    case PM_ACT_SIGNAL: signal_instance(manager, action->token); break;
    case PM_ACT_KILL: kill_instance(manager, action->token); break;
    case PM_ACT_PROBE:
    case PM_ACT_ASK_BUSY: probe(manager, action); break;
    case PM_ACT_FORGET: pm_instance_forget(manager, action); break;
    case PM_ACT_GRANT: pm_ticket_granted(manager, action); break;
    case PM_ACT_REFUSE: pm_ticket_refused(manager, action); break;
    case PM_ACT_CUT: pm_ticket_cut(manager, action); break;
    case PM_ACT_PERSIST: pm_record_commit(manager, action); break;
    case PM_ACT_REMEMBER: pm_record_remember(manager, action->memory); break;
    case PM_ACT_KEEP: pm_record_keep(manager, action->past); break;
    case PM_ACT_LOOK:
        pm_gpus_look(manager);
        pm_cpu_look_again(manager);
        break;
    case PM_ACT_ACCEPTED: pm_operation_moved(manager, action->operation); break;
    case PM_ACT_OPERATION:
        pm_operation_moved(manager, action->operation);
        pm_config_go_on(manager);
        break;
    case PM_ACT_NARRATE: pm_sink_tell(manager->sink, action->event); break;
    case PM_ACT_STOPPED: manager->options.on_stopped(manager->options.ctx); break;
    }
}
