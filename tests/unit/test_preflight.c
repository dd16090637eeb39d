/* SPDX-License-Identifier: Apache-2.0 */
/* What a preflight makes of facts (PRE-1): of a good machine nothing, and each finding of the fault it is for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "provision/judge.h"
#include "provision/preflight.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

/* ---- a good machine --------------------------------------------------------------------------------- */

/* Room for what the facts point to. */
struct machine {
    struct pm_facts facts;
    struct pm_needs needs;
    struct pm_listen_facts listeners[2];
    struct pm_engine_facts engines[1];
    struct pm_gpu_seen gpus[1];
};

static void make_folders(struct machine *m)
{
    static const char *const paths[] = {"/run/poolmgr", "/var/lib/poolmgr", "/var/log/poolmgr",
                                        "/var/cache/poolmgr"};

    for (unsigned i = 0; i < PM_FOLDER_COUNT; i++)
        m->facts.folders[i] = (struct pm_folder_facts){.path = (char *)paths[i],
                                                       .nearest = (char *)paths[i],
                                                       .is_there = true,
                                                       .is_folder = true,
                                                       .may_write = true,
                                                       .mode = 0700,
                                                       .uid = 1000,
                                                       .free_bytes = 100 * GIB,
                                                       .total_bytes = 200 * GIB,
                                                       .free_inodes = 1000000,
                                                       .n_inodes = 2000000};
}

static void make_gpu(struct machine *m)
{
    struct pm_driver_facts *driver = &m->facts.driver;

    driver->hardware.n[PM_VENDOR_NVIDIA] = 1;
    driver->nvidia = driver->has_control_node = driver->has_uvm_node = driver->persistenced = true;
    driver->n_nodes = 1;
    strcpy(driver->module_version, "580.65.06");
    driver->asked = PM_ASKED_ANSWERED;
    driver->snapshot = (struct pm_gpu_snapshot){
        .node = PM_NODE_OK, .driver = "580.65.06", .cuda_version = 13000, .n = 1, .gpus = m->gpus};
    m->gpus[0] = (struct pm_gpu_seen){.is = {.id = "GPU-0", .slot = -1},
                                      .name = "NVIDIA H200",
                                      .total_bytes = 141 * GIB,
                                      .free_bytes = 140 * GIB,
                                      .free_known = true};
}

static struct machine *make_machine(void)
{
    struct machine *m = pm_xalloc(sizeof(*m));

    m->facts = (struct pm_facts){
        .os = {PM_DISTRO_DEBIAN, "Debian GNU/Linux 12 (bookworm)", "6.1.0-18-amd64", 6, 1},
        .user = {.uid = 1000, .name = "fox", .low_port_end = 1024},
        .cgroup = {.v2 = true,
                   .own_known = true,
                   .delegated = true,
                   .has_kill = true,
                   .n_tasks_max = PM_UNLIMITED},
        .container = {.init = "systemd"},
        .memory = {.known = true,
                   .host = {.total_bytes = 32 * GIB,
                            .available_bytes = 30 * GIB,
                            .limit_bytes = UINT64_MAX,
                            .capacity_bytes = 30 * GIB}},
        .limits = {.known = true,
                   .n_descriptors = 65536,
                   .n_processes = 100000,
                   .memlock_bytes = 8 * MIB,
                   .core_bytes = PM_UNLIMITED},
        .namespaces = {.n_user_max = 100000,
                       .unprivileged_clone = -1,
                       .apparmor_restricts = -1,
                       .has_subuid = true,
                       .has_subgid = true},
        .clock = {UINT64_C(1780000000000), true, PM_CLOCK_SYNCHRONISED},
        .listeners = m->listeners,
        .n_listeners = 2,
        .engines = m->engines,
        .n_engines = 1,
    };
    m->listeners[0] = (struct pm_listen_facts){.address = (char *)"127.0.0.1:8080", .port = 8080};
    m->listeners[1] = (struct pm_listen_facts){.address = (char *)"unix:/run/poolmgr/control.sock"};
    m->engines[0] = (struct pm_engine_facts){.name = (char *)"llama",
                                             .program = (char *)"/usr/bin/llama-server",
                                             .state = PM_PROGRAM_FINE,
                                             .cuda_major = 12,
                                             .cuda_minor = 8,
                                             .cuda_minor_known = true};
    for (size_t i = 0; i < pm_n_tools; i++)
        m->facts.tools[i].path = (char *)"/usr/bin/tool";
    m->needs = (struct pm_needs){.modes = (1u << PM_MODE_COUNT) - 1,
                                 .engines = true,
                                 .fetches = true,
                                 .n_threads = 100,
                                 .socket_path_n = 60};
    make_folders(m);
    make_gpu(m);
    return m;
}

static const struct pm_checked *find(const struct pm_preflight *preflight, enum pm_finding finding)
{
    for (size_t i = 0; i < preflight->n; i++) {
        if (preflight->items[i].finding == finding)
            return &preflight->items[i];
    }
    return NULL;
}

