/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split planner against all cuts there are, on random small worlds (SPLIT-1): what fits, the best of what fits, what is
 * lacking to the byte; and the properties of DEVICES §8.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan/split.h"
#include "rounds.h"
#include "util/cleanup.h"

#define CASES       20000
#define ITEMS_MAX   9
#define DEVICES_MAX 4

__extension__ typedef __int128 wide;

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

/* ---- a world ------------------------------------------------------------------------------------------ */

struct world {
    uint64_t weights[ITEMS_MAX], kv[ITEMS_MAX], split[ITEMS_MAX];
    struct pm_estimate estimate;
    size_t n;
    struct pm_split_device devices[DEVICES_MAX]; /* in PCI order */
};

/* Few different numbers, so that ties are common. */
static void draw_world(struct world *world)
{
    uint64_t scale = 1 + draw(3) * draw(40), total = 0;

    *world = (struct world){.n = 1 + draw(DEVICES_MAX)};
    world->estimate = (struct pm_estimate){.n_items = 2 + draw(ITEMS_MAX - 1),
                                           .weights = world->weights,
                                           .kv = world->kv,
                                           .split = draw(2) == 0 ? NULL : world->split,
                                           .compute_bytes = 1 + draw(5)};
    world->estimate.compute_split_bytes = world->estimate.compute_bytes + draw(2) * draw(6);
    world->estimate.compute_first_bytes = draw(2) * draw(8);
    world->estimate.compute_last_bytes = draw(2) * draw(8);
    for (size_t i = 0; i < world->estimate.n_items; i++) {
        world->weights[i] = draw(6) == 0 ? 0 : 1 + draw(scale);
        world->kv[i] = draw(3) == 0 ? 0 : draw(scale);
        world->split[i] = draw(2) * draw(4);
        total += world->weights[i] + world->kv[i];
    }
    for (size_t d = 0; d < world->n; d++)
        world->devices[d] = (struct pm_split_device){
            .free_bytes = draw(8) == 0 ? draw(4) : draw(total + 8) + draw(2) * draw(total / 2 + 1),
            .reserve_bytes = draw(3),
            .context_bytes = draw(3),
            .order = d * 3 + 1};
}

static struct pm_split plan(const struct world *world, enum pm_split_mode mode)
{
    struct pm_split split;
    struct poolmgr_error err = {0};

    if (pm_split_plan(&world->estimate, mode, NULL, 0, world->devices, world->n, &split, &err) < 0)
        fail_msg("%s", err.message);
    return split;
}

/* ---- all cuts ----------------------------------------------------------------------------------------- */

struct best {
    bool found;
    size_t at[DEVICES_MAX + 1];
    size_t n_used;
    wide used, capacity; /* the maximum, as a fraction */
};

static wide capacity_of(const struct pm_split_device *device)
{
    return (wide)device->free_bytes - device->reserve_bytes - device->context_bytes;
}

/* What one of several devices pays beside the compute buffer: the first, the last, and for its items. */
static wide beside_of(const struct world *world, size_t from, size_t to)
{
    wide sum = 0;

    if (from == 0)
        sum += (wide)world->estimate.compute_first_bytes;
    if (to == world->estimate.n_items)
        sum += (wide)world->estimate.compute_last_bytes;
    for (size_t i = from; world->estimate.split && i < to; i++)
        sum += (wide)world->split[i];
    return sum;
}

static wide range_of(const struct world *world, size_t from, size_t to)
{
    wide sum = 0;

    for (size_t i = from; i < to; i++)
        sum += (wide)world->weights[i] + world->kv[i];
    return sum;
}

/* False: it does not fit. */
static bool judge(const struct world *world, const size_t *at, struct best *ret)
{
    struct best cut = {.found = true, .capacity = 1};
    uint64_t compute;

    for (size_t d = 0; d < world->n; d++)
        cut.n_used += at[d + 1] > at[d];
    compute = cut.n_used > 1 ? world->estimate.compute_split_bytes : world->estimate.compute_bytes;
    for (size_t d = 0; d < world->n; d++) {
        wide used = range_of(world, at[d], at[d + 1]) + compute +
                    (cut.n_used > 1 ? beside_of(world, at[d], at[d + 1]) : 0);
        wide capacity = capacity_of(&world->devices[d]);

        if (at[d + 1] == at[d])
            continue;
        if (used > capacity)
            return false;
        if (used * cut.capacity > cut.used * capacity) {
            cut.used = used;
            cut.capacity = capacity;
        }
    }
    memcpy(cut.at, at, (world->n + 1) * sizeof(*at));
    *ret = cut;
    return true;
}

