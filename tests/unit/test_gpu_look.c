/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at NVIDIA's devices through the library, with one that does as it is told: every state of the machine, every
 * state of a device, and what real libraries were seen to do (DEV-1, MASK-1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gpu/look.h"
#include "gpu_fake.h"
#include "util/cleanup.h"

/* Whether all processes are shown depends on where this test runs, so it says where that is. */
#define FIRST_NAMESPACE PM_SOURCE_ROOT "/tests/trees/first-namespace"
#define OTHER_NAMESPACE PM_SOURCE_ROOT "/tests/trees/other-namespace"

static char *library;
static struct pm_look look;
static struct pm_gpu_snapshot seen;
static char text[PM_GPU_TEXT_MAX + 1];

static int set_up(void **state)
{
    (void)state;
    library = fake_library();
    fake_begin(3);
    return 0;
}

static int take_down(void **state)
{
    (void)state;
    pm_gpu_snapshot_fini(&seen);
    pm_look_close(&look);
    fake_end();
    free(library);
    return 0;
}

static void open_look(void)
{
    assert_int_equal(pm_look_open(&look, library, FIRST_NAMESPACE, text), PM_NODE_OK);
}

static void take(void)
{
    pm_gpu_snapshot_fini(&seen);
    pm_look_take(&look, &seen);
}

static void open_and_take(void)
{
    open_look();
    take();
    assert_int_equal(seen.node, PM_NODE_OK);
}

static const struct pm_gpu_seen *gpu(size_t i)
{
    assert_true(i < seen.n);
    return &seen.gpus[i];
}

/* ---- the machine ------------------------------------------------------------------------------------ */

static void test_what_a_library_tells_is_seen(void **state)
{
    (void)state;
    fake->gpus[1].utilisation = 87;
    fake->gpus[1].ecc_errors = 3;
    fake->gpus[1].remap_pending = 1;
    open_and_take();
    assert_string_equal(seen.driver, "580.65.06");
    assert_int_equal(seen.cuda_version, 13000);
    assert_int_equal(seen.n, 3);
    assert_string_equal(gpu(1)->is.id, "GPU-fa000001-0000-4000-8000-000000000001");
    assert_string_equal(gpu(1)->is.pci, "00000000:20:00.0");
    assert_string_equal(gpu(1)->name, "NVIDIA Fake 1");
    assert_int_equal(gpu(1)->is.index, 1);
    assert_int_equal(gpu(1)->is.slot, -1);
    assert_int_equal(gpu(1)->state, PM_DEVICE_OK);
    assert_int_equal(gpu(1)->total_bytes, 24 * FAKE_GIB);
    assert_int_equal(gpu(1)->free_bytes, 24 * FAKE_GIB - 24 * FAKE_GIB / 64);
    assert_true(gpu(1)->free_known && gpu(1)->processes_complete);
    assert_int_equal(gpu(1)->cc_major * 10 + gpu(1)->cc_minor, 89);
    assert_int_equal(gpu(1)->utilisation_percent, 87);
    assert_int_equal(gpu(1)->n_ecc_uncorrected, 3);
    assert_int_equal(gpu(1)->remap_pending, 1);
    assert_int_equal(gpu(1)->recovery, 0);
    assert_false(gpu(1)->is.hidden || gpu(1)->is.unhealthy || gpu(1)->is.prohibited);
}

static void assert_node(const char *path, enum pm_node_state node, const char *says)
{
    assert_int_equal(pm_look_open(&look, path, FIRST_NAMESPACE, text), node);
    if (!strstr(text, says))
        fail_msg("'%s' does not say '%s'", text, says);
    assert_true(strlen(text) <= PM_GPU_TEXT_MAX);
    pm_look_close(&look);
}

static void test_a_library_that_is_not_there_is_no_library(void **state)
{
    pm_auto_free char *not_one = built("tests/fake-nvml/fakegpu");

    (void)state;
    assert_node("/nonexistent/libnvidia-ml.so.1", PM_NODE_NO_LIBRARY, "cannot open");
    assert_node("/dev/null", PM_NODE_NO_LIBRARY, "/dev/null");
    assert_node(not_one, PM_NODE_NO_LIBRARY, "fakegpu");
    assert_node("/tmp", PM_NODE_NO_LIBRARY, "/tmp");
}

/* Which the loader says is not there. */
static void test_a_library_for_another_kind_of_machine_is_told_as_one(void **state)
{
    pm_auto_free char *path = pm_xasprintf("/tmp/poolmgr-nvml-%d.so.1", getpid());
    pm_auto_free char *command = pm_xasprintf("cp '%s' %s", library, path);
    FILE *file;

    (void)state;
    assert_int_equal(system(command), 0);
    file = fopen(path, "r+b");
    assert_non_null(file);
    (void)fseek(file, 18, SEEK_SET); /* e_machine */
    (void)fputs("\xff\x7f", file);
    (void)fclose(file);
    assert_node(path, PM_NODE_NO_LIBRARY, "no library for this kind of machine");
    (void)unlink(path);
}

/* A copy of the library that lacks some functions, at /tmp; the caller's. */
static char *library_without(const char *symbols)
{
    char *path = pm_xasprintf("/tmp/poolmgr-nvml-%d.so.1", getpid());
    pm_auto_free char *tool = built("tests/fake-nvml/fakegpu");
    pm_auto_free char *command =
        pm_xasprintf("'%s' library '%s' '%s' %s", tool, library, path, symbols);

    assert_int_equal(system(command), 0);
    return path;
}

static const char *const required[] = {
    "nvmlInit_v2",
    "nvmlShutdown",
    "nvmlErrorString",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetMemoryInfo",
};

static void test_a_library_that_lacks_what_we_need_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(required); i++) {
        pm_auto_free char *path = library_without(required[i]);

        assert_node(path, PM_NODE_NO_LIBRARY, required[i]);
        (void)unlink(path);
    }
}

