/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this machine fit for what it is to do (PRE-1)? Facts (facts.h) and needs in, verdicts out; nothing here looks at
 * the machine. Checks, findings, tools and modes are tables: the JSON, the text and docs/preflight.md come from them.
 */
#ifndef PM_PROVISION_PREFLIGHT_H
#define PM_PROVISION_PREFLIGHT_H

#include <jansson.h>

#include "provision/facts.h"
#include "util/buf.h"

/* ---- modes and tools -------------------------------------------------------------------------------- */

/* How engines and models come here; the first three are words of `mode` in `engines`. */
enum pm_mode {
    PM_MODE_EXTERNAL,
    PM_MODE_BINARY,
    PM_MODE_CONTAINER,
    PM_MODE_PACKAGE,
    PM_MODE_SOURCE,
    PM_MODE_MODELS,
    PM_MODE_COUNT
};
#define PM_MODE_BIT(mode) (1u << (mode))

struct pm_mode_row {
    const char *name, *help;
};
extern const struct pm_mode_row pm_modes[PM_MODE_COUNT];
/* Of "source" and the like; false: there is no such mode. */
bool pm_mode_by_name(const char *name, enum pm_mode *ret);

struct pm_tool {
    const char *name;     /* of its check: "tool_" and this */
    const char *programs; /* any of them will do, the first is tried first: "podman docker" */
    const char *what_for;
    unsigned needed, wanted; /* bits of modes: missing is a fail, a warning */
    bool with_gpu;           /* needed and wanted only where there is an NVIDIA GPU */
    const char *scheme;      /* refs of models that need it, "s3:"; NULL: none */
    const char *install[PM_DISTRO_COUNT];
};
extern const struct pm_tool pm_tools[];
extern const size_t pm_n_tools;

/* ---- what is needed --------------------------------------------------------------------------------- */

#define PM_ENGINE_THREADS 48 /* of one engine, besides one a slot: its pools of threads, its shim */

struct pm_needs {
    unsigned modes;         /* bits */
    bool wants_gpu;         /* a pool names GPUs, or gpu_only */
    uint64_t n_connections; /* limits.connections; 0: as many as there may be */
    uint64_t n_threads;     /* of all engines at once, roughly */
    uint64_t log_bytes;     /* that the logs of all replicas may have */
    bool engines;           /* that are named are to be here already */
    bool fetches;           /* something is to be put into CACHE */
    bool locks_memory;      /* an engine is told --mlock */
    bool core_dumps;
    size_t socket_path_n;     /* bytes of the longest path of an instance's socket */
    unsigned tools;           /* bits of pm_tools that refs of models need */
    const char *config_error; /* borrowed; NULL: the configuration is good */
};

/* Of a configuration; with `mode` (PM_MODE_COUNT: none is named) of that mode instead of those of its engines. */
void pm_needs_of(const struct pm_config *config, enum pm_mode mode, struct pm_needs *ret);

/* ---- checks and findings ---------------------------------------------------------------------------- */

enum pm_outcome { PM_PASSES, PM_WARNS, PM_FAILS };

enum pm_check_group {
    PM_ABOUT_SYSTEM,
    PM_ABOUT_GPU,
    PM_ABOUT_TOOLS,
    PM_ABOUT_DISK,
    PM_ABOUT_MEMORY,
    PM_ABOUT_LIMITS,
    PM_ABOUT_NETWORK,
    PM_ABOUT_CLOCK,
    PM_CHECK_GROUP_COUNT
};

enum pm_check {
    PM_CHECK_CONFIGURATION,
    PM_CHECK_KERNEL,
    PM_CHECK_PROCESSES,
    PM_CHECK_CGROUP,
    PM_CHECK_CONTAINER,
    PM_CHECK_USER_NAMESPACES,
    PM_CHECK_GPU,
    PM_CHECK_DRIVER,
    PM_CHECK_DEVICE_NODES,
    PM_CHECK_DEVICE,
    PM_CHECK_PERSISTENCE,
    PM_CHECK_CUDA,
    PM_CHECK_TOOL, /* a row of pm_tools: its code is "tool_" and the tool's name */
    PM_CHECK_ENGINE,
    PM_CHECK_DISK_RUNTIME,
    PM_CHECK_DISK_STATE,
    PM_CHECK_DISK_LOG,
    PM_CHECK_DISK_CACHE,
    PM_CHECK_MEMORY,
    PM_CHECK_OVERCOMMIT,
    PM_CHECK_SWAP,
    PM_CHECK_DESCRIPTORS,
    PM_CHECK_TASKS,
    PM_CHECK_MEMLOCK,
    PM_CHECK_CORE,
    PM_CHECK_LISTEN,
    PM_CHECK_SOCKET_PATH,
    PM_CHECK_CLOCK,
    PM_CHECK_COUNT
};

struct pm_check_row {
    const char *code;
    enum pm_check_group group;
    const char *value; /* what its value is */
};
extern const struct pm_check_row pm_checks[PM_CHECK_COUNT];
const char *pm_check_group_name(enum pm_check_group group);
const char *pm_outcome_name(enum pm_outcome outcome);