/* Cuts come in the order of their boundaries, so that of equal ones the first stays. */
static bool is_better(const struct best *a, const struct best *b, bool few)
{
    if (!b->found)
        return true;
    if (few && a->n_used != b->n_used)
        return a->n_used < b->n_used;
    return a->used * b->capacity < b->used * a->capacity;
}

static void try_all(const struct world *world, size_t *at, size_t d, bool few, struct best *best)
{
    struct best cut;

    if (d == world->n) {
        at[d] = world->estimate.n_items;
        if (judge(world, at, &cut) && is_better(&cut, best, few))
            *best = cut;
        return;
    }
    for (at[d] = at[d - 1]; at[d] <= world->estimate.n_items; at[d]++)
        try_all(world, at, d + 1, few, best);
}

static struct best find_best(const struct world *world, bool few)
{
    struct best best = {0};
    size_t at[DEVICES_MAX + 1] = {0};

    try_all(world, at, 1, few, &best);
    return best;
}

/* The device of the smallest capacity that holds all; n: none. */
static size_t find_single(const struct world *world)
{
    wide needs = range_of(world, 0, world->estimate.n_items) + world->estimate.compute_bytes;
    size_t best = world->n;

    for (size_t d = 0; d < world->n; d++) {
        wide capacity = capacity_of(&world->devices[d]);

        if (capacity >= needs &&
            (best == world->n || capacity < capacity_of(&world->devices[best])))
            best = d;
    }
    return best;
}

/* ---- comparisons -------------------------------------------------------------------------------------- */

static void assert_cut(const struct world *world, const struct pm_split *split,
                       const struct best *best)
{
    assert_true(split->fits);
    assert_int_equal(split->n_used, best->n_used);
    for (size_t d = 0; d < world->n; d++)
        assert_int_equal(split->counts[d], best->at[d + 1] - best->at[d]);
}

static void assert_sound(const struct world *world, const struct pm_split *split)
{
    double ratios[PM_SHARES_MAX], sum = 0;
    unsigned n_items = 0;

    pm_split_ratios(split, ratios);
    for (size_t d = 0; d < world->n; d++) {
        n_items += split->counts[d];
        assert_true(split->used_bytes[d] == 0 ||
                    (wide)split->used_bytes[d] <= capacity_of(&world->devices[d]));
        assert_int_equal(split->used_bytes[d] > 0, split->counts[d] > 0);
        if (capacity_of(&world->devices[d]) <= 0)
            assert_int_equal(split->counts[d], 0);
    }
    for (size_t i = 0; i < split->n_used; i++)
        sum += ratios[i];
    assert_int_equal(n_items, world->estimate.n_items);
    assert_true(sum > 1 - 1e-12 && sum < 1 + 1e-12);
}

static bool fits_with(const struct world *world, enum pm_split_mode mode, size_t d, uint64_t more)
{
    struct world larger = *world;

    larger.estimate.weights = larger.weights;
    larger.estimate.kv = larger.kv;
    larger.devices[d].free_bytes += more;
    if (mode == PM_SPLIT_NONE)
        return find_single(&larger) < larger.n;
    return find_best(&larger, false).found;
}

static void assert_shortfall(const struct world *world, enum pm_split_mode mode,
                             const struct pm_split *split)
{
    assert_false(split->fits);
    assert_true(split->short_bytes > 0);
    assert_true(fits_with(world, mode, split->short_device, split->short_bytes));
    for (size_t d = 0; d < world->n; d++)
        assert_false(fits_with(world, mode, d, split->short_bytes - 1));
}

static size_t check_world(const struct world *world)
{
    struct best all = find_best(world, false), few = find_best(world, true);
    size_t single = find_single(world);
    struct pm_split none = plan(world, PM_SPLIT_NONE), automatic = plan(world, PM_SPLIT_AUTO);
    struct pm_split balanced = plan(world, PM_SPLIT_BALANCED);

    assert_int_equal(none.fits, single < world->n);
    if (none.fits) {
        assert_int_equal(none.used[0], single);
        assert_memory_equal(&automatic, &none, sizeof(none));
    } else {
        assert_shortfall(world, PM_SPLIT_NONE, &none);
    }

    if (!all.found) {
        assert_shortfall(world, PM_SPLIT_AUTO, &automatic);
        assert_memory_equal(&balanced, &automatic, sizeof(balanced));
        return 0;
    }

    assert_cut(world, &balanced, &all);
    assert_sound(world, &balanced);
    assert_sound(world, &automatic);
    if (!none.fits)
        assert_cut(world, &automatic, &few);
    return automatic.n_used;
}

