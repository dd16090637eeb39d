/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request goes (PLACE-1): filters first, then an order in which no two places are equal, so that asked twice
 * it answers the same. What a request wishes (PLACE-2) makes it one of two sets of pools: those that may serve it,
 * and those that may if none of these can. The explanation goes through the same filters and the same order.
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

/* ---- filters -------------------------------------------------------------------------------------------- */

static bool names(const char *const *ids, size_t n, const struct pm_pool *pool)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(ids[i], pool->spec->id) == 0)
            return true;
    }
    return false;
}

static size_t next_device(const char **text)
{
    *text += strspn(*text, ", ");
    return strcspn(*text, ", ");
}

static bool lists_device(const char *mask, const char *device, size_t n)
{
    for (size_t length; (length = next_device(&mask)) > 0; mask += length) {
        if (length == n && memcmp(mask, device, n) == 0)
            return true;
    }
    return false;
}

/* Where no device is known a mask is as good as its words. */
static bool is_within_by_words(const struct pm_pool *pool, const char *mask)
{
    const char *devices = pool->spec->devices;

    for (size_t n; (n = next_device(&devices)) > 0; devices += n) {
        if (!lists_device(mask, devices, n))
            return false;
    }
    return true;
}

/* Every device of the pool is in the mask. */
static bool is_within(const struct pm_pool *pool, const char *text)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;

    if (!pm_core_has_gpus(pool->core) || !pool->spec->habits.ours)
        return is_within_by_words(pool, text);
    return pm_mask_parse(text, strlen(text), &mask, NULL, NULL) == POOLMGR_OK &&
           pm_ways_within(pool->core, pool->spec, mask);
}

/* What a request demands of a pool; "" when it has it. */
static const char *demand(const struct pm_pool *pool, const struct pm_placement *placement,
                          uint64_t context_needed)
{
    if (placement->pin && strcmp(placement->pin, pool->spec->id) != 0)
        return "pin";
    if (placement->mask && !is_within(pool, placement->mask))
        return "mask";
    if (context_needed > 0 && pool->spec->context > 0 && context_needed > pool->spec->context)
        return "context";
    return "";
}

/* What it would rather not have; a demand where it allows no fallback. */
static const char *aversion(const struct pm_pool *pool, const struct pm_placement *placement)
{
    if (placement->pin)
        return "";
    if (names(placement->avoid, placement->n_avoid, pool))
        return "avoid";
    if (placement->no_fallback && placement->n_prefer > 0 &&
        !names(placement->prefer, placement->n_prefer, pool))
        return "prefer";
    return "";
}

static const char *obstacle(const struct pm_place *place)
{
    if (place->gate_open)
        return pm_place_slots_free(place) > 0 ? "" : "slots";
    return place->state == PM_READY ? "gate" : "health";
}

/* ---- wishes ---------------------------------------------------------------------------------------------- */

static bool is_plain(const struct pm_placement *placement, uint64_t context_needed)
{
    return !placement->pin && placement->n_avoid == 0 && !placement->mask &&
           !placement->no_fallback && context_needed == 0;
}

static int fail_wish(const struct pm_group *home, const struct pm_placement *placement,
                     uint64_t context_needed, struct poolmgr_error *err)
{
    for (size_t i = 0; i < home->n_pools; i++) {
        if (strcmp(demand(home->pools[i], placement, context_needed), "context") != 0)
            continue;
        return pm_fail(err, POOLMGR_E_CONTEXT_LENGTH_EXCEEDED,
                       "the request needs %llu tokens; %s has %llu",
                       (unsigned long long)context_needed, home->pools[i]->spec->id,
                       (unsigned long long)home->pools[i]->spec->context);
    }
    if (placement->pin)
        (void)pm_fail(err, POOLMGR_E_PIN_UNMET,
                      "the pin cannot be met: '%.48s' does not serve %s%s", placement->pin,
                      home->pools[0]->spec->id, placement->mask ? " on these devices" : "");
    else
        (void)pm_fail(err, POOLMGR_E_PIN_UNMET,
                      "no pool that serves the model is as X-Placement asks");
    (void)pm_error_param(err, 0, "X-Placement");
    return pm_error_hint(err, POOLMGR_E_PIN_UNMET,
                         "POST /v1/placement explains what refuses each pool");
}

int pm_wish_of(struct pm_group *home, const struct pm_placement *placement, uint64_t context_needed,
               struct pm_wish *ret, struct poolmgr_error *err)
{
    struct pm_wish wish = {.home = home, .placement = placement, .owned = true};

    if (is_plain(placement, context_needed)) {
        wish.first = wish.also = home->pools;
        wish.n_first = wish.n_also = home->n_pools;
        wish.owned = false;
        *ret = wish;
        return POOLMGR_OK;
    }

