/* SPDX-License-Identifier: Apache-2.0 */
/* What engines say in their logs of the memory they took (VRAM-1), of builds of three years. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/buffers.h"
#include "util/cleanup.h"
#include "util/str.h"

/* As a server of build 11669 said it with two RPC devices and a draft model. */
static const char two_devices[] =
    "0.00.106.833 I print_info: file size   = 1.16 MiB (32.00 BPW) \n"
    "0.00.107.109 I llama_prepare_model_devices: using device RPC0 (127.0.0.1:50152) (unknown id) "
    "- "
    "24105 MiB free\n"
    "0.00.107.236 I llama_prepare_model_devices: using device RPC1 (127.0.0.1:50153) (unknown id) "
    "- "
    "24105 MiB free\n"
    "0.00.109.797 I load_tensors: offloading output layer to GPU\n"
    "0.00.109.816 I load_tensors: offloaded 7/7 layers to GPU\n"
    "0.00.109.825 I load_tensors:   CPU_Mapped model buffer size =     0.11 MiB\n"
    "0.00.109.833 I load_tensors: RPC0[127.0.0.1:50152] model buffer size =     0.47 MiB\n"
    "0.00.109.840 I load_tensors: RPC0[127.0.0.1:50153] model buffer size =     0.58 MiB\n"
    "0.00.112.421 I llama_context: constructing llama_context\n"
    "0.00.112.542 I llama_context:        CPU  output buffer size =     0.00 MiB\n"
    "0.00.112.670 I llama_kv_cache: RPC0[127.0.0.1:50152] KV buffer size =     0.75 MiB\n"
    "0.00.113.130 I llama_kv_cache: RPC0[127.0.0.1:50153] KV buffer size =     0.75 MiB\n"
    "0.00.113.150 I llama_kv_cache: size =    1.50 MiB (   512 cells,   6 layers,  2/2 seqs), K "
    "(f16): "
    "   0.75 MiB, V (f16):    0.75 MiB\n"
    "0.00.115.882 I sched_reserve: RPC0[127.0.0.1:50152] compute buffer size =     4.68 MiB\n"
    "0.00.115.896 I sched_reserve: RPC0[127.0.0.1:50153] compute buffer size =     3.54 MiB\n"
    "0.00.115.904 I sched_reserve:        CPU compute buffer size =     3.32 MiB\n";
static const char draft[] =
    "0.00.380.937 I llama_prepare_model_devices: using device RPC0 (127.0.0.1:50152) (unknown id) "
    "- "
    "24105 MiB free\n"
    "0.00.380.968 I llama_prepare_model_devices: using device RPC1 (127.0.0.1:50153) (unknown id) "
    "- "
    "24105 MiB free\n"
    "0.00.382.047 I load_tensors: offloaded 5/5 layers to GPU\n"
    "0.00.382.049 I load_tensors: RPC0[127.0.0.1:50153] model buffer size =     0.50 MiB\n"
    "0.00.384.021 I llama_context: constructing llama_context\n"
    "0.00.384.407 I llama_kv_cache: RPC0[127.0.0.1:50153] KV buffer size =     0.25 MiB\n"
    "0.00.386.982 I sched_reserve: RPC0[127.0.0.1:50153] compute buffer size =     2.00 MiB\n"
    "0.00.386.983 I sched_reserve: RPC0[127.0.0.1:50153] compute buffer size =     1.00 MiB\n";

/* Sliding window, recurrent layers, several buffers of one device. */
static const char cuda[] = "llama_prepare_model_devices: using device CUDA0 (NVIDIA H200) "
                           "(0000:65:00.0) - 142000 MiB free\n"
                           "llama_prepare_model_devices: using device CUDA1 (NVIDIA H200) "
                           "(0000:ca:00.0) - 142000 MiB free\n"
                           "load_tensors: offloaded 63/63 layers to GPU\n"
                           "load_tensors:        CUDA0 model buffer size =  8000.25 MiB\n"
                           "load_tensors:        CUDA1 model buffer size =  7000.50 MiB\n"
                           "load_tensors:        CUDA1 model buffer size =     0.50 MiB\n"
                           "load_tensors:   CPU_Mapped model buffer size =   787.50 MiB\n"
                           "load_tensors:    CUDA_Host model buffer size =     1.00 MiB\n"
                           "llama_context: constructing llama_context\n"
                           "llama_kv_cache_unified:      CUDA0 KV buffer size =   640.00 MiB\n"
                           "llama_kv_cache_unified:      CUDA0 KV buffer size =   624.00 MiB\n"
                           "llama_memory_recurrent:      CUDA1 RS buffer size =    19.69 MiB\n"
                           "llama_context:      CUDA0 compute buffer size =   522.62 MiB\n"
                           "llama_context:      CUDA0 compute buffer size =   500.00 MiB\n"
                           "llama_context:  CUDA_Host compute buffer size =    24.01 MiB\n";

