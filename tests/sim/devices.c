/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: what they have, who was charged what of them, and what goes wrong with them. A world has none, one or two, and the
 * CPU, which may have memory that is known, and with which nothing goes wrong.
 * In some, somebody tells how much memory is free; it comes back late, or not at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "invariants.h"
#include "util/str.h"

#define GIB (UINT64_C(1) << 30)

static const char *const names[SIM_DEVICES] = {"0", "1"};
static const char *const uuids[SIM_DEVICES] = {"GPU-0c0ffee0-0000-4000-8000-000000000000",
                                               "GPU-1c0ffee0-0000-4000-8000-000000000001"};

static bool is_there(const struct sim *sim, int device)
{
    return device == SIM_CPU ? sim->world.has_cpu : device < sim->world.n_devices;
}

bool devices_view(const struct sim *sim, int device, struct pm_device_view *ret)
{
    for (size_t i = 0; is_there(sim, device) && pm_core_device_at(sim->core, i, ret); i++) {
        if (strcmp(ret->is.id, sim->world.devices[device].is.id) == 0)
            return true;
    }
    return false;
}

static const char *id_of(const struct sim *sim, int device)
{
    return sim->world.devices[device].is.id;
}

static void draw_identity(struct sim *sim, int index)
{
    struct pm_device *is = &sim->world.devices[index].is;

    (void)pm_str_copy(is->id, sizeof(is->id), sim->world.has_uuids ? uuids[index] : names[index]);
    if (!sim->world.has_uuids)
        return; /* declared: by its name alone */
    (void)pm_str_copy(is->is_gpu.id, sizeof(is->is_gpu.id), is->id);
    is->is_gpu.index = (unsigned)index;
    is->is_gpu.slot = -1;
}

/* Eight layers of one size, and nothing else; far from what a device has, whatever is added to it. */
static void draw_models(struct sim *sim)
{
    static const uint64_t layers_mib[SIM_MODELS] = {256, 512, 1200, 6000};

    for (int i = 0; i < SIM_MODELS; i++) {
        struct pm_model *model = pm_model_new(8);

        for (size_t k = 0; k < model->n_layers; k++)
            model->layers[k].weights_bytes = layers_mib[i] << 20;
        model->context = 4096;
        sim->world.models[i] = model;
    }
}

void devices_clear(struct sim *sim)
{
    for (int i = 0; i < SIM_MODELS; i++) {
        pm_model_unref(sim->world.models[i]);
        sim->world.models[i] = NULL;
    }
}

static void draw_cpu(struct sim *sim)
{
    struct world_device *cpu = &sim->world.devices[SIM_CPU];
    struct sim_random random = {
        .state = sim_mix(sim->seed, SIM_CPU)}; /* all else is drawn as without it */

    memset(cpu, 0, sizeof(*cpu));
    sim->world.has_cpu = sim_one_in(&random, 2);
    cpu->memory = (struct world_event){.kind = WORLD_MEMORY, .index = SIM_CPU};
    (void)pm_str_copy(cpu->is.id, sizeof(cpu->is.id), PM_CPU_ID);
    cpu->is.total_bytes = SIM_PICK(&random, 10, 24, 24) * GIB;
    cpu->is.reserve_bytes = SIM_PICK(&random, 0, 1) * GIB;
}

void devices_draw(struct sim *sim)
{
    struct world *world = &sim->world;

    world->n_devices = (int)SIM_PICK(&sim->random, 0, 0, 1, 2);
    world->sees_memory = sim_one_in(&sim->random, 2);
    world->sees_processes = sim_one_in(&sim->random, 2);
    world->has_uuids = sim_one_in(&sim->random, 2);
    world->estimates_err = sim_one_in(&sim->random, 2);
    world->discovers = sim_one_in(&sim->random, 3);
    world->list = (struct world_event){.kind = WORLD_LIST};
    world->says_memory = sim_one_in(&sim->random, 2);
    draw_cpu(sim);
    if (sim_one_in(&sim->random, 2) && (world->n_devices > 0 || !world->has_cpu))
        draw_models(sim);
    for (int i = 0; i < world->n_devices; i++) {
        struct world_device *device = &world->devices[i];

        memset(device, 0, sizeof(*device));
        device->memory = (struct world_event){.kind = WORLD_MEMORY, .index = i};
        draw_identity(sim, i);
        device->is.total_bytes = SIM_PICK(&sim->random, 10, 24, 24) * GIB;
        device->is.reserve_bytes = SIM_PICK(&sim->random, 0, 1) * GIB;
    }
}

