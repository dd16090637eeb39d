/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file, read again (RELOAD-2). The helper thread reads and checks it; the loop thread lets core take
 * the pools, all or none, and only then the new configuration takes the place of the old. Whoever asks while a file is
 * being read, or carried out, gets the next reading, since that one was too early for what was just saved.
 *
 * The former configuration is freed at once: nobody keeps it. What outlives a step (specifications and the engines they
 * run) is counted by itself.
 */
#include <stdio.h>
#include <string.h>

#include "manager/internal.h"
#include "util/buf.h"
#include "util/cleanup.h"

struct pm_config_watch {
    struct pm_link link;
    bool asked; /* the reading that is under way is its own */
    void (*fn)(void *ctx, const struct pm_config_answer *answer);
    void *ctx;
};

struct job {
    struct pm_work work;
    struct pm_manager *manager;
    struct pm_config_overrides overrides; /* lists and texts are the host's */
    struct pm_config *config;
    struct pm_config_errors errors;
    struct poolmgr_error error; /* code 0: read */
};

/* ---- in the helper thread --------------------------------------------------------------------------- */

static void read_it(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);

    (void)pm_config_load(&job->overrides, &job->config, &job->errors, &job->error);
}

/* ---- telling ---------------------------------------------------------------------------------------- */

static const char *name_of(const struct pm_manager *manager)
{
    return manager->config->path ? manager->config->path : "configuration";
}

static void tell(struct pm_manager *manager, enum pm_event_kind kind, const char *human,
                 const char *text)
{
    struct pm_event event;

    pm_event_init(&event, kind, name_of(manager));
    pm_event_human(&event, "%s", human);
    if (text)
        pm_event_text(&event, text);
    pm_sink_tell(manager->sink, &event);
}

static void tell_refused(struct pm_manager *manager, const struct job *job)
{
    pm_auto_buf struct pm_buf text = {0}, human = {0};
    size_t i, n = job->errors.n + job->errors.n_more;

    for (i = 0; i < job->errors.n; i++)
        pm_buf_addf(&text, "%s%s:%u:%u: %s", i > 0 ? "; " : "", job->errors.file,
                    job->errors.items[i].line, job->errors.items[i].column,
                    job->errors.items[i].message);
    if (n > 0)
        pm_buf_addf(&human, "the configuration has %zu error%s: nothing of it is applied", n,
                    n == 1 ? "" : "s");
    else
        pm_buf_adds(&human, "the configuration cannot be applied: nothing of it is");
    tell(manager, PM_EV_CONFIG_REFUSED, pm_buf_text(&human),
         text.n > 0 ? pm_buf_text(&text) : job->error.message);
}

static const struct pm_pool_spec *find_pool(const struct pm_config *config, const char *id)
{
    size_t i;

    for (i = 0; i < config->n_pools; i++)
        if (strcmp(config->pools[i]->id, id) == 0)
            return config->pools[i];

    return NULL;
}

static void tell_applied(struct pm_manager *manager, const struct pm_config *former)
{
    const struct pm_config *config = manager->config;
    size_t i, n_new = 0, n_changed = 0, n_limits = 0, n_gone = 0;
    pm_auto_buf struct pm_buf human = {0};

    for (i = 0; i < config->n_pools; i++) {
        const struct pm_pool_spec *before = find_pool(former, config->pools[i]->id);
        enum pm_spec_change change =
            before ? pm_spec_compare(before, config->pools[i]) : PM_SPEC_SAME;

        n_new += !before;
        n_changed += change == PM_SPEC_ENGINE;
        n_limits += change == PM_SPEC_LIMITS;
    }
    for (i = 0; i < former->n_pools; i++)
        n_gone += !find_pool(config, former->pools[i]->id);

    pm_buf_addf(&human,
                "the configuration is applied: %zu by reload, %zu in place, %zu new, %zu gone, "
                "%zu as before",
                n_changed, n_limits, n_new, n_gone, config->n_pools - n_new - n_changed - n_limits);
    tell(manager, PM_EV_CONFIG_APPLIED, pm_buf_text(&human), NULL);
}

static void tell_kept(struct pm_manager *manager)
{
    const struct pm_config *config = manager->config;
    pm_auto_buf struct pm_buf text = {0};
    size_t i;

    for (i = 0; i < config->kept.n; i++)
        pm_buf_addf(&text, "%s%s", i > 0 ? ", " : "", config->kept.items[i]);
    if (text.n > 0)
        tell(manager, PM_EV_CONFIG_WARNING, "settings in the file change with a restart only",
             pm_buf_text(&text));
}

/* ---- pools of the API ------------------------------------------------------------------------------- */

/* It runs an entry of `engines` that says something else by now, or is gone. */
static int follow_engine(struct pm_manager *manager, const struct pm_pool_view *view,
                         struct poolmgr_error *err)
{
    struct pm_pool_spec *spec = NULL;
    uint64_t op;
    int r;

    r = pm_record_spec(manager, view->spec->id, view->spec->stored, &spec, err);
    if (r < 0)
        return r;

    pm_engine_fill_habits(spec->runs, spec);
    r = pm_core_put_pool(manager->core, spec, pm_manager_now(manager), &manager->actions, &op, err);
    pm_pool_spec_unref(spec);
    return r;
}