static void test_all_else_may_be_missing(void **state)
{
    pm_auto_free char *path = library_without(
        "nvmlSystemGetDriverVersion nvmlSystemGetCudaDriverVersion_v2 nvmlDeviceGetName "
        "nvmlDeviceGetMemoryInfo_v2 nvmlDeviceGetCudaComputeCapability nvmlDeviceGetComputeMode "
        "nvmlDeviceGetMigMode nvmlDeviceGetMaxMigDeviceCount nvmlDeviceGetMigDeviceHandleByIndex "
        "nvmlDeviceGetAttributes_v2 nvmlDeviceGetGpuInstanceId nvmlDeviceGetComputeInstanceId "
        "nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetRunningProcessDetailList "
        "nvmlDeviceGetUtilizationRates nvmlDeviceGetTemperature nvmlDeviceGetPowerUsage "
        "nvmlDeviceGetTotalEccErrors nvmlDeviceGetFieldValues nvmlEventSetCreate nvmlEventSetFree "
        "nvmlDeviceGetSupportedEventTypes nvmlDeviceRegisterEvents nvmlEventSetWait_v2");

    (void)state;
    assert_int_equal(pm_look_open(&look, path, FIRST_NAMESPACE, text), PM_NODE_OK);
    take();
    assert_int_equal(seen.n, 3);
    assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
    assert_int_equal(gpu(0)->free_bytes, 24 * FAKE_GIB - 24 * FAKE_GIB / 64);
    assert_false(gpu(0)->processes_complete);
    assert_int_equal(gpu(0)->cc_major, 0);
    assert_int_equal(gpu(0)->temperature_c, PM_GPU_UNKNOWN);
    assert_int_equal(gpu(0)->recovery, PM_GPU_UNKNOWN);
    assert_int_equal(gpu(0)->n_ecc_uncorrected, PM_GPU_UNKNOWN);
    assert_string_equal(seen.driver, "");
    (void)unlink(path);
}