/* ---- masks ---------------------------------------------------------------------------------------------------------- */

static void set_mask(struct pm_pool_spec *spec, const char *text)
{
    free(spec->devices);
    spec->devices = pm_xstrdup(text);
    pm_mask_unref(spec->where);
    spec->where = NULL;
    if (strcmp(text, "cpu") != 0 && strcmp(text, "auto") != 0)
        (void)pm_mask_parse(text, strlen(text), &spec->where, NULL, NULL);
}

static void draw_mask(const struct sim *sim, struct pm_pool_spec *spec, unsigned set,
                      struct sim_random *random)
{
    const char *const *as = sim->world.has_uuids && sim_one_in(random, 2) ? uuids : names;
    char text[128];

    (void)snprintf(text, sizeof(text), "%s%s%s", set & 1 ? as[0] : "", set == 3 ? "," : "",
                   set & 2 ? as[1] : "");
    set_mask(spec, text);
}

/* Whether a mask means it, read in another way than core does. */
static bool names_device(const struct pm_pool_spec *spec, int device)
{
    return !spec->where || strstr(spec->devices, uuids[device]) ||
           (!strstr(spec->devices, "GPU-") && strstr(spec->devices, names[device]));
}

/* Bytes by an estimate: of which model is in the spec's digest. */
static void draw_model(const struct sim *sim, struct pm_pool_spec *spec, struct sim_random *random)
{
    bool both = sim->world.n_devices == 2 && names_device(spec, 0) && names_device(spec, 1);
    const char *split = (const char *[]){"none", "auto", "[0.5,0.5]"}[sim_below(random, 3)];

    if (!sim->world.models[0] || sim_one_in(random, 3) || strcmp(spec->devices, "cpu") == 0)
        return; /* on the CPU files are had in common, of which the books know nothing */
    spec->vram.each = 0;
    pm_device_sizes_fini(&spec->vram);
    spec->model.sha256 = pm_xasprintf("%d", (int)SIM_PICK(random, 0, 0, 1, 1, 2, 2, 3));
    free(spec->tensor_split);
    spec->tensor_split = pm_xstrdup(both || split[0] != '[' ? split : "auto");
}

static bool has_model(const struct pm_pool_spec *spec)
{
    return spec->model.sha256;
}

struct pm_model *devices_model(const struct sim *sim, const struct pm_pool_spec *spec)
{
    return has_model(spec) ? sim->world.models[atoi(spec->model.sha256)] : NULL;
}

bool devices_amend(const struct sim *sim)
{
    return sim->world.models[0] && sim->world.says_memory;
}

void devices_draw_spec(struct sim *sim, struct pm_pool_spec *spec, struct sim_random *random)
{
    uint64_t which = sim_below(random, 6);

    spec->vram.each = SIM_PICK(random, 0, 4, 10, 10, 14, 40) * GIB;
    spec->pinned = sim_one_in(random, 6);
    spec->evict_cost = SIM_PICK(random, 1, 1, 5);
    if (which == 0)
        set_mask(spec, "cpu");
    else if (which < 4 && sim->world.n_devices > 0)
        draw_mask(sim, spec, (unsigned)which, random);
    draw_model(sim, spec, random);
    if (has_model(spec) || which != 3 || sim->world.n_devices < 2 || sim_one_in(random, 2))
        return;
    spec->vram.each = 0; /* a map: all that it names */
    pm_device_sizes_add(&spec->vram, "1", SIM_PICK(random, 2, 10) * GIB);
    pm_device_sizes_add(&spec->vram, "0", SIM_PICK(random, 4, 10, 20) * GIB);
}

/* The same devices and the same room on them. */
void devices_keep(struct pm_pool_spec *spec, const struct pm_pool_spec *like)
{
    free(spec->model.sha256);
    spec->model.sha256 = has_model(like) ? pm_xstrdup(like->model.sha256) : NULL;
    free(spec->tensor_split);
    spec->tensor_split = pm_xstrdup(like->tensor_split);
    set_mask(spec, like->devices);
    pm_device_sizes_fini(&spec->vram);
    pm_device_sizes_copy(&spec->vram, &like->vram);
}

/* It runs on all of its devices, or not at all. */
static bool needs_all(const struct pm_pool_spec *spec)
{
    return spec->vram.devices.n > 0 || spec->tensor_split[0] == '[';
}

