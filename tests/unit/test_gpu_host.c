/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as recorded trees show it: memory below control groups, hardware without a driver (DEV-1, LOAD-5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/host.h"

#define TREE(name) PM_SOURCE_ROOT "/tests/trees/" name
#define GIB        (UINT64_C(1) << 30)
#define KIB        1024

static struct pm_host_memory memory_of(const char *root)
{
    struct pm_host_memory memory;

    assert_int_equal(pm_host_memory(root, &memory, NULL), 0);
    return memory;
}

static struct pm_gpu_hardware hardware_of(const char *root)
{
    struct pm_gpu_hardware hardware;

    pm_gpu_hardware(root, &hardware);
    return hardware;
}

static void test_the_control_group_that_leaves_least_counts(void **state)
{
    struct pm_host_memory memory = memory_of(TREE("workstation"));

    (void)state;
    assert_int_equal(memory.total_bytes, UINT64_C(65842180) * KIB);
    assert_int_equal(memory.available_bytes, UINT64_C(57671680) * KIB);
    assert_int_equal(memory.limit_bytes, 40 * GIB);
    assert_int_equal(memory.limit_used_bytes, 12 * GIB);
    assert_int_equal(memory.limit_cache_bytes, 3 * GIB);
    assert_int_equal(memory.capacity_bytes, 28 * GIB);
    assert_int_equal(memory.most_bytes, 40 * GIB);
    assert_int_equal(memory.free_bytes, 32 * GIB); /* files are read again when they are needed */
}

static void test_a_container_sees_its_own_limit(void **state)
{
    struct pm_host_memory memory = memory_of(TREE("container"));

    (void)state;
    assert_int_equal(memory.limit_bytes, 4 * GIB);
    assert_int_equal(memory.capacity_bytes, 0); /* over its limit for a moment */
    memory = memory_of(TREE("container-v1"));
    assert_int_equal(memory.limit_bytes, 16 * GIB);
    assert_int_equal(memory.limit_cache_bytes, 2 * GIB);
    assert_int_equal(memory.capacity_bytes, 10 * GIB);
    assert_int_equal(memory.free_bytes, 12 * GIB);
}

static void test_without_a_limit_what_is_available_counts(void **state)
{
    struct pm_host_memory memory = memory_of(TREE("hybrid"));

    (void)state;
    assert_int_equal(memory.limit_bytes, UINT64_MAX);
    assert_int_equal(memory.capacity_bytes, UINT64_C(8192000) * KIB);
    assert_int_equal(memory.free_bytes, memory.available_bytes);
    assert_int_equal(memory.most_bytes, memory.total_bytes);
    assert_int_equal(memory_of(TREE("others")).limit_bytes,
                     UINT64_MAX); /* no control groups at all */
}

static void test_memory_that_nobody_tells_is_an_error(void **state)
{
    struct poolmgr_error err = {0};
    struct pm_host_memory memory;

    (void)state;
    assert_int_equal(pm_host_memory(TREE("broken"), &memory, &err), POOLMGR_E_INTERNAL);
    assert_non_null(strstr(err.message, "MemAvailable"));
    assert_int_equal(pm_host_memory(TREE("windows"), &memory, &err), POOLMGR_E_INTERNAL);
    assert_non_null(strstr(err.message, "/proc/meminfo"));
}

static void test_this_machine_has_memory(void **state)
{
    struct pm_host_memory memory = memory_of(NULL);

    (void)state;
    assert_true(memory.available_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    assert_true(memory.capacity_bytes <= memory.available_bytes);
}

static void test_hardware_is_known_without_a_driver(void **state)
{
    struct pm_gpu_hardware hardware = hardware_of(TREE("workstation"));

    (void)state;
    assert_int_equal(hardware.n[PM_VENDOR_NVIDIA], 2);
    assert_int_equal(hardware.n[PM_VENDOR_AMD], 0);
    assert_int_equal(hardware.n[PM_VENDOR_INTEL], 0); /* part of the processor */
    assert_int_equal(hardware_of(TREE("container")).n[PM_VENDOR_NVIDIA], 2);
    assert_int_equal(hardware_of(TREE("windows")).n[PM_VENDOR_NVIDIA], 1);
}

static void test_what_lives_in_the_processors_memory_is_no_gpu(void **state)
{
    struct pm_gpu_hardware hardware = hardware_of(TREE("others"));

    (void)state;
    assert_int_equal(hardware.n[PM_VENDOR_NVIDIA],
                     0); /* a switch, and a console of another maker */
    assert_int_equal(hardware.n[PM_VENDOR_AMD], 1);
    assert_int_equal(hardware.n[PM_VENDOR_INTEL], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_control_group_that_leaves_least_counts),
        cmocka_unit_test(test_a_container_sees_its_own_limit),
        cmocka_unit_test(test_without_a_limit_what_is_available_counts),
        cmocka_unit_test(test_memory_that_nobody_tells_is_an_error),
        cmocka_unit_test(test_this_machine_has_memory),
        cmocka_unit_test(test_hardware_is_known_without_a_driver),
        cmocka_unit_test(test_what_lives_in_the_processors_memory_is_no_gpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
