/* SPDX-License-Identifier: Apache-2.0 */
/* The split planner (SPLIT-1, VRAM-1): the golden plans of DEVICES §8, each goal, ratios, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan/split.h"
#include "plan_models.h"

#define MIB (UINT64_C(1) << 20)

static struct pm_estimate_ask golden_ask(uint64_t context)
{
    struct pm_estimate_ask ask = pm_estimate_ask_default();

    ask.context = context;
    ask.measured.compute_bytes = 512 * MIB;
    return ask;
}

static struct pm_estimate golden_estimate(const struct model_shape *shape, uint64_t context)
{
    struct pm_model *model = make_model(shape);
    struct pm_estimate_ask ask = golden_ask(context);
    struct pm_estimate estimate = {0};
    struct poolmgr_error err = {0};

    assert_int_equal(pm_estimate_make(model, &ask, &estimate, &err), POOLMGR_OK);
    pm_model_unref(model);
    return estimate;
}

static size_t set_devices(const unsigned *free_mib, struct pm_split_device *devices)
{
    size_t n = 0;

    for (; free_mib[n] != 0; n++)
        devices[n] = (struct pm_split_device){.free_bytes = free_mib[n] * MIB,
                                              .reserve_bytes = 1024 * MIB,
                                              .context_bytes = 512 * MIB,
                                              .order = n};
    return n;
}

static struct pm_split plan(const struct pm_estimate *estimate, enum pm_split_mode mode,
                            const struct pm_split_device *devices, size_t n)
{
    struct poolmgr_error err = {0};
    struct pm_split split;

    if (pm_split_plan(estimate, mode, NULL, 0, devices, n, &split, &err) < 0)
        fail_msg("%s", err.message);
    return split;
}

/* ---- the golden plans --------------------------------------------------------------------------------- */

struct golden {
    const struct model_shape *shape;
    unsigned free_mib[PM_SHARES_MAX + 1];
    unsigned counts[PM_SHARES_MAX]; /* the first 0: does not fit */
    uint64_t used[PM_SHARES_MAX];   /* where it does not fit: what device 0 lacks */
    uint64_t largest;               /* context; 0: the page does not say */
};

static const struct golden goldens[] = {
    {&shape_32b, {24000, 11800}, {46, 19}, {15456854016, 7171784704}, 0},
    {&shape_32b, {11800, 11800}, {0}, {1193914368}, 3584},
    {&shape_32b, {11800, 11800, 7900}, {25, 26, 14}, {8726188032, 8882692096, 5556629504}, 25600},
    {&shape_8b, {7900}, {33}, {6228009216}, 11520},
    {&shape_8b, {5900}, {0}, {1652023552}, 0},
    {&shape_70b, {24000, 24000}, {41, 40}, {22924820480, 22754803968}, 11776},
    {&shape_70b, {48000, 24000}, {56, 25}, {30972641280, 14706983168}, 0},
};

static void test_golden_plans_are_exact(void **state)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(goldens); i++) {
        const struct golden *golden = &goldens[i];
        struct pm_estimate estimate = golden_estimate(golden->shape, 8192);
        struct pm_split_device devices[PM_SHARES_MAX];
        size_t n = set_devices(golden->free_mib, devices);
        struct pm_split split = plan(&estimate, PM_SPLIT_BALANCED, devices, n);

        assert_int_equal(split.fits, golden->counts[0] > 0);
        if (split.fits) {
            assert_memory_equal(split.counts, golden->counts, n * sizeof(split.counts[0]));
            assert_memory_equal(split.used_bytes, golden->used, n * sizeof(split.used_bytes[0]));
        } else {
            assert_int_equal(split.short_device, 0);
            assert_int_equal(split.short_bytes, golden->used[0]);
        }
        pm_estimate_fini(&estimate);
    }
}

static void test_golden_largest_contexts_are_exact(void **state)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(goldens); i++) {
        struct pm_model *model = make_model(goldens[i].shape);
        struct pm_estimate_ask ask = golden_ask(8192);
        struct pm_split_device devices[PM_SHARES_MAX];
        size_t n = set_devices(goldens[i].free_mib, devices);
        struct poolmgr_error err = {0};
        uint64_t largest;

        assert_int_equal(pm_split_largest_context(model, &ask, PM_SPLIT_BALANCED, NULL, 0, devices,
                                                  n, &largest, &err),
                         POOLMGR_OK);
        if (goldens[i].largest > 0)
            assert_int_equal(largest, goldens[i].largest);
        assert_true(largest % 256 == 0 && largest <= model->context);
        pm_model_unref(model);
    }
}

