/* SPDX-License-Identifier: Apache-2.0 */
/* Preflights of recorded machines without a GPU, and of the one at hand (PRE-1). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "preflight_tree.h"

/* ---- machines without a GPU ------------------------------------------------------------------------- */

static void test_a_bare_debian_lacks_an_engine_and_tools(void **state)
{
    char *root = make_tree(NULL);
    struct look look = {0};

    (void)state;
    look_at(root, "", PM_MODE_COUNT, &look);
    judge(&look);
    assert_found(&look, "cgroup_not_delegated engine_missing");
    assert_fix(&look, "engine", "apt install llama.cpp-tools");
    assert_text(&look, "disk_state", "which will be made in /var/lib");
    assert_string_equal(checked_of(&look, "descriptors")->value, "524288");
    assert_string_equal(checked_of(&look, "tasks")->value, "10800");
    assert_string_equal(checked_of(&look, "gpu")->value, "0");
    assert_false(pm_preflight_ok(&look.preflight));
    done(&look);

    look = (struct look){0};
    look_at(root, "", PM_MODE_SOURCE, &look);
    judge(&look);
    assert_found(&look, "cgroup_not_delegated tool_missing tool_missing tool_missing tool_missing "
                        "tool_missing tool_missing");
    assert_fix(&look, "tool_g++", "apt install g++");
    done(&look);
    drop_tree(root);
}

static void test_programs_are_found_in_path_and_nowhere_else(void **state)
{
    char *root = make_tree(NULL);
    struct look look = {0};

    (void)state;
    put_program(root, "/usr/bin/llama-server");
    put_program(root, "/usr/bin/clang"); /* for gcc */
    put_program(root, "/opt/x/cmake");
    put(root, "/usr/bin/git", "not a program");
    look_at(root, "pools: { a: { model: /m.gguf, devices: cpu } }", PM_MODE_COUNT, &look);
    judge(&look);
    assert_found(&look, "cgroup_not_delegated");
    assert_string_equal(checked_of(&look, "engine")->value, "/usr/bin/llama-server");
    done(&look);

    look = (struct look){0};
    look_at(root, "", PM_MODE_SOURCE, &look);
    judge(&look);
    assert_string_equal(checked_of(&look, "tool_gcc")->value, "/usr/bin/clang");
    assert_int_equal(checked_of(&look, "tool_cmake")->finding, PM_FOUND_TOOL_MISSING);
    assert_int_equal(checked_of(&look, "tool_git")->finding, PM_FOUND_TOOL_MISSING);
    done(&look);
    drop_tree(root);
}

static void test_the_configuration_says_what_is_needed(void **state)
{
    static const char yaml[] =
        "limits: { connections: 300000 }\n"
        "core_dumps: true\n"
        "engines: { own: { family: llama.cpp, path: /opt/llama/bin/llama-server, args: [--mlock] "
        "},\n"
        "           far: { family: external, url: 'http://10.0.0.7:8000' } }\n"
        "pools: { a: { model: /models/a.gguf, devices: cpu, engine: own, slots: 4, replicas: 3 },\n"
        "         b: { model: 's3://bucket/b.gguf', devices: cpu, engine: own },\n"
        "         c: { engine: far } }\n";
    char *root = make_tree(NULL);
    struct look look = {0};

    (void)state;
    put(root, "/opt/llama/bin/llama-server", "is no program");
    put(root, "/models/a.gguf", "0123456789");
    look_at(root, yaml, PM_MODE_COUNT, &look);
    assert_int_equal(look.facts.memory.model_bytes, 10);
    assert_string_equal(look.facts.memory.model_pool, "a");
    look.facts.memory.host.capacity_bytes = 9;
    assert_int_equal(look.needs.modes, PM_MODE_BIT(PM_MODE_BINARY) | PM_MODE_BIT(PM_MODE_EXTERNAL) |
                                           PM_MODE_BIT(PM_MODE_MODELS));
    judge(&look);
    assert_found(&look, "cgroup_not_delegated tool_missing tool_missing tool_missing "
                        "engine_not_runnable memory_out descriptors_short memlock_low");
    assert_int_equal(checked_of(&look, "tool_aws")->outcome, PM_FAILS);
    assert_int_equal(checked_of(&look, "tool_oras")->outcome, PM_WARNS);
    assert_fix(&look, "engine", "chmod +x /opt/llama/bin/llama-server");
    done(&look);
    drop_tree(root);
}