    wish.first = pm_xalloc(home->n_pools * sizeof(struct pm_pool *));
    wish.also = pm_xalloc(home->n_pools * sizeof(struct pm_pool *));
    for (size_t i = 0; i < home->n_pools; i++) {
        struct pm_pool *pool = home->pools[i];
        bool averse = aversion(pool, placement)[0] != '\0';

        if (demand(pool, placement, context_needed)[0] != '\0' ||
            (averse && placement->no_fallback))
            continue;
        wish.also[wish.n_also++] = pool;
        if (!averse)
            wish.first[wish.n_first++] = pool;
    }
    if (wish.n_also == 0) {
        pm_wish_fini(&wish);
        return fail_wish(home, placement, context_needed, err);
    }
    if (wish.n_first == 0) { /* there is nothing it would rather have */
        memcpy(wish.first, wish.also, wish.n_also * sizeof(struct pm_pool *));
        wish.n_first = wish.n_also;
    }
    *ret = wish;
    return POOLMGR_OK;
}

void pm_wish_fini(struct pm_wish *wish)
{
    if (!wish->owned)
        return;
    free(wish->first);
    free(wish->also);
}

/* ---- the order -------------------------------------------------------------------------------------------- */

/* By what one place is better than another; the first that tells them apart decides. */
enum criterion { BY_NOTHING, BY_WISH, BY_SPEED, BY_LEASES, BY_ID };

static const char *const criterion_names[] = {
    [BY_NOTHING] = "only",  [BY_WISH] = "prefer", [BY_SPEED] = "speed",
    [BY_LEASES] = "leases", [BY_ID] = "id",
};

struct option {
    const struct pm_place *place;
    bool wished;
};

static struct option option_of(const struct pm_place *place, const struct pm_placement *placement)
{
    struct option option = {.place = place};

    if (placement->n_prefer > 0)
        option.wished = names(placement->prefer, placement->n_prefer, place->pool);
    return option;
}

static int compare_ids(const struct pm_place *a, const struct pm_place *b)
{
    int by_id = a->pool == b->pool ? 0 : strcmp(a->pool->spec->id, b->pool->spec->id);

    return by_id != 0 ? by_id : a->index < b->index ? -1 : 1;
}

/* < 0: a goes before b. Speeds are compared where all of them are known. */
static int compare(const struct option *a, const struct option *b, bool by_speed,
                   enum criterion *ret_by)
{
    uint64_t leases_a = pm_place_leases(a->place), leases_b = pm_place_leases(b->place);

    *ret_by = BY_WISH;
    if (a->wished != b->wished)
        return a->wished ? -1 : 1;
    *ret_by = BY_SPEED;
    if (by_speed && a->place->speed != b->place->speed)
        return a->place->speed < b->place->speed ? -1 : 1;
    *ret_by = BY_LEASES;
    if (leases_a != leases_b)
        return leases_a < leases_b ? -1 : 1;
    *ret_by = BY_ID;
    return compare_ids(a->place, b->place);
}

/* The best of a pool; false: by speed, and one is unknown. */
static bool choose_in(const struct pm_pool *pool, const struct pm_placement *placement,
                      bool by_speed, struct option *ret)
{
    struct option option = {.wished = placement->n_prefer > 0 &&
                                      names(placement->prefer, placement->n_prefer, pool)};
    enum criterion by;

    ret->place = NULL;
    for (unsigned i = 0; i < pool->n_places; i++) {
        option.place = pool->places[i];
        if (!pm_place_is_free(option.place))
            continue;
        if (by_speed && option.place->speed == 0)
            return false;
        if (!ret->place || compare(&option, ret, by_speed, &by) < 0)
            *ret = option;
    }
    return true;
}

/* And of all: so most places are compared with those beside them only. */
static bool choose_by(struct pm_pool *const *pools, size_t n, const struct pm_placement *placement,
                      bool by_speed, const struct pm_place **ret)
{
    struct option best = {0}, option;
    enum criterion by;

    for (size_t i = 0; i < n; i++) {
        if (!choose_in(pools[i], placement, by_speed, &option))
            return false;
        if (option.place && (!best.place || compare(&option, &best, by_speed, &by) < 0))
            best = option;
    }
    *ret = best.place;
    return true;
}

static const struct pm_place *choose(struct pm_pool *const *pools, size_t n,
                                     const struct pm_placement *placement)
{
    const struct pm_place *best = NULL;

    if (!choose_by(pools, n, placement, true, &best))
        (void)choose_by(pools, n, placement, false, &best);
    return best;
}

struct pm_place *pm_pool_choose(const struct pm_pool *pool)
{
    static const struct pm_placement any = {0};
    struct pm_pool *const pools[] = {(struct pm_pool *)pool};

    return (struct pm_place *)choose(pools, 1, &any);
}

struct pm_place *pm_wish_choose(const struct pm_wish *wish)
{
    const struct pm_place *place = choose(wish->first, wish->n_first, wish->placement);

    /* Others only where none of the first may ever serve it. */
    if (!place && wish->n_also > wish->n_first &&
        !pm_pools_admit(wish->first, wish->n_first, PM_NEVER, NULL))
        place = choose(wish->also, wish->n_also, wish->placement);
    return (struct pm_place *)place;
}