static const char of_2024[] =
    "llm_load_tensors: offloaded 33/33 layers to GPU\n"
    "llm_load_tensors:        CPU buffer size =    70.31 MiB\n"
    "llm_load_tensors:      CUDA0 buffer size =  4095.05 MiB\n"
    "llama_kv_cache_init:      CUDA0 KV buffer size =  1024.00 MiB\n"
    "llama_new_context_with_model:  CUDA_Host  output buffer size =     0.49 MiB\n"
    "llama_new_context_with_model:      CUDA0 compute buffer size =   560.00 MiB\n";

static const char on_cpu[] =
    "0.00.093.226 I load_tensors:   CPU_Mapped model buffer size =     1.16 MiB\n"
    "0.00.093.629 I llama_kv_cache:        CPU KV buffer size =     1.50 MiB\n"
    "0.00.094.203 I sched_reserve:        CPU compute buffer size =     1.64 MiB\n";

static uint64_t mib(double n)
{
    return (uint64_t)(n * 1048576 + 0.5);
}

static struct pm_buffers fed(const char *text)
{
    struct pm_buffers buffers = {0};

    pm_buffers_feed(&buffers, text, strlen(text));
    return buffers;
}

static void assert_took(const struct pm_buffers_of *of, const char *name, double weights, double kv,
                        double recurrent, double compute)
{
    assert_string_equal(of->name, name);
    assert_int_equal(of->weights_bytes, mib(weights));
    assert_int_equal(of->kv_bytes, mib(kv));
    assert_int_equal(of->recurrent_bytes, mib(recurrent));
    assert_int_equal(of->compute_bytes, mib(compute));
}

static void test_each_device_has_what_its_lines_say(void **state)
{
    struct pm_buffers buffers = fed(two_devices);

    assert_int_equal(buffers.n_devices, 2);
    assert_took(&buffers.devices[0], "RPC0", 0.47, 0.75, 0, 4.68);
    assert_took(&buffers.devices[1], "RPC1", 0.58, 0.75, 0, 3.54);
    assert_took(&buffers.host, "", 0.11, 0, 0, 3.32);
    assert_true(buffers.knows_layers);
    assert_int_equal(buffers.n_offloaded, 7);
    assert_int_equal(buffers.n_layers, 7);
    assert_false(pm_buffers_on_host(&buffers));
}

static void test_a_draft_model_is_added_and_its_last_word_counts(void **state)
{
    struct pm_buffers buffers = fed(two_devices);

    pm_buffers_feed(&buffers, draft, strlen(draft));
    assert_int_equal(buffers.n_devices, 2);
    assert_took(&buffers.devices[0], "RPC0", 0.47, 0.75, 0, 4.68);
    assert_int_equal(buffers.devices[1].weights_bytes, mib(0.58) + mib(0.5));
    assert_int_equal(buffers.devices[1].kv_bytes, mib(1));
    assert_int_equal(buffers.devices[1].compute_bytes, mib(3.54) + mib(1));
    assert_int_equal(buffers.n_layers, 7);
}

static void test_pieces_are_summed_and_the_hosts_buffers_have_many_names(void **state)
{
    struct pm_buffers buffers = fed(cuda);

    assert_int_equal(buffers.n_devices, 2);
    assert_took(&buffers.devices[0], "CUDA0", 8000.25, 1264, 0, 500);
    assert_took(&buffers.devices[1], "CUDA1", 7001, 0, 19.69, 0);
    assert_took(&buffers.host, "", 788.5, 0, 0, 24.01);
}

static void test_old_builds_name_the_device_alone(void **state)
{
    struct pm_buffers buffers = fed(of_2024);

    assert_int_equal(buffers.n_devices, 1);
    assert_took(&buffers.devices[0], "CUDA0", 4095.05, 1024, 0, 560);
    assert_took(&buffers.host, "", 70.31, 0, 0, 0);
    assert_int_equal(buffers.n_offloaded, 33);
}

/* LOAD-5: a log that is cut between the host's weights and a device's is not judged by them. */
static void test_compute_buffers_come_behind_all_weights(void **state)
{
    static const char *const logs[] = {two_devices, cuda, of_2024, on_cpu};

    for (size_t i = 0; i < PM_ARRAY_LEN(logs); i++) {
        bool on_host = false;

        for (size_t n = 0; n <= strlen(logs[i]); n++) {
            struct pm_buffers buffers = {0};

            pm_buffers_feed(&buffers, logs[i], n);
            on_host = buffers.knows_compute && pm_buffers_on_host(&buffers);
            if (logs[i] != on_cpu && on_host)
                fail_msg("log %zu, cut at %zu", i, n);
        }
        assert_int_equal(on_host, logs[i] == on_cpu);
    }
}

/* LOAD-5: an engine that was built without what its devices need says so here, and nowhere else. */
static void test_an_engine_on_the_host_is_found_out(void **state)
{
    struct pm_buffers buffers = fed(on_cpu), nothing = fed("listening\n");

    assert_true(pm_buffers_on_host(&buffers));
    assert_true(buffers.knows_compute);
    assert_int_equal(buffers.n_devices, 0);
    assert_false(pm_buffers_on_host(&nothing));
}