static void test_the_toolkits_stub_is_known_by_its_words(void **state)
{
    (void)state;
    fake->stub = true;
    assert_node(library, PM_NODE_STUB_LIBRARY, "stub");
}

static const struct {
    int code;
    enum pm_node_state node;
    const char *says;
} nodes[] = {
    {9, PM_NODE_NO_DRIVER, "modprobe"},    {18, PM_NODE_MISMATCH, "reload the driver or reboot"},
    {17, PM_NODE_BLOCKED, "created anew"}, {999, PM_NODE_BLOCKED, "created anew"},
    {4, PM_NODE_BLOCKED, "permission"},    {12, PM_NODE_NO_LIBRARY, "install the driver anew"},
    {10, PM_NODE_NO_DRIVER, "Timeout"},    {15, PM_NODE_NO_DRIVER, "code 15"},
};

static void test_each_code_of_the_first_call_is_a_state_of_the_machine(void **state)
{
    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(nodes); i++) {
        fake_call("nvmlInit_v2", nodes[i].code);
        assert_node(library, nodes[i].node, nodes[i].says);
    }
}

static void test_a_driver_that_goes_away_ends_the_looking(void **state)
{
    (void)state;
    open_and_take();
    fake_call("nvmlDeviceGetCount_v2", 9);
    take();
    assert_int_equal(seen.node, PM_NODE_NO_DRIVER);
    assert_int_equal(seen.n, 0);
    fake_call("nvmlDeviceGetCount_v2", 0);
    fake_call("nvmlDeviceGetHandleByIndex_v2", 18); /* the driver was replaced under us */
    take();
    assert_int_equal(seen.node, PM_NODE_MISMATCH);
}

/* ---- devices ---------------------------------------------------------------------------------------- */

static const struct {
    int code;
    enum pm_device_state state;
} states[] = {
    {4, PM_DEVICE_DENIED},   {16, PM_DEVICE_RESET_REQUIRED},
    {15, PM_DEVICE_LOST},    {28, PM_DEVICE_LOST},
    {999, PM_DEVICE_LOST},   {17, PM_DEVICE_BLOCKED},
    {8, PM_DEVICE_UNKNOWN},  {11, PM_DEVICE_UNKNOWN},
    {27, PM_DEVICE_UNKNOWN}, {19, PM_DEVICE_UNKNOWN},
    {0, PM_DEVICE_OK},
};

static void test_each_code_of_a_device_is_a_state_of_it(void **state)
{
    (void)state;
    open_and_take();
    for (size_t i = 0; i < PM_ARRAY_LEN(states); i++) {
        fake->gpus[1].code = states[i].code;
        take();
        assert_int_equal(seen.n, 3);
        assert_int_equal(gpu(1)->state, states[i].state);
        assert_int_equal(gpu(1)->is.unhealthy, states[i].code != 0);
        assert_int_equal(gpu(1)->text[0] != '\0', states[i].code != 0);
        assert_int_equal(gpu(1)->free_known, states[i].code == 0);
        assert_string_equal(gpu(1)->is.id, "GPU-fa000001-0000-4000-8000-000000000001");
        assert_int_equal(gpu(1)->total_bytes, 24 * FAKE_GIB); /* it keeps its identity */
        assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
        assert_int_equal(gpu(2)->state, PM_DEVICE_OK);
    }
}

static void test_a_call_that_fails_is_the_devices_state_too(void **state)
{
    (void)state;
    open_and_take();
    fake_call("nvmlDeviceGetMemoryInfo_v2", 15);
    fake_call("nvmlDeviceGetMemoryInfo", 15);
    take();
    assert_int_equal(gpu(0)->state, PM_DEVICE_LOST);
    assert_false(gpu(0)->free_known);
}