/* ---- explaining -------------------------------------------------------------------------------------------- */

struct explained {
    struct option option;
    const char *refused_by;
};

static bool is_among(struct pm_pool *const *pools, size_t n, const struct pm_pool *pool)
{
    for (size_t i = 0; i < n; i++) {
        if (pools[i] == pool)
            return true;
    }
    return false;
}

/* Averse to it, but there is nothing better: then it is among the pools in question. */
static const char *refused_by(const struct pm_place *place, const struct pm_placement *placement,
                              bool in_question)
{
    const char *by = demand(place->pool, placement, 0);

    if (!by[0] && !in_question)
        by = aversion(place->pool, placement);
    return by[0] ? by : obstacle(place);
}

static int compare_explained(const void *a, const void *b, void *by_speed)
{
    const struct explained *x = a, *y = b;
    enum criterion by;

    if ((x->refused_by[0] == '\0') != (y->refused_by[0] == '\0'))
        return x->refused_by[0] == '\0' ? -1 : 1;
    if (x->refused_by[0] != '\0')
        return compare_ids(x->option.place, y->option.place);
    return compare(&x->option, &y->option, *(bool *)by_speed, &by);
}

static void explain_all(const struct pm_group *home, const struct pm_placement *placement,
                        struct pm_pool *const *pools, size_t n_pools, struct explained *all)
{
    size_t n = 0;

    for (size_t i = 0; i < home->n_pools; i++) {
        const struct pm_pool *pool = home->pools[i];
        bool in_question = is_among(pools, n_pools, pool);

        for (unsigned k = 0; k < pool->n_places; k++, n++) {
            all[n].option = option_of(pool->places[k], placement);
            all[n].refused_by = refused_by(pool->places[k], placement, in_question);
        }
    }
}

static void show_candidates(struct explained *all, size_t n, struct pm_placement_view *ret)
{
    enum criterion by = BY_NOTHING, other;
    bool by_speed = true;

    for (size_t i = 0; i < n; i++)
        by_speed = by_speed && (all[i].refused_by[0] || all[i].option.place->speed > 0);
    qsort_r(all, n, sizeof(*all), compare_explained, &by_speed);

    ret->candidates = pm_xalloc((n + 1) * sizeof(*ret->candidates));
    ret->n = n;
    for (size_t i = 0; i < n; i++)
        ret->candidates[i] = (struct pm_candidate){.pool_id = all[i].option.place->pool->spec->id,
                                                   .replica = all[i].option.place->index,
                                                   .refused_by = all[i].refused_by};
    ret->chosen = !all[0].refused_by[0];
    if (!ret->chosen)
        return;
    if (n > 1 && !all[1].refused_by[0])
        (void)compare(&all[0].option, &all[1].option, by_speed, &by);
    ret->decided_by = criterion_names[by];
    for (size_t i = 1; i < n && !all[i].refused_by[0]; i++) {
        (void)compare(&all[0].option, &all[i].option, by_speed, &other);
        ret->n_ties += other == BY_ID;
    }
}

/* Nobody has a slot: it waits, or is refused. */
static void show_wait(const struct pm_wish *wish, struct pm_placement_view *ret)
{
    uint64_t predicted_ms;

    if (!pm_pools_admit(wish->also, wish->n_also, PM_NEVER, &ret->error) || wish->owned)
        return;
    predicted_ms = pm_group_predict(wish->home, wish->home->queue.n);
    if (predicted_ms != PM_NEVER)
        ret->predicted_ms = predicted_ms;
}

int pm_core_explain(const struct pm_core *core, const char *route,
                    const struct pm_placement *placement, uint64_t now_ms,
                    struct pm_placement_view *ret, struct poolmgr_error *err)
{
    struct pm_group *home = pm_group_find(core, route);
    pm_auto_free struct explained *all = NULL;
    struct pm_wish wish = {0};
    const struct pm_place *place;
    size_t n = 0;
    bool fell_back;

    if (!home)
        return pm_fail(err, POOLMGR_E_MODEL_NOT_FOUND, "no model '%.256s' is served here", route);

    memset(ret, 0, sizeof(*ret));
    ret->decided_by = "";
    (void)pm_wish_of(home, placement, 0, &wish, &ret->error);
    place = wish.home ? pm_wish_choose(&wish) : NULL;
    fell_back = place && !is_among(wish.first, wish.n_first, place->pool);

    for (size_t i = 0; i < home->n_pools; i++)
        n += home->pools[i]->n_places;
    all = pm_xalloc(n * sizeof(*all));
    explain_all(home, placement, fell_back ? wish.also : wish.first,
                fell_back ? wish.n_also : wish.n_first, all);
    show_candidates(all, n, ret);
    if (!ret->chosen && wish.home)
        show_wait(&wish, ret);
    pm_wish_fini(&wish);
    return POOLMGR_OK;
}

void pm_placement_view_fini(struct pm_placement_view *view)
{
    free(view->candidates);
    memset(view, 0, sizeof(*view));
}
