/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: what they have, who was charged what of them, and what goes wrong with them. A world has none, one or two.
 * In some, somebody tells how much memory is free; it comes back late, or not at all.
 */
#include <stdlib.h>
#include <string.h>

#include "invariants.h"
#include "util/str.h"

#define GIB (UINT64_C(1) << 30)

static const char *const ids[SIM_DEVICES] = {"0", "1"};

void devices_draw(struct sim *sim)
{
    struct world *world = &sim->world;

    world->n_devices = (int)SIM_PICK(&sim->random, 0, 0, 1, 2);
    world->sees_memory = sim_one_in(&sim->random, 2);
    for (int i = 0; i < world->n_devices; i++) {
        struct world_device *device = &world->devices[i];

        memset(device, 0, sizeof(*device));
        device->memory = (struct world_event){.kind = WORLD_MEMORY, .index = i};
        (void)pm_str_copy(device->is.id, sizeof(device->is.id), ids[i]);
        device->is.total_bytes = SIM_PICK(&sim->random, 10, 24, 24) * GIB;
        device->is.reserve_bytes = SIM_PICK(&sim->random, 0, 1) * GIB;
    }
}

static void set_text(char **text, const char *to)
{
    free(*text);
    *text = pm_xstrdup(to);
}

void devices_draw_spec(struct sim *sim, struct pm_pool_spec *spec, struct sim_random *random)
{
    uint64_t which = sim_below(random, 6);

    spec->vram.each = SIM_PICK(random, 0, 4, 10, 10, 14, 40) * GIB;
    spec->pinned = sim_one_in(random, 6);
    spec->evict_cost = SIM_PICK(random, 1, 1, 5);
    if (which == 0) {
        set_text(&spec->devices, "cpu");
    } else if (which < 4 && sim->world.n_devices > 0) {
        set_text(&spec->devices, which == 3 ? "0,1" : ids[which - 1]);
        if (which != 2)
            pm_strv_add(&spec->mask, "0");
        if (which != 1)
            pm_strv_add(&spec->mask, "1");
    }
}

/* The same devices and the same room on them. */
void devices_keep(struct pm_pool_spec *spec, const struct pm_pool_spec *like)
{
    set_text(&spec->devices, like->devices);
    pm_strv_fini(&spec->mask);
    pm_strv_copy(&spec->mask, &like->mask);
    spec->vram.each = like->vram.each;
}

static void list(struct sim *sim)
{
    struct pm_device devices[SIM_DEVICES];

    for (int i = 0; i < sim->world.n_devices; i++)
        devices[i] = sim->world.devices[i].is;
    pm_core_devices(sim->core, devices, (size_t)sim->world.n_devices, sim->now_ms, &sim->out);
}

/* A new daemon looks for the first time. */
void devices_show(struct sim *sim)
{
    for (int i = 0; i < sim->world.n_devices; i++)
        sim->books.devices[i].state = sim->world.devices[i].is.state;
    if (sim->world.n_devices > 0)
        list(sim);
}

/* ---- who may use what ----------------------------------------------------------------------------------------------- */

bool devices_needed(const struct sim *sim, const struct pm_pool_spec *spec)
{
    return sim->world.n_devices > 0 && strcmp(spec->devices, "cpu") != 0;
}

static bool may_use(const struct sim *sim, const struct pm_pool_spec *spec, int device)
{
    return devices_needed(sim, spec) &&
           (spec->mask.n == 0 || pm_strv_contains(&spec->mask, ids[device]));
}

static uint64_t capacity(const struct sim *sim, int device)
{
    const struct pm_device *is = &sim->world.devices[device].is;

    return is->total_bytes - is->reserve_bytes;
}

/* It asks for a device that nobody ever saw. */
static bool is_unknown(const struct sim *sim, const struct pm_pool_spec *spec)
{
    for (size_t i = 0; i < spec->mask.n; i++) {
        if (atoi(spec->mask.items[i]) >= sim->world.n_devices)
            return true;
    }
    return false;
}