static void test_a_device_that_vanished_is_lost_and_keeps_its_name(void **state)
{
    (void)state;
    open_and_take();
    fake->gpus[0].gone = true;
    take();
    assert_int_equal(seen.n, 3);
    assert_int_equal(gpu(0)->state, PM_DEVICE_LOST);
    assert_string_equal(gpu(0)->is.id, "GPU-fa000000-0000-4000-8000-000000000000");
    assert_int_equal(gpu(1)->state, PM_DEVICE_OK); /* the library numbers it otherwise now */
    assert_int_equal(gpu(1)->is.index, 1);
    fake->gpus[0].gone = false;
    take();
    assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
}

static void test_a_device_that_never_had_a_name_has_a_number(void **state)
{
    (void)state;
    fake->gpus[1].code = 4;
    open_and_take();
    assert_int_equal(seen.n, 3);
    assert_string_equal(gpu(1)->is.id, "nvidia:1");
    assert_int_equal(gpu(1)->state, PM_DEVICE_DENIED);
    take();
    assert_int_equal(seen.n, 3);
    fake->gpus[1].code = 0;
    take();
    assert_int_equal(seen.n, 3); /* it has its own now */
    assert_string_equal(gpu(1)->is.id, "GPU-fa000001-0000-4000-8000-000000000001");
    assert_int_equal(gpu(1)->state, PM_DEVICE_OK);
}

/* An index means the same device whether or not those before it answer: by index nobody may get another one's place. */
static void test_a_device_without_a_name_keeps_its_place_among_the_others_MASK_1(void **state)
{
    (void)state;
    fake->gpus[0].code = 15;
    fake->gpus[1].code = 15;
    open_and_take();
    for (int i = 0; i < 2; i++) {
        assert_string_equal(gpu(0)->is.id, "nvidia:0");
        assert_string_equal(gpu(1)->is.id, "nvidia:1");
        assert_string_equal(gpu(2)->name, "NVIDIA Fake 2");
        assert_int_equal(gpu(2)->is.index, 2);
        take();
    }
    fake->gpus[0].code = 0;
    take();
    assert_string_equal(gpu(0)->name, "NVIDIA Fake 0");
    assert_string_equal(gpu(1)->is.id, "nvidia:1");
    assert_int_equal(gpu(2)->is.index, 2);
}

/* Who selects one by it could get the other. */
static void test_of_two_that_say_one_uuid_neither_can_be_used_MASK_1(void **state)
{
    char own[sizeof(fake->gpus[1].uuid)];

    (void)state;
    memcpy(own, fake->gpus[1].uuid, sizeof(own));
    memcpy(fake->gpus[1].uuid, fake->gpus[0].uuid, sizeof(own));
    open_and_take();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen.n, 3);
        assert_string_equal(gpu(0)->is.id, "GPU-fa000000-0000-4000-8000-000000000000");
        assert_string_equal(gpu(1)->is.id, "nvidia:1");
        assert_true(gpu(0)->is.unhealthy && gpu(1)->is.unhealthy);
        assert_int_equal(gpu(0)->state, PM_DEVICE_UNKNOWN);
        assert_non_null(strstr(gpu(0)->text, "the same UUID"));
        assert_int_equal(gpu(2)->is.index, 2);
        assert_int_equal(gpu(2)->state, PM_DEVICE_OK);
        take();
    }

    memcpy(fake->gpus[1].uuid, own, sizeof(own));
    take();
    assert_int_equal(seen.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(gpu(i)->state, PM_DEVICE_OK);
    memcpy(fake->gpus[1].uuid, fake->gpus[2].uuid, sizeof(own)); /* one that was known by its own */
    take();
    assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
    for (size_t i = 1; i < seen.n; i++)
        assert_true(gpu(i)->is.unhealthy);
    assert_int_equal(gpu(1)->state, PM_DEVICE_LOST);
}