static void test_a_good_machine_passes_every_check(void **state)
{
    struct machine *m = make_machine();
    bool seen[PM_CHECK_COUNT] = {false};
    struct pm_preflight preflight;

    (void)state;
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    for (size_t i = 0; i < preflight.n; i++) {
        const struct pm_checked *checked = &preflight.items[i];

        if (checked->outcome != PM_PASSES)
            fail_msg("%s: %s", checked->code, checked->text);
        assert_int_equal(checked->finding, PM_FOUND_NOTHING);
        assert_null(checked->fix);
        seen[checked->check] = true;
    }
    for (unsigned i = 0; i < PM_CHECK_COUNT; i++)
        assert_true(seen[i] || i == PM_CHECK_CONFIGURATION);
    assert_true(pm_preflight_ok(&preflight));
    pm_preflight_fini(&preflight);
    free(m);
}

/* ---- a fault for each finding ----------------------------------------------------------------------- */

#define FAULT(name) static void fault_##name(struct pm_facts *f, struct pm_needs *n)
#define UNUSED      ((void)f, (void)n)

static void set_kernel(struct pm_facts *f, const char *release, unsigned major, unsigned minor)
{
    strcpy(f->os.release, release);
    f->os.major = major;
    f->os.minor = minor;
}

static void set_node(struct pm_facts *f, enum pm_node_state node)
{
    f->driver.snapshot = (struct pm_gpu_snapshot){.node = node};
}

static void unload(struct pm_facts *f)
{
    f->driver.nvidia = f->driver.has_control_node = f->driver.has_uvm_node = false;
    f->driver.n_nodes = 0;
    f->driver.module_version[0] = '\0';
}

static void set_driver(struct pm_facts *f, const char *version)
{
    strcpy(f->driver.snapshot.driver, version);
    strcpy(f->driver.module_version, version);
}

