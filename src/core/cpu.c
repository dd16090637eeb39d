/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU as a device (DEVICES §4). Its memory is the machine's, and what an engine takes of it is what it would take of a
 * GPU, and what stays with the host. One thing is different: weights are mapped from their file. Several engines of one
 * file have them in common, so one of these carries them, and the others are spared; when it ends, the next one carries
 * them on. The kernel counts what is mapped as free, since it can be read again: it stays still to be taken as long as an
 * engine runs with it. Who is seen to have copied its file, as some do whose processors like weights in another order,
 * spares nobody.
 */
#include <string.h>

#include "core/inner.h"

#define SLACK_BYTES                                                                                \
    (UINT64_C(256) << 20) /* what a process has besides, of which no estimate knows */

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static struct pm_place *place_of(struct pm_link *link)
{
    return pm_container_of(link, struct pm_place, room.charged);
}

bool pm_cpu_weighs(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    return pm_device_of(core, PM_CPU)->is_listed && pm_ways_of(core, spec)->n > 0;
}

/* It has so much of the same file mapped. */
static bool maps(const struct pm_place *place, const struct pm_pool_spec *spec, uint64_t mapped)
{
    const char *file = place->spec->model.main;

    return mapped > 0 && place->room.held->way.mapped == mapped && file && spec->model.main &&
           strcmp(file, spec->model.main) == 0;
}

/* Who carries the file for all; NULL: nobody has it. */
static struct pm_place *carrier_of(const struct pm_core *core, const struct pm_pool_spec *spec,
                                   uint64_t mapped)
{
    struct pm_link *link;

    pm_list_each (&core->charged, link) {
        if (maps(place_of(link), spec, mapped) && place_of(link)->room.held->way.spared == 0)
            return place_of(link);
    }
    return NULL;
}

/* It is seen to have more of its own than it could without its weights. */
static bool has_copied(struct pm_place *carrier)
{
    const struct pm_share *share = pm_place_share(carrier, PM_CPU);
    uint64_t mapped = carrier->room.held->way.mapped;

    return share && share->seen &&
           share->used > minus(share->bytes, mapped) + mapped / 2 + SLACK_BYTES;
}

void pm_cpu_spare(const struct pm_core *core, const struct pm_pool_spec *spec, struct pm_way *way)
{
    struct pm_place *carrier = carrier_of(core, spec, way->mapped);

    if (!carrier || way->shares.n != 1 || has_copied(carrier))
        return;
    way->spared = less(way->mapped, way->shares.items[0].bytes);
    way->shares.items[0].bytes -= way->spared;
}

const struct pm_way *pm_cpu_way(const struct pm_core *core, const struct pm_pool_spec *spec)
{
    struct pm_ways *ways = (struct pm_ways *)pm_ways_of(core, spec); /* as a split's memo */

    if (ways->n == 0)
        return NULL;
    ways->beside = ways->items[0];
    pm_cpu_spare(core, spec, &ways->beside);
    return &ways->beside;
}

/* The one that carries its file on when it ends; with `counts`, of those that stay. */
static struct pm_place *heir_of(const struct pm_place *place, const struct pm_place *claimant,
                                bool (*counts)(const struct pm_place *, const struct pm_place *))
{
    const struct pm_way *way = &place->room.held->way;
    struct pm_link *link;

    if (way->mapped == 0 || way->spared > 0)
        return NULL;
    pm_list_each (&place->pool->core->charged, link) {
        struct pm_place *other = place_of(link);

        if (other != place && maps(other, place->spec, way->mapped) &&
            other->room.held->way.spared > 0 && !(counts && counts(other, claimant)))
            return other;
    }
    return NULL;
}

void pm_cpu_hand_on(struct pm_place *place)
{
    struct pm_place *heir = place->room.held ? heir_of(place, NULL, NULL) : NULL;
    struct pm_way *way;

    if (!heir)
        return;
    way = &heir->room.held->way;
    pm_ledger_hand_on(&place->pool->core->ledger, &place->room.charge, &heir->room.charge, PM_CPU,
                      way->spared);
    way->spared = 0;
}

/* What the claimant itself would be spared by it. */
static uint64_t claimed_of(const struct pm_place *place, const struct pm_place *claimant)
{
    const struct pm_way *way = pm_room_way(place->pool->core, claimant->spec, 0);

    if (!way || way->spared == 0 || place->room.held->way.spared > 0 ||
        !maps(place, claimant->spec, way->mapped))
        return 0;
    return way->spared;
}

uint64_t pm_cpu_kept(const struct pm_place *claimant,
                     bool (*counts)(const struct pm_place *, const struct pm_place *))
{
    uint64_t sum = 0;
    struct pm_link *link;

    pm_list_each (&claimant->pool->core->charged, link) {
        const struct pm_place *place = place_of(link), *heir;

        if (!counts(place, claimant))
            continue;
        heir = heir_of(place, claimant, counts);
        sum += heir ? heir->room.held->way.spared : claimed_of(place, claimant);
    }
    return sum;
}

uint64_t pm_cpu_supposed(const struct pm_place *place, const struct pm_share *share)
{
    const struct pm_way *way = &place->room.held->way;

    return minus(share->bytes, minus(way->mapped, way->spared));
}