static void test_what_the_driver_asks_for_is_a_state(void **state)
{
    static const enum pm_device_state wanted[] = {PM_DEVICE_OK, PM_DEVICE_RESET_REQUIRED,
                                                  PM_DEVICE_LOST, PM_DEVICE_OK,
                                                  PM_DEVICE_RESET_REQUIRED};

    (void)state;
    open_look();
    for (int i = 0; i < 5; i++) {
        fake->gpus[0].recovery = i;
        take();
        assert_int_equal(gpu(0)->recovery, i);
        assert_int_equal(gpu(0)->state, wanted[i]);
    }
    fake->gpus[0].recovery = -1;
    take();
    assert_int_equal(gpu(0)->recovery, PM_GPU_UNKNOWN);
    assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
}

static void test_devices_stand_in_the_order_of_the_bus(void **state)
{
    (void)state;
    fake->gpus[0].bus = 0x90;
    fake->gpus[1].domain = 1;
    fake->gpus[1].bus = 0x01;
    open_and_take();
    assert_string_equal(gpu(0)->name, "NVIDIA Fake 2");
    assert_string_equal(gpu(1)->name, "NVIDIA Fake 0");
    assert_string_equal(gpu(2)->name, "NVIDIA Fake 1");
    assert_string_equal(gpu(2)->is.pci, "00000001:01:00.0");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(gpu(i)->is.index, i);
}

static void test_an_old_drivers_memory_is_read_as_well(void **state)
{
    struct pm_gpu_snapshot newer;

    (void)state;
    assert_true(fake_take(fake, 0, -1, 999999, 5 * FAKE_GIB));
    open_and_take();
    newer = seen;
    memset(&seen, 0, sizeof(seen));
    for (size_t i = 0; i < newer.n; i++) {
        assert_int_equal(newer.gpus[i].driver_bytes, 24 * FAKE_GIB / 64);
        newer.gpus[i].driver_bytes = 0; /* the older call does not tell */
    }
    for (int code = 1; code < 30; code++) { /* whatever is wrong with the newer one */
        fake_call("nvmlDeviceGetMemoryInfo_v2", code);
        take();
        assert_true(pm_gpu_snapshot_same(&newer, &seen));
    }
    pm_gpu_snapshot_fini(&newer);
}

static void test_modes_prohibit(void **state)
{
    (void)state;
    fake->gpus[0].compute_mode = 2;
    fake->gpus[1].compute_mode = 3;
    fake->gpus[2].compute_mode = 3;
    assert_true(fake_take(fake, 2, -1, 999999, FAKE_GIB));
    open_and_take();
    assert_true(gpu(0)->is.prohibited);
    assert_false(gpu(1)->is.prohibited);
    assert_true(gpu(2)->is.prohibited);
    fake_call("nvmlDeviceGetComputeMode", 3);
    take();
    assert_false(gpu(0)->is.prohibited);
}

/* ---- processes -------------------------------------------------------------------------------------- */

static void assert_processes(unsigned n)
{
    take();
    assert_int_equal(gpu(0)->n_processes, n);
    assert_true(gpu(0)->processes_complete);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(gpu(0)->processes[i].pid, 900000 + i);
        assert_int_equal(gpu(0)->processes[i].bytes, (i + 1) << 20);
        assert_true(gpu(0)->processes[i].bytes_known);
    }
}

static void test_rows_are_read_whatever_their_width(void **state)
{
    static const unsigned widths[] = {24, 32, 16};

    (void)state;
    open_look();
    for (unsigned n = 0; n < 40; n++) {
        fake_call("nvmlDeviceGetRunningProcessDetailList", 0);
        assert_processes(n);
        fake_call("nvmlDeviceGetRunningProcessDetailList", n % 2 ? 3 : 25);
        for (size_t i = 0; i < PM_ARRAY_LEN(widths); i++) {
            fake->row_bytes = widths[i];
            assert_processes(n);
        }
        assert_true(fake_take(fake, 0, -1, (int)(900000 + n), (uint64_t)(n + 1) << 20));
    }
}