static void test_lines_may_be_cut_anywhere(void **state)
{
    struct pm_buffers whole = fed(two_devices);
    size_t n = strlen(two_devices);

    for (size_t step = 1; step < 300; step++) {
        struct pm_buffers pieces = {0};

        for (size_t i = 0; i < n; i += step)
            pm_buffers_feed(&pieces, two_devices + i, n - i < step ? n - i : step);
        assert_int_equal(pieces.n_devices, 2);
        assert_memory_equal(pieces.devices, whole.devices, sizeof whole.devices);
        assert_memory_equal(&pieces.host, &whole.host, sizeof whole.host);
    }
}

static void test_what_only_looks_like_a_line_says_nothing(void **state)
{
    static const char *const lines[] = {
        "load_tensors: model buffer size = 1.00 MiB\n",
        "load_tensors: CUDA0 model buffer size = 1.00 GiB\n",
        "load_tensors: CUDA0 model buffer size = -1.00 MiB\n",
        "load_tensors: CUDA0 model buffer size = nan MiB\n",
        "load_tensors: CUDA0 model buffer size = inf MiB\n",
        "load_tensors: CUDA0 model buffer size = 1e300 MiB\n",
        "load_tensors: CUDA0 model buffer size = much MiB\n",
        "load_tensors: CUDA0 model buffer size = 1.00\n",
        " buffer size = 1.00 MiB\n",
        "load_tensors: offloaded 9/7 layers to GPU\n",
        "x: using device \n",
        "load_tensors: CUDA0 model buffer size = 1.00 MiB", /* no end */
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(lines); i++) {
        struct pm_buffers buffers = fed(lines[i]);

        assert_int_equal(buffers.n_devices, 0);
        assert_false(buffers.knows_weights || buffers.knows_layers);
        assert_int_equal(buffers.host.weights_bytes, 0);
    }
}

static void test_devices_and_lines_have_limits(void **state)
{
    struct pm_buffers buffers = {0};
    char line[2 * PM_BUFFERS_LINE_MAX];

    for (int i = 0; i < 2 * PM_SHARES_MAX; i++) {
        int n = snprintf(line, sizeof line, "a: CUDA%d model buffer size = 1.00 MiB\n", i);

        pm_buffers_feed(&buffers, line, (size_t)n);
    }
    assert_int_equal(buffers.n_devices, PM_SHARES_MAX);
    memset(line, 'x', sizeof line);
    pm_buffers_feed(&buffers, line, sizeof line);
    pm_buffers_feed(&buffers, "\na: CUDA0 KV buffer size = 1.00 MiB\n", 36);
    assert_int_equal(buffers.devices[0].kv_bytes, mib(1));
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_a_log_is_read_from_where_this_engine_began(void **state)
{
    char folder[] = "/tmp/poolmgr-test-XXXXXX";
    struct poolmgr_error err = {0};
    struct pm_buffers buffers;
    char *path, *former, *text;

    assert_non_null(mkdtemp(folder));
    path = pm_xasprintf("%s/a.log", folder);
    former = pm_xasprintf("%s.1", path);
    text = pm_xasprintf("%s%s", cuda, two_devices);
    assert_int_equal(pm_buffers_read(path, 0, &buffers, &err), POOLMGR_E_NOT_FOUND);

    write_file(path, text);
    assert_int_equal(pm_buffers_read(path, strlen(cuda), &buffers, &err), 0);
    assert_int_equal(buffers.n_devices, 2);
    assert_took(&buffers.devices[1], "RPC1", 0.58, 0.75, 0, 3.54);

    /* It was rotated in the middle of a line. */
    write_file(path, two_devices + 700);
    text[strlen(cuda) + 700] = '\0';
    write_file(former, text);
    assert_int_equal(pm_buffers_read(path, strlen(cuda) + 1, &buffers, &err), 0);
    assert_int_equal(buffers.n_devices, 2);
    assert_took(&buffers.devices[1], "RPC1", 0.58, 0.75, 0, 3.54);

    (void)unlink(path);
    (void)unlink(former);
    (void)rmdir(folder);
    free(path);
    free(former);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_device_has_what_its_lines_say),
        cmocka_unit_test(test_a_draft_model_is_added_and_its_last_word_counts),
        cmocka_unit_test(test_pieces_are_summed_and_the_hosts_buffers_have_many_names),
        cmocka_unit_test(test_old_builds_name_the_device_alone),
        cmocka_unit_test(test_compute_buffers_come_behind_all_weights),
        cmocka_unit_test(test_an_engine_on_the_host_is_found_out),
        cmocka_unit_test(test_lines_may_be_cut_anywhere),
        cmocka_unit_test(test_what_only_looks_like_a_line_says_nothing),
        cmocka_unit_test(test_devices_and_lines_have_limits),
        cmocka_unit_test(test_a_log_is_read_from_where_this_engine_began),
    };

    return cmocka_run_group_tests_name("engine: buffers", tests, NULL, NULL);
}
