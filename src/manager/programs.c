/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engines' programs can is asked of them once, on the helper thread: when the daemon begins, and before the first
 * start of one that came later. Starts and looks stand in one line there, so that what a start needs to know is known
 * when its turn comes. A program that does not answer is asked again at its next starts, and then never; it is started
 * as an old one that knows nothing new.
 */
#include <string.h>

#include "manager/internal.h"
#include "util/cleanup.h"

#define PROGRAMS_MAX 1024 /* signatures kept; then all are forgotten */
#define TRIES_MAX    3

/* What the map keeps of a program: a pointer of small numbers. */
#define KNOWN           1u
#define UNDER_WAY       2u
#define HAS_FIT         4u
#define HAS_TRACE       8u
#define HAS_FEW_OUTPUTS 16u
#define A_TRY           32u

struct pm_programs {
    struct pm_manager *manager;
    struct pm_map known; /* by signature */
};

struct look {
    struct pm_work work;
    struct pm_programs *programs;
    struct pm_engine_spec *engine;
    char *signature;
    struct pm_engine_traits traits;
    bool answered;
};

static uintptr_t known_of(const struct pm_programs *programs, const char *signature)
{
    return signature ? (uintptr_t)pm_map_get(&programs->known, signature) : 0;
}

static void keep(struct pm_programs *programs, const char *signature, uintptr_t bits)
{
    if (programs->known.n >= PROGRAMS_MAX)
        pm_map_fini(&programs->known);
    (void)pm_map_set(&programs->known, signature, (void *)bits);
}

static void work(struct pm_work *work)
{
    struct look *look = pm_container_of(work, struct look, work);

    look->answered = pm_engine_look(look->engine, environ, PM_ENGINE_LOOK_MS, &look->traits);
}

static void look_free(struct look *look)
{
    pm_engine_spec_unref(look->engine);
    free(look->signature);
    free(look);
}

static void on_dropped(struct pm_work *work)
{
    look_free(pm_container_of(work, struct look, work));
}

static void on_looked(struct pm_work *work)
{
    struct look *look = pm_container_of(work, struct look, work);
    uintptr_t bits = known_of(look->programs, look->signature) & ~(uintptr_t)UNDER_WAY;

    if (look->answered)
        bits = KNOWN | (look->traits.fit ? HAS_FIT : 0) | (look->traits.trace ? HAS_TRACE : 0) |
               (look->traits.few_outputs ? HAS_FEW_OUTPUTS : 0);
    else
        bits += A_TRY;
    keep(look->programs, look->signature, bits);
    look_free(look);
}

void pm_programs_look(struct pm_programs *programs, struct pm_engine_spec *engine)
{
    pm_auto_free char *signature = NULL;
    struct look *look;
    uintptr_t bits;

    if (engine->family != PM_FAMILY_LLAMA_CPP)
        return;
    signature = pm_engine_signature(engine, environ);
    bits = known_of(programs, signature);
    if (!signature || bits & (KNOWN | UNDER_WAY) || bits >= TRIES_MAX * A_TRY)
        return;

    keep(programs, signature, bits | UNDER_WAY);
    look = pm_xalloc(sizeof *look);
    look->work.work = work;
    look->work.done = on_looked;
    look->work.drop = on_dropped;
    look->programs = programs;
    look->engine = pm_engine_spec_ref(engine);
    look->signature = pm_take(signature);
    pm_worker_add(programs->manager->worker, &look->work, PM_WORK_LAST);
}

struct pm_engine_traits pm_programs_traits(const struct pm_programs *programs,
                                           const struct pm_engine_spec *engine)
{
    pm_auto_free char *signature = pm_engine_signature(engine, environ);
    uintptr_t bits = known_of(programs, signature);

    return (struct pm_engine_traits){
        .fit = bits & HAS_FIT, .trace = bits & HAS_TRACE, .few_outputs = bits & HAS_FEW_OUTPUTS};
}

struct pm_engine_traits pm_manager_traits(const struct pm_manager *manager,
                                          const struct pm_engine_spec *engine)
{
    return pm_programs_traits(manager->programs, engine);
}

struct pm_programs *pm_programs_new(struct pm_manager *manager)
{
    struct pm_programs *programs = pm_xalloc(sizeof *programs);

    programs->manager = manager;
    return programs;
}

void pm_programs_begin(struct pm_programs *programs)
{
    const struct pm_config *config = programs->manager->config;
    struct pm_engine_spec *last = NULL;

    for (size_t i = 0; i < config->n_pools; i++) {
        if (config->pools[i]->runs && config->pools[i]->runs != last)
            pm_programs_look(programs, config->pools[i]->runs);
        last = config->pools[i]->runs;
    }
}

void pm_programs_free(struct pm_programs *programs)
{
    if (!programs)
        return;

    pm_map_fini(&programs->known);
    free(programs);
}