static void test_what_fits_on_one_device_is_not_split(void **state)
{
    static const unsigned wide[] = {24000, 11800, 0}, wider[] = {48000, 24000, 0};
    struct pm_estimate m32b = golden_estimate(&shape_32b, 8192);
    struct pm_estimate m70b = golden_estimate(&shape_70b, 8192);
    struct pm_split_device devices[PM_SHARES_MAX];
    size_t n = set_devices(wide, devices);
    struct pm_split split = plan(&m32b, PM_SPLIT_AUTO, devices, n);

    assert_true(split.fits);
    assert_int_equal(split.counts[0], 65);
    assert_int_equal(split.n_used, 1);
    n = set_devices(wider, devices);
    split = plan(&m70b, PM_SPLIT_AUTO, devices, n);
    assert_int_equal(split.counts[0], 81);
    assert_int_equal(split.counts[1], 0);
    pm_estimate_fini(&m32b);
    pm_estimate_fini(&m70b);
}

static void test_equal_shares_of_four_are_those_of_the_engine(void **state)
{
    static const unsigned frees[] = {40000, 40000, 40000, 40000, 0}, counts[] = {17, 16, 16, 16};
    static const double ratios[] = {0.25, 0.25, 0.25, 0.25};
    static const char *const mib[] = {"4844.72", "4366.53", "4366.53", "4930.57"};
    struct pm_estimate estimate = golden_estimate(&shape_32b, 8192);
    struct pm_split_device devices[PM_SHARES_MAX];
    size_t n = set_devices(frees, devices);
    struct pm_split split;

    assert_int_equal(pm_split_plan(&estimate, PM_SPLIT_FIXED, ratios, 4, devices, n, &split, NULL),
                     POOLMGR_OK);
    assert_true(split.fits);
    assert_memory_equal(split.counts, counts, sizeof(counts));
    for (size_t i = 0; i < 4; i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "%.2f", (double)split.weights_bytes[i] / (double)MIB);
        assert_string_equal(text, mib[i]);
    }
    pm_estimate_fini(&estimate);
}

/* ---- goals -------------------------------------------------------------------------------------------- */

/* Items of equal weight without a cache. */
static void even(struct pm_estimate *estimate, size_t n_items, uint64_t bytes, uint64_t *weights,
                 uint64_t *kv)
{
    *estimate = (struct pm_estimate){.n_items = n_items,
                                     .weights = weights,
                                     .kv = kv,
                                     .compute_bytes = 1,
                                     .compute_split_bytes = 1};
    for (size_t i = 0; i < n_items; i++) {
        weights[i] = bytes;
        kv[i] = 0;
    }
}

static void test_the_smallest_device_that_fits_is_taken_and_the_first_of_equal_ones(void **state)
{
    const struct pm_split_device devices[] = {
        {.free_bytes = 900, .order = 0},
        {.free_bytes = 500, .order = 1},
        {.free_bytes = 90, .order = 2},
        {.free_bytes = 600, .reserve_bytes = 50, .context_bytes = 50, .order = 3}};
    uint64_t weights[10], kv[10];
    struct pm_estimate estimate;
    struct pm_split split;

    even(&estimate, 10, 10, weights, kv);
    split = plan(&estimate, PM_SPLIT_NONE, devices, 4);
    assert_true(split.fits);
    assert_int_equal(split.used[0], 1);
    assert_int_equal(split.used_bytes[1], 101);
    split = plan(&estimate, PM_SPLIT_AUTO, devices, 4);
    assert_int_equal(split.used[0], 1);
    assert_int_equal(split.n_used, 1);
}

static void test_as_few_devices_as_will_do_are_taken(void **state)
{
    const struct pm_split_device devices[] = {{.free_bytes = 41, .order = 0},
                                              {.free_bytes = 71, .order = 1},
                                              {.free_bytes = 61, .order = 2},
                                              {.free_bytes = 11, .order = 3}};
    uint64_t weights[10], kv[10];
    struct pm_estimate estimate;
    struct pm_split split;

    even(&estimate, 10, 10, weights, kv);
    split = plan(&estimate, PM_SPLIT_AUTO, devices, 4);
    assert_int_equal(split.n_used, 2);
    assert_int_equal(split.counts[1], 5);
    assert_int_equal(split.counts[2], 5);
    split = plan(&estimate, PM_SPLIT_BALANCED, devices, 4);
    assert_int_equal(split.n_used, 3);
}