uint64_t devices_bytes(const struct pm_pool_spec *spec, int device)
{
    return spec->vram.devices.n > 0 ? pm_device_size(&spec->vram, names[device]) : spec->vram.each;
}

/* ---- the list ------------------------------------------------------------------------------------------------------- */

static uint64_t free_now(const struct sim *sim, int device);

/* Where somebody looks, what is free is told with the list, if it is not known. */
static void list(struct sim *sim)
{
    struct pm_device devices[SIM_DEVICES];

    for (int i = 0; i < sim->world.n_devices; i++) {
        devices[i] = sim->world.devices[i].is;
        devices[i].free_known = sim->world.sees_memory;
        devices[i].free_bytes = free_now(sim, i);
        devices[i].seen_ms = sim->now_ms;
        if (!sim->world.sees_memory || sim->books.devices[i].free_known)
            continue;
        sim->books.devices[i].free_known = true;
        sim->books.devices[i].free_bytes = devices[i].free_bytes;
        sim->books.devices[i].seen_ms = sim->now_ms;
    }
    sim->books.listed = true;
    pm_core_devices(sim->core, devices, (size_t)sim->world.n_devices, sim->now_ms, &sim->out);
}

/* Looking has ended. */
void devices_found(struct sim *sim)
{
    if (sim->books.listed)
        return;
    sim_input(sim, SIM_NOBODY, "the devices are found: %d", sim->world.n_devices);
    list(sim);
    sim_taken(sim);
}

static void show_cpu(struct sim *sim)
{
    struct pm_device cpu = sim->world.devices[SIM_CPU].is;

    if (!sim->world.has_cpu)
        return;
    cpu.free_known = sim->books.devices[SIM_CPU].free_known = sim->world.sees_memory;
    cpu.free_bytes = sim->books.devices[SIM_CPU].free_bytes = free_now(sim, SIM_CPU);
    cpu.seen_ms = sim->books.devices[SIM_CPU].seen_ms = sim->now_ms;
    pm_core_cpu(sim->core, &cpu, sim->now_ms, &sim->out);
}

/* A new daemon looks for the first time. */
void devices_show(struct sim *sim)
{
    bool no_gpu = sim->world.n_devices == 0 && sim->world.has_uuids;

    for (int i = 0; i < SIM_ALL; i++) {
        sim->books.devices[i].state = sim->world.devices[i].is.state;
        sim->books.devices[i].free_known = false;
        sim->world.devices[i].looks = false;
    }
    show_cpu(sim);
    sim->books.listed = sim->books.no_gpu = false;
    if (no_gpu) {
        sim->books.no_gpu = true;
        pm_core_gpus(sim->core, PM_GPUS_NONE, NULL, sim->now_ms, &sim->out);
    }
    if (sim->world.discovers)
        world_schedule(sim, &sim->world.list, sim->now_ms + SIM_PICK(&sim->random, 0, 100, 3000));
    else if (sim->world.n_devices > 0 || no_gpu)
        list(sim);
    else
        sim->books.listed = true;
}

/* ---- who may use what ----------------------------------------------------------------------------------------------- */

bool devices_needed(const struct sim *sim, const struct pm_pool_spec *spec)
{
    if (devices_on_cpu(sim, spec))
        return sim->world.has_cpu && spec->vram.each > 0;
    return sim->world.n_devices > 0 || (sim->world.discovers && !sim->books.listed);
}

/* It is asked for, or there is nothing else. */
bool devices_on_cpu(const struct sim *sim, const struct pm_pool_spec *spec)
{
    return strcmp(spec->devices, "cpu") == 0 || (sim->books.no_gpu && sim->books.listed);
}

bool devices_may_use(const struct sim *sim, const struct pm_pool_spec *spec, int device)
{
    if (device == SIM_CPU || devices_on_cpu(sim, spec))
        return device == SIM_CPU && devices_on_cpu(sim, spec) && devices_needed(sim, spec);
    return device < sim->world.n_devices && devices_needed(sim, spec) && names_device(spec, device);
}

static uint64_t capacity(const struct sim *sim, int device)
{
    const struct pm_device *is = &sim->world.devices[device].is;

    return is->total_bytes - is->reserve_bytes;
}

/* It asks for a device that nobody ever saw: MASK-1's not_found. */
static bool is_unknown(const struct sim *sim, const struct pm_pool_spec *spec)
{
    for (int i = sim->world.n_devices; spec->where && i < SIM_DEVICES; i++) {
        if (names_device(spec, i))
            return true;
    }
    return false;
}

