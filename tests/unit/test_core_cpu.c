/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU as a device (VRAM-1, LOAD-2, EVICT-1): room in the machine's memory, and files that several engines have mapped. */
#include <inttypes.h>

#include "core_room_world.h"
#include "plan/estimate.h"

#define MIB (UINT64_C(1) << 20)

static struct pm_model *models[POOLS_MAX];
static size_t n_models;

static int set_up_models(void **s)
{
    n_models = 0;
    return set_up(s);
}

static int tear_down_models(void **s)
{
    for (size_t i = 0; i < n_models; i++)
        pm_model_unref(models[i]);
    return tear_down(s);
}

/* ---- the machine ------------------------------------------------------------------------------------------ */

static void see_memory(uint64_t total_gib, uint64_t free_gib)
{
    const struct pm_device cpu = {
        .total_bytes = total_gib * GIB, .free_known = true, .free_bytes = free_gib * GIB};

    pm_actions_clear(&world.out);
    pm_core_cpu(world.core, &cpu, world.now_ms, &world.out);
}

/* As it is declared: nobody looks at what is free. */
static void declare_memory(uint64_t total_gib)
{
    const struct pm_device cpu = {.total_bytes = total_gib * GIB};

    pm_core_cpu(world.core, &cpu, world.now_ms, &world.out);
}

/* An engine's own memory, and what is free then. */
static void look(const char *id, uint64_t own_bytes, uint64_t free_bytes)
{
    pm_actions_clear(&world.out);
    pm_core_device_seen(world.core, place(id).token, "cpu", own_bytes, world.now_ms, world.now_ms,
                        &world.out);
    pm_core_device_free(world.core, "cpu", free_bytes, true, world.now_ms, world.now_ms,
                        &world.out);
}

static struct pm_pool_spec *cpu_spec(const char *id, uint64_t gib)
{
    struct pm_pool_spec *spec = spec_of(id, gib);

    only_on(spec, "cpu");
    return spec;
}

static void begin_cpu(void)
{
    for (size_t i = 0; i < n_specs; i++)
        world_add(&world, specs[i]);
    pm_core_begin(world.core, world.now_ms, &world.out);
    pm_actions_clear(&world.out);
}

/* Pools a, b and c of 10 GiB on the CPU of a machine that has 24. */
static void begin_three_cpu(void)
{
    declare_memory(24);
    (void)cpu_spec("a", 10);
    (void)cpu_spec("b", 10);
    (void)cpu_spec("c", 10);
    begin_cpu();
}

/* ---- room -------------------------------------------------------------------------------------------------- */

static void test_the_idle_one_that_was_used_longest_ago_stops_for_a_third_EVICT_1(void **s)
{
    begin_three_cpu();
    use("a");
    pass(10);
    use("b");
    (void)wish("c");
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
    assert_told(&world, PM_EV_EVICTED, "a stops: c needs its 10.0 GiB on the CPU");
    ends("a");
    assert_states(PM_COLD, PM_READY, PM_STARTING); /* at once: the kernel has it back */
    assert_true(find_event(&world, PM_EV_VRAM_RETURNED) == NULL);
    assert_int_equal(device(0).planned_bytes, 20 * GIB);
}

static void test_a_busy_one_is_waited_for_LOAD_2(void **s)
{
    struct pm_lease lease;
    struct pm_pool_view view;

    begin_three_cpu();
    lease = run("a");
    (void)run("b");
    (void)wish("c");
    assert_states(PM_READY, PM_READY, PM_WAITING);
    view = pool("c");
    assert_int_equal(view.code, POOLMGR_E_VRAM_SHORT);
    assert_string_equal(view.reason,
                        "waits for room: the CPU lacks 6.0 GiB of the 10.0 GiB it needs");
    end_lease(lease);
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
}

static void test_what_can_never_fit_fails_for_good_with_the_missing_bytes_LOAD_2(void **s)
{
    declare_memory(24);
    (void)cpu_spec("a", 30);
    begin_cpu();
    (void)ask("a");
    assert_int_equal(place("a").state, PM_FAILED);
    assert_int_equal(place("a").last_error.code, POOLMGR_E_NEVER_FITS);
    assert_string_equal(
        place("a").last_error.text,
        "it needs 30.0 GiB on the CPU, which has 24.0 GiB for it: 6442450944 bytes are missing");
    declare_memory(32); /* SUP-6: changed hardware */
    (void)ask("a");
    assert_int_equal(place("a").state, PM_STAGING);
}

