/* SPDX-License-Identifier: Apache-2.0 */
/* Room by real bytes (VRAM-1, SPLIT-1): estimates, splits, what is free and whose the rest is, what engines really take. */
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

/* So many layers of the same size, and an output of one MiB; no cache. */
static struct pm_model *make_model(size_t n_layers, uint64_t layer_bytes)
{
    struct pm_model *model = pm_model_new(n_layers);

    for (size_t i = 0; i < n_layers; i++)
        model->layers[i].weights_bytes = layer_bytes;
    model->output_bytes = MIB;
    model->context = 32768;
    models[n_models++] = model;
    return model;
}

static struct pm_pool_spec *split_spec(const char *id, const char *tensor_split)
{
    struct pm_pool_spec *spec = spec_of(id, 0);

    free(spec->tensor_split);
    spec->tensor_split = pm_xstrdup(tensor_split);
    return spec;
}

static uint64_t wish_with(const char *id, struct pm_model *model)
{
    uint64_t request = ask(id);
    struct pm_token token = the_action(&world, PM_ACT_STAGE)->token;

    pm_actions_clear(&world.out);
    pm_core_staged(world.core, token, NULL, model, model->file_bytes, world.now_ms, &world.out);
    return request;
}

static struct pm_estimate estimate_of(const struct pm_model *model)
{
    struct pm_estimate_ask ask = pm_estimate_ask_default();
    struct pm_estimate estimate;

    ask.context = 8192;
    ask.n_slots = 4;
    assert_int_equal(pm_estimate_make(model, &ask, &estimate, NULL), 0);
    return estimate;
}

/* What one device is charged for the whole of it. */
static uint64_t single_bytes(const struct pm_model *model)
{
    struct pm_estimate estimate = estimate_of(model);
    uint64_t bytes = pm_estimate_single(&estimate) + estimate.context_bytes;

    pm_estimate_fini(&estimate);
    return bytes;
}

static const struct pm_plan *the_plan(void)
{
    return the_action(&world, PM_ACT_SPAWN)->plan;
}

static void seen(const char *id, const char *device_id, uint64_t bytes)
{
    pm_core_device_seen(world.core, place(id).token, device_id, bytes, world.now_ms, world.now_ms,
                        &world.out);
}

static void foreign(const char *device_id, uint64_t bytes)
{
    pm_core_device_foreign(world.core, device_id, bytes, world.now_ms, &world.out);
}

static void measured(const char *id, const char *device_id, enum pm_memory_kind kind,
                     uint64_t bytes)
{
    pm_core_measured(world.core, place(id).token, device_id, kind, bytes, world.now_ms, &world.out);
}

/* ---- what is free -------------------------------------------------------------------------------------- */

static void test_foreign_memory_counts_as_absent_and_is_named_VRAM_1(void **s)
{
    add_device(24);
    (void)spec_of("a", 18);
    begin();
    foreign("0", 7 * GIB);
    seen_free("0", 17, true);
    (void)wish("a");
    assert_int_equal(place("a").state, PM_WAITING);
    assert_string_equal(pool("a").reason,
                        "waits for room: device 0 lacks 2.0 GiB of the 18.0 GiB it needs; 7.0 GiB "
                        "on device 0 belong to processes that are not ours");
    assert_int_equal(device(0).foreign_bytes, 7 * GIB);
    assert_int_equal(device(0).left_bytes, 16 * GIB);
    foreign("0", 5 * GIB);
    seen_free("0", 19, true); /* exactly what was missing */
    assert_int_equal(place("a").state, PM_STARTING);
}

