/* SPDX-License-Identifier: Apache-2.0 */
/* Preflights of recorded machines with a GPU: each fault of a driver, and what engines are linked with (PRE-1). */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "preflight_tree.h"

/* ---- GPUs ------------------------------------------------------------------------------------------- */

static const struct entry gpu[] = {
    {"/sys/bus/pci/devices/0000:65:00.0/vendor", "0x10de\n"},
    {"/sys/bus/pci/devices/0000:65:00.0/class", "0x030200\n"},
    {"/proc/driver/nvidia/version",
     "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6 22:20:39 UTC 2023\n"
     "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"},
    {"/dev/nvidiactl", ""},
    {"/dev/nvidia0", ""},
    {"/dev/nvidia-uvm", ""},
    {"/run/nvidia-persistenced/socket", ""},
    {0},
};

static void answer(struct look *look, enum pm_node_state node, const char *driver)
{
    struct pm_gpu_snapshot snapshot = {.node = node};

    (void)pm_str_copy(snapshot.driver, sizeof(snapshot.driver), driver);
    assert_true(pm_driver_to_be_asked(&look->gather, &look->facts));
    pm_facts_answered(&look->facts, PM_ASKED_ANSWERED, "", &snapshot);
    judge(look);
}

/* With these changes to a GPU's tree, and this answer of the driver: which findings of the group gpu? */
static void assert_gpu(const struct entry *changes, const char *without, enum pm_node_state node,
                       const char *driver, const char *words)
{
    char *root = make_tree(gpu);
    struct look look = {0};
    pm_auto_buf struct pm_buf out = {0};

    if (changes)
        put_all(root, changes);
    if (without) {
        pm_auto_free char *path = pm_xasprintf("%s%s", root, without);

        assert_int_equal(pm_remove_tree(path, NULL), 0);
    }
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    answer(&look, node, driver);
    for (size_t i = 0; i < look.preflight.n; i++) {
        const struct pm_checked *checked = &look.preflight.items[i];

        if (checked->finding != PM_FOUND_NOTHING && pm_checks[checked->check].group == PM_ABOUT_GPU)
            pm_buf_addf(&out, "%s%s", out.n > 0 ? " " : "", pm_findings[checked->finding].word);
    }
    assert_string_equal(pm_buf_text(&out), words);
    done(&look);
    drop_tree(root);
}

static void test_each_fault_of_a_driver_is_told_by_its_name(void **state)
{
    static const struct entry nouveau[] = {{"/sys/module/nouveau/refcnt", "1\n"}, {0}};
    static const struct entry newer[] = {{"/sys/module/nvidia/version", "580.65.06\n"}, {0}};

    (void)state;
    assert_gpu(NULL, NULL, PM_NODE_OK, "535.54.03", "");
    assert_gpu(newer, NULL, PM_NODE_OK, "535.54.03", "driver_mismatch");
    assert_gpu(NULL, NULL, PM_NODE_MISMATCH, "", "driver_mismatch");
    assert_gpu(NULL, NULL, PM_NODE_NO_LIBRARY, "", "library_missing");
    assert_gpu(NULL, NULL, PM_NODE_STUB_LIBRARY, "", "library_stub");
    assert_gpu(NULL, NULL, PM_NODE_NO_DRIVER, "", "driver_not_loaded");
    assert_gpu(NULL, NULL, PM_NODE_BLOCKED, "", "driver_blocked");
    assert_gpu(NULL, NULL, PM_NODE_UNRESPONSIVE, "", "driver_silent");
    assert_gpu(NULL, "/proc/driver", PM_NODE_NO_LIBRARY, "", "driver_missing");
    assert_gpu(NULL, "/proc/driver", PM_NODE_NO_DRIVER, "", "driver_not_loaded");
    assert_gpu(nouveau, "/proc/driver", PM_NODE_NO_LIBRARY, "", "nouveau_loaded");
    assert_gpu(NULL, "/dev/nvidia0", PM_NODE_OK, "535.54.03", "nodes_missing");
    assert_gpu(NULL, "/dev/nvidiactl", PM_NODE_OK, "535.54.03", "nodes_missing");
    assert_gpu(NULL, "/dev/nvidia-uvm", PM_NODE_OK, "535.54.03", "uvm_missing");
}

static void test_modprobe_makes_the_node_that_is_missing(void **state)
{
    char *root = make_tree(gpu);
    pm_auto_free char *uvm = pm_xasprintf("%s/dev/nvidia-uvm", root);
    struct look look = {0};

    (void)state;
    put_program(root, "/usr/bin/nvidia-modprobe");
    assert_int_equal(unlink(uvm), 0);
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    answer(&look, PM_NODE_OK, "535.54.03");
    assert_found(&look, "cgroup_not_delegated");
    done(&look);
    drop_tree(root);
}