static void test_the_order_of_devices_in_the_input_is_irrelevant(void **state)
{
    struct pm_split_device given[3], turned[3];
    static const unsigned frees[] = {11800, 11800, 7900, 0};
    struct pm_estimate estimate = golden_estimate(&shape_32b, 8192);
    struct pm_split split;

    (void)set_devices(frees, given);
    turned[0] = given[2];
    turned[1] = given[0];
    turned[2] = given[1];
    split = plan(&estimate, PM_SPLIT_BALANCED, turned, 3);
    assert_int_equal(split.counts[0], 14);
    assert_int_equal(split.counts[1], 25);
    assert_int_equal(split.counts[2], 26);
    assert_int_equal(split.used[0], 1);
    assert_int_equal(split.used[1], 2);
    assert_int_equal(split.used[2], 0);
    pm_estimate_fini(&estimate);
}

static void test_a_device_below_nothing_lacks_that_too(void **state)
{
    const struct pm_split_device device = {
        .free_bytes = 10, .reserve_bytes = 100, .context_bytes = 7};
    uint64_t weights[3], kv[3];
    struct pm_estimate estimate;
    struct pm_split split;

    even(&estimate, 3, 10, weights, kv);
    split = plan(&estimate, PM_SPLIT_AUTO, &device, 1);
    assert_false(split.fits);
    assert_int_equal(split.short_bytes, 31 + 97);
}

static void test_of_devices_that_lack_the_same_the_first_is_named(void **state)
{
    const struct pm_split_device devices[] = {{.free_bytes = 5, .order = 0},
                                              {.free_bytes = 5, .order = 1},
                                              {.free_bytes = 5, .order = 2}};
    uint64_t weights[3], kv[3];
    struct pm_estimate estimate;

    even(&estimate, 3, 10, weights, kv);
    assert_int_equal(plan(&estimate, PM_SPLIT_NONE, devices, 3).short_device, 0);
    assert_int_equal(plan(&estimate, PM_SPLIT_AUTO, devices, 3).short_device, 0);
}

static void test_kv_is_capped_by_the_smallest_of_equal_shares(void **state)
{
    struct pm_model *model = make_model(&shape_8b);
    struct pm_estimate_ask ask = golden_ask(0);
    static const unsigned frees[] = {16000, 4800, 0};
    static const double ratios[] = {0.5, 0.5};
    struct pm_split_device devices[2];
    uint64_t largest, small_kv;

    (void)set_devices(frees, devices);
    assert_int_equal(pm_split_largest_context(model, &ask, PM_SPLIT_FIXED, ratios, 2, devices, 2,
                                              &largest, NULL),
                     POOLMGR_OK);
    /* 17 layers and then 15 with the output: (C_1 − weights_1 − compute) / 60 KiB a token. */
    small_kv = (4800 - 1024 - 512 - 512) * MIB - 430956800;
    for (size_t i = 17; i < 32; i++)
        small_kv -= model->layers[i].weights_bytes;
    assert_int_equal(largest, small_kv / (15 * 4096) / 256 * 256);
    pm_model_unref(model);
}

static void test_the_largest_context_is_at_most_the_trained_one(void **state)
{
    static const unsigned frees[] = {80000, 0}, none[] = {2000, 0};
    struct pm_model *model = make_model(&shape_4b);
    struct pm_estimate_ask ask = golden_ask(0);
    struct pm_split_device devices[1];
    struct poolmgr_error err = {0};
    uint64_t largest;

    (void)set_devices(frees, devices);
    assert_int_equal(
        pm_split_largest_context(model, &ask, PM_SPLIT_NONE, NULL, 0, devices, 1, &largest, &err),
        POOLMGR_OK);
    assert_int_equal(largest, 40960);
    model->context = 100;
    (void)pm_split_largest_context(model, &ask, PM_SPLIT_NONE, NULL, 0, devices, 1, &largest, &err);
    assert_int_equal(largest, 100);
    (void)set_devices(none, devices);
    (void)pm_split_largest_context(model, &ask, PM_SPLIT_NONE, NULL, 0, devices, 1, &largest, &err);
    assert_int_equal(largest, 0);
    pm_model_unref(model);
}