/* On none of its ways even if it were alone. */
bool devices_never_fit(const struct sim *sim, const struct pm_pool_spec *spec)
{
    bool one_fits = false, all_fit = true;

    if (!devices_needed(sim, spec))
        return false;
    if (is_unknown(sim, spec))
        return false; /* that is no matter of size */
    for (int i = 0; i < sim->world.n_devices; i++) {
        bool fits = spec->vram.each <= capacity(sim, i);

        one_fits = one_fits || fits;
        all_fit = all_fit && (fits || !may_use(sim, spec, i));
    }
    return spec->mask.n > 0 ? !all_fit : !one_fits;
}

/* No device that it may use works. */
bool devices_lost(const struct sim *sim, const struct pm_pool_spec *spec)
{
    bool one_works = false, all_work = true;

    if (!devices_needed(sim, spec))
        return false;
    if (is_unknown(sim, spec))
        return true;
    for (int i = 0; i < sim->world.n_devices; i++) {
        bool works = sim->books.devices[i].state == PM_DEVICE_OK;

        one_works = one_works || works;
        all_work = all_work && (works || !may_use(sim, spec, i));
    }
    return spec->mask.n > 0 ? !all_work : !one_works;
}

int device_of(const struct sim *sim, const char *id)
{
    for (int i = 0; i < sim->world.n_devices; i++) {
        if (strcmp(sim->world.devices[i].is.id, id) == 0)
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
    return engine->blamed;
}

/* ---- charges -------------------------------------------------------------------------------------------------------- */

void devices_charge(struct sim *sim, struct book_engine *engine, const struct pm_plan *plan)
{
    for (size_t i = 0; plan && i < plan->n_devices; i++) {
        int device = device_of(sim, plan->devices[i].id);

        if (device == SIM_NOBODY)
            continue;
        engine->uses |= 1U << device;
        engine->charged[device] = plan->devices[i].bytes;
        sim->books.devices[device].charged += plan->devices[i].bytes;
    }
}

void devices_release(struct sim *sim, struct book_engine *engine)
{
    for (int i = 0; i < sim->world.n_devices; i++) {
        sim->books.devices[i].charged -= engine->charged[i];
        engine->charged[i] = 0;
    }
}

/* ---- what is told about them ------------------------------------------------------------------------------------------ */

static uint64_t in_use(const struct sim *sim, int device)
{
    uint64_t sum = sim->world.devices[device].leaked_bytes;

    for (int i = 0; i < sim->world.n_engines; i++) {
        const struct world_engine *engine = &sim->world.engines[i];

        if (engine->memory[device] > 0 && sim->now_ms < engine->memory_until_ms)
            sum += engine->memory[device];
    }
    return sum;
}

/* Its memory comes back a while after its end. */
void devices_engine_ends(struct sim *sim, int index)
{
    struct world_engine *engine = &sim->world.engines[index];
    uint64_t after_ms = SIM_PICK(&sim->random, 0, 0, 300, 2500, 30000);

    engine->memory_until_ms = sim->now_ms + after_ms;
    for (int i = 0; i < sim->world.n_devices; i++) {
        if (engine->memory[i] == 0)
            continue;
        if (sim_one_in(&sim->random, 30))
            sim->world.devices[i].leaked_bytes += engine->memory[i];
        if (sim->world.sees_memory)
            world_schedule(sim, &sim->world.devices[i].memory, sim->now_ms + 200);
    }
}

void devices_engine_begins(struct sim *sim, int index)
{
    for (int i = 0; i < sim->world.n_devices; i++)
        sim->world.engines[index].memory[i] = sim->books.engines[index].charged[i];
    sim->world.engines[index].memory_until_ms = PM_NEVER;
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

/* Somebody looks at its memory: while an engine there ends every half second, else now and then. */
void devices_memory(struct sim *sim, int index)
{
    struct world_device *device = &sim->world.devices[index];
    uint64_t used = in_use(sim, index), total = device->is.total_bytes;
    uint64_t free_bytes = used < total ? total - used : 0;

    world_schedule(sim, &device->memory, sim->now_ms + (is_watched(sim, index) ? 500 : 60000));
    sim_input(sim, SIM_NOBODY, "device %s has %" PRIu64 " MiB free", device->is.id,
              free_bytes >> 20);
    pm_core_device_free(sim->core, device->is.id, free_bytes, !sim_one_in(&sim->random, 5),
                        sim->now_ms, &sim->out);
    sim_taken(sim);
}

/* It is found again, or was reset: what failed there may be tried again. */
static void comes_back(struct sim *sim, int device)
{
    EACH_POOL (sim, i) {
        if (may_use(sim, sim->books.pools[i].spec, device) &&
            !is_unknown(sim, sim->books.pools[i].spec))
            books_reset(sim, i);
    }
}

static void set_state(struct sim *sim, int index, enum pm_device_state state)
{
    enum pm_device_state before = sim->books.devices[index].state;

    sim->world.devices[index].is.state = sim->books.devices[index].state = state;
    if (state == PM_DEVICE_OK && before != PM_DEVICE_OK) {
        sim->world.devices[index].leaked_bytes = 0;
        comes_back(sim, index);
    }
}

static void state_changes(struct sim *sim)
{
    int index = (int)sim_below(&sim->random, (uint64_t)sim->world.n_devices);
    enum pm_device_state state =
        sim->books.devices[index].state == PM_DEVICE_OK
            ? (enum pm_device_state)SIM_PICK(&sim->random, PM_DEVICE_DENIED, PM_DEVICE_MISMATCH,
                                             PM_DEVICE_BLOCKED, PM_DEVICE_RESET_REQUIRED,
                                             PM_DEVICE_LOST)
            : PM_DEVICE_OK;

    sim_input(sim, SIM_NOBODY, "device %s is %s", ids[index], pm_device_state_name(state));
    set_state(sim, index, state);
    list(sim);
    sim_taken(sim);
}

static void is_cleared(struct sim *sim)
{
    int index = (int)sim_below(&sim->random, (uint64_t)sim->world.n_devices);
    struct poolmgr_error err = {0};

    sim_input(sim, SIM_NOBODY, "an operator clears device %s", ids[index]);
    (void)pm_core_device_clear(sim->core, ids[index], sim->now_ms, &sim->out, &err);
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

/* The driver blames an engine (SUP-8). */
static void driver_error(struct sim *sim, enum pm_xid_action action)
{
    int index = some_ready_engine(sim), device = SIM_NOBODY, n = 0;
    struct book_engine *engine;

    if (index == SIM_NOBODY)
        return;
    engine = &sim->books.engines[index];
    for (int i = 0; i < sim->world.n_devices; i++) {
        if (uses(engine, i)) {
            device = i;
            n++;
        }
    }
    sim_input(sim, engine->pool, "the driver blames %s, action %d", sim_engine_name(sim, index),
              (int)action);
    if (action == PM_XID_APP)
        books_doomed(sim, index);
    if (action == PM_XID_RESET || action == PM_XID_LOST) {
        engine->blamed = true;
        if (n == 1)
            set_state(sim, device,
                      action == PM_XID_LOST ? PM_DEVICE_LOST : PM_DEVICE_RESET_REQUIRED);
    }
    pm_core_driver_error(sim->core, engine->token, 31, action, sim->now_ms, &sim->out);
    sim_taken(sim);
}

void devices_trouble(struct sim *sim)
{
    if (sim->world.n_devices == 0)
        return;
    switch (sim_below(&sim->random, 5)) {
    case 0:
    case 1: state_changes(sim); break;
    case 2: is_cleared(sim); break;
    case 3:
        driver_error(sim, (enum pm_xid_action)SIM_PICK(&sim->random, PM_XID_NOTE, PM_XID_APP,
                                                       PM_XID_RESET, PM_XID_LOST));
        break;
    default: /* it is the device, though nobody says so */
        for (int i = 0; i < 4 && !sim->broken; i++)
            driver_error(sim, PM_XID_APP);
        break;
    }
}