static void test_a_node_that_we_may_not_open_names_its_group(void **state)
{
    char *root = make_tree(gpu);
    pm_auto_free char *node = pm_xasprintf("%s/dev/nvidia0", root);
    pm_auto_free char *control = pm_xasprintf("%s/dev/nvidiactl", root);
    pm_auto_free char *uvm = pm_xasprintf("%s/dev/nvidia-uvm", root);
    bool is_root = geteuid() == 0;
    struct look look = {0};

    (void)state;
    if (!is_root) {
        drop_tree(root);
        skip();
    }
    assert_int_equal(chmod(root, 0755), 0);
    assert_int_equal(chown(node, 0, 44), 0);
    assert_int_equal(chmod(node, 0660), 0);
    assert_int_equal(chmod(control, 0666), 0);
    assert_int_equal(chmod(uvm, 0666), 0);
    put(root, "/proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0\n");
    assert_int_equal(seteuid(65534), 0);
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    assert_int_equal(seteuid(0), 0);
    assert_string_equal(look.facts.driver.denied_group, "video");
    assert_string_equal(look.facts.driver.denied, "/dev/nvidia0");
    answer(&look, PM_NODE_OK, "535.54.03");
    assert_fix(&look, "device_nodes", "usermod -aG video fox");
    done(&look);
    drop_tree(root);
}

/* ---- what programs are linked with ------------------------------------------------------------------ */

/* The smallest ELF file that asks for a library. */
static void put_elf(const char *root, const char *path, const char *library)
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segments[2];
        Elf64_Dyn dynamic[3];
        char strings[64];
    } file = {
        .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
                   .e_type = ET_DYN,
                   .e_phoff = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .segments = {{.p_type = PT_LOAD, .p_vaddr = 0x10000, .p_filesz = sizeof(file)},
                     {.p_type = PT_DYNAMIC,
                      .p_offset = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr),
                      .p_filesz = sizeof(file.dynamic)}},
        .dynamic = {{.d_tag = DT_NEEDED, .d_un.d_val = 1},
                    {.d_tag = DT_STRTAB,
                     .d_un.d_ptr = 0x10000 + sizeof(file) - sizeof(file.strings)}},
    };
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);
    struct poolmgr_error err = {0};

    (void)pm_str_copy(file.strings + 1, sizeof(file.strings) - 1, library);
    put(root, path, "");
    assert_int_equal(pm_write_file(full, &file, sizeof(file), 0755, false, &err), 0);
}

static void test_the_cuda_of_an_engine_is_read_from_what_it_is_linked_with(void **state)
{
    static const char yaml[] =
        "engines: { own: { family: llama.cpp, path: /opt/llama/bin/llama-server } }\n"
        "pools: { a: { model: /a.gguf, devices: auto, engine: own } }\n";
    char *root = make_tree(gpu);
    pm_auto_free char *link = pm_xasprintf("%s/usr/local/cuda/lib64/libcudart.so.12", root);
    struct look look = {0};

    (void)state;
    put_elf(root, "/opt/llama/bin/llama-server", "libggml.so.0");
    put_elf(root, "/opt/llama/lib/libggml-cuda.so", "libcudart.so.12");
    look_at(root, yaml, PM_MODE_COUNT, &look);
    answer(&look, PM_NODE_OK, "535.54.03");
    assert_string_equal(checked_of(&look, "cuda")->value, "12");
    assert_found(&look, "cgroup_not_delegated");
    done(&look);

    put(root, "/usr/local/cuda/lib64", NULL);
    assert_int_equal(symlink("libcudart.so.12.8.90", link), 0);
    look = (struct look){0};
    look_at(root, yaml, PM_MODE_COUNT, &look);
    answer(&look, PM_NODE_OK, "535.54.03");
    assert_found(&look, "cgroup_not_delegated driver_behind");
    assert_text(&look, "cuda", "driver 535.54.03 is older than the one of CUDA 12.8 (570.26)");
    done(&look);

    put_elf(root, "/opt/llama/lib/libggml-cuda.so", "libcudart.so.13");
    look = (struct look){0};
    look_at(root, yaml, PM_MODE_COUNT, &look);
    answer(&look, PM_NODE_OK, "535.54.03");
    assert_found(&look, "cgroup_not_delegated driver_old");
    assert_fix(&look, "cuda", "580.65.06");
    done(&look);
    drop_tree(root);
}

static void test_a_toolkit_counts_where_something_is_built(void **state)
{
    char *root = make_tree(gpu);
    struct look look = {0};

    (void)state;
    put(root, "/usr/local/cuda/include/cuda.h", "/* x */\n#define CUDA_VERSION 13000\n");
    look_at(root, "", PM_MODE_SOURCE, &look);
    answer(&look, PM_NODE_OK, "535.54.03");
    assert_int_equal(checked_of(&look, "cuda")->finding, PM_FOUND_DRIVER_OLD);
    assert_string_equal(checked_of(&look, "cuda")->value, "13.0");
    assert_int_equal(checked_of(&look, "tool_nvcc")->finding, PM_FOUND_TOOL_MISSING);
    done(&look);
    drop_tree(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_fault_of_a_driver_is_told_by_its_name),
        cmocka_unit_test(test_modprobe_makes_the_node_that_is_missing),
        cmocka_unit_test(test_a_node_that_we_may_not_open_names_its_group),
        cmocka_unit_test(test_the_cuda_of_an_engine_is_read_from_what_it_is_linked_with),
        cmocka_unit_test(test_a_toolkit_counts_where_something_is_built),
    };

    return cmocka_run_group_tests(tests, set_up_trees, NULL);
}