/* On none of its ways even if it were alone. */
bool devices_never_fit(const struct sim *sim, const struct pm_pool_spec *spec)
{
    bool one_fits = false, all_fit = true;

    if (devices_on_cpu(sim, spec))
        return devices_needed(sim, spec) && spec->vram.each > capacity(sim, SIM_CPU);
    if (has_model(spec) && !is_unknown(sim, spec))
        return false; /* what it takes is not known here */

    if (!devices_needed(sim, spec) || !sim->books.listed)
        return false;
    if (is_unknown(sim, spec))
        return true;
    for (int i = 0; i < sim->world.n_devices; i++) {
        bool fits = devices_bytes(spec, i) <= capacity(sim, i);

        one_fits = one_fits || (fits && names_device(spec, i));
        all_fit = all_fit && (fits || !names_device(spec, i));
    }
    return needs_all(spec) ? !all_fit : !one_fits;
}

/* No device that it may use works. */
bool devices_lost(const struct sim *sim, const struct pm_pool_spec *spec)
{
    bool one_works = false, all_work = true;

    if (devices_on_cpu(sim, spec))
        return false;
    if (!devices_needed(sim, spec) || !sim->books.listed || is_unknown(sim, spec))
        return false;
    for (int i = 0; i < sim->world.n_devices; i++) {
        bool works = sim->books.devices[i].state == PM_DEVICE_OK;

        one_works = one_works || (works && names_device(spec, i));
        all_work = all_work && (works || !names_device(spec, i));
    }
    return needs_all(spec) ? !all_work : !one_works;
}

int device_of(const struct sim *sim, const char *id)
{
    for (int i = 0; i < SIM_ALL; i++) {
        if (is_there(sim, i) && strcmp(sim->world.devices[i].is.id, id) == 0)
            return i;
    }
    return SIM_NOBODY;
}

static bool uses(const struct book_engine *engine, int device)
{
    return engine->uses & (1U << device);
}

/* What its engine runs on is lost, or must be reset. */
bool devices_fail_under(const struct sim *sim, const struct book_engine *engine)
{
    for (int i = 0; i < sim->world.n_devices; i++) {
        enum pm_device_state state = sim->books.devices[i].state;

        if (uses(engine, i) && (state == PM_DEVICE_LOST || state == PM_DEVICE_RESET_REQUIRED))
            return true;
    }
    return false;
}

/* The least that its engine takes of all its devices. */
static uint64_t least_bytes(const struct sim *sim, const struct pm_pool_spec *spec)
{
    const struct pm_model *model = devices_model(sim, spec);

    return model ? model->n_layers * model->layers[0].weights_bytes : 0;
}

/* A start by an estimate ended because it never fits. */
void devices_refused(struct sim *sim, int pool)
{
    const struct pm_pool_spec *spec = sim->books.pools[pool].spec;
    uint64_t bytes = least_bytes(sim, spec), has = 0, most = 0;

    for (int i = 0; i < sim->world.n_devices; i++) {
        uint64_t there = names_device(spec, i) ? capacity(sim, i) : 0;

        most = there > most ? there : most;
        has += there;
    }
    HOLDS(sim, 10, pool, "what never fits is larger than what it may use, or nearly so",
          2 * bytes + 2 * GIB > (strcmp(spec->tensor_split, "auto") == 0 ? has : most) ||
              needs_all(spec),
          "%" PRIu64 " of %" PRIu64, bytes, has);
    sim->books.pools[pool].failed = sim->books.pools[pool].failed_in_step = true;
}

/* ---- charges -------------------------------------------------------------------------------------------------------- */

void devices_charge(struct sim *sim, struct book_engine *engine, const struct pm_plan *plan)
{
    for (size_t i = 0; plan && i < plan->n_devices; i++) {
        int device = device_of(sim, plan->devices[i].id);

        if (device == SIM_NOBODY)
            continue;
        engine->uses |= 1U << device;
        engine->estimated = device != SIM_CPU && has_model(engine->spec);
        engine->charged[device] = engine->pending[device] = plan->devices[i].bytes;
        sim->books.devices[device].charged += plan->devices[i].bytes;
        sim->books.devices[device].pending += plan->devices[i].bytes;
    }
    devices_changed(sim, engine);
}

void devices_changed(struct sim *sim, const struct book_engine *engine)
{
    for (int i = 0; i < SIM_ALL; i++) {
        if (uses(engine, i))
            sim->books.devices[i].changed_ms = sim->now_ms;
    }
}

