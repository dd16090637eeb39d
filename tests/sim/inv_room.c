/* SPDX-License-Identifier: Apache-2.0 */
/* LOAD's devices, EVICT: what is charged, where something starts, who gives way for whom. */
#include <string.h>

#include "invariants.h"

static uint64_t capacity(const struct sim *sim, int device)
{
    const struct pm_device *is = &sim->world.devices[device].is;

    return is->total_bytes - is->reserve_bytes;
}

void inv10_at(struct sim *sim, const struct pm_action *action)
{
    int pool = book_pool_of(sim, action->spec);

    for (size_t i = 0; action->plan && i < action->plan->n_devices; i++) {
        int device = device_of(sim, action->plan->devices[i].id);
        uint64_t bytes = action->plan->devices[i].bytes;

        if (devices_amend(sim))
            continue; /* what was charged before this step may be less now: asked after it */
        HOLDS(sim, 10, pool, "no more is charged than there is, whenever room is granted",
              device != SIM_NOBODY &&
                  sim->books.devices[device].charged + bytes <= capacity(sim, device),
              "device %s: %" PRIu64 " and %" PRIu64, action->plan->devices[i].id,
              device < 0 ? 0 : sim->books.devices[device].charged, bytes);
        if (device != SIM_NOBODY)
            HOLDS(sim, 10, pool,
                  "nothing is granted that others use, or that is still to be loaded",
                  bytes <= devices_left(sim, device),
                  "device %s: %" PRIu64 " of %" PRIu64 " left (%" PRIu64 " free, %" PRIu64
                  " pending)",
                  action->plan->devices[i].id, bytes, devices_left(sim, device),
                  sim->books.devices[device].free_bytes, sim->books.devices[device].pending);
    }
}

static bool spawned_there(const struct sim *sim, int device)
{
    for (int i = 0; i < sim->books.n_live; i++) {
        const struct book_engine *engine = &sim->books.engines[sim->books.live[i]];

        if (engine->spawned_ms == sim->now_ms && !engine->adopted &&
            (engine->uses & (1U << device)))
            return true;
    }
    return false;
}

void inv10_after(struct sim *sim)
{
    struct pm_device_view view;

    devices_look(sim);
    for (int i = 0; i < SIM_ALL && devices_amend(sim); i++)
        HOLDS(sim, 10, SIM_NOBODY, "no more is charged than there is, where room was just granted",
              !spawned_there(sim, i) || sim->books.devices[i].charged <= capacity(sim, i),
              "device %d: %" PRIu64, i, sim->books.devices[i].charged);

    for (int i = 0; i < SIM_ALL; i++) {
        if (!devices_view(sim, i, &view))
            continue;
        HOLDS(sim, 10, SIM_NOBODY, "a charge ends once, when nothing is left of its engine",
              view.planned_bytes == sim->books.devices[i].charged,
              "device %s: %" PRIu64 " shown, %" PRIu64 " charged", view.is.id, view.planned_bytes,
              sim->books.devices[i].charged);
    }
}

static bool is_as_asked(const struct sim *sim, const struct pm_pool_spec *spec,
                        const struct pm_plan *plan)
{
    size_t n = 0;

    for (size_t i = 0; i < plan->n_devices; i++) {
        int device = device_of(sim, plan->devices[i].id);

        n += device != SIM_NOBODY && devices_may_use(sim, spec, device);
    }
    if (spec->tensor_split[0] == '[')
        return n == plan->n_devices && n == 2;
    if (strcmp(spec->tensor_split, "auto") == 0)
        return n == plan->n_devices && n > 0;
    return n == plan->n_devices && n == (spec->vram.devices.n > 0 ? spec->vram.devices.n : 1);
}

/* SPLIT-1: counts sum to all layers, and each device has what its layers take. */
static void look_at_split(struct sim *sim, int pool, const struct pm_plan *plan,
                          const struct pm_model *model)
{
    unsigned n = 0;

    for (size_t i = 0; i < plan->n_devices; i++) {
        uint64_t layers = plan->devices[i].n_layers;

        n += plan->devices[i].n_layers;
        HOLDS(sim, 11, pool, "a device of a plan is charged what its layers take at least",
              layers > 0 && plan->devices[i].bytes >= (layers - 1) * model->layers[0].weights_bytes,
              "%" PRIu64 " layers, %" PRIu64 " bytes", layers, plan->devices[i].bytes);
    }
    HOLDS(sim, 11, pool, "the layers of a plan are those of its model",
          n == plan->n_layers && n == model->n_layers + 1, "%u of %u", n, plan->n_layers);
}