/* As on a machine whose controllers are all of v1, with v2 mounted beside them. */
static void test_cgroups_of_both_versions_are_mixed_and_v1_limits_count(void **state)
{
    static const struct entry entries[] = {
        {"/proc/self/cgroup", "9:name=systemd:/\n8:pids:/box\n4:memory:/api/c5e4\n1:cpu:/\n0::/\n"},
        {"/sys/fs/cgroup/unified/cgroup.procs", "1\n"},
        {"/proc/self/mountinfo",
         "31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
         "40 24 0:36 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
        {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n"},
        {"/sys/fs/cgroup/memory/api/c5e4/memory.limit_in_bytes", "1073741824\n"},
        {"/sys/fs/cgroup/memory/api/c5e4/memory.usage_in_bytes", "805306368\n"},
        {"/sys/fs/cgroup/pids/box/pids.max", "100\n"},
        {"/sys/fs/cgroup/pids/box/pids.current", "90\n"},
        {0},
    };
    char *root = make_tree(entries);
    pm_auto_free char *v2_only = pm_xasprintf("%s/sys/fs/cgroup/cgroup.procs", root);
    struct look look = {0};

    (void)state;
    assert_int_equal(unlink(v2_only), 0);
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    judge(&look);
    assert_found(&look, "cgroup_not_delegated memory_low tasks_low");
    assert_string_equal(checked_of(&look, "cgroup")->value, "mixed");
    assert_true(checked_of(&look, "memory")->has_bytes);
    assert_int_equal(checked_of(&look, "memory")->bytes, 256 * 1024 * 1024);
    assert_text(&look, "memory", "our cgroup");
    assert_string_equal(checked_of(&look, "tasks")->value, "10");
    done(&look);
    drop_tree(root);
}

static void test_v1_alone_and_no_cgroups_at_all(void **state)
{
    static const struct entry v1[] = {{"/proc/self/cgroup", "8:pids:/\n4:memory:/\n"}, {0}};
    static const struct entry none[] = {{"/proc/self/cgroup", ""}, {0}};
    char *root = make_tree(v1);
    struct look look = {0};

    (void)state;
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    judge(&look);
    assert_found(&look, "cgroup_v1");
    done(&look);
    put_all(root, none);
    look = (struct look){0};
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    judge(&look);
    assert_found(&look, "cgroup_none");
    done(&look);
    drop_tree(root);
}

static void test_a_service_of_systemd_with_a_delegated_cgroup_is_fit(void **state)
{
    static const struct entry entries[] = {
        {"/proc/self/cgroup", "0::/system.slice/poolmgr.service\n"},
        {"/proc/self/status", "Name:\torchestratord\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0\n"},
        {"/sys/fs/cgroup/system.slice/poolmgr.service/cgroup.procs", "800\n"},
        {"/sys/fs/cgroup/system.slice/poolmgr.service/cgroup.kill", ""},
        {"/sys/fs/cgroup/system.slice/poolmgr.service/pids.max", "max\n"},
        {0},
    };
    char *root = make_tree(entries);
    pm_auto_free char *own = pm_xasprintf("%s/sys/fs/cgroup/system.slice/poolmgr.service", root);
    struct look look = {0};

    (void)state;
    if (setxattr(own, "user.delegate", "1", 1, 0) < 0) {
        drop_tree(root);
        skip();
    }
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    assert_string_equal(look.facts.user.name, "fox");
    look.facts.folders[PM_FOLDER_RUNTIME].uid = 1000;
    judge(&look);
    assert_found(&look, "");
    assert_string_equal(checked_of(&look, "cgroup")->value, "v2");
    done(&look);
    drop_tree(root);
}

static void test_a_container_is_known_by_its_marks_and_its_first_process(void **state)
{
    static const struct entry entries[] = {
        {"/run/.containerenv", "engine=\"podman\"\n"},
        {"/proc/1/comm", "orchestratord\n"},
        {"/proc/self/cgroup", "0::/\n"},
        {"/proc/self/mounts", "overlay / overlay ro,relatime,lowerdir=x 0 0\n"},
        {"/proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw\n"},
        {"/sys/fs/cgroup/memory.max", "2147483648\n"},
        {"/sys/fs/cgroup/memory.current", "104857600\n"},
        {0},
    };
    static const struct entry pod[] = {
        {"/proc/self/cgroup", "0::/kubepods.slice/kubepods-pod1.slice/cri-1.scope\n"}, {0}};
    char *root = make_tree(entries);
    struct look look = {0};

    (void)state;
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    assert_true(look.facts.container.root_read_only);
    look.facts.folders[PM_FOLDER_CACHE].read_only = true;
    judge(&look);
    assert_found(&look, "cgroup_not_delegated container_no_init container_read_only "
                        "folder_read_only");
    assert_string_equal(checked_of(&look, "container")->value, "podman");
    assert_int_equal(checked_of(&look, "memory")->bytes, 2 * GIB - 100 * 1024 * 1024);
    done(&look);

    put_all(root, pod);
    look = (struct look){0};
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    assert_string_equal(look.facts.container.kind, "kubernetes");
    done(&look);
    drop_tree(root);
}

static void test_containers_without_root_need_namespaces_and_ranges(void **state)
{
    static const struct entry entries[] = {
        {"/proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0\n"},
        {"/etc/subuid", "fox:100000:65536\n"},
        {0},
    };
    static const struct {
        const char *path, *text, *finding;
    } steps[] = {
        {"/etc/hostname", "x\n", "subids_missing"},
        {"/etc/subgid", "1000:100000:65536\n", NULL},
        {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "userns_restricted"},
        {"/proc/sys/kernel/unprivileged_userns_clone", "0\n", "userns_off"},
    };
    char *root = make_tree(entries);

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(steps); i++) {
        struct look look = {0};
        enum pm_finding finding;

        put(root, steps[i].path, steps[i].text);
        look_at(root, "", PM_MODE_CONTAINER, &look);
        judge(&look);
        finding = checked_of(&look, "user_namespaces")->finding;
        assert_string_equal(pm_findings[finding].word, steps[i].finding ? steps[i].finding : "");
        done(&look);
    }
    drop_tree(root);
}

static void test_distributions_are_known_by_id_and_by_what_they_are_like(void **state)
{
    static const struct {
        const char *text;
        enum pm_distro distro;
    } rows[] = {
        {"ID=debian\n", PM_DISTRO_DEBIAN},
        {"NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", PM_DISTRO_DEBIAN},
        {"ID=fedora\n", PM_DISTRO_FEDORA},
        {"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", PM_DISTRO_FEDORA},
        {"ID=arch\n", PM_DISTRO_ARCH},
        {"ID=manjaro\nID_LIKE='arch'\n", PM_DISTRO_ARCH},
        {"ID=alpine\n", PM_DISTRO_OTHER},
        {"ID_LIKE=\n", PM_DISTRO_OTHER},
        {"", PM_DISTRO_OTHER},
    };
    char *root = make_tree(NULL);

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct look look = {0};

        put(root, "/etc/os-release", rows[i].text);
        look_at(root, "", PM_MODE_EXTERNAL, &look);
        assert_int_equal(look.facts.os.distro, rows[i].distro);
        done(&look);
    }
    drop_tree(root);
}