static void test_where_nobody_knows_the_machines_memory_all_start(void **s)
{
    (void)cpu_spec("a", 10);
    begin_cpu();
    (void)wish("a");
    assert_int_equal(place("a").state, PM_STARTING);
    assert_int_equal(pool("a").planned_bytes, 0);
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->n_devices, 0);
}

static void test_an_engine_of_which_nothing_is_known_is_not_held_up(void **s)
{
    declare_memory(24);
    (void)cpu_spec("a", 20);
    (void)cpu_spec("b", 10);
    (void)cpu_spec("c", 0);
    begin_cpu();
    (void)run("a");
    (void)wish("b");
    (void)wish("c");
    assert_states(PM_READY, PM_WAITING, PM_STARTING);
}

static void test_memory_that_others_use_counts_as_absent_and_is_named_VRAM_1(void **s)
{
    see_memory(24, 8);
    (void)cpu_spec("a", 10);
    begin_cpu();
    (void)wish("a");
    assert_string_equal(
        pool("a").reason,
        "waits for room: the CPU lacks 2.0 GiB of the 10.0 GiB it needs; 16.0 GiB on "
        "the CPU belong to processes that are not ours");
    see_memory(24, 12);
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_cpu_pools_wait_for_no_look_at_gpus_and_have_no_part_in_masks_MASK_1(void **s)
{
    struct pm_core_options options = {
        .max_parallel_starts = 2, .evict_max_wait_ms = MAX_WAIT, .discovers = true};

    pm_core_configure(world.core, &options, world.now_ms, &world.out);
    declare_memory(24);
    (void)cpu_spec("a", 10);
    only_on(spec_of("b", 10), "all");
    begin_cpu();
    (void)wish("a");
    (void)wish("b");
    assert_int_equal(place("a").state, PM_STARTING);
    assert_int_equal(place("b").state, PM_WAITING);
    add_device(24);
    list_devices();
    assert_int_equal(place("b").state, PM_STARTING);
    assert_string_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].id, "0");
    assert_true(the_action(&world, PM_ACT_SPAWN)->plan->has_all);
    assert_string_equal(device(0).is.id, "0");
    assert_string_equal(device(1).is.id, "cpu"); /* behind those */
    n_devices = 0;
    list_devices();
    assert_int_equal(device(0).is.state, PM_DEVICE_LOST);
    assert_int_equal(device(1).is.state, PM_DEVICE_OK);
}

static void test_auto_without_gpus_is_charged_to_the_cpu_LOAD_5(void **s)
{
    const struct pm_action *spawn;

    declare_memory(24);
    (void)spec_of("a", 10);
    pm_core_gpus(world.core, PM_GPUS_NONE, NULL, world.now_ms, &world.out);
    list_devices();
    begin_cpu();
    (void)wish("a");
    spawn = the_action(&world, PM_ACT_SPAWN);
    assert_true(spawn->plan->on_cpu);
    assert_false(spawn->plan->has_all);
    assert_string_equal(spawn->plan->devices[0].id, "cpu");
    assert_int_equal(device(0).planned_bytes, 10 * GIB);
}

/* ---- reloads, adoption ------------------------------------------------------------------------------------- */

static void reload_a(uint64_t gib)
{
    struct pm_reload reload = {.spec = cpu_spec("a", gib)};
    struct poolmgr_error err = {0};
    uint64_t op;

    reload.spec->model.main = pm_xstrdup("/m/new.gguf");
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_reload(world.core, "a", &reload, world.now_ms, &world.out, &op, &err),
                     0);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
}

static void test_a_reload_that_fits_starts_beside_RELOAD_1(void **s)
{
    begin_three_cpu();
    (void)run("a");
    reload_a(14);
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].bytes, 14 * GIB);
    assert_int_equal(device(0).planned_bytes, 24 * GIB);
}

static void test_a_reload_that_does_not_fit_beside_swaps_RELOAD_1(void **s)
{
    begin_three_cpu();
    use("a");
    reload_a(15);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    ends("a");
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->plan->devices[0].bytes, 15 * GIB);
    assert_int_equal(device(0).planned_bytes, 15 * GIB);
}

