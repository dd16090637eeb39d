/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is missing, and how it is told (LOAD-2, HEALTH-5): bytes that no device will ever have for a start, devices that do
 * not work or are none, and what a start waits for that is short now. Where others than our engines use a device, that is
 * said with it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

#define BYTES       32
#define WORTH_BYTES (UINT64_C(64) * 1024 * 1024) /* less in use by others is not named */

static const char *bytes(char *to, uint64_t n)
{
    return pm_format_bytes(to, BYTES, n);
}

/* ---- what can never be ------------------------------------------------------------------------------- */

/* How many bytes the fullest device of a way lacks when it is empty; *ret is that device. */
static uint64_t lacks_for_ever(const struct pm_core *core, const struct pm_shares *shares,
                               struct pm_share *ret)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < shares->n; i++) {
        uint64_t capacity = core->ledger.accounts[shares->items[i].account].capacity;

        if (shares->items[i].bytes > capacity && shares->items[i].bytes - capacity > most) {
            most = shares->items[i].bytes - capacity;
            *ret = shares->items[i];
        }
    }
    return most;
}

/* Nobody measures what is taken there, so whoever knows better may say so. */
static void hint_cpu(uint64_t tokens, struct pm_verdict *ret)
{
    if (tokens > 0)
        (void)snprintf(ret->hint, sizeof(ret->hint),
                       "the largest context that fits is %" PRIu64
                       " tokens; or fewer slots; or say its size as vram",
                       tokens);
    else
        (void)snprintf(ret->hint, sizeof(ret->hint),
                       "take a smaller model, or say as the pool's vram what it needs");
}

static void hint_context(const struct pm_core *core, const struct pm_ways *ways,
                         struct pm_verdict *ret)
{
    uint64_t tokens = pm_ways_largest_context(core, ways);

    if (pm_ways_on_cpu(core, ways->spec) && !pm_spec_declares(ways->spec))
        hint_cpu(tokens, ret);
    else if (tokens > 0)
        (void)snprintf(ret->hint, sizeof(ret->hint),
                       "the largest context that fits is %" PRIu64 " tokens; or fewer slots",
                       tokens);
}

static void describe_never(const struct pm_core *core, const struct pm_share *share,
                           uint64_t missing, struct pm_verdict *ret)
{
    char needs[BYTES], has[BYTES];

    ret->code = POOLMGR_E_NEVER_FITS;
    (void)snprintf(ret->text, sizeof(ret->text),
                   "it needs %s on %s, which has %s for it: %" PRIu64 " %s missing",
                   bytes(needs, share->bytes), pm_device_name(core, share->account),
                   bytes(has, core->ledger.accounts[share->account].capacity), missing,
                   missing == 1 ? "byte is" : "bytes are");
}

static void describe_never_split(const struct pm_core *core, const struct pm_ways *ways,
                                 uint32_t account, uint64_t missing, struct pm_verdict *ret)
{
    char has[BYTES];

    ret->code = POOLMGR_E_NEVER_FITS;
    (void)snprintf(ret->text, sizeof(ret->text),
                   "split over %zu devices it does not fit: on %s, which has %s for it, %" PRIu64
                   " %s missing",
                   ways->n_split, pm_device_name(core, account),
                   bytes(has, core->ledger.accounts[account].capacity), missing,
                   missing == 1 ? "byte is" : "bytes are");
}

/* False: on one of its ways it fits, or they are unknown. */
static bool is_too_large(const struct pm_core *core, const struct pm_ways *ways,
                         struct pm_verdict *ret)
{
    struct pm_share share, worst = {0};
    uint64_t least = UINT64_MAX, missing;
    uint32_t account = 0;

    for (size_t i = 0; i < ways->n; i++) {
        missing = lacks_for_ever(core, &ways->items[i].shares, &share);
        if (missing == 0)
            return false;
        if (missing < least) {
            least = missing;
            worst = share;
        }
    }
    if (least == UINT64_MAX)
        return false;

    missing = pm_ways_split_lacks(core, ways, &account);
    if (ways->n_split > 0 && missing == 0)
        return false;
    if (ways->n_split > 0 && missing < least)
        describe_never_split(core, ways, account, missing, ret);
    else
        describe_never(core, &worst, least, ret);
    hint_context(core, ways, ret);
    if (pm_ways_on_cpu(core, ways->spec) && !*pm_ways_why_cpu(core, ways->spec))
        ret->hardware = false; /* no GPU mends it */
    return true;
}

static void describe_cpu(const struct pm_core *core, struct pm_verdict *ret)
{
    ret->code = POOLMGR_E_NEVER_FITS;
    (void)snprintf(ret->text, sizeof(ret->text), "%sgpu_only is true: nothing runs on the CPU",
                   core->gpus == PM_GPUS_NONE ? "there is no GPU in this machine, and " : "");
}

static void describe_mask(const struct pm_ways *ways, struct pm_verdict *ret)
{
    ret->code = ways->error.code;
    (void)pm_str_copy(ret->text, sizeof(ret->text), ways->error.message);
    (void)snprintf(ret->hint, sizeof(ret->hint), "%.90s", ways->error.hint);
}

static bool none_can_be_used(const struct pm_core *core)
{
    return !pm_core_has_gpus(core) && core->gpus == PM_GPUS_BROKEN;
}

bool pm_room_never(const struct pm_core *core, const struct pm_pool_spec *spec,
                   struct pm_verdict *ret)
{
    const struct pm_ways *ways;