void devices_release(struct sim *sim, struct book_engine *engine)
{
    devices_changed(sim, engine);
    for (int i = 0; i < SIM_ALL; i++) {
        sim->books.devices[i].charged -= engine->charged[i];
        sim->books.devices[i].pending -= engine->pending[i];
        engine->charged[i] = engine->pending[i] = 0;
    }
}

static void set_pending(struct sim *sim, struct book_engine *engine, int device, uint64_t bytes)
{
    sim->books.devices[device].pending += bytes - engine->pending[device];
    engine->pending[device] = bytes;
}

static void amend(struct sim *sim, int index, int device, uint64_t bytes)
{
    struct book_engine *engine = &sim->books.engines[index];
    uint64_t used = engine->charged[device] - engine->pending[device];

    HOLDS(sim, 10, engine->pool, "a charge changes only while its engine is ready", engine->ready,
          "%s", sim_engine_name(sim, index));
    sim->books.devices[device].charged += bytes - engine->charged[device];
    engine->charged[device] = bytes;
    set_pending(sim, engine, device, bytes > used ? bytes - used : 0);
}

static bool is_shown(const struct sim *sim, const struct book_engine *engine)
{
    struct pm_replica_view replica;

    return pm_core_replica(sim->core, engine->spec->id, engine->replica, &replica) &&
           replica.token.serial == engine->token.serial;
}

static void look_at_charge(struct sim *sim, int index)
{
    const struct book_engine *engine = &sim->books.engines[index];
    struct pm_replica_device view;

    for (size_t k = 0;
         pm_core_replica_device(sim->core, engine->spec->id, engine->replica, k, &view); k++) {
        int device = device_of(sim, view.id);

        if (view.planned_bytes != engine->charged[device])
            amend(sim, index, device, view.planned_bytes);
    }
}

/* One that no replica shows, since a reload is under way: by what is charged to its device. */
static void look_at_hidden(struct sim *sim, int index)
{
    const struct book_engine *engine = &sim->books.engines[index];
    struct pm_device_view view;

    for (int i = 0; i < sim->world.n_devices; i++) {
        uint64_t charged = sim->books.devices[i].charged;

        if ((engine->uses & (1U << i)) && devices_view(sim, i, &view) &&
            view.planned_bytes != charged)
            amend(sim, index, i, engine->charged[i] + view.planned_bytes - charged);
    }
}

/* What engines said is charged in place of what was estimated. */
void devices_look(struct sim *sim)
{
    for (int hidden = 0; hidden < 2 && devices_amend(sim); hidden++) {
        for (int i = 0; i < sim->books.n_live; i++) {
            int index = sim->books.live[i];
            const struct book_engine *engine = &sim->books.engines[index];

            if (!engine->estimated || engine->forgotten || engine->token.serial == 0)
                continue;
            if (!hidden && is_shown(sim, engine))
                look_at_charge(sim, index);
            else if (hidden && engine->ready && !is_shown(sim, engine))
                look_at_hidden(sim, index);
        }
    }
}

/* What may be granted there, from what was told alone (VRAM-1). */
uint64_t devices_left(const struct sim *sim, int device)
{
    const struct book_device *there = &sim->books.devices[device];
    uint64_t has = capacity(sim, device), reserve = sim->world.devices[device].is.reserve_bytes;
    uint64_t left = has > there->charged ? has - there->charged : 0;
    uint64_t taken = reserve + there->pending;

    if (!there->free_known)
        return left;
    if (there->free_bytes < taken)
        return 0;
    return there->free_bytes - taken < left ? there->free_bytes - taken : left;
}

/* Others than our charges are in the way. */
bool devices_foreign(const struct sim *sim, int device)
{
    uint64_t has = capacity(sim, device), charged = sim->books.devices[device].charged;

    return devices_left(sim, device) < (has > charged ? has - charged : 0);
}

/* ---- what is told about them ------------------------------------------------------------------------------------------ */

static uint64_t uses_now(const struct sim *sim, int index, int device)
{
    const struct world_engine *engine = &sim->world.engines[index];

    if (sim->now_ms >= engine->memory_until_ms)
        return 0;
    return engine->loaded || engine->has_all ? engine->memory[device] : engine->memory[device] / 2;
}