static struct pm_token adopt(const char *id, uint64_t bytes, uint64_t mapped_bytes)
{
    struct pm_plan plan = {
        .on_cpu = true,
        .n_devices = 1,
        .devices = {{.id = "cpu", .bytes = bytes, .mapped_bytes = mapped_bytes}}};
    struct poolmgr_error err = {0};
    struct pm_token token;

    assert_int_equal(
        pm_core_adopt(world.core, id, 0, 1, 4711, 10, world.now_ms, &world.out, &token, &err), 0);
    pm_core_adopted_on(world.core, token, &plan, world.now_ms, &world.out);
    return token;
}

/* ---- once a file ------------------------------------------------------------------------------------------- */

/* A model of so many GiB, and an output of one MiB; no cache. */
static struct pm_model *make_model(uint64_t gib)
{
    struct pm_model *model = pm_model_new(4);

    for (size_t i = 0; i < 4; i++)
        model->layers[i].weights_bytes = gib * GIB / 4;
    model->output_bytes = MIB;
    model->context = 32768;
    models[n_models++] = model;
    return model;
}

static struct pm_pool_spec *spec_with(const char *id, const char *file)
{
    struct pm_pool_spec *spec = cpu_spec(id, 0);

    spec->model.main = pm_xstrdup(file);
    return spec;
}

static void wish_with(const char *id, struct pm_model *model)
{
    struct pm_token token;

    (void)ask(id);
    token = the_action(&world, PM_ACT_STAGE)->token;
    pm_actions_clear(&world.out);
    pm_core_staged(world.core, token, NULL, model, model->file_bytes, world.now_ms, &world.out);
}

static void use_with(const char *id, struct pm_model *model)
{
    wish_with(id, model);
    end_lease(make_ready(id));
}

static uint64_t bytes_of(const struct pm_model *model, uint64_t *ret_mapped)
{
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate estimate;
    uint64_t bytes;

    ask.context = 8192;
    ask.n_slots = 4;
    assert_int_equal(pm_estimate_make(model, &ask, &estimate, NULL), 0);
    bytes = pm_estimate_on_cpu(&estimate);
    *ret_mapped = estimate.weights_bytes;
    pm_estimate_fini(&estimate);
    return bytes;
}

/* a and b have one file of 10 GiB, c another. */
static struct pm_model *begin_same_file(uint64_t total_gib, uint64_t *ret_own, uint64_t *ret_mapped)
{
    struct pm_model *model = make_model(10);

    declare_memory(total_gib);
    (void)spec_with("a", "/m/same.gguf");
    (void)spec_with("b", "/m/same.gguf");
    (void)spec_with("c", "/m/other.gguf");
    begin_cpu();
    *ret_own = bytes_of(model, ret_mapped) - *ret_mapped;
    return model;
}

static void test_weights_are_charged_once_a_file_VRAM_1(void **s)
{
    uint64_t own, mapped;
    struct pm_model *model = begin_same_file(24, &own, &mapped);
    const struct pm_plan *plan;

    use_with("a", model);
    assert_int_equal(device(0).planned_bytes, mapped + own);
    wish_with("b", model);
    plan = the_action(&world, PM_ACT_SPAWN)->plan;
    assert_int_equal(plan->devices[0].bytes, mapped + own); /* for who adopts it alone */
    assert_int_equal(plan->devices[0].mapped_bytes, mapped);
    assert_int_equal(device(0).planned_bytes, mapped + 2 * own);
    assert_int_equal(pool("b").planned_bytes, own);
}

static void test_when_the_one_that_carries_a_file_ends_another_carries_it_on(void **s)
{
    uint64_t own, mapped;
    struct pm_model *model = begin_same_file(24, &own, &mapped);

    use_with("a", model);
    use_with("b", model);
    crash(&world, place("a").token, (struct pm_exit){.signalled = true, .status = 9});
    assert_int_equal(pool("b").planned_bytes, mapped + own);
    assert_int_equal(pool("a").planned_bytes, 0);
    crash(&world, place("b").token, (struct pm_exit){.signalled = true, .status = 9});
    assert_int_equal(device(0).planned_bytes, 0);
}