/* ---- addresses -------------------------------------------------------------------------------------- */

#define TCP_LINE(address)                                                                          \
    "   0: " address " 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "    \
    "11030508 1 00000000ab82ffed 100 0 0 10 0\n"

static void hold_socket(const char *root, const char *name)
{
    pm_auto_free char *link = pm_xasprintf("%s/proc/4711/fd/7", root);
    pm_auto_free char *comm = pm_xasprintf("%s\n", name);

    put(root, "/proc/4711/fd", NULL);
    put(root, "/proc/4711/comm", comm);
    (void)unlink(link);
    assert_int_equal(symlink("socket:[11030508]", link), 0);
}

/* The outcome of the first address. */
static void assert_listen(const char *root, const char *listen, enum pm_finding finding,
                          const char *part)
{
    pm_auto_free char *yaml = pm_xasprintf("listen: ['%s']\n", listen);
    struct look look = {0};

    look_at(root, yaml, PM_MODE_EXTERNAL, &look);
    judge(&look);
    assert_int_equal(checked_of(&look, "listen")->finding, finding);
    assert_text(&look, "listen", part);
    done(&look);
}

static void test_who_listens_is_found_by_address_and_named(void **state)
{
    static const struct {
        const char *table, *line, *listen;
        bool taken;
    } rows[] = {
        {"/proc/net/tcp", TCP_LINE("0100007F:1F90"), "127.0.0.1:8080", true},
        {"/proc/net/tcp", TCP_LINE("0100007F:1F90"), "localhost:8080", true},
        {"/proc/net/tcp", TCP_LINE("00000000:1F90"), "127.0.0.1:8080", true},
        {"/proc/net/tcp", TCP_LINE("0500000A:1F90"), "127.0.0.1:8080", false},
        {"/proc/net/tcp", TCP_LINE("0100007F:1F91"), "127.0.0.1:8080", false},
        {"/proc/net/tcp", TCP_LINE("0100007F:1F90"), "127.0.0.1:0", false},
        {"/proc/net/tcp6", TCP_LINE("00000000000000000000000000000000:1F90"), "127.0.0.1:8080",
         true},
        {"/proc/net/tcp6", TCP_LINE("00000000000000000000000001000000:1F90"), "[::1]:8080", true},
        {"/proc/net/tcp6", TCP_LINE("00000000000000000000000001000000:1F90"), "127.0.0.1:8080",
         false},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        pm_auto_free char *text = pm_xasprintf("  sl  local_address\n%s", rows[i].line);
        char *root = make_tree(NULL);

        put(root, rows[i].table, text);
        hold_socket(root, "nginx");
        assert_listen(root, rows[i].listen, rows[i].taken ? PM_FOUND_PORT_TAKEN : PM_FOUND_NOTHING,
                      rows[i].taken ? "process 4711 (nginx)" : "nobody");
        drop_tree(root);
    }
}