static void test_the_largest_context_of_who_knows_no_trained_one_is_at_most_what_is_asked(
    void **state)
{
    static const unsigned frees[] = {6000, 0};
    struct pm_model *model = make_model(&shape_4b);
    struct pm_estimate_ask ask = golden_ask(0);
    struct pm_split_device devices[1];
    struct poolmgr_error err = {0};
    uint64_t largest, all;

    (void)state;
    (void)set_devices(frees, devices);
    assert_int_equal(
        pm_split_largest_context(model, &ask, PM_SPLIT_NONE, NULL, 0, devices, 1, &all, &err),
        POOLMGR_OK);
    assert_true(all > 4096 && all < 40960);
    model->context = 0;
    for (uint64_t asked = 100; asked < 2 * all; asked *= 3) {
        ask.context = asked;
        assert_int_equal(pm_split_largest_context(model, &ask, PM_SPLIT_NONE, NULL, 0, devices, 1,
                                                  &largest, &err),
                         POOLMGR_OK);
        assert_int_equal(largest, asked < 256 ? asked : asked < all ? asked / 256 * 256 : all);
    }

    ask.context = 0;
    assert_int_equal(
        pm_split_largest_context(model, &ask, PM_SPLIT_NONE, NULL, 0, devices, 1, &largest, &err),
        POOLMGR_E_BAD_ARGUMENTS);
    pm_model_unref(model);
}

/* ---- ratios ------------------------------------------------------------------------------------------- */

static void test_bad_ratios_are_refused_with_what_is_wrong(void **state)
{
    static const struct {
        double ratios[3];
        size_t n;
        const char *text;
    } rows[] = {
        {{0.5, 0.25, 0.25}, 3, "3 ratios for 2 devices: each has one"},
        {{1}, 1, "1 ratio for 2 devices"},
        {{0.5, 0.4}, 2, "sum to 0.9, not to 1"},
        {{1.5, -0.5}, 2, "ratio 2 is -0.5"},
        {{NAN, 1}, 2, "ratio 1 is "},
        {{INFINITY, 0}, 2, "ratio 1 is inf"},
        {{0.5, 0.500002}, 2, "sum to 1.000002"},
        {{1e308, 1e308}, 2, "sum to "},
    };
    const struct pm_split_device devices[2] = {{.free_bytes = 1000}, {.free_bytes = 1000}};
    uint64_t weights[4], kv[4];
    struct pm_estimate estimate;

    even(&estimate, 4, 10, weights, kv);
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct poolmgr_error err = {0};
        struct pm_split split;

        assert_int_equal(pm_split_plan(&estimate, PM_SPLIT_FIXED, rows[i].ratios, rows[i].n,
                                       devices, 2, &split, &err),
                         POOLMGR_E_CONFIG_INVALID);
        if (!strstr(err.message, rows[i].text))
            fail_msg("'%s' does not say '%s'", err.message, rows[i].text);
    }
}

static void test_ratios_become_counts_by_their_largest_remainders(void **state)
{
    static const struct {
        double ratios[3];
        unsigned counts[3];
    } rows[] = {
        {{0.67, 0.33, 0}, {44, 21, 0}},
        {{0, 0, 1}, {0, 0, 65}},
        {{0.333333, 0.333333, 0.333334}, {22, 21, 22}},
        {{46 / 65.0, 19 / 65.0, 0}, {46, 19, 0}},
        {{0.4999999999, 0.5000000001, 0}, {32, 33, 0}},
        {{0.9999995, 0, 0}, {65, 0, 0}},
        {{0.5, 0.5, 0}, {33, 32, 0}},
        {{0.2, 0.4, 0.4}, {13, 26, 26}},
    };
    const struct pm_split_device devices[3] = {
        {.free_bytes = 1000}, {.free_bytes = 1000}, {.free_bytes = 1000}};
    uint64_t weights[65], kv[65];
    struct pm_estimate estimate;

    even(&estimate, 65, 10, weights, kv);
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct poolmgr_error err = {0};
        struct pm_split split;

        assert_int_equal(
            pm_split_plan(&estimate, PM_SPLIT_FIXED, rows[i].ratios, 3, devices, 3, &split, &err),
            POOLMGR_OK);
        assert_memory_equal(split.counts, rows[i].counts, sizeof(rows[i].counts));
    }
}