FAULT(config_invalid)
{
    UNUSED;
    n->config_error = "config.yaml:3:1: unknown key 'pols'; did you mean 'pools'?";
}
FAULT(kernel_old)
{
    UNUSED;
    set_kernel(f, "4.19.0", 4, 19);
}
FAULT(kernel_untried)
{
    UNUSED;
    set_kernel(f, "5.10.0", 5, 10);
}
FAULT(pidfd_refused)
{
    UNUSED;
    f->process.pidfd_error = EPERM;
}
FAULT(subreaper_refused)
{
    UNUSED;
    f->process.subreaper_error = EINVAL;
}
FAULT(cgroup_none)
{
    UNUSED;
    f->cgroup.v2 = false;
}
FAULT(cgroup_v1)
{
    UNUSED;
    f->cgroup.v2 = false;
    f->cgroup.v1 = true;
}
FAULT(cgroup_no_kill)
{
    UNUSED;
    f->cgroup.has_kill = false;
}
FAULT(cgroup_not_delegated)
{
    UNUSED;
    f->cgroup.delegated = false;
    f->cgroup.v1 = true;
}
FAULT(container_no_init)
{
    UNUSED;
    strcpy(f->container.kind, "podman");
    strcpy(f->container.init, "orchestratord");
}
FAULT(container_read_only)
{
    UNUSED;
    strcpy(f->container.kind, "docker");
    n->fetches = false;
    f->container.root_read_only = f->folders[PM_FOLDER_CACHE].read_only = true;
}
FAULT(userns_off)
{
    UNUSED;
    f->namespaces.unprivileged_clone = 0;
}
FAULT(userns_restricted)
{
    UNUSED;
    f->namespaces.apparmor_restricts = 1;
}
FAULT(subids_missing)
{
    UNUSED;
    f->namespaces.has_subgid = false;
}
FAULT(gpu_missing)
{
    UNUSED;
    n->wants_gpu = true;
    f->driver = (struct pm_driver_facts){.hardware.n[PM_VENDOR_AMD] = 1};
}
FAULT(driver_missing)
{
    UNUSED;
    unload(f);
    set_node(f, PM_NODE_NO_LIBRARY);
}
FAULT(nouveau_loaded)
{
    UNUSED;
    unload(f);
    set_node(f, PM_NODE_NO_LIBRARY);
    f->driver.nouveau = true;
}
FAULT(driver_not_loaded)
{
    UNUSED;
    unload(f);
    set_node(f, PM_NODE_NO_DRIVER);
}
FAULT(library_missing)
{
    UNUSED;
    set_node(f, PM_NODE_NO_LIBRARY);
}
FAULT(library_stub)
{
    UNUSED;
    set_node(f, PM_NODE_STUB_LIBRARY);
}
FAULT(driver_mismatch)
{
    UNUSED;
    set_node(f, PM_NODE_MISMATCH);
}
FAULT(driver_blocked)
{
    UNUSED;
    set_node(f, PM_NODE_BLOCKED);
}
FAULT(driver_silent)
{
    UNUSED;
    f->driver.asked = PM_ASKED_SILENT;
    set_node(f, PM_NODE_OK);
}
FAULT(probe_missing)
{
    UNUSED;
    f->driver.asked = PM_ASKED_MISSING;
    set_node(f, PM_NODE_OK);
}
FAULT(probe_failed)
{
    UNUSED;
    f->driver.asked = PM_ASKED_FAILED;
    strcpy(f->driver.asked_text, "it printed nothing");
    set_node(f, PM_NODE_OK);
}
FAULT(nodes_missing)
{
    UNUSED;
    f->driver.n_nodes = 0;
}
FAULT(uvm_missing)
{
    UNUSED;
    f->driver.has_uvm_node = false;
}
FAULT(nodes_denied)
{
    UNUSED;
    strcpy(f->driver.denied, "/dev/nvidia0");
    strcpy(f->driver.denied_group, "render");
}
FAULT(device_denied)
{
    UNUSED;
    f->driver.snapshot.gpus[0].state = PM_DEVICE_DENIED;
}
FAULT(device_blocked)
{
    UNUSED;
    f->driver.snapshot.gpus[0].state = PM_DEVICE_BLOCKED;
}
FAULT(device_reset_required)
{
    UNUSED;
    f->driver.snapshot.gpus[0].state = PM_DEVICE_RESET_REQUIRED;
}
FAULT(device_lost)
{
    UNUSED;
    f->driver.snapshot.gpus[0].state = PM_DEVICE_LOST;
}
FAULT(device_unknown)
{
    UNUSED;
    f->driver.snapshot.gpus[0].state = PM_DEVICE_UNKNOWN;
}
FAULT(mig_pending)
{
    UNUSED;
    f->driver.snapshot.gpus[0].mig_pending = true;
}
FAULT(compute_prohibited)
{
    UNUSED;
    f->driver.snapshot.gpus[0].is.prohibited = true;
}
FAULT(remap_pending)
{
    UNUSED;
    f->driver.snapshot.gpus[0].remap_pending = 1;
}
FAULT(persistence_off)
{
    UNUSED;
    f->driver.persistenced = false;
}
FAULT(driver_old)
{
    UNUSED;
    set_driver(f, "470.82.01");
}
FAULT(driver_behind)
{
    UNUSED;
    set_driver(f, "535.54.03");
}
FAULT(tool_missing)
{
    UNUSED;
    f->tools[0].path = NULL;
}
FAULT(engine_missing)
{
    UNUSED;
    f->engines[0].state = PM_PROGRAM_MISSING;
}
FAULT(engine_not_runnable)
{
    UNUSED;
    f->engines[0].state = PM_PROGRAM_NOT_RUNNABLE;
}
FAULT(engine_unfetched)
{
    UNUSED;
    f->engines[0].state = PM_PROGRAM_UNFETCHED;
}
FAULT(folder_unreadable)
{
    UNUSED;
    f->folders[PM_FOLDER_STATE].error = EACCES;
}
FAULT(folder_none)
{
    UNUSED;
    f->folders[PM_FOLDER_LOG].is_folder = false;
}
FAULT(folder_read_only)
{
    UNUSED;
    f->folders[PM_FOLDER_STATE].read_only = true;
}
FAULT(folder_denied)
{
    UNUSED;
    f->folders[PM_FOLDER_STATE].may_write = false;
}
FAULT(folder_open)
{
    UNUSED;
    f->folders[PM_FOLDER_RUNTIME].path = (char *)"/tmp/poolmgr-1000";
    f->folders[PM_FOLDER_RUNTIME].mode = 0755;
}
FAULT(disk_full)
{
    UNUSED;
    f->folders[PM_FOLDER_RUNTIME].free_bytes = 1000;
}
FAULT(disk_low)
{
    UNUSED;
    n->log_bytes = 101 * GIB;
}
FAULT(inodes_low)
{
    UNUSED;
    f->folders[PM_FOLDER_STATE].free_inodes = 3;
}
FAULT(memory_unknown)
{
    UNUSED;
    f->memory.known = false;
}
FAULT(memory_out)
{
    UNUSED;
    f->memory.host.capacity_bytes = 100 * MIB;
}
FAULT(memory_low)
{
    UNUSED;
    f->memory.host.limit_bytes = GIB;
    f->memory.host.capacity_bytes = 512 * MIB;
}
FAULT(memory_short)
{
    UNUSED;
    f->memory.model_bytes = 31 * GIB;
    strcpy(f->memory.model_pool, "big");
}
FAULT(overcommit_strict)
{
    UNUSED;
    f->memory.overcommit = 2;
    f->memory.commit_limit_bytes = 16 * GIB;
    f->memory.committed_bytes = 15 * GIB;
}
FAULT(swap_used)
{
    UNUSED;
    f->memory.swap_total_bytes = 8 * GIB;
    f->memory.swap_free_bytes = 6 * GIB;
}
FAULT(descriptors_short)
{
    UNUSED;
    n->n_connections = 32737; /* 65538 descriptors */
}
FAULT(descriptors_low)
{
    UNUSED;
    f->limits.n_descriptors = 1024;
}
FAULT(tasks_low)
{
    UNUSED;
    f->cgroup.n_tasks_max = 200;
    f->cgroup.n_tasks = 100;
}
FAULT(memlock_low)
{
    UNUSED;
    n->locks_memory = true;
}
FAULT(core_forbidden)
{
    UNUSED;
    n->core_dumps = true;
    f->limits.core_bytes = 0;
}
FAULT(port_taken)
{
    UNUSED;
    f->listeners[0].taken = true;
    f->listeners[0].pid = 4711;
    strcpy(f->listeners[0].holder, "nginx");
}
FAULT(port_privileged)
{
    UNUSED;
    f->listeners[0].port = 80;
}
FAULT(socket_taken)
{
    UNUSED;
    f->listeners[1].is_no_socket = true;
}
FAULT(path_too_long)
{
    UNUSED;
    n->socket_path_n = 108;
}
FAULT(clock_wrong)
{
    UNUSED;
    f->clock.wall_ms = 1000;
}
FAULT(clock_stopped)
{
    UNUSED;
    f->clock.monotonic_runs = false;
}
FAULT(clock_free)
{
    UNUSED;
    f->clock.sync = PM_CLOCK_FREE;
}