static void test_our_own_daemon_may_hold_an_address_and_a_stranger_is_told_as_one(void **state)
{
    char *root = make_tree(NULL);
    pm_auto_free char *link = pm_xasprintf("%s/proc/4711/fd/7", root);

    (void)state;
    put(root, "/proc/net/tcp", "  sl  local_address\n" TCP_LINE("0100007F:1F90"));
    hold_socket(root, "pool-managerd");
    assert_listen(root, "127.0.0.1:8080", PM_FOUND_NOTHING, "our own daemon");
    assert_int_equal(unlink(link), 0);
    assert_listen(root, "127.0.0.1:8080", PM_FOUND_PORT_TAKEN, "another user");
    drop_tree(root);
}

static void test_sockets_in_the_file_system_are_found_by_their_path(void **state)
{
    char *root = make_tree(NULL);

    (void)state;
    assert_listen(root, "unix:/run/x.sock", PM_FOUND_NOTHING, "nobody");
    put(root, "/proc/net/unix",
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "00000000f25248b5: 00000003 00000000 00000000 0001 03 11030507 /run/x.sock\n"
        "00000000210c2416: 00000002 00000000 00010000 0001 01 11030508 /run/x.sock\n");
    hold_socket(root, "dockerd");
    assert_listen(root, "unix:/run/x.sock", PM_FOUND_SOCKET_TAKEN, "process 4711 (dockerd)");
    assert_listen(root, "unix:/run/x.soc", PM_FOUND_NOTHING, "nobody");
    put(root, "/run/y.sock", "a file");
    assert_listen(root, "unix:/run/y.sock", PM_FOUND_SOCKET_TAKEN, "no socket");
    drop_tree(root);
}

