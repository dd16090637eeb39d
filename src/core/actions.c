/* SPDX-License-Identifier: Apache-2.0 */
/* The one list that inputs append to. It owns what its items hold until the driver clears it. */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/str.h"

static void record_free(struct pm_pool_record *record)
{
    if (!record)
        return;
    free(record->spec_text);
    free(record);
}

static void action_fini(struct pm_action *action)
{
    pm_pool_spec_unref(action->spec);
    free(action->error);
    record_free(action->record);
    free(action->event);
    free(action->plan);
    free(action->memory);
    free(action->past);
}

void pm_actions_clear(struct pm_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++)
        action_fini(&actions->items[i]);
    actions->n = 0;
}

void pm_actions_fini(struct pm_actions *actions)
{
    pm_actions_clear(actions);
    free(actions->items);
    memset(actions, 0, sizeof(*actions));
}

struct pm_action *pm_action_add(struct pm_actions *out, enum pm_action_kind kind)
{
    struct pm_action *action;

    if (out->n == out->capacity) {
        out->capacity = out->capacity ? out->capacity * 2 : 16;
        out->items = pm_xrealloc(out->items, out->capacity * sizeof(*out->items));
    }
    action = &out->items[out->n++];
    memset(action, 0, sizeof(*action));
    action->kind = kind;
    return action;
}

struct pm_action *pm_action_of(struct pm_actions *out, enum pm_action_kind kind,
                               const struct pm_place *place)
{
    struct pm_action *action = pm_action_add(out, kind);

    action->token.serial = place->token.serial;
    action->replica = place->index;
    action->instance = place->instance.n;
    return action;
}

static struct poolmgr_error *copy_error(const struct poolmgr_error *error)
{
    struct poolmgr_error *copy = pm_xalloc(sizeof(*copy));

    *copy = *error;
    return copy;
}

struct pm_action *pm_action_refuse(struct pm_actions *out, uint64_t request,
                                   const struct poolmgr_error *error)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_REFUSE);

    action->request = request;
    action->error = copy_error(error);
    return action;
}

void pm_action_cut(struct pm_actions *out, uint64_t request, const struct pm_lease *lease,
                   const struct poolmgr_error *error)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_CUT);

    action->request = request;
    action->lease = *lease;
    action->error = copy_error(error);
}

void pm_action_tell(struct pm_actions *out, const struct pm_event *event)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_NARRATE);

    action->event = pm_xalloc(sizeof(*action->event));
    *action->event = *event;
}

void pm_action_persist(struct pm_actions *out, const struct pm_question *question,
                       const struct pm_pool_record *record)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_PERSIST);

    action->token.serial = question->serial;
    action->record = pm_xalloc(sizeof(*action->record));
    *action->record = *record;
    if (record->spec_text)
        action->record->spec_text = pm_xstrdup(record->spec_text);
}

void pm_action_remember(struct pm_actions *out, const struct pm_memory_record *memory)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_REMEMBER);

    action->memory = pm_xalloc(sizeof(*action->memory));
    *action->memory = *memory;
}

struct pm_past *pm_action_keep(struct pm_actions *out)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_KEEP);

    action->past = pm_xalloc(sizeof(*action->past));
    return action->past;
}

void pm_action_accepted(struct pm_actions *out, uint64_t operation,
                        const struct poolmgr_error *error)
{
    struct pm_action *action = pm_action_add(out, PM_ACT_ACCEPTED);

    action->operation = operation;
    action->error = error ? copy_error(error) : NULL;
}