static const struct fault {
    enum pm_finding finding;
    enum pm_check check;
    void (*make)(struct pm_facts *f, struct pm_needs *n);
    const char *text, *fix; /* that stand in the verdict */
} faults[] = {
    {PM_FOUND_CONFIG_INVALID, PM_CHECK_CONFIGURATION, fault_config_invalid, "config.yaml:3:1",
     "poolctl config check"},
    {PM_FOUND_KERNEL_OLD, PM_CHECK_KERNEL, fault_kernel_old, "4.19.0", "apt install linux-image"},
    {PM_FOUND_KERNEL_UNTRIED, PM_CHECK_KERNEL, fault_kernel_untried, "5.10.0", "apt install"},
    {PM_FOUND_PIDFD_REFUSED, PM_CHECK_PROCESSES, fault_pidfd_refused, "not permitted", "seccomp"},
    {PM_FOUND_SUBREAPER_REFUSED, PM_CHECK_PROCESSES, fault_subreaper_refused, "adopt", "seccomp"},
    {PM_FOUND_CGROUP_NONE, PM_CHECK_CGROUP, fault_cgroup_none, "no cgroups", "mount -t cgroup2"},
    {PM_FOUND_CGROUP_V1, PM_CHECK_CGROUP, fault_cgroup_v1, "v1", "unified_cgroup_hierarchy=1"},
    {PM_FOUND_CGROUP_NO_KILL, PM_CHECK_CGROUP, fault_cgroup_no_kill, "5.14", "6.1"},
    {PM_FOUND_CGROUP_NOT_DELEGATED, PM_CHECK_CGROUP, fault_cgroup_not_delegated, "v1 stands",
     "Delegate=yes"},
    {PM_FOUND_CONTAINER_NO_INIT, PM_CHECK_CONTAINER, fault_container_no_init, "orchestratord",
     "--init"},
    {PM_FOUND_CONTAINER_READ_ONLY, PM_CHECK_CONTAINER, fault_container_read_only,
     "/var/cache/poolmgr", "volume or a tmpfs at /var/cache/poolmgr"},
    {PM_FOUND_USERNS_OFF, PM_CHECK_USER_NAMESPACES, fault_userns_off, "namespaces",
     "kernel.unprivileged_userns_clone=1"},
    {PM_FOUND_USERNS_RESTRICTED, PM_CHECK_USER_NAMESPACES, fault_userns_restricted, "AppArmor",
     "sysctl"},
    {PM_FOUND_SUBIDS_MISSING, PM_CHECK_USER_NAMESPACES, fault_subids_missing, "/etc/subgid",
     "165535 fox"},
    {PM_FOUND_GPU_MISSING, PM_CHECK_GPU, fault_gpu_missing, "1 of AMD", "devices: cpu"},
    {PM_FOUND_DRIVER_MISSING, PM_CHECK_DRIVER, fault_driver_missing, "no driver",
     "apt install nvidia-driver"},
    {PM_FOUND_NOUVEAU_LOADED, PM_CHECK_DRIVER, fault_nouveau_loaded, "nouveau",
     "apt install nvidia-driver"},
    {PM_FOUND_DRIVER_NOT_LOADED, PM_CHECK_DRIVER, fault_driver_not_loaded, "not loaded",
     "modprobe nvidia"},
    {PM_FOUND_LIBRARY_MISSING, PM_CHECK_DRIVER, fault_library_missing, "libnvidia-ml.so.1",
     "apt install libnvidia-ml1"},
    {PM_FOUND_LIBRARY_STUB, PM_CHECK_DRIVER, fault_library_stub, "stub", "LD_LIBRARY_PATH"},
    {PM_FOUND_DRIVER_MISMATCH, PM_CHECK_DRIVER, fault_driver_mismatch, "580.65.06", "rmmod"},
    {PM_FOUND_DRIVER_BLOCKED, PM_CHECK_DRIVER, fault_driver_blocked, "keeps", "podman run"},
    {PM_FOUND_DRIVER_SILENT, PM_CHECK_DRIVER, fault_driver_silent, "in time", "dmesg"},
    {PM_FOUND_PROBE_MISSING, PM_CHECK_DRIVER, fault_probe_missing, "pool-probe", "anew"},
    {PM_FOUND_PROBE_FAILED, PM_CHECK_DRIVER, fault_probe_failed, "printed nothing", "--once"},
    {PM_FOUND_NODES_MISSING, PM_CHECK_DEVICE_NODES, fault_nodes_missing, "no node",
     "nvidia-modprobe"},
    {PM_FOUND_UVM_MISSING, PM_CHECK_DEVICE_NODES, fault_uvm_missing, "nvidia-uvm",
     "modprobe nvidia-uvm"},
    {PM_FOUND_NODES_DENIED, PM_CHECK_DEVICE_NODES, fault_nodes_denied, "/dev/nvidia0",
     "usermod -aG render fox"},
    {PM_FOUND_DEVICE_DENIED, PM_CHECK_DEVICE, fault_device_denied, "H200", "/dev/nvidia*"},
    {PM_FOUND_DEVICE_BLOCKED, PM_CHECK_DEVICE, fault_device_blocked, "H200", "reboot"},
    {PM_FOUND_DEVICE_RESET_REQUIRED, PM_CHECK_DEVICE, fault_device_reset_required, "reset",
     "--gpu-reset -i 0"},
    {PM_FOUND_DEVICE_LOST, PM_CHECK_DEVICE, fault_device_lost, "bus", "reboot"},
    {PM_FOUND_DEVICE_UNKNOWN, PM_CHECK_DEVICE, fault_device_unknown, "nobody", "nvidia-smi -i 0"},
    {PM_FOUND_MIG_PENDING, PM_CHECK_DEVICE, fault_mig_pending, "MIG", "--gpu-reset -i 0"},
    {PM_FOUND_COMPUTE_PROHIBITED, PM_CHECK_DEVICE, fault_compute_prohibited, "compute mode",
     "-c DEFAULT"},
    {PM_FOUND_REMAP_PENDING, PM_CHECK_DEVICE, fault_remap_pending, "replaced", "--gpu-reset"},
    {PM_FOUND_PERSISTENCE_OFF, PM_CHECK_PERSISTENCE, fault_persistence_off, "nvidia-persistenced",
     "apt install nvidia-persistenced"},
    {PM_FOUND_DRIVER_OLD, PM_CHECK_CUDA, fault_driver_old,
     "driver 470.82.01 is older than CUDA 12.8 of engine 'llama' needs (525.60.13)", "525.60.13"},
    {PM_FOUND_DRIVER_BEHIND, PM_CHECK_CUDA, fault_driver_behind, "(570.26)", "570.26 or newer"},
    {PM_FOUND_TOOL_MISSING, PM_CHECK_TOOL, fault_tool_missing, "git", "apt install git"},
    {PM_FOUND_ENGINE_MISSING, PM_CHECK_ENGINE, fault_engine_missing, "does not exist",
     "engines.llama.path"},
    {PM_FOUND_ENGINE_NOT_RUNNABLE, PM_CHECK_ENGINE, fault_engine_not_runnable, "may be run",
     "chmod +x /usr/bin/llama-server"},
    {PM_FOUND_ENGINE_UNFETCHED, PM_CHECK_ENGINE, fault_engine_unfetched, "fetched",
     "engines.llama.path"},
    {PM_FOUND_FOLDER_UNREADABLE, PM_CHECK_DISK_STATE, fault_folder_unreadable, "Permission denied",
     "ls -ld /var/lib/poolmgr"},
    {PM_FOUND_FOLDER_NONE, PM_CHECK_DISK_LOG, fault_folder_none, "is no folder", "mv /var/log"},
    {PM_FOUND_FOLDER_READ_ONLY, PM_CHECK_DISK_STATE, fault_folder_read_only, "read-only",
     "remount,rw"},
    {PM_FOUND_FOLDER_DENIED, PM_CHECK_DISK_STATE, fault_folder_denied, "fox may not write",
     "-o fox /var/lib/poolmgr"},
    {PM_FOUND_FOLDER_OPEN, PM_CHECK_DISK_RUNTIME, fault_folder_open, "0755", "runtime_dir"},
    {PM_FOUND_DISK_FULL, PM_CHECK_DISK_RUNTIME, fault_disk_full, "1.0 MiB", "du -xhd1 /run"},
    {PM_FOUND_DISK_LOW, PM_CHECK_DISK_LOG, fault_disk_low, "101 GiB", "du -xhd1 /var/log"},
    {PM_FOUND_INODES_LOW, PM_CHECK_DISK_STATE, fault_inodes_low, "only 3 files", "du --inodes"},
    {PM_FOUND_MEMORY_UNKNOWN, PM_CHECK_MEMORY, fault_memory_unknown, "/proc/meminfo",
     "mount -t proc"},
    {PM_FOUND_MEMORY_OUT, PM_CHECK_MEMORY, fault_memory_out, "256 MiB", "ps -eo"},
    {PM_FOUND_MEMORY_LOW, PM_CHECK_MEMORY, fault_memory_low, "our cgroup", "raise the cgroup"},
    {PM_FOUND_MEMORY_SHORT, PM_CHECK_MEMORY, fault_memory_short, "31.0 GiB", "for big"},
    {PM_FOUND_OVERCOMMIT_STRICT, PM_CHECK_OVERCOMMIT, fault_overcommit_strict, "1.0 GiB more",
     "vm.overcommit_memory=0"},
    {PM_FOUND_SWAP_USED, PM_CHECK_SWAP, fault_swap_used, "8.0 GiB", "swappiness"},
    {PM_FOUND_DESCRIPTORS_SHORT, PM_CHECK_DESCRIPTORS, fault_descriptors_short, "65538",
     "LimitNOFILE"},
    {PM_FOUND_DESCRIPTORS_LOW, PM_CHECK_DESCRIPTORS, fault_descriptors_low, "512 streams",
     "LimitNOFILE"},
    {PM_FOUND_TASKS_LOW, PM_CHECK_TASKS, fault_tasks_low, "the cgroup allows", "TasksMax"},
    {PM_FOUND_MEMLOCK_LOW, PM_CHECK_MEMLOCK, fault_memlock_low, "--mlock", "LimitMEMLOCK"},
    {PM_FOUND_CORE_FORBIDDEN, PM_CHECK_CORE, fault_core_forbidden, "core_dumps", "LimitCORE"},
    {PM_FOUND_PORT_TAKEN, PM_CHECK_LISTEN, fault_port_taken, "process 4711 (nginx)",
     "'sport = :8080'"},
    {PM_FOUND_PORT_PRIVILEGED, PM_CHECK_LISTEN, fault_port_privileged, "below 1024",
     "unprivileged_port_start=80"},
    {PM_FOUND_SOCKET_TAKEN, PM_CHECK_LISTEN, fault_socket_taken, "is no socket",
     "src /run/poolmgr/control.sock"},
    {PM_FOUND_PATH_TOO_LONG, PM_CHECK_SOCKET_PATH, fault_path_too_long, "at most 107",
     "runtime_dir"},
    {PM_FOUND_CLOCK_WRONG, PM_CHECK_CLOCK, fault_clock_wrong, "1970", "systemd-timesyncd"},
    {PM_FOUND_CLOCK_STOPPED, PM_CHECK_CLOCK, fault_clock_stopped, "monotonic", "reboot"},
    {PM_FOUND_CLOCK_FREE, PM_CHECK_CLOCK, fault_clock_free, "disciplines", "systemd-timesyncd"},
};