/* VRAM-1: what a driver keeps for itself never comes back and is nobody's. */
static void test_what_a_driver_keeps_can_never_be_had(void **s)
{
    add_device(24);
    devices[0].driver_bytes = GIB;
    (void)spec_of("a", 22);
    (void)spec_of("b", 23);
    begin();
    seen_free("0", 23, false);
    assert_int_equal(device(0).foreign_bytes, 0);
    assert_int_equal(device(0).left_bytes, 22 * GIB);
    (void)wish("b");
    assert_int_equal(place("b").state, PM_FAILED);
    assert_non_null(strstr(place("b").last_error.text, ": 1073741824 bytes are missing"));
    (void)wish("a");
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_what_is_free_is_known_before_the_first_start_on_a_new_device(void **s)
{
    (void)spec_of("a", 18);
    begin();
    add_device(24);
    devices[0].free_known = true;
    devices[0].free_bytes = 12 * GIB;
    pm_core_configure(world.core,
                      &(struct pm_core_options){.discovers = true, .max_parallel_starts = 2},
                      world.now_ms, &world.out);
    list_devices();
    (void)wish("a");
    assert_int_equal(place("a").state, PM_WAITING);
}

static void test_one_byte_less_than_what_is_told_as_missing_is_not_enough(void **s)
{
    add_device(24);
    (void)spec_of("a", 18);
    begin();
    seen_free("0", 17, true);
    (void)wish("a");
    pm_core_device_free(world.core, "0", 19 * GIB - 1, true, world.now_ms, world.now_ms,
                        &world.out);
    assert_int_equal(place("a").state, PM_WAITING);
    pm_core_device_free(world.core, "0", 19 * GIB, true, world.now_ms, world.now_ms, &world.out);
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_memory_of_others_in_the_way_keeps_nobody_waiting(void **s)
{
    add_device(24);
    (void)spec_of("a", 18);
    (void)spec_of("b", 10);
    begin();
    seen_free("0", 14, true);
    (void)wish("a");
    world.now_ms++;
    (void)wish("b");
    assert_int_equal(place("a").state, PM_WAITING);
    assert_int_equal(place("b").state, PM_STARTING);
}

/* DEVICES §8: free - sum of max(0, planned - seen) over engines still loading. */
static void test_two_that_load_at_once_do_not_over_commit_LOAD_2(void **s)
{
    add_device(24);
    (void)spec_of("a", 10);
    (void)spec_of("b", 10);
    begin();
    seen_free("0", 20, true); /* 4 are somebody's: 19 can be had */
    (void)wish("a");
    assert_int_equal(place("a").state, PM_STARTING);
    world.now_ms++;
    seen("a", "0", 6 * GIB); /* it loads: the rest is still to come */
    seen_free("0", 14, true);
    assert_int_equal(device(0).left_bytes, 9 * GIB);
    (void)wish("b");
    assert_int_equal(place("b").state, PM_WAITING);
}

static void test_who_is_ready_has_loaded_all_though_nobody_sees_how_much(void **s)
{
    add_device(24);
    (void)spec_of("a", 10);
    begin();
    seen_free("0", 24, false);
    use("a");
    world.now_ms += 1000;
    seen_free("0", 14, false);
    assert_int_equal(device(0).left_bytes, 13 * GIB);
}

static void test_who_takes_more_than_it_was_charged_is_counted_with_what_it_takes(void **s)
{
    add_device(24);
    (void)spec_of("a", 4);
    (void)spec_of("b", 10);
    begin();
    use("a");
    world.now_ms += 1000;
    seen("a", "0", 14 * GIB);
    seen_free("0", 10, true);
    assert_int_equal(device(0).left_bytes, 9 * GIB);
    (void)wish("b"); /* it is the victim for what it really uses */
    assert_int_equal(place("a").state, PM_STOPPING);
    assert_int_equal(place("b").state, PM_WAITING);
}

static void test_a_process_that_is_listed_still_keeps_its_charge_SUP_7(void **s)
{
    begin_three();
    specs[0]->restart = PM_RESTART_NEVER;
    seen_free("0", 24, true);
    (void)run("a");
    seen("a", "0", 10 * GIB);
    seen_free("0", 14, true);
    crash(&world, place("a").token, (struct pm_exit){.status = 1});
    world.now_ms += 500;
    seen("a", "0", 2 * GIB);
    seen_free("0", 22, true);
    pass(5000);
    assert_int_equal(place("a").state, PM_STOPPING);
    seen("a", "0", 0);
    seen_free("0", 24, true);
    pass(1000);
    assert_int_equal(place("a").state, PM_COLD);
}

static void test_a_neighbour_that_comes_meanwhile_makes_nobody_suspect(void **s)
{
    begin_three();
    specs[0]->restart = PM_RESTART_NEVER;
    seen_free("0", 24, true);
    (void)run("a");
    crash(&world, place("a").token, (struct pm_exit){.status = 1});
    for (int i = 0; i < 24; i++) {
        world.now_ms += 500;
        foreign("0", 8 * GIB);
        seen_free("0", 16, true);
    }
    assert_int_equal(place("a").state, PM_COLD);
    assert_int_equal(device(0).is.state, PM_DEVICE_OK);
}

/* ---- estimates ----------------------------------------------------------------------------------------- */

static void test_undeclared_bytes_are_estimated_from_the_model(void **s)
{
    struct pm_model *model = make_model(32, 256 * MIB);

    add_device(24);
    (void)spec_of("a", 0);
    begin();
    (void)wish_with("a", model);
    assert_int_equal(the_plan()->n_layers, 33);
    assert_int_equal(the_plan()->devices[0].n_layers, 33);
    assert_int_equal(the_plan()->devices[0].bytes, single_bytes(model));
    assert_int_equal(device(0).planned_bytes, single_bytes(model));
}

static void test_who_keeps_few_logits_is_charged_for_few(void **s)
{
    struct pm_model *model = make_model(32, 256 * MIB);
    struct pm_estimate_ask few = pm_estimate_ask_default();
    struct pm_estimate estimate;
    struct pm_token token;

    model->n_vocab = 256 * 1024;
    add_device(24);
    (void)spec_of("a", 0);
    begin();
    (void)ask("a");
    token = the_action(&world, PM_ACT_STAGE)->token;
    pm_core_program(world.core, token, true);
    pm_actions_clear(&world.out);
    pm_core_staged(world.core, token, NULL, model, model->file_bytes, world.now_ms, &world.out);

    few.context = 8192;
    few.n_slots = few.n_outputs = 4;
    assert_int_equal(pm_estimate_make(model, &few, &estimate, NULL), 0);
    assert_int_equal(the_plan()->devices[0].bytes,
                     pm_estimate_single(&estimate) + estimate.context_bytes);
    assert_true(the_plan()->devices[0].bytes < single_bytes(model));
    pm_estimate_fini(&estimate);
}

static void test_a_declared_number_stands_above_the_estimate(void **s)
{
    add_device(24);
    (void)spec_of("a", 3);
    begin();
    (void)wish_with("a", make_model(32, 256 * MIB));
    assert_int_equal(the_plan()->n_layers, 33);
    assert_int_equal(the_plan()->devices[0].bytes, 3 * GIB);
}

static void test_an_estimate_that_never_fits_says_what_would(void **s)
{
    struct pm_model *model = make_model(32, 256 * MIB);
    const struct poolmgr_error *error;
    char text[64];

    model->layers[0].k_elements = 4 * 1024 * 1024; /* 8 MiB a token */
    add_device(24);
    (void)spec_of("a", 0);
    begin();
    (void)wish_with("a", model);
    error = the_action(&world, PM_ACT_REFUSE)->error;
    assert_int_equal(error->code, POOLMGR_E_NEVER_FITS);
    (void)snprintf(text, sizeof(text), ": %" PRIu64 " bytes are missing",
                   single_bytes(model) - 23 * GIB);
    assert_non_null(strstr(error->message, text));
    assert_string_equal(error->hint, "the largest context that fits is 256 tokens; or fewer slots");
}

/* SUP-6 */
static void test_a_smaller_model_in_the_place_of_one_that_never_fits_is_tried(void **s)
{
    add_device(24);
    (void)spec_of("a", 0);
    begin();
    (void)wish_with("a", make_model(32, GIB));
    assert_int_equal(place("a").state, PM_FAILED);
    pm_core_file_changed(world.core, "a", world.now_ms, &world.out);
    (void)wish_with("a", make_model(16, GIB));
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_arguments_of_the_user_count_in_the_estimate(void **s)
{
    struct pm_model *model = make_model(4, 256 * MIB);
    struct pm_pool_spec *spec;

    model->layers[0].k_elements = model->layers[0].v_elements = 64 * 1024;
    add_device(48);
    spec = spec_of("a", 0);
    pm_strv_add(&spec->args, "-ctk");
    pm_strv_add(&spec->args, "q8_0");
    pm_strv_add(&spec->args, "--cache-type-v");
    pm_strv_add(&spec->args, "q8_0");
    pm_strv_add(&spec->args, "-c");
    pm_strv_add(&spec->args, "4096");
    begin();
    (void)wish_with("a", model);
    assert_true(the_plan()->devices[0].bytes < single_bytes(model) / 2);
}

/* llama.cpp takes them from its environment, too; its command line wins. */
static void test_variables_of_the_user_count_in_the_estimate_and_arguments_win(void **s)
{
    struct pm_pool_spec *spec = pm_pool_spec_new("a");

    pm_strv_add(&spec->env.names, "LLAMA_ARG_CACHE_TYPE_K");
    pm_strv_add(&spec->env.values, "q8_0");
    pm_strv_add(&spec->env.names, "LLAMA_ARG_CACHE_TYPE_V");
    pm_strv_add(&spec->env.values, "q4_0");
    pm_strv_add(&spec->env.names, "LLAMA_ARG_UBATCH");
    pm_strv_add(&spec->env.values, "4096");
    pm_strv_add(&spec->env.names, "LLAMA_ARG_KV_UNIFIED");
    pm_strv_add(&spec->env.values, "1");
    assert_int_equal(pm_spec_ask(spec).cache_k, 8);
    assert_int_equal(pm_spec_ask(spec).cache_v, 2);
    assert_int_equal(pm_spec_ask(spec).ubatch, 4096);
    assert_true(pm_spec_ask(spec).unified);
    pm_strv_add(&spec->args, "-ctv");
    pm_strv_add(&spec->args, "f16");
    pm_strv_add(&spec->args, "-no-kvu");
    assert_int_equal(pm_spec_ask(spec).cache_v, 1);
    assert_false(pm_spec_ask(spec).unified);
    pm_pool_spec_unref(spec);
}

/* ---- splits --------------------------------------------------------------------------------------------- */

static void test_none_is_one_device_though_two_together_would_do(void **s)
{
    add_device(12);
    add_device(12);
    (void)split_spec("a", "none");
    begin();
    (void)wish_with("a", make_model(32, 512 * MIB));
    assert_int_equal(place("a").state, PM_FAILED);
}

static void test_auto_is_one_device_where_one_fits_and_else_a_split_SPLIT_1(void **s)
{
    struct pm_model *model = make_model(32, 512 * MIB);

    add_device(12);
    add_device(12);
    (void)split_spec("a", "auto");
    (void)split_spec("b", "auto");
    begin();
    (void)wish_with("b", make_model(4, 256 * MIB));
    assert_int_equal(the_plan()->n_devices, 1);
    (void)wish_with("a", model);
    assert_int_equal(place("a").state, PM_STARTING);
    assert_int_equal(the_plan()->n_devices, 2);
    assert_int_equal(the_plan()->devices[0].n_layers + the_plan()->devices[1].n_layers, 33);
    assert_string_equal(the_plan()->devices[0].id, "0");
    assert_true(device(0).planned_bytes <= 11 * GIB && device(1).planned_bytes <= 11 * GIB);
}

static void test_a_split_that_fits_nowhere_names_the_device_and_the_bytes(void **s)
{
    add_device(12);
    add_device(12);
    (void)split_spec("a", "auto");
    begin();
    (void)wish_with("a", make_model(64, 512 * MIB));
    assert_int_equal(place("a").state, PM_FAILED);
    assert_non_null(
        strstr(place("a").last_error.text, "split over 2 devices it does not fit: on "));
    assert_non_null(strstr(place("a").last_error.text, "bytes are missing"));
}

/* What is told as missing of a split is exact. */
static void test_with_the_bytes_that_a_split_lacks_it_fits_and_with_one_less_it_does_not(void **s)
{
    unsigned long long missing = 0;
    const char *text, *at;
    size_t number;

    add_device(12);
    add_device(12);
    (void)split_spec("a", "auto");
    begin();
    (void)wish_with("a", make_model(64, 512 * MIB));
    text = place("a").last_error.text;
    number = strstr(text, "on device 1") ? 1 : 0;
    at = strstr(text, "for it, ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "for it, %llu bytes", &missing), 1);
    devices[number].total_bytes += missing - 1;
    list_devices();
    (void)wish_with("a", models[0]);
    assert_int_equal(place("a").state, PM_FAILED);
    devices[number].total_bytes++;
    list_devices();
    (void)wish_with("a", models[0]);
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_a_users_ratios_are_kept(void **s)
{
    add_device(24);
    add_device(24);
    (void)split_spec("a", "[0.75,0.25]");
    begin();
    (void)wish_with("a", make_model(31, 256 * MIB));
    assert_int_equal(the_plan()->devices[0].n_layers, 24);
    assert_int_equal(the_plan()->devices[1].n_layers, 8);
}

static void test_ratios_that_are_not_one_a_device_fail_for_good(void **s)
{
    add_device(24);
    (void)split_spec("a", "[0.5,0.5]");
    begin();
    (void)wish_with("a", make_model(31, 256 * MIB));
    assert_int_equal(place("a").state, PM_FAILED);
    assert_int_equal(place("a").last_error.code, POOLMGR_E_CONFIG_INVALID);
}

static void test_others_stop_for_a_split_on_the_devices_that_are_short_EVICT_1(void **s)
{
    add_device(12);
    add_device(12);
    (void)split_spec("a", "auto");
    (void)spec_of("b", 8);
    (void)spec_of("c", 8);
    only_on(specs[1], "0");
    only_on(specs[2], "1");
    begin();
    use("b");
    use("c");
    (void)wish_with("a", make_model(32, 512 * MIB));
    assert_states(PM_WAITING, PM_STOPPING, PM_STOPPING);
    ends("b");
    assert_int_equal(place("a").state, PM_WAITING);
    ends("c");
    assert_int_equal(place("a").state, PM_STARTING);
    assert_int_equal(the_plan()->n_devices, 2);
}

static void test_mig_instances_are_not_put_together(void **s)
{
    static const char *const ids[] = {"MIG-11111111-1111-4111-8111-111111111111",
                                      "MIG-22222222-2222-4222-8222-222222222222"};

    for (int i = 0; i < 2; i++) {
        add_device(12);
        (void)pm_str_copy(devices[i].id, sizeof(devices[i].id), ids[i]);
        (void)pm_str_copy(devices[i].is_gpu.id, sizeof(devices[i].is_gpu.id), ids[i]);
        devices[i].is_gpu.slot = i;
    }
    (void)split_spec("a", "auto");
    begin();
    (void)wish_with("a", make_model(32, 512 * MIB));
    assert_int_equal(place("a").state, PM_FAILED);
    assert_non_null(strstr(place("a").last_error.text, "GPU 0:0"));
}

/* ---- what was measured ---------------------------------------------------------------------------------- */

/* a is ready on device 0, estimated; it says what it took, and is seen. */
static uint64_t run_measured(struct pm_model *model, uint64_t compute, uint64_t used)
{
    struct pm_estimate estimate = estimate_of(model);
    uint64_t weights = estimate.weights_bytes;

    pm_estimate_fini(&estimate);
    (void)wish_with("a", model);
    measured("a", "0", PM_MEMORY_WEIGHTS, weights);
    measured("a", "0", PM_MEMORY_COMPUTE, compute);
    (void)make_ready("a");
    world.now_ms += 1000;
    pm_actions_clear(&world.out);
    seen("a", "0", used);
    pm_core_device_free(world.core, "0", 24 * GIB - used, true, world.now_ms, world.now_ms,
                        &world.out);
    return weights;
}

static void test_what_was_measured_takes_the_place_of_the_estimate_VRAM_1(void **s)
{
    struct pm_model *model = make_model(32, 256 * MIB);
    const struct pm_memory_record *memory;
    uint64_t weights;

    add_device(24);
    (void)spec_of("a", 0);
    begin();
    weights = run_measured(model, 100 * MIB, 32 * 256 * MIB + MIB + 100 * MIB + 300 * MIB);
    assert_int_equal(device(0).planned_bytes, weights + 400 * MIB);
    memory = the_action(&world, PM_ACT_REMEMBER)->memory;
    assert_string_equal(memory->device, "0");
    assert_int_equal(memory->identity, pm_spec_identity(specs[0]));
    assert_int_equal(memory->weights_bytes, weights);
    assert_int_equal(memory->compute_bytes, 100 * MIB);
    assert_int_equal(memory->context_bytes, 300 * MIB);
}

static void test_what_was_measured_is_asked_for_the_next_time(void **s)
{
    struct pm_model *model = make_model(32, 256 * MIB);
    uint64_t weights;

    add_device(24);
    specs[0] = spec_of("a", 0);
    specs[0]->restart = PM_RESTART_NEVER;
    begin();
    weights = run_measured(model, 100 * MIB, 32 * 256 * MIB + MIB + 400 * MIB);
    ends("a");
    pass(11000);
    (void)wish_with("a", model);
    assert_int_equal(the_plan()->devices[0].bytes, weights + 400 * MIB);
}

static void test_a_former_daemons_measures_are_recalled(void **s)
{
    struct pm_memory_record memory = {
        .device = "0", .compute_bytes = 100 * MIB, .context_bytes = 200 * MIB};
    struct pm_model *model = make_model(32, 256 * MIB);

    add_device(24);
    (void)spec_of("a", 0);
    memory.identity = pm_spec_identity(specs[0]);
    pm_core_recall(world.core, &memory);
    begin();
    (void)wish_with("a", model);
    assert_int_equal(the_plan()->devices[0].bytes, 32 * 256 * MIB + MIB + 300 * MIB);
}

static void test_more_than_was_estimated_is_charged_as_far_as_it_is_nobodys(void **s)
{
    struct pm_model *model = make_model(32, 256 * MIB);

    add_device(24);
    (void)spec_of("a", 0);
    (void)spec_of("b", 12);
    begin();
    use("b");
    specs[1]->pinned = true;
    (void)run_measured(model, 4 * GIB, 13 * GIB);
    assert_int_equal(device(0).planned_bytes, 23 * GIB);
    assert_int_equal(device(0).left_bytes, 0);
}

static void test_declared_bytes_stay_whatever_is_measured(void **s)
{
    add_device(24);
    (void)spec_of("a", 10);
    begin();
    use("a");
    measured("a", "0", PM_MEMORY_COMPUTE, 100 * MIB);
    assert_int_equal(device(0).planned_bytes, 10 * GIB);
    assert_int_equal(count_actions(&world, PM_ACT_REMEMBER), 0);
}

/* ---- whether there are devices at all -------------------------------------------------------------------- */

static void begin_discovering(bool gpu_only)
{
    struct pm_core_options options = {.max_parallel_starts = 2,
                                      .seed = 7,
                                      .evict_max_wait_ms = MAX_WAIT,
                                      .evict_min_residency_ms = MIN_RESIDENCY,
                                      .quarantine_ms = QUARANTINE,
                                      .discovers = true,
                                      .gpu_only = gpu_only};

    pm_core_configure(world.core, &options, world.now_ms, &world.out);
    for (size_t i = 0; i < n_specs; i++)
        world_add(&world, specs[i]);
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
}

static void gpus(enum pm_gpus there, const char *text)
{
    pm_actions_clear(&world.out);
    pm_core_gpus(world.core, there, text, world.now_ms, &world.out);
}

static void test_nothing_that_may_need_a_device_starts_before_they_were_looked_for(void **s)
{
    (void)spec_of("a", 10);
    only_on(spec_of("b", 0), "cpu");
    begin_discovering(false);
    (void)wish("a");
    assert_int_equal(place("a").state, PM_WAITING);
    assert_string_equal(pool("a").reason,
                        "waits until the devices of this machine have been looked for");
    (void)wish("b");
    assert_true(the_plan()->on_cpu);
    add_device(24);
    list_devices();
    assert_int_equal(place("a").state, PM_STARTING);
    assert_string_equal(the_plan()->devices[0].id, "0");
}

static void test_without_gpu_hardware_auto_is_the_cpu_LOAD_5(void **s)
{
    (void)spec_of("a", 10);
    begin_discovering(false);
    (void)wish("a");
    gpus(PM_GPUS_NONE, NULL);
    assert_int_equal(place("a").state, PM_WAITING);
    list_devices();
    assert_true(the_plan()->on_cpu);
    assert_true(pool("a").on_cpu);
    assert_told(&world, PM_EV_INSTANCE_STARTING,
                "a starts: 1 request waits for it, on the CPU: there is no GPU in this machine");
}

static void test_gpu_only_refuses_the_cpu_LOAD_5(void **s)
{
    (void)spec_of("a", 10);
    begin_discovering(true);
    (void)wish("a");
    gpus(PM_GPUS_NONE, NULL);
    list_devices();
    assert_int_equal(place("a").state, PM_FAILED);
    assert_non_null(strstr(place("a").last_error.text, "gpu_only is true"));
    gpus(PM_GPUS_UNKNOWN, NULL);
    add_device(24);
    list_devices();
    (void)wish("a");
    assert_int_equal(place("a").state, PM_STARTING);
}

static void test_a_gpu_that_does_not_work_is_a_failure_and_never_the_cpu_LOAD_5(void **s)
{
    (void)spec_of("a", 10);
    begin_discovering(false);
    gpus(PM_GPUS_BROKEN, "the driver is not loaded");
    list_devices();
    (void)ask("a");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DEVICE_LOST);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->message,
                        "no device that a may use works: the driver is not loaded");
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
}

static void test_an_adopted_engine_gets_its_charge_when_devices_are_found(void **s)
{
    struct pm_plan plan = {.n_devices = 1, .devices = {{.id = "1", .bytes = 9 * GIB}}};
    struct poolmgr_error err = {0};
    struct pm_token token;

    (void)spec_of("a", 10);
    begin_discovering(false);
    assert_int_equal(
        pm_core_adopt(world.core, "a", 0, 1, 4711, 10, world.now_ms, &world.out, &token, &err), 0);
    pm_core_adopted_on(world.core, token, &plan, world.now_ms, &world.out);
    add_device(24);
    add_device(24);
    list_devices();
    assert_int_equal(device(0).planned_bytes, 0);
    assert_int_equal(device(1).planned_bytes, 9 * GIB);
}

static void test_a_device_that_nobody_could_look_at_has_not_changed(void **s)
{
    begin_three();
    use("a");
    devices[0].state = PM_DEVICE_UNKNOWN;
    list_devices();
    assert_int_equal(place("a").state, PM_READY);
    (void)ask("b");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DEVICE_LOST);
    devices[0].state = PM_DEVICE_OK;
    list_devices();
    (void)wish("b");
    assert_int_equal(place("b").state, PM_STARTING);
}

/* ---- masks ------------------------------------------------------------------------------------------------- */

static void add_gpu(const char *id, unsigned index)
{
    struct pm_device *device = &devices[n_devices];

    add_device(24);
    (void)pm_str_copy(device->id, sizeof(device->id), id);
    (void)pm_str_copy(device->is_gpu.id, sizeof(device->is_gpu.id), id);
    device->is_gpu.index = index;
    device->is_gpu.slot = -1;
}

#define GPU_A "GPU-aaaaaaaa-0000-4000-8000-000000000000"
#define GPU_B "GPU-bbbbbbbb-0000-4000-8000-000000000000"

static void test_masks_find_devices_by_index_and_by_uuid_MASK_1(void **s)
{
    add_gpu(GPU_A, 0);
    add_gpu(GPU_B, 1);
    only_on(spec_of("a", 10), "1");
    only_on(spec_of("b", 10), "GPU-aaaa");
    begin();
    (void)wish("a");
    assert_string_equal(the_plan()->devices[0].id, GPU_B);
    (void)wish("b");
    assert_string_equal(the_plan()->devices[0].id, GPU_A);
    assert_told(&world, PM_EV_INSTANCE_STARTING, "b starts: 1 request waits for it");
}

/* PLACE-2: a request's mask and a pool's may name a device in different words. */
static void test_a_requests_mask_means_devices_and_not_words(void **s)
{
    struct pm_request request = {.route = "a", .placement = {.mask = GPU_B}};

    add_gpu(GPU_A, 0);
    add_gpu(GPU_B, 1);
    only_on(spec_of("a", 10), "1");
    begin();
    (void)request_with(&world, request);
    assert_int_equal(place("a").state, PM_STAGING);
    request.placement.mask = "0";
    (void)request_with(&world, request);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_PIN_UNMET);
}

static void test_an_index_means_what_is_on_the_bus_now(void **s)
{
    add_gpu(GPU_A, 0);
    add_gpu(GPU_B, 1);
    only_on(spec_of("a", 10), "0");
    begin();
    devices[0] = devices[1]; /* the first has fallen off the bus */
    devices[0].is_gpu.index = 0;
    n_devices = 1;
    list_devices();
    (void)wish("a");
    assert_string_equal(the_plan()->devices[0].id, GPU_B);
}

static void test_a_device_that_may_not_be_used_fails_by_its_name_until_it_may(void **s)
{
    struct pm_token staging;

    add_gpu(GPU_A, 0);
    devices[0].is_gpu.prohibited = true;
    only_on(spec_of("a", 10), "0");
    begin();
    (void)ask("a");
    staging = the_action(&world, PM_ACT_STAGE)->token;
    assert_int_equal(place("a").last_error.code, POOLMGR_E_MASK_COMPUTE_PROHIBITED);
    devices[0].is_gpu.prohibited = false;
    list_devices();
    (void)ask("a");
    staged(&world, staging, NULL);
    assert_int_equal(place("a").state, PM_STARTING);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_models, tear_down_models)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_foreign_memory_counts_as_absent_and_is_named_VRAM_1),
        TEST(test_what_a_driver_keeps_can_never_be_had),
        TEST(test_what_is_free_is_known_before_the_first_start_on_a_new_device),
        TEST(test_one_byte_less_than_what_is_told_as_missing_is_not_enough),
        TEST(test_memory_of_others_in_the_way_keeps_nobody_waiting),
        TEST(test_two_that_load_at_once_do_not_over_commit_LOAD_2),
        TEST(test_who_is_ready_has_loaded_all_though_nobody_sees_how_much),
        TEST(test_who_takes_more_than_it_was_charged_is_counted_with_what_it_takes),
        TEST(test_a_process_that_is_listed_still_keeps_its_charge_SUP_7),
        TEST(test_a_neighbour_that_comes_meanwhile_makes_nobody_suspect),
        TEST(test_undeclared_bytes_are_estimated_from_the_model),
        TEST(test_who_keeps_few_logits_is_charged_for_few),
        TEST(test_a_declared_number_stands_above_the_estimate),
        TEST(test_an_estimate_that_never_fits_says_what_would),
        TEST(test_a_smaller_model_in_the_place_of_one_that_never_fits_is_tried),
        TEST(test_arguments_of_the_user_count_in_the_estimate),
        TEST(test_variables_of_the_user_count_in_the_estimate_and_arguments_win),
        TEST(test_none_is_one_device_though_two_together_would_do),
        TEST(test_auto_is_one_device_where_one_fits_and_else_a_split_SPLIT_1),
        TEST(test_a_split_that_fits_nowhere_names_the_device_and_the_bytes),
        TEST(test_with_the_bytes_that_a_split_lacks_it_fits_and_with_one_less_it_does_not),
        TEST(test_a_users_ratios_are_kept),
        TEST(test_ratios_that_are_not_one_a_device_fail_for_good),
        TEST(test_others_stop_for_a_split_on_the_devices_that_are_short_EVICT_1),
        TEST(test_mig_instances_are_not_put_together),
        TEST(test_what_was_measured_takes_the_place_of_the_estimate_VRAM_1),
        TEST(test_what_was_measured_is_asked_for_the_next_time),
        TEST(test_a_former_daemons_measures_are_recalled),
        TEST(test_more_than_was_estimated_is_charged_as_far_as_it_is_nobodys),
        TEST(test_declared_bytes_stay_whatever_is_measured),
        TEST(test_nothing_that_may_need_a_device_starts_before_they_were_looked_for),
        TEST(test_without_gpu_hardware_auto_is_the_cpu_LOAD_5),
        TEST(test_gpu_only_refuses_the_cpu_LOAD_5),
        TEST(test_a_gpu_that_does_not_work_is_a_failure_and_never_the_cpu_LOAD_5),
        TEST(test_an_adopted_engine_gets_its_charge_when_devices_are_found),
        TEST(test_a_device_that_nobody_could_look_at_has_not_changed),
        TEST(test_masks_find_devices_by_index_and_by_uuid_MASK_1),
        TEST(test_a_requests_mask_means_devices_and_not_words),
        TEST(test_an_index_means_what_is_on_the_bus_now),
        TEST(test_a_device_that_may_not_be_used_fails_by_its_name_until_it_may),
    };

    return cmocka_run_group_tests_name("core: memory of devices", tests, NULL, NULL);
}