    ret->class = PM_CLASS_SPAWN;
    ret->permanent = ret->hardware = true;
    if (core->options.gpu_only && pm_ways_on_cpu(core, spec)) {
        describe_cpu(core, ret);
        return true;
    }
    if (!pm_ways_needed(core, spec) || pm_ways_awaited(core, spec) ||
        (!pm_ways_on_cpu(core, spec) && none_can_be_used(core)))
        return false;
    ways = pm_ways_of(core, spec);
    if (ways->error.code != 0) {
        describe_mask(ways, ret);
        return true;
    }
    return is_too_large(core, ways, ret);
}

/* ---- what does not work ------------------------------------------------------------------------------ */

static const struct pm_known_device *broken_of(const struct pm_core *core,
                                               const struct pm_shares *shares)
{
    for (uint32_t i = 0; i < shares->n; i++) {
        if (!pm_device_works(core, shares->items[i].account))
            return pm_device_of(core, shares->items[i].account);
    }
    return NULL;
}

static bool has_engine(const struct pm_pool *pool)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        enum pm_state state = pool->places[i]->state;

        if (state == PM_STARTING || state == PM_READY || state == PM_SICK)
            return true;
    }
    return false;
}

/* All of its ways need a device that does not work; the first of these, else NULL. */
static const struct pm_known_device *all_are_lost(const struct pm_pool *pool)
{
    const struct pm_core *core = pool->core;
    const struct pm_known_device *first = NULL, *broken;
    const struct pm_way *way;

    for (size_t i = 0; (way = pm_room_way(core, pool->spec, i)); i++) {
        broken = broken_of(core, &way->shares);
        if (!broken)
            return NULL;
        first = first ? first : broken;
    }
    return first;
}

bool pm_room_lost(const struct pm_pool *pool, struct poolmgr_error *ret)
{
    const struct pm_core *core = pool->core;
    const struct pm_known_device *broken;

    if (!pm_ways_needed(core, pool->spec) || pm_device_awaited(core) || has_engine(pool) ||
        pm_ways_on_cpu(core, pool->spec))
        return false;
    if (none_can_be_used(core))
        (void)pm_fail(ret, POOLMGR_E_DEVICE_LOST, "no device that %s may use works%s%s",
                      pool->spec->id, core->gpus_text[0] ? ": " : "", core->gpus_text);
    else if ((broken = all_are_lost(pool)))
        (void)pm_fail(ret, POOLMGR_E_DEVICE_LOST, "no device that %s may use works: %s is %s",
                      pool->spec->id, broken->name, pm_device_state_name(pm_device_state(broken)));
    else
        return false;
    (void)pm_error_hint(ret, 0, "poolctl devices shows what is wrong with them");
    ret->retry_after_ms = 1000;
    return true;
}

/* ---- what it waits for ------------------------------------------------------------------------------- */

/* The device of its target, or of its first way, that lacks most now. */
static uint64_t lacks_now(const struct pm_place *place, struct pm_share *ret)
{
    const struct pm_core *core = place->pool->core;
    const struct pm_way *first = pm_room_way(core, place->spec, 0);
    const struct pm_shares *shares = &place->room.target;
    uint64_t most = 0;

    if (shares->n == 0 && !first)
        return 0;
    if (shares->n == 0)
        shares = &first->shares;
    for (uint32_t i = 0; i < shares->n; i++) {
        uint64_t left =
            pm_ledger_left(&core->ledger, shares->items[i].account, &place->room.reserved);

        if (shares->items[i].bytes > left && shares->items[i].bytes - left > most) {
            most = shares->items[i].bytes - left;
            *ret = shares->items[i];
        }
    }
    return most;
}

static const struct pm_known_device *kept_from(const struct pm_place *place)
{
    const struct pm_core *core = place->pool->core;
    const struct pm_way *way;

    for (size_t i = 0; (way = pm_room_way(core, place->spec, i)); i++) {
        for (uint32_t k = 0; k < way->shares.n; k++) {
            if (!pm_device_permits(core, way->shares.items[k].account))
                return &core->devices[way->shares.items[k].account];
        }
    }
    return NULL;
}

static void describe_short(const struct pm_core *core, const struct pm_share *share,
                           uint64_t missing, char *to, size_t size)
{
    uint64_t others = pm_vram_foreign(core, share->account);
    char lacks[BYTES], needs[BYTES], foreign[BYTES];
    const char *name = pm_device_name(core, share->account);
    int n = snprintf(to, size, "waits for room: %s lacks %s of the %s it needs", name,
                     bytes(lacks, missing), bytes(needs, share->bytes));

    if (n > 0 && (size_t)n < size && others > WORTH_BYTES &&
        pm_ledger_foreign(&core->ledger, share->account) > 0)
        (void)snprintf(to + n, size - (size_t)n, "; %s on %s belong to processes that are not ours",
                       bytes(foreign, others), name);
}

int pm_room_explain(const struct pm_place *place, char *to, size_t size)
{
    const struct pm_core *core = place->pool->core;
    const struct pm_known_device *device;
    struct poolmgr_error error;
    struct pm_share share;
    uint64_t missing;

    if (pm_ways_awaited(core, place->spec)) {
        (void)snprintf(to, size, "waits until the devices of this machine have been looked for");
        return 0;
    }
    if (pm_room_lost(place->pool, &error)) {
        (void)snprintf(to, size, "waits: %s; poolctl devices shows why", error.message);
        return POOLMGR_E_DEVICE_LOST;
    }
    missing = lacks_now(place, &share);
    if (missing > 0) {
        describe_short(core, &share, missing, to, size);
        return POOLMGR_E_VRAM_SHORT;
    }
    device = kept_from(place);
    if (device) {
        (void)snprintf(to, size, "waits: %s is %s; poolctl devices clear %s ends that",
                       device->name, pm_device_state_name(pm_device_state(device)), device->is.id);
        return 0;
    }
    (void)snprintf(to, size, "waits for room: other pools have waited longer");
    return POOLMGR_E_VRAM_SHORT;
}