/* The fault is found, under its check, as its row says, and nothing else of that check says that all is well. */
static void check_fault(const struct fault *fault)
{
    const struct pm_finding_row *row = &pm_findings[fault->finding];
    struct machine *m = make_machine();
    const struct pm_checked *checked;
    struct pm_preflight preflight;

    fault->make(&m->facts, &m->needs);
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    checked = find(&preflight, fault->finding);
    if (!checked)
        fail_msg("nobody finds %s", row->word);
    if (checked->check != fault->check || checked->outcome != row->outcome ||
        !strstr(checked->text, fault->text) || !checked->fix || !strstr(checked->fix, fault->fix) ||
        strstr(checked->fix, "{}") || pm_preflight_ok(&preflight) != (row->outcome != PM_FAILS))
        fail_msg("%s: %s %s: %s; fix: %s", row->word, checked->code,
                 pm_outcome_name(checked->outcome), checked->text, checked->fix);
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_every_finding_has_its_fault_and_every_fault_is_found(void **state)
{
    bool has_fault[PM_FINDING_COUNT] = {[PM_FOUND_NOTHING] = true};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(faults); i++) {
        check_fault(&faults[i]);
        has_fault[faults[i].finding] = true;
    }
    for (unsigned i = 0; i < PM_FINDING_COUNT; i++) {
        if (!has_fault[i])
            fail_msg("no fault makes %s", pm_findings[i].word);
    }
}