static void test_plans_are_the_best_of_all_cuts(void **state)
{
    size_t n_of[DEVICES_MAX + 1] = {0};

    seed = 1;
    for (int i = 0; i < rounds(CASES); i++) {
        struct world world;

        draw_world(&world);
        n_of[check_world(&world)]++;
    }
    /* All kinds were met. */
    for (size_t n = 0; n <= 3; n++)
        assert_true(n_of[n] > (uint64_t)rounds(CASES) / 200);
}

static void test_the_order_in_the_input_changes_nothing(void **state)
{
    seed = 2;
    for (int i = 0; i < rounds(CASES / 4); i++) {
        struct world world, turned;
        struct pm_split split, again;
        size_t shift;

        draw_world(&world);
        turned = world;
        turned.estimate.weights = turned.weights;
        turned.estimate.kv = turned.kv;
        shift = draw(world.n);
        for (size_t d = 0; d < world.n; d++)
            turned.devices[(d + shift) % world.n] = world.devices[d];
        split = plan(&world, PM_SPLIT_AUTO);
        again = plan(&turned, PM_SPLIT_AUTO);
        assert_int_equal(split.fits, again.fits);
        assert_int_equal(split.short_bytes, again.short_bytes);
        for (size_t d = 0; d < world.n; d++)
            assert_int_equal(split.counts[d], again.counts[(d + shift) % world.n]);
        if (!split.fits)
            assert_int_equal((split.short_device + shift) % world.n, again.short_device);
        for (size_t d = 0; d < split.n_used; d++)
            assert_int_equal((split.used[d] + shift) % world.n, again.used[d]);
    }
}

static void test_more_memory_or_less_to_hold_never_hurts(void **state)
{
    seed = 3;
    for (int i = 0; i < rounds(CASES / 4); i++) {
        struct world world;
        struct pm_split before, after;

        draw_world(&world);
        before = plan(&world, PM_SPLIT_AUTO);
        if (draw(2) == 0)
            world.devices[draw(world.n)].free_bytes += draw(9);
        else
            for (size_t item = 0; item < world.estimate.n_items; item++)
                world.kv[item] -= world.kv[item] / 2;
        after = plan(&world, PM_SPLIT_AUTO);
        assert_true(after.fits >= before.fits);
        if (!after.fits)
            assert_true(after.short_bytes <= before.short_bytes);
        if (before.fits)
            assert_true(after.n_used <= before.n_used);
    }
}

/* ---- the largest context ------------------------------------------------------------------------------ */

static struct pm_model *draw_model(void)
{
    struct pm_model *model = pm_model_new(1 + draw(6));

    model->context = 256 * draw(24) + draw(256);
    if (model->context == 0)
        model->context = 1;
    model->n_embd = 8;
    model->window = 256 + draw(2000);
    model->output_bytes = draw(100000);
    for (size_t i = 0; i < model->n_layers; i++) {
        model->layers[i].weights_bytes = draw(1000000);
        model->layers[i].k_elements = 32 * draw(4);
        model->layers[i].v_elements = 32 * draw(4);
        model->layers[i].sliding = draw(3) == 0;
        model->layers[i].state_elements = draw(4) == 0 ? draw(1000) : 0;
    }
    return model;
}

static uint64_t scan_contexts(const struct pm_model *model, struct pm_estimate_ask ask,
                              enum pm_split_mode mode, const double *ratios,
                              const struct pm_split_device *devices, size_t n)
{
    uint64_t step = model->context < 256 ? model->context : 256, best = 0;

    for (ask.context = step; ask.context <= model->context; ask.context += step) {
        struct pm_estimate estimate;
        struct pm_split split;

        assert_int_equal(pm_estimate_make(model, &ask, &estimate, NULL), POOLMGR_OK);
        assert_int_equal(pm_split_plan(&estimate, mode, ratios, n, devices, n, &split, NULL),
                         POOLMGR_OK);
        if (split.fits)
            best = ask.context;
        pm_estimate_fini(&estimate);
    }
    return best;
}

