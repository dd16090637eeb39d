/* SPDX-License-Identifier: Apache-2.0 */
/* A recorded machine: a tree of /proc, /sys, /etc and /dev, and a preflight of it. */
#ifndef PM_TEST_PREFLIGHT_TREE_H
#define PM_TEST_PREFLIGHT_TREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "provision/gather.h"
#include "provision/preflight.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define GIB (UINT64_C(1) << 30)

/* ---- trees ------------------------------------------------------------------------------------------ */

struct entry {
    const char *path, *text; /* NULL: a folder */
};

#define LIMITS(open)                                                                               \
    "Limit                     Soft Limit           Hard Limit           Units     \n"             \
    "Max core file size        0                    unlimited            bytes     \n"             \
    "Max processes             63012                63012                processes \n"             \
    "Max open files            1024                 " open "               files     \n"           \
    "Max locked memory         8388608              8388608              bytes     \n"

#define MEMINFO                                                                                    \
    "MemTotal:       16337428 kB\nMemFree:         9000000 kB\nMemAvailable:   15000000 kB\n"      \
    "SwapTotal:       1000444 kB\nSwapFree:         1000444 kB\nCommitLimit:     9169156 kB\n"     \
    "Committed_AS:     512000 kB\n"

/* What every tree begins with; what comes later replaces it. */
static const struct entry debian[] = {
    {"/etc/os-release",
     "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n"
     "ID=debian\n"},
    {"/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nfox:x:1000:1000::/home/fox:/bin/sh\n"},
    {"/etc/group", "root:x:0:\nvideo:x:44:fox\nrender:x:105:\n"},
    {"/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"},
    {"/proc/sys/kernel/threads-max", "126024\n"},
    {"/proc/sys/vm/overcommit_memory", "0\n"},
    {"/proc/sys/user/max_user_namespaces", "63012\n"},
    {"/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n"},
    {"/proc/1/comm", "systemd\n"},
    {"/proc/self/status", "Name:\tpoolctl\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n"},
    {"/proc/self/cgroup", "0::/user.slice/user-0.slice/session-1.scope\n"},
    {"/proc/self/mounts", "proc /proc proc rw 0 0\n/dev/vda1 / ext4 rw,relatime 0 0\n"},
    {"/proc/self/limits", LIMITS("524288")},
    {"/proc/meminfo", MEMINFO},
    {"/proc/net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n"},
    {"/proc/net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"},
    {"/sys/fs/cgroup/cgroup.procs", "1\n"},
    {"/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope/cgroup.procs", "700\n"},
    {"/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope/cgroup.kill", ""},
    {"/sys/fs/cgroup/user.slice/user-0.slice/pids.max", "10813\n"},
    {"/sys/fs/cgroup/user.slice/user-0.slice/pids.current", "13\n"},
    {"/usr/bin", NULL},
    {"/run", NULL},
    {"/var/lib", NULL},
    {"/var/log", NULL},
    {"/var/cache", NULL},
    {"/dev", NULL},
    {0},
};

static inline void put(const char *root, const char *path, const char *text)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path), *folder = pm_xstrdup(full);
    struct poolmgr_error err = {0};

    if (text)
        *strrchr(folder, '/') = '\0';
    assert_int_equal(pm_make_folders(folder, 0755, &err), 0);
    if (text)
        assert_int_equal(pm_write_file(full, text, strlen(text), 0644, false, &err), 0);
}

static inline void put_all(const char *root, const struct entry *entries)
{
    for (; entries->path; entries++)
        put(root, entries->path, entries->text);
}

static inline void put_program(const char *root, const char *path)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);

    put(root, path, "#!/bin/sh\n");
    assert_int_equal(chmod(full, 0755), 0);
}

static inline char *make_tree(const struct entry *entries)
{
    char *root = pm_xstrdup("/tmp/pm-tree-XXXXXX");

    assert_non_null(mkdtemp(root));
    put_all(root, debian);
    if (entries)
        put_all(root, entries);
    return root;
}

