/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/gatherinner.h"
#include "provision/start.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define TEXT_MAX (64 * 1024 * 1024) /* /proc/net/tcp of a machine with 400,000 connections */

/* ---- reading ---------------------------------------------------------------------------------------- */

char *pm_look_text(const char *root, const char *path)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);
    char *text = NULL;

    return pm_read_file(full, TEXT_MAX, &text, NULL, NULL) == 0 ? text : NULL;
}

bool pm_look_line(const char *root, const char *path, char *to, size_t size)
{
    pm_auto_free char *text = pm_look_text(root, path);

    to[0] = '\0';
    if (!text)
        return false;
    text[strcspn(text, "\n")] = '\0';
    (void)pm_str_copy(to, size, text);
    return true;
}

bool pm_look_number(const char *root, const char *path, uint64_t *ret)
{
    char line[32];

    return pm_look_line(root, path, line, sizeof(line)) && pm_parse_u64(line, ret);
}

bool pm_look_there(const char *root, const char *path)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);
    struct stat status;

    return lstat(full, &status) == 0;
}

/* Lines are name:x:number:… in both. */
void pm_look_name(const char *root, const char *path, unsigned id, char *to, size_t size)
{
    pm_auto_free char *text = pm_look_text(root, path);
    char *line, *rest = text;

    (void)snprintf(to, size, "%u", id);
    while (rest && (line = strsep(&rest, "\n"))) {
        char *name = strsep(&line, ":"), *number;

        (void)strsep(&line, ":");
        number = strsep(&line, ":");
        if (number && strcmp(number, to) == 0) {
            (void)pm_str_copy(to, size, name);
            return;
        }
    }
}

bool pm_look_runnable(const char *root, const char *path)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);
    struct stat status;

    return stat(full, &status) == 0 && S_ISREG(status.st_mode) && access(full, X_OK) == 0;
}

static char *look_for(const char *root, const char *folders, const char *program, size_t n)
{
    for (const char *end; *folders; folders = *end ? end + 1 : end) {
        pm_auto_free char *path = NULL;

        end = strchrnul(folders, ':');
        if (*folders != '/')
            continue; /* the current folder is nobody's choice */
        path = pm_xasprintf("%.*s/%.*s", (int)(end - folders), folders, (int)n, program);
        if (pm_look_runnable(root, path))
            return pm_take(path);
    }
    return NULL;
}

char *pm_look_program(const char *root, const char *folders, const char *programs)
{
    while (*programs) {
        size_t n = strcspn(programs, " ");
        char *found = look_for(root, folders, programs, n);

        if (found)
            return found;
        programs += n;
        programs += strspn(programs, " ");
    }
    return NULL;
}

/* ---- what is to be looked at ------------------------------------------------------------------------ */

static const char *program_of(const struct pm_engine_spec *engine)
{
    if (engine->family == PM_FAMILY_COMMAND && engine->argv.n > 0)
        return engine->argv.items[0];
    return engine->path ? engine->path : "llama-server";
}

static bool is_known(const struct pm_gather *gather, const char *engine)
{
    for (size_t i = 0; i < gather->n_engines; i++) {
        if (strcmp(gather->engines[i].name, engine) == 0)
            return true;
    }
    return false;
}

static void add_engine(struct pm_gather *gather, const struct pm_engine_spec *engine)
{
    struct pm_engine_facts *facts;

    if (!engine || is_known(gather, engine->name))
        return;
    facts = &gather->engines[gather->n_engines++];
    facts->name = pm_xstrdup(engine->name);
    facts->program = pm_xstrdup(program_of(engine));
    if (engine->family == PM_FAMILY_EXTERNAL)
        facts->state = PM_PROGRAM_UNNEEDED;
    else if (engine->url || engine->image)
        facts->state = PM_PROGRAM_UNFETCHED;
    else
        facts->state = PM_PROGRAM_MISSING;
}

static void add_file(struct pm_strv *files, const char *ref)
{
    if (ref && pm_str_starts(ref, "file:"))
        ref += strlen("file:");
    if (ref && ref[0] == '/')
        pm_strv_add(files, ref);
}

static void add_model(struct pm_gather *gather, const struct pm_pool_spec *pool)
{
    struct pm_gather_model *model = &gather->models[gather->n_models];

    if (pm_pool_where(pool) == PM_WHERE_GPU)
        return;
    (void)pm_str_copy(model->pool, sizeof(model->pool), pool->id);
    model->on_cpu = pm_pool_where(pool) == PM_WHERE_CPU;
    add_file(&model->files, pool->model.main);
    add_file(&model->files, pool->model.mmproj);
    add_file(&model->files, pool->model.draft);
    gather->n_models++;
}