/* Another start there that is no further. */
static int another_tries(const struct sim *sim, int device)
{
    EACH_POOL (sim, i) {
        EACH_REPLICA (&sim->books.pools[i], k) {
            int index = sim->books.pools[i].replicas[k].engine;
            const struct book_engine *engine = &sim->books.engines[index < 0 ? 0 : index];

            if (index != SIM_NOBODY && (engine->uses & (1U << device)) && !engine->ready &&
                index >= sim->books.devices[device].first_trial)
                return index;
        }
    }
    return SIM_NOBODY;
}

/* It was so before this step, and is so after it. */
static bool stays(const struct sim *sim, int device, enum pm_device_state state)
{
    struct pm_device_view view = {0};

    return sim->books.devices[device].view.is.state == state && devices_view(sim, device, &view) &&
           view.is.state == state;
}

void inv11_at(struct sim *sim, const struct pm_action *action)
{
    int pool = book_pool_of(sim, action->spec);
    const struct pm_pool_spec *spec = sim->books.pools[pool].spec;

    HOLDS(sim, 11, pool, "nothing that may need a device starts before they were looked for",
          sim->books.listed || devices_on_cpu(sim, spec), "%s", spec->devices);
    HOLDS(sim, 11, pool, "who needs a device has a plan with some, and nobody else",
          (action->plan && action->plan->n_devices > 0) == devices_needed(sim, spec), "%s",
          spec->devices);
    HOLDS(sim, 11, pool, "who runs on the CPU was asked to, or there is no GPU",
          (action->plan && action->plan->on_cpu) == devices_on_cpu(sim, spec), "%s", spec->devices);
    if (action->plan && action->plan->on_cpu && action->plan->n_devices > 0)
        HOLDS(sim, 11, pool, "who runs on the CPU has what was asked for there, and nothing else",
              action->plan->n_devices == 1 &&
                  device_of(sim, action->plan->devices[0].id) == SIM_CPU &&
                  action->plan->devices[0].bytes == spec->vram.each,
              "%" PRIu64, action->plan->devices[0].bytes);
    if (!action->plan || action->plan->on_cpu)
        return;
    HOLDS(sim, 11, pool, "a plan has devices of the mask: one, or all that have bytes of their own",
          is_as_asked(sim, spec, action->plan), "%s", spec->devices);
    if (devices_model(sim, spec) && book_is_pools(sim, pool, action->spec))
        look_at_split(sim, pool, action->plan, devices_model(sim, spec));
    for (size_t i = 0; i < action->plan->n_devices; i++) {
        int device = device_of(sim, action->plan->devices[i].id);
        const struct book_device *there = &sim->books.devices[device];

        if (!devices_model(sim, spec))
            HOLDS(sim, 11, pool, "a plan has the bytes that were asked for",
                  action->plan->devices[i].bytes == devices_bytes(spec, device), "%" PRIu64,
                  action->plan->devices[i].bytes);
        HOLDS(sim, 11, pool, "nothing starts on a device that does not work",
              there->state == PM_DEVICE_OK, "device %d is %s", device,
              pm_device_state_name(there->state));
        HOLDS(sim, 11, pool, "nothing starts on a suspect device",
              !stays(sim, device, PM_DEVICE_SUSPECT), "device %d", device);
        if (stays(sim, device, PM_DEVICE_QUARANTINED))
            HOLDS(sim, 11, pool, "after a quarantine one trial",
                  sim->now_ms >= there->view.until_ms && another_tries(sim, device) == SIM_NOBODY,
                  "device %d, engine %d", device, another_tries(sim, device));
    }
}

/* ---- EVICT ---------------------------------------------------------------------------------------------------------- */