/* ---- the tables ------------------------------------------------------------------------------------- */

static void test_every_row_is_whole_and_every_word_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PM_CHECK_COUNT; i++)
        assert_true(pm_checks[i].code && pm_checks[i].value &&
                    pm_checks[i].group < PM_CHECK_GROUP_COUNT);
    for (unsigned i = 1; i < PM_FINDING_COUNT; i++) {
        assert_true(pm_findings[i].word && pm_findings[i].word[0] && pm_findings[i].when[0]);
        assert_non_null(pm_findings[i].fix[PM_DISTRO_OTHER]);
        assert_true(pm_findings[i].outcome != PM_PASSES);
        for (unsigned k = 1; k < i; k++)
            assert_string_not_equal(pm_findings[i].word, pm_findings[k].word);
    }
    assert_in_range(pm_n_tools, 1, PM_PREFLIGHT_TOOLS);
    for (size_t i = 0; i < pm_n_tools; i++) {
        for (unsigned d = 0; d < PM_DISTRO_COUNT; d++)
            assert_non_null(pm_tools[i].install[d]);
        assert_true(strlen("tool_") + strlen(pm_tools[i].name) <
                    sizeof(((struct pm_checked *)0)->code));
    }
    for (unsigned i = 0; i < PM_MODE_COUNT; i++) {
        enum pm_mode mode;

        assert_true(pm_mode_by_name(pm_modes[i].name, &mode) && mode == i);
    }
}

static void test_each_distribution_gets_its_own_commands(void **state)
{
    static const struct {
        enum pm_distro distro;
        const char *tool, *driver;
    } rows[] = {
        {PM_DISTRO_DEBIAN, "apt install git", "apt install nvidia-driver"},
        {PM_DISTRO_FEDORA, "dnf install git", "dnf install akmod-nvidia"},
        {PM_DISTRO_ARCH, "pacman -S git", "pacman -S nvidia-open"},
        {PM_DISTRO_OTHER, "install git", "install NVIDIA's driver"},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct machine *m = make_machine();
        struct pm_preflight preflight;

        fault_tool_missing(&m->facts, &m->needs);
        fault_driver_missing(&m->facts, &m->needs);
        m->facts.os.distro = rows[i].distro;
        pm_preflight_judge(&m->facts, &m->needs, &preflight);
        assert_non_null(strstr(find(&preflight, PM_FOUND_TOOL_MISSING)->fix, rows[i].tool));
        assert_non_null(strstr(find(&preflight, PM_FOUND_DRIVER_MISSING)->fix, rows[i].driver));
        pm_preflight_fini(&preflight);
        free(m);
    }
}

static size_t n_of(const struct pm_preflight *preflight, const char *prefix)
{
    size_t n = 0;

    for (size_t i = 0; i < preflight->n; i++)
        n += pm_str_starts(preflight->items[i].code, prefix);
    return n;
}

