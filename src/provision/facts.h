/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a preflight knows of a machine: plain values, gathered once (gather.h) and then only judged (preflight.h). All
 * texts are the facts' own; what is unknown is zero, or as its comment says.
 */
#ifndef PM_PROVISION_FACTS_H
#define PM_PROVISION_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "gpu/gpu.h"
#include "gpu/host.h"

#define PM_UNLIMITED       UINT64_MAX /* of a limit */
#define PM_PREFLIGHT_TOOLS 32         /* rows of the table of tools at most */

enum pm_distro {
    PM_DISTRO_OTHER, /* general advice */
    PM_DISTRO_DEBIAN,
    PM_DISTRO_FEDORA,
    PM_DISTRO_ARCH,
    PM_DISTRO_COUNT
};

struct pm_os_facts {
    enum pm_distro distro;
    char name[96];    /* "Debian GNU/Linux 12 (bookworm)" */
    char release[65]; /* of the kernel, "6.1.0-18-amd64"; "" unknown */
    unsigned major, minor;
};

struct pm_user_facts {
    unsigned uid;
    char name[33];         /* "root"; its number where /etc/passwd does not know it */
    bool may_bind_low;     /* root, or CAP_NET_BIND_SERVICE */
    unsigned low_port_end; /* ports from here on are everybody's */
};

/* What the shims stand on; 0, or the errno with which the kernel refuses it. */
struct pm_process_facts {
    int pidfd_error, subreaper_error;
};

struct pm_cgroup_facts {
    bool v1, v2;          /* hierarchies that are mounted; both: mixed */
    bool own_known;       /* our v2 cgroup's folder is there */
    bool delegated;       /* it was handed to us: cgroups may be made in it */
    bool has_kill;        /* cgroup.kill: the kernel kills a tree at once */
    uint64_t n_tasks_max; /* pids.max on the way up; PM_UNLIMITED: none */
    uint64_t n_tasks;
};

struct pm_container_facts {
    char kind[16]; /* "docker" "podman" "kubernetes" "lxc" …; "" none */
    char init[17]; /* name of process 1; "" unknown */
    bool root_read_only;
};

struct pm_memory_facts {
    bool known;
    struct pm_host_memory host;
    uint64_t swap_total_bytes, swap_free_bytes;
    int overcommit; /* vm.overcommit_memory; -1 unknown */
    uint64_t commit_limit_bytes, committed_bytes;
    /* The largest local model of a pool on the CPU: its files' bytes; 0: none known. */
    uint64_t model_bytes;
    char model_pool[PM_ID_MAX + 1];
};

struct pm_limit_facts {
    bool known;                          /* /proc/self/limits could be read */
    uint64_t n_descriptors, n_processes; /* hard, hard; the daemon raises the soft one */
    uint64_t memlock_bytes, core_bytes;  /* soft, hard */
    uint64_t n_threads_max;              /* kernel.threads-max; 0 unknown */
};

struct pm_namespace_facts {
    uint64_t n_user_max;    /* user.max_user_namespaces; PM_UNLIMITED unknown */
    int unprivileged_clone; /* Debian's kernel.unprivileged_userns_clone; -1: not there */
    int apparmor_restricts; /* Ubuntu's kernel.apparmor_restrict_unprivileged_userns; -1: not there */
    bool has_subuid, has_subgid; /* of our user */
};

enum pm_clock_sync { PM_CLOCK_UNKNOWN, PM_CLOCK_SYNCHRONISED, PM_CLOCK_FREE };

struct pm_clock_facts {
    uint64_t wall_ms; /* since 1970 */
    bool monotonic_runs;
    enum pm_clock_sync sync;
};

enum pm_folder_kind {
    PM_FOLDER_RUNTIME,
    PM_FOLDER_STATE,
    PM_FOLDER_LOG,
    PM_FOLDER_CACHE,
    PM_FOLDER_COUNT
};