static void test_the_largest_context_is_that_of_all_tried_one_by_one(void **state)
{
    size_t n_inside = 0;

    seed = 4;
    for (int i = 0; i < 1000; i++) {
        static const double ratios[] = {0.5, 0.25, 0.25};
        static const unsigned types[] = {PM_CACHE_F16, PM_CACHE_Q8_0, PM_CACHE_Q4_0, PM_CACHE_F32};
        struct pm_model *model = draw_model();
        struct pm_estimate_ask ask = pm_estimate_ask_default();
        struct pm_split_device devices[3];
        enum pm_split_mode mode = (enum pm_split_mode)draw(4);
        size_t n = mode == PM_SPLIT_FIXED ? 3 : 1 + draw(3);
        uint64_t largest = 0;

        ask.n_slots = 1 + draw(3);
        ask.unified = draw(2) == 0;
        ask.cache_k = types[draw(4)];
        ask.cache_v = types[draw(4)];
        ask.measured.compute_bytes = 1 + draw(1000);
        for (size_t d = 0; d < n; d++)
            devices[d] = (struct pm_split_device){.free_bytes = draw(5000000), .order = d};
        assert_int_equal(
            pm_split_largest_context(model, &ask, mode, ratios, n, devices, n, &largest, NULL),
            POOLMGR_OK);
        assert_int_equal(largest, scan_contexts(model, ask, mode, ratios, devices, n));
        n_inside += largest > 0 && largest + 256 <= model->context;
        pm_model_unref(model);
    }
    assert_true(n_inside > 50);
}

/* ---- what llama.cpp makes of the counts ----------------------------------------------------------------- */

/* The device of an item: -ts is summed and scaled in 32-bit floats, and a device begins where the next sum is larger than the
 * item's place. */
static size_t device_of(const unsigned *counts, size_t n, unsigned n_items, unsigned item)
{
    float sums[PM_SHARES_MAX], sum = 0, place = (float)item / (float)n_items;
    size_t d = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (float)counts[i];
        sums[i] = sum;
    }
    for (size_t i = 0; i < n; i++)
        sums[i] /= sum;
    while (d < n && !(sums[d] > place))
        d++;
    return d;
}

/* Places grow with the items: it is enough to look at the ends of each range. */
static void assert_reproduced(const unsigned *counts, size_t n, unsigned n_items)
{
    unsigned at = 0;

    for (size_t d = 0; d < n; d++) {
        if (device_of(counts, n, n_items, at) != d ||
            device_of(counts, n, n_items, at + counts[d] - 1) != d)
            fail_msg("device %zu of %zu, items %u to %u of %u", d, n, at, at + counts[d], n_items);
        at += counts[d];
    }
}

static void test_counts_as_ts_are_reproduced_in_all_ways_to_cut_in_two_and_three(void **state)
{
    for (unsigned n_items = 2; n_items <= 130; n_items++) {
        for (unsigned a = 1; a < n_items; a++) {
            assert_reproduced((unsigned[]){a, n_items - a}, 2, n_items);
            for (unsigned b = 1; a + b < n_items; b++)
                assert_reproduced((unsigned[]){a, b, n_items - a - b}, 3, n_items);
        }
    }
}

static void test_counts_as_ts_are_reproduced_a_million_times_at_random(void **state)
{
    seed = 5;
    for (int i = 0; i < rounds(1000000); i++) {
        unsigned counts[PM_SHARES_MAX], n_items = 0;
        size_t n = 1 + draw(PM_SHARES_MAX);

        for (size_t d = 0; d < n; d++)
            n_items += counts[d] = 1 + (unsigned)draw(64);
        assert_reproduced(counts, n, n_items);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_are_the_best_of_all_cuts),
        cmocka_unit_test(test_the_order_in_the_input_changes_nothing),
        cmocka_unit_test(test_more_memory_or_less_to_hold_never_hurts),
        cmocka_unit_test(test_the_largest_context_is_that_of_all_tried_one_by_one),
        cmocka_unit_test(test_counts_as_ts_are_reproduced_in_all_ways_to_cut_in_two_and_three),
        cmocka_unit_test(test_counts_as_ts_are_reproduced_a_million_times_at_random),
    };

    return cmocka_run_group_tests_name("split random", tests, NULL, NULL);
}