/* What can be wrong; each has its own word, which stays. */
enum pm_finding {
    PM_FOUND_NOTHING, /* pass */
    PM_FOUND_CONFIG_INVALID,
    PM_FOUND_KERNEL_OLD,
    PM_FOUND_KERNEL_UNTRIED,
    PM_FOUND_PIDFD_REFUSED,
    PM_FOUND_SUBREAPER_REFUSED,
    PM_FOUND_CGROUP_NONE,
    PM_FOUND_CGROUP_V1,
    PM_FOUND_CGROUP_NO_KILL,
    PM_FOUND_CGROUP_NOT_DELEGATED,
    PM_FOUND_CONTAINER_NO_INIT,
    PM_FOUND_CONTAINER_READ_ONLY,
    PM_FOUND_USERNS_OFF,
    PM_FOUND_USERNS_RESTRICTED,
    PM_FOUND_SUBIDS_MISSING,
    PM_FOUND_GPU_MISSING,
    PM_FOUND_DRIVER_MISSING,
    PM_FOUND_NOUVEAU_LOADED,
    PM_FOUND_DRIVER_NOT_LOADED,
    PM_FOUND_LIBRARY_MISSING,
    PM_FOUND_LIBRARY_STUB,
    PM_FOUND_DRIVER_MISMATCH,
    PM_FOUND_DRIVER_BLOCKED,
    PM_FOUND_DRIVER_SILENT,
    PM_FOUND_PROBE_MISSING,
    PM_FOUND_PROBE_FAILED,
    PM_FOUND_NODES_MISSING,
    PM_FOUND_UVM_MISSING,
    PM_FOUND_NODES_DENIED,
    PM_FOUND_DEVICE_DENIED,
    PM_FOUND_DEVICE_BLOCKED,
    PM_FOUND_DEVICE_RESET_REQUIRED,
    PM_FOUND_DEVICE_LOST,
    PM_FOUND_DEVICE_UNKNOWN,
    PM_FOUND_MIG_PENDING,
    PM_FOUND_COMPUTE_PROHIBITED,
    PM_FOUND_REMAP_PENDING,
    PM_FOUND_PERSISTENCE_OFF,
    PM_FOUND_DRIVER_OLD,
    PM_FOUND_DRIVER_BEHIND,
    PM_FOUND_TOOL_MISSING,
    PM_FOUND_ENGINE_MISSING,
    PM_FOUND_ENGINE_NOT_RUNNABLE,
    PM_FOUND_ENGINE_UNFETCHED,
    PM_FOUND_FOLDER_UNREADABLE,
    PM_FOUND_FOLDER_NONE,
    PM_FOUND_FOLDER_READ_ONLY,
    PM_FOUND_FOLDER_DENIED,
    PM_FOUND_FOLDER_OPEN,
    PM_FOUND_DISK_FULL,
    PM_FOUND_DISK_LOW,
    PM_FOUND_INODES_LOW,
    PM_FOUND_MEMORY_UNKNOWN,
    PM_FOUND_MEMORY_OUT,
    PM_FOUND_MEMORY_LOW,
    PM_FOUND_MEMORY_SHORT,
    PM_FOUND_OVERCOMMIT_STRICT,
    PM_FOUND_SWAP_USED,
    PM_FOUND_DESCRIPTORS_SHORT,
    PM_FOUND_DESCRIPTORS_LOW,
    PM_FOUND_TASKS_LOW,
    PM_FOUND_MEMLOCK_LOW,
    PM_FOUND_CORE_FORBIDDEN,
    PM_FOUND_PORT_TAKEN,
    PM_FOUND_PORT_PRIVILEGED,
    PM_FOUND_SOCKET_TAKEN,
    PM_FOUND_PATH_TOO_LONG,
    PM_FOUND_CLOCK_WRONG,
    PM_FOUND_CLOCK_STOPPED,
    PM_FOUND_CLOCK_FREE,
    PM_FINDING_COUNT
};

struct pm_finding_row {
    const char *word;
    enum pm_outcome outcome; /* at worst */
    const char *when;
    /* What mends it; {} stands for what it is about. NULL: the general one. That of a tool is in its own row. */
    const char *fix[PM_DISTRO_COUNT];
};
extern const struct pm_finding_row pm_findings[PM_FINDING_COUNT];

/* ---- verdicts --------------------------------------------------------------------------------------- */

struct pm_checked {
    enum pm_check check;
    enum pm_finding finding;
    enum pm_outcome outcome;
    char code[32];
    char *value; /* with its number; NULL: there is none */
    char *text;  /* for people, one line */
    char *fix;   /* NULL: nothing to mend */
    bool has_bytes;
    uint64_t bytes; /* the value's, where it is a size */
};

struct pm_preflight {
    enum pm_distro distro; /* whose commands are given */
    struct pm_checked *items;
    size_t n, capacity;
};

/* No check failed. */
bool pm_preflight_ok(const struct pm_preflight *preflight);
/* All checks, in the order of their groups. `ret` is to be given to _fini. */
void pm_preflight_judge(const struct pm_facts *facts, const struct pm_needs *needs,
                        struct pm_preflight *ret);
void pm_preflight_fini(struct pm_preflight *preflight);

/* The API's shape; the caller owns it. */
json_t *pm_preflight_json(const struct pm_preflight *preflight);

/* docs/preflight.md, from the tables. */
void pm_preflight_docs(struct pm_buf *out);

#endif