void pm_gather_init(const struct pm_config *config, const char *root, struct pm_gather *ret)
{
    pm_auto_free char *control = pm_xasprintf("unix:%s/control.sock", config->runtime_dir);
    const char *path = getenv("PATH");
    size_t n = config->n_pools + config->n_engines + 1;

    *ret = (struct pm_gather){
        .root = pm_xstrdup(root ? root : ""),
        .path = pm_xasprintf("%s:/usr/local/cuda/bin:/opt/cuda/bin",
                             path && path[0] ? path : "/usr/local/bin:/usr/bin:/bin"),
        .folders = {[PM_FOLDER_RUNTIME] = pm_xstrdup(config->runtime_dir),
                    [PM_FOLDER_STATE] = pm_xstrdup(config->state_dir),
                    [PM_FOLDER_LOG] = pm_xstrdup(config->log_dir),
                    [PM_FOLDER_CACHE] = pm_xstrdup(config->cache_dir)},
        .engines = pm_xalloc(n * sizeof(ret->engines[0])),
        .models = pm_xalloc(n * sizeof(ret->models[0])),
    };
    if (config->devices.nvml && config->devices.nvml[0] == '/')
        ret->nvml = pm_xstrdup(config->devices.nvml);
    pm_strv_copy(&ret->listen, &config->listen);
    pm_strv_add(&ret->listen, control);
    for (size_t i = 0; i < config->n_pools; i++) {
        add_engine(ret, config->pools[i]->runs);
        add_model(ret, config->pools[i]);
    }
    for (size_t i = 0; config->n_pools == 0 && i < config->n_engines; i++)
        add_engine(ret,
                   config->engines[i]); /* `llama` is always there: what a first pool would run */
}

void pm_gather_fini(struct pm_gather *gather)
{
    free(gather->root);
    free(gather->path);
    free(gather->nvml);
    for (unsigned i = 0; i < PM_FOLDER_COUNT; i++)
        free(gather->folders[i]);
    pm_strv_fini(&gather->listen);
    for (size_t i = 0; i < gather->n_engines; i++) {
        free(gather->engines[i].name);
        free(gather->engines[i].program);
    }
    free(gather->engines);
    for (size_t i = 0; i < gather->n_models; i++)
        pm_strv_fini(&gather->models[i].files);
    free(gather->models);
    *gather = (struct pm_gather){0};
}

/* ---- all of it -------------------------------------------------------------------------------------- */

static bool has_gpu(const struct pm_facts *facts)
{
    return facts->driver.hardware.n[PM_VENDOR_NVIDIA] > 0 || facts->driver.windows;
}

static void look_at_models(const struct pm_gather *gather, struct pm_facts *facts)
{
    for (size_t i = 0; i < gather->n_models; i++) {
        const struct pm_gather_model *model = &gather->models[i];
        uint64_t bytes = 0;

        if (!model->on_cpu && has_gpu(facts))
            continue;
        for (size_t k = 0; k < model->files.n; k++) {
            pm_auto_free char *path = pm_xasprintf("%s%s", gather->root, model->files.items[k]);
            struct stat status;

            if (stat(path, &status) == 0 && S_ISREG(status.st_mode))
                bytes += (uint64_t)status.st_size;
        }
        if (bytes > facts->memory.model_bytes) {
            facts->memory.model_bytes = bytes;
            (void)pm_str_copy(facts->memory.model_pool, sizeof(facts->memory.model_pool),
                              model->pool);
        }
    }
}

void pm_facts_gather(const struct pm_gather *gather, struct pm_facts *ret)
{
    *ret = (struct pm_facts){0};
    pm_look_at_system(gather->root, ret);
    pm_look_at_cgroup(gather->root, &ret->cgroup);
    pm_look_at_limits(gather->root, ret);
    pm_look_at_folders(gather, ret);
    pm_look_at_listeners(gather, ret);
    pm_look_at_programs(gather, ret);
    pm_look_at_driver(gather, &ret->driver);
    look_at_models(gather, ret);
}

bool pm_driver_to_be_asked(const struct pm_gather *gather, const struct pm_facts *facts)
{
    const struct pm_driver_facts *driver = &facts->driver;

    return gather->nvml || has_gpu(facts) || driver->nvidia || driver->module_version[0] ||
           driver->has_control_node;
}

void pm_facts_answered(struct pm_facts *facts, enum pm_asked how, const char *text,
                       struct pm_gpu_snapshot *snapshot)
{
    facts->driver.asked = how;
    (void)pm_str_copy(facts->driver.asked_text, sizeof(facts->driver.asked_text), text ? text : "");
    pm_gpu_snapshot_fini(&facts->driver.snapshot);
    if (snapshot)
        facts->driver.snapshot = *snapshot;
}

void pm_facts_fini(struct pm_facts *facts)
{
    for (unsigned i = 0; i < PM_FOLDER_COUNT; i++) {
        free(facts->folders[i].path);
        free(facts->folders[i].nearest);
    }
    for (size_t i = 0; i < facts->n_listeners; i++)
        free(facts->listeners[i].address);
    free(facts->listeners);
    for (size_t i = 0; i < PM_PREFLIGHT_TOOLS; i++)
        free(facts->tools[i].path);
    for (size_t i = 0; i < facts->n_engines; i++) {
        free(facts->engines[i].name);
        free(facts->engines[i].program);
    }
    free(facts->engines);
    pm_gpu_snapshot_fini(&facts->driver.snapshot);
    *facts = (struct pm_facts){0};
}