static inline void drop_tree(char *root)
{
    (void)pm_remove_tree(root, NULL);
    free(root);
}

/* ---- a preflight of a tree -------------------------------------------------------------------------- */

struct look {
    struct pm_config *config;
    struct pm_gather gather;
    struct pm_needs needs;
    struct pm_facts facts;
    struct pm_preflight preflight;
};

static inline void look_at(const char *root, const char *yaml, enum pm_mode mode, struct look *ret)
{
    struct pm_config_overrides overrides = {0};
    struct pm_config_errors errors;
    struct poolmgr_error err = {0};

    if (pm_config_parse(yaml, strlen(yaml), "x.yaml", "/", &overrides, &ret->config, &errors,
                        &err) < 0)
        fail_msg("%s", err.message);
    pm_gather_init(ret->config, root, &ret->gather);
    pm_needs_of(ret->config, mode, &ret->needs);
    pm_facts_gather(&ret->gather, &ret->facts);
    /* What no tree can record: of the machine that the test runs on. */
    ret->facts.process = (struct pm_process_facts){0};
    ret->facts.clock =
        (struct pm_clock_facts){UINT64_C(1780000000000), true, PM_CLOCK_SYNCHRONISED};
    for (unsigned i = 0; i < PM_FOLDER_COUNT; i++) {
        ret->facts.folders[i].free_bytes = 100 * GIB;
        ret->facts.folders[i].n_inodes = 0;
    }
}

static inline void judge(struct look *look)
{
    pm_preflight_judge(&look->facts, &look->needs, &look->preflight);
}

static inline void done(struct look *look)
{
    pm_preflight_fini(&look->preflight);
    pm_facts_fini(&look->facts);
    pm_gather_fini(&look->gather);
    pm_config_free(look->config);
}

/* The findings, in the order of the checks. */
static inline void assert_found(struct look *look, const char *words)
{
    pm_auto_buf struct pm_buf out = {0};

    for (size_t i = 0; i < look->preflight.n; i++) {
        const struct pm_checked *checked = &look->preflight.items[i];

        if (checked->finding != PM_FOUND_NOTHING)
            pm_buf_addf(&out, "%s%s", out.n > 0 ? " " : "", pm_findings[checked->finding].word);
    }
    assert_string_equal(pm_buf_text(&out), words);
}

static const struct pm_checked *checked_of(const struct look *look, const char *code)
{
    for (size_t i = 0; i < look->preflight.n; i++) {
        if (strcmp(look->preflight.items[i].code, code) == 0)
            return &look->preflight.items[i];
    }
    fail_msg("no check %s", code);
    return NULL;
}

static inline void assert_fix(const struct look *look, const char *code, const char *part)
{
    const struct pm_checked *checked = checked_of(look, code);

    if (!checked->fix || !strstr(checked->fix, part))
        fail_msg("%s: fix '%s' has no '%s'", code, checked->fix ? checked->fix : "", part);
}

static inline void assert_text(const struct look *look, const char *code, const char *part)
{
    if (!strstr(checked_of(look, code)->text, part))
        fail_msg("%s: '%s' has no '%s'", code, checked_of(look, code)->text, part);
}

static inline int set_up_trees(void **state)
{
    static const char *const names[] = {"RUNTIME", "STATE", "LOG", "CACHE"};
    static const char *const folders[] = {"/run/poolmgr", "/var/lib/poolmgr", "/var/log/poolmgr",
                                          "/var/cache/poolmgr"};

    (void)state;
    (void)setenv("PATH", "/usr/local/bin:/usr/bin:/bin:.", 1);
    /* As for root, whoever runs the test. */
    for (size_t i = 0; geteuid() != 0 && i < PM_ARRAY_LEN(names); i++) {
        pm_auto_free char *name = pm_xasprintf("POOLMGR_%s_DIR", names[i]);

        (void)setenv(name, folders[i], 1);
    }
    return 0;
}

#endif