static uint64_t in_use(const struct sim *sim, int device)
{
    uint64_t sum = sim->world.devices[device].leaked_bytes;

    for (int i = 0; i < sim->world.n_engines; i++)
        sum += sim->world.engines[i].memory[device] > 0 ? uses_now(sim, i, device) : 0;
    return sum + sim->world.devices[device].foreign_bytes;
}

static uint64_t free_now(const struct sim *sim, int device)
{
    uint64_t used = in_use(sim, device), total = sim->world.devices[device].is.total_bytes;

    return used < total ? total - used : 0;
}

/* Its memory comes back a while after its end. */
void devices_engine_ends(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];
    uint64_t after_ms = SIM_PICK(&sim->random, 0, 0, 300, 2500, 30000);

    if (engine->memory[SIM_CPU] > 0)
        after_ms = 0; /* the kernel has it back */
    engine->memory_until_ms = sim->now_ms + after_ms;
    for (int i = 0; i < SIM_ALL; i++) {
        if (engine->memory[i] == 0)
            continue;
        if (i != SIM_CPU && sim_one_in(&sim->random, 30))
            sim->world.devices[i].leaked_bytes += engine->memory[i];
        if (sim->world.sees_memory)
            world_schedule(sim, &sim->world.devices[i].memory, sim->now_ms + 200);
    }
}

/* It takes what was planned, or more, or less. */
void devices_engine_begins(struct sim *sim, int index)
{
    uint64_t percent =
        sim->world.estimates_err ? SIM_PICK(&sim->random, 60, 95, 100, 105, 130) : 100;

    for (int i = 0; i < SIM_ALL; i++)
        sim->world.engines[index].memory[i] = sim->books.engines[index].charged[i] / 100 * percent;
    sim->world.engines[index].memory_until_ms = PM_NEVER;
    if (sim->world.sees_memory && sim->world.engines[index].memory[SIM_CPU] > 0)
        world_schedule(sim, &sim->world.devices[SIM_CPU].memory, sim->now_ms + 200);
}

static bool is_watched(const struct sim *sim, int device)
{
    EACH_POOL (sim, i) {
        EACH_REPLICA (&sim->books.pools[i], k) {
            const struct book_replica *replica = &sim->books.pools[i].replicas[k];

            if (replica->engine != SIM_NOBODY && replica->view.state == PM_STOPPING &&
                uses(&sim->books.engines[replica->engine], device))
                return true;
        }
    }
    return false;
}

static bool is_known(const struct sim *sim, const struct book_engine *engine, int device)
{
    return engine->token.serial != 0 && uses(engine, device) && !engine->forgotten;
}

/* Who uses it, as far as they are listed; and what was ready before has loaded all. */
static void tell_users(struct sim *sim, int device)
{
    const char *id = id_of(sim, device);

    for (int i = 0; i < sim->world.n_engines; i++) {
        struct book_engine *engine = &sim->books.engines[i];
        uint64_t bytes = sim->world.engines[i].was_used[device];

        if (!is_known(sim, engine, device))
            continue;
        if (sim->world.sees_processes) {
            pm_core_device_seen(sim->core, engine->token, id, bytes,
                                sim->world.devices[device].began_ms, sim->now_ms, &sim->out);
            set_pending(sim, engine, device,
                        engine->charged[device] > bytes ? engine->charged[device] - bytes : 0);
        } else if (engine->ready && engine->ready_ms <= sim->world.devices[device].began_ms) {
            set_pending(sim, engine, device, 0);
        }
    }
    if (sim->world.sees_processes)
        pm_core_device_foreign(sim->core, id, sim->world.devices[device].foreign_bytes, sim->now_ms,
                               &sim->out);
}

/* An engine says what it allocated: more or less than was estimated. */
void devices_measured(struct sim *sim, int index)
{
    const struct book_engine *engine = &sim->books.engines[index];
    uint64_t compute = SIM_PICK(&sim->random, 10, 70, 300) << 20;

    if (!devices_amend(sim) || !engine->estimated || engine->token.serial == 0 || engine->forgotten)
        return;
    for (int i = 0; i < sim->world.n_devices; i++) {
        if (!uses(engine, i))
            continue;
        sim_input(sim, engine->pool, "%s says what it takes of %s", sim_engine_name(sim, index),
                  id_of(sim, i));
        pm_core_measured(sim->core, engine->token, id_of(sim, i), PM_MEMORY_COMPUTE, compute,
                         sim->now_ms, &sim->out);
        sim_taken(sim);
    }
}