/* What an H100 with driver 580.159.04 wrote over poison (tests/hw/results/h100-580.159.04): the four bytes behind a pid
 * stay as they were. */
#define FIRST_ROW   "\xe1\x01\x00\x00\xa5\xa5\xa5\xa5\x00\x00\x60\x20\x05\x00\x00\x00"
#define SECOND_ROW  "\xe7\x01\x00\x00\xa5\xa5\xa5\xa5\x00\x00\x60\x20\x00\x00\x00\x00"
#define NO_INSTANCE "\xff\xff\xff\xff\xff\xff\xff\xff"
#define NOTHING     "\x00\x00\x00\x00\x00\x00\x00\x00"

static const struct written {
    size_t width;
    const char bytes[64 + 1];
} h100_rows[] = {
    {16, FIRST_ROW SECOND_ROW},
    {24, FIRST_ROW NO_INSTANCE SECOND_ROW NO_INSTANCE},
    {32, FIRST_ROW NO_INSTANCE NOTHING SECOND_ROW NO_INSTANCE NOTHING},
};
static const struct written *writes;

static int write_rows(pm_nvml_device device, unsigned *n, void *rows)
{
    bool fits = *n >= 2 && rows;

    (void)device;
    if (fits)
        memcpy(rows, writes->bytes, 2 * writes->width);
    *n = 2;
    return fits ? PM_NVML_OK : PM_NVML_BUFFER_TOO_SMALL;
}

static int write_list(pm_nvml_device device, struct pm_nvml_process_list *list)
{
    return write_rows(device, &list->count, list->rows);
}

static void test_rows_are_read_as_an_h100_writes_them(void **state)
{
    static const unsigned pids[] = {481, 487};
    static const uint64_t mib[] = {20998, 518};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(h100_rows); i++) {
        struct pm_nvml nvml = {.processes = write_rows};
        pm_auto_free struct pm_gpu_process *rows = NULL;
        size_t n = 0;

        writes = &h100_rows[i];
        if (writes->width == 32)
            nvml = (struct pm_nvml){.process_list = write_list};
        assert_true(pm_nvml_processes(&nvml, NULL, 100, &rows, &n));
        assert_int_equal(n, 2);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(rows[k].pid, pids[k]);
            assert_true(rows[k].bytes_known && rows[k].bytes == mib[k] << 20);
        }
    }
}

static void test_a_list_that_nobody_tells_is_not_complete(void **state)
{
    (void)state;
    assert_true(fake_take(fake, 0, -1, 999999, FAKE_GIB));
    open_look();
    fake->bytes_hidden = true;
    take();
    assert_int_equal(gpu(0)->n_processes, 1);
    assert_false(gpu(0)->processes[0].bytes_known);
    assert_false(gpu(0)->processes_complete);
    fake->bytes_hidden = false;
    fake_call("nvmlDeviceGetRunningProcessDetailList", 3);
    fake_call("nvmlDeviceGetComputeRunningProcesses_v3", 4);
    take();
    assert_int_equal(gpu(0)->n_processes, 0);
    assert_false(gpu(0)->processes_complete);
    assert_int_equal(gpu(0)->state, PM_DEVICE_OK);
}

static void test_another_pid_namespace_hides_processes(void **state)
{
    (void)state;
    assert_int_equal(pm_look_open(&look, library, OTHER_NAMESPACE, text), PM_NODE_OK);
    take();
    assert_false(gpu(0)->processes_complete);
}

/* ---- MIG -------------------------------------------------------------------------------------------- */