/* Neither of the two alone gives the weights back. */
static void test_a_file_gives_room_when_all_that_have_it_stop_EVICT_1(void **s)
{
    uint64_t own, mapped;
    struct pm_model *model = begin_same_file(18, &own, &mapped);

    use_with("a", model);
    pass(10);
    use_with("b", model);
    wish_with("c", model);
    assert_states(PM_STOPPING, PM_STOPPING, PM_WAITING);
    ends("a");
    assert_int_equal(place("c").state, PM_WAITING);
    ends("b");
    assert_states(PM_COLD, PM_COLD, PM_STARTING);
    assert_int_equal(device(0).planned_bytes, mapped + own);
}

static void test_nobody_stops_for_a_file_that_one_who_works_has_too(void **s)
{
    uint64_t own, mapped;
    struct pm_model *model = begin_same_file(18, &own, &mapped);

    use_with("a", model);
    wish_with("b", model);
    (void)make_ready("b");
    wish_with("c", model);
    assert_states(PM_READY, PM_READY, PM_WAITING);
}

/* Its weights are its own then. */
static void charges_each(const char *word, const char *value)
{
    struct pm_model *model = make_model(10);
    struct pm_pool_spec *spec;
    uint64_t mapped, bytes = bytes_of(model, &mapped);

    declare_memory(64);
    (void)spec_with("a", "/m/same.gguf");
    spec = spec_with("b", "/m/same.gguf");
    pm_strv_add(&spec->args, word);
    if (value)
        pm_strv_add(&spec->args, value);
    begin_cpu();
    use_with("a", model);
    use_with("b", model);
    assert_int_equal(pool("b").planned_bytes, bytes);
    assert_int_equal(device(0).planned_bytes, 2 * bytes);
}

static void test_what_is_not_mapped_is_charged_to_each(void **s)
{
    charges_each("--no-mmap", NULL);
}

static void test_what_is_loaded_otherwise_is_charged_to_each(void **s)
{
    charges_each("-lm", "none");
}

/* What is mapped is never seen as used: it stays to be taken, and what is an engine's own is not counted twice. */
static void test_what_is_mapped_stays_subtracted_from_what_is_free(void **s)
{
    struct pm_model *model = make_model(10);
    uint64_t mapped, own;

    see_memory(24, 20);
    (void)spec_with("a", "/m/one.gguf");
    (void)spec_with("b", "/m/two.gguf");
    begin_cpu();
    own = bytes_of(model, &mapped) - mapped;
    use_with("a", model);
    world.now_ms += 1000;
    look("a", own, 20 * GIB - own);
    assert_int_equal(device(0).left_bytes, 20 * GIB - own - mapped);
    wish_with("b", model); /* 20 GiB were free before; two of 10 and a bit are too much */
    assert_int_equal(place("a").state, PM_STOPPING);
}

/* Locked or copied: what it has is not free any more. */
static void test_what_an_engine_has_of_its_own_is_not_subtracted_again(void **s)
{
    struct pm_model *model = make_model(10);
    uint64_t mapped, bytes = bytes_of(model, &mapped);

    see_memory(24, 20);
    (void)spec_with("a", "/m/one.gguf");
    begin_cpu();
    use_with("a", model);
    world.now_ms += 1000;
    look("a", bytes, 20 * GIB - bytes);
    assert_int_equal(device(0).left_bytes, 20 * GIB - bytes);
}

/* As weights are repacked for the processor: who comes next will have a copy, too. */
static void test_who_is_seen_to_have_copied_its_file_spares_nobody(void **s)
{
    struct pm_model *model = make_model(5);
    uint64_t mapped, bytes = bytes_of(model, &mapped);

    see_memory(24, 20);
    (void)spec_with("a", "/m/same.gguf");
    (void)spec_with("b", "/m/same.gguf");
    begin_cpu();
    use_with("a", model);
    world.now_ms += 1000;
    look("a", bytes, 20 * GIB - bytes);
    use_with("b", model);
    assert_int_equal(device(0).planned_bytes, 2 * bytes);
}