/* Another pool's start that waits for room since then; PM_NEVER: none does. */
static uint64_t oldest_claim(const struct sim *sim, int but)
{
    uint64_t oldest_ms = PM_NEVER;

    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            if (i != but && pool->replicas[k].view.state == PM_WAITING &&
                (pool->n_waiting > 0 || pool->n_running[PM_OP_START] > 0) &&
                pool->replicas[k].waiting_since_ms < oldest_ms)
                oldest_ms = pool->replicas[k].waiting_since_ms;
        }
    }
    return oldest_ms;
}

static bool just_asks(const struct sim *sim, int but)
{
    EACH_POOL (sim, i) {
        if (i != but && (sim->books.pools[i].n_waiting > 0 || sim->books.pools[i].reloaded ||
                         sim->books.pools[i].n_running[PM_OP_START] > 0))
            return true;
    }
    return false;
}

static void look_at_claim(struct sim *sim, int index, const struct book_replica *replica)
{
    uint64_t claim_ms = oldest_claim(sim, index);

    HOLDS(sim, 21, index, "a busy victim was ready for min_residency, its claimant old",
          sim->now_ms - sim->books.engines[replica->engine].ready_ms >= SIM_MIN_RESIDENCY_MS &&
              ((claim_ms != PM_NEVER && sim->now_ms - claim_ms >= SIM_MAX_WAIT_MS) ||
               book_any_reloaded(sim, SIM_SETS - 1)), /* or for a reload's sake */
          "ready for %" PRIu64 " ms", sim->now_ms - sim->books.engines[replica->engine].ready_ms);
}

/* Before this step, and after it. */
static bool is_pinned(const struct sim *sim, const struct book_pool *pool)
{
    struct pm_pool_view view;

    return pool->spec->pinned &&
           (!pm_core_pool(sim->core, pool->spec->id, sim->now_ms, &view) || view.spec->pinned);
}

/* Nothing changed on some device of it since that was looked at, and a moment ago at most. */
static bool is_seen(const struct sim *sim, const struct book_engine *engine)
{
    for (int i = 0; i < SIM_ALL; i++) {
        const struct book_device *device = &sim->books.devices[i];

        if ((engine->uses & (1U << i)) &&
            (!device->free_known || (device->seen_ms >= device->changed_ms &&
                                     sim->now_ms <= device->seen_ms + SIM_LOOK_OLD_MS)))
            return true;
    }
    return false;
}

static void look_at_look(struct sim *sim, int index, const struct book_replica *replica)
{
    uint64_t claim_ms = oldest_claim(sim, index);

    HOLDS(sim, 21, index, "nobody is asked for what was seen before it changed, but after a wait",
          is_seen(sim, &sim->books.engines[replica->engine]) ||
              (claim_ms != PM_NEVER && sim->now_ms >= claim_ms + SIM_LOOK_WAIT_MS) ||
              book_any_reloaded(sim, SIM_SETS - 1),
          "%s", sim_engine_name(sim, replica->engine));
}

/* Told before the gate of a busy one is closed, and before the first signal of each. */
void inv21_at(struct sim *sim, const struct pm_action *action)
{
    int index = book_pool_by_id(sim, action->event->pool_id);
    struct book_pool *pool = &sim->books.pools[index < 0 ? 0 : index];
    struct book_replica *replica = &pool->replicas[action->event->replica_id];

    if (action->event->kind == PM_EV_EVICT_CLAIMED) {
        look_at_claim(sim, index, replica);
        look_at_look(sim, index, replica);
        replica->is_claimed = true;
    }
    if (action->event->kind == PM_EV_EVICT_CALLED_OFF)
        replica->is_claimed = false;
    if (action->event->kind != PM_EV_EVICTED)
        return;
    HOLDS(sim, 21, index, "a victim was not pinned", !is_pinned(sim, pool), "%s", pool->spec->id);
    HOLDS(sim, 21, index, "a victim was not held",
          pool->intent == PM_ENABLED && pool->n_running[PM_OP_START] == 0, "%s",
          pm_intent_name(pool->intent));
    HOLDS(sim, 21, index, "a victim gives way to somebody who is waited for",
          oldest_claim(sim, index) != PM_NEVER || just_asks(sim, index), "%s", pool->spec->id);
    if (!replica->is_claimed &&
        (book_leases(pool, &sim->books) > 0 || (pool->n_waiting > 0 && !sim->wishes)))
        look_at_claim(sim, index, replica); /* idle itself, of a busy pool */
    if (!replica->is_claimed)
        look_at_look(sim, index, replica);
    HOLDS(sim, 22, index, "an eviction ends no lease with a client",
          sim->books.engines[replica->engine].n_granted == 0, "%" PRIu64,
          sim->books.engines[replica->engine].n_granted);
    replica->is_claimed = false;
}