static void test_low_ports_are_roots(void **state)
{
    char *root = make_tree(NULL);

    (void)state;
    assert_listen(root, "127.0.0.1:80", PM_FOUND_NOTHING, "nobody");
    put(root, "/proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0\n");
    assert_listen(root, "127.0.0.1:80", PM_FOUND_PORT_PRIVILEGED, "root's, and we are fox");
    put(root, "/proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t400\n");
    assert_listen(root, "127.0.0.1:80", PM_FOUND_NOTHING, "nobody");
    put(root, "/proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0\n");
    put(root, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n");
    assert_listen(root, "127.0.0.1:80", PM_FOUND_NOTHING, "nobody");
    drop_tree(root);
}

/* ---- folders ---------------------------------------------------------------------------------------- */

static void test_folders_are_looked_at_up_to_the_nearest_that_is_there(void **state)
{
    char *root = make_tree(NULL);
    pm_auto_free char *open = pm_xasprintf("%s/tmp/poolmgr-9/", root);
    struct look look = {0};

    (void)state;
    put(root, "/srv/log", "a file");
    put(root, "/srv/state/poolmgr", NULL);
    put(root, "/tmp/poolmgr-9", NULL);
    assert_int_equal(chmod(open, 0755), 0);
    assert_int_equal(setenv("POOLMGR_RUNTIME_DIR", "/tmp/poolmgr-9", 1), 0);
    assert_int_equal(setenv("POOLMGR_STATE_DIR", "/srv/state/poolmgr", 1), 0);
    assert_int_equal(setenv("POOLMGR_LOG_DIR", "/srv/log/poolmgr", 1), 0);
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    (void)unsetenv("POOLMGR_RUNTIME_DIR");
    (void)unsetenv("POOLMGR_STATE_DIR");
    (void)unsetenv("POOLMGR_LOG_DIR");
    assert_true(look.facts.folders[PM_FOLDER_STATE].is_there);
    assert_false(look.facts.folders[PM_FOLDER_LOG].is_folder);
    judge(&look);
    assert_found(&look, "cgroup_not_delegated folder_open folder_none");
    assert_text(&look, "disk_log", "/srv/log is no folder");
    done(&look);
    drop_tree(root);
}

/* Only who is not root is kept out by a mode. */
static void test_a_folder_that_we_may_not_write_to_is_denied(void **state)
{
    char *root = make_tree(NULL);
    pm_auto_free char *lib = pm_xasprintf("%s/var/lib", root);
    bool is_root = geteuid() == 0;
    struct look look = {0};

    (void)state;
    assert_int_equal(chmod(root, 0755), 0);
    assert_int_equal(chmod(lib, 0555), 0);
    if (is_root)
        assert_int_equal(seteuid(65534), 0);
    look_at(root, "", PM_MODE_EXTERNAL, &look);
    if (is_root)
        assert_int_equal(seteuid(0), 0);
    judge(&look);
    assert_int_equal(checked_of(&look, "disk_state")->finding, PM_FOUND_FOLDER_DENIED);
    assert_int_equal(chmod(lib, 0755), 0);
    done(&look);
    drop_tree(root);
}

/* ---- no side effects -------------------------------------------------------------------------------- */

/* All that is in a tree, with times of change. */
static char *list(const char *root)
{
    pm_auto_free char *command =
        pm_xasprintf("find %s -printf '%%p %%s %%m %%T@ %%C@\\n' | sort", root);
    pm_auto_buf struct pm_buf out = {0};
    FILE *pipe = popen(command, "r");
    char block[4096];
    size_t n;

    assert_non_null(pipe);
    while ((n = fread(block, 1, sizeof(block), pipe)) > 0)
        pm_buf_add(&out, block, n);
    (void)pclose(pipe);
    return pm_xstrdup(pm_buf_text(&out));
}

static void test_looking_changes_nothing(void **state)
{
    char *root = make_tree(NULL);
    pm_auto_free char *before = list(root), *after = NULL;
    struct look look = {0};

    (void)state;
    look_at(root, "pools: { a: { model: /m.gguf, devices: cpu } }", PM_MODE_SOURCE, &look);
    judge(&look);
    done(&look);
    after = list(root);
    assert_string_equal(before, after);
    drop_tree(root);
}

/* The machine that the test runs on, whatever it is: each check is there, and its words are whole. */
static void test_the_machine_at_hand_is_judged_whole(void **state)
{
    struct pm_config_overrides overrides = {0};
    struct pm_config_errors errors;
    struct poolmgr_error err = {0};
    struct look look = {0};

    (void)state;
    assert_int_equal(pm_config_parse("", 0, "x", "/", &overrides, &look.config, &errors, &err), 0);
    pm_gather_init(look.config, NULL, &look.gather);
    pm_needs_of(look.config, PM_MODE_COUNT, &look.needs);
    pm_facts_gather(&look.gather, &look.facts);
    judge(&look);
    assert_int_equal(checked_of(&look, "kernel")->outcome, PM_PASSES);
    assert_true(checked_of(&look, "memory")->has_bytes);
    for (size_t i = 0; i < look.preflight.n; i++) {
        const struct pm_checked *checked = &look.preflight.items[i];

        assert_true(checked->text[0] && !strchr(checked->text, '\n'));
        assert_int_equal(checked->outcome == PM_PASSES, !checked->fix);
    }
    done(&look);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bare_debian_lacks_an_engine_and_tools),
        cmocka_unit_test(test_programs_are_found_in_path_and_nowhere_else),
        cmocka_unit_test(test_the_configuration_says_what_is_needed),
        cmocka_unit_test(test_cgroups_of_both_versions_are_mixed_and_v1_limits_count),
        cmocka_unit_test(test_v1_alone_and_no_cgroups_at_all),
        cmocka_unit_test(test_a_service_of_systemd_with_a_delegated_cgroup_is_fit),
        cmocka_unit_test(test_a_container_is_known_by_its_marks_and_its_first_process),
        cmocka_unit_test(test_containers_without_root_need_namespaces_and_ranges),
        cmocka_unit_test(test_distributions_are_known_by_id_and_by_what_they_are_like),
        cmocka_unit_test(test_who_listens_is_found_by_address_and_named),
        cmocka_unit_test(test_our_own_daemon_may_hold_an_address_and_a_stranger_is_told_as_one),
        cmocka_unit_test(test_sockets_in_the_file_system_are_found_by_their_path),
        cmocka_unit_test(test_low_ports_are_roots),
        cmocka_unit_test(test_folders_are_looked_at_up_to_the_nearest_that_is_there),
        cmocka_unit_test(test_a_folder_that_we_may_not_write_to_is_denied),
        cmocka_unit_test(test_looking_changes_nothing),
        cmocka_unit_test(test_the_machine_at_hand_is_judged_whole),
    };

    return cmocka_run_group_tests(tests, set_up_trees, NULL);
}