/* Nobody may look at its memory: it is supposed to have loaded what is its own. */
static void test_who_is_ready_and_unseen_has_all_but_what_is_mapped(void **s)
{
    struct pm_model *model = make_model(10);
    uint64_t mapped, own = bytes_of(model, &mapped) - mapped;

    see_memory(24, 20);
    (void)spec_with("a", "/m/one.gguf");
    begin_cpu();
    use_with("a", model);
    world.now_ms += 1000;
    pm_core_device_free(world.core, "cpu", 20 * GIB - own, true, world.now_ms, world.now_ms,
                        &world.out);
    assert_int_equal(device(0).left_bytes, 20 * GIB - own - mapped);
}

static void test_a_model_that_never_fits_says_what_would_LOAD_2(void **s)
{
    struct pm_model *model = make_model(2);
    const struct poolmgr_error *error;

    for (size_t i = 0; i < 4; i++) /* 4 MiB of cache a token */
        model->layers[i].k_elements = model->layers[i].v_elements = 256 * 1024;
    declare_memory(40);
    (void)spec_with("a", "/m/one.gguf");
    begin_cpu();
    wish_with("a", model);
    error = the_action(&world, PM_ACT_REFUSE)->error;
    assert_int_equal(error->code, POOLMGR_E_NEVER_FITS);
    assert_string_equal(error->hint,
                        "the largest context that fits is 2304 tokens; or fewer slots; "
                        "or say its size as vram");
}

static void test_adopted_engines_keep_their_charge_and_have_a_file_in_common(void **s)
{
    struct pm_replica_device on;
    struct pm_token a;

    declare_memory(24);
    (void)spec_with("a", "/m/same.gguf");
    (void)spec_with("b", "/m/same.gguf");
    for (size_t i = 0; i < n_specs; i++)
        world_add(&world, specs[i]);
    a = adopt("a", 12 * GIB, 10 * GIB);
    (void)adopt("b", 13 * GIB, 10 * GIB);
    pm_core_begin(world.core, world.now_ms, &world.out);
    assert_int_equal(device(0).planned_bytes, 15 * GIB);
    assert_true(pm_core_replica_device(world.core, "b", 0, 0, &on));
    assert_string_equal(on.id, "cpu");
    assert_int_equal(on.planned_bytes, 3 * GIB);
    exited(&world, a, (struct pm_exit){.signalled = true, .status = 9});
    childless(&world, a);
    assert_int_equal(pool("b").planned_bytes, 13 * GIB);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_models, tear_down_models)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_idle_one_that_was_used_longest_ago_stops_for_a_third_EVICT_1),
        TEST(test_a_busy_one_is_waited_for_LOAD_2),
        TEST(test_what_can_never_fit_fails_for_good_with_the_missing_bytes_LOAD_2),
        TEST(test_where_nobody_knows_the_machines_memory_all_start),
        TEST(test_an_engine_of_which_nothing_is_known_is_not_held_up),
        TEST(test_memory_that_others_use_counts_as_absent_and_is_named_VRAM_1),
        TEST(test_cpu_pools_wait_for_no_look_at_gpus_and_have_no_part_in_masks_MASK_1),
        TEST(test_auto_without_gpus_is_charged_to_the_cpu_LOAD_5),
        TEST(test_a_reload_that_fits_starts_beside_RELOAD_1),
        TEST(test_a_reload_that_does_not_fit_beside_swaps_RELOAD_1),
        TEST(test_weights_are_charged_once_a_file_VRAM_1),
        TEST(test_when_the_one_that_carries_a_file_ends_another_carries_it_on),
        TEST(test_a_file_gives_room_when_all_that_have_it_stop_EVICT_1),
        TEST(test_nobody_stops_for_a_file_that_one_who_works_has_too),
        TEST(test_what_is_not_mapped_is_charged_to_each),
        TEST(test_what_is_loaded_otherwise_is_charged_to_each),
        TEST(test_what_is_mapped_stays_subtracted_from_what_is_free),
        TEST(test_what_an_engine_has_of_its_own_is_not_subtracted_again),
        TEST(test_who_is_seen_to_have_copied_its_file_spares_nobody),
        TEST(test_who_is_ready_and_unseen_has_all_but_what_is_mapped),
        TEST(test_a_model_that_never_fits_says_what_would_LOAD_2),
        TEST(test_adopted_engines_keep_their_charge_and_have_a_file_in_common),
    };

    return cmocka_run_group_tests_name("core: the CPU as a device", tests, NULL, NULL);
}