static void test_instances_are_found_among_holes(void **state)
{
    (void)state;
    fake_slot_add(1, 2, 5 * FAKE_GIB);
    fake_slot_add(1, 5, 10 * FAKE_GIB);
    assert_true(fake_take(fake, 1, 5, 999999, FAKE_GIB));
    open_and_take();
    assert_int_equal(seen.n, 5);
    assert_true(gpu(1)->is.mig_mode);
    assert_int_equal(gpu(2)->is.slot, 2);
    assert_int_equal(gpu(2)->is.index, 1);
    assert_int_equal(gpu(2)->is.gi, 9);
    assert_int_equal(gpu(2)->total_bytes, 5 * FAKE_GIB);
    assert_string_equal(gpu(3)->is.id, "MIG-00000001-1111-4000-8000-000000000005");
    assert_int_equal(gpu(3)->is.slot, 5);
    assert_int_equal(gpu(3)->free_bytes, 9 * FAKE_GIB);
    assert_int_equal(gpu(3)->n_processes, 1);
    assert_int_equal(gpu(3)->cc_major, 8);
    assert_string_equal(gpu(4)->name, "NVIDIA Fake 2");
    assert_int_equal(gpu(4)->is.index, 2);
    assert_int_equal(gpu(4)->is.slot, -1);
}

static void test_a_mode_that_will_change_takes_nothing_new(void **state)
{
    (void)state;
    fake->gpus[0].mig_capable = true;
    fake->gpus[0].mig_pending = 1;
    open_and_take();
    assert_true(gpu(0)->mig_pending && gpu(0)->is.unhealthy);
    assert_false(gpu(0)->is.mig_mode);
    assert_int_equal(gpu(0)->state, PM_DEVICE_UNKNOWN);
    assert_int_equal(gpu(0)->total_bytes, 24 * FAKE_GIB);
}

static void test_instances_share_the_fate_of_their_gpu(void **state)
{
    (void)state;
    fake_slot_add(0, 0, 5 * FAKE_GIB);
    open_look();
    fake->gpus[0].recovery = 1;
    take();
    assert_int_equal(gpu(1)->is.slot, 0);
    assert_int_equal(gpu(1)->state, PM_DEVICE_RESET_REQUIRED);
    fake->gpus[0].code = 15; /* of one that is lost nobody can tell its instances */
    take();
    assert_int_equal(seen.n, 3);
    assert_int_equal(gpu(0)->state, PM_DEVICE_LOST);
}

/* ---- what hides devices from us ---------------------------------------------------------------------- */

/* Which of the three are hidden, as "101". */
static const char *hidden(const char *value)
{
    static char word[8];

    if (value)
        (void)setenv("CUDA_VISIBLE_DEVICES", value, 1);
    else
        (void)unsetenv("CUDA_VISIBLE_DEVICES");
    take();
    for (size_t i = 0; i < 3; i++)
        word[i] = gpu(i)->is.hidden ? '1' : '0';
    word[3] = '\0';
    return word;
}

static void test_our_own_visible_set_is_read_as_cuda_reads_it(void **state)
{
    (void)state;
    open_look();
    assert_string_equal(hidden(NULL), "000");
    assert_string_equal(hidden(""), "111");
    assert_string_equal(hidden("-1"), "111");
    assert_string_equal(hidden("0"), "011");
    assert_string_equal(hidden("2,0"), "010");
    assert_string_equal(hidden("0,2,-1,1"), "010"); /* the first bad item ends the list */
    assert_string_equal(hidden("0,7,1"), "011");
    assert_string_equal(hidden("0,0"), "111"); /* one named twice empties it */
    assert_string_equal(hidden("1gpu2"), "101");
    assert_string_equal(hidden(" 1"), "101");
    assert_string_equal(hidden("00"), "011");
    assert_string_equal(hidden("x"), "111");
    assert_string_equal(hidden(",1"), "111");
    assert_string_equal(hidden("GPU-fa000002"), "110");
    assert_string_equal(hidden("GPU-FA000001-0000-4000-8000-000000000001,0"), "001");
    assert_string_equal(hidden("GPU-fa0"), "111"); /* of three */
    assert_string_equal(hidden("GPU-ab"), "111");
}