static void test_a_mode_asks_for_its_tools_and_no_others(void **state)
{
    static const struct {
        enum pm_mode mode;
        size_t n_tools, n_without_gpu;
    } rows[] = {{PM_MODE_EXTERNAL, 0, 0},  {PM_MODE_BINARY, 0, 0}, {PM_MODE_PACKAGE, 0, 0},
                {PM_MODE_CONTAINER, 2, 1}, {PM_MODE_SOURCE, 7, 6}, {PM_MODE_MODELS, 3, 3}};

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct machine *m = make_machine();
        struct pm_preflight preflight;

        m->needs.modes = PM_MODE_BIT(rows[i].mode);
        pm_preflight_judge(&m->facts, &m->needs, &preflight);
        assert_int_equal(n_of(&preflight, "tool_"), rows[i].n_tools);
        assert_int_equal(n_of(&preflight, "user_namespaces"), rows[i].mode == PM_MODE_CONTAINER);
        pm_preflight_fini(&preflight);
        m->facts.driver = (struct pm_driver_facts){0};
        pm_preflight_judge(&m->facts, &m->needs, &preflight);
        assert_int_equal(n_of(&preflight, "tool_"), rows[i].n_without_gpu);
        assert_int_equal(n_of(&preflight, "driver"), 0);
        pm_preflight_fini(&preflight);
        free(m);
    }
}