/* One of our four folders. Where it is not there yet: the nearest one above, in which it would be made. */
struct pm_folder_facts {
    char *path, *nearest;
    int error;      /* errno of looking at it; 0 */
    bool is_there;  /* path itself */
    bool is_folder; /* nearest */
    bool may_write; /* nearest, by us */
    bool read_only; /* its file system */
    unsigned mode, uid;
    uint64_t free_bytes, total_bytes; /* for us; total 0: unknown */
    uint64_t free_inodes, n_inodes;   /* n_inodes 0: its file system has no fixed number */
};

/* An address to listen on. */
struct pm_listen_facts {
    char *address;     /* "127.0.0.1:8080", "unix:/path" */
    bool taken;        /* somebody listens there */
    bool is_no_socket; /* unix: something else lies there */
    bool ours;         /* and is a daemon of ours */
    int pid;           /* who; 0 unknown */
    char holder[17];   /* its name; "" unknown */
    unsigned port;     /* 0: unix, or any free one */
};

struct pm_tool_facts {
    char *path; /* of the first of its programs that is in PATH; NULL: none */
};

enum pm_program_state {
    PM_PROGRAM_UNNEEDED,  /* external: somebody else runs it */
    PM_PROGRAM_UNFETCHED, /* of url or image: nothing is fetched yet */
    PM_PROGRAM_MISSING,
    PM_PROGRAM_NOT_RUNNABLE,
    PM_PROGRAM_FINE,
};

/* An engine that a pool names. */
struct pm_engine_facts {
    char *name;    /* in `engines` */
    char *program; /* as found, or as looked for */
    enum pm_program_state state;
    unsigned cuda_major,
        cuda_minor; /* of the CUDA runtime that it links; major 0: none, or unknown */
    bool cuda_minor_known;
};

/* ---- GPUs ------------------------------------------------------------------------------------------- */

/* What asking the driver led to. */
enum pm_asked {
    PM_ASKED_NOBODY,  /* there is nothing of NVIDIA's here */
    PM_ASKED_MISSING, /* no pool-probe */
    PM_ASKED_SILENT,  /* no answer within its time */
    PM_ASKED_FAILED,  /* an answer that is none */
    PM_ASKED_ANSWERED,
};

struct pm_driver_facts {
    struct pm_gpu_hardware hardware;
    bool nouveau, nvidia;    /* modules that are loaded */
    char module_version[32]; /* of nvidia; "" unknown */
    bool windows;            /* /dev/dxg: a guest of Windows, which keeps the driver */
    bool has_control_node, has_uvm_node;
    bool has_modprobe; /* nvidia-modprobe makes nodes when they are needed */
    unsigned n_nodes;  /* /dev/nvidia0 … */
    char denied[64],
        denied_group[33]; /* the first node that we may not open, and its group; "" none */
    bool persistenced;    /* its socket is there */
    enum pm_asked asked;
    char asked_text[POOLMGR_MESSAGE_MAX]; /* with PM_ASKED_FAILED: why it is none */
    struct pm_gpu_snapshot snapshot;      /* with PM_ASKED_ANSWERED, else zeros */
};

struct pm_facts {
    struct pm_os_facts os;
    struct pm_user_facts user;
    struct pm_process_facts process;
    struct pm_cgroup_facts cgroup;
    struct pm_container_facts container;
    struct pm_memory_facts memory;
    struct pm_limit_facts limits;
    struct pm_namespace_facts namespaces;
    struct pm_clock_facts clock;
    struct pm_folder_facts folders[PM_FOLDER_COUNT];
    struct pm_listen_facts *listeners;
    size_t n_listeners;
    struct pm_tool_facts tools[PM_PREFLIGHT_TOOLS]; /* by the table of tools */
    struct pm_engine_facts *engines;
    size_t n_engines;
    struct pm_driver_facts driver;
    unsigned toolkit_major, toolkit_minor; /* of an installed CUDA toolkit; major 0: none found */
};

/* Releases what the facts own; zeros are fine. */
void pm_facts_fini(struct pm_facts *facts);

#endif