void inv22_after(struct sim *sim)
{
    struct pm_device_view view;

    for (int i = 0; i < SIM_ALL; i++) {
        if (!devices_view(sim, i, &view))
            continue;
        if (view.claimed_bytes > 0)
            HOLDS(sim, 22, SIM_NOBODY, "what an eviction freed is kept for its claimant",
                  view.planned_bytes + view.claimed_bytes <= capacity(sim, i) ||
                      view.claimed_bytes <= sim->books.devices[i].view.claimed_bytes,
                  "device %d: %" PRIu64 " charged, %" PRIu64 " set aside", i, view.planned_bytes,
                  view.claimed_bytes);
        if (view.until_ms != sim->books.devices[i].view.until_ms)
            sim->books.devices[i].first_trial = sim->world.n_engines;
        sim->books.devices[i].view = view;
    }
}

/* ---- bounds --------------------------------------------------------------------------------------------------------- */

#define LONGEST_MS                                                                                 \
    (30000 + 30000 + 60000) /* a stream, until it is called hung, or read to its end */

/* What may be in somebody's way for ever: then there is no bound. */
static bool is_blocked(const struct sim *sim)
{
    for (int i = 0; i < SIM_ALL; i++) {
        if (i >= sim->world.n_devices && (i != SIM_CPU || !sim->world.has_cpu))
            continue;
        if (sim->books.devices[i].view.is.state != PM_DEVICE_OK ||
            sim->world.devices[i].leaked_bytes > 0 || devices_foreign(sim, i))
            return true;
    }
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        if (pool->spec->pinned || pool->reloaded || pool->intent != PM_ENABLED || pool->removing ||
            pool->forced ||
            pool->n_running[PM_OP_START] + pool->n_running[PM_OP_STOP] +
                    pool->n_running[PM_OP_DRAIN] >
                0)
            return true;
    }
    return false;
}

static uint64_t n_claims(const struct sim *sim)
{
    uint64_t n = 0;

    EACH_POOL (sim, i)
        EACH_REPLICA (&sim->books.pools[i], k)
            n += sim->books.pools[i].replicas[k].view.state == PM_WAITING;
    return n;
}

void inv35_after(struct sim *sim)
{
    uint64_t each_ms = SIM_MAX_WAIT_MS + SIM_MIN_RESIDENCY_MS + 60000 + LONGEST_MS + 10000 + 22000;

    if (sim->books.shutting_down || sim->books.leaving ||
        (sim->world.n_devices == 0 && !sim->world.has_cpu))
        return;
    if (is_blocked(sim) || !sim->books.listed) {
        sim->books.unblocked_ms = sim->now_ms;
        return;
    }
    EACH_POOL (sim, i) {
        const struct book_pool *pool = &sim->books.pools[i];

        EACH_REPLICA (pool, k) {
            const struct book_replica *replica = &pool->replicas[k];
            uint64_t since_ms = replica->waiting_since_ms;

            if (replica->view.state != PM_WAITING || pool->n_waiting == 0 ||
                devices_lost(sim, pool->spec))
                continue;
            since_ms = since_ms > sim->books.unblocked_ms ? since_ms : sim->books.unblocked_ms;
            since_ms = since_ms > pool->waited_since_ms ? since_ms : pool->waited_since_ms;
            since_ms = since_ms > sim->jumped_ms ? since_ms : sim->jumped_ms;
            HOLDS(sim, 35, i, "a claimant has room in bounded time",
                  sim->now_ms <= since_ms + n_claims(sim) * each_ms, "it waits for %" PRIu64 " ms",
                  sim->now_ms - since_ms);
        }
    }
}