static void test_what_is_asked_by_ratios_is_checked_like_any_plan(void **state)
{
    static const double ratios[] = {0.5, 0.5};
    const struct pm_split_device devices[2] = {{.free_bytes = 51, .order = 1},
                                               {.free_bytes = 40, .order = 0}};
    uint64_t weights[10], kv[10];
    struct pm_estimate estimate;
    struct pm_split split;

    even(&estimate, 10, 10, weights, kv);
    assert_int_equal(pm_split_plan(&estimate, PM_SPLIT_FIXED, ratios, 2, devices, 2, &split, NULL),
                     POOLMGR_OK);
    assert_false(split.fits);
    assert_int_equal(split.short_device, 1);
    assert_int_equal(split.short_bytes, 11);
    assert_int_equal(split.counts[1], 5);
    assert_int_equal(split.used_bytes[1], 51);
}

static void test_of_several_that_are_short_by_ratios_the_one_that_lacks_most_is_named(void **state)
{
    static const double ratios[] = {0.4, 0.3, 0.3};
    const struct pm_split_device devices[3] = {{.free_bytes = 40, .order = 0},
                                               {.free_bytes = 10, .order = 1},
                                               {.free_bytes = 20, .order = 2}};
    uint64_t weights[10], kv[10];
    struct pm_estimate estimate;
    struct pm_split split;

    even(&estimate, 10, 10, weights, kv);
    assert_int_equal(pm_split_plan(&estimate, PM_SPLIT_FIXED, ratios, 3, devices, 3, &split, NULL),
                     POOLMGR_OK);
    assert_int_equal(split.short_device, 1);
    assert_int_equal(split.short_bytes, 21);
}

static void test_no_device_and_too_many_are_refused(void **state)
{
    struct pm_split_device devices[PM_SHARES_MAX + 1] = {{0}};
    uint64_t weights[2], kv[2];
    struct pm_estimate estimate;
    struct poolmgr_error err = {0};
    struct pm_split split;

    even(&estimate, 2, 10, weights, kv);
    assert_int_equal(pm_split_plan(&estimate, PM_SPLIT_AUTO, NULL, 0, devices, 0, &split, &err),
                     POOLMGR_E_CONFIG_INVALID);
    assert_int_equal(
        pm_split_plan(&estimate, PM_SPLIT_AUTO, NULL, 0, devices, PM_SHARES_MAX + 1, &split, &err),
        POOLMGR_E_CONFIG_INVALID);
    assert_non_null(strstr(err.message, "17 devices are more than 16"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_plans_are_exact),
        cmocka_unit_test(test_golden_largest_contexts_are_exact),
        cmocka_unit_test(test_what_fits_on_one_device_is_not_split),
        cmocka_unit_test(test_equal_shares_of_four_are_those_of_the_engine),
        cmocka_unit_test(test_the_smallest_device_that_fits_is_taken_and_the_first_of_equal_ones),
        cmocka_unit_test(test_as_few_devices_as_will_do_are_taken),
        cmocka_unit_test(test_the_order_of_devices_in_the_input_is_irrelevant),
        cmocka_unit_test(test_a_device_below_nothing_lacks_that_too),
        cmocka_unit_test(test_of_devices_that_lack_the_same_the_first_is_named),
        cmocka_unit_test(test_kv_is_capped_by_the_smallest_of_equal_shares),
        cmocka_unit_test(test_the_largest_context_is_at_most_the_trained_one),
        cmocka_unit_test(
            test_the_largest_context_of_who_knows_no_trained_one_is_at_most_what_is_asked),
        cmocka_unit_test(test_bad_ratios_are_refused_with_what_is_wrong),
        cmocka_unit_test(test_ratios_become_counts_by_their_largest_remainders),
        cmocka_unit_test(test_what_is_asked_by_ratios_is_checked_like_any_plan),
        cmocka_unit_test(test_of_several_that_are_short_by_ratios_the_one_that_lacks_most_is_named),
        cmocka_unit_test(test_no_device_and_too_many_are_refused),
    };

    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
