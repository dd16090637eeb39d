/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engines were seen to take of devices (VRAM-1). What an engine says that it allocated takes the place of what was
 * estimated once it is ready: its charge gets smaller, or grows by what is nobody's, and the next start of the same asks for
 * so much from the beginning. Declared bytes stay as they are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/str.h"

#define NOISE_BYTES                                                                                \
    (UINT64_C(64) * 1024 * 1024) /* a driver's context that differs by less is the same */
#define KEPT 4096                /* records; then the oldest is forgotten */

struct pm_memory {
    struct pm_link link;
    struct pm_memory_record is;
};

static struct pm_memory *memory_of(struct pm_link *link)
{
    return pm_container_of(link, struct pm_memory, link);
}

/* ---- what is remembered ------------------------------------------------------------------------------- */

static void write_key(const struct pm_memory_record *record, char *to, size_t size)
{
    (void)snprintf(to, size, "%016" PRIx64 " %s", record->identity, record->device);
}

static void forget(struct pm_core *core, struct pm_memory *memory)
{
    char key[PM_DEVICE_ID_MAX + 32];

    write_key(&memory->is, key, sizeof(key));
    (void)pm_map_remove(&core->memories, key);
    pm_list_remove(&memory->link);
    free(memory);
}

static struct pm_memory *keep(struct pm_core *core, const struct pm_memory_record *record)
{
    char key[PM_DEVICE_ID_MAX + 32];
    struct pm_memory *memory;

    write_key(record, key, sizeof(key));
    memory = pm_map_get(&core->memories, key);
    if (memory)
        return memory;
    if (core->memories.n >= KEPT)
        forget(core, memory_of(pm_list_first(&core->all_memories)));
    memory = pm_xalloc(sizeof(*memory));
    memory->is.identity = record->identity;
    (void)pm_str_copy(memory->is.device, sizeof(memory->is.device), record->device);
    pm_list_append(&core->all_memories, &memory->link);
    (void)pm_map_set(&core->memories, key, memory);
    return memory;
}

void pm_core_recall(struct pm_core *core, const struct pm_memory_record *record)
{
    keep(core, record)->is = *record;
    pm_ways_changed(core);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Of all devices that it ran on: where it will run next is not known yet. */
void pm_core_measures(const struct pm_core *core, const struct pm_pool_spec *spec,
                      struct pm_measured_memory *ret)
{
    uint64_t identity = pm_spec_identity(spec);
    struct pm_link *link;

    *ret = (struct pm_measured_memory){0};
    pm_list_each (&core->all_memories, link) {
        const struct pm_memory_record *is = &memory_of(link)->is;

        if (is->identity != identity)
            continue;
        ret->compute_bytes = larger(ret->compute_bytes, is->compute_bytes);
        ret->context_bytes = larger(ret->context_bytes, is->context_bytes);
    }
}

void pm_memory_fini(struct pm_core *core)
{
    while (!pm_list_empty(&core->all_memories))
        forget(core, memory_of(pm_list_first(&core->all_memories)));
    pm_map_fini(&core->memories);
}

/* ---- what is measured --------------------------------------------------------------------------------- */

static bool is_far(uint64_t a, uint64_t b)
{
    return (a > b ? a - b : b - a) > NOISE_BYTES;
}

/* True: it is news, and is remembered. */
static bool remember(struct pm_place *place, const struct pm_share *share,
                     const struct pm_part *said, uint64_t context, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    struct pm_memory_record record = {.identity = pm_spec_identity(place->spec),
                                      .weights_bytes = said->weights,
                                      .kv_bytes = said->kv,
                                      .compute_bytes = said->compute};
    struct pm_memory *memory;

    (void)pm_str_copy(record.device, sizeof(record.device), pm_device_id(core, share->account));
    memory = keep(core, &record);
    record.context_bytes = context > 0 && is_far(context, memory->is.context_bytes)
                               ? context
                               : memory->is.context_bytes;
    if (memcmp(&record, &memory->is, sizeof(record)) == 0)
        return false;
    memory->is = record;
    pm_action_remember(out, &record);
    return true;
}

static uint64_t instead(uint64_t said, uint64_t estimated)
{
    return said > 0 ? said : estimated;
}

/* Of one share: what it is to be charged now, and what is the driver's of it (0: nobody knows). */
static uint64_t takes(const struct pm_place *place, uint32_t i, uint64_t *ret_context)
{
    const struct pm_part *part = &place->room.held->way.parts[i];
    const struct pm_part *said = &place->room.held->said[i];
    const struct pm_share *share = &place->room.charge.items[i];
    bool has_more =
        place->spec->model.mmproj || place->spec->model.draft; /* of which it says nothing */
    uint64_t weights = instead(said->weights, part->weights);
    uint64_t sum;

    if (has_more)
        weights = larger(weights, part->weights);
    sum = weights + instead(said->kv, part->kv) + instead(said->compute, part->compute);
    *ret_context = share->seen && share->used > sum && said->compute > 0 ? share->used - sum : 0;
    sum += instead(*ret_context, part->context);
    return share->seen ? larger(sum, share->used) : sum;
}

void pm_memory_settle(struct pm_place *place, struct pm_actions *out)
{
    struct pm_core *core = place->pool->core;
    struct pm_shares *charge = &place->room.charge;
    bool news = false;

    if (charge->n == 0 || !place->room.held->way.estimated || !pm_place_is_up(place))
        return;
    for (uint32_t i = 0; i < charge->n; i++) {
        const struct pm_part *said = &place->room.held->said[i];
        struct pm_share *share = &charge->items[i];
        uint64_t before = share->bytes, context;
        uint64_t bytes = takes(place, i, &context);

        if (said->weights + said->kv + said->compute == 0)
            continue; /* it says nothing: the estimate stands */
        pm_ledger_amend(&core->ledger, charge, share->account, bytes);
        news = news || share->bytes != before;
        if (remember(place, share, said, context, out))
            pm_ways_changed(core);
    }
    if (news)
        pm_core_changed(core);
}

static void note(struct pm_part *said, enum pm_memory_kind kind, uint64_t bytes)
{
    if (kind == PM_MEMORY_WEIGHTS)
        said->weights = bytes;
    else if (kind == PM_MEMORY_KV)
        said->kv = bytes;
    else
        said->compute = bytes;
}

void pm_core_measured(struct pm_core *core, struct pm_token token, const char *id,
                      enum pm_memory_kind kind, uint64_t bytes, uint64_t now_ms,
                      struct pm_actions *out)
{
    const struct pm_known_device *device = pm_device_find(core, id);
    struct pm_place *place;

    pm_core_enter(core, now_ms, out);
    place = pm_answered(core, token, PM_QUESTION_INSTANCE);
    if (!place || !device || bytes > UINT64_MAX / 8)
        return;
    for (uint32_t i = 0; i < place->room.charge.n; i++) {
        if (place->room.charge.items[i].account == (uint32_t)(device - core->devices))
            note(&place->room.held->said[i], kind, bytes);
    }
    pm_memory_settle(place, out);
    pm_core_changed(core);
    pm_pool_step(place->pool, out);
}