static void begin_look(struct sim *sim, int index)
{
    struct world_device *device = &sim->world.devices[index];

    device->looks = true;
    device->again = false;
    device->began_ms = sim->now_ms;
    device->was_free_bytes = free_now(sim, index);
    for (int i = 0; i < sim->world.n_engines; i++)
        sim->world.engines[i].was_used[index] = uses_now(sim, i, index);
}

static void tell_look(struct sim *sim, int index)
{
    struct world_device *device = &sim->world.devices[index];

    sim_input(sim, SIM_NOBODY, "device %s had %" PRIu64 " MiB free %" PRIu64 " ms ago",
              device->is.id, device->was_free_bytes >> 20, sim->now_ms - device->began_ms);
    pm_core_tick(sim->core, sim->now_ms, &sim->out);
    tell_users(sim, index);
    sim->books.devices[index].free_known = true;
    sim->books.devices[index].free_bytes = device->was_free_bytes;
    sim->books.devices[index].seen_ms = device->began_ms;
    pm_core_device_free(sim->core, device->is.id, device->was_free_bytes,
                        !sim_one_in(&sim->random, 5), device->began_ms, sim->now_ms, &sim->out);
    sim_taken(sim);
}

/* Somebody looks at its memory: while an engine there ends every half second, else now and then. What it shows is told a
 * while later. */
void devices_memory(struct sim *sim, int index)
{
    struct world_device *device = &sim->world.devices[index];
    uint64_t lag_ms = SIM_PICK(&sim->random, 0, 0, 0, 20, 700);

    if (!device->looks) {
        begin_look(sim, index);
        world_schedule(sim, &device->memory, sim->now_ms + lag_ms);
        if (lag_ms > 0)
            return;
    }
    device->looks = false;
    world_schedule(sim, &device->memory,
                   sim->now_ms + (device->again            ? 1
                                  : is_watched(sim, index) ? 500
                                                           : 60000));
    if (sim->books.listed || index == SIM_CPU)
        tell_look(sim, index);
}

/* Of some drivers nobody gets an answer. */
void devices_asked(struct sim *sim)
{
    for (int i = 0; i < SIM_ALL; i++) {
        struct world_device *device = &sim->world.devices[i];

        if (!is_there(sim, i) || !sim->world.sees_memory || sim_one_in(&sim->random, 8))
            continue;
        device->again = device->looks;
        if (!device->looks)
            world_schedule(sim, &device->memory, sim->now_ms + SIM_PICK(&sim->random, 0, 1, 30));
    }
}

/* It is found again, or was reset: what failed there may be tried again. */
static void comes_back(struct sim *sim, int device)
{
    EACH_POOL (sim, i) {
        if (devices_may_use(sim, sim->books.pools[i].spec, device) &&
            !is_unknown(sim, sim->books.pools[i].spec))
            books_reset(sim, i);
    }
}

static void set_state(struct sim *sim, int index, enum pm_device_state state)
{
    enum pm_device_state before = sim->books.devices[index].state;

    sim->world.devices[index].is.state = sim->books.devices[index].state = state;
    if (state != PM_DEVICE_OK || before == PM_DEVICE_OK)
        return;
    sim->books.devices[index].free_known = false; /* of before its end */
    if (before != PM_DEVICE_UNKNOWN) {
        sim->world.devices[index].leaked_bytes = 0;
        comes_back(sim, index);
    }
}

static void state_changes(struct sim *sim)
{
    int index = (int)sim_below(&sim->random, (uint64_t)sim->world.n_devices);
    enum pm_device_state state =
        sim->books.devices[index].state == PM_DEVICE_OK
            ? (enum pm_device_state)SIM_PICK(&sim->random, PM_DEVICE_UNKNOWN, PM_DEVICE_DENIED,
                                             PM_DEVICE_MISMATCH, PM_DEVICE_BLOCKED,
                                             PM_DEVICE_RESET_REQUIRED, PM_DEVICE_LOST)
            : PM_DEVICE_OK;

    sim_input(sim, SIM_NOBODY, "device %s is %s", id_of(sim, index), pm_device_state_name(state));
    set_state(sim, index, state);
    list(sim);
    sim_taken(sim);
}

static void is_cleared(struct sim *sim)
{
    int index = (int)sim_below(&sim->random, (uint64_t)sim->world.n_devices);
    struct poolmgr_error err = {0};

    sim_input(sim, SIM_NOBODY, "an operator clears device %s", id_of(sim, index));
    (void)pm_core_device_clear(sim->core, id_of(sim, index), sim->now_ms, &sim->out, &err);
    sim_taken(sim);
}

