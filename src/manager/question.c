/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of core to an engine that runs: is it healthy, how many of its slots are busy. */
#include "manager/internal.h"
#include "util/cleanup.h"

#define TIMEOUT_MIN_MS 1000

struct question {
    struct pm_link link;
    struct pm_instance *instance;
    struct pm_token probe;
    struct pm_engine_ask *ask;
};

static struct question *question_new(struct pm_instance *instance, struct pm_token probe)
{
    struct question *question = pm_xalloc(sizeof *question);

    question->instance = instance;
    question->probe = probe;
    pm_list_append(&instance->questions, &question->link);
    return question;
}

/* Taken out and freed before core hears of it: what core appends may end the instance. */
static struct question take(struct question *question)
{
    struct question taken = *question;

    pm_list_remove(&question->link);
    free(question);
    return taken;
}

static void on_probed(void *ctx, enum pm_probed how)
{
    struct question asked = take(ctx);
    struct pm_manager *manager = asked.instance->manager;

    if (how == PM_PROBED_REFUSED && !asked.instance->spec->habits.ours) {
        pm_instance_refused(asked.instance);
        return;
    }
    pm_core_probed(manager->core, asked.probe, how == PM_PROBED_GOOD, pm_manager_now(manager),
                   &manager->actions);
    pm_manager_flush(manager);
}

static void on_busy(void *ctx, bool known, uint64_t n_busy)
{
    struct question asked = take(ctx);
    struct pm_manager *manager = asked.instance->manager;

    if (known)
        pm_core_busy(manager->core, asked.probe, n_busy, pm_manager_now(manager),
                     &manager->actions);
    pm_manager_flush(manager);
}

static uint64_t timeout_of(const struct pm_instance *instance)
{
    uint64_t every_ms = instance->spec->probe.every_ms;

    return every_ms < TIMEOUT_MIN_MS ? TIMEOUT_MIN_MS : every_ms;
}

void pm_question_probe(struct pm_instance *instance, struct pm_token probe)
{
    struct question *question;

    if (instance->pid_ended) {
        pm_instance_refused(instance);
        return;
    }
    question = question_new(instance, probe);
    question->ask = pm_engine_probe(instance->manager->client, instance->engine, instance->endpoint,
                                    timeout_of(instance), on_probed, question);
}

void pm_question_busy(struct pm_instance *instance, struct pm_token probe)
{
    struct question *question = question_new(instance, probe);

    question->ask = pm_engine_busy(instance->manager->client, instance->engine, instance->endpoint,
                                   instance->api_key, timeout_of(instance), on_busy, question);
}

void pm_questions_free(struct pm_instance *instance)
{
    struct pm_link *link;

    while ((link = pm_list_first(&instance->questions))) {
        struct question asked = take(pm_container_of(link, struct question, link));

        pm_engine_ask_free(asked.ask);
    }
}
