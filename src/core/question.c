/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was asked of the world and is not answered yet. An answer carries the serial of its question; one that is not
 * open any more, or was open for something else, is dropped here and nowhere else.
 */
#include "core/inner.h"

void pm_ask(struct pm_core *core, struct pm_question *question, enum pm_question_kind kind,
            void *owner)
{
    pm_unask(core, question);
    question->serial = ++core->last_serial;
    question->kind = kind;
    question->owner = owner;
    (void)pm_map_set_u64(&core->questions, question->serial, question);
}

void pm_unask(struct pm_core *core, struct pm_question *question)
{
    if (question->serial == 0)
        return;

    (void)pm_map_remove_u64(&core->questions, question->serial);
    question->serial = 0;
}

void *pm_answered(const struct pm_core *core, struct pm_token token, enum pm_question_kind kind)
{
    const struct pm_question *question;

    if (token.serial == 0)
        return NULL;

    question = pm_map_get_u64(&core->questions, token.serial);
    return question && question->kind == kind ? question->owner : NULL;
}