static int some_ready_engine(struct sim *sim)
{
    uint64_t n = sim->world.n_engines < 8 ? (uint64_t)sim->world.n_engines : 8;

    for (int i = 0; n > 0 && i < 6; i++) {
        int index = sim->world.n_engines - 1 - (int)sim_below(&sim->random, n);
        const struct book_engine *engine = &sim->books.engines[index];

        if (engine->ready && !engine->signalled && !engine->exited && engine->token.serial != 0)
            return index;
    }
    return SIM_NOBODY;
}

/* ---- driver errors (SUP-8) ------------------------------------------------------------------------------------------- */

static bool runs_there(const struct sim *sim, int index, int device)
{
    const struct book_engine *engine = &sim->books.engines[index];

    return is_known(sim, engine, device) && !engine->signalled && !engine->exited;
}

static int only_one_there(const struct sim *sim, int device)
{
    int found = SIM_NOBODY;

    for (int i = 0; i < sim->world.n_engines; i++) {
        if (!runs_there(sim, i, device))
            continue;
        if (found != SIM_NOBODY)
            return SIM_NOBODY;
        found = i;
    }
    return found;
}

/* Who of them dies soon died of it. */
static void book_watched(struct sim *sim, int device)
{
    for (int i = 0; i < sim->world.n_engines; i++) {
        if (runs_there(sim, i, device))
            sim->books.engines[i].watched_ms = sim->now_ms;
    }
}

static void book_blamed(struct sim *sim, int index, int device)
{
    if (index == SIM_NOBODY)
        book_watched(sim, device);
    else if (sim->books.engines[index].ready)
        books_doomed(sim, index);
    else
        sim->books.engines[index].watched_ms = sim->now_ms;
}

static void driver_error(struct sim *sim, enum pm_xid_action action, bool known, bool names_one)
{
    int index = some_ready_engine(sim), device = 0;
    struct pm_token token = {0};

    if (index == SIM_NOBODY || !sim->books.listed)
        return;
    while (device < sim->world.n_devices - 1 && !uses(&sim->books.engines[index], device))
        device++;
    if (names_one)
        token = sim->books.engines[index].token;
    if (token.serial == 0 || !runs_there(sim, index, device))
        index = only_one_there(sim, device);
    sim_input(sim, SIM_NOBODY, "the driver reports an error of device %s, action %d, of %s",
              id_of(sim, device), (int)action, index < 0 ? "nobody" : sim_engine_name(sim, index));
    pm_core_tick(sim->core, sim->now_ms, &sim->out);
    if (action == PM_XID_APP)
        book_blamed(sim, index, device);
    if (action == PM_XID_NOTE && !known)
        book_watched(sim, device);
    if (action == PM_XID_RESET || action == PM_XID_LOST)
        set_state(sim, device, action == PM_XID_LOST ? PM_DEVICE_LOST : PM_DEVICE_RESET_REQUIRED);
    pm_core_xid(sim->core, id_of(sim, device), 31, action, known, token, sim->now_ms, &sim->out);
    sim_taken(sim);
}

/* ---- trouble ----------------------------------------------------------------------------------------------------------- */

/* Somebody else's process takes memory there, or ends. */
static void neighbour(struct sim *sim)
{
    int index = (int)sim_below(&sim->random, (uint64_t)sim->world.n_devices);

    sim->world.devices[index].foreign_bytes = SIM_PICK(&sim->random, 0, 0, 3, 8, 15) * GIB;
    if (sim->world.sees_memory)
        devices_memory(sim, index);
}

void devices_trouble(struct sim *sim)
{
    if (sim->world.n_devices == 0 || !sim->books.listed)
        return;
    switch (sim_below(&sim->random, 7)) {
    case 0:
    case 1: state_changes(sim); break;
    case 2: is_cleared(sim); break;
    case 3:
        driver_error(sim,
                     (enum pm_xid_action)SIM_PICK(&sim->random, PM_XID_NOTE, PM_XID_APP,
                                                  PM_XID_RESET, PM_XID_LOST),
                     sim_one_in(&sim->random, 2), sim_one_in(&sim->random, 2));
        break;
    case 4: neighbour(sim); break;
    default: /* it is the device, though nobody says so */
        for (int i = 0; i < 4 && !sim->broken; i++)
            driver_error(sim, PM_XID_APP, true, true);
        break;
    }
}
