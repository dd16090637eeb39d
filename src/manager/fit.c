/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPU pool never runs on the CPU (LOAD-5). A llama-server that was built without a backend for GPUs takes every flag of
 * a plan and puts all layers on the host: only its log says so. So an engine that is to run on a device that was found is
 * asked there, once it answers and before anybody is let in. Its shim writes behind it, and lines may be missing yet: what
 * says nothing is asked a few times more, and then believed.
 *
 * The log is read on the helper thread, before all that nobody waits for; what is asked meanwhile is told ready later, and
 * holds up nobody else.
 */
#include <string.h>

#include "engine/buffers.h"
#include "manager/internal.h"
#include "util/cleanup.h"

#define AGAIN_MS   20
#define SILENT_MAX 5 /* looks at a log without a word of buffers */
#define CUT_MAX                                                                                    \
    50 /* looks at one that tells weights of the host, and nothing that comes after weights */

struct pm_fit {
    struct pm_instance *instance;
    pm_fit_told fn;
    unsigned n_looks;
    struct pm_timer timer;
};

struct job {
    struct pm_work work;
    struct pm_manager *manager;
    struct pm_token token;
    char *log_path;
    uint64_t from;
    struct pm_buffers buffers;
};

/* Devices that are declared may be anything, and so may other families. */
bool pm_fit_matters(const struct pm_instance *instance)
{
    return instance->manager->gpus && instance->measure &&
           instance->engine->family == PM_FAMILY_LLAMA_CPP;
}

static void read_log(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);

    /* One that cannot be read says nothing. */
    (void)pm_buffers_read(job->log_path, job->from, &job->buffers, NULL);
}

static void on_dropped(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);

    free(job->log_path);
    free(job);
}

static bool is_on_a_device(const struct pm_buffers *buffers)
{
    return buffers->knows_weights && !pm_buffers_on_host(buffers);
}

static bool is_to_look_again(const struct pm_fit *fit, const struct pm_buffers *buffers)
{
    if (is_on_a_device(buffers) || (buffers->knows_weights && buffers->knows_compute))
        return false;
    return fit->n_looks < (buffers->knows_weights ? CUT_MAX : SILENT_MAX);
}

static void describe(const struct pm_buffers *buffers, struct pm_failure *ret)
{
    *ret = (struct pm_failure){
        .class = PM_CLASS_SPAWN, .code = POOLMGR_E_ENGINE_MISSING, .permanent = true};
    if (buffers->n_devices == 0) {
        (void)pm_str_copy(ret->text, sizeof ret->text,
                          "llama-server cannot use a GPU: it put all layers on the host");
        (void)pm_str_copy(
            ret->hint, sizeof ret->hint,
            "install a build with CUDA (with Vulkan where it has all GPUs), or set devices: cpu");
        return;
    }
    ret->code = POOLMGR_E_BAD_ARGUMENTS; /* it could, and was told not to */
    (void)pm_str_copy(ret->text, sizeof ret->text,
                      "llama-server put all layers on the host, though it has a GPU");
    (void)pm_str_copy(ret->hint, sizeof ret->hint,
                      "leave -ngl and --device out of args, or set devices: cpu");
}

static void on_read(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);
    struct pm_instance *instance = pm_instance_find(job->manager, job->token);
    struct pm_fit *fit = instance ? instance->fit : NULL;
    struct pm_failure unfit;
    pm_fit_told fn;

    if (fit && is_to_look_again(fit, &job->buffers)) {
        pm_timer_set(job->manager->loop, &fit->timer, pm_manager_now(job->manager) + AGAIN_MS);
    } else if (fit) {
        fn = fit->fn;
        pm_fit_free(pm_take(instance->fit));
        describe(&job->buffers, &unfit);
        fn(instance, pm_buffers_on_host(&job->buffers) ? &unfit : NULL);
    }
    on_dropped(work);
}

static void look(struct pm_fit *fit)
{
    struct pm_instance *instance = fit->instance;
    struct job *job = pm_xalloc(sizeof *job);

    fit->n_looks++;
    job->work.work = read_log;
    job->work.done = on_read;
    job->work.drop = on_dropped;
    job->manager = instance->manager;
    job->token = instance->token;
    job->log_path = pm_xstrdup(pm_measure_log(instance->measure, &job->from));
    pm_worker_add(instance->manager->worker, &job->work, PM_WORK_FIRST);
}

static void on_timer(struct pm_timer *timer)
{
    look(pm_container_of(timer, struct pm_fit, timer));
}

void pm_fit_ask(struct pm_instance *instance, pm_fit_told fn)
{
    struct pm_fit *fit = pm_xalloc(sizeof *fit);

    fit->instance = instance;
    fit->fn = fn;
    fit->timer.fn = on_timer;
    instance->fit = fit;
    look(fit);
}

void pm_fit_free(struct pm_fit *fit)
{
    if (!fit)
        return;

    pm_timer_clear(&fit->timer);
    free(fit);
}