static void test_a_gpu_shows_its_instances_and_an_instance_only_itself(void **state)
{
    (void)state;
    fake_slot_add(0, 1, 5 * FAKE_GIB);
    fake_slot_add(0, 3, 5 * FAKE_GIB);
    open_look();
    (void)hidden("GPU-fa000000");
    assert_false(gpu(1)->is.hidden || gpu(2)->is.hidden);
    assert_true(gpu(3)->is.hidden);
    (void)hidden("MIG-00000000-1111-4000-8000-000000000003");
    assert_true(gpu(0)->is.hidden && gpu(1)->is.hidden);
    assert_false(gpu(2)->is.hidden);
    (void)hidden("MIG-GPU-fa000000-0000-4000-8000-000000000000/8/0");
    assert_false(gpu(1)->is.hidden);
    assert_true(gpu(2)->is.hidden);
}

/* ---- texts of strangers ----------------------------------------------------------------------------- */

static void test_texts_of_any_length_are_cut(void **state)
{
    (void)state;
    memset(fake->driver, 'd', sizeof(fake->driver) - 1);
    memset(fake->gpus[0].name, 'n', FAKE_TEXT - 1);
    memset(fake->gpus[0].uuid, 'u', FAKE_TEXT - 1);
    open_and_take();
    assert_int_equal(strlen(seen.driver), 79);
    assert_int_equal(strlen(gpu(0)->is.id), 95);
    assert_int_equal(strlen(gpu(0)->name), 95);
}

/* Neither a terminal nor a reader of JSON is led astray by them. */
static void test_texts_are_cleaned(void **state)
{
    (void)state;
    (void)strcpy(fake->driver, "580\x1b[31m");
    (void)strcpy(fake->gpus[0].name, "A\n\xff\x07Z");
    (void)strcpy(fake->gpus[0].uuid, "GPU-\x1bx");
    open_and_take();
    assert_string_equal(seen.driver, "580 [31m");
    assert_string_equal(gpu(0)->name, "A ? Z");
    assert_string_equal(gpu(0)->is.id, "GPU- x");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_a_library_tells_is_seen),
        TEST(test_a_library_that_is_not_there_is_no_library),
        TEST(test_a_library_for_another_kind_of_machine_is_told_as_one),
        TEST(test_a_library_that_lacks_what_we_need_is_none),
        TEST(test_all_else_may_be_missing),
        TEST(test_the_toolkits_stub_is_known_by_its_words),
        TEST(test_each_code_of_the_first_call_is_a_state_of_the_machine),
        TEST(test_a_driver_that_goes_away_ends_the_looking),
        TEST(test_each_code_of_a_device_is_a_state_of_it),
        TEST(test_a_call_that_fails_is_the_devices_state_too),
        TEST(test_a_device_that_vanished_is_lost_and_keeps_its_name),
        TEST(test_a_device_that_never_had_a_name_has_a_number),
        TEST(test_a_device_without_a_name_keeps_its_place_among_the_others_MASK_1),
        TEST(test_of_two_that_say_one_uuid_neither_can_be_used_MASK_1),
        TEST(test_what_the_driver_asks_for_is_a_state),
        TEST(test_devices_stand_in_the_order_of_the_bus),
        TEST(test_an_old_drivers_memory_is_read_as_well),
        TEST(test_modes_prohibit),
        TEST(test_rows_are_read_whatever_their_width),
        TEST(test_rows_are_read_as_an_h100_writes_them),
        TEST(test_a_list_that_nobody_tells_is_not_complete),
        TEST(test_another_pid_namespace_hides_processes),
        TEST(test_instances_are_found_among_holes),
        TEST(test_a_mode_that_will_change_takes_nothing_new),
        TEST(test_instances_share_the_fate_of_their_gpu),
        TEST(test_our_own_visible_set_is_read_as_cuda_reads_it),
        TEST(test_a_gpu_shows_its_instances_and_an_instance_only_itself),
        TEST(test_texts_of_any_length_are_cut),
        TEST(test_texts_are_cleaned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