static void follow_engines(struct pm_manager *manager)
{
    struct poolmgr_error err = {0};
    struct pm_pool_view view;
    size_t i;

    for (i = 0; pm_core_pool_at(manager->core, i, pm_manager_now(manager), &view); i++) {
        pm_auto_free char *human = NULL;

        if (view.owner != PM_OWNER_API ||
            pm_engine_spec_equal(view.spec->runs,
                                 pm_config_engine(manager->config, view.spec->engine)))
            continue;
        human = pm_xasprintf("%s of the API goes on with its engine as it was", view.spec->id);
        if (follow_engine(manager, &view, &err) < 0)
            tell(manager, PM_EV_CONFIG_WARNING, human, err.message);
    }
}

/* ---- applying --------------------------------------------------------------------------------------- */

static void take_over(struct pm_manager *manager, struct pm_config *config)
{
    struct pm_config *former = manager->reloaded;
    const struct pm_config *before = manager->config;

    manager->config = manager->reloaded = config;
    pm_manager_configure(manager);
    tell_applied(manager, before);
    tell_kept(manager);
    follow_engines(manager);
    if (manager->options.on_config)
        manager->options.on_config(manager->options.ctx, config);
    pm_config_free(former);
}

static void apply(struct pm_manager *manager, struct job *job)
{
    size_t i;

    if (job->error.code == 0) {
        for (i = 0; i < job->config->n_pools; i++)
            pm_engine_fill_habits(job->config->pools[i]->runs, job->config->pools[i]);
        (void)pm_core_apply_file(manager->core, job->config->pools, job->config->n_pools,
                                 pm_manager_now(manager), &manager->actions, &manager->config_op,
                                 &job->error);
    }

    if (job->error.code == 0)
        take_over(manager, pm_take(job->config));
    else
        tell_refused(manager, job);
}

/* ---- asking and answering --------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
    pm_config_free(job->config);
    free(job);
}

static struct pm_config_watch *next_to_answer(struct pm_manager *manager)
{
    struct pm_link *link;

    pm_list_each (&manager->config_watches, link) {
        struct pm_config_watch *watch = pm_container_of(link, struct pm_config_watch, link);

        if (watch->asked)
            return watch;
    }

    return NULL;
}

/* The list is searched anew for each: whoever is told may free any of them. */
static void answer_all(struct pm_manager *manager, const struct pm_config_answer *answer)
{
    struct pm_config_watch *watch;

    while ((watch = next_to_answer(manager))) {
        pm_list_remove(&watch->link);
        watch->fn(watch->ctx, answer);
    }
}

static void on_read(struct pm_work *work)
{
    struct job *job = pm_container_of(work, struct job, work);
    struct pm_manager *manager = job->manager;
    struct pm_config_answer answer = {.errors = &job->errors};

    manager->reading_config = false;
    apply(manager, job);
    answer.op = manager->config_op;
    answer.error = job->error.code != 0 ? &job->error : NULL;
    pm_manager_flush(manager);
    answer_all(manager, &answer);
    job_free(job);
    pm_config_go_on(manager);
}

static void on_dropped(struct pm_work *work)
{
    job_free(pm_container_of(work, struct job, work));
}

static void read_again(struct pm_manager *manager)
{
    struct job *job = pm_xalloc(sizeof *job);
    struct pm_link *link;

    job->work.work = read_it;
    job->work.done = on_read;
    job->work.drop = on_dropped;
    job->manager = manager;
    job->overrides = manager->options.overrides;
    job->overrides.running = manager->config;
    manager->reading_config = true;
    manager->config_asked = false;
    pm_list_each (&manager->config_watches, link)
        pm_container_of(link, struct pm_config_watch, link)->asked = true;
    pm_worker_add(manager->worker, &job->work, PM_WORK_FIRST);
}

static bool is_carried_out(const struct pm_manager *manager)
{
    struct pm_operation op;

    return pm_core_operation(manager->core, manager->config_op, &op) && op.state == PM_OP_RUNNING;
}

void pm_config_go_on(struct pm_manager *manager)
{
    if (manager->config_asked && !manager->reading_config && !is_carried_out(manager))
        read_again(manager);
}

struct pm_config_watch *pm_manager_reload_config(struct pm_manager *manager,
                                                 void (*fn)(void *ctx,
                                                            const struct pm_config_answer *answer),
                                                 void *ctx)
{
    struct pm_config_watch *watch = NULL;

    if (fn) {
        watch = pm_xalloc(sizeof *watch);
        watch->fn = fn;
        watch->ctx = ctx;
        pm_list_append(&manager->config_watches, &watch->link);
    }

    manager->config_asked = true;
    pm_config_go_on(manager);
    return watch;
}

void pm_config_watch_free(struct pm_config_watch *watch)
{
    if (!watch)
        return;

    pm_list_remove(&watch->link);
    free(watch);
}

/* The watches are their owners'; they are only taken out of the list. */
void pm_config_watches_free(struct pm_manager *manager)
{
    struct pm_link *link;

    while ((link = pm_list_first(&manager->config_watches)))
        pm_list_remove(link);
}