static void test_what_is_only_useful_is_a_warning(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;

    (void)state;
    for (size_t i = 0; i < pm_n_tools; i++)
        m->facts.tools[i].path = NULL;
    m->needs.modes = PM_MODE_BIT(PM_MODE_MODELS);
    m->facts.folders[PM_FOLDER_CACHE].may_write = false;
    m->needs.fetches = false;
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    assert_int_equal(find(&preflight, PM_FOUND_TOOL_MISSING)->outcome, PM_WARNS);
    assert_int_equal(find(&preflight, PM_FOUND_FOLDER_DENIED)->outcome, PM_WARNS);
    assert_true(pm_preflight_ok(&preflight));
    pm_preflight_fini(&preflight);

    m->needs.tools = 1u << (pm_n_tools - 1); /* a model's ref needs it */
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    assert_false(pm_preflight_ok(&preflight));
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_what_stands_first_in_the_way_is_told_and_not_what_follows(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;

    (void)state;
    fault_nouveau_loaded(&m->facts, &m->needs);
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    assert_int_equal(n_of(&preflight, "driver"), 1);
    assert_int_equal(n_of(&preflight, "device"), 0);
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_library_and_module_of_two_versions_are_seen_though_the_driver_answers(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;

    (void)state;
    strcpy(m->facts.driver.module_version, "535.54.03");
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    assert_non_null(strstr(find(&preflight, PM_FOUND_DRIVER_MISMATCH)->text, "535.54.03"));
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_a_daemon_of_ours_may_listen_already(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;

    (void)state;
    fault_port_taken(&m->facts, &m->needs);
    m->listeners[0].ours = true;
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    assert_null(find(&preflight, PM_FOUND_PORT_TAKEN));
    assert_true(pm_preflight_ok(&preflight));
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_drivers_are_compared_number_by_number(void **state)
{
    (void)state;
    assert_true(pm_version_compare("535.54.03", "535.104.05") < 0);
    assert_true(pm_version_compare("580.65.06", "580.65.06") == 0);
    assert_true(pm_version_compare("570", "570.26") < 0);
    assert_true(pm_version_compare("570.124.06", "570.26") > 0);
    assert_true(pm_version_compare("", "1") < 0);
    assert_true(pm_version_compare("abc", "abd") == 0); /* no numbers, no order, and an end */
    assert_string_equal(pm_cuda_least_driver(12), "525.60.13");
    assert_null(pm_cuda_least_driver(9));
    assert_string_equal(pm_cuda_own_driver(12, 8), "570.26");
    assert_string_equal(pm_cuda_own_driver(12, 7), "560.28.03"); /* there was none: that of 12.6 */
    assert_string_equal(pm_cuda_own_driver(13, 1), "590.44.01");
    assert_string_equal(pm_cuda_own_driver(13, 3), "610.43.02");
    assert_null(pm_cuda_own_driver(99, 0));
}

/* PRE-1: what is told can be shown and carried out, whatever a folder is called. */
static void test_a_folder_of_any_name_is_one_word_of_a_command_and_steers_no_terminal(void **state)
{
    static const struct {
        const char *path, *word, *text;
    } rows[] = {
        {"/srv/models", "/srv/models", "/srv/models"},
        {"/home/John Doe/x", "'/home/John Doe/x'", "/home/John Doe/x"},
        {"/a;rm 'b'", "'/a;rm '\\''b'\\'''", "/a;rm 'b'"},
        {"/tmp/\x1b[31m\xff\n", "'/tmp/ [31m? '", "/tmp/ [31m? "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct machine *m = make_machine();
        struct pm_folder_facts *folder = &m->facts.folders[PM_FOLDER_STATE];
        struct pm_preflight preflight;
        const struct pm_checked *found = NULL;

        folder->path = folder->nearest = (char *)rows[i].path;
        folder->free_bytes = 0;
        for (int denied = 0; denied < 2; denied++) {
            folder->may_write = !denied;
            pm_preflight_judge(&m->facts, &m->needs, &preflight);
            for (size_t k = 0; k < preflight.n; k++)
                found =
                    preflight.items[k].check == PM_CHECK_DISK_STATE ? &preflight.items[k] : found;
            assert_non_null(strstr(found->fix, rows[i].word));
            assert_non_null(strstr(found->text, rows[i].text));
            pm_preflight_fini(&preflight);
        }
        free(m);
    }
}

/* PRE-1, LOAD-5: its module is not seen, as in a container. */
static void test_a_driver_that_hangs_is_neither_missing_nor_a_reason_for_the_cpu(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;
    const struct pm_checked *driver = NULL, *gpu = NULL;

    (void)state;
    m->facts.driver = (struct pm_driver_facts){.asked = PM_ASKED_SILENT};
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    for (size_t i = 0; i < preflight.n; i++) {
        driver = preflight.items[i].check == PM_CHECK_DRIVER ? &preflight.items[i] : driver;
        gpu = preflight.items[i].check == PM_CHECK_GPU ? &preflight.items[i] : gpu;
    }
    assert_int_equal(driver->finding, PM_FOUND_DRIVER_SILENT);
    assert_null(strstr(gpu->text, "CPU"));
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_more_swap_free_than_there_is_is_none_in_use(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;

    (void)state;
    m->facts.memory.swap_total_bytes = 1024;
    m->facts.memory.swap_free_bytes = 2048;
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    for (size_t i = 0; i < preflight.n; i++)
        assert_int_not_equal(preflight.items[i].finding, PM_FOUND_SWAP_USED);
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_of_a_cuda_that_the_table_does_not_know_nothing_is_claimed(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;

    (void)state;
    m->engines[0].cuda_major = 99;
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    assert_true(pm_preflight_ok(&preflight));
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_the_json_is_the_shape_of_the_api(void **state)
{
    struct machine *m = make_machine();
    struct pm_preflight preflight;
    const json_t *check;
    json_t *root;
    size_t i;

    (void)state;
    fault_disk_full(&m->facts, &m->needs);
    pm_preflight_judge(&m->facts, &m->needs, &preflight);
    root = pm_preflight_json(&preflight);
    assert_true(json_is_false(json_object_get(root, "ok")));
    assert_int_equal(json_array_size(json_object_get(root, "checks")), preflight.n);
    json_array_foreach(json_object_get(root, "checks"), i, check)
    {
        bool passed = strcmp(json_string_value(json_object_get(check, "status")), "pass") == 0;

        assert_true(json_is_string(json_object_get(check, "code")));
        assert_true(json_is_string(json_object_get(check, "group")));
        assert_true(json_is_string(json_object_get(check, "text")));
        assert_int_equal(passed, !json_object_get(check, "finding"));
        assert_int_equal(passed, !json_object_get(check, "fix"));
        if (strcmp(json_string_value(json_object_get(check, "code")), "disk_runtime") == 0) {
            assert_int_equal(json_integer_value(json_object_get(check, "value_bytes")), 1000);
            assert_string_equal(json_string_value(json_object_get(check, "finding")), "disk_full");
        }
    }
    json_decref(root);
    pm_preflight_fini(&preflight);
    free(m);
}

static void test_the_page_is_current(void **state)
{
    const char *path = PM_SOURCE_ROOT "/docs/preflight.md";
    pm_auto_buf struct pm_buf out = {0};
    pm_auto_free char *text = NULL;
    struct poolmgr_error err = {0};

    (void)state;
    pm_preflight_docs(&out);
    if (getenv("POOLMGR_WRITE_DOCS"))
        assert_int_equal(pm_write_file(path, out.data, out.n, 0644, false, &err), 0);
    assert_int_equal(pm_read_file(path, 1 << 20, &text, NULL, &err), 0);
    if (strcmp(text, pm_buf_text(&out)) != 0)
        fail_msg("docs/preflight.md is old; run this test with POOLMGR_WRITE_DOCS=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_machine_passes_every_check),
        cmocka_unit_test(test_every_finding_has_its_fault_and_every_fault_is_found),
        cmocka_unit_test(test_every_row_is_whole_and_every_word_its_own),
        cmocka_unit_test(test_each_distribution_gets_its_own_commands),
        cmocka_unit_test(test_a_mode_asks_for_its_tools_and_no_others),
        cmocka_unit_test(test_what_is_only_useful_is_a_warning),
        cmocka_unit_test(test_what_stands_first_in_the_way_is_told_and_not_what_follows),
        cmocka_unit_test(
            test_library_and_module_of_two_versions_are_seen_though_the_driver_answers),
        cmocka_unit_test(test_a_daemon_of_ours_may_listen_already),
        cmocka_unit_test(test_drivers_are_compared_number_by_number),
        cmocka_unit_test(test_a_folder_of_any_name_is_one_word_of_a_command_and_steers_no_terminal),
        cmocka_unit_test(test_a_driver_that_hangs_is_neither_missing_nor_a_reason_for_the_cpu),
        cmocka_unit_test(test_more_swap_free_than_there_is_is_none_in_use),
        cmocka_unit_test(test_of_a_cuda_that_the_table_does_not_know_nothing_is_claimed),
        cmocka_unit_test(test_the_json_is_the_shape_of_the_api),
        cmocka_unit_test(test_the_page_is_current),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
